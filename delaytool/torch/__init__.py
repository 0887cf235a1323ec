"""Rows for training: shifted shards as PyTorch tensors (extra `torch`).

from delaytool.torch import ShardDataset, collate, weighted_loss

rows = ShardDataset("shifted/", shuffle=True, seed=0, repeat=True)
loader = torch.utils.data.DataLoader(rows, batch_size=16, collate_fn=collate, num_workers=2)
batch = next(iter(loader))       # batch.codes int64 [B, K, S], batch.weights float32 [B, K, S]
"""

try:
    from delaytool.torch.batch import Batch, Row, collate
    from delaytool.torch.dataset import ShardDataset
    from delaytool.torch.loss import weighted_loss
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "torch":
        raise
    raise ModuleNotFoundError(
        "delaytool.torch needs torch, which is not installed; "
        "install it with: pip install 'delaytool[torch]'",
        name=error.name,
    ) from None

__all__ = ["Batch", "Row", "ShardDataset", "collate", "weighted_loss"]
