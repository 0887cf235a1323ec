"""What is settled before the words of the first shard are aligned."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from delaytool.batches.align import bad_rows
from delaytool.batches.align_job import AlignJob
from delaytool.batches.column_options import ColumnOptions
from delaytool.batches.columns import describe_columns, find_columns
from delaytool.batches.fields import check_there, field_at
from delaytool.batches.layouts import Column
from delaytool.batches.schema import already_shifted
from delaytool.batches.types import depth_of, type_name
from delaytool.batches.words import speakers_in
from delaytool.errors import AmbiguousError, DataError, Place
from delaytool.jobs.align import ALIGNED, check_words
from delaytool.jobs.existing import existing_of
from delaytool.jobs.layout_by_words import columns_by_words
from delaytool.jobs.paths import Item, pairs_of_data
from delaytool.jobs.plan import ChangedTypes, look_at_first, read_first
from delaytool.jobs.quarantine import is_left_out
from delaytool.shards.failures import reading
from delaytool.shards.pairs import (
    ORDER_ALONE,
    is_by_order_alone,
    key_in,
    open_source,
    rows_of,
)

_ROWS = 1000
"""Rows whose words are looked at, before the first shard is written."""
_MISFITS = {
    "codebooks": "name the layout with `audio_layout`",
    "codebook-lengths": "name the layout with `audio_layout`",
    "column-lengths": "name other codes with `audio_column`",
    "words": "name another column with `words_column`, or store the words in a shape that is read",
}
"""The kinds of rows that are bad by their shape, and what to do where most are."""
_OR_FRAMES = ", or name a column that holds the number of frames with `frames_column`"
_NAMED_SPEAKERS = 20
"""The most speakers that a message lists."""


@dataclass(frozen=True)
class AlignPlan:
    """What is to be done to every shard, and what there is to say about it before it starts."""

    job: AlignJob
    columns: list[str]
    notes: list[str]
    items: list[Item]


def plan_align(
    items: list[Item], asked: AlignJob, where: ColumnOptions, overwrite: bool
) -> AlignPlan:
    """Settle where words and frames are, and look at the shards before the first one is written.

    asked:  the job without what the shards say: the layout of the codes, and the key
    where:  the columns of codes, and the key
    raises: DataError for a shard that cannot be read or does not fit, an output in the way, or a
            main speaker whom nobody names
    """
    items, good, first = read_first(items)
    notes: list[str] = []
    with open_source(first.shard, first.codes, where) as source, reading(first.shard.name):
        if source.entry is not None:
            raise already_shifted()
        where = replace(where, key=key_in(source, where))
        if is_by_order_alone(source, where):
            notes.append(ORDER_ALONE)
        schema = source.schema
        job = replace(asked, key=where.key, by_order=where.by_order)
        check_there(schema, job.words_column, "`words_column`")
        if job.frames_column is None:
            job = replace(job, codes=_codes(good, schema, job, where))
        check_words(source, job, first.quarantine is not None)
    described = describe_columns(job.codes, schema)
    for name, what in ((job.words_column, "words"), (job.frames_column, "frames")):
        if name is not None:
            described.append(f"{name}: {type_name(field_at(schema, name).type)}, {what}")
    changed = look_at_first(good, lambda item: _look_at(item, job, overwrite))
    if not job.how.all_speakers:
        _check_speaker(good, job)
    if first.quarantine is not None or not first.target:
        _check_most_fit(good, job)
    return AlignPlan(job, described, notes + changed, items)


def _codes(
    items: Sequence[Item], schema: pa.Schema, job: AlignJob, where: ColumnOptions
) -> tuple[Column, ...]:
    """The columns of codes, which say how many frames there are."""
    rows = rows_of(pairs_of_data(items), where)
    try:
        return find_columns(where, schema, None, rows)
    except AmbiguousError as error:
        found = columns_by_words(list(_first(rows_of(pairs_of_data(items), where))), job, where)
        if found is None:
            raise _or_frames(error, error.advice) from None
        return found
    except DataError as error:
        if error.kind not in ("missing-column", "no-layout", "no-rows"):
            raise
        name = error.place.column or ""
        if error.kind == "no-layout" and depth_of(field_at(schema, name).type)[0] == 1:
            error = DataError(
                error.kind,
                "one list of all codes does not say how many frames there are",
                expected="a list for each codebook or frame",
                advice="name other codes with `audio_column`",
                place=error.place,
            )
        raise _or_frames(error, error.advice or "name the layout with `audio_layout`") from None


def _or_frames(error: DataError, advice: str) -> DataError:
    """An error of codes, with the way to do without them."""
    texts = {"expected": error.expected, "advice": advice + _OR_FRAMES}
    return DataError(error.kind, error.found, **texts, place=error.place)


def _look_at(item: Item, job: AlignJob, overwrite: bool) -> ChangedTypes:
    """The types of a shard that pass through changed.

    Raises DataError when the shard does not fit the job, or an output is in the way.
    """
    with open_source(item.shard, item.codes, job.keys) as source, reading(item.shard.name):
        if is_left_out(item, source):
            return {}
        if job.key is not None:
            check_there(source.schema, job.key, "`key`")
        check_words(source, job, item.quarantine is not None)
        if item.target:
            existing_of(ALIGNED, item, source, job, overwrite)
        return source.changed_types(set(source.schema.names))


def _check_speaker(items: Sequence[Item], job: AlignJob) -> None:
    """Raise DataError where the first rows name speakers, but never the main one."""
    rows, names, main = 0, set[str](), job.how.main_speaker
    for batch in _first_words(items, job):
        names |= speakers_in(batch.column(job.words_column))
        rows += batch.num_rows
        if main in names:
            return
    if names:
        listed = sorted(names)
        more = len(listed) - _NAMED_SPEAKERS
        shown = ", ".join(listed[:_NAMED_SPEAKERS]) + (f" and {more} more" if more > 0 else "")
        raise DataError(
            "no-such-speaker",
            f"no word of the first {rows:,} rows is of speaker {main}; there are {shown}",
            expected="the main speaker",
            advice="name the main one with `speaker`, or keep everyone's words with "
            "`all_speakers=True`",
            place=Place(column=job.words_column),
        )


def _check_most_fit(items: Sequence[Item], job: AlignJob) -> None:
    """Raise DataError when most of the first rows are bad by their shape, since the job is then."""
    rows, misfits = 0, list[DataError]()
    for batch in _first(rows_of(pairs_of_data(items), job.keys, lambda _: job.reads)):
        rows += batch.num_rows
        problems = bad_rows(batch, job, lambda texts: [()] * len(texts))
        misfits += [error for error in problems.values() if error.kind in _MISFITS]
    if 2 * len(misfits) > rows:
        first = misfits[0]
        raise DataError(
            "layout-misfits",
            f"{len(misfits):,} of the first {rows:,} rows do not fit, the first of them: "
            f"{first.found}",
            expected=first.expected,
            advice=_MISFITS[first.kind],
            place=Place(column=first.place.column),
        )


def _first_words(items: Sequence[Item], job: AlignJob) -> Iterator[pa.RecordBatch]:
    """The words of the first rows of all shards."""

    def names_in(schema: pa.Schema) -> list[str]:
        return [job.words_column]

    return _first(rows_of(pairs_of_data(items), job.keys, names_in))


def _first(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The first rows of these."""
    left = _ROWS
    for batch in batches:
        yield batch.slice(0, left)
        left -= min(left, batch.num_rows)
        if not left:
            return
