"""Files, columns and rows may be called anything: they are found, and drive nothing."""

import json
import os
import shutil
import subprocess
import sys
import xml.dom.minidom

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from make import PLAIN, delaytool, delaytool_process, errors_of, files_in, summary_of, tokens_table

EVIL = "\x1b]0;x\x07\x1b[31m\r\n::warning::y\u202e\u2028\x9b$a$##[error]\x7f"
"""An escape sequence, lines of their own that GitHub obeys, letters turned around, mathematics."""


def obeyed(text):
    """Lines that a terminal or a log obeys."""
    return [
        line
        for line in text.split("\n")
        if "##[" in line
        or (line.lstrip().startswith("::") and not line.startswith("::error file="))
        or not line.isprintable()
    ]


@pytest.mark.parametrize(
    ("name", "output"),
    [
        ("a.pq", "a.parquet"),
        ("a.parq", "a.parquet"),
        ("a.PARQUET", "a.parquet"),
        ("a.parquet.snappy", "a.parquet"),
        ("a.pq.gz", "a.parquet"),
        ("a.snappy.parquet", "a.snappy.parquet"),
        ("part.0", "part.0.parquet"),
        ("a", "a.parquet"),
        (".a.parquet", "a.parquet"),
        ("_a.parquet", "_a.parquet"),
    ],
)
def test_outputs_are_found_whatever_the_shard_is_called(tmp_path, name, output):
    path, out, back = tmp_path / name, tmp_path / "out", tmp_path / "back"
    pq.write_table(tokens_table(), path)
    done = delaytool("apply", path, out, *PLAIN, "--quarantine", tmp_path / "bad")
    assert list(files_in(out)) == [output]
    assert (f"Note: {name} becomes {output}" in done.stderr) == (name != output)
    assert summary_of(delaytool("apply", path, out, *PLAIN, "--json"))["unchanged"] == 1
    delaytool("verify", out)
    delaytool("verify", out, "--source", path)
    delaytool("revert", out, back)
    assert pq.read_table(back / output).equals(pq.read_table(path))
    delaytool("apply", path, tmp_path / "b.parquet", *PLAIN)
    delaytool("verify", tmp_path / "b.parquet", "--source", path)


def test_globs_of_other_names(tmp_path):
    data, out = tmp_path / "data", tmp_path / "out"
    for name in ("_x/a.pq", "_y/a.pq", ".z/a.parquet"):
        (data / name).parent.mkdir(parents=True)
        pq.write_table(tokens_table(), data / name)
    for glob, outputs in (("_*/*.pq", ["x/a.parquet", "y/a.parquet"]), (".*/*", ["z/a.parquet"])):
        shutil.rmtree(out, ignore_errors=True)
        done = delaytool("apply", data / glob, out, *PLAIN)
        assert sorted(files_in(out)) == outputs
        assert f"becomes {outputs[0]}" in done.stderr
        assert ("and 1 more likewise" in done.stderr) == (len(outputs) == 2)
        delaytool("verify", out, "--source", data / glob)
    done = delaytool("verify", out, "--source", data / "_*/*.pq", status=1)
    assert "_x/a.pq: shard: found none" in done.stderr


def test_two_shards_of_one_output_are_refused(tmp_path):
    for name in ("a.pq", "a.parq", "b.pq"):
        pq.write_table(tokens_table(), tmp_path / name)
    done = delaytool("apply", tmp_path / "*.p*q", tmp_path / "out", *PLAIN, status=1)
    assert "its output is that of a.parq too" in done.stderr
    assert not (tmp_path / "out").exists()
    delaytool("apply", tmp_path / "*.pq", tmp_path / "out", *PLAIN)
    done = delaytool("verify", tmp_path / "out", "--source", tmp_path / "*.p*q", status=1)
    assert "its output is that of a.parq too" in done.stderr


def test_text_and_codes_are_paired_without_their_suffixes(tmp_path):
    table = tokens_table()
    for folder, suffix, column in (("t", ".pq", "text_tokens"), ("c", ".parquet", "audio_codes")):
        (tmp_path / folder).mkdir()
        for name in "ab":
            pq.write_table(table.select(["id", column]), tmp_path / folder / (name + suffix))
    paired = ("--audio-input", tmp_path / "c")
    delaytool("apply", tmp_path / "t" / "*.pq", tmp_path / "out", *paired, *PLAIN)
    delaytool("verify", tmp_path / "out", "--source", tmp_path / "t" / "*.pq", *paired)


@pytest.mark.parametrize("length", [230, 231, 254, 255])
@pytest.mark.parametrize("letter", ["a", "é"])
def test_long_names(tmp_path, length, letter):
    room = length - len(".parquet")
    name = (
        letter * (room // len(letter.encode())) + "a" * (room % len(letter.encode())) + ".parquet"
    )
    assert len(os.fsencode(name)) == length
    (tmp_path / "data").mkdir()
    pq.write_table(tokens_table(), tmp_path / "data" / name)
    out = tmp_path / "out"
    delaytool("apply", tmp_path / "data", out, *PLAIN, "--quarantine", tmp_path / "bad")
    delaytool("revert", out, tmp_path / "back")
    assert list(files_in(tmp_path / "back")) == [name]


def test_file_uris(tmp_path):
    data, out = tmp_path / "a b%", tmp_path / "ö 1"
    data.mkdir()
    pq.write_table(tokens_table(seed=1), data / "a#?.parquet")
    pq.write_table(tokens_table(seed=2), data / "a%23%3F.parquet")
    source = (data / "a#?.parquet").as_uri()
    assert "%23%3F" in source
    delaytool("apply", source, out.as_uri(), *PLAIN)
    assert list(files_in(out)) == ["a#?.parquet"]
    for uri in (source, source.replace("file://", "file:"), source.replace("///", "//localhost/")):
        delaytool("verify", out.as_uri(), "--source", uri)
        delaytool("inspect", uri)
    delaytool("verify", out, "--source", data / "a%23%3F.parquet", status=1)
    delaytool("stats", data.as_uri() + "/a%2523*")
    done = delaytool("stats", f"file:/{data}".replace("file://", "file://data/"), status=2)
    assert "names the machine data" in done.stderr


@pytest.fixture
def odd(tmp_path):
    """A folder with two shards, whose names are no UTF-8."""
    source = tmp_path / "plain.parquet"
    pq.write_table(tokens_table(), source)
    for name in ("odd/\udcffa.parquet", "odd/\udcfe/b\udc80.parquet"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(source, tmp_path / name)
    return tmp_path / "odd"


def test_names_that_are_no_utf8(odd, tmp_path):
    plain, out = tmp_path / "plain", tmp_path / "out\udcff"
    delaytool("apply", tmp_path / "plain.parquet", plain, *PLAIN)
    done = delaytool_process("apply", odd, out, *PLAIN, "--workers", 2, "--json")
    assert summary_of(done)["written"] == 2
    (made,) = files_in(plain).values()
    assert list(files_in(out).values()) == [made, made], "the same bytes"
    delaytool_process("verify", out, "--source", odd, "--workers", 2)
    assert delaytool_process("revert", out, tmp_path / "back").stdout.startswith(str(tmp_path))
    assert files_in(tmp_path / "back").keys() == files_in(odd).keys()
    assert r"out\xff" in delaytool_process("stats", out).stdout
    shard = out / "\udcffa.parquet"
    assert r"\xffa.parquet, row 0" in delaytool_process("inspect", shard).stdout
    os.truncate(shard, 90)
    done = delaytool_process("verify", out, "--json", status=1)
    assert summary_of(done)["mismatches"][0]["shard"] == r"\xffa.parquet"
    os.truncate(odd / "\udcffa.parquet", 90)
    done = delaytool_process("apply", odd, tmp_path / "o", *PLAIN, status=1)
    assert errors_of(done)[0].startswith(r"Error: \xffa.parquet: cannot be read")


def test_ids_and_columns_that_are_no_utf8(tmp_path):
    table = tokens_table(rows=2)
    ids = pa.array([b"a\xff", b"b\xfe\n"], pa.binary())
    ids = pa.Array.from_buffers(pa.string(), 2, ids.buffers())
    source, out = tmp_path / "a.parquet", tmp_path / "out.parquet"
    pq.write_table(table.set_column(0, "id", ids), source)
    delaytool("apply", source, out, *PLAIN)
    delaytool("verify", out, "--source", source)
    delaytool("revert", out, tmp_path / "back.parquet")
    assert summary_of(delaytool("inspect", out, "--json"))["id"] == r"a\xff"
    done = delaytool_process("inspect", out, "--id", "b\udcfe\n", "--compare", source)
    assert r"row 1 of 2 (id 'b\\xfe\n')" in done.stdout
    named = table.append_column("cQQ", table["score"])
    pq.write_table(named, source, store_schema=False)
    source.write_bytes(source.read_bytes().replace(b"cQQ", b"c\xff\n"))
    done = delaytool("apply", source, tmp_path / "o", *PLAIN, status=1)
    assert "a.parquet: cannot be read: the name of a column is not UTF-8" in errors_of(done)[0]


@pytest.fixture
def evil(tmp_path):
    """A shard whose name, columns and keys drive what they can, a bad one, and its options."""
    names = {"id": f"id{EVIL}", "text_tokens": f"text{EVIL}", "audio_codes": f"::audio{EVIL}"}
    table = tokens_table(rows=3)
    table = table.rename_columns([names.get(name, name) for name in table.column_names])
    keys = pa.array([f"::key{EVIL}", f"b{EVIL}", "c"])
    table = table.set_column(0, names["id"], keys).append_column(f"len{EVIL}", table[1])
    spoiled = [*table[1].to_pylist()[:2], None]
    bad = table.set_column(1, names["text_tokens"], pa.array(spoiled, table[1].type))
    file = f"::shard{EVIL}.parquet"
    for folder, part in (("good", table), ("bad", bad), (f"good/_{EVIL}", table)):
        (tmp_path / folder).mkdir()
        pq.write_table(part, tmp_path / folder / file)
    recipe = json.loads(delaytool("presets", "moshi").stdout)
    recipe["streams"], recipe["dep_q"] = recipe["streams"][:4], 3
    for number, stream in enumerate(recipe["streams"]):
        stream["name"] = f"::{number} ##[error] $a$"
    (tmp_path / f"{EVIL}.json").write_text(json.dumps(recipe))
    where = ("--text-column", names["text_tokens"], "--audio-column", names["audio_codes"])
    return file, (*where, "--key", names["id"]), ("--recipe", tmp_path / f"{EVIL}.json")


def test_names_drive_nothing(evil, tmp_path):
    file, where, recipe = evil
    good, bad, out = tmp_path / "good", tmp_path / "bad", tmp_path / f"out{EVIL}"
    shard = out / file
    for status, *command in (
        (0, "apply", good, out, *where, *recipe),
        (1, "apply", bad, tmp_path / "o", *where, *recipe),
        (1, "apply", bad, tmp_path / "o", *where, *recipe, "--json"),
        (0, "apply", bad, tmp_path / f"o{EVIL}", *where, *recipe, "--quarantine", f"{out}bad"),
        (1, "apply", good, tmp_path / "o", "--text-column", EVIL),
        (2, "apply", good, tmp_path / "o", "--preset", EVIL),
        (2, "apply", good, tmp_path / "o", "--length", EVIL),
        (2, f"apply{EVIL}"),
        (2, "apply", f"--{EVIL}", "--json"),
        (0, "verify", out, "--source", good),
        (1, "verify", out, "--source", bad),
        (1, "verify", out, "--source", bad, "--json"),
        (0, "stats", out),
        (0, "stats", good, *where),
        (0, "revert", out, tmp_path / f"back{EVIL}"),
        (0, "inspect", shard),
        (0, "inspect", shard, "--before", "--after", "--labels"),
        (0, "inspect", shard, "--weights", "--id", f"b{EVIL}"),
        (0, "inspect", shard, "--json"),
        (1, "inspect", shard, "--id", EVIL),
        (0, "inspect", shard, "--compare", good / file),
        (1, "inspect", shard, "--compare", bad / file, *where, "--row", 2),
        (2, "inspect", shard, "--image", f"{out}.x"),
    ):
        done = delaytool(*command, status=status, env={"GITHUB_ACTIONS": "true"})
        assert obeyed(done.stdout) == [], command
        assert obeyed(done.stderr) == [], command
    command = [sys.executable, "-m", "delaytool", "apply", bad, tmp_path / "o", *where, *recipe]
    done = subprocess.run([*command, "--debug"], capture_output=True, text=True)
    assert "Traceback" in done.stderr
    assert obeyed(done.stderr) == []


def test_letters_that_an_encoding_lacks(tmp_path):
    pq.write_table(tokens_table(), tmp_path / "日.parquet")
    env = {"PYTHONIOENCODING": "latin-1"}
    done = delaytool_process("inspect", tmp_path / "日.parquet", env=env)
    assert r"\u65e5.parquet, row 0" in done.stdout


def test_names_are_drawn_as_they_are(evil, tmp_path):
    file, where, recipe = evil
    delaytool("apply", tmp_path / "good", tmp_path / "out", *where, *recipe)
    for ending in ("svg", "png"):
        picture = tmp_path / f"{EVIL}.{ending}"
        done = delaytool_process("inspect", tmp_path / "out" / file, "--image", picture)
        assert obeyed(done.stdout + done.stderr) == []
        assert picture.stat().st_size
    drawn = xml.dom.minidom.parse(str(tmp_path / f"{EVIL}.svg")).toxml()
    assert r"\x3a:shard\x1b]0;x" in drawn
    assert r"\x3a:0 \x23#[error] $a$" in drawn


def test_a_mismatch_is_marked_at_its_file_whatever_that_is_called(tmp_path):
    name = "a\n::warning::x.parquet"
    (tmp_path / "data").mkdir()
    pq.write_table(tokens_table(), tmp_path / "data" / name)
    out = tmp_path / "out"
    delaytool("apply", tmp_path / "data", out, *PLAIN)
    os.truncate(out / name, 90)
    done = delaytool("verify", out, "-q", status=1, env={"GITHUB_ACTIONS": "true"})
    (mark,) = [line for line in done.stderr.splitlines() if line.startswith("::")]
    file = f"{out}/a%0A%3A%3Awarning%3A%3Ax.parquet"
    assert mark.startswith(
        rf"::error file={file},title=delaytool verify::a\n::warning::x.parquet: "
    )
