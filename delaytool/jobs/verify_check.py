"""The comparison of one shard with its record, and with its source, row by row."""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter
from collections.abc import Generator, Iterator

import numpy as np
import pyarrow as pa

from delaytool.batches.digest import BatchDigest, first_difference
from delaytool.batches.factors import read_factors
from delaytool.batches.figures import Counts, count, figures_of, figures_of_nothing
from delaytool.batches.job import segments_of_outputs
from delaytool.batches.problems import key_of, kind_of_problem, placed, split_rows
from delaytool.batches.read import text_lengths
from delaytool.batches.schema import restored_schema
from delaytool.batches.shift import bad_rows
from delaytool.batches.shifted import ShiftedColumn
from delaytool.batches.structs import taken_out
from delaytool.batches.unshift import cut, originals, read_shifted, undelayed
from delaytool.batches.unwrapping import lists_at
from delaytool.batches.values import value_of
from delaytool.errors import DataError, Place
from delaytool.jobs.mismatches import (
    MAX_MISMATCHES,
    CellPlaces,
    Verified,
    reasons_in_words,
    shortened,
    token_differences,
)
from delaytool.jobs.mixed import differences
from delaytool.jobs.report import Summary
from delaytool.jobs.verify_cells import check_cells, check_column, check_padding
from delaytool.jobs.verify_footer import FooterCheck
from delaytool.jobs.verify_quarantine import QuarantineCheck
from delaytool.pattern.segments import Index
from delaytool.recipes.recipe import Recipe
from delaytool.shards.bounded import Rows, ahead
from delaytool.shards.pairs import Opened
from delaytool.shards.read import OpenShard
from delaytool.shards.record import Record, reasons_of
from delaytool.shards.recorded_rows import Padded, Quarantined, further
from delaytool.shards.sources import source_schema


class Check:
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
        self.schema = restored_schema(source_schema(record), record.job)
        self.padded = Padded(record)
        self.quarantined = Quarantined(record)
        self.counts, self.figures = Counts(), figures_of_nothing(record.job)
        # What only the source can tell is counted there, if it is at hand.
        self.source_rows = self.trimmed = self.aligned = 0
        self.furthest: tuple[int, ...] = ()
        self.reasons: Counter[tuple[str, str | None]] = Counter()
        self.quarantine: QuarantineCheck | None = None
        self.digest = BatchDigest(self.schema.names)

    def run(self, recipe: Recipe | None) -> Generator[float, None, None]:
        """Everything, from the footer to the last row."""
        if recipe is not None and recipe != self.job.recipe:
            self._recipes_differ(recipe)
        footer = FooterCheck(self.output, self.original, self.record, self.verified)
        if not footer.run():
            return
        record = self.record
        for rows in self.check_rows():
            self.verified.rows = rows
            self.verified.tokens = self.counts.tokens
            yield rows / max(self.output.rows, 1)
        if self.original is None:
            self.trimmed, self.aligned = record.counts.trimmed, self.counts.aligned
            if self.job.trims:
                self.aligned = max(self.aligned, record.counts.aligned)
            self.furthest = record.furthest
        self.verified.lost, self.verified.trimmed = self.counts.lost, self.trimmed
        self.verified.dropped_columns = self.job.drop_columns
        self.verified.summary = dataclasses.replace(
            Summary.of(record), counts=self._recounted(), figures=self.figures
        )
        self._check_counts(self.verified.rows)
        for name, found in self.digest.hexdigests().items():
            if self.record.digests.columns.get(name) != found:
                expected = self.record.digests.columns.get(name, "none")
                self.verified.add("digest", expected, found, Place(column=name))

    def check_rows(self) -> Generator[int, None, None]:
        """Check all rows; yields how many are done."""
        rows = 0
        with contextlib.closing(self._pairs()) as pairs:
            for batch, original in pairs:
                try:
                    self._check_batch(batch, original, rows)
                except DataError as error:
                    error = placed(error, self.verified.name, rows, batch, self.job)
                    self.verified.add("layout", error.expected, error.found, error.place)
                    self.digest = BatchDigest([])
                rows += batch.num_rows
                yield rows

    def _recipes_differ(self, recipe: Recipe) -> None:
        for difference in differences(recipe, self.job.recipe):
            self.verified.add(*difference)

    def _pairs(self) -> Generator[tuple[pa.RecordBatch, pa.RecordBatch | None], None, None]:
        """Batches of the output, each with the rows of the original that it should hold."""
        with contextlib.closing(self.output.batches_ahead()) as batches:
            if self.original is None:
                for batch in batches:
                    yield batch, None
                return
            rows = ahead(self.good_rows(), self.original.is_small)
            with contextlib.closing(rows) as good:
                originals = Rows(good)
                for batch in batches:
                    yield batch, originals.take(batch.num_rows)
                rest = originals.count_rest()
        if rest:
            self.verified.add("rows", self.output.rows + rest, self.output.rows)

    def good_rows(self) -> Iterator[pa.RecordBatch]:
        """The original rows without those that are in quarantine, which must be the bad ones."""
        assert self.original is not None, "only a source has rows to compare with"
        rows = 0
        names = None
        if self.quarantine is None or not self.quarantined.count:
            # Of bad rows every column is in quarantine.
            names = self.job.reads(self.original.schema)
        # As apply read them, so that what it could read can be read here.
        for batch in self.original.small_batches(names, coded=True):
            quarantined = self.quarantined.of_rows(rows, batch.num_rows)
            if len(quarantined):
                bad = bad_rows(batch, self.job)
                self.reasons.update(map(kind_of_problem, bad.values()))
                for row in sorted(set(bad) ^ set(quarantined)):
                    place = Place(row=rows + row, key=key_of(batch, row, self.job))
                    pair = ("a good row", "in quarantine")
                    self.verified.add(
                        "quarantine", *(pair if row in quarantined else pair[::-1]), place
                    )
                good, bad_ones = split_rows(batch, quarantined)
                if self.quarantine is not None:
                    self.quarantine.compare(bad_ones)
                yield good
            else:
                yield batch
            rows += batch.num_rows
            self.source_rows = rows

    def _check_batch(
        self,
        batch: pa.RecordBatch,
        original: pa.RecordBatch | None,
        rows: int,
    ) -> None:
        codes, frames = read_shifted(batch, self.job)
        padded = self.padded.of_rows(rows, batch.num_rows)
        self.counts += count(frames, frames - padded, self.job)
        all_segments = segments_of_outputs(frames, self.job)
        tokens = undelayed(codes, all_segments)
        factors = read_factors(batch, self.job, tokens) if self.job.factors else None
        parts = zip(self.job.outputs, all_segments, codes.columns, strict=True)
        columns = [ShiftedColumn(*part, factors) for part in parts]
        for column, kept in zip(columns, tokens.columns, strict=True):
            at, output = CellPlaces(batch, rows, column, self.job), column.output
            check_cells(self.verified, column, kept, at)
            if output.weights:
                check_column(self.verified, output.weights, "loss weight", column.weights, at)
            if output.labels:
                check_column(self.verified, output.labels, "label", column.labels(), at)
        self.figures += figures_of(columns, self.job)
        restored = originals(batch, tokens, self.job, self.schema, padded)
        at = CellPlaces(batch, rows, columns[0], self.job)
        for text, added in zip(self.job.text_columns, padded, strict=True):
            if added.any():
                check_padding(self.verified, text, columns, added, at)
        self.digest.update(restored)
        if self.original is not None:
            self.compare(restored, original, np.arange(rows, rows + batch.num_rows))
        if original is not None and self.job.align != "error":
            texts = text_lengths(original, self.job)
            differences = texts - frames[: texts.shape[1]]
            self.trimmed += int(np.maximum(differences, 0).sum())
            self.aligned += int(np.any(differences, axis=0).sum())
            self.furthest = further(self.furthest, rows, differences)

    def compare(
        self,
        restored: pa.RecordBatch,
        original: pa.RecordBatch | None,
        rows: Index,
    ) -> None:
        """Compare reverted rows with the source's.

        rows: which rows of the shard they are, or begin with
        """
        expected = None if original is None else cut(original, self.job)
        there = 0 if expected is None else expected.num_rows
        if there < restored.num_rows:
            self.verified.add("rows", int(rows[there]), self.output.rows)
        if expected is None or not there:
            return
        columns = {column.name: self.job.restored(column) for column in self.job.columns}
        found, wanted = (taken_out(each, self.job.names) for each in (restored, expected))
        for name in wanted.schema.names:
            ours, theirs = found.column(name).slice(0, there), wanted.column(name)
            start = 0
            while self.verified.count <= MAX_MISMATCHES:
                row = first_difference(ours.slice(start), theirs.slice(start))
                if row is None:
                    break
                row += start
                key = key_of(expected, row, self.job)
                place = Place(row=int(rows[row]), key=key, column=name)
                if name in columns:
                    depth = columns[name].layout.depth
                    pair = lists_at(theirs, row, depth), lists_at(ours, row, depth)
                    for mismatch in token_differences(pair, columns[name], self.job.recipe, place):
                        self.verified.add(*mismatch)
                else:
                    pair = value_of(theirs[row]), value_of(ours[row])
                    self.verified.add("value", shortened(pair[0]), shortened(pair[1]), place)
                start = row + 1

    def _recounted(self) -> Counts:
        """The counts of what was read, as a record should have them."""
        quarantined = self.quarantined.count
        rows_in = self.counts.rows_out + quarantined if self.original is None else self.source_rows
        return dataclasses.replace(
            self.counts,
            trimmed=self.trimmed,
            aligned=self.aligned,
            rows_in=rows_in,
            quarantined=quarantined,
        )

    def _check_counts(self, rows: int) -> None:
        counts, found = self.record.counts, self._recounted()
        quarantined = found.quarantined
        if self.output.rows != rows:
            self.verified.add("rows", self.output.rows, rows)
        for name in dataclasses.asdict(counts):
            want, have = getattr(counts, name), getattr(found, name)
            if want != have:
                self.verified.add(f"count of {name}", want, have)
        recorded, figures = self.record.figures.to_dict(), self.figures.rounded().to_dict()
        for name in (name for name in figures if recorded[name] != figures[name]):
            self.verified.add(f"figure of {name}", recorded[name], figures[name])
        reasons = self.record.reasons
        with_reason = sum(reason.rows for reason in reasons)
        if with_reason != quarantined:
            self.verified.add("rows with a reason", with_reason, quarantined)
        elif self.original is not None and reasons != (seen := reasons_of(self.reasons)):
            self.verified.add("reasons", reasons_in_words(reasons), reasons_in_words(seen))
        if self.furthest != self.record.furthest:
            self.verified.add("row aligned by most", self.record.furthest, self.furthest)
        for name, may in (("trimmed", self.job.trims), ("padded", self.job.pads)):
            if getattr(counts, name) and not may:
                self.verified.add(f"count of {name}", 0, getattr(counts, name))
