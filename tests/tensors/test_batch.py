"""`collate` and `weighted_loss`, beside the obvious way to write them."""

import functools
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from delaytool import RecipeError
from delaytool.torch import Row, ShardDataset, collate, weighted_loss


def test_a_batch_is_padded_at_the_ends(rows47):
    rows = list(ShardDataset(rows47))[:9]
    for pad_token in (-1, 2048):
        batch = functools.partial(collate, pad_token=pad_token)(rows)
        assert (batch.codes.dtype, batch.weights.dtype) == (torch.int64, torch.float32)
        assert batch.lengths.dtype == torch.int64
        assert batch.lengths.tolist() == [row.codes.shape[1] for row in rows]
        longest = max(batch.lengths.tolist())
        assert batch.codes.shape == batch.weights.shape == (9, 4, longest)
        for number, row in enumerate(rows):
            steps = row.codes.shape[1]
            assert torch.equal(batch.codes[number, :, :steps], row.codes)
            assert torch.equal(batch.weights[number, :, :steps], row.weights)
            assert (batch.codes[number, :, steps:] == pad_token).all()
            assert (batch.weights[number, :, steps:] == 0).all()


def test_rows_that_were_read_by_other_means(rows47):
    rows = list(ShardDataset(rows47))[:5]
    others = [Row.of(row.codes.T.contiguous().T, row.weights) for row in rows]
    alike = [SimpleNamespace(codes=row.codes, weights=row.weights) for row in rows]
    for batch in (collate(others), collate(alike)):
        for one, other in zip(collate(rows)[:3], batch[:3], strict=True):
            assert torch.equal(one, other)


def test_rows_that_were_cut(rows47):
    rows = list(ShardDataset(rows47))[:5]
    for row in rows:
        row.codes, row.weights = row.codes[:, 2:6], row.weights[:, 2:6]
    batch = collate(rows)
    assert batch.lengths.tolist() == [row.codes.shape[1] for row in rows]
    for number, (row, steps) in enumerate(zip(rows, batch.lengths.tolist(), strict=True)):
        assert torch.equal(batch.codes[number, :, :steps], row.codes)
        assert torch.equal(batch.weights[number, :, :steps], row.weights)


def test_a_padding_that_does_not_fit(rows47):
    rows = list(ShardDataset(rows47, dtype=torch.int16))[:2]
    with pytest.raises(RecipeError, match="`pad_token` is 40000.*32767"):
        collate(rows, pad_token=40000)


def slow_loss(logits, codes, weights):
    """sum(weight x cross-entropy) / sum(weight), cell by cell."""
    chances = torch.log_softmax(logits.double(), -1)
    total = sum(
        weights[place].item() * -chances[(*place, codes[place])].item()
        for place in np.ndindex(*codes.shape)
        if weights[place] > 0
    )
    return total / weights.double().sum().item()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("dtype", [torch.int64, torch.int16])
def test_the_loss_is_the_weighted_mean(seed, dtype):
    torch.manual_seed(seed)
    shape = tuple(torch.randint(1, 6, (3,)).tolist())
    codes = torch.randint(-1, 13, shape)
    weights = torch.rand(shape) * torch.tensor([0.0, 0.5, 1, 100])[torch.randint(0, 4, shape)]
    # What no output predicts weighs nothing.
    weights[(codes < 0) | (codes >= 11)] = 0
    weights[0, 0, 0], codes[0, 0, 0] = 1, 3
    logits = torch.randn(*shape, 11, requires_grad=True)
    loss = weighted_loss(logits, codes.to(dtype), weights)
    assert loss.item() == pytest.approx(slow_loss(logits, codes, weights), rel=1e-5)
    loss.backward()
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad[weights == 0] == 0).all()


def test_nothing_that_weighs_anything():
    logits = torch.randn(2, 3, 4, 5, requires_grad=True)
    loss = weighted_loss(logits, torch.full((2, 3, 4), -1), torch.zeros(2, 3, 4))
    assert loss.item() == 0
    loss.backward()
    assert (logits.grad == 0).all()


def test_half_precision_is_summed_in_float32():
    torch.manual_seed(0)
    logits, codes = torch.randn(2, 3, 50, 7), torch.randint(0, 7, (2, 3, 50))
    weights = torch.full((2, 3, 50), 100.0)
    loss = weighted_loss(logits.bfloat16(), codes, weights)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(slow_loss(logits.bfloat16(), codes, weights), rel=1e-4)


def test_shapes_that_do_not_go_together():
    codes = torch.zeros(2, 3, 4, dtype=torch.int64)
    with pytest.raises(RecipeError, match=r"\[B, K, S, card\]"):
        weighted_loss(torch.zeros(2, 3, 5, 7), codes, torch.zeros(2, 3, 4))
    with pytest.raises(RecipeError, match=r"weights \[2, 3, 1\]"):
        weighted_loss(torch.zeros(2, 3, 4, 7), codes, torch.zeros(2, 3, 1))
