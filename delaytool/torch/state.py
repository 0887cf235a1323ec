"""How far a dataset has been read, as a checkpoint keeps it: `State`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from delaytool.errors import RecipeError
from delaytool.torch.order import Share


@dataclass(frozen=True)
class State:
    """What a state says.

    shards:      tells which shards were read
    shuffle, seed, buffer_size: in which order
    share:       by which worker of which rank
    epoch:       in which epoch it is
    position:    how many rows of its share of that epoch have been read
    """

    shards: str
    shuffle: bool
    seed: int
    buffer_size: int
    share: Share
    epoch: int
    position: int

    def to_dict(self) -> dict[str, Any]:
        """Every field, as plain values."""
        fields = dataclasses.asdict(self)
        return {**fields.pop("share"), **fields}

    @classmethod
    def from_dict(cls, fields: object) -> State:
        """The state that `to_dict` has written; raises RecipeError for anything else."""
        empty = cls("", False, 0, 0, Share(), 0, 0).to_dict()
        rest = dict(fields) if isinstance(fields, Mapping) else {}
        types = {name: type(value) for name, value in rest.items()}
        if types != {name: type(value) for name, value in empty.items()}:
            raise RecipeError(
                "the state is none that ShardDataset.state_dict() returned: give one of those"
            )
        share = Share(**{field.name: rest.pop(field.name) for field in dataclasses.fields(Share)})
        return cls(share=share, **rest)

    def check_set(self, here: State) -> None:
        """Raise RecipeError unless the state is of the same shards, read in the same order."""
        if self.shards != here.shards:
            raise RecipeError(
                "the state is of other shards, or they have been made anew: give the path that it "
                "was made with, or begin without a state"
            )
        for name in ("shuffle", "seed", "buffer_size"):
            was, now = getattr(self, name), getattr(here, name)
            if was != now:
                raise RecipeError(
                    f"`{name}` is {now!r}, expected {was!r}, as when the state was made"
                )

    def check_share(self, here: Share) -> None:
        """Raise RecipeError unless the state is of this worker of this rank."""
        if self.share != here:
            raise RecipeError(
                f"the state is of {_words(self.share)}, and this is {_words(here)}: go on with as "
                "many ranks and workers as before, each with its state"
            )


def _words(share: Share) -> str:
    return f"rank {share.rank} of {share.world_size}, worker {share.worker} of {share.workers}"
