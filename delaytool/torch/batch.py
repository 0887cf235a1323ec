"""Rows and batches of them as tensors."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import torch

from delaytool.batches.codes import Codes
from delaytool.errors import RecipeError
from delaytool.pattern.segments import Array
from delaytool.recipes.checks import ZERO_TOKEN
from delaytool.torch.groups import Group, Part


class Row:
    """One row of a shifted shard.

    codes:   integers [K, S], the streams in the recipe's order
    weights: float32 [K, S], the loss weight of each cell
    columns: the values of the other columns that were asked for, by name
    dtype:   of the codes

    The tensors are made when somebody looks at them; `collate` goes without.
    """

    def __init__(self, group: Group, number: int, dtype: torch.dtype) -> None:
        self._group, self._number, self.dtype = group, number, dtype
        self.columns = {name: values[number] for name, values in group.columns.items()}

    @classmethod
    def of(cls, codes: torch.Tensor, weights: torch.Tensor) -> Row:
        """A row that was read by other means: codes, integers [K, S]; weights, float32 [K, S]."""
        streams, steps = codes.shape
        cells = (
            Codes(tensor.numpy().reshape(-1), np.array([steps]), streams)
            for tensor in (codes, weights)
        )
        return cls(
            Group((Part(slice(streams), *cells),), streams, [0], [steps], {}), 0, codes.dtype
        )

    @property
    def shape(self) -> tuple[int, int]:
        """K and S."""
        made = self.__dict__.get("codes")
        return self._group.shape(self._number) if made is None else tuple(made.shape)

    @functools.cached_property
    def codes(self) -> torch.Tensor:
        """Integers [K, S]."""
        codes = np.empty(self.shape, dtype=numpy_type(self.dtype))
        self._group.copy_codes(self._number, codes)
        return torch.from_numpy(codes)

    @functools.cached_property
    def weights(self) -> torch.Tensor:
        """float32 [K, S]."""
        weights = np.empty(self.shape, dtype=np.float32)
        self._group.copy_weights(self._number, weights)
        return torch.from_numpy(weights)

    def copy_to(self, codes: Array, weights: Array) -> None:
        """Copy the row into arrays [K, S], with whatever has become of its tensors."""
        made = self.__dict__
        if "codes" in made:
            codes[...] = self.codes.numpy()
        else:
            self._group.copy_codes(self._number, codes)
        if "weights" in made:
            weights[...] = self.weights.numpy()
        else:
            self._group.copy_weights(self._number, weights)

    def __getstate__(self) -> dict[str, Any]:
        # On its way to another process it leaves the other rows of its row group here.
        return {**self.__dict__, "_group": self._group.alone(self._number), "_number": 0}


class Batch(NamedTuple):
    """Some rows, padded at their ends to the longest of them.

    codes:   integers [B, K, S], of the rows' type
    weights: float32 [B, K, S], 0 where a row is padded
    lengths: int64 [B], timesteps of each row
    columns: for each other column the rows' values
    """

    codes: torch.Tensor
    weights: torch.Tensor
    lengths: torch.Tensor
    columns: dict[str, list[Any]]

    def to(self, device: torch.device | str | int, non_blocking: bool = False) -> Batch:
        """The batch on a device, its codes as int64, which is what embeddings take.

        Narrow codes become wide there, so that fewer bytes go there.
        """
        codes, weights, lengths = (
            tensor.to(device, non_blocking=non_blocking)
            for tensor in (self.codes, self.weights, self.lengths)
        )
        return Batch(codes.to(torch.int64), weights, lengths, self.columns)


class CodesAndWeights(Protocol):
    """What a row has to have to become one of a batch: see `Row`."""

    codes: torch.Tensor
    weights: torch.Tensor


def collate(rows: Sequence[Row | CodesAndWeights], *, pad_token: int = ZERO_TOKEN) -> Batch:
    """A batch of rows, padded at their ends at weight 0.

    rows:      those of a `ShardDataset`, or others with `codes` and `weights`
    pad_token: what pads the codes: the zero token -1, which Moshi's embeddings turn into zeros. For
               embeddings that don't know it, a token that they do: `partial(collate,
               pad_token=2048)`

    Codes [[1, 2]] and [[3]] -> [[[1, 2]], [[3, -1]]], weights [[[1, 1]], [[1, 0]]], lengths [2, 1]

    Raises RecipeError where the codes' type does not hold the token.
    """
    made = [row if isinstance(row, Row) else Row.of(row.codes, row.weights) for row in rows]
    info = torch.iinfo(made[0].dtype)
    if not info.min <= pad_token <= info.max:
        raise RecipeError(
            f"`pad_token` is {pad_token}, expected {info.min} to {info.max}: what {made[0].dtype} "
            "holds, the `dtype` of the dataset"
        )
    lengths = [row.shape[1] for row in made]
    shape = len(made), made[0].shape[0], max(lengths)
    codes, weights = _empty(shape, numpy_type(made[0].dtype)), _empty(shape, np.float32)
    for number, (row, length) in enumerate(zip(made, lengths, strict=True)):
        row.copy_to(codes[number, :, :length], weights[number, :, :length])
        codes[number, :, length:] = pad_token
        weights[number, :, length:] = 0
    columns = {name: [row.columns[name] for row in made] for name in made[0].columns}
    steps = torch.tensor(lengths, dtype=torch.int64)
    return Batch(torch.from_numpy(codes), torch.from_numpy(weights), steps, columns)


def numpy_type(dtype: torch.dtype) -> np.dtype[Any]:
    """The type of numpy's that a tensor's is."""
    return np.dtype(str(dtype).removeprefix("torch."))


def _empty(shape: tuple[int, ...], dtype: Any) -> Array:
    """An array of Arrow's memory, which it keeps: pages anew from the system cost as much again."""
    dtype = np.dtype(dtype)
    size = int(np.prod(shape))
    flat = np.frombuffer(pa.allocate_buffer(size * dtype.itemsize), dtype=dtype, count=size)
    return flat.reshape(shape)
