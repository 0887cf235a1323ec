"""Read and check one shard as apply would, and write nothing."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from delaytool.batches.job import Job
from delaytool.jobs.apply import ApplyWork
from delaytool.jobs.existing import check_source
from delaytool.jobs.quarantine import is_left_out
from delaytool.jobs.report import Summary
from delaytool.jobs.shard_task import ItemTask
from delaytool.jobs.work import Work
from delaytool.shards.bounded import ahead
from delaytool.shards.failures import reading
from delaytool.shards.pairs import open_source


@dataclass(frozen=True)
class BadRows:
    """Rows that are bad for the same kind of reason, and the first of them.

    first: what is wrong with it, and where
    """

    kind: str
    column: str | None
    rows: int
    first: str


class HasBadRows(Protocol):
    """What checking one shard found, of whatever is to be made of it."""

    @property
    def bad(self) -> tuple[BadRows, ...]:
        """The bad rows."""


@dataclass(frozen=True)
class Checked:
    """What checking one shard found.

    left_out: whether nothing was looked for, since its rows are in quarantine
    """

    name: str
    summary: Summary | None
    bad: tuple[BadRows, ...] = ()
    written: bool = False
    left_out: bool = False


@dataclass(frozen=True)
class CheckShard(ItemTask):
    """Read and check every row of a shard."""

    job: Job

    @property
    def writes(self) -> tuple[str, ...]:
        """Nothing."""
        return ()

    def run(self) -> Generator[float, None, Checked]:
        """Check the shard.

        yields:  the fraction of the rows that are done
        returns: what was found
        raises:  DataError for a shard that cannot be read or does not fit the job
        """
        with open_source(self.item.shard, self.item.codes, self.job) as source:
            if is_left_out(self.item, source):
                yield 1.0
                return Checked(self.name, None, left_out=True)
            with reading(self.name):
                schema = check_source(source, self.job, quarantine=False)
            work = ApplyWork(source, self.job, schema, quarantine=False, is_dry=True)
            yield from read_through(work)
            # Bad rows are told apart from those that are in a quarantine.
            counts = dataclasses.replace(work.counts, quarantined=0)
            summary = dataclasses.replace(work.summary(), counts=counts, reasons=())
            return Checked(self.name, summary, tuple(bad_rows_of(work)))


def read_through(work: Work[Any, Any]) -> Generator[float, None, None]:
    """Make everything of a source, and write nothing; yields the fraction of its rows."""
    with contextlib.closing(ahead(work.batches(), work.source.is_small)) as batches:
        for _ in batches:
            yield work.rows / max(work.source.rows, 1)


def bad_rows_of(work: Work[Any, Any]) -> Generator[BadRows, None, None]:
    """The bad rows that a dry run has found, by kind."""
    for (kind, column), rows in work.reasons.items():
        yield BadRows(kind, column, rows, str(work.firsts[kind, column]))


def merged(results: Iterable[HasBadRows]) -> tuple[BadRows, ...]:
    """The bad rows of all shards by kind, those of most rows first; each with the first of them."""
    found: dict[tuple[str, str | None], BadRows] = {}
    for bad in (bad for result in results for bad in result.bad):
        before = found.get((bad.kind, bad.column))
        rows = bad.rows + (before.rows if before else 0)
        first = before.first if before else bad.first
        found[bad.kind, bad.column] = BadRows(bad.kind, bad.column, rows, first)
    return tuple(sorted(found.values(), key=lambda bad: (-bad.rows, bad.kind, bad.column or "")))
