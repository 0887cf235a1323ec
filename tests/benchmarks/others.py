"""The same work as people do it today: in numpy row by row, in polars, in torch.

None of these checks anything: no vocabularies, no lengths, no nulls, no digests, no commit.
"""

import numpy as np

INITIAL, TRAILING = 2048, 2048
TEXT_INITIAL, TEXT_TRAILING = 32000, 3


def row_by_row(recipe):
    """A function of a row for `datasets.map`, as training scripts have it."""
    steps = recipe.max_delay
    scale = np.array([stream.weight for stream in recipe.streams], dtype=np.float32)
    scale[1 + recipe.dep_q :] = 0

    def shift(row):
        text = np.array(row["text_tokens"], dtype=np.int32)
        audio = np.array(row["audio_codes"], dtype=np.int16)
        frames = len(text)
        codes = np.full((len(recipe.streams), frames + steps), -1, dtype=np.int32)
        weights = np.zeros(codes.shape, dtype=np.float32)
        for k, stream in enumerate(recipe.streams):
            codes[k, : stream.delay] = stream.initial
            codes[k, stream.delay + frames :] = stream.padding
            codes[k, stream.delay : stream.delay + frames] = text if k == 0 else audio[k - 1]
            weights[k, stream.delay : stream.delay + frames] = scale[k]
        is_padding = (codes[0] == 3) | (codes[0] == 0)
        weights[0, is_padding & (weights[0] > 0)] = 0.5
        return {
            "text_tokens": codes[0],
            "audio_codes": codes[1:].astype(np.int16),
            "text_loss_weights": weights[0],
            "audio_loss_weights": weights[1:],
        }

    return shift


def with_datasets(source, target, recipe, cache):
    """Load a shard with Hugging Face `datasets`, map it, write it to Parquet."""
    import datasets

    datasets.disable_progress_bars()
    data = datasets.load_dataset(
        "parquet", data_files=str(source), split="train", cache_dir=str(cache)
    )
    features = datasets.Features(
        {
            "text_tokens": datasets.List(datasets.Value("int32")),
            "audio_codes": datasets.List(datasets.List(datasets.Value("int16"))),
            "text_loss_weights": datasets.List(datasets.Value("float32")),
            "audio_loss_weights": datasets.List(datasets.List(datasets.Value("float32"))),
        }
    )
    data.map(row_by_row(recipe), features=features).to_parquet(str(target))


def with_polars(source, target, recipe):
    """The same as expressions of polars: a row per codebook, shifted, and put together again."""
    import polars as pl

    delays = [stream.delay for stream in recipe.streams[1:]]
    scale = [
        stream.weight if number < recipe.dep_q else 0.0
        for number, stream in enumerate(recipe.streams[1:])
    ]
    frame = pl.read_parquet(source).with_row_index("row")
    fill = pl.lit(TRAILING, dtype=pl.Int16)
    none = pl.lit(0.0, dtype=pl.Float32)
    codebooks = (
        frame.select("row", "audio_codes")
        .explode("audio_codes")
        .with_columns(q=pl.int_range(pl.len()).over("row"))
        .with_columns(
            late=pl.col("q").replace_strict(list(range(len(delays))), delays) == 1,
            weight=pl.col("q").replace_strict(
                list(range(len(scale))), scale, return_dtype=pl.Float32
            ),
        )
        .with_columns(run=pl.col("weight").repeat_by(pl.col("audio_codes").list.len()))
        .with_columns(
            audio_codes=pl.when("late")
            .then(pl.concat_list(fill, "audio_codes"))
            .otherwise(pl.concat_list("audio_codes", fill)),
            audio_loss_weights=pl.when("late")
            .then(pl.concat_list(none, "run"))
            .otherwise(pl.concat_list("run", none)),
        )
        .group_by("row", maintain_order=True)
        .agg("audio_codes", "audio_loss_weights")
    )
    half = pl.element().is_in([0, 3])
    text = frame.select(
        "row",
        text_loss_weights=pl.concat_list(
            pl.col("text_tokens").list.eval(
                pl.when(half).then(0.5).otherwise(1.0).cast(pl.Float32)
            ),
            none,
        ),
        text_tokens=pl.concat_list("text_tokens", pl.lit(TEXT_TRAILING, dtype=pl.Int32)),
    )
    columns = ("text_tokens", "audio_codes", "text_loss_weights", "audio_loss_weights")
    text.join(codebooks, on="row", maintain_order="left").select(columns).write_parquet(target)


def in_torch(codes, recipe):
    """A padded batch [B, K, T] of int64, rolled and filled, with its weights [B, K, S]."""
    import torch

    rows, streams, frames = codes.shape
    out = torch.full((rows, streams, frames + recipe.max_delay), -1, dtype=codes.dtype)
    out[:, :, :frames] = codes
    weights = torch.zeros(out.shape, dtype=torch.float32)
    for k, stream in enumerate(recipe.streams):
        out[:, k] = torch.roll(out[:, k], stream.delay, dims=-1)
        out[:, k, : stream.delay] = stream.initial
        out[:, k, stream.delay + frames :] = stream.padding
        if recipe.carries_loss(k):
            weights[:, k, stream.delay : stream.delay + frames] = stream.weight
    is_padding = (out[:, 0] == 3) | (out[:, 0] == 0)
    weights[:, 0][is_padding & (weights[:, 0] > 0)] = 0.5
    return out, weights
