"""Broken files give an error or a correct result: no crash, no hang, no hunger, no silence.

Every broken file is read in a worker of the engine's, as the command would; one that kills its
worker comes back as an error with its name.
"""

import contextlib
import random
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from make import Steps, entry_of, finish, tokens_job, tokens_table

from delaytool.errors import DataError
from delaytool.jobs.apply import ApplyShard
from delaytool.jobs.paths import Item
from delaytool.jobs.revert import RevertShard
from delaytool.jobs.verify import VerifyShard
from delaytool.run.local import run
from delaytool.run.tasks import Done, Failed
from delaytool.shards.find import Shard
from delaytool.shards.record import Record

MEMORY = 1 << 30


def job_of(length):
    return tokens_job(length=length, initial_step=True)


def forget_peak():
    """Let the peak of this process's memory begin anew, where the system can."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak():
    """Most memory that this process had since then, in bytes; 0 where the system does not tell."""
    with contextlib.suppress(OSError):
        status = Path("/proc/self/status").read_text()
        return int(re.search(r"VmHWM:\s*(\d+)", status)[1]) * 1024
    return 0


def broken(content, dice):
    """The bytes of a file with something wrong in them."""
    content = bytearray(content)
    footer = 8 + int.from_bytes(content[-8:-4], "little")
    how = dice.randrange(8)
    if how == 0:
        return bytes(content[: dice.randrange(len(content))])
    if how == 1:
        content[-8:-4] = dice.choice([0, 1, 2**31 - 1, 2**32 - 1, 12345]).to_bytes(4, "little")
        return bytes(content)
    if how == 2:
        content[: dice.choice([4, 40])] = bytes(4)
        return bytes(content)
    start = len(content) - footer if how < 6 else 0
    for _ in range(dice.choice([1, 1, 1, 2, 30])):
        place = dice.randrange(start, len(content))
        content[place] = dice.choice([content[place] ^ (1 << dice.randrange(8)), 0, 0x7F, 0xFF])
    return bytes(content)


def try_source(folder, content, seed, length):
    """Apply a broken source; what is written verifies against what was read."""
    yield 0.0
    forget_peak()
    dice, source, target = random.Random(seed), folder / f"{seed}.in", folder / f"{seed}.out"
    target.unlink(missing_ok=True)
    source.write_bytes(broken(content, dice))
    shard = Shard("a.parquet", str(source))
    try:
        finish(ApplyShard(Item(shard, None, str(target)), job_of(length), False).run())
        verified = finish(VerifyShard(Shard("a.parquet", str(target)), shard, None, None).run())
        assert verified.mismatches == [], verified.mismatches
        told = "fine"
    except DataError as error:
        place, told = error.place, "error"
    assert told == "fine" or (place.shard == "a.parquet" and not target.exists())
    return told, peak()


def try_output(folder, content, seed, length):
    """Verify and revert a broken output: what passes is what it was."""
    yield 0.0
    forget_peak()
    dice, output, back = random.Random(seed), folder / f"{seed}.out", folder / f"{seed}.back"
    whole = folder / f"{seed}.whole"
    # A worker that dies takes tasks along that had been done; they are done again.
    back.unlink(missing_ok=True)
    whole.write_bytes(content)
    output.write_bytes(broken(content, dice))
    verified = finish(VerifyShard(Shard("a.parquet", str(output)), None, None, None).run())
    try:
        finish(RevertShard(Shard("a", str(output)), str(back), None, None, True, False).run())
        reverted = True
    except DataError:
        reverted = False
        assert not back.exists()
    if verified.count:
        assert all(mismatch.place.shard == "a.parquet" for mismatch in verified.mismatches)
        return "error", peak()
    assert reverted
    assert pq.read_table(output).equals(pq.read_table(whole), check_metadata=True)
    assert Record.from_json(entry_of(output)) == Record.from_json(entry_of(whole))
    return "fine", peak()


def outcomes(function, folder, content, length, flips):
    """What became of so many broken files, each of another seed."""
    tasks = [
        Steps(f"seed {seed}", 1, function, (folder, content, seed, length)) for seed in range(flips)
    ]
    told = []
    for event in run(tasks, 2):
        if isinstance(event, Failed):
            # Only a reader that was killed may come back like this; the engine has named it.
            assert isinstance(event.error, DataError), event.error
            told.append("killed")
        elif isinstance(event, Done):
            what, memory = event.result
            assert memory < MEMORY, f"seed {event.number} took {memory >> 20} MB"
            told.append(what)
    assert len(told) == flips
    return told


@pytest.fixture(params=["extend", "truncate"])
def length(request):
    return request.param


def test_broken_sources(tmp_path, length, times):
    flips = times(100, 500)
    pq.write_table(tokens_table(rows=20), tmp_path / "source", row_group_size=7)
    told = outcomes(try_source, tmp_path, (tmp_path / "source").read_bytes(), length, flips)
    assert told.count("error") > flips // 4
    assert told.count("killed") < flips // 50


def test_broken_outputs(tmp_path, length, times):
    flips = times(100, 500)
    pq.write_table(tokens_table(rows=20), tmp_path / "source", row_group_size=7)
    source = Shard("source", str(tmp_path / "source"))
    target = tmp_path / "target"
    finish(ApplyShard(Item(source, None, str(target)), job_of(length), False).run())
    told = outcomes(try_output, tmp_path, target.read_bytes(), length, flips)
    assert told.count("error") > flips // 2
    assert told.count("killed") < flips // 50
