"""Revert shards."""

from __future__ import annotations

import time
from collections.abc import Callable

from delaytool.api.given import Engine, Layout, Names, Path, key_of_rows, plain_or_none
from delaytool.batches.column_options import ColumnOptions, names_of
from delaytool.jobs.lossless import look_at
from delaytool.jobs.notes import Note, Notes
from delaytool.jobs.paths import items_of, plain_path
from delaytool.jobs.plan_revert import generated_job, revert_tasks
from delaytool.jobs.results import RevertResult, without_left_out
from delaytool.recipes.recipe import Recipe
from delaytool.run.engine import OnProgress, run_tasks
from delaytool.run.tasks import RunOptions
from delaytool.shards import tables
from delaytool.shards.commit import no_empty_folders


def revert(
    output: Path,
    restored: Path,
    *,
    recipe: Recipe | None = None,
    allow_lossy: bool = False,
    text_column: Names = "text_tokens",
    audio_column: Names = "audio_codes",
    grid_column: Names = (),
    audio_layout: Layout = "auto",
    key: str | None = None,
    no_key: bool = False,
    audio_output: Path | None = None,
    overwrite: bool = False,
    workers: int | None = None,
    engine: Engine = "local",
    ray_address: str | None = None,
    progress: OnProgress | None = None,
    on_note: Callable[[Note], None] | None = None,
) -> RevertResult:
    """Write the shards back that apply read.

    recipe: that of grids without an entry, for which the keywords of columns are, too
    """
    run = RunOptions(workers, engine, ray_address)
    names = names_of(text_column), names_of(audio_column), names_of(grid_column)
    where = ColumnOptions(*names, audio_layout=audio_layout, **key_of_rows(key, no_key))
    notes = Notes(on_note)
    target, codes = plain_path(restored, run.elsewhere), plain_or_none(audio_output, run)
    found = items_of(plain_path(output, run.elsewhere), target, names=("output", "restored"))
    notes.add(*found.notes)
    shards = [item.shard for item in found.items]
    job = None if recipe is None else generated_job(shards, recipe, where)
    look_at(shards, job, allow_lossy)
    if codes is not None:
        tables.check_output(codes)
    tasks = revert_tasks(found.items, target, codes, job, allow_lossy, overwrite)
    began = time.monotonic()
    with no_empty_folders(path for task in tasks for path in task.writes):
        everything = run_tasks(tasks, "reverting", run, progress)
    return RevertResult.of(without_left_out(everything, notes), began, notes.texts)
