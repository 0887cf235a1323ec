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

    def of(self, rows: Index) -> Index:
        """The same for any rows, in order: [columns, rows]"""
        if not len(rows):
            return self.of_rows(0, 0)
        first = int(rows[0])
        return self.of_rows(first, int(rows[-1]) - first + 1)[:, rows - first]


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


class _Absent:
    """Runs of rows that are not in a shard, as its record says."""

    def __init__(self, runs: tuple[tuple[int, int], ...], rows: int, what: str) -> None:
        pairs = np.array(runs, dtype=np.int64).reshape(-1, 2)
        self._firsts, self._ends = pairs[:, 0], pairs[:, 0] + pairs[:, 1]
        self.count = int(pairs[:, 1].sum())
        if np.any(self._firsts[1:] <= self._ends[:-1]) or np.any(pairs[:, 1] < 1):
            raise DataError("record", f"the rows that its record calls {what} are not in order")
        if len(pairs) and self._ends[-1] > rows:
            raise DataError("record", f"its record calls row {self._ends[-1] - 1} of {rows} {what}")

    def of_rows(self, first: int, count: int) -> list[int]:
        """Which of the rows first ... first + count - 1 are absent, counted from first."""
        start = int(np.searchsorted(self._ends, first, side="right"))
        stop = int(np.searchsorted(self._firsts, first + count))
        rows: list[int] = []
        for one, end in zip(self._firsts[start:stop], self._ends[start:stop], strict=True):
            rows += range(max(int(one), first) - first, min(int(end), first + count) - first)
        return rows

    def row_of(self, number: int) -> int | None:
        """Which row of the source this one of the absent is, from 0; None beyond them."""
        if number >= self.count:
            return None
        starts = np.cumsum(self._ends - self._firsts) - (self._ends - self._firsts)
        run = int(np.searchsorted(starts, number, side="right")) - 1
        return int(self._firsts[run]) + number - int(starts[run])

    def source_row(self, row: int) -> int:
        """Which row of the source became this row of the shard.

        row 1 absent: 0, 1, 2 -> 0, 2, 3
        """
        counts = self._ends - self._firsts
        kept_before = self._firsts - (np.cumsum(counts) - counts)
        return row + int(counts[kept_before <= row].sum())

    def shifted_row(self, row: int) -> int | None:
        """Which row of the shard this row of the source became; None for one that is absent."""
        if self.of_rows(row, 1):
            return None
        return row - int((self._ends - self._firsts)[self._ends <= row].sum())


class Quarantined(_Absent):
    """Which rows of a source are not in a shard but in quarantine, as its record says."""

    def __init__(self, record: Record) -> None:
        super().__init__(record.quarantined, record.counts.rows_in, "quarantined")


class Dropped(_Absent):
    """Which rows of a source are not in a shard since all their windows were dropped.

    Those in quarantine are not counted.
    """

    def __init__(self, record: Record) -> None:
        super().__init__(record.dropped, record.counts.rows_out, "dropped")

    def good_rows(self, first: int, count: int) -> Index:
        """Which rows those from `first` on became that are in the shard, dropped ones counted."""
        rows = np.arange(first, first + count, dtype=np.int64)
        counts = self._ends - self._firsts
        before = self._firsts - (np.cumsum(counts) - counts)
        sums = np.concatenate([[0], np.cumsum(counts)])
        shifted: Index = rows + sums[np.searchsorted(before, rows, side="right")]
        return shifted
