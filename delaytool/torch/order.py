"""Which rows a worker of a rank reads in an epoch, and in which order.

The row groups of a set stand in a line, shuffled or by name, and with them their rows. The line is
cut into equal stretches, one for each rank, and a rank's stretch into one for each of its workers.
So a worker decodes few row groups that others decode too, and where there are fewer row groups than
ranks they share them. Rows that are too many for equal stretches are left out: fewer than there are
ranks, and when shuffled other ones in the next epoch.

Shuffled rows are mixed within blocks of a few row groups, which all are in memory then.

5 rows in groups of 3 and 2, two ranks, row 2 left out, the groups in the order 1, 0: rank 0 reads
rows 3 and 4, rank 1 rows 0 and 1; from another first row on, rank 0 reads 4 and 0, rank 1 1 and 3.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from delaytool.pattern.segments import Index

_BLOCK_CELLS = 8 << 20
"""Cells of the row groups that are mixed: 100 MB as int64 tokens and float32 weights."""


@dataclass(frozen=True)
class Share:
    """Whose part of each epoch it is: that of one worker of one rank."""

    rank: int = 0
    world_size: int = 1
    worker: int = 0
    workers: int = 1

    def stretch(self, rows: int) -> range:
        """Where in a line of so many rows this worker's are.

        47 rows, rank 1 of 2, worker 0 of 2 -> range(23, 35); worker 1 of 2 -> range(35, 46)
        """
        of_rank = rows // self.world_size
        size, more = divmod(of_rank, self.workers)
        first = self.rank * of_rank + self.worker * size + min(self.worker, more)
        return range(first, first + size + (self.worker < more))


@dataclass(frozen=True, eq=False)
class Pieces:
    """Runs of rows, each of one row group: rows first ... stop - 1 of it."""

    groups: Index
    firsts: Index
    stops: Index

    def take(self, chosen: slice | Index) -> Pieces:
        """Some of the pieces."""
        return Pieces(self.groups[chosen], self.firsts[chosen], self.stops[chosen])

    def cut(self, stretch: range) -> Pieces:
        """The pieces of a stretch of all the rows, the first and the last one shortened."""
        sizes = self.stops - self.firsts
        ends = np.cumsum(sizes)
        here = slice(
            int(np.searchsorted(ends, stretch.start, side="right")),
            int(np.searchsorted(ends - sizes, stretch.stop, side="left")),
        )
        starts = (ends - sizes)[here]
        firsts = self.firsts[here] + np.maximum(stretch.start - starts, 0)
        stops = self.stops[here] - np.maximum(ends[here] - stretch.stop, 0)
        return Pieces(self.groups[here], firsts, stops)

    def rotated(self, first: int) -> Pieces:
        """All the rows, from this one on, and then those before it."""
        total = int((self.stops - self.firsts).sum())
        later, earlier = self.cut(range(first, total)), self.cut(range(first))
        return Pieces(
            np.concatenate([later.groups, earlier.groups]),
            np.concatenate([later.firsts, earlier.firsts]),
            np.concatenate([later.stops, earlier.stops]),
        )


@dataclass(frozen=True, eq=False)
class Order:
    """The order of a set's rows in each epoch.

    rows, cells: of each row group
    shuffle:     whether row groups and rows are shuffled, by the seed and the epoch
    buffer_size: the rows that are mixed at most, unless a single row group has more
    """

    rows: Index
    cells: Index
    shuffle: bool
    seed: int
    buffer_size: int

    def blocks(self, epoch: int, share: Share) -> Iterator[tuple[Index, Index]]:
        """The rows of a share in their order, a block at a time: row groups, and rows in them."""
        pieces = self._line(epoch, share.world_size).cut(share.stretch(int(self.rows.sum())))
        for number, block in enumerate(self._cut(pieces)):
            sizes = block.stops - block.firsts
            groups = np.repeat(block.groups, sizes)
            starts = np.cumsum(sizes) - sizes
            rows = np.arange(len(groups)) + np.repeat(block.firsts - starts, sizes)
            if self.shuffle:
                seeds = [self.seed, epoch, share.rank, share.worker, number]
                mixed = np.random.default_rng(seeds).permutation(len(groups))
                groups, rows = groups[mixed], rows[mixed]
            yield groups, rows

    def _line(self, epoch: int, world_size: int) -> Pieces:
        """All rows that are read in an epoch, in the order of their row groups."""
        ends = np.cumsum(self.rows)
        total = int(ends[-1])
        first, count = self._left_out(epoch, total, total % world_size)
        # Where the rows that are left out begin and end; they may go on at the beginning.
        edges = [first, min(first + count, total), max(first + count - total, 0)]
        bounds = np.unique(np.concatenate([[0], ends, edges if count else [0]]))
        firsts, stops = bounds[:-1], bounds[1:]
        is_read = (firsts - first) % total >= count
        firsts, stops = firsts[is_read], stops[is_read]
        groups = np.searchsorted(ends, firsts, side="right")
        starts = (ends - self.rows)[groups]
        pieces = Pieces(groups, firsts - starts, stops - starts)
        if not self.shuffle:
            return pieces
        random = np.random.default_rng([self.seed, epoch])
        places = random.permutation(len(self.rows))
        pieces = pieces.take(np.argsort(places[groups], kind="stable"))
        if world_size == 1:
            return pieces
        # Else the borders between ranks would often be at the same rows of a row group.
        return pieces.rotated(int(random.integers(total - count)))

    def _left_out(self, epoch: int, total: int, count: int) -> tuple[int, int]:
        """The first of the rows that are left out, and how many there are from there on."""
        if not self.shuffle:
            return total - count, count
        # They move on with each epoch, so that none is left out twice before all others were.
        first = int(np.random.default_rng([self.seed]).integers(total))
        return (first + epoch * count) % total, count

    def _cut(self, pieces: Pieces) -> Iterator[Pieces]:
        """The pieces in blocks."""
        rows = cells = first = 0
        for number, group in enumerate(pieces.groups.tolist()):
            more, its_cells = int(pieces.stops[number] - pieces.firsts[number]), self.cells[group]
            full = rows + more > self.buffer_size or cells + its_cells > _BLOCK_CELLS
            if number > first and (full or not self.shuffle):
                yield pieces.take(slice(first, number))
                rows = cells = 0
                first = number
            rows, cells = rows + more, cells + int(its_cells)
        if first < len(pieces.groups):
            yield pieces.take(slice(first, None))
