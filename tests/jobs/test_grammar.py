"""Random recipes of the whole grammar, from shards and back: apply, verify and revert."""

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import reference
from hypothesis import HealthCheck, given, settings
from make import deep
from strategies import random_row, recipes, seeds

import delaytool as library
from delaytool.pattern.traces import looks_delayed

LISTS = pa.list_(pa.list_(pa.int64()))


def table_of(rows, recipe):
    """Columns of text and one of codes, as far as the recipe has such streams."""
    texts = {f"text {k}": [row[k] for row in rows] for k in recipe.text_numbers}
    columns = {name: pa.array(lines, LISTS.value_type) for name, lines in texts.items()}
    if recipe.n_q:
        codes = [[row[k] for k in recipe.audio_numbers] for row in rows]
        columns["audio_codes"] = pa.array(codes, LISTS)
    return pa.table(columns)


def cells_of(table, recipe, suffix=""):
    """Rows [K][S] of the columns with these names, their lines in the recipe's order."""
    texts = [f"text {k}{suffix}" for k in recipe.text_numbers]
    if suffix and len(texts) == 1:
        texts = [f"text{suffix}"]
    audio = f"audio{suffix}" if suffix else "audio_codes"
    rows = []
    for row in table.to_pylist():
        lines = dict(zip(recipe.text_numbers, (row[name] for name in texts), strict=True))
        if recipe.n_q:
            lines |= dict(zip(recipe.audio_numbers, row[audio], strict=True))
        rows.append([lines[k] for k in range(len(recipe.streams))])
    return rows


def check(recipe, lengths, seed):
    random = np.random.default_rng(seed)
    rows = [random_row(random, recipe, frames).tolist() for frames in lengths]
    if {looks_delayed(np.array(row), recipe) for row in rows} - {None} == {True}:
        return  # Nobody can tell these from codes that are shifted already.
    columns = {"text_column": [f"text {k}" for k in recipe.text_numbers]} if recipe.text else {}
    if recipe.n_q:
        columns["audio_layout"] = "codebook"
    with tempfile.TemporaryDirectory() as folder:
        source, output, back = (Path(folder) / f"{n}.parquet" for n in ("source", "out", "back"))
        pq.write_table(table_of(rows, recipe), source, row_group_size=2)
        result = library.apply(source, output, recipe, label_columns=True, **columns)
        made = pq.read_table(output)
        cells = [reference.delay(row, recipe) for row in rows]
        weights = [
            np.array(reference.loss_weights(row, recipe), dtype=np.float32).tolist() for row in rows
        ]
        kept = [reference.cut(row, recipe) for row in rows]
        assert cells_of(made, recipe) == cells
        assert cells_of(made, recipe, "_loss_weights") == weights
        assert cells_of(made, recipe, "_labels") == [
            [
                [x if w > 0 else -100 for x, w in zip(*pair, strict=True)]
                for pair in zip(*both, strict=True)
            ]
            for both in zip(cells, weights, strict=True)
        ]
        lost = sum(line.count(None) for row in kept for line in row)
        assert result.lost == lost
        assert library.verify(output).verified
        assert library.verify(output, source=source, recipe=recipe).verified
        library.revert(output, back, allow_lossy=lost > 0)
        assert cells_of(pq.read_table(back), recipe) == kept


@pytest.mark.parametrize("examples", [20, deep(500)])
def test_shards_equal_the_reference_and_come_back(examples):
    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(recipes(), seeds)
    def random(recipe, seed):
        check(recipe, np.random.default_rng(seed).integers(0, 12, 5).tolist(), seed)

    random()
