"""A grid as a picture: streams down, time across, the loss weights below.

matplotlib draws it, with nothing of the machine, the time or the version in the file.
"""

from __future__ import annotations

import os
import textwrap
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from delaytool.errors import DataError, Place, RecipeError
from delaytool.grids.grid import Grid
from delaytool.texts import printable

ENDINGS = ("png", "svg", "pdf")
_COLOURS = {"text": "#a6cee3", "semantic": "#fdbf6f", "acoustic": "#b2df8a"}
"""Distinct for those who see red and green alike too, and dark ids stand out on them."""
_PALE, _INK, _LINE = "#f2f2f2", "#222222", "#ffffff"
_PALE_OFFSET, _PALE_ADDED = "#e2dff0", "#e0e0e0"
_HATCHED: dict[str, Any] = {"edgecolor": "#999999", "linewidth": 0}
_ROW, _CELL, _MARGIN = 0.24, 0.44, 1.7
_WIDEST = 22.0
"""Inches: of a row, of a cell with an id in it, of the names; and the most that a page is wide."""
_LETTERS, _LINE_HEIGHT = 14, 0.16
"""Letters of the title to an inch, and inches of each further line of it."""
_SMALLEST_CELL = 0.3
"""Inches below which a cell holds no id."""


def save_picture(
    grid: Grid, path: str, *, labels: bool = False, frame_rate: float | None = None
) -> None:
    """Draw a grid to a file that ends in .png, .svg or .pdf.

    labels:     labels instead of token ids
    frame_rate: frames a second; None for what the grid's recipe says
    raises:     DataError for a row of no frames and when matplotlib is missing, RecipeError for
                another ending
    """
    ending = os.path.splitext(path)[1][1:].lower()
    if ending not in ENDINGS:
        raise RecipeError(f"{path} is no picture, expected a name in .{', .'.join(ENDINGS)}")
    if not grid.steps:
        raise DataError(
            "no-frames",
            "there are no timesteps to draw",
            expected="a row with frames",
            advice="choose another `row`",
            place=Place(row=grid.row),
        )
    matplotlib = _import_matplotlib()
    from matplotlib import style

    settings = {"svg.hashsalt": "delaytool", "svg.fonttype": "none"}
    # Whatever the user's settings are, the same row makes the same picture.
    with style.context("default"), matplotlib.rc_context(settings), warnings.catch_warnings():
        # A letter that the font lacks is drawn as a box.
        warnings.filterwarnings("ignore", message="Glyph")
        figure = draw(grid, labels=labels, frame_rate=frame_rate)
        dates = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}
        nothing = {"CreationDate": None, "Creator": None, "Producer": None}
        figure.savefig(path, dpi=160, metadata=dates.get(ending, nothing))


def _import_matplotlib() -> Any:
    try:
        import matplotlib
    except ImportError:
        raise DataError(
            "not-installed",
            "matplotlib is not installed",
            expected="the package matplotlib beside delaytool",
            advice="install it with: pip install 'delaytool[plot]'",
        ) from None
    return matplotlib


def draw(grid: Grid, *, labels: bool = False, frame_rate: float | None = None) -> Any:
    """The figure: a panel of the tokens, and one of the weights where the grid has them."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    streams = len(grid.streams)
    panels = 1 if grid.weights is None else 2
    wanted = 0.9 if labels else _CELL
    cell = min(wanted, (_WIDEST - _MARGIN) / grid.steps)
    width = _MARGIN + max(cell * grid.steps, 2.6) + (1.3 if panels == 2 else 0.3)
    height = panels * (_ROW * streams + 0.6) + 0.9
    lines = textwrap.wrap(printable(grid.about[0]), int(_LETTERS * (width - _MARGIN)))
    height += _LINE_HEIGHT * (len(lines) - 1)
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(panels, 1, squeeze=False)[:, 0]
    _draw_tokens(axes[0], grid, labels, cell, frame_rate or grid.frame_rate)
    # A name may have a $ in it, where mathematics would begin.
    axes[0].set_title("\n".join(lines), fontsize=9, loc="left", pad=30, parse_math=False)
    if panels == 2:
        _draw_weights(figure, axes[1], grid, cell)
    return figure


def _draw_tokens(axes: Any, grid: Grid, labels: bool, cell: float, frame_rate: float) -> None:
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Patch, Rectangle

    image = np.array([[to_rgb(_COLOURS[kind])] * grid.steps for kind in grid.kinds])
    marks = _marks(grid)
    for mark in marks:
        image[mark.cells] = to_rgb(mark.colour)
        for number, first, count in _runs(mark.cells):
            place = (grid.first + first - 0.5, number - 0.5)
            axes.add_patch(Rectangle(place, count, 1, fill=False, hatch=mark.hatch, **_HATCHED))
    axes.imshow(image, aspect="auto", interpolation="nearest", extent=_extent(grid))
    if cell >= _SMALLEST_CELL:
        cells: Sequence[Sequence[object]] = grid.labels if labels else grid.codes
        size = 6.5 if cell >= _CELL else 5
        for number, line in enumerate(cells):
            for step, value in enumerate(line):
                shown = "-" if value is None else str(value)
                where = (grid.first + step, number)
                text = axes.text(*where, shown, ha="center", va="center", fontsize=size)
                text.set_color(_INK)
                for mark in marks:
                    if mark.cells[number, step]:
                        # The hatching is not to run through the id.
                        text.set_bbox({"facecolor": mark.colour, "edgecolor": "none", "pad": 0.6})
    _frame(axes, grid, cell)
    _add_clock(axes, grid, cell, frame_rate)
    kinds = [kind for kind in _COLOURS if kind in grid.kinds]
    handles = [Patch(facecolor=_COLOURS[kind], label=kind) for kind in kinds]
    handles += [
        Patch(facecolor=mark.colour, edgecolor="#999999", hatch=mark.hatch, label=mark.label)
        for mark in marks
    ]
    axes.figure.legend(
        handles=handles,
        loc="outside lower left",
        ncols=len(handles),
        fontsize=7,
        frameon=False,
    )


@dataclass(frozen=True, eq=False)
class _Mark:
    """Cells that are filled, [K][S], by what, and the hatching and colour that say so."""

    cells: npt.NDArray[np.bool_]
    label: str
    hatch: str
    colour: str


def _marks(grid: Grid) -> list[_Mark]:
    """The marks of a grid that has such cells."""
    marks = [
        _Mark(np.array(grid.filled), "filled by the pattern", "////", _PALE),
        _Mark(np.array(grid.offset), "filled by an offset", "....", _PALE_OFFSET),
        _Mark(np.array(grid.added), "fills the window up", "xxxx", _PALE_ADDED),
    ]
    return [mark for mark in marks if mark.cells.any()]


def _draw_weights(figure: Any, axes: Any, grid: Grid, cell: float) -> None:
    from matplotlib.colors import BoundaryNorm, ListedColormap

    weights = np.array(grid.weights)
    values = np.unique(weights)
    # One shade for each weight, as far as there are few; they lie orders of magnitude apart.
    if len(values) > 8:
        values = np.unique(np.quantile(weights, np.linspace(0, 1, 8)))
    shades = [_PALE, *_shades(int((values > 0).sum()))][-len(values) :]
    edges = [values[0] - 1, *((values[1:] + values[:-1]) / 2), values[-1] + 1]
    image = axes.imshow(
        weights,
        aspect="auto",
        interpolation="nearest",
        extent=_extent(grid),
        cmap=ListedColormap(shades),
        norm=BoundaryNorm(edges, len(values)),
    )
    _frame(axes, grid, cell)
    axes.set_title("loss weights", fontsize=8, loc="left")
    bar = figure.colorbar(image, ax=axes, spacing="uniform", fraction=0.05, pad=0.01, aspect=12)
    bar.set_ticks((np.array(edges[1:]) + np.array(edges[:-1])) / 2)
    bar.set_ticklabels([f"{value:g}" for value in values])
    bar.ax.tick_params(labelsize=7, length=0)


def _shades(count: int) -> list[str]:
    """Blues from light to dark."""
    dark, light = np.array([8, 48, 107]), np.array([198, 219, 239])
    parts = np.linspace(0, 1, count) if count > 1 else np.array([0.6] * count)
    mixed = [(light + (dark - light) * part).round().astype(int) for part in parts]
    return ["#{:02x}{:02x}{:02x}".format(*colour.tolist()) for colour in mixed]


def _extent(grid: Grid) -> tuple[float, float, float, float]:
    """Left, right, bottom and top, so that cells are centred on their timesteps and streams."""
    return (grid.first - 0.5, grid.first + grid.steps - 0.5, len(grid.streams) - 0.5, -0.5)


def _runs(filled: Any) -> list[tuple[int, int, int]]:
    """Stream, first cell and length of each run of filled cells."""
    runs = []
    for number, line in enumerate(filled):
        edges = np.flatnonzero(np.diff(line.astype(np.int8), prepend=0, append=0))
        for start, stop in edges.reshape(-1, 2).tolist():
            runs.append((number, start, stop - start))
    return runs


def _frame(axes: Any, grid: Grid, cell: float) -> None:
    """Names of the streams, lines between cells, timesteps below."""
    from matplotlib.ticker import MaxNLocator, MultipleLocator

    streams = len(grid.streams)
    names = [printable(name) for name in grid.streams]
    axes.set_yticks(range(streams), names, fontsize=7, parse_math=False)
    axes.set_yticks(np.arange(0.5, streams - 1), minor=True)
    if cell >= _SMALLEST_CELL / 2:
        axes.set_xticks(grid.first + np.arange(0.5, grid.steps - 1), minor=True)
    axes.grid(which="minor", color=_LINE, linewidth=0.8)
    axes.tick_params(which="both", length=0, labelsize=7)
    few = cell >= _SMALLEST_CELL
    axes.xaxis.set_major_locator(MultipleLocator(1) if few else MaxNLocator(20, integer=True))
    axes.set_xlabel("timestep", fontsize=7, loc="left")
    for spine in axes.spines.values():
        spine.set_visible(False)


def _add_clock(axes: Any, grid: Grid, cell: float, frame_rate: float) -> None:
    """Seconds above."""
    from matplotlib.ticker import MaxNLocator

    clock = axes.secondary_xaxis("top", (lambda x: x / frame_rate, lambda x: x * frame_rate))
    clock.xaxis.set_major_locator(MaxNLocator(max(2, min(12, int(grid.steps * cell / 0.8)))))
    clock.tick_params(length=2, labelsize=7)
    clock.set_xlabel("seconds", fontsize=7, loc="left")
    for spine in clock.spines.values():
        spine.set_visible(False)
