"""Small tables and shards for the tests."""

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from delaytool.batches.columns import ColumnOptions, find_columns
from delaytool.batches.job import make_job
from delaytool.batches.layouts import Column
from delaytool.recipes.adapt import adapt
from delaytool.recipes.presets import plain_recipe

SAMPLE_DATA = Path(__file__).parent.parent / "sample_data"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIATESTING", "AWS_SECRET_ACCESS_KEY": "topsecretvalue"}
"""What a client sends to the object store of the tests, in the environment."""
PATIENCE = 300
"""Seconds after which a process is taken to hang, on a busy machine too."""
QUARANTINE = "delaytool-quarantine"
"""The entry of a shard of quarantined rows."""


def tokens_table(rows=12, n_q=3, seed=0, longest=30, text_type=None, codes_type=None, **columns):
    """A table with ids, text, codes, and pass-through columns of several kinds."""
    random = np.random.default_rng(seed)
    lengths = random.integers(1, longest, size=rows)
    return pa.table(
        {
            "id": [f"utt-{row}" for row in range(rows)],
            "text_tokens": pa.array(
                [random.integers(0, 6, size=n).tolist() for n in lengths],
                pa.list_(text_type or pa.int32()),
            ),
            "speaker": pa.array(random.choice(["ann", "bob", None], size=rows), pa.string()),
            "audio_codes": pa.array(
                [random.integers(0, 2048, size=(n_q, n)).tolist() for n in lengths],
                pa.list_(pa.list_(codes_type or pa.int16())),
            ),
            "score": pa.array(random.normal(size=rows), pa.float64()),
            "tags": pa.array([[str(x)] * (x % 3) for x in range(rows)], pa.list_(pa.string())),
            **columns,
        }
    )


def tokens_job(n_q=3, delays=(0, 0, 1, 2), **changes):
    """A job on such a table."""
    return job_on(tokens_table(n_q=n_q), adapt(plain_recipe(n_q, delays), **changes), key="id")


def plain_job(recipe, text="text_tokens", audio="audio_codes", **where):
    """A job on a column of text and a codebook-major one of codes."""
    columns = [Column(text, 0, 1, "list", 1)] if recipe.has_text else []
    if recipe.n_q:
        columns.append(Column(audio, len(columns), recipe.n_q, "codebook", recipe.n_q))
    return make_job(recipe, ColumnOptions(**where), tuple(columns))


def job_on(table, recipe, **where):
    """A job on a table, its columns found as the command does."""
    columns = find_columns(ColumnOptions(**where), table.schema, recipe, table.to_batches())
    return make_job(recipe, ColumnOptions(**where), columns)


def finish(steps):
    """Run a job's generator to its end; what it returns."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


@dataclass(frozen=True)
class Steps:
    """A task that takes the steps of a generator function."""

    name: str
    size: int
    function: Callable
    arguments: tuple
    paths: tuple = ()

    def run(self):
        return self.function(*self.arguments)

    def abandon(self):
        """Nothing is left to clean up."""


def rewrite(path, table, entry, name="delaytool"):
    """Write a table over an output shard, with a delaytool entry as it was."""
    with pq.ParquetWriter(path, table.schema) as writer:
        writer.write_table(table)
        if entry is not None:
            writer.add_key_value_metadata({name: entry})


def entry_of(path, name="delaytool"):
    """The delaytool entry of a shard."""
    return pq.read_metadata(path).metadata[name.encode()]


def delaytool(*arguments, status=0, cwd=None, env=None):
    """Run the command as a user does; the finished process."""
    done = subprocess.run(
        [sys.executable, "-m", "delaytool", *(str(argument) for argument in arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "100", **(env or {})},
        timeout=PATIENCE,
    )
    assert done.returncode == status, f"{done.args}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    return done


def summary_of(done):
    """The JSON that a command printed."""
    with contextlib.suppress(ValueError):
        return json.loads(done.stdout)
    raise AssertionError(f"no JSON: {done.stdout!r}")


def files_in(folder):
    """Every file below a folder, hidden ones too, with its bytes."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file()
    }


def free_port():
    """A port of loopback that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
