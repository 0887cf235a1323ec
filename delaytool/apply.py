"""Shift one shard: a generator that yields progress and returns what was done."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Generator, Iterator
from dataclasses import dataclass

import pyarrow as pa

from delaytool import __version__
from delaytool.digest import BatchDigest
from delaytool.errors import DataError, Place
from delaytool.job import ENTRY, Counts, Digests, Job, Record
from delaytool.shards import (
    OpenShard,
    Shard,
    ahead,
    check_unchanged,
    open_shard,
    read_record,
    reading,
    write_shard,
)
from delaytool.transform import already_shifted, count_frames, cut, placed, shift, shifted_schema


@dataclass(frozen=True)
class Applied:
    """What was done to one shard."""

    name: str
    written: bool
    counts: Counts


def apply_shard(
    shard: Shard, target: str, job: Job, overwrite: bool
) -> Generator[float, None, Applied]:
    """Shift a shard into a target file.

    yields:  the fraction of the rows that are done
    returns: what was done; an output that is there already, from the same source with the same
             job, is left alone
    raises:  DataError for bad data, or an output in the way; nothing is written then
    """
    with open_shard(shard) as source:
        with reading(shard.name):
            schema = check_source(source, job)
        existing = existing_record(target, source, job, overwrite)
        if existing is not None:
            yield 1.0
            return Applied(shard.name, False, existing.counts)
        work = _Work(source, job)
        done = 0
        with contextlib.closing(ahead(work.batches())) as batches:
            for rows in write_shard(target, schema, batches, job, work.metadata):
                done += rows
                yield done / max(source.rows, 1)
        return Applied(shard.name, True, work.counts())


def check_source(source: OpenShard, job: Job) -> pa.Schema:
    """The schema of a source's output; raises DataError when the source does not fit the job."""
    if source.entry is not None:
        raise already_shifted().at(shard=source.shard.name)
    return shifted_schema(source.schema, job)


def existing_record(target: str, source: OpenShard, job: Job, overwrite: bool) -> Record | None:
    """The record of an output that can be left as it is; None where one has to be written.

    Raises DataError when something else is in the way.
    """
    if not os.path.lexists(target):
        return None
    why = "it is not a shard that delaytool made"
    try:
        with open_shard(Shard(target, target)) as output:
            record = read_record(output)
        if record is not None:
            if record.job != job:
                why = "it was made with other options"
            elif (record.source.size, record.source.footer) != source.fingerprint:
                why = "it was made from another source"
            else:
                return record
    except DataError as error:
        why = error.reason
    if overwrite and os.path.isfile(target):
        return None
    raise DataError(
        f"the output {target} is in the way: {why}",
        expected="no file, or one made from this source with these options",
        advice="choose another output, or replace it with --overwrite",
        place=Place(shard=source.shard.name),
    )


class _Work:
    """The shifted batches of a source, and the record of them."""

    def __init__(self, source: OpenShard, job: Job) -> None:
        self.source, self.job = source, job
        self.digest = BatchDigest(source.schema.names)
        self.rows = self.frames = self.lost = 0

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Shift each batch of the source, counting and digesting on the way."""
        for batch in self.source.batches(self.job, self.job.recipe.steps(0)):
            try:
                shifted = shift(batch, self.job)
                self.digest.update(cut(batch, self.job))
            except DataError as error:
                raise placed(error, self.source.shard.name, self.rows, batch, self.job) from None
            self._count(batch, shifted)
            yield shifted

    def _count(self, batch: pa.RecordBatch, shifted: pa.RecordBatch) -> None:
        frames, lost = count_frames(shifted, self.job)
        self.rows += batch.num_rows
        self.frames += frames
        self.lost += lost

    def counts(self) -> Counts:
        """Rows, frames and tokens so far."""
        return Counts(
            rows_in=self.rows,
            rows_out=self.rows,
            frames=self.frames,
            tokens=self.frames * len(self.job.recipe.streams),
            lost=self.lost,
        )

    def metadata(self) -> dict[bytes, bytes]:
        """The entries of the footer, once every batch has been through."""
        check_unchanged(self.source)
        record = Record(
            version=__version__,
            job=self.job,
            source=self.source.source(),
            counts=self.counts(),
            digests=Digests(self.digest.hexdigests(), self.source.schema_digest()),
        )
        return {**self.source.extra_metadata, ENTRY.encode(): record.to_json().encode()}


def plan(pairs: list[tuple[Shard, str]], job: Job, overwrite: bool) -> Job:
    """Look at every shard before the first one is written.

    pairs:   shards and their target files
    returns: the job, its key column settled: `id` where there is one and none is given
    raises:  DataError for a shard that cannot be read or lacks a column, or an output in the way
    """
    for number, (shard, target) in enumerate(pairs):
        with open_shard(shard) as source, reading(shard.name):
            names = source.schema.names
            if job.key is None and number == 0 and "id" in names:
                job = dataclasses.replace(job, key="id")
            elif job.key is not None and job.key not in names:
                raise DataError(
                    f"there is no column {job.key}",
                    expected=f"one of {', '.join(names) or 'no columns at all'}",
                    advice="name the column of the rows' keys with --key",
                )
            check_source(source, job)
            existing_record(target, source, job, overwrite)
    return job
