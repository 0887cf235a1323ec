"""A grid as a picture: what is drawn, and the files."""

import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from make import PLAIN, delaytool, delaytool_process, tokens_table
from matplotlib.patches import Rectangle

from delaytool.batches.column_options import ColumnOptions
from delaytool.grids.picture import draw
from delaytool.grids.read import read_grid
from delaytool.shards.find import Shard

WITH_INITIAL_STEP = (*PLAIN, "--initial-step")
MAGIC = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}


@pytest.fixture
def out(tmp_path):
    pq.write_table(tokens_table(), tmp_path / "data.parquet")
    delaytool("apply", tmp_path / "data.parquet", tmp_path / "out.parquet", *WITH_INITIAL_STEP)
    return tmp_path / "out.parquet"


def grid_of(path, **options):
    return read_grid(Shard(path.name, str(path)), ColumnOptions(), **options)


def test_every_cell_has_its_id_and_every_filled_run_is_hatched(out):
    grid = grid_of(out).cut(1, 8)
    tokens, weights, *_ = draw(grid).axes
    drawn = {}
    for text in tokens.texts:
        step, number = text.get_position()
        drawn[int(number), int(step)] = text.get_text()
    assert drawn == {
        (number, 1 + step): str(code)
        for number, line in enumerate(grid.codes)
        for step, code in enumerate(line)
    }
    hatched = np.zeros((4, 7), dtype=bool)
    for patch in tokens.patches:
        if isinstance(patch, Rectangle) and patch.get_hatch():
            first = round(patch.get_x() + 0.5) - 1
            number = round(patch.get_y() + 0.5)
            hatched[number, first : first + round(patch.get_width())] = True
    assert hatched.tolist() == grid.filled
    assert weights.images[0].get_array().tolist() == grid.weights
    names = [label.get_text() for label in tokens.get_yticklabels()]
    assert names == ["text", "semantic", "acoustic_1", "acoustic_2"]


def test_labels_and_long_rows(out):
    tokens = draw(grid_of(out), labels=True).axes[0]
    assert {"S", "text_1", "acoustic_1"} <= {text.get_text() for text in tokens.texts}
    grid = grid_of(out)
    long = [line * 60 for line in grid.codes]
    filled = [line * 60 for line in grid.filled]
    many = type(grid)(**{**vars(grid), "codes": long, "filled": filled, "weights": None})
    figure = draw(many)
    assert not figure.axes[0].texts, "ids that do not fit are left out"
    assert figure.get_size_inches()[0] < 25


def test_before_the_shift_there_are_no_weights(out):
    assert len(draw(grid_of(out, shifted=False)).axes) == 1


@pytest.mark.parametrize("ending", MAGIC)
def test_files_are_the_same_every_time(out, tmp_path, ending):
    one, two = tmp_path / f"one.{ending}", tmp_path / f"two.{ending}"
    for path in (one, two):
        done = delaytool("inspect", out, "--row", "3", "--steps", "0:9", "--image", path)
        assert done.stdout == f"drawn to {path}\n"
    assert one.read_bytes() == two.read_bytes()
    assert one.read_bytes().startswith(MAGIC[ending])


def test_an_svg_holds_text(out, tmp_path):
    path = tmp_path / "a.svg"
    delaytool("inspect", out, "--image", path, "--frame-rate", "50", "--labels")
    text = path.read_text()
    for word in ("acoustic_2", "text_1", "timestep", "seconds", "loss weights", "100"):
        assert f">{word}<" in text
    assert re.search("<pattern", text), "hatching"
    assert "matplotlib" not in text.lower().split("<svg")[1].split("<defs")[0]


def test_what_cannot_be_drawn(out, tmp_path):
    done = delaytool("inspect", out, "--image", tmp_path / "a.jpg", status=2)
    assert "expected a name in .png, .svg, .pdf" in done.stderr
    done = delaytool("inspect", out, "--image", tmp_path / "a.png", "--json", status=2)
    assert "exclude one another" in done.stderr
    done = delaytool("inspect", out, "--image", tmp_path / "none" / "a.png", status=1)
    assert "No such file or directory" in done.stderr
    (tmp_path / "matplotlib.py").write_text("raise ImportError('matplotlib')\n")
    env = {"PYTHONPATH": str(tmp_path)}
    arguments = ("inspect", out, "--image", tmp_path / "a.png")
    done = delaytool_process(*arguments, status=1, env=env)
    assert done.stderr.splitlines()[-1].endswith("pip install 'delaytool[plot]'.")


def test_a_row_of_no_frames(tmp_path):
    table = pa.table(
        {
            "text_tokens": pa.array([[], [1]], pa.list_(pa.int32())),
            "audio_codes": pa.array([[[], []], [[1], [2]]], pa.list_(pa.list_(pa.int16()))),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    asked = ("--audio-layout", "codebook", "--image", tmp_path / "a.png")
    done = delaytool("inspect", tmp_path / "a.parquet", *asked, status=1)
    assert "row 0: there are no timesteps to draw" in done.stderr


def test_cells_of_an_offset_look_other_than_those_of_a_delay(out, tmp_path):
    moved = tmp_path / "moved.parquet"
    options = ("--offset", "semantic=2", "--offset", "acoustic_1=-1")
    delaytool("apply", tmp_path / "data.parquet", moved, *WITH_INITIAL_STEP, *options)
    grid = grid_of(moved)
    figure = draw(grid)
    hatched = {"////": set(), "....": set()}
    for patch in figure.axes[0].patches:
        if isinstance(patch, Rectangle) and patch.get_hatch():
            first, count = round(patch.get_x() + 0.5), round(patch.get_width())
            number = round(patch.get_y() + 0.5)
            hatched[patch.get_hatch()] |= {(number, step) for step in range(first, first + count)}
    for flags, hatch in ((grid.filled, "////"), (grid.offset, "....")):
        expected = {(k, s) for k, line in enumerate(flags) for s, flag in enumerate(line) if flag}
        assert hatched[hatch] == expected
        assert expected
    (legend,) = figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names[-2:] == ["filled by the pattern", "filled by an offset"]
    table = grid._repr_html_()
    assert table.count('title="filled by an offset') == sum(map(sum, grid.offset))
