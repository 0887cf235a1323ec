"""The rows that windows were cut from, as revert writes them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pyarrow as pa

from delaytool.batches.rejoin import rejoin, whole_rows
from delaytool.batches.unshift import originals
from delaytool.errors import DataError
from delaytool.shards.record import Record
from delaytool.shards.recorded_rows import Dropped, Padded


def unshifted_windows(
    batches: Iterator[pa.RecordBatch], record: Record, schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """The rows of a shard of windows, shifted back and joined.

    schema: of the source; what windows that were dropped held is null

    Raises DataError, with the row in the shard, for windows that are not as they were cut.
    """
    job, dropped, padded, seen = record.job, Dropped(record), Padded(record), 0
    for whole in whole_rows(batches, job):
        numbers = dropped.good_rows(seen, whole.firsts.num_rows)
        seen += len(numbers)
        try:
            tokens = rejoin(whole, job).tokens
            restored = originals(whole.firsts, tokens, job, schema, padded.of(numbers))
        except DataError as error:
            row = error.place.row
            if row is None:
                raise
            place = dataclasses.replace(error.place, row=whole.number + row)
            texts = {"expected": error.expected, "advice": error.advice}
            raise DataError(error.kind, error.found, **texts, place=place) from None
        yield restored
