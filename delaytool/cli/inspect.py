"""`delaytool inspect`"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from delaytool.cli.choices import demanded_recipe, usage, where_of
from delaytool.cli.declare import OUT, WHAT, Command, Steps, complete_paths, option, path_argument
from delaytool.cli.options import (
    align_option,
    audio_input_option,
    column_options,
    debug_option,
    factor_option,
    frame_rate_option,
    key_options,
    recipe_options,
)
from delaytool.cli.session import counted, say, say_names, say_order, session
from delaytool.errors import DataError
from delaytool.jobs.paths import plain_paths

if TYPE_CHECKING:
    from delaytool.grids.grid import Difference, Grid
    from delaytool.shards.find import Shard


_AROUND = 4
"""Timesteps to show in front of a difference, and a third of those behind it."""


@click.command(
    cls=Command,
    examples=[
        "delaytool inspect shifted/train-00000.parquet --steps 0:20",
        "delaytool inspect shifted/train-00000.parquet --id utt-17 --weights",
        "delaytool inspect shifted/train-00000.parquet --compare data/train-00000.parquet",
        "delaytool inspect data/train-00000.parquet --before --after --labels",
        "delaytool inspect shifted/train-00000.parquet --steps 0:40 --image grid.png",
    ],
)
@path_argument("shard")
@option(
    "--row",
    type=click.IntRange(0),
    metavar="N",
    heading=WHAT,
    help="Row to print, from 0.  [default: 0]",
)
@option("--id", "row_key", metavar="KEY", heading=WHAT, help="Row to print, by its key.")
@option(
    "--steps",
    type=Steps(),
    metavar="A:B",
    heading=WHAT,
    help="Timesteps A to B - 1.  [default: all, or as many as fit where the output is no terminal]",
)
@option(
    "--before",
    is_flag=True,
    heading=WHAT,
    help="Print the row as it was before the shift.  [default: as it is in SHARD]",
)
@option(
    "--after",
    is_flag=True,
    heading=WHAT,
    help="Print it after the shift, with --before below that; of an original shard, as apply "
    "would shift it.",
)
@option(
    "--compare",
    shell_complete=complete_paths,
    metavar="SOURCE",
    heading=WHAT,
    help="Mark the first cell that differs from this shard's row of the same key; exit status 1 "
    "if one does.",
)
@recipe_options(
    "Recipe of an original shard.  [default: as many streams as there are, and moshi for --after]",
)
@column_options
@audio_input_option("Shard that holds SHARD's codes, or SOURCE's where SHARD is shifted.")
@key_options
@align_option
@factor_option
@option("--weights", is_flag=True, heading=OUT, help="Print the loss weights too.")
@option(
    "--labels",
    is_flag=True,
    heading=OUT,
    help="Print kind and number of the frame, from 1, instead of ids; S for a filled cell.",
)
@option(
    "--tokenizer",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    heading=OUT,
    help="Print text tokens as words, by this SentencePiece model.",
)
@frame_rate_option(OUT, "Frames a second, for the time below the timesteps.")
@option(
    "--image",
    shell_complete=complete_paths,
    metavar="FILE",
    heading=OUT,
    help="Draw the row and its loss weights to a .png, .svg or .pdf file instead.",
)
@option("--json", "as_json", is_flag=True, heading=OUT, help="Print the row as JSON.")
@debug_option
def inspect(shard: str, **options: Any) -> None:
    """Print one row of a shifted or an original SHARD as a grid.

    Streams are rows and time runs to the right, in timesteps and seconds of the grid. Cells that
    the pattern filled are dim, and stand in [brackets]; with --labels they are S. A long row is
    shown by the pager (PAGER), as git does. The column options are for an original shard; a shifted
    one says itself where its tokens are. Where more than one layout fits an original, each is
    printed.
    """
    _check_inspect(options)
    with session(options["debug"]):
        from delaytool.grids.grid import first_difference
        from delaytool.grids.text import Style, render
        from delaytool.shards import stores

        shard = stores.plain(shard)
        plain_paths(options, "compare", "audio_input")
        for name, path in (
            ("SHARD", shard),
            ("--compare", options["compare"]),
            ("--audio-input", options["audio_input"]),
        ):
            if path is not None and stores.kind_of(path) != "file":
                raise click.UsageError(f"{name} {stores.shown(path)} is not a file")
        words = None
        if options["tokenizer"] is not None:
            from delaytool.grids.tokenizer import load_words

            with usage():
                words = load_words(options["tokenizer"])
        is_terminal = sys.stdout.isatty()
        import shutil

        terminal = shutil.get_terminal_size()
        style = Style(
            labels=options["labels"],
            weights=options["weights"],
            words=words,
            frame_rate=options["frame_rate"],
            width=terminal.columns,
            wrap=is_terminal,
            colour=is_terminal and not os.environ.get("NO_COLOR"),
        )
        texts: list[str] = []
        found = None
        for grids in _grids(shard, options):
            shown = grids
            if not texts:
                say_order(grids)
            if options["compare"] is not None:
                ours, theirs = _counterparts(grids[0], shard, options)
                shown, found = [ours], first_difference(ours, theirs)
            steps = max(grid.steps for grid in shown)
            shown = [_cut(grid, options["steps"], found, steps) for grid in shown]
            if options["image"] is not None:
                from delaytool.grids.picture import save_picture

                with usage():
                    path, rate = options["image"], options["frame_rate"]
                    save_picture(shown[-1], path, labels=options["labels"], frame_rate=rate)
                texts = [f"drawn to {path}"]
                break
            if options["as_json"]:
                texts.append(shown[0].to_json())
                continue
            if options["weights"] and all(grid.weights is None for grid in shown):
                if not any(grid.shifted for grid in shown):
                    raise click.UsageError(
                        "--weights: there are none before the shift; add --after"
                    )
                raise click.UsageError(f"--weights: {shard} has no columns of loss weights")
            marked = (found.number, found.timestep) if found else None
            texts.append(render(shown, style, marked))
        text = "\n\n".join(texts)
        if options["compare"] is not None and not options["as_json"]:
            text += f"\n\n{_told_difference(found, shown[0], options['compare'])}"
        _show(text, terminal.lines if is_terminal else None, style.colour)
    sys.exit(1 if found else 0)


def _check_inspect(options: dict[str, Any]) -> None:
    """Raise UsageError for options of inspect that do not go together."""
    excluding = [
        ("row", "row_key", "--row and --id"),
        ("row_key", "no_key", "--id and --no-key"),
        ("compare", "before", "--compare and --before"),
        ("compare", "after", "--compare and --after"),
        ("labels", "tokenizer", "--labels and --tokenizer"),
        ("labels", "compare", "--labels and --compare"),
        ("image", "as_json", "--image and --json"),
        ("image", "compare", "--image and --compare"),
        ("image", "tokenizer", "--image and --tokenizer"),
    ]
    for one, other, names in excluding:
        # Row 0 is given too.
        if not any(options[name] is None or options[name] is False for name in (one, other)):
            raise click.UsageError(f"{names} exclude one another; give one of them")
    for name, printed in (("as_json", "--json prints"), ("image", "--image draws")):
        if options[name] and options["before"] and options["after"]:
            raise click.UsageError(f"{printed} one grid; give --before or --after")
    if options["weight_column"] and not options["after"]:
        raise click.UsageError("--weight-column goes with --after: before the shift are no weights")


def _grids(shard: str, options: dict[str, Any]) -> Iterator[list[Grid]]:
    """The grids of the row, before or after the shift or both; for each layout that fits."""
    import dataclasses

    from delaytool.errors import AmbiguousError
    from delaytool.grids.read import read_grid

    where, recipe = where_of(options), demanded_recipe(options)
    sides = [side == "after" for side in ("before", "after") if options[side]]
    codes = _codes(shard, options)

    def read(layout: str) -> list[Grid]:
        return [
            read_grid(
                _shard(shard),
                dataclasses.replace(where, audio_layout=layout),
                codes=codes,
                row=options["row"] or 0,
                key=options["row_key"],
                recipe=recipe,
                shifted=is_shifted,
            )
            for is_shifted in sides or (None,)
        ]

    with usage():
        try:
            yield read(where.audio_layout)
        except AmbiguousError as error:
            if options["as_json"] or options["compare"] is not None or options["image"] is not None:
                raise
            readings, misfits = _each_layout(read)
            if not readings:
                # The last layout that the type allows tells best what is wrong with the row.
                raise (misfits or [error])[-1] from None
            say(f"Note: {error.at(shard=None).found}; each is shown below")
            for layout, grids in readings.items():
                head = f"read with --audio-layout {layout}:"
                yield [dataclasses.replace(grid, about=[head, *grid.about]) for grid in grids]


def _each_layout(
    read: Callable[[str], list[Grid]],
) -> tuple[dict[str, list[Grid]], list[DataError]]:
    """The grids by each layout that fits; and what is wrong with the row by the others.

    Layouts that the column's type rules out say nothing of the row.
    """
    from delaytool.batches.layouts import LAYOUTS

    readings: dict[str, list[Grid]] = {}
    misfits: list[DataError] = []
    for layout in LAYOUTS[1:]:
        try:
            readings[layout] = read(layout)
        except DataError as misfit:
            if misfit.kind != "column-type":
                misfits.append(misfit)
    return readings, misfits


def _shard(path: str) -> Shard:
    """One shard by itself."""
    from delaytool.shards import stores
    from delaytool.shards.find import Shard

    return Shard(stores.base_name(path), path)


def _codes(shard: str, options: dict[str, Any]) -> Shard | None:
    """The shard of SHARD's codes; where SHARD is shifted and compared, they are SOURCE's."""
    from delaytool.shards.read import open_shard

    if options["audio_input"] is None:
        return None
    if options["compare"] is not None:
        with open_shard(_shard(shard)) as opened:
            if opened.entry is not None:
                return None
    codes = _shard(options["audio_input"])
    say_names(_shard(shard), codes)
    return codes


def _counterparts(grid: Grid, shard: str, options: dict[str, Any]) -> tuple[Grid, Grid]:
    """The grid and that of the other shard, both before the shift unless both are shifted."""
    from delaytool.grids.read import read_counterpart, read_grid

    where, other = where_of(options), _shard(options["compare"])
    codes = None
    if options["audio_input"] is not None and grid.record is not None:
        codes = _shard(options["audio_input"])
        say_names(other, codes)
    with usage():
        theirs = read_counterpart(other, where, grid, codes)
        say_order([theirs])
        if grid.shifted and not theirs.shifted:
            grid = read_grid(_shard(shard), where, row=grid.row, shifted=False)
        elif theirs.shifted and not grid.shifted:
            theirs = read_grid(other, where, row=theirs.row, shifted=False)
    return grid, theirs


def _cut(grid: Grid, steps: Any, found: Difference | None, longest: int) -> Grid:
    """The timesteps that are asked for, or those around a difference.

    longest: timesteps of the longest grid beside it
    """
    if steps is None and found is not None:
        start = max(found.timestep - _AROUND, 0)
        return grid.cut(min(start, grid.steps - 1), found.timestep + 3 * _AROUND)
    first, last = steps or (0, None)
    if first and first >= longest:
        raise click.UsageError(f"--steps begins at {first}, but there are {longest} timesteps")
    return grid.cut(first, grid.steps if last is None else last)


def _told_difference(found: Difference | None, grid: Grid, other: str) -> str:
    from delaytool.shards import stores

    if found is None:
        return f"the same as in {stores.shown(other)}"
    return (
        f"differs from {stores.shown(other)} in {counted(found.count, 'cell')}, "
        f"first in stream {grid.streams[found.number]}, timestep {found.timestep}: "
        f"{found.found}, there {found.expected}"
    )


def _show(text: str, lines: int | None, colour: bool) -> None:
    """Print a text, through a pager where it is longer than the terminal."""
    if lines is None or text.count("\n") + 1 < lines:
        click.echo(text, color=colour)
        return
    os.environ.setdefault("LESS", "FRX")
    click.echo_via_pager(text + "\n", color=colour)
