"""What an output has lost that reverting cannot bring back."""

from __future__ import annotations

from collections.abc import Sequence

from delaytool.batches.fields import check_there, field_at
from delaytool.batches.figures import Counts, count
from delaytool.batches.job import Job
from delaytool.batches.layouts import check_column_type
from delaytool.batches.problems import placed
from delaytool.batches.unshift import read_shifted
from delaytool.errors import DataError
from delaytool.shards.failures import reading
from delaytool.shards.find import Shard
from delaytool.shards.read import OpenShard, open_shard, read_record
from delaytool.shards.record import Record


def look_at(shards: Sequence[Shard], job: Job | None, allow_lossy: bool) -> None:
    """Raise DataError for the first shard that lost something, before one is written.

    job: what grids without a record were made with
    """
    for shard in [] if allow_lossy else shards:
        with open_shard(shard) as output, reading(shard.name):
            if not output.is_quarantine:
                record = read_record(output)
                check_lossless(counts_of(output, record, job), record)


def counts_of(output: OpenShard, record: Record | None, job: Job | None) -> Counts:
    """What a shard's record says; of one without, what truncation cut off, by its rows' lengths."""
    if record is not None:
        return record.counts
    counts = Counts()
    if job is None:
        return counts
    for column in job.columns:
        check_there(output.schema, column.name, "`grid_column`")
        check_column_type(field_at(output.schema, column.name), column.layout)
    if not job.recipe.may_lose:
        return counts
    for batch in output.small_batches([column.name for column in job.outputs]):
        try:
            _, lengths = read_shifted(batch, job)
        except DataError as error:
            raise placed(error, output.shard.name, counts.rows_in, batch, job) from None
        counts += count(lengths, lengths[None], job)
    return counts


def check_lossless(counts: Counts, record: Record | None) -> None:
    """Raise DataError where something is missing that cannot come back.

    counts: those of the record, or of what is there where there is none
    """
    lost = (
        ("truncation cut off", counts.lost, "tokens"),
        ("alignment cut off", counts.trimmed, "tokens"),
        ("quarantine holds", counts.quarantined, "rows"),
        ("windows were dropped, of", counts.dropped_frames, "frames"),
        ("no window is left of", counts.dropped_rows, "rows"),
    )
    missing = [f"{what} {count} {things}" for what, count, things in lost if count]
    if record is not None and record.job.drop_columns:
        missing.append(f"columns were left out, {_left_out(record.job)}")
    if missing:
        raise DataError(
            "lossy",
            " and ".join(missing) + ", which cannot come back",
            expected="nothing missing",
            advice="take the rest with `allow_lossy=True`",
        )


def _left_out(job: Job) -> str:
    """The columns that are missing, in words."""
    partly = [f"{name}." for name in job.names]
    names = [
        f"the rest of {name}" if any(each.startswith(f"{name}.") for each in partly) else name
        for name in job.drop_columns
    ]
    return ", ".join(names)
