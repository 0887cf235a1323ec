"""A recipe as a table to read: a line for each run of streams that differ in name only."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from delaytool.recipes.recipe import Recipe, Stream


def runs_of_like_streams(recipe: Recipe) -> list[tuple[str, Stream, bool]]:
    """Streams in a row that differ in name only: (names, one of them, whether it carries loss).

    Moshi: text; moshi_semantic; moshi_acoustic_1 ... moshi_acoustic_7 (7); and the user's two
    """
    runs: list[tuple[list[str], Stream, bool]] = []
    for number, stream in enumerate(recipe.streams):
        trained = recipe.carries_loss(number)
        alike = dataclasses.replace(stream, name="alike")
        if runs and runs[-1][1:] == (alike, trained):
            runs[-1][0].append(stream.name)
        else:
            runs.append(([stream.name], alike, trained))
    return [(name_of_run(names), alike, does) for names, alike, does in runs]


def name_of_run(names: Sequence[str]) -> str:
    """["q_1", "q_2", "q_3"] -> "q_1 ... q_3 (3)" """
    return names[0] if len(names) == 1 else f"{names[0]} ... {names[-1]} ({len(names)})"


def describe(recipe: Recipe, origin: str) -> str:
    """A recipe as a table to read.

    origin: what the recipe came from, for the first line

    recipe (preset dia): 9 audio streams, dep_q 9, extend
      stream      delay  initial  final  padding  card  loss weight
      codebook_0      0     1026   1024     1025  1025  1
      codebook_1      8     1026   1024     1025  1025  1
      ...
    """
    steps = [
        name for name in ("initial step", "final step") if getattr(recipe, name.replace(" ", "_"))
    ]
    text = "text and " if recipe.has_text else ""
    head = f"recipe ({origin}): {text}{recipe.n_q} audio streams, dep_q {recipe.dep_q}, "
    lines = [head + ", ".join([recipe.length, *steps])]
    table: list[tuple[str, ...]] = [
        ("stream", "delay", "initial", "final", "padding", "card", "loss weight")
    ]
    for names, stream, trained in runs_of_like_streams(recipe):
        weight = f"{stream.weight:g}" if trained else "0 (beyond dep_q)"
        if trained and stream.token_weights:
            factors = ", ".join(f"{t}: x{x:g}" for t, x in stream.token_weights.items())
            weight += f" ({factors})"
        if trained and (stream.final_weight or stream.padding_weight):
            weight += f", trailing cells {stream.final_weight:g} then {stream.padding_weight:g}"
        cells = (stream.delay, *stream.fills, stream.cardinality)
        table.append((names, *(str(cell) for cell in cells), weight))
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    for line in table:
        first = line[0].ljust(widths[0])
        rest = [cell.rjust(w) for cell, w in zip(line[1:-1], widths[1:-1], strict=True)]
        lines.append("  ".join(["", first, *rest, line[-1]]).rstrip())
    return "\n".join(lines)
