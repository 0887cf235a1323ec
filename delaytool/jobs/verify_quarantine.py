"""The comparison of a shard of quarantined rows with its output's record."""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter
from typing import Any

import pyarrow as pa

from delaytool.batches.digest import BatchDigest, first_difference
from delaytool.batches.metadata import QUARANTINE_ENTRY, STORED_SCHEMA
from delaytool.batches.problems import key_of, kind_of_problem
from delaytool.batches.schema import mended_entries, quarantine_schema
from delaytool.batches.shift import bad_rows
from delaytool.batches.types import is_stored_as
from delaytool.batches.values import value_of
from delaytool.errors import DataError, Place
from delaytool.jobs.mismatches import (
    MAX_MISMATCHES,
    Verified,
    entry_differences,
    keys_of,
    reasons_in_words,
    shortened,
    types_of,
)
from delaytool.shards import stores
from delaytool.shards.bounded import Rows
from delaytool.shards.failures import reading
from delaytool.shards.find import Shard
from delaytool.shards.read import OpenShard, open_shard
from delaytool.shards.record import Record, reasons_of
from delaytool.shards.recorded_rows import Quarantined
from delaytool.shards.sources import source_entries, source_schema


class QuarantineCheck(contextlib.ExitStack):
    """The comparison of a shard of quarantined rows with their output's record, and their source.

    Rows of its mismatches are those of the source.
    """

    def __init__(self, output: OpenShard, record: Record, verified: Verified) -> None:
        super().__init__()
        self.output, self.record, self.job, self.verified = output, record, record.job, verified
        self.quarantined = Quarantined(record)
        self.rows: Rows | None = None
        self.compared = 0

    def open(self, path: str) -> None:
        """Check the shard at a path, and make ready to compare its rows."""
        if stores.kind_of(path) is None:
            if self.quarantined.count:
                self._add("", f"a shard of {self.quarantined.count} rows", "none")
            return
        try:
            opened = self.enter_context(open_shard(Shard(path, path), whole=True))
            if not self.quarantined.count:
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
        if opened.entry_called(QUARANTINE_ENTRY) != self.output.entry:
            self._add("record", "that of the output", "another, or none")
        schema = source_schema(self.record)
        entries = mended_entries(schema, source_entries(self.record), quarantine_schema)
        made = QUARANTINE_ENTRY.encode(), STORED_SCHEMA
        there = {key: value for key, value in opened.entries.items() if key not in made}
        for name, *values in entry_differences(entries, there):
            self._add(f"entry {name}", *values)
        expected, found = quarantine_schema(schema), opened.schema
        if (expected.metadata or {}) != (found.metadata or {}):
            self._add("schema metadata", keys_of(expected), keys_of(found))
        if opened.rows != self.quarantined.count:
            self._add("rows", self.quarantined.count, opened.rows)
        if expected.names != found.names or not all(map(is_stored_as, found, expected)):
            self._add("columns", types_of(expected), types_of(found))
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
            self._add("reasons", reasons_in_words(self.record.reasons), reasons_in_words(seen))

    def compare(self, expected: pa.RecordBatch) -> None:
        """Compare the next rows with those of the source that were put into quarantine."""
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
                pair = shortened(value_of(theirs[start - 1])), shortened(value_of(ours[start - 1]))
                place = self._place(self.compared, expected, start - 1)
                self._add("value", *pair, dataclasses.replace(place, column=name))
        self.compared += found.num_rows

    def _place(self, before: int, batch: pa.RecordBatch, row: int) -> Place:
        """The place of a row of a batch, of which so many rows come before."""
        return Place(row=self.quarantined.row_of(before + row), key=key_of(batch, row, self.job))
