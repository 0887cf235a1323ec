"""Files are found, read in bounded batches, and written whole or not at all."""

import base64
import dataclasses
import fcntl
import os
import resource
import signal

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
import pytest
from make import delaytool_process, files_in, tokens_job, tokens_table

from delaytool.batches.figures import Counts, figures_of_nothing
from delaytool.batches.sizes import cell_sizes, column_sizes, total_size
from delaytool.batches.types import as_stored, leaf_arrays
from delaytool.errors import DataError
from delaytool.shards.find import Shard, find_shards
from delaytool.shards.read import open_shard
from delaytool.shards.record import Digests, Record, Source, decode_schema, encode_schema
from delaytool.shards.write import writing

SCHEMA = pa.schema({"x": pa.int32()})


def batches(*numbers):
    for number in numbers:
        if number is None:
            raise DataError("token", "no more")
        yield pa.record_batch({"x": pa.array([number], pa.int32())})


def write(path, items):
    with writing(str(path), SCHEMA) as shard:
        for item in items:
            shard.write(item)
        shard.metadata = {b"delaytool": b"{}"}


def with_its_batches(path):
    with open_shard(Shard("a.parquet", str(path))) as opened:
        return list(opened.batches(tokens_job()))


def names(found):
    return [shard.name for shard in found.shards]


def test_find_shards(tmp_path):
    for name in ("b.parquet", "a/c.parquet", "a/x.txt", ".hidden/d.parquet", ".e.parquet"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    folder = str(tmp_path)
    assert names(find_shards(folder)) == ["a/c.parquet", "b.parquet"]
    assert names(find_shards(f"{folder}/*.parquet")) == ["b.parquet"]
    assert names(find_shards(f"{folder}/**/*.parquet")) == ["a/c.parquet", "b.parquet"]
    assert names(find_shards(f"{folder}/a*")) == ["a/c.parquet"]
    assert names(find_shards(f"{folder}/a/x.txt")) == ["x.txt"], "a file that is named is taken"
    assert names(find_shards(folder, outside=[f"{folder}/a"])) == ["b.parquet"]
    with pytest.raises(DataError, match="there are no shards"):
        find_shards(f"{folder}/nothing*")
    with pytest.raises(FileNotFoundError):
        find_shards(f"{folder}/nothing")


def test_a_file_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "new" / "out.parquet"
    with writing(str(path), SCHEMA) as shard:
        for batch in batches(1, 2):
            shard.write(batch)
            assert not path.exists()
    assert pq.read_table(path)["x"].to_pylist() == [1, 2]
    assert sorted(files_in(path.parent)) == ["out.parquet"]


def test_an_error_leaves_nothing(tmp_path):
    with pytest.raises(DataError, match="no more"):
        write(tmp_path / "new" / "deep" / "out.parquet", batches(1, None))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "out.parquet").write_text("as it was")
    with pytest.raises(DataError, match="no more"):
        write(tmp_path / "out.parquet", batches(1, None))
    assert files_in(tmp_path) == {"out.parquet": b"as it was"}


def test_leftovers_are_removed_when_nobody_holds_them(tmp_path):
    dead = tmp_path / ".out.parquet.00000000.delaytool-part"
    live = tmp_path / ".out.parquet.00000001.delaytool-part"
    other = tmp_path / ".other.parquet.00000000.delaytool-part"
    for path in (dead, live, other):
        path.write_text("half")
    with open(live) as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        write(tmp_path / "out.parquet", batches(1))
    assert not dead.exists()
    assert live.exists()
    assert other.exists()


def test_the_folder_is_not_listed_for_what_is_left_over(tmp_path, monkeypatch):
    """Its cost would grow with the number of outputs."""

    def listed(*arguments):
        raise AssertionError("nobody has to look at the other files")

    monkeypatch.setattr(os, "listdir", listed)
    monkeypatch.setattr(os, "scandir", listed)
    write(tmp_path / "out.parquet", batches(1))
    assert (tmp_path / "out.parquet").exists()


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="cannot be written"):
        write(tmp_path / "file" / "out.parquet", batches(1))


def test_a_full_disk_leaves_nothing(tmp_path):
    # A limit on the size of files is what a full disk looks like to the writer.
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    big = pa.record_batch({"x": pa.array(range(100_000), pa.int32())})
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, old[1]))
        with pytest.raises(DataError, match="cannot be written: File too large"):
            write(tmp_path / "out.parquet", iter([big] * 10))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"PAR1", b"x" * 100, b"PAR1" + b"\xff" * 8 + b"PAR1"])
def test_what_is_no_parquet_file(tmp_path, content):
    path = tmp_path / "a.parquet"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"^a.parquet: cannot be read"):
        open_shard(Shard("a.parquet", str(path))).__enter__()


def test_a_shard_cut_off_in_the_middle(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(tokens_table(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] + whole[-400:])
    with pytest.raises(DataError, match=r"^a.parquet: cannot be read"):
        with_its_batches(path)


def test_rows_of_many_bytes_come_in_small_batches(tmp_path):
    audio = [os.urandom(1 << 20) for _ in range(100)]
    pq.write_table(pa.table({"audio": audio}), tmp_path / "a.parquet")
    with open_shard(Shard("a.parquet", str(tmp_path / "a.parquet"))) as opened:
        sizes = [batch.num_rows for batch in opened.batches(tokens_job())]
    assert sum(sizes) == 100
    assert max(sizes) <= 64


def test_cell_sizes():
    lists = pa.array([[1, 2], None, [3]], pa.list_(pa.int16()))
    assert cell_sizes(lists).tolist() == [4, 0, 2]
    assert cell_sizes(lists.slice(1)).tolist() == [0, 2]
    nested = pa.array([[[1, 2], [3]], [], [[4]]], pa.list_(pa.list_(pa.int32())))
    assert cell_sizes(nested).tolist() == [12, 0, 4]
    assert cell_sizes(nested.slice(2)).tolist() == [4]
    assert cell_sizes(pa.array(["ab", None, ""])).tolist() == [2, 0, 0]
    assert cell_sizes(pa.array([["ab", "c"], ["d"]])).tolist() == [3, 1]
    assert cell_sizes(pa.array([[1, 2], [3, 4]], pa.list_(pa.int8(), 2))) == 2
    assert cell_sizes(pa.array([1, 2], pa.float64())) == 8


KINDS = [
    pa.list_(pa.list_(pa.int32())),
    pa.list_(pa.list_(pa.int8(), 2)),
    pa.large_list(pa.struct({"word": pa.string(), "at": pa.list_(pa.float32())})),
    pa.map_(pa.string(), pa.list_(pa.int16())),
    pa.list_(pa.dictionary(pa.int8(), pa.string())),
]
VALUES = [
    [[[1, 2], [3]], [], None, [[4]]],
    [[[1, 2], [3, 4]], [], None, [[5, 6]]],
    [[{"word": "a", "at": [1.0]}, {"word": "bc", "at": []}], [], None, [{"word": "d", "at": None}]],
    [[("a", [1]), ("bc", [])], [], None, [("d", None)]],
    [["a", "bc"], [], None, ["d", "a"]],
]


@pytest.mark.parametrize(("kind", "values"), list(zip(KINDS, VALUES, strict=True)), ids=str)
def test_a_slice_has_nothing_of_what_it_left_out(kind, values):
    # Dictionaries stay whole.
    whole = pa.array(values, kind)
    for start in range(5):
        for end in range(start, 5):
            part, alone = whole[start:end], pa.array(values[start:end], kind)
            found, wanted = ([x.to_pylist() for x in leaf_arrays(a)] for a in (part, alone))
            assert found == wanted
            sizes = [column_sizes(a).tolist() for a in (part, alone)]
            assert sizes[0] == sizes[1]
            assert total_size(part) == sum(sizes[0])


def test_schemas_come_back(tmp_path):
    schema = tokens_table().schema.with_metadata({"a": "b"})
    assert decode_schema(encode_schema(schema)).equals(schema, check_metadata=True)
    for text in ("", "no base64", "////"):
        with pytest.raises(DataError):
            decode_schema(text)


def test_old_names_inside_lists_are_read_as_new_ones(tmp_path):
    table = tokens_table()
    pq.write_table(table, tmp_path / "a.parquet", use_compliant_nested_type=False)
    pq.write_table(pq.read_table(tmp_path / "a.parquet"), tmp_path / "b.parquet")
    old, new = (pq.read_schema(tmp_path / name) for name in ("a.parquet", "b.parquet"))
    assert [as_stored(field) for field in old] == list(new)


class Kms(pe.KmsClient):
    """Keys for the tests, which anyone could guess."""

    def wrap_key(self, key_bytes, master_key_identifier):
        return base64.b64encode(key_bytes)

    def unwrap_key(self, wrapped_key, master_key_identifier):
        return base64.b64decode(wrapped_key)


def encrypted(path, plaintext_footer):
    """Write a table of which one column is encrypted, the footer too or not."""
    table = tokens_table()
    config = pe.EncryptionConfiguration(
        footer_key="a", column_keys={"b": ["id"]}, plaintext_footer=plaintext_footer
    )
    factory = pe.CryptoFactory(lambda _: Kms())
    properties = factory.file_encryption_properties(pe.KmsConnectionConfig(), config)
    with pq.ParquetWriter(path, table.schema, encryption_properties=properties) as writer:
        writer.write_table(table)


def test_an_encrypted_footer_is_an_error(tmp_path):
    encrypted(tmp_path / "a.parquet", plaintext_footer=False)
    with pytest.raises(DataError, match=r"a\.parquet: cannot be read: its footer is encrypted"):
        with_its_batches(tmp_path / "a.parquet")


def test_encrypted_columns_are_an_error(tmp_path):
    """Arrow ends the process that looks at the metadata of one; the command says so."""
    (tmp_path / "data").mkdir()
    encrypted(tmp_path / "data" / "a.parquet", plaintext_footer=True)
    pq.write_table(tokens_table(), tmp_path / "data" / "b.parquet")
    arguments = ("--n-q", 3, "--delays", 1)
    for workers in (1, 2):
        out = tmp_path / f"out{workers}"
        done = delaytool_process(
            "apply", tmp_path / "data", out, *arguments, "--workers", workers, status=1
        )
        assert "Error: a.parquet: reading it killed the process" in done.stderr
        assert list(files_in(out)) == ["b.parquet"]


def test_an_entry_too_long_to_read_is_not_written():
    job = tokens_job()
    record = Record(
        "0", job, (Source(1, "", ""),), Counts(), figures_of_nothing(job), Digests({}, "")
    )
    many = dataclasses.replace(record, padded=((10**12, 10**12),) * 2_000_000)
    with pytest.raises(DataError, match="expected at most") as raised:
        many.to_json()
    assert raised.value.advice == "split the shard"
    assert Record.from_json(record.to_json().encode()) == record
