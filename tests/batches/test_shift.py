"""One record batch to another: against the slow reference, and back."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from layouts import flat, read_slowly, transposed
from make import job_on, plain_job, tokens_job, tokens_table, without_marks
from strategies import INTEGERS, random_tokens, recipes, seeds

from delaytool.batches.column_options import ColumnOptions
from delaytool.batches.digest import same_values
from delaytool.batches.job import make_job
from delaytool.batches.layouts import CODEBOOK, FLAT_CODEBOOK, FLAT_FRAME, FRAME, LIST, Column
from delaytool.batches.metadata import ENTRY, SPARK
from delaytool.batches.problems import placed
from delaytool.batches.schema import check_schema, shifted_schema
from delaytool.batches.shift import bad_rows, shift, shift_batch
from delaytool.batches.types import without_nulls
from delaytool.batches.unshift import cut, read_shifted, unshift
from delaytool.errors import DataError
from delaytool.recipes.adapt import with_text
from delaytool.recipes.presets import plain_recipe
from delaytool.shards.recorded_rows import Quarantined

LISTS = st.sampled_from([pa.list_, pa.large_list])
AUDIO_LAYOUTS = (CODEBOOK, FRAME, FLAT_CODEBOOK, FLAT_FRAME)


def one_batch(table):
    return table.combine_chunks().to_batches()[0]


def rows_of(batch, held):
    """The streams of each row, [K][T], from columns or outputs, read slowly."""
    rows = [{} for _ in range(batch.num_rows)]
    for column in held:
        size, start = getattr(column, "size", column.count), getattr(column, "start", 0)
        for row, values in zip(rows, batch.column(column.name).to_pylist(), strict=True):
            lines = read_slowly(values, column.layout.name, size)[start : start + column.count]
            row |= dict(zip(column.numbers, lines, strict=True))
    return [[row[number] for number in sorted(row)] for row in rows]


def wide_text_job():
    """A job whose recipe fills the text with a token of more than 8 bits."""
    job = tokens_job(initial_step=True)
    return replace(job, recipe=with_text(job.recipe, initial=300))


def weights_of(batch, job):
    """The weights of each row, [K][S]."""
    return rows_of(batch, [replace(output, name=output.weights) for output in job.outputs])


def laid_out(lines, layout):
    """A row's codebooks [n][T] in a layout."""
    if layout == LIST:
        return lines[0]
    lines = transposed(lines) if layout in (FRAME, FLAT_FRAME) else lines
    return flat(lines) if layout in (FLAT_CODEBOOK, FLAT_FRAME) else lines


@st.composite
def columns_for(draw, recipe):
    """Columns that hold a recipe's streams: one or more, some with codebooks of no use."""
    columns, numbers = [], list(range(len(recipe.streams)))
    if recipe.has_text and draw(st.booleans()):
        columns = [Column(f"text {number}", (number,), LIST, 1) for number in recipe.text_numbers]
        numbers = list(recipe.audio_numbers)
    while numbers:
        count = draw(st.integers(1, len(numbers)))
        layout = draw(st.sampled_from(AUDIO_LAYOUTS + ((LIST,) if count == 1 else ())))
        before, behind = (draw(st.sampled_from([0, 0, 0, 1, 2])) for _ in range(2))
        if layout == LIST:
            before = behind = 0
        size = before + count + behind
        own, numbers = tuple(numbers[:count]), numbers[count:]
        columns.append(Column(f"codes {own[0]}", own, layout, size, before))
    return tuple(columns)


@st.composite
def batches(draw):
    """A random job and a batch for it, with columns around the tokens; maybe a slice."""
    recipe = draw(recipes())
    columns = draw(columns_for(recipe))
    whole = all(column.is_whole for column in columns)
    result = draw(st.sampled_from(["grid", "split"])) if whole else "grid"
    where = ColumnOptions(weights=draw(st.booleans()), key="id", output_layout=result)
    job = make_job(recipe, where, columns)
    random = np.random.default_rng(draw(seeds))
    lengths = draw(st.lists(st.integers(0, 8), max_size=6))
    made = {"id": pa.array([f"utt-{i}" for i in range(len(lengths))])}
    for column in job.columns:
        streams = column.streams(recipe)
        dtype, outer, inner = draw(st.sampled_from(INTEGERS)), draw(LISTS), draw(LISTS)
        leaf = pa.type_for_alias(dtype)
        values = []
        for frames in lengths:
            spare = [random.integers(0, 120, frames).tolist() for _ in range(column.size)]
            own = [random_tokens(random, s, frames, dtype).tolist() for s in streams]
            spare[column.start : column.start + column.count] = own
            values.append(laid_out(spare, column.layout))
        nested = column.layout in (CODEBOOK, FRAME)
        made[column.name] = pa.array(values, outer(inner(leaf)) if nested else inner(leaf))
        made[f"behind {column.name}"] = pa.array(
            [[None, float("nan"), -0.0][: n % 4] for n in lengths], pa.list_(pa.float32())
        )
    start = draw(st.integers(0, len(lengths)))
    stop = draw(st.integers(start, len(lengths)))
    return job, pa.record_batch(made).slice(start, stop - start)


@given(batches())
@settings(max_examples=150, deadline=None)
def test_shift_equals_the_reference(made):
    job, batch = made
    shifted = shift(batch, job)
    shifted.validate(full=True)
    rows = rows_of(batch, job.columns)
    assert shifted.schema.equals(shifted_schema(batch.schema, job), check_metadata=True)
    assert rows_of(shifted, job.outputs) == [reference.delay(row, job.recipe) for row in rows]
    if job.outputs[0].weights:
        expected = [reference.loss_weights(row, job.recipe) for row in rows]
        as_float32 = [[np.float32(line).tolist() for line in row] for row in expected]
        assert weights_of(shifted, job) == as_float32
    frames = sum(len(row[0]) for row in rows)
    lost = sum(line.count(None) for row in rows for line in reference.cut(row, job.recipe))
    counts = shift_batch(batch, job, shifted.schema).counts
    assert (counts.rows_in, counts.rows_out, counts.frames, counts.lost) == (
        len(rows), len(rows), frames, lost,
    )  # fmt: skip
    assert read_shifted(shifted, job)[1].tolist() == [len(row[0]) for row in rows]


@given(batches())
@settings(max_examples=150, deadline=None)
def test_unshift_gives_the_batch_back(made):
    job, batch = made
    back = unshift(shift(batch, job), job, batch.schema)
    back.validate(full=True)
    assert back.schema.equals(batch.schema, check_metadata=True)
    rows = rows_of(batch, job.columns)
    assert rows_of(back, job.columns) == [reference.cut(row, job.recipe) for row in rows]
    expected = cut(batch, job) if job.recipe.may_lose else batch
    for name in batch.schema.names:
        assert same_values(back.column(name), expected.column(name))


@given(batches())
@settings(max_examples=80, deadline=None)
def test_cut_is_what_the_reference_keeps(made):
    job, batch = made
    after = cut(batch, job)
    after.validate(full=True)
    assert after.schema.equals(batch.schema, check_metadata=True)
    rows = rows_of(batch, job.columns)
    assert rows_of(after, job.columns) == [reference.cut(row, job.recipe) for row in rows]


def test_every_bad_row_is_found_whatever_is_wrong_with_it():
    table = tokens_table(rows=9)
    lengths = [len(line) for line in table["text_tokens"].to_pylist()]
    rows = table.append_column("mask", pa.array([[1.0] * n for n in lengths])).to_pylist()
    rows[0]["text_tokens"][0] = 32000
    rows[2]["audio_codes"] = None
    rows[3]["mask"][-1] = -1.0
    rows[4]["audio_codes"][1] = None
    rows[5]["mask"] = [*rows[5]["mask"][:-1], None]
    rows[6]["text_tokens"].append(1)
    rows[7]["audio_codes"][2][0] = 5000
    rows[7]["mask"] = None
    batch = pa.RecordBatch.from_pylist(
        rows, one_batch(table).schema.append(pa.field("mask", pa.list_(pa.float32())))
    )
    job = plain_job(plain_recipe(3, (0, 0, 1, 2)), weight_column="mask")
    found = bad_rows(batch, job)
    assert list(found) == [0, 2, 3, 4, 5, 6, 7]
    assert [error.place.row for error in found.values()] == list(found)
    assert found[3].place.column == found[5].place.column == "mask"


def test_truncation_leaves_nulls_by_hand():
    job = plain_job(replace(plain_recipe(2, (0, 0, 2)), length="truncate"))
    batch = pa.record_batch({"text_tokens": [[1, 2, 3]], "audio_codes": [[[4, 5, 6], [7, 8, 9]]]})
    shifted = shift(batch, job)
    assert shifted.column("audio_codes").to_pylist() == [[[4, 5, 6], [2048, 2048, 7]]]
    back = unshift(shifted, job, batch.schema)
    assert back.column("audio_codes").to_pylist() == [[[4, 5, 6], [7, None, None]]]
    assert back.equals(cut(batch, job))
    counts = shift_batch(batch, job, shifted.schema).counts
    assert (counts.frames, counts.lost) == (3, 2)


def test_other_columns_are_the_same_and_the_weights_come_last():
    batch, job = one_batch(tokens_table()), tokens_job()
    shifted = shift(batch, job)
    assert shifted.schema.names == [
        *batch.schema.names,
        "text_loss_weights",
        "audio_loss_weights",
    ]
    for name in ("id", "speaker", "score", "tags"):
        assert shifted.column(name).equals(batch.column(name))
        assert shifted.schema.field(name) == batch.schema.field(name)
    without = plain_job(job.recipe, weights=False)
    assert shift(batch, without).schema.names == batch.schema.names


def test_a_slice_shifts_as_its_copy_does():
    batch, job = one_batch(tokens_table()), tokens_job()
    whole = shift(batch, job)
    for start, stop in [(0, 0), (0, 5), (5, 12), (3, 4), (12, 12)]:
        assert shift(batch.slice(start, stop - start), job).equals(whole.slice(start, stop - start))


@pytest.mark.parametrize(
    ("text_type", "codes_type", "text_after", "codes_after"),
    [
        ("int32", "int16", "int32", "int16"),
        ("uint8", "uint16", "int16", "uint16"),
        ("int8", "int64", "int16", "int64"),
        ("uint16", "uint32", "uint16", "uint32"),
        ("uint64", "uint64", "uint64", "uint64"),
    ],
)
def test_types_widen_where_a_fill_needs_it_and_come_back(
    text_type, codes_type, text_after, codes_after
):
    job = wide_text_job()
    table = tokens_table(
        text_type=pa.type_for_alias(text_type), codes_type=pa.type_for_alias(codes_type)
    )
    batch = one_batch(table)
    shifted = shift(batch, job)
    assert str(shifted.schema.field("text_tokens").type.value_type) == text_after
    assert str(shifted.schema.field("audio_codes").type.value_type.value_type) == codes_after
    assert unshift(shifted, job, batch.schema).equals(batch)


def test_large_lists_and_field_names_stay_and_fixed_time_axes_become_lists():
    job = plain_job(plain_recipe(2, (0, 0, 1)), weights=False)
    text_type = pa.large_list(pa.field("token", pa.int32(), nullable=False))
    schema = pa.schema(
        [
            pa.field("text_tokens", text_type, nullable=False, metadata={b"unit": b"frame"}),
            pa.field("audio_codes", pa.list_(pa.list_(pa.int16(), 3))),
        ],
        metadata={b"made": b"by hand"},
    )
    batch = pa.RecordBatch.from_pylist(
        [{"text_tokens": [1, 2, 3], "audio_codes": [[4, 5, 6], [7, 8, 9]]}] * 2, schema
    )
    shifted = shift(batch, job)
    after = shifted.schema
    text = without_nulls(schema.field("text_tokens"))
    assert after.field("text_tokens").equals(text, check_metadata=True)
    assert without_marks(after.field("audio_codes").type) == str(pa.list_(pa.list_(pa.int16())))
    assert after.metadata == {b"made": b"by hand"}
    assert shifted.column("audio_codes").to_pylist() == [[[4, 5, 6, 2048], [2048, 7, 8, 9]]] * 2
    back = unshift(shifted, job, schema)
    assert back.equals(batch)
    assert back.schema.equals(schema, check_metadata=True)


def test_a_bad_row_is_named_with_its_row_in_the_batch():
    batch = pa.record_batch(
        {
            "id": ["a", "b"],
            "text_tokens": [[1], [2]],
            "audio_codes": [[[1]] * 3, [[1], [1], [9999]]],
        }
    )
    job = tokens_job()
    with pytest.raises(DataError, match="row 1, column audio_codes, stream acoustic_2") as raised:
        shift(batch, job)
    error = placed(raised.value, "x.parquet", 100, batch, job)
    assert str(error).startswith("x.parquet, row 101 (id 'b'), column audio_codes")


def test_a_shifted_row_shorter_than_the_pattern_is_bad():
    job = tokens_job(final_step=True, initial_step=True)
    batch = one_batch(tokens_table())
    shifted = shift(batch, job)
    text = pa.array([[1, 2, 3]] * len(batch), shifted.schema.field("text_tokens").type)
    codes = pa.array([[[1, 2, 3]] * 3] * len(batch), shifted.schema.field("audio_codes").type)
    arrays = {**dict(zip(shifted.schema.names, shifted.columns, strict=True))}
    arrays |= {"text_tokens": text, "audio_codes": codes}
    short = pa.RecordBatch.from_arrays(list(arrays.values()), schema=shifted.schema)
    with pytest.raises(DataError, match="row 0: 3 timesteps, expected at least the 4"):
        unshift(short, job, batch.schema)


def test_a_token_that_the_original_type_cannot_hold_is_an_error():
    job = plain_job(plain_recipe(1, (0, 1)), weights=False)
    schema = pa.schema(
        [("text_tokens", pa.list_(pa.int8())), ("audio_codes", pa.list_(pa.list_(pa.uint8())))]
    )
    batch = pa.RecordBatch.from_pylist([{"text_tokens": [1], "audio_codes": [[255]]}], schema)
    shifted = shift(batch, job)
    assert unshift(shifted, job, schema).equals(batch)
    wrong = shifted.set_column(
        1, shifted.schema.field(1), pa.array([[[2048, 256]]], shifted.schema.field(1).type)
    )
    with pytest.raises(DataError, match="column audio_codes: tokens from 256 to 256"):
        unshift(wrong, job, schema)


def schema_with(**changes):
    fields = {"text_tokens": pa.list_(pa.int32()), "audio_codes": pa.list_(pa.list_(pa.int16()))}
    return pa.schema([(name, kind) for name, kind in {**fields, **changes}.items() if kind])


def test_a_schema_that_fits_is_fine():
    check_schema(schema_with(other=pa.string()), tokens_job())


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (schema_with(audio_codes=None), "no column audio_codes; there are text_tokens"),
        (schema_with(text_tokens=None), "no column text_tokens"),
        (pa.schema([]), "no column text_tokens"),
        (schema_with(audio_codes=pa.list_(pa.int16())), "column audio_codes: has the type"),
        (schema_with(text_tokens=pa.list_(pa.float32())), "column text_tokens: has the type"),
        (schema_with(audio_loss_weights=pa.int8()), "audio_loss_weights is in the way"),
        (schema_with(text_loss_weights=pa.int8()), "text_loss_weights is in the way"),
        (schema_with().append(pa.field("text_tokens", pa.int8())), "two columns are named"),
        (schema_with().with_metadata({ENTRY: "{}"}), "shifted already"),
    ],
)
def test_a_schema_that_does_not_fit_is_refused(schema, message):
    for function in (check_schema, shifted_schema):
        with pytest.raises(DataError, match=message):
            function(schema, tokens_job())


def test_without_weights_their_names_are_free():
    schema = schema_with(audio_loss_weights=pa.int8())
    shifted = shifted_schema(schema, plain_job(tokens_job().recipe, weights=False))
    assert without_marks(shifted) == str(schema)


def test_huggingface_features_describe_the_new_columns():
    datasets = pytest.importorskip("datasets")
    features = {
        "text_tokens": {"feature": {"dtype": "uint8", "_type": "Value"}, "_type": "Sequence"},
        "audio_codes": {"shape": [3, 4], "dtype": "int16", "_type": "Array2D"},
        "id": {"dtype": "string", "_type": "Value"},
    }
    described = {"info": {"features": features, "license": "mit"}, "fingerprint": "abc"}
    schema = schema_with(text_tokens=pa.large_list(pa.uint8()), id=pa.string())
    schema = schema.with_metadata({"huggingface": json.dumps(described), "other": "stays"})
    after = shifted_schema(schema, wide_text_job())
    assert after.metadata[b"other"] == b"stays"
    mended = json.loads(after.metadata[b"huggingface"])
    assert mended["info"]["license"] == "mit"
    assert mended["fingerprint"] == "abc"
    assert set(mended["info"]["features"]) == set(after.names)
    assert mended["info"]["features"]["id"] == features["id"]
    read = datasets.Features.from_dict(mended["info"]["features"])
    for field in after:
        # Arrow's names of list elements are not part of what datasets compares.
        kind = str(read.arrow_schema.field(field.name).type)
        ours = without_marks(field.type).replace("element: ", "").replace("item: ", "")
        assert kind.replace("item: ", "") == ours


def test_pandas_metadata_describes_the_new_columns():
    frame = pd.DataFrame(
        {"text_tokens": [[1], [2]], "audio_codes": [[[1]] * 3, [[2]] * 3], "score": [1.5, 2.5]},
        index=pd.Index(["a", "b"], name="utterance"),
    )
    batch = pa.RecordBatch.from_pandas(frame)
    shifted = shift(batch, tokens_job())
    described = json.loads(shifted.schema.metadata[b"pandas"])
    columns = {column["field_name"]: column for column in described["columns"]}
    assert set(columns) == set(shifted.schema.names)
    assert columns["text_loss_weights"]["pandas_type"] == "list[float32]"
    after = shifted.to_pandas()
    assert after.index.equals(frame.index)
    assert after["score"].tolist() == [1.5, 2.5]


def test_pandas_metadata_keeps_every_level_of_an_unnamed_index():
    index = pd.MultiIndex.from_tuples([("a", 1), ("b", 2)])
    columns = {"text_tokens": [[1], [2]], "audio_codes": [[[1]] * 3, [[2]] * 3]}
    batch = pa.RecordBatch.from_pandas(pd.DataFrame(columns, index=index))
    assert shift(batch, tokens_job()).to_pandas().index.equals(index)


GARBAGE = [
    b"",
    b"\xff\xfe garbage",
    b"not JSON",
    b"null",
    b"5",
    b'"text"',
    b"[]",
    b"{}",
    b'{"info": null, "columns": null}',
    b'{"info": {}, "columns": 3}',
    b'{"info": {"features": null}, "columns": [1, 2]}',
    b'{"info": {"features": []}, "columns": [{"no name": 1}]}',
    b'{"info": {"features": "text"}, "columns": [{"name": []}]}',
    b'{"info": []}',
    b"[" * 100_000,
]


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda garbage: repr(garbage[:40]))
@pytest.mark.parametrize("key", [b"huggingface", b"pandas", SPARK, b"parquet.avro.schema"])
def test_a_description_that_is_garbage_is_dropped(key, garbage):
    schema = schema_with().with_metadata({key: garbage, b"other": b"\xff stays"})
    assert shifted_schema(schema, tokens_job()).metadata == {b"other": b"\xff stays"}


def test_schemas_that_differ_in_metadata_alone_are_told_apart():
    schema = schema_with()
    first = schema.field(0)
    for note in (b"one", b"another"):
        noted = schema.set(0, first.with_metadata({b"of it": note})).with_metadata({b"all": note})
        shifted = shifted_schema(noted, tokens_job())
        assert shifted.metadata == {b"all": note}
        assert shifted.field(first.name).metadata == {b"of it": note}


def spark_field(name, kind, **more):
    return {"name": name, "type": kind, "nullable": True, "metadata": {}, **more}


def spark_array(kind):
    return {"type": "array", "elementType": kind, "containsNull": True}


def test_sparks_schema_describes_the_new_columns():
    fields = [
        spark_field("id", "string", nullable=False, metadata={"comment": "stays"}),
        spark_field("text_tokens", spark_array("integer"), metadata={"comment": "words"}),
        spark_field("audio_codes", spark_array(spark_array("short"))),
    ]
    codes = pa.field("audio_codes", pa.list_(pa.list_(pa.uint8())))
    schema = pa.schema([*tokens_table().select(["id", "text_tokens"]).schema, codes])
    entry = json.dumps({"type": "struct", "fields": fields})
    after = shifted_schema(schema.with_metadata({SPARK: entry}), tokens_job())
    assert json.loads(after.metadata[SPARK]) == {
        "type": "struct",
        "fields": [
            *fields[:2],
            spark_field("audio_codes", spark_array(spark_array("short"))),
            spark_field("text_loss_weights", spark_array("float")),
            spark_field("audio_loss_weights", spark_array(spark_array("float"))),
        ],
    }
    grid = job_on(tokens_table(), tokens_job().recipe, output_layout="grid", weights=False)
    after = shifted_schema(schema.with_metadata({SPARK: entry}), grid)
    names = [field["name"] for field in json.loads(after.metadata[SPARK])["fields"]]
    assert names == ["id", "codes"]


NAMES = {
    "pairs": pd.MultiIndex.from_tuples(
        [("tok", "text"), ("tok", "audio")], names=["what", "which"]
    ),
    "numbers": pd.Index([1, 2]),
    "dates": pd.to_datetime(["2024-01-01", "2024-01-02"]),
    "texts": pd.Index(["text", "audio"], name="what"),
}


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("weights", [True, False])
def test_pandas_reads_columns_that_it_named_by_other_things_than_texts(kind, weights):
    frame = pd.DataFrame([[[1], [[1]] * 3], [[2], [[2]] * 3]])
    frame.columns = NAMES[kind]
    table = pa.Table.from_pandas(frame)
    text, audio = table.column_names
    recipe = tokens_job().recipe
    job = job_on(table, recipe, text_column=(text,), audio_column=(audio,), weights=weights)
    shifted = shift(table.to_batches()[0], job)
    after = shifted.to_pandas()
    assert len(after.columns) == len(shifted.schema.names)
    if weights and kind != "texts":
        assert list(after.columns) == shifted.schema.names
    else:
        assert list(after.columns[:2]) == list(frame.columns)
        assert after.columns.names == frame.columns.names


def test_pandas_metadata_forgets_what_is_gone_and_adds_no_key():
    frame = pd.DataFrame({"text_tokens": [[1], [2]], "audio_codes": [[[1]] * 3, [[2]] * 3]})
    table = pa.Table.from_pandas(frame)
    described = json.loads(table.schema.metadata[b"pandas"])
    job = job_on(table, tokens_job().recipe, output_layout="grid")
    for more, kept in [
        ({}, None),
        ({"partition_columns": ["text_tokens", "other"]}, ["other"]),
    ]:
        entry = json.dumps({**described, **more})
        after = shifted_schema(table.schema.with_metadata({"pandas": entry}), job)
        mended = json.loads(after.metadata[b"pandas"])
        assert mended.keys() == described.keys() | more.keys()
        assert mended.get("partition_columns") == kept
        assert mended["index_columns"] == described["index_columns"]


@given(st.lists(st.booleans(), max_size=30))
def test_rows_around_those_in_quarantine(is_bad):
    ranges = []
    for row in np.flatnonzero(is_bad).tolist():
        if ranges and sum(ranges[-1]) == row:
            ranges[-1] = (ranges[-1][0], ranges[-1][1] + 1)
        else:
            ranges.append((row, 1))
    counts = SimpleNamespace(rows_in=len(is_bad))
    aside = Quarantined(SimpleNamespace(quarantined=tuple(ranges), counts=counts))
    kept = [row for row, bad in enumerate(is_bad) if not bad]
    assert [aside.source_row(row) for row in range(len(kept))] == kept
    shifted = [kept.index(row) if row in kept else None for row in range(len(is_bad))]
    assert [aside.shifted_row(row) for row in range(len(is_bad))] == shifted
