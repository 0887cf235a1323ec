"""What verifying a shard found."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from delaytool.batches.job import Job
from delaytool.batches.layouts import Column
from delaytool.batches.problems import key_of
from delaytool.batches.shifted import ShiftedColumn
from delaytool.errors import Place
from delaytool.jobs.report import Summary
from delaytool.recipes.recipe import Recipe
from delaytool.shards.record import Reason
from delaytool.texts import printable

MAX_MISMATCHES = 20
"""Mismatches of one shard that are kept; more are counted only."""


@dataclass(frozen=True)
class Mismatch:
    """One thing that is not as it has to be; timesteps are those of the shifted grid."""

    place: Place
    what: str
    expected: Any
    found: Any

    def to_dict(self) -> dict[str, Any]:
        """The fields that the command line prints as JSON."""
        place = self.place
        return {
            "shard": place.shard,
            "row": place.row,
            "stream": place.stream,
            "timestep": place.timestep,
            "expected": self.expected,
            "found": self.found,
            "what": self.what if place.column is None else f"{self.what}, column {place.column}",
        }

    def __str__(self) -> str:
        """One line: the place, what is compared, what was found and what was expected."""
        found = f"found {self.found}, expected {self.expected}"
        return printable(f"{self.place}: {self.what}: {found}")


@dataclass
class Verified:
    """What verifying one shard found.

    way: a digest of how it was made, of recipe and output columns; empty where that is not known
    left_out: whether nothing was looked for, since the shard holds quarantined rows
    is_foreign: whether it is no shard that apply made
    by_order: whether the rows of its source are those of text and codes that only their order pairs
    dropped_columns: columns of its source that were left out, with which nothing was compared
    """

    name: str
    way: str = ""
    rows: int = 0
    tokens: int = 0
    lost: int = 0
    trimmed: int = 0
    summary: Summary | None = None
    left_out: bool = False
    count: int = 0
    mismatches: list[Mismatch] = field(default_factory=list)
    is_foreign: bool = False
    by_order: bool = False
    dropped_columns: tuple[str, ...] = ()

    def add(self, what: str, expected: Any, found: Any, place: Place | None = None) -> None:
        """Note a mismatch."""
        self.count += 1
        if len(self.mismatches) < MAX_MISMATCHES:
            where = Place() if place is None else place
            place = Place(
                self.name, where.row, where.key, where.column, where.stream, where.timestep
            )
            self.mismatches.append(Mismatch(place, what, _plain(expected), _plain(found)))


def _plain(value: Any) -> Any:
    """A value as JSON has it, which knows no NaN."""
    value = value.item() if isinstance(value, np.generic) else value
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def token_differences(
    rows: tuple[list[Any], list[Any]], column: Column, recipe: Recipe, place: Place
) -> Iterator[tuple[str, Any, Any, Place]]:
    """Where the tokens of one row differ: what it is, what was expected, what was found, the place.

    rows: the source's lists and what the output reverts to, as the column's layout has them
    """
    wanted, had = (column.layout.codebooks(row, column.size) for row in rows)
    for number, (want, have) in enumerate(zip(wanted, had, strict=False)):
        stream = None
        if 0 <= number - column.start < column.count:
            stream = column.streams(recipe)[number - column.start]
        where = dataclasses.replace(place, stream=stream.name if stream else f"codebook {number}")
        if len(want) != len(have):
            yield "frames", len(want), len(have), where
            return
        for frame, (token, other) in enumerate(zip(want, have, strict=True)):
            if token != other:
                moved = recipe.first_timestep(stream) if stream else 0
                yield "token", token, other, dataclasses.replace(where, timestep=frame + moved)
    if len(wanted) != len(had):
        yield "codebooks", len(wanted), len(had), place


def entry_differences(
    expected: dict[bytes, bytes], found: dict[bytes, bytes]
) -> Iterator[tuple[str, Any, Any]]:
    """Entries of a footer that are not as expected: the key, what was expected, what was found."""
    for key in sorted(expected.keys() | found.keys()):
        want, have = expected.get(key), found.get(key)
        if want != have:
            yield key.decode(errors="backslashreplace"), _entry(want), _entry(have)


def _entry(value: bytes | None) -> Any:
    return shortened("none" if value is None else value.decode(errors="backslashreplace"))


def keys_of(schema: pa.Schema) -> str:
    """A schema's metadata, as a mismatch shows it."""
    entries = {
        key.decode(errors="replace"): value.decode(errors="replace")
        for key, value in (schema.metadata or {}).items()
    }
    return str(shortened(entries or "none"))


def types_of(schema: pa.Schema) -> str:
    """A schema's columns and types, as a mismatch shows them."""
    return str(shortened(", ".join(f"{field.name}: {field.type}" for field in schema)))


def reasons_in_words(reasons: tuple[Reason, ...]) -> Any:
    """Why rows are in quarantine, as a mismatch shows it."""
    return shortened("; ".join(f"{reason} ({reason.rows})" for reason in reasons) or "none")


def shortened(value: Any) -> Any:
    """A value as it is if JSON can hold it and it is short, else the beginning of its text."""
    if isinstance(value, (int, float, bool, type(None))):
        return value
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 200 else text[:197] + "..."


@dataclass(frozen=True)
class CellPlaces:
    """Where the cells of an output's column are, in the words of an error."""

    batch: pa.RecordBatch
    rows: int
    column: ShiftedColumn
    job: Job

    def of_row(self, row: int, column: str) -> Place:
        """The place of a row of the batch."""
        return Place(row=self.rows + row, key=key_of(self.batch, row, self.job), column=column)

    def place(self, position: int) -> Place:
        """The place of a position in the flat array."""
        row, number, timestep = self.column.codes.place(position)
        return dataclasses.replace(
            self.of_row(row, self.column.output.name),
            stream=self.column.segments.streams[number].name,
            timestep=timestep,
        )
