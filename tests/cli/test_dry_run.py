"""A dry run reads and checks every row as apply does, and writes nothing."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from make import PLAIN, delaytool, files_in, tokens_table


@pytest.fixture
def folder(tmp_path):
    """Two shards: one good, one with bad rows of two kinds."""
    (tmp_path / "data").mkdir()
    pq.write_table(tokens_table(seed=1), tmp_path / "data" / "a.parquet")
    rows = tokens_table(rows=9).to_pylist()
    rows[6]["audio_codes"][2][0] = rows[7]["audio_codes"][1][0] = 4000
    rows[3]["text_tokens"] = rows[3]["text_tokens"] + [1]
    table = pa.Table.from_pylist(rows, tokens_table().schema)
    pq.write_table(table, tmp_path / "data" / "b.parquet")
    return tmp_path


@pytest.mark.parametrize("more", [(), ("out",), ("out", "--workers", 2)])
def test_bad_rows_are_counted_by_kind_with_the_first(folder, more):
    before = files_in(folder / "data")
    done = delaytool("apply", "data", *more, *PLAIN, "--dry-run", cwd=folder, status=1)
    lines = [line for line in done.stdout.splitlines() if line.startswith("bad: ")]
    assert len(lines) == 2
    assert lines[0].startswith("bad: 2 rows like this one: b.parquet, row 6 (id 'utt-6'), column")
    assert "acoustic_2, timestep 0: token 4000" in lines[0]
    assert lines[1].startswith("bad: 1 row like this one: b.parquet, row 3 (id 'utt-3'), column")
    assert "nothing written" in done.stdout
    assert "shards          2\n" in done.stdout
    assert files_in(folder / "data") == before
    assert [path.name for path in folder.iterdir()] == ["data"]


def test_the_figures_are_those_of_apply(folder):
    done = delaytool("apply", "data", *PLAIN, "--dry-run", "--json", cwd=folder, status=1)
    dry = json.loads(done.stdout)
    assert [(bad["kind"], bad["rows"]) for bad in dry["bad"]] == [("token", 2), ("text-length", 1)]
    assert dry["bad"][0]["first"].startswith("b.parquet, row 6 ")
    assert (dry["written"], dry["unchanged"], dry["quarantined"]) == (0, 0, 0)
    arguments = ("apply", "data", "out", *PLAIN, "--quarantine", "bad", "--json")
    real = json.loads(delaytool(*arguments, cwd=folder).stdout)
    assert real["bad"] == []
    for name in ("shards", "rows", "frames", "tokens", "hours", "filled", "mean_weights"):
        assert dry[name] == real[name], name


def test_a_good_folder_ends_well(folder):
    done = delaytool("apply", "data/a.parquet", *PLAIN, "--dry-run", cwd=folder)
    assert "bad" not in done.stdout
    assert "reason" not in done.stdout


def test_a_column_called_reason_is_in_nobodys_way(folder):
    table = tokens_table(seed=1)
    table = table.append_column("reason", pa.array(["x"] * len(table)))
    pq.write_table(table, folder / "data" / "a.parquet")
    delaytool("apply", "data", *PLAIN, "--dry-run", cwd=folder, status=1)


def test_an_output_in_the_way_is_told_where_it_is_given(folder):
    delaytool("apply", "data/a.parquet", "o.parquet", *PLAIN, cwd=folder)
    arguments = ("apply", "data/a.parquet", "o.parquet", "--n-q", 3, "--delays", "0,0,2,2")
    done = delaytool(*arguments, "--dry-run", cwd=folder, status=1)
    assert "is in the way" in done.stderr


def test_only_a_dry_run_goes_without_an_output(folder):
    done = delaytool("apply", "data", *PLAIN, cwd=folder, status=2)
    assert "Missing argument 'OUTPUT', which only --dry-run can do without" in done.stderr
