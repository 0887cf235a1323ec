"""`inspect` as people run it: in a terminal and out of it, compared, with words."""

import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
from fcntl import ioctl

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sentencepiece
from make import (
    PLAIN,
    SAMPLE_DATA,
    delaytool,
    delaytool_process,
    summary_of,
    tokens_table,
)


@pytest.fixture
def shards(tmp_path):
    data, out = tmp_path / "data.parquet", tmp_path / "out.parquet"
    pq.write_table(tokens_table(longest=90, seed=3), data)
    delaytool("apply", data, out, *PLAIN)
    return data, out


def in_terminal(*arguments, columns=80, lines=24, **env):
    """What the command prints to a terminal of this size."""
    parent, child = pty.openpty()
    ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    clean = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-m", "delaytool", *map(str, arguments)],
        stdin=child,
        stdout=child,
        stderr=child,
        env={**clean, "TERM": "xterm", **env},
        start_new_session=True,
    )
    os.close(child)
    printed = b""
    while select.select([parent], [], [], 60)[0]:
        try:
            part = os.read(parent, 1 << 16)
        except OSError:  # Linux says that nobody has the other end open any more.
            break
        if not part:
            break
        printed += part
    os.close(parent)
    assert process.wait(60) == 0, printed
    return printed.decode().replace("\r\n", "\n")


def test_colours_in_a_terminal_alone(shards):
    _, out = shards
    coloured = in_terminal("inspect", out, "--steps", "0:4")
    assert "\x1b[36mtext" in coloured
    assert re.search(r"\x1b\[2m *\[2048\]", coloured)
    assert "\x1b" not in in_terminal("inspect", out, "--steps", "0:4", NO_COLOR="1")
    assert "\x1b" not in delaytool("inspect", out, "--steps", "0:4").stdout


def test_a_long_row_goes_through_the_pager(shards, tmp_path):
    _, out = shards
    pager, seen = tmp_path / "pager", tmp_path / "seen"
    pager.write_text(f"#!/bin/sh\ncat > {seen}\n")
    pager.chmod(0o755)
    env = {"PAGER": str(pager)}
    assert "timestep" in in_terminal("inspect", out, "--steps", "0:3", **env)
    assert not seen.exists(), "what fits the screen is not paged"
    lengths = [len(row) for row in pq.read_table(out)["text_tokens"]]
    steps = max(lengths)
    printed = in_terminal("inspect", out, "--row", lengths.index(steps), lines=20, **env)
    assert "timestep" not in printed
    plain = re.sub(r"\x1b\[[0-9;]*m", "", seen.read_text())
    heads = [line.split()[1:] for line in plain.splitlines() if line.startswith("timestep")]
    assert [int(step) for head in heads for step in head] == list(range(steps)), "all of the row"
    assert max(map(len, plain.splitlines())) <= 80


def test_one_block_where_there_is_no_terminal(shards):
    done = delaytool("inspect", shards[1], "--row", "1", env={"COLUMNS": "60"})
    assert done.stdout.count("timestep ") == 1
    assert "more timesteps" in done.stdout


def test_before_and_after(shards):
    data, out = shards
    text = pq.read_table(data)["text_tokens"][0].as_py()
    for shard in (data, out):
        before = json.loads(delaytool("inspect", shard, "--before", "--json").stdout)
        assert before["codes"][0] == text
        assert not any(map(any, before["filled"]))
    after = json.loads(delaytool("inspect", out, "--after", "--json").stdout)
    assert after == json.loads(delaytool("inspect", out, "--json").stdout)
    both = delaytool("inspect", out, "--before", "--after", "--weights", "--steps", "0:3").stdout
    assert both.index("before the shift") < both.index("after the shift")
    done = delaytool("inspect", out, "--before", "--after", "--json", status=2)
    assert "--json prints one grid" in done.stderr


def test_a_preview_of_an_original(tmp_path):
    shard = SAMPLE_DATA / "moshi" / "train-00000-of-00002.parquet"
    out = tmp_path / "out"
    delaytool("apply", SAMPLE_DATA / "moshi", out, "--preset", "moshi-pretrain")
    asked = ("--preset", "moshi-pretrain", "--after", "--weights", "--json", "--row", "2")
    preview = json.loads(delaytool("inspect", shard, *asked).stdout)
    assert preview == json.loads(delaytool("inspect", out / shard.name, *asked[3:]).stdout)
    default = json.loads(delaytool("inspect", shard, "--after", "--json").stdout)
    assert default["delays"] == [0, 0, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1]


def test_compare_marks_the_first_difference(shards, tmp_path):
    data, out = shards
    done = delaytool("inspect", out, "--compare", data, "--id", "utt-5")
    assert done.stdout.splitlines()[-1] == f"the same as in {data}"
    rows = pq.read_table(data).to_pylist()
    frame = len(rows[5]["text_tokens"]) - 3
    old = rows[5]["audio_codes"][1][frame]
    rows[5]["audio_codes"][1][frame] = new = (old + 1) % 2048
    other = tmp_path / "other.parquet"
    pq.write_table(pa.Table.from_pylist(rows, pq.read_schema(data)), other)
    told = f"first in stream acoustic_1, timestep {frame}: "
    done = delaytool("inspect", out, "--compare", other, "--id", "utt-5", status=1)
    assert done.stdout.splitlines()[-1].endswith(f"{told}{old}, there {new}")
    assert f" >{old}<" in done.stdout
    delaytool("inspect", out, "--compare", other, "--id", "utt-4")

    shifted = tmp_path / "shifted.parquet"
    delaytool("apply", other, shifted, *PLAIN)
    done = delaytool("inspect", out, "--compare", shifted, "--row", "5", status=1)
    told = f"first in stream acoustic_1, timestep {frame + 1}: "
    assert done.stdout.splitlines()[-1].endswith(f"{told}{old}, there {new}")
    done = delaytool("inspect", other, "--compare", out, "--row", "5", status=1)
    assert f"timestep {frame}: {new}, there {old}" in done.stdout
    done = delaytool("inspect", out, "--compare", tmp_path / "none.parquet", status=2)
    assert "is not a file" in done.stderr


def test_compare_knows_where_the_source_has_its_tokens(tmp_path):
    for name in ("text", "codes", "out"):
        (tmp_path / name).mkdir()
    table = tokens_table(seed=5).rename_columns({"id": "utt", "audio_codes": "mimi"})
    text, codes, out = (tmp_path / name / "a.parquet" for name in ("text", "codes", "out"))
    pq.write_table(table.select(["utt", "text_tokens"]), text)
    pq.write_table(table.select(["utt", "mimi"]), codes)
    columns = ("--audio-column", "mimi", "--key", "utt")
    paired = ("--audio-input", codes)
    delaytool("apply", text, out, *PLAIN, *columns, *paired)

    done = delaytool("inspect", out, "--compare", text, *paired, "--id", "utt-7")
    assert done.stdout.splitlines()[-1] == f"the same as in {text}"
    done = delaytool("inspect", text, "--compare", out, *columns, *paired, "--id", "utt-7")
    assert done.stdout.splitlines()[-1] == f"the same as in {out}"
    shown = json.loads(delaytool("inspect", text, *columns, *paired, "--row", "7", "--json").stdout)
    assert shown["codes"] == [
        table["text_tokens"][7].as_py(),
        *table["mimi"][7].as_py(),
    ]
    after = ("--after", "--json", "--recipe", tmp_path / "recipe.json", "--id", "utt-9")
    record = json.loads(pq.read_metadata(out).metadata[b"delaytool"])
    (tmp_path / "recipe.json").write_text(json.dumps(record["recipe"]))
    made = delaytool("inspect", out, *after[:2], "--id", "utt-9").stdout
    assert delaytool("inspect", text, *columns, *paired, *after).stdout == made

    done = delaytool("inspect", out, "--compare", text, "--id", "utt-7", status=1)
    assert "there is no column mimi" in done.stderr
    assert "--audio-input" in done.stderr
    done = delaytool("inspect", out, *paired, status=1)
    assert "it is shifted" in done.stderr
    wrong = tmp_path / "wrong.parquet"
    pq.write_table(table.select(["utt", "mimi"]).take(list(range(11, -1, -1))), wrong)
    done = delaytool("inspect", out, "--compare", text, "--audio-input", wrong, status=1)
    assert "row 0 (utt 'utt-0'): the codes' utt is 'utt-11'" in done.stderr


def test_rows_without_keys_around_those_in_quarantine(tmp_path):
    data, out = tmp_path / "data.parquet", tmp_path / "out.parquet"
    table = tokens_table(seed=8, rows=9).drop_columns(["id"])
    rows = table.to_pylist()
    for bad in (1, 2, 5, 8):
        rows[bad]["text_tokens"][0] = 32001
    pq.write_table(pa.Table.from_pylist(rows, table.schema), data)
    delaytool("apply", data, out, *PLAIN, "--quarantine", tmp_path / "aside")
    for row, source in enumerate((0, 3, 4, 6, 7)):
        done = delaytool("inspect", out, "--compare", data, "--row", str(row))
        assert done.stdout.splitlines()[-1] == f"the same as in {data}"
        done = delaytool("inspect", data, "--compare", out, "--row", str(source))
        assert done.stdout.splitlines()[-1] == f"the same as in {out}"
    done = delaytool("inspect", data, "--compare", out, "--row", "5", status=1)
    assert "row 5: the row is in quarantine" in done.stderr


@pytest.mark.parametrize("align", ["pad", "trim"])
def test_rows_whose_text_is_aligned(tmp_path, align):
    data, out = tmp_path / "data.parquet", tmp_path / "out.parquet"
    table = tokens_table(seed=6)
    text = [
        [*row, 5, 5] if align == "trim" else row[:-1] for row in table["text_tokens"].to_pylist()
    ]
    factors = [[x / 4 for x in range(len(row[0]))] for row in table["audio_codes"].to_pylist()]
    table = table.set_column(1, "text_tokens", pa.array(text, pa.list_(pa.int32())))
    pq.write_table(table.append_column("mask", pa.array(factors)), data)
    how = ("--align", align, "--weight-column", "mask")
    delaytool("apply", data, out, *PLAIN, *how)
    done = delaytool("inspect", out, "--compare", data, "--row", "4")
    assert done.stdout.splitlines()[-1] == f"the same as in {data}"
    recipe = json.loads(pq.read_metadata(out).metadata[b"delaytool"])["recipe"]
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))
    asked = ("--row", "4", "--weights", "--after", "--json")
    preview = delaytool("inspect", data, *how, *asked, "--recipe", tmp_path / "recipe.json").stdout
    made = json.loads(delaytool("inspect", out, *asked).stdout)
    assert json.loads(preview) == made
    assert made["weights"][2][3] == 0.5
    typo = ("--align", align, "--weight-column", "msak", "--after")
    told = delaytool("inspect", data, *typo, status=1).stderr
    assert "there is no column msak; there are id, text_tokens, speaker" in told
    told = delaytool("inspect", data, "--row", "4", status=1).stderr
    assert "no layout fits" in told
    assert "--align" in told
    shown = json.loads(delaytool("inspect", data, *how[:2], "--row", "4", "--json").stdout)
    assert [len(line) for line in shown["codes"]] == [len(factors[4])] * 4


def test_every_layout_that_fits_is_shown(tmp_path):
    codes = np.arange(16).reshape(4, 4)
    shard = tmp_path / "square.parquet"
    table = pa.table({"text_tokens": [[5, 6, 7, 8]], "audio_codes": [codes.tolist()]})
    pq.write_table(table, shard)
    done = delaytool("inspect", shard)
    by_layout = done.stdout.split("read with --audio-layout ")[1:]
    assert [part.split(":")[0] for part in by_layout] == ["codebook", "frame"]
    for part, expected in zip(by_layout, (codes, codes.T), strict=True):
        lines = [line.split() for line in part.splitlines()]
        semantic = next(line for line in lines if line and line[0] == "semantic")
        assert semantic[1:] == [str(code) for code in expected[0]]
    assert "more than one layout fits" in done.stderr
    flat = pa.table({"text_tokens": [[5, 6, 7]], "audio_codes": [list(range(12))]})
    pq.write_table(flat, shard)
    assert delaytool("inspect", shard).stdout.count("read with --audio-layout flat-") == 2
    done = delaytool("inspect", shard, "--json", status=1)
    assert "say which" in done.stderr.lower()
    assert delaytool("inspect", shard, "--audio-layout", "flat-frame").stderr == ""


def test_a_row_that_is_not_there_is_told_whatever_the_layout(tmp_path):
    shard = tmp_path / "square.parquet"
    pq.write_table(pa.table({"text_tokens": [[5, 6]], "audio_codes": [[[1, 2], [3, 4]]]}), shard)
    done = delaytool("inspect", shard, "--row", "9", status=1)
    assert "there is no row 9, expected 0 to 0" in done.stderr
    assert "each is shown" not in done.stderr
    done = delaytool("inspect", shard, "--image", tmp_path / "a.png", status=1)
    assert "--audio-layout frame" in done.stderr
    assert not (tmp_path / "a.png").exists(), "no picture of a guess"


@pytest.mark.parametrize("steps", ["5:20", "20:22"])
def test_no_other_cell_is_marked(tmp_path, steps):
    rows = {"text_tokens": [list(range(30))], "audio_codes": [[[1] * 30] * 3]}
    pq.write_table(pa.table(rows), tmp_path / "a.parquet")
    rows["text_tokens"][0][2] = 9
    pq.write_table(pa.table(rows), tmp_path / "b.parquet")
    done = delaytool(
        "inspect", tmp_path / "a.parquet", "--compare", tmp_path / "b.parquet",
        "--audio-layout", "codebook", "--steps", steps, status=1,
    )  # fmt: skip
    assert not re.search(r">\d+<", done.stdout)
    assert done.stdout.endswith("first in stream text, timestep 2: 2, there 9\n")


def test_steps_that_only_the_row_after_the_shift_has(shards):
    _, out = shards
    steps = len(pq.read_table(out)["text_tokens"][0])
    asked = ("--before", "--after", "--steps")
    printed = delaytool("inspect", out, *asked, f"{steps - 1}:{steps}").stdout
    text = [line.split() for line in printed.splitlines() if line.split()[:1] == ["text"]]
    assert text == [["text"], ["text", "[3]"]]
    done = delaytool("inspect", out, *asked, f"{steps}:{steps + 1}", status=2)
    assert f"there are {steps} timesteps" in done.stderr


def test_weights_go_with_the_row_after_the_shift(shards):
    done = delaytool("inspect", shards[1], "--before", "--weights", status=2)
    assert "--weights: there are none before the shift" in done.stderr


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    (folder / "text").write_text("the cat sat on the mat\nthe dog ate the cat\n" * 20)
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "text"),
        model_prefix=str(folder / "model"),
        vocab_size=30,
        hard_vocab_limit=False,
        pad_id=3,
        minloglevel=2,
    )
    return folder / "model.model"


def test_words(tokenizer, tmp_path):
    model = sentencepiece.SentencePieceProcessor(model_file=str(tokenizer))
    ids = model.encode("the cat")
    assert not {0, 3} & set(ids)
    text = [3, 0, *ids, 3, 25000, -1]
    shard = tmp_path / "a.parquet"
    codes = [[[number] * len(text) for number in range(3)]]
    pq.write_table(pa.table({"text_tokens": [text], "audio_codes": codes}), shard)
    pieces = [model.id_to_piece(token) for token in ids]
    printed = delaytool("inspect", shard, "--tokenizer", tokenizer).stdout
    line = next(line for line in printed.splitlines() if line.startswith("text "))
    assert line.split()[1:] == ["PAD", "EPAD", *pieces, "PAD", "25000", "-1"]
    delaytool("apply", shard, tmp_path / "out.parquet", *PLAIN)
    printed = delaytool("inspect", tmp_path / "out.parquet", "--tokenizer", tokenizer).stdout
    line = next(line for line in printed.splitlines() if line.startswith("text "))
    assert line.split()[-2:] == ["[3]", "[3]"], "a filled cell is no word"
    done = delaytool("inspect", shard, "--tokenizer", shard, status=2)
    assert "a.parquet is not a SentencePiece model" in done.stderr


def test_what_is_not_installed_is_told(shards, tmp_path, tokenizer):
    (tmp_path / "sentencepiece.py").write_text("raise ImportError('sentencepiece')\n")
    env = {"PYTHONPATH": str(tmp_path)}
    done = delaytool_process("inspect", shards[0], "--tokenizer", tokenizer, status=1, env=env)
    assert done.stderr.splitlines()[-1].endswith("pip install 'delaytool[sentencepiece]'.")


@pytest.mark.parametrize(
    "options",
    [
        ("--compare", "x", "--before"),
        ("--row", "0", "--id", "utt-0"),
        ("--labels", "--tokenizer", __file__),
        ("--steps", "4:4"),
        ("--frame-rate", "0"),
        ("--before", "--after", "--image", "grid.png"),
        ("--weight-column", "mask"),
        ("--audio-input", "not-there.parquet"),
    ],
)
def test_options_that_do_not_go_together(shards, options):
    assert "Error:" in delaytool("inspect", shards[1], *options, status=2).stderr


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


def test_rows_that_share_a_key(tmp_path):
    """Segments of one dialogue: a row is compared with the one in its place, not the first."""
    table = tokens_table(rows=4)
    shared = table.set_column(0, "id", pa.array(["x", "y", "x", "x"]))
    data, out, turned = (tmp_path / f"{name}.parquet" for name in ("data", "out", "turned"))
    pq.write_table(shared, data)
    delaytool("apply", data, out, *PLAIN)
    for row in range(4):
        for one, other in ((out, data), (data, out), (data, data)):
            done = delaytool("inspect", one, "--compare", other, "--row", row)
            assert "the same as in" in done.stdout
    done = delaytool("inspect", out, "--id", "x")
    assert "out.parquet, row 0 of 4 (id 'x')" in done.stdout
    note = "Note: rows 2, 3 have this key too, row 0 is shown; --row names another"
    assert note in done.stderr.splitlines()
    assert "Note" not in delaytool("inspect", out, "--id", "y").stderr
    pq.write_table(shared.take([1, 0, 3, 2]), turned)
    delaytool("inspect", out, "--compare", turned, "--row", 1)
    done = delaytool("inspect", out, "--compare", turned, "--row", 0, status=1)
    assert "3 rows have the id 'x', none of them at the place of row 0: 1, 2, 3" in done.stderr


def test_rows_that_share_a_key_with_rows_in_quarantine(tmp_path):
    rows = tokens_table(rows=4).to_pylist()
    rows[1]["text_tokens"][0] = 99999
    for row in rows:
        row["id"] = "x"
    data, out = tmp_path / "data.parquet", tmp_path / "out.parquet"
    pq.write_table(pa.Table.from_pylist(rows, tokens_table().schema), data)
    delaytool("apply", data, out, *PLAIN, "--quarantine", tmp_path / "bad")
    for row in range(3):
        delaytool("inspect", out, "--compare", data, "--row", row)
    for row in (0, 2, 3):
        delaytool("inspect", data, "--compare", out, "--row", row)
    done = delaytool("inspect", data, "--compare", out, "--row", 1, status=1)
    assert "the row is in quarantine" in done.stderr


LISTS, CODES = pa.list_(pa.int16()), pa.list_(pa.list_(pa.int16()))
EMPTY = {
    "codebook-major": ({"text_tokens": [[]], "audio_codes": [[[]] * 16]}, ()),
    "frame-major": ({"text_tokens": [[]], "audio_codes": [[]]}, ()),
    "one list": ({"text_tokens": [[]], "audio_codes": pa.array([[]], LISTS)}, ()),
    "grid": ({"g": [[[]] * 17]}, ("--grid-column", "g")),
    "frame-major grid": ({"g": [[]]}, ("--grid-column", "g")),
    "two grids": (
        {"A": [[[]] * 9], "B": [[[]] * 9]}, ("--grid-column", "A", "--grid-column", "B[1:]"),
    ),
    "a column each": (
        {"text_tokens": [[]], **{f"q{q}": pa.array([[]], LISTS) for q in range(16)}},
        ("--audio-column", "q{q}"),
    ),
    "with others": (
        {"text_tokens": [[], [5, 6]], "audio_codes": [[[]] * 16, [[1, 2]] * 16]}, (),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", EMPTY)
def test_empty_dialogues(tmp_path, case):
    columns, where = EMPTY[case]
    arrays = {
        name: values if isinstance(values, pa.Array) else
        pa.array(values, LISTS if name == "text_tokens" else CODES)
        for name, values in columns.items()
    }  # fmt: skip
    (tmp_path / "data").mkdir()
    source, out = tmp_path / "data" / "a.parquet", tmp_path / "out.parquet"
    pq.write_table(pa.table(arrays), source)
    delaytool("apply", source, out, *where)
    delaytool("verify", out, "--source", source)
    for recipe in ((), ("--preset", "moshi")):
        summary = summary_of(delaytool("stats", tmp_path / "data", *where, *recipe, "--json"))
        assert summary["rows"] == len(next(iter(columns.values())))
        delaytool("inspect", source, *where, *recipe)
        assert summary_of(delaytool("inspect", source, *where, *recipe, "--json"))["row"] == 0
    delaytool("inspect", source, *where, "--before", "--after", "--labels")
    delaytool("inspect", out, "--before", "--after", "--weights")
    delaytool("inspect", out, "--compare", source)
    delaytool("inspect", source, *where, "--compare", out)


def test_a_shard_of_empty_dialogues_among_others(tmp_path):
    table = tokens_table(n_q=16)
    columns = {"text_tokens": [[]] * 2, "audio_codes": [[[]] * 16] * 2}
    pq.write_table(table, tmp_path / "b.parquet")
    for name, codes in (("a", [[[]] * 16] * 2), ("c", [[]] * 2)):
        columns = {"text_tokens": pa.array([[]] * 2, LISTS), "audio_codes": pa.array(codes, CODES)}
        pq.write_table(pa.table(columns), tmp_path / f"{name}.parquet")
    assert summary_of(delaytool("stats", tmp_path, "--json"))["rows"] == table.num_rows + 4


def test_signed_and_unsigned_tokens_stay_integers(tmp_path):
    highest = 2**64 - 1
    codes = pa.array([[[1, highest, 3], [4, 5, 6]]], pa.list_(pa.list_(pa.uint64())))
    table = pa.table({"text_tokens": [[1, -1, 3]], "audio_codes": codes})
    path = tmp_path / "a.parquet"
    pq.write_table(table, path)
    done = delaytool("inspect", path, "--json")
    assert json.loads(done.stdout)["codes"] == [[1, -1, 3], [1, highest, 3], [4, 5, 6]]
    assert ".0" not in done.stdout
    assert str(highest) in delaytool("inspect", path).stdout
    same = delaytool("inspect", path, "--compare", path).stdout
    assert "the same as" in same
