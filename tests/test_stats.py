"""`stats`: shifted shards by their footers, original ones by their cells."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from make import SAMPLE_DATA, delaytool, summary_of, tokens_table

PLAIN = ("--n-q", "3", "--delays", "0,0,1,2")


@pytest.fixture
def data(tmp_path):
    pq.write_table(tokens_table(rows=12), tmp_path / "data.parquet")
    return tmp_path / "data.parquet"


def test_an_original_and_what_it_becomes(data, tmp_path):
    out = tmp_path / "out.parquet"
    applied = summary_of(delaytool("apply", data, out, *PLAIN, "--json"))
    before = summary_of(delaytool("stats", data, "--json"))
    after = summary_of(delaytool("stats", out, "--json"))
    assert (before["shifted"], before["original"]) == (0, 1)
    assert (after["shifted"], after["original"]) == (1, 0)
    text = np.concatenate(pq.read_table(data)["text_tokens"].to_pylist())
    assert before["text_padding"] == np.isin(text, [0, 3]).sum() > 0
    for name in ("rows", "frames", "tokens", "text_tokens", "text_padding", "hours"):
        assert before[name] == after[name] == applied[name], name
    assert before["mean_weights"] is before["filled_share"] is None
    assert after["mean_weights"] == applied["mean_weights"]
    assert sum(after["mean_weights"].values()) > 0


def test_only_the_footer_of_a_shifted_shard_is_read(data, tmp_path):
    out = tmp_path / "out.parquet"
    delaytool("apply", data, out, *PLAIN)
    whole = delaytool("stats", out).stdout
    contents = out.read_bytes()
    length = int.from_bytes(contents[-8:-4], "little")
    # All pages are gone, and nobody notices.
    out.write_bytes(bytes(len(contents) - length - 8) + contents[-length - 8 :])
    assert delaytool("stats", out).stdout == whole


def test_frames_a_second(data):
    slow, fast = (
        summary_of(delaytool("stats", data, "--json", "--frame-rate", rate)) for rate in (1, 50)
    )
    assert slow["hours"] == round(slow["frames"] / 3600, 6)
    assert fast["hours"] == round(slow["frames"] / 50 / 3600, 6)
    delaytool("stats", data, "--frame-rate", "0", status=2)


def test_a_recipe_decides_what_padding_is(data, tmp_path):
    recipe = tmp_path / "recipe.json"
    text = delaytool("presets", "moshi").stdout.replace('"0": 0.5', '"5": 0.5')
    recipe.write_text(text)
    done = delaytool("stats", SAMPLE_DATA / "moshi", "--recipe", recipe, "--json")
    tokens = np.concatenate(pq.read_table(SAMPLE_DATA / "moshi")["text_tokens"].to_pylist())
    assert summary_of(done)["text_padding"] == np.isin(tokens, [3, 5]).sum()
    done = delaytool("stats", data, "--preset", "moshi", status=1)
    assert "data.parquet" in done.stderr


def test_bad_rows_are_told(data):
    table = pq.read_table(data)
    texts = table["text_tokens"].to_pylist()
    texts[7] = None
    column = pa.array(texts, table["text_tokens"].type)
    pq.write_table(table.set_column(1, "text_tokens", column), data)
    done = delaytool("stats", data, status=1)
    assert "data.parquet, row 7 (id 'utt-7')" in done.stderr or "row 7" in done.stderr


def test_workers_and_folders(data, tmp_path):
    folder = tmp_path / "folder"
    for number in range(3):
        (folder / str(number)).mkdir(parents=True)
        pq.write_table(tokens_table(rows=4, seed=number), folder / str(number) / "a.parquet")
    delaytool("apply", data, folder / "shifted.parquet", *PLAIN)
    one, two = (delaytool("stats", folder, "--workers", n).stdout for n in (1, 2))
    assert one == two
    assert "4 (1 shifted, 3 original)" in one
