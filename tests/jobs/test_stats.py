"""`stats`: shifted shards by their footers, original ones by their cells."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from make import PLAIN, SAMPLE_DATA, delaytool, summary_of, tokens_table


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
    for bad in ("0", "-1", "nan", "inf", "1e-320"):
        delaytool("stats", data, "--frame-rate", bad, status=2)


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
    assert "data.parquet, row 7 (id 'utt-7')" in done.stderr


def test_workers_and_folders(data, tmp_path):
    folder = tmp_path / "folder"
    for number in range(3):
        (folder / str(number)).mkdir(parents=True)
        pq.write_table(tokens_table(rows=4, seed=number), folder / str(number) / "a.parquet")
    delaytool("apply", data, folder / "shifted.parquet", *PLAIN)
    one, two = (delaytool("stats", folder, "--workers", n).stdout for n in (1, 2))
    assert one == two
    assert "4 (1 shifted, 3 original)" in one


def test_padding_can_be_named(data):
    text = np.concatenate(pq.read_table(data)["text_tokens"].to_pylist())
    for options, ids in (
        (("--text-padding", 5), [5]),
        (("--text-end-padding", 5), [3, 5]),
        (("--text-padding", 1, "--text-end-padding", 2), [1, 2]),
        (("--text-padding", 40_000), [40_000]),
    ):
        summary = summary_of(delaytool("stats", data, *options, "--json"))
        assert summary["text_padding"] == np.isin(text, ids).sum()
    delaytool("stats", data, "--text-padding", 2**40, status=2)


def test_zero_tokens(data, tmp_path):
    rows = pq.read_table(data).to_pylist()
    rows[0]["text_tokens"][0] = rows[1]["audio_codes"][2][0] = rows[2]["audio_codes"][0][0] = -1
    pq.write_table(pa.Table.from_pylist(rows, pq.read_schema(data)), data)
    out = tmp_path / "out.parquet"
    applied = summary_of(delaytool("apply", data, out, *PLAIN, "--json"))
    assert applied["zero_tokens"] == 3
    for path in (data, out):
        assert summary_of(delaytool("stats", path, "--json"))["zero_tokens"] == 3
    assert summary_of(delaytool("verify", out, "--json"))["zero_tokens"] == 3


def codes_table(frames, frame_major):
    codes = [np.arange(3 * n, dtype=np.int16).reshape(3, n) for n in frames]
    return pa.table(
        {
            "text_tokens": [[0] * n for n in frames],
            "audio_codes": [(grid.T if frame_major else grid).tolist() for grid in codes],
        }
    )


@pytest.mark.parametrize("frame_major", [True, False])
def test_other_shards_decide_a_layout_that_a_shard_leaves_open(tmp_path, frame_major):
    folder = tmp_path / "data"
    folder.mkdir()
    for number, frames in enumerate([(3, 3), (3, 5, 2), (3,)]):
        pq.write_table(codes_table(frames, frame_major), folder / f"{number}.parquet")
    told = [summary_of(delaytool("stats", folder, "--json", "--workers", n)) for n in (1, 2)]
    assert told[0] == told[1]
    assert (told[0]["frames"], told[0]["tokens"]) == (19, 76)
    done = delaytool("stats", folder / "0.parquet", status=1)
    assert "more than one layout fits every row" in done.stderr


def test_shards_of_different_models(data, tmp_path):
    pq.write_table(tokens_table(rows=3, n_q=5), tmp_path / "other.parquet")
    both = summary_of(delaytool("stats", tmp_path, "--json"))
    each = [
        summary_of(delaytool("stats", tmp_path / name, "--json"))
        for name in ("data.parquet", "other.parquet")
    ]
    for name in ("rows", "frames", "tokens", "text_tokens", "text_padding"):
        assert both[name] == sum(one[name] for one in each)


def test_only_columns_with_tokens_are_read(data, tmp_path):
    table = pq.read_table(data).append_column("audio", pa.array([b"x" * 10_000] * 12))
    pq.write_table(table, data, compression="none", use_dictionary=False)
    whole = delaytool("stats", data).stdout
    contents = data.read_bytes()
    assert contents.count(b"x" * 10_000) == 12
    # Pages that cannot be read: their headers are gone too.
    start = contents.index(b"x" * 10_000) - 40
    data.write_bytes(contents[:start] + bytes(100_000) + contents[start + 100_000 :])
    with pytest.raises(OSError, match="."):
        pq.read_table(data)
    assert delaytool("stats", data, "--audio-layout", "codebook").stdout == whole


def test_columns_that_are_not_there(data):
    for options in (("--text-column", "nix"), ("--audio-column", "nix"), ("--key", "nix")):
        done = delaytool("stats", data, *options, status=1)
        assert "data.parquet: there is no column nix" in done.stderr


def test_text_of_another_length(data):
    rows = pq.read_table(data).to_pylist()
    rows[4]["text_tokens"].pop()
    pq.write_table(pa.Table.from_pylist(rows, pq.read_schema(data)), data)
    done = delaytool("stats", data, status=1)
    assert "--align fit" in done.stderr
    summary = summary_of(delaytool("stats", data, "--align", "pad", "--json"))
    assert summary["text_tokens"] == summary["frames"] - 1
    assert summary["tokens"] == 4 * summary["frames"] - 1


def test_a_shard_of_many_batches(tmp_path):
    table = tokens_table(rows=9000, longest=4)
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=1000)
    delaytool(
        "apply", tmp_path / "a.parquet", tmp_path / "b.parquet", *PLAIN, "--length", "truncate"
    )
    text = np.concatenate(table["text_tokens"].to_pylist())
    for name in ("a.parquet", "b.parquet"):
        summary = summary_of(delaytool("stats", tmp_path / name, "--json"))
        assert (summary["rows"], summary["frames"]) == (9000, text.size)
        assert summary["text_padding"] == np.isin(text, [0, 3]).sum()
        assert summary["tokens"] == 4 * text.size


def test_codes_in_shards_of_their_own(data, tmp_path):
    table = pq.read_table(data)
    text, codes = tmp_path / "text", tmp_path / "codes"
    for folder, columns in ((text, ["id", "text_tokens"]), (codes, ["id", "audio_codes"])):
        folder.mkdir()
        for number in range(3):
            part = table.select(columns).slice(number * 4, 4)
            pq.write_table(part, folder / f"{number}.parquet")
    whole = summary_of(delaytool("stats", data, "--json"))
    paired = ("stats", text, "--audio-input", codes)
    assert summary_of(delaytool(*paired, "--json")) | {"shards": 1, "original": 1} == whole
    (codes / "2.parquet").unlink()
    assert "no shard of codes of this name" in delaytool(*paired, status=1).stderr
    delaytool("apply", data, tmp_path / "out.parquet", *PLAIN)
    shifted = ("stats", tmp_path / "out.parquet", "--audio-input", codes)
    assert "there are none" in delaytool(*shifted, status=2).stderr
