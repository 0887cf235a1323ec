"""Shards of quarantined rows: where they may lie, what they are taken for, whether they hold."""

import dataclasses
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from layouts import FIXED, LAYOUTS, rows_of
from make import (
    PLAIN,
    QUARANTINE,
    delaytool,
    entry_of,
    files_in,
    finish,
    job_on,
    rewrite,
    summary_of,
    tokens_table,
)

from delaytool.jobs.apply import ApplyShard
from delaytool.jobs.paths import Item
from delaytool.jobs.revert import RevertShard
from delaytool.jobs.verify import VerifyShard
from delaytool.recipes.adapt import with_audio
from delaytool.recipes.presets import plain_recipe
from delaytool.shards.find import Shard
from delaytool.shards.quarantine import first_of_data, without_quarantine_in
from delaytool.shards.read import open_shard
from delaytool.shards.record import Record

NOTE = "Note: {} of quarantined rows {} left out"


def spoiled(seed=1, rows=12, bad=(1, 4, 5)):
    """A table with rows that are bad in several ways."""
    lines = tokens_table(seed=seed, rows=rows).to_pylist()
    for number, row in enumerate(bad):
        if number % 2:
            lines[row]["audio_codes"][2][0] = 5000
        else:
            lines[row]["text_tokens"] = None
    return pa.Table.from_pylist(lines, tokens_table().schema.with_metadata({"license": "cc0"}))


@pytest.fixture
def here(tmp_path):
    """A folder with data: two shards with bad rows, one without."""
    for name, table in (
        ("a.parquet", spoiled()),
        ("more/b.parquet", spoiled(seed=2, bad=(0,))),
        ("more/c.parquet", tokens_table(seed=3)),
    ):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path)
    return tmp_path


def apply(here, *more, status=0):
    return delaytool("apply", "data", "out", *PLAIN, *more, cwd=here, status=status)


def mismatches(here, *more, status=1):
    done = delaytool("verify", "out", *more, "--json", cwd=here, status=status)
    return [(m["shard"], m["row"], m["what"]) for m in summary_of(done)["mismatches"]]


def rewrite_bad(path, table):
    """Write a table over a shard of quarantined rows, with its entry as it was."""
    rewrite(path, table, entry_of(path, QUARANTINE), QUARANTINE)


# Where it may lie


@pytest.mark.parametrize("bad", ["data/bad", "data/more/bad", "out/bad", "out/more"])
def test_a_quarantine_within_input_or_output(here, bad):
    first = summary_of(apply(here, "--quarantine", bad, "--json"))
    assert (first["shards"], first["written"], first["quarantined"]) == (3, 3, 4)
    outputs = {"a.parquet", "more/b.parquet", "more/c.parquet"}
    made = files_in(here)
    assert {f"out/{name}" for name in outputs} < set(made)
    assert {f"{bad}/a.parquet", f"{bad}/more/b.parquet"} < set(made)
    assert len(made) == 3 + 3 + 2
    again = summary_of(apply(here, "--quarantine", bad, "--json"))
    assert (again["shards"], again["unchanged"], again["quarantined"]) == (3, 3, 4)
    for source in ((), ("--source", "data")):
        for quarantine in ((), ("--quarantine", bad)):
            done = delaytool("verify", "out", *source, *quarantine, "--json", cwd=here)
            assert summary_of(done)["shards"] == 3
    note = NOTE.format("2 shards", "were")
    where = ("stats", "out") if bad.startswith("out") else ("stats", "data")
    if where[1] == "out":
        done = delaytool(*where, "--json", cwd=here)
        assert note in done.stderr
        assert summary_of(done)["shards"] == 3
    done = delaytool("revert", "out", "back", "--allow-lossy", "--json", cwd=here)
    assert summary_of(done)["shards"] == 3
    assert set(files_in(here / "back")) == outputs
    assert (note in done.stderr) == bad.startswith("out")
    assert files_in(here).items() >= made.items()


def test_an_input_with_a_quarantine_that_is_not_named(here):
    """Another command, which does not know of the folder."""
    apply(here, "--quarantine", "data/bad")
    for name in ("a.parquet", "more/b.parquet"):
        pq.write_table(tokens_table(seed=5), here / "data" / name)
    done = delaytool("apply", "data", "other", *PLAIN, "--json", cwd=here)
    assert NOTE.format("2 shards", "were") in done.stderr
    assert summary_of(done)["shards"] == 3
    assert set(files_in(here / "other")) == {"a.parquet", "more/b.parquet", "more/c.parquet"}
    done = delaytool("verify", "other", "--source", "data", cwd=here)
    assert NOTE.format("2 shards", "were") in done.stderr
    done = delaytool("stats", "data", "--json", cwd=here)
    assert summary_of(done)["rows"] == 36
    assert NOTE.format("2 shards", "were") in done.stderr


def test_verify_still_misses_what_is_missing(here):
    apply(here, "--quarantine", "data/bad")
    (here / "out" / "more" / "c.parquet").unlink()
    assert mismatches(here, "--source", "data") == [("more/c.parquet", None, "shard")]
    bad = (here / "data" / "bad" / "a.parquet").read_bytes()
    (here / "out" / "a.parquet").write_bytes(bad)
    found = mismatches(here, "--source", "data")
    assert ("a.parquet", None, "shard") in found, "quarantined rows stand in place of an output"


def test_an_output_that_calls_itself_quarantine_is_looked_at(here):
    apply(here, "--quarantine", "bad")
    path = here / "out" / "more" / "c.parquet"
    table, entry = pq.read_table(path), entry_of(path)
    with pq.ParquetWriter(path, table.slice(1).schema) as writer:
        writer.write_table(table.slice(1))
        writer.add_key_value_metadata({"delaytool": entry, "delaytool-quarantine": "x"})
    assert {shard for shard, *_ in mismatches(here)} == {"more/c.parquet"}


def test_data_in_a_quarantine_is_not_lost(here):
    pq.write_table(tokens_table(seed=7), here / "data" / "more" / "d.parquet")
    done = apply(here, "--quarantine", "data/more", "--json")
    assert summary_of(done)["shards"] == 4
    assert "d.parquet" in {p.name for p in (here / "out" / "more").iterdir()}
    theirs = here / "data" / "bad" / "a.parquet"
    theirs.parent.mkdir()
    pq.write_table(tokens_table(seed=8), theirs)
    before = files_in(here / "data")
    for overwrite in ((), ("--overwrite",)):
        done = apply(here, "--quarantine", "data/bad", *overwrite, status=1)
        assert "is in the way: it is not a shard that delaytool made" in done.stderr
        assert files_in(here / "data") == before


def test_an_output_is_never_a_source(tmp_path):
    data = tmp_path / "p" / "data"
    (data / "data").mkdir(parents=True)
    pq.write_table(spoiled(), data / "a.parquet")
    pq.write_table(spoiled(), data / "data" / "a.parquet")
    before = files_in(tmp_path)
    arguments = ("apply", "p/data", "out", "--quarantine", "p", "--overwrite")
    done = delaytool(*arguments, *PLAIN, cwd=tmp_path, status=1)
    assert "data/a.parquet: its output is a shard that is read too" in done.stderr
    assert files_in(tmp_path) == before


def test_paired_shards(tmp_path):
    table = spoiled()
    for folder, names in (("text", ["id", "text_tokens"]), ("codes", ["id", "audio_codes"])):
        (tmp_path / folder).mkdir()
        pq.write_table(table.select(names), tmp_path / folder / "a.parquet")
        pq.write_table(tokens_table().select(names), tmp_path / folder / "b.parquet")
    arguments = ("apply", "text", "out", *PLAIN, "--audio-input", "codes", "--json")
    for bad in ("text/bad", "codes/bad"):
        for key, value in (("written", 2), ("unchanged", 2)):
            done = delaytool(*arguments, "--quarantine", bad, "--overwrite", cwd=tmp_path)
            assert summary_of(done)["shards"] == 2
            if bad == "text/bad":
                assert summary_of(done)[key] == value
    (tmp_path / "out" / "a.parquet").unlink()
    done = delaytool(*arguments, "--quarantine", "elsewhere", cwd=tmp_path)
    assert NOTE.format("1 shard", "was") in done.stderr, "one pair of them"
    paired = ("--source", "text", "--audio-input", "codes")
    done = delaytool("verify", "out", *paired, "--quarantine", "codes/bad", cwd=tmp_path)
    assert NOTE.format("1 shard", "was") in done.stderr
    (tmp_path / "text" / "bad" / "a.parquet").unlink()
    delaytool(*arguments, "--quarantine", "elsewhere", cwd=tmp_path)
    delaytool("verify", "out", *paired, "--quarantine", "codes/bad", cwd=tmp_path)
    done = delaytool("stats", "text", "--audio-input", "codes", "--json", cwd=tmp_path, status=1)
    assert "row 1 (id 'utt-1'), column text_tokens: a null row" in done.stderr


# Data again


def test_a_quarantine_that_is_named_is_data_again(here):
    apply(here, "--quarantine", "bad")
    for path, wrong in (("a.parquet", 3), ("more/b.parquet", 1)):
        table = pq.read_table(here / "bad" / path)
        assert table.num_rows == wrong
        lines = table.to_pylist()
        for line in lines:
            line["text_tokens"] = [1, 2]
            line["audio_codes"] = [[1, 2]] * 3
        rewrite_bad(here / "bad" / path, pa.Table.from_pylist(lines, table.schema))
    done = delaytool("apply", "bad", "repaired", *PLAIN, "--json", cwd=here)
    assert (summary_of(done)["shards"], summary_of(done)["rows"]) == (2, 4)
    assert "Note" not in done.stderr
    output = here / "repaired" / "a.parquet"
    assert "reason" not in pq.read_schema(output).names
    assert set(pq.read_metadata(output).metadata) >= {b"delaytool", b"license"}
    assert b"delaytool-quarantine" not in pq.read_metadata(output).metadata
    again = delaytool("apply", "bad", "repaired", *PLAIN, "--json", cwd=here)
    assert summary_of(again)["unchanged"] == 2
    delaytool("verify", "repaired", cwd=here)
    delaytool("verify", "repaired", "--source", "bad", cwd=here)
    delaytool("revert", "repaired", "back", cwd=here)
    back, bad = (pq.read_table(here / x / "a.parquet") for x in ("back", "bad"))
    assert back.equals(bad.drop_columns(["reason"]), check_metadata=True)
    delaytool("apply", "bad/a.parquet", "one.parquet", *PLAIN, cwd=here)
    assert pq.read_metadata(here / "one.parquet").num_rows == 3
    done = delaytool("stats", "bad", "--json", cwd=here)
    assert (summary_of(done)["original"], summary_of(done)["rows"]) == (2, 4)
    (here / "repaired" / "a.parquet").unlink()
    done = delaytool("verify", "repaired", "--source", "bad", cwd=here, status=1)
    assert "a.parquet: shard: found none" in done.stderr


def test_descriptions_of_columns_lose_the_reason(here):
    described = {"info": {"features": {"id": {"dtype": "string", "_type": "Value"}}}}
    table = spoiled().replace_schema_metadata({"huggingface": json.dumps(described)})
    pq.write_table(table, here / "data" / "a.parquet")
    apply(here, "--quarantine", "bad")
    path = here / "bad" / "a.parquet"
    whole = json.loads(pq.read_schema(path).metadata[b"huggingface"])
    assert set(whole["info"]["features"]) == {"id", "reason"}
    with open_shard(Shard("a.parquet", str(path))) as opened:
        assert opened.schema.names == table.column_names
        assert json.loads(opened.schema.metadata[b"huggingface"]) == described
        (batch,) = opened.small_batches()
        assert batch.schema.equals(opened.schema, check_metadata=True)


def test_there_must_be_something_else_to_verify_or_revert(here):
    apply(here, "--quarantine", "bad")
    for command in (("verify", "bad"), ("revert", "bad", "back"), ("verify", "bad/a.parquet")):
        done = delaytool(*command, cwd=here, status=1)
        assert "there are only shards of quarantined rows" in done.stderr


# Whether it holds


def test_verify_checks_it_where_it_is_told_to(here):
    apply(here, "--quarantine", "bad")
    for source in ((), ("--source", "data")):
        delaytool("verify", "out", "--quarantine", "bad", *source, cwd=here)
    (here / "bad" / "a.parquet").unlink()
    delaytool("verify", "out", cwd=here)
    for source in ((), ("--source", "data")):
        found = mismatches(here, "--quarantine", "bad", *source)
        assert found == [("a.parquet", None, "quarantine")]


def without_row(table):
    return table.slice(1)


def with_another_row(table):
    return pa.concat_tables([table, table.slice(0, 1)])


def with_other_value(table):
    return table.set_column(4, "score", pa.array([0.5] * table.num_rows))


def with_rows_in_another_order(table):
    return table.take(list(range(table.num_rows))[::-1])


def with_other_reason(table):
    return table.set_column(6, "reason", pa.array(["because"] * table.num_rows))


def with_good_rows(table):
    lines = table.to_pylist()
    lines[1]["audio_codes"][2][0] = 5
    return pa.Table.from_pylist(lines, table.schema)


def without_column(table):
    return table.drop_columns(["tags"])


@pytest.mark.parametrize(
    ("spoil", "rows"),
    [
        (without_row, {1, 4}),
        (with_another_row, set()),
        (with_other_value, {1, 4, 5}),
        (with_rows_in_another_order, {1, 5}),
        (with_other_reason, set()),
        (with_good_rows, {4}),
        (without_column, set()),
    ],
)
def test_rows_that_are_not_what_they_were(here, spoil, rows):
    apply(here, "--quarantine", "bad")
    path = here / "bad" / "a.parquet"
    rewrite_bad(path, spoil(pq.read_table(path)))
    alone = mismatches(here, "--quarantine", "bad")
    assert {shard for shard, *_ in alone} == {"a.parquet"}
    assert all(what.startswith("quarantine") for *_, what in alone)
    compared = mismatches(here, "--quarantine", "bad", "--source", "data")
    assert {row for _, row, _ in compared if row is not None} >= rows
    delaytool("verify", "out", "--source", "data", cwd=here)


def test_a_shard_that_is_not_its_outputs(here):
    apply(here, "--quarantine", "bad")
    for name in ("more/c.parquet", "d.parquet"):
        (here / "bad" / name).write_bytes((here / "bad" / "a.parquet").read_bytes())
    found = mismatches(here, "--quarantine", "bad")
    assert sorted(shard for shard, *_ in found) == ["d.parquet", "more/c.parquet"]
    rewritten = pq.read_table(here / "bad" / "d.parquet")
    pq.write_table(rewritten, here / "bad" / "d.parquet")
    assert "d.parquet" in {shard for shard, *_ in mismatches(here, "--quarantine", "bad")}
    pq.write_table(tokens_table(), here / "bad" / "d.parquet")
    assert "d.parquet" not in {shard for shard, *_ in mismatches(here, "--quarantine", "bad")}
    (here / "bad" / "more" / "c.parquet").unlink()
    (here / "bad" / "more" / "b.parquet").write_bytes((here / "bad" / "a.parquet").read_bytes())
    assert ("more/b.parquet", None, "quarantine, record") in mismatches(here, "--quarantine", "bad")
    (here / "bad" / "more" / "b.parquet").write_text("PAR1 not at all")
    found = mismatches(here, "--quarantine", "bad")
    assert found == [("more/b.parquet", None, "quarantine, reading")]


def test_kinds_that_lie_are_found_in_the_quarantine(here):
    apply(here, "--quarantine", "bad")
    output, bad = here / "out" / "a.parquet", here / "bad" / "a.parquet"
    fields = json.loads(entry_of(output))
    fields["reasons"][0]["kind"], fields["reasons"][1]["kind"] = "codebooks", "no-frames"
    del fields["checksum"]
    lie = Record._parse(fields).to_json()
    rewrite(output, pq.read_table(output), lie)
    rewrite(bad, pq.read_table(bad), lie, QUARANTINE)
    delaytool("verify", "out", cwd=here)
    found = mismatches(here, "--quarantine", "bad")
    assert found == [("a.parquet", None, "quarantine, reasons")]


def test_one_output(here):
    delaytool("apply", "data/a.parquet", "x.parquet", *PLAIN, "--quarantine", "bad", cwd=here)
    for source in ((), ("--source", "data/a.parquet")):
        delaytool("verify", "x.parquet", "--quarantine", "bad", *source, cwd=here)
    path = here / "bad" / "a.parquet"
    rewrite_bad(path, pq.read_table(path).slice(1))
    delaytool("verify", "x.parquet", "--quarantine", "bad", cwd=here, status=1)
    path.unlink()
    done = delaytool("verify", "x.parquet", "--quarantine", "bad", cwd=here, status=1)
    assert "x.parquet: quarantine: found none, expected a shard of 3 rows" in done.stderr


def test_lost_rows_do_not_count_as_whole(here):
    apply(here, "--quarantine", "bad")
    path = here / "bad" / "a.parquet"
    whole = path.read_bytes()
    rewrite_bad(path, pq.read_table(path).slice(1))
    changed = path.read_bytes()
    done = apply(here, "--quarantine", "bad", status=1)
    assert "is in the way: it holds 2 rows of the 3 that were put there" in done.stderr
    assert path.read_bytes() == changed, "somebody may have repaired the others"
    (here / "out" / "a.parquet").unlink()
    apply(here, "--quarantine", "bad", status=1)
    summary = summary_of(apply(here, "--quarantine", "bad", "--overwrite", "--json"))
    assert (summary["written"], summary["unchanged"]) == (1, 2)
    assert path.read_bytes() == whole
    rewrite_bad(path, with_other_value(pq.read_table(path)))
    (here / "out" / "a.parquet").unlink()
    done = apply(here, "--quarantine", "bad", status=1)
    assert "is in the way: its rows are not those that were put there" in done.stderr


@pytest.mark.parametrize("length", ["extend", "truncate"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout(tmp_path, layout, length):
    """Rows beyond the vocabulary are put aside, hold, are data with a larger one, and revert."""
    make, where = LAYOUTS[layout]
    rows = rows_of(fixed=layout in FIXED)
    for row in (0, 2):
        rows[row][-1][0] = 1000
    kind = pa.int16()
    ids = [f"utt-{number}" for number in range(len(rows))]
    table = pa.table({"id": ids, **make(rows, kind), "nan": [float("nan")] * len(rows)})
    source, output, bad, again, back = (
        str(tmp_path / f"{name}.parquet") for name in ("source", "output", "bad", "again", "back")
    )
    pq.write_table(table, source, row_group_size=2)
    recipe = with_audio(plain_recipe(4, (0, 0, 1, 3, 2)), card=1000)
    recipe = dataclasses.replace(recipe, length=length)
    job = job_on(table, recipe, **where)
    item = Item(Shard("a", source), None, output, bad)
    assert finish(ApplyShard(item, job, False).run()).summary.counts.quarantined == 2
    assert not finish(ApplyShard(item, job, False).run()).written
    for original in (None, Shard("a", source)):
        verified = finish(VerifyShard(Shard("a", output), original, None, None, bad).run())
        assert verified.mismatches == []
    wide = job_on(table, with_audio(recipe, card=1001), **where)
    repaired = Item(Shard("a", bad), None, again, from_quarantine=True)
    assert finish(ApplyShard(repaired, wide, False).run()).summary.counts.rows_out == 2
    assert finish(ApplyShard(Item(Shard("a", bad), None, again), wide, False).run()).left_out
    for original in (None, Shard("a", bad)):
        assert finish(VerifyShard(Shard("a", again), original, None, None).run()).mismatches == []
    arguments = (Shard("a", again), back, None, None, length == "truncate", False)
    assert finish(RevertShard(*arguments).run()).written
    assert not finish(RevertShard(*arguments).run()).written
    with open_shard(Shard("a", bad)) as opened:
        assert opened.schema.equals(pq.read_schema(source), check_metadata=True)
        if length == "extend":
            assert pq.read_schema(back).equals(opened.schema, check_metadata=True)


# Layouts that do not fit


def table_of(shapes):
    """A table of rows of so many codebooks and frames, the text of as many tokens as is said."""
    return pa.table(
        {
            "text_tokens": pa.array([[5] * text for _, _, text in shapes], pa.list_(pa.int32())),
            "audio_codes": pa.array(
                [np.ones((books, frames), int).tolist() for books, frames, _ in shapes],
                pa.list_(pa.list_(pa.int16())),
            ),
        }
    )


def put_aside(tmp_path, shapes, status, *more, first=0):
    """Apply two shards of rows of these shapes; the error, or how many rows are in quarantine."""
    (tmp_path / "data").mkdir()
    half = first or len(shapes) // 2
    pq.write_table(table_of(shapes[:half]), tmp_path / "data" / "a.parquet")
    pq.write_table(table_of(shapes[half:]), tmp_path / "data" / "b.parquet")
    arguments = ("apply", "data", "out", *PLAIN, "--quarantine", "bad", *more, "--json")
    done = delaytool(*arguments, cwd=tmp_path, status=status)
    if status:
        assert not (tmp_path / "out").exists()
        assert not (tmp_path / "bad").exists()
        return done.stderr
    return summary_of(done)["quarantined"]


GOOD, LONG, WIDE = (3, 4, 4), (3, 4, 5), (2, 4, 4)


@pytest.mark.parametrize(
    ("shapes", "told"),
    [
        ([GOOD] * 400 + [LONG] * 700, "600 of the first 1,000 rows do not fit"),
        ([GOOD] * 499 + [WIDE] * 501 + [GOOD] * 900, "501 of the first 1,000 rows do not fit"),
        ([GOOD, LONG, WIDE], "2 of the first 3 rows do not fit"),
    ],
)
def test_most_rows_are_bad_by_their_shape(tmp_path, shapes, told):
    error = put_aside(tmp_path, shapes, 1)
    assert told in error
    assert "--audio-layout" in error
    assert "expected" in error


@pytest.mark.parametrize(
    "shapes",
    [
        [GOOD] * 500 + [WIDE] * 900,
        [GOOD] * 1000 + [LONG] * 3000,
        [GOOD, LONG],
    ],
)
def test_half_of_the_rows_may_be_bad(tmp_path, shapes):
    assert put_aside(tmp_path, shapes, 0) == len(shapes) - shapes.count(GOOD)


def test_what_is_no_matter_of_shape_is_put_aside(tmp_path):
    table = table_of([GOOD] * 5)
    text = pa.array([None, None, [70000] * 4, [70000] * 4, [5] * 4], pa.list_(pa.int32()))
    pq.write_table(table.set_column(0, "text_tokens", text), tmp_path / "a.parquet")
    arguments = ("apply", "a.parquet", "out.parquet", *PLAIN, "--quarantine", "bad", "--json")
    assert summary_of(delaytool(*arguments, cwd=tmp_path))["quarantined"] == 4


def test_the_error_has_a_kind_and_a_place(tmp_path):
    pq.write_table(table_of([GOOD, LONG, LONG]), tmp_path / "a.parquet")
    arguments = ("apply", "a.parquet", "out.parquet", *PLAIN, "--quarantine", "bad")
    done = delaytool(*arguments, cwd=tmp_path, status=1)
    assert "Error: a.parquet, row 1, column text_tokens: 2 of the first 3 rows" in done.stderr
    assert "--align" in done.stderr
    arguments = (*arguments, "--align", "trim", "--json")
    assert summary_of(delaytool(*arguments, cwd=tmp_path))["quarantined"] == 0


# Which shards are looked at


def test_few_footers_are_read_to_find_data(here):
    apply(here, "--quarantine", "data/bad")
    names = ["bad/a.parquet", "bad/more/b.parquet", "more/b.parquet", "a.parquet"]
    shards = [Shard(name, str(here / "data" / name)) for name in names]
    assert first_of_data(shards).name == "a.parquet", "the shortest path"
    assert first_of_data(shards[:2]) is None
    assert first_of_data(shards[2:]).name == "more/b.parquet"
    own = without_quarantine_in(str(here / "data" / "bad"), shards)
    assert [shard.name for shard in own] == ["a.parquet", "more/b.parquet"]
