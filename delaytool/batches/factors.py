"""A user's factors on the loss weights, from their column."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from delaytool.batches.codes import TokenBatch, first_places, streams_first
from delaytool.batches.job import Job
from delaytool.batches.layouts import Column, Output, is_by_stream
from delaytool.batches.problems import Problems
from delaytool.batches.read import REPAIR, ColumnReader, numbered
from delaytool.batches.types import depth_of
from delaytool.errors import DataError
from delaytool.pattern.segments import Array, Index, Segments
from delaytool.pattern.weights import weights_with_factors
from delaytool.recipes.checks import MAX_WEIGHT
from delaytool.recipes.recipe import Recipe, Stream


def read_factors(
    batch: pa.RecordBatch, job: Job, tokens: TokenBatch, held: Sequence[Column | Output]
) -> Array:
    """The user's factors on the loss weights, float32 or float64, [K, frames of all rows].

    tokens, held: those that they are of, aligned, before the shift, and what holds them

    Raises DataError for the first bad row.
    """
    factors, problems = scan_factors(batch, job, tokens, held)
    for error in problems.values():
        raise error
    return factors


def scan_factors(
    batch: pa.RecordBatch, job: Job, tokens: TokenBatch, held: Sequence[Column | Output]
) -> tuple[Array, Problems]:
    """The user's factors as `read_factors` gives them, and the first problem of each bad row."""
    assert job.factors is not None, "only jobs with a column of factors read one"
    array, none = batch.column(job.factors), np.zeros((0, 0), dtype=np.float32)
    depth, streams, lengths = depth_of(array.type)[0], job.recipe.streams, tokens.lengths
    k = 1 if depth == 1 else len(streams)
    problems: Problems = {}
    reader = ColumnReader(array, job.factors, "list" if depth == 1 else "codebook", k, problems)
    reader.streams = streams if depth > 1 else ()
    given, here = reader.read()
    if given is None:
        return none, dict(sorted(problems.items()))
    for row in np.flatnonzero(here != lengths):
        error = DataError(
            "weight-length",
            numbered(here[row], "frame"),
            expected=f"{lengths[row]}, as many as the audio has",
        )
        problems[int(row)] = error.at(row=int(row), column=job.factors)
    flat = _as_floats(given)
    if flat.size and not (flat.min() >= 0 and np.isfinite(flat.max())):
        wrong = np.flatnonzero(~(np.isfinite(flat) & (flat >= 0)))
        _note_factors(given, first_places(wrong, here, k), reader.streams, job.factors, problems)
    if problems:
        return none, dict(sorted(problems.items()))
    grid = np.broadcast_to(flat, (len(streams), flat.size))
    if depth > 1:
        grid = streams_first(flat, lengths, k, by_stream=False)
    if flat.size and float(flat.max()) * job.recipe.heaviest > MAX_WEIGHT:
        wrong = _too_heavy(grid, tokens, held, job.recipe)
        places = first_places(wrong, lengths, len(streams), by_stream=True)
        _note_factors(grid.reshape(-1), places, streams, job.factors, problems)
    return grid, dict(sorted(problems.items()))


def _as_floats(numbers: Array) -> Array:
    """The same numbers as float32 if it holds all of them, else as float64."""
    # What is too large a number for float32 becomes infinite here.
    with np.errstate(over="ignore"):
        narrow = numbers.astype(np.float32, copy=False)
    if narrow is numbers or np.can_cast(numbers.dtype, np.float32):
        return narrow
    wide = numbers.astype(np.float64, copy=False)
    return narrow if np.array_equal(narrow, wide) else wide


def _note_factors(
    values: Array,
    places: list[tuple[int, int, int, int]],
    streams: Sequence[Stream],
    name: str,
    problems: Problems,
) -> None:
    """Note factors that are no weights, or make too heavy ones.

    places:  what `first_places` gives for them; streams: those that it numbers, if they have names
    """
    for position, row, number, timestep in places:
        error = DataError(
            "weight",
            f"the factor {values[position]!s}",
            expected="a number from 0 up that leaves weights finite",
            advice=REPAIR,
        )
        stream = streams[number].name if streams else None
        place = {"column": name, "stream": stream, "timestep": timestep}
        problems.setdefault(row, error.at(row=row, **place))


def _too_heavy(
    factors: Array, tokens: TokenBatch, held: Sequence[Column | Output], recipe: Recipe
) -> Index:
    """Where a factor makes a weight that no float32 holds, in [K, frames of all rows], flat."""
    heavy = np.zeros(factors.shape, dtype=bool)
    for column, flat in zip(held, tokens.columns, strict=True):
        lines = streams_first(flat, tokens.lengths, column.count, is_by_stream(column.layout))
        for number, line in enumerate(lines, start=column.first):
            if recipe.carries_loss(number):
                stream = recipe.streams[number]
                weights = weights_with_factors(line, stream, factors[number])
                heavy[number] = ~np.isfinite(weights)
    # Nothing is known of what truncation cut off, and it has no weight.
    lost = Segments(recipe, tokens.lengths, recipe.streams, by_stream=True).lost()
    return np.flatnonzero(heavy if lost is None else heavy.reshape(-1) & ~lost)
