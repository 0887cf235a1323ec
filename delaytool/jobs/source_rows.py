"""Bad rows with all columns of their source, also those that are not read for the outputs.

They are to be repaired and shifted by the same command, so nothing of them is left out. What an
output leaves out is read only where a row is bad, and only up to the last one that is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from delaytool.batches.job import Job
from delaytool.batches.types import batch_of, filtered
from delaytool.pattern.windows import Mask
from delaytool.shards.bounded import Rows
from delaytool.shards.failures import reading
from delaytool.shards.pairs import Opened, PairedShard, open_source


class SourceRows:
    """Rows of a source with all columns; goes forward only.

    names: the columns that are read for the outputs; None for all of them
    """

    def __init__(self, source: Opened, job: Job, names: Sequence[str] | None) -> None:
        self.source, self.job = source, job
        self.missing = [n for n in source.schema.names if names is not None and n not in names]
        self._stack = contextlib.ExitStack()
        self._rows: Rows | None = None
        self._done = 0

    def close(self) -> None:
        """Close what has been opened."""
        self._stack.close()

    def of(self, batch: pa.RecordBatch, rows: Sequence[int]) -> Iterator[pa.RecordBatch]:
        """Rows with all columns, a bounded number of bytes at a time.

        batch: the columns of them that were read
        rows:  their numbers in the source, in order, all of them after those of calls before
        """
        if not self.missing:
            yield batch
            return
        numbers, taken = np.array(rows), 0
        with reading(self.source.shard.name):
            for part in self._reader().parts(rows[-1] + 1 - self._done):
                within = numbers[(numbers >= self._done) & (numbers < self._done + part.num_rows)]
                if len(within):
                    kept = np.zeros(part.num_rows, dtype=bool)
                    kept[within - self._done] = True
                    yield self._together(batch.slice(taken, len(within)), part, kept)
                    taken += len(within)
                self._done += part.num_rows

    def _together(self, read: pa.RecordBatch, part: pa.RecordBatch, kept: Mask) -> pa.RecordBatch:
        schema = self.source.schema
        arrays = dict(zip(read.schema.names, read.columns, strict=True))
        arrays |= {name: filtered(part.column(name), kept) for name in self.missing}
        return batch_of([arrays[name] for name in schema.names], schema)

    def _reader(self) -> Rows:
        """The rows of the missing columns, read by a reader of their own."""
        if self._rows is None:
            codes = self.source.codes.shard if isinstance(self.source, PairedShard) else None
            source = open_source(self.source.shard, codes, self.job)
            opened = self._stack.enter_context(source)
            self._rows = Rows(opened.small_batches(self.missing))
        return self._rows
