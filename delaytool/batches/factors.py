"""A user's factors on the loss weights, from their column."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from delaytool.batches.codes import Codes, TokenBatch
from delaytool.batches.fields import array_at
from delaytool.batches.job import Job
from delaytool.batches.layouts import CODEBOOK, LIST
from delaytool.batches.nesting import numbered
from delaytool.batches.problems import Problems, first_problems
from delaytool.batches.read import scan_column
from delaytool.batches.types import depth_of
from delaytool.batches.unwrapping import REPAIR
from delaytool.batches.windows import lost_tokens
from delaytool.errors import DataError
from delaytool.pattern.segments import Array, Index, Segments
from delaytool.pattern.weights import weights_with_factors
from delaytool.recipes.checks import MAX_WEIGHT
from delaytool.recipes.stream import Stream


def read_factors(batch: pa.RecordBatch, job: Job, tokens: TokenBatch) -> Array:
    """The user's factors on the loss weights, float32 or float64, [K, frames of all rows].

    tokens: those that they are of, aligned, before the shift

    Raises DataError for the first bad row.
    """
    factors, problems = scan_factors(batch, job, tokens)
    for error in problems.values():
        raise error
    return factors


def scan_factors(batch: pa.RecordBatch, job: Job, tokens: TokenBatch) -> tuple[Array, Problems]:
    """The user's factors as `read_factors` gives them, and the first problem of each bad row."""
    assert job.factors is not None, "only jobs with a column of factors read one"
    array, none = array_at(batch, job.factors), np.zeros((0, 0), dtype=np.float32)
    streams, lengths = job.recipe.streams, tokens.lengths
    is_one = depth_of(array.type)[0] == 1
    named = () if is_one else streams
    layout = LIST if is_one else CODEBOOK
    given, problems = scan_column(array, job.factors, layout, 1 if is_one else len(streams), named)
    if given is None:
        return none, dict(sorted(problems.items()))
    errors = [
        DataError(
            "weight-length",
            numbered(given.lengths[row], "frame"),
            expected=f"{lengths[row]}, as many as the audio has",
        ).at(row=int(row), column=job.factors)
        for row in np.flatnonzero(given.lengths != lengths)
    ]
    flat = _as_floats(given.flat)
    if flat.size and not (flat.min() >= 0 and np.isfinite(flat.max())):
        wrong = np.flatnonzero(~(np.isfinite(flat) & (flat >= 0)))
        errors += _wrong_factors(given, wrong, named, job.factors)
    if errors:
        return none, dict(sorted(first_problems(errors).items()))
    grid = given.with_flat(flat).grid()
    if is_one:
        grid = np.broadcast_to(flat, (len(streams), flat.size))
    if flat.size and float(flat.max()) * job.recipe.heaviest > MAX_WEIGHT:
        wrong = _too_heavy(grid, tokens.grid(job.numbers), lengths, job)
        errors = _wrong_factors(Codes.of_grid(grid, lengths), wrong, streams, job.factors)
    return grid, dict(sorted(first_problems(errors).items()))


def _as_floats(numbers: Array) -> Array:
    """The same numbers as float32 if it holds all of them, else as float64."""
    # What is too large a number for float32 becomes infinite here.
    with np.errstate(over="ignore"):
        narrow = numbers.astype(np.float32, copy=False)
    if narrow is numbers or np.can_cast(numbers.dtype, np.float32):
        return narrow
    wide = numbers.astype(np.float64, copy=False)
    return narrow if np.array_equal(narrow, wide) else wide


def _wrong_factors(
    factors: Codes, wrong: Index, streams: Sequence[Stream], name: str
) -> list[DataError]:
    """The errors for factors that are no weights, or make too heavy ones.

    wrong: where they are, in order; streams: those of the factors, if they have names
    """
    errors = []
    for position, row, number, timestep in factors.first_places(wrong):
        error = DataError(
            "weight",
            f"the factor {factors.flat[position]:.7g}",
            expected="a number from 0 up that leaves weights finite",
            advice=REPAIR,
        )
        stream = streams[number].name if streams else None
        errors.append(error.at(row=row, column=name, stream=stream, timestep=timestep))
    return errors


def _too_heavy(factors: Array, grid: Array, lengths: Index, job: Job) -> Index:
    """Where a factor makes a weight that no float32 holds, in [K, frames of all rows], flat.

    grid: the tokens that the factors are of
    """
    recipe, heavy = job.recipe, np.zeros(factors.shape, dtype=bool)
    for number, line in enumerate(grid):
        if recipe.carries_loss(number):
            weights = weights_with_factors(line, recipe.streams[number], factors[number])
            heavy[number] = ~np.isfinite(weights)
    # Nothing is known of what truncation cut off, and it has no weight.
    lost = lost_tokens(Segments(recipe, lengths, recipe.streams, by_stream=True), job)
    return np.flatnonzero(heavy if lost is None else heavy.reshape(-1) & ~lost)
