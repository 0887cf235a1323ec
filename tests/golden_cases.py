"""Grids that other projects' own functions returned (golden/), as recipes to make them with."""

import json
from collections import Counter, defaultdict
from pathlib import Path

import reference

from delaytool.recipes.recipe import Recipe
from delaytool.recipes.stream import Stream

FOLDER = Path(__file__).parent / "golden"
CASES = [
    case
    for name in ("models", "offsets")
    for case in json.loads((FOLDER / f"{name}.json").read_text())["cases"]
]
NAMES = [f"{number}-{case['peer'].split()[0]}" for number, case in enumerate(CASES)]

WINDOWED = json.loads((FOLDER / "windows.json").read_text())["cases"]
WINDOWED_NAMES = [f"{number}-{case['peer'].split()[0]}" for number, case in enumerate(WINDOWED)]


def windows_of(case):
    """The windows of a case, as keywords of the library."""
    given = case["window"]
    if given is None:
        return {}
    return {
        "window": given["size"],
        "window_cut": given["cut"],
        "window_split": given["split"],
        "window_min": given["min"],
        "window_pad": given["tail"] == "pad",
    }


def recipe_of(case):
    """The recipe of a case, with the weights that its marks of what is trained come to.

    A case has no cardinality, and special ids also occur inside its codes.
    """
    is_windowed = any(case is each for each in WINDOWED)
    weights = _weights_of_windows(case) if is_windowed else _weights_of(case)
    streams = [
        Stream(
            name=f"stream_{number}",
            cardinality=1 + max(fields["final"], fields["padding"], fields["initial"], *codes, 1),
            **fields,
            **weights[number],
        )
        for number, (fields, codes) in enumerate(zip(case["streams"], case["codes"], strict=True))
    ]
    names = ("length", "offset_length", "initial_step", "final_step")
    return Recipe(tuple(streams), **{name: case[name] for name in names})


def _weights_of(case):
    """The fields of each stream that say what weighs, from column 1 on."""
    trained = case.get("trained")
    if trained is None:
        return [{}] * len(case["streams"])
    names = ("length", "offset_length", "initial_step", "final_step")
    plain = Recipe(
        tuple(
            Stream(name=f"stream_{number}", cardinality=2**31, **fields)
            for number, fields in enumerate(case["streams"])
        ),
        **{name: case[name] for name in names},
    )
    filled = reference.filled(case["codes"], plain)
    found = []
    for line, pieces, tokens in zip(trained, filled, case["expected"], strict=True):
        of_pieces, of_tokens = defaultdict(Counter), defaultdict(Counter)
        for weight, piece, token in list(zip(line, pieces, tokens, strict=True))[1:]:
            of_pieces[piece][float(weight)] += 1
            if piece in (None, "lead", "trail"):
                of_tokens[token][float(weight)] += 1
        fields = {
            f"{piece}_weight": counts.most_common(1)[0][0]
            for piece, counts in of_pieces.items()
            if piece in ("initial", "final", "padding", "last")
        }
        heaviest = max(of_pieces[None], default=0.0)
        factors = {
            token: counts.most_common(1)[0][0] / heaviest
            for token, counts in of_tokens.items()
            if heaviest and token >= 0 and set(counts) != {heaviest}
        }
        found.append({"weight": heaviest, "token_weights": factors, **fields})
    return found


def _weights_of_windows(case):
    """The fields of each stream that say what weighs in windows: what is trained, or has labels."""
    grids, marks = case["expected"], case.get("trained")
    if case["window"] is None:
        grids = [grids]
    if marks is None:
        labels = case["labels"] if case["window"] is not None else [case["labels"]]
        marks = [[[token >= 0 for token in line] for line in grid] for grid in labels]
    found = []
    for number, stream in enumerate(case["streams"]):
        of_tokens = defaultdict(Counter)
        for grid, mark in zip(grids, marks, strict=True):
            # Column 0 is what most trainers never predict.
            for token, weight in list(zip(grid[number], mark[number], strict=True))[1:]:
                of_tokens[token][float(weight)] += 1
        weights = {token: counts.most_common(1)[0][0] for token, counts in of_tokens.items()}
        padding, initial = stream["padding"], stream["initial"]
        heaviest = max((w for t, w in weights.items() if t not in (-1, initial)), default=0.0)
        factors = {
            token: weight / heaviest
            for token, weight in weights.items()
            if heaviest and 0 <= token != initial and weight != heaviest
        }
        fields = {"weight": heaviest, "token_weights": factors}
        if case["window"] is None or case["window"]["cut"] == "after":
            fields |= {f"{what}_weight": weights.get(padding, 0.0) for what in ("final", "padding")}
        found.append(fields)
    return found
