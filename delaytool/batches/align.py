"""Record batches of words: their tokens on frames, what became of the words, and bad rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from delaytool.batches.align_job import TEXT, AlignJob
from delaytool.batches.fields import array_at
from delaytool.batches.nesting import numbered
from delaytool.batches.problems import Problems, first_problems, key_of, scan_again
from delaytool.batches.read import scan_column
from delaytool.batches.types import lists_of
from delaytool.batches.words import read_words
from delaytool.errors import DataError, Place
from delaytool.pattern.interleave import Fate, Interleaved, Words, interleave
from delaytool.pattern.pieces import Encode
from delaytool.pattern.segments import Index
from delaytool.pattern.words import MAX_FRAMES

NAMED = 3
"""Words of each fate that are named, of a shard."""


@dataclass(frozen=True)
class WordCounts:
    """What went in and came out.

    words:          all of them; tokens: those of words and turns that have a frame
    other_speakers: words of speakers that are not kept
    no_duration:    words that do not end after they begin
    too_early:      words that end before the text begins that goes with delayed audio
    beyond_end:     words that begin after the last frame
    cut:            words of which the next one has discarded tokens
    past_end:       words of which tokens would have come after the last frame
    empty:          rows without frames; no_transcript: rows whose words are null
    quarantined:    rows that went to quarantine, so that rows_in = rows_out + quarantined
    """

    rows_in: int = 0
    rows_out: int = 0
    frames: int = 0
    words: int = 0
    tokens: int = 0
    other_speakers: int = 0
    no_duration: int = 0
    too_early: int = 0
    beyond_end: int = 0
    cut: int = 0
    past_end: int = 0
    empty: int = 0
    no_transcript: int = 0
    quarantined: int = 0

    def __add__(self, other: WordCounts) -> WordCounts:
        names = [field.name for field in dataclasses.fields(self)]
        return WordCounts(**{name: getattr(self, name) + getattr(other, name) for name in names})

    @property
    def dropped(self) -> int:
        """Words that are dropped whole."""
        return self.no_duration + self.too_early + self.beyond_end


FATES = {
    "cut": Fate.CUT,
    "no_duration": Fate.NO_DURATION,
    "too_early": Fate.TOO_EARLY,
    "beyond_end": Fate.BEYOND_END,
    "past_end": Fate.PAST_END,
}
"""What becomes of words that are counted, by the field of `WordCounts`: without the others'."""


@dataclass(frozen=True)
class WordPlace:
    """A word of which something was lost.

    fate: a field of `WordCounts`; row: of the output; key: what names the row; word: its number in
    its row
    """

    fate: str
    row: int
    key: str | None
    word: int


@dataclass(frozen=True, eq=False)
class Aligned:
    """Tokens of a batch's rows.

    text: the new column; places: of words of which something was lost, rows counting in the batch
    """

    text: pa.Array
    counts: WordCounts
    places: list[WordPlace]


def align_batch(batch: pa.RecordBatch, job: AlignJob, encode: Encode | None) -> Aligned:
    """Make text tokens of a batch's words; raises DataError for the first bad row."""
    words, frames, problems = _scan_once(batch, job, encode)
    if words is None or frames is None:
        raise problems[min(problems)]
    result = interleave(words, frames, job.how)
    counted = np.bincount(result.fates, minlength=len(Fate))
    counts = WordCounts(
        rows_in=batch.num_rows,
        rows_out=batch.num_rows,
        frames=len(result.tokens),
        words=len(result.fates),
        tokens=result.placed,
        other_speakers=int(counted[Fate.OTHERS]),
        empty=int((frames == 0).sum()),
        no_transcript=int(words.missing.sum()),
        **{name: int(counted[fate]) for name, fate in FATES.items()},
    )
    text = lists_of(pa.array(result.tokens), frames, TEXT)
    return Aligned(text, counts, list(_places(batch, job, words, result)))


def bad_rows(batch: pa.RecordBatch, job: AlignJob, encode: Encode | None) -> Problems:
    """The first problem of every bad row of a batch."""

    def find(part: pa.RecordBatch) -> Problems:
        return _scan_once(part, job, encode)[2]

    return scan_again(batch, find(batch), find)


def frames_of(batch: pa.RecordBatch, job: AlignJob) -> tuple[Index | None, Problems]:
    """The frames of each row (None if a row is bad), and the first problem of each bad row."""
    if job.frames_column is not None:
        return _numbers(batch.column(job.frames_column), job.frames_column)
    lengths: Index | None = None
    for column in job.codes:
        codes, found = scan_column(
            array_at(batch, column.name), column.name, column.layout, column.size
        )
        if codes is None:
            return None, {row: _without_recipe(error) for row, error in found.items()}
        lengths = codes.lengths if lengths is None else lengths
        if errors := list(_other_lengths(codes.lengths, lengths, column.name, job)):
            return None, first_problems(errors)
    return lengths, {}


def _scan_once(
    batch: pa.RecordBatch, job: AlignJob, encode: Encode | None
) -> tuple[Words | None, Index | None, Problems]:
    """Words and frames, or the problems that can be seen at once."""
    frames, problems = frames_of(batch, job)
    if problems:
        return None, None, problems
    words, problems = read_words(batch.column(job.words_column), encode)
    named = {row: error.at(column=job.words_column) for row, error in problems.items()}
    return words, frames, named


def _numbers(array: pa.Array, name: str) -> tuple[Index | None, Problems]:
    """The frames of rows by a column of numbers."""
    numbers = array.cast(pa.int64(), safe=False).fill_null(-1).to_numpy()
    errors = []
    for row in np.flatnonzero((numbers < 0) | (numbers > MAX_FRAMES)).tolist():
        found = array[row].as_py()
        error = DataError(
            "frames",
            "a null number of frames" if found is None else f"{found} frames",
            expected=f"0 to {MAX_FRAMES}",
            advice="repair the row, or leave it out",
            place=Place(row=row, column=name),
        )
        errors.append(error)
    return (None if errors else numbers), first_problems(errors)


def _other_lengths(found: Index, first: Index, name: str, job: AlignJob) -> Iterator[DataError]:
    for row in np.flatnonzero(found != first).tolist():
        yield DataError(
            "column-lengths",
            numbered(found[row], "frame"),
            expected=f"{first[row]}, as many as column {job.codes[0].name} has",
            advice="repair the row, or leave it out",
            place=Place(row=row, column=name),
        )


def _without_recipe(error: DataError) -> DataError:
    """An error of codes that have no recipe, and need not have as many codebooks as one says."""
    if error.kind != "codebooks":
        return error
    wanted = error.expected.partition(",")[0]
    return DataError(
        error.kind,
        error.found,
        expected=f"{wanted}, as in the first rows",
        advice="repair the row, or name the layout with `audio_layout`",
        place=error.place,
    )


def _places(
    batch: pa.RecordBatch, job: AlignJob, words: Words, result: Interleaved
) -> Iterator[WordPlace]:
    """The first words of each fate."""
    firsts = np.cumsum(words.lengths) - words.lengths
    for name, fate in FATES.items():
        for word in np.flatnonzero(result.fates == fate)[:NAMED].tolist():
            row = int(np.searchsorted(firsts + words.lengths, word, side="right"))
            yield WordPlace(name, row, key_of(batch, row, job), word - int(firsts[row]))
