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

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from delaytool.errors import DataError, Place
from delaytool.job import Column, Job, Layout, Output, is_by_stream
from delaytool.pattern import Array, Index, Segments, possible_fills, widened, wrong_tokens
from delaytool.recipe import MAX_WEIGHT, Recipe, Stream
from delaytool.weights import NO_LABEL, weights_with_factors


@dataclass(frozen=True)
class TokenBatch:
    """The tokens of a few rows.

    columns: one flat integer array for each column
    lengths: timesteps of each row, the same in all columns, int64
    """

    columns: tuple[Array, ...]
    lengths: Index


Problems = dict[int, DataError]
"""The first problem of each bad row of a batch, by row number in the batch."""


# Types


def is_list(kind: pa.DataType) -> bool:
    """Whether values of this type are lists of some kind."""
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def storage(kind: pa.DataType) -> pa.DataType:
    """The type that an extension type (Hugging Face's Array2D) is stored as."""
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def depth_of(kind: pa.DataType) -> tuple[int, pa.DataType]:
    """How deep lists are nested, and the type inside: list<list<int16>> -> 2, int16"""
    kind, depth = storage(kind), 0
    while is_list(kind):
        kind, depth = kind.value_type, depth + 1
    return depth, kind


_SHAPES = {
    "list": (1, "list<integer> [T], one token a frame"),
    "codebook": (2, "list<list<integer>> [n_q][T], codebook-major"),
    "frame": (2, "list<list<integer>> [T][n_q], frame-major"),
    "flat-codebook": (1, "list<integer>, n_q times T tokens"),
    "flat-frame": (1, "list<integer>, T times n_q tokens"),
}


def check_column_type(field: pa.Field, layout: Layout) -> None:
    """Raise DataError unless a column of this type can hold tokens in this layout."""
    depth, leaf = depth_of(field.type)
    wanted, shape = _SHAPES[layout]
    if depth != wanted or not pa.types.is_integer(leaf):
        raise DataError(
            "column-type",
            f"has the type {field.type}",
            expected=shape,
            advice="name another column or another --audio-layout, or store the tokens like this",
            place=Place(column=field.name),
        )


def output_type(kinds: Sequence[pa.DataType], output: Output, job: Job) -> pa.DataType:
    """The type of a column of shifted tokens.

    kinds: the types of the columns that its tokens come from; one of the same layout keeps its
           lists, except that fixed-size time axes become lists
    """
    leaves = [np.dtype(str(depth_of(kind)[1])) for kind in kinds]
    fills = possible_fills(job.recipe, output.streams(job.recipe))
    if job.align == "pad" and output.first == 0:
        fills.add(job.recipe.streams[0].padding)
    leaf = pa.from_numpy_dtype(widened(common_type(leaves), fills))
    twin = job.twin(output)
    if twin is None:
        return lists_around(leaf, _SHAPES[output.layout][0])
    return _like(storage(kinds[0]), leaf, output.layout)


def common_type(types: Sequence[np.dtype[Any]]) -> np.dtype[Any]:
    """The integer type that holds the valid tokens of all these types: uint64, int8 -> int64"""
    if len(set(types)) == 1:
        return types[0]
    common = np.result_type(*types)
    return common if common.kind in "iu" else np.dtype(np.int64)


def lists_around(leaf: pa.DataType, depth: int) -> pa.DataType:
    """int16, 2 -> list<element: list<element: int16>>"""
    for _ in range(depth):
        leaf = pa.list_(pa.field("element", leaf))
    return leaf


def _like(kind: pa.DataType, leaf: pa.DataType, layout: Layout, level: int = 0) -> pa.DataType:
    """The same lists around another leaf type, with a time axis of any length.

    fixed_size_list<fixed_size_list<uint8>[4]>[8], int16, codebook
    -> fixed_size_list<list<int16>>[8]
    """
    if not is_list(kind):
        return leaf
    field = kind.value_field.with_type(_like(kind.value_type, leaf, layout, level + 1))
    codebooks = {"codebook": 0, "frame": 1}.get(layout)
    if pa.types.is_fixed_size_list(kind) and level == codebooks:
        return pa.list_(field, kind.list_size)
    return pa.large_list(field) if pa.types.is_large_list(kind) else pa.list_(field)


def rest_type(kind: pa.DataType, column: Column) -> pa.DataType:
    """The type of a column's codebooks that are none of the recipe's streams."""
    size = column.size - column.count
    if column.layout == "codebook" and pa.types.is_fixed_size_list(kind):
        return pa.list_(kind.value_field, size)
    if column.layout == "frame" and pa.types.is_fixed_size_list(kind.value_type):
        return list_like(
            kind, kind.value_field.with_type(pa.list_(kind.value_type.value_field, size))
        )
    return kind


def list_like(kind: pa.DataType, field: pa.Field) -> pa.DataType:
    """A list of the same sort around another field."""
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(field, kind.list_size)
    return pa.large_list(field) if pa.types.is_large_list(kind) else pa.list_(field)


def labels_type(kind: pa.DataType) -> pa.DataType:
    """The type of a column of labels: the tokens' lists around a type that holds -100."""
    depth, leaf = depth_of(kind)
    wide = widened(np.dtype(str(leaf)), {NO_LABEL})
    return lists_around(pa.from_numpy_dtype(wide), depth)


def weights_type(kind: pa.DataType) -> pa.DataType:
    """The type of a column of weights: the tokens' lists around float32."""
    return lists_around(pa.float32(), depth_of(kind)[0])


# Reading


class _Reader:
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
            self._note(row, DataError("null", "a null row", expected="no nulls", advice=_REPAIR))
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
            error = DataError("null", "a null codebook", expected="no nulls", advice=_REPAIR)
            self._note(int(rows[i]), error, stream=self._stream(number))
        if self.problems:
            return None, counts
        frames = _lengths(books).reshape(-1, self.size)
        lengths = frames[:, 0].copy()
        for row, number in np.argwhere(frames != lengths[:, None]):
            error = DataError(
                "codebook-lengths",
                _number(frames[row, number], "frame"),
                expected=f"{lengths[row]}, as many as in {self._stream(0)}",
                advice=_REPAIR,
            )
            self._note(int(row), error, stream=self._stream(int(number)))
        return (None if self.problems else books.flatten()), lengths

    def _read_frames(self, frames: pa.Array, lengths: Index) -> pa.Array | None:
        """Values of [T][n] lists."""
        rows = np.repeat(np.arange(len(lengths)), lengths)
        starts = np.cumsum(lengths) - lengths
        for i in _nulls(frames):
            row = int(rows[i])
            error = DataError("null", "a null frame", expected="no nulls", advice=_REPAIR)
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
                _number(counts[i], "codebook"),
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
                _number(counts[row], "token"),
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
            error = DataError("null", "a null token", expected="a number", advice=_REPAIR)
            told = self.streams or self.layout != "list"
            where = {"stream": self._stream(number)} if told else {}
            self._note(row, error, timestep=timestep, **where)


_REPAIR = "remove or repair the row"


def _number(count: Any, noun: str) -> str:
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


def place_of(
    position: int, lengths: Index, streams: int, by_stream: bool = False
) -> tuple[int, int, int]:
    """Row, stream number and timestep of a position in a flat array.

    4, lengths [1, 3], 2 streams -> (1, 0, 2); by stream: (0, 1, 0)
    """
    places = first_places(np.array([position]), lengths, streams, by_stream)
    return places[0][1:]


def first_places(
    positions: Index, lengths: Index, streams: int, by_stream: bool = False
) -> list[tuple[int, int, int, int]]:
    """The first of the positions in each row, with its `place_of`; they have to be in order."""
    numbers, within = np.zeros_like(positions), positions
    if by_stream:
        numbers, within = np.divmod(positions, int(lengths.sum()))
        streams = 1
    ends = np.cumsum(lengths) * streams
    rows, firsts = np.unique(np.searchsorted(ends, within, side="right"), return_index=True)
    more, timesteps = np.divmod(within[firsts] - (ends - lengths * streams)[rows], lengths[rows])
    places = (positions[firsts], rows, numbers[firsts] + more, timesteps)
    return list(zip(*(part.tolist() for part in places), strict=True))


def segments_of_column(column: Column | Output, lengths: Index, job: Job) -> Segments:
    """The segments of one column, from the lengths of its rows before the shift."""
    streams = column.streams(job.recipe)
    return Segments(job.recipe, lengths, streams, is_by_stream(column.layout))


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


def split_rows(batch: pa.RecordBatch, rows: Sequence[int]) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """The other rows of a batch, and these."""
    these = np.zeros(batch.num_rows, dtype=bool)
    these[list(rows)] = True
    return batch.filter(pa.array(~these)), batch.filter(pa.array(these))


def _scan(batch: pa.RecordBatch, job: Job, any_token: bool) -> tuple[TokenBatch, Problems]:
    """The tokens, or the problems that can be seen at once."""
    problems: Problems = {}
    columns: list[Array] = []
    all_lengths: list[Index] = []
    for column in job.columns:
        found: Problems = {}
        reader = _Reader(batch.column(column.name), column.name, column.layout, column.size, found)
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
                _number(lengths[row], "frame"),
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
                    _number(lengths[row], "timestep"),
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
    reader = _Reader(batch.column(name), name, output.layout, output.count, problems)
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
    flat, here = _Reader(array, column.name, column.layout, size, problems).read()
    for row in np.flatnonzero(here != lengths) if flat is not None else []:
        error = DataError(
            "column-lengths",
            _number(here[row], "frame"),
            expected=f"{lengths[row]}, as in the output",
        )
        problems[int(row)] = error.at(row=int(row), column=column.name)
    if flat is None or problems:
        raise problems[min(problems)]
    grid = streams_first(flat, lengths, size, is_by_stream(column.layout))
    if shifted:
        return grid
    return np.delete(grid, slice(column.start, column.start + column.count), axis=0)


def read_factors(
    batch: pa.RecordBatch, job: Job, tokens: TokenBatch, held: Sequence[Column | Output]
) -> Array:
    """The user's factors on the loss weights, float32 or float64, [K, frames of all rows].

    tokens, held: those that they are of, aligned, before the shift, and what holds them

    Raises DataError for the first bad row.
    """
    factors, problems = scan_factors(batch, job, tokens, held)
    for error in problems.values():
        raise error
    return factors


def scan_factors(
    batch: pa.RecordBatch, job: Job, tokens: TokenBatch, held: Sequence[Column | Output]
) -> tuple[Array, Problems]:
    """The user's factors as `read_factors` gives them, and the first problem of each bad row."""
    assert job.factors is not None, "only jobs with a column of factors read one"
    array, none = batch.column(job.factors), np.zeros((0, 0), dtype=np.float32)
    depth, streams, lengths = depth_of(array.type)[0], job.recipe.streams, tokens.lengths
    k = 1 if depth == 1 else len(streams)
    problems: Problems = {}
    reader = _Reader(array, job.factors, "list" if depth == 1 else "codebook", k, problems)
    reader.streams = streams if depth > 1 else ()
    given, here = reader.read()
    if given is None:
        return none, dict(sorted(problems.items()))
    for row in np.flatnonzero(here != lengths):
        error = DataError(
            "weight-length",
            _number(here[row], "frame"),
            expected=f"{lengths[row]}, as many as the audio has",
        )
        problems[int(row)] = error.at(row=int(row), column=job.factors)
    flat = _as_floats(given)
    if flat.size and not (flat.min() >= 0 and np.isfinite(flat.max())):
        wrong = np.flatnonzero(~(np.isfinite(flat) & (flat >= 0)))
        _note_factors(given, first_places(wrong, here, k), reader.streams, job.factors, problems)
    if problems:
        return none, dict(sorted(problems.items()))
    grid = np.broadcast_to(flat, (len(streams), flat.size))
    if depth > 1:
        grid = streams_first(flat, lengths, k, by_stream=False)
    if flat.size and float(flat.max()) * job.recipe.heaviest > MAX_WEIGHT:
        wrong = _too_heavy(grid, tokens, held, job.recipe)
        places = first_places(wrong, lengths, len(streams), by_stream=True)
        _note_factors(grid.reshape(-1), places, streams, job.factors, problems)
    return grid, dict(sorted(problems.items()))


def _as_floats(numbers: Array) -> Array:
    """The same numbers as float32 if it holds all of them, else as float64."""
    # What is too large a number for float32 becomes infinite here.
    with np.errstate(over="ignore"):
        narrow = numbers.astype(np.float32, copy=False)
    if narrow is numbers or np.can_cast(numbers.dtype, np.float32):
        return narrow
    wide = numbers.astype(np.float64, copy=False)
    return narrow if np.array_equal(narrow, wide) else wide


def _note_factors(
    values: Array,
    places: list[tuple[int, int, int, int]],
    streams: Sequence[Stream],
    name: str,
    problems: Problems,
) -> None:
    """Note factors that are no weights, or make too heavy ones.

    places:  what `first_places` gives for them; streams: those that it numbers, if they have names
    """
    for position, row, number, timestep in places:
        error = DataError(
            "weight",
            f"the factor {values[position]!s}",
            expected="a number from 0 up that leaves weights finite",
            advice=_REPAIR,
        )
        stream = streams[number].name if streams else None
        place = {"column": name, "stream": stream, "timestep": timestep}
        problems.setdefault(row, error.at(row=row, **place))


def _too_heavy(
    factors: Array, tokens: TokenBatch, held: Sequence[Column | Output], recipe: Recipe
) -> Index:
    """Where a factor makes a weight that no float32 holds, in [K, frames of all rows], flat."""
    heavy = np.zeros(factors.shape, dtype=bool)
    for column, flat in zip(held, tokens.columns, strict=True):
        lines = streams_first(flat, tokens.lengths, column.count, is_by_stream(column.layout))
        for number, line in enumerate(lines, start=column.first):
            if recipe.carries_loss(number):
                stream = recipe.streams[number]
                weights = weights_with_factors(line, stream, factors[number])
                heavy[number] = ~np.isfinite(weights)
    # Nothing is known of what truncation cut off, and it has no weight.
    lost = Segments(recipe, tokens.lengths, recipe.streams, by_stream=True).lost()
    return np.flatnonzero(heavy if lost is None else heavy.reshape(-1) & ~lost)


# Moving between orders


def streams_first(flat: Array, lengths: Index, streams: int, by_stream: bool) -> Array:
    """A flat array as [streams, timesteps of all rows]."""
    if not by_stream and streams > 1:
        flat = flat[_other_order(lengths, streams)]
    return flat.reshape(streams, int(lengths.sum()))


def streams_last(grid: Array, lengths: Index, by_stream: bool) -> Array:
    """[streams, timesteps of all rows] as a flat array."""
    flat = np.ascontiguousarray(grid).reshape(-1)
    if by_stream or len(grid) == 1:
        return flat
    out = np.empty_like(flat)
    out[_other_order(lengths, len(grid))] = flat
    return out


def _other_order(lengths: Index, streams: int) -> Index:
    """For each cell in stream, row order its place in row, stream order."""
    starts = (np.cumsum(lengths) - lengths) * streams
    segments = starts + lengths * np.arange(streams, dtype=np.int64)[:, None]
    sizes = np.tile(lengths, streams)
    here = np.cumsum(sizes) - sizes
    order: Index = np.arange(int(sizes.sum())) + np.repeat(segments.reshape(-1) - here, sizes)
    return order


def resized(flat: Array, lengths: Index, wanted: Index, padding: int, dtype: Any) -> Array:
    """One stream with other lengths: rows are cut, or padded at their end."""
    out = np.full(int(wanted.sum()), padding, dtype=dtype)
    both = np.minimum(lengths, wanted)
    cells = np.arange(int(both.sum())) - np.repeat(np.cumsum(both) - both, both)
    take = cells + np.repeat(np.cumsum(lengths) - lengths, both)
    out[cells + np.repeat(np.cumsum(wanted) - wanted, both)] = flat[take]
    return out


# Writing


def to_arrow(
    flat: Array, lengths: Index, layout: Layout, streams: int, kind: pa.DataType, lost: Any = None
) -> pa.Array:
    """A flat array as a column.

    lengths: timesteps of each row
    kind:    the column's type, whose lists fit the layout
    lost:    True where the column gets a null, flat, in the same order
    """
    if is_by_stream(layout):
        flat = np.ascontiguousarray(flat.reshape(streams, -1).T).reshape(-1)
        lost = None if lost is None else lost.reshape(streams, -1).T.reshape(-1)
    values = pa.array(flat, mask=lost)
    if layout == "list":
        return _lists(lengths, values, kind)
    if layout in ("flat-codebook", "flat-frame"):
        return _lists(lengths * streams, values, kind)
    if layout == "codebook":
        inner = _lists(np.repeat(lengths, streams), values, kind.value_type)
        return _lists(np.full(len(lengths), streams, dtype=np.int64), inner, kind)
    frames = np.full(int(lengths.sum()), streams, dtype=np.int64)
    return _lists(lengths, _lists(frames, values, kind.value_type), kind)


def _lists(lengths: Index, values: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_fixed_size_list(kind):
        wrong = np.flatnonzero(lengths != kind.list_size)
        if wrong.size:
            raise DataError(
                "list-size",
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
            "batch-size",
            f"{offsets[-1]} cells in one list column of one batch",
            expected=f"at most {np.iinfo(np.int32).max}",
            advice="split the rows, or store them as large_list",
        )
    make = pa.LargeListArray if large else pa.ListArray
    return make.from_arrays(
        pa.array(offsets if large else offsets.astype(np.int32)), values, type=kind
    )
