"""The delay pattern again, slow and obvious: what the package is compared with.

Python lists and a loop over every cell, written from the description of the pattern and not from
the package. At the end: random recipes and codes for hypothesis.
"""

import numpy as np
from hypothesis import strategies as st

from delaytool.recipes.recipe import Recipe, Stream

INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")


def cells_of(tokens, stream, recipe):
    """One stream of one row, shifted: a list of (what, token, timestep it came from)."""
    largest = max(other.delay for other in recipe.streams)
    middle = [("initial", stream.initial, None)] * stream.delay
    for timestep, token in enumerate(tokens):
        middle.append(("token", token, timestep))
    middle += [("behind", None, None)] * (largest - stream.delay)
    if recipe.length == "truncate":
        middle = middle[: len(tokens)]
    if recipe.initial_step:
        middle = [("initial", stream.initial, None), *middle]
    if recipe.final_step:
        middle = [*middle, ("behind", None, None)]
    cells, first = [], True
    for what, token, timestep in middle:
        if what != "behind":
            cells.append((what, token, timestep))
        elif first:
            cells.append(("final", stream.final, None))
            first = False
        else:
            cells.append(("padding", stream.padding, None))
    return cells


def delay(row, recipe):
    """Codes [K][T] of one row -> [K][S]."""
    return [
        [token for _, token, _ in cells_of(tokens, stream, recipe)]
        for tokens, stream in zip(row, recipe.streams, strict=True)
    ]


def filled(row, recipe):
    """Which cells of [K][S] hold no token: None, or "initial", "final", "padding"."""
    return [
        [None if what == "token" else what for what, _, _ in cells_of(tokens, stream, recipe)]
        for tokens, stream in zip(row, recipe.streams, strict=True)
    ]


def cut(row, recipe, lost_token=None):
    """Codes [K][T] with every token replaced that the shift does not keep."""
    result = []
    for tokens, stream in zip(row, recipe.streams, strict=True):
        kept = {timestep for _, _, timestep in cells_of(tokens, stream, recipe)}
        result.append([x if t in kept else lost_token for t, x in enumerate(tokens)])
    return result


def weight_of(cell, stream, trained):
    what, token, _ = cell
    if not trained or what == "initial":
        return 0.0
    if what == "final":
        return stream.final_weight
    if what == "padding":
        return stream.padding_weight
    if token == -1:
        return 0.0
    return stream.weight * stream.token_weights.get(token, 1.0)


def loss_weights(row, recipe):
    """Loss weights [K][S] of the shifted codes [K][T] of one row."""
    weights, audio_streams = [], 0
    for tokens, stream in zip(row, recipe.streams, strict=True):
        trained = True
        if stream.kind != "text":
            trained = audio_streams < recipe.dep_q
            audio_streams += 1
        cells = cells_of(tokens, stream, recipe)
        weights.append([weight_of(cell, stream, trained) for cell in cells])
    return weights


FILLS = st.sampled_from([-2, -1, 0, 3, 9, 127, 128, 255, 2048, 40000, 70000, 2**31])
WEIGHTS = st.sampled_from([0.0, 0.1, 0.5, 1.0, 1 / 3, 100.0, 1e-46, 1e15])


@st.composite
def recipes(draw, min_streams=1, fills=FILLS, longest_delay=9):
    """Any recipe, small enough to loop over."""
    number = draw(st.integers(min_streams, 5))
    has_text = draw(st.booleans())
    streams = []
    for k in range(number):
        cardinality = draw(st.sampled_from([1, 2, 9, 200, 2048, 48000]))
        low_tokens = st.integers(0, min(cardinality, 4) - 1)
        streams.append(
            Stream(
                name=f"stream_{k}",
                kind="text" if has_text and k == 0 else draw(st.sampled_from(KINDS_OF_AUDIO)),
                delay=draw(st.integers(0, longest_delay)),
                initial=draw(fills),
                padding=draw(fills),
                final=draw(fills),
                cardinality=cardinality,
                weight=draw(WEIGHTS),
                token_weights=draw(st.dictionaries(low_tokens, WEIGHTS, max_size=3)),
                final_weight=draw(WEIGHTS),
                padding_weight=draw(WEIGHTS),
            )
        )
    return Recipe(
        streams=tuple(streams),
        dep_q=draw(st.integers(0, number - has_text)),
        length=draw(st.sampled_from(["extend", "truncate"])),
        initial_step=draw(st.booleans()),
        final_step=draw(st.booleans()),
    )


KINDS_OF_AUDIO = ("semantic", "acoustic")


def random_tokens(random, stream, size, dtype):
    """Valid tokens of a stream that the type holds: low ones often, zero tokens where signed."""
    info = np.iinfo(dtype)
    high = min(stream.cardinality - 1, info.max)
    tokens = random.integers(0, high, size=size, endpoint=True)
    low = random.random(size) < 0.5
    tokens[low] = random.integers(0, min(high, 3), size=int(low.sum()), endpoint=True)
    if info.min < 0:
        tokens[random.random(size) < 0.1] = -1
    return tokens.astype(dtype)


def random_row(random, recipe, frames, dtype="int64"):
    """Codes [K, T] of one row."""
    return np.array([random_tokens(random, s, frames, dtype) for s in recipe.streams], dtype)


seeds = st.integers(0, 2**32 - 1)
