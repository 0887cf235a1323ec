"""A value of any column can be shown and compared, whatever Python's types make of it."""

import decimal
import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from delaytool.batches.values import text_of, value_of


def counted(*numbers, kind):
    """An array of a type that is stored as these integers."""
    width = pa.int32() if kind.bit_width == 32 else pa.int64()
    return pa.array(numbers, width).cast(kind)


NANO = 1_700_000_000_123_456_789
VALUES = {
    "timestamp[ns]": (counted(1, kind=pa.timestamp("ns")), "1970-01-01 00:00:00.000000001"),
    "whole": (counted(86400, kind=pa.timestamp("s")), "1970-01-02 00:00:00"),
    "microseconds": (counted(-1, kind=pa.timestamp("us")), "1969-12-31 23:59:59.999999"),
    "far": (counted(253402300800, kind=pa.timestamp("s")), "10000-01-01 00:00:00"),
    "farthest": (counted(2**63 - 1, kind=pa.timestamp("s")), "292277026596-12-04 15:30:07"),
    "long ago": (counted(-(10**17), kind=pa.timestamp("us")), "-1199-02-15 14:13:20"),
    "zone": (
        counted(NANO, kind=pa.timestamp("ns", "Asia/Tokyo")),
        "2023-11-15 07:13:20.123456789+09:00",
    ),
    "offset": (counted(1, kind=pa.timestamp("ms", "+02:00")), "1970-01-01 02:00:00.001000+02:00"),
    "no such zone": (
        counted(1, kind=pa.timestamp("s", "Mars/Phobos")),
        "1970-01-01 00:00:01+00:00",
    ),
    "zone, far": (
        counted(10**12, kind=pa.timestamp("s", "Asia/Tokyo")),
        "33658-09-27 01:46:40+00:00",
    ),
    "time32": (counted(86399, kind=pa.time32("s")), "23:59:59"),
    "time64[us]": (counted(60_000_001, kind=pa.time64("us")), "00:01:00.000001"),
    "time64[ns]": (counted(5, kind=pa.time64("ns")), "00:00:00.000000005"),
    "duration": (counted(90_000_001, kind=pa.duration("us")), "0:01:30.000001"),
    "duration[ns]": (counted(5, kind=pa.duration("ns")), "5 ns"),
    "duration, whole": (counted(5000, kind=pa.duration("ns")), "0:00:00.000005"),
    "duration, far": (counted(2**62, kind=pa.duration("s")), f"{2**62} s"),
    "date32": (counted(19000, kind=pa.date32()), "2022-01-08"),
    "date32, far": (counted(10**9, kind=pa.date32()), "2739877-01-03"),
    "date64": (counted(86_400_000, kind=pa.date64()), "1970-01-02"),
    "null": (pa.nulls(1), None),
    "null among times": (pa.array([None], pa.timestamp("ns")), None),
    "bytes": (pa.array([b"u1"]), b"u1"),
    "string": (pa.array(["u1"]), "u1"),
    "string_view": (pa.array(["u1"], pa.string_view()), "u1"),
    "binary_view": (pa.array([b"u1"], pa.binary_view()), b"u1"),
    "number": (pa.array([7], pa.uint64()), 7),
    "decimal": (pa.array([decimal.Decimal("1.50")]), decimal.Decimal("1.50")),
    "dictionary": (
        counted(1, kind=pa.timestamp("ns")).dictionary_encode(),
        "1970-01-01 00:00:00.000000001",
    ),
    "list": (pa.array([[1, None]], pa.list_(pa.time64("ns"))), ["00:00:00.000000001", None]),
    "list_view": (pa.array([["a"]], pa.list_view(pa.string())), ["a"]),
    "struct": (
        pa.array([{"a": 0, "b": b"x"}], pa.struct({"a": pa.date32(), "b": pa.binary()})),
        {"a": "1970-01-01", "b": b"x"},
    ),
    "map": (
        pa.array([[("k", 0)]], pa.map_(pa.string(), pa.timestamp("ns"))),
        [("k", "1970-01-01 00:00:00")],
    ),
    "extension": (
        pa.ExtensionArray.from_storage(pa.opaque(pa.string(), "t", "v"), pa.array(["u1"])),
        "u1",
    ),
}


@pytest.mark.parametrize("name", VALUES)
def test_values(name):
    array, expected = VALUES[name]
    found = value_of(array[0])
    assert found == expected
    assert type(found) is type(expected)


def test_what_is_no_utf8_is_escaped():
    offsets = pa.array([0, 2], pa.int32()).buffers()[1]
    array = pa.Array.from_buffers(pa.string(), 1, [None, offsets, pa.py_buffer(b"a\xff")])
    assert value_of(array[0]) == "a\\xff"


def test_different_moments_have_different_texts():
    numbers = np.random.default_rng(3).integers(-(2**63), 2**63 - 1, 500)
    for unit in ("s", "ms", "us", "ns"):
        for kind in (pa.timestamp(unit), pa.timestamp(unit, "Asia/Tokyo"), pa.duration(unit)):
            close = np.concatenate([numbers, numbers + 1])
            texts = [value_of(each) for each in pa.array(close).cast(kind)]
            assert len(set(texts)) == len(set(close.tolist()))


def test_units_do_not_matter():
    for number in (0, 1, -1, 1_700_000_000, -62_135_596_801):
        texts = {
            value_of(pa.array([number * 10**power]).cast(pa.timestamp(unit))[0])
            for unit, power in (("s", 0), ("ms", 3), ("us", 6))
        }
        assert len(texts) == 1


def test_values_are_the_same_without_pandas(tmp_path):
    code = """
import pyarrow as pa
from delaytool.batches.values import value_of
print([value_of(each) for each in pa.array([0, 1]).cast(pa.timestamp("ns"))])
"""
    (tmp_path / "pandas.py").write_text("raise ImportError")
    without = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = sys.executable, "-c", code
    runs = [subprocess.check_output(command, env=env) for env in (os.environ, without)]
    assert runs[0] == runs[1]


def test_as_a_user_types_them():
    assert [text_of(value) for value in (b"u1", "u1", 7, b"\xff")] == ["u1", "u1", "7", "b'\\xff'"]
