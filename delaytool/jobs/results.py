"""What a run over all shards came to, as values and as the JSON that the commands print."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from delaytool.batches.figures import Counts
from delaytool.errors import DataError
from delaytool.jobs.apply import Applied
from delaytool.jobs.card import Contents, dataset_card
from delaytool.jobs.dry_run import BadRows, Checked, merged
from delaytool.jobs.mismatches import Mismatch, Verified
from delaytool.jobs.notes import Note, Notes
from delaytool.jobs.report import Report
from delaytool.jobs.revert import Reverted


class _OfShard(Protocol):
    @property
    def left_out(self) -> bool: ...
    @property
    def name(self) -> str: ...


R = TypeVar("R")
OfShard = TypeVar("OfShard", bound=_OfShard)


@dataclass(frozen=True)
class ApplyResult:
    """What `apply` did.

    rows, frames, tokens: of all outputs, also of those that were there
    lost, padded, trimmed: tokens that truncation cut off, that alignment added and cut off
    windows: rows of the outputs, where rows were cut into windows; dropped_windows, dropped_rows,
            dropped_frames: windows that were dropped, rows of which all were, and their frames
    dropped_columns: columns that were left out
    report: the shards in numbers
    bad:    of a dry run, the rows that are bad
    """

    shards: int
    written: int
    unchanged: int
    rows: int
    frames: int
    tokens: int
    quarantined: int
    seconds: float
    lost: int
    padded: int
    trimmed: int
    windows: int
    dropped_windows: int
    dropped_rows: int
    dropped_frames: int
    report: Report
    notes: tuple[str, ...] = ()
    bad: tuple[BadRows, ...] = ()
    dropped_columns: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        results: Sequence[Applied | Checked],
        report: Report,
        began: float,
        notes: tuple[str, ...],
    ) -> ApplyResult:
        """What was done to all shards since `began`, by the clock `time.monotonic`."""
        written, counts = sum(result.written for result in results), report.counts
        return cls(
            shards=len(results),
            written=written,
            unchanged=len(results) - written,
            rows=counts.rows_out,
            frames=counts.frames,
            tokens=counts.tokens,
            quarantined=counts.quarantined,
            seconds=round(time.monotonic() - began, 3),
            lost=counts.lost,
            padded=counts.padded,
            trimmed=counts.trimmed,
            windows=counts.windows,
            dropped_windows=counts.dropped_windows,
            dropped_rows=counts.dropped_rows,
            dropped_frames=counts.dropped_frames,
            report=report,
            notes=notes,
        )

    @classmethod
    def of_checks(
        cls, results: list[Checked], report: Report, began: float, notes: tuple[str, ...]
    ) -> ApplyResult:
        """What a dry run found in all shards; nothing was written."""
        result = cls.of(results, report, began, notes)
        return dataclasses.replace(result, unchanged=0, bad=merged(results))

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `delaytool apply --json`."""
        bad = [dataclasses.asdict(rows) for rows in self.bad]
        return _plain(self) | self.report.to_dict() | {"bad": bad}


@dataclass(frozen=True)
class VerifyResult:
    """What `verify` found.

    mismatches: as many of each shard as are kept; count: how many there are
    ways:       those of them that come of shards which were made in different ways
    foreign:    shards that apply did not make, such as the original ones
    lost:       tokens that truncation cut off, which nothing could be compared with
    trimmed:    text tokens that alignment cut off, of which only the number could be compared
    dropped_columns: columns that were left out, with which nothing could be compared
    """

    verified: bool
    shards: int
    rows: int
    tokens: int
    mismatches: tuple[Mismatch, ...]
    count: int
    ways: int
    foreign: int
    lost: int
    trimmed: int
    report: Report
    notes: tuple[str, ...] = ()
    dropped_columns: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        results: Sequence[Verified],
        strays: Sequence[Mismatch],
        mixed: Verified,
        report: Report,
        notes: tuple[str, ...],
    ) -> VerifyResult:
        """What was found in all shards.

        strays: what is missing or too many; mixed: how shards differ from one another
        """
        mismatches = [*strays, *mixed.mismatches]
        for result in results:
            mismatches += result.mismatches
        count = len(strays) + mixed.count + sum(result.count for result in results)
        return cls(
            verified=not count,
            shards=len(results),
            rows=sum(result.rows for result in results),
            tokens=sum(result.tokens for result in results),
            mismatches=tuple(mismatches),
            count=count,
            ways=mixed.count,
            foreign=sum(result.is_foreign for result in results),
            lost=sum(result.lost for result in results),
            trimmed=sum(result.trimmed for result in results),
            report=report,
            notes=notes,
            dropped_columns=_all_of(result.dropped_columns for result in results),
        )

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `delaytool verify --json`."""
        plain = {
            "verified": self.verified,
            "shards": self.shards,
            "rows": self.rows,
            "tokens": self.tokens,
            "mismatches": [mismatch.to_dict() for mismatch in self.mismatches],
        }
        dropped = {"dropped_columns": list(self.dropped_columns)}
        return plain | self.report.to_dict() | dropped


@dataclass(frozen=True)
class RevertResult:
    """What `revert` did.

    missing: tokens that had been cut off; quarantined: rows that are in quarantine
    dropped_frames, dropped_rows: frames of windows that had been dropped (timesteps, where the cut
             was after the shift), and rows of which no window is left
    dropped_columns: columns that had been left out
    """

    shards: int
    written: int
    unchanged: int
    rows: int
    seconds: float
    missing: int
    quarantined: int
    dropped_frames: int = 0
    dropped_rows: int = 0
    dropped_columns: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, results: Sequence[Reverted], began: float, notes: tuple[str, ...]) -> RevertResult:
        """What was done to all shards since `began`, by the clock `time.monotonic`."""
        counts = sum((result.counts for result in results), Counts())
        written = sum(result.written for result in results)
        return cls(
            shards=len(results),
            written=written,
            unchanged=len(results) - written,
            rows=sum(result.rows for result in results),
            seconds=round(time.monotonic() - began, 3),
            missing=counts.lost + counts.trimmed,
            quarantined=counts.quarantined,
            dropped_frames=counts.dropped_frames,
            dropped_rows=counts.dropped_rows,
            dropped_columns=_all_of(result.dropped_columns for result in results),
            notes=notes,
        )

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `delaytool revert --json`."""
        return _plain(self)


@dataclass(frozen=True)
class StatsResult:
    """What is in shards.

    contents: what their rows hold, each kind once
    """

    shards: int
    shifted: int
    original: int
    rows: int
    frames: int
    tokens: int
    quarantined: int
    report: Report
    notes: tuple[str, ...] = ()
    contents: tuple[Contents, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `delaytool stats --json`."""
        return _plain(self) | self.report.to_dict()

    def dataset_card(self) -> str:
        """The shards as a page of the Hugging Face hub: Markdown with a head in YAML.

        What shards can't say is left to fill in, and says so: name, license, language, origin.
        """
        return dataset_card(self.report, self.contents)


def _plain(result: ApplyResult | RevertResult | StatsResult) -> dict[str, Any]:
    """The numbers, without the report and the notes."""
    return {k: v for k, v in vars(result).items() if k not in ("report", "notes", "contents")}


def _all_of(columns: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """The names that any shard tells of, each once, in the order in which they come."""
    return tuple(dict.fromkeys(name for names in columns for name in names))


def counting(report: Report) -> Callable[[R], R]:
    """What counts a result in and drops its summary: those of a million shards are too large."""

    def keep(result: Any) -> Any:
        report.add(result.summary, result.name)
        return dataclasses.replace(result, summary=None)

    return keep


def without_left_out(results: list[OfShard], notes: Notes, left_out: int = 0) -> list[OfShard]:
    """The results without those of shards of quarantined rows, whose number is reported.

    left_out: how many had no task
    Raises DataError when all that had one are such.
    """
    kept = [result for result in results if not result.left_out]
    left_out += len(results) - len(kept)
    if left_out:
        shards = "1 shard" if left_out == 1 else f"{left_out:,} shards"
        were = "was" if left_out == 1 else "were"
        notes.add(Note(f"{shards} of quarantined rows {were} left out"))
    if results and not kept:
        raise DataError(
            "no-shards",
            "there are only shards of quarantined rows",
            expected="at least one other",
            advice="name the folder of the outputs",
        )
    return kept
