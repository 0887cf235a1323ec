"""What commands have in common: options, how they are read and completed, and how help shows them.

Options stand under four headings, and a command's help ends with examples.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from delaytool.cli.declare import (
    RUN,
    WHAT,
    WHERE,
    Delays,
    F,
    FrameRate,
    Offset,
    complete_columns,
    complete_paths,
    complete_presets,
    option,
    stacked,
)

debug_option = option("--debug", is_flag=True, heading=RUN, help="Show tracebacks.")
quiet_option = option(
    "--quiet",
    "-q",
    is_flag=True,
    heading=RUN,
    help="Print nothing but errors and, with --json, JSON.",
)
json_option = option(
    "--json", "as_json", is_flag=True, heading=RUN, help="Print a summary as JSON."
)


def frame_rate_option(
    heading: str = RUN,
    help: str = "Frames a second, for the hours of audio in the report.  [default: the recipe's]",
) -> Callable[[F], F]:
    """The option --frame-rate, with its heading and help."""
    return option(
        "--frame-rate",
        type=FrameRate(),
        metavar="X",
        heading=heading,
        help=help,
    )


worker_options = stacked(
    option(
        "--workers",
        type=click.IntRange(1, 4096),
        metavar="N",
        heading=RUN,
        help="Shards at once, each in a separate process.  [default: cores]",
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

output_options = stacked(
    option(
        "--dry-run",
        is_flag=True,
        heading=RUN,
        help="Read and check every row, print the report and what is bad, and write nothing; "
        "OUTPUT may be left out. Exit status 1 if anything is bad.",
    ),
    option(
        "--overwrite",
        is_flag=True,
        heading=RUN,
        help="Replace outputs made otherwise or from another source.",
    ),
    option(
        "--quarantine",
        shell_complete=complete_paths,
        metavar="DIR",
        heading=RUN,
        help="Put bad rows there, with a column reason, and go on.  [default: stop at the first]",
    ),
)


def check_output(output: str | None, dry_run: bool) -> None:
    """Raise UsageError where there is no OUTPUT to write to."""
    if output is None and not dry_run:
        raise click.UsageError("Missing argument 'OUTPUT', which only --dry-run can do without.")


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
audio_options = stacked(
    option(
        "--audio-column",
        shell_complete=complete_columns,
        metavar="NAME",
        multiple=True,
        heading=WHERE,
        help="Codes; repeat it to stack several, 'codes_{q}' for a column per codebook, "
        "codes.tokens for a field of a struct.  [default: audio_codes]",
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
)
column_options = stacked(
    option(
        "--text-column",
        shell_complete=complete_columns,
        metavar="NAME",
        multiple=True,
        heading=WHERE,
        help="List of T text tokens; repeat it for several text streams.  [default: text_tokens]",
    ),
    audio_options,
    option(
        "--grid-column",
        shell_complete=complete_columns,
        metavar="NAME",
        multiple=True,
        heading=WHERE,
        help="Text and codes in one [K][T] column; repeat and slice it to stack: A, then 'B[1:]'.",
    ),
)
_align_option = option(
    "--align",
    type=click.Choice(["error", "pad", "trim", "fit"]),
    default="error",
    show_default=True,
    heading=WHERE,
    help="Text shorter or longer than the audio: refuse, pad with the recipe's text padding, cut, "
    "or whichever of the two is needed.",
)
_align_limit_option = option(
    "--align-limit",
    type=click.IntRange(min=0),
    metavar="N",
    heading=WHERE,
    help="A row of which text and audio differ by more than N frames is bad.  [default: none is]",
)
_code_base_option = option(
    "--code-base",
    type=Delays(),
    metavar="LIST",
    heading=WHERE,
    help="Codes of a shared vocabulary: what was added to each codebook's, as 0,1024,2048; one "
    "number N: q times N. It is taken off, and put back by revert.",
)
align_option = stacked(_code_base_option, _align_option, _align_limit_option)
factor_option = option(
    "--weight-column",
    shell_complete=complete_columns,
    metavar="NAME",
    heading=WHERE,
    help="A [T] or [K][T] column of factors on the loss weights, shifted along.",
)


def audio_input_option(
    help: str = "Codes are in separate shards, matched to INPUT's by relative path.",
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
        help="Take streams, delays and tokens from a model's config.json (Moshi and "
        "its kin, Dia, MusicGen, Parler-TTS, Higgs, MOSS).",
    ),
    _number("--n-q", "Audio streams: the first N of the recipe's.  [default: the recipe's]", 1),
    option(
        "--delays",
        type=Delays(),
        metavar="LIST",
        heading=WHAT,
        help="Frames per stream, in their order, as 0,0,1,1; one number: text 0, every audio "
        "stream that.  [default: the recipe's]",
    ),
    _number("--acoustic-delay", "Delay of the acoustic streams only.  [default: the recipe's]", 0),
    option(
        "--offset",
        type=Offset(),
        metavar="STREAM=N",
        multiple=True,
        heading=WHAT,
        help="Frames, or seconds as 1.28s, by which a stream's content comes later, or earlier "
        "where below 0; STREAM is a name, else text or audio for all of the kind; repeat it.  "
        "[default: the recipe's]",
    ),
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
        help="A trailing cell for every stream.  [default: the recipe's]",
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
        "Token of the text's trailing cells; counts as padding in the loss, and without "
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
        "--audio-padding",
        "Token of the trailing cells of each audio stream.  [default: the recipe's]",
    ),
    _weight(
        "--text-padding-weight", "Factor on the loss of text padding.  [default: the recipe's]"
    ),
    _weight("--semantic-weight", "Loss weight of semantic tokens.  [default: the recipe's]"),
    _weight("--acoustic-weight", "Loss weight of acoustic tokens.  [default: the recipe's]"),
    _weight(
        "--final-weight",
        "Loss weight of the first trailing cell of each stream.  [default: the recipe's]",
    ),
    _number("--dep-q", "Only the first N audio streams carry loss.  [default: the recipe's]", 0),
    option("--no-text", is_flag=True, heading=WHAT, help="There is no text stream."),
    frame_rate_option(
        WHAT, "Frames a second, for times and for the hours in the report.  [default: the recipe's]"
    ),
)
padding_options = stacked(
    _number(
        "--text-padding",
        "Token of original shards that counts as padding, and without --text-end-padding the only "
        "one.  [default: the recipe's]",
    ),
    _number("--text-end-padding", "Token that counts as padding too.  [default: the recipe's]"),
)
