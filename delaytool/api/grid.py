"""Read one row."""

from __future__ import annotations

from collections.abc import Sequence

from delaytool.api.given import Layout, Names, Path, check_audio_input, key_of_rows
from delaytool.batches.column_options import ColumnOptions, names_of, numbers_of
from delaytool.batches.job import Align
from delaytool.errors import RecipeError
from delaytool.grids.grid import Grid
from delaytool.grids.read import read_grid as _read_grid
from delaytool.jobs.paths import plain_path
from delaytool.recipes.recipe import Recipe
from delaytool.shards import stores
from delaytool.shards.find import Shard


def read_grid(
    shard: Path,
    *,
    row: int = 0,
    id: str | None = None,
    before: bool = False,
    after: bool = False,
    recipe: Recipe | None = None,
    text_column: Names = "text_tokens",
    audio_column: Names = "audio_codes",
    grid_column: Names = (),
    audio_layout: Layout = "auto",
    audio_input: Path | None = None,
    key: str | None = None,
    no_key: bool = False,
    align: Align = "error",
    align_limit: int | None = None,
    code_base: int | Sequence[int] = (),
    weight_column: str | None = None,
) -> Grid:
    """One row of a shifted or an original shard as a grid, which a notebook shows as a table.

    id:            the row with this key, instead of `row`
    before, after: the row before the shift or after it, instead of as it is in the shard
    recipe:        the streams of an original shard; None for as many as there are, or for Moshi's
                   where the shift is to be shown
    """
    if before and after:
        raise RecipeError("`before` and `after` exclude one another; give one of them")
    names = names_of(text_column), names_of(audio_column), names_of(grid_column)
    where = ColumnOptions(
        *names,
        audio_layout=audio_layout,
        align=align,
        align_limit=align_limit,
        code_base=numbers_of(code_base),
        weight_column=weight_column,
        **key_of_rows(key, no_key),
    )
    check_audio_input(where, audio_input)
    codes = None if audio_input is None else _shard_at(plain_path(audio_input))
    return _read_grid(
        _shard_at(plain_path(shard)),
        where,
        codes=codes,
        row=row,
        key=id,
        recipe=recipe,
        shifted=after if before or after else None,
    )


def _shard_at(path: str) -> Shard:
    """The shard that is one file; raises RecipeError where there is none."""
    if stores.kind_of(path) != "file":
        raise RecipeError(f"{stores.shown(path)} is not a file")
    return Shard(stores.base_name(path), path)
