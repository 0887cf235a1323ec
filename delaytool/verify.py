"""Verify one shard: revert it and compare, and check every cell that the pattern made.

The shard's own record says which job made it. With the original shard at hand its rows are
compared one by one; without it, the digests in the record stand for it. Either way each filled
cell, each weight, each length and the counts must be what the recipe says.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from delaytool import stores
from delaytool.digest import BatchDigest, first_difference, schema_digest
from delaytool.errors import DataError, Place
from delaytool.figures import figures_of, figures_of_nothing
from delaytool.job import (
    ASIDE,
    REASON,
    Column,
    Counts,
    Job,
    Output,
    Reason,
    Record,
    reasons_of,
)
from delaytool.pattern import Array, Index, Segments, undelay_flat, wrong_tokens
from delaytool.quarantine import is_quarantine
from delaytool.recipe import Recipe
from delaytool.report import Summary
from delaytool.shards import (
    Opened,
    OpenShard,
    Rows,
    Shard,
    ahead,
    is_stored_as,
    open_shard,
    open_source,
    read_record,
    reading,
    source_schema,
)
from delaytool.tokens import (
    TokenBatch,
    place_of,
    read_factors,
    read_values,
    segments_of_column,
    split_rows,
    streams_first,
    text_lengths,
)
from delaytool.transform import (
    Padded,
    Quarantined,
    bad_rows,
    count,
    cut,
    key_of,
    kind_of_problem,
    originals,
    placed,
    quarantine_schema,
    read_shifted,
    segments_of_outputs,
    shifted_schema,
    undelayed,
    weights_of,
)
from delaytool.weights import Weights, labels_flat

MAX_MISMATCHES = 20
"""Mismatches of one shard that are kept; more are counted only."""
_MAX_WAYS, _MAX_DIFFERENCES = 10, 5
"""Ways in which shards of one folder were made that are told apart, and what is told of each."""


@dataclass(frozen=True)
class Mismatch:
    """One thing that is not as it has to be; timesteps are those of the shifted grid."""

    place: Place
    what: str
    expected: Any
    found: Any

    def to_dict(self) -> dict[str, Any]:
        """The fields that the command line prints as JSON."""
        place = self.place
        return {
            "shard": place.shard,
            "row": place.row,
            "stream": place.stream,
            "timestep": place.timestep,
            "expected": self.expected,
            "found": self.found,
            "what": self.what if place.column is None else f"{self.what}, column {place.column}",
        }

    def __str__(self) -> str:
        """One line: the place, what is compared, what was found and what was expected."""
        return f"{self.place}: {self.what}: found {self.found}, expected {self.expected}"


@dataclass
class Verified:
    """What verifying one shard found.

    way: a digest of how it was made, of recipe and output columns; empty where that is not known
    left_out: whether nothing was looked for, since the shard holds quarantined rows
    """

    name: str
    way: str = ""
    rows: int = 0
    tokens: int = 0
    lost: int = 0
    summary: Summary | None = None
    left_out: bool = False
    count: int = 0
    mismatches: list[Mismatch] = field(default_factory=list)

    def add(self, what: str, expected: Any, found: Any, place: Place | None = None) -> None:
        """Note a mismatch."""
        self.count += 1
        if len(self.mismatches) < MAX_MISMATCHES:
            where = Place() if place is None else place
            place = Place(
                self.name, where.row, where.key, where.column, where.stream, where.timestep
            )
            self.mismatches.append(Mismatch(place, what, _plain(expected), _plain(found)))


def _plain(value: Any) -> Any:
    """A value as JSON has it, which knows no NaN."""
    value = value.item() if isinstance(value, np.generic) else value
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def verify_shard(
    shard: Shard,
    source: Shard | None,
    codes: Shard | None,
    recipe: Recipe | None,
    quarantine: str | None = None,
) -> Generator[float, None, Verified]:
    """Verify a shard.

    source:     the original shard, if it is at hand
    codes:      the original shard of codes, where they were in one of their own
    recipe:     what the shard must have been made with, if that is demanded
    quarantine: where its quarantined rows are, if they are to be checked too
    yields:     the fraction of the rows that are done
    returns:    what was found; a shard that cannot be read is a mismatch too, so nothing is raised
                for it
    """
    verified = Verified(shard.name)
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(reading(shard.name))
            output = stack.enter_context(open_shard(shard))
            if output.is_quarantine:
                verified.left_out = source is None or is_quarantine(source)
                if not verified.left_out:
                    verified.add("shard", "a shard made from this source", "quarantined rows")
                return verified
            record = read_record(output)
            if record is None:
                verified.add("record", "a delaytool entry in the footer", "none")
                return verified
            verified.way = _way(record.job)
            original = None
            if source is not None:
                original = stack.enter_context(open_source(source, codes, record.job.key))
                if len(original.sources) != len(record.sources):
                    verified.add("sources", len(record.sources), len(original.sources))
                    return verified
            check = _Check(output, original, record, verified)
            if quarantine is not None:
                check.quarantine = _QuarantineCheck(output, record, verified)
                stack.enter_context(check.quarantine)
                check.quarantine.open(quarantine)
            yield from check.run(recipe)
    except DataError as error:
        verified.add("reading", error.expected or "a good shard", error.found, error.place)
    return verified


class _Check:
    """The comparison of one shard with its record, and with its source."""

    def __init__(
        self,
        output: OpenShard,
        original: Opened | None,
        record: Record,
        verified: Verified,
    ) -> None:
        self.output, self.original = output, original
        self.record, self.job, self.verified = record, record.job, verified
        self.schema = source_schema(record)
        self.padded = Padded(record)
        self.aside = Quarantined(record)
        self.counts, self.figures = Counts(), figures_of_nothing(record.job)
        # What only the source can tell is counted there, if it is at hand.
        self.source_rows = self.trimmed = 0
        self.reasons: Counter[tuple[str, str | None]] = Counter()
        self.quarantine: _QuarantineCheck | None = None

    def run(self, recipe: Recipe | None) -> Generator[float, None, None]:
        """Everything, from the footer to the last row."""
        if recipe is not None and recipe != self.job.recipe:
            self._recipes_differ(recipe)
        if not self._check_schema():
            return
        digest = BatchDigest(self.schema.names)
        rows = self.verified.rows
        with contextlib.closing(self._pairs()) as pairs:
            for batch, original in pairs:
                try:
                    self._check_batch(batch, original, digest, rows)
                except DataError as error:
                    error = placed(error, self.verified.name, rows, batch, self.job)
                    self.verified.add("layout", error.expected, error.found, error.place)
                    digest = BatchDigest([])
                rows += batch.num_rows
                self.verified.rows = rows
                self.verified.tokens = self.counts.tokens
                yield rows / max(self.output.rows, 1)
        if self.original is None:
            self.trimmed = self.record.counts.trimmed
        self.verified.lost = self.counts.lost + self.trimmed
        recipe, reasons = self.job.recipe, self.record.reasons
        self.verified.summary = Summary(recipe, self.counts, self.figures, reasons)
        self._check_counts(rows)
        for name, found in digest.hexdigests().items():
            if self.record.digests.columns.get(name) != found:
                expected = self.record.digests.columns.get(name, "none")
                self.verified.add("digest", expected, found, Place(column=name))

    def _recipes_differ(self, recipe: Recipe) -> None:
        for difference in _differences(recipe, self.job.recipe):
            self.verified.add(*difference)

    def _check_schema(self) -> bool:
        """Check the columns, types and metadata; False where rows cannot be compared."""
        record, verified = self.record, self.verified
        expected = shifted_schema(self.schema, self.job)
        found = self.output.schema
        fine = True
        if expected.names != found.names:
            verified.add("columns", ", ".join(expected.names), ", ".join(found.names))
            return False
        for want, have in zip(expected, found, strict=True):
            if not is_stored_as(have, want):
                verified.add("type", str(want), str(have), Place(column=want.name))
                fine = fine and want.type == have.type
        if (expected.metadata or {}) != (found.metadata or {}):
            verified.add("schema metadata", _keys(expected), _keys(found))
        schemas = [source.schema for source in record.sources]
        digest = schema_digest(schemas, self.output.extra_metadata)
        if digest != record.digests.schema:
            verified.add("schema and metadata", record.digests.schema, digest)
        if set(record.digests.columns) != set(self.schema.names):
            names = ", ".join(record.digests.columns)
            verified.add("digests", ", ".join(self.schema.names), names)
        if list(record.digests.quarantined) != (
            [*self.schema.names, REASON] if self.aside.count else []
        ):
            names = ", ".join(record.digests.quarantined)
            verified.add("digests of quarantined rows", self.aside.count, names)
        if self.original is not None:
            schemas = [source.schema for source in self.original.sources]
            if schema_digest(schemas, self.original.extra_metadata) != record.digests.schema:
                theirs = self.original.schema
                verified.add("source schema", _types(theirs), _types(self.schema))
                fine = fine and theirs.types == self.schema.types
                fine = fine and theirs.names == self.schema.names
        return fine

    def _pairs(self) -> Generator[tuple[pa.RecordBatch, pa.RecordBatch | None], None, None]:
        """Batches of the output, each with the rows of the original that it should hold."""
        # An original is decoded in a thread of its own.
        lanes = 2 if self.original is None else 1
        with contextlib.closing(self.output.batches_in_lanes(lanes)) as batches:
            if self.original is None:
                for batch in batches:
                    yield batch, None
                return
            with contextlib.closing(ahead(self._good_rows())) as good:
                originals = Rows(good)
                for batch in batches:
                    yield batch, originals.take(batch.num_rows)
                rest = originals.count_rest()
        if rest:
            self.verified.add("rows", self.output.rows + rest, self.output.rows)

    def _good_rows(self) -> Iterator[pa.RecordBatch]:
        """The original rows without those that are in quarantine, which must be the bad ones."""
        assert self.original is not None, "only a source has rows to compare with"
        rows = 0
        # As apply read them, so that what it could read can be read here.
        for batch in self.original.small_batches():
            aside = self.aside.of_rows(rows, batch.num_rows)
            if len(aside):
                bad = bad_rows(batch, self.job)
                self.reasons.update(map(kind_of_problem, bad.values()))
                for row in sorted(set(bad) ^ set(aside)):
                    place = Place(row=rows + row, key=key_of(batch, row, self.job))
                    pair = ("a good row", "in quarantine")
                    self.verified.add("quarantine", *(pair if row in aside else pair[::-1]), place)
                good, put_aside = split_rows(batch, aside)
                if self.quarantine is not None:
                    self.quarantine.compare(put_aside)
                yield good
            else:
                yield batch
            rows += batch.num_rows
            self.source_rows = rows

    def _check_batch(
        self,
        batch: pa.RecordBatch,
        original: pa.RecordBatch | None,
        digest: BatchDigest,
        rows: int,
    ) -> None:
        codes = read_shifted(batch, self.job)
        padded = self.padded.of_rows(rows, batch.num_rows)
        self.counts += count(codes.lengths, codes.lengths - padded, self.job.recipe)
        all_segments = segments_of_outputs(codes.lengths, self.job)
        tokens = undelayed(codes, all_segments)
        outputs = self.job.outputs
        factors = read_factors(batch, self.job, tokens, outputs) if self.job.factors else None
        columns = zip(self.job.outputs, codes.columns, tokens.columns, all_segments, strict=True)
        all_weights: list[Weights | None] = []
        for output, flat, kept, segments in columns:
            at = _Places(batch, rows, output, segments, self.job)
            self._check_cells(flat, kept, segments, at)
            all_weights.append(None)
            if output.weights or output.labels:
                weights = weights_of(flat, segments, output, factors)
                self._check_column(output.weights, "loss weight", weights, at)
                all_weights[-1] = weights if output.weights else None
                if output.labels:
                    self._check_column(output.labels, "label", labels_flat(flat, weights), at)
        self.figures += figures_of(codes.columns, all_segments, all_weights, self.job)
        restored = originals(batch, tokens, self.job, self.schema, padded)
        if padded.any():
            self._check_padding(codes, padded, batch, rows)
        digest.update(restored)
        if self.original is not None:
            self._compare(restored, original, rows)
        if original is not None and self.job.align == "trim":
            texts = text_lengths(original, self.job)
            self.trimmed += int(np.maximum(texts - codes.lengths[: len(texts)], 0).sum())

    def _check_cells(self, flat: Array, kept: Array, segments: Segments, at: _Places) -> None:
        """Every filled cell holds its fill token, every other one a token of the vocabulary.

        kept: the same cells shifted back
        """
        filled, fills = segments.filled, segments.of_filled(segments.token_table())
        for i in np.flatnonzero(flat[filled] != fills):
            where = int(filled[i])
            self.verified.add("fill token", fills[i], flat[where], at.place(where))
        if not wrong_tokens(kept, segments, segments.lengths).size:
            return
        tokens = flat.copy()
        tokens[filled] = 0
        for where in wrong_tokens(tokens, segments, segments.steps):
            place = at.place(int(where))
            stream = next(s for s in segments.streams if s.name == place.stream)
            expected = f"0 to {stream.cardinality - 1}, or -1"
            self.verified.add("token", expected, flat[where], place)

    def _check_column(self, name: str | None, what: str, expected: Array, at: _Places) -> None:
        """A column of weights or labels, value by value and bit by bit."""
        if name is None:
            return
        found, steps = read_values(at.batch, name, at.output, self.job)
        for row in np.flatnonzero(steps != at.segments.steps)[:MAX_MISMATCHES]:
            place = at.of_row(int(row), name)
            self.verified.add("timesteps", at.segments.steps[row], steps[row], place)
        if not np.array_equal(steps, at.segments.steps):
            return
        bits = np.dtype(f"i{expected.dtype.itemsize}")
        ours, theirs = found.view(bits), expected.view(bits)
        # Arrow compares memory, in no time; where values differ is looked for when some do.
        if pa.array(ours).equals(pa.array(theirs)):
            return
        for where in np.flatnonzero(ours != theirs):
            self.verified.add(what, expected[where], found[where], at.place(int(where)))

    def _check_padding(
        self, codes: TokenBatch, padded: Index, batch: pa.RecordBatch, rows: int
    ) -> None:
        """Text that alignment has made longer ends in as much padding."""
        stream, output = self.job.recipe.streams[0], self.job.outputs[0]
        segments = segments_of_column(output, codes.lengths, self.job)
        grid = streams_first(
            undelay_flat(codes.columns[0], segments, stream.padding),
            codes.lengths,
            output.count,
            segments.by_stream,
        )
        ends = np.cumsum(codes.lengths)
        at = _Places(batch, rows, output, segments, self.job)
        for row in np.flatnonzero(padded):
            tail = grid[0, ends[row] - padded[row] : ends[row]]
            for i in np.flatnonzero(tail != stream.padding):
                frame = int(codes.lengths[row] - padded[row] + i)
                timestep = frame + stream.delay + self.job.recipe.initial_step
                place = dataclasses.replace(
                    at.of_row(int(row), output.name), stream=stream.name, timestep=timestep
                )
                self.verified.add("text padding", stream.padding, tail[i], place)

    def _compare(
        self,
        restored: pa.RecordBatch,
        original: pa.RecordBatch | None,
        rows: int,
    ) -> None:
        """Compare reverted rows with the source's."""
        there = 0 if original is None else original.num_rows
        if there < restored.num_rows:
            self.verified.add("rows", rows + there, self.output.rows)
        if original is None or not there:
            return
        expected = cut(original, self.job)
        columns = {column.name: column for column in self.job.columns}
        for name in self.schema.names:
            ours, theirs = restored.column(name).slice(0, there), expected.column(name)
            start = 0
            while self.verified.count <= MAX_MISMATCHES:
                row = first_difference(ours.slice(start), theirs.slice(start))
                if row is None:
                    break
                row += start
                key = key_of(original, row, self.job)
                place = Place(row=rows + row, key=key, column=name)
                pair = (theirs[row].as_py(), ours[row].as_py())
                if name in columns:
                    self._tokens_differ(pair, columns[name], place)
                else:
                    self.verified.add("value", _short(pair[0]), _short(pair[1]), place)
                start = row + 1

    def _tokens_differ(self, pair: tuple[Any, Any], column: Column, place: Place) -> None:
        """Note where the tokens of one row differ from the source's."""
        wanted, had = (codebooks_of(row, column) for row in pair)
        recipe = self.job.recipe
        for number, (want, have) in enumerate(zip(wanted, had, strict=False)):
            stream = None
            if 0 <= number - column.start < column.count:
                stream = column.streams(recipe)[number - column.start]
            where = dataclasses.replace(
                place, stream=stream.name if stream else f"codebook {number}"
            )
            if len(want) != len(have):
                self.verified.add("frames", len(want), len(have), where)
                return
            for frame, (token, other) in enumerate(zip(want, have, strict=True)):
                if token != other:
                    moved = stream.delay + recipe.initial_step if stream else 0
                    self.verified.add(
                        "token", token, other, dataclasses.replace(where, timestep=frame + moved)
                    )
        if len(wanted) != len(had):
            self.verified.add("codebooks", len(wanted), len(had), place)

    def _check_counts(self, rows: int) -> None:
        counts = self.record.counts
        aside = self.aside.count
        rows_in = self.counts.rows_out + aside if self.original is None else self.source_rows
        found = dataclasses.replace(
            self.counts, trimmed=self.trimmed, rows_in=rows_in, quarantined=aside
        )
        if self.output.rows != rows:
            self.verified.add("rows", self.output.rows, rows)
        for name in dataclasses.asdict(counts):
            want, have = getattr(counts, name), getattr(found, name)
            if want != have:
                self.verified.add(f"count of {name}", want, have)
        recorded, figures = self.record.figures.to_dict(), self.figures.rounded().to_dict()
        for name in figures:
            if recorded[name] != figures[name]:
                self.verified.add(f"figure of {name}", recorded[name], figures[name])
        reasons = self.record.reasons
        told = sum(reason.rows for reason in reasons)
        if told != aside:
            self.verified.add("rows with a reason", told, aside)
        elif self.original is not None and reasons != (seen := reasons_of(self.reasons)):
            self.verified.add("reasons", _told(reasons), _told(seen))
        for name, align in (("trimmed", "trim"), ("padded", "pad")):
            if getattr(counts, name) and self.job.align != align:
                self.verified.add(f"count of {name}", 0, getattr(counts, name))


# Shards of one folder


def compare_with_first(shards: Sequence[Shard], results: Sequence[Verified]) -> Verified:
    """Whether shards that belong together were made in one way, as the first of them was.

    Of each other way the first shard is told, and how it differs; the others are counted.

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
        for what, *values in _ways_differ(expected, _job_of(shard)):
            differing.add(f"{what}, other than in {first.name}", *values)
        found.mismatches += differing.mismatches[:_MAX_DIFFERENCES]
        found.count += max(differing.count - 1, 0)
    return found


def _way(job: Job) -> str:
    """A digest of all that a dataset's shards must have in common."""
    outputs = [dataclasses.asdict(output) for output in job.outputs]
    text = json.dumps([job.recipe.to_dict(), outputs], sort_keys=True)
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


def _ways_differ(expected: Job, found: Job) -> Iterator[Difference]:
    """How recipe and output columns of two jobs differ."""
    yield from _differences(expected.recipe, found.recipe)
    wanted, had = (
        [name for output in job.outputs for name in Job.names_of(output)]
        for job in (expected, found)
    )
    if wanted != had:
        yield "output columns", ", ".join(wanted), ", ".join(had), Place()
        return
    for want, have in zip(expected.outputs, found.outputs, strict=True):
        ours, theirs = dataclasses.asdict(want), dataclasses.asdict(have)
        for name in ours:
            if ours[name] != theirs[name]:
                yield f"output, {name}", ours[name], theirs[name], Place(column=want.name)


def _differences(expected: Recipe, found: Recipe) -> Iterator[Difference]:
    """How two recipes differ."""
    ours, theirs = expected.to_dict(), found.to_dict()
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


class _QuarantineCheck(contextlib.ExitStack):
    """The comparison of a shard of quarantined rows with their output's record, and their source.

    Rows of its mismatches are those of the source.
    """

    def __init__(self, output: OpenShard, record: Record, verified: Verified) -> None:
        super().__init__()
        self.output, self.record, self.job, self.verified = output, record, record.job, verified
        self.aside = Quarantined(record)
        self.rows: Rows | None = None
        self.compared = 0

    def open(self, path: str) -> None:
        """Check the shard at a path, and make ready to compare its rows."""
        if stores.kind_of(path) is None:
            if self.aside.count:
                self._add("", f"a shard of {self.aside.count} rows", "none")
            return
        try:
            opened = self.enter_context(open_shard(Shard(path, path), whole=True))
            if not self.aside.count:
                self._add("", "none", f"a shard of {opened.rows} rows")
            elif self._check_footer(opened):
                self._check_rows(opened)
                self.rows = Rows(opened.small_batches())
        except DataError as error:
            self._add("reading", error.expected or "a good shard", error.found, error.place)

    def _add(self, what: str, expected: Any, found: Any, place: Place | None = None) -> None:
        self.verified.add(f"quarantine, {what}" if what else "quarantine", expected, found, place)

    def _check_footer(self, opened: OpenShard) -> bool:
        """Check the record, the columns and the number of rows; False where rows cannot be read."""
        if opened.entry_called(ASIDE) != self.output.entry:
            self._add("record", "that of the output", "another, or none")
        if opened.extra_metadata != self.output.extra_metadata:
            self._add("metadata", _named(self.output), _named(opened))
        expected, found = quarantine_schema(source_schema(self.record)), opened.schema
        if (expected.metadata or {}) != (found.metadata or {}):
            self._add("schema metadata", _keys(expected), _keys(found))
        if opened.rows != self.aside.count:
            self._add("rows", self.aside.count, opened.rows)
        if expected.names != found.names or not all(map(is_stored_as, found, expected)):
            self._add("columns", _types(expected), _types(found))
            return False
        return True

    def _check_rows(self, opened: OpenShard) -> None:
        """Check that the rows are those that were put there, and bad as the record says."""
        digest, reasons = BatchDigest(opened.schema.names), Counter[tuple[str, str | None]]()
        rows = 0
        with reading(opened.shard.name):
            for batch in opened.small_batches():
                digest.update(batch)
                bad = bad_rows(batch, self.job)
                reasons.update(map(kind_of_problem, bad.values()))
                for row in sorted(set(range(batch.num_rows)) - set(bad)):
                    self._add("row", "a bad row", "a good row", self._place(rows, batch, row))
                rows += batch.num_rows
        for name, found in digest.hexdigests().items():
            expected = self.record.digests.quarantined.get(name, "none")
            if found != expected:
                self._add("digest", expected, found, Place(column=name))
        if (seen := reasons_of(reasons)) != self.record.reasons:
            self._add("reasons", _told(self.record.reasons), _told(seen))

    def compare(self, expected: pa.RecordBatch) -> None:
        """Compare the next rows with those of the source that were put aside."""
        found = None if self.rows is None else self.rows.take(expected.num_rows)
        if found is None:
            return
        for name in expected.schema.names:
            ours, theirs = found.column(name), expected.column(name).slice(0, found.num_rows)
            start = 0
            while self.verified.count <= MAX_MISMATCHES:
                row = first_difference(ours.slice(start), theirs.slice(start))
                if row is None:
                    break
                start += row + 1
                pair = _short(theirs[start - 1].as_py()), _short(ours[start - 1].as_py())
                place = self._place(self.compared, expected, start - 1)
                self._add("value", *pair, dataclasses.replace(place, column=name))
        self.compared += found.num_rows

    def _place(self, before: int, batch: pa.RecordBatch, row: int) -> Place:
        """The place of a row of a batch, of which so many rows come before."""
        return Place(row=self.aside.row_of(before + row), key=key_of(batch, row, self.job))


@dataclass(frozen=True)
class _Places:
    """Where the cells of an output's column are, in the words of an error."""

    batch: pa.RecordBatch
    rows: int
    output: Output
    segments: Segments
    job: Job

    def of_row(self, row: int, column: str) -> Place:
        """The place of a row of the batch."""
        return Place(row=self.rows + row, key=key_of(self.batch, row, self.job), column=column)

    def place(self, position: int) -> Place:
        """The place of a position in the flat array."""
        row, number, timestep = place_of(
            position, self.segments.steps, self.output.count, self.segments.by_stream
        )
        return dataclasses.replace(
            self.of_row(row, self.output.name),
            stream=self.segments.streams[number].name,
            timestep=timestep,
        )


def codebooks_of(row: Any, column: Column) -> list[Any]:
    """A row of Python lists as one list for each codebook, whatever its layout."""
    if column.layout == "codebook":
        return list(row)
    if column.layout == "frame":
        return [list(book) for book in zip(*row, strict=False)]
    size = column.size
    if column.layout == "flat-frame":
        return [row[q::size] for q in range(size)]
    frames = len(row) // size
    return [row[q * frames : (q + 1) * frames] for q in range(size)]


def _named(opened: OpenShard) -> str:
    return str(
        _short(", ".join(k.decode(errors="replace") for k in opened.extra_metadata) or "none")
    )


def _keys(schema: pa.Schema) -> str:
    entries = {
        key.decode(errors="replace"): value.decode(errors="replace")
        for key, value in (schema.metadata or {}).items()
    }
    return str(_short(entries or "none"))


def _types(schema: pa.Schema) -> str:
    return str(_short(", ".join(f"{field.name}: {field.type}" for field in schema)))


def _told(reasons: tuple[Reason, ...]) -> Any:
    return _short("; ".join(f"{reason} ({reason.rows})" for reason in reasons) or "none")


def _short(value: Any) -> Any:
    """A value as it is if JSON can hold it and it is short, else the beginning of its text."""
    if isinstance(value, (int, float, bool, type(None))):
        return value
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 200 else text[:197] + "..."
