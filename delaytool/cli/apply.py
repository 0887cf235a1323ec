"""`delaytool apply`"""

from __future__ import annotations

import time
from typing import Any

import click

from delaytool.cli.choices import check_engine, choose_recipe, usage, where_of
from delaytool.cli.declare import OUT, RUN, Command, complete_paths, option, path_argument
from delaytool.cli.options import (
    align_option,
    audio_input_option,
    column_options,
    debug_option,
    factor_option,
    frame_rate_option,
    json_option,
    key_options,
    pattern_options,
    quiet_option,
    worker_options,
)
from delaytool.cli.progress import run_tasks, without_left_out
from delaytool.cli.session import counted, print_json, say, say_notes, session
from delaytool.jobs.paths import items_of, plain_path, plain_paths
from delaytool.recipes.describe import describe


@click.command(
    cls=Command,
    short_help="Shift every shard of INPUT and add loss weights.",
    examples=[
        "delaytool apply data/ shifted/",
        "delaytool apply data/ shifted/ --preset moshi-pretrain --initial-step --workers 8",
        "delaytool apply text/ shifted/ --audio-input codes/ --key id --align pad",
        "delaytool apply a/ b/ --preset j-moshi --grid-column A --grid-column 'B[1:]'",
        "delaytool apply s3://bucket/data s3://bucket/shifted --engine ray",
    ],
)
@path_argument("input")
@path_argument("output")
@pattern_options
@column_options
@audio_input_option()
@key_options
@align_option
@factor_option
@option(
    "--output-layout",
    type=click.Choice(["split", "grid"]),
    heading=OUT,
    help="Text and codes in columns of their own, or in one column codes [K][S].  [default: as "
    "they came]",
)
@option("--no-weights", is_flag=True, heading=OUT, help="Leave the columns of loss weights out.")
@option(
    "--label-columns",
    is_flag=True,
    heading=OUT,
    help="Add columns of labels: the token where its weight is above 0, else -100.",
)
@worker_options
@option(
    "--overwrite",
    is_flag=True,
    heading=RUN,
    help="Replace outputs made otherwise or from another source.",
)
@option(
    "--quarantine",
    shell_complete=complete_paths,
    metavar="DIR",
    heading=RUN,
    help="Put bad rows there, with a column reason, and go on.  [default: stop at the first]",
)
@frame_rate_option()
@json_option
@quiet_option
@debug_option
def apply(input: str, output: str, **options: Any) -> None:
    """Shift every shard of INPUT, add loss weights, and write them to OUTPUT.

    INPUT is a Parquet file, a folder (searched for *.parquet, linked folders too), a quoted glob,
    or a URI such as s3://bucket/data. OUTPUT is a folder or a URI, in which every shard keeps its
    relative path; a single file may go to a path that ends in .parquet. Running the same command
    again goes on where it stopped.
    """
    check_engine(options)
    with session(options["debug"]):
        from delaytool.shards import stores

        input, output = plain_path(input, options), plain_path(output, options)
        plain_paths(options, "audio_input", "quarantine")
        recipe, origin = choose_recipe(options)
        from delaytool.jobs.apply import ApplyShard
        from delaytool.jobs.paths import as_found
        from delaytool.jobs.plan import plan
        from delaytool.jobs.report import Report

        where = where_of(options)
        audio_input, quarantine = options["audio_input"], options["quarantine"]
        items, notes, left_out = items_of(input, output, audio_input, quarantine)
        say_notes(notes, options)
        if options["overwrite"]:
            items = as_found(items, output, quarantine)
        with usage():
            planned = plan(items, recipe, where, options["overwrite"])
        say(describe(recipe, origin))
        for line in planned.columns:
            say(f"  column {line}")
        for note in planned.notes:
            say(f"Note: {note}")
        tasks = [ApplyShard(item, planned.job, options["overwrite"]) for item in planned.items]
        began = time.monotonic()
        report = Report(options["frame_rate"])
        results = without_left_out(run_tasks(tasks, "shifting", options, report), left_out)
    written = sum(result.written for result in results)
    counts, seconds = report.counts, round(time.monotonic() - began, 3)
    if options["as_json"]:
        summary = {
            "shards": len(results),
            "written": written,
            "unchanged": len(results) - written,
            "rows": counts.rows_out,
            "frames": counts.frames,
            "tokens": counts.tokens,
            "quarantined": counts.quarantined,
            "seconds": seconds,
            "lost": counts.lost,
            "padded": counts.padded,
            "trimmed": counts.trimmed,
        }
        print_json(summary | report.to_dict())
        return
    unchanged = len(results) - written
    click.echo(f"{stores.shown(output)}: shifted in {seconds:.1f} s")
    click.echo(report.table(f" ({written:,} written, {unchanged:,} unchanged)"))
    for what, number in (
        ("truncation cut off", counts.lost),
        ("alignment added", counts.padded),
        ("alignment cut off", counts.trimmed),
    ):
        if number:
            click.echo(f"{what} {counted(number, 'token')}")
    if counts.quarantined:
        click.echo(
            f"{stores.shown(options['quarantine'])}: {counted(counts.quarantined, 'bad row')}"
        )
