"""Shift one shard."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from delaytool import __version__
from delaytool.batches.digest import BatchDigest
from delaytool.batches.figures import Counts, figures_of_nothing
from delaytool.batches.job import Job
from delaytool.batches.problems import Problems
from delaytool.batches.schema import output_entries, restored_schema
from delaytool.batches.shift import bad_rows, shift_batch
from delaytool.batches.unshift import cut
from delaytool.batches.word_at import word_at
from delaytool.errors import DataError
from delaytool.jobs.existing import SHIFTED, check_source, existing_record
from delaytool.jobs.quarantine import check_is_quarantine, is_left_out
from delaytool.jobs.report import Summary
from delaytool.jobs.shard_task import ItemTask
from delaytool.jobs.source_rows import SourceRows
from delaytool.jobs.work import Work, add_row, write_shard
from delaytool.shards.align_record import jobs_in
from delaytool.shards.commit import remove_second_names
from delaytool.shards.failures import reading
from delaytool.shards.pairs import Opened, open_source
from delaytool.shards.record import Record, reasons_of
from delaytool.shards.recorded_rows import further


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
class ApplyShard(ItemTask):
    """Shift a shard into its target file.

    overwrite: whether to replace an output that was made otherwise or from another source
    """

    job: Job
    overwrite: bool = False

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
            work = ApplyWork(source, job, schema, item.quarantine is not None)
            record, written = yield from write_shard(item, work, existing, SHIFTED)
        return Applied(self.name, written, Summary.of(record))


class ApplyWork(Work[Job, Record]):
    """The shifted batches of a source."""

    def __init__(
        self,
        source: Opened,
        job: Job,
        schema: pa.Schema,
        quarantine: bool,
        is_dry: bool = False,
    ) -> None:
        super().__init__(source, job, schema, quarantine, is_dry)
        self.names = job.reads(source.schema)
        self.source_rows = SourceRows(source, job, self.names)
        self.digest = BatchDigest(restored_schema(source.schema, job).names)
        self.counts, self.figures = Counts(), figures_of_nothing(job)
        self.padded: list[list[tuple[int, int]]] = [[] for _ in job.text_columns]
        self.furthest: tuple[int, ...] = ()
        self.dropped: list[tuple[int, int]] = []

    def read(self) -> Iterator[pa.RecordBatch]:
        """The batches of the source, which leave room for what the pattern adds."""
        return self.source.batches(self.job, added=True, names=self.names)

    def batches(self) -> Iterator[tuple[pa.RecordBatch | None, pa.RecordBatch | None, int]]:
        """Batches of the output, and of bad rows."""
        with contextlib.closing(self.source_rows):
            yield from super().batches()

    def whole(self, bad: pa.RecordBatch, rows: list[int]) -> Iterator[pa.RecordBatch]:
        """Bad rows of the source with all its columns."""
        return self.source_rows.of(bad, rows)

    def make(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """Shift a batch; counts and digests on the way."""
        shifted = shift_batch(batch, self.job, self.schema)
        self.digest.update(cut(batch, self.job))
        for pairs, padded in zip(self.padded, shifted.padded, strict=True):
            pairs += [
                (self.counts.rows_out + int(row), int(padded[row]))
                for row in np.flatnonzero(padded)
            ]
        self.furthest = further(self.furthest, self.counts.rows_out, shifted.differences)
        if shifted.windows is not None:
            for row in np.flatnonzero(~shifted.windows.rows_kept).tolist():
                add_row(self.dropped, self.counts.rows_out + row)
        self.counts += shifted.counts
        self.figures += shifted.figures
        return shifted.batches()

    def find_bad(self, batch: pa.RecordBatch) -> Problems:
        """The first problem of every bad row."""
        problems = bad_rows(batch, self.job)
        self.counts += Counts(rows_in=len(problems), quarantined=len(problems))
        return problems

    def explained(self, error: DataError, batch: pa.RecordBatch) -> DataError:
        """An error; of a text token that `align` has placed, with the word that it is of."""
        place = error.place
        if error.kind != "token" or place.row is None or place.timestep is None:
            return error
        with contextlib.suppress(DataError):
            for made in jobs_in(self.source.entries):
                if made.text_column == place.column:
                    word = word_at(batch, place.row, place.timestep, made)
                    found = error.found if word is None else f"{error.found}, of {word}"
                    texts = {"expected": error.expected, "advice": error.advice}
                    return DataError(error.kind, found, **texts, place=place)
        return error

    def summary(self) -> Summary:
        """What there is in numbers, once every batch has been through."""
        self.source.check_unchanged()
        figures, reasons = self.figures.rounded(), reasons_of(self.reasons)
        return Summary(self.job.recipe, self.counts, figures, reasons, self.furthest)

    def record(self) -> Record:
        """What the output is to say of itself, once every batch has been through."""
        self.source.check_unchanged()
        return Record(
            version=__version__,
            job=self.job,
            sources=self.source.sources,
            counts=self.counts,
            figures=self.figures.rounded(),
            digests=self.digests(self.digest),
            padded=tuple(map(tuple, self.padded)),
            furthest=self.furthest,
            quarantined=tuple(self.quarantined),
            reasons=reasons_of(self.reasons),
            dropped=tuple(self.dropped),
        )

    def entries(self) -> dict[bytes, bytes]:
        """The entries of the output's footer, without the record."""
        return output_entries(self.source.schema, self.source.entries, self.job)
