"""Recipes by name: presets, one JSON file per model family, each with its source.

A preset file is a recipe as `Recipe.to_json` writes it, with `summary`, `description` and `source`
besides: what model it is for, what its trainer does, and where its numbers come from.
A preset decides streams, never columns.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

from delaytool.errors import RecipeError
from delaytool.recipes.recipe import Recipe
from delaytool.recipes.stream import Kind
from delaytool.texts import did_you_mean

_FOLDER = Path(__file__).parent / "models"
DEFAULT = "moshi"


@dataclass(frozen=True)
class Preset:
    """A recipe with its name, what it is for, and where its numbers come from."""

    name: str
    summary: str
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
        names = preset_names()
        nearest = did_you_mean(name, names) or f"there are {', '.join(names)}"
        raise RecipeError(f"no preset is called {name!r}; {nearest}")
    fields = json.loads((_FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    summary, description = fields.pop("summary"), fields.pop("description")
    source = fields.pop("source")
    return Preset(name, summary, description, source, Recipe.from_dict(fields))


def load_preset(name: str = DEFAULT) -> Recipe:
    """The recipe of a preset; raises RecipeError for an unknown name.

    load_preset("moshi").delays -> (0, 0, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1)
    """
    return read_preset(name).recipe


def plain_recipe(n_q: int, delays: tuple[int, ...], text: int = 1) -> Recipe:
    """One speaker's streams with Moshi's tokens and weights, every audio stream trained.

    text: how many text streams there are, before the others

    n_q=2, delays=(0, 1, 1) -> text, semantic, acoustic
    n_q=3, delays=(0, 0, 2, 2) -> text, semantic, acoustic_1, acoustic_2
    """
    moshi = load_preset()
    acoustic = ["acoustic"] if n_q == 2 else [f"acoustic_{i}" for i in range(1, n_q)]
    texts = ["text"] if text == 1 else [f"text_{i}" for i in range(1, text + 1)]
    names = [*texts, *["semantic"] * (n_q > 0), *acoustic]
    if len(delays) != len(names):
        raise RecipeError(f"{len(delays)} delays for {len(names)} streams, expected one for each")
    models = {stream.kind: stream for stream in reversed(moshi.streams)}
    kinds: list[Kind] = ["text"] * text
    kinds += ["semantic", *["acoustic"] * (n_q - 1)] if n_q else []  # type: ignore[list-item]
    streams = [
        replace(models[kind], name=name, delay=delay)
        for name, kind, delay in zip(names, kinds, delays, strict=True)
    ]
    return Recipe(streams=tuple(streams))
