"""Runs shard jobs on a Ray cluster: the engine's tasks in, the engine's events out.

One Ray task for each shard, a bounded number of them at once. What a node takes along when it dies
is done again elsewhere; what is wrong with the data comes home as a value, so nothing is retried
that would fail again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import tempfile
import time
from collections.abc import Generator, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from delaytool.errors import DataError, ReaderDiedError
from delaytool.run.tasks import Event, Failed, Progress, Task, run_task

RETRIES = 3
"""How often a task is done again after the worker or the node that ran it died."""
_AT_LEAST = 8
_ATTEMPTS = 3
"""How often a server that answers ray:// is asked: it may hang when it forks (ray issue 63202)."""
_PATIENCE = 5.0
"""Seconds to wait for an address to answer."""
_GRACE = 1.0
"""Seconds in which workers end with the connection."""


def run(
    tasks: Sequence[Task[Any]], workers: int | None, address: str | None
) -> Generator[Event, None, None]:
    """Run the tasks on a cluster, the largest first; yields what happens.

    workers: how many at once; None for as many as the cluster has processors, and some more that
             are ready when one ends
    address: "local" for a cluster of this machine alone, "auto" for one that runs here,
             "ray://host:port" or "host:port"; None for what RAY_ADDRESS says, or else a local one
    raises:  DataError when Ray is missing, or the cluster cannot be reached, or does not see a
             task's files
    """
    ray = _import_ray()
    flying: dict[Any, int] = {}
    try:
        with _cluster(ray, address):
            _check_paths(ray, tasks)
            yield from _run_all(ray, tasks, workers, flying)
    finally:
        _clean_up([tasks[number] for number in flying.values()])


def _import_ray() -> Any:
    try:
        import ray
    except ImportError:
        raise DataError(
            "not-installed",
            "Ray is not installed",
            expected="the package ray beside delaytool",
            advice="install it with: pip install 'delaytool[ray]'",
        ) from None
    return ray


@contextlib.contextmanager
def _cluster(ray: Any, address: str | None) -> Iterator[None]:
    """Connect to a cluster, or start one; disconnect, or end it, when the block ends."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    # Without an address Ray would join any cluster that it finds on this machine.
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    _check_address(address)
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            ray.init(
                address=address,
                log_to_driver=False,
                logging_level=logging.ERROR,
                configure_logging=True,
                **({"include_dashboard": False} if address == "local" else {}),
            )
            break
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            if attempt == _ATTEMPTS or not isinstance(error, ConnectionAbortedError):
                raise _unreachable(address, str(error)) from None
    try:
        for number, handler in handlers.items():
            # Ray has its own idea of what to do when it is told to stop.
            signal.signal(number, handler)
        yield
    finally:
        ray.shutdown()


def _check_address(address: str) -> None:
    """Raise DataError unless somebody answers at an address, without waiting for minutes."""
    if address in ("local", "auto"):
        return
    parts = urlsplit(address if "://" in address else f"//{address}")
    try:
        port = parts.port or (10001 if parts.scheme == "ray" else 6379)
        socket.create_connection((parts.hostname or "", port), _PATIENCE).close()
    except (OSError, ValueError) as error:
        raise _unreachable(address, str(error)) from None


def _unreachable(address: str, why: str) -> DataError:
    return DataError(
        "no-cluster",
        f"no Ray cluster at {address}: {why.strip().splitlines()[0][:200]}",
        expected="one that runs",
        advice='check `ray_address`, or start one: `ray_address="local"`',
    )


def _check_paths(ray: Any, tasks: Sequence[Task[Any]]) -> None:
    """Raise DataError unless every node sees the same files as this one.

    A folder of the same name may be another folder, so a new file in it has to be seen.
    """
    nodes = [node for node in ray.nodes() if node["Alive"]]
    paths = sorted({path for task in tasks[:1] for path in task.paths})
    if len(nodes) < 2 or not paths:
        return
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    with contextlib.ExitStack() as stack:
        folders = {_existing_folder(path) for path in paths}
        probes = []
        for folder in folders:
            with contextlib.suppress(OSError):
                probes.append(stack.enter_context(_probe(folder)))
        wanted = [path for path in paths if os.path.exists(path)] + probes
        # Nodes may have the same name: containers, or several on one machine.
        answers = [
            ray.remote(_unseen)
            .options(
                num_cpus=0,
                scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
            )
            .remote(wanted)
            for node in nodes
        ]
        for node, answer in zip(nodes, answers, strict=True):
            if missing := ray.get(answer):
                raise DataError(
                    "files-not-shared",
                    f"the node {node['NodeManagerHostname']} does not see {missing[0]}",
                    expected="the same files on every node of the cluster",
                    advice="put them on storage that all nodes share, or into an object store",
                )


@contextlib.contextmanager
def _probe(folder: str) -> Iterator[str]:
    """A new file in a folder, for as long as it takes to look for it."""
    with tempfile.NamedTemporaryFile(prefix=".delaytool-probe-", dir=folder) as file:
        yield file.name


def _existing_folder(path: str) -> str:
    """The folder that a path is in, or the innermost one above it that is there."""
    folder = os.path.dirname(os.path.abspath(path))
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return folder


def _unseen(paths: list[str]) -> list[str]:
    """Those of the paths that are not there, on whatever node this runs."""
    return [path for path in paths if not os.path.exists(path)]


def _run_all(
    ray: Any, tasks: Sequence[Task[Any]], workers: int | None, flying: dict[Any, int]
) -> Generator[Event, None, None]:
    """Keep some tasks in flight until all have ended; `flying` holds those that have not."""
    cpus = int(ray.cluster_resources().get("CPU", 1))
    limit = workers or max(_AT_LEAST, 2 * cpus)
    waiting = sorted(range(len(tasks)), key=lambda number: (tasks[number].size, -number))
    start = ray.remote(_run_on_worker).options(
        num_cpus=1, max_retries=RETRIES, retry_exceptions=False
    )
    while waiting or flying:
        while waiting and len(flying) < limit:
            number = waiting.pop()
            flying[start.remote(tasks[number], number)] = number
        ended, _ = ray.wait(list(flying), num_returns=1, timeout=0.5)
        for reference in ended:
            number = flying.pop(reference)
            yield _event(ray, reference, tasks[number], number)


def _event(ray: Any, reference: Any, task: Task[Any], number: int) -> Event:
    try:
        event: Event = ray.get(reference)
    except (ray.exceptions.RayTaskError, ray.exceptions.RuntimeEnvSetupError) as problem:
        what = str(problem).strip().splitlines()[-1][:200]
        return Failed(number, DataError("cluster", f"it could not be run on the cluster: {what}"))
    except ray.exceptions.RayError:
        task.abandon()
        return Failed(number, ReaderDiedError.of(task.name))
    return event


def _clean_up(tasks: Sequence[Task[Any]]) -> None:
    """Clean up after tasks whose workers ended with the connection to the cluster.

    Ray's own way to cancel a task that runs can end the process that asks for it.
    """
    until = time.monotonic() + _GRACE
    while tasks and time.monotonic() < until:
        time.sleep(0.2)
        for task in tasks:
            task.abandon()


def _run_on_worker(task: Task[Any], number: int) -> Event:
    """Run one task to its end, which is returned."""
    return next(event for event in run_task(task, number) if not isinstance(event, Progress))
