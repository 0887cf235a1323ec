"""Errors: what those of many rows have in common."""

import pytest

from delaytool.errors import DataError, Place


@pytest.mark.parametrize(
    ("found", "expected", "sort"),
    [
        ("token 5000", "0 to 2047, or -1", "token #, expected 0 to 2047, or -1"),
        ("token -7", "0 to 2047, or -1", "token #, expected 0 to 2047, or -1"),
        ("1 frame", "31, as many as column B has", "# frames, expected #, as many as column B has"),
        (
            "22 frames",
            "7, as many as column B has",
            "# frames, expected #, as many as column B has",
        ),
        (
            "7 tokens",
            "a multiple of 8, the number",
            "# tokens, expected a multiple of 8, the number",
        ),
        ("3 codebooks", "8, one for each", "# codebooks, expected 8, one for each"),
        ("the factor -1.5e-05", "a number from 0 up", "the factor #, expected a number from 0 up"),
        ("a null row", "", "a null row"),
    ],
)
def test_errors_of_one_sort(found, expected, sort):
    error = DataError(found, expected=expected, advice="repair it", place=Place(row=3, stream="s"))
    assert error.sort == sort
    assert error.at(column="codes_2", timestep=4).sort == f"column codes_2: {sort}"
