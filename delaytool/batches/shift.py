"""One record batch to another: `shift` and `unshift`.

Everything that moves tokens goes through here: apply, verify, revert and the library. What a
schema becomes is here too, its `huggingface` and `pandas` metadata included: both describe the
columns, and readers fail on a description that no longer fits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from delaytool.batches.codes import TokenBatch, resized, stacked, streams_last
from delaytool.batches.factors import read_factors, scan_factors
from delaytool.batches.figures import Counts, Figures, count, figures_of
from delaytool.batches.job import Job, segments_of_outputs
from delaytool.batches.layouts import Column, Output, is_by_stream
from delaytool.batches.problems import Problems, split_rows
from delaytool.batches.read import read_rest, read_tokens, scan, text_lengths
from delaytool.batches.schema import overlap, shifted_schema
from delaytool.batches.types import common_type, depth_of
from delaytool.batches.write import to_arrow
from delaytool.pattern.flat import delay_flat
from delaytool.pattern.segments import Array, Index, Segments
from delaytool.pattern.weights import Weights, labels_flat, loss_weights_flat


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
    # Other columns may be large, and bad rows are taken out again and again.
    names = [column.name for column in job.columns]
    batch = batch.select([*names, job.factors] if job.factors else names)
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
            grid = stacked(tokens, job.columns)
        streams = grid[output.first : output.first + output.count]
        streams = streams.astype(_type_of(tokens, output, job), copy=False)
        flats.append(streams_last(streams, tokens.lengths, is_by_stream(output.layout)))
    return flats


def _type_of(tokens: TokenBatch, output: Output, job: Job) -> np.dtype[Any]:
    """The common type of the columns that an output is put together from."""
    pairs = zip(job.columns, tokens.columns, strict=True)
    return common_type([flat.dtype for column, flat in pairs if overlap(column, output)])


def weights_of(codes: Array, segments: Segments, output: Output, factors: Array | None) -> Weights:
    """The loss weights of an output's shifted codes.

    factors: the user's, [K, frames of all rows], or None
    """
    if factors is not None:
        streams = factors[output.first : output.first + output.count]
        factors = streams_last(streams, segments.lengths, segments.by_stream)
    return loss_weights_flat(codes, segments, output.first, factors)


def _rest_array(rest: Array, lengths: Index, column: Column, schema: pa.Schema) -> pa.Array:
    """The codebooks that are none of the recipe's streams, as a column of their own."""
    flat = streams_last(rest, lengths, is_by_stream(column.layout))
    kind = schema.field(column.name).type
    return to_arrow(flat, lengths, column.layout, column.size - column.count, kind)
