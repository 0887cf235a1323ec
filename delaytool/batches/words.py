"""Columns of words with times: from Arrow to `Words`, and every row of which a word is bad.

A row is a list of structs, or a string with JSON as moshi-finetune's transcripts are: a list of
words as `pattern.words` reads them, bare or as `alignments` in an object.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from delaytool.batches.problems import Problems, first_problems
from delaytool.batches.types import (
    depth_of,
    is_list,
    list_lengths,
    null_positions,
    stored,
    type_name,
)
from delaytool.errors import DataError, Place
from delaytool.pattern.interleave import Words
from delaytool.pattern.pieces import Encode
from delaytool.pattern.segments import Index
from delaytool.pattern.words import (
    Said,
    encoded_by,
    is_token,
    misread,
    name_of_word,
    spread,
    unlike_words,
    unspelled,
    wrong_time,
    wrong_token,
)

SHAPES = (
    "list<struct<word or text: string, start: number, end: number, speaker: string>>, "
    "with tokens: list<integer> in place of word, and speaker only where there are several, "
    "or a string with the JSON of moshi-finetune"
)
"""The types of columns of words that are read."""


@dataclass(frozen=True)
class WordsType:
    """What a column of words is, by its type: fields of its structs, or JSON where there are none.

    text:    the field of texts, tokens: that of tokens; None where words have none
    speaker: that of speakers, where they have any
    """

    text: str | None = None
    tokens: str | None = None
    speaker: str | None = None
    is_json: bool = False

    def with_tokenizer(self, has_tokenizer: bool) -> WordsType:
        """The same with one of text and tokens: where there are both, that which is to be read."""
        if self.text is None or self.tokens is None:
            return self
        text, tokens = (self.text, None) if has_tokenizer else (None, self.tokens)
        return WordsType(text, tokens, self.speaker)


def words_type(field: pa.Field) -> WordsType:
    """What a column of words is; raises DataError where its type is none of those that are read."""
    kind = field.type
    if _is_text(kind) or pa.types.is_null(kind):
        return WordsType(is_json=True)
    depth, leaf = depth_of(kind)
    if depth == 1 and pa.types.is_null(leaf):
        return WordsType(tokens="tokens")
    fields = {part.name: part.type for part in leaf} if pa.types.is_struct(leaf) else {}
    text = next((name for name in ("word", "text") if _is_text(fields.get(name))), None)
    tokens = "tokens" if _is_tokens(fields.get("tokens")) else None
    timed = all(_is_number(fields.get(name)) for name in ("start", "end"))
    named = "speaker" not in fields or _is_text(fields["speaker"], null=True)
    if depth != 1 or not timed or not named or (text is None and tokens is None):
        raise DataError(
            "column-type",
            f"has the type {type_name(kind)}",
            expected=SHAPES,
            advice="name another column with `words_column`, or store the words like this",
            place=Place(column=field.name),
        )
    return WordsType(text, tokens, "speaker" if "speaker" in fields else None)


def _is_text(kind: pa.DataType | None, null: bool = False) -> bool:
    if kind is None:
        return False
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    texts = pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view
    return any(test(kind) for test in texts) or (null and pa.types.is_null(kind))


def _is_tokens(kind: pa.DataType | None) -> bool:
    if kind is None or not is_list(kind):
        return False
    return bool(pa.types.is_integer(kind.value_type) or pa.types.is_null(kind.value_type))


def _is_number(kind: pa.DataType | None) -> bool:
    tests = pa.types.is_floating, pa.types.is_integer, pa.types.is_decimal
    return kind is not None and any(test(kind) for test in tests)


def read_words(array: pa.Array, encode: Encode | None) -> tuple[Words | None, Problems]:
    """The words of a column (None if a row is bad), and the first problem of each bad row.

    encode: makes tokens of texts; None where there is no tokenizer
    Raises DataError where there are texts and no tokenizer.
    """
    array = stored(array)
    kind = words_type(pa.field("", array.type)).with_tokenizer(encode is not None)
    if kind.is_json:
        return _read_json(array, encode)
    column = _Column(array, kind)
    errors = list(column.problems(encode))
    return (None if errors else column.words()), first_problems(errors)


def speakers_in(array: pa.Array) -> set[str]:
    """The speakers that a column of words names; what cannot be read names none."""
    array = stored(array)
    kind = words_type(pa.field("", array.type))
    if kind.is_json:
        names: set[Any] = set()
        for text in _texts(array).to_pylist():
            said, _ = _said([text], prefers_text=True)
            names |= set(said.speakers)
        return names - {None}
    if kind.speaker is None:
        return set()
    return set(pc.unique(_texts(array.flatten().field(kind.speaker))).to_pylist()) - {None}


def _texts(array: pa.Array) -> pa.Array:
    """Texts as large strings, whatever strings they are."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    return array.cast(pa.large_string())


def _said(rows: Sequence[str | None], prefers_text: bool) -> tuple[Said, list[DataError]]:
    """The words of rows of JSON, and what is wrong with rows, which then add nothing."""
    said, errors = Said(prefers_text), []
    for row, text in enumerate(rows):
        try:
            said.add(None if text is None else loaded(text))
        except DataError as error:
            errors.append(error.at(row=row))
    return said, errors


def loaded(text: str) -> Any:
    """The words in a row's JSON; raises DataError where there are none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise unlike_words(f"are no JSON: {str(error)[:100]}", "a list of words") from None
    if not isinstance(value, dict):
        return value
    if "alignments" not in value:
        names = ", ".join(list(value)[:10]) or "nothing"
        raise unlike_words(f"are an object of {names}", "one with alignments")
    return value["alignments"]


def _read_json(array: pa.Array, encode: Encode | None) -> tuple[Words | None, Problems]:
    said, errors = _said(_texts(array).to_pylist(), encode is not None)
    if not errors:
        words, errors = said.spelled(encode)
    return (None if errors else words), first_problems(errors)


class _Column:
    """A column of lists of structs."""

    def __init__(self, array: pa.Array, kind: WordsType) -> None:
        self.lengths = list_lengths(array)
        self.ends = np.cumsum(self.lengths)
        self.missing = np.zeros(len(array), dtype=bool)
        self.missing[null_positions(array)] = True
        self.structs = array.flatten()
        self.kind = kind
        if pa.types.is_null(self.structs.type):
            # Lists of nothing but nulls, or of nothing at all.
            times = [(name, pa.float64()) for name in ("start", "end")]
            kind_of_all = pa.struct([*times, ("tokens", pa.list_(pa.int32()))])
            self.structs = pa.nulls(len(self.structs), kind_of_all)
        self.times = {name: self._times(name) for name in ("start", "end")}
        self.counts, self.tokens = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)

    def words(self) -> Words:
        """The words, once there are no problems."""
        speakers, names = np.full(len(self.structs), -1, dtype=np.int64), ()
        if self.kind.speaker is not None:
            coded = _texts(self.structs.field(self.kind.speaker)).dictionary_encode()
            speakers = coded.indices.fill_null(-1).to_numpy().astype(np.int64)
            names = tuple(coded.dictionary.to_pylist())
        times = (self.times["start"], self.times["end"])
        return Words(self.lengths, *times, self.counts, self.tokens, speakers, names, self.missing)

    def problems(self, encode: Encode | None) -> Iterator[DataError]:
        """What is wrong with words, one of each row in each way; texts become tokens on the way."""
        # What is said of a row must not depend on the rows around it, so checks go in turn.
        for word, at in self._firsts(null_positions(self.structs)):
            yield misread(f"{self._name(word)} is null", "a word").at(row=at)
        for what, times in self.times.items():
            for word, at in self._firsts(np.flatnonzero(~np.isfinite(times))):
                found = self.structs.field(what)[word].as_py()
                shown = "null" if found is None else f"{found}"
                yield wrong_time(self._name(word), what, shown).at(row=at)
        yield from self._spell(encode) if self.kind.tokens is None else self._read_tokens()

    def _spell(self, encode: Encode | None) -> Iterator[DataError]:
        """Make tokens of texts: each of those that differ once."""
        coded = _texts(self.structs.field(self.kind.text)).dictionary_encode()
        for word, at in self._firsts(null_positions(coded)):
            yield misread(f"the text of {self._name(word)} is null", "a text").at(row=at)
        distinct = coded.dictionary.to_pylist()
        if not distinct:
            self.counts = np.zeros(len(coded), dtype=np.int64)
            return
        tokens = encoded_by(encode, distinct)
        texts = coded.indices.fill_null(0).to_numpy().astype(np.int64)
        bad = np.array([each is None for each in tokens])
        for word, at in self._firsts(np.flatnonzero(bad[texts])):
            yield unspelled(self._name(word)).at(row=at)
        self.counts, self.tokens = spread(tokens, texts)

    def _read_tokens(self) -> Iterator[DataError]:
        """Take tokens as they are."""
        lists = self.structs.field(self.kind.tokens)
        for word, at in self._firsts(null_positions(lists)):
            yield misread(f"the tokens of {self._name(word)} are null", "a list").at(row=at)
        values = lists.flatten()
        self.counts = list_lengths(lists)
        self.tokens = values.cast(pa.int64(), safe=False).fill_null(-1).to_numpy()
        ends = np.cumsum(self.counts)
        places = np.flatnonzero(~is_token(self.tokens))
        words, firsts = np.unique(np.searchsorted(ends, places, "right"), return_index=True)
        found = dict(zip(words.tolist(), places[firsts].tolist(), strict=True))
        for word, at in self._firsts(words):
            token = values[found[word]].as_py()
            yield wrong_token(self._name(word), "null" if token is None else f"{token}").at(row=at)

    def _times(self, name: str) -> Any:
        """Times of words as float64, nan where there is none."""
        times = self.structs.field(name).cast(pa.float64(), safe=False)
        return times.fill_null(np.nan).to_numpy()

    def _firsts(self, words: Sequence[int] | Index) -> list[tuple[int, int]]:
        """The first of these words in each row, and the row."""
        rows = np.searchsorted(self.ends, np.asarray(words, dtype=np.int64), side="right")
        rows, firsts = np.unique(rows, return_index=True)
        return [(int(words[first]), int(row)) for first, row in zip(firsts, rows, strict=True)]

    def _name(self, word: int) -> str:
        row = int(np.searchsorted(self.ends, word, side="right"))
        number = word - int(self.ends[row] - self.lengths[row])
        if self.kind.text is None or not self.structs[word].is_valid:
            return name_of_word(number)
        return name_of_word(number, self.structs.field(self.kind.text)[word].as_py())
