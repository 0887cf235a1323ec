"""What the tasks on one shard have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

from delaytool.jobs.paths import Item
from delaytool.shards import stores
from delaytool.shards.commit import remove_leftovers
from delaytool.shards.find import Shard


class ShardTask(ABC):
    """Reads a shard, and may write files."""

    @property
    @abstractmethod
    def reads(self) -> Shard:
        """The shard that the task is named after."""

    @property
    def writes(self) -> tuple[str, ...]:
        """The paths of the files that it writes."""
        return ()

    @property
    def name(self) -> str:
        """What the shard is called in messages."""
        return self.reads.name

    @cached_property
    def size(self) -> int:
        """The shard's size in bytes."""
        shard = self.reads
        return stores.size_of(shard.path) if shard.size is None else shard.size

    @property
    def paths(self) -> tuple[str, ...]:
        """The files that it reads and writes, as far as they are on this machine."""
        paths = (self.reads.path, *self.writes)
        return tuple(path for path in paths if not stores.is_remote(path))

    def abandon(self) -> None:
        """Clean up after a process that was killed while it ran the task."""
        for path in self.writes:
            remove_leftovers(path)


@dataclass(frozen=True)
class ItemTask(ShardTask):
    """Reads a shard, and makes another one of it."""

    item: Item

    @property
    def reads(self) -> Shard:
        """The shard that another one is made of."""
        return self.item.shard

    @property
    def writes(self) -> tuple[str, ...]:
        """The output, and the shard of its bad rows."""
        return (self.item.target, *([] if self.item.quarantine is None else [self.item.quarantine]))
