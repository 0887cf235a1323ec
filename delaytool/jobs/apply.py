"""Shift one shard."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from delaytool import __version__
from delaytool.batches.digest import BatchDigest
from delaytool.batches.figures import Counts, figures_of_nothing
from delaytool.batches.job import Job
from delaytool.batches.metadata import ENTRY
from delaytool.batches.problems import kind_of_problem, placed, split_rows
from delaytool.batches.schema import output_entries, quarantine_schema
from delaytool.batches.shift import bad_rows, shift_batch
from delaytool.batches.unshift import cut
from delaytool.errors import DataError
from delaytool.jobs.existing import check_source, existing_record
from delaytool.jobs.paths import Item
from delaytool.jobs.quarantine import QuarantineWriter, check_is_quarantine, is_left_out
from delaytool.jobs.report import Summary
from delaytool.jobs.shard_task import ShardTask
from delaytool.shards.bounded import ahead
from delaytool.shards.commit import NameTakenError, State, remove_second_names
from delaytool.shards.failures import reading
from delaytool.shards.find import Shard
from delaytool.shards.pairs import Opened, open_source
from delaytool.shards.record import Digests, Record, reasons_of
from delaytool.shards.recorded_rows import further
from delaytool.shards.sources import digest_of_sources
from delaytool.shards.write import writing


@dataclass(frozen=True)
class Applied:
    """What was done to one shard.

    left_out: whether that was nothing, since its rows are in quarantine
    """

    name: str
    written: bool
    summary: Summary | None
    left_out: bool = False


@dataclass(frozen=True)
class ApplyShard(ShardTask):
    """Shift a shard into its target file.

    overwrite: whether to replace an output that was made otherwise or from another source
    """

    item: Item
    job: Job
    overwrite: bool = False

    @property
    def reads(self) -> Shard:
        """The shard that is shifted."""
        return self.item.shard

    @property
    def writes(self) -> tuple[str, ...]:
        """The output, and the shard of its bad rows."""
        return (self.item.target, *([] if self.item.quarantine is None else [self.item.quarantine]))

    def run(self) -> Generator[float, None, Applied]:
        """Shift the shard.

        yields:  the fraction of the rows that are done
        returns: what was done; an output that is there already, from the same source with the same
                 job, is left alone, also where another run has made it meanwhile
        raises:  DataError for bad data, or an output in the way; nothing is written then
        """
        item, job = self.item, self.job
        with open_source(item.shard, item.codes, job) as source:
            if is_left_out(item, source):
                check_is_quarantine(item, source)
                yield 1.0
                return Applied(self.name, False, None, left_out=True)
            with reading(self.name):
                schema = check_source(source, job, item.quarantine is not None)
            existing = existing_record(item, source, job, self.overwrite)
            if existing.record is not None:
                remove_second_names(item.target, item.quarantine)
                yield 1.0
                return Applied(self.name, False, Summary.of(existing.record))
            work = _Work(source, job, schema, item.quarantine is not None)
            quarantine = QuarantineWriter(item.quarantine, source, existing.quarantine)
            try:
                record = yield from _write(item.target, existing.target, work, quarantine)
            except NameTakenError as taken:
                theirs = _record_of_other(item, work, quarantine, taken)
                return Applied(self.name, False, Summary.of(theirs))
        return Applied(self.name, True, Summary.of(record))


def _write(
    target: str, replaces: State | None, work: _Work, quarantine: QuarantineWriter
) -> Generator[float, None, Record]:
    """Write the shifted rows, and the bad ones into quarantine; their record.

    Raises NameTakenError as `writing` does.
    """
    done = 0
    with contextlib.ExitStack() as stack:
        batches = stack.enter_context(contextlib.closing(ahead(work.batches())))
        output = stack.enter_context(writing(target, work.schema, replaces=replaces))
        stack.enter_context(quarantine)
        for batch, bad in batches:
            output.write(batch)
            if bad is not None:
                quarantine.write(bad)
            done += batch.num_rows + (0 if bad is None else bad.num_rows)
            yield done / max(work.source.rows, 1)
        record = work.record()
        output.metadata = {**work.entries(), ENTRY.encode(): record.to_json().encode()}
        # The output is the commit point: what it leaves out is in its place before it is.
        quarantine.commit(record)
    return record


def _record_of_other(
    item: Item, work: _Work, quarantine: QuarantineWriter, taken: NameTakenError
) -> Record:
    """The record of the output that another run has made meanwhile.

    Raises DataError when it was not made the same way, and so is in the way.
    """
    try:
        existing = existing_record(item, work.source, work.job, overwrite=False)
    except DataError as error:
        quarantine.undo()
        texts = {"expected": error.expected, "advice": taken.advice}
        raise DataError(error.kind, error.found, **texts, place=error.place) from None
    if existing.record is None:
        raise taken.at(shard=item.shard.name)
    return existing.record


class _Work:
    """The shifted batches of a source, and the record of them."""

    def __init__(self, source: Opened, job: Job, schema: pa.Schema, quarantine: bool) -> None:
        self.source, self.job, self.schema, self.quarantine = source, job, schema, quarantine
        self.digest = BatchDigest(source.schema.names)
        self.counts, self.figures = Counts(), figures_of_nothing(job)
        self.reasons: Counter[tuple[str, str | None]] = Counter()
        self.padded: list[list[tuple[int, int]]] = [[] for _ in job.text_columns]
        self.furthest: tuple[int, ...] = ()
        self.quarantined: list[tuple[int, int]] = []
        self.bad_digest: BatchDigest | None = None

    def batches(self) -> Iterator[tuple[pa.RecordBatch, pa.RecordBatch | None]]:
        """Each batch of the source shifted, and its bad rows; counts and digests on the way."""
        for batch in self.source.batches(self.job, self.job.recipe.steps(0)):
            rows, good, bad = self.counts.rows_in, batch, None
            try:
                try:
                    shifted = shift_batch(batch, self.job, self.schema)
                except DataError as error:
                    if not self.quarantine or error.place.row is None:
                        raise
                    # An error holds on to the calls that raised it, and these to their batch.
                    error.__traceback__ = None
                    good, bad = self._sift(batch, rows)
                    shifted = shift_batch(good, self.job, self.schema)
                self.digest.update(cut(good, self.job))
            except DataError as error:
                raise placed(error, self.source.shard.name, rows, batch, self.job) from None
            for pairs, padded in zip(self.padded, shifted.padded, strict=True):
                pairs += [
                    (self.counts.rows_out + int(row), int(padded[row]))
                    for row in np.flatnonzero(padded)
                ]
            self.furthest = further(self.furthest, self.counts.rows_out, shifted.differences)
            self.counts += shifted.counts
            self.figures += shifted.figures
            yield shifted.batch, bad

    def _sift(self, batch: pa.RecordBatch, rows: int) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        """The good rows of a batch, and the bad ones with their reasons."""
        problems = bad_rows(batch, self.job)
        numbers = sorted(problems)
        reasons = [
            str(placed(problems[number], "", rows, batch, self.job).at(shard=None))
            for number in numbers
        ]
        for number in numbers:
            first, count = self.quarantined[-1] if self.quarantined else (0, 0)
            if count and first + count == rows + number:
                self.quarantined[-1] = first, count + 1
            else:
                self.quarantined.append((rows + number, 1))
        self.counts += Counts(rows_in=len(numbers), quarantined=len(numbers))
        self.reasons.update(map(kind_of_problem, problems.values()))
        good, bad = split_rows(batch, numbers)
        schema = quarantine_schema(batch.schema)
        reason = pa.array(reasons, pa.string())
        bad = pa.RecordBatch.from_arrays([*bad.columns, reason], schema=schema)
        if self.bad_digest is None:
            self.bad_digest = BatchDigest(schema.names)
        self.bad_digest.update(bad)
        return good, bad

    def record(self) -> Record:
        """What the output is to say of itself, once every batch has been through."""
        self.source.check_unchanged()
        sources = self.source.sources
        return Record(
            version=__version__,
            job=self.job,
            sources=sources,
            counts=self.counts,
            figures=self.figures.rounded(),
            digests=Digests(
                self.digest.hexdigests(),
                digest_of_sources(sources),
                {} if self.bad_digest is None else self.bad_digest.hexdigests(),
            ),
            padded=tuple(map(tuple, self.padded)),
            furthest=self.furthest,
            quarantined=tuple(self.quarantined),
            reasons=reasons_of(self.reasons),
        )

    def entries(self) -> dict[bytes, bytes]:
        """The entries of the output's footer, without the record."""
        return output_entries(self.source.schema, self.source.entries, self.job)
