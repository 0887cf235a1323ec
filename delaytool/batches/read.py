"""Token columns of a record batch as flat codes, and every row that cannot be shifted.

Rows are bad for nulls, a wrong number of codebooks, lengths that differ, and tokens outside the
vocabulary; each is found with its place.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from delaytool.batches.bases import without_base
from delaytool.batches.codes import Codes, TokenBatch, streams_of
from delaytool.batches.fields import array_at
from delaytool.batches.job import Job, segments_of_column
from delaytool.batches.layouts import LIST, Column, Output
from delaytool.batches.nesting import Layout, numbered
from delaytool.batches.problems import Problems, first_problems, scan_again
from delaytool.batches.types import list_lengths
from delaytool.errors import DataError, Place
from delaytool.pattern.flat import wrong_tokens
from delaytool.pattern.segments import Array, Index
from delaytool.pattern.weights import NO_LABEL
from delaytool.recipes.recipe import Stream


def scan_column(
    array: pa.Array, name: str, layout: Layout, size: int, streams: Sequence[Stream] = ()
) -> tuple[Codes | None, Problems]:
    """The codes of a column (None if a row is bad), and the first problem of each bad row.

    size:    how many codebooks every row must have
    streams: the streams they are, if they are any
    """
    names = [stream.name for stream in streams]
    if not streams:
        # One list of none of the streams has no codebooks to speak of.
        names = [""] if layout == LIST else [f"codebook {number}" for number in range(size)]
    codes, errors = layout.read(array, names)
    return codes, first_problems(error.at(column=name) for error in errors)


def scan(
    batch: pa.RecordBatch, job: Job, *, any_token: bool = False
) -> tuple[TokenBatch, Problems]:
    """Read the tokens of an original batch and find all its bad rows.

    any_token: whether tokens may lie outside their vocabulary
    returns: for each of the job's columns its streams of the recipe (none if any row is bad); and
             the first problem of each bad row. With `job.align` the text may have other lengths:
             `read_aligned` makes them equal
    """
    tokens, found = scan_once(batch, job, any_token)
    return tokens, scan_again(batch, found, lambda part: scan_once(part, job, any_token)[1])


def scan_once(
    batch: pa.RecordBatch, job: Job, any_token: bool = False
) -> tuple[TokenBatch, Problems]:
    """The tokens, or the problems that can be seen at once."""
    columns: list[Codes] = []
    for column in job.columns:
        array = array_at(batch, column.name)
        streams = column.streams(job.recipe) if column.is_whole else ()
        codes, found = scan_column(array, column.name, column.layout, column.size, streams)
        if codes is not None:
            codes = codes.part(column.start, column.count)
            codes, below = without_base(codes, column, job.recipe)
            found = first_problems(error.at(column=column.name) for error in below)
            if not found and not any_token:
                found = _wrong_tokens(codes, column, job)
            columns.append(codes)
        if found:
            # What is said of a row must not depend on the rows around it, so columns go in turn.
            return TokenBatch(()), found
    tokens = TokenBatch(tuple(columns))
    found = _wrong_lengths(tokens, job)
    return (TokenBatch(()) if found else tokens), found


def _wrong_tokens(codes: Codes, column: Column, job: Job) -> Problems:
    """Rows with tokens outside the vocabulary."""
    segments = segments_of_column(column, codes.lengths, job)
    wrong = wrong_tokens(codes.flat, segments, segments.lengths)
    problems: Problems = {}
    if not wrong.size:
        return problems
    for position, row, number, timestep in codes.first_places(wrong):
        if row in problems:
            continue
        stream, token = segments.streams[number], int(codes.flat[position])
        error = DataError(
            "token",
            f"token {token}",
            expected=f"0 to {stream.cardinality - 1}, or -1",
            advice=_other_tokens(token, stream, bool(column.bases)),
        )
        place = {"column": column.name, "stream": stream.name, "timestep": timestep}
        problems[row] = error.at(row=row, **place)
    return problems


def _other_tokens(token: int, stream: Stream, has_base: bool) -> str:
    """What to do with a token outside the vocabulary."""
    if token == NO_LABEL:
        return (
            "cut off what rows are filled up with, or store -1 in its place, the zero token, which "
            "weighs nothing"
        )
    card = "text-card" if stream.kind == "text" else "card"
    advice = f"repair the row, or set --{card} to the size of the vocabulary"
    if token < stream.cardinality or stream.kind == "text" or has_base:
        return advice
    return f"{advice}; `code_base` takes off what a shared one adds to each codebook's codes"


def _wrong_lengths(tokens: TokenBatch, job: Job) -> Problems:
    """Rows whose columns differ in length and that alignment does not allow to."""
    audio, errors = tokens.lengths, []
    for column, codes in zip(job.columns, tokens.columns, strict=True):
        lengths = codes.lengths
        # How many tokens there are too many (trimmed), or too few (padded).
        more = np.maximum(lengths - audio, 0) * (not (job.aligns(column) and job.trims))
        less = np.maximum(audio - lengths, 0) * (not (job.aligns(column) and job.pads))
        beyond = np.zeros_like(audio, dtype=bool)
        if job.aligns(column) and job.align_limit is not None:
            beyond = np.abs(lengths - audio) > job.align_limit
        for row in np.flatnonzero((more + less > 0) | beyond):
            expected = f"{audio[row]}, as many as column {job.columns[-1].name} has"
            if beyond[row] and not more[row] + less[row]:
                expected = f"{audio[row]} and at most {job.align_limit} more or less"
            error = DataError(
                "text-length",
                numbered(lengths[row], "frame"),
                expected=expected,
                advice=_other_align(job, bool(lengths[row] > audio[row]), bool(beyond[row])),
            )
            errors.append(error.at(row=int(row), column=column.name))
    return first_problems(errors)


def _other_align(job: Job, is_longer: bool, is_beyond: bool) -> str:
    """What to do with text that is longer than the audio, or shorter."""
    if not job.text_columns:
        return "repair the row, or choose other columns"
    if is_beyond:
        return "look at the row, or allow more with `align_limit`"
    way = "trim" if is_longer else "pad"
    what = "cuts" if is_longer else "pads"
    alone = "" if job.align != "error" else f'`align="{way}"` {what} it; '
    return f'{alone}`align="fit"` pads or cuts, whichever is needed'


def read_tokens(batch: pa.RecordBatch, job: Job, *, any_token: bool = False) -> TokenBatch:
    """The tokens of an original batch; raises DataError for the first bad row."""
    tokens, problems = scan(batch, job, any_token=any_token)
    for error in problems.values():
        raise error
    return tokens


def text_lengths(batch: pa.RecordBatch, job: Job) -> Index:
    """Tokens in each column of text alone and each row, before any alignment: [columns, rows]."""
    lengths = [list_lengths(array_at(batch, column.name)) for column in job.text_columns]
    return np.array(lengths, dtype=np.int64).reshape(len(lengths), batch.num_rows)


def read_outputs(batch: pa.RecordBatch, job: Job) -> TokenBatch:
    """The shifted tokens of a batch of outputs; the lengths are those after the shift.

    Raises DataError for the first bad row; token ids are not looked at.
    """
    columns: list[Codes] = []
    for output in job.outputs:
        codes = read_values(batch, output.name, output, job)
        columns.append(codes)
        for row in np.flatnonzero(codes.lengths != columns[0].lengths):
            raise DataError(
                "column-lengths",
                numbered(codes.lengths[row], "timestep"),
                expected=f"{columns[0].lengths[row]}, as many as column {job.outputs[0].name} has",
                place=Place(row=int(row), column=output.name),
            )
    return TokenBatch(tuple(columns))


def read_values(batch: pa.RecordBatch, name: str, output: Output, job: Job) -> Codes:
    """The values of a column laid out like an output.

    Raises DataError for the first bad row.
    """
    streams = output.streams(job.recipe)
    codes, problems = scan_column(array_at(batch, name), name, output.layout, output.count, streams)
    if codes is None:
        raise problems[min(problems)]
    return codes


def read_rest(
    batch: pa.RecordBatch, column: Column, lengths: Index, shifted: bool = False
) -> Array:
    """The codebooks of a column that are none of the recipe's streams, [n, frames of all rows].

    shifted: whether the batch is an output, whose column of that name holds them alone
    lengths: frames of each row; raises DataError for the first bad row
    """
    size = column.size - column.count if shifted else column.size
    codes, problems = scan_column(array_at(batch, column.name), column.name, column.layout, size)
    if codes is None:
        raise problems[min(problems)]
    for row in np.flatnonzero(codes.lengths != lengths):
        raise DataError(
            "column-lengths",
            numbered(codes.lengths[row], "frame"),
            expected=f"{lengths[row]}, as in the output",
            place=Place(row=int(row), column=column.name),
        )
    if shifted:
        return codes.grid()
    used = range(column.start, column.start + column.count)
    rest = [(codes, number) for number in range(size) if number not in used]
    return streams_of(rest, True).grid()
