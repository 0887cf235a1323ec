"""A small transformer trained on shifted shards of any recipe: python train_tiny.py shifted/

A shifted row is a grid: K streams, each a line of S tokens. The model reads it column by column,
left to right, and predicts all K cells of a column at once, from the columns before it:

    column      0       1       2       3               the model has seen         and predicts
    text        text_1  text_2  text_3  S               nothing                    column 0
    semantic    S       sem_1   sem_2   sem_3           column 0                   column 1
    acoustic    S       aco_1   aco_2   aco_3           columns 0, 1               column 2

Since the delay has moved the audio one column later, text_1 is seen before sem_1 is predicted. The
model needs to know nothing of delays: they are in the data.

Each cell has a loss weight, which says how much predicting it counts. The cells that the shift has
filled (S above) weigh 0: they are read, like any other token, but they are no targets.

What was left out: Moshi predicts the cells of one column one after another, with a second, smaller
transformer (its depformer). Here they don't see one another. train_moshi.py has Moshi's own model.
"""

import argparse
import math

import torch
from torch import nn
from torch.utils.data import DataLoader

from delaytool.torch import ShardDataset, collate, weighted_loss


class Tiny(nn.Module):
    """An embedding and an output layer for each stream, and one transformer for all of them."""

    def __init__(self, recipe, dim=64, layers=2, heads=4):
        super().__init__()
        # Tokens are 0 to cardinality - 1; those that fill cells may lie beyond.
        sizes = [max(s.cardinality, *(f + 1 for f in fill_tokens(s))) for s in recipe.streams]
        self.embeddings = nn.ModuleList(nn.Embedding(size, dim) for size in sizes)
        self.start = nn.Parameter(torch.zeros(dim))  # what stands before column 0
        layer = nn.TransformerEncoderLayer(
            dim, heads, 4 * dim, dropout=0.0, batch_first=True, norm_first=True
        )
        self.transformer = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(dim)
        # Fill tokens beyond the vocabulary are never predicted, nor are streams without loss: in
        # Moshi's recipes those of the user, which come after the first dep_q audio streams.
        self.predicted = [k for k in range(len(sizes)) if recipe.carries_loss(k)]
        cards = [recipe.streams[k].cardinality for k in self.predicted]
        self.outputs = nn.ModuleList(nn.Linear(dim, card) for card in cards)

    def forward(self, codes):
        """codes [B, K, S] -> by stream number, the logits [B, 1, S, cardinality] of its cells."""
        columns = sum(embed(codes[:, k], table) for k, table in enumerate(self.embeddings))
        start = self.start.expand(len(codes), 1, -1)
        seen = torch.cat([start, columns[:, :-1]], dim=1)  # [B, S, dim]: what came before each one
        steps = seen.shape[1]
        causal = nn.Transformer.generate_square_subsequent_mask(steps, device=codes.device)
        hidden = self.transformer(seen + positions(steps, seen), mask=causal, is_causal=True)
        hidden = self.norm(hidden)[:, None]
        return {k: out(hidden) for k, out in zip(self.predicted, self.outputs, strict=True)}


def fill_tokens(stream):
    """The tokens that a stream's filled cells may hold."""
    return stream.initial, stream.final, stream.padding, stream.last, stream.lead, stream.trail


def embed(tokens, table):
    """The rows of a table for tokens [B, S]; zeros for the zero token, -1, which is no input."""
    return table(tokens.clamp(min=0)) * (tokens >= 0)[..., None]


def positions(steps, like):
    """Sines and cosines that tell the columns apart, [S, dim]."""
    half = like.shape[-1] // 2
    rates = torch.exp(torch.arange(half, device=like.device) * (-math.log(10000) / half))
    angles = torch.arange(steps, device=like.device)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def mean_loss(streams, logits, codes, weights):
    """sum(weight x cross-entropy) / sum(weight), over some of the streams.

    Each stream has its own number of logits, so each has its mean, and counts as it weighs.
    """
    means = [weighted_loss(logits[k], codes[:, [k]], weights[:, [k]]) for k in streams]
    totals = [weights[:, k].sum() for k in streams]
    parts = [mean * total for mean, total in zip(means, totals, strict=True)]
    return sum(parts) / sum(totals).clamp(min=1e-9)


def losses(recipe, logits, codes, weights):
    """Moshi's two losses by name: that of the text streams, and that of the audio streams."""
    found = {}
    for name, numbers in (("text", recipe.text_numbers), ("audio", recipe.audio_numbers)):
        streams = [k for k in numbers if k in logits]
        if streams:
            found[name] = mean_loss(streams, logits, codes, weights)
    return found


def train(path, steps=50, batch_size=4, dim=64, layers=2, lr=3e-3, seed=0):
    """Train on shards and print the loss as it falls; the model, and the loss of each step."""
    torch.manual_seed(seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rows = ShardDataset(path, shuffle=True, seed=seed, repeat=True)
    batches = iter(DataLoader(rows, batch_size=batch_size, collate_fn=collate))
    model = Tiny(rows.recipe, dim, layers).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    history = []
    for step in range(steps):
        batch = next(batches).to(device)
        parts = losses(rows.recipe, model(batch.codes), batch.codes, batch.weights)
        loss = sum(parts.values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
        if step % 10 == 0 or step == steps - 1:
            shown = "   ".join(f"{name} {part.item():.3f}" for name, part in parts.items())
            print(f"step {step:4}   loss {loss.item():.3f}   {shown}", flush=True)
    return model, history


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train a small transformer on shifted shards.")
    parser.add_argument("path", help="the shards that `delaytool apply` has made")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--batch-size", type=int, default=4, help="rows in a batch")
    parser.add_argument("--dim", type=int, default=64, help="width of the model")
    parser.add_argument("--layers", type=int, default=2, help="layers of the transformer")
    parser.add_argument("--lr", type=float, default=3e-3, help="learning rate")
    parser.add_argument("--seed", type=int, default=0)
    torch.set_num_threads(1)  # threads of so small a model wait longer than they work
    train(**vars(parser.parse_args()))
