"""Arrow types: every walk over what is nested in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from delaytool.errors import DataError
from delaytool.pattern.segments import Index


def is_list(kind: pa.DataType) -> bool:
    """Whether values of this type are lists of some kind."""
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def storage(kind: pa.DataType) -> pa.DataType:
    """The type that values of an extension type (Hugging Face's Array2D) are stored as."""
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def depth_of(kind: pa.DataType) -> tuple[int, pa.DataType]:
    """How deep lists are nested, and the type inside: list<list<int16>> -> 2, int16"""
    kind, depth = storage(kind), 0
    while is_list(kind):
        kind, depth = kind.value_type, depth + 1
    return depth, kind


def common_type(types: Sequence[np.dtype[Any]]) -> np.dtype[Any]:
    """The integer type that holds the valid tokens of all these types: uint64, int8 -> int64"""
    if len(set(types)) == 1:
        return types[0]
    common = np.result_type(*types)
    return common if common.kind in "iu" else np.dtype(np.int64)


def lists_around(leaf: pa.DataType, depth: int) -> pa.DataType:
    """int16, 2 -> list<element: list<element: int16>>"""
    for _ in range(depth):
        leaf = pa.list_(pa.field("element", leaf))
    return leaf


def list_like(kind: pa.DataType, field: pa.Field) -> pa.DataType:
    """A list of the same kind around another field: large_list<int8>, int16 -> large_list<int16>"""
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(field, kind.list_size)
    return pa.large_list(field) if pa.types.is_large_list(kind) else pa.list_(field)


def with_list_sizes(
    kind: pa.DataType,
    leaf: pa.DataType,
    size_of: Callable[[int, int], int | None],
    level: int = 0,
) -> pa.DataType:
    """The same lists around another leaf, those of a fixed size with others.

    size_of: the size of a list of a fixed one, from its level and that; None for any length
    """
    if not is_list(kind):
        return leaf
    field = kind.value_field
    field = field.with_type(with_list_sizes(field.type, leaf, size_of, level + 1))
    if not pa.types.is_fixed_size_list(kind):
        return list_like(kind, field)
    size = size_of(level, kind.list_size)
    return pa.list_(field) if size is None else pa.list_(field, size)


def null_positions(array: pa.Array) -> list[int]:
    """Where an array is null."""
    if not array.null_count:
        return []
    positions: list[int] = np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False)).tolist()
    return positions


def list_lengths(lists: pa.Array) -> Index:
    """How long each list is, 0 where it is null."""
    kind = lists.type
    if (pa.types.is_list(kind) or pa.types.is_large_list(kind)) and not lists.null_count:
        return np.diff(np.asarray(lists.offsets.to_numpy())).astype(np.int64, copy=False)
    lengths = pc.list_value_length(lists).fill_null(0)
    return np.asarray(lengths.to_numpy(zero_copy_only=False)).astype(np.int64)


def lists_of(values: pa.Array, lengths: Index, kind: pa.DataType) -> pa.Array:
    """Lists of these lengths and of this type, around values."""
    if pa.types.is_fixed_size_list(kind):
        wrong = np.flatnonzero(lengths != kind.list_size)
        if wrong.size:
            raise DataError(
                "list-size",
                f"{lengths[wrong[0]]} entries in a list",
                expected=f"{kind.list_size}, the size that its type {kind} fixes",
                advice="make the shard anew",
            )
        return pa.FixedSizeListArray.from_arrays(values, type=kind)
    large = pa.types.is_large_list(kind)
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    if not large and offsets[-1] > np.iinfo(np.int32).max:
        raise DataError(
            "batch-size",
            f"{offsets[-1]} cells in one list column of one batch",
            expected=f"at most {np.iinfo(np.int32).max}",
            advice="split the rows, or store them as large_list",
        )
    make = pa.LargeListArray if large else pa.ListArray
    return make.from_arrays(
        pa.array(offsets if large else offsets.astype(np.int32)), values, type=kind
    )


def type_name(kind: pa.DataType) -> str:
    """list<element: list<element: int16>> as list<list<int16>>"""
    if isinstance(kind, pa.BaseExtensionType):
        return f"{kind.extension_name}<{type_name(kind.storage_type)}>"
    if pa.types.is_fixed_size_list(kind):
        return f"fixed_size_list<{type_name(kind.value_type)}>[{kind.list_size}]"
    if pa.types.is_large_list(kind):
        return f"large_list<{type_name(kind.value_type)}>"
    return f"list<{type_name(kind.value_type)}>" if pa.types.is_list(kind) else str(kind)


def check_there(schema: pa.Schema, name: str, option: str) -> None:
    """Raise DataError unless the schema has this column."""
    if name not in schema.names:
        raise DataError(
            "missing-column",
            f"there is no column {name}",
            expected=f"one of {', '.join(schema.names) or 'no columns at all'}",
            advice=f"name the column with {option}",
        )


def leaf_width(kind: pa.DataType) -> int:
    """Bytes of one value inside all lists: list<list<int16>> -> 2"""
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    while hasattr(kind, "value_type"):
        kind = kind.value_type
    try:
        return int(kind.bit_width) // 8
    except ValueError:
        return 1


def cell_sizes(array: pa.Array) -> Any:
    """Decoded bytes of each row: an integer if all are alike, else int64 [rows].

    [[1, 2], None, [3]] of int16 -> [4, 0, 2]
    """
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return cell_sizes(array.storage)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_map(kind):
        ends = array.offsets.to_numpy()
        if not len(array):
            return 0
        values = array.values if not pa.types.is_map(kind) else None
        if values is None:
            inner = np.broadcast_to(cell_sizes(array.keys), len(array.keys)) + cell_sizes(
                array.items
            )
        else:
            inner = cell_sizes(values)
        if isinstance(inner, int):
            return np.diff(ends).astype(np.int64) * inner
        sums = np.concatenate([[0], np.cumsum(inner)])
        return sums[ends[1:]] - sums[ends[:-1]]
    if pa.types.is_fixed_size_list(kind):
        part = array.values[array.offset * kind.list_size :][: len(array) * kind.list_size]
        inner = cell_sizes(part)
        if isinstance(inner, int):
            return inner * kind.list_size
        return inner.reshape(len(array), kind.list_size).sum(axis=1)
    if pa.types.is_struct(kind):
        total: Any = 0
        for i in range(kind.num_fields):
            total = total + cell_sizes(array.field(i))
        return total
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        return cell_sizes(array.cast(pa.large_binary()))
    if any(
        test(kind)
        for test in (
            pa.types.is_string,
            pa.types.is_binary,
            pa.types.is_large_string,
            pa.types.is_large_binary,
        )
    ):
        lengths = pc.binary_length(array).fill_null(0)
        return lengths.to_numpy(zero_copy_only=False).astype(np.int64)
    if pa.types.is_dictionary(kind):
        # As its values: whoever hashes or writes it may have to decode it.
        count = len(array.dictionary)
        sizes = np.append(np.broadcast_to(cell_sizes(array.dictionary), (count,)), 0)
        return sizes[array.indices.cast(pa.int64()).fill_null(count).to_numpy()]
    try:
        return max(1, int(kind.bit_width) // 8)
    except ValueError:
        return 0


def as_stored(field: pa.Field, lists: bool = True) -> pa.Field:
    """A field with the names that Parquet gives to what is inside of it.

    list<item: int32> -> list<element: int32>

    lists: whether lists are renamed too, or maps alone
    """
    kind = field.type
    if isinstance(kind, pa.BaseExtensionType):
        return field
    if pa.types.is_struct(kind):
        return field.with_type(
            pa.struct([as_stored(kind.field(i), lists) for i in range(kind.num_fields)])
        )
    if pa.types.is_map(kind):
        key, item = as_stored(kind.key_field, lists), as_stored(kind.item_field, lists)
        return field.with_type(
            pa.map_(key.with_name("key"), item.with_name("value"), kind.keys_sorted)
        )
    if not hasattr(kind, "value_field"):
        return field
    inner = as_stored(kind.value_field, lists)
    inner = inner.with_name("element") if lists else inner
    if pa.types.is_fixed_size_list(kind):
        return field.with_type(pa.list_(inner, kind.list_size))
    if pa.types.is_large_list(kind):
        return field.with_type(pa.large_list(inner))
    return field.with_type(pa.list_(inner)) if pa.types.is_list(kind) else field


def is_stored_as(have: pa.Field, want: pa.Field) -> bool:
    """Whether a field that was read is this one, as it is or with Parquet's names inside."""
    have = as_stored(have, lists=False)
    return any(
        have.equals(as_stored(want, lists=renamed), check_metadata=True)
        for renamed in (True, False)
    )


def leaf_paths(field: pa.Field) -> list[str]:
    """The names of a field's leaves in a Parquet schema: list<list<int>> a -> a.list.element..."""
    return [path for path, _ in leaves(field)]


def leaves(field: pa.Field, before: str = "") -> list[tuple[str, pa.DataType]]:
    """A field's leaves: the names that Parquet gives them when they are written, and their types.

    a: list<list<int32>> -> [("a.list.element.list.element", int32)]
    """
    path, kind = before + field.name, field.type
    if isinstance(kind, pa.BaseExtensionType) and kind.storage_type.num_fields:
        kind = kind.storage_type
    if pa.types.is_map(kind):
        inner = f"{path}.key_value."
        return [
            *leaves(kind.key_field.with_name("key"), inner),
            *leaves(kind.item_field.with_name("value"), inner),
        ]
    if pa.types.is_struct(kind):
        return [leaf for i in range(kind.num_fields) for leaf in leaves(kind.field(i), f"{path}.")]
    if hasattr(kind, "value_field"):
        return leaves(kind.value_field.with_name("element"), f"{path}.list.")
    return [(path, kind)]


def leaf_arrays(array: pa.Array) -> Iterator[pa.Array]:
    """The leaves of an array, in their type's order; what a slice left out may be in them."""
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        yield from leaf_arrays(array.storage)
    elif pa.types.is_map(kind):
        yield from leaf_arrays(array.keys)
        yield from leaf_arrays(array.items)
    elif pa.types.is_struct(kind):
        for i in range(kind.num_fields):
            yield from leaf_arrays(array.field(i))
    elif hasattr(kind, "value_field"):
        yield from leaf_arrays(array.values)
    else:
        yield array
