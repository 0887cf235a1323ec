"""Wav files and transcripts become a shard: python encode_audio.py wavs/ words/train-00000.parquet

Each a.wav gives a row: its codes, by Mimi, [channels x 8][T], those of the left channel first
(Moshi's, where the right one is the user), and the words of a.json beside it, as annotate.py of
moshi-finetune writes them, of which `delaytool align` makes text tokens. Needs the package moshi.
"""

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import sphn
import torch
from moshi.models import loaders

KIND = {"id": pa.string(), "words": pa.string(), "audio_codes": pa.list_(pa.list_(pa.int16()))}
ROWS = 16


@torch.no_grad()
def row_of(wav, mimi, device="cpu"):
    """A wav file and the transcript beside it as a row; words are null where there is none."""
    samples, _ = sphn.read(wav, sample_rate=mimi.sample_rate)  # float32 [channels, samples]
    codes = mimi.encode(torch.from_numpy(samples)[:, None].to(device))  # [channels, 8, T]
    transcript = wav.with_suffix(".json")
    words = transcript.read_text() if transcript.exists() else None
    return {"id": wav.stem, "words": words, "audio_codes": codes.flatten(0, 1).tolist()}


def write_shard(folder, target, mimi, device="cpu"):
    """Write the wav files of a folder as the rows of a shard, a few at a time."""
    wavs = sorted(Path(folder).glob("*.wav"))
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(target, pa.schema(KIND)) as shard:
        for first in range(0, len(wavs), ROWS):
            rows = [row_of(wav, mimi, device) for wav in wavs[first : first + ROWS]]
            shard.write_table(pa.Table.from_pylist(rows, pa.schema(KIND)))


if __name__ == "__main__":
    device = "cuda" if torch.cuda.is_available() else "cpu"
    checkpoint = loaders.CheckpointInfo.from_hf_repo(loaders.DEFAULT_REPO)
    write_shard(sys.argv[1], sys.argv[2], checkpoint.get_mimi(device), device)
