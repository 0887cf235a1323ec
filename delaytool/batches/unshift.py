"""A shifted record batch back to the original one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from delaytool.batches.bases import with_base
from delaytool.batches.codes import Codes, TokenBatch
from delaytool.batches.job import Job, segments_of_column, segments_of_outputs
from delaytool.batches.layouts import Column
from delaytool.batches.read import read_outputs, read_rest, read_tokens
from delaytool.batches.structs import (
    put_back,
    put_back_fields,
    structs_of,
    taken_out,
    taken_out_of_schema,
)
from delaytool.batches.types import batch_of, depth_of, filtered
from delaytool.batches.windows import lost_tokens
from delaytool.errors import DataError, Place
from delaytool.pattern.flat import undelay_flat
from delaytool.pattern.segments import Array, Index, Segments


def read_shifted(batch: pa.RecordBatch, job: Job) -> tuple[TokenBatch, Index]:
    """The outputs' cells in a shifted batch, and the frames that each row had before the shift.

    Raises DataError for a bad row, one with fewer timesteps than the pattern adds included.
    """
    codes = read_outputs(batch, job)
    frames = codes.lengths - job.recipe.steps(0)
    if frames.size and frames.min() < 0:
        row = int(np.flatnonzero(frames < 0)[0])
        raise DataError(
            "too-short",
            f"{codes.lengths[row]} timesteps",
            expected=f"at least the {job.recipe.steps(0)} that the pattern adds",
            advice="make the shard anew",
            place=Place(row=row),
        )
    return codes, frames


def unshift(
    batch: pa.RecordBatch, job: Job, schema: pa.Schema, padded: Index | None = None
) -> pa.RecordBatch:
    """Shift every stream of a batch back.

    schema:  of the original batches
    padded:  how many tokens alignment has added to each column of text and each row, [columns,
             rows]; none when not given
    returns: a batch of that schema; a token that truncation cut off is null

    Raises DataError for a bad row, and for a token that the original type cannot hold.
    """
    codes, frames = read_shifted(batch, job)
    tokens = undelayed(codes, segments_of_outputs(frames, job))
    return originals(batch, tokens, job, schema, padded)


def undelayed(codes: TokenBatch, segments: Sequence[Segments]) -> TokenBatch:
    """The outputs' cells, as `read_shifted` gives them, shifted back."""
    return TokenBatch(
        tuple(
            Codes(undelay_flat(cells.flat, each), each.lengths, cells.streams, cells.by_stream)
            for cells, each in zip(codes.columns, segments, strict=True)
        )
    )


def originals(
    batch: pa.RecordBatch,
    tokens: TokenBatch,
    job: Job,
    schema: pa.Schema,
    padded: Index | None = None,
) -> pa.RecordBatch:
    """`unshift` of a batch whose tokens have been shifted back already."""
    by_twin = {
        twin: codes
        for output, codes in zip(job.outputs, tokens.columns, strict=True)
        if (twin := job.twin(output))
    }
    batch, target = taken_out(batch, job.names), taken_out_of_schema(schema, job.names)
    arrays = {name: batch.column(name) for name in target.names if name in batch.schema.names}
    for column in job.columns:
        if column in by_twin:
            codes = by_twin[column]
        else:
            by_stream = column.layout.by_stream
            codes = tokens.streams(job.numbers_of_outputs, column.numbers, by_stream)
        kept = None
        if padded is not None and job.aligns(column):
            kept = _without(padded[job.text_columns.index(column)], tokens.lengths, column)
        rest = None
        if job.has_rest(column):
            rest = read_rest(batch, column, tokens.lengths, shifted=True)
        kind = target.field(column.name).type
        arrays[column.name] = _original(codes, column, job, kind, rest, kept)
    made = batch_of([arrays[name] for name in target.names], target)
    return put_back(made, schema, job.names)


def _without(padded: Index, lengths: Index, column: Column) -> Index:
    """The tokens of text in each row, without those that alignment has added."""
    kept = lengths - padded
    if kept.size and kept.min() < 0:
        row = int(np.argmin(kept))
        raise DataError(
            "record",
            f"{padded[row]} tokens of padding in a row of fewer frames",
            place=Place(row=row, column=column.name),
        )
    return kept


def cut(batch: pa.RecordBatch, job: Job) -> pa.RecordBatch:
    """An original batch as `unshift` gives it back.

    Tokens that truncation cuts off or that were in windows that are dropped are null; text that
    alignment cuts off is gone, as are rows of which all windows are dropped, and columns that are
    left out.
    """
    drops = job.windows is not None and job.windows.minimum is not None
    partly = {*job.names, *structs_of(batch.schema, job.names)}
    some = not partly.isdisjoint(job.drop_columns)
    if not job.recipe.may_lose and not job.trims and not drops and not some:
        names = [name for name in batch.schema.names if name not in job.drop_columns]
        return batch.select(names) if job.drop_columns else batch
    tokens, flat = read_tokens(batch, job), taken_out(batch, job.names)
    names = [name for name in flat.schema.names if name not in job.drop_columns]
    arrays = {name: flat.column(name) for name in names}
    for column, whole in zip(job.columns, tokens.columns, strict=True):
        codes, kept = whole, None
        if job.aligns(column):
            kept = np.minimum(whole.lengths, tokens.lengths)
            codes = whole.resized(tokens.lengths, 0, whole.flat.dtype)
        rest = read_rest(batch, column, tokens.lengths) if job.has_rest(column) else None
        kind = flat.schema.field(column.name).type
        if job.restored(column) != column:
            kind = column.layout.type_of_codebooks(kind, column.count)
        arrays[column.name] = _original(codes, column, job, kind, rest, kept)
    if drops:
        kept = job.cuts(tokens.lengths).rows_kept
        arrays = {name: filtered(array, kept) for name, array in arrays.items()}
    fields = [pa.field(name, array.type) for name, array in arrays.items()]
    made = pa.RecordBatch.from_arrays(list(arrays.values()), schema=pa.schema(fields))
    schema = pa.schema(put_back_fields(fields, batch.schema, job.names, job.drop_columns))
    return put_back(made, schema, job.names)


def _original(
    codes: Codes,
    column: Column,
    job: Job,
    kind: pa.DataType,
    rest: Array | None,
    kept: Index | None,
) -> pa.Array:
    """Tokens as a column of the original type, with nulls for what was cut off.

    rest: the codebooks that are none of the recipe's streams, [n, frames of all rows]
    kept: how many tokens of each row were in the original, where alignment added some
    """
    lost = lost_tokens(segments_of_column(column, codes.lengths, job), job)
    codes = with_base(codes, column)
    # A mask of what was cut off goes the way of the tokens.
    parts = [codes] if lost is None else [codes, codes.with_flat(lost)]
    if kept is not None:
        # Padding may be a token that the original type does not hold.
        parts = [part.resized(kept, 0, part.flat.dtype) for part in parts]
    cells = parts[0]
    flat = _narrowed(cells.flat, parts[1].flat if parts[1:] else None, column, kind)
    parts[0] = cells.with_flat(flat)
    if rest is not None:
        others = rest.astype(flat.dtype), np.zeros(rest.shape, dtype=bool)
        parts = [_with_rest(*pair, column) for pair in zip(parts, others, strict=False)]
    return column.layout.write(parts[0], kind, *parts[1:])


def _narrowed(flat: Array, lost: Array | None, column: Column, kind: pa.DataType) -> Array:
    """Tokens in the original type, which has to hold all that were not cut off."""
    dtype = np.dtype(str(depth_of(kind)[1]))
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
    return flat.astype(dtype, copy=False)


def _with_rest(codes: Codes, rest: Array, column: Column) -> Codes:
    """The streams among the other codebooks of their column."""
    grid = np.concatenate([rest[: column.start], codes.grid(), rest[column.start :]])
    return Codes.of_grid(grid, codes.lengths, codes.by_stream)
