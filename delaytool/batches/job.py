"""A job: all that decides the bytes of an output.

That is the recipe, the columns that hold its streams, and what is to come of them. `ColumnOptions`
are what a user says of the columns; `make_job` names the outputs.
"""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from delaytool.batches.bases import with_bases
from delaytool.batches.fields import tops_of
from delaytool.batches.layouts import CODEBOOK, LIST, Column, Output
from delaytool.errors import RecipeError
from delaytool.pattern.segments import Index, Segments
from delaytool.pattern.weights import check_trained_fills
from delaytool.pattern.windows import Cuts, Windows, check_windows
from delaytool.recipes.checks import MAX_FILL, MAX_STREAMS, check_integer
from delaytool.recipes.recipe import Recipe

if TYPE_CHECKING:
    from delaytool.batches.column_options import ColumnOptions

Align = Literal["error", "pad", "trim", "fit"]
ALIGNS = ("error", "pad", "trim", "fit")
GRID_COLUMN = "codes"
"""What the output's column of text and codes is called."""
WINDOW, WINDOW_START, ROW_FRAMES = "window", "window_start", "row_frames"
WINDOW_COLUMNS = (WINDOW, WINDOW_START, ROW_FRAMES)
"""Columns of an output whose rows are windows: the window's number in its row, its first frame (or
timestep, where the cut is after the shift), and the frames of the whole row."""


@dataclass(frozen=True)
class Job:
    """What is to be done to every shard of a dataset.

    columns: where the tokens are, those of text first; outputs: what they become; each holds every
             stream once
    align:   what becomes of text that is shorter ("pad") or longer ("trim") than the audio, or of
             either ("fit")
    align_limit: how many frames it may differ by; None for any number
    factors: name of a column of factors on the loss weights
    windows: how rows are cut into windows; None where they stay whole
    narrow:  whether tokens come out as the narrowest signed type that holds vocabulary and fills
    drop_columns: names of columns that are left out; of one of whose codebooks only some are used
             the others, which would stay
    key:     column that names a row in messages, and that pairs rows of text and codes in separate
             shards; None where their order alone pairs them
    by_order: whether that was asked for; else no such shard may have a column `id`

    Key and by_order decide no byte of the tokens, so two jobs that differ in them alone are equal.
    """

    recipe: Recipe
    columns: tuple[Column, ...]
    outputs: tuple[Output, ...]
    align: Align = "error"
    align_limit: int | None = None
    factors: str | None = None
    windows: Windows | None = None
    narrow: bool = False
    drop_columns: tuple[str, ...] = ()
    key: str | None = dataclasses.field(default=None, compare=False)
    by_order: bool = dataclasses.field(default=False, compare=False)

    def __post_init__(self) -> None:
        for columns in (self.columns, self.outputs):
            numbers = sorted(number for column in columns for number in column.numbers)
            is_once = numbers == list(range(len(self.recipe.streams)))
            if not is_once or not all(column.numbers for column in columns):
                raise RecipeError("the columns do not hold each of the recipe's streams once")
            if any(c.layout == LIST and c.count != 1 for c in columns):
                raise RecipeError("a column of layout list holds more than one stream")
        for column in self.columns:
            fits = 0 <= column.start <= column.start + column.count <= column.size
            one_list = column.layout != LIST or column.size == 1
            if not fits or column.size > MAX_STREAMS or not one_list:
                raise RecipeError(f"the column {column.name!r} has not the codebooks that are used")
        _no_name_twice([column.name for column in self.columns])
        names = [name for output in self.outputs for name in self.names_of(output)]
        _no_name_twice([*names, *self.window_columns])
        self._check_dropped()
        self._check_alignment()
        if self.windows is not None:
            check_windows(self.windows, self.recipe)
        if any(output.weights or output.labels for output in self.outputs):
            check_trained_fills(self.recipe)

    def _check_dropped(self) -> None:
        """Raise RecipeError for columns that cannot be left out."""
        if list(self.drop_columns) != sorted(set(self.drop_columns)):
            raise RecipeError("the columns that are left out are not in order, each named once")
        whole = {column.name for column in self.columns if column.is_whole}
        for name in self.drop_columns:
            if name in whole:
                raise RecipeError(
                    f"`drop_column` is {name}, which holds tokens, expected a column that passes "
                    "through"
                )
            if name == self.factors:
                raise RecipeError(
                    f"`drop_column` is {name}, which holds the factors on the loss weights, by "
                    "which these are verified; expected a column that only passes through"
                )

    def _check_alignment(self) -> None:
        """Raise RecipeError unless there is text that can be aligned as is asked for."""
        if self.align == "error":
            if self.align_limit is not None:
                raise RecipeError("`align_limit` goes with `align`")
            return
        if not (self.recipe.has_text and self.recipe.n_q):
            raise RecipeError("there are no text and audio streams to align")
        if not self.text_columns:
            raise RecipeError("text and codes in one column are aligned already")
        if self.columns[-1] in self.text_columns:
            raise RecipeError("text that is to be aligned is in a column after those of the codes")
        if self.align_limit is not None:
            check_integer("align_limit", self.align_limit, 0, MAX_FILL)
        for text in self.recipe.text if self.pads else ():
            if not -1 <= text.padding < text.cardinality:
                raise RecipeError(
                    f"stream {text.name} cannot be padded with its padding {text.padding}, which "
                    f"is no token of the text, expected one from 0 to {text.cardinality - 1}, or -1"
                )

    @staticmethod
    def names_of(output: Output) -> list[str]:
        """The names of the columns that an output makes: tokens, weights, labels."""
        return [name for name in (output.name, output.weights, output.labels) if name]

    @property
    def window_columns(self) -> tuple[str, ...]:
        """The names of the columns that say which window a row is; none where rows stay whole."""
        return () if self.windows is None else WINDOW_COLUMNS

    @property
    def cuts_before(self) -> bool:
        """Whether rows are cut into windows before the shift."""
        return self.windows is not None and self.windows.is_before

    @property
    def cuts_after(self) -> bool:
        """Whether rows are cut into windows after the shift."""
        return self.windows is not None and not self.windows.is_before

    def cuts(self, frames: Index) -> Cuts:
        """Where rows of so many frames are cut into windows."""
        assert self.windows is not None, "only rows of such jobs are cut"
        return self.windows.cuts(frames if self.cuts_before else frames + self.recipe.steps(0))

    def added_steps(self, frames: Index) -> Index:
        """How many timesteps more than frames rows of so many frames take in an output."""
        steps = self.recipe.steps(0)
        if self.windows is None or not self.windows.is_before:
            return np.full_like(frames, steps)
        counts = self.windows.counts(frames)
        pads = counts * (self.windows.size or 0) - frames if self.windows.pad else 0
        return counts * steps + pads

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(column.name for column in self.columns)

    @functools.cached_property
    def names_with_factors(self) -> tuple[str, ...]:
        """The names of the columns, and of that of factors."""
        return (*self.names, *([] if self.factors is None else [self.factors]))

    @property
    def weighs(self) -> bool:
        """Whether every output has a column of loss weights."""
        return all(output.weights for output in self.outputs)

    @property
    def pads(self) -> bool:
        """Whether text that is shorter than the audio is padded."""
        return self.align in ("pad", "fit")

    @property
    def trims(self) -> bool:
        """Whether text that is longer than the audio is cut."""
        return self.align in ("trim", "fit")

    @functools.cached_property
    def text_columns(self) -> tuple[Column, ...]:
        """The columns of text alone, each of one stream."""
        texts = set(self.recipe.text_numbers)
        return tuple(c for c in self.columns if c.layout == LIST and texts >= set(c.numbers))

    def aligns(self, column: Column) -> bool:
        """Whether a column is text that may be of another length than the audio."""
        return self.align != "error" and column in self.text_columns

    @functools.cached_property
    def numbers(self) -> tuple[int, ...]:
        """The streams of the columns, in the columns' order."""
        return tuple(number for column in self.columns for number in column.numbers)

    @functools.cached_property
    def numbers_of_outputs(self) -> tuple[int, ...]:
        """The streams of the outputs, in the outputs' order."""
        return tuple(number for output in self.outputs for number in output.numbers)

    def has_rest(self, column: Column) -> bool:
        """Whether some codebooks of a column stay in a column of its name, unshifted."""
        return not column.is_whole and column.name not in self.drop_columns

    def restored(self, column: Column) -> Column:
        """A column as reverting gives it: without codebooks that were left out."""
        if column.is_whole or self.has_rest(column):
            return column
        return dataclasses.replace(column, size=column.count, start=0)

    def reads(self, schema: pa.Schema) -> list[str] | None:
        """Which of a source's columns are read; None for all of them.

        Of those that are left out these are the ones with tokens, and the key.
        """
        if not self.drop_columns:
            return None
        needed = {self.key, *tops_of(schema, self.names)}
        return [n for n in schema.names if n in needed or n not in self.drop_columns]

    def twin(self, output: Output) -> Column | None:
        """The source's column with just the streams of an output, in the same layout; what else was
        in it is left out.
        """
        for column in self.columns:
            alike = (column.numbers, column.layout) == (output.numbers, output.layout)
            if alike and not self.has_rest(column):
                return column
        return None

    def to_dict(self) -> dict[str, Any]:
        """Every field, with JSON's types."""
        return {
            "recipe": self.recipe.to_dict(),
            "columns": [column.to_dict() for column in self.columns],
            "outputs": [output.to_dict() for output in self.outputs],
            "align": self.align,
            "align_limit": self.align_limit,
            "factors": self.factors,
            "windows": None if self.windows is None else self.windows.to_dict(),
            "narrow": self.narrow,
            "drop_columns": list(self.drop_columns),
            "key": self.key,
            "by_order": self.by_order,
        }


def _no_name_twice(names: list[str]) -> None:
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise RecipeError(f"the column {twice!r} is named twice")


def make_job(recipe: Recipe, where: ColumnOptions, columns: tuple[Column, ...]) -> Job:
    """The job on these columns, with outputs named as the command line's contract says."""
    result = where.output_layout or ("grid" if where.grid_column else "split")
    everything = tuple(range(len(recipe.streams)))
    if result == "grid":
        outputs = [_named(Output(GRID_COLUMN, everything, CODEBOOK), "", where)]
    elif where.grid_column:
        names = ["text_tokens"]
        if len(recipe.text) > 1:
            names = [f"{stream.name}_tokens" for stream in recipe.text]
        pairs = zip(names, recipe.text_numbers, strict=False)
        outputs = [Output(name, (number,), LIST) for name, number in pairs]
        if recipe.n_q:
            outputs.append(Output("audio_codes", recipe.audio_numbers, CODEBOOK))
        outputs = _with_prefixes(outputs, recipe, where)
    else:
        outputs = [Output(column.name, column.numbers, column.layout) for column in columns]
        outputs = _with_prefixes(outputs, recipe, where)
    if where.weight_column in {column.name for column in columns}:
        raise RecipeError(
            f"`weight_column` is {where.weight_column}, which holds tokens; name a column of "
            "factors on the loss weights"
        )
    if where.code_base:
        columns = with_bases(columns, where.code_base, recipe)
    return Job(
        recipe,
        columns,
        tuple(outputs),
        align=where.align,
        align_limit=where.align_limit,
        factors=where.weight_column,
        windows=where.windows,
        narrow=where.narrow,
        drop_columns=tuple(sorted(set(where.drop_column))),
        key=where.key,
        by_order=where.by_order,
    )


def _with_prefixes(outputs: list[Output], recipe: Recipe, where: ColumnOptions) -> list[Output]:
    """The outputs with names for their weights and labels; of several of a kind by their own."""
    kinds = [recipe.streams[output.numbers[0]].kind == "text" for output in outputs]
    # A dot would be taken for a field of a struct by many who read them.
    names = [output.name.replace(".", "_") for output in outputs]
    return [
        _named(
            output,
            f"{name}_" if kinds.count(kind) > 1 else "text_" if kind else "audio_",
            where,
        )
        for output, name, kind in zip(outputs, names, kinds, strict=True)
    ]


def _named(output: Output, prefix: str, where: ColumnOptions) -> Output:
    return dataclasses.replace(
        output,
        weights=f"{prefix}loss_weights" if where.weights else None,
        labels=f"{prefix}labels" if where.label_columns else None,
    )


def segments_of_column(column: Column | Output, lengths: Index, job: Job) -> Segments:
    """The segments of one column, from the lengths of its rows before the shift."""
    streams = column.streams(job.recipe)
    return Segments(job.recipe, lengths, streams, column.layout.by_stream)


def segments_of_outputs(lengths: Index, job: Job) -> list[Segments]:
    """The segments of each of the job's outputs, from the lengths of rows before the shift."""
    return [segments_of_column(output, lengths, job) for output in job.outputs]
