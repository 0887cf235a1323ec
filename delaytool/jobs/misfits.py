"""Whether most of the first rows fit the layout that was settled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import pyarrow as pa

from delaytool.batches.job import Job
from delaytool.batches.problems import placed
from delaytool.batches.shift import bad_rows
from delaytool.errors import DataError
from delaytool.jobs.paths import Item, pairs_of_data
from delaytool.shards.failures import reading
from delaytool.shards.pairs import Opened, open_source

_LOOKED_AT_ROWS = 1000
"""Rows of which at most half may be bad by their shape, where bad ones are quarantined."""
MISFITS = {
    "codebooks": "name the layout with `audio_layout`, or choose another `recipe`",
    "codebook-lengths": "name the layout with `audio_layout`",
    "text-length": "name the layout with `audio_layout`, choose another `recipe`, or say with "
    "`align` what becomes of text of another length",
    "weight-length": "name another `weight_column`",
}
"""The kinds of rows that are bad by their shape, and what to do where most are."""


def check_most_fit(items: Sequence[Item], job: Job) -> None:
    """Raise DataError when most of the first rows are bad by their shape, since the job is then."""
    rows, misfits = 0, Counter[str]()
    first: DataError | None = None
    for name, before, batch in _first_rows(items, job):
        rows += batch.num_rows
        for error in bad_rows(batch, job).values():
            if error.kind in MISFITS:
                misfits[error.kind] += 1
                first = first or placed(error, name, before, batch, job)
    if first is not None and 2 * misfits.total() > rows:
        (kind, _), *_ = misfits.most_common()
        raise DataError(
            "layout-misfits",
            f"{misfits.total():,} of the first {rows:,} rows do not fit, this one first: "
            f"{first.found}",
            expected=first.expected,
            advice=MISFITS[kind],
            place=first.place,
        )


def _first_rows(items: Sequence[Item], job: Job) -> Iterator[tuple[str, int, pa.RecordBatch]]:
    """The first rows of all shards: the shard's name, how many of its rows come before, a batch."""
    left = _LOOKED_AT_ROWS
    for shard, codes in pairs_of_data(items):
        with open_source(shard, codes, job) as source, reading(shard.name):
            before = 0
            for batch in source.small_batches(_names_that_tell(source, job)):
                yield shard.name, before, batch.slice(0, left)
                before += batch.num_rows
                left -= min(left, batch.num_rows)
                if not left:
                    return


def _names_that_tell(source: Opened, job: Job) -> list[str]:
    """The columns of which rows may be bad, and the key."""
    names = {*(column.name for column in job.columns), job.factors, job.key}
    return [name for name in source.schema.names if name in names]
