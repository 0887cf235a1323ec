"""Shift shards, or check them as a dry run."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Literal

from delaytool.api.given import (
    Engine,
    How,
    Layout,
    Names,
    Path,
    check_audio_input,
    items_given,
    key_of_rows,
)
from delaytool.batches.column_options import ColumnOptions, names_of, numbers_of, windows_of
from delaytool.batches.job import Align
from delaytool.jobs.apply import ApplyShard
from delaytool.jobs.dry_run import CheckShard
from delaytool.jobs.notes import Note, Notes
from delaytool.jobs.paths import Items
from delaytool.jobs.plan import plan
from delaytool.jobs.report import Report
from delaytool.jobs.results import ApplyResult, counting, without_left_out
from delaytool.pattern.windows import WindowCut, WindowSplit
from delaytool.recipes.describe import describe
from delaytool.recipes.recipe import Recipe
from delaytool.run.engine import OnProgress, run_tasks
from delaytool.run.tasks import RunOptions
from delaytool.shards.commit import no_empty_folders


def apply(
    input: Path,
    output: Path | None,
    recipe: Recipe,
    *,
    text_column: Names = "text_tokens",
    audio_column: Names = "audio_codes",
    grid_column: Names = (),
    audio_layout: Layout = "auto",
    audio_input: Path | None = None,
    key: str | None = None,
    no_key: bool = False,
    align: Align = "error",
    align_limit: int | None = None,
    code_base: int | Sequence[int] = (),
    weight_column: str | None = None,
    output_layout: Literal["split", "grid"] | None = None,
    no_weights: bool = False,
    label_columns: bool = False,
    window: int | str | None = None,
    window_cut: WindowCut = "before",
    window_split: WindowSplit = "fixed",
    window_min: int | None = None,
    window_pad: bool = False,
    narrow: bool = False,
    drop_column: Names = (),
    dry_run: bool = False,
    overwrite: bool = False,
    quarantine: Path | None = None,
    frame_rate: float | None = None,
    workers: int | None = None,
    engine: Engine = "local",
    ray_address: str | None = None,
    progress: OnProgress | None = None,
    on_note: Callable[[Note], None] | None = None,
) -> ApplyResult:
    """Shift every shard of `input` by the recipe, add loss weights, and write them to `output`.

    A `dry_run` reads and checks every row and writes nothing; `output` may be None then.
    `frame_rate` goes before the recipe's, for times and the hours in the report.
    """
    recipe = recipe if frame_rate is None else dataclasses.replace(recipe, frame_rate=frame_rate)
    names = names_of(text_column), names_of(audio_column), names_of(grid_column), audio_layout
    where = ColumnOptions(
        *names,
        align=align,
        align_limit=align_limit,
        code_base=numbers_of(code_base),
        weight_column=weight_column,
        output_layout=output_layout,
        weights=not no_weights,
        label_columns=label_columns,
        windows=windows_of(recipe, window, window_cut, window_split, window_min, window_pad),
        narrow=narrow,
        drop_column=names_of(drop_column),
        **key_of_rows(key, no_key),
    )
    how = How(RunOptions(workers, engine, ray_address), Notes(on_note), frame_rate, progress)
    paths = input, output, check_audio_input(where, audio_input), quarantine
    return _run(how, recipe, where, items_given(paths, how, overwrite, dry_run), overwrite, dry_run)


def _run(
    how: How, recipe: Recipe, where: ColumnOptions, items: Items, overwrite: bool, dry_run: bool
) -> ApplyResult:
    """Plan, run and report."""
    planned = plan(items.items, recipe, where, overwrite)
    how.notes.add(Note(describe(recipe, "as given"), "recipe"))
    how.notes.add(*(Note(line, "column") for line in planned.columns), *map(Note, planned.notes))
    began, report = time.monotonic(), Report(how.frame_rate)
    keep = counting(report)
    if dry_run:
        checks = [CheckShard(item, planned.job) for item in planned.items]
        checked = run_tasks(checks, "checking", how.run, how.progress, keep)
        checked = without_left_out(checked, how.notes, items.left_out)
        result = ApplyResult.of_checks(checked, report, began, how.notes.texts)
    else:
        tasks = [ApplyShard(item, planned.job, overwrite) for item in planned.items]
        with no_empty_folders(path for task in tasks for path in task.writes):
            results = run_tasks(tasks, "shifting", how.run, how.progress, keep)
        results = without_left_out(results, how.notes, items.left_out)
        result = ApplyResult.of(results, report, began, how.notes.texts)
    return dataclasses.replace(result, dropped_columns=planned.job.drop_columns)
