"""Windows through the library: what other projects cut, and random ones."""

import pyarrow as pa
import pytest
from golden_cases import WINDOWED, WINDOWED_NAMES, recipe_of, windows_of

from delaytool.batches.map_batch import map_batch

LISTS = pa.list_(pa.list_(pa.int64()))


def test_every_case_is_there():
    assert len(WINDOWED) == 14


@pytest.mark.parametrize("case", WINDOWED, ids=WINDOWED_NAMES)
def test_windows_are_those_of_the_peers(case):
    recipe = recipe_of(case)
    table = pa.table({"grid": pa.array([case["codes"]], LISTS)})
    how = windows_of(case)
    shift = map_batch(recipe, grid_column="grid", audio_layout="codebook", labels=True, **how)
    made = shift(table)
    expected = case["expected"] if how else [case["expected"]]
    assert made["codes"].to_pylist() == expected
    if "trained" in case:
        for line, mark in zip(made["loss_weights"].to_pylist(), case["trained"], strict=True):
            found = [[weight > 0 for weight in stream[1:]] for stream in line]
            assert found == [[bool(weight) for weight in stream[1:]] for stream in mark]
    if "labels" in case:
        labels = case["labels"] if how else [case["labels"]]
        for grid, wanted in zip(made["labels"].to_pylist(), labels, strict=True):
            found = [[max(label, -1) for label in stream[1:]] for stream in grid]
            assert found == [stream[1:] for stream in wanted]
