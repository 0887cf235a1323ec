"""An original record batch to a shifted one.

Everything that shifts tokens goes through here: apply, verify and the library.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from delaytool.batches.codes import Codes, TokenBatch
from delaytool.batches.factors import read_factors, scan_factors
from delaytool.batches.fields import field_at, tops_of
from delaytool.batches.figures import Counts, Figures, count, figures_of
from delaytool.batches.job import Job, segments_of_column
from delaytool.batches.layouts import Output
from delaytool.batches.problems import Problems, scan_again
from delaytool.batches.read import read_rest, read_tokens, scan_once
from delaytool.batches.schema import narrowest, overlap, shifted_schema
from delaytool.batches.shifted import ShiftedColumn
from delaytool.batches.structs import put_back, taken_out, taken_out_of_schema
from delaytool.batches.types import batch_of, depth_of
from delaytool.batches.windows import (
    batches_of_windows,
    cut_codes,
    cut_factors,
    cut_tokens,
    window_columns,
)
from delaytool.pattern.flat import delay_flat
from delaytool.pattern.segments import Array, Index
from delaytool.pattern.windows import Cuts


@dataclass(frozen=True)
class Shifted:
    """A shifted batch, and what happened to its rows.

    source:  the batch that was shifted, columns in structs taken out of them
    made:    the columns of the output that are not just the source's, by name
    schema:  of the output
    names:   of the columns that may be in structs
    windows: where the rows were cut, if they were
    padded:  how many tokens alignment has added to each column of text and each row,
             [columns, rows]
    differences: how many tokens too many they had, [columns, rows]; below 0 for too few
    figures: what the cells hold
    """

    source: pa.RecordBatch
    made: dict[str, pa.Array]
    schema: pa.Schema
    names: tuple[str, ...]
    windows: Cuts | None
    counts: Counts
    padded: Index
    differences: Index
    figures: Figures

    @property
    def batch(self) -> pa.RecordBatch:
        """The output's rows."""
        batches = list(self.batches())
        if len(batches) == 1:
            return batches[0]
        arrays = [pa.concat_arrays(parts) for parts in zip(*batches, strict=True)]
        return batch_of(arrays, self.schema)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The output's rows; in several batches where windows repeat a lot of bytes."""
        schema = taken_out_of_schema(self.schema, self.names)
        for batch in self._batches(schema):
            yield put_back(batch, self.schema, self.names)

    def _batches(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        if self.windows is not None:
            rows = self.windows.window_rows
            yield from batches_of_windows(self.source, self.made, rows, schema)
            return
        source, made = self.source, self.made
        arrays = [made[n] if n in made else source.column(n) for n in schema.names]
        yield batch_of(arrays, schema)


def shift(batch: pa.RecordBatch, job: Job) -> pa.RecordBatch:
    """Shift every stream of a batch by its delay; add the columns of loss weights and labels.

    Raises DataError for a schema that does not fit and for the first bad row, with its row number
    in the batch.
    """
    return shift_batch(batch, job, shifted_schema(batch.schema, job)).batch


def shift_batch(batch: pa.RecordBatch, job: Job, schema: pa.Schema) -> Shifted:
    """`shift` to a known schema, with what happened to the rows."""
    tokens, texts = read_aligned(batch, job, schema)
    batch, names = taken_out(batch, job.names), taken_out_of_schema(schema, job.names).names
    frames, arrays = tokens.lengths, dict[str, pa.Array]()
    for column in job.columns:
        if job.has_rest(column):
            rest = read_rest(batch, column, frames)
            codes = Codes.of_grid(rest, frames, column.layout.by_stream)
            arrays[column.name] = column.layout.write(codes, field_at(schema, column.name).type)
    factors = read_factors(batch, job, tokens) if job.factors else None
    cuts = None if job.windows is None else job.cuts(frames)
    if cuts is not None and job.cuts_before:
        tokens, factors = cut_tokens(tokens, cuts, job), cut_factors(factors, cuts, job)
    shifted = [
        _shifted(output, codes, job, factors)
        for output, codes in zip(job.outputs, _for_outputs(tokens, job), strict=True)
    ]
    of_rows = set(arrays)
    for made in shifted:
        for name, codes in made.columns().items():
            cells = cut_codes(codes, cuts) if cuts is not None and job.cuts_after else codes
            arrays[name] = made.output.layout.write(cells, field_at(schema, name).type)
    if cuts is not None:
        # The codebooks that stay unshifted are repeated, like all other columns.
        batch = batch.select([n for n in batch.schema.names if n not in of_rows and n in names])
        for name in of_rows:
            batch = batch.append_column(name, arrays.pop(name))
        arrays |= window_columns(cuts, frames)
    return Shifted(
        batch,
        arrays,
        schema,
        job.names,
        cuts,
        count(frames, texts, job, cuts),
        np.maximum(frames - texts, 0),
        texts - frames,
        figures_of(shifted, job, cuts),
    )


def _shifted(output: Output, codes: Codes, job: Job, factors: Array | None) -> ShiftedColumn:
    """The shifted cells of an output."""
    segments = segments_of_column(output, codes.lengths, job)
    tokens = codes.flat.astype(narrowest(output, job), copy=False) if job.narrow else codes.flat
    flat = delay_flat(tokens, segments)
    cells = Codes(flat, segments.steps, codes.streams, codes.by_stream)
    return ShiftedColumn(output, segments, cells, factors)


def bad_rows(batch: pa.RecordBatch, job: Job) -> Problems:
    """Every row of an original batch that cannot be shifted, with what is wrong with it."""
    # Other columns may be large, and bad rows are taken out again and again.
    batch = batch.select(tops_of(batch.schema, job.names_with_factors))

    def find(part: pa.RecordBatch) -> Problems:
        tokens, problems = scan_once(part, job)
        if problems or job.factors is None:
            return problems
        return scan_factors(part, job, _aligned(tokens, job, None))[1]

    return scan_again(batch, find(batch), find)


def read_aligned(
    batch: pa.RecordBatch, job: Job, schema: pa.Schema | None = None, *, any_token: bool = False
) -> tuple[TokenBatch, Index]:
    """The tokens of an original batch, text as long as the audio; and the lengths of each column of
    text alone before that, [columns, rows].

    schema:    of the outputs, whose types text has to which padding was added; else it is int64
    any_token: whether tokens may lie outside their vocabulary

    Raises DataError for the first bad row.
    """
    tokens = read_tokens(batch, job, any_token=any_token)
    texts = [
        codes.lengths
        for column, codes in zip(job.columns, tokens.columns, strict=True)
        if column in job.text_columns
    ]
    lengths = np.array(texts, dtype=np.int64).reshape(len(texts), batch.num_rows)
    return _aligned(tokens, job, schema), lengths


def _aligned(tokens: TokenBatch, job: Job, schema: pa.Schema | None) -> TokenBatch:
    """The tokens with text as long as the audio."""
    columns = list(tokens.columns)
    for place, (column, codes) in enumerate(zip(job.columns, tokens.columns, strict=True)):
        is_fine = not job.pads and np.array_equal(codes.lengths, tokens.lengths)
        if job.aligns(column) and not is_fine:
            (stream,) = column.streams(job.recipe)
            output = next(output for output in job.outputs if overlap(column, output))
            kind = "int64" if schema is None else depth_of(field_at(schema, output.name).type)[1]
            dtype = np.dtype(str(kind))
            # What is only cut needs no padding, which may lie outside its type.
            padding = stream.padding if job.pads else 0
            columns[place] = codes.resized(tokens.lengths, padding, dtype)
    return TokenBatch(tuple(columns))


def _for_outputs(tokens: TokenBatch, job: Job) -> list[Codes]:
    """The tokens of each output, in its order."""
    by_column = dict(zip(job.columns, tokens.columns, strict=True))
    twins = [job.twin(output) for output in job.outputs]
    return [
        tokens.streams(job.numbers, output.numbers, output.layout.by_stream)
        if twin is None
        else by_column[twin]
        for output, twin in zip(job.outputs, twins, strict=True)
    ]
