"""What bad input gets: one line with the place, the right status, nothing written."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from make import PLAIN, SAMPLE_DATA, delaytool, errors_of, files_in, tokens_table

ISSUE_123 = SAMPLE_DATA / "issue-123.parquet"


def one_row_differs(column, value):
    rows = tokens_table(rows=4).to_pylist()
    rows[2][column] = value(rows[2][column])
    return pa.Table.from_pylist(rows, tokens_table(rows=4).schema)


BAD_ROWS = {
    "text shorter": ("text_tokens", lambda x: x[:-1], "frames", "audio_codes"),
    "code too high": (
        "audio_codes",
        lambda x: [x[0], [*x[1][:-1], 2048], x[2]],
        "token 2048, expected 0 to 2047",
        "stream acoustic_1",
    ),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_a_bad_row_stops_the_run(data, tmp_path, case):
    column, change, found, where = BAD_ROWS[case]
    pq.write_table(one_row_differs(column, change), data / "a.parquet")
    done = delaytool("apply", data / "a.parquet", tmp_path / "out", *PLAIN, "--quiet", status=1)
    error, advice = errors_of(done)
    assert error.startswith("Error: a.parquet, row 2 (id 'utt-2'), ")
    assert found in error
    assert where in error
    assert advice.startswith("  ")
    assert advice.endswith(".")
    assert done.stdout == ""
    assert not (tmp_path / "out").exists()


def test_a_bad_shard_leaves_the_finished_ones(data, tmp_path):
    pq.write_table(one_row_differs("text_tokens", lambda x: None), data / "more" / "b.parquet")
    delaytool("apply", data, tmp_path / "out", *PLAIN, "--workers", 2, status=1)
    assert set(files_in(tmp_path / "out")) <= {"a.parquet"}
    pq.write_table(tokens_table(), data / "more" / "b.parquet")
    delaytool("apply", data, tmp_path / "out", *PLAIN)
    delaytool("verify", tmp_path / "out", "--source", data)


BAD_COMMANDS = {
    "missing column": (1, ("--audio-column", "codes"), "there is no column codes; there are"),
    "missing key": (1, ("--key", "name"), "there is no column name"),
    "column of strings": (1, ("--text-column", "tags"), "expected list<integer>"),
    "unknown preset": (2, ("--preset", "moshiko"), "did you mean moshi"),
    "unknown length": (2, ("--length", "cut"), "'extend', 'truncate'"),
    "unknown option": (2, ("--delay", "1"), "--delay"),
    "no number": (2, ("--delays", "0,x"), "not a list of integers"),
    "negative delay": (2, ("--delays", "0,0,-1,0"), "delay is -1"),
    "too few delays": (2, ("--delays", "0,1"), "2 delays for 4 streams"),
    "bad weight": (2, ("--semantic-weight", "inf"), "weight is inf"),
    "bad fill": (2, ("--audio-initial", "-3"), "initial is -3"),
    "zero workers": (2, ("--workers", "0"), "--workers"),
    "two bases": (2, ("--preset", "moshi", "--recipe", ISSUE_123), "exclude one another"),
    "recipe that is no JSON": (2, ("--recipe", ISSUE_123), "JSON"),
    "too many streams": (2, ("--preset", "moshi", "--n-q", "17"), "n_q is 17"),
}


@pytest.mark.parametrize("case", BAD_COMMANDS)
def test_a_bad_command(data, tmp_path, case):
    status, options, message = BAD_COMMANDS[case]
    base = [] if "--preset" in options or "--recipe" in options else ["--n-q", 3]
    if base and "--delays" not in options:
        base += ["--delays", "0,0,1,2"]
    out = tmp_path / "out"
    done = delaytool("apply", data, out, *base, *options, "--quiet", status=status)
    assert message in "\n".join(errors_of(done))
    assert done.stdout == ""
    assert not out.exists()


def test_more_than_eight_streams_need_dep_q(data, tmp_path):
    done = delaytool("apply", data, tmp_path / "out", "--n-q", 9, "--delays", 1, status=2)
    assert "--dep-q" in done.stderr
    assert "--preset moshi" in done.stderr


def test_not_a_parquet_file(data, tmp_path):
    (data / "a.parquet").write_text("id,text_tokens\n")
    done = delaytool("apply", data, tmp_path / "out", *PLAIN, status=1)
    assert "Error: a.parquet: cannot be read: " in done.stderr
    assert not (tmp_path / "out").exists()


def test_nothing_to_read(tmp_path):
    assert "does not exist" in delaytool("apply", tmp_path / "no", tmp_path / "o", status=2).stderr
    (tmp_path / "empty").mkdir()
    done = delaytool("apply", tmp_path / "empty", tmp_path / "o", status=1)
    assert "there are no shards" in done.stderr


def test_input_and_output_the_same(data):
    before = files_in(data)
    assert "the same" in delaytool("apply", data, data, *PLAIN, status=2).stderr
    path = data / "a.parquet"
    assert "the same" in delaytool("apply", path, path, *PLAIN, status=2).stderr
    done = delaytool("apply", path, data, *PLAIN, "--overwrite", status=2)
    assert "the same" in done.stderr
    assert files_in(data) == before


def test_shifting_twice_is_refused(data, tmp_path):
    delaytool("apply", data, tmp_path / "out", *PLAIN)
    done = delaytool("apply", tmp_path / "out", tmp_path / "twice", *PLAIN, status=1)
    assert "it is shifted already" in done.stderr
    assert not (tmp_path / "twice").exists()


def test_an_output_made_otherwise_is_in_the_way(data, tmp_path):
    out = tmp_path / "out"
    delaytool("apply", data, out, *PLAIN)
    before = files_in(out)
    done = delaytool("apply", data, out, *PLAIN, "--initial-step", status=1)
    assert "is in the way: it was made with other options" in done.stderr
    pq.write_table(tokens_table(seed=9), data / "a.parquet")
    done = delaytool("apply", data, out, *PLAIN, status=1)
    assert "is in the way: it was made from another source" in done.stderr
    assert files_in(out) == before
    (out / "a.parquet").write_text("somebody's notes")
    done = delaytool("apply", data, out, *PLAIN, status=1)
    assert "is in the way: " in done.stderr
    delaytool("apply", data, out, *PLAIN, "--overwrite")
    delaytool("verify", out, "--source", data)


def test_an_output_column_in_the_way(data, tmp_path):
    table = pq.read_table(data / "a.parquet")
    table = table.append_column("text_loss_weights", table["score"])
    pq.write_table(table, data / "a.parquet")
    done = delaytool("apply", data / "a.parquet", tmp_path / "out", *PLAIN, status=1)
    assert "the column text_loss_weights is in the way" in done.stderr
    delaytool("apply", data / "a.parquet", tmp_path / "out", *PLAIN, "--no-weights")
