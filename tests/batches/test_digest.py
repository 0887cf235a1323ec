"""Digests: nothing that Arrow leaves open changes them, everything else does."""

import datetime
import decimal
import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from delaytool.batches.digest import (
    BatchDigest,
    ColumnDigest,
    first_difference,
    same_values,
    schema_digest,
)

NAN = float("nan")
DAY = datetime.datetime(2024, 2, 29, 12, 30)


class Codes(pa.ExtensionType):
    """An extension type of our own, which nobody registered."""

    def __init__(self):
        super().__init__(pa.list_(pa.int16()), "tests.codes")

    def __arrow_ext_serialize__(self):
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type, serialized):
        return cls()


# Values of each type, all different; what is at least needed is that two values differ.
VALUES = {
    pa.int8(): [0, 1, -1, None],
    pa.uint64(): [0, 1, 2**64 - 1, None],
    pa.int64(): [0, 1, -(2**63), None],
    pa.float16(): [np.float16(0.0), np.float16(-0.0), np.float16(NAN), None],
    pa.float32(): [0.0, -0.0, NAN, 1.5, None],
    pa.float64(): [0.0, -0.0, NAN, 1.5, None],
    pa.bool_(): [True, False, None],
    pa.string(): ["", "a", "ab", "b", "ä", None],
    pa.large_string(): ["", "a", "ab", "b", "ä", None],
    pa.string_view(): ["", "a", "ab", "longer than a view holds inline", None],
    pa.binary(): [b"", b"\0", b"\0\0", b"a", None],
    pa.large_binary(): [b"", b"\0", b"\0\0", b"a", None],
    pa.binary_view(): [b"", b"\0", b"longer than a view holds inline", None],
    pa.binary(3): [b"abc", b"abd", None],
    pa.timestamp("us"): [DAY, DAY + datetime.timedelta(microseconds=1), None],
    pa.timestamp("ns", "UTC"): [0, 1, None],
    pa.date32(): [datetime.date(1970, 1, 1), datetime.date(2024, 2, 29), None],
    pa.time64("us"): [datetime.time(1), datetime.time(2), None],
    pa.duration("ms"): [0, 1, None],
    pa.decimal128(9, 2): [decimal.Decimal("1.00"), decimal.Decimal("-1.50"), None],
    pa.decimal256(50, 2): [decimal.Decimal("1.00"), decimal.Decimal("-1.50"), None],
    pa.month_day_nano_interval(): [(0, 0, 0), (1, 2, 3), None],
    pa.list_(pa.int8()): [[], [0], [0, 0], [None], None],
    pa.large_list(pa.string()): [[], [""], ["", ""], ["a", "b"], ["ab"], [None], None],
    pa.list_(pa.list_(pa.int16())): [[], [[]], [[], []], [[1], [2]], [[1, 2]], [None], None],
    pa.list_(pa.int16(), 2): [[0, 0], [0, 1], [None, 0], [0, None], None],
    pa.list_(pa.list_(pa.int16(), 1), 2): [[[0], [1]], [[0], None], [[0], [None]], None],
    pa.list_(pa.float64()): [[], [0.0], [-0.0], [NAN], [None], None],
    pa.struct([("a", pa.int8()), ("b", pa.string())]): [
        {"a": 0, "b": ""},
        {"a": 0, "b": None},
        {"a": None, "b": ""},
        {"a": None, "b": None},
        None,
    ],
    pa.struct([("a", pa.list_(pa.struct([("c", pa.bool_())])))]): [
        {"a": []},
        {"a": None},
        {"a": [None]},
        {"a": [{"c": None}]},
        {"a": [{"c": True}]},
        None,
    ],
    pa.map_(pa.string(), pa.int8()): [
        [],
        [("a", 1)],
        [("a", None)],
        [("b", 1)],
        [("a", 1), ("b", 1)],
        None,
    ],
    pa.list_(pa.map_(pa.string(), pa.float32())): [[], [[]], [None], [[("a", -0.0)]], None],
    pa.null(): [None],
}
TYPES = list(VALUES)
by_type = pytest.mark.parametrize("kind", TYPES, ids=str)


def digest(*arrays):
    column = ColumnDigest()
    for array in arrays:
        column.update(array)
    return column.hexdigest()


def cut_at(values, places):
    ends = [0, *sorted(place for place in places if place <= len(values)), len(values)]
    return list(itertools.pairwise(ends))


@st.composite
def typed_values(draw, kinds=TYPES):
    kind = draw(st.sampled_from(kinds))
    return kind, draw(st.lists(st.sampled_from(VALUES[kind]), max_size=10))


places = st.lists(st.integers(0, 10), max_size=5)


@given(typed_values(), places)
@settings(max_examples=400, deadline=None)
def test_borders_of_batches_change_nothing(typed, places):
    kind, values = typed
    whole = pa.array(values, kind)
    ends = cut_at(values, places)
    assert digest(*(pa.array(values[a:b], kind) for a, b in ends)) == digest(whole)
    assert digest(*(whole.slice(a, b - a) for a, b in ends)) == digest(whole)


@given(typed_values(), st.integers(0, 5), st.integers(0, 5))
@settings(max_examples=300, deadline=None)
def test_a_slice_has_the_digest_of_what_it_shows(typed, before, behind):
    kind, values = typed
    around = VALUES[kind]
    padded = [*(around * 5)[:before], *values, *(around * 5)[:behind]]
    part = pa.array(padded, kind).slice(before, len(values))
    assert digest(part) == digest(pa.array(values, kind))


# pyarrow itself cannot drop nulls around views; those have a test of their own.
VIEWS = [pa.string_view(), pa.binary_view()]


@given(typed_values([kind for kind in TYPES if kind not in VIEWS]), st.data())
@settings(max_examples=300, deadline=None)
def test_data_behind_nulls_changes_nothing(typed, data):
    kind, values = typed
    solid = [value for value in VALUES[kind] if value is not None]
    if not solid:
        return
    # A list of one element for each value; where the list is null, its element stays behind.
    hidden = data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values)))
    garbage = [
        data.draw(st.sampled_from(solid)) if hide else value
        for value, hide in zip(values, hidden, strict=True)
    ]
    offsets = pa.array(range(len(values) + 1), pa.int32())
    mask = pa.array(hidden, pa.bool_())
    lists = pa.ListArray.from_arrays(offsets, pa.array(garbage, kind), mask=mask)
    clean = [None if hide else [value] for value, hide in zip(values, hidden, strict=True)]
    assert digest(lists) == digest(pa.array(clean, pa.list_(kind)))
    structs = pa.StructArray.from_arrays([pa.array(garbage, kind)], names=["a"], mask=mask)
    clean = [None if hide else {"a": value} for value, hide in zip(values, hidden, strict=True)]
    assert digest(structs) == digest(pa.array(clean, pa.struct([("a", kind)])))
    if len(values):
        fixed = pa.FixedSizeListArray.from_arrays(pa.array(garbage, kind), 1, mask=mask)
        clean = [None if hide else [value] for value, hide in zip(values, hidden, strict=True)]
        assert digest(fixed) == digest(pa.array(clean, pa.list_(kind, 1)))


@pytest.mark.parametrize("view", VIEWS, ids=str)
def test_nulls_around_views_are_digested_as_around_others(view):
    plain = pa.large_string() if view == pa.string_view() else pa.large_binary()
    lists = [["a"], None, [None, "b"]]
    assert digest(pa.array(lists, pa.list_(view))) == digest(pa.array(lists, pa.list_(plain)))
    rows = [{"a": "a"}, None, {"a": None}]
    structs = pa.array(rows, pa.struct([("a", view)]))
    assert digest(structs) == digest(pa.array(rows, pa.struct([("a", plain)])))


def test_list_views_are_digested_as_lists():
    values = [[1], None, [], [2, None]]
    plain = digest(pa.array(values, pa.list_(pa.int8())))
    assert digest(pa.array(values, pa.list_view(pa.int8()))) == plain
    assert digest(pa.array(values, pa.large_list_view(pa.int8()))) == plain


def test_numbers_and_bytes_behind_nulls_change_nothing():
    validity = pa.py_buffer(b"\x05")
    numbers = pa.py_buffer(np.array([1, 77, 3], dtype=np.int32).tobytes())
    assert digest(pa.Array.from_buffers(pa.int32(), 3, [validity, numbers])) == digest(
        pa.array([1, None, 3], pa.int32())
    )
    ends = pa.py_buffer(np.array([0, 1, 3, 4], dtype=np.int32).tobytes())
    text = pa.Array.from_buffers(pa.string(), 3, [validity, ends, pa.py_buffer(b"axxb")])
    assert text.to_pylist() == ["a", None, "b"]
    assert digest(text) == digest(pa.array(["a", None, "b"]))


DICTIONARIES = [pa.int64(), pa.string(), pa.float64(), pa.binary(3), pa.timestamp("us")]


@given(typed_values(DICTIONARIES), places)
@settings(max_examples=150, deadline=None)
def test_encoding_as_a_dictionary_changes_nothing(typed, places):
    kind, values = typed
    whole = pa.array(values, kind)
    ends = cut_at(values, places)
    # Each part gets a dictionary of its own, in an order of its own.
    parts = [whole.slice(a, b - a).dictionary_encode() for a, b in ends]
    encoded = whole.dictionary_encode()
    assert digest(*parts) == digest(whole)
    assert digest(*(encoded.slice(a, b - a) for a, b in ends)) == digest(whole)
    lists = pa.ListArray.from_arrays(pa.array([0, len(values)], pa.int32()), encoded)
    assert digest(lists) == digest(pa.array([values], pa.list_(kind)))


def test_the_order_and_spares_and_nulls_of_a_dictionary_change_nothing():
    one = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2], pa.int8()), pa.array(["a", "b", None]))
    two = pa.DictionaryArray.from_arrays(
        pa.array([2, 0, None], pa.int32()), pa.array(["b", "spare", "a"])
    )
    assert digest(one) == digest(two) == digest(pa.array(["a", "b", None]))


LONG = [pa.string(), pa.binary(), pa.large_string(), pa.large_binary()]


@given(typed_values(LONG), places)
@settings(max_examples=150, deadline=None)
def test_long_strings_of_a_dictionary_are_hashed_where_they_lie(typed, places):
    kind, values = typed
    whole = pa.array(values, kind)
    encoded = whole.dictionary_encode()
    parts = [whole.slice(a, b - a).dictionary_encode() for a, b in cut_at(values, places)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("delaytool.batches.digest._LONG_BYTES", 0)
        assert digest(*parts) == digest(whole)
        assert digest(encoded) == digest(whole)


def test_long_strings_are_compared_by_their_numbers():
    long = [letter * 2000 for letter in "abc"]
    known = pa.array(long)

    def coded(*numbers, values=known):
        return pa.DictionaryArray.from_arrays(pa.array(numbers, pa.int32()), values)

    other = pa.array([long[2], long[0], "spare" * 500])
    assert same_values(coded(0, 2, None), coded(1, 0, None, values=other))
    assert same_values(coded(0, 2, None), coded(0, 2, None).cast(pa.string()))
    # A value that the other has not is no null.
    assert not same_values(coded(0, 1, None), coded(1, None, None, values=other))
    assert not same_values(coded(0, 1, None), coded(1, None, 0, values=other))
    assert not same_values(coded(0, None), coded(None, 1, values=other))
    assert first_difference(coded(0, 2, 1, 2), coded(1, 0, 2, 0, values=other)) == 2
    twice = pa.array([long[0], long[0]])
    assert same_values(coded(0, 0), coded(0, 1, values=twice))


def test_an_extension_has_the_digest_of_its_storage():
    storage = pa.array([[1], None, [2, 3]], pa.list_(pa.int16()))
    extension = pa.ExtensionArray.from_storage(Codes(), storage)
    assert digest(extension) == digest(storage)
    assert digest(extension.slice(1)) == digest(storage.slice(1))
    lists = pa.ListArray.from_arrays(pa.array([0, 1, 3], pa.int32()), extension)
    assert digest(lists) == digest(pa.array([[[1]], [None, [2, 3]]], pa.list_(storage.type)))
    uuids = pa.array([b"0123456789abcdef", None], pa.uuid())
    assert digest(uuids) == digest(uuids.storage)


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        (pa.string(), pa.large_string()),
        (pa.string(), pa.string_view()),
        (pa.binary(), pa.large_binary()),
        (pa.list_(pa.int8()), pa.large_list(pa.int8())),
    ],
    ids=str,
)
def test_the_width_of_offsets_changes_nothing(narrow, wide):
    values = VALUES[narrow]
    assert digest(pa.array(values, narrow)) == digest(pa.array(values, wide))


@by_type
def test_no_two_short_columns_have_the_same_digest(kind):
    columns = [
        list(rows) for size in range(4) for rows in itertools.product(VALUES[kind], repeat=size)
    ]
    digests = {digest(pa.array(values, kind)) for values in columns}
    assert len(digests) == len(columns)


@given(typed_values(), st.data())
@settings(max_examples=300, deadline=None)
def test_any_single_change_changes_the_digest(typed, data):
    kind, values = typed
    if not values:
        return
    place = data.draw(st.integers(0, len(values) - 1))
    before = digest(pa.array(values, kind))
    assert digest(pa.array(values[:place] + values[place + 1 :], kind)) != before
    assert digest(pa.array([*values, values[place]], kind)) != before
    for other in VALUES[kind]:
        if other is not values[place]:
            changed = [*values[:place], other, *values[place + 1 :]]
            assert digest(pa.array(changed, kind)) != before
            assert not same_values(pa.array(changed, kind), pa.array(values, kind))
            assert first_difference(pa.array(changed, kind), pa.array(values, kind)) == place


@by_type
def test_the_same_values_are_the_same_however_they_lie(kind):
    values = VALUES[kind] * 3
    whole = pa.array(values, kind)
    moved = pa.array([VALUES[kind][-1], *values], kind).slice(1)
    assert same_values(whole, moved)
    assert first_difference(whole, moved) is None
    assert not same_values(whole, whole.slice(1))


def test_bits_of_nan_count():
    quiet, other = (
        np.array([bits], dtype=np.uint32).view(np.float32) for bits in (0x7FC00000, 0x7FC00001)
    )
    assert digest(pa.array(quiet)) != digest(pa.array(other))
    assert not same_values(pa.array(quiet), pa.array(other))


def test_the_width_of_values_counts():
    assert digest(pa.array([1, 2], pa.int8())) != digest(pa.array([1, 2], pa.int16()))
    assert not same_values(pa.array([1, 2], pa.int8()), pa.array([1, 2], pa.int16()))


def test_nothing_is_hashed_as_nothing():
    assert (
        digest() == digest(pa.array([], pa.int8())) == digest(pa.array([], pa.list_(pa.string())))
    )
    assert digest() != digest(pa.array([None], pa.int8()))


def test_a_batch_has_a_digest_for_each_column():
    batch = pa.record_batch({"a": [1, 2, 3], "b": ["x", None, "z"], "c": [0.5, 1.5, 2.5]})
    whole, parts = BatchDigest(["a", "b"]), BatchDigest(["a", "b"])
    whole.update(batch)
    for start in range(3):
        parts.update(batch.slice(start, 1))
    assert whole.hexdigests() == parts.hexdigests()
    assert whole.hexdigests() == {"a": digest(batch["a"]), "b": digest(batch["b"])}


def test_the_schemas_digest_depends_on_every_entry_and_not_on_their_order():
    def digest_of(schema, **entries):
        return schema_digest([schema], [{k.encode(): v for k, v in entries.items()}])

    base = digest_of("schema", a=b"1", b=b"2")
    assert digest_of("schema", b=b"2", a=b"1") == base
    others = [
        digest_of("schemb", a=b"1", b=b"2"),
        digest_of("schema", a=b"1"),
        digest_of("schema", a=b"1", b=b"3"),
        digest_of("schema", a=b"1", c=b"2"),
        digest_of("schema", a=b"2", b=b"1"),
        digest_of("schema", a=b"11 b1 2"),
        digest_of("schema"),
    ]
    one, other = {b"a": b"1"}, {b"b": b"2"}
    for entries in ([one, other], [other, one], [{**one, **other}, {}], [{}, {**one, **other}]):
        others.append(schema_digest(["schema", "schema"], entries))
    assert len({base, *others}) == len(others) + 1


@pytest.mark.parametrize("view", [pa.string_view(), pa.binary_view()], ids=str)
def test_null_maps_of_views_are_digested_as_others(view):
    plain = pa.string() if view == pa.string_view() else pa.binary()
    for rows in ([[("a", 1)], None, [("b", None)]], [None, None], [None, [], [("c", 2)]]):
        views = pa.array(rows, pa.map_(view, pa.int8()))
        assert digest(views) == digest(pa.array(rows, pa.map_(plain, pa.int8())))
        assert digest(views.slice(1)) == digest(pa.array(rows[1:], pa.map_(plain, pa.int8())))
