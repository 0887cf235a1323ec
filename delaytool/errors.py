"""What can be wrong, and where.

`DataError` is about data: it carries the place (shard, row, key, stream, timestep), what was
found, what was expected, and what to do. `RecipeError` is about what was asked for: a recipe, a
preset, an option. The command line turns the first into exit status 1 and the second into 2.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from delaytool.texts import printable

KINDS = {
    "audio-delay": "a delay that the text has already",
    "batch-size": "too many cells in one batch",
    "changed": "a file that changed while it was read",
    "cluster": "a task that could not be run on the cluster",
    "codebook-lengths": "codebooks of different lengths",
    "codebooks": "a wrong number of codebooks",
    "column-in-the-way": "a column in the way",
    "column-lengths": "columns of different lengths",
    "column-twice": "a column that is there twice",
    "column-type": "a column of an unfit type",
    "columns": "other columns than recorded",
    "decimal": "a decimal of more digits than its type has",
    "digest": "other rows than recorded",
    "files-not-shared": "files that not every node sees",
    "frames": "a number of frames that cannot be",
    "killed": "a file that killed who read it",
    "keys-differ": "keys that differ",
    "layout-misfits": "a layout that most rows do not fit",
    "list-size": "a list of a wrong size",
    "lossy": "something lost that cannot come back",
    "missing-column": "a missing column",
    "missing-key": "a key that not both shards have",
    "no-cluster": "no cluster",
    "no-frames": "no frames",
    "no-layout": "no layout that fits",
    "no-record": "no delaytool entry",
    "no-rows": "no rows",
    "no-shards": "no shards",
    "no-such-row": "no such row",
    "no-weights": "no loss weights, which its recipe does not say",
    "no-such-speaker": "a speaker whom no word names",
    "no-tokenizer": "words without a tokenizer",
    "not-installed": "a package that is not installed",
    "null": "a null",
    "original-type": "tokens that their original type cannot hold",
    "outer-list": "an outer list of more than one entry, or none",
    "output-in-the-way": "an output in the way",
    "output-twice": "one output for two shards",
    "outside-output": "an output outside the output folder",
    "record": "a broken delaytool entry",
    "record-format": "a delaytool entry of another format",
    "record-too-long": "a delaytool entry that is too long",
    "row-in-quarantine": "a row in quarantine",
    "rows-differ": "other numbers of rows",
    "several-layouts": "more than one layout that fits",
    "shifted-already": "a shard that is shifted already",
    "shards-differ": "shards that were made in different ways",
    "slice": "a slice that its column's name is in the way of",
    "sources": "another number of sources",
    "streams": "a wrong number of streams",
    "table-format": "a table of Delta, Iceberg or Hudi",
    "text-length": "text and audio of different lengths",
    "timestamps": "timestamps that 64 bits do not hold",
    "token": "a token outside its vocabulary",
    "too-short": "fewer timesteps than the pattern adds",
    "unpaired-shard": "a shard without its counterpart",
    "unreachable": "a store that cannot be reached",
    "unreadable": "a file that cannot be read",
    "unwritable": "a file that cannot be written",
    "weight": "a factor that is no weight",
    "weight-length": "factors and audio of different lengths",
    "window": "a window that is not as it was cut",
    "word": "a word that cannot be read",
    "word-time": "a word whose time is no number",
    "words": "words that cannot be read",
}
"""What can be wrong with data, in words. Programs tell errors apart by the kind alone: kinds stay,
words may change."""


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
        """Shard, row, key, column, stream, timestep, as far as they are known, on one line.

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
        return printable(", ".join(part for part in parts if part is not None))


class DataError(Exception):
    """Something in a shard is not what it has to be.

    kind:     one of KINDS, for programs; the other texts are for people and may change
    found:    what is wrong, with the values that were found
    expected: what would have been right, if that needs saying
    advice:   what the reader of the message can do about it
    """

    def __init__(
        self,
        kind: str,
        found: str,
        *,
        expected: str = "",
        advice: str = "",
        place: Place = Place(),
    ) -> None:
        super().__init__(found)
        self.kind = kind
        self.found = found
        self.expected = expected
        self.advice = advice
        self.place = place

    def at(self, **where: Any) -> DataError:
        """The same error with more of its place known."""
        place = dataclasses.replace(self.place, **where)
        return _rebuild(type(self), self.kind, self.found, self.expected, self.advice, place)

    @property
    def reason(self) -> str:
        """The error without its place and advice."""
        return f"{self.found}, expected {self.expected}" if self.expected else self.found

    def __str__(self) -> str:
        place = str(self.place)
        return printable(f"{place}: {self.reason}" if place else self.reason)

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions pickle by their positional arguments only; workers send these home.
        texts = self.kind, self.found, self.expected, self.advice
        return _rebuild, (type(self), *texts, self.place)


def _rebuild(
    cls: type[DataError], kind: str, found: str, expected: str, advice: str, place: Place
) -> DataError:
    return cls(kind, found, expected=expected, advice=advice, place=place)


class AmbiguousError(DataError):
    """More than one layout fits a column, and a guess would be noise that nobody notices."""


class ReaderDiedError(DataError):
    """Whatever read a shard was killed by it, twice; other shards are none the worse for it.

    others: the same of other shards of the run
    """

    others: tuple[ReaderDiedError, ...] = ()

    @classmethod
    def of(cls, shard: str) -> ReaderDiedError:
        """The error for a shard of this name."""
        return cls(
            "killed",
            "reading it killed the process, twice",
            expected="a good Parquet file, and enough memory for it",
            advice="restore the file, leave it out, or try fewer `workers`",
            place=Place(shard=shard),
        )
