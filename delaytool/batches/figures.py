"""What the cells of a shifted batch hold, in numbers: for a shard's record and its report.

All of it are sums that do not depend on how rows are cut into batches, so verify gets the same
ones from whatever batches it reads.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from delaytool.batches.job import Job
from delaytool.batches.shifted import ShiftedColumn
from delaytool.pattern.segments import OFFSET, Array, Index, Segments
from delaytool.pattern.sums import exact_sum, weight_sums
from delaytool.pattern.weights import zero_tokens
from delaytool.pattern.windows import Cuts, kept_frames
from delaytool.recipes.checks import ZERO_TOKEN


@dataclass(frozen=True)
class Counts:
    """What went in and came out.

    lost:        tokens that truncation cut off, of delays and of offsets
    padded:      text tokens that alignment added; trimmed: those that it cut off
    aligned:     rows in which it did
    quarantined: rows that went to quarantine, so that rows_in = rows_out + quarantined
    empty:       rows of no frames
    windows:     rows of the output, where rows were cut into windows
    short:       of them those shorter than they may be; filled: frames that they were filled up
                 with
    dropped_windows, dropped_frames: windows that were dropped, and their frames (timesteps, where
                 the cut is after the shift); dropped_rows: rows of which all windows were
    """

    rows_in: int = 0
    rows_out: int = 0
    frames: int = 0
    tokens: int = 0
    lost: int = 0
    padded: int = 0
    trimmed: int = 0
    aligned: int = 0
    quarantined: int = 0
    empty: int = 0
    windows: int = 0
    short: int = 0
    filled: int = 0
    dropped_windows: int = 0
    dropped_frames: int = 0
    dropped_rows: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            *(
                getattr(self, field.name) + getattr(other, field.name)
                for field in dataclasses.fields(self)
            )
        )


@dataclass(frozen=True)
class Figures:
    """What the cells of an output hold.

    cells:   all of them; filled: those that delays filled; offset: those that offsets did
    zero:    zero tokens among the others
    text:    text tokens among the others; padding: how many of those count as padding
    weights: the sum of each stream's loss weights; none unless the job weighs every stream
    """

    cells: int = 0
    filled: int = 0
    zero: int = 0
    text: int = 0
    padding: int = 0
    weights: tuple[Fraction, ...] = ()
    offset: int = 0

    def __add__(self, other: Figures) -> Figures:
        pairs = itertools.zip_longest(self.weights, other.weights, fillvalue=Fraction(0))
        return Figures(
            self.cells + other.cells,
            self.filled + other.filled,
            self.zero + other.zero,
            self.text + other.text,
            self.padding + other.padding,
            tuple(one + another for one, another in pairs),
            self.offset + other.offset,
        )

    def rounded(self) -> Figures:
        """The same with sums of weights that 64-bit floats hold, as a record does."""
        return dataclasses.replace(self, weights=tuple(Fraction(float(x)) for x in self.weights))

    def to_dict(self) -> dict[str, Any]:
        """Every field, with JSON's types."""
        weights = [float(weight) for weight in self.weights]
        return {**vars(self), "weights": weights}


def count(lengths: Index, texts: Index, job: Job, cuts: Cuts | None = None) -> Counts:
    """What went in and came out: rows of `lengths` frames, whose text had `texts` tokens.

    texts: of each column of text and each row, [columns, rows]
    cuts:  where the rows were cut into windows, if they were
    """
    recipe, frames = job.recipe, int(lengths.sum())
    counts = Counts(
        rows_in=len(lengths),
        rows_out=len(lengths),
        frames=frames,
        tokens=frames * len(recipe.streams),
        lost=_lost(lengths, job, cuts) if recipe.may_lose else 0,
        padded=int(np.maximum(lengths - texts, 0).sum()),
        trimmed=int(np.maximum(texts - lengths, 0).sum()),
        aligned=int(np.any(texts != lengths, axis=0).sum()),
        empty=int((lengths == 0).sum()),
    )
    return counts if cuts is None else counts + count_windows(cuts, job)


def _lost(lengths: Index, job: Job, cuts: Cuts | None) -> int:
    """The tokens that truncation cut off."""
    recipe = job.recipe
    if cuts is None or not job.cuts_before:
        segments = Segments(recipe, lengths, recipe.streams)
        return segments.source_size - int(segments.totals[:, segments.kept].sum())
    frames = cuts.window_sizes
    segments = Segments(recipe, cuts.window_lengths, recipe.streams)
    return int(frames.sum()) * len(recipe.streams) - int(kept_frames(segments, frames).sum())


def count_windows(cuts: Cuts, job: Job) -> Counts:
    """The windows that rows were cut into."""
    assert job.windows is not None, "only rows of such jobs are cut"
    size = job.windows.size
    return Counts(
        windows=len(cuts.windows),
        short=0 if size is None else int((cuts.window_sizes < size).sum()),
        filled=int(cuts.padding.sum()),
        dropped_windows=len(cuts.rows) - len(cuts.windows),
        dropped_frames=int(cuts.sizes[~cuts.kept].sum()),
        dropped_rows=int((~cuts.rows_kept).sum()),
    )


def figures_of_nothing(job: Job) -> Figures:
    """The figures of a shard without a row."""
    return Figures(weights=(Fraction(0),) * (len(job.recipe.streams) * job.weighs))


def figures_of(columns: Sequence[ShiftedColumn], job: Job, cuts: Cuts | None = None) -> Figures:
    """The figures of a batch, from the cells of all of the job's outputs.

    cuts: where its rows were cut into windows, if they were; cells of windows that were dropped
          after the shift don't count, and what fills windows up is no token
    """
    if cuts is not None and job.cuts_after and not cuts.is_all:
        return figures_of_some(columns, job, cuts)
    cells = filled = offset = zero = text = padding = 0
    sums = [Fraction(0)] * (len(job.recipe.streams) * job.weighs)
    for column in columns:
        flat, segments = column.codes.flat, column.segments
        totals = segments.totals
        cells += int(totals.sum())
        moved = [segments.there.index(piece) for piece in OFFSET if piece in segments.there]
        offset += int(totals[:, moved].sum())
        filled += int(totals[:, segments.filled_pieces].sum())
        added = _added(segments, cuts)
        zeros = zero_tokens(flat)
        if zeros.size:
            every = range(len(segments.streams))
            zero += zeros.size - _fills_among({ZERO_TOKEN}, every, segments)
            zero -= sum(n for n, s in zip(added, segments.streams, strict=True) if s.trail == -1)
        for number, stream in enumerate(segments.streams):
            if stream.kind == "text":
                ids, tokens = stream.padding_ids, flat[segments.cells_of(number)]
                text += int(totals[number, segments.kept]) - added[number]
                padding += count_tokens(tokens, ids) - _fills_among(ids, (number,), segments)
                padding -= added[number] * (stream.trail in ids)
        if job.weighs:
            factors = column.factors is not None
            weights = column.weights.flat
            found = weight_sums(weights, segments, factors=factors, zeros=zeros)
            for number, total in zip(column.output.numbers, found, strict=True):
                sums[number] = total
    return Figures(cells, filled - offset, zero, text, padding, tuple(sums), offset)


def _added(segments: Segments, cuts: Cuts | None) -> list[int]:
    """How many cells of each stream hold what fills windows up."""
    if cuts is None or not cuts.padding.any():
        return [0] * len(segments.streams)
    if not segments.recipe.may_lose:
        return [int(cuts.padding[cuts.windows].sum())] * len(segments.streams)
    added = segments.pieces[:, segments.kept] - kept_frames(segments, cuts.window_sizes)
    counts = np.bincount(segments.numbers, weights=added, minlength=len(segments.streams))
    return [int(number) for number in counts]


def figures_of_some(columns: Sequence[ShiftedColumn], job: Job, cuts: Cuts) -> Figures:
    """`figures_of` rows of which some windows were dropped after the shift."""
    total = figures_of_nothing(job)
    for column in columns:
        segments, streams = column.segments, len(column.segments.streams)
        by_stream = segments.by_stream
        # Cell by cell, since a window begins and ends anywhere in the pattern.
        there = cuts.cut(segments.is_filled(), streams, by_stream)
        moved = cuts.cut(segments.is_filled(OFFSET), streams, by_stream)
        numbers = np.repeat(segments.numbers, segments.of_rows(segments.steps))
        numbers = cuts.cut(numbers.astype(np.int32), streams, by_stream)
        flat = cuts.cut(column.codes.flat, streams, by_stream)
        text = padding = 0
        sums = [Fraction(0)] * len(total.weights)
        weights = cuts.cut(column.weights.flat, streams, by_stream) if job.weighs else None
        for number, stream in enumerate(segments.streams):
            here = numbers == number
            if stream.kind == "text":
                tokens = flat[here & ~there]
                text, padding = (
                    text + tokens.size,
                    padding + count_tokens(tokens, stream.padding_ids),
                )
            if weights is not None:
                sums[column.output.numbers[number]] = exact_sum(weights[here])
        zero = count_tokens(flat[~there], {ZERO_TOKEN})
        offset, filled = int(moved.sum()), int((there & ~moved).sum())
        total += Figures(flat.size, filled, zero, text, padding, tuple(sums), offset)
    return total


def count_tokens(tokens: Array, ids: Iterable[int]) -> int:
    """How many of the tokens are one of these."""
    return sum(int(np.count_nonzero(tokens == token)) for token in ids)


def _fills_among(ids: set[int], streams: Iterable[int], segments: Segments) -> int:
    """How many cells of these streams the pattern has filled with one of these tokens."""
    totals = segments.totals[:, segments.filled_pieces].tolist()
    fills = segments.token_table.tolist()
    return sum(
        cells
        for number in streams
        for token, cells in zip(fills[number], totals[number], strict=True)
        if token in ids
    )
