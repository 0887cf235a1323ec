"""Verify shards."""

from __future__ import annotations

from collections.abc import Callable

from delaytool.api.given import Engine, Path, plain_or_none
from delaytool.jobs.mixed import compare_with_first
from delaytool.jobs.notes import Note, Notes
from delaytool.jobs.paths import find, not_in_quarantine, plain_path, quarantines_of, sources_of
from delaytool.jobs.report import Report
from delaytool.jobs.results import VerifyResult, counting, without_left_out
from delaytool.jobs.verify import VerifyShard
from delaytool.recipes.recipe import Recipe
from delaytool.run.engine import OnProgress, run_tasks
from delaytool.run.tasks import RunOptions


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
    path, bad = plain_path(output, run.elsewhere), plain_or_none(quarantine, run)
    sources = plain_or_none(source, run), plain_or_none(audio_input, run)
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
