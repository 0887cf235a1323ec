"""One row of a shard as a grid: streams down, time across.

Reading finds out what the shard is (shifted, by its record, or an original, by its columns), and
shows the row as it is in the shard, or as it was before the shift, or as it would be after it.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from delaytool.batches.column_options import ColumnOptions
from delaytool.batches.columns import describe_columns, job_of_original
from delaytool.batches.fields import check_there
from delaytool.batches.job import WINDOW, Job, make_job
from delaytool.batches.problems import key_of
from delaytool.batches.shift import shift
from delaytool.batches.values import text_of, value_of
from delaytool.errors import DataError, Place
from delaytool.grids.grid import Cells, Grid, WindowAt
from delaytool.grids.sides import after, before, head_of, make, original
from delaytool.grids.windows import said_of, window_at
from delaytool.recipes.presets import load_preset
from delaytool.recipes.recipe import Recipe
from delaytool.shards.failures import reading
from delaytool.shards.find import Shard
from delaytool.shards.pairs import Opened, is_by_order_alone, open_source
from delaytool.shards.read import OpenShard, read_record
from delaytool.shards.record import Record

_COLUMNS = "`text_column`, `audio_column` or `grid_column`, or its codes' shard with `audio_input`"


def read_cells(
    shard: Shard,
    where: ColumnOptions,
    *,
    codes: Shard | None = None,
    row: int = 0,
    key: str | None = None,
    recipe: Recipe | None = None,
    shifted: bool | None = None,
    like: Job | None = None,
) -> Cells:
    """Read one row of a shifted or an original shard.

    where:    where an original shard has its tokens; a shifted one says so itself
    codes:    the shard of an original's codes, if they are in one of their own
    row, key: which row; a key is looked up in the key column, as text
    recipe:   the streams of an original shard; None for as many as there are, or for Moshi's where
              the shift is to be shown
    shifted:  whether to show the row after the shift, or before it; None for as it is in the shard
    like:     the job of a shard that was made from this original, which says where its tokens are
    raises:   DataError when there is no such row or column, or its tokens cannot be read
    """
    with open_source(shard, codes, where) as opened, reading(shard.name):
        record = record_of(opened)
        recipe = load_preset() if recipe is None and shifted else recipe
        job = _job_of(opened, where, recipe, like) if record is None else record.job
        named = where.key or (None if job.key in job.drop_columns and record else job.key)
        job = dataclasses.replace(job, key=_key_column(opened, where, named, key))
        sharing: list[int] = []
        if key is not None:
            row, *sharing = rows_with(opened, job.key, key)
        factors = where.weight_column if record is None and shifted else None
        if factors is not None:
            check_there(opened.schema, factors, "`weight_column`")
        batch = _read_row(opened, row, job, factors)
        name, ids = key_of(batch, 0, job), value_of(batch.column(job.key)[0]) if job.key else None
        try:
            window = None if record is None else _window(opened, record, row, batch)
            if record is None and shifted:
                # As apply would, with loss weights.
                job = make_job(job.recipe, dataclasses.replace(where, key=job.key), job.columns)
                batch = shift(batch, job)
            if shifted or (shifted is None and record is not None):
                side = after(batch, job)
            elif record is None:
                side = original(batch, job, any_token=recipe is None)
            else:
                side = before(batch, job)
        except DataError as error:
            raise error.at(row=row, key=name) from None
        about = _about(opened, record, job, row, name, window)
        title = "" if shifted is None else "after" if shifted else "before"
        head = dataclasses.replace(
            head_of(about, title, row, ids, side, job),
            record=record,
            by_order=is_by_order_alone(opened, where),
            sharing=tuple(sharing),
            window=window,
        )
        return make(head, side, job.recipe)


def read_grid(shard: Shard, where: ColumnOptions, **how: Any) -> Grid:
    """All of a row as a grid; `how` is that of `read_cells`."""
    return read_cells(shard, where, **how).grid()


def record_of(opened: Opened) -> Record | None:
    """The record of a shard, if it is shifted; raises DataError for codes given beside one."""
    if isinstance(opened, OpenShard):
        return read_record(opened)
    if opened.entry is not None:
        raise DataError(
            "shifted-already",
            "it is shifted, or its codes are",
            expected="two original shards",
            advice="leave out `audio_input`",
        )
    return None


def _job_of(opened: Opened, where: ColumnOptions, recipe: Recipe | None, like: Job | None) -> Job:
    """The job that reads an original: that of a shard made from it, as far as it has its key."""
    if like is None:
        return job_of_original(where, opened.schema, opened.small_batches(), recipe)
    for column in like.columns:
        check_there(opened.schema, column.name, _COLUMNS)
    return like if like.key in opened.schema.names else dataclasses.replace(like, key=None)


def _key_column(
    opened: Opened, where: ColumnOptions, column: str | None, key: str | None
) -> str | None:
    """The column of the rows' keys, if there is one that is to be used."""
    if where.by_order:
        return None
    if column is None and "id" in opened.schema.names:
        column = "id"
    if column is not None and column in opened.schema.names:
        return column
    if key is not None or column is not None:
        raise _no_key(opened, column)
    return None


def _no_key(opened: Opened, key: str | None) -> DataError:
    return DataError(
        "missing-column",
        "there is no column id" if key is None else f"there is no column {key}",
        expected=f"one of {', '.join(opened.schema.names)}",
        advice="name the column of the rows' keys with `key`, or give `row`",
        place=Place(shard=opened.shard.name),
    )


def rows_with(opened: Opened, column: str | None, key: str) -> list[int]:
    """The rows whose key is this text; raises DataError where there is none."""
    if column is None or column not in opened.schema.names:
        raise _no_key(opened, column)
    # A byte that is no UTF-8 is escaped in a value, too.
    key = os.fsencode(key).decode(errors="backslashreplace")
    row, rows = 0, []
    with reading(opened.shard.name):
        for batch in opened.small_batches([column]):
            for value in batch.column(0):
                found = value_of(value)
                if key in (text_of(found), str(found)):
                    rows.append(row)
                row += 1
    if rows:
        return rows
    raise DataError(
        "no-such-row",
        f"no row has the {column} {key!r}",
        advice="look for the key in another shard, or give `row`",
        place=Place(shard=opened.shard.name),
    )


def _read_row(opened: Opened, row: int, job: Job, factors: str | None) -> pa.RecordBatch:
    """A batch of just this row, with the job's columns, the key and factors on the weights."""
    if not 0 <= row < opened.rows:
        raise DataError(
            "no-such-row",
            f"there is no row {row}",
            expected=f"0 to {opened.rows - 1}" if opened.rows else "a shard with rows in it",
            advice="give another `row`",
            place=Place(shard=opened.shard.name),
        )
    shifted = opened.entry is not None
    wanted = [column.name for column in (job.outputs if shifted else job.columns)]
    wanted += [output.weights for output in job.outputs if output.weights and shifted]
    wanted += [name for name in (job.key, factors) if name]
    wanted += job.window_columns if shifted else ()
    names = list(dict.fromkeys(wanted))
    with reading(opened.shard.name):
        if not isinstance(opened, OpenShard):
            return _nth_row(opened.small_batches(names), row)
        first = 0
        for group in range(opened.file.metadata.num_row_groups):
            count = opened.file.metadata.row_group(group).num_rows
            if row < first + count:
                return _nth_row(opened.small_batches(names, [group]), row - first)
            first += count
    raise DataError("unreadable", f"row {row} cannot be read", place=Place(shard=opened.shard.name))


def _nth_row(batches: Iterator[pa.RecordBatch], row: int) -> pa.RecordBatch:
    for batch in batches:
        if row < batch.num_rows:
            return batch.slice(row, 1)
        row -= batch.num_rows
    raise DataError("unreadable", f"{row} rows fewer than the footer says")


def column_of(opened: Opened, name: str, rows: int | None = None) -> Iterator[pa.Array]:
    """A column, or its first rows, a few rows at a time."""
    rows = opened.rows if rows is None else rows
    with reading(opened.shard.name):
        for batch in opened.small_batches([name]):
            yield batch.column(0)[:rows]
            rows -= batch.num_rows
            if rows <= 0:
                return


def _window(opened: Opened, record: Record, row: int, batch: pa.RecordBatch) -> WindowAt | None:
    """Which window a row of a shard is, of which `batch` has that row alone."""
    if record.job.windows is None:
        return None
    return window_at(batch, column_of(opened, WINDOW, row + 1), record)


def _about(
    opened: Opened,
    record: Record | None,
    job: Job,
    row: int,
    key: str | None,
    window: WindowAt | None,
) -> list[str]:
    recipe = job.recipe
    where = f"{opened.shard.name}, row {row} of {opened.rows}" + (f" ({key})" if key else "")
    if window is not None:
        where += f", {said_of(window, job)}"
    if record is None:
        made = "original (not shifted)"
    else:
        steps = [name for name in ("initial_step", "final_step") if getattr(recipe, name)]
        made = f"shifted by delaytool {record.version}: " + ", ".join(
            [recipe.length, *(name.replace("_", " ") for name in steps)]
        )
        made += f", dep_q {recipe.dep_q} of {recipe.n_q}"
    columns = describe_columns(job.columns if record is None else job.outputs, opened.schema)
    if record is None:
        return [where, made, *columns]
    moves = [f"delays (frames): {' '.join(str(delay) for delay in recipe.delays)}"]
    if recipe.has_offsets:
        offsets = " ".join(str(stream.offset) for stream in recipe.streams)
        moves.append(f"offsets (frames): {offsets}; {recipe.content_length}")
    return [where, made, *columns, *moves]
