"""Every command in the README and in the help's examples runs as it is printed.

Each one runs in a shell, in a folder of its own in which the names that it uses exist, made from
the sample data. Object stores are moto's on loopback. What runs on Ray is in test_on_ray.py, since
two clusters at once are in each other's way.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.fs as pafs
import pytest
import yaml
from make import PATIENCE, SAMPLE_DATA, delaytool
from test_readme import BEGIN, COMMANDS, END, README
from test_stores import KEYS

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


def yaml_example(key):
    """The one of the README's examples in YAML that has a key at its top."""
    examples = re.findall(r"```yaml\n(.*?)```", README.read_text(), re.DOTALL)
    (found,) = [each for each in map(yaml.safe_load, examples) if key in each]
    return found


def readme_commands():
    """The commands of the README, outside of the help that is generated."""
    text = README.read_text()
    before, rest = text.split(BEGIN)
    own = before + rest.split(END)[1]
    prose = re.sub(r"```.*?```", "", own, flags=re.DOTALL)
    found = [line.strip() for line in prose.splitlines() if re.match(r" {4}\S", line)]
    found = [line for line in found if re.match(r"(delaytool|make|pip|eval) ", line)]
    found += INLINE.findall(prose.replace("\n", " "))
    jobs = yaml_example("jobs")["jobs"].values()
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


def prepare(command, here):
    """What the command reads is there, and what it writes is not."""
    if not command.startswith("delaytool apply"):
        made = "paired" if "--audio-output" in command else "shifted"
        (here / "made" / made).rename(here / "shifted")
    if "--audio-output" in command:
        shutil.rmtree(here / "text")
    if command.startswith(("delaytool revert", "delaytool apply data/")):
        shutil.rmtree(here / "codes")


def run_in_shell(command, folder, **env):
    scripts = str(Path(sys.executable).parent)
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={**os.environ, **env, "PATH": f"{scripts}:{os.environ['PATH']}", "COLUMNS": "100"},
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done


@pytest.mark.parametrize("command", [c for c in RUN if "s3://" not in c and "ray" not in c])
def test_it_runs(command, here):
    prepare(command, here)
    before = {path for path in here.rglob("*") if path.is_file()}
    done = run_in_shell(command, here)
    made = {path for path in here.rglob("*") if path.is_file()} - before
    writes = re.match(r"delaytool (apply|revert)\b|.*(>|--image) ", command)
    assert bool(made) == bool(writes)
    assert made or done.stdout or command.startswith("eval ")


def run_in_a_bucket(command, here, server):
    """Run a command with s3://bucket as a bucket with the data."""
    client = pafs.S3FileSystem(
        access_key="AKIATESTING",
        secret_key="topsecretvalue",
        endpoint_override=server,
        scheme="http",
        region="us-east-1",
        allow_bucket_creation=True,
    )
    client.create_dir("bucket")
    client.delete_dir_contents("bucket")
    for name in ("data", "made/shifted"):
        path = f"bucket/{Path(name).name}/train-00000.parquet"
        with client.open_output_stream(path) as stream:
            stream.write((here / name / "train-00000.parquet").read_bytes())
    env = {"AWS_ENDPOINT_URL": f"http://{server}", "AWS_REGION": "us-east-1", **KEYS}
    path = "bucket/shifted/train-00000.parquet"
    if " apply " in command:
        client.delete_file(path)
    run_in_shell(command, here, **env)
    with client.open_input_file(path) as stream:
        assert stream.read() == (here / "made" / "shifted" / "train-00000.parquet").read_bytes()


@pytest.mark.parametrize("command", [c for c in RUN if "s3://" in c and "ray" not in c])
def test_it_runs_in_a_bucket(command, here, server):
    run_in_a_bucket(command, here, server)


def test_the_hook_of_pre_commit(here):
    """What pre-commit demands of a hook, and that its command finds what is wrong, and only that.

    The arguments are the hook's own, or those of the README's example in their place.
    """
    (hook,) = yaml.safe_load((README.parent / ".pre-commit-hooks.yaml").read_text())
    assert {"id", "name", "entry", "language"} <= hook.keys()
    assert hook["language"] == "python"
    (repository,) = yaml_example("repos")["repos"]
    assert {"repo", "rev"} < repository.keys()
    (used,) = repository["hooks"]
    assert used["id"] == hook["id"]
    (here / "made" / "shifted").rename(here / "shifted")
    for arguments in (hook["args"], used["args"]):
        run_in_shell(" ".join([hook["entry"], *arguments]), here)
    shutil.copy(here / "data" / "train-00000.parquet", here / "shifted")
    for arguments in (hook["args"], used["args"]):
        _, *command = [*hook["entry"].split(), *arguments]
        done = delaytool(*command, cwd=here, status=1)
        assert "expected a delaytool entry in the footer" in done.stderr


def test_what_verify_prints_is_what_the_readme_says(tmp_path):
    (printed,) = re.findall(r'^    (\{"verified": .*), \.\.\.\}$', README.read_text(), re.MULTILINE)
    delaytool("apply", SAMPLE_DATA / "moshi", "shifted", cwd=tmp_path)
    command = ("verify", "shifted", "--source", SAMPLE_DATA / "moshi", "--preset", "moshi")
    assert delaytool(*command, "--json", cwd=tmp_path).stdout.startswith(printed)
