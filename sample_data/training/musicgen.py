"""MusicGen of transformers on shifted shards, small and untrained: python musicgen.py shifted/

    delaytool apply data/ shifted/ --preset musicgen --length truncate

`labels` of transformers' MusicGen are codes that are delayed already: its `forward` only puts a
column of initial tokens in front of them, and reads the result. So the shards hold what a trainer
prepares with the model's `build_delay_pattern_mask`, as musicgen-dreamboothing does. That one and
AudioCraft's trainer end a row where its first codebook ends, hence `--length truncate`.
(AudioCraft's own model does delay by itself.)

The loss is the model's: the mean of its codebooks' means. Of the loss weights it counts only which
are above 0.

`MusicgenForConditionalGeneration` takes the same `labels`; `ShardDataset(path, columns=[...])`
brings a column of descriptions along, in `batch.columns`.
"""

import torch
from loop import DEVICE, NO_LABEL, descend, run
from torch.utils.data import DataLoader
from transformers import MusicgenDecoderConfig, MusicgenForCausalLM

from delaytool.torch import ShardDataset, collate


def labels_of(batch):
    """The model's `labels` [B, S - 1, K]: the cells after the initial column, if they weigh any."""
    targets = torch.where(batch.weights > 0, batch.codes, NO_LABEL)
    return targets[:, :, 1:].transpose(1, 2)


def small_musicgen(recipe, dim=64):
    """A decoder without text, of as many codebooks as the recipe has."""
    first = recipe.streams[0]
    config = MusicgenDecoderConfig(
        num_codebooks=recipe.n_q,
        vocab_size=first.cardinality,
        pad_token_id=first.padding,
        bos_token_id=first.initial,
        hidden_size=dim,
        num_hidden_layers=2,
        num_attention_heads=2,
        ffn_dim=2 * dim,
        dropout=0.0,
    )
    return MusicgenForCausalLM(config)


def train(path, steps=30, batch_size=4, dim=64, lr=3e-3, seed=0):
    """Train on shards and print the loss as it falls; the model, and the loss of each step."""
    torch.manual_seed(seed)
    rows = ShardDataset(path, shuffle=True, seed=seed, repeat=True)
    if not rows.recipe.initial_step:
        raise ValueError("shards without an initial step: apply with --preset musicgen")
    model = small_musicgen(rows.recipe, dim).to(DEVICE)

    def of_batch(batch):
        return {"audio": model(labels=labels_of(batch.to(DEVICE))).loss}

    batches = iter(DataLoader(rows, batch_size, collate_fn=collate))
    return model, descend(model, of_batch, batches, steps, lr)


if __name__ == "__main__":
    run(train, "Train a small MusicGen on shifted shards.")
