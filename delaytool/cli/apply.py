"""`delaytool apply`"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Literal

import click

from delaytool.cli.choices import ColumnChoice, Output, RecipeChoice, RunChoice, gather
from delaytool.cli.declare import OUT, Command, complete_columns, option, path_argument
from delaytool.cli.options import (
    align_option,
    audio_input_option,
    check_output,
    column_options,
    debug_option,
    factor_option,
    json_option,
    key_options,
    output_options,
    pattern_options,
    quiet_option,
    worker_options,
)
from delaytool.cli.progress import progress_bar
from delaytool.cli.session import counted, note_teller, print_json, put, session, shown
from delaytool.cli.windows import WindowChoice, window_options
from delaytool.recipes.describe import describe

if TYPE_CHECKING:
    from delaytool.jobs.results import ApplyResult


@click.command(
    cls=Command,
    short_help="Shift every shard of INPUT and add loss weights.",
    examples=[
        "delaytool apply data/ shifted/",
        "delaytool apply data/ shifted/ --preset moshi-pretrain --initial-step --workers 8",
        "delaytool apply text/ shifted/ --audio-input codes/ --key id --align pad",
        "delaytool apply a/ b/ --preset j-moshi --grid-column A --grid-column 'B[1:]'",
        "delaytool apply data/ windows/ --window 100s --window-min 10",
        "delaytool apply s3://bucket/data s3://bucket/shifted --engine ray",
    ],
)
@path_argument("input")
@path_argument("output", required=False)
@pattern_options
@column_options
@audio_input_option()
@key_options
@align_option
@factor_option
@window_options
@option(
    "--output-layout",
    type=click.Choice(["split", "grid"]),
    heading=OUT,
    help="Text and codes in columns of their own, or in one column codes [K][S].  [default: as "
    "they came]",
)
@option(
    "--narrow",
    is_flag=True,
    heading=OUT,
    help="Tokens as the narrowest signed type that holds vocabulary and fill tokens.  [default: as "
    "they came, or the next wider one that holds the fill tokens]",
)
@option("--no-weights", is_flag=True, heading=OUT, help="Leave the columns of loss weights out.")
@option(
    "--label-columns",
    is_flag=True,
    heading=OUT,
    help="Add columns of labels: the token where its weight is above 0, else -100.",
)
@option(
    "--drop-column",
    shell_complete=complete_columns,
    metavar="NAME",
    multiple=True,
    heading=OUT,
    help="Leave a column out, which revert cannot bring back; of a column sliced as 'B[1:]' what "
    "the slice leaves, of a struct with tokens its other fields.",
)
@worker_options
@output_options
@json_option
@quiet_option
@debug_option
@gather(choice=RecipeChoice, columns=ColumnChoice, run=RunChoice, windows=WindowChoice, show=Output)
def apply(
    input: str,
    output: str | None,
    choice: RecipeChoice,
    columns: ColumnChoice,
    run: RunChoice,
    windows: WindowChoice,
    show: Output,
    output_layout: Literal["split", "grid"] | None,
    narrow: bool,
    no_weights: bool,
    label_columns: bool,
    drop_column: tuple[str, ...],
    dry_run: bool,
    overwrite: bool,
    quarantine: str | None,
) -> None:
    """Shift every shard of INPUT, add loss weights, and write them to OUTPUT.

    INPUT is a Parquet file, a folder (searched for *.parquet, linked folders too), a quoted glob,
    or a URI such as s3://bucket/data. OUTPUT is a folder or a URI, in which every shard keeps its
    relative path; a single file may go to a path that ends in .parquet. Running the same command
    again goes on where it stopped.
    """
    check_output(output, dry_run)
    with session(show.debug), progress_bar(show.quiet) as progress:
        recipe, origin = choice.choose()
        from delaytool.api.apply import apply as apply_shards

        result = apply_shards(
            input,
            output,
            recipe,
            **columns.keywords(),
            audio_input=columns.audio_input,
            align=columns.align,
            align_limit=columns.align_limit,
            code_base=columns.code_base or (),
            weight_column=columns.weight_column,
            output_layout=output_layout,
            narrow=narrow,
            drop_column=drop_column,
            no_weights=no_weights,
            label_columns=label_columns,
            **windows.keywords(),
            dry_run=dry_run,
            overwrite=overwrite,
            quarantine=quarantine,
            frame_rate=choice.frame_rate,
            **run.keywords(),
            progress=progress,
            on_note=note_teller(describe(recipe, origin)),
        )
    if show.as_json:
        print_json(result.to_dict())
    elif not show.quiet:
        _print_summary(result, input if output is None else output, quarantine, dry_run)
    if result.bad:
        sys.exit(1)


def _print_summary(result: ApplyResult, path: str, quarantine: str | None, is_dry: bool) -> None:
    what = "checked, and nothing written," if is_dry else "shifted"
    put(f"{shown(path)}: {what} in {result.seconds:.1f} s")
    written = f" ({result.written:,} written, {result.unchanged:,} unchanged)"
    put(*result.report.table("" if is_dry else written).split("\n"))
    for bad in result.bad:
        put(f"bad: {counted(bad.rows, 'row')} like this one: {bad.first}")
    for what, number in (
        ("truncation cut off", result.lost),
        ("alignment added", result.padded),
        ("alignment cut off", result.trimmed),
    ):
        if number:
            put(f"{what} {counted(number, 'token')}")
    if result.quarantined and quarantine is not None:
        put(f"{shown(quarantine)}: {counted(result.quarantined, 'bad row')}")
