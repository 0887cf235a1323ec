"""Recipes by name, one JSON file per model family, each with its source.

A preset file is a recipe as `Recipe.to_json` writes it, with `description` and `source` besides.
A preset decides streams, never columns.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from delaytool.errors import RecipeError
from delaytool.recipe import Kind, Recipe, Stream

_FOLDER = Path(__file__).parent
DEFAULT = "moshi"


@dataclass(frozen=True)
class Preset:
    """A recipe with its name, what it is for, and where its numbers come from."""

    name: str
    description: str
    source: str
    recipe: Recipe


def preset_names() -> list[str]:
    """The names of all presets, the default first."""
    names = sorted(path.stem for path in _FOLDER.glob("*.json"))
    return sorted(names, key=lambda name: name != DEFAULT)


def read_preset(name: str) -> Preset:
    """A preset with its description and source; raises RecipeError for an unknown name."""
    if name not in preset_names():
        raise RecipeError(f"no preset is called {name!r}, expected {', '.join(preset_names())}")
    fields = json.loads((_FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    description, source = fields.pop("description"), fields.pop("source")
    return Preset(name, description, source, Recipe.from_dict(fields))


def load_preset(name: str = DEFAULT) -> Recipe:
    """The recipe of a preset; raises RecipeError for an unknown name.

    load_preset("moshi").delays -> (0, 0, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1)
    """
    return read_preset(name).recipe


def plain_recipe(n_q: int, delays: tuple[int, ...], text: bool = True) -> Recipe:
    """One speaker's streams with Moshi's tokens and weights, every audio stream trained.

    n_q=2, delays=(0, 1, 1) -> text, semantic, acoustic
    n_q=3, delays=(0, 0, 2, 2) -> text, semantic, acoustic_1, acoustic_2
    """
    moshi = load_preset()
    acoustic = ["acoustic"] if n_q == 2 else [f"acoustic_{i}" for i in range(1, n_q)]
    names = [*(["text"] if text else []), "semantic", *acoustic]
    if len(delays) != len(names):
        raise RecipeError(f"{len(delays)} delays for {len(names)} streams, expected one for each")
    models = {stream.kind: stream for stream in reversed(moshi.streams)}
    kinds: list[Kind] = [
        *(["text"] if text else []),  # type: ignore[list-item]
        "semantic",
        *["acoustic"] * (n_q - 1),  # type: ignore[list-item]
    ]
    streams = [
        replace(models[kind], name=name, delay=delay)
        for name, kind, delay in zip(names, kinds, delays, strict=True)
    ]
    return Recipe(streams=tuple(streams))


def from_model_config(config: Mapping[str, Any]) -> Recipe:
    """The recipe of a model, from its Moshi `config.json` as Kyutai publishes it.

    Needs `n_q`, `card`, `text_card`, `delays` (text first) and `existing_text_padding_id`; takes
    `dep_q` and `existing_text_end_padding_id` (0 if absent, as in moshi/models/lm.py) too.
    Streams are named like the preset's where they are as many; codebook 0 of each speaker is
    semantic: with n_q = 2 · dep_q there are two speakers, else one.

    Raises RecipeError, naming a field that is missing or cannot be.
    """
    if not isinstance(config, Mapping):
        raise RecipeError("the model config is not a JSON object")
    for field in ("n_q", "card", "text_card", "delays", "existing_text_padding_id"):
        if field not in config:
            raise RecipeError(f"the model config lacks the field {field!r}")
    n_q, delays = config["n_q"], config["delays"]
    if not isinstance(n_q, int) or isinstance(n_q, bool) or not 1 <= n_q < 4096:
        raise RecipeError(f"n_q is {n_q!r}, expected an integer from 1 to 4095")
    if not isinstance(delays, list) or len(delays) != n_q + 1:
        raise RecipeError(f"delays is {delays!r}, expected a list of n_q + 1 = {n_q + 1} integers")
    dep_q = config.get("dep_q", n_q)
    pad, end_pad = (
        config["existing_text_padding_id"],
        config.get("existing_text_end_padding_id", 0),
    )
    text = Stream(
        name="text",
        kind="text",
        delay=delays[0],
        initial=config["text_card"],
        padding=pad,
        cardinality=config["text_card"],
        token_weights={pad: 0.5, end_pad: 0.5},
    )
    card = config["card"]
    return Recipe(
        streams=(text, *_speakers(n_q, dep_q, tuple(delays[1:]), card)),
        dep_q=dep_q,
    )


def _speakers(n_q: int, dep_q: int, delays: tuple[int, ...], card: int) -> list[Stream]:
    """Audio streams of one speaker, or of two when n_q = 2 · dep_q."""
    size = dep_q if n_q == 2 * dep_q else n_q
    streams = []
    for number in range(n_q):
        speaker = "" if size == n_q else ("moshi_", "user_")[number // size]
        codebook = number % size
        streams.append(
            Stream(
                name=speaker + (f"acoustic_{codebook}" if codebook else "semantic"),
                kind="acoustic" if codebook else "semantic",
                delay=delays[number],
                initial=card,
                padding=card,
                cardinality=card,
                weight=1.0 if codebook else 100.0,
            )
        )
    return streams
