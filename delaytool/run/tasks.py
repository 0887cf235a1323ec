"""Tasks on shards, and what happens to them."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from delaytool.errors import DataError, RecipeError

ENGINES = ("local", "ray")

Result_co = TypeVar("Result_co", covariant=True)


class Task(Protocol[Result_co]):
    """Work on one shard, as a value that can be pickled and sent to where it is done."""

    @property
    def name(self) -> str:
        """What the shard is called in messages."""

    @property
    def size(self) -> int:
        """What the shard is worth in the progress, in bytes; large ones go first."""

    @property
    def paths(self) -> tuple[str, ...]:
        """Local files and folders that it reads and writes."""

    def run(self) -> Generator[float, None, Result_co]:
        """Do it; yields the fraction that is done, returns a picklable result."""

    def abandon(self) -> None:
        """Clean up after a process that was killed while it ran the task."""


@dataclass(frozen=True)
class RunOptions:
    """Where tasks run.

    workers:     shards at once, each in a process of its own; None for one after the other in this
                 process, or for as many as the cluster has processors
    engine:      "local" for this machine, "ray" for a cluster
    ray_address: that of the cluster

    Raises RecipeError for what cannot be.
    """

    workers: int | None = None
    engine: str = "local"
    ray_address: str | None = None

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise RecipeError(f"engine is {self.engine!r}, expected one of {', '.join(ENGINES)}")
        if self.ray_address is not None and self.engine != "ray":
            raise RecipeError('`ray_address` goes with `engine="ray"`')
        if self.workers is not None and self.workers < 1:
            raise RecipeError(f"workers is {self.workers}, expected at least 1")

    @property
    def elsewhere(self) -> bool:
        """Whether tasks run on other machines, in other folders."""
        return self.engine == "ray"


@dataclass(frozen=True)
class Progress:
    """A task is this far."""

    number: int
    fraction: float


@dataclass(frozen=True)
class Done:
    """A task ended with a result."""

    number: int
    result: Any


@dataclass(frozen=True)
class Failed:
    """A task ended with an error."""

    number: int
    error: Exception


Event = Progress | Done | Failed


def run_task(task: Task[Any], number: int) -> Generator[Event, None, None]:
    """Run a task to its end: how far it is, again and again, then what came of it.

    What is wrong with the data is an event; any other error is raised. Closing the generator stops
    the task where it is.
    """
    with contextlib.closing(task.run()) as steps:
        while True:
            try:
                fraction = next(steps)
            except StopIteration as end:
                yield Done(number, end.value)
                return
            except DataError as error:
                yield Failed(number, error)
                return
            yield Progress(number, fraction)
