"""Codes that look as if they were delayed already, and those that only resemble them."""

import numpy as np
import pytest
from hypothesis import given
from strategies import random_row, recipes, seeds

from delaytool.pattern.delay import delay
from delaytool.pattern.traces import looks_delayed
from delaytool.recipes.presets import load_preset, plain_recipe
from delaytool.recipes.recipe import Recipe, Stream

THREE = Recipe(tuple(Stream(f"q_{d}", "acoustic", d, 9, 9, 10) for d in range(3)))


def rows(*lines):
    return np.array(lines)


@pytest.mark.parametrize(
    ("codes", "found"),
    [
        (rows([1, 2, 3], [9, 2, 3], [9, 9, 3]), True),
        (rows([9, 2, 3], [9, 2, 3], [9, 9, 3]), True),
        (rows([1, 2, 3], [9, 9, 3], [9, 9, 3]), False),
        (rows([1, 2, 3], [9, 2, 3], [9, 9, 9]), False),
        (rows([1, 2, 3], [1, 2, 3], [9, 9, 3]), False),
        (rows([1, 2, 3], [9, 2, 3], [9, 2, 3]), False),
        (rows([9, 9, 9, 1], [9, 9, 9, 1], [9, 9, 9, 1]), False),
        (rows([1, 2], [9, 2], [9, 9]), None),
    ],
)
def test_what_looks_delayed(codes, found):
    assert looks_delayed(codes, THREE) is found


def test_nothing_says_so_where_nothing_is_delayed():
    assert looks_delayed(rows([1, 2], [3, 4]), plain_recipe(1, (0, 0))) is None


@pytest.mark.parametrize("name", ["moshi", "moshi-finetune", "dia", "higgs-audio", "zonos"])
def test_what_a_preset_has_shifted_looks_so(name):
    recipe, random = load_preset(name), np.random.default_rng(0)
    codes = np.array([random.integers(0, 1000, 30) for _ in recipe.streams])
    assert looks_delayed(codes, recipe) is False
    assert looks_delayed(delay(codes, recipe), recipe) is True


@given(recipes(), seeds)
def test_a_row_without_fills_in_front_never_looks_delayed(recipe, seed):
    codes = random_row(np.random.default_rng(seed), recipe, 12)
    for line, stream in zip(codes, recipe.streams, strict=True):
        line[0] = stream.initial + 1
    assert not looks_delayed(codes, recipe)
