"""Loss weights and labels of shifted codes, on arrays.

The weight of a cell is that of predicting the token in that cell: its stream's weight, times the
factor of that token if the stream has one, and 0

- for zero tokens (-1),
- in audio streams after the first dep_q, which the model does not predict,
- for cells that the delay filled, unless the stream trains them: those before it
  (`initial_weight`), its first trailing cell (`final_weight`: an end token), the others
  (`padding_weight`) or the very last (`last_weight`),
- for cells that an offset filled with what is no token of the vocabulary; with one that is, they
  weigh what such a token weighs.

Products, with a user's factors too, are those of float64 numbers, and only they are rounded to
float32: 1e-46 x 1e10 is 1e-36, though 1e-46 alone would be 0.

A *label* is the token of a cell whose weight is above 0, and -100 elsewhere.

Source: Moshi's paper, section 4.4 (text padding counts half, semantic tokens 100 times an
acoustic one); `compute_loss_with_mask` of moshi-finetune.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from delaytool.errors import RecipeError
from delaytool.pattern.delay import checked_grid, segments_of
from delaytool.pattern.flat import shift_flat, widened
from delaytool.pattern.segments import Array, Index, Segments
from delaytool.recipes.checks import ZERO_TOKEN
from delaytool.recipes.recipe import Recipe
from delaytool.recipes.stream import KEPT, PIECES, Stream

Weights = npt.NDArray[np.float32]
NO_LABEL = -100
"""The label of a cell without loss, which torch and transformers ignore."""
_LIFT = 2.0**300
"""What weights are multiplied by before their factors, and products divided by: float64 has few
digits for 1e-320, but all of them for 1e-320 x 1e300."""


def loss_weights_flat(codes: Array, segments: Segments, factors: Array | None = None) -> Weights:
    """The loss weights of a flat batch of shifted codes.

    codes:    integers, flat, `segments.shifted_size` of them, as `delay_flat` returns them
    segments: rows, and which of the recipe's streams the batch holds
    factors:  float32 or float64, flat, `segments.source_size` of them: a factor on the weight of
              each token, shifted along with it
    returns:  float32, flat, `segments.shifted_size` of them
    """
    if codes.size != segments.shifted_size:
        raise ValueError(f"{codes.size} cells, expected {segments.shifted_size}")
    table = weight_table(segments)
    narrow = factors is None or _are_float32(factors, segments, table)
    lift, dtype = (1.0, np.dtype(np.float32)) if narrow else (_LIFT, np.dtype(np.float64))
    weights = segments.of_cells((table * lift).astype(dtype))
    varied = _apply_token_weights(weights, codes, segments, table[:, segments.kept], lift)
    if factors is not None:
        none = np.zeros((len(table), len(segments.filled_pieces)))
        weights = _product(weights, shift_flat(factors, segments, none, factors.dtype))
        varied = True
    zeros = zero_tokens(codes)
    if zeros.size:
        weights[zeros] = 0
        varied = varied or bool((segments.token_table == ZERO_TOKEN).any())
    if varied:
        # What was said of tokens does not hold for fills that happen to be the same.
        fills = table[:, segments.filled_pieces].astype(np.float32)
        weights[segments.filled] = segments.of_filled(fills)
    return weights


def zero_tokens(codes: Array) -> Index:
    """Where a flat batch holds zero tokens, fills that are the same included.

    [7, -1, 3, -1] -> [1, 3]
    """
    if not codes.size or codes.min() >= 0:
        return np.zeros(0, dtype=np.int64)
    return np.flatnonzero(codes == ZERO_TOKEN)


def check_trained_fills(recipe: Recipe) -> None:
    """Raise RecipeError for cells that weigh something and hold what no output can predict."""
    for number, stream in enumerate(recipe.streams):
        if not stream.trains_fills or not recipe.carries_loss(number):
            continue
        for piece in sorted(recipe.pieces[stream.name]):
            token, weight = stream.tokens_of_pieces[piece], stream.weights_of_pieces[piece]
            if piece != KEPT and weight and not 0 <= token < stream.cardinality:
                name = PIECES[piece]
                raise RecipeError(
                    f"stream {stream.name}: {name} is {token} and would be trained, which its "
                    f"output cannot predict, expected 0 to {stream.cardinality - 1}, or a "
                    f"{name}_weight of 0"
                )


def weight_table(segments: Segments) -> npt.NDArray[np.float64]:
    """The weights of each stream's pieces, [streams, pieces].

    Moshi's text and its semantic stream, pieces KEPT and FINAL: [[1, 0], [100, 0]]
    """
    of_streams, there = segments.recipe.weights_of_pieces, segments.there
    weights = [
        [of_pieces[piece] for piece in there]
        for of_pieces in (of_streams[stream.name] for stream in segments.streams)
    ]
    return np.array(weights, dtype=np.float64).reshape(len(weights), len(there))


def _are_float32(factors: Array, segments: Segments, table: npt.NDArray[np.float64]) -> bool:
    """Whether factors and weights are float32 numbers, whose product float32 rounds once."""
    if factors.dtype != np.float32:
        return False
    weights = table[:, segments.kept]
    pairs = zip(segments.streams, weights, strict=True)
    tables = [weights, *(weights_of_tokens(stream) for stream, weight in pairs if weight)]
    return all(np.array_equal(each.astype(np.float32), each) for each in tables)


def _product(weights: Array, factors: Array) -> Weights:
    """Weights, multiplied by _LIFT where they are float64, times factors; rounded once in float32.

    What no float32 holds becomes infinite.
    """
    with np.errstate(over="ignore"):
        weights *= factors
        if weights.dtype == np.float32:
            return weights
        product = np.empty(weights.shape, dtype=np.float32)
        np.multiply(weights, 1 / _LIFT, out=product, casting="same_kind")
    return product


def weights_with_factors(tokens: Array, stream: Stream, factors: Array) -> Weights:
    """The weights of tokens of one stream that carries loss, with a factor on each.

    tokens, factors: as many, those that are no fills; what no float32 holds becomes infinite
    """
    weights = _product(_looked_up(tokens, stream, weights_of_tokens(stream, _LIFT)), factors)
    weights[tokens == ZERO_TOKEN] = 0
    return weights


def _apply_token_weights(
    weights: Array, codes: Array, segments: Segments, base: npt.NDArray[np.float64], lift: float
) -> bool:
    """Put the weights of single tokens in, if any; the product with the stream's is rounded once.

    returns: whether any stream has such weights
    """
    varied = False
    for number, stream in enumerate(segments.streams):
        if not stream.token_weights or not base[number]:
            continue
        varied = True
        here = segments.cells_of(number)
        table = weights_of_tokens(stream, lift).astype(weights.dtype)
        weights[here] = _looked_up(codes[here], stream, table)
    return varied


def _looked_up(tokens: Array, stream: Stream, table: Array) -> Array:
    """The entry of each token in a table such as `weights_of_tokens` gives."""
    # Looking up is faster than assigning under a mask, which goes astray at every other cell.
    entry = np.zeros(tokens.size, dtype=np.min_scalar_type(len(stream.token_weights)))
    for number, token in enumerate(stream.token_weights, start=1):
        entry += (tokens == token) * entry.dtype.type(number)
    return table.take(entry)


def weights_of_tokens(stream: Stream, lift: float = 1.0) -> npt.NDArray[np.float64]:
    """What a stream's tokens may weigh: those without a factor, then those of `token_weights`.

    weight 2, token_weights {0: 0.5, 3: 0.25} -> [2, 1, 0.5]
    """
    factors = [1.0, *stream.token_weights.values()]
    return np.array([stream.weight * lift * factor for factor in factors])


def labels_flat(codes: Array, weights: Weights) -> Array:
    """Training labels: the token where its weight is above 0, else -100.

    [7, 3, 3], weights [1, 0.5, 0] -> [7, 3, -100]

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

    Raises ValueError for another number of streams or fewer timesteps than the pattern adds, and
    for a recipe that trains a fill token which the stream's output cannot predict; TypeError for
    anything but integers.

    Source: module docstring.
    """
    check_trained_fills(recipe)
    grid = checked_grid(codes, recipe, "codes")
    segments = segments_of(grid.shape, recipe)
    return loss_weights_flat(grid.ravel(), segments).reshape(grid.shape)
