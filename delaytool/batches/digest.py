"""A digest of a column that does not depend on how its rows are cut into batches.

A column is hashed level by level, each level with its separate hash: where the nulls are (row
numbers), how long the lists or strings are, and the values. What Arrow leaves open is taken out
first: offsets and slices, data behind null slots, the order of a dictionary. So two columns have
the same digest when their values are equal, floats bit for bit, in the same order; the type is
not in it, except that values of another width have other bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from delaytool.batches.sizes import total_size
from delaytool.batches.types import (
    filtered,
    has_floats,
    is_bytes,
    is_list_view,
    leaves,
    storage,
    stored,
    without_views,
)

_DECODED_BYTES = 8 << 20
"""Of a dictionary's values that are decoded at a time."""
_LONG_BYTES = 1 << 10
"""Of each string of a dictionary on average, from which on they are hashed where they lie."""


def levels(array: pa.Array, path: str = "") -> Iterator[tuple[str, bool, Any]]:
    """The canonical content of an array: (level, whether these are row numbers, bytes-like).

    [[1, 2], None, [3]] -> nulls [1], lengths [2, 1], values [1, 2, 3]
    """
    is_coded = _has_long_values(array)
    array = array if is_coded else _plain(array)
    kind = array.type
    yield path + "#", True, np.int64(len(array)).tobytes()
    if pa.types.is_null(kind):
        return
    if array.null_count:
        nulls = np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False))
        yield path + "?", True, nulls.astype(np.int64)
        if not is_list_view(kind):
            array = filtered(array, array.is_valid().to_numpy(zero_copy_only=False))
    if pa.types.is_struct(kind):
        for i in range(kind.num_fields):
            yield from levels(array.field(i), f"{path}.{i}")
    elif pa.types.is_map(kind):
        start, stop = _ends(array)
        yield path + "l", False, _lengths(array.offsets)
        yield from levels(array.keys[start:stop], path + "k")
        yield from levels(array.items[start:stop], path + "v")
    elif is_list_view(kind):
        # Neither taking rows of these nor casting them can be relied on.
        lengths = pc.list_value_length(array).drop_null()
        yield path + "l", False, lengths.to_numpy().astype(np.int64) if len(lengths) else b""
        yield from levels(array.flatten(), path + "v")
    elif pa.types.is_fixed_size_list(kind):
        yield from levels(array.flatten(), path + "v")
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        yield path + "l", False, _lengths(array.offsets)
        yield from levels(array.flatten(), path + "v")
    elif is_coded or is_bytes(kind):
        yield from _bytes_levels(array, path)
    elif pa.types.is_boolean(kind):
        yield path + "v", False, array.cast(pa.uint8()).to_numpy()
    else:
        width = kind.bit_width // 8
        data = memoryview(array.buffers()[1] or b"").cast("B")
        yield path + "v", False, data[array.offset * width : (array.offset + len(array)) * width]


def _plain(array: pa.Array) -> pa.Array:
    """An array that is no extension and no dictionary, with no strings or bytes as views in it."""
    array = stored(array)
    kind = array.type
    if pa.types.is_dictionary(kind):
        values = _plain(array.dictionary)
        return pa.DictionaryArray.from_arrays(array.indices, values).dictionary_decode()
    plain = without_views(kind)
    return array if plain == kind else array.cast(plain)


def _ends(array: pa.Array) -> tuple[int, int]:
    """Where the children of a map array that may be a slice begin and end."""
    if not len(array):
        return 0, 0
    return array.offsets[0].as_py(), array.offsets[len(array)].as_py()


def _lengths(offsets: pa.Array) -> Any:
    return np.diff(offsets.to_numpy()).astype(np.int64) if len(offsets) > 1 else b""


def _bytes_levels(array: pa.Array, path: str) -> Iterator[tuple[str, bool, Any]]:
    if pa.types.is_dictionary(array.type):
        yield from _coded_levels(array, path)
        return
    large = pa.types.is_large_string(array.type) or pa.types.is_large_binary(array.type)
    offsets, data = array.buffers()[1:]
    if not len(array):
        return
    ends = np.frombuffer(offsets, dtype=np.int64 if large else np.int32)
    ends = ends[array.offset : array.offset + len(array) + 1]
    yield path + "l", False, np.diff(ends).astype(np.int64)
    yield path + "v", False, memoryview(data or b"").cast("B")[int(ends[0]) : int(ends[-1])]


def _has_long_values(array: pa.Array) -> bool:
    """Whether an array is a dictionary of strings or bytes so long that decoding them is slow."""
    kind = array.type
    if not len(array) or not pa.types.is_dictionary(kind) or not is_bytes(kind.value_type):
        return False
    is_long = total_size(array) > _LONG_BYTES * len(array)
    return is_long and not array.dictionary.null_count


def _coded_levels(array: pa.Array, path: str) -> Iterator[tuple[str, bool, Any]]:
    """The lengths of a dictionary's values in each row, and the values one by one."""
    (_, _, lengths), (_, _, data) = _bytes_levels(array.dictionary, path)
    indices = array.indices.to_numpy()
    yield path + "l", False, lengths[indices]
    stops = np.cumsum(lengths)
    starts, stops = (stops - lengths).tolist(), stops.tolist()
    for index in indices.tolist():
        yield path + "v", False, data[starts[index] : stops[index]]


def _parts(array: pa.Array) -> Iterator[pa.Array]:
    """The rows of an array, few enough at a time where decoding a dictionary makes much of them."""
    kinds = (storage(kind) for _, kind in leaves(pa.field("", array.type)))
    has_dictionaries = len(array) > 1 and any(map(pa.types.is_dictionary, kinds))
    is_fine = not has_dictionaries or _has_long_values(array)
    if is_fine or total_size(array) <= _DECODED_BYTES:
        yield array
        return
    half = len(array) // 2
    yield from _parts(array.slice(0, half))
    yield from _parts(array.slice(half))


class ColumnDigest:
    """The digest of one column, batch by batch."""

    def __init__(self) -> None:
        self._hashes: dict[str, Any] = {}
        self._rows: dict[str, int] = {}

    def update(self, array: pa.Array) -> None:
        """Add the rows of an array, which follow those of the arrays before."""
        for part in _parts(array):
            self._update(part)

    def _update(self, array: pa.Array) -> None:
        start = dict(self._rows)
        for level, is_rows, content in levels(array):
            if level.endswith("#"):
                rows = int.from_bytes(content, "little")
                self._rows[level] = self._rows.get(level, 0) + rows
                continue
            if level not in self._hashes:
                self._hashes[level] = hashlib.sha256()
            # Null positions count from the column's beginning, not from the batch's.
            before = start.get(level[:-1] + "#", 0)
            self._hashes[level].update(content + before if is_rows else content)

    def hexdigest(self) -> str:
        """sha256 over the levels' hashes and row counts, as hex."""
        whole = hashlib.sha256()
        empty = hashlib.sha256().digest()
        for level in sorted(self._hashes):
            if self._hashes[level].digest() != empty:
                whole.update(f"{level} {self._hashes[level].hexdigest()}\n".encode())
        for level in sorted(self._rows):
            if self._rows[level]:
                whole.update(f"{level} {self._rows[level]}\n".encode())
        return whole.hexdigest()


class BatchDigest:
    """The digests of every column of a stream of record batches."""

    def __init__(self, names: list[str]) -> None:
        self._columns = {name: ColumnDigest() for name in names}

    def update(self, batch: pa.RecordBatch) -> None:
        """Add the rows of a batch."""
        for name, column in self._columns.items():
            column.update(batch.column(name))

    def hexdigests(self) -> dict[str, str]:
        """The digest of each column, as hex."""
        return {name: column.hexdigest() for name, column in self._columns.items()}


def schema_digest(schemas: Sequence[str], entries: Sequence[Mapping[bytes, bytes]]) -> str:
    """sha256 of encoded schemas, their metadata included, and of the entries of as many footers."""
    whole = hashlib.sha256()
    for schema, footer in zip(schemas, entries, strict=True):
        whole.update(b"%s\n%d " % (schema.encode(), len(footer)))
        for key, value in sorted(footer.items()):
            whole.update(b"%d %s %d %s" % (len(key), key, len(value), value))
    return whole.hexdigest()


def same_values(left: pa.Array, right: pa.Array) -> bool:
    """Whether two arrays have the same content, floats bit for bit."""
    if len(left) != len(right):
        return False
    if left.type == right.type and left.equals(right) and not has_floats(left.type):
        return True
    if _have_same_codes(left, right):
        return True
    ours, theirs = ColumnDigest(), ColumnDigest()
    ours.update(left)
    theirs.update(right)
    return ours.hexdigest() == theirs.hexdigest()


def _have_same_codes(left: pa.Array, right: pa.Array) -> bool:
    """Whether both are dictionaries of the same values, in any order, and their rows are equal."""
    if not _has_long_values(left) or left.type != right.type or right.dictionary.null_count:
        return False
    # A value that is none of theirs is as null.
    theirs = pc.index_in(left.dictionary, value_set=right.dictionary).take(left.indices)
    same = left.null_count == right.null_count and theirs.equals(right.indices.cast(theirs.type))
    return bool(same)


def first_difference(left: pa.Array, right: pa.Array) -> int | None:
    """The first row in which two arrays of the same length differ; None where they do not."""
    if same_values(left, right):
        return None
    low, high = 0, len(left)
    while high - low > 1:
        middle = (low + high) // 2
        if same_values(left.slice(low, middle - low), right.slice(low, middle - low)):
            low = middle
        else:
            high = middle
    return low
