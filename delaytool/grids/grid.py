"""One row as a grid: streams down, time across."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from delaytool.errors import DataError
from delaytool.recipes.recipe import FRAME_RATE
from delaytool.shards.record import Record


@dataclass(frozen=True)
class Grid:
    """One row, ready to be shown.

    about:   what the shard is, line by line
    title:   which side of the shift this is, where both are shown: "before" or "after"
    codes:   [K][S]; None where truncation cut a token off
    filled:  [K][S] True where a delay fills a cell, which holds no token of its stream
    offset:  [K][S] the same of offsets
    weights: [K][S] as the shard has them; None where it has none
    labels:  [K][S] kind and number of the frame from 1, "S" in filled cells, "O" in an offset's
    padding: for each stream names of text tokens that are padding, by their ids
    shifted: whether this is the row after the shift
    first:   number of the first timestep
    frame_rate: frames a second, as the recipe says
    record:  what a shifted shard says of itself; None for an original one
    by_order: whether text and codes come from shards whose rows only their order pairs, unasked
    """

    about: list[str]
    title: str
    row: int
    id: Any
    streams: list[str]
    kinds: list[str]
    delays: list[int]
    codes: list[list[int | None]]
    filled: list[list[bool]]
    offset: list[list[bool]]
    weights: list[list[float]] | None
    labels: list[list[str]]
    padding: list[dict[int, str]]
    shifted: bool
    first: int = 0
    frame_rate: float = FRAME_RATE
    record: Record | None = None
    by_order: bool = False

    @property
    def steps(self) -> int:
        """How many timesteps there are."""
        return len(self.codes[0])

    def cut(self, start: int, stop: int) -> Grid:
        """The timesteps start ... stop - 1 only."""
        parts: dict[str, Any] = {
            name: [line[start:stop] for line in getattr(self, name)]
            for name in ("codes", "filled", "offset", "weights", "labels")
            if getattr(self, name) is not None
        }
        return dataclasses.replace(self, first=self.first + start, **parts)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from delaytool.grids.page import table_of

        return table_of(self)

    def to_json(self) -> str:
        """The fields that the command line prints as JSON."""
        names = ("row", "id", "streams", "delays", "codes", "filled", "offset", "weights")
        return json.dumps({name: getattr(self, name) for name in names}, default=str)


@dataclass(frozen=True)
class Difference:
    """The first cell in which two grids differ, by timestep; how many differ in all.

    number: which stream
    """

    number: int
    timestep: int
    found: Any
    expected: Any
    count: int


def first_difference(ours: Grid, theirs: Grid) -> Difference | None:
    """Where two grids differ; None where all their cells are the same.

    What truncation cut off has no part in it. Raises DataError for another number of streams.
    """
    if len(ours.codes) != len(theirs.codes):
        raise DataError(
            "streams",
            f"{len(ours.codes)} streams and {len(theirs.codes)}",
            expected="as many in both shards",
            advice="compare a shard with what it was made from",
        )
    common = min(ours.steps, theirs.steps)
    places = [
        (step, number)
        for step in range(common)
        for number, (one, other) in enumerate(zip(ours.codes, theirs.codes, strict=True))
        if one[step] != other[step] and None not in (one[step], other[step])
    ]
    count = len(places) + len(ours.codes) * abs(ours.steps - theirs.steps)
    if places:
        step, number = places[0]
        pair = ours.codes[number][step], theirs.codes[number][step]
        return Difference(number, step, *pair, count)
    if ours.steps != theirs.steps:
        found, expected = (f"{grid.steps} timesteps" for grid in (ours, theirs))
        return Difference(0, common, found, expected, count)
    return None
