"""The project's files agree with one another."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_oldest_versions_are_those_that_the_project_names():
    project = (ROOT / "pyproject.toml").read_text()
    (listed,) = re.findall(r"^dependencies = \[(.*)\]$", project, re.MULTILINE)
    minima = dict(re.findall(r'"(\w+)>=([\d.]+)"', listed))
    tested = dict(re.findall(r"^(\w+)==([\d.]+)$", (ROOT / "tests/oldest.txt").read_text(), re.M))
    assert len(minima) == 4
    assert minima.keys() == tested.keys()
    for name, version in minima.items():
        assert re.fullmatch(rf"{re.escape(version)}(\.0)*", tested[name]), name
