"""What became of the words of all shards, as values, as a short table, and as JSON."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from delaytool.batches.align import FATES, WordCounts
from delaytool.jobs.align import AlignedShard
from delaytool.jobs.dry_run import BadRows, merged
from delaytool.shards.record import Reason, ranked

_NAMED = 10
"""Words of each fate that are named."""
_WORDED = {
    "cut": "the next word cut",
    "no_duration": "dropped, without duration",
    "too_early": "dropped, before the text begins",
    "beyond_end": "dropped, beyond the end",
    "past_end": "ran past the end",
}
"""What became of words, for the table."""


@dataclass(frozen=True)
class LostWord:
    """A word of which something was lost.

    fate: "cut", "no_duration", "too_early", "beyond_end" or "past_end"
    row:  of the output; word: its number in the row; both from 0
    """

    fate: str
    shard: str
    row: int
    key: str | None
    word: int

    def __str__(self) -> str:
        """The place: a.parquet, row 3 (id 'x'), word 5"""
        key = "" if self.key is None else f" ({self.key})"
        return f"{self.shard}, row {self.row}{key}, word {self.word}"


class AlignReport:
    """All shards together.

    frame_rate: frames a second
    """

    def __init__(self, frame_rate: float) -> None:
        self.frame_rate, self.counts = frame_rate, WordCounts()
        self.reasons: Counter[tuple[str, str | None]] = Counter()
        self._places: dict[str, list[LostWord]] = {fate: [] for fate in FATES}

    def add(self, result: AlignedShard) -> AlignedShard:
        """Count a shard in; its result without the record: those of a million are too large."""
        record = result.summary
        if record is None:
            return result
        self.counts += record.counts
        for reason in record.reasons:
            self.reasons[reason.kind, reason.column] += reason.rows
        for place in record.places:
            words = self._places[place.fate]
            words.append(LostWord(place.fate, result.name, place.row, place.key, place.word))
            # Shards are done in any order, and the first words are those of the first ones.
            words.sort(key=lambda word: (word.shard, word.row, word.word))
            del words[_NAMED:]
        return dataclasses.replace(result, summary=None)

    @property
    def places(self) -> tuple[LostWord, ...]:
        """The first words of each fate."""
        return tuple(word for words in self._places.values() for word in words)


@dataclass(frozen=True)
class AlignResult:
    """What `align` did.

    rows, frames, words, tokens and all that follows count all outputs, also those that were there:
    what became of words is as `WordCounts` says, and `dropped` are all that were dropped whole

    places:  the first words of which something was lost
    reasons: why rows are in quarantine
    bad:     of a dry run, the rows that are bad
    """

    shards: int
    written: int
    unchanged: int
    rows: int
    frames: int
    hours: float
    words: int
    tokens: int
    other_speakers: int
    cut: int
    dropped: int
    no_duration: int
    too_early: int
    beyond_end: int
    past_end: int
    no_transcript: int
    empty_rows: int
    quarantined: int
    seconds: float
    places: tuple[LostWord, ...]
    reasons: tuple[Reason, ...]
    notes: tuple[str, ...] = ()
    bad: tuple[BadRows, ...] = ()

    @classmethod
    def of(
        cls,
        results: Sequence[AlignedShard],
        report: AlignReport,
        began: float,
        notes: tuple[str, ...],
    ) -> AlignResult:
        """What was done to all shards since `began`, by the clock `time.monotonic`."""
        written, counts = sum(result.written for result in results), report.counts
        names = ("frames", "words", "tokens", "other_speakers", "dropped", "no_transcript", *FATES)
        return cls(
            shards=len(results),
            written=written,
            unchanged=len(results) - written,
            rows=counts.rows_out,
            hours=round(counts.frames / report.frame_rate / 3600, 6),
            empty_rows=counts.empty,
            quarantined=counts.quarantined,
            seconds=round(time.monotonic() - began, 3),
            places=report.places,
            reasons=tuple(ranked(report.reasons)),
            notes=notes,
            bad=merged(results),
            **{name: getattr(counts, name) for name in names},
        )

    @classmethod
    def of_checks(
        cls,
        results: Sequence[AlignedShard],
        report: AlignReport,
        began: float,
        notes: tuple[str, ...],
    ) -> AlignResult:
        """What a dry run found in all shards; nothing was written."""
        return dataclasses.replace(cls.of(results, report, began, notes), unchanged=0)

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `delaytool align --json`."""
        plain = {k: v for k, v in vars(self).items() if k != "notes"}
        for name in ("places", "reasons", "bad"):
            plain[name] = [dataclasses.asdict(each) for each in getattr(self, name)]
        return plain

    def table(self, is_dry: bool = False) -> str:
        """The same for the eye.

        is_dry: whether nothing was to be written
        """
        padding = f" ({100 * self.tokens / self.frames:.3g}% of the frames)" if self.frames else ""
        others = f" ({self.other_speakers:,} of other speakers)" if self.other_speakers else ""
        empty = f" ({self.empty_rows:,} without frames)" if self.empty_rows else ""
        written = f" ({self.written:,} written, {self.unchanged:,} unchanged)"
        lines = [
            ("shards", f"{self.shards:,}{'' if is_dry else written}"),
            ("rows", f"{self.rows:,}{empty}"),
            ("hours of audio", f"{self.hours:,.2f} ({self.frames:,} frames)"),
            ("words", f"{self.words:,}{others}"),
            ("text tokens", f"{self.tokens:,}{padding}"),
        ]
        if self.no_transcript:
            lines.append(("no transcript", f"{self.no_transcript:,} of the rows, zero tokens"))
        for fate, words in _WORDED.items():
            if number := getattr(self, fate):
                first = next((word for word in self.places if word.fate == fate), None)
                where = "" if first is None else f", the first: {first}"
                lines.append((words, f"{number:,} word{'' if number == 1 else 's'}{where}"))
        for number, reason in enumerate(self.reasons[:_NAMED]):
            rows = f"{reason.rows:,} row{'' if reason.rows == 1 else 's'}: {reason}"
            lines.append(("" if number else "quarantined", rows))
        width = max(len(name) for name, _ in lines)
        return "\n".join(f"  {name.ljust(width)}  {value}" for name, value in lines)
