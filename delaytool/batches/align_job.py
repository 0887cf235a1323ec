"""A job of `align`: all that decides the column of text tokens, and what becomes of the words."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from delaytool.batches.column_options import ColumnOptions
from delaytool.batches.fields import check_there, field_at
from delaytool.batches.layouts import Column, check_column_type
from delaytool.batches.metadata import ALIGN_ENTRY, mended_metadata
from delaytool.batches.types import lists_around, type_name
from delaytool.batches.words import words_type
from delaytool.errors import DataError, Place
from delaytool.pattern.interleave import Interleaving

TEXT = lists_around(pa.int32(), 1)
"""The type of the new column."""


@dataclass(frozen=True)
class AlignJob:
    """What is to be done to the words of every shard.

    words_column: the words; text_column: the new column
    how:          how they become tokens on frames
    codes:        columns of codes, which say how many frames there are
    frames_column: the one that says it in their place
    tokenizer:    sha256 of the SentencePiece model, as hex; None where words are tokens
    key, by_order: as of `Job`; they decide no token
    """

    words_column: str
    text_column: str
    how: Interleaving
    codes: tuple[Column, ...] = ()
    frames_column: str | None = None
    tokenizer: str | None = None
    key: str | None = dataclasses.field(default=None, compare=False)
    by_order: bool = dataclasses.field(default=False, compare=False)

    @property
    def keys(self) -> ColumnOptions:
        """Which column names a row, as whoever opens shards takes it."""
        return ColumnOptions(key=self.key, by_order=self.by_order)

    @property
    def reads(self) -> list[str]:
        """The columns that decide the tokens."""
        frames = [] if self.frames_column is None else [self.frames_column]
        return [self.words_column, *frames, *(column.name for column in self.codes)]

    def to_dict(self) -> dict[str, Any]:
        """Every field, with JSON's types."""
        return {
            **{field.name: getattr(self, field.name) for field in dataclasses.fields(self)},
            "how": self.how.to_dict(),
            "codes": [column.to_dict() for column in self.codes],
        }

    @classmethod
    def from_dict(cls, given: dict[str, Any], codes: tuple[Column, ...]) -> AlignJob:
        """The job of a record, with these columns of codes; raises some error where it is none."""
        return cls(**{**given, "how": Interleaving(**given["how"]), "codes": codes})


def aligned_schema(schema: pa.Schema, job: AlignJob) -> pa.Schema:
    """The schema of a shard with the new column; raises DataError where it does not fit the job."""
    for name in schema.names:
        if schema.names.count(name) > 1:
            raise DataError(
                "column-twice",
                f"two columns are named {name}",
                expected="one of each name",
                advice="rename one of them",
            )
    check_there(schema, job.words_column, "`words_column`")
    kind = words_type(schema.field(job.words_column))
    if kind.tokens is None and not kind.is_json and job.tokenizer is None:
        raise DataError(
            "no-tokenizer",
            "the words are texts, and there is no tokenizer",
            expected="a tokenizer, or words that are tokens",
            advice="name a SentencePiece model with `tokenizer`",
            place=Place(column=job.words_column),
        )
    for column in job.codes:
        check_there(schema, column.name, "`audio_column`")
        check_column_type(field_at(schema, column.name), column.layout)
    if job.frames_column is not None:
        check_there(schema, job.frames_column, "`frames_column`")
        _check_frames(schema.field(job.frames_column))
    if job.text_column in schema.names:
        raise DataError(
            "column-in-the-way",
            f"the column {job.text_column} is in the way of the new one",
            expected="no column of that name",
            advice="rename or drop it, or name the new one with `text_column`",
            place=Place(column=job.text_column),
        )
    field = pa.field(job.text_column, TEXT)
    fields = [*schema, field]
    metadata = dict(mended_metadata(schema, fields, [field]) or {})
    # That of the source, which a reader would take for the new one.
    metadata.pop(ALIGN_ENTRY.encode(), None)
    return pa.schema(fields, metadata=metadata or None)


def _check_frames(field: pa.Field) -> None:
    if not pa.types.is_integer(field.type):
        raise DataError(
            "column-type",
            f"has the type {type_name(field.type)}",
            expected="an integer, the number of frames",
            advice="name another column with `frames_column`",
            place=Place(column=field.name),
        )
