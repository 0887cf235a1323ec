"""Ranks and workers: everybody gets as much, nobody what another one gets."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from make import PATIENCE, free_port

from delaytool import RecipeError
from delaytool.torch import ShardDataset, collate


def loader_of(rows, workers, batch_size=3):
    return torch.utils.data.DataLoader(
        rows, batch_size=batch_size, collate_fn=collate, num_workers=workers
    )


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("ranks", [1, 2, 3, 8])
@pytest.mark.parametrize("groups", ["many", "two"])
def test_ranks_and_workers_share_47_rows(request, shifted, groups, ranks, workers):
    folder = request.getfixturevalue("rows47") if groups == "many" else shifted(47, group=24)
    left_out = []
    loaders = []
    for rank in range(ranks):
        rows = ShardDataset(folder, columns=["id"], shuffle=True, rank=rank, world_size=ranks)
        assert len(rows) == 47 // ranks
        loaders.append(loader_of(rows, workers))
    for _ in range(2):
        read = [[batch.columns["id"] for batch in loader] for loader in loaders]
        assert len({len(batches) for batches in read}) == 1
        assert len({tuple(map(len, batches)) for batches in read}) == 1
        ids = [id for batches in read for batch in batches for id in batch]
        assert len(ids) == len(set(ids)) > 47 - ranks * max(workers, 1)
        assert len(ids) == ranks * (47 // ranks)
        left_out.append(set(range(47)) - set(ids))
    assert left_out[0].isdisjoint(left_out[1])


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_two_processes_train_to_the_end_of_two_epochs(rows47, context):
    """With gloo and DDP, which would wait forever for a rank that has fewer batches."""
    port = str(free_port())
    ranks = []
    for rank in range(2):
        env = {
            **os.environ,
            "RANK": str(rank),
            "WORLD_SIZE": "2",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
            "GLOO_SOCKET_IFNAME": "lo",
        }
        command = [sys.executable, Path(__file__).with_name("train.py"), rows47, context]
        ranks.append(subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True))
    try:
        told = [json.loads(process.communicate(timeout=PATIENCE)[0]) for process in ranks]
    finally:
        for process in ranks:
            process.kill()
    assert told[0]["model"] == told[1]["model"]
    left_out = []
    for epoch in range(2):
        batches = [rank["epochs"][epoch] for rank in told]
        assert len(batches[0]) == len(batches[1]) == 6
        ids = [id for rank in batches for batch in rank for id in batch]
        assert len(ids) == len(set(ids)) == 46 == sum(rank["length"] for rank in told)
        left_out.append(set(range(47)) - set(ids))
    assert left_out[0] != left_out[1]


def test_a_rank_that_nobody_knows(rows47, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    rows = ShardDataset(rows47)
    for look in (iter, len, lambda rows: rows.state_dict()):
        with pytest.raises(RecipeError, match="RANK.*init_process_group.*`rank`"):
            look(rows)
    with pytest.raises(RecipeError, match="init_process_group"):
        list(loader_of(rows, 1))
    assert len(list(ShardDataset(rows47, rank=1, world_size=2))) == 23
    monkeypatch.delenv("RANK")
    assert len(list(rows)) == 47


def test_ranks_that_were_handed_one_dataset(rows47):
    """As a launcher does that starts them all: they are in the same epoch nonetheless."""
    launched = ShardDataset(rows47, columns=["id"], shuffle=True)
    launched._epochs._shared = launched._epochs._shared.share_memory_()
    context = torch.multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    processes = [
        context.Process(target=read_two_epochs, args=(launched, rank, 2, queue))
        for rank in range(2)
    ]
    for process in processes:
        process.start()
        process.join(PATIENCE)
        assert process.exitcode == 0
    read = dict(queue.get() for _ in processes)
    for epoch in range(2):
        ids = read[0][epoch] + read[1][epoch]
        assert len(ids) == len(set(ids)) == 46


def read_two_epochs(rows, rank, world_size, queue):
    """What a rank reads in two epochs, into a queue."""
    rows._ranks = type(rows._ranks)(rank, world_size)
    loader = loader_of(rows, 1)
    epochs = [[id for batch in loader for id in batch.columns["id"]] for _ in range(2)]
    queue.put((rank, epochs))
