"""`apply`: the main job, from shards to shards."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from make import PLAIN, SAMPLE_DATA, delaytool, delaytool_process, files_in, summary_of

ISSUE_123 = SAMPLE_DATA / "issue-123.parquet"


def test_apply_verify_inspect(data, tmp_path):
    """In processes of their own, as a user runs them."""
    out = tmp_path / "out"
    done = delaytool_process("apply", data, out, *PLAIN, "--json")
    summary = summary_of(done)
    assert list(summary)[:8] == [
        "shards", "written", "unchanged", "rows", "frames", "tokens", "quarantined", "seconds",
    ]  # fmt: skip
    table = pq.read_table(data)
    frames = sum(len(row) for row in table["text_tokens"].to_pylist())
    assert [summary[name] for name in ("shards", "written", "rows")] == [2, 2, 17]
    assert (summary["frames"], summary["tokens"]) == (frames, 4 * frames)
    assert sorted(files_in(out)) == ["a.parquet", "more/b.parquet"]
    assert "acoustic_1" in done.stderr, "apply prints the recipe"

    for source in ((), ("--source", data)):
        done = delaytool_process("verify", out, *source, "--json")
        verified = summary_of(done)
        assert dict(list(verified.items())[:5]) == {
            "verified": True, "shards": 2, "rows": 17, "tokens": 4 * frames, "mismatches": [],
        }  # fmt: skip
        same = {name: summary[name] for name in verified.keys() & summary.keys()}
        assert {"hours", "mean_weights", "filled_share"} < same.keys()
        assert same == {name: verified[name] for name in same}

    done = delaytool_process("inspect", out / "a.parquet", "--id", "utt-3", "--json")
    grid = json.loads(done.stdout)
    assert (grid["row"], grid["id"], grid["delays"]) == (3, "utt-3", [0, 0, 1, 2])
    row = pq.read_table(data / "a.parquet").to_pylist()[3]
    assert grid["codes"][0] == row["text_tokens"] + [3, 3]
    assert grid["codes"][2] == [2048, *row["audio_codes"][1], 2048]
    assert grid["filled"][3] == [True, True] + [False] * len(row["text_tokens"])


def test_the_same_command_again_changes_nothing(data, tmp_path):
    out = tmp_path / "out"
    delaytool("apply", data, out, *PLAIN)
    before = files_in(out)
    summary = summary_of(delaytool("apply", data, out, *PLAIN, "--json", "--workers", 1))
    assert (summary["written"], summary["unchanged"], summary["rows"]) == (0, 2, 17)
    assert files_in(out) == before


def test_a_run_goes_on_where_it_stopped(data, tmp_path):
    out = tmp_path / "out"
    delaytool("apply", data, out, *PLAIN)
    before = files_in(out)
    (out / "a.parquet").unlink()
    (out / ".a.parquet.00000000.delaytool-part").write_bytes(b"left by a run that was killed")
    summary = summary_of(delaytool("apply", data, out, *PLAIN, "--json"))
    assert (summary["written"], summary["unchanged"]) == (1, 1)
    assert files_in(out) == before, "the same bytes, and the leftover is gone"


def test_any_number_of_workers_gives_the_same_bytes(data, tmp_path):
    outputs = []
    for workers in (1, 2, 3):
        out = tmp_path / f"out{workers}"
        delaytool("apply", data, out, *PLAIN, "--workers", workers)
        outputs.append(files_in(out))
    assert outputs[0] == outputs[1] == outputs[2]


def test_one_file_to_a_name_in_parquet(data, tmp_path):
    delaytool("apply", data / "a.parquet", tmp_path / "deep" / "x.parquet", *PLAIN)
    delaytool("verify", tmp_path / "deep" / "x.parquet", "--source", data / "a.parquet")
    delaytool("apply", data / "a.parquet", tmp_path / "folder", *PLAIN)
    assert sorted(files_in(tmp_path / "folder")) == ["a.parquet"]


def test_a_glob_keeps_relative_paths(data, tmp_path):
    delaytool("apply", f"{data}/**/*.parquet", tmp_path / "out", *PLAIN)
    assert sorted(files_in(tmp_path / "out")) == ["a.parquet", "more/b.parquet"]
    delaytool("verify", tmp_path / "out", "--source", f"{data}/**/*.parquet")


def test_an_output_within_the_input_is_not_input(data):
    for _ in range(2):
        summary = summary_of(delaytool("apply", data, data / "out", *PLAIN, "--json"))
        assert summary["shards"] == 2
    delaytool("verify", data / "out", "--source", data)


def test_the_example_comes_out_to_the_token(tmp_path):
    out = tmp_path / "out.parquet"
    delaytool("apply", ISSUE_123, out, "--n-q", 2, "--delays", 1)
    table = pq.read_table(out)
    assert table["text_tokens"].to_pylist() == [[101, 102, 103, 104, 3]]
    assert table["audio_codes"].to_pylist() == [[[2048, 11, 12, 13, 14], [2048, 21, 22, 23, 24]]]
    assert table["text_loss_weights"].to_pylist() == [[1, 1, 1, 1, 0]]
    assert table["audio_loss_weights"].to_pylist() == [[[0, 100, 100, 100, 100], [0, 1, 1, 1, 1]]]
    printed = delaytool("inspect", out, "--labels").stdout.splitlines()
    assert printed[-3:] == [
        "text      text_1  text_2      text_3      text_4      S",
        "semantic  S       semantic_1  semantic_2  semantic_3  semantic_4",
        "acoustic  S       acoustic_1  acoustic_2  acoustic_3  acoustic_4",
    ]


def test_sample_data_with_the_default_preset(tmp_path):
    delaytool("apply", SAMPLE_DATA / "moshi", tmp_path / "out")
    delaytool("verify", tmp_path / "out", "--source", SAMPLE_DATA / "moshi", "--preset", "moshi")
    done = delaytool("verify", tmp_path / "out", "--preset", "moshi-pretrain", status=1)
    assert "delay: found 1, expected 2" in done.stderr


def test_everything_that_a_recipe_says_can_be_an_option(data, tmp_path):
    out, recipe = tmp_path / "out", tmp_path / "recipe.json"
    done = delaytool(
        "apply", data, out, *PLAIN, "--length", "truncate", "--initial-step", "--final-step",
        "--text-card", 50, "--card", 2048, "--text-padding", 4, "--text-end-padding", 5,
        "--audio-initial", 3000, "--audio-padding", 7, "--text-padding-weight", 0.25,
        "--semantic-weight", 10, "--acoustic-weight", 2, "--final-weight", 0.5, "--dep-q", 2,
    )  # fmt: skip
    assert "truncation cut off" in done.stdout
    delaytool("verify", out, "--source", data)
    entry = json.loads(pq.read_metadata(out / "a.parquet").metadata[b"delaytool"])
    text, semantic, _, acoustic = entry["recipe"]["streams"]
    assert (text["initial"], text["padding"], text["cardinality"]) == (50, 4, 50)
    assert text["token_weights"] == {"4": 0.25, "5": 0.25}
    assert (semantic["weight"], semantic["initial"], semantic["padding"]) == (10, 3000, 7)
    assert (acoustic["weight"], acoustic["delay"], acoustic["final_weight"]) == (2, 2, 0.5)
    assert entry["recipe"]["dep_q"] == 2
    recipe.write_text(json.dumps(entry["recipe"]))
    again = tmp_path / "again"
    delaytool("apply", data, again, "--recipe", recipe)
    assert files_in(again) == files_in(out)
    delaytool("verify", out, "--recipe", recipe)


def test_model_config(data, tmp_path):
    config = {"n_q": 3, "dep_q": 3, "card": 2048, "text_card": 32000, "delays": [0, 0, 1, 2]}
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    done = delaytool("apply", data, tmp_path / "out", "--model-config", path, status=2)
    assert "lacks the field 'existing_text_padding_id'" in done.stderr
    path.write_text(json.dumps({**config, "existing_text_padding_id": 3}))
    delaytool("apply", data, tmp_path / "out", "--model-config", path)
    delaytool("apply", data, tmp_path / "plain", *PLAIN)
    assert files_in(tmp_path / "out") == files_in(tmp_path / "plain")


def test_no_text_and_no_weights(data, tmp_path):
    out = tmp_path / "out"
    delaytool("apply", data, out, "--no-text", "--n-q", 3, "--delays", 2, "--no-weights")
    table, source = pq.read_table(out / "a.parquet"), pq.read_table(data / "a.parquet")
    assert table.column_names == source.column_names
    assert table["text_tokens"] == source["text_tokens"]
    delaytool("verify", out, "--source", data)


EMPTY = {
    "no rows": [],
    "rows of no frames": [0, 0, 0],
    "one frame": [1, 1],
    "all of them": [0, 1, 0, 2, 1],
    "a long one": [0, 200_000, 1],
}


@pytest.mark.parametrize("length", ["extend", "truncate"])
@pytest.mark.parametrize("case", EMPTY)
def test_empty_and_odd_rows(tmp_path, case, length):
    """Streams of one frame with delays longer than the row, and rows longer than any batch."""
    frames = EMPTY[case]
    table = pa.table(
        {
            "text_tokens": pa.array([np.arange(n) % 7 for n in frames], pa.list_(pa.int32())),
            "audio_codes": pa.array(
                [[(np.arange(n) + q) % 2048 for q in range(8)] for n in frames],
                pa.list_(pa.list_(pa.int16())),
            ),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    arguments = ("--n-q", 8, "--delays", "0,0,1,2,3,4,5,6,9", "--length", length)
    delaytool("apply", "a.parquet", "out.parquet", *arguments, cwd=tmp_path)
    delaytool("verify", "out.parquet", "--source", "a.parquet", cwd=tmp_path)
    out = pq.read_table(tmp_path / "out.parquet")
    more = 9 if length == "extend" else 0
    assert [len(line) for line in out["text_tokens"].to_pylist()] == [n + more for n in frames]
    if length == "extend":
        delaytool("revert", "out.parquet", "back.parquet", cwd=tmp_path)
        assert pq.read_table(tmp_path / "back.parquet").equals(table)
