"""The command line: options in, messages and an exit status out, nothing else.

What a command needs is imported when the command runs, so that help and usage errors are quick.
Results go to standard output, everything else to standard error.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import click

from delaytool import __version__
from delaytool.errors import DataError, Place, ReaderDiedError, RecipeError
from delaytool.options import (
    HELP_WIDTH,
    OUT,
    RUN,
    WHAT,
    Command,
    Group,
    Steps,
    align_option,
    audio_input_option,
    column_options,
    complete_paths,
    complete_presets,
    debug_option,
    factor_option,
    frame_rate_option,
    json_option,
    key_options,
    option,
    padding_options,
    path_argument,
    pattern_options,
    quiet_option,
    recipe_options,
    terminal_width,
    worker_options,
)

if TYPE_CHECKING:
    from delaytool.apply import Item
    from delaytool.engine import Event, Task
    from delaytool.grid import Difference, Grid
    from delaytool.job import Job, Where
    from delaytool.recipe import Recipe
    from delaytool.report import Report
    from delaytool.shards import Shard
    from delaytool.verify import Mismatch

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_AROUND = 4
"""Timesteps to show in front of a difference, and a third of those behind it."""
_is_program = False
"""Whether this process is the command, to fork and to take signals, and not a library's user."""
_stopped_by = 0
"""The signal that told it to stop."""


@click.group(
    cls=Group,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": HELP_WIDTH,
        "terminal_width": terminal_width(),
    },
)
@click.version_option(__version__, prog_name="delaytool")
def main() -> None:
    """Shift token streams by the delay pattern of Moshi-like models, weigh the loss, prove it.

    apply writes shifted shards, verify proves that they revert to the original ones, revert does
    it, inspect shows a row of them, stats tells what is in all.
    """


def program() -> None:
    """Be the command `delaytool`."""
    global _is_program
    _is_program = True
    main(prog_name="delaytool")


# apply


@main.command(
    cls=Command,
    short_help="Shift every shard of INPUT and add loss weights.",
    examples=[
        "delaytool apply data/ shifted/",
        "delaytool apply data/ shifted/ --preset moshi-pretrain --initial-step --workers 8",
        "delaytool apply text/ shifted/ --audio-input codes/ --key id --align pad",
        "delaytool apply a/ b/ --preset j-moshi --grid-column A --grid-column 'B[1:]'",
        "delaytool apply s3://bucket/data s3://bucket/shifted --engine ray",
    ],
)
@path_argument("input")
@path_argument("output")
@pattern_options
@column_options
@audio_input_option()
@key_options
@align_option
@factor_option
@option(
    "--output-layout",
    type=click.Choice(["split", "grid"]),
    heading=OUT,
    help="Text and codes in columns of their own, or in one column codes [K][S].  [default: as "
    "they came]",
)
@option("--no-weights", is_flag=True, heading=OUT, help="Leave the columns of loss weights out.")
@option(
    "--label-columns",
    is_flag=True,
    heading=OUT,
    help="Add columns of labels: the token where its weight is above 0, else -100.",
)
@worker_options
@option(
    "--overwrite",
    is_flag=True,
    heading=RUN,
    help="Replace outputs made otherwise or from another source.",
)
@option(
    "--quarantine",
    shell_complete=complete_paths,
    metavar="DIR",
    heading=RUN,
    help="Put bad rows there, with a column reason, and go on.  [default: stop at the first]",
)
@frame_rate_option()
@json_option
@quiet_option
@debug_option
def apply(input: str, output: str, **options: Any) -> None:
    """Shift every shard of INPUT, add loss weights, and write them to OUTPUT.

    INPUT is a Parquet file, a folder (searched for *.parquet, linked folders too), a quoted glob,
    or a URI such as s3://bucket/data. OUTPUT is a folder or a URI, in which every shard keeps its
    relative path; a single file may go to a path that ends in .parquet. Running the same command
    again goes on where it stopped.
    """
    _check_engine(options)
    with _errors(options["debug"]):
        from delaytool import stores

        input, output = _plain_path(input, options), _plain_path(output, options)
        _plain_paths(options, "audio_input", "quarantine")
        recipe, origin = _choose_recipe(options)
        from delaytool.apply import abandon_shard, apply_shard, as_found, plan
        from delaytool.engine import Task
        from delaytool.report import Report

        where = _where(options)
        audio_input, quarantine = options["audio_input"], options["quarantine"]
        items, notes, left_out = _items(input, output, audio_input, quarantine)
        _say_notes(notes, options)
        if options["overwrite"]:
            items = as_found(items, output, quarantine)
        with _usage():
            planned = plan(items, recipe, where, options["overwrite"])
        _say(_describe(recipe, origin))
        for line in planned.columns:
            _say(f"  column {line}")
        for note in planned.notes:
            _say(f"Note: {note}")
        tasks = [
            Task(
                item.shard.name,
                _size_of(item.shard),
                apply_shard,
                (item, planned.job, options["overwrite"]),
                abandon_shard,
                _local(item.shard.path, item.target),
            )
            for item in planned.items
        ]
        began = time.monotonic()
        report = Report(options["frame_rate"])
        results = _without_left_out(_run(tasks, "shifting", options, report), left_out)
    written = sum(result.written for result in results)
    counts, seconds = report.counts, round(time.monotonic() - began, 3)
    if options["as_json"]:
        summary = {
            "shards": len(results),
            "written": written,
            "unchanged": len(results) - written,
            "rows": counts.rows_out,
            "frames": counts.frames,
            "tokens": counts.tokens,
            "quarantined": counts.quarantined,
            "seconds": seconds,
            "lost": counts.lost,
            "padded": counts.padded,
            "trimmed": counts.trimmed,
        }
        _print_json(summary | report.to_dict())
        return
    unchanged = len(results) - written
    click.echo(f"{stores.shown(output)}: shifted in {seconds:.1f} s")
    click.echo(report.table(f" ({written:,} written, {unchanged:,} unchanged)"))
    for what, number in (
        ("truncation cut off", counts.lost),
        ("alignment added", counts.padded),
        ("alignment cut off", counts.trimmed),
    ):
        if number:
            click.echo(f"{what} {_count(number, 'token')}")
    if counts.quarantined:
        click.echo(
            f"{stores.shown(options['quarantine'])}: {_count(counts.quarantined, 'bad row')}"
        )


def _where(options: dict[str, Any]) -> Where:
    """Where the options say that the tokens are."""
    from delaytool.job import Where

    if options["grid_column"] and options["audio_column"]:
        raise click.UsageError(
            "--grid-column and --audio-column exclude one another: a grid has the codes in it"
        )
    if options["grid_column"] and options.get("audio_input"):
        raise click.UsageError("--grid-column and --audio-input exclude one another")
    return Where(
        text=options["text_column"],
        audio=options["audio_column"] or ("audio_codes",),
        grid=options["grid_column"],
        layout=options["audio_layout"],
        result=options.get("output_layout"),
        weights=not options.get("no_weights"),
        labels=bool(options.get("label_columns")),
        align=options.get("align") or "error",
        factors=options.get("weight_column"),
        key=options["key"],
        by_order=options["no_key"],
    )


@contextlib.contextmanager
def _usage() -> Iterator[None]:
    """Turn what cannot be asked for into a usage error."""
    try:
        yield
    except RecipeError as error:
        raise click.UsageError(str(error)) from None


def _choose_recipe(options: dict[str, Any]) -> tuple[Recipe, str]:
    """The recipe that the options arrive at, and what it came from."""
    from delaytool.presets import (
        DEFAULT,
        from_model_config,
        load_preset,
        notes_on_model_config,
        plain_recipe,
    )
    from delaytool.recipe import Recipe, adapt

    bases = {
        "--preset": options["preset"],
        "--model-config": options["model_config"],
        "--recipe": options["recipe_file"],
    }
    given = [name for name, value in bases.items() if value is not None]
    if len(given) > 1:
        raise click.UsageError(f"{given[0]} and {given[1]} exclude one another; give one of them")
    names = [
        "n_q",
        "delays",
        "acoustic_delay",
        "length",
        "initial_step",
        "final_step",
        "text_card",
        "card",
        "text_initial",
        "text_padding",
        "text_end_padding",
        "audio_initial",
        "audio_padding",
        "text_padding_weight",
        "semantic_weight",
        "acoustic_weight",
        "final_weight",
        "dep_q",
    ]
    changes = {name: options[name] for name in names}
    text = not options["no_text"]
    try:
        if options["preset"] is not None:
            base, origin = load_preset(options["preset"]), f"preset {options['preset']}"
        elif options["model_config"] is not None:
            origin = options["model_config"]
            config = _read_json(origin)
            base = from_model_config(config)
            for note in notes_on_model_config(config):
                _say(f"Note: {note}")
        elif options["recipe_file"] is not None:
            origin = options["recipe_file"]
            base = Recipe.from_dict(_read_json(origin))
        elif changes["n_q"] is not None and changes["delays"] is not None:
            n_q, delays = changes.pop("n_q"), changes.pop("delays")
            if len(delays) == 1:
                delays = (*[0] * text, *delays * n_q)
            if n_q > 8 and changes["dep_q"] is None:
                raise RecipeError(
                    f"n_q is {n_q}: with more than 8 audio streams, say how many carry loss "
                    "with --dep-q; two speakers want --preset moshi"
                )
            base, origin = plain_recipe(n_q, delays, text), "plain streams"
        else:
            base, origin = load_preset(DEFAULT), f"preset {DEFAULT}"
        return adapt(base, text=text, **changes), origin
    except RecipeError as error:
        where = f"{given[0]}: " if given and given[0] != "--preset" else ""
        raise click.UsageError(f"{where}{error}") from None


def _read_json(path: str) -> Any:
    import json

    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"{path} is not JSON: {error}") from None


def _describe(recipe: Recipe, origin: str) -> str:
    """A recipe for the eye: one line for each run of like streams."""
    from delaytool.recipe import runs_of_like_streams

    steps = [
        name for name in ("initial step", "final step") if getattr(recipe, name.replace(" ", "_"))
    ]
    text = "text and " if recipe.has_text else ""
    head = f"recipe ({origin}): {text}{recipe.n_q} audio streams, dep_q {recipe.dep_q}, "
    lines = [head + ", ".join([recipe.length, *steps])]
    table: list[tuple[str, ...]] = [
        ("stream", "delay", "initial", "final", "padding", "card", "loss weight")
    ]
    for names, stream, trained in runs_of_like_streams(recipe):
        weight = f"{stream.weight:g}" if trained else "0 (beyond dep_q)"
        if trained and stream.token_weights:
            factors = ", ".join(f"{t}: x{x:g}" for t, x in stream.token_weights.items())
            weight += f" ({factors})"
        if trained and (stream.final_weight or stream.padding_weight):
            weight += f", behind {stream.final_weight:g} then {stream.padding_weight:g}"
        cells = (stream.delay, *stream.fills, stream.cardinality)
        table.append((names, *(str(cell) for cell in cells), weight))
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    for line in table:
        first = line[0].ljust(widths[0])
        rest = [cell.rjust(w) for cell, w in zip(line[1:-1], widths[1:-1], strict=True)]
        lines.append("  ".join(["", first, *rest, line[-1]]).rstrip())
    return "\n".join(lines)


def _find(path: str, what: str, outside: Sequence[str] = ()) -> tuple[list[Shard], list[str]]:
    """The shards of a path, and what there is to say of how they were found."""
    from delaytool import stores
    from delaytool.shards import find_shards

    try:
        found = find_shards(path, outside=outside)
        return found.shards, [f"{what}: {note}" for note in found.notes]
    except FileNotFoundError:
        raise click.UsageError(f"{what} {stores.shown(path)} does not exist") from None


def _items(
    input: str,
    output: str,
    audio_input: str | None = None,
    quarantine: str | None = None,
    names: tuple[str, str] = ("INPUT", "OUTPUT"),
) -> tuple[list[Item], list[str], int]:
    """Each shard of the input, that of its codes, and the files it goes to; and notes.

    names:   what the command calls the two
    returns: how many shards of quarantined rows have been left out, too
    """
    from delaytool import stores, tables
    from delaytool.apply import Item

    kind = stores.kind_of(output)
    one_file = stores.base_name(output).endswith(".parquet") and kind != "folder"
    if one_file and stores.kind_of(input) != "file":
        raise click.UsageError(
            f"{names[1]} {stores.shown(output)} is one file, so {names[0]} must be one too, "
            f"not {stores.shown(input)}"
        )
    if kind not in (None, "folder") and not one_file:
        raise click.UsageError(
            f"{names[1]} {stores.shown(output)} is a file, expected a folder or a name in .parquet"
        )
    folders = {names[0]: input, "--audio-input": audio_input, names[1]: output}
    for name in (names[0], "--audio-input"):
        path = folders[name]
        if path is not None and stores.same(path, output):
            raise click.UsageError(f"{name} and {names[1]} are the same: {stores.shown(path)}")
    if quarantine is not None:
        _check_quarantine(quarantine, folders)
    for folder in (output, *([] if quarantine is None else [quarantine])):
        tables.check_output(folder)
    found, notes = _find(input, names[0], [output])
    shards = _without_quarantine(found, quarantine)
    left_out = len(found) - len(shards)
    codes: dict[str, Shard] = {}
    if audio_input is not None:
        others, more = _find(audio_input, "--audio-input", [output])
        shards, codes, strays = _paired(shards, _without_quarantine(others, quarantine))
        notes, left_out = notes + more, left_out + strays
    items = []
    for shard in shards:
        target = output if one_file else stores.join(output, shard.name)
        aside = None if quarantine is None else stores.join(quarantine, shard.name)
        items.append(Item(shard, codes.get(shard.name), target, aside))
    for item in items:
        for source in (item.shard, item.codes):
            if source and stores.same(source.path, item.target):
                raise click.UsageError(
                    f"{names[0]} and {names[1]} are the same file: {stores.shown(item.target)}"
                )
    _check_places(items, os.path.dirname(output) if one_file else output, quarantine)
    return items, notes, left_out


def _check_places(items: Sequence[Item], output: str, quarantine: str | None) -> None:
    """Raise DataError where links in OUTPUT lead elsewhere, or two files would be one."""
    import functools

    from delaytool import stores

    real_folder = functools.cache(os.path.realpath)

    def place_of(path: str) -> str:
        """Where a file is written: a link in its place is replaced, not followed."""
        if stores.is_remote(path):
            return stores.resolved(path)
        return os.path.join(real_folder(os.path.dirname(path)), os.path.basename(path))

    sources = [source.path for item in items for source in (item.shard, item.codes) if source]
    read = {*map(place_of, sources), *(os.path.realpath(p) for p in sources if os.path.islink(p))}
    taken: dict[str, str] = {}
    for item in items:
        for path, root in ((item.target, output), (item.aside, quarantine)):
            if path is None or root is None:
                continue
            place = place_of(path)
            if not stores.is_remote(path):
                top = real_folder(root)
                if os.path.commonpath([os.path.dirname(place), top]) != top:
                    raise DataError(
                        "outside-output",
                        f"a link leads its output {path} out of {root}",
                        expected="a folder within it",
                        advice="remove the link, or choose another output",
                        place=Place(shard=item.shard.name),
                    )
            if place in taken or place in read:
                other = taken.get(place)
                what = f"that of {other}" if other else "a shard that is read"
                raise DataError(
                    "output-twice",
                    f"its output is {what} too: {stores.shown(place)}",
                    expected="an output for each shard",
                    advice="remove the link, or choose another output",
                    place=Place(shard=item.shard.name),
                )
            taken[place] = item.shard.name


def _check_quarantine(quarantine: str, folders: dict[str, str | None]) -> None:
    """Its shards have the names of the output's, and are not to be taken for them."""
    from delaytool import stores

    if stores.kind_of(quarantine) not in (None, "folder"):
        raise click.UsageError(f"--quarantine {quarantine} is a file, expected a folder")
    name_of = stores.shown(quarantine)
    for name, path in folders.items():
        if path is None:
            continue
        if stores.same(path, quarantine):
            raise click.UsageError(f"{name} and --quarantine are the same: {name_of}")
        if name == "OUTPUT" and stores.is_within(path, quarantine):
            raise click.UsageError(
                f"OUTPUT {stores.shown(path)} lies within --quarantine {name_of}"
            )


def _without_quarantine(shards: list[Shard], quarantine: str | None) -> list[Shard]:
    """The shards without those that are where the others' bad rows go."""
    from delaytool.quarantine import without_quarantine_in

    return shards if quarantine is None else without_quarantine_in(quarantine, shards)


def _without_left_out(results: list[Any], left_out: int = 0) -> list[Any]:
    """The results without those of shards of quarantined rows, whose number is told.

    left_out: how many had no task
    Raises DataError when all that had one are such.
    """
    kept = [result for result in results if not result.left_out]
    left_out += len(results) - len(kept)
    if left_out:
        were = "was" if left_out == 1 else "were"
        _say(f"Note: {_count(left_out, 'shard')} of quarantined rows {were} left out")
    if results and not kept:
        raise DataError(
            "no-shards",
            "there are only shards of quarantined rows",
            expected="at least one other",
            advice="name the folder of the outputs",
        )
    return kept


def _paired(shards: list[Shard], codes: list[Shard]) -> tuple[list[Shard], dict[str, Shard], int]:
    """The shards of text, and the shard of codes of each by the former's name.

    returns: how many shards of quarantined rows without a counterpart have been left out, too
    """
    from delaytool.quarantine import without_quarantine

    if len(shards) == len(codes) == 1:
        return shards, _partners(shards, codes), 0
    # One of each may be a pair of different names; more are an error.
    texts = without_quarantine(shards, codes, enough=2) or shards
    others = without_quarantine(codes, shards, enough=2)
    partners = _partners(texts, others)
    return texts, partners, len(shards) - len(texts) + len(codes) - len(others)


def _partners(shards: list[Shard], codes: list[Shard]) -> dict[str, Shard]:
    """The shard of codes of each shard of text, by the latter's name."""
    if len(shards) == 1 and len(codes) == 1:
        _say_names(shards[0], codes[0])
        return {shards[0].name: codes[0]}
    by_name = {shard.name: shard for shard in codes}
    names = {shard.name for shard in shards}
    for name in [*sorted(names - set(by_name)), *sorted(set(by_name) - names)]:
        missing = "codes" if name in names else "text"
        raise DataError(
            "unpaired-shard",
            f"there is no shard of {missing} of this name",
            expected="one of text and one of codes for each relative path",
            advice="bring both folders to the same file names",
            place=Place(shard=name),
        )
    return by_name


def _say_names(text: Shard, codes: Shard) -> None:
    """Say that the only two shards belong together whatever they are called."""
    if text.name != codes.name:
        _say(f"Note: {text.name} is paired with {codes.name}, of another name: there is no other")


def _say_order(results: Sequence[Any]) -> None:
    """Say where nothing but their order has paired the rows of text and codes."""
    if any(result.by_order for result in results):
        from delaytool.shards import ORDER_ALONE

        _say(f"Note: {ORDER_ALONE}")


# verify


@main.command(
    cls=Command,
    examples=[
        "delaytool verify shifted/ --source data/",
        "delaytool verify shifted/ --preset moshi",
        "delaytool verify shifted/ --json",
    ],
)
@path_argument("output")
@option(
    "--source",
    shell_complete=complete_paths,
    metavar="INPUT",
    heading=WHAT,
    help="Compare with these original shards.  [default: the digests in each shard's footer]",
)
@audio_input_option()
@recipe_options(
    "Demand that the shards were made with this recipe.",
    "Demand that they were made with this recipe, as JSON.",
)
@option(
    "--quarantine",
    shell_complete=complete_paths,
    metavar="DIR",
    heading=WHAT,
    help="Check the shards of quarantined rows there too.",
)
@worker_options
@frame_rate_option()
@json_option
@quiet_option
@debug_option
def verify(output: str, **options: Any) -> None:
    """Revert every shard of OUTPUT and compare.

    Every filled cell, loss weight, length and count is checked against the recipe, and what the
    shards revert to against the original ones: with --source value by value, without it by the
    digests in each shard's footer. Recipe and output columns must be the same in all shards. Exit
    status 1 if anything differs.
    """
    _check_engine(options)
    with _errors(options["debug"]):
        from delaytool import stores

        output = _plain_path(output, options)
        _plain_paths(options, "source", "audio_input", "quarantine")
        from delaytool.report import Report
        from delaytool.verify import compare_with_first

        tasks, pairs, verdicts, left_out = _verify_tasks(output, options)
        report = Report(options["frame_rate"])
        everything = _run(tasks, "verifying", options, report)
        mixed = compare_with_first([shard for shard, _, _ in pairs], everything)
        results = _without_left_out(everything, left_out)
        _say_order(results)
    mismatches: list[Mismatch] = [*verdicts, *mixed.mismatches]
    for result in results:
        mismatches += result.mismatches
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for mismatch in mismatches:
            _annotate(mismatch, output)
    count = len(verdicts) + mixed.count + sum(result.count for result in results)
    rows, tokens = sum(r.rows for r in results), sum(r.tokens for r in results)
    if options["as_json"]:
        summary = {
            "verified": not count,
            "shards": len(results),
            "rows": rows,
            "tokens": tokens,
            "mismatches": [mismatch.to_dict() for mismatch in mismatches],
        }
        _print_json(summary | report.to_dict())
    else:
        source = options["source"] and stores.shown(options["source"])
        what = f"{_count(len(results), 'shard')}, {_count(rows, 'row')}, {_count(tokens, 'token')}"
        _print_mismatches(mismatches, count, mixed.count)
        _print_verdict(stores.shown(output), source, results, count, what)
        if report.shards:
            click.echo(report.table())
    sys.exit(1 if count else 0)


def _verify_tasks(
    output: str, options: dict[str, Any]
) -> tuple[list[Task], list[Any], list[Any], int]:
    """The tasks and their shards, what is missing or too many, and how many shards are left out."""
    from delaytool.engine import Task
    from delaytool.verify import verify_shard

    recipe = _demanded_recipe(options)
    sources = options["source"], options["audio_input"]
    found, notes = _find(output, "OUTPUT")
    shards = _without_quarantine(found, options["quarantine"])
    pairs, verdicts, more, left_out = _sources(shards, output, *sources)
    _say_notes(notes + more, options)
    bad: dict[str, str] = {}
    if options["quarantine"] is not None:
        bad, strays = _quarantines(shards, output, options["quarantine"], *sources)
        verdicts += strays
    tasks = [
        Task(
            shard.name,
            _size_of(shard),
            verify_shard,
            (shard, source, codes, recipe, bad.get(shard.name)),
            paths=_local(shard.path),
        )
        for shard, source, codes in pairs
    ]
    return tasks, pairs, verdicts, left_out


def _annotate(mismatch: Mismatch, output: str) -> None:
    """Have GitHub show a mismatch at the shard that it is in, in its list of changed files."""
    from delaytool import stores

    one = stores.kind_of(output) == "file"
    file = output if one else stores.join(output, mismatch.place.shard or "")
    message = str(mismatch).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    file = stores.shown(file).replace("%", "%25").replace(":", "%3A").replace(",", "%2C")
    _say(f"::error file={file},title=delaytool verify::{message}")


def _print_mismatches(mismatches: list[Mismatch], count: int, mixed: int) -> None:
    """Print what differs, and what to do.

    count: mismatches, also those that are not kept; mixed: those of shards with one another
    """
    for mismatch in mismatches:
        _say(f"Error: {mismatch}")
    if count > len(mismatches):
        _say(f"... and {_count(count - len(mismatches), 'mismatch')} more")
    if mixed:
        _say("  Verify shards that were made in different ways by subfolder.")
    if count > mixed:
        _say("  delaytool apply --overwrite makes them anew from the original shards")


def _print_verdict(
    output: str, source: str | None, results: list[Any], count: int, what: str
) -> None:
    if count:
        click.echo(f"{output}: NOT verified: {_count(count, 'mismatch')} in {what}")
        return
    against = f"the shards of {source}" if source else "the digests in the footers"
    click.echo(f"{output}: verified: {what} revert to what {against} say")
    lost = sum(result.lost for result in results)
    if lost:
        click.echo(f"compared where tokens remain: truncation cut off {_count(lost, 'token')}")


def _demanded_recipe(options: dict[str, Any]) -> Recipe | None:
    if options["preset"] is None and options["recipe_file"] is None:
        return None
    if options["preset"] is not None and options["recipe_file"] is not None:
        raise click.UsageError("--preset and --recipe exclude one another; give one of them")
    from delaytool.presets import load_preset
    from delaytool.recipe import Recipe

    try:
        if options["preset"] is not None:
            return load_preset(options["preset"])
        return Recipe.from_dict(_read_json(options["recipe_file"]))
    except RecipeError as error:
        raise click.UsageError(str(error)) from None


def _sources(
    shards: list[Shard], output: str, source: str | None, audio_input: str | None
) -> tuple[list[tuple[Shard, Shard | None, Shard | None]], list[Any], list[str], int]:
    """Each shard of the output with its originals, what is missing or too many, and notes.

    returns: how many shards of quarantined rows among the originals have been left out, too
    """
    from delaytool import stores
    from delaytool.quarantine import first_of_data, without_quarantine
    from delaytool.verify import Mismatch

    if source is None:
        if audio_input is not None:
            raise click.UsageError("--audio-input goes with --source")
        return [(shard, None, None) for shard in shards], [], [], 0
    if stores.same(source, output):
        raise click.UsageError(f"OUTPUT and --source are the same: {stores.shown(output)}")
    originals, notes = _find(source, "--source", [output])
    left_out = 0
    codes: dict[str, Shard] = {}
    if audio_input is not None:
        others, more = _find(audio_input, "--audio-input", [output])
        notes += more
        originals, codes, left_out = _paired(originals, others)
    one_file = stores.kind_of(output) == "file"
    # A shard that has a counterpart is compared with it, whatever it holds.
    found = len(originals) + len(shards)
    outputs = shards if one_file else without_quarantine(shards, originals)
    if first_of_data(originals) is not None:
        originals = without_quarantine(originals, [] if one_file else shards)
    shards = outputs
    left_out += found - len(originals) - len(shards)
    if one_file and len(originals) == 1:
        only = originals[0]
        return [(shards[0], only, codes.get(only.name))], [], notes, left_out
    by_name = {shard.name: shard for shard in originals}
    ours = {shard.name for shard in shards}
    verdicts = [
        Mismatch(Place(shard=name), "shard", "a shard made from this source", "none")
        for name in by_name
        if name not in ours
    ]
    verdicts += [
        Mismatch(Place(shard=name), "shard", "a source of this name", "none")
        for name in sorted(ours)
        if name not in by_name
    ]
    pairs: list[tuple[Shard, Shard | None, Shard | None]] = [
        (shard, by_name[shard.name], codes.get(shard.name))
        for shard in shards
        if shard.name in by_name
    ]
    return pairs, verdicts, notes, left_out


def _quarantines(
    shards: list[Shard], output: str, quarantine: str, source: str | None, audio_input: str | None
) -> tuple[dict[str, str], list[Any]]:
    """Where the quarantined rows of each shard of the output are, and what is too much there."""
    from delaytool import stores
    from delaytool.quarantine import counterpart, strays_among
    from delaytool.verify import Mismatch

    folders = {"OUTPUT": output, "--source": source, "--audio-input": audio_input}
    _check_quarantine(quarantine, folders)
    found: list[Shard] = []
    if stores.kind_of(quarantine) is not None:
        with contextlib.suppress(DataError):
            found, _ = _find(quarantine, "--quarantine")
    if stores.kind_of(output) == "file":
        # Its quarantined rows have the name of its source, which may be another one.
        there = counterpart(shards[0], found)
        path = there.path if there else stores.join(quarantine, shards[0].name)
        return {shards[0].name: path}, []
    places = {shard.name: stores.join(quarantine, shard.name) for shard in shards}
    strays = strays_among(shard for shard in found if shard.name not in places)
    verdicts = [
        Mismatch(Place(shard=shard.name), "quarantine", "an output of this name", "none")
        for shard in strays
    ]
    return places, verdicts


# revert


@main.command(
    cls=Command,
    examples=[
        "delaytool revert shifted/ restored/",
        "delaytool revert shifted/ text/ --audio-output codes/",
        "delaytool revert generated.parquet codes.parquet --preset musicgen --grid-column codes",
    ],
)
@path_argument("output")
@path_argument("restored")
@recipe_options(
    "Recipe of grids without an entry, such as a model generated.",
)
@option(
    "--allow-lossy",
    is_flag=True,
    heading=WHAT,
    help="Write what is left of shards that lost tokens; what is missing is null.",
)
@column_options
@key_options
@option(
    "--audio-output",
    shell_complete=complete_paths,
    metavar="DIR",
    heading=OUT,
    help="Codes that came in shards of their own go here.",
)
@worker_options
@option("--overwrite", is_flag=True, heading=RUN, help="Replace files that are there.")
@json_option
@quiet_option
@debug_option
def revert(output: str, restored: str, **options: Any) -> None:
    """Write the shards back that apply read, to RESTORED.

    The columns, types, layout, rows and metadata are the original ones, and are checked against the
    digests in each shard's footer. What truncation or alignment cut off cannot come back: then
    nothing is written, unless --allow-lossy says so. The column options are for grids without an
    entry.
    """
    _check_engine(options)
    with _errors(options["debug"]):
        from delaytool import stores, tables

        output, restored = _plain_path(output, options), _plain_path(restored, options)
        _plain_paths(options, "audio_output")
        from delaytool.revert import look_at

        recipe = _demanded_recipe(options)
        items, notes, _ = _items(output, restored, names=("OUTPUT", "RESTORED"))
        _say_notes(notes, options)
        job = None
        if recipe is not None:
            job = _generated_job(items, recipe, options)
        look_at([item.shard for item in items], job, options["allow_lossy"])
        if options["audio_output"] is not None:
            tables.check_output(options["audio_output"])
        tasks = _revert_tasks(items, restored, job, options)
        began = time.monotonic()
        results = _without_left_out(_run(tasks, "reverting", options))
    rows = sum(result.rows for result in results)
    counts = sum((result.counts for result in results[1:]), results[0].counts)
    seconds = round(time.monotonic() - began, 3)
    written = sum(result.written for result in results)
    unchanged = len(results) - written
    if options["as_json"]:
        summary = {"shards": len(results), "written": written, "unchanged": unchanged}
        summary |= {"rows": rows, "seconds": seconds}
        summary |= {"missing": counts.lost + counts.trimmed, "quarantined": counts.quarantined}
        _print_json(summary)
        return
    click.echo(
        f"{stores.shown(restored)}: {_count(len(results), 'shard')} "
        f"({written:,} written, {unchanged:,} unchanged), {_count(rows, 'row')} "
        f"as they were in {seconds:.1f} s"
    )
    if counts.lost + counts.trimmed:
        click.echo(f"but {_count(counts.lost + counts.trimmed, 'token')} that had been cut off")
    if counts.quarantined:
        click.echo(f"but {_count(counts.quarantined, 'row')} that had been put into quarantine")


def _revert_tasks(
    items: Sequence[Item], restored: str, job: Job | None, options: dict[str, Any]
) -> list[Task]:
    from delaytool.engine import Task
    from delaytool.revert import abandon_revert, revert_shard
    from delaytool.shards import file_states

    audio = options["audio_output"]
    codes = [None if audio is None else _beside(item, restored, audio) for item in items]
    old: list[Any] = [None] * len(items)
    if options["overwrite"]:
        states = file_states((item.target for item in items), restored)
        old = list(zip(states, file_states(codes, audio), strict=True))
    how = job, options["allow_lossy"], options["overwrite"]
    return [
        Task(
            item.shard.name,
            _size_of(item.shard),
            revert_shard,
            (item.shard, item.target, codes_target, *how, began_with),
            abandon_revert,
            _local(item.shard.path, item.target),
        )
        for item, codes_target, began_with in zip(items, codes, old, strict=True)
    ]


def _beside(item: Item, restored: str, audio: str) -> str:
    """Where the codes of a reverted shard go."""
    from delaytool import stores

    if item.target == restored:
        return audio
    return stores.join(audio, item.shard.name)


def _generated_job(items: list[Item], recipe: Recipe, options: dict[str, Any]) -> Job:
    """The job of grids without an entry."""
    from delaytool.detect import find_columns
    from delaytool.job import Job, Output
    from delaytool.quarantine import first_of_data
    from delaytool.shards import key_in, open_shard, reading
    from delaytool.transform import check_there

    where = _where({**options, "no_weights": True})
    shard = first_of_data([item.shard for item in items]) or items[0].shard
    with _usage(), open_shard(shard) as first, reading(shard.name):
        columns = find_columns(where, first.schema, recipe, first.small_batches())
        outputs = tuple(Output(c.name, c.first, c.count, c.layout) for c in columns)
        key = key_in(first, where)
        if key is not None:
            check_there(first.schema, key, "--key")
        return Job(recipe, columns, outputs, key=key)


# inspect


@main.command(
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
    with _errors(options["debug"]):
        from delaytool import stores
        from delaytool.grid import first_difference
        from delaytool.render import Style, render

        shard = stores.plain(shard)
        _plain_paths(options, "compare", "audio_input")
        for name, path in (
            ("SHARD", shard),
            ("--compare", options["compare"]),
            ("--audio-input", options["audio_input"]),
        ):
            if path is not None and stores.kind_of(path) != "file":
                raise click.UsageError(f"{name} {stores.shown(path)} is not a file")
        words = None
        if options["tokenizer"] is not None:
            from delaytool.words import load_words

            with _usage():
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
                _say_order(grids)
            if options["compare"] is not None:
                ours, theirs = _counterparts(grids[0], shard, options)
                shown, found = [ours], first_difference(ours, theirs)
            steps = max(grid.steps for grid in shown)
            shown = [_cut(grid, options["steps"], found, steps) for grid in shown]
            if options["image"] is not None:
                from delaytool.picture import save_picture

                with _usage():
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
    from delaytool.grid import read_grid

    where, recipe = _where(options), _demanded_recipe(options)
    sides = [side == "after" for side in ("before", "after") if options[side]]
    codes = _codes(shard, options)

    def read(layout: str) -> list[Grid]:
        return [
            read_grid(
                _shard(shard),
                dataclasses.replace(where, layout=layout),
                codes=codes,
                row=options["row"] or 0,
                key=options["row_key"],
                recipe=recipe,
                shifted=is_shifted,
            )
            for is_shifted in sides or (None,)
        ]

    with _usage():
        try:
            yield read(where.layout)
        except AmbiguousError as error:
            if options["as_json"] or options["compare"] is not None or options["image"] is not None:
                raise
            readings, misfits = _each_layout(read)
            if not readings:
                # The last layout that the type allows tells best what is wrong with the row.
                raise (misfits or [error])[-1] from None
            _say(f"Note: {error.at(shard=None).found}; each is shown below")
            for layout, grids in readings.items():
                head = f"read with --audio-layout {layout}:"
                yield [dataclasses.replace(grid, about=[head, *grid.about]) for grid in grids]


def _each_layout(
    read: Callable[[str], list[Grid]],
) -> tuple[dict[str, list[Grid]], list[DataError]]:
    """The grids by each layout that fits; and what is wrong with the row by the others.

    Layouts that the column's type rules out say nothing of the row.
    """
    from delaytool.job import LAYOUTS

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
    from delaytool import stores
    from delaytool.shards import Shard

    return Shard(stores.base_name(path), path)


def _codes(shard: str, options: dict[str, Any]) -> Shard | None:
    """The shard of SHARD's codes; where SHARD is shifted and compared, they are SOURCE's."""
    from delaytool.shards import open_shard

    if options["audio_input"] is None:
        return None
    if options["compare"] is not None:
        with open_shard(_shard(shard)) as opened:
            if opened.entry is not None:
                return None
    codes = _shard(options["audio_input"])
    _say_names(_shard(shard), codes)
    return codes


def _counterparts(grid: Grid, shard: str, options: dict[str, Any]) -> tuple[Grid, Grid]:
    """The grid and that of the other shard, both before the shift unless both are shifted."""
    from delaytool.grid import read_counterpart, read_grid

    where, other = _where(options), _shard(options["compare"])
    codes = None
    if options["audio_input"] is not None and grid.record is not None:
        codes = _shard(options["audio_input"])
        _say_names(other, codes)
    with _usage():
        theirs = read_counterpart(other, where, grid, codes)
        _say_order([theirs])
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
    from delaytool import stores

    if found is None:
        return f"the same as in {stores.shown(other)}"
    return (
        f"differs from {stores.shown(other)} in {_count(found.count, 'cell')}, "
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


# stats


@main.command(
    cls=Command,
    examples=[
        "delaytool stats shifted/",
        "delaytool stats data/ --preset moshi --json",
        "delaytool stats 'data/*.parquet' --text-padding 3 --text-end-padding 0 --frame-rate 25",
    ],
)
@path_argument("input")
@recipe_options(
    "Recipe whose streams original shards hold.  [default: as many as there are, of any "
    "vocabulary, with Moshi's text padding]",
)
@padding_options
@column_options
@audio_input_option("Codes of original shards are in shards of their own, of the same paths.")
@key_options
@align_option
@worker_options
@frame_rate_option()
@json_option
@quiet_option
@debug_option
def stats(input: str, **options: Any) -> None:
    """Tell what is in the shards of INPUT: rows, hours, tokens, padding, weights.

    Shifted shards say it in their footers; original ones are read, and the column options are for
    them. INPUT is a Parquet file, a folder, a quoted glob, or a URI.
    """
    _check_engine(options)
    with _errors(options["debug"]):
        from delaytool import stores
        from delaytool.engine import Task
        from delaytool.report import Report
        from delaytool.stats import Reading, footer_of, plan_stats, stats_shard

        input = _plain_path(input, options)
        _plain_paths(options, "audio_input")
        paddings = options["text_padding"], options["text_end_padding"]
        how = Reading(_where(options), _demanded_recipe(options), *paddings)
        shards, notes = _find(input, "INPUT")
        _say_notes(notes, options)
        report = Report(options["frame_rate"])

        def task(job: Callable[..., Any], shard: Shard, *more: Any) -> Task:
            return Task(shard.name, _size_of(shard), job, (shard, *more), paths=_local(shard.path))

        # A thousand footers take less time than workers take to start.
        here = {} if stores.is_remote(input) else {"workers": 1, "engine": "local"}
        footers = [task(footer_of, shard) for shard in shards]
        looks = _run(footers, "footers", {**options, **here}, report)
        if not all(look.left_out for look in looks):
            looks = _without_left_out(looks)
        kept = {look.name: look.shifted for look in looks}
        originals = [shard for shard in shards if not kept.get(shard.name, True)]
        shifted = sum(kept.values())
        partners: dict[str, Shard] = {}
        if options["audio_input"] is not None:
            if not originals:
                raise click.UsageError("--audio-input is for original shards; there are none")
            codes, notes = _find(options["audio_input"], "--audio-input")
            _say_notes(notes, options)
            originals, partners, _ = _paired(originals, codes)
        if originals:
            pairs = [(shard, partners.get(shard.name)) for shard in originals]
            with _usage():
                planned = plan_stats(pairs, how)
            read = [task(stats_shard, *pair, how, planned) for pair in pairs]
            _say_order(_run(read, "reading", options, report))
    counts = report.counts
    if options["as_json"]:
        summary = {
            "shards": shifted + len(originals),
            "shifted": shifted,
            "original": len(originals),
            "rows": counts.rows_out,
            "frames": counts.frames,
            "tokens": counts.tokens,
            "quarantined": counts.quarantined,
        }
        _print_json(summary | report.to_dict())
        return
    click.echo(f"{stores.shown(input)}:")
    click.echo(report.table(f" ({shifted:,} shifted, {len(originals):,} original)"))


# presets


@main.command(
    cls=Command,
    examples=[
        "delaytool presets",
        "delaytool presets moshi > my-model.json    # then: apply --recipe my-model.json",
    ],
)
@click.argument("name", metavar="[NAME]", required=False, shell_complete=complete_presets)
def presets(name: str | None) -> None:
    """List the presets, or print one as JSON."""
    from delaytool.presets import preset_names, read_preset

    if name is None:
        for number, each in enumerate(preset_names()):
            preset = read_preset(each)
            click.echo(("" if number == 0 else "\n") + _describe(preset.recipe, each))
            click.echo(click.wrap_text(preset.description, 96, "  ", "  "))
            click.echo(click.wrap_text(f"Source: {preset.source}", 96, "  ", "  "))
        return
    try:
        click.echo(read_preset(name).recipe.to_json(), nl=False)
    except RecipeError as error:
        raise click.UsageError(str(error)) from None


# What all commands share


def _run(
    tasks: list[Task], what: str, options: dict[str, Any], report: Report | None = None
) -> list[Any]:
    """Run the tasks behind a progress bar; their results in the tasks' order.

    report: gets the results' summaries, which are too large to be kept of a million shards
    """
    from dataclasses import replace

    from tqdm import tqdm

    from delaytool.engine import Done, Failed

    results: dict[int, Any] = {}
    died: list[ReaderDiedError] = []
    told = [0.0] * len(tasks)
    total = sum(task.size for task in tasks)
    bar = tqdm(
        total=total,
        desc=what,
        unit="B",
        unit_scale=True,
        unit_divisor=1024,
        disable=options["quiet"],
        mininterval=0.1 if sys.stderr.isatty() else 1.0,
    )
    bar.set_postfix_str(f"shards 0/{len(tasks)}")
    with bar, contextlib.closing(_events(tasks, options)) as events:
        for event in events:
            _check_stopped()
            if isinstance(event, Failed):
                if not isinstance(event.error, ReaderDiedError):
                    raise event.error
                died.append(event.error)
                continue
            fraction = 1.0 if isinstance(event, Done) else event.fraction
            number = event.number
            if isinstance(event, Done):
                results[number] = event.result
                if report is not None:
                    report.add(event.result.summary)
                    results[number] = replace(event.result, summary=None)
                bar.set_postfix_str(f"shards {len(results)}/{len(tasks)}", refresh=False)
            bar.update(round((fraction - told[number]) * tasks[number].size))
            told[number] = fraction
    for error in died[1:]:
        _say(f"Error: {error}")
    if died:
        raise died[0]
    return [results[number] for number in range(len(tasks))]


def _events(tasks: list[Task], options: dict[str, Any]) -> Generator[Event, None, None]:
    """What happens to the tasks, here or on a cluster."""
    if options["engine"] == "ray":
        from delaytool import on_ray

        return on_ray.run(tasks, options["workers"], options["ray_address"])
    from delaytool import engine

    return engine.run(tasks, options["workers"] or os.cpu_count() or 1)


def _plain_path(path: str, options: dict[str, Any]) -> str:
    """A path as the stores take it; an absolute one where others have to find it too."""
    from delaytool import stores

    path = stores.plain(path)
    is_elsewhere = options.get("engine") == "ray" and not stores.is_remote(path)
    return os.path.abspath(path) if is_elsewhere else path


def _plain_paths(options: dict[str, Any], *names: str) -> None:
    """The same for options, in place."""
    for name in names:
        if options[name] is not None:
            options[name] = _plain_path(options[name], options)


def _size_of(shard: Shard) -> int:
    from delaytool import stores

    return stores.size_of(shard.path) if shard.size is None else shard.size


def _local(*paths: str) -> tuple[str, ...]:
    """Those of the paths that are on this machine."""
    from delaytool import stores

    return tuple(path for path in paths if not stores.is_remote(path))


def _check_engine(options: dict[str, Any]) -> None:
    if options["ray_address"] is not None and options["engine"] != "ray":
        raise click.UsageError("--ray-address goes with --engine ray")


def _say(text: str) -> None:
    click.echo(text, err=True)


def _say_notes(notes: Sequence[str], options: dict[str, Any]) -> None:
    for note in () if options["quiet"] else notes:
        _say(f"Note: {note}")


def _print_json(summary: dict[str, Any]) -> None:
    import json

    click.echo(json.dumps(summary))


def _count(number: int, noun: str) -> str:
    plural = "es" if noun.endswith("ch") else "s"
    return f"{number:,} {noun}{'' if number == 1 else plural}"


@contextlib.contextmanager
def _errors(debug: bool) -> Iterator[None]:
    """Turn what goes wrong into a line that says where, a line on what to do, and a status."""
    if _is_program:
        from delaytool import guard

        guard.enter()
        guard.travel_light()
        sys.unraisablehook = _unraisable
        for number in _SIGNALS:
            signal.signal(number, _stop)
    try:
        yield
        _check_stopped()
    except (click.ClickException, click.exceptions.Exit):
        raise
    except BaseException as error:
        # What a signal interrupted may have made another error of it.
        if isinstance(error, KeyboardInterrupt) or _stopped_by:
            status = 128 + (_stopped_by or signal.SIGINT)
            how = "interrupted" if status == 128 + signal.SIGINT else "told to stop"
            _fail(how, "run the same command again to go on", status)
        if debug or not isinstance(error, Exception):
            raise
        _fail(*_told(error), 1)


def _told(error: Exception) -> tuple[str, str]:
    """What to say of an error, and what to do about it."""
    if isinstance(error, DataError):
        return str(error), error.advice
    lines = str(error).strip().splitlines() or [""]
    if isinstance(error, OSError):
        where = f"{error.filename}: {error.strerror}" if error.filename else lines[0]
        return where, "check the path, the permissions, and the way to it"
    return f"{type(error).__name__}: {lines[0]}", "run again with --debug for the whole story"


class _Stopped(BaseException):
    """A signal told the command to stop."""


def _stop(number: int, frame: Any) -> NoReturn:
    global _stopped_by
    _stopped_by = number
    for each in _SIGNALS:
        # What has begun to clean up is not to be stopped in the middle of it.
        signal.signal(each, signal.SIG_IGN)
    raise _Stopped(number)


def _check_stopped() -> None:
    """Stop if a signal said so where Python ignores what is raised, as while it frees an object."""
    if _stopped_by:
        raise _Stopped(_stopped_by)


def _unraisable(ignored: Any) -> None:
    """Say nothing of a signal that came where Python ignores it: it is not forgotten."""
    if ignored.exc_type is not _Stopped:
        sys.__unraisablehook__(ignored)


def _fail(what: str, advice: str, status: int) -> NoReturn:
    _say(f"Error: {what}")
    if advice:
        _say(f"  {advice[0].upper()}{advice[1:]}.")
    sys.exit(status)
