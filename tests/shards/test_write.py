"""What is written is small, and other readers of Parquet read the same values from it."""

import os
import time
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from make import PLAIN, deep, delaytool, tokens_table

from delaytool.errors import DataError
from delaytool.shards import write

OLD = {"PLAIN", "RLE", "RLE_DICTIONARY", "PLAIN_DICTIONARY", "BIT_PACKED"}
"""The encodings that every reader has known for years."""
TYPES = [pa.int8(), pa.int16(), pa.uint16(), pa.int32(), pa.uint32(), pa.int64(), pa.uint64()]


def written(folder, table, *options):
    """The paths of an output, of the restored shard, and of the quarantined rows of a table."""
    paths = [str(folder / name) for name in ("out.parquet", "back.parquet", "bad/in.parquet")]
    pq.write_table(table, folder / "in.parquet")
    quarantine = "--quarantine", folder / "bad"
    delaytool("apply", folder / "in.parquet", paths[0], *options, *quarantine)
    delaytool("revert", paths[0], paths[1], "--allow-lossy")
    return paths


def chunks_of(path):
    footer = pq.read_metadata(path)
    for group in range(footer.num_row_groups):
        for number in range(footer.num_columns):
            yield footer.row_group(group).column(number)


def sizes_of(path):
    """Bytes of each column."""
    sizes = Counter()
    for chunk in chunks_of(path):
        sizes[chunk.path_in_schema.split(".")[0]] += chunk.total_compressed_size
    return sizes


def encodings_of(path, column):
    return {
        e for c in chunks_of(path) if c.path_in_schema.split(".")[0] == column for e in c.encodings
    }


def with_a_bad_row(table):
    """A table whose last row has a null among its text."""
    text = table["text_tokens"].to_pylist()
    text[-1][0] = None
    number = table.schema.names.index("text_tokens")
    return table.set_column(number, "text_tokens", pa.array(text, table["text_tokens"].type))


@pytest.mark.parametrize("kind", TYPES, ids=str)
def test_duckdb_reads_what_is_written(tmp_path, kind):
    duckdb = pytest.importorskip("duckdb")
    codes = pa.int16() if kind == pa.int8() else kind
    table = with_a_bad_row(tokens_table(text_type=kind, codes_type=codes))
    for path in written(tmp_path, table, *PLAIN, "--label-columns"):
        found = duckdb.sql(f"select * from '{path}'")
        rows = [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]
        assert rows == pq.read_table(path).to_pylist(), path
        assert {e for chunk in chunks_of(path) for e in chunk.encodings} <= OLD, path


@pytest.mark.parametrize("kind", TYPES[1:], ids=str)
def test_fastparquet_reads_what_is_written(tmp_path, kind):
    fastparquet = pytest.importorskip("fastparquet")
    whole = tokens_table(text_type=kind).drop_columns(["tags"])
    nested = np.array(whole["audio_codes"].to_pylist(), dtype=object)
    table = whole.drop_columns(["audio_codes"])
    for q in range(3):
        books = pa.array([row[q] for row in nested], pa.list_(kind))
        table = table.append_column(f"codes_{q}", books)
    table = with_a_bad_row(table)
    options = *PLAIN, "--audio-column", "codes_{q}", "--label-columns"
    for path in written(tmp_path, table, *options):
        found = fastparquet.ParquetFile(path).to_pandas()
        rows = pq.read_table(path).to_pylist()
        assert list(found.columns) == list(rows[0])
        assert [{k: plain(v) for k, v in row.items()} for row in found.to_dict("records")] == rows


def plain(value):
    """A value of a pandas column as Arrow gives it."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    return None if value != value else value


def spoken(rows, frames, n_q, padding, high=32000):
    """A table of text of which a share is padding, and of uniform codes."""
    random = np.random.default_rng(5)
    text = random.integers(4, high, (rows, frames))
    text[random.random((rows, frames)) < padding] = 3
    codes = random.integers(0, 2048, (rows, n_q, frames))
    return pa.table(
        {
            "text_tokens": in_rows(text.astype(np.int32).ravel(), frames),
            "audio_codes": in_rows(in_rows(codes.astype(np.int16).ravel(), frames), n_q),
        }
    )


def in_rows(values, length):
    """Lists of one length."""
    starts = pa.array(np.arange(0, len(values) + 1, length, dtype=np.int32))
    return pa.ListArray.from_arrays(starts, values)


@pytest.mark.parametrize("frames", [20, 600])
@pytest.mark.parametrize(("padding", "n_q"), [(0.7, 16), (0.0, 3), (0.99, 8), (1.0, 3)])
def test_no_column_is_larger_than_by_pyarrows_defaults(tmp_path, frames, padding, n_q):
    options = () if n_q == 16 else ("--n-q", n_q, "--delays", ",".join(["0"] + ["1"] * n_q))
    table = spoken(40, frames, n_q, padding)
    for path in written(tmp_path, table, *options)[:2]:
        plain = tmp_path / "plain.parquet"
        pq.write_table(pq.read_table(path), plain)
        beside = sizes_of(plain)
        # Plain weights in long runs, and a small frame of zstd, take some bytes more.
        larger = {n: (s, beside[n]) for n, s in sizes_of(path).items() if s > beside[n] + 200}
        assert not larger, path


@pytest.mark.parametrize(
    ("rows", "n_q", "padding", "most"),
    [(900, 16, 0.7, 1), deep(2500, 16, 0.0, 1), deep(15_000, 2, 0.0, 1.002)],
)
def test_row_groups_are_no_larger_than_one_of_all_rows(tmp_path, rows, n_q, padding, most):
    """Not even where text is nowhere padded, but as one of three streams without delays."""
    options = () if n_q == 16 else ("--n-q", n_q, "--delays", ",".join("0" * (1 + n_q)))
    path, plain = tmp_path / "out.parquet", tmp_path / "plain.parquet"
    pq.write_table(spoken(rows, 600, n_q, padding), tmp_path / "in.parquet")
    delaytool("apply", tmp_path / "in.parquet", path, *options)
    pq.write_table(pq.read_table(path), plain)
    assert pq.read_metadata(path).num_row_groups > pq.read_metadata(plain).num_row_groups
    assert sizes_of(path).total() <= most * sizes_of(plain).total()


@pytest.mark.parametrize(
    ("values", "are_diverse"),
    [
        (np.arange(1 << 16) * 7919 % 32000, True),
        (np.arange(1 << 16) * 40503 % 65536, True),
        (np.where(np.arange(1 << 16) % 5 < 1, 3, np.arange(1 << 16)), True),
        (np.where(np.arange(1 << 16) % 5 < 2, 3, np.arange(1 << 16)), False),
        (np.arange(1 << 16) * 7919 % 2048, False),
        (np.arange(1 << 16) / 7, False),
        (np.zeros(9, dtype=np.int64), False),
    ],
)
def test_row_groups_are_larger_where_a_dictionary_is_dear(
    tmp_path, monkeypatch, values, are_diverse
):
    monkeypatch.setattr(write, "_GROUP_BYTES", 1 << 20)
    monkeypatch.setattr(write, "_DIVERSE_BYTES", 3 << 20)
    pieces = np.tile(values, 1 + (1 << 20) // len(values))
    pieces = pieces[: len(pieces) // 1024 * 1024]
    batch = pa.record_batch({"tokens": in_rows(pieces, 1024)})
    write_all(tmp_path / "out.parquet", [batch.slice(i, 1) for i in range(batch.num_rows)])
    footer = pq.read_metadata(tmp_path / "out.parquet")
    sizes = [footer.row_group(i).num_rows * 8192 for i in range(footer.num_row_groups)]
    aim = 3 << 20 if are_diverse else 1 << 20
    assert aim <= max(sizes) <= aim + 8192
    assert pq.read_table(tmp_path / "out.parquet").equals(pa.Table.from_batches([batch]))


def test_a_dictionary_is_written_where_it_makes_a_column_smaller(tmp_path):
    path = tmp_path / "out.parquet"
    for high, padding, is_plain in ((32000, 0.7, True), (300, 0.0, False), (300, 1.0, False)):
        pq.write_table(spoken(40, 600, 16, padding, high), tmp_path / "in.parquet")
        delaytool("apply", tmp_path / "in.parquet", path, "--overwrite")
        assert ("RLE_DICTIONARY" not in encodings_of(path, "text_tokens")) == is_plain
        assert "RLE_DICTIONARY" in encodings_of(path, "audio_codes")
        weights = [encodings_of(path, f"{name}_loss_weights") for name in ("text", "audio")]
        assert ["RLE_DICTIONARY" in found for found in weights] == [padding == 0.7, False]


def write_all(path, batches):
    with write.writing(str(path), batches[0].schema) as writer:
        for batch in batches:
            writer.write(batch)


@pytest.mark.parametrize("group", [0, 1, 4])
def test_a_row_group_that_cannot_be_written_is_an_error(tmp_path, monkeypatch, group):
    calls = []
    write_table = pq.ParquetWriter.write_table

    def fail_once(writer, table, *args, **kwargs):
        calls.append(table)
        if len(calls) > group:
            raise OSError(28, "No space left on device")
        time.sleep(0.05)
        write_table(writer, table, *args, **kwargs)

    monkeypatch.setattr(pq.ParquetWriter, "write_table", fail_once)
    monkeypatch.setattr(write, "_GROUP_BYTES", 0)
    batches = [tokens_table(rows=3, seed=seed).to_batches()[0] for seed in range(5)]
    with pytest.raises(DataError, match="No space left"):
        write_all(tmp_path / "out.parquet", batches)
    assert os.listdir(tmp_path) == []
    assert len(calls) == group + 1


def test_rows_keep_their_order_in_row_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(write, "_GROUP_BYTES", 0)
    batches = [tokens_table(rows=3, seed=seed).to_batches()[0] for seed in range(20)]
    path = tmp_path / "out.parquet"
    write_all(path, batches)
    assert pq.read_metadata(path).num_row_groups == 20
    assert pq.read_table(path).equals(pa.Table.from_batches(batches))


def test_a_shard_without_rows(tmp_path):
    empty = tokens_table().slice(0, 0)
    for path in written(tmp_path, empty, *PLAIN, "--audio-layout", "codebook")[:2]:
        assert pq.read_table(path).num_rows == 0
