"""What can be wrong, and where.

`DataError` is about data: it carries the place (shard, row, key, stream, timestep), what was
found, what was expected, and what to do. `RecipeError` is about what was asked for: a recipe, a
preset, an option. The command line turns the first into exit status 1 and the second into 2.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any


class RecipeError(ValueError):
    """A recipe or an option has a value that cannot be; the message names the field."""


@dataclasses.dataclass(frozen=True)
class Place:
    """Where in the data something is; rows and timesteps count from 0."""

    shard: str | None = None
    row: int | None = None
    key: str | None = None
    column: str | None = None
    stream: str | None = None
    timestep: int | None = None

    def __str__(self) -> str:
        """Shard, row, key, column, stream, timestep, as far as they are known.

        Place("a.parquet", 3, "utt-7", None, "text", 12) ->
        'a.parquet, row 3 (utt-7), stream text, timestep 12'
        """
        row = None if self.row is None else f"row {self.row}"
        if row is not None and self.key is not None:
            row = f"{row} ({self.key})"
        parts = [
            self.shard,
            row,
            None if self.column is None else f"column {self.column}",
            None if self.stream is None else f"stream {self.stream}",
            None if self.timestep is None else f"timestep {self.timestep}",
        ]
        return ", ".join(part for part in parts if part is not None)


class DataError(Exception):
    """Something in a shard is not what it has to be.

    found:    what is wrong, with the values that were found
    expected: what would have been right, if that needs saying
    advice:   what the reader of the message can do about it
    """

    def __init__(
        self, found: str, *, expected: str = "", advice: str = "", place: Place = Place()
    ) -> None:
        super().__init__(found)
        self.found = found
        self.expected = expected
        self.advice = advice
        self.place = place

    def at(self, **where: Any) -> DataError:
        """The same error with more of its place known."""
        place = dataclasses.replace(self.place, **where)
        return type(self)(self.found, expected=self.expected, advice=self.advice, place=place)

    @property
    def reason(self) -> str:
        """The error without its place and advice."""
        return f"{self.found}, expected {self.expected}" if self.expected else self.found

    @property
    def sort(self) -> str:
        """What errors of one sort have in common, to count them.

        column audio_codes, token 2048 -> 'column audio_codes: token #, expected 0 to 2047, or -1'
        """
        found = re.sub(r"-?\d[\d.e+-]*", "#", self.found)
        found = re.sub(r"^# (frame|codebook|token)$", r"# \1s", found)
        # "31, as many as another column has" is of the row, "0 to 2047" of all rows.
        expected = re.sub(r"^\d+(?=, as )", "#", self.expected)
        what = f"{found}, expected {expected}" if expected else found
        return what if self.place.column is None else f"column {self.place.column}: {what}"

    def __str__(self) -> str:
        place = str(self.place)
        return f"{place}: {self.reason}" if place else self.reason

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions pickle by their positional arguments only; workers send these home.
        return _rebuild, (type(self), self.found, self.expected, self.advice, self.place)


def _rebuild(
    kind: type[DataError], found: str, expected: str, advice: str, place: Place
) -> DataError:
    return kind(found, expected=expected, advice=advice, place=place)


class AmbiguousError(DataError):
    """More than one layout fits a column, and a guess would be noise that nobody notices."""


class ReaderDiedError(DataError):
    """Whatever read a shard was killed by it, twice; other shards are none the worse for it."""

    @classmethod
    def of(cls, shard: str) -> ReaderDiedError:
        """The error for a shard of this name."""
        return cls(
            "reading it killed the process, twice",
            expected="a good Parquet file, and enough memory for it",
            advice="restore the file, leave it out, or try fewer --workers",
            place=Place(shard=shard),
        )
