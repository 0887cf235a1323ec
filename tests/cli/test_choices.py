"""Options of the command line become recipes."""

import dataclasses
import json

import click
import pytest
from click.testing import CliRunner
from make import APART

from delaytool.cli.choices import RecipeChoice, gather
from delaytool.cli.options import pattern_options
from delaytool.recipes import adapt
from delaytool.recipes.presets import load_preset, plain_recipe
from delaytool.recipes.recipe import Recipe

MOSHI = load_preset()
DELAYS = tuple(range(17))


@click.command()
@pattern_options
@gather(choice=RecipeChoice)
def show(choice):
    """Print the recipe that the options arrive at."""
    recipe, origin = choice.choose()
    click.echo(json.dumps([origin, recipe.to_dict()]))


def chosen(*arguments):
    words = [str(part) for part in arguments]
    done = CliRunner(**APART).invoke(show, words, catch_exceptions=False)
    origin, recipe = json.loads(done.stdout)
    return Recipe.from_dict(recipe), origin


def words(value):
    """The arguments of a case, as its name."""
    return " ".join(map(str, value)) if isinstance(value, tuple) else ""


@pytest.mark.parametrize(
    ("arguments", "recipe"),
    [
        ((), MOSHI),
        (("--preset", "dia"), load_preset("dia")),
        (("--no-text",), adapt.without_text(MOSHI)),
        (("--n-q", 3), adapt.first_streams(MOSHI, 3)),
        (("--n-q", 3, "--dep-q", 2), dataclasses.replace(adapt.first_streams(MOSHI, 3), dep_q=2)),
        (("--delays", ",".join(map(str, DELAYS))), adapt.with_delays(MOSHI, DELAYS)),
        (("--delays", 3), adapt.with_delays(MOSHI, (0, *[3] * 16))),
        (
            ("--delays", 1, "--acoustic-delay", 4),
            adapt.with_delays(MOSHI, (0, *2 * (1, *[4] * 7))),
        ),
        (("--length", "truncate"), dataclasses.replace(MOSHI, length="truncate")),
        (("--initial-step",), dataclasses.replace(MOSHI, initial_step=True)),
        (("--final-step",), dataclasses.replace(MOSHI, final_step=True)),
        (
            ("--preset", "higgs-audio", "--no-initial-step", "--no-final-step"),
            dataclasses.replace(load_preset("higgs-audio"), initial_step=False, final_step=False),
        ),
        (("--dep-q", 16), dataclasses.replace(MOSHI, dep_q=16)),
        (("--text-card", 48000), adapt.with_text(MOSHI, card=48000)),
        (("--text-initial", 7), adapt.with_text(MOSHI, initial=7)),
        (("--text-padding", 5), adapt.with_text(MOSHI, padding=5)),
        (("--text-end-padding", 6), adapt.with_text(MOSHI, end_padding=6)),
        (("--text-padding-weight", 0.1), adapt.with_text(MOSHI, padding_weight=0.1)),
        (("--card", 1024), adapt.with_audio(MOSHI, card=1024)),
        (("--audio-initial", 7), adapt.with_audio(MOSHI, initial=7)),
        (("--audio-padding", 7), adapt.with_audio(MOSHI, padding=7)),
        (("--semantic-weight", 7), adapt.with_weights(MOSHI, semantic=7)),
        (("--acoustic-weight", 0.25), adapt.with_weights(MOSHI, acoustic=0.25)),
        (("--final-weight", 0.5), adapt.with_weights(MOSHI, final=0.5)),
        (("--n-q", 2, "--delays", "0,0,1"), plain_recipe(2, (0, 0, 1))),
        (("--n-q", 2, "--delays", 2), plain_recipe(2, (0, 2, 2))),
        (("--n-q", 2, "--delays", 2, "--no-text"), plain_recipe(2, (2, 2), text=False)),
    ],
    ids=words,
)
def test_each_option_changes_one_thing(arguments, recipe):
    assert chosen(*arguments)[0] == recipe


def test_a_recipe_says_what_it_came_from(tmp_path):
    file = tmp_path / "recipe.json"
    file.write_text(load_preset("dia").to_json())
    assert chosen()[1] == "preset moshi"
    assert chosen("--preset", "dia")[1] == "preset dia"
    assert chosen("--recipe", file) == (load_preset("dia"), str(file))
    assert chosen("--n-q", 2, "--delays", 2)[1] == "plain streams"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--no-text", "--text-padding", 3), "text_padding is given, but there is no text stream"),
        (("--delays", "0,1"), "2 delays for 17 streams (text and 16 audio), expected one for each"),
        (("--n-q", 17), "n_q is 17, expected an integer from 1 to 16"),
        (("--n-q", 9, "--delays", 1), "with more than 8 audio streams, say how many carry loss"),
        (("--dep-q", 17), "dep_q is 17, expected an integer from 0 to 16"),
    ],
    ids=words,
)
def test_what_options_cannot_ask_for(arguments, message):
    done = CliRunner(**APART).invoke(show, [str(part) for part in arguments])
    assert done.exit_code == 2
    assert message in done.stderr
