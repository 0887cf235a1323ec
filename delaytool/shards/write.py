"""Writes Parquet files that every reader of Parquet can read, and that are small.

Only encodings are used that readers of many years know: a dictionary, as pyarrow's defaults have
it, or plain values.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from delaytool.batches.metadata import STORED_SCHEMA
from delaytool.batches.sizes import total_size
from delaytool.batches.types import depth_of, is_list, leaf_arrays, leaf_paths, leaves, storage
from delaytool.shards import stores
from delaytool.shards.bounded import joined_where_possible
from delaytool.shards.commit import State, committed
from delaytool.shards.record import encode_schema
from delaytool.shards.repeats import Repeats

_GROUP_BYTES = 48 << 20
"""Decoded bytes of rows from which on they are a row group. Each has dictionaries of its own, and
in smaller ones that of the text takes more room than it saves."""
_DIVERSE_BYTES = 128 << 20
"""The same where some column has so many values that its dictionary is dear even then."""
_OTHER_BYTES = 8 << 20
"""The same of columns that are no lists of numbers, for which waiting gains nothing."""
_AHEAD_BYTES = 16 << 20
"""Decoded bytes of rows that may wait while the row group before them is being written."""
_PAGE_BYTES, _DIVERSE_PAGE_BYTES = 2 << 20, 4 << 20
_LEVEL, _OTHER_LEVEL = 3, 1
"""Of zstd: codes and words of speech get 4% smaller than on level 1, in the same time; what is in
no order at all may get larger."""
_TRIED_CELLS = 1 << 22
"""Cells of a column that are written on either level, to see which one suits it: some pages, since
one may be out of the common."""
_FIRST_VALUES = 1 << 16
"""Values that mostly say already how often values repeat."""
_LONG_RUN = 128
"""Like values in a row on average, from which on a dictionary is not worth its time."""


class ShardWriter:
    """Batches on their way into a file that does not have its name yet.

    metadata: more key-value entries for the footer, to be set before the file is complete
    """

    def __init__(self, part: str, schema: pa.Schema, entries: Mapping[bytes, bytes] | None) -> None:
        self._schema = schema
        self._repeats = Repeats(schema)
        kinds = (kind for field in schema for _, kind in leaves(field))
        self._are_others = [not _holds_numbers(field.type) for field in schema]
        self._has_dictionaries = any(map(pa.types.is_dictionary, kinds))
        self._sink = stores.as_arrow_takes(part, "wb")
        self._writer: pq.ParquetWriter | None = None
        self._thread = ThreadPoolExecutor(1)
        self._group: Future[None] | None = None
        self._is_diverse: bool | None = None
        self._drop_waiting()
        # What Arrow would store is not what is handed to it: columns may be dictionaries there.
        arrows = {**(schema.metadata or {}), STORED_SCHEMA: encode_schema(schema).encode()}
        self._entries: dict[bytes, bytes] = arrows if entries is None else dict(entries)
        self.metadata: dict[bytes, bytes] = {}

    def write(self, batch: pa.RecordBatch) -> None:
        """Add the rows of a batch, if there are any."""
        if not batch.num_rows:
            return
        self._wait(batch)
        if self._is_full and self._is_diverse is None:
            self._look()
        if self._waiting_bytes > _AHEAD_BYTES:
            self._finish_group()
        if self._is_full:
            self._write_group()

    def _look(self) -> None:
        """Choose how to go on by the rows that wait, the first ones."""
        waiting = self._waiting
        self._is_diverse = any(
            _are_diverse(values)
            for number, field in enumerate(self._schema)
            if not self._are_others[number]
            for _, values in _leaves_of(field, [batch.column(number) for batch in waiting])
        )
        if self._repeats.choose(waiting):
            self._drop_waiting()
            for one in waiting:
                self._wait(one)

    def _wait(self, batch: pa.RecordBatch) -> None:
        kept = self._repeats.keep(batch)
        if kept is None:
            self._write_group()
            kept = self._repeats.keep(batch)
            assert kept is not None, "a batch's own dictionary has room for its values"
        sizes = [total_size(column) for column in kept.columns]
        self._waiting.append(kept)
        self._waiting_bytes += sum(sizes)
        self._other_bytes += sum(itertools.compress(sizes, self._are_others))

    def _drop_waiting(self) -> None:
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_bytes = self._other_bytes = 0

    @property
    def _is_full(self) -> bool:
        """Whether the rows that wait are a row group."""
        more = self._repeats.nbytes
        most = _DIVERSE_BYTES if self._is_diverse else _GROUP_BYTES
        return self._waiting_bytes + more > most or self._other_bytes + more > _OTHER_BYTES

    def finish(self) -> None:
        """Write the footer."""
        self._write_group(is_last=True)
        writer = self._opened(None)
        if entries := self._entries | self.metadata:
            writer.add_key_value_metadata(entries)
        self._close()

    def abandon(self) -> None:
        """Let go of the file, which nobody will see."""
        with contextlib.suppress(Exception):
            self._close()

    def _write_group(self, is_last: bool = False) -> None:
        """Write the rows that wait: as a row group, or several where one dictionary has no room
        for all their values. All but the last are written in a thread, beside the next rows' work.
        """
        self._finish_group()
        waiting = self._waiting
        self._drop_waiting()
        if not waiting:
            return
        groups = [waiting]
        if self._has_dictionaries:
            groups = [[batch] for batch in joined_where_possible(waiting, waiting[0].schema)]
        tables = [self._repeats.table(batches) for batches in groups]
        self._repeats.forget()
        writer = self._opened(tables[0])
        if is_last:
            _write_each(tables, writer)
        else:
            self._group = self._thread.submit(_write_each, tables, writer)

    def _finish_group(self) -> None:
        """Wait until the row group that is being written is; raises what writing it raises."""
        group, self._group = self._group, None
        if group is not None:
            group.result()

    def _close(self) -> None:
        self._thread.shutdown()
        if self._writer is not None:
            self._writer.close()
        if not isinstance(self._sink, str):
            self._sink.close()

    def _opened(self, first: pa.Table | None) -> pq.ParquetWriter:
        """The writer, made for rows like those of the first row group."""
        if self._writer is None:
            self._writer = _writer(self._sink, self._repeats.schema, first, bool(self._is_diverse))
        return self._writer


def _write_each(tables: list[pa.Table], writer: pq.ParquetWriter) -> None:
    """Write each table as a row group, and let go of it."""
    while tables:
        table = tables.pop(0)
        writer.write_table(table, row_group_size=table.num_rows)


@contextlib.contextmanager
def writing(
    target: str,
    schema: pa.Schema,
    entries: Mapping[bytes, bytes] | None = None,
    *,
    replaces: State | None = None,
) -> Iterator[ShardWriter]:
    """Write a shard that appears under its name when the block ends well, and else not at all.

    entries:  all key-value entries of its footer, those that Arrow makes of a schema included; when
              not given, Arrow makes them
    replaces: the only file whose place it may take, as `file_state` gave it
    raises:   NameTakenError when there is another file, DataError when it cannot be written;
              nothing is left behind then
    """
    with committed(target, replaces) as part:
        writer = ShardWriter(part, schema, entries)
        try:
            yield writer
            writer.finish()
        except BaseException:
            # Closing would make a readable file of half the rows; the folder forgets it first.
            with contextlib.suppress(OSError):
                os.unlink(part)
            writer.abandon()
            raise


def _writer(
    sink: Any, schema: pa.Schema, first: pa.Table | None, is_diverse: bool
) -> pq.ParquetWriter:
    """A writer that suits the columns: measured in tests/benchmarks.

    All is compressed with zstd, in pages so large that there is one for each column of tokens in a
    row group. Lists have no statistics, which nobody could use.

    first:      the first row group, by which a dictionary is chosen or not; None where there are
                none
    is_diverse: whether values of some column are so many that its dictionary is dear
    """
    with_dictionary = []
    for field, column in () if first is None else zip(schema, first.columns, strict=True):
        pairs = _leaves_of(field, column.chunks)
        with_dictionary += [path for path, parts in pairs if _suits_dictionary(parts)]
    options = {
        "store_schema": False,
        "compression": "zstd",
        "use_dictionary": with_dictionary,
        "write_statistics": [f.name for f in schema if not is_list(storage(f.type))],
        "data_page_size": _DIVERSE_PAGE_BYTES if is_diverse else _PAGE_BYTES,
    }
    level: int | dict[str, int] = _LEVEL
    if is_diverse and first is not None:
        level = {
            path: _better_level(first.select([number]), options)
            for number, field in enumerate(schema)
            for path in leaf_paths(field)
        }
    return pq.ParquetWriter(sink, schema.remove_metadata(), compression_level=level, **options)


def _better_level(column: pa.Table, options: Mapping[str, Any]) -> int:
    """The level on which the first rows of a column get smaller."""
    if not _holds_numbers(column.schema.field(0).type):
        return _LEVEL
    cells = sum(len(leaf) for part in column.column(0).chunks for leaf in leaf_arrays(part))
    rows = max(1, _TRIED_CELLS * column.num_rows // max(1, cells))
    sizes = {}
    for level in (_LEVEL, _OTHER_LEVEL):
        sink = pa.BufferOutputStream()
        pq.write_table(column.slice(0, rows), sink, compression_level=level, **options)
        sizes[level] = sink.tell()
    return min(sizes, key=sizes.__getitem__)


def _leaves_of(field: pa.Field, parts: Sequence[pa.Array]) -> Iterator[tuple[str, list[pa.Array]]]:
    """The path of each leaf of a column that comes in several parts, and the leaf's own parts."""
    leaves = zip(*map(leaf_arrays, parts), strict=True)
    for path, values in zip(leaf_paths(field), leaves, strict=True):
        yield path, list(values)


def _holds_numbers(kind: pa.DataType) -> bool:
    """Whether a column is lists of numbers, as those of tokens and weights are."""
    depth, leaf = depth_of(kind)
    return bool(depth) and (pa.types.is_integer(leaf) or pa.types.is_floating(leaf))


def _are_diverse(parts: list[pa.Array]) -> bool:
    """Whether integers are so many different ones, few of them padding, that their dictionary is
    dear: words in no order, say, or codes of a single codebook of 65,536.
    """
    if not pa.types.is_integer(parts[0].type):
        return False
    some = pa.chunked_array(parts)[:_FIRST_VALUES]
    distinct, others = _counts(some)
    return len(some) == _FIRST_VALUES and 4 * others > 3 * len(some) and 5 * distinct > others


def _counts(values: pa.ChunkedArray) -> tuple[int, int]:
    """How many values there are, and how often others than the most common one."""
    counts = pc.value_counts(values).field("counts")
    return len(counts), len(values) - (pc.max(counts).as_py() or 0)


def _suits_dictionary(parts: list[pa.Array]) -> bool:
    """Whether values, in several parts, are better written with a dictionary than plain.

    The dictionary of a row group is no small thing beside text, which is one stream of many: half
    of 60,000 words may be there once. Where a fifth of the values besides the most common one
    (padding, mostly) are unlike, plain values are smaller. Numbers in long runs, as most weights
    are, are next to nothing either way, and plain ones are written in half the time.
    """
    kind = parts[0].type
    if pa.types.is_floating(kind):
        numbers = [part.to_numpy(zero_copy_only=False) for part in parts]
        changes = sum(np.count_nonzero(part[1:] != part[:-1]) for part in numbers)
        return bool(changes * _LONG_RUN > sum(map(len, numbers)))
    if not pa.types.is_integer(kind):
        return True
    values = pa.chunked_array(parts)
    for some in (values[:_FIRST_VALUES], values):
        distinct, others = _counts(some)
        if others == 0 or 5 * distinct <= others:
            return True
    return False
