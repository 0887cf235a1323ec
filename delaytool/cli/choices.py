"""Options become values: recipes, and where the tokens are."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from delaytool.cli.session import say
from delaytool.errors import RecipeError

if TYPE_CHECKING:
    from delaytool.batches.job import Where
    from delaytool.recipes.recipe import Recipe


def where_of(options: dict[str, Any]) -> Where:
    """Where the options say that the tokens are."""
    from delaytool.batches.job import Where

    if options["grid_column"] and options["audio_column"]:
        raise click.UsageError(
            "--grid-column and --audio-column exclude one another: a grid has the codes in it"
        )
    if options["grid_column"] and options.get("audio_input"):
        raise click.UsageError("--grid-column and --audio-input exclude one another")
    return Where(
        text=options["text_column"],
        audio=options["audio_column"] or ("audio_codes",),
        grid=options["grid_column"],
        layout=options["audio_layout"],
        result=options.get("output_layout"),
        weights=not options.get("no_weights"),
        labels=bool(options.get("label_columns")),
        align=options.get("align") or "error",
        factors=options.get("weight_column"),
        key=options["key"],
        by_order=options["no_key"],
    )


@contextlib.contextmanager
def usage() -> Iterator[None]:
    """Turn what cannot be asked for into a usage error."""
    try:
        yield
    except RecipeError as error:
        raise click.UsageError(str(error)) from None


def choose_recipe(options: dict[str, Any]) -> tuple[Recipe, str]:
    """The recipe that the options arrive at, and what it came from."""
    bases = {
        "--preset": options["preset"],
        "--model-config": options["model_config"],
        "--recipe": options["recipe_file"],
    }
    given = [name for name, value in bases.items() if value is not None]
    if len(given) > 1:
        raise click.UsageError(f"{given[0]} and {given[1]} exclude one another; give one of them")
    try:
        base, origin = _base_recipe(options)
        return _adapted(base, options), origin
    except RecipeError as error:
        where = f"{given[0]}: " if given and given[0] != "--preset" else ""
        raise click.UsageError(f"{where}{error}") from None


def _base_recipe(options: dict[str, Any]) -> tuple[Recipe, str]:
    """The recipe that the options start from, and what it is called."""
    from delaytool.recipes.adapt import spread_delays
    from delaytool.recipes.model_config import from_model_config, notes_on_model_config
    from delaytool.recipes.presets import DEFAULT, load_preset, plain_recipe
    from delaytool.recipes.recipe import Recipe

    if options["preset"] is not None:
        return load_preset(options["preset"]), f"preset {options['preset']}"
    if options["model_config"] is not None:
        config = _read_json(options["model_config"])
        recipe = from_model_config(config)
        for note in notes_on_model_config(config):
            say(f"Note: {note}")
        return recipe, options["model_config"]
    if options["recipe_file"] is not None:
        return Recipe.from_dict(_read_json(options["recipe_file"])), options["recipe_file"]
    n_q, delays, text = options["n_q"], options["delays"], not options["no_text"]
    if n_q is None or delays is None:
        return load_preset(DEFAULT), f"preset {DEFAULT}"
    if n_q > 8 and options["dep_q"] is None:
        raise RecipeError(
            f"n_q is {n_q}: with more than 8 audio streams, say how many carry loss "
            "with --dep-q; two speakers want --preset moshi"
        )
    return plain_recipe(n_q, spread_delays(delays, n_q, text), text), "plain streams"


def _adapted(recipe: Recipe, options: dict[str, Any]) -> Recipe:
    """The recipe with everything changed that the options name."""
    from delaytool.recipes import adapt

    if options["no_text"]:
        recipe = adapt.without_text(recipe)
    if options["n_q"] is not None:
        recipe = adapt.first_streams(recipe, options["n_q"])
    recipe = adapt.with_text(
        recipe,
        card=options["text_card"],
        initial=options["text_initial"],
        padding=options["text_padding"],
        end_padding=options["text_end_padding"],
        padding_weight=options["text_padding_weight"],
    )
    if options["delays"] is not None:
        recipe = adapt.with_delays(recipe, options["delays"])
    if options["acoustic_delay"] is not None:
        recipe = adapt.with_acoustic_delay(recipe, options["acoustic_delay"])
    recipe = adapt.with_audio(
        recipe,
        card=options["card"],
        initial=options["audio_initial"],
        padding=options["audio_padding"],
    )
    recipe = adapt.with_weights(
        recipe,
        semantic=options["semantic_weight"],
        acoustic=options["acoustic_weight"],
        final=options["final_weight"],
    )
    names = ("dep_q", "length", "initial_step", "final_step")
    fields = {name: options[name] for name in names if options[name] is not None}
    return dataclasses.replace(recipe, **fields)


def _read_json(path: str) -> Any:
    import json

    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"{path} is not JSON: {error}") from None


def demanded_recipe(options: dict[str, Any]) -> Recipe | None:
    """The recipe that --preset or --recipe name, if either is given."""
    if options["preset"] is None and options["recipe_file"] is None:
        return None
    if options["preset"] is not None and options["recipe_file"] is not None:
        raise click.UsageError("--preset and --recipe exclude one another; give one of them")
    from delaytool.recipes.presets import load_preset
    from delaytool.recipes.recipe import Recipe

    try:
        if options["preset"] is not None:
            return load_preset(options["preset"])
        return Recipe.from_dict(_read_json(options["recipe_file"]))
    except RecipeError as error:
        raise click.UsageError(str(error)) from None


def check_engine(options: dict[str, Any]) -> None:
    """Raise UsageError for options of an engine that is not used."""
    if options["ray_address"] is not None and options["engine"] != "ray":
        raise click.UsageError("--ray-address goes with --engine ray")
