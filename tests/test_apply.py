"""apply on one shard, and what other libraries make of its output."""

import os

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from make import entry_of, files_in, finish, tokens_job, tokens_table

from delaytool.apply import apply_shard
from delaytool.errors import DataError
from delaytool.job import Record
from delaytool.shards import MAX_CELLS, Shard, open_shard
from delaytool.verify import verify_shard


def apply(source, output, job, overwrite=False):
    return finish(apply_shard(Shard("a.parquet", str(source)), str(output), job, overwrite))


def verified(output, source=None):
    original = None if source is None else Shard("a.parquet", str(source))
    return finish(verify_shard(Shard("a.parquet", str(output)), original, None)).mismatches == []


def test_other_columns_come_out_unchanged(tmp_path):
    extra = {
        "when": pa.array(range(12), pa.timestamp("us", "UTC")),
        "price": pa.array([None, *range(11)], pa.decimal128(9, 2)),
        "kind": pa.array(["a", "b", None] * 4).dictionary_encode(),
        "point": pa.array([{"x": 1.5, "y": None}] * 12),
        "map": pa.array([[("k", 1)], None] * 6, pa.map_(pa.string(), pa.int32())),
        "audio": pa.array([os.urandom(50)] * 12, pa.large_binary()),
        "pair": pa.array([[1, 2]] * 12, pa.list_(pa.int8(), 2)),
        "nothing": pa.nulls(12),
        "nan": pa.array([float("nan"), -0.0] * 6, pa.float32()),
    }
    table = tokens_table(**extra).replace_schema_metadata({"license": "cc0", "note": "x"})
    source, output = tmp_path / "a.parquet", tmp_path / "out.parquet"
    pq.write_table(table, source, row_group_size=5)
    table = pq.read_table(source)
    apply(source, output, tokens_job())
    shifted = pq.read_table(output)
    assert shifted.column_names == [*table.column_names, "text_loss_weights", "audio_loss_weights"]
    assert shifted.schema.metadata == table.schema.metadata
    for name in table.column_names:
        assert shifted.schema.field(name) == table.schema.field(name)
        if name not in ("text_tokens", "audio_codes"):
            assert repr(shifted[name].to_pylist()) == repr(table[name].to_pylist())
    assert verified(output)
    assert verified(output, source)


def test_the_record_says_how_the_shard_was_made(tmp_path):
    source, output = tmp_path / "a.parquet", tmp_path / "out.parquet"
    pq.write_table(tokens_table(), source)
    job = tokens_job()
    result = apply(source, output, job)
    record = Record.from_json(entry_of(output))
    assert record.job == job
    assert record.counts == result.counts
    assert record.counts.rows_in == record.counts.rows_out == 12
    assert set(record.digests.columns) == set(pq.read_schema(source).names)
    assert record.source.size == source.stat().st_size
    assert str(tmp_path) not in entry_of(output).decode(), "no path in an output"


def test_an_output_does_not_depend_on_the_sources_row_groups(tmp_path):
    table, outputs = tokens_table(rows=40), []
    for size in (1, 7, 40):
        pq.write_table(table, tmp_path / "a.parquet", row_group_size=size)
        apply(tmp_path / "a.parquet", tmp_path / "out.parquet", tokens_job(), True)
        metadata = pq.read_metadata(tmp_path / "out.parquet")
        outputs.append([metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)])
        assert verified(tmp_path / "out.parquet", tmp_path / "a.parquet")
    assert outputs[0] == outputs[1] == outputs[2]


def test_batches_are_bounded_in_cells(tmp_path):
    lengths = np.random.default_rng(0).integers(1, 30_000, size=60)
    table = pa.table(
        {
            "text_tokens": [np.zeros(n, np.int32) for n in lengths],
            "audio_codes": [[np.ones(n, np.int16)] * 3 for n in lengths],
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    with open_shard(Shard("a.parquet", str(tmp_path / "a.parquet"))) as opened:
        batches = list(opened.batches(tokens_job(), added=2))
    assert pa.Table.from_batches(batches).num_rows == 60
    cells = [4 * sum(len(x) + 2 for x in b["text_tokens"].to_pylist()) for b in batches]
    assert max(cells) <= MAX_CELLS
    assert min(cells[:-1]) > MAX_CELLS - 4 * 30_000, "as full as they can be"


def test_progress_reaches_the_end(tmp_path):
    pq.write_table(tokens_table(rows=30), tmp_path / "a.parquet")
    shard = Shard("a.parquet", str(tmp_path / "a.parquet"))
    fractions = list(apply_shard(shard, str(tmp_path / "out.parquet"), tokens_job(), False))
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


@pytest.mark.parametrize("rows", [0, 1])
def test_empty_shards_and_rows(tmp_path, rows):
    table = tokens_table(rows=2).slice(0, 0)
    if rows:
        empty = {"id": ["e"], "text_tokens": [[]], "audio_codes": [[[], [], []]]}
        table = pa.table(empty).cast(table.select(["id", "text_tokens", "audio_codes"]).schema)
    pq.write_table(table, tmp_path / "a.parquet")
    for job in (tokens_job(), tokens_job(length="truncate", final_step=True)):
        result = apply(tmp_path / "a.parquet", tmp_path / "out.parquet", job, True)
        assert (result.counts.rows_out, result.counts.tokens) == (rows, 0)
        assert pq.read_metadata(tmp_path / "out.parquet").num_rows == rows
        assert verified(tmp_path / "out.parquet", tmp_path / "a.parquet")


@pytest.mark.parametrize("length", ["extend", "truncate"])
def test_fixed_size_time_axes_become_lists(tmp_path, length):
    codes = pa.list_(pa.list_(pa.int16(), 4), 3)
    table = pa.table(
        {
            "text_tokens": pa.array([[1, 2, 3, 4]] * 5, pa.list_(pa.int32(), 4)),
            "audio_codes": pa.array([[[1, 2, 3, 4]] * 3] * 5, codes),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    apply(tmp_path / "a.parquet", tmp_path / "out.parquet", tokens_job(length=length))
    schema = pq.read_schema(tmp_path / "out.parquet")
    assert str(schema.field("audio_codes").type) == "list<element: list<element: int16>>"
    assert verified(tmp_path / "out.parquet", tmp_path / "a.parquet")


def test_a_stopped_job_leaves_nothing(tmp_path):
    table = pa.concat_tables([tokens_table(rows=50, longest=4000, seed=seed) for seed in range(8)])
    pq.write_table(table, tmp_path / "a.parquet")
    shard = Shard("a.parquet", str(tmp_path / "a.parquet"))
    steps = apply_shard(shard, str(tmp_path / "new" / "out.parquet"), tokens_job(), False)
    assert 0 < next(steps) < 1
    assert next(iter(files_in(tmp_path / "new"))).endswith(".delaytool-part")
    steps.close()
    assert not (tmp_path / "new").exists()


def test_a_source_that_changes_while_it_is_read(tmp_path):
    table = pa.concat_tables([tokens_table(rows=50, longest=4000, seed=seed) for seed in range(8)])
    pq.write_table(table, tmp_path / "a.parquet")
    shard = Shard("a.parquet", str(tmp_path / "a.parquet"))
    steps = apply_shard(shard, str(tmp_path / "out.parquet"), tokens_job(), False)
    next(steps)
    # Other bytes under the same name, the old file still open: as an editor or a sync would.
    pq.write_table(table.slice(1), tmp_path / "b.parquet")
    os.replace(tmp_path / "b.parquet", tmp_path / "a.parquet")
    with pytest.raises(DataError, match="changed while it was read"):
        finish(steps)
    assert sorted(files_in(tmp_path)) == ["a.parquet"]


# What other libraries make of it


def test_datasets_loads_the_output(tmp_path):
    datasets = pytest.importorskip("datasets")
    table = tokens_table().to_pydict()
    table["audio_codes"] = [[[x % 200 for x in q] for q in row] for row in table["audio_codes"]]
    table["label"] = [0, 1] * 6
    features = datasets.Features(
        {
            "id": datasets.Value("string"),
            "text_tokens": datasets.Sequence(datasets.Value("int32")),
            "speaker": datasets.Value("string"),
            "audio_codes": datasets.Sequence(datasets.Sequence(datasets.Value("uint8"))),
            "score": datasets.Value("float64"),
            "tags": datasets.Sequence(datasets.Value("string")),
            "label": datasets.ClassLabel(names=["calm", "loud"]),
        }
    )
    original = datasets.Dataset.from_dict(table, features=features)
    original.to_parquet(tmp_path / "a.parquet")
    assert b"huggingface" in pq.read_schema(tmp_path / "a.parquet").metadata
    apply(tmp_path / "a.parquet", tmp_path / "out" / "a.parquet", tokens_job())
    loaded = datasets.load_dataset(
        "parquet",
        data_files=str(tmp_path / "out" / "a.parquet"),
        split="train",
        cache_dir=str(tmp_path / "cache"),
    )
    shifted = pq.read_table(tmp_path / "out" / "a.parquet")
    assert loaded.column_names == shifted.column_names
    assert loaded[3] == shifted.to_pylist()[3]
    assert loaded.features["label"] == original.features["label"], "its names are still there"
    assert loaded.features["audio_codes"].feature.feature.dtype == "int16", "wide enough for 2048"
    assert loaded.features["audio_loss_weights"].feature.feature.dtype == "float32"


@pytest.mark.parametrize("index", [None, "id"])
def test_pandas_loads_the_output(tmp_path, index):
    frame = tokens_table().to_pandas()
    frame = frame.set_index(index) if index else frame
    frame.to_parquet(tmp_path / "a.parquet")
    table = pq.read_table(tmp_path / "a.parquet")
    assert b"pandas" in table.schema.metadata
    apply(tmp_path / "a.parquet", tmp_path / "out.parquet", tokens_job())
    loaded = pd.read_parquet(tmp_path / "out.parquet")
    shifted = pq.read_table(tmp_path / "out.parquet")
    assert loaded.index.name == index
    assert list(loaded.columns) == [name for name in shifted.column_names if name != index]
    row = loaded.iloc[3]
    expected = shifted.to_pylist()[3]
    assert row["text_tokens"].tolist() == expected["text_tokens"]
    assert [q.tolist() for q in row["audio_loss_weights"]] == expected["audio_loss_weights"]
    assert verified(tmp_path / "out.parquet", tmp_path / "a.parquet")
