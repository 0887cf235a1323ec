"""Who reads which rows in an epoch: everybody as many, nobody another one's."""

import itertools

import numpy as np
import pytest

from delaytool.torch.order import Order, Share


def order_of(rows, shuffle=True, seed=0, buffer_size=10, cells=None):
    rows = np.array(rows)
    cells = rows if cells is None else np.array(cells)
    return Order(rows, cells, shuffle, seed, buffer_size)


def read_by(order, epoch, share):
    """The rows of a share, as numbers of the whole set."""
    starts = np.cumsum(order.rows) - order.rows
    return [
        int(starts[group]) + row
        for groups, rows in order.blocks(epoch, share)
        for group, row in zip(groups.tolist(), rows.tolist(), strict=True)
    ]


def everybody(ranks, workers):
    return [Share(r, ranks, w, workers) for r in range(ranks) for w in range(workers)]


@pytest.mark.parametrize("seed", range(40))
def test_ranks_get_as_many_rows_and_none_twice(seed):
    random = np.random.default_rng(seed)
    rows = random.integers(1, 30, random.integers(1, 12))
    ranks, workers = int(random.integers(1, 7)), int(random.integers(1, 4))
    order = order_of(rows, bool(random.integers(2)), seed, int(random.integers(1, 40)))
    for epoch in range(3):
        read = {share: read_by(order, epoch, share) for share in everybody(ranks, workers)}
        for worker in range(workers):
            assert len({len(read[Share(r, ranks, worker, workers)]) for r in range(ranks)}) == 1
        every = list(itertools.chain(*read.values()))
        assert len(every) == len(set(every)) == rows.sum() - rows.sum() % ranks
        assert set(every) <= set(range(rows.sum()))


@pytest.mark.parametrize("ranks", [2, 3, 8, 23])
def test_no_row_is_left_out_again_before_all_others_were(ranks):
    order = order_of([7, 7, 6, 5, 7, 7, 7, 1])
    left_out = []
    for epoch in range(47):
        read = {row for share in everybody(ranks, 1) for row in read_by(order, epoch, share)}
        left_out += sorted(set(range(47)) - read)
    assert len(left_out) == 47 * (47 % ranks)
    assert {left_out.count(row) for row in range(47)} == {47 % ranks}
    first = 47 // (47 % ranks) * (47 % ranks)
    assert len(set(left_out[:first])) == first


def test_without_shuffling_rows_come_in_their_order_and_the_last_are_left_out():
    order = order_of([3, 4, 4], shuffle=False)
    for epoch in range(2):
        assert read_by(order, epoch, Share(0, 2)) == [0, 1, 2, 3, 4]
        assert read_by(order, epoch, Share(1, 2)) == [5, 6, 7, 8, 9]
        assert read_by(order, epoch, Share()) == list(range(11))


def test_the_order_follows_from_seed_epoch_and_share():
    orders = {
        (seed, epoch, share): tuple(read_by(order_of([9] * 9, seed=seed), epoch, share))
        for seed in (0, 1)
        for epoch in (0, 1)
        for share in (Share(), Share(0, 2), Share(1, 2), Share(0, 2, 0, 2))
    }
    assert len(set(orders.values())) == len(orders)
    for (seed, epoch, share), rows in orders.items():
        assert tuple(read_by(order_of([9] * 9, seed=seed), epoch, share)) == rows


def test_rows_are_mixed_within_blocks_of_row_groups():
    order = order_of([10] * 50, buffer_size=40)
    blocks = list(order.blocks(0, Share()))
    assert {len(groups) for groups, _ in blocks[1:-1]} == {40}
    for groups, rows in blocks[1:-1]:
        assert len(set(groups.tolist())) == 4
        assert len(set(groups[:10].tolist())) > 1
        assert rows.tolist() != sorted(rows.tolist())
    named = [set(groups.tolist()) for groups, _ in blocks]
    assert named != sorted(named, key=min)


def test_a_block_holds_few_cells_however_long_the_rows_are():
    order = order_of([1] * 20, buffer_size=1000, cells=[3 << 20] * 20)
    assert {len(groups) for groups, _ in order.blocks(0, Share())} == {2}
    alone = order_of([5, 5], buffer_size=2, cells=[1 << 30, 1 << 30])
    assert [len(groups) for groups, _ in alone.blocks(0, Share())][-1] <= 5


def test_two_row_groups_serve_eight_ranks():
    order = order_of([24, 23])
    read = [read_by(order, 0, share) for share in everybody(8, 1)]
    assert {len(rows) for rows in read} == {5}


def test_few_row_groups_are_read_by_two_workers():
    """Else each worker would decode what all others decode too."""
    order = order_of([100] * 40)
    shares = everybody(4, 2)
    groups = [
        {int(group) for each, _ in order.blocks(0, share) for group in each} for share in shares
    ]
    assert sum(map(len, groups)) <= 40 + len(shares) + 1


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_a_single_rank_reads_row_groups_once(workers):
    order = order_of([20, 20, 20, 20])
    read = [
        group
        for share in everybody(1, workers)
        for groups, _ in order.blocks(0, share)
        for group in np.unique(groups)
    ]
    # Where two workers share the rows of one row group, both read it.
    assert sorted(set(read)) == [0, 1, 2, 3]
    assert len(read) <= 4 + workers - 1
