"""Arrow types: every walk over what is nested in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from delaytool.errors import DataError
from delaytool.pattern.segments import Index


def is_list(kind: pa.DataType) -> bool:
    """Whether values of this type are lists of some kind."""
    plain = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return bool(plain or pa.types.is_fixed_size_list(kind) or is_list_view(kind))


def storage(kind: pa.DataType) -> pa.DataType:
    """The type that values of an extension type (Hugging Face's Array2D) are stored as."""
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def stored(array: pa.Array) -> pa.Array:
    """The array that an array of an extension type is stored as; any other as it is."""
    return array.storage if isinstance(array.type, pa.BaseExtensionType) else array


def is_tensor(kind: pa.DataType) -> bool:
    """Whether values are tensors of one shape, in one list each: Arrow's fixed_shape_tensor."""
    return isinstance(kind, pa.FixedShapeTensorType)


def is_list_view(kind: pa.DataType) -> bool:
    """Whether values of this type are lists with offsets and sizes in any order."""
    return bool(pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind))


def is_bytes_view(kind: pa.DataType) -> bool:
    """Whether values are strings or bytes that lie anywhere."""
    return bool(pa.types.is_string_view(kind) or pa.types.is_binary_view(kind))


def has_views(kind: pa.DataType) -> bool:
    """Whether any values in it are views of lists, strings or bytes."""
    return is_list_view(kind) or is_bytes_view(kind) or any(map(has_views, child_types(kind)))


def child_types(kind: pa.DataType) -> list[pa.DataType]:
    """The types of what is inside of a list, a map or a struct; none of any other."""
    return [field.type for field in _children(kind)[1]]


def is_bytes(kind: pa.DataType) -> bool:
    """Whether values are strings or bytes with offsets."""
    texts = pa.types.is_string, pa.types.is_large_string
    return any(test(kind) for test in (*texts, pa.types.is_binary, pa.types.is_large_binary))


def stands_for(kind: pa.DataType, values: pa.DataType) -> bool:
    """Whether an array of one type is a dictionary of values of the other."""
    return bool(pa.types.is_dictionary(kind)) and kind.value_type == values


def batch_of(arrays: Sequence[pa.Array], schema: pa.Schema) -> pa.RecordBatch:
    """A batch of these columns, some of which may be dictionaries of the schema's values."""
    for number, array in enumerate(arrays):
        field = schema.field(number)
        if stands_for(array.type, field.type):
            schema = schema.set(number, field.with_type(array.type))
    return pa.RecordBatch.from_arrays(list(arrays), schema=schema)


def has_bytes(kind: pa.DataType) -> bool:
    """Whether any values in it are bytes of any length: struct<bytes: binary, path: string>"""
    kind = storage(kind)
    tests = pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view
    return any(test(kind) for test in tests) or any(map(has_bytes, child_types(kind)))


def depth_of(kind: pa.DataType) -> tuple[int, pa.DataType]:
    """How deep lists are nested, and the type inside: list<list<int16>> -> 2, int16

    Of a tensor as many as it has axes.
    """
    if is_tensor(kind):
        return len(kind.shape), kind.value_type
    kind, depth = storage(kind), 0
    while is_list(kind):
        kind, depth = kind.value_type, depth + 1
    return depth, kind


def are_words(kind: pa.DataType) -> bool:
    """Whether values are text, or words with their times: list<struct<word, start, end>>"""
    _, leaf = depth_of(kind)
    if pa.types.is_struct(leaf):
        texts = (is_bytes(leaf.field(i).type) for i in range(leaf.num_fields))
        return any(texts) or have_times(kind)
    return is_bytes(leaf)


def have_times(kind: pa.DataType) -> bool:
    """Whether values are lists of what has a start and an end, as words have."""
    depth, leaf = depth_of(kind)
    if depth != 1 or not pa.types.is_struct(leaf):
        return False
    return {"start", "end"} <= {leaf.field(i).name for i in range(leaf.num_fields)}


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


def without_nulls(field: pa.Field) -> pa.Field:
    """The field as one that holds no nulls, and if it holds lists, nor do these."""
    if is_list(field.type):
        field = field.with_type(list_like(field.type, without_nulls(field.type.value_field)))
    return field.with_nullable(False)


def list_like(kind: pa.DataType, field: pa.Field) -> pa.DataType:
    """A list of the same kind around another field: large_list<int8>, int16 -> large_list<int16>"""
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(field, kind.list_size)
    if is_list_view(kind):
        large = pa.types.is_large_list_view(kind)
        return pa.large_list_view(field) if large else pa.list_view(field)
    return pa.large_list(field) if pa.types.is_large_list(kind) else pa.list_(field)


def with_list_sizes(
    kind: pa.DataType,
    leaf: pa.DataType,
    size_of: Callable[[int, int], int | None],
    level: int = 0,
) -> pa.DataType:
    """The same lists around another leaf, those of a fixed size with others, none of them views.

    size_of: the size of a list of a fixed one, from its level and that; None for any length
    """
    if not is_list(kind):
        return leaf
    field = kind.value_field
    field = field.with_type(with_list_sizes(field.type, leaf, size_of, level + 1))
    if is_list_view(kind):
        return pa.large_list(field) if pa.types.is_large_list_view(kind) else pa.list_(field)
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
    lists = stored(lists)
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
    large = pa.types.is_large_list(kind) or pa.types.is_large_list_view(kind)
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    if not large and offsets[-1] > np.iinfo(np.int32).max:
        raise DataError(
            "batch-size",
            f"{offsets[-1]} cells in one list column of one batch",
            expected=f"at most {np.iinfo(np.int32).max}",
            advice="split the rows, or store them as large_list",
        )
    starts = pa.array(offsets if large else offsets.astype(np.int32))
    if is_list_view(kind):
        view = pa.LargeListViewArray if large else pa.ListViewArray
        sizes = pa.array(lengths.astype(np.int64 if large else np.int32))
        return view.from_arrays(starts[:-1], sizes, values, type=kind)
    make = pa.LargeListArray if large else pa.ListArray
    return make.from_arrays(starts, values, type=kind)


def type_name(kind: pa.DataType) -> str:
    """list<element: list<element: int16>> as list<list<int16>>"""
    if is_tensor(kind):
        return f"fixed_shape_tensor<{kind.value_type}>{list(kind.shape)}"
    if isinstance(kind, pa.BaseExtensionType):
        return f"{kind.extension_name}<{type_name(kind.storage_type)}>"
    if pa.types.is_fixed_size_list(kind):
        return f"fixed_size_list<{type_name(kind.value_type)}>[{kind.list_size}]"
    if pa.types.is_large_list(kind):
        return f"large_list<{type_name(kind.value_type)}>"
    return f"list<{type_name(kind.value_type)}>" if pa.types.is_list(kind) else str(kind)


def _children(kind: pa.DataType) -> tuple[str, list[pa.Field]]:
    """What is inside of a type, with the names that Parquet gives it.

    list<item: int32> -> "list.", [element: int32]

    returns: what stands before the names in a path of Parquet's, and the fields
    """
    kind = storage(kind)
    if pa.types.is_map(kind):
        fields = [kind.key_field.with_name("key"), kind.item_field.with_name("value")]
        return "key_value.", fields
    if pa.types.is_struct(kind):
        return "", [kind.field(i) for i in range(kind.num_fields)]
    if hasattr(kind, "value_field"):
        return "list.", [kind.value_field.with_name("element")]
    return "", []


def _with_children(kind: pa.DataType, fields: Sequence[pa.Field]) -> pa.DataType:
    """The same type around other fields; what has none that can be changed stays as it is."""
    if pa.types.is_struct(kind):
        return pa.struct(fields)
    if pa.types.is_map(kind):
        return pa.map_(*fields, kind.keys_sorted)
    return list_like(kind, fields[0]) if is_list(kind) else kind


def child_arrays(array: pa.Array) -> list[pa.Array]:
    """The arrays inside of an array, in the order of `_children`, without what a slice left out."""
    kind = array.type
    if pa.types.is_struct(kind):
        return [array.field(i) for i in range(kind.num_fields)]
    if pa.types.is_map(kind):
        parts = [array.keys, array.items]
    else:
        parts = [array.values] if hasattr(kind, "value_field") else []
    if not len(array):
        return [part[:0] for part in parts]
    if not parts or is_list_view(kind):
        return parts
    if pa.types.is_fixed_size_list(kind):
        first = array.offset * kind.list_size
        last = first + len(array) * kind.list_size
    else:
        first, last = array.offsets[0].as_py(), array.offsets[len(array)].as_py()
    return [part[first:last] for part in parts]


def as_stored(field: pa.Field, lists: bool = True) -> pa.Field:
    """A field with the names that Parquet gives to what is inside of it.

    list<item: int32> -> list<element: int32>

    lists: whether lists are renamed too, or maps alone
    """
    kind = field.type
    if isinstance(kind, pa.BaseExtensionType):
        return field
    inside = [as_stored(part, lists) for part in _children(kind)[1]]
    if is_list(kind) and not lists:
        inside = [inside[0].with_name(kind.value_field.name)]
    return field.with_type(_with_children(kind, inside))


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
    path = before + field.name
    prefix, inside = _children(field.type)
    if not inside and not pa.types.is_struct(storage(field.type)):
        return [(path, field.type)]
    return [leaf for part in inside for leaf in leaves(part, f"{path}.{prefix}")]


def leaf_arrays(array: pa.Array) -> Iterator[pa.Array]:
    """The leaves of an array, in their type's order, without what a slice left out."""
    array = stored(array)
    parts = child_arrays(array)
    if not parts and not pa.types.is_struct(array.type):
        yield array
    for part in parts:
        yield from leaf_arrays(part)


def without_views(kind: pa.DataType) -> pa.DataType:
    """A type with strings and bytes in place of views of them; maps stay as they are."""
    if pa.types.is_string_view(kind):
        return pa.large_string()
    if pa.types.is_binary_view(kind):
        return pa.large_binary()
    if pa.types.is_struct(kind):
        fields = [kind.field(i) for i in range(kind.num_fields)]
    elif is_list(kind) and not is_list_view(kind):
        fields = [kind.value_field]
    else:
        return kind
    return _with_children(kind, [field.with_type(without_views(field.type)) for field in fields])


def has_floats(kind: pa.DataType) -> bool:
    """Whether equality of values may differ from equality of bits (NaN, -0.0)."""
    kind = storage(kind)
    if pa.types.is_dictionary(kind):
        return has_floats(kind.value_type)
    if pa.types.is_floating(kind):
        return True
    return any(has_floats(kind.field(i).type) for i in range(kind.num_fields))


def filtered(array: pa.Array, kept: NDArray[np.bool_]) -> pa.Array:
    """The rows of an array that are kept."""
    try:
        return array.filter(pa.array(kept))
    except pa.ArrowNotImplementedError:
        # Arrow cannot filter views of strings, but it can put slices of them together.
        edges = np.flatnonzero(np.diff(kept.astype(np.int8), prepend=0, append=0)).reshape(-1, 2)
        runs = [array.slice(start, stop - start) for start, stop in edges.tolist()]
        return pa.concat_arrays(runs) if runs else array.slice(0, 0)
