"""Finds the shards of a file, a folder, a glob or a URI."""

from __future__ import annotations

import dataclasses
import errno
import glob
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from delaytool.errors import DataError, Place
from delaytool.shards import search, stores, tables
from delaytool.shards.failures import reading


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard: its name relative to the dataset's folder, where it is, and how many bytes it has.

    size: None where nobody has looked yet
    """

    name: str
    path: str
    size: int | None = dataclasses.field(default=None, compare=False)

    @property
    def output_name(self) -> str:
        """What its output is called, so that a search of the output's folder finds it.

        a.pq, a.PARQUET, a.parquet.gz -> a.parquet; part.0 -> part.0.parquet;
        .b/a.parquet, which only a glob finds -> b/a.parquet
        """
        *folders, base = self.name.split("/")
        visible = [part.lstrip("._") or "0" if search.is_hidden(part) else part for part in folders]
        stem, suffix = os.path.splitext(base.lstrip(".") or "0")
        if suffix != ".parquet" and stem.lower().endswith((".parquet", ".parq", ".pq")):
            stem = os.path.splitext(stem)[0]
        elif suffix[1:].isdigit():
            stem += suffix
        return "/".join([*visible, f"{stem}.parquet"])


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


def by_output(shards: Iterable[Shard]) -> dict[str, Shard]:
    """Shards by the names of their outputs; raises DataError for two of one name."""
    found: dict[str, Shard] = {}
    for shard in shards:
        other = found.setdefault(shard.output_name, shard)
        if other != shard:
            raise DataError(
                "output-twice",
                f"its output is that of {other.name} too: {shard.output_name}",
                expected="an output for each shard",
                advice="rename one of the two",
                place=Place(shard=shard.name),
            )
    return found


def renamed(shards: Sequence[Shard]) -> list[str]:
    """What to say of shards whose outputs have other names."""
    others = [shard for shard in shards if shard.output_name != shard.name]
    more = f", and {len(others) - 1:,} more likewise" if others[1:] else ""
    return [f"{first.name} becomes {first.output_name}{more}" for first in others[:1]]


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
