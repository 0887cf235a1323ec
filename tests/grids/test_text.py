"""A grid as text: aligned, in blocks, in colour."""

import itertools
import re

import pytest

from delaytool.grids.grid import Grid
from delaytool.grids.text import Style, lines_of, render


def grid_of(codes, filled=None, kinds=("text", "semantic", "acoustic"), **changes):
    streams, steps = len(codes), len(codes[0])
    empty = [[False] * steps for _ in range(streams)]
    fields = {
        "about": ["a.parquet, row 0 of 1"],
        "title": "",
        "row": 0,
        "id": None,
        "streams": list(kinds),
        "kinds": list(kinds),
        "delays": [0] * streams,
        "codes": codes,
        "filled": filled or empty,
        "offset": empty,
        "added": empty,
        "weights": None,
        "labels": [[f"{kind}_{step + 1}" for step in range(steps)] for kind in kinds],
        "padding": [{3: "PAD", 0: "EPAD"}] * streams,
        "shifted": filled is not None,
    }
    return Grid(**{**fields, **changes})


SHIFTED = grid_of(
    [[7, 3, 11, 3], [1, 22, 333, 2048], [2048, 5, 66, 777]],
    [[False, False, False, True], [False, False, False, True], [True, False, False, False]],
)


def test_numbers_stand_below_one_another():
    assert render([SHIFTED], Style()).splitlines() == [
        "a.parquet, row 0 of 1",
        "",
        "timestep       0     1     2       3",
        "seconds     0.00  0.08  0.16    0.24",
        "text          7      3    11     [3]",
        "semantic      1     22   333  [2048]",
        "acoustic  [2048]     5    66    777",
        "",
        "[id]: filled by the pattern",
    ]


def test_one_colour_for_each_kind_and_filled_cells_dim():
    coloured = render([SHIFTED], Style(colour=True))
    for colour, text in (("36", "text"), ("33", "semantic"), ("32", "acoustic")):
        assert f"\x1b[{colour}m{text}" in coloured
    assert re.search(r"\x1b\[2m *\[2048\]\x1b\[0m", coloured)
    assert re.search(r"\x1b\[33m +333\x1b\[0m", coloured)
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured).split() == render([SHIFTED], Style()).split()


def test_what_does_not_fit_is_left_out_or_follows_below():
    grid = grid_of([list(range(100, 140))] * 3)
    lines = render([grid], Style(width=40)).splitlines()
    assert lines[-1] == "... and 35 more timesteps, 5 to 39: the next are steps 5:10"
    wrapped = render([grid], Style(width=40, wrap=True)).splitlines()
    assert max(map(len, wrapped)) <= 40
    shown = [x for line in wrapped if line.startswith("timestep") for x in line.split()[1:]]
    assert shown == [str(step) for step in range(40)]
    assert "more timesteps" not in wrapped[-1]
    narrow = render([grid], Style(width=3, wrap=True)).splitlines()
    assert sum(line.startswith("timestep") for line in narrow) == 40, "one at a time at least"


def test_steps_keep_their_numbers():
    lines = render([SHIFTED.cut(1, 3)], Style(frame_rate=75)).splitlines()
    assert lines[2].split() == ["timestep", "1", "2"]
    assert lines[3].split() == ["seconds", "0.013", "0.027"]


def test_before_above_after_on_one_axis():
    before = grid_of([[7, 3, 11], [1, 22, 333], [5, 66, 777]], title="before")
    lines = render([before, SHIFTED], Style()).splitlines()
    heads = [line for line in lines if line.startswith("timestep")]
    assert len(heads) == 2
    assert heads[0] == heads[1]
    assert lines[2] == "before the shift"
    text = [line for line in lines if line.startswith("text")]
    assert text[0].split() == ["text", "7", "3", "11"]


def test_words_in_place_of_text_tokens():
    words = {7: "▁hello", 11: "世界"}.__getitem__
    lines = render([SHIFTED], Style(words=words)).splitlines()
    assert lines[4].split() == ["text", "▁hello", "PAD", "世界", "[3]"]
    # Two columns of the terminal for each of the wide characters.
    assert len(lines[4]) == len(lines[5]) - 2
    assert lines[5].split() == ["semantic", "1", "22", "333", "[2048]"]


def test_lost_cells_and_marks():
    lost = grid_of([[7, None], [1, 22], [5, None]])
    assert render([lost], Style()).splitlines()[-1] == "-: cut off by truncation"
    lines = render([SHIFTED], Style(), marked=(2, 3)).splitlines()
    assert lines[6].split()[-1] == ">777<"
    assert "\x1b[1;7;31m" in render([SHIFTED], Style(colour=True), marked=(2, 3))


@pytest.mark.parametrize("labels", [False, True])
def test_weights_stand_below(labels):
    grid = grid_of([[1, 2]] * 3, weights=[[0.5, 1.0], [100.0, 0.0], [1.0, 1.0]])
    lines = render([grid], Style(labels=labels, weights=True)).splitlines()
    below = lines[lines.index("loss weights") + 1 :]
    assert below[2].split() == ["text", "0.5", "1"]
    assert below[3].split() == ["semantic", "100", "0"]
    assert ("text_1" in lines[4]) == labels


class LongRow:
    """A row of many timesteps, which are made when they are asked for."""

    about, streams, first = ["a.parquet, row 0 of 1"], ["text", "semantic", "acoustic"], 0

    def __init__(self, steps):
        self.steps, self.asked = steps, 0

    def cut(self, start, stop):
        self.asked = max(self.asked, stop)
        return grid_of([list(range(start, stop))] * 3, first=start)


def test_what_is_not_shown_is_not_made():
    row = LongRow(10**9)
    text = render([row], Style(width=80))
    assert row.asked <= 80
    assert text.endswith("more timesteps, 12 to 999999999: the next are steps 12:24")
    row = LongRow(10**9)
    lines = lines_of([row], Style(width=80, wrap=True))
    assert len(list(itertools.islice(lines, 100))) == 100
    assert row.asked < 1000


@pytest.mark.parametrize("width", [1, 20, 41, 80, None])
@pytest.mark.parametrize("wrap", [True, False])
def test_blocks_are_those_of_the_whole_row(width, wrap):
    """Whatever is cut off before it is formatted would not have fitted."""
    row, style = LongRow(120), Style(width=width, wrap=wrap)
    assert render([row], style) == render([row.cut(0, 120)], style)
    text = render([row], style)
    shown = [int(cell) for line in text.splitlines() if line.startswith("text") for cell in
             line.split()[1:]]  # fmt: skip
    assert shown == list(range(len(shown)))
    assert shown
    assert len(shown) == 120 or not wrap
    if width == 80:
        assert all(len(line) <= 80 for line in text.splitlines())
