"""Folders as they are: full, locked, empty, full of links."""

import os
import resource
import shutil
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from make import PATIENCE, PLAIN, delaytool, errors_of, files_in, summary_of, tokens_table


def limited(size):
    """What a process does before it starts, so that no file of its grows beyond a size."""

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


def test_a_file_that_cannot_grow(data, tmp_path):
    table = pa.concat_tables([tokens_table(rows=200, longest=200, seed=i) for i in range(4)])
    pq.write_table(table, data / "a.parquet")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "delaytool", "apply", str(data), str(out), *map(str, PLAIN)]
    done = subprocess.run(
        command, capture_output=True, text=True, preexec_fn=limited(100_000), timeout=PATIENCE
    )
    assert done.returncode == 1
    (error, advice) = errors_of(done)[-2:]
    assert error.startswith(f"Error: {out / 'a.parquet'}: cannot be written: File too large")
    assert "free space" in advice
    assert "Traceback" not in done.stderr
    assert set(files_in(out)) <= {"more/b.parquet"} if out.exists() else True
    delaytool("apply", data, out, *PLAIN)
    delaytool("verify", out, "--source", data)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 300 kB, where the test may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = (
        shutil.which("mount")
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(folder)], capture_output=True
        ).returncode
    )
    if not mounted:
        pytest.skip("mounting is not allowed; a file-size limit is tested instead")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk(data, small_disk):
    table = pa.concat_tables([tokens_table(rows=200, longest=200, seed=i) for i in range(4)])
    pq.write_table(table, data / "a.parquet")
    out = small_disk / "out"
    done = delaytool("apply", data, out, *PLAIN, "--workers", 1, status=1)
    assert "a.parquet: cannot be written: No space left on device" in done.stderr
    assert "more/b.parquet" not in files_in(small_disk) or files_in(small_disk)
    assert not [name for name in files_in(small_disk) if name.endswith("-part")]
    pq.write_table(tokens_table(seed=1), data / "a.parquet")
    delaytool("apply", data, out, *PLAIN)
    delaytool("verify", out, "--source", data)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_locked(data, tmp_path):
    (tmp_path / "out").mkdir(mode=0o555)
    done = delaytool("apply", data, tmp_path / "out", *PLAIN, status=1)
    assert "cannot be written: Permission denied" in done.stderr


def test_a_file_where_a_folder_has_to_be(data, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "more").write_text("a file")
    done = delaytool("apply", data, tmp_path / "out", *PLAIN, "--workers", 1, status=1)
    assert "more/b.parquet" in done.stderr
    assert (tmp_path / "out" / "more").read_text() == "a file"


def test_links_that_lead_out_of_the_output(data, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "more").symlink_to(tmp_path / "elsewhere")
    done = delaytool("apply", data, tmp_path / "out", *PLAIN, status=1)
    assert "more/b.parquet: a link leads its output" in done.stderr
    assert not list((tmp_path / "elsewhere").iterdir())


def test_links_that_bring_two_shards_together(data, tmp_path):
    (data / "less").mkdir()
    pq.write_table(tokens_table(seed=4), data / "less" / "b.parquet")
    out = tmp_path / "out"
    (out / "less").mkdir(parents=True)
    (out / "more").symlink_to(out / "less")
    done = delaytool("apply", data, out, *PLAIN, status=1)
    assert "more/b.parquet: its output is that of less/b.parquet too" in done.stderr
    assert not list((out / "less").iterdir())


def test_linked_input_is_read(data, tmp_path):
    """As caches keep it: names that lead to blobs elsewhere."""
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    (data / "a.parquet").rename(blobs / "0123")
    (data / "a.parquet").symlink_to(blobs / "0123")
    delaytool("apply", data, tmp_path / "out", *PLAIN)
    delaytool("verify", tmp_path / "out", "--source", data)
    assert (blobs / "0123").exists()
    (data / "gone.parquet").symlink_to(tmp_path / "nowhere")
    done = delaytool("apply", data, tmp_path / "out", *PLAIN, status=1)
    assert "gone.parquet: cannot be read: No such file" in done.stderr


def test_linked_folders_keep_their_path(data, tmp_path):
    shutil.move(data / "more", tmp_path / "elsewhere")
    (data / "more").symlink_to(tmp_path / "elsewhere")
    (data / "more" / "again").symlink_to(data)
    summary = summary_of(delaytool("apply", data, tmp_path / "out", *PLAIN, "--json"))
    assert summary["shards"] == 2
    assert sorted(files_in(tmp_path / "out")) == ["a.parquet", "more/b.parquet"]
    done = delaytool("verify", tmp_path / "out", "--source", data)
    note = "links to what is read anyway are not followed: more/again"
    assert f"Note: --source: {note}" in done.stderr
    (tmp_path / "way").symlink_to("out")
    delaytool("revert", tmp_path / "way", tmp_path / "back")
    assert sorted(files_in(tmp_path / "back")) == ["a.parquet", "more/b.parquet"]
    assert f"Note: INPUT: {note}" in delaytool("stats", data).stderr


def test_folders_that_are_left_out_are_noted(data, tmp_path):
    (data / "_old").mkdir()
    pq.write_table(tokens_table(), data / "_old" / "c.parquet")
    out, note = tmp_path / "out", "folders whose names begin with . or _ are not searched: _old"
    done = delaytool("apply", data, out, *PLAIN)
    assert f"Note: INPUT: {note}" in done.stderr.splitlines()
    assert note not in delaytool("apply", data, out, *PLAIN, "--quiet").stderr
    assert sorted(files_in(out)) == ["a.parquet", "more/b.parquet"]
    shutil.copytree(data / "_old", out / "_old")
    for arguments in (("verify", out), ("revert", out, tmp_path / "back")):
        done = delaytool(*arguments)
        assert f"Note: OUTPUT: {note}" in done.stderr.splitlines()
    assert note not in delaytool("verify", out, "--quiet").stderr
