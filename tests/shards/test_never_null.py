"""Columns of tokens, weights and labels hold no nulls and say so; they go with files that don't."""

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
from make import PLAIN, delaytool, nullable, tokens_table

TOKENS = ["text_tokens", "audio_codes"]
MADE = [
    *TOKENS,
    *(f"{name}_{what}" for name in ("text", "audio") for what in ("loss_weights", "labels")),
]


@pytest.fixture
def shards(tmp_path):
    """An output, and the same rows behind it in a file that says nothing of nulls."""
    folder = tmp_path / "out"
    pq.write_table(tokens_table(), tmp_path / "a.parquet")
    delaytool("apply", tmp_path / "a.parquet", folder / "a.parquet", *PLAIN, "--label-columns")
    table = pq.read_table(folder / "a.parquet")
    pq.write_table(table.cast(pa.schema(map(nullable, table.schema))), folder / "b.parquet")
    return [str(folder / name) for name in ("a.parquet", "b.parquet")]


def levels(path):
    """How deep a value of each column may be null or in a list, as Parquet counts."""
    schema = pq.ParquetFile(path).schema
    columns = [schema.column(i) for i in range(len(schema))]
    return {
        column.path.split(".")[0]: (column.max_definition_level, column.max_repetition_level)
        for column in columns
    }


def test_the_file_says_that_they_are_never_null(shards):
    ours, others = map(levels, shards)
    for name in MADE:
        depth = 1 if name.startswith("text") else 2
        assert ours[name] == (depth, depth), "that a list may be empty is all that is left"
        assert others[name] == (2 * depth + 1, depth)
    assert ours["id"] == others["id"] == (1, 0)


def test_a_restored_shard_may_hold_nulls_where_its_source_may(shards, tmp_path):
    delaytool("revert", shards[0], tmp_path / "back.parquet")
    found, source = (pq.read_schema(tmp_path / f"{name}.parquet") for name in ("back", "a"))
    assert found.equals(source, check_metadata=True)
    assert found.field("text_tokens").nullable


def read_by_pyarrow(paths):
    return pa.dataset.dataset(paths).to_table().to_pylist()


def read_by_datasets(paths):
    datasets = pytest.importorskip("datasets")
    found = datasets.load_dataset(
        "parquet", data_files=paths, split="train", cache_dir=paths[0] + "-cache"
    )
    return found.to_list()


def read_by_duckdb(paths):
    duckdb = pytest.importorskip("duckdb")
    found = duckdb.sql(f"select * from read_parquet({paths})")
    return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]


def read_by_polars(paths):
    polars = pytest.importorskip("polars")
    return polars.read_parquet(paths).to_dicts()


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize(
    "read", [read_by_pyarrow, read_by_datasets, read_by_duckdb, read_by_polars]
)
def test_they_are_read_with_files_that_may_hold_nulls(shards, read, first):
    """Whichever comes first, and so says what the columns are."""
    paths = shards if first == 0 else shards[::-1]
    rows = pq.read_table(shards[0]).to_pylist()
    assert read(paths) == rows * 2
