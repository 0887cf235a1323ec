"""Runs the rest of a command in a child process, so that what kills it is reported.

A broken file can crash the library that reads it, or make the system end the process for its
hunger. Whoever calls `enter` goes on in a child, which notes what it is about to read where the
parent sees it. When the child is killed, the parent starts another one; a file that killed two is
left alone from then on, and named.

The child is forked before anything heavy is imported: that takes two milliseconds, and nothing runs
yet that a fork could leave half-done.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import sys
import threading
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

from delaytool.shards.deadly import NOTES

_ALLOCATOR = "ARROW_DEFAULT_MEMORY_POOL"
"""What tells pyarrow which allocator to use, by the time that it is imported."""
_DEATHS = 2
"""How often a file must have been read last before it is left alone."""


class _WithoutPandas:
    """A finder of modules that finds no pandas."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        """Raise ModuleNotFoundError for pandas; leave every other module to those who follow."""
        if name == "pandas":
            raise ModuleNotFoundError("delaytool's processes do without pandas", name=name)


def travel_light() -> None:
    """Keep out of a process of the command's what nothing that a command does needs.

    pandas: pyarrow imports it, where it is installed, with the first array that it makes of
    numpy's, which costs a sixth of a second and 40 MB. OpenBLAS's threads: numpy starts one for
    each core when it is imported, in every worker, and nothing here multiplies matrices. mimalloc,
    pyarrow's default allocator: it keeps 40 to 75 MB of what was freed, more than others do.
    """
    sys.meta_path.insert(0, _WithoutPandas())
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if _ALLOCATOR not in os.environ:
        os.environ[_ALLOCATOR] = "jemalloc" if _has_jemalloc() else "system"


def _has_jemalloc() -> bool:
    """Whether pyarrow was built with jemalloc: it warns of names of allocators that it lacks."""
    spec = importlib.util.find_spec("pyarrow")
    if spec is None or spec.origin is None:
        return False
    header = Path(spec.origin).parent / "include" / "arrow" / "util" / "config.h"
    return header.exists() and b"#define ARROW_JEMALLOC\n" in header.read_bytes()


def enter() -> None:
    """Go on in a child process; the caller's process waits for it and exits as it does.

    What the child writes to standard output should come last, since a child that is killed is
    followed by another one.
    """
    if not hasattr(os, "fork") or threading.active_count() > 1 or NOTES.shared is not None:
        return
    NOTES.share()
    deaths: Counter[str] = Counter()
    while True:
        sys.stdout.flush()
        sys.stderr.flush()
        NOTES.write("")
        alive, pipe = os.pipe()
        # Signals that come before the handlers are in place wait until they are.
        signals = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        child = os.fork()
        if not child:
            os.close(pipe)
            NOTES.deadly = frozenset(path for path, times in deaths.items() if times >= _DEATHS)
            threading.Thread(target=_end_with_parent, args=(alive,), daemon=True).start()
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            return
        os.close(alive)
        status = _wait(child, signals, before)
        os.close(pipe)
        path = NOTES.read()
        if os.WIFEXITED(status):
            _leave(os.WEXITSTATUS(status))
        number = os.WTERMSIG(status)
        if number in signals:
            _leave(128 + number)
        deaths[path] += 1
        if not path or deaths[path] > _DEATHS:
            name = signal.Signals(number).name
            print(f"Error: the command was killed ({name})", file=sys.stderr)
            print("  Run the same command again to go on.", file=sys.stderr)
            _leave(1)


def _end_with_parent(alive: int) -> None:
    """Wait for the parent's death, which closes its end of the pipe."""
    os.read(alive, 1)
    os._exit(1)


def _wait(child: int, signals: set[signal.Signals], before: set[Any]) -> int:
    """Wait for the child, passing signals on; its wait status."""

    def forward(number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, number)

    handlers = {number: signal.signal(number, forward) for number in signals}
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    _, status = os.waitpid(child, 0)
    for number, handler in handlers.items():
        signal.signal(number, handler)
    return status


def _leave(status: int) -> None:
    """Exit at once: the child has said all there is to say."""
    os._exit(status)
