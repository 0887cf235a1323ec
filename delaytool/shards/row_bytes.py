"""How many rows of a Parquet file may be decoded at a time, so that they stay small in memory.

A footer tells how many bytes are stored. A value that repeats may be stored once for all the rows
that hold it, in a dictionary or as "the same as before", and then says nothing of what these rows
take decoded: 2,500 times the same prompt are 60 kB in the file and 1.2 GB in memory. Where that can
be, the longest value is looked up first, and each row counts as if it had it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from delaytool.batches.types import is_bytes, leaf_arrays
from delaytool.shards.parquet_types import Leaf

READ_ROWS, READ_BYTES = 4096, 4 << 20
"""Rows and bytes decoded at a time; reading is as fast as with more, and a batch of long rows stays
small."""
_MOST_BYTES = 8 << 20
"""Bytes that they take at most where values repeat, if each row held the longest one."""
_FEW_ROWS = 64
"""Rows decoded at a time where nobody knows which ones are long."""
_MUCH_BYTES = 64 << 20
"""Bytes of strings in a row group from which on it matters which ones are long."""
_LONG_BYTES, _TIMES = 1 << 10, 4
"""Bytes of a string, and rows that it is in on average, from which on it is better read as a number
that stands for it."""
_HEADER_BYTES = 16 << 10
"""More than the headers of a few pages take, with the least and the greatest value in them."""
_DICTIONARY = {"RLE_DICTIONARY", "PLAIN_DICTIONARY"}
_SHARED = "DELTA_BYTE_ARRAY"
_WHOLE = {"PLAIN", "RLE", "BIT_PACKED", "DELTA_LENGTH_BYTE_ARRAY", "BYTE_STREAM_SPLIT"}
_WIDTHS = {"BOOLEAN": 1, "INT64": 8, "INT96": 8, "DOUBLE": 8}


@dataclass(frozen=True)
class _Chunk:
    """A leaf in one row group.

    per_row:       values to a row, on average; values: of all rows
    stored:        bytes of its values as they are stored
    decoded:       bytes that they take decoded, as far as the footer tells
    in_dictionary: whether values are stored in a dictionary
    shared:        whether values are stored as what they share with the one before
    unlike:        whether they are strings, which may be of unlike lengths
    """

    leaf: Leaf
    per_row: float
    values: int
    stored: int
    decoded: int
    in_dictionary: bool
    shared: bool
    unlike: bool

    @classmethod
    def of(cls, column: Any, leaf: Leaf, rows: int) -> _Chunk:
        """What the footer says of a column of a row group of so many rows."""
        values, stored = int(column.num_values), int(column.total_uncompressed_size)
        width = leaf.width or _WIDTHS.get(leaf.physical, 4)
        encodings = set(column.encodings) if leaf.is_bytes else set()
        in_dictionary = bool(encodings) and bool(column.has_dictionary_page)
        return cls(
            leaf,
            values / rows,
            values,
            stored,
            max(values * width, stored),
            in_dictionary or not _DICTIONARY.isdisjoint(encodings),
            not (_WHOLE | _DICTIONARY).issuperset(encodings),
            leaf.is_bytes,
        )

    @property
    def may_repeat(self) -> bool:
        """Whether a value may be stored once for many rows, and decoded for each of them."""
        return self.in_dictionary or self.shared

    @property
    def most(self) -> float:
        """Bytes of a row, if all that is stored were one value."""
        return self.per_row * self.stored


@dataclass(frozen=True)
class _Known:
    """What was looked up of the values of a chunk.

    longest:  bytes of the longest one
    distinct: how many there are in its dictionary, which takes `nbytes` as it is stored; 0 where it
              has none
    """

    longest: int
    distinct: int = 0
    nbytes: int = 0


class RowBytes:
    """What the rows of a file take decoded.

    leaves: the file's, which are the columns of its row groups
    reopen: opens the file once more, with other options for the reader
    """

    def __init__(
        self, file: pq.ParquetFile, leaves: Sequence[Leaf], reopen: Callable[..., pq.ParquetFile]
    ) -> None:
        self._reopen = reopen
        self._groups: dict[int, tuple[int, list[_Chunk]]] = {}
        for number in range(file.metadata.num_row_groups):
            group = file.metadata.row_group(number)
            if rows := int(group.num_rows):
                chunks = [_Chunk.of(group.column(i), x, rows) for i, x in enumerate(leaves)]
                self._groups[number] = rows, chunks
        self._known: dict[tuple[int, str], _Known] = {}

    def repeated(self, columns: Collection[str] | None = None) -> set[str]:
        """The columns of long strings or bytes that are all in dictionaries, each in many rows.

        columns: of these only, if they are given
        """
        every: dict[str, list[tuple[int, _Chunk]]] = {}
        for number, (_, chunks) in self._groups.items():
            for chunk in chunks:
                # A column `a.b` and a field b of a struct a have one path.
                every.setdefault(chunk.leaf.path, []).append((number, chunk))
        asked = every if columns is None else every.keys() & set(columns)
        return {name for name in asked if self._do_repeat(every[name])}

    def _do_repeat(self, chunks: Sequence[tuple[int, _Chunk]]) -> bool:
        """Whether the values of a column are long ones that stand for many rows each.

        Row groups of so few rows that they are small whatever repeats are not looked at.
        """
        leaf = chunks[0][1].leaf
        if leaf.path != leaf.column or not is_bytes(leaf.kind) or len(chunks) > len(self._groups):
            return False
        values = distinct = 0
        for number, chunk in chunks:
            if chunk.stored * chunk.values <= _MOST_BYTES:
                continue
            if chunk.shared or not chunk.in_dictionary:
                return False
            known = self._look_up(number, chunk)
            # Where a dictionary was given up, values are stored besides it.
            is_all = chunk.stored <= known.nbytes + 9 * chunk.values + _HEADER_BYTES
            if not is_all or known.longest < _LONG_BYTES or known.nbytes > _MOST_BYTES:
                return False
            values, distinct = values + chunk.values, distinct + known.distinct
        return 0 < distinct * _TIMES <= values

    def rows_at_a_time(self, columns: Collection[str] | None = None) -> int:
        """How many rows to decode at a time, of these columns only if they are given."""
        at_a_time = READ_ROWS
        for number, (rows, every) in self._groups.items():
            chunks = [x for x in every if columns is None or x.leaf.column in columns]
            decoded = sum(chunk.decoded for chunk in chunks)
            at_a_time = max(1, min(at_a_time, int(READ_BYTES * rows / max(1, decoded))))
            if sum(chunk.stored for chunk in chunks if chunk.unlike) > _MUCH_BYTES:
                at_a_time = min(at_a_time, _FEW_ROWS)
            at_a_time = max(1, self._rows_within(_MOST_BYTES, number, chunks, at_a_time))
        return at_a_time

    def are_within(self, room: int) -> bool:
        """Whether all rows take no more than so many bytes, whatever repeats."""
        sizes = (
            max(chunk.decoded, rows * chunk.most) if chunk.may_repeat else chunk.decoded
            for rows, chunks in self._groups.values()
            for chunk in chunks
        )
        return sum(sizes) <= room

    def _rows_within(self, room: int, number: int, chunks: Sequence[_Chunk], rows: int) -> int:
        """How many of so many rows of a group fit into so many bytes, whichever rows they are.

        What would fit even if all that is stored were one value is not looked at.
        """
        repeated = [chunk for chunk in chunks if chunk.may_repeat]
        sizes = [chunk.most for chunk in repeated]
        if sum(sizes) * rows > room:
            for i, chunk in enumerate(repeated):
                if sizes[i] * rows * len(sizes) > room:
                    sizes[i] = chunk.per_row * self._look_up(number, chunk).longest
        return min(rows, int(room / max(1.0, sum(sizes))))

    def _look_up(self, number: int, chunk: _Chunk) -> _Known:
        """What the values of a chunk are like: those in its dictionary, else all."""
        path = chunk.leaf.path
        if (number, path) not in self._known:
            by_dictionary = [] if chunk.shared else [path]
            with self._reopen(read_dictionary=by_dictionary) as file:
                self._known[number, path] = _look_up(file, number, chunk)
        return self._known[number, path]


def _look_up(file: pq.ParquetFile, number: int, chunk: _Chunk) -> _Known:
    longest, rows = 1, max(1, min(_FEW_ROWS, int(_MOST_BYTES / max(1.0, chunk.most))))
    for batch in file.iter_batches(rows, [number], [chunk.leaf.path], use_threads=False):
        for array in (array for column in batch.columns for array in leaf_arrays(column)):
            is_dictionary = pa.types.is_dictionary(array.type)
            values = array.dictionary if is_dictionary else array.cast(pa.large_binary())
            longest = max(longest, pc.max(pc.binary_length(values)).as_py() or 0)
            if is_dictionary and len(values):
                # The whole dictionary is there with the first row that is not null.
                return _Known(longest, len(values), int(values.nbytes))
        fit = int(_MOST_BYTES / (max(1.0, chunk.per_row) * longest))
        rows = max(1, min(2 * rows, _FEW_ROWS, fit))
        file.reader.set_batch_size(rows)
    return _Known(longest)
