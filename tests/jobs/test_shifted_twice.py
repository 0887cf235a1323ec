"""Originals that are shifted already, though no entry in a footer says so."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from make import delaytool, errors_of

from delaytool.recipes.presets import load_preset

LISTS = pa.list_(pa.list_(pa.int64()))
ALREADY = "they are shifted already"


def codes_of(recipe, frames=(20, 31, 12), seed=0):
    random = np.random.default_rng(seed)
    return [random.integers(0, 1000, (recipe.n_q, n)).tolist() for n in frames]


def write(path, recipe, codes):
    text = {"text_tokens": [[5] * len(row[0]) for row in codes]} if recipe.has_text else {}
    pq.write_table(pa.table({**text, "audio_codes": pa.array(codes, LISTS)}), path)


def without_entry(path, other):
    """The same shard, as a tool writes it that knows nothing of entries."""
    names = [name for name in pq.read_table(path).column_names if "weights" not in name]
    pq.write_table(pq.read_table(path, columns=names).replace_schema_metadata(None), other)


@pytest.mark.parametrize("preset", ["moshi", "higgs-audio", "moss-ttsd", "musicgen", "zonos"])
def test_shifted_shards_that_lost_their_entry_are_refused(preset, tmp_path):
    recipe = load_preset(preset)
    once, again, out = (tmp_path / f"{name}.parquet" for name in ("once", "again", "out"))
    write(tmp_path / "a.parquet", recipe, codes_of(recipe))
    options = ("--preset", preset, "--audio-layout", "codebook")
    delaytool("apply", tmp_path / "a.parquet", once, *options)
    without_entry(once, again)
    for more in ((), ("--quarantine", tmp_path / "bad")):
        error = errors_of(delaytool("apply", again, out, *options, *more, status=1))
        assert ALREADY in error[0]
        assert error[0].startswith("Error: again.parquet, row 0: ")
        assert not out.exists()


def moss(rows, tmp_path):
    """MOSS-TTSD's channels, which hold 1024 as long as the text runs, with other beginnings."""
    recipe = load_preset("moss-ttsd")
    codes = codes_of(recipe)
    for row, beginnings in zip(codes, rows, strict=True):
        for channel, count in zip(row, beginnings, strict=True):
            channel[:count] = [1024] * count
    write(tmp_path / "a.parquet", recipe, codes)
    return (
        tmp_path / "a.parquet",
        tmp_path / "out.parquet",
        *("--preset", "moss-ttsd", "--audio-layout", "codebook"),
    )


EXACT, MORE = range(1, 8), (6,) * 7


def test_content_that_begins_with_more_of_them_passes(tmp_path):
    delaytool("apply", *moss([MORE, range(2, 9), MORE], tmp_path))


@pytest.mark.parametrize("other", [0, 1, 2])
def test_one_row_of_others_is_enough(other, tmp_path):
    rows = [EXACT] * 3
    assert ALREADY in delaytool("apply", *moss(rows, tmp_path), status=1).stderr
    rows[other] = MORE
    delaytool("apply", *moss(rows, tmp_path))


def test_rows_that_are_too_short_say_nothing(tmp_path):
    recipe = load_preset("moss-ttsd")
    write(tmp_path / "a.parquet", recipe, [[[1024]] * 7, [[1024, 1024]] * 7])
    options = ("--preset", "moss-ttsd", "--audio-layout", "codebook")
    delaytool("apply", tmp_path / "a.parquet", tmp_path / "out.parquet", *options)


def test_rows_that_cannot_be_read_say_nothing(tmp_path):
    recipe = load_preset("moss-ttsd")
    codes = codes_of(recipe)
    for channel, count in zip(codes[1], EXACT, strict=True):
        channel[:count] = [1024] * count
    codes[0][3][0], codes[2] = None, codes[2][:6]
    write(tmp_path / "a.parquet", recipe, codes)
    arguments = (tmp_path / "a.parquet", tmp_path / "out.parquet")
    options = ("--preset", "moss-ttsd", "--audio-layout", "codebook")
    done = delaytool("apply", *arguments, *options, "--quarantine", tmp_path / "bad", status=1)
    assert errors_of(done)[0].startswith("Error: a.parquet, row 1: ")
    assert ALREADY in done.stderr


def test_without_delays_nothing_is_looked_for(tmp_path):
    arguments = moss([EXACT] * 3, tmp_path)
    delaytool("apply", *arguments, "--delays", 0)
