"""The pattern on arrays: against what other projects' functions gave, and a slow reference."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import INTEGERS, random_row, recipes, seeds

from delaytool.pattern.delay import delay, undelay
from delaytool.pattern.flat import (
    are_filled_alike,
    delay_flat,
    keep_cells,
    keep_runs,
    possible_fills,
    shift_cells,
    shift_runs,
    undelay_flat,
    widened,
    wrong_tokens,
)
from delaytool.pattern.segments import Segments
from delaytool.pattern.weights import loss_weights
from delaytool.recipes.adapt import with_delays
from delaytool.recipes.presets import load_preset, plain_recipe
from delaytool.recipes.recipe import Recipe
from delaytool.recipes.stream import PIECES, Stream

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "golden.json").read_text())["delay"]
EXTENDED = [case for case in GOLDEN if case["recipe"]["length"] == "extend"]


def golden_recipe(case):
    given = case["recipe"]
    streams = [
        Stream(
            name=f"stream_{k}",
            kind="text" if given["text"] and k == 0 else "acoustic",
            delay=given["delays"][k],
            initial=given["initial"][k],
            padding=given["padding"][k],
            cardinality=200_000,
        )
        for k in range(len(given["delays"]))
    ]
    rest = {name: given[name] for name in ("length", "initial_step", "final_step")}
    return Recipe(tuple(streams), **rest)


def stream(name="audio", kind="acoustic", delay=0, initial=9, padding=9, cardinality=9, **more):
    return Stream(name, kind, delay, initial, padding, cardinality, **more)


def two_streams(delays=(0, 1), **more):
    return Recipe((stream("text", "text", delays[0]), stream("audio", delay=delays[1])), **more)


def test_every_golden_case_is_there():
    assert len(GOLDEN) == 28
    assert len(EXTENDED) == 18


@pytest.mark.parametrize("case", GOLDEN, ids=[case["peer"] for case in GOLDEN])
def test_delay_gives_what_its_peer_gave(case):
    assert delay(np.array(case["codes"]), golden_recipe(case)).tolist() == case["expected"]


@pytest.mark.parametrize("case", GOLDEN, ids=[case["peer"] for case in GOLDEN])
def test_the_reference_gives_what_its_peer_gave(case):
    assert reference.delay(case["codes"], golden_recipe(case)) == case["expected"]


@pytest.mark.parametrize("case", EXTENDED, ids=[case["peer"] for case in EXTENDED])
def test_undelay_gives_back_what_its_peer_got(case):
    assert undelay(np.array(case["expected"]), golden_recipe(case)).tolist() == case["codes"]


def test_the_example_of_issue_123():
    recipe = plain_recipe(2, (0, 1, 1))
    codes = np.array([[11, 12, 13, 14], [21, 22, 23, 24], [31, 32, 33, 34]])
    assert delay(codes, recipe).tolist() == [
        [11, 12, 13, 14, 3],
        [2048, 21, 22, 23, 24],
        [2048, 31, 32, 33, 34],
    ]


@given(recipes(), st.lists(st.integers(0, 6), max_size=4), st.booleans())
def test_cells_and_totals_of_a_stream(recipe, lengths, by_stream):
    rows = np.array(lengths, dtype=np.int64)
    segments = Segments(recipe, rows, recipe.streams, by_stream)
    grids = [reference.filled([[0] * n for _ in recipe.streams], recipe) for n in lengths]
    numbers = range(len(recipe.streams))
    pairs = [(k, grid) for grid in grids for k in numbers]
    if by_stream:
        pairs = [(k, grid) for k in numbers for grid in grids]
    owners = np.array([k for k, grid in pairs for _ in grid[k]], dtype=np.int64)
    for k in numbers:
        cells = np.arange(owners.size)[segments.cells_of(k)]
        assert cells.tolist() == np.flatnonzero(owners == k).tolist()
        kinds = [kind for grid in grids for kind in grid[k]]
        names = [None if PIECES[piece] == "token" else PIECES[piece] for piece in segments.there]
        if "last" not in names:
            kinds = ["padding" if kind == "last" else kind for kind in kinds]
        expected = [kinds.count(name) for name in names]
        assert segments.totals[k].tolist() == expected


@given(recipes(), st.integers(0, 12), st.sampled_from(INTEGERS), seeds)
@settings(max_examples=200, deadline=None)
def test_delay_equals_the_reference(recipe, frames, dtype, seed):
    codes = random_row(np.random.default_rng(seed), recipe, frames, dtype)
    before = codes.copy()
    shifted = delay(codes, recipe)
    assert shifted.shape == (len(recipe.streams), recipe.steps(frames))
    assert shifted.tolist() == reference.delay(codes.tolist(), recipe)
    assert np.array_equal(codes, before)


@given(recipes(), st.integers(0, 12), st.sampled_from(INTEGERS), seeds)
@settings(max_examples=200, deadline=None)
def test_undelay_undoes_delay(recipe, frames, dtype, seed):
    codes = random_row(np.random.default_rng(seed), recipe, frames, dtype)
    back = undelay(delay(codes, recipe), recipe, lost_token=0)
    assert back.tolist() == reference.cut(codes.tolist(), recipe, lost_token=0)
    if recipe.length == recipe.content_length == "extend":
        assert undelay(delay(codes, recipe), recipe).tolist() == codes.tolist()


@given(recipes(), st.lists(st.integers(0, 3), max_size=3), st.integers(0, 6), seeds)
@settings(max_examples=100, deadline=None)
def test_leading_dimensions_are_rows_of_their_own(recipe, leading, frames, seed):
    random = np.random.default_rng(seed)
    codes = np.zeros((*leading, len(recipe.streams), frames), dtype=np.int32)
    for place in np.ndindex(*leading):
        codes[place] = random_row(random, recipe, frames, "int32")
    shifted = delay(codes, recipe)
    assert shifted.shape == (*leading, len(recipe.streams), recipe.steps(frames))
    for place in np.ndindex(*leading):
        assert shifted[place].tolist() == reference.delay(codes[place].tolist(), recipe)
    back = undelay(shifted, recipe, lost_token=-1)
    assert back.shape == codes.shape
    for place in np.ndindex(*leading):
        assert back[place].tolist() == reference.cut(codes[place].tolist(), recipe, -1)


def ragged(recipe, lengths, first, last, seed):
    """Rows [K][T], their segments for the streams first ... last - 1, and the flat tokens."""
    random = np.random.default_rng(seed)
    rows = [random_row(random, recipe, frames).tolist() for frames in lengths]
    segments = Segments(recipe, np.array(lengths, dtype=np.int64), recipe.streams[first:last])
    return rows, segments, flat_of(rows, first, last)


def flat_of(rows, first, last):
    return [cell for row in rows for line in row[first:last] for cell in line]


@st.composite
def ragged_batches(draw):
    recipe = draw(recipes())
    first = draw(st.integers(0, len(recipe.streams) - 1))
    last = draw(st.integers(first + 1, len(recipe.streams)))
    lengths = draw(st.lists(st.integers(0, 8), max_size=6))
    return recipe, first, last, *ragged(recipe, lengths, first, last, draw(seeds))


@given(ragged_batches())
@settings(max_examples=200, deadline=None)
def test_the_flat_form_equals_the_reference_row_by_row(batch):
    recipe, first, last, rows, segments, flat = batch
    shifted = delay_flat(np.array(flat, dtype=np.int64), segments)
    assert shifted.tolist() == flat_of([reference.delay(r, recipe) for r in rows], first, last)
    back = undelay_flat(shifted, segments, lost_token=-7)
    assert back.tolist() == flat_of([reference.cut(r, recipe, -7) for r in rows], first, last)


@given(ragged_batches())
@settings(max_examples=200, deadline=None)
def test_stream_after_stream_is_the_same_in_another_order(batch):
    recipe, first, last, rows, segments, _ = batch
    segments = Segments(recipe, segments.lengths, segments.streams, by_stream=True)

    def by_stream(rows):
        return [cell for k in range(first, last) for row in rows for cell in row[k]]

    shifted = delay_flat(np.array(by_stream(rows), dtype=np.int64), segments)
    assert shifted.tolist() == by_stream([reference.delay(row, recipe) for row in rows])
    back = undelay_flat(shifted, segments, lost_token=-7)
    assert back.tolist() == by_stream([reference.cut(row, recipe, -7) for row in rows])


@given(ragged_batches(), st.sampled_from([np.int16, np.int64]))
@settings(max_examples=200, deadline=None)
def test_runs_move_as_cells_do(batch, dtype):
    segments = batch[4]
    size = int(segments.pieces[:, segments.kept].sum())
    kept, fills = np.arange(size, dtype=dtype), segments.token_table
    shifted = shift_cells(kept, segments, fills, np.dtype(np.int64))
    if segments.shifted_size and are_filled_alike(segments):
        by_runs = shift_runs(kept, segments, fills, np.dtype(np.int64))
        assert by_runs.tolist() == shifted.tolist()
    assert keep_cells(shifted, segments).tolist() == kept.tolist()
    assert keep_runs(shifted, segments).tolist() == kept.tolist()


@given(ragged_batches())
@settings(max_examples=200, deadline=None)
def test_filled_names_every_filled_cell_once_with_its_part(batch):
    recipe, first, last, rows, segments, _ = batch
    parts = flat_of([reference.filled(row, recipe) for row in rows], first, last)
    whose = flat_of(
        [
            [[k - first] * recipe.steps(len(row[0])) for k in range(len(recipe.streams))]
            for row in rows
        ],
        first,
        last,
    )
    columns = [PIECES[piece] for piece in segments.there if PIECES[piece] != "token"]
    if "last" not in columns:
        parts = ["padding" if part == "last" else part for part in parts]
    expected = {
        place: len(columns) * whose[place] + columns.index(part)
        for place, part in enumerate(parts)
        if part
    }
    table = np.arange(len(columns) * (last - first)).reshape(last - first, len(columns))
    assert segments.filled.tolist() == list(expected)
    assert segments.of_filled(table).tolist() == list(expected.values())
    assert segments.is_filled().tolist() == [part is not None for part in parts]


@given(ragged_batches())
@settings(max_examples=100, deadline=None)
def test_lost_is_what_the_reference_cuts(batch):
    recipe, first, last, rows, segments, flat = batch
    cut = flat_of([reference.cut(row, recipe, "lost") for row in rows], first, last)
    lost = segments.lost()
    assert [token == "lost" for token in cut] == (
        [False] * len(flat) if lost is None else lost.tolist()
    )


def test_a_delay_longer_than_the_row_keeps_it_whole_or_cuts_it_all():
    codes = np.array([[1, 2], [3, 4]])
    assert delay(codes, two_streams((0, 3))).tolist() == [[1, 2, 9, 9, 9], [9, 9, 9, 3, 4]]
    truncated = two_streams((0, 3), length="truncate")
    assert delay(codes, truncated).tolist() == [[1, 2], [9, 9]]
    assert undelay(delay(codes, truncated), truncated, lost_token=-1).tolist() == [[1, 2], [-1, -1]]


def test_trailing_cells_are_final_then_padding():
    recipe = Recipe((stream("a", final=7, padding=8), stream("b", delay=2)), final_step=True)
    assert delay(np.array([[1], [2]]), recipe)[0].tolist() == [1, 7, 8, 8]


def test_the_final_cell_survives_truncation_in_the_final_step():
    recipe = Recipe(
        (stream("a", final=7, padding=8), stream("b", delay=1, final=6, padding=5)),
        length="truncate",
        final_step=True,
    )
    assert delay(np.array([[1, 2], [3, 4]]), recipe).tolist() == [[1, 2, 7], [9, 3, 6]]


@pytest.mark.parametrize(
    ("dtype", "fills", "expected"),
    [
        ("int16", {2048}, "int16"),
        ("int8", {2048}, "int16"),
        ("int8", {127, -2}, "int8"),
        ("int8", {128}, "int16"),
        ("uint8", {255}, "uint8"),
        ("uint8", {256}, "int16"),
        ("uint8", {2048}, "int16"),
        ("uint8", {-1}, "int16"),
        ("uint8", {40000}, "int32"),
        ("uint16", {2048}, "uint16"),
        ("uint16", {-1}, "int32"),
        ("uint16", {70000}, "int32"),
        ("int16", {32000, 3}, "int16"),
        ("int16", {48000}, "int32"),
        ("uint16", {48000}, "uint16"),
        ("int16", {2**31}, "int64"),
        ("int32", {2**31}, "int64"),
        ("int32", {2**31 - 1, -2}, "int32"),
        ("uint32", {2**31}, "uint32"),
        ("uint32", {-2}, "int64"),
        ("uint64", {-2}, "int64"),
        ("int64", {2**31}, "int64"),
        ("int8", set(), "int8"),
    ],
)
def test_widened_is_the_next_signed_type_that_fits(dtype, fills, expected):
    assert widened(np.dtype(dtype), fills) == np.dtype(expected)


@pytest.mark.parametrize(
    ("dtype", "cardinality", "fill", "expected"),
    [
        ("uint8", 256, 2048, "int16"),
        ("uint16", 2**16, -1, "int32"),
        ("int16", 2**15, 48000, "int32"),
        ("int8", 128, -2, "int8"),
        ("uint64", 2**31, -2, "int64"),
        ("uint32", 2**31, -2, "int64"),
    ],
)
def test_neither_tokens_nor_fills_wrap(dtype, cardinality, fill, expected):
    streams = (
        stream("a", initial=fill, padding=fill, cardinality=cardinality),
        stream("b", delay=1, initial=fill, padding=fill, cardinality=cardinality),
    )
    top = cardinality - 1
    shifted = delay(np.array([[0, top], [top, 0]], dtype=dtype), Recipe(streams))
    assert shifted.dtype == np.dtype(expected)
    assert shifted.tolist() == [[0, top, fill], [fill, top, 0]]


@given(recipes(), st.sampled_from(INTEGERS))
@settings(max_examples=200, deadline=None)
def test_a_type_is_widened_only_for_fills_that_occur(recipe, dtype):
    # Delays are at most 9: in 20 frames every fill that can occur at all does.
    row = [[-5] * 20 for _ in recipe.streams]
    cells = {token for line in reference.delay(row, recipe) for token in line} - {-5}
    assert possible_fills(recipe, recipe.streams) == cells
    wide = widened(np.dtype(dtype), cells)
    narrow, info = np.iinfo(dtype), np.iinfo(wide)
    assert all(info.min <= token <= info.max for token in cells)
    assert (wide == np.dtype(dtype)) == all(narrow.min <= x <= narrow.max for x in cells)
    # Tokens of 64 bits stay below 2**31, so the signed type of 64 bits holds them.
    assert info.max >= min(narrow.max, 2**63 - 1)
    assert info.min <= narrow.min


def test_a_fill_that_cannot_occur_widens_nothing():
    recipe = Recipe((stream("a", initial=2048, padding=3), stream("b", delay=1, padding=2048)))
    assert delay(np.zeros((2, 3), dtype=np.int8), recipe).dtype == np.int8


@pytest.mark.parametrize("shape", [(3, 4), (1, 4), (4,), (), (2, 3, 4), (0, 4)])
def test_a_wrong_number_of_streams_is_refused(shape):
    for function in (delay, undelay):
        with pytest.raises(ValueError, match=r"expected .*2"):
            function(np.zeros(shape, dtype=np.int64), two_streams())


@pytest.mark.parametrize("dtype", ["float32", "bool", "complex64", "object", "datetime64[s]"])
def test_anything_but_integers_is_refused(dtype):
    for function in (delay, undelay):
        with pytest.raises(TypeError, match="expected integers"):
            function(np.zeros((2, 4), dtype=dtype), two_streams())


@pytest.mark.parametrize("token", [9, 100, -2, -100, 2**62])
def test_a_token_outside_the_vocabulary_is_named_with_stream_and_timestep(token):
    codes = np.zeros((2, 5), dtype=np.int64)
    codes[1, 3] = token
    with pytest.raises(ValueError, match=f"stream audio, timestep 3: token {token}, .*0 to 8"):
        delay(codes, two_streams())


def test_a_wrong_token_in_a_batch_is_named_with_its_row():
    codes = np.zeros((2, 3, 2, 5), dtype=np.uint64)
    codes[1, 2, 0, 4] = 2**64 - 1
    with pytest.raises(ValueError, match=r"row \[1, 2\], stream text, timestep 4"):
        delay(codes, two_streams())


def test_zero_tokens_are_valid_and_the_last_of_the_vocabulary_is():
    codes = np.array([[-1, 8], [8, -1]])
    assert delay(codes, two_streams()).tolist() == [[-1, 8, 9], [9, 8, -1]]


@given(ragged_batches(), st.sampled_from([-(2**40), -3, -2, -1, 0, 1, 8, 9, 200, 48000, 2**40]))
@settings(max_examples=100, deadline=None)
def test_wrong_tokens_are_those_outside_each_streams_own_vocabulary(batch, token):
    _, first, last, rows, segments, _ = batch
    for number, row in enumerate(rows):
        for line in row:
            if number < len(line):
                line[number] = token
    flat = flat_of(rows, first, last)
    cards = flat_of(
        [[[s.cardinality] * len(row[0]) for s in segments.recipe.streams] for row in rows],
        first,
        last,
    )
    expected = [i for i, x in enumerate(flat) if not -1 <= x < cards[i]]
    found = wrong_tokens(np.array(flat, dtype=np.int64), segments, segments.lengths)
    assert found.tolist() == expected


def test_undelay_needs_a_lost_token_where_some_were_cut():
    recipe = two_streams(length="truncate")
    shifted = delay(np.array([[1, 2, 3], [4, 5, 6]]), recipe)
    with pytest.raises(ValueError, match="cut off 1 token"):
        undelay(shifted, recipe)
    assert undelay(shifted, recipe, lost_token=0).tolist() == [[1, 2, 3], [4, 5, 0]]
    without_delays = two_streams((0, 0), length="truncate")
    codes = np.array([[1, 2], [3, 4]])
    assert undelay(delay(codes, without_delays), without_delays).tolist() == codes.tolist()


@pytest.mark.parametrize("place", [(0, 0), (1, 0), (1, 1), (0, 4), (0, 5), (1, 5)])
def test_a_wrong_fill_is_named_unless_nobody_asks(place):
    recipe = two_streams(initial_step=True, final_step=True)
    codes = np.array([[1, 2, 3], [4, 5, 6]])
    shifted = delay(codes, recipe)
    shifted[place] = 7
    name = recipe.streams[place[0]].name
    with pytest.raises(ValueError, match=f"stream {name}, timestep {place[1]}: 7, .*fill 9"):
        undelay(shifted, recipe)
    assert undelay(shifted, recipe, check=False).tolist() == codes.tolist()


def test_the_first_of_several_wrong_fills_is_named():
    recipe = two_streams((0, 2))
    shifted = delay(np.array([[1, 2], [3, 4]]), recipe)
    shifted[0, 3] = shifted[1, 0] = 7
    with pytest.raises(ValueError, match="stream text, timestep 3"):
        undelay(shifted, recipe)


def test_a_grid_shorter_than_the_pattern_is_refused():
    recipe = two_streams(initial_step=True, final_step=True)
    assert undelay(delay(np.zeros((2, 0), dtype=np.int64), recipe), recipe).shape == (2, 0)
    with pytest.raises(ValueError, match="2 timesteps, expected at least the 3"):
        undelay(np.full((2, 2), 9), recipe)


def test_flat_arrays_of_the_wrong_size_are_refused():
    segments = Segments(two_streams(), np.array([2, 3]), two_streams().streams)
    assert (segments.source_size, segments.shifted_size) == (10, 14)
    for size in (9, 11):
        with pytest.raises(ValueError, match="expected 10"):
            delay_flat(np.zeros(size, dtype=np.int64), segments)
    for size in (13, 15):
        with pytest.raises(ValueError, match="expected 14"):
            undelay_flat(np.zeros(size, dtype=np.int64), segments)


def test_a_transposed_view_is_read_as_it_looks():
    recipe = with_delays(load_preset(), (1,))
    frame_major = np.arange(5 * 17, dtype=np.int16).reshape(5, 17)
    expected = reference.delay(frame_major.T.tolist(), recipe)
    assert delay(frame_major.T, recipe).tolist() == expected


@given(recipes(), st.integers(0, 4), st.sampled_from(INTEGERS), seeds)
@settings(max_examples=100, deadline=None)
def test_results_share_no_memory_with_what_was_given(recipe, frames, dtype, seed):
    codes = random_row(np.random.default_rng(seed), recipe, frames, dtype)
    shifted = delay(codes, recipe)
    back = undelay(shifted, recipe, lost_token=0)
    weights = loss_weights(shifted, recipe)
    expected = [array.tolist() for array in (codes, shifted, weights)]
    back[...] = 1
    assert [array.tolist() for array in (codes, shifted, weights)] == expected
    shifted[...] = weights[...] = 1
    assert codes.tolist() == expected[0]


def test_undelay_copies_where_nothing_moves():
    codes = np.array([[1, 2], [3, 4]])
    back = undelay(codes, two_streams((0, 0)))
    back[0, 0] = 5
    assert codes.tolist() == [[1, 2], [3, 4]]
    codes.flags.writeable = False
    undelay(codes, two_streams((0, 0)))[0, 0] = 5


MASKED = np.ma.array([[1, 2, 3], [4, 5, 6]], mask=[[0, 0, 1], [0, 0, 0]])


@pytest.mark.parametrize(
    ("codes", "found"),
    [
        (MASKED, "masks 1 of"),
        (np.ma.array([[1, 2], [3, 4]], mask=True), "masks 4 of"),
        ([MASKED[0], MASKED[1]], "masks 1 of"),
        ([[1, np.ma.masked], [3, 4]], "masks 1 of"),
        ([[True, 2], [3, 4]], "booleans"),
        ([np.array([True, False]), np.array([3, 4])], "booleans"),
        ([[1, None], [3, 4]], "object"),
        ([[1, 2**70], [3, 4]], "object"),
        ([[1, 2.0], [3, 4]], "float64"),
        ([["1", "2"], ["3", "4"]], "<U1"),
        ([pa.array([1, None]), pa.array([3, 4])], "float64"),
        (np.zeros((2, 0)), "float64"),
        (None, "object"),
    ],
)
def test_what_is_no_integer_is_never_taken_for_one(codes, found):
    for function in (delay, undelay, loss_weights):
        with pytest.raises(TypeError, match=f"{found}.*, expected integers"):
            function(codes, two_streams((0, 0)))


def test_nullable_columns_of_pandas_are_no_integers():
    pandas = pytest.importorskip("pandas")
    rows = [pandas.array([1, None], dtype="Int64"), pandas.array([3, 4], dtype="Int64")]
    for codes in (rows, pandas.DataFrame(rows), pandas.DataFrame({"a": rows[0], "b": rows[1]})):
        with pytest.raises(TypeError, match="expected integers"):
            delay(codes, two_streams((0, 0)))


def test_lists_of_different_lengths_are_told_as_such():
    with pytest.raises(ValueError, match=r"lists of different lengths, expected \[\.\.\., 2, T\]"):
        delay([[1, 2], [3]], two_streams())


@pytest.mark.parametrize(
    "codes",
    [
        [[1, 2], [3, 4]],
        ((1, 2), (3, 4)),
        [range(1, 3), range(3, 5)],
        np.ma.array([[1, 2], [3, 4]]),
        np.ma.array([[1, 2], [3, 4]], mask=False),
        np.array([[1, 2], [3, 4]], dtype=">i4"),
        memoryview(np.array([[1, 2], [3, 4]])),
        [pa.array([1, 2]), pa.array([3, 4])],
    ],
)
def test_whatever_holds_integers_is_taken(codes):
    assert delay(codes, two_streams()).tolist() == [[1, 2, 9], [9, 3, 4]]


def test_lists_without_a_number_are_integers():
    assert delay([[], []], two_streams()).tolist() == [[9], [9]]
    assert delay([[], []], two_streams()).dtype == np.int64


@pytest.mark.parametrize(
    ("dtype", "token", "error"),
    [
        ("int8", 300, ValueError),
        ("int8", -129, ValueError),
        ("uint8", -1, ValueError),
        ("uint64", 2**64, ValueError),
        ("int64", 1.5, TypeError),
        ("int64", True, TypeError),
        ("int64", np.True_, TypeError),
        ("int64", "5", TypeError),
        ("int64", np.ma.masked, TypeError),
    ],
)
@pytest.mark.parametrize("length", ["extend", "truncate"])
def test_a_lost_token_that_the_type_cannot_hold(dtype, token, error, length):
    recipe = two_streams(length=length)
    shifted = delay(np.array([[1, 2], [3, 4]], dtype=dtype), recipe)
    info = np.iinfo(dtype)
    with pytest.raises(error, match=f"lost_token is .*integer from {info.min} to {info.max}"):
        undelay(shifted, recipe, lost_token=token)


@pytest.mark.parametrize(
    ("dtype", "token"), [("int8", -128), ("uint8", 255), ("uint64", 2**64 - 1)]
)
def test_any_lost_token_that_the_type_holds(dtype, token):
    recipe = two_streams(length="truncate")
    shifted = delay(np.array([[1, 2], [3, 4]], dtype=dtype), recipe)
    assert undelay(shifted, recipe, lost_token=token).tolist() == [[1, 2], [3, token]]
    assert undelay(shifted, recipe, lost_token=np.uint64(7)).tolist() == [[1, 2], [3, 7]]


def test_a_small_grid_needs_neither_arrow_nor_the_command_line():
    code = """
import sys
from delaytool import Recipe, Stream, delay, load_preset, loss_weights, undelay
recipe = load_preset()
codes = [list(range(100))] * 17
shifted = delay(codes, recipe)
assert loss_weights(shifted, recipe).shape == shifted.shape == (17, 101)
assert undelay(shifted, recipe).tolist() == codes
print([name for name in ("pyarrow", "click", "tqdm") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("rows", [1, 500])
def test_a_large_grid_is_shifted_as_a_small_one(rows):
    recipe = load_preset()
    codes = np.arange(rows * 17 * 100).reshape(rows, 17, 100) % 2048
    shifted = delay(codes, recipe)
    for row in (0, rows - 1):
        assert (shifted[row] == delay(codes[row], recipe)).all()
    assert (undelay(shifted, recipe) == codes).all()
