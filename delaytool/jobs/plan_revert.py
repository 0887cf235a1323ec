"""What is settled before the first shard is reverted."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from delaytool.batches.column_options import ColumnOptions
from delaytool.batches.columns import find_columns
from delaytool.batches.fields import check_there
from delaytool.batches.job import Job
from delaytool.batches.layouts import Output
from delaytool.jobs.paths import Item
from delaytool.jobs.revert import RevertShard
from delaytool.recipes.recipe import Recipe
from delaytool.shards import stores
from delaytool.shards.commit import file_states
from delaytool.shards.failures import reading
from delaytool.shards.find import Shard
from delaytool.shards.pairs import key_in
from delaytool.shards.quarantine import first_of_data
from delaytool.shards.read import open_shard


def generated_job(shards: Sequence[Shard], recipe: Recipe, where: ColumnOptions) -> Job:
    """The job of grids without an entry, such as a model generated.

    Raises DataError for columns that are missing or do not fit, RecipeError where recipe and
    columns do not go together.
    """
    where = dataclasses.replace(where, weights=False)
    shard = first_of_data(shards) or shards[0]
    with open_shard(shard) as first, reading(shard.name):
        columns = find_columns(where, first.schema, recipe, first.small_batches())
        outputs = tuple(Output(c.name, c.numbers, c.layout) for c in columns)
        key = key_in(first, where)
        if key is not None:
            check_there(first.schema, key, "`key`")
        return Job(recipe, columns, outputs, key=key)


def revert_tasks(
    items: Sequence[Item],
    restored: str,
    audio_output: str | None,
    job: Job | None,
    allow_lossy: bool,
    overwrite: bool,
) -> list[RevertShard]:
    """The task of each shard.

    audio_output: where the codes go that came in shards of their own
    job:          that of grids without an entry
    """
    codes = [_codes_target(item, restored, audio_output) for item in items]
    old: list[Any] = [None] * len(items)
    if overwrite:
        states = file_states((item.target for item in items), restored)
        old = list(zip(states, file_states(codes, audio_output), strict=True))
    how = job, allow_lossy, overwrite
    return [
        RevertShard(item.shard, item.target, codes_target, *how, began_with)
        for item, codes_target, began_with in zip(items, codes, old, strict=True)
    ]


def _codes_target(item: Item, restored: str, audio_output: str | None) -> str | None:
    """Where the codes of a reverted shard go."""
    if audio_output is None or item.target == restored:
        return audio_output
    return stores.join(audio_output, item.shard.output_name)
