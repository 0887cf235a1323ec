"""What the cells of a shifted batch hold, in numbers: for a shard's record and its report.

All of it are sums that do not depend on how rows are cut into batches, so verify gets the same
ones from whatever batches it reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from delaytool.job import Figures, Job
from delaytool.pattern import Array, Segments
from delaytool.weights import Weights, weight_sums


def figures_of_nothing(job: Job) -> Figures:
    """The figures of a shard without a row."""
    streams = len(job.recipe.streams) if job.outputs[0].weights else 0
    return Figures(weights=(Fraction(0),) * streams)


def figures_of(
    codes: Sequence[Array], segments: Sequence[Segments], weights: Sequence[Weights], job: Job
) -> Figures:
    """The figures of a batch.

    codes, segments: of each of the job's outputs, flat and shifted
    weights:         of each of them too, or of none
    """
    cells = filled = text = padding = 0
    sums: list[Fraction] = []
    for number, (output, flat, own) in enumerate(zip(job.outputs, codes, segments, strict=True)):
        totals = own.totals()
        cells += int(totals.sum())
        filled += int(totals[:, [0, 2, 3]].sum())
        if output.first == 0 and job.recipe.has_text:
            text = int(totals[0, 1])
            padding = _text_padding(flat, own)
        if weights:
            factors = job.factors is not None
            sums += weight_sums(weights[number], flat, own, output.first, factors)
    return Figures(cells, filled, text, padding, tuple(sums))


def _text_padding(codes: Array, segments: Segments) -> int:
    """How many text tokens count as padding; cells that the pattern filled do not."""
    stream = segments.streams[0]
    ids = stream.padding_ids
    tokens = codes[segments.cells_of(0)]
    fills = zip(stream.fills, segments.totals()[0, [0, 2, 3]].tolist(), strict=True)
    found = sum(int(np.count_nonzero(tokens == token)) for token in ids)
    return found - sum(int(cells) for token, cells in fills if token in ids)
