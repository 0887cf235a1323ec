"""How options are declared, read, completed and shown in the help."""

from __future__ import annotations

import contextlib
import functools
import importlib
import math
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from delaytool.cli.session import run
from delaytool.texts import did_you_mean, printable

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


F = TypeVar("F", bound=Callable[..., Any])
HELP_WIDTH = 100
WHAT, WHERE, WINDOWS, OUT, RUN = (
    "What to do",
    "Where the tokens are",
    "Windows",
    "What comes out",
    "How to run",
)


class Option(click.Option):
    """An option that knows which heading of the help it stands under."""

    def __init__(self, *args: Any, heading: str = RUN, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.heading = heading

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """The option and its help."""
        # "[x>=1]" tells a newcomer nothing that the error for 0 does not.
        kind = self.type
        if isinstance(kind, click.IntRange | click.FloatRange):
            self.type = click.INT if isinstance(kind, click.IntRange) else click.FLOAT
        try:
            return super().get_help_record(ctx)
        finally:
            self.type = kind


class Command(click.Command):
    """A command whose help shows its options under headings and ends with examples."""

    def __init__(self, *args: Any, examples: list[str] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples or []

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments; of a glob that the shell made several paths of, say so."""
        paths = [arg for arg in args if os.path.exists(arg)]
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            # Errors of options are of classes derived from it, that of too many arguments is not.
            if type(error) is click.UsageError and len(paths) > len(self.arguments):
                quoted = "a glob has to be quoted, or the shell makes many paths of it"
                raise click.UsageError(f"{error.message}; {quoted}", error.ctx) from None
            raise

    @property
    def arguments(self) -> list[click.Parameter]:
        """The parameters that stand in their place, without a name."""
        return [each for each in self.params if isinstance(each, click.Argument)]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, heading by heading."""
        headings: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            line = parameter.get_help_record(ctx)
            if line is not None and isinstance(parameter, click.Option):
                headings.setdefault(getattr(parameter, "heading", RUN), []).append(line)
        for heading in (WHAT, WHERE, WINDOWS, OUT, RUN):
            if heading in headings:
                with formatter.section(heading):
                    formatter.write_dl(headings[heading])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        if self.examples:
            with formatter.section("Examples"):
                for example in self.examples:
                    formatter.write(f"{'':{formatter.current_indent}}{example}\n")


class Group(click.Group):
    """Commands in the order in which people need them, each imported when it is asked for.

    summaries: what each does, in a line; its module has its name
    """

    def __init__(self, *args: Any, summaries: dict[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.summaries = summaries

    def main(self, args: Sequence[str] | None = None, **more: Any) -> Any:  # type: ignore[override]
        """Run the command line, and end the process with its exit status."""
        words = sys.argv[1:] if args is None else list(args)
        main = functools.partial(super().main, words, **{**more, "standalone_mode": False})
        sys.exit(run(main, words, more.get("obj")))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the arguments name; a usage error names those that are nearest."""
        name = args[0]
        if name in self.summaries or name.startswith("-") or ctx.resilient_parsing:
            return super().resolve_command(ctx, args)
        there = f"there are {', '.join(self.summaries)}"
        nearest = did_you_mean(name, self.summaries) or there
        raise click.UsageError(f"there is no command {name!r}; {nearest}", ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands' names."""
        return list(self.summaries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name; None where there is none."""
        if cmd_name not in self.summaries:
            return None
        command: click.Command = getattr(
            importlib.import_module(f"delaytool.cli.{cmd_name}"), cmd_name
        )
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what each command does."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self.summaries.items()))


def option(*names: str, heading: str, **kwargs: Any) -> Callable[[F], F]:
    """An option under a heading; everything else is click's."""
    return click.option(*names, cls=Option, heading=heading, **kwargs)


def stacked(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Several options as one decorator."""

    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


class Delays(click.ParamType):  # type: ignore[type-arg]
    """0,0,1,1 as a tuple of frames."""

    name = "LIST"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value; a usage error for what cannot be one."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(int(part) for part in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is not a list of integers like 0,0,1,1", param, ctx)


class Offset(click.ParamType):  # type: ignore[type-arg]
    """STREAM=N as a pair of the stream's name and a time; the recipe says what that is."""

    name = "STREAM=N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value; a usage error for what cannot be one."""
        if isinstance(value, tuple):
            return value
        stream, _, time = value.rpartition("=")
        if not stream or not time:
            self.fail(f"{value!r} is no offset like audio=16 or text=0.48s", param, ctx)
        return stream, time


class TurnTokens(click.ParamType):  # type: ignore[type-arg]
    """BOS,EOS as a pair of tokens."""

    name = "BOS,EOS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value; a usage error for what cannot be one."""
        if isinstance(value, tuple):
            return value
        try:
            bos, eos = (int(part) for part in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is no pair of tokens like 1,2", param, ctx)
        return bos, eos


class Steps(click.ParamType):  # type: ignore[type-arg]
    """A:B as a pair of timesteps; either may be left out."""

    name = "A:B"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value; a usage error for what cannot be one."""
        if isinstance(value, tuple):
            return value
        start, colon, stop = value.partition(":")
        try:
            first, last = int(start or 0), int(stop) if stop else None
        except ValueError:
            self.fail(f"{value!r} is not a range of timesteps like 0:20", param, ctx)
        if not colon or first < 0 or (last is not None and last <= first):
            self.fail(f"{value!r} is not a range of timesteps like 0:20", param, ctx)
        return first, last


def complete_presets(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The presets whose names begin like this."""
    from delaytool.recipes.presets import preset_names

    return [name for name in preset_names() if name.startswith(incomplete)]


def complete_columns(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The columns of the first shard that the command line names before the option."""
    named = [ctx.params.get(name) for name in ("input", "shard", "output")]
    # Click takes no arguments to be given before an option that still wants its value.
    path = next((path for path in (*named, *ctx.args) if path), None)
    if path is None:
        return []
    from delaytool.batches.fields import names_of_tokens
    from delaytool.shards import stores
    from delaytool.shards.find import find_shards
    from delaytool.shards.read import open_shard

    # Whatever is wrong with it, the command will tell; a half-typed line is no place to.
    with contextlib.suppress(Exception):
        shards = find_shards(stores.plain(path)).shards
        with open_shard(shards[0]) as first:
            fields = [part for field in first.schema for part in names_of_tokens(field)]
            names = (n for n in [*first.schema.names, *fields] if n == printable(n))
            return [name for name in names if name.startswith(incomplete)]
    return []


def complete_paths(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Files, by the shell's own means."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]


def path_argument(name: str, *, required: bool = True) -> Callable[[F], F]:
    """An argument that is a path or a URI."""
    return click.argument(
        name, metavar=name.upper(), required=required, shell_complete=complete_paths
    )


class FrameRate(click.FloatRange):
    """Frames a second: a number that hours can be divided by."""

    def __init__(self) -> None:
        super().__init__(0.001, 1_000_000)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse nan, too, which compares with nothing."""
        rate = super().convert(value, param, ctx)
        if math.isnan(rate):
            self.fail(f"{value!r} is not a number", param, ctx)
        return rate


def terminal_width() -> int | None:
    """Columns of help, None where click is to find out: what it imports for that takes longer."""
    if "COLUMNS" in os.environ:
        return None
    try:
        columns = os.get_terminal_size(sys.__stdout__.fileno()).columns  # type: ignore[union-attr]
    except (AttributeError, OSError, ValueError):
        columns = 80
    return max(min(columns, HELP_WIDTH) - 2, 50)
