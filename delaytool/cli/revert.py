"""`delaytool revert`"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from delaytool.cli.choices import check_engine, demanded_recipe, usage, where_of
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
from delaytool.cli.progress import run_tasks, without_left_out
from delaytool.cli.session import counted, print_json, say_notes, session
from delaytool.jobs.paths import items_of, plain_path, plain_paths

if TYPE_CHECKING:
    from delaytool.batches.job import Job
    from delaytool.jobs.paths import Item
    from delaytool.jobs.revert import RevertShard
    from delaytool.recipes.recipe import Recipe


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
    help="Write what is left of shards that lost tokens; what is missing is null.",
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
def revert(output: str, restored: str, **options: Any) -> None:
    """Write the shards back that apply read, to RESTORED.

    The columns, types, layout, rows and metadata are the original ones, and are checked against the
    digests in each shard's footer. What truncation or alignment cut off cannot come back: then
    nothing is written, unless --allow-lossy says so. The column options are for grids without an
    entry.
    """
    check_engine(options)
    with session(options["debug"]):
        from delaytool.shards import stores, tables

        output, restored = plain_path(output, options), plain_path(restored, options)
        plain_paths(options, "audio_output")
        from delaytool.jobs.revert import look_at

        recipe = demanded_recipe(options)
        items, notes, _ = items_of(output, restored, names=("OUTPUT", "RESTORED"))
        say_notes(notes, options)
        job = None
        if recipe is not None:
            job = _generated_job(items, recipe, options)
        look_at([item.shard for item in items], job, options["allow_lossy"])
        if options["audio_output"] is not None:
            tables.check_output(options["audio_output"])
        tasks = _revert_tasks(items, restored, job, options)
        began = time.monotonic()
        results = without_left_out(run_tasks(tasks, "reverting", options))
    rows = sum(result.rows for result in results)
    counts = sum((result.counts for result in results[1:]), results[0].counts)
    seconds = round(time.monotonic() - began, 3)
    written = sum(result.written for result in results)
    unchanged = len(results) - written
    if options["as_json"]:
        summary = {"shards": len(results), "written": written, "unchanged": unchanged}
        summary |= {"rows": rows, "seconds": seconds}
        summary |= {"missing": counts.lost + counts.trimmed, "quarantined": counts.quarantined}
        print_json(summary)
        return
    click.echo(
        f"{stores.shown(restored)}: {counted(len(results), 'shard')} "
        f"({written:,} written, {unchanged:,} unchanged), {counted(rows, 'row')} "
        f"as they were in {seconds:.1f} s"
    )
    if counts.lost + counts.trimmed:
        click.echo(f"but {counted(counts.lost + counts.trimmed, 'token')} that had been cut off")
    if counts.quarantined:
        click.echo(f"but {counted(counts.quarantined, 'row')} that had been put into quarantine")


def _revert_tasks(
    items: Sequence[Item], restored: str, job: Job | None, options: dict[str, Any]
) -> list[RevertShard]:
    from delaytool.jobs.revert import RevertShard
    from delaytool.shards.commit import file_states

    audio = options["audio_output"]
    codes = [None if audio is None else _beside(item, restored, audio) for item in items]
    old: list[Any] = [None] * len(items)
    if options["overwrite"]:
        states = file_states((item.target for item in items), restored)
        old = list(zip(states, file_states(codes, audio), strict=True))
    how = job, options["allow_lossy"], options["overwrite"]
    return [
        RevertShard(item.shard, item.target, codes_target, *how, began_with)
        for item, codes_target, began_with in zip(items, codes, old, strict=True)
    ]


def _beside(item: Item, restored: str, audio: str) -> str:
    """Where the codes of a reverted shard go."""
    from delaytool.shards import stores

    if item.target == restored:
        return audio
    return stores.join(audio, item.shard.name)


def _generated_job(items: list[Item], recipe: Recipe, options: dict[str, Any]) -> Job:
    """The job of grids without an entry."""
    from delaytool.batches.columns import find_columns
    from delaytool.batches.job import Job
    from delaytool.batches.layouts import Output
    from delaytool.batches.types import check_there
    from delaytool.shards.failures import reading
    from delaytool.shards.pairs import key_in
    from delaytool.shards.quarantine import first_of_data
    from delaytool.shards.read import open_shard

    where = where_of({**options, "no_weights": True})
    shard = first_of_data([item.shard for item in items]) or items[0].shard
    with usage(), open_shard(shard) as first, reading(shard.name):
        columns = find_columns(where, first.schema, recipe, first.small_batches())
        outputs = tuple(Output(c.name, c.first, c.count, c.layout) for c in columns)
        key = key_in(first, where)
        if key is not None:
            check_there(first.schema, key, "--key")
        return Job(recipe, columns, outputs, key=key)
