"""Which word a text token is of, by how its text was aligned."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from delaytool.batches.align_job import AlignJob
from delaytool.batches.types import list_lengths
from delaytool.batches.words import loaded
from delaytool.errors import DataError
from delaytool.pattern.interleave import MAX_TOKEN, interleave
from delaytool.pattern.words import Said, name_of_word

_LONGEST = 64
"""Tokens that a word of text is taken to have, which nobody knows without its tokenizer."""


def word_at(batch: pa.RecordBatch, row: int, frame: int, job: AlignJob) -> str | None:
    """What the word is called that has the token in a frame; None where that is not known."""
    if job.words_column not in batch.schema.names:
        return None
    frames = list_lengths(batch.column(job.text_column).slice(row, 1))
    said = Said(prefers_text=job.tokenizer is not None)
    value = batch.column(job.words_column)[row].as_py()
    with contextlib.suppress(DataError):
        said.add(loaded(value) if isinstance(value, str) else value)
        words, _ = said.spelled(_unknown)
        if job.how.keep_words and job.tokenizer is not None:
            return None  # Where a word waits for depends on how many tokens others have.
        # Each token is its word's number, and everything else is below 0, or no such number.
        numbers = np.repeat(np.arange(len(words.counts)), words.counts)
        how = replace(
            job.how,
            text_padding=-1,
            text_end_padding=-1,
            in_word_padding=None,
            zero_token=-1,
            turn_tokens=job.how.turn_tokens and (MAX_TOKEN, MAX_TOKEN),
        )
        number = int(interleave(replace(words, tokens=numbers), frames, how).tokens[frame])
        if 0 <= number < len(said.texts):
            return name_of_word(number, said.texts[number])
    return None


def _unknown(words: Sequence[str]) -> list[list[int]]:
    return [[0] * _LONGEST for _ in words]
