"""Windows of a batch's rows: tokens and factors cut, other columns repeated, and what is lost."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa

from delaytool.batches.codes import Codes, TokenBatch
from delaytool.batches.job import WINDOW_COLUMNS, Job
from delaytool.batches.sizes import cell_sizes
from delaytool.batches.types import batch_of, has_views
from delaytool.pattern.flat import undelay_flat, widened
from delaytool.pattern.segments import Array, Index, Segments
from delaytool.pattern.windows import Cuts, Mask
from delaytool.recipes.checks import ZERO_TOKEN

_MAX_BYTES = 32 << 20
"""Of repeated columns that are made at once."""


def cut_codes(codes: Codes, cuts: Cuts, pads: Sequence[int] | None = None) -> Codes:
    """The windows of codes, as rows.

    pads: the token that fills each stream's windows up; None where none is
    """
    flat, fills = codes.flat, None
    if pads is not None:
        dtype = widened(flat.dtype, set(pads)) if flat.dtype.kind in "iu" else flat.dtype
        flat, fills = flat.astype(dtype, copy=False), np.array(pads, dtype=dtype)
    cells = cuts.cut(flat, codes.streams, codes.by_stream, fills)
    return dataclasses.replace(codes, flat=cells, lengths=cuts.window_lengths)


def join_codes(codes: Codes, cuts: Cuts, missing: int = 0) -> Codes:
    """The rows of windows; `missing` stands for what was dropped."""
    cells = cuts.join(codes.flat, codes.streams, codes.by_stream, missing)
    return dataclasses.replace(codes, flat=cells, lengths=cuts.lengths)


def cut_tokens(tokens: TokenBatch, cuts: Cuts, job: Job) -> TokenBatch:
    """The windows of a batch's tokens, before the shift; filled up where the job says so."""
    assert job.windows is not None, "only rows of such jobs are cut"
    columns = []
    for column, codes in zip(job.columns, tokens.columns, strict=True):
        pads = [s.trail for s in column.streams(job.recipe)] if job.windows.pad else None
        columns.append(cut_codes(codes, cuts, pads))
    return TokenBatch(tuple(columns))


def cut_factors(factors: Array | None, cuts: Cuts, job: Job) -> Array | None:
    """The factors on the loss weights of windows that are cut before the shift.

    factors: the user's, [K, frames of all rows]; None for none
    returns: 1 for what fills windows up, 0 where that is no token of the vocabulary and weighs
             nothing; None where all are 1
    """
    assert job.windows is not None, "only rows of such jobs are cut"
    streams = job.recipe.streams
    pads = [float(ZERO_TOKEN <= s.trail < s.cardinality) for s in streams]
    if factors is None:
        if all(pads) or not job.windows.pad or not cuts.padding.any():
            return None
        factors = np.ones((1, int(cuts.lengths.sum())), dtype=np.float32)
        factors = np.broadcast_to(factors, (len(streams), factors.size))
    codes = Codes.of_grid(factors, cuts.lengths)
    windows = cuts.cut(codes.flat, codes.streams, True, np.array(pads, dtype=factors.dtype))
    return windows.reshape(len(streams), -1)


def window_columns(cuts: Cuts, frames: Index) -> dict[str, pa.Array]:
    """The columns that say which window of which row each is.

    frames: of each row
    """
    rows, windows = cuts.window_rows, cuts.windows
    values = cuts.numbers[windows], cuts.starts[windows], frames[rows]
    arrays = (pa.array(each.astype(np.int32)) for each in values)
    return dict(zip(WINDOW_COLUMNS, arrays, strict=True))


def repeated(array: pa.Array, rows: Index) -> pa.Array:
    """Rows of an array, any of them several times."""
    if not has_views(array.type):
        return array.take(pa.array(rows))
    # Arrow cannot be relied on to take views, but it can put slices of them together.
    parts = [array.slice(row, 1) for row in rows.tolist()]
    return pa.concat_arrays(parts) if parts else array.slice(0, 0)


def batches_of_windows(
    batch: pa.RecordBatch, made: Mapping[str, pa.Array], rows: Index, schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """The windows of a batch, with its other columns repeated, a bounded number of bytes at a time.

    batch: the source's rows; made: the columns of windows; rows: which row each window is of
    """
    others = [name for name in schema.names if name not in made]
    sizes = np.zeros(batch.num_rows, dtype=np.int64)
    for name in others:
        sizes += cell_sizes(batch.column(name))
    ends = np.cumsum(sizes[rows])
    start = 0
    while start < len(rows) or not start:
        before = int(ends[start - 1]) if start else 0
        stop = int(np.searchsorted(ends, before + _MAX_BYTES, side="right"))
        stop = min(max(stop, start + 1), len(rows))
        arrays = {name: array.slice(start, stop - start) for name, array in made.items()}
        arrays |= {name: repeated(batch.column(name), rows[start:stop]) for name in others}
        yield batch_of([arrays[name] for name in schema.names], schema)
        if stop <= start:
            return
        start = stop


def lost_tokens(segments: Segments, job: Job) -> Mask | None:
    """Which tokens of a batch do not come back; None where all do.

    segments: of its rows, before they are cut into windows
    returns:  bool, flat, `segments.source_size` of them: what truncation cut off and what was in a
              window that was dropped
    """
    if job.windows is None:
        return segments.lost()
    cuts = job.cuts(segments.lengths)
    how = len(segments.streams), segments.by_stream
    if job.cuts_before:
        windows = dataclasses.replace(segments, lengths=cuts.window_lengths)
        lost = windows.lost()
        if lost is None and cuts.is_all:
            return None
        lost = np.zeros(windows.source_size, dtype=bool) if lost is None else lost
        return cuts.join(lost, *how, missing=True)
    if cuts.is_all:
        return segments.lost()
    there = np.zeros(int(cuts.window_lengths.sum()) * len(segments.streams), dtype=bool)
    return undelay_flat(cuts.join(there, *how, missing=True), segments, True)
