"""The five layouts, and the columns that have one: `Column`, `Output`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from delaytool.batches.fields import names_of_tokens
from delaytool.batches.nesting import Codebooks, Flat, Frames, Layout, OneList
from delaytool.batches.types import are_words, depth_of, is_tensor, type_name
from delaytool.batches.unwrapping import tensor_shape
from delaytool.errors import DataError, Place
from delaytool.recipes.recipe import Recipe, Stream

LIST = OneList("list", 1, "[T]", "one token a frame")
CODEBOOK = Codebooks("codebook", 2, "[n_q][T]", "codebook-major", codebook_axis=0)
FRAME = Frames("frame", 2, "[T][n_q]", "frame-major", by_stream=True, codebook_axis=1)
FLAT_CODEBOOK = Flat("flat-codebook", 1, "n_q times T", "one list, codebook after codebook")
FLAT_FRAME = Flat("flat-frame", 1, "T times n_q", "one list, frame after frame", by_stream=True)

LAYOUTS: dict[str, Layout] = {
    layout.name: layout for layout in (LIST, CODEBOOK, FRAME, FLAT_CODEBOOK, FLAT_FRAME)
}


@dataclass(frozen=True)
class Column:
    """A column of a source that holds tokens: which of the recipe's streams, and how.

    numbers: which of the recipe's streams, in the column's order
    size:    how many codebooks the column holds; all but as many as there are streams, from `start`
             on, are none of them
    bases:   what was added to the codes of each stream, in a vocabulary that all of them share;
             none where nothing was
    """

    name: str
    numbers: tuple[int, ...]
    layout: Layout
    size: int
    start: int = 0
    bases: tuple[int, ...] = ()

    @property
    def count(self) -> int:
        """How many of the recipe's streams the column holds."""
        return len(self.numbers)

    @property
    def is_whole(self) -> bool:
        """Whether every codebook of the column is one of the recipe's streams."""
        return self.size == self.count

    def streams(self, recipe: Recipe) -> tuple[Stream, ...]:
        """The streams this column holds."""
        return tuple(recipe.streams[number] for number in self.numbers)

    def to_dict(self) -> dict[str, Any]:
        """Every field, with JSON's types."""
        return {**vars(self), "layout": self.layout.name}


@dataclass(frozen=True)
class Output:
    """A column of shifted tokens, and the names of those of their loss weights and labels.

    numbers: which of the recipe's streams, in the column's order
    """

    name: str
    numbers: tuple[int, ...]
    layout: Layout
    weights: str | None = None
    labels: str | None = None

    @property
    def count(self) -> int:
        """How many of the recipe's streams the column holds."""
        return len(self.numbers)

    def streams(self, recipe: Recipe) -> tuple[Stream, ...]:
        """The streams this column holds."""
        return tuple(recipe.streams[number] for number in self.numbers)

    def to_dict(self) -> dict[str, Any]:
        """Every field, with JSON's types."""
        return {**vars(self), "layout": self.layout.name}


def check_column_type(field: pa.Field, layout: Layout) -> None:
    """Raise DataError unless a column of this type can hold tokens in this layout."""
    depth, leaf = depth_of(field.type)
    fits = depth == layout.depth or depth > layout.depth == CODEBOOK.depth
    if is_tensor(field.type) and fits:
        fits = set(tensor_shape(field.type)[: depth - layout.depth]) <= {1}
    if not fits or not pa.types.is_integer(leaf):
        advice = "name another column or another `audio_layout`, or store the tokens like this"
        if inside := names_of_tokens(field):
            advice = f"name a field of it: {' or '.join(inside)}"
        if layout == LIST and are_words(field.type):
            advice = (
                "make tokens of the words first, one for each frame: delaytool align does it, by "
                "their times"
            )
        raise DataError(
            "column-type",
            f"has the type {type_name(field.type) if is_tensor(field.type) else field.type}",
            expected=layout.expected,
            advice=advice,
            place=Place(column=field.name),
        )
