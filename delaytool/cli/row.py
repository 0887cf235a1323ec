"""The row that `delaytool inspect` is asked for, and the ways to show it."""

from __future__ import annotations

import dataclasses
import itertools
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from delaytool.cli.choices import ColumnChoice, RecipeDemanded
from delaytool.cli.session import counted, say_note
from delaytool.errors import AmbiguousError, DataError
from delaytool.texts import printable

if TYPE_CHECKING:
    from delaytool.grids.grid import Cells, Difference, Grid
    from delaytool.grids.text import Style
    from delaytool.shards.find import Shard

_SHARING = 10
"""Rows with the same key that a note names."""
_AROUND = 4
"""Timesteps to show in front of a difference, and a third of those behind it."""


@dataclass(frozen=True)
class View:
    """The options that say which row to show, and how."""

    row: int | None
    row_key: str | None
    steps: tuple[int, int | None] | None
    before: bool
    after: bool
    compare: str | None
    weights: bool
    labels: bool
    tokenizer: str | None
    frame_rate: float | None
    image: str | None

    def check(self, columns: ColumnChoice, as_json: bool) -> None:
        """Raise UsageError for options that do not go together."""
        excluding = [
            (self.row, self.row_key, "--row and --id"),
            (self.row_key, columns.no_key, "--id and --no-key"),
            (self.compare, self.before, "--compare and --before"),
            (self.compare, self.after, "--compare and --after"),
            (self.labels, self.tokenizer, "--labels and --tokenizer"),
            (self.labels, self.compare, "--labels and --compare"),
            (self.image, as_json, "--image and --json"),
            (self.image, self.compare, "--image and --compare"),
            (self.image, self.tokenizer, "--image and --tokenizer"),
        ]
        for one, other, names in excluding:
            # Row 0 is given too.
            if not any(value is None or value is False for value in (one, other)):
                raise click.UsageError(f"{names} exclude one another; give one of them")
        for given, printed in ((as_json, "--json prints"), (self.image, "--image draws")):
            if given and self.before and self.after:
                raise click.UsageError(f"{printed} one grid; give --before or --after")
        if columns.weight_column and not self.after:
            raise click.UsageError(
                "--weight-column goes with --after: before the shift are no weights"
            )

    @property
    def sides(self) -> list[bool | None]:
        """Whether each grid is that after the shift; None for as the row is in the shard."""
        asked = ((False, self.before), (True, self.after))
        return [side for side, wanted in asked if wanted] or [None]

    def style(self) -> Style:
        """How to print grids on this terminal."""
        from delaytool.grids.text import Style

        words = None
        if self.tokenizer is not None:
            from delaytool.grids.tokenizer import load_words

            words = load_words(self.tokenizer)
        is_terminal = sys.stdout.isatty()
        return Style(
            labels=self.labels,
            weights=self.weights,
            words=words,
            frame_rate=self.frame_rate,
            width=shutil.get_terminal_size().columns,
            wrap=is_terminal,
            colour=is_terminal and not os.environ.get("NO_COLOR"),
        )


class Row:
    """The row that is asked for, and the ways to show it."""

    def __init__(
        self, shard: str, view: View, columns: ColumnChoice, demanded: RecipeDemanded
    ) -> None:
        self.shard, self.view = _shard(shard), view
        self.style = view.style()
        self.where, self.recipe = columns.options(), demanded.load()
        self.other = None if view.compare is None else _shard(view.compare)
        self.audio_input = None if columns.audio_input is None else _shard(columns.audio_input)
        self.codes = self._codes()

    def as_json(self) -> tuple[str, Difference | None]:
        """The grid as JSON, and where it differs from the other shard's."""
        grids, found = self._compared(self._only())
        return grids[0].grid().to_json(), found

    def drawn(self, path: str) -> str:
        """Draw the grid to a file; what there is to say of it."""
        from delaytool.grids.picture import save_picture

        grids, _ = self._compared(self._only())
        view = self.view
        save_picture(grids[-1].grid(), path, labels=view.labels, frame_rate=view.frame_rate)
        return printable(f"drawn to {path}")

    def printed(self) -> tuple[Iterator[str], Difference | None]:
        """Lines for the eye, of the grids by each layout that fits; and where they differ.

        What is wrong is raised now; lines are made when they are taken.
        """
        from delaytool.grids.text import lines_of

        if self.other is not None:
            grids, found = self._compared(self._only())
            self._check_weights(grids)
            marked = (found.number, found.timestep) if found else None
            told = _tell_difference(found, grids[0], self.other.path)
            return itertools.chain(lines_of(grids, self.style, marked), ["", told]), found
        texts: list[Iterator[str]] = []
        for grids in self._readings():
            shown, _ = self._compared(grids)
            self._check_weights(shown)
            texts.append(itertools.chain([""] if texts else [], lines_of(shown, self.style)))
        return itertools.chain.from_iterable(texts), None

    def _check_weights(self, grids: list[Cells]) -> None:
        if not self.view.weights or any(grid.weights is not None for grid in grids):
            return
        if not any(grid.head.shifted for grid in grids):
            raise click.UsageError("--weights: there are none before the shift; add --after")
        raise click.UsageError(f"--weights: {self.shard.path} has no columns of loss weights")

    def _only(self) -> list[Cells]:
        """The grids, of which there is to be one layout; raises AmbiguousError for several."""
        return self._told(self._read(self.where.audio_layout))

    def _readings(self) -> Iterator[list[Cells]]:
        """The grids by each layout that fits."""
        try:
            grids = self._only()
        except AmbiguousError as error:
            readings, misfits = _each_layout(self._read)
            if not readings:
                # The last layout that the type allows tells best what is wrong with the row.
                raise (misfits or [error])[-1] from None
            say_note(f"{error.at(shard=None).found}; each is shown below")
            for number, (layout, found) in enumerate(readings.items()):
                grids = found if number else self._told(found)
                yield [_headed(grid, f"read with --audio-layout {layout}:") for grid in grids]
        else:
            yield grids

    def _told(self, grids: list[Cells]) -> list[Cells]:
        """The grids, once it is said that nothing but their order pairs text and codes."""
        if any(grid.head.by_order for grid in grids):
            from delaytool.shards.pairs import ORDER_ALONE

            say_note(ORDER_ALONE)
        if grids[0].head.sharing:
            say_note(_sharing(grids[0].head))
        return grids

    def _read(self, layout: str) -> list[Cells]:
        """The grids before or after the shift, or both, by one layout."""
        from delaytool.grids.read import read_cells

        return [
            read_cells(
                self.shard,
                dataclasses.replace(self.where, audio_layout=layout),
                codes=self.codes,
                row=self.view.row or 0,
                key=self.view.row_key,
                recipe=self.recipe,
                shifted=is_shifted,
            )
            for is_shifted in self.view.sides
        ]

    def _codes(self) -> Shard | None:
        """The shard of SHARD's codes; where SHARD is shifted and compared, they are SOURCE's."""
        from delaytool.shards.read import open_shard

        if self.audio_input is None:
            return None
        if self.other is not None:
            with open_shard(self.shard) as opened:
                if opened.entry is not None:
                    return None
        _tell_names(self.shard, self.audio_input)
        return self.audio_input

    def _compared(self, grids: list[Cells]) -> tuple[list[Cells], Difference | None]:
        """The timesteps that are asked for; and where the row differs from the other shard's."""
        from delaytool.grids.grid import first_difference

        found = None
        if self.other is not None:
            ours, theirs = self._counterparts(grids[0], self.other)
            grids, found = [ours], first_difference(ours, theirs)
        longest = max(grid.steps for grid in grids)
        return [_cut(grid, self.view.steps, found, longest) for grid in grids], found

    def _counterparts(self, grid: Cells, other: Shard) -> tuple[Cells, Cells]:
        """The grid and that of the other shard, as far as they can be compared."""
        from delaytool.grids.counterpart import alike, read_counterpart

        codes = None
        if self.audio_input is not None and grid.head.record is not None:
            codes = self.audio_input
            _tell_names(other, codes)
        (theirs,) = self._told([read_counterpart(other, self.where, grid.head, codes)])
        return alike(self.shard, grid, other, theirs, self.where)


def _headed(cells: Cells, line: str) -> Cells:
    """The cells with one more line of what there is to say of them."""
    head = dataclasses.replace(cells.head, about=[line, *cells.about])
    return dataclasses.replace(cells, head=head)


def _sharing(grid: Grid) -> str:
    """That other rows have the key of this one, too."""
    first = grid.sharing[:_SHARING]
    more = f" and {len(grid.sharing) - len(first):,} more" if grid.sharing[len(first) :] else ""
    rows = f"rows {', '.join(map(str, first))}{more} have"
    if not grid.sharing[1:]:
        rows = f"row {first[0]} has"
    return f"{rows} this key too, row {grid.row} is shown; `row` names another"


def _tell_names(text: Shard, codes: Shard) -> None:
    """Say that two shards of other names belong together."""
    from delaytool.jobs.paths import names_differ

    for note in names_differ(text, codes):
        say_note(note.text)


def _each_layout(
    read: Callable[[str], list[Cells]],
) -> tuple[dict[str, list[Cells]], list[DataError]]:
    """The grids by each layout that fits; and what is wrong with the row by the others.

    Layouts that the column's type rules out say nothing of the row.
    """
    from delaytool.batches.layouts import LAYOUTS, LIST

    readings: dict[str, list[Cells]] = {}
    misfits: list[DataError] = []
    for layout in (name for name in LAYOUTS if name != LIST.name):
        try:
            readings[layout] = read(layout)
        except DataError as misfit:
            if misfit.kind != "column-type":
                misfits.append(misfit)
    return readings, misfits


def _shard(path: str) -> Shard:
    """One shard by itself."""
    from delaytool.shards import stores
    from delaytool.shards.find import Shard

    path = stores.plain(path)
    return Shard(stores.base_name(path), path)


def _cut(
    grid: Cells, steps: tuple[int, int | None] | None, found: Difference | None, longest: int
) -> Cells:
    """The timesteps that are asked for, or those around a difference.

    longest: timesteps of the longest grid beside it
    """
    if steps is None and found is not None:
        start = max(found.timestep - _AROUND, 0)
        return grid.part(min(start, grid.steps - 1), found.timestep + 3 * _AROUND)
    first, last = steps or (0, None)
    if first and first >= longest:
        raise click.UsageError(f"--steps begins at {first}, but there are {longest} timesteps")
    return grid.part(first, grid.steps if last is None else last)


def _tell_difference(found: Difference | None, grid: Cells, other: str) -> str:
    from delaytool.shards import stores

    if found is None:
        return printable(f"the same as in {stores.shown(other)}")
    return printable(
        f"differs from {stores.shown(other)} in {counted(found.count, 'cell')}, "
        f"first in stream {grid.streams[found.number]}, timestep {found.timestep}: "
        f"{found.found}, there {found.expected}"
    )
