"""Runs tasks where the options say, and collects what comes of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from delaytool.errors import ReaderDiedError
from delaytool.run.tasks import Done, Event, Failed, Progress, RunOptions, Task

Result = TypeVar("Result")


@dataclass(frozen=True)
class RunProgress:
    """How far a run is.

    work: what is done to the shards: "aligning", "shifting", "checking", "verifying", "reverting",
          "footers", "reading"
    bytes_done, bytes: of the shards that are read
    """

    work: str
    shards_done: int
    shards: int
    bytes_done: int
    bytes: int


OnProgress = Callable[[RunProgress], None]


def run_tasks(
    tasks: Sequence[Task[Result]],
    work: str,
    options: RunOptions,
    on_progress: OnProgress | None = None,
    keep: Callable[[Result], Result] | None = None,
) -> list[Result]:
    """Run the tasks; their results, in the tasks' order.

    keep:   what is kept of each result, as soon as it is there
    raises: the first error, which stops the others; where shards killed who read them, one that
            knows of all of them, once the others are done
    """
    results: dict[int, Result] = {}
    died: list[ReaderDiedError] = []
    fractions = [0.0] * len(tasks)
    total = sum(task.size for task in tasks)
    done = 0

    def tell() -> None:
        if on_progress is not None:
            on_progress(RunProgress(work, len(results), len(tasks), done, total))

    tell()
    with contextlib.closing(_events(tasks, options)) as events:
        for event in events:
            number = event.number
            if isinstance(event, Failed):
                if not isinstance(event.error, ReaderDiedError):
                    raise event.error
                died.append(event.error)
                continue
            if isinstance(event, Done):
                results[number] = event.result if keep is None else keep(event.result)
            fraction = event.fraction if isinstance(event, Progress) else 1.0
            done += round((fraction - fractions[number]) * tasks[number].size)
            fractions[number] = fraction
            tell()
    if died:
        died[0].others = tuple(died[1:])
        raise died[0]
    return [results[number] for number in range(len(tasks))]


def _events(tasks: Sequence[Task[Any]], options: RunOptions) -> Generator[Event, None, None]:
    """What happens to the tasks, here or on a cluster."""
    if options.engine == "ray":
        from delaytool.run import on_ray

        return on_ray.run(tasks, options.workers, options.ray_address)
    from delaytool.run import local

    return local.run(tasks, options.workers or 1)
