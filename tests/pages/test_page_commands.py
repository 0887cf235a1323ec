"""Every command in the pages and in the help's examples runs as it is printed.

Each one runs in a shell, in a folder of its own in which the names that it uses exist, made from
the sample data. Object stores are moto's on loopback. What runs on Ray is in test_on_ray.py, since
two clusters at once are in each other's way.
"""

import re
import shutil

import pytest
import yaml
from make import SAMPLE_DATA, delaytool
from pages import (
    ALL,
    COMMAND_LINE,
    EXTRA,
    NOT_RUN,
    ROOT,
    RUN,
    WAY,
    prepare,
    run_in_a_bucket,
    run_in_shell,
    yaml_example,
)


def test_every_line_that_looks_like_a_command_is_one():
    assert len(RUN) > 30
    assert not set(NOT_RUN) - set(ALL), "nothing is left out that is not there"
    for command in ALL:
        known = r"(delaytool (\w+|--\w+)|make \w|pip install |eval |\.ci/run$|\.venv/bin/)"
        script = r"python (sample_data/training/)?\w+\.py "
        assert re.match(f"{known}|{script}", command), command


def test_every_target_of_make_is_one():
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {c.split()[1] for c in ALL if c.startswith("make ")} <= set(targets)


@pytest.mark.parametrize(
    "extra", sorted({EXTRA.fullmatch(c)[1] for c in ALL if EXTRA.fullmatch(c)})
)
def test_extras_are_there(extra):
    text = (ROOT / "pyproject.toml").read_text()
    assert re.search(rf"^{extra} = \[", text, re.MULTILINE)


@pytest.mark.parametrize("command", [c for c in RUN if "s3://" not in c and "ray" not in c])
def test_it_runs(command, here):
    prepare(command, here)
    before = {path for path in here.rglob("*") if path.is_file()}
    done = run_in_shell(command, here)
    made = {path for path in here.rglob("*") if path.is_file()} - before
    writes = re.match(r"delaytool (align|apply|revert)\b|.*(>|--image) ", command)
    assert bool(made) == bool(writes)
    assert made or done.stdout or command.startswith("eval ")


@pytest.mark.parametrize("command", [c for c in RUN if "s3://" in c and "ray" not in c])
def test_it_runs_in_a_bucket(command, here, server):
    run_in_a_bucket(command, here, server)


def test_from_words_to_a_training_step(tmp_path):
    """The commands of the README, one after another, but the step itself: it needs torch.

    tests/tensors/test_training.py runs it with the others.
    """
    (tmp_path / "sample_data").symlink_to(SAMPLE_DATA)
    install, *ours, train = WAY
    assert [command.split()[1] for command in ours] == ["align", "apply", "verify", "inspect"]
    assert EXTRA.fullmatch(install)
    assert (ROOT / train.split()[1]).exists()
    for command in ours:
        assert run_in_shell(command, tmp_path).stdout


def test_the_hook_of_pre_commit(here):
    """What pre-commit demands of a hook, and that its command finds what is wrong, and only that.

    The arguments are the hook's, or those of the example in the pages in their place.
    """
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
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


def test_what_verify_and_stats_print_is_what_the_page_says(tmp_path):
    said = COMMAND_LINE.read_text()
    (printed,) = re.findall(r'^    (\{"verified": .*), \.\.\.\}$', said, re.MULTILINE)
    delaytool("apply", SAMPLE_DATA / "moshi", "shifted", cwd=tmp_path)
    command = ("verify", "shifted", "--source", SAMPLE_DATA / "moshi", "--preset", "moshi")
    assert delaytool(*command, "--json", cwd=tmp_path).stdout.startswith(printed)
    (report,) = re.findall(r"^    shifted/:\n(?:    .+\n)+", said, re.MULTILINE)
    printed = delaytool("stats", "shifted/", cwd=tmp_path).stdout
    assert re.sub(r"^    ", "", report, flags=re.MULTILINE) == printed
