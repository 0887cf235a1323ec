"""Long values that repeat are written once, and read as they were."""

import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make import PLAIN, delaytool, tokens_table

from delaytool.shards import write
from delaytool.shards.repeats import Repeats
from delaytool.shards.write import ShardWriter

TYPES = [
    pa.string(),
    pa.binary(),
    pa.large_string(),
    pa.dictionary(pa.int8(), pa.string()),
    pa.dictionary(pa.int32(), pa.string(), ordered=True),
]


def prompts(count, length, seed=0):
    random = np.random.default_rng(seed)
    return [random.bytes(length // 2).hex() for _ in range(count)]


def written(path, batches, schema):
    writer = ShardWriter(str(path), schema, None)
    for batch in batches:
        writer.write(batch)
    writer.finish()
    return pq.read_metadata(path)


def read_as_ever(table, path):
    """The schema of a table that pyarrow writes and reads; older ones know int32 indices only."""
    path = path.with_suffix(".plain")
    pq.write_table(table, path)
    return pq.read_table(path).schema


def small_groups(monkeypatch):
    monkeypatch.setattr(write, "_OTHER_BYTES", 1000)
    monkeypatch.setattr(write, "_GROUP_BYTES", 3000)


@pytest.mark.parametrize("kind", TYPES[:3], ids=str)
def test_a_file_of_repeated_prompts_is_no_larger_than_by_pyarrows_defaults(tmp_path, kind):
    few, rows = prompts(4, 50_000), 1000
    values = [None if row % 100 == 7 else few[row * row % 4] for row in range(rows)]
    values = [v.encode() if v and kind == pa.binary() else v for v in values]
    table = tokens_table(rows=rows).append_column("prompt", pa.array(values, kind))
    pq.write_table(table, tmp_path / "in.parquet")
    delaytool("apply", tmp_path / "in.parquet", tmp_path / "out.parquet", *PLAIN)
    delaytool("revert", tmp_path / "out.parquet", tmp_path / "back.parquet")
    source = pq.read_table(tmp_path / "in.parquet")
    assert pq.read_table(tmp_path / "back.parquet").equals(source, check_metadata=True)
    found = pq.read_table(tmp_path / "out.parquet")
    assert found["prompt"].equals(table["prompt"])
    pq.write_table(found, tmp_path / "plain.parquet")
    if kind != pa.large_string():
        sizes = (os.path.getsize(tmp_path / f"{name}.parquet") for name in ("out", "plain"))
        # Footers differ by the record.
        assert next(sizes) < next(sizes) + 20_000


@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.integers(0, 5), st.integers(0, 400)),
        min_size=1,
        max_size=12,
    ),
    st.sampled_from(TYPES),
    st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_values_come_back_whatever_repeats(tmp_path_factory, parts, kind, seed):
    random, names = np.random.default_rng(seed), prompts(40, 40, seed)
    path = tmp_path_factory.mktemp("repeats") / "a.parquet"
    schema = pa.schema(
        [pa.field("prompt", kind, metadata={"k": "v"}), pa.field("n", pa.int64())], {"x": "y"}
    )
    batches = []
    for rows, distinct, length in parts:
        some = [(name * 11)[:length] for name in names[: distinct + 1]] + [None]
        values = [some[n] for n in random.integers(0, len(some), rows)]
        values = [v.encode() if v is not None and kind == pa.binary() else v for v in values]
        arrays = [pa.array(values, kind), pa.array(random.integers(0, 9, rows))]
        batches.append(pa.record_batch(arrays, schema=schema).slice(rows // 3))
    with pytest.MonkeyPatch.context() as patch:
        small_groups(patch)
        written(path, batches, schema)
    found, wanted = pq.read_table(path), pa.Table.from_batches(batches)
    assert found.schema.equals(read_as_ever(wanted, path), check_metadata=True)
    assert found.to_pylist() == wanted.to_pylist()


def test_rows_wait_as_long_as_their_values_repeat(tmp_path, monkeypatch):
    small_groups(monkeypatch)
    few, schema = prompts(3, 100), pa.schema({"prompt": pa.string()})

    def batch(values):
        return pa.record_batch([pa.array(values)], schema=schema)

    repeated = [batch([few[(n + k) % 3] for k in range(4)]) for n in range(40)]
    assert written(tmp_path / "a", repeated, schema).num_row_groups == 1
    unlike = [batch([each]) for each in prompts(60, 100)]
    assert written(tmp_path / "b", unlike, schema).num_row_groups == 6
    # Those that cease to repeat are row groups of as many bytes as others.
    groups = written(tmp_path / "c", [*repeated[:10], *unlike, *repeated[:10]], schema)
    assert groups.num_row_groups == 7
    assert pq.read_table(tmp_path / "c").num_rows == 140


def test_numbers_stand_for_values_and_each_is_kept_once():
    schema = pa.schema({"prompt": pa.string()})
    repeats = Repeats(schema)
    batches = [
        pa.record_batch([pa.array(values)], schema=schema)
        for values in (["b" * 90, "a" * 90] * 5, ["a" * 90, None, "c" * 90])
    ]
    assert repeats.choose(batches[:1])
    kept = [repeats.keep(batch) for batch in batches]
    assert [batch.column(0).to_pylist() for batch in kept] == [[0, 1] * 5, [1, None, 2]]
    assert 270 <= repeats.nbytes <= 320
    table = repeats.table(kept)
    assert table["prompt"].to_pylist() == [v for b in batches for v in b.column(0).to_pylist()]
    assert len(table["prompt"].chunk(0).dictionary) == 3
    repeats.forget()
    assert repeats.nbytes < 20


def test_a_dictionary_without_room_is_a_row_group(tmp_path, monkeypatch):
    small_groups(monkeypatch)
    monkeypatch.setattr(write, "_OTHER_BYTES", 5000)
    kind, names = pa.dictionary(pa.int8(), pa.string()), prompts(300, 10)
    schema = pa.schema({"prompt": kind})
    batches = [
        pa.record_batch([pa.array(names[start : start + 50] * 2, kind)], schema=schema)
        for start in range(0, 300, 50)
    ]
    assert written(tmp_path / "a", batches, schema).num_row_groups == 3
    found, wanted = pq.read_table(tmp_path / "a"), pa.Table.from_batches(batches)
    assert found.schema == read_as_ever(wanted.slice(0, 50), tmp_path / "b")
    assert found.to_pylist() == wanted.to_pylist()


def test_only_what_is_used_of_a_dictionary_is_kept():
    large = pa.DictionaryArray.from_arrays(pa.array([7, 7, None, 3]), pa.array(prompts(99, 1000)))
    batch = pa.record_batch([large], names=["prompt"])
    repeats = Repeats(batch.schema)
    assert repeats.choose([batch])
    kept = repeats.keep(batch)
    assert kept.column(0).to_pylist() == [0, 0, None, 1]
    assert 2000 <= repeats.nbytes < 2100
    assert repeats.table([kept])["prompt"].to_pylist() == large.to_pylist()
