"""The weighted loss of logits that predict the cells of a grid."""

from __future__ import annotations

import torch

from delaytool.errors import RecipeError
from delaytool.pattern.weights import NO_LABEL


def weighted_loss(logits: torch.Tensor, codes: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The weighted mean of the cross-entropy: sum(weight x cross-entropy) / sum(weight).

    logits:  [B, K, S, card], what predicts each cell
    codes:   integers [B, K, S], the cells
    weights: [B, K, S], the loss weight of each cell. A cell without weight is no target, so what
             an output of `card` logits cannot predict (fills, zero tokens) does no harm there
    returns: a scalar, float32; 0 with a gradient, which is 0, where nothing weighs anything

    Moshi's text and audio losses are two of these, each over its streams; see moshi-finetune's
    `compute_loss_with_mask`.

    Raises RecipeError for shapes that do not go together.
    """
    if not logits.shape[:-1] == codes.shape == weights.shape:
        raise RecipeError(
            f"logits {list(logits.shape)}, codes {list(codes.shape)}, weights "
            f"{list(weights.shape)}: expected [B, K, S, card], [B, K, S] and [B, K, S]"
        )
    targets = torch.where(weights > 0, codes.to(torch.int64), NO_LABEL)
    each = torch.nn.functional.cross_entropy(
        logits.flatten(0, -2).float(), targets.flatten(), ignore_index=NO_LABEL, reduction="none"
    )
    weights = weights.flatten().float()
    total = weights.sum()
    return (each * weights).sum() / torch.where(total > 0, total, 1.0)
