"""Words why no layout fits columns, or more than one, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence

from delaytool.batches.nesting import numbered
from delaytool.batches.readings import Named, Reading, Search
from delaytool.errors import AmbiguousError, DataError, Place


def ambiguous_error(named: Sequence[Named], fitting: Sequence[Sequence[Reading]]) -> AmbiguousError:
    """The error for columns that several layouts fit."""
    number = next(i for i in range(len(named)) if len({r[i].layout for r in fitting}) > 1)
    layouts = sorted({readings[number].layout for readings in fitting}, key=str)
    size = fitting[0][number].size
    choices = " or ".join(f"{layout} ({layout.describe(size)})" for layout in layouts)
    return AmbiguousError(
        "several-layouts",
        "more than one layout fits every row",
        expected=f"just one; it could be {choices}",
        advice="say which: " + " or ".join(f'`audio_layout="{layout}"`' for layout in layouts),
        place=Place(column=named[number].name),
    )


def misfit_error(
    search: Search, readings: Sequence[Sequence[Reading]], tokens: int | None
) -> DataError:
    """The error for rows that no layout fits, by a row of so many text tokens."""
    named, place = search.named, Place(column=search.named[0].name)
    alike = [row for row in readings if len({reading.frames for reading in row} - {0}) == 1]
    fitting = [row for row in alike if tokens in (None, row[0].frames)]
    if fitting and search.needed is not None:
        sizes = [len(part.used(r.size)) for part, r in zip(named, fitting[0], strict=True)]
        if 0 in sizes:
            number = sizes.index(0)
            return DataError(
                "streams",
                f"the slice holds none of {numbered(fitting[0][number].size, 'codebook')}",
                expected="at least one",
                advice="choose another slice",
                place=Place(column=named[number].name),
            )
        each = " and ".join(f"{part.name} has {n}" for part, n in zip(named, sizes, strict=True))
        found = numbered(sum(sizes), "stream")
        return DataError(
            "streams",
            f"{each}, {found} in all" if len(named) > 1 else found,
            expected=f"{search.needed}, one for each {'' if search.in_grids else 'audio '}stream "
            "of the recipe",
            advice=_other_streams(search, sizes),
            place=place,
        )
    choices = " or ".join(
        dict.fromkeys(
            " and ".join(
                f"{part.name} {reading.size} codebooks of {numbered(reading.frames, 'frame')}"
                for part, reading in zip(named, row, strict=True)
            )
            for row in alike or readings
        )
    )
    text = f", beside {numbered(tokens, 'text token')}" if tokens is not None else ""
    return DataError(
        "no-layout",
        f"no layout fits: {choices or 'the lists in a row have different lengths'}{text}",
        expected="as many frames in every column" + (" as the text has tokens" if text else ""),
        advice="name the layout with `audio_layout`"
        + (", or say with `align` what becomes of text of another length" if text else ""),
        place=place,
    )


def _other_streams(search: Search, sizes: Sequence[int]) -> str:
    """What to do where columns hold so many streams, more or fewer than are needed."""
    needed = search.needed or 0
    argument = "grid_column" if search.in_grids else "audio_column"
    names = [part.name for part in search.named]
    more = sum(sizes) - needed
    if search.in_grids and more == len(names) - 1 and not any(p.is_slice for p in search.named):
        columns = [names[0], *(f"{name}[1:]" for name in names[1:])]
        return (
            "where each grid begins with a text of its own, take that of one: "
            f"`{argument}={columns!r}`"
        )
    if more < 0:
        fewer = "" if search.in_grids else f"a `recipe` of {sum(sizes)} audio streams, "
        return f"choose {fewer}another `recipe`, or name more columns with `{argument}`"
    if more < sizes[-1] and not search.named[-1].is_slice:
        columns = [*names[:-1], f"{names[-1]}[:{sizes[-1] - more}]"]
        first = f"`{argument}={columns if len(columns) > 1 else columns[0]!r}`"
        return f"choose another `recipe`, or take the first {needed} streams: {first}"
    return f"choose another `recipe`, or fewer columns with `{argument}`"
