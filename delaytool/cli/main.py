"""The command line: `delaytool` and its commands.

What a command needs is imported when the command runs, so that help and usage errors are quick."""

from __future__ import annotations

import io
import sys

import click

from delaytool import __version__
from delaytool.cli.declare import HELP_WIDTH, Group, terminal_width
from delaytool.cli.session import Program


@click.group(
    cls=Group,
    summaries={
        "align": "Make text tokens of words with times, one a frame.",
        "apply": "Shift every shard of INPUT and add loss weights.",
        "verify": "Revert every shard of OUTPUT and compare.",
        "revert": "Write the shards back that apply read, to RESTORED.",
        "inspect": "Print one row of a shifted or an original SHARD as a grid.",
        "stats": "Tell what is in the shards of INPUT.",
        "presets": "List the presets, a line each, or print one as JSON.",
    },
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": HELP_WIDTH,
        "terminal_width": terminal_width(),
    },
)
@click.version_option(__version__, prog_name="delaytool")
def main() -> None:
    """Shift token streams by the delay pattern of Moshi-like models, weigh the loss, prove it.

    align makes text tokens of words, apply writes shifted shards, verify proves that they revert to
    the original ones, revert does it, inspect shows a row of them, stats tells what is in all.

    Exit status: 0 all good; 1 the data is bad or does not verify; 2 the command line is wrong; 128
    + the signal's number when it was stopped.
    """


def program() -> None:
    """Be the command `delaytool`."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # As standard error does, for names with letters that the terminal's encoding lacks.
        sys.stdout.reconfigure(errors="backslashreplace")
    main(prog_name="delaytool", obj=Program())
