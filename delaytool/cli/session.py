"""A command's life: what it prints, signals, errors as lines or as JSON, exit status."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import click

from delaytool.cli.advice import as_options
from delaytool.errors import DataError, Place, ReaderDiedError, RecipeError
from delaytool.texts import printable, to_json

if TYPE_CHECKING:
    from delaytool.jobs.notes import Note


_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def say(line: str) -> None:
    """Print a line to standard error."""
    click.echo(printable(line), err=True)


def say_note(text: str) -> None:
    """Print a note to standard error, unless the command is to be quiet."""
    if not click.get_current_context().params.get("quiet"):
        say(f"Note: {as_options(text)}")


def put(*lines: str) -> None:
    """Print lines to standard output."""
    for line in lines:
        click.echo(printable(line))


def note_teller(recipe: str = "") -> Callable[[Note], None]:
    """A function that prints notes to standard error, unless the command is to be quiet.

    recipe: what to say of the recipe
    """
    quiet = click.get_current_context().params.get("quiet")

    def tell(note: Note) -> None:
        if quiet:
            return
        if note.kind == "recipe":
            for line in (recipe or note.text).split("\n"):
                say(line)
        elif note.kind == "column":
            say(f"  column {note.text}")
        else:
            say(f"Note: {as_options(note.text)}")

    return tell


def shown(path: str) -> str:
    """A path as messages name it."""
    from delaytool.shards import stores

    return stores.shown(stores.plain(path))


def print_json(summary: dict[str, Any]) -> None:
    """Print one JSON object to standard output."""
    put_json(to_json(summary))


def put_json(text: str) -> None:
    """Print what is a JSON object to standard output."""
    click.echo(text)
    program = _program()
    if program is not None:
        program.has_printed = True


def counted(number: int, noun: str) -> str:
    """A number and what it counts: 1 row, 2 rows, 2 mismatches."""
    plural = "es" if noun.endswith("ch") else "s"
    return f"{number:,} {noun}{'' if number == 1 else plural}"


class Program:
    """A process that is the command `delaytool`, to fork and to take signals."""

    def __init__(self) -> None:
        self.stopped_by = 0
        """The signal that told it to stop."""
        self.has_printed = False
        """Whether its one JSON object is printed."""

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


class Failure(click.ClickException):
    """What ended a command.

    kind:   that of a DataError, or "stopped" by a signal, or "failed" for all else
    what:   what is wrong, and where; advice: what to do about it
    others: the same of other shards, which went wrong as well
    """

    def __init__(
        self, kind: str, what: str, advice: str, *, status: int = 1, others: Sequence[str] = ()
    ) -> None:
        super().__init__(what)
        self.kind, self.advice, self.status, self.others = kind, advice, status, others
        self.place = Place()

    def show(self, file: Any = None) -> None:
        """Print it as lines to standard error."""
        for what in (*self.others, self.message):
            say(f"Error: {what}")
        if self.advice:
            say(f"  {self.advice[0].upper()}{self.advice[1:]}.")


@contextlib.contextmanager
def session(debug: bool) -> Iterator[None]:
    """Turn whatever goes wrong into a Failure, or a UsageError for what was asked for."""
    program = _program()
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
            raise stopped(stopped_by or signal.SIGINT) from None
        if isinstance(error, RecipeError):
            raise click.UsageError(as_options(str(error))) from None
        if not isinstance(error, Exception):
            raise
        if debug:
            import traceback

            for line in traceback.format_exc().splitlines():
                say(line)
        raise _failure(error) from None


def _program() -> Program | None:
    context = click.get_current_context(silent=True)
    return None if context is None else context.find_object(Program)


def stopped(number: int) -> Failure:
    """What ends a command that a signal stopped."""
    how = "interrupted" if number == signal.SIGINT else "told to stop"
    return Failure("stopped", how, "run the same command again to go on", status=128 + number)


def run(main: Callable[[], Any], arguments: Sequence[str], program: Program | None) -> int:
    """Run the command line; print what ended it, and return its exit status.

    main:      click's, which raises what went wrong
    arguments: those of the command line
    """
    failure: click.ClickException
    try:
        return main() or 0
    except click.ClickException as error:
        failure = error
    except click.Abort:
        failure = stopped(signal.SIGINT)
    except _Stopped as error:
        failure = stopped(error.args[0])
    _show(failure)
    if "--json" in arguments and not (program and program.has_printed):
        print_json(_as_json(failure))
    return failure.status if isinstance(failure, Failure) else failure.exit_code


def _show(error: click.ClickException) -> None:
    if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):
        error.show()  # What there is to say is the help.
    elif isinstance(error, click.UsageError):
        _show_usage(error)
    else:
        error.show()


def _show_usage(error: click.UsageError) -> None:
    """Print what is wrong with a command line, below how it is to be."""
    if error.ctx is not None:
        click.echo(error.ctx.get_usage(), err=True)
        say(_help_for(error))
        say("")
    say(f"Error: {error.format_message()}")


def _help_for(error: click.UsageError) -> str:
    path = "delaytool" if error.ctx is None else error.ctx.command_path
    return f"Try '{path} --help' for help."


def _as_json(error: click.ClickException) -> dict[str, Any]:
    """What ended a command, with JSON's types."""
    kind, advice, place, others = "usage", "", Place(), 0
    if isinstance(error, Failure):
        kind, advice, place = error.kind, error.advice, error.place
        others = len(error.others)
    elif isinstance(error, click.UsageError):
        advice = _help_for(error)
    fields = {"kind": kind, "message": error.format_message(), "advice": advice}
    return {"error": {**fields, **dataclasses.asdict(place)}, "errors": 1 + others}


def check_stopped() -> None:
    """Stop if a signal said so and was not heard."""
    program = _program()
    if program is not None:
        program.check()


def _failure(error: Exception) -> Failure:
    """What to say of an error, and what to do about it."""
    if isinstance(error, DataError):
        died = error.others if isinstance(error, ReaderDiedError) else ()
        advice = as_options(error.advice, error.kind)
        failure = Failure(error.kind, str(error), advice, others=list(map(str, died)))
        failure.place = error.place
        return failure
    lines = str(error).strip().splitlines() or [""]
    if isinstance(error, OSError):
        where = f"{error.filename}: {error.strerror}" if error.filename else lines[0]
        return Failure("failed", where, "check the path, the permissions, and the way to it")
    what = f"{type(error).__name__}: {lines[0]}"
    return Failure("failed", what, "run again with --debug for the whole story")


class _Stopped(BaseException):
    """A signal told the command to stop."""


def _unraisable(ignored: Any) -> None:
    """Say nothing of a signal that came where Python ignores it: it is not forgotten."""
    if ignored.exc_type is not _Stopped:
        sys.__unraisablehook__(ignored)
