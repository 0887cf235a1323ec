"""One rank of two that train with DDP: `python train.py SHARDS CONTEXT`, with RANK.

It prints what it has read, epoch by epoch, and a digest of the model that came out.
"""

import hashlib
import json
import sys

import torch
from torch.nn.parallel import DistributedDataParallel

from delaytool.torch import ShardDataset, collate, weighted_loss


class Model(torch.nn.Module):
    """Logits of every cell from the cell itself, which is enough to have gradients."""

    def __init__(self, streams, card):
        super().__init__()
        self.embedding = torch.nn.Embedding(card, 4)
        self.output = torch.nn.Linear(4, card)

    def forward(self, codes):
        return self.output(self.embedding(codes.clamp(min=0) % self.embedding.num_embeddings))


def main(path, context):
    rows = ShardDataset(path, columns=["id"], shuffle=True)
    torch.distributed.init_process_group("gloo")
    torch.manual_seed(0)
    model = DistributedDataParallel(Model(len(rows.recipe.streams), 64))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = torch.utils.data.DataLoader(
        rows, batch_size=4, collate_fn=collate, num_workers=1, multiprocessing_context=context
    )
    epochs = []
    for _ in range(2):
        epochs.append([])
        for batch in loader:
            logits = model(batch.codes)
            loss = weighted_loss(logits, batch.codes.clamp(min=0) % 64, batch.weights)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            epochs[-1].append(batch.columns["id"])
    weights = [parameter.detach().numpy().tobytes() for parameter in model.parameters()]
    digest = hashlib.sha256(b"".join(weights)).hexdigest()
    print(json.dumps({"epochs": epochs, "model": digest, "length": len(rows)}))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
