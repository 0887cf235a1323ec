"""What a column of tokens holds, and in which order: `Column`, `Output` and their layouts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from delaytool.batches.types import depth_of
from delaytool.errors import DataError, Place
from delaytool.recipes.recipe import Recipe, Stream

Layout = Literal["list", "codebook", "frame", "flat-codebook", "flat-frame"]
LAYOUTS = ("list", "codebook", "frame", "flat-codebook", "flat-frame")


@dataclass(frozen=True)
class Column:
    """A column of a source that holds tokens: which of the recipe's streams, and how.

    first, count: the streams first ... first + count - 1 of the recipe
    layout:       "list" [T] of one stream; n codebooks as "codebook" [n][T], "frame" [T][n], or as
                  one list, "flat-codebook" with T tokens of each in turn or "flat-frame" with n of
                  each frame
    size:         n, how many codebooks the column holds; all but `count` of them, from `start` on,
                  are none of the recipe's streams
    """

    name: str
    first: int
    count: int
    layout: Layout
    size: int
    start: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether every codebook of the column is one of the recipe's streams."""
        return self.size == self.count

    def streams(self, recipe: Recipe) -> tuple[Stream, ...]:
        """The streams this column holds."""
        return recipe.streams[self.first : self.first + self.count]


@dataclass(frozen=True)
class Output:
    """A column of shifted tokens, and the names of those of their loss weights and labels."""

    name: str
    first: int
    count: int
    layout: Layout
    weights: str | None = None
    labels: str | None = None

    def streams(self, recipe: Recipe) -> tuple[Stream, ...]:
        """The streams this column holds."""
        return recipe.streams[self.first : self.first + self.count]


def is_by_stream(layout: Layout) -> bool:
    """Whether tokens of this layout become flat arrays stream after stream, not row after row."""
    return layout in ("frame", "flat-frame")


SHAPES = {
    "list": (1, "list<integer> [T], one token a frame"),
    "codebook": (2, "list<list<integer>> [n_q][T], codebook-major"),
    "frame": (2, "list<list<integer>> [T][n_q], frame-major"),
    "flat-codebook": (1, "list<integer>, n_q times T tokens"),
    "flat-frame": (1, "list<integer>, T times n_q tokens"),
}


def check_column_type(field: pa.Field, layout: Layout) -> None:
    """Raise DataError unless a column of this type can hold tokens in this layout."""
    depth, leaf = depth_of(field.type)
    wanted, shape = SHAPES[layout]
    if depth != wanted or not pa.types.is_integer(leaf):
        raise DataError(
            "column-type",
            f"has the type {field.type}",
            expected=shape,
            advice="name another column or another --audio-layout, or store the tokens like this",
            place=Place(column=field.name),
        )


AUTO_LAYOUTS: dict[int, tuple[Layout, ...]] = {
    1: ("list", "flat-codebook", "flat-frame"),
    2: ("codebook", "frame"),
}
NAMES = {
    "list": "one token a frame, [T]",
    "codebook": "codebook-major, [{n}][T]",
    "frame": "frame-major, [T][{n}]",
    "flat-codebook": "one list, codebook after codebook, {n} times T",
    "flat-frame": "one list, frame after frame, T times {n}",
}


def codebooks_of(row: Any, column: Column) -> list[Any]:
    """A row of Python lists as one list for each codebook, whatever its layout."""
    if column.layout == "codebook":
        return list(row)
    if column.layout == "frame":
        return [list(book) for book in zip(*row, strict=False)]
    size = column.size
    if column.layout == "flat-frame":
        return [row[q::size] for q in range(size)]
    frames = len(row) // size
    return [row[q * frames : (q + 1) * frames] for q in range(size)]
