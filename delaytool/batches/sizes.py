"""How many bytes the rows of a column take decoded, whatever its type."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from delaytool.batches.types import (
    child_arrays,
    is_bytes,
    is_bytes_view,
    is_list_view,
    leaf_arrays,
    list_lengths,
    lists_of,
    storage,
    stored,
)


def leaf_width(kind: pa.DataType) -> int:
    """Bytes of one value inside all lists: list<list<int16>> -> 2"""
    kind = storage(kind)
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
    array = stored(array)
    kind = array.type
    if is_list_view(kind):
        array = lists_of(array.flatten(), list_lengths(array), pa.large_list(kind.value_field))
        kind = array.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_map(kind):
        return _list_sizes(array) if len(array) else 0
    if pa.types.is_fixed_size_list(kind):
        inner = cell_sizes(*child_arrays(array))
        if isinstance(inner, int):
            return inner * kind.list_size
        return inner.reshape(len(array), kind.list_size).sum(axis=1)
    if pa.types.is_struct(kind):
        return sum(cell_sizes(part) for part in child_arrays(array))
    if is_bytes_view(kind):
        return cell_sizes(array.cast(pa.large_binary()))
    if is_bytes(kind):
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


def column_sizes(array: pa.Array) -> Any:
    """Decoded bytes of a column in each row, int64 [rows]."""
    return np.broadcast_to(cell_sizes(array), (len(array),))


def total_size(array: pa.Array) -> int:
    """Decoded bytes of all rows."""
    total = 0
    for leaf in leaf_arrays(array):
        sizes = cell_sizes(leaf)
        total += sizes * len(leaf) if isinstance(sizes, int) else int(sizes.sum())
    return total


def _list_sizes(array: pa.Array) -> Any:
    """`cell_sizes` of lists of any length, or of maps."""
    ends, parts = array.offsets.to_numpy(), child_arrays(array)
    inner = cell_sizes(parts[0])
    if len(parts) > 1:
        # Keys and values of a map.
        inner = np.broadcast_to(inner, len(parts[0])) + cell_sizes(parts[1])
    if isinstance(inner, int):
        return np.diff(ends).astype(np.int64) * inner
    sums = np.concatenate([[0], np.cumsum(inner)])
    return np.diff(sums[ends - ends[0]])
