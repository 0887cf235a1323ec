"""Settles the layouts of columns: from their types, or the first row that only one reading fits.

Where several readings fit every row, the choice is the user's: a wrong guess would make noise that
nobody notices.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from delaytool.batches.fields import array_at
from delaytool.batches.layout_errors import ambiguous_error, misfit_error
from delaytool.batches.layouts import CODEBOOK, FRAME, LIST
from delaytool.batches.nesting import Layout
from delaytool.batches.readings import Named, Reading, Search
from delaytool.batches.types import depth_of, stored
from delaytool.batches.unwrapping import unwrapped
from delaytool.errors import DataError, Place


def sizes_without_rows(
    named: Sequence[Named], needed: int | None
) -> list[tuple[Layout, int]] | None:
    """Layouts and sizes, where the types and the recipe say enough."""
    if all(part.layouts == (LIST,) for part in named):
        if needed not in (None, len(named)):
            raise DataError(
                "streams",
                f"{len(named)} columns with one codebook each",
                expected=f"{needed}, one for each stream of the recipe",
                advice="choose another `recipe`",
            )
        return [(LIST, 1) for _ in named]
    if len(named) == 1 and needed is not None:
        (part,) = named
        if len(part.layouts) == 1 and part.start is None and part.stop is None:
            return [(part.layouts[0], needed)]
    return None


def sizes_from_rows(search: Search, batches: Iterable[pa.RecordBatch]) -> list[tuple[Layout, int]]:
    """Layouts and sizes from the first row that only one reading of all columns fits."""
    named, needed = search.named, search.needed
    ambiguous: list[tuple[Reading, ...]] = []
    misfit: tuple[list[tuple[Reading, ...]], int | None] | None = None
    common: set[tuple[tuple[Layout, int], ...]] | None = None
    empty: list[set[int]] = [set() for _ in named]
    for frames, of_columns in _rows(search, batches, empty):
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
            misfit = readings, frames
    if misfit is not None and needed is None:
        ambiguous = []
    if ambiguous:
        raise ambiguous_error(named, ambiguous)
    if misfit is not None:
        raise misfit_error(search, *misfit)
    return _sizes_of_nothing(search, empty)


def _sizes(readings: Sequence[Reading]) -> tuple[tuple[Layout, int], ...]:
    return tuple((reading.layout, reading.size) for reading in readings)


def _rows(
    search: Search, batches: Iterable[pa.RecordBatch], empty: list[set[int]]
) -> Iterator[tuple[int | None, list[list[Reading]]]]:
    """For each row that can tell: its frames, if text says, and the readings of each column.

    empty: for each column how many lists without anything in them the other rows have
    """
    share = search.needed if len(search.named) == 1 else None
    for batch in batches:
        texts = None
        if search.text is not None:
            texts = pc.list_value_length(stored(array_at(batch, search.text))).to_pylist()
        shapes = [_shapes(array_at(batch, part.name)) for part in search.named]
        for row in range(batch.num_rows):
            tokens = texts[row] if texts is not None else None
            of_row = [shape[row] for shape in shapes]
            if (texts is not None and tokens is None) or any(shape is None for shape in of_row):
                continue
            frames = tokens if search.is_aligned else None
            # Rows without frames are of any layout.
            if frames == 0 or (frames is None and any(0 in shape for shape in of_row if shape)):
                for lists, shape in zip(empty, of_row, strict=True):
                    lists.update(shape[:1] if shape and 0 in shape else ())
                continue
            yield (
                frames,
                [
                    _readings(part.layouts, *shape, frames, share)
                    for part, shape in zip(search.named, of_row, strict=True)
                    if shape is not None
                ],
            )


def _shapes(given: pa.Array) -> list[tuple[int, int | None] | None]:
    """For each row its length and that of the lists in it, None where they differ or are none."""
    array, errors = unwrapped(given, min(depth_of(given.type)[0], CODEBOOK.depth))
    if errors:
        # Bad rows decide nothing; the others of their batch are left to the next ones.
        bad = {error.place.row for error in errors}
        good = pa.array([row not in bad for row in range(len(given))])
        others = iter(_shapes(given.filter(good)))
        return [None if row in bad else next(others) for row in range(len(given))]
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
) -> list[Reading]:
    """The ways to read a row of this shape."""
    if LIST in layouts and len(layouts) > 1:
        # One codebook is the same in every layout of one list; without frames nobody knows.
        layouts = (LIST,) if outer == frames else layouts[1:]
    shapes = ((layout, layout.shape(outer, inner, frames, needed)) for layout in layouts)
    return [Reading(layout, *shape) for layout, shape in shapes if shape is not None]


def _sizes_of_nothing(search: Search, empty: Sequence[set[int]]) -> list[tuple[Layout, int]]:
    """Without any frames nothing can be wrong: the columns share the streams evenly.

    empty: for each column how many lists without anything in them its rows have: [[], [], []] can
           only be three codebooks, [] no frame
    """
    named, needed = search.named, search.needed
    books = [min(lists) if len(lists) == 1 else 0 for lists in empty]
    used = [len(part.used(size)) for part, size in zip(named, books, strict=True)]
    if all(used) and needed in (None, sum(used)) and all(CODEBOOK in p.layouts for p in named):
        return [(CODEBOOK, size) for size in books]
    share = (needed or len(named) + search.in_grids) // len(named)
    sizes = []
    for part, lists in zip(named, empty, strict=True):
        size = (part.start or 0) + share
        fitting = [each for each in part.layouts if each != LIST or size == 1]
        if lists == {0} and FRAME in fitting:
            fitting = [FRAME]
        whole = len(part.used(size)) == share and (needed is None or share * len(named) == needed)
        if not fitting or not whole:
            raise DataError(
                "no-rows",
                "there are no rows",
                expected="one that tells how many codebooks the column holds",
                place=Place(column=part.name),
            )
        sizes.append((fitting[0], size))
    return sizes
