"""Whether most of the first rows fit the layout that was settled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from delaytool.batches.job import Job
from delaytool.batches.problems import placed
from delaytool.batches.shift import bad_rows
from delaytool.errors import DataError
from delaytool.jobs.first_rows import first_rows
from delaytool.jobs.paths import Item

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
    for name, before, batch in first_rows(items, job):
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
