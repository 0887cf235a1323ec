"""`delaytool stats`"""

from __future__ import annotations

import click

from delaytool.cli.choices import ColumnChoice, Output, RecipeDemanded, RunChoice, gather
from delaytool.cli.declare import RUN, Command, option, path_argument
from delaytool.cli.options import (
    align_option,
    audio_input_option,
    column_options,
    debug_option,
    frame_rate_option,
    json_option,
    key_options,
    padding_options,
    quiet_option,
    recipe_options,
    worker_options,
)
from delaytool.cli.progress import progress_bar
from delaytool.cli.session import note_teller, print_json, put, session, shown


@click.command(
    cls=Command,
    examples=[
        "delaytool stats shifted/",
        "delaytool stats data/ --preset moshi --json",
        "delaytool stats shifted/ --dataset-card > README.md    # of a dataset on the hub",
        "delaytool stats 'data/*.parquet' --text-padding 3 --text-end-padding 0 --frame-rate 25",
    ],
)
@path_argument("input")
@recipe_options(
    "Recipe whose streams original shards hold.  [default: as many as there are, of any "
    "vocabulary, with Moshi's text padding]",
)
@padding_options
@column_options
@audio_input_option("Codes of original shards are in shards of their own, of the same paths.")
@key_options
@align_option
@worker_options
@frame_rate_option()
@json_option
@option(
    "--dataset-card",
    is_flag=True,
    heading=RUN,
    help="Print the page of a dataset on the Hugging Face hub, with name, license and origin left "
    "to fill in.",
)
@quiet_option
@debug_option
@gather(demanded=RecipeDemanded, columns=ColumnChoice, run=RunChoice, show=Output)
def stats(
    input: str,
    demanded: RecipeDemanded,
    text_padding: int | None,
    text_end_padding: int | None,
    columns: ColumnChoice,
    run: RunChoice,
    frame_rate: float | None,
    dataset_card: bool,
    show: Output,
) -> None:
    """Tell what is in the shards of INPUT: rows, hours, tokens, padding, weights.

    Shifted shards say it in their footers; original ones are read, and the column options are for
    them. INPUT is a Parquet file, a folder, a quoted glob, or a URI.
    """
    if dataset_card and show.as_json:
        raise click.UsageError("--dataset-card and --json exclude one another")
    with session(show.debug), progress_bar(show.quiet) as progress:
        from delaytool.api.stats import stats as stats_shards

        result = stats_shards(
            input,
            recipe=demanded.load(),
            text_padding=text_padding,
            text_end_padding=text_end_padding,
            **columns.keywords(),
            audio_input=columns.audio_input,
            align=columns.align,
            align_limit=columns.align_limit,
            code_base=columns.code_base or (),
            frame_rate=frame_rate,
            **run.keywords(),
            progress=progress,
            on_note=note_teller(),
        )
    if show.as_json:
        print_json(result.to_dict())
        return
    if dataset_card:
        put(*result.dataset_card().rstrip("\n").split("\n"))
        return
    if show.quiet:
        return
    put(f"{shown(input)}:")
    kinds = f" ({result.shifted:,} shifted, {result.original:,} original)"
    put(*result.report.table(kinds).split("\n"))
