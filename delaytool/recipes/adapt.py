"""A recipe with some things changed."""

from __future__ import annotations

import dataclasses
from typing import Any

from delaytool.errors import RecipeError
from delaytool.recipes.checks import check_integer
from delaytool.recipes.recipe import Length, Recipe, Stream


def adapt(
    recipe: Recipe,
    *,
    text: bool = True,
    n_q: int | None = None,
    delays: tuple[int, ...] | None = None,
    acoustic_delay: int | None = None,
    length: Length | None = None,
    initial_step: bool | None = None,
    final_step: bool | None = None,
    text_card: int | None = None,
    card: int | None = None,
    text_initial: int | None = None,
    text_padding: int | None = None,
    text_end_padding: int | None = None,
    audio_initial: int | None = None,
    audio_padding: int | None = None,
    text_padding_weight: float | None = None,
    semantic_weight: float | None = None,
    acoustic_weight: float | None = None,
    final_weight: float | None = None,
    dep_q: int | None = None,
) -> Recipe:
    """A recipe with some things changed; what is None stays.

    text:       False drops the text stream
    n_q:        the first n_q audio streams only
    delays:     frames of each stream, text first; one number: text 0, every audio stream that
    card:       vocabulary size of each codebook; initial, final and padding tokens that equalled
                it move along. text_card likewise, where only the initial token moves
    text_padding, text_end_padding: what counts as padding in the loss; the first also fills the
                cells behind the text. A new padding without a new end padding: only it counts

    The other arguments are called like the recipe's fields. Raises RecipeError for values that
    cannot be and for text arguments without a text stream.
    """
    if not text and recipe.has_text:
        if recipe.n_q == 0:
            raise RecipeError("without its text the recipe has no streams")
        recipe = dataclasses.replace(recipe, streams=recipe.audio)
    if n_q is not None:
        recipe = _first_streams(recipe, n_q)
    streams = list(recipe.streams)
    text_fields = {
        "text_card": text_card,
        "text_initial": text_initial,
        "text_padding": text_padding,
        "text_end_padding": text_end_padding,
        "text_padding_weight": text_padding_weight,
    }
    if recipe.has_text:
        streams[0] = _adapt_text(streams[0], **text_fields)  # type: ignore[arg-type]
    elif given := [name for name, value in text_fields.items() if value is not None]:
        raise RecipeError(f"{given[0]} is given, but there is no text stream")
    delays = _spread(delays, recipe)
    weights = {"semantic": semantic_weight, "acoustic": acoustic_weight}
    for number, stream in enumerate(streams):
        changes: dict[str, Any] = {}
        if delays is not None:
            changes["delay"] = delays[number]
        if acoustic_delay is not None and stream.kind == "acoustic":
            changes["delay"] = acoustic_delay
        if stream.kind != "text":
            changes |= _audio_fills(stream, card, audio_initial, audio_padding)
            changes["weight"] = _given(weights[stream.kind], stream.weight)
        changes["final_weight"] = _given(final_weight, stream.final_weight)
        try:
            streams[number] = dataclasses.replace(stream, **changes)
        except RecipeError as error:
            raise RecipeError(f"stream {stream.name}: {error}") from None
    return Recipe(
        streams=tuple(streams),
        dep_q=_given(dep_q, recipe.dep_q),
        length=_given(length, recipe.length),
        initial_step=_given(initial_step, recipe.initial_step),
        final_step=_given(final_step, recipe.final_step),
    )


def _given(value: Any, otherwise: Any) -> Any:
    return otherwise if value is None else value


def _first_streams(recipe: Recipe, n_q: int) -> Recipe:
    check_integer("n_q", n_q, 1, recipe.n_q)
    streams = recipe.streams[: n_q + recipe.has_text]
    assert recipe.dep_q is not None
    return dataclasses.replace(recipe, streams=streams, dep_q=min(recipe.dep_q, n_q))


def _spread(delays: tuple[int, ...] | None, recipe: Recipe) -> tuple[int, ...] | None:
    """One delay for each stream; (1,) for text and two codebooks -> (0, 1, 1)"""
    if delays is None:
        return None
    if len(delays) == 1:
        return (*[0] * recipe.has_text, *delays * recipe.n_q)
    if len(delays) != len(recipe.streams):
        raise RecipeError(
            f"{len(delays)} delays for {len(recipe.streams)} streams "
            f"({'text and ' if recipe.has_text else ''}{recipe.n_q} audio), "
            "expected one for each, or one number for all audio streams"
        )
    return delays


def _audio_fills(
    stream: Stream, card: int | None, initial: int | None, padding: int | None
) -> dict[str, Any]:
    """New vocabulary size and fill tokens of an audio stream."""
    fills = dict(zip(("initial", "final", "padding"), stream.fills, strict=True))
    if padding is not None and fills["final"] == fills["padding"]:
        fills["final"] = padding
    elif card is not None and fills["final"] == stream.cardinality:
        fills["final"] = card
    for name, given in (("initial", initial), ("padding", padding)):
        if given is not None:
            fills[name] = given
        elif card is not None and fills[name] == stream.cardinality:
            fills[name] = card
    return {**fills, "cardinality": _given(card, stream.cardinality)}


def _adapt_text(
    stream: Stream,
    text_card: int | None,
    text_initial: int | None,
    text_padding: int | None,
    text_end_padding: int | None,
    text_padding_weight: float | None,
) -> Stream:
    """The text stream with another vocabulary, other fills, other padding in the loss."""
    initial = stream.initial
    if text_card is not None and initial == stream.cardinality:
        initial = text_card
    final = stream.final
    if text_padding is not None and final == stream.padding:
        final = text_padding
    tokens = _loss_paddings(stream, text_padding, text_end_padding)
    factors = set(stream.token_weights.values())
    if text_padding_weight is not None:
        factors = {text_padding_weight}
    if tokens == list(stream.token_weights) and text_padding_weight is None:
        weights = dict(stream.token_weights)
    elif len(factors) > 1:
        raise RecipeError(
            f"the recipe's padding tokens have the factors {sorted(factors)}, "
            "expected --text-padding-weight to say which is meant"
        )
    else:
        weights = {token: factor for token in tokens for factor in factors}
    try:
        return dataclasses.replace(
            stream,
            cardinality=_given(text_card, stream.cardinality),
            initial=_given(text_initial, initial),
            padding=_given(text_padding, stream.padding),
            final=final,
            token_weights=weights,
        )
    except RecipeError as error:
        raise RecipeError(f"stream {stream.name}: {error}") from None


def _loss_paddings(stream: Stream, padding: int | None, end_padding: int | None) -> list[int]:
    """The tokens that count as padding in the text loss, once the new ones are in."""
    old = list(stream.token_weights)
    # A padding below 0 only fills cells: it is no token of the text.
    if padding is not None and padding >= 0:
        return sorted({padding} if end_padding is None else {padding, end_padding})
    if end_padding is None:
        return old if old or stream.padding < 0 else [stream.padding]
    if stream.padding in old or not old:
        return sorted({stream.padding, end_padding} if stream.padding >= 0 else {end_padding})
    raise RecipeError(
        f"the recipe does not say which of {old} is the end padding, "
        "expected --text-padding together with --text-end-padding"
    )
