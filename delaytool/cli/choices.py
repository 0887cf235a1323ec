"""Options become values: recipes, and where the tokens are."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from delaytool.cli.session import say
from delaytool.errors import RecipeError

if TYPE_CHECKING:
    from delaytool.batches.columns import ColumnOptions
    from delaytool.recipes.recipe import Recipe


def where_of(options: dict[str, Any]) -> ColumnOptions:
    """Where the options say that the tokens are."""
    from delaytool.batches.columns import ColumnOptions

    if options["grid_column"] and options["audio_column"]:
        raise click.UsageError(
            "--grid-column and --audio-column exclude one another: a grid has the codes in it"
        )
    if options["grid_column"] and options.get("audio_input"):
        raise click.UsageError("--grid-column and --audio-input exclude one another")
    return ColumnOptions(
        text_column=options["text_column"],
        audio_column=options["audio_column"] or ("audio_codes",),
        grid_column=options["grid_column"],
        audio_layout=options["audio_layout"],
        output_layout=options.get("output_layout"),
        weights=not options.get("no_weights"),
        label_columns=bool(options.get("label_columns")),
        align=options.get("align") or "error",
        weight_column=options.get("weight_column"),
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
    from delaytool.recipes.adapt import adapt
    from delaytool.recipes.model_config import from_model_config, notes_on_model_config
    from delaytool.recipes.presets import DEFAULT, load_preset, plain_recipe
    from delaytool.recipes.recipe import Recipe

    bases = {
        "--preset": options["preset"],
        "--model-config": options["model_config"],
        "--recipe": options["recipe_file"],
    }
    given = [name for name, value in bases.items() if value is not None]
    if len(given) > 1:
        raise click.UsageError(f"{given[0]} and {given[1]} exclude one another; give one of them")
    names = [
        "n_q",
        "delays",
        "acoustic_delay",
        "length",
        "initial_step",
        "final_step",
        "text_card",
        "card",
        "text_initial",
        "text_padding",
        "text_end_padding",
        "audio_initial",
        "audio_padding",
        "text_padding_weight",
        "semantic_weight",
        "acoustic_weight",
        "final_weight",
        "dep_q",
    ]
    changes = {name: options[name] for name in names}
    text = not options["no_text"]
    try:
        if options["preset"] is not None:
            base, origin = load_preset(options["preset"]), f"preset {options['preset']}"
        elif options["model_config"] is not None:
            origin = options["model_config"]
            config = _read_json(origin)
            base = from_model_config(config)
            for note in notes_on_model_config(config):
                say(f"Note: {note}")
        elif options["recipe_file"] is not None:
            origin = options["recipe_file"]
            base = Recipe.from_dict(_read_json(origin))
        elif changes["n_q"] is not None and changes["delays"] is not None:
            n_q, delays = changes.pop("n_q"), changes.pop("delays")
            if len(delays) == 1:
                delays = (*[0] * text, *delays * n_q)
            if n_q > 8 and changes["dep_q"] is None:
                raise RecipeError(
                    f"n_q is {n_q}: with more than 8 audio streams, say how many carry loss "
                    "with --dep-q; two speakers want --preset moshi"
                )
            base, origin = plain_recipe(n_q, delays, text), "plain streams"
        else:
            base, origin = load_preset(DEFAULT), f"preset {DEFAULT}"
        return adapt(base, text=text, **changes), origin
    except RecipeError as error:
        where = f"{given[0]}: " if given and given[0] != "--preset" else ""
        raise click.UsageError(f"{where}{error}") from None


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
