"""Whether codes look as if the delay pattern had moved them already."""

from __future__ import annotations

from delaytool.pattern.segments import Array
from delaytool.recipes.recipe import Recipe


def looks_delayed(codes: Array, recipe: Recipe) -> bool | None:
    """Whether every delayed stream begins with as many initial tokens as its delay, no more.

    codes:   integers [K, T] of one row
    returns: None where that says nothing: no stream is delayed, or the row is no longer than the
             largest delay

    Delays 0, 1, 2 and initial token 9: [[1, 2, 3], [9, 1, 2], [9, 9, 1]] -> True;
    [[1, 2, 3], [9, 9, 2], [9, 9, 9]] -> False, as it begins with more of them

    With an initial step all streams may have one more, as they have once they are shifted.
    """
    if not recipe.max_delay or codes.shape[1] <= recipe.max_delay:
        return None
    steps = (0, 1) if recipe.initial_step else (0,)
    return any(_begins_after(codes, recipe, step) for step in steps)


def _begins_after(codes: Array, recipe: Recipe, step: int) -> bool:
    """Whether the streams that an initial step or a delay moves begin with as many fills."""
    for line, stream in zip(codes, recipe.streams, strict=True):
        fills = stream.delay + step
        front = line[: fills + 1]
        if fills and not ((front[:fills] == stream.initial).all() and len(front) > fills):
            return False
        if fills and front[fills] == stream.initial:
            return False
    return True
