"""Sums of loss weights, exact, so that they do not depend on the order of adding."""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import numpy as np

from delaytool.pattern.segments import Index, Segments
from delaytool.pattern.weights import Weights, weight_table, weights_of_tokens
from delaytool.recipes.checks import ZERO_TOKEN

_SUMMED = 1 << 14
"""Values that are added up at once, few enough for a cache."""


def weight_sums(
    weights: Weights, segments: Segments, *, factors: bool, zeros: Index
) -> list[Fraction]:
    """The sum of each stream's weights, exact, so that it does not depend on any order.

    weights, segments: those of `loss_weights_flat`
    factors: whether it was given factors
    zeros:   where its codes are zero tokens, as `zero_tokens` says

    Where nothing varies from token to token, lengths say what the sum is; where few weights can
    occur, they are counted; others are added.
    """
    table, totals = weight_table(segments), segments.totals
    rounded = table.astype(np.float32)
    weightless = None if factors or not zeros.size else _zeros_of_streams(zeros, segments)
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
            if weightless is not None:
                cells[segments.kept] -= weightless[number]
            sums.append(_weighed(zip(rounded[number].tolist(), cells.tolist(), strict=True)))
    return sums


def _zeros_of_streams(zeros: Index, segments: Segments) -> Index:
    """How many tokens of each stream are zero tokens, fills left out."""
    ends = np.cumsum(segments.of_rows(segments.steps))
    of_segments = np.diff(np.searchsorted(zeros, ends), prepend=0)
    rows, streams = len(segments.lengths), len(segments.streams)
    shape = (streams, rows) if segments.by_stream else (rows, streams)
    counts: Index = of_segments.reshape(shape).sum(axis=1 if segments.by_stream else 0)
    fills = segments.totals[:, segments.filled_pieces] * (segments.token_table == ZERO_TOKEN)
    counts -= fills.sum(axis=1)
    return counts


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
