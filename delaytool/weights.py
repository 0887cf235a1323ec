"""Loss weights on arrays.

The weight of a cell is that of predicting the token in that cell: its stream's weight, times the
factor of that token if the stream has one, and 0

- for zero tokens (-1),
- in audio streams behind the first dep_q, which the model does not predict,
- for filled cells, unless the stream trains the first cell behind it (`final_weight`: an end
  token) or the others (`padding_weight`).

Source: Moshi's paper, section 4.4 (text padding counts half, semantic tokens 100 times an
acoustic one); `compute_loss_with_mask` of moshi-finetune.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from delaytool.pattern import Array, Filled, Segments, checked_grid, segments_of
from delaytool.recipe import ZERO_TOKEN, Recipe

Weights = npt.NDArray[np.float32]


def loss_weights_flat(
    codes: Array, segments: Segments, first: int = 0, filled: Filled | None = None
) -> Weights:
    """Weights of a flat shifted batch.

    codes:    integers, flat, `segments.shifted_size` of them, as `delay_flat` returns them
    segments: rows, and which of the recipe's streams the batch holds
    first:    number of the first of these streams in the recipe
    returns:  float32, flat, as many
    """
    if codes.size != segments.shifted_size:
        raise ValueError(f"{codes.size} cells, expected {segments.shifted_size}")
    recipe, streams = segments.recipe, segments.streams
    carries = [recipe.carries_loss(first + number) for number in range(len(streams))]
    base = np.array(
        [stream.weight * does for stream, does in zip(streams, carries, strict=True)],
        dtype=np.float32,
    )
    steps = segments.steps
    if len(streams) == 1 or (base == base[:1]).all():
        weights = np.full(codes.size, base[0], dtype=np.float32)
    else:
        weights = np.repeat(np.tile(base, len(steps)), np.repeat(steps, len(streams)))
    _apply_token_weights(weights, codes, segments, base)
    weights[codes == ZERO_TOKEN] = 0
    filled = segments.filled() if filled is None else filled
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
    """Multiply the factors of single tokens in, in place; the product is rounded once."""
    for number, stream in enumerate(segments.streams):
        if not stream.token_weights or not base[number]:
            continue
        here: Any = slice(None)
        if len(segments.streams) > 1:
            own = np.arange(len(segments.streams)) == number
            steps = np.repeat(segments.steps, len(segments.streams))
            here = np.flatnonzero(np.repeat(np.tile(own, len(segments.steps)), steps))
        part = weights[here]
        for token, factor in stream.token_weights.items():
            part[codes[here] == token] = np.float32(stream.weight * factor)
        weights[here] = part


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
