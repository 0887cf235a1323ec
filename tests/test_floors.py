"""The code is a house: a floor imports only floors below it, and its rooms stay small.

What doesn't keep a rule yet is listed here. The lists only become shorter: a test fails when
something is not in its list, when it has grown, and when it keeps the rule and is still listed.
"""

import ast
import re
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "delaytool"
LEVELS = {
    "texts": -1,
    "errors": 0,
    "recipes": 1,
    "pattern": 2,
    "batches": 3,
    "shards": 4,
    "jobs": 5,
    "grids": 5,
    "run": 5,
    "api": 6,
    "torch": 6,
    "cli": 7,
}
"""How high each floor is; floors of one level don't import one another."""
IMPORTS = (ast.Import, ast.ImportFrom)
LONGEST_ROOM = 400
LONGEST_FUNCTION = 60

UPWARDS: set[tuple[str, str]] = set()
"""Imports of a floor that isn't below: the file that imports, and the module."""
LONG_ROOMS: dict[str, int] = {}
"""Files over the limit, with the most lines that they may have."""
LONG_FUNCTIONS: dict[str, int] = {}
"""Functions over the limit, with the most lines that they may have."""


def rooms():
    """Every file of the floors, as its path in the package, with its text."""
    paths = [path for path in PACKAGE.rglob("*.py") if floor_of(path) in LEVELS]
    assert {floor_of(path) for path in paths} >= LEVELS.keys()
    return {path.relative_to(PACKAGE).as_posix(): path.read_text() for path in sorted(paths)}


def floor_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(name, text):
    """The modules of delaytool that a file imports, wherever in it: `shards.read` and the like."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            raise AssertionError(f"{name}, line {node.lineno}: a relative import")
        elif isinstance(node, ast.ImportFrom):
            # `from delaytool import errors` and `from delaytool.errors import DataError`
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for module in modules:
            first, _, rest = module.partition(".")
            if first == "delaytool" and rest != "__version__":
                yield module_in(rest)


def module_in(rest):
    """The module in a dotted path below delaytool that may end in names that the module defines."""
    parts = rest.split(".")
    while len(parts) > 1 and not is_module(parts):
        parts.pop()
    return ".".join(parts)


def is_module(parts):
    path = PACKAGE.joinpath(*parts)
    return path.is_dir() or path.with_suffix(".py").is_file()


def upwards(name, text):
    """Imports of a file from a floor that isn't below it; from its own floor, any."""
    floor = floor_of(PACKAGE / name)
    for module in imports_of(name, text):
        target = module.partition(".")[0]
        if target != floor and LEVELS.get(target, len(LEVELS)) >= LEVELS[floor]:
            yield name, module


def functions_of(text):
    """Every function's name, after those of what it stands in, and its number of lines."""

    def walk(node, outside):
        for child in ast.iter_child_nodes(node):
            inside = outside
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                inside = (*outside, child.name)
                if not isinstance(child, ast.ClassDef):
                    yield ".".join(inside), child.end_lineno - child.lineno + 1
            yield from walk(child, inside)

    return walk(ast.parse(text), ())


def assert_only_shorter(found, listed):
    """What is over a limit is in the list, and not longer than it says."""
    longer = {name: size for name, size in found.items() if size > listed.get(name, 0)}
    assert longer == {}, "too long"
    assert listed.keys() - found.keys() == set(), "short enough: take it off the list"


def test_a_floor_imports_only_floors_below_it():
    found = {each for name, text in rooms().items() for each in upwards(name, text)}
    assert found - UPWARDS == set(), "not below"
    assert UPWARDS - found == set(), "not there: take it off the list"


def test_imports_are_found_wherever_they_stand():
    text = (
        "import delaytool.cli.main\n"
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n"
        "    from delaytool.run.tasks import Task\n"
        "def f():\n"
        "    from delaytool.shards import stores\n"
        "    from delaytool import delay, errors\n"
    )
    wanted = ["cli.main", "run.tasks", "shards.stores", "delay", "errors"]
    assert sorted(imports_of("jobs/x.py", text)) == sorted(wanted)
    assert {module for _, module in upwards("jobs/x.py", text)} == {
        "cli.main", "run.tasks", "delay",
    }  # fmt: skip


def test_a_folder_imports_nothing_by_itself():
    """But `torch`, whose names users import from the folder: rooms of its own, and nothing else."""
    for path in PACKAGE.glob("*/__init__.py"):
        text = path.read_text()
        if floor_of(path) == "torch":
            assert {name.partition(".")[0] for name in imports_of(path, text)} == {"torch"}
            continue
        imported = [n for n in ast.walk(ast.parse(text)) if isinstance(n, IMPORTS)]
        assert imported == [], path


def test_no_room_is_too_long():
    lines = {name: text.count("\n") for name, text in rooms().items()}
    assert_only_shorter({n: size for n, size in lines.items() if size > LONGEST_ROOM}, LONG_ROOMS)


def test_no_function_is_too_long():
    found = {
        f"{name}: {function}": size
        for name, text in rooms().items()
        for function, size in functions_of(text)
        if size > LONGEST_FUNCTION
    }
    assert_only_shorter(found, LONG_FUNCTIONS)


def test_no_test_imports_a_test():
    for path in Path(__file__).parent.rglob("*.py"):
        text = path.read_text()
        assert not re.search(r"^\s*(from|import) (\w+\.)*test_", text, re.MULTILINE), path
