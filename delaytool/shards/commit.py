"""Gives a file its name when it is complete, or never.

A shard that is written grows under a temporary name in its own folder, locked while it grows, and
gets its final name when it is complete and on disk. Whatever goes wrong before that leaves nothing
under the final name. A temporary file that nobody holds the lock of is left over from a run that
was killed; the next run on that shard removes it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from delaytool.errors import DataError
from delaytool.shards import stores
from delaytool.shards.failures import unwritable
from delaytool.shards.read import footer_fingerprint

_SLOTS = 16
"""Temporary files of one output that are looked for: as many as runs that write it at once."""
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
    """Whether two states are of one file, though two machines may have reported them."""
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
def committed(target: str, replaces: State | None) -> Iterator[str]:
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
            raise unwritable(target, error) from error
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
def no_empty_folders(targets: Iterable[str]) -> Iterator[None]:
    """Remove folders that were made for these files and are empty when the block fails.

    A file's own failure removes those that it made; but of two that fail at once, one may have
    found the other's folder there, and the other may have found it in use.
    """
    folders = {os.path.dirname(target) for target in targets if not stores.is_remote(target)}
    made = {folder for each in folders for folder in _missing_folders(each)}
    try:
        yield
    except BaseException:
        for folder in sorted(made, key=len, reverse=True):
            with contextlib.suppress(OSError):
                os.rmdir(folder)
        raise


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
            raise unwritable(target, error) from error


def _missing_folders(folder: str) -> list[str]:
    """The folder and those above it that do not exist, the innermost first."""
    missing = []
    while folder and not os.path.lexists(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    return missing


def _create_part(folder: str, name: str) -> tuple[str, int]:
    """A new temporary file, locked for as long as the descriptor is open.

    Its name follows from the target's, so that what is left over is found without a look at the
    other files of the folder. A run that finds the first one held by another takes the next.
    """
    slot = 0
    while True:
        os.makedirs(folder, exist_ok=True)
        part = _part_at(folder, name, slot)
        try:
            lock = os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
        except FileNotFoundError:
            continue  # Another run that failed has just removed the folder it had made.
        except FileExistsError:
            slot += not _removed(part)
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.stat(part).st_ino == os.fstat(lock).st_ino:
                return part, lock
        except (BlockingIOError, FileNotFoundError):
            pass  # Another run took it for a leftover in the moment before the lock.
        os.close(lock)


def _part_at(folder: str, name: str, slot: int) -> str:
    return os.path.join(folder, f"{stores.part_prefix(name)}{slot:08x}{stores.PART}")


def _removed(part: str) -> bool:
    """Remove a temporary file unless a live run holds it; whether it is gone."""
    try:
        lock = os.open(part, os.O_RDWR)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Under the lock nobody else removes it, but somebody may have before, and made another.
        if os.stat(part).st_ino == os.fstat(lock).st_ino:
            os.unlink(part)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    finally:
        os.close(lock)
    return not os.path.lexists(part)


def remove_leftovers(target: str) -> None:
    """Remove the temporary files of this output that no live run holds."""
    if stores.is_remote(target):
        return
    folder, name = os.path.split(target)
    for slot in range(_SLOTS):
        _removed(_part_at(folder or ".", name, slot))


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
