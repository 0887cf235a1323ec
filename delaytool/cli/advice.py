"""What to do about an error, in the command line's words: options in place of arguments."""

from __future__ import annotations

import ast
import re
import shlex

PARAMETERS = ("input", "output", "restored", "shard")
"""Arguments that the commands take by their place."""
_RECIPE = "--preset or --recipe"
_STREAMS = "--preset or --n-q"
_ABOUT_STREAMS = ("codebooks", "layout-misfits", "list-size", "no-layout", "streams", "text-length")
"""Kinds of errors that another number of streams may mend."""
_PHRASES = {"a `recipe` without text": "--no-text"}
"""Changes to a recipe that are options of the commands."""
_RECIPE_OF = re.compile(r"(` with )?a `recipe` of (?:(\d+|N) audio streams?)?(?: and )?(no text)?")
"""The same, also after arguments."""
_ARGUMENT = re.compile(r"`([a-z_]+)(?:=([^`]+))?`")


def as_options(text: str, kind: str = "") -> str:
    """A text of the library with its arguments worded as options.

    kind: that of the error whose advice it is; what makes a recipe depends on it

    'name it with `audio_layout="frame"`' -> 'name it with --audio-layout frame'
    "`audio_column='codes'` with a `recipe` of 8 audio streams" -> '--audio-column codes --n-q 8'
    """

    def option(match: re.Match[str]) -> str:
        name, value = match.groups()
        if name in PARAMETERS:
            return name.upper()
        if name == "recipe":
            return _STREAMS if kind in _ABOUT_STREAMS else _RECIPE
        option = "--" + name.replace("_", "-")
        try:
            given = True if value is None else ast.literal_eval(value)
        except (ValueError, SyntaxError):
            # A path of somebody who likes backticks.
            return match[0]
        values = given if isinstance(given, list) else [given]
        return " ".join(option if v is True else f"{option} {shlex.quote(str(v))}" for v in values)

    def recipe_of(match: re.Match[str]) -> str:
        before, count, no_text = match.groups()
        options = [f"--n-q {count}"] * bool(count) + ["--no-text"] * bool(no_text)
        return "` " * bool(before) + " ".join(options)

    text = _RECIPE_OF.sub(recipe_of, text)
    for phrase, its_option in _PHRASES.items():
        text = text.replace(phrase, its_option)
    return _ARGUMENT.sub(option, text)
