"""Shifted shards for the tests of tensors, which need torch."""

import importlib.util
import os

import pyarrow.parquet as pq
import pytest
from make import PLAIN, delaytool, entry_of, rewrite, tokens_table

if not all(importlib.util.find_spec(name) for name in ("torch", "torchdata")):
    collect_ignore_glob = ["*.py"]
else:
    import torch

    # Models here are so small that threads and compiled functions take longer than they save.
    torch.set_num_threads(1)
    os.environ["NO_TORCH_COMPILE"] = "1"


@pytest.fixture(scope="session")
def shifted(tmp_path_factory):
    """A function that shifts shards of so many rows, in row groups of so many; ids are 0, 1, ..."""

    def make(*sizes, group=7, options=()):
        folder = tmp_path_factory.mktemp("rows")
        (folder / "data").mkdir()
        first = 0
        for number, size in enumerate(sizes):
            ids = list(range(first, first + size))
            table = tokens_table(rows=size, seed=number, id=ids)
            pq.write_table(table, folder / "data" / f"{number}.parquet")
            first += size
        delaytool("apply", folder / "data", folder / "shifted", *PLAIN, *options)
        for path in (folder / "shifted").iterdir():
            rewrite(path, pq.read_table(path), entry_of(path), group=group)
        return folder / "shifted"

    return make


@pytest.fixture(scope="session")
def rows47(shifted):
    """47 rows in 3 shards and 8 row groups."""
    return shifted(20, 5, 22)
