"""Shift one shard: a generator that yields progress and returns what was done."""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from delaytool import __version__, guard, stores
from delaytool.detect import describe_columns, find_columns
from delaytool.digest import BatchDigest, schema_digest
from delaytool.errors import DataError, Place
from delaytool.figures import figures_of_nothing
from delaytool.job import ASIDE, ENTRY, Counts, Digests, Job, Record, Where, make_job, reasons_of
from delaytool.recipe import Recipe
from delaytool.report import Summary
from delaytool.shards import (
    Opened,
    Shard,
    ShardWriter,
    ahead,
    open_shard,
    open_source,
    output_kinds,
    read_record,
    reading,
    remove_leftovers,
    rows_of,
    writing,
)
from delaytool.tokens import depth_of, split_rows
from delaytool.transform import (
    already_shifted,
    bad_rows,
    check_there,
    cut,
    kind_of_problem,
    placed,
    quarantine_schema,
    shift_batch,
    shifted_schema,
)

_LOOKED_AT, _LOOKERS = 1000, 8
"""Shards that are looked at before the first one is written, and how many at once where each takes
its time to answer. Each is looked at again by its own task; a million would take too long."""


@dataclass(frozen=True)
class Item:
    """A shard, the shard of its codes if they are in one of their own, and where it goes.

    aside: where its bad rows go; None where the first one is an error
    """

    shard: Shard
    codes: Shard | None
    target: str
    aside: str | None = None


@dataclass(frozen=True)
class Applied:
    """What was done to one shard."""

    name: str
    written: bool
    summary: Summary | None


def apply_shard(item: Item, job: Job, overwrite: bool) -> Generator[float, None, Applied]:
    """Shift a shard into its target file.

    yields:  the fraction of the rows that are done
    returns: what was done; an output that is there already, from the same source with the same
             job, is left alone
    raises:  DataError for bad data, or an output in the way; nothing is written then
    """
    name = item.shard.name
    with open_source(item.shard, item.codes, job.key) as source:
        with reading(name):
            schema = check_source(source, job, item.aside is not None)
        existing = existing_record(item, source, job, overwrite)
        if existing is not None:
            yield 1.0
            return Applied(name, False, Summary.of(existing))
        work = _Work(source, job, schema, item.aside is not None)
        done = 0
        with contextlib.ExitStack() as stack:
            batches = stack.enter_context(contextlib.closing(ahead(work.batches())))
            output = stack.enter_context(writing(item.target, schema, output_kinds(job)))
            aside = stack.enter_context(_Aside(item.aside, source, overwrite))
            for batch, bad in batches:
                output.write(batch)
                if bad is not None:
                    aside.write(bad)
                done += batch.num_rows + (0 if bad is None else bad.num_rows)
                yield done / max(source.rows, 1)
            record = work.record()
            output.metadata = work.metadata(record)
            # The output is the commit point: what it leaves out is in its place before it is.
            aside.commit(output.metadata)
        return Applied(name, True, Summary.of(record))


def abandon_shard(item: Item, job: Job, overwrite: bool) -> None:
    """Clean up behind a process that was killed in `apply_shard`."""
    remove_leftovers(item.target)
    if item.aside is not None:
        remove_leftovers(item.aside)


class _Aside:
    """The shard of quarantined rows, which comes into being with the first one."""

    def __init__(self, target: str | None, source: Opened, overwrite: bool) -> None:
        self.target, self.source, self.overwrite = target, source, overwrite
        self.stack = contextlib.ExitStack()
        self.shard: ShardWriter | None = None

    def __enter__(self) -> _Aside:
        return self

    def __exit__(self, *error: Any) -> None:
        self.stack.__exit__(*error)

    def write(self, batch: pa.RecordBatch) -> None:
        """Add bad rows, with their reasons."""
        assert self.target is not None, "rows are put aside only where there is a place for them"
        if self.shard is None:
            schema = quarantine_schema(self.source.schema)
            self.shard = self.stack.enter_context(writing(self.target, schema, {}))
        self.shard.write(batch)

    def commit(self, metadata: dict[bytes, bytes]) -> None:
        """Give the shard its name; without a bad row, remove what an earlier run put there."""
        if self.shard is not None:
            self.shard.metadata = _aside_metadata(metadata)
            self.stack.close()
        elif self.target is not None and self.overwrite and _aside_entry(self.target) is not None:
            stores.remove(self.target)


def _aside_metadata(metadata: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """The footer's entries of a shard of quarantined rows, from those of their shard's output."""
    rest = {key: value for key, value in metadata.items() if key != ENTRY.encode()}
    return {**rest, ASIDE.encode(): metadata[ENTRY.encode()]}


def _aside_entry(path: str) -> bytes | None:
    """What a shard of quarantined rows says of itself; None for any other file, or none."""
    if stores.kind_of(path) != "file":
        return None
    try:
        with open_shard(Shard(path, path)) as opened:
            return opened.entry_called(ASIDE)
    except DataError:
        return None


def check_source(source: Opened, job: Job, aside: bool) -> pa.Schema:
    """The schema of a source's output; raises DataError when the source does not fit the job.

    aside: whether bad rows are put aside, with a column of their own
    """
    if source.entry is not None:
        raise already_shifted().at(shard=source.shard.name)
    _ = source.rows
    if aside:
        quarantine_schema(source.schema)
    return shifted_schema(source.schema, job)


def existing_record(item: Item, source: Opened, job: Job, overwrite: bool) -> Record | None:
    """The record of an output that can be left as it is; None where one has to be written.

    Raises DataError when something else is in the way.
    """
    record, why = _record_at(item.target, ENTRY, source, job)
    if item.aside is not None:
        aside, why_not = _record_at(item.aside, ASIDE, source, job)
        if why_not and not (overwrite and stores.kind_of(item.aside) == "file"):
            raise _in_the_way(item.aside, why_not, source)
        if record is not None and record.counts.quarantined and record != aside:
            record = None
    elif record is not None and record.counts.quarantined:
        why = f"{record.counts.quarantined} rows of it are in quarantine"
        record = None
    if why and not (overwrite and stores.kind_of(item.target) == "file"):
        raise _in_the_way(item.target, why, source)
    return record


def _record_at(path: str, entry: str, source: Opened, job: Job) -> tuple[Record | None, str]:
    """The record of a file made from this source with this job, or why there is another file."""
    if stores.kind_of(path) is None:
        return None, ""
    try:
        with open_shard(Shard(path, path)) as output:
            record = read_record(output, entry)
    except DataError as error:
        return None, error.reason
    if record is None:
        return None, "it is not a shard that delaytool made"
    if record.job != job:
        return None, "it was made with other options"
    if record.sources != source.sources:
        return None, "it was made from another source"
    return record, ""


def _in_the_way(path: str, why: str, source: Opened) -> DataError:
    return DataError(
        "output-in-the-way",
        f"the output {stores.shown(path)} is in the way: {why}",
        expected="no file, or one made from this source with these options",
        advice="choose another output, or replace it with --overwrite",
        place=Place(shard=source.shard.name),
    )


class _Work:
    """The shifted batches of a source, and the record of them."""

    def __init__(self, source: Opened, job: Job, schema: pa.Schema, aside: bool) -> None:
        self.source, self.job, self.schema, self.aside = source, job, schema, aside
        self.digest = BatchDigest(source.schema.names)
        self.counts, self.figures = Counts(), figures_of_nothing(job)
        self.reasons: Counter[tuple[str, str | None]] = Counter()
        self.padded: list[tuple[int, int]] = []
        self.quarantined: list[tuple[int, int]] = []

    def batches(self) -> Iterator[tuple[pa.RecordBatch, pa.RecordBatch | None]]:
        """Each batch of the source shifted, and its bad rows; counts and digests on the way."""
        for batch in self.source.batches(self.job, self.job.recipe.steps(0)):
            rows, good, bad = self.counts.rows_in, batch, None
            try:
                try:
                    shifted = shift_batch(batch, self.job, self.schema)
                except DataError as error:
                    if not self.aside or error.place.row is None:
                        raise
                    good, bad = self._sift(batch, rows)
                    shifted = shift_batch(good, self.job, self.schema)
                self.digest.update(cut(good, self.job))
            except DataError as error:
                raise placed(error, self.source.shard.name, rows, batch, self.job) from None
            self.padded += [
                (self.counts.rows_out + int(row), int(shifted.padded[row]))
                for row in np.flatnonzero(shifted.padded)
            ]
            self.counts += shifted.counts
            self.figures += shifted.figures
            yield shifted.batch, bad

    def _sift(self, batch: pa.RecordBatch, rows: int) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        """The good rows of a batch, and the bad ones with their reasons."""
        problems = bad_rows(batch, self.job)
        numbers = sorted(problems)
        reasons = [
            str(placed(problems[number], "", rows, batch, self.job).at(shard=None))
            for number in numbers
        ]
        for number in numbers:
            first, count = self.quarantined[-1] if self.quarantined else (0, 0)
            if count and first + count == rows + number:
                self.quarantined[-1] = first, count + 1
            else:
                self.quarantined.append((rows + number, 1))
        self.counts += Counts(rows_in=len(numbers), quarantined=len(numbers))
        self.reasons.update(map(kind_of_problem, problems.values()))
        good, bad = split_rows(batch, numbers)
        schema = quarantine_schema(batch.schema)
        reason = pa.array(reasons, pa.string())
        return good, pa.RecordBatch.from_arrays([*bad.columns, reason], schema=schema)

    def record(self) -> Record:
        """What the output is to say of itself, once every batch has been through."""
        self.source.check_unchanged()
        sources, extra = self.source.sources, self.source.extra_metadata
        return Record(
            version=__version__,
            job=self.job,
            sources=sources,
            counts=self.counts,
            figures=self.figures.rounded(),
            digests=Digests(
                self.digest.hexdigests(),
                schema_digest([source.schema for source in sources], extra),
            ),
            padded=tuple(self.padded),
            quarantined=tuple(self.quarantined),
            reasons=reasons_of(self.reasons),
        )

    def metadata(self, record: Record) -> dict[bytes, bytes]:
        """The entries of the output's footer."""
        return {**self.source.extra_metadata, ENTRY.encode(): record.to_json().encode()}


# Before the first shard


@dataclass(frozen=True)
class Plan:
    """What is to be done to every shard, and what there is to say about it before it starts."""

    job: Job
    columns: list[str]
    notes: list[str]


def plan(items: list[Item], recipe: Recipe, where: Where, overwrite: bool) -> Plan:
    """Settle where the tokens are, and look at the shards before the first one is written.

    raises: DataError for a shard that cannot be read or does not fit, or an output in the way;
            RecipeError when recipe and columns do not go together
    """
    notes: list[str] = []
    # Those that cannot even be opened are told by their own tasks, once the others are done.
    items = [item for item in items if not _is_deadly(item)] or items
    with open_shard(items[0].shard) as first, reading(items[0].shard.name):
        if where.key is None and "id" in first.schema.names:
            where = dataclasses.replace(where, key="id")
    with open_source(items[0].shard, items[0].codes, where.key) as source:
        with reading(source.shard.name):
            if source.entry is not None:
                raise already_shifted()
            schema = source.schema
            rows = rows_of(((item.shard, item.codes) for item in items), where.key)
            columns = find_columns(where, schema, recipe, rows)
        job = make_job(recipe, where, columns)
        described = describe_columns(columns, schema)
        notes += _unshifted_columns(source, job)
    if items[0].codes is not None and where.key is None:
        notes.append("no key: rows of text and codes go together by their order alone")
    # One after the other here: whoever is killed by one has to know which it was.
    with ThreadPoolExecutor(_LOOKERS if stores.is_remote(items[0].shard.path) else 1) as pool:
        looks = [
            pool.submit(_look_at, item, job, where.key, overwrite) for item in items[:_LOOKED_AT]
        ]
        try:
            changed = [look.result() for look in looks]
        finally:
            pool.shutdown(cancel_futures=True)
    return Plan(job, described, notes + _changed_types(changed))


def _changed_types(shards: Iterable[Mapping[str, tuple[str, str]]]) -> list[str]:
    """Notes on columns of other types than their outputs have, a line for each."""
    found: dict[tuple[str, str], list[str]] = {}
    for path, (was, becomes) in (item for shard in shards for item in shard.items()):
        kinds = found.setdefault((path, was), [])
        kinds += [becomes] if becomes not in kinds else []
    return [
        f"column {path}: {was} becomes {' or '.join(kinds)}" for (path, was), kinds in found.items()
    ]


def _look_at(
    item: Item, job: Job, key: str | None, overwrite: bool
) -> Mapping[str, tuple[str, str]]:
    """The types of a shard that pass through changed, by the leaves of its columns.

    Raises DataError when the shard does not fit the job, or an output is in the way.
    """
    with (
        open_source(item.shard, item.codes, key) as source,
        reading(item.shard.name),
    ):
        if key is not None:
            check_there(source.schema, key, "--key")
        schema = check_source(source, job, item.aside is not None)
        existing_record(item, source, job, overwrite)
        tokens = {column.name for column in job.columns}
        return source.changed_types({name for name in schema.names if name not in tokens})


def _is_deadly(item: Item) -> bool:
    codes = item.codes
    return guard.is_deadly(item.shard.path) or bool(codes and guard.is_deadly(codes.path))


def _unshifted_columns(source: Opened, job: Job) -> list[str]:
    """Notes on columns that look like they belong to the tokens but pass through unshifted."""
    held = {column.name for column in job.columns} | {job.factors}
    with reading(source.shard.name):
        batch = next(source.small_batches(), None)
        if batch is None or not batch.num_rows:
            return []
        steps = _frames_of_first_row(batch, job)
        return [
            f"column {name} is as long as the tokens and passes through unshifted"
            for name, array in zip(batch.schema.names, batch.columns, strict=True)
            if name not in held and steps > 1 and _length(array) == steps
        ]


def _frames_of_first_row(batch: pa.RecordBatch, job: Job) -> int:
    """T of a batch's first row, by its first column; 0 where that is null."""
    column = job.columns[0]
    value = batch.column(column.name)[0].as_py()
    if not value:
        return 0
    if column.layout == "codebook":
        return len(value[0] or ())
    return len(value) // (column.size if column.layout.startswith("flat") else 1)


def _length(array: pa.Array) -> int | None:
    """How long the list in the first row is; None where it is none."""
    if not depth_of(array.type)[0] or not array[0].is_valid:
        return None
    return len(array[0].as_py())
