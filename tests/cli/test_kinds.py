"""The kinds of sets that people publish: the plain command's advice is one that works."""

import re
import shlex

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from layouts import flat, transposed
from make import delaytool, errors_of

FRAMES = (11, 9, 14)
RANDOM = np.random.default_rng(0)


def books(count=8, card=2048):
    return [RANDOM.integers(0, card, (count, frames)).tolist() for frames in FRAMES]


def text():
    return [RANDOM.integers(0, 32000, frames).tolist() for frames in FRAMES]


def frames(rows):
    return [transposed(row) for row in rows]


def shared(rows, card):
    return [[[x + q * card for x in book] for q, book in enumerate(row)] for row in rows]


def grids():
    return [[words, *codes] for words, codes in zip(text(), books(), strict=True)]


def nested(rows, kind="int16"):
    return pa.array(rows, pa.list_(pa.list_(pa.type_for_alias(kind))))


def tensors():
    codes = RANDOM.integers(0, 2048, (3, 8, 70), dtype=np.int16)
    return pa.FixedShapeTensorArray.from_numpy_ndarray(codes)


def filled_up(rows):
    return [[book + [-100] * (max(FRAMES) - len(book)) for book in row] for row in rows]


def spelled_out():
    rows = [flat(row) for row in frames(shared(books(8, 1024), 1024))]
    return ["".join(f"<|audio_{code}|>" for code in row) for row in rows]


def per_codebook(name, first):
    rows = books()
    return {f"{name}{q + first}": [row[q] for row in rows] for q in range(8)}


KINDS = {
    "J-Moshi": (
        lambda: {"dialogue_id": ["x", "y", "z"], "A": grids(), "B": grids()},
        "--grid-column A --grid-column 'B[1:]'",
    ),
    "Moshi of transformers": (
        lambda: {
            "input_ids": text(),
            "moshi_audio_codes": books(),
            "user_audio_codes": books(),
            "labels": [[-100] * frames for frames in FRAMES],
        },
        "--text-column input_ids --audio-column moshi_audio_codes --audio-column user_audio_codes",
    ),
    "nested, the most common": (
        lambda: {"codes": nested(books()), "n_frames": FRAMES, "k_codebooks": [8] * 3},
        "--audio-column codes --n-q 8 --no-text",
    ),
    "[T][n_q], with text": (
        lambda: {"utterance": ["x", "y", "z"], "phonemes": text(), "codes": frames(books())},
        "--text-column phonemes --audio-column codes --n-q 8",
    ),
    "unsigned, of a fixed size": (
        lambda: {"codes": pa.array(books(), pa.list_(pa.list_(pa.uint16()), 8))},
        "--audio-column codes --n-q 8 --no-text",
    ),
    "a shared vocabulary, frame by frame": (
        lambda: {
            "text": ["a", "b", "c"],
            "codes": [flat(r) for r in frames(shared(books(), 2048))],
        },
        "--audio-column codes --audio-layout flat-frame --code-base 2048 --n-q 8 --no-text",
    ),
    "a shared vocabulary, nested": (
        lambda: {"codes": shared(books(4, 1024), 1024)},
        "--audio-column codes --code-base 1024 --n-q 4 --no-text",
    ),
    "four deep": (
        lambda: {"audio_token": [[[row]] for row in books()]},
        "--audio-column audio_token --n-q 8 --no-text",
    ),
    "three deep": (
        lambda: {"codes": [[row] for row in books()], "text": ["a", "b", "c"]},
        "--audio-column codes --n-q 8 --no-text",
    ),
    "a column per codebook": (
        lambda: {"text": ["a", "b", "c"], **per_codebook("nano_layer_", 1)},
        "--audio-column 'nano_layer_{q}' --n-q 8 --no-text",
    ),
    "fixed_shape_tensor": (lambda: {"codes": tensors()}, "--audio-column codes --n-q 8 --no-text"),
    "a struct": (
        lambda: {"speech": [{"lang": "en", "codes": row} for row in books()]},
        "--audio-column speech.codes --n-q 8 --no-text",
    ),
    "one text and one flat list": (
        lambda: {"text_tokens": text(), "codes": [flat(row) for row in books()]},
        "--audio-column codes --audio-layout flat-frame --n-q 8",
    ),
    "rows filled up with -100": (
        lambda: {"codes": nested(filled_up(books())), "length": FRAMES},
        "--audio-column codes --n-q 8 --no-text",
    ),
    "strings of special tokens": (
        lambda: {"codes": spelled_out()},
        "--audio-column codes --audio-layout flat-frame --code-base 1024 --n-q 8 --no-text",
    ),
}


def advice(folder):
    """What the plain command says to do: its options, and what DuckDB is to do first."""
    _, line = errors_of(delaytool("apply", "data", "out", cwd=folder, status=1))
    (what,) = re.findall("^  By the looks of the first rows, try (.*?); (?:else|or) ", line)
    named, _, cut = what.partition(" once ")
    expression = (cut or named).partition(" in DuckDB")[2].lstrip(": ")
    return named, expression


@pytest.mark.parametrize("kind", KINDS)
def test_the_second_try_works(tmp_path, kind):
    make, wanted = KINDS[kind]
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / "a.parquet"
    pq.write_table(pa.table(make()), path)
    named, expression = advice(tmp_path)
    if expression:
        duckdb = pytest.importorskip("duckdb")
        replaced = f"SELECT * REPLACE ({expression} AS codes) FROM '{path}'"
        pq.write_table(duckdb.sql(replaced).to_arrow_table(), path)
        named = advice(tmp_path)[0]
    assert named == wanted
    # Moshi's recipe truncates, which reverting would have to allow for.
    delaytool("apply", "data", "out", *shlex.split(named), "--length", "extend", cwd=tmp_path)
    delaytool("verify", "out", "--source", "data", cwd=tmp_path)
    delaytool("revert", "out", "back", cwd=tmp_path)
    back = pq.read_table(tmp_path / "back" / "a.parquet")
    assert back.equals(pq.read_table(path), check_metadata=True)


def test_two_readings_are_both_named(tmp_path):
    """As many frames in every row, and few of them: it may lie either way."""
    (tmp_path / "data").mkdir()
    table = pa.table({"codes": np.ones((3, 8, 6), int).tolist()})
    pq.write_table(table, tmp_path / "data" / "a.parquet")
    named, _ = advice(tmp_path)
    options = "--audio-column codes --n-q {} --no-text"
    ways = [("codebook", 8), ("frame", 6)]
    both = [f"--audio-layout {layout} {options.format(n)}" for layout, n in ways]
    assert named == " or ".join(both)
    for number, each in enumerate(both):
        delaytool("apply", "data", f"out{number}", *shlex.split(each), cwd=tmp_path)


def test_a_flat_list_of_unknown_order_is_left_to_who_knows_it(tmp_path):
    (tmp_path / "data").mkdir()
    pq.write_table(pa.table({"codes": [[1] * 60, [2] * 36]}), tmp_path / "data" / "a.parquet")
    _, line = errors_of(delaytool("apply", "data", "out", cwd=tmp_path, status=1))
    assert "--audio-layout flat-frame --n-q N --no-text, N being the number of codebooks" in line
    assert "or --audio-layout flat-codebook, all of a codebook in turn" in line


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"text_tokens": text(), "audio_codes": books()}, "Choose --n-q 8, another --preset"),
        (
            {"text_tokens": text(), "audio_codes": shared(books(16, 1024), 1024)},
            "--code-base takes",
        ),
        ({"text_tokens": text()}, "Name the column with --audio-column"),
        ({"number": [1, 2, 3]}, "Name the column with --text-column"),
        ({"codes": [[], [], []]}, "Name the column with --text-column"),
        ({"codes": [[[1, None]], [None], None]}, "Name the column with --text-column"),
        ({"codes": pa.array([b"\xff 1 2 3 4 5 6 7 8 9"])}, "Name the column with --text-column"),
        (
            {"codes": pa.array([b"\xff" * 9]).view(pa.string())},
            "Name the column with --text-column",
        ),
        ({"codes": np.ones((1, 8, 20_000), int).tolist()}, "--audio-column codes --n-q 8"),
    ],
)
def test_other_advice(tmp_path, columns, says):
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    done = delaytool("apply", "a.parquet", "o.parquet", cwd=tmp_path, status=1)
    assert says in done.stderr


def test_what_rows_are_filled_up_with_is_no_token(tmp_path):
    pq.write_table(pa.table({"codes": filled_up(books())}), tmp_path / "a.parquet")
    options = ("--audio-column", "codes", "--n-q", 8, "--no-text")
    done = delaytool("apply", "a.parquet", "o.parquet", *options, cwd=tmp_path, status=1)
    error, line = errors_of(done)
    assert "timestep 11: token -100" in error
    assert "Cut off what rows are filled up with, or store -1 in its place" in line
