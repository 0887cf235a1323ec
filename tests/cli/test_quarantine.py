"""Bad rows in quarantine: resumed, emptied, verified, refused."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from make import PLAIN, delaytool, files_in, summary_of, tokens_table

BAD = {
    1: ("text_tokens", lambda x: x[:-1]),
    4: ("audio_codes", lambda x: [*x[:-1], [5000, *x[2][1:]]]),
    5: ("audio_codes", lambda x: None),
    9: ("text_tokens", lambda x: [None, *x[1:]]),
}


@pytest.fixture
def spoiled(data):
    """The data with four bad rows in one shard."""
    table = tokens_table(seed=1)
    rows = table.to_pylist()
    for row, (column, change) in BAD.items():
        rows[row][column] = change(rows[row][column])
    spoiled = pa.Table.from_pylist(rows, table.schema.with_metadata({"license": "cc0"}))
    pq.write_table(spoiled, data / "a.parquet", row_group_size=5)
    return data


def test_bad_rows_go_into_quarantine(spoiled, tmp_path):
    out, aside = tmp_path / "out", tmp_path / "aside"
    arguments = ("apply", spoiled, out, *PLAIN, "--quarantine", aside)
    summary = summary_of(delaytool(*arguments, "--json"))
    assert (summary["rows"], summary["quarantined"], summary["written"]) == (13, 4, 2)
    assert sorted(files_in(aside)) == ["a.parquet"], "no shard of no rows"
    source, bad = pq.read_table(spoiled / "a.parquet"), pq.read_table(aside / "a.parquet")
    assert bad.column_names == [*source.column_names, "reason"]
    assert bad.schema.metadata == {b"license": b"cc0"}
    assert bad.drop_columns(["reason"]).equals(source.take(list(BAD)))
    reasons = bad["reason"].to_pylist()
    for row, reason in zip(BAD, reasons, strict=True):
        assert reason.startswith(f"row {row} (id 'utt-{row}'), column {BAD[row][0]}")
    assert "stream acoustic_2, timestep 0: token 5000, expected 0 to 2047" in reasons[1]
    good = [row for row in range(12) if row not in BAD]
    assert pq.read_table(out / "a.parquet")["id"].to_pylist() == [f"utt-{row}" for row in good]

    delaytool("verify", out)
    delaytool("verify", out, "--source", spoiled)
    done = delaytool("revert", out, tmp_path / "back", status=1)
    assert "quarantine holds 4 rows, which cannot come back" in done.stderr
    assert not (tmp_path / "back").exists(), "nor has the other shard been written"
    delaytool("revert", out, tmp_path / "back", "--allow-lossy")
    back = pq.read_table(tmp_path / "back" / "a.parquet")
    assert back.equals(source.take(good), check_metadata=True)


def test_quarantine_resumes(spoiled, tmp_path):
    out, aside = tmp_path / "out", tmp_path / "aside"
    arguments = ("apply", spoiled, out, *PLAIN, "--quarantine", aside, "--json")
    first = summary_of(delaytool(*arguments))
    assert first["reasons"] == [
        {"kind": "null", "column": "audio_codes", "rows": 1},
        {"kind": "null", "column": "text_tokens", "rows": 1},
        {"kind": "text-length", "column": "text_tokens", "rows": 1},
        {"kind": "token", "column": "audio_codes", "rows": 1},
    ]
    before, bad = files_in(out), files_in(aside)
    again = summary_of(delaytool(*arguments))
    assert (first["written"], again["unchanged"]) == (2, 2)
    told = first.keys() - {"written", "unchanged", "seconds"}
    assert {name: again[name] for name in told} == {name: first[name] for name in told}
    table = delaytool("stats", out).stdout
    assert "1 row: column audio_codes: a token outside its vocabulary\n" in table
    for lost in (aside / "a.parquet", out / "a.parquet"):
        lost.unlink()
        summary = summary_of(delaytool(*arguments))
        assert (summary["written"], summary["quarantined"]) == (1, 4)
        assert (files_in(out), files_in(aside)) == (before, bad)
    done = delaytool("apply", spoiled, out, *PLAIN, status=1)
    assert "is in the way: 4 rows of it are in quarantine" in done.stderr
    (aside / "a.parquet").write_text("somebody's")
    done = delaytool(*arguments, status=1)
    assert f"the output {aside / 'a.parquet'} is in the way" in done.stderr
    assert (aside / "a.parquet").read_text() == "somebody's"


def test_a_repaired_source_empties_the_quarantine(spoiled, tmp_path):
    out, aside = tmp_path / "out", tmp_path / "aside"
    arguments = ("apply", spoiled, out, *PLAIN, "--quarantine", aside)
    delaytool(*arguments)
    pq.write_table(tokens_table(seed=1), spoiled / "a.parquet")
    assert "is in the way" in delaytool(*arguments, status=1).stderr
    summary = summary_of(delaytool(*arguments, "--overwrite", "--json"))
    assert (summary["rows"], summary["quarantined"]) == (17, 0)
    assert not files_in(aside)
    delaytool("verify", out, "--source", spoiled)


def test_verify_knows_which_rows_are_bad(spoiled, tmp_path):
    out = tmp_path / "out"
    delaytool("apply", spoiled, out, *PLAIN, "--quarantine", tmp_path / "aside")
    rows = pq.read_table(spoiled / "a.parquet")
    ids = pa.array(["utt-4", *rows["id"].to_pylist()[1:]])
    pq.write_table(rows.set_column(0, "id", ids), spoiled / "a.parquet")
    done = delaytool("verify", out, "--source", spoiled, status=1)
    assert "row 0" in done.stderr
    whole = tokens_table(seed=1)
    pq.write_table(whole, spoiled / "a.parquet")
    done = delaytool("verify", out, "--source", spoiled, status=1)
    assert "row 1 (id 'utt-1'): quarantine: found in quarantine, expected a good row" in done.stderr


def test_places_where_a_quarantine_cannot_be(data, tmp_path):
    out = tmp_path / "out"
    for aside in (data, out, tmp_path):
        done = delaytool("apply", data, out, *PLAIN, "--quarantine", aside, status=2)
        assert "--quarantine" in done.stderr
    (tmp_path / "file").write_text("x")
    done = delaytool("apply", data, out, *PLAIN, "--quarantine", tmp_path / "file", status=2)
    assert "is a file, expected a folder" in done.stderr
    table = tokens_table().append_column("reason", pa.nulls(12, pa.string()))
    pq.write_table(table, tmp_path / "r.parquet")
    done = delaytool(
        "apply", tmp_path / "r.parquet", out, *PLAIN, "--quarantine", tmp_path / "q", status=1
    )
    assert "the column reason is in the way" in done.stderr


def test_a_shard_of_bad_rows_alone(data, tmp_path):
    table = tokens_table(rows=3)
    text = pa.array([None] * 3, table["text_tokens"].type)
    pq.write_table(table.set_column(1, "text_tokens", text), data / "a.parquet")
    out, aside = tmp_path / "out", tmp_path / "aside"
    delaytool("apply", data, out, *PLAIN, "--quarantine", aside)
    assert pq.read_metadata(out / "a.parquet").num_rows == 0
    assert pq.read_metadata(aside / "a.parquet").num_rows == 3
    delaytool("verify", out, "--source", data)
