"""Folders that are tables of other formats are refused, wherever the table begins or ends."""

import os

import pytest
from make import delaytool, files_in, shard_names, touch

from delaytool.errors import DataError
from delaytool.shards.find import find_shards
from delaytool.shards.tables import check_output

LOGS = {
    "Delta": ["_delta_log/00000000000000000000.json"],
    "Hudi": [".hoodie/hoodie.properties"],
    "Iceberg": ["metadata/v1.metadata.json", "data/n=1/c.parquet"],
}
UNPARTITIONED = {
    "metadata/00001-5c.gz.metadata.json": "metadata/snap-1.avro",
    "metadata/v2.metadata.json.gz": "data/readme",
}


@pytest.fixture(params=LOGS)
def table(request, tmp_path):
    """A table in a folder that holds other shards too, and what it is called."""
    folder = tmp_path / "lake" / "t[1]"
    touch(folder, ["a.parquet", "n=1/b.parquet", *LOGS[request.param]])
    touch(tmp_path / "lake", ["other/x.parquet"])
    return folder, "an Iceberg" if request.param == "Iceberg" else f"a {request.param}"


def refused(path, **options):
    with pytest.raises(DataError) as raised:
        find_shards(str(path), **options)
    assert raised.value.kind == "table-format"
    return raised.value


def test_what_is_holds_or_lies_in_a_table_is_refused(table, tmp_path):
    folder, of = table
    for path in (folder, folder / "n=1", folder / "a.parquet", tmp_path / "lake", tmp_path):
        error = refused(path)
        assert f"{folder}: it is {of} table" in str(error)
    assert shard_names(tmp_path / "lake" / "other") == ["x.parquet"]
    without = [str(folder)]
    found = shard_names(tmp_path, outside=without)
    assert found == ["lake/other/x.parquet"], "nothing of it is read"


def test_a_relative_path_lies_in_a_table_too(table, monkeypatch):
    folder, _ = table
    monkeypatch.chdir(folder / "n=1")
    for path in (".", "b.parquet", "../n=1"):
        refused(path)
    assert shard_names("*.parquet") == ["b.parquet"]


def test_links_lead_into_tables_too(table, tmp_path):
    folder, of = table
    for number, target in enumerate((folder, folder / "n=1", folder / "a.parquet")):
        touch(tmp_path / f"data{number}", ["y.parquet"], [("z.parquet", target)])
        assert of in str(refused(tmp_path / f"data{number}"))
        assert of in str(refused(tmp_path / f"data{number}" / "z.parquet"))
    touch(tmp_path, ["elsewhere/p.parquet"], [(folder / "n=2", tmp_path / "elsewhere")])
    refused(folder / "n=2")
    assert shard_names(tmp_path / "elsewhere") == ["p.parquet"]


def test_a_glob_names_files_for_those_who_know(table):
    """What the advice says works, for folders and for files."""
    folder, _ = table
    for path, expected in ((folder, "n=1/b.parquet"), (folder / "a.parquet", "a.parquet")):
        advice = refused(path).advice
        pattern = advice.split("'")[1]
        assert expected in [name.removeprefix("t[1]/") for name in shard_names(pattern)]


def test_a_log_is_no_shard(tmp_path):
    touch(tmp_path, ["a.parquet", "_delta_log/1.checkpoint.parquet", "n=1/_delta_log/x"])
    pattern = refused(tmp_path).advice.split("'")[1]
    found = find_shards(pattern)
    assert [shard.name for shard in found.shards] == ["a.parquet"]
    assert found.notes == ("folders whose names begin with . or _ are not searched: _delta_log",)


@pytest.mark.parametrize("described", UNPARTITIONED)
def test_iceberg(tmp_path, described):
    touch(tmp_path, [described, UNPARTITIONED[described], "a.parquet"])
    assert "Iceberg" in str(refused(tmp_path))


@pytest.mark.parametrize(
    "files",
    [
        ["metadata/v1.metadata.json"],
        ["metadata/speakers.json", "data/b.parquet"],
        ["_delta_log", ".hoodie", "metadata"],
        ["_delta_log.txt/x", "hoodie/x"],
    ],
)
def test_what_is_no_table(tmp_path, files):
    touch(tmp_path, [*files, "a.parquet"])
    assert "a.parquet" in shard_names(tmp_path)


def test_nothing_is_written_into_a_table(table, tmp_path):
    folder, of = table
    touch(tmp_path, links=[("way", folder)])
    for path in (folder, folder / "n=1", folder / "new" / "out.parquet", tmp_path / "way"):
        with pytest.raises(DataError, match=f"{of} table, whose clean-up removes") as raised:
            check_output(str(path))
        assert raised.value.kind == "table-format"
    check_output(str(tmp_path / "lake"))
    check_output(str(tmp_path / "lake" / "out"))


def test_every_command_refuses_tables(table, tmp_path):
    folder, of = table
    other, before = tmp_path / "lake" / "other", files_in(tmp_path)
    for arguments in (
        ("apply", folder, tmp_path / "o"),
        ("apply", other, tmp_path / "o", "--audio-input", folder / "n=1"),
        ("apply", other, folder / "o"),
        ("apply", other, tmp_path / "o", "--quarantine", folder / "q"),
        ("verify", other, "--source", folder),
        ("verify", folder),
        ("revert", folder, tmp_path / "o"),
        ("revert", other, folder / "o"),
        ("stats", folder),
    ):
        done = delaytool(*arguments, status=1)
        assert f"Error: {folder}: it is {of} table" in done.stderr, arguments
    assert files_in(tmp_path) == before
    assert os.listdir(other) == ["x.parquet"]
