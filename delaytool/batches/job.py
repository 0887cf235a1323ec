"""A job: all that decides the bytes of an output.

That is the recipe, the columns that hold its streams, and what is to come of them. `Where` is what
a user says of the columns; `make_job` names the outputs.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from delaytool.batches.layouts import CODEBOOK, LIST, Column, Output
from delaytool.batches.nesting import Layout
from delaytool.errors import RecipeError
from delaytool.pattern.segments import Index, Segments
from delaytool.recipes.checks import MAX_STREAMS
from delaytool.recipes.recipe import Recipe, Stream

if TYPE_CHECKING:
    from delaytool.batches.column_options import ColumnOptions

Align = Literal["error", "pad", "trim"]
ALIGNS = ("error", "pad", "trim")
GRID_COLUMN = "codes"
"""What the output's column of text and codes is called."""


@dataclass(frozen=True)
class Job:
    """What is to be done to every shard of a dataset.

    columns: where the tokens are; outputs: what they become; each holds every stream once, in order
    align:   what becomes of text that is shorter ("pad") or longer ("trim") than the audio
    factors: name of a column of factors on the loss weights
    key:     column that names a row in messages, and that pairs rows of text and codes in separate
             shards; None where their order alone pairs them
    by_order: whether that was asked for; else no such shard may have a column `id`

    Key and by_order decide no byte of the tokens, so two jobs that differ in them alone are equal.
    """

    recipe: Recipe
    columns: tuple[Column, ...]
    outputs: tuple[Output, ...]
    align: Align = "error"
    factors: str | None = None
    key: str | None = dataclasses.field(default=None, compare=False)
    by_order: bool = dataclasses.field(default=False, compare=False)

    def __post_init__(self) -> None:
        for columns in (self.columns, self.outputs):
            ends = [0, *(c.first + c.count for c in columns)]
            in_turn = [c.first for c in columns] == ends[:-1] and all(c.count > 0 for c in columns)
            if not in_turn or ends[-1] != len(self.recipe.streams):
                raise RecipeError("the columns do not hold each of the recipe's streams once")
            if any(c.layout == LIST and c.count != 1 for c in columns):
                raise RecipeError("a column of layout list holds more than one stream")
        for column in self.columns:
            fits = 0 <= column.start <= column.start + column.count <= column.size
            one_list = column.layout != LIST or column.size == 1
            if not fits or column.size > MAX_STREAMS or not one_list:
                raise RecipeError(f"the column {column.name!r} has not the codebooks that are used")
        _no_name_twice([column.name for column in self.columns])
        _no_name_twice([name for output in self.outputs for name in self.names_of(output)])
        if self.align != "error" and not (self.recipe.has_text and self.recipe.n_q):
            raise RecipeError("there are no text and audio streams to align")
        if self.align != "error" and self.columns[0].count != 1:
            raise RecipeError("text and codes in one column are aligned already")
        text = self.recipe.streams[0]
        if self.align == "pad" and not -1 <= text.padding < text.cardinality:
            raise RecipeError(
                f"text cannot be padded with {text.padding}, "
                f"expected a text padding from 0 to {text.cardinality - 1}, or -1"
            )
        for number, stream in enumerate(self.recipe.streams):
            self._check_labels(number, stream)

    def _check_labels(self, number: int, stream: Stream) -> None:
        """A label must be within what the stream's output predicts."""
        if not any(output.labels for output in self.outputs) or not self.recipe.carries_loss(
            number
        ):
            return
        for name, weight, token in (
            ("final", stream.final_weight, stream.fills[1]),
            ("padding", stream.padding_weight, stream.fills[2]),
        ):
            if weight and not 0 <= token < stream.cardinality:
                raise RecipeError(
                    f"stream {stream.name}: the {name} token {token} would be a label, "
                    f"expected one from 0 to {stream.cardinality - 1}, or {name}_weight 0"
                )

    @staticmethod
    def names_of(output: Output) -> list[str]:
        """The names of the columns that an output makes: tokens, weights, labels."""
        return [name for name in (output.name, output.weights, output.labels) if name]

    @property
    def weighs(self) -> bool:
        """Whether every output has a column of loss weights."""
        return all(output.weights for output in self.outputs)

    def aligns(self, column: Column) -> bool:
        """Whether a column is text that may be of another length than the audio."""
        return self.align != "error" and column.first == 0

    def twin(self, output: Output) -> Column | None:
        """The source's column with just the streams of an output, in the same layout."""
        for column in self.columns:
            alike = (column.first, column.count) == (output.first, output.count)
            if alike and column.is_whole and column.layout == output.layout:
                return column
        return None

    def to_dict(self) -> dict[str, Any]:
        """Every field, with JSON's types."""
        return {
            "recipe": self.recipe.to_dict(),
            "columns": [column.to_dict() for column in self.columns],
            "outputs": [output.to_dict() for output in self.outputs],
            "align": self.align,
            "factors": self.factors,
            "key": self.key,
            "by_order": self.by_order,
        }


def _no_name_twice(names: list[str]) -> None:
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise RecipeError(f"the column {twice!r} is named twice")


def make_job(recipe: Recipe, where: ColumnOptions, columns: tuple[Column, ...]) -> Job:
    """The job on these columns, with outputs named as the command line's contract says."""
    result = where.output_layout or ("grid" if where.grid_column else "split")
    if result == "grid":
        outputs = [_named(GRID_COLUMN, 0, len(recipe.streams), CODEBOOK, "", where)]
    elif where.grid_column:
        outputs = []
        if recipe.has_text:
            outputs.append(_named("text_tokens", 0, 1, LIST, "text_", where))
        if recipe.n_q:
            outputs.append(
                _named("audio_codes", len(outputs), recipe.n_q, CODEBOOK, "audio_", where)
            )
    else:
        audio = [column for column in columns if column.first >= recipe.has_text]
        outputs = []
        for column in columns:
            if recipe.has_text and column.first == 0:
                prefix = "text_"
            else:
                prefix = "audio_" if len(audio) == 1 else f"{column.name}_"
            streams = (column.first, column.count, column.layout)
            outputs.append(_named(column.name, *streams, prefix, where))
    keys = where.key, where.by_order
    return Job(recipe, columns, tuple(outputs), where.align, where.weight_column, *keys)


def _named(
    name: str, first: int, count: int, layout: Layout, prefix: str, where: ColumnOptions
) -> Output:
    return Output(
        name,
        first,
        count,
        layout,
        f"{prefix}loss_weights" if where.weights else None,
        f"{prefix}labels" if where.label_columns else None,
    )


def segments_of_column(column: Column | Output, lengths: Index, job: Job) -> Segments:
    """The segments of one column, from the lengths of its rows before the shift."""
    streams = column.streams(job.recipe)
    return Segments(job.recipe, lengths, streams, column.layout.by_stream)


def segments_of_outputs(lengths: Index, job: Job) -> list[Segments]:
    """The segments of each of the job's outputs, from the lengths of rows before the shift."""
    return [segments_of_column(output, lengths, job) for output in job.outputs]
