"""`delaytool revert`"""

from __future__ import annotations

import click

from delaytool.cli.choices import ColumnChoice, Output, RecipeDemanded, RunChoice, gather
from delaytool.cli.declare import OUT, RUN, WHAT, Command, complete_paths, option, path_argument
from delaytool.cli.options import (
    column_options,
    debug_option,
    json_option,
    key_options,
    quiet_option,
    recipe_options,
    worker_options,
)
from delaytool.cli.progress import progress_bar
from delaytool.cli.session import counted, note_teller, print_json, put, session, shown
from delaytool.texts import printable


@click.command(
    cls=Command,
    examples=[
        "delaytool revert shifted/ restored/",
        "delaytool revert shifted/ text/ --audio-output codes/",
        "delaytool revert generated.parquet codes.parquet --preset musicgen --grid-column codes",
    ],
)
@path_argument("output")
@path_argument("restored")
@recipe_options(
    "Recipe of grids without an entry, such as a model generated.",
)
@option(
    "--allow-lossy",
    is_flag=True,
    heading=WHAT,
    help="Write what is left of shards that lost something: missing tokens are null, columns that "
    "were left out absent.",
)
@column_options
@key_options
@option(
    "--audio-output",
    shell_complete=complete_paths,
    metavar="DIR",
    heading=OUT,
    help="Codes that came in shards of their own go here.",
)
@worker_options
@option("--overwrite", is_flag=True, heading=RUN, help="Replace files that are there.")
@json_option
@quiet_option
@debug_option
@gather(demanded=RecipeDemanded, columns=ColumnChoice, run=RunChoice, show=Output)
def revert(
    output: str,
    restored: str,
    demanded: RecipeDemanded,
    allow_lossy: bool,
    columns: ColumnChoice,
    audio_output: str | None,
    run: RunChoice,
    overwrite: bool,
    show: Output,
) -> None:
    """Write the shards back that apply read, to RESTORED.

    The columns, types, layout, rows and metadata are the original ones, and are checked against
    the digests in each shard's footer. What truncation, alignment, windows or --drop-column took
    away cannot come back: then nothing is written, unless --allow-lossy says so. The column options
    are for grids without an entry.
    """
    with session(show.debug), progress_bar(show.quiet) as progress:
        from delaytool.api.revert import revert as revert_shards

        result = revert_shards(
            output,
            restored,
            recipe=demanded.load(),
            allow_lossy=allow_lossy,
            **columns.keywords(),
            audio_output=audio_output,
            overwrite=overwrite,
            **run.keywords(),
            progress=progress,
            on_note=note_teller(),
        )
    if show.as_json:
        print_json(result.to_dict())
        return
    if show.quiet:
        return
    put(
        f"{shown(restored)}: {counted(result.shards, 'shard')} "
        f"({result.written:,} written, {result.unchanged:,} unchanged), "
        f"{counted(result.rows, 'row')} as they were in {result.seconds:.1f} s"
    )
    if result.missing:
        put(f"but {counted(result.missing, 'token')} that had been cut off")
    if result.dropped_columns:
        names = ", ".join(map(printable, result.dropped_columns))
        put(f"but the columns that had been left out: {names}")
    if result.dropped_frames:
        put(f"but {counted(result.dropped_frames, 'frame')} of windows that had been dropped")
    if result.dropped_rows:
        put(f"but {counted(result.dropped_rows, 'row')} of which no window is left")
    if result.quarantined:
        put(f"but {counted(result.quarantined, 'row')} that had been put into quarantine")
