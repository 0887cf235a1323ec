"""Words of whole shards: what is written, left alone, quarantined, in the way; records."""

import hashlib
import json
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from make import entry_of, files_in, finish, rewrite, sentencepiece_model, tokens_table

from delaytool import DataError, RecipeError, align, align_words, apply, load_preset
from delaytool.errors import Place
from delaytool.jobs.align import AlignShard, AlignWork, check_words
from delaytool.jobs.paths import Item
from delaytool.recipes.adapt import with_text
from delaytool.recipes.presets import plain_recipe
from delaytool.shards.align_record import AlignRecord
from delaytool.shards.bounded import MAX_CELLS
from delaytool.shards.find import Shard
from delaytool.shards.pairs import open_source

ENTRY = "delaytool-align"


def word(start, end, tokens, speaker="SPEAKER_MAIN"):
    return {"tokens": tokens, "start": start, "end": end, "speaker": speaker}


def words_table(rows=6, first=0, **columns):
    """A table of words and codes: row n has n + 2 words in n + 5 frames."""
    numbers = range(first, first + rows)
    words = [[word(0.08 * w, 0.08 * w + 0.2, [10 + w, n]) for w in range(n + 2)] for n in numbers]
    codes = [[[n] * (n + 5)] * 3 for n in numbers]
    made = {
        "id": [f"utt-{n}" for n in numbers],
        "words": words,
        "audio_codes": pa.array(codes, pa.list_(pa.list_(pa.int16()))),
        "note": [None if n % 2 else "even" for n in numbers],
    }
    return pa.table({**made, **columns})


def expected_of(table, **how):
    return [
        align_words(row["words"], len(row["audio_codes"][0]), **how).tolist()
        for row in table.to_pylist()
    ]


@pytest.fixture
def data(tmp_path):
    """A folder with two shards of words."""
    (tmp_path / "data" / "more").mkdir(parents=True)
    pq.write_table(words_table(), tmp_path / "data" / "a.parquet")
    pq.write_table(words_table(3, 9), tmp_path / "data" / "more" / "b.parquet")
    return tmp_path / "data"


@pytest.mark.parametrize("workers", [None, 2])
def test_the_same_shards_with_a_column_of_tokens(data, tmp_path, workers):
    result = align(data, tmp_path / "out", workers=workers, keep_words=True)
    for name in ("a.parquet", "more/b.parquet"):
        table = pq.read_table(data / name)
        out = pq.read_table(tmp_path / "out" / name)
        assert out.column_names == [*table.column_names, "text_tokens"]
        assert out.drop_columns(["text_tokens"]).equals(table)
        assert out.schema.field("text_tokens").type == pa.list_(pa.int32())
        assert out["text_tokens"].to_pylist() == expected_of(table, keep_words=True)
    assert (result.shards, result.written, result.rows) == (2, 2, 9)
    assert result.words == sum(n + 2 for n in (*range(6), 9, 10, 11))
    assert result.to_dict()["frames"] == sum(n + 5 for n in (*range(6), 9, 10, 11))


def test_aligned_shards_are_shifted_as_any_others(data, tmp_path):
    align(data, tmp_path / "aligned")
    recipe = load_preset("moshi")
    codes = pa.array([[[1] * (n + 5)] * 16 for n in range(6)])
    pq.write_table(words_table(audio_codes=codes), data / "a.parquet")
    result = align(data / "a.parquet", tmp_path / "a.parquet")
    assert result.frames == 45
    done = apply(tmp_path / "a.parquet", tmp_path / "shifted.parquet", recipe)
    assert done.rows == 6
    # What made the text stays with it.
    assert entry_of(tmp_path / "shifted.parquet", ENTRY) == entry_of(tmp_path / "a.parquet", ENTRY)


def test_a_run_again_leaves_alone_what_is_there(data, tmp_path):
    align(data, tmp_path / "out")
    before = files_in(tmp_path / "out")
    again = align(data, tmp_path / "out")
    assert (again.written, again.unchanged, again.rows) == (0, 2, 9)
    assert files_in(tmp_path / "out") == before
    (tmp_path / "out" / "a.parquet").unlink()
    # What is as by default may be named.
    named = {"speaker": "SPEAKER_MAIN", "in_word_padding": 3}
    assert align(data, tmp_path / "out", workers=2, **named).written == 1
    assert files_in(tmp_path / "out") == before


@pytest.mark.parametrize("change", ["job", "source", "shifted", "foreign", "quarantine"])
def test_what_is_in_the_way_is_not_replaced(data, tmp_path, change):
    target = tmp_path / "out" / "a.parquet"
    align(data, tmp_path / "out")
    how = {}
    if change == "job":
        how = {"audio_delay": 0.5}
    elif change == "source":
        pq.write_table(words_table(note=["new"] * 6), data / "a.parquet")
    elif change == "foreign":
        pq.write_table(words_table(), target)
    else:
        # Whatever is made of an aligned shard keeps its entry.
        name = "delaytool" if change == "shifted" else "delaytool-quarantine"
        table, entry = pq.read_table(target), entry_of(target, ENTRY)
        with pq.ParquetWriter(target, table.schema) as writer:
            writer.write_table(table)
            writer.add_key_value_metadata({name: b"{}", ENTRY: entry})
    before = files_in(tmp_path / "out")
    with pytest.raises(DataError) as caught:
        align(data, tmp_path / "out", **how)
    assert caught.value.kind == "output-in-the-way"
    assert files_in(tmp_path / "out") == before
    if change in ("job", "source"):
        assert align(data, tmp_path / "out", overwrite=True, **how).written >= 1


def spoiled(table, rows=(2,)):
    words = table["words"].to_pylist()
    for row in rows:
        words[row][0]["start"] = None
    number = table.column_names.index("words")
    return table.set_column(number, "words", pa.array(words, table["words"].type))


def test_bad_rows_go_to_quarantine_and_come_back(data, tmp_path):
    pq.write_table(spoiled(words_table(), (2, 3)), data / "a.parquet")
    with pytest.raises(DataError) as caught:
        align(data, tmp_path / "out")
    error = caught.value
    assert (error.kind, error.found) == ("word-time", "the start of word 0 is null")
    assert error.place == Place("a.parquet", 2, "id 'utt-2'", "words")
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").rglob("a.parquet"))
    bad = tmp_path / "bad"
    result = align(data, tmp_path / "out", quarantine=bad)
    assert (result.rows, result.quarantined) == (7, 2)
    assert [(r.kind, r.column, r.rows) for r in result.reasons] == [("word-time", "words", 2)]
    table = pq.read_table(bad / "a.parquet")
    assert table["id"].to_pylist() == ["utt-2", "utt-3"]
    assert "the start of word 0 is null" in table["reason"][0].as_py()
    before = files_in(tmp_path)
    assert align(data, tmp_path / "out", quarantine=bad).unchanged == 2
    assert files_in(tmp_path) == before
    (bad / "a.parquet").unlink()
    assert align(data, tmp_path / "out", quarantine=bad).written == 1
    assert files_in(tmp_path) == before
    # Repaired rows are data again, without their reasons.
    rows = words_table().slice(2, 2).append_column("reason", table["reason"])
    rewrite(
        bad / "a.parquet",
        rows,
        entry_of(bad / "a.parquet", "delaytool-quarantine"),
        "delaytool-quarantine",
    )
    align(bad, tmp_path / "repaired")
    repaired = pq.read_table(tmp_path / "repaired" / "a.parquet")
    assert repaired.column_names == ["id", "words", "audio_codes", "note", "text_tokens"]
    assert repaired["text_tokens"].to_pylist() == expected_of(words_table().slice(2, 2))
    # Below the input they are left out.
    (data / "bad").mkdir()
    (bad / "a.parquet").rename(data / "bad" / "a.parquet")
    notes = align(data, tmp_path / "third", quarantine=tmp_path / "other").notes
    assert any("quarantined rows" in note for note in notes)


@pytest.mark.parametrize("wrong", ["layout", "words"])
def test_rows_that_mostly_do_not_fit_are_no_quarantine(data, tmp_path, wrong):
    keywords = {"audio_layout": "frame"}
    if wrong == "words":
        pq.write_table(words_table(words=["hello there"] * 6), data / "a.parquet")
        keywords = {}
    with pytest.raises(DataError) as caught:
        align(data / "a.parquet", tmp_path / "out", quarantine=tmp_path / "bad", **keywords)
    error = caught.value
    assert error.kind == "layout-misfits"
    assert error.place.column == ("words" if wrong == "words" else "audio_codes")
    assert ("`words_column`" if wrong == "words" else "`audio_layout`") in error.advice
    assert not (tmp_path / "bad").exists()


def test_codes_in_shards_of_their_own_come_into_the_output(tmp_path):
    table = words_table()
    pq.write_table(table.drop_columns(["audio_codes"]), tmp_path / "words.parquet")
    pq.write_table(table.select(["id", "audio_codes"]), tmp_path / "codes.parquet")
    out = tmp_path / "out.parquet"
    align(tmp_path / "words.parquet", out, audio_input=tmp_path / "codes.parquet")
    assert pq.read_table(out)["text_tokens"].to_pylist() == expected_of(table)
    assert pq.read_table(out)["audio_codes"].equals(table["audio_codes"])


@pytest.mark.parametrize(
    ("columns", "keywords"),
    [
        ({"audio_codes": None, "n": range(5, 11)}, {"frames_column": "n"}),
        (
            {"audio_codes": None, "codes_0": "flat", "codes_1": "flat"},
            {"audio_column": "codes_{q}"},
        ),
        ({"audio_codes": "frame"}, {"audio_layout": "frame"}),
        ({"audio_codes": "frame"}, {}),
    ],
)
def test_frames_from_whatever_says_them(tmp_path, columns, keywords):
    table = words_table()
    expected = expected_of(table)
    codes = table["audio_codes"].to_pylist()
    kinds = {
        "flat": [books[0] for books in codes],
        "frame": [[list(frame) for frame in zip(*books, strict=True)] for books in codes],
    }
    for name, kind in columns.items():
        if name in table.column_names:
            table = table.drop_columns([name])
        if kind is not None:
            table = table.append_column(
                name, pa.array(kinds.get(kind) if isinstance(kind, str) else kind)
            )
    pq.write_table(table, tmp_path / "a.parquet")
    align(tmp_path / "a.parquet", tmp_path / "out.parquet", **keywords)
    assert pq.read_table(tmp_path / "out.parquet")["text_tokens"].to_pylist() == expected


@pytest.mark.parametrize(
    ("codes", "kind", "advice"),
    [
        ([[1] * 6] * 6, "no-layout", "`frames_column`"),
        ([[[1] * 3] * 3] * 6, "several-layouts", "`audio_layout"),
        (None, "missing-column", "`frames_column`"),
    ],
)
def test_codes_that_do_not_say_the_frames(tmp_path, codes, kind, advice):
    table = words_table().drop_columns(["audio_codes"])
    if codes is not None:
        table = table.append_column("audio_codes", pa.array(codes))
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DataError) as caught:
        align(tmp_path / "a.parquet", tmp_path / "out.parquet")
    assert caught.value.kind == kind
    assert advice in caught.value.advice


@pytest.mark.parametrize("layout", ["codebook", "frame"])
def test_words_tell_the_layout_where_shapes_do_not(tmp_path, layout):
    """Rows of one shape: in one reading they have 3 frames, in which most words would not begin."""
    words = words_table()["words"].to_pylist()
    shape = (3, 9) if layout == "codebook" else (9, 3)
    codes = [[[1] * shape[1]] * shape[0]] * 6
    table = words_table(audio_codes=pa.array(codes))
    pq.write_table(table, tmp_path / "a.parquet")
    align(tmp_path / "a.parquet", tmp_path / "out.parquet")
    found = pq.read_table(tmp_path / "out.parquet")["text_tokens"].to_pylist()
    assert found == [align_words(row, 9).tolist() for row in words]
    # Words that fit both readings, or none, tell nothing.
    for start in (0.0, 60.0):
        same = pa.array([[word(start, start + 0.1, [5])]] * 6)
        pq.write_table(words_table(words=same, audio_codes=pa.array(codes)), tmp_path / "a.parquet")
        with pytest.raises(DataError) as caught:
            align(tmp_path / "a.parquet", tmp_path / "other.parquet")
        assert caught.value.kind == "several-layouts"
        assert "`audio_layout=" in caught.value.advice
        assert "`frames_column`" in caught.value.advice


def test_a_row_without_codes_or_with_other_codebooks_is_bad(tmp_path):
    codes = words_table()["audio_codes"].to_pylist()
    codes[1], codes[4] = None, codes[4][:2]
    table = words_table(audio_codes=pa.array(codes))
    pq.write_table(table, tmp_path / "a.parquet")
    paths = tmp_path / "a.parquet", tmp_path / "out.parquet"
    assert align(*paths, quarantine=tmp_path / "bad").quarantined == 2
    reasons = pq.read_table(tmp_path / "bad" / "a.parquet")["reason"].to_pylist()
    assert "a null row" in reasons[0]
    assert "2 codebooks, expected 3, as in the first rows" in reasons[1]


def test_a_second_text_column_and_what_both_were_made_with(data, tmp_path):
    align(data, tmp_path / "one", audio_delay=1.28)
    other = {"text_column": "other", "all_speakers": True, "turn_tokens": (1, 2)}
    align(tmp_path / "one", tmp_path / "two", **other)
    table = pq.read_table(tmp_path / "two" / "a.parquet")
    assert table["text_tokens"].to_pylist() == expected_of(words_table(), audio_delay=1.28)
    del other["text_column"]
    assert table["other"].to_pylist() == expected_of(words_table(), **other)
    record = AlignRecord.from_json(entry_of(tmp_path / "two" / "a.parquet", ENTRY))
    assert [job.how.audio_delay for job in record.jobs] == [0.0, 1.28]
    assert record.job.how.turn_tokens == (1, 2)


@pytest.mark.parametrize("delay", [0.0, 1.28, -0.5])
@pytest.mark.parametrize("twice", [False, True])
def test_a_delay_is_not_applied_twice(data, tmp_path, delay, twice):
    align(data / "a.parquet", tmp_path / "one" / "a.parquet", audio_delay=delay)
    last = tmp_path / "one"
    if twice:
        # Another column of text on top, without a delay, does not hide that of the first.
        align(last, tmp_path / "two", text_column="other")
        last = tmp_path / "two"
    recipe = plain_recipe(3, (0, 0, 1, 1))
    streams = tuple(replace(s, offset=2 * (s.kind != "text")) for s in recipe.streams)
    apply(last, tmp_path / "plain", recipe)
    delayed = replace(recipe, streams=streams)
    if not delay:
        apply(last, tmp_path / "offset", delayed)
        return
    with pytest.raises(DataError) as caught:
        apply(last, tmp_path / "offset", delayed)
    assert caught.value.kind == "audio-delay"
    assert f"an audio delay of {delay:g} s" in caught.value.found
    assert not (tmp_path / "offset").exists()


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("column", ["tokens", "words", "json"])
def test_apply_names_the_word_of_a_token_beyond_the_vocabulary(tmp_path, model, column, keep):
    """Exactly where words are tokens, by the time where nobody knows how many each has."""
    big = 39_999
    words = [word(0.0, 0.3, [1, 2]), word(0.1, 0.2, [3, 3]), word(0.5, 0.9, [4, big, 5])]
    keywords = {}
    if column != "tokens":
        # A model of few pieces has none beyond the vocabulary of 5 that the recipe is to have.
        words = [{**w, "word": text} for w, text in zip(words, ("the", "fox", "dog"), strict=True)]
        if column == "json":
            words = json.dumps([[w["word"], [w["start"], w["end"]], w["speaker"]] for w in words])
        keywords["tokenizer"] = model
    codes = pa.array([[[1] * 20] * 3] * 2)
    table = pa.table(
        {
            "id": ["a", "b"],
            "words": [words[:0] if column != "json" else "[]", words],
            "audio_codes": codes,
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    align(tmp_path / "a.parquet", tmp_path / "b" / "a.parquet", keep_words=keep, **keywords)
    text = pq.read_table(tmp_path / "b" / "a.parquet")["text_tokens"][1].as_py()
    card = 30_000 if column == "tokens" else max(text)
    recipe = with_text(plain_recipe(3, (0, 0, 1, 1)), card=card)
    with pytest.raises(DataError) as caught:
        apply(tmp_path / "b", tmp_path / "c", recipe)
    frame = text.index(max(text))
    named = {0.0: "word 0 ('the')", 0.1: "word 1 ('fox')", 0.5: "word 2 ('dog')"}
    newest = named[max(start for start in named if start * 12.5 < frame + 1)]
    of = {"tokens": ", of word 2"}.get(column, "" if keep else f", of {newest}")
    assert caught.value.found == f"token {max(text)}{of}"
    assert caught.value.place.timestep == frame
    assert caught.value.place.row == 1
    apply(tmp_path / "b", tmp_path / "d", recipe, quarantine=tmp_path / "bad")
    (reason,) = pq.read_table(tmp_path / "bad" / "a.parquet")["reason"].to_pylist()
    assert f"token {max(text)}{of}, expected" in reason


def test_a_speaker_whom_nobody_is(data, tmp_path):
    words = words_table()["words"].to_pylist()
    words[1][0]["speaker"] = words[2][0]["speaker"] = "anna"
    pq.write_table(words_table(words=words), data / "a.parquet")
    with pytest.raises(DataError) as caught:
        align(data, tmp_path / "out", speaker="Bert")
    error = caught.value
    assert error.kind == "no-such-speaker"
    assert "of the first 9 rows is of speaker Bert; there are SPEAKER_MAIN, anna" in error.found
    assert not (tmp_path / "out").exists()
    assert align(data, tmp_path / "out", speaker="anna").other_speakers > 10
    assert align(data, tmp_path / "all", speaker="Bert", all_speakers=True).other_speakers == 0
    unnamed = [[{**w, "speaker": None} for w in row] for row in words]
    kind = words_table()["words"].type
    pq.write_table(words_table(words=pa.array(unnamed, kind)), data / "a.parquet")
    assert align(data / "a.parquet", tmp_path / "x.parquet").other_speakers == 0


def test_speakers_beyond_the_first_thousand_rows_are_not_looked_for(tmp_path):
    table = words_table(3, words=[[word(0, 1, [5], "anna")]] * 3)
    many = pa.concat_tables([table] * 400)
    pq.write_table(many, tmp_path / "a.parquet", row_group_size=100)
    with pytest.raises(DataError, match="of the first 1,000 rows is of speaker SPEAKER_MAIN"):
        align(tmp_path / "a.parquet", tmp_path / "out.parquet")


@pytest.fixture
def model(tmp_path):
    """A small SentencePiece model."""
    (tmp_path / "words.model").write_bytes(sentencepiece_model())
    return tmp_path / "words.model"


@pytest.mark.parametrize("workers", [None, 2])
@pytest.mark.parametrize("as_json", [False, True])
def test_words_by_a_tokenizer(tmp_path, model, workers, as_json):
    texts = ["the", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog"]
    rows = [
        [{"word": f" {texts[(n + w) % 9]}", "start": 0.4 * w, "end": 0.4 * w + 0.3}
         for w in range(n)]
        for n in range(6)
    ]  # fmt: skip
    words = rows
    if as_json:
        words = [json.dumps([[w["word"], [w["start"], w["end"]], None] for w in r]) for r in rows]
    table = words_table(words=words)
    pq.write_table(table, tmp_path / "a.parquet")
    paths = tmp_path / "a.parquet", tmp_path / "out.parquet"
    with pytest.raises(DataError) as caught:
        align(*paths)
    assert caught.value.kind == "no-tokenizer"
    assert "`tokenizer`" in caught.value.advice
    align(*paths, tokenizer=model, workers=workers)
    found = pq.read_table(tmp_path / "out.parquet")["text_tokens"].to_pylist()
    assert found == [
        align_words(row, n + 5, tokenizer=model).tolist() for n, row in enumerate(rows)
    ]
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    assert json.loads(entry_of(paths[1], ENTRY))["job"]["tokenizer"] == digest
    # The same model elsewhere is the same; another one is not.
    (tmp_path / "copy.model").write_bytes(model.read_bytes())
    assert align(*paths, tokenizer=tmp_path / "copy.model").unchanged == 1


def test_tokenizers_that_cannot_be(data, tmp_path):
    (tmp_path / "x").write_text("no model")
    words = [[{"word": "hi", "start": 0.0, "end": 1.0}]] * 6
    pq.write_table(words_table(words=words), data / "a.parquet")
    with pytest.raises(RecipeError, match="is not a SentencePiece model"):
        align(data / "a.parquet", tmp_path / "out.parquet", tokenizer=tmp_path / "x")
    with pytest.raises(RecipeError, match="`tokenizer` .*nothing: No such file"):
        align(data / "a.parquet", tmp_path / "out.parquet", tokenizer=tmp_path / "nothing")


@pytest.mark.parametrize(
    "keywords",
    [
        {"frames_column": "n", "audio_column": "other"},
        {"frames_column": "n", "audio_layout": "frame"},
        {"key": "id", "no_key": True},
        {"turn_tokens": (1, 2)},
        {"workers": 0},
    ],
)
def test_what_cannot_be_asked_for(data, tmp_path, keywords):
    with pytest.raises(RecipeError):
        align(data, tmp_path / "out", **keywords)
    assert not (tmp_path / "out").exists()


def test_shards_that_are_shifted_or_hold_no_words(data, tmp_path):
    pq.write_table(tokens_table(), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="there is no column words"):
        align(tmp_path / "t.parquet", tmp_path / "out")
    rewrite(data / "a.parquet", words_table(), b"{}")
    with pytest.raises(DataError) as caught:
        align(data, tmp_path / "out")
    assert caught.value.kind == "shifted-already"


@pytest.mark.parametrize("spoil", ["format", "counts", "text", "job", "extra"])
def test_a_record_that_cannot_be(data, tmp_path, spoil):
    align(data, tmp_path / "out")
    entry = entry_of(tmp_path / "out" / "a.parquet", ENTRY)
    record = AlignRecord.from_json(entry)
    assert record.to_json().encode() == entry
    fields = json.loads(entry)
    if spoil == "text":
        with pytest.raises(DataError, match="the delaytool-align entry in the footer is not JSON"):
            AlignRecord.from_json(entry[:-5])
        return
    del fields["checksum"]
    if spoil == "format":
        fields["format"] = 99
    elif spoil == "counts":
        fields["counts"]["rows_in"] = "many"
    elif spoil == "job":
        fields["job"]["how"]["frame_rate"] = 0
    else:
        fields["job"]["mood"] = "sunny"
    text = json.dumps(fields, separators=(",", ":"))
    checksum = hashlib.sha256(text.encode()).hexdigest()
    signed = json.dumps({**fields, "checksum": checksum}, separators=(",", ":")).encode()
    with pytest.raises(DataError) as caught:
        AlignRecord.from_json(signed)
    assert caught.value.kind == ("record-format" if spoil == "format" else "record")


def test_where_batches_end_decides_nothing(tmp_path, monkeypatch):
    table = pa.concat_tables([words_table()] * 20)
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=7)
    align(tmp_path / "a.parquet", tmp_path / "whole.parquet")
    monkeypatch.setattr("delaytool.shards.bounded.MAX_CELLS", 100)
    align(tmp_path / "a.parquet", tmp_path / "parts.parquet")
    whole, parts = (tmp_path / f"{name}.parquet" for name in ("whole", "parts"))
    assert parts.read_bytes() == whole.read_bytes()


def test_a_killed_run_leaves_nothing_under_the_name(data, tmp_path):
    from delaytool.batches.align_job import AlignJob
    from delaytool.pattern.interleave import Interleaving

    job = AlignJob("words", "text_tokens", Interleaving(), (), "n")
    table = words_table(n=list(range(5, 11)))
    pq.write_table(table, data / "a.parquet")
    target = tmp_path / "out" / "a.parquet"
    task = AlignShard(Item(Shard("a.parquet", str(data / "a.parquet")), None, str(target)), job)
    steps = task.run()
    next(steps)
    assert not target.exists()
    steps.close()
    task.abandon()
    assert not list(tmp_path.glob("out/*"))
    assert finish(task.run()).written
    assert pq.read_table(target)["text_tokens"].to_pylist() == expected_of(table)


def test_frame_numbers_are_as_the_batch_needs_them(tmp_path):
    """A row of few bytes may have many frames: it is its frames that a batch is bounded by."""
    from delaytool.batches.align_job import AlignJob
    from delaytool.pattern.interleave import Interleaving

    rows = pa.table({"words": [[word(0, 1, [5])]] * 6, "n": [MAX_CELLS // 2] * 6})
    pq.write_table(rows, tmp_path / "a.parquet")
    job = AlignJob("words", "text_tokens", Interleaving(), (), "n")
    with open_source(Shard("a.parquet", str(tmp_path / "a.parquet")), None, job.keys) as source:
        work = AlignWork(source, job, check_words(source, job, False), False)
        assert [batch.num_rows for batch, _, _ in work.batches()] == [2, 2, 2]
