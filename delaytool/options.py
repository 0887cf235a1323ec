"""What commands have in common: options, how they are read and completed, and how help shows them.

Options stand under four headings, and a command's help ends with examples.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

F = TypeVar("F", bound=Callable[..., Any])

HELP_WIDTH = 100
WHAT, WHERE, OUT, RUN = (
    "What to do",
    "Where the tokens are",
    "What comes out",
    "How to run",
)


class Option(click.Option):
    """An option that knows which heading of the help it stands under."""

    def __init__(self, *args: Any, heading: str = RUN, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.heading = heading

    def get_help_extra(self, ctx: click.Context) -> Any:
        """What stands in brackets behind the help."""
        # "[x>=1]" tells a newcomer nothing that the error for 0 does not.
        extra = super().get_help_extra(ctx)
        extra.pop("range", None)
        return extra


class Command(click.Command):
    """A command whose help shows its options under headings and ends with examples."""

    def __init__(self, *args: Any, examples: list[str] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples or []

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, heading by heading."""
        headings: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            line = parameter.get_help_record(ctx)
            if line is not None and isinstance(parameter, click.Option):
                headings.setdefault(getattr(parameter, "heading", RUN), []).append(line)
        for heading in (WHAT, WHERE, OUT, RUN):
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
    """Commands in the order in which people need them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands' names."""
        return list(self.commands)


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
    from delaytool.presets import preset_names

    return [name for name in preset_names() if name.startswith(incomplete)]


def complete_columns(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The columns of the first shard that the command line names before the option."""
    named = [ctx.params.get(name) for name in ("input", "shard", "output")]
    # Click takes no arguments to be given before an option that still wants its value.
    path = next((path for path in (*named, *ctx.args) if path), None)
    if path is None:
        return []
    from delaytool import stores
    from delaytool.shards import find_shards, open_shard

    # Whatever is wrong with it, the command will tell; a half-typed line is no place to.
    with contextlib.suppress(Exception):
        shards = find_shards(stores.plain(path)).shards
        with open_shard(shards[0]) as first:
            return [name for name in first.schema.names if name.startswith(incomplete)]
    return []


def complete_paths(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Files, by the shell's own means."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]


def path_argument(name: str) -> Callable[[F], F]:
    """An argument that is a path or a URI."""
    return click.argument(name, metavar=name.upper(), shell_complete=complete_paths)


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


debug_option = option("--debug", is_flag=True, heading=RUN, help="Show tracebacks.")
quiet_option = option("--quiet", is_flag=True, heading=RUN, help="Show no progress.")
json_option = option(
    "--json", "as_json", is_flag=True, heading=RUN, help="Print a summary as JSON."
)


def frame_rate_option(
    heading: str = RUN, help: str = "Frames a second, for the hours of audio in the report."
) -> Callable[[F], F]:
    """The option --frame-rate, with its heading and help."""
    return option(
        "--frame-rate",
        type=FrameRate(),
        metavar="X",
        default=12.5,
        show_default=True,
        heading=heading,
        help=help,
    )


worker_options = stacked(
    option(
        "--workers",
        type=click.IntRange(1, 4096),
        metavar="N",
        heading=RUN,
        help="Shards at once, each in a process of its own.  [default: cores]",
    ),
    option(
        "--engine",
        type=click.Choice(["local", "ray"]),
        default="local",
        show_default=True,
        heading=RUN,
        help="Where to run: this machine, or a Ray cluster.",
    ),
    option(
        "--ray-address",
        metavar="ADDRESS",
        heading=RUN,
        help="auto, local or ray://HOST:PORT.  [default: RAY_ADDRESS, else local]",
    ),
)


def recipe_options(preset: str, recipe: str = "The same, as JSON.") -> Callable[[F], F]:
    """The options --preset and --recipe, with their help."""
    return stacked(
        option(
            "--preset",
            shell_complete=complete_presets,
            metavar="NAME",
            heading=WHAT,
            help=preset,
        ),
        option(
            "--recipe",
            "recipe_file",
            type=click.Path(exists=True, dir_okay=False),
            metavar="FILE",
            heading=WHAT,
            help=recipe,
        ),
    )


def _one_of_key_and_no_key(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    # Whichever is read last finds the other one.
    if value and ctx.params.get("no_key" if param.name == "key" else "key"):
        raise click.UsageError("--key and --no-key exclude one another; give one of them")
    return value


key_options = stacked(
    option(
        "--key",
        callback=_one_of_key_and_no_key,
        shell_complete=complete_columns,
        metavar="COLUMN",
        heading=WHERE,
        help="Column that names a row, in messages and to match paired rows: then both shards must "
        "have it.  [default: id, where there is one]",
    ),
    option(
        "--no-key",
        callback=_one_of_key_and_no_key,
        is_flag=True,
        heading=WHERE,
        help="No column names a row: paired rows are matched by their order.",
    ),
)
column_options = stacked(
    option(
        "--text-column",
        shell_complete=complete_columns,
        metavar="NAME",
        default="text_tokens",
        show_default=True,
        heading=WHERE,
        help="List of T text tokens.",
    ),
    option(
        "--audio-column",
        shell_complete=complete_columns,
        metavar="NAME",
        multiple=True,
        heading=WHERE,
        help="Codes; repeat it to stack several, or 'codes_{q}' for a column per codebook.  "
        "[default: audio_codes]",
    ),
    option(
        "--audio-layout",
        type=click.Choice(["auto", "codebook", "frame", "flat-codebook", "flat-frame"]),
        metavar="LAYOUT",
        default="auto",
        show_default=True,
        heading=WHERE,
        help="codebook [n_q][T], frame [T][n_q], one list as flat-codebook or flat-frame, or auto: "
        "from the types and the first row that only one of them fits.",
    ),
    option(
        "--grid-column",
        shell_complete=complete_columns,
        metavar="NAME",
        multiple=True,
        heading=WHERE,
        help="Text and codes in one [K][T] column; repeat and slice it to stack: A, then 'B[1:]'.",
    ),
)
align_option = option(
    "--align",
    type=click.Choice(["error", "pad", "trim"]),
    default="error",
    show_default=True,
    heading=WHERE,
    help="Text shorter or longer than the audio: refuse, pad with the recipe's text padding, or "
    "cut.",
)
factor_option = option(
    "--weight-column",
    shell_complete=complete_columns,
    metavar="NAME",
    heading=WHERE,
    help="A [T] or [K][T] column of factors on the loss weights, shifted along.",
)


def audio_input_option(
    help: str = "Codes are in shards of their own, matched to INPUT's by relative path.",
) -> Callable[[F], F]:
    """The option --audio-input, with its help."""
    return option(
        "--audio-input", shell_complete=complete_paths, metavar="PATH", heading=WHERE, help=help
    )


def _number(name: str, help: str, low: int | None = None) -> Callable[[F], F]:
    return option(
        name,
        type=int if low is None else click.IntRange(low),
        metavar="N" if low is not None else "ID",
        heading=WHAT,
        help=help,
    )


def _weight(name: str, help: str) -> Callable[[F], F]:
    return option(name, type=float, metavar="X", heading=WHAT, help=help)


pattern_options = stacked(
    recipe_options("A recipe by name.  [default: moshi]", "A recipe as JSON."),
    option(
        "--model-config",
        type=click.Path(exists=True, dir_okay=False),
        metavar="FILE",
        heading=WHAT,
        help="Take streams, delays and tokens from a model's config.json (Moshi, Dia, MusicGen, "
        "Higgs).",
    ),
    _number("--n-q", "Audio streams: the first N of the recipe's.  [default: the recipe's]", 1),
    option(
        "--delays",
        type=Delays(),
        metavar="LIST",
        heading=WHAT,
        help="Frames per stream, text first, as 0,0,1,1; one number: text 0, every audio stream "
        "that.  [default: the recipe's]",
    ),
    _number("--acoustic-delay", "Delay of the acoustic streams only.  [default: the recipe's]", 0),
    option(
        "--length",
        type=click.Choice(["extend", "truncate"]),
        heading=WHAT,
        help="Keep all tokens, or the original length.  [default: the recipe's]",
    ),
    option(
        "--initial-step/--no-initial-step",
        default=None,
        heading=WHAT,
        help="A column of initial tokens in front.  [default: the recipe's]",
    ),
    option(
        "--final-step/--no-final-step",
        default=None,
        heading=WHAT,
        help="A cell behind every stream at the end.  [default: the recipe's]",
    ),
    _number(
        "--text-card",
        "Vocabulary size of the text; an initial token that equalled it moves along.  "
        "[default: the recipe's]",
        1,
    ),
    _number(
        "--card",
        "Vocabulary size of each codebook; initial and padding tokens that equalled it "
        "move along.  [default: the recipe's]",
        1,
    ),
    _number("--text-initial", "Token of the cells before the text.  [default: the recipe's]"),
    _number(
        "--text-padding",
        "Token of the cells behind the text; counts as padding in the loss, and without "
        "--text-end-padding only it does.  [default: the recipe's]",
    ),
    _number(
        "--text-end-padding",
        "Token that counts as padding in the loss too.  [default: the recipe's]",
    ),
    _number(
        "--audio-initial", "Token of the cells before each audio stream.  [default: the recipe's]"
    ),
    _number(
        "--audio-padding", "Token of the cells behind each audio stream.  [default: the recipe's]"
    ),
    _weight(
        "--text-padding-weight", "Factor on the loss of text padding.  [default: the recipe's]"
    ),
    _weight("--semantic-weight", "Loss weight of semantic tokens.  [default: the recipe's]"),
    _weight("--acoustic-weight", "Loss weight of acoustic tokens.  [default: the recipe's]"),
    _weight(
        "--final-weight",
        "Loss weight of the first cell behind each stream.  [default: the recipe's]",
    ),
    _number("--dep-q", "Only the first N audio streams carry loss.  [default: the recipe's]", 0),
    option("--no-text", is_flag=True, heading=WHAT, help="There is no text stream."),
)


padding_options = stacked(
    _number(
        "--text-padding",
        "Token of original shards that counts as padding, and without --text-end-padding the only "
        "one.  [default: the recipe's]",
    ),
    _number("--text-end-padding", "Token that counts as padding too.  [default: the recipe's]"),
)


def terminal_width() -> int | None:
    """Columns of help, None where click is to find out: what it imports for that takes longer."""
    if "COLUMNS" in os.environ:
        return None
    try:
        columns = os.get_terminal_size(sys.__stdout__.fileno()).columns  # type: ignore[union-attr]
    except (AttributeError, OSError, ValueError):
        columns = 80
    return max(min(columns, HELP_WIDTH) - 2, 50)
