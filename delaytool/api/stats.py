"""Tell what is in shards."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from operator import itemgetter

from delaytool.api.given import (
    Engine,
    How,
    Layout,
    Names,
    Path,
    check_audio_input,
    key_of_rows,
    plain_or_none,
)
from delaytool.batches.column_options import ColumnOptions, names_of, numbers_of
from delaytool.batches.job import Align
from delaytool.errors import RecipeError
from delaytool.jobs.card import Contents
from delaytool.jobs.notes import Note, Notes
from delaytool.jobs.paths import find, paired, plain_path
from delaytool.jobs.report import Report
from delaytool.jobs.results import StatsResult, counting, without_left_out
from delaytool.jobs.stats import FooterOf, Reading, Stats, StatsOfShard, plan_stats
from delaytool.recipes.recipe import Recipe
from delaytool.run.engine import OnProgress, run_tasks
from delaytool.run.tasks import RunOptions
from delaytool.shards import stores
from delaytool.shards.find import Shard


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
        **key_of_rows(key, no_key),
    )
    check_audio_input(where, audio_input)
    how = How(RunOptions(workers, engine, ray_address), Notes(on_note), frame_rate, progress)
    reading = Reading(where, recipe, text_padding, text_end_padding)
    return _stats(how, input, audio_input, reading)


def _stats(how: How, input: Path, audio_input: Path | None, reading: Reading) -> StatsResult:
    """Look at all footers, read original shards, and report."""
    notes, report = how.notes, Report(how.frame_rate)
    path, codes = plain_path(input, how.run.elsewhere), plain_or_none(audio_input, how.run)
    shards, how_found = find(path, "input")
    notes.add(*how_found)
    # A thousand footers take less time than workers take to start.
    here = how.run if stores.is_remote(path) else RunOptions()
    footers = [FooterOf(shard) for shard in shards]
    contents: list[tuple[str, Contents]] = []
    collect = _collecting(report, contents)
    looks = run_tasks(footers, "footers", here, how.progress, collect)
    if not all(look.left_out for look in looks):
        looks = without_left_out(looks, notes)
    kept = {look.name: look.shifted for look in looks}
    originals = [shard for shard in shards if not kept.get(shard.name, True)]
    pairs = _pairs(originals, codes, notes)
    if pairs:
        planned = plan_stats(pairs, reading)
        tasks = [StatsOfShard(*pair, reading, planned) for pair in pairs]
        notes.by_order(run_tasks(tasks, "reading", how.run, how.progress, collect))
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
        contents=tuple(kind for _, kind in sorted(contents, key=itemgetter(0))),
    )


def _collecting(report: Report, contents: list[tuple[str, Contents]]) -> Callable[[Stats], Stats]:
    """What counts a shard in, and keeps what it holds beside the first shard that holds the same.

    The first by its name: shards come as workers finish them, in another order each time.
    """
    count: Callable[[Stats], Stats] = counting(report)

    def keep(stats: Stats) -> Stats:
        kind, name = stats.contents, stats.name
        if kind is not None:
            kinds = [known for _, known in contents]
            if kind not in kinds:
                contents.append((name, kind))
            else:
                number = kinds.index(kind)
                contents[number] = min(contents[number][0], name), kind
        return dataclasses.replace(count(stats), contents=None)

    return keep


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
