"""The program around the commands: help, presets, tracebacks, completion in a shell."""

import json
import subprocess
import sys

import pytest
from make import SAMPLE_DATA, delaytool


def test_presets(tmp_path):
    printed = delaytool("presets", "--long").stdout
    for name in ("moshi", "moshi-pretrain", "moshi-finetune"):
        assert f"recipe ({name})" in printed
    recipe = json.loads(delaytool("presets", "moshi-pretrain").stdout)
    assert [stream["delay"] for stream in recipe["streams"]] == [0, *([0] + [2] * 7) * 2]
    (tmp_path / "r.json").write_text(json.dumps(recipe))
    delaytool("apply", SAMPLE_DATA / "moshi", tmp_path / "out", "--recipe", tmp_path / "r.json")
    delaytool("verify", tmp_path / "out", "--preset", "moshi-pretrain")
    assert "no preset is called 'x'" in delaytool("presets", "x", status=2).stderr


def test_help_has_headings_defaults_and_examples():
    printed = delaytool("apply", "--help").stdout
    for heading in ("What to do:", "Where the tokens are:", "What comes out:", "How to run:"):
        assert heading in printed
    assert printed.rstrip().splitlines()[-1].startswith("  delaytool apply ")
    assert delaytool("--version").stdout.startswith("delaytool, version ")


def test_debug_shows_the_traceback(data, tmp_path):
    (data / "a.parquet").write_text("no")
    command = [sys.executable, "-m", "delaytool", "apply", str(data), str(tmp_path / "o")]
    done = subprocess.run([*command, "--debug"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "Traceback" in done.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("apply", "data", "out", "--preset", "moshi-"), ["moshi-finetune", "moshi-pretrain"]),
        (("presets", "j"), ["j-moshi"]),
        (("apply", "data", "out", "--text-column", "t"), ["text_tokens", "tags"]),
        (("inspect", "data/a.parquet", "--audio-column", "a"), ["audio_codes"]),
        (("inspect", "data/a.parquet", "--labels", "--key", "i"), ["id"]),
        (("stats", "data", "--audio-column", "a"), ["audio_codes"]),
        (("stats", "data", "--preset", "moshi-"), ["moshi-finetune", "moshi-pretrain"]),
        (("apply", "nowhere", "out", "--key", ""), []),
        (("apply", "--length", "e"), ["extend"]),
        (("apply", "data", "out", "--no-w"), ["--no-weights"]),
    ],
)
def test_completion(words, expected, data, tmp_path):
    line = {"COMP_WORDS": " ".join(("delaytool", *words)), "COMP_CWORD": str(len(words))}
    done = delaytool(cwd=tmp_path, env={**line, "_DELAYTOOL_COMPLETE": "bash_complete"})
    assert done.stdout.split() == [f"plain,{word}" for word in expected]
