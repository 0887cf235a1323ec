"""A window to look at: which one of which row of the source it is, and that part of the row."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from delaytool.batches.job import WINDOW_COLUMNS, Job
from delaytool.errors import DataError, Place
from delaytool.grids.grid import Cells, WindowAt
from delaytool.pattern.flat import shift_cells
from delaytool.pattern.segments import Array, Segments
from delaytool.pattern.windows import Cuts
from delaytool.recipes.recipe import Recipe
from delaytool.shards.record import Record
from delaytool.shards.recorded_rows import Dropped, Quarantined


def window_at(batch: pa.RecordBatch, numbers: Iterable[pa.Array], record: Record) -> WindowAt:
    """Which window of which row of the source a row of a shard is.

    batch:   the row alone
    numbers: the windows' numbers in their rows, of this row and all before it

    Raises DataError for a null.
    """
    for name in WINDOW_COLUMNS:
        if batch.column(name).null_count:
            raise DataError(
                "null", "a null", advice="make the shard anew", place=Place(column=name)
            )
    number, start, frames = (batch.column(name)[0].as_py() for name in WINDOW_COLUMNS)
    # The first window of a row is dropped only where all the others are.
    group = sum(int((part.to_numpy(zero_copy_only=False) == 0).sum()) for part in numbers) - 1
    source_row = None
    if group >= 0:
        good = int(Dropped(record).good_rows(group, 1)[0])
        source_row = Quarantined(record).source_row(good)
    return WindowAt(number, start, frames, source_row)


def said_of(window: WindowAt, job: Job) -> str:
    """What there is to say of a window."""
    unit = "frame" if job.cuts_before else "timestep"
    of = "" if window.source_row is None else f", row {window.source_row} of the source"
    return (
        f"window {window.number} from {unit} {window.start} on, "
        f"of a row of {window.frames} frames{of}"
    )


def part_of(whole: Cells, window: WindowAt, job: Job) -> Cells:
    """The part of a row that makes this window, as the window's shard has it.

    whole:   the row before the shift, or as a shard of whole rows has it where the cut is after
             the shift
    job:     that made the window
    returns: the codes of frames where the cut is before the shift, with what fills the window up,
             else of timesteps, and which of them are lost; all else is the row's

    Raises DataError where such a row has no such window.
    """
    recipe = job.recipe
    if len(whole.codes) != len(recipe.streams) and whole.steps:
        return whole  # Which cannot be compared with it.
    frames = whole.steps - (recipe.steps(0) if whole.head.shifted else 0)
    cuts = job.cuts(np.array([frames]))
    _check_window(window, frames, whole, cuts)
    codes, lost = whole.codes.reshape(len(recipe.streams), whole.steps), whole.lost
    if job.cuts_after and not whole.head.shifted:
        codes, lost = _shifted(codes, recipe), None
    there = slice(window.start, window.start + int(cuts.sizes[window.number]))
    added = int(cuts.padding[window.number])
    pads = np.array([[stream.trail] * added for stream in recipe.streams], dtype=np.int64)
    codes = codes[:, there]
    if added:
        codes = np.concatenate([_wide(codes), pads], axis=1)
    if lost is not None:
        lost = np.pad(lost[:, there], ((0, 0), (0, added)))
    return dataclasses.replace(whole, codes=codes, lost=lost)


def _check_window(window: WindowAt, frames: int, whole: Cells, cuts: Cuts) -> None:
    """Raise DataError unless a row of so many frames, which is cut so, has this window."""
    count, expected = len(cuts.starts), ""
    if frames != window.frames:
        found = f"the window is of a row of {window.frames} frames"
        expected = f"one of {frames}, as row {whole.head.row} of the other shard has"
    elif not 0 <= window.number < count:
        found = f"it is window {window.number} of its row"
        expected = f"0 to {count - 1}, as a row of {frames} frames has"
    elif window.start != cuts.starts[window.number]:
        found = f"window {window.number} begins at {window.start}"
        expected = f"{cuts.starts[window.number]}"
    if expected:
        advice = "compare a shard with what it was made from, or verify it"
        raise DataError("window", found, expected=expected, advice=advice)


def _shifted(codes: Array, recipe: Recipe) -> Array:
    """A row after the shift, [K, S]; its tokens may be any."""
    streams, frames = codes.shape
    segments = Segments(recipe, np.array([frames], dtype=np.int64), recipe.streams)
    lost, tokens = segments.lost(), _wide(codes).reshape(-1)
    kept = tokens if lost is None else tokens[~lost]
    return shift_cells(kept, segments, segments.token_table, tokens.dtype).reshape(streams, -1)


def _wide(codes: Array) -> Array:
    """The same codes in a type that holds every fill token, too."""
    return codes.astype(object if codes.dtype.kind in "uO" else np.int64)
