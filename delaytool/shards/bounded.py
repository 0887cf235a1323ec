"""Batches of a bounded number of cells and bytes, whose borders follow from the rows alone."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from delaytool.batches.fields import array_at, is_there
from delaytool.batches.job import Job
from delaytool.batches.sizes import column_sizes, leaf_width
from delaytool.batches.types import batch_of

MAX_CELLS = 1 << 18
MAX_BYTES = 16 << 20
_WINDOW_CELLS = 1
"""So many cells more does each stream of a window count as, for what is known of it."""
T = TypeVar("T")


class Rows:
    """Takes rows off a stream of batches, any number at a time."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self.batches = batches
        self.rest: pa.RecordBatch | None = None

    def take(self, count: int) -> pa.RecordBatch | None:
        """The next rows, fewer when the stream ends; None when it has ended.

        Dictionaries that have no room for the values of all these rows come as their values.
        """
        taken = list(self.parts(count))
        if not taken:
            return None
        try:
            return joined(taken, taken[0].schema)
        except pa.ArrowInvalid:
            plain = [decoded(part) for part in taken]
            return joined(plain, plain[0].schema)

    def parts(self, count: int) -> Iterator[pa.RecordBatch]:
        """The next rows as they come, in one batch or several."""
        while count:
            if self.rest is None or not self.rest.num_rows:
                self.rest = next(self.batches, None)
                if self.rest is None:
                    return
            part = self.rest.slice(0, count)
            self.rest = self.rest.slice(part.num_rows)
            count -= part.num_rows
            if part.num_rows:
                yield part

    def count_rest(self) -> int:
        """How many rows are left; they are read."""
        rest = 0 if self.rest is None else int(self.rest.num_rows)
        return rest + sum(int(batch.num_rows) for batch in self.batches)


def ahead(items: Iterator[T], are_few: bool) -> Generator[T, None, None]:
    """The same items, each made in a thread while the one before is in use.

    are_few: whether the thread is not worth its start; they are made when they are asked for then
    """
    if are_few:
        yield from items
        return
    made: queue.Queue[tuple[str, Any]] = queue.Queue(maxsize=1)
    stop = threading.Event()

    def make() -> None:
        try:
            for item in items:
                made.put(("item", item))
                if stop.is_set():
                    return
            made.put(("end", None))
        except BaseException as error:  # It is raised again in the other thread.
            made.put(("error", error))

    thread = threading.Thread(target=make, daemon=True)
    thread.start()
    try:
        while True:
            what, item = made.get()
            if what == "error":
                raise item
            if what == "end":
                return
            yield item
    finally:
        stop.set()
        while thread.is_alive():
            # The thread may be waiting for room; what it still makes is not wanted.
            with contextlib.suppress(queue.Empty):
                made.get_nowait()
            thread.join(0.01)


def bounded(
    batches: Iterator[pa.RecordBatch], schema: pa.Schema, job: Job, added: bool
) -> Iterator[pa.RecordBatch]:
    """Coalesce and split batches: as many rows as fit MAX_CELLS and MAX_BYTES, at least one."""
    return bounded_by(batches, schema, lambda batch: _row_sizes(batch, job, added))


def bounded_by(
    batches: Iterator[pa.RecordBatch],
    schema: pa.Schema,
    sizes_of: Callable[[pa.RecordBatch], tuple[Any, Any]],
) -> Iterator[pa.RecordBatch]:
    """The same.

    sizes_of: token cells and decoded bytes of each row of a batch
    """
    pending: list[pa.RecordBatch] = []
    cells = size = 0
    for batch in batches:
        batch_cells, batch_sizes = sizes_of(batch)
        start = 0
        while start < batch.num_rows:
            taken = _rows_that_fit(batch_cells[start:], MAX_CELLS - cells)
            taken = min(taken, _rows_that_fit(batch_sizes[start:], MAX_BYTES - size))
            if not pending:
                taken = max(taken, 1)
            if taken:
                pending.append(batch.slice(start, taken))
                cells += int(batch_cells[start : start + taken].sum())
                size += int(batch_sizes[start : start + taken].sum())
                start += taken
            if start < batch.num_rows:
                yield from joined_where_possible(pending, schema)
                if size > MAX_BYTES // 2:
                    # The allocator would keep what so large a batch has freed, in case it is asked.
                    pa.default_memory_pool().release_unused()
                pending, cells, size = [], 0, 0
    if pending:
        yield from joined_where_possible(pending, schema)


def _rows_that_fit(sizes: Any, room: int) -> int:
    return int(np.searchsorted(np.cumsum(sizes), room, side="right"))


def part_of(schema: pa.Schema, names: Sequence[str] | None) -> pa.Schema:
    """A schema with these columns only, if they are given."""
    if names is None:
        return schema
    return pa.schema([field for field in schema if field.name in names], metadata=schema.metadata)


def joined(batches: list[pa.RecordBatch], schema: pa.Schema) -> pa.RecordBatch:
    """Several batches as one."""
    if len(batches) == 1:
        return batches[0]
    arrays = [pa.concat_arrays([batch.column(i) for batch in batches]) for i in range(len(schema))]
    return batch_of(arrays, schema)


def joined_where_possible(
    batches: list[pa.RecordBatch], schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """Several batches as one, or as several where no dictionary has room for all their values.

    Each row group has a dictionary of its own: 100 and 100 other strings can't be one of int8.
    """
    try:
        yield joined(batches, schema)
    except pa.ArrowInvalid:
        if len(batches) == 1:
            raise
        half = len(batches) // 2
        for part in (batches[:half], batches[half:]):
            yield from joined_where_possible(part, schema)


def decoded(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A batch with the values of its dictionaries in their place."""
    arrays = [
        column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)


def byte_sizes(batch: pa.RecordBatch) -> Any:
    """Decoded bytes of each row, int64 [rows]."""
    sizes = np.zeros(batch.num_rows, dtype=np.int64)
    for array in batch.columns:
        sizes += column_sizes(array)
    return sizes


def _row_sizes(batch: pa.RecordBatch, job: Job, added: bool) -> tuple[Any, Any]:
    """Token cells and decoded bytes of each row, the timesteps that the pattern adds included."""
    cells = np.zeros(batch.num_rows, dtype=np.int64)
    sizes = np.zeros(batch.num_rows, dtype=np.int64)
    of_columns = {}
    for name, array in zip(batch.schema.names, batch.columns, strict=True):
        of_columns[name] = column_sizes(array)
        sizes += of_columns[name]
    streams = {output.name: len(output.numbers) for output in job.outputs}
    streams |= {column.name: column.size for column in job.columns}
    for name, size in streams.items():
        if not is_there(batch.schema, name):
            continue
        array = array_at(batch, name)
        width = max(1, leaf_width(array.type))
        # That of a field of a struct is not known yet.
        known = of_columns[name] if name in of_columns else column_sizes(array)
        frames = known // width // size
        new = job.added_steps(frames) * size if added else 0
        cells += known // width + new
        sizes += new * width
        if job.windows is not None:
            windows = job.windows.counts(frames) if added else 1
            cells += _WINDOW_CELLS * windows * size
    return cells, sizes
