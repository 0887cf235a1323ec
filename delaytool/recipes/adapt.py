"""A recipe with some things changed: each function changes one, and what is None stays.

Fields of the recipe itself (`dep_q`, `length` and the steps) want no function:
`dataclasses.replace(recipe, length="truncate")`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from delaytool.errors import RecipeError
from delaytool.recipes.checks import check_integer, shown
from delaytool.recipes.recipe import Recipe
from delaytool.recipes.stream import Stream
from delaytool.recipes.times import frames_of

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
    left_out = set(recipe.audio_numbers[n_q:])
    streams = tuple(s for number, s in enumerate(recipe.streams) if number not in left_out)
    return dataclasses.replace(recipe, streams=streams, dep_q=min(recipe.dep_q, n_q))


def spread_delays(delays: tuple[int, ...], kinds: Sequence[str]) -> tuple[int, ...]:
    """One delay as that of every audio stream, with 0 for text; several as they are.

    (3,), kinds text, semantic, acoustic -> (0, 3, 3)
    """
    if len(delays) != 1:
        return delays
    return tuple(0 if kind == "text" else delays[0] for kind in kinds)


def with_delays(recipe: Recipe, delays: tuple[int, ...]) -> Recipe:
    """Other delays: one of each stream, in their order, or one number for all audio streams.

    delays: frames; raises RecipeError for any other number of them
    """
    spread = spread_delays(delays, [stream.kind for stream in recipe.streams])
    if len(spread) != len(recipe.streams):
        texts = {0: "", 1: "text and "}.get(len(recipe.text), f"{len(recipe.text)} text and ")
        raise RecipeError(
            f"{len(delays)} delays for {len(recipe.streams)} streams ({texts}{recipe.n_q} audio), "
            "expected one for each, or one number for all audio streams"
        )
    streams = (_replaced(s, delay=delay) for s, delay in zip(recipe.streams, spread, strict=True))
    return dataclasses.replace(recipe, streams=tuple(streams))


def with_offset(recipe: Recipe, name: str, offset: int | str) -> Recipe:
    """Another offset of one stream, or of all of a kind.

    name:   of a stream; else "text" or "audio" for all of the kind
    offset: frames, or seconds such as "1.28s", which the recipe's frame rate makes frames

    Kyutai TTS, "audio", "1.28s" -> offset 16 of every audio stream

    Raises RecipeError where there is no such stream, and for a time that is no whole number of
    frames.
    """
    named = [stream.name for stream in recipe.streams if stream.name == name]
    if not named and name in ("text", "audio"):
        named = [stream.name for stream in (recipe.text if name == "text" else recipe.audio)]
    if not named:
        names = ", ".join(stream.name for stream in recipe.streams[:20])
        raise RecipeError(
            f"no stream is called {shown(name)}, expected text, audio or one of {names}"
        )
    frames = offset
    if isinstance(frames, str):
        is_text = all(stream.kind == "text" for stream in recipe.streams if stream.name in named)
        frames = frames_of(frames, recipe.frame_rate, is_text=is_text)
    return _of_each(recipe, lambda stream: {"offset": frames} if stream.name in named else {})


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
    """Another vocabulary, other fills, other padding of every text stream in the loss.

    card:           vocabulary size; fill tokens that equalled it move along
    padding:        fills the trailing cells and counts as padding in the loss; without an
                    end padding only it does. Below 0 it only fills. Tokens `final`, `last` and
                    `trail` that equalled the old one move along
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

    def changes(stream: Stream) -> dict[str, Any]:
        if stream.kind != "text":
            return {}
        factors = _padding_factors(stream, padding, end_padding, padding_weight)
        return {**_fills(stream, card, initial, padding), "token_weights": factors}

    return _of_each(recipe, changes)


def _fills(
    stream: Stream, card: int | None, initial: int | None, padding: int | None
) -> dict[str, int]:
    """The vocabulary and the fills of a stream, once those that are given are in.

    Tokens that equalled the old cardinality move along with it, and what equalled the old padding
    with that.
    """
    fields = {name: getattr(stream, name) for name in ("initial", "padding")}
    fields |= {name: getattr(stream, name) for name in ("final", "last", "trail")}
    moved = {name: _moved(token, stream.cardinality, card) for name, token in fields.items()}
    moved["initial"] = _given(initial, moved["initial"])
    if padding is not None:
        like = [name for name in fields if name != "initial" and fields[name] == stream.padding]
        moved |= dict.fromkeys(like, padding)
    return {"cardinality": _given(card, stream.cardinality), **moved}


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
    padding: fills the trailing cells; `final`, `last` and `trail` that equalled the old one move
             along

    Moshi, card=1024 -> fills 1024, 1024, 1024;  card=1024, padding=-1 -> 1024, -1, -1
    """

    def changes(stream: Stream) -> dict[str, Any]:
        return {} if stream.kind == "text" else _fills(stream, card, initial, padding)

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
