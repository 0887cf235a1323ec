"""Jobs and records: there and back, and nothing but DataError for what someone changed."""

import dataclasses
import hashlib
import json
import pickle
import tracemalloc
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make import plain_job

from delaytool.batches.figures import Counts, Figures
from delaytool.batches.job import Job
from delaytool.batches.layouts import CODEBOOK, LIST, Column, Output
from delaytool.errors import DataError, RecipeError
from delaytool.recipes.adapt import with_audio, with_text, with_weights
from delaytool.recipes.presets import load_preset, plain_recipe
from delaytool.shards.entry import MAX_ENTRY
from delaytool.shards.record import (
    MAX_REASONS,
    Digests,
    Reason,
    Record,
    Source,
    reasons_of,
)

RECIPE = plain_recipe(2, (0, 0, 1))
TEXT = Column("text", (0,), LIST, 1)
CODES = Column("codes", (1, 2), CODEBOOK, 2)
OUT = (Output("text", (0,), LIST, "text_weights"), Output("codes", (1, 2), CODEBOOK))


def record_of(recipe=RECIPE, key="id"):
    sums = (Fraction(1, 2), Fraction(0.1), Fraction(7))
    sums += (Fraction(0),) * (len(recipe.streams) - len(sums))
    return Record(
        version="0.1.0",
        job=plain_job(recipe, key=key),
        sources=(Source(1234, "f" * 64, "c2NoZW1h", {"bWFkZQ==": None, "bmV3": ""}),),
        counts=Counts(10, 9, 100, 300, 7, 2, 0, 1),
        figures=Figures(330, 30, 5, 99, 40, sums, 11),
        digests=Digests({"id": "a" * 64, "text_tokens": "b" * 64, "ünicode": "c"}, "d" * 64),
        padded=(((3, 2), (7, 1)),),
        quarantined=((4, 1),),
        reasons=(Reason("null", "text", 1),),
    )


RECORDS = [
    record_of(),
    record_of(key=None),
    record_of(load_preset("moshi")),
    record_of(load_preset("moshi-finetune")),
    record_of(plain_recipe(3, (0, 1, 2), text=False)),
    record_of(
        dataclasses.replace(
            with_weights(with_audio(RECIPE, padding=7), final=0.1),
            length="truncate",
            final_step=True,
        )
    ),
]


def signed(fields):
    """An entry with these fields and the checksum that fits them."""
    rest = {name: value for name, value in fields.items() if name != "checksum"}
    compact = json.dumps(rest, separators=(",", ":"))
    checksum = hashlib.sha256(compact.encode()).hexdigest()
    return json.dumps({**rest, "checksum": checksum}).encode()


def fields_of(record):
    return json.loads(record.to_json())


@pytest.mark.parametrize("record", RECORDS)
def test_a_record_comes_back_from_its_json(record):
    back = Record.from_json(record.to_json().encode())
    assert back == record
    assert back.job.key == record.job.key
    assert back.to_json() == record.to_json()


def test_records_have_a_job_in_common_only_where_it_is_the_same():
    made = RECORDS[0]
    other = dataclasses.replace(made, counts=dataclasses.replace(made.counts, rows_in=99))
    keyed = dataclasses.replace(made, job=dataclasses.replace(made.job, key="name"))
    one, same, of_key = (Record.from_json(r.to_json().encode()) for r in (made, other, keyed))
    assert one.job is same.job
    assert (one.job.key, of_key.job.key) == (made.job.key, "name")


@pytest.mark.parametrize("record", RECORDS)
def test_the_checksum_is_the_sha256_of_the_rest(record):
    text = record.to_json()
    assert text.isascii()
    rest, checksum = text[:-1].split(',"checksum":')
    assert hashlib.sha256((rest + "}").encode()).hexdigest() == json.loads(checksum)
    assert Record.from_json(signed(fields_of(record))) == record


def test_every_changed_byte_is_noticed():
    entry = record_of().to_json().encode()
    for place in range(len(entry)):
        changed = bytearray(entry)
        changed[place] ^= 1
        with pytest.raises(DataError, match="the delaytool entry"):
            Record.from_json(bytes(changed))


def test_every_cut_is_noticed():
    entry = record_of().to_json().encode()
    for size in range(len(entry)):
        with pytest.raises(DataError, match="is not JSON"):
            Record.from_json(entry[:size])


@pytest.mark.parametrize(
    "entry",
    [
        b"",
        b"\xff\xfe\xfd",
        b"\0" * 100,
        b"null",
        b"[]",
        b"{}",
        b"5",
        b'"text"',
        b"NaN",
        b"[" * 100_000,
        b'{"format":' + b"[" * 100_000,
        b'{"format":' + b"9" * 10_000 + b"}",
        b'{"format": 5}',
        b'{"format": 5, "checksum": ""}',
        b'{"format": [], "checksum": ""}',
        b'{"format": null}',
        b'{"format": 5, "checksum": ["deep"]}',
        b'{"format": 5, "checksum": null}',
    ],
    ids=lambda entry: repr(entry[:40]),
)
def test_what_is_no_entry_at_all_is_a_data_error(entry):
    with pytest.raises(DataError, match="the delaytool entry"):
        Record.from_json(entry)


@pytest.mark.parametrize("depth", [100, 400, 900, 950, 990, 1000, 5000, 100_000])
@pytest.mark.parametrize(
    "field", ["version", "recipe", "columns", "outputs", "counts", "padded", "more"]
)
def test_nesting_without_end_is_a_data_error(field, depth):
    fields = {**fields_of(record_of()), field: "deep", "checksum": ""}
    entry = json.dumps(fields).replace('"deep"', "[" * depth + "]" * depth)
    with pytest.raises(DataError):
        Record.from_json(entry.encode())


def test_an_entry_of_any_size_is_not_parsed():
    with pytest.raises(DataError, match=f"expected at most {MAX_ENTRY}"):
        Record.from_json(b" " * (MAX_ENTRY + 1))


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
@settings(max_examples=100, deadline=None)
def test_noise_is_a_data_error(noise):
    with pytest.raises(DataError):
        Record.from_json(noise)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda some: st.lists(some) | st.dictionaries(st.text(), some),
        max_leaves=8,
    ),
    st.sampled_from(
        [
            "version",
            "recipe",
            "sources",
            "counts",
            "digests",
            "columns",
            "outputs",
            "align",
            "padded",
        ]
    ),
)
@settings(max_examples=150, deadline=None)
def test_anything_in_a_field_gives_a_record_or_a_data_error(value, field):
    fields = {**fields_of(record_of()), field: value}
    try:
        record = Record.from_json(signed(fields))
    except DataError:
        return
    assert fields_of(record)[field] == value


def paths_in(value, path=()):
    """The path of everything in a JSON value."""
    yield path
    if isinstance(value, (dict, list)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for name, inner in items:
            yield from paths_in(inner, (*path, name))


def with_change(fields, path, value):
    copy = json.loads(json.dumps(fields))
    inner = copy
    for name in path[:-1]:
        inner = inner[name]
    if value is MISSING:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return copy


class Missing:
    def __repr__(self):
        return "missing"


MISSING = Missing()
FIELDS = fields_of(record_of())
PATHS = [path for path in paths_in(FIELDS) if path]
WRONG = [None, True, -1, 1.5, 10**30, "", "text", [], [[]], {}, {"a": 1}, MISSING]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: ".".join(map(str, path)))
def test_a_wrong_value_anywhere_gives_a_record_or_a_data_error(path):
    for value in WRONG:
        # A count of 10**30 streams has a test of its own.
        if path[-1] == "count" and value == 10**30:
            continue
        entry = signed(with_change(FIELDS, path, value))
        try:
            record = Record.from_json(entry)
        except DataError:
            continue
        assert isinstance(record, Record)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("format",), 1),
        (("format",), "5"),
        (("version",), None),
        (("version",), 1),
        (("version",), MISSING),
        (("recipe",), MISSING),
        (("recipe",), []),
        (("recipe", "streams"), []),
        (("recipe", "streams", 0, "delay"), -1),
        (("recipe", "streams", 0, "delay"), 2**20 + 1),
        (("recipe", "streams", 1, "cardinality"), 0),
        (("recipe", "more"), 1),
        (("recipe", "length"), "longer"),
        (("columns",), []),
        (("columns",), {}),
        (("columns",), "text"),
        (("columns",), None),
        (("columns", 0), None),
        (("columns", 0, "name"), None),
        (("columns", 0, "name"), "audio_codes"),
        (("columns", 0, "first"), 1),
        (("columns", 0, "first"), -1),
        (("columns", 0, "first"), False),
        (("columns", 0, "count"), 0),
        (("columns", 0, "count"), 2),
        (("columns", 0, "count"), "1"),
        (("columns", 1, "layout"), "list"),
        (("columns", 1, "layout"), "frame-major"),
        (("columns", 1, "layout"), ["list"]),
        (("columns", 1, "layout"), None),
        (("columns", 1, "size"), 1),
        (("columns", 1, "size"), None),
        (("columns", 1, "start"), 1),
        (("columns", 1, "start"), -1),
        (("columns", 1, "more"), 1),
        (("outputs",), []),
        (("outputs", 0, "name"), "audio_codes"),
        (("outputs", 1, "layout"), "list"),
        (("outputs", 1, "weights"), 5),
        (("outputs", 1, "weights"), "text_tokens"),
        (("outputs", 1, "weights"), MISSING),
        (("outputs", 1, "labels"), "audio_loss_weights"),
        (("align",), "guess"),
        (("align",), None),
        (("factors",), 3),
        (("factors",), MISSING),
        (("narrow",), 1),
        (("narrow",), MISSING),
        (("padded",), None),
        (("padded",), [[1]]),
        (("padded",), [[1, -1]]),
        (("padded",), [[1, 2, 3]]),
        (("quarantined",), [1]),
        (("quarantined",), MISSING),
        (("key",), 5),
        (("key",), MISSING),
        (("by_order",), None),
        (("by_order",), 1),
        (("by_order",), MISSING),
        (("sources",), None),
        (("sources", 0), None),
        (("sources", 0, "size"), -1),
        (("sources", 0, "size"), 1.0),
        (("sources", 0, "footer"), None),
        (("sources", 0, "schema"), []),
        (("sources", 0, "entries"), MISSING),
        (("sources", 0, "entries"), [["bWFkZQ==", None]]),
        (("sources", 0, "entries"), {"bWFkZQ==": 1}),
        (("counts",), []),
        (("counts", "rows_in"), True),
        (("counts", "rows_out"), None),
        (("counts", "frames"), -1),
        (("counts", "tokens"), "3"),
        (("counts", "lost"), MISSING),
        (("digests", "columns"), []),
        (("digests", "columns"), None),
        (("digests", "columns", "id"), 5),
        (("digests", "schema"), None),
        (("digests", "schema"), MISSING),
        (("figures",), MISSING),
        (("figures", "zero"), -1),
        (("figures", "zero"), MISSING),
        (("figures", "weights"), []),
        (("figures", "weights"), [1.0, 2.0]),
        (("figures", "weights"), [1.0, 2.0, 3.0, 4.0]),
        (("figures", "weights", 0), None),
        (("figures", "weights", 0), -1.0),
        (("figures", "weights", 0), 1),
        (("figures", "weights", 0), 10**400),
        (("reasons",), {}),
        (("reasons", 0), "null"),
        (("reasons", 0, "kind"), 1),
        (("reasons", 0, "kind"), MISSING),
        (("reasons", 0, "column"), 0),
        (("reasons", 0, "rows"), -1),
        (("reasons",), [{"kind": "null", "column": None, "rows": rows} for rows in (1, 2)]),
    ],
    ids=str,
)
def test_a_signed_entry_with_a_wrong_field_is_a_data_error(path, value):
    with pytest.raises(DataError, match="the delaytool entry"):
        Record.from_json(signed(with_change(FIELDS, path, value)))


@pytest.mark.parametrize("count", [10**6, 10**30, 10**4000], ids=["1e6", "1e30", "1e4000"])
def test_a_huge_count_costs_no_memory(count):
    entry = signed(with_change(FIELDS, ("columns", 1, "count"), count))
    tracemalloc.start()
    with pytest.raises(DataError):
        Record.from_json(entry)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


def test_a_field_that_is_there_twice_is_a_data_error():
    text = record_of().to_json()
    with pytest.raises(DataError, match="is not JSON"):
        Record.from_json(text.replace('{"format":5,', '{"format":5,"format":4,').encode())


def test_a_record_of_another_format_is_told_as_such():
    entry = signed({**FIELDS, "format": 2, "version": "0.1.0"})
    with pytest.raises(DataError) as caught:
        Record.from_json(entry)
    error = caught.value
    assert error.kind == "record-format"
    assert "has the format 2, of delaytool '0.1.0', expected the format 5" in str(error)
    assert "make the shard anew" in error.advice


def test_a_nan_does_not_get_past_the_checksum():
    fields = {**FIELDS, "more": float("nan"), "checksum": ""}
    with pytest.raises(DataError):
        Record.from_json(json.dumps(fields).encode())


def test_outputs_are_named_after_their_columns():
    job = plain_job(load_preset("moshi"), label_columns=True)
    assert job.outputs == (
        Output("text_tokens", (0,), LIST, "text_loss_weights", "text_labels"),
        Output("audio_codes", tuple(range(1, 17)), CODEBOOK, "audio_loss_weights", "audio_labels"),
    )
    assert [s.name for s in job.outputs[0].streams(job.recipe)] == ["text"]
    assert job.outputs[1].streams(job.recipe) == job.recipe.audio
    assert [job.twin(output) for output in job.outputs] == list(job.columns)
    grid = plain_job(load_preset("moshi"), output_layout="grid")
    assert grid.outputs == (Output("codes", tuple(range(0, 17)), CODEBOOK, "loss_weights"),)
    assert grid.twin(grid.outputs[0]) is None


def test_a_recipe_without_text_has_no_text_column():
    job = plain_job(plain_recipe(2, (0, 1), text=False), audio="codes", weights=False)
    assert job.outputs == (Output("codes", (0, 1), CODEBOOK),)
    text_only = dataclasses.replace(RECIPE, streams=RECIPE.streams[:1], dep_q=0)
    assert plain_job(text_only).outputs == (Output("text_tokens", (0,), LIST, "text_loss_weights"),)


def test_the_most_frequent_reasons_are_kept():
    rows = {("null", f"column {i}"): i for i in range(1, 2 * MAX_REASONS)}
    reasons = reasons_of(rows)
    assert reasons[:2] == (Reason("null", "column 39", 39), Reason("null", "column 38", 38))
    assert reasons[MAX_REASONS:] == (Reason("other", None, sum(range(1, MAX_REASONS))),)
    rows = {("b", None): 1, ("a", "z"): 1, ("a", None): 1, ("c", None): 2}
    ranked = [("c", None, 2), ("a", None, 1), ("a", "z", 1), ("b", None, 1)]
    assert reasons_of(rows) == tuple(Reason(*reason) for reason in ranked)
    assert reasons_of({}) == ()


def test_jobs_that_differ_in_the_key_alone_are_equal():
    assert plain_job(RECIPE, key="id") == plain_job(RECIPE, key=None)
    assert plain_job(RECIPE, by_order=True) == plain_job(RECIPE)
    assert plain_job(RECIPE) != plain_job(RECIPE, weights=False)
    assert plain_job(RECIPE) != plain_job(RECIPE, text="words")
    assert plain_job(RECIPE) != plain_job(RECIPE, label_columns=True)
    assert plain_job(RECIPE) != plain_job(RECIPE, align="trim")
    assert plain_job(RECIPE) != plain_job(RECIPE, narrow=True)
    assert plain_job(RECIPE) != plain_job(RECIPE, weight_column="mask")
    assert plain_job(RECIPE) != plain_job(with_weights(RECIPE, acoustic=2.0))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ((), "each of the recipe's streams"),
        ((TEXT,), "each of the recipe's streams"),
        ((TEXT, dataclasses.replace(CODES, numbers=(0, 1, 2))), "each of the recipe's streams"),
        ((TEXT, dataclasses.replace(CODES, numbers=(1, 2, 3))), "each of the recipe's streams"),
        ((TEXT, dataclasses.replace(CODES, numbers=())), "each of the recipe's streams"),
        ((TEXT, dataclasses.replace(CODES, name="text")), "'text' is named twice"),
        ((TEXT, dataclasses.replace(CODES, layout=LIST)), "layout list"),
        ((TEXT, dataclasses.replace(CODES, size=1)), "has not the codebooks"),
        ((TEXT, dataclasses.replace(CODES, start=1)), "has not the codebooks"),
    ],
)
def test_columns_that_do_not_fit_the_recipe_are_refused(columns, message):
    with pytest.raises(RecipeError, match=message):
        Job(RECIPE, columns, OUT)


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ((), "each of the recipe's streams"),
        (OUT[:1], "each of the recipe's streams"),
        ((OUT[0], dataclasses.replace(OUT[1], name="text")), "'text' is named twice"),
        ((OUT[0], dataclasses.replace(OUT[1], weights="text")), "'text' is named twice"),
        ((OUT[0], dataclasses.replace(OUT[1], labels="text_weights")), "named twice"),
        ((OUT[0], dataclasses.replace(OUT[1], layout=LIST)), "layout list"),
    ],
)
def test_outputs_that_do_not_fit_the_recipe_are_refused(outputs, message):
    with pytest.raises(RecipeError, match=message):
        Job(RECIPE, (TEXT, CODES), outputs)


def test_columns_that_fit_are_fine():
    assert Job(RECIPE, (TEXT, CODES), OUT).columns == (TEXT, CODES)


@pytest.mark.parametrize("align", ["pad", "trim"])
def test_alignment_needs_text_and_audio_and_a_token_to_pad_with(align):
    assert plain_job(RECIPE, align=align).align == align
    with pytest.raises(RecipeError, match="no text and audio streams to align"):
        plain_job(plain_recipe(2, (0, 1), text=False), align=align)
    whole = (Column("grid", (0, 1, 2), CODEBOOK, 3),)
    with pytest.raises(RecipeError, match="aligned already"):
        Job(RECIPE, whole, OUT, align)
    odd = with_text(RECIPE, padding=-2)
    if align == "pad":
        with pytest.raises(RecipeError, match="stream text cannot be padded with its padding -2"):
            plain_job(odd, align=align)


def test_an_error_survives_the_way_home_from_a_worker():
    error = DataError("token", "token 7", expected="0 to 3", advice="repair it").at(
        shard="a.parquet", row=3, key="utt-7", stream="text", timestep=12
    )
    back = pickle.loads(pickle.dumps(error))
    assert (
        str(back) == "a.parquet, row 3 (utt-7), stream text, timestep 12: token 7, expected 0 to 3"
    )
    assert (back.found, back.expected, back.advice) == ("token 7", "0 to 3", "repair it")
    assert back.place == error.place


@pytest.mark.parametrize("number", ["1e999", "-1e999"])
@pytest.mark.parametrize("checksum", ["", None])
def test_a_number_beyond_floats_does_not_get_past_the_checksum(number, checksum):
    fields = {**FIELDS, "more": "beyond", "checksum": checksum}
    with pytest.raises(DataError, match="its own checksum"):
        Record.from_json(json.dumps(fields).replace('"beyond"', number).encode())


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("sources",), []),
        (("sources",), FIELDS["sources"] * 3),
        (("padded",), [[2**63, 1]]),
        (("padded",), [[1, 10**30]]),
        (("columns", 1, "size"), 10**30),
        (("counts", "frames"), 2**63),
    ],
    ids=str,
)
def test_numbers_that_numpy_cannot_hold_and_sources_that_cannot_be(path, value):
    with pytest.raises(DataError, match="cannot be"):
        Record.from_json(signed(with_change(FIELDS, path, value)))
