"""Dia of transformers on shifted shards, small and untrained: python dia.py shifted/

    delaytool apply data/ shifted/ --preset dia

The model does not delay; its processor does, each time. The shards hold what that makes for
training: an initial column of 1026, and after each stream its end token 1024, which is trained,
then 1025. The codes of your data may lie frame-major, [T][9], as Dia's do, or codebook-major. A
column `text` says what is spoken: "[S1] Hello. [S2] Hi!".
"""

import functools

import torch
from loop import DEVICE, NO_LABEL, descend, run
from torch.utils.data import DataLoader
from transformers import (
    DiaConfig,
    DiaDecoderConfig,
    DiaEncoderConfig,
    DiaForConditionalGeneration,
    DiaTokenizer,
)

from delaytool.torch import ShardDataset, collate


def inputs_of(batch, tokenizer):
    """What the model takes: what its processor makes with `output_labels`, but for the padding.

    decoder_input_ids [B, S - 1, 9] are the columns 0 ... S - 2, labels [B x 9, S - 1] the columns
    1 ... S - 1. The processor pads shorter rows in front, `collate` pads them behind, at weight 0.
    """
    steps = torch.arange(batch.codes.shape[-1] - 1)
    labels = torch.where(batch.weights > 0, batch.codes, NO_LABEL)[:, :, 1:]
    text = tokenizer(batch.columns["text"], padding=True, return_tensors="pt")
    return {
        "input_ids": text["input_ids"],
        "attention_mask": text["attention_mask"],
        "decoder_input_ids": batch.codes[:, :, :-1].transpose(1, 2).contiguous(),
        "decoder_attention_mask": (steps < batch.lengths[:, None] - 1).long(),
        "labels": labels.flatten(0, 1).contiguous(),
    }


def small_dia(recipe, dim=64):
    """An encoder of text, and a decoder of as many codebooks as the recipe has."""
    first = recipe.streams[0]
    sizes = {
        "hidden_size": dim,
        "intermediate_size": 2 * dim,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": dim // 2,
    }
    decoder = DiaDecoderConfig(
        num_channels=recipe.n_q,
        vocab_size=first.initial + 2,
        bos_token_id=first.initial,
        eos_token_id=first.final,
        pad_token_id=first.padding,
        cross_num_attention_heads=2,
        cross_num_key_value_heads=2,
        cross_head_dim=dim // 2,
        cross_hidden_size=dim,
        **sizes,
    )
    config = DiaConfig(encoder_config=DiaEncoderConfig(**sizes), decoder_config=decoder)
    return DiaForConditionalGeneration(config)


def train(path, steps=30, batch_size=4, dim=64, lr=3e-3, seed=0):
    """Train on shards and print the loss as it falls; the model, and the loss of each step."""
    torch.manual_seed(seed)
    rows = ShardDataset(path, columns=["text"], shuffle=True, seed=seed, repeat=True)
    model, tokenizer = small_dia(rows.recipe, dim).to(DEVICE), DiaTokenizer()

    def of_batch(batch):
        inputs = inputs_of(batch, tokenizer)
        return {"audio": model(**{name: each.to(DEVICE) for name, each in inputs.items()}).loss}

    # Dia's embeddings know no zero token.
    padded = functools.partial(collate, pad_token=rows.recipe.streams[0].padding)
    batches = iter(DataLoader(rows, batch_size, collate_fn=padded))
    return model, descend(model, of_batch, batches, steps, lr)


if __name__ == "__main__":
    run(train, "Train a small Dia on shifted shards.")
