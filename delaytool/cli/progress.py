"""How far a run is: a bar on a terminal, elsewhere a line a minute."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from delaytool.cli.session import check_stopped, say

if TYPE_CHECKING:
    from delaytool.run.engine import OnProgress, RunProgress

_PERIOD = 60.0
"""Seconds between lines."""


@contextlib.contextmanager
def progress_bar(quiet: bool) -> Iterator[OnProgress]:
    """A function that shows how far a run is, for each kind of work by itself.

    It stops the run where a signal said so and was not heard.
    """
    bars = _Bars() if sys.stderr.isatty() and not quiet else None
    show = bars.show if bars else (lambda run: None) if quiet else Lines().show

    def shown(run: RunProgress) -> None:
        check_stopped()
        show(run)

    try:
        yield shown
    finally:
        if bars:
            bars.close()


class Lines:
    """Says once a minute how far a run is, for logs; nothing of runs that take less.

    clock: tells seconds
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock, self.told = clock, clock()

    def show(self, run: RunProgress) -> None:
        """Say how far the run is, if it is time."""
        now = self.clock()
        if now - self.told < _PERIOD:
            return
        self.told = now
        percent = 100 * run.bytes_done // run.bytes if run.bytes else 100
        say(f"{run.work}: {percent}%, {run.shards_done:,} of {run.shards:,} shards done")


class _Bars:
    """A bar for each kind of work, one after the other."""

    def __init__(self) -> None:
        self.bar: Any = None
        self.work = ""

    def show(self, run: RunProgress) -> None:
        """Draw how far the run is."""
        if self.bar is None or self.work != run.work:
            self._open(run)
        shards = f"shards {run.shards_done}/{run.shards}"
        self.bar.set_postfix_str(shards, refresh=False)
        self.bar.update(run.bytes_done - self.bar.n)
        if run.shards_done == run.shards:
            self.close()

    def _open(self, run: RunProgress) -> None:
        from tqdm import tqdm

        self.close()
        self.work = run.work
        units: dict[str, Any] = {"unit": "B", "unit_scale": True, "unit_divisor": 1024}
        self.bar = tqdm(total=run.bytes, desc=run.work, **units)
        self.bar.set_postfix_str(f"shards 0/{run.shards}")

    def close(self) -> None:
        """End the bar."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None
