"""Whether shards of one folder were made in one way."""

from __future__ import annotations

import functools
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from delaytool.batches.job import Job
from delaytool.errors import DataError, Place
from delaytool.jobs.mismatches import Verified
from delaytool.recipes.recipe import Recipe
from delaytool.shards.find import Shard
from delaytool.shards.read import open_shard, read_record

_MAX_WAYS, _MAX_DIFFERENCES = 10, 5
"""Ways in which shards of one folder were made, and differences of each, that are reported."""


def compare_with_first(shards: Sequence[Shard], results: Sequence[Verified]) -> Verified:
    """Whether shards that belong together were made in one way, as the first of them was.

    Of each other way the first shard is reported, and how it differs; the others are counted.

    shards:  those that were verified, by name; results: what was found of each
    returns: what differs, as mismatches of these shards
    raises:  DataError when one of them cannot be read any more
    """
    ways: dict[str, Shard] = {}
    counts = Counter(result.way for result in results if result.way)
    for shard, result in zip(shards, results, strict=True):
        if result.way:
            ways.setdefault(result.way, shard)
    found = Verified("")
    if len(ways) < 2:
        return found
    first, *others = ways.values()
    found.count = counts.total() - counts[next(iter(ways))]
    expected = _job_of(first)
    for shard in others[:_MAX_WAYS]:
        differing = Verified(shard.name)
        for what, *values in ways_differ(expected, _job_of(shard)):
            differing.add(f"{what}, other than in {first.name}", *values)
        found.mismatches += differing.mismatches[:_MAX_DIFFERENCES]
        found.count += max(differing.count - 1, 0)
    return found


@functools.lru_cache(maxsize=4)
def digest_of_way(job: Job) -> str:
    """A digest of all that a dataset's shards must have in common."""
    outputs = [output.to_dict() for output in job.outputs]
    windows = None if job.windows is None else job.windows.to_dict()
    ways = [_decisive(job.recipe), outputs, windows, job.narrow, job.drop_columns]
    text = json.dumps(ways, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _job_of(shard: Shard) -> Job:
    with open_shard(shard) as opened:
        record = read_record(opened)
    if record is None:
        raise DataError(
            "changed",
            "the file changed while it was verified",
            expected="the delaytool entry that it had",
            advice="run again when nothing writes to it",
            place=Place(shard=shard.name),
        )
    return record.job


Difference = tuple[str, Any, Any, Place]
"""What is compared, what was expected and what was found, and where."""


def ways_differ(expected: Job, found: Job) -> Iterator[Difference]:
    """How recipe, windows and output columns of two jobs differ."""
    yield from differences(expected.recipe, found.recipe)
    if expected.windows != found.windows:
        yield "windows", str(expected.windows), str(found.windows), Place()
    wanted, had = (
        [name for output in job.outputs for name in Job.names_of(output)]
        for job in (expected, found)
    )
    if wanted != had:
        yield "output columns", ", ".join(wanted), ", ".join(had), Place()
        return
    if expected.drop_columns != found.drop_columns:
        ours, theirs = (", ".join(job.drop_columns) for job in (expected, found))
        yield "columns left out", ours, theirs, Place()
    if expected.narrow != found.narrow:
        yield "narrow", expected.narrow, found.narrow, Place()
    for want, have in zip(expected.outputs, found.outputs, strict=True):
        one, other = want.to_dict(), have.to_dict()
        for name in one:
            if one[name] != other[name]:
                yield f"output, {name}", one[name], other[name], Place(column=want.name)


def _decisive(recipe: Recipe) -> dict[str, Any]:
    """The fields of a recipe that decide its outputs: all but the frame rate."""
    fields = recipe.to_dict()
    del fields["frame_rate"]
    return fields


def differences(expected: Recipe, found: Recipe) -> Iterator[Difference]:
    """How two recipes differ."""
    ours, theirs = _decisive(expected), _decisive(found)
    for name in ours:
        if name != "streams" and ours[name] != theirs[name]:
            yield f"recipe, {name}", ours[name], theirs[name], Place()
    if len(expected.streams) != len(found.streams):
        yield "recipe, streams", len(expected.streams), len(found.streams), Place()
        return
    for mine, its in zip(ours["streams"], theirs["streams"], strict=True):
        for name in mine:
            if mine[name] != its[name]:
                yield f"recipe, {name}", mine[name], its[name], Place(stream=mine["name"])
