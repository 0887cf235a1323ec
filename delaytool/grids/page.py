"""A grid as an HTML table, for notebooks: streams down, time across."""

from __future__ import annotations

import html

from delaytool.grids.grid import Grid
from delaytool.texts import printable

COLOURS = {"text": "#cfe8f3", "semantic": "#fbe9b7", "acoustic": "#d5ecd0"}
MAX_STEPS = 200
"""Timesteps of a table; a notebook cannot show thousands of columns in good time."""
_CELL = "padding:2px 6px;text-align:right;border:1px solid #ddd;color:#222"
_FILLED = "background:#f2f2f2;color:#999"
_OFFSET = "background:#e2dff0;color:#777"
_ADDED = "background:#e0e0e0;color:#777"


def table_of(grid: Grid) -> str:
    """The grid as a table: a colour for each kind of stream, grey and violet for cells that delays
    and offsets fill, a darker grey for what fills a window up, weights as titles.

    Names and keys come from a file, and are escaped.
    """
    shown = range(min(grid.steps, MAX_STEPS))
    head = "".join(_cell("th", str(grid.first + step), _CELL) for step in shown)
    rows = [f"<tr>{_cell('th', 'timestep', _CELL)}{head}</tr>"]
    for number, name in enumerate(grid.streams):
        cells = "".join(_token(grid, number, step) for step in shown)
        rows.append(f"<tr>{_cell('th', printable(name), _CELL)}{cells}</tr>")
    about = "<br>".join(html.escape(printable(line)) for line in [grid.title, *grid.about] if line)
    more = grid.steps - len(shown)
    rest = f"<p>and {more:,} more timesteps</p>" if more else ""
    table = f'<table style="border-collapse:collapse;font-family:monospace">{"".join(rows)}</table>'
    return f'<div style="overflow-x:auto"><p>{about}</p>{table}{rest}</div>'


def _token(grid: Grid, number: int, step: int) -> str:
    """The cell of one stream at one timestep."""
    code = grid.codes[number][step]
    style, title = f"background:{COLOURS[grid.kinds[number]]}", grid.labels[number][step]
    if grid.filled[number][step]:
        style, title = _FILLED, "filled"
    elif grid.offset[number][step]:
        style, title = _OFFSET, "filled by an offset"
    elif grid.added[number][step]:
        style, title = _ADDED, "fills the window up"
    if grid.weights is not None:
        title += f", loss weight {grid.weights[number][step]:g}"
    return _cell("td", "" if code is None else str(code), f"{_CELL};{style}", title)


def _cell(tag: str, text: str, style: str, title: str = "") -> str:
    titled = f' title="{html.escape(title)}"' if title else ""
    return f'<{tag} style="{style}"{titled}>{html.escape(text)}</{tag}>'
