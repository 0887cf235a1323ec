"""Whole grids of single models: fills, steps, offsets, text at any place, what is trained."""

import numpy as np
import pytest
import reference
from golden_cases import CASES, NAMES, recipe_of

from delaytool.pattern.delay import delay, undelay
from delaytool.pattern.weights import loss_weights

TRAINED = [(case, name) for case, name in zip(CASES, NAMES, strict=True) if "trained" in case]


def test_every_case_is_there():
    assert len(CASES) == 34
    assert len(TRAINED) == 14
    assert sum(any(stream["offset"] for stream in case["streams"]) for case in CASES) == 11


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_delay_gives_what_the_model_gave(case):
    recipe = recipe_of(case)
    assert delay(np.array(case["codes"]), recipe).tolist() == case["expected"]
    assert reference.delay(case["codes"], recipe) == case["expected"]


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_undelay_gives_back_what_the_model_got(case):
    recipe = recipe_of(case)
    back = undelay(np.array(case["expected"]), recipe, lost_token=-2).tolist()
    assert back == reference.cut(case["codes"], recipe, -2)
    if case["length"] == case["offset_length"] == "extend":
        assert back == case["codes"]


@pytest.mark.parametrize("case", [case for case, _ in TRAINED], ids=[name for _, name in TRAINED])
def test_weights_are_above_0_where_the_model_trains(case):
    recipe = recipe_of(case)
    weights = loss_weights(np.array(case["expected"]), recipe)
    # Column 0 is what most trainers never predict.
    assert weights[:, 1:].tolist() == np.array(case["trained"], dtype=float)[:, 1:].tolist()
