"""Token columns of a record batch: from Arrow to flat arrays, and back.

A `TokenBatch` holds the tokens of a few rows: for each column one flat integer array, and one
length for each row. Codebook-major columns become flat row after row, frame-major ones stream
after stream, which is one transposition of all rows. Reading finds every row that cannot be shifted
(nulls, a wrong number of codebooks, lengths that differ, tokens outside the vocabulary), each with
its place.

Slices, offsets and data behind null slots are Arrow's own matter: `flatten` and the length
kernels take care of them, buffers are not touched here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from delaytool.batches.codes import TokenBatch, first_places, place_of, streams_first, streams_last
from delaytool.batches.job import Job, segments_of_column
from delaytool.batches.layouts import Column, Layout, Output, is_by_stream
from delaytool.batches.problems import Problems, split_rows
from delaytool.errors import DataError, Place
from delaytool.pattern.flat import wrong_tokens
from delaytool.pattern.segments import Array, Index, Segments
from delaytool.recipes.recipe import Stream


class ColumnReader:
    """Reads one column of one batch and notes which rows are bad."""

    def __init__(
        self, array: pa.Array, name: str, layout: Layout, size: int, problems: Problems
    ) -> None:
        self.array = array.storage if isinstance(array, pa.ExtensionArray) else array
        self.name, self.layout, self.size = name, layout, size
        self.streams: tuple[Stream, ...] = ()
        self.problems = problems

    def _note(self, row: int, error: DataError, **where: Any) -> None:
        self.problems.setdefault(row, error.at(row=row, column=self.name, **where))

    def _stream(self, number: int) -> str:
        return self.streams[number].name if number < len(self.streams) else f"codebook {number}"

    def read(self) -> tuple[Array | None, Index]:
        """The flat values (None if a row is bad) and the rows' lengths in timesteps."""
        for row in _nulls(self.array):
            self._note(row, DataError("null", "a null row", expected="no nulls", advice=REPAIR))
        lengths = _lengths(self.array)
        values = self.array.flatten()
        if self.layout == "codebook":
            values, lengths = self._read_codebooks(values, lengths)
        elif self.layout == "frame":
            values = self._read_frames(values, lengths)
        elif self.layout != "list":
            lengths = self._divide(lengths)
        if self.problems or values is None:
            return None, lengths
        self._note_null_values(values, lengths)
        if self.problems:
            return None, lengths
        flat = values.to_numpy(zero_copy_only=True)
        if is_by_stream(self.layout):
            # All frames below one another, transposed: each codebook's frames of all rows in turn.
            flat = np.ascontiguousarray(flat.reshape(-1, self.size).T).reshape(-1)
        return flat, lengths

    def _read_codebooks(self, books: pa.Array, counts: Index) -> tuple[pa.Array | None, Index]:
        """Values of [n][T] lists, and T of each row."""
        self._note_counts(counts, np.arange(len(counts)))
        rows = np.repeat(np.arange(len(counts)), counts)
        for i in _nulls(books):
            number = i - int(np.searchsorted(rows, rows[i]))
            error = DataError("null", "a null codebook", expected="no nulls", advice=REPAIR)
            self._note(int(rows[i]), error, stream=self._stream(number))
        if self.problems:
            return None, counts
        frames = _lengths(books).reshape(-1, self.size)
        lengths = frames[:, 0].copy()
        for row, number in np.argwhere(frames != lengths[:, None]):
            error = DataError(
                "codebook-lengths",
                numbered(frames[row, number], "frame"),
                expected=f"{lengths[row]}, as many as in {self._stream(0)}",
                advice=REPAIR,
            )
            self._note(int(row), error, stream=self._stream(int(number)))
        return (None if self.problems else books.flatten()), lengths

    def _read_frames(self, frames: pa.Array, lengths: Index) -> pa.Array | None:
        """Values of [T][n] lists."""
        rows = np.repeat(np.arange(len(lengths)), lengths)
        starts = np.cumsum(lengths) - lengths
        for i in _nulls(frames):
            row = int(rows[i])
            error = DataError("null", "a null frame", expected="no nulls", advice=REPAIR)
            self._note(row, error, timestep=i - int(starts[row]))
        if self.problems:
            return None
        self._note_counts(_lengths(frames), rows, starts)
        return None if self.problems else frames.flatten()

    def _note_counts(self, counts: Index, rows: Index, starts: Index | None = None) -> None:
        """Note lists that do not hold as many codebooks as they have to."""
        for i in np.flatnonzero(counts != self.size):
            row = int(rows[i])
            error = DataError(
                "codebooks",
                numbered(counts[i], "codebook"),
                expected=f"{self.size}, one for each audio stream of the recipe",
                advice="choose another --preset, --n-q or --audio-layout",
            )
            where = {} if starts is None else {"timestep": int(i - starts[row])}
            self._note(row, error, **where)

    def _divide(self, counts: Index) -> Index:
        """Frames of rows of n tokens each."""
        for row in np.flatnonzero(counts % self.size):
            error = DataError(
                "codebooks",
                numbered(counts[row], "token"),
                expected=f"a multiple of {self.size}, the number of audio streams of the recipe",
                advice="choose another --preset or --n-q",
            )
            self._note(int(row), error)
        return counts // self.size

    def _note_null_values(self, values: pa.Array, lengths: Index) -> None:
        for i in _nulls(values):
            # Arrow's order is by row in every layout; frame-major has the codebooks inside.
            row, number, timestep = place_of(i, lengths, self.size)
            if is_by_stream(self.layout):
                within = number * int(lengths[row]) + timestep
                timestep, number = divmod(within, self.size)
            error = DataError("null", "a null token", expected="a number", advice=REPAIR)
            told = self.streams or self.layout != "list"
            where = {"stream": self._stream(number)} if told else {}
            self._note(row, error, timestep=timestep, **where)


REPAIR = "remove or repair the row"


def numbered(count: Any, noun: str) -> str:
    """A number and what it counts: 1 frame, 2 frames."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _nulls(array: pa.Array) -> list[int]:
    """Where an array is null."""
    if not array.null_count:
        return []
    places: list[int] = np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False)).tolist()
    return places


def _lengths(lists: pa.Array) -> Index:
    kind = lists.type
    if (pa.types.is_list(kind) or pa.types.is_large_list(kind)) and not lists.null_count:
        return np.diff(np.asarray(lists.offsets.to_numpy())).astype(np.int64, copy=False)
    lengths = pc.list_value_length(lists).fill_null(0)
    return np.asarray(lengths.to_numpy(zero_copy_only=False)).astype(np.int64)


def scan(
    batch: pa.RecordBatch, job: Job, *, any_token: bool = False
) -> tuple[TokenBatch, Problems]:
    """Read the tokens of an original batch and find all its bad rows.

    any_token: whether tokens may lie outside their vocabulary
    returns: for each of the job's columns its streams of the recipe (none if any row is bad), the
             lengths being the audio's; and the first problem of each bad row. With `job.align`
             the text may have other lengths: `align` makes them equal
    """
    tokens, found = _scan(batch, job, any_token)
    problems: Problems = {}
    rows = np.arange(batch.num_rows)
    while found:
        # What is wrong in one way hides what is wrong in another, until it is out of the way.
        for row, error in found.items():
            problems[int(rows[row])] = error.at(row=int(rows[row]))
        rows = np.delete(rows, list(found))
        batch, _ = split_rows(batch, list(found))
        _, found = _scan(batch, job, any_token)
    return tokens, dict(sorted(problems.items()))


def _scan(batch: pa.RecordBatch, job: Job, any_token: bool) -> tuple[TokenBatch, Problems]:
    """The tokens, or the problems that can be seen at once."""
    problems: Problems = {}
    columns: list[Array] = []
    all_lengths: list[Index] = []
    for column in job.columns:
        found: Problems = {}
        reader = ColumnReader(
            batch.column(column.name), column.name, column.layout, column.size, found
        )
        if column.is_whole:
            reader.streams = column.streams(job.recipe)
        flat, lengths = reader.read()
        if flat is not None:
            flat = _used(flat, lengths, column)
            segments = segments_of_column(column, lengths, job)
            if not any_token:
                _note_wrong_tokens(flat, segments, column.name, found)
            columns.append(flat)
            all_lengths.append(lengths)
        if found:
            # What is said of a row must not depend on the rows around it, so columns go in turn.
            return TokenBatch((), np.zeros(0, dtype=np.int64)), found
    if len(columns) == len(job.columns):
        _note_lengths(all_lengths, job, problems)
    if problems:
        return TokenBatch((), np.zeros(0, dtype=np.int64)), problems
    return TokenBatch(tuple(columns), all_lengths[-1]), {}


def _used(flat: Array, lengths: Index, column: Column) -> Array:
    """The codebooks of a column that are streams of the recipe."""
    if column.is_whole:
        return flat
    by_stream = is_by_stream(column.layout)
    grid = streams_first(flat, lengths, column.size, by_stream)
    grid = grid[column.start : column.start + column.count]
    return streams_last(grid, lengths, by_stream)


def _note_wrong_tokens(flat: Array, segments: Segments, name: str, problems: Problems) -> None:
    wrong = wrong_tokens(flat, segments, segments.lengths)
    if not wrong.size:
        return
    for position, row, number, timestep in first_places(
        wrong, segments.lengths, len(segments.streams), segments.by_stream
    ):
        if row in problems:
            continue
        stream = segments.streams[number]
        card = "text-card" if stream.kind == "text" else "card"
        error = DataError(
            "token",
            f"token {flat[position]}",
            expected=f"0 to {stream.cardinality - 1}, or -1",
            advice=f"repair the row, or set --{card} to the size of the vocabulary",
        )
        place = {"column": name, "stream": stream.name, "timestep": timestep}
        problems[row] = error.at(row=row, **place)


def _note_lengths(all_lengths: list[Index], job: Job, problems: Problems) -> None:
    """Note rows whose columns differ in length and that alignment does not allow to."""
    audio = all_lengths[-1]
    for column, lengths in zip(job.columns, all_lengths, strict=True):
        allowed = lengths == audio
        if job.align != "error" and column.first == 0:
            allowed = lengths <= audio if job.align == "pad" else lengths >= audio
        for row in np.flatnonzero(~allowed):
            error = DataError(
                "text-length",
                numbered(lengths[row], "frame"),
                expected=f"{audio[row]}, as many as column {job.columns[-1].name} has",
                advice="align text and codes to the same frames, or see --align",
            )
            problems.setdefault(int(row), error.at(row=int(row), column=column.name))


def read_tokens(batch: pa.RecordBatch, job: Job, *, any_token: bool = False) -> TokenBatch:
    """The tokens of an original batch; raises DataError for the first bad row."""
    tokens, problems = scan(batch, job, any_token=any_token)
    for error in problems.values():
        raise error
    return tokens


def text_lengths(batch: pa.RecordBatch, job: Job) -> Index:
    """Tokens of text in each row, before any alignment."""
    return _lengths(batch.column(job.columns[0].name))


def read_outputs(batch: pa.RecordBatch, job: Job) -> TokenBatch:
    """The shifted tokens of a batch of outputs; the lengths are those after the shift.

    Raises DataError for the first bad row; token ids are not looked at.
    """
    arrays: list[Array] = []
    first: Index | None = None
    for output in job.outputs:
        flat, lengths = read_values(batch, output.name, output, job)
        if first is not None:
            for row in np.flatnonzero(lengths != first):
                raise DataError(
                    "column-lengths",
                    numbered(lengths[row], "timestep"),
                    expected=f"{first[row]}, as many as column {job.outputs[0].name} has",
                    place=Place(row=int(row), column=output.name),
                )
        arrays.append(flat)
        first = lengths if first is None else first
    assert first is not None, "a job has at least one output"
    return TokenBatch(tuple(arrays), first)


def read_values(batch: pa.RecordBatch, name: str, output: Output, job: Job) -> tuple[Array, Index]:
    """The flat values of a column laid out like an output, and each row's timesteps.

    Raises DataError for the first bad row.
    """
    problems: Problems = {}
    reader = ColumnReader(batch.column(name), name, output.layout, output.count, problems)
    reader.streams = output.streams(job.recipe)
    flat, lengths = reader.read()
    if flat is None:
        raise problems[min(problems)]
    return flat, lengths


def read_rest(
    batch: pa.RecordBatch, column: Column, job: Job, lengths: Index, shifted: bool = False
) -> Array:
    """The codebooks of a column that are none of the recipe's streams, [n, frames of all rows].

    shifted: whether the batch is an output, whose column of that name holds them alone
    lengths: frames of each row; raises DataError for the first bad row
    """
    problems: Problems = {}
    size = column.size - column.count if shifted else column.size
    array = batch.column(column.name)
    flat, here = ColumnReader(array, column.name, column.layout, size, problems).read()
    for row in np.flatnonzero(here != lengths) if flat is not None else []:
        error = DataError(
            "column-lengths",
            numbered(here[row], "frame"),
            expected=f"{lengths[row]}, as in the output",
        )
        problems[int(row)] = error.at(row=int(row), column=column.name)
    if flat is None or problems:
        raise problems[min(problems)]
    grid = streams_first(flat, lengths, size, is_by_stream(column.layout))
    if shifted:
        return grid
    return np.delete(grid, slice(column.start, column.start + column.count), axis=0)
