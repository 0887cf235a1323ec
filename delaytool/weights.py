"""Loss weights on arrays.

The weight of a cell is that of predicting the token in that cell: its stream's weight, times the
factor of that token if the stream has one, and 0

- for zero tokens (-1),
- in audio streams behind the first dep_q, which the model does not predict,
- for filled cells, unless the stream trains the first cell behind it (`final_weight`: an end
  token) or the others (`padding_weight`).

A *label* is the token of a cell whose weight is above 0, and -100 elsewhere.

Source: Moshi's paper, section 4.4 (text padding counts half, semantic tokens 100 times an
acoustic one); `compute_loss_with_mask` of moshi-finetune.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from delaytool.pattern import (
    Array,
    Filled,
    Segments,
    checked_grid,
    scatter,
    segments_of,
    widened,
)
from delaytool.recipe import ZERO_TOKEN, Recipe

Weights = npt.NDArray[np.float32]
NO_LABEL = -100
"""The label of a cell without loss, which torch and transformers ignore."""


def loss_weights_flat(
    codes: Array,
    segments: Segments,
    first: int = 0,
    filled: Filled | None = None,
    factors: Weights | None = None,
) -> Weights:
    """Weights of a flat shifted batch.

    codes:    integers, flat, `segments.shifted_size` of them, as `delay_flat` returns them
    segments: rows, and which of the recipe's streams the batch holds
    first:    number of the first of these streams in the recipe
    factors:  float32, flat, `segments.source_size` of them: a factor on the weight of each token,
              shifted along with it
    returns:  float32, flat, `segments.shifted_size` of them
    """
    if codes.size != segments.shifted_size:
        raise ValueError(f"{codes.size} cells, expected {segments.shifted_size}")
    recipe, streams = segments.recipe, segments.streams
    filled = segments.filled() if filled is None else filled
    carries = [recipe.carries_loss(first + number) for number in range(len(streams))]
    base = np.array(
        [stream.weight * does for stream, does in zip(streams, carries, strict=True)],
        dtype=np.float32,
    )
    if (base == base[:1]).all():
        weights = np.full(codes.size, base[0], dtype=np.float32)
    else:
        weights = np.repeat(segments.of_streams(base), segments.of_rows(segments.steps))
    _apply_token_weights(weights, codes, segments, base)
    if factors is not None:
        shifted = scatter(factors, segments, filled, np.float32)
        shifted[filled.index] = 0
        weights *= shifted
    weights[codes == ZERO_TOKEN] = 0
    table = np.array(
        [
            (0.0, stream.final_weight * does, stream.padding_weight * does)
            for stream, does in zip(streams, carries, strict=True)
        ],
        dtype=np.float32,
    )
    weights[filled.index] = filled.look_up(table)
    return weights


def _apply_token_weights(
    weights: Weights, codes: Array, segments: Segments, base: npt.NDArray[np.float32]
) -> None:
    """Put the weights of single tokens in; the product with the stream's is rounded once."""
    for number, stream in enumerate(segments.streams):
        if not stream.token_weights or not base[number]:
            continue
        here: Any = slice(None)
        if len(segments.streams) > 1:
            own = segments.of_streams(np.arange(len(segments.streams)) == number)
            here = np.flatnonzero(np.repeat(own, segments.of_rows(segments.steps)))
        part = weights[here]
        for token, factor in stream.token_weights.items():
            part[codes[here] == token] = np.float32(stream.weight * factor)
        weights[here] = part


def labels_flat(codes: Array, weights: Weights) -> Array:
    """Training labels: the token where its weight is above 0, else -100.

    codes:   integers, flat; weights: float32, as many
    returns: integers, as many, of the codes' type or of the next wider one that holds -100
    """
    labels = codes.astype(widened(codes.dtype, {NO_LABEL}))
    labels[~(weights > 0)] = NO_LABEL
    return labels


def loss_weights(codes: Any, recipe: Recipe) -> Weights:
    """The loss weight of every cell of shifted codes.

    codes:   integers [..., K, S] as `delay` returns them
    returns: float32 [..., K, S]

    Text padding 3 at half weight, delays 0, 1: [[7, 3, 3], [2048, 11, 12]]
    -> [[1, 0.5, 0], [0, 100, 100]]

    Raises ValueError for another number of streams or fewer timesteps than the pattern adds,
    TypeError for anything but integers.

    Source: module docstring.
    """
    grid = checked_grid(codes, recipe, "codes")
    segments = segments_of(grid.shape, recipe)
    return loss_weights_flat(grid.ravel(), segments).reshape(grid.shape)
