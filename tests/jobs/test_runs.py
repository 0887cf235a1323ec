"""Two runs at once into one folder, and runs that go on where another was stopped."""

import errno
import json
import os
import signal
import subprocess
import sys
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from make import PLAIN, delaytool, entry_of, files_in, finish, summary_of, tokens_job, tokens_table

from delaytool import delay, load_preset
from delaytool.errors import DataError
from delaytool.jobs.apply import ApplyShard
from delaytool.jobs.paths import Item, as_found
from delaytool.jobs.revert import RevertShard
from delaytool.shards.commit import NameTakenError, file_state
from delaytool.shards.find import Shard
from delaytool.shards.record import Record
from delaytool.shards.write import writing

SCHEMA = pa.schema({"x": pa.int32()})


@pytest.fixture
def source(tmp_path):
    """A shard of which two rows are bad."""
    rows = tokens_table(seed=1).to_pylist()
    rows[4]["text_tokens"] = None
    rows[7]["audio_codes"][1][0] = 5000
    pq.write_table(pa.Table.from_pylist(rows, tokens_table().schema), tmp_path / "a.parquet")
    return tmp_path / "a.parquet"


@pytest.fixture
def folder(tmp_path):
    """Where outputs and quarantined rows go."""
    return tmp_path / "made"


def steps_of(source, folder, job, overwrite=False, bad="bad.parquet"):
    """A run on one shard, to be driven."""
    aside = None if bad is None else str(folder / bad)
    item = Item(Shard("a.parquet", str(source)), None, str(folder / "out.parquet"), aside)
    return ApplyShard(item, job, overwrite).run()


def made_with(folder):
    """The delays of what is in the folder: of the output, and of the output of the bad rows."""
    out, bad = (pq.read_metadata(folder / name).metadata for name in ("out.parquet", "bad.parquet"))
    entries = out[b"delaytool"], bad[b"delaytool-quarantine"]
    return [Record.from_json(entry).job.recipe.delays for entry in entries]


def whole_files_in(folder):
    """What is there while another run is at work."""
    found = files_in(folder).items()
    return {name: content for name, content in found if not name.startswith(".")}


ONE, OTHER = (0, 0, 1, 2), (0, 0, 2, 1)


def test_another_run_that_makes_the_same_meanwhile(source, folder):
    steps = steps_of(source, folder, tokens_job())
    next(steps)
    assert finish(steps_of(source, folder, tokens_job())).written
    before = whole_files_in(folder)
    result = finish(steps)
    assert not result.written
    assert (result.summary.counts.rows_out, result.summary.counts.quarantined) == (10, 2)
    assert files_in(folder) == before
    assert sorted(before) == ["bad.parquet", "out.parquet"]


def test_another_run_that_makes_it_otherwise_meanwhile(source, folder):
    steps = steps_of(source, folder, tokens_job(delays=ONE))
    next(steps)
    finish(steps_of(source, folder, tokens_job(delays=OTHER)))
    before = whole_files_in(folder)
    with pytest.raises(DataError) as caught:
        finish(steps)
    assert caught.value.kind == "output-in-the-way"
    assert caught.value.place.shard == "a.parquet"
    assert files_in(folder) == before
    assert made_with(folder) == [OTHER, OTHER]


def test_quarantined_rows_of_an_output_that_could_not_be(source, folder):
    """The other run has another quarantine, so that only the outputs meet."""
    steps = steps_of(source, folder, tokens_job(delays=ONE), bad="bad of one.parquet")
    next(steps)
    finish(steps_of(source, folder, tokens_job(delays=OTHER)))
    with pytest.raises(DataError, match="in the way: it was made with other options"):
        finish(steps)
    assert sorted(files_in(folder)) == ["bad.parquet", "out.parquet"]


def test_an_output_that_appears_without_an_entry(source, folder):
    steps = steps_of(source, folder, tokens_job())
    next(steps)
    (folder / "out.parquet").write_text("somebody's")
    with pytest.raises(DataError, match=r"out\.parquet is in the way") as caught:
        finish(steps)
    assert caught.value.kind == "output-in-the-way"
    assert files_in(folder) == {"out.parquet": b"somebody's"}


@pytest.mark.parametrize(("delays", "is_same"), [(ONE, True), (OTHER, False)])
def test_only_what_was_there_is_overwritten(source, folder, delays, is_same):
    third = (0, 1, 1, 1)
    finish(steps_of(source, folder, tokens_job(delays=third)))
    steps = steps_of(source, folder, tokens_job(delays=ONE), overwrite=True)
    next(steps)
    finish(steps_of(source, folder, tokens_job(delays=delays), overwrite=True))
    before = whole_files_in(folder)
    if is_same:
        assert not finish(steps).written
    else:
        with pytest.raises(DataError) as caught:
            finish(steps)
        assert caught.value.kind == "output-in-the-way"
        assert "--overwrite" not in caught.value.advice, "it was given"
    assert files_in(folder) == before
    assert made_with(folder) == [delays, delays]
    assert finish(steps_of(source, folder, tokens_job(delays=third), overwrite=True)).written
    assert made_with(folder) == [third, third]


def test_what_came_after_a_run_began_is_not_overwritten(source, folder):
    third = (0, 1, 1, 1)
    finish(steps_of(source, folder, tokens_job(delays=third)))
    shard, target = Shard("a.parquet", str(source)), str(folder / "out.parquet")
    item = Item(shard, None, target, str(folder / "bad.parquet"))
    (begun,) = as_found([item], str(folder), str(folder))
    finish(steps_of(source, folder, tokens_job(delays=OTHER), overwrite=True))
    with pytest.raises(DataError) as caught:
        finish(ApplyShard(begun, tokens_job(delays=ONE), True).run())
    assert caught.value.kind == "output-in-the-way"
    assert "--overwrite" not in caught.value.advice
    assert made_with(folder) == [OTHER, OTHER]
    assert not finish(ApplyShard(begun, tokens_job(delays=OTHER), True).run()).written
    (begun,) = as_found([item], str(folder), str(folder))
    assert finish(ApplyShard(begun, tokens_job(delays=ONE), True).run()).written
    assert made_with(folder) == [ONE, ONE]


def test_reverting_twice_at_once(source, folder):
    finish(steps_of(source, folder, tokens_job()))
    arguments = (str(folder / "back.parquet"), None, None, True, False)
    shard = Shard("out.parquet", str(folder / "out.parquet"))
    steps = RevertShard(shard, *arguments).run()
    next(steps)
    assert finish(RevertShard(shard, *arguments).run()).written
    before = whole_files_in(folder)
    assert not finish(steps).written
    assert files_in(folder) == before
    (folder / "back.parquet").unlink()
    steps = RevertShard(shard, *arguments).run()
    next(steps)
    (folder / "back.parquet").write_text("somebody's")
    with pytest.raises(DataError) as caught:
        finish(steps)
    assert caught.value.kind == "output-in-the-way"
    assert (folder / "back.parquet").read_text() == "somebody's"


def write(path, number, replaces=None):
    with writing(str(path), SCHEMA, replaces=replaces) as shard:
        shard.write(pa.record_batch({"x": pa.array([number], pa.int32())}))


def no_links(*_):
    raise OSError(errno.EPERM, "no links here")


@pytest.mark.parametrize("has_links", [True, False])
def test_a_name_is_taken_once(tmp_path, monkeypatch, has_links):
    path = tmp_path / "out.parquet"
    if not has_links:
        monkeypatch.setattr(os, "link", no_links)
    write(path, 1)
    state, before = file_state(str(path)), files_in(tmp_path)
    with pytest.raises(NameTakenError):
        write(path, 2)
    assert files_in(tmp_path) == before
    write(path, 3, replaces=state)
    assert pq.read_table(path)["x"].to_pylist() == [3]
    with pytest.raises(NameTakenError):
        write(path, 4, replaces=state)
    assert pq.read_table(path)["x"].to_pylist() == [3]
    path.unlink()
    write(path, 5, replaces=state)
    assert sorted(files_in(tmp_path)) == ["out.parquet"]


KILLED = """
import os, signal, sys
from delaytool.cli.main import main
named, number = sys.argv[1], int(sys.argv[2])
whole, calls = getattr(os, named), 0
def deadly(*arguments, **options):
    global calls
    calls += 1
    if calls == number:
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(*arguments, **options)
setattr(os, named, deadly)
main(sys.argv[3:])
"""


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("call", ["link", "unlink", "fsync"])
def test_a_kill_while_files_get_their_names(source, tmp_path, call, number):
    """Bad rows and output get their names in turn; only whole files are seen in between."""

    def arguments(folder):
        places = tmp_path / folder / "out", "--quarantine", tmp_path / folder / "bad"
        return ("apply", source, *places, *PLAIN, "--workers", 1)

    delaytool(*arguments("expected"))
    expected = files_in(tmp_path / "expected")
    assert sorted(expected) == ["bad/a.parquet", "out/a.parquet"]
    command = [sys.executable, "-c", KILLED, call, number, *arguments("killed")]
    done = subprocess.run([str(part) for part in command], capture_output=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr
    for name, content in files_in(tmp_path / "killed").items():
        assert expected.get(name) == content or name.endswith(".delaytool-part")
    delaytool(*arguments("killed"))
    assert files_in(tmp_path / "killed") == expected, "nothing left over"


@pytest.mark.parametrize("overwrite", [(), ("--overwrite",)])
def test_a_race(tmp_path, overwrite, times):
    """Runs with two kinds of options: what one that ended well has made is there."""
    (tmp_path / "data").mkdir()
    for number in range(6):
        table = tokens_table(rows=200, longest=200, seed=number)
        pq.write_table(table, tmp_path / "data" / f"{number}.parquet")
    for attempt in range(times(1, 3)):
        out = tmp_path / f"out-{attempt}"
        runs = {}
        for number, delays in enumerate(("0,0,1,2", "0,0,2,1", "0,0,1,2")):
            command = ["apply", tmp_path / "data", out, "--n-q", 3, "--delays", delays, "--json"]
            command += ["--workers", 1 + number % 2, *overwrite]
            runs[number, delays] = subprocess.Popen(
                [sys.executable, "-m", "delaytool", *map(str, command)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        ended = [(delays, run, *run.communicate()) for (_, delays), run in runs.items()]
        files = sorted(files_in(out))
        assert set(files) <= {f"{number}.parquet" for number in range(6)}, "no leftovers"
        made = [Record.from_json(entry_of(out / name)).job.recipe.delays for name in files]
        for delays, run, printed, errors in ended:
            if run.returncode:
                assert run.returncode == 1
                assert "is in the way" in errors
                continue
            summary = json.loads(printed)
            assert summary["written"] + summary["unchanged"] == len(files) == 6
            # One that may overwrite takes what the others had made by the time that it began.
            assert overwrite or set(made) == {tuple(map(int, delays.split(",")))}
        assert len(set(made)) == 1 or any(run.returncode for _, run, *_ in ended)


# Going on


@pytest.fixture
def shifted(tmp_path):
    """A folder of outputs, and their sources."""
    (tmp_path / "data" / "more").mkdir(parents=True)
    for number, name in enumerate(("a.parquet", "more/b.parquet")):
        pq.write_table(tokens_table(seed=number), tmp_path / "data" / name)
    delaytool("apply", "data", "out", *PLAIN, cwd=tmp_path)
    return tmp_path


def written(done):
    summary = summary_of(done)
    return summary["written"], summary["unchanged"]


def test_revert_goes_on(shifted):
    arguments = ("revert", "out", "back", "--json")
    assert written(delaytool(*arguments, cwd=shifted)) == (2, 0)
    before = files_in(shifted / "back")
    assert written(delaytool(*arguments, cwd=shifted)) == (0, 2)
    (shifted / "back" / "a.parquet").unlink()
    assert written(delaytool(*arguments, cwd=shifted)) == (1, 1)
    assert files_in(shifted / "back") == before
    assert written(delaytool(*arguments, "--overwrite", cwd=shifted)) == (0, 2)
    path = shifted / "back" / "a.parquet"
    pq.write_table(tokens_table(seed=0), path, row_group_size=2, compression="gzip")
    assert written(delaytool(*arguments, cwd=shifted)) == (0, 2), "the same rows"


def spoil_value(table):
    scores = table["score"].to_pylist()
    scores[3] = 0.0
    return table.set_column(table.column_names.index("score"), "score", pa.array(scores))


def spoil_token(table):
    text = table["text_tokens"].to_pylist()
    text[2][0] += 1
    column = pa.array(text, table["text_tokens"].type)
    return table.set_column(table.column_names.index("text_tokens"), "text_tokens", column)


@pytest.mark.parametrize(
    "spoil",
    [
        spoil_value,
        spoil_token,
        lambda table: table.slice(1),
        lambda table: pa.concat_tables([table, table.slice(0, 1)]),
        lambda table: table.drop_columns(["tags"]),
        lambda table: table.append_column("more", table["id"]),
        lambda table: table.select([*table.column_names[1:], "id"]),
        lambda table: table.replace_schema_metadata({"by": "somebody"}),
        lambda table: table.cast(table.schema.set(0, pa.field("id", pa.large_string()))),
    ],
)
def test_revert_takes_nothing_else_for_what_it_wrote(shifted, spoil):
    delaytool("revert", "out", "back", cwd=shifted)
    path = shifted / "back" / "a.parquet"
    whole, table = path.read_bytes(), spoil(pq.read_table(path))
    pq.write_table(table, path)
    changed = path.read_bytes()
    done = delaytool("revert", "out", "back", cwd=shifted, status=1)
    assert f"the output {os.path.join('back', 'a.parquet')} is in the way" in done.stderr
    assert path.read_bytes() == changed
    summary = written(delaytool("revert", "out", "back", "--overwrite", "--json", cwd=shifted))
    assert summary == (1, 1)
    assert path.read_bytes() == whole


@pytest.mark.parametrize("entries", [{"delaytool": "x"}, {"note": "x"}])
def test_revert_looks_at_the_entries_of_the_footer(shifted, entries):
    delaytool("revert", "out", "back", cwd=shifted)
    path = shifted / "back" / "a.parquet"
    table = pq.read_table(path)
    with pq.ParquetWriter(path, table.schema) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(entries)
    assert "is in the way" in delaytool("revert", "out", "back", cwd=shifted, status=1).stderr


def test_revert_goes_on_with_what_is_lossy(shifted):
    arguments = ("revert", "cut", "back", "--allow-lossy", "--json")
    delaytool("apply", "data", "cut", *PLAIN, "--length", "truncate", cwd=shifted)
    assert written(delaytool(*arguments, cwd=shifted)) == (2, 0)
    (shifted / "back" / "a.parquet").unlink()
    assert written(delaytool(*arguments, cwd=shifted)) == (1, 1)


def test_revert_goes_on_with_each_of_two_files(tmp_path):
    table = tokens_table()
    for folder, names in (
        ("text", ["id", "text_tokens", "speaker"]),
        ("codes", ["id", "audio_codes"]),
    ):
        (tmp_path / folder).mkdir()
        pq.write_table(table.select(names), tmp_path / folder / "a.parquet")
    delaytool("apply", "text", "out", *PLAIN, "--audio-input", "codes", cwd=tmp_path)
    arguments = ("revert", "out", "t", "--audio-output", "c", "--json")
    assert written(delaytool(*arguments, cwd=tmp_path)) == (1, 0)
    before = files_in(tmp_path / "t"), files_in(tmp_path / "c")
    assert written(delaytool(*arguments, cwd=tmp_path)) == (0, 1)
    for folder in ("t", "c"):
        path = tmp_path / folder / "a.parquet"
        path.unlink()
        assert written(delaytool(*arguments, cwd=tmp_path)) == (1, 0)
        assert (files_in(tmp_path / "t"), files_in(tmp_path / "c")) == before
        pq.write_table(pq.read_table(path).slice(1), path)
        assert "is in the way" in delaytool(*arguments, cwd=tmp_path, status=1).stderr
        path.unlink()


def test_revert_of_grids_without_a_record_goes_on(tmp_path):
    recipe = load_preset("musicgen")
    codes = [[7, 8, 9], [1, 2, 3], [4, 5, 6], [0, 1, 2]]
    (tmp_path / "made").mkdir()
    for name in ("a", "b"):
        table = pa.table({"name": [name], "codes": [delay(codes, recipe).tolist()]})
        pq.write_table(table, tmp_path / "made" / f"{name}.parquet")
    arguments = ("revert", "made", "back", "--preset", "musicgen", "--grid-column", "codes")
    assert written(delaytool(*arguments, "--json", cwd=tmp_path)) == (2, 0)
    assert written(delaytool(*arguments, "--json", cwd=tmp_path)) == (0, 2)
    path = tmp_path / "back" / "a.parquet"
    path.unlink()
    assert written(delaytool(*arguments, "--json", cwd=tmp_path)) == (1, 1)
    assert pq.read_table(path)["codes"].to_pylist() == [codes]
    codes[3][1] += 1
    table = pq.read_table(path)
    changed = pa.array([codes], table["codes"].type)
    pq.write_table(table.set_column(1, "codes", changed), path)
    assert "is in the way" in delaytool(*arguments, cwd=tmp_path, status=1).stderr
    assert pq.read_table(path)["codes"].to_pylist() == [codes]


def test_a_revert_that_was_stopped_goes_on(tmp_path):
    (tmp_path / "data").mkdir()
    for number in range(8):
        table = tokens_table(rows=300, longest=400, seed=number)
        pq.write_table(table, tmp_path / "data" / f"{number}.parquet")
    delaytool("apply", "data", "out", *PLAIN, cwd=tmp_path)
    command = [sys.executable, "-m", "delaytool", "revert", "out", "back", "--workers", "1"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not list((tmp_path / "back").glob("*.parquet")):
        time.sleep(0.002)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    if process.returncode:
        assert "Run the same command again to go on" in errors
    done = delaytool("revert", "out", "back", "--json", cwd=tmp_path)
    assert sum(written(done)) == 8
    assert written(done)[1] > 0
    for number in range(8):
        back, table = (pq.read_table(tmp_path / x / f"{number}.parquet") for x in ("back", "data"))
        assert back.equals(table, check_metadata=True)
