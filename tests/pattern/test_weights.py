"""Loss weights: against shares measured from moshi-finetune, and a slow reference."""

import dataclasses
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import INTEGERS, random_row, recipes, seeds

from delaytool.errors import RecipeError
from delaytool.pattern.delay import delay
from delaytool.pattern.flat import delay_flat
from delaytool.pattern.segments import Segments
from delaytool.pattern.weights import (
    check_trained_fills,
    labels_flat,
    loss_weights,
    loss_weights_flat,
)
from delaytool.recipes.adapt import with_delays
from delaytool.recipes.presets import load_preset, plain_recipe
from delaytool.recipes.recipe import Recipe
from delaytool.recipes.stream import Stream

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "golden.json").read_text())["loss"]


def original_positions(shifted, delays, frames):
    """The cell of each token, 0 where truncation cut it off: [K, T].

    moshi-finetune computes its logits on the truncated grid and moves them back before it weighs
    them (`_undelay_sequence`). A position that was cut off has no logits to come back: its mask
    is false and its weight 0. So the cut tokens are in neither sum, and the weights of the
    remaining cells are all there is.
    """
    back = np.zeros((len(delays), frames))
    for k, stream_delay in enumerate(delays):
        for t in range(frames):
            if t + stream_delay < frames:
                back[k, t] = shifted[k, t + stream_delay]
    return back


@pytest.mark.parametrize("case", GOLDEN, ids=["full", "zero-padded tail"])
def test_shares_are_those_of_moshi_finetune(case):
    codes = np.array(case["codes"])
    recipe = with_delays(load_preset("moshi"), tuple(case["delays"]))
    recipe = dataclasses.replace(recipe, length="truncate")
    weights = loss_weights(delay(codes, recipe), recipe)
    back = original_positions(weights, case["delays"], codes.shape[1])
    # Each of the two losses is divided by the sum of its own weights.
    text, audio = back[:1], back[1:9]
    np.testing.assert_allclose(text / text.sum(), case["text_weight_share"], atol=1e-7)
    np.testing.assert_allclose(audio / audio.sum(), case["audio_weight_share"], atol=1e-7)
    # Nothing else on the grid has any weight: no filled cell, no user stream.
    assert weights[:1].sum() == text.sum()
    assert weights[1:9].sum() == audio.sum()
    assert not weights[9:].any()


def test_both_golden_cases_are_there():
    assert len(GOLDEN) == 2
    assert any(-1 in case["codes"][0] for case in GOLDEN)


def test_moshis_weights_by_hand():
    recipe = plain_recipe(2, (0, 0, 1))
    shifted = np.array([[0, 3, 7, -1, 3], [5, 5, 5, -1, 2048], [2048, 3, 0, 7, -1]])
    assert loss_weights(shifted, recipe).tolist() == [
        [0.5, 0.5, 1, 0, 0],
        [100, 100, 100, 0, 0],
        [0, 1, 1, 1, 0],
    ]


@given(recipes(), st.integers(0, 12), st.sampled_from(INTEGERS), seeds)
@settings(max_examples=250, deadline=None)
def test_weights_equal_the_reference(recipe, frames, dtype, seed):
    codes = random_row(np.random.default_rng(seed), recipe, frames, dtype)
    shifted = delay(codes, recipe)
    weights = loss_weights(shifted, recipe)
    assert weights.dtype == np.float32
    assert weights.shape == shifted.shape
    expected = np.array(reference.loss_weights(codes.tolist(), recipe), dtype=np.float32)
    assert weights.tolist() == expected.tolist()


@given(recipes(), st.integers(0, 12), seeds)
@settings(max_examples=150, deadline=None)
def test_labels_are_tokens_that_the_output_can_predict(recipe, frames, seed):
    row = random_row(np.random.default_rng(seed), recipe, frames)
    shifted, expected = delay(row, recipe), reference.loss_weights(row.tolist(), recipe)
    labels = labels_flat(shifted.ravel(), loss_weights(shifted, recipe).ravel())
    for stream, line, weights, cells in zip(
        recipe.streams, labels.reshape(shifted.shape), expected, shifted.tolist(), strict=True
    ):
        above = np.array(weights, dtype=np.float32) > 0
        assert line.tolist() == [x if w else -100 for x, w in zip(cells, above, strict=True)]
        assert all(0 <= label < stream.cardinality for label in line[above])


@given(recipes(), st.lists(st.integers(0, 8), max_size=6), st.data(), seeds)
@settings(max_examples=150, deadline=None)
def test_the_flat_form_equals_the_reference_row_by_row(recipe, lengths, data, seed):
    first = data.draw(st.integers(0, len(recipe.streams) - 1))
    last = data.draw(st.integers(first + 1, len(recipe.streams)))
    random = np.random.default_rng(seed)
    rows = [random_row(random, recipe, frames)[first:last].tolist() for frames in lengths]
    whole = [
        [[0] * len(row[0])] * first + row + [[0] * len(row[0])] * (len(recipe.streams) - last)
        for row in rows
    ]
    flat = np.array([token for row in rows for line in row for token in line], dtype=np.int64)
    segments = Segments(recipe, np.array(lengths, dtype=np.int64), recipe.streams[first:last])
    weights = loss_weights_flat(delay_flat(flat, segments), segments)
    expected = [
        weight
        for row in whole
        for line in reference.loss_weights(row, recipe)[first:last]
        for weight in line
    ]
    assert weights.tolist() == np.array(expected, dtype=np.float32).tolist()


@given(recipes(), st.integers(0, 6), seeds)
@settings(max_examples=50, deadline=None)
def test_leading_dimensions_are_rows_of_their_own(recipe, frames, seed):
    random = np.random.default_rng(seed)
    batch = np.stack([random_row(random, recipe, frames) for _ in range(3)])
    weights = loss_weights(delay(batch, recipe), recipe)
    for row, found in zip(batch, weights, strict=True):
        expected = np.array(reference.loss_weights(row.tolist(), recipe), dtype=np.float32)
        assert found.tolist() == expected.tolist()


def end_token_recipe(**more):
    """Two audio streams that train their end token, as Parler-TTS does."""
    streams = [
        Stream(f"a_{d}", "acoustic", d, 25, 24, 25, final=23, final_weight=2, padding_weight=0.25)
        for d in (0, 2)
    ]
    return Recipe(tuple(streams), final_step=True, **more)


def test_final_and_padding_weight_are_of_trailing_cells():
    recipe = end_token_recipe()
    shifted = delay(np.array([[1, 2], [3, 4]]), recipe)
    assert shifted.tolist() == [[1, 2, 23, 24, 24], [25, 25, 3, 4, 23]]
    assert loss_weights(shifted, recipe).tolist() == [[1, 1, 2, 0.25, 0.25], [0, 0, 1, 1, 2]]


def test_a_stream_after_dep_q_weighs_nothing_at_all():
    recipe = end_token_recipe(dep_q=1)
    weights = loss_weights(delay(np.array([[1, 2], [3, 4]]), recipe), recipe)
    assert weights.tolist() == [[1, 1, 2, 0.25, 0.25], [0, 0, 0, 0, 0]]
    none = replace(recipe, dep_q=0)
    assert not loss_weights(delay(np.array([[1, 2], [3, 4]]), none), none).any()


@pytest.mark.parametrize("piece", ["initial", "final", "padding", "last"])
@pytest.mark.parametrize("token", [-2, -1, 25, 1000])
def test_a_fill_that_is_trained_has_to_be_predictable(piece, token):
    fields = {"delay": 1, "initial": 3, "padding": 3, "final": 3, "last": 3, "cardinality": 25}
    streams = [
        Stream("a", "acoustic", **fields | {piece: token, f"{piece}_weight": 0.5}),
        Stream("b", "acoustic", **fields | {"delay": 4}),
    ]
    recipe = Recipe(tuple(streams))
    message = f"stream a: {piece} is {token} and would be trained.*or a {piece}_weight of 0"
    with pytest.raises(RecipeError, match=message):
        check_trained_fills(recipe)
    with pytest.raises(RecipeError, match=message):
        loss_weights(np.zeros((2, 9), dtype=int), recipe)
    check_trained_fills(replace(recipe, dep_q=0))
    if piece != "initial":
        check_trained_fills(replace(recipe, length="truncate"))
    check_trained_fills(Recipe((replace(streams[0], **{f"{piece}_weight": 0.0}), streams[1])))


def test_each_kind_of_fill_cell_has_its_weight():
    weights = {"initial_weight": 2, "final_weight": 3, "padding_weight": 4, "last_weight": 5}
    first = Stream("a", "acoustic", 1, 7, 7, 9, weight=10, token_weights={7: 0.5}, **weights)
    recipe = Recipe((first, replace(first, name="b", delay=5, weight=1)), initial_step=True)
    codes = np.array([[7, 8], [1, 7]])
    assert loss_weights(delay(codes, recipe), recipe).tolist() == [
        [2, 2, 5, 10, 3, 4, 4, 5],
        [2, 2, 2, 2, 2, 2, 1, 0.5],
    ]


def test_cells_of_an_offset_weigh_what_such_a_token_weighs():
    text = Stream("t", "text", 0, 9, 3, 9, token_weights={3: 0.5}, lead=3, trail=8, weight=2)
    audio = Stream("a", "acoustic", 0, 9, 9, 9, offset=2, lead=-1, trail=9, weight=4)
    early = replace(text, name="e", offset=-1, lead=9)
    recipe = Recipe((text, audio, early), dep_q=1)
    shifted = delay(np.array([[1, 3], [5, 6], [7, -1]]), recipe)
    assert shifted.tolist() == [[3, 1, 3, 8, 8], [-1, -1, -1, 5, 6], [7, -1, 8, 8, 8]]
    assert loss_weights(shifted, recipe).tolist() == [
        [1, 2, 1, 2, 2],
        [0, 0, 0, 4, 4],
        [2, 0, 2, 2, 2],
    ]
    segments = Segments(recipe, np.array([2]), recipe.streams)
    factors = np.full(6, 10, dtype=np.float32)
    with_factors = loss_weights_flat(shifted.ravel(), segments, factors).reshape(3, 5)
    assert with_factors.tolist() == [[1, 20, 10, 2, 2], [0, 0, 0, 40, 40], [20, 0, 2, 2, 2]]


def test_dep_q_counts_audio_streams_only():
    recipe = replace(plain_recipe(2, (0, 0, 0)), dep_q=1)
    weights = loss_weights(np.array([[7], [7], [7]]), recipe)
    assert weights.tolist() == [[1], [100], [0]]


def test_a_token_that_equals_a_fill_token_still_weighs():
    # Text padding 3 is both: it weighs 0.5 as a token of the text, nothing as a trailing cell.
    recipe = plain_recipe(1, (0, 2))
    assert loss_weights(np.array([[3, 3, 3], [2048, 2048, 5]]), recipe)[0].tolist() == [0.5, 0, 0]


def test_a_token_weight_is_a_factor_and_rounded_once():
    factor = Stream("a", "semantic", 0, 9, 9, 9, weight=100, token_weights={3: 1 / 3})
    weights = loss_weights(np.array([[3, 4]]), Recipe((factor,)))
    assert weights.tolist() == [[np.float32(100 / 3), 100]]


@pytest.mark.parametrize(
    ("weight", "factor"), [(1e-46, 1e10), (1e-46, 1e60), (1e-300, 1e300), (1e38, 1e-46), (0, 1e308)]
)
def test_only_the_product_has_to_be_a_float32(weight, factor):
    stream = Stream("a", "semantic", 0, 9, 9, 9, weight=weight, token_weights={3: factor})
    recipe = Recipe.from_json(Recipe((stream,)).to_json())
    weights = loss_weights(np.array([[3, 4]]), recipe)
    assert weights.tolist() == [[np.float32(weight * factor), np.float32(weight)]]


def test_a_token_weight_of_one_stream_is_not_anothers():
    recipe = plain_recipe(2, (0, 0, 0))
    assert loss_weights(np.array([[3], [3], [3]]), recipe).tolist() == [[0.5], [100], [1]]


def test_zero_tokens_weigh_nothing_in_any_stream():
    recipe = load_preset("moshi-finetune")
    shifted = delay(np.full((17, 4), -1), recipe)
    assert not loss_weights(shifted, recipe).any()


def test_wrong_shapes_and_types_are_refused():
    recipe = plain_recipe(1, (0, 2))
    with pytest.raises(ValueError, match=r"expected .*2"):
        loss_weights(np.zeros((3, 4), dtype=int), recipe)
    with pytest.raises(TypeError, match="expected integers"):
        loss_weights(np.zeros((2, 4)), recipe)
    with pytest.raises(ValueError, match="1 timesteps, expected at least the 2"):
        loss_weights(np.zeros((2, 1), dtype=int), recipe)
    segments = Segments(recipe, np.array([2]), recipe.streams)
    with pytest.raises(ValueError, match="expected 8"):
        loss_weights_flat(np.zeros(7, dtype=int), segments)
