"""Verify one shard: revert it and compare, and check every cell that the pattern made.

The shard's own record says which job made it. With the original shard at hand its rows are
compared one by one; without it, the digests in the record stand for it. Either way each filled
cell, each weight, each length and the counts must be what the recipe says.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from delaytool.digest import BatchDigest, first_difference, schema_digest
from delaytool.errors import DataError, Place
from delaytool.job import Column, Counts, Record
from delaytool.pattern import Segments, wrong_tokens
from delaytool.recipe import Recipe
from delaytool.shards import (
    OpenShard,
    Shard,
    ahead,
    as_stored,
    decode_schema,
    open_shard,
    read_record,
    reading,
)
from delaytool.tokens import TokenBatch, place_of, read_weights
from delaytool.transform import cut, key_of, placed, read_shifted, shifted_schema, unshift
from delaytool.weights import loss_weights_flat

MAX_MISMATCHES = 20
"""Mismatches of one shard that are kept; more are counted only."""


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
    """What verifying one shard found."""

    name: str
    rows: int = 0
    tokens: int = 0
    lost: int = 0
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
    shard: Shard, source: Shard | None, recipe: Recipe | None
) -> Generator[float, None, Verified]:
    """Verify a shard.

    source:  the original shard, if it is at hand
    recipe:  what the shard must have been made with, if that is demanded
    yields:  the fraction of the rows that are done
    returns: what was found; a shard that cannot be read is a mismatch too, so nothing is raised
             for it
    """
    verified = Verified(shard.name)
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(reading(shard.name))
            output = stack.enter_context(open_shard(shard))
            original = None if source is None else stack.enter_context(open_shard(source))
            record = read_record(output)
            if record is None:
                verified.add("record", "a delaytool entry in the footer", "none")
            else:
                yield from _Check(output, original, record, verified).run(recipe)
    except DataError as error:
        verified.add("reading", error.expected or "a good shard", error.found, error.place)
    return verified


class _Check:
    """The comparison of one shard with its record, and with its source."""

    def __init__(
        self, output: OpenShard, original: OpenShard | None, record: Record, verified: Verified
    ) -> None:
        self.output, self.original = output, original
        self.record, self.job, self.verified = record, record.job, verified
        self.schema = decode_schema(record.source.schema)
        self.frames = 0

    def run(self, recipe: Recipe | None) -> Generator[float, None, None]:
        """Everything, from the footer to the last row."""
        if recipe is not None and recipe != self.job.recipe:
            self._recipes_differ(recipe)
        if not self._check_schema():
            return
        digest = BatchDigest(self.schema.names)
        rows = self.verified.rows
        with contextlib.closing(ahead(self._pairs())) as pairs:
            for batch, original in pairs:
                try:
                    self._check_batch(batch, original, digest, rows)
                except DataError as error:
                    error = placed(error, self.verified.name, rows, batch, self.job)
                    self.verified.add("layout", error.expected, error.found, error.place)
                    digest = BatchDigest([])
                rows += batch.num_rows
                self.verified.rows = rows
                yield rows / max(self.output.rows, 1)
        self.verified.tokens = self.frames * len(self.job.recipe.streams)
        self._check_counts(rows)
        for name, found in digest.hexdigests().items():
            if self.record.digests.columns.get(name) != found:
                expected = self.record.digests.columns.get(name, "none")
                self.verified.add("digest", expected, found, Place(column=name))

    def _recipes_differ(self, recipe: Recipe) -> None:
        ours, theirs = recipe.to_dict(), self.job.recipe.to_dict()
        for name in ours:
            if name != "streams" and ours[name] != theirs[name]:
                self.verified.add(f"recipe, {name}", ours[name], theirs[name])
        if len(recipe.streams) != len(self.job.recipe.streams):
            self.verified.add("recipe, streams", len(recipe.streams), len(self.job.recipe.streams))
            return
        for mine, its in zip(ours["streams"], theirs["streams"], strict=True):
            for name in mine:
                if mine[name] != its[name]:
                    place = Place(stream=mine["name"])
                    self.verified.add(f"recipe, {name}", mine[name], its[name], place)

    def _check_schema(self) -> bool:
        """Check the columns, types and metadata; False where rows cannot be compared."""
        record, verified = self.record, self.verified
        expected = shifted_schema(self.schema, self.job)
        found = self.output.schema
        fine = True
        if expected.names != found.names:
            verified.add("columns", ", ".join(expected.names), ", ".join(found.names))
            return False
        stored = [
            (as_stored(want), as_stored(have)) for want, have in zip(expected, found, strict=True)
        ]
        for want, have in stored:
            if not want.equals(have, check_metadata=True):
                verified.add("type", str(want), str(have), Place(column=want.name))
                fine = fine and want.type == have.type
        if (expected.metadata or {}) != (found.metadata or {}):
            verified.add("schema metadata", _keys(expected), _keys(found))
        digest = schema_digest(record.source.schema, self.output.extra_metadata)
        if digest != record.digests.schema:
            verified.add("schema and metadata", record.digests.schema, digest)
        if set(record.digests.columns) != set(self.schema.names):
            names = ", ".join(record.digests.columns)
            verified.add("digests", ", ".join(self.schema.names), names)
        if self.original is not None and self.original.schema_digest() != record.digests.schema:
            verified.add("source schema", _types(self.original.schema), _types(self.schema))
            fine = fine and self.original.schema.types == self.schema.types
            fine = fine and self.original.schema.names == self.schema.names
        return fine

    def _pairs(self) -> Iterator[tuple[pa.RecordBatch, pa.RecordBatch | None]]:
        """Batches of the output, each with the rows of the original that it should hold."""
        if self.original is None:
            for batch in self.output.batches(self.job):
                yield batch, None
            return
        originals = _Rows(self.original.batches(self.job))
        for batch in self.output.batches(self.job):
            yield batch, originals.take(batch.num_rows)
        rest = originals.count_rest()
        if rest:
            self.verified.add("rows", self.output.rows + rest, self.output.rows)

    def _check_batch(
        self,
        batch: pa.RecordBatch,
        original: pa.RecordBatch | None,
        digest: BatchDigest,
        rows: int,
    ) -> None:
        codes = read_shifted(batch, self.job)
        self.frames += int(codes.lengths.sum())
        for column, flat in zip(self.job.columns, codes.columns, strict=True):
            segments = Segments(self.job.recipe, codes.lengths, column.streams(self.job.recipe))
            filled = segments.filled()
            fills = filled.look_up(segments.token_table())
            wrong = np.flatnonzero(flat[filled.index] != fills)
            for i in wrong[np.argsort(filled.index[wrong])]:
                where = int(filled.index[i])
                place = self._place(where, segments, column, batch, rows)
                self.verified.add("fill token", fills[i], flat[where], place)
            # A wrong token in a filled cell has been told; zero stands for it from here on.
            tokens = flat
            if filled.index.size:
                tokens = flat.copy()
                tokens[filled.index] = 0
            for where in wrong_tokens(tokens, segments.streams, segments.steps):
                place = self._place(int(where), segments, column, batch, rows)
                stream = next(s for s in segments.streams if s.name == place.stream)
                expected = f"0 to {stream.cardinality - 1}, or -1"
                self.verified.add("token", expected, flat[where], place)
            if column.weights:
                expected_weights = loss_weights_flat(flat, segments, column.first, filled)
                self._check_weights(batch, column, segments, expected_weights, rows)
            if self.job.recipe.length == "truncate":
                lost = segments.lost()
                self.verified.lost += 0 if lost is None else int(lost.sum())
        restored = unshift(batch, self.job, self.schema)
        digest.update(restored)
        if self.original is not None:
            self._compare(restored, original, codes, rows)

    def _place(
        self, position: int, segments: Segments, column: Column, batch: pa.RecordBatch, rows: int
    ) -> Place:
        row, number, timestep = place_of(position, segments.steps, column.count)
        return Place(
            row=rows + row,
            key=key_of(batch, row, self.job),
            column=column.name,
            stream=segments.streams[number].name,
            timestep=timestep,
        )

    def _check_weights(
        self,
        batch: pa.RecordBatch,
        column: Column,
        segments: Segments,
        expected: Any,
        rows: int,
    ) -> None:
        found, steps = read_weights(batch, column, self.job)
        for row in np.flatnonzero(steps != segments.steps)[:MAX_MISMATCHES]:
            place = Place(
                row=rows + int(row), key=key_of(batch, row, self.job), column=column.weights
            )
            self.verified.add("timesteps", segments.steps[row], steps[row], place)
        if not np.array_equal(steps, segments.steps):
            return
        for where in np.flatnonzero(found.view(np.int32) != expected.view(np.int32)):
            place = self._place(int(where), segments, column, batch, rows)
            self.verified.add("loss weight", expected[where], found[where], place)

    def _compare(
        self,
        restored: pa.RecordBatch,
        original: pa.RecordBatch | None,
        codes: TokenBatch,
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
        wanted, had = pair
        if column.layout == "list":
            wanted, had = [wanted], [had]
        recipe = self.job.recipe
        for stream, want, have in zip(column.streams(recipe), wanted, had, strict=True):
            if len(want) != len(have):
                where = Place(place.shard, place.row, place.key, column.name, stream.name)
                self.verified.add("frames", len(want), len(have), where)
                return
            for frame, (token, other) in enumerate(zip(want, have, strict=True)):
                if token != other:
                    timestep = frame + stream.delay + recipe.initial_step
                    where = Place(
                        place.shard, place.row, place.key, column.name, stream.name, timestep
                    )
                    self.verified.add("token", token, other, where)

    def _check_counts(self, rows: int) -> None:
        recipe = self.job.recipe
        found = Counts(
            rows_in=rows,
            rows_out=rows,
            frames=self.frames,
            tokens=self.frames * len(recipe.streams),
            lost=self.verified.lost,
        )
        if self.output.rows != rows:
            self.verified.add("rows", self.output.rows, rows)
        if found != self.record.counts:
            for name in ("rows_in", "rows_out", "frames", "tokens", "lost"):
                want, have = getattr(self.record.counts, name), getattr(found, name)
                if want != have:
                    self.verified.add(f"count of {name}", want, have)


class _Rows:
    """Takes rows off a stream of batches, any number at a time."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self.batches = batches
        self.rest: pa.RecordBatch | None = None

    def take(self, count: int) -> pa.RecordBatch | None:
        """The next rows, fewer when the stream ends; None when it has ended."""
        taken = []
        while count:
            if self.rest is None or not self.rest.num_rows:
                self.rest = next(self.batches, None)
                if self.rest is None:
                    break
            part = self.rest.slice(0, count)
            self.rest = self.rest.slice(part.num_rows)
            taken.append(part)
            count -= part.num_rows
        if not taken:
            return None
        if len(taken) == 1:
            return taken[0]
        arrays = [
            pa.concat_arrays([part.column(i) for part in taken])
            for i in range(len(taken[0].schema))
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=taken[0].schema)

    def count_rest(self) -> int:
        """How many rows are left; they are read."""
        rest = 0 if self.rest is None else int(self.rest.num_rows)
        return rest + sum(int(batch.num_rows) for batch in self.batches)


def _keys(schema: pa.Schema) -> str:
    entries = {
        key.decode(errors="replace"): value.decode(errors="replace")
        for key, value in (schema.metadata or {}).items()
    }
    return str(_short(entries or "none"))


def _types(schema: pa.Schema) -> str:
    return str(_short(", ".join(f"{field.name}: {field.type}" for field in schema)))


def _short(value: Any) -> Any:
    """A value as it is if JSON can hold it and it is short, else the beginning of its text."""
    if isinstance(value, (int, float, bool, type(None))):
        return value
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 200 else text[:197] + "..."
