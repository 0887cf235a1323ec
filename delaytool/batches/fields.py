"""Columns by their names, and fields of structs: `codes.tokens` where no column has that name.

A name is the column's if there is one; else it is taken apart at its dots, and each part but the
last has to name a struct.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from delaytool.batches.types import depth_of
from delaytool.errors import DataError

Path = tuple[int, ...]
"""Where a column is: its number, then that of the field in it, and so on."""


def path_of(schema: pa.Schema, name: str) -> Path | None:
    """Where a column is; None where there is none of that name."""
    names = schema.names
    if name in names:
        return (names.index(name),)
    return _path_in(list(schema), name)


def _path_in(fields: Sequence[pa.Field], name: str) -> Path | None:
    """The same among the fields of a struct; of two fields of one name neither is found."""
    names = [field.name for field in fields]
    if names.count(name) == 1:
        return (names.index(name),)
    for dot in (at for at, letter in enumerate(name) if letter == "."):
        if names.count(name[:dot]) == 1:
            number = names.index(name[:dot])
            path = _path_in(fields_in(fields[number].type), name[dot + 1 :])
            if path is not None:
                return (number, *path)
    return None


def fields_in(kind: pa.DataType) -> list[pa.Field]:
    """The fields of a struct; none of any other type."""
    return [kind.field(i) for i in range(kind.num_fields)] if pa.types.is_struct(kind) else []


def is_there(schema: pa.Schema, name: str) -> bool:
    """Whether there is a column, or a field of a struct, of that name."""
    return path_of(schema, name) is not None


def field_at(schema: pa.Schema, name: str) -> pa.Field:
    """The field of a column that is there, under its whole name."""
    path = path_of(schema, name)
    assert path is not None, "checked before"
    field = schema.field(path[0])
    for number in path[1:]:
        field = fields_in(field.type)[number]
    return field.with_name(name)


def array_at(batch: pa.RecordBatch, name: str) -> pa.Array:
    """A column that is there; of a field of structs, null where one of these is."""
    path = path_of(batch.schema, name)
    assert path is not None, "checked before"
    array = batch.column(path[0])
    for number in path[1:]:
        array = pc.struct_field(array, [number]) if array.null_count else array.field(number)
    return array


def tops_of(schema: pa.Schema, names: Iterable[str]) -> list[str]:
    """The columns, in their order, that are these or have these in them; others are left out."""
    paths = [path_of(schema, name) for name in names]
    numbers = {path[0] for path in paths if path is not None}
    return [name for number, name in enumerate(schema.names) if number in numbers]


def check_there(schema: pa.Schema, name: str, argument: str) -> None:
    """Raise DataError unless the schema has this column, which an argument names."""
    if is_there(schema, name):
        return
    what, there = f"column {name}", ", ".join(_names_in(list(schema))) or "none at all"
    for dot in reversed([at for at, letter in enumerate(name) if letter == "."]):
        around = path_of(schema, name[:dot])
        if around is not None and (fields := fields_in(field_at(schema, name[:dot]).type)):
            what = f"field {name[dot + 1 :]} in {name[:dot]}"
            there = ", ".join(field.name for field in fields)
            break
    raise DataError(
        "missing-column",
        f"there is no {what}; there are {there}",
        advice=f"name the column with {argument}",
    )


def _names_in(fields: Iterable[pa.Field], before: str = "") -> Iterable[str]:
    """The names of columns; of a struct those of its fields that may hold tokens, if it has any."""
    for field in fields:
        name = before + field.name
        yield from names_of_tokens(field.with_name(name)) or [name]


def names_of_tokens(field: pa.Field) -> list[str]:
    """The fields of a struct that are lists of integers, under their whole names."""
    names: list[str] = []
    for part in fields_in(field.type):
        whole = part.with_name(f"{field.name}.{part.name}")
        names += [whole.name] if may_be_tokens(part.type) else names_of_tokens(whole)
    return names


def may_be_tokens(kind: pa.DataType) -> bool:
    """Whether a type is lists of integers."""
    depth, leaf = depth_of(kind)
    return bool(depth and pa.types.is_integer(leaf))
