"""What is settled before the first shard is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import pyarrow as pa

from delaytool.batches.column_options import ColumnOptions
from delaytool.batches.columns import describe_columns, find_columns
from delaytool.batches.fields import check_there, field_at
from delaytool.batches.job import Job, make_job
from delaytool.batches.schema import already_shifted, check_dropped
from delaytool.batches.structs import structs_of
from delaytool.batches.types import type_name
from delaytool.jobs.existing import check_source, existing_record
from delaytool.jobs.misfits import check_most_fit
from delaytool.jobs.passing import columns_of_bytes, unshifted_columns
from delaytool.jobs.paths import Item, pairs_of_data
from delaytool.jobs.quarantine import is_left_out
from delaytool.jobs.shifted_twice import check_not_shifted
from delaytool.recipes.recipe import Recipe
from delaytool.shards import stores
from delaytool.shards.deadly import NOTES
from delaytool.shards.failures import reading
from delaytool.shards.pairs import (
    ORDER_ALONE,
    is_by_order_alone,
    key_in,
    open_source,
    rows_of,
)
from delaytool.shards.quarantine import first_of_data

LOOKED_AT, _LOOKERS = 1000, 8
"""Shards that are looked at before the first one is written, and how many at once where each takes
its time to answer. Each is looked at again by its own task; a million would take too long."""
ChangedTypes = Mapping[str, tuple[str, str]]
"""The types of a shard's columns that pass through changed, what they were and become, by leaf."""


@dataclass(frozen=True)
class Plan:
    """What is to be done to every shard, and what there is to say about it before it starts."""

    job: Job
    columns: list[str]
    notes: list[str]
    items: list[Item]


def plan(items: list[Item], recipe: Recipe, where: ColumnOptions, overwrite: bool) -> Plan:
    """Settle where the tokens are, and look at the shards before the first one is written.

    raises: DataError for a shard that cannot be read or does not fit, an output in the way, or rows
            of which most do not fit; RecipeError when recipe and columns do not go together
    """
    notes: list[str] = []
    items, good, first = read_first(items)
    with open_source(first.shard, first.codes, where) as source:
        with reading(source.shard.name):
            where = replace(where, key=key_in(source, where))
            if source.entry is not None:
                raise already_shifted()
            schema = source.schema
            columns = find_columns(where, schema, recipe, rows_of(pairs_of_data(good), where))
            job = make_job(recipe, where, columns)
            described = describe_columns(columns, schema) + _left_out(schema, job)
        notes += [*unshifted_columns(source, job), *columns_of_bytes(source, job)]
        if is_by_order_alone(source, where):
            notes.append(ORDER_ALONE)
    changed = look_at_first(good, lambda item: _look_at(item, job, overwrite))
    check_not_shifted(good[:LOOKED_AT], job)
    if first.quarantine is not None or not first.target:
        check_most_fit(good[:LOOKED_AT], job)
    return Plan(job, described, notes + changed, items)


def read_first(items: list[Item]) -> tuple[list[Item], list[Item], Item]:
    """All shards, those that can be opened, and the one of them that is to be read first.

    Where all are of quarantined rows, these are taken.
    """
    # Those that cannot even be opened are reported by their own tasks, once the others are done.
    good = [item for item in items if not _is_deadly(item)] or items
    data = first_of_data([item.shard for item in good])
    if data is None:
        items, good = ([replace(item, from_quarantine=True) for item in x] for x in (items, good))
    return items, good, next(item for item in good if data in (None, item.shard))


def look_at_first(items: Sequence[Item], look: Callable[[Item], ChangedTypes]) -> list[str]:
    """Look at the first shards; notes on columns of other types than their outputs have."""
    # One after the other here: whoever is killed by one has to know which it was.
    with ThreadPoolExecutor(_LOOKERS if stores.is_remote(items[0].shard.path) else 1) as pool:
        looks = [pool.submit(look, item) for item in items[:LOOKED_AT]]
        try:
            return _changed_types([each.result() for each in looks])
        finally:
            pool.shutdown(cancel_futures=True)


def _changed_types(shards: Iterable[ChangedTypes]) -> list[str]:
    """Notes on columns of other types than their outputs have, a line for each."""
    found: dict[tuple[str, str], list[str]] = {}
    for path, (was, becomes) in (item for shard in shards for item in shard.items()):
        kinds = found.setdefault((path, was), [])
        kinds += [becomes] if becomes not in kinds else []
    return [
        f"column {path}: {was} becomes {' or '.join(kinds)}" for (path, was), kinds in found.items()
    ]


def _look_at(item: Item, job: Job, overwrite: bool) -> ChangedTypes:
    """The types of a shard that pass through changed.

    Raises DataError when the shard does not fit the job, or an output is in the way.
    """
    with (
        open_source(item.shard, item.codes, job) as source,
        reading(item.shard.name),
    ):
        if is_left_out(item, source):
            return {}
        if job.key is not None:
            check_there(source.schema, job.key, "`key`")
        schema = check_source(source, job, item.quarantine is not None)
        if item.target:
            existing_record(item, source, job, overwrite)
        tokens = {*job.names, *job.drop_columns}
        return source.changed_types({name for name in schema.names if name not in tokens})


def _left_out(schema: pa.Schema, job: Job) -> list[str]:
    """The columns that are left out, a line for each; raises DataError where there is no such."""
    check_dropped(schema, job)
    structs, lines = structs_of(schema, job.names), []
    for name in job.drop_columns:
        what = f"{type_name(field_at(schema, name).type)}, left out"
        if name in job.names or name in structs:
            what = "all of it but the tokens is left out"
        lines.append(f"{name}: {what}")
    return lines


def _is_deadly(item: Item) -> bool:
    """Whether a shard has killed who read it."""
    codes = item.codes
    return item.shard.path in NOTES.deadly or bool(codes and codes.path in NOTES.deadly)
