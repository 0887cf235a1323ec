"""The commands as functions: plan, run, report.

Keywords are called like the commands' options. Nothing is printed, no signal handler is set, and no
process is started unless `workers` or `engine` says so: shards are taken one after the other in
this process. `progress` is called with a `RunProgress` as the run goes on, and `on_note` with each
`Note` as it comes up; a result holds all notes.

All raise RecipeError for what cannot be asked for, DataError for what is wrong with the data.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from delaytool.batches.column_options import ColumnOptions, names_of, numbers_of
from delaytool.batches.job import Align
from delaytool.errors import RecipeError
from delaytool.grids.grid import Grid
from delaytool.grids.read import read_grid as _read_grid
from delaytool.jobs.apply import ApplyShard
from delaytool.jobs.mixed import compare_with_first
from delaytool.jobs.notes import Note, Notes
from delaytool.jobs.paths import (
    as_found,
    find,
    items_of,
    not_in_quarantine,
    paired,
    plain_path,
    quarantines_of,
    shard_at,
    sources_of,
)
from delaytool.jobs.plan import plan
from delaytool.jobs.plan_revert import generated_job, revert_tasks
from delaytool.jobs.report import Report
from delaytool.jobs.results import (
    ApplyResult,
    RevertResult,
    StatsResult,
    VerifyResult,
    counting,
    without_left_out,
)
from delaytool.jobs.revert import look_at
from delaytool.jobs.stats import FooterOf, Reading, StatsOfShard, plan_stats
from delaytool.jobs.verify import VerifyShard
from delaytool.recipes.describe import describe
from delaytool.recipes.recipe import Recipe
from delaytool.run.engine import OnProgress, run_tasks
from delaytool.run.tasks import RunOptions
from delaytool.shards import stores, tables
from delaytool.shards.commit import no_empty_folders
from delaytool.shards.find import Shard

Path = str | os.PathLike[str]
Names = str | Sequence[str]
Layout = Literal["auto", "codebook", "frame", "flat-codebook", "flat-frame"]
Engine = Literal["local", "ray"]


def apply(
    input: Path,
    output: Path,
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

    frame_rate: frames a second, instead of the recipe's, for the hours in the report
    """
    names = names_of(text_column), names_of(audio_column), names_of(grid_column)
    where = ColumnOptions(
        *names,
        audio_layout=audio_layout,
        align=align,
        align_limit=align_limit,
        code_base=numbers_of(code_base),
        weight_column=weight_column,
        output_layout=output_layout,
        weights=not no_weights,
        label_columns=label_columns,
        **_key(key, no_key),
    )
    _check_audio_input(where, audio_input)
    if frame_rate is not None:
        recipe = dataclasses.replace(recipe, frame_rate=frame_rate)
    how = _How(RunOptions(workers, engine, ray_address), Notes(on_note), frame_rate, progress)
    return _apply(how, recipe, where, (input, output, audio_input, quarantine), overwrite)


@dataclass(frozen=True)
class _How:
    """How to run, and to report."""

    run: RunOptions
    notes: Notes
    frame_rate: float | None
    progress: OnProgress | None


def _apply(
    how: _How,
    recipe: Recipe,
    where: ColumnOptions,
    paths: tuple[Path, Path, Path | None, Path | None],
    overwrite: bool,
) -> ApplyResult:
    """Plan, run and report; the paths are of input, output, codes and quarantine."""
    source, target = (plain_path(path, how.run.elsewhere) for path in paths[:2])
    codes, bad = (_plain(path, how.run) for path in paths[2:])
    found = items_of(source, target, codes, bad)
    how.notes.add(*found.notes)
    items = as_found(found.items, target, bad) if overwrite else found.items
    planned = plan(items, recipe, where, overwrite)
    how.notes.add(Note(describe(recipe, "as given"), "recipe"))
    how.notes.add(*(Note(line, "column") for line in planned.columns), *map(Note, planned.notes))
    began, report = time.monotonic(), Report(how.frame_rate)
    tasks = [ApplyShard(item, planned.job, overwrite) for item in planned.items]
    with no_empty_folders(path for task in tasks for path in task.writes):
        results = run_tasks(tasks, "shifting", how.run, how.progress, counting(report))
    results = without_left_out(results, how.notes, found.left_out)
    return ApplyResult.of(results, report, began, how.notes.texts)


def verify(
    output: Path,
    *,
    source: Path | None = None,
    audio_input: Path | None = None,
    recipe: Recipe | None = None,
    quarantine: Path | None = None,
    frame_rate: float | None = None,
    workers: int | None = None,
    engine: Engine = "local",
    ray_address: str | None = None,
    progress: OnProgress | None = None,
    on_note: Callable[[Note], None] | None = None,
) -> VerifyResult:
    """Revert every shard of `output` and compare, with `source` where it is at hand.

    frame_rate: frames a second, for the hours in the report, instead of what the recipes say

    A mismatch is not raised: the result holds it.
    """
    run = RunOptions(workers, engine, ray_address)
    notes, report = Notes(on_note), Report(frame_rate)
    path, bad = plain_path(output, run.elsewhere), _plain(quarantine, run)
    sources = _plain(source, run), _plain(audio_input, run)
    found, how_found = find(path, "output")
    shards = not_in_quarantine(found, bad)
    originals = sources_of(shards, path, *sources)
    notes.add(*how_found, *originals.notes)
    places: dict[str, str] = {}
    mismatches = list(originals.mismatches)
    if bad is not None:
        places, strays = quarantines_of(shards, path, bad, *sources)
        mismatches += strays
    tasks = [
        VerifyShard(*triple, recipe, places.get(triple[0].name)) for triple in originals.triples
    ]
    everything = run_tasks(tasks, "verifying", run, progress, counting(report))
    mixed = compare_with_first([task.shard for task in tasks], everything)
    results = without_left_out(everything, notes, originals.left_out)
    notes.by_order(results)
    return VerifyResult.of(results, mismatches, mixed, report, notes.texts)


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
    where = ColumnOptions(*names, audio_layout=audio_layout, **_key(key, no_key))
    notes = Notes(on_note)
    target, codes = plain_path(restored, run.elsewhere), _plain(audio_output, run)
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


def stats(
    input: Path,
    *,
    recipe: Recipe | None = None,
    text_padding: int | None = None,
    text_end_padding: int | None = None,
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
    frame_rate: float | None = None,
    workers: int | None = None,
    engine: Engine = "local",
    ray_address: str | None = None,
    progress: OnProgress | None = None,
    on_note: Callable[[Note], None] | None = None,
) -> StatsResult:
    """Tell what is in the shards of `input`: rows, hours, tokens, padding, weights.

    recipe:     whose streams original shards hold; None for as many as there are, of any vocabulary
    frame_rate: frames a second, instead of what the recipes say
    """
    names = names_of(text_column), names_of(audio_column), names_of(grid_column)
    where = ColumnOptions(
        *names,
        audio_layout=audio_layout,
        align=align,
        align_limit=align_limit,
        code_base=numbers_of(code_base),
        **_key(key, no_key),
    )
    _check_audio_input(where, audio_input)
    how = _How(RunOptions(workers, engine, ray_address), Notes(on_note), frame_rate, progress)
    reading = Reading(where, recipe, text_padding, text_end_padding)
    return _stats(how, input, audio_input, reading)


def _stats(how: _How, input: Path, audio_input: Path | None, reading: Reading) -> StatsResult:
    """Look at all footers, read original shards, and report."""
    notes, report = how.notes, Report(how.frame_rate)
    path, codes = plain_path(input, how.run.elsewhere), _plain(audio_input, how.run)
    shards, how_found = find(path, "input")
    notes.add(*how_found)
    # A thousand footers take less time than workers take to start.
    here = how.run if stores.is_remote(path) else RunOptions()
    footers = [FooterOf(shard) for shard in shards]
    looks = run_tasks(footers, "footers", here, how.progress, counting(report))
    if not all(look.left_out for look in looks):
        looks = without_left_out(looks, notes)
    kept = {look.name: look.shifted for look in looks}
    originals = [shard for shard in shards if not kept.get(shard.name, True)]
    pairs = _pairs(originals, codes, notes)
    if pairs:
        planned = plan_stats(pairs, reading)
        tasks = [StatsOfShard(*pair, reading, planned) for pair in pairs]
        notes.by_order(run_tasks(tasks, "reading", how.run, how.progress, counting(report)))
    shifted, counts = sum(kept.values()), report.counts
    return StatsResult(
        shards=shifted + len(pairs),
        shifted=shifted,
        original=len(pairs),
        rows=counts.rows_out,
        frames=counts.frames,
        tokens=counts.tokens,
        quarantined=counts.quarantined,
        report=report,
        notes=notes.texts,
    )


def read_grid(
    shard: Path,
    *,
    row: int = 0,
    id: str | None = None,
    before: bool = False,
    after: bool = False,
    recipe: Recipe | None = None,
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
) -> Grid:
    """One row of a shifted or an original shard as a grid, which a notebook shows as a table.

    id:            the row with this key, instead of `row`
    before, after: the row before the shift or after it, instead of as it is in the shard
    recipe:        the streams of an original shard; None for as many as there are, or for Moshi's
                   where the shift is to be shown
    """
    if before and after:
        raise RecipeError("`before` and `after` exclude one another; give one of them")
    names = names_of(text_column), names_of(audio_column), names_of(grid_column)
    where = ColumnOptions(
        *names,
        audio_layout=audio_layout,
        align=align,
        align_limit=align_limit,
        code_base=numbers_of(code_base),
        weight_column=weight_column,
        **_key(key, no_key),
    )
    _check_audio_input(where, audio_input)
    codes = None if audio_input is None else shard_at(plain_path(audio_input))
    return _read_grid(
        shard_at(plain_path(shard)),
        where,
        codes=codes,
        row=row,
        key=id,
        recipe=recipe,
        shifted=after if before or after else None,
    )


def _key(key: str | None, no_key: bool) -> dict[str, Any]:
    """What names rows; raises RecipeError for what excludes one another."""
    if key is not None and no_key:
        raise RecipeError("`key` and `no_key` exclude one another; give one of them")
    return {"key": key, "by_order": no_key}


def _check_audio_input(where: ColumnOptions, audio_input: Path | None) -> None:
    if where.grid_column and audio_input is not None:
        raise RecipeError("`grid_column` and `audio_input` exclude one another")


def _plain(path: Path | None, run: RunOptions) -> str | None:
    return None if path is None else plain_path(path, run.elsewhere)


def _pairs(
    originals: list[Shard], codes: str | None, notes: Notes
) -> list[tuple[Shard, Shard | None]]:
    """Original shards with those of their codes, if they are in shards of their own."""
    if codes is None:
        return [(shard, None) for shard in originals]
    if not originals:
        raise RecipeError("`audio_input` is for original shards; there are none")
    others, how_found = find(codes, "audio_input")
    notes.add(*how_found)
    pairs = paired(originals, others)
    notes.add(*pairs.notes)
    return [(shard, pairs.codes.get(shard.name)) for shard in pairs.shards]
