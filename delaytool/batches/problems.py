"""The bad rows of a batch, and how errors say where they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import numpy as np
import pyarrow as pa

from delaytool.batches.types import filtered
from delaytool.batches.values import value_of
from delaytool.errors import DataError

Problems = dict[int, DataError]
"""The first problem of each bad row of a batch, by row number in the batch."""


class Keyed(Protocol):
    """A job, as far as it says which column names a row."""

    @property
    def key(self) -> str | None:
        """The column's name; None where there is none."""


def first_problems(errors: Iterable[DataError]) -> Problems:
    """The first of the errors of each row, by row."""
    problems: Problems = {}
    for error in errors:
        assert error.place.row is not None, "only errors of rows"
        problems.setdefault(error.place.row, error)
    return problems


def scan_again(
    batch: pa.RecordBatch, found: Problems, find: Callable[[pa.RecordBatch], Problems]
) -> Problems:
    """The first problem of every bad row of a batch, in order.

    found: what `find` has found in it
    """
    # What is wrong in one way hides what is wrong in another, until it is out of the way.
    problems: Problems = {}
    rows = np.arange(batch.num_rows)
    while found:
        for row, error in found.items():
            problems[int(rows[row])] = error.at(row=int(rows[row]))
        rows = np.delete(rows, list(found))
        batch, _ = split_rows(batch, list(found))
        found = find(batch)
    return dict(sorted(problems.items()))


def split_rows(batch: pa.RecordBatch, rows: Sequence[int]) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """The other rows of a batch, and these."""
    these = np.zeros(batch.num_rows, dtype=bool)
    these[list(rows)] = True
    others, chosen = (
        pa.RecordBatch.from_arrays(
            [filtered(column, kept) for column in batch.columns], schema=batch.schema
        )
        for kept in (~these, these)
    )
    return others, chosen


def kind_of_problem(error: DataError) -> tuple[str, str | None]:
    """What rows that are bad in the same way have in common: the kind, and the column."""
    return error.kind, error.place.column


def key_of(batch: pa.RecordBatch, row: int, job: Keyed) -> str | None:
    """What the job's key column calls a row of a batch; None where there is no such column."""
    if job.key is None or job.key not in batch.schema.names:
        return None
    key = f"{job.key} {value_of(batch.column(job.key)[row])!r}"
    return key if len(key) <= 80 else key[:77] + "..."


def placed(error: DataError, shard: str, rows: int, batch: pa.RecordBatch, job: Keyed) -> DataError:
    """An error of one batch with the shard's name, row number and key.

    rows: how many rows of the shard come before the batch
    """
    row = error.place.row
    if row is None:
        return error.at(shard=shard)
    return error.at(shard=shard, row=rows + row, key=key_of(batch, row, job))
