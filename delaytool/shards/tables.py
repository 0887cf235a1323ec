"""Tables of other formats, whose folders hold more rows than the table has.

A Delta, Iceberg or Hudi table is a folder of Parquet files and a log that says which of them, and
which of their rows, still count. What was deleted or replaced is still a file there, which the next
clean-up removes, as it may remove any file that the log does not know.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from delaytool.errors import DataError, Place
from delaytool.shards import stores

_LOGS = {"_delta_log": "Delta", ".hoodie": "Hudi"}
"""The folders by which a table is known. An Iceberg table is known by metadata/*.metadata.json,
beside data/ or other files of its own."""


@dataclass(frozen=True)
class Table:
    """A table: where it is, and of what format."""

    path: str
    format: str

    def __str__(self) -> str:
        """Its format with an article: a Delta table, an Iceberg table."""
        return f"{'an' if self.format == 'Iceberg' else 'a'} {self.format} table"


def check_input(path: str, files: Iterable[str] = ()) -> None:
    """Raise DataError when a file or folder that is read is a table, holds one or lies in one.

    files: paths of the shards that are in it, which stand for the folders that it holds
    """
    known: dict[str, str | None] = {}
    for folder in dict.fromkeys([path, *map(os.path.dirname, files)]):
        table = _table_around(folder, known)
        if table is not None:
            raise _no_input(table, path)


def check_names(path: str, names: Iterable[str], shards: Iterable[str]) -> None:
    """The same for a folder of a store, by the names of all its files and of those to read."""
    tables = _tables_among(names)
    for shard in shards if tables else ():
        for above in _above(shard):
            if above in tables:
                table = stores.join(path, above) if above else path
                raise _no_input(Table(table, tables[above]), path)


def check_output(path: str) -> None:
    """Raise DataError when a file or folder that is written lies in a table."""
    table = _table_around(path, {})
    if table is None:
        return
    raise DataError(
        "table-format",
        f"it is {table}, whose clean-up removes files that it does not know",
        expected="a folder that belongs to no table, to write into",
        advice=f"write to a folder outside of {stores.shown(table.path)}",
        place=Place(shard=stores.shown(table.path)),
    )


def _no_input(table: Table, path: str) -> DataError:
    shown = stores.shown(path) if stores.is_remote(path) else glob.escape(path)
    stem, suffix = os.path.splitext(shown)
    is_file = stores.kind_of(path) == "file"
    pattern = f"{stem}*{suffix}" if is_file else f"{shown.rstrip('/')}/**/*.parquet"
    return DataError(
        "table-format",
        f"it is {table}, where rows that were deleted or replaced are still files",
        expected="Parquet files of which every row counts",
        advice=f"export its rows with a reader of {table.format} tables, or name the files that "
        f"you want by a quoted glob, such as '{pattern}'",
        place=Place(shard=stores.shown(table.path)),
    )


def _table_around(path: str, known: dict[str, str | None]) -> Table | None:
    """The table that a folder is, or that a file or folder lies in.

    known: the formats of folders that have been looked at
    """
    if path.startswith(("http://", "https://")):
        return None  # There are no folders to look at.
    starts = [path] if stores.is_remote(path) else [os.path.abspath(path), os.path.realpath(path)]
    try:
        for start in dict.fromkeys(starts):
            for folder in (start, *stores.parents(start)):
                if folder not in known:
                    known[folder] = _format_of(folder)
                if (found := known[folder]) is not None:
                    return Table(folder, found)
    except OSError:
        return None  # Who may read a folder of a store need not be let into those above it.
    return None


def _format_of(folder: str) -> str | None:
    """The format of the table that a folder is; None where it is none."""
    for log, found in _LOGS.items():
        if stores.kind_of(stores.join(folder, log)) == "folder":
            return found
    names = [f"metadata/{name}" for name in _names_in(stores.join(folder, "metadata"))]
    if any(map(_is_metadata, names)) and stores.kind_of(stores.join(folder, "data")) == "folder":
        names.append("data/")
    return _tables_among(names).get("")


def _names_in(folder: str) -> list[str]:
    if stores.is_remote(folder):
        is_there = stores.kind_of(folder) == "folder"
        return [name for name, _, _ in stores.files_below(folder)] if is_there else []
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _tables_among(names: Iterable[str]) -> dict[str, str]:
    """The tables by their folders: ["t/_delta_log/0.json", "t/a.parquet"] -> {"t": "Delta"}"""
    tables: dict[str, str] = {}
    described, filled = set(), set()
    for name in names:
        parts = name.split("/")
        for depth, part in enumerate(parts[:-1]):
            if part in _LOGS:
                tables.setdefault("/".join(parts[:depth]), _LOGS[part])
            elif part == "data":
                filled.add("/".join(parts[:depth]))
        if parts[-2:-1] == ["metadata"]:
            if _is_metadata(name):
                described.add("/".join(parts[:-2]))
            elif name.endswith(".avro"):
                filled.add("/".join(parts[:-2]))
    return dict.fromkeys(described & filled, "Iceberg") | tables


def _is_metadata(name: str) -> bool:
    """Whether a file of this name is what describes an Iceberg table, compressed or not."""
    return name.endswith((".metadata.json", ".metadata.json.gz"))


def _above(name: str) -> Iterator[str]:
    """The folders above a name, the innermost first: a/b/c -> a/b, a, and the empty name."""
    while name:
        name = name.rpartition("/")[0]
        yield name
