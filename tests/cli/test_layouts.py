"""Where `apply` finds the tokens, in whatever layout they come."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from layouts import flat
from make import PLAIN, delaytool, errors_of


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
    assert "column audio_codes: 3 streams, expected 16, one for each audio stream" in error
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
    assert "final is 2048 and would be trained" in done.stderr
    assert "expected 0 to 2047" in done.stderr
    delaytool("apply", data, out, *PLAIN, "--label-columns", "--no-weights")
    assert pq.read_schema(out / "a.parquet").names[-2:] == ["text_labels", "audio_labels"]
    delaytool("verify", out, "--source", data)
    done = delaytool("apply", data, tmp_path / "o", *PLAIN, "--weight-column", "tags", status=1)
    assert "column tags: has the type list<element: string>" in done.stderr
    done = delaytool("apply", data, tmp_path / "o", *PLAIN, "--weight-column", "mask", status=1)
    assert "there is no column mask" in done.stderr
