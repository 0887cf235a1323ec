"""The pictures in the pages are those that the tool draws, and small."""

import re
import runpy

import pytest
from make import SAMPLE_DATA, delaytool
from pages import ROOT, all_pages, links_of

TEXTS = re.compile(r"<text[^>]*>([^<]*)</text>")


def test_pictures_of_windows(tmp_path):
    """What stands in them: shapes are as the version of matplotlib has them."""
    pytest.importorskip("matplotlib")
    draw = runpy.run_path(str(SAMPLE_DATA / "draw_windows.py"))["draw"]
    draw.__globals__["delaytool"] = delaytool  # Each process of its own takes a second.
    draw(tmp_path)
    stored = {path.name: path.read_text() for path in (SAMPLE_DATA / "windows").iterdir()}
    drawn = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert stored.keys() == drawn.keys()
    for name, text in stored.items():
        assert {"loss weights", "2048"} <= set(TEXTS.findall(text))
        assert TEXTS.findall(text) == TEXTS.findall(drawn[name]), f"{name}; run: make sample_data"


def test_every_picture_is_shown_and_small():
    links = {(page.parent / link).resolve() for page in all_pages() for link in links_of(page)}
    pictures = [
        path
        for folder in ("delaytool", "sample_data", "tests")
        for ending in ("svg", "png")
        for path in (ROOT / folder).rglob(f"*.{ending}")
    ]
    assert len(pictures) >= 6
    for path in pictures:
        assert path in links, path
        assert path.stat().st_size < 60_000, path
