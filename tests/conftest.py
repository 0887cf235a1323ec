"""What tests of several rooms need: an object store, and a folder that commands can be run in."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from make import (
    QUARANTINE,
    SAMPLE_DATA,
    delaytool,
    entry_of,
    free_port,
    rewrite,
    sentencepiece_model,
    tokens_table,
    wait_for_port,
)

from delaytool import delay, load_preset


def pytest_addoption(parser):
    parser.addoption("--deep", action="store_true", help="repeat long tests as often as it takes")


def pytest_configure(config):
    config.addinivalue_line("markers", "deep: one more of a kind, which only --deep runs")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--deep"):
        left_out = [item for item in items if item.get_closest_marker("deep")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    # What one worker has to do alone begins first, while the other one does the rest.
    items.sort(key=lambda item: not item.get_closest_marker("xdist_group"))


@pytest.fixture
def times(request):
    """Chooses how often to repeat something: few times, or with --deep many."""
    deep = request.config.getoption("--deep")
    return lambda few, many: many if deep else few


@pytest.fixture
def data(tmp_path):
    """A folder with two shards, one of them in a folder of its own."""
    folder = tmp_path / "data"
    (folder / "more").mkdir(parents=True)
    pq.write_table(tokens_table(seed=1), folder / "a.parquet")
    pq.write_table(tokens_table(seed=2, rows=5), folder / "more" / "b.parquet")
    return folder


@pytest.fixture(scope="session")
def server():
    """moto's S3 in a process of its own: a stream that is dropped blocks the one that drops it."""
    pytest.importorskip("moto")
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for_port(port, process)
    yield f"127.0.0.1:{port}"
    process.kill()
    process.wait()


@pytest.fixture(scope="session")
def names(tmp_path_factory):
    """A folder with everything that the commands name."""
    folder = tmp_path_factory.mktemp("names")
    table = pq.read_table(SAMPLE_DATA / "moshi" / "train-00000-of-00002.parquet")
    rows = table.num_rows
    ids = pa.array([f"utt-{row}" for row in range(rows)])
    table = table.set_column(table.column_names.index("id"), "id", ids)

    def write(name, part):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(part, path)

    write("data/train-00000.parquet", table)
    write("text/a.parquet", table.drop_columns(["audio_codes"]))
    write("codes/a.parquet", table.select(["id", "audio_codes"]))
    spoken = pq.read_table(SAMPLE_DATA / "words" / "train-00000.parquet")
    write("words/a.parquet", spoken)
    write("transcripts/a.parquet", spoken.drop_columns(["audio_codes"]))
    write("speech/a.parquet", spoken.select(["id", "audio_codes"]))
    (folder / "tokenizer.model").write_bytes(sentencepiece_model())
    grids = []
    for first in (0, 8):
        pairs = zip(table["text_tokens"].to_pylist(), table["audio_codes"].to_pylist(), strict=True)
        grids.append(pa.array([[text, *codes[first : first + 8]] for text, codes in pairs]))
    dialogues = pa.table({"dialogue_id": ids, "A": grids[0], "B": grids[1]})
    write("a/a.parquet", dialogues)
    write("dialogues/a.parquet", dialogues)
    recipe = load_preset("musicgen")
    codes = [delay([[7, 8, 9], [1, 2, 3], [4, 5, 6], [0, 1, 2]], recipe).tolist()]
    write("generated.parquet", pa.table({"codes": codes}))
    write("generated/a.parquet", pa.table({"codes": codes}))
    (folder / "my-model.json").write_text(load_preset("moshi").to_json())
    config = {
        "n_q": 16,
        "dep_q": 8,
        "card": 2048,
        "text_card": 32000,
        "delays": load_preset().delays,
    }
    (folder / "config.json").write_text(json.dumps({**config, "existing_text_padding_id": 3}))
    delaytool("align", "words", "aligned", cwd=folder)
    delaytool("apply", "data", "made/shifted", cwd=folder)
    text = pa.array([None, *table["text_tokens"].to_pylist()[1:]], table["text_tokens"].type)
    spoiled = table.set_column(table.column_names.index("text_tokens"), "text_tokens", text)
    write("spoiled/train-00000.parquet", spoiled)
    delaytool("apply", "spoiled", "made/good", "--quarantine", "bad", cwd=folder)
    shutil.rmtree(folder / "spoiled")
    bad = folder / "bad" / "train-00000.parquet"
    repaired = table.slice(0, 1).append_column("reason", pq.read_table(bad)["reason"])
    rewrite(bad, repaired, entry_of(bad, QUARANTINE), QUARANTINE)
    paired = ("--audio-input", "codes", "--key", "id")
    delaytool("apply", "text", "made/paired", *paired, cwd=folder)
    return folder


@pytest.fixture
def here(names, tmp_path):
    """A copy of it, to run one command in."""
    return Path(shutil.copytree(names, tmp_path / "here"))
