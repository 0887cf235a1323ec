"""Errors: what programs tell them apart by, and how they travel."""

import pickle
import re
from pathlib import Path

import pytest

from delaytool.errors import KINDS, AmbiguousError, DataError, Place, ReaderDiedError

PACKAGE = Path(__file__).parent.parent / "delaytool"


@pytest.mark.parametrize(
    "error",
    [
        DataError("null", "a null row", expected="no nulls", advice="mend it", place=Place(row=3)),
        AmbiguousError("several-layouts", "more than one layout fits"),
        ReaderDiedError.of("a.parquet"),
    ],
)
def test_errors_keep_all_they_say_on_their_way_home(error):
    home = pickle.loads(pickle.dumps(error))
    assert type(home) is type(error)
    for there in (home, error.at(row=error.place.row)):
        for name in ("kind", "found", "expected", "advice", "place"):
            assert getattr(there, name) == getattr(error, name)


def test_every_kind_of_error_is_in_the_table():
    used = set()
    for path in PACKAGE.rglob("*.py"):
        pattern = r'(?:DataError|AmbiguousError|ReaderDiedError|cls)\(\s*"([a-z-]+)",'
        used |= set(re.findall(pattern, path.read_text()))
    assert used == set(KINDS)
