"""Parquet shards: find them, stream them in bounded batches, write them whole or not at all.

A shard that is read streams through memory in batches of a bounded number of cells and bytes.
Where one batch ends and the next begins follows from the rows alone, so that the row groups of an
output are the same however its source was cut.

A shard that is written grows under a temporary name in its own folder, locked while it grows, and
gets its final name when it is complete and on disk. Whatever goes wrong before that leaves nothing
under the final name. A temporary file that nobody holds the lock of is left over from a run that
was killed; the next run on that shard removes it.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import errno
import fcntl
import functools
import glob
import hashlib
import json
import os
import queue
import re
import secrets
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from delaytool import guard, search, stores, tables
from delaytool.digest import BatchDigest, first_difference, schema_digest
from delaytool.errors import DataError, Place, ReaderDiedError, RecipeError
from delaytool.job import ASIDE, ENTRY, REASON, STORED_SCHEMA, Job, Record, Source, Where
from delaytool.parquet_types import (
    Leaf,
    changes,
    columns_in_microseconds,
    leaf_arrays,
    leaves,
    leaves_of,
)
from delaytool.row_bytes import RowBytes
from delaytool.transform import mended_entries, without_reason

_LANE_BYTES = 16 << 20
"""The size up to which row groups are decoded whole, for who does not mind where batches end."""
_PAGE_BYTES = 2 << 20
MAX_CELLS = 1 << 20
MAX_BYTES = 32 << 20
_MAGIC, _ENCRYPTED = b"PAR1", b"PARE"

T = TypeVar("T")


@dataclass(frozen=True)
class Shard:
    """A shard: its name relative to the dataset's folder, where it is, and how many bytes it has.

    size: None where nobody has looked yet
    """

    name: str
    path: str
    size: int | None = dataclasses.field(default=None, compare=False)


# Finding


@dataclass(frozen=True)
class Found:
    """The shards of a dataset by name, and what there is to say of how they were found."""

    shards: list[Shard]
    notes: tuple[str, ...] = ()


def find_shards(path: str, *, outside: Sequence[str] = ()) -> Found:
    """The shards of a file, a folder (every *.parquet in it, at any depth) or a glob, by name.

    Links are followed, and a file that is reached twice is read once: under the name with the
    fewest links, and of those the one that sorts first. Folders that begin with . or _ are left
    out, with a note, unless a glob names them.

    outside: folders to leave out, such as the output's when it lies within the input's
    raises:  FileNotFoundError when there is no such file or folder, DataError when there are no
             shards in it, when a link to one leads nowhere, or when a file or folder belongs to a
             table whose log says which of its rows count; a glob may name those
    """
    if stores.is_remote(path):
        found = _remote_shards(path, outside)
    elif os.path.isfile(path):
        tables.check_input(path)
        return Found([Shard(os.path.basename(path), path)])
    else:
        found = _local_shards(path, outside)
    if not found.shards:
        raise DataError(
            "no-shards",
            "; ".join(["there are no shards", *found.notes]),
            expected="at least one *.parquet file",
            advice="name a Parquet file, a folder with such files, or a quoted glob",
            place=Place(shard=stores.shown(path)),
        )
    return Found(sorted(found.shards, key=lambda shard: shard.name), found.notes)


def _local_shards(path: str, outside: Sequence[str]) -> Found:
    """The shards of a folder or a glob."""
    root, pattern = path, ""
    if not os.path.isdir(path):
        if not glob.has_magic(path):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        root = _fixed_part(path)
        pattern = os.path.relpath(path, root)
        if not os.path.isdir(root):
            return Found([])
    files = search.search(root, pattern, outside)
    shards = [Shard(name, os.path.join(root, name)) for name in files.paths]
    if not pattern:
        tables.check_input(path, [*(shard.path for shard in shards), *files.paths.values()])
    return Found(shards, files.notes)


def _remote_shards(path: str, outside: Sequence[str]) -> Found:
    """The shards of a URI of a file, a folder or a glob."""
    shown = stores.shown(path)
    with reading(shown):
        kind = stores.kind_of(path)
    if kind is not None:
        tables.check_input(path)
    if kind == "file":
        return Found([Shard(stores.base_name(path), path)])
    folder, pattern = path, "**/*.parquet"
    if kind is None:
        head, mark, query = path.partition("?")
        if "*" not in head:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), shown)
        fixed = head[: head.index("*")].rpartition("/")[0]
        folder, pattern = fixed + mark + query, head[len(fixed) + 1 :]
    with reading(shown):
        files = [Shard(*file) for file in stores.files_below(folder)]
    found = _that_fit(pattern, files, outside)
    if kind is not None:
        tables.check_names(path, (file.name for file in files), (s.name for s in found.shards))
    return found


def _that_fit(pattern: str, files: Sequence[Shard], outside: Sequence[str]) -> Found:
    """Those of a store's files that a glob means, hidden ones left out."""
    wanted, meant = _as_regex(pattern), _as_regex(pattern, everywhere=True)
    shards, folders, hidden = [], [], []
    for file in files:
        name = file.name
        fits = name.endswith(".parquet") and meant.fullmatch(name)
        if not fits or any(stores.is_within(file.path, each) for each in outside):
            continue
        parts = name.split("/")
        depth = next((i for i, part in enumerate(parts[:-1], 1) if search.is_hidden(part)), 0)
        if wanted.fullmatch(name) and not any(part.startswith(".") for part in parts):
            shards.append(file)
        elif depth:
            folders.append("/".join(parts[:depth]))
        else:
            hidden.append(name)
    notes = search.folders_left_out(folders) + search.files_left_out(hidden)
    return Found(shards, tuple(notes))


def _as_regex(pattern: str, everywhere: bool = False) -> re.Pattern[str]:
    """A glob as a regular expression: a/**/*.parquet

    everywhere: whether ** means folders too that a search leaves out
    """
    parts = re.split(r"(\*\*/|\*)", pattern)
    meant = {"**/": "(?:.*/)?" if everywhere else "(?:(?![._])[^/]*/)*", "*": "[^/]*"}
    return re.compile("".join(meant.get(part, re.escape(part)) for part in parts))


def _fixed_part(pattern: str) -> str:
    """The folder of a glob's part before its first wildcard: a/b/*/c*.parquet -> a/b"""
    folder = os.path.dirname(pattern)
    while glob.has_magic(folder):
        folder = os.path.dirname(folder)
    return folder or "."


# Reading


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

        Those of quarantined rows that are data again are as before they were put aside.
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
        held = _entries_held_by(schema)
        entries = {
            _base64(key): None if held.get(key) == value else _base64(value)
            for key, value in self.entries.items()
        }
        return (Source(size, footer, schema, entries),)

    def changed_types(self, columns: Collection[str]) -> dict[str, tuple[str, str]]:
        """Types of these columns that do not come out as they went in: see parquet_types."""
        return changes(self.file.schema, self.schema, columns)

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
            for batch in self.small_batches():
                digest.update(batch)
        return digest.hexdigests()

    def batches(self, job: Job, added: int = 0) -> Iterator[pa.RecordBatch]:
        """Its rows in batches whose borders follow from the rows alone.

        added: timesteps that the pattern adds to each row, which count towards a batch's size
        Raises DataError when the file cannot be read on.
        """
        with reading(self.shard.name):
            yield from _bounded(self.small_batches(), self.schema, job, added)

    def small_batches(
        self, names: Sequence[str] | None = None, groups: Sequence[int] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Its rows a few at a time; with these columns, and of these row groups, if given."""
        rows = self._bytes.rows_at_a_time(names)
        parts = [groups]
        if any(
            pa.types.is_dictionary(leaf.kind) and leaf.path != leaf.column for leaf in self._leaves
        ):
            # Arrow cannot read nested dictionaries of two row groups at once.
            parts = [[number] for number in groups or range(self.file.metadata.num_row_groups)]

        def read(file: pq.ParquetFile, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
            for part in parts:
                yield from file.iter_batches(rows, part, columns, use_threads=False)

        batches = read(self.file, names)
        if self.coarse is not None:
            file, columns = self.coarse
            asked = self.schema.names if names is None else names
            coarse = [name for name in asked if name in columns]
            fine = [name for name in asked if name not in columns]
            batches = read(file, coarse) if coarse else batches
            if coarse and fine:
                batches = self._put_together(read(self.file, fine), Rows(batches))
        decimals = {leaf.column for leaf in self._leaves if pa.types.is_decimal(leaf.kind)}
        for batch in batches:
            _check_decimals(batch, decimals)
            yield self._as_seen(batch) if names is None else batch

    def _as_seen(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """A batch of all the file's columns without the one that is not seen."""
        if batch.num_columns == len(self.schema):
            return batch
        pairs = zip(batch.schema.names, batch.columns, strict=True)
        seen = [array for name, array in pairs if name != REASON]
        return pa.RecordBatch.from_arrays(seen, schema=self.schema)

    def _put_together(
        self, batches: Iterator[pa.RecordBatch], others: Rows
    ) -> Iterator[pa.RecordBatch]:
        """The columns of both in the shard's order."""
        for batch in batches:
            arrays = dict(zip(batch.schema.names, batch.columns, strict=True))
            if (other := others.take(batch.num_rows)) is not None:
                arrays.update(zip(other.schema.names, other.columns, strict=True))
            fields = [field for field in self.schema if field.name in arrays]
            schema = pa.schema(fields, metadata=self.schema.metadata)
            yield pa.RecordBatch.from_arrays([arrays[name] for name in schema.names], schema=schema)

    def batches_in_lanes(self, lanes: int) -> Generator[pa.RecordBatch, None, None]:
        """Its rows in batches of any size, decoded in threads where its row groups are small.

        lanes: threads; one more takes some 55 MB of memory
        Raises DataError when the file cannot be read on.
        """
        with reading(self.shard.name):
            if self.coarse is None and self._bytes.groups_are_within(_LANE_BYTES):
                yield from self._in_lanes(lanes)
            else:
                yield from self.small_batches()

    def _in_lanes(self, lanes: int) -> Iterator[pa.RecordBatch]:
        """Row groups in order, each a batch, the next ones being decoded meanwhile."""
        handles: queue.SimpleQueue[pq.ParquetFile] = queue.SimpleQueue()

        def decode(number: int) -> pa.RecordBatch:
            file = handles.get()
            try:
                rows = file.metadata.row_group(number).num_rows
                batches = file.iter_batches(rows, row_groups=[number], use_threads=False)
                return _joined(list(map(self._as_seen, batches)), self.schema)
            finally:
                handles.put(file)

        with contextlib.ExitStack() as stack:
            for _ in range(lanes):
                handles.put(stack.enter_context(_open_file(self.shard.path, self.file.metadata)))
            pool = stack.enter_context(ThreadPoolExecutor(lanes))
            made: deque[Future[pa.RecordBatch]] = deque()
            try:
                for number, group in enumerate(self._groups()):
                    if group.num_rows:
                        made.append(pool.submit(decode, number))
                    # One more than are taken or being made: a lane never waits for who takes them.
                    if len(made) > lanes + 1:
                        yield made.popleft().result()
                while made:
                    yield made.popleft().result()
            finally:
                pool.shutdown(cancel_futures=True)

    def _groups(self) -> list[Any]:
        """What the footer says of each row group."""
        return [self.file.metadata.row_group(i) for i in range(self.file.metadata.num_row_groups)]

    @functools.cached_property
    def _leaves(self) -> list[Leaf]:
        """Its leaves, which are the columns of a row group."""
        return leaves_of(self.file.schema, self.schema)

    @functools.cached_property
    def _bytes(self) -> RowBytes:
        """What its rows take decoded."""
        return RowBytes(self.file, self._leaves, self._reopened)

    def _reopened(self, **options: Any) -> pq.ParquetFile:
        """The file once more, with other options for the reader."""
        return _open_file(self.shard.path, self.file.metadata, **options)

    def with_timestamps(self, stack: contextlib.ExitStack) -> OpenShard:
        """The shard, INT96 timestamps read as microseconds where nanoseconds do not do.

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


def _check_decimals(batch: pa.RecordBatch, columns: Collection[str]) -> None:
    """Raise DataError for a decimal of more digits than its type has: it would lose the others."""
    for name in columns if batch.num_rows else ():
        arrays = leaf_arrays(batch.column(name)) if name in batch.schema.names else ()
        for leaf in arrays:
            try:
                if pa.types.is_decimal(leaf.type):
                    leaf.validate(full=True)
            except pa.ArrowInvalid as error:
                raise DataError(
                    "decimal",
                    _first_line(error),
                    advice="store it as a decimal of more digits, or leave the column out",
                    place=Place(column=name),
                ) from None


@dataclass(frozen=True)
class PairedShard:
    """A shard of text and one of codes, open for reading as if they were one.

    Rows go together by their order; where there is a key, both have it, and it must agree. The
    columns are the text's, then those of the codes without the key.
    """

    text: OpenShard
    codes: OpenShard
    key: str | None

    @property
    def shard(self) -> Shard:
        """The shard of text, whose name stands for both."""
        return self.text.shard

    @property
    def rows(self) -> int:
        """How many rows the footers say they have; raises DataError when they do not agree."""
        if self.text.rows != self.codes.rows:
            raise DataError(
                "rows-differ",
                f"{self.text.rows} rows of text and {self.codes.rows} of codes",
                expected="as many of each",
                advice="pair the shards anew",
                place=Place(shard=self.shard.name),
            )
        return self.text.rows

    @property
    def schema(self) -> pa.Schema:
        """The columns of both; raises DataError when both have one besides the key."""
        return paired_schema(self.text.schema, self.codes.schema, self.key)

    @property
    def entry(self) -> bytes | None:
        """A delaytool entry of either footer."""
        return self.text.entry or self.codes.entry

    @property
    def is_quarantine(self) -> bool:
        """Whether its rows are those of other shards that are in quarantine."""
        return self.text.is_quarantine

    @property
    def entries(self) -> dict[bytes, bytes]:
        """The key-value entries of both footers."""
        names = [name for name in self.codes.schema.names if name != self.key]
        return _joined_metadata(self.text.entries, self.codes.entries, names)

    @property
    def sources(self) -> tuple[Source, ...]:
        """What a record says of the two shards."""
        return self.text.sources + self.codes.sources

    def changed_types(self, columns: Collection[str]) -> dict[str, tuple[str, str]]:
        """Types of these columns that do not come out as they went in: see parquet_types."""
        return {**self.codes.changed_types(columns), **self.text.changed_types(columns)}

    def check_unchanged(self) -> None:
        """Raise DataError when one of the shards is no longer the file that was opened."""
        self.text.check_unchanged()
        self.codes.check_unchanged()

    def batches(self, job: Job, added: int = 0) -> Iterator[pa.RecordBatch]:
        """The rows of both in batches whose borders follow from the rows alone."""
        with reading(self.shard.name):
            yield from _bounded(self.small_batches(), self.schema, job, added)

    def small_batches(self, names: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The rows of both, a few at a time; with these columns only, if they are given.

        Raises DataError for the first key that differs.
        """
        expected, row, own = self.rows, 0, set(self.text.schema.names)
        kept = [field for field in self.schema if names is None or field.name in names]
        schema = pa.schema(kept, metadata=self.schema.metadata)
        codes = Rows(self._batches_of_codes(names))
        for text in self.text.small_batches(self._read_of(self.text, names)):
            other = codes.take(text.num_rows)
            if other is None or other.num_rows != text.num_rows:
                raise DataError(
                    "rows-differ", f"the codes end at row {row}", expected=f"{expected} rows"
                )
            self._check_keys(text, other, row)
            both = [(text if name in own else other).column(name) for name in schema.names]
            yield pa.RecordBatch.from_arrays(both, schema=schema)
            row += text.num_rows

    def _batches_of_codes(self, names: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        with reading(f"the codes of {self.shard.name}"):
            yield from self.codes.small_batches(self._read_of(self.codes, names))

    def _read_of(self, part: OpenShard, names: Sequence[str] | None) -> list[str] | None:
        """Which columns to read of one of the two: the key too, and at least one to count rows."""
        if names is None:
            return None
        own: list[str] = part.schema.names
        return [name for name in own if name in names or name == self.key] or own[:1]

    def _check_keys(self, text: pa.RecordBatch, codes: pa.RecordBatch, row: int) -> None:
        if self.key is None:
            return
        ours, theirs = text.column(self.key), codes.column(self.key)
        for keys, whose in ((ours, "text"), (theirs, "codes")):
            if keys.null_count:
                raise DataError(
                    "null",
                    f"the key is null in the shard of {whose}",
                    expected="a key for each row",
                    advice="fill it in, or name another column with --key",
                    place=Place(row=row + keys.is_null().index(True).as_py(), column=self.key),
                )
        if ours.type == theirs.type:
            differs = first_difference(ours, theirs)
        else:
            pairs = zip(ours.to_pylist(), theirs.to_pylist(), strict=True)
            differs = next((i for i, (one, other) in enumerate(pairs) if one != other), None)
        if differs is not None:
            one, other = ours[differs].as_py(), theirs[differs].as_py()
            raise DataError(
                "keys-differ",
                f"the codes' {self.key} is {other!r}",
                expected=f"{one!r}, as in the shard of text",
                advice="bring the rows of both into the same order",
                place=Place(row=row + differs, key=f"{self.key} {one!r}"),
            )


ORDER_ALONE = "there is no key: rows of text and codes are paired by their order alone"
"""What to say where nobody asked for that."""
Opened = OpenShard | PairedShard
Pair = tuple[Shard, Shard | None]
"""A shard, and that of its codes if they are in one of their own."""


def paired_schema(text: pa.Schema, codes: pa.Schema, key: str | None) -> pa.Schema:
    """The columns of a shard of text and one of codes; raises DataError when names collide."""
    own = [field for field in codes if field.name != key or key not in text.names]
    for field in own:
        if field.name in text.names:
            raise DataError(
                "column-twice",
                f"both the text's and the codes' shard have a column {field.name}",
                expected="no name in both but the key's",
                advice="drop or rename one, or name the --key",
            )
    names = [field.name for field in own]
    metadata = _joined_metadata(text.metadata or {}, codes.metadata or {}, names)
    return pa.schema([*text, *own], metadata=metadata or None)


def _joined_metadata(
    text: Mapping[bytes, bytes], codes: Mapping[bytes, bytes], names: list[str]
) -> dict[bytes, bytes]:
    """The entries of both, the text's where both have one, with descriptions of all columns or
    none.

    names: the codes' columns
    """
    metadata = {k: v for k, v in codes.items() if k != b"huggingface"} | dict(text)
    metadata.pop(b"pandas", None)
    _join_features(metadata, codes, names)
    return metadata


def _join_features(
    metadata: dict[bytes, bytes], codes: Mapping[bytes, bytes], names: list[str]
) -> None:
    """Describe the codes' columns too where Hugging Face describes both shards; else neither."""
    described = metadata.pop(b"huggingface", None)
    try:
        ours, theirs = json.loads(described or b""), json.loads(codes.get(b"huggingface", b""))
        features = theirs["info"]["features"]
        ours["info"]["features"].update({name: features[name] for name in names})
        metadata[b"huggingface"] = json.dumps(ours).encode()
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return


class Rows:
    """Takes rows off a stream of batches, any number at a time."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self.batches = batches
        self.rest: pa.RecordBatch | None = None

    def take(self, count: int) -> pa.RecordBatch | None:
        """The next rows, fewer when the stream ends; None when it has ended."""
        taken: list[pa.RecordBatch] = []
        while count:
            if self.rest is None or not self.rest.num_rows:
                self.rest = next(self.batches, None)
                if self.rest is None:
                    break
            part = self.rest.slice(0, count)
            self.rest = self.rest.slice(part.num_rows)
            taken.append(part)
            count -= part.num_rows
        return _joined(taken, taken[0].schema) if taken else None

    def count_rest(self) -> int:
        """How many rows are left; they are read."""
        rest = 0 if self.rest is None else int(self.rest.num_rows)
        return rest + sum(int(batch.num_rows) for batch in self.batches)


def encode_schema(schema: pa.Schema) -> str:
    """A schema as base64 of its IPC message."""
    return base64.b64encode(schema.serialize()).decode()


def decode_schema(text: str) -> pa.Schema:
    """The schema that `encode_schema` encoded; raises DataError if it is none."""
    try:
        return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text, validate=True)))
    except (ValueError, OSError, pa.ArrowException) as error:
        raise DataError(
            "record", f"the source schema in its record cannot be read: {error}"
        ) from None


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _entries_held_by(schema: str) -> dict[bytes, bytes]:
    """The entries that an Arrow writer makes of an encoded schema."""
    return {**(decode_schema(schema).metadata or {}), STORED_SCHEMA: schema.encode()}


def entries_of(source: Source) -> dict[bytes, bytes]:
    """The key-value entries of a source's footer; raises DataError where its record has none."""
    held = _entries_held_by(source.schema)
    entries: dict[bytes, bytes] = {}
    try:
        for name, text in source.entries.items():
            key = base64.b64decode(name, validate=True)
            entries[key] = held[key] if text is None else base64.b64decode(text, validate=True)
    except (ValueError, KeyError) as error:
        raise DataError(
            "record", f"the source entries in its record cannot be read: {error}"
        ) from None
    return entries


def comparable_entries(source: Source) -> dict[bytes, bytes]:
    """The same; of an Arrow schema only that it is there, for each writer words it as it likes."""
    entries = entries_of(source)
    return entries | dict.fromkeys({STORED_SCHEMA} & entries.keys(), b"there")


def digest_of_sources(sources: Sequence[Source]) -> str:
    """The digest of the schemas and entries of the shards that something was made from."""
    schemas = [source.schema for source in sources]
    return schema_digest(schemas, [comparable_entries(source) for source in sources])


def source_entries(record: Record) -> dict[bytes, bytes]:
    """The footer's entries of what a shard was made from, of both its sources if it has two."""
    text, *codes = record.sources
    if not codes:
        return entries_of(text)
    names = [name for name in decode_schema(codes[0].schema).names if name != record.job.key]
    joined = _joined_metadata(entries_of(text), entries_of(codes[0]), names)
    if STORED_SCHEMA in joined:
        joined[STORED_SCHEMA] = encode_schema(source_schema(record)).encode()
    return joined


def source_schema(record: Record) -> pa.Schema:
    """The schema of the rows that a shard was made from, of both its sources if it has two."""
    schemas = [decode_schema(source.schema) for source in record.sources]
    if len(schemas) not in (1, 2):
        raise DataError("record", f"its record names {len(schemas)} sources", expected="one or two")
    if len(schemas) == 1:
        return schemas[0]
    return paired_schema(schemas[0], schemas[1], record.job.key)


@contextlib.contextmanager
def reading(name: str) -> Iterator[None]:
    """Turn what pyarrow and the system say while a shard is read into a DataError."""
    try:
        yield
    except DataError as error:
        raise (error if error.place.shard else error.at(shard=name)) from None
    except RecipeError:
        raise  # What was asked for is no fault of the shard's.
    except stores.StoreError as error:
        raise DataError(
            "unreachable",
            f"cannot be read: {error.why}",
            advice="check the address, the region or endpoint, the keys, and the way to it",
            place=Place(shard=name),
        ) from error
    except (OSError, pa.ArrowException, ValueError, OverflowError) as error:
        raise DataError(
            "unreadable",
            f"cannot be read: {_first_line(error)}",
            expected="a complete Parquet file",
            advice="restore the file, or leave it out",
            place=Place(shard=name),
        ) from error


def _first_line(error: BaseException) -> str:
    # pyarrow tells which of its calls failed, and behind that why.
    if told := re.search(r"\[errno \d+\] (.+)", str(error)):
        return told[1]
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return stores.without_secrets(first)[:300]


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
            raise pa.ArrowInvalid("it does not end like a Parquet file")
        file.seek(size - 8 - length)
        return size, hashlib.sha256(file.read(length)).hexdigest()


@contextlib.contextmanager
def open_source(shard: Shard, codes: Shard | None, keys: Job | Where) -> Iterator[Opened]:
    """Open a shard, or one of text and one of codes that belong together.

    keys:   which column names a row
    raises: DataError when that is in one of the two shards alone, or is of different types
    """
    with open_shard(shard) as text:
        if codes is None:
            yield text
            return
        with open_shard(codes, "the codes of ") as other:
            if other.is_quarantine and not text.is_quarantine:
                raise DataError(
                    "unpaired-shard",
                    "the shard of its codes holds rows that are in quarantine",
                    expected="one of good rows",
                    advice="keep the quarantine out of the folder of codes",
                    place=Place(shard=shard.name),
                )
            key = _key_of_pair(text, other, keys)
            # A job's key is that of all pairs: where they have none, none may have one.
            yield PairedShard(text, other, keys.key if isinstance(keys, Job) else key)


def _key_of_pair(text: OpenShard, codes: OpenShard, keys: Job | Where) -> str | None:
    """The column that pairs the rows of two shards; None where their order alone does."""
    key = keys.key or "id"
    in_text, in_codes = (key in part.schema.names for part in (text, codes))
    if keys.by_order or (keys.key is None and not in_text and not in_codes):
        return None
    if not in_text or not in_codes:
        name = text.shard.name
        other = "which the shard of text has" if in_text else "which the shard of codes has"
        if not in_text and not in_codes:
            other = "nor in the shard of codes"
        raise DataError(
            "missing-key",
            f"there is no column {key}, {other}",
            expected="the key of the rows in both shards",
            advice="name a column of both with --key, or pair rows by their order with --no-key",
            place=Place(shard=f"the codes of {name}" if in_text else name),
        )
    kinds = [part.schema.field(key).type for part in (text, codes)]
    if len(set(map(_kind_of_key, kinds))) > 1:
        raise DataError(
            "column-type",
            f"has the type {kinds[0]} in the shard of text and {kinds[1]} in that of codes",
            expected="keys of one type",
            advice="cast one of them, or name another column with --key",
            place=Place(shard=text.shard.name, column=key),
        )
    return key


def _kind_of_key(kind: pa.DataType) -> str:
    """What keys of a type are, whatever their width; keys of two kinds are never the same."""
    if pa.types.is_dictionary(kind):
        return _kind_of_key(kind.value_type)
    if pa.types.is_integer(kind):
        return "integer"
    if kind in (pa.string(), pa.large_string(), pa.string_view()):
        return "string"
    if kind in (pa.binary(), pa.large_binary(), pa.binary_view()):
        return "binary"
    return str(kind)


def key_in(opened: Opened, keys: Job | Where) -> str | None:
    """The column that names a row of an open shard: the given one, else `id` where there is one."""
    if isinstance(opened, PairedShard):
        return opened.key
    if keys.key is None and not keys.by_order and "id" in opened.schema.names:
        return "id"
    return keys.key


def is_by_order_alone(opened: Opened, keys: Job | Where) -> bool:
    """Whether these are rows of text and codes that only their order pairs, and nobody said so."""
    return isinstance(opened, PairedShard) and opened.key is None and not keys.by_order


def rows_of(
    pairs: Iterable[Pair],
    keys: Job | Where,
    names_in: Callable[[pa.Schema], list[str]] | None = None,
) -> Iterator[pa.RecordBatch]:
    """The rows of several shards, as far as somebody asks for them.

    keys:     which column names a row
    names_in: which columns of a shard to read; all when not given
    """
    for shard, codes in pairs:
        with open_source(shard, codes, keys) as opened, reading(shard.name):
            yield from opened.small_batches(names_in and names_in(opened.schema))


@contextlib.contextmanager
def open_shard(shard: Shard, what: str = "", *, whole: bool = False) -> Iterator[OpenShard]:
    """Open a shard for reading; raises DataError when it is no Parquet file.

    whole: whether the reasons of quarantined rows are seen too
    """
    if guard.is_deadly(shard.path):
        raise ReaderDiedError.of(what + shard.name)
    guard.note(shard.path)
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
    return ASIDE.encode() in entries and ENTRY.encode() not in entries


def _open_file(path: str, metadata: Any = None, **options: Any) -> pq.ParquetFile:
    source = stores.open_input(path) if stores.is_remote(path) else path
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


def ahead(items: Iterator[T]) -> Generator[T, None, None]:
    """The same items, each made in a thread while the one before is in use."""
    made: queue.Queue[tuple[str, Any]] = queue.Queue(maxsize=1)
    stop = threading.Event()

    def make() -> None:
        try:
            for item in items:
                made.put(("item", item))
                if stop.is_set():
                    return
            made.put(("end", None))
        except BaseException as error:  # It is raised again in the other thread.
            made.put(("error", error))

    thread = threading.Thread(target=make, daemon=True)
    thread.start()
    try:
        while True:
            what, item = made.get()
            if what == "error":
                raise item
            if what == "end":
                return
            yield item
    finally:
        stop.set()
        while thread.is_alive():
            # The thread may be waiting for room; what it still makes is not wanted.
            with contextlib.suppress(queue.Empty):
                made.get_nowait()
            thread.join(0.01)


# Bounded batches


def _bounded(
    batches: Iterator[pa.RecordBatch], schema: pa.Schema, job: Job, added: int
) -> Iterator[pa.RecordBatch]:
    """Coalesce and split batches: as many rows as fit MAX_CELLS and MAX_BYTES, at least one."""
    pending: list[pa.RecordBatch] = []
    cells = size = 0
    for batch in batches:
        batch_cells, batch_sizes = _row_sizes(batch, job, added)
        start = 0
        while start < batch.num_rows:
            taken = _rows_that_fit(batch_cells[start:], MAX_CELLS - cells)
            taken = min(taken, _rows_that_fit(batch_sizes[start:], MAX_BYTES - size))
            if not pending:
                taken = max(taken, 1)
            if taken:
                pending.append(batch.slice(start, taken))
                cells += int(batch_cells[start : start + taken].sum())
                size += int(batch_sizes[start : start + taken].sum())
                start += taken
            if start < batch.num_rows:
                yield _joined(pending, schema)
                if size > MAX_BYTES // 2:
                    # The allocator would keep what so large a batch has freed, in case it is asked.
                    pa.default_memory_pool().release_unused()
                pending, cells, size = [], 0, 0
    if pending:
        yield _joined(pending, schema)


def _rows_that_fit(sizes: Any, room: int) -> int:
    return int(np.searchsorted(np.cumsum(sizes), room, side="right"))


def _joined(batches: list[pa.RecordBatch], schema: pa.Schema) -> pa.RecordBatch:
    if len(batches) == 1:
        return batches[0]
    arrays = [pa.concat_arrays([batch.column(i) for batch in batches]) for i in range(len(schema))]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _row_sizes(batch: pa.RecordBatch, job: Job, added: int) -> tuple[Any, Any]:
    """Token cells and decoded bytes of each row, the timesteps that the pattern adds included."""
    cells = np.zeros(batch.num_rows, dtype=np.int64)
    sizes = np.zeros(batch.num_rows, dtype=np.int64)
    token_columns = {column.name: column for column in job.columns}
    for name, array in zip(batch.schema.names, batch.columns, strict=True):
        column_sizes = np.broadcast_to(cell_sizes(array), (batch.num_rows,))
        if name in token_columns:
            width = max(1, _leaf_width(array.type))
            new = added * token_columns[name].size
            cells += column_sizes // width + new
            sizes += new * width
        sizes += column_sizes
    return cells, sizes


def _leaf_width(kind: pa.DataType) -> int:
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    while hasattr(kind, "value_type"):
        kind = kind.value_type
    try:
        return int(kind.bit_width) // 8
    except ValueError:
        return 1


def cell_sizes(array: pa.Array) -> Any:
    """Decoded bytes of each row: an integer if all are alike, else int64 [rows].

    [[1, 2], None, [3]] of int16 -> [4, 0, 2]
    """
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return cell_sizes(array.storage)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_map(kind):
        ends = array.offsets.to_numpy()
        if not len(array):
            return 0
        values = array.values if not pa.types.is_map(kind) else None
        if values is None:
            inner = np.broadcast_to(cell_sizes(array.keys), len(array.keys)) + cell_sizes(
                array.items
            )
        else:
            inner = cell_sizes(values)
        if isinstance(inner, int):
            return np.diff(ends).astype(np.int64) * inner
        sums = np.concatenate([[0], np.cumsum(inner)])
        return sums[ends[1:]] - sums[ends[:-1]]
    if pa.types.is_fixed_size_list(kind):
        part = array.values[array.offset * kind.list_size :][: len(array) * kind.list_size]
        inner = cell_sizes(part)
        if isinstance(inner, int):
            return inner * kind.list_size
        return inner.reshape(len(array), kind.list_size).sum(axis=1)
    if pa.types.is_struct(kind):
        total: Any = 0
        for i in range(kind.num_fields):
            total = total + cell_sizes(array.field(i))
        return total
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        return cell_sizes(array.cast(pa.large_binary()))
    if any(
        test(kind)
        for test in (
            pa.types.is_string,
            pa.types.is_binary,
            pa.types.is_large_string,
            pa.types.is_large_binary,
        )
    ):
        lengths = pc.binary_length(array).fill_null(0)
        return lengths.to_numpy(zero_copy_only=False).astype(np.int64)
    if pa.types.is_dictionary(kind):
        # As its values: whoever hashes or writes it may have to decode it.
        count = len(array.dictionary)
        sizes = np.append(np.broadcast_to(cell_sizes(array.dictionary), (count,)), 0)
        return sizes[array.indices.cast(pa.int64()).fill_null(count).to_numpy()]
    try:
        return max(1, int(kind.bit_width) // 8)
    except ValueError:
        return 0


# Writing


def as_stored(field: pa.Field, lists: bool = True) -> pa.Field:
    """A field with the names that Parquet gives to what is inside of it.

    list<item: int32> -> list<element: int32>

    lists: whether lists are renamed too, or maps alone
    """
    kind = field.type
    if isinstance(kind, pa.BaseExtensionType):
        return field
    if pa.types.is_struct(kind):
        return field.with_type(
            pa.struct([as_stored(kind.field(i), lists) for i in range(kind.num_fields)])
        )
    if pa.types.is_map(kind):
        key, item = as_stored(kind.key_field, lists), as_stored(kind.item_field, lists)
        return field.with_type(
            pa.map_(key.with_name("key"), item.with_name("value"), kind.keys_sorted)
        )
    if not hasattr(kind, "value_field"):
        return field
    inner = as_stored(kind.value_field, lists)
    inner = inner.with_name("element") if lists else inner
    if pa.types.is_fixed_size_list(kind):
        return field.with_type(pa.list_(inner, kind.list_size))
    if pa.types.is_large_list(kind):
        return field.with_type(pa.large_list(inner))
    return field.with_type(pa.list_(inner)) if pa.types.is_list(kind) else field


def is_stored_as(have: pa.Field, want: pa.Field) -> bool:
    """Whether a field that was read is this one, as it is or with Parquet's names inside."""
    have = as_stored(have, lists=False)
    return any(
        have.equals(as_stored(want, lists=renamed), check_metadata=True)
        for renamed in (True, False)
    )


class ShardWriter:
    """Batches on their way into a file that does not have its name yet.

    metadata: key-value entries for the footer, to be set before the file is complete
    """

    def __init__(
        self,
        part: str,
        schema: pa.Schema,
        kinds: Mapping[str, str],
        entries: Mapping[bytes, bytes] | None,
    ) -> None:
        self._writer = _writer(part, schema, kinds, entries is None)
        self.metadata: dict[bytes, bytes] = dict(entries or {})

    def write(self, batch: pa.RecordBatch) -> None:
        """Add the rows of a batch, if there are any."""
        if not batch.num_rows:
            return
        self._writer.write_batch(batch, row_group_size=batch.num_rows)

    def finish(self) -> None:
        """Write the footer."""
        if self.metadata:
            self._writer.add_key_value_metadata(self.metadata)
        self._writer.close()

    def abandon(self) -> None:
        """Let go of the file, which nobody will see."""
        with contextlib.suppress(Exception):
            self._writer.close()


@contextlib.contextmanager
def writing(
    target: str,
    schema: pa.Schema,
    kinds: Mapping[str, str],
    entries: Mapping[bytes, bytes] | None = None,
    *,
    replaces: State | None = None,
) -> Iterator[ShardWriter]:
    """Write a shard that appears under its name when the block ends well, and else not at all.

    kinds:    the columns that hold "tokens" or weights that come in "runs"; `_writer` says what for
    entries:  all key-value entries of its footer, those that Arrow makes of a schema included; when
              not given, Arrow makes them
    replaces: the only file whose place it may take, as `file_state` told it
    raises:   NameTakenError when there is another file, DataError when it cannot be written;
              nothing is left behind then
    """
    with _committed(target, replaces) as part:
        writer = ShardWriter(part, schema, kinds, entries)
        try:
            yield writer
            writer.finish()
        except BaseException:
            # Closing would make a readable file of half the rows; the folder forgets it first.
            with contextlib.suppress(OSError):
                os.unlink(part)
            writer.abandon()
            raise


def output_kinds(job: Job) -> dict[str, str]:
    """Which columns of an output hold tokens, and which weights that come in runs."""
    kinds: dict[str, str] = {}
    for output in job.outputs:
        kinds[output.name] = "tokens"
        if output.labels:
            kinds[output.labels] = "tokens"
        varied = any(stream.token_weights for stream in output.streams(job.recipe))
        if output.weights and not varied and not job.factors:
            kinds[output.weights] = "runs"
    return kinds


def _writer(
    part: str, schema: pa.Schema, kinds: Mapping[str, str], stores_schema: bool
) -> pq.ParquetWriter:
    """A writer that suits the columns: measured in tests/benchmarks.

    Tokens: bytes split by place and zstd, since a dictionary of codes costs more time and space; in
    pages so large that zstd looks for long matches only, for in a plane of high bytes short ones
    are everywhere and cost more than they save. Runs: plain and zstd, a level up, where it finds
    longer ones. Neither has statistics that anyone could use. All others, weights that differ from
    token to token among them: a dictionary and zstd.
    """
    others: list[str] = []
    encoding: dict[str, str] = {}
    levels: dict[str, int] = {}
    for field in schema:
        leaves = _leaf_paths(field)
        kind = kinds.get(field.name)
        if kind is None:
            others += leaves
        elif kind == "tokens":
            encoding.update(dict.fromkeys(leaves, "BYTE_STREAM_SPLIT"))
        else:
            encoding.update(dict.fromkeys(leaves, "PLAIN"))
            levels.update(dict.fromkeys(leaves, 3))
    return pq.ParquetWriter(
        part,
        schema if stores_schema else schema.remove_metadata(),
        store_schema=stores_schema,
        compression="zstd",
        compression_level=levels or None,
        use_dictionary=others,
        write_statistics=others,
        column_encoding=encoding,
        data_page_size=_PAGE_BYTES,
    )


def _leaf_paths(field: pa.Field) -> list[str]:
    """The names of a field's leaves in a Parquet schema: list<list<int>> a -> a.list.element..."""
    return [path for path, _ in leaves(field)]


State = tuple[Any, ...]
"""What tells a file from one that takes its place."""


class NameTakenError(DataError):
    """The name that a finished file was to get has been given to another one meanwhile."""

    @classmethod
    def of(cls, target: str) -> NameTakenError:
        """The error for a file that was to get this path."""
        return cls(
            "output-in-the-way",
            f"the output {stores.shown(target)} is in the way: it was not there a moment ago",
            expected="the file that this run found, or none",
            advice="let one run at a time write there, then run again",
        )


def file_state(path: str) -> State | None:
    """What tells the file of this path from one that takes its place; None where there is none."""
    state = stores.state_of(path)
    if state is not None and state[-1] is None:
        # A store that tells no time leaves only what is in the file.
        with contextlib.suppress(OSError, pa.ArrowException):
            state = footer_fingerprint(path)
    return state


def is_as_before(state: State | None, before: State | None) -> bool:
    """Whether two states are of one file, though two machines may have told them."""
    # Where both have mounted a file system, its inodes may have other numbers on each.
    return (state and state[-2:]) == (before and before[-2:])


def file_states(paths: Iterable[str | None], folder: str | None) -> list[State | None]:
    """The `file_state` of many files; None for those that have no path.

    folder: the one they are below, which is listed where it is in a store
    """
    listed = folder is not None and stores.is_remote(folder) and stores.kind_of(folder) != "file"
    states = stores.states_below(folder) if folder is not None and listed else {}

    def state(path: str | None) -> State | None:
        if path is None or (listed and path not in states):
            return None
        known = states.get(path)
        return file_state(path) if known is None or known[-1] is None else known

    return [state(path) for path in paths]


@contextlib.contextmanager
def _committed(target: str, replaces: State | None) -> Iterator[str]:
    """A temporary name to write to, which becomes the target when the block ends well."""
    if stores.is_remote(target):
        with _uploaded(target, replaces) as part:
            yield part
        return
    folder, name = os.path.split(target)
    folder = folder or "."
    missing = _missing_folders(folder)
    lock = -1
    part = ""
    try:
        part, lock = _create_part(folder, name)
        remove_leftovers(target)
        yield part
        os.fsync(lock)
        _take_name(part, target, replaces)
        _sync_folder(folder)
    except BaseException as error:
        if part:
            with contextlib.suppress(OSError):
                os.unlink(part)
        for new in missing:
            with contextlib.suppress(OSError):
                os.rmdir(new)
        if isinstance(error, (OSError, pa.ArrowException)):
            raise _unwritable(target, error) from error
        raise
    finally:
        if lock >= 0:
            os.close(lock)


def _take_name(part: str, target: str, replaces: State | None) -> None:
    """Give a finished file its name, which another run may be about to give to its own."""
    with _alone(os.path.dirname(target) or "."):
        if replaces is not None and file_state(target) == replaces:
            os.replace(part, target)
            return
        try:
            # Unlike a rename, a link replaces nothing.
            os.link(part, target)
        except FileExistsError:
            if not _is_link_of(part, target):
                raise NameTakenError.of(target) from None
        except OSError:
            # Not every file system has links; what else is wrong, the rename says too.
            if os.path.lexists(target):
                raise NameTakenError.of(target) from None
            os.rename(part, target)
            return
        os.unlink(part)


def _is_link_of(part: str, target: str) -> bool:
    """Whether the link has been made, and only the answer got lost, as may be over a network."""
    with contextlib.suppress(OSError):
        return os.path.samestat(os.lstat(part), os.lstat(target))
    return False


@contextlib.contextmanager
def _alone(folder: str) -> Iterator[None]:
    """Keep other runs from giving names in a folder, where its file system can."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _uploaded(target: str, replaces: State | None) -> Iterator[str]:
    """A temporary file of this machine's, which is uploaded when the block ends well."""

    def check() -> None:
        if (state := file_state(target)) is not None and state != replaces:
            raise NameTakenError.of(target)

    with tempfile.TemporaryDirectory(prefix="delaytool-") as folder:
        part = os.path.join(folder, "shard.parquet")
        try:
            yield part
            stores.upload(part, target, check)
        except (OSError, pa.ArrowException) as error:
            raise _unwritable(target, error) from error


def _unwritable(target: str, error: BaseException) -> DataError:
    return DataError(
        "unwritable",
        f"cannot be written: {_first_line(error)}",
        advice="check free space, permissions and the way to it, then run again",
        place=Place(shard=stores.shown(target)),
    )


def _missing_folders(folder: str) -> list[str]:
    """The folder and those above it that do not exist, the innermost first."""
    missing = []
    while folder and not os.path.lexists(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    return missing


def _create_part(folder: str, name: str) -> tuple[str, int]:
    """A new temporary file, locked for as long as the descriptor is open."""
    while True:
        os.makedirs(folder, exist_ok=True)
        part = os.path.join(folder, f".{name}.{secrets.token_hex(4)}{stores.PART}")
        try:
            lock = os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
        except FileNotFoundError:
            continue  # Another run that failed has just removed the folder it had made.
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.stat(part).st_ino == os.fstat(lock).st_ino:
                return part, lock
        except (BlockingIOError, FileNotFoundError):
            pass  # Another run took it for a leftover in the moment before the lock.
        os.close(lock)


def remove_leftovers(target: str) -> None:
    """Remove the temporary files of this output that no live run holds."""
    if stores.is_remote(target):
        return
    folder, name = os.path.split(target)
    folder = folder or "."
    for left in os.listdir(folder) if os.path.isdir(folder) else ():
        if not (left.startswith(f".{name}.") and left.endswith(stores.PART)):
            continue
        path = os.path.join(folder, left)
        with contextlib.suppress(OSError):
            lock = os.open(path, os.O_RDWR)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(path)
            finally:
                os.close(lock)


def remove_second_names(*targets: str | None) -> None:
    """Remove temporary names of files whose run was killed while it gave them their final ones."""
    for target in targets:
        if target is None or stores.is_remote(target):
            continue
        with contextlib.suppress(OSError):
            if os.stat(target).st_nlink > 1:
                remove_leftovers(target)


def _sync_folder(folder: str) -> None:
    """Make a new name durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
