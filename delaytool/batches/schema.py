"""What the schema of a batch becomes when its tokens are shifted."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from delaytool.batches.fields import check_there, field_at
from delaytool.batches.job import GRID_COLUMN, Job
from delaytool.batches.layouts import Column, Output, check_column_type
from delaytool.batches.metadata import (
    ENTRY,
    QUARANTINE_ENTRY,
    REASON,
    STORED_SCHEMA,
    mended_metadata,
)
from delaytool.batches.structs import put_back_fields, structs_of, taken_out_of_schema
from delaytool.batches.types import (
    common_type,
    depth_of,
    lists_around,
    without_nulls,
)
from delaytool.errors import DataError, Place, RecipeError
from delaytool.pattern.flat import possible_fills, widened
from delaytool.pattern.weights import NO_LABEL


def output_type(kinds: Sequence[pa.DataType], output: Output, job: Job) -> pa.DataType:
    """The type of a column of shifted tokens.

    kinds: the types of the columns that its tokens come from; one of the same layout keeps its
           lists, except that fixed-size time axes become lists
    """
    if job.narrow:
        leaf = pa.from_numpy_dtype(narrowest(output, job))
    else:
        leaves = [np.dtype(str(depth_of(kind)[1])) for kind in kinds]
        leaf = pa.from_numpy_dtype(widened(common_type(leaves), _fills(output, job)))
    twin = job.twin(output)
    if twin is None:
        return lists_around(leaf, output.layout.depth)
    return output.layout.type_of_shifted(kinds[0], leaf)


def narrowest(output: Output, job: Job) -> np.dtype[Any]:
    """The narrowest signed type that holds the vocabulary and the fill tokens of an output.

    cardinality 2048, fills {2048, -1} -> int16
    """
    last = {stream.cardinality - 1 for stream in output.streams(job.recipe)}
    return widened(np.dtype(np.int8), _fills(output, job) | last)


def _fills(output: Output, job: Job) -> set[int]:
    """The tokens that the pattern, alignment and windows may put into an output."""
    streams = output.streams(job.recipe)
    fills = possible_fills(job.recipe, streams)
    if job.windows is not None and job.windows.pad:
        fills |= {stream.trail for stream in streams}
    if job.pads:
        fills |= {stream.padding for stream in streams if stream.kind == "text"}
    return fills


def labels_type(kind: pa.DataType) -> pa.DataType:
    """The type of a column of labels: the tokens' lists around a type that holds -100."""
    depth, leaf = depth_of(kind)
    wide = widened(np.dtype(str(leaf)), {NO_LABEL})
    return lists_around(pa.from_numpy_dtype(wide), depth)


def weights_type(kind: pa.DataType) -> pa.DataType:
    """The type of a column of weights: the tokens' lists around float32."""
    return lists_around(pa.float32(), depth_of(kind)[0])


def check_schema(schema: pa.Schema, job: Job) -> None:
    """Raise DataError unless the job's columns are there, fit, and their outputs' names free."""
    names = schema.names
    for name in names:
        if names.count(name) > 1:
            raise DataError(
                "column-twice",
                f"two columns are named {name}",
                expected="one of each name",
                advice="rename one of them",
            )
    if ENTRY.encode() in (schema.metadata or {}):
        raise already_shifted()
    for column in job.columns:
        check_there(schema, column.name, _argument_of(column, job))
        check_column_type(field_at(schema, column.name), column.layout)
    if job.factors is not None:
        check_there(schema, job.factors, "`weight_column`")
        _check_factors(field_at(schema, job.factors))
    check_dropped(schema, job)
    _check_slices(job)
    taken = set(taken_out_of_schema(schema, job.names).names)
    taken -= {*(column.name for column in job.columns if column.is_whole), *job.drop_columns}
    for name in taken.intersection(job.window_columns):
        raise RecipeError(
            f"the column {name} is in the way of a column of that name in the output, expected no "
            "column of that name where rows are cut into windows; rename it, or leave it out with "
            f"`drop_column={name!r}`"
        )
    for name in (name for output in job.outputs for name in job.names_of(output)):
        if name in taken:
            raise DataError(
                "column-in-the-way",
                f"the column {name} is in the way of a column of that name in the output",
                expected="no column of that name",
                advice=f"rename it, or leave it out with `drop_column={name!r}`"
                + (", or use `no_weights=True`" if name.endswith("loss_weights") else ""),
                place=Place(column=name),
            )


def check_dropped(schema: pa.Schema, job: Job) -> None:
    """Raise unless the columns that are left out are there, and hold no factors on the weights."""
    factors = structs_of(schema, [job.factors] if job.factors else [])
    for name in job.drop_columns:
        if name in factors:
            raise RecipeError(
                f"`drop_column` is {name}, which holds the factors on the loss weights, by which "
                "these are verified; expected a column that only passes through"
            )
        if name not in job.names and name not in schema.names:
            raise DataError(
                "missing-column",
                f"there is no column {name}; there are {', '.join(schema.names)}",
                advice="name a column with `drop_column` that passes through",
            )


def _check_slices(job: Job) -> None:
    """A slice's other codebooks stay under the column's name, so its streams need another."""
    outputs = {output.name for output in job.outputs}
    for column in job.columns:
        if job.has_rest(column) and column.name in outputs:
            of_grid = column.name == GRID_COLUMN
            raise DataError(
                "slice",
                f"only codebooks {column.start} to {column.start + column.count - 1} "
                f"of {column.size} are used, and the others stay in a column of this name",
                expected="another name for the column" if of_grid else "a grid for the ones used",
                advice=("rename the column" if of_grid else 'give `output_layout="grid"`')
                + f", or leave the others out with `drop_column={column.name!r}`",
                place=Place(column=column.name),
            )


def _argument_of(column: Column, job: Job) -> str:
    if column in job.text_columns:
        return "`text_column`"
    texts = set(job.recipe.text_numbers)
    return "`audio_column`" if texts.isdisjoint(column.numbers) else "`grid_column`"


def _check_factors(field: pa.Field) -> None:
    depth, leaf = depth_of(field.type)
    number = pa.types.is_floating(leaf) or pa.types.is_integer(leaf) or pa.types.is_boolean(leaf)
    if depth not in (1, 2) or not number:
        raise DataError(
            "column-type",
            f"has the type {field.type}",
            expected="list<number> [T], or list<list<number>> [K][T]; true is 1, false 0",
            advice="name another `weight_column`",
            place=Place(column=field.name),
        )


def already_shifted() -> DataError:
    """The error for an input that is an output of delaytool."""
    return DataError(
        "shifted-already",
        f"it holds a {ENTRY} entry: it is shifted already",
        expected="an original shard",
        advice="give the original shards; shifting twice is never meant",
    )


class _Exact:
    """A schema that equals only what is the same in everything, metadata included."""

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        self._message = schema.serialize().to_pybytes()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Exact) and self._message == other._message

    def __hash__(self) -> int:
        return hash(self._message)


def shifted_schema(schema: pa.Schema, job: Job) -> pa.Schema:
    """The schema of what `shift` gives for batches of this schema.

    An output that a column of the same streams and layout becomes takes its position, one that is
    put together takes that of the first column with tokens. Raises DataError as `check_schema`
    does.
    """
    return _shifted_schema(_Exact(schema), job)


@functools.lru_cache(maxsize=4)
def _shifted_schema(exact: _Exact, job: Job) -> pa.Schema:
    """The same, made once for all shards of a dataset."""
    schema = exact.schema
    check_schema(schema, job)
    source = taken_out_of_schema(schema, job.names)
    twins = {twin.name: output for output in job.outputs if (twin := job.twin(output))}
    made = [output for output in job.outputs if job.twin(output) is None]
    columns = {column.name: column for column in job.columns}
    fields: list[pa.Field] = []
    changed: list[pa.Field] = []
    for field in source:
        column = columns.get(field.name)
        if column is None:
            fields += [] if field.name in job.drop_columns else [field]
            continue
        new = [_output_field(output, source, job) for output in made]
        made = []
        if field.name in twins:
            new.append(_output_field(twins[field.name], source, job))
        elif job.has_rest(column):
            new.append(_field_of_codebooks(field, column, column.size - column.count))
        changed += new
        fields += new
    for type_of, name_of in ((weights_type, "weights"), (labels_type, "labels")):
        for output in job.outputs:
            name = getattr(output, name_of)
            if name:
                tokens = next(field for field in fields if field.name == output.name)
                changed.append(without_nulls(pa.field(name, type_of(tokens.type))))
                fields.append(changed[-1])
    for name in job.window_columns:
        changed.append(pa.field(name, pa.int32()))
        fields.append(changed[-1])
    return _in_structs(fields, changed, schema, job)


def _in_structs(
    fields: list[pa.Field], changed: list[pa.Field], schema: pa.Schema, job: Job
) -> pa.Schema:
    """A schema of fields, those of structs put back, with metadata that describes the changed."""
    names = {field.name for field in changed} | {*structs_of(schema, job.names)}
    fields = put_back_fields(fields, schema, job.names, job.drop_columns)
    changed = [field for field in fields if field.name in names]
    return pa.schema(fields, metadata=mended_metadata(schema, fields, changed))


def _output_field(output: Output, schema: pa.Schema, job: Job) -> pa.Field:
    """The field of an output's tokens, of which none is null: readers need not look then."""
    twin = job.twin(output)
    sources = [twin] if twin else [c for c in job.columns if overlap(c, output)]
    kinds = [_restored_field(schema.field(column.name), column, job).type for column in sources]
    kind = output_type(kinds, output, job)
    if twin:
        field = _plain_field(schema.field(twin.name)).with_type(kind).with_name(output.name)
        return without_nulls(field)
    return without_nulls(pa.field(output.name, kind))


def _restored_field(field: pa.Field, column: Column, job: Job) -> pa.Field:
    """The field of a column as reverting gives it."""
    if job.restored(column) == column:
        return field
    return _field_of_codebooks(field, column, column.count)


def _field_of_codebooks(field: pa.Field, column: Column, count: int) -> pa.Field:
    """The field of a column of codes for another number of codebooks."""
    return _plain_field(field).with_type(column.layout.type_of_codebooks(field.type, count))


def restored_schema(schema: pa.Schema, job: Job) -> pa.Schema:
    """The schema of what reverting an output gives: the source's, without what was left out."""
    if not job.drop_columns:
        return schema
    columns = {column.name: column for column in job.columns}
    fields, changed = [], []
    for field in taken_out_of_schema(schema, job.names):
        if field.name not in job.drop_columns:
            fields.append(field)
        elif field.name in columns:
            changed.append(_restored_field(field, columns[field.name], job))
            fields.append(changed[-1])
    return _in_structs(fields, changed, schema, job)


def quarantine_schema(schema: pa.Schema) -> pa.Schema:
    """The schema of bad rows: all their columns, and a reason; raises DataError for a clash."""
    if REASON in schema.names:
        raise DataError(
            "column-in-the-way",
            f"the column {REASON} is in the way of a column of that name in the quarantine",
            expected="no column of that name",
            advice="rename it, or run without `quarantine`",
            place=Place(column=REASON),
        )
    reason = pa.field(REASON, pa.string())
    fields = [*schema, reason]
    return pa.schema(fields, metadata=mended_metadata(schema, fields, [reason]))


def without_reason(schema: pa.Schema) -> pa.Schema:
    """The schema of bad rows as it was before they got a reason."""
    fields = [field for field in schema if field.name != REASON]
    metadata = dict(mended_metadata(schema, fields, []) or {})
    metadata.pop(QUARANTINE_ENTRY.encode(), None)
    return pa.schema(fields, metadata=metadata or None)


def output_entries(
    schema: pa.Schema, entries: Mapping[bytes, bytes], job: Job
) -> dict[bytes, bytes]:
    """The key-value entries of an output's footer, without the record and the Arrow schema.

    schema, entries: of its source
    """
    return mended_entries(schema, entries, lambda source: shifted_schema(source, job))


def mended_entries(
    schema: pa.Schema, entries: Mapping[bytes, bytes], become: Callable[[pa.Schema], pa.Schema]
) -> dict[bytes, bytes]:
    """The entries of a footer in which what describes the columns fits those that they become.

    Where the schema's metadata has another value than the entry of that key, the entry stays.
    """
    made = ENTRY.encode(), STORED_SCHEMA
    theirs = {key: value for key, value in entries.items() if key not in made}
    metadata = become(schema).metadata or {}
    if theirs == (schema.metadata or {}):
        return dict(metadata)
    return {**metadata, **(become(schema.with_metadata(theirs)).metadata or {})}


def overlap(column: Column, output: Output) -> bool:
    """Whether a column and an output have streams in common."""
    return not set(column.numbers).isdisjoint(output.numbers)


def _plain_field(field: pa.Field) -> pa.Field:
    """A field without the note that it is an extension type, whose shape no longer fits."""
    notes = {k: v for k, v in (field.metadata or {}).items() if not k.startswith(b"ARROW:ext")}
    return field.with_metadata(notes or None)
