"""The JSON entries of footers: written with a checksum, and read without believing anything.

An entry comes from a file that anyone may have changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from delaytool.errors import DataError

MAX_ENTRY = 32 << 20
"""Bytes of an entry that are still written and parsed: enough for 4096 columns, whose schema takes
about one, and for 2 million rows that were padded."""


def entry_of(fields: Mapping[str, Any]) -> str:
    """An entry of a footer, its checksum last; raises DataError when it is too long to be read."""
    entry = _dump({**fields, "checksum": _checksum(fields)})
    if len(entry) > MAX_ENTRY:
        raise DataError(
            "record-too-long",
            f"what there is to record of it takes {len(entry)} bytes",
            expected=f"at most {MAX_ENTRY}",
            advice="split the shard",
        )
    return entry


def fields_of(text: bytes, name: str, expected: int) -> dict[str, Any]:
    """The fields of an entry, without its checksum; raises DataError that says what is wrong.

    name: what the entry is called; expected: the format of its fields
    """
    if len(text) > MAX_ENTRY:
        raise bad_entry(f"has {len(text)} bytes, expected at most {MAX_ENTRY}", name)
    try:
        fields = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_no_field_twice)
    except (ValueError, RecursionError):
        raise bad_entry("is not JSON", name) from None
    if not isinstance(fields, dict):
        raise bad_entry("is not a JSON object", name)
    if fields.get("format") != expected:
        raise _other_format(fields, name, expected)
    checksum = fields.pop("checksum", None)
    # What cannot be written, such as 1e999, has no checksum that an entry could match.
    if checksum is None or checksum != _checksum(fields):
        raise bad_entry("does not match its own checksum", name)
    return fields


def bad_entry(what: str, name: str) -> DataError:
    """The error for an entry that is broken."""
    return DataError(
        "record", f"the {name} entry in the footer {what}", advice="make the shard anew"
    )


def _other_format(fields: Mapping[str, Any], name: str, expected: int) -> DataError:
    """The error for an entry that another version of delaytool wrote."""
    found, version = fields.get("format"), fields.get("version")
    found = found if isinstance(found, int) and abs(found) < 10**9 else shown(found)
    return DataError(
        "record-format",
        f"the {name} entry in the footer has the format {found}, of delaytool {shown(version)}",
        expected=f"the format {expected}, which this version reads and writes",
        advice="make the shard anew with this version, or read it with the one that made it",
    )


def _no_constant(name: str) -> None:
    """NaN and infinities, which Python reads though they are no JSON."""
    raise ValueError(name)


def _no_field_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a field is there twice")
    return fields


def _dump(fields: Mapping[str, Any]) -> str:
    return json.dumps(fields, ensure_ascii=True, separators=(",", ":"), allow_nan=False)


def _checksum(fields: Mapping[str, Any]) -> str | None:
    try:
        return hashlib.sha256(_dump(fields).encode()).hexdigest()
    except (ValueError, RecursionError):
        return None


def shown(value: object) -> str:
    """The beginning of a value's text, or its type where that might be endless."""
    if isinstance(value, (str, bool, float, type(None))):
        return repr(value[:60] if isinstance(value, str) else value)
    return f"a value of type {type(value).__name__}"
