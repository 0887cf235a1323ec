"""Words as plain values: `align_words`, and how words are read that are lists and dicts.

A word is {"word": "hello", "start": 0.1, "end": 0.4, "speaker": "SPEAKER_MAIN"}, with "text" or
"tokens" in place of "word", or ["hello", [0.1, 0.4], "SPEAKER_MAIN"], as moshi-finetune has it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any

import numpy as np
import numpy.typing as npt

from delaytool.errors import DataError
from delaytool.pattern.interleave import MAX_TOKEN, Interleaving, Words, interleave, ranges
from delaytool.pattern.pieces import Encode, encoder_of
from delaytool.pattern.segments import Array, Index
from delaytool.recipes.checks import ZERO_TOKEN, check_integer, shown

MAX_FRAMES = 2**28
"""The most frames of a row: more are no number of frames, but the memory of all who ask for it."""
_SHAPE = '{"word", "start", "end", "speaker"} or ["word", [start, end], "speaker"]'
_REPAIR = "repair the word, or leave it out"
_REPAIR_ROW = "repair the row, or leave it out"


def align_words(
    words: Iterable[Any] | None,
    frames: int,
    *,
    tokenizer: str | os.PathLike[str] | Callable[[str], Sequence[int]] | None = None,
    frame_rate: float = 12.5,
    text_padding: int = 3,
    text_end_padding: int = 0,
    in_word_padding: int | None = None,
    zero_token: int = ZERO_TOKEN,
    speaker: str | None = None,
    all_speakers: bool = False,
    turn_tokens: tuple[int, int] | None = None,
    keep_words: bool = False,
    audio_delay: float = 0.0,
) -> npt.NDArray[np.int32]:
    """Text tokens, one a frame, of words with times in seconds; int32 [frames].

    [{"tokens": [11, 12], "start": 0.1, "end": 0.3}], 4 -> [0, 11, 12, 3]

    words:     as this module's text says; None for no transcript, which gives zero tokens
    tokenizer: path of a SentencePiece model, or a function that makes token ids of a word, for
               words that are not tokens yet
    The other keywords are the fields of `Interleaving`, and the options of `delaytool align`.

    Raises DataError for words that cannot be read, RecipeError for what cannot be asked for.
    The rules are those of `Interleaver` in finetune/data/interleaver.py of moshi-finetune.
    """
    how = Interleaving(
        frame_rate=frame_rate,
        text_padding=text_padding,
        text_end_padding=text_end_padding,
        in_word_padding=in_word_padding,
        zero_token=zero_token,
        speaker=speaker,
        all_speakers=all_speakers,
        turn_tokens=turn_tokens,
        keep_words=keep_words,
        audio_delay=audio_delay,
    )
    check_integer(
        "frames", int(frames) if isinstance(frames, np.integer) else frames, 0, MAX_FRAMES
    )
    said = Said(prefers_text=tokenizer is not None)
    said.add(words)
    spelled, errors = said.spelled(None if tokenizer is None else encoder_of(tokenizer))
    for error in errors:
        raise error.at(row=None)
    return interleave(spelled, np.array([frames]), how).tokens


@dataclass(eq=False)
class Said:
    """Words of several rows, one row's after the other's.

    prefers_text: whether of a word with both its text is taken, not its tokens
    lengths:      words of each row, None for one without a transcript
    texts:        of each word: its text or its tokens
    """

    prefers_text: bool = False
    lengths: list[int | None] = field(default_factory=list)
    texts: list[str | tuple[int, ...]] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    speakers: list[str | None] = field(default_factory=list)

    def add(self, words: object) -> None:
        """Add a row; raises DataError, and adds nothing, where a word cannot be read."""
        if words is None:
            self.lengths.append(None)
            return
        if isinstance(words, (str, bytes, Mapping)) or not isinstance(words, Iterable):
            raise unlike_words(f"are {shown(words)}", "a list of words")
        words = list(words)
        columns = _columns(words)
        if columns is None:
            read = [self._read(number, word) for number, word in enumerate(words)]
            columns = list(zip(*read, strict=True)) or [()] * 4
        texts, starts, ends, speakers = columns
        self.lengths.append(len(words))
        self.texts += texts
        self.starts += starts
        self.ends += ends
        self.speakers += speakers

    def _read(self, number: int, word: Any) -> tuple[str | tuple[int, ...], float, float, Any]:
        """Text or tokens of a word, its times, and its speaker."""
        text: Any
        start: Any
        end: Any
        speaker: Any = None
        if isinstance(word, Mapping):
            names = ("word", "text", "tokens") if self.prefers_text else ("tokens", "word", "text")
            text = next((word[name] for name in names if word.get(name) is not None), None)
            start, end, speaker = word.get("start"), word.get("end"), word.get("speaker")
        else:
            try:
                text, (start, end), *others = word
                (speaker,) = others or (None,)
            except (TypeError, ValueError):
                raise misread(f"word {number} is {shown(word)}", _SHAPE) from None
        name = name_of_word(number, text)
        if not isinstance(text, str):
            text = _tokens(name, text)
        for part in (text, speaker):
            if isinstance(part, str) and not _is_unicode(part):
                raise misread(f"{name} has half of a surrogate pair", "characters of Unicode")
        for what, time in (("start", start), ("end", end)):
            if not _is_number(time):
                raise wrong_time(name, what, shown(time))
        if speaker is not None and not isinstance(speaker, str):
            raise misread(f"the speaker of {name} is {shown(speaker)}", "a name, or null")
        return text, start, end, speaker

    def spelled(self, encode: Encode | None) -> tuple[Words, list[DataError]]:
        """The same as flat arrays, and an error for each word that cannot be spelled, by row.

        Raises DataError where there are texts and no tokenizer.
        """
        numbers = {text: number for number, text in enumerate(dict.fromkeys(self.texts))}
        texts = [text for text in numbers if isinstance(text, str)]
        spelling = dict(zip(texts, encoded_by(encode, texts) if texts else (), strict=True))
        tokens = [spelling[x] if isinstance(x, str) else x for x in numbers]
        which = np.fromiter(map(numbers.__getitem__, self.texts), np.int64, len(self.texts))
        words = self._words(*spread(tokens, which))
        bad = np.array([each is None for each in tokens], dtype=bool)
        starts, rows, errors = np.cumsum(words.lengths) - words.lengths, words.rows, []
        for place in np.flatnonzero(bad[which]).tolist():
            row = int(rows[place])
            name = name_of_word(place - int(starts[row]), self.texts[place])
            errors.append(unspelled(name).at(row=row))
        return words, errors

    def _words(self, counts: Index, tokens: Array) -> Words:
        """The same as flat arrays, with so many tokens of each word."""
        numbers: dict[str | None, int] = dict.fromkeys(self.speakers, -1)
        names = [name for name in numbers if name is not None]
        numbers.update((name, number) for number, name in enumerate(names))
        return Words(
            lengths=np.array([length or 0 for length in self.lengths], dtype=np.int64),
            starts=np.array(self.starts, dtype=np.float64),
            ends=np.array(self.ends, dtype=np.float64),
            counts=counts,
            tokens=tokens,
            speakers=np.fromiter(map(numbers.__getitem__, self.speakers), np.int64),
            names=tuple(names),
            missing=np.array([length is None for length in self.lengths], dtype=bool),
        )


def spread(tokens: Sequence[Sequence[int] | None], which: Index) -> tuple[Index, Array]:
    """How many tokens each word has, and those of all words.

    tokens: of each of several texts; which: which of these texts each word is
    """
    counts = np.array([len(each or ()) for each in tokens], dtype=np.int64)
    flat = np.array([token for each in tokens for token in each or ()], dtype=np.int64)
    starts = np.cumsum(counts) - counts
    return counts[which], flat[ranges(starts[which], counts[which])]


def _columns(words: list[Any]) -> Sequence[Sequence[Any]] | None:
    """Texts, starts, ends and speakers of words that are all as moshi-finetune writes them.

    None where one is not, or cannot be read: then they are looked at one by one, in six times the
    time.
    """
    if not words or not set(map(type, words)) <= {list, tuple}:
        return None
    try:
        texts, times, speakers = zip(*words, strict=True)
        if not set(map(type, times)) <= {list, tuple}:
            return None
        starts, ends = zip(*times, strict=True)
        numbers = set(map(type, starts)) | set(map(type, ends))
        named = set(map(type, speakers)) <= {str, type(None)}
        if not numbers <= {int, float} or set(map(type, texts)) != {str} or not named:
            return None
        finite = all(map(math.isfinite, starts)) and all(map(math.isfinite, ends))
        written = _is_unicode("".join(texts)) and _is_unicode("".join(filter(None, speakers)))
    except (TypeError, ValueError, OverflowError):
        return None
    return (texts, starts, ends, speakers) if finite and written else None


def encoded_by(encode: Encode | None, words: Sequence[str]) -> Sequence[Sequence[int] | None]:
    """Token ids of each of the words; raises DataError where there is no tokenizer."""
    if encode is None:
        raise DataError(
            "no-tokenizer",
            f"the words are texts such as {words[0]!r}, and there is no tokenizer",
            expected="a tokenizer, or words that are tokens",
            advice="name a SentencePiece model with `tokenizer`",
        )
    return encode(words)


def _tokens(name: str, given: object) -> tuple[int, ...]:
    """The tokens of a word."""
    if isinstance(given, (str, bytes, Mapping)) or not isinstance(given, Iterable):
        raise misread(f"the text of {name} is {shown(given)}", "a text, or a list of tokens")
    tokens = tuple(given)
    for token in tokens:
        if not isinstance(token, Integral) or isinstance(token, bool) or not is_token(token):
            raise wrong_token(name, shown(token))
    return tuple(map(int, tokens))


def _is_number(value: Any) -> bool:
    try:
        return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False  # An integer that is larger than any float.


def _is_unicode(text: str) -> bool:
    """Whether a text can be written: JSON may have halves of surrogate pairs."""
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def name_of_word(number: int, text: object = None) -> str:
    """What a word is called in messages: word 3 ('hello')"""
    return f"word {number} ({text[:40]!r})" if isinstance(text, str) else f"word {number}"


def is_token(token: Any) -> bool:
    """Whether a number, or each of an array, can be a text token of whatever vocabulary."""
    return (token >= 0) & (token <= MAX_TOKEN)  # type: ignore[no-any-return]


def wrong_time(name: str, what: str, found: str) -> DataError:
    """The error for a word that begins or ends at no time."""
    return DataError(
        "word-time",
        f"the {what} of {name} is {found}",
        expected="a number of seconds",
        advice=_REPAIR,
    )


def wrong_token(name: str, found: str) -> DataError:
    """The error for a token that can be none."""
    return DataError(
        "token",
        f"a token of {name} is {found}",
        expected=f"an integer from 0 to {MAX_TOKEN}",
        advice=_REPAIR,
    )


def unlike_words(found: str, expected: str) -> DataError:
    """The error for what should be the words of a row, and is not."""
    return DataError("words", f"the words {found}", expected=expected, advice=_REPAIR_ROW)


def unspelled(name: str) -> DataError:
    """The error for a word that the tokenizer has no tokens for."""
    return DataError(
        "word",
        f"{name} has a line break, for which the tokenizer has no piece",
        expected="a word on one line",
        advice=_REPAIR,
    )


def misread(found: str, expected: str) -> DataError:
    """The error for a word, or words, of no shape that is read."""
    return DataError("word", found, expected=expected, advice=_REPAIR)
