"""Text streams at any place, several of them, and offsets, from shards and back."""

import dataclasses
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import reference
from make import delaytool, entry_of, summary_of

import delaytool as library
from delaytool.batches.map_batch import map_batch
from delaytool.errors import DataError, RecipeError
from delaytool.recipes.recipe import Recipe, Stream

TEXT = {"kind": "text", "initial": 50, "padding": 3, "cardinality": 50}
CODES = {"initial": 100, "padding": 100, "cardinality": 100}
STREAMS = (
    Stream("first", "semantic", 1, **CODES, offset=2, lead=7, weight=100),
    Stream("said", delay=0, **TEXT, token_weights={3: 0.5}, trail=3),
    Stream("second", "acoustic", 2, **CODES, offset=-1),
    Stream("heard", delay=1, **TEXT | {"padding": 4}, offset=3, lead=4),
)
RECIPES = [
    Recipe(STREAMS, dep_q=1),
    Recipe(STREAMS, length="truncate", final_step=True),
    Recipe(STREAMS, length="truncate", offset_length="extend", initial_step=True),
    Recipe(STREAMS, offset_length="truncate"),
]
WIDE = {"COLUMNS": "300"}
LENGTHS = (5, 1, 0, 9, 3)
COLUMNS = ("--text-column", "words", "--text-column", "replies", "--audio-layout", "frame")


def rows_of(seed=0):
    random = np.random.default_rng(seed)
    return [
        [random.integers(-1, 50 if s.kind == "text" else 100, n).tolist() for s in STREAMS]
        for n in LENGTHS
    ]


def table_of(rows, shorter=0):
    """Codes [T][2] in front of the texts, the second of which may be shorter."""
    frames = [[list(frame) for frame in zip(row[0], row[2], strict=True)] for row in rows]
    return pa.table(
        {
            "audio_codes": pa.array(frames, pa.list_(pa.list_(pa.int16()))),
            "replies": pa.array(
                [row[3][: max(len(row[3]) - shorter, 0)] for row in rows], pa.list_(pa.int16())
            ),
            "words": pa.array([row[1] for row in rows], pa.list_(pa.int32())),
        }
    )


def cells_of(table, names=("audio_codes", "words", "replies")):
    audio, words, replies = (table[name].to_pylist() for name in names)
    return [
        [[frame[0] for frame in codes], said, [frame[1] for frame in codes], heard]
        for codes, said, heard in zip(audio, words, replies, strict=True)
    ]


@pytest.fixture(params=RECIPES, ids=["extend", "truncate", "offsets extend", "offsets truncate"])
def recipe(request):
    return request.param


@pytest.fixture
def given(recipe, tmp_path):
    (tmp_path / "recipe.json").write_text(recipe.to_json())
    return "--recipe", tmp_path / "recipe.json"


def weights_of(rows, recipe):
    return [
        np.array(reference.loss_weights(row, recipe), dtype=np.float32).tolist() for row in rows
    ]


def test_columns_fill_streams_by_kind(recipe, given, tmp_path):
    rows, source, output = rows_of(), tmp_path / "a.parquet", tmp_path / "b.parquet"
    pq.write_table(table_of(rows), source)
    told = summary_of(delaytool("apply", source, output, *given, *COLUMNS, "--json"))
    made = pq.read_table(output)
    assert cells_of(made) == [reference.delay(row, recipe) for row in rows]
    names = ("audio_loss_weights", "words_loss_weights", "replies_loss_weights")
    assert cells_of(made, names) == weights_of(rows, recipe)
    lost = sum(line.count(None) for row in rows for line in reference.cut(row, recipe))
    cells = [what for row in rows for line in reference.filled(row, recipe) for what in line]
    moved = sum(what in ("lead", "trail") for what in cells)
    assert (told["lost"], told["offset"]) == (lost, moved)
    assert told["filled"] == sum(what not in ("lead", "trail", None) for what in cells)
    assert told["text_tokens"] == sum(
        line.count(None) for row in rows for line in reference.filled(row, recipe)[1::2]
    )
    for how in ((), ("--source", source), given):
        delaytool("verify", output, *how)
    back = tmp_path / "back.parquet"
    if lost:
        assert delaytool("revert", output, back, status=1).stderr.count(f"{lost} tokens") == 1
    delaytool("revert", output, back, *(["--allow-lossy"] if lost else []))
    assert cells_of(pq.read_table(back)) == [reference.cut(row, recipe) for row in rows]
    if not lost:
        assert pq.read_table(back).equals(pq.read_table(source))


def test_a_grid_and_back_from_it(recipe, given, tmp_path):
    rows, source, output = rows_of(), tmp_path / "a.parquet", tmp_path / "b.parquet"
    pq.write_table(table_of(rows), source)
    delaytool("apply", source, output, *given, *COLUMNS, "--output-layout", "grid")
    made = pq.read_table(output)
    assert made["codes"].to_pylist() == [reference.delay(row, recipe) for row in rows]
    assert made["loss_weights"].to_pylist() == weights_of(rows, recipe)
    delaytool("verify", output, "--source", source)
    grids, apart = tmp_path / "grids.parquet", tmp_path / "apart.parquet"
    pq.write_table(pa.table({"grid": pa.array(rows, pa.list_(pa.list_(pa.int16())))}), grids)
    columns = ("--grid-column", "grid", "--audio-layout", "codebook", "--output-layout", "split")
    delaytool("apply", grids, apart, *given, *columns)
    made = pq.read_table(apart)
    assert made.column_names[:3] == ["said_tokens", "heard_tokens", "audio_codes"]
    assert "heard_tokens_loss_weights" in made.column_names
    lines = zip(*(made[name].to_pylist() for name in made.column_names[:3]), strict=True)
    found = [[codes[0], said, codes[1], heard] for said, heard, codes in lines]
    assert found == [reference.delay(row, recipe) for row in rows]
    delaytool("verify", apart, "--source", grids)
    delaytool("revert", apart, tmp_path / "back.parquet", "--allow-lossy")
    back = pq.read_table(tmp_path / "back.parquet")["grid"].to_pylist()
    assert back == [reference.cut(row, recipe) for row in rows]


@pytest.mark.parametrize("align", ["pad", "trim"])
def test_each_text_is_aligned_for_itself(recipe, given, align, tmp_path):
    whole = rows_of()
    source, output = tmp_path / "a.parquet", tmp_path / "b.parquet"
    table = table_of(whole, shorter=2)
    if align == "trim":
        texts = [[*line, 5, 6] for line in table_of(whole)["replies"].to_pylist()]
        column = pa.array(texts, table["replies"].type)
        table = table.set_column(1, "replies", column)
    pq.write_table(table, source, row_group_size=2)
    options = (*given, *COLUMNS, "--align", align)
    told = summary_of(delaytool("apply", source, output, *options, "--json"))
    rows = whole
    if align == "pad":
        kept = [max(n - 2, 0) for n in LENGTHS]
        rows = [
            [*row[:3], [*row[3][:n], *[4] * (len(row[3]) - n)]]
            for row, n in zip(whole, kept, strict=True)
        ]
    assert cells_of(pq.read_table(output)) == [reference.delay(row, recipe) for row in rows]
    added = sum(min(n, 2) for n in LENGTHS)
    pair = (added, 0) if align == "pad" else (0, 2 * len(LENGTHS))
    assert (told["padded"], told["trimmed"]) == pair
    if align == "pad":
        record = json.loads(entry_of(output))
        padded = [[row, min(n, 2)] for row, n in enumerate(LENGTHS) if n]
        assert record["padded"] == [[], padded]
    delaytool("verify", output, "--source", source)
    delaytool("verify", output)
    delaytool("revert", output, tmp_path / "back.parquet", "--allow-lossy")
    back = pq.read_table(tmp_path / "back.parquet")["replies"].to_pylist()
    assert [len(line) for line in back] == [max(n - 2, 0) if align == "pad" else n for n in LENGTHS]


def test_batches_are_mapped_as_shards_are(recipe, given, tmp_path):
    table = table_of(rows_of())
    pq.write_table(table, tmp_path / "a.parquet")
    delaytool("apply", tmp_path / "a.parquet", tmp_path / "b.parquet", *given, *COLUMNS)
    mapped = map_batch(recipe, text_column=["words", "replies"], audio_layout="frame")(table)
    made = pq.read_table(tmp_path / "b.parquet")
    assert [made[name].to_pylist() for name in made.column_names] == [
        mapped[name].to_pylist() for name in mapped.column_names
    ]


def test_there_is_a_column_for_each_text_stream(tmp_path):
    source, output = tmp_path / "a.parquet", tmp_path / "b.parquet"
    pq.write_table(table_of(rows_of()), source)
    (tmp_path / "recipe.json").write_text(RECIPES[0].to_json())
    given = ("--recipe", tmp_path / "recipe.json")
    done = delaytool("apply", source, output, *given, "--text-column", "words", status=2)
    assert "--text-column names words, expected 2, one for each text stream: said, heard" in (
        done.stderr
    )
    missing = ("--text-column", "words", "--text-column", "nothing")
    assert "nothing" in delaytool("apply", source, output, *given, *missing, status=1).stderr
    twice = ("--text-column", "words", "--text-column", "words")
    assert "named twice" in delaytool("apply", source, output, *given, *twice, status=2).stderr


def test_text_whose_padding_is_no_token_of_it_is_not_padded(tmp_path):
    pq.write_table(table_of(rows_of(), shorter=1), tmp_path / "a.parquet")
    odd = dataclasses.replace(STREAMS[3], padding=50)
    recipe = Recipe((*STREAMS[:3], odd))
    with pytest.raises(RecipeError, match="stream heard cannot be padded with its padding 50"):
        library.apply(
            tmp_path / "a.parquet",
            tmp_path / "b.parquet",
            recipe,
            text_column=["words", "replies"],
            audio_layout="frame",
            align="pad",
        )


def test_the_labels_and_the_picture_tell_offsets_from_delays(tmp_path):
    rows, source, output = rows_of(), tmp_path / "a.parquet", tmp_path / "b.parquet"
    pq.write_table(table_of(rows), source)
    (tmp_path / "recipe.json").write_text(RECIPES[0].to_json())
    delaytool("apply", source, output, "--recipe", tmp_path / "recipe.json", *COLUMNS)
    cells = reference.filled(rows[0], RECIPES[0])
    origins = [
        reference.cells_of(line, stream, RECIPES[0])
        for line, stream in zip(rows[0], STREAMS, strict=True)
    ]
    printed = delaytool("inspect", output, "--labels", env=WIDE).stdout.splitlines()
    for stream, line, origin in zip(STREAMS, cells, origins, strict=True):
        shown = next(each for each in printed if each.startswith(f"{stream.name} "))
        assert shown.split()[1:] == [
            f"{stream.kind}_{timestep + 1}"
            if what is None
            else "O"
            if what in ("lead", "trail")
            else "S"
            for what, (_, _, timestep) in zip(line, origin, strict=True)
        ]
    ids = delaytool("inspect", output, env=WIDE).stdout
    assert "offsets (frames): 2 0 -1 3; extend" in ids
    assert "[id]: filled by the pattern; (id): filled by an offset" in ids
    first = next(line for line in ids.splitlines() if line.startswith("first "))
    marks = {"initial": "[100]", "lead": "(7)", "trail": "(-1)"}
    expected = [marks.get(what) for what in cells[0]]
    assert [want in (None, cell) for want, cell in zip(expected, first.split()[1:], strict=True)]
    before = delaytool("inspect", output, "--before", "--json").stdout
    assert json.loads(before)["codes"] == rows[0]
    assert not any(map(any, json.loads(before)["offset"]))


def test_originals_with_several_texts_are_counted_and_shown(tmp_path):
    rows, source = rows_of(), tmp_path / "a.parquet"
    pq.write_table(table_of(rows), source)
    found = summary_of(delaytool("stats", source, *COLUMNS, "--json"))
    assert found["text_tokens"] == 2 * sum(LENGTHS)
    said = sum(line.count(3) + line.count(0) for row in rows for line in row[1::2])
    assert found["text_padding"] == said
    (tmp_path / "recipe.json").write_text(RECIPES[0].to_json())
    given = ("--recipe", tmp_path / "recipe.json")
    found = summary_of(delaytool("stats", source, *given, *COLUMNS, "--json"))
    paddings = sum(row[1].count(3) + row[3].count(4) for row in rows)
    assert (found["text_tokens"], found["text_padding"]) == (2 * sum(LENGTHS), paddings)
    shown = json.loads(delaytool("inspect", source, *given, *COLUMNS, "--json").stdout)
    assert shown["codes"] == rows[0]
    assert shown["streams"] == [stream.name for stream in STREAMS]


def test_a_token_outside_its_vocabulary_is_named_by_its_stream(tmp_path):
    rows = rows_of()
    rows[3][3][2] = 60
    pq.write_table(table_of(rows), tmp_path / "a.parquet")
    with pytest.raises(DataError) as raised:
        library.apply(
            tmp_path / "a.parquet",
            tmp_path / "b.parquet",
            RECIPES[0],
            text_column=["words", "replies"],
            audio_layout="frame",
        )
    place = raised.value.place
    assert (place.row, place.column, place.stream, place.timestep) == (3, "replies", "heard", 2)
