"""Where the delay pattern moves tokens: the heart of delaytool, read it first.

A stream of T tokens that is delayed by d frames, where D is the largest delay of all streams,
becomes a row of cells in four *pieces*:

    piece     cells                                with `length` truncate    each cell holds
    INITIAL   d, 1 more with an initial step       min(d, T), 1 more ...     the initial token
    KEPT      T                                    max(T - d, 0)             a token of the stream
    FINAL     the first trailing cell, if any      the same                  the final token
    PADDING   the other trailing cells             the same                  the padding token
    trailing  D - d, 1 more with a final step      0, 1 more ...

Delays 0, 1, 3 and T = 3, with initial token I, final token F and padding token P:

    a b c F P P         3 kept, 1 final, 2 padding
    I d e f F P         1 initial, 3 kept, 1 final, 1 padding
    I I I g h i         3 initial, 3 kept

The cells that hold no token of the stream are called *filled*: all but those of KEPT.

There are two forms of everything. Arrays `[..., K, T]` are for people: `delay`, `undelay`. Flat
arrays are for whole batches of rows of different lengths: the tokens of some streams, row after row
or stream after stream, with one length for each row. A run of one stream in one row is a *segment*.
The flat form has no Python loop over rows or timesteps, and the first form is built on it.

Source of the pattern: MusicGen (Copet et al. 2023, section 2.2), Moshi (Defossez et al. 2024,
section 3.4.4); the token ids are those of moshi/models/lm_utils.py and its like.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from delaytool.recipes.recipe import Recipe, Stream

Array = npt.NDArray[Any]
Index = npt.NDArray[np.int64]
INITIAL, KEPT, FINAL, PADDING = range(4)
"""The pieces of a segment, in their order: the columns of `Segments.pieces`."""
FILLED = [INITIAL, FINAL, PADDING]
"""The filled pieces, in the order of `Stream.fills` and of the columns of a table of fills."""


@dataclass(frozen=True)
class Segments:
    """Rows of some of a recipe's streams, and where the pattern moves them.

    recipe:    the whole recipe, whose largest delay sets the length
    lengths:   frames of each row, before the shift
    streams:   the recipe's streams that the flat array holds, in order
    by_stream: whether the flat array has all rows of its first stream, then all of the second, and
               so on; else all streams of the first row, then of the second
    """

    recipe: Recipe
    lengths: Index
    streams: tuple[Stream, ...]
    by_stream: bool = False

    @functools.cached_property
    def steps(self) -> Index:
        """Timesteps of each row, after the shift."""
        return self.lengths + self.recipe.steps(0)

    @property
    def source_size(self) -> int:
        """Tokens in the flat array before the shift."""
        return int(self.lengths.sum()) * len(self.streams)

    @property
    def shifted_size(self) -> int:
        """Cells in the flat array after the shift."""
        return int(self.steps.sum()) * len(self.streams)

    def of_rows(self, values: Array) -> Array:
        """A value of each row as one of each segment.

        Two streams, [7, 8] -> [7, 7, 8, 8]; by stream [7, 8, 7, 8]
        """
        k = len(self.streams)
        return np.tile(values, k) if self.by_stream else np.repeat(values, k)

    def of_streams(self, values: npt.ArrayLike) -> Array:
        """A value of each stream as one of each segment.

        Two rows, [7, 8] -> [7, 8, 7, 8]; by stream [7, 7, 8, 8]
        """
        rows = len(self.lengths)
        return np.repeat(values, rows) if self.by_stream else np.tile(values, rows)

    @functools.cached_property
    def numbers(self) -> Index:
        """Which of the streams each segment is of."""
        return self.of_streams(np.arange(len(self.streams), dtype=np.int64))

    @functools.cached_property
    def _delays(self) -> Index:
        """The delay of each segment, in frames."""
        return self.of_streams(np.array([s.delay for s in self.streams], dtype=np.int64))

    @functools.cached_property
    def pieces(self) -> Index:
        """Numbers of cells of each segment's pieces after the shift: int64 [segments, 4].

        Delays 0, 1, 3 and a row of 3 frames -> [[0, 3, 1, 2], [1, 3, 1, 1], [3, 3, 0, 0]]
        """
        recipe, delays = self.recipe, self._delays
        frames, steps = self.of_rows(self.lengths), self.of_rows(self.steps)
        if recipe.length == "extend":
            initial, kept = recipe.initial_step + delays, frames
        else:
            initial = recipe.initial_step + np.minimum(delays, frames)
            kept = np.maximum(frames - delays, 0)
        trailing = steps - initial - kept
        final = np.minimum(trailing, 1)
        return np.stack([initial, kept, final, trailing - final], axis=1)

    @functools.cached_property
    def filled(self) -> Index:
        """Where the filled cells are in the flat shifted array, in order.

        a b F, I c d -> [2, 3]
        """
        kept = self.pieces[:, KEPT]
        ends = np.cumsum(kept)
        # Before a filled cell come all filled cells before it, and all tokens before it.
        tokens_before = np.stack([ends - kept, ends, ends], axis=1)
        counts = self.pieces[:, FILLED].ravel()
        filled: Index = np.arange(int(counts.sum())) + np.repeat(tokens_before.ravel(), counts)
        return filled

    def cells_of(self, number: int) -> slice | Index:
        """Where the cells of one of the streams are in the flat shifted array."""
        if self.by_stream:
            steps = int(self.steps.sum())
            return slice(number * steps, (number + 1) * steps)
        if len(self.streams) == 1:
            return slice(None)
        # Of each row, where the stream begins in it, as against all cells of the stream so far.
        so_far = np.cumsum(self.steps) - self.steps
        starts = so_far * len(self.streams) + number * self.steps
        cells: Index = np.arange(int(self.steps.sum())) + np.repeat(starts - so_far, self.steps)
        return cells

    def of_filled(self, table: Array) -> Array:
        """The entry of a table [streams, 3], in the order of FILLED, for each filled cell."""
        return np.repeat(self._of_segments(table), self.pieces[:, FILLED].ravel())

    def of_cells(self, table: Array) -> Array:
        """The entry of a table [streams, 4], in the order of the pieces, for each cell."""
        return np.repeat(self._of_segments(table), self.pieces.ravel())

    def _of_segments(self, table: Array) -> Array:
        """A table with a line for each stream as one with a line for each segment, flat."""
        rows = len(self.lengths)
        lines = np.repeat(table, rows, axis=0) if self.by_stream else np.tile(table, (rows, 1))
        return lines.ravel()

    def is_filled(self) -> npt.NDArray[np.bool_]:
        """True where the flat shifted array is filled."""
        is_filled = np.array([piece in FILLED for piece in range(4)])
        return self.of_cells(np.tile(is_filled, (len(self.streams), 1)))

    def lost(self) -> npt.NDArray[np.bool_] | None:
        """True where the pattern cuts a token of the source off; None where it cuts nothing.

        Truncate, delays 0, 1 and 2 frames: a b, c d -> a b, I c: [False, False, False, True]
        """
        if self.recipe.length == "extend" or not any(stream.delay for stream in self.streams):
            return None
        lengths = self.of_rows(self.lengths)
        lost = np.minimum(self._delays, lengths)
        mask = np.zeros(self.source_size, dtype=bool)
        ends = np.cumsum(lengths)
        # A row's end minus 1 ... lost: as many positions as are lost, counted within each segment.
        within = np.arange(int(lost.sum())) - np.repeat(np.cumsum(lost) - lost, lost)
        mask[np.repeat(ends, lost) - 1 - within] = True
        return mask

    @functools.cached_property
    def totals(self) -> Index:
        """The `pieces` of all rows, [streams, 4]."""
        rows, k = len(self.lengths), len(self.streams)
        shape = (k, rows, 4) if self.by_stream else (rows, k, 4)
        totals: Index = self.pieces.reshape(shape).sum(axis=1 if self.by_stream else 0)
        return totals

    def token_table(self) -> npt.NDArray[np.int64]:
        """The fill tokens of each stream, [streams, 3], in the order of FILLED."""
        return np.array([stream.fills for stream in self.streams], dtype=np.int64).reshape(-1, 3)
