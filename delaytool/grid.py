"""One row of a shard as a grid: streams down, time across.

Reading finds out what the shard is (shifted, by its record, or an original, by its columns);
printing fits a width and says what it left out.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from delaytool.detect import describe_columns, job_of_original
from delaytool.errors import DataError, Place
from delaytool.job import Column, Job, Output, Record, Where
from delaytool.recipe import Recipe, Stream
from delaytool.shards import OpenShard, Shard, open_shard, read_record, reading
from delaytool.tokens import TokenBatch, read_tokens, read_values, segments_of_column
from delaytool.transform import key_of, read_shifted

_COLOURS = {"text": "\x1b[36m", "semantic": "\x1b[33m", "acoustic": "\x1b[32m"}
_DIM, _RESET = "\x1b[2m", "\x1b[0m"


@dataclass(frozen=True)
class Grid:
    """One row, ready to be printed.

    about:   what the shard is, line by line
    codes:   [K][S]; filled: True where a cell holds no token of its stream
    weights: [K][S] as the shard has them; None where it has none
    labels:  [K][S] kind and number of the frame from 1, "S" in filled cells
    """

    about: list[str]
    row: int
    id: Any
    streams: list[str]
    kinds: list[str]
    delays: list[int]
    codes: list[list[int]]
    filled: list[list[bool]]
    weights: list[list[float]] | None
    labels: list[list[str]]

    def cut(self, start: int, stop: int) -> Grid:
        """The timesteps start ... stop - 1 only."""
        parts: dict[str, Any] = {
            name: [line[start:stop] for line in getattr(self, name)]
            for name in ("codes", "filled", "weights", "labels")
            if getattr(self, name) is not None
        }
        return dataclasses.replace(self, **parts)

    def to_json(self) -> str:
        """The fields that the command line prints as JSON."""
        names = ("row", "id", "streams", "delays", "codes", "filled", "weights")
        return json.dumps({name: getattr(self, name) for name in names}, default=str)


def read_grid(shard: Shard, where: Where, *, row: int = 0, key: str | None = None) -> Grid:
    """Read one row of a shifted or an original shard.

    where:    where an original shard has its tokens; a shifted one says so itself
    row, key: which row; a key is looked up in the key column, as text
    raises:   DataError when there is no such row or column, or its tokens cannot be read
    """
    with open_shard(shard) as opened, reading(shard.name):
        record = read_record(opened)
        if record is None:
            job = job_of_original(where, opened.schema, opened.small_batches())
        else:
            job = record.job
        job = dataclasses.replace(job, key=_key_column(opened, where.key or job.key, key))
        if key is not None:
            row = _find_key(opened, job.key, key)
        batch = _read_row(opened, row, job)
        try:
            if record is None:
                tokens = read_tokens(batch, job, any_token=True)
            else:
                tokens = read_shifted(batch, job)
            weights = _stored_weights(batch, job)
        except DataError as error:
            raise error.at(row=row, key=key_of(batch, 0, job)) from None
        about = _about(opened, record, job, row, batch)
        ids = batch.column(job.key)[0].as_py() if job.key else None
        held = job.columns if record is None else job.outputs
        return _make(about, row, ids, held, tokens, weights, job)


# Reading


def _key_column(opened: OpenShard, column: str | None, key: str | None) -> str | None:
    """The column of the rows' keys, if there is one."""
    if column is None and "id" in opened.schema.names:
        column = "id"
    if column is not None and column in opened.schema.names:
        return column
    if key is not None or column is not None:
        raise _no_key(opened, column)
    return None


def _no_key(opened: OpenShard, key: str | None) -> DataError:
    return DataError(
        "there is no column id" if key is None else f"there is no column {key}",
        expected=f"one of {', '.join(opened.schema.names)}",
        advice="name the column of the rows' keys with --key, or give --row",
        place=Place(shard=opened.shard.name),
    )


def _find_key(opened: OpenShard, column: str | None, key: str) -> int:
    """The first row whose key is this text."""
    if column is None or column not in opened.schema.names:
        raise _no_key(opened, column)
    row = 0
    with reading(opened.shard.name):
        for batch in opened.file.iter_batches(batch_size=4096, columns=[column]):
            for value in batch.column(0):
                if str(value.as_py()) == key:
                    return row
                row += 1
    raise DataError(
        f"no row has the {column} {key!r}",
        advice="look for the key in another shard, or give --row",
        place=Place(shard=opened.shard.name),
    )


def _read_row(opened: OpenShard, row: int, job: Job) -> pa.RecordBatch:
    """A batch of just this row, with the job's columns and the key."""
    if not 0 <= row < opened.rows:
        raise DataError(
            f"there is no row {row}",
            expected=f"0 to {opened.rows - 1}" if opened.rows else "a shard with rows in it",
            advice="give another --row",
            place=Place(shard=opened.shard.name),
        )
    shifted = opened.entry is not None
    names = [held.name for held in (job.outputs if shifted else job.columns)]
    names += [output.weights for output in job.outputs if output.weights]
    names += [job.key] if job.key and job.key not in names else []
    first = 0
    with reading(opened.shard.name):
        for group in range(opened.file.metadata.num_row_groups):
            count = opened.file.metadata.row_group(group).num_rows
            if row < first + count:
                batches = opened.file.iter_batches(
                    batch_size=16, row_groups=[group], columns=names, use_threads=False
                )
                return _nth_row(batches, row - first)
            first += count
    raise DataError(f"row {row} cannot be read", place=Place(shard=opened.shard.name))


def _nth_row(batches: Iterator[pa.RecordBatch], row: int) -> pa.RecordBatch:
    for batch in batches:
        if row < batch.num_rows:
            return batch.slice(row, 1)
        row -= batch.num_rows
    raise DataError(f"{row} rows fewer than the footer says")


def _about(
    opened: OpenShard, record: Record | None, job: Job, row: int, batch: pa.RecordBatch
) -> list[str]:
    recipe = job.recipe
    key = key_of(batch, 0, job)
    where = f"{opened.shard.name}, row {row} of {opened.rows}" + (f" ({key})" if key else "")
    if record is None:
        made = "original (not shifted)"
    else:
        steps = [name for name in ("initial_step", "final_step") if getattr(recipe, name)]
        made = f"shifted by delaytool {record.version}: " + ", ".join(
            [recipe.length, *(name.replace("_", " ") for name in steps)]
        )
        made += f", dep_q {recipe.dep_q} of {recipe.n_q}"
    columns = describe_columns(job.columns if record is None else job.outputs, opened.schema)
    delays = f"delays (frames): {' '.join(str(delay) for delay in recipe.delays)}"
    return [where, made, *columns, *([delays] if record else [])]


def _stored_weights(batch: pa.RecordBatch, job: Job) -> list[list[float]] | None:
    """The weights of a batch of one row, [K][S]; None when the shard has none."""
    weights: list[list[float]] = []
    for output in job.outputs:
        if output.weights is None:
            return None
        flat, _ = read_values(batch, output.weights, output, job)
        weights += _lines(flat, output.count)
    return weights


def _lines(flat: Any, count: int) -> list[list[Any]]:
    """A flat row as one list for each stream; of one row both orders are the same."""
    lines: list[list[Any]] = flat.reshape(count, flat.size // count).tolist()
    return lines


def _make(
    about: list[str],
    row: int,
    key: Any,
    held: Sequence[Column | Output],
    tokens: TokenBatch,
    weights: list[list[float]] | None,
    job: Job,
) -> Grid:
    recipe = job.recipe
    codes: list[list[int]] = []
    filled: list[list[bool]] = []
    for column, flat in zip(held, tokens.columns, strict=True):
        segments = segments_of_column(column, tokens.lengths, job)
        codes += _lines(flat, column.count)
        filled += _lines(segments.is_filled(), column.count)
    return Grid(
        about=about,
        row=row,
        id=key,
        streams=[stream.name for stream in recipe.streams],
        kinds=[stream.kind for stream in recipe.streams],
        delays=list(recipe.delays),
        codes=codes,
        filled=filled,
        weights=weights,
        labels=[_labels(s, line, recipe) for s, line in zip(recipe.streams, filled, strict=True)],
    )


def _labels(stream: Stream, filled: list[bool], recipe: Recipe) -> list[str]:
    """S for a filled cell, else the kind and the number of the frame from 1."""
    before = recipe.initial_step + stream.delay
    return [
        "S" if is_filled else f"{stream.kind}_{step - before + 1}"
        for step, is_filled in enumerate(filled)
    ]


# Printing


def render(
    grid: Grid,
    *,
    first: int = 0,
    labels: bool = False,
    weights: bool = False,
    width: int | None = None,
    colour: bool = False,
) -> str:
    """A grid as text, streams down and time across.

    first:  the number of the first timestep, for the head line
    labels: labels instead of token ids; weights: the loss weights below
    width:  columns to fit into; None for all of it
    colour: ANSI colours, one for each kind of stream, filled cells dim. Without colour filled
            cells of ids stand in brackets
    """
    ids = [_ids(*pair) for pair in zip(grid.codes, grid.filled, strict=True)]
    tables = [("", grid.labels if labels else ids)]
    if weights and grid.weights is not None:
        tables.append(("loss weights", [[f"{x:g}" for x in line] for line in grid.weights]))
    steps = len(ids[0])
    head = [str(first + step) for step in range(steps)]
    lines = [head, *(line for _, cells in tables for line in cells)]
    widths = [max(len(line[step]) for line in lines) for step in range(steps)]
    name_width = max(len(name) for name in ["timestep", *grid.streams])
    shown = _steps_that_fit(name_width, widths, width)
    parts = list(grid.about)
    for title, cells in tables:
        parts += ["", title] if title else [""]
        parts.append(_line("timestep", head[:shown], name_width, widths))
        for number, name in enumerate(grid.streams):
            paints = _paints(grid, number) if colour else None
            parts.append(_line(name, cells[number][:shown], name_width, widths, paints))
    if shown < steps:
        last = first + steps
        parts.append(
            f"... and {steps - shown} more timesteps, {first + shown} to {last - 1}: "
            f"--steps {first + shown}:{min(first + 2 * shown, last)} shows the next"
        )
    return "\n".join(parts)


def _ids(codes: list[int], filled: list[bool]) -> list[str]:
    return [f"[{c}]" if is_filled else str(c) for c, is_filled in zip(codes, filled, strict=True)]


def _steps_that_fit(name_width: int, widths: list[int], width: int | None) -> int:
    """How many timesteps fit into a width, at least one."""
    if width is None:
        return len(widths)
    ends = name_width + np.cumsum([2 + step for step in widths])
    return max(min(len(widths), 1), int(np.searchsorted(ends, width, side="right")))


def _paints(grid: Grid, number: int) -> list[str]:
    """The colour of each cell of a stream: its kind's, dim where it is filled."""
    paint = _COLOURS[grid.kinds[number]]
    return [_DIM if is_filled else paint for is_filled in grid.filled[number]]


def _line(
    name: str, cells: list[str], name_width: int, widths: list[int], paints: list[str] | None = None
) -> str:
    padded = [cell.ljust(w) for cell, w in zip(cells, widths, strict=False)]
    if paints is not None:
        padded = [f"{p}{cell}{_RESET}" for cell, p in zip(padded, paints, strict=False)]
    return "  ".join([name.ljust(name_width), *padded]).rstrip()
