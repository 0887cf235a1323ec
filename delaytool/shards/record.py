"""What a finished shard says of itself: the JSON entry in its footer.

Parsing it believes nothing: each field is checked, and the entry as a whole against its own
checksum."""

from __future__ import annotations

import base64
import dataclasses
import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol, TypeVar

import pyarrow as pa

from delaytool.batches.figures import Counts, Figures
from delaytool.batches.job import ALIGNS, Job
from delaytool.batches.layouts import LAYOUTS, Column, Output
from delaytool.batches.metadata import ENTRY
from delaytool.errors import KINDS, DataError
from delaytool.pattern.windows import Windows
from delaytool.recipes.recipe import Recipe
from delaytool.shards.entry import bad_entry, entry_of, fields_of, shown

T = TypeVar("T")
FORMAT = 5
"""Of the record. 2 has figures and reasons, 3 tells reasons by kind, 4 has offsets, text at any
place and narrow types, 5 columns that were left out; none of them was released."""


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


def ranked(rows: Mapping[tuple[str, str | None], int]) -> list[Reason]:
    """The reasons, those of most rows first.

    rows: how many rows there are of each kind and column
    """
    reasons = (Reason(kind, column, count) for (kind, column), count in rows.items())
    return sorted(reasons, key=lambda reason: (-reason.rows, reason.kind, reason.column or ""))


def reasons_of(rows: Mapping[tuple[str, str | None], int]) -> tuple[Reason, ...]:
    """The reasons of most rows, as a record has them, and all others as one."""
    reasons = ranked(rows)
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
    dropped:     (row, how many from there on) of which all windows were dropped; those in
                 quarantine are not counted
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
    dropped: tuple[tuple[int, int], ...] = ()

    @property
    def quarantined_rows(self) -> int:
        """How many rows were put into quarantine."""
        return self.counts.quarantined

    def to_json(self) -> str:
        """The entry, its checksum last; raises DataError when it would be too long to read."""
        fields: dict[str, Any] = {"format": FORMAT, "version": self.version, **self.job.to_dict()}
        fields["sources"] = [vars(source) for source in self.sources]
        for name in ("counts", "digests"):
            fields[name] = vars(getattr(self, name))
        fields["figures"] = self.figures.rounded().to_dict()
        fields |= {"padded": self.padded, "furthest": self.furthest}
        fields |= {"quarantined": self.quarantined, "dropped": self.dropped}
        fields["reasons"] = [vars(reason) for reason in self.reasons]
        return entry_of(fields)

    @classmethod
    def from_json(cls, text: bytes) -> Record:
        """Parse an entry; raises DataError that says what is wrong with it."""
        fields = fields_of(text, ENTRY, FORMAT)
        try:
            return cls._parse(fields)
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            raise bad_entry(f"cannot be: {type(error).__name__}: {error}", ENTRY) from None

    @classmethod
    def _parse(cls, fields: Mapping[str, Any]) -> Record:
        digests = fields["digests"]
        sources = tuple(parsed(Source, source) for source in list_of(fields["sources"]))
        if len(sources) not in (1, 2):
            raise ValueError(f"{len(sources)} sources")
        names = [field.name for field in dataclasses.fields(Job)]
        job = _job_of(json.dumps({name: fields[name] for name in names}))
        figures = parsed(Figures, fields["figures"])
        if len(figures.weights) != len(job.recipe.streams) * job.weighs:
            raise ValueError(f"{len(figures.weights)} sums of weights")
        return cls(
            version=text_of(fields["version"]),
            job=job,
            sources=sources,
            counts=parsed(Counts, fields["counts"]),
            digests=Digests(
                texts_of(digests["columns"]),
                text_of(digests["schema"]),
                texts_of(digests["quarantined"]),
            ),
            figures=figures,
            padded=tuple(map(_pairs, list_of(fields["padded"]))),
            furthest=_furthest(fields["furthest"]),
            quarantined=_pairs(fields["quarantined"]),
            reasons=parsed_reasons(fields["reasons"]),
            dropped=_pairs(fields["dropped"]),
        )


@functools.lru_cache(maxsize=4)
def _job_of(text: str) -> Job:
    """The job of a record, from JSON: for shards that have it in common it is made once."""
    fields = json.loads(text)
    return Job(
        recipe=Recipe.from_dict(fields["recipe"]),
        columns=tuple(parsed(Column, column) for column in list_of(fields["columns"])),
        outputs=tuple(parsed(Output, output) for output in list_of(fields["outputs"])),
        align=_one_of(fields["align"], ALIGNS),  # type: ignore[arg-type]
        align_limit=fields["align_limit"],
        factors=_name(fields["factors"]),
        windows=_windows(fields["windows"]),
        narrow=_flag(fields["narrow"]),
        drop_columns=tuple(map(text_of, list_of(fields["drop_columns"]))),
        key=_name(fields["key"]),
        by_order=_flag(fields["by_order"]),
    )


class Recorded(Protocol):
    """What any record says, of whatever has been made of a shard."""

    @property
    def job(self) -> object:
        """What was to be done, which equals that of a shard made in the same way."""

    @property
    def sources(self) -> tuple[Source, ...]:
        """The shards it was made from."""

    @property
    def quarantined_rows(self) -> int:
        """How many rows were put into quarantine."""

    @property
    def digests(self) -> Digests:
        """Those of what was made, and of the rows in quarantine."""

    def to_json(self) -> str:
        """The entry of a footer."""


def text_of(value: object) -> str:
    """A value that has to be a string."""
    if not isinstance(value, str):
        raise TypeError(f"{shown(value)} is not a string")
    return value


def texts_of(value: object) -> dict[str, str]:
    """A value that has to be strings by strings."""
    if not isinstance(value, dict):
        raise TypeError(f"{shown(value)} is no digests")
    return {text_of(name): text_of(digest) for name, digest in value.items()}


def _name(value: object) -> str | None:
    return None if value is None else text_of(value)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{shown(value)} is neither true nor false")
    return value


def _entries(value: object) -> dict[str, str | None]:
    if not isinstance(value, dict):
        raise TypeError(f"{shown(value)} is no entries")
    return {text_of(key): _name(text) for key, text in value.items()}


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise TypeError(f"{shown(value)} is not a count")
    return value


def _sums(value: object) -> tuple[Fraction, ...]:
    for number in list_of(value):
        # An integer may be too large for a float, and infinity for a fraction.
        if not isinstance(number, float) or not 0 <= number < float("inf"):
            raise TypeError(f"{shown(number)} is not a sum of weights")
    return tuple(Fraction(number) for number in list_of(value))


def parsed_reasons(value: object) -> tuple[Reason, ...]:
    """Reasons from JSON, each of which is there once."""
    reasons = tuple(parsed(Reason, reason) for reason in list_of(value))
    if len({(reason.kind, reason.column) for reason in reasons}) != len(reasons):
        raise ValueError("a reason is there twice")
    if not all(reason.rows for reason in reasons):
        raise ValueError("a reason of no row")
    return reasons


def list_of(value: object) -> list[Any]:
    """A value that has to be a list."""
    if not isinstance(value, list):
        raise TypeError(f"{shown(value)} is not a list")
    return value


def _pairs(value: object) -> tuple[tuple[int, int], ...]:
    return tuple((_count(first), _count(second)) for first, second in map(list_of, list_of(value)))


def _furthest(value: object) -> tuple[int, ...]:
    """A row and a number of tokens, which may be below 0; or nothing."""
    if not list_of(value):
        return ()
    row, tokens = list_of(value)
    if type(tokens) is not int:
        raise ValueError(f"{shown(tokens)} is no number of tokens")
    return _count(row), tokens


def _windows(value: object) -> Windows | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise TypeError(f"{shown(value)} is no windows")
    _flag(value.get("pad"))
    return Windows(**value)


def _numbers(value: object) -> tuple[int, ...]:
    return tuple(map(_count, list_of(value)))


def _one_of(value: object, valid: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in valid:
        raise TypeError(f"{shown(value)} is none of {', '.join(valid)}")
    return value


_PARSERS: dict[str, Callable[[object], Any]] = {
    "str": text_of,
    "str | None": _name,
    "int": _count,
    "Layout": lambda value: LAYOUTS[_one_of(value, tuple(LAYOUTS))],
    "tuple[int, ...]": _numbers,
    "tuple[Fraction, ...]": _sums,
    "Mapping[str, str | None]": _entries,
}


def parsed(kind: type[T], fields: object) -> T:
    """A dataclass of strings, counts and layouts from a JSON object with just its fields."""
    if not isinstance(fields, dict):
        raise TypeError(f"{shown(fields)} is no {kind.__name__}")
    parsers = {field.name: _PARSERS[str(field.type)] for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if set(fields) != set(parsers):
        raise TypeError(f"{shown(fields)} is no {kind.__name__}")
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
