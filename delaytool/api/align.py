"""Make text tokens of words, or check them as a dry run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from delaytool.api.given import (
    Engine,
    How,
    Layout,
    Names,
    Path,
    items_given,
    key_of_rows,
    plain_or_none,
)
from delaytool.batches.align_job import AlignJob
from delaytool.batches.column_options import ColumnOptions, names_of
from delaytool.errors import RecipeError
from delaytool.jobs.align import AlignShard, sha256_of
from delaytool.jobs.align_dry_run import CheckWords
from delaytool.jobs.align_report import AlignReport, AlignResult
from delaytool.jobs.notes import Note, Notes
from delaytool.jobs.plan_align import plan_align
from delaytool.jobs.results import without_left_out
from delaytool.pattern.interleave import Interleaving
from delaytool.recipes.checks import ZERO_TOKEN
from delaytool.run.engine import OnProgress, run_tasks
from delaytool.run.tasks import RunOptions
from delaytool.shards.commit import no_empty_folders


def align(
    input: Path,
    output: Path | None,
    *,
    words_column: str = "words",
    tokenizer: Path | None = None,
    audio_column: Names = "audio_codes",
    audio_layout: Layout = "auto",
    audio_input: Path | None = None,
    frames_column: str | None = None,
    key: str | None = None,
    no_key: bool = False,
    frame_rate: float = 12.5,
    text_column: str = "text_tokens",
    text_padding: int = 3,
    text_end_padding: int = 0,
    in_word_padding: int | None = None,
    speaker: str | None = None,
    all_speakers: bool = False,
    turn_tokens: tuple[int, int] | None = None,
    keep_words: bool = False,
    audio_delay: float = 0.0,
    dry_run: bool = False,
    overwrite: bool = False,
    quarantine: Path | None = None,
    workers: int | None = None,
    engine: Engine = "local",
    ray_address: str | None = None,
    progress: OnProgress | None = None,
    on_note: Callable[[Note], None] | None = None,
) -> AlignResult:
    """Write every shard of `input` to `output` with a column of text tokens, made of its words.

    tokenizer: path of a SentencePiece model, where the words are texts
    dry_run:   whether every row is read and checked, and nothing written; `output` may be None
    The keywords are called like the options; what decides the tokens is as of `Interleaving`.

    Raises RecipeError for what cannot be asked for, DataError for what is wrong with the data.
    """
    check_frames(frames_column, names_of(audio_column), audio_layout)
    ids = text_padding, text_end_padding, in_word_padding, ZERO_TOKEN
    who = speaker, all_speakers, turn_tokens
    how = Interleaving(frame_rate, *ids, *who, keep_words, audio_delay)
    where = ColumnOptions((), names_of(audio_column), (), audio_layout, **key_of_rows(key, no_key))
    run = How(RunOptions(workers, engine, ray_address), Notes(on_note), how.frame_rate, progress)
    model = plain_or_none(tokenizer, run.run)
    digest = None if model is None else sha256_of(model)
    asked = AlignJob(words_column, text_column, how, (), frames_column, digest)
    items = items_given((input, output, audio_input, quarantine), run, overwrite, dry_run)
    planned = plan_align(items.items, asked, where, overwrite)
    run.notes.add(*(Note(line, "column") for line in planned.columns), *map(Note, planned.notes))
    kind = CheckWords if dry_run else AlignShard
    tasks = [kind(item, planned.job, model, overwrite) for item in planned.items]
    return _run(run, tasks, items.left_out, dry_run)


def _run(how: How, tasks: Sequence[AlignShard], left_out: int, dry_run: bool) -> AlignResult:
    """Run the tasks, and report."""
    began, report = time.monotonic(), AlignReport(how.frame_rate or 12.5)
    work = "checking" if dry_run else "aligning"
    with no_empty_folders(path for task in tasks for path in task.writes):
        results = run_tasks(tasks, work, how.run, how.progress, report.add)
    results = without_left_out(results, how.notes, left_out)
    make = AlignResult.of_checks if dry_run else AlignResult.of
    return make(results, report, began, how.notes.texts)


def check_frames(frames_column: str | None, names: tuple[str, ...], layout: str) -> None:
    """Raise RecipeError where both codes and a column of numbers are to say the frames."""
    if frames_column is not None and (names, layout) != (("audio_codes",), "auto"):
        given = "audio_column" if layout == "auto" else "audio_layout"
        raise RecipeError(f"`frames_column` and `{given}` exclude one another; give one of them")
