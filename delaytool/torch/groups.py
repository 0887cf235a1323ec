"""Row groups of shifted shards as arrays.

A row group is decoded as a whole, into flat arrays of each column's codes and loss weights. A row
is a view of them until it is copied to where it is wanted, which is a batch.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from delaytool.batches.codes import Codes
from delaytool.batches.job import Job, segments_of_outputs
from delaytool.batches.layouts import Output
from delaytool.batches.read import read_outputs, read_values
from delaytool.batches.shifted import ShiftedColumn
from delaytool.batches.unshift import read_shifted
from delaytool.errors import DataError, Place
from delaytool.pattern.segments import Array
from delaytool.shards.read import OpenShard, open_shard
from delaytool.torch.footers import ShardSet

_OPEN = 16
"""Shards that stay open."""


@dataclass(frozen=True, eq=False)
class Part:
    """The cells of some of the streams: all rows' codes, and their loss weights.

    streams: which of the recipe's they are
    """

    streams: slice | list[int]
    codes: Codes
    weights: Codes

    def alone(self, start: int, steps: int) -> Part:
        """The cells of one row, with memory of their own."""
        alone = (
            Codes(_row(cells, start, steps).flatten(), np.array([steps]), cells.streams)
            for cells in (self.codes, self.weights)
        )
        return Part(self.streams, *alone)


@dataclass(frozen=True, eq=False)
class Group:
    """The rows of a row group, as views of flat arrays.

    parts:         the cells of each column
    streams:       K
    starts, steps: timesteps of all the rows before each row, and of the row
    columns:       the rows' values in other columns
    """

    parts: tuple[Part, ...]
    streams: int
    starts: list[int]
    steps: list[int]
    columns: dict[str, list[Any]]

    def shape(self, row: int) -> tuple[int, int]:
        """K and S of a row."""
        return self.streams, self.steps[row]

    def copy_codes(self, row: int, out: Array) -> None:
        """Copy a row's codes to an array [K, S] of a type that holds them."""
        for part in self.parts:
            out[part.streams] = _row(part.codes, self.starts[row], self.steps[row])

    def copy_weights(self, row: int, out: Array) -> None:
        """Copy a row's loss weights to an array [K, S]."""
        for part in self.parts:
            out[part.streams] = _row(part.weights, self.starts[row], self.steps[row])

    def alone(self, row: int) -> Group:
        """One row, with memory of its own."""
        start, steps = self.starts[row], self.steps[row]
        parts = tuple(part.alone(start, steps) for part in self.parts)
        return Group(parts, self.streams, [0], [steps], {})


def _row(cells: Codes, start: int, steps: int) -> Array:
    """The cells of a row, [streams, S], of which all rows before it have `start` timesteps."""
    if cells.by_stream:
        return cells.flat.reshape(cells.streams, -1)[:, start : start + steps]
    flat = cells.flat[start * cells.streams : (start + steps) * cells.streams]
    return flat.reshape(cells.streams, steps)


class GroupReader:
    """Reads row groups of a set, keeping the shards open that were read last.

    dtype: of the codes
    """

    def __init__(self, shard_set: ShardSet, dtype: np.dtype[Any]) -> None:
        self._set, self._reads, self._dtype = shard_set, shard_set.reads, dtype
        self._open: OrderedDict[int, tuple[OpenShard, contextlib.ExitStack]] = OrderedDict()

    def close(self) -> None:
        """Close the shards."""
        while self._open:
            self._close_one()

    def read(self, group: int) -> Group:
        """A row group; raises DataError where it cannot be read, or is not what it was."""
        number, within = self._set.in_shard[group].tolist()
        opened = self._opened(number)
        batch = opened.row_group(within, self._reads)
        try:
            return group_of(batch, self._set.job, self._dtype, self._set.columns)
        except DataError as error:
            row = error.place.row
            if row is not None:
                # Rows count from the shard's first one.
                before = (self._set.in_shard[:group, 0] == number) * self._set.rows[:group]
                row += int(before.sum())
            raise error.at(shard=opened.shard.name, row=row) from None

    def _opened(self, number: int) -> OpenShard:
        if number in self._open:
            self._open.move_to_end(number)
            return self._open[number][0]
        if len(self._open) == _OPEN:
            self._close_one()
        shard = self._set.shards[number]
        with contextlib.ExitStack() as stack:
            opened = stack.enter_context(open_shard(shard))
            if opened.fingerprint != self._set.fingerprints[number]:
                raise DataError(
                    "changed",
                    "the file changed after its footer was read",
                    expected="the same size and footer as before",
                    advice="make the dataset anew, when nothing writes to its shards",
                    place=Place(shard=shard.name),
                )
            self._open[number] = opened, stack.pop_all()
        return opened

    def _close_one(self) -> None:
        self._open.popitem(last=False)[1][1].close()


def group_of(
    batch: pa.RecordBatch, job: Job, dtype: np.dtype[Any], columns: Sequence[str] = ()
) -> Group:
    """The rows of a batch of outputs.

    dtype:   of the codes
    columns: others whose values are brought along

    Loss weights are those of the batch, or what the recipe says where it has none.

    Raises DataError for a bad row, and for codes that the type does not hold.
    """
    codes = read_outputs(batch, job) if job.cuts_after else read_shifted(batch, job)[0]
    if job.weighs:
        pairs = zip(job.outputs, codes.columns, strict=True)
        weights = [_stored_weights(batch, output, cells, job) for output, cells in pairs]
    else:
        # The recipe says them all, as was checked when the footers were read.
        frames = codes.lengths - job.recipe.steps(0)
        parts = zip(job.outputs, segments_of_outputs(frames, job), codes.columns, strict=True)
        weights = [ShiftedColumn(*part).weights for part in parts]
    steps = codes.lengths
    return Group(
        tuple(
            Part(_places(output.numbers), _as_type(output, cells, dtype), their_weights)
            for output, cells, their_weights in zip(
                job.outputs, codes.columns, weights, strict=True
            )
        ),
        len(job.recipe.streams),
        (np.cumsum(steps) - steps).tolist(),
        steps.tolist(),
        {name: batch.column(name).to_pylist() for name in columns},
    )


def _places(numbers: Sequence[int]) -> slice | list[int]:
    """Where streams of these numbers are in an array [K, S]; a slice is faster than a list."""
    stop = numbers[0] + len(numbers)
    return slice(numbers[0], stop) if [*numbers] == [*range(numbers[0], stop)] else [*numbers]


def _as_type(output: Output, codes: Codes, dtype: np.dtype[Any]) -> Codes:
    """Codes of another type; raises DataError for one that it does not hold."""
    flat, info = codes.flat, np.iinfo(dtype)
    fits = not flat.size or np.can_cast(flat.dtype, dtype)
    if not (fits or info.min <= int(flat.min()) <= int(flat.max()) <= info.max):
        wrong = int(np.flatnonzero((flat < info.min) | (flat > info.max))[0])
        row, _, timestep = codes.place(wrong)
        raise DataError(
            "token",
            f"token {flat[wrong]}",
            expected=f"one of the recipe's, which {dtype} holds",
            advice="make the shard anew",
            place=Place(row=row, column=output.name, timestep=timestep),
        )
    return codes.with_flat(flat.astype(dtype, copy=False))


def _stored_weights(batch: pa.RecordBatch, output: Output, cells: Codes, job: Job) -> Codes:
    """The loss weights of an output's cells; raises DataError where there are more or fewer."""
    assert output.weights is not None, "only those of jobs that weigh every output are stored"
    weights = read_values(batch, output.weights, output, job)
    for row in np.flatnonzero(weights.lengths != cells.lengths):
        raise DataError(
            "column-lengths",
            f"{weights.lengths[row]} timesteps",
            expected=f"{cells.lengths[row]}, as many as column {output.name} has",
            advice="make the shard anew",
            place=Place(row=int(row), column=output.weights),
        )
    return weights.with_flat(weights.flat.astype(np.float32, copy=False))
