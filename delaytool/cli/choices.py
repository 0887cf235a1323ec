"""Options become values: recipes, where the tokens are, and how to run."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

import click

from delaytool.cli.advice import as_options
from delaytool.cli.session import say_note
from delaytool.errors import RecipeError

if TYPE_CHECKING:
    from delaytool.api.given import Engine, Layout, Names
    from delaytool.batches.column_options import ColumnOptions
    from delaytool.batches.job import Align
    from delaytool.recipes.recipe import Recipe


def gather(**kinds: type[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Hand over options as values: each field of a kind that is an option becomes part of it.

    @gather(run=RunChoice) makes of --workers and --engine a RunChoice, which the command takes as
    its parameter `run`; fields whose option the command has not keep their default.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def command(**options: Any) -> None:
            values: dict[str, Any] = {}
            for name, kind in kinds.items():
                fields = [field.name for field in dataclasses.fields(kind)]
                values[name] = kind(**{f: options.pop(f) for f in fields if f in options})
            function(**options, **values)

        return command

    return decorate


class ColumnKeywords(TypedDict):
    """The keywords that say where the tokens are."""

    text_column: Names
    audio_column: Names
    grid_column: Names
    audio_layout: Layout
    key: str | None
    no_key: bool


class RunKeywords(TypedDict):
    """The keywords that say how to run."""

    workers: int | None
    engine: Engine
    ray_address: str | None


@dataclass(frozen=True)
class ColumnChoice:
    """The options that say where the tokens are."""

    text_column: tuple[str, ...]
    audio_column: tuple[str, ...]
    grid_column: tuple[str, ...]
    audio_layout: Layout
    key: str | None
    no_key: bool
    audio_input: str | None = None
    align: Align = "error"
    align_limit: int | None = None
    code_base: tuple[int, ...] | None = None
    weight_column: str | None = None

    def check(self) -> None:
        """Raise UsageError for options that exclude one another."""
        if self.grid_column and self.audio_column:
            raise click.UsageError(
                "--grid-column and --audio-column exclude one another: a grid has the codes in it"
            )
        if self.grid_column and self.audio_input:
            raise click.UsageError("--grid-column and --audio-input exclude one another")

    def keywords(self) -> ColumnKeywords:
        """What all functions on columns take."""
        self.check()
        return {
            "text_column": self.text_column or ("text_tokens",),
            "audio_column": self.audio_column or ("audio_codes",),
            "grid_column": self.grid_column,
            "audio_layout": self.audio_layout,
            "key": self.key,
            "no_key": self.no_key,
        }

    def options(self) -> ColumnOptions:
        """All of it, for a row of one shard."""
        from delaytool.batches.column_options import ColumnOptions

        self.check()
        return ColumnOptions(
            text_column=self.text_column or ("text_tokens",),
            audio_column=self.audio_column or ("audio_codes",),
            grid_column=self.grid_column,
            audio_layout=self.audio_layout,
            align=self.align,
            align_limit=self.align_limit,
            code_base=self.code_base or (),
            weight_column=self.weight_column,
            key=self.key,
            by_order=self.no_key,
        )


@dataclass(frozen=True)
class RunChoice:
    """The options that say how to run."""

    workers: int | None
    engine: Engine
    ray_address: str | None

    def __post_init__(self) -> None:
        if self.ray_address is not None and self.engine != "ray":
            raise click.UsageError("--ray-address goes with --engine ray")

    def keywords(self) -> RunKeywords:
        """What all functions that run something take."""
        workers = self.workers
        if workers is None and self.engine == "local":
            workers = os.cpu_count()
        return {"workers": workers, "engine": self.engine, "ray_address": self.ray_address}


@dataclass(frozen=True)
class Output:
    """The options that say what to print."""

    debug: bool
    quiet: bool = False
    as_json: bool = False


@contextlib.contextmanager
def usage() -> Iterator[None]:
    """Turn what cannot be asked for into a usage error."""
    try:
        yield
    except RecipeError as error:
        raise click.UsageError(as_options(str(error))) from None


@dataclass(frozen=True)
class RecipeChoice:
    """The options that make a recipe."""

    preset: str | None
    model_config: str | None
    recipe_file: str | None
    no_text: bool
    n_q: int | None
    delays: tuple[int, ...] | None
    acoustic_delay: int | None
    offset: tuple[tuple[str, str], ...]
    length: str | None
    initial_step: bool | None
    final_step: bool | None
    text_card: int | None
    card: int | None
    text_initial: int | None
    text_padding: int | None
    text_end_padding: int | None
    audio_initial: int | None
    audio_padding: int | None
    text_padding_weight: float | None
    semantic_weight: float | None
    acoustic_weight: float | None
    final_weight: float | None
    dep_q: int | None
    frame_rate: float | None

    @property
    def base(self) -> str | None:
        """The option that the recipe comes from; raises UsageError for more than one."""
        bases = {
            "--preset": self.preset,
            "--model-config": self.model_config,
            "--recipe": self.recipe_file,
        }
        given = [name for name, value in bases.items() if value is not None]
        if len(given) > 1:
            raise click.UsageError(
                f"{given[0]} and {given[1]} exclude one another; give one of them"
            )
        return given[0] if given else None

    def choose(self) -> tuple[Recipe, str]:
        """The recipe that the options arrive at, and what it came from."""
        given = self.base
        try:
            recipe, origin = self._base_recipe()
            return self._adapted(recipe), origin
        except RecipeError as error:
            where = f"{given}: " if given and given != "--preset" else ""
            raise click.UsageError(f"{where}{as_options(str(error))}") from None

    def _base_recipe(self) -> tuple[Recipe, str]:
        """The recipe that the options start from, and what it is called."""
        from delaytool.recipes.adapt import spread_delays
        from delaytool.recipes.model_config import from_model_config, notes_on_model_config
        from delaytool.recipes.presets import DEFAULT, load_preset, plain_recipe
        from delaytool.recipes.recipe import Recipe

        if self.preset is not None:
            return load_preset(self.preset), f"preset {self.preset}"
        if self.model_config is not None:
            config = _read_json(self.model_config)
            recipe = from_model_config(config)
            for note in notes_on_model_config(config):
                say_note(note)
            return recipe, self.model_config
        if self.recipe_file is not None:
            return Recipe.from_dict(_read_json(self.recipe_file)), self.recipe_file
        n_q, delays, text = self.n_q, self.delays, not self.no_text
        if n_q is None or delays is None:
            return load_preset(DEFAULT), f"preset {DEFAULT}"
        if n_q > 8 and self.dep_q is None:
            raise RecipeError(
                f"n_q is {n_q}: with more than 8 audio streams, say how many carry loss "
                "with --dep-q; two speakers want --preset moshi"
            )
        kinds = ["text"] * text + ["audio"] * n_q
        return plain_recipe(n_q, spread_delays(delays, kinds), text), "plain streams"

    def _adapted(self, recipe: Recipe) -> Recipe:
        """The recipe with everything changed that the options name."""
        from delaytool.recipes import adapt

        if self.no_text:
            recipe = adapt.without_text(recipe)
        if self.n_q is not None:
            recipe = adapt.first_streams(recipe, self.n_q)
        recipe = adapt.with_text(
            recipe,
            card=self.text_card,
            initial=self.text_initial,
            padding=self.text_padding,
            end_padding=self.text_end_padding,
            padding_weight=self.text_padding_weight,
        )
        if self.delays is not None:
            recipe = adapt.with_delays(recipe, self.delays)
        if self.acoustic_delay is not None:
            recipe = adapt.with_acoustic_delay(recipe, self.acoustic_delay)
        recipe = adapt.with_audio(
            recipe,
            card=self.card,
            initial=self.audio_initial,
            padding=self.audio_padding,
        )
        recipe = adapt.with_weights(
            recipe,
            semantic=self.semantic_weight,
            acoustic=self.acoustic_weight,
            final=self.final_weight,
        )
        names = ("dep_q", "length", "initial_step", "final_step", "frame_rate")
        fields = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        recipe = dataclasses.replace(recipe, **fields)
        for stream, offset in self.offset:
            recipe = adapt.with_offset(recipe, stream, offset)
        return recipe


def _read_json(path: str) -> Any:
    import json

    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except json.JSONDecodeError as error:
        raise RecipeError(f"{path}, line {error.lineno}: not JSON: {error.msg}") from None
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"{path} is not JSON: {error}") from None


@dataclass(frozen=True)
class RecipeDemanded:
    """The options that name a recipe."""

    preset: str | None
    recipe_file: str | None

    def load(self) -> Recipe | None:
        """The recipe that --preset or --recipe name, if either is given."""
        if self.preset is not None and self.recipe_file is not None:
            raise click.UsageError("--preset and --recipe exclude one another; give one of them")
        from delaytool.recipes.presets import load_preset
        from delaytool.recipes.recipe import Recipe

        with usage():
            if self.preset is not None:
                return load_preset(self.preset)
            if self.recipe_file is not None:
                return Recipe.from_dict(_read_json(self.recipe_file))
        return None
