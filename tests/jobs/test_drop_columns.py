"""Columns that apply leaves out: what comes out, what verify compares, and what revert gives."""

import json

import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from make import PLAIN, QUARANTINE, delaytool, entry_of, errors_of, job_on, summary_of, tokens_table

import delaytool as library
from delaytool.batches.metadata import SPARK
from delaytool.recipes.presets import plain_recipe
from delaytool.shards.read import OpenShard

AUDIO = pa.struct({"bytes": pa.binary(), "path": pa.string()})
RECIPE = plain_recipe(3, (0, 0, 1, 2))


def audio_table(rows=12, **columns):
    """Tokens beside audio, with what pandas, datasets and Spark say of the columns."""
    audio = [{"bytes": bytes([row]) * 50, "path": f"{row}.wav"} for row in range(rows)]
    table = tokens_table(rows=rows, audio=pa.array(audio, AUDIO), **columns)
    features = {name: {"dtype": "string", "_type": "Value"} for name in table.schema.names}
    fields = [
        {"name": name, "type": "string", "nullable": True, "metadata": {}}
        for name in table.schema.names
    ]
    metadata = {
        b"huggingface": json.dumps({"info": {"features": features}}).encode(),
        b"pandas": json.dumps(pa.Schema.from_pandas(pandas.DataFrame()).pandas_metadata).encode(),
        SPARK: json.dumps({"type": "struct", "fields": fields}).encode(),
    }
    return table.replace_schema_metadata(metadata)


@pytest.fixture
def audio(tmp_path):
    (tmp_path / "data").mkdir()
    pq.write_table(audio_table(), tmp_path / "data" / "a.parquet")
    return tmp_path


def drop(folder, *options, status=0, **how):
    return delaytool(
        "apply",
        "data",
        "out",
        *PLAIN,
        "--drop-column",
        "audio",
        *options,
        cwd=folder,
        status=status,
        **how,
    )


def described(schema):
    """The columns that Hugging Face and Spark see."""
    features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    fields = json.loads(schema.metadata[SPARK])["fields"]
    return set(features), {field["name"] for field in fields}


def test_a_dropped_column_is_absent_from_outputs_and_what_reverting_gives(audio):
    done = drop(audio, "--drop-column", "tags")
    assert "  column audio: struct<bytes: binary, path: string>, left out" in done.stderr
    source = pq.read_table(audio / "data" / "a.parquet")
    shifted = pq.read_table(audio / "out" / "a.parquet")
    assert not {"audio", "tags"} & set(shifted.schema.names)
    assert json.loads(entry_of(audio / "out" / "a.parquet"))["drop_columns"] == ["audio", "tags"]
    delaytool("verify", "out", "--source", "data", cwd=audio)
    delaytool("verify", "out", cwd=audio)
    done = delaytool("revert", "out", "back", cwd=audio, status=1)
    assert "columns were left out, audio, tags, which cannot come back" in done.stderr
    assert errors_of(done)[-1] == "  Take the rest with --allow-lossy."
    assert not (audio / "back").exists()
    delaytool("revert", "out", "back", "--allow-lossy", cwd=audio)
    back = pq.read_table(audio / "back" / "a.parquet")
    assert back.equals(source.drop_columns(["audio", "tags"]))
    for schema in (shifted.schema, back.schema):
        left = set(schema.names)
        assert described(schema) == (left, left)
    done = delaytool("revert", "out", "back", "--allow-lossy", "--json", cwd=audio)
    assert summary_of(done)["unchanged"] == 1, "a restored file is known again"


def test_the_summary_says_which_columns_were_dropped(audio):
    assert summary_of(drop(audio, "--json"))["dropped_columns"] == ["audio"]
    done = drop(audio, "--dry-run", "--json")
    assert summary_of(done)["dropped_columns"] == ["audio"]


@pytest.mark.parametrize("source", [(), ("--source", "data")])
def test_verify_and_revert_tell_of_dropped_columns(audio, source):
    drop(audio, "--drop-column", "tags")
    said = delaytool("verify", "out", *source, cwd=audio).stdout.splitlines()
    assert said[1] == "compared without the columns that were left out: audio, tags"
    done = delaytool("verify", "out", *source, "--json", cwd=audio)
    assert summary_of(done)["dropped_columns"] == ["audio", "tags"]
    said = delaytool("revert", "out", "back", "--allow-lossy", cwd=audio).stdout.splitlines()
    assert said[1] == "but the columns that had been left out: audio, tags"
    done = delaytool("revert", "out", "back", "--allow-lossy", "--json", cwd=audio)
    assert summary_of(done)["dropped_columns"] == ["audio", "tags"]


def test_dropped_columns_are_not_read(audio, monkeypatch):
    read = []
    batches = OpenShard.small_batches

    def small_batches(self, names=None, groups=None, *, coded=False):
        if self.shard.path.endswith("data/a.parquet"):
            read.append(self.schema.names if names is None else names)
        return batches(self, names, groups, coded=coded)

    def apply(output, *columns):
        read.clear()
        library.apply(audio / "data", audio / output, RECIPE, drop_column=columns)
        return {name for names in read[1:] for name in names}

    monkeypatch.setattr(OpenShard, "small_batches", small_batches)
    assert "audio" in apply("whole"), "the first reads look for the layout"
    assert "audio" not in apply("out", "audio", "id")
    assert {"audio", "id"} & apply("out2", "audio", "id") == {"id"}, "the key is in messages"
    read.clear()
    library.verify(audio / "out", source=audio / "data")
    assert read
    assert "audio" not in {name for names in read for name in names}


@pytest.mark.parametrize(
    ("names", "status", "says"),
    [
        (["sound"], 1, "there is no column sound; there are id, text_tokens, speaker, audio_codes"),
        (["audio_codes"], 2, "--drop-column is audio_codes, which holds tokens"),
        (["text_tokens"], 2, "--drop-column is text_tokens, which holds tokens"),
        (["factors"], 2, "--drop-column is factors, which holds the factors on the loss weights"),
    ],
)
def test_columns_that_cannot_be_dropped(tmp_path, names, status, says):
    table = tokens_table(rows=4)
    factors = pa.array([[1.0] * len(row) for row in table["text_tokens"].to_pylist()])
    pq.write_table(table.append_column("factors", factors), tmp_path / "a.parquet")
    options = [part for name in names for part in ("--drop-column", name)]
    options += ["--weight-column", "factors"]
    command = ("apply", "a.parquet", "o.parquet", *PLAIN, *options)
    done = delaytool(*command, cwd=tmp_path, status=status)
    assert says in done.stderr
    if status == 1:
        assert "Name a column with --drop-column that passes through" in done.stderr


def test_other_dropped_columns_make_another_output(audio):
    drop(audio)
    assert summary_of(drop(audio, "--json"))["unchanged"] == 1
    done = drop(audio, "--drop-column", "tags", status=1)
    assert "it was made with other options" in done.stderr
    assert summary_of(drop(audio, "--drop-column", "tags", "--overwrite", "--json"))["written"] == 1
    (audio / "more").mkdir()
    pq.write_table(audio_table(), audio / "more" / "b.parquet")
    delaytool("apply", "more", "out", *PLAIN, "--drop-column", "audio", cwd=audio)
    done = delaytool("verify", "out", cwd=audio, status=1)
    assert (
        "columns left out, other than in a.parquet: found audio, expected audio, tags"
        in done.stderr
    )


def test_a_dropped_key_is_still_in_messages_and_pairs_rows(tmp_path):
    table = audio_table()
    text = table.drop_columns(["audio_codes", "tags"])
    for name, part in (("text", text), ("codes", table.select(["id", "audio_codes", "tags"]))):
        (tmp_path / name).mkdir()
        pq.write_table(part, tmp_path / name / "a.parquet")
    paired = ("--audio-input", "codes")
    dropped = [part for name in ("id", "audio", "tags") for part in ("--drop-column", name)]
    done = delaytool("apply", "text", "out", *paired, *PLAIN, *dropped, cwd=tmp_path)
    assert "order alone" not in done.stderr
    assert "id" not in pq.read_schema(tmp_path / "out" / "a.parquet").names
    delaytool("verify", "out", "--source", "text", *paired, cwd=tmp_path)
    delaytool("verify", "out", cwd=tmp_path)
    delaytool("inspect", "out/a.parquet", cwd=tmp_path)
    both = ("back", "--audio-output", "back-codes", "--allow-lossy")
    delaytool("revert", "out", *both, cwd=tmp_path)
    for name, part in (("back", text), ("back-codes", table.select(["audio_codes"]))):
        left = [n for n in part.schema.names if n not in ("id", "audio")]
        assert pq.read_table(tmp_path / name / "a.parquet").equals(part.select(left))
    delaytool("revert", "out", "one", "--allow-lossy", cwd=tmp_path)
    names = ["text_tokens", "speaker", "score", "audio_codes"]
    assert pq.read_table(tmp_path / "one" / "a.parquet").equals(table.select(names))
    few = (*PLAIN, "--card", 4, *dropped)
    done = delaytool("apply", "text", "bad", *paired, *few, cwd=tmp_path, status=1)
    assert "row 0 (id 'utt-0')" in done.stderr


@pytest.mark.parametrize("options", [("--window", 6), ("--window", 6, "--window-cut", "after")])
def test_windows_without_a_dropped_column(audio, options):
    drop(audio, *options, "--drop-column", "id")
    delaytool("verify", "out", cwd=audio)
    delaytool("verify", "out", "--source", "data", cwd=audio)
    delaytool("revert", "out", "back", "--allow-lossy", cwd=audio)
    source = pq.read_table(audio / "data" / "a.parquet").drop_columns(["audio", "id"])
    assert pq.read_table(audio / "back" / "a.parquet").equals(source)


@pytest.mark.parametrize("options", [(), ("--length", "truncate"), ("--window-min", 9)])
@pytest.mark.parametrize("layout", ["codebook", "frame"])
def test_the_rest_of_a_sliced_column_is_dropped(audio, options, layout):
    source = pq.read_table(audio / "data" / "a.parquet")
    if layout == "frame":
        frames = [
            [list(f) for f in zip(*r, strict=True)] for r in source["audio_codes"].to_pylist()
        ]
        place = source.schema.get_field_index("audio_codes")
        kind = source.schema.field(place).type
        source = source.set_column(place, "audio_codes", pa.array(frames, kind))
        pq.write_table(source, audio / "data" / "a.parquet")
    sliced = ("--n-q", 2, "--delays", "0,0,1", "--audio-column", "audio_codes[1:]")
    dropped = ("--drop-column", "audio_codes", "--audio-layout", layout)
    done = delaytool("apply", "data", "out", *sliced, *options, cwd=audio, status=1)
    assert "or leave the others out with --drop-column audio_codes" in done.stderr
    done = delaytool("apply", "data", "out", *sliced, *dropped, *options, cwd=audio)
    assert "column audio_codes: all of it but the tokens is left out" in done.stderr
    shifted = pq.read_table(audio / "out" / "a.parquet")
    names = [*source.schema.names, "text_loss_weights", "audio_loss_weights"]
    windows = ["window", "window_start", "row_frames"] if "--window-min" in options else []
    assert shifted.schema.names == names + windows
    delaytool("verify", "out", cwd=audio)
    delaytool("verify", "out", "--source", "data", cwd=audio)
    done = delaytool("revert", "out", "back", cwd=audio, status=1)
    assert "columns were left out, the rest of audio_codes" in done.stderr
    delaytool("revert", "out", "back", "--allow-lossy", cwd=audio)
    back = pq.read_table(audio / "back" / "a.parquet")
    if not options:
        rows = source["audio_codes"].to_pylist()
        kept = [row[1:] if layout == "codebook" else [frame[1:] for frame in row] for row in rows]
        assert back["audio_codes"].to_pylist() == kept
        assert back.drop_columns("audio_codes").equals(source.drop_columns("audio_codes"))


def test_a_column_in_the_way_can_be_dropped(tmp_path):
    table = tokens_table(rows=4, text_loss_weights=[1, 2, 3, 4], window=[1, 2, 3, 4])
    pq.write_table(table, tmp_path / "a.parquet")
    command = ("apply", "a.parquet", "o.parquet", *PLAIN)
    done = delaytool(*command, cwd=tmp_path, status=1)
    assert "leave it out with --drop-column text_loss_weights" in done.stderr
    command = (*command, "--drop-column", "text_loss_weights", "--window", 5)
    done = delaytool(*command, cwd=tmp_path, status=2)
    assert "leave it out with --drop-column window" in done.stderr
    delaytool(*command, "--drop-column", "window", cwd=tmp_path)
    delaytool("verify", "o.parquet", "--source", "a.parquet", cwd=tmp_path)
    delaytool("revert", "o.parquet", "b.parquet", "--allow-lossy", cwd=tmp_path)
    kept = table.drop_columns(["text_loss_weights", "window"])
    assert pq.read_table(tmp_path / "b.parquet").equals(kept)


def test_quarantined_rows_keep_all_columns(audio):
    """They are repaired and shifted by the same command, into outputs made the same way."""
    source = pq.read_table(audio / "data" / "a.parquet")
    rows = source.to_pylist()
    for bad in (1, 2, 9):
        rows[bad]["text_tokens"][0] = 99
    pq.write_table(pa.Table.from_pylist(rows, source.schema), audio / "data" / "a.parquet", 4)
    options = ("--text-card", 50, "--text-initial", 50)
    drop(audio, *options, "--quarantine", "bad")
    bad = pq.read_table(audio / "bad" / "a.parquet")
    assert bad.schema.names == [*source.schema.names, "reason"]
    assert bad["audio"].to_pylist() == [rows[row]["audio"] for row in (1, 2, 9)]
    assert "drop_columns" in json.loads(entry_of(audio / "bad" / "a.parquet", QUARANTINE))
    checks = ("--quarantine", "bad")
    delaytool("verify", "out", *checks, cwd=audio)
    delaytool("verify", "out", *checks, "--source", "data", cwd=audio)
    assert summary_of(drop(audio, *options, *checks, "--json"))["unchanged"] == 1
    done = delaytool("revert", "out", "back", cwd=audio, status=1)
    assert "quarantine holds 3 rows and columns were left out, audio" in done.stderr
    again = ("--drop-column", "audio", *PLAIN, "--text-card", 100, "--text-initial", 100)
    delaytool("apply", "bad", "repaired", *again, cwd=audio)
    assert pq.read_table(audio / "repaired" / "a.parquet")["id"].to_pylist() == [
        "utt-1",
        "utt-2",
        "utt-9",
    ]


@pytest.mark.parametrize("options", [(), ("--window", 6)])
def test_quarantined_rows_of_text_and_codes_keep_all_columns(tmp_path, options):
    table = audio_table()
    rows = table.to_pylist()
    for bad in (0, 5, 6, 11):
        rows[bad]["audio_codes"][0][0] = None
    table = pa.Table.from_pylist(rows, table.schema)
    pq.write_table(table.drop_columns(["audio_codes", "tags"]), tmp_path / "t.parquet", 3)
    pq.write_table(table.select(["id", "audio_codes", "tags"]), tmp_path / "c.parquet", 5)
    paired = ("--audio-input", "c.parquet")
    dropped = [part for name in ("audio", "tags", "id") for part in ("--drop-column", name)]
    command = ("t.parquet", "o.parquet", *paired, *PLAIN, *options, *dropped)
    delaytool("apply", *command, "--quarantine", "bad", cwd=tmp_path)
    bad = pq.read_table(tmp_path / "bad" / "t.parquet").drop_columns("reason")
    names = ["id", "text_tokens", "speaker", "score", "audio", "audio_codes", "tags"]
    assert bad.equals(table.take([0, 5, 6, 11]).select(names))
    sources = ("--source", "t.parquet", *paired)
    for source in ((), sources):
        delaytool("verify", "o.parquet", *source, "--quarantine", "bad", cwd=tmp_path)


def test_map_batch_drops_columns():
    table = audio_table()
    shifted = library.map_batch(RECIPE, drop_column="audio")(table)
    assert "audio" not in shifted.schema.names
    whole = library.map_batch(RECIPE)(table).drop_columns("audio")
    assert shifted.equals(whole)


def test_which_columns_are_dropped_is_part_of_the_job():
    table = audio_table()
    job, other = (job_on(table, RECIPE, drop_column=names) for names in ((), ("audio", "audio")))
    assert job != other
    assert other.drop_columns == ("audio",)
    assert other == job_on(table, RECIPE, drop_column=("audio",))
