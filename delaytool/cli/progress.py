"""The progress bar of a run."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from delaytool.cli.session import check_stopped

if TYPE_CHECKING:
    from delaytool.run.engine import OnProgress, RunProgress


@contextlib.contextmanager
def progress_bar(quiet: bool) -> Iterator[OnProgress]:
    """A function that shows how far a run is, on one bar for each kind of work.

    It stops the run where a signal said so and was not heard.
    """
    bars = _Bars(quiet)
    try:
        yield bars.show
    finally:
        bars.close()


class _Bars:
    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.bar: Any = None
        self.work = ""

    def show(self, run: RunProgress) -> None:
        """Draw how far the run is."""
        check_stopped()
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
        self.bar = tqdm(
            total=run.bytes,
            desc=run.work,
            unit="B",
            unit_scale=True,
            unit_divisor=1024,
            disable=self.quiet,
            mininterval=0.1 if sys.stderr.isatty() else 1.0,
        )
        self.bar.set_postfix_str(f"shards 0/{run.shards}")

    def close(self) -> None:
        """End the bar."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None
