"""What becomes of Parquet's types, and INT96 timestamps that are read as what they are."""

import datetime
import struct

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from make import delaytool, finish, tokens_job, tokens_table

from delaytool.batches.column_options import ColumnOptions
from delaytool.batches.types import leaf_arrays, leaves
from delaytool.errors import DataError
from delaytool.grids.read import read_grid
from delaytool.jobs.apply import ApplyShard
from delaytool.jobs.paths import Item
from delaytool.jobs.plan import plan
from delaytool.jobs.revert import RevertShard
from delaytool.jobs.stats import Reading, StatsOfShard
from delaytool.jobs.verify import VerifyShard
from delaytool.recipes.presets import plain_recipe
from delaytool.shards.find import Shard
from delaytool.shards.pairs import PairedShard, open_source
from delaytool.shards.parquet_types import CARRIED, changes, leaves_of
from delaytool.shards.read import open_shard

DAY = 86_400 * 10**9
"""Nanoseconds."""


def patched(path, old, new):
    """Put other bytes in place of some in the footer of a Parquet file, wherever they are."""
    whole = path.read_bytes()
    start = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    footer = whole[start:-8]
    assert old in footer
    footer = footer.replace(old, new)
    path.write_bytes(whole[:start] + footer + len(footer).to_bytes(4, "little") + b"PAR1")
    return path


def with_converted_type(path, name, number):
    """Give a leaf that has no logical type a converted type, as old writers do."""
    name = bytes([0x18, len(name)]) + name.encode()
    return patched(path, name + b"\x00", name + bytes([0x25, 2 * number]) + b"\x00")


def written(path, table, **options):
    pq.write_table(table, path, store_schema=False, **options)
    return path


def told(path, columns=None):
    file = pq.ParquetFile(path)
    return changes(file.schema, file.schema_arrow, columns or file.schema_arrow.names)


def types_of(path):
    """Physical and logical type of each leaf, and its size where that is fixed."""
    schema = pq.ParquetFile(path).schema
    columns = [schema.column(i) for i in range(len(schema))]
    return [(c.physical_type, str(c.logical_type), c.length) for c in columns]


# Types


def test_what_is_listed_comes_out_as_it_went_in(tmp_path):
    day = datetime.date(2020, 2, 29)
    columns = {
        "boolean": pa.array([True, None]),
        "int32": pa.array([-1, None], pa.int32()),
        "int8": pa.array([-1, None], pa.int8()),
        "uint32": pa.array([2**32 - 1, None], pa.uint32()),
        "date": pa.array([day, None]),
        "date of milliseconds": pa.array([day, None], pa.date64()),
        "null": pa.nulls(2),
        "int64": pa.array([-1, None], pa.int64()),
        "uint64": pa.array([2**64 - 1, None], pa.uint64()),
        "duration": pa.array([5, None], pa.duration("us")),
        **{
            f"timestamp {unit} {zone}": pa.array([-1, None], pa.timestamp(unit, zone))
            for unit in ("ms", "us", "ns")
            for zone in (None, "UTC", "Europe/Berlin")
        },
        "float": pa.array([-0.0, None], pa.float32()),
        "double": pa.array([-0.0, None], pa.float64()),
        "half": pa.array([np.float16(0.5), None], pa.float16()),
        "bytes": pa.array([b"\xff", None]),
        "string": pa.array(["a", None]),
        "fixed": pa.array([b"abc", None], pa.binary(3)),
        "decimal": pa.array([1, None], pa.int64()).cast(pa.decimal128(30, 2)),
        "wide": pa.array([1, None], pa.int64()).cast(pa.decimal256(70, 2)),
    }
    for stored in (True, False):
        table = pa.table(columns)
        pq.write_table(table, tmp_path / "a.parquet", store_schema=stored)
        first = pq.read_table(tmp_path / "a.parquet")
        pq.write_table(first, tmp_path / "b.parquet")
        assert types_of(tmp_path / "a.parquet") == types_of(tmp_path / "b.parquet")
        assert pq.read_table(tmp_path / "b.parquet").equals(first)
        file = pq.ParquetFile(tmp_path / "a.parquet")
        found = leaves_of(file.schema, file.schema_arrow)
        assert {(leaf.physical, leaf.name) for leaf in found} == CARRIED | {("INT32", "NONE")}
        assert told(tmp_path / "a.parquet") == {}


def test_signed_integers_that_say_how_wide_they_are_are_nothing_else(tmp_path):
    path = written(tmp_path / "a.parquet", pa.table({"n": pa.array([1, 2], pa.int32())}))
    with_converted_type(path, "n", 17)
    assert types_of(path) == [("INT32", "Int(bitWidth=32, isSigned=true)", 0)]
    assert told(path) == {}


def interval(path):
    table = pa.table({"x": pa.array([b"m   d   ms  "] * 2, pa.binary(12))})
    return with_converted_type(written(path, table), "x", 21)


def interval_in_a_list(path):
    table = pa.table({"x": pa.array([[b"m   d   ms  "]] * 2, pa.list_(pa.binary(12)))})
    return with_converted_type(written(path, table), "element", 21)


def enum(path):
    return with_converted_type(written(path, pa.table({"x": pa.array([b"a", b"b"])})), "x", 4)


def bson(path):
    return with_converted_type(written(path, pa.table({"x": pa.array([b"a", b"b"])})), "x", 20)


def decimal(path):
    decimals = pa.array([1, 2], pa.int64()).cast(pa.decimal128(21, 2)).cast(pa.decimal128(9, 2))
    return written(path, pa.table({"x": decimals}), store_decimal_as_integer=True)


def int96(path):
    table = pa.table({"x": pa.array([1, 2], pa.timestamp("ns"))})
    return written(path, table, use_deprecated_int96_timestamps=True)


@pytest.mark.parametrize(
    ("write", "leaf", "was", "becomes"),
    [
        (interval, "x", "INTERVAL", "fixed_size_binary[12]"),
        (interval_in_a_list, "x.list.element", "INTERVAL", "fixed_size_binary[12]"),
        (enum, "x", "ENUM", "binary"),
        (bson, "x", "BSON", "binary"),
        (
            decimal,
            "x",
            "INT32 DECIMAL(precision=9, scale=2)",
            "FIXED_LEN_BYTE_ARRAY DECIMAL(precision=9, scale=2)",
        ),
        (int96, "x", "INT96", "timestamp[ns]"),
    ],
)
def test_what_arrow_has_no_type_for(tmp_path, write, leaf, was, becomes):
    path = write(tmp_path / "a.parquet")
    assert told(path) == {leaf: (was, becomes)}
    assert told(path, ["another"]) == {}
    pq.write_table(pq.read_table(path), tmp_path / "b.parquet")
    assert types_of(path) != types_of(tmp_path / "b.parquet")


def test_what_depends_on_pyarrow_is_told_where_it_changes(tmp_path):
    """Whether TIME is adjusted to UTC, which Arrow does not know, and the types of extensions."""
    path = written(tmp_path / "a.parquet", pa.table({"x": pa.array([1], pa.time64("us"))}))
    assert told(path) == {}
    adjusted, other = b"\x7c\x11\x1c\x2c", b"\x7c\x12\x1c\x2c"
    old, new = (adjusted, other) if adjusted in path.read_bytes() else (other, adjusted)
    patched(path, old, new)
    ((was, becomes),) = told(path).values()
    assert was.startswith("INT64 TIME(isAdjustedToUTC=")
    assert becomes.startswith("INT64 TIME(isAdjustedToUTC=")
    assert was != becomes
    text = with_converted_type(written(tmp_path / "b.parquet", pa.table({"x": [b"{}"]})), "x", 19)
    pq.write_table(pq.read_table(text), tmp_path / "c.parquet")
    changed = types_of(text) != types_of(tmp_path / "c.parquet")
    assert told(text) == ({"x": ("JSON", "string")} if changed else {})


def test_groups_with_a_type_of_their_own(tmp_path):
    kind = pa.struct([("metadata", pa.binary()), ("value", pa.binary())])
    value = {"metadata": b"\1\0\0", "value": b"\0"}
    table = pa.table({"v": pa.array([value], kind), "l": pa.array([[value]], pa.list_(kind))})
    path = written(tmp_path / "a.parquet", table)
    # A group's children, then the logical type VARIANT of version 1.
    patched(path, b"\x18\x01v\x15\x04\x00", b"\x18\x01v\x15\x04\x5c\x0c\x20\x13\x01\x00\x00\x00")
    try:
        found = told(path)
    except OSError:
        pytest.skip("this pyarrow cannot open it")
    assert found == {"v": ("VARIANT", "struct")}
    assert told(path, ["l"]) == {}


def test_leaves_of_nested_types():
    kind = pa.map_(pa.string(), pa.struct([("a", pa.list_(pa.int8(), 2)), ("b", pa.bool_())]))
    field = pa.field("m", pa.list_(kind))
    inner = "m.list.element.key_value"
    assert leaves(field) == [
        (f"{inner}.key", pa.string()),
        (f"{inner}.value.a.list.element", pa.int8()),
        (f"{inner}.value.b", pa.bool_()),
    ]
    array = pa.array([[[("k", {"a": [1, 2], "b": True})]]], field.type)
    assert [leaf.to_pylist() for leaf in leaf_arrays(array)] == [["k"], [1, 2], [True]]


def test_apply_notes_what_changes(tmp_path):
    (tmp_path / "data").mkdir()
    for name, moments in (("a", [1, 2]), ("b", [datetime.datetime(9999, 12, 31), None])):
        table = tokens_table(rows=2).append_column("when", pa.array(moments, pa.timestamp("us")))
        table = table.append_column(
            "wait", pa.array([[b"m   d   ms  "]] * 2, pa.list_(pa.binary(12)))
        )
        path = tmp_path / "data" / f"{name}.parquet"
        written(path, table, use_deprecated_int96_timestamps=True)
        patched(
            path,
            b"\x15\x18\x15\x02\x18\x07element\x00",
            b"\x15\x18\x15\x02\x18\x07element\x25\x2a\x00",
        )
    done = delaytool("apply", tmp_path / "data", tmp_path / "out", "--n-q", 3, "--delays", 1)
    notes = [line for line in done.stderr.splitlines() if " becomes " in line]
    assert notes == [
        "Note: column when: INT96 becomes timestamp[us]",
        "Note: column wait.list.element: INTERVAL becomes fixed_size_binary[12]",
    ]


def test_token_columns_are_not_among_them(tmp_path):
    path = written(tmp_path / "a.parquet", tokens_table())
    item = Item(Shard("a.parquet", str(path)), None, str(tmp_path / "b.parquet"))
    made = plan([item], plain_recipe(3, (0, 0, 1, 2)), ColumnOptions(), False)
    assert made.notes == []


def test_a_decimal_of_more_digits_than_its_type_has(tmp_path):
    table = tokens_table(rows=3)
    prices = pa.array([[1], None, [2, 10**17]], pa.list_(pa.int64())).cast(
        pa.list_(pa.decimal128(21, 0))
    )
    table = table.append_column("prices", prices.cast(pa.list_(pa.decimal128(18, 0))))
    path = written(tmp_path / "a.parquet", table, store_decimal_as_integer=True)
    patched(path, b"\x15\x24", b"\x15\x0a")
    with pytest.raises(DataError, match="a.parquet, column prices: .* does not fit in precision"):
        applied(path, tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()


# INT96


def as_int96(days, nanoseconds):
    """Nanoseconds of the day, and the Julian day."""
    return struct.pack("<QI", nanoseconds, days + 2_440_588)


def with_int96(path, *moments, **columns):
    """A shard whose column `when` holds days since 1970 and nanoseconds of the day."""
    marks = [datetime.datetime(2001, 1, 1 + row, 0, 0, row) for row in range(len(moments))]
    table = tokens_table(rows=len(moments), **columns)
    table = table.append_column("when", pa.array(marks, pa.timestamp("us")))
    options = {"use_dictionary": False, "compression": "none", "write_statistics": False}
    written(path, table, use_deprecated_int96_timestamps=True, **options)
    whole = path.read_bytes()
    for row, moment in enumerate(moments):
        mark = as_int96(11_323 + row, row * 10**9)
        assert whole.count(mark) == 1
        whole = whole.replace(mark, as_int96(*moment))
    path.write_bytes(whole)
    return path


def item(source, output):
    return Item(Shard("a.parquet", str(source)), None, str(output))


def applied(source, output):
    return finish(ApplyShard(item(source, output), tokens_job(), False).run())


def numbers(column):
    return pa.chunked_array(column.chunks).cast(pa.int64()).to_pylist()


@pytest.mark.parametrize(
    ("moments", "unit"),
    [
        ([(0, 0), (-1, 5)], "ns"),
        ([(106_751, 1), (-106_751, 1)], "ns"),
        ([(0, 0), (-1, 1000)], "us"),
        ([(106_752, 0), (0, 1000)], "us"),
        ([(2_932_896, 0), (0, 0)], "us"),
        ([(-719_162, 1000), (2_932_896, DAY - 1000)], "us"),
    ],
)
def test_timestamps_are_what_they_are(tmp_path, moments, unit):
    source = with_int96(tmp_path / "a.parquet", *moments)
    output, restored = tmp_path / "out.parquet", tmp_path / "restored.parquet"
    applied(source, output)
    shard, original = Shard("a.parquet", str(output)), Shard("a.parquet", str(source))
    for against in (None, original):
        assert finish(VerifyShard(shard, against).run()).mismatches == []
    finish(RevertShard(shard, str(restored)).run())
    exact = [
        (days * DAY + nanoseconds) // {"ns": 1, "us": 1000}[unit] for days, nanoseconds in moments
    ]
    for path in (output, restored):
        column = pq.read_table(path)["when"]
        assert column.type == pa.timestamp(unit)
        assert numbers(column) == exact
    reading = Reading(ColumnOptions(), None)
    assert finish(StatsOfShard(original, None, reading).run()).summary.counts.rows_in == len(
        moments
    )
    grid = read_grid(original, ColumnOptions(key="when"), row=1)
    assert pa.array([grid.id]).cast(pa.timestamp(unit))[0].value == exact[1]


@pytest.mark.parametrize(
    "moments",
    [
        [(106_752, 1)],
        [(2_932_896, 0), (0, 1)],
        # 64 bits overflow as microseconds too.
        [(106_751_992, 0)],
        [(2**32 - 1 - 2_440_588, 0)],
        # They overflow so that nanoseconds and microseconds agree again.
        [divmod(1000 * 2**64, DAY)],
    ],
)
def test_timestamps_that_neither_unit_holds(tmp_path, moments):
    source = with_int96(tmp_path / "a.parquet", *moments)
    with pytest.raises(DataError, match=r"^a\.parquet, column when: INT96 timestamps") as raised:
        applied(source, tmp_path / "out.parquet")
    assert raised.value.kind == "timestamps"
    assert not (tmp_path / "out.parquet").exists()


def test_each_column_has_its_own_unit(tmp_path):
    late = datetime.datetime(9999, 12, 31)
    micros = [late, None, datetime.datetime(1, 1, 1)]
    nanos = pa.array([1, None, 3], pa.timestamp("ns"))
    columns = {
        "fine": nanos,
        "late": pa.array(micros, pa.timestamp("us")),
        "in lists": pa.array([[x] for x in micros], pa.list_(pa.timestamp("us"))),
        "fine lists": pa.array([[x] for x in nanos.to_pylist()], pa.list_(pa.timestamp("ns"))),
        "struct": pa.array([{"at": x, "no": 1} for x in micros]),
        "map": pa.array([[("k", x)] for x in micros], pa.map_(pa.string(), pa.timestamp("us"))),
    }
    table = tokens_table(rows=3, **columns)
    source, output = tmp_path / "a.parquet", tmp_path / "out.parquet"
    pq.write_table(
        table, source, use_deprecated_int96_timestamps=True, store_schema=False, row_group_size=2
    )
    applied(source, output)
    shifted = pq.read_table(output)
    assert shifted.column_names[:-2] == table.column_names
    for name in columns:
        assert shifted.schema.field(name).type == table.schema.field(name).type
        assert shifted[name].combine_chunks().equals(table[name].combine_chunks())
    shard, original = Shard("a.parquet", str(output)), Shard("a.parquet", str(source))
    for against in (None, original):
        assert finish(VerifyShard(shard, against).run()).mismatches == []


def test_timestamps_in_paired_shards(tmp_path):
    late = pa.array([datetime.datetime(9999, 12, 31)] * 12, pa.timestamp("us"))
    table = tokens_table()
    options = {"use_deprecated_int96_timestamps": True}
    text = table.drop_columns(["audio_codes"]).append_column("when", late)
    codes = table.select(["id", "audio_codes"]).append_column("until", late)
    written(tmp_path / "text.parquet", text, **options)
    written(tmp_path / "codes.parquet", codes, **options)
    shards = [Shard(name, str(tmp_path / f"{name}.parquet")) for name in ("text", "codes")]
    with open_source(*shards, ColumnOptions(key="id")) as opened:
        assert isinstance(opened, PairedShard)
        read = pa.Table.from_batches(opened.small_batches())
    assert read["when"].combine_chunks().equals(late)
    assert read["until"].combine_chunks().equals(late)


def test_only_the_columns_that_are_asked_for(tmp_path):
    source = with_int96(tmp_path / "a.parquet", (2_932_896, 0), (0, 0))
    with open_shard(Shard("a.parquet", str(source))) as opened:
        for names in (["when"], ["id"], ["when", "id"], opened.schema.names):
            (batch,) = opened.small_batches(names)
            assert sorted(batch.schema.names) == sorted(names)
            assert batch.num_rows == 2
