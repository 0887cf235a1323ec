"""The rows of shifted shards as a PyTorch dataset: `ShardDataset`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.utils.data

from delaytool.errors import DataError, RecipeError
from delaytool.pattern.flat import possible_fills
from delaytool.recipes.recipe import Recipe
from delaytool.torch.batch import Row
from delaytool.torch.epochs import Epochs
from delaytool.torch.footers import read_footers
from delaytool.torch.groups import Group, GroupReader
from delaytool.torch.order import Order, Share
from delaytool.torch.ranks import Ranks
from delaytool.torch.state import State

_DTYPES = (torch.int16, torch.int32, torch.int64)
"""What codes may be, the narrowest first."""


@dataclass
class _Progress:
    """How far an iteration has come.

    position: the rows of its share that it has given in this epoch
    last:     what `Epochs.last` said when it had begun
    """

    share: Share
    epoch: int = 0
    position: int = 0
    last: int = 0


class ShardDataset(torch.utils.data.IterableDataset[Row]):
    """The rows of shifted shards, for a DataLoader or alone.

    Each iteration is the next epoch. In an epoch every rank gets as many rows as every other, and
    worker w of every rank as many as worker w of every other; no row comes twice. The order follows
    from seed, epoch, ranks and workers, see `order.py`.

    path:        a file, a folder, a glob or a URI of shards that delaytool made
    columns:     other columns whose values come along, in `Row.columns`
    shuffle:     shuffle row groups, and rows within blocks of them
    seed:        of the shuffling, from 0 up
    repeat:      go on with the next epoch, without end
    dtype:       of the rows' codes. Narrower ones than int64 are faster: `Batch.to` widens them
    rank, world_size: which rank of how many this is; if not given, that of `torch.distributed` when
                 an iteration begins
    buffer_size: rows that are shuffled at a time; fewer where they are long

    Raises RecipeError for arguments that cannot be; DataError for no shards, an original shard, one
    without a column, shards that were made in different ways and, while rows are read, for a bad
    row.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        columns: Sequence[str] = (),
        shuffle: bool = False,
        seed: int = 0,
        repeat: bool = False,
        dtype: torch.dtype = torch.int64,
        rank: int | None = None,
        world_size: int | None = None,
        buffer_size: int = 1000,
    ) -> None:
        super().__init__()
        for name, value, least in (("seed", seed, 0), ("buffer_size", buffer_size, 1)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise RecipeError(f"`{name}` is {value!r}, expected an integer from {least} up")
        if isinstance(columns, str):
            raise RecipeError(f"`columns` is {columns!r}, expected a list of names")
        self._ranks = Ranks(rank, world_size)
        self._set = read_footers(path, columns)
        self._kept = _narrowest(dtype, self.recipe)
        self._order = Order(self._set.rows, self._set.cells, bool(shuffle), seed, buffer_size)
        self._repeat, self._dtype = repeat, dtype
        self._epochs = Epochs()
        self._progress: _Progress | None = None
        self._loaded: tuple[State, int] | None = None

    @property
    def recipe(self) -> Recipe:
        """The recipe that all the shards were made with."""
        return self._set.job.recipe

    @property
    def notes(self) -> tuple[str, ...]:
        """What there is to say of how the shards were found."""
        return self._set.notes

    def __len__(self) -> int:
        """The rows that this rank reads in an epoch, known from the footers alone.

        Raises TypeError with `repeat`, which has no end.
        """
        if self._repeat:
            raise TypeError("with `repeat` there is no last row, and so no length")
        return int(self._set.rows.sum()) // self._ranks.share().world_size

    def __iter__(self) -> Iterator[Row]:
        share = self._ranks.share()
        total = int(self._set.rows.sum())
        if total < share.world_size:
            raise DataError(
                "no-rows",
                f"{total} rows",
                expected=f"at least {share.world_size}, one for each rank",
                advice="give more shards, or train with fewer ranks",
            )
        self._progress = self._begin(share)
        return self._rows(self._progress)

    def _begin(self, share: Share) -> _Progress:
        epoch, position = None, 0
        if self._loaded is not None:
            (state, known), self._loaded = self._loaded, None
            if self._epochs.begin_at(share.rank, state.epoch, known):
                state.check_share(share)
                epoch, position = state.epoch, state.position
        if epoch is None:
            epoch = self._epochs.begin(share.rank)
        return _Progress(share, epoch, position, self._epochs.last(share.rank))

    def _rows(self, progress: _Progress) -> Iterator[Row]:
        share = progress.share
        has_rows = bool(share.stretch(int(self._set.rows.sum())))
        with contextlib.closing(GroupReader(self._set, self._kept)) as reader:
            while has_rows:
                skipped = progress.position
                for groups, rows in self._order.blocks(progress.epoch, share):
                    here = slice(min(skipped, len(groups)), None)
                    skipped -= here.start
                    block: dict[int, Group] = {}
                    for group, row in zip(groups[here].tolist(), rows[here].tolist(), strict=True):
                        if group not in block:
                            block[group] = reader.read(group)
                        progress.position += 1
                        yield Row(block[group], row, self._dtype)
                if not self._repeat:
                    return
                progress.epoch, progress.position = progress.epoch + 1, 0

    def state_dict(self) -> dict[str, Any]:
        """How far the iteration that began last has come, for `load_state_dict`.

        Of plain Python values. Raises RecipeError where workers of a DataLoader read the rows: they
        know, and torchdata's StatefulDataLoader asks them.
        """
        share, loaded, progress = self._ranks.share(), self._loaded, self._progress
        known = progress.last if progress else loaded[1] if loaded else 0
        in_worker = torch.utils.data.get_worker_info() is not None
        if not in_worker and self._epochs.last(share.rank) != known:
            raise RecipeError(
                "the rows are read by workers of a DataLoader, and this process has read none: "
                "use torchdata.stateful_dataloader.StatefulDataLoader, and its state_dict()"
            )
        if loaded is not None:
            return loaded[0].to_dict()
        progress = progress or _Progress(share)
        return self._state(progress.share, progress.epoch, progress.position).to_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where a dataset was when it gave this state: the next iteration does.

        Raises RecipeError for a state of other shards, of another order, or of another rank or
        worker.
        """
        loaded = State.from_dict(state)
        loaded.check_set(self._state(loaded.share, 0, 0))
        known = 0
        if not self._ranks.are_unknown:
            share = self._ranks.share()
            loaded.check_share(share)
            known = self._epochs.last(share.rank)
        self._progress, self._loaded = None, (loaded, known)

    def _state(self, share: Share, epoch: int, position: int) -> State:
        order = self._order
        how = order.shuffle, order.seed, order.buffer_size
        return State(self._set.digest, *how, share, epoch, position)

    def __getstate__(self) -> dict[str, Any]:
        # A worker that is spawned knows of no process group.
        return {**self.__dict__, "_ranks": self._ranks.found()}


def _narrowest(dtype: torch.dtype, recipe: Recipe) -> np.dtype[Any]:
    """The narrowest type that holds every token of a recipe.

    Raises RecipeError where that is wider than `dtype`.
    """
    if dtype not in _DTYPES:
        raise RecipeError(f"`dtype` is {dtype!r}, expected {', '.join(map(str, _DTYPES))}")
    tokens = possible_fills(recipe, recipe.streams)
    most = max([*tokens, *(stream.cardinality - 1 for stream in recipe.streams)])
    for narrow in _DTYPES:
        if most <= torch.iinfo(narrow).max:
            return np.dtype(str(narrow).removeprefix("torch."))
        if narrow == dtype:
            raise RecipeError(
                f"`dtype` is {dtype}, which does not hold the recipe's token {most}: "
                "give a wider one"
            )
    raise AssertionError("tokens fit into 64 bits")
