"""The comparison of a shard whose rows are windows."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from delaytool.batches.codes import Codes
from delaytool.batches.digest import BatchDigest
from delaytool.batches.factors import read_factors
from delaytool.batches.figures import count, figures_of
from delaytool.batches.problems import key_of
from delaytool.batches.read import read_tokens, text_lengths
from delaytool.batches.rejoin import Rejoined, WholeRows, rejoin, whole_rows
from delaytool.batches.shifted import ShiftedColumn
from delaytool.batches.unshift import originals
from delaytool.batches.windows import cut_codes, cut_factors, lost_tokens
from delaytool.errors import DataError, Place
from delaytool.jobs.mismatches import MAX_MISMATCHES, CellPlaces
from delaytool.jobs.verify_cells import check_cells, check_column
from delaytool.jobs.verify_check import Check
from delaytool.pattern.flat import delay_flat, shift_flat
from delaytool.pattern.segments import Index, Segments
from delaytool.pattern.windows import Cuts, Mask
from delaytool.recipes.recipe import Recipe
from delaytool.shards.bounded import Rows, ahead
from delaytool.shards.recorded_rows import Dropped, further


@dataclass(frozen=True)
class WindowPlaces(CellPlaces):
    """Where cells are: those of windows, or of rows that were cut after the shift."""

    whole: WholeRows
    rejoined: Rejoined

    def of_row(self, row: int, column: str) -> Place:
        """The place of a window."""
        group = int(np.searchsorted(self.whole.starts, row, side="right")) - 1
        key = key_of(self.whole.firsts, group, self.job)
        return Place(row=self.whole.number + row, key=key, column=column)

    def place(self, position: int) -> Place:
        """The place of a position in the flat array."""
        row, number, timestep = self.column.codes.place(position)
        if self.job.cuts_after and len(self.column.codes.lengths) == len(self.rejoined.frames):
            cuts = self.rejoined.cuts
            starts = cuts.starts[cuts.windows]
            there = np.flatnonzero((cuts.window_rows == row) & (starts <= timestep))
            row = int(there[-1])
            timestep -= int(starts[row])
        return dataclasses.replace(
            self.of_row(row, self.column.output.name),
            stream=self.column.segments.streams[number].name,
            timestep=timestep,
        )


class WindowsCheck(Check):
    """The comparison of one shard of windows."""

    def run(self, recipe: Recipe | None) -> Generator[float, None, None]:
        """Everything; the rows that are reported are those of the source."""
        yield from super().run(recipe)
        self.verified.rows = self.counts.rows_out

    def check_rows(self) -> Generator[int, None, None]:
        """Check all rows; yields how many windows are done."""
        dropped, seen, taken = Dropped(self.record), 0, 0
        with contextlib.ExitStack() as stack:
            batches = stack.enter_context(contextlib.closing(self.output.batches_ahead()))
            source = None
            if self.original is not None:
                good = ahead(self.good_rows(), self.original.is_small)
                source = Rows(stack.enter_context(contextlib.closing(good)))
            for whole in whole_rows(batches, self.job):
                numbers = dropped.good_rows(seen, whole.firsts.num_rows)
                seen += len(numbers)
                original = None
                if source is not None:
                    original = source.take(int(numbers[-1]) + 1 - taken)
                    self._count_source(original, taken)
                    taken = int(numbers[-1]) + 1
                self._check_whole(whole, original, numbers)
                yield whole.number + whole.num_rows
            if source is not None:
                rest = source.take(self.record.counts.rows_out - taken)
                self._count_source(rest, taken)
                if more := source.count_rest():
                    self.verified.add("rows", self.record.counts.rows_out + more, seen)
        if self.original is None:
            self._count_dropped(dropped, seen)

    def _check_whole(
        self, whole: WholeRows, original: pa.RecordBatch | None, numbers: Index
    ) -> None:
        """Check the windows of some rows; what is wrong with their lengths is noted."""
        try:
            self._check_rows(whole, original, numbers)
        except DataError as error:
            place = error.place
            if place.row is not None:
                place = dataclasses.replace(place, row=whole.number + place.row)
            self.verified.add("layout", error.expected, error.found, place)
            self.digest = BatchDigest([])

    def _check_rows(
        self, whole: WholeRows, original: pa.RecordBatch | None, numbers: Index
    ) -> None:
        job, found = self.job, rejoin(whole, self.job)
        padded, cuts = self.padded.of(numbers), found.cuts
        if self.original is None:
            self.counts += count(found.frames, found.frames - padded, job, cuts)
        factors = None
        if job.factors is not None:
            factors = read_factors(whole.firsts, job, found.tokens)
        of_windows = cut_factors(factors, cuts, job) if job.cuts_before else factors
        columns = []
        parts = zip(
            job.outputs, found.segments, found.cells.columns, found.kept.columns, strict=True
        )
        for output, segments, cells, kept in parts:
            made = ShiftedColumn(output, segments, cells, of_windows)
            if job.cuts_after and not cuts.is_all:
                made = dataclasses.replace(made, codes=_with_missing(made, cells, kept, found))
            columns.append(made)
            at = WindowPlaces(whole.windows, whole.number, made, job, whole, found)
            self._check_pads(made, kept, at)
            self._check_weights(made, at)
        self.figures += figures_of(columns, job, cuts)
        restored = originals(whole.firsts, found.tokens, job, self.schema, padded)
        self._check_padding(whole, found, padded)
        self.digest.update(restored)
        if self.original is not None:
            self.compare(restored, original, whole.number + whole.starts)

    def _check_pads(self, made: ShiftedColumn, kept: Codes, at: WindowPlaces) -> None:
        """Cells hold what they must, and windows are filled up with trail tokens."""
        cuts, segments = at.rejoined.cuts, made.segments
        if not cuts.padding.any():
            check_cells(self.verified, made, kept, at)
            return
        # What fills windows up may be no token of the vocabulary; 0 stands for it.
        dtype, how = made.codes.flat.dtype, (kept.streams, kept.by_stream)
        rows, added = cuts.join(kept.flat, *how), _added(made, cuts)
        pads = np.array([stream.trail for stream in segments.streams], dtype=dtype)
        expected = delay_flat(cuts.cut(rows, *how, pads), segments)
        for where in np.flatnonzero((made.codes.flat != expected) & added)[:MAX_MISMATCHES]:
            values = expected[where], made.codes.flat[where]
            self.verified.add("what fills a window up", *values, at.place(int(where)))
        flat = np.where(added, np.zeros(1, dtype=dtype), made.codes.flat)
        plain = cuts.cut(rows, *how, np.zeros(kept.streams, dtype=dtype))
        cells = dataclasses.replace(made, codes=made.codes.with_flat(flat))
        check_cells(self.verified, cells, kept.with_flat(plain), at)

    def _check_weights(self, made: ShiftedColumn, at: WindowPlaces) -> None:
        """The columns of weights and labels, window by window."""
        output, cuts = made.output, at.rejoined.cuts
        columns, named = made.columns(), {output.weights: "loss weight", output.labels: "label"}
        for name, what in named.items():
            if name is not None:
                expected, where = columns[name], at
                if self.job.cuts_after:
                    cells = dataclasses.replace(made, codes=cut_codes(made.codes, cuts))
                    expected = cut_codes(expected, cuts)
                    where = dataclasses.replace(at, column=cells)
                check_column(self.verified, name, what, expected, where)

    def _check_padding(self, whole: WholeRows, found: Rejoined, padded: Index) -> None:
        """Text that alignment has made longer ends in as much padding, where that is left."""
        recipe, ends = self.job.recipe, np.cumsum(found.frames)
        for text, added in zip(self.job.text_columns, padded, strict=True):
            (number,) = text.numbers
            stream = recipe.streams[number]
            pairs = zip(self.job.outputs, found.tokens.columns, strict=True)
            output, codes = next(pair for pair in pairs if number in pair[0].numbers)
            tokens = codes.part(output.numbers.index(number), 1).flat
            lost = lost_tokens(Segments(recipe, found.frames, (stream,)), self.job)
            for row in np.flatnonzero(added):
                tail = slice(int(ends[row] - added[row]), int(ends[row]))
                differs = tokens[tail] != stream.padding
                if lost is not None:
                    differs &= ~lost[tail]
                for i in np.flatnonzero(differs)[:MAX_MISMATCHES]:
                    place = Place(
                        row=whole.number + int(whole.starts[row]),
                        key=key_of(whole.firsts, int(row), self.job),
                        column=output.name,
                        stream=stream.name,
                    )
                    self.verified.add("text padding", stream.padding, tokens[tail][i], place)

    def _count_source(self, original: pa.RecordBatch | None, first: int) -> None:
        """Count the source's rows in."""
        if original is None:
            return
        job = self.job
        texts = text_lengths(original, job)
        # Of text that is aligned the audio says how long it becomes.
        frames = read_tokens(original, job, any_token=True).lengths
        self.counts += count(frames, texts, job, job.cuts(frames))
        if job.align != "error":
            differences = texts - frames
            self.trimmed += int(np.maximum(differences, 0).sum())
            self.aligned += int(np.any(differences, axis=0).sum())
            self.furthest = further(self.furthest, first, differences)

    def _count_dropped(self, dropped: Dropped, seen: int) -> None:
        """Count what only the source could tell of rows of which nothing is left."""
        if not dropped.count:
            return
        recorded, counts = self.record.counts, self.counts
        names = ["frames", "tokens", "lost", "padded", "aligned", "empty"]
        names += ["dropped_windows", "dropped_frames"]
        trusted = {n: max(getattr(recorded, n), getattr(counts, n)) for n in names}
        self.counts = dataclasses.replace(
            counts,
            rows_in=seen + dropped.count,
            rows_out=seen + dropped.count,
            dropped_rows=dropped.count,
            **trusted,
        )


def _added(made: ShiftedColumn, cuts: Cuts) -> Mask:
    """Which cells hold what fills windows up."""
    segments, streams = made.segments, len(made.segments.streams)
    none = np.zeros(int(cuts.lengths.sum()) * streams, dtype=bool)
    added = cuts.cut(none, streams, segments.by_stream, np.ones(streams, dtype=bool))
    fills = np.zeros(segments.token_table.shape, dtype=bool)
    mask: Mask = shift_flat(added, segments, fills, np.bool_)
    return mask


def _with_missing(made: ShiftedColumn, cells: Codes, kept: Codes, found: Rejoined) -> Codes:
    """The cells of rows, in which those of dropped windows are as the pattern makes them."""
    cuts, streams, by_stream = found.cuts, cells.streams, cells.by_stream
    there = np.zeros(int(cuts.window_lengths.sum()) * streams, dtype=bool)
    missing = cuts.join(there, streams, by_stream, missing=True)
    flat = delay_flat(kept.flat, made.segments).astype(cells.flat.dtype)
    return cells.with_flat(np.where(missing, flat, cells.flat))
