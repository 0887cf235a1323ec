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
from delaytool.pattern.flat import taken
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
        codes = cls(np.ascontiguousarray(grid).reshape(-1), lengths, len(grid), True)
        return codes.part(0, len(grid), by_stream)

    def grid(self) -> Array:
        """The same as [streams, timesteps of all rows]."""
        flat = self.part(0, self.streams, True).flat
        return flat.reshape(self.streams, int(self.lengths.sum()))

    def with_flat(self, flat: Array) -> Codes:
        """Other values of the same cells."""
        return dataclasses.replace(self, flat=flat)

    def part(self, first: int, count: int, by_stream: bool | None = None) -> Codes:
        """Some of the streams; in the order of these codes where no other is asked for."""
        by_stream = self.by_stream if by_stream is None else by_stream
        return streams_of([(self, first + number) for number in range(count)], by_stream)

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
    def is_grid(self) -> bool:
        """Whether the flat array is that of the grid."""
        return self.by_stream or self.streams == 1

    def runs(self, stream: int) -> Index:
        """Which of the array's runs are those of a stream: of its first row, its second, ..."""
        rows = np.arange(len(self.lengths), dtype=np.int64)
        return rows + stream * len(rows) if self.is_grid else rows * self.streams + stream

    def sizes(self) -> Index:
        """How long each run of the array is: one stream in one row."""
        if self.is_grid:
            return np.tile(self.lengths, self.streams)
        return np.repeat(self.lengths, self.streams)


def streams_of(sources: Sequence[tuple[Codes, int]], by_stream: bool) -> Codes:
    """Some streams of codes of the same rows as one flat array, of the type common to them.

    sources: for each stream its codes, and which of their streams it is
    """
    codes, first = sources[0]
    lengths, count = codes.lengths, len(sources)
    made = dict.fromkeys(each for each, _ in sources)
    if len(made) == 1 and [number for _, number in sources] == [*range(first, first + count)]:
        size = int(lengths.sum())
        if codes.is_grid and (by_stream or count == 1):
            return Codes(
                codes.flat[first * size : (first + count) * size], lengths, count, by_stream
            )
        if not (codes.is_grid or by_stream) and count == codes.streams:
            return codes
    dtype = common_type([each.flat.dtype for each in made])
    sizes = [each.sizes() for each in made]
    starts = np.cumsum([0, *map(len, sizes[:-1])])
    runs_before = dict(zip(made, starts.tolist(), strict=True))
    order = np.stack([runs_before[each] + each.runs(number) for each, number in sources])
    flats = [each.flat.astype(dtype, copy=False) for each in made]
    flat = taken(
        np.concatenate(flats) if flats[1:] else np.ascontiguousarray(flats[0]),
        np.concatenate(sizes),
        (order if by_stream else order.T).reshape(-1),
    )
    return Codes(flat, lengths, count, by_stream)


@dataclass(frozen=True, eq=False)
class TokenBatch:
    """The tokens of a few rows, all streams of a recipe: those of each column."""

    columns: tuple[Codes, ...]

    @property
    def lengths(self) -> Index:
        """Timesteps of each row; those of the audio, where text has others."""
        return self.columns[-1].lengths

    def streams(self, numbers: Sequence[int], wanted: Sequence[int], by_stream: bool) -> Codes:
        """Some streams of the recipe.

        numbers: which of the recipe's streams the columns hold, in their order
        wanted:  which ones, in this order
        """
        every = [(codes, k) for codes in self.columns for k in range(codes.streams)]
        by_number = dict(zip(numbers, every, strict=True))
        return streams_of([by_number[number] for number in wanted], by_stream)

    def grid(self, numbers: Sequence[int]) -> Array:
        """All columns as one array [K, timesteps of all rows], in the order of the recipe."""
        return self.streams(numbers, sorted(numbers), True).grid()


def lines_of(grid: Array, numbers: Sequence[int]) -> Array:
    """Some lines of a grid; as a view where they follow one another."""
    first, count = numbers[0], len(numbers)
    if list(numbers) == list(range(first, first + count)):
        return grid[first : first + count]
    return grid[list(numbers)]
