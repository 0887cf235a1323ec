"""Long strings that repeat are read as numbers, and nothing shows of it."""

import datetime
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from make import PLAIN, delaytool, tokens_table

from delaytool.batches.digest import BatchDigest
from delaytool.shards import row_bytes
from delaytool.shards.find import Shard
from delaytool.shards.read import open_shard
from delaytool.shards.write import ShardWriter

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
from peak import peak_bytes

TYPES = [pa.string(), pa.binary(), pa.large_string(), pa.large_binary()]
ROWS = 600


@pytest.fixture(autouse=True)
def all_repeat_that_are_long(monkeypatch):
    """However few bytes they are."""
    monkeypatch.setattr(row_bytes, "_MOST_BYTES", 1 << 20)


def prompts(kind=None, rows=ROWS, seed=0):
    """A few long strings, nulls among them, at first for many rows."""
    random = np.random.default_rng(seed)
    few = [random.bytes(1000 + 300 * n).hex() for n in range(5)]
    numbers = random.integers(0, 6, rows)
    numbers[: rows // 3] = 5
    values = [None if number == 5 else few[number] for number in numbers]
    kind = kind or pa.string()
    is_bytes = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    return pa.array([v.encode() if v and is_bytes else v for v in values], kind)


def types_read(path, *columns):
    with open_shard(Shard(path.name, str(path))) as opened:
        batches = list(opened.small_batches(coded=True))
        assert all(opened.schema.field(name).type in TYPES for name in columns)
    assert {batch.schema for batch in batches} == {batches[0].schema}
    return [batches[0].schema.field(name).type for name in columns]


@pytest.mark.parametrize("options", [(), ("--window", 4), ("--drop-column", "speaker")], ids=str)
@pytest.mark.parametrize("kind", TYPES, ids=str)
def test_columns_come_out_as_they_went_in(tmp_path, kind, options):
    table = tokens_table(rows=ROWS).append_column("prompt", prompts(kind))
    pq.write_table(table, tmp_path / "coded.parquet", row_group_size=170)
    pq.write_table(table, tmp_path / "plain.parquet", use_dictionary=False)
    assert types_read(tmp_path / "coded.parquet", "prompt") == [pa.dictionary(pa.int32(), kind)]
    assert types_read(tmp_path / "plain.parquet", "prompt") == [kind]
    found = []
    for name in ("coded", "plain"):
        source, output, back = (tmp_path / f"{name}{end}.parquet" for end in ("", "-out", "-back"))
        delaytool("apply", source, output, *PLAIN, *options)
        delaytool("verify", output, "--source", source)
        delaytool("revert", output, back, "--allow-lossy")
        found.append(pq.read_table(output))
        kept = table.drop_columns(["speaker"]) if "speaker" in options else table
        assert pq.read_table(back).equals(kept.cast(pq.read_schema(back)))
        assert pq.read_schema(back).field("prompt").type == kind
    assert found[0].equals(found[1])
    # verify read the digests of one way in the files of the other.
    both = [
        pq.read_metadata(tmp_path / f"{name}-out.parquet").metadata for name in ("coded", "plain")
    ]
    records = [entries[b"delaytool"].split(b'"columns"')[-1][:400] for entries in both]
    assert records[0] == records[1]


def test_what_is_unlike_or_short_is_read_as_ever(tmp_path):
    random = np.random.default_rng(0)
    columns = {
        "unlike": [random.bytes(700).hex() for _ in range(ROWS)],
        "short": ["a" * 500, "b" * 600, "c" * 900] * (ROWS // 3),
        "pairs": [random.bytes(700).hex() for _ in range(ROWS // 2)] * 2,
        "lists": [["x" * 2000]] * ROWS,
        "some": prompts()[: ROWS // 2].to_pylist()
        + [random.bytes(700).hex() for _ in range(ROWS // 2)],
        "prompt": prompts(),
    }
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table(columns), path, dictionary_pagesize_limit=20_000, write_batch_size=50)
    with open_shard(Shard("a.parquet", str(path))) as opened:
        (schema,) = {batch.schema for batch in opened.small_batches(coded=True)}
        assert {batch.schema for batch in opened.small_batches()} == {opened.schema}
    coded = [field.name for field in schema if pa.types.is_dictionary(field.type)]
    assert coded == ["prompt"]


def test_they_are_numbers_all_the_way(tmp_path, monkeypatch):
    """Arrow would give a batch the types of a schema without a word."""
    seen = []

    def watch(owner, name):
        whole = getattr(owner, name)

        def watched(self, batch):
            seen.append((name, batch.schema.field("prompt").type))
            return whole(self, batch)

        monkeypatch.setattr(owner, name, watched)

    watch(ShardWriter, "write")
    watch(BatchDigest, "update")
    words = [[{"tokens": [5], "start": 0.0, "end": 0.1}]] * ROWS
    table = (
        tokens_table(rows=ROWS).append_column("prompt", prompts()).append_column("words", [words])
    )
    table = table.append_column("nest", pa.array([{"codes": [[1]]}] * ROWS))
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=250)
    source, out = tmp_path / "in.parquet", tmp_path / "out.parquet"
    nested = (
        "--audio-column",
        "nest.codes",
        "--n-q",
        1,
        "--delays",
        "0",
        "--no-text",
        "--audio-layout",
        "frame",
    )
    for arguments in (
        ("apply", source, out, *PLAIN),
        ("verify", out, "--source", source),
        ("revert", out, tmp_path / "back.parquet"),
        ("apply", source, tmp_path / "windows.parquet", *PLAIN, "--window", 7),
        ("verify", tmp_path / "windows.parquet", "--source", source),
        ("revert", tmp_path / "windows.parquet", tmp_path / "back2.parquet"),
        ("align", source, tmp_path / "words.parquet", "--text-column", "words_placed"),
        ("apply", source, tmp_path / "nested.parquet", *nested),
        ("revert", tmp_path / "nested.parquet", tmp_path / "back3.parquet"),
    ):
        seen.clear()
        delaytool(*arguments)
        assert {kind for _, kind in seen} == {pa.dictionary(pa.int32(), pa.string())}, arguments
        assert ("write" in {name for name, _ in seen}) == (arguments[0] != "verify")


def test_rows_in_quarantine_and_pairs_of_shards(tmp_path):
    table = tokens_table(rows=ROWS).append_column("prompt", prompts())
    text = table["text_tokens"].to_pylist()
    for tokens in text[::7]:
        tokens[0] = 99_999
    table = table.set_column(1, "text_tokens", pa.array(text, pa.list_(pa.int32())))
    pq.write_table(
        table.drop_columns(["audio_codes"]), tmp_path / "text.parquet", row_group_size=90
    )
    codes = table.select(["id", "audio_codes"]).append_column("note", prompts(seed=1))
    pq.write_table(codes, tmp_path / "codes.parquet", row_group_size=110)
    names = ("text", "codes", "out", "bad")
    source, codes, out, bad = (tmp_path / f"{name}.parquet" for name in names)
    delaytool(
        "apply", source, out, *PLAIN, "--audio-input", codes, "--quarantine", bad, "--key", "id"
    )
    delaytool("verify", out, "--source", source, "--audio-input", codes, "--quarantine", bad)
    good = np.ones(ROWS, dtype=bool)
    good[::7] = False
    wanted = table.append_column("note", prompts(seed=1))
    for found, rows in ((pq.read_table(out), good), (pq.read_table(bad), ~good)):
        for name in ("prompt", "note"):
            assert found[name].equals(wanted[name].filter(pa.array(rows)))


@pytest.mark.parametrize("kind", TYPES, ids=str)
def test_beside_times_that_are_read_apart(tmp_path, kind):
    days = [datetime.datetime(1, 1, 1) + datetime.timedelta(days=row) for row in range(ROWS)]
    table = tokens_table(rows=ROWS).append_column("prompt", prompts(kind))
    table = table.append_column("when", pa.array(days, pa.timestamp("us")))
    source, out, back = (tmp_path / f"{name}.parquet" for name in ("in", "out", "back"))
    pq.write_table(table, source, use_deprecated_int96_timestamps=True, row_group_size=250)
    assert types_read(source, "prompt") == [pa.dictionary(pa.int32(), kind)]
    delaytool("apply", source, out, *PLAIN)
    delaytool("verify", out, "--source", source)
    delaytool("revert", out, back)
    assert pq.read_table(back)["prompt"].cast(kind).equals(table["prompt"])
    assert pq.read_table(out)["when"].equals(table["when"])


@pytest.mark.parametrize("kind", TYPES, ids=str)
def test_rows_of_quarantine_that_are_data_again(tmp_path, kind):
    table = tokens_table(rows=ROWS).append_column("prompt", prompts(kind))
    text = table["text_tokens"].to_pylist()
    for tokens in text[::2]:
        tokens[0] = 99_999
    table = table.set_column(1, "text_tokens", pa.array(text, pa.list_(pa.int32())))
    pq.write_table(table, tmp_path / "in.parquet")
    bad = tmp_path / "bad" / "in.parquet"
    delaytool(
        "apply",
        tmp_path / "in.parquet",
        tmp_path / "out.parquet",
        *PLAIN,
        "--quarantine",
        bad.parent,
    )
    assert types_read(bad, "prompt") == [pa.dictionary(pa.int32(), kind)]
    with open_shard(Shard(bad.name, str(bad))) as opened:
        batches = list(opened.small_batches(coded=True))
    found = pa.chunked_array([batch.column("prompt") for batch in batches]).cast(kind)
    assert found.equals(pa.chunked_array([table["prompt"].combine_chunks()[::2]]))


def test_columns_that_are_called_like_fields(tmp_path):
    table = tokens_table(rows=ROWS).append_column("a.b", prompts())
    fields = pa.StructArray.from_arrays([prompts(seed=1), pa.array(range(ROWS))], ["b", "c"])
    for name, column in (("one", None), ("both", fields)):
        whole = table if column is None else table.append_column("a", column)
        source, output = tmp_path / f"{name}.parquet", tmp_path / f"{name}-out.parquet"
        pq.write_table(whole, source)
        kinds = [pa.dictionary(pa.int32(), pa.string()), pa.string()]
        assert types_read(source, "a.b") == [kinds[name == "both"]]
        delaytool("apply", source, output, *PLAIN)
        delaytool("verify", output, "--source", source)
        delaytool("revert", output, tmp_path / f"{name}-back.parquet")
        assert pq.read_table(tmp_path / f"{name}-back.parquet").equals(pq.read_table(source))


@pytest.mark.parametrize("stored", ["dictionary", "dictionary of Arrow", "nested", "plain"])
def test_an_index_out_of_its_dictionary_is_an_error(tmp_path, stored):
    """pyarrow looks at them where it looks the values up itself, not where they are left to us."""
    few = ["A" * 2000, "B" * 2000, "C" * 2000] if stored != "plain" else list("ABC")
    column = pa.array([few[row % 3] for row in range(ROWS)])
    if stored == "nested":
        starts = pa.array(range(ROWS + 1), pa.int32())
        column = pa.ListArray.from_arrays(starts, column.dictionary_encode())
    elif stored == "dictionary of Arrow":
        column = column.dictionary_encode()
    path = tmp_path / "a.parquet"
    table = tokens_table(rows=ROWS).append_column("prompt", column)
    pq.write_table(table, path, compression="none", write_statistics=False)
    before = path.read_bytes()
    # 0, 1, 2, 0, 1, 2, ... in two bits each; the last 3 is not there.
    place = before.rindex(bytes([0b00100100, 0b01001001, 0b10010010]) * 20)
    path.write_bytes(before[:place] + bytes([0b11100100]) + before[place + 1 :])
    with (
        open_shard(Shard("a.parquet", str(path))) as opened,
        pytest.raises(pa.ArrowInvalid, match="dictionary"),
    ):
        list(opened.small_batches(coded=True))
    done = delaytool("apply", path, tmp_path / "out.parquet", *PLAIN, status=1)
    assert "a.parquet: cannot be read: " in done.stderr
    assert "dictionary" in done.stderr
    assert not (tmp_path / "out.parquet").exists()


def test_a_changed_value_is_found(tmp_path):
    table = tokens_table(rows=ROWS).append_column("prompt", prompts())
    pq.write_table(table, tmp_path / "in.parquet")
    delaytool("apply", tmp_path / "in.parquet", tmp_path / "out.parquet", *PLAIN)
    values = table["prompt"].to_pylist()
    row = next(n for n, value in enumerate(values) if value is not None)
    for place, value in ((row, None), (0, values[row]), (row, values[row][:-1] + "!")):
        changed = [*values[:place], value, *values[place + 1 :]]
        other = table.set_column(table.num_columns - 1, "prompt", pa.array(changed))
        pq.write_table(other, tmp_path / "in.parquet")
        done = delaytool(
            "verify", tmp_path / "out.parquet", "--source", tmp_path / "in.parquet", status=1
        )
        assert f"row {place} (id 'utt-{place}'), column prompt" in done.stderr


def test_memory_of_many_rows_with_a_long_prompt(tmp_path, times):
    rows = times(1000, 20_000)
    random = np.random.default_rng(0)
    few = pa.array([random.bytes(50_000).hex() for _ in range(8)])
    column = pa.DictionaryArray.from_arrays(random.integers(0, 8, rows).astype("int32"), few)
    table = tokens_table(rows=rows, longest=10).append_column("prompt", column)
    (tmp_path / "data").mkdir()
    pq.write_table(table, tmp_path / "data" / "a.parquet", store_schema=False)
    command = Path(sys.executable).parent / "delaytool"
    data, out, back = (str(tmp_path / name) for name in ("data", "out", "back"))
    for arguments in (
        ("apply", data, out, *map(str, PLAIN)),
        ("verify", out),
        ("verify", out, "--source", data),
        ("revert", out, back),
    ):
        most = peak_bytes(str(command), *arguments, "--workers", "1", "--quiet")
        assert most < 300 << 20, arguments
