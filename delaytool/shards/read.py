"""Opens Parquet shards and reads them a few rows at a time."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import os
from collections.abc import Collection, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from delaytool.batches.digest import BatchDigest
from delaytool.batches.fields import tops_of
from delaytool.batches.job import Job
from delaytool.batches.metadata import ENTRY, QUARANTINE_ENTRY, REASON, STORED_SCHEMA
from delaytool.batches.schema import mended_entries, without_reason
from delaytool.batches.types import batch_of
from delaytool.errors import DataError, Place, ReaderDiedError
from delaytool.shards import stores
from delaytool.shards.bounded import Rows, ahead, bounded, joined, part_of
from delaytool.shards.deadly import NOTES
from delaytool.shards.failures import reading
from delaytool.shards.find import Shard
from delaytool.shards.parquet_types import Leaf, changes, columns_in_microseconds, leaves_of
from delaytool.shards.record import Record, Source, encode_schema
from delaytool.shards.row_bytes import RowBytes
from delaytool.shards.sources import base64_of, entries_in_schema
from delaytool.shards.unchecked import check_decimals, check_indices

_SMALL_BYTES = 1 << 20
"""Decoded bytes of shards that are read and written in one go."""
_MAGIC, _ENCRYPTED, _LFS = b"PAR1", b"PARE", b"version https://git-lfs"


@dataclass(frozen=True)
class OpenShard:
    """A shard that is open for reading.

    Of one of quarantined rows only the columns are seen that its rows came with, unless it was
    opened whole.
    """

    shard: Shard
    file: pq.ParquetFile
    schema: pa.Schema
    fingerprint: tuple[int, str]
    """Its size in bytes and the sha256 of its footer."""
    coarse: tuple[pq.ParquetFile, Collection[str]] | None = None
    """The file, opened to read INT96 timestamps as microseconds, and which columns to read so."""

    @property
    def rows(self) -> int:
        """How many rows its footer says it has."""
        return int(self.file.metadata.num_rows)

    @property
    def entry(self) -> bytes | None:
        """The delaytool entry of its footer, unparsed."""
        return self.entry_called(ENTRY)

    def entry_called(self, name: str) -> bytes | None:
        """An entry of its footer's key-value metadata."""
        entry = (self.file.metadata.metadata or {}).get(name.encode())
        return entry if isinstance(entry, bytes) else None

    @property
    def is_quarantine(self) -> bool:
        """Whether its rows are those of another shard that are in quarantine."""
        return _is_quarantine(self.file)

    @property
    def entries(self) -> dict[bytes, bytes]:
        """The key-value entries of its footer, whether the Arrow schema holds them too or not.

        Those of quarantined rows that are data again are as before they were put into quarantine.
        """
        entries = dict(sorted((self.file.metadata.metadata or {}).items()))
        whole = self.file.schema_arrow
        if not self.is_quarantine or self.schema.names == whole.names:
            return entries
        seen = mended_entries(whole, entries, without_reason)
        if STORED_SCHEMA in entries:
            seen[STORED_SCHEMA] = encode_schema(self.schema).encode()
        return dict(sorted(seen.items()))

    @property
    def sources(self) -> tuple[Source, ...]:
        """What a record says of this shard as a source."""
        size, footer = self.fingerprint
        schema = encode_schema(self.schema)
        in_schema = entries_in_schema(schema)
        entries = {
            base64_of(key): None if in_schema.get(key) == value else base64_of(value)
            for key, value in self.entries.items()
        }
        return (Source(size, footer, schema, entries),)

    def changed_types(self, columns: Collection[str]) -> dict[str, tuple[str, str]]:
        """Types of these columns that do not come out as they went in: see parquet_types."""
        return changes(self.file.schema, self.schema, columns)

    def bytes_of_columns(self) -> dict[str, int]:
        """How many of its bytes each of its columns takes, as its footer says."""
        sizes = dict.fromkeys(self.schema.names, 0)
        for group in self._groups():
            for number, leaf in enumerate(self._leaves):
                sizes[leaf.column] += int(group.column(number).total_compressed_size)
        return sizes

    def check_unchanged(self) -> None:
        """Raise DataError when the shard is no longer the file that was opened."""
        with reading(self.shard.name):
            now = footer_fingerprint(self.shard.path)
        if now != self.fingerprint:
            raise DataError(
                "changed",
                "the file changed while it was read",
                expected="the same size and footer as before",
                advice="run again when nothing writes to it",
                place=Place(shard=self.shard.name),
            )

    def digests(self) -> dict[str, str]:
        """The digest of each of its columns; raises DataError when the file cannot be read."""
        digest = BatchDigest(self.schema.names)
        with reading(self.shard.name):
            for batch in self.small_batches(coded=True):
                digest.update(batch)
        return digest.hexdigests()

    def batches(
        self, job: Job, added: bool = False, names: Sequence[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Its rows in batches whose borders follow from the rows alone.

        added: whether the timesteps that an output has more than frames count, too
        names: these columns only, in the shard's order
        Raises DataError when the file cannot be read on.
        """
        with reading(self.shard.name):
            schema = part_of(self.schema, names)
            yield from bounded(self.small_batches(names, coded=True), schema, job, added)

    def small_batches(
        self,
        names: Sequence[str] | None = None,
        groups: Sequence[int] | None = None,
        *,
        coded: bool = False,
    ) -> Iterator[pa.RecordBatch]:
        """Its rows a few at a time; of these columns, and of these row groups, if given.

        Of fields of structs the whole columns are read.

        coded: whether columns of long strings that repeat may come as dictionaries of them
        """
        names = None if names is None else tops_of(self.schema, names)
        asked = self.schema.names if names is None else names
        repeated = self._bytes.repeated(asked) if coded else set()
        rows = self._bytes.rows_at_a_time([name for name in asked if name not in repeated])
        with contextlib.ExitStack() as stack:
            file = self.file
            if repeated:
                file = stack.enter_context(self._reopened(read_dictionary=sorted(repeated)))
            for batch in self._read(file, names, groups, rows, repeated):
                check_decimals(batch, self._decimals)
                check_indices(batch, self._dictionaries | repeated)
                yield self._as_seen(batch) if names is None else _with_columns(batch, names)

    def _read(
        self,
        fine: pq.ParquetFile,
        names: Sequence[str] | None,
        groups: Sequence[int] | None,
        rows: int,
        coded: Collection[str],
    ) -> Iterator[pa.RecordBatch]:
        """So many rows at a time, of what is not read as microseconds from this file.

        coded: the columns that this file gives as dictionaries
        """
        parts = [groups]
        if any(
            pa.types.is_dictionary(leaf.kind) and leaf.path != leaf.column for leaf in self._leaves
        ):
            # Arrow cannot read nested dictionaries of two row groups at once.
            parts = [[number] for number in groups or range(self.file.metadata.num_row_groups)]

        def read(file: pq.ParquetFile, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
            # pyarrow 18 looks for the last row group where there is none.
            for part in parts if file.metadata.num_row_groups else ():
                yield from file.iter_batches(rows, part, columns, use_threads=False)

        def read_fine(columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
            return (self._with_types(batch, coded) for batch in read(fine, columns))

        if self.coarse is None:
            yield from read_fine(names)
            return
        file, columns = self.coarse
        asked = self.schema.names if names is None else names
        coarse = [name for name in asked if name in columns]
        others = [name for name in asked if name not in columns]
        if coarse and others:
            yield from self._put_together(read_fine(others), Rows(read(file, coarse)))
        else:
            yield from read(file, coarse) if coarse else read_fine(names)

    def _with_types(self, batch: pa.RecordBatch, coded: Collection[str]) -> pa.RecordBatch:
        """A batch with values of the schema's own types in the dictionaries of some columns."""
        for name in coded:
            number = batch.schema.get_field_index(name)
            column, kind = batch.column(number), self.schema.field(name).type
            if column.type.value_type != kind:
                values = column.dictionary.cast(kind)
                column = pa.DictionaryArray.from_arrays(column.indices, values, safe=False)
                batch = batch.set_column(number, pa.field(name, column.type), column)
        return batch

    def _as_seen(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """A batch of all the file's columns without the one that is not seen."""
        if batch.num_columns == len(self.schema):
            return batch
        pairs = zip(batch.schema.names, batch.columns, strict=True)
        seen = [array for name, array in pairs if name != REASON]
        return batch_of(seen, self.schema)

    def _put_together(
        self, batches: Iterator[pa.RecordBatch], others: Rows
    ) -> Iterator[pa.RecordBatch]:
        """The columns of both in the shard's order."""
        for batch in batches:
            start = 0
            for other in others.parts(batch.num_rows):
                part = batch.slice(start, other.num_rows)
                start += other.num_rows
                arrays = dict(zip(part.schema.names, part.columns, strict=True))
                arrays.update(zip(other.schema.names, other.columns, strict=True))
                fields = [field for field in self.schema if field.name in arrays]
                schema = pa.schema(fields, metadata=self.schema.metadata)
                columns = [arrays[name] for name in schema.names]
                yield batch_of(columns, schema)

    def row_group(self, number: int, names: Sequence[str]) -> pa.RecordBatch:
        """The rows of one row group, with these columns.

        Raises DataError when the file cannot be read on.
        """
        names = tops_of(self.schema, names)
        with reading(self.shard.name):
            if self.coarse is None:
                rows = self.file.metadata.row_group(number).num_rows
                batches = self.file.iter_batches(rows, [number], names, use_threads=False)
            else:
                batches = self.small_batches(names, [number])
            group = joined(found := list(batches), found[0].schema)
            check_decimals(group, self._decimals)
            check_indices(group, self._dictionaries)
            return group

    def batches_ahead(self) -> Generator[pa.RecordBatch, None, None]:
        """Its rows in batches of any size, each read while the one before is in use.

        Raises DataError when the file cannot be read on.
        """
        with (
            reading(self.shard.name),
            contextlib.closing(ahead(self.small_batches(coded=True), self.is_small)) as batches,
        ):
            yield from batches

    @property
    def is_small(self) -> bool:
        """Whether it has so few rows that a thread to read or make them is not worth its start."""
        return self._bytes.are_within(_SMALL_BYTES)

    def _groups(self) -> list[Any]:
        """What the footer says of each row group."""
        return [self.file.metadata.row_group(i) for i in range(self.file.metadata.num_row_groups)]

    @functools.cached_property
    def _leaves(self) -> list[Leaf]:
        """Its leaves, which are the columns of a row group."""
        return leaves_of(self.file.schema, self.schema)

    @functools.cached_property
    def _decimals(self) -> set[str]:
        """The columns that have decimals in them."""
        return {leaf.column for leaf in self._leaves if pa.types.is_decimal(leaf.kind)}

    @functools.cached_property
    def _dictionaries(self) -> set[str]:
        """The columns that have dictionaries in them."""
        return {leaf.column for leaf in self._leaves if pa.types.is_dictionary(leaf.kind)}

    @functools.cached_property
    def _bytes(self) -> RowBytes:
        """What its rows take decoded."""
        return RowBytes(self.file, self._leaves, self._reopened)

    def _reopened(self, **options: Any) -> pq.ParquetFile:
        """The file once more, with other options for the reader."""
        return _open_file(self.shard.path, self.file.metadata, **options)

    def with_timestamps(self, stack: contextlib.ExitStack) -> OpenShard:
        """The shard, INT96 timestamps read as microseconds where these are exact.

        stack:  closes what is opened
        raises: DataError for a column that neither unit holds
        """
        columns = {leaf.column for leaf in self._leaves if leaf.is_int96}
        if not columns:
            return self
        units = (self._reopened(coerce_int96_timestamp_unit=unit) for unit in ("us", "s"))
        microseconds, seconds = map(stack.enter_context, units)
        rows = self._bytes.rows_at_a_time(columns)
        files = self.file, microseconds, seconds
        coarse = columns_in_microseconds(files, self._leaves, rows)
        pairs = zip(self.schema, microseconds.schema_arrow, strict=True)
        fields = [other if field.name in coarse else field for field, other in pairs]
        schema = pa.schema(fields, metadata=self.schema.metadata)
        return dataclasses.replace(self, schema=schema, coarse=(microseconds, coarse))


def _with_columns(batch: pa.RecordBatch, names: Sequence[str]) -> pa.RecordBatch:
    """A batch with these columns: asked for `a`, pyarrow reads a column `a.b` too."""
    return batch if len(batch.schema) == len(names) else batch.select(list(names))


def footer_fingerprint(path: str) -> tuple[int, str]:
    """A Parquet file's size in bytes and the sha256 of its footer, as hex."""
    with stores.open_input(path) as file:
        size = file.seek(0, os.SEEK_END)
        if size < 12:
            raise pa.ArrowInvalid(f"it has {size} bytes, which is no Parquet file")
        file.seek(size - 8)
        tail = file.read(8)
        length = int.from_bytes(tail[:4], "little")
        if tail[4:] == _ENCRYPTED:
            raise pa.ArrowInvalid("its footer is encrypted")
        if tail[4:] != _MAGIC or length > size - 12:
            file.seek(0)
            if file.read(len(_LFS)) == _LFS:
                raise pa.ArrowInvalid("it is a pointer of Git LFS; git lfs pull fetches the file")
            raise pa.ArrowInvalid("it does not end like a Parquet file")
        file.seek(size - 8 - length)
        return size, hashlib.sha256(file.read(length)).hexdigest()


@contextlib.contextmanager
def open_shard(shard: Shard, what: str = "", *, whole: bool = False) -> Iterator[OpenShard]:
    """Open a shard for reading; raises DataError when it is no Parquet file.

    whole: whether the reasons of quarantined rows are seen too
    """
    if shard.path in NOTES.deadly:
        raise ReaderDiedError.of(what + shard.name)
    NOTES.write(shard.path)
    with contextlib.ExitStack() as stack:
        with reading(what + shard.name):
            fingerprint = footer_fingerprint(shard.path)
            file = stack.enter_context(_open_file(shard.path))
            opened = OpenShard(shard, file, file.schema_arrow, fingerprint)
            opened = opened.with_timestamps(stack)
            if not whole and opened.is_quarantine:
                opened = dataclasses.replace(opened, schema=without_reason(opened.schema))
        yield opened


def _is_quarantine(file: pq.ParquetFile) -> bool:
    """Whether a file says that it holds quarantined rows, and not that it is an output."""
    entries = file.metadata.metadata or {}
    return QUARANTINE_ENTRY.encode() in entries and ENTRY.encode() not in entries


def _open_file(path: str, metadata: Any = None, **options: Any) -> pq.ParquetFile:
    remote = stores.is_remote(path)
    source = stores.open_input(path) if remote else stores.as_arrow_takes(path, "rb")
    return pq.ParquetFile(
        source, metadata=metadata, pre_buffer=False, buffer_size=1 << 20, **options
    )


def read_record(opened: OpenShard, entry: str = ENTRY) -> Record | None:
    """The record of a shard, None where there is none; raises DataError for one that cannot be."""
    text = opened.entry_called(entry)
    if text is None:
        return None
    with reading(opened.shard.name):
        return Record.from_json(text)
