"""Small tables and shards for the tests."""

import contextlib
import dataclasses
import importlib
import io
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from inspect import signature
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from delaytool.batches.column_options import ColumnOptions
from delaytool.batches.columns import find_columns
from delaytool.batches.job import make_job
from delaytool.batches.layouts import CODEBOOK, LIST, Column
from delaytool.cli.main import main
from delaytool.recipes.presets import plain_recipe
from delaytool.shards.find import find_shards

PLAIN = ("--n-q", 3, "--delays", "0,0,1,2")
"""The options of a recipe that fits `tokens_table`."""
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


def tokens_job(n_q=3, delays=(0, 0, 1, 2), **fields):
    """A job on such a table, with these fields of its recipe."""
    recipe = dataclasses.replace(plain_recipe(n_q, delays), **fields)
    return job_on(tokens_table(n_q=n_q), recipe, key="id")


def plain_job(recipe, text="text_tokens", audio="audio_codes", **where):
    """A job on a column of text and a codebook-major one of codes."""
    names = [text] if len(recipe.text) == 1 else [f"{text}_{k}" for k in recipe.text_numbers]
    pairs = zip(names, recipe.text_numbers, strict=True) if recipe.has_text else ()
    columns = [Column(name, (number,), LIST, 1) for name, number in pairs]
    if recipe.n_q:
        columns.append(Column(audio, recipe.audio_numbers, CODEBOOK, recipe.n_q))
    return make_job(recipe, ColumnOptions(**where), tuple(columns))


def job_on(table, recipe, **where):
    """A job on a table, its columns found as the command does."""
    columns = find_columns(ColumnOptions(**where), table.schema, recipe, table.to_batches())
    return make_job(recipe, ColumnOptions(**where), columns)


def sentencepiece_model(**options):
    """The content of a small SentencePiece model; left out where the package is missing."""
    sentencepiece = pytest.importorskip("sentencepiece")
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["the quick brown fox jumps over the lazy dog"] * 20),
        model_writer=model,
        vocab_size=300 if options.get("byte_fallback") else 40,
        hard_vocab_limit=False,
        minloglevel=2,
        **options,
    )
    return model.getvalue()


def training_script(name):
    """A script of sample_data/training as a module, which may import those beside it."""
    folder = str(SAMPLE_DATA / "training")
    if folder not in sys.path:
        sys.path.append(folder)
    return importlib.import_module(name)


def without_marks(schema_or_type):
    """The same as text, without the marks that say what is never null."""
    return str(schema_or_type).replace(" not null", "")


def kind_of(rows, name):
    """The type of a column of a table, without these marks."""
    return without_marks(rows.schema.field(name).type)


def table_of(rows, schema):
    """A table of rows; where one is null that may not be, of a schema that lets it."""
    table = pa.Table.from_pylist(rows, schema)
    try:
        pq.write_table(table, io.BytesIO())
    except pa.ArrowInvalid:
        return pa.Table.from_pylist(rows, pa.schema(map(nullable, schema), schema.metadata))
    return table


def nullable(field):
    """A field, of lists if it is, that lets what it holds be null."""
    kind = field.type
    if pa.types.is_fixed_size_list(kind):
        field = field.with_type(pa.list_(nullable(kind.value_field), kind.list_size))
    elif pa.types.is_list(kind):
        field = field.with_type(pa.list_(nullable(kind.value_field)))
    return field.with_nullable(True)


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


def rewrite(path, table, entry, name="delaytool", group=None):
    """Write a table over an output shard, with a delaytool entry as it was.

    group: rows in a row group
    """
    with pq.ParquetWriter(path, table.schema) as writer:
        writer.write_table(table, group)
        if entry is not None:
            writer.add_key_value_metadata({name: entry})


def entry_of(path, name="delaytool"):
    """The delaytool entry of a shard."""
    return pq.read_metadata(path).metadata[name.encode()]


# Before click 8.2 standard error is mixed into the output unless told not to.
APART = {"mix_stderr": False} if "mix_stderr" in signature(CliRunner).parameters else {}


def delaytool(*arguments, status=0, cwd=None, env=None):
    """Run the command in this process; what it printed and its exit status.

    On one worker, unless the arguments say otherwise: each one is a process that has to start.
    """
    alone = {"workers": 1}
    before = os.getcwd()
    os.chdir(cwd or before)
    try:
        result = CliRunner(**APART).invoke(
            main,
            [str(argument) for argument in arguments],
            prog_name="delaytool",
            env={"COLUMNS": "100", **(env or {})},
            default_map=dict.fromkeys(("align", "apply", "verify", "revert", "stats"), alone),
            catch_exceptions=False,
        )
    finally:
        os.chdir(before)
    done = subprocess.CompletedProcess(arguments, result.exit_code, result.stdout, result.stderr)
    return _ended(done, status)


def delaytool_process(*arguments, status=0, cwd=None, env=None):
    """Run the command in a process of its own, as a user does; the finished process."""
    done = subprocess.run(
        [sys.executable, "-m", "delaytool", *(str(argument) for argument in arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "100", **(env or {})},
        timeout=PATIENCE,
    )
    return _ended(done, status)


def _ended(done, status):
    assert done.returncode == status, f"{done.args}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    return done


# The signal goes to the thread that opens the file: sent to the process, another thread might take
# it, and this one read on.
DEADLY = """
import os, signal, sys

def look(event, arguments):
    if event == "open" and os.path.basename(str(arguments[0])) == "{name}":
        signal.raise_signal(signal.{signal})

if any("{among}" in part for part in sys.orig_argv):
    sys.addaudithook(look)
"""


def deep(*values):
    """One more value of a parameter, or of several, which only --deep goes through."""
    return pytest.param(*values, marks=pytest.mark.deep)


def deadly(folder, name, signal, among=""):
    """An environment in which whatever opens a file dies, as of a fault in a library.

    name: the file's, without its folder
    among: what the command of a process has in it that may die
    """
    folder.mkdir()
    code = DEADLY.format(name=name, signal=signal, among=among)
    (folder / "sitecustomize.py").write_text(code)
    return {"PYTHONPATH": f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}


def summary_of(done):
    """The JSON that a command printed."""
    with contextlib.suppress(ValueError):
        return json.loads(done.stdout)
    raise AssertionError(f"no JSON: {done.stdout!r}")


def errors_of(done):
    """The error line that a command printed, and what follows: what to do."""
    lines = done.stderr.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("Error: "))
    return lines[first:]


def files_in(folder):
    """Every file below a folder, hidden ones too, with its bytes."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file()
    }


def touch(folder, files=(), links=()):
    """Empty files, and links as pairs of a name and where it leads."""
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    for name, target in links:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(target)


def shard_names(path, **options):
    """The names of the shards that are found at a path."""
    return [shard.name for shard in find_shards(str(path), **options).shards]


def wait_for_port(port, process=None):
    """Return once somebody listens at a port of loopback: this process, if one is given."""
    until = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        assert process is None or process.poll() is None, "who should listen has ended"
        assert time.monotonic() < until, "nobody listens"
        time.sleep(0.1)


def free_port():
    """A port of loopback that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Ranges(SimpleHTTPRequestHandler):
    """Serves parts of files, as stores on the web do."""

    def log_message(self, *_):
        pass

    def do_GET(self):
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes()
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "bytes=0-"))
        first, last = int(wanted[1]), int(wanted[2] or len(content) - 1)
        part = content[first : last + 1]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{first + len(part) - 1}/{len(content)}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)


@contextlib.contextmanager
def on_the_web(folder):
    """The address of a folder's files, which a server has them at meanwhile."""
    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), lambda *given: Ranges(*given, directory=str(folder))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
