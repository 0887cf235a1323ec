"""Runs tasks behind a progress bar."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any

from delaytool.cli.session import check_stopped, counted, say
from delaytool.errors import DataError, ReaderDiedError

if TYPE_CHECKING:
    from delaytool.jobs.report import Report
    from delaytool.run.tasks import Event, Task


def without_left_out(results: list[Any], left_out: int = 0) -> list[Any]:
    """The results without those of shards of quarantined rows, whose number is told.

    left_out: how many had no task
    Raises DataError when all that had one are such.
    """
    kept = [result for result in results if not result.left_out]
    left_out += len(results) - len(kept)
    if left_out:
        were = "was" if left_out == 1 else "were"
        say(f"Note: {counted(left_out, 'shard')} of quarantined rows {were} left out")
    if results and not kept:
        raise DataError(
            "no-shards",
            "there are only shards of quarantined rows",
            expected="at least one other",
            advice="name the folder of the outputs",
        )
    return kept


def run_tasks(
    tasks: Sequence[Task[Any]], what: str, options: dict[str, Any], report: Report | None = None
) -> list[Any]:
    """Run the tasks behind a progress bar; their results in the tasks' order.

    report: gets the results' summaries, which are too large to be kept of a million shards
    """
    from dataclasses import replace

    from tqdm import tqdm

    from delaytool.run.tasks import Done, Failed

    results: dict[int, Any] = {}
    died: list[ReaderDiedError] = []
    told = [0.0] * len(tasks)
    total = sum(task.size for task in tasks)
    bar = tqdm(
        total=total,
        desc=what,
        unit="B",
        unit_scale=True,
        unit_divisor=1024,
        disable=options["quiet"],
        mininterval=0.1 if sys.stderr.isatty() else 1.0,
    )
    bar.set_postfix_str(f"shards 0/{len(tasks)}")
    with bar, contextlib.closing(_events(tasks, options)) as events:
        for event in events:
            check_stopped()
            if isinstance(event, Failed):
                if not isinstance(event.error, ReaderDiedError):
                    raise event.error
                died.append(event.error)
                continue
            fraction = 1.0 if isinstance(event, Done) else event.fraction
            number = event.number
            if isinstance(event, Done):
                results[number] = event.result
                if report is not None:
                    report.add(event.result.summary)
                    results[number] = replace(event.result, summary=None)
                bar.set_postfix_str(f"shards {len(results)}/{len(tasks)}", refresh=False)
            bar.update(round((fraction - told[number]) * tasks[number].size))
            told[number] = fraction
    for error in died[1:]:
        say(f"Error: {error}")
    if died:
        raise died[0]
    return [results[number] for number in range(len(tasks))]


def _events(tasks: Sequence[Task[Any]], options: dict[str, Any]) -> Generator[Event, None, None]:
    """What happens to the tasks, here or on a cluster."""
    if options["engine"] == "ray":
        from delaytool.run import on_ray

        return on_ray.run(tasks, options["workers"], options["ray_address"])
    from delaytool.run import local

    return local.run(tasks, options["workers"] or os.cpu_count() or 1)
