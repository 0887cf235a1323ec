"""One row before the shift or after it, and the grid that shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from delaytool.batches.codes import TokenBatch
from delaytool.batches.job import Job, segments_of_column, segments_of_outputs
from delaytool.batches.read import read_values
from delaytool.batches.shift import read_aligned
from delaytool.batches.unshift import read_shifted, undelayed
from delaytool.grids.grid import Grid
from delaytool.pattern.segments import OFFSET, Segments
from delaytool.recipes.recipe import Recipe, Stream

T = TypeVar("T")


@dataclass(frozen=True)
class Side:
    """The tokens of one row, before the shift or after it.

    numbers: the streams of the columns, in their order; segments: of each column; weights: [K][S]
    """

    tokens: TokenBatch
    numbers: Sequence[int]
    segments: Sequence[Segments]
    is_shifted: bool
    has_lost: bool = False
    weights: list[list[float]] | None = None


def original(batch: pa.RecordBatch, job: Job, any_token: bool) -> Side:
    """An original row as it is, its text aligned where the job says so."""
    tokens, _ = read_aligned(batch, job, any_token=any_token)
    segments = [segments_of_column(column, tokens.lengths, job) for column in job.columns]
    return Side(tokens, job.numbers, segments, False)


def after(batch: pa.RecordBatch, job: Job) -> Side:
    """A shifted row as it is."""
    weights = _stored_weights(batch, job)
    codes, frames = read_shifted(batch, job)
    segments = segments_of_outputs(frames, job)
    return Side(codes, job.numbers_of_outputs, segments, True, weights=weights)


def before(batch: pa.RecordBatch, job: Job) -> Side:
    """A shifted row, shifted back."""
    codes, frames = read_shifted(batch, job)
    segments = segments_of_outputs(frames, job)
    tokens = undelayed(codes, segments)
    return Side(tokens, job.numbers_of_outputs, segments, False, has_lost=True)


def _stored_weights(batch: pa.RecordBatch, job: Job) -> list[list[float]] | None:
    """The weights of a batch of one row, [K][S]; None when the shard has none."""
    weights: list[list[float]] = []
    for output in job.outputs:
        if output.weights is None:
            return None
        weights += read_values(batch, output.weights, output, job).grid().tolist()
    return _in_order(weights, job.numbers_of_outputs)


def _in_order(lines: list[T], numbers: Sequence[int]) -> list[T]:
    """A line of each stream, in the recipe's order.

    numbers: of which stream each of the lines is
    """
    return [lines[place] for place in np.argsort(numbers)]


def _lines(flat: Any, count: int) -> list[list[Any]]:
    """A flat row as one list for each stream; of one row both orders are the same."""
    lines: list[list[Any]] = flat.reshape(count, flat.size // count).tolist()
    return lines


def make(about: list[str], title: str, row: int, key: Any, side: Side, job: Job) -> Grid:
    """The grid of one side: what the shard is, and its cells in the recipe's order of streams."""
    recipe = job.recipe
    codes: list[list[int | None]] = []
    filled: list[list[bool]] = []
    offset: list[list[bool]] = []
    for column, segments in zip(side.tokens.columns, side.segments, strict=True):
        lines = column.grid().tolist()
        lost = segments.lost() if side.has_lost else None
        if lost is not None:
            cut = column.with_flat(lost).grid().tolist()
            lines = [
                [None if gone else code for code, gone in zip(*pair, strict=True)]
                for pair in zip(lines, cut, strict=True)
            ]
        codes += lines
        moved, rest = _filled(segments, side)
        offset, filled = offset + moved, filled + rest
    codes = _in_order(codes, side.numbers)
    filled, offset = (_in_order(lines, side.numbers) for lines in (filled, offset))
    labels = [
        _labels(stream, flags, recipe if side.is_shifted else None)
        for stream, *flags in zip(recipe.streams, filled, offset, strict=True)
    ]
    return Grid(
        about=about,
        title=title,
        row=row,
        id=key,
        streams=[stream.name for stream in recipe.streams],
        kinds=[stream.kind for stream in recipe.streams],
        delays=list(recipe.delays),
        codes=codes,
        filled=filled,
        offset=offset,
        weights=side.weights,
        labels=labels,
        padding=[_padding(stream) for stream in recipe.streams],
        shifted=side.is_shifted,
        frame_rate=recipe.frame_rate,
    )


def _filled(segments: Segments, side: Side) -> tuple[list[list[bool]], list[list[bool]]]:
    """Which cells of each stream an offset fills, and which a delay."""
    streams = len(segments.streams)
    if not side.is_shifted:
        none = [[False] * int(segments.lengths[0]) for _ in range(streams)]
        return none, none
    moved = segments.is_filled(OFFSET)
    return _lines(moved, streams), _lines(segments.is_filled() & ~moved, streams)


def _padding(stream: Stream) -> dict[int, str]:
    """PAD for what a text is padded with, EPAD for what else counts as padding in the loss."""
    if stream.kind != "text":
        return {}
    return {token: "PAD" if token == stream.padding else "EPAD" for token in stream.padding_ids}


def _labels(stream: Stream, flags: list[list[bool]], recipe: Recipe | None) -> list[str]:
    """S for a cell that a delay fills, O for one of an offset, else the kind and the number of the
    frame from 1.

    flags:  which cells a delay fills, and which an offset
    recipe: what the row was shifted with, if it was
    """
    first = 0 if recipe is None else recipe.first_timestep(stream)
    return [
        "S" if is_filled else "O" if is_moved else f"{stream.kind}_{step - first + 1}"
        for step, (is_filled, is_moved) in enumerate(zip(*flags, strict=True))
    ]
