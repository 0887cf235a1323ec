"""A shard of text and one of codes, read as if they were one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from delaytool.batches.column_options import ColumnOptions
from delaytool.batches.digest import first_difference
from delaytool.batches.fields import tops_of
from delaytool.batches.job import Job
from delaytool.batches.metadata import joined_metadata
from delaytool.batches.types import batch_of
from delaytool.batches.values import value_of
from delaytool.errors import DataError, Place
from delaytool.shards.bounded import Rows, bounded, part_of
from delaytool.shards.failures import reading
from delaytool.shards.find import Shard
from delaytool.shards.read import OpenShard, open_shard
from delaytool.shards.record import Source
from delaytool.shards.sources import paired_schema


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
    def is_small(self) -> bool:
        """Whether both have so few rows that a thread for them is not worth its start."""
        return self.text.is_small and self.codes.is_small

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
        return joined_metadata(self.text.entries, self.codes.entries, names)

    @property
    def sources(self) -> tuple[Source, ...]:
        """What a record says of the two shards."""
        return self.text.sources + self.codes.sources

    def changed_types(self, columns: Collection[str]) -> dict[str, tuple[str, str]]:
        """Types of these columns that do not come out as they went in: see parquet_types."""
        return {**self.codes.changed_types(columns), **self.text.changed_types(columns)}

    def bytes_of_columns(self) -> dict[str, int]:
        """How many bytes of both shards each column takes, as their footers say."""
        return {**self.codes.bytes_of_columns(), **self.text.bytes_of_columns()}

    def check_unchanged(self) -> None:
        """Raise DataError when one of the shards is no longer the file that was opened."""
        self.text.check_unchanged()
        self.codes.check_unchanged()

    def batches(
        self, job: Job, added: bool = False, names: Sequence[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """The rows of both in batches whose borders follow from the rows alone."""
        with reading(self.shard.name):
            schema = part_of(self.schema, names)
            yield from bounded(self.small_batches(names, coded=True), schema, job, added)

    def small_batches(
        self, names: Sequence[str] | None = None, *, coded: bool = False
    ) -> Iterator[pa.RecordBatch]:
        """The rows of both, a few at a time; with these columns only, if they are given.

        coded: whether columns of long strings that repeat may come as dictionaries of them
        Raises DataError for the first key that differs.
        """
        names = None if names is None else tops_of(self.schema, names)
        expected, row, of_text = self.rows, 0, set(self.text.schema.names)
        schema = part_of(self.schema, names)
        codes = Rows(self._batches_of_codes(names, coded))
        for text in self.text.small_batches(self._read_of(self.text, names), coded=coded):
            ends = row + text.num_rows
            for other in codes.parts(text.num_rows):
                part = text.slice(row + text.num_rows - ends, other.num_rows)
                self._check_keys(part, other, row)
                both = [(part if name in of_text else other).column(name) for name in schema.names]
                yield batch_of(both, schema)
                row += part.num_rows
            if row < ends:
                raise DataError(
                    "rows-differ", f"the codes end at row {row}", expected=f"{expected} rows"
                )

    def _batches_of_codes(
        self, names: Sequence[str] | None, coded: bool
    ) -> Iterator[pa.RecordBatch]:
        with reading(f"the codes of {self.shard.name}"):
            yield from self.codes.small_batches(self._read_of(self.codes, names), coded=coded)

    def _read_of(self, part: OpenShard, names: Sequence[str] | None) -> list[str] | None:
        """Which columns to read of one of the two: the key too, and at least one to count rows."""
        if names is None:
            return None
        there: list[str] = part.schema.names
        return [name for name in there if name in names or name == self.key] or there[:1]

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
                    advice="fill it in, or name another column with `key`",
                    place=Place(row=row + keys.is_null().index(True).as_py(), column=self.key),
                )
        if ours.type == theirs.type:
            differs = first_difference(ours, theirs)
        else:
            pairs = zip(map(value_of, ours), map(value_of, theirs), strict=True)
            differs = next((i for i, (one, other) in enumerate(pairs) if one != other), None)
        if differs is not None:
            one, other = value_of(ours[differs]), value_of(theirs[differs])
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


@contextlib.contextmanager
def open_source(shard: Shard, codes: Shard | None, keys: Job | ColumnOptions) -> Iterator[Opened]:
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


def _key_of_pair(text: OpenShard, codes: OpenShard, keys: Job | ColumnOptions) -> str | None:
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
            advice="name a column of both with `key`, or pair rows by their order with "
            "`no_key=True`",
            place=Place(shard=f"the codes of {name}" if in_text else name),
        )
    kinds = [part.schema.field(key).type for part in (text, codes)]
    if len(set(map(_kind_of_key, kinds))) > 1:
        raise DataError(
            "column-type",
            f"has the type {kinds[0]} in the shard of text and {kinds[1]} in that of codes",
            expected="keys of one type",
            advice="cast one of them, or name another column with `key`",
            place=Place(shard=text.shard.name, column=key),
        )
    return key


def _kind_of_key(kind: pa.DataType) -> str:
    """What keys of a type are, whatever their width; keys of two kinds are never the same."""
    if pa.types.is_timestamp(kind):
        return f"timestamp[{kind.tz}]"
    for is_such, name in (
        (pa.types.is_date, "date"),
        (pa.types.is_time, "time"),
        (pa.types.is_duration, "duration"),
    ):
        if is_such(kind):
            return name
    if pa.types.is_dictionary(kind):
        return _kind_of_key(kind.value_type)
    if pa.types.is_integer(kind):
        return "integer"
    if kind in (pa.string(), pa.large_string(), pa.string_view()):
        return "string"
    if kind in (pa.binary(), pa.large_binary(), pa.binary_view()):
        return "binary"
    return str(kind)


def key_in(opened: Opened, keys: Job | ColumnOptions) -> str | None:
    """The column that names a row of an open shard: the given one, else `id` where there is one."""
    if isinstance(opened, PairedShard):
        return opened.key
    if keys.key is None and not keys.by_order and "id" in opened.schema.names:
        return "id"
    return keys.key


def is_by_order_alone(opened: Opened, keys: Job | ColumnOptions) -> bool:
    """Whether these are rows of text and codes that only their order pairs, and nobody said so."""
    return isinstance(opened, PairedShard) and opened.key is None and not keys.by_order


def rows_of(
    pairs: Iterable[Pair],
    keys: Job | ColumnOptions,
    names_in: Callable[[pa.Schema], list[str]] | None = None,
) -> Iterator[pa.RecordBatch]:
    """The rows of several shards, as far as somebody asks for them.

    keys:     which column names a row
    names_in: which columns of a shard to read; all when not given
    """
    for shard, codes in pairs:
        with open_source(shard, codes, keys) as opened, reading(shard.name):
            yield from opened.small_batches(names_in and names_in(opened.schema))
