"""Frame rates of recipes: hours, seconds, offsets in seconds; they decide no byte of the tokens."""

import dataclasses
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from make import PLAIN, delaytool, entry_of, files_in, summary_of, tokens_table

import delaytool as library
from delaytool.recipes.presets import plain_recipe

RECIPE = plain_recipe(3, (0, 0, 1, 2))


@pytest.fixture
def shard(tmp_path):
    """A shard of 90,000 frames: an hour at 25 a second."""
    frames = 90_000
    codes = np.zeros((3, frames), dtype=np.int16).tolist()
    table = pa.table({"text_tokens": [[0] * frames], "audio_codes": [codes]})
    pq.write_table(table, tmp_path / "a.parquet")
    return tmp_path / "a.parquet"


def hours(*arguments):
    return summary_of(delaytool(*arguments, "--json"))["hours"]


def test_hours_follow_the_recipe(shard, tmp_path):
    out, recipe = tmp_path / "out", tmp_path / "recipe.json"
    recipe.write_text(dataclasses.replace(RECIPE, frame_rate=25).to_json())
    assert json.loads(recipe.read_text())["frame_rate"] == 25
    given = ("--recipe", recipe)
    assert hours("apply", shard, out / "25.parquet", *given) == 1
    assert hours("apply", shard, out / "50.parquet", *given, "--frame-rate", 50) == 0.5
    assert hours("apply", shard, out / "12.parquet", *PLAIN) == 2
    rates = [json.loads(entry_of(out / f"{n}.parquet"))["recipe"]["frame_rate"] for n in (25, 50)]
    assert rates == [25, 50]
    assert hours("verify", out) == hours("stats", out) == 3.5
    assert hours("verify", out, "--frame-rate", 25) == hours("stats", out, "--frame-rate", 25) == 3
    assert "at 12.5 and 25 and 50 a second" in delaytool("stats", out).stdout
    assert hours("stats", shard, *given) == 1
    assert hours("stats", shard) == 2
    assert library.stats(shard, frame_rate=100).report.hours == 0.25


def test_the_frame_rate_plays_no_part_in_what_is_the_same(shard, tmp_path):
    out = tmp_path / "out.parquet"
    delaytool("apply", shard, out, *PLAIN, "--frame-rate", 50)
    before = files_in(tmp_path)
    told = summary_of(delaytool("apply", shard, out, *PLAIN, "--json"))
    assert (told["unchanged"], told["hours"]) == (1, 0.5)
    assert files_in(tmp_path) == before
    (tmp_path / "recipe.json").write_text(RECIPE.to_json())
    delaytool("verify", out, "--recipe", tmp_path / "recipe.json")
    both = tmp_path / "both"
    delaytool("apply", shard, both / "a.parquet", *PLAIN)
    delaytool("apply", shard, both / "b.parquet", *PLAIN, "--frame-rate", 50)
    delaytool("verify", both)


def test_seconds_follow_the_recipe(tmp_path):
    source, out = tmp_path / "a.parquet", tmp_path / "b.parquet"
    pq.write_table(tokens_table(rows=1, longest=9), source)
    delaytool("apply", source, out, *PLAIN, "--frame-rate", 4)

    def clock(*arguments):
        printed = delaytool("inspect", *arguments).stdout.splitlines()
        return next(line for line in printed if line.startswith("seconds")).split()[1:3]

    assert clock(out) == ["0.00", "0.25"]
    assert clock(out, "--frame-rate", 2) == ["0.00", "0.50"]
    assert clock(source) == ["0.00", "0.08"]


def offsets_of(*options, source, out, status=0):
    done = delaytool("apply", source, out, *PLAIN, "--overwrite", *options, status=status)
    if status:
        return done.stderr
    streams = json.loads(entry_of(out))["recipe"]["streams"]
    return [stream["offset"] for stream in streams]


def test_offsets_as_options(tmp_path):
    source, out = tmp_path / "a.parquet", tmp_path / "b.parquet"
    pq.write_table(tokens_table(rows=5), source)
    paths = {"source": source, "out": out}
    assert offsets_of("--offset", "audio=1.28s", **paths) == [0, 16, 16, 16]
    assert offsets_of("--offset", "audio=1.28s", "--frame-rate", 25, **paths) == [0, 32, 32, 32]
    assert offsets_of("--offset", "text=-2", "--offset", "semantic=3", **paths) == [-2, 3, 0, 0]
    assert offsets_of("--offset", "audio=4", "--offset", "acoustic_2=0", **paths) == [0, 4, 4, 0]
    delaytool("verify", out, "--source", source)
    delaytool("revert", out, tmp_path / "back.parquet")
    assert pq.read_table(tmp_path / "back.parquet").equals(pq.read_table(source))
    for option, message in (
        ("text=0.5s", "0.5s is 6.25 frames at 12.5 a second, expected a whole number of frames"),
        ("text=0.5s", "words are moved by any time before they become frames"),
        ("user=1", "no stream is called"),
        ("text", "'text' is no offset like audio=16 or text=0.48s"),
        ("text=", "is no offset like"),
        ("text=soon", "is no time"),
        ("text=1048577", "stream text: offset is 1048577, expected an integer from -1048576"),
    ):
        assert message in offsets_of("--offset", option, **paths, status=2)


def test_a_row_shorter_than_an_offset_loses_its_tokens_and_they_are_counted(tmp_path):
    source, out = tmp_path / "a.parquet", tmp_path / "b.parquet"
    table = pa.table(
        {
            "text_tokens": [[1, 2, 3], [4] * 8, []],
            "audio_codes": pa.array([[[5] * n] for n in (3, 8, 0)], pa.list_(pa.list_(pa.int16()))),
        }
    )
    pq.write_table(table, source)
    options = ("--n-q", 1, "--delays", "0,0", "--length", "truncate", "--offset", "text=5")
    told = summary_of(delaytool("apply", source, out, *options, "--json"))
    assert told["lost"] == 3 + 5
    assert pq.read_table(out)["text_tokens"].to_pylist() == [[-1] * 3, [-1] * 5 + [4] * 3, []]
    assert pq.read_table(out)["text_loss_weights"].to_pylist() == [[0] * 3, [0] * 5 + [1] * 3, []]
    delaytool("verify", out, "--source", source)
    assert "cut off 8 tokens" in delaytool("revert", out, tmp_path / "c.parquet", status=1).stderr
