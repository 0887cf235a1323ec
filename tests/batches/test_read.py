"""Token columns: every kind of bad row is found at its place, every layout of Arrow is read."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layouts import LAYOUTS, SHARED, flat, rows_of, transposed
from make import job_on, plain_job
from strategies import INTEGERS, random_row, recipes, seeds

from delaytool.batches.codes import Codes
from delaytool.batches.job import Job
from delaytool.batches.layouts import (
    CODEBOOK,
    FLAT_FRAME,
    FRAME,
    LIST,
    Column,
    Output,
    check_column_type,
)
from delaytool.batches.read import read_tokens, read_values, scan
from delaytool.batches.schema import output_type, weights_type
from delaytool.errors import DataError
from delaytool.recipes.presets import plain_recipe

JOB = plain_job(plain_recipe(2, (0, 0, 1)))
TEXT = pa.list_(pa.int32())
CODES = pa.list_(pa.list_(pa.int32()))
GOOD = ([1, 2, 3], [[4, 5, 6], [7, 8, 9]])
EMPTY = ([], [[], []])


def batch_of(rows, text_type=TEXT, codes_type=CODES):
    return pa.record_batch(
        {
            "text_tokens": pa.array([text for text, _ in rows], text_type),
            "audio_codes": pa.array([codes for _, codes in rows], codes_type),
        }
    )


def where_of(error):
    place = error.place
    return place.column, place.stream, place.timestep


BAD_ROWS = {
    "null text": ((None, GOOD[1]), "a null row", ("text_tokens", None, None)),
    "null codes": ((GOOD[0], None), "a null row", ("audio_codes", None, None)),
    "null codebook": (
        (GOOD[0], [[4, 5, 6], None]),
        "a null codebook",
        ("audio_codes", "acoustic", None),
    ),
    "null first codebook": (
        (GOOD[0], [None, [4, 5, 6]]),
        "a null codebook",
        ("audio_codes", "semantic", None),
    ),
    "null text token": (([1, None, 3], GOOD[1]), "a null token", ("text_tokens", "text", 1)),
    "null audio token": (
        (GOOD[0], [[4, 5, 6], [7, 8, None]]),
        "a null token",
        ("audio_codes", "acoustic", 2),
    ),
    "too few codebooks": ((GOOD[0], [[4, 5, 6]]), "1 codebook", ("audio_codes", None, None)),
    "too many codebooks": ((GOOD[0], [[4, 5, 6]] * 3), "3 codebooks", ("audio_codes", None, None)),
    "no codebooks": ((GOOD[0], []), "0 codebooks", ("audio_codes", None, None)),
    "frame-major": (
        (GOOD[0], [[4, 7], [5, 8], [6, 9]]),
        "3 codebooks",
        ("audio_codes", None, None),
    ),
    "ragged, shorter": (
        (GOOD[0], [[4, 5, 6], [7, 8]]),
        "2 frames",
        ("audio_codes", "acoustic", None),
    ),
    "ragged, longer": (
        (GOOD[0], [[4, 5, 6], [7, 8, 9, 10]]),
        "4 frames",
        ("audio_codes", "acoustic", None),
    ),
    "text longer": (([1, 2, 3, 4], GOOD[1]), "4 frames", ("text_tokens", None, None)),
    "text shorter": (([1, 2], GOOD[1]), "2 frames", ("text_tokens", None, None)),
    "text empty": (([], GOOD[1]), "0 frames", ("text_tokens", None, None)),
    "text too high": (([1, 2, 32000], GOOD[1]), "token 32000", ("text_tokens", "text", 2)),
    "text too low": (([-2, 2, 3], GOOD[1]), "token -2", ("text_tokens", "text", 0)),
    "audio too high": (
        (GOOD[0], [[4, 5, 6], [7, 2048, 9]]),
        "token 2048",
        ("audio_codes", "acoustic", 1),
    ),
    "audio too low": (
        (GOOD[0], [[-3, 5, 6], [7, 8, 9]]),
        "token -3",
        ("audio_codes", "semantic", 0),
    ),
}


@pytest.mark.parametrize("kind", BAD_ROWS)
@pytest.mark.parametrize("row", [0, 2, 4])
def test_a_bad_row_is_found_with_its_place(kind, row):
    bad, found, place = BAD_ROWS[kind]
    rows = [GOOD, EMPTY, GOOD, EMPTY, GOOD]
    rows[row] = bad
    tokens, problems = scan(batch_of(rows), JOB)
    assert list(problems) == [row]
    assert problems[row].found == found
    assert problems[row].place.row == row
    assert where_of(problems[row]) == place
    assert tokens.columns == ()


@pytest.mark.parametrize("kind", BAD_ROWS)
def test_all_rows_that_are_bad_in_the_same_way_are_found(kind):
    bad, found, place = BAD_ROWS[kind]
    _, problems = scan(batch_of([bad, GOOD, bad, bad, EMPTY]), JOB)
    assert list(problems) == [0, 2, 3]
    for row, error in problems.items():
        assert (error.found, error.place.row, where_of(error)) == (found, row, place)


@pytest.mark.parametrize("kind", BAD_ROWS)
def test_a_slice_knows_nothing_of_the_rows_around_it(kind):
    bad, _, place = BAD_ROWS[kind]
    batch = batch_of([bad, GOOD, EMPTY, bad, GOOD, bad])
    tokens, problems = scan(batch.slice(1, 2), JOB)
    assert not problems
    assert [codes.flat.tolist() for codes in tokens.columns] == [[1, 2, 3], [4, 5, 6, 7, 8, 9]]
    _, problems = scan(batch.slice(2, 3), JOB)
    assert list(problems) == [1]
    assert where_of(problems[1]) == place


@pytest.mark.parametrize("kind", BAD_ROWS)
def test_reading_raises_the_first_bad_row(kind):
    bad, found, _ = BAD_ROWS[kind]
    with pytest.raises(DataError, match=f"row 1, .*{found}"):
        read_tokens(batch_of([GOOD, bad, bad]), JOB)


def test_every_bad_row_of_different_kinds_is_found():
    # One bad row must not hide another: the first one named has to be the first there is.
    rows = [([1, 2, 40000], GOOD[1]), (GOOD[0], [[4, 5, 6], [7, 8]]), (None, GOOD[1])]
    _, problems = scan(batch_of(rows), JOB)
    assert list(problems) == [0, 1, 2]


def test_zero_tokens_are_good_and_so_are_the_highest():
    tokens, problems = scan(batch_of([([-1, 31999], [[2047, -1], [-1, 2047]])]), JOB)
    assert not problems
    assert tokens.columns[1].flat.tolist() == [2047, -1, -1, 2047]


@pytest.mark.parametrize("leaf", [pa.uint16(), pa.uint32(), pa.uint64()])
def test_unsigned_tokens_have_an_upper_end_only(leaf):
    top = 2**leaf.bit_width - 1
    codes_type = pa.list_(pa.list_(leaf))
    _, problems = scan(batch_of([GOOD, ([1], [[3], [top]])], codes_type=codes_type), JOB)
    assert where_of(problems[1]) == ("audio_codes", "acoustic", 0)
    assert problems[1].found == f"token {top}"
    tokens, problems = scan(batch_of([GOOD, ([1], [[3], [2047]])], codes_type=codes_type), JOB)
    assert not problems
    assert tokens.columns[1].flat.tolist() == [4, 5, 6, 7, 8, 9, 3, 2047]


def test_any_token_is_read_if_any_may_be():
    batch = batch_of([([32000, 1], [[2048, 1], [2048, 9999]])])
    assert scan(batch, JOB)[1]
    tokens, problems = scan(batch, JOB, any_token=True)
    assert not problems
    assert tokens.columns[1].flat.tolist() == [2048, 1, 2048, 9999]


def test_data_behind_null_slots_is_not_read():
    garbage = pa.ListArray.from_arrays(
        pa.array([0, 3, 6], pa.int32()),
        pa.array([1, 2, 3, 99999, 99999, 99999], pa.int32()),
        mask=pa.array([False, True]),
    )
    codes = pa.array([GOOD[1], GOOD[1]], CODES)
    batch = pa.record_batch({"text_tokens": garbage, "audio_codes": codes})
    _, problems = scan(batch, JOB)
    assert {row: error.found for row, error in problems.items()} == {1: "a null row"}
    tokens, problems = scan(batch.slice(0, 1), JOB)
    assert not problems
    assert tokens.columns[0].flat.tolist() == [1, 2, 3]


LISTS = {
    "list": pa.list_,
    "large_list": pa.large_list,
    "fixed_size_list": lambda leaf: pa.list_(leaf, 3),
}


@pytest.mark.parametrize("leaf", INTEGERS)
@pytest.mark.parametrize("outer", ["list", "large_list", "fixed_size_list[2]"])
@pytest.mark.parametrize("inner", LISTS)
def test_every_list_type_of_every_integer_is_read(leaf, outer, inner):
    leaf = pa.type_for_alias(leaf)
    book = LISTS[inner](leaf)
    kind = pa.list_(book, 2) if outer == "fixed_size_list[2]" else LISTS[outer](book)
    batch = batch_of([GOOD] * 4, LISTS[inner](leaf), kind)
    for part, rows in ((batch, 4), (batch.slice(1, 2), 2), (batch.slice(4), 0)):
        tokens = read_tokens(part, JOB)
        assert tokens.lengths.tolist() == [3] * rows
        assert tokens.columns[0].flat.tolist() == [1, 2, 3] * rows
        assert tokens.columns[1].flat.tolist() == [4, 5, 6, 7, 8, 9] * rows
        assert all(codes.flat.dtype == leaf.to_pandas_dtype() for codes in tokens.columns)


@pytest.mark.parametrize("kind", ["null row", "null codebook", "null token"])
def test_nulls_in_fixed_size_lists_are_found(kind):
    codes = {
        "null row": None,
        "null codebook": [[4, 5, 6], None],
        "null token": [[4, 5, 6], [7, None, 9]],
    }[kind]
    codes_type = pa.list_(pa.list_(pa.int16(), 3), 2)
    batch = batch_of([GOOD, (GOOD[0], codes), GOOD], codes_type=codes_type)
    for part, row in ((batch, 1), (batch.slice(1), 0)):
        _, problems = scan(part, JOB)
        assert {row: error.found for row, error in problems.items()} == {row: f"a {kind}"}


@given(recipes(), st.lists(st.integers(0, 6), max_size=6), st.data(), seeds)
@settings(max_examples=80, deadline=None)
def test_slices_read_as_what_they_show(recipe, lengths, data, seed):
    job = plain_job(recipe, weights=False)
    random = np.random.default_rng(seed)
    rows = [random_row(random, recipe, frames).tolist() for frames in lengths]
    columns = {}
    for column in job.columns:
        own = [[row[number] for number in column.numbers] for row in rows]
        if column.layout == LIST:
            columns[column.name] = pa.array([row[0] for row in own], TEXT)
        else:
            columns[column.name] = pa.array(own, CODES)
    start = data.draw(st.integers(0, len(rows)))
    stop = data.draw(st.integers(start, len(rows)))
    tokens, problems = scan(pa.record_batch(columns).slice(start, stop - start), job)
    assert not problems
    assert tokens.lengths.tolist() == lengths[start:stop]
    for column, codes in zip(job.columns, tokens.columns, strict=True):
        assert codes.flat.tolist() == [
            token for row in rows[start:stop] for number in column.numbers for token in row[number]
        ]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=6), st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_place_of_counts_as_a_loop_does(lengths, streams):
    places = [
        (row, number, timestep)
        for row, frames in enumerate(lengths)
        for number in range(streams)
        for timestep in range(frames)
    ]
    codes = Codes(np.zeros(len(places)), np.array(lengths), streams)
    found = [codes.place(i) for i in range(len(places))]
    assert found == places


@pytest.mark.parametrize("outer", ["list", "large_list"])
@pytest.mark.parametrize("inner", ["list", "large_list"])
def test_arrays_become_lists_again(outer, inner):
    kind = LISTS[outer](LISTS[inner](pa.int16()))
    lengths = np.array([2, 0, 1])
    array = CODEBOOK.write(Codes(np.arange(6, dtype=np.int16), lengths, 2), kind)
    array.validate(full=True)
    assert array.type == kind
    assert array.to_pylist() == [[[0, 1], [2, 3]], [[], []], [[4], [5]]]
    text = LIST.write(Codes(np.arange(3, dtype=np.int16), lengths), LISTS[inner](pa.int16()))
    assert text.to_pylist() == [[0, 1], [], [2]]


def test_arrays_become_fixed_size_lists_only_where_they_fit():
    kind = pa.list_(pa.list_(pa.int8(), 2), 3)
    tokens = np.arange(12, dtype=np.int8)
    array = CODEBOOK.write(Codes(tokens, np.array([2, 2]), 3), kind)
    assert array.type == kind
    assert array.to_pylist() == [[[0, 1], [2, 3], [4, 5]], [[6, 7], [8, 9], [10, 11]]]
    with pytest.raises(DataError, match="1 entries in a list, expected 2"):
        CODEBOOK.write(Codes(tokens, np.array([2, 1, 1]), 3), kind)


def out(kind, column=JOB.columns[1], job=JOB):
    return output_type([kind], job.outputs[job.columns.index(column)], job)


def test_list_types_keep_their_lists_and_change_their_leaf():
    kind = pa.large_list(pa.field("book", pa.list_(pa.field("code", pa.uint8()))))
    assert str(out(kind)) == "large_list<book: list<code: int16>>"
    fixed = pa.list_(pa.list_(pa.int8(), 4), 2)
    assert out(fixed) == pa.list_(pa.list_(pa.int16()), 2), "the time axis is free"
    assert weights_type(kind) == pa.list_(
        pa.field("element", pa.list_(pa.field("element", pa.float32())))
    )


def test_a_column_widens_for_its_own_fills_only():
    # The text has no delay and ends with padding 3: int8 stays. The codes need 2048.
    assert out(pa.list_(pa.int8()), JOB.columns[0]) == pa.list_(pa.int8())
    assert out(pa.list_(pa.list_(pa.uint8()))) == pa.list_(pa.list_(pa.int16()))


def test_padding_that_alignment_adds_widens_too():
    job = plain_job(plain_recipe(2, (1, 0, 0)), align="pad")
    kind = pa.list_(pa.int8())
    assert out(kind, job.columns[0], job) == pa.list_(pa.int16()), "initial 32000"
    grid = plain_job(plain_recipe(2, (0, 0, 1)), output_layout="grid")
    kinds = [pa.list_(pa.uint8()), pa.list_(pa.list_(pa.int8()))]
    assert str(output_type(kinds, grid.outputs[0], grid)) == "list<element: list<element: int16>>"


@pytest.mark.parametrize(
    ("layout", "kind"),
    [
        (LIST, pa.int32()),
        (LIST, pa.list_(pa.float32())),
        (LIST, pa.list_(pa.list_(pa.int32()))),
        (LIST, pa.list_(pa.bool_())),
        (LIST, pa.string()),
        (LIST, pa.list_(pa.string())),
        (LIST, pa.list_(pa.null())),
        (CODEBOOK, pa.list_(pa.int32())),
        (CODEBOOK, pa.list_(pa.list_(pa.float64()))),
        (CODEBOOK, pa.map_(pa.int32(), pa.int32())),
        (CODEBOOK, pa.dictionary(pa.int8(), pa.string())),
    ],
    ids=str,
)
def test_types_that_cannot_hold_tokens_are_refused(layout, kind):
    with pytest.raises(DataError, match="column tokens: has the type") as raised:
        check_column_type(pa.field("tokens", kind), layout)
    assert str(kind) in raised.value.found


def test_weights_are_read_like_tokens():
    batch = pa.record_batch(
        {
            "audio_loss_weights": pa.array(
                [[[1.0], [0.5]], [[], []], [[2.0, 3.0], [4.0, 5.0]]],
                pa.list_(pa.list_(pa.float32())),
            )
        }
    )
    weights = read_values(batch, "audio_loss_weights", JOB.outputs[1], JOB)
    assert weights.flat.tolist() == [1, 0.5, 2, 3, 4, 5]
    assert weights.lengths.tolist() == [1, 0, 2]
    broken = pa.record_batch({"audio_loss_weights": pa.array([[[1.0], [None]]])})
    with pytest.raises(DataError, match="row 0, column audio_loss_weights, stream acoustic"):
        read_values(broken, "audio_loss_weights", JOB.outputs[1], JOB)


def test_a_column_may_hold_some_of_the_streams():
    recipe = plain_recipe(4, (0, 0, 1, 1, 1))
    columns = (
        Column("text", (0,), LIST, 1),
        Column("low", (1, 2), CODEBOOK, 2),
        Column("high", (3, 4), CODEBOOK, 2),
    )
    outputs = tuple(Output(c.name, c.numbers, c.layout) for c in columns)
    job = Job(recipe, columns, outputs)
    batch = pa.record_batch(
        {
            "high": pa.array([[[5], [6]], [[7], [4000]]]),
            "low": pa.array([[[1], [2]], [[3], [4]]]),
            "text": pa.array([[0], [0]]),
        }
    )
    _, problems = scan(batch, job)
    assert where_of(problems[1]) == ("high", "acoustic_3", 0)
    tokens = read_tokens(batch.slice(0, 1), job)
    assert [codes.flat.tolist() for codes in tokens.columns] == [[0], [1, 2], [5, 6]]


# Every layout


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_read_as_the_same_streams(layout):
    make, where = LAYOUTS[layout]
    rows = rows_of(fixed="all fixed" in layout)
    table = pa.table(make(rows, pa.int16()))
    job = job_on(table, plain_recipe(4, (0, 0, 1, 2, 3)), **where)
    batch = table.combine_chunks().to_batches()[0]
    for start, stop in ((0, len(rows)), (2, 5), (4, 4)):
        tokens = read_tokens(batch.slice(start, stop - start), job)
        part = rows[start:stop]
        assert tokens.lengths.tolist() == [len(row[0]) for row in part]
        for column, codes in zip(job.columns, tokens.columns, strict=True):
            own = [[row[number] for number in column.numbers] for row in part]
            by_stream = column.layout in (FRAME, FLAT_FRAME)
            in_turn = (
                flat(row[q] for q in range(column.count) for row in own)
                if by_stream
                else flat(line for row in own for line in row)
            )
            assert codes.flat.tolist() == in_turn


def one_wrong(layout, row, stream, frame, value):
    make, where = LAYOUTS[layout]
    rows = rows_of(fixed="all fixed" in layout)
    table = pa.table(make(rows, pa.int16()))
    job = job_on(table, plain_recipe(4, (0, 0, 1, 2, 3)), **where)
    rows[row][stream][frame] = value
    return job, pa.table(make(rows, pa.int16())).combine_chunks().to_batches()[0]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("place", [(0, 1, 0), (3, 4, 4), (6, 2, 3)])
@pytest.mark.parametrize("value", [2048, -2, None])
def test_a_wrong_token_is_found_in_every_layout(layout, place, value):
    row, stream, frame = place
    if "Array2D" in layout and value is None:
        pytest.skip("datasets' own type does not make nulls")
    job, batch = one_wrong(layout, row, stream, frame, value)
    _, problems = scan(batch, job)
    assert list(problems) == [row]
    error = problems[row]
    assert error.place.timestep == frame
    # Codebooks of a column of which a slice is used have no names; neither has a single one.
    whole = next(c for c in job.columns if stream in c.numbers).is_whole
    if value == -2 and layout in SHARED:
        assert "is below 0" in error.found
    elif value is not None:
        assert error.found == f"token {value}"
    else:
        assert error.found == "a null token"
    if whole or value is not None:
        assert error.place.stream == job.recipe.streams[stream].name


@pytest.mark.parametrize("layout", ["frame", "grid, frame", "frame, large lists"])
def test_rows_of_another_number_of_codebooks_are_found(layout):
    make, where = LAYOUTS[layout]
    rows = rows_of()
    job = job_on(pa.table(make(rows, pa.int16())), plain_recipe(4, (0, 0, 1, 2, 3)), **where)
    name = job.columns[-1].name
    size = job.columns[-1].size
    column = [transposed(row[5 - size :]) for row in rows]
    column[2][1] = column[2][1][:-1]
    columns = make(rows, pa.int16())
    columns[name] = pa.array(column, columns[name].type)
    _, problems = scan(pa.record_batch(columns), job)
    assert list(problems) == [2]
    assert problems[2].found == f"{size - 1} codebooks"
    assert where_of(problems[2]) == (name, None, 1)


@pytest.mark.parametrize("layout", ["flat-codebook", "flat-frame"])
def test_flat_rows_that_are_no_multiple_are_found(layout):
    make, where = LAYOUTS[layout]
    rows = rows_of()
    columns = make(rows, pa.int16())
    job = job_on(pa.table(columns), plain_recipe(4, (0, 0, 1, 2, 3)), **where)
    values = columns["audio_codes"].to_pylist()
    values[3] = values[3][:-1]
    columns["audio_codes"] = pa.array(values, pa.list_(pa.int16()))
    _, problems = scan(pa.record_batch(columns), job)
    assert list(problems) == [3]
    assert problems[3].expected.startswith("a multiple of 4")


def test_what_is_said_of_a_row_does_not_depend_on_the_rows_around_it():
    bad = [row for row, _, _ in BAD_ROWS.values()]
    # A row that is bad in both columns, too: its text is what has to be told.
    bad += [(text, None) for text in ([1, None, 3], [1, 2, 40000])]
    alone = [str(scan(batch_of([row]), JOB)[1][0]).replace("row 0", "row") for row in bad]
    for order in (bad, bad[::-1]):
        _, problems = scan(batch_of([GOOD, *order]), JOB)
        assert list(problems) == list(range(1, len(bad) + 1))
        found = [str(e).replace(f"row {row}", "row", 1) for row, e in problems.items()]
        assert found == (alone if order is bad else alone[::-1])


@given(st.lists(st.integers(0, 4), min_size=1, max_size=6), st.integers(1, 4), st.data())
@settings(max_examples=80, deadline=None)
def test_the_first_place_in_each_row_is_what_a_loop_finds(lengths, streams, data):
    size = sum(lengths) * streams
    chosen = data.draw(st.sets(st.integers(0, max(size - 1, 0)), max_size=size))
    chosen = sorted(position for position in chosen if position < size)
    for by_stream in (False, True):
        codes = Codes(np.zeros(size), np.array(lengths), streams, by_stream)
        places = [codes.place(i) for i in chosen]
        slow = {}
        for position, place in zip(chosen, places, strict=True):
            slow.setdefault(place[0], (position, *place))
        if chosen:
            found = codes.first_places(np.array(chosen))
            assert found == [slow[row] for row in sorted(slow)]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=6), st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_place_of_counts_stream_after_stream_too(lengths, streams):
    places = [
        (row, number, timestep)
        for number in range(streams)
        for row, frames in enumerate(lengths)
        for timestep in range(frames)
    ]
    codes = Codes(np.zeros(len(places)), np.array(lengths), streams, by_stream=True)
    found = [codes.place(i) for i in range(len(places))]
    assert found == places
