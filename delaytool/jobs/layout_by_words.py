"""The layout of codes that their types and shapes leave open, by the words beside them.

Without a recipe nobody knows how many codebooks there are, so where all rows have one shape, say
[8][1250], that may be 8 codebooks of 1250 frames, or the other way round. But a row has to be long
enough for its words. Should that be wrong for once, apply finds text and codes of other lengths.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from delaytool.batches.align import frames_of
from delaytool.batches.align_job import AlignJob
from delaytool.batches.column_options import ColumnOptions
from delaytool.batches.columns import find_columns
from delaytool.batches.fields import is_there
from delaytool.batches.layouts import CODEBOOK, FRAME, Column
from delaytool.batches.words import read_words
from delaytool.errors import DataError

_ENOUGH = 0.9
"""The share of rows that have to be long enough for their words: a few transcripts run too far."""


def columns_by_words(
    rows: Sequence[pa.RecordBatch], job: AlignJob, where: ColumnOptions
) -> tuple[Column, ...] | None:
    """The columns of codes in the one layout that the words of the rows fit; None without one.

    rows: the first ones of the dataset; job: the job without the columns
    """
    fitting: list[tuple[Column, ...]] = []
    for layout in (CODEBOOK, FRAME):
        with contextlib.suppress(DataError):
            asked = replace(where, audio_layout=layout.name)
            columns = find_columns(asked, rows[0].schema, None, iter(rows))
            fits = list(_fits(rows, replace(job, codes=columns)))
            if fits and sum(fits) >= _ENOUGH * len(fits):
                fitting.append(columns)
    return fitting[0] if len(fitting) == 1 else None


def _fits(rows: Iterable[pa.RecordBatch], job: AlignJob) -> Iterable[bool]:
    """For each row with words that can be read: whether the last word begins in it."""
    for batch in rows:
        if not all(is_there(batch.schema, name) for name in job.reads):
            continue  # A shard without them is another error, which names the shard.
        for number in range(batch.num_rows):
            row = batch.slice(number, 1)
            frames, _ = frames_of(row, job)
            words, _ = read_words(row.column(job.words_column), lambda texts: [()] * len(texts))
            if frames is not None and words is not None and len(words.starts):
                last = (words.starts.max() - job.how.audio_delay) * job.how.frame_rate
                yield bool(np.floor(last) < frames[0])
