"""Rows are read by what they take decoded, however few bytes of theirs are stored."""

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from make import deep, finish, tokens_job, tokens_table

from delaytool.batches.sizes import cell_sizes
from delaytool.jobs.apply import ApplyShard
from delaytool.jobs.paths import Item
from delaytool.shards.find import Shard
from delaytool.shards.read import open_shard
from delaytool.shards.row_bytes import READ_ROWS

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
from peak import peak_bytes

LONG = 100_000
MOST = 16 << 20
"""What a batch may take, twice what is aimed at."""


def repeated(rows=800, long="x" * LONG, kind=None):
    """The same long string in every row."""
    values = pa.array([long], kind or pa.string())
    return pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), values)


def in_lists(array):
    offsets = pa.array(range(len(array) + 1), pa.int32())
    return pa.ListArray.from_arrays(offsets, array)


def in_structs(array):
    return pa.StructArray.from_arrays([array, pa.array(range(len(array)))], ["a", "b"])


def in_maps(array):
    offsets = pa.array(range(len(array) + 1), pa.int32())
    return pa.MapArray.from_arrays(offsets, pa.array(["key"] * len(array)), array)


def behind_short_ones(rows=800):
    """Nulls, then short strings, then long ones."""
    numbers = [None] * (rows // 4) + [0] * (rows // 4) + [1] * (rows // 2)
    values = pa.array(["short", "x" * LONG])
    return pa.DictionaryArray.from_arrays(pa.array(numbers, pa.int32()), values)


STORED = {
    "strings": (repeated(), {}),
    "bytes": (repeated(long=b"x" * LONG, kind=pa.large_binary()), {}),
    "lists": (in_lists(repeated()), {}),
    "structs": (in_structs(repeated()), {}),
    "lists of structs": (in_lists(in_structs(repeated())), {}),
    "maps": (in_maps(repeated()), {}),
    "nulls and short ones first": (behind_short_ones(), {}),
    "row groups": (behind_short_ones(), {"row_group_size": 150}),
    "of a fixed size": (pa.array([b"x" * LONG] * 800, pa.binary(LONG)), {}),
    "what they share with the one before": (
        pa.array(["x" * LONG] * 800),
        {"use_dictionary": False, "column_encoding": {"c": "DELTA_BYTE_ARRAY"}},
    ),
    "pages of the second version": (repeated(), {"data_page_version": "2.0"}),
}


def decoded(batch):
    return sum(
        int(np.broadcast_to(cell_sizes(column), len(column)).sum()) for column in batch.columns
    )


@pytest.mark.parametrize("stored", STORED)
def test_long_values_that_repeat_come_in_small_batches(tmp_path, stored):
    column, options = STORED[stored]
    path = tmp_path / "a.parquet"
    # Without Arrow's schema a dictionary is but a way to store strings.
    pq.write_table(pa.table({"c": column}), path, store_schema=False, **options)
    assert path.stat().st_size < 1 << 20
    for names in (None, ["c"]):
        with open_shard(Shard("a.parquet", str(path))) as opened:
            sizes = [(batch.num_rows, decoded(batch)) for batch in opened.small_batches(names)]
        assert sum(rows for rows, _ in sizes) == 800
        assert max(size for _, size in sizes) <= MOST
        assert max(rows for rows, _ in sizes) > 16, "not a row at a time either"
    with open_shard(Shard("a.parquet", str(path))) as opened:
        assert max(batch.nbytes for batch in opened.batches_ahead()) <= MOST


def test_what_is_short_is_read_as_ever(tmp_path):
    path = tmp_path / "a.parquet"
    words = [f"speaker {row % 7}: " + "word " * (row % 20) for row in range(2 * READ_ROWS)]
    ids = [f"{row:032x}" for row in range(2 * READ_ROWS)]
    pq.write_table(pa.table({"id": ids, "words": words}), path)
    with open_shard(Shard("a.parquet", str(path))) as opened:
        assert [batch.num_rows for batch in opened.small_batches()] == [READ_ROWS, READ_ROWS]
        assert len(list(opened.batches_ahead())) == 2


def test_few_rows_are_known_by_what_they_take_decoded(tmp_path):
    rows = {
        "few": ({"x": range(1000)}, True),
        "many": ({"x": range(1000_000)}, False),
        "short": ({"id": [f"{row:08x}" for row in range(100)]}, True),
        "long": ({"id": ["x" * 100_000] * 100}, False),
    }
    for name, (columns, is_small) in rows.items():
        pq.write_table(pa.table(columns), tmp_path / f"{name}.parquet")
        assert (tmp_path / f"{name}.parquet").stat().st_size < 1 << 20 or name == "many"
        with open_shard(Shard(name, str(tmp_path / f"{name}.parquet"))) as opened:
            assert opened.is_small == is_small, name


def test_an_empty_row_group_is_no_reason_to_read_slowly(tmp_path):
    path, table = tmp_path / "a.parquet", pa.table({"x": range(READ_ROWS)})
    with pq.ParquetWriter(path, table.schema) as writer:
        writer.write_table(table.slice(0, 0))
        writer.write_table(table)
    with open_shard(Shard("a.parquet", str(path))) as opened:
        assert [batch.num_rows for batch in opened.small_batches()] == [READ_ROWS]


def test_row_groups_of_an_output_do_not_depend_on_how_strings_are_stored(tmp_path, monkeypatch):
    prompts = behind_short_ones(1200)
    table = tokens_table(rows=1200).append_column("prompt", prompts)
    plain = table.set_column(6, "prompt", prompts.dictionary_decode())
    sources = {
        "plain": (plain, {"use_dictionary": False}),
        "dictionary": (plain, {"row_group_size": 130}),
        "of Arrow": (table, {}),
    }
    found, values = [], []
    for name, (source, options) in sources.items():
        path, output = tmp_path / f"{name}.parquet", tmp_path / f"{name}-shifted.parquet"
        pq.write_table(source, path, **options)
        item = Item(Shard("a.parquet", str(path)), None, str(output))
        finish(ApplyShard(item, tokens_job(), False).run())
        metadata = pq.read_metadata(output)
        found.append([metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)])
        shifted = pq.read_table(output, columns=["prompt"])["prompt"]
        assert shifted.type == source.schema.field("prompt").type
        values.append(shifted.cast(pa.string()).combine_chunks())
    assert found == [[1200]] * 3, "values that repeat are there once"
    assert all(column.equals(prompts.dictionary_decode()) for column in values)


def test_nested_dictionaries_of_several_row_groups(tmp_path):
    """Arrow reads no two row groups of these at once."""
    words = pa.array(["a", "b", "c", "d"] * 25).dictionary_encode()
    table = tokens_table(rows=100).append_column("words", in_lists(words))
    path, output = tmp_path / "a.parquet", tmp_path / "out.parquet"
    pq.write_table(table, path, row_group_size=30)
    finish(
        ApplyShard(
            Item(Shard("a.parquet", str(path)), None, str(output)), tokens_job(), False
        ).run()
    )
    shifted = pq.read_table(output)["words"]
    assert shifted.type == table.schema.field("words").type
    assert shifted.to_pylist() == table["words"].to_pylist()


@pytest.mark.parametrize("kind", [deep("strings"), "dictionary"])
def test_peak_memory(tmp_path, kind):
    """750 MB decoded, 60 kB on disk."""
    prompts = repeated(1500, "x" * 500_000)
    table = tokens_table(rows=1500, n_q=2, longest=3).append_column("prompt", prompts)
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / "a.parquet"
    pq.write_table(table, path, store_schema=kind == "dictionary")
    assert path.stat().st_size < 1 << 20
    command = Path(sys.executable).parent / "delaytool"
    data, out, back = (str(tmp_path / name) for name in ("data", "out", "back"))
    for arguments in (
        ("apply", data, out, "--n-q", "2", "--delays", "0,0,1"),
        ("verify", out),
        ("verify", out, "--source", data),
        ("revert", out, back),
        ("stats", data),
        ("inspect", f"{data}/a.parquet", "--id", "utt-9"),
    ):
        rest = () if arguments[0] == "inspect" else ("--workers", "1", "--quiet")
        assert peak_bytes(str(command), *arguments, *rest) < 400 << 20, arguments[0]


def test_peak_memory_with_bad_rows_in_every_batch(tmp_path):
    table = tokens_table(rows=1500, n_q=2, longest=3)
    text = table["text_tokens"].to_pylist()
    for tokens in text[::7]:
        tokens[0] = 99_999
    table = table.set_column(1, "text_tokens", pa.array(text, pa.list_(pa.int32())))
    table = table.append_column("prompt", repeated(1500, "x" * 500_000))
    pq.write_table(table, tmp_path / "a.parquet", store_schema=False)
    command, out, bad = (
        Path(sys.executable).parent / "delaytool",
        tmp_path / "out",
        tmp_path / "bad",
    )
    arguments = ("apply", tmp_path / "a.parquet", out, "--quarantine", bad, "--n-q", 2)
    rest = ("--delays", "0,0,1", "--workers", 1, "--quiet")
    assert peak_bytes(*map(str, (command, *arguments, *rest))) < 400 << 20
    assert pq.read_metadata(bad / "a.parquet").num_rows == len(text[::7])
