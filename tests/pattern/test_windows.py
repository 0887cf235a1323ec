"""Where rows are cut into windows, and that joining them gives the rows again."""

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st

from delaytool.errors import RecipeError
from delaytool.pattern.windows import Windows, check_windows
from delaytool.recipes.recipe import Recipe
from delaytool.recipes.stream import Stream


@st.composite
def windows(draw):
    """Any windows that can be asked for."""
    size = draw(st.none() | st.integers(1, 7))
    minimum = draw(st.integers(1, 8) if size is None else st.none() | st.integers(1, 8))
    cut, split = (
        draw(st.sampled_from(["before", "after"])),
        draw(st.sampled_from(["fixed", "even"])),
    )
    may_pad = size is not None and (cut, split) == ("before", "fixed")
    return Windows(size, cut, split, minimum, draw(st.booleans()) if may_pad else False)


def flat_of(rows, by_stream):
    """Rows of [K][T] as one array."""
    lines = [line for row in rows for line in row]
    if by_stream:
        lines = [row[k] for k in range(len(rows[0])) for row in rows]
    return np.array([token for line in lines for token in line], dtype=np.int32)


@given(
    windows(),
    st.lists(st.integers(0, 23), min_size=1, max_size=6),
    st.integers(1, 3),
    st.booleans(),
)
def test_windows_are_those_of_the_slow_reference(how, lengths, streams, by_stream):
    tokens = iter(range(10**6))
    rows = [[[next(tokens) for _ in range(length)] for _ in range(streams)] for length in lengths]
    pads = np.arange(-streams, 0, dtype=np.int32)
    expected, missing = [], []
    for row, length in zip(rows, lengths, strict=True):
        parts = reference.windows_of(length, how.size, how.split, how.minimum)
        ends = parts[-1][0] + parts[-1][1] if parts else 0
        missing.append([line[:ends] + [-9] * (length - ends) for line in row])
        for start, size in parts:
            added = how.size - size if how.pad else 0
            expected.append(
                [
                    line[start : start + size] + [pad] * added
                    for line, pad in zip(row, pads, strict=True)
                ]
            )
    cuts = how.cuts(np.array(lengths))
    flat = flat_of(rows, by_stream)
    made = cuts.cut(flat, streams, by_stream, pads if how.pad else None)
    assert cuts.window_lengths.tolist() == [len(part[0]) for part in expected]
    assert made.tolist() == (flat_of(expected, by_stream).tolist() if expected else [])
    joined = cuts.join(made, streams, by_stream, -9)
    assert joined.tolist() == flat_of(missing, by_stream).tolist()
    counts = [
        len(reference.windows_of(length, how.size, how.split, how.minimum)) for length in lengths
    ]
    assert how.kept_counts(np.array(lengths)).tolist() == counts
    assert np.bincount(cuts.window_rows, minlength=len(lengths)).tolist() == counts


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "go with `window`"),
        ({"size": 0}, "window is 0, expected an integer from 1"),
        ({"size": -3}, "window is -3"),
        ({"size": 4, "minimum": 0}, "window_min is 0"),
        ({"size": 4, "cut": "later"}, 'window_cut is "later"'),
        ({"size": 4, "split": "odd"}, 'window_split is "odd"'),
        ({"minimum": 4, "pad": True}, "`window_pad` goes with `window`"),
        ({"size": 4, "cut": "after", "pad": True}, '`window_cut="after"`, expected "before"'),
        ({"size": 4, "split": "even", "pad": True}, '`window_split="even"`, expected "fixed"'),
    ],
)
def test_windows_that_cannot_be(fields, said):
    with pytest.raises(RecipeError) as raised:
        Windows(**fields)
    assert said in str(raised.value)


def recipe(delay=0, offset=0, **fields):
    stream = {"initial": 9, "padding": 9, "cardinality": 9}
    names = "length", "offset_length"
    given = {name: fields.pop(name) for name in names if name in fields}
    return Recipe(
        (
            Stream("a", "semantic", 0, **stream),
            Stream("b", "acoustic", delay, offset=offset, **stream, **fields),
        ),
        **given,
    )


@pytest.mark.parametrize(
    ("of", "least"),
    [
        (recipe(3, length="truncate"), 4),
        (recipe(1, -4, length="truncate"), 5),
        (recipe(0, -4, offset_length="truncate"), 5),
        (recipe(0, 4, offset_length="truncate"), 5),
    ],
)
def test_a_window_leaves_every_stream_a_token(of, least):
    check_windows(Windows(least), of)
    check_windows(Windows(1, "after"), of)
    for size in range(1, least):
        with pytest.raises(RecipeError) as raised:
            check_windows(Windows(size), of)
        assert f"leaves stream b no token of a window of {size} frames" in str(raised.value)
        assert str(raised.value).endswith(f"expected at least {least}")


def test_an_end_that_is_trained_stands_at_the_end_of_rows():
    of = recipe(0, final=3, final_weight=1.0, length="extend")
    of = Recipe(of.streams, final_step=True)
    check_windows(Windows(5, "after"), of)
    check_windows(Windows(minimum=5), of)
    with pytest.raises(RecipeError, match="each window would end in such cells"):
        check_windows(Windows(5), of)
