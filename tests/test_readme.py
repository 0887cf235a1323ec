"""What the README says is true: its help texts are the tool's, its example runs.

`python tests/test_readme.py` writes the help texts into it.
"""

import re
from pathlib import Path

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


def test_the_library_example_runs():
    example, _ = python_examples()
    exec(compile(example, "README.md", "exec"), {})


@pytest.mark.parametrize("target", ["make demo", "make test"])
def test_how_to_begin_stands_at_the_top(target):
    assert target in "\n".join(README.read_text().splitlines()[:30])


if __name__ == "__main__":
    README.write_text(with_help(README.read_text()))
