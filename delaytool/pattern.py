"""The delay pattern on arrays.

Stream k of T tokens, delayed by d of at most D frames, becomes

    [initial step]  initial x d   tokens[0 ... T-1]   behind x (D - d)   [final step]

where of the cells behind the stream the first holds its `final` token and the others its
`padding` token. With `length` truncate only the first T frames of the middle part stay. The cells
that hold no token of the stream are called *filled*.

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
import pyarrow as pa

from delaytool.recipe import ZERO_TOKEN, Recipe, Stream

Array = npt.NDArray[Any]
Index = npt.NDArray[np.int64]

INITIAL, FINAL, PADDING = 0, 1, 2
"""Which fill token a filled cell holds: the place of it in `Stream.fills`."""
_FILLED = [0, 2, 3]
"""Which of a segment's pieces are filled: INITIAL, FINAL, PADDING."""

_WIDER = (np.dtype(np.int8), np.dtype(np.int16), np.dtype(np.int32), np.dtype(np.int64))


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
        """A value of each row as one of each segment."""
        k = len(self.streams)
        return np.tile(values, k) if self.by_stream else np.repeat(values, k)

    def of_streams(self, values: Any) -> Array:
        """A value of each stream as one of each segment."""
        rows = len(self.lengths)
        return np.repeat(values, rows) if self.by_stream else np.tile(values, rows)

    @functools.cached_property
    def numbers(self) -> Index:
        """Which of the streams each segment is of."""
        return self.of_streams(np.arange(len(self.streams), dtype=np.int64))

    @functools.cached_property
    def pieces(self) -> Index:
        """What each segment consists of after the shift, in this order: int64 [segments, 4].

        Numbers of cells: initial tokens, kept tokens, the final token, padding tokens.
        """
        recipe = self.recipe
        delays = self.of_streams(np.array([s.delay for s in self.streams], dtype=np.int64))
        kept, steps = self.of_rows(self.lengths), self.of_rows(self.steps)
        before = recipe.initial_step + delays
        if recipe.length == "truncate":
            before = recipe.initial_step + np.minimum(delays, kept)
            kept = np.maximum(kept - delays, 0)
        behind = steps - before - kept
        final = np.minimum(behind, 1)
        return np.stack([before, kept, final, behind - final], axis=1)

    @functools.cached_property
    def filled(self) -> Index:
        """Where the filled cells are in the flat shifted array, in order."""
        pieces = self.pieces
        ends = np.cumsum(pieces[:, 1])
        # Before a filled cell come all filled cells before it, and all tokens before it.
        tokens_before = np.stack([ends - pieces[:, 1], ends, ends], axis=1)
        counts = pieces[:, _FILLED].ravel()
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
        """The entry of a table [streams, 3] (INITIAL, FINAL, PADDING) for each filled cell."""
        return np.repeat(self._of_segments(table), self.pieces[:, _FILLED].ravel())

    def of_cells(self, table: Array) -> Array:
        """The entry of a table [streams, 4], in the pieces' order, for each cell."""
        return np.repeat(self._of_segments(table), self.pieces.ravel())

    def _of_segments(self, table: Array) -> Array:
        """A table with a line for each stream as one with a line for each segment, flat."""
        rows = len(self.lengths)
        lines = np.repeat(table, rows, axis=0) if self.by_stream else np.tile(table, (rows, 1))
        return lines.ravel()

    def is_filled(self) -> npt.NDArray[np.bool_]:
        """True where the flat shifted array is filled."""
        return self.of_cells(np.array([[True, False, True, True]] * len(self.streams)))

    def lost(self) -> npt.NDArray[np.bool_] | None:
        """True where the pattern cuts a token of the source off; None where it cuts nothing."""
        if self.recipe.length == "extend" or not any(stream.delay for stream in self.streams):
            return None
        lengths = self.of_rows(self.lengths)
        lost = np.minimum(self.of_streams([stream.delay for stream in self.streams]), lengths)
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
        """The fill token of each stream and part, [streams, 3]."""
        return np.array([stream.fills for stream in self.streams], dtype=np.int64).reshape(-1, 3)


def possible_fills(recipe: Recipe, streams: tuple[Stream, ...]) -> set[int]:
    """The fill tokens that can occur in these streams, whatever the rows' lengths.

    delays [0, 1], neither step: the first stream's final, the second's initial
    """
    fills: set[int] = set()
    for stream in streams:
        initial, final, padding = stream.fills
        extra = recipe.max_delay - stream.delay if recipe.length == "extend" else 0
        behind = extra + recipe.final_step
        if stream.delay + recipe.initial_step:
            fills.add(initial)
        if behind:
            fills.add(final)
        if behind > 1:
            fills.add(padding)
    return fills


def widened(dtype: np.dtype[Any], fills: set[int]) -> np.dtype[Any]:
    """The type that holds the tokens and the fill tokens too.

    int16, {2048} -> int16;  uint8, {2048} -> int16;  uint16, {-1} -> int32
    """
    if dtype.kind not in "iu":
        raise TypeError(f"tokens of type {dtype}, expected integers")
    info = np.iinfo(dtype)
    low, high = min(fills, default=0), max(fills, default=0)
    if info.min <= low and high <= info.max:
        return dtype
    for wider in _WIDER:
        room = np.iinfo(wider)
        # Nothing is wider than uint64; its valid tokens fit into int64 all the same.
        is_wider = wider.itemsize > min(dtype.itemsize, 4)
        if is_wider and room.min <= low and high <= room.max:
            return wider
    raise AssertionError("fill tokens fit into 64 bits")


def delay_flat(tokens: Array, segments: Segments) -> Array:
    """Shift a flat batch.

    tokens:  integers, flat, `segments.source_size` of them
    returns: integers, flat, `segments.shifted_size` of them, of the type `widened` says
    """
    dtype = widened(tokens.dtype, possible_fills(segments.recipe, segments.streams))
    return shift_flat(tokens, segments, segments.token_table(), dtype)


def shift_flat(values: Array, segments: Segments, fills: Array, dtype: Any) -> Array:
    """Put the values of a flat batch where the shift moves them.

    values:  any type, flat, `segments.source_size` of them
    fills:   what the filled cells hold, [streams, 3]
    returns: dtype, flat, `segments.shifted_size` of them
    """
    if values.size != segments.source_size:
        raise ValueError(f"{values.size} tokens, expected {segments.source_size}")
    lost = segments.lost()
    kept = values if lost is None else values[~lost]
    if segments.recipe.length == "truncate" and np.any(
        segments.lengths < max((stream.delay for stream in segments.streams), default=0)
    ):
        return _merged(kept, segments, fills, dtype)
    return _joined(kept, segments, fills, dtype)


def _merged(kept: Array, segments: Segments, fills: Array, dtype: Any) -> Array:
    """Kept tokens and fills cell by cell, for any number of filled cells in any segment."""
    out = np.empty(segments.shifted_size, dtype=dtype)
    out[segments.filled] = segments.of_filled(fills)
    out[~segments.is_filled()] = kept
    return out


def _joined(kept: Array, segments: Segments, fills: Array, dtype: Any) -> Array:
    """Kept tokens and fills run by run, where all segments of a stream are filled alike.

    A segment is a string of bytes, and what lies between it and the next one is a string of fills,
    one of a few. Arrow's `take` puts strings together three times as fast as numpy moves cells.
    """
    streams, n = len(segments.streams), len(segments.numbers)
    if not segments.shifted_size:
        return np.empty(0, dtype=dtype)
    first_row = segments.pieces[:: len(segments.lengths)] if segments.by_stream else segments.pieces
    before, behind = [], []
    for fill, counts in zip(fills, first_row[:streams, _FILLED], strict=True):
        before.append(np.repeat(fill[INITIAL], counts[0]))
        behind.append(np.repeat(fill[FINAL:], counts[1:]))
    strings = [before[0]]
    strings += [np.concatenate([behind[k], before[k]]) for k in range(streams)]
    strings += [np.concatenate([behind[k], before[(k + 1) % streams]]) for k in range(streams)]
    own = np.concatenate([kept.astype(dtype, copy=False), np.concatenate(strings).astype(dtype)])
    sizes = np.concatenate([segments.pieces[:, 1], [string.size for string in strings]])
    # The fills before the first segment, then each segment and what is behind it. Behind the last
    # one this begins anew, which is left out of the result.
    order = np.empty(2 * n + 1, dtype=np.int64)
    order[0] = n
    order[1::2] = np.arange(n)
    numbers = segments.numbers
    order[2::2] = n + 1 + numbers + streams * (numbers != np.roll(numbers, -1))
    return _taken(own, sizes, order)[: segments.shifted_size]


def _taken(values: Array, sizes: Index, order: Index) -> Array:
    """Runs of values, of these sizes one behind the other, in another order."""
    ends = np.zeros(len(sizes) + 1, dtype=np.int64)
    np.cumsum(sizes, out=ends[1:])
    buffers = [None, pa.py_buffer(ends * values.itemsize), pa.py_buffer(values)]
    runs = pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(sizes), buffers)
    taken = runs.take(pa.array(order))
    size = int(sizes[order].sum())
    return np.frombuffer(taken.buffers()[2], dtype=values.dtype, count=size)


def undelay_flat(codes: Array, segments: Segments, lost_token: int = 0) -> Array:
    """Shift a flat batch back; fill tokens are not looked at.

    codes:      integers, flat, `segments.shifted_size` of them
    lost_token: stands where `segments.lost()` says that a token was cut off
    returns:    integers of the same type, flat, `segments.source_size` of them
    """
    if codes.size != segments.shifted_size:
        raise ValueError(f"{codes.size} cells, expected {segments.shifted_size}")
    kept = _kept(codes, segments)
    lost = segments.lost()
    if lost is None:
        return kept
    tokens = np.full(segments.source_size, lost_token, dtype=codes.dtype)
    tokens[~lost] = kept
    return tokens


def _kept(codes: Array, segments: Segments) -> Array:
    """The cells of a flat shifted array that are not filled."""
    pieces = segments.pieces
    if pieces[:, 1].sum() in (0, codes.size):
        return codes[: int(pieces[:, 1].sum())]
    # Runs: the kept tokens of each segment, and in front of each and at the end what is filled.
    sizes = np.zeros(2 * len(pieces) + 1, dtype=np.int64)
    sizes[1::2] = pieces[:, 1]
    sizes[0:-1:2] = pieces[:, 0]
    sizes[2::2] += pieces[:, 2] + pieces[:, 3]
    return _taken(np.ascontiguousarray(codes), sizes, np.arange(1, len(sizes), 2))


def wrong_tokens(tokens: Array, segments: Segments, steps: Index) -> Index:
    """Where a flat array holds what is neither -1 nor in the vocabulary.

    steps: entries of each row: `segments.lengths` before the shift, `segments.steps` after it
    returns positions in the flat array, in order
    """
    cards = np.array([stream.cardinality for stream in segments.streams], dtype=np.int64)
    if not tokens.size:
        return np.zeros(0, dtype=np.int64)
    low, high = int(tokens.min()), int(tokens.max())
    if low >= ZERO_TOKEN and high < int(cards.min()):
        return np.zeros(0, dtype=np.int64)
    limits = np.repeat(segments.of_streams(cards), segments.of_rows(steps))
    # numpy would compare unsigned 64-bit tokens with signed limits as floats.
    limits = limits.astype(np.uint64) if tokens.dtype == np.uint64 else limits
    wrong = tokens >= limits
    if low < ZERO_TOKEN:
        wrong |= tokens < ZERO_TOKEN
    return np.flatnonzero(wrong)


def checked_grid(codes: Any, recipe: Recipe, name: str) -> Array:
    """Codes [..., K, T] as an array, its shape and type checked; it may share their memory."""
    _check_values(codes, name)
    try:
        grid = np.asarray(codes)
    except ValueError:
        if not isinstance(codes, (list, tuple)):
            raise
        raise ValueError(
            f"{name} are lists of different lengths, "
            f"expected [..., {len(recipe.streams)}, T]: as many timesteps in every stream"
        ) from None
    if not grid.size and isinstance(codes, (list, tuple)) and grid.dtype == np.float64:
        # Lists without a number say nothing of its type; numpy takes them for floats.
        grid = grid.astype(np.int64)
    if grid.dtype.kind not in "iu":
        raise TypeError(f"{name} are {grid.dtype}, expected integers")
    if grid.ndim < 2 or grid.shape[-2] != len(recipe.streams):
        raise ValueError(
            f"{name} have shape {list(grid.shape)}, "
            f"expected [..., {len(recipe.streams)}, T]: one line for each of the recipe's streams"
        )
    return grid


def _check_values(codes: Any, name: str) -> None:
    """Raise TypeError for what numpy would take for integers: masked values, booleans in lists."""
    if isinstance(codes, np.ma.MaskedArray) and np.ma.is_masked(codes):
        raise TypeError(
            f"{name} are an array that masks {codes.size - codes.count()} of its values, "
            f"expected integers: fill them, with {ZERO_TOKEN} where there is no token"
        )
    for value in codes if isinstance(codes, (list, tuple)) else ():
        if type(value) is int:
            continue
        if not isinstance(value, (list, tuple)) and np.asarray(value).dtype.kind == "b":
            raise TypeError(f"{name} hold booleans, expected integers")
        _check_values(value, name)


def _checked_lost_token(token: Any, dtype: np.dtype[Any]) -> int:
    """A token as an integer; raises unless it is one that the type holds."""
    info = np.iinfo(dtype)
    valid = f"an integer from {info.min} to {info.max}, which the codes' type {dtype} holds"
    if isinstance(token, bool) or not isinstance(token, (int, np.integer)):
        raise TypeError(f"lost_token is {token!r}, expected {valid}")
    if not info.min <= token <= info.max:
        raise ValueError(f"lost_token is {token}, expected {valid}")
    return int(token)


def segments_of(shape: tuple[int, ...], recipe: Recipe) -> Segments:
    """The segments of an array [..., K, S] of shifted codes.

    Raises ValueError when S is less than the pattern's own cells.
    """
    frames = shape[-1] - recipe.steps(0)
    if frames < 0:
        raise ValueError(
            f"{shape[-1]} timesteps, expected at least the {recipe.steps(0)} that the pattern adds"
        )
    rows = int(np.prod(shape[:-2], dtype=np.int64))
    return Segments(recipe, np.full(rows, frames, dtype=np.int64), recipe.streams)


def _place(position: int, shape: tuple[int, ...], recipe: Recipe) -> str:
    *rest, stream, timestep = np.unravel_index(position, shape)
    row = f"row {[int(i) for i in rest]}, " if rest else ""
    return f"{row}stream {recipe.streams[int(stream)].name}, timestep {int(timestep)}"


def delay(codes: Any, recipe: Recipe) -> Array:
    """Shift each stream by its delay and fill the cells that this empties.

    codes:   integers [..., K, T], T in frames, valid tokens or -1: an array, lists of integers, or
             what numpy makes an array of, such as a tensor; a masked array if it masks nothing
    returns: integers [..., K, S] with S = recipe.steps(T), of the same type, or of the next wider
             signed one if a fill token does not fit; a new array, which shares no memory

    With delays 0, 1, 1 and fill token 9: [[1, 2], [3, 4], [5, 6]]
    -> [[1, 2, 9], [9, 3, 4], [9, 5, 6]]

    Raises ValueError for another number of streams or a token outside of 0 ... cardinality - 1
    other than -1, TypeError for anything but integers, masked ones included.

    Source: module docstring; the same cells as `_delay_sequence` of moshi/models/lm_utils.py.
    """
    grid = checked_grid(codes, recipe, "codes")
    rows = int(np.prod(grid.shape[:-2], dtype=np.int64))
    segments = Segments(recipe, np.full(rows, grid.shape[-1], dtype=np.int64), recipe.streams)
    flat = grid.ravel()
    wrong = wrong_tokens(flat, segments, segments.lengths)
    if wrong.size:
        place = _place(int(wrong[0]), grid.shape, recipe)
        stream = recipe.streams[int(np.unravel_index(wrong[0], grid.shape)[-2])]
        raise ValueError(
            f"{place}: token {flat[wrong[0]]}, expected 0 to {stream.cardinality - 1} or -1"
        )
    shape = (*grid.shape[:-1], recipe.steps(grid.shape[-1]))
    return _of_its_own(delay_flat(flat, segments)).reshape(shape)


def _of_its_own(flat: Array) -> Array:
    """The same values in memory that nobody else has and that can be written."""
    return np.require(flat, requirements=["O", "W"])


def undelay(
    codes: Any, recipe: Recipe, *, lost_token: int | None = None, check: bool = True
) -> Array:
    """Shift each stream back: undelay(delay(x, recipe), recipe) equals x when nothing was cut.

    codes:      integers [..., K, S] as `delay` returns them, in whatever it takes
    lost_token: with `length` truncate, what to put where a token was cut off: an integer that the
                codes' type holds
    check:      whether every filled cell must hold the recipe's fill token; a grid that a model
                generated may hold anything there
    returns:    integers [..., K, T] of the same type; a new array, which shares no memory

    With delays 0, 1, 1 and fill token 9: [[1, 2, 9], [9, 3, 4], [9, 5, 6]]
    -> [[1, 2], [3, 4], [5, 6]]

    Raises ValueError for another number of streams, fewer timesteps than the pattern adds, a
    wrong fill token, tokens that were cut off without a `lost_token`, or one that the type cannot
    hold; TypeError for anything but integers, masked ones included.
    """
    grid = checked_grid(codes, recipe, "codes")
    filler = 0 if lost_token is None else _checked_lost_token(lost_token, grid.dtype)
    segments = segments_of(grid.shape, recipe)
    flat = grid.ravel()
    lost = segments.lost()
    if lost is not None and lost_token is None and lost.any():
        raise ValueError(
            f"the pattern cut off {int(lost.sum())} tokens, expected length extend, "
            "or a lost_token to put in their place"
        )
    if check:
        expected = segments.of_filled(segments.token_table())
        wrong = np.flatnonzero(flat[segments.filled] != expected)
        if wrong.size:
            position = int(segments.filled[wrong[0]])
            place = _place(position, grid.shape, recipe)
            raise ValueError(f"{place}: {flat[position]}, expected the fill {expected[wrong[0]]}")
    tokens = undelay_flat(flat, segments, filler)
    shape = (*grid.shape[:-1], int(grid.shape[-1] - recipe.steps(0)))
    return _of_its_own(tokens).reshape(shape)
