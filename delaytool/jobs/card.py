"""A set of shards as a dataset card: the page of a dataset on the Hugging Face hub, in Markdown.

It begins with a head in YAML, which the hub reads. What shards can't say is left to fill in: name,
license and language, and where the recordings come from.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from delaytool.batches.job import ROW_FRAMES, WINDOW, WINDOW_START, Job
from delaytool.batches.types import type_name
from delaytool.jobs.report import Report
from delaytool.recipes.describe import describe
from delaytool.recipes.presets import preset_names, read_preset
from delaytool.recipes.recipe import Recipe
from delaytool.texts import printable

_SIZES = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T")
"""The borders of the hub's size categories, in rows."""
_HEAD = """---
pretty_name: "FILL IN"
# license: FILL IN, such as cc-by-4.0
# language: FILL IN, such as [en]
tags:
- delaytool
- audio-tokens
size_categories:
- {size}
---

# FILL IN: the name of the dataset

FILL IN: what was recorded, where it comes from, and which codec and tokenizer made the tokens.
"""
_SHIFTED = """
## How to use it

The codes are shifted by the delay pattern above. A model that applies the pattern itself, as
moshi's `LMModel.forward` does, would delay them again. In PyTorch, with
`pip install 'delaytool[torch]'`:

```python
import torch
from delaytool.torch import ShardDataset, collate

rows = ShardDataset("PATH", shuffle=True)
loader = torch.utils.data.DataLoader(rows, batch_size=16, collate_fn=collate)
```

`delaytool verify PATH` checks every value, and `delaytool revert PATH original/` writes the shards
that these were made from.
"""
_WINDOWS = {
    WINDOW: "the window's number in its row, from 0",
    WINDOW_START: "its first frame, or timestep where the shifted row was cut",
    ROW_FRAMES: "frames of the whole row",
}
_LICENSE = """
## License

FILL IN, also in the head of this page.
"""


@dataclass(frozen=True)
class Contents:
    """What the rows of a shard hold.

    recipe:  that of the tokens; None where an original shard was read without one
    columns: name, type and meaning of each, in the shard's order
    shifted: whether the tokens are shifted
    """

    recipe: Recipe | None
    columns: tuple[tuple[str, str, str], ...]
    shifted: bool

    @classmethod
    def of(cls, job: Job, schema: pa.Schema, *, shifted: bool, known: bool = True) -> Contents:
        """What a shard holds.

        job:   how it was made, or how it is read if it is an original one
        known: whether somebody has said the recipe
        """
        meanings = _of_outputs(job) if shifted else _of_columns(job)
        if shifted and job.windows is not None:
            meanings |= _WINDOWS
        if job.key is not None:
            meanings.setdefault(job.key, "the row's key")
        columns = ((field.name, _type_of(field), meanings.get(field.name, "")) for field in schema)
        return cls(job.recipe if known else None, tuple(columns), shifted)


def _type_of(field: pa.Field) -> str:
    return re.sub(r"\b(?:element|item): ", "", type_name(field.type))


def _of_columns(job: Job) -> dict[str, str]:
    """What each column of an original shard means that holds tokens."""
    return {
        c.name: f"{_kind(job, c.numbers)}, {c.layout.words} {c.layout.axes}" for c in job.columns
    }


def _of_outputs(job: Job) -> dict[str, str]:
    """What each column of a shifted shard means: tokens, loss weights, labels."""
    found: dict[str, str] = {}
    for output in job.outputs:
        found[output.name] = (
            f"{_kind(job, output.numbers)}, shifted; {output.layout.words} {output.layout.axes}"
        )
        if output.weights is not None:
            found[output.weights] = f"the loss weight of each cell of {output.name}"
        if output.labels is not None:
            found[output.labels] = f"{output.name}, -100 in cells without loss"
    return found


def _kind(job: Job, numbers: Iterable[int]) -> str:
    """Of which streams tokens are: text tokens, codes of 8 codebooks, or both."""
    numbers = tuple(numbers)
    audio = sum(job.recipe.streams[number].kind != "text" for number in numbers)
    kinds = ["text tokens"] * (audio < len(numbers))
    kinds += [f"codes of {audio} codebook{'' if audio == 1 else 's'}"] * bool(audio)
    return " and ".join(kinds)


def dataset_card(report: Report, contents: Iterable[Contents]) -> str:
    """The card of shards, in Markdown.

    report:   the shards in numbers
    contents: what they hold, each kind once
    """
    kinds = list(contents)
    parts = [_HEAD.format(size=_size(report.counts.rows_out)), "\n## What is in it\n"]
    parts.append(_table(("what", "how much"), report.lines()))
    for number, kind in enumerate(kinds, 1):
        which = f" ({number} of {len(kinds)})" if len(kinds) > 1 else ""
        parts.append(f"\n## Columns{which}\n")
        rows = ((_code(name), _code(typed), _text(said)) for name, typed, said in kind.columns)
        parts.append(_table(("column", "type", "what"), rows, marked=True))
        if kind.recipe is not None:
            parts.append(f"\n## Delay pattern{which}\n\n```text\n{_described(kind.recipe)}\n```\n")
    if kinds and all(kind.shifted for kind in kinds):
        parts.append(_SHIFTED)
    return "".join([*parts, _LICENSE])


def _described(recipe: Recipe) -> str:
    """The recipe as a table; a preset's where it is one."""
    same = (name for name in preset_names() if read_preset(name).recipe == recipe)
    preset = next(same, None)
    return describe(recipe, "in each shard's footer" if preset is None else f"preset {preset}")


def _size(rows: int) -> str:
    """The hub's category of so many rows: 48 -> n<1K, 1000 -> 1K<n<10K"""
    passed = sum(rows >= 10 ** (3 + power) for power in range(len(_SIZES)))
    if passed == 0:
        return f"n<{_SIZES[0]}"
    return (
        f"n>{_SIZES[-1]}" if passed == len(_SIZES) else f"{_SIZES[passed - 1]}<n<{_SIZES[passed]}"
    )


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]], marked: bool = False) -> str:
    """A table in Markdown.

    marked: whether the cells are Markdown already
    """
    lines = [head, ("---",) * len(head)]
    lines += [row if marked else tuple(map(_text, row)) for row in rows]
    return "\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _text(text: str) -> str:
    """Words that Markdown leaves as they are; names in them may come from data."""
    line = re.sub(" +", " ", printable(text))
    return re.sub(r"([\\`*_\[\]|~#])", r"\\\1", html.escape(line, quote=False))


def _code(text: str) -> str:
    """A name or a type between backquotes, as many as it takes, in a cell of a table."""
    line = printable(text).replace("|", "\\|")
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    space = " " if len(fence) > 1 else ""
    return f"{fence}{space}{line}{space}{fence}"
