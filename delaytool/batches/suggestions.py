"""What a user may have meant who has named no column that is there, by the looks of the first rows.

All of it is advice: nothing is read by it, and columns that several readings fit have to be said
as ever.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from delaytool.batches.column_options import ColumnOptions
from delaytool.batches.fields import array_at, is_there, may_be_tokens, names_of_tokens
from delaytool.batches.types import depth_of, is_list
from delaytool.batches.unwrapping import unwrapped
from delaytool.errors import DataError
from delaytool.pattern.weights import NO_LABEL
from delaytool.recipes.checks import ZERO_TOKEN
from delaytool.recipes.recipe import Recipe

_ROWS, _BYTES = 32, 1 << 20
"""Rows that are looked at, and bytes of them where they are long."""
_TEXTS = ("text", "word", "phoneme", "input_ids", "token")
"""What columns of text are called, the surest first."""
_CARDS = (1024, 2048, 4096, 512, 256)
"""Vocabulary sizes of codecs, by which a shared vocabulary is told."""
_MOST = 64
"""Codebooks that anybody has."""
_NUMBERS = re.compile(r"\d+")
_MANY_NUMBERS = 8
"""In a text, from which on it may be one of tokens."""

Books = Sequence[Sequence[int]]
"""A list for each codebook."""


@dataclass(frozen=True)
class _Codes:
    """A column that looks like codes, or one for each codebook.

    frames: of each row; rows: the first ones; layout: how they lie in the column
    is_filled_up: whether rows are filled up with what is no token
    """

    name: str
    count: int
    frames: list[int]
    rows: Sequence[Books]
    layout: str
    is_filled_up: bool = False


def suggestion(
    where: ColumnOptions, recipe: Recipe | None, batches: Iterable[pa.RecordBatch]
) -> str:
    """What to try instead; nothing where the first rows don't say."""
    try:
        batch = next(iter(batches), None)
        if batch is None or recipe is None or not recipe.n_q or len(recipe.text) > 1:
            return ""
        batch = _first_rows(batch)
        lists = dict(_lists_in(batch))
        if not lists:
            return _of_strings(batch)
        return _of_lists(where, recipe, lists, batch.schema)
    except (DataError, UnicodeDecodeError):
        # What is wrong with the rows is another error.
        return ""


def _first_rows(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Rows that are not too many to be looked at one by one."""
    rows = batch.slice(0, _ROWS)
    while rows.num_rows > 1 and rows.nbytes > _BYTES:
        rows = rows.slice(0, rows.num_rows // 2)
    return rows


def _lists_in(batch: pa.RecordBatch) -> Iterator[tuple[str, list[Any]]]:
    """The columns, and fields of structs, that are lists of integers in one or two levels."""
    for field in batch.schema:
        for name in names_of_tokens(field) or [field.name]:
            array = array_at(batch, name)
            if may_be_tokens(array.type):
                array, errors = unwrapped(array, min(depth_of(array.type)[0], 2))
                if not errors and not _has_nulls(array):
                    yield name, array.to_pylist()


def _has_nulls(array: pa.Array) -> bool:
    return bool(array.null_count) or (is_list(array.type) and _has_nulls(array.flatten()))


def _of_lists(
    where: ColumnOptions, recipe: Recipe, lists: Mapping[str, list[Any]], schema: pa.Schema
) -> str:
    """The columns of text and codes among columns of lists."""
    flat = {name: rows for name, rows in lists.items() if _is_flat(rows)}
    series = _series(flat)
    single = {name: rows for name, rows in flat.items() if _pattern(name) not in series}
    joined = [_joined(name, parts, flat) for name, parts in series.items()]
    nested = [each for name, rows in lists.items() for each in _readings(name, rows)]
    if not joined and not nested:
        return _of_one_list(where, recipe, single)
    known = next((name for name in where.text_column if is_there(schema, name)), None)
    ways: dict[str, tuple[tuple[bool, bool], str]] = {}
    for layout in ("codebook", "frame"):
        codes = [*(each for each in nested if each.layout == layout), *joined]
        if codes:
            text = known or _text(single, codes[0].frames)
            ways[layout] = _of_codes(recipe, codes, text, text if text != known else None)
    best = {layout: named for layout, (fit, named) in ways.items() if fit == max(ways.values())[0]}
    if len(set(best.values())) == 1:
        return next(iter(best.values()))
    return " or ".join(f"`audio_layout={layout!r}` {named}" for layout, named in best.items())


def _of_codes(
    recipe: Recipe, codes: Sequence[_Codes], text: str | None, new: str | None
) -> tuple[tuple[bool, bool], str]:
    """The columns that hold codes in one layout: whether they fit the recipe and text is beside
    them, and how they are named.

    text: the column of text; new: the same where it has to be named
    """
    codes = [each for each in codes if each.frames == codes[0].frames]
    total, names = sum(each.count for each in codes), [each.name for each in codes]
    if text is None and total == len(recipe.streams) + len(codes) - 1:
        grids = [names[0], *(f"{name}[1:]" for name in names[1:])]
        return (True, True), _arguments(grid_column=grids)
    if total != recipe.n_q:
        codes, names = codes[:1], names[:1]
    count, base = sum(each.count for each in codes), _base(codes)
    if count > recipe.n_q and "{q}" not in names[0]:
        count, names = recipe.n_q, [f"{names[0]}[:{recipe.n_q}]"]
    named = _arguments(text_column=new, audio_column=names, code_base=base)
    named += _recipe(recipe, count, text)
    if any(each.is_filled_up for each in codes):
        named += f" once the {NO_LABEL} that fill rows up are cut off, in DuckDB {_cut(codes[0])}"
    return (count == recipe.n_q, text is not None), named


def _cut(codes: _Codes) -> str:
    """Codes without what rows are filled up with, as DuckDB has it."""
    if codes.layout == "frame":
        return f"list_filter({codes.name}, x -> x[1] <> {NO_LABEL})"
    return f"list_transform({codes.name}, x -> list_filter(x, y -> y <> {NO_LABEL}))"


def _is_flat(rows: Sequence[Any]) -> bool:
    return not any(isinstance(value, list) for row in rows for value in row[:1])


def _readings(name: str, rows: Sequence[Any]) -> list[_Codes]:
    """A column of two levels as codes, in the layouts that its rows fit; none where it is none."""
    rows = [row for row in rows if row and row[0]]
    if not rows or _is_flat(rows):
        return []
    is_filled_up = any(NO_LABEL in each for row in rows for each in row)
    rows = [[kept for each in row if (kept := [x for x in each if x != NO_LABEL])] for row in rows]
    if any(len({*map(len, row)}) != 1 for row in rows):
        return []
    outer, inner = {len(row) for row in rows}, {len(row[0]) for row in rows}
    by_book = [[list(book) for book in zip(*row, strict=True)] for row in rows]
    readings = [
        _Codes(name, len(books[0]), [len(row[0]) for row in books], books, layout, is_filled_up)
        for layout, books, counts in (("codebook", rows, outer), ("frame", by_book, inner))
        if len(counts) == 1
    ]
    if len(readings) == 2 and max(*outer, *inner) > _MOST:
        # Nobody has so many codebooks.
        readings = [min(readings, key=lambda each: each.count)]
    return readings


def _pattern(name: str) -> str:
    """nano_layer_3 -> nano_layer_{q}"""
    return re.sub(r"\d+(?=\D*$)", "{q}", name)


def _series(flat: Mapping[str, Any]) -> dict[str, list[str]]:
    """Columns that are numbered from 0 or 1 on, by what they are called but for the number."""
    found: dict[str, list[str]] = {}
    for name in flat:
        found.setdefault(_pattern(name), []).append(name)
    return {
        pattern: names
        for pattern, names in found.items()
        if "{q}" in pattern
        and len(names) > 1
        and [int(_NUMBERS.findall(name)[-1]) for name in names]
        in ([*range(len(names))], [*range(1, len(names) + 1)])
    }


def _joined(name: str, parts: Sequence[str], flat: Mapping[str, list[Any]]) -> _Codes:
    """A column for each codebook as codes."""
    rows = list(zip(*(flat[part] for part in parts), strict=True))
    return _Codes(name, len(parts), [len(row[0]) for row in rows if row[0]], rows, "list")


def _text(single: Mapping[str, Any], frames: Sequence[int]) -> str | None:
    """The column of text: one of one list, as long as there are frames."""
    fits = [
        name
        for name, rows in single.items()
        if [len(row) for row in rows if row] == frames
        and all(value >= ZERO_TOKEN for row in rows for value in row)
    ]
    sure = [name for part in _TEXTS for name in fits if part in name.lower()]
    return next(iter([*sure, *fits]), None)


def _of_one_list(where: ColumnOptions, recipe: Recipe, single: Mapping[str, list[Any]]) -> str:
    """The column of codes where there are but flat lists: the longest; the text beside it."""
    known = next((name for name in where.text_column if name in single), None)
    by_length = sorted(single, key=lambda each: -sum(map(len, single[each])))
    name = next((each for each in by_length if each != known), None)
    rows = [row for row in single[name] if row] if name else []
    if not rows:
        return ""
    text = known or next((each for each in by_length if each != name), None)
    new, found = text if text != known else None, _shared(rows)
    layout, base, count = found or ("flat-frame", None, None)
    if text is not None and found is None:
        tokens = [row for row in single[text] if row]
        counts = {len(row) / len(each) for row, each in zip(rows, tokens, strict=False)}
        if len(counts) != 1 or not min(counts).is_integer():
            return ""
        count = int(min(counts))
    named = _arguments(text_column=new, audio_column=[name], audio_layout=layout, code_base=base)
    if count is None:
        named += " with a `recipe` of N audio streams and no text, N being the number of codebooks"
    else:
        named += _recipe(recipe, count, text)
    other = "; or `audio_layout='flat-codebook'`, all of a codebook in turn"
    return named if found else named + other


def _shared(rows: Sequence[Sequence[int]]) -> tuple[str, int, int] | None:
    """The layout, base and codebooks of flat codes of a shared vocabulary; None for any others."""
    for card in _CARDS:
        books = [[value // card for value in row] for row in rows]
        count = 1 + max((max(book) for book in books), default=0)
        if count < 2 or any(len(book) % count for book in books):
            continue
        for layout in ("flat-frame", "flat-codebook"):
            by_frame = layout == "flat-frame"
            if all(
                book
                == [i % count if by_frame else i * count // len(book) for i in range(len(book))]
                for book in books
            ):
                return layout, card, count
    return None


def _base(codes: Sequence[_Codes]) -> int | None:
    """What a shared vocabulary adds to each codebook's codes; None where they share none."""
    for card in _CARDS:
        if all(
            each.count > 1
            and all(
                value // card == q
                for row in each.rows
                for q, book in enumerate(row)
                for value in book
                if value != ZERO_TOKEN
            )
            for each in codes
        ):
            return card
    return None


def _arguments(**given: Any) -> str:
    """Arguments in the words of an advice, those that are given."""
    named = {
        name: value[0] if isinstance(value, list) and len(value) == 1 else value
        for name, value in given.items()
        if value is not None
    }
    return " ".join(f"`{name}={value!r}`" for name, value in named.items())


def _recipe(recipe: Recipe, count: int, text: str | None) -> str:
    """The recipe that so many codebooks need, as far as it is another one."""
    changes = [f"{count} audio streams"] * (count != recipe.n_q)
    changes += ["no text"] * (text is None and recipe.has_text)
    return f" with a `recipe` of {' and '.join(changes)}" if changes else ""


def _of_strings(batch: pa.RecordBatch) -> str:
    """What to do with tokens that are spelled out in a text."""
    for field in batch.schema:
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
            text = next((value for value in batch.column(field.name).to_pylist() if value), "")
            if len(_NUMBERS.findall(text)) >= _MANY_NUMBERS:
                return (
                    f"lists of integers in place of the text in {field.name}, in DuckDB: "
                    f"list_transform(regexp_extract_all({field.name}, '[0-9]+'), x -> x::INT)"
                )
    return ""
