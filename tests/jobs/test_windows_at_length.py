"""Windows of one row of an hour and of 100,000 short rows: memory is bounded, and time linear."""

import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from make import tokens_table

from delaytool import Recipe, apply, load_preset, revert, verify
from delaytool.recipes.stream import Stream
from delaytool.shards import bounded
from delaytool.shards import write as writing
from delaytool.shards.find import Shard
from delaytool.shards.read import open_shard, read_record

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import synthetic
from peak import peak_bytes

MOST = 400 << 20
HOUR = 45_000
AFTER = ("--window", "8", "--window-cut", "after", "--window-split", "even")


def write(path, lengths):
    """A shard of 17 streams, with rows of these lengths."""
    batch = synthetic.batch(np.random.default_rng(11), np.array(lengths))
    ids = pa.array([f"row {row}" for row in range(len(lengths))])
    pq.write_table(pa.Table.from_batches([batch]).append_column("id", ids), path)


@pytest.mark.deep
@pytest.mark.parametrize(
    ("lengths", "how"),
    [
        ([HOUR], ("--window", "1250")),
        ([HOUR], ("--window", "1")),
        ([HOUR], AFTER),
        ([10] * 100_000, ("--window", "8", "--window-pad")),
        ([10] * 100_000, AFTER),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else f"{len(value)}",
)
def test_memory_is_bounded(lengths, how, tmp_path):
    command = Path(sys.executable).parent / "delaytool"
    data, out, back = (tmp_path / f"{name}.parquet" for name in ("data", "out", "back"))
    write(data, lengths)
    for arguments in (
        ("apply", data, out, *how),
        ("verify", out),
        ("verify", out, "--source", data),
        ("revert", out, back),
        ("inspect", out, "--row", len(lengths) // 2, "--compare", data),
    ):
        rest = () if arguments[0] == "inspect" else ("--workers", 1, "--quiet")
        assert peak_bytes(*map(str, (command, *arguments, *rest))) < MOST, arguments
    assert pq.read_table(back).equals(pq.read_table(data))


@pytest.mark.deep
@pytest.mark.parametrize("how", [{"window": 8}, {"window": 8, "window_cut": "after"}], ids=str)
@pytest.mark.parametrize("many", [False, True], ids=["a long row", "many rows"])
def test_time_is_linear(how, many, tmp_path):
    """Four times the frames take less than eight times as long: sixteen would be quadratic."""
    recipe, taken = load_preset(), {}
    for size in (1, 4):
        data = tmp_path / f"{size}.parquet"
        write(data, [10] * 25_000 * size if many else [HOUR * size])
        taken[size] = []
        for turn in range(3):
            out = tmp_path / f"{size}-{turn}.parquet"
            began = time.process_time()
            apply(data, out, recipe, **how)
            assert verify(out, source=data).verified
            revert(out, tmp_path / f"{size}-{turn}-back.parquet")
            taken[size].append(time.process_time() - began)
    assert min(taken[4]) < 8 * min(taken[1]), taken


@pytest.mark.deep
@pytest.mark.parametrize("minimum", [None, 2])
def test_a_million_windows_fit_the_record(minimum, tmp_path):
    """It says where rows are missing, run by run; of the windows, how many there are."""
    rows = 400_000
    frames = np.tile([1, 9], rows // 2)
    codes = pa.array(np.arange(frames.sum(), dtype=np.int32) % 2048)
    lists = synthetic.lists(np.ones(rows, dtype=np.int64), synthetic.lists(frames, codes))
    data, out = tmp_path / "data.parquet", tmp_path / "out.parquet"
    pq.write_table(pa.table({"audio_codes": lists}), data)
    recipe = Recipe((Stream("a", "acoustic", 1, 2048, 2048, 2048),))
    how = {"window": 2, "window_min": minimum, "audio_layout": "codebook"}
    made = apply(data, out, recipe, **how)
    assert made.windows + made.dropped_windows == 1_200_000
    assert made.dropped_rows == (0 if minimum is None else rows // 2)
    entry = pq.read_metadata(out).metadata[b"delaytool"]
    assert len(entry) < 4000 + 12 * made.dropped_rows
    assert verify(out).rows == rows
    assert verify(out, source=data).verified
    result = revert(out, tmp_path / "back.parquet", allow_lossy=True)
    assert result.rows == rows - made.dropped_rows


@pytest.mark.parametrize("how", [{}, {"window": 5}, {"window": 5, "window_cut": "after"}], ids=str)
@pytest.mark.parametrize("layout", ["split", "grid"])
def test_batches_are_bounded_whatever_the_columns_are_called(layout, how, tmp_path, monkeypatch):
    """Those that apply makes, and those in which revert reads them."""
    monkeypatch.setattr(bounded, "MAX_CELLS", 2000)
    # Each batch is a row group then.
    monkeypatch.setattr(writing, "_GROUP_BYTES", 0)
    streams = (
        Stream("text", "text", 0, 9, 3, 9),
        *(Stream(f"a{k}", "acoustic", 1 + k, 5000, 5000, 5000) for k in range(3)),
    )
    data, out = tmp_path / "data.parquet", tmp_path / "out.parquet"
    pq.write_table(tokens_table(rows=150), data)
    apply(data, out, Recipe(streams), output_layout=layout, **how)
    with open_shard(Shard("out.parquet", str(out))) as opened:
        job = read_record(opened).job
        batches = list(opened.batches(job))
    made = [
        pq.ParquetFile(out).read_row_group(n) for n in range(pq.ParquetFile(out).num_row_groups)
    ]
    names = [output.name for output in job.outputs]
    for parts in (batches, made):
        cells = [sum(count(part[name]) for name in names) for part in parts]
        assert max(cells) <= 2000
        # Nor are they much smaller than they may be.
        assert len(cells) < 4 * sum(cells) / 2000


def count(column):
    """How many numbers a column's lists hold."""
    if isinstance(column, pa.ChunkedArray):
        return sum(map(count, column.chunks))
    return count(column.flatten()) if pa.types.is_list(column.type) else len(column)
