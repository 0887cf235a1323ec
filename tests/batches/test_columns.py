"""Which columns hold the tokens is found or asked for, never guessed."""

import pyarrow as pa
import pytest
from layouts import LAYOUTS, flat, rows_of, transposed

from delaytool.batches.column_options import ColumnOptions
from delaytool.batches.columns import describe_columns, find_columns
from delaytool.batches.layouts import CODEBOOK, FLAT_CODEBOOK, FLAT_FRAME, FRAME, LIST, Column
from delaytool.batches.types import type_name
from delaytool.errors import DataError
from delaytool.recipes.presets import load_preset, plain_recipe

RECIPE = plain_recipe(3, (0, 0, 1, 2))
TEXT = Column("text_tokens", (0,), LIST, 1)


def find(columns, recipe=RECIPE, **where):
    table = pa.table(columns)
    return find_columns(
        ColumnOptions(**where), table.schema, recipe, table.to_batches(max_chunksize=2)
    )


def books(*frames, codebooks=3):
    """Rows [n_q][T] of so many frames."""
    return [[list(range(n)) for _ in range(codebooks)] for n in frames]


def frame_major(rows):
    return [transposed(row) for row in rows]


def text(*frames):
    return [list(range(n)) for n in frames]


FOUND = {
    "codebook": ("codebook", 4, 0),
    "frame": ("frame", 4, 0),
    "flat-codebook": ("flat-codebook", 4, 0),
    "grid": ("codebook", 5, 0),
    "grid, frame": ("frame", 5, 0),
    "two grids, sliced": ("codebook", 3, 1),
    "two grids, frame, sliced": ("frame", 3, 1),
    "flat, sliced": ("flat-codebook", 3, 0),
    "column per codebook": ("list", 1, 0),
    "two speakers": ("frame", 2, 0),
    "Array2D, frame": ("frame", 4, 0),
}


@pytest.mark.parametrize("layout", FOUND)
def test_layouts_are_found(layout):
    make, where = LAYOUTS[layout]
    columns = find(make(rows_of(), pa.int16()), plain_recipe(4, (0, 0, 1, 2, 3)), **where)
    last = columns[-1]
    assert (last.layout.name, last.size, last.start) == FOUND[layout]
    assert [number for column in columns for number in column.numbers] == list(range(5))


def test_the_first_row_that_only_one_reading_fits_decides():
    rows = books(3, 3, 0, 5, 4)
    columns = {"text_tokens": text(3, 3, 0, 5, 4), "audio_codes": rows}
    assert find(columns)[1] == Column("audio_codes", (1, 2, 3), CODEBOOK, 3)
    columns["audio_codes"] = frame_major(rows)
    assert find(columns)[1] == Column("audio_codes", (1, 2, 3), FRAME, 3)


def test_reading_stops_where_it_is_decided():
    schema = pa.table({"text_tokens": text(5), "audio_codes": books(5)}).schema

    def batches():
        yield pa.record_batch({"text_tokens": text(5), "audio_codes": books(5)}, schema)
        raise AssertionError("nobody has to read on")

    assert find_columns(ColumnOptions(), schema, RECIPE, batches())[1].layout == CODEBOOK


@pytest.mark.parametrize("wrap", [books, lambda *frames: frame_major(books(*frames))])
def test_squares_alone_decide_nothing(wrap):
    columns = {"text_tokens": text(3, 3), "audio_codes": wrap(3, 3)}
    with pytest.raises(DataError, match="column audio_codes: more than one layout") as raised:
        find(columns)
    assert "codebook (codebook-major, [3][T]) or frame (frame-major" in raised.value.expected
    assert raised.value.advice.endswith('`audio_layout="codebook"` or `audio_layout="frame"`')
    for layout in ("codebook", "frame"):
        assert find(columns, audio_layout=layout)[1].layout.name == layout


def test_flat_lists_never_say_what_they_are():
    columns = {"text_tokens": text(2, 7), "audio_codes": [list(range(3 * n)) for n in (2, 7)]}
    with pytest.raises(DataError, match="more than one layout") as raised:
        find(columns)
    assert '`audio_layout="flat-codebook"` or `audio_layout="flat-frame"`' in raised.value.advice
    assert find(columns, audio_layout="flat-frame")[1] == Column(
        "audio_codes", (1, 2, 3), FLAT_FRAME, 3
    )


def test_one_codebook_may_be_a_plain_list():
    columns = {"text_tokens": text(4), "audio_codes": text(4)}
    assert find(columns, plain_recipe(1, (0, 1)))[1] == Column("audio_codes", (1,), LIST, 1)


def test_null_and_ragged_rows_are_for_apply_to_tell():
    rows = [None, [[1, 2], [3], [4, 5]], *books(5)]
    columns = {"text_tokens": [[1], [1, 2], list(range(5))], "audio_codes": rows}
    assert find(columns)[1].layout == CODEBOOK


def test_no_reading_fits():
    columns = {"text_tokens": text(5), "audio_codes": books(5, codebooks=4)}
    with pytest.raises(DataError, match="4 streams, expected 3, one for each audio") as raised:
        find(columns)
    assert "`audio_column='audio_codes[:3]'`" in raised.value.advice
    with pytest.raises(DataError, match="2 streams, expected 3") as raised:
        find({"text_tokens": text(5), "audio_codes": books(5, codebooks=2)})
    assert "name more columns with `audio_column`" in raised.value.advice
    with pytest.raises(DataError, match="no layout fits: audio_codes 3 codebooks of") as raised:
        find({"text_tokens": text(6), "audio_codes": books(5)})
    assert "as the text has tokens" in raised.value.expected
    assert find({"text_tokens": text(6), "audio_codes": books(5)}, align="trim")


def test_the_text_of_a_second_grid_is_left_out():
    """Two speakers, each with text: the recipe has one."""
    grids = {"A": books(5, codebooks=2), "B": books(5, codebooks=3)}
    with pytest.raises(DataError, match="A has 2 and B has 3, 5 streams in all") as raised:
        find(grids, grid_column=("A", "B"))
    assert "`grid_column=['A', 'B[1:]']`" in raised.value.advice
    assert [c.count for c in find(grids, grid_column=("A", "B[1:]"))] == [2, 2]
    grids["B"] = books(5, codebooks=4)
    with pytest.raises(DataError, match="6 streams in all, expected 4") as raised:
        find(grids, grid_column=("A", "B"))
    assert "`grid_column=['A', 'B[:2]']`" in raised.value.advice


def test_rows_of_no_frames_fit_anything():
    columns = {
        "text_tokens": pa.array([[]], pa.list_(pa.int8())),
        "audio_codes": pa.array([[[]] * 3], pa.list_(pa.list_(pa.int8()))),
    }
    assert find(columns)[1] == Column("audio_codes", (1, 2, 3), CODEBOOK, 3)
    nothing = {name: array.slice(1) for name, array in columns.items()}
    assert find(nothing)[1].size == 3
    two = {"text_tokens": nothing["text_tokens"], **dict.fromkeys("AB", nothing["audio_codes"])}
    with pytest.raises(DataError, match="there are no rows"):
        find(two, audio_column=("A", "B"))


@pytest.mark.parametrize("first", [0, 1])
def test_a_column_for_each_codebook(first):
    columns = {f"codes_{q}": text(4, 2) for q in range(first, first + 3)}
    found = find({"text_tokens": text(4, 2), **columns}, audio_column=("codes_{q}",))
    assert [column.name for column in found[1:]] == list(columns)
    two = plain_recipe(2, (0, 0, 1))
    found = find({"text_tokens": text(4, 2), **columns}, two, audio_column=("codes_{q}",))
    assert [column.name for column in found[1:]] == list(columns)[:2], "the first of more"
    four = plain_recipe(4, (0,) * 5)
    with pytest.raises(DataError, match="3 columns with one codebook each, expected 4"):
        find({"text_tokens": text(4, 2), **columns}, four, audio_column=("codes_{q}",))
    with pytest.raises(DataError, match="there is no column q_0"):
        find({"text_tokens": text(4, 2), **columns}, audio_column=("q_{q}",))


@pytest.mark.parametrize(
    ("name", "start", "count"),
    [("B[1:]", 1, 3), ("B[:3]", 0, 3), ("B[1:4]", 1, 3), ("B[:]", 0, 4)],
)
def test_slices(name, start, count):
    recipe = plain_recipe(count, (0,) * (count + 1))
    found = find({"text_tokens": text(6), "B": books(6, codebooks=4)}, recipe, audio_column=(name,))
    assert found[1] == Column("B", tuple(range(1, 1 + count)), CODEBOOK, 4, start)


def test_a_column_may_be_called_like_a_slice():
    found = find({"text_tokens": text(6), "B[1:]": books(6)}, audio_column=("B[1:]",))
    assert found[1] == Column("B[1:]", (1, 2, 3), CODEBOOK, 3)


def test_an_empty_slice_holds_no_stream():
    with pytest.raises(DataError, match="column B: the slice holds none of 3 codebooks"):
        find({"text_tokens": text(6), "B": books(6)}, audio_column=("B[5:]",))


def test_j_moshis_grids():
    grids = {name: books(40, 7, codebooks=9) for name in "AB"}
    found = find(grids, load_preset("j-moshi"), grid_column=("A", "B[1:]"))
    assert found == (
        Column("A", tuple(range(9)), CODEBOOK, 9),
        Column("B", tuple(range(9, 17)), CODEBOOK, 9, 1),
    )
    with pytest.raises(DataError, match="A has 9 and B has 9, 18 streams in all, expected 17"):
        find(grids, load_preset("j-moshi"), grid_column=("A", "B"))


def test_text_alone_and_audio_alone():
    only_text = load_preset("moss-ttsd").streams[:1]
    recipe = type(RECIPE)(only_text)
    assert find({"text_tokens": text(3)}, recipe) == (TEXT,)
    audio = load_preset("musicgen")
    rows = books(6, codebooks=4)
    assert find({"audio_codes": rows}, audio) == (Column("audio_codes", (0, 1, 2, 3), CODEBOOK, 4),)


def test_without_a_recipe_rows_agree_on_the_codebooks():
    rows = books(5, 7)
    assert find({"audio_codes": rows}, None) == (Column("audio_codes", (0, 1, 2), CODEBOOK, 3),)
    both = {"text_tokens": text(5, 7), "audio_codes": frame_major(rows)}
    assert find(both, None) == (TEXT, Column("audio_codes", (1, 2, 3), FRAME, 3))
    with pytest.raises(DataError, match="more than one layout"):
        find({"audio_codes": books(5)}, None)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"text_tokens": text(2)}, "there is no column audio_codes; there are text_tokens"),
        ({"audio_codes": books(2)}, "there is no column text_tokens"),
        ({"text_tokens": text(2), "audio_codes": ["x"]}, "audio_codes: has the type string"),
        ({"text_tokens": [0.5], "audio_codes": books(2)}, "text_tokens: has the type double"),
        ({"text_tokens": books(2), "audio_codes": books(2)}, "text_tokens: has the type list"),
    ],
)
def test_columns_that_are_missing_or_unfit(columns, message):
    with pytest.raises(DataError, match=message):
        find(columns)


def test_what_was_found_is_told():
    columns = {
        "text_tokens": text(6),
        "B": pa.array(frame_major(books(6, codebooks=4)), pa.large_list(pa.list_(pa.uint8(), 4))),
    }
    table = pa.table(columns)
    found = find(columns, audio_column=("B[1:]",))
    assert describe_columns(found, table.schema) == [
        "text_tokens: list<int64>, one token a frame, [T]",
        "B: large_list<fixed_size_list<uint8>[4]>, frame-major, [T][4], of which 1 to 3 are used",
    ]
    assert type_name(pa.int8()) == "int8"


def test_flat_has_its_own_size():
    rows = [flat(row) for row in books(4, 6)]
    recipe = plain_recipe(2, (0, 0, 1))
    columns = {"text_tokens": text(4, 6), "audio_codes": rows}
    found = find(columns, recipe, audio_column=("audio_codes[:2]",), audio_layout="flat-codebook")
    assert found[1] == Column("audio_codes", (1, 2), FLAT_CODEBOOK, 3)


TOKENS = pa.list_(pa.int32())
BOOKS = pa.list_(TOKENS)
AUDIO = plain_recipe(3, (0, 1, 2), text=False)


def test_a_slice_of_nothing_fits_nothing():
    columns = {"text_tokens": text(4), "a": books(4), "b": books(4, codebooks=2)}
    with pytest.raises(DataError, match="column b: the slice holds none of 2"):
        find(columns, audio_column=("a", "b[2:]"))


def test_columns_per_codebook_go_with_others():
    columns = {name: text(4, 5) for name in ("text_tokens", "c_0", "c_1", "x")}
    found = find(columns, audio_column=("c_{q}", "x"))
    assert found == (
        TEXT,
        *(Column(n, tuple(range(k, k + 1)), LIST, 1) for k, n in enumerate(("c_0", "c_1", "x"), 1)),
    )


@pytest.mark.parametrize("empty", [[], [[], [], []]])
def test_rows_without_frames_tell_nothing_where_there_is_no_text(empty):
    for rows, layout in (
        # A row of no lists has no frames in one layout, and no codebooks in the other.
        ([], CODEBOOK if empty else FRAME),
        (frame_major(books(4)), FRAME),
        (books(4), CODEBOOK),
    ):
        columns = {"audio_codes": pa.array([empty, *rows, empty], BOOKS)}
        assert find(columns, AUDIO) == (Column("audio_codes", (0, 1, 2), layout, 3),)


def test_text_that_will_be_aligned_does_not_say_how_long_flat_codes_are():
    columns = {"text_tokens": text(2), "audio_codes": pa.array([list(range(12))], TOKENS)}
    with pytest.raises(DataError, match="more than one layout fits every row") as raised:
        find(columns, align="pad")
    assert '`audio_layout="flat-frame"`' in raised.value.advice


def test_shards_of_other_types_are_for_apply_to_tell():
    square = pa.record_batch({"text_tokens": text(3), "audio_codes": books(3)})
    others = [
        pa.record_batch({"text_tokens": [1], "audio_codes": books(4)}),
        pa.record_batch({"text_tokens": text(4), "audio_codes": text(4)}),
        pa.record_batch({"text_tokens": text(4), "audio_codes": ["codes"]}),
    ]
    last = pa.record_batch({"text_tokens": text(4), "audio_codes": frame_major(books(4))})
    found = find_columns(ColumnOptions(), square.schema, RECIPE, [square, *others, last])
    assert found[1].layout == FRAME
    with pytest.raises(DataError, match="more than one layout"):
        find_columns(ColumnOptions(), square.schema, RECIPE, [square, *others])


def test_without_a_recipe_lists_as_long_as_the_text_are_codebooks():
    names = [f"k{i}" for i in range(20)]
    columns = {name: text(4, 5) for name in ("text_tokens", *names)}
    found = find(columns, None, audio_column=tuple(names))
    assert [column.layout for column in found] == [LIST] * 21
