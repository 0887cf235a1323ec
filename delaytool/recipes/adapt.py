"""A recipe with some things changed: each function changes one, and what is None stays.

Fields of the recipe itself (`dep_q`, `length` and the steps) want no function:
`dataclasses.replace(recipe, length="truncate")`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

from delaytool.errors import RecipeError
from delaytool.recipes.checks import check_integer
from delaytool.recipes.recipe import Recipe, Stream

T = TypeVar("T")


def without_text(recipe: Recipe) -> Recipe:
    """The audio streams only; raises RecipeError where there are none."""
    if not recipe.has_text:
        return recipe
    if recipe.n_q == 0:
        raise RecipeError("without its text the recipe has no streams")
    return dataclasses.replace(recipe, streams=recipe.audio)


def first_streams(recipe: Recipe, n_q: int) -> Recipe:
    """The text and the first n_q audio streams; raises RecipeError where there are fewer.

    n_q=3 of Moshi's 16, of which the first 8 carry loss -> dep_q=3
    """
    check_integer("n_q", n_q, 1, recipe.n_q)
    assert recipe.dep_q is not None
    streams = recipe.streams[: n_q + recipe.has_text]
    return dataclasses.replace(recipe, streams=streams, dep_q=min(recipe.dep_q, n_q))


def spread_delays(delays: tuple[int, ...], n_q: int, has_text: bool) -> tuple[int, ...]:
    """One delay as that of every audio stream, with 0 for the text; several as they are.

    (3,), n_q=2, has_text=True -> (0, 3, 3)
    """
    return (*[0] * has_text, *delays * n_q) if len(delays) == 1 else delays


def with_delays(recipe: Recipe, delays: tuple[int, ...]) -> Recipe:
    """Other delays: one of each stream, text first, or one number for all audio streams.

    delays: frames; raises RecipeError for any other number of them
    """
    spread = spread_delays(delays, recipe.n_q, recipe.has_text)
    if len(spread) != len(recipe.streams):
        raise RecipeError(
            f"{len(delays)} delays for {len(recipe.streams)} streams "
            f"({'text and ' if recipe.has_text else ''}{recipe.n_q} audio), "
            "expected one for each, or one number for all audio streams"
        )
    streams = (_replaced(s, delay=delay) for s, delay in zip(recipe.streams, spread, strict=True))
    return dataclasses.replace(recipe, streams=tuple(streams))


def with_acoustic_delay(recipe: Recipe, delay: int) -> Recipe:
    """Another delay of the acoustic streams, in frames.

    Moshi, delay=2 -> 0, 0, 2, 2, 2, 2, 2, 2, 2, 0, 2, 2, 2, 2, 2, 2, 2
    """
    return _of_each(
        recipe, lambda stream: {"delay": delay if stream.kind == "acoustic" else stream.delay}
    )


def with_text(
    recipe: Recipe,
    *,
    card: int | None = None,
    initial: int | None = None,
    padding: int | None = None,
    end_padding: int | None = None,
    padding_weight: float | None = None,
) -> Recipe:
    """Another vocabulary, other fills, other padding of the text in the loss.

    card:           vocabulary size; an initial token that equalled it moves along
    padding:        fills the trailing cells and counts as padding in the loss; without an
                    end padding only it does. Below 0 it only fills
    end_padding:    counts as padding in the loss too
    padding_weight: factor on the loss of both

    Moshi, padding=5 -> fills 32000, 5, 5 and token_weights {5: 0.5}

    Raises RecipeError where there is no text stream, and where it is not clear which factor or
    which end padding is meant.
    """
    given = {
        "text_card": card,
        "text_initial": initial,
        "text_padding": padding,
        "text_end_padding": end_padding,
        "text_padding_weight": padding_weight,
    }
    names = [name for name, value in given.items() if value is not None]
    if not names:
        return recipe
    if not recipe.has_text:
        raise RecipeError(f"{names[0]} is given, but there is no text stream")
    text = recipe.streams[0]
    changed = _replaced(
        text,
        cardinality=_given(card, text.cardinality),
        initial=_given(initial, _moved(text.initial, text.cardinality, card)),
        padding=_given(padding, text.padding),
        final=_moved(text.final, text.padding, padding),
        token_weights=_padding_factors(text, padding, end_padding, padding_weight),
    )
    return dataclasses.replace(recipe, streams=(changed, *recipe.audio))


def _padding_factors(
    text: Stream, padding: int | None, end_padding: int | None, weight: float | None
) -> dict[int, float]:
    """The factors of the tokens that count as padding in the text loss, by token."""
    tokens = _loss_paddings(text, padding, end_padding)
    if weight is not None:
        return dict.fromkeys(tokens, weight)
    if tokens == list(text.token_weights):
        return dict(text.token_weights)
    factors = set(text.token_weights.values())
    if len(factors) > 1:
        raise RecipeError(
            f"the recipe's padding tokens have the factors {sorted(factors)}, "
            "expected `text_padding_weight` to say which is meant"
        )
    return {token: factor for token in tokens for factor in factors}


def _loss_paddings(text: Stream, padding: int | None, end_padding: int | None) -> list[int]:
    """The tokens that count as padding in the text loss, once the new ones are in."""
    old = list(text.token_weights)
    # A padding below 0 only fills cells: it is no token of the text.
    if padding is not None and padding >= 0:
        return sorted({padding} if end_padding is None else {padding, end_padding})
    if end_padding is None:
        return old if old or text.padding < 0 else [text.padding]
    if text.padding in old or not old:
        return sorted({text.padding, end_padding} if text.padding >= 0 else {end_padding})
    raise RecipeError(
        f"the recipe does not say which of {old} is the end padding, "
        "expected `text_padding` together with `text_end_padding`"
    )


def with_audio(
    recipe: Recipe,
    *,
    card: int | None = None,
    initial: int | None = None,
    padding: int | None = None,
) -> Recipe:
    """Another vocabulary and other fills of every audio stream.

    card:    vocabulary size of each codebook; fill tokens that equalled it move along
    padding: fills the trailing cells; a final token that equalled the old one moves along

    Moshi, card=1024 -> fills 1024, 1024, 1024;  card=1024, padding=-1 -> 1024, -1, -1
    """

    def changes(stream: Stream) -> dict[str, Any]:
        if stream.kind == "text":
            return {}
        final = _moved(stream.final, stream.cardinality, card)
        if padding is not None and stream.final == stream.padding:
            final = padding
        return {
            "cardinality": _given(card, stream.cardinality),
            "initial": _given(initial, _moved(stream.initial, stream.cardinality, card)),
            "padding": _given(padding, _moved(stream.padding, stream.cardinality, card)),
            "final": final,
        }

    return _of_each(recipe, changes)


def with_weights(
    recipe: Recipe,
    *,
    semantic: float | None = None,
    acoustic: float | None = None,
    final: float | None = None,
) -> Recipe:
    """Other loss weights: of semantic and acoustic tokens, and of every stream's final token."""
    weights = {"text": None, "semantic": semantic, "acoustic": acoustic}
    return _of_each(
        recipe,
        lambda stream: {
            "weight": _given(weights[stream.kind], stream.weight),
            "final_weight": _given(final, stream.final_weight),
        },
    )


def _of_each(recipe: Recipe, changes: Callable[[Stream], dict[str, Any]]) -> Recipe:
    """The recipe with fields of each stream replaced."""
    streams = tuple(_replaced(stream, **changes(stream)) for stream in recipe.streams)
    return dataclasses.replace(recipe, streams=streams)


def _replaced(stream: Stream, **changes: Any) -> Stream:
    """A stream with some fields replaced; an error names the stream."""
    try:
        return dataclasses.replace(stream, **changes)
    except RecipeError as error:
        raise RecipeError(f"stream {stream.name}: {error}") from None


def _given(value: T | None, otherwise: T) -> T:
    return otherwise if value is None else value


def _moved(token: T, old: T, new: T | None) -> T:
    """A token that equalled the old one, moved along to the new one.

    2048, old=2048, new=1024 -> 1024;  7, old=2048, new=1024 -> 7
    """
    return new if new is not None and token == old else token
