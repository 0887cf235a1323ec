"""Windows through the command line: what other projects cut, and what cannot be."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import reference
from golden_cases import WINDOWED, WINDOWED_NAMES, recipe_of, windows_of
from make import delaytool, summary_of

from delaytool.recipes.recipe import Recipe
from delaytool.recipes.stream import Stream

LISTS = pa.list_(pa.list_(pa.int32()))


def options_of(how):
    """The options of the keywords that cut rows into windows."""
    options = []
    for name, value in how.items():
        if value is not None and value is not False:
            options += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return options


@pytest.mark.parametrize("case", WINDOWED, ids=WINDOWED_NAMES)
def test_windows_of_the_peers(case, tmp_path):
    recipe, how = recipe_of(case), windows_of(case)
    source, output, back = (tmp_path / f"{name}.parquet" for name in ("source", "out", "back"))
    pq.write_table(pa.table({"grid": pa.array([case["codes"]], LISTS)}), source)
    (tmp_path / "recipe.json").write_text(recipe.to_json())
    given = ("--grid-column", "grid", "--audio-layout", "codebook", "--label-columns")
    given += ("--recipe", tmp_path / "recipe.json", *options_of(how))
    told = summary_of(delaytool("apply", source, output, *given, "--json"))
    made = pq.read_table(output)
    expected = case["expected"] if how else [case["expected"]]
    assert made["codes"].to_pylist() == expected
    assert told["windows"] == (len(expected) if how else 0)
    assert told["rows"] == 1
    delaytool("verify", output)
    delaytool("verify", output, "--source", source)
    if told["dropped_frames"] or told["lost"]:
        delaytool("revert", output, back, status=1)
        delaytool("revert", output, back, "--allow-lossy")
    else:
        delaytool("revert", output, back)
        assert pq.read_table(back).equals(pq.read_table(source))


RECIPE = Recipe(
    (
        Stream("text", "text", 0, 50, 3, 50),
        Stream("a", "semantic", 1, 50, 50, 50),
        Stream("b", "acoustic", 2, 50, 50, 50),
    ),
    initial_step=True,
)


@pytest.fixture
def folder(tmp_path):
    """A shard of rows of 10 and 3 frames, and its recipe."""
    rows = [[[k * 10 + t for t in range(frames)] for k in range(3)] for frames in (10, 3)]
    pq.write_table(pa.table({"grid": pa.array(rows, LISTS)}), tmp_path / "in.parquet")
    (tmp_path / "recipe.json").write_text(RECIPE.to_json())
    return tmp_path


def options(folder, *more):
    where = ("--grid-column", "grid", "--audio-layout", "codebook")
    recipe = ("--recipe", folder / "recipe.json")
    return (folder / "in.parquet", folder / "out.parquet", *where, *recipe, *more)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--window", "0"), "expected an integer from 1"),
        (("--window", "-2"), "expected an integer from 1"),
        (
            ("--window", "0.01s"),
            "--window: 0.01s is less than a frame at 12.5 a second",
        ),
        (
            ("--window", "some"),
            '--window: "some" is no time, expected frames such as 16',
        ),
        (("--window", "2", "--length", "truncate"), "stream b no token of a window of 2 frames"),
        (("--window", "4", "--window-min", "0"), "expected an integer from 1"),
        (("--window", "4", "--window-pad", "--window-cut", "after"), 'expected "before"'),
        (("--window", "4", "--window-pad", "--window-split", "even"), 'expected "fixed"'),
        (("--window-pad",), "go with --window"),
        (("--window", "4", "--final-weight", "1"), "expected --window-cut after"),
    ],
)
def test_windows_that_cannot_be(given, said, folder):
    # What is trained has to be a token that the output can predict.
    if "--final-weight" in given:
        streams = [{**s, "final": 3} for s in RECIPE.to_dict()["streams"]]
        text = json.dumps({**RECIPE.to_dict(), "streams": streams})
        (folder / "recipe.json").write_text(text)
    result = delaytool("apply", *options(folder, *given), status=2)
    assert said in result.stderr
    assert not (folder / "out.parquet").exists()


def test_a_column_in_the_way(folder):
    table = pq.read_table(folder / "in.parquet").append_column("window_start", [[1, 2]])
    pq.write_table(table, folder / "in.parquet")
    delaytool("apply", *options(folder))
    (folder / "out.parquet").unlink()
    result = delaytool("apply", *options(folder, "--window", "4"), status=2)
    assert "the column window_start is in the way" in result.stderr


def test_seconds_are_rounded_down(folder):
    delaytool("apply", *options(folder, "--window", "0.4s", "--frame-rate", "12.3"))
    assert pq.read_table(folder / "out.parquet")["window_start"].to_pylist() == [0, 4, 8, 0]


def test_inspect_says_which_window_it_shows(folder):
    delaytool("apply", *options(folder, "--window", "4"))
    shown = delaytool("inspect", folder / "out.parquet", "--row", "1").stdout
    assert "row 1 of 4, window 1 from frame 4 on, of a row of 10 frames" in shown


def test_inspect_shows_what_is_filled_in_a_window_that_was_cut_after_the_shift(folder):
    delaytool("apply", *options(folder, "--window", "5", "--window-cut", "after"))
    rows = pq.read_table(folder / "in.parquet")["grid"].to_pylist()
    cells = [reference.filled(row, RECIPE) for row in rows]
    windows = [(0, 0, 5), (0, 5, 10), (0, 10, 13), (1, 0, 5), (1, 5, 6)]
    output = folder / "out.parquet"
    for number, (row, start, stop) in enumerate(windows):
        shown = json.loads(delaytool("inspect", output, "--row", str(number), "--json").stdout)
        assert shown["filled"] == [[bool(c) for c in line[start:stop]] for line in cells[row]]
    said = delaytool("inspect", output, "--row", "1", "--before", status=2).stderr
    assert "cut after the shift" in said


def test_stats_counts_windows(folder):
    delaytool("apply", *options(folder, "--window", "4", "--window-min", "3"))
    told = json.loads(delaytool("stats", folder / "out.parquet", "--json").stdout)
    assert told["cut"] == {
        "windows": 3,
        "mean_timesteps": (7 + 7 + 6) / 3,
        "short": 1,
        "filled_frames": 0,
        "filled_share": 0,
        "dropped_windows": 1,
        "dropped_frames": 2,
        "dropped_rows": 0,
    }
    assert told["rows"] == 2


def test_stats_say_how_full_windows_are(folder):
    delaytool("apply", *options(folder, "--window", "4", "--window-pad"))
    told = json.loads(delaytool("stats", folder / "out.parquet", "--json").stdout)["cut"]
    assert (told["mean_timesteps"], told["filled_frames"]) == (7, 3)
    assert told["filled_share"] == 3 / 16
    said = " ".join(delaytool("stats", folder / "out.parquet").stdout.split())
    assert "windows 4 (of 7 timesteps on average; 2 shorter than the others)" in said
    assert "filled up with 3 frames (18.8% of the windows)" in said
    delaytool("apply", *options(folder, "--window", "5", "--window-cut", "after", "--overwrite"))
    told = json.loads(delaytool("stats", folder / "out.parquet", "--json").stdout)["cut"]
    assert told["mean_timesteps"] == (5 + 5 + 3 + 5 + 1) / 5


def test_shards_of_other_windows_in_one_folder_are_a_mismatch(folder):
    (folder / "out").mkdir()
    for name, size in (("a", "4"), ("b", "5")):
        given = list(options(folder, "--window", size))
        given[1] = folder / f"out/{name}.parquet"
        delaytool("apply", *given)
    result = delaytool("verify", folder / "out", status=1)
    assert "windows" in result.stderr + result.stdout


def test_revert_says_what_windows_that_were_dropped_held(folder):
    delaytool("apply", *options(folder, "--window", "4", "--window-min", "4"))
    out, back = folder / "out.parquet", folder / "back.parquet"
    said = delaytool("stats", out).stdout
    assert "dropped windows  2 (5 frames; none is left of 1 rows)" in said
    said = delaytool("revert", out, back, status=1).stderr
    assert "windows were dropped, of 5 frames and no window is left of 1 rows" in said
    said = delaytool("revert", out, back, "--allow-lossy").stdout.splitlines()
    assert said[0].startswith(f"{back}: 1 shard (1 written, 0 unchanged), 1 row as they were")
    assert said[1:] == [
        "but 5 frames of windows that had been dropped",
        "but 1 row of which no window is left",
    ]


def test_a_row_of_no_frames_is_missing_where_its_window_was_dropped(tmp_path):
    rows = pa.array([[[1, 2]], [[]]], LISTS)
    pq.write_table(pa.table({"grid": rows}), tmp_path / "in.parquet")
    recipe = Recipe((Stream("a", "semantic", 1, 50, 50, 50),))
    (tmp_path / "recipe.json").write_text(recipe.to_json())
    delaytool("apply", *options(tmp_path, "--window-min", "1"))
    out, back = tmp_path / "out.parquet", tmp_path / "back.parquet"
    said = delaytool("revert", out, back, status=1).stderr
    assert "no window is left of 1 rows, which cannot come back" in said
    assert not back.exists()
    told = summary_of(delaytool("revert", out, back, "--allow-lossy", "--json"))
    assert (told["rows"], told["dropped_frames"], told["dropped_rows"]) == (1, 0, 1)
