"""The functions do what the commands do, and leave the process that calls them alone."""

import json
import multiprocessing
import re
import signal
import subprocess
import sys
from dataclasses import FrozenInstanceError
from html.parser import HTMLParser

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from make import delaytool as command
from make import files_in, plain_recipe, summary_of, tokens_table
from pages import example_with

import delaytool
from delaytool.errors import DataError, RecipeError

RECIPE = plain_recipe(3, (0, 0, 1, 2))
PLAIN = ("--n-q", "3", "--delays", "0,0,1,2")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(2):
        pq.write_table(tokens_table(seed=number), folder / f"{number}.parquet")
    return folder


@pytest.fixture
def quiet(capfd):
    """Fails where something is printed, a signal handled or a process left behind."""
    before = [signal.getsignal(number) for number in SIGNALS]
    yield
    assert [signal.getsignal(number) for number in SIGNALS] == before
    assert capfd.readouterr() == ("", "")
    assert not multiprocessing.active_children()


def timeless(result):
    """A result as JSON has it, without how long it took."""
    plain = json.loads(json.dumps(result))
    plain.pop("seconds", None)
    return plain


def test_results_are_what_the_commands_print(data, tmp_path):
    out, other, back = tmp_path / "out", tmp_path / "other", tmp_path / "back"
    applied = delaytool.apply(data, out, RECIPE)
    printed = summary_of(command("apply", data, other, *PLAIN, "--json"))
    assert timeless(applied.to_dict()) == timeless(printed)
    assert files_in(out) == files_in(other)
    assert (applied.shards, applied.written, applied.unchanged) == (2, 2, 0)
    assert delaytool.apply(data, out, RECIPE).unchanged == 2

    verified = delaytool.verify(out, source=data)
    printed = summary_of(command("verify", out, "--source", data, "--json"))
    assert verified.to_dict() == printed
    assert verified.verified

    reverted = delaytool.revert(out, back)
    printed = summary_of(command("revert", out, tmp_path / "again", "--json"))
    assert timeless(reverted.to_dict()) == timeless(printed)
    assert files_in(back) == files_in(tmp_path / "again")

    for folder in (out, data):
        printed = summary_of(command("stats", folder, "--json"))
        assert delaytool.stats(folder).to_dict() == printed


def test_mismatches_are_results(data, tmp_path):
    delaytool.apply(data, tmp_path / "out", RECIPE)
    table = pq.read_table(data / "1.parquet")
    pq.write_table(table.set_column(4, "score", pa.array([0.5] * 12)), data / "1.parquet")
    found = delaytool.verify(tmp_path / "out", source=data)
    assert not found.verified
    assert found.count == 12
    place = found.mismatches[0].place
    assert (place.shard, place.row, place.column) == ("1.parquet", 0, "score")


def test_nothing_is_printed_and_signals_stay(data, tmp_path, quiet):
    told = []
    out = tmp_path / "out"
    delaytool.apply(data, out, RECIPE, progress=told.append)
    assert {run.work for run in told} == {"shifting"}
    assert (told[0].shards_done, told[0].bytes_done) == (0, 0)
    last = told[-1]
    assert (last.shards_done, last.bytes_done) == (last.shards, last.bytes)
    assert last.shards == 2
    delaytool.verify(out)
    delaytool.revert(out, tmp_path / "back")
    delaytool.stats(out)
    delaytool.read_grid(out / "0.parquet")


def test_notes_are_told_and_kept(data, tmp_path, quiet):
    (data / "_old").mkdir()
    (data / "0.parquet").rename(data / "_old" / "0.parquet")
    told = []
    result = delaytool.apply(data, tmp_path / "out", RECIPE, on_note=told.append)
    assert any("_old" in text for text in result.notes)
    assert [note.kind for note in told].count("recipe") == 1
    with pytest.raises(FrozenInstanceError):
        result.rows = 0


def test_errors_are_raised(data, tmp_path, quiet):
    with pytest.raises(RecipeError, match="does not exist"):
        delaytool.apply(tmp_path / "none", tmp_path / "out", RECIPE)
    with pytest.raises(RecipeError, match="exclude one another"):
        delaytool.stats(data, key="id", no_key=True)
    with pytest.raises(RecipeError, match="engine is 'spark'"):
        delaytool.verify(data, engine="spark")
    with pytest.raises(RecipeError, match="align is 'guess'"):
        delaytool.apply(data, tmp_path / "out", RECIPE, align="guess")
    with pytest.raises(DataError) as raised:
        delaytool.apply(data, tmp_path / "out", RECIPE, text_column="words")
    assert raised.value.kind == "missing-column"
    assert not (tmp_path / "out").exists()


class Cells(HTMLParser):
    """The cells of a table's rows."""

    def __init__(self):
        super().__init__()
        self.rows, self.tags = [], set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data):
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


def test_a_notebook_shows_a_table(tmp_path):
    evil = "<script>alert(1)</script>&"
    table = tokens_table(rows=1).set_column(0, "id", pa.array([evil]))
    pq.write_table(table, tmp_path / "a.parquet")
    delaytool.apply(tmp_path / "a.parquet", tmp_path / "out.parquet", RECIPE)
    grid = delaytool.read_grid(tmp_path / "out.parquet", id=evil)
    shown = grid._repr_html_()
    assert "&lt;script&gt;" in shown
    cells = Cells()
    cells.feed(shown)
    assert cells.tags == {"div", "p", "br", "table", "tr", "th", "td"}
    head, *rows = cells.rows
    assert head == ["timestep", *map(str, range(grid.steps))]
    assert [row[0] for row in rows] == grid.streams
    assert [row[1:] for row in rows] == [[str(code) for code in line] for line in grid.codes]
    assert len(re.findall('title="filled', shown)) == sum(map(sum, grid.filled))
    before = delaytool.read_grid(tmp_path / "out.parquet", before=True)
    original = delaytool.read_grid(tmp_path / "a.parquet")
    assert before.codes == original.codes


def test_the_shift_is_imported_without_the_rest():
    code = (
        "import sys; from delaytool import delay; "
        "assert not {'click', 'pyarrow.parquet', 'delaytool.api'} & set(sys.modules); "
        "import delaytool; assert 'apply' in dir(delaytool); delaytool.verify; "
        "assert 'click' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_readmes_example(here, monkeypatch):
    monkeypatch.chdir(here)
    exec(example_with("delaytool.apply("), {})
    assert sorted(path.name for path in (here / "shifted").iterdir()) == ["train-00000.parquet"]
