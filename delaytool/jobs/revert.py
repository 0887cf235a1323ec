"""Write back what a shard was made from.

A shard with a record gives the original rows, columns, types and metadata, and what it gives must
have the digests that the record holds before the file gets its name. A grid without a record, such
as a model generated, needs a job from elsewhere; its fill cells may hold anything.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from delaytool.batches.digest import BatchDigest
from delaytool.batches.fields import array_at
from delaytool.batches.figures import Counts
from delaytool.batches.job import Job
from delaytool.batches.metadata import STORED_SCHEMA
from delaytool.batches.problems import placed
from delaytool.batches.schema import restored_schema, shifted_schema
from delaytool.batches.types import batch_of, is_stored_as, stands_for
from delaytool.batches.unshift import unshift
from delaytool.errors import DataError, Place
from delaytool.jobs.lossless import check_lossless, counts_of
from delaytool.jobs.nulls import nullable, nulls_in
from delaytool.jobs.revert_windows import unshifted_windows
from delaytool.jobs.shard_task import ShardTask
from delaytool.shards import stores
from delaytool.shards.bounded import ahead
from delaytool.shards.commit import (
    NameTakenError,
    State,
    file_state,
    is_as_before,
    remove_second_names,
)
from delaytool.shards.failures import reading
from delaytool.shards.find import Shard
from delaytool.shards.read import OpenShard, open_shard, read_record
from delaytool.shards.record import Record, decode_schema, encode_schema
from delaytool.shards.recorded_rows import Padded
from delaytool.shards.sources import (
    entries_of,
    restored_entries,
    source_entries,
    source_schema,
)
from delaytool.shards.write import writing


@dataclass(frozen=True)
class Reverted:
    """What was done to one shard.

    written:  whether any file was; False where all were there as they must be
    left_out: whether nothing was done, since the shard holds quarantined rows
    dropped_columns: columns that had been left out of the output
    """

    name: str
    rows: int
    counts: Counts
    written: bool = True
    left_out: bool = False
    dropped_columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class RevertShard(ShardTask):
    """Write back the shard that an output was made from.

    codes_target: where the codes go that came in a shard of their own; None for one shard of both
    job:          what a grid without a record was made with
    began_with:   what was at both targets when the run began, which alone may be overwritten; None
                  where nobody looked
    """

    shard: Shard
    target: str
    codes_target: str | None = None
    job: Job | None = None
    allow_lossy: bool = False
    overwrite: bool = False
    began_with: Sequence[State | None] | None = None

    @property
    def reads(self) -> Shard:
        """The shard that is reverted."""
        return self.shard

    @property
    def writes(self) -> tuple[str, ...]:
        """The restored shard, and that of its codes."""
        return (self.target, *([] if self.codes_target is None else [self.codes_target]))

    def run(self) -> Generator[float, None, Reverted]:
        """Revert the shard.

        yields:  the fraction of the rows that are done
        returns: what was done; a file that is there already, and is what it must be, is left alone
        raises:  DataError when tokens are missing that cannot come back and `allow_lossy` is off,
                 when the rows are not what the record says, or when a target is in the way
        """
        with open_shard(self.shard) as output, reading(self.name):
            if output.is_quarantine:
                yield 1.0
                return Reverted(self.name, 0, Counts(), written=False, left_out=True)
            record = read_record(output)
            if record is None and self.job is None:
                raise DataError(
                    "no-record",
                    "there is no delaytool entry in the footer",
                    expected="a shard that delaytool made, or a recipe",
                    advice="give what apply wrote as `output`, or say with `recipe` how the grid "
                    "was delayed",
                )
            counts = counts_of(output, record, self.job)
            if not self.allow_lossy:
                check_lossless(counts, record)
            work = _Work(output, record, self.job, counts)
            missing = self._missing(work, _parts(work, record, self.target, self.codes_target))
            written = False
            for number, (part, state) in enumerate(missing):
                written |= yield from _write(part, work, state, (number, len(missing)))
            yield 1.0
            rows = counts.rows_out - counts.dropped_rows if counts.windows else output.rows
            return Reverted(self.name, rows, counts, written, dropped_columns=work.job.drop_columns)

    def _missing(self, work: _Work, parts: list[_Part]) -> list[tuple[_Part, State | None]]:
        """The files that are to be written, and what each of them replaces."""
        old = self.began_with or [file_state(path) for path, *_ in parts]
        looks = [
            (part, *_look_for(part, work, state if self.overwrite else None))
            for part, state in zip(parts, old, strict=False)
        ]
        return [(part, state) for part, is_there, state in looks if not is_there]


def _write(
    part: _Part, work: _Work, replaces: State | None, turn: tuple[int, int]
) -> Generator[float, None, bool]:
    """Write one of the files; False where another run has written the same meanwhile.

    turn: which of how many files it is
    """
    path, schema, entries = part
    rows = 0
    try:
        with contextlib.ExitStack() as stack:
            batches = ahead(work.batches(schema), work.output.is_small)
            stack.enter_context(contextlib.closing(batches))
            new = stack.enter_context(writing(path, schema, entries, replaces=replaces))
            for batch in batches:
                new.write(batch)
                rows += batch.num_rows
                yield (turn[0] + rows / max(work.output.rows, 1)) / turn[1]
            work.check()
    except NameTakenError:
        is_there, _ = _look_for(part, work, None)
        if not is_there:
            raise
        return False
    return True


def _look_for(part: _Part, work: _Work, old: State | None) -> tuple[bool, State | None]:
    """Whether a file is there as it must be; and the one in whose place it may come.

    old: a file that may be replaced; raises DataError when another one is in the way
    """
    path = part[0]
    state, kind = file_state(path), stores.kind_of(path)
    if kind is None:
        return False, None
    if kind == "file" and _is_restored(part, work):
        remove_second_names(path)
        return True, None
    if kind == "file" and is_as_before(state, old):
        return False, state
    raise DataError(
        "output-in-the-way",
        f"the output {stores.shown(path)} is in the way",
        expected="no file, or the one that reverting gives",
        advice="choose another `output`, or replace it with `overwrite=True`",
    )


def _is_restored(part: _Part, work: _Work) -> bool:
    """Whether a file has the schema, the entries and the rows that it must have."""
    path, schema, entries = part
    try:
        with open_shard(Shard(path, path), whole=True) as found:
            if not _is_schema(found.schema, schema) or not _are_entries(found.entries, entries):
                return False
            digests = found.digests()
    except DataError:
        return False
    expected = work.expected_digests()
    return digests == {name: expected.get(name) for name in schema.names}


def _is_schema(found: pa.Schema, wanted: pa.Schema) -> bool:
    """Whether a schema that was read is this one."""
    return (
        found.names == wanted.names
        and all(map(is_stored_as, found, wanted))
        and (found.metadata or {}) == (wanted.metadata or {})
    )


def _are_entries(found: dict[bytes, bytes], wanted: dict[bytes, bytes]) -> bool:
    """Whether a footer has these entries; each writer words Arrow's schema as it likes."""
    one, other = (e | dict.fromkeys({STORED_SCHEMA} & e.keys(), b"") for e in (found, wanted))
    return one == other


def _check_columns(output: OpenShard, expected: pa.Schema) -> None:
    """Raise DataError unless a shard has the columns that its record tells of."""
    if expected.names != output.schema.names:
        raise DataError(
            "columns",
            f"its columns are {', '.join(output.schema.names)}",
            expected=", ".join(expected.names),
            advice="make the shard anew",
        )
    for want, have in zip(expected, output.schema, strict=True):
        if want.type != have.type:
            raise DataError(
                "column-type",
                f"has the type {have.type}",
                expected=str(want.type),
                advice="make the shard anew",
                place=Place(column=want.name),
            )


_Part = tuple[str, pa.Schema, dict[bytes, bytes]]
"""A file to write: its path, its schema, and all key-value entries of its footer."""


class _Work:
    """The reverted batches of a shard."""

    def __init__(
        self, output: OpenShard, record: Record | None, job: Job | None, counts: Counts
    ) -> None:
        self.output, self.record, self.counts = output, record, counts
        self.padded = None if record is None else Padded(record)
        if record is not None:
            self.job, whole = record.job, source_schema(record)
            self.schema = restored_schema(whole, self.job)
            _check_columns(output, shifted_schema(whole, self.job))
        else:
            assert job is not None, "checked by the caller"
            self.job, self.schema = job, output.schema
        self.digest, self.lost = BatchDigest(self.schema.names), 0

    def batches(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """The rows with the columns of this schema."""
        self.digest = BatchDigest(self.schema.names)
        self.lost = 0
        for restored in self._restored():
            self.digest.update(restored)
            self.lost += sum(nulls_in(array_at(restored, name)) for name in self.job.names)
            arrays = [restored.column(name) for name in schema.names]
            cast = [
                a if a.type == f.type or stands_for(a.type, f.type) else a.cast(f.type)
                for a, f in zip(arrays, schema, strict=True)
            ]
            yield batch_of(cast, schema)

    def _restored(self) -> Iterator[pa.RecordBatch]:
        batches = self.output.batches(self.job)
        if self.record is not None and self.job.windows is not None:
            yield from unshifted_windows(batches, self.record, self.schema)
            return
        rows = 0
        for batch in batches:
            padded = None if self.padded is None else self.padded.of_rows(rows, batch.num_rows)
            try:
                yield unshift(batch, self.job, self.schema, padded)
            except DataError as error:
                raise placed(error, self.output.shard.name, rows, batch, self.job) from None
            rows += batch.num_rows

    def expected_digests(self) -> Mapping[str, str]:
        """The digests of the columns that reverting gives; without a record, they are reverted."""
        if self.record is not None:
            return self.record.digests.columns
        for _ in self.batches(self.schema):
            pass
        return self.digest.hexdigests()

    def check(self) -> None:
        """Raise DataError unless the rows are those that the record tells of."""
        # Not as many where padding that alignment added was cut off, which nobody misses.
        dropped = self.counts.dropped_frames * len(self.job.recipe.streams)
        if self.lost > self.counts.lost + dropped:
            raise DataError(
                "record",
                f"truncation cut off {self.lost} tokens of it",
                expected=f"at most {self.counts.lost}, as its record says",
                advice="delaytool verify says more",
            )
        if self.record is None:
            return
        expected = self.record.digests.columns
        for name, digest in self.digest.hexdigests().items():
            if expected.get(name) != digest:
                raise DataError(
                    "digest",
                    "its rows are not those that the shard was made from",
                    expected=f"the digest {expected.get(name)}",
                    advice="delaytool verify says more",
                    place=Place(column=name),
                )


def _parts(
    work: _Work, record: Record | None, target: str, codes_target: str | None
) -> list[_Part]:
    """The files to write."""
    if codes_target is None:
        if record is None:
            return [_part(target, work, work.schema, work.output.entries)]
        whole = source_schema(record), source_entries(record)
        return [_part(target, work, work.schema, restored_entries(*whole, work.job))]
    if record is None or len(record.sources) != 2:
        raise DataError(
            "sources",
            "it was not made from text and codes in shards of their own",
            expected="two sources",
            advice="leave out `audio_output`",
        )
    parts = []
    for path, source in zip((target, codes_target), record.sources, strict=True):
        schema = decode_schema(source.schema)
        entries = restored_entries(schema, entries_of(source), work.job)
        parts.append(_part(path, work, restored_schema(schema, work.job), entries))
    return parts


def _part(path: str, work: _Work, schema: pa.Schema, entries: dict[bytes, bytes]) -> _Part:
    """A file to write; the Arrow schema among its entries is that of what is left."""
    left = schema
    if work.counts.lost or work.counts.dropped_frames:
        left = nullable(schema, work.job)
    if left != schema and STORED_SCHEMA in entries:
        entries = {**entries, STORED_SCHEMA: encode_schema(left).encode()}
    return path, left, entries
