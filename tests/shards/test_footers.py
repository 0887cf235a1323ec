"""Every key-value entry of a footer comes back, byte for byte and to its own file."""

import base64
import dataclasses
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from make import entry_of, finish, job_on, tokens_job, tokens_table

from delaytool.batches.metadata import ENTRY, QUARANTINE_ENTRY, STORED_SCHEMA
from delaytool.errors import DataError
from delaytool.jobs.apply import ApplyShard
from delaytool.jobs.paths import Item
from delaytool.jobs.revert import RevertShard
from delaytool.jobs.verify import VerifyShard
from delaytool.shards.find import Shard
from delaytool.shards.read import open_shard
from delaytool.shards.record import Record
from delaytool.shards.sources import entries_of

TABLE = tokens_table()
OURS = (ENTRY.encode(), STORED_SCHEMA)


def features(*names):
    """A description of columns as Hugging Face writes it."""
    columns = {name: {"dtype": "string", "_type": "Value"} for name in names}
    return json.dumps({"info": {"features": columns}})


FOOTERS = {
    "nothing": {},
    "another value": {
        "schema": {"made": "old", "kept": "1"},
        "added": {"made": "new", "more": "2"},
    },
    "empty": {"schema": {"": "x", "made": ""}, "added": {"more": "", "made": "y"}},
    "any bytes": {
        "schema": {b"\xff": b"\x00\xfe"},
        "added": {b"\xfe\x00": b"\xff", b"\xff": b"\x80"},
    },
    "no Arrow schema": {
        "schema": {"made": "1"},
        "added": {"made": "2", "more": ""},
        "stored": False,
    },
    "nothing at all": {"stored": False},
    "in the Arrow schema alone": {"hidden": {"made": "1", "kept": "2"}, "added": {"made": "3"}},
    "nothing but the Arrow schema": {"hidden": {"made": "1"}},
    "named like ours": {"schema": {"delaytool-x": "x"}, "added": {"delaytool-x": "y"}},
    "another description": {
        "schema": {"huggingface": features("id")},
        "added": {"huggingface": "?"},
    },
    "a description beside": {
        "added": {"huggingface": features(*TABLE.column_names), "pandas": "{}"}
    },
    "large": {"added": {"large": "x" * 5_000_000}},
}


def write(path, table, schema=None, added=None, hidden=None, stored=True):
    """Write a table.

    schema: metadata of its schema; added: entries of the footer besides those
    hidden: metadata that only the Arrow schema in the footer has; stored: whether there is one
    """
    added = {k if isinstance(k, bytes) else k.encode(): v for k, v in (added or {}).items()}
    table = table.replace_schema_metadata(schema)
    if hidden is not None:
        whole = table.schema.with_metadata(hidden)
        added[STORED_SCHEMA] = base64.b64encode(whole.serialize())
    with pq.ParquetWriter(path, table.schema, store_schema=stored and hidden is None) as writer:
        writer.write_table(table, row_group_size=4)
        if added:
            writer.add_key_value_metadata(added)


def footer_of(path):
    return pq.read_metadata(path).metadata or {}


def same_file(path, other):
    assert footer_of(path) == footer_of(other)
    assert pq.read_table(path).equals(pq.read_table(other), check_metadata=True)
    return True


def verify(output, source=None, codes=None):
    shards = [None if path is None else Shard("a", str(path)) for path in (output, source, codes)]
    found = finish(VerifyShard(*shards, None).run()).mismatches
    return [(m.what, m.expected, m.found) for m in found]


def revert(output, target, codes=None, lossy=False):
    steps = RevertShard(Shard("a", str(output)), str(target), codes, None, lossy, False).run()
    return finish(steps)


@pytest.fixture
def files(tmp_path):
    return [tmp_path / name for name in ("source", "output", "back")]


def apply(source, output, job=None, codes=None, aside=None):
    codes = None if codes is None else Shard("a", str(codes))
    item = Item(Shard("a", str(source)), codes, str(output), aside)
    return finish(ApplyShard(item, job or tokens_job(), False).run())


@pytest.mark.parametrize("footer", FOOTERS)
def test_every_entry_comes_back(files, footer):
    source, output, back = files
    write(source, TABLE, **FOOTERS[footer])
    apply(source, output)
    assert verify(output) == verify(output, source) == []
    revert(output, back)
    assert same_file(source, back)
    assert verify(output, back) == []


@pytest.mark.parametrize("footer", FOOTERS)
def test_an_output_carries_the_entries(files, footer):
    """All but ours; what describes the columns describes those of the output, or is left out."""
    source, output, _ = files
    write(source, TABLE, **FOOTERS[footer])
    apply(source, output)
    described = {b"huggingface", b"pandas", QUARANTINE_ENTRY.encode(), *OURS}
    found = footer_of(output)
    for key, value in footer_of(source).items():
        assert key in described or found[key] == value
    assert QUARANTINE_ENTRY.encode() not in found
    if footer == "a description beside":
        columns = json.loads(found[b"huggingface"])["info"]["features"]
        assert columns.keys() == set(pq.read_schema(output).names)


@pytest.mark.parametrize("footer", ["another value", "no Arrow schema"])
def test_entries_of_what_is_left_of_truncated_rows(files, footer):
    source, output, back = files
    write(source, TABLE, **FOOTERS[footer])
    apply(source, output, tokens_job(length="truncate"))
    revert(output, back, lossy=True)
    left, was = footer_of(back), footer_of(source)
    assert left.keys() == was.keys()
    assert all(left[key] == was[key] for key in was.keys() - {STORED_SCHEMA})
    assert pq.read_schema(back).metadata == pq.read_schema(source).metadata


def test_an_arrow_schema_fits_what_is_left(files):
    """Where truncation leaves nulls, the stored schema no longer says that there are none."""
    source, output, back = files
    strict = pa.list_(pa.field("element", pa.int32(), nullable=False))
    texts = pa.array(TABLE["text_tokens"].to_pylist(), strict)
    table = TABLE.set_column(1, pa.field("text_tokens", strict), texts)
    write(source, table, schema={"made": "old"}, added={"made": "new"})
    apply(source, output, job_on(table, tokens_job(delays=(1, 0, 1, 2), length="truncate").recipe))
    revert(output, back, lossy=True)
    assert footer_of(back)[b"made"] == b"new"
    assert pq.read_table(back)["text_tokens"][0].as_py()[-1] is None
    assert pa.ipc.read_schema(
        pa.py_buffer(base64.b64decode(footer_of(back)[STORED_SCHEMA]))
    ).equals(pq.read_schema(back), check_metadata=True)


def test_quarantined_rows_have_the_entries(files, tmp_path):
    source, output, _ = files
    rows = TABLE.to_pylist()
    rows[3]["audio_codes"][0][0] = 5000
    bad = tmp_path / "bad"
    write(source, pa.Table.from_pylist(rows, TABLE.schema), **FOOTERS["another value"])
    apply(source, output, aside=str(bad))
    assert footer_of(bad)[b"made"] == b"new"
    assert footer_of(bad)[QUARANTINE_ENTRY.encode()] == entry_of(output)
    assert ENTRY.encode() not in footer_of(bad)


# Verifying


def rewritten(output, **entries):
    """Write an output again with these entries changed; None for one that is gone."""
    footer = {k: v for k, v in footer_of(output).items() if k != STORED_SCHEMA}
    changes = {key.encode(): value for key, value in entries.items()}
    footer = {k: v for k, v in (footer | changes).items() if v is not None}
    table = pq.read_table(output)
    with pq.ParquetWriter(output, table.schema) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(footer)


@pytest.mark.parametrize(
    ("changes", "mismatches"),
    [
        ({}, []),
        ({"more": b"3"}, [("entry more", "2", "3")]),
        ({"made": b"old"}, [("entry made", "new", "old")]),
        ({"made": b"\xff"}, [("entry made", "new", "\\xff")]),
        ({"more": None}, [("entry more", "2", "none")]),
        ({"other": b"x"}, [("entry other", "none", "x")]),
        (
            {QUARANTINE_ENTRY: b"x", "more": b""},
            [(f"entry {QUARANTINE_ENTRY}", "none", "x"), ("entry more", "2", "")],
        ),
    ],
)
def test_an_outputs_own_entries_are_verified(files, changes, mismatches):
    source, output, _ = files
    write(source, TABLE, **FOOTERS["another value"])
    apply(source, output)
    rewritten(output, **changes)
    assert verify(output) == verify(output, source) == mismatches


@pytest.mark.parametrize(
    ("change", "mismatches"),
    [
        ({"added": {"made": "x", "more": "2"}}, [("source entry made", "x", "new")]),
        ({"added": {"made": "new"}}, [("source entry more", "none", "2")]),
        (
            {"added": {"made": "new", "more": "2", "other": "y"}},
            [("source entry other", "y", "none")],
        ),
        (
            {"schema": {"made": "older", "kept": "1"}},
            [("source schema", "{'made': 'older', 'kept': '1'}", "{'made': 'old', 'kept': '1'}")],
        ),
    ],
)
def test_a_source_of_other_entries_is_found(files, change, mismatches):
    source, output, _ = files
    write(source, TABLE, **FOOTERS["another value"])
    apply(source, output)
    write(source, TABLE, **(FOOTERS["another value"] | change))
    assert verify(output, source) == mismatches
    assert verify(output) == []


def test_a_source_that_another_arrow_wrote_is_the_same(files):
    """How a writer words the schema that it stores is nothing of the user's."""
    source, output, _ = files
    write(source, TABLE, **FOOTERS["another value"])
    apply(source, output)
    was = footer_of(source)
    write(source, pq.read_table(source), **FOOTERS["another value"])
    assert footer_of(source)[STORED_SCHEMA] != was[STORED_SCHEMA]
    assert verify(output, source) == []
    write(source, TABLE, hidden=None, stored=False)
    assert ("source entry ARROW:schema", "none", "there") in verify(output, source)


def test_recorded_entries_that_lie_are_found(files):
    source, output, _ = files
    write(source, TABLE, **FOOTERS["another value"])
    apply(source, output)
    record = Record.from_json(entry_of(output))
    (recorded,) = record.sources
    made = base64.b64encode(b"made").decode()
    lie = dataclasses.replace(recorded, entries={**recorded.entries, made: "b2xk"})
    lying = dataclasses.replace(record, sources=(lie,)).to_json()
    rewritten(output, made=b"old", **{ENTRY: lying.encode()})
    assert [what for what, *_ in verify(output)] == ["schema and metadata"]


@pytest.mark.parametrize("entries", [{"bWFkZQ==": None}, {"?": "b2xk"}, {"bWFkZQ==": "?"}])
def test_recorded_entries_that_cannot_be(files, entries):
    source, _, _ = files
    write(source, TABLE)
    with open_shard(Shard("a", str(source))) as opened:
        (known,) = opened.sources
    with pytest.raises(DataError) as raised:
        entries_of(dataclasses.replace(known, entries=entries))
    assert raised.value.kind == "record"


def test_what_the_schema_holds_is_recorded_once(files):
    source, _, _ = files
    write(source, TABLE, schema={"large": "x" * 100_000, "made": "old"}, added={"made": "new"})
    with open_shard(Shard("a", str(source))) as opened:
        (known,) = opened.sources
        assert entries_of(known) == footer_of(source)
        stored = base64.b64encode(STORED_SCHEMA).decode()
        text = dataclasses.replace(known, entries={**known.entries, stored: None})
        assert sum(len(value or "") for value in text.entries.values()) == len("bmV3")


# Pairs


def paired(folder, text, codes):
    """Text and codes in shards with these footers, and what is made of them."""
    paths = [folder / name for name in ("text", "codes", "output")]
    write(paths[0], TABLE.select(["id", "text_tokens", "speaker"]), **text)
    write(paths[1], TABLE.select(["audio_codes", "id"]), **codes)
    source, partner, output = paths
    apply(source, output, codes=partner)
    return paths


@pytest.mark.parametrize("codes", FOOTERS)
@pytest.mark.parametrize(
    "text", ["another value", "no Arrow schema", "nothing but the Arrow schema"]
)
def test_the_entries_of_pairs_come_back_each_to_its_own_file(tmp_path, text, codes):
    source, partner, output = paired(tmp_path, FOOTERS[text], FOOTERS[codes])
    assert verify(output) == verify(output, source, partner) == []
    backs = [tmp_path / name for name in ("back", "codes-back", "both")]
    revert(output, backs[0], str(backs[1]))
    assert same_file(source, backs[0])
    assert same_file(partner, backs[1])
    assert verify(output, *backs[:2]) == []

    revert(output, backs[2])
    described = {b"huggingface", b"pandas", STORED_SCHEMA}
    wanted = footer_of(partner) | footer_of(source)
    found = footer_of(backs[2])
    assert all(found[key] == wanted[key] for key in wanted.keys() - described)
    assert (STORED_SCHEMA in found) == (STORED_SCHEMA in wanted)
    assert found.keys() <= wanted.keys()


def test_pairs_that_have_swapped_their_entries_are_found(tmp_path):
    text, codes = {"added": {"made": "text"}}, {"added": {"made": "codes"}}
    source, partner, output = paired(tmp_path, text, codes)
    write(source, TABLE.select(["id", "text_tokens", "speaker"]), **codes)
    write(partner, TABLE.select(["audio_codes", "id"]), **text)
    made = [("source entry made", "codes", "text"), ("source entry made", "text", "codes")]
    assert verify(output, source, partner) == made


def test_descriptions_of_pairs_are_joined(tmp_path):
    """In the footer as in the schema; a description of one alone is left out."""
    text = {"added": {"huggingface": features("id", "text_tokens", "speaker"), "pandas": "{}"}}
    codes = {"added": {"huggingface": features("audio_codes", "id")}}
    _, _, output = paired(tmp_path, text, codes)
    columns = json.loads(footer_of(output)[b"huggingface"])["info"]["features"]
    assert columns.keys() == set(pq.read_schema(output).names)
    revert(output, tmp_path / "both")
    columns = json.loads(footer_of(tmp_path / "both")[b"huggingface"])["info"]["features"]
    assert list(columns) == ["id", "text_tokens", "speaker", "audio_codes"]
    assert b"pandas" not in footer_of(tmp_path / "both")
    (tmp_path / "alone").mkdir()
    for part in ((text, {}), ({}, codes)):
        _, _, output = paired(tmp_path / "alone", *part)
        assert b"huggingface" not in footer_of(output)
        output.unlink()
