"""Nulls in restored columns, for tokens that were cut off."""

from __future__ import annotations

import pyarrow as pa

from delaytool.batches.job import Job
from delaytool.batches.structs import put_back_fields, taken_out_of_schema
from delaytool.batches.types import depth_of, is_list, lists_around


def nulls_in(tokens: pa.Array) -> int:
    """How many tokens of a column, whose lists are never null, are null."""
    values = tokens.storage if isinstance(tokens, pa.ExtensionArray) else tokens
    while is_list(values.type):
        values = values.flatten()
    return int(values.null_count)


def nullable(schema: pa.Schema, job: Job) -> pa.Schema:
    """A schema whose tokens may be null, for those that truncation cut off."""
    fields = []
    for field in taken_out_of_schema(schema, job.names):
        depth, leaf = depth_of(field.type)
        strict = "not null" in str(field.type)
        fields.append(
            field.with_type(lists_around(leaf, depth))
            if field.name in job.names and strict
            else field
        )
    return pa.schema(put_back_fields(fields, schema, job.names), metadata=schema.metadata)
