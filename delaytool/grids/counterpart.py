"""The row of another shard that goes with a row, to be compared with it."""

from __future__ import annotations

import dataclasses

import numpy as np

from delaytool.batches.column_options import ColumnOptions
from delaytool.batches.job import WINDOW, Job
from delaytool.batches.values import text_of
from delaytool.errors import DataError, Place, RecipeError
from delaytool.grids.grid import Cells, Grid, WindowAt
from delaytool.grids.read import column_of, read_cells, record_of, rows_with
from delaytool.grids.windows import part_of
from delaytool.shards.failures import reading
from delaytool.shards.find import Shard
from delaytool.shards.pairs import Opened, key_in, open_source
from delaytool.shards.record import Record
from delaytool.shards.recorded_rows import Quarantined

_SHOWN = 10
"""Rows that a message names."""


def read_counterpart(
    shard: Shard, where: ColumnOptions, grid: Grid, codes: Shard | None = None
) -> Cells:
    """The row of another shard with the key of this grid's, or its number where there are no keys.

    Of several rows that share the key it is the one of the grid's number, as without keys.

    where: where it has its tokens, if it is an original; where that names no columns and the grid
           is of a shifted shard, they are where that one's were
    codes: the shard of its codes, if they are in one of their own

    Raises DataError when there is no such row, or where nothing tells which; RecipeError where
    only the other shard's rows are windows, or windows that were cut in another way.
    """
    like, record = None, grid.record
    if (
        record is not None
        and dataclasses.replace(where, key=None, by_order=False) == ColumnOptions()
    ):
        like = dataclasses.replace(record.job, factors=None)
    keys: Job | ColumnOptions = where
    if record is not None and where.key is None and not where.by_order:
        keys = record.job
    with open_source(shard, codes, keys) as opened, reading(shard.name):
        name, theirs = key_in(opened, keys), record_of(opened)
        _check_windows(shard, record, theirs)
        if codes is not None:
            where = dataclasses.replace(where, key=name, by_order=keys.by_order)
        if grid.id is not None and name is not None and name in opened.schema.names:
            where = dataclasses.replace(where, key=name)
            row = _sharing_row(grid, opened, name)
        else:
            row = _counterpart_row(grid, theirs)
    return read_cells(shard, where, codes=codes, row=row, like=like)


def alike(
    shard: Shard, grid: Cells, other: Shard, theirs: Cells, where: ColumnOptions
) -> tuple[Cells, Cells]:
    """A row and its counterpart, both before the shift unless both are shifted; of a window's
    counterpart the part that the window was cut from, shifted where the cut is after the shift.

    where: where an original has its tokens

    Raises DataError where it has no such window.
    """
    one, two = grid.head, theirs.head
    if one.window and two.window and one.window.number != two.window.number:
        raise DataError(
            "no-such-row",
            f"row {two.row} is window {two.window.number} of its row",
            expected=f"window {one.window.number}, as row {one.row} of the first shard",
            advice="compare shards with the same rows, or name a `key` of their rows",
            place=Place(shard=other.name),
        )
    window = None if two.window is not None else one.window
    cuts_after = window is not None and one.record is not None and one.record.job.cuts_after
    is_before = window is not None or not (one.shifted and two.shifted)
    if is_before and not cuts_after:
        if one.shifted:
            grid = read_cells(shard, where, row=one.row, shifted=False)
        if two.shifted:
            theirs = read_cells(other, where, row=two.row, shifted=False)
    if window is not None and one.record is not None:
        theirs = part_of(theirs, window, one.record.job)
    return grid, theirs


def _check_windows(other: Shard, ours: Record | None, theirs: Record | None) -> None:
    """Raise RecipeError where rows of another shard are windows, and ours are not the same."""
    if theirs is None or theirs.job.windows is None:
        return
    windows = None if ours is None else ours.job.windows
    if windows is None:
        raise RecipeError(
            f"rows of {other.name} are windows, expected whole rows; give that shard first, and "
            "this one to be compared with it"
        )
    if windows != theirs.job.windows:
        raise RecipeError(
            f"rows of {other.name} are windows that were cut in another way, expected the same "
            "windows or whole rows"
        )


def _sharing_row(grid: Grid, other: Opened, column: str) -> int:
    """The row of another shard with the key of this grid's, of several the one that goes with it.

    column: of the other shard's keys
    """
    rows, record = rows_with(other, column, text_of(grid.id)), record_of(other)
    if record is not None and grid.window is not None and record.job.windows is not None:
        numbers = np.concatenate([part.to_numpy() for part in column_of(other, WINDOW)])
        rows = [row for row in rows if numbers[row] == grid.window.number]
    if len(rows) == 1:
        return rows[0]
    row = _counterpart_row(grid, record)
    if row in rows:
        return row
    raise DataError(
        "no-such-row",
        f"{len(rows)} rows have the {column} {grid.id!r}, none of them at the place of row "
        f"{grid.row}: {', '.join(map(str, rows[:_SHOWN]))}{' ...' if rows[_SHOWN:] else ''}",
        expected="one, or rows in the same order in both shards",
        advice="compare shards with the same rows, or name a `key` that no rows share",
        place=Place(shard=other.shard.name),
    )


def _counterpart_row(grid: Grid, other: Record | None) -> int:
    """The row of another shard that goes with the grid's, by what is not in quarantine.

    other: the other shard's record
    """
    if grid.window is not None and (other is None or other.job.windows is None):
        return _row_of_window(grid.window, other)
    if grid.record is not None and other is None:
        return Quarantined(grid.record).source_row(grid.row)
    if grid.record is None and other is not None:
        row = Quarantined(other).shifted_row(grid.row)
        if row is None:
            raise DataError(
                "row-in-quarantine",
                "the row is in quarantine",
                expected="one that was shifted",
                advice="give another `row`",
                place=Place(row=grid.row),
            )
        return row
    return grid.row


def _row_of_window(window: WindowAt, other: Record | None) -> int:
    """The row of another shard, of whole rows, that a window was cut from."""
    row = window.source_row
    if row is not None and other is not None:
        row = Quarantined(other).shifted_row(row)
    if row is None:
        raise DataError(
            "no-such-row",
            "nothing tells which row the window was cut from",
            expected="windows that follow on the first one of their row",
            advice="make the shard anew, or name a `key` of its rows",
        )
    return row
