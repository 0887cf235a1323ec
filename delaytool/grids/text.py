"""A grid as text: streams down, time across, in blocks that fit the terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from delaytool.grids.grid import Grid

_COLOURS = {"text": "36", "semantic": "33", "acoustic": "32"}
_DIM, _MARKED, _RESET = "2", "1;7;31", "\x1b[0m"
_GAP = 2
_BRACKETS = (("[", "]"), ("(", ")"), (">", "<"))
"""Around what fills a cell, and around one that is to be seen at once."""


@dataclass(frozen=True)
class Style:
    """How grids are printed.

    labels:     labels instead of token ids; weights: the loss weights below
    words:      what to print for the ids of text tokens
    frame_rate: frames a second; None for what the grid's recipe says
    width:      columns to fit into; None for no limit
    wrap:       whether what does not fit follows below, block by block, or is left out
    colour:     ANSI colours, one for each kind of stream, filled cells dim
    """

    labels: bool = False
    weights: bool = False
    words: Callable[[int], str] | None = None
    frame_rate: float | None = None
    width: int | None = None
    wrap: bool = False
    colour: bool = False


def render(grids: Sequence[Grid], style: Style, marked: tuple[int, int] | None = None) -> str:
    """Grids of one row as text, one above the other, their timesteps below one another.

    marked: number of the stream and timestep of a cell that is to be seen at once, if it is shown
    """
    tables = [table for grid in grids for table in _tables(grid, style, marked)]
    first = grids[0].first
    steps = max(grid.steps for grid in grids)
    head = [str(first + step) for step in range(steps)]
    rate = style.frame_rate or grids[0].frame_rate
    decimals = 2 if rate <= 50 else 3
    clock = [f"{(first + step) / rate:.{decimals}f}" for step in range(steps)]
    widths = [
        max(_width(line[step]) for line in (head, clock, *_lines_with(tables, step)))
        for step in range(steps)
    ]
    names = ["timestep", "seconds", *grids[0].streams]
    margin = max(_width(name) for name in names)
    parts = list(grids[0].about)
    for start, stop in _blocks(margin, widths, style):
        page = _Page(margin, widths[start:stop], style.colour)
        for table in tables:
            parts += ["", table.title] if table.title else [""]
            for name, line in (("timestep", head), ("seconds", clock)):
                parts.append(page.line(name, line[start:stop], left=table.left))
            for number, name in enumerate(grids[0].streams):
                paints = [table.kinds[number], *table.paints[number][start:stop]]
                cells = table.cells[number][start:stop]
                parts.append(page.line(name, cells, paints, left=table.left))
        shown = stop
    return "\n".join([*parts, *_legend(grids, style), *_rest(first, shown, steps)])


@dataclass(frozen=True)
class _Table:
    """Lines of cells and how to paint them; left: whether cells begin below one another."""

    title: str
    kinds: list[str]
    cells: list[list[str]]
    paints: list[list[str]]
    left: bool = False


def _tables(grid: Grid, style: Style, marked: tuple[int, int] | None) -> Iterator[_Table]:
    kinds = [_COLOURS[kind] for kind in grid.kinds]
    paints = [
        [
            _DIM if is_filled or is_moved else kind
            for is_filled, is_moved in zip(*lines, strict=True)
        ]
        for kind, *lines in zip(kinds, grid.filled, grid.offset, strict=True)
    ]
    title = grid.title and f"{grid.title} the shift"
    if style.labels:
        yield _Table(title, kinds, grid.labels, paints, left=True)
    else:
        cells = [_ids(grid, number, style) for number in range(len(kinds))]
        if marked is not None:
            number, step = marked[0], marked[1] - grid.first
            if 0 <= step < grid.steps:
                cells[number][step] = f">{cells[number][step].strip(' []()')}<"
                paints[number][step] = _MARKED
        yield _Table(title, kinds, _bracketed(cells), paints)
    if style.weights and grid.weights is not None:
        weights = [[f"{weight:g}" for weight in line] for line in grid.weights]
        yield _Table("loss weights", kinds, weights, paints)


def _ids(grid: Grid, number: int, style: Style) -> list[str]:
    """The cells of a stream: ids, or words of text; [id] where a delay fills, (id) where an offset
    does, - where cut off."""
    cells = []
    flags = grid.filled[number], grid.offset[number]
    for code, is_filled, is_moved in zip(grid.codes[number], *flags, strict=True):
        if code is None:
            cells.append("-")
        elif is_filled:
            cells.append(f"[{code}]")
        elif is_moved:
            cells.append(f"({code})")
        elif style.words is not None and grid.kinds[number] == "text":
            cells.append(grid.padding[number].get(code) or style.words(code))
        else:
            cells.append(str(code))
    return cells


def _bracketed(cells: list[list[str]]) -> list[list[str]]:
    """Cells with room for a bracket at their end where another one below or above has one."""
    ends = {
        step for line in cells for step, cell in enumerate(line) if (cell[0], cell[-1]) in _BRACKETS
    }
    return [
        [
            cell if step not in ends or (cell[0], cell[-1]) in _BRACKETS else f"{cell} "
            for step, cell in enumerate(line)
        ]
        for line in cells
    ]


def _lines_with(tables: Sequence[_Table], step: int) -> Iterator[list[str]]:
    """Every line of the tables that reaches a timestep."""
    for table in tables:
        if step < len(table.cells[0]):
            yield from table.cells


def _blocks(margin: int, widths: list[int], style: Style) -> Iterator[tuple[int, int]]:
    """Timesteps start ... stop - 1 that fit beside one another, at least one at a time."""
    start = 0
    while True:
        stop, used = start, margin
        while stop < len(widths):
            used += _GAP + widths[stop]
            if style.width is not None and used > style.width and stop > start:
                break
            stop += 1
        yield start, stop
        if stop >= len(widths) or not style.wrap:
            return
        start = stop


@dataclass(frozen=True)
class _Page:
    """How wide the names and each timestep of a block are."""

    margin: int
    widths: list[int]
    colour: bool

    def line(
        self, name: str, cells: list[str], paints: list[str] | None = None, *, left: bool
    ) -> str:
        """A name and its cells, each in its colour."""
        parts = [_padded(name, self.margin, True)]
        parts += [_padded(cell, w, left) for cell, w in zip(cells, self.widths, strict=False)]
        if self.colour:
            painted = paints or [_DIM] * len(parts)
            parts = [f"\x1b[{p}m{x}{_RESET}" for x, p in zip(parts, painted, strict=True)]
        return (" " * _GAP).join(parts).rstrip()


def _padded(text: str, width: int, left: bool) -> str:
    room = " " * (width - _width(text))
    return text + room if left else room + text


def _width(text: str) -> int:
    """Columns that a text takes in a terminal."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def _legend(grids: Sequence[Grid], style: Style) -> list[str]:
    lines = []
    if not style.labels and any(any(line) for grid in grids for line in grid.filled):
        lines.append("[id]: filled by the pattern")
    if not style.labels and any(any(line) for grid in grids for line in grid.offset):
        lines.append("(id): filled by an offset")
    if any(None in line for grid in grids for line in grid.codes):
        lines.append("-: cut off by truncation")
    return ["", "; ".join(lines)] if lines else []


def _rest(first: int, shown: int, steps: int) -> list[str]:
    if shown == steps:
        return []
    start, last = first + shown, first + steps
    return [
        f"... and {steps - shown} more timesteps, {start} to {last - 1}: "
        f"the next are steps {start}:{min(start + shown, last)}"
    ]
