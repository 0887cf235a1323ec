"""Folders as they are: linked, in loops, hidden."""

import os
import resource

import pytest
from make import files_in, shard_names, touch

from delaytool.errors import DataError
from delaytool.shards.find import find_shards


def notes(path, **options):
    return find_shards(str(path), **options).notes


def test_linked_folders_are_searched(tmp_path):
    files = ["data/a.parquet", "else/where/b.parquet"]
    touch(tmp_path, files, [("data/linked", tmp_path / "else")])
    found = find_shards(str(tmp_path / "data"))
    assert [shard.name for shard in found.shards] == ["a.parquet", "linked/where/b.parquet"]
    assert all(os.path.samefile(s.path, tmp_path / "data" / s.name) for s in found.shards)
    assert found.notes == ()
    touch(tmp_path, links=[("way", "data")])
    assert shard_names(tmp_path / "way") == ["a.parquet", "linked/where/b.parquet"]


@pytest.mark.parametrize("pattern", ["", "/**/*.parquet", "/**"])
def test_loops_end(tmp_path, pattern):
    """With two of them there are 2^40 paths that the system still follows."""
    touch(
        tmp_path,
        ["data/a.parquet", "data/b/c.parquet", "d.parquet"],
        [
            ("data/b/up", ".."),
            ("data/b/self", "."),
            ("data/one", "two"),
            ("data/two", "one"),
            ("data/z", "../data"),
        ],
    )
    found = find_shards(f"{tmp_path}/data{pattern}")
    assert [shard.name for shard in found.shards] == ["a.parquet", "b/c.parquet"]
    assert found.notes == (
        "links to what is read anyway are not followed: b/self, b/up, z",
        "links that lead nowhere are left out: one, two",
    )
    touch(tmp_path, links=[("data/b/top", "../..")])
    found = shard_names(f"{tmp_path}/data{pattern}")
    assert found == ["a.parquet", "b/c.parquet", "b/top/d.parquet"]


@pytest.mark.parametrize(
    ("files", "links", "expected"),
    [
        (["z.parquet"], [("a.parquet", "z.parquet")], ["z.parquet"]),
        (["z/x.parquet"], [("a", "z")], ["z/x.parquet"]),
        (["z/x.parquet"], [("a.parquet", "z/x.parquet"), ("b", "z")], ["z/x.parquet"]),
        (["../x"], [("b.parquet", "../x"), ("a/y.parquet", "../b.parquet")], ["a/y.parquet"]),
        (["../e/x.parquet"], [("b", "../e"), ("a-b", "../e"), ("a", "../e")], ["a-b/x.parquet"]),
        (["../e/f/x.parquet"], [("b", "../e/f"), ("a/l", "../../e")], ["a/l/f/x.parquet"]),
        (["../e/x.parquet"], [("b", "../e"), ("a", "../f"), ("../f/l", "../e")], ["b/x.parquet"]),
    ],
)  # fmt: skip
def test_a_file_is_read_once(tmp_path, files, links, expected):
    """By the path with the fewest links, and of those by the first."""
    touch(tmp_path / "data", files, links)
    for pattern in ("", "/**/*.parquet"):
        assert shard_names(f"{tmp_path}/data{pattern}") == expected
        (note,) = notes(f"{tmp_path}/data{pattern}")
        assert note.startswith("links to what is read anyway are not followed: ")


def test_copies_and_hard_links_are_files_of_their_own(tmp_path):
    touch(tmp_path, ["a.parquet"])
    os.link(tmp_path / "a.parquet", tmp_path / "b.parquet")
    assert shard_names(tmp_path) == ["a.parquet", "b.parquet"]


def test_hidden_folders_are_left_out_with_a_note(tmp_path):
    touch(
        tmp_path,
        [
            "a.parquet",
            "_file.parquet",
            ".hidden.parquet",
            ".a.parquet.0123abcd.delaytool-part",
            "_old/more/b.parquet",
            "x/.cache/c.parquet",
            ".git/objects/ab",
            "_empty/readme.txt",
            "_out/d.parquet",
        ],
    )
    found = find_shards(str(tmp_path), outside=[str(tmp_path / "_out")])
    assert [shard.name for shard in found.shards] == ["_file.parquet", "a.parquet"]
    assert found.notes == (
        "folders whose names begin with . or _ are not searched: _old, x/.cache",
        "hidden files are not read: .hidden.parquet",
    )
    touch(tmp_path, [f"_{number}/x.parquet" for number in range(1, 9)])
    first, _ = notes(tmp_path)
    assert first.endswith("are not searched: _1, _2, _3, _4, _5 and 6 more")
    assert shard_names(tmp_path / "_old") == ["more/b.parquet"], "what is named is searched"
    assert shard_names(f"{tmp_path}/**/_old/*/*.parquet") == ["_old/more/b.parquet"]
    assert shard_names(f"{tmp_path}/x/.c*/*.parquet") == [".cache/c.parquet"]
    assert shard_names(f"{tmp_path}/*/*.parquet") == [
        *(f"_{number}/x.parquet" for number in range(1, 9)),
        "_out/d.parquet",
    ]


def test_what_links_lead_to_in_hidden_folders_is_read(tmp_path):
    """As git-annex and caches keep it."""
    touch(
        tmp_path,
        [".blobs/0.parquet", ".blobs/1.parquet"],
        [("a.parquet", ".blobs/0.parquet"), ("b.parquet", ".blobs/1.parquet")],
    )
    found = find_shards(str(tmp_path))
    assert [shard.name for shard in found.shards] == ["a.parquet", "b.parquet"]
    assert found.notes == ()
    touch(tmp_path, [".blobs/2.parquet"])
    assert notes(tmp_path) == (
        "folders whose names begin with . or _ are not searched: .blobs",
    )  # fmt: skip


def test_nothing_but_hidden_folders(tmp_path):
    touch(tmp_path, ["_old/a.parquet"])
    with pytest.raises(DataError, match="there are no shards; folders .* not searched: _old"):
        find_shards(str(tmp_path))


def test_what_lies_outside_is_left_out_whatever_leads_there(tmp_path):
    touch(
        tmp_path,
        ["data/a.parquet", "data/out/b.parquet"],
        [("data/link", "out"), ("data/c.parquet", "out/b.parquet"), ("data/up", "..")],
    )
    touch(tmp_path, links=[("result", "data/out")])
    for outside in (tmp_path / "data" / "out", tmp_path / "result"):
        assert shard_names(tmp_path / "data", outside=[str(outside)]) == ["a.parquet"]
        assert shard_names(f"{tmp_path}/data/*", outside=[str(outside)]) == ["a.parquet"]


@pytest.mark.parametrize("target", ["nowhere", "a.parquet"])
def test_a_link_that_leads_nowhere_is_missing_data(tmp_path, target):
    touch(tmp_path, ["more/b.parquet"], [("a.parquet", target)])
    for path in (tmp_path, f"{tmp_path}/*.parquet"):
        with pytest.raises(DataError, match=r"^a\.parquet: cannot be read: No such file") as raised:
            find_shards(str(path))
        assert raised.value.kind == "unreadable"


def test_a_pipe_is_no_shard(tmp_path):
    os.mkfifo(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"^a\.parquet: cannot be read"):
        find_shards(str(tmp_path))


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path):
    """A limit on open files stands for permissions, which root does not need."""
    touch(tmp_path, ["a.parquet", "more/b.parquet"])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.open(tmp_path, os.O_RDONLY)
    os.close(lowest)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
        with pytest.raises(DataError, match="cannot be searched: Too many open files"):
            find_shards(str(tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*", ["a.parquet", "b/c.parquet", "b/d/e.parquet", "x[1]/f.parquet", "y.txt"]),
        ("*.parquet", ["a.parquet"]),
        ("**/*.parquet", ["a.parquet", "b/c.parquet", "b/d/e.parquet", "x[1]/f.parquet"]),
        ("**", ["a.parquet", "b/c.parquet", "b/d/e.parquet", "x[1]/f.parquet"]),
        ("*/*.parquet", ["b/c.parquet", "x[1]/f.parquet"]),
        ("**/d/**/e.*", ["b/d/e.parquet"]),
        ("[ab]*", ["a.parquet", "b/c.parquet", "b/d/e.parquet"]),
        ("b*", ["b/c.parquet", "b/d/e.parquet"]),
        ("x[[]1]/*", ["x[1]/f.parquet"]),
        ("?.txt", ["y.txt"]),
        ("**/?.parquet/", ["a.parquet", "b/c.parquet", "b/d/e.parquet", "x[1]/f.parquet"]),
    ],
)
def test_globs(tmp_path, pattern, expected, monkeypatch):
    files = ["a.parquet", "b/c.parquet", "b/d/e.parquet", "x[1]/f.parquet", "y.txt"]
    touch(tmp_path, [*files, "b/g.txt"])
    assert shard_names(f"{tmp_path}/{pattern}") == expected
    monkeypatch.chdir(tmp_path)
    found = find_shards(pattern).shards
    assert [shard.name for shard in found] == expected
    assert {os.path.normpath(shard.path) for shard in found} <= files_in(tmp_path).keys()
    assert shard_names("x[1]") == ["f.parquet"], "a folder goes before a glob"
