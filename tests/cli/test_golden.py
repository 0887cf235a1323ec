"""Whole grids of single models through the command line: apply, verify, revert, inspect."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import reference
from golden_cases import CASES, NAMES, recipe_of
from make import delaytool, summary_of

LISTS = pa.list_(pa.list_(pa.int64()))


def split_table(codes, recipe):
    """Columns of text and of codes, and the options that name them; the codes stand first."""
    texts = {f"text_{k}": [codes[k]] for k in recipe.text_numbers}
    audio = pa.array([[codes[k] for k in recipe.audio_numbers]], LISTS)
    options = [part for name in texts for part in ("--text-column", name)]
    return pa.table({"audio_codes": audio, **texts}), (*options, "--audio-layout", "codebook")


def rows_of(table, recipe, suffix=""):
    """The cells [K][S] of the only row, from the columns of a split output."""
    (row,) = table.to_pylist()
    texts = [f"text_{k}" for k in recipe.text_numbers]
    audio = "audio_codes"
    if suffix:
        texts = [f"{name}_{suffix}" for name in texts] if len(texts) > 1 else [f"text_{suffix}"]
        audio = f"audio_{suffix}"
    lines = dict(zip(recipe.audio_numbers, row[audio], strict=True))
    lines |= {k: row[name] for k, name in zip(recipe.text_numbers, texts, strict=False)}
    return [lines[k] for k in range(len(recipe.streams))]


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_columns_of_text_and_codes(case, tmp_path):
    recipe = recipe_of(case)
    source, output, back = (tmp_path / f"{name}.parquet" for name in ("source", "out", "back"))
    table, options = split_table(case["codes"], recipe)
    pq.write_table(table, source)
    (tmp_path / "recipe.json").write_text(recipe.to_json())
    given = ("--recipe", tmp_path / "recipe.json")
    told = summary_of(delaytool("apply", source, output, *given, *options, "--json"))
    made = pq.read_table(output)
    assert rows_of(made, recipe) == case["expected"]
    lost = sum(line.count(None) for line in reference.cut(case["codes"], recipe))
    assert told["lost"] == lost
    if "trained" in case:
        weights = rows_of(made, recipe, "loss_weights")
        for line, marks in zip(weights, case["trained"], strict=True):
            assert line[1:] == [float(mark) for mark in marks[1:]]
    for how in ((), ("--source", source), given):
        delaytool("verify", output, *how)
    if lost:
        assert f"cut off {lost} tokens" in delaytool("revert", output, back, status=1).stderr
    delaytool("revert", output, back, *(["--allow-lossy"] if lost else []))
    assert rows_of(pq.read_table(back), recipe) == reference.cut(case["codes"], recipe)


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_a_grid_in_one_column(case, tmp_path):
    recipe = recipe_of(case)
    source, output = tmp_path / "source.parquet", tmp_path / "out.parquet"
    pq.write_table(pa.table({"grid": pa.array([case["codes"]], LISTS)}), source)
    (tmp_path / "recipe.json").write_text(recipe.to_json())
    options = ("--grid-column", "grid", "--audio-layout", "codebook", "--recipe")
    delaytool("apply", source, output, *options, tmp_path / "recipe.json")
    assert pq.read_table(output)["codes"].to_pylist() == [case["expected"]]
    delaytool("verify", output, "--source", source)
    shown = json.loads(delaytool("inspect", output, "--json").stdout)
    cells = reference.filled(case["codes"], recipe)
    fills = ("initial", "final", "padding", "last")
    assert shown["codes"] == case["expected"]
    assert shown["filled"] == [[what in fills for what in line] for line in cells]
    assert shown["offset"] == [[what in ("lead", "trail") for what in line] for line in cells]
