"""The engine runs every task once, says what happens, and survives a worker's death."""

import itertools
import signal
import time

import pytest
from make import Steps

from delaytool.errors import DataError, Place
from delaytool.run.local import run
from delaytool.run.tasks import Done, Failed, Progress


def count(stop):
    for i in range(stop):
        yield (i + 1) / stop
    return stop


def fail(name):
    yield 0.5
    raise DataError("token", "it is bad", advice="mend it", place=Place(shard=name, row=3))


def die(marker):
    yield 0.5
    signal.raise_signal(signal.SIGKILL)


def slow(folder, name):
    """Four seconds in 200 steps; says in a file of this name after how many it has cleaned up."""
    step = 0
    try:
        for step in range(1, 201):
            time.sleep(0.02)
            yield step / 200
    finally:
        (folder / name).write_text(str(step))


@pytest.mark.parametrize("workers", [1, 3])
def test_every_task_is_done_once(workers):
    tasks = [Steps(f"t{i}", i, count, (i + 1,)) for i in range(12)]
    events = list(run(tasks, workers))
    done = {event.number: event.result for event in events if isinstance(event, Done)}
    assert done == {i: i + 1 for i in range(12)}
    assert len([event for event in events if isinstance(event, Done)]) == 12
    if workers == 1:
        first = next(event for event in events if isinstance(event, Progress))
        assert first.number == 11, "the largest first"


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_comes_home_with_its_place(workers):
    tasks = [Steps("bad", 1, fail, ("bad",)), Steps("good", 1, count, (3,))]
    events = list(run(tasks, workers))
    (failed,) = [event for event in events if isinstance(event, Failed)]
    assert failed.number == 0
    assert str(failed.error) == "bad, row 3: it is bad"
    assert failed.error.advice == "mend it"
    assert [event.number for event in events if isinstance(event, Done)] == [1]


def test_a_worker_that_dies_is_named_and_the_others_finish():
    tasks = [Steps(f"t{i}", 1, count, (3,)) for i in range(6)]
    tasks.insert(2, Steps("killer", 1, die, ("x",)))
    events = list(run(tasks, 2))
    (failed,) = [event for event in events if isinstance(event, Failed)]
    assert str(failed.error).startswith("killer: reading it killed the process, twice")
    assert sorted(e.number for e in events if isinstance(e, Done)) == [0, 1, 3, 4, 5, 6]


def test_closing_stops_the_tasks_between_two_batches(tmp_path):
    tasks = [Steps(f"t{i}", 1, slow, (tmp_path, f"t{i}")) for i in range(2)]
    events = run(tasks, 2)
    assert isinstance(next(events), Progress)
    events.close()
    steps = [int(path.read_text()) for path in tmp_path.iterdir()]
    assert steps, "they have cleaned up"
    assert max(steps) < 150, "not all that the tasks would do"


def test_progress_moves_while_a_task_runs(tmp_path):
    tasks = [Steps(f"t{i}", 1, slow, (tmp_path, f"t{i}")) for i in range(2)]
    events = [event for event in run(tasks, 2) if isinstance(event, Progress)]
    assert len(events) > 10
    for number in range(2):
        fractions = [0, *(event.fraction for event in events if event.number == number), 1]
        assert max(b - a for a, b in itertools.pairwise(fractions)) < 0.5
