"""Write back what a shard was made from: a generator of progress that returns what was done.

A shard with a record gives the original rows, columns, types and metadata, and what it gives must
have the digests that the record holds before the file gets its name. A grid without a record, such
as a model generated, needs a job from elsewhere; its fill cells may hold anything.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from delaytool import stores
from delaytool.digest import BatchDigest
from delaytool.errors import DataError, Place
from delaytool.job import STORED_SCHEMA, Counts, Job, Record
from delaytool.shards import (
    OpenShard,
    Shard,
    ahead,
    decode_schema,
    encode_schema,
    entries_of,
    open_shard,
    read_record,
    reading,
    remove_leftovers,
    source_entries,
    source_schema,
    writing,
)
from delaytool.tokens import depth_of, lists_around
from delaytool.transform import Padded, placed, shifted_schema, unshift


@dataclass(frozen=True)
class Reverted:
    """What was done to one shard."""

    name: str
    rows: int
    counts: Counts


def revert_shard(
    shard: Shard,
    target: str,
    codes_target: str | None,
    job: Job | None,
    allow_lossy: bool,
    overwrite: bool,
) -> Generator[float, None, Reverted]:
    """Write back the shard that an output was made from.

    codes_target: where the codes go that came in a shard of their own; None for one shard of both
    job:          what a grid without a record was made with
    yields:       the fraction of the rows that are done
    returns:      what was done
    raises:       DataError when tokens are missing that cannot come back and `allow_lossy` is off,
                  when the rows are not what the record says, or when a target is in the way
    """
    with open_shard(shard) as output, reading(shard.name):
        record = read_record(output)
        if record is None and job is None:
            raise DataError(
                "no-record",
                "there is no delaytool entry in the footer",
                expected="a shard that delaytool made, or --recipe or --preset",
                advice="say with --recipe or --preset how the grid was delayed",
            )
        if record is not None and not allow_lossy:
            _check_lossless(record.counts)
        work = _Work(output, record, job)
        parts = _parts(work, record, target, codes_target)
        for path, _, _ in parts:
            _check_free(path, overwrite)
        for number, (path, schema, entries) in enumerate(parts):
            kinds = {column.name: "tokens" for column in work.job.columns}
            rows = 0
            with contextlib.ExitStack() as stack:
                batches = stack.enter_context(contextlib.closing(ahead(work.batches(schema))))
                target_file = stack.enter_context(writing(path, schema, kinds, entries))
                for batch in batches:
                    target_file.write(batch)
                    rows += batch.num_rows
                    yield (number + rows / max(output.rows, 1)) / len(parts)
                work.check()
        counts = Counts() if record is None else record.counts
        return Reverted(shard.name, output.rows, counts)


def look_at(shards: Sequence[Shard], allow_lossy: bool) -> None:
    """Raise DataError for the first shard that lost something, before one is written."""
    for shard in [] if allow_lossy else shards:
        with open_shard(shard) as output, reading(shard.name):
            record = read_record(output)
            if record is not None:
                _check_lossless(record.counts)


def abandon_revert(shard: Shard, target: str, codes_target: str | None, *_: object) -> None:
    """Clean up behind a process that was killed in `revert_shard`."""
    for path in (target, codes_target):
        if path is not None:
            remove_leftovers(path)


def _check_lossless(counts: Counts) -> None:
    lost = (
        ("truncation cut off", counts.lost, "tokens"),
        ("alignment cut off", counts.trimmed, "tokens"),
        ("quarantine holds", counts.quarantined, "rows"),
    )
    missing = [f"{what} {count} {things}" for what, count, things in lost if count]
    if missing:
        raise DataError(
            "lossy",
            " and ".join(missing) + ", which cannot come back",
            expected="nothing missing",
            advice="take the rest with --allow-lossy",
        )


def _check_free(path: str, overwrite: bool) -> None:
    kind = stores.kind_of(path)
    if kind is not None and not (overwrite and kind == "file"):
        raise DataError(
            "output-in-the-way",
            f"the output {stores.shown(path)} is in the way",
            expected="no file",
            advice="choose another output, or replace it with --overwrite",
        )


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


class _Work:
    """The reverted batches of a shard."""

    def __init__(self, output: OpenShard, record: Record | None, job: Job | None) -> None:
        self.output, self.record = output, record
        self.padded = None if record is None else Padded(record)
        if record is not None:
            self.job, self.schema = record.job, source_schema(record)
            _check_columns(output, shifted_schema(self.schema, self.job))
        else:
            assert job is not None, "checked by the caller"
            self.job, self.schema = job, output.schema
        self.digest = BatchDigest(self.schema.names)

    def batches(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """The rows with the columns of this schema."""
        self.digest = BatchDigest(self.schema.names)
        rows = 0
        for batch in self.output.batches(self.job):
            padded = None if self.padded is None else self.padded.of_rows(rows, batch.num_rows)
            try:
                restored = unshift(batch, self.job, self.schema, padded)
            except DataError as error:
                raise placed(error, self.output.shard.name, rows, batch, self.job) from None
            self.digest.update(restored)
            rows += batch.num_rows
            arrays = [restored.column(name) for name in schema.names]
            yield pa.RecordBatch.from_arrays(
                [
                    a.cast(f.type) if a.type != f.type else a
                    for a, f in zip(arrays, schema, strict=True)
                ],
                schema=schema,
            )

    def check(self) -> None:
        """Raise DataError unless the rows are those that the record tells of."""
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
) -> list[tuple[str, pa.Schema, dict[bytes, bytes]]]:
    """The files to write: path, schema, and entries of the footer."""
    if codes_target is None:
        entries = work.output.entries if record is None else source_entries(record)
        return [_part(target, work, work.schema, entries)]
    if record is None or len(record.sources) != 2:
        raise DataError(
            "sources",
            "it was not made from text and codes in shards of their own",
            expected="two sources",
            advice="leave --audio-output away",
        )
    pairs = zip((target, codes_target), record.sources, strict=True)
    return [
        _part(path, work, decode_schema(source.schema), entries_of(source))
        for path, source in pairs
    ]


def _part(
    path: str, work: _Work, schema: pa.Schema, entries: dict[bytes, bytes]
) -> tuple[str, pa.Schema, dict[bytes, bytes]]:
    """A file to write; the Arrow schema among its entries is that of what is left."""
    left = schema
    if work.record is not None and work.record.counts.lost:
        left = _nullable(schema, work.job)
    if left != schema and STORED_SCHEMA in entries:
        entries = {**entries, STORED_SCHEMA: encode_schema(left).encode()}
    return path, left, entries


def _nullable(schema: pa.Schema, job: Job) -> pa.Schema:
    """A schema whose tokens may be null, for those that truncation cut off."""
    held = {column.name for column in job.columns}
    fields = []
    for field in schema:
        depth, leaf = depth_of(field.type)
        strict = "not null" in str(field.type)
        fields.append(
            field.with_type(lists_around(leaf, depth)) if field.name in held and strict else field
        )
    return pa.schema(fields, metadata=schema.metadata)
