"""The shift as a function of a batch, for those who have a pipeline already.

It is the transform that the command applies, with the columns found in each batch by itself:
batches of one dataset may be on different machines and know nothing of one another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import pyarrow as pa

from delaytool.batches.column_options import (
    ColumnOptions,
    names_of,
    numbers_of,
    windows_of,
)
from delaytool.batches.columns import find_columns
from delaytool.batches.job import Align, Job, make_job
from delaytool.batches.problems import key_of
from delaytool.batches.schema import shifted_schema
from delaytool.batches.shift import shift_batch
from delaytool.errors import DataError
from delaytool.pattern.windows import WindowCut, WindowSplit
from delaytool.recipes.recipe import Recipe

Batch = TypeVar("Batch", pa.Table, pa.RecordBatch)


@dataclass(frozen=True)
class BatchMapper:
    """A function from batches to shifted batches; it can be pickled and sent to workers."""

    recipe: Recipe
    where: ColumnOptions

    def __call__(self, batch: Batch) -> Batch:
        """Shift a batch; raises DataError with the row in the batch for a bad one."""
        is_table = isinstance(batch, pa.Table)
        parts = batch.combine_chunks().to_batches() if is_table else [batch]
        columns = find_columns(self.where, batch.schema, self.recipe, parts)
        job = make_job(self.recipe, self.where, columns)
        schema = shifted_schema(batch.schema, job)
        shifted = _shifted(parts, job, schema)
        return pa.Table.from_batches(shifted, schema) if is_table else shifted[0]


def _shifted(parts: list[pa.RecordBatch], job: Job, schema: pa.Schema) -> list[pa.RecordBatch]:
    """The parts of a table shifted; rows in errors count from the first part's."""
    rows, shifted = 0, []
    for part in parts:
        try:
            shifted.append(shift_batch(part, job, schema).batch)
        except DataError as error:
            row = error.place.row
            if row is None:
                raise
            raise error.at(row=rows + row, key=key_of(part, row, job)) from None
        rows += part.num_rows
    return shifted


def map_batch(
    recipe: Recipe,
    *,
    text_column: str | Sequence[str] = "text_tokens",
    audio_column: str | Sequence[str] = "audio_codes",
    grid_column: str | Sequence[str] = (),
    audio_layout: str = "auto",
    output_layout: Literal["split", "grid"] | None = None,
    weights: bool = True,
    labels: bool = False,
    narrow: bool = False,
    align: Align = "error",
    align_limit: int | None = None,
    code_base: int | Sequence[int] = (),
    weight_column: str | None = None,
    key: str | None = None,
    window: int | str | None = None,
    window_cut: WindowCut = "before",
    window_split: WindowSplit = "fixed",
    window_min: int | None = None,
    window_pad: bool = False,
    drop_column: str | Sequence[str] = (),
) -> BatchMapper:
    """A function that shifts a batch of rows, as `delaytool apply` shifts a shard.

    ray.data.Dataset.map_batches(map_batch(recipe), batch_format="pyarrow")
    datasets.Dataset.with_format("arrow").map(map_batch(recipe), batched=True)

    The arguments are the command's options: columns of T text tokens and of codes, [n_q][T],
    [T][n_q] or flat, or grids [K][T] of both; integers of any type. With `audio_layout` auto each
    batch has to tell its layout by itself: one in which every row fits several is an error, so name
    the layout ("codebook", "frame", "flat-codebook", "flat-frame") where you know it.

    The function takes a `pyarrow.Table` or a `pyarrow.RecordBatch` and returns one of the same
    kind: all columns but those of `drop_column`, the tokens shifted to S = recipe.steps(T)
    timesteps a row, and columns of loss weights (float32) and labels as `apply` names them. With
    `window` or `window_min` rows are cut into windows, with columns that say which they are.

    Raises RecipeError for arguments that cannot be. The function raises DataError, with row (in
    the batch), key, column, stream and timestep, for a row that `apply` would refuse, and for
    columns that are missing, of an unfit type or in the way.
    """
    where = ColumnOptions(
        text_column=names_of(text_column),
        audio_column=names_of(audio_column),
        grid_column=names_of(grid_column),
        audio_layout=audio_layout,
        output_layout=output_layout,
        weights=weights,
        label_columns=labels,
        narrow=narrow,
        align=align,
        align_limit=align_limit,
        code_base=numbers_of(code_base),
        weight_column=weight_column,
        windows=windows_of(recipe, window, window_cut, window_split, window_min, window_pad),
        drop_column=names_of(drop_column),
        key=key,
    )
    return BatchMapper(recipe, where)
