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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from delaytool.batches.column_options import ColumnOptions
from delaytool.batches.job import Job, make_job
from delaytool.batches.layouts import (
    CODEBOOK,
    LAYOUTS,
    LIST,
    Column,
    Output,
    check_column_type,
)
from delaytool.batches.nesting import Layout
from delaytool.batches.types import check_there, depth_of, stored, type_name
from delaytool.errors import AmbiguousError, DataError, Place
from delaytool.recipes.adapt import with_delays, without_text
from delaytool.recipes.presets import load_preset, plain_recipe
from delaytool.recipes.recipe import Recipe


@dataclass(frozen=True)
class _Named:
    """A column that the user named, which of its codebooks, and the layouts it may have."""

    name: str
    start: int | None
    stop: int | None
    layouts: tuple[Layout, ...]

    def used(self, size: int) -> range:
        """The codebooks of `size` that are used."""
        return range(size)[self.start : self.stop]


@dataclass(frozen=True)
class _Search:
    """What is looked for in the rows: the layouts and sizes of these columns.

    needed: how many streams they hold in all; None for as many as there are
    text:   the column of text beside them, if there is one
    is_aligned: whether text has as many tokens as there are frames
    """

    named: Sequence[_Named]
    needed: int | None
    text: str | None
    is_aligned: bool

    def fits(self, readings: Sequence[_Reading], frames: int | None) -> bool:
        """Whether these readings of a row's columns go together."""
        lengths = {reading.frames for reading in readings} | ({frames} - {None})
        pairs = zip(self.named, readings, strict=True)
        counts = [len(part.used(reading.size)) for part, reading in pairs]
        fits = len(lengths) == 1 and 0 not in lengths and 0 not in counts
        return fits and self.needed in (None, sum(counts))


@dataclass(frozen=True)
class _Reading:
    """One way to read a row of a column: so many codebooks of so many frames."""

    layout: Layout
    size: int
    frames: int


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
    text = _has_text(where, schema, recipe)
    if text:
        check_there(schema, where.text_column, "--text-column")
        check_column_type(schema.field(where.text_column), LIST)
    if recipe is not None and recipe.n_q == 0 and not where.grid_column:
        return (Column(where.text_column, 0, 1, LIST, 1),)
    names = where.grid_column or where.audio_column
    option = "--grid-column" if where.grid_column else "--audio-column"
    named = [part for name in names for part in _look_up(name, schema, option, where.audio_layout)]
    needed = None if recipe is None else (len(recipe.streams) if where.grid_column else recipe.n_q)
    named = [_narrowed(part, schema, needed, len(named)) for part in named]
    sizes = _sizes_without_rows(named, needed)
    if sizes is None:
        text_column = where.text_column if text else None
        names = (*(part.name for part in named), *([where.text_column] if text else []))
        batches = (batch for batch in batches if _as_deep(batch.schema, schema, names))
        search = _Search(named, needed, text_column, where.align == "error")
        sizes = _sizes_from_rows(search, batches)
    columns = [Column(where.text_column, 0, 1, LIST, 1)] if text else []
    first = len(columns)
    for part, (layout, size) in zip(named, sizes, strict=True):
        used = part.used(size)
        columns.append(Column(part.name, first, len(used), layout, size, used.start))
        first += len(used)
    return tuple(columns)


def _as_deep(one: pa.Schema, other: pa.Schema, names: Iterable[str]) -> bool:
    """Whether a schema has these columns, with lists as deep as in the other."""
    # A shard without them is another error, which names the shard.
    return all(
        name in one.names
        and depth_of(one.field(name).type)[0] == depth_of(other.field(name).type)[0]
        for name in names
    )


def _has_text(where: ColumnOptions, schema: pa.Schema, recipe: Recipe | None) -> bool:
    """Whether there is a column of text alone."""
    if where.grid_column:
        return False
    return where.text_column in schema.names if recipe is None else recipe.has_text


def _look_up(name: str, schema: pa.Schema, option: str, layout: str) -> list[_Named]:
    """The columns that a name stands for: one, or one for each codebook."""
    layouts = () if layout == "auto" else (LAYOUTS[layout],)
    if "{q}" in name and name not in schema.names:
        numbers = [q for q in (0, 1) if name.replace("{q}", str(q)) in schema.names][:1]
        check_there(schema, name.replace("{q}", str(*numbers or (0,))), option)
        found = itertools.takewhile(
            lambda each: each in schema.names,
            (name.replace("{q}", str(q)) for q in itertools.count(numbers[0])),
        )
        return [_Named(each, None, None, (LIST,)) for each in found]
    start = stop = None
    sliced = re.fullmatch(r"(.*)\[(\d*):(\d*)\]", name)
    if sliced is not None and name not in schema.names:
        name = sliced[1]
        start, stop = (int(part) if part else None for part in sliced.groups()[1:])
    check_there(schema, name, option)
    return [_Named(name, start, stop, layouts)]


def _narrowed(part: _Named, schema: pa.Schema, needed: int | None, columns: int) -> _Named:
    """A column with the layouts that its type leaves."""
    field = schema.field(part.name)
    if part.layouts:
        for layout in part.layouts:
            check_column_type(field, layout)
        return part
    depth, leaf = depth_of(field.type)
    layouts = tuple(layout for layout in LAYOUTS.values() if layout.depth == depth)
    if not layouts or not pa.types.is_integer(leaf):
        check_column_type(field, CODEBOOK)
    if depth == 1 and needed == columns:
        layouts = (LIST,)
    return _Named(part.name, part.start, part.stop, layouts)


def _sizes_without_rows(
    named: Sequence[_Named], needed: int | None
) -> list[tuple[Layout, int]] | None:
    """Layouts and sizes, where the types and the recipe say enough."""
    if all(part.layouts == (LIST,) for part in named):
        if needed not in (None, len(named)):
            raise DataError(
                "streams",
                f"{len(named)} columns with one codebook each",
                expected=f"{needed}, one for each stream of the recipe",
                advice="choose another --preset or --n-q",
            )
        return [(LIST, 1) for _ in named]
    if len(named) == 1 and needed is not None:
        (part,) = named
        if len(part.layouts) == 1 and part.start is None and part.stop is None:
            return [(part.layouts[0], needed)]
    return None


def _sizes_from_rows(
    search: _Search, batches: Iterable[pa.RecordBatch]
) -> list[tuple[Layout, int]]:
    """Layouts and sizes from the first row that only one reading of all columns fits."""
    named, needed = search.named, search.needed
    ambiguous: list[tuple[_Reading, ...]] = []
    misfit: list[tuple[_Reading, ...]] | None = None
    common: set[tuple[tuple[Layout, int], ...]] | None = None
    for frames, of_columns in _rows(search, batches):
        readings = list(itertools.product(*of_columns))
        fitting = [reading for reading in readings if search.fits(reading, frames)]
        if needed is None:
            # No recipe says how many codebooks there are, but they are as many in every row.
            fitting = [r for r in fitting if common is None or _sizes(r) in common]
            common = {_sizes(reading) for reading in fitting}
        if len(fitting) == 1:
            return list(_sizes(fitting[0]))
        if fitting:
            ambiguous = ambiguous or fitting
        elif misfit is None:
            misfit = readings
    if misfit is not None and needed is None:
        ambiguous = []
    if ambiguous:
        raise _ambiguous(named, ambiguous)
    if misfit is not None:
        raise _misfit(named, misfit, needed)
    return _sizes_of_nothing(named, needed)


def _sizes(readings: Sequence[_Reading]) -> tuple[tuple[Layout, int], ...]:
    return tuple((reading.layout, reading.size) for reading in readings)


def _rows(
    search: _Search, batches: Iterable[pa.RecordBatch]
) -> Iterator[tuple[int | None, list[list[_Reading]]]]:
    """For each row that can tell: its frames, if text says, and the readings of each column."""
    share = search.needed if len(search.named) == 1 else None
    for batch in batches:
        texts = None
        if search.text is not None:
            texts = pc.list_value_length(batch.column(search.text)).to_pylist()
        shapes = [_shapes(batch.column(part.name)) for part in search.named]
        for row in range(batch.num_rows):
            tokens = texts[row] if texts is not None else None
            of_row = [shape[row] for shape in shapes]
            if (texts is not None and tokens is None) or any(shape is None for shape in of_row):
                continue
            frames = tokens if search.is_aligned else None
            # Rows without frames are of any layout.
            if frames == 0 or (frames is None and any(0 in shape for shape in of_row if shape)):
                continue
            yield (
                frames,
                [
                    _readings(part.layouts, *shape, frames, share)
                    for part, shape in zip(search.named, of_row, strict=True)
                    if shape is not None
                ],
            )


def _shapes(array: pa.Array) -> list[tuple[int, int | None] | None]:
    """For each row its length and that of the lists in it, None where they differ or are none."""
    array = stored(array)
    lengths = pc.list_value_length(array).to_pylist()
    inner: list[int | None] = []
    values = array.flatten()
    if depth_of(array.type)[0] == 2:
        inner = pc.list_value_length(values).to_pylist()
    shapes: list[tuple[int, int | None] | None] = []
    start = 0
    for length in lengths:
        if length is None:
            shapes.append(None)
            continue
        widths = set(inner[start : start + length])
        start += length
        shapes.append((length, widths.pop() if len(widths) == 1 else None))
    return shapes


def _readings(
    layouts: tuple[Layout, ...],
    outer: int,
    inner: int | None,
    frames: int | None,
    needed: int | None,
) -> list[_Reading]:
    """The ways to read a row of this shape."""
    if LIST in layouts and len(layouts) > 1:
        # One codebook is the same in every layout of one list; without frames nobody knows.
        layouts = (LIST,) if outer == frames else layouts[1:]
    shapes = ((layout, layout.shape(outer, inner, frames, needed)) for layout in layouts)
    return [_Reading(layout, *shape) for layout, shape in shapes if shape is not None]


def _ambiguous(named: Sequence[_Named], fitting: Sequence[Sequence[_Reading]]) -> AmbiguousError:
    number = next(i for i in range(len(named)) if len({r[i].layout for r in fitting}) > 1)
    layouts = sorted({readings[number].layout for readings in fitting}, key=str)
    size = fitting[0][number].size
    choices = " or ".join(f"{layout} ({layout.describe(size)})" for layout in layouts)
    return AmbiguousError(
        "several-layouts",
        "more than one layout fits every row",
        expected=f"just one; it could be {choices}",
        advice="say which: " + " or ".join(f"--audio-layout {layout}" for layout in layouts),
        place=Place(column=named[number].name),
    )


def _misfit(
    named: Sequence[_Named], readings: Sequence[Sequence[_Reading]], needed: int | None
) -> DataError:
    tried = [
        " and ".join(
            f"{part.name} {reading.layout} with {reading.size} codebooks of {reading.frames} frames"
            for part, reading in zip(named, row, strict=True)
        )
        for row in readings
    ]
    wanted = "columns of as many frames" if needed is None else f"{needed} streams in all"
    return DataError(
        "no-layout",
        "no layout fits: " + ("; or ".join(tried) or "the lists in a row have different lengths"),
        expected=f"{wanted}, and as many frames as the text has",
        advice="choose another --preset, --n-q, --audio-layout or --align, or other columns",
        place=Place(column=named[0].name),
    )


def _sizes_of_nothing(named: Sequence[_Named], needed: int | None) -> list[tuple[Layout, int]]:
    """Without any frames nothing can be wrong: the columns share the streams evenly."""
    share = (needed or len(named)) // len(named)
    sizes = []
    for part in named:
        size = (part.start or 0) + share
        layout = next((each for each in part.layouts if each != LIST or size == 1), None)
        fits = len(part.used(size)) == share and share * len(named) == (needed or len(named))
        if layout is None or not fits:
            raise DataError(
                "no-rows",
                "there are no rows",
                expected="one that tells how many codebooks the column holds",
                place=Place(column=part.name),
            )
        sizes.append((layout, size))
    return sizes


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
        first = columns[0]
        has_text = (first.layout == LIST and first.name == where.text_column) or bool(
            where.grid_column
        )
        n_q = sum(column.count for column in columns) - has_text
        moshi = load_preset()
        if n_q == moshi.n_q:
            recipe = with_delays(moshi if has_text else without_text(moshi), (0,))
        else:
            recipe = plain_recipe(n_q, (0,) * (n_q + has_text), has_text)
    return make_job(recipe, where, columns)


def describe_columns(columns: Sequence[Column | Output], schema: pa.Schema) -> list[str]:
    """What columns hold, a line for each."""
    lines = []
    for column in columns:
        size, used = column.count, ""
        if isinstance(column, Column) and not column.is_whole:
            size = column.size
            used = f", of which {column.start} to {column.start + column.count - 1} are used"
        kind = type_name(schema.field(column.name).type)
        lines.append(f"{column.name}: {kind}, {column.layout.describe(size)}{used}")
    return lines
