"""One shard in numbers: a generator of progress that returns them.

A shifted shard says itself what is in it: its footer is enough. An original one is read.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from delaytool.detect import job_of_original
from delaytool.errors import DataError
from delaytool.job import Counts, Figures, Job, Where, is_by_stream
from delaytool.recipe import Recipe
from delaytool.report import Summary
from delaytool.shards import Shard, open_shard, read_record, reading
from delaytool.tokens import TokenBatch, read_tokens, streams_first
from delaytool.transform import placed


@dataclass(frozen=True)
class Stats:
    """One shard in numbers, and whether it is shifted."""

    name: str
    shifted: bool
    summary: Summary | None


def stats_shard(shard: Shard, where: Where, recipe: Recipe | None) -> Generator[float, None, Stats]:
    """Tell what is in a shard.

    where:  where an original shard has its tokens; a shifted one says so itself
    recipe: an original shard's streams; None where its columns are to say how many there are, and
            any token may be in them
    yields: the fraction of the rows that are done
    raises: DataError for a shard that cannot be read, and for the first bad row
    """
    with open_shard(shard) as opened, reading(shard.name):
        record = read_record(opened)
        if record is not None:
            yield 1.0
            return Stats(shard.name, True, Summary.of(record))
        job = job_of_original(where, opened.schema, opened.small_batches(), recipe)
        counts, figures = Counts(), Figures()
        for batch in opened.small_batches():
            try:
                tokens = read_tokens(batch, job, any_token=recipe is None)
            except DataError as error:
                raise placed(error, shard.name, counts.rows_in, batch, job) from None
            counts += _counts(tokens, job)
            figures += _figures(tokens, job)
            yield counts.rows_in / max(opened.rows, 1)
        return Stats(shard.name, False, Summary(job.recipe, counts, figures))


def _counts(tokens: TokenBatch, job: Job) -> Counts:
    rows, frames = len(tokens.lengths), int(tokens.lengths.sum())
    return Counts(rows, rows, frames, frames * len(job.recipe.streams))


def _figures(tokens: TokenBatch, job: Job) -> Figures:
    """What can be said of cells that are not shifted: how much of the text is padding."""
    if not job.recipe.has_text:
        return Figures()
    column, ids = job.columns[0], job.recipe.streams[0].padding_ids
    by_stream = is_by_stream(column.layout)
    text = streams_first(tokens.columns[0], tokens.lengths, column.count, by_stream)[0]
    padding = sum(int(np.count_nonzero(text == token)) for token in ids)
    return Figures(text=text.size, padding=padding)
