"""Sums of loss weights, exact, so that they do not depend on the order of adding."""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import numpy as np

from delaytool.pattern.segments import Index, Segments
from delaytool.pattern.weights import Weights, weight_table, weights_of_tokens

_SUMMED = 1 << 14
"""Values that are added up at once, few enough for a cache."""


def weight_sums(
    weights: Weights, segments: Segments, *, factors: bool, zeros: bool
) -> list[Fraction]:
    """The sum of each stream's weights, exact, so that it does not depend on any order.

    weights, segments: those of `loss_weights_flat`
    factors: whether it was given factors
    zeros:   whether any of its codes may be a zero token

    Where nothing varies from token to token, lengths say what the sum is; where few weights can
    occur, they are counted; others are added.
    """
    table, totals = weight_table(segments), segments.totals
    rounded = table.astype(np.float32)
    weighing = _weighing(weights, segments) if zeros and not factors else None
    sums = []
    for number, stream in enumerate(segments.streams):
        if factors:
            sums.append(exact_sum(weights[segments.cells_of(number)]))
        elif stream.token_weights and table[number, segments.kept]:
            cells = weights[segments.cells_of(number)]
            of_tokens = weights_of_tokens(stream).astype(np.float32)
            known = {*rounded[number].tolist(), *of_tokens.tolist()}
            sums.append(_weighed((w, np.count_nonzero(cells == np.float32(w))) for w in known if w))
        else:
            cells = totals[number].copy()
            if weighing is not None and rounded[number, segments.kept]:
                # Tokens weigh what each of them does, or nothing.
                others = cells[rounded[number] > 0].sum() - cells[segments.kept]
                cells[segments.kept] = weighing[number] - others
            sums.append(_weighed(zip(rounded[number].tolist(), cells.tolist(), strict=True)))
    return sums


def _weighing(weights: Weights, segments: Segments) -> Index:
    """How many cells of each stream weigh anything."""
    sizes = segments.of_rows(segments.steps)
    counts = np.zeros(len(sizes), dtype=np.int64)
    there = np.flatnonzero(sizes)
    if len(there):
        starts = (np.cumsum(sizes) - sizes)[there]
        counts[there] = np.add.reduceat((weights > 0).view(np.int8), starts, dtype=np.int64)
    rows, streams = len(segments.lengths), len(segments.streams)
    shape = (streams, rows) if segments.by_stream else (rows, streams)
    of_streams: Index = counts.reshape(shape).sum(axis=1 if segments.by_stream else 0)
    return of_streams


def _weighed(counts: Iterable[tuple[float, Any]]) -> Fraction:
    """The sum of so many cells of each weight."""
    terms = (Fraction(weight) * int(cells) for weight, cells in counts if weight and cells)
    return sum(terms, Fraction(0))


def exact_sum(values: Weights) -> Fraction:
    """The sum of finite float32 values, without any rounding.

    Adding a large number to each and taking it away again rounds them to multiples of a power of
    two, of which all together are few enough to be added up in float64; then the same with what is
    left of them. With a power of 1: 2.5 + 1 + 0.25 -> (2 + 1 + 0) + (0.5 + 0 + 0.25)
    """
    total = Fraction(0)
    for start in range(0, values.size, _SUMMED):
        rest = values[start : start + _SUMMED].astype(np.float64)
        while largest := max(rest.max(), -rest.min()):
            large = math.ldexp(1.5, math.frexp(largest)[1] + rest.size.bit_length())
            parts = rest + large
            parts -= large
            total += Fraction(float(parts.sum()))
            rest -= parts
    return total
