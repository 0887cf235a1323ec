"""Whether the first rows are shifted already, though no entry in a footer says so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from delaytool.batches.job import Job
from delaytool.batches.problems import placed, split_rows
from delaytool.batches.read import scan
from delaytool.batches.shift import read_aligned
from delaytool.errors import DataError, Place
from delaytool.jobs.first_rows import first_rows
from delaytool.jobs.paths import Item
from delaytool.pattern.traces import looks_delayed


def check_not_shifted(items: Sequence[Item], job: Job) -> None:
    """Raise DataError when all of the first rows that can tell are shifted already."""
    if not job.recipe.max_delay:
        return
    first: DataError | None = None
    for name, before, batch in first_rows(items, job):
        for row, is_delayed in _rows_that_tell(batch, job):
            if not is_delayed:
                return
            first = first or placed(_error(row, job), name, before, batch, job)
    if first is not None:
        raise first


def _rows_that_tell(batch: pa.RecordBatch, job: Job) -> Iterator[tuple[int, bool]]:
    """The rows that can be read and tell something, each with whether it looks delayed."""
    # Mostly the first row says that nothing is shifted, and the others need not be read.
    for start, part in ((0, batch.slice(0, 1)), (1, batch.slice(1))):
        _, problems = scan(part, job, any_token=True)
        good, _ = split_rows(part, list(problems))
        tokens, _ = read_aligned(good, job, any_token=True)
        rows = np.delete(np.arange(start, start + part.num_rows), list(problems))
        ends = np.cumsum(tokens.lengths)[:-1]
        parts = np.split(tokens.grid(job.numbers), ends, axis=1) if len(rows) else []
        for row, codes in zip(rows.tolist(), parts, strict=True):
            is_delayed = looks_delayed(codes, job.recipe)
            if is_delayed is not None:
                yield row, is_delayed


def _error(row: int, job: Job) -> DataError:
    stream = next(stream for stream in job.recipe.streams if stream.delay)
    cells = "1 initial token" if stream.delay == 1 else f"{stream.delay} initial tokens"
    return DataError(
        "shifted-already",
        f"stream {stream.name} begins with {cells} {stream.initial}, and in all of the first rows "
        "every delayed stream begins with as many as its delay: they are shifted already",
        expected="original shards",
        advice="give the original shards; shifting twice is never meant",
        place=Place(row=row),
    )
