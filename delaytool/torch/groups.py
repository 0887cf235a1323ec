"""Row groups of shifted shards as tensors.

A row group is decoded as a whole, into one flat tensor of tokens and one of weights: row after row,
and in each row stream after stream. A row is a view of both.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from delaytool.batches.codes import Codes
from delaytool.batches.job import Job, segments_of_outputs
from delaytool.batches.layouts import Output
from delaytool.batches.read import read_values
from delaytool.batches.shifted import ShiftedColumn
from delaytool.batches.types import common_type
from delaytool.batches.unshift import read_shifted
from delaytool.errors import DataError, Place
from delaytool.pattern.flat import taken
from delaytool.pattern.segments import Array
from delaytool.shards.read import OpenShard, open_shard
from delaytool.torch.batch import Row
from delaytool.torch.footers import ShardSet

_OPEN = 16
"""Shards that stay open."""


@dataclass(frozen=True, eq=False)
class Group:
    """The rows of a row group.

    codes, weights: flat, K x S cells of each row
    starts, steps:  where each row begins, and how many timesteps it has
    columns:        the rows' values in other columns
    """

    codes: torch.Tensor
    weights: torch.Tensor
    streams: int
    starts: list[int]
    steps: list[int]
    columns: dict[str, list[Any]]

    def row(self, number: int, dtype: torch.dtype) -> Row:
        """A row, its codes of this type: a view where they are of it already."""
        steps = self.steps[number]
        shape, start = ((self.streams, steps), (steps, 1)), self.starts[number]
        codes = self.codes.as_strided(*shape, start).to(dtype)
        weights = self.weights.as_strided(*shape, start)
        return Row(codes, weights, {name: of[number] for name, of in self.columns.items()})


class GroupReader:
    """Reads row groups of a set, keeping the shards open that were read last."""

    def __init__(self, shard_set: ShardSet) -> None:
        self._set, self._reads = shard_set, shard_set.reads
        self._open: OrderedDict[int, tuple[OpenShard, contextlib.ExitStack]] = OrderedDict()

    def __enter__(self) -> GroupReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        while self._open:
            self._close_one()

    def read(self, group: int) -> Group:
        """A row group; raises DataError where it cannot be read, or is not what it was."""
        number, within = self._set.in_shard[group].tolist()
        opened = self._opened(number)
        batch = opened.row_group(within, self._reads)
        try:
            return group_of(batch, self._set.job, self._set.columns)
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


def group_of(batch: pa.RecordBatch, job: Job, columns: Sequence[str] = ()) -> Group:
    """The rows of a batch of outputs.

    columns: others whose values are brought along

    Loss weights are those of the batch, or what the recipe says where it has none.

    Raises DataError for a bad row.
    """
    codes, frames = read_shifted(batch, job)
    if job.weighs:
        pairs = zip(job.outputs, codes.columns, strict=True)
        weights = [_stored_weights(batch, output, cells, job) for output, cells in pairs]
    else:
        segments = segments_of_outputs(frames, job)
        parts = zip(job.outputs, segments, codes.columns, strict=True)
        weights = [ShiftedColumn(*part).weights for part in parts]
    streams = len(job.recipe.streams)
    steps = codes.lengths
    return Group(
        _tensor(rows_first(codes.columns)),
        _tensor(rows_first(weights)),
        streams,
        ((np.cumsum(steps) - steps) * streams).tolist(),
        steps.tolist(),
        {name: batch.column(name).to_pylist() for name in columns},
    )


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


def rows_first(columns: Sequence[Codes]) -> Array:
    """The values of several columns' streams as one flat array, row after row.

    Rows of 1 and 2 timesteps, streams [1], [2, 3] and, in another column, [4], [5, 6]
    -> [1, 4, 2, 3, 5, 6]
    """
    if len(columns) == 1 and not columns[0].by_stream:
        return columns[0].flat
    dtype = common_type([codes.flat.dtype for codes in columns])
    sizes, orders, before = [], [], 0
    for codes in columns:
        rows = np.arange(len(codes.lengths), dtype=np.int64)
        # Runs that stay together: a row's streams, or each stream of a row.
        runs = codes.streams if codes.by_stream else 1
        sizes.append(np.tile(codes.lengths * (codes.streams // runs), runs))
        orders += [before + number * len(rows) + rows for number in range(runs)]
        before += runs * len(rows)
    values = np.concatenate([codes.flat.astype(dtype, copy=False) for codes in columns])
    return taken(values, np.concatenate(sizes), np.stack(orders, axis=1).reshape(-1))


def _tensor(values: Array) -> torch.Tensor:
    """Values as a tensor, which may be written to: of memory of its own where they may not be."""
    if not values.dtype.isnative or values.dtype.kind == "u":
        values = values.astype(np.int64 if values.dtype.itemsize > 2 else np.int32)
    return torch.from_numpy(values if values.flags.writeable else values.copy())
