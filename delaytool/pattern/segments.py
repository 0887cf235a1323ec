"""Where the delay pattern moves tokens: the heart of delaytool, read it first.

A stream of T tokens becomes a row of cells in seven *pieces*, in this order; d is its delay and D
the largest of all streams:

    piece    cells                                              each cell holds
    INITIAL  d, and 1 more with an initial step                 the initial token
    LEAD     those that an offset puts in front of the tokens   the lead token
    KEPT     T, without what is cut off                         a token of the stream
    TRAIL    those that an offset puts after the tokens         the trail token
    FINAL    the first trailing cell, if there is any           the final token
    PADDING  the other trailing cells                           the padding token
    LAST     the last of two or more trailing cells             the last token

The *content* of a stream is what lies between INITIAL and FINAL: token t of the stream is at frame
t + its offset of the content. With `offset_length` extend the content runs from the smallest offset
or 0 to T + the largest offset or 0, with truncate from 0 to T. With `length` truncate a delay of d
cuts the last d frames of the content off, or all of it where it has fewer; with extend D - d
trailing cells follow it. A final step is one more trailing cell.

Delays 0, 1, 3 and T = 3, with initial token I, final token F, padding and last token P; and offsets
0, 2, -1 with lead token L and trail token R, no delays, `offset_length` extend and truncate:

    a b c F P P         L a b c R R          a b c
    I d e f F P         L L L d e f          L L d
    I I I g h i         g h i R R R          h i R

The cells that hold no token of the stream are called *filled*: all but those of KEPT.

There are two forms of everything. Arrays `[..., K, T]` are for people: `delay`, `undelay`. Flat
arrays are for whole batches of rows of different lengths: the tokens of some streams, row after row
or stream after stream, with one length for each row. A run of one stream in one row is a *segment*.
The flat form has no Python loop over rows or timesteps, and the first form is built on it.

Source of the pattern: MusicGen (Copet et al. 2023, section 2.2), Moshi (Defossez et al. 2024,
section 3.4.4); the token ids are those of moshi/models/lm_utils.py and its like. Offsets: Kyutai's
TTS and STT, whose text and audio are apart by 1.28 s, 0.5 s or 2.5 s.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from delaytool.recipes.recipe import Recipe
from delaytool.recipes.stream import KEPT, LAST, LEAD, TRAIL, Stream

OFFSET = (LEAD, TRAIL)
"""The pieces that an offset fills; all other filled ones are a delay's."""
Array = npt.NDArray[Any]
Index = npt.NDArray[np.int64]


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
        return _tiled(values, k) if self.by_stream else np.repeat(values, k)

    def of_streams(self, values: Array) -> Array:
        """A value of each stream as one of each segment.

        Two rows, [7, 8] -> [7, 8, 7, 8]; by stream [7, 7, 8, 8]
        """
        rows = len(self.lengths)
        return np.repeat(values, rows) if self.by_stream else _tiled(values, rows)

    @functools.cached_property
    def numbers(self) -> Index:
        """Which of the streams each segment is of."""
        return self.of_streams(np.arange(len(self.streams), dtype=np.int64))

    @functools.cached_property
    def there(self) -> tuple[int, ...]:
        """The pieces that some segments may have: the columns of `pieces`, in their order.

        Delays 0 and 1: INITIAL of the second stream, KEPT, and FINAL of the first
        """
        pieces, found = self.recipe.pieces, set[int]()
        for stream in self.streams:
            found |= pieces[stream.name]
        return tuple(sorted(found))

    @functools.cached_property
    def kept(self) -> int:
        """The column of KEPT in `pieces`."""
        return self.there.index(KEPT)

    @functools.cached_property
    def filled_pieces(self) -> list[int]:
        """The columns of the filled pieces in `pieces`: those of a table of fills."""
        return [column for column in range(len(self.there)) if column != self.kept]

    @functools.cached_property
    def _delays(self) -> Index:
        """The delay of each segment, in frames."""
        return self.of_streams(np.array([s.delay for s in self.streams], dtype=np.int64))

    @functools.cached_property
    def cut_before(self) -> Index:
        """Tokens of each segment that an offset cuts off in front of the content."""
        first, _ = self.recipe.offset_bounds
        return np.clip(first - self._offsets, 0, self.of_rows(self.lengths))

    @property
    def _offsets(self) -> Index:
        return self.of_streams(np.array([s.offset for s in self.streams], dtype=np.int64))

    def _content(self) -> tuple[Index, Index, Index]:
        """Cells of LEAD, KEPT and TRAIL of each segment, before its delay."""
        recipe, frames = self.recipe, self.of_rows(self.lengths)
        first, later = recipe.offset_bounds
        size, start = frames + (later - first), self._offsets - first
        before, after = np.clip(start, 0, size), np.clip(start + frames, 0, size)
        return before, after - before, size - after

    @functools.cached_property
    def pieces(self) -> Index:
        """Numbers of cells of each segment's pieces after the shift: int64 [segments, pieces].

        Delays 0, 1, 3 and a row of 3 frames, pieces INITIAL, KEPT, FINAL, PADDING
        -> [[0, 3, 1, 2], [1, 3, 1, 1], [3, 3, 0, 0]]
        """
        recipe, delays, frames = self.recipe, self._delays, self.of_rows(self.lengths)
        lead, kept, trail = self._content() if recipe.has_offsets else (0, frames, 0)
        initial = delays
        if recipe.length == "truncate":
            content = lead + kept + trail
            initial = np.minimum(delays, content)
            room = content - initial
            lead = np.minimum(lead, room)
            kept = np.minimum(kept, room - lead)
            trail = room - lead - kept
        initial = initial + recipe.initial_step
        trailing = self.of_rows(self.steps) - initial - kept - (lead + trail)
        final = np.minimum(trailing, 1)
        last = trailing > 1 if LAST in self.there else 0
        every = (initial, lead, kept, trail, final, trailing - final - last, last)
        return np.stack([every[piece] for piece in self.there], axis=1)

    @functools.cached_property
    def filled(self) -> Index:
        """Where the filled cells are in the flat shifted array, in order.

        a b F, I c d -> [2, 3]
        """
        kept = self.pieces[:, self.kept]
        ends = np.cumsum(kept)
        # Before a filled cell come all filled cells before it, and all tokens before it.
        before = [ends - kept if piece < KEPT else ends for piece in self.there if piece != KEPT]
        if not before:
            return np.zeros(0, dtype=np.int64)
        counts = self._filled_counts
        tokens_before = np.stack(before, axis=1).ravel()
        filled: Index = np.arange(int(counts.sum())) + np.repeat(tokens_before, counts)
        return filled

    @functools.cached_property
    def _filled_counts(self) -> Index:
        """The `pieces` that are filled, segment after segment."""
        counts: Index = self.pieces[:, self.filled_pieces].ravel()
        return counts

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
        """The entry of a table [streams, filled pieces] for each filled cell."""
        return np.repeat(self._of_segments(table), self._filled_counts)

    def of_cells(self, table: Array) -> Array:
        """The entry of a table [streams, pieces] for each cell."""
        return np.repeat(self._of_segments(table), self.pieces.ravel())

    def _of_segments(self, table: Array) -> Array:
        """A table with a line for each stream as one with a line for each segment, flat."""
        rows = len(self.lengths)
        return np.repeat(table, rows, axis=0).ravel() if self.by_stream else _tiled(table, rows)

    def is_filled(self, pieces: Sequence[int] | None = None) -> npt.NDArray[np.bool_]:
        """True where the flat shifted array is filled, or of these pieces only."""
        wanted = [piece != KEPT if pieces is None else piece in pieces for piece in self.there]
        return self.of_cells(np.broadcast_to(wanted, (len(self.streams), len(wanted))))

    def lost(self) -> npt.NDArray[np.bool_] | None:
        """True where the pattern cuts a token of the source off; None where it cuts nothing.

        Truncate, delays 0, 1 and 2 frames: a b, c d -> a b, I c: [False, False, False, True]
        """
        if not self.recipe.may_lose or not any(map(self.recipe.loses, self.streams)):
            return None
        lengths, before = self.of_rows(self.lengths), self.cut_before
        after = lengths - before - self.pieces[:, self.kept]
        mask = np.zeros(self.source_size, dtype=bool)
        ends = np.cumsum(lengths)
        mask[_runs(ends - lengths, before)] = True
        mask[_runs(ends - after, after)] = True
        return mask

    @functools.cached_property
    def totals(self) -> Index:
        """The `pieces` of all rows, [streams, pieces]."""
        rows, k, pieces = len(self.lengths), len(self.streams), len(self.there)
        shape = (k, rows, pieces) if self.by_stream else (rows, k, pieces)
        totals: Index = self.pieces.reshape(shape).sum(axis=1 if self.by_stream else 0)
        return totals

    @functools.cached_property
    def token_table(self) -> npt.NDArray[np.int64]:
        """The fill tokens of each stream, [streams, filled pieces]."""
        filled = [piece for piece in self.there if piece != KEPT]
        tokens = [
            [of_pieces[piece] for piece in filled]
            for of_pieces in (stream.tokens_of_pieces for stream in self.streams)
        ]
        return np.array(tokens, dtype=np.int64).reshape(len(tokens), len(filled))


def _tiled(values: Array, times: int) -> Array:
    """All values, flat, so many times: as `np.tile`, but quick for a single row."""
    lines = values if times == 1 else np.broadcast_to(values, (times, *values.shape))
    return lines.ravel()


def _runs(starts: Index, counts: Index) -> Index:
    """Positions in runs: starts [5, 0], counts [2, 1] -> [5, 6, 0]"""
    positions: Index = np.arange(int(counts.sum())) + np.repeat(
        starts - (np.cumsum(counts) - counts), counts
    )
    return positions
