"""The project's pages: what stands in them, and how a test runs their commands.

`python tests/pages.py` writes the help texts into the page of the command line.

A command stands in a page on an indented line, between backquotes in a sentence, in a step of a
workflow, or among the examples of a help text. Fenced blocks hold no commands but a workflow's.
"""

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow.fs as pafs
import yaml
from make import KEYS, delaytool_process

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
CHANGELOG = ROOT / "CHANGELOG.md"
CONTRIBUTING = ROOT / ".github" / "CONTRIBUTING.md"
COMMAND_LINE = ROOT / "delaytool" / "cli" / "README.md"
COMMANDS = (
    (),
    ("align",),
    ("apply",),
    ("verify",),
    ("revert",),
    ("inspect",),
    ("stats",),
    ("presets",),
)
BEGIN, END = "<!-- help -->\n", "<!-- end of help -->\n"
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)

NOT_RUN = {
    "make demo": "CI runs it, on a plain install",
    "make test": "CI runs it: this is part of it",
    "make test-deep": "CI runs it",
    "make test-torch": "CI runs it",
    "make test-oldest": "CI runs it",
    "make lint": "CI runs it",
    "make bench": "takes a quarter of an hour",
    "make readme": "writes the help texts, which are checked",
    "make sample_data": "writes the sample data, which is in the repository",
    "make clean": "removes what the tests run in",
    ".ci/run": "CI runs it",
    ".venv/bin/python -m pytest tests/pages": "is part of `make test`",
    ".venv/bin/python -m pytest tests/run --deep -k kill": "is part of `make test-deep`",
    ".venv/bin/python tests/benchmarks/words.py interleaver.py": "needs moshi-finetune and torch",
    ".venv/bin/ruff format .": "changes files; `make lint` runs it with --check",
    "pip install .": "`make demo` does it",
    "python moshi_finetune.py train.py": "needs a clone of moshi-finetune",
    "pip install delaytool": "is for when it is published",
}
EXTRA = re.compile(r"pip install '\.?(?:delaytool)?\[(\w+)\]'")
_A_COMMAND = r"(?:delaytool|make|pip|eval|git|python|\.venv/bin/\w+|\.ci/run)"
_INDENTED = re.compile(rf"^ {{4}}({_A_COMMAND}(?: .+)?)$", re.MULTILINE)
_INLINE = re.compile(rf"`({_A_COMMAND} [^`]+|\.ci/run)`")


def all_pages():
    """Every page of the repository, the README first."""
    found = [README, CHANGELOG, *sorted(ROOT.glob(".github/*.md"))]
    for folder in ("delaytool", "sample_data", "tests"):
        pages = sorted(ROOT.glob(f"{folder}/**/*.md"))
        found += [page for page in pages if "/." not in page.relative_to(ROOT).as_posix()]
    return found


def name_of(page):
    """A page as its path in the repository."""
    return page.relative_to(ROOT).as_posix()


def with_help(text):
    """A page with the help text of every command between its marks."""

    def printed(command):
        return delaytool_process(*command, "--help").stdout

    with ThreadPoolExecutor(2) as threads:
        parts = [
            f"### {' '.join(('delaytool', *command))}\n\n```text\n{text}```\n"
            for command, text in zip(COMMANDS, threads.map(printed, COMMANDS), strict=True)
        ]
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return before + BEGIN + "\n" + "\n".join(parts) + "\n" + END + after


def examples(language, *pages):
    """The fenced blocks in a language, of these pages or of all, in their order."""
    return [
        block
        for page in pages or all_pages()
        for name, block in FENCED.findall(page.read_text())
        if name == language
    ]


def example_with(text):
    """The one example in Python that has a text in it."""
    (found,) = [example for example in examples("python") if text in example]
    return found


def yaml_example(key):
    """The one of the examples in YAML that has a key at its top."""
    (found,) = [each for each in map(yaml.safe_load, examples("yaml")) if key in each]
    return found


def commands_in(text):
    """The commands of a page or a part of one, on indented lines and between backquotes."""
    prose = FENCED.sub("", text)
    found = _INDENTED.findall(prose) + _INLINE.findall(prose.replace("\n", " "))
    return [without_comment(command) for command in found]


def commands_of(page):
    """The commands of a page, outside of the help that is generated."""
    found = commands_in(page.read_text())
    for workflow in map(yaml.safe_load, examples("yaml", page)):
        for job in workflow.get("jobs", {}).values():
            found += [without_comment(step["run"]) for step in job["steps"] if "run" in step]
    return found


def without_comment(command):
    """A command as a shell understands it."""
    return re.sub(r"\s+#.*", "", command)


def section(page, heading):
    """What stands below one of a page's headings, up to the next one."""
    _, _, rest = page.read_text().partition(f"\n## {heading}\n")
    assert rest, heading
    return rest.partition("\n## ")[0]


def help_commands():
    """The examples of every command's help, from the page that is checked against the tool."""
    found = []
    for block in examples("text", COMMAND_LINE):
        _, _, lines = block.partition("Examples:\n")
        found += [without_comment(line.strip()) for line in lines.splitlines()]
    return found


def all_commands():
    """Every command once, of all pages but the changelog, which names commands without a job."""
    found = [command for page in all_pages() if page != CHANGELOG for command in commands_of(page)]
    return list(dict.fromkeys([*found, *help_commands()]))


ALL = all_commands()
WAY = commands_in(section(README, "From words to a falling loss"))
"""Commands that follow one another, and are run so."""
SCRIPTS = [command for command in ALL if command.startswith("python sample_data/training/")]
"""Those that need torch: tests/tensors runs them."""
RUN = [
    command
    for command in ALL
    if command not in (*NOT_RUN, *WAY, *SCRIPTS) and not EXTRA.fullmatch(command)
]


def prepare(command, here):
    """What the command reads is there, and what it writes is not."""
    if not command.startswith("delaytool apply"):
        made = "paired" if "--audio-output" in command else "shifted"
        (here / "made" / made).rename(here / "shifted")
    if "--audio-output" in command:
        shutil.rmtree(here / "text")
    if command.startswith("delaytool align"):
        shutil.rmtree(here / "aligned")
    if command.startswith(("delaytool revert", "delaytool apply data/")):
        shutil.rmtree(here / "codes")
    if "--quarantine bad/" in command:
        # What is there are the bad rows of other data, and a repaired one.
        shutil.rmtree(here / "bad")
    for name in re.findall(r"> (\S+)", command):
        (here / name).unlink(missing_ok=True)


def run_in_shell(command, folder, **env):
    """Run a command as it is printed; the finished process."""
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


def run_in_a_bucket(command, here, server):
    """Run a command with s3://bucket as a bucket with the data."""
    client = pafs.S3FileSystem(
        access_key=KEYS["AWS_ACCESS_KEY_ID"],
        secret_key=KEYS["AWS_SECRET_ACCESS_KEY"],
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


def heading_anchors(page):
    """The anchors that GitHub gives a page's headings."""
    anchors = []
    for heading in re.findall(r"^#{1,6} (.+)$", FENCED.sub("", page.read_text()), re.MULTILINE):
        anchor = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        earlier = sum(each == anchor for each in anchors)
        anchors.append(f"{anchor}-{earlier}" if earlier else anchor)
    return anchors


def links_of(page):
    """Where a page's links lead, outside of code."""
    prose = re.sub(r"`[^`\n]*`", "code", FENCED.sub("", page.read_text()))
    return re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", prose)


if __name__ == "__main__":
    COMMAND_LINE.write_text(with_help(COMMAND_LINE.read_text()))
