"""`delaytool verify`"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from delaytool.cli.choices import check_engine, demanded_recipe
from delaytool.cli.declare import WHAT, Command, complete_paths, option, path_argument
from delaytool.cli.options import (
    audio_input_option,
    debug_option,
    frame_rate_option,
    json_option,
    quiet_option,
    recipe_options,
    worker_options,
)
from delaytool.cli.progress import run_tasks, without_left_out
from delaytool.cli.session import counted, print_json, say, say_notes, say_order, session
from delaytool.jobs.paths import (
    find,
    not_in_quarantine,
    plain_path,
    plain_paths,
    quarantines_of,
    sources_of,
)

if TYPE_CHECKING:
    from delaytool.jobs.mismatches import Mismatch
    from delaytool.jobs.verify import VerifyShard


@click.command(
    cls=Command,
    examples=[
        "delaytool verify shifted/ --source data/",
        "delaytool verify shifted/ --preset moshi",
        "delaytool verify shifted/ --json",
    ],
)
@path_argument("output")
@option(
    "--source",
    shell_complete=complete_paths,
    metavar="INPUT",
    heading=WHAT,
    help="Compare with these original shards.  [default: the digests in each shard's footer]",
)
@audio_input_option()
@recipe_options(
    "Demand that the shards were made with this recipe.",
    "Demand that they were made with this recipe, as JSON.",
)
@option(
    "--quarantine",
    shell_complete=complete_paths,
    metavar="DIR",
    heading=WHAT,
    help="Check the shards of quarantined rows there too.",
)
@worker_options
@frame_rate_option()
@json_option
@quiet_option
@debug_option
def verify(output: str, **options: Any) -> None:
    """Revert every shard of OUTPUT and compare.

    Every filled cell, loss weight, length and count is checked against the recipe, and what the
    shards revert to against the original ones: with --source value by value, without it by the
    digests in each shard's footer. Recipe and output columns must be the same in all shards. Exit
    status 1 if anything differs.
    """
    check_engine(options)
    with session(options["debug"]):
        from delaytool.shards import stores

        output = plain_path(output, options)
        plain_paths(options, "source", "audio_input", "quarantine")
        from delaytool.jobs.mixed import compare_with_first
        from delaytool.jobs.report import Report

        tasks, pairs, verdicts, left_out = _verify_tasks(output, options)
        report = Report(options["frame_rate"])
        everything = run_tasks(tasks, "verifying", options, report)
        mixed = compare_with_first([shard for shard, _, _ in pairs], everything)
        results = without_left_out(everything, left_out)
        say_order(results)
    mismatches: list[Mismatch] = [*verdicts, *mixed.mismatches]
    for result in results:
        mismatches += result.mismatches
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for mismatch in mismatches:
            _annotate(mismatch, output)
    count = len(verdicts) + mixed.count + sum(result.count for result in results)
    rows, tokens = sum(r.rows for r in results), sum(r.tokens for r in results)
    if options["as_json"]:
        summary = {
            "verified": not count,
            "shards": len(results),
            "rows": rows,
            "tokens": tokens,
            "mismatches": [mismatch.to_dict() for mismatch in mismatches],
        }
        print_json(summary | report.to_dict())
    else:
        source = options["source"] and stores.shown(options["source"])
        what = (
            f"{counted(len(results), 'shard')}, {counted(rows, 'row')}, {counted(tokens, 'token')}"
        )
        _print_mismatches(mismatches, count, mixed.count)
        _print_verdict(stores.shown(output), source, results, count, what)
        if report.shards:
            click.echo(report.table())
    sys.exit(1 if count else 0)


def _verify_tasks(
    output: str, options: dict[str, Any]
) -> tuple[list[VerifyShard], list[Any], list[Any], int]:
    """The tasks and their shards, what is missing or too many, and how many shards are left out."""
    from delaytool.jobs.verify import VerifyShard

    recipe = demanded_recipe(options)
    sources = options["source"], options["audio_input"]
    found, notes = find(output, "OUTPUT")
    shards = not_in_quarantine(found, options["quarantine"])
    pairs, verdicts, more, left_out = sources_of(shards, output, *sources)
    say_notes(notes + more, options)
    bad: dict[str, str] = {}
    if options["quarantine"] is not None:
        bad, strays = quarantines_of(shards, output, options["quarantine"], *sources)
        verdicts += strays
    tasks = [
        VerifyShard(shard, source, codes, recipe, bad.get(shard.name))
        for shard, source, codes in pairs
    ]
    return tasks, pairs, verdicts, left_out


def _annotate(mismatch: Mismatch, output: str) -> None:
    """Have GitHub show a mismatch at the shard that it is in, in its list of changed files."""
    from delaytool.shards import stores

    one = stores.kind_of(output) == "file"
    file = output if one else stores.join(output, mismatch.place.shard or "")
    message = str(mismatch).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    file = stores.shown(file).replace("%", "%25").replace(":", "%3A").replace(",", "%2C")
    say(f"::error file={file},title=delaytool verify::{message}")


def _print_mismatches(mismatches: list[Mismatch], count: int, mixed: int) -> None:
    """Print what differs, and what to do.

    count: mismatches, also those that are not kept; mixed: those of shards with one another
    """
    for mismatch in mismatches:
        say(f"Error: {mismatch}")
    if count > len(mismatches):
        say(f"... and {counted(count - len(mismatches), 'mismatch')} more")
    if mixed:
        say("  Verify shards that were made in different ways by subfolder.")
    if count > mixed:
        say("  delaytool apply --overwrite makes them anew from the original shards")


def _print_verdict(
    output: str, source: str | None, results: list[Any], count: int, what: str
) -> None:
    if count:
        click.echo(f"{output}: NOT verified: {counted(count, 'mismatch')} in {what}")
        return
    against = f"the shards of {source}" if source else "the digests in the footers"
    click.echo(f"{output}: verified: {what} revert to what {against} say")
    lost = sum(result.lost for result in results)
    if lost:
        click.echo(f"compared where tokens remain: truncation cut off {counted(lost, 'token')}")
