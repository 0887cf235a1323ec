"""Windows in the loader: rows as they are in the shards."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from delaytool.api.apply import apply
from delaytool.errors import DataError
from delaytool.recipes.recipe import Recipe
from delaytool.recipes.stream import Stream
from delaytool.torch import ShardDataset

RECIPE = Recipe(
    (Stream("a", "semantic", 0, 50, 50, 50), Stream("b", "acoustic", 3, 50, 50, 50, trail=50))
)
HOW = [
    {"window": 4},
    {"window": 4, "window_pad": True},
    {"window": 2, "window_cut": "after"},
    {"window": 4, "window_cut": "after", "window_min": 4},
]


@pytest.fixture
def source(tmp_path):
    rows = [[list(range(frames))] * 2 for frames in (10, 3, 0, 5)]
    path = tmp_path / "in.parquet"
    pq.write_table(pa.table({"audio_codes": pa.array(rows, pa.list_(pa.list_(pa.int16())))}), path)
    return path


@pytest.mark.parametrize("how", HOW)
def test_windows_are_rows(how, source, tmp_path):
    output = tmp_path / "out.parquet"
    apply(source, output, RECIPE, audio_layout="codebook", **how)
    expected = pq.read_table(output).to_pylist()
    rows = list(ShardDataset(output))
    assert len(rows) == len(expected)
    for row, wanted in zip(rows, expected, strict=True):
        assert row.codes.tolist() == wanted["audio_codes"]
        assert np.array_equal(row.weights.numpy(), np.float32(wanted["audio_loss_weights"]))


@pytest.mark.parametrize("how", HOW)
def test_weights_of_windows_are_made_by_the_recipe_where_it_knows_them(how, source, tmp_path):
    apply(source, tmp_path / "with.parquet", RECIPE, audio_layout="codebook", **how)
    output = tmp_path / "out.parquet"
    apply(source, output, RECIPE, audio_layout="codebook", no_weights=True, **how)
    if how != HOW[0]:
        with pytest.raises(DataError) as raised:
            list(ShardDataset(output))
        assert raised.value.kind == "no-weights"
        return
    expected = pq.read_table(tmp_path / "with.parquet")["audio_loss_weights"].to_pylist()
    assert [row.weights.tolist() for row in ShardDataset(output)] == expected


@pytest.mark.parametrize("how", HOW[1:])
def test_each_shard_is_asked_for_its_weights(how, source, tmp_path):
    """Not the first one alone, here of whole rows, whose weights the recipe says."""
    (tmp_path / "out").mkdir()
    for name, windows in (("a", {}), ("b", how)):
        output = tmp_path / "out" / f"{name}.parquet"
        apply(source, output, RECIPE, audio_layout="codebook", no_weights=True, **windows)
    with pytest.raises(DataError) as raised:
        ShardDataset(tmp_path / "out")
    assert (raised.value.kind, raised.value.place.shard) == ("no-weights", "b.parquet")
