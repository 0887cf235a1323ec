"""Rows and batches of them as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from delaytool.errors import RecipeError
from delaytool.recipes.checks import ZERO_TOKEN


class Row(NamedTuple):
    """One row of a shifted shard.

    codes:   integers [K, S], the streams in the recipe's order
    weights: float32 [K, S], the loss weight of each cell
    columns: the values of the other columns that were asked for, by name
    """

    codes: torch.Tensor
    weights: torch.Tensor
    columns: dict[str, Any] = {}  # noqa: RUF012 - the default of a tuple's field, never written to


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


def collate(rows: Sequence[Row], *, pad_token: int = ZERO_TOKEN) -> Batch:
    """A batch of rows, padded at their ends at weight 0.

    rows:      those of a `ShardDataset`, or pairs of codes and weights
    pad_token: what pads the codes: the zero token -1, which Moshi's embeddings turn into zeros. For
               embeddings that don't know it, a token that they do: `partial(collate,
               pad_token=2048)`

    Codes [[1, 2]] and [[3]] -> [[[1, 2]], [[3, -1]]], weights [[[1, 1]], [[1, 0]]], lengths [2, 1]

    Raises RecipeError where the codes' type does not hold the token.
    """
    first, lengths = rows[0][0], [row[0].shape[-1] for row in rows]
    info = torch.iinfo(first.dtype)
    if not info.min <= pad_token <= info.max:
        raise RecipeError(
            f"`pad_token` is {pad_token}, expected {info.min} to {info.max}, what {first.dtype} "
            "holds; or give ShardDataset a wider `dtype`"
        )
    shape = len(rows), first.shape[0], max(lengths)
    codes = torch.empty(shape, dtype=first.dtype)
    weights = torch.empty(shape, dtype=torch.float32)
    for number, (row, length) in enumerate(zip(rows, lengths, strict=True)):
        codes[number, :, :length] = row[0]
        weights[number, :, :length] = row[1]
        if length < shape[2]:
            codes[number, :, length:] = pad_token
            weights[number, :, length:] = 0
    names = rows[0][2] if len(rows[0]) > 2 else ()
    columns = {name: [row[2][name] for row in rows] for name in names}
    return Batch(codes, weights, torch.tensor(lengths), columns)
