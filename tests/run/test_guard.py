"""Whatever happens to the command: final names hold whole files, and running again ends well."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest
from make import (
    PATIENCE,
    PLAIN,
    SAMPLE_DATA,
    deadly,
    deep,
    delaytool,
    delaytool_process,
    files_in,
    tokens_table,
)

from delaytool.shards.deadly import NOTES

SHARDS = 24


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Shards small enough to be many, large enough to be killed in the middle of one."""
    folder = tmp_path_factory.mktemp("data")
    for number in range(SHARDS):
        table = tokens_table(rows=150, longest=1500, seed=number)
        pq.write_table(table, folder / f"{number:02}.parquet")
    return folder


@pytest.fixture(scope="module")
def expected(data, tmp_path_factory):
    """What a run that nobody disturbs makes of it."""
    out = tmp_path_factory.mktemp("expected")
    delaytool("apply", data, out, *PLAIN)
    return files_in(out)


def start(data, out, *more, workers=2):
    command = [sys.executable, "-m", "delaytool", "apply", data, out, *PLAIN, *more]
    return subprocess.Popen(
        [*map(str, command), "--workers", str(workers), "--quiet"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def whole_outputs(out, expected):
    """Every file under a final name is what it has to be; returns how many there are."""
    names = [name for name in files_in(out) if not name.startswith(".")] if out.exists() else []
    for name in names:
        assert (out / name).read_bytes() == expected[name], "no torn output"
    return len(names)


def descendants(pid):
    """Process ids of a process's children and theirs, from /proc."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            # Commands of other tests may have names in them that are no UTF-8.
            with open(f"/proc/{entry}/stat", errors="replace") as file:
                parent = int(file.read().rsplit(")", 1)[1].split()[1])
            with open(f"/proc/{entry}/cmdline", errors="replace") as file:
                command = file.read()
        except OSError:
            continue
        if parent == pid:
            found += [(int(entry), command), *descendants(int(entry))]
    return found


needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="finds processes in /proc")


def parts_in(out):
    """The temporary files that are there."""
    return {name for name in os.listdir(out) if name.startswith(".")} if out.exists() else set()


def wait_for_progress(out, dice, process, before=frozenset()):
    """Wait until the run is somewhere in the middle: it writes a file that was not there before."""
    while process.poll() is None and not parts_in(out) - before:
        time.sleep(0.003)
    time.sleep(dice.random() * 0.2)


@needs_proc
def test_kills_at_any_moment_tear_nothing(data, expected, tmp_path, times):
    """Kill the command, what it runs in, or one of its workers, until there is nothing left."""
    dice, out, seen, killed = random.Random(0), tmp_path / "out", set(), 0
    kills = times(5, 50)
    while killed < kills:
        before = parts_in(out)
        process = start(data, out, workers=1 + killed % 2)
        if dice.random() < 0.9:
            wait_for_progress(out, dice, process, before)
        workers = [pid for pid, command in descendants(process.pid) if "tracker" not in command]
        victim = dice.choice([process.pid, *workers])
        with contextlib.suppress(ProcessLookupError):
            killed += process.poll() is None
            os.kill(victim, signal.SIGKILL)
            if dice.random() < 0.85:
                # Whoever kills one of them mostly kills the rest too.
                os.killpg(process.pid, signal.SIGKILL)
        _, errors = process.communicate(timeout=PATIENCE)
        assert "Traceback" not in errors
        seen.add(whole_outputs(out, expected))
        if killed % 4 == 3:
            for path in list(out.glob("*.parquet"))[::2]:
                path.unlink()
    assert len(seen) > times(2, 4), "they were killed at different moments"
    delaytool("apply", data, out, *PLAIN)
    assert files_in(out) == expected, "the same bytes, and no leftovers"


@needs_proc
def test_a_killed_worker_costs_nothing_but_time(data, expected, tmp_path):
    process = start(data, tmp_path / "out")
    wait_for_progress(tmp_path / "out", random.Random(1), process)
    workers = [pid for pid, command in descendants(process.pid) if "spawn_main" in command]
    os.kill(workers[0], signal.SIGKILL)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    assert files_in(tmp_path / "out") == expected


@needs_proc
def test_workers_end_with_the_command(data, tmp_path):
    process = start(data, tmp_path / "out")
    wait_for_progress(tmp_path / "out", random.Random(1), process)
    others = descendants(process.pid)
    assert others
    process.kill()
    process.communicate()
    until = time.monotonic() + 30
    while any(os.path.exists(f"/proc/{pid}/exe") for pid, _ in others):
        assert time.monotonic() < until, "they are still there"
        time.sleep(0.05)


@pytest.mark.parametrize("workers", [deep(1), 2])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("everyone", [False, deep(True)])
def test_signals_stop_within_two_seconds(data, expected, tmp_path, workers, number, everyone):
    out = tmp_path / "out"
    process = start(data, out, workers=workers)
    wait_for_progress(out, random.Random(int(number)), process)
    began = time.monotonic()
    # A terminal and a batch system send signals to every process of the command.
    (os.killpg if everyone else os.kill)(process.pid, number)
    printed, errors = process.communicate(timeout=PATIENCE)
    assert time.monotonic() - began < 2
    assert process.returncode == 128 + number, errors
    assert printed == ""
    assert errors.splitlines()[-1] == "  Run the same command again to go on."
    assert not [name for name in files_in(out) if name.startswith(".")], "it has cleaned up"
    whole_outputs(out, expected)


FREED = """
import signal, sys
import pyarrow.parquet

pyarrow.parquet.ParquetWriter.__del__ = lambda self: signal.raise_signal(signal.SIGINT)
import delaytool.cli.main

sys.argv[0] = "delaytool"
delaytool.cli.main.program()
"""


def test_a_signal_where_python_ignores_exceptions_is_not_forgotten(data, tmp_path):
    """It comes while the first shard's writer is freed, whose errors Python only prints."""
    out = tmp_path / "out"
    command = [sys.executable, "-c", FREED, "apply", data, out, *PLAIN, "--workers", "1", "--quiet"]
    ended = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=PATIENCE)
    assert ended.returncode == 130, ended.stderr
    assert "Exception ignored" not in ended.stderr
    assert ended.stderr.splitlines()[-1] == "  Run the same command again to go on."
    assert len(list(out.glob("*.parquet"))) == 1


def test_two_runs_at_once_do_no_harm(data, expected, tmp_path):
    runs = [start(data, tmp_path / "out") for _ in range(3)]
    for process in runs:
        _, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, errors
    assert files_in(tmp_path / "out") == expected


def test_leftovers_of_others_stay(data, expected, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    mine = out / ".03.parquet.00000003.delaytool-part"
    others = [out / ".notes.delaytool-part", out / ".03.parquet.swp", out / "99.txt"]
    for path in (mine, *others):
        path.write_text("x")
    delaytool("apply", data, out, *PLAIN)
    assert not mine.exists(), "nobody holds its lock"
    assert all(path.read_text() == "x" for path in others)


# What kills the process that reads


@pytest.fixture(params=["SIGSEGV", deep("SIGABRT"), deep("SIGKILL")])
def crashing(request, tmp_path):
    """An environment in which whatever opens shard 5 dies, as of a fault in a library."""
    return deadly(tmp_path / "site", "05.parquet", request.param)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_shard_that_kills_its_reader_is_named_and_the_others_finish(
    data, expected, tmp_path, crashing, workers
):
    out = tmp_path / "out"
    arguments = ("apply", data, out, *PLAIN, "--workers", workers)
    done = delaytool_process(*arguments, env=crashing, status=1)
    assert "Error: 05.parquet: reading it killed the process" in done.stderr
    rest = {name: content for name, content in expected.items() if name != "05.parquet"}
    assert files_in(out) == rest, "whole ones, and no leftovers"
    done = delaytool_process(
        "apply", data / "05.parquet", tmp_path / "o", *PLAIN, env=crashing, status=1
    )
    assert "Error: 05.parquet: reading it killed the process" in done.stderr
    delaytool("apply", data, out, *PLAIN)
    assert files_in(out) == expected


def test_verify_names_a_shard_that_kills_its_reader(data, tmp_path, crashing):
    out = tmp_path / "out"
    delaytool("apply", data, out, *PLAIN)
    done = delaytool_process("verify", out, "--json", "--workers", 1, env=crashing, status=1)
    assert '"shard": "05.parquet"' in done.stdout
    done = delaytool_process("inspect", out / "05.parquet", env=crashing, status=1)
    assert "Error: 05.parquet: reading it killed the process" in done.stderr


def test_a_library_is_not_guarded():
    NOTES.write("a.parquet")
    assert (NOTES.shared, NOTES.deadly) == (None, frozenset())


@pytest.mark.parametrize("workers", [1, 2])
def test_a_command_does_without_pandas(tmp_path, workers):
    pytest.importorskip("pandas")
    apply = ("apply", SAMPLE_DATA / "moshi", tmp_path / "out", "--workers", workers)
    done = delaytool_process(*apply, env={"PYTHONPROFILEIMPORTTIME": "1"})
    assert "pyarrow.parquet" in done.stderr
    assert "pandas.core" not in done.stderr


@pytest.mark.parametrize("given", [None, "system"])
def test_pyarrow_takes_an_allocator_that_it_has(given):
    code = "from delaytool.run import guard; guard.travel_light(); import pyarrow as pa; "
    code += "print(pa.default_memory_pool().backend_name, *pa.supported_memory_backends())"
    name = "ARROW_DEFAULT_MEMORY_POOL"
    env = {key: value for key, value in os.environ.items() if key != name}
    env |= {name: given} if given else {}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    chosen, *backends = done.stdout.split()
    assert chosen == (given or ("jemalloc" if "jemalloc" in backends else "system"))
