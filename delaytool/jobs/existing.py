"""What is to become of an output that is there already."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import pyarrow as pa

from delaytool.batches.job import Job
from delaytool.batches.metadata import ENTRY, QUARANTINE_ENTRY
from delaytool.batches.schema import already_shifted, quarantine_schema, shifted_schema
from delaytool.errors import DataError, Place
from delaytool.jobs.paths import Item
from delaytool.shards import stores
from delaytool.shards.align_record import jobs_in
from delaytool.shards.commit import State, file_state, is_as_before
from delaytool.shards.find import Shard
from delaytool.shards.pairs import Opened
from delaytool.shards.quarantine import is_intact
from delaytool.shards.read import open_shard
from delaytool.shards.record import Record, Recorded

R = TypeVar("R", bound=Recorded)
_FOREIGN = "it is not a shard that delaytool made"


def quarantine_entry(path: str) -> bytes | None:
    """What a shard of quarantined rows says of itself; None for any other file, or none."""
    if stores.kind_of(path) != "file":
        return None
    try:
        with open_shard(Shard(path, path)) as opened:
            return opened.entry_called(QUARANTINE_ENTRY)
    except DataError:
        return None


def check_source(source: Opened, job: Job, quarantine: bool) -> pa.Schema:
    """The schema of a source's output; raises DataError when the source does not fit the job.

    quarantine: whether bad rows are put into quarantine, with a column of their own
    """
    if source.entry is not None:
        raise already_shifted().at(shard=source.shard.name)
    _check_delays(source, job)
    _ = source.rows
    if quarantine:
        quarantine_schema(source.schema)
    return shifted_schema(source.schema, job)


def _check_delays(source: Opened, job: Job) -> None:
    """Raise DataError where `align` has put a delay into the text that the recipe has offsets for.

    Frames cannot undo it: a delay of seconds moves some words a frame further than others.
    """
    if not any(stream.offset for stream in job.recipe.streams):
        return
    delays = [made.how.audio_delay for made in jobs_in(source.entries)]
    delay = next((delay for delay in delays if delay), 0)
    if delay:
        raise DataError(
            "audio-delay",
            f"its text was aligned with an audio delay of {delay:g} s, and the recipe has offsets",
            expected="one of them, for both would be the delay twice",
            advice="align the words without `audio_delay`, or choose a `recipe` without offsets",
            place=Place(shard=source.shard.name),
        )


@dataclass(frozen=True)
class Made(Generic[R]):
    """What is made of shards: the entry of its record in a footer, and how that is parsed.

    later: entries that a footer gets when something else is made of that, which keeps this one
    """

    entry: str
    parse: Callable[[bytes], R]
    later: tuple[str, ...] = ()


SHIFTED = Made(ENTRY, Record.from_json)


@dataclass(frozen=True)
class Existing(Generic[R]):
    """What there is already where a shard goes.

    record:        that of an output that can be left as it is; None where one has to be written
    target, quarantine: the files in whose place the new ones may come
    """

    record: R | None
    target: State | None = None
    quarantine: State | None = None


def existing_record(item: Item, source: Opened, job: Job, overwrite: bool) -> Existing[Record]:
    """What there is already of an output and its quarantined rows.

    Raises DataError when something else is in the way.
    """
    return existing_of(SHIFTED, item, source, job, overwrite)


def existing_of(
    made: Made[R], item: Item, source: Opened, job: object, overwrite: bool
) -> Existing[R]:
    """The same of whatever is made of the source."""
    # What has come by the time that it is read is not what may be replaced.
    target, quarantine = file_state(item.target), None
    record, why = _record_at(item.target, made, source, job)
    if item.quarantine is not None:
        quarantine = file_state(item.quarantine)
        there = _record_at(item.quarantine, _in_quarantine(made), source, job)
        record = _with_its_rows(item, quarantine, record, there, source, overwrite)
    elif record is not None and record.quarantined_rows:
        why = f"{record.quarantined_rows} rows of it are in quarantine"
        record = None
    is_old = item.began_with is None or is_as_before(target, item.began_with[0])
    if why and not (overwrite and is_old and stores.kind_of(item.target) == "file"):
        advice = "choose another `output`"
        if why == _FOREIGN:
            # It may be somebody's original, so nothing is said of replacing it.
            advice += ", and quote `input` if it is a glob"
        elif not overwrite:
            advice += ", or replace it with `overwrite=True`"
        raise in_the_way(item.target, why, source, advice)
    return Existing(record, target, quarantine)


def _in_quarantine(made: Made[R]) -> Made[R]:
    """The record of an output in the shard of its quarantined rows."""
    return Made(QUARANTINE_ENTRY, made.parse)


def _with_its_rows(
    item: Item,
    state: State | None,
    record: R | None,
    there: tuple[R | None, str],
    source: Opened,
    overwrite: bool,
) -> R | None:
    """The record of an output whose quarantined rows are there too; None where it is to be made.

    state: what is where the rows go, there: its record; raises DataError when that is in the way
    """
    assert item.quarantine is not None, "rows are looked for only where there is a place for them"
    quarantine, why = there
    if record is not None and record.quarantined_rows and record != quarantine:
        record = None
    if quarantine is not None and record is None and not is_intact(item.quarantine, quarantine):
        why = "its rows are not those that were put there"
    if not why:
        return record
    is_old = item.began_with is None or is_as_before(state, item.began_with[1])
    # What is no shard of quarantined rows is not in the quarantine to be replaced.
    if quarantine_entry(item.quarantine) is None:
        raise in_the_way(item.quarantine, why, source, "choose another `quarantine`")
    if not (overwrite and is_old):
        advice = "" if overwrite else ", or replace it with `overwrite=True`"
        raise in_the_way(item.quarantine, why, source, f"choose another `quarantine`{advice}")
    return record


def _record_at(path: str, made: Made[R], source: Opened, job: object) -> tuple[R | None, str]:
    """The record of a file made from this source with this job, or why there is another file."""
    if stores.kind_of(path) is None:
        return None, ""
    try:
        with open_shard(Shard(path, path)) as output:
            text, rows = output.entry_called(made.entry), output.rows
            if any(output.entry_called(entry) for entry in made.later):
                return None, "something else was made of what is to be there"
            record = None if text is None else made.parse(text)
    except DataError as error:
        return None, error.reason
    if record is None:
        return None, _FOREIGN
    if record.job != job:
        return None, "it was made with other options"
    if record.sources != source.sources:
        return None, "it was made from another source"
    if made.entry == QUARANTINE_ENTRY and rows != record.quarantined_rows:
        return None, f"it holds {rows} rows of the {record.quarantined_rows} that were put there"
    return record, ""


def in_the_way(path: str, why: str, source: Opened, advice: str) -> DataError:
    """The error for an output that is neither this one nor to be replaced."""
    return DataError(
        "output-in-the-way",
        f"the output {stores.shown(path)} is in the way: {why}",
        expected="no file, or one made from this source with these options",
        advice=advice,
        place=Place(shard=source.shard.name),
    )
