"""Token columns of a record batch: from Arrow to flat arrays, and back.

A `TokenBatch` holds the tokens of a few rows: for each token column one flat integer array in
row, stream, timestep order, and one length for each row. Reading one finds every row that cannot
be shifted (nulls, a wrong number of codebooks, lengths that differ, tokens outside the
vocabulary), each with its place. Nothing is copied on the way in.

Slices, offsets and data behind null slots are Arrow's own matter: `flatten` and the length
kernels take care of them, buffers are not touched here.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from delaytool.errors import DataError, Place
from delaytool.job import Column, Job
from delaytool.pattern import Array, Index, possible_fills, widened, wrong_tokens


@dataclass(frozen=True)
class TokenBatch:
    """The tokens of a few rows.

    columns: one flat integer array for each of the job's columns, in row, stream, timestep order
    lengths: timesteps of each row, the same in all columns, int64
    """

    columns: tuple[Array, ...]
    lengths: Index


Problems = dict[int, DataError]
"""The first problem of each bad row of a batch, by row number in the batch."""


def is_list(kind: pa.DataType) -> bool:
    """Whether values of this type are lists of some kind."""
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def check_column_type(field: pa.Field, column: Column) -> None:
    """Raise DataError unless the column's type can hold tokens in the column's layout."""
    kind, depth = field.type, 0
    while is_list(kind):
        kind, depth = kind.value_type, depth + 1
    wanted = {
        "list": (1, "list<integer>, one token a frame"),
        "codebook": (2, "list<list<integer>> [n_q][T], codebook-major"),
    }[column.layout]
    if depth != wanted[0] or not pa.types.is_integer(kind):
        raise DataError(
            f"has the type {field.type}",
            expected=wanted[1],
            advice="name another column, or store the tokens like this",
            place=Place(column=column.name),
        )


def _leaf(kind: pa.DataType) -> pa.DataType:
    while is_list(kind):
        kind = kind.value_type
    return kind


def list_type_like(kind: pa.DataType, leaf: pa.DataType) -> pa.DataType:
    """The same lists around another leaf type; fixed-size lists become lists.

    list<list<uint8>>, int16 -> list<list<int16>>
    """
    if not is_list(kind):
        return leaf
    field = kind.value_field.with_type(list_type_like(kind.value_type, leaf))
    return pa.large_list(field) if pa.types.is_large_list(kind) else pa.list_(field)


def shifted_type(kind: pa.DataType, column: Column, job: Job) -> pa.DataType:
    """The type of a token column after the shift: wider where a fill token needs it."""
    leaf = _leaf(kind)
    fills = possible_fills(job.recipe, column.streams(job.recipe))
    wide = widened(np.dtype(str(leaf)), fills)
    return list_type_like(kind, pa.from_numpy_dtype(wide))


def weights_type(kind: pa.DataType) -> pa.DataType:
    """The type of a column of weights: the token column's lists around float32."""
    if not is_list(kind):
        return pa.float32()
    return pa.list_(pa.field("element", weights_type(kind.value_type)))


class _Reader:
    """Reads one column of one batch and notes which rows are bad."""

    def __init__(self, array: pa.Array, column: Column, job: Job, problems: Problems) -> None:
        self.array, self.column = array, column
        self.streams = column.streams(job.recipe)
        self.problems = problems

    def _note(self, row: int, error: DataError, **where: Any) -> None:
        self.problems.setdefault(row, error.at(row=row, column=self.column.name, **where))

    def _note_nulls(self, array: pa.Array, rows: Index, what: str) -> None:
        if not array.null_count:
            return
        for i in np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False)):
            where = {}
            if what == "codebook":
                where["stream"] = self._stream_name(int(i) - int(np.searchsorted(rows, rows[i])))
            self._note(
                int(rows[i]),
                DataError(f"a null {what}", expected="no nulls", advice="remove or repair the row"),
                **where,
            )

    def _stream_name(self, number: int) -> str | None:
        return self.streams[number].name if number < len(self.streams) else None

    def read(self) -> tuple[Array | None, Index]:
        """The flat tokens (None if a row is bad) and the rows' lengths in timesteps."""
        rows = np.arange(len(self.array))
        self._note_nulls(self.array, rows, "row")
        lengths = self._lengths(self.array)
        values = self.array.flatten()
        if self.column.layout == "codebook":
            values, lengths = self._read_codebooks(values, lengths)
        if self.problems and values is None:
            return None, lengths
        if values.null_count:
            self._note_null_tokens(values, lengths)
        if self.problems:
            return None, lengths
        return values.to_numpy(zero_copy_only=True), lengths

    @staticmethod
    def _lengths(lists: pa.Array) -> Index:
        lengths = pc.list_value_length(lists).fill_null(0)
        return np.asarray(lengths.to_numpy(zero_copy_only=False)).astype(np.int64)

    def _read_codebooks(self, books: pa.Array, counts: Index) -> tuple[pa.Array | None, Index]:
        """Tokens of [n_q][T] lists, and T of each row."""
        n_q = len(self.streams)
        known = ~self.array.is_null().to_numpy(zero_copy_only=False)
        for row in np.flatnonzero((counts != n_q) & known):
            self._note(
                int(row),
                DataError(
                    f"{counts[row]} codebooks",
                    expected=f"{n_q}, one for each audio stream of the recipe",
                    advice="choose another --preset or --n-q; "
                    "codes must be codebook-major, [n_q][T]",
                ),
            )
        row_of_book = np.repeat(np.arange(len(counts)), counts)
        self._note_nulls(books, row_of_book, "codebook")
        if self.problems:
            return None, counts
        frames = self._lengths(books).reshape(-1, n_q)
        lengths = frames[:, 0].copy() if n_q else counts
        for row, number in np.argwhere(frames != lengths[:, None]):
            self._note(
                int(row),
                DataError(
                    f"{frames[row, number]} frames",
                    expected=f"{lengths[row]}, as many as in stream {self.streams[0].name}",
                    advice="remove or repair the row",
                ),
                stream=self.streams[number].name,
            )
        return (None if self.problems else books.flatten()), lengths

    def _note_null_tokens(self, values: pa.Array, lengths: Index) -> None:
        for i in np.flatnonzero(values.is_null().to_numpy(zero_copy_only=False)):
            row, number, timestep = place_of(int(i), lengths, len(self.streams))
            error = DataError("a null token", expected="an integer", advice="repair the row")
            self._note(row, error, stream=self.streams[number].name, timestep=timestep)


def place_of(position: int, lengths: Index, streams: int) -> tuple[int, int, int]:
    """Row, stream number and timestep of a position in a flat array.

    4, lengths [1, 3], 2 streams -> (1, 0, 2)
    """
    ends = np.cumsum(lengths) * streams
    row = int(np.searchsorted(ends, position, side="right"))
    within = position - int(ends[row] - lengths[row] * streams)
    return row, within // int(lengths[row]), within % int(lengths[row])


def scan(batch: pa.RecordBatch, job: Job, *, shifted: bool = False) -> tuple[TokenBatch, Problems]:
    """Read a batch and find its bad rows.

    shifted: whether the tokens are shifted already, so that fill tokens may be among them; their
             values are then not looked at
    returns: the tokens (empty if any row is bad) and the first problem of each bad row
    """
    problems: Problems = {}
    columns: list[Array] = []
    lengths: Index | None = None
    for column in job.columns:
        found: Problems = {}
        reader = _Reader(batch.column(column.name), column, job, found)
        flat, here = reader.read()
        if flat is not None and not shifted:
            _note_wrong_tokens(flat, here, column, job, found)
        if flat is not None and lengths is not None:
            _note_lengths(here, lengths, column, job, found)
        for row, error in found.items():
            problems.setdefault(row, error)
        if flat is not None:
            columns.append(flat)
            lengths = here if lengths is None else lengths
    if problems:
        return TokenBatch((), np.zeros(0, dtype=np.int64)), dict(sorted(problems.items()))
    return TokenBatch(tuple(columns), _known(lengths)), {}


def _known(lengths: Index | None) -> Index:
    assert lengths is not None, "a job has at least one column"
    return lengths


def _note_wrong_tokens(
    flat: Array, lengths: Index, column: Column, job: Job, problems: Problems
) -> None:
    streams = column.streams(job.recipe)
    for position in wrong_tokens(flat, streams, lengths):
        row, number, timestep = place_of(int(position), lengths, len(streams))
        if row in problems:
            continue
        stream = streams[number]
        error = DataError(
            f"token {flat[position]}",
            expected=f"0 to {stream.cardinality - 1}, or -1",
            advice=f"repair the row, or set --{'text-card' if stream.kind == 'text' else 'card'} "
            "to the size of the vocabulary",
        )
        place = {"column": column.name, "stream": stream.name, "timestep": timestep}
        problems[row] = error.at(row=row, **place)


def _note_lengths(
    here: Index, lengths: Index, column: Column, job: Job, problems: Problems
) -> None:
    first = job.columns[0].name
    for row in np.flatnonzero(here != lengths):
        error = DataError(
            f"{here[row]} frames",
            expected=f"{lengths[row]}, as many as column {first} has",
            advice="align text and codes to the same frames before delaytool",
        )
        problems.setdefault(int(row), error.at(row=int(row), column=column.name))


def read_tokens(batch: pa.RecordBatch, job: Job, *, shifted: bool = False) -> TokenBatch:
    """The tokens of a batch; raises DataError for the first bad row."""
    tokens, problems = scan(batch, job, shifted=shifted)
    for error in problems.values():
        raise error
    return tokens


def read_weights(batch: pa.RecordBatch, column: Column, job: Job) -> tuple[Array, Index]:
    """The flat weights of a token column, and each row's timesteps; raises DataError."""
    assert column.weights is not None, "only columns with weights have them read"
    problems: Problems = {}
    named = dataclasses.replace(column, name=column.weights)
    flat, lengths = _Reader(batch.column(column.weights), named, job, problems).read()
    if flat is None:
        raise problems[min(problems)]
    return flat, lengths


def to_arrow(flat: Array | pa.Array, lengths: Index, streams: int, kind: pa.DataType) -> pa.Array:
    """A flat array as a column of a list type: [T], or [streams][T] if the type is nested twice.

    lengths: timesteps of each row
    """
    values = flat if isinstance(flat, pa.Array) else pa.array(flat)
    if not is_list(kind.value_type):
        return _lists(lengths, values, kind)
    books = _lists(np.repeat(lengths, streams), values, kind.value_type)
    return _lists(np.full(len(lengths), streams, dtype=np.int64), books, kind)


def _lists(lengths: Index, values: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_fixed_size_list(kind):
        wrong = np.flatnonzero(lengths != kind.list_size)
        if wrong.size:
            raise DataError(
                f"{lengths[wrong[0]]} entries in a list",
                expected=f"{kind.list_size}, the size that its type {kind} fixes",
                advice="make the shard anew",
            )
        return pa.FixedSizeListArray.from_arrays(values, type=kind)
    large = pa.types.is_large_list(kind)
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    if not large and offsets[-1] > np.iinfo(np.int32).max:
        raise DataError(
            f"{offsets[-1]} cells in one list column of one batch",
            expected=f"at most {np.iinfo(np.int32).max}",
            advice="split the rows, or store them as large_list",
        )
    make = pa.LargeListArray if large else pa.ListArray
    return make.from_arrays(
        pa.array(offsets if large else offsets.astype(np.int32)), values, type=kind
    )
