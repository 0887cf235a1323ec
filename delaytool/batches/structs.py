"""Tokens in fields of structs: taken out of these for what is done to them, and put back.

    codes: struct<tokens, lang>  <->  codes: struct<lang>, codes.tokens

Rows of which a struct is null are bad, and none of those that come here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from delaytool.batches.fields import Path, array_at, field_at, fields_in, path_of
from delaytool.batches.types import batch_of

Paths = Mapping[Path, str]
"""Fields of structs by where they are."""


def _inside(schema: pa.Schema, names: Sequence[str]) -> Paths:
    """Those of the names that are fields of structs."""
    paths = {path_of(schema, name): name for name in names}
    return {path: name for path, name in paths.items() if path is not None and len(path) > 1}


def structs_of(schema: pa.Schema, names: Sequence[str]) -> list[str]:
    """The columns of which fields have these names."""
    return list(dict.fromkeys(schema.names[path[0]] for path in _inside(schema, names)))


def _holds(path: Path, inside: Paths) -> bool:
    """Whether one of the fields is in what is at a path."""
    return any(each[: len(path)] == path for each in inside)


def taken_out_of_schema(schema: pa.Schema, names: Sequence[str]) -> pa.Schema:
    """A schema with fields of structs as columns, each behind what is left of its struct."""
    inside = _inside(schema, names)
    if not inside:
        return schema
    fields: list[pa.Field] = []
    for number, field in enumerate(schema):
        left = _left(field, (number,), inside)
        fields += [] if left is None else [left]
        fields += [field_at(schema, n) for path, n in sorted(inside.items()) if path[0] == number]
    return pa.schema(fields, metadata=schema.metadata)


def _left(field: pa.Field, path: Path, inside: Paths) -> pa.Field | None:
    """A field without those in it that are taken out; None where nothing is left."""
    if path in inside:
        return None
    if not _holds(path, inside):
        return field
    parts = [_left(part, (*path, i), inside) for i, part in enumerate(fields_in(field.type))]
    left = [part for part in parts if part is not None]
    return field.with_type(pa.struct(left)) if left else None


def taken_out(batch: pa.RecordBatch, names: Sequence[str]) -> pa.RecordBatch:
    """A batch with fields of structs as columns."""
    inside = _inside(batch.schema, names)
    if not inside:
        return batch
    schema = taken_out_of_schema(batch.schema, names)
    arrays = {name: array_at(batch, name) for name in inside.values()}
    for number, (name, array) in enumerate(zip(batch.schema.names, batch.columns, strict=True)):
        left = _rest(array, batch.schema.field(number), (number,), inside)
        arrays |= {} if left is None else {name: left}
    return pa.RecordBatch.from_arrays([arrays[name] for name in schema.names], schema=schema)


def _rest(array: pa.Array, field: pa.Field, path: Path, inside: Paths) -> pa.Array | None:
    """What `_left` leaves of an array."""
    left = _left(field, path, inside)
    if left is None or not _holds(path, inside):
        return None if left is None else array
    parts = [
        _rest(array.field(i), part, (*path, i), inside)
        for i, part in enumerate(fields_in(field.type))
    ]
    return _struct([part for part in parts if part is not None], left.type)


def _struct(arrays: Sequence[pa.Array], kind: pa.DataType) -> pa.Array:
    return pa.StructArray.from_arrays(arrays, fields=fields_in(kind))


def put_back_fields(
    fields: Sequence[pa.Field],
    schema: pa.Schema,
    names: Sequence[str],
    dropped: Sequence[str] = (),
) -> list[pa.Field]:
    """The fields of `taken_out_of_schema` as they are in structs.

    fields:  some of them changed, some gone, and others among them
    schema:  which structs they were in
    dropped: columns that are left out; of a struct what was not taken out
    """
    inside = _inside(schema, names)
    if not inside:
        return list(fields)
    left = {schema.names[path[0]] for path in inside} - set(dropped)
    left &= set(taken_out_of_schema(schema, names).names)
    tops = {name: path[0] for path, name in inside.items()}
    tops |= {name: schema.names.index(name) for name in left}
    by_name = {field.name: field for field in fields}
    found: list[pa.Field] = []
    done: set[int] = set()
    for field in fields:
        number = tops.get(field.name)
        if number is None:
            found.append(field)
        elif number not in done:
            done.add(number)
            whole = schema.field(number)
            keeps = whole.name not in dropped
            found.append(_filled(whole, (number,), inside, by_name, keeps))
    return found


def _filled(
    field: pa.Field, path: Path, inside: Paths, by_name: Mapping[str, pa.Field], keeps: bool
) -> pa.Field | None:
    """A field with those in it that have changed, without those that are gone.

    keeps: whether those that were not taken out stay
    """
    if path in inside:
        new = by_name.get(inside[path])
        return None if new is None else new.with_name(field.name)
    if not _holds(path, inside):
        return field if keeps else None
    parts = enumerate(fields_in(field.type))
    filled = [_filled(part, (*path, i), inside, by_name, keeps) for i, part in parts]
    kept = [part for part in filled if part is not None]
    return field.with_type(pa.struct(kept)) if kept else None


def put_back(batch: pa.RecordBatch, schema: pa.Schema, names: Sequence[str]) -> pa.RecordBatch:
    """A batch with its columns of these names in the structs of a schema."""
    inside = _inside(schema, names)
    if not inside:
        return batch
    arrays = dict(zip(batch.schema.names, batch.columns, strict=True))
    columns = []
    for number, field in enumerate(schema):
        rest = iter([arrays[field.name]]) if field.name in arrays else iter(())
        columns.append(_built(field, (number,), inside, arrays, rest))
    return batch_of(columns, schema)


def _built(
    field: pa.Field,
    path: Path,
    inside: Paths,
    arrays: Mapping[str, pa.Array],
    rest: Iterator[pa.Array],
) -> pa.Array:
    """An array of a field, from what was taken out and, in order, what was left."""
    if path in inside:
        return arrays[inside[path]]
    if not _holds(path, inside):
        return next(rest)
    left = _left(field, path, inside)
    struct = None if left is None else next(rest)
    within = iter(
        () if struct is None else [struct.field(i) for i in range(struct.type.num_fields)]
    )
    parts = [
        _built(part, (*path, i), inside, arrays, within)
        for i, part in enumerate(fields_in(field.type))
    ]
    return _struct(parts, field.type)
