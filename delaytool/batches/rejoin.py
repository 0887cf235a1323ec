"""Windows of an output, joined to the rows that they were cut from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from delaytool.batches.codes import TokenBatch
from delaytool.batches.digest import first_difference
from delaytool.batches.job import ROW_FRAMES, WINDOW, WINDOW_START, Job, segments_of_outputs
from delaytool.batches.read import read_outputs
from delaytool.batches.structs import taken_out
from delaytool.batches.unshift import read_shifted, undelayed
from delaytool.batches.values import value_of
from delaytool.batches.windows import join_codes, repeated
from delaytool.errors import DataError, Place
from delaytool.pattern.segments import Index, Segments
from delaytool.pattern.windows import Cuts

_ADVICE = "make the shard anew"


@dataclass(frozen=True, eq=False)
class WholeRows:
    """All windows of some rows.

    firsts:  each row's first window, with all columns
    windows: the windows, without the columns that are repeated
    number:  which row of the shard the first window is
    """

    firsts: pa.RecordBatch
    windows: pa.RecordBatch
    number: int

    @property
    def num_rows(self) -> int:
        """How many rows of the shard they are: the windows."""
        return int(self.windows.num_rows)

    def integers(self, name: str) -> Index:
        """A column of int32 that says which windows these are; raises DataError for a null."""
        return _integers(self.windows, name)

    @property
    def starts(self) -> Index:
        """Which of the windows are the first ones of their rows."""
        return np.flatnonzero(self.integers(WINDOW) == 0)


@dataclass(frozen=True, eq=False)
class Rejoined:
    """Windows, and the tokens of the rows that they were cut from.

    frames:   of each row; cuts: where the rows were cut
    cells:    the outputs' cells: of windows that were cut before the shift, else of rows
    segments: where the pattern moved their tokens
    kept:     their tokens, shifted back; tokens: those of rows, 0 for those that were dropped
    """

    frames: Index
    cuts: Cuts
    cells: TokenBatch
    segments: list[Segments]
    kept: TokenBatch
    tokens: TokenBatch


def whole_rows(batches: Iterator[pa.RecordBatch], job: Job) -> Iterator[WholeRows]:
    """The windows of a shard, all of a row together.

    Raises DataError, with the row in the shard, for a window that follows on no other, and for a
    copy of a repeated column that differs from the row's first one.
    """
    made = {name for output in job.outputs for name in job.names_of(output)}
    pending: list[pa.RecordBatch] = []
    first: pa.RecordBatch | None = None
    seen = number = 0
    for batch in (taken_out(each, job.names) for each in batches):
        own = [n for n in batch.schema.names if n in made or n in job.window_columns]
        starts = np.flatnonzero(_integers(batch, WINDOW) == 0)
        head = int(starts[0]) if len(starts) else batch.num_rows
        if head:
            if first is None:
                raise DataError(
                    "window",
                    f"a row begins with window {batch.column(WINDOW)[0]}",
                    expected="window 0",
                    advice=_ADVICE,
                    place=Place(row=seen, column=WINDOW),
                )
            _check_copies(batch.slice(0, head), first, np.zeros(head, dtype=np.int64), own, seen)
            pending.append(batch.slice(0, head).select(own))
        if len(starts):
            if first is not None:
                yield WholeRows(first, _joined(pending), number)
            last = int(starts[-1])
            firsts = _rows(batch, starts)
            groups = np.repeat(np.arange(len(starts)), np.diff(starts, append=batch.num_rows))
            _check_copies(batch.slice(head), firsts, groups, own, seen + head)
            if last > head:
                windows = batch.slice(head, last - head).select(own)
                yield WholeRows(firsts.slice(0, len(starts) - 1), windows, seen + head)
            first, pending = batch.slice(last, 1), [batch.slice(last).select(own)]
            number = seen + last
        seen += batch.num_rows
    if first is not None:
        yield WholeRows(first, _joined(pending), number)


def rejoin(rows: WholeRows, job: Job) -> Rejoined:
    """The tokens of whole rows.

    Raises DataError, with the row among the windows, for windows that are missing, doubled, out of
    order or of a wrong length.
    """
    frames, cuts = _cuts_of(rows, job)
    before = job.cuts_before
    cells = read_shifted(rows.windows, job)[0] if before else read_outputs(rows.windows, job)
    steps = job.recipe.steps(0) if before else 0
    _check("timesteps", cells.lengths, cuts.window_lengths + steps, None)
    if before:
        segments = segments_of_outputs(cuts.window_lengths, job)
        kept = undelayed(cells, segments)
        tokens = TokenBatch(tuple(join_codes(codes, cuts) for codes in kept.columns))
    else:
        segments = segments_of_outputs(frames, job)
        cells = TokenBatch(tuple(join_codes(codes, cuts) for codes in cells.columns))
        tokens = kept = undelayed(cells, segments)
    return Rejoined(frames, cuts, cells, segments, kept, tokens)


def _cuts_of(rows: WholeRows, job: Job) -> tuple[Index, Cuts]:
    """The frames of each row, and where it was cut, which its windows have to be."""
    assert job.windows is not None, "only rows of such jobs are cut"
    starts, of_row = rows.starts, rows.integers(ROW_FRAMES)
    frames = of_row[starts]
    if len(frames) and frames.min() < 0:
        row = int(starts[np.argmin(frames)])
        raise _wrong("frames", frames.min(), "0 or more", Place(row=row, column=ROW_FRAMES))
    lengths = frames if job.cuts_before else frames + job.recipe.steps(0)
    counts = np.diff(starts, append=rows.num_rows)
    expected = job.windows.kept_counts(lengths)
    for row in np.flatnonzero(counts != expected)[:1]:
        place = Place(row=int(starts[row]), column=WINDOW)
        raise _wrong("windows of the row", counts[row], str(expected[row]), place)
    cuts = job.windows.cuts(lengths)
    for name, values in (
        (WINDOW, cuts.numbers[cuts.windows]),
        (WINDOW_START, cuts.starts[cuts.windows]),
        (ROW_FRAMES, frames[cuts.window_rows]),
    ):
        _check(name, rows.integers(name), values, name)
    return frames, cuts


def _check(what: str, found: Index, expected: Index, column: str | None) -> None:
    """Raise DataError for the first window of which a number is not as expected."""
    for row in np.flatnonzero(found != expected)[:1]:
        place = Place(row=int(row), column=column)
        raise _wrong(what, found[row], str(expected[row]), place)


def _wrong(what: str, found: Any, expected: str, place: Place) -> DataError:
    return DataError("window", f"{found} {what}", expected=expected, advice=_ADVICE, place=place)


def _check_copies(
    batch: pa.RecordBatch, firsts: pa.RecordBatch, groups: Index, own: list[str], number: int
) -> None:
    """Raise DataError for a repeated column of which a window's copy is not its row's first one."""
    for name in (name for name in batch.schema.names if name not in own):
        expected = repeated(firsts.column(name), groups)
        row = first_difference(batch.column(name), expected)
        if row is not None:
            raise DataError(
                "window",
                f"{str(value_of(batch.column(name)[row]))[:80]}",
                expected=f"{str(value_of(expected[row]))[:80]}, as in the row's first window",
                advice=_ADVICE,
                place=Place(row=number + row, column=name),
            )


def _integers(batch: pa.RecordBatch, name: str) -> Index:
    column = batch.column(name)
    if column.null_count:
        row = column.is_null().index(True).as_py()
        raise DataError("null", "a null", advice=_ADVICE, place=Place(row=row, column=name))
    numbers: Index = column.to_numpy().astype(np.int64)
    return numbers


def _rows(batch: pa.RecordBatch, rows: Index) -> pa.RecordBatch:
    arrays = [repeated(column, rows) for column in batch.columns]
    return pa.RecordBatch.from_arrays(arrays, schema=batch.schema)


def _joined(parts: list[pa.RecordBatch]) -> pa.RecordBatch:
    """Several batches as one; these have no dictionaries."""
    if len(parts) == 1:
        return parts[0]
    arrays = [pa.concat_arrays(columns) for columns in zip(*parts, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=parts[0].schema)
