"""Text that is shorter or longer than the audio, of every type, whatever it is padded with."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from make import delaytool, errors_of, summary_of, without_marks
from strategies import INTEGERS

from delaytool import read_grid
from delaytool.recipes.presets import plain_recipe

FRAMES = (5, 0, 7, 3)
DELAYS = (2, 0, 1)


def aligned_shard(path, kind, longer):
    """A shard of two codebooks whose rows have text that is shorter, or longer; and that text."""
    random = np.random.default_rng(3)
    by = 1 if longer else -1
    lengths = [max(frames + by * (row % 3), 0) for row, frames in enumerate(FRAMES)]
    text = [random.integers(0, 100, length).tolist() for length in lengths]
    codes = [random.integers(0, 2048, (2, frames)).tolist() for frames in FRAMES]
    columns = {
        "text_tokens": pa.array(text, pa.list_(pa.type_for_alias(kind))),
        "audio_codes": pa.array(codes, pa.list_(pa.list_(pa.int16()))),
    }
    pq.write_table(pa.table(columns), path)
    return text


@pytest.mark.parametrize("kind", INTEGERS)
@pytest.mark.parametrize("padding", [-1, 3, 300, 70000])
@pytest.mark.parametrize("length", ["extend", "truncate"])
@pytest.mark.parametrize("layout", ["split", "grid"])
def test_padding_that_the_type_does_not_hold(tmp_path, kind, padding, length, layout):
    source, out, back = (tmp_path / f"{name}.parquet" for name in ("a", "out", "back"))
    text = aligned_shard(source, kind, longer=False)
    recipe = ("--n-q", 2, "--delays", ",".join(map(str, DELAYS)), "--length", length)
    recipe += ("--text-padding", padding, "--text-card", 80000, "--text-initial", 5)
    delaytool("apply", source, out, *recipe, "--align", "pad", "--output-layout", layout)
    column = pq.read_table(out)["codes" if layout == "grid" else "text_tokens"].to_pylist()
    for row, tokens, frames in zip(column, text, FRAMES, strict=True):
        whole = [5] * DELAYS[0] + tokens + [padding] * (frames - len(tokens))
        cells = row[0] if layout == "grid" else row
        assert cells == (whole if length == "extend" else whole[:frames])
    delaytool("verify", out)
    delaytool("verify", out, "--source", source)
    delaytool("stats", source, "--align", "pad")
    if length == "extend":
        delaytool("revert", out, back)
        assert pq.read_table(back).equals(pq.read_table(source), check_metadata=True)
    else:
        delaytool("revert", out, back, "--allow-lossy")
        assert pq.read_schema(back).equals(pq.read_schema(source), check_metadata=True)


@pytest.mark.parametrize("kind", INTEGERS)
@pytest.mark.parametrize("padding", [-1, 3, 70000])
@pytest.mark.parametrize("delays", ["0,0,1", "0,0,0"])
def test_text_that_is_cut_needs_no_padding(tmp_path, kind, padding, delays):
    """Not even where nothing is padded, so that the output keeps its type."""
    source, out, back = (tmp_path / f"{name}.parquet" for name in ("a", "out", "back"))
    text = aligned_shard(source, kind, longer=True)
    recipe = ("--n-q", 2, "--delays", delays, "--text-card", 80000, "--text-padding", padding)
    done = delaytool("apply", source, out, *recipe, "--align", "trim", "--json")
    cut = sum(map(len, text)) - sum(FRAMES)
    assert summary_of(done)["trimmed"] == cut > 0
    column = pq.read_table(out)["text_tokens"]
    tail = [padding] if delays == "0,0,1" else []
    expected = [tokens[:frames] + tail for tokens, frames in zip(text, FRAMES, strict=True)]
    assert column.to_pylist() == expected
    if not tail:
        assert without_marks(column.type) == str(pq.read_table(source)["text_tokens"].type)
    delaytool("verify", out)
    delaytool("verify", out, "--source", source)
    delaytool("revert", out, back, "--allow-lossy")
    cells = zip(text, FRAMES, strict=True)
    assert pq.read_table(back)["text_tokens"].to_pylist() == [t[:frames] for t, frames in cells]


@pytest.mark.parametrize("column", ["text_tokens", "audio_codes"])
@pytest.mark.parametrize("part", ["", "[0:2]"])
def test_tokens_are_no_weights(tmp_path, column, part):
    aligned_shard(tmp_path / "a.parquet", "int32", longer=False)
    where = ("--audio-column", f"audio_codes{part}", "--audio-layout", "codebook")
    where += ("--weight-column", column, "--align", "pad")
    command = ("apply", tmp_path / "a.parquet", tmp_path / "o", "--n-q", 2, "--delays", 1, *where)
    done = delaytool(*command, status=2)
    assert f"--weight-column is {column}, which holds tokens" in errors_of(done)[0]
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("wrap", [lambda mask: mask, lambda mask: [mask] * 3])
@pytest.mark.parametrize("kind", [pa.bool_(), pa.float32(), pa.int8()])
def test_masks_are_weights(tmp_path, wrap, kind):
    """True is 1 and false 0, also where a batch begins within a byte of eight."""
    random = np.random.default_rng(1)
    rows = [random.integers(0, 2, frames).tolist() for frames in (3, 0, 9, 20, 1)]
    values = [wrap([kind.to_pandas_dtype()(value) for value in row]) for row in rows]
    depth = pa.list_(pa.list_(kind)) if wrap([1]) != [1] else pa.list_(kind)
    table = pa.table(
        {
            "text_tokens": [[9] * len(row) for row in rows],
            "audio_codes": [[[1] * len(row)] * 2 for row in rows],
            "mask": pa.array(values, depth),
        }
    )
    source, out = tmp_path / "a.parquet", tmp_path / "out.parquet"
    pq.write_table(table, source, row_group_size=2)
    recipe = ("--n-q", 2, "--delays", "0,1,2")
    delaytool("apply", source, out, *recipe, "--weight-column", "mask")
    made = pq.read_table(out)
    assert made["text_loss_weights"].to_pylist() == [[*row, 0, 0] for row in rows]
    semantic = [[0, *(100 * value for value in row), 0] for row in rows]
    assert [row[0] for row in made["audio_loss_weights"].to_pylist()] == semantic
    assert made["mask"].equals(table["mask"])
    delaytool("verify", out)
    delaytool("verify", out, "--source", source)
    delaytool("revert", out, tmp_path / "back.parquet")
    grid = read_grid(
        source, row=2, after=True, recipe=plain_recipe(2, (0, 1, 2)), weight_column="mask"
    )
    assert grid.weights[0] == [*rows[2], 0, 0]


def test_a_null_in_a_mask(tmp_path):
    table = pa.table(
        {"text_tokens": [[9, 9]], "audio_codes": [[[1, 1], [2, 2]]], "mask": [[True, None]]}
    )
    pq.write_table(table, tmp_path / "a.parquet")
    command = ("apply", tmp_path / "a.parquet", tmp_path / "o", "--n-q", 2, "--delays", 1)
    where = ("--audio-layout", "codebook", "--weight-column", "mask")
    done = delaytool(*command, *where, status=1)
    assert "a.parquet, row 0, column mask, timestep 1: a null" in errors_of(done)[0]
