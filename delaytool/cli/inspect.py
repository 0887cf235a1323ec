"""`delaytool inspect`"""

from __future__ import annotations

import itertools
import os
import shutil
import sys
from collections.abc import Iterable

import click

from delaytool.cli.choices import ColumnChoice, Output, RecipeDemanded, gather
from delaytool.cli.declare import OUT, WHAT, Command, Steps, complete_paths, option, path_argument
from delaytool.cli.options import (
    align_option,
    audio_input_option,
    column_options,
    debug_option,
    factor_option,
    frame_rate_option,
    key_options,
    quiet_option,
    recipe_options,
)
from delaytool.cli.row import Row, View
from delaytool.cli.session import put_json, session


@click.command(
    cls=Command,
    examples=[
        "delaytool inspect shifted/train-00000.parquet --steps 0:20",
        "delaytool inspect shifted/train-00000.parquet --id utt-17 --weights",
        "delaytool inspect shifted/train-00000.parquet --compare data/train-00000.parquet",
        "delaytool inspect data/train-00000.parquet --before --after --labels",
        "delaytool inspect shifted/train-00000.parquet --steps 0:40 --image grid.png",
    ],
)
@path_argument("shard")
@option(
    "--row",
    type=click.IntRange(0),
    metavar="N",
    heading=WHAT,
    help="Row to print, from 0.  [default: 0]",
)
@option(
    "--id",
    "row_key",
    metavar="KEY",
    heading=WHAT,
    help="Row to print, by its key as messages show it: utt-17, 2024-01-31 12:00:00.",
)
@option(
    "--steps",
    type=Steps(),
    metavar="A:B",
    heading=WHAT,
    help="Timesteps A to B - 1.  [default: all, or as many as fit where the output is no terminal]",
)
@option(
    "--before",
    is_flag=True,
    heading=WHAT,
    help="Print the row as it was before the shift.  [default: as it is in SHARD]",
)
@option(
    "--after",
    is_flag=True,
    heading=WHAT,
    help="Print it after the shift, with --before below that; of an original shard, as apply "
    "would shift it.",
)
@option(
    "--compare",
    shell_complete=complete_paths,
    metavar="SOURCE",
    heading=WHAT,
    help="Mark the first cell that differs from this shard's row of the same key; exit status 1 "
    "if one does.",
)
@recipe_options(
    "Recipe of an original shard.  [default: as many streams as there are, and moshi for --after]",
)
@column_options
@audio_input_option("Shard that holds SHARD's codes, or SOURCE's where SHARD is shifted.")
@key_options
@align_option
@factor_option
@option("--weights", is_flag=True, heading=OUT, help="Print the loss weights too.")
@option(
    "--labels",
    is_flag=True,
    heading=OUT,
    help="Print kind and number of the frame, from 1, instead of ids; S, O or P for a filled cell.",
)
@option(
    "--tokenizer",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    heading=OUT,
    help="Print text tokens as words, by this SentencePiece model.",
)
@frame_rate_option(
    OUT, "Frames a second, for the time below the timesteps.  [default: the recipe's]"
)
@option(
    "--image",
    shell_complete=complete_paths,
    metavar="FILE",
    heading=OUT,
    help="Draw the row and its loss weights to a .png, .svg or .pdf file instead.",
)
@option("--json", "as_json", is_flag=True, heading=OUT, help="Print the row as JSON.")
@quiet_option
@debug_option
@gather(view=View, demanded=RecipeDemanded, columns=ColumnChoice, show=Output)
def inspect(
    shard: str, view: View, demanded: RecipeDemanded, columns: ColumnChoice, show: Output
) -> None:
    """Print one row of a shifted or an original SHARD as a grid.

    Streams are rows and time runs to the right, in timesteps and seconds of the grid. Filled cells
    are dim: [id] by a delay, (id) by an offset, {id} to fill a window up; with --labels they are S,
    O and P. A long row is shown by the pager (PAGER), as git does. The column options are for an
    original shard; a shifted one says itself where its tokens are. Where more than one layout fits
    an original, each is printed.
    """
    view.check(columns, show.as_json)
    with session(show.debug):
        from delaytool.shards import stores

        for name, path in (
            ("SHARD", shard),
            ("--compare", view.compare),
            ("--audio-input", columns.audio_input),
        ):
            if path is not None and stores.kind_of(plain := stores.plain(path)) != "file":
                raise click.UsageError(f"{name} {stores.shown(plain)} is not a file")
        row = Row(shard, view, columns, demanded)
        lines: Iterable[str] = []
        if show.as_json:
            text, found = row.as_json()
        elif view.image is not None:
            lines, found = [row.drawn(view.image)], None
        else:
            lines, found = row.printed()
    if show.as_json:
        put_json(text)
    elif not show.quiet:
        _show(lines, row.style.colour)
    sys.exit(1 if found else 0)


def _show(lines: Iterable[str], colour: bool) -> None:
    """Print lines, through a pager where there are more than the terminal has."""
    height = shutil.get_terminal_size().lines if sys.stdout.isatty() else None
    coming = iter(lines)
    first = list(itertools.islice(coming, height))
    if height is None or len(first) < height:
        click.echo("\n".join(first), color=colour)
        return
    os.environ.setdefault("LESS", "FRX")
    # The pager asks for more as it is scrolled.
    click.echo_via_pager((f"{line}\n" for line in itertools.chain(first, coming)), color=colour)
