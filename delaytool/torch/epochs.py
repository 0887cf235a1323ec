"""Which epoch an iteration is: the workers that take part in it agree on that, without a lock.

Each iteration over a dataset is the next epoch. A DataLoader starts new workers for each, with
copies of the dataset as it was, so the number stands in memory that all of them share: for each
rank a number of 64 bits, the next epoch and, in its lower half, a mark of the iteration that began
last. The first worker of an iteration finds another one's mark and takes the next epoch, the others
find their own. Two that come at once write the same.
"""

from __future__ import annotations

import os
import zlib

import torch
import torch.utils.data

_RANKS = 4096
"""Ranks of one machine that may share a dataset, where one process has handed it to all of them."""


class Epochs:
    """The number of the next epoch, and the mark of the iteration that began last."""

    def __init__(self) -> None:
        self._shared = torch.zeros(_RANKS, dtype=torch.int64).share_memory_()
        self._begun = 0

    def last(self, rank: int) -> int:
        """A number that changes whenever an iteration begins, in whichever process; 0 before."""
        return int(self._shared[rank % _RANKS])

    def begin(self, rank: int) -> int:
        """Begin an iteration; which epoch it is, from 0."""
        epoch, mark = divmod(self.last(rank), 1 << 32)
        mine = self._mark()
        self._begun += 1
        if mine == mark and torch.utils.data.get_worker_info() is not None:
            return epoch - 1
        self._shared[rank % _RANKS] = ((epoch + 1) << 32) | mine
        return epoch

    def begin_at(self, rank: int, epoch: int, known: int) -> bool:
        """Begin an iteration of this epoch, unless another has begun since `last` was `known`."""
        number = ((epoch + 1) << 32) | self._mark()
        if self.last(rank) not in (known, number):
            return False
        self._begun += 1
        self._shared[rank % _RANKS] = number
        return True

    def _mark(self) -> int:
        """The mark of an iteration that begins here: the same in all workers of it.

        A DataLoader draws a seed for each iteration. Workers that stay keep theirs, but know how
        often they began.
        """
        worker = torch.utils.data.get_worker_info()
        who = os.getpid() if worker is None else worker.seed - worker.id
        return zlib.crc32(f"{who} {self._begun}".encode()) | 1
