"""Texts that may come from data: as a line, as JSON, and as what somebody may have meant."""

import json
import unicodedata

import pytest

from delaytool.errors import DataError, Place
from delaytool.texts import did_you_mean, printable, to_json


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a b/é　日本.parquet", "a b/é　日本.parquet"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\x1b[2J\x07\x7f", r"\x1b[2J\x07\x7f"),
        ("\x9b\u2028\u202e\u200b", r"\u009b\u2028\u202e\u200b"),
        ("\udcff\ud83d", r"\xff\ud83d"),
        ("\U000e0041", r"\U000e0041"),
        ("::error::x", r"\x3a:error::x"),
        ("  ::error::x", r"  \x3a:error::x"),
        ("a::b ##[error]", r"a::b \x23#[error]"),
        (r"a\n", r"a\n"),
    ],
)
def test_a_line_drives_nothing(text, shown):
    assert printable(text) == shown


def test_every_letter_is_seen():
    for code in range(0x110000):
        letter = chr(code)
        line = printable(letter)
        if unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
            assert line.isascii()
            assert line.isprintable()
        else:
            assert line == letter
        line.encode()


@pytest.mark.parametrize(
    "value",
    [
        {"a": [1, 2.5, None, True, "é\n\x1b\x7f##[error]\u202e😀"]},
        {"names": ("x", "y")},
    ],
)
def test_json_holds_the_values_themselves(value):
    text = to_json(value)
    assert json.loads(text) == json.loads(json.dumps(value))
    assert text.isascii()
    assert text.isprintable()
    assert "##[" not in text


def test_json_has_no_place_for_some_values():
    value = {"a\udcff": ["\ud800", float("nan"), float("inf"), b"x"]}
    assert json.loads(to_json(value)) == {r"a\xff": [r"\ud800", "nan", "inf", "b'x'"]}


def test_errors_are_one_line():
    place = Place("a\nb", 1, "id\n", "c\n", "s\n", 2)
    error = DataError("null", "found\n", expected="no\x1bthing", place=place)
    line = r"a\nb, row 1 (id\n), column c\n, stream s\n, timestep 2: found\n, expected no\x1bthing"
    assert str(error) == line
    assert error.place == place


def test_the_nearest_name_is_meant():
    assert did_you_mean("Pre_train", ["pre-train", "x"]) == "did you mean pre-train?"
    assert did_you_mean("zzz", ["pre-train", "x"]) == ""
