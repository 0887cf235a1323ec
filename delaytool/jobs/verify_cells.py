"""The comparison of cells with what the pattern makes: fills, weights, labels, padding of text."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from delaytool.batches.codes import Codes
from delaytool.batches.layouts import Column
from delaytool.batches.read import read_values
from delaytool.batches.shifted import ShiftedColumn
from delaytool.jobs.mismatches import MAX_MISMATCHES, CellPlaces, Verified
from delaytool.pattern.flat import undelay_flat, wrong_tokens
from delaytool.pattern.segments import Index


def check_cells(verified: Verified, column: ShiftedColumn, kept: Codes, at: CellPlaces) -> None:
    """Every filled cell holds its fill token, every other one a token of the vocabulary.

    kept: the same cells shifted back
    """
    flat, segments = column.codes.flat, column.segments
    filled, fills = segments.filled, segments.of_filled(segments.token_table)
    for i in np.flatnonzero(flat[filled] != fills):
        where = int(filled[i])
        verified.add("fill token", fills[i], flat[where], at.place(where))
    if not wrong_tokens(kept.flat, segments, segments.lengths).size:
        return
    tokens = flat.copy()
    tokens[filled] = 0
    for where in wrong_tokens(tokens, segments, segments.steps):
        place = at.place(int(where))
        stream = next(s for s in segments.streams if s.name == place.stream)
        expected = f"0 to {stream.cardinality - 1}, or -1"
        verified.add("token", expected, flat[where], place)


def check_column(verified: Verified, name: str, what: str, expected: Codes, at: CellPlaces) -> None:
    """A column of weights or labels, value by value and bit by bit."""
    found = read_values(at.batch, name, at.column.output, at.job)
    for row in np.flatnonzero(found.lengths != expected.lengths)[:MAX_MISMATCHES]:
        place = at.of_row(int(row), name)
        verified.add("timesteps", expected.lengths[row], found.lengths[row], place)
    if not np.array_equal(found.lengths, expected.lengths):
        return
    bits = np.dtype(f"i{expected.flat.dtype.itemsize}")
    ours, theirs = found.flat.view(bits), expected.flat.view(bits)
    # Arrow compares memory, in no time; where values differ is looked for when some do.
    if pa.array(ours).equals(pa.array(theirs)):
        return
    for where in np.flatnonzero(ours != theirs):
        values = expected.flat[where], found.flat[where]
        verified.add(what, *values, at.place(int(where)))


def check_padding(
    verified: Verified,
    text: Column,
    columns: Sequence[ShiftedColumn],
    padded: Index,
    at: CellPlaces,
) -> None:
    """Text that alignment has made longer ends in as much padding, where that is left."""
    (number,) = text.numbers
    stream = at.job.recipe.streams[number]
    column = next(column for column in columns if number in column.output.numbers)
    segments, codes = column.segments, column.codes
    flat = undelay_flat(codes.flat, segments, stream.padding)
    codes = Codes(flat, segments.lengths, codes.streams, codes.by_stream)
    tokens = codes.part(column.output.numbers.index(number), 1).flat
    ends = np.cumsum(segments.lengths)
    for row in np.flatnonzero(padded):
        tail = tokens[ends[row] - padded[row] : ends[row]]
        for i in np.flatnonzero(tail != stream.padding):
            frame = int(segments.lengths[row] - padded[row] + i)
            timestep = frame + at.job.recipe.first_timestep(stream)
            place = dataclasses.replace(
                at.of_row(int(row), column.output.name), stream=stream.name, timestep=timestep
            )
            verified.add("text padding", stream.padding, tail[i], place)
