"""How tokens are nested in the lists of a column: from Arrow to `Codes` and back.

Frame-major lists become codes stream after stream, which is one transposition of all rows; the
others keep their order. Slices, offsets and data behind null slots are Arrow's affair: `flatten`
and the length kernels take care of them, buffers are not touched here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from delaytool.batches.codes import Codes
from delaytool.batches.types import (
    depth_of,
    list_lengths,
    lists_of,
    null_positions,
    with_list_sizes,
)
from delaytool.batches.unwrapping import REPAIR, inner_type, unwrapped, wrapped
from delaytool.errors import DataError
from delaytool.pattern.segments import Array, Index


def numbered(count: Any, noun: str) -> str:
    """A number and what it counts: 1 frame, 2 frames."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


@dataclass(frozen=True)
class Layout(ABC):
    """One way to keep n_q streams of T tokens in a row of lists.

    depth:         how deep the lists are nested
    axes:          what they hold, from the outermost on
    words:         the layout in words
    by_stream:     whether its codes are flat stream after stream, not row after row
    codebook_axis: which of the nested lists has an entry for each codebook, if one has
    """

    name: str
    depth: int
    axes: str
    words: str
    by_stream: bool = False
    codebook_axis: int | None = None

    def __str__(self) -> str:
        return self.name

    @property
    def expected(self) -> str:
        """The type of a column and what is in it, for messages."""
        return f"list<list<integer>> {self.axes}, {self.words}"

    def describe(self, n_q: int) -> str:
        """The layout of so many codebooks in words: codebook-major, [8][T]"""
        return f"{self.words}, {self.axes.replace('n_q', str(n_q))}"

    @abstractmethod
    def codebooks(self, row: list[Any], size: int) -> list[list[Any]]:
        """A row of Python lists as one list for each of its `size` codebooks."""

    @abstractmethod
    def frames(self, row: list[Any], size: int) -> int:
        """How many frames a row of Python lists has, which may hold anything."""

    @abstractmethod
    def shape(
        self, outer: int, inner: int | None, frames: int | None, n_q: int | None
    ) -> tuple[int, int] | None:
        """Codebooks and frames of a row in this layout; None where the row cannot be in it.

        outer, inner: how long the row's list is, and the lists in it, if they are all alike
        frames, n_q:  as many as there should be, where that is known
        """

    @abstractmethod
    def _unnest(
        self, lists: pa.Array, lengths: Index, names: Sequence[str]
    ) -> tuple[pa.Array, Index, list[DataError]]:
        """Values, timesteps of each row and what is wrong, from what is in the rows' lists.

        lengths: of the rows' lists; names: of the codebooks. Where something is wrong, the values
        and timesteps mean nothing.
        """

    @abstractmethod
    def _nest(self, values: pa.Array, codes: Codes, kind: pa.DataType) -> pa.Array:
        """Values in Arrow's order as a column of these codes."""

    def read(self, array: pa.Array, names: Sequence[str]) -> tuple[Codes | None, list[DataError]]:
        """The codes of a column; None where a row is bad, with errors that say which and why.

        names: of the codebooks that every row must have
        """
        array, errors = unwrapped(array, self.depth)
        if errors:
            return None, errors
        errors = [_null("row", row) for row in null_positions(array)]
        values, lengths, more = self._unnest(array.flatten(), list_lengths(array), names)
        errors += more
        if not errors:
            errors += self._null_tokens(values, lengths, names)
        if errors:
            return None, errors
        # Of booleans, which a mask of weights may be, Arrow has eight in a byte.
        flat = values.to_numpy(zero_copy_only=not pa.types.is_boolean(values.type))
        if self.by_stream:
            # All frames below one another, transposed: each codebook's frames of all rows in turn.
            flat = np.ascontiguousarray(flat.reshape(-1, len(names)).T).reshape(-1)
        return Codes(flat, lengths, len(names), self.by_stream), []

    def _null_tokens(
        self, values: pa.Array, lengths: Index, names: Sequence[str]
    ) -> list[DataError]:
        size, ends = len(names), np.cumsum(lengths) * len(names)
        errors = []
        for position in null_positions(values):
            row = int(np.searchsorted(ends, position, side="right"))
            within = position - int(ends[row] - lengths[row] * size)
            number, timestep = divmod(within, int(lengths[row]))
            if self.by_stream:
                timestep, number = divmod(within, size)
            error = DataError("null", "a null token", expected="a number", advice=REPAIR)
            errors.append(error.at(row=row, stream=names[number] or None, timestep=timestep))
        return errors

    def write(self, codes: Codes, kind: pa.DataType, lost: Codes | None = None) -> pa.Array:
        """Codes as a column.

        kind: the column's type, whose lists fit the layout
        lost: True where the column gets a null, of the same cells
        """
        mask = None if lost is None else self._in_arrows_order(lost)
        values = pa.array(self._in_arrows_order(codes), mask=mask)
        array = self._nest(values, codes, inner_type(kind, self.depth))
        return wrapped(array, kind, self.depth)

    def _in_arrows_order(self, codes: Codes) -> Array:
        if not self.by_stream:
            return codes.flat
        return np.ascontiguousarray(codes.flat.reshape(codes.streams, -1).T).reshape(-1)

    def type_of_shifted(self, kind: pa.DataType, leaf: pa.DataType) -> pa.DataType:
        """The same lists around another leaf type, with a time axis of any length.

        What stands around them is left out.

        fixed_size_list<fixed_size_list<uint8>[4]>[8], int16, codebook
        -> fixed_size_list<list<int16>>[8]
        """
        return with_list_sizes(
            inner_type(kind, self.depth),
            leaf,
            lambda level, size: size if level == self.codebook_axis else None,
        )

    def type_of_codebooks(self, kind: pa.DataType, n_q: int) -> pa.DataType:
        """The same type for another number of codebooks."""
        return with_list_sizes(
            inner_type(kind, self.depth),
            depth_of(kind)[1],
            lambda level, size: n_q if level == self.codebook_axis else size,
        )


class Codebooks(Layout):
    """[n_q][T]: a row is a list for each codebook."""

    def codebooks(self, row: list[Any], size: int) -> list[list[Any]]:
        """The lists of the row."""
        return list(row)

    def frames(self, row: list[Any], size: int) -> int:
        """As many as the first codebook has."""
        return len(row[0] or ())

    def shape(
        self, outer: int, inner: int | None, frames: int | None, n_q: int | None
    ) -> tuple[int, int] | None:
        """A codebook for each list, a frame for each entry."""
        return None if inner is None else (outer, inner)

    def _unnest(
        self, lists: pa.Array, lengths: Index, names: Sequence[str]
    ) -> tuple[pa.Array, Index, list[DataError]]:
        rows = np.repeat(np.arange(len(lengths)), lengths)
        errors = [
            _wrong_count(int(row), lengths[row], names)
            for row in np.flatnonzero(lengths != len(names))
        ]
        for position in null_positions(lists):
            number = position - int(np.searchsorted(rows, rows[position]))
            stream = names[number] if number < len(names) else f"codebook {number}"
            errors.append(_null("codebook", int(rows[position])).at(stream=stream))
        if errors:
            return lists, lengths, errors
        frames = list_lengths(lists).reshape(-1, len(names))
        lengths = frames[:, 0].copy()
        for row, number in np.argwhere(frames != lengths[:, None]):
            error = DataError(
                "codebook-lengths",
                numbered(frames[row, number], "frame"),
                expected=f"{lengths[row]}, as many as in {names[0]}",
                advice=REPAIR,
            )
            errors.append(error.at(row=int(row), stream=names[number]))
        return lists.flatten(), lengths, errors

    def _nest(self, values: pa.Array, codes: Codes, kind: pa.DataType) -> pa.Array:
        books = lists_of(values, np.repeat(codes.lengths, codes.streams), kind.value_type)
        return lists_of(books, np.full(len(codes.lengths), codes.streams, dtype=np.int64), kind)


class Frames(Layout):
    """[T][n_q]: a row is a list for each frame."""

    def codebooks(self, row: list[Any], size: int) -> list[list[Any]]:
        """One token of each of the row's lists after the other."""
        return [list(book) for book in zip(*row, strict=False)]

    def frames(self, row: list[Any], size: int) -> int:
        """As many as the row has lists."""
        return len(row)

    def shape(
        self, outer: int, inner: int | None, frames: int | None, n_q: int | None
    ) -> tuple[int, int] | None:
        """A frame for each list, a codebook for each entry."""
        return None if inner is None else (inner, outer)

    def _unnest(
        self, lists: pa.Array, lengths: Index, names: Sequence[str]
    ) -> tuple[pa.Array, Index, list[DataError]]:
        rows = np.repeat(np.arange(len(lengths)), lengths)
        starts = np.cumsum(lengths) - lengths
        errors = [
            _null("frame", int(rows[position])).at(timestep=position - int(starts[rows[position]]))
            for position in null_positions(lists)
        ]
        if errors:
            return lists, lengths, errors
        counts = list_lengths(lists)
        for position in np.flatnonzero(counts != len(names)):
            row = int(rows[position])
            error = _wrong_count(row, counts[position], names)
            errors.append(error.at(timestep=int(position - starts[row])))
        return lists.flatten(), lengths, errors

    def _nest(self, values: pa.Array, codes: Codes, kind: pa.DataType) -> pa.Array:
        sizes = np.full(int(codes.lengths.sum()), codes.streams, dtype=np.int64)
        return lists_of(lists_of(values, sizes, kind.value_type), codes.lengths, kind)


class Flat(Layout):
    """One list of n_q times T tokens."""

    @property
    def expected(self) -> str:
        """The type of a column and what is in it, for messages."""
        return f"list<integer>, {self.axes} tokens"

    def codebooks(self, row: list[Any], size: int) -> list[list[Any]]:
        """Every n-th token of the row, or its n parts."""
        if self.by_stream:
            return [row[q::size] for q in range(size)]
        frames = len(row) // size
        return [row[q * frames : (q + 1) * frames] for q in range(size)]

    def frames(self, row: list[Any], size: int) -> int:
        """As many tokens as each codebook has."""
        return len(row) // size

    def shape(
        self, outer: int, inner: int | None, frames: int | None, n_q: int | None
    ) -> tuple[int, int] | None:
        """As many codebooks as the frames leave, else as many frames as the codebooks do."""
        if frames and outer % frames == 0:
            return outer // frames, frames
        return (n_q, outer // n_q) if n_q and outer % n_q == 0 else None

    def _unnest(
        self, lists: pa.Array, lengths: Index, names: Sequence[str]
    ) -> tuple[pa.Array, Index, list[DataError]]:
        errors = [
            DataError(
                "codebooks",
                numbered(lengths[row], "token"),
                expected=f"a multiple of {len(names)}, the number of audio streams of the recipe",
                advice="choose another `recipe`",
            ).at(row=int(row))
            for row in np.flatnonzero(lengths % len(names))
        ]
        return lists, lengths // len(names), errors

    def _nest(self, values: pa.Array, codes: Codes, kind: pa.DataType) -> pa.Array:
        return lists_of(values, codes.lengths * codes.streams, kind)


class OneList(Flat):
    """[T]: one list of the tokens of one stream."""

    @property
    def expected(self) -> str:
        """The type of a column and what is in it, for messages."""
        return f"list<integer> {self.axes}, {self.words}"

    def shape(
        self, outer: int, inner: int | None, frames: int | None, n_q: int | None
    ) -> tuple[int, int] | None:
        """One codebook, with a frame for each token."""
        return 1, outer


def _null(noun: str, row: int) -> DataError:
    error = DataError("null", f"a null {noun}", expected="no nulls", advice=REPAIR)
    return error.at(row=row)


def _wrong_count(row: int, count: int, names: Sequence[str]) -> DataError:
    error = DataError(
        "codebooks",
        numbered(count, "codebook"),
        expected=f"{len(names)}, one for each audio stream of the recipe",
        advice="choose another `recipe` or `audio_layout`",
    )
    return error.at(row=row)
