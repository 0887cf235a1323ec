"""Words to frames: what moshi-finetune's Interleaver returned, a slow reference, and bad words."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import reference_words
from make import sentencepiece_model

from delaytool import DataError, RecipeError, align_words
from delaytool.pattern.interleave import Fate, Interleaving, interleave
from delaytool.pattern.words import Said

sentencepiece = pytest.importorskip("sentencepiece")
GOLDEN = Path(__file__).parent.parent / "golden" / "align.json"
CASES = json.loads(GOLDEN.read_text())["cases"]


def keywords_of(case):
    """A golden case's parameters as the keywords of `align_words`."""
    turns = case["bos_eos"] and not case["main_only"]
    return {
        "frame_rate": case["frame_rate"],
        "text_padding": case["text_padding"],
        "text_end_padding": case["end_padding"],
        "in_word_padding": case["in_word_padding"],
        "zero_token": case["zero"],
        "speaker": case["main_speaker"],
        "all_speakers": not case["main_only"],
        "turn_tokens": (case["bos"], case["eos"]) if turns else None,
        "keep_words": case["keep_and_shift"],
        "audio_delay": case["audio_delay"],
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["note"][:60])
def test_tokens_are_those_of_the_interleaver(case):
    found = align_words(case["words"], case["frames"], **keywords_of(case))
    assert found.dtype == np.int32
    assert found.tolist() == case["expected"]
    row, _ = reference_words.interleave(case["words"], case["frames"], keywords_of(case))
    assert row == case["expected"], "the reference"


def random_words(random, how, frames):
    """Words of a row, some on borders of frames, some of no duration, some out of the row."""
    if random.random() < 0.05:
        return None
    seconds = frames / how["frame_rate"]
    words = []
    for _ in range(random.integers(0, 30)):
        start = random.uniform(-0.3, seconds * 1.1 + 0.1)
        if random.random() < 0.3:
            start = int(start * how["frame_rate"]) / how["frame_rate"]
        end = start + random.choice([0.0, -0.1, 0.08, random.exponential(0.3)])
        tokens = random.integers(0, 9, size=random.integers(0, 5)).tolist()
        names = ["SPEAKER_MAIN", "B", None] if how["all_speakers"] else ["SPEAKER_MAIN", "B"]
        speaker = None if how["unnamed"] else str(random.choice(names))
        words.append({"tokens": tokens, "start": start, "end": end, "speaker": speaker})
        if speaker == "None":
            words[-1]["speaker"] = None
    if random.random() < 0.5:
        words.sort(key=lambda word: word["start"])
    return words


@pytest.mark.parametrize("seed", range(60))
def test_many_rows_at_once_are_as_one_by_one_and_as_the_reference(seed):
    random = np.random.default_rng(seed)
    everyone = bool(random.random() < 0.5)
    how = {
        "frame_rate": float(random.choice([12.5, 25.0, 86.1328125])),
        "text_padding": 3,
        "text_end_padding": int(random.choice([0, 3])),
        "in_word_padding": [None, 5, 3][random.integers(3)],
        "zero_token": -1,
        "speaker": [None, "SPEAKER_MAIN", "B"][random.integers(3)],
        "all_speakers": everyone,
        "turn_tokens": (1, 2) if everyone and random.random() < 0.5 else None,
        "keep_words": bool(random.random() < 0.4),
        "audio_delay": float(random.choice([0.0, 0.0, 0.5, 1.28, -0.07, -0.5, -2.5])),
    }
    lengths = random.integers(0, 60, size=12)
    unnamed = bool(random.random() < 0.2)
    rows = [random_words(random, {**how, "unnamed": unnamed}, int(n)) for n in lengths]
    said = Said()
    for words in rows:
        said.add(words)
    words, _ = said.spelled(None)
    found = interleave(words, lengths, Interleaving(**how))
    expected, fates = [], Counter()
    for words, frames in zip(rows, lengths.tolist(), strict=True):
        row, its_fates = reference_words.interleave(words, frames, how)
        assert align_words(words, frames, **how).tolist() == row
        expected += row
        fates += its_fates
    assert found.tokens.tolist() == expected
    counted = Counter(Fate(fate).name for fate in found.fates.tolist())
    del counted["PLACED"]
    assert counted == fates


def test_rows_without_words_and_without_frames():
    assert align_words([], 3).tolist() == [3, 3, 3]
    assert align_words(None, 3).tolist() == [-1, -1, -1]
    assert align_words([], 0).tolist() == []
    word = {"tokens": [7], "start": 0.0, "end": 1.0}
    assert align_words([word], 0).tolist() == []


def test_the_kinds_of_words_say_the_same():
    expected = [0, 11, 12, 3]
    for word in (
        {"tokens": [11, 12], "start": 0.1, "end": 0.3},
        {"tokens": np.array([11, 12]), "start": np.float32(0.1), "end": 1, "speaker": None},
        [[11, 12], [0.1, 0.3], "SPEAKER_MAIN"],
        ([11, 12], (0.1, 0.3)),
    ):
        assert align_words([word], 4).tolist() == expected


def test_words_are_kept_where_nobody_is_named():
    word = {"tokens": [11], "start": 0.0, "end": 0.3}
    other = {**word, "speaker": "B"}
    assert align_words([word], 1).tolist() == [11]
    assert align_words([other], 1).tolist() == [3]
    assert align_words([other], 1, speaker="B").tolist() == [11]
    assert align_words([word, {**other, "start": 0.01}], 1).tolist() == [3]


WORD = {"tokens": [11], "start": 0.0, "end": 0.3}


@pytest.mark.parametrize(
    ("word", "kind", "what"),
    [
        ({**WORD, "start": None}, "word-time", "the start of word 1 is null"),
        ({**WORD, "end": float("nan")}, "word-time", "the end of word 1 is nan"),
        ({**WORD, "end": float("inf")}, "word-time", "the end of word 1 is inf"),
        ({**WORD, "end": True}, "word-time", "true"),
        ({"text": "ja", "start": "0.1", "end": 0.2}, "word-time", "word 1 ('ja')"),
        ({**WORD, "tokens": [-1]}, "token", "a token of word 1 is -1"),
        ({**WORD, "tokens": [2**31]}, "token", "a token of word 1"),
        ({**WORD, "tokens": [1.5]}, "token", "1.5"),
        ({**WORD, "tokens": None}, "word", "the text of word 1 is null"),
        ({**WORD, "speaker": 3}, "word", "the speaker of word 1 is 3"),
        (None, "word", "word 1 is null"),
        ("ja", "word", 'word 1 is "ja"'),
        (["ja", 0.1, 0.2], "word", "word 1 is a list"),
        ({**WORD, "tokens": "ja"}, "no-tokenizer", "texts such as 'ja'"),
    ],
)
def test_a_word_that_cannot_be_read(word, kind, what):
    if kind == "no-tokenizer":
        word = {"word": word["tokens"], "start": 0.0, "end": 0.3}
    with pytest.raises(DataError) as caught:
        align_words([WORD, word], 3)
    assert caught.value.kind == kind
    assert what in caught.value.found


def test_words_that_are_no_list():
    with pytest.raises(DataError, match='the words are "hello", expected a list of words'):
        align_words("hello", 3)


@pytest.mark.parametrize(
    ("keywords", "what"),
    [
        ({"frame_rate": 0}, "`frame_rate` is 0, expected a number from 0.001 to 1000000"),
        ({"frame_rate": float("nan")}, "`frame_rate`"),
        ({"audio_delay": float("inf")}, "`audio_delay`"),
        ({"text_padding": -3}, "`text_padding`"),
        ({"in_word_padding": 2**31}, "`in_word_padding`"),
        ({"turn_tokens": (1, 2)}, "`turn_tokens` goes with `all_speakers=True`"),
        ({"turn_tokens": (1,), "all_speakers": True}, "BOS and EOS"),
        ({"speaker": ""}, "`speaker`"),
        ({"keep_words": 1}, "`keep_words`"),
        ({"frames": -1}, "frames is -1"),
        ({"tokenizer": "no/such/file"}, "no/such/file"),
    ],
)
def test_what_cannot_be_asked_for(keywords, what):
    with pytest.raises(RecipeError, match=what):
        align_words([], keywords.pop("frames", 3), **keywords)


@pytest.fixture
def model(tmp_path):
    """A small SentencePiece model, which knows line breaks by their bytes."""
    options = {"byte_fallback": True, "normalization_rule_name": "identity"}
    (tmp_path / "words.model").write_bytes(sentencepiece_model(**options))
    return tmp_path / "words.model"


def test_words_are_encoded_one_by_one_and_stripped(model):
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(model))
    quick, dog = pieces.encode("quick"), pieces.encode("dog")
    words = [
        {"word": " quick\n", "start": 0.0, "end": 1.0},
        {"text": "dog", "start": 2.0, "end": 3.0},
        {"word": "quick", "start": 4.0, "end": 5.0},
    ]
    expected = [*quick, *[3] * (24 - len(quick)), 0, *dog, *[3] * (24 - len(dog)), 0, *quick]
    for tokenizer in (model, pieces.encode):
        found = align_words(words, 50 + len(quick), tokenizer=tokenizer)
        assert found.tolist() == expected


def test_lines_of_a_word_have_the_line_breaks_piece_between_them(model):
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(model))
    word = {"word": "lazy\ndog", "start": 0.0, "end": 1.0}
    expected = [*pieces.encode("lazy"), pieces.encode("\n")[-1], *pieces.encode("dog")]
    assert align_words([word], len(expected), tokenizer=model).tolist() == expected


def test_of_a_word_with_both_its_text_is_taken_where_there_is_a_tokenizer(model):
    word = {"word": "dog", "tokens": [11], "start": 0.0, "end": 1.0}
    assert align_words([word], 1).tolist() == [11]
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(model)).encode("dog")
    assert align_words([word], len(pieces), tokenizer=model).tolist() == pieces


def test_a_file_that_is_no_model(tmp_path):
    (tmp_path / "x.model").write_text("no model")
    with pytest.raises(RecipeError, match="is not a SentencePiece model"):
        align_words([], 3, tokenizer=tmp_path / "x.model")


def test_a_line_break_that_the_model_does_not_know(tmp_path):
    (tmp_path / "words.model").write_bytes(sentencepiece_model())
    word = {"word": "lazy\ndog", "start": 0.0, "end": 1.0}
    with pytest.raises(DataError, match="has a line break") as caught:
        align_words([word], 3, tokenizer=tmp_path / "words.model")
    assert caught.value.kind == "word"
