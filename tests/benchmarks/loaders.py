"""From shards to padded batches: `delaytool.torch` beside other ways to read the same rows.

All give batches of BATCH rows, int64 codes [B, K, S] and float32 weights [B, K, S], from shifted
shards. The last two keep rows in files of their own, made of the same rows, with codes as int32.
"""

import numpy as np
import pyarrow.dataset
import pyarrow.parquet as pq
import torch

from delaytool.torch import Row, ShardDataset, collate

BATCH = 16
COLUMNS = ["text_tokens", "audio_codes", "text_loss_weights", "audio_loss_weights"]


def read_row_groups(folder):
    """A bare read of every row group by pyarrow, one after the other, without threads."""
    for path in sorted(folder.iterdir()):
        with pq.ParquetFile(path) as file:
            for number in range(file.num_row_groups):
                file.read_row_group(number, use_threads=False)


def batches(rows, collate_fn, workers):
    """Every batch of a dataset once."""
    loader = torch.utils.data.DataLoader(rows, BATCH, collate_fn=collate_fn, num_workers=workers)
    for _ in loader:
        pass


def ours(folder, workers=0, dtype=torch.int64):
    batches(ShardDataset(folder, shuffle=True, dtype=dtype), collate, workers)


class RowByRow(torch.utils.data.IterableDataset):
    """What people write: a row group at a time as a table, and of that each row's lists."""

    def __init__(self, folder):
        self.folder = folder

    def __iter__(self):
        shards = pyarrow.dataset.dataset(self.folder).get_fragments()
        groups = [group for shard in shards for group in shard.split_by_row_group()]
        worker = torch.utils.data.get_worker_info()
        for group in groups[worker.id :: worker.num_workers] if worker else groups:
            table = group.to_table(columns=COLUMNS, use_threads=False)
            for row in range(table.num_rows):
                text, audio, *weights = (table[name][row].values for name in COLUMNS)
                yield (
                    torch.from_numpy(np.vstack([text, *audio.to_numpy(False)]).astype(np.int64)),
                    torch.from_numpy(np.vstack([weights[0], *weights[1].to_numpy(False)])),
                )


def pad_pairs(rows):
    """A batch of pairs of codes and weights, by torch's own padding."""
    pad = torch.nn.utils.rnn.pad_sequence
    codes = pad([codes.T for codes, _ in rows], batch_first=True, padding_value=-1)
    weights = pad([weights.T for _, weights in rows], batch_first=True, padding_value=0.0)
    return codes.transpose(1, 2), weights.transpose(1, 2)


def row_by_row(folder, workers=0):
    batches(RowByRow(str(folder)), pad_pairs, workers)


def collate_streamed(rows):
    """A batch of rows of `datasets`."""
    stacked = [
        [torch.vstack([row[a], row[b]]) for a, b in (COLUMNS[:2], COLUMNS[2:])] for row in rows
    ]
    return collate([Row.of(codes.long(), weights) for codes, weights in stacked])


def streaming(folder, workers=0):
    """Hugging Face streaming, with the same collate."""
    import datasets

    datasets.disable_progress_bars()
    files = [str(path) for path in sorted(folder.iterdir())]
    rows = datasets.load_dataset("parquet", data_files=files, split="train", streaming=True)
    rows = rows.select_columns(COLUMNS).shuffle(seed=0, buffer_size=1000).with_format("torch")
    batches(rows, collate_streamed, workers)


def write_mosaic(folder, target):
    """The rows as mosaicml-streaming keeps them."""
    from streaming import MDSWriter

    with MDSWriter(
        out=str(target), columns={"codes": "ndarray:int32", "weights": "ndarray:float32"}
    ) as out:
        for row in ShardDataset(folder):
            out.write({"codes": row.codes.int().numpy(), "weights": row.weights.numpy()})


def mosaic(target, workers=0):
    from streaming import StreamingDataset

    rows = StreamingDataset(local=str(target), shuffle=True, batch_size=BATCH)
    batches(rows, collate_arrays, workers)


def collate_arrays(rows):
    """A batch of rows as arrays."""
    return collate(
        [
            Row.of(*(torch.from_numpy(np.array(row[name])) for name in ("codes", "weights")))
            for row in rows
        ]
    ).to("cpu")


def items(path):
    """A shard's rows for litdata."""
    for row in ShardDataset(path):
        yield {"codes": row.codes.int(), "weights": row.weights}


def write_litdata(folder, target):
    """The rows as litdata keeps them."""
    import litdata

    paths = [str(path) for path in sorted(folder.iterdir())]
    litdata.optimize(items, paths, str(target), num_workers=1, chunk_bytes="64MB")


def lit(target, workers=0):
    import litdata

    rows = litdata.StreamingDataset(str(target), shuffle=True)
    loader = litdata.StreamingDataLoader(
        rows, batch_size=BATCH, collate_fn=collate_arrays, num_workers=workers
    )
    for _ in loader:
        pass


def others_made(folder, shards):
    """The loaders whose packages are installed and that keep rows in files of their own."""
    made = {}
    for name, write, read in (
        ("mosaicml-streaming", write_mosaic, mosaic),
        ("litdata", write_litdata, lit),
    ):
        target = folder / name
        try:
            write(shards, target)
        except ImportError:
            continue
        made[name] = lambda workers=0, target=target, read=read: read(target, workers)
    return made
