"""`delaytool align` as a function: plan, run, report, as `delaytool.api` does it for the others."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Literal

from delaytool.batches.align_job import AlignJob
from delaytool.batches.column_options import ColumnOptions, names_of
from delaytool.errors import RecipeError
from delaytool.jobs.align import AlignShard, sha256_of
from delaytool.jobs.align_report import AlignReport, AlignResult
from delaytool.jobs.notes import Note, Notes
from delaytool.jobs.paths import Item, as_found, items_of, plain_path
from delaytool.jobs.plan_align import plan_align
from delaytool.jobs.results import without_left_out
from delaytool.pattern.interleave import Interleaving
from delaytool.recipes.checks import ZERO_TOKEN
from delaytool.run.engine import OnProgress, run_tasks
from delaytool.run.tasks import RunOptions
from delaytool.shards.commit import no_empty_folders

Path = str | os.PathLike[str]


def align(
    input: Path,
    output: Path,
    *,
    words_column: str = "words",
    tokenizer: Path | None = None,
    audio_column: str | Sequence[str] = "audio_codes",
    audio_layout: Literal["auto", "codebook", "frame", "flat-codebook", "flat-frame"] = "auto",
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
    overwrite: bool = False,
    quarantine: Path | None = None,
    workers: int | None = None,
    engine: Literal["local", "ray"] = "local",
    ray_address: str | None = None,
    progress: OnProgress | None = None,
    on_note: Callable[[Note], None] | None = None,
) -> AlignResult:
    """Write every shard of `input` to `output` with a column of text tokens, made of its words.

    tokenizer: path of a SentencePiece model, where the words are texts
    The keywords are called like the options; what decides the tokens is as of `Interleaving`.

    Raises RecipeError for what cannot be asked for, DataError for what is wrong with the data.
    """
    _check(frames_column, names_of(audio_column), audio_layout)
    if key is not None and no_key:
        raise RecipeError("`key` and `no_key` exclude one another; give one of them")
    ids = text_padding, text_end_padding, in_word_padding, ZERO_TOKEN
    who = speaker, all_speakers, turn_tokens
    how = Interleaving(frame_rate, *ids, *who, keep_words, audio_delay)
    run = RunOptions(workers, engine, ray_address)
    model = None if tokenizer is None else plain_path(tokenizer, run.elsewhere)
    digest = None if model is None else sha256_of(model)
    asked = AlignJob(words_column, text_column, how, (), frames_column, digest)
    where = ColumnOptions((), names_of(audio_column), (), audio_layout, key=key, by_order=no_key)
    notes = Notes(on_note)
    items, left_out = _items((input, output, audio_input, quarantine), run, overwrite, notes)
    planned = plan_align(items, asked, where, overwrite)
    notes.add(*(Note(line, "column") for line in planned.columns), *map(Note, planned.notes))
    began, report = time.monotonic(), AlignReport(how.frame_rate)
    tasks = [AlignShard(item, planned.job, model, overwrite) for item in planned.items]
    with no_empty_folders(path for task in tasks for path in task.writes):
        results = run_tasks(tasks, "aligning", run, progress, report.add)
    results = without_left_out(results, notes, left_out)
    return AlignResult.of(results, report, began, notes.texts)


def _items(
    paths: tuple[Path, Path, Path | None, Path | None],
    run: RunOptions,
    overwrite: bool,
    notes: Notes,
) -> tuple[list[Item], int]:
    """Each shard and where it goes, and how many of quarantined rows are left out.

    paths: of input, output, audio_input and quarantine
    """
    source, target = (plain_path(path, run.elsewhere) for path in paths[:2])
    codes, bad = (None if x is None else plain_path(x, run.elsewhere) for x in paths[2:])
    found = items_of(source, target, codes, bad)
    notes.add(*found.notes)
    items = as_found(found.items, target, bad) if overwrite else found.items
    return items, found.left_out


def _check(frames_column: str | None, names: tuple[str, ...], layout: str) -> None:
    """Raise RecipeError where both codes and a column of numbers are to say the frames."""
    if frames_column is not None and (names, layout) != (("audio_codes",), "auto"):
        given = "audio_column" if layout == "auto" else "audio_layout"
        raise RecipeError(f"`frames_column` and `{given}` exclude one another; give one of them")
