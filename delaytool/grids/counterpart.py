"""The row of another shard that goes with a row, to be compared with it."""

from __future__ import annotations

import dataclasses

from delaytool.batches.column_options import ColumnOptions
from delaytool.batches.job import Job
from delaytool.batches.values import text_of
from delaytool.errors import DataError, Place, RecipeError
from delaytool.grids.grid import Cells, Grid
from delaytool.grids.read import read_cells, record_of, rows_with
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

    Raises DataError when there is no such row, or where nothing tells which.
    """
    like, record = None, grid.record
    if record is not None and record.job.windows is not None:
        raise RecipeError(
            "rows of this shard are windows, which are not compared with rows one by one, expected "
            "a shard of whole rows; verify with `source` compares all of them"
        )
    if (
        record is not None
        and dataclasses.replace(where, key=None, by_order=False) == ColumnOptions()
    ):
        like = dataclasses.replace(record.job, factors=None)
    keys: Job | ColumnOptions = where
    if record is not None and where.key is None and not where.by_order:
        keys = record.job
    with open_source(shard, codes, keys) as opened, reading(shard.name):
        name = key_in(opened, keys)
        if codes is not None:
            where = dataclasses.replace(where, key=name, by_order=keys.by_order)
        if grid.id is not None and name is not None and name in opened.schema.names:
            where = dataclasses.replace(where, key=name)
            row = _sharing_row(grid, opened, name)
        else:
            row = _counterpart_row(grid, record_of(opened))
    return read_cells(shard, where, codes=codes, row=row, like=like)


def _sharing_row(grid: Grid, other: Opened, column: str) -> int:
    """The row of another shard with the key of this grid's, of several the one that goes with it.

    column: of the other shard's keys
    """
    rows = rows_with(other, column, text_of(grid.id))
    if len(rows) == 1:
        return rows[0]
    row = _counterpart_row(grid, record_of(other))
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
