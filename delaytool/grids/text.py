"""A grid as text: streams down, time across, in blocks that fit the terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from delaytool.grids.grid import Cells, Grid
from delaytool.texts import printable

_COLOURS = {"text": "36", "semantic": "33", "acoustic": "32"}
_DIM, _MARKED, _RESET = "2", "1;7;31", "\x1b[0m"
_GAP = 2
_BRACKETS = (("[", "]"), ("(", ")"), ("{", "}"), (">", "<"))
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


def render(
    grids: Sequence[Grid | Cells], style: Style, marked: tuple[int, int] | None = None
) -> str:
    """Grids of one row as text, one above the other, their timesteps below one another.

    marked: number of the stream and timestep of a cell that is to be seen at once, if it is shown
    """
    return "\n".join(lines_of(grids, style, marked))


def lines_of(
    grids: Sequence[Grid | Cells], style: Style, marked: tuple[int, int] | None = None
) -> Iterator[str]:
    """The lines of `render`, block by block: what is not taken is not made."""
    yield from map(printable, grids[0].about)
    steps = max(grid.steps for grid in grids)
    # A timestep takes a gap and a letter at least.
    most = steps if style.width is None else style.width // (_GAP + 1) + 1
    shown, seen = 0, _Seen()
    while True:
        parts = [grid.cut(shown, min(shown + max(most, 1), steps)) for grid in grids]
        fitting, lines = _block(parts, style, marked)
        yield from lines
        seen.add([part.cut(0, fitting) for part in parts])
        shown += fitting
        if shown >= steps or not style.wrap:
            break
    yield from seen.legend(style)
    yield from _rest(grids[0].first, shown, steps)


def _block(
    grids: Sequence[Grid], style: Style, marked: tuple[int, int] | None
) -> tuple[int, list[str]]:
    """How many timesteps fit beside one another, at least one, and their lines."""
    tables = [table for grid in grids for table in _tables(grid, style, marked)]
    first, steps = grids[0].first, max(grid.steps for grid in grids)
    rate = style.frame_rate or grids[0].frame_rate
    decimals = 2 if rate <= 50 else 3
    head = [str(first + step) for step in range(steps)]
    clock = [f"{(first + step) / rate:.{decimals}f}" for step in range(steps)]
    widths = [
        max(_width(line[step]) for line in (head, clock, *_lines_with(tables, step)))
        for step in range(steps)
    ]
    streams = [printable(name) for name in grids[0].streams]
    margin = max(_width(name) for name in ("timestep", "seconds", *streams))
    stop = _fitting(margin, widths, style.width)
    page = _Page(margin, widths[:stop], style.colour)
    lines: list[str] = []
    for table in tables:
        lines += ["", table.title] if table.title else [""]
        for name, line in (("timestep", head), ("seconds", clock)):
            lines.append(page.line(name, line[:stop], left=table.left))
        for number, name in enumerate(streams):
            paints = [table.kinds[number], *table.paints[number][:stop]]
            lines.append(page.line(name, table.cells[number][:stop], paints, left=table.left))
    return stop, lines


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
        [_DIM if any(is_no_token) else kind for is_no_token in zip(*lines, strict=True)]
        for kind, *lines in zip(kinds, grid.filled, grid.offset, grid.added, strict=True)
    ]
    title = grid.title and f"{grid.title} the shift"
    if style.labels:
        yield _Table(title, kinds, grid.labels, paints, left=True)
    else:
        cells = [_ids(grid, number, style) for number in range(len(kinds))]
        if marked is not None:
            number, step = marked[0], marked[1] - grid.first
            if 0 <= step < grid.steps:
                cells[number][step] = f">{cells[number][step].strip(' [](){}')}<"
                paints[number][step] = _MARKED
        yield _Table(title, kinds, _bracketed(cells), paints)
    if style.weights and grid.weights is not None:
        weights = [[f"{weight:g}" for weight in line] for line in grid.weights]
        yield _Table("loss weights", kinds, weights, paints)


def _ids(grid: Grid, number: int, style: Style) -> list[str]:
    """The cells of a stream: ids, or words of text; [id] where a delay fills, (id) where an offset
    does, {id} where that fills a window up, - where cut off."""
    cells = []
    flags = grid.filled[number], grid.offset[number], grid.added[number]
    for code, is_filled, is_moved, is_added in zip(grid.codes[number], *flags, strict=True):
        if code is None:
            cells.append("-")
        elif is_filled:
            cells.append(f"[{code}]")
        elif is_moved:
            cells.append(f"({code})")
        elif is_added:
            cells.append(f"{{{code}}}")
        elif style.words is not None and grid.kinds[number] == "text":
            word = grid.padding[number].get(code)
            cells.append(word or printable(style.words(code)))
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


def _fitting(margin: int, widths: list[int], width: int | None) -> int:
    """How many timesteps fit beside one another, at least one if there are any."""
    stop, used = 0, margin
    while stop < len(widths):
        used += _GAP + widths[stop]
        if width is not None and used > width and stop:
            break
        stop += 1
    return stop


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


class _Seen:
    """What has been shown that needs a word of explanation."""

    def __init__(self) -> None:
        self.filled = self.moved = self.added = self.lost = False

    def add(self, grids: Sequence[Grid]) -> None:
        """Look at what is shown."""
        for grid in grids:
            self.filled |= any(any(line) for line in grid.filled)
            self.moved |= any(any(line) for line in grid.offset)
            self.added |= any(any(line) for line in grid.added)
            self.lost |= any(None in line for line in grid.codes)

    def legend(self, style: Style) -> list[str]:
        """A line for all of it."""
        parts = [
            (self.filled and not style.labels, "[id]: filled by the pattern"),
            (self.moved and not style.labels, "(id): filled by an offset"),
            (self.added and not style.labels, "{id}: fills the window up"),
            (self.lost, "-: cut off by truncation"),
        ]
        words = [text for is_seen, text in parts if is_seen]
        return ["", "; ".join(words)] if words else []


def _rest(first: int, shown: int, steps: int) -> list[str]:
    if shown == steps:
        return []
    start, last = first + shown, first + steps
    return [
        f"... and {steps - shown} more timesteps, {start} to {last - 1}: "
        f"the next are steps {start}:{min(start + shown, last)}"
    ]
