"""What stands around the lists that a layout reads: outer lists of one entry, and tensors.

An encoder returns codes with a batch axis of its own, [1][n_q][T] or [1][1][n_q][T]; Arrow's
fixed_shape_tensor keeps a row as one list, whose shape its type says. Both become the nested lists
of a layout, and these go back into what they were.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from delaytool.batches.types import (
    depth_of,
    is_tensor,
    list_lengths,
    lists_of,
    null_positions,
    storage,
    stored,
)
from delaytool.errors import DataError
from delaytool.pattern.segments import Array, Index

REPAIR = "remove or repair the row"


def inner_type(kind: pa.DataType, depth: int) -> pa.DataType:
    """The lists of this depth inside a type, which a layout reads.

    list<list<list<int16>>>, 2 -> list<list<int16>>
    fixed_shape_tensor<int16>[1, 8, 50], 2 -> fixed_size_list<fixed_size_list<int16>[50]>[8]
    """
    kind = _as_lists(kind) if is_tensor(kind) else storage(kind)
    for _ in range(depth_of(kind)[0] - depth):
        kind = kind.value_type
    return kind


def unwrapped(array: pa.Array, depth: int) -> tuple[pa.Array, list[DataError]]:
    """The lists of this depth inside a column, one for each row; and what is wrong with rows.

    Where something is wrong, the lists mean nothing.
    """
    array = _lists_of_tensors(array) if is_tensor(array.type) else stored(array)
    for _ in range(depth_of(array.type)[0] - depth):
        errors = [
            DataError("null", "a null row", expected="no nulls", advice=REPAIR).at(row=row)
            for row in null_positions(array)
        ]
        lengths = list_lengths(array)
        errors += [
            DataError(
                "outer-list",
                f"{lengths[row]} entries in an outer list",
                expected="one, as in other rows: codes are looked for inside of it",
                advice="store a row for each entry",
            ).at(row=int(row))
            for row in np.flatnonzero((lengths != 1) & _valid(array))
        ]
        if errors:
            return array, errors
        array = array.flatten()
    return array, []


def lists_at(array: pa.Array, row: int, depth: int) -> Any:
    """The lists of this depth in one row, as Python has them; None where there are none."""
    lists, errors = unwrapped(array.slice(row, 1), depth)
    return None if errors else lists[0].as_py()


def wrapped(array: pa.Array, kind: pa.DataType, depth: int) -> pa.Array:
    """Lists of `inner_type` as a column of a type, which `unwrapped` takes apart."""
    if is_tensor(kind):
        return _tensors_of_lists(array, kind)
    around, inside = [], storage(kind)
    for _ in range(depth_of(inside)[0] - depth):
        around.append(inside)
        inside = inside.value_type
    for each in reversed(around):
        array = lists_of(array, np.ones(len(array), dtype=np.int64), each)
    is_extension = isinstance(kind, pa.BaseExtensionType)
    return pa.ExtensionArray.from_storage(kind, array) if is_extension else array


def tensor_shape(kind: pa.DataType) -> tuple[int, ...]:
    """The shape of a tensor type as it is to be read: permuted, where the type says so."""
    order = kind.permutation or range(len(kind.shape))
    return tuple(kind.shape[axis] for axis in order)


def _valid(array: pa.Array) -> Array:
    return np.asarray(array.is_valid().to_numpy(zero_copy_only=False))


def _as_lists(kind: pa.DataType) -> pa.DataType:
    """A tensor type as nested lists of fixed sizes."""
    lists = kind.value_type
    for size in reversed(tensor_shape(kind)):
        lists = pa.list_(pa.field("element", lists), size)
    return lists


def _lists_of_tensors(array: pa.Array) -> pa.Array:
    """Tensors as nested lists of fixed sizes; a null row stays one."""
    kind, rows = array.type, array.storage
    values = rows.values[rows.offset * rows.type.list_size :][: len(rows) * rows.type.list_size]
    values = values.take(pa.array(_order(kind, len(rows)))) if kind.permutation else values
    lists = _as_lists(kind)
    inside = [lists]
    while pa.types.is_fixed_size_list(inside[-1].value_type):
        inside.append(inside[-1].value_type)
    for each in reversed(inside[1:]):
        values = pa.FixedSizeListArray.from_arrays(values, type=each)
    mask = rows.is_null() if rows.null_count else None
    return pa.FixedSizeListArray.from_arrays(values, type=lists, mask=mask)


def _tensors_of_lists(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """Nested lists as tensors; outer axes of one entry may be missing."""
    count = len(array)
    while not pa.types.is_integer(array.type):
        array = array.flatten()
    if kind.permutation:
        array = array.take(pa.array(np.argsort(_order(kind, count))))
    rows = pa.FixedSizeListArray.from_arrays(array, type=kind.storage_type)
    return pa.ExtensionArray.from_storage(kind, rows)


def _order(kind: pa.DataType, rows: int) -> Index:
    """Where each value of tensors stands in the storage, in the order in which they are read."""
    positions = np.arange(rows * int(np.prod(kind.shape))).reshape(rows, *kind.shape)
    axes = [0, *(axis + 1 for axis in kind.permutation)]
    return positions.transpose(axes).reshape(-1)
