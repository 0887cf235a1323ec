"""Make the shards in this folder: python sample_data/make_sample_data.py

Everything here is SYNTHETIC: random numbers in the shape of real tokens. There is no speech in it
and no text; "words" are random syllables and token ids. The same seed gives the same tokens.

moshi/             two shards as a Moshi finetune has them: one text stream, aligned to words with
                   PAD (3) and EPAD (0), and 8 codebooks each of Moshi and of the user
words/             one shard for `delaytool align`: words of two speakers with their times, and 8
                   codebooks each of Moshi and of the user
issue-123.parquet  one row of 4 frames, 1 text stream and 2 codebooks: the example that people
                   explain the delay pattern with (kyutai-labs/moshi, issue 123)
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

HERE = Path(__file__).parent
PAD, EPAD = 3, 0
TEXT_CARD, CARD = 32000, 2048
N_Q = 16
FRAMES_PER_SECOND = 12.5
CONSONANTS, VOWELS = "bdfgklmnst", "aeiou"
WORDS = pa.list_(
    pa.struct(
        {
            "word": pa.string(),
            "tokens": pa.list_(pa.int32()),
            "start": pa.float64(),
            "end": pa.float64(),
            "speaker": pa.string(),
        }
    )
)


def text_tokens(random: np.random.Generator, frames: int) -> list[int]:
    """Words of 1 to 3 tokens with pauses between; EPAD is the last padding frame before a word."""
    tokens: list[int] = []
    while len(tokens) < frames:
        pause = int(random.integers(1, 12))
        word = random.integers(4, TEXT_CARD, size=random.integers(1, 4)).tolist()
        tokens += [PAD] * (pause - 1) + [EPAD] + word
    return tokens[:frames]


def codes(random: np.random.Generator, frames: int) -> list[list[int]]:
    """[n_q][T] with a few codes much more frequent than most, as a codec has them."""
    order = random.permuted(np.tile(np.arange(CARD), (N_Q, 1)), axis=1)
    ranks = np.minimum(random.zipf(1.2, size=(N_Q, frames)) - 1, CARD - 1)
    return np.take_along_axis(order, ranks, axis=1).tolist()


def moshi_shard(random: np.random.Generator, number: int, rows: int) -> pa.Table:
    """A table of synthetic dialogues, from 2 to 12 seconds long."""
    lengths = random.integers(25, 150, size=rows)
    return pa.table(
        {
            "id": [f"synthetic-{number}-{row:03d}" for row in range(rows)],
            "text_tokens": pa.array(
                [text_tokens(random, frames) for frames in lengths], pa.list_(pa.int32())
            ),
            "audio_codes": pa.array(
                [codes(random, frames) for frames in lengths], pa.list_(pa.list_(pa.int16()))
            ),
            "seconds": pa.array(lengths / FRAMES_PER_SECOND, pa.float32()),
        }
    )


def spoken_words(random: np.random.Generator, seconds: float) -> list[dict[str, object]]:
    """Words of 1 to 3 syllables, each a token, with pauses between; now and then of another one."""
    words: list[dict[str, object]] = []
    start, speaker = float(random.uniform(0, 1)), "SPEAKER_MAIN"
    while start < seconds:
        syllables = random.integers(4, TEXT_CARD, size=random.integers(1, 4)).tolist()
        end = start + 0.15 * len(syllables) + float(random.uniform(0, 0.2))
        words.append(
            {
                "word": "".join(CONSONANTS[n % 10] + VOWELS[n // 10 % 5] for n in syllables),
                "tokens": syllables,
                "start": round(start, 3),
                "end": round(end, 3),
                "speaker": speaker,
            }
        )
        start = end + float(random.exponential(0.3))
        if random.random() < 0.15:
            speaker = "SPEAKER_OTHER" if speaker == "SPEAKER_MAIN" else "SPEAKER_MAIN"
    return words


def words_shard(random: np.random.Generator, rows: int) -> pa.Table:
    """A table of synthetic dialogues, from 2 to 12 seconds long, as words and codes."""
    lengths = random.integers(25, 150, size=rows)
    words = [spoken_words(random, frames / FRAMES_PER_SECOND) for frames in lengths]
    return pa.table(
        {
            "id": [f"synthetic-words-{row:03d}" for row in range(rows)],
            "words": pa.array(words, WORDS),
            "audio_codes": pa.array(
                [codes(random, frames) for frames in lengths], pa.list_(pa.list_(pa.int16()))
            ),
        }
    )


def issue_123() -> pa.Table:
    """text_1 ... text_4 and so on, with ids that are easy to follow by eye."""
    return pa.table(
        {
            "text_tokens": pa.array([[101, 102, 103, 104]], pa.list_(pa.int32())),
            "audio_codes": pa.array(
                [[[11, 12, 13, 14], [21, 22, 23, 24]]], pa.list_(pa.list_(pa.int32()))
            ),
        }
    )


def main() -> None:
    """Write all shards."""
    random = np.random.default_rng(2024)
    (HERE / "moshi").mkdir(exist_ok=True)
    for number in range(2):
        table = moshi_shard(random, number, rows=24)
        pq.write_table(table, HERE / "moshi" / f"train-{number:05d}-of-00002.parquet")
    (HERE / "words").mkdir(exist_ok=True)
    table = words_shard(np.random.default_rng(2025), rows=12)
    pq.write_table(table, HERE / "words" / "train-00000.parquet")
    pq.write_table(issue_123(), HERE / "issue-123.parquet")


if __name__ == "__main__":
    main()
