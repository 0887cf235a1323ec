"""One record batch to another: `shift` and `unshift`.

Everything that moves tokens goes through here: apply, verify, revert and the library. What a
schema becomes is here too, its `huggingface` and `pandas` metadata included: both describe the
columns, and readers fail on a description that no longer fits.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa

from delaytool.errors import DataError, Place
from delaytool.job import ENTRY, Column, Job
from delaytool.pattern import Segments, delay_flat, undelay_flat
from delaytool.tokens import (
    TokenBatch,
    check_column_type,
    is_list,
    read_tokens,
    shifted_type,
    to_arrow,
    weights_type,
)
from delaytool.weights import loss_weights_flat


def check_schema(schema: pa.Schema, job: Job) -> None:
    """Raise DataError unless the job's columns are there, fit, and their outputs' names free."""
    names = schema.names
    for name in names:
        if names.count(name) > 1:
            raise DataError(
                f"two columns are named {name}",
                expected="one of each name",
                advice="rename one of them",
            )
    if ENTRY.encode() in (schema.metadata or {}):
        raise already_shifted()
    for column in job.columns:
        if column.name not in names:
            option = "--text-column" if column.layout == "list" else "--audio-column"
            raise DataError(
                f"there is no column {column.name}",
                expected=f"one of {', '.join(names) or 'no columns at all'}",
                advice=f"name the column with {option}",
            )
        check_column_type(schema.field(column.name), column)
    for column in job.columns:
        if column.weights in names:
            raise DataError(
                f"the column {column.weights} is in the way of the loss weights",
                expected="no column of that name",
                advice="rename or drop it, or use --no-weights",
                place=Place(column=column.weights),
            )


def already_shifted() -> DataError:
    """The error for an input that is an output of delaytool."""
    return DataError(
        f"it holds a {ENTRY} entry: it is shifted already",
        expected="an original shard",
        advice="give the original shards; shifting twice is never meant",
    )


def shifted_schema(schema: pa.Schema, job: Job) -> pa.Schema:
    """The schema of what `shift` gives for batches of this schema.

    Raises DataError as `check_schema` does.
    """
    check_schema(schema, job)
    fields = list(schema)
    for column in job.columns:
        place = schema.get_field_index(column.name)
        fields[place] = fields[place].with_type(shifted_type(fields[place].type, column, job))
    for column in job.columns:
        if column.weights:
            kind = weights_type(schema.field(column.name).type)
            fields.append(pa.field(column.weights, kind))
    changed = [field for field in fields if schema.get_field_index(field.name) < 0]
    changed += [field for field in fields if field.name in [c.name for c in job.columns]]
    return pa.schema(fields, metadata=_mended(schema.metadata, changed))


def shift(batch: pa.RecordBatch, job: Job) -> pa.RecordBatch:
    """Shift every stream of a batch by its delay and add the columns of loss weights.

    Raises DataError for a schema that does not fit and for the first bad row, with its row number
    in the batch.
    """
    schema = shifted_schema(batch.schema, job)
    tokens = read_tokens(batch, job)
    arrays = {name: batch.column(name) for name in batch.schema.names}
    for column, flat in zip(job.columns, tokens.columns, strict=True):
        segments = Segments(job.recipe, tokens.lengths, column.streams(job.recipe))
        filled = segments.filled()
        codes = delay_flat(flat, segments, filled)
        kind = schema.field(column.name).type
        arrays[column.name] = to_arrow(codes, segments.steps, column.count, kind)
        if column.weights:
            weights = loss_weights_flat(codes, segments, column.first, filled)
            kind = schema.field(column.weights).type
            arrays[column.weights] = to_arrow(weights, segments.steps, column.count, kind)
    return pa.RecordBatch.from_arrays([arrays[name] for name in schema.names], schema=schema)


def read_shifted(batch: pa.RecordBatch, job: Job) -> TokenBatch:
    """The shifted tokens of a batch, with the lengths the rows had before the shift.

    Raises DataError for a bad row, one with fewer timesteps than the pattern adds included.
    """
    codes = read_tokens(batch, job, shifted=True)
    lengths = codes.lengths - job.recipe.steps(0)
    if lengths.size and lengths.min() < 0:
        row = int(np.flatnonzero(lengths < 0)[0])
        raise DataError(
            f"{codes.lengths[row]} timesteps",
            expected=f"at least the {job.recipe.steps(0)} that the pattern adds",
            advice="make the shard anew",
            place=Place(row=row),
        )
    return TokenBatch(codes.columns, lengths)


def unshift(batch: pa.RecordBatch, job: Job, schema: pa.Schema) -> pa.RecordBatch:
    """Shift every stream of a batch back.

    schema:  of the original batches
    returns: a batch of that schema; a token that truncation cut off is null

    Raises DataError for a bad row, and for a token that the original type cannot hold.
    """
    codes = read_shifted(batch, job)
    arrays = {name: batch.column(name) for name in schema.names}
    for column, flat in zip(job.columns, codes.columns, strict=True):
        segments = Segments(job.recipe, codes.lengths, column.streams(job.recipe))
        tokens = undelay_flat(flat, segments)
        kind = schema.field(column.name).type
        arrays[column.name] = _original(tokens, segments, column, kind)
    return pa.RecordBatch.from_arrays([arrays[name] for name in schema.names], schema=schema)


def _original(tokens: Any, segments: Segments, column: Column, kind: pa.DataType) -> pa.Array:
    """Flat tokens as a column of the original type, with nulls for what was cut off."""
    leaf = kind
    while is_list(leaf):
        leaf = leaf.value_type
    dtype = np.dtype(str(leaf))
    info = np.iinfo(dtype)
    if tokens.size and not info.min <= int(tokens.min()) <= int(tokens.max()) <= info.max:
        raise DataError(
            f"tokens from {tokens.min()} to {tokens.max()}",
            expected=f"what the original type {leaf} holds",
            advice="make the shard anew",
            place=Place(column=column.name),
        )
    values = pa.array(tokens.astype(dtype, copy=False), mask=segments.lost())
    return to_arrow(values, segments.lengths, column.count, kind)


def cut(batch: pa.RecordBatch, job: Job) -> pa.RecordBatch:
    """An original batch as `unshift` gives it back: tokens that truncation cuts off are null."""
    if job.recipe.length == "extend":
        return batch
    tokens = read_tokens(batch, job)
    arrays = {name: batch.column(name) for name in batch.schema.names}
    for column, flat in zip(job.columns, tokens.columns, strict=True):
        segments = Segments(job.recipe, tokens.lengths, column.streams(job.recipe))
        kind = batch.schema.field(column.name).type
        arrays[column.name] = _original(flat, segments, column, kind)
    return pa.RecordBatch.from_arrays(list(arrays.values()), schema=batch.schema)


def count_frames(shifted: pa.RecordBatch, job: Job) -> tuple[int, int]:
    """Frames that went into a shifted batch, and tokens that truncation cut off."""
    codes = read_shifted(shifted, job)
    lost = sum(
        int(np.minimum(codes.lengths, delay).sum())
        for delay in job.recipe.delays
        if job.recipe.length == "truncate"
    )
    return int(codes.lengths.sum()), lost


def key_of(batch: pa.RecordBatch, row: int, job: Job) -> str | None:
    """What the job's key column calls a row of a batch; None where there is no such column."""
    if job.key is None or job.key not in batch.schema.names:
        return None
    key = f"{job.key} {batch.column(job.key)[row].as_py()!r}"
    return key if len(key) <= 80 else key[:77] + "..."


def placed(error: DataError, shard: str, rows: int, batch: pa.RecordBatch, job: Job) -> DataError:
    """An error of one batch with the shard's name, row number and key.

    rows: how many rows of the shard come before the batch
    """
    row = error.place.row
    if row is None:
        return error.at(shard=shard)
    return error.at(shard=shard, row=rows + row, key=key_of(batch, row, job))


def _mended(metadata: dict[bytes, bytes] | None, changed: list[pa.Field]) -> Any:
    """Schema metadata in which what describes the columns fits the changed ones."""
    if not metadata:
        return metadata
    mended = dict(metadata)
    for key, mend in ((b"huggingface", _mend_huggingface), (b"pandas", _mend_pandas)):
        if key in mended:
            try:
                described = json.loads(mended[key])
                mend(described, changed)
                mended[key] = json.dumps(described).encode()
            except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
                # A description that is not as expected cannot be mended; without it, readers go
                # by the Arrow schema.
                del mended[key]
    return mended


def _mend_huggingface(described: Any, changed: list[pa.Field]) -> None:
    """Describe the changed columns as Hugging Face `datasets` features."""
    features = described["info"]["features"]
    for field in changed:
        features[field.name] = _feature(field.type)


def _feature(kind: pa.DataType) -> dict[str, Any]:
    # "Sequence" with a length is read by every version of datasets, "List" only by new ones.
    if is_list(kind):
        name = "LargeList" if pa.types.is_large_list(kind) else "Sequence"
        length = {} if name == "LargeList" else {"length": -1}
        return {"feature": _feature(kind.value_type), **length, "_type": name}
    dtype = "float32" if pa.types.is_float32(kind) else str(kind)
    return {"dtype": dtype, "_type": "Value"}


def _mend_pandas(described: Any, changed: list[pa.Field]) -> None:
    """Describe the changed columns as pandas does: nested lists are objects to it."""
    columns = {column["name"]: column for column in described["columns"]}
    for field in changed:
        columns[field.name] = {
            "name": field.name,
            "field_name": field.name,
            "pandas_type": _pandas_type(field.type),
            "numpy_type": "object",
            "metadata": None,
        }
    described["columns"] = list(columns.values())


def _pandas_type(kind: pa.DataType) -> str:
    if is_list(kind):
        return f"list[{_pandas_type(kind.value_type)}]"
    return "float32" if pa.types.is_float32(kind) else str(kind)
