"""Places the tokens of words on frames, as the `Interleaver` of kyutai-labs/moshi-finetune does.

From the frame in which a word begins on, each frame holds one of its tokens, until the next word
begins or they have run out; all other frames hold padding:

    words    [11, 12] from 0.1 s, [21, 22, 23] from 0.4 s, [31] from 0.5 s, 12.5 frames a second
    frames    0   1   2   3   4   5   6   7   8
    tokens   EPAD 11  12 PAD EPAD 21  31 PAD PAD

EPAD is the last padding before a token. All of it is done for many rows at once, in flat arrays.
The peer's code: finetune/data/interleaver.py, `prepare_item` and `build_token_stream`.
"""

from __future__ import annotations

import dataclasses
import enum
from dataclasses import dataclass
from typing import Any

import numpy as np

from delaytool.errors import RecipeError
from delaytool.pattern.segments import Array, Index
from delaytool.recipes.checks import MIN_FILL, ZERO_TOKEN, check_flag, check_integer, shown

MAIN_SPEAKER = "SPEAKER_MAIN"
"""What moshi-finetune calls the speaker that the model is to be."""
MAX_TOKEN = 2**31 - 1
"""Text tokens are int32."""
_NOBODY = -2
"""The number of a main speaker whom no word names."""


@dataclass(frozen=True)
class Interleaving:
    """How words become tokens on frames.

    frame_rate:       frames a second
    text_padding:     token of frames without a token; text_end_padding: of the last one before one
    in_word_padding:  token of frames without a token up to the end of a word; None for padding
    zero_token:       token of rows without a transcript, and of frames before delayed text
    speaker:          the main speaker, whose words alone are kept; None for SPEAKER_MAIN. In rows
                      of which no word names a speaker all are kept
    all_speakers:     whether words of the others are kept too
    turn_tokens:      BOS, put before the first word of each turn of the main speaker, and EOS, put
                      before that of another one who follows; None for neither
    keep_words:       whether a word waits until the one before has placed all of its tokens, and
                      does not discard what is left of them
    audio_delay:      seconds by which audio comes later than text, or where negative text later

    Raises RecipeError, naming the field, when a value cannot be.
    """

    frame_rate: float = 12.5
    text_padding: int = 3
    text_end_padding: int = 0
    in_word_padding: int | None = None
    zero_token: int = ZERO_TOKEN
    speaker: str | None = None
    all_speakers: bool = False
    turn_tokens: tuple[int, int] | None = None
    keep_words: bool = False
    audio_delay: float = 0.0

    def __post_init__(self) -> None:
        for name, low in (("frame_rate", 0.001), ("audio_delay", -1e6)):
            value = getattr(self, name)
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not is_number or not low <= value <= 1e6:
                wanted = f"a number from {low:.15g} to 1000000"
                raise RecipeError(f"`{name}` is {shown(value)}, expected {wanted}")
            object.__setattr__(self, name, float(value))
        for name in ("text_padding", "text_end_padding", "in_word_padding", "zero_token"):
            if (token := getattr(self, name)) is not None:
                check_integer(f"`{name}`", token, MIN_FILL, MAX_TOKEN)
        for name in ("all_speakers", "keep_words"):
            check_flag(f"`{name}`", getattr(self, name))
        # What is the same in the end is the same job, whoever named it.
        if self.speaker is None:
            object.__setattr__(self, "speaker", MAIN_SPEAKER)
        if not isinstance(self.speaker, str) or not self.speaker:
            raise RecipeError(f"`speaker` is {shown(self.speaker)}, expected a name")
        if self.in_word_padding is None:
            object.__setattr__(self, "in_word_padding", self.text_padding)
        if self.turn_tokens is not None:
            self._check_turn_tokens(self.turn_tokens)

    def _check_turn_tokens(self, given: Any) -> None:
        if not isinstance(given, (tuple, list)) or len(given) != 2:
            raise RecipeError(f"`turn_tokens` is {shown(given)}, expected two tokens: BOS and EOS")
        for token in given:
            check_integer("`turn_tokens`", token, 0, MAX_TOKEN)
        object.__setattr__(self, "turn_tokens", (int(given[0]), int(given[1])))
        if not self.all_speakers:
            raise RecipeError("`turn_tokens` goes with `all_speakers=True`")

    @property
    def main_speaker(self) -> str:
        """The name of the main speaker."""
        return self.speaker or MAIN_SPEAKER

    def to_dict(self) -> dict[str, Any]:
        """Every field, with JSON's types."""
        turns = None if self.turn_tokens is None else list(self.turn_tokens)
        return {**dataclasses.asdict(self), "turn_tokens": turns}


@dataclass(frozen=True, eq=False)
class Words:
    """The words of some rows, as flat arrays: one row's after the other's, in the rows' order.

    lengths:  words of each row, int64
    starts, ends: of each word in seconds, finite float64
    counts:   tokens of each word, int64; tokens: those of all words, 0 to MAX_TOKEN
    speakers: a number for each word, that of its speaker in `names`; -1 where none is named
    missing:  which rows have no transcript, which is not one without a word
    """

    lengths: Index
    starts: Any
    ends: Any
    counts: Index
    tokens: Array
    speakers: Index
    names: tuple[str, ...]
    missing: Any

    @property
    def rows(self) -> Index:
        """The row of each word."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)


class Fate(enum.IntEnum):
    """What became of a word.

    PLACED:       each of its tokens has a frame
    OTHERS:       it is another speaker's, and those are not kept
    NO_DURATION:  dropped, since it does not end after it begins
    TOO_EARLY:    dropped, since it ends before the text begins that goes with delayed audio
    BEYOND_END:   dropped, since it begins after the last frame
    CUT:          the next word has discarded tokens of it
    PAST_END:     tokens of it would have come after the last frame
    """

    PLACED = 0
    OTHERS = 1
    NO_DURATION = 2
    TOO_EARLY = 3
    BEYOND_END = 4
    CUT = 5
    PAST_END = 6


@dataclass(frozen=True, eq=False)
class Interleaved:
    """Tokens on frames, and what became of the words.

    tokens: of all frames, row after row, int32
    placed: how many of them are tokens of words or turns
    fates:  of each word, in the order in which they were given
    """

    tokens: Array
    placed: int
    fates: Array


def interleave(words: Words, frames: Index, how: Interleaving) -> Interleaved:
    """Place the words of each row on its frames.

    frames: of each row, int64
    """
    starts = np.cumsum(frames) - frames
    fates = np.zeros(len(words.starts), dtype=np.int8)
    kept = _kept(words, frames, how, fates)
    in_word = how.text_padding if how.in_word_padding is None else how.in_word_padding
    out = np.full(int(frames.sum()), how.text_padding, dtype=np.int32)
    if in_word != how.text_padding:
        newest = kept.newest
        sizes = np.minimum(kept.stops, kept.limits)[newest] - kept.begins[newest]
        out[ranges(kept.begins[newest], np.maximum(sizes, 0))] = in_word
    cells, tokens = (_waiting if how.keep_words else _cutting)(kept, words, how, fates)
    out[cells] = tokens
    is_first = np.zeros(len(out) + 1, dtype=bool)
    is_first[starts] = True
    before = cells[~is_first[cells]] - 1
    # Values are compared: a word's token that has the id of padding becomes end padding, too.
    out[before[np.isin(out[before], (how.text_padding, in_word))]] = how.text_end_padding
    delay = int(how.frame_rate * -how.audio_delay) if how.audio_delay < 0 else 0
    zeros = ranges(starts, np.where(words.missing, frames, np.minimum(frames, delay)))
    out[zeros] = how.zero_token
    is_zero = np.zeros(len(out), dtype=bool)
    is_zero[zeros] = True
    return Interleaved(out, int(np.count_nonzero(~is_zero[cells])), fates)


@dataclass(frozen=True, eq=False)
class _Kept:
    """The words that begin in a row, by row and time. Cells count through the frames of all rows.

    numbers: which of all words they are; rows: in which row
    begins:  the cell in which each begins; stops: the one after that in which it ends
    limits:  the cell after the last one that is the word's: where the next cell begins in which a
             word does, or the row ends; row_ends: where the row ends
    leads:   the token before a word's tokens, that of a turn: -1 for none
    newest:  whether no other word begins in the cell after it
    """

    numbers: Index
    rows: Index
    begins: Index
    stops: Index
    limits: Index
    row_ends: Index
    leads: Index
    newest: Any


def _kept(words: Words, frames: Index, how: Interleaving, fates: Array) -> _Kept:
    """The words that begin in a row; the fates of the others are written down."""
    rows = words.rows
    numbers = np.arange(len(rows))
    if not np.all((words.starts[1:] >= words.starts[:-1]) | (rows[1:] > rows[:-1])):
        numbers = np.lexsort((words.starts, rows))
    speakers = words.speakers[numbers]
    main = words.names.index(how.main_speaker) if how.main_speaker in words.names else _NOBODY
    leads = np.full(len(numbers), -1, dtype=np.int64)
    if how.turn_tokens is not None:
        leads = _turns(rows, speakers, main, how.turn_tokens)

    def keep(those: Any, fate: Fate) -> None:
        """Go on with these words alone."""
        nonlocal numbers, leads
        fates[numbers[~those]] = fate
        numbers, leads = numbers[those], leads[those]

    if not how.all_speakers:
        names_any = np.bincount(rows, words.speakers >= 0, minlength=len(frames)) > 0
        keep((speakers == main) | ~names_any[rows], Fate.OTHERS)
    keep(words.starts[numbers] < words.ends[numbers], Fate.NO_DURATION)
    starts, ends = words.starts, words.ends
    if how.audio_delay != 0:
        keep(ends[numbers] > how.audio_delay, Fate.TOO_EARLY)
        starts, ends = starts - how.audio_delay, ends - how.audio_delay
    with np.errstate(over="ignore"):
        starts, ends = starts * how.frame_rate, ends * how.frame_rate
    keep(np.maximum(starts[numbers], 0) < frames[rows[numbers]], Fate.BEYOND_END)
    rows, ends = rows[numbers], ends[numbers]
    row_ends = np.cumsum(frames)[rows]
    row_starts = row_ends - frames[rows]
    begins = row_starts + np.maximum(np.floor(starts[numbers]), 0).astype(np.int64)
    # A time is cut towards 0, so a word that ends within the frame before the first counts there.
    stops = row_starts + np.clip(np.trunc(ends), -1, frames[rows]).astype(np.int64) + 1
    newest = np.append(begins[1:] != begins[:-1], True)[: len(begins)]
    nexts = np.append(begins[newest][1:], row_ends[-1:])[np.cumsum(newest) - newest]
    return _Kept(numbers, rows, begins, stops, np.minimum(nexts, row_ends), row_ends, leads, newest)


def _turns(rows: Index, speakers: Index, main: int, tokens: tuple[int, int]) -> Index:
    """The token before each word, in the order of time: BOS or EOS where a turn begins, else -1."""
    before = np.roll(speakers, 1)
    before[rows != np.roll(rows, 1)] = -1
    before[:1] = -1
    bos = (speakers == main) & (before != main)
    eos = (speakers != main) & (before == main)
    return np.select([bos, eos], tokens, default=-1).astype(np.int64)


def _cutting(kept: _Kept, words: Words, how: Interleaving, fates: Array) -> tuple[Index, Array]:
    """Cells and their tokens where a new word discards what is left of the one before."""
    counts = words.counts[kept.numbers] + (kept.leads >= 0)
    room = np.where(kept.newest, kept.limits - kept.begins, 0)
    placed = np.minimum(counts, room)
    is_last = kept.newest & (kept.limits == kept.row_ends)
    fates[kept.numbers[counts > placed]] = Fate.CUT
    fates[kept.numbers[(counts > placed) & is_last]] = Fate.PAST_END
    numbers = np.repeat(np.arange(len(placed)), placed)
    within = _within(placed)
    return kept.begins[numbers] + within, _tokens(kept, words, how, numbers, within)


def _waiting(kept: _Kept, words: Words, how: Interleaving, fates: Array) -> tuple[Index, Array]:
    """Cells and their tokens where words wait until those before are done."""
    counts = words.counts[kept.numbers] + (kept.leads >= 0)
    numbers = np.repeat(np.arange(len(counts)), counts)
    within = _within(counts)
    # Token j of a row goes to max(cell of token j - 1, plus 1; cell in which its word begins), so
    # its cell - j is the largest begin - j so far. Rows are lifted apart for one maximum over all.
    of_rows = np.bincount(kept.rows, counts, minlength=kept.rows.max(initial=0) + 1)
    ends = np.cumsum(of_rows).astype(np.int64)
    rows = kept.rows[numbers]
    position = np.arange(len(numbers)) - (ends - of_rows.astype(np.int64))[rows]
    lift = ends[rows] - position
    cells = np.maximum.accumulate(kept.begins[numbers] + lift) - lift
    fits = cells < kept.row_ends[numbers]
    fates[kept.numbers[numbers[~fits]]] = Fate.PAST_END
    numbers, within = numbers[fits], within[fits]
    return cells[fits], _tokens(kept, words, how, numbers, within)


def _tokens(kept: _Kept, words: Words, how: Interleaving, numbers: Index, within: Index) -> Array:
    """Tokens of kept words, the one of a turn being the first: of which word, and which of its."""
    firsts = np.cumsum(words.counts) - words.counts
    has_lead = kept.leads >= 0
    places = firsts[kept.numbers[numbers]] + within - has_lead[numbers]
    if how.turn_tokens is None:
        tokens: Array = words.tokens[places]
        return tokens
    is_lead = has_lead[numbers] & (within == 0)
    tokens = np.append(words.tokens, 0)[np.where(is_lead, -1, places)]
    return np.where(is_lead, kept.leads[numbers], tokens)


def _within(sizes: Index) -> Index:
    """Numbers within each of several runs: [2, 3] -> [0, 1, 0, 1, 2]"""
    return np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)


def ranges(starts: Index, sizes: Index) -> Index:
    """The numbers of several ranges: [10, 20], [2, 3] -> [10, 11, 20, 21, 22]"""
    return np.repeat(starts, sizes) + _within(sizes)
