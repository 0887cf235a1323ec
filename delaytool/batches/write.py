"""Flat tokens to Arrow columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from delaytool.batches.layouts import Layout, is_by_stream
from delaytool.errors import DataError
from delaytool.pattern.segments import Array, Index


def to_arrow(
    flat: Array, lengths: Index, layout: Layout, streams: int, kind: pa.DataType, lost: Any = None
) -> pa.Array:
    """A flat array as a column.

    lengths: timesteps of each row
    kind:    the column's type, whose lists fit the layout
    lost:    True where the column gets a null, flat, in the same order
    """
    if is_by_stream(layout):
        flat = np.ascontiguousarray(flat.reshape(streams, -1).T).reshape(-1)
        lost = None if lost is None else lost.reshape(streams, -1).T.reshape(-1)
    values = pa.array(flat, mask=lost)
    if layout == "list":
        return _lists(lengths, values, kind)
    if layout in ("flat-codebook", "flat-frame"):
        return _lists(lengths * streams, values, kind)
    if layout == "codebook":
        inner = _lists(np.repeat(lengths, streams), values, kind.value_type)
        return _lists(np.full(len(lengths), streams, dtype=np.int64), inner, kind)
    frames = np.full(int(lengths.sum()), streams, dtype=np.int64)
    return _lists(lengths, _lists(frames, values, kind.value_type), kind)


def _lists(lengths: Index, values: pa.Array, kind: pa.DataType) -> pa.Array:
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
