"""Layouts: what one writes it reads again, and its Python side says the same."""

import pickle

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layouts import read_slowly

from delaytool.batches.codes import Codes, streams_of
from delaytool.batches.layouts import LAYOUTS, LIST, check_column_type
from delaytool.batches.types import lists_around

EVERY = st.sampled_from(list(LAYOUTS.values()))


@given(EVERY, st.lists(st.integers(0, 4), max_size=5), st.integers(1, 4))
@settings(max_examples=100, deadline=None)
def test_a_layout_reads_what_it_writes(layout, lengths, n_q):
    n_q = 1 if layout == LIST else n_q
    lengths = np.array(lengths, dtype=np.int64)
    grid = np.arange(n_q * int(lengths.sum()), dtype=np.int16).reshape(n_q, -1)
    codes = Codes.of_grid(grid, lengths, layout.by_stream)
    array = layout.write(codes, lists_around(pa.int16(), layout.depth))
    array.validate(full=True)
    found, errors = layout.read(array, ["semantic"] * n_q)
    assert not errors
    assert found.grid().tolist() == grid.tolist()
    assert found.lengths.tolist() == lengths.tolist()
    ends = np.cumsum(lengths)
    for row, values in enumerate(array.to_pylist()):
        streams = grid[:, ends[row] - lengths[row] : ends[row]].tolist()
        assert read_slowly(values, layout.name, n_q) == streams
        if values:
            assert layout.frames(values, n_q) == lengths[row]
        if lengths[row]:
            assert layout.codebooks(values, n_q) == streams


@pytest.mark.parametrize("by_stream", [False, True])
def test_some_of_the_streams(by_stream):
    grid, lengths = np.arange(12).reshape(4, 3), np.array([1, 2])
    part = Codes.of_grid(grid, lengths, by_stream).part(1, 2)
    assert (part.streams, part.by_stream) == (2, by_stream)
    assert part.grid().tolist() == grid[1:3].tolist()


@given(
    st.lists(st.integers(0, 4), max_size=5),
    st.lists(st.tuples(st.integers(1, 3), st.booleans()), min_size=1, max_size=3),
    st.booleans(),
    st.data(),
)
@settings(max_examples=200, deadline=None)
def test_streams_of_several_columns_are_put_together(lengths, columns, by_stream, data):
    lengths = np.array(lengths, dtype=np.int64)
    rows, sources, every = len(lengths), [], []
    for number, (streams, is_by_stream) in enumerate(columns):
        size = streams * int(lengths.sum())
        grid = (np.arange(size) + 100 * number).reshape(streams, -1).astype(f"int{16 << number}")
        codes = Codes.of_grid(grid, lengths, is_by_stream)
        sources += [(codes, stream) for stream in range(streams)]
        every += np.split(grid, streams)
    wanted = data.draw(st.lists(st.sampled_from(range(len(sources))), min_size=1, unique=True))
    found = streams_of([sources[number] for number in wanted], by_stream)
    ends = np.cumsum(lengths)
    parts = {
        (row, place): every[number][0, ends[row] - lengths[row] : ends[row]].tolist()
        for place, number in enumerate(wanted)
        for row in range(rows)
    }
    order = sorted(parts, key=(lambda each: each[::-1]) if by_stream else None)
    assert found.flat.tolist() == [token for each in order for token in parts[each]]
    assert found.flat.dtype == max(sources[number][0].flat.dtype for number in wanted)
    assert (found.streams, found.lengths.tolist()) == (len(wanted), lengths.tolist())


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_goes_by_its_name(name):
    layout = LAYOUTS[name]
    assert str(layout) == layout.name == name
    assert pickle.loads(pickle.dumps(layout)) == layout
    check_column_type(pa.field("codes", lists_around(pa.int32(), layout.depth)), layout)


def test_layouts_in_words():
    assert [layout.describe(8) for layout in LAYOUTS.values()] == [
        "one token a frame, [T]",
        "codebook-major, [8][T]",
        "frame-major, [T][8]",
        "one list, codebook after codebook, 8 times T",
        "one list, frame after frame, T times 8",
    ]
    assert [layout.expected for layout in LAYOUTS.values()] == [
        "list<integer> [T], one token a frame",
        "list<list<integer>> [n_q][T], codebook-major",
        "list<list<integer>> [T][n_q], frame-major",
        "list<integer>, n_q times T tokens",
        "list<integer>, T times n_q tokens",
    ]
