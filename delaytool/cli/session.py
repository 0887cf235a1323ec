"""A command's life: signals, errors as lines, exit status."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn

import click

from delaytool.cli.advice import as_options
from delaytool.errors import DataError, ReaderDiedError, RecipeError

if TYPE_CHECKING:
    from delaytool.jobs.notes import Note


_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def say(text: str) -> None:
    """Print a line to standard error."""
    click.echo(text, err=True)


def note_teller(quiet: bool, recipe: str = "") -> Callable[[Note], None]:
    """A function that prints notes to standard error.

    quiet:  whether to say nothing of how shards were found
    recipe: what to say of the recipe
    """

    def tell(note: Note) -> None:
        if note.kind == "recipe":
            say(recipe or note.text)
        elif note.kind == "column":
            say(f"  column {note.text}")
        elif not quiet or note.kind != "found":
            say(f"Note: {as_options(note.text)}")

    return tell


def shown(path: str) -> str:
    """A path as messages name it."""
    from delaytool.shards import stores

    return stores.shown(stores.plain(path))


def print_json(summary: dict[str, Any]) -> None:
    """Print one JSON object to standard output."""
    import json

    click.echo(json.dumps(summary))


def counted(number: int, noun: str) -> str:
    """A number and what it counts: 1 row, 2 rows, 2 mismatches."""
    plural = "es" if noun.endswith("ch") else "s"
    return f"{number:,} {noun}{'' if number == 1 else plural}"


class Program:
    """A process that is the command `delaytool`, to fork and to take signals."""

    def __init__(self) -> None:
        self.stopped_by = 0
        """The signal that told it to stop."""

    def enter(self) -> None:
        """Go on in a child process, with handlers for the signals that stop it."""
        from delaytool.run import guard

        guard.enter()
        guard.travel_light()
        sys.unraisablehook = _unraisable
        for number in _SIGNALS:
            signal.signal(number, self._stop)

    def _stop(self, number: int, frame: Any) -> NoReturn:
        self.stopped_by = number
        for each in _SIGNALS:
            # What has begun to clean up is not to be stopped in the middle of it.
            signal.signal(each, signal.SIG_IGN)
        raise _Stopped(number)

    def check(self) -> None:
        """Stop if a signal said so where Python does not raise, as while it frees an object."""
        if self.stopped_by:
            raise _Stopped(self.stopped_by)


@contextlib.contextmanager
def session(debug: bool) -> Iterator[None]:
    """Turn what goes wrong into a line that says where, a line on what to do, and a status."""
    program = click.get_current_context().find_object(Program)
    if program is not None:
        program.enter()
    try:
        yield
        check_stopped()
    except (click.ClickException, click.exceptions.Exit):
        raise
    except BaseException as error:
        stopped_by = program.stopped_by if program is not None else 0
        # What a signal interrupted may have made another error of it.
        if isinstance(error, KeyboardInterrupt) or stopped_by:
            status = 128 + (stopped_by or signal.SIGINT)
            how = "interrupted" if status == 128 + signal.SIGINT else "told to stop"
            _fail(how, "run the same command again to go on", status)
        if isinstance(error, RecipeError):
            raise click.UsageError(as_options(str(error))) from None
        if isinstance(error, ReaderDiedError):
            for other in error.others:
                say(f"Error: {other}")
        if debug or not isinstance(error, Exception):
            raise
        _fail(*_told(error), 1)


def check_stopped() -> None:
    """Stop if a signal said so and was not heard."""
    program = click.get_current_context().find_object(Program)
    if program is not None:
        program.check()


def _told(error: Exception) -> tuple[str, str]:
    """What to say of an error, and what to do about it."""
    if isinstance(error, DataError):
        return str(error), as_options(error.advice, error.kind)
    lines = str(error).strip().splitlines() or [""]
    if isinstance(error, OSError):
        where = f"{error.filename}: {error.strerror}" if error.filename else lines[0]
        return where, "check the path, the permissions, and the way to it"
    return f"{type(error).__name__}: {lines[0]}", "run again with --debug for the whole story"


class _Stopped(BaseException):
    """A signal told the command to stop."""


def _unraisable(ignored: Any) -> None:
    """Say nothing of a signal that came where Python ignores it: it is not forgotten."""
    if ignored.exc_type is not _Stopped:
        sys.__unraisablehook__(ignored)


def _fail(what: str, advice: str, status: int) -> NoReturn:
    say(f"Error: {what}")
    if advice:
        say(f"  {advice[0].upper()}{advice[1:]}.")
    sys.exit(status)
