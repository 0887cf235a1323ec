"""What the README says is true: its help texts are the tool's, its example runs.

`python tests/test_readme.py` writes the help texts into it.
"""

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from make import delaytool

README = Path(__file__).parent.parent / "README.md"
COMMANDS = ((), ("apply",), ("verify",), ("revert",), ("inspect",), ("stats",), ("presets",))
BEGIN, END = "<!-- help -->\n", "<!-- end of help -->\n"


def with_help(text):
    """The README with the help text of every command between its marks."""
    parts = []
    for command in COMMANDS:
        printed = delaytool(*command, "--help", env={"COLUMNS": "100"}).stdout
        heading = " ".join(("delaytool", *command))
        parts.append(f"### {heading}\n\n```text\n{printed}```\n")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return before + BEGIN + "\n" + "\n".join(parts) + "\n" + END + after


def test_the_help_texts_are_the_tools():
    text = README.read_text()
    assert with_help(text) == text, "run: make readme"


def python_examples():
    """The README's examples in Python, in its order."""
    return re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


def example_with(text):
    """The one example that has a text in it."""
    (found,) = [example for example in python_examples() if text in example]
    return found


def test_the_library_example_runs():
    exec(compile(example_with("delay, load_preset, loss_weights"), "README.md", "exec"), {})


def test_j_moshis_streams_and_labels(tmp_path):
    """The README's lines beside what J-Moshi's data preparation does, cell by cell."""
    random = np.random.default_rng(6)
    speakers = {}
    lengths = [7, 1, 30]
    for speaker in "AB":
        text = [random.choice([0, 3, 11, -1, 31999], n) for n in lengths]
        audio = [random.integers(-1, 2048, (8, n)) for n in lengths]
        speakers[speaker] = [np.vstack(pair) for pair in zip(text, audio, strict=True)]
    table = pa.table({name: [grid.tolist() for grid in grids] for name, grids in speakers.items()})
    pq.write_table(table, tmp_path / "a.parquet")
    grids = ("--grid-column", "A", "--grid-column", "B[1:]", "--label-columns", "--no-weights")
    delaytool(
        "apply", tmp_path / "a.parquet", tmp_path / "b.parquet", "--preset", "j-moshi", *grids
    )
    names = {}
    exec(compile(example_with("def streams_and_labels"), "README.md", "exec"), names)
    rows = pq.read_table(tmp_path / "b.parquet").to_pydict()
    streams, labels = names["streams_and_labels"](rows)
    delays = [0, 0, *[1] * 7, 0, *[1] * 7]
    for row, (ours, targets) in enumerate(zip(streams, labels, strict=True)):
        source = np.vstack([speakers["A"][row], speakers["B"][row][1:]])
        for k, delay in enumerate(delays):
            initial, behind = (32000, 3) if k == 0 else (2048, 2048)
            line = [initial] * (1 + delay) + source[k].tolist() + [behind] * (1 - delay)
            assert ours[k].tolist() == line
            assert targets[k].tolist() == [token if token < initial else -1 for token in line]


@pytest.mark.parametrize("target", ["make demo", "make test"])
def test_how_to_begin_stands_at_the_top(target):
    assert target in "\n".join(README.read_text().splitlines()[:30])


if __name__ == "__main__":
    README.write_text(with_help(README.read_text()))
