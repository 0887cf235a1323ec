"""What commands print: nothing when they are to be quiet, one JSON object where it is asked for."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from make import (
    PLAIN,
    deadly,
    delaytool,
    delaytool_process,
    errors_of,
    files_in,
    summary_of,
    tokens_table,
)

from delaytool.cli.progress import Lines
from delaytool.errors import KINDS
from delaytool.run.engine import RunProgress

PLACE = {"shard", "row", "key", "column", "stream", "timestep"}
ROOT = Path(__file__).parent.parent.parent


def error_of(done):
    """The error that a command printed as JSON, and how many there were."""
    printed = summary_of(done)
    assert printed.keys() == {"error", "errors"}
    assert printed["error"].keys() == {"kind", "message", "advice", *PLACE}
    return printed["error"], printed["errors"]


def test_quiet_commands_print_nothing(data, tmp_path):
    (data / "_old").mkdir()
    pq.write_table(tokens_table(), data / "_old" / "c.parquet")
    config = tmp_path / "config.json"
    model = {"n_q": 3, "delays": [0, 0, 1, 1], "dep_q": 3, "card": 2048, "text_card": 32000}
    model["existing_text_padding_id"] = 3
    config.write_text(json.dumps(model))
    for quiet in ("-q", "--quiet"):
        out, back = tmp_path / f"out{quiet}", tmp_path / f"back{quiet}"
        for command in (
            ("apply", data, out, "--model-config", config, "--text-padding", 3),
            ("verify", out, "--source", data),
            ("revert", out, back),
            ("stats", out),
            ("stats", data),
            ("inspect", out / "a.parquet"),
            ("inspect", out / "a.parquet", "--compare", data / "a.parquet"),
        ):
            done = delaytool(*command, quiet)
            assert done.stdout + done.stderr == "", command
            assert summary_of(delaytool(*command, "--json", quiet))
        done = delaytool("apply", data, out, *PLAIN, quiet, status=1)
        assert done.stderr.startswith("Error: ")


def test_errors_are_one_json_object(data, tmp_path):
    table = tokens_table(rows=4)
    rows = table.to_pylist()
    rows[2]["audio_codes"][1][0] = 2048
    pq.write_table(pa.Table.from_pylist(rows, table.schema), data / "a.parquet")
    done = delaytool("apply", data / "a.parquet", tmp_path / "o", *PLAIN, "--json", status=1)
    error, count = error_of(done)
    line, advice = errors_of(done)
    assert line == f"Error: {error['message']}"
    assert advice.strip().rstrip(".").lower() == error["advice"].lower()
    assert count == 1
    assert error["kind"] == "token"
    assert {name: error[name] for name in PLACE} == {
        "shard": "a.parquet", "row": 2, "key": "id 'utt-2'", "column": "audio_codes",
        "stream": "acoustic_1", "timestep": 0,
    }  # fmt: skip
    command = ("stats", data / "a.parquet", "--text-column", "x", "--json")
    error, count = error_of(delaytool(*command, status=1))
    assert error["kind"] in KINDS
    assert count == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("apply", "{data}"),
        ("apply", "{data}", "{out}", "--preset", "x"),
        ("apply", "{data}", "{out}", "--length", "cut"),
        ("apply", "{data}", "{out}", "--nonsense"),
        ("apply", "{data}/none", "{out}"),
        ("apply", "{data}", "{data}"),
        ("apply", "{data}", "{out}", "--recipe", "{data}/a.parquet"),
        ("inspect", "{data}/a.parquet", "--row", "0", "--id", "x"),
        ("inspect", "{data}"),
        ("inspect", "{data}/a.parquet", "--steps", "90:91"),
        ("nonsense",),
        (),
    ],
    ids=" ".join,
)
def test_usage_errors_are_one_json_object_too(data, tmp_path, arguments):
    words = [word.format(data=data, out=tmp_path / "out") for word in arguments]
    done = delaytool(*words, "--json", status=2)
    error, count = error_of(done)
    assert (error["kind"], count) == ("usage", 1)
    assert f"Error: {error['message']}" in done.stderr.splitlines()
    assert "--help" in error["advice"]
    assert not (tmp_path / "out").exists()


def test_all_deadly_shards_are_counted(data, tmp_path):
    for name in ("b.parquet", "c.parquet"):
        pq.write_table(tokens_table(), data / name)
    env = deadly(tmp_path / "site", "b.parquet", "SIGKILL")
    command = ("apply", data, tmp_path / "out", *PLAIN, "--workers", 2, "--json")
    error, count = error_of(delaytool_process(*command, status=1, env=env))
    assert (error["kind"], count) == ("killed", 2)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_is_one_json_object_too(data, tmp_path, name):
    env = deadly(tmp_path / "site", "a.parquet", name)
    status = 128 + signal.Signals[name]
    command = ("apply", data, tmp_path / "out", *PLAIN, "--workers", 1, "--json")
    error, count = error_of(delaytool_process(*command, status=status, env=env))
    assert (error["kind"], count) == ("stopped", 1)
    assert not (tmp_path / "out").exists()


def test_faults_of_the_program_are_one_json_object_too(data, tmp_path):
    fault = "import delaytool.api.apply as api; api.plan = None"
    code = f"{fault}; from delaytool.cli.main import program; program()"
    for debug in ([], ["--debug"]):
        command = [sys.executable, "-c", code, "apply", data, tmp_path / "o", "--json", *debug]
        done = subprocess.run([*map(str, command)], capture_output=True, text=True)
        assert done.returncode == 1
        assert error_of(done)[0]["kind"] == "failed"
        assert ("Traceback" in done.stderr) == bool(debug)


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (("apply", "a", "b", "--preset", "moshiko"), "did you mean moshi"),
        (("verify", "a", "--preset", "Higgs_Audio"), "did you mean higgs-audio"),
        (("presets", "moshi-pretain"), "did you mean moshi-pretrain"),
        (("presets", "xyz"), "there are moshi, "),
        (("aply",), "did you mean apply?"),
        (("xyz",), "there are align, "),
        (("apply", "a", "b", "--delay", 1), "--delays"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_the_nearest_name_is_suggested(arguments, meant):
    assert meant in delaytool(*arguments, status=2).stderr


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_refused_leaves_no_empty_folder(tmp_path, workers):
    """Two fail at once, each in folders that it may have made, or that the other has."""
    rows = tokens_table(rows=300).to_pylist()
    rows[-1]["text_tokens"] = None
    bad = pa.Table.from_pylist(rows, tokens_table().schema)
    (tmp_path / "data" / "x").mkdir(parents=True)
    for number in range(2):
        pq.write_table(bad, tmp_path / "data" / "x" / f"{number}.parquet")
    for number in range(5):
        out = tmp_path / f"out{number}" / "deep"
        delaytool("apply", tmp_path / "data", out, *PLAIN, "--workers", workers, status=1)
        assert not out.parent.exists()
    out.mkdir(parents=True)
    delaytool("apply", tmp_path / "data", out, *PLAIN, "--workers", workers, status=1)
    assert files_in(out) == {}
    assert list(out.iterdir()) == []


def test_no_terminal_gets_a_line_a_minute(capsys):
    seconds = iter([0, 30, 59, 61, 90, 121, 122])
    lines = Lines(lambda: next(seconds))
    for done in range(6):
        lines.show(RunProgress("shifting", done, 5, 10 * done, 50))
    printed = capsys.readouterr()
    assert printed.err.splitlines() == [
        "shifting: 40%, 2 of 5 shards done",
        "shifting: 80%, 4 of 5 shards done",
    ]
    assert printed.out == ""


def test_short_runs_show_no_progress_where_there_is_no_terminal(data, tmp_path):
    done = delaytool("apply", data, tmp_path / "out", *PLAIN)
    assert "shifting" not in done.stderr
    assert "\r" not in done.stderr


def test_presets_have_a_line_each():
    head, *lines = delaytool("presets").stdout.splitlines()
    assert head.startswith("preset ")
    names = [line.split()[0] for line in lines]
    assert len(names) == len(set(names))
    assert {"moshi", "dia", "musicgen"} <= set(names)
    assert all(len(line) <= 100 and len(line.split()) > 2 for line in lines)
    whole = delaytool("presets", "--long").stdout
    assert all(f"recipe ({name})" in whole for name in names)
    assert whole.count("Source: ") == len(names)
    assert delaytool("presets", "moshi", "--long").stdout in whole


def test_make_help_ends_with_the_targets():
    done = subprocess.run(
        ["make", "--no-print-directory", "help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert all(line.startswith("make ") for line in done.stdout.splitlines())
