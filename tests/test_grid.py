"""A row as a grid, printed."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from make import finish, tokens_job, tokens_table

from delaytool.apply import Item, apply_shard
from delaytool.errors import DataError
from delaytool.grid import read_grid as read
from delaytool.grid import render
from delaytool.job import Where
from delaytool.pattern import delay
from delaytool.shards import Shard
from delaytool.weights import loss_weights


def read_grid(shard, row=0, key=None, **where):
    return read(shard, Where(**where), row=row, key=key)


@pytest.fixture
def shards(tmp_path):
    source, output = (Shard(n, str(tmp_path / n)) for n in ("a.parquet", "out.parquet"))
    pq.write_table(tokens_table(), source.path, row_group_size=5)
    finish(apply_shard(Item(source, None, output.path), tokens_job(initial_step=True), False))
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


def test_filled_cells_stand_out(shards):
    grid = read_grid(shards[1], row=1)
    plain = render(grid).splitlines()
    assert plain[-1].split()[:4] == ["acoustic_2", "[2048]", "[2048]", "[2048]"]
    coloured = render(grid, colour=True)
    assert "\x1b[2m[2048]\x1b[0m" in coloured
    assert f"\x1b[33m{grid.codes[1][1]}" in coloured


def test_steps_that_do_not_fit_are_told(shards):
    grid = read_grid(shards[1], row=2)
    steps = len(grid.codes[0])
    lines = render(grid, width=60).splitlines()
    shown = len(next(line for line in lines if line.startswith("timestep")).split()) - 1
    assert 0 < shown < steps
    assert lines[-1].startswith(f"... and {steps - shown} more timesteps, {shown} to {steps - 1}")
    cut = render(grid.cut(2, 5), first=2)
    assert "timestep    2" in cut


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
        read_grid(shards[0], audio=("codes",))
    with pytest.raises(DataError, match="there is no column name"):
        read(shards[1], Where(key="name"), key="x")
    assert read(shards[1], Where(key="speaker"), key="ann").id == "ann"
