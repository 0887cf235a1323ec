"""A job, and what a finished shard says of itself.

`Job` is all that decides an output's bytes: the recipe, the columns that hold its streams, what
to write. `Record` is the JSON entry in the footer of a finished shard: the job, the source it was
made from, counts, and digests of what reverting the shard must give. There is no manifest beside
the shards: resuming, verifying and refusing to overwrite all read the record.

A record comes from a file that anyone may have changed, so parsing it believes nothing: each
field is checked, and the entry as a whole against its own checksum.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from delaytool.errors import DataError, RecipeError
from delaytool.recipe import Recipe, Stream

ENTRY = "delaytool"
"""The key of the record in a shard's key-value metadata."""
FORMAT = 1
MAX_ENTRY = 64 << 20
"""Bytes of an entry that are still parsed; a schema of 4096 columns takes about one."""

Layout = Literal["list", "codebook"]
LAYOUTS = ("list", "codebook")


@dataclass(frozen=True)
class Column:
    """A column of tokens: which of the recipe's streams it holds, and how.

    first, count: the streams first ... first + count - 1 of the recipe
    layout:       "list" [T] of one stream, "codebook" [count][T]
    weights:      name of the column of their loss weights, if they are written
    """

    name: str
    first: int
    count: int
    layout: Layout
    weights: str | None

    def streams(self, recipe: Recipe) -> tuple[Stream, ...]:
        """The streams this column holds."""
        return recipe.streams[self.first : self.first + self.count]


@dataclass(frozen=True)
class Job:
    """What is to be done to every shard of a dataset.

    key: column that names a row in messages; it decides no byte of the tokens, so two jobs that
         differ in it alone are equal
    """

    recipe: Recipe
    columns: tuple[Column, ...]
    key: str | None = dataclasses.field(default=None, compare=False)

    def __post_init__(self) -> None:
        held = [number for c in self.columns for number in range(c.first, c.first + c.count)]
        if held != list(range(len(self.recipe.streams))):
            raise RecipeError("the columns do not hold each of the recipe's streams once, in order")
        names = [c.name for c in self.columns] + [c.weights for c in self.columns if c.weights]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise RecipeError(f"the column {twice!r} is named twice")
        if any(c.layout == "list" and c.count != 1 for c in self.columns):
            raise RecipeError("a column of layout list holds more than one stream")

    def to_dict(self) -> dict[str, Any]:
        """Every field, with JSON's types."""
        return {
            "recipe": self.recipe.to_dict(),
            "columns": [dataclasses.asdict(column) for column in self.columns],
            "key": self.key,
        }


def make_job(
    recipe: Recipe,
    *,
    text_column: str = "text_tokens",
    audio_column: str = "audio_codes",
    weights: bool = True,
    key: str | None = None,
) -> Job:
    """A job on a text column and a column of codes; a recipe without text has no text column."""
    columns = []
    if recipe.has_text:
        name = "text_loss_weights" if weights else None
        columns.append(Column(text_column, 0, 1, "list", name))
    if recipe.n_q:
        name = "audio_loss_weights" if weights else None
        columns.append(Column(audio_column, int(recipe.has_text), recipe.n_q, "codebook", name))
    return Job(recipe, tuple(columns), key)


@dataclass(frozen=True)
class Source:
    """What a shard was made from: its size in bytes, its footer's sha256, its Arrow schema.

    schema: the IPC message of the schema, base64
    """

    size: int
    footer: str
    schema: str


@dataclass(frozen=True)
class Counts:
    """What went in and came out; `lost` counts the tokens that truncation cut off."""

    rows_in: int
    rows_out: int
    frames: int
    tokens: int
    lost: int


@dataclass(frozen=True)
class Digests:
    """What reverting the shard must give: a digest of each column, and of the schema."""

    columns: Mapping[str, str]
    schema: str


@dataclass(frozen=True)
class Record:
    """What a finished shard says of itself."""

    version: str
    job: Job
    source: Source
    counts: Counts
    digests: Digests

    def to_json(self) -> str:
        """The entry, its checksum last."""
        fields: dict[str, Any] = {"format": FORMAT, "version": self.version, **self.job.to_dict()}
        for name in ("source", "counts", "digests"):
            fields[name] = dataclasses.asdict(getattr(self, name))
        return _dump({**fields, "checksum": _checksum(fields)})

    @classmethod
    def from_json(cls, text: bytes) -> Record:
        """Parse an entry; raises DataError that says what is wrong with it."""
        if len(text) > MAX_ENTRY:
            raise _bad(f"has {len(text)} bytes, expected at most {MAX_ENTRY}")
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError):
            raise _bad("is not JSON") from None
        if not isinstance(fields, dict):
            raise _bad("is not a JSON object")
        if fields.get("format") != FORMAT:
            raise _bad(
                f"has the format {fields.get('format')!r}, this version of delaytool reads {FORMAT}"
            )
        checksum = fields.pop("checksum", None)
        if checksum != _checksum(fields):
            raise _bad("does not match its own checksum")
        try:
            return cls(
                version=_text(fields["version"]),
                job=Job(
                    recipe=Recipe.from_dict(fields["recipe"]),
                    columns=tuple(_column(column) for column in fields["columns"]),
                    key=None if fields["key"] is None else _text(fields["key"]),
                ),
                source=Source(
                    size=_count(fields["source"]["size"]),
                    footer=_text(fields["source"]["footer"]),
                    schema=_text(fields["source"]["schema"]),
                ),
                counts=Counts(
                    **{
                        field.name: _count(fields["counts"][field.name])
                        for field in dataclasses.fields(Counts)
                    }
                ),
                digests=Digests(
                    columns={
                        _text(name): _text(digest)
                        for name, digest in fields["digests"]["columns"].items()
                    },
                    schema=_text(fields["digests"]["schema"]),
                ),
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise _bad(f"cannot be: {type(error).__name__}: {error}") from None


def _bad(what: str) -> DataError:
    return DataError(f"the {ENTRY} entry in the footer {what}", advice="make the shard anew")


def _dump(fields: Mapping[str, Any]) -> str:
    return json.dumps(fields, ensure_ascii=True, separators=(",", ":"), allow_nan=False)


def _checksum(fields: Mapping[str, Any]) -> str:
    try:
        return hashlib.sha256(_dump(fields).encode()).hexdigest()
    except (ValueError, RecursionError):
        return ""


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.60} is not a string")
    return value


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise TypeError(f"{value!r:.60} is not a count")
    return value


def _column(fields: object) -> Column:
    if not isinstance(fields, dict):
        raise TypeError(f"{fields!r:.60} is not a column")
    layout = fields["layout"]
    if layout not in LAYOUTS:
        raise TypeError(f"{layout!r:.60} is not a layout")
    weights = fields["weights"]
    return Column(
        name=_text(fields["name"]),
        first=_count(fields["first"]),
        count=_count(fields["count"]),
        layout=layout,
        weights=None if weights is None else _text(weights),
    )
