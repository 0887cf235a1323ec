"""`delaytool presets`"""

from __future__ import annotations

import click

from delaytool.cli.declare import Command, complete_presets
from delaytool.errors import RecipeError
from delaytool.recipes.describe import describe


@click.command(
    cls=Command,
    examples=[
        "delaytool presets",
        "delaytool presets moshi > my-model.json    # then: apply --recipe my-model.json",
    ],
)
@click.argument("name", metavar="[NAME]", required=False, shell_complete=complete_presets)
def presets(name: str | None) -> None:
    """List the presets, or print one as JSON."""
    from delaytool.recipes.presets import preset_names, read_preset

    if name is None:
        for number, each in enumerate(preset_names()):
            preset = read_preset(each)
            click.echo(("" if number == 0 else "\n") + describe(preset.recipe, each))
            click.echo(click.wrap_text(preset.description, 96, "  ", "  "))
            click.echo(click.wrap_text(f"Source: {preset.source}", 96, "  ", "  "))
        return
    try:
        click.echo(read_preset(name).recipe.to_json(), nl=False)
    except RecipeError as error:
        raise click.UsageError(str(error)) from None
