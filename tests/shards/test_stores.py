"""Object stores: the same commands, the same bytes, and nothing half there."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import fsspec
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from make import (
    KEYS,
    PATIENCE,
    PLAIN,
    delaytool,
    files_in,
    finish,
    free_port,
    on_the_web,
    sentencepiece_model,
    summary_of,
    tokens_job,
    tokens_table,
)

from delaytool.errors import DataError
from delaytool.jobs.apply import ApplyShard
from delaytool.jobs.paths import Item
from delaytool.jobs.verify import VerifyShard
from delaytool.shards import stores
from delaytool.shards.find import Shard, find_shards
from delaytool.shards.record import Record
from delaytool.shards.tables import check_output
from delaytool.shards.write import writing


@pytest.fixture
def bucket(server, monkeypatch):
    """A new bucket: its name, and a client."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    client = pafs.S3FileSystem(
        endpoint_override=server, scheme="http", region="us-east-1", allow_bucket_creation=True
    )
    name = f"bucket-{time.monotonic_ns()}"
    client.create_dir(name)
    return name, client


@pytest.fixture
def uri(bucket, server):
    """A URI of something in the bucket."""
    query = f"?scheme=http&endpoint_override={server}&region=us-east-1"
    return lambda path: f"s3://{bucket[0]}/{path}{query}"


def objects(bucket):
    name, client = bucket
    infos = client.get_file_info(pafs.FileSelector(name, recursive=True))
    return {
        info.path[len(name) + 1 :]: client.open_input_file(info.path).read()
        for info in infos
        if info.type == pafs.FileType.File
    }


def put(bucket, folder, prefix):
    name, client = bucket
    for path, content in files_in(folder).items():
        with client.open_output_stream(f"{name}/{prefix}/{path}") as stream:
            stream.write(content)


def test_names_of_objects_are_taken_as_they_are(bucket, uri, tmp_path):
    names = ["a#1.parquet", "a#2.parquet", "a%23.parquet", "a b/ö+&=.parquet"]
    for seed, name in enumerate(names):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(tokens_table(seed=seed), tmp_path / "data" / name)
    put(bucket, tmp_path / "data", "data")
    delaytool("apply", tmp_path / "data", tmp_path / "out", *PLAIN)
    done = delaytool("apply", uri("data"), uri("out"), *PLAIN, "--json")
    assert summary_of(done)["written"] == len(names)
    made = {name: content for name, content in objects(bucket).items() if name.startswith("out/")}
    assert made == {f"out/{name}": c for name, c in files_in(tmp_path / "out").items()}
    delaytool("verify", uri("out"), "--source", uri("data"))


def test_every_command_there_and_back(data, bucket, uri, tmp_path):
    local = tmp_path / "local"
    delaytool("apply", data, local, *PLAIN)
    expected = files_in(local)
    put(bucket, data, "data")
    before = objects(bucket)

    done = delaytool("apply", uri("data"), uri("out/"), *PLAIN, "--json", "--workers", 2)
    assert summary_of(done)["written"] == 2
    assert objects(bucket) == before | {f"out/{n}": c for n, c in expected.items()}
    done = delaytool("apply", uri("data"), uri("out"), *PLAIN, "--json", "--workers", 1)
    assert summary_of(done)["unchanged"] == 2, "it resumes"
    done = delaytool("apply", uri("data"), uri("out"), *PLAIN, "--initial-step", status=1)
    assert "is in the way: it was made with other options" in done.stderr

    delaytool("verify", uri("out"))
    delaytool("verify", uri("out"), "--source", uri("data"))
    delaytool("verify", uri("out"), "--source", data)
    done = delaytool("revert", uri("out"), tmp_path / "back")
    for name in ("a.parquet", "more/b.parquet"):
        back = pq.read_table(tmp_path / "back" / name)
        assert back.equals(pq.read_table(data / name), check_metadata=True)
    delaytool("revert", uri("out"), uri("back"))
    assert {"back/a.parquet", "back/more/b.parquet"} < set(objects(bucket))

    delaytool("apply", uri("data/**/*.parquet"), tmp_path / "globbed", *PLAIN)
    assert files_in(tmp_path / "globbed") == expected
    delaytool("apply", uri("data/a.parquet"), tmp_path / "one.parquet", *PLAIN)
    assert (tmp_path / "one.parquet").read_bytes() == expected["a.parquet"]
    done = delaytool("inspect", uri("out/a.parquet"), "--id", "utt-3")
    assert "a.parquet, row 3 of 12 (id 'utt-3')" in done.stdout


def test_words_are_aligned_in_a_bucket_with_a_tokenizer_from_there(bucket, uri, tmp_path):
    (tmp_path / "words").mkdir()
    spoken = [[{"word": "fox", "start": 0.1, "end": 0.4}], []]
    table = pa.table({"words": spoken, "frames": [9, 3]})
    pq.write_table(table, tmp_path / "words" / "a.parquet")
    (tmp_path / "words" / "words.model").write_bytes(sentencepiece_model())
    put(bucket, tmp_path / "words", "words")
    options = ("--frames-column", "frames", "--tokenizer")
    model = tmp_path / "words" / "words.model"
    delaytool("align", tmp_path / "words", tmp_path / "out", *options, model)
    there = ("align", uri("words"), uri("out"), *options, uri("words/words.model"), "--json")
    assert summary_of(delaytool(*there))["written"] == 1
    assert objects(bucket)["out/a.parquet"] == (tmp_path / "out" / "a.parquet").read_bytes()
    assert summary_of(delaytool(*there))["unchanged"] == 1
    missing = delaytool(*there[:-2], uri("words/no.model"), status=2)
    assert "--tokenizer s3://" in missing.stderr
    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in missing.stderr


def test_nothing_of_a_key_is_told(data, bucket, server, tmp_path):
    query = f"?scheme=http&endpoint_override={server}&region=us-east-1"
    place, keyed = f"s3://{bucket[0]}", f"s3://AKIATESTING:topsecretvalue@{bucket[0]}"
    env = dict.fromkeys(KEYS, "")
    printed = []
    done = delaytool("apply", data, f"{keyed}/out{query}", *PLAIN, env=env)
    printed.append(done.stdout + done.stderr)
    assert f"{place}/out: shifted in" in done.stdout
    done = delaytool("verify", f"{keyed}/out{query}", "--json", env=env)
    printed.append(done.stdout + done.stderr)
    for arguments, status in (
        (("apply", data, f"{keyed}/out{query}", *PLAIN, "--initial-step"), 1),
        (("apply", f"{keyed}/none{query}", tmp_path / "o", *PLAIN), 2),
        (("apply", f"{keyed}-no-such/x{query}", tmp_path / "o", *PLAIN), 2),
        (("apply", data, f"{keyed}-no-such/x{query}", *PLAIN), 1),
        (("apply", f"{keyed}/out{query}", f"{place}/out{query}", *PLAIN), 2),
        (("apply", f"{keyed}/out{query}&secret_key=topsecretvalue", tmp_path / "o", *PLAIN), 1),
    ):
        done = delaytool(*arguments, env=env, status=status)
        printed.append(done.stdout + done.stderr)
        assert "Error: " in done.stderr
    for text in [*printed, *(content.decode("latin-1") for content in objects(bucket).values())]:
        assert "topsecretvalue" not in text
        assert "AKIATESTING" not in text


def test_environment_variables_say_where(data, bucket, server, tmp_path):
    env = {"AWS_ENDPOINT_URL": f"http://{server}", "AWS_DEFAULT_REGION": "us-east-1"}
    delaytool("apply", data, f"s3://{bucket[0]}/out", *PLAIN, env=env)
    delaytool("verify", f"s3://{bucket[0]}/out", "--source", data, env=env)


def test_an_endpoint_that_does_not_answer(data, tmp_path):
    port = free_port()
    began = time.monotonic()
    where = f"s3://bucket/x?scheme=http&endpoint_override=127.0.0.1:{port}&region=us-east-1"
    done = delaytool("apply", where, tmp_path / "o", *PLAIN, env=KEYS, status=1)
    *_, error, advice = done.stderr.splitlines()
    assert error.startswith("Error: s3://bucket/x: cannot be read: ")
    assert advice.startswith("  Check the address, the region or endpoint")
    assert time.monotonic() - began < 40


def test_quarantine_in_a_store(data, bucket, uri):
    rows = tokens_table(seed=1).to_pylist()
    rows[3]["text_tokens"] = None
    table = pa.Table.from_pylist(rows, tokens_table().schema)
    pq.write_table(table, data / "a.parquet")
    arguments = ("apply", data, uri("out"), *PLAIN, "--quarantine", uri("bad"))
    assert summary_of(delaytool(*arguments, "--json"))["quarantined"] == 1
    assert set(objects(bucket)) == {"out/a.parquet", "out/more/b.parquet", "bad/a.parquet"}
    assert summary_of(delaytool(*arguments, "--json"))["unchanged"] == 2
    delaytool("verify", uri("out"), "--source", data)
    pq.write_table(tokens_table(seed=1), data / "a.parquet")
    delaytool(*arguments, "--overwrite")
    assert "bad/a.parquet" not in objects(bucket)
    pq.write_table(table, data / "a.parquet")
    arguments = (*arguments[:-1], uri("out/bad"), "--overwrite", "--json")
    assert summary_of(delaytool(*arguments))["written"] == 1
    assert summary_of(delaytool(*arguments))["unchanged"] == 2
    done = delaytool("verify", uri("out"), "--source", data, "--quarantine", uri("out/bad"))
    assert "2 shards" in done.stdout
    done = delaytool("verify", uri("out"), "--source", data)
    assert "Note: 1 shard of quarantined rows was left out" in done.stderr
    done = delaytool("apply", data, uri("out/x"), *PLAIN, "--quarantine", uri("out"), status=2)
    assert "lies within --quarantine" in done.stderr


def test_pyarrow_publishes_what_it_should_not(bucket):
    """Why uploads take the way they take: this is what would happen without it."""
    name, client = bucket
    stream = client.open_output_stream(f"{name}/half")
    stream.write(b"half of it")
    del stream
    assert objects(bucket)["half"] == b"half of it"


class Stop(BaseException):
    pass


def test_what_comes_in_between_leaves_no_object(bucket, uri, monkeypatch):
    schema = pa.schema({"x": pa.int32()})
    batch = pa.record_batch({"x": pa.array([1, 2], pa.int32())})
    for error in (DataError("token", "bad"), Stop(), OSError("gone")):
        with contextlib.suppress(Stop, DataError):
            with writing(uri("new/x.parquet"), schema) as shard:
                shard.write(batch)
                raise error
            raise AssertionError("it went through")
    assert objects(bucket) == {}
    sent = []

    class Broken:
        """A source that breaks while it is read for the upload."""

        def __init__(self, *_):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def read(self, size):
            sent.append(size)
            if len(sent) > 3:
                raise OSError("the disk is gone")
            return b"x" * 16

    monkeypatch.setattr("builtins.open", lambda *a, **k: Broken())
    with pytest.raises(OSError, match="the disk is gone"):
        stores.upload("local", uri("new/x.parquet"))
    monkeypatch.undo()
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    assert objects(bucket) == {}


UPLOAD = "import sys; from delaytool.shards import stores; stores.upload(*sys.argv[1:])"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="uploads from a pipe")
def test_a_kill_in_the_middle_of_an_upload_leaves_no_object(bucket, uri, tmp_path):
    """It uploads what comes through a pipe, and is killed while it waits for more."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    process = subprocess.Popen([sys.executable, "-c", UPLOAD, str(pipe), uri("new/x.parquet")])
    with pipe.open("wb", buffering=0) as source:
        # A pipe holds little: what could be written has been read, and all but the last part sent.
        for _ in range(30):
            source.write(os.urandom(1 << 20))
        process.kill()
        assert process.wait(PATIENCE) == -signal.SIGKILL
    assert objects(bucket) == {}


# Everything else, through fsspec


def test_memory(data):
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    memory.put(str(data / "a.parquet"), "/in/a.parquet")
    (shard,) = find_shards("memory://in").shards
    target = "memory://out/a.parquet"
    finish(ApplyShard(Item(shard, None, target), tokens_job(), False).run())
    assert not [name for name in memory.find("/out") if name.startswith("/out/.")]
    verified = finish(VerifyShard(Shard("a.parquet", target), shard, None, None).run())
    assert (verified.mismatches, verified.rows) == ([], 12)


@pytest.fixture
def memory():
    """Puts empty files into fsspec's memory."""
    import fsspec

    filesystem = fsspec.filesystem("memory")
    filesystem.store.clear()

    def put(*names):
        for name in names:
            filesystem.pipe(f"/{name}", b"")

    return put


def found_at(uri, **options):
    found = find_shards(uri, **options)
    return [shard.name for shard in found.shards], found.notes


def test_hidden_folders_in_a_store(memory):
    memory("in/a.parquet", "in/_b.parquet", "in/.c.parquet", "in/x/.d.e.delaytool-part")
    memory("in/_old/e.parquet", "in/x/.cache/f.parquet", "in/_logs/g.txt", "in/_out/h.parquet")
    left_out = (
        "folders whose names begin with . or _ are not searched: _old, x/.cache",
        "hidden files are not read: .c.parquet",
    )
    for path in ("memory://in", "memory://in/**/*.parquet"):
        found = found_at(path, outside=["memory://in/_out"])
        assert found == (["_b.parquet", "a.parquet"], left_out)
    assert found_at("memory://in/_old") == (["e.parquet"], ())
    assert found_at("memory://in/_o*/e.parquet") == (["_old/e.parquet"], ())
    assert found_at("memory://in/**/_old/*.parquet") == (["_old/e.parquet"], ())


@pytest.mark.parametrize(
    "files",
    [
        ["_delta_log/0.json"],
        [".hoodie/hoodie.properties"],
        ["metadata/v1.metadata.json", "data/c.parquet"],
        ["metadata/v1.metadata.json", "metadata/snap-1.avro"],
    ],
)
def test_tables_in_a_store(memory, files):
    memory("lake/t/a.parquet", "lake/t/n=1/b.parquet", "lake/x/c.parquet")
    memory(*(f"lake/t/{name}" for name in files))
    for path in ("lake/t", "lake/t/n=1", "lake/t/a.parquet", "lake"):
        with pytest.raises(DataError, match=r"^memory://lake/t: it is an? \w+ table") as raised:
            find_shards(f"memory://{path}")
        pattern = raised.value.advice.split("'")[1]
        assert found_at(pattern)[0], "what the advice says works"
    assert found_at("memory://lake/x") == (["c.parquet"], ())
    assert found_at("memory://lake", outside=["memory://lake/t"]) == (["x/c.parquet"], ())
    for path in ("memory://lake/t", "memory://lake/t/new/x.parquet"):
        with pytest.raises(DataError, match="whose clean-up removes files"):
            check_output(path)
    check_output("memory://lake/new")


def test_a_bucket_of_tables(data, bucket, uri, tmp_path):
    name, client = bucket
    put(bucket, data, "lake/t/n=1")
    with client.open_output_stream(f"{name}/lake/t/_delta_log/0.json") as stream:
        stream.write(b"{}")
    where = f"Error: s3://{name}/lake/t: it is a Delta table"
    for path in ("lake", "lake/t", "lake/t/n=1", "lake/t/n=1/a.parquet"):
        assert where in delaytool("stats", uri(path), status=1).stderr
    assert where in delaytool("apply", data, uri("lake/t/new"), *PLAIN, status=1).stderr
    delaytool("apply", uri("lake/t/**/*.parquet"), tmp_path / "out", *PLAIN)
    delaytool("verify", tmp_path / "out" / "n=1", "--source", uri("lake/t/n=1/**/*.parquet"))


def made(delays, overwrite=False):
    """A run on a shard in memory that puts its output there, to be driven."""
    shard = Shard("a.parquet", "memory://in/a.parquet")
    item = Item(shard, None, "memory://out/a.parquet")
    return ApplyShard(item, tokens_job(delays=delays), overwrite).run()


def delays_there():
    metadata = pq.read_metadata(fsspec.filesystem("memory").open("/out/a.parquet")).metadata
    return Record.from_json(metadata[b"delaytool"]).job.recipe.delays


def test_two_runs_at_once_into_a_store(data):
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    memory.put(str(data / "a.parquet"), "/in/a.parquet")
    one, other, third = (0, 0, 1, 2), (0, 0, 2, 1), (0, 1, 1, 1)
    steps, same = made(one), made(one)
    next(steps)
    next(same)
    assert finish(made(one)).written
    assert not finish(same).written
    assert not finish(steps).written
    for overwrite in (False, True):
        memory.rm("/out/a.parquet")
        if overwrite:
            finish(made(third))
        steps = made(one, overwrite)
        next(steps)
        finish(made(other, overwrite))
        with pytest.raises(DataError) as caught:
            finish(steps)
        assert caught.value.kind == "output-in-the-way"
        assert delays_there() == other
        assert memory.find("/out") == ["/out/a.parquet"]
    assert finish(made(one, overwrite=True)).written
    assert delays_there() == one


def test_file_uris_are_paths(data, tmp_path):
    delaytool("apply", f"file://{data}", f"file://{tmp_path}/out", *PLAIN)
    delaytool("verify", f"file://{tmp_path}/out", "--source", data)
    assert sorted(files_in(tmp_path / "out")) == ["a.parquet", "more/b.parquet"]


def test_http(data, tmp_path):
    with on_the_web(data) as address:
        where = f"{address}/a.parquet"
        delaytool("apply", where, tmp_path / "out.parquet", *PLAIN)
        delaytool("verify", tmp_path / "out.parquet", "--source", where)
        done = delaytool("apply", data / "a.parquet", f"{where}/out", *PLAIN, status=1)
        assert "Error: " in done.stderr
    delaytool("verify", tmp_path / "out.parquet", "--source", data / "a.parquet")


def test_a_scheme_that_nobody_knows(data, tmp_path):
    done = delaytool("apply", "nowhere://x/y", tmp_path / "o", *PLAIN, status=1)
    assert "Error: nowhere://" in done.stderr


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("s3://key:secret@bucket/a?access_key=x", "s3://bucket/a"),
        ("https://user:pass@host:1/a/b?token=x#y", "https://host:1/a/b"),
        ("/local/a?b", "/local/a?b"),
        ("hf://datasets/x/y", "hf://datasets/x/y"),
    ],
)
def test_shown(path, told):
    assert stores.shown(path) == told
    assert stores.without_secrets(f"cannot reach {path} now") == f"cannot reach {told} now"


def test_paths_in_folders():
    assert stores.join("s3://b/a?region=x", "c/d.parquet") == "s3://b/a/c/d.parquet?region=x"
    assert stores.join("/a", "c/d.parquet") == os.path.join("/a", "c", "d.parquet")
    assert stores.plain("s3://b/a/?region=x") == "s3://b/a?region=x"
    assert stores.same("s3://b/a?region=x", "s3://k:s@b/a")
    assert stores.is_within("s3://b/a/c", "s3://b/a")
    assert not stores.is_within("s3://b/ac", "s3://b/a")
    assert stores.base_name("s3://b/a/c.parquet?x=y/z") == "c.parquet"
    assert list(stores.parents("s3://b/a/c?x=y")) == ["s3://b/a?x=y", "s3://b?x=y"]
    assert list(stores.parents("memory:///a/b")) == ["memory:///a"]
    assert list(stores.parents("/a/b")) == ["/a", "/"]


@pytest.mark.parametrize(
    ("uri", "kind", "inner"),
    [
        ("s3://key:secret@bucket/a/b?region=us-east-1", "s3", "bucket/a/b"),
        ("gs://anonymous@bucket/a/b", "gcs", "bucket/a/b"),
        ("abfs://box@account.dfs.core.windows.net/a/b", "abfs", "box/a/b"),
    ],
)
def test_arrows_own_stores(uri, kind, inner):
    """What nobody here can serve is at least understood as pyarrow understands it."""
    filesystem, path = stores._connect(uri)
    assert (filesystem.type_name, path) == (kind, inner)
