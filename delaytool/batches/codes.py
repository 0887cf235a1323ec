"""Flat tokens of a batch's rows: `Codes`, from rows to streams and back.

Row after row, [[1, 2], [3, 4]] and [[5], [6]] are the flat array [1, 2, 3, 4, 5, 6]; stream after
stream they are [1, 2, 5, 3, 4, 6]. Which of the two is quicker to make depends on how a column is
stored, and the delay pattern takes both.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from delaytool.batches.types import common_type
from delaytool.pattern.segments import Array, Index


@dataclass(frozen=True, eq=False)
class Codes:
    """Tokens of some streams (or weights, labels, factors, a mask), as one flat array.

    lengths:   timesteps of each row, int64
    streams:   how many streams each row has
    by_stream: whether the array has all rows of its first stream, then all of the second, and so
               on; else all streams of the first row, then of the second
    """

    flat: Array
    lengths: Index
    streams: int = 1
    by_stream: bool = False

    @classmethod
    def of_grid(cls, grid: Array, lengths: Index, by_stream: bool = True) -> Codes:
        """The flat form of [streams, timesteps of all rows]."""
        codes = cls(np.ascontiguousarray(grid).reshape(-1), lengths, len(grid), by_stream)
        if codes._is_grid:
            return codes
        flat = np.empty_like(codes.flat)
        flat[codes._order()] = codes.flat
        return codes.with_flat(flat)

    def grid(self) -> Array:
        """The same as [streams, timesteps of all rows]."""
        flat = self.flat if self._is_grid else self.flat[self._order()]
        return flat.reshape(self.streams, int(self.lengths.sum()))

    def with_flat(self, flat: Array) -> Codes:
        """Other values of the same cells."""
        return dataclasses.replace(self, flat=flat)

    def part(self, first: int, count: int) -> Codes:
        """Some of the streams."""
        if count == self.streams:
            return self
        return Codes.of_grid(self.grid()[first : first + count], self.lengths, self.by_stream)

    def resized(self, lengths: Index, padding: int, dtype: Any) -> Codes:
        """One stream with other lengths: rows are cut, or padded at their end."""
        out = np.full(int(lengths.sum()), padding, dtype=dtype)
        both = np.minimum(self.lengths, lengths)
        cells = np.arange(int(both.sum())) - np.repeat(np.cumsum(both) - both, both)
        take = cells + np.repeat(np.cumsum(self.lengths) - self.lengths, both)
        out[cells + np.repeat(np.cumsum(lengths) - lengths, both)] = self.flat[take]
        return dataclasses.replace(self, flat=out, lengths=lengths)

    def place(self, position: int) -> tuple[int, int, int]:
        """Row, stream number and timestep of a position in the flat array.

        4, lengths [1, 3], 2 streams -> (1, 0, 2); by stream: (0, 1, 0)
        """
        return self.first_places(np.array([position]))[0][1:]

    def first_places(self, positions: Index) -> list[tuple[int, int, int, int]]:
        """The first of the positions in each row, with its `place`; they have to be in order."""
        lengths, streams = self.lengths, self.streams
        numbers, within = np.zeros_like(positions), positions
        if self.by_stream:
            numbers, within = np.divmod(positions, int(lengths.sum()))
            streams = 1
        ends = np.cumsum(lengths) * streams
        rows, firsts = np.unique(np.searchsorted(ends, within, side="right"), return_index=True)
        starts = (ends - lengths * streams)[rows]
        more, timesteps = np.divmod(within[firsts] - starts, lengths[rows])
        places = (positions[firsts], rows, numbers[firsts] + more, timesteps)
        return list(zip(*(part.tolist() for part in places), strict=True))

    @property
    def _is_grid(self) -> bool:
        """Whether the flat array is that of the grid."""
        return self.by_stream or self.streams == 1

    def _order(self) -> Index:
        """For each cell in stream, row order its position in row, stream order."""
        starts = (np.cumsum(self.lengths) - self.lengths) * self.streams
        segments = starts + self.lengths * np.arange(self.streams, dtype=np.int64)[:, None]
        sizes = np.tile(self.lengths, self.streams)
        here = np.cumsum(sizes) - sizes
        order: Index = np.arange(int(sizes.sum())) + np.repeat(segments.reshape(-1) - here, sizes)
        return order


@dataclass(frozen=True, eq=False)
class TokenBatch:
    """The tokens of a few rows, all streams of a recipe: those of each column."""

    columns: tuple[Codes, ...]

    @property
    def lengths(self) -> Index:
        """Timesteps of each row; those of the audio, where text has others."""
        return self.columns[-1].lengths

    def grid(self, numbers: Sequence[int]) -> Array:
        """All columns as one array [K, timesteps of all rows], in the order of the recipe.

        numbers: which streams of it the columns hold, in theirs
        """
        dtype = common_type([codes.flat.dtype for codes in self.columns])
        grid = np.concatenate([codes.grid().astype(dtype, copy=False) for codes in self.columns])
        return lines_of(grid, np.argsort(numbers).tolist())


def lines_of(grid: Array, numbers: Sequence[int]) -> Array:
    """Some lines of a grid; as a view where they follow one another."""
    first, count = numbers[0], len(numbers)
    if list(numbers) == list(range(first, first + count)):
        return grid[first : first + count]
    return grid[list(numbers)]
