"""What the functions are given, and how they run.

The commands as functions: plan, run, report. Keywords are called like the commands' options.
Nothing is printed, no signal handler is set, and no process is started unless `workers` or `engine`
says so: shards are taken one after the other in this process. `progress` is called with a
`RunProgress` as the run goes on, and `on_note` with each `Note` as it comes up; a result holds all
notes.

All raise RecipeError for what cannot be asked for, DataError for what is wrong with the data.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from delaytool.batches.column_options import ColumnOptions
from delaytool.errors import RecipeError
from delaytool.jobs.notes import Notes
from delaytool.jobs.paths import Items, as_found, items_of, items_to_check, plain_path
from delaytool.run.engine import OnProgress
from delaytool.run.tasks import RunOptions

Path = str | os.PathLike[str]
Names = str | Sequence[str]
Layout = Literal["auto", "codebook", "frame", "flat-codebook", "flat-frame"]
Engine = Literal["local", "ray"]
Paths = tuple[Path, Path | None, Path | None, Path | None]
"""Of input, output, audio_input and quarantine."""


@dataclass(frozen=True)
class How:
    """How to run, and to report."""

    run: RunOptions
    notes: Notes
    frame_rate: float | None
    progress: OnProgress | None


def key_of_rows(key: str | None, no_key: bool) -> dict[str, Any]:
    """What names rows; raises RecipeError for what excludes one another."""
    if key is not None and no_key:
        raise RecipeError("`key` and `no_key` exclude one another; give one of them")
    return {"key": key, "by_order": no_key}


def check_audio_input(where: ColumnOptions, audio_input: Path | None) -> Path | None:
    """The path of the codes; raises RecipeError for one beside a grid, which has them."""
    if where.grid_column and audio_input is not None:
        raise RecipeError("`grid_column` and `audio_input` exclude one another")
    return audio_input


def plain_or_none(path: Path | None, run: RunOptions) -> str | None:
    """A path as the run takes it; None for none."""
    return None if path is None else plain_path(path, run.elsewhere)


def items_given(paths: Paths, how: How, overwrite: bool, dry_run: bool) -> Items:
    """Each shard and where it goes, once it is said how the shards were found.

    Raises RecipeError where there is no output, which only a dry run can do without.
    """
    if paths[1] is None and not dry_run:
        raise RecipeError("`output` is not given, which only `dry_run` can do without")
    source = plain_path(paths[0], how.run.elsewhere)
    target, codes, bad = (plain_or_none(path, how.run) for path in paths[1:])
    if target is None:
        items = items_to_check(source, codes)
    else:
        items = items_of(source, target, codes, bad)
        if overwrite and not dry_run:
            items = replace(items, items=as_found(items.items, target, bad))
    how.notes.add(*items.notes)
    return items
