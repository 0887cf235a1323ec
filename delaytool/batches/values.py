"""One value of a column as Python has it, to be shown and to be compared.

Python's dates end with the year 9999, its times know no nanoseconds, and its strings are UTF-8; a
column's need not be. So dates, times and durations are texts here, the same with pandas installed
or without, and what is no UTF-8 is escaped.
"""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from delaytool.batches.types import child_types, is_bytes_view, storage

_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def value_of(scalar: pa.Scalar) -> Any:
    """A value as Python has it, dates and times in it as text.

    timestamp[ns] 1 -> "1970-01-01 00:00:00.000000001"; list<date32> [0] -> ["1970-01-01"]
    """
    kind = scalar.type
    if not scalar.is_valid:
        return None
    if not _has_texts(kind):
        return scalar.as_py()
    if isinstance(kind, pa.BaseExtensionType) or pa.types.is_dictionary(kind):
        return value_of(scalar.value)
    if pa.types.is_struct(kind):
        return {kind.field(i).name: value_of(scalar[i]) for i in range(kind.num_fields)}
    if pa.types.is_map(kind):
        return [(value_of(pair[0]), value_of(pair[1])) for pair in scalar.values]
    if child_types(kind):
        return [value_of(each) for each in scalar.values]
    return _moment(kind, scalar.value) if pa.types.is_temporal(kind) else _text(scalar)


def text_of(value: Any) -> str:
    """A value of `value_of` as a user types it: b"utt-1" and "utt-1" are utt-1."""
    try:
        return value.decode() if isinstance(value, bytes) else str(value)
    except UnicodeDecodeError:
        return str(value)


def _has_texts(kind: pa.DataType) -> bool:
    """Whether there are dates, times or strings in values of this type."""
    kind = storage(kind)
    if pa.types.is_dictionary(kind):
        return _has_texts(kind.value_type)
    inside = child_types(kind)
    if inside:
        return any(map(_has_texts, inside))
    strings = pa.types.is_string(kind) or pa.types.is_large_string(kind) or is_bytes_view(kind)
    return bool(strings or (pa.types.is_temporal(kind) and not pa.types.is_interval(kind)))


def _text(scalar: pa.Scalar) -> Any:
    """A string, or bytes."""
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        return scalar.as_buffer().to_pybytes().decode(errors="backslashreplace")


def _moment(kind: pa.DataType, number: int) -> str:
    """A date, time, timestamp or duration, as its column stores it."""
    if pa.types.is_date(kind):
        days = number if pa.types.is_date32(kind) else number // 86_400_000
        return str(np.datetime64(days, "D"))
    if pa.types.is_duration(kind):
        return _duration(number, kind.unit)
    seconds, rest = divmod(number, _PER_SECOND[kind.unit])
    nanoseconds = rest * (10**9 // _PER_SECOND[kind.unit])
    fraction = f".{nanoseconds:09d}".removesuffix("000") if nanoseconds else ""
    if pa.types.is_time(kind):
        minutes, second = divmod(seconds, 60)
        return f"{minutes // 60:02d}:{minutes % 60:02d}:{second:02d}{fraction}"
    whole, offset = _in_zone(seconds, kind.tz)
    return f"{whole}{fraction}{offset}"


def _in_zone(seconds: int, zone: str | None) -> tuple[str, str]:
    """A moment in a time zone, and its offset; in UTC where nobody knows the zone or the year."""
    try:
        here = pa.lib.string_to_tzinfo(zone) if zone else datetime.timezone.utc
        text = (_EPOCH + datetime.timedelta(seconds=seconds)).astimezone(here).isoformat(" ")
        return text[:19], text[19:] if zone else ""
    except (pa.ArrowException, ImportError, LookupError, OSError, OverflowError, ValueError):
        return str(np.datetime64(seconds, "s")).replace("T", " "), "+00:00" if zone else ""


def _duration(number: int, unit: str) -> str:
    microseconds, rest = divmod(number * 10**6, _PER_SECOND[unit])
    try:
        whole = datetime.timedelta(microseconds=microseconds)
    except OverflowError:
        return f"{number} {unit}"
    return f"{number} {unit}" if rest else str(whole)
