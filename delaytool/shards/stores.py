"""Files wherever they are: on this machine, or behind a URI.

A path without a scheme is local, and the functions here do with it what `os` does. `s3://`,
`gs://` and Azure's URIs go through pyarrow's own file systems, everything else through fsspec.
Endpoints, regions and keys come from the URI's query or the usual environment variables; `shown`
is what messages may say of a URI.

What an object store shows under a name must be complete. pyarrow publishes what there is of a
stream when the stream is closed or dropped, whatever came in between; so an upload goes to a
hidden name first, and the store itself copies it to the final one, which is atomic.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Literal
from urllib.parse import unquote_to_bytes

from delaytool.errors import DataError, Place, RecipeError

ARROW_SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss", "hdfs", "viewfs")
PART = ".delaytool-part"
"""How the names of files end that are not complete yet."""
_LONGEST_NAME = 255
"""Bytes, on every usual file system."""
_CHUNK = 8 << 20
_FILE_URI = re.compile(r"file:(?://([^/]*))?(/.*)", re.IGNORECASE | re.DOTALL)
"""file:///a and, as Java writes it, file:/a. What is special in a path is written as %20 there; an
unescaped ? is a glob's."""


def is_remote(path: str) -> bool:
    """Whether a path is a URI of something that is no local file."""
    return "://" in path and not _FILE_URI.match(path)


def plain(path: str) -> str:
    """A path as the rest of this module takes it: file:///a%20b -> /a b, s3://b/a/ -> s3://b/a

    Raises RecipeError for a file URI of another machine.
    """
    if found := _FILE_URI.match(path):
        host, rest = found.groups()
        if host not in (None, "", "localhost"):
            raise RecipeError(
                f"{path} names the machine {host}, expected file:// with an absolute path behind "
                f"it: file:///{host}{rest}"
            )
        return os.fsdecode(unquote_to_bytes(rest))
    if not is_remote(path):
        return path
    head, query = _split(path)
    return head.rstrip("/") + query


def shown(path: str) -> str:
    """A path as messages show it: without what a URI may hold of keys and tokens."""
    if not is_remote(path):
        return path
    scheme, place, inner, _ = _parts(path)
    return f"{scheme}://{place.rpartition('@')[2]}{inner}"


def without_secrets(text: str) -> str:
    """A message of somebody else's with every URI in it as `shown`."""
    return re.sub(r"\w+://[^\s'\"]+", lambda match: shown(match[0]), text)


def join(folder: str, name: str) -> str:
    """A path in a folder: s3://b/a?region=x, c/d.parquet -> s3://b/a/c/d.parquet?region=x"""
    if not is_remote(folder):
        return os.path.join(folder, *name.split("/"))
    head, query = _split(folder)
    return f"{head}/{name}{query}"


def part_prefix(name: str) -> str:
    """How the name begins of a file that becomes one of this name, but is not complete yet.

    a.parquet -> .a.parquet. before eight digits and PART; of a name that leaves no room for
    these, the beginning and a hash.
    """
    whole = os.fsencode(name)
    room = _LONGEST_NAME - len(f"..12345678{PART}")
    if len(whole) <= room:
        return f".{name}."
    digest = hashlib.sha256(whole).hexdigest()[:16]
    kept = whole[: room - len(digest) - 1].decode(errors="ignore")
    return f".{kept}~{digest}."


def base_name(path: str) -> str:
    """The last part of a path."""
    return os.path.basename(_split(path)[0] if is_remote(path) else path)


def parents(path: str) -> Iterator[str]:
    """The folders above a path, the innermost first: s3://b/a/c?x=y -> s3://b/a?x=y, s3://b?x=y"""
    if not is_remote(path):
        yield from map(str, Path(os.path.abspath(path)).parents)
        return
    head, query = _split(path)
    scheme, _, rest = head.partition("://")
    while rest := rest.rstrip("/").rpartition("/")[0]:
        yield f"{scheme}://{rest}{query}"


def _split(uri: str) -> tuple[str, str]:
    head, mark, query = uri.partition("?")
    return head, mark + query


def _parts(uri: str) -> tuple[str, str, str, str]:
    """Scheme, bucket or host, path with its slash, and query with its mark.

    A # is part of the path: names may have one, and nothing here has fragments.
    """
    head, query = _split(uri)
    scheme, _, rest = head.partition("://")
    place, slash, inner = rest.partition("/")
    return scheme.lower(), place, slash + inner, query


def same(one: str, other: str) -> bool:
    """Whether two paths are of the same file or folder."""
    return resolved(one) == resolved(other)


def is_within(path: str, folder: str) -> bool:
    """Whether a path is of something in a folder."""
    return resolved(path).startswith(resolved(folder).rstrip("/") + "/")


def resolved(path: str) -> str:
    """The one path of a file or folder that may have several: without links, keys and tokens."""
    return shown(path).rstrip("/") if is_remote(path) else os.path.realpath(path)


def kind_of(path: str) -> Literal["file", "folder", "other"] | None:
    """What there is under a path; None for nothing. Links that lead nowhere are other."""
    if not is_remote(path):
        if os.path.isfile(path):
            return "file"
        return "folder" if os.path.isdir(path) else "other" if os.path.lexists(path) else None
    from pyarrow.fs import FileType

    filesystem, inner = _connect(path)
    with _failing(path):
        kind = filesystem.get_file_info(inner).type
    return {FileType.File: "file", FileType.Directory: "folder"}.get(kind)  # type: ignore[return-value]


def state_of(path: str) -> tuple[Any, ...] | None:
    """What becomes another when a file changes or gives way to another; None where there is none.

    Of a link it is the link's own.
    """
    if not is_remote(path):
        try:
            found = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns
    from pyarrow.fs import FileType

    filesystem, inner = _connect(path)
    with _failing(path):
        info = filesystem.get_file_info(inner)
    return None if info.type == FileType.NotFound else _state(info)


def states_below(folder: str) -> dict[str, tuple[Any, ...]]:
    """The `state_of` every file below a remote folder, by its path."""
    from pyarrow.fs import FileSelector, FileType

    filesystem, inner = _connect(folder)
    with _failing(folder):
        infos = filesystem.get_file_info(FileSelector(inner, recursive=True, allow_not_found=True))
    files = (info for info in infos if info.type == FileType.File)
    return {join(folder, info.path[len(inner) :].lstrip("/")): _state(info) for info in files}


def _state(info: Any) -> tuple[Any, ...]:
    # Some stores tell seconds of one file and milliseconds of a folder's.
    return info.size, None if info.mtime_ns is None else info.mtime_ns // 10**9


def size_of(path: str) -> int:
    """A file's size in bytes."""
    if not is_remote(path):
        return os.path.getsize(path)
    filesystem, inner = _connect(path)
    with _failing(path):
        return int(filesystem.get_file_info(inner).size)


def open_input(path: str) -> IO[bytes]:
    """A file, open for reading anywhere in it."""
    if not is_remote(path):
        return open(path, "rb")
    filesystem, inner = _connect(path)
    with _failing(path):
        opened: IO[bytes] = filesystem.open_input_file(inner)
        return opened


def as_arrow_takes(path: str, mode: Literal["rb", "wb"]) -> Any:
    """A local path as pyarrow opens it, which takes no name that is not UTF-8: that as a file."""
    import pyarrow as pa

    try:
        path.encode()
    except UnicodeEncodeError:
        return pa.OSFile(os.fsencode(path), mode)
    return path


def remove(path: str) -> None:
    """Remove a file."""
    if not is_remote(path):
        os.unlink(path)
        return
    filesystem, inner = _connect(path)
    with _failing(path):
        filesystem.delete_file(inner)


def files_below(folder: str) -> Iterator[tuple[str, str, int]]:
    """Every file below a remote folder: its name relative to the folder, its path, its size."""
    from pyarrow.fs import FileSelector, FileType

    filesystem, inner = _connect(folder)
    with _failing(folder):
        infos = filesystem.get_file_info(FileSelector(inner, recursive=True))
    for info in infos:
        if info.type == FileType.File:
            name = info.path[len(inner) :].lstrip("/")
            yield name, join(folder, name), int(info.size or 0)


def upload(local: str, target: str, check: Callable[[], None] | None = None) -> None:
    """Bring a local file to a store, where it is complete under its name, or not at all.

    check: called when only the name is left to give; what it raises leaves nothing behind
    """
    filesystem, inner = _connect(target)
    folder, _, name = inner.rpartition("/")
    part = f"{folder}/{part_prefix(name)}{secrets.token_hex(4)}{PART}"
    try:
        with _failing(target), open(local, "rb") as source:
            _make_folder(filesystem, folder)
            with filesystem.open_output_stream(part) as sink:
                while chunk := source.read(_CHUNK):
                    sink.write(chunk)
            if check is not None:
                check()
            filesystem.move(part, inner)
    except BaseException:
        with contextlib.suppress(Exception):
            filesystem.delete_file(part)
        raise


def _make_folder(filesystem: Any, folder: str) -> None:
    """Make a folder where the store has such things; objects need none."""
    if filesystem.type_name not in ("s3", "gcs"):
        filesystem.create_dir(folder, recursive=True)


class StoreError(OSError):
    """A store did not do what it was asked for; `why` is what it said, without keys."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path}: {why}")
        self.why = why


@contextlib.contextmanager
def _failing(path: str) -> Iterator[None]:
    """Turn what a store says into an error that holds no keys."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (OSError, ValueError, NotImplementedError) as error:
        text = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise StoreError(shown(path), without_secrets(text)[:300]) from None


def _connect(uri: str) -> tuple[Any, str]:
    """The file system of a URI, and the path in it."""
    scheme, place, inner, query = _parts(uri)
    root = f"{scheme}://{place}{query}"
    if scheme == "s3":
        return _arrow_filesystem(root), place.rpartition("@")[2] + inner.rstrip("/")
    if scheme in ARROW_SCHEMES:
        return _arrow_filesystem(root), _arrow_path(uri)
    return _fsspec_filesystem(root), _fsspec_path(uri)


@functools.lru_cache(maxsize=64)
def _arrow_filesystem(root: str) -> Any:
    from pyarrow.fs import FileSystem

    with _failing(root):
        return FileSystem.from_uri(root)[0]


@functools.lru_cache(maxsize=4096)
def _arrow_path(uri: str) -> str:
    """The path that a URI means; each store has its own way to say account, bucket and path."""
    from pyarrow.fs import FileSystem

    with _failing(uri):
        return str(FileSystem.from_uri(uri)[1])


@functools.lru_cache(maxsize=64)
def _fsspec_filesystem(root: str) -> Any:
    from pyarrow.fs import FSSpecHandler, PyFileSystem

    try:
        import fsspec

        with _failing(root):
            return PyFileSystem(FSSpecHandler(fsspec.core.url_to_fs(root)[0]))
    except ImportError as error:
        package = "delaytool[fsspec]" if "fsspec" in str(error) else str(error)
        raise DataError(
            "not-installed",
            f"files at {_parts(root)[0]}:// need a package that is not installed",
            expected=package,
            advice="install it, for fsspec with: pip install 'delaytool[fsspec]'",
            place=Place(shard=shown(root)),
        ) from None


# The event loop of a file system of fsspec's is not there after a fork.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_fsspec_filesystem.cache_clear)


def _fsspec_path(uri: str) -> str:
    import fsspec

    path: str = fsspec.core.url_to_fs(uri)[1]
    return path
