"""apply on one shard, and what other libraries make of its output."""

import os
import random
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import reference
from make import (
    PLAIN,
    delaytool,
    entry_of,
    files_in,
    finish,
    job_on,
    kind_of,
    rewrite,
    tokens_job,
    tokens_table,
)

from delaytool.batches.schema import shifted_schema
from delaytool.batches.shift import bad_rows, shift_batch
from delaytool.batches.types import depth_of, lists_around, without_nulls
from delaytool.errors import DataError, RecipeError
from delaytool.jobs.apply import ApplyShard
from delaytool.jobs.paths import Item
from delaytool.jobs.report import Summary
from delaytool.jobs.verify import VerifyShard
from delaytool.recipes.adapt import with_audio, with_text, with_weights
from delaytool.recipes.presets import plain_recipe
from delaytool.shards.bounded import MAX_CELLS
from delaytool.shards.find import Shard
from delaytool.shards.read import open_shard
from delaytool.shards.record import Record


def item(source, output):
    return Item(Shard("a.parquet", str(source)), None, str(output))


def apply(source, output, job, overwrite=False):
    return finish(ApplyShard(item(source, output), job, overwrite).run())


def verified(output, source=None):
    original = None if source is None else Shard("a.parquet", str(source))
    found = finish(VerifyShard(Shard("a.parquet", str(output)), original, None, None).run())
    return found.mismatches == []


def test_other_columns_come_out_unchanged(tmp_path):
    extra = {
        "when": pa.array(range(12), pa.timestamp("us", "UTC")),
        "price": pa.array([None, *range(11)], pa.decimal128(9, 2)),
        "kind": pa.array(["a", "b", None] * 4).dictionary_encode(),
        "point": pa.array([{"x": 1.5, "y": None}] * 12),
        "map": pa.array([[("k", 1)], None] * 6, pa.map_(pa.string(), pa.int32())),
        "audio": pa.array([os.urandom(50)] * 12, pa.large_binary()),
        "pair": pa.array([[1, 2]] * 12, pa.list_(pa.int8(), 2)),
        "nothing": pa.nulls(12),
        "nan": pa.array([float("nan"), -0.0] * 6, pa.float32()),
    }
    table = tokens_table(**extra).replace_schema_metadata({"license": "cc0", "note": "x"})
    source, output = tmp_path / "a.parquet", tmp_path / "out.parquet"
    pq.write_table(table, source, row_group_size=5)
    table = pq.read_table(source)
    apply(source, output, tokens_job())
    shifted = pq.read_table(output)
    assert shifted.column_names == [*table.column_names, "text_loss_weights", "audio_loss_weights"]
    assert shifted.schema.metadata == table.schema.metadata
    for name in table.column_names:
        before = table.schema.field(name)
        if name in ("text_tokens", "audio_codes"):
            assert shifted.schema.field(name) == without_nulls(before), "as it was, but never null"
        else:
            assert shifted.schema.field(name) == before
        if name not in ("text_tokens", "audio_codes"):
            assert repr(shifted[name].to_pylist()) == repr(table[name].to_pylist())
    assert verified(output)
    assert verified(output, source)


def test_the_record_says_how_the_shard_was_made(tmp_path):
    source, output = tmp_path / "a.parquet", tmp_path / "out.parquet"
    pq.write_table(tokens_table(), source)
    job = tokens_job()
    result = apply(source, output, job)
    record = Record.from_json(entry_of(output))
    assert record.job == job
    assert result.summary == Summary(record.job.recipe, record.counts, record.figures)
    assert record.counts.rows_in == record.counts.rows_out == 12
    assert set(record.digests.columns) == set(pq.read_schema(source).names)
    assert record.sources[0].size == source.stat().st_size
    assert str(tmp_path) not in entry_of(output).decode(), "no path in an output"


def test_an_output_does_not_depend_on_the_sources_row_groups(tmp_path):
    table, outputs = tokens_table(rows=40), []
    for size in (1, 7, 40):
        pq.write_table(table, tmp_path / "a.parquet", row_group_size=size)
        apply(tmp_path / "a.parquet", tmp_path / "out.parquet", tokens_job(), True)
        metadata = pq.read_metadata(tmp_path / "out.parquet")
        outputs.append([metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)])
        assert verified(tmp_path / "out.parquet", tmp_path / "a.parquet")
    assert outputs[0] == outputs[1] == outputs[2]


def test_batches_are_bounded_in_cells(tmp_path):
    lengths = np.random.default_rng(0).integers(1, 30_000, size=60)
    table = pa.table(
        {
            "text_tokens": [np.zeros(n, np.int32) for n in lengths],
            "audio_codes": [[np.ones(n, np.int16)] * 3 for n in lengths],
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    with open_shard(Shard("a.parquet", str(tmp_path / "a.parquet"))) as opened:
        batches = list(opened.batches(tokens_job(), added=2))
    assert pa.Table.from_batches(batches).num_rows == 60
    cells = [4 * sum(len(x) + 2 for x in b["text_tokens"].to_pylist()) for b in batches]
    assert max(cells) <= MAX_CELLS
    assert min(cells[:-1]) > MAX_CELLS - 4 * 30_000, "as full as they can be"


@pytest.mark.parametrize("factors", [None, "mask"])
def test_figures_do_not_depend_on_where_batches_end(tmp_path, factors):
    random = np.random.default_rng(1)
    lengths = random.integers(1, 30_000, size=40)
    table = pa.table(
        {
            "text_tokens": [random.integers(-1, 6, n, dtype=np.int32) for n in lengths],
            "audio_codes": [list(random.integers(-1, 2048, (3, n), np.int16)) for n in lengths],
            "mask": [random.random(n, np.float32) for n in lengths],
        }
    )
    source, output = tmp_path / "a.parquet", tmp_path / "out.parquet"
    pq.write_table(table, source)
    recipe = with_audio(plain_recipe(3, (0, 0, 1, 2)), padding=7)
    job = job_on(table, with_weights(recipe, final=0.1), weight_column=factors)
    apply(source, output, job)
    found = Record.from_json(entry_of(output)).figures
    assert found.cells > 2 * MAX_CELLS, "there was more than one batch"
    (batch,) = table.combine_chunks().to_batches()
    assert found == shift_batch(batch, job, shifted_schema(batch.schema, job)).figures.rounded()
    text = np.concatenate(table["text_tokens"].to_pylist())
    codes = np.concatenate([np.concatenate(row) for row in table["audio_codes"].to_pylist()])
    assert found.cells == 4 * (text.size + 2 * 40)
    assert found.filled == 4 * 2 * 40
    assert found.zero == (text == -1).sum() + (codes == -1).sum()
    assert (found.text, found.padding) == (text.size, np.isin(text, [0, 3]).sum())
    weights = np.concatenate(pq.read_table(output)["text_loss_weights"].to_pylist())
    assert float(found.weights[0]) == pytest.approx(weights.astype(np.float64).sum(), rel=1e-12)
    assert verified(output)
    shifted, entry = pq.read_table(output), entry_of(output)
    rewrite(output, shifted.slice(0, 1), entry)
    assert not verified(output)
    with pq.ParquetWriter(output, shifted.schema) as writer:
        writer.write_table(shifted, row_group_size=7)
        writer.add_key_value_metadata({"delaytool": entry})
    assert verified(output), "in batches that are cut elsewhere"


def test_progress_reaches_the_end(tmp_path):
    pq.write_table(tokens_table(rows=30), tmp_path / "a.parquet")
    work = item(tmp_path / "a.parquet", tmp_path / "out.parquet")
    fractions = list(ApplyShard(work, tokens_job(), False).run())
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


@pytest.mark.parametrize("rows", [0, 1])
def test_empty_shards_and_rows(tmp_path, rows):
    table = tokens_table(rows=2).slice(0, 0)
    if rows:
        empty = {"id": ["e"], "text_tokens": [[]], "audio_codes": [[[], [], []]]}
        table = pa.table(empty).cast(table.select(["id", "text_tokens", "audio_codes"]).schema)
    pq.write_table(table, tmp_path / "a.parquet")
    for job in (tokens_job(), tokens_job(length="truncate", final_step=True)):
        result = apply(tmp_path / "a.parquet", tmp_path / "out.parquet", job, True)
        assert (result.summary.counts.rows_out, result.summary.counts.tokens) == (rows, 0)
        assert pq.read_metadata(tmp_path / "out.parquet").num_rows == rows
        assert verified(tmp_path / "out.parquet", tmp_path / "a.parquet")


@pytest.mark.parametrize("length", ["extend", "truncate"])
def test_fixed_size_time_axes_become_lists(tmp_path, length):
    codes = pa.list_(pa.list_(pa.int16(), 4), 3)
    table = pa.table(
        {
            "text_tokens": pa.array([[1, 2, 3, 4]] * 5, pa.list_(pa.int32(), 4)),
            "audio_codes": pa.array([[[1, 2, 3, 4]] * 3] * 5, codes),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    apply(tmp_path / "a.parquet", tmp_path / "out.parquet", tokens_job(length=length))
    out = pq.read_table(tmp_path / "out.parquet")
    assert kind_of(out, "audio_codes") == "fixed_size_list<element: list<element: int16>>[3]"
    assert kind_of(out, "text_tokens") == "list<element: int32>"


def test_a_stopped_job_leaves_nothing(tmp_path):
    table = pa.concat_tables([tokens_table(rows=50, longest=4000, seed=seed) for seed in range(8)])
    pq.write_table(table, tmp_path / "a.parquet")
    work = item(tmp_path / "a.parquet", tmp_path / "new" / "out.parquet")
    steps = ApplyShard(work, tokens_job(), False).run()
    assert 0 < next(steps) < 1
    assert next(iter(files_in(tmp_path / "new"))).endswith(".delaytool-part")
    steps.close()
    assert not (tmp_path / "new").exists()


def test_a_source_that_changes_while_it_is_read(tmp_path):
    table = pa.concat_tables([tokens_table(rows=50, longest=4000, seed=seed) for seed in range(8)])
    pq.write_table(table, tmp_path / "a.parquet")
    work = item(tmp_path / "a.parquet", tmp_path / "out.parquet")
    steps = ApplyShard(work, tokens_job(), False).run()
    next(steps)
    # Other bytes under the same name, the old file still open: as an editor or a sync would.
    pq.write_table(table.slice(1), tmp_path / "b.parquet")
    os.replace(tmp_path / "b.parquet", tmp_path / "a.parquet")
    with pytest.raises(DataError, match="changed while it was read"):
        finish(steps)
    assert sorted(files_in(tmp_path)) == ["a.parquet"]


# What other libraries make of it


def test_datasets_loads_the_output(tmp_path):
    datasets = pytest.importorskip("datasets")
    table = tokens_table().to_pydict()
    table["audio_codes"] = [[[x % 200 for x in q] for q in row] for row in table["audio_codes"]]
    table["label"] = [0, 1] * 6
    features = datasets.Features(
        {
            "id": datasets.Value("string"),
            "text_tokens": datasets.Sequence(datasets.Value("int32")),
            "speaker": datasets.Value("string"),
            "audio_codes": datasets.Sequence(datasets.Sequence(datasets.Value("uint8"))),
            "score": datasets.Value("float64"),
            "tags": datasets.Sequence(datasets.Value("string")),
            "label": datasets.ClassLabel(names=["calm", "loud"]),
        }
    )
    original = datasets.Dataset.from_dict(table, features=features)
    original.to_parquet(tmp_path / "a.parquet")
    assert b"huggingface" in pq.read_schema(tmp_path / "a.parquet").metadata
    apply(tmp_path / "a.parquet", tmp_path / "out" / "a.parquet", tokens_job())
    loaded = datasets.load_dataset(
        "parquet",
        data_files=str(tmp_path / "out" / "a.parquet"),
        split="train",
        cache_dir=str(tmp_path / "cache"),
    )
    shifted = pq.read_table(tmp_path / "out" / "a.parquet")
    assert loaded.column_names == shifted.column_names
    assert loaded[3] == shifted.to_pylist()[3]
    assert loaded.features["label"] == original.features["label"], "its names are still there"
    assert loaded.features["audio_codes"].feature.feature.dtype == "int16", "wide enough for 2048"
    assert loaded.features["audio_loss_weights"].feature.feature.dtype == "float32"


@pytest.mark.parametrize("index", [None, "id"])
def test_pandas_loads_the_output(tmp_path, index):
    frame = tokens_table().to_pandas()
    frame = frame.set_index(index) if index else frame
    frame.to_parquet(tmp_path / "a.parquet")
    table = pq.read_table(tmp_path / "a.parquet")
    assert b"pandas" in table.schema.metadata
    apply(tmp_path / "a.parquet", tmp_path / "out.parquet", tokens_job())
    loaded = pd.read_parquet(tmp_path / "out.parquet")
    shifted = pq.read_table(tmp_path / "out.parquet")
    assert loaded.index.name == index
    assert list(loaded.columns) == [name for name in shifted.column_names if name != index]
    row = loaded.iloc[3]
    expected = shifted.to_pylist()[3]
    assert row["text_tokens"].tolist() == expected["text_tokens"]
    assert [q.tolist() for q in row["audio_loss_weights"]] == expected["audio_loss_weights"]
    assert verified(tmp_path / "out.parquet", tmp_path / "a.parquet")


# What comes out


def rows_and_output(tmp_path, table, recipe, **where):
    """Rows [K][T] of a table with text_tokens and audio_codes, and the shifted table."""
    pq.write_table(table, tmp_path / "a.parquet")
    job = job_on(table, recipe, **where)
    apply(tmp_path / "a.parquet", tmp_path / "out.parquet", job)
    assert verified(tmp_path / "out.parquet", tmp_path / "a.parquet")
    assert verified(tmp_path / "out.parquet")
    rows = [[row["text_tokens"], *row["audio_codes"]] for row in table.to_pylist()]
    return rows, pq.read_table(tmp_path / "out.parquet")


def ending(final_weight=0.0, **fields):
    """A recipe whose end tokens are in the vocabulary, so that they can be labels."""
    recipe = plain_recipe(3, (0, 0, 1, 2))
    recipe = with_audio(recipe, card=2049, initial=2049, padding=2048)
    return replace(with_weights(recipe, final=final_weight), **fields)


@pytest.mark.parametrize("final_weight", [0.0, 0.25])
@pytest.mark.parametrize("weights", [True, False])
def test_labels_are_tokens_where_weight_is_and_else_100_below(tmp_path, final_weight, weights):
    recipe = ending(final_weight=final_weight, final_step=True, dep_q=2)
    table = tokens_table(n_q=3, text_type=pa.uint16())
    rows, out = rows_and_output(tmp_path, table, recipe, label_columns=True, weights=weights)
    for row, text, audio in zip(
        rows, out["text_labels"].to_pylist(), out["audio_labels"].to_pylist(), strict=True
    ):
        codes, factors = reference.delay(row, recipe), reference.loss_weights(row, recipe)
        expected = [
            [token if weight > 0 else -100 for token, weight in zip(*lines, strict=True)]
            for lines in zip(codes, factors, strict=True)
        ]
        assert [text, *audio] == expected
        for line, stream in zip(expected, recipe.streams, strict=True):
            assert all(label == -100 or 0 <= label < stream.cardinality for label in line)
        assert [2048 in line for line in expected[1:]] == [final_weight > 0] * 2 + [False]
    assert ("text_loss_weights" in out.column_names) is weights
    assert kind_of(out, "text_labels") == "list<element: int32>", "holds -100"
    assert kind_of(out, "audio_labels") == "list<element: list<element: int16>>"


NARROW = [(127, 127, "int8"), (127, 128, "int16"), (129, 0, "int16"), (2**15 + 1, 0, "int32")]


@pytest.mark.parametrize(("card", "fill", "kind"), NARROW)
@pytest.mark.parametrize("given", ["uint16", "int64", "uint64"])
@pytest.mark.parametrize("grid", [False, True])
def test_narrow_tokens_have_the_narrowest_type_of_vocabulary_and_fills(
    tmp_path, card, fill, kind, given, grid
):
    recipe = with_audio(plain_recipe(3, (0, 0, 1, 2)), card=card, initial=fill, padding=fill)
    recipe = with_text(recipe, card=100, initial=100, padding=3)
    dice, depth = random.Random(card), {"text_tokens": 1, "audio_codes": 2}
    lengths = [0, 1, 2, 9]
    table = pa.table(
        {
            "text_tokens": [[dice.randrange(100) for _ in range(t)] for t in lengths],
            "audio_codes": [
                [[dice.choice([0, card - 1]) for _ in range(t)] for _ in range(3)] for t in lengths
            ],
        },
        pa.schema([(name, lists_around(pa.type_for_alias(given), d)) for name, d in depth.items()]),
    )
    where = {"output_layout": "grid"} if grid else {}
    rows, out = rows_and_output(tmp_path, table, recipe, narrow=True, label_columns=True, **where)
    codes = [reference.delay(row, recipe) for row in rows]
    if grid:
        assert out["codes"].to_pylist() == codes
        assert kind_of(out, "codes") == f"list<element: list<element: {kind}>>"
    else:
        assert out["text_tokens"].to_pylist() == [text for text, *_ in codes]
        assert out["audio_codes"].to_pylist() == [audio for _, *audio in codes]
        assert kind_of(out, "text_tokens") == "list<element: int8>"
        assert kind_of(out, "audio_codes") == f"list<element: list<element: {kind}>>"
    delaytool("revert", tmp_path / "out.parquet", tmp_path / "back.parquet")
    assert pq.read_table(tmp_path / "back.parquet").equals(table, check_metadata=True)


def test_narrow_is_another_job(tmp_path):
    pq.write_table(tokens_table(), tmp_path / "a.parquet")
    plain, narrow = (
        ["apply", tmp_path / "a.parquet", tmp_path / "out", *PLAIN, *more]
        for more in ([], ["--narrow"])
    )
    delaytool(*plain)
    assert "other options" in delaytool(*narrow, status=1).stderr
    delaytool(*narrow, "--overwrite")
    assert "1 unchanged" in delaytool(*narrow).stdout


def test_narrow_goes_with_alignment_bases_and_quarantine(tmp_path):
    rows = tokens_table(text_type=pa.int64()).to_pylist()
    for number, row in enumerate(rows):
        row["text_tokens"] = row["text_tokens"][number % 3 :] + [1] * (number == 4)
        row["audio_codes"] = [[q * 50_000 + t for t in b] for q, b in enumerate(row["audio_codes"])]
    rows[7]["audio_codes"][1][0] = 99_999
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, tmp_path / "a.parquet")
    options = (*PLAIN, "--align", "fit", "--code-base", 50_000, "--narrow")
    bad, out = ("--quarantine", tmp_path / "bad"), tmp_path / "out.parquet"
    delaytool("apply", tmp_path / "a.parquet", out, *options, *bad)
    delaytool("verify", out, "--source", tmp_path / "a.parquet", *bad)
    kind = pq.read_schema(out).field("audio_codes").type
    assert depth_of(kind) == (2, pa.int16())
    delaytool("revert", out, tmp_path / "back.parquet", "--allow-lossy")
    back, good = pq.read_table(tmp_path / "back.parquet"), [*rows[:7], *rows[8:]]
    assert back.schema.equals(table.schema)
    assert back["audio_codes"].to_pylist() == [row["audio_codes"] for row in good]


@pytest.mark.parametrize("more", [{}, {"label_columns": True}])
def test_a_trained_fill_beyond_the_vocabulary_is_refused(more):
    table = tokens_table(n_q=3)
    recipe = with_weights(plain_recipe(3, (0, 0, 1, 2)), final=1.0)
    with pytest.raises(RecipeError, match="semantic: final is 2048 and would be trained"):
        job_on(table, recipe, **more)
    nothing = job_on(table, recipe, weights=False)
    assert nothing.recipe == recipe, "where nothing weighs anything it may be"
    assert job_on(table, replace(recipe, length="truncate")), "no such cell is there"
    assert job_on(table, replace(recipe, dep_q=0), **more), "they are not trained"


@pytest.mark.parametrize("shape", ["[T]", "[K][T]"])
@pytest.mark.parametrize("kind", [pa.float32(), pa.float64(), pa.int8()])
def test_factors_move_with_the_tokens(tmp_path, shape, kind):
    recipe = ending(final_weight=0.5, initial_step=True)
    table = tokens_table(n_q=3)
    dice = random.Random(0)
    lengths = [len(line) for line in table["text_tokens"].to_pylist()]

    def line(n):
        return [dice.randrange(3) / (1 if pa.types.is_integer(kind) else 4) for _ in range(n)]

    if shape == "[T]":
        factors = [line(n) for n in lengths]
        table = table.append_column("mask", pa.array(factors, pa.list_(kind)))
        factors = [[row] * 4 for row in factors]
    else:
        factors = [[line(n) for _ in range(4)] for n in lengths]
        table = table.append_column("mask", pa.array(factors, pa.list_(pa.list_(kind))))
    rows, out = rows_and_output(tmp_path, table, recipe, weight_column="mask", label_columns=True)
    assert out["mask"].equals(table["mask"]), "it passes through unshifted"
    for row, own, text, audio in zip(
        rows,
        factors,
        out["text_loss_weights"].to_pylist(),
        out["audio_loss_weights"].to_pylist(),
        strict=True,
    ):
        cells = [
            reference.cells_of(tokens, stream, recipe)
            for tokens, stream in zip(row, recipe.streams, strict=True)
        ]
        plain = reference.loss_weights(row, recipe)
        expected = [
            [
                weight * (own[k][origin] if what == "token" else 1)
                for (what, _, origin), weight in zip(cells[k], plain[k], strict=True)
            ]
            for k in range(4)
        ]
        expected = np.concatenate(expected).astype(np.float32)
        assert np.concatenate([text, *audio]).tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("bad", "found"),
    [
        (-0.5, "the factor -0.5"),
        (float("nan"), "the factor nan"),
        (None, "a null token"),
        # A semantic token weighs 100, and 3e38 is within what float32 holds.
        (3e38, "the factor 3e.38, expected .* leaves weights finite"),
        (1e300, "the factor 1e.300"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_a_factor_that_cannot_be(tmp_path, bad, found):
    table = tokens_table(n_q=3)
    factors = [[1.0] * len(line) for line in table["text_tokens"].to_pylist()]
    factors[4][2] = bad
    kind = pa.float64() if bad == 1e300 else pa.float32()
    table = table.append_column("mask", pa.array(factors, pa.list_(kind)))
    with pytest.raises(DataError, match=f"row 4.*column mask.*timestep 2: {found}"):
        rows_and_output(tmp_path, table, ending(), weight_column="mask")
    assert not (tmp_path / "out.parquet").exists()


def weighing(weight, token_weights=None, **more):
    """A recipe whose text weighs so much."""
    recipe = plain_recipe(1, (0, 0))
    text = replace(recipe.streams[0], weight=weight, token_weights=token_weights or {})
    return replace(recipe, streams=(text, *recipe.audio), **more)


@pytest.mark.parametrize("shape", ["[T]", "[K][T]"])
@pytest.mark.parametrize(
    ("weight", "token_weight", "factor", "kind"),
    [
        (1e-46, 1e10, 1.0, pa.float32()),
        (1e-46, 1e45, 1.0, pa.float64()),
        (1e-46, 1.0, 1e20, pa.float32()),
        (1e20, 1.0, 1e-50, pa.float64()),
        (1e-290, 1.0, 1e300, pa.float64()),
        (1e-300, 1e-30, 1e308, pa.float64()),
        (3e-320, 1.0, 1e300, pa.float64()),
        (1e-300, 1e308, 1e-300, pa.float64()),
        (0.1, 1.0, np.float32(0.3).item(), pa.float32()),
        (1 / 3, 1.0, 3.0, pa.int8()),
        (1.0, 1.0, 0.1, pa.float64()),
        (3.0, 1.0, 1 / 3, pa.float64()),
        (1.1, 1.0, 2**24 + 1, pa.int32()),
        (1.0, 1.0, 2.0**-149, pa.float32()),
        (0.5, 1.0, 2.0**-149, pa.float64()),
        (1.0, 1.0, float(np.finfo(np.float32).max), pa.float32()),
    ],
)
@pytest.mark.filterwarnings("error")
def test_a_product_is_rounded_once_whatever_its_factors(
    tmp_path, weight, token_weight, factor, kind, shape
):
    recipe = weighing(weight, {5: token_weight}, dep_q=0)
    mask = pa.array([factor], kind)
    product = Fraction(weight) * Fraction(token_weight) * Fraction(mask[0].as_py())
    lists = [[factor]] if shape == "[T]" else [[[factor], [0]]]
    mask = pa.array(lists, pa.list_(kind) if shape == "[T]" else pa.list_(pa.list_(kind)))
    table = pa.table({"text_tokens": [[5]], "audio_codes": [[[7]]], "mask": mask})
    _, out = rows_and_output(tmp_path, table, recipe, weight_column="mask", audio_layout="codebook")
    assert out["text_loss_weights"].to_pylist() == [[np.float32(float(product)).item()]]
    assert out["audio_loss_weights"].to_pylist() == [[[0.0]]]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("length", ["extend", "truncate"])
def test_a_factor_need_not_go_with_tokens_that_it_is_not_on(tmp_path, length):
    """1e20 is too much for token 5, not for 6 and the zero token, nor where there is no weight."""
    recipe = weighing(1.0, {5: 1e30}, dep_q=0, length=length)
    text = replace(recipe.streams[0], delay=1)
    recipe = replace(recipe, streams=(text, *recipe.audio))
    table = pa.table(
        {
            "text_tokens": [[6, -1, 5, 6]],
            "audio_codes": [[[7, 8, 9, 5]]],
            "mask": [[[1e20, 1e300, 1e8, 1e8], [1e300] * 4]],
        }
    )
    _, out = rows_and_output(tmp_path, table, recipe, weight_column="mask")
    shifted = [0, np.float32(1e20).item(), 0, np.float32(1e38).item(), np.float32(1e8).item()]
    assert out["text_loss_weights"].to_pylist() == [shifted[: recipe.steps(4)]]
    assert not any(out["audio_loss_weights"].to_pylist()[0][0])


@pytest.mark.filterwarnings("error")
def test_a_factor_on_what_truncation_cuts_off_weighs_nothing(tmp_path):
    recipe = weighing(1.0, {5: 1e30}, length="truncate")
    text = replace(recipe.streams[0], delay=1)
    recipe = replace(recipe, streams=(text, *recipe.audio))
    table = pa.table(
        {
            "text_tokens": [[6, 5]],
            "audio_codes": [[[7, 8]]],
            "mask": [[[1.0, 1e20], [1.0, 1.0]]],
        }
    )
    _, out = rows_and_output(tmp_path, table, recipe, weight_column="mask", audio_layout="codebook")
    assert out["text_loss_weights"].to_pylist() == [[0, 1]]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("layout", ["codebook", "frame", "grid"])
def test_a_weight_that_no_float32_holds_is_told_with_its_place(tmp_path, layout):
    recipe = plain_recipe(2, (0, 0, 1))
    semantic = replace(recipe.streams[1], token_weights={8: 1e30})
    recipe = replace(recipe, streams=(recipe.streams[0], semantic, recipe.streams[2]))
    rows = [[[5, 6], [7, 9], [1, 2]], [[5, 6, 7], [7, 9, 8], [8, 8, 8]]]
    mask = pa.array([[[1e10] * 2] * 3, [[1e10] * 3] * 3])
    where = {"audio_layout": "codebook"}
    if layout == "grid":
        table = pa.table({"grids": rows, "mask": mask})
        where["grid_column"] = ("grids",)
    else:
        audio = [row[1:] for row in rows]
        if layout == "frame":
            audio = [np.transpose(books).tolist() for books in audio]
            where = {"audio_layout": "frame"}
        table = pa.table(
            {"text_tokens": [row[0] for row in rows], "audio_codes": audio, "mask": mask}
        )
    pq.write_table(table, tmp_path / "a.parquet")
    job = job_on(table, recipe, weight_column="mask", **where)
    with pytest.raises(DataError) as raised:
        apply(tmp_path / "a.parquet", tmp_path / "out.parquet", job)
    place = raised.value.place
    assert raised.value.kind == "weight"
    assert raised.value.found == "the factor 1e+10"
    assert (place.row, place.column, place.stream, place.timestep) == (1, "mask", "semantic", 2)
    (problem,) = bad_rows(table.to_batches()[0], job).items()
    assert problem[0] == 1
    assert problem[1].place == replace(place, shard=None)


@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf")])
def test_a_factor_of_one_stream_is_told_with_its_name(bad):
    table = tokens_table(n_q=3)
    lengths = [len(line) for line in table["text_tokens"].to_pylist()]
    mask = [[[1.0] * n for _ in range(4)] for n in lengths]
    mask[7][2][0] = bad
    table = table.append_column("mask", pa.array(mask))
    problems = bad_rows(table.to_batches()[0], job_on(table, ending(), weight_column="mask"))
    (row, error), *rest = problems.items()
    assert not rest
    assert (row, error.place.stream, error.place.timestep) == (7, "acoustic_1", 0)
    assert error.found == f"the factor {bad:.7g}"


def test_heavy_rows_are_found_whatever_else_is_wrong_around_them(tmp_path):
    """Of text that alignment cuts, factors of another length, and rows that are too heavy."""
    table = pa.table(
        {
            "text_tokens": [[6, 5], [5], [6], [5, 6, 6], [5]],
            "audio_codes": [[[1]], [[1]], [[1]], [[1]], [[1]]],
            "mask": [[1e20], [1e20], [1e20, 1e20], [1e20], [float("nan")]],
        }
    )
    job = job_on(
        table, weighing(1.0, {5: 1e30}), align="trim", weight_column="mask", audio_layout="codebook"
    )
    problems = bad_rows(table.to_batches()[0], job)
    assert {row: (error.kind, error.place.stream) for row, error in problems.items()} == {
        1: ("weight", "text"),
        2: ("weight-length", None),
        3: ("weight", "text"),
        4: ("weight", None),
    }


def test_factors_of_another_length(tmp_path):
    table = tokens_table(n_q=3)
    factors = [[1.0] * len(line) for line in table["text_tokens"].to_pylist()]
    factors[3].append(1.0)
    table = table.append_column("mask", pa.array(factors, pa.list_(pa.float32())))
    with pytest.raises(DataError, match="row 3.*column mask: .* frames, expected .*audio"):
        rows_and_output(tmp_path, table, ending(), weight_column="mask")


def test_split_to_grid_and_grid_to_split(tmp_path):
    recipe = ending()
    rows, out = rows_and_output(
        tmp_path, tokens_table(n_q=3), recipe, output_layout="grid", label_columns=True
    )
    names = ["id", "codes", "speaker", "score", "tags", "loss_weights", "labels"]
    assert out.column_names == names
    assert out["codes"].to_pylist() == [reference.delay(row, recipe) for row in rows]
    assert out["loss_weights"].to_pylist() == [reference.loss_weights(row, recipe) for row in rows]
    assert kind_of(out, "codes") == "list<element: list<element: int32>>"

    grid = pa.table({"name": ["x"] * len(rows), "both": rows})
    pq.write_table(grid, tmp_path / "grid.parquet")
    job = job_on(grid, recipe, grid_column=("both",), output_layout="split")
    apply(tmp_path / "grid.parquet", tmp_path / "split.parquet", job)
    split = pq.read_table(tmp_path / "split.parquet")
    names = ["name", "text_tokens", "audio_codes", "text_loss_weights", "audio_loss_weights"]
    assert split.column_names == names
    shifted = [
        [text, *audio]
        for text, audio in zip(
            split["text_tokens"].to_pylist(), split["audio_codes"].to_pylist(), strict=True
        )
    ]
    assert shifted == [reference.delay(row, recipe) for row in rows]
    assert verified(tmp_path / "split.parquet", tmp_path / "grid.parquet")


def test_what_a_slice_leaves_out_stays(tmp_path):
    recipe = replace(plain_recipe(3, (0, 0, 1, 2)), initial_step=True)
    a = [[[1, 2, 3], [4, 5, 6]], [[7], [8]]]
    b = [[[90, 91, 92], [10, 11, 12], [13, 14, 15]], [[93], [16], [17]]]
    table = pa.table({"A": a, "B": b})
    pq.write_table(table, tmp_path / "a.parquet")
    job = job_on(table, recipe, grid_column=("A", "B[1:]"))
    apply(tmp_path / "a.parquet", tmp_path / "out.parquet", job)
    out = pq.read_table(tmp_path / "out.parquet")
    assert out.column_names == ["codes", "B", "loss_weights"]
    assert out["B"].to_pylist() == [[line[0]] for line in b]
    stacked = [[*one, *other[1:]] for one, other in zip(a, b, strict=True)]
    assert out["codes"].to_pylist() == [reference.delay(row, recipe) for row in stacked]
    assert verified(tmp_path / "out.parquet", tmp_path / "a.parquet")


def test_two_speakers_have_weights_of_their_own(tmp_path):
    recipe = replace(plain_recipe(4, (0, 0, 1, 0, 1)), dep_q=2)
    text, codes = [[1, 3, 4]], [[[5, 6, 7], [8, 9, 10]]]
    table = pa.table({"text_tokens": text, "moshi": codes, "user": codes})
    pq.write_table(table, tmp_path / "a.parquet")
    job = job_on(table, recipe, audio_column=("moshi", "user"))
    apply(tmp_path / "a.parquet", tmp_path / "out.parquet", job)
    out = pq.read_table(tmp_path / "out.parquet")
    assert out.column_names == [
        "text_tokens", "moshi", "user",
        "text_loss_weights", "moshi_loss_weights", "user_loss_weights",
    ]  # fmt: skip
    assert out["user"].to_pylist() == out["moshi"].to_pylist()
    assert out["moshi_loss_weights"].to_pylist() == [[[100, 100, 100, 0], [0, 1, 1, 1]]]
    assert out["user_loss_weights"].to_pylist() == [[[0, 0, 0, 0], [0, 0, 0, 0]]]


def test_datasets_loads_what_becomes_of_its_arrays(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    rows = [[[t, t + 1, t + 2] for t in range(frames)] for frames in (4, 6, 1)]
    features = datasets.Features(
        {
            "text_tokens": datasets.Sequence(datasets.Value("int32")),
            "audio_codes": datasets.Array2D(shape=(None, 3), dtype="int16"),
        }
    )
    text = [list(range(len(row))) for row in rows]
    original = datasets.Dataset.from_dict({"text_tokens": text, "audio_codes": rows}, features)
    original.to_parquet(str(tmp_path / "a.parquet"))
    delaytool("apply", "a.parquet", "out.parquet", *PLAIN, cwd=tmp_path)
    loaded = datasets.load_dataset(
        "parquet",
        data_files=str(tmp_path / "out.parquet"),
        split="train",
        cache_dir=str(tmp_path / "cache"),
    )
    recipe = plain_recipe(3, (0, 0, 1, 2))
    for row, own, line in zip(rows, text, loaded, strict=True):
        codes = [own, *([frame[q] for frame in row] for q in range(3))]
        expected = reference.delay(codes, recipe)
        assert line["text_tokens"] == expected[0]
        assert line["audio_codes"] == [list(frame) for frame in zip(*expected[1:], strict=True)]
    delaytool("revert", "out.parquet", "back.parquet", cwd=tmp_path)
    back = datasets.Dataset.from_parquet(
        str(tmp_path / "back.parquet"), cache_dir=str(tmp_path / "other")
    )
    assert back.features == original.features
    assert back[1] == original[1]
