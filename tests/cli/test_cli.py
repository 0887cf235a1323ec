"""The commands, run as processes, as a user does."""

import json
import os
import resource
import shutil
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from layouts import flat
from make import (
    PATIENCE,
    PLAIN,
    SAMPLE_DATA,
    delaytool,
    entry_of,
    files_in,
    rewrite,
    summary_of,
    tokens_table,
)

ISSUE_123 = SAMPLE_DATA / "issue-123.parquet"


@pytest.fixture
def data(tmp_path):
    """A folder with two shards, one of them in a folder of its own."""
    folder = tmp_path / "data"
    (folder / "more").mkdir(parents=True)
    pq.write_table(tokens_table(seed=1), folder / "a.parquet")
    pq.write_table(tokens_table(seed=2, rows=5), folder / "more" / "b.parquet")
    return folder


def errors_of(done):
    """The error line and the line on what to do."""
    lines = done.stderr.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("Error: "))
    return lines[first:]


# The main job


def test_apply_verify_inspect(data, tmp_path):
    out = tmp_path / "out"
    done = delaytool("apply", data, out, *PLAIN, "--json")
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
        done = delaytool("verify", out, *source, "--json")
        verified = summary_of(done)
        assert dict(list(verified.items())[:5]) == {
            "verified": True, "shards": 2, "rows": 17, "tokens": 4 * frames, "mismatches": [],
        }  # fmt: skip
        same = {name: summary[name] for name in verified.keys() & summary.keys()}
        assert {"hours", "mean_weights", "filled_share"} < same.keys()
        assert same == {name: verified[name] for name in same}

    done = delaytool("inspect", out / "a.parquet", "--id", "utt-3", "--json")
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
    (out / ".a.parquet.0123abcd.delaytool-part").write_bytes(b"left by a run that was killed")
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
        "--audio-initial", 3000, "--audio-padding", -1, "--text-padding-weight", 0.25,
        "--semantic-weight", 10, "--acoustic-weight", 2, "--final-weight", 0.5, "--dep-q", 2,
    )  # fmt: skip
    assert "truncation cut off" in done.stdout
    delaytool("verify", out, "--source", data)
    entry = json.loads(pq.read_metadata(out / "a.parquet").metadata[b"delaytool"])
    text, semantic, _, acoustic = entry["recipe"]["streams"]
    assert (text["initial"], text["padding"], text["cardinality"]) == (50, 4, 50)
    assert text["token_weights"] == {"4": 0.25, "5": 0.25}
    assert (semantic["weight"], semantic["initial"], semantic["padding"]) == (10, 3000, -1)
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


# Where the tokens are


def in_layout(path, layout, frames=(5, 7, 3)):
    """A shard with its tokens in this layout; what --audio-column and the like have to say."""
    rows = [
        [[k * 100 + t for t in range(n)] for k in range(4)] for n in frames
    ]  # [K][T], text first
    text, codes = [row[0] for row in rows], [row[1:] for row in rows]
    frame_major = [[list(frame) for frame in zip(*row, strict=True)] for row in codes]
    columns = {
        "codebook": {"audio_codes": codes},
        "frame": {"audio_codes": frame_major},
        "flat-codebook": {"audio_codes": [flat(row) for row in codes]},
        "flat-frame": {"audio_codes": [flat(row) for row in frame_major]},
        "columns": {f"codes_{q}": [row[q] for row in codes] for q in range(3)},
    }[layout]
    pq.write_table(pa.table({"text_tokens": text, **columns}), path)
    return rows


LAYOUT_OPTIONS = {
    "codebook": ((), "codebook-major, [3][T]"),
    "frame": ((), "frame-major, [T][3]"),
    "flat-codebook": (("--audio-layout", "flat-codebook"), "codebook after codebook, 3 times T"),
    "flat-frame": (("--audio-layout", "flat-frame"), "frame after frame, T times 3"),
    "columns": (("--audio-column", "codes_{q}"), "codes_2: list<int64>, one token a frame"),
}


@pytest.mark.parametrize("layout", LAYOUT_OPTIONS)
def test_layouts(tmp_path, layout):
    options, told = LAYOUT_OPTIONS[layout]
    rows = in_layout(tmp_path / "a.parquet", layout)
    names = (tmp_path / "a.parquet", tmp_path / "out.parquet")
    done = delaytool("apply", *names, *PLAIN, *options)
    assert told in done.stderr, "it says what it found"
    delaytool("verify", names[1], "--source", names[0])
    for row, codes in enumerate(rows):
        grid = json.loads(delaytool("inspect", names[1], "--row", row, "--json").stdout)
        assert grid["codes"][0] == [*codes[0], 3, 3]
        assert grid["codes"][2] == [2048, *codes[2], 2048]
        before = delaytool("inspect", names[0], "--row", row, "--json", *options)
        assert json.loads(before.stdout)["codes"] == codes


def test_a_square_row_decides_nothing_and_the_next_one_does(tmp_path):
    in_layout(tmp_path / "a.parquet", "frame", frames=(3, 3, 4))
    done = delaytool("apply", tmp_path / "a.parquet", tmp_path / "out", *PLAIN)
    assert "frame-major, [T][3]" in done.stderr


@pytest.mark.parametrize(
    ("layout", "frames", "readings"),
    [
        ("frame", (3, 3), ("codebook (codebook-major, [3][T])", "frame (frame-major, [T][3])")),
        (
            "flat-frame",
            (3, 9),
            ("flat-codebook (one list, codebook", "flat-frame (one list, frame"),
        ),
    ],
)
def test_what_more_than_one_layout_fits_is_refused(tmp_path, layout, frames, readings):
    in_layout(tmp_path / "a.parquet", layout, frames)
    arguments = ("apply", tmp_path / "a.parquet", tmp_path / "out", *PLAIN)
    error, advice = errors_of(delaytool(*arguments, status=1))
    assert "column audio_codes: more than one layout fits every row" in error
    assert all(reading in error for reading in readings)
    assert f"--audio-layout {layout}" in advice
    assert not (tmp_path / "out").exists()
    delaytool(*arguments, "--audio-layout", layout)


def test_all_rows_must_fit_what_was_found(tmp_path):
    (tmp_path / "data").mkdir()
    in_layout(tmp_path / "data" / "a.parquet", "frame")
    in_layout(tmp_path / "data" / "b.parquet", "codebook")
    done = delaytool("apply", tmp_path / "data", tmp_path / "out", *PLAIN, status=1)
    error, advice = errors_of(done)[-2:]
    assert "b.parquet, row 0, column audio_codes, timestep 0: 5 codebooks, expected 3" in error
    assert "--audio-layout" in advice


def test_no_layout_fits(tmp_path):
    in_layout(tmp_path / "a.parquet", "frame")
    arguments = ("apply", tmp_path / "a.parquet", tmp_path / "out")
    error, advice = errors_of(delaytool(*arguments, "--preset", "moshi", status=1))
    assert "no layout fits: audio_codes codebook with 5 codebooks of 3 frames; or" in error
    assert "frame with 3 codebooks of 5 frames" in error
    assert "expected 16 streams in all" in error
    assert "--n-q" in advice


def test_grids(tmp_path):
    a = [[[k * 10 + t for t in range(5)] for k in range(9)]]
    b = [[[100 + k * 10 + t for t in range(5)] for k in range(9)]]
    table = pa.table({"dialogue_id": ["x"], "A": a, "B": b})
    pq.write_table(table, tmp_path / "a.parquet")
    names = (tmp_path / "a.parquet", tmp_path / "out.parquet")
    grid = ("--grid-column", "A", "--grid-column", "B[1:]")
    done = delaytool("apply", *names, "--preset", "j-moshi", *grid, "--key", "dialogue_id")
    assert "column B: list<list<int64>>, codebook-major, [9][T], of which 1 to 8" in done.stderr
    out = pq.read_table(names[1])
    assert out.column_names == ["dialogue_id", "codes", "B", "loss_weights"]
    assert out["codes"].to_pylist()[0][0] == [32000, *a[0][0], 3]
    assert out["B"].to_pylist() == [[b[0][0]]]
    delaytool("verify", names[1], "--source", names[0], "--preset", "j-moshi")
    delaytool("revert", names[1], tmp_path / "back.parquet")
    back = pq.read_table(tmp_path / "back.parquet")
    assert back.equals(pq.read_table(names[0]), check_metadata=True)
    done = delaytool("apply", *names, *grid, "--audio-column", "A", status=2)
    assert "--grid-column and --audio-column exclude one another" in done.stderr
    done = delaytool("apply", *names, *grid, "--audio-input", tmp_path, status=2)
    assert "exclude one another" in done.stderr


def test_labels_and_factors(data, tmp_path):
    out = tmp_path / "out"
    done = delaytool("apply", data, out, *PLAIN, "--label-columns", "--final-weight", 1, status=2)
    assert "the final token 2048 would be a label, expected one from 0 to 2047" in done.stderr
    delaytool("apply", data, out, *PLAIN, "--label-columns", "--no-weights")
    assert pq.read_schema(out / "a.parquet").names[-2:] == ["text_labels", "audio_labels"]
    delaytool("verify", out, "--source", data)
    done = delaytool("apply", data, tmp_path / "o", *PLAIN, "--weight-column", "tags", status=1)
    assert "column tags: has the type list<element: string>" in done.stderr
    done = delaytool("apply", data, tmp_path / "o", *PLAIN, "--weight-column", "mask", status=1)
    assert "there is no column mask" in done.stderr


# What bad input gets: one line with the place, the right status, nothing written


def one_row_differs(column, value):
    rows = tokens_table(rows=4).to_pylist()
    rows[2][column] = value(rows[2][column])
    return pa.Table.from_pylist(rows, tokens_table(rows=4).schema)


BAD_ROWS = {
    "text shorter": ("text_tokens", lambda x: x[:-1], "frames", "audio_codes"),
    "codebook missing": ("audio_codes", lambda x: x[:-1], "2 codebooks, expected 3", "audio_codes"),
    "codebook shorter": ("audio_codes", lambda x: [*x[:-1], x[2][1:]], "frames", "acoustic_2"),
    "no text": ("text_tokens", lambda x: None, "a null row", "text_tokens"),
    "null token": ("text_tokens", lambda x: [None, *x[1:]], "a null token", "timestep 0"),
    "null codebook": ("audio_codes", lambda x: [None, *x[1:]], "a null codebook", "semantic"),
    "token too high": ("text_tokens", lambda x: [32000, *x[1:]], "token 32000", "timestep 0"),
    "token too low": ("text_tokens", lambda x: [-2, *x[1:]], "token -2", "stream text"),
    "code too high": (
        "audio_codes",
        lambda x: [x[0], [*x[1][:-1], 2048], x[2]],
        "token 2048, expected 0 to 2047",
        "stream acoustic_1",
    ),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_a_bad_row_stops_the_run(data, tmp_path, case):
    column, change, found, where = BAD_ROWS[case]
    pq.write_table(one_row_differs(column, change), data / "a.parquet")
    done = delaytool("apply", data / "a.parquet", tmp_path / "out", *PLAIN, "--quiet", status=1)
    error, advice = errors_of(done)
    assert error.startswith("Error: a.parquet, row 2 (id 'utt-2'), ")
    assert found in error
    assert where in error
    assert advice.startswith("  ")
    assert advice.endswith(".")
    assert done.stdout == ""
    assert not (tmp_path / "out").exists()


def test_a_bad_shard_leaves_the_finished_ones(data, tmp_path):
    pq.write_table(one_row_differs("text_tokens", lambda x: None), data / "more" / "b.parquet")
    delaytool("apply", data, tmp_path / "out", *PLAIN, "--workers", 2, status=1)
    assert set(files_in(tmp_path / "out")) <= {"a.parquet"}
    pq.write_table(tokens_table(), data / "more" / "b.parquet")
    delaytool("apply", data, tmp_path / "out", *PLAIN)
    delaytool("verify", tmp_path / "out", "--source", data)


BAD_COMMANDS = {
    "missing column": (1, ("--audio-column", "codes"), "there is no column codes, expected one of"),
    "missing key": (1, ("--key", "name"), "there is no column name"),
    "column of strings": (1, ("--text-column", "tags"), "expected list<integer>"),
    "unknown preset": (2, ("--preset", "moshiko"), "expected moshi, "),
    "unknown length": (2, ("--length", "cut"), "'extend', 'truncate'"),
    "unknown option": (2, ("--delay", "1"), "--delay"),
    "no number": (2, ("--delays", "0,x"), "not a list of integers"),
    "negative delay": (2, ("--delays", "0,0,-1,0"), "delay is -1"),
    "too few delays": (2, ("--delays", "0,1"), "2 delays for 4 streams"),
    "bad weight": (2, ("--semantic-weight", "inf"), "weight is inf"),
    "bad fill": (2, ("--audio-initial", "-3"), "initial is -3"),
    "zero workers": (2, ("--workers", "0"), "--workers"),
    "two bases": (2, ("--preset", "moshi", "--recipe", ISSUE_123), "exclude one another"),
    "recipe that is no JSON": (2, ("--recipe", ISSUE_123), "JSON"),
    "too many streams": (2, ("--preset", "moshi", "--n-q", "17"), "n_q is 17"),
}


@pytest.mark.parametrize("case", BAD_COMMANDS)
def test_a_bad_command(data, tmp_path, case):
    status, options, message = BAD_COMMANDS[case]
    base = [] if "--preset" in options or "--recipe" in options else ["--n-q", 3]
    if base and "--delays" not in options:
        base += ["--delays", "0,0,1,2"]
    out = tmp_path / "out"
    done = delaytool("apply", data, out, *base, *options, "--quiet", status=status)
    assert message in "\n".join(errors_of(done))
    assert done.stdout == ""
    assert not out.exists()


def test_more_than_eight_streams_need_dep_q(data, tmp_path):
    done = delaytool("apply", data, tmp_path / "out", "--n-q", 9, "--delays", 1, status=2)
    assert "--dep-q" in done.stderr
    assert "--preset moshi" in done.stderr


def test_not_a_parquet_file(data, tmp_path):
    (data / "a.parquet").write_text("id,text_tokens\n")
    done = delaytool("apply", data, tmp_path / "out", *PLAIN, status=1)
    assert "Error: a.parquet: cannot be read: " in done.stderr
    assert not (tmp_path / "out").exists()


def test_nothing_to_read(tmp_path):
    assert "does not exist" in delaytool("apply", tmp_path / "no", tmp_path / "o", status=2).stderr
    (tmp_path / "empty").mkdir()
    done = delaytool("apply", tmp_path / "empty", tmp_path / "o", status=1)
    assert "there are no shards" in done.stderr


def test_input_and_output_the_same(data):
    before = files_in(data)
    assert "the same" in delaytool("apply", data, data, *PLAIN, status=2).stderr
    path = data / "a.parquet"
    assert "the same" in delaytool("apply", path, path, *PLAIN, status=2).stderr
    done = delaytool("apply", path, data, *PLAIN, "--overwrite", status=2)
    assert "the same" in done.stderr
    assert files_in(data) == before


def test_shifting_twice_is_refused(data, tmp_path):
    delaytool("apply", data, tmp_path / "out", *PLAIN)
    done = delaytool("apply", tmp_path / "out", tmp_path / "twice", *PLAIN, status=1)
    assert "it is shifted already" in done.stderr
    assert not (tmp_path / "twice").exists()


def test_an_output_made_otherwise_is_in_the_way(data, tmp_path):
    out = tmp_path / "out"
    delaytool("apply", data, out, *PLAIN)
    before = files_in(out)
    done = delaytool("apply", data, out, *PLAIN, "--initial-step", status=1)
    assert "is in the way: it was made with other options" in done.stderr
    pq.write_table(tokens_table(seed=9), data / "a.parquet")
    done = delaytool("apply", data, out, *PLAIN, status=1)
    assert "is in the way: it was made from another source" in done.stderr
    assert files_in(out) == before
    (out / "a.parquet").write_text("somebody's notes")
    done = delaytool("apply", data, out, *PLAIN, status=1)
    assert "is in the way: " in done.stderr
    delaytool("apply", data, out, *PLAIN, "--overwrite")
    delaytool("verify", out, "--source", data)


def test_an_output_column_in_the_way(data, tmp_path):
    table = pq.read_table(data / "a.parquet")
    table = table.append_column("text_loss_weights", table["score"])
    pq.write_table(table, data / "a.parquet")
    done = delaytool("apply", data / "a.parquet", tmp_path / "out", *PLAIN, status=1)
    assert "the column text_loss_weights is in the way" in done.stderr
    delaytool("apply", data / "a.parquet", tmp_path / "out", *PLAIN, "--no-weights")


# verify and inspect


def test_verify_tells_missing_and_extra_shards(data, tmp_path):
    out = tmp_path / "out"
    delaytool("apply", data, out, *PLAIN)
    (out / "more" / "b.parquet").rename(out / "c.parquet")
    done = delaytool("verify", out, "--source", data, "--json", status=1)
    summary = summary_of(done)
    assert not summary["verified"]
    assert {m["shard"]: m["what"] for m in summary["mismatches"]} == {
        "more/b.parquet": "shard",
        "c.parquet": "shard",
    }


def test_verify_says_which_cell_is_wrong(data, tmp_path):
    out = tmp_path / "out"
    delaytool("apply", data, out, *PLAIN)
    path = out / "a.parquet"
    table, entry = pq.read_table(path), pq.read_metadata(path).metadata[b"delaytool"]
    rows = table.to_pylist()
    rows[1]["audio_codes"][2][0] = 5
    with pq.ParquetWriter(path, table.schema) as writer:
        writer.write_table(pa.Table.from_pylist(rows, table.schema))
        writer.add_key_value_metadata({"delaytool": entry})
    done = delaytool("verify", out, "--quiet", status=1)
    place = "a.parquet, row 1 (id 'utt-1'), column audio_codes, stream acoustic_2, timestep 0"
    assert f"Error: {place}: fill token: found 5, expected 2048" in done.stderr
    assert "NOT verified: 1 mismatch in 2 shards" in done.stdout


def test_verify_marks_mismatches_in_github_actions(data, tmp_path):
    out = tmp_path / "out, 100%"
    delaytool("apply", data, out, *PLAIN)
    table, entry = pq.read_table(out / "a.parquet"), entry_of(out / "a.parquet")
    weights = table["text_loss_weights"].to_pylist()
    weights[4][0] = 7.0
    column = pa.array(weights, pa.list_(pa.float32()))
    at = table.schema.get_field_index("text_loss_weights")
    rewrite(out / "a.parquet", table.set_column(at, "text_loss_weights", column), entry)
    for path in (out, out / "a.parquet"):
        done = delaytool("verify", path, "--quiet", status=1, env={"GITHUB_ACTIONS": "true"})
        marks = [line for line in done.stderr.splitlines() if line.startswith("::")]
        file = f"{tmp_path}/out%2C 100%25/a.parquet"
        place = "a.parquet, row 4 (id 'utt-4')"
        assert marks[0].startswith(f"::error file={file},title=delaytool verify::{place}")
        assert "timestep 0" in marks[0]
    assert "::error" not in delaytool("verify", out, "--quiet", status=1).stderr


def test_verify_tells_shards_that_were_made_in_different_ways(data, tmp_path):
    """All are compared with the first by name, whichever is done first."""
    pq.write_table(tokens_table(seed=3, rows=200, longest=300), data / "0.parquet")
    pq.write_table(tokens_table(seed=4, rows=1), data / "z.parquet")
    out = tmp_path / "out"
    delaytool("apply", data, out, *PLAIN)
    for name in ("a.parquet", "z.parquet"):
        delaytool("apply", data / name, out, "--n-q", 3, "--delays", "0,0,1,3", "--overwrite")
    place, what = "a.parquet, stream acoustic_2", "recipe, delay, other than in 0.parquet"
    for workers in (1, 2):
        for source in ((), ("--source", data)):
            done = delaytool("verify", out, *source, "--quiet", "--workers", workers, status=1)
            assert done.stderr.splitlines() == [
                f"Error: {place}: {what}: found 3, expected 2",
                "... and 1 mismatch more",
                "  Verify shards that were made in different ways by subfolder.",
            ]
            assert "NOT verified: 2 mismatches in 4 shards" in done.stdout
    (mismatch,) = summary_of(delaytool("verify", out, "--json", status=1))["mismatches"]
    assert mismatch == {
        "shard": "a.parquet", "row": None, "stream": "acoustic_2", "timestep": None,
        "expected": 2, "found": 3, "what": what,
    }  # fmt: skip
    delaytool("verify", out / "more", "--source", data / "more")
    delaytool("verify", out / "a.parquet", "--source", data / "a.parquet")


def test_verify_needs_records(data):
    done = delaytool("verify", data, status=1)
    assert "expected a delaytool entry in the footer" in done.stderr


def test_inspect_fits_the_width(data, tmp_path):
    delaytool("apply", data, tmp_path / "out", *PLAIN)
    path = tmp_path / "out" / "a.parquet"
    for width in (40, 80, 200):
        printed = delaytool("inspect", path, "--row", 4, env={"COLUMNS": str(width)}).stdout
        grid = printed[printed.index("timestep") :].splitlines()
        assert all(len(line) <= width for line in grid[:5])
        assert "\x1b" not in printed, "no colour when it is not a terminal"
    assert "more timesteps" in delaytool("inspect", path, env={"COLUMNS": "40"}).stdout


def test_inspect_steps_and_rows_that_are_not_there(data, tmp_path):
    path = data / "a.parquet"
    assert "there is no row 12" in delaytool("inspect", path, "--row", 12, status=1).stderr
    assert "no row has the id 'x'" in delaytool("inspect", path, "--id", "x", status=1).stderr
    assert "--steps" in delaytool("inspect", path, "--steps", "5:2", status=2).stderr
    assert "--weights" in delaytool("inspect", path, "--weights", status=2).stderr
    assert "not a file" in delaytool("inspect", tmp_path, status=2).stderr
    grid = json.loads(delaytool("inspect", path, "--steps", "1:3", "--json").stdout)
    row = pq.read_table(path).to_pylist()[0]
    assert grid["codes"][0] == row["text_tokens"][1:3]
    assert grid["weights"] is None


def test_presets(tmp_path):
    printed = delaytool("presets").stdout
    for name in ("moshi", "moshi-pretrain", "moshi-finetune"):
        assert f"recipe ({name})" in printed
    recipe = json.loads(delaytool("presets", "moshi-pretrain").stdout)
    assert [stream["delay"] for stream in recipe["streams"]] == [0, *([0] + [2] * 7) * 2]
    (tmp_path / "r.json").write_text(json.dumps(recipe))
    delaytool("apply", SAMPLE_DATA / "moshi", tmp_path / "out", "--recipe", tmp_path / "r.json")
    delaytool("verify", tmp_path / "out", "--preset", "moshi-pretrain")
    assert "no preset is called 'x'" in delaytool("presets", "x", status=2).stderr


def test_help_has_headings_defaults_and_examples():
    printed = delaytool("apply", "--help").stdout
    for heading in ("What to do:", "Where the tokens are:", "What comes out:", "How to run:"):
        assert heading in printed
    assert printed.rstrip().splitlines()[-1].startswith("  delaytool apply ")
    assert delaytool("--version").stdout.startswith("delaytool, version ")


def test_debug_shows_the_traceback(data, tmp_path):
    (data / "a.parquet").write_text("no")
    command = [sys.executable, "-m", "delaytool", "apply", str(data), str(tmp_path / "o")]
    done = subprocess.run([*command, "--debug"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "Traceback" in done.stderr


# Quarantine


BAD = {
    1: ("text_tokens", lambda x: x[:-1]),
    4: ("audio_codes", lambda x: [*x[:-1], [5000, *x[2][1:]]]),
    5: ("audio_codes", lambda x: None),
    9: ("text_tokens", lambda x: [None, *x[1:]]),
}


@pytest.fixture
def spoiled(data):
    """The data with four bad rows in one shard."""
    table = tokens_table(seed=1)
    rows = table.to_pylist()
    for row, (column, change) in BAD.items():
        rows[row][column] = change(rows[row][column])
    spoiled = pa.Table.from_pylist(rows, table.schema.with_metadata({"license": "cc0"}))
    pq.write_table(spoiled, data / "a.parquet", row_group_size=5)
    return data


def test_bad_rows_go_into_quarantine(spoiled, tmp_path):
    out, aside = tmp_path / "out", tmp_path / "aside"
    arguments = ("apply", spoiled, out, *PLAIN, "--quarantine", aside)
    summary = summary_of(delaytool(*arguments, "--json"))
    assert (summary["rows"], summary["quarantined"], summary["written"]) == (13, 4, 2)
    assert sorted(files_in(aside)) == ["a.parquet"], "no shard of no rows"
    source, bad = pq.read_table(spoiled / "a.parquet"), pq.read_table(aside / "a.parquet")
    assert bad.column_names == [*source.column_names, "reason"]
    assert bad.schema.metadata == {b"license": b"cc0"}
    assert bad.drop_columns(["reason"]).equals(source.take(list(BAD)))
    reasons = bad["reason"].to_pylist()
    for row, reason in zip(BAD, reasons, strict=True):
        assert reason.startswith(f"row {row} (id 'utt-{row}'), column {BAD[row][0]}")
    assert "stream acoustic_2, timestep 0: token 5000, expected 0 to 2047" in reasons[1]
    good = [row for row in range(12) if row not in BAD]
    assert pq.read_table(out / "a.parquet")["id"].to_pylist() == [f"utt-{row}" for row in good]

    delaytool("verify", out)
    delaytool("verify", out, "--source", spoiled)
    done = delaytool("revert", out, tmp_path / "back", status=1)
    assert "quarantine holds 4 rows, which cannot come back" in done.stderr
    assert not (tmp_path / "back").exists(), "nor has the other shard been written"
    delaytool("revert", out, tmp_path / "back", "--allow-lossy")
    back = pq.read_table(tmp_path / "back" / "a.parquet")
    assert back.equals(source.take(good), check_metadata=True)


def test_quarantine_resumes(spoiled, tmp_path):
    out, aside = tmp_path / "out", tmp_path / "aside"
    arguments = ("apply", spoiled, out, *PLAIN, "--quarantine", aside, "--json")
    first = summary_of(delaytool(*arguments))
    assert first["reasons"] == [
        {"kind": "null", "column": "audio_codes", "rows": 1},
        {"kind": "null", "column": "text_tokens", "rows": 1},
        {"kind": "text-length", "column": "text_tokens", "rows": 1},
        {"kind": "token", "column": "audio_codes", "rows": 1},
    ]
    before, bad = files_in(out), files_in(aside)
    again = summary_of(delaytool(*arguments))
    assert (first["written"], again["unchanged"]) == (2, 2)
    told = first.keys() - {"written", "unchanged", "seconds"}
    assert {name: again[name] for name in told} == {name: first[name] for name in told}
    table = delaytool("stats", out).stdout
    assert "1 row: column audio_codes: a token outside its vocabulary\n" in table
    for lost in (aside / "a.parquet", out / "a.parquet"):
        lost.unlink()
        summary = summary_of(delaytool(*arguments))
        assert (summary["written"], summary["quarantined"]) == (1, 4)
        assert (files_in(out), files_in(aside)) == (before, bad)
    done = delaytool("apply", spoiled, out, *PLAIN, status=1)
    assert "is in the way: 4 rows of it are in quarantine" in done.stderr
    (aside / "a.parquet").write_text("somebody's")
    done = delaytool(*arguments, status=1)
    assert f"the output {aside / 'a.parquet'} is in the way" in done.stderr
    assert (aside / "a.parquet").read_text() == "somebody's"


def test_a_repaired_source_empties_the_quarantine(spoiled, tmp_path):
    out, aside = tmp_path / "out", tmp_path / "aside"
    arguments = ("apply", spoiled, out, *PLAIN, "--quarantine", aside)
    delaytool(*arguments)
    pq.write_table(tokens_table(seed=1), spoiled / "a.parquet")
    assert "is in the way" in delaytool(*arguments, status=1).stderr
    summary = summary_of(delaytool(*arguments, "--overwrite", "--json"))
    assert (summary["rows"], summary["quarantined"]) == (17, 0)
    assert not files_in(aside)
    delaytool("verify", out, "--source", spoiled)


def test_verify_knows_which_rows_are_bad(spoiled, tmp_path):
    out = tmp_path / "out"
    delaytool("apply", spoiled, out, *PLAIN, "--quarantine", tmp_path / "aside")
    rows = pq.read_table(spoiled / "a.parquet")
    ids = pa.array(["utt-4", *rows["id"].to_pylist()[1:]])
    pq.write_table(rows.set_column(0, "id", ids), spoiled / "a.parquet")
    done = delaytool("verify", out, "--source", spoiled, status=1)
    assert "row 0" in done.stderr
    whole = tokens_table(seed=1)
    pq.write_table(whole, spoiled / "a.parquet")
    done = delaytool("verify", out, "--source", spoiled, status=1)
    assert "row 1 (id 'utt-1'): quarantine: found in quarantine, expected a good row" in done.stderr


def test_places_where_a_quarantine_cannot_be(data, tmp_path):
    out = tmp_path / "out"
    for aside in (data, out, tmp_path):
        done = delaytool("apply", data, out, *PLAIN, "--quarantine", aside, status=2)
        assert "--quarantine" in done.stderr
    (tmp_path / "file").write_text("x")
    done = delaytool("apply", data, out, *PLAIN, "--quarantine", tmp_path / "file", status=2)
    assert "is a file, expected a folder" in done.stderr
    table = tokens_table().append_column("reason", pa.nulls(12, pa.string()))
    pq.write_table(table, tmp_path / "r.parquet")
    done = delaytool(
        "apply", tmp_path / "r.parquet", out, *PLAIN, "--quarantine", tmp_path / "q", status=1
    )
    assert "the column reason is in the way" in done.stderr


def test_a_shard_of_bad_rows_alone(data, tmp_path):
    table = tokens_table(rows=3)
    text = pa.array([None] * 3, table["text_tokens"].type)
    pq.write_table(table.set_column(1, "text_tokens", text), data / "a.parquet")
    out, aside = tmp_path / "out", tmp_path / "aside"
    delaytool("apply", data, out, *PLAIN, "--quarantine", aside)
    assert pq.read_metadata(out / "a.parquet").num_rows == 0
    assert pq.read_metadata(aside / "a.parquet").num_rows == 3
    delaytool("verify", out, "--source", data)


# Folders as they are: full, locked, empty, full of links


def limited(size):
    """What a process does before it starts, so that no file of its grows beyond a size."""

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


def test_a_file_that_cannot_grow(data, tmp_path):
    table = pa.concat_tables([tokens_table(rows=200, longest=200, seed=i) for i in range(4)])
    pq.write_table(table, data / "a.parquet")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "delaytool", "apply", str(data), str(out), *map(str, PLAIN)]
    done = subprocess.run(
        command, capture_output=True, text=True, preexec_fn=limited(100_000), timeout=PATIENCE
    )
    assert done.returncode == 1
    (error, advice) = errors_of(done)[-2:]
    assert error.startswith(f"Error: {out / 'a.parquet'}: cannot be written: File too large")
    assert "free space" in advice
    assert "Traceback" not in done.stderr
    assert set(files_in(out)) <= {"more/b.parquet"} if out.exists() else True
    delaytool("apply", data, out, *PLAIN)
    delaytool("verify", out, "--source", data)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 300 kB, where the test may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = (
        shutil.which("mount")
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(folder)], capture_output=True
        ).returncode
    )
    if not mounted:
        pytest.skip("mounting is not allowed; a file-size limit is tested instead")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk(data, small_disk):
    table = pa.concat_tables([tokens_table(rows=200, longest=200, seed=i) for i in range(4)])
    pq.write_table(table, data / "a.parquet")
    out = small_disk / "out"
    done = delaytool("apply", data, out, *PLAIN, "--workers", 1, status=1)
    assert "a.parquet: cannot be written: No space left on device" in done.stderr
    assert "more/b.parquet" not in files_in(small_disk) or files_in(small_disk)
    assert not [name for name in files_in(small_disk) if name.endswith("-part")]
    pq.write_table(tokens_table(seed=1), data / "a.parquet")
    delaytool("apply", data, out, *PLAIN)
    delaytool("verify", out, "--source", data)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_locked(data, tmp_path):
    (tmp_path / "out").mkdir(mode=0o555)
    done = delaytool("apply", data, tmp_path / "out", *PLAIN, status=1)
    assert "cannot be written: Permission denied" in done.stderr


def test_a_file_where_a_folder_has_to_be(data, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "more").write_text("a file")
    done = delaytool("apply", data, tmp_path / "out", *PLAIN, "--workers", 1, status=1)
    assert "more/b.parquet" in done.stderr
    assert (tmp_path / "out" / "more").read_text() == "a file"


def test_links_that_lead_out_of_the_output(data, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "more").symlink_to(tmp_path / "elsewhere")
    done = delaytool("apply", data, tmp_path / "out", *PLAIN, status=1)
    assert "more/b.parquet: a link leads its output" in done.stderr
    assert not list((tmp_path / "elsewhere").iterdir())


def test_links_that_bring_two_shards_together(data, tmp_path):
    (data / "less").mkdir()
    pq.write_table(tokens_table(seed=4), data / "less" / "b.parquet")
    out = tmp_path / "out"
    (out / "less").mkdir(parents=True)
    (out / "more").symlink_to(out / "less")
    done = delaytool("apply", data, out, *PLAIN, status=1)
    assert "more/b.parquet: its output is that of less/b.parquet too" in done.stderr
    assert not list((out / "less").iterdir())


def test_linked_input_is_read(data, tmp_path):
    """As caches keep it: names that lead to blobs elsewhere."""
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    (data / "a.parquet").rename(blobs / "0123")
    (data / "a.parquet").symlink_to(blobs / "0123")
    delaytool("apply", data, tmp_path / "out", *PLAIN)
    delaytool("verify", tmp_path / "out", "--source", data)
    assert (blobs / "0123").exists()
    (data / "gone.parquet").symlink_to(tmp_path / "nowhere")
    done = delaytool("apply", data, tmp_path / "out", *PLAIN, status=1)
    assert "gone.parquet: cannot be read: No such file" in done.stderr


def test_linked_folders_keep_their_path(data, tmp_path):
    shutil.move(data / "more", tmp_path / "elsewhere")
    (data / "more").symlink_to(tmp_path / "elsewhere")
    (data / "more" / "again").symlink_to(data)
    summary = summary_of(delaytool("apply", data, tmp_path / "out", *PLAIN, "--json"))
    assert summary["shards"] == 2
    assert sorted(files_in(tmp_path / "out")) == ["a.parquet", "more/b.parquet"]
    done = delaytool("verify", tmp_path / "out", "--source", data)
    note = "links to what is read anyway are not followed: more/again"
    assert f"Note: --source: {note}" in done.stderr
    (tmp_path / "way").symlink_to("out")
    delaytool("revert", tmp_path / "way", tmp_path / "back")
    assert sorted(files_in(tmp_path / "back")) == ["a.parquet", "more/b.parquet"]
    assert f"Note: INPUT: {note}" in delaytool("stats", data).stderr


def test_folders_that_are_left_out_are_noted(data, tmp_path):
    (data / "_old").mkdir()
    pq.write_table(tokens_table(), data / "_old" / "c.parquet")
    out, note = tmp_path / "out", "folders whose names begin with . or _ are not searched: _old"
    done = delaytool("apply", data, out, *PLAIN)
    assert f"Note: INPUT: {note}" in done.stderr.splitlines()
    assert note not in delaytool("apply", data, out, *PLAIN, "--quiet").stderr
    assert sorted(files_in(out)) == ["a.parquet", "more/b.parquet"]
    shutil.copytree(data / "_old", out / "_old")
    for arguments in (("verify", out), ("revert", out, tmp_path / "back")):
        done = delaytool(*arguments)
        assert f"Note: OUTPUT: {note}" in done.stderr.splitlines()
    assert note not in delaytool("verify", out, "--quiet").stderr


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


# Completion


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("apply", "data", "out", "--preset", "moshi-"), ["moshi-finetune", "moshi-pretrain"]),
        (("presets", "j"), ["j-moshi"]),
        (("apply", "data", "out", "--text-column", "t"), ["text_tokens", "tags"]),
        (("inspect", "data/a.parquet", "--audio-column", "a"), ["audio_codes"]),
        (("inspect", "data/a.parquet", "--labels", "--key", "i"), ["id"]),
        (("stats", "data", "--audio-column", "a"), ["audio_codes"]),
        (("stats", "data", "--preset", "moshi-"), ["moshi-finetune", "moshi-pretrain"]),
        (("apply", "nowhere", "out", "--key", ""), []),
        (("apply", "--length", "e"), ["extend"]),
        (("apply", "data", "out", "--no-w"), ["--no-weights"]),
    ],
)
def test_completion(words, expected, data, tmp_path):
    line = {"COMP_WORDS": " ".join(("delaytool", *words)), "COMP_CWORD": str(len(words))}
    done = delaytool(cwd=tmp_path, env={**line, "_DELAYTOOL_COMPLETE": "bash_complete"})
    assert done.stdout.split() == [f"plain,{word}" for word in expected]
