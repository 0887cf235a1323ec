"""The first rows of all shards, which tell what is wrong with all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

from delaytool.batches.fields import tops_of
from delaytool.batches.job import Job
from delaytool.jobs.paths import Item, pairs_of_data
from delaytool.shards.failures import reading
from delaytool.shards.pairs import Opened, open_source

_LOOKED_AT_ROWS = 1000


def first_rows(items: Sequence[Item], job: Job) -> Iterator[tuple[str, int, pa.RecordBatch]]:
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
    return tops_of(source.schema, [*job.names_with_factors, *([job.key] if job.key else [])])
