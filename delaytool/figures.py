"""What the cells of a shifted batch hold, in numbers: for a shard's record and its report.

All of it are sums that do not depend on how rows are cut into batches, so verify gets the same
ones from whatever batches it reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction

import numpy as np

from delaytool.job import Figures, Job
from delaytool.pattern import Array, Segments
from delaytool.recipe import ZERO_TOKEN
from delaytool.weights import Weights, weight_sums


def figures_of_nothing(job: Job) -> Figures:
    """The figures of a shard without a row."""
    return Figures(weights=(Fraction(0),) * (len(job.recipe.streams) * job.weighs))


def figures_of(
    codes: Sequence[Array],
    segments: Sequence[Segments],
    weights: Sequence[Weights | None],
    job: Job,
) -> Figures:
    """The figures of a batch.

    codes, segments: of each of the job's outputs, flat and shifted
    weights:         of each of them too, None where it has none
    """
    cells = filled = zero = text = padding = 0
    sums: list[Fraction] = []
    columns = zip(job.outputs, codes, segments, weights, strict=True)
    for output, flat, own, weight in columns:
        totals = own.totals
        cells += int(totals.sum())
        filled += int(totals[:, [0, 2, 3]].sum())
        negative = bool(flat.size and flat.min() < 0)
        if negative:
            every = range(len(own.streams))
            zero += count_tokens(flat, {ZERO_TOKEN}) - _fills_among({ZERO_TOKEN}, every, own)
        if output.first == 0 and job.recipe.has_text:
            text = int(totals[0, 1])
            ids = own.streams[0].padding_ids
            padding = count_tokens(flat[own.cells_of(0)], ids) - _fills_among(ids, (0,), own)
        if job.weighs and weight is not None:
            factors = job.factors is not None
            sums += weight_sums(weight, own, output.first, factors=factors, zeros=negative)
    return Figures(cells, filled, zero, text, padding, tuple(sums))


def count_tokens(tokens: Array, ids: Iterable[int]) -> int:
    """How many of the tokens are one of these."""
    return sum(int(np.count_nonzero(tokens == token)) for token in ids)


def _fills_among(ids: set[int], streams: Iterable[int], segments: Segments) -> int:
    """How many cells of these streams the pattern has filled with one of these tokens."""
    totals = segments.totals[:, [0, 2, 3]].tolist()
    return sum(
        cells
        for number in streams
        for token, cells in zip(segments.streams[number].fills, totals[number], strict=True)
        if token in ids
    )
