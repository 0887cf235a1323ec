"""Codes of a vocabulary that all codebooks share: code + q x card, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from delaytool.batches.codes import Codes
from delaytool.batches.layouts import Column
from delaytool.errors import DataError, RecipeError
from delaytool.pattern.segments import Array
from delaytool.recipes.checks import MAX_FILL, ZERO_TOKEN, check_integer
from delaytool.recipes.recipe import Recipe


def with_bases(
    columns: tuple[Column, ...], code_base: Sequence[int], recipe: Recipe
) -> tuple[Column, ...]:
    """The columns of codes with what was added to each codebook.

    code_base: a number for each codebook, or one number N: q x N for the codebook q. Where several
               columns hold several codebooks each, all of them count from 0

    Raises RecipeError where there are not as many numbers as codebooks.
    """
    texts = set(recipe.text_numbers)
    audio = [column for column in columns if not texts >= set(column.numbers)]
    counts = [sum(number not in texts for number in column.numbers) for column in audio]
    together = all(count == 1 for count in counts) or len(audio) == 1
    found, first = {}, 0
    for column, count in zip(audio, counts, strict=True):
        numbers = range(first, first + count) if together else range(count)
        numbers = range(column.start, column.start + count) if len(audio) == 1 else numbers
        first += count
        bases = iter(_bases_of(numbers, code_base))
        found[column] = tuple(0 if number in texts else next(bases) for number in column.numbers)
    return tuple(dataclasses.replace(column, bases=found.get(column, ())) for column in columns)


def _bases_of(numbers: range, code_base: Sequence[int]) -> list[int]:
    for base in code_base:
        check_integer("code_base", base, 0, MAX_FILL)
    if len(code_base) == 1:
        return [code_base[0] * number for number in numbers]
    wanted = numbers if len(code_base) >= numbers.stop else range(len(numbers))
    if len(code_base) < wanted.stop:
        raise RecipeError(
            f"`code_base` has {len(code_base)} numbers, expected one for each of "
            f"{numbers.stop} codebooks, or one number for all"
        )
    return [code_base[number] for number in wanted]


def without_base(codes: Codes, column: Column, recipe: Recipe) -> tuple[Codes, list[DataError]]:
    """The codes of a column as each codebook counts them; and the errors for those below 0.

    A zero token stays one.
    """
    if not any(column.bases):
        return codes, []
    grid = codes.grid()
    bases = np.array(column.bases, dtype=np.int64)[:, None]
    wide = np.where(grid == ZERO_TOKEN, ZERO_TOKEN, grid.astype(np.int64) - bases)
    below = (wide < 0) & (grid != ZERO_TOKEN)
    ends, names = np.cumsum(codes.lengths), [stream.name for stream in column.streams(recipe)]
    errors = []
    for number, position in np.argwhere(below):
        row = int(np.searchsorted(ends, position, side="right"))
        error = DataError(
            "token",
            f"code {grid[number, position]}, less its base {column.bases[number]}, is below 0",
            expected=f"a code from {column.bases[number]} on, or -1",
            advice="repair the row, or say `code_base` otherwise",
        )
        timestep = int(position - ends[row] + codes.lengths[row])
        errors.append(error.at(row=row, stream=names[number], timestep=timestep))
    return _like(wide, codes), errors


def with_base(codes: Codes, column: Column) -> Codes:
    """The codes of a column as its shared vocabulary counts them, int64."""
    if not any(column.bases):
        return codes
    grid = codes.grid().astype(np.int64)
    bases = np.array(column.bases, dtype=np.int64)[:, None]
    return Codes.of_grid(
        np.where(grid == ZERO_TOKEN, ZERO_TOKEN, grid + bases), codes.lengths, codes.by_stream
    )


def _like(grid: Array, codes: Codes) -> Codes:
    """A grid as codes of the same type and order."""
    flat = grid.astype(codes.flat.dtype, copy=False)
    return Codes.of_grid(flat, codes.lengths, codes.by_stream)
