"""`delaytool presets`"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from delaytool.cli.declare import OUT, Command, complete_presets, option
from delaytool.cli.session import put
from delaytool.errors import RecipeError
from delaytool.recipes.describe import delays_in_short, describe

if TYPE_CHECKING:
    from delaytool.recipes.presets import Preset

_WIDTH = 100


@click.command(
    cls=Command,
    examples=[
        "delaytool presets",
        "delaytool presets moshi --long",
        "delaytool presets moshi > my-model.json    # then: apply --recipe my-model.json",
    ],
)
@click.argument("name", metavar="[NAME]", required=False, shell_complete=complete_presets)
@option(
    "--long",
    is_flag=True,
    heading=OUT,
    help="Print streams, the whole description and its source.  [default: a line each, or JSON]",
)
def presets(name: str | None, long: bool) -> None:
    """List the presets, a line each, or print one as JSON."""
    from delaytool.recipes.presets import preset_names, read_preset

    try:
        found = [read_preset(each) for each in (preset_names() if name is None else [name])]
    except RecipeError as error:
        raise click.UsageError(str(error)) from None
    if long:
        put(*"\n\n".join(map(_whole, found)).split("\n"))
    elif name is None:
        put(*_table(found))
    else:
        click.echo(found[0].recipe.to_json(), nl=False)


def _whole(preset: Preset) -> str:
    parts = [
        click.wrap_text(text, _WIDTH - 4, "  ", "  ")
        for text in (preset.description, f"Source: {preset.source}")
    ]
    return "\n".join([describe(preset.recipe, preset.name), *parts])


def _table(presets: Sequence[Preset]) -> list[str]:
    """A line for each: streams, delays, frame rate, and for whom."""
    rows = [("preset", "streams", "delays", "Hz", "for")]
    for preset in presets:
        recipe = preset.recipe
        streams = f"text + {recipe.n_q}" if recipe.has_text else str(recipe.n_q)
        rate = f"{recipe.frame_rate:.4g}"
        rows.append((preset.name, streams, delays_in_short(recipe), rate, preset.summary))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
