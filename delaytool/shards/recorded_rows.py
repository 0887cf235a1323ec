"""Which rows alignment has made longer, and which are in quarantine, as a record says."""

from __future__ import annotations

import numpy as np

from delaytool.errors import DataError
from delaytool.pattern.segments import Index
from delaytool.shards.record import Record


class Padded:
    """How many text tokens alignment has added to each row of a shard, as its record says."""

    def __init__(self, record: Record) -> None:
        self._columns = [
            np.array(pairs, dtype=np.int64).reshape(-1, 2).transpose() for pairs in record.padded
        ]
        texts = len(record.job.text_columns)
        if len(self._columns) != texts:
            raise DataError("record", f"its record pads {len(self._columns)} texts of {texts}")
        rows_out = record.counts.rows_out
        for rows, tokens in self._columns:
            if np.any(np.diff(rows) <= 0) or np.any(tokens < 1):
                raise DataError("record", "the rows that its record calls padded are not in order")
            if len(rows) and rows[-1] >= rows_out:
                raise DataError("record", f"its record calls row {rows[-1]} of {rows_out} padded")

    def of_rows(self, first: int, count: int) -> Index:
        """The tokens added to each column of text and each of the rows first ... first + count - 1.

        returns: [columns, count]
        """
        padded = np.zeros((len(self._columns), count), dtype=np.int64)
        for column, (rows, tokens) in zip(padded, self._columns, strict=True):
            start, stop = np.searchsorted(rows, [first, first + count])
            column[rows[start:stop] - first] = tokens[start:stop]
        return padded


def further(furthest: tuple[int, ...], rows: int, differences: Index) -> tuple[int, ...]:
    """The row whose text differs most from the audio, and by how many tokens, as a record has it.

    furthest:    that of the rows before
    rows:        how many these are
    differences: of the columns of text in the next ones, [columns, rows]; below 0 for too few
    """
    if not np.any(differences):
        return furthest
    _, row = np.unravel_index(np.argmax(np.abs(differences)), differences.shape)
    column = np.argmax(np.abs(differences[:, row]))
    tokens = int(differences[column, row])
    is_further = not furthest or abs(tokens) > abs(furthest[1])
    return (rows + int(row), tokens) if is_further else furthest


class Quarantined:
    """Which rows of a source are not in a shard but in quarantine, as its record says."""

    def __init__(self, record: Record) -> None:
        pairs = np.array(record.quarantined, dtype=np.int64).reshape(-1, 2)
        self._firsts, self._ends = pairs[:, 0], pairs[:, 0] + pairs[:, 1]
        self.count = int(pairs[:, 1].sum())
        rows_in = record.counts.rows_in
        if np.any(self._firsts[1:] <= self._ends[:-1]) or np.any(pairs[:, 1] < 1):
            raise DataError("record", "the rows that its record calls quarantined are not in order")
        if len(pairs) and self._ends[-1] > rows_in:
            raise DataError(
                "record", f"its record calls row {self._ends[-1] - 1} of {rows_in} quarantined"
            )

    def of_rows(self, first: int, count: int) -> list[int]:
        """Which of the rows first ... first + count - 1 are in quarantine, counted from first."""
        start = int(np.searchsorted(self._ends, first, side="right"))
        stop = int(np.searchsorted(self._firsts, first + count))
        rows: list[int] = []
        for one, end in zip(self._firsts[start:stop], self._ends[start:stop], strict=True):
            rows += range(max(int(one), first) - first, min(int(end), first + count) - first)
        return rows

    def row_of(self, number: int) -> int | None:
        """Which row of the source is this one of those in quarantine, from 0; None beyond them."""
        if number >= self.count:
            return None
        starts = np.cumsum(self._ends - self._firsts) - (self._ends - self._firsts)
        run = int(np.searchsorted(starts, number, side="right")) - 1
        return int(self._firsts[run]) + number - int(starts[run])

    def source_row(self, row: int) -> int:
        """Which row of the source became this row of the shard.

        row 1 in quarantine: 0, 1, 2 -> 0, 2, 3
        """
        counts = self._ends - self._firsts
        kept_before = self._firsts - (np.cumsum(counts) - counts)
        return row + int(counts[kept_before <= row].sum())

    def shifted_row(self, row: int) -> int | None:
        """Which row of the shard this row of the source became; None for one in quarantine."""
        if self.of_rows(row, 1):
            return None
        return row - int((self._ends - self._firsts)[self._ends <= row].sum())
