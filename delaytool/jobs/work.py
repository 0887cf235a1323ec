"""Rows of a source on their way into an output, the bad ones into quarantine."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from typing import Generic, TypeVar

import pyarrow as pa

from delaytool.batches.digest import BatchDigest
from delaytool.batches.problems import Keyed, Problems, kind_of_problem, placed, split_rows
from delaytool.batches.schema import quarantine_schema
from delaytool.errors import DataError
from delaytool.jobs.existing import Existing, Made, existing_of
from delaytool.jobs.paths import Item
from delaytool.jobs.quarantine import QuarantineWriter
from delaytool.shards.bounded import ahead
from delaytool.shards.commit import NameTakenError, State
from delaytool.shards.pairs import Opened
from delaytool.shards.record import Digests, Recorded
from delaytool.shards.sources import digest_of_sources
from delaytool.shards.write import writing

R = TypeVar("R", bound=Recorded)
J = TypeVar("J", bound=Keyed)


class Work(ABC, Generic[J, R]):
    """What is made of the batches of a source, and the record of it.

    schema:     that of the output
    quarantine: whether bad rows go to quarantine
    is_dry:     whether they are counted only, and nothing is written
    """

    def __init__(
        self,
        source: Opened,
        job: J,
        schema: pa.Schema,
        quarantine: bool,
        is_dry: bool = False,
    ) -> None:
        self.source, self.job, self.schema, self.quarantine = source, job, schema, quarantine
        self.is_dry, self.firsts = is_dry, dict[tuple[str, str | None], DataError]()
        self.rows = 0
        self.reasons: Counter[tuple[str, str | None]] = Counter()
        self.quarantined: list[tuple[int, int]] = []
        self.bad_digest: BatchDigest | None = None

    @abstractmethod
    def read(self) -> Iterator[pa.RecordBatch]:
        """The batches of the source."""

    @abstractmethod
    def make(self, batch: pa.RecordBatch) -> Iterable[pa.RecordBatch]:
        """The output's rows of a batch, which are counted in; raises DataError for a bad row."""

    @abstractmethod
    def find_bad(self, batch: pa.RecordBatch) -> Problems:
        """The first problem of every bad row of a batch; such rows are counted in."""

    @abstractmethod
    def record(self) -> R:
        """What the output is to say of itself, once every batch has been through."""

    @abstractmethod
    def entries(self) -> dict[bytes, bytes]:
        """The entries of the output's footer, without the record."""

    def explained(self, error: DataError, batch: pa.RecordBatch) -> DataError:
        """An error of a row of a batch, with more of what is known of it."""
        return error

    def whole(self, bad: pa.RecordBatch, rows: list[int]) -> Iterator[pa.RecordBatch]:
        """Bad rows of the source with all its columns.

        bad: the columns of them that were read; rows: their numbers, in order
        """
        yield bad

    def batches(self) -> Iterator[tuple[pa.RecordBatch | None, pa.RecordBatch | None, int]]:
        """Batches of the output, and of bad rows of the source that are not in it; and how many
        rows of the source are done.
        """
        for batch in self.read():
            bad: Iterator[pa.RecordBatch] = iter(())
            try:
                try:
                    made = self.make(batch)
                except DataError as error:
                    sifts = self.quarantine or self.is_dry
                    if not sifts or error.place.row is None:
                        raise
                    # An error holds on to the calls that raised it, and these to their batch.
                    error.__traceback__ = None
                    good, bad = self._sift(batch)
                    made = self.make(good)
            except DataError as error:
                error, name = self.explained(error, batch), self.source.shard.name
                raise placed(error, name, self.rows, batch, self.job) from None
            yield from ((None, part, self.rows) for part in bad)
            self.rows += batch.num_rows
            yield from ((output, None, self.rows) for output in made)

    def _sift(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, Iterator[pa.RecordBatch]]:
        """The good rows of a batch, and the bad ones with their reasons, in some batches."""
        problems = self.find_bad(batch)
        numbers = sorted(problems)
        name = self.source.shard.name
        errors = [
            placed(self.explained(error, batch), name, self.rows, batch, self.job)
            for error in map(problems.__getitem__, numbers)
        ]
        for number, error in zip(numbers, errors, strict=True):
            self.firsts.setdefault(kind_of_problem(problems[number]), error)
            add_row(self.quarantined, self.rows + number)
        self.reasons.update(map(kind_of_problem, problems.values()))
        good, bad = split_rows(batch, numbers)
        reasons = [str(error.at(shard=None)) for error in errors]
        rows = [self.rows + number for number in numbers]
        return good, iter(()) if self.is_dry else self._with_reasons(bad, rows, reasons)

    def _with_reasons(
        self, bad: pa.RecordBatch, rows: list[int], reasons: list[str]
    ) -> Iterator[pa.RecordBatch]:
        """Bad rows as they go into quarantine; they are counted in.

        rows: their numbers in the source
        """
        done = 0
        for part in self.whole(bad, rows):
            schema = quarantine_schema(part.schema)
            texts = pa.array(reasons[done : done + part.num_rows], pa.string())
            done += part.num_rows
            explained = pa.RecordBatch.from_arrays([*part.columns, texts], schema=schema)
            if self.bad_digest is None:
                self.bad_digest = BatchDigest(schema.names)
            self.bad_digest.update(explained)
            yield explained

    def digests(self, columns: BatchDigest) -> Digests:
        """The digests of a record: of these columns, the sources' schemas, and the bad rows."""
        schema = digest_of_sources(self.source.sources)
        bad = {} if self.bad_digest is None else self.bad_digest.hexdigests()
        return Digests(columns.hexdigests(), schema, bad)


def add_row(runs: list[tuple[int, int]], row: int) -> None:
    """Add a row, which follows those before, to runs of rows: [(0, 2)], 2 -> [(0, 3)]"""
    first, count = runs[-1] if runs else (0, 0)
    if count and first + count == row:
        runs[-1] = first, count + 1
    else:
        runs.append((row, 1))


def write_shard(
    item: Item, work: Work[J, R], existing: Existing[R], made: Made[R]
) -> Generator[float, None, tuple[R, bool]]:
    """Write the output, and the bad rows into quarantine.

    yields:  the fraction of the rows that are done
    returns: the record, and whether this run wrote it: another one may have made the same meanwhile
    raises:  DataError for bad data, or when another run has made something else
    """
    quarantine = QuarantineWriter(item.quarantine, work.source, existing.quarantine)
    try:
        record = yield from _write(item.target, existing.target, work, quarantine, made)
    except NameTakenError as taken:
        return _record_of_other(item, work, quarantine, taken, made), False
    return record, True


def _write(
    target: str,
    replaces: State | None,
    work: Work[J, R],
    quarantine: QuarantineWriter,
    made: Made[R],
) -> Generator[float, None, R]:
    """Write the good rows, and the bad ones into quarantine; their record.

    Raises NameTakenError as `writing` does.
    """
    with contextlib.ExitStack() as stack:
        batches = stack.enter_context(
            contextlib.closing(ahead(work.batches(), work.source.is_small))
        )
        output = stack.enter_context(writing(target, work.schema, replaces=replaces))
        stack.enter_context(quarantine)
        for batch, bad, done in batches:
            if batch is not None:
                output.write(batch)
            if bad is not None:
                quarantine.write(bad)
            yield done / max(work.source.rows, 1)
        record = work.record()
        output.metadata = {**work.entries(), made.entry.encode(): record.to_json().encode()}
        # The output is the commit point: what it leaves out is in its place before it is.
        quarantine.commit(record)
    return record


def _record_of_other(
    item: Item,
    work: Work[J, R],
    quarantine: QuarantineWriter,
    taken: NameTakenError,
    made: Made[R],
) -> R:
    """The record of the output that another run has made meanwhile.

    Raises DataError when it was not made the same way, and so is in the way.
    """
    try:
        existing = existing_of(made, item, work.source, work.job, overwrite=False)
    except DataError as error:
        quarantine.undo()
        texts = {"expected": error.expected, "advice": taken.advice}
        raise DataError(error.kind, error.found, **texts, place=error.place) from None
    if existing.record is None:
        raise taken.at(shard=item.shard.name)
    return existing.record
