"""Shift one shard: a generator that yields progress and returns what was done."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from delaytool import __version__, guard, stores
from delaytool.detect import describe_columns, find_columns
from delaytool.digest import BatchDigest
from delaytool.errors import DataError, Place
from delaytool.figures import figures_of_nothing
from delaytool.job import ASIDE, ENTRY, Counts, Digests, Job, Record, Where, make_job, reasons_of
from delaytool.quarantine import first_of_data, is_intact, is_quarantine
from delaytool.recipe import Recipe
from delaytool.report import Summary
from delaytool.shards import (
    ORDER_ALONE,
    NameTakenError,
    Opened,
    Pair,
    Shard,
    ShardWriter,
    State,
    ahead,
    digest_of_sources,
    file_state,
    file_states,
    is_as_before,
    is_by_order_alone,
    key_in,
    open_shard,
    open_source,
    output_kinds,
    read_record,
    reading,
    remove_leftovers,
    remove_second_names,
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
    mended_entries,
    output_entries,
    placed,
    quarantine_schema,
    shift_batch,
    shifted_schema,
)

_LOOKED_AT, _LOOKERS = 1000, 8
"""Shards that are looked at before the first one is written, and how many at once where each takes
its time to answer. Each is looked at again by its own task; a million would take too long."""
_LOOKED_AT_ROWS = 1000
"""Rows of which at most half may be bad by their shape, where bad ones are put aside."""
MISFITS = {
    "codebooks": "name the layout with --audio-layout, or choose another --n-q or --preset",
    "codebook-lengths": "name the layout with --audio-layout",
    "text-length": "name the layout with --audio-layout, choose another --n-q, or say with --align "
    "what becomes of text of another length",
    "weight-length": "name another --weight-column",
}
"""The kinds of rows that are bad by their shape, and what to do where most are."""


@dataclass(frozen=True)
class Item:
    """A shard, the shard of its codes if they are in one of their own, and where it goes.

    aside:           where its bad rows go; None where the first one is an error
    from_quarantine: whether rows are taken that are in quarantine, since no others were given
    began_with:      what was at both targets when the run began; None where nobody looked
    """

    shard: Shard
    codes: Shard | None
    target: str
    aside: str | None = None
    from_quarantine: bool = False
    began_with: tuple[State | None, State | None] | None = None


def as_found(items: Sequence[Item], output: str, quarantine: str | None) -> list[Item]:
    """The items with what is there now, which is all that a run that begins now may replace."""
    targets = file_states((item.target for item in items), output)
    asides = file_states((item.aside for item in items), quarantine)
    both = zip(targets, asides, strict=True)
    return [replace(item, began_with=pair) for item, pair in zip(items, both, strict=True)]


@dataclass(frozen=True)
class Applied:
    """What was done to one shard.

    left_out: whether that was nothing, since its rows are in quarantine
    """

    name: str
    written: bool
    summary: Summary | None
    left_out: bool = False


def apply_shard(item: Item, job: Job, overwrite: bool) -> Generator[float, None, Applied]:
    """Shift a shard into its target file.

    yields:  the fraction of the rows that are done
    returns: what was done; an output that is there already, from the same source with the same
             job, is left alone, also where another run has made it meanwhile
    raises:  DataError for bad data, or an output in the way; nothing is written then
    """
    name = item.shard.name
    with open_source(item.shard, item.codes, job) as source:
        if _is_left_out(item, source):
            _check_is_quarantine(item, source)
            yield 1.0
            return Applied(name, False, None, left_out=True)
        with reading(name):
            schema = check_source(source, job, item.aside is not None)
        existing = existing_record(item, source, job, overwrite)
        if existing.record is not None:
            remove_second_names(item.target, item.aside)
            yield 1.0
            return Applied(name, False, Summary.of(existing.record))
        work = _Work(source, job, schema, item.aside is not None)
        aside = _Aside(item.aside, source, existing.aside)
        try:
            record = yield from _write(item.target, existing.target, work, aside)
        except NameTakenError as taken:
            return Applied(name, False, Summary.of(_record_of_other(item, work, aside, taken)))
    return Applied(name, True, Summary.of(record))


def _write(
    target: str, replaces: State | None, work: _Work, aside: _Aside
) -> Generator[float, None, Record]:
    """Write the shifted rows, and the bad ones aside; their record.

    Raises NameTakenError as `writing` does.
    """
    done = 0
    with contextlib.ExitStack() as stack:
        batches = stack.enter_context(contextlib.closing(ahead(work.batches())))
        kinds = output_kinds(work.job)
        output = stack.enter_context(writing(target, work.schema, kinds, replaces=replaces))
        stack.enter_context(aside)
        for batch, bad in batches:
            output.write(batch)
            if bad is not None:
                aside.write(bad)
            done += batch.num_rows + (0 if bad is None else bad.num_rows)
            yield done / max(work.source.rows, 1)
        record = work.record()
        output.metadata = {**work.entries(), ENTRY.encode(): record.to_json().encode()}
        # The output is the commit point: what it leaves out is in its place before it is.
        aside.commit(record)
    return record


def _record_of_other(item: Item, work: _Work, aside: _Aside, taken: NameTakenError) -> Record:
    """The record of the output that another run has made meanwhile.

    Raises DataError when it was not made the same way, and so is in the way.
    """
    try:
        existing = existing_record(item, work.source, work.job, overwrite=False)
    except DataError as error:
        aside.undo()
        texts = {"expected": error.expected, "advice": taken.advice}
        raise DataError(error.kind, error.found, **texts, place=error.place) from None
    if existing.record is None:
        raise taken.at(shard=item.shard.name)
    return existing.record


def _is_left_out(item: Item, source: Opened) -> bool:
    return source.is_quarantine and not item.from_quarantine


def _check_is_quarantine(item: Item, source: Opened) -> None:
    """Raise DataError where rows go that have been taken for quarantined ones, by their path."""
    if item.aside is not None and stores.kind_of(item.aside) and _aside_entry(item.aside) is None:
        advice = "choose another --quarantine"
        raise _in_the_way(item.aside, "it holds no quarantined rows", source, advice)


def abandon_shard(item: Item, job: Job, overwrite: bool) -> None:
    """Clean up behind a process that was killed in `apply_shard`."""
    remove_leftovers(item.target)
    if item.aside is not None:
        remove_leftovers(item.aside)


class _Aside:
    """The shard of quarantined rows, which comes into being with the first one.

    replaces: the file that it may take the place of
    """

    def __init__(self, target: str | None, source: Opened, replaces: State | None) -> None:
        self.target, self.source, self.replaces = target, source, replaces
        self.stack = contextlib.ExitStack()
        self.shard: ShardWriter | None = None
        self.made: State | None = None

    def __enter__(self) -> _Aside:
        return self

    def __exit__(self, *error: Any) -> None:
        self.stack.__exit__(*error)

    def write(self, batch: pa.RecordBatch) -> None:
        """Add bad rows, with their reasons."""
        assert self.target is not None, "rows are put aside only where there is a place for them"
        if self.shard is None:
            schema = quarantine_schema(self.source.schema)
            new = writing(self.target, schema, {}, replaces=self.replaces)
            self.shard = self.stack.enter_context(new)
        self.shard.write(batch)

    def commit(self, record: Record) -> None:
        """Give the shard its name; without a bad row, remove what an earlier run put there.

        Raises DataError when another run has put other rows there meanwhile.
        """
        if self.target is None:
            return
        if self.shard is None:
            if self.replaces is not None and file_state(self.target) == self.replaces:
                stores.remove(self.target)
            return
        entry = record.to_json().encode()
        entries = mended_entries(self.source.schema, self.source.entries, quarantine_schema)
        self.shard.metadata = {**entries, ASIDE.encode(): entry}
        try:
            self.stack.close()
        except NameTakenError as taken:
            if _aside_entry(self.target) != entry:
                texts = {"expected": taken.expected, "advice": taken.advice}
                place = Place(shard=self.source.shard.name)
                raise DataError(taken.kind, taken.found, **texts, place=place) from None
        else:
            self.made = file_state(self.target) if self.replaces is None else None

    def undo(self) -> None:
        """Remove the shard where nothing was before, since its output has not come into being."""
        if self.made is not None and self.target and file_state(self.target) == self.made:
            stores.remove(self.target)


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


@dataclass(frozen=True)
class Existing:
    """What there is already where a shard goes.

    record:        that of an output that can be left as it is; None where one has to be written
    target, aside: the files in whose place the new ones may come
    """

    record: Record | None
    target: State | None = None
    aside: State | None = None


def existing_record(item: Item, source: Opened, job: Job, overwrite: bool) -> Existing:
    """What there is already of an output and its quarantined rows.

    Raises DataError when something else is in the way.
    """
    # What has come by the time that it is read is not what may be replaced.
    target, aside = file_state(item.target), None
    record, why = _record_at(item.target, ENTRY, source, job)
    if item.aside is not None:
        aside = file_state(item.aside)
        record = _with_its_rows(item, aside, record, source, job, overwrite)
    elif record is not None and record.counts.quarantined:
        why = f"{record.counts.quarantined} rows of it are in quarantine"
        record = None
    is_old = item.began_with is None or is_as_before(target, item.began_with[0])
    if why and not (overwrite and is_old and stores.kind_of(item.target) == "file"):
        advice = "choose another output" + ("" if overwrite else ", or replace it with --overwrite")
        raise _in_the_way(item.target, why, source, advice)
    return Existing(record, target, aside)


def _with_its_rows(
    item: Item,
    state: State | None,
    record: Record | None,
    source: Opened,
    job: Job,
    overwrite: bool,
) -> Record | None:
    """The record of an output whose quarantined rows are there too; None where it is to be made.

    state: what is where the rows go; raises DataError when that is in the way
    """
    assert item.aside is not None, "rows are looked for only where there is a place for them"
    aside, why = _record_at(item.aside, ASIDE, source, job)
    if record is not None and record.counts.quarantined and record != aside:
        record = None
    if aside is not None and record is None and not is_intact(item.aside, aside):
        why = "its rows are not those that were put there"
    if not why:
        return record
    is_old = item.began_with is None or is_as_before(state, item.began_with[1])
    # What is no shard of quarantined rows is not in the quarantine to be replaced.
    if _aside_entry(item.aside) is None:
        raise _in_the_way(item.aside, why, source, "choose another --quarantine")
    if not (overwrite and is_old):
        advice = "" if overwrite else ", or replace it with --overwrite"
        raise _in_the_way(item.aside, why, source, f"choose another --quarantine{advice}")
    return record


def _record_at(path: str, entry: str, source: Opened, job: Job) -> tuple[Record | None, str]:
    """The record of a file made from this source with this job, or why there is another file."""
    if stores.kind_of(path) is None:
        return None, ""
    try:
        with open_shard(Shard(path, path)) as output:
            record, rows = read_record(output, entry), output.rows
    except DataError as error:
        return None, error.reason
    if record is None:
        return None, "it is not a shard that delaytool made"
    if record.job != job:
        return None, "it was made with other options"
    if record.sources != source.sources:
        return None, "it was made from another source"
    if entry == ASIDE and rows != record.counts.quarantined:
        return None, f"it holds {rows} rows of the {record.counts.quarantined} that were put there"
    return record, ""


def _in_the_way(path: str, why: str, source: Opened, advice: str) -> DataError:
    return DataError(
        "output-in-the-way",
        f"the output {stores.shown(path)} is in the way: {why}",
        expected="no file, or one made from this source with these options",
        advice=advice,
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
        self.bad_digest: BatchDigest | None = None

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
        bad = pa.RecordBatch.from_arrays([*bad.columns, reason], schema=schema)
        if self.bad_digest is None:
            self.bad_digest = BatchDigest(schema.names)
        self.bad_digest.update(bad)
        return good, bad

    def record(self) -> Record:
        """What the output is to say of itself, once every batch has been through."""
        self.source.check_unchanged()
        sources = self.source.sources
        return Record(
            version=__version__,
            job=self.job,
            sources=sources,
            counts=self.counts,
            figures=self.figures.rounded(),
            digests=Digests(
                self.digest.hexdigests(),
                digest_of_sources(sources),
                {} if self.bad_digest is None else self.bad_digest.hexdigests(),
            ),
            padded=tuple(self.padded),
            quarantined=tuple(self.quarantined),
            reasons=reasons_of(self.reasons),
        )

    def entries(self) -> dict[bytes, bytes]:
        """The entries of the output's footer, without the record."""
        return output_entries(self.source.schema, self.source.entries, self.job)


# Before the first shard


@dataclass(frozen=True)
class Plan:
    """What is to be done to every shard, and what there is to say about it before it starts."""

    job: Job
    columns: list[str]
    notes: list[str]
    items: list[Item]


def plan(items: list[Item], recipe: Recipe, where: Where, overwrite: bool) -> Plan:
    """Settle where the tokens are, and look at the shards before the first one is written.

    raises: DataError for a shard that cannot be read or does not fit, an output in the way, or rows
            of which most do not fit; RecipeError when recipe and columns do not go together
    """
    notes: list[str] = []
    # Those that cannot even be opened are told by their own tasks, once the others are done.
    good = [item for item in items if not _is_deadly(item)] or items
    data = first_of_data([item.shard for item in good])
    if data is None:
        items, good = ([replace(item, from_quarantine=True) for item in x] for x in (items, good))
    first = next(item for item in good if data in (None, item.shard))
    with open_source(first.shard, first.codes, where) as source:
        with reading(source.shard.name):
            where = replace(where, key=key_in(source, where))
            if source.entry is not None:
                raise already_shifted()
            schema = source.schema
            columns = find_columns(where, schema, recipe, rows_of(_pairs_of_data(good), where))
        job = make_job(recipe, where, columns)
        described = describe_columns(columns, schema)
        notes += _unshifted_columns(source, job)
        if is_by_order_alone(source, where):
            notes.append(ORDER_ALONE)
    # One after the other here: whoever is killed by one has to know which it was.
    with ThreadPoolExecutor(_LOOKERS if stores.is_remote(first.shard.path) else 1) as pool:
        looks = [pool.submit(_look_at, item, job, overwrite) for item in good[:_LOOKED_AT]]
        try:
            changed = [look.result() for look in looks]
        finally:
            pool.shutdown(cancel_futures=True)
    if first.aside is not None:
        _check_most_fit(good[:_LOOKED_AT], job)
    return Plan(job, described, notes + _changed_types(changed), items)


def _changed_types(shards: Iterable[Mapping[str, tuple[str, str]]]) -> list[str]:
    """Notes on columns of other types than their outputs have, a line for each."""
    found: dict[tuple[str, str], list[str]] = {}
    for path, (was, becomes) in (item for shard in shards for item in shard.items()):
        kinds = found.setdefault((path, was), [])
        kinds += [becomes] if becomes not in kinds else []
    return [
        f"column {path}: {was} becomes {' or '.join(kinds)}" for (path, was), kinds in found.items()
    ]


def _pairs_of_data(items: Sequence[Item]) -> Iterator[Pair]:
    """The shards whose rows are to be taken, as far as somebody asks for them."""
    for item in items:
        if item.from_quarantine or not is_quarantine(item.shard):
            yield item.shard, item.codes


def _look_at(item: Item, job: Job, overwrite: bool) -> Mapping[str, tuple[str, str]]:
    """The types of a shard that pass through changed, by the leaves of its columns.

    Raises DataError when the shard does not fit the job, or an output is in the way.
    """
    with (
        open_source(item.shard, item.codes, job) as source,
        reading(item.shard.name),
    ):
        if _is_left_out(item, source):
            return {}
        if job.key is not None:
            check_there(source.schema, job.key, "--key")
        schema = check_source(source, job, item.aside is not None)
        existing_record(item, source, job, overwrite)
        tokens = {column.name for column in job.columns}
        return source.changed_types({name for name in schema.names if name not in tokens})


def _check_most_fit(items: Sequence[Item], job: Job) -> None:
    """Raise DataError when most of the first rows are bad by their shape, since the job is then."""
    rows, misfits = 0, Counter[str]()
    first: DataError | None = None
    for name, before, batch in _first_rows(items, job):
        rows += batch.num_rows
        for error in bad_rows(batch, job).values():
            if error.kind in MISFITS:
                misfits[error.kind] += 1
                first = first or placed(error, name, before, batch, job)
    if first is not None and 2 * misfits.total() > rows:
        (kind, _), *_ = misfits.most_common()
        raise DataError(
            "layout-misfits",
            f"{misfits.total():,} of the first {rows:,} rows do not fit, this one first: "
            f"{first.found}",
            expected=first.expected,
            advice=MISFITS[kind],
            place=first.place,
        )


def _first_rows(items: Sequence[Item], job: Job) -> Iterator[tuple[str, int, pa.RecordBatch]]:
    """The first rows of all shards: the shard's name, how many of its rows come before, a batch."""
    left = _LOOKED_AT_ROWS
    for shard, codes in _pairs_of_data(items):
        with open_source(shard, codes, job) as source, reading(shard.name):
            before = 0
            for batch in source.small_batches(_names_that_tell(source, job)):
                yield shard.name, before, batch.slice(0, left)
                before += batch.num_rows
                left -= min(left, batch.num_rows)
                if not left:
                    return


def _names_that_tell(source: Opened, job: Job) -> list[str]:
    """The columns of which rows may be bad, and the key."""
    names = {*(column.name for column in job.columns), job.factors, job.key}
    return [name for name in source.schema.names if name in names]


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
