"""The library names arguments, the command line options."""

import ast
import inspect
import re
from pathlib import Path

import pytest

import delaytool
from delaytool.cli.advice import PARAMETERS, as_options
from delaytool.cli.main import main

LIBRARY = [
    path
    for path in Path(delaytool.__file__).parent.rglob("*.py")
    if not {"cli", "torch"} & set(path.relative_to(Path(delaytool.__file__).parent).parts)
]
FUNCTIONS = ("align", "apply", "verify", "revert", "stats", "read_grid")
# What the options of a recipe are in Python: fields of a Recipe.
OPTIONS_ONLY = {
    "final_weight",
    "length",
    "offset",
    "text_end_padding",
    "text_padding",
    "text_padding_weight",
}


def texts_of(path):
    """All strings of a module but its docstrings, those of f-strings in one piece."""
    tree = ast.parse(path.read_text())
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if is_text and id(node) not in docstrings:
            yield node.value


def arguments_in(text):
    return re.findall(r"`([a-z_]+)(?:=[^`]*)?`", text)


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.stem)
def test_the_library_names_no_options(path):
    assert [text for text in texts_of(path) if re.search(r"(^|\W)--[a-z]", text)] == []


def test_what_the_library_names_is_an_argument_and_an_option():
    arguments = {
        name for f in FUNCTIONS for name in inspect.signature(getattr(delaytool, f)).parameters
    }
    options = {
        name
        for command in main.summaries
        for option in main.get_command(None, command).params
        for name in (*option.opts, *option.secondary_opts, option.human_readable_name)
    }
    named = {name for path in LIBRARY for text in texts_of(path) for name in arguments_in(text)}
    assert {"audio_layout", "key", "quarantine", "recipe"} <= named, "they are found"
    assert named - OPTIONS_ONLY <= arguments
    for name in named:
        words = as_options(f"`{name}`").split(" or ")
        assert options >= set(words), f"{name} is {words}"


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("name it with `audio_column`", "", "name it with --audio-column"),
        ('say `audio_layout="flat-frame"`', "", "say --audio-layout flat-frame"),
        ("take it with `allow_lossy=True`", "", "take it with --allow-lossy"),
        ("`output` and `source` are the same", "", "OUTPUT and --source are the same"),
        ("choose another `recipe`", "codebooks", "choose another --preset or --n-q"),
        ("say with `recipe`", "no-record", "say with --preset or --recipe"),
        ("a path with ``, `A` or `a b` in it", "", "a path with ``, `A` or `a b` in it"),
    ],
)
def test_arguments_are_worded_as_options(text, kind, expected):
    assert as_options(text, kind) == expected


@pytest.mark.parametrize("name", PARAMETERS)
def test_what_stands_in_its_place_is_in_capitals(name):
    assert as_options(f"`{name}`") == name.upper()
