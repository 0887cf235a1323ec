"""A shifted record batch back to the original one."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from delaytool.batches.codes import TokenBatch, resized, stacked, streams_first, streams_last
from delaytool.batches.job import Job, segments_of_column, segments_of_outputs
from delaytool.batches.layouts import Column, is_by_stream
from delaytool.batches.read import read_outputs, read_rest, read_tokens, text_lengths
from delaytool.batches.types import depth_of, storage
from delaytool.batches.write import to_arrow
from delaytool.errors import DataError, Place
from delaytool.pattern.flat import undelay_flat
from delaytool.pattern.segments import Array, Index, Segments


def read_shifted(batch: pa.RecordBatch, job: Job) -> TokenBatch:
    """The outputs' tokens of a shifted batch, with the lengths the rows had before the shift.

    Raises DataError for a bad row, one with fewer timesteps than the pattern adds included.
    """
    codes = read_outputs(batch, job)
    lengths = codes.lengths - job.recipe.steps(0)
    if lengths.size and lengths.min() < 0:
        row = int(np.flatnonzero(lengths < 0)[0])
        raise DataError(
            "too-short",
            f"{codes.lengths[row]} timesteps",
            expected=f"at least the {job.recipe.steps(0)} that the pattern adds",
            advice="make the shard anew",
            place=Place(row=row),
        )
    return TokenBatch(codes.columns, lengths)


def unshift(
    batch: pa.RecordBatch, job: Job, schema: pa.Schema, padded: Index | None = None
) -> pa.RecordBatch:
    """Shift every stream of a batch back.

    schema:  of the original batches
    padded:  how many text tokens alignment has added to each row; none when not given
    returns: a batch of that schema; a token that truncation cut off is null

    Raises DataError for a bad row, and for a token that the original type cannot hold.
    """
    codes = read_shifted(batch, job)
    tokens = undelayed(codes, segments_of_outputs(codes.lengths, job))
    return originals(batch, tokens, job, schema, padded)


def undelayed(codes: TokenBatch, segments: list[Segments]) -> TokenBatch:
    """The outputs' tokens, as `read_shifted` gives them, shifted back."""
    pairs = zip(codes.columns, segments, strict=True)
    return TokenBatch(tuple(undelay_flat(flat, own) for flat, own in pairs), codes.lengths)


def originals(
    batch: pa.RecordBatch,
    tokens: TokenBatch,
    job: Job,
    schema: pa.Schema,
    padded: Index | None = None,
) -> pa.RecordBatch:
    """`unshift` of a batch whose tokens have been shifted back already."""
    by_twin = {
        twin.name: flat
        for output, flat in zip(job.outputs, tokens.columns, strict=True)
        if (twin := job.twin(output))
    }
    grid = None if len(by_twin) == len(job.columns) else stacked(tokens, job.outputs)
    arrays = {name: batch.column(name) for name in schema.names if name in batch.schema.names}
    for column in job.columns:
        if column.name in by_twin:
            flat = by_twin[column.name]
        else:
            assert grid is not None, "columns without a twin come from the stacked grid"
            streams = grid[column.first : column.first + column.count]
            flat = streams_last(streams, tokens.lengths, is_by_stream(column.layout))
        rest = None if column.is_whole else read_rest(batch, column, job, tokens.lengths, True)
        kind = schema.field(column.name).type
        arrays[column.name] = _original(flat, tokens.lengths, column, job, kind, rest, padded)
    return pa.RecordBatch.from_arrays([arrays[name] for name in schema.names], schema=schema)


def cut(batch: pa.RecordBatch, job: Job) -> pa.RecordBatch:
    """An original batch as `unshift` gives it back.

    Tokens that truncation cuts off are null, text that alignment cuts off is gone.
    """
    if job.recipe.length == "extend" and job.align != "trim":
        return batch
    tokens = read_tokens(batch, job)
    texts = text_lengths(batch, job) if job.align != "error" else tokens.lengths
    kept = np.minimum(texts, tokens.lengths)
    arrays = {name: batch.column(name) for name in batch.schema.names}
    for number, (column, flat) in enumerate(zip(job.columns, tokens.columns, strict=True)):
        kind = batch.schema.field(column.name).type
        rest = None if column.is_whole else read_rest(batch, column, job, tokens.lengths)
        own, padded = flat, None
        if number == 0 and job.align != "error":
            own = resized(flat, texts, tokens.lengths, 0, flat.dtype)
            padded = tokens.lengths - kept
        arrays[column.name] = _original(own, tokens.lengths, column, job, kind, rest, padded)
    return pa.RecordBatch.from_arrays(list(arrays.values()), schema=batch.schema)


def _original(
    flat: Array,
    lengths: Index,
    column: Column,
    job: Job,
    kind: pa.DataType,
    rest: Array | None,
    padded: Index | None,
) -> pa.Array:
    """Flat tokens as a column of the original type, with nulls for what was cut off.

    rest: the codebooks that are none of the recipe's streams, [n, frames of all rows]
    """
    dtype = np.dtype(str(depth_of(kind)[1]))
    lost = segments_of_column(column, lengths, job).lost()
    known = flat if lost is None else flat[~lost]
    info = np.iinfo(dtype)
    if known.size and not info.min <= int(known.min()) <= int(known.max()) <= info.max:
        raise DataError(
            "original-type",
            f"tokens from {known.min()} to {known.max()}",
            expected=f"what the original type {dtype} holds",
            advice="make the shard anew",
            place=Place(column=column.name),
        )
    flat = flat.astype(dtype, copy=False)
    if padded is not None and column.first == 0 and job.align != "error":
        wanted = lengths - padded
        if wanted.size and wanted.min() < 0:
            raise DataError(
                "record",
                f"{padded[np.argmin(wanted)]} tokens of padding in a row of fewer frames",
                place=Place(row=int(np.argmin(wanted)), column=column.name),
            )
        flat = resized(flat, lengths, wanted, 0, dtype)
        lost = None if lost is None else resized(lost, lengths, wanted, 0, bool)
        lengths = wanted
    if rest is not None:
        by_stream = is_by_stream(column.layout)
        grid = streams_first(flat, lengths, column.count, by_stream)
        flat = streams_last(_with_rest(grid, rest.astype(dtype), column), lengths, by_stream)
        if lost is not None:
            mask = streams_first(lost, lengths, column.count, by_stream)
            mask = _with_rest(mask, np.zeros(rest.shape, dtype=bool), column)
            lost = streams_last(mask, lengths, by_stream)
    array = to_arrow(flat, lengths, column.layout, column.size, storage(kind), lost)
    return pa.ExtensionArray.from_storage(kind, array) if storage(kind) != kind else array


def _with_rest(grid: Array, rest: Array, column: Column) -> Array:
    """The used codebooks in their place among the others, [size, frames of all rows]."""
    return np.concatenate([rest[: column.start], grid, rest[column.start :]])
