"""`delaytool verify`"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from delaytool.cli.choices import Output, RecipeDemanded, RunChoice, gather
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
from delaytool.cli.progress import progress_bar
from delaytool.cli.session import counted, note_teller, print_json, put, say, session, shown
from delaytool.texts import printable

if TYPE_CHECKING:
    from delaytool.jobs.mismatches import Mismatch
    from delaytool.jobs.results import VerifyResult

_GITHUB = {"%": "%25", "\r": "%0D", "\n": "%0A", ":": "%3A", ",": "%2C"}
"""How GitHub wants the values of a command written."""


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
@gather(demanded=RecipeDemanded, run=RunChoice, show=Output)
def verify(
    output: str,
    source: str | None,
    audio_input: str | None,
    demanded: RecipeDemanded,
    quarantine: str | None,
    run: RunChoice,
    frame_rate: float | None,
    show: Output,
) -> None:
    """Revert every shard of OUTPUT and compare.

    Every filled cell, loss weight, length and count is checked against the recipe, and what the
    shards revert to against the original ones: with --source value by value, without it by the
    digests in each shard's footer. Recipe and output columns must be the same in all shards. Exit
    status 1 if anything differs.
    """
    with session(show.debug), progress_bar(show.quiet) as progress:
        from delaytool.api.verify import verify as verify_shards

        result = verify_shards(
            output,
            source=source,
            audio_input=audio_input,
            recipe=demanded.load(),
            quarantine=quarantine,
            frame_rate=frame_rate,
            **run.keywords(),
            progress=progress,
            on_note=note_teller(),
        )
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for mismatch in result.mismatches:
            _annotate(mismatch, output)
    if show.as_json:
        print_json(result.to_dict())
    else:
        _print_mismatches(result)
        if not show.quiet or not result.verified:
            _print_verdict(result, output, source)
        if result.report.shards and not show.quiet:
            put(*result.report.table().split("\n"))
    sys.exit(0 if result.verified else 1)


def _annotate(mismatch: Mismatch, output: str) -> None:
    """Have GitHub show a mismatch at the shard that it is in, in its list of changed files."""
    from delaytool.shards import stores

    output = stores.plain(output)
    one = stores.kind_of(output) == "file"
    file = output if one else stores.join(output, mismatch.place.shard or "")
    message = str(mismatch).replace("%", "%25")
    file = "".join(_GITHUB.get(letter, letter) for letter in stores.shown(file))
    # It is a command, and is not to be escaped as one that is none.
    click.echo(f"::error file={printable(file)},title=delaytool verify::{message}", err=True)


def _print_mismatches(result: VerifyResult) -> None:
    """Print what differs, and what to do."""
    for mismatch in result.mismatches:
        say(f"Error: {mismatch}")
    more = result.count - len(result.mismatches)
    if more > 0:
        say(f"... and {counted(more, 'mismatch')} more")
    if result.ways:
        say("  Verify shards that were made in different ways by subfolder.")
    if result.foreign:
        say("  OUTPUT is to be what apply wrote, and --source what it read: are they swapped?")
    elif result.count > result.ways:
        say("  delaytool apply --overwrite makes them anew from the original shards")


def _print_verdict(result: VerifyResult, output: str, source: str | None) -> None:
    what = ", ".join(
        counted(number, noun)
        for number, noun in (
            (result.shards, "shard"),
            (result.rows, "row"),
            (result.tokens, "token"),
        )
    )
    if not result.verified:
        mismatches = counted(result.count, "mismatch")
        put(f"{shown(output)}: NOT verified: {mismatches} in {what}")
        return
    against = f"the shards of {shown(source)}" if source else "the digests in the footers"
    put(f"{shown(output)}: verified: {what} revert to what {against} say")
    for what, number in (("truncation", result.lost), ("alignment", result.trimmed)):
        if number:
            put(f"compared where tokens remain: {what} cut off {counted(number, 'token')}")
    if result.dropped_columns:
        names = ", ".join(map(printable, result.dropped_columns))
        put(f"compared without the columns that were left out: {names}")
