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
from typing import Literal

from delaytool.batches.column_options import ColumnOptions, names_of
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
    run = RunOptions(workers, engine, ray_address)
    where = _columns(text_column, audio_column, grid_column, audio_layout, key, no_key)
    where = dataclasses.replace(
        where,
        align=align,
        weight_column=weight_column,
        output_layout=output_layout,
        weights=not no_weights,
        label_columns=label_columns,
    )
    _check_audio_input(where, audio_input)
    notes, report = Notes(on_note), Report(frame_rate)
    target, bad = plain_path(output, run.elsewhere), _plain(quarantine, run)
    source, codes = plain_path(input, run.elsewhere), _plain(audio_input, run)
    found = items_of(source, target, codes, bad)
    notes.add(*found.notes)
    items = as_found(found.items, target, bad) if overwrite else found.items
    if frame_rate is not None:
        recipe = dataclasses.replace(recipe, frame_rate=frame_rate)
    planned = plan(items, recipe, where, overwrite)
    notes.add(Note(describe(recipe, "as given"), "recipe"))
    notes.add(*(Note(line, "column") for line in planned.columns), *map(Note, planned.notes))
    began = time.monotonic()
    tasks = [ApplyShard(item, planned.job, overwrite) for item in planned.items]
    with no_empty_folders(path for task in tasks for path in task.writes):
        results = run_tasks(tasks, "shifting", run, progress, counting(report))
    results = without_left_out(results, notes, found.left_out)
    return ApplyResult.of(results, report, began, notes.texts)


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
    where = _columns(text_column, audio_column, grid_column, audio_layout, key, no_key)
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
    run = RunOptions(workers, engine, ray_address)
    where = _columns(text_column, audio_column, grid_column, audio_layout, key, no_key)
    _check_audio_input(where, audio_input)
    how = Reading(dataclasses.replace(where, align=align), recipe, text_padding, text_end_padding)
    notes, report = Notes(on_note), Report(frame_rate)
    path, codes = plain_path(input, run.elsewhere), _plain(audio_input, run)
    shards, how_found = find(path, "input")
    notes.add(*how_found)
    # A thousand footers take less time than workers take to start.
    here = run if stores.is_remote(path) else RunOptions()
    footers = [FooterOf(shard) for shard in shards]
    looks = run_tasks(footers, "footers", here, progress, counting(report))
    if not all(look.left_out for look in looks):
        looks = without_left_out(looks, notes)
    kept = {look.name: look.shifted for look in looks}
    originals = [shard for shard in shards if not kept.get(shard.name, True)]
    pairs = _pairs(originals, codes, notes)
    if pairs:
        planned = plan_stats(pairs, how)
        tasks = [StatsOfShard(*pair, how, planned) for pair in pairs]
        notes.by_order(run_tasks(tasks, "reading", run, progress, counting(report)))
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
    where = _columns(text_column, audio_column, grid_column, audio_layout, key, no_key)
    _check_audio_input(where, audio_input)
    codes = None if audio_input is None else _one_shard(audio_input)
    return _read_grid(
        _one_shard(shard),
        dataclasses.replace(where, align=align, weight_column=weight_column),
        codes=codes,
        row=row,
        key=id,
        recipe=recipe,
        shifted=after if before or after else None,
    )


def _columns(
    text: Names, audio: Names, grid: Names, layout: Layout, key: str | None, no_key: bool
) -> ColumnOptions:
    """Where the tokens are; raises RecipeError for what excludes one another."""
    if key is not None and no_key:
        raise RecipeError("`key` and `no_key` exclude one another; give one of them")
    names = names_of(text), names_of(audio), names_of(grid)
    return ColumnOptions(*names, audio_layout=layout, key=key, by_order=no_key)


def _check_audio_input(where: ColumnOptions, audio_input: Path | None) -> None:
    if where.grid_column and audio_input is not None:
        raise RecipeError("`grid_column` and `audio_input` exclude one another")


def _plain(path: Path | None, run: RunOptions) -> str | None:
    return None if path is None else plain_path(path, run.elsewhere)


def _one_shard(path: Path) -> Shard:
    plain = plain_path(path)
    if stores.kind_of(plain) != "file":
        raise RecipeError(f"{stores.shown(plain)} is not a file")
    return Shard(stores.base_name(plain), plain)


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
