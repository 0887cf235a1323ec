"""`verify`: what is wrong, and where."""

import pyarrow as pa
import pyarrow.parquet as pq
from make import PLAIN, delaytool, entry_of, rewrite, summary_of, tokens_table


def test_verify_tells_missing_and_extra_shards(data, tmp_path):
    out = tmp_path / "out"
    delaytool("apply", data, out, *PLAIN)
    (out / "more" / "b.parquet").rename(out / "c.parquet")
    done = delaytool("verify", out, "--source", data, "--json", status=1)
    summary = summary_of(done)
    assert not summary["verified"]
    assert {m["shard"]: m["what"] for m in summary["mismatches"]} == {
        "more/b.parquet": "shard",
        "c.parquet": "shard",
    }


def test_verify_says_which_cell_is_wrong(data, tmp_path):
    out = tmp_path / "out"
    delaytool("apply", data, out, *PLAIN)
    path = out / "a.parquet"
    table, entry = pq.read_table(path), pq.read_metadata(path).metadata[b"delaytool"]
    rows = table.to_pylist()
    rows[1]["audio_codes"][2][0] = 5
    with pq.ParquetWriter(path, table.schema) as writer:
        writer.write_table(pa.Table.from_pylist(rows, table.schema))
        writer.add_key_value_metadata({"delaytool": entry})
    done = delaytool("verify", out, "--quiet", status=1)
    place = "a.parquet, row 1 (id 'utt-1'), column audio_codes, stream acoustic_2, timestep 0"
    assert f"Error: {place}: fill token: found 5, expected 2048" in done.stderr
    assert "NOT verified: 1 mismatch in 2 shards" in done.stdout


def test_verify_marks_mismatches_in_github_actions(data, tmp_path):
    out = tmp_path / "out, 100%"
    delaytool("apply", data, out, *PLAIN)
    table, entry = pq.read_table(out / "a.parquet"), entry_of(out / "a.parquet")
    weights = table["text_loss_weights"].to_pylist()
    weights[4][0] = 7.0
    at = table.schema.get_field_index("text_loss_weights")
    field = table.schema.field(at)
    changed = table.set_column(at, field, pa.array(weights, field.type))
    rewrite(out / "a.parquet", changed, entry)
    for path in (out, out / "a.parquet"):
        done = delaytool("verify", path, "--quiet", status=1, env={"GITHUB_ACTIONS": "true"})
        marks = [line for line in done.stderr.splitlines() if line.startswith("::")]
        file = f"{tmp_path}/out%2C 100%25/a.parquet"
        place = "a.parquet, row 4 (id 'utt-4')"
        assert marks[0].startswith(f"::error file={file},title=delaytool verify::{place}")
        assert "timestep 0" in marks[0]
    assert "::error" not in delaytool("verify", out, "--quiet", status=1).stderr


def test_verify_tells_shards_that_were_made_in_different_ways(data, tmp_path):
    """All are compared with the first by name, whichever is done first."""
    pq.write_table(tokens_table(seed=3, rows=200, longest=300), data / "0.parquet")
    pq.write_table(tokens_table(seed=4, rows=1), data / "z.parquet")
    out = tmp_path / "out"
    delaytool("apply", data, out, *PLAIN)
    for name in ("a.parquet", "z.parquet"):
        delaytool("apply", data / name, out, "--n-q", 3, "--delays", "0,0,1,3", "--overwrite")
    place, what = "a.parquet, stream acoustic_2", "recipe, delay, other than in 0.parquet"
    for workers in (1, 2):
        for source in ((), ("--source", data)):
            done = delaytool("verify", out, *source, "--quiet", "--workers", workers, status=1)
            assert done.stderr.splitlines() == [
                f"Error: {place}: {what}: found 3, expected 2",
                "... and 1 mismatch more",
                "  Verify shards that were made in different ways by subfolder.",
            ]
            assert "NOT verified: 2 mismatches in 4 shards" in done.stdout
    (mismatch,) = summary_of(delaytool("verify", out, "--json", status=1))["mismatches"]
    assert mismatch == {
        "shard": "a.parquet", "row": None, "stream": "acoustic_2", "timestep": None,
        "expected": 2, "found": 3, "what": what,
    }  # fmt: skip
    delaytool("verify", out / "more", "--source", data / "more")
    delaytool("verify", out / "a.parquet", "--source", data / "a.parquet")


def test_verify_needs_records(data):
    done = delaytool("verify", data, status=1)
    assert "expected a delaytool entry in the footer" in done.stderr
