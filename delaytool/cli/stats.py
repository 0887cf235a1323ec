"""`delaytool stats`"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from delaytool.cli.choices import check_engine, demanded_recipe, usage, where_of
from delaytool.cli.declare import Command, path_argument
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
from delaytool.cli.progress import run_tasks, without_left_out
from delaytool.cli.session import print_json, say_notes, say_order, session
from delaytool.jobs.paths import find, paired, plain_path, plain_paths

if TYPE_CHECKING:
    from delaytool.shards.find import Shard


@click.command(
    cls=Command,
    examples=[
        "delaytool stats shifted/",
        "delaytool stats data/ --preset moshi --json",
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
@quiet_option
@debug_option
def stats(input: str, **options: Any) -> None:
    """Tell what is in the shards of INPUT: rows, hours, tokens, padding, weights.

    Shifted shards say it in their footers; original ones are read, and the column options are for
    them. INPUT is a Parquet file, a folder, a quoted glob, or a URI.
    """
    check_engine(options)
    with session(options["debug"]):
        from delaytool.jobs.report import Report
        from delaytool.jobs.stats import FooterOf, Reading, StatsOfShard, plan_stats
        from delaytool.shards import stores

        input = plain_path(input, options)
        plain_paths(options, "audio_input")
        paddings = options["text_padding"], options["text_end_padding"]
        how = Reading(where_of(options), demanded_recipe(options), *paddings)
        shards, notes = find(input, "INPUT")
        say_notes(notes, options)
        report = Report(options["frame_rate"])

        # A thousand footers take less time than workers take to start.
        here = {} if stores.is_remote(input) else {"workers": 1, "engine": "local"}
        footers = [FooterOf(shard) for shard in shards]
        looks = run_tasks(footers, "footers", {**options, **here}, report)
        if not all(look.left_out for look in looks):
            looks = without_left_out(looks)
        kept = {look.name: look.shifted for look in looks}
        originals = [shard for shard in shards if not kept.get(shard.name, True)]
        shifted = sum(kept.values())
        partners: dict[str, Shard] = {}
        if options["audio_input"] is not None:
            if not originals:
                raise click.UsageError("--audio-input is for original shards; there are none")
            codes, notes = find(options["audio_input"], "--audio-input")
            say_notes(notes, options)
            originals, partners, _ = paired(originals, codes)
        if originals:
            pairs = [(shard, partners.get(shard.name)) for shard in originals]
            with usage():
                planned = plan_stats(pairs, how)
            read = [StatsOfShard(*pair, how, planned) for pair in pairs]
            say_order(run_tasks(read, "reading", options, report))
    counts = report.counts
    if options["as_json"]:
        summary = {
            "shards": shifted + len(originals),
            "shifted": shifted,
            "original": len(originals),
            "rows": counts.rows_out,
            "frames": counts.frames,
            "tokens": counts.tokens,
            "quarantined": counts.quarantined,
        }
        print_json(summary | report.to_dict())
        return
    click.echo(f"{stores.shown(input)}:")
    click.echo(report.table(f" ({shifted:,} shifted, {len(originals):,} original)"))
