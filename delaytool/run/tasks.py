"""Tasks on shards, and what happens to them."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Task:
    """A job on one shard.

    run:     a generator function that yields fractions done and returns a picklable result
    size:    what the shard is worth in the progress, in bytes; large ones go first
    abandon: called with the arguments when a worker was killed while it ran the task
    paths:   local files and folders that it reads and writes
    """

    name: str
    size: int
    run: Callable[..., Generator[float, None, Any]]
    arguments: tuple[Any, ...]
    abandon: Callable[..., None] | None = None
    paths: tuple[str, ...] = ()


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


def abandon(task: Task) -> None:
    """Clean up behind a worker that was killed while it ran a task."""
    if task.abandon is not None:
        task.abandon(*task.arguments)
