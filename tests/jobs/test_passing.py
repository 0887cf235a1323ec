"""Columns that pass through although someone may not mean them to."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from make import PLAIN, delaytool, tokens_table

RANDOM = np.random.default_rng(0)
SOUNDS = [RANDOM.bytes(20_000) for _ in range(12)]
AUDIO = pa.struct({"bytes": pa.binary(), "path": pa.string()})


def stored(path, name):
    """The share of a column among a file's bytes, as its footer says."""
    metadata = pq.read_metadata(path)
    chunks = [
        metadata.row_group(g).column(c)
        for g in range(metadata.num_row_groups)
        for c in range(metadata.num_columns)
    ]
    sizes = [chunk.total_compressed_size for chunk in chunks]
    named = [chunk.path_in_schema.partition(".")[0] == name for chunk in chunks]
    return sum(size for size, is_it in zip(sizes, named, strict=True) if is_it) / sum(sizes)


@pytest.mark.parametrize(
    "sounds",
    [
        pa.array([{"bytes": sound, "path": "x.wav"} for sound in SOUNDS], AUDIO),
        pa.array(SOUNDS, pa.large_binary()),
        pa.array([[sound] for sound in SOUNDS], pa.list_(pa.binary())),
    ],
    ids=["Audio of datasets", "large_binary", "list"],
)
def test_audio_that_passes_through_is_pointed_out(tmp_path, sounds):
    pq.write_table(tokens_table(audio=sounds), tmp_path / "a.parquet", row_group_size=5)
    share = stored(tmp_path / "a.parquet", "audio")
    assert 0.9 < share < 1
    command = ("apply", "a.parquet", "o.parquet", *PLAIN)
    done = delaytool(*command, cwd=tmp_path)
    says = f"Note: column audio holds bytes, such as audio, and passes through: {100 * share:.3g}%"
    assert says in done.stderr
    assert "of all bytes of a.parquet; --drop-column audio leaves it out" in done.stderr
    done = delaytool(*command, "--drop-column", "audio", "--overwrite", cwd=tmp_path)
    assert "holds bytes" not in done.stderr


def test_keys_and_few_bytes_are_not_pointed_out(tmp_path):
    keys = pa.array([b"%d" % row for row in range(40)], pa.binary())
    none = pa.nulls(40, AUDIO)
    table = tokens_table(rows=40, longest=500, number=keys, audio=none, other=none)
    pq.write_table(table, tmp_path / "a.parquet")
    done = delaytool("apply", "a.parquet", "o.parquet", *PLAIN, "--key", "number", cwd=tmp_path)
    assert "holds bytes" not in done.stderr


def test_bytes_of_shards_of_codes_count_too(tmp_path):
    table = tokens_table(audio=pa.array(SOUNDS, pa.binary()))
    pq.write_table(table.select(["id", "text_tokens"]), tmp_path / "text.parquet")
    pq.write_table(table.select(["id", "audio_codes", "audio"]), tmp_path / "codes.parquet")
    command = ("apply", "text.parquet", "o.parquet", "--audio-input", "codes.parquet", *PLAIN)
    assert "column audio holds bytes" in delaytool(*command, cwd=tmp_path).stderr
