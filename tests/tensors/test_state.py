"""Stopping and going on in mid-epoch: the same rows in the same order as without the stop."""

import json
import random

import pytest
import torch
from torchdata.stateful_dataloader import StatefulDataLoader

from delaytool import RecipeError
from delaytool.torch import ShardDataset, collate


def dataset(folder, **arguments):
    return ShardDataset(
        folder, **{"columns": ["id"], "shuffle": True, "buffer_size": 12, **arguments}
    )


def ids_of(rows):
    return [row.columns["id"] for row in rows]


PLACES = [*sorted(random.Random(7).choices(range(47), k=18)), 0, 47]


@pytest.mark.parametrize("place", PLACES)
def test_stopped_anywhere(rows47, place):
    whole = dataset(rows47)
    expected = [ids_of(whole) for _ in range(2)]
    stopped = dataset(rows47)
    rows = iter(stopped)
    begun = [next(rows).columns["id"] for _ in range(place)]
    state = json.loads(json.dumps(stopped.state_dict()))
    resumed = dataset(rows47)
    resumed.load_state_dict(state)
    assert resumed.state_dict() == state
    assert begun + ids_of(resumed) == expected[0]
    assert ids_of(resumed) == expected[1]
    # The one that gave the state may take it too.
    stopped.load_state_dict(state)
    assert begun + ids_of(stopped) == expected[0]


def test_stopped_in_a_later_epoch_of_many(rows47):
    endless = iter(dataset(rows47, repeat=True, rank=1, world_size=2))
    expected = [next(endless).columns["id"] for _ in range(100)]
    for place in (22, 23, 24, 50, 69):
        rows = dataset(rows47, repeat=True, rank=1, world_size=2)
        reading = iter(rows)
        begun = [next(reading).columns["id"] for _ in range(place)]
        resumed = dataset(rows47, repeat=True, rank=1, world_size=2)
        resumed.load_state_dict(rows.state_dict())
        reading = iter(resumed)
        assert begun + [next(reading).columns["id"] for _ in range(100 - place)] == expected


@pytest.mark.parametrize("workers", [0, 1, 2, 3])
def test_in_a_stateful_loader(rows47, workers):
    def loader():
        return StatefulDataLoader(
            dataset(rows47, rank=0, world_size=2),
            batch_size=4,
            collate_fn=collate,
            num_workers=workers,
        )

    whole = loader()
    expected = [[batch.columns["id"] for batch in whole] for _ in range(3)]
    assert sorted(id for ids in expected[1] for id in ids) != list(range(23))
    for stop in (1, 2, len(expected[0]) - 1, len(expected[0])):
        stopped = loader()
        batches = iter(stopped)
        begun = [next(batches).columns["id"] for _ in range(stop)]
        state = stopped.state_dict()
        resumed = loader()
        resumed.load_state_dict(state)
        rest = [batch.columns["id"] for batch in resumed]
        assert begun + rest == expected[0]
        assert [batch.columns["id"] for batch in resumed] == expected[1]
    # In the second epoch, and at the end of one.
    stopped = loader()
    list(stopped)
    at_the_end = stopped.state_dict()
    batches = iter(stopped)
    begun = [next(batches).columns["id"] for _ in range(3)]
    state = stopped.state_dict()
    resumed = loader()
    resumed.load_state_dict(state)
    assert begun + [batch.columns["id"] for batch in resumed] == expected[1]
    assert [batch.columns["id"] for batch in resumed] == expected[2]
    resumed = loader()
    resumed.load_state_dict(at_the_end)
    assert [batch.columns["id"] for batch in resumed] == expected[1]


def test_a_plain_loader_with_workers_has_no_state(rows47):
    rows = dataset(rows47)
    loader = torch.utils.data.DataLoader(rows, 4, collate_fn=collate, num_workers=2)
    next(iter(loader))
    with pytest.raises(RecipeError, match="StatefulDataLoader"):
        rows.state_dict()
    alone = dataset(rows47)
    list(alone)
    assert alone.state_dict()["position"] == 47
    list(torch.utils.data.DataLoader(alone, 4, collate_fn=collate, num_workers=1))
    with pytest.raises(RecipeError, match="StatefulDataLoader"):
        alone.state_dict()


def test_a_state_from_before_the_first_row(rows47):
    state = dataset(rows47).state_dict()
    assert (state["epoch"], state["position"]) == (0, 0)
    resumed = dataset(rows47)
    resumed.load_state_dict(state)
    assert ids_of(resumed) == ids_of(dataset(rows47))


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({"rank": 1}, "rank 0 of 2.*rank 1 of 2"),
        ({"world_size": 3}, "rank 0 of 2.*rank 0 of 3"),
        ({"rank": None, "world_size": None}, "rank 0 of 2.*rank 0 of 1"),
        ({"seed": 1}, "`seed` is 1, expected 0"),
        ({"shuffle": False}, "`shuffle` is False, expected True"),
        ({"buffer_size": 7}, "`buffer_size` is 7, expected 12"),
    ],
)
def test_a_state_of_another_order_is_refused(rows47, arguments, what):
    ranks = {"rank": 0, "world_size": 2}
    state = dataset(rows47, **ranks).state_dict()
    with pytest.raises(RecipeError, match=what):
        dataset(rows47, **{**ranks, **arguments}).load_state_dict(state)


def test_a_state_of_another_set_is_refused(rows47, shifted):
    state = dataset(rows47).state_dict()
    with pytest.raises(RecipeError, match="other shards"):
        dataset(shifted(20, 5)).load_state_dict(state)
    for no_state in ({}, {**state, "more": 1}, {"epoch": 0}, None, {**state, "position": "a"}):
        with pytest.raises(RecipeError, match="none that ShardDataset"):
            dataset(rows47).load_state_dict(no_state)


def test_a_state_of_other_workers_is_refused(rows47):
    rows = dataset(rows47)
    rows.load_state_dict(rows.state_dict())
    loader = torch.utils.data.DataLoader(rows, 4, collate_fn=collate, num_workers=2)
    with pytest.raises(RecipeError, match="worker 0 of 1.*of 2"):
        list(loader)
    one = torch.utils.data.DataLoader(rows, 47, collate_fn=collate, num_workers=1)
    first, second = ([batch.columns["id"] for batch in one] for _ in range(2))
    assert first != second

    def stateful(workers):
        return StatefulDataLoader(dataset(rows47), 4, collate_fn=collate, num_workers=workers)

    stopped = stateful(2)
    next(iter(stopped))
    for workers in (0, 1, 3):
        resumed = stateful(workers)
        resumed.load_state_dict(stopped.state_dict())
        with pytest.raises((AssertionError, RecipeError, KeyError)):
            list(resumed)
