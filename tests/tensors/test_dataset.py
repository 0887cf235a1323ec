"""`ShardDataset`: every row of every layout as it is in the shards, and what is refused."""

import json
import pickle
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
import torch
from layouts import LAYOUTS, at, read_slowly, rows_of
from make import KEYS, PATIENCE, PLAIN, delaytool, entry_of, on_the_web, rewrite, tokens_table

from delaytool import DataError, RecipeError, delay, loss_weights
from delaytool.shards.find import Shard
from delaytool.shards.read import open_shard, read_record
from delaytool.torch import Batch, ShardDataset, collate
from delaytool.torch.order import Share


def record_of(path):
    with open_shard(Shard(path.name, str(path))) as opened:
        return read_record(opened)


def read_back(path):
    """Codes and weights of each row of a shard, read one by one from Python lists."""
    job, found = record_of(path).job, []
    for row in pq.read_table(path).to_pylist():
        codes, weights = {}, {}
        for output in job.outputs:
            for name, lines in ((output.name, codes), (output.weights, weights)):
                if name:
                    values = read_slowly(at(row, name), output.layout.name, output.count)
                    lines.update(zip(output.numbers, values, strict=True))
        in_order = ([lines[number] for number in sorted(lines)] for lines in (codes, weights))
        found.append(tuple(in_order))
    return found, job.recipe


@pytest.mark.parametrize("weights", [True, False])
@pytest.mark.parametrize("name", LAYOUTS)
def test_rows_of_every_layout(tmp_path, name, weights):
    """Also where the recipe has to make the weights."""
    make, where = LAYOUTS[name]
    fixed = "all fixed" in name
    table = pa.table(make(rows_of(fixed=fixed), pa.int16()))
    (tmp_path / "data").mkdir()
    pq.write_table(table, tmp_path / "data" / "a.parquet")
    options = []
    for option, values in where.items():
        given = [values] if isinstance(values, str) else values
        for value in [",".join(map(str, given))] if option == "code_base" else given:
            options += [f"--{option.replace('_', '-')}", value]
    plain = ("--n-q", 4, "--delays", "0,0,1,2,1")
    more = () if weights else ("--no-weights",)
    delaytool("apply", tmp_path / "data", tmp_path / "shifted", *plain, *options, *more)
    path = tmp_path / "shifted" / "a.parquet"
    found, recipe = read_back(path)
    rewrite(path, pq.read_table(path), entry_of(path), group=4)
    rows = list(ShardDataset(tmp_path / "shifted"))
    assert len(rows) == len(found)
    for row, (codes, stored) in zip(rows, found, strict=True):
        assert row.codes.dtype == torch.int64
        assert row.weights.dtype == torch.float32
        assert row.codes.tolist() == codes
        made = loss_weights(np.array(codes), recipe).tolist()
        assert row.weights.tolist() == made
        assert stored == (made if weights else [])


@pytest.mark.parametrize("options", [("--no-text",), ("--output-layout", "grid"), ("--narrow",)])
def test_without_text_and_as_a_grid(shifted, options):
    if options == ("--narrow",) and "--narrow" not in delaytool("apply", "--help").stdout:
        pytest.skip("there is no --narrow yet")
    plain = ("--delays", "0,1,2") if options == ("--no-text",) else ()
    folder = shifted(9, options=(*plain, *options))
    found, recipe = read_back(folder / "0.parquet")
    rows = ShardDataset(folder)
    assert rows.recipe == recipe
    for row, (codes, weights) in zip(rows, found, strict=True):
        assert row.codes.tolist() == codes
        assert row.weights.tolist() == weights


@pytest.mark.parametrize("weights", [True, False])
def test_text_anywhere_and_offsets(tmp_path, weights):
    """Streams come in the recipe's order, whichever columns they are in."""
    audio = {"initial": 50, "padding": 49, "cardinality": 50}
    text = {"initial": 48, "padding": 3, "cardinality": 48, "token_weights": {"3": 0.5}}
    kinds = ("semantic", "text", "acoustic", "text", "acoustic")
    streams = [
        {"name": f"s{k}", "kind": kind, "delay": k % 3, "offset": k - 2}
        | (text if kind == "text" else audio)
        for k, kind in enumerate(kinds)
    ]
    (tmp_path / "recipe.json").write_text(json.dumps({"streams": streams, "initial_step": True}))
    rows = rows_of()
    table = {name: [row[k] for row in rows] for k, name in ((1, "a"), (3, "b"))}
    table["audio_codes"] = [[row[k] for k in (0, 2, 4)] for row in rows]
    (tmp_path / "data").mkdir()
    pq.write_table(pa.table(table), tmp_path / "data" / "a.parquet")
    options = ["--recipe", tmp_path / "recipe.json", "--text-column", "a", "--text-column", "b"]
    options += [] if weights else ["--no-weights"]
    delaytool("apply", tmp_path / "data", tmp_path / "shifted", *options)
    found, recipe = read_back(tmp_path / "shifted" / "a.parquet")
    assert recipe.streams[3].offset == 1
    shifted = list(ShardDataset(tmp_path / "shifted"))
    for row, (codes, _), source in zip(shifted, found, rows, strict=True):
        expected = delay(np.array(source, dtype=int), recipe)
        assert row.codes.tolist() == codes == expected.tolist()
        assert row.weights.tolist() == loss_weights(expected, recipe).tolist()


def test_a_length_without_reading_a_row(rows47, monkeypatch):
    rows = ShardDataset(rows47)
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", None)
    monkeypatch.setattr(pq.ParquetFile, "read_row_group", None)
    assert len(rows) == 47
    assert len(ShardDataset(rows47, rank=1, world_size=2)) == 23
    with pytest.raises(TypeError, match="repeat"):
        len(ShardDataset(rows47, repeat=True))


def test_other_columns_come_along(rows47):
    rows = ShardDataset(rows47, columns=["id", "tags"], shuffle=True)
    seen = {}
    for batch in torch.utils.data.DataLoader(rows, batch_size=10, collate_fn=collate):
        assert isinstance(batch, Batch)
        assert set(batch.columns) == {"id", "tags"}
        seen |= zip(batch.columns["id"], batch.columns["tags"], strict=True)
    tables = [pq.read_table(path) for path in sorted(rows47.iterdir())]
    table = pa.concat_tables(tables)
    assert seen == dict(zip(table["id"].to_pylist(), table["tags"].to_pylist(), strict=True))


def test_epochs_follow_one_another(rows47):
    rows = ShardDataset(rows47, columns=["id"], shuffle=True, seed=5)
    first, second = ([row.columns["id"] for row in rows] for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(47))
    assert first != second
    assert first != sorted(first)
    again = iter(ShardDataset(rows47, columns=["id"], shuffle=True, seed=5, repeat=True))
    assert [next(again).columns["id"] for _ in range(94)] == first + second


@pytest.mark.parametrize("context", ["fork", "spawn"])
@pytest.mark.parametrize("persistent", [False, True])
def test_epochs_follow_one_another_in_workers(rows47, context, persistent):
    """Whose copies of the dataset are made anew for each epoch, or stay."""
    rows = ShardDataset(rows47, columns=["id"], shuffle=True)
    loader = torch.utils.data.DataLoader(
        rows,
        batch_size=5,
        collate_fn=collate,
        num_workers=2,
        persistent_workers=persistent,
        multiprocessing_context=context,
    )
    epochs = [[batch.columns["id"] for batch in loader] for _ in range(2)]
    for epoch in epochs:
        assert sorted(id for ids in epoch for id in ids) == list(range(47))
    assert epochs[0] != epochs[1]
    # Both workers were in the same epoch, and in that of a dataset that is read here.
    alone = ShardDataset(rows47, columns=["id"], shuffle=True)
    order = alone._order
    for number, epoch in enumerate(epochs):
        for worker, batches in enumerate((epoch[::2], epoch[1::2])):
            share = Share(0, 1, worker, 2)
            starts = np.cumsum(order.rows) - order.rows
            rows = [
                int(starts[group]) + row
                for groups, numbers in order.blocks(number, share)
                for group, row in zip(groups.tolist(), numbers.tolist(), strict=True)
            ]
            assert [id for ids in batches for id in ids] == rows


def test_narrow_codes_become_wide_on_their_device(rows47):
    wide = list(ShardDataset(rows47))
    narrow = list(ShardDataset(rows47, dtype=torch.int16))
    for one, other in zip(wide, narrow, strict=True):
        assert other.codes.dtype == torch.int16
        assert torch.equal(one.codes, other.codes.long())
    batch = collate(narrow)
    assert batch.codes.dtype == torch.int16
    assert torch.equal(batch.to("cpu").codes, collate(wide).codes)


def test_a_row_may_be_changed_and_go_to_another_process(rows47):
    row, other = list(ShardDataset(rows47, columns=["id"]))[:2]
    row.codes[0, 0] = 7
    other.weights[:] = 2
    for each in (row, other):
        home = pickle.loads(pickle.dumps(each))
        assert torch.equal(home.codes, each.codes)
        assert torch.equal(home.weights, each.weights)
        assert home.columns == each.columns
    assert len(pickle.dumps(row)) < 50_000
    batch = collate([row, other])
    assert batch.codes[0, 0, 0] == 7
    assert (batch.weights[1, :, : batch.lengths[1]] == 2).all()


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_shards_in_a_bucket(rows47, server, monkeypatch, context):
    """Also in workers, whose process a client does not outlive."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    client = pafs.S3FileSystem(
        endpoint_override=server, scheme="http", region="us-east-1", allow_bucket_creation=True
    )
    client.create_dir(f"rows-{context}")
    for path in rows47.iterdir():
        with client.open_output_stream(f"rows-{context}/{path.name}") as stream:
            stream.write(path.read_bytes())
    query = f"?scheme=http&endpoint_override={server}&region=us-east-1"
    here = [row.codes for row in ShardDataset(rows47)]
    there = ShardDataset(f"s3://rows-{context}{query}")
    list(there)
    loader = torch.utils.data.DataLoader(
        there, None, num_workers=1, multiprocessing_context=context, timeout=PATIENCE
    )
    for one, row in zip(here, loader, strict=True):
        assert torch.equal(one, row.codes)


def test_a_shard_that_fsspec_opens(rows47):
    """Whose event loop a worker that is forked does not have."""
    with on_the_web(rows47) as address:
        rows = ShardDataset(f"{address}/0.parquet")
        for workers in (0, 2):
            loader = torch.utils.data.DataLoader(
                rows, None, num_workers=workers, timeout=PATIENCE if workers else 0
            )
            assert sum(row.codes.shape[1] for row in loader) == sum(
                row.codes.shape[1] for row in ShardDataset(rows47 / "0.parquet")
            )


# What is refused


def test_no_shards(tmp_path):
    with pytest.raises(RecipeError, match=r"`path`.*nowhere does not exist"):
        ShardDataset(tmp_path / "nowhere")
    with pytest.raises(DataError) as caught:
        ShardDataset(tmp_path)
    assert caught.value.kind == "no-shards"


def test_an_original_shard_is_named(rows47, tmp_path):
    for path in rows47.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    pq.write_table(tokens_table(), tmp_path / "z.parquet")
    with pytest.raises(DataError) as caught:
        ShardDataset(tmp_path)
    assert caught.value.kind == "no-record"
    assert caught.value.place.shard == "z.parquet"
    assert "delaytool.apply" in caught.value.advice


def test_shards_of_quarantined_rows_are_left_out(shifted, tmp_path):
    table = tokens_table(rows=6)
    bad = pa.array([None, *table["text_tokens"].to_pylist()[1:]], table["text_tokens"].type)
    (tmp_path / "data").mkdir()
    table = table.set_column(table.column_names.index("text_tokens"), "text_tokens", bad)
    pq.write_table(table, tmp_path / "data" / "a.parquet")
    where = ("--quarantine", tmp_path / "shifted" / "bad")
    delaytool("apply", tmp_path / "data", tmp_path / "shifted", *PLAIN, *where)
    rows = ShardDataset(tmp_path / "shifted")
    assert len(rows) == len(list(rows)) == 5
    assert any("quarantined" in note for note in rows.notes)
    with pytest.raises(DataError, match="quarantined rows") as caught:
        ShardDataset(tmp_path / "shifted" / "bad")
    assert caught.value.kind == "no-shards"


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (("--semantic-weight", 3), "weight"),
        (("--acoustic-delay", 3), "delay"),
        (("--label-columns",), "output columns"),
        (("--length", "truncate"), "length"),
    ],
)
def test_shards_that_were_made_in_different_ways(shifted, tmp_path, options, what):
    first, other = shifted(3), shifted(3, options=options)
    (tmp_path / "a.parquet").write_bytes((first / "0.parquet").read_bytes())
    (tmp_path / "b.parquet").write_bytes((other / "0.parquet").read_bytes())
    with pytest.raises(DataError, match=what) as caught:
        ShardDataset(tmp_path)
    assert caught.value.kind == "shards-differ"
    assert caught.value.place.shard == "b.parquet"
    assert "a.parquet" in caught.value.expected


def test_a_column_that_is_not_there(rows47):
    with pytest.raises(DataError, match="no column speed") as caught:
        ShardDataset(rows47, columns=["speed"])
    assert caught.value.kind == "missing-column"
    assert "id, text_tokens" in caught.value.expected
    with pytest.raises(RecipeError, match="list of names"):
        ShardDataset(rows47, columns="id")


def test_factors_without_weights(tmp_path):
    table = tokens_table(rows=3)
    factors = pa.array([[2.0] * len(text) for text in table["text_tokens"].to_pylist()])
    pq.write_table(table.append_column("factors", factors), tmp_path / "a.parquet")
    factored = ("apply", tmp_path / "a.parquet", tmp_path / "b.parquet", *PLAIN)
    delaytool(*factored, "--weight-column", "factors", "--no-weights")
    with pytest.raises(DataError) as caught:
        ShardDataset(tmp_path / "b.parquet")
    assert caught.value.kind == "no-weights"
    # Also where the first shard has none, and is otherwise alike.
    plain = ("apply", tmp_path / "a.parquet", tmp_path / "both" / "a.parquet", *PLAIN)
    delaytool(*plain, "--no-weights")
    (tmp_path / "both" / "b.parquet").write_bytes((tmp_path / "b.parquet").read_bytes())
    with pytest.raises(DataError) as caught:
        ShardDataset(tmp_path / "both")
    assert (caught.value.kind, caught.value.place.shard) == ("no-weights", "b.parquet")
    delaytool(*factored, "--weight-column", "factors", "--overwrite")
    weights = [row.weights.max().item() for row in ShardDataset(tmp_path / "b.parquet")]
    assert max(weights) == 200


def test_a_type_that_does_not_hold_the_tokens(tmp_path, rows47):
    pq.write_table(tokens_table(rows=3), tmp_path / "a.parquet")
    wide = ("--text-card", 50_000)
    delaytool("apply", tmp_path / "a.parquet", tmp_path / "b.parquet", *PLAIN, *wide)
    with pytest.raises(RecipeError, match=r"`dtype` is torch.int16.*49999"):
        ShardDataset(tmp_path / "b.parquet", dtype=torch.int16)
    assert next(iter(ShardDataset(tmp_path / "b.parquet", dtype=torch.int32))).codes[0, -1] == 3
    with pytest.raises(RecipeError, match="expected torch.int16, torch.int32, torch.int64"):
        ShardDataset(rows47, dtype=torch.float32)


@pytest.mark.parametrize(
    "arguments",
    [{"seed": -1}, {"seed": 1.5}, {"buffer_size": 0}, {"rank": 0}, {"world_size": 2},
     {"rank": 2, "world_size": 2}, {"rank": -1, "world_size": 2}, {"rank": True, "world_size": 2}],
)  # fmt: skip
def test_arguments_that_cannot_be(rows47, arguments):
    with pytest.raises(RecipeError, match="|".join(f"`{name}`" for name in arguments)):
        ShardDataset(rows47, **arguments)


def test_fewer_rows_than_ranks(shifted):
    folder = shifted(3)
    for repeat in (False, True):
        with pytest.raises(DataError, match="3 rows") as caught:
            iter(ShardDataset(folder, rank=0, world_size=4, repeat=repeat))
        assert caught.value.kind == "no-rows"


def test_more_workers_than_rows_end(shifted):
    folder = shifted(1)
    for workers in (0, 3):
        rows = ShardDataset(folder, repeat=True)
        loader = torch.utils.data.DataLoader(rows, 2, collate_fn=collate, num_workers=workers)
        batches = iter(loader)
        assert [len(next(batches).lengths) for _ in range(4)] == [2, 2, 2, 2]


def test_a_shard_that_changes_meanwhile(shifted):
    folder = shifted(3, 3)
    rows = ShardDataset(folder)
    other = shifted(4, 4)
    (folder / "1.parquet").write_bytes((other / "1.parquet").read_bytes())
    with pytest.raises(DataError) as caught:
        list(rows)
    assert caught.value.kind == "changed"
    assert caught.value.place.shard == "1.parquet"


def test_a_bad_row_is_named(shifted):
    folder = shifted(9, group=2)
    path = folder / "0.parquet"
    table = pq.read_table(path)
    texts = table["text_tokens"].to_pylist()
    texts[5] = texts[5][:-1]
    texts = pa.array(texts, table["text_tokens"].type)
    table = table.set_column(table.column_names.index("text_tokens"), "text_tokens", texts)
    rewrite(path, table, entry_of(path), group=2)
    with pytest.raises(DataError) as caught:
        list(ShardDataset(folder))
    assert (caught.value.place.shard, caught.value.place.row) == ("0.parquet", 5)


def test_a_token_that_would_wrap_is_refused(shifted):
    folder = shifted(4, group=2)
    path = folder / "0.parquet"
    table = pq.read_table(path)
    texts = table["text_tokens"].to_pylist()
    texts[3][0] = 1 << 20
    texts = pa.array(texts, table["text_tokens"].type)
    table = table.set_column(table.column_names.index("text_tokens"), "text_tokens", texts)
    rewrite(path, table, entry_of(path), group=2)
    with pytest.raises(DataError, match="token 1048576") as caught:
        list(ShardDataset(folder))
    assert (caught.value.place.row, caught.value.place.timestep) == (3, 0)


def test_torch_that_is_not_installed():
    code = "import sys; sys.modules['torch'] = None; import delaytool.torch"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ModuleNotFoundError: delaytool.torch needs torch")
    assert "pip install 'delaytool[torch]'" in last
