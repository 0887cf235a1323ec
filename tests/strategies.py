"""Random recipes and tokens, for hypothesis and for tests with dice of their own."""

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from delaytool.recipes.recipe import Recipe
from delaytool.recipes.stream import Stream

INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
"""The types that tokens may have."""
KINDS = ("text", "semantic", "acoustic")
FILLS = st.sampled_from([-2, -1, 0, 3, 9, 127, 128, 255, 2048, 40000, 70000, 2**31])
WEIGHTS = st.sampled_from([0.0, 0.1, 0.5, 1.0, 1 / 3, 100.0, 1e-46, 1e15])


@st.composite
def recipes(draw, min_streams=1, fills=FILLS, longest_delay=9, largest_offset=5):
    """Any recipe, small enough to loop over."""
    number = draw(st.integers(min_streams, 5))
    kinds = [draw(st.sampled_from(KINDS)) for _ in range(number)]
    streams = [draw(_streams(k, kind, fills, longest_delay)) for k, kind in enumerate(kinds)]
    if draw(st.booleans()):
        offsets = st.integers(-largest_offset, largest_offset)
        streams = [replace(stream, offset=draw(offsets)) for stream in streams]
    return Recipe(
        streams=tuple(streams),
        dep_q=draw(st.integers(0, number - kinds.count("text"))),
        length=draw(st.sampled_from(["extend", "truncate"])),
        offset_length=draw(st.sampled_from(["extend", "truncate", None])),
        initial_step=draw(st.booleans()),
        final_step=draw(st.booleans()),
    )


@st.composite
def _streams(draw, number, kind, fills, longest_delay):
    """A stream of this kind, of which no fill is trained that its output cannot predict."""
    cardinality = draw(st.sampled_from([1, 2, 9, 200, 2048, 48000]))
    low_tokens = st.integers(0, min(cardinality, 4) - 1)
    tokens = {name: draw(fills) for name in ("initial", "padding", "final", "last")}
    weights = {
        f"{name}_weight": draw(WEIGHTS) for name, x in tokens.items() if 0 <= x < cardinality
    }
    if draw(st.booleans()):
        del tokens["last"]
        weights.pop("last_weight", None)
    elif "last_weight" not in weights:
        weights["last_weight"] = 0.0
    return Stream(
        name=f"stream_{number}",
        kind=kind,
        delay=draw(st.integers(0, longest_delay)),
        cardinality=cardinality,
        lead=draw(fills),
        trail=draw(fills),
        weight=draw(WEIGHTS),
        token_weights=draw(st.dictionaries(low_tokens, WEIGHTS, max_size=3)),
        **tokens,
        **weights,
    )


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
