"""A row as a grid: read, shifted and shifted back, compared."""

import dataclasses

import numpy as np
import pyarrow.parquet as pq
import pytest
from make import finish, tokens_job, tokens_table

from delaytool.batches.column_options import ColumnOptions
from delaytool.errors import DataError
from delaytool.grids.counterpart import read_counterpart
from delaytool.grids.grid import first_difference
from delaytool.grids.read import read_grid as read
from delaytool.jobs.apply import ApplyShard
from delaytool.jobs.paths import Item
from delaytool.pattern.delay import delay
from delaytool.pattern.weights import loss_weights
from delaytool.shards.find import Shard


def read_grid(shard, row=0, key=None, **where):
    return read(shard, ColumnOptions(**where), row=row, key=key)


@pytest.fixture
def shards(tmp_path):
    source, output = (Shard(n, str(tmp_path / n)) for n in ("a.parquet", "out.parquet"))
    pq.write_table(tokens_table(), source.path, row_group_size=5)
    finish(ApplyShard(Item(source, None, output.path), tokens_job(initial_step=True), False).run())
    return source, output


def test_a_grid_is_what_the_library_gives(shards):
    source, output = shards
    for row, values in enumerate(pq.read_table(source.path).to_pylist()):
        codes = np.array([values["text_tokens"], *values["audio_codes"]])
        before, after = read_grid(source, row=row), read_grid(output, row=row)
        assert before.codes == codes.tolist()
        assert not np.any(before.filled)
        recipe = tokens_job(initial_step=True).recipe
        assert after.codes == delay(codes, recipe).tolist()
        assert after.weights == loss_weights(delay(codes, recipe), recipe).tolist()
        assert after.id == before.id == values["id"]
        filled = np.array(after.filled)
        assert np.array(after.codes)[~filled].tolist() == codes.ravel().tolist()


def test_labels_count_frames_from_1(shards):
    grid = read_grid(shards[1], row=0)
    assert grid.labels[0][:3] == ["S", "text_1", "text_2"]
    assert grid.labels[2][:4] == ["S", "S", "acoustic_1", "acoustic_2"]
    assert read_grid(shards[0], row=0).labels[3][:2] == ["acoustic_1", "acoustic_2"]


@pytest.mark.parametrize("length", ["extend", "truncate"])
def test_both_sides_of_the_shift(tmp_path, length):
    source, output = (Shard(n, str(tmp_path / n)) for n in ("a.parquet", "out.parquet"))
    pq.write_table(tokens_table(), source.path)
    job = tokens_job(length=length, initial_step=True)
    finish(ApplyShard(Item(source, None, output.path), job, False).run())
    for row in range(12):
        original = read_grid(source, row=row)
        before = read(output, ColumnOptions(), row=row, shifted=False)
        after = read(output, ColumnOptions(), row=row)
        preview = read(source, ColumnOptions(), row=row, recipe=job.recipe, shifted=True)
        assert (before.title, before.shifted, after.title, after.shifted) == (
            "before", False, "", True,
        )  # fmt: skip
        assert (preview.codes, preview.weights) == (after.codes, after.weights)
        assert (preview.filled, preview.labels) == (after.filled, after.labels)
        assert not np.any(before.filled)
        for stream, line, other in zip(
            job.recipe.streams, before.codes, original.codes, strict=True
        ):
            lost = min(stream.delay, len(other)) if length == "truncate" else 0
            kept = len(other) - lost
            assert line == other[:kept] + [None] * lost
        assert first_difference(before, original) is None


def test_the_first_difference_is_the_earliest(shards):
    one, other = (read_grid(shards[0], row=4) for _ in range(2))
    assert first_difference(one, other) is None
    other.codes[1][7] += 1
    other.codes[3][5] += 1
    other.codes[2][5] += 2
    found = first_difference(one, other)
    assert (found.number, found.timestep, found.count) == (2, 5, 3)
    assert (found.found, found.expected) == (one.codes[2][5], other.codes[2][5])
    short = one.cut(0, one.steps - 2)
    found = first_difference(short, one)
    assert (found.timestep, found.count) == (short.steps, 2 * 4)
    assert found.expected == f"{one.steps} timesteps"
    with pytest.raises(DataError, match="4 streams and 3"):
        first_difference(one, dataclasses.replace(other, codes=other.codes[1:]))


def test_the_row_of_another_shard_goes_by_its_key(shards, tmp_path):
    table = pq.read_table(shards[0].path)
    turned = Shard("b.parquet", str(tmp_path / "b.parquet"))
    pq.write_table(table.take(list(range(11, -1, -1))), turned.path)
    grid = read_grid(shards[1], row=3)
    assert read_counterpart(turned, ColumnOptions(), grid).head.row == 8
    pq.write_table(table.drop_columns(["id"]), turned.path)
    assert read_counterpart(turned, ColumnOptions(), grid).head.row == 3


def test_a_shard_without_text(tmp_path):
    table = tokens_table().drop_columns(["text_tokens"])
    pq.write_table(table, tmp_path / "a.parquet")
    grid = read_grid(Shard("a.parquet", str(tmp_path / "a.parquet")))
    assert grid.streams == ["semantic", "acoustic_1", "acoustic_2"]
    assert grid.kinds[0] == "semantic"


def test_what_is_not_there(shards):
    with pytest.raises(DataError, match="there is no row 12, expected 0 to 11"):
        read_grid(shards[0], row=12)
    with pytest.raises(DataError, match="there is no column codes"):
        read_grid(shards[0], audio_column=("codes",))
    with pytest.raises(DataError, match="there is no column name"):
        read(shards[1], ColumnOptions(key="name"), key="x")
    assert read(shards[1], ColumnOptions(key="speaker"), key="ann").id == "ann"
