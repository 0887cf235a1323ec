"""`inspect --compare` of windows: each with the part of the row that it was cut from."""

import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from make import delaytool, entry_of, rewrite

from delaytool import apply, read_grid
from delaytool.recipes.recipe import Recipe
from delaytool.recipes.stream import Stream

LISTS = pa.list_(pa.list_(pa.uint16()))
RECIPE = Recipe(
    (
        Stream("text", "text", 0, 50, 3, 50, offset=1, trail=3),
        Stream("a", "semantic", 1, 50, 50, 50, trail=7),
        Stream("b", "acoustic", 2, 50, 50, 50),
    ),
    initial_step=True,
)
FRAMES = (10, 3, 0, 9, 1, 12, 5, 8)
BAD, SHORT = 3, (1, 2, 4)
"""Of these rows one is in quarantine, and those too short for a window are dropped."""
CUTS = [
    {"window": 4},
    {"window": 4, "window_pad": True},
    {"window": 4, "window_min": 4},
    {"window": 5, "window_min": 4, "window_split": "even"},
    {"window": 5, "window_cut": "after"},
    {"window": 5, "window_cut": "after", "window_split": "even", "window_min": 5},
    {"window_min": 5},
]


def table_of(keys=None, change=None):
    """Rows of text and codes; one token outside of its vocabulary.

    change: row, stream and frame of a token that is another one
    """
    random = np.random.default_rng(7)
    grids = [random.integers(0, 50, (3, frames)).tolist() for frames in FRAMES]
    grids[BAD][1][2] = 99
    if change is not None:
        row, stream, frame = change
        grids[row][stream][frame] += 1 if grids[row][stream][frame] < 49 else -1
    columns = {} if keys is None else {"id": pa.array(keys)}
    columns["text_tokens"] = pa.array([grid[0] for grid in grids], pa.list_(pa.uint16()))
    columns["audio_codes"] = pa.array([grid[1:] for grid in grids], LISTS)
    return pa.table(columns)


def windows(tmp_path, how, keys=None, recipe=RECIPE):
    """A source, its windows and how many there are."""
    data, out = tmp_path / "data.parquet", tmp_path / "out.parquet"
    pq.write_table(table_of(keys), data)
    apply(data, out, recipe, audio_layout="codebook", quarantine=tmp_path / "bad", **how)
    return data, out, pq.read_metadata(out).num_rows


@pytest.mark.parametrize("truncates", [False, True])
@pytest.mark.parametrize("how", CUTS)
def test_each_window_is_that_part_of_its_row(how, truncates, tmp_path):
    recipe = Recipe(RECIPE.streams, initial_step=True, length="truncate" if truncates else "extend")
    data, out, count = windows(tmp_path, how, recipe=recipe)
    made = pq.read_table(out)
    firsts = [row for row in range(len(FRAMES)) if row != BAD]
    if "window_min" in how and not ("after" in how.values() and not truncates):
        firsts = [row for row in firsts if row not in SHORT]
    source_row = None
    for row in range(count):
        if made["window"][row].as_py() == 0:
            source_row = firsts.pop(0)
            while FRAMES[source_row] != made["row_frames"][row].as_py():
                source_row = firsts.pop(0)
        done = delaytool("inspect", out, "--compare", data, "--row", row, "--json")
        shown = json.loads(done.stdout)
        assert shown["source_row"] == source_row
        for name in ("window", "window_start", "row_frames"):
            assert shown[name] == made[name][row].as_py()
    said = delaytool("inspect", out, "--compare", data, "--row", row).stdout
    assert f"of a row of {FRAMES[source_row]} frames, row {source_row} of the source" in said


@pytest.mark.parametrize(
    ("how", "row", "step"),
    [
        ({"window": 4, "window_pad": True}, 2, 1),  # Frame 9 is the second one from 8 on.
        ({"window": 5, "window_cut": "after"}, 2, 2),  # And at timestep 1 + 2 + 9 of b.
    ],
)
def test_a_token_that_differs_is_one_of_its_window(how, row, step, tmp_path):
    data, out, _ = windows(tmp_path, how)
    pq.write_table(table_of(change=(0, 2, 9)), data)
    for other in range(5):
        given = ("inspect", out, "--compare", data, "--row", other)
        done = delaytool(*given, status=1 if other == row else 0)
        said = done.stdout.splitlines()[-1]
        if other == row:
            assert "in 1 cell, first in stream b, timestep" in said
            assert f"timestep {step}: " in said
        else:
            assert said == f"the same as in {data}"


def test_what_fills_a_window_up_and_what_the_pattern_fills_are_compared(tmp_path):
    for how, cell in (
        ({"window": 4, "window_pad": True}, (2, 0, 5)),  # Padding of the text's third window.
        ({"window": 5, "window_cut": "after"}, (0, 1, 1)),
    ):
        data, out, _ = windows(tmp_path, how)
        made, (row, stream, step) = pq.read_table(out), cell
        name = "text_tokens" if stream == 0 else "audio_codes"
        values = made[name].to_pylist()
        (values[row] if stream == 0 else values[row][stream - 1])[step] = 9
        column = pa.array(values, made.schema.field(name).type)
        changed = made.set_column(made.column_names.index(name), made.schema.field(name), column)
        rewrite(out, changed, entry_of(out))
        done = delaytool("inspect", out, "--compare", data, "--row", row, status=1)
        assert "in 1 cell, first in stream" in done.stdout
        assert ": 9, there " in done.stdout
        out.unlink()
        (tmp_path / "bad" / "data.parquet").unlink()


def test_the_first_window_of_a_key_is_shown_and_the_others_are_named(tmp_path):
    keys = [f"utt-{row}" for row in range(len(FRAMES))]
    data, out, _ = windows(tmp_path, {"window": 4}, keys)
    # With keys the order of the source's rows is of no account.
    pq.write_table(table_of(keys).take(list(range(len(FRAMES)))[::-1]), data)
    done = delaytool("inspect", out, "--id", "utt-5", "--compare", data)
    assert "row 6 of 13 (id 'utt-5'), window 0 from frame 0 on, of a row of 12" in done.stdout
    note = "Note: rows 7, 8 have this key too, row 6 is shown; --row names another"
    assert note in done.stderr.splitlines()
    done = delaytool("inspect", out, "--id", "utt-5", "--compare", data, "--json")
    assert json.loads(done.stdout)["id"] == "utt-5"
    assert note in done.stderr.splitlines()
    delaytool("inspect", out, "--row", 8, "--compare", data)


def test_rows_that_share_a_key(tmp_path):
    data, out, count = windows(tmp_path, {"window": 4, "window_min": 2}, ["x"] * len(FRAMES))
    whole = tmp_path / "whole.parquet"
    apply(data, whole, RECIPE, audio_layout="codebook", quarantine=tmp_path / "bad2")
    for row in range(count):
        delaytool("inspect", out, "--compare", data, "--row", row)
        delaytool("inspect", out, "--compare", whole, "--row", row)


def test_shards_that_are_shifted_too(tmp_path):
    for number, how in enumerate(CUTS):
        folder = tmp_path / str(number)
        folder.mkdir()
        data, out, count = windows(folder, how)
        whole, same, other = (folder / f"{name}.parquet" for name in ("whole", "same", "other"))
        for path, cuts in ((whole, {}), (same, how), (other, {"window": 6})):
            bad = folder / path.stem
            apply(data, path, RECIPE, audio_layout="codebook", quarantine=bad, **cuts)
        for row in range(count):
            delaytool("inspect", out, "--compare", whole, "--row", row)
        delaytool("inspect", out, "--compare", same, "--row", count - 1)
    said = delaytool("inspect", out, "--compare", other, status=2).stderr
    assert "other.parquet are windows that were cut in another way" in said
    for path in (data, whole):
        said = delaytool("inspect", path, "--compare", out, status=2).stderr
        assert "rows of out.parquet are windows, expected whole rows; give that shard first" in said


def test_windows_of_aligned_rows_whose_codes_are_in_shards_of_their_own(tmp_path):
    random = np.random.default_rng(5)
    ids, frames, more = ["a", "b", "c"], [9, 6, 11], [2, -1, 0]
    for name in ("text", "codes"):
        (tmp_path / name).mkdir()
    tokens = [random.integers(0, 50, n + m).tolist() for n, m in zip(frames, more, strict=True)]
    codes = [random.integers(0, 50, (2, n)).tolist() for n in frames]
    text, audio = tmp_path / "text/a.parquet", tmp_path / "codes/a.parquet"
    pq.write_table(pa.table({"id": ids, "mimi": tokens}), text)
    pq.write_table(pa.table({"id": ids, "audio_codes": codes}), audio)
    for cut in ("before", "after"):
        out = tmp_path / f"{cut}.parquet"
        how = {"window": 4, "window_cut": cut, "align": "fit", "text_column": "mimi"}
        apply(text, out, RECIPE, audio_input=audio, audio_layout="codebook", **how)
        for row in range(pq.read_metadata(out).num_rows):
            given = ("--compare", text, "--audio-input", audio, "--row", row)
            delaytool("inspect", out, *given)
        delaytool("inspect", out, "--compare", text, "--audio-input", audio, "--id", "b")
        done = delaytool("inspect", out, "--compare", text, "--id", "b", status=1)
        assert "--audio-input" in done.stderr


def test_rows_that_have_no_such_window(tmp_path):
    data, out, _ = windows(tmp_path, {"window": 4})
    table = pq.read_table(data)
    pq.write_table(table.take([6, 1, 2, 3, 4, 5, 0, 7]), data)
    done = delaytool("inspect", out, "--compare", data, "--row", 1, status=1)
    assert "the window is of a row of 10 frames, expected one of 5, as row 0" in done.stderr
    made = pq.read_table(out)
    column = pa.array([0, 1, 7, *made["window"].to_pylist()[3:]], pa.int32())
    index = made.column_names.index("window")
    rewrite(out, made.set_column(index, made.schema.field("window"), column), entry_of(out))
    pq.write_table(table, data)
    done = delaytool("inspect", out, "--compare", data, "--row", 2, status=1)
    assert "it is window 7 of its row, expected 0 to 2" in done.stderr
    rewrite(out, made.slice(1), entry_of(out))
    assert "of the source" not in delaytool("inspect", out).stdout
    done = delaytool("inspect", out, "--compare", data, status=1)
    assert "nothing tells which row the window was cut from" in done.stderr
    column = pa.array([None, *made["window"].to_pylist()[1:]], pa.int32())
    rewrite(out, made.set_column(index, "window", column), entry_of(out))
    done = delaytool("inspect", out, status=1)
    assert "row 0, column window: a null" in done.stderr


def test_what_fills_a_window_up_is_marked(tmp_path):
    _, out, _ = windows(tmp_path, {"window": 4, "window_pad": True})
    given = ("inspect", out, "--row", 2)  # Two frames of ten, and two that fill it up.
    labels = delaytool(*given, "--labels").stdout
    text, first, second = (
        next(line for line in labels.splitlines() if line.startswith(name))
        for name in ("text ", "a ", "b ")
    )
    assert text.split()[1:] == ["S", "O", "text_1", "text_2", "P", "P", "S", "S"]
    assert first.split()[1:] == ["S", "S", "semantic_1", "semantic_2", "P", "P", "O", "S"]
    assert second.split()[1:] == ["S", "S", "S", "acoustic_1", "acoustic_2", "P", "P", "O"]
    said = delaytool(*given).stdout
    assert said.count("{3}") == said.count("{7}") == said.count("{-1}") == 2
    assert "{id}: fills the window up" in said
    shown = json.loads(delaytool(*given, "--json").stdout)
    assert shown["added"][2] == [False] * 5 + [True, True, False]
    before = json.loads(delaytool(*given, "--before", "--json").stdout)
    assert before["added"] == [[False, False, True, True]] * 3
    html = read_grid(out, row=2)._repr_html_()
    assert html.count('title="fills the window up') == 6
    whole = json.loads(delaytool("inspect", out, "--row", 0, "--json").stdout)
    assert not any(map(any, whole["added"]))


def test_pictures_of_windows(tmp_path):
    pytest.importorskip("matplotlib")
    _, out, _ = windows(tmp_path, {"window": 4, "window_pad": True})
    path = tmp_path / "a.svg"
    delaytool("inspect", out, "--row", 2, "--image", path)
    text = path.read_text()
    assert "fills the window up" in text
    # The title takes as many lines as it needs.
    assert "window 2 from frame 8 on, of a row of 10 frames, row 0 of the source" in " ".join(
        re.findall(r"<text[^>]*>([^<]*)</text>", text)
    )
    lines = re.findall(r">(out.parquet, [^<]*)<", text)
    assert len(lines) == 1
    assert len(lines[0]) < 70
