"""What becomes of Parquet's types on the way through Arrow, and which timestamps Arrow can hold.

Arrow has no type for some of what Parquet knows: a column of such a type comes out with another
one. `CARRIED` is the list of those that come out as they went in. What any other becomes is
reported before a run, by what the pyarrow at hand would write.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from delaytool.batches.types import leaf_arrays, leaves, storage
from delaytool.errors import DataError, Place

CARRIED = frozenset(
    {
        ("BOOLEAN", "NONE"),
        ("INT32", "NONE"),
        ("INT32", "INT"),
        ("INT32", "DATE"),
        ("INT32", "UNKNOWN"),
        ("INT64", "NONE"),
        ("INT64", "INT"),
        ("INT64", "TIMESTAMP"),
        ("FLOAT", "NONE"),
        ("DOUBLE", "NONE"),
        ("BYTE_ARRAY", "NONE"),
        ("BYTE_ARRAY", "STRING"),
        ("FIXED_LEN_BYTE_ARRAY", "NONE"),
        ("FIXED_LEN_BYTE_ARRAY", "DECIMAL"),
        ("FIXED_LEN_BYTE_ARRAY", "FLOAT16"),
    }
)
"""Physical and logical types that every pyarrow since 18 writes as it has read them. Not among them
is what depends on its version: TIME (adjusted to UTC or not), UUID and JSON."""


@dataclass(frozen=True)
class Leaf:
    """A leaf of a Parquet file, and of which of its columns it is one.

    logical: with its parameters: "TIME(isAdjustedToUTC=true, timeUnit=microseconds)"
    kind:    the type that Arrow reads
    """

    column: str
    path: str
    physical: str
    logical: str
    kind: pa.DataType

    def __str__(self) -> str:
        """The types that the file gives it: INT32 DECIMAL(precision=9, scale=2)"""
        return f"{self.physical} {self.logical}"

    @property
    def is_carried(self) -> bool:
        """Whether every pyarrow carries its type."""
        return (self.physical, self.name) in CARRIED

    @property
    def is_int96(self) -> bool:
        """Whether it holds timestamps of 96 bits."""
        return self.physical == "INT96"

    @property
    def is_bytes(self) -> bool:
        """Whether each of its values is read with as many bytes as it has."""
        kind = storage(self.kind)
        texts = pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view
        others = pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view
        return self.physical == "BYTE_ARRAY" and any(test(kind) for test in (*texts, *others))

    @property
    def width(self) -> int:
        """Bytes of a value that is read from a fixed number of them; 0 for others."""
        if self.physical != "FIXED_LEN_BYTE_ARRAY" or pa.types.is_dictionary(self.kind):
            return 0
        return max(1, int(storage(self.kind).bit_width) // 8)

    @property
    def name(self) -> str:
        """Its logical type without the parameters."""
        return self.logical.partition("(")[0]


def leaves_of(file: pq.ParquetSchema, schema: pa.Schema) -> list[Leaf]:
    """The leaves of a file, in its order.

    schema: what Arrow reads from it
    """
    kinds = [(field.name, kind) for field in schema for _, kind in leaves(field)]
    found = []
    for number, (column, kind) in zip(range(len(file)), kinds, strict=False):
        leaf = file.column(number)
        name, bracket, parameters = str(leaf.logical_type).partition("(")
        name = "UNKNOWN" if name == "Null" else name.upper()
        logical = name + bracket + parameters
        found.append(Leaf(column, leaf.path, leaf.physical_type, logical, kind))
    return found


def changes(
    file: pq.ParquetSchema, schema: pa.Schema, columns: Collection[str]
) -> dict[str, tuple[str, str]]:
    """Which types of some columns do not come out as they went in: what they are and become.

    schema:  what Arrow reads from the file
    columns: those that are read and written
    returns: both types, by the path of each leaf, or of each group that has a type of its own

    {"wait.list.element": ("INTERVAL", "fixed_size_binary[12]")}
    """
    ours = [leaf for leaf in leaves_of(file, schema) if leaf.column in columns]
    found = {
        path: (kind, "struct")
        for path, kind in _typed_groups(file)
        if any(leaf.column == path or leaf.path.startswith(f"{path}.") for leaf in ours)
    }
    if all(leaf.is_carried for leaf in ours):
        return found
    fields = pa.schema([field for field in schema if field.name in columns])
    written = pa.BufferOutputStream()
    pq.ParquetWriter(written, fields).close()
    new = leaves_of(pq.ParquetFile(pa.BufferReader(written.getvalue())).schema, fields)
    for leaf, becomes in zip(ours, new, strict=True):
        if leaf.is_carried or (leaf.physical, leaf.logical) == (becomes.physical, becomes.logical):
            continue
        if leaf.name == becomes.name:
            found[leaf.path] = str(leaf), str(becomes)
        else:
            found[leaf.path] = leaf.physical if leaf.is_int96 else leaf.name, str(becomes.kind)
    return found


def _typed_groups(file: pq.ParquetSchema) -> Iterator[tuple[str, str]]:
    """The groups of a file with a type of their own, which lists and maps are not.

    pyarrow tells of groups only in the text of a schema.
    """
    names: list[str] = []
    for indent, name, kind in _GROUP.findall(str(file)):
        names[len(indent) // 2 - 1 :] = [name]
        if kind and kind not in ("List", "Map"):
            yield ".".join(names), kind.upper()


_GROUP = re.compile(r"^((?:  )+)\w+ group field_id=-?\d+ (.+?)(?: \((\w+).*\))? \{$", re.MULTILINE)


def columns_in_microseconds(
    files: Sequence[pq.ParquetFile], leaves_in_order: Sequence[Leaf], rows: int
) -> list[str]:
    """The columns whose INT96 timestamps are to be read as microseconds.

    Spark writes microseconds, and reads no nanoseconds. Arrow reads INT96 as nanoseconds
    unless told otherwise, in 64 bits: 9999-12-31 becomes 1816.

    files:           the file, opened to read them as nanoseconds, microseconds and seconds
    leaves_in_order: its leaves
    rows:            how many to read at a time
    raises:          DataError for a column that neither unit holds
    """
    names = list(dict.fromkeys(leaf.column for leaf in leaves_in_order if leaf.is_int96))
    ours = [leaf for leaf in leaves_in_order if leaf.column in names]
    fine = dict.fromkeys((leaf.path for leaf in ours), True)
    coarse = dict(fine)
    readings = [file.iter_batches(rows, columns=names, use_threads=False) for file in files]
    for batches in zip(*readings, strict=True):
        arrays = (
            [leaf for column in batch.columns for leaf in leaf_arrays(column)] for batch in batches
        )
        for leaf, *parts in zip(ours, *arrays, strict=True):
            if leaf.is_int96:
                as_fine, as_coarse = _held(*(part.drop_null().cast(pa.int64()) for part in parts))
                fine[leaf.path] &= as_fine
                coarse[leaf.path] &= as_coarse
    return [name for name in names if _is_coarse(name, ours, fine, coarse)]


def _held(nanoseconds: pa.Array, microseconds: pa.Array, seconds: pa.Array) -> tuple[bool, bool]:
    """Whether 64 bits hold the same timestamps as nanoseconds, and exactly as microseconds."""
    ns, us, s = (array.to_numpy() for array in (nanoseconds, microseconds, seconds))
    # Seconds of an INT96 always fit, and differences are right however often the others wrapped.
    unwrapped = us // 10**6 == s
    fine = unwrapped & (ns // 1000 == us)
    coarse = unwrapped & (ns - us * 1000 == 0)
    return bool(fine.all()), bool(coarse.all())


def _is_coarse(
    name: str, ours: Sequence[Leaf], fine: Mapping[str, bool], coarse: Mapping[str, bool]
) -> bool:
    """Whether a column is to be read as microseconds; raises DataError where they don't do."""
    paths = [leaf.path for leaf in ours if leaf.column == name]
    if all(coarse[path] for path in paths):
        return True
    if all(fine[path] for path in paths):
        return False
    raise DataError(
        "timestamps",
        "INT96 timestamps that 64 bits hold neither as nanoseconds nor as whole microseconds",
        expected="timestamps from 1677-09-22 to 2262-04-11, or whole microseconds",
        advice="store them as TIMESTAMP of microseconds, or leave the column out",
        place=Place(column=next(path for path in paths if not fine[path])),
    )
