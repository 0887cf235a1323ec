"""One row before the shift or after it, and its cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from delaytool.batches.codes import TokenBatch
from delaytool.batches.job import (
    ROW_FRAMES,
    WINDOW_START,
    Job,
    segments_of_column,
    segments_of_outputs,
)
from delaytool.batches.read import read_outputs, read_values
from delaytool.batches.shift import read_aligned
from delaytool.batches.unshift import read_shifted, undelayed
from delaytool.errors import RecipeError
from delaytool.grids.grid import Cells, Grid
from delaytool.pattern.flat import shift_flat
from delaytool.pattern.segments import OFFSET, Array, Segments
from delaytool.recipes.recipe import Recipe, Stream


@dataclass(frozen=True)
class Side:
    """The tokens of one row, before the shift or after it.

    numbers: the streams of the columns, in their order; segments: of each column; weights: [K, S];
    window: which timesteps of the row those of a window are, that was cut after the shift
    added: frames at the end that fill a window up
    """

    tokens: TokenBatch
    numbers: Sequence[int]
    segments: Sequence[Segments]
    is_shifted: bool
    has_lost: bool = False
    weights: Array | None = None
    window: tuple[int, int | None] = (0, None)
    added: int = 0


def original(batch: pa.RecordBatch, job: Job, any_token: bool) -> Side:
    """An original row as it is, its text aligned where the job says so."""
    tokens, _ = read_aligned(batch, job, any_token=any_token)
    segments = [segments_of_column(column, tokens.lengths, job) for column in job.columns]
    return Side(tokens, job.numbers, segments, False)


def after(batch: pa.RecordBatch, job: Job) -> Side:
    """A shifted row as it is."""
    weights = _stored_weights(batch, job)
    if job.cuts_after:
        codes = read_outputs(batch, job)
        start, frames = (batch.column(name).to_numpy() for name in (WINDOW_START, ROW_FRAMES))
        segments = segments_of_outputs(frames.astype(np.int64), job)
        there = int(start[0]), int(start[0] + codes.lengths[0])
        numbers = job.numbers_of_outputs
        return Side(codes, numbers, segments, True, weights=weights, window=there)
    codes, frames = read_shifted(batch, job)
    segments, added = segments_of_outputs(frames, job), _added_frames(batch, int(frames[0]), job)
    return Side(codes, job.numbers_of_outputs, segments, True, weights=weights, added=added)


def before(batch: pa.RecordBatch, job: Job) -> Side:
    """A shifted row, shifted back.

    Raises RecipeError for a window that was cut after the shift, which is no row that was shifted.
    """
    if job.cuts_after:
        raise RecipeError(
            "the row is a window that was cut after the shift, and nothing was there `before` it"
        )
    codes, frames = read_shifted(batch, job)
    segments = segments_of_outputs(frames, job)
    tokens, added = undelayed(codes, segments), _added_frames(batch, int(frames[0]), job)
    return Side(tokens, job.numbers_of_outputs, segments, False, has_lost=True, added=added)


def _added_frames(batch: pa.RecordBatch, frames: int, job: Job) -> int:
    """How many of a window's frames are none of its row's, but fill it up."""
    if job.windows is None or not job.windows.pad:
        return 0
    start, whole = (int(batch.column(name)[0].as_py()) for name in (WINDOW_START, ROW_FRAMES))
    return frames - min(max(whole - start, 0), frames)


def _stored_weights(batch: pa.RecordBatch, job: Job) -> Array | None:
    """The weights of a batch of one row, [K, S]; None when the shard has none."""
    lines = [
        read_values(batch, output.weights, output, job).grid()
        for output in job.outputs
        if output.weights is not None
    ]
    if len(lines) < len(job.outputs):
        return None
    return _in_order(lines, job.numbers_of_outputs)


def _in_order(lines: Sequence[Array], numbers: Sequence[int]) -> Array:
    """A line of each stream, in the recipe's order, of arrays with some lines each.

    numbers: of which stream each of the lines is
    """
    if np.result_type(*lines).kind == "f" and all(line.dtype.kind in "iu" for line in lines):
        # Signed and unsigned 64 bits have no integer type in common, and floats are not exact.
        lines = [line.astype(object) for line in lines]
    whole: Array = np.concatenate(lines)[np.argsort(numbers)]
    return whole


def make(head: Grid, side: Side, recipe: Recipe) -> Cells:
    """The cells of one side, in the recipe's order of streams.

    head: a grid without timesteps, for what there is to say of the row
    """
    pairs = list(zip(side.tokens.columns, side.segments, strict=True))
    lost = [segments.lost() if side.has_lost else None for _, segments in pairs]
    masks = [
        column.with_flat(np.zeros(column.flat.shape, dtype=bool) if cut is None else cut).grid()
        for (column, _), cut in zip(pairs, lost, strict=True)
    ]
    offset, filled = zip(*(_filled(segments, side) for segments in side.segments), strict=True)
    has_lost = any(cut is not None for cut in lost)
    return Cells(
        head=head,
        codes=_in_order([column.grid() for column in side.tokens.columns], side.numbers),
        filled=_in_order(filled, side.numbers),
        offset=_in_order(offset, side.numbers),
        added=_in_order([_added(segments, side) for segments in side.segments], side.numbers),
        lost=_in_order(masks, side.numbers) if has_lost else None,
        weights=side.weights,
        starts=tuple(
            recipe.first_timestep(stream) - side.window[0] if side.is_shifted else 0
            for stream in recipe.streams
        ),
    )


def head_of(about: list[str], title: str, row: int, key: Any, side: Side, job: Job) -> Grid:
    """A grid without timesteps: what the shard and the row are."""
    recipe = job.recipe
    return Grid(
        about=about,
        title=title,
        row=row,
        id=key,
        streams=[stream.name for stream in recipe.streams],
        kinds=[stream.kind for stream in recipe.streams],
        delays=list(recipe.delays),
        codes=[],
        filled=[],
        offset=[],
        added=[],
        weights=None,
        labels=[],
        padding=[_padding(stream) for stream in recipe.streams],
        shifted=side.is_shifted,
        frame_rate=recipe.frame_rate,
    )


def _filled(segments: Segments, side: Side) -> tuple[Array, Array]:
    """Which cells of each stream an offset fills, and which a delay, [streams, timesteps].

    Of one row both orders of cells are the same.
    """
    streams = len(segments.streams)
    if not side.is_shifted:
        none = np.zeros((streams, int(segments.lengths[0])), dtype=bool)
        return none, none
    moved = segments.is_filled(OFFSET)
    filled = segments.is_filled() & ~moved
    size = moved.size // streams
    there = slice(*side.window)
    return moved.reshape(streams, size)[:, there], filled.reshape(streams, size)[:, there]


def _added(segments: Segments, side: Side) -> Array:
    """Which cells of each stream hold what fills a window up, [streams, timesteps]."""
    streams, frames = len(segments.streams), int(segments.lengths[0])
    added = np.zeros((streams, frames), dtype=bool)
    added[:, frames - side.added :] = True
    if not side.is_shifted:
        return added
    fills = np.zeros(segments.token_table.shape, dtype=bool)
    cells = shift_flat(added.reshape(-1), segments, fills, np.bool_)
    return cells.reshape(streams, -1)[:, slice(*side.window)]


def _padding(stream: Stream) -> dict[int, str]:
    """PAD for what a text is padded with, EPAD for what else counts as padding in the loss."""
    if stream.kind != "text":
        return {}
    return {token: "PAD" if token == stream.padding else "EPAD" for token in stream.padding_ids}
