"""Columns that pass through although someone may not mean them to."""

from __future__ import annotations

import pyarrow as pa

from delaytool.batches.fields import array_at, tops_of
from delaytool.batches.job import Job
from delaytool.batches.types import depth_of, has_bytes, list_lengths
from delaytool.batches.unwrapping import lists_at
from delaytool.shards.failures import reading
from delaytool.shards.pairs import Opened

_NOTABLE = 0.01
"""The share of a shard's bytes from which on a column of bytes is worth a note."""


def unshifted_columns(source: Opened, job: Job) -> list[str]:
    """Notes on columns that look like they belong to the tokens but pass through unshifted."""
    tokens = {*job.names_with_factors, *job.drop_columns}
    with reading(source.shard.name):
        batch = next(source.small_batches(job.reads(source.schema)), None)
        if batch is None or not batch.num_rows:
            return []
        steps = _frames_of_first_row(batch, job)
        return [
            f"column {name} is as long as the tokens and passes through unshifted"
            for name, array in zip(batch.schema.names, batch.columns, strict=True)
            if name not in tokens and steps > 1 and _length(array) == steps
        ]


def _frames_of_first_row(batch: pa.RecordBatch, job: Job) -> int:
    """T of a batch's first row, by its first column; 0 where that is null."""
    column = job.columns[0]
    value = lists_at(array_at(batch, column.name), 0, column.layout.depth)
    return column.layout.frames(value, column.size) if value else 0


def _length(array: pa.Array) -> int | None:
    """How long the list in the first row is; None where it is none."""
    if not depth_of(array.type)[0] or not array[0].is_valid:
        return None
    return int(list_lengths(array.slice(0, 1))[0])


def columns_of_bytes(source: Opened, job: Job) -> list[str]:
    """Notes on columns of bytes, such as the audio itself, which make shards large."""
    known = {*tops_of(source.schema, job.names_with_factors), *job.drop_columns, job.key}
    names = [f.name for f in source.schema if f.name not in known and has_bytes(f.type)]
    sizes = source.bytes_of_columns() if names else {}
    shares = {name: sizes[name] / max(sum(sizes.values()), 1) for name in names}
    return [
        f"column {name} holds bytes, such as audio, and passes through: {100 * shares[name]:.3g}% "
        f"of all bytes of {source.shard.name}; `drop_column={name!r}` leaves it out"
        for name in names
        if shares[name] >= _NOTABLE
    ]
