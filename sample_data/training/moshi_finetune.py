"""What to change in Kyutai's moshi-finetune, so that it trains on shifted shards.

    delaytool apply data/ shifted/ --preset moshi-finetune

The trainer reads wav files, encodes them in every run, and its model delays the codes. In its place
come a forward pass that does not delay, batches of shifted shards, losses with the shards' weights,
and an evaluation. Copy this file beside its train.py; there

    python moshi_finetune.py train.py

writes train_shifted.py, which is train.py with the lines of `EDITS` in place of some of its own,
and is used like it: `data.train_data` and `data.eval_data` of its settings name shifted shards,
`data.shuffle` and `seed` are theirs. Only train.py of commit 2acc879 is taken, since lines count.

What became better on the way:

evaluation   Its loader of evaluation data is a generator, so that a second evaluation finds what
             the first one left, in the end nothing. `evaluate` goes through all rows each time, and
             its losses are means over all their cells, not over batches. Perplexity is e to the
             loss, which is in nats; it was 2 to the loss.
ranks        Every rank has as many batches as every other, so that none waits for one that has run
             out.
weights      `text_padding_weight` and `first_codebook_weight_multiplier` stand in the shards, by
             `--text-padding-weight` and `--semantic-weight` of apply; the settings do nothing.
"""

import hashlib
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.utils.data import DataLoader

from delaytool.torch import ShardDataset, collate, weighted_loss

COMMIT = "2acc879"
SHA256 = "5959a0dbb2dce1d8949e43548c96417143567a09ce5bfd78c8bd1109d39e5c7e"
EDITS = {
    (18, 19): "from moshi_finetune import (\n"
    "    endless, evaluate, losses, rows_for_evaluation, take_shifted_codes\n"
    ")\n",
    (24, 24): "",
    (28, 29): "",
    (145, 151): "    take_shifted_codes()\n    model = get_fsdp_model(args, checkpoint_info)\n",
    (153, 187): "    data_loader = endless(\n"
    "        args.data.train_data, args.batch_size, shuffle=args.data.shuffle, seed=args.seed\n"
    "    )\n"
    "    if args.do_eval:\n"
    "        eval_data_loader = rows_for_evaluation(args.data.eval_data, args.batch_size)\n",
    (245, 273): '            batch = next(data_loader).to("cuda")\n'
    "            text_loss, audio_loss = losses(model, batch)\n",
    (279, 282): "            predicted = batch.weights[:, : model.audio_offset + model.dep_q, 1:]\n"
    "            n_batch_tokens += predicted.numel()\n"
    "            n_real_tokens += (predicted > 0).sum().item()\n",
}
"""Of train.py, the first and the last line (from 1) of what goes, and what comes in its place."""


def forward_shifted(self, codes, condition_tensors=None):
    """`LMModel.forward` for codes that are shifted, with their initial step: [B, K, S].

    Returns logits of the text [B, 1, S - 1, text_card] and of the first dep_q audio streams
    [B, dep_q, S - 1, card], which predict the cells 1 ... S - 1.
    """
    if condition_tensors is not None or self.fuser is not None:
        raise ValueError("shards hold no conditions for a model that takes some")
    hidden, text_logits = self.forward_text(codes[:, :, :-1])
    return text_logits, self.forward_depformer_training(codes[:, :, 1:], hidden)


def take_shifted_codes():
    """From here on every `LMModel` takes shifted codes, whatever it is wrapped in."""
    from moshi.models.lm import LMModel

    LMModel.forward = forward_shifted


def losses(model, batch):
    """The losses of the text and of the audio, two scalars; the model takes shifted codes."""
    text_logits, audio_logits = model(codes=batch.codes)
    text, audio = predicted(model)
    targets, weights = batch.codes[:, :, 1:], batch.weights[:, :, 1:]
    return (
        weighted_loss(text_logits, targets[:, text], weights[:, text]),
        weighted_loss(audio_logits, targets[:, audio], weights[:, audio]),
    )


def predicted(model):
    """Which streams the model predicts: those of text, and those of audio, as slices."""
    first = model.audio_offset
    return slice(first), slice(first, first + model.dep_q)


def endless(path, batch_size, *, shuffle=True, seed=0, workers=2):
    """Batches of shifted shards without end, those of this rank."""
    rows = ShardDataset(path, shuffle=shuffle, seed=seed, repeat=True)
    return iter(DataLoader(rows, batch_size, collate_fn=collate, num_workers=workers))


def rows_for_evaluation(path, batch_size):
    """All rows of shifted shards, in their order, as often as one goes through them.

    With several ranks each has its share; up to one row less than there are ranks is left out.
    """
    return DataLoader(ShardDataset(path), batch_size, collate_fn=collate)


@torch.no_grad()
def evaluate(model, eval_data_loader, state, args=None):
    """Write the losses of all rows, of all ranks together, into the trainer's state."""
    device = next(model.parameters()).device
    sums = torch.zeros(2, device=device)
    totals = torch.zeros(2, device=device)
    model.eval()
    for batch in eval_data_loader:
        batch = batch.to(device)  # noqa: PLW2901 - the same rows, where the model is
        found = torch.stack(losses(model, batch))
        weights = batch.weights[:, :, 1:]
        each = torch.stack([weights[:, streams].sum() for streams in predicted(model)])
        sums += found * each
        totals += each
    model.train()
    if dist.is_initialized():
        dist.all_reduce(sums)
        dist.all_reduce(totals)
    state.this_text_loss, state.this_audio_loss = (sums / totals).tolist()
    state.this_eval_loss = state.this_text_loss + state.this_audio_loss
    state.this_eval_perplexity = torch.tensor(state.this_eval_loss).exp().item()


def edited(text):
    """train.py of moshi-finetune with the lines of `EDITS` in place of its own."""
    if hashlib.sha256(text.encode()).hexdigest() != SHA256:
        raise ValueError(f"expected train.py of commit {COMMIT} of kyutai-labs/moshi-finetune")
    lines = text.splitlines(keepends=True)
    for (first, last), ours in sorted(EDITS.items(), reverse=True):
        lines[first - 1 : last] = [ours]
    return "".join(lines)


if __name__ == "__main__":
    train = Path(sys.argv[1])
    train.with_name("train_shifted.py").write_text(edited(train.read_text()))
