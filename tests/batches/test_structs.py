"""Columns by their names, and tokens in fields of structs: found, taken out, and put back."""

import pyarrow as pa
import pytest

from delaytool.batches.fields import array_at, check_there, field_at, path_of, tops_of
from delaytool.batches.structs import put_back, put_back_fields, taken_out, taken_out_of_schema
from delaytool.errors import DataError

INNER = pa.struct({"x": pa.int8(), "tokens": pa.list_(pa.int16())})
SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "codes": pa.struct(
            {"lang": pa.string(), "tokens": pa.list_(pa.int16()), "inner": INNER, "a.b": INNER}
        ),
        "alone": pa.struct({"tokens": pa.list_(pa.int16())}),
        "codes.lang": pa.int64(),
    }
)
ROWS = [
    {
        "id": "u",
        "codes": {
            "lang": "en",
            "tokens": [1, 2],
            "inner": {"x": 1, "tokens": [3]},
            "a.b": {"x": 2, "tokens": [4, 4]},
        },
        "alone": {"tokens": [5]},
        "codes.lang": 7,
    }
] * 3
BATCH = pa.RecordBatch.from_pylist(ROWS, SCHEMA)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("codes", (1,)),
        ("codes.tokens", (1, 1)),
        ("codes.inner.tokens", (1, 2, 1)),
        ("codes.a.b.tokens", (1, 3, 1)),
        ("codes.lang", (3,)),
        ("codes.none", None),
        ("codes.tokens.element", None),
        ("id.x", None),
        ("", None),
        (".", None),
    ],
)
def test_a_column_goes_before_a_field(name, path):
    assert path_of(SCHEMA, name) == path
    if path is not None:
        assert field_at(SCHEMA, name).name == name
        assert array_at(BATCH, name).type == field_at(SCHEMA, name).type
    assert tops_of(SCHEMA, [name]) == ([] if path is None else [SCHEMA.names[path[0]]])


def test_of_two_fields_of_one_name_neither_is_found():
    kind = pa.struct([pa.field("x", pa.int8()), pa.field("x", pa.int8())])
    assert path_of(pa.schema({"s": kind}), "s.x") is None


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("codes.words", "there is no field words in codes; there are lang, tokens, inner, a.b"),
        ("codes.inner.y.z", "there is no field y.z in codes.inner; there are x, tokens"),
        (
            "audio_codes",
            "there is no column audio_codes; there are id, codes.tokens, codes.inner.tokens, "
            "codes.a.b.tokens, alone.tokens, codes.lang",
        ),
    ],
)
def test_a_field_that_is_not_there_names_those_that_are(name, says):
    with pytest.raises(DataError, match="^" + says.replace(".", r"\.") + "$") as raised:
        check_there(SCHEMA, name, "`audio_column`")
    assert raised.value.kind == "missing-column"


def test_a_field_of_a_null_struct_is_null():
    rows = [ROWS[0], {**ROWS[0], "codes": None}, ROWS[0]]
    batch = pa.RecordBatch.from_pylist(rows, SCHEMA)
    assert array_at(batch, "codes.inner.tokens").is_null().to_pylist() == [False, True, False]
    assert array_at(batch.slice(1), "codes.tokens").to_pylist() == [None, [1, 2]]


@pytest.mark.parametrize(
    "names",
    [
        ["id"],
        ["codes.tokens"],
        ["codes.a.b.tokens", "codes.tokens", "alone.tokens"],
        ["codes.inner.tokens", "codes.inner.x"],
    ],
)
def test_what_is_taken_out_is_put_back(names):
    flat = taken_out(BATCH.slice(1), names)
    assert flat.schema.equals(taken_out_of_schema(SCHEMA, names))
    for name in names:
        assert flat.column(name).to_pylist() == array_at(BATCH, name).to_pylist()[1:]
    again = taken_out(flat, names)
    assert again.equals(flat)
    assert pa.schema(put_back_fields(list(flat.schema), SCHEMA, names)).equals(SCHEMA)
    back = put_back(flat, SCHEMA, names)
    back.validate(full=True)
    assert back.equals(BATCH.slice(1))


def test_what_changed_stands_in_its_place_and_what_is_gone_leaves_none():
    names = ["codes.tokens", "codes.inner.tokens", "alone.tokens"]
    wide = pa.list_(pa.int32())
    flat = [field for field in taken_out_of_schema(SCHEMA, names) if field.name != names[1]]
    flat = [field.with_type(wide) if field.name == names[0] else field for field in flat]
    found = pa.schema(put_back_fields([*flat[:-2], pa.field("new", pa.int8())], SCHEMA, names))
    assert found.names == ["id", "codes", "new"]
    kind = found.field("codes").type
    assert [field.name for field in kind] == ["lang", "tokens", "inner", "a.b"]
    assert kind.field("tokens").type == wide
    assert kind.field("inner").type == pa.struct({"x": pa.int8()})
    flat = [field for field in flat if field.name != "codes"]
    dropped = pa.schema(put_back_fields(flat, SCHEMA, names, ["codes"]))
    assert dropped.field("codes").type == pa.struct({"tokens": wide})
