"""Which files of this machine a folder or a glob means.

Links are followed, each folder is searched once and each file read once, so that loops end. A file
that several paths lead to goes by the path with the fewest links, and of those by the one that
sorts first: what lies in the folder itself keeps its name. Folders whose names begin with . or _
hold what others keep for themselves (caches, logs, half-made files); they are left out unless a
glob names them. What is left out is noted.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fnmatch
import heapq
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from delaytool.errors import DataError, Place
from delaytool.shards import stores

_NAMED = 5
"""Names that a note gives; of the others it says how many there are."""


@dataclass(frozen=True)
class Files:
    """The files of a search: their real paths by their names, and what there is to say of it."""

    paths: dict[str, str]
    notes: tuple[str, ...]


def search(root: str, pattern: str, outside: Sequence[str]) -> Files:
    """The files below a folder that a glob means; without one, every *.parquet file.

    root:    a folder; names are relative to it
    pattern: a glob relative to the folder, or nothing; folders that it means are searched too
    outside: folders to leave out, whatever leads there
    raises:  DataError for a file that is meant but is not there, such as a link that leads nowhere
    """
    return _Search(root, pattern, outside).run()


def is_hidden(name: str) -> bool:
    """Whether a folder of this name is left out."""
    return name.startswith((".", "_"))


def folders_left_out(names: Iterable[str]) -> list[str]:
    """What to say of folders that are left out though they hold shards."""
    return _note("folders whose names begin with . or _ are not searched", names)


def files_left_out(names: Iterable[str]) -> list[str]:
    """What to say of hidden shards."""
    return _note("hidden files are not read", names)


def _note(what: str, names: Iterable[str]) -> list[str]:
    """A note on these names, if there are any."""
    ordered = sorted(set(names))
    more = f" and {len(ordered) - _NAMED:,} more" if len(ordered) > _NAMED else ""
    return [f"{what}: {', '.join(ordered[:_NAMED])}{more}"] if ordered else []


@dataclass(frozen=True, order=True)
class _Step:
    """A folder that is to be searched.

    links:  how many links lead there
    prefix: its name, with a slash behind
    at:     the part of the glob that its entries have to fit
    """

    links: int
    prefix: str
    at: int


class _Search:
    """A search on its way, and what it has come upon."""

    def __init__(self, root: str, pattern: str, outside: Sequence[str]) -> None:
        given = [part for part in pattern.split("/") if part]
        self.root, self.patterns = root, _plain([*given, "**", "*.parquet"])
        names_files = bool(given) and given[-1] != "**"
        self.ends = {len(self.patterns) - 1, *([len(self.patterns) - 3] if names_files else [])}
        self.outside = [os.path.realpath(each) for each in outside if not stores.is_remote(each)]
        self.waiting = [_Step(0, "", 0)]
        self.searched: dict[tuple[str, int], str] = {}
        self.found: dict[str, tuple[int, str]] = {}
        self.again: list[str] = []
        self.hidden_folders: list[str] = []
        self.hidden_files: list[str] = []
        self.broken: list[str] = []
        self.missing: list[str] = []

    def run(self) -> Files:
        """Search until no folder is left."""
        while self.waiting:
            self._search(heapq.heappop(self.waiting))
        if self.missing:
            raise _not_there(min(self.missing))
        notes = [
            *folders_left_out(filter(self._holds_more, self.hidden_folders)),
            *files_left_out(name for name in self.hidden_files if not self._is_found(name)),
            *_note("links to what is read anyway are not followed", self.again),
            *_note("links that lead nowhere are left out", self.broken),
        ]
        return Files({name: path for path, (_, name) in self.found.items()}, tuple(notes))

    def _search(self, step: _Step) -> None:
        """Look at each entry of a folder, unless another path has led there before."""
        real = os.path.realpath(os.path.join(self.root, step.prefix))
        before = self.searched.get((real, step.at))
        if before is not None and before != step.prefix:
            self.again.append(step.prefix.rstrip("/"))
        if before is not None or self._is_outside(real):
            return
        self.searched[real, step.at] = step.prefix
        places = [step.at]
        while self.patterns[places[-1]] == "**":
            places.append(places[-1] + 1)
        with _listing(real, step.prefix or self.root) as entries:
            for entry in entries:
                links = step.links + entry.is_symlink()
                # Unlike an entry, os.path takes a link to itself for one that leads nowhere.
                if os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir():
                    for at in places:
                        self._enter(entry.name, _Step(links, f"{step.prefix}{entry.name}/", at))
                else:
                    self._look_at(entry, links, step.prefix + entry.name, places)

    def _enter(self, base: str, step: _Step) -> None:
        """Have a folder searched, if it is one of those that are meant."""
        if self.patterns[step.at] == "**":
            if is_hidden(base):
                self.hidden_folders.append(step.prefix.rstrip("/"))
            else:
                heapq.heappush(self.waiting, step)
        elif step.at + 1 < len(self.patterns) and _fits(base, self.patterns[step.at]):
            heapq.heappush(self.waiting, dataclasses.replace(step, at=step.at + 1))

    def _look_at(self, entry: os.DirEntry[str], links: int, name: str, places: list[int]) -> None:
        """Note a file, if it is one of those that are meant."""
        is_link = entry.is_symlink()
        if any(_fits(entry.name, self.patterns[at]) for at in self.ends.intersection(places)):
            if os.path.isfile(entry.path) if is_link else entry.is_file():
                self._add(os.path.realpath(entry.path) if is_link else entry.path, links, name)
            else:
                self.missing.append(name)
        elif not any(self.patterns[at] == "**" for at in places):
            return
        elif not entry.name.startswith("."):
            if is_link and not os.path.exists(entry.path):
                self.broken.append(name)
        elif entry.name.endswith(".parquet"):
            self.hidden_files.append(name)

    def _add(self, path: str, links: int, name: str) -> None:
        if self._is_outside(path):
            return
        way = links, name
        before = self.found.setdefault(path, way)
        if before != way:
            self.found[path] = min(before, way)
            self.again.append(max(before, way)[1])

    def _is_outside(self, path: str) -> bool:
        return any(path == each or path.startswith(f"{each}/") for each in self.outside)

    def _is_found(self, name: str) -> bool:
        path = os.path.realpath(os.path.join(self.root, name))
        return path in self.found or self._is_outside(path)

    def _holds_more(self, name: str) -> bool:
        """Whether there are shards in a folder that has not been searched."""
        return any(not self._is_found(file) for file in self._shards_in(name))

    def _shards_in(self, name: str) -> Iterator[str]:
        for where, _, files in os.walk(os.path.join(self.root, name)):
            for file in files:
                if file.endswith(".parquet"):
                    yield os.path.relpath(os.path.join(where, file), self.root)


@contextlib.contextmanager
def _listing(folder: str, name: str) -> Iterator[Iterator[os.DirEntry[str]]]:
    """The entries of a folder; raises DataError when it cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            yield entries
    except OSError as error:
        raise DataError(
            "unreadable",
            f"cannot be searched: {error.strerror}",
            expected="a folder that can be listed",
            advice="check its permissions, or name the other files by a quoted glob",
            place=Place(shard=name),
        ) from error


def _plain(parts: list[str]) -> list[str]:
    """The parts of a glob without any that add nothing: a, **, **, b -> a, **, b"""
    return [part for i, part in enumerate(parts) if part != "**" or parts[i - 1 : i] != ["**"]]


def _fits(name: str, pattern: str) -> bool:
    """Whether a name fits a part of a glob; as in a shell, hidden ones fit only if it says so."""
    return fnmatch.fnmatchcase(name, pattern) and (name[0] != "." or pattern[0] == ".")


def _not_there(name: str) -> DataError:
    return DataError(
        "unreadable",
        "cannot be read: No such file: it is a link that leads nowhere, or no file at all",
        expected="a complete Parquet file",
        advice="restore what the link leads to, or leave it out",
        place=Place(shard=name),
    )
