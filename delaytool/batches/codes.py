"""Flat tokens of a batch: from rows to streams and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from delaytool.batches.layouts import Column, Output, is_by_stream
from delaytool.batches.types import common_type
from delaytool.pattern.segments import Array, Index


@dataclass(frozen=True)
class TokenBatch:
    """The tokens of a few rows.

    columns: one flat integer array for each column
    lengths: timesteps of each row, the same in all columns, int64
    """

    columns: tuple[Array, ...]
    lengths: Index


def place_of(
    position: int, lengths: Index, streams: int, by_stream: bool = False
) -> tuple[int, int, int]:
    """Row, stream number and timestep of a position in a flat array.

    4, lengths [1, 3], 2 streams -> (1, 0, 2); by stream: (0, 1, 0)
    """
    places = first_places(np.array([position]), lengths, streams, by_stream)
    return places[0][1:]


def first_places(
    positions: Index, lengths: Index, streams: int, by_stream: bool = False
) -> list[tuple[int, int, int, int]]:
    """The first of the positions in each row, with its `place_of`; they have to be in order."""
    numbers, within = np.zeros_like(positions), positions
    if by_stream:
        numbers, within = np.divmod(positions, int(lengths.sum()))
        streams = 1
    ends = np.cumsum(lengths) * streams
    rows, firsts = np.unique(np.searchsorted(ends, within, side="right"), return_index=True)
    more, timesteps = np.divmod(within[firsts] - (ends - lengths * streams)[rows], lengths[rows])
    places = (positions[firsts], rows, numbers[firsts] + more, timesteps)
    return list(zip(*(part.tolist() for part in places), strict=True))


def streams_first(flat: Array, lengths: Index, streams: int, by_stream: bool) -> Array:
    """A flat array as [streams, timesteps of all rows]."""
    if not by_stream and streams > 1:
        flat = flat[_other_order(lengths, streams)]
    return flat.reshape(streams, int(lengths.sum()))


def streams_last(grid: Array, lengths: Index, by_stream: bool) -> Array:
    """[streams, timesteps of all rows] as a flat array."""
    flat = np.ascontiguousarray(grid).reshape(-1)
    if by_stream or len(grid) == 1:
        return flat
    out = np.empty_like(flat)
    out[_other_order(lengths, len(grid))] = flat
    return out


def _other_order(lengths: Index, streams: int) -> Index:
    """For each cell in stream, row order its place in row, stream order."""
    starts = (np.cumsum(lengths) - lengths) * streams
    segments = starts + lengths * np.arange(streams, dtype=np.int64)[:, None]
    sizes = np.tile(lengths, streams)
    here = np.cumsum(sizes) - sizes
    order: Index = np.arange(int(sizes.sum())) + np.repeat(segments.reshape(-1) - here, sizes)
    return order


def resized(flat: Array, lengths: Index, wanted: Index, padding: int, dtype: Any) -> Array:
    """One stream with other lengths: rows are cut, or padded at their end."""
    out = np.full(int(wanted.sum()), padding, dtype=dtype)
    both = np.minimum(lengths, wanted)
    cells = np.arange(int(both.sum())) - np.repeat(np.cumsum(both) - both, both)
    take = cells + np.repeat(np.cumsum(lengths) - lengths, both)
    out[cells + np.repeat(np.cumsum(wanted) - wanted, both)] = flat[take]
    return out


def stacked(tokens: TokenBatch, columns: Sequence[Column | Output]) -> Array:
    """All columns as one array [K, timesteps of all rows]."""
    dtype = common_type([flat.dtype for flat in tokens.columns])
    return np.concatenate(
        [
            streams_first(flat, tokens.lengths, column.count, is_by_stream(column.layout)).astype(
                dtype, copy=False
            )
            for column, flat in zip(columns, tokens.columns, strict=True)
        ]
    )
