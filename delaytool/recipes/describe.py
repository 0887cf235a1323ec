"""A recipe as a table to read: a line for each run of streams that differ in name only."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

from delaytool.recipes.recipe import FRAME_RATE, Recipe
from delaytool.recipes.stream import Stream
from delaytool.texts import printable

_STEPS = "initial_step", "final_step"


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
    """["q_1", "q_2", "q_3"] -> "q_1 ... q_3 (3)", to be printed"""
    first, last = printable(names[0]), printable(names[-1])
    return first if len(names) == 1 else f"{first} ... {last} ({len(names)})"


def delays_in_short(recipe: Recipe) -> str:
    """The delays of all streams, those of a kind in a row together, and offsets: "0 0,1x7 0,1x7"

    Rising by one they are "0..8"; an audio offset of 16 frames is "audio +16".
    """
    speakers: list[list[int]] = []
    for stream in recipe.streams:
        begins = stream.kind in ("text", "semantic")
        if begins or not speakers or (recipe.has_text and len(speakers) == 1):
            speakers.append([])
        speakers[-1].append(stream.delay)
    offsets = {stream.offset: stream.kind for stream in recipe.streams if stream.offset}
    later = [f"{'text' if kind == 'text' else 'audio'} {n:+}" for n, kind in offsets.items()]
    return " ".join([*map(_runs, speakers), *later])


def _runs(delays: Sequence[int]) -> str:
    """Numbers in short: [0, 1, 1, 1] -> "0,1x3", [0, 8, 9, 10] -> "0,8..10" """
    parts: list[list[int]] = []
    for delay, alike in itertools.groupby(delays):
        count = len(list(alike))
        rises = parts and count == 1 and parts[-1] == list(range(delay - len(parts[-1]), delay))
        if rises:
            parts[-1].append(delay)
        else:
            parts.append([delay] * count)
    return ",".join(map(_run, parts))


def _run(part: Sequence[int]) -> str:
    first, last = part[0], part[-1]
    if len(part) < 3:
        return ",".join(map(str, part))
    return f"{first}x{len(part)}" if first == last else f"{first}..{last}"


def describe(recipe: Recipe, origin: str) -> str:
    """A recipe as a table to read.

    origin: what the recipe came from, for the first line

    recipe (preset dia): 9 audio streams, dep_q 9, extend
      stream      delay  initial  final  padding  card  loss weight
      codebook_0      0     1026   1024     1025  1025  1
      codebook_1      8     1026   1024     1025  1025  1
      ...
    """
    words = [f"{recipe.n_q} audio streams", f"dep_q {recipe.dep_q}", recipe.length]
    if recipe.has_text:
        texts = len(recipe.text_numbers)
        words[0] = f"{'' if texts == 1 else f'{texts} '}text and {words[0]}"
    if recipe.content_length != recipe.length:
        words.append(f"offsets {recipe.content_length}")
    words += [name.replace("_", " ") for name in _STEPS if getattr(recipe, name)]
    if recipe.frame_rate != FRAME_RATE:
        words.append(f"{recipe.frame_rate:.10g} frames a second")
    columns = _columns(recipe)
    table = [["stream", *columns.values(), "loss weight"]]
    for names, stream, trained in runs_of_like_streams(recipe):
        cells = [str(getattr(stream, field)) for field in columns]
        table.append([names, *cells, _weight(stream, trained)])
    lines = [f"recipe ({printable(origin)}): {', '.join(words)}"]
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    for line in table:
        first = line[0].ljust(widths[0])
        rest = [cell.rjust(w) for cell, w in zip(line[1:-1], widths[1:-1], strict=True)]
        lines.append("  ".join(["", first, *rest, line[-1]]).rstrip())
    return "\n".join(lines)


def _columns(recipe: Recipe) -> dict[str, str]:
    """The fields that are shown, with their headings: those of offsets only where there are any."""
    streams = recipe.streams
    moved = ["offset", "lead", "trail"] if recipe.has_offsets else []
    last = ["last"] if any(stream.last != stream.padding for stream in streams) else []
    names = ["delay", *moved, "initial", "final", "padding", *last]
    return {**{name: name for name in names}, "cardinality": "card"}


def _weight(stream: Stream, trained: bool) -> str:
    """What the tokens of a stream weigh, and what other cells do: 1, trailing cells 1 then 0"""
    if not trained:
        return "0 (beyond dep_q)"
    weight = f"{stream.weight:g}"
    if stream.token_weights:
        factors = ", ".join(f"{t}: x{x:g}" for t, x in stream.token_weights.items())
        weight += f" ({factors})"
    if stream.initial_weight:
        weight += f", initial cells {stream.initial_weight:g}"
    trailing = [stream.final_weight, stream.padding_weight]
    if stream.last_weight != stream.padding_weight:
        trailing.append(stream.last_weight or 0.0)
    if any(trailing):
        weight += f", trailing cells {' then '.join(f'{x:g}' for x in trailing)}"
    return weight
