"""Make text tokens of the words of one shard."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from delaytool import __version__
from delaytool.batches.align import NAMED, WordCounts, WordPlace, align_batch, bad_rows
from delaytool.batches.align_job import AlignJob, aligned_schema
from delaytool.batches.digest import BatchDigest
from delaytool.batches.fields import array_at
from delaytool.batches.metadata import ALIGN_ENTRY, ENTRY, QUARANTINE_ENTRY
from delaytool.batches.problems import Problems
from delaytool.batches.schema import already_shifted, mended_entries, quarantine_schema
from delaytool.batches.sizes import cell_sizes, leaf_width
from delaytool.batches.types import batch_of
from delaytool.errors import DataError, Place, RecipeError
from delaytool.jobs.dry_run import BadRows
from delaytool.jobs.existing import Made, existing_of
from delaytool.jobs.quarantine import check_is_quarantine, is_left_out
from delaytool.jobs.shard_task import ItemTask
from delaytool.jobs.work import Work, write_shard
from delaytool.pattern.pieces import Encode, encoder, load_model
from delaytool.pattern.words import MAX_FRAMES
from delaytool.shards import stores
from delaytool.shards.align_record import AlignRecord
from delaytool.shards.bounded import bounded_by, byte_sizes
from delaytool.shards.commit import remove_second_names
from delaytool.shards.failures import first_line, reading
from delaytool.shards.pairs import Opened, open_source
from delaytool.shards.record import reasons_of

ALIGNED = Made(ALIGN_ENTRY, AlignRecord.from_json, later=(ENTRY, QUARANTINE_ENTRY))


@dataclass(frozen=True)
class AlignedShard:
    """What was done to one shard.

    left_out: whether that was nothing, since its rows are in quarantine
    bad:      of a dry run, the rows that are bad
    """

    name: str
    written: bool
    summary: AlignRecord | None
    left_out: bool = False
    bad: tuple[BadRows, ...] = ()


@dataclass(frozen=True)
class AlignShard(ItemTask):
    """Write a shard with a column of text tokens, made of its words, into its target file.

    tokenizer: path of a SentencePiece model, where the words are texts
    overwrite: whether to replace an output that was made otherwise or from another source
    """

    job: AlignJob
    tokenizer: str | None = None
    overwrite: bool = False

    @property
    def paths(self) -> tuple[str, ...]:
        """The files that it reads and writes, as far as they are on this machine."""
        model = self.tokenizer
        return (*super().paths, *([] if model is None or stores.is_remote(model) else [model]))

    def run(self) -> Generator[float, None, AlignedShard]:
        """Align the shard.

        yields:  the fraction of the rows that are done
        returns: what was done; an output that is there already, from the same source with the same
                 job, is left alone, also where another run has made it meanwhile
        raises:  DataError for bad data, or an output in the way; nothing is written then
        """
        item, job = self.item, self.job
        with open_source(item.shard, item.codes, job.keys) as source:
            if is_left_out(item, source):
                check_is_quarantine(item, source)
                yield 1.0
                return AlignedShard(self.name, False, None, left_out=True)
            with reading(self.name):
                schema = check_words(source, job, item.quarantine is not None)
            existing = existing_of(ALIGNED, item, source, job, self.overwrite)
            if existing.record is not None:
                remove_second_names(item.target, item.quarantine)
                yield 1.0
                return AlignedShard(self.name, False, existing.record)
            work = AlignWork(source, job, schema, item.quarantine is not None)
            work.encode = self.encode()
            record, written = yield from write_shard(item, work, existing, ALIGNED)
        return AlignedShard(self.name, written, record)

    def encode(self) -> Encode | None:
        """What makes tokens of words; raises DataError when the tokenizer has changed."""
        if self.tokenizer is None or self.job.tokenizer is None:
            return None
        return _encoder(self.tokenizer, self.job.tokenizer)


def check_words(source: Opened, job: AlignJob, quarantine: bool) -> pa.Schema:
    """The schema of a source's output; raises DataError when the source does not fit the job.

    quarantine: whether bad rows are put into quarantine, with a column of their own
    """
    if source.entry is not None:
        raise already_shifted().at(shard=source.shard.name)
    _ = source.rows
    if quarantine:
        quarantine_schema(source.schema)
    return aligned_schema(source.schema, job)


def sha256_of(path: str) -> str:
    """The sha256 of a tokenizer's file, as hex; raises RecipeError where there is none."""
    try:
        with stores.open_input(path) as file:
            return hashlib.sha256(file.read()).hexdigest()
    except OSError as error:
        raise RecipeError(f"`tokenizer` {stores.shown(path)}: {first_line(error)}") from None


@functools.lru_cache(maxsize=1)
def _encoder(path: str, expected: str) -> Encode:
    """What makes tokens of words, by a model's file with this sha256."""
    with stores.open_input(path) as file:
        content = file.read()
    if hashlib.sha256(content).hexdigest() != expected:
        raise DataError(
            "changed",
            "the tokenizer changed while it was in use",
            expected="the file that it was",
            advice="run again when nothing writes to it",
            place=Place(shard=stores.shown(path)),
        )
    return encoder(load_model(path, content))


class AlignWork(Work[AlignJob, AlignRecord]):
    """The aligned batches of a source."""

    def __init__(
        self,
        source: Opened,
        job: AlignJob,
        schema: pa.Schema,
        quarantine: bool,
        is_dry: bool = False,
    ) -> None:
        super().__init__(source, job, schema, quarantine, is_dry)
        self.encode: Encode | None = None
        self.digest = BatchDigest([job.text_column])
        self.counts, self.places = WordCounts(), list[WordPlace]()

    def read(self) -> Iterator[pa.RecordBatch]:
        """The batches of the source, which leave room for the new column."""
        with reading(self.source.shard.name):
            yield from bounded_by(
                self.source.small_batches(coded=True), self.source.schema, self._sizes
            )

    def _sizes(self, batch: pa.RecordBatch) -> tuple[Any, Any]:
        """Cells and decoded bytes of each row."""
        name = self.job.frames_column
        if name is not None:
            frames = batch.column(name).cast(pa.int64(), safe=False).fill_null(0).to_numpy()
            cells = np.clip(frames, 0, MAX_FRAMES)
            return cells, byte_sizes(batch) + 4 * cells
        cells = np.zeros(batch.num_rows, dtype=np.int64)
        for column in self.job.codes:
            array = array_at(batch, column.name)
            cells += cell_sizes(array) // max(1, leaf_width(array.type))
        return cells, byte_sizes(batch) + 4 * cells

    def make(self, batch: pa.RecordBatch) -> list[pa.RecordBatch]:
        """Add the column of tokens to a batch; counts and digests on the way."""
        aligned = align_batch(batch, self.job, self.encode)
        made = batch_of([*batch.columns, aligned.text], self.schema)
        self.digest.update(made)
        for place in aligned.places:
            if sum(each.fate == place.fate for each in self.places) < NAMED:
                self.places.append(replace(place, row=self.counts.rows_out + place.row))
        self.counts += aligned.counts
        return [made]

    def find_bad(self, batch: pa.RecordBatch) -> Problems:
        """The first problem of every bad row."""
        problems = bad_rows(batch, self.job, self.encode)
        self.counts += WordCounts(rows_in=len(problems), quarantined=len(problems))
        return problems

    def record(self) -> AlignRecord:
        """What the output is to say of itself, once every batch has been through."""
        self.source.check_unchanged()
        return AlignRecord(
            version=__version__,
            job=self.job,
            sources=self.source.sources,
            counts=self.counts,
            digests=self.digests(self.digest),
            reasons=reasons_of(self.reasons),
            places=tuple(self.places),
        )

    def entries(self) -> dict[bytes, bytes]:
        """The entries of the output's footer, without the record."""
        return mended_entries(
            self.source.schema,
            self.source.entries,
            lambda schema: aligned_schema(schema, self.job),
        )
