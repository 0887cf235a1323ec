"""`delaytool align`"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from delaytool.cli.choices import Output, RunChoice, gather
from delaytool.cli.declare import (
    OUT,
    WHAT,
    WHERE,
    Command,
    FrameRate,
    TurnTokens,
    complete_columns,
    complete_paths,
    option,
    path_argument,
    stacked,
)
from delaytool.cli.options import (
    audio_input_option,
    audio_options,
    check_output,
    debug_option,
    json_option,
    key_options,
    output_options,
    quiet_option,
    worker_options,
)
from delaytool.cli.progress import progress_bar
from delaytool.cli.session import counted, note_teller, print_json, put, session, shown

if TYPE_CHECKING:
    from delaytool.api.given import Layout
    from delaytool.jobs.align_report import AlignResult


@dataclass(frozen=True)
class WordsChoice:
    """The options that say where words and frames are, and how the ones get to the others."""

    words_column: str
    tokenizer: str | None
    audio_column: tuple[str, ...]
    audio_layout: Layout
    audio_input: str | None
    frames_column: str | None
    key: str | None
    no_key: bool
    frame_rate: float
    text_column: str
    text_padding: int
    text_end_padding: int
    in_word_padding: int | None
    speaker: str | None
    all_speakers: bool
    turn_tokens: tuple[int, int] | None
    keep_words: bool
    audio_delay: float

    def keywords(self) -> dict[str, Any]:
        """All of it, as the library takes it; raises UsageError for what excludes one another."""
        if self.frames_column is not None:
            for name, is_given in (
                ("--audio-column", bool(self.audio_column)),
                ("--audio-layout", self.audio_layout != "auto"),
            ):
                if is_given:
                    raise click.UsageError(f"--frames-column and {name} exclude one another")
        if self.turn_tokens is not None and not self.all_speakers:
            raise click.UsageError("--turn-tokens goes with --all-speakers")
        given = dict(vars(self))
        if not self.audio_column:
            del given["audio_column"]
        return given


def _token(name: str, default: int | None, help: str) -> Any:
    return option(
        name,
        type=int,
        metavar="ID",
        default=default,
        show_default=default is not None,
        heading=WHAT,
        help=help,
    )


words_options = stacked(
    option(
        "--tokenizer",
        shell_complete=complete_paths,
        metavar="FILE",
        heading=WHAT,
        help="SentencePiece model that makes tokens of words, one word at a time; not needed where "
        "they are tokens.",
    ),
    option(
        "--frame-rate",
        type=FrameRate(),
        metavar="X",
        default=12.5,
        show_default=True,
        heading=WHAT,
        help="Frames a second.",
    ),
    _token("--text-padding", 3, "Token of frames without a token of a word (PAD)."),
    _token("--text-end-padding", 0, "Token of the last such frame before a token (EPAD)."),
    _token(
        "--in-word-padding",
        None,
        "Token of frames without a token up to the end of a word.  [default: as --text-padding]",
    ),
    option(
        "--speaker",
        metavar="NAME",
        heading=WHAT,
        help="The main speaker, whose words alone are kept.  [default: SPEAKER_MAIN, where "
        "speakers are named]",
    ),
    option(
        "--all-speakers", is_flag=True, heading=WHAT, help="Keep the other speakers' words too."
    ),
    option(
        "--turn-tokens",
        type=TurnTokens(),
        metavar="BOS,EOS",
        heading=WHAT,
        help="With --all-speakers: put BOS before the first word of each turn of the main speaker, "
        "EOS before that of another who follows.",
    ),
    option(
        "--keep-words",
        is_flag=True,
        heading=WHAT,
        help="A word waits until the one before has placed all its tokens, and does not cut what "
        "is left of them.",
    ),
    option(
        "--audio-delay",
        type=float,
        metavar="SECONDS",
        default=0.0,
        show_default=True,
        heading=WHAT,
        help="How much later the audio comes than the text (Kyutai TTS: 1.28); negative: how much "
        "later the text comes (Kyutai STT: -0.5 or -2.5), after zero tokens.",
    ),
    option(
        "--words-column",
        shell_complete=complete_columns,
        metavar="NAME",
        default="words",
        show_default=True,
        heading=WHERE,
        help="List of structs: word (or text), start and end in seconds, and speaker where there "
        "are several; or tokens in place of word; or a string with the JSON of moshi-finetune.",
    ),
    audio_options,
    audio_input_option(),
    option(
        "--frames-column",
        shell_complete=complete_columns,
        metavar="NAME",
        heading=WHERE,
        help="Column that holds the number of frames, where codes do not say it.",
    ),
    key_options,
    option(
        "--text-column",
        metavar="NAME",
        default="text_tokens",
        show_default=True,
        heading=OUT,
        help="The new column.",
    ),
)


@click.command(
    cls=Command,
    short_help="Make text tokens of words with times, one a frame.",
    examples=[
        "delaytool align words/ aligned/ --tokenizer tokenizer.model",
        "delaytool align words/ aligned/ --tokenizer tokenizer.model --audio-delay 1.28",
        "delaytool align transcripts/ aligned/ --tokenizer tokenizer.model --audio-input speech/ "
        "--key id",
    ],
)
@path_argument("input")
@path_argument("output", required=False)
@words_options
@worker_options
@output_options
@json_option
@quiet_option
@debug_option
@gather(words=WordsChoice, run=RunChoice, show=Output)
def align(
    input: str,
    output: str | None,
    words: WordsChoice,
    run: RunChoice,
    show: Output,
    dry_run: bool,
    overwrite: bool,
    quarantine: str | None,
) -> None:
    """Write every shard of INPUT to OUTPUT with a column of text tokens, one a frame.

    The tokens are those of words with times, placed exactly as the Interleaver of moshi-finetune
    places them; codes say how many frames a row has. A row without words gets padding, one whose
    words are null zero tokens. apply takes OUTPUT as any other shards. INPUT and OUTPUT are as of
    apply, and running the same command again goes on where it stopped.
    """
    check_output(output, dry_run)
    with session(show.debug), progress_bar(show.quiet) as progress:
        keywords = words.keywords()
        from delaytool.api.align import align as align_shards

        result = align_shards(
            input,
            output,
            **keywords,
            dry_run=dry_run,
            overwrite=overwrite,
            quarantine=quarantine,
            **run.keywords(),
            progress=progress,
            on_note=note_teller(),
        )
    if show.as_json:
        print_json(result.to_dict())
    elif not show.quiet:
        _print_summary(result, input if output is None else output, quarantine, dry_run)
    if result.bad:
        sys.exit(1)


def _print_summary(result: AlignResult, path: str, quarantine: str | None, is_dry: bool) -> None:
    what = "checked, and nothing written," if is_dry else "aligned"
    put(f"{shown(path)}: {what} in {result.seconds:.1f} s")
    put(*result.table(is_dry).split("\n"))
    for bad in result.bad:
        put(f"bad: {counted(bad.rows, 'row')} like this one: {bad.first}")
    if result.quarantined and quarantine is not None:
        put(f"{shown(quarantine)}: {counted(result.quarantined, 'bad row')}")
