"""Moshi's own model, small and untrained, on shifted shards: python train_moshi.py shifted/

    delaytool apply data/ shifted/ --preset moshi-finetune

The model is `LMModel` of the package moshi (0.2.13): a transformer over the columns of a grid and,
in each column, a smaller one over its streams, the depformer. Its `forward` delays the codes by
itself, so another one takes its place, see moshi_finetune.py; with it the losses of a row are those
that moshi-finetune computes from its unshifted codes.

To go on from published weights, take a model of `moshi.models.loaders` in place of `small_moshi`.
"""

import torch
from loop import DEVICE, descend, run
from moshi.models.lm import LMModel
from moshi.utils.compile import no_compile
from moshi_finetune import endless, forward_shifted, losses

from delaytool.torch import ShardDataset


class ShiftedMoshi(LMModel):
    """Moshi's model for codes that are shifted already, with their initial step."""

    forward = forward_shifted


def small_moshi(recipe, dim=64, model_class=ShiftedMoshi):
    """A model of one text stream and n_q audio streams, built like Moshi 7B but for its size."""
    (text,) = recipe.text
    return model_class(
        delays=list(recipe.delays),
        n_q=recipe.n_q,
        dep_q=recipe.dep_q,
        card=recipe.audio[0].cardinality,
        text_card=text.cardinality,
        dim=dim,
        num_heads=4,
        num_layers=2,
        depformer_dim=dim // 2,
        depformer_num_heads=2,
        depformer_num_layers=2,
        depformer_multi_linear=True,
        depformer_weights_per_step=True,
        depformer_pos_emb="none",
        positional_embedding="rope",
        norm="rms_norm_f32",
        gating="silu",
        depformer_gating="silu",
        causal=True,
        context=3000,
    )


@no_compile()  # which takes longer than training a model so small
def train(path, steps=30, batch_size=4, dim=64, lr=3e-3, seed=0):
    """Train on shards and print the losses as they fall; the model, and the loss of each step."""
    torch.manual_seed(seed)
    recipe = ShardDataset(path).recipe
    if not recipe.initial_step:
        raise ValueError("shards without an initial step: apply with --preset moshi-finetune")
    model = small_moshi(recipe, dim).to(DEVICE)

    def of_batch(batch):
        return dict(zip(("text", "audio"), losses(model, batch.to(DEVICE)), strict=True))

    batches = endless(path, batch_size, seed=seed, workers=0)
    return model, descend(model, of_batch, batches, steps, lr)


if __name__ == "__main__":
    run(train, "Train a small Moshi on shifted shards.")
