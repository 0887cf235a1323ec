"""Runs shard jobs, one process for each of a few shards at once.

The engine says what happens, as it happens: how far each shard is, what came of it, which one
failed. A worker that dies takes nothing along: the shards that were in flight run again, each in a
process of its own, which tells the one that kills its worker. A worker whose parent dies ends
itself.
"""

from __future__ import annotations

import contextlib
import multiprocessing.resource_tracker
import os
import signal
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.process import BaseProcess
from typing import Any

from delaytool.errors import ReaderDiedError
from delaytool.run import guard
from delaytool.run.tasks import Event, Failed, Progress, Task, run_task

_POLL = 0.1
"""Seconds between two looks at how far the workers are."""
GRACE = 1.2
"""Seconds that workers have to stop between two batches; then they are killed."""


def run(tasks: Sequence[Task[Any]], workers: int) -> Generator[Event, None, None]:
    """Run the tasks, up to `workers` at once, the largest first; yields what happens.

    Closing the generator stops the tasks between two batches; they leave nothing half-made.
    """
    order = sorted(range(len(tasks)), key=lambda number: (-tasks[number].size, number))
    if workers <= 1 or len(tasks) <= 1:
        for number in order:
            yield from _run_here(tasks[number], number)
    else:
        yield from _run_in_pools(tasks, order, min(workers, len(tasks)))


def _run_here(task: Task[Any], number: int) -> Iterator[Event]:
    with contextlib.closing(run_task(task, number)) as events:
        for event in events:
            if isinstance(event, Failed) and isinstance(event.error, ReaderDiedError):
                task.abandon()
            yield event


_stop: Any = None
_fractions: Any = None
_terminated = False


def _start_worker(stop: Any, fractions: Any) -> None:
    global _stop, _fractions
    _stop, _fractions = stop, fractions
    guard.travel_light()
    # Ctrl-C reaches the whole process group; the parent says when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGHUP, _terminate)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _terminate(number: int, frame: Any) -> None:
    global _terminated
    _terminated = True


def _end_with_parent() -> None:
    """Wait for the parent's death: nobody would ever tell this process to end."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "workers are started by a parent"
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)


def _run_in_worker(task: Task[Any], number: int) -> Event | None:
    """Run one task to its end, which is returned; None when this process was told to stop."""
    with contextlib.closing(run_task(task, number)) as events:
        while not (_stop.value or _terminated):
            event = next(events)
            if not isinstance(event, Progress):
                return event
            _fractions[number] = event.fraction
    if _terminated:
        os._exit(128 + signal.SIGTERM)
    return None


def _start_tracker() -> None:
    """Start multiprocessing's own helper, which must outlive us to clean up without a word."""
    if threading.current_thread() is not threading.main_thread():
        return
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        multiprocessing.resource_tracker.ensure_running()
    finally:
        signal.signal(signal.SIGHUP, before)


class _Shared:
    """What parent and workers share: the order to stop, and how far each task is.

    Memory without locks, since a worker that is killed while it holds a lock stops all others.
    """

    def __init__(self, tasks: int) -> None:
        self.context = multiprocessing.get_context("spawn")
        _start_tracker()
        self.stop = self.context.Value("b", 0, lock=False)
        self.fractions = self.context.Array("d", tasks, lock=False)

    def pool(self, workers: int) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            workers,
            mp_context=self.context,
            initializer=_start_worker,
            initargs=(self.stop, self.fractions),
        )


def _run_in_pools(tasks: Sequence[Task[Any]], order: list[int], workers: int) -> Iterator[Event]:
    shared = _Shared(len(tasks))
    waiting = list(reversed(order))
    while waiting:
        suspects = yield from _run_in_pool(tasks, waiting, shared, workers)
        for number in suspects:
            if (yield from _run_in_pool(tasks, [number], shared, 1)):
                tasks[number].abandon()
                error = ReaderDiedError.of(tasks[number].name)
                yield Failed(number, error)


def _run_in_pool(
    tasks: Sequence[Task[Any]], waiting: list[int], shared: _Shared, workers: int
) -> Generator[Event, None, list[int]]:
    """Run waiting tasks until none is left or a worker dies; returns those in flight then."""
    flying: dict[Future[Any], int] = {}
    reported: dict[int, float] = {}
    broken: list[int] = []
    others = set(multiprocessing.active_children())
    pool = shared.pool(workers)
    try:
        while (waiting or flying) and not broken:
            while waiting and len(flying) < workers + 1:
                number = waiting.pop()
                try:
                    flying[pool.submit(_run_in_worker, tasks[number], number)] = number
                except BrokenProcessPool:
                    waiting.append(number)
                    break
            ended, _ = wait(flying, timeout=_POLL, return_when=FIRST_COMPLETED)
            for future in ended:
                number = flying.pop(future)
                error = future.exception()
                if isinstance(error, BrokenProcessPool):
                    broken.append(number)
                elif isinstance(error, Exception):
                    yield Failed(number, error)
                else:
                    yield future.result()
            for number in flying.values():
                fraction = shared.fractions[number]
                if fraction > reported.get(number, 0.0):
                    reported[number] = fraction
                    yield Progress(number, fraction)
        pool.shutdown(wait=True, cancel_futures=True)
        return sorted([*broken, *flying.values()]) if broken else []
    except BaseException:
        shared.stop.value = 1
        pool.shutdown(wait=False, cancel_futures=True)
        if _stop_all(set(multiprocessing.active_children()) - others):
            for number in flying.values():
                tasks[number].abandon()
        raise


def _stop_all(children: set[BaseProcess]) -> bool:
    """Wait a while for children to end, then kill them; whether any had to be killed."""
    until = time.monotonic() + GRACE
    for child in children:
        child.join(max(0.0, until - time.monotonic()))
    late = [child for child in children if child.is_alive()]
    for child in late:
        child.kill()
    for child in late:
        child.join()
    return bool(late)
