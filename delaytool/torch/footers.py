"""What the footers of a set of shifted shards say: its recipe, its columns and its row groups."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from delaytool.batches.fields import is_there
from delaytool.batches.job import Job
from delaytool.batches.nesting import numbered
from delaytool.errors import DataError, Place
from delaytool.jobs.mixed import ways_differ
from delaytool.jobs.paths import find, plain_path
from delaytool.pattern.segments import Index
from delaytool.shards.find import Shard
from delaytool.shards.read import OpenShard, open_shard, read_record


@dataclass(frozen=True, eq=False)
class ShardSet:
    """The shards of a dataset, all made in one way.

    job:          the recipe and the columns of tokens, weights and labels
    columns:      others that are brought along
    shards:       with the fingerprint of each, which tells whether it is still the same file
    in_shard:     of each row group that has rows, which shard it is in, and its number there
    rows, cells:  of each of them, how many rows it has, and how many token cells
    """

    job: Job
    columns: tuple[str, ...]
    shards: tuple[Shard, ...]
    fingerprints: tuple[tuple[int, str], ...]
    in_shard: Index
    rows: Index
    cells: Index
    notes: tuple[str, ...] = ()

    @property
    def reads(self) -> list[str]:
        """The columns that are read."""
        outputs = self.job.outputs
        weights = [output.weights for output in outputs if output.weights and self.job.weighs]
        names = [*(output.name for output in outputs), *weights, *self.columns]
        return list(dict.fromkeys(names))

    @functools.cached_property
    def digest(self) -> str:
        """Tells sets apart: the same shards in the same order have the same."""
        shards = [
            [shard.name, *mark] for shard, mark in zip(self.shards, self.fingerprints, strict=True)
        ]
        return hashlib.sha256(json.dumps(shards).encode()).hexdigest()[:32]


def read_footers(path: str | os.PathLike[str], columns: Sequence[str]) -> ShardSet:
    """Read the footers of all shards of a path; no row is read.

    columns: others than those of tokens and weights that every shard must have

    Raises RecipeError where there is nothing under the path, and DataError where there are no
    shards, for one that delaytool has not made, for one whose loss weights nothing says, and for
    ones that were made in different ways.
    """
    shards, notes = find(plain_path(path, elsewhere=True), "`path`")
    jobs: list[Job] = []
    read: list[tuple[Shard, tuple[int, str]]] = []
    groups: list[tuple[int, int, int, int]] = []
    left_out = 0
    for shard in shards:
        with open_shard(shard) as opened:
            job = _job_of(opened)
            if job is None:
                left_out += 1
                continue
            if jobs:
                _check_alike(jobs[0], read[0][0], job, shard)
            _check_weights(job, shard)
            _check_columns(opened, job, columns)
            jobs[:] = jobs or [job]
            numbers = ((len(read), *group) for group in _groups_of(opened, job))
            groups += numbers
            read.append((shard, opened.fingerprint))
    texts = [note.text for note in notes]
    if left_out:
        texts.append(f"left out: {numbered(left_out, 'shard')} of quarantined rows")
    if not read:
        raise DataError(
            "no-shards",
            "there are no shards but those of quarantined rows",
            expected="shards that delaytool made",
            advice="give the folder that `apply` wrote to",
            place=Place(shard=shards[0].name),
        )
    table = np.array(groups, dtype=np.int64).reshape(-1, 4)
    return ShardSet(
        jobs[0],
        tuple(columns),
        tuple(shard for shard, _ in read),
        tuple(fingerprint for _, fingerprint in read),
        table[:, :2],
        table[:, 2],
        table[:, 3],
        tuple(texts),
    )


def _job_of(opened: OpenShard) -> Job | None:
    """How a shard was made; None for one of quarantined rows, which are left out everywhere."""
    record = read_record(opened)
    if record is not None:
        return record.job
    if opened.is_quarantine:
        return None
    raise DataError(
        "no-record",
        "it is no shifted shard: there is no delaytool entry in its footer",
        expected="a shard that delaytool made",
        advice="shift the shards first, with delaytool.apply, and give its output",
        place=Place(shard=opened.shard.name),
    )


def _check_alike(expected: Job, first: Shard, found: Job, shard: Shard) -> None:
    """Raise DataError unless two shards were made by one recipe, with the same columns."""
    if (expected.recipe, expected.outputs) == (found.recipe, found.outputs):
        return
    for what, want, have, place in ways_differ(expected, found):
        raise DataError(
            "shards-differ",
            f"{what}: {have!r}",
            expected=f"{want!r}, as in {first.name}",
            advice="give a folder or a glob of shards that were made in one way",
            place=Place(shard.name, None, None, place.column, place.stream),
        )


def _check_weights(job: Job, shard: Shard) -> None:
    """Raise DataError where there are no weights, and recipe and codes do not say them all."""
    if job.weighs:
        return
    why = None
    if job.factors is not None:
        why = (
            f"the recipe does not say the factors on them, which stood in the column {job.factors}"
        )
    elif job.windows is not None and (job.cuts_after or job.windows.pad):
        why = "its rows are windows, of which only the whole rows would say them"
    if why is not None:
        raise DataError(
            "no-weights",
            f"there are no loss weights, and {why}",
            expected="columns of loss weights",
            advice="make the shards anew with them: without `no_weights`",
            place=Place(shard=shard.name),
        )


def _check_columns(opened: OpenShard, job: Job, columns: Sequence[str]) -> None:
    """Raise DataError unless the columns that will be read are there."""
    names = opened.schema.names
    for name in columns:
        if name not in names:
            raise DataError(
                "missing-column",
                f"there is no column {name}",
                expected=f"one of {', '.join(names)}",
                advice="give other `columns`",
                place=Place(shard=opened.shard.name),
            )
    for output in job.outputs:
        for name in Job.names_of(output):
            if not is_there(opened.schema, name):
                raise DataError(
                    "columns",
                    f"there is no column {name}, which its record names",
                    advice="make the shard anew",
                    place=Place(shard=opened.shard.name),
                )


def _groups_of(opened: OpenShard, job: Job) -> list[tuple[int, int, int]]:
    """The number, rows and token cells of each row group that has rows."""
    tokens = tuple(f"{output.name}." for output in job.outputs)
    metadata: Any = opened.file.metadata
    leaves = range(metadata.num_columns)
    here = [i for i in leaves if f"{metadata.schema.column(i).path}.".startswith(tokens)]
    found = []
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        if group.num_rows:
            cells = sum(group.column(leaf).num_values for leaf in here)
            found.append((number, group.num_rows, cells))
    return found
