"""What the pages say is true: help texts are the tool's, examples run, links lead somewhere."""

import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from make import delaytool, sentencepiece_model
from pages import (
    COMMAND_LINE,
    CONTRIBUTING,
    FENCED,
    README,
    ROOT,
    all_pages,
    example_with,
    examples,
    heading_anchors,
    links_of,
    name_of,
    with_help,
)

from delaytool import Recipe, align_words, load_preset
from delaytool.errors import KINDS
from delaytool.recipes.presets import preset_names

PAGES = pytest.mark.parametrize("page", all_pages(), ids=name_of)


def test_the_help_texts_are_the_tools():
    text = COMMAND_LINE.read_text()
    assert with_help(text) == text, "run: make readme"


def test_the_library_example_runs():
    exec(compile(example_with("delay, load_preset, loss_weights"), "README.md", "exec"), {})


def test_json_lines_become_shards(tmp_path, monkeypatch):
    """The lines that make Parquet of JSON lines, apply on that, and those that read the record."""
    (tmp_path / "rows.jsonl").write_text(
        '{"id": "a", "text_tokens": [3, 0, 5], "audio_codes": [[1, 2], [3, 4], [5, 6]]}\n'
        '{"id": "b", "text_tokens": [7], "audio_codes": [[7, 8]]}\n'
    )
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    exec(compile(example_with("read_json"), "README.md", "exec"), {})
    delaytool("apply", "data", "shifted", "--n-q", 2, "--delays", 1, cwd=tmp_path)
    rows = pq.read_table(tmp_path / "shifted").to_pylist()
    assert rows[1]["audio_codes"] == [[2048, 2048], [7, 8]]
    names = {}
    exec(compile(example_with("record ="), "README.md", "exec"), names)
    assert Recipe.from_dict(json.loads(names["record"])["recipe"]).n_q == 2


@pytest.fixture
def bring_in(tmp_path, monkeypatch):
    """Runs one of the page's examples that write data/train-00000.parquet; the shifted rows."""
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))

    def run(text, *options):
        exec(compile(example_with(text), "README.md", "exec"), {})
        delaytool("apply", "data", "shifted", "--n-q", 2, "--delays", "0,0,1", *options)
        return pq.read_table(tmp_path / "shifted").to_pylist()

    return run


def test_npz_files_become_shards(bring_in, tmp_path):
    (tmp_path / "utterances").mkdir()
    for name, frames in (("b", 4), ("a", 3)):
        codes = np.arange(2 * frames).reshape(2, frames)
        np.savez(tmp_path / "utterances" / f"{name}.npz", text=np.full(frames, 5), codes=codes)
    rows = bring_in("numpy.load")
    assert [row["id"] for row in rows] == ["a", "b"]
    assert rows[0]["audio_codes"] == [[0, 1, 2, 2048], [2048, 3, 4, 5]]


def test_datasets_of_hugging_face_become_shards(bring_in, tmp_path):
    pytest.importorskip("datasets")
    (tmp_path / "published").mkdir()
    (tmp_path / "published" / "x.jsonl").write_text(
        '{"id": "a", "text_tokens": [3, 0, 5], "audio_codes": [[1, 2, 3], [4, 5, 6]]}\n'
    )
    (row,) = bring_in('load_dataset("json"')
    assert row["audio_codes"] == [[1, 2, 3, 2048], [2048, 4, 5, 6]]


def test_two_rows_of_a_dialogue_become_one(bring_in, tmp_path):
    pytest.importorskip("duckdb")
    (tmp_path / "turns").mkdir()
    table = pa.table(
        {
            "dialogue": ["x", "x", "w", "w"],
            "speaker": ["moshi", "user", "user", "moshi"],
            "text_tokens": [[5, 6], [9, 9], [9], [7]],
            "codes": [[[1, 2]], [[3, 4]], [[8]], [[7]]],
        }
    )
    pq.write_table(table, tmp_path / "turns" / "a.parquet")
    rows = bring_in("turns/*.parquet", "--audio-column", "moshi", "--audio-column", "user")
    assert [(row["id"], row["moshi"], row["user"]) for row in rows] == [
        ("w", [[7, 2048]], [[2048, 8]]),
        ("x", [[1, 2, 2048]], [[2048, 3, 4]]),
    ]
    assert [row["text_tokens"] for row in rows] == [[7, 3], [5, 6, 3]]


def test_what_fills_rows_up_is_cut_off_and_what_is_spelled_out_becomes_codes(bring_in, tmp_path):
    pytest.importorskip("duckdb")
    (tmp_path / "published").mkdir()
    table = pa.table(
        {
            "filled_up": [[[1, 2, -100], [3, 4, -100]], [[5, 6, 7], [8, 9, 9]]],
            "spelled_out": ["<|c_10|><|c_11|>", "<|c_12|><|c_13|><|c_14|>"],
        }
    )
    pq.write_table(table, tmp_path / "published" / "a.parquet")
    rows = bring_in("filled_up", "--audio-column", "codes", "--text-column", "tokens")
    assert [row["codes"] for row in rows] == [
        [[1, 2, 2048], [2048, 3, 4]],
        [[5, 6, 7, 2048], [2048, 8, 9, 9]],
    ]
    assert [row["tokens"] for row in rows] == [[10, 11, 3], [12, 13, 14, 3]]


def test_words_are_placed_as_the_page_says():
    example = example_with("from delaytool import align_words")
    (said,) = re.findall(r"# (\[.*\])", example)
    names = {}
    exec(
        compile(example.replace("align_words(words,", "found = align_words(words,"), "x", "exec"),
        names,
    )
    assert names["found"].tolist() == json.loads(said)


CTM = """rec-1 1 0.10 0.20 hello 0.98
rec-1 1 0.70 0.20 there
rec-2 A 0.00 0.50 quick NA lex
"""
WHISPERX = {
    "segments": [
        {
            "start": 0.1,
            "end": 0.9,
            "text": " hello 7 there",
            "words": [
                {"word": "hello", "start": 0.1, "end": 0.3, "score": 0.98},
                {"word": "7"},
                {"word": "there", "start": 0.7, "end": 0.9, "score": 0.5},
            ],
        }
    ],
    "word_segments": [],
}


@pytest.mark.parametrize("which", ["words.ctm", "whisperx"])
def test_words_of_other_aligners(tmp_path, monkeypatch, which):
    """The page's lines, and align on what they make."""
    (tmp_path / "words.ctm").write_text(CTM)
    (tmp_path / "whisperx").mkdir()
    (tmp_path / "whisperx" / "rec-1.json").write_text(json.dumps(WHISPERX))
    (tmp_path / "transcripts").mkdir()
    (tmp_path / "tokenizer.model").write_bytes(sentencepiece_model())
    monkeypatch.chdir(tmp_path)
    exec(compile(example_with(f'("{which}")'), "sample_data/README.md", "exec"), {})
    made = pq.read_table("transcripts/train-00000.parquet")
    rows = made.to_pylist()
    assert [row["id"] for row in rows] == (["rec-1", "rec-2"] if "ctm" in which else ["rec-1"])
    spoken = [(word["word"], word["start"], round(word["end"], 3)) for word in rows[0]["words"]]
    assert spoken == [("hello", 0.1, 0.3), ("there", 0.7, 0.9)]
    frames = pa.array([20] * len(rows))
    pq.write_table(made.append_column("frames", frames), "transcripts/train-00000.parquet")
    options = ("--tokenizer", "tokenizer.model", "--frames-column", "frames")
    delaytool("align", "transcripts", "aligned", *options, cwd=tmp_path)
    text = pq.read_table("aligned/train-00000.parquet")["text_tokens"][0].as_py()
    assert text == align_words(rows[0]["words"], 20, tokenizer="tokenizer.model").tolist()


def test_the_recipe_in_json_is_one():
    (example,) = examples("json")
    assert Recipe.from_json(example).delays == (0, 0, 1)


@pytest.mark.parametrize("target", ["make demo", "make test"])
def test_how_to_begin_stands_at_the_top(target):
    assert target in "\n".join(README.read_text().splitlines()[:30])


def test_the_readme_is_short_and_warns_early():
    lines = README.read_text().splitlines()
    assert len(lines) < 300
    assert "LMModel.forward" in "\n".join(lines[:50])


@PAGES
def test_links_lead_somewhere(page):
    for link in links_of(page):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), link
        assert there.is_relative_to(ROOT), link
        if anchor:
            assert anchor in heading_anchors(there), link


def test_every_page_is_reached_from_the_readme():
    reached, ahead = set(), {README}
    while ahead:
        reached |= ahead
        links = {page.parent / link.split("#")[0] for page in ahead for link in links_of(page)}
        ahead = {link.resolve() for link in links} & set(all_pages()) - reached
    assert [name_of(page) for page in all_pages() if page not in reached] == []


@PAGES
def test_no_command_stands_where_no_test_looks(page):
    """Fenced blocks are code, data or what is printed; commands stand outside of them."""
    languages = {name for name, _ in FENCED.findall(page.read_text())}
    assert languages <= {"python", "yaml", "json", "text"}
    assert page.read_text().count("```") == 2 * len(FENCED.findall(page.read_text()))


def test_the_table_of_presets_is_whole():
    """Each with its delays, as far as a table can show them."""
    text = (README.parent / "delaytool" / "recipes" / "README.md").read_text()
    assert set(re.findall(r"^\| `([\w.-]+)`", text, re.MULTILINE)) >= set(preset_names())
    for name in preset_names():
        (row,) = re.findall(rf"^\| `{re.escape(name)}`.*$", text, re.MULTILINE)
        for delay in {min(load_preset(name).delays), max(load_preset(name).delays)}:
            assert re.search(rf"\b{delay}\b", row), row


def test_the_training_page_names_every_script():
    folder = ROOT / "sample_data" / "training"
    linked = links_of(folder / "README.md")
    assert {path.name for path in folder.glob("*.py")} <= set(linked)


def test_the_readme_names_presets_that_there_are():
    rows = re.findall(r"^\|.*$", README.read_text(), re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`--preset ([\w.-]+)`", row)}
    assert named
    assert named <= set(preset_names())


def test_the_contributing_guide_names_files_that_there_are():
    text = CONTRIBUTING.read_text()
    floors = re.findall(r"^\| `(\w+)/` \|.*\| (.*) \|$", text, re.MULTILINE)
    named = [f"delaytool/{floor}/{file}.py" for floor, row in floors for file in words_in(row)]
    named += re.findall(r"`((?:delaytool|tests)/[^`]+)`", text)
    assert len(named) > 40
    missing = {path for path in named if "NAME" not in path and not (ROOT / path).exists()}
    assert missing == set()


def test_the_contributing_guide_names_every_room():
    text = CONTRIBUTING.read_text()
    rooms = {
        path.relative_to(ROOT / "delaytool")
        for path in (ROOT / "delaytool").glob("*/*.py")
        if path.name != "__init__.py"
    }
    floors = dict(re.findall(r"^\| `(\w+)/` \|.*\| (.*) \|$", text, re.MULTILINE))
    unnamed = {room for room in rooms if f"`{room.stem}`" not in floors[room.parent.name]}
    assert unnamed == set()


def words_in(text):
    """What stands between backquotes in a text, where it is one word."""
    return re.findall(r"`(\w+)`", text)


def test_the_reasons_in_the_report_are_the_tools():
    text = (README.parent / "delaytool" / "shards" / "README.md").read_text()
    reasons = re.findall(r"\d+ rows?: column \w+: (.+)", text)
    assert reasons
    assert set(reasons) <= set(KINDS.values())
