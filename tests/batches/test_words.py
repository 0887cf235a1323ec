"""Columns of words: every shape that is read, whatever Arrow has around it, and every bad row."""

import json

import numpy as np
import pyarrow as pa
import pytest

from delaytool import DataError, align_words
from delaytool.batches.align import WordCounts, align_batch, bad_rows
from delaytool.batches.align_job import AlignJob, aligned_schema
from delaytool.batches.words import words_type
from delaytool.pattern.interleave import Interleaving

TEXTS = {"hi": [5], "there": [6, 7], "": [], "grüß": [8, 9, 10]}


def encode(words):
    """Tokens of texts, as a tokenizer has them; none of a text with a line break."""
    return [None if "\n" in word else TEXTS[word] for word in words]


def job(frames_column="frames", tokenizer="0" * 64, **how):
    return AlignJob(
        "words", "text_tokens", Interleaving(**how), (), frames_column, tokenizer, key="id"
    )


def random_rows(seed, count=30):
    """Words of rows as plain values, some without a transcript, and frames."""
    random = np.random.default_rng(seed)
    rows, frames = [], random.integers(0, 50, size=count)
    for length in frames.tolist():
        if random.random() < 0.1:
            rows.append(None)
            continue
        starts = random.uniform(-0.2, length / 12.5 + 0.3, size=random.integers(0, 9))
        rows.append(
            [
                {
                    "word": str(random.choice(list(TEXTS))),
                    "start": float(start),
                    "end": float(start + random.choice([0.0, 0.1, 0.4])),
                    "speaker": str(random.choice(["SPEAKER_MAIN", "B"])),
                }
                for start in starts
            ]
        )
    return rows, frames


def with_tokens(rows):
    return [
        row and [{**word, "tokens": TEXTS[word["word"]], "word": None} for word in row]
        for row in rows
    ]


def as_json(rows, wrap=False):
    """Rows as moshi-finetune keeps them."""
    plain = [
        None if row is None else [[w["word"], [w["start"], w["end"]], w["speaker"]] for w in row]
        for row in rows
    ]
    return [
        None if row is None else json.dumps({"alignments": row, "x": 1} if wrap else row)
        for row in plain
    ]


def structs(rows, text="word", text_type=None, list_=pa.list_, speaker=None, tokens=None):
    """Rows as lists of structs of these types."""
    fields = [("start", pa.float64()), ("end", pa.float64())]
    fields.append(("speaker", speaker or pa.string()))
    if tokens is not None:
        fields.append(("tokens", tokens))
        rows = with_tokens(rows)
    else:
        fields.append((text, text_type or pa.string()))
        rows = [row and [{**word, text: word["word"]} for word in row] for row in rows]
    names = [name for name, _ in fields]
    plain = [row if row is None else [{n: w[n] for n in names} for w in row] for row in rows]
    return pa.array(plain, list_(pa.struct(fields)))


SHAPES = {
    "structs": structs,
    "text for word": lambda rows: structs(rows, text="text"),
    "large lists and strings": lambda rows: structs(
        rows, text_type=pa.large_string(), list_=pa.large_list
    ),
    "dictionaries": lambda rows: structs(
        rows,
        text_type=pa.dictionary(pa.int8(), pa.string()),
        speaker=pa.dictionary(pa.int32(), pa.string()),
    ),
    "views": lambda rows: structs(rows, text_type=pa.string_view()),
    "tokens": lambda rows: structs(rows, tokens=pa.list_(pa.int32())),
    "small tokens": lambda rows: structs(rows, tokens=pa.large_list(pa.int8())),
    "unsigned tokens": lambda rows: structs(rows, tokens=pa.list_(pa.uint64())),
    "json": lambda rows: pa.array(as_json(rows), pa.string()),
    "json in an object": lambda rows: pa.array(as_json(rows, wrap=True), pa.large_string()),
    "json of dicts": lambda rows: pa.array(
        [None if row is None else json.dumps(row) for row in rows]
    ),
}


@pytest.mark.parametrize("everyone", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_each_shape_says_the_same(shape, everyone):
    rows, frames = random_rows(len(shape))
    array = SHAPES[shape](rows)
    ids = [f"utt-{row}" for row in range(len(rows))]
    batch = pa.record_batch({"id": ids, "words": array, "frames": frames})
    how = {"all_speakers": everyone, "in_word_padding": 4, "audio_delay": 0.1}
    # A slice has rows before and after it that are not its own.
    for part, first in ((batch, 0), (batch.slice(7, 12), 7), (batch.slice(0, 0), 0)):
        found = align_batch(part, job(**how), encode)
        assert found.text.type == pa.list_(pa.int32())
        expected = [
            align_words(rows[row], int(frames[row]), tokenizer=TEXTS.get, **how).tolist()
            for row in range(first, first + part.num_rows)
        ]
        assert found.text.to_pylist() == expected
        assert found.counts.rows_in == part.num_rows
        assert found.counts.frames == sum(map(len, expected))


@pytest.mark.parametrize(
    ("times", "seconds"),
    [
        (pa.float32(), [0.1, 0.5]),
        (pa.float16(), [0.5, 1.5]),
        (pa.int64(), [1, 2]),
        (pa.uint8(), [0, 1]),
        (pa.decimal128(5, 3), [0.125, 0.5]),
    ],
)
def test_times_of_any_number(times, seconds):
    array = pa.array(seconds, pa.float64()).cast(times)
    start, end = (value.as_py() for value in array)
    kind = pa.struct([("tokens", pa.list_(pa.int64())), ("start", times), ("end", times)])
    words = pa.array([[{"tokens": [5], "start": start, "end": end}]], pa.list_(kind))
    batch = pa.record_batch({"words": words, "frames": [30]})
    expected = align_words([{"tokens": [5], "start": float(start), "end": float(end)}], 30)
    assert align_batch(batch, job(), None).text.to_pylist() == [expected.tolist()]


@pytest.mark.parametrize(
    "array",
    [pa.nulls(2), pa.array([None, []]), pa.array([None, []], pa.large_list(pa.null()))],
)
def test_rows_without_any_word(array):
    batch = pa.record_batch({"words": array, "frames": [2, 2]})
    found = align_batch(batch, job(), None).text.to_pylist()
    assert found == [[-1, -1], [-1, -1] if array.type == pa.null() else [3, 3]]


def test_words_under_nulls_do_not_count():
    words = structs([[{"word": "hi", "start": 0.0, "end": 1.0, "speaker": None}]] * 3)
    masked = pa.ListArray.from_arrays(
        words.offsets, words.values, mask=pa.array([False, True, False])
    )
    batch = pa.record_batch({"words": masked, "frames": [2, 2, 2]})
    assert align_batch(batch, job(), encode).text.to_pylist() == [[5, 3], [-1, -1], [5, 3]]


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.string()),
        pa.list_(pa.list_(pa.struct([("word", pa.string()), ("start", pa.float32())]))),
        pa.list_(pa.struct([("word", pa.string()), ("start", pa.float32())])),
        pa.list_(pa.struct([("start", pa.float32()), ("end", pa.float32())])),
        pa.list_(pa.struct([("word", pa.string()), ("start", pa.string()), ("end", pa.float32())])),
        pa.struct([("word", pa.list_(pa.string()))]),
        pa.binary(),
        pa.int32(),
    ],
)
def test_a_type_that_holds_no_words(kind):
    with pytest.raises(DataError) as caught:
        words_type(pa.field("words", kind))
    error = caught.value
    assert error.kind == "column-type"
    assert "list<struct<word or text: string" in error.expected
    assert error.place.column == "words"


WORD = {"word": "hi", "start": 0.0, "end": 1.0, "speaker": None}


def row(**fields):
    return [WORD, {**WORD, **fields}]


BAD = {
    "word-time": [
        (row(start=None), "the start of word 1 ('hi') is null"),
        (row(end=float("nan")), "the end of word 1 ('hi') is nan"),
        (row(end=float("-inf")), "the end of word 1 ('hi') is -inf"),
    ],
    "word": [
        (row(word=None), "the text of word 1 is null"),
        (row(word="a\nb"), "word 1 ('a\\nb') has a line break"),
        ([WORD, None], "word 1 is null"),
    ],
}


@pytest.mark.parametrize(
    ("words", "kind", "found"),
    [(words, kind, found) for kind, cases in BAD.items() for words, found in cases],
)
def test_a_bad_word_is_a_bad_row(words, kind, found):
    kinds = [("word", pa.string()), ("start", pa.float64()), ("end", pa.float64())]
    column = pa.array(
        [[WORD], words, None], pa.list_(pa.struct([*kinds, ("speaker", pa.string())]))
    )
    batch = pa.record_batch({"words": column, "frames": [3, 3, 3]})
    ((number, error),) = bad_rows(batch, job(), encode).items()
    assert (number, error.kind, error.place.column) == (1, kind, "words")
    assert error.found.startswith(found)
    assert bad_rows(batch.slice(0, 1), job(), encode) == {}


@pytest.mark.parametrize(
    ("tokens", "found"),
    [
        (None, "the tokens of word 1 are null"),
        ([5, None], "a token of word 1 is null"),
        ([5, -1], "a token of word 1 is -1"),
        ([2**31], "a token of word 1 is 2147483648"),
    ],
)
def test_bad_tokens_are_a_bad_row(tokens, found):
    words = [[], [{**WORD, "tokens": [1]}, {**WORD, "tokens": tokens}], []]
    kinds = [("tokens", pa.list_(pa.int64())), ("start", pa.float64()), ("end", pa.float64())]
    batch = pa.record_batch(
        {"words": pa.array(words, pa.list_(pa.struct(kinds))), "frames": [3] * 3}
    )
    ((number, error),) = bad_rows(batch, job(), None).items()
    assert (number, error.found) == (1, found)


@pytest.mark.parametrize(
    ("text", "kind", "found"),
    [
        ("[[", "words", "the words are no JSON"),
        ("[" * 100_000, "words", "the words are no JSON"),
        ('{"words": []}', "words", "the words are an object of words"),
        ('"hello"', "words", 'the words are "hello"'),
        ("7", "words", "the words are 7"),
        ('[["hi", [0, NaN], null]]', "word-time", "the end of word 0 ('hi') is nan"),
        ('[["hi", [0, 1e999], null]]', "word-time", "the end of word 0 ('hi') is inf"),
        (f'[["hi", [0, {10**400}], null]]', "word-time", "the end of word 0 ('hi') is an integer"),
        ('[["hi", [0, "1"], null]]', "word-time", "the end of word 0 ('hi') is \"1\""),
        ('[["hi", [0], null]]', "word", "word 0 is a list"),
        ('[["\\ud800", [0, 1], null]]', "word", "word 0 ('\\ud800') has half of a surrogate"),
        ('[["a\\nb", [0, 1], null]]', "word", "word 0 ('a\\nb') has a line break"),
    ],
)
def test_bad_json_is_a_bad_row(text, kind, found):
    batch = pa.record_batch({"words": ["[]", text, None], "frames": [3, 3, 3]})
    ((number, error),) = bad_rows(batch, job(), encode).items()
    assert (number, error.kind, error.place.column) == (1, kind, "words")
    assert error.found.startswith(found)


def test_every_bad_row_is_found_whatever_is_wrong_with_the_others():
    rows = [case[0] for cases in BAD.values() for case in cases]
    column = structs([[WORD], *[[] for _ in rows], [WORD]]).type
    batch = pa.record_batch(
        {
            "id": [str(n) for n in range(len(rows) + 4)],
            "words": pa.array([[WORD], *rows, [WORD], [WORD], [WORD]], column),
            "frames": [*[3] * (len(rows) + 1), None, -1, 2**40],
        }
    )
    found = bad_rows(batch, job(), encode)
    assert sorted(found) == list(range(1, len(rows) + 4))
    for number, error in found.items():
        ((_, alone),) = bad_rows(batch.slice(number, 1), job(), encode).items()
        assert (error.kind, error.found) == (alone.kind, alone.found)
    frames = [found[number] for number in range(len(rows) + 1, len(rows) + 4)]
    assert [error.kind for error in frames] == ["frames"] * 3
    assert [error.place.column for error in frames] == ["frames"] * 3


def test_texts_without_a_tokenizer():
    for words in (structs([[WORD]]), pa.array(as_json([[WORD]]))):
        batch = pa.record_batch({"words": words, "frames": [3]})
        with pytest.raises(DataError) as caught:
            align_batch(batch, job(tokenizer=None), None)
        assert caught.value.kind == "no-tokenizer"
        assert "`tokenizer`" in caught.value.advice


def test_what_became_of_words_is_counted_and_named():
    def word(start, end, tokens, speaker="SPEAKER_MAIN"):
        return {"start": start, "end": end, "tokens": tokens, "speaker": speaker}

    rows = [
        [],
        [
            word(0.0, 0.3, [1, 2, 3]),  # cut
            word(0.1, 0.2, [4]),
            word(0.3, 0.3, [5]),  # no duration
            word(0.35, 0.5, [6], "B"),
            word(0.7, 0.9, [7, 8, 9]),  # past the end
            word(5.0, 6.0, [1]),  # beyond the end
        ],
        None,
    ]
    batch = pa.record_batch({"id": ["a", "b", "c"], "words": rows, "frames": [0, 10, 2]})
    found = align_batch(batch, job(), None)
    assert found.text.to_pylist() == [[], [1, 4, 3, 3, 3, 3, 3, 0, 7, 8], [-1, -1]]
    assert found.counts == WordCounts(
        rows_in=3,
        rows_out=3,
        frames=12,
        words=6,
        tokens=4,
        other_speakers=1,
        no_duration=1,
        beyond_end=1,
        cut=1,
        past_end=1,
        empty=1,
        no_transcript=1,
    )
    places = {place.fate: (place.row, place.key, place.word) for place in found.places}
    assert places == {
        "cut": (1, "id 'b'", 0),
        "no_duration": (1, "id 'b'", 2),
        "past_end": (1, "id 'b'", 4),
        "beyond_end": (1, "id 'b'", 5),
    }


def test_what_is_in_the_way_of_the_new_column():
    schema = pa.schema({"words": pa.string(), "frames": pa.int32(), "text_tokens": pa.int8()})
    with pytest.raises(DataError) as caught:
        aligned_schema(schema, job())
    assert (caught.value.kind, caught.value.place.column) == ("column-in-the-way", "text_tokens")
    with pytest.raises(DataError, match="has the type double, expected an integer"):
        aligned_schema(pa.schema({"words": pa.string(), "frames": pa.float64()}), job())
    with pytest.raises(DataError, match="there is no column frames"):
        aligned_schema(pa.schema({"words": pa.string()}), job())
