"""The same work by other means: in polars, in torch.

None of these checks anything: no vocabularies, no lengths, no nulls, no digests, no commit.
"""

TRAILING, TEXT_TRAILING = 2048, 3


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
