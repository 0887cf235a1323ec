"""`delaytool align` as a user runs it: golden cases, summary, JSON, errors, exit status."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from make import delaytool, delaytool_process, errors_of, files_in, summary_of, tokens_table

GOLDEN = Path(__file__).parent.parent / "golden" / "align.json"
CASES = json.loads(GOLDEN.read_text())["cases"]
WORD = {"tokens": [11, 12], "start": 0.1, "end": 0.3, "speaker": "SPEAKER_MAIN"}
KIND = pa.list_(
    pa.struct(
        [
            ("tokens", pa.list_(pa.int32())),
            ("start", pa.float64()),
            ("end", pa.float64()),
            ("speaker", pa.string()),
        ]
    )
)


def options_of(case):
    """A golden case's parameters as options."""
    given = {
        "--frame-rate": case["frame_rate"],
        "--text-padding": case["text_padding"],
        "--text-end-padding": case["end_padding"],
        "--in-word-padding": case["in_word_padding"],
        "--speaker": case["main_speaker"],
        "--audio-delay": case["audio_delay"],
    }
    if case["bos_eos"] and not case["main_only"]:
        given["--turn-tokens"] = f"{case['bos']},{case['eos']}"
    found = [str(x) for pair in given.items() if pair[1] is not None for x in pair]
    found += ["--all-speakers"] * (not case["main_only"])
    return (*found, *["--keep-words"] * case["keep_and_shift"])


def test_golden_cases(tmp_path):
    """Those of one command are rows of one shard; there is no option for the zero token."""
    runs = {}
    for case in CASES:
        if case["zero"] == -1:
            runs.setdefault(options_of(case), []).append(case)
    assert sum(map(len, runs.values())) > 45
    for number, (options, cases) in enumerate(runs.items()):
        table = pa.table(
            {
                "words": pa.array([case["words"] for case in cases], KIND),
                "frames": [case["frames"] for case in cases],
            }
        )
        source, out = (tmp_path / f"{name}{number}.parquet" for name in ("in", "out"))
        pq.write_table(table, source)
        delaytool("align", source, out, "--frames-column", "frames", *options)
        found = pq.read_table(out)["text_tokens"].to_pylist()
        assert found == [case["expected"] for case in cases], options


@pytest.fixture
def words(tmp_path):
    """A folder with two shards of words, in which a few get lost."""
    folder = tmp_path / "words"
    folder.mkdir()
    late = {**WORD, "start": 9.0, "end": 9.5}
    rows = [[WORD, {**WORD, "start": 0.15}], None, [WORD, {**WORD, "end": 0.1}, late]]
    codes = pa.array([[[1] * n] * 3 for n in (9, 7, 5)])
    for number in range(2):
        table = pa.table({"id": ["a", "b", "c"], "words": rows, "audio_codes": codes})
        pq.write_table(table, folder / f"{number}.parquet")
    return folder


def test_the_summary_and_its_json(words, tmp_path):
    done = delaytool("align", words, tmp_path / "out")
    assert "column audio_codes: list<list<int64>>, codebook-major, [3][T]" in done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"{tmp_path / 'out'}: aligned in ")
    text = "\n".join(lines)
    assert "2 (2 written, 0 unchanged)" in text
    assert "cut" in text
    assert "2 words, the first: 0.parquet, row 0 (id 'a'), word 0" in text
    assert "no transcript" in text
    summary = summary_of(delaytool("align", words, tmp_path / "out", "--json", "--quiet"))
    assert summary["unchanged"] == 2
    counts = {"rows": 6, "words": 10, "cut": 2, "no_duration": 2, "beyond_end": 2, "dropped": 4}
    assert {name: summary[name] for name in counts} == counts
    assert summary["places"][0] == {
        "fate": "cut", "shard": "0.parquet", "row": 0, "key": "id 'a'", "word": 0,
    }  # fmt: skip
    quiet = delaytool("align", words, tmp_path / "other", "--quiet")
    assert (quiet.stdout, quiet.stderr) == ("", "")


def test_workers_write_the_same_bytes(words, tmp_path):
    delaytool_process("align", words, tmp_path / "one", "--workers", 1)
    delaytool_process("align", words, tmp_path / "two", "--workers", 2)
    assert files_in(tmp_path / "one") == files_in(tmp_path / "two")


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (("--turn-tokens", "1,2"), "--turn-tokens goes with --all-speakers"),
        (("--turn-tokens", "1", "--all-speakers"), "'1' is no pair of tokens like 1,2"),
        (("--turn-tokens", "-1,2", "--all-speakers"), "--turn-tokens is -1"),
        (("--frames-column", "n", "--audio-column", "x"), "exclude one another"),
        (("--frames-column", "n", "--audio-layout", "frame"), "exclude one another"),
        (("--key", "id", "--no-key"), "exclude one another"),
        (("--audio-delay", "nan"), "--audio-delay is nan"),
        (("--frame-rate", "0"), "--frame-rate"),
        (("--text-padding", "-7"), "--text-padding is -7"),
        (("--tokenizer", "no/such/file"), "--tokenizer no/such/file"),
        (("--speaker", ""), "--speaker"),
        (("--ray-address", "auto"), "--engine ray"),
    ],
)
def test_command_lines_that_are_wrong(words, tmp_path, options, what):
    done = delaytool("align", words, tmp_path / "out", *options, status=2)
    assert what in done.stderr
    assert not (tmp_path / "out").exists()


def test_errors_say_what_to_do_in_options(words, tmp_path):
    table = pq.read_table(words / "0.parquet")
    out = tmp_path / "out"
    texts = [[{"word": "hi", "start": 0.0, "end": 1.0}]] * 3
    cases = {
        "there is no column words; there are id, audio_codes": (
            table.drop_columns(["words"]), "Name the column with --words-column",
        ),
        "the words are texts, and there is no tokenizer": (
            table.set_column(1, "words", pa.array(texts)), "with --tokenizer",
        ),
        "has the type list<int64>": (
            table.set_column(1, "words", pa.array([[1]] * 3)),
            "Name another column with --words-column",
        ),
        "is of speaker SPEAKER_MAIN; there are anna": (
            table.set_column(1, "words", pa.array([[{**WORD, "speaker": "anna"}]] * 3)),
            "Name the main one with --speaker, or keep everyone's words with --all-speakers",
        ),
        "there is no column audio_codes": (
            table.drop_columns(["audio_codes"]), "the number of frames with --frames-column",
        ),
        "the start of word 0 is null": (
            table.set_column(1, "words", pa.array([[{**WORD, "start": None}, WORD]] * 3)),
            "Repair the word, or leave it out",
        ),
    }  # fmt: skip
    for found, (wrong, advice) in cases.items():
        pq.write_table(wrong, words / "0.parquet")
        first, second = errors_of(delaytool("align", words / "0.parquet", out, status=1))
        assert found in first
        assert advice in second


def test_bad_rows_in_quarantine(words, tmp_path):
    table = pq.read_table(words / "0.parquet").to_pylist()
    table[1]["audio_codes"] = None
    pq.write_table(pa.Table.from_pylist(table), words / "0.parquet")
    out, bad = tmp_path / "out", tmp_path / "bad"
    done = delaytool("align", words, out, "--quarantine", bad)
    assert "1 row: column audio_codes: a null" in done.stdout
    assert f"{bad}: 1 bad row" in done.stdout
    (row,) = pq.read_table(bad / "0.parquet").to_pylist()
    assert row["reason"].startswith("row 1 (id 'b'), column audio_codes: a null row")


def test_a_dry_run_checks_and_writes_nothing(words, tmp_path):
    table = pq.read_table(words / "1.parquet")
    rows = [*table.to_pylist(), *table.to_pylist()]
    rows[1]["words"] = [{**WORD, "start": None}]
    rows[4]["words"] = [WORD, {**WORD, "end": None}]
    pq.write_table(pa.Table.from_pylist(rows), words / "1.parquet")
    before = files_in(tmp_path)
    for more in ((), (tmp_path / "out",), (tmp_path / "out", "--quarantine", tmp_path / "bad")):
        done = delaytool("align", words, *more, "--dry-run", status=1)
        assert "checked, and nothing written, in" in done.stdout
        assert "bad: 2 rows like this one: 1.parquet, row 1 (id 'b'), column words" in done.stdout
        assert "the start of word 0 is null" in done.stdout
        assert files_in(tmp_path) == before
    done = delaytool("align", words, "--dry-run", "--json", status=1)
    dry = summary_of(done)
    assert [(bad["kind"], bad["column"], bad["rows"]) for bad in dry["bad"]] == [
        ("word-time", "words", 2)
    ]
    assert (dry["written"], dry["unchanged"], dry["quarantined"]) == (0, 0, 0)
    real = summary_of(
        delaytool("align", words, tmp_path / "out", "--quarantine", tmp_path / "bad", "--json")
    )
    for name in ("shards", "rows", "words", "tokens", "cut", "dropped", "places"):
        assert dry[name] == real[name], name
    delaytool("align", words / "0.parquet", "--dry-run")
    done = delaytool("align", words, status=2)
    assert "Missing argument 'OUTPUT', which only --dry-run can do without" in done.stderr


def test_shifted_shards_are_refused(tmp_path):
    pq.write_table(tokens_table(), tmp_path / "a.parquet")
    recipe = ("--n-q", 3, "--delays", "0,0,1,2")
    delaytool("apply", tmp_path / "a.parquet", tmp_path / "b.parquet", *recipe)
    done = delaytool("align", tmp_path / "b.parquet", tmp_path / "c.parquet", status=1)
    assert "it is shifted already" in done.stderr
