"""Synthetic shards for the benchmarks: random ids in the shape of Moshi's tokens.

One text stream (int32; pauses of PAD that end in EPAD, and words of 1 to 3 tokens, as in
sample_data) and 16 codebooks (int16, ids below 2048) in nested lists. Codes are uniform, 11 bits
of entropy, which leaves an encoding nothing to gain, or skewed like 1 / sqrt(rank), 10.6 bits.
"""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

N_Q, CARD, TEXT_CARD = 16, 2048, 32000
STREAMS = N_Q + 1
PAD, EPAD = 3, 0
PART = 4 << 20
"""Tokens made at once, so that a large shard needs little memory here."""


def code_table(skewed):
    """65536 codes; a uniform choice among them has the wanted distribution."""
    chance = 1 / np.sqrt(1 + np.arange(CARD)) if skewed else np.ones(CARD)
    ends = np.cumsum(chance) / chance.sum()
    return np.searchsorted(ends, (np.arange(1 << 16) + 0.5) / (1 << 16)).astype(np.int16)


def text_tokens(random, frames):
    """Runs: a pause of 1 to 11 frames, all PAD but the last one, which is EPAD, then a word."""
    pauses = random.integers(1, 12, frames // 2 + 1)
    words = random.integers(1, 4, frames // 2 + 1)
    kinds = np.tile([True, False], len(pauses))
    silent = np.repeat(kinds, np.stack([pauses, words], axis=1).ravel())[: frames + 1]
    tokens = random.integers(4, TEXT_CARD, frames, dtype=np.int32)
    tokens[silent[:-1]] = PAD
    tokens[silent[:-1] & ~silent[1:]] = EPAD
    return tokens


def lists(lengths, values):
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values)


def batch(random, lengths, skewed=False, n_q=N_Q, padded=True):
    """A record batch with one row for each length in frames."""
    frames = int(lengths.sum())
    codes = code_table(skewed)[random.integers(0, 1 << 16, frames * n_q, dtype=np.uint16)]
    books = lists(np.repeat(lengths, n_q), pa.array(codes))
    if padded:
        text = text_tokens(random, frames)
    else:
        text = random.integers(4, TEXT_CARD, frames, dtype=np.int32)
    return pa.record_batch(
        {
            "text_tokens": lists(lengths, pa.array(text)),
            "audio_codes": lists(np.full(len(lengths), n_q), books),
        }
    )


def write(path, tokens, skewed=False, padded=True):
    """A shard of about so many tokens in one row group; rows are 10 to 120 seconds long.

    padded: whether text has pauses; without them it is 32,000 words in no order
    """
    random = np.random.default_rng(2024)
    parts = []
    while sum(part.num_rows for part in parts) * 812 * STREAMS < tokens:
        rows = max(1, min(PART, tokens) // (812 * STREAMS))
        parts.append(batch(random, random.integers(125, 1500, rows), skewed, padded=padded))
    table = pa.Table.from_batches(parts)
    pq.write_table(table, path, row_group_size=table.num_rows)
