"""The shift in somebody's own pipeline gives what the command gives."""

import pickle

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from layouts import LAYOUTS, rows_of
from make import delaytool, tokens_table, without_marks

from delaytool import load_preset, map_batch
from delaytool.errors import DataError, RecipeError
from delaytool.recipes.presets import plain_recipe

RECIPE = plain_recipe(3, (0, 0, 1, 2))
LONG = pa.list_(pa.list_(pa.int64()))


@pytest.fixture(scope="module")
def applied(tmp_path_factory):
    """A table, and what the command makes of it."""
    folder = tmp_path_factory.mktemp("applied")
    table = tokens_table(rows=40)
    pq.write_table(table, folder / "a.parquet")
    arguments = ("--n-q", 3, "--delays", "0,0,1,2", "--label-columns")
    delaytool("apply", "a.parquet", "out.parquet", *arguments, cwd=folder)
    return table, pq.read_table(folder / "out.parquet")


def same(ours, theirs):
    assert ours.column_names == theirs.column_names
    for name in theirs.column_names:
        assert ours[name].to_pylist() == theirs[name].to_pylist(), name
    return True


def test_a_table_gives_a_table_and_a_batch_a_batch(applied):
    table, expected = applied
    shift = map_batch(RECIPE, labels=True)
    assert shift(table).equals(expected)
    chunked = pa.concat_tables([table.slice(0, 7), table.slice(7)])
    assert shift(chunked).equals(expected)
    batch = table.combine_chunks().to_batches()[0]
    assert pa.Table.from_batches([shift(batch)]).equals(expected)
    assert pickle.loads(pickle.dumps(shift)) == shift


def test_narrow_tokens(applied):
    table, expected = applied
    wide = table.set_column(3, "audio_codes", table["audio_codes"].cast(LONG))
    narrow = map_batch(RECIPE, narrow=True, labels=True)(wide)
    assert same(narrow, expected)
    assert narrow.schema.field("audio_codes").type == expected.schema.field("audio_codes").type
    assert without_marks(map_batch(RECIPE)(wide).schema.field("audio_codes").type) == str(LONG)


def test_no_rows():
    table = tokens_table().slice(0, 0)
    shifted = map_batch(RECIPE)(table)
    assert shifted.num_rows == 0
    assert shifted.schema.equals(map_batch(RECIPE)(tokens_table()).schema)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout(layout):
    make, where = LAYOUTS[layout]
    table = pa.table(make(rows_of(fixed="all fixed" in layout), pa.int16()))
    shifted = map_batch(plain_recipe(4, (0, 0, 1, 2, 3)), **where)(table)
    assert shifted.num_rows == table.num_rows


def test_hugging_face_datasets(applied, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    table, expected = applied
    dataset = datasets.Dataset(table).with_format("arrow")
    shifted = dataset.map(map_batch(RECIPE, labels=True), batched=True, batch_size=9)
    assert same(shifted.with_format("arrow")[:], expected)
    plain = shifted.with_format(None)
    assert plain[3] == expected.to_pylist()[3]
    assert plain.features["audio_loss_weights"].feature.feature.dtype == "float32"


def test_an_error_has_its_place_and_names_arguments():
    rows = tokens_table(rows=9).to_pylist()
    rows[6]["audio_codes"][2][0] = 4000
    table = pa.Table.from_pylist(rows, tokens_table().schema)
    with pytest.raises(DataError, match=r"^row 6 \(id 'utt-6'\), column audio_codes, stream acou"):
        map_batch(RECIPE, key="id")(pa.concat_tables([table.slice(0, 4), table.slice(4)]))
    squares = pa.table({"text_tokens": [[1, 2, 3]], "audio_codes": [[[1, 2, 3]] * 3]})
    with pytest.raises(DataError, match="more than one layout") as raised:
        map_batch(RECIPE)(squares)
    assert raised.value.advice == 'say which: `audio_layout="codebook"` or `audio_layout="frame"`'
    assert map_batch(RECIPE, audio_layout="frame")(squares).num_rows == 1
    with pytest.raises(DataError, match="there is no column audio_codes"):
        map_batch(RECIPE)(squares.drop_columns(["audio_codes"]))


@pytest.mark.parametrize(
    "wrong", [{"audio_layout": "list"}, {"align": "guess"}, {"output_layout": "both"}]
)
def test_arguments_that_cannot_be(wrong):
    with pytest.raises(RecipeError, match=next(iter(wrong))):
        map_batch(load_preset("moshi"), **wrong)
