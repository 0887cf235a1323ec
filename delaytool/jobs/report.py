"""What was done to all shards, or what is in them, as a short table or as JSON.

Each shard has a `Summary`, which its record holds, so that shards that were left alone count
like those that were written.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from delaytool.batches.figures import Counts, Figures
from delaytool.recipes.checks import check_frame_rate
from delaytool.recipes.describe import name_of_run
from delaytool.recipes.recipe import FRAME_RATE, Recipe
from delaytool.recipes.times import exact_rate
from delaytool.shards.record import Reason, Record, ranked
from delaytool.texts import printable

_MAX_REASONS = 10
"""Lines of the table that say why rows are in quarantine."""


@dataclass(frozen=True)
class Summary:
    """One shard in numbers; an original one has no cells and no weights."""

    recipe: Recipe
    counts: Counts
    figures: Figures
    reasons: tuple[Reason, ...] = ()
    furthest: tuple[int, ...] = ()

    @classmethod
    def of(cls, record: Record) -> Summary:
        """What the record of an output says."""
        how = record.reasons, record.furthest
        return cls(record.job.recipe, record.counts, record.figures, *how)


@dataclass(frozen=True, order=True)
class Furthest:
    """The row whose text differed most from the audio before it was aligned.

    tokens: how many there were too many, below 0 where there were too few; size: without the sign
    """

    size: int = 0
    tokens: int = 0
    shard: str = ""
    row: int = 0


class Report:
    """Shards in numbers, all together.

    frame_rate: frames a second; None for what the recipe of each shard says
    """

    def __init__(self, frame_rate: float | None = None) -> None:
        if frame_rate is not None:
            check_frame_rate("frame_rate", frame_rate)
        self.shards, self.frame_rate = 0, frame_rate
        self._frames: Counter[float] = Counter()
        self.counts = Counts()
        self.reasons: Counter[tuple[str, str | None]] = Counter()
        self.padding_ids: set[int] = set()
        self.furthest = Furthest()
        self.cells = self.filled = self.offset = self.zero = self.text = self.padding = 0
        self._window_steps = 0
        self._weights: dict[str, Fraction] = {}
        self._cells: Counter[str] = Counter()
        self._kinds: dict[str, str] = {}

    def add(self, summary: Summary | None, shard: str) -> None:
        """Count a shard in; None for one of which nothing is known."""
        if summary is None:
            return
        recipe, figures = summary.recipe, summary.figures
        self.shards, self.counts = self.shards + 1, self.counts + summary.counts
        self._frames[self.frame_rate or recipe.frame_rate] += summary.counts.frames
        if summary.furthest:
            row, tokens = summary.furthest
            self.furthest = max(self.furthest, Furthest(abs(tokens), tokens, shard, row))
        for reason in summary.reasons:
            self.reasons[reason.kind, reason.column] += reason.rows
        for text in recipe.text:
            self.padding_ids |= text.padding_ids
        self.cells, self.filled = self.cells + figures.cells, self.filled + figures.filled
        if summary.counts.windows:
            self._window_steps += figures.cells // len(recipe.streams)
        self.offset, self.zero = self.offset + figures.offset, self.zero + figures.zero
        self.text, self.padding = self.text + figures.text, self.padding + figures.padding
        for stream, weight in zip(recipe.streams, figures.weights, strict=False):
            self._weights[stream.name] = self._weights.get(stream.name, Fraction(0)) + weight
            self._cells[stream.name] += figures.cells // len(recipe.streams)
            self._kinds[stream.name] = stream.kind

    @property
    def hours(self) -> float:
        """Hours of audio."""
        seconds = (frames / exact_rate(rate) for rate, frames in self._frames.items())
        return float(sum(seconds, Fraction(0)) / 3600)

    def mean_weight(self, name: str) -> float:
        """The mean loss weight of a stream's cells, filled ones among them."""
        return float(self._weights[name] / max(self._cells[name], 1))

    def to_dict(self) -> dict[str, Any]:
        """All of it, with JSON's types; shares are null where there is nothing to have a share."""
        return {
            "hours": round(self.hours, 6),
            "empty_rows": self.counts.empty,
            "aligned": self._aligned() if self.counts.aligned else None,
            "cut": self._windows(),
            "text_tokens": self.text,
            "text_padding": self.padding,
            "text_padding_share": _share(self.padding, self.text),
            "zero_tokens": self.zero,
            "cells": self.cells,
            "filled": self.filled,
            "filled_share": _share(self.filled, self.cells),
            "offset": self.offset,
            "offset_share": _share(self.offset, self.cells),
            "mean_weights": {name: self.mean_weight(name) for name in self._weights} or None,
            "reasons": [dataclasses.asdict(reason) for reason in ranked(self.reasons)],
        }

    def _aligned(self) -> dict[str, Any]:
        """What alignment did to text, as JSON has it."""
        most = dataclasses.asdict(self.furthest)
        del most["size"]
        counts = self.counts
        return {
            "rows": counts.aligned,
            "padded": counts.padded,
            "trimmed": counts.trimmed,
            "most": most,
        }

    def _window_lines(self) -> list[tuple[str, str]]:
        """What became of the rows that were cut into windows."""
        counts = self.counts
        if not counts.windows + counts.dropped_windows:
            return []
        mean = f" (of {self._mean_steps:,.4g} timesteps on average" if counts.windows else ""
        short = f"; {counts.short:,} shorter than the others" if counts.short else ""
        lines = [("windows", f"{counts.windows:,}{mean}{short}{')' if mean else ''}")]
        if counts.filled:
            share = f"{counts.filled / self._frames_in_windows:.1%}"
            lines.append(("filled up with", f"{counts.filled:,} frames ({share} of the windows)"))
        if counts.dropped_windows:
            whole = f"; none is left of {counts.dropped_rows:,} rows" if counts.dropped_rows else ""
            frames = f"{counts.dropped_frames:,} frames{whole}"
            lines.append(("dropped windows", f"{counts.dropped_windows:,} ({frames})"))
        return lines

    @property
    def _mean_steps(self) -> float:
        """How long windows are on average, in timesteps of the output."""
        return self._window_steps / max(self.counts.windows, 1)

    @property
    def _frames_in_windows(self) -> int:
        """Frames of windows that were cut before the shift, with those that fill them up."""
        return self.counts.frames - self.counts.dropped_frames + self.counts.filled

    def _windows(self) -> dict[str, Any] | None:
        """What became of the rows that were cut into windows, as JSON has it."""
        counts = self.counts
        if not counts.windows + counts.dropped_windows:
            return None
        return {
            "windows": counts.windows,
            "mean_timesteps": self._mean_steps,
            "short": counts.short,
            "filled_frames": counts.filled,
            "filled_share": _share(counts.filled, self._frames_in_windows) if counts.filled else 0,
            "dropped_windows": counts.dropped_windows,
            "dropped_frames": counts.dropped_frames,
            "dropped_rows": counts.dropped_rows,
        }

    def _aligned_line(self) -> str:
        counts, most = self.counts, self.furthest
        done = [f"{counts.padded:,} tokens added"] * bool(counts.padded)
        done += [f"{counts.trimmed:,} cut off"] * bool(counts.trimmed)
        where = f"{printable(most.shard)}, row {most.row}"
        return f"{counts.aligned:,} rows: {', '.join(done)}; at most {most.size:,} ({where})"

    def table(self, shards: str = "") -> str:
        """The same for the eye.

        shards: what to say of the number of shards
        """
        lines = self.lines(shards)
        width = max(len(name) for name, _ in lines)
        return "\n".join(f"  {name.ljust(width)}  {value}" for name, value in lines)

    def lines(self, shards: str = "") -> list[tuple[str, str]]:
        """What there is to say, and its number; a line without a name goes on with the one above.

        shards: what to say of the number of shards
        """
        counts = self.counts
        rates = sorted(self._frames) or [self.frame_rate or FRAME_RATE]
        at = " and ".join(f"{rate:.10g}" for rate in rates)
        lines = [
            ("shards", f"{self.shards:,}{shards}"),
            ("rows", f"{counts.rows_out:,}{_empty(counts)}"),
            *self._window_lines(),
            ("hours of audio", f"{self.hours:,.2f} ({counts.frames:,} frames at {at} a second)"),
            ("tokens", f"{counts.tokens:,}"),
        ]
        if self.counts.aligned:
            lines.append(("aligned text", self._aligned_line()))
        if self.zero:
            kept = counts.tokens - counts.lost
            lines.append(("zero tokens", f"{_percent(self.zero, kept)} of the tokens"))
        if self.text:
            ids = " and ".join(str(token) for token in sorted(self.padding_ids)) or "none"
            lines.append(
                ("text padding", f"{_percent(self.padding, self.text)} of the text (tokens {ids})")
            )
        if self.cells:
            lines.append(("filled cells", f"{_percent(self.filled, self.cells)} of all"))
        if self.offset:
            lines.append(("cells of offsets", f"{_percent(self.offset, self.cells)} of all"))
        return lines + self._weight_lines() + self._reason_lines()

    def _weight_lines(self) -> list[tuple[str, str]]:
        """A line for each run of streams of one kind with the same mean weight."""
        runs: list[tuple[list[str], str, str]] = []
        for name, kind in self._kinds.items():
            mean = f"{self.mean_weight(name):.4g}"
            if runs and runs[-1][1:] == (kind, mean):
                runs[-1][0].append(name)
            else:
                runs.append(([name], kind, mean))
        width = max((len(name_of_run(names)) for names, _, _ in runs), default=0)
        return [
            ("" if number else "mean weight", f"{name_of_run(names).ljust(width)}  {mean}")
            for number, (names, _, mean) in enumerate(runs)
        ]

    def _reason_lines(self) -> list[tuple[str, str]]:
        """A line for each of the most frequent reasons, and one for all others."""
        lines = [(reason.rows, printable(reason)) for reason in ranked(self.reasons)]
        if len(lines) > _MAX_REASONS:
            others = lines[_MAX_REASONS - 1 :]
            rest = sum(rows for rows, _ in others), f"{len(others)} other reasons"
            lines = [*lines[: _MAX_REASONS - 1], rest]
        return [
            ("" if number else "quarantined", f"{rows:,} row{'' if rows == 1 else 's'}: {reason}")
            for number, (rows, reason) in enumerate(lines)
        ]


def _empty(counts: Counts) -> str:
    return f" ({counts.empty:,} without frames)" if counts.empty else ""


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.3g}%"
