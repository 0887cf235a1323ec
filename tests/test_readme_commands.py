"""Every command in the README and in the help's examples runs as it is printed.

Each one runs in a shell, in a folder of its own in which the names that it uses exist, made from
the sample data. Object stores are moto's on loopback, the Ray cluster is one of this machine.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from make import SAMPLE_DATA, delaytool
from test_readme import BEGIN, COMMANDS, END, README

from delaytool import delay, load_preset

pytest_plugins = ["test_stores"]

NOT_RUN = {
    "make demo": "CI runs it, on a plain install",
    "make test": "CI runs it: this is part of it",
    "make test-torch": "CI runs it",
    "make lint": "CI runs it",
    "make bench": "takes a quarter of an hour",
    "make readme": "writes the README, which is checked",
    "pip install .": "`make demo` does it",
    "pip install delaytool": "is for when it is published",
}
EXTRA = re.compile(r"pip install '\.?(?:delaytool)?\[(\w+)\]'")
INLINE = re.compile(r"`((?:delaytool|make|pip|eval) [^`]+)`")


def readme_commands():
    """The commands of the README, outside of the help that is generated."""
    text = README.read_text()
    before, rest = text.split(BEGIN)
    own = before + rest.split(END)[1]
    prose = re.sub(r"```.*?```", "", own, flags=re.DOTALL)
    found = [line.strip() for line in prose.splitlines() if re.match(r" {4}\S", line)]
    found = [line for line in found if re.match(r"(delaytool|make|pip|eval) ", line)]
    found += INLINE.findall(prose.replace("\n", " "))
    for workflow in re.findall(r"```yaml\n(.*?)```", own, re.DOTALL):
        jobs = yaml.safe_load(workflow)["jobs"].values()
        found += [step["run"] for job in jobs for step in job["steps"] if "run" in step]
    return [re.sub(r"\s+#.*", "", command) for command in found]


def help_commands():
    """The examples of every command's help."""
    found = []
    for command in COMMANDS[1:]:
        printed = delaytool(*command, "--help").stdout
        found += [line.strip() for line in printed.split("Examples:\n")[1].splitlines()]
    return [re.sub(r"\s+#.*", "", command) for command in found]


ALL = list(dict.fromkeys([*readme_commands(), *help_commands()]))
RUN = [command for command in ALL if command not in NOT_RUN and not EXTRA.fullmatch(command)]


def test_every_line_that_looks_like_a_command_is_one():
    assert len(RUN) > 30
    assert not set(NOT_RUN) - set(ALL), "nothing is left out that is not there"
    for command in ALL:
        assert re.match(r"(delaytool (\w+|--\w+)|make \w|pip install |eval )", command), command


@pytest.mark.parametrize(
    "extra", sorted({EXTRA.fullmatch(c)[1] for c in ALL if EXTRA.fullmatch(c)})
)
def test_extras_are_there(extra):
    text = (README.parent / "pyproject.toml").read_text()
    assert re.search(rf"^{extra} = \[", text, re.MULTILINE)


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """A folder with everything that the commands name."""
    folder = tmp_path_factory.mktemp("names")
    table = pq.read_table(SAMPLE_DATA / "moshi" / "train-00000-of-00002.parquet")
    rows = table.num_rows
    ids = pa.array([f"utt-{row}" for row in range(rows)])
    table = table.set_column(table.column_names.index("id"), "id", ids)

    def write(name, part):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(part, path)

    write("data/train-00000.parquet", table)
    write("text/a.parquet", table.drop_columns(["audio_codes"]))
    write("codes/a.parquet", table.select(["id", "audio_codes"]))
    grids = []
    for first in (0, 8):
        pairs = zip(table["text_tokens"].to_pylist(), table["audio_codes"].to_pylist(), strict=True)
        grids.append(pa.array([[text, *codes[first : first + 8]] for text, codes in pairs]))
    dialogues = pa.table({"dialogue_id": ids, "A": grids[0], "B": grids[1]})
    write("a/a.parquet", dialogues)
    write("dialogues/a.parquet", dialogues)
    recipe = load_preset("musicgen")
    codes = [delay([[7, 8, 9], [1, 2, 3], [4, 5, 6], [0, 1, 2]], recipe).tolist()]
    write("generated.parquet", pa.table({"codes": codes}))
    write("generated/a.parquet", pa.table({"codes": codes}))
    delaytool("apply", "data", "made/shifted", cwd=folder)
    paired = ("--audio-input", "codes", "--key", "id")
    delaytool("apply", "text", "made/paired", *paired, cwd=folder)
    return folder


@pytest.fixture
def here(names, tmp_path):
    """A copy of it, to run one command in."""
    return Path(shutil.copytree(names, tmp_path / "here"))


def prepare(command, here):
    """What the command reads is there, and what it writes is not."""
    if not command.startswith("delaytool apply"):
        made = "paired" if "--audio-output" in command else "shifted"
        (here / "made" / made).rename(here / "shifted")
    if "--audio-output" in command:
        shutil.rmtree(here / "text")
    if command.startswith(("delaytool revert", "delaytool apply data/")):
        shutil.rmtree(here / "codes")


@pytest.fixture
def stores_of(request, here):
    """The environment in which s3://bucket is a bucket with the data."""

    def start():
        server = request.getfixturevalue("server")
        _, client = request.getfixturevalue("bucket")
        client.create_dir("bucket")
        client.delete_dir_contents("bucket")
        for name in ("data", "made/shifted"):
            path = f"bucket/{Path(name).name}/train-00000.parquet"
            with client.open_output_stream(path) as stream:
                stream.write((here / name / "train-00000.parquet").read_bytes())
        return {"AWS_ENDPOINT_URL": f"http://{server}", "AWS_REGION": "us-east-1"}, client

    return start


def run_in_shell(command, folder, **env):
    scripts = str(Path(sys.executable).parent)
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **env, "PATH": f"{scripts}:{os.environ['PATH']}", "COLUMNS": "100"},
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done


@pytest.mark.parametrize("command", [c for c in RUN if "s3://" not in c and "ray://" not in c])
def test_it_runs(command, here):
    prepare(command, here)
    before = {path for path in here.rglob("*") if path.is_file()}
    done = run_in_shell(command, here)
    made = {path for path in here.rglob("*") if path.is_file()} - before
    writes = re.match(r"delaytool (apply|revert)\b|.*(>|--image) ", command)
    assert bool(made) == bool(writes)
    assert made or done.stdout or command.startswith("eval ")


@pytest.mark.parametrize("command", [c for c in RUN if "s3://" in c])
def test_it_runs_in_a_bucket(command, here, stores_of):
    env, client = stores_of()
    path = "bucket/shifted/train-00000.parquet"
    if " apply " in command:
        client.delete_file(path)
    run_in_shell(command, here, **env)
    with client.open_input_file(path) as stream:
        assert stream.read() == (here / "made" / "shifted" / "train-00000.parquet").read_bytes()


@pytest.mark.parametrize("command", [c for c in RUN if "ray://" in c])
def test_it_runs_on_a_cluster(command, here):
    from ray.cluster_utils import Cluster
    from test_stores import free_port

    prepare(command, here)
    port = free_port()
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 2, "ray_client_server_port": port}
    )
    try:
        # There is no host of this name here.
        run_in_shell(command.replace("ray://head:10001", f"ray://127.0.0.1:{port}"), here)
    finally:
        cluster.shutdown()
    (made,) = (here / "shifted").iterdir()
    assert made.read_bytes() == (here / "made" / "shifted" / made.name).read_bytes()


def test_the_hook_of_pre_commit():
    """What pre-commit demands of a hook, and that the command takes its arguments."""
    (hook,) = yaml.safe_load((README.parent / ".pre-commit-hooks.yaml").read_text())
    assert {"id", "name", "entry", "language"} <= hook.keys()
    assert hook["language"] == "python"
    assert f"`{hook['id']}`" in README.read_text()
    command = [*hook["entry"].split(), *hook["args"]]
    assert command[0] == "delaytool"
    delaytool(*command[1:-2], SAMPLE_DATA / "moshi", "--quiet", status=1)
