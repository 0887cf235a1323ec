"""The delay pattern on flat arrays: the tokens of many rows of different lengths at once.

There is no Python loop over rows or timesteps. `delay` and `undelay` are built on this form.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from delaytool.pattern.segments import Array, Index, Segments
from delaytool.recipes.checks import ZERO_TOKEN
from delaytool.recipes.recipe import Recipe
from delaytool.recipes.stream import KEPT, Stream

_WIDER = (np.dtype(np.int8), np.dtype(np.int16), np.dtype(np.int32), np.dtype(np.int64))
_FEW_CELLS = 1 << 15
"""Up to so many cells numpy is as fast as Arrow, which then need not be imported."""


def possible_fills(recipe: Recipe, streams: Sequence[Stream]) -> set[int]:
    """The fill tokens that can occur in these streams, whatever the rows' lengths.

    delays [0, 1], neither step: the first stream's final, the second's initial
    """
    return {
        stream.tokens_of_pieces[piece]
        for stream in streams
        for piece in recipe.pieces[stream.name]
        if piece != KEPT
    }


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
    """Shift a flat batch, row after row or stream after stream.

    Delays 0, 1, rows of 2 and 1 frames, fill 9:
    [1, 2, 3, 4, 5, 6] -> [1, 2, 9, 9, 3, 4, 5, 9, 9, 6]

    tokens:  integers, flat, `segments.source_size` of them
    returns: integers, flat, `segments.shifted_size` of them, of the type `widened` says
    """
    dtype = widened(tokens.dtype, possible_fills(segments.recipe, segments.streams))
    return shift_flat(tokens, segments, segments.token_table, dtype)


def shift_flat(values: Array, segments: Segments, fills: Array, dtype: Any) -> Array:
    """Put the values of a flat batch where the shift moves them.

    values:  any type, flat, `segments.source_size` of them
    fills:   what the filled cells hold, [streams, filled pieces]
    returns: dtype, flat, `segments.shifted_size` of them
    """
    if values.size != segments.source_size:
        raise ValueError(f"{values.size} tokens, expected {segments.source_size}")
    lost = segments.lost()
    kept = values if lost is None else values[~lost]
    few = segments.shifted_size <= _FEW_CELLS
    shift = shift_runs if not few and are_filled_alike(segments) else shift_cells
    return shift(kept, segments, fills, dtype)


def are_filled_alike(segments: Segments) -> bool:
    """Whether all segments of a stream have the same fills: no row is cut within them."""
    recipe = segments.recipe
    if recipe.length == recipe.content_length == "extend":
        return True
    moves = (stream.delay + abs(stream.offset) for stream in segments.streams)
    first, later = recipe.offset_bounds
    return not np.any(segments.lengths < max(moves, default=0) + later - first)


def shift_cells(kept: Array, segments: Segments, fills: Array, dtype: Any) -> Array:
    """Kept tokens and fills cell by cell, for any number of filled cells in any segment."""
    out = np.empty(segments.shifted_size, dtype=dtype)
    is_kept = np.ones(out.size, dtype=bool)
    is_kept[segments.filled] = False
    out[segments.filled] = segments.of_filled(fills)
    out[is_kept] = kept
    return out


def shift_runs(kept: Array, segments: Segments, fills: Array, dtype: Any) -> Array:
    """Kept tokens and fills run by run, for `are_filled_alike` segments of at least one cell.

    A segment is a string of tokens, and what lies between it and the next one is a string of fills,
    one of a few. Arrow's `take` puts strings together three times as fast as numpy moves cells.
    """
    streams, n = len(segments.streams), len(segments.numbers)
    first_row = segments.pieces[:: len(segments.lengths)] if segments.by_stream else segments.pieces
    leading, trailing = [], []
    before = segments.kept
    for fill, counts in zip(fills, first_row[:streams, segments.filled_pieces], strict=True):
        leading.append(np.repeat(fill[:before], counts[:before]))
        trailing.append(np.repeat(fill[before:], counts[before:]))
    # Before the first segment; between two of the same stream; between two of different streams.
    strings = [leading[0]]
    strings += [np.concatenate([trailing[k], leading[k]]) for k in range(streams)]
    strings += [np.concatenate([trailing[k], leading[(k + 1) % streams]]) for k in range(streams)]
    values = np.concatenate([kept.astype(dtype, copy=False), np.concatenate(strings).astype(dtype)])
    sizes = np.concatenate([segments.pieces[:, segments.kept], [string.size for string in strings]])
    # The fills before the first segment, then each segment and what follows it. What follows the
    # last one includes the first fills once more, which are left out of the result.
    order = np.empty(2 * n + 1, dtype=np.int64)
    order[0] = n
    order[1::2] = np.arange(n)
    numbers = segments.numbers
    order[2::2] = n + 1 + numbers + streams * (numbers != np.roll(numbers, -1))
    return taken(values, sizes, order)[: segments.shifted_size]


def taken(values: Array, sizes: Index, order: Index) -> Array:
    """Runs of values, in another order.

    [1, 2, 3, 4, 5, 6], sizes [1, 2, 3], order [2, 0] -> [4, 5, 6, 1]
    """
    # Importing Arrow takes as long as shifting a small dataset; few cells do without it.
    import pyarrow as pa

    ends = np.zeros(len(sizes) + 1, dtype=np.int64)
    np.cumsum(sizes, out=ends[1:])
    buffers = [None, pa.py_buffer(ends * values.itemsize), pa.py_buffer(values)]
    runs = pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(sizes), buffers)
    taken = runs.take(pa.array(order))
    size = int(sizes[order].sum())
    if not size:
        return values[:0]
    return np.frombuffer(taken.buffers()[2], dtype=values.dtype, count=size)


def undelay_flat(codes: Array, segments: Segments, lost_token: int = 0) -> Array:
    """Shift a flat batch back; fill tokens are not looked at.

    Delays 0, 1, rows of 2 and 1 frames: [1, 2, 9, 9, 3, 4, 5, 9, 9, 6] -> [1, 2, 3, 4, 5, 6]

    codes:      integers, flat, `segments.shifted_size` of them
    lost_token: stands where `segments.lost()` says that a token was cut off
    returns:    integers of the same type, flat, `segments.source_size` of them
    """
    if codes.size != segments.shifted_size:
        raise ValueError(f"{codes.size} cells, expected {segments.shifted_size}")
    size = int(segments.pieces[:, segments.kept].sum())
    if size in (0, codes.size):
        kept = codes[:size]
    else:
        keep = keep_cells if codes.size <= _FEW_CELLS else keep_runs
        kept = keep(codes, segments)
    lost = segments.lost()
    if lost is None:
        return kept
    tokens = np.full(segments.source_size, lost_token, dtype=codes.dtype)
    tokens[~lost] = kept
    return tokens


def keep_cells(codes: Array, segments: Segments) -> Array:
    """The cells of a flat shifted array that are not filled, looked at cell by cell."""
    return codes[~segments.is_filled()]


def keep_runs(codes: Array, segments: Segments) -> Array:
    """The cells of a flat shifted array that are not filled, taken run by run."""
    pieces = segments.pieces
    # The kept tokens of each segment, and in front of each and at the end what is filled.
    sizes = np.zeros(2 * len(pieces) + 1, dtype=np.int64)
    sizes[1::2] = pieces[:, segments.kept]
    sizes[0:-1:2] = pieces[:, : segments.kept].sum(axis=1)
    sizes[2::2] += pieces[:, segments.kept + 1 :].sum(axis=1)
    return taken(np.ascontiguousarray(codes), sizes, np.arange(1, len(sizes), 2))


def wrong_tokens(tokens: Array, segments: Segments, steps: Index) -> Index:
    """Where a flat array holds what is neither -1 nor in the vocabulary.

    One row of two streams with cardinality 10: [1, 10, -1, -2], steps [2] -> [1, 3]

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
