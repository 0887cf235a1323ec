"""Columns of every type pass through, name rows, and come back; tokens may be in views of lists."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from make import PLAIN, delaytool, tokens_table

ROWS = 6
COUNT = pa.array(range(ROWS), pa.int64())
TEXTS = [f"u{row}" for row in range(ROWS)]


def of(values, kind):
    return pa.array(values, kind)


KEYS = {
    "nanoseconds": COUNT.cast(pa.timestamp("ns")),
    "far": pa.array([10**15 + row for row in range(ROWS)]).cast(pa.timestamp("s")),
    "no such zone": COUNT.cast(pa.timestamp("us", "Mars/Phobos")),
    "time": COUNT.cast(pa.time64("ns")),
    "duration": COUNT.cast(pa.duration("ns")),
    "far date": pa.array([10**9 + row for row in range(ROWS)], pa.int32()).cast(pa.date32()),
    "bytes": of([text.encode() for text in TEXTS], pa.binary()),
    "fixed": of([text.encode() for text in TEXTS], pa.binary(2)),
    "string_view": of(TEXTS, pa.string_view()),
    "binary_view": of([text.encode() for text in TEXTS], pa.binary_view()),
    "dictionary": of(TEXTS, pa.string())
    .dictionary_encode()
    .cast(pa.dictionary(pa.int8(), pa.string())),
    "uuid": pa.ExtensionArray.from_storage(
        pa.uuid(), of([bytes([row] * 16) for row in range(ROWS)], pa.binary(16))
    ),
}
OTHERS = {
    "moments in lists": of(
        [[10**15 + row] * row for row in range(ROWS)], pa.list_(pa.int64())
    ).cast(pa.list_(pa.timestamp("s"))),
    "views in lists": of(
        [[text] * row for row, text in enumerate(TEXTS)], pa.list_(pa.string_view())
    ),
    "views in structs": of([{"a": text} for text in TEXTS], pa.struct({"a": pa.string_view()})),
    "views in maps": of(
        [[("k", text)] for text in TEXTS], pa.map_(pa.string_view(), pa.binary_view())
    ),
    "list_view": of(
        [[row] * row if row != 2 else None for row in range(ROWS)], pa.list_view(pa.int64())
    ),
    "large_list_view": of(
        [TEXTS[:row] for row in range(ROWS)], pa.large_list_view(pa.string_view())
    ),
    "tensors": pa.FixedShapeTensorArray.from_numpy_ndarray(np.arange(ROWS * 4).reshape(ROWS, 2, 2)),
}


def shard(path, column, bad=False):
    """Write a shard with a column of ids."""
    table = tokens_table(rows=ROWS, seed=3).drop_columns(["id", "tags"])
    table = table.append_column("id", column)
    if bad:
        text = table["text_tokens"].to_pylist()
        text[4][0] = None
        table = table.set_column(0, "text_tokens", pa.array(text, pa.list_(pa.int32())))
    path.parent.mkdir(exist_ok=True)
    write(table, path)


def write(table, path):
    """Write a table, if this pyarrow can write its types."""
    try:
        pq.write_table(table, path)
    except pa.ArrowNotImplementedError as error:
        pytest.skip(f"this pyarrow cannot: {error}")


@pytest.mark.parametrize("name", [*KEYS, *OTHERS])
def test_every_type_comes_back(tmp_path, name):
    column = {**KEYS, **OTHERS}[name]
    source, output = tmp_path / "a" / "x.parquet", tmp_path / "o" / "x.parquet"
    shard(source, column)
    delaytool("apply", source.parent, output.parent, *PLAIN)
    delaytool("verify", output.parent, "--source", source.parent)
    delaytool("verify", output.parent)
    delaytool("revert", output.parent, tmp_path / "r")
    back = pq.read_table(tmp_path / "r" / "x.parquet")
    assert back.schema == pq.read_schema(source)
    assert back == pq.read_table(source)


@pytest.mark.parametrize("name", [*KEYS, *OTHERS])
def test_a_bad_row_has_a_place_with_every_type(tmp_path, name):
    source, bad = tmp_path / "a", tmp_path / "bad"
    shard(source / "x.parquet", {**KEYS, **OTHERS}[name], bad=True)
    assert "row 4 (id " in delaytool("apply", source, tmp_path / "o", *PLAIN, status=1).stderr
    delaytool("apply", source, tmp_path / "o", *PLAIN, "--quarantine", bad)
    assert pq.read_metadata(bad / "x.parquet").num_rows == 1
    delaytool("verify", tmp_path / "o", "--source", source, "--quarantine", bad)


@pytest.mark.parametrize("name", KEYS)
def test_rows_are_found_by_keys_of_every_type(tmp_path, name):
    source, output = tmp_path / "x.parquet", tmp_path / "o.parquet"
    shard(source, KEYS[name])
    delaytool("apply", source, output, *PLAIN)
    for path in (source, output):
        row = json.loads(delaytool("inspect", path, "--row", 3, "--json").stdout)
        found = json.loads(delaytool("inspect", path, "--id", row["id"], "--json").stdout)
        assert found == row
    delaytool("inspect", output, "--row", 3, "--compare", source)


def test_keys_of_bytes_are_typed_as_text(tmp_path):
    shard(tmp_path / "x.parquet", KEYS["bytes"])
    for key in ("u2", "b'u2'"):
        row = json.loads(delaytool("inspect", tmp_path / "x.parquet", "--id", key, "--json").stdout)
        assert (row["row"], row["id"]) == (2, "u2")


TWINS = {
    "nanoseconds": (pa.timestamp("ns"), pa.timestamp("us")),
    "times": (pa.time64("ns"), pa.time64("us")),
    "dictionary": (pa.timestamp("ns"), pa.dictionary(pa.int8(), pa.timestamp("ns"))),
    "zones": (pa.timestamp("us", "Mars/Phobos"), pa.timestamp("ms", "Mars/Phobos")),
}


@pytest.mark.parametrize("name", TWINS)
def test_keys_of_the_same_kind_pair_rows(tmp_path, name):
    table = tokens_table(rows=ROWS).drop_columns(["id", "tags", "speaker", "score"])
    kinds = TWINS[name]
    for part, kind in zip(("text_tokens", "audio_codes"), kinds, strict=True):
        value = kind.value_type if pa.types.is_dictionary(kind) else kind
        per_unit = {"ns": 10**9, "us": 10**6, "ms": 10**3}[value.unit]
        keys = pa.array([row * per_unit for row in range(ROWS)]).cast(value)
        keys = keys.dictionary_encode().cast(kind) if value != kind else keys
        (tmp_path / part).mkdir()
        rows = pa.table({"id": keys, part: table[part]})
        pq.write_table(rows, tmp_path / part / "x.parquet")
    folders = tmp_path / "text_tokens", tmp_path / "o", "--audio-input", tmp_path / "audio_codes"
    delaytool("apply", *folders, *PLAIN)
    codes = pq.read_table(tmp_path / "audio_codes" / "x.parquet")
    moved = pa.concat_tables([codes.slice(1), codes.slice(0, 1)])
    pq.write_table(moved, tmp_path / "audio_codes" / "x.parquet")
    error = delaytool("apply", *folders, *PLAIN, "--overwrite", status=1).stderr
    assert "row 0" in error
    assert "codes' id is" in error


def in_groups(path, *tables):
    with pq.ParquetWriter(path, tables[0].schema) as writer:
        for table in tables:
            writer.write_table(table)


@pytest.mark.parametrize("index", [pa.int8(), pa.uint8(), pa.int16()], ids=str)
def test_dictionaries_that_one_index_has_no_room_for(tmp_path, index):
    """Each row group has a dictionary of its own; together they have more values than int8."""
    source, output, texts = (tmp_path / f"{name}.parquet" for name in ("a", "o", "t"))
    kind = pa.dictionary(index, pa.string())
    parts = []
    for group in range(3):
        keys = pa.array([f"{group} {row}" for row in range(110)]).dictionary_encode().cast(kind)
        table = tokens_table(rows=110, seed=group, longest=5).drop_columns(["id"])
        parts.append(table.append_column("id", keys))
    in_groups(source, *parts)
    delaytool("apply", source, output, *PLAIN)
    delaytool("verify", output, "--source", source)
    delaytool("revert", output, tmp_path / "r.parquet")
    schemas = [pq.read_schema(path) for path in (source, tmp_path / "r.parquet")]
    assert schemas[0] == schemas[1]
    back = pq.read_table(tmp_path / "r.parquet")
    assert back.to_pylist() == pa.concat_tables(parts, promote_options="none").to_pylist()
    in_groups(texts, *(part.drop_columns(["audio_codes"]) for part in parts))
    codes = pa.concat_tables(parts).select(["id", "audio_codes"])
    plain = codes.set_column(0, "id", codes["id"].cast(pa.string()))
    pq.write_table(plain, tmp_path / "c.parquet")
    paired = "--audio-input", tmp_path / "c.parquet", "--overwrite"
    delaytool("apply", texts, output, *paired, *PLAIN)
    delaytool("verify", output, "--source", texts, *paired[:2])


@pytest.mark.parametrize("large", [False, True])
def test_tokens_in_views_of_lists(tmp_path, large):
    source, output, plain = (tmp_path / f"{name}.parquet" for name in ("a", "o", "p"))
    table = tokens_table(rows=ROWS)
    pq.write_table(table, plain)
    view = pa.large_list_view if large else pa.list_view
    kinds = {"text_tokens": view(pa.int32()), "audio_codes": view(view(pa.int16()))}
    for name, kind in kinds.items():
        views = pa.array(table[name].to_pylist(), kind)
        table = table.set_column(table.schema.names.index(name), name, views)
    write(table, source)
    delaytool("apply", source, output, *PLAIN)
    delaytool("verify", output, "--source", source)
    delaytool("verify", output)
    delaytool("revert", output, tmp_path / "r.parquet")
    back = pq.read_table(tmp_path / "r.parquet")
    assert back.schema == pq.read_schema(source)
    assert back.to_pylist() == table.to_pylist()
    delaytool("apply", plain, tmp_path / "po.parquet", *PLAIN)
    ours, theirs = (pq.read_table(path) for path in (output, tmp_path / "po.parquet"))
    assert ours.to_pylist() == theirs.to_pylist()
    assert "view" not in str(ours.schema), "outputs are lists, which all readers know"
    delaytool("inspect", source)


@pytest.mark.parametrize("align", ["error", "pad"])
def test_text_in_an_extension_type(tmp_path, align):
    """Text of a fixed length, as a tensor of one dimension."""
    frames = {"error": 5, "pad": 3}[align]
    text = np.arange(4 * frames, dtype=np.int32).reshape(4, frames)
    codes = np.random.default_rng(1).integers(0, 2048, (4, 3, 5)).tolist()
    source, output = tmp_path / "a.parquet", tmp_path / "o.parquet"
    tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(text)
    pq.write_table(pa.table({"text_tokens": tensors, "audio_codes": codes}), source)
    delaytool("apply", source, output, *PLAIN, "--align", align)
    delaytool("verify", output, "--source", source)
    shifted = pq.read_table(output)["text_tokens"].to_pylist()
    assert [row[:frames] for row in shifted] == text.tolist()
    delaytool("revert", output, tmp_path / "r.parquet")
    assert pq.read_table(tmp_path / "r.parquet") == pq.read_table(source)
    delaytool("inspect", source, "--align", align)
