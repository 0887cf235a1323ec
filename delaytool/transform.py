"""One record batch to another: `shift` and `unshift`.

Everything that moves tokens goes through here: apply, verify, revert and the library. What a
schema becomes is here too, its `huggingface` and `pandas` metadata included: both describe the
columns, and readers fail on a description that no longer fits.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from delaytool.errors import DataError, Place
from delaytool.figures import figures_of
from delaytool.job import (
    ENTRY,
    REASON,
    Column,
    Counts,
    Figures,
    Job,
    Output,
    Record,
    is_by_stream,
)
from delaytool.pattern import Array, Index, Segments, delay_flat, undelay_flat
from delaytool.recipe import Recipe
from delaytool.tokens import (
    Problems,
    TokenBatch,
    check_column_type,
    common_type,
    depth_of,
    is_list,
    labels_type,
    output_type,
    read_factors,
    read_outputs,
    read_rest,
    read_tokens,
    resized,
    rest_type,
    scan,
    scan_factors,
    segments_of_column,
    split_rows,
    storage,
    streams_first,
    streams_last,
    text_lengths,
    to_arrow,
    weights_type,
)
from delaytool.weights import Weights, labels_flat, loss_weights_flat

# Schemas


def check_schema(schema: pa.Schema, job: Job) -> None:
    """Raise DataError unless the job's columns are there, fit, and their outputs' names free."""
    names = schema.names
    for name in names:
        if names.count(name) > 1:
            raise DataError(
                "column-twice",
                f"two columns are named {name}",
                expected="one of each name",
                advice="rename one of them",
            )
    if ENTRY.encode() in (schema.metadata or {}):
        raise already_shifted()
    for column in job.columns:
        check_there(schema, column.name, _option_of(column, job))
        check_column_type(schema.field(column.name), column.layout)
    if job.factors is not None:
        check_there(schema, job.factors, "--weight-column")
        _check_factors(schema.field(job.factors))
    _check_slices(job)
    taken = set(names) - {column.name for column in job.columns if column.is_whole}
    for name in (name for output in job.outputs for name in job.names_of(output)):
        if name in taken:
            raise DataError(
                "column-in-the-way",
                f"the column {name} is in the way of a column of that name in the output",
                expected="no column of that name",
                advice="rename or drop it"
                + (", or use --no-weights" if name.endswith("loss_weights") else ""),
                place=Place(column=name),
            )


def _check_slices(job: Job) -> None:
    """A slice's other codebooks stay under the column's name, so its streams need another."""
    outputs = {output.name for output in job.outputs}
    for column in job.columns:
        if not column.is_whole and column.name in outputs:
            raise DataError(
                "slice",
                f"only codebooks {column.start} to {column.start + column.count - 1} "
                f"of {column.size} are used, and the others stay in a column of this name",
                expected="a grid for the ones that are used",
                advice="add --output-layout grid",
                place=Place(column=column.name),
            )


def check_there(schema: pa.Schema, name: str, option: str) -> None:
    """Raise DataError unless the schema has this column."""
    if name not in schema.names:
        raise DataError(
            "missing-column",
            f"there is no column {name}",
            expected=f"one of {', '.join(schema.names) or 'no columns at all'}",
            advice=f"name the column with {option}",
        )


def _option_of(column: Column, job: Job) -> str:
    if column.first == 0 and job.recipe.has_text:
        return "--text-column" if column.count == 1 else "--grid-column"
    return "--audio-column"


def _check_factors(field: pa.Field) -> None:
    depth, leaf = depth_of(field.type)
    number = pa.types.is_floating(leaf) or pa.types.is_integer(leaf) or pa.types.is_boolean(leaf)
    if depth not in (1, 2) or not number or pa.types.is_boolean(leaf):
        raise DataError(
            "column-type",
            f"has the type {field.type}",
            expected="list<number> [T], or list<list<number>> [K][T]",
            advice="name another --weight-column",
            place=Place(column=field.name),
        )


def already_shifted() -> DataError:
    """The error for an input that is an output of delaytool."""
    return DataError(
        "shifted-already",
        f"it holds a {ENTRY} entry: it is shifted already",
        expected="an original shard",
        advice="give the original shards; shifting twice is never meant",
    )


def shifted_schema(schema: pa.Schema, job: Job) -> pa.Schema:
    """The schema of what `shift` gives for batches of this schema.

    An output that a column of the same streams and layout becomes stands in its place, one that is
    put together stands in place of the first column with tokens. Raises DataError as `check_schema`
    does.
    """
    check_schema(schema, job)
    twins = {twin.name: output for output in job.outputs if (twin := job.twin(output))}
    made = [output for output in job.outputs if job.twin(output) is None]
    columns = {column.name: column for column in job.columns}
    fields: list[pa.Field] = []
    changed: list[pa.Field] = []
    for field in schema:
        column = columns.get(field.name)
        if column is None:
            fields.append(field)
            continue
        new = [_output_field(output, schema, job) for output in made]
        made = []
        if field.name in twins:
            new.append(_output_field(twins[field.name], schema, job))
        elif not column.is_whole:
            new.append(_plain_field(field).with_type(rest_type(storage(field.type), column)))
        changed += new
        fields += new
    for kind, name_of in ((weights_type, "weights"), (labels_type, "labels")):
        for output in job.outputs:
            name = getattr(output, name_of)
            if name:
                tokens = next(field for field in fields if field.name == output.name)
                changed.append(pa.field(name, kind(tokens.type)))
                fields.append(changed[-1])
    return pa.schema(fields, metadata=_mended(schema, fields, changed))


def _output_field(output: Output, schema: pa.Schema, job: Job) -> pa.Field:
    """The field of an output's tokens."""
    twin = job.twin(output)
    sources = [twin] if twin else [c for c in job.columns if _overlap(c, output)]
    kinds = [schema.field(column.name).type for column in sources]
    kind = output_type(kinds, output, job)
    if twin:
        return _plain_field(schema.field(twin.name)).with_type(kind).with_name(output.name)
    return pa.field(output.name, kind)


def quarantine_schema(schema: pa.Schema) -> pa.Schema:
    """The schema of bad rows: all their columns, and a reason; raises DataError for a clash."""
    if REASON in schema.names:
        raise DataError(
            "column-in-the-way",
            f"the column {REASON} is in the way of a column of that name in the quarantine",
            expected="no column of that name",
            advice="rename it, or run without --quarantine",
            place=Place(column=REASON),
        )
    reason = pa.field(REASON, pa.string())
    fields = [*schema, reason]
    return pa.schema(fields, metadata=_mended(schema, fields, [reason]))


def without_reason(schema: pa.Schema) -> pa.Schema:
    """The schema of bad rows as it was before they got a reason."""
    if REASON not in schema.names:
        return schema
    fields = [field for field in schema if field.name != REASON]
    return pa.schema(fields, metadata=_mended(schema, fields, []))


def _overlap(column: Column, output: Output) -> bool:
    return column.first < output.first + output.count and output.first < column.first + column.count


def _plain_field(field: pa.Field) -> pa.Field:
    """A field without the note that it is an extension type, whose shape no longer fits."""
    notes = {k: v for k, v in (field.metadata or {}).items() if not k.startswith(b"ARROW:ext")}
    return field.with_metadata(notes or None)


# Shifting


@dataclass(frozen=True)
class Shifted:
    """A shifted batch, and what happened to its rows.

    padded:  for each row how many text tokens alignment has added
    figures: what the cells hold
    """

    batch: pa.RecordBatch
    counts: Counts
    padded: Index
    figures: Figures


def shift(batch: pa.RecordBatch, job: Job) -> pa.RecordBatch:
    """Shift every stream of a batch by its delay; add the columns of loss weights and labels.

    Raises DataError for a schema that does not fit and for the first bad row, with its row number
    in the batch.
    """
    return shift_batch(batch, job, shifted_schema(batch.schema, job)).batch


def shift_batch(batch: pa.RecordBatch, job: Job, schema: pa.Schema) -> Shifted:
    """`shift` to a known schema, with what happened to the rows."""
    text = depth_of(schema.field(job.outputs[0].name).type)[1]
    tokens, texts = read_aligned(batch, job, np.dtype(str(text)))
    arrays = {name: batch.column(name) for name in batch.schema.names if name in schema.names}
    factors = read_factors(batch, job, tokens, job.columns) if job.factors else None
    for column in job.columns:
        if not column.is_whole:
            rest = read_rest(batch, column, job, tokens.lengths)
            arrays[column.name] = _rest_array(rest, tokens.lengths, column, schema)
    all_segments = segments_of_outputs(tokens.lengths, job)
    all_codes: list[Array] = []
    all_weights: list[Weights | None] = []
    shifting = zip(job.outputs, _for_outputs(tokens, job), all_segments, strict=True)
    for output, flat, segments in shifting:
        codes = delay_flat(flat, segments)
        all_codes.append(codes)

        def column_of(name: str, values: Array, output: Output = output) -> pa.Array:
            steps = tokens.lengths + job.recipe.steps(0)
            kind = schema.field(name).type
            return to_arrow(values, steps, output.layout, output.count, kind)

        arrays[output.name] = column_of(output.name, codes)
        all_weights.append(None)
        if output.weights or output.labels:
            weights = weights_of(codes, segments, output, factors)
            if output.weights:
                all_weights[-1] = weights
                arrays[output.weights] = column_of(output.weights, weights)
            if output.labels:
                arrays[output.labels] = column_of(output.labels, labels_flat(codes, weights))
    shifted = pa.RecordBatch.from_arrays([arrays[name] for name in schema.names], schema=schema)
    counts = count(tokens.lengths, texts, job.recipe)
    figures = figures_of(all_codes, all_segments, all_weights, job)
    return Shifted(shifted, counts, np.maximum(tokens.lengths - texts, 0), figures)


def bad_rows(batch: pa.RecordBatch, job: Job) -> Problems:
    """Every row of an original batch that cannot be shifted, with what is wrong with it."""
    _, problems = scan(batch, job)
    if job.factors is None:
        return problems
    rows = np.delete(np.arange(batch.num_rows), list(problems))
    part, _ = split_rows(batch, list(problems))
    while True:
        tokens, _ = read_aligned(part, job, np.dtype(np.int64))
        _, found = scan_factors(part, job, tokens, job.columns)
        if not found:
            return dict(sorted(problems.items()))
        for row, error in found.items():
            problems[int(rows[row])] = error.at(row=int(rows[row]))
        rows = np.delete(rows, list(found))
        part, _ = split_rows(part, list(found))


def kind_of_problem(error: DataError) -> tuple[str, str | None]:
    """What rows that are bad in the same way have in common: the kind, and the column."""
    return error.kind, error.place.column


def count(lengths: Index, texts: Index, recipe: Recipe) -> Counts:
    """What went in and came out: rows of `lengths` frames, whose text had `texts` tokens."""
    frames = int(lengths.sum())
    cut = recipe.delays if recipe.length == "truncate" else ()
    return Counts(
        rows_in=len(lengths),
        rows_out=len(lengths),
        frames=frames,
        tokens=frames * len(recipe.streams),
        lost=sum(int(np.minimum(lengths, delay).sum()) for delay in cut),
        padded=int(np.maximum(lengths - texts, 0).sum()),
        trimmed=int(np.maximum(texts - lengths, 0).sum()),
    )


def read_aligned(
    batch: pa.RecordBatch, job: Job, text_type: np.dtype[Any], *, any_token: bool = False
) -> tuple[TokenBatch, Index]:
    """The tokens of an original batch, text as long as the audio; and its lengths before that.

    text_type: that of text to which padding was added
    any_token: whether tokens may lie outside their vocabulary

    Raises DataError for the first bad row.
    """
    tokens = read_tokens(batch, job, any_token=any_token)
    texts = text_lengths(batch, job) if job.align != "error" else tokens.lengths
    if np.array_equal(texts, tokens.lengths) and job.align != "pad":
        return tokens, texts
    padding = job.recipe.streams[0].padding
    text = resized(tokens.columns[0], texts, tokens.lengths, padding, text_type)
    return TokenBatch((text, *tokens.columns[1:]), tokens.lengths), texts


def _for_outputs(tokens: TokenBatch, job: Job) -> list[Array]:
    """The flat tokens of each output, in its order."""
    by_column = dict(zip(job.columns, tokens.columns, strict=True))
    flats: list[Array] = []
    grid: Array | None = None
    for output in job.outputs:
        twin = job.twin(output)
        if twin is not None:
            flats.append(by_column[twin])
            continue
        if grid is None:
            grid = _stacked(tokens, job.columns)
        streams = grid[output.first : output.first + output.count]
        streams = streams.astype(_type_of(tokens, output, job), copy=False)
        flats.append(streams_last(streams, tokens.lengths, is_by_stream(output.layout)))
    return flats


def _type_of(tokens: TokenBatch, output: Output, job: Job) -> np.dtype[Any]:
    """The common type of the columns that an output is put together from."""
    pairs = zip(job.columns, tokens.columns, strict=True)
    return common_type([flat.dtype for column, flat in pairs if _overlap(column, output)])


def _stacked(tokens: TokenBatch, columns: Sequence[Column | Output]) -> Array:
    """All columns as one array [K, timesteps of all rows]."""
    dtype = common_type([flat.dtype for flat in tokens.columns])
    return np.concatenate(
        [
            streams_first(flat, tokens.lengths, column.count, is_by_stream(column.layout)).astype(
                dtype, copy=False
            )
            for column, flat in zip(columns, tokens.columns, strict=True)
        ]
    )


def weights_of(codes: Array, segments: Segments, output: Output, factors: Array | None) -> Weights:
    """The loss weights of an output's shifted codes.

    factors: the user's, [K, frames of all rows], or None
    """
    if factors is not None:
        streams = factors[output.first : output.first + output.count]
        factors = streams_last(streams, segments.lengths, segments.by_stream)
    return loss_weights_flat(codes, segments, output.first, factors)


# Shifting back


def read_shifted(batch: pa.RecordBatch, job: Job) -> TokenBatch:
    """The outputs' tokens of a shifted batch, with the lengths the rows had before the shift.

    Raises DataError for a bad row, one with fewer timesteps than the pattern adds included.
    """
    codes = read_outputs(batch, job)
    lengths = codes.lengths - job.recipe.steps(0)
    if lengths.size and lengths.min() < 0:
        row = int(np.flatnonzero(lengths < 0)[0])
        raise DataError(
            "too-short",
            f"{codes.lengths[row]} timesteps",
            expected=f"at least the {job.recipe.steps(0)} that the pattern adds",
            advice="make the shard anew",
            place=Place(row=row),
        )
    return TokenBatch(codes.columns, lengths)


def unshift(
    batch: pa.RecordBatch, job: Job, schema: pa.Schema, padded: Index | None = None
) -> pa.RecordBatch:
    """Shift every stream of a batch back.

    schema:  of the original batches
    padded:  how many text tokens alignment has added to each row; none when not given
    returns: a batch of that schema; a token that truncation cut off is null

    Raises DataError for a bad row, and for a token that the original type cannot hold.
    """
    codes = read_shifted(batch, job)
    tokens = undelayed(codes, segments_of_outputs(codes.lengths, job))
    return originals(batch, tokens, job, schema, padded)


def segments_of_outputs(lengths: Index, job: Job) -> list[Segments]:
    """The segments of each of the job's outputs, from the lengths of rows before the shift."""
    return [segments_of_column(output, lengths, job) for output in job.outputs]


def undelayed(codes: TokenBatch, segments: list[Segments]) -> TokenBatch:
    """The outputs' tokens, as `read_shifted` gives them, shifted back."""
    pairs = zip(codes.columns, segments, strict=True)
    return TokenBatch(tuple(undelay_flat(flat, own) for flat, own in pairs), codes.lengths)


def originals(
    batch: pa.RecordBatch,
    tokens: TokenBatch,
    job: Job,
    schema: pa.Schema,
    padded: Index | None = None,
) -> pa.RecordBatch:
    """`unshift` of a batch whose tokens have been shifted back already."""
    by_twin = {
        twin.name: flat
        for output, flat in zip(job.outputs, tokens.columns, strict=True)
        if (twin := job.twin(output))
    }
    grid = None if len(by_twin) == len(job.columns) else _stacked(tokens, job.outputs)
    arrays = {name: batch.column(name) for name in schema.names if name in batch.schema.names}
    for column in job.columns:
        if column.name in by_twin:
            flat = by_twin[column.name]
        else:
            assert grid is not None, "columns without a twin come from the stacked grid"
            streams = grid[column.first : column.first + column.count]
            flat = streams_last(streams, tokens.lengths, is_by_stream(column.layout))
        rest = None if column.is_whole else read_rest(batch, column, job, tokens.lengths, True)
        kind = schema.field(column.name).type
        arrays[column.name] = _original(flat, tokens.lengths, column, job, kind, rest, padded)
    return pa.RecordBatch.from_arrays([arrays[name] for name in schema.names], schema=schema)


class Padded:
    """How many text tokens alignment has added to each row of a shard, as its record says."""

    def __init__(self, record: Record) -> None:
        pairs = np.array(record.padded, dtype=np.int64).reshape(-1, 2)
        self._rows, self._tokens = pairs[:, 0], pairs[:, 1]
        if np.any(np.diff(self._rows) <= 0) or np.any(self._tokens < 1):
            raise DataError("record", "the rows that its record calls padded are not in order")
        rows_out = record.counts.rows_out
        if len(pairs) and self._rows[-1] >= rows_out:
            raise DataError("record", f"its record calls row {self._rows[-1]} of {rows_out} padded")

    def of_rows(self, first: int, count: int) -> Index:
        """The tokens added to each of the rows first ... first + count - 1."""
        padded = np.zeros(count, dtype=np.int64)
        start, stop = np.searchsorted(self._rows, [first, first + count])
        padded[self._rows[start:stop] - first] = self._tokens[start:stop]
        return padded


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


def cut(batch: pa.RecordBatch, job: Job) -> pa.RecordBatch:
    """An original batch as `unshift` gives it back.

    Tokens that truncation cuts off are null, text that alignment cuts off is gone.
    """
    if job.recipe.length == "extend" and job.align != "trim":
        return batch
    tokens = read_tokens(batch, job)
    texts = text_lengths(batch, job) if job.align != "error" else tokens.lengths
    kept = np.minimum(texts, tokens.lengths)
    arrays = {name: batch.column(name) for name in batch.schema.names}
    for number, (column, flat) in enumerate(zip(job.columns, tokens.columns, strict=True)):
        kind = batch.schema.field(column.name).type
        rest = None if column.is_whole else read_rest(batch, column, job, tokens.lengths)
        own, padded = flat, None
        if number == 0 and job.align != "error":
            own = resized(flat, texts, tokens.lengths, 0, flat.dtype)
            padded = tokens.lengths - kept
        arrays[column.name] = _original(own, tokens.lengths, column, job, kind, rest, padded)
    return pa.RecordBatch.from_arrays(list(arrays.values()), schema=batch.schema)


def _original(
    flat: Array,
    lengths: Index,
    column: Column,
    job: Job,
    kind: pa.DataType,
    rest: Array | None,
    padded: Index | None,
) -> pa.Array:
    """Flat tokens as a column of the original type, with nulls for what was cut off.

    rest: the codebooks that are none of the recipe's streams, [n, frames of all rows]
    """
    dtype = np.dtype(str(depth_of(kind)[1]))
    lost = segments_of_column(column, lengths, job).lost()
    known = flat if lost is None else flat[~lost]
    info = np.iinfo(dtype)
    if known.size and not info.min <= int(known.min()) <= int(known.max()) <= info.max:
        raise DataError(
            "original-type",
            f"tokens from {known.min()} to {known.max()}",
            expected=f"what the original type {dtype} holds",
            advice="make the shard anew",
            place=Place(column=column.name),
        )
    flat = flat.astype(dtype, copy=False)
    if padded is not None and column.first == 0 and job.align != "error":
        wanted = lengths - padded
        if wanted.size and wanted.min() < 0:
            raise DataError(
                "record",
                f"{padded[np.argmin(wanted)]} tokens of padding in a row of fewer frames",
                place=Place(row=int(np.argmin(wanted)), column=column.name),
            )
        flat = resized(flat, lengths, wanted, 0, dtype)
        lost = None if lost is None else resized(lost, lengths, wanted, 0, bool)
        lengths = wanted
    if rest is not None:
        by_stream = is_by_stream(column.layout)
        grid = streams_first(flat, lengths, column.count, by_stream)
        flat = streams_last(_with_rest(grid, rest.astype(dtype), column), lengths, by_stream)
        if lost is not None:
            mask = streams_first(lost, lengths, column.count, by_stream)
            mask = _with_rest(mask, np.zeros(rest.shape, dtype=bool), column)
            lost = streams_last(mask, lengths, by_stream)
    array = to_arrow(flat, lengths, column.layout, column.size, storage(kind), lost)
    return pa.ExtensionArray.from_storage(kind, array) if storage(kind) != kind else array


def _with_rest(grid: Array, rest: Array, column: Column) -> Array:
    """The used codebooks in their place among the others, [size, frames of all rows]."""
    return np.concatenate([rest[: column.start], grid, rest[column.start :]])


def _rest_array(rest: Array, lengths: Index, column: Column, schema: pa.Schema) -> pa.Array:
    """The codebooks that are none of the recipe's streams, as a column of their own."""
    flat = streams_last(rest, lengths, is_by_stream(column.layout))
    kind = schema.field(column.name).type
    return to_arrow(flat, lengths, column.layout, column.size - column.count, kind)


# Places


def key_of(batch: pa.RecordBatch, row: int, job: Job) -> str | None:
    """What the job's key column calls a row of a batch; None where there is no such column."""
    if job.key is None or job.key not in batch.schema.names:
        return None
    key = f"{job.key} {batch.column(job.key)[row].as_py()!r}"
    return key if len(key) <= 80 else key[:77] + "..."


def placed(error: DataError, shard: str, rows: int, batch: pa.RecordBatch, job: Job) -> DataError:
    """An error of one batch with the shard's name, row number and key.

    rows: how many rows of the shard come before the batch
    """
    row = error.place.row
    if row is None:
        return error.at(shard=shard)
    return error.at(shard=shard, row=rows + row, key=key_of(batch, row, job))


# Metadata that describes columns


def _mended(schema: pa.Schema, fields: list[pa.Field], changed: list[pa.Field]) -> Any:
    """Schema metadata in which what describes the columns fits the changed ones."""
    if not schema.metadata:
        return schema.metadata
    gone = set(schema.names) - {field.name for field in fields}
    mended = dict(schema.metadata)
    for key, mend in ((b"huggingface", _mend_huggingface), (b"pandas", _mend_pandas)):
        if key in mended:
            try:
                described = json.loads(mended[key])
                mend(described, changed, gone)
                mended[key] = json.dumps(described).encode()
            except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
                # A description that is not as expected cannot be mended; without it, readers go
                # by the Arrow schema.
                del mended[key]
    return mended


def _mend_huggingface(described: Any, changed: list[pa.Field], gone: set[str]) -> None:
    """Describe the changed columns as Hugging Face `datasets` features."""
    features = described["info"]["features"]
    for name in gone:
        features.pop(name, None)
    for field in changed:
        features[field.name] = _feature(field.type)


def _feature(kind: pa.DataType) -> dict[str, Any]:
    # "Sequence" with a length is read by every version of datasets, "List" only by new ones.
    if pa.types.is_large_list(kind):
        return {"feature": _feature(kind.value_type), "_type": "LargeList"}
    if is_list(kind):
        length = kind.list_size if pa.types.is_fixed_size_list(kind) else -1
        return {"feature": _feature(kind.value_type), "length": length, "_type": "Sequence"}
    return {"dtype": _dtype(kind), "_type": "Value"}


def _dtype(kind: pa.DataType) -> str:
    return "float32" if pa.types.is_float32(kind) else str(kind)


def _mend_pandas(described: Any, changed: list[pa.Field], gone: set[str]) -> None:
    """Describe the changed columns as pandas does: nested lists are objects to it."""
    names = {field.name for field in changed}
    # An index without a name has a column with one, its field_name.
    kept = [c for c in described["columns"] if c.get("field_name", c["name"]) not in names | gone]
    for field in changed:
        new = {
            "name": field.name,
            "field_name": field.name,
            "pandas_type": _pandas_type(field.type),
            "numpy_type": "object",
            "metadata": None,
        }
        kept.append(new)
    described["columns"] = kept
    for key in {"index_columns", "partition_columns"} & described.keys():
        # What is no name describes a range.
        described[key] = [n for n in described[key] if not (isinstance(n, str) and n in gone)]


def _pandas_type(kind: pa.DataType) -> str:
    return f"list[{_pandas_type(kind.value_type)}]" if is_list(kind) else _dtype(kind)
