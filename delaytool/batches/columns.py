"""Which columns hold the tokens, and in which layout.

What a user says of the columns (`ColumnOptions`) becomes `Column`s: names are looked up,
`codes_{q}` becomes a column per codebook, slices are taken, and the layout is settled once for a
whole run: from the types, and from the first row that only one reading fits. Where several
readings fit every row, the choice is the user's: a wrong guess would make noise that nobody
notices.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterable, Sequence

import pyarrow as pa

from delaytool.batches.column_options import ColumnOptions
from delaytool.batches.fields import check_there, field_at, is_there
from delaytool.batches.job import Job, make_job
from delaytool.batches.layout_search import sizes_from_rows, sizes_without_rows
from delaytool.batches.layouts import (
    CODEBOOK,
    LAYOUTS,
    LIST,
    Column,
    Output,
    check_column_type,
)
from delaytool.batches.readings import Named, Search
from delaytool.batches.suggestions import suggestion
from delaytool.batches.types import depth_of, have_times, type_name
from delaytool.errors import DataError, RecipeError
from delaytool.recipes.adapt import with_delays, without_text
from delaytool.recipes.presets import load_preset, plain_recipe
from delaytool.recipes.recipe import Recipe

_TEXT = (
    "`text_column`, or the one of text and codes with `grid_column`; "
    "for codes alone give a `recipe` without text"
)


def find_columns(
    where: ColumnOptions,
    schema: pa.Schema,
    recipe: Recipe | None,
    batches: Iterable[pa.RecordBatch],
) -> tuple[Column, ...]:
    """The columns of a dataset that hold tokens.

    recipe:  the recipe whose streams they hold; None for as many as there are
    batches: rows of the dataset, with the columns of this schema; read only as far as needed
    raises:  DataError when a column is missing or of an unfit type, or when no layout or more than
             one fits
    """
    try:
        return _find_columns(where, schema, recipe, batches)
    except DataError as error:
        # Text that has to be aligned first is no column that was meant.
        is_about_words = any(have_times(field.type) for field in schema)
        hint = ""
        if error.kind == "missing-column" and not is_about_words:
            hint = suggestion(where, recipe, batches)
        if not hint:
            raise
        advice = f"by the looks of the first rows, try {hint}; else {error.advice}"
        texts = {"expected": error.expected, "advice": advice}
        raise DataError(error.kind, error.found, **texts, place=error.place) from None


def _find_columns(
    where: ColumnOptions,
    schema: pa.Schema,
    recipe: Recipe | None,
    batches: Iterable[pa.RecordBatch],
) -> tuple[Column, ...]:
    texts = _text_columns(where, schema, recipe)
    for name in texts:
        words = [field.name for field in schema if have_times(field.type)]
        aligned = f"; delaytool align makes it of the words in {words[0]}" if words else ""
        check_there(schema, name, _TEXT + aligned)
        check_column_type(field_at(schema, name), LIST)
    numbers = range(len(texts)) if recipe is None else recipe.text_numbers
    columns = [Column(*pair, LIST, 1) for pair in zip(texts, ((n,) for n in numbers), strict=False)]
    if recipe is not None and recipe.n_q == 0 and not where.grid_column:
        return tuple(columns)
    names = where.grid_column or where.audio_column
    argument = "`grid_column`" if where.grid_column else "`audio_column`"
    needed = None if recipe is None else (len(recipe.streams) if where.grid_column else recipe.n_q)
    # Of more columns than there are streams, those of the first codebooks are meant.
    series = all("{q}" in name and not is_there(schema, name) for name in names)
    most = needed // len(names) if needed and series else None
    named = [
        part
        for name in names
        for part in _look_up(name, schema, argument, where.audio_layout)[:most]
    ]
    named = [_narrowed(part, schema, needed, len(named)) for part in named]
    sizes = sizes_without_rows(named, needed)
    if sizes is None:
        text_column = texts[0] if texts else None
        names = (*(part.name for part in named), *texts)
        batches = (batch for batch in batches if _as_deep(batch.schema, schema, names))
        search = Search(named, needed, text_column, where.align == "error", bool(where.grid_column))
        sizes = sizes_from_rows(search, batches)
    left = itertools.count(len(columns)) if recipe is None else iter(recipe.audio_numbers)
    if where.grid_column:
        left = itertools.count()
    for part, (layout, size) in zip(named, sizes, strict=True):
        used = part.used(size)
        streams = tuple(itertools.islice(left, len(used)))
        columns.append(Column(part.name, streams, layout, size, used.start))
    return tuple(columns)


def _as_deep(one: pa.Schema, other: pa.Schema, names: Iterable[str]) -> bool:
    """Whether a schema has these columns, with lists as deep as in the other."""
    # A shard without them is another error, which names the shard.
    return all(
        is_there(one, name)
        and depth_of(field_at(one, name).type)[0] == depth_of(field_at(other, name).type)[0]
        for name in names
    )


def _text_columns(
    where: ColumnOptions, schema: pa.Schema, recipe: Recipe | None
) -> tuple[str, ...]:
    """The columns of text alone; raises RecipeError unless there is one for each text stream."""
    if where.grid_column or (recipe is not None and not recipe.has_text):
        return ()
    names = where.text_column
    if recipe is None:
        return tuple(name for name in names if is_there(schema, name))
    if len(names) != len(recipe.text):
        streams = ", ".join(stream.name for stream in recipe.text)
        raise RecipeError(
            f"`text_column` names {', '.join(names)}, "
            f"expected {len(recipe.text)}, one for each text stream: {streams}"
        )
    return names


def _look_up(name: str, schema: pa.Schema, argument: str, layout: str) -> list[Named]:
    """The columns that a name stands for: one, or one for each codebook."""
    layouts = () if layout == "auto" else (LAYOUTS[layout],)
    if "{q}" in name and not is_there(schema, name):
        return [Named(each, None, None, (LIST,)) for each in _series(name, schema, argument)]
    start = stop = None
    sliced = re.fullmatch(r"(.*)\[(\d*):(\d*)\]", name)
    if sliced is not None and not is_there(schema, name):
        name = sliced[1]
        start, stop = (int(part) if part else None for part in sliced.groups()[1:])
    check_there(schema, name, argument)
    return [Named(name, start, stop, layouts)]


def _series(name: str, schema: pa.Schema, argument: str) -> list[str]:
    """The columns codes_0, codes_1, ..., from 0 or 1 on, with leading zeros or without."""
    for first, width in itertools.product((0, 1), range(1, 5)):
        each = (name.replace("{q}", f"{q:0{width}d}") for q in itertools.count(first))
        found = list(itertools.takewhile(lambda column: is_there(schema, column), each))
        if found:
            return found
    check_there(schema, name.replace("{q}", "0"), argument)
    return []


def _narrowed(part: Named, schema: pa.Schema, needed: int | None, columns: int) -> Named:
    """A column with the layouts that its type leaves."""
    field = field_at(schema, part.name)
    if part.layouts:
        for layout in part.layouts:
            check_column_type(field, layout)
        return part
    depth, leaf = depth_of(field.type)
    # Deeper lists have one entry each, and those of a layout inside.
    depth = min(depth, CODEBOOK.depth)
    layouts = tuple(layout for layout in LAYOUTS.values() if layout.depth == depth)
    if not layouts or not pa.types.is_integer(leaf) or depth == CODEBOOK.depth:
        check_column_type(field, CODEBOOK)
    if depth == 1 and needed == columns:
        layouts = (LIST,)
    return Named(part.name, part.start, part.stop, layouts)


def job_of_original(
    where: ColumnOptions,
    schema: pa.Schema,
    batches: Iterable[pa.RecordBatch],
    recipe: Recipe | None = None,
) -> Job:
    """A job that only reads an original shard.

    recipe: None for one of as many streams as there are, none of them moved; 16 codebooks are taken
            for Moshi's
    """
    where = dataclasses.replace(where, weights=False, weight_column=None)
    columns = find_columns(where, schema, recipe, batches)
    if recipe is None:
        texts = 1 if where.grid_column else len(_text_columns(where, schema, None))
        count = sum(column.count for column in columns)
        moshi = load_preset()
        if count - texts == moshi.n_q and texts < 2:
            recipe = with_delays(moshi if texts else without_text(moshi), (0,))
        else:
            recipe = plain_recipe(count - texts, (0,) * count, texts)
    return make_job(recipe, where, columns)


def describe_columns(columns: Sequence[Column | Output], schema: pa.Schema) -> list[str]:
    """What columns hold, a line for each."""
    lines = []
    for column in columns:
        size, used = column.count, ""
        if isinstance(column, Column) and not column.is_whole:
            size = column.size
            used = f", of which {column.start} to {column.start + column.count - 1} are used"
        kind = type_name(field_at(schema, column.name).type)
        lines.append(f"{column.name}: {kind}, {column.layout.describe(size)}{used}")
    return lines
