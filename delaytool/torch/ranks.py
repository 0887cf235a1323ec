"""Who reads: the rank of this process, and the DataLoader's worker that it is."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch.distributed
import torch.utils.data

from delaytool.errors import RecipeError
from delaytool.torch.order import Share


@dataclass(frozen=True)
class Ranks:
    """The rank that was asked for, or none, where it is found out when it is needed."""

    rank: int | None = None
    world_size: int | None = None

    def __post_init__(self) -> None:
        if self.rank is None and self.world_size is None:
            return
        for name, value in (("rank", self.rank), ("world_size", self.world_size)):
            if isinstance(value, bool) or not isinstance(value, int):
                raise RecipeError(
                    f"`{name}` is {value!r}, expected an integer: give `rank` and `world_size`, "
                    "or neither"
                )
        assert self.rank is not None
        assert self.world_size is not None
        if not 0 <= self.rank < self.world_size:
            raise RecipeError(
                f"`rank` is {self.rank}, expected 0 to {self.world_size - 1}, below `world_size`"
            )

    def found(self) -> Ranks:
        """The rank that was asked for, else that of `torch.distributed`, if it is initialised."""
        if self.rank is not None:
            return self
        distributed = torch.distributed
        if distributed.is_available() and distributed.is_initialized():
            return Ranks(distributed.get_rank(), distributed.get_world_size())
        return self

    @property
    def are_unknown(self) -> bool:
        """Whether this process is one of several ranks, and nobody has said which."""
        return self.found().rank is None and "RANK" in os.environ

    def share(self) -> Share:
        """Which part of an epoch is read here.

        Raises RecipeError where nobody says which of several ranks this is.
        """
        if self.are_unknown:
            raise RecipeError(
                f"RANK is set to {os.environ['RANK']!r}, but there is no process group, so every "
                "rank would read the same rows: call torch.distributed.init_process_group before "
                "the first row is read, or give `rank` and `world_size`"
            )
        ranks, worker = self.found(), torch.utils.data.get_worker_info()
        workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        return Share(ranks.rank or 0, ranks.world_size or 1, *workers)
