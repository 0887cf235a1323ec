"""The delay pattern on arrays [..., K, T], for people: `delay` and `undelay`.

What they are given is checked here; tokens are moved by the flat form.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from delaytool.pattern.flat import delay_flat, undelay_flat, wrong_tokens
from delaytool.pattern.segments import Array, Segments
from delaytool.recipes.checks import ZERO_TOKEN
from delaytool.recipes.recipe import Recipe


def checked_grid(codes: Any, recipe: Recipe, name: str) -> Array:
    """Codes [..., K, T] as an array, its shape and type checked; it may share their memory."""
    _check_values(codes, name)
    try:
        grid = np.asarray(codes)
    except ValueError:
        if not isinstance(codes, (list, tuple)):
            raise
        raise ValueError(
            f"{name} are lists of different lengths, "
            f"expected [..., {len(recipe.streams)}, T]: as many timesteps in every stream"
        ) from None
    if not grid.size and isinstance(codes, (list, tuple)) and grid.dtype == np.float64:
        # Lists without a number say nothing of its type; numpy takes them for floats.
        grid = grid.astype(np.int64)
    if grid.dtype.kind not in "iu":
        raise TypeError(f"{name} are {grid.dtype}, expected integers")
    if grid.ndim < 2 or grid.shape[-2] != len(recipe.streams):
        raise ValueError(
            f"{name} have shape {list(grid.shape)}, "
            f"expected [..., {len(recipe.streams)}, T]: one line for each of the recipe's streams"
        )
    return grid


def _check_values(codes: Any, name: str) -> None:
    """Raise TypeError for what numpy would take for integers: masked values, booleans in lists."""
    if isinstance(codes, np.ma.MaskedArray) and np.ma.is_masked(codes):
        raise TypeError(
            f"{name} are an array that masks {codes.size - codes.count()} of its values, "
            f"expected integers: fill them, with {ZERO_TOKEN} where there is no token"
        )
    for value in codes if isinstance(codes, (list, tuple)) else ():
        if type(value) is int:
            continue
        if not isinstance(value, (list, tuple)) and np.asarray(value).dtype.kind == "b":
            raise TypeError(f"{name} hold booleans, expected integers")
        _check_values(value, name)


def _checked_lost_token(token: Any, dtype: np.dtype[Any]) -> int:
    """A token as an integer; raises unless it is one that the type holds."""
    info = np.iinfo(dtype)
    valid = f"an integer from {info.min} to {info.max}, which the codes' type {dtype} holds"
    if isinstance(token, bool) or not isinstance(token, (int, np.integer)):
        raise TypeError(f"lost_token is {token!r}, expected {valid}")
    if not info.min <= token <= info.max:
        raise ValueError(f"lost_token is {token}, expected {valid}")
    return int(token)


def segments_of(shape: tuple[int, ...], recipe: Recipe) -> Segments:
    """The segments of an array [..., K, S] of shifted codes.

    Raises ValueError when S is less than the cells that the pattern adds.
    """
    frames = shape[-1] - recipe.steps(0)
    if frames < 0:
        raise ValueError(
            f"{shape[-1]} timesteps, expected at least the {recipe.steps(0)} that the pattern adds"
        )
    rows = int(np.prod(shape[:-2], dtype=np.int64))
    return Segments(recipe, np.full(rows, frames, dtype=np.int64), recipe.streams)


def _place(position: int, shape: tuple[int, ...], recipe: Recipe) -> str:
    *rest, stream, timestep = np.unravel_index(position, shape)
    row = f"row {[int(i) for i in rest]}, " if rest else ""
    return f"{row}stream {recipe.streams[int(stream)].name}, timestep {int(timestep)}"


def delay(codes: Any, recipe: Recipe) -> Array:
    """Shift each stream by its offset and its delay, and fill the cells that this empties.

    codes:   integers [..., K, T], T in frames, valid tokens or -1: an array, lists of integers, or
             what numpy makes an array of, such as a tensor; a masked array if it masks nothing
    returns: integers [..., K, S] with S = recipe.steps(T), of the same type, or of the next wider
             signed one if a fill token does not fit; a new array, which shares no memory

    With delays 0, 1, 1 and fill token 9: [[1, 2], [3, 4], [5, 6]]
    -> [[1, 2, 9], [9, 3, 4], [9, 5, 6]]

    Raises ValueError for another number of streams or a token outside of 0 ... cardinality - 1
    other than -1, TypeError for anything but integers, masked ones included.

    Source: that of `segments`; the same cells as `_delay_sequence` of moshi/models/lm_utils.py.
    """
    grid = checked_grid(codes, recipe, "codes")
    rows = int(np.prod(grid.shape[:-2], dtype=np.int64))
    segments = Segments(recipe, np.full(rows, grid.shape[-1], dtype=np.int64), recipe.streams)
    flat = grid.ravel()
    wrong = wrong_tokens(flat, segments, segments.lengths)
    if wrong.size:
        place = _place(int(wrong[0]), grid.shape, recipe)
        stream = recipe.streams[int(np.unravel_index(wrong[0], grid.shape)[-2])]
        raise ValueError(
            f"{place}: token {flat[wrong[0]]}, expected 0 to {stream.cardinality - 1} or -1"
        )
    shape = (*grid.shape[:-1], recipe.steps(grid.shape[-1]))
    return _writable(delay_flat(flat, segments)).reshape(shape)


def _writable(flat: Array) -> Array:
    """The same values in memory that nobody else has and that can be written."""
    return np.require(flat, requirements=["O", "W"])


def undelay(
    codes: Any, recipe: Recipe, *, lost_token: int | None = None, check: bool = True
) -> Array:
    """Shift each stream back: undelay(delay(x, recipe), recipe) equals x when nothing was cut.

    codes:      integers [..., K, S] as `delay` returns them, in whatever it takes
    lost_token: with a length truncate, what to put where a token was cut off: an integer that the
                codes' type holds
    check:      whether every filled cell must hold the recipe's fill token; a grid that a model
                generated may hold anything there
    returns:    integers [..., K, T] of the same type; a new array, which shares no memory

    With delays 0, 1, 1 and fill token 9: [[1, 2, 9], [9, 3, 4], [9, 5, 6]]
    -> [[1, 2], [3, 4], [5, 6]]

    Raises ValueError for another number of streams, fewer timesteps than the pattern adds, a
    wrong fill token, tokens that were cut off without a `lost_token`, or one that the type cannot
    hold; TypeError for anything but integers, masked ones included.
    """
    grid = checked_grid(codes, recipe, "codes")
    filler = 0 if lost_token is None else _checked_lost_token(lost_token, grid.dtype)
    segments = segments_of(grid.shape, recipe)
    flat = grid.ravel()
    lost = segments.lost()
    if lost is not None and lost_token is None and lost.any():
        raise ValueError(
            f"the pattern cut off {int(lost.sum())} tokens, expected a recipe that extends, "
            "or a lost_token to put in their place"
        )
    if check:
        expected = segments.of_filled(segments.token_table)
        wrong = np.flatnonzero(flat[segments.filled] != expected)
        if wrong.size:
            position = int(segments.filled[wrong[0]])
            place = _place(position, grid.shape, recipe)
            raise ValueError(f"{place}: {flat[position]}, expected the fill {expected[wrong[0]]}")
    tokens = undelay_flat(flat, segments, filler)
    shape = (*grid.shape[:-1], int(grid.shape[-1] - recipe.steps(0)))
    return _writable(tokens).reshape(shape)
