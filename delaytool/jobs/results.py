"""What a run over all shards came to, as values and as the JSON that the commands print."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from delaytool.jobs.mismatches import Mismatch
from delaytool.jobs.report import Report


@dataclass(frozen=True)
class ApplyResult:
    """What `apply` did.

    rows, frames, tokens: of all outputs, also of those that were there
    lost, padded, trimmed: tokens that truncation cut off, that alignment added and cut off
    report: the shards in numbers
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
    report: Report
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `delaytool apply --json`."""
        return _plain(self) | self.report.to_dict()


@dataclass(frozen=True)
class VerifyResult:
    """What `verify` found.

    mismatches: as many of each shard as are kept; count: how many there are
    ways:       those of them that come of shards which were made in different ways
    lost:       tokens that truncation cut off, which nothing could be compared with
    """

    verified: bool
    shards: int
    rows: int
    tokens: int
    mismatches: tuple[Mismatch, ...]
    count: int
    ways: int
    lost: int
    report: Report
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `delaytool verify --json`."""
        plain = {
            "verified": self.verified,
            "shards": self.shards,
            "rows": self.rows,
            "tokens": self.tokens,
            "mismatches": [mismatch.to_dict() for mismatch in self.mismatches],
        }
        return plain | self.report.to_dict()


@dataclass(frozen=True)
class RevertResult:
    """What `revert` did.

    missing: tokens that had been cut off; quarantined: rows that are in quarantine
    """

    shards: int
    written: int
    unchanged: int
    rows: int
    seconds: float
    missing: int
    quarantined: int
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `delaytool revert --json`."""
        return _plain(self)


@dataclass(frozen=True)
class StatsResult:
    """What is in shards."""

    shards: int
    shifted: int
    original: int
    rows: int
    frames: int
    tokens: int
    quarantined: int
    report: Report
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `delaytool stats --json`."""
        return _plain(self) | self.report.to_dict()


def _plain(result: ApplyResult | RevertResult | StatsResult) -> dict[str, Any]:
    """The numbers, without the report and the notes."""
    return {k: v for k, v in vars(result).items() if k not in ("report", "notes")}
