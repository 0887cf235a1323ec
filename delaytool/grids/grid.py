"""One row as a grid, streams down, time across; and as arrays, of which grids show parts."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from delaytool.batches.job import WINDOW_COLUMNS
from delaytool.batches.values import text_of
from delaytool.errors import DataError
from delaytool.pattern.segments import Array
from delaytool.recipes.recipe import FRAME_RATE
from delaytool.shards.record import Record
from delaytool.texts import to_json


@dataclass(frozen=True)
class WindowAt:
    """Which window a row of a shard is.

    number:     in its row; start: its first frame, or timestep where the cut is after the shift
    frames:     of the whole row
    source_row: which row of the source that is; None where the shard does not tell
    """

    number: int
    start: int
    frames: int
    source_row: int | None


@dataclass(frozen=True)
class Grid:
    """One row, ready to be shown.

    about:   what the shard is, line by line
    id:      the row's key; dates, times and durations are texts
    title:   which side of the shift this is, where both are shown: "before" or "after"
    codes:   [K][S]; None where truncation cut a token off
    filled:  [K][S] True where a delay fills a cell, which holds no token of its stream
    offset:  [K][S] the same of offsets
    added:   [K][S] the same of what fills a window up
    weights: [K][S] as the shard has them; None where it has none
    labels:  [K][S] kind and number of the frame from 1, "S" in filled cells, "O" in an offset's,
             "P" in what fills a window up
    padding: for each stream names of text tokens that are padding, by their ids
    shifted: whether this is the row after the shift
    first:   number of the first timestep
    frame_rate: frames a second, as the recipe says
    record:  what a shifted shard says of itself; None for an original one
    by_order: whether text and codes come from shards whose rows only their order pairs, unasked
    sharing: the numbers of other rows that have the key by which this one was found
    window:  which window of which row this is; None for a whole row
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
    added: list[list[bool]]
    weights: list[list[float]] | None
    labels: list[list[str]]
    padding: list[dict[int, str]]
    shifted: bool
    first: int = 0
    frame_rate: float = FRAME_RATE
    record: Record | None = None
    by_order: bool = False
    sharing: tuple[int, ...] = ()
    window: WindowAt | None = None

    @property
    def steps(self) -> int:
        """How many timesteps there are."""
        return len(self.codes[0]) if self.codes else 0

    def cut(self, start: int, stop: int) -> Grid:
        """The timesteps start ... stop - 1 only."""
        parts: dict[str, Any] = {
            name: [line[start:stop] for line in getattr(self, name)]
            for name in ("codes", "filled", "offset", "added", "weights", "labels")
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
        fields = {name: getattr(self, name) for name in names}
        if isinstance(self.id, bytes):
            fields["id"] = text_of(self.id)
        if self.window is not None:
            at = self.window
            fields |= dict(zip(WINDOW_COLUMNS, (at.number, at.start, at.frames), strict=True))
            fields |= {"source_row": at.source_row, "added": self.added}
        return to_json(fields)


@dataclass(frozen=True, eq=False)
class Cells:
    """One row as arrays, of which grids show parts: what nobody sees is never made into lists.

    head:    a grid without timesteps, for what there is to say of the row
    codes:   integers [K, S]
    filled:  [K, S] True where a delay fills a cell; offset: where an offset does; added: where
             that is what fills a window up
    lost:    [K, S] True where truncation cut a token off; None for nowhere
    weights: [K, S] as the shard has them; None where it has none
    starts:  for each stream the timestep of its frame 1
    """

    head: Grid
    codes: Array
    filled: Array
    offset: Array
    added: Array
    lost: Array | None
    weights: Array | None
    starts: tuple[int, ...]

    @property
    def steps(self) -> int:
        """How many timesteps there are."""
        return int(self.codes.shape[1])

    @property
    def first(self) -> int:
        """Number of the first timestep."""
        return self.head.first

    @property
    def about(self) -> list[str]:
        """What the shard is, line by line."""
        return self.head.about

    @property
    def streams(self) -> list[str]:
        """The streams' names."""
        return self.head.streams

    def part(self, start: int, stop: int) -> Cells:
        """The timesteps start ... stop - 1 only."""
        names = ("codes", "filled", "offset", "added", "lost", "weights")
        arrays = {name: getattr(self, name) for name in names}
        parts: dict[str, Any] = {
            name: None if array is None else array[:, start:stop] for name, array in arrays.items()
        }
        head = dataclasses.replace(self.head, first=self.first + start)
        return dataclasses.replace(self, head=head, **parts)

    def cut(self, start: int, stop: int) -> Grid:
        """The timesteps start ... stop - 1 as a grid."""
        part = self.part(start, stop)
        codes: list[list[int | None]] = part.codes.tolist()
        if part.lost is not None:
            for number, step in np.argwhere(part.lost).tolist():
                codes[number][step] = None
        return dataclasses.replace(
            part.head,
            codes=codes,
            filled=part.filled.tolist(),
            offset=part.offset.tolist(),
            added=part.added.tolist(),
            weights=None if part.weights is None else part.weights.tolist(),
            labels=part.labels(),
        )

    def labels(self) -> list[list[str]]:
        """S for a cell that a delay fills, O for one of an offset, P for what fills a window up,
        else kind and number of the frame from 1."""
        steps = np.arange(self.first, self.first + self.steps)
        labels = []
        for number, (kind, start) in enumerate(zip(self.head.kinds, self.starts, strict=True)):
            line = np.array([f"{kind}_{step - start + 1}" for step in steps.tolist()], dtype=object)
            for mark, cells in (("P", self.added), ("S", self.filled), ("O", self.offset)):
                line[cells[number]] = mark
            labels.append(line.tolist())
        return labels

    def grid(self) -> Grid:
        """All of them as a grid."""
        return self.cut(0, self.steps)


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


def first_difference(ours: Grid | Cells, theirs: Grid | Cells) -> Difference | None:
    """Where two rows differ; None where all their cells are the same.

    What truncation cut off has no part in it. Raises DataError for another number of streams.
    """
    if not ours.steps and not theirs.steps:
        return None  # Rows of no frames need not tell how many streams there are.
    (one, one_lost), (other, other_lost) = _known(ours), _known(theirs)
    if len(one) != len(other):
        raise DataError(
            "streams",
            f"{len(one)} streams and {len(other)}",
            expected="as many in both shards",
            advice="compare a shard with what it was made from",
        )
    common = min(ours.steps, theirs.steps)
    differs = one[:, :common] != other[:, :common]
    for lost in (one_lost, other_lost):
        if lost is not None:
            differs &= ~lost[:, :common]
    count = int(differs.sum()) + len(one) * abs(ours.steps - theirs.steps)
    if differs.any():
        step = int(differs.any(axis=0).argmax())
        number = int(differs[:, step].argmax())
        return Difference(number, step, int(one[number, step]), int(other[number, step]), count)
    if ours.steps != theirs.steps:
        found, expected = (f"{each.steps} timesteps" for each in (ours, theirs))
        return Difference(0, common, found, expected, count)
    return None


def _known(row: Grid | Cells) -> tuple[Array, Array | None]:
    """The codes of a row, and where truncation cut them off."""
    if isinstance(row, Cells):
        return row.codes, row.lost
    lost = np.array([[code is None for code in line] for line in row.codes])
    codes = np.array([[0 if code is None else code for code in line] for line in row.codes])
    return codes, lost
