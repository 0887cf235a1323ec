"""What a finished shard says of itself: the JSON entry in its footer.

A record comes from a file that anyone may have changed, so parsing it believes nothing: each field
is checked, and the entry as a whole against its own checksum."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeVar

import pyarrow as pa

from delaytool.batches.figures import Counts, Figures
from delaytool.batches.job import ALIGNS, Job
from delaytool.batches.layouts import LAYOUTS, Column, Output
from delaytool.batches.metadata import ENTRY
from delaytool.errors import KINDS, DataError
from delaytool.recipes.recipe import Recipe

T = TypeVar("T")
FORMAT = 4
"""Of the record. 2 has figures and reasons, 3 tells reasons by kind, 4 has offsets and text at any
place; none of them was released."""
MAX_ENTRY = 32 << 20
"""Bytes of an entry that are still written and parsed: enough for 4096 columns, whose schema takes
about one, and for 2 million rows that were padded."""


@dataclass(frozen=True)
class Source:
    """What a shard was made from: its size in bytes, its footer's sha256, its Arrow schema, and the
    key-value entries of its footer.

    schema:  the IPC message of the schema, base64
    entries: base64 by base64; None for a value that the schema holds already: that of its metadata,
             and of ARROW:schema the schema's own text
    """

    size: int
    footer: str
    schema: str
    entries: Mapping[str, str | None] = dataclasses.field(default_factory=dict)


MAX_REASONS = 20
"""Reasons that a record tells apart."""


@dataclass(frozen=True)
class Reason:
    """Why rows are in quarantine, and how many.

    kind:   that of their errors, one of errors.KINDS, or "other" for all kinds that few rows are of
    column: the column that is wrong, if it is one
    """

    kind: str
    column: str | None
    rows: int

    def __str__(self) -> str:
        """The reason in words: column audio_codes: a token outside its vocabulary"""
        what = KINDS.get(self.kind, self.kind)
        return what if self.column is None else f"column {self.column}: {what}"


OTHER = "other"
"""The kind of reasons that are not distinguished."""


def reasons_of(rows: Mapping[tuple[str, str | None], int]) -> tuple[Reason, ...]:
    """The reasons of most rows, as a record has them, and all others as one.

    rows: how many rows there are of each kind and column
    """
    reasons = [Reason(kind, column, count) for (kind, column), count in rows.items()]
    reasons.sort(key=lambda reason: (-reason.rows, reason.kind, reason.column or ""))
    others = sum(reason.rows for reason in reasons[MAX_REASONS:])
    return (*reasons[:MAX_REASONS], *([Reason(OTHER, None, others)] if others else []))


@dataclass(frozen=True)
class Digests:
    """What reverting the shard must give: a digest of each column, and of the schema.

    quarantined: what its shard of quarantined rows must hold: a digest of each column, the reasons'
                 too; none where there are no such rows
    """

    columns: Mapping[str, str]
    schema: str
    quarantined: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class Record:
    """What a finished shard says of itself.

    sources:     the shard it was made from; two where text and codes came in shards of their own
    padded:      (row, tokens) for each row that alignment has made longer, of each column of text
    furthest:    (row, tokens) of the row whose text differed most from the audio, where alignment
                 changed any; the tokens are below 0 where there were too few
    quarantined: (row of the source, how many from there on) that were put into quarantine
    reasons:     what is wrong with the rows that were put into quarantine
    """

    version: str
    job: Job
    sources: tuple[Source, ...]
    counts: Counts
    figures: Figures
    digests: Digests
    padded: tuple[tuple[tuple[int, int], ...], ...] = ()
    furthest: tuple[int, ...] = ()
    quarantined: tuple[tuple[int, int], ...] = ()
    reasons: tuple[Reason, ...] = ()

    def to_json(self) -> str:
        """The entry, its checksum last; raises DataError when it would be too long to read."""
        fields: dict[str, Any] = {"format": FORMAT, "version": self.version, **self.job.to_dict()}
        fields["sources"] = [dataclasses.asdict(source) for source in self.sources]
        for name in ("counts", "digests"):
            fields[name] = dataclasses.asdict(getattr(self, name))
        fields["figures"] = self.figures.rounded().to_dict()
        fields |= {"padded": self.padded, "furthest": self.furthest}
        fields["quarantined"] = self.quarantined
        fields["reasons"] = [dataclasses.asdict(reason) for reason in self.reasons]
        entry = _dump({**fields, "checksum": _checksum(fields)})
        if len(entry) > MAX_ENTRY:
            raise DataError(
                "record-too-long",
                f"what there is to record of it takes {len(entry)} bytes",
                expected=f"at most {MAX_ENTRY}",
                advice="split the shard",
            )
        return entry

    @classmethod
    def from_json(cls, text: bytes) -> Record:
        """Parse an entry; raises DataError that says what is wrong with it."""
        if len(text) > MAX_ENTRY:
            raise _bad(f"has {len(text)} bytes, expected at most {MAX_ENTRY}")
        try:
            fields = json.loads(
                text, parse_constant=_no_constant, object_pairs_hook=_no_field_twice
            )
        except (ValueError, RecursionError):
            raise _bad("is not JSON") from None
        if not isinstance(fields, dict):
            raise _bad("is not a JSON object")
        if fields.get("format") != FORMAT:
            raise _other_format(fields)
        checksum = fields.pop("checksum", None)
        # What cannot be written, such as 1e999, has no checksum that an entry could match.
        if checksum is None or checksum != _checksum(fields):
            raise _bad("does not match its own checksum")
        try:
            return cls._parse(fields)
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            raise _bad(f"cannot be: {type(error).__name__}: {error}") from None

    @classmethod
    def _parse(cls, fields: Mapping[str, Any]) -> Record:
        digests = fields["digests"]
        sources = tuple(_plain(Source, source) for source in _list(fields["sources"]))
        if len(sources) not in (1, 2):
            raise ValueError(f"{len(sources)} sources")
        job = Job(
            recipe=Recipe.from_dict(fields["recipe"]),
            columns=tuple(_plain(Column, column) for column in _list(fields["columns"])),
            outputs=tuple(_plain(Output, output) for output in _list(fields["outputs"])),
            align=_one_of(fields["align"], ALIGNS),  # type: ignore[arg-type]
            align_limit=fields["align_limit"],
            factors=_name(fields["factors"]),
            key=_name(fields["key"]),
            by_order=_flag(fields["by_order"]),
        )
        figures = _plain(Figures, fields["figures"])
        if len(figures.weights) != len(job.recipe.streams) * job.weighs:
            raise ValueError(f"{len(figures.weights)} sums of weights")
        return cls(
            version=_text(fields["version"]),
            job=job,
            sources=sources,
            counts=_plain(Counts, fields["counts"]),
            digests=Digests(
                _texts(digests["columns"]),
                _text(digests["schema"]),
                _texts(digests["quarantined"]),
            ),
            figures=figures,
            padded=tuple(map(_pairs, _list(fields["padded"]))),
            furthest=_furthest(fields["furthest"]),
            quarantined=_pairs(fields["quarantined"]),
            reasons=_reasons(fields["reasons"]),
        )


def _bad(what: str) -> DataError:
    return DataError(
        "record", f"the {ENTRY} entry in the footer {what}", advice="make the shard anew"
    )


def _other_format(fields: Mapping[str, Any]) -> DataError:
    """The error for an entry that another version of delaytool wrote."""
    found, version = fields.get("format"), fields.get("version")
    found = found if isinstance(found, int) and abs(found) < 10**9 else _shown(found)
    return DataError(
        "record-format",
        f"the {ENTRY} entry in the footer has the format {found}, of delaytool {_shown(version)}",
        expected=f"the format {FORMAT}, which this version reads and writes",
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


def _shown(value: object) -> str:
    """The beginning of a value's text, or its type where that might be endless."""
    if isinstance(value, (str, bool, float, type(None))):
        return repr(value[:60] if isinstance(value, str) else value)
    return f"a value of type {type(value).__name__}"


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{_shown(value)} is not a string")
    return value


def _texts(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise TypeError(f"{_shown(value)} is no digests")
    return {_text(name): _text(digest) for name, digest in value.items()}


def _name(value: object) -> str | None:
    return None if value is None else _text(value)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{_shown(value)} is neither true nor false")
    return value


def _entries(value: object) -> dict[str, str | None]:
    if not isinstance(value, dict):
        raise TypeError(f"{_shown(value)} is no entries")
    return {_text(key): _name(text) for key, text in value.items()}


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise TypeError(f"{_shown(value)} is not a count")
    return value


def _sums(value: object) -> tuple[Fraction, ...]:
    for number in _list(value):
        # An integer may be too large for a float, and infinity for a fraction.
        if not isinstance(number, float) or not 0 <= number < float("inf"):
            raise TypeError(f"{_shown(number)} is not a sum of weights")
    return tuple(Fraction(number) for number in _list(value))


def _reasons(value: object) -> tuple[Reason, ...]:
    reasons = tuple(_plain(Reason, reason) for reason in _list(value))
    if len({(reason.kind, reason.column) for reason in reasons}) != len(reasons):
        raise ValueError("a reason is there twice")
    if not all(reason.rows for reason in reasons):
        raise ValueError("a reason of no row")
    return reasons


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{_shown(value)} is not a list")
    return value


def _pairs(value: object) -> tuple[tuple[int, int], ...]:
    return tuple((_count(first), _count(second)) for first, second in map(_list, _list(value)))


def _furthest(value: object) -> tuple[int, ...]:
    """A row and a number of tokens, which may be below 0; or nothing."""
    if not _list(value):
        return ()
    row, tokens = _list(value)
    if type(tokens) is not int:
        raise ValueError(f"{_shown(tokens)} is no number of tokens")
    return _count(row), tokens


def _numbers(value: object) -> tuple[int, ...]:
    return tuple(map(_count, _list(value)))


def _one_of(value: object, valid: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in valid:
        raise TypeError(f"{_shown(value)} is none of {', '.join(valid)}")
    return value


_PARSERS: dict[str, Callable[[object], Any]] = {
    "str": _text,
    "str | None": _name,
    "int": _count,
    "Layout": lambda value: LAYOUTS[_one_of(value, tuple(LAYOUTS))],
    "tuple[int, ...]": _numbers,
    "tuple[Fraction, ...]": _sums,
    "Mapping[str, str | None]": _entries,
}


def _plain(kind: type[T], fields: object) -> T:
    """A dataclass of strings, counts and layouts from a JSON object with just its fields."""
    if not isinstance(fields, dict):
        raise TypeError(f"{_shown(fields)} is no {kind.__name__}")
    parsers = {field.name: _PARSERS[str(field.type)] for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if set(fields) != set(parsers):
        raise TypeError(f"{_shown(fields)} is no {kind.__name__}")
    return kind(**{name: parse(fields[name]) for name, parse in parsers.items()})


def encode_schema(schema: pa.Schema) -> str:
    """A schema as base64 of its IPC message."""
    return base64.b64encode(schema.serialize()).decode()


def decode_schema(text: str) -> pa.Schema:
    """The schema that `encode_schema` encoded; raises DataError if it is none."""
    try:
        return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text, validate=True)))
    except (ValueError, OSError, pa.ArrowException) as error:
        raise DataError(
            "record", f"the source schema in its record cannot be read: {error}"
        ) from None
