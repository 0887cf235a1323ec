"""One dataset in every layout in which people keep theirs, and how to read a layout slowly.

A dataset is a list of rows, each [K][T], text first. `LAYOUTS` maps a name to a function that
makes a table of it, with codes of a given integer type, and to what `ColumnOptions` has to say.
"""

import numpy as np
import pyarrow as pa
import pytest

BASE = 9
"""What a shared vocabulary adds to the codes of a codebook after the one before."""
LONG = 5
"""Frames of rows whose time axis has a fixed size."""


def transposed(grid):
    return [list(frame) for frame in zip(*grid, strict=True)]


def flat(lists):
    return [value for part in lists for value in part]


def _text(rows, kind):
    return pa.array([row[0] for row in rows], kind)


def nested(make, outer=pa.list_, inner=pa.list_):
    """Text and one column of codes, [n_q][T] or [T][n_q]."""

    def table(rows, kind):
        codes = pa.array([make(row[1:]) for row in rows], outer(inner(kind)))
        return {"text_tokens": _text(rows, pa.list_(kind)), "audio_codes": codes}

    return table


def flattened(make, outer=pa.list_):
    def table(rows, kind):
        codes = pa.array([flat(make(row[1:])) for row in rows], outer(kind))
        return {"text_tokens": _text(rows, outer(kind)), "audio_codes": codes}

    return table


def as_they_are(codes):
    return codes


def sized(size):
    return lambda kind: pa.list_(kind, size)


def columns_per_codebook(rows, kind):
    codes = {
        f"codes_{q}": pa.array([row[1 + q] for row in rows], pa.list_(kind))
        for q in range(len(rows[0]) - 1)
    }
    return {"text_tokens": _text(rows, pa.list_(kind)), **codes}


def with_leading_zeros(rows, kind):
    columns = columns_per_codebook(rows, kind)
    return {name.replace("codes_", "codes_0"): column for name, column in columns.items()}


def shared(make):
    """A vocabulary that all codebooks share: BASE times q is added to the codes of codebook q."""

    def table(rows, kind):
        return make([[row[0], *map(added, range(len(row)), row[1:])] for row in rows], kind)

    def added(q, codes):
        # A zero token and a null stay.
        return [x if x in (None, -1) else x + q * BASE for x in codes]

    return table


def in_struct(columns, name, *inside, **others):
    """The columns, some of them in a struct, between other fields."""
    arrays = {"lang": pa.array(["en"] * len(columns[inside[0]])), **others}
    arrays |= {part: columns[part] for part in inside} | {"speakers": arrays["lang"]}
    struct = pa.StructArray.from_arrays(list(arrays.values()), names=list(arrays))
    return {key: value for key, value in columns.items() if key not in inside} | {name: struct}


def field(make):
    """The codes in a field of a struct."""
    return lambda rows, kind: in_struct(make(rows, kind), "speech", "audio_codes")


def nested_fields(rows, kind):
    """Text in a struct, codes in a struct in it."""
    inner = in_struct(nested(transposed)(rows, kind), "codes", "audio_codes")
    return in_struct(inner, "speech", "text_tokens", "codes")


def field_per_codebook(rows, kind):
    """Nothing but the codebooks in a struct."""
    columns = columns_per_codebook(rows, kind)
    text = columns.pop("text_tokens")
    struct = pa.StructArray.from_arrays(list(columns.values()), names=list(columns))
    return {"speech": struct, "text_tokens": text}


def grids_in_structs(rows, kind):
    """Of both speakers as J-Moshi has them, each in a struct of its own."""
    grids = two_grids(as_they_are)(rows, kind)
    first = in_struct(grids, "moshi", "A")
    return in_struct(first, "user", "B")


def stacked(rows, kind):
    """Two speakers: one codebook-major, one frame-major, text last."""
    return {
        "moshi": pa.array([row[1:3] for row in rows], pa.list_(pa.list_(kind))),
        "user": pa.array([transposed(row[3:]) for row in rows], pa.list_(pa.list_(kind))),
        "text_tokens": _text(rows, pa.list_(kind)),
    }


def grid(make):
    def table(rows, kind):
        return {"grid": pa.array([make(row) for row in rows], pa.list_(pa.list_(kind)))}

    return table


def grid_fixed(rows, kind):
    return {"grid": pa.array(rows, pa.list_(pa.list_(kind), len(rows[0])))}


def two_grids(make):
    """As J-Moshi keeps them: each speaker's text and codes; the second text is not used."""

    def table(rows, kind):
        second = [[[100 + t for t in range(len(row[0]))], *row[3:]] for row in rows]
        return {
            "A": pa.array([make(row[:3]) for row in rows], pa.list_(pa.list_(kind))),
            "B": pa.array([make(codes) for codes in second], pa.list_(pa.list_(kind))),
        }

    return table


def flat_slices(rows, kind):
    """Flat lists of which a part is used: two codebooks of three."""
    spare = [[99] * len(row[0]) for row in rows]
    return {
        "text_tokens": _text(rows, pa.list_(kind)),
        "a": pa.array(
            [flat([other, *row[1:3]]) for other, row in zip(spare, rows, strict=True)],
            pa.list_(kind),
        ),
        "b": pa.array(
            [flat([*row[3:], other]) for other, row in zip(spare, rows, strict=True)],
            pa.list_(kind),
        ),
    }


def array2d(make):
    """Hugging Face's extension type, whose first axis may have any length."""

    def table(rows, kind):
        datasets = pytest.importorskip("datasets")
        codes = [make(row[1:]) for row in rows]
        shape = (None, len(codes[0][0]))
        kind2d = datasets.Array2D(shape=shape, dtype=str(kind))()
        storage = pa.array(codes, pa.list_(pa.list_(kind)))
        return {
            "text_tokens": _text(rows, pa.list_(kind)),
            "audio_codes": pa.ExtensionArray.from_storage(kind2d, storage),
        }

    return table


def encoded(make, *around):
    """As an encoder returns them: in outer lists of one entry each."""

    def table(rows, kind):
        columns = nested(make)(rows, kind)
        codes = columns["audio_codes"]
        for outer in around:
            ones = pa.array(range(len(codes) + 1), pa.int32())
            wide = outer(codes.type)
            if pa.types.is_fixed_size_list(wide):
                codes = pa.FixedSizeListArray.from_arrays(codes, type=wide)
            else:
                codes = pa.ListArray.from_arrays(ones, codes, type=wide)
        return columns | {"audio_codes": codes}

    return table


def tensors(make, axes=0, permutation=None):
    """Arrow's fixed_shape_tensor: one list for each row, whose shape its type says."""

    def table(rows, kind):
        codes = np.array([make(row[1:]) for row in rows])
        shape = [1] * axes + list(codes.shape[1:])
        stored = codes.reshape(len(rows), *shape)
        if permutation is not None:
            # The axis i of the tensor is the axis permutation[i] of what is stored.
            stored = stored.transpose([0, *(1 + axis for axis in np.argsort(permutation))])
        kind = pa.fixed_shape_tensor(kind, list(stored.shape[1:]), permutation=permutation)
        values = pa.array(stored.reshape(len(rows), -1).tolist(), kind.storage_type)
        return {
            "text_tokens": _text(rows, pa.list_(kind.value_type)),
            "audio_codes": pa.ExtensionArray.from_storage(kind, values),
        }

    return table


GRID = {"grid_column": ("grid",)}
LAYOUTS = {
    "codebook": (nested(as_they_are), {}),
    "codebook, large lists": (nested(as_they_are, pa.large_list, pa.large_list), {}),
    "codebook, large outside": (nested(as_they_are, pa.large_list, pa.list_), {}),
    "codebook, fixed codebooks": (nested(as_they_are, sized(4)), {}),
    "codebook, all fixed": (nested(as_they_are, sized(4), sized(LONG)), {}),
    "frame": (nested(transposed), {}),
    "frame, large lists": (nested(transposed, pa.large_list, pa.large_list), {}),
    "frame, fixed codebooks": (nested(transposed, pa.list_, sized(4)), {}),
    "frame, all fixed": (nested(transposed, sized(LONG), sized(4)), {}),
    "flat-codebook": (flattened(as_they_are), {"audio_layout": "flat-codebook"}),
    "flat-frame": (flattened(transposed), {"audio_layout": "flat-frame"}),
    "flat-frame, large": (flattened(transposed, pa.large_list), {"audio_layout": "flat-frame"}),
    "column per codebook": (columns_per_codebook, {"audio_column": ("codes_{q}",)}),
    "column per codebook, leading zeros": (with_leading_zeros, {"audio_column": ("codes_{q}",)}),
    "shared vocabulary": (shared(nested(as_they_are)), {"code_base": (BASE,)}),
    "shared vocabulary, flat-frame": (
        shared(flattened(transposed)),
        {"audio_layout": "flat-frame", "code_base": tuple(BASE * q for q in range(4))},
    ),
    "field": (field(nested(as_they_are)), {"audio_column": ("speech.audio_codes",)}),
    "field, all fixed": (field(tensors(as_they_are)), {"audio_column": ("speech.audio_codes",)}),
    "fields of nested structs, frame": (
        nested_fields,
        {"text_column": ("speech.text_tokens",), "audio_column": ("speech.codes.audio_codes",)},
    ),
    "field per codebook": (field_per_codebook, {"audio_column": ("speech.codes_{q}",)}),
    "grids in structs, sliced": (grids_in_structs, {"grid_column": ("moshi.A", "user.B[1:]")}),
    "two speakers": (stacked, {"audio_column": ("moshi", "user")}),
    "grid": (grid(as_they_are), GRID),
    "grid, frame": (grid(transposed), GRID),
    "grid, fixed streams": (grid_fixed, GRID),
    "two grids, sliced": (two_grids(as_they_are), {"grid_column": ("A", "B[1:]")}),
    "two grids, frame, sliced": (two_grids(transposed), {"grid_column": ("A", "B[1:]")}),
    "flat, sliced": (
        flat_slices,
        {
            "audio_column": ("a[1:]", "b[:2]"),
            "audio_layout": "flat-codebook",
            "output_layout": "grid",
        },
    ),
    "Array2D, frame": (array2d(transposed), {}),
    "one more list around": (encoded(as_they_are, pa.list_), {}),
    "two more lists around": (encoded(as_they_are, pa.list_, pa.list_), {}),
    "two more lists around, frame": (encoded(transposed, sized(1), pa.list_), {}),
    "tensors, all fixed": (tensors(as_they_are), {}),
    "tensors, all fixed, frame, outer axes": (tensors(transposed, axes=2), {}),
    "tensors, all fixed, permuted": (tensors(as_they_are, axes=1, permutation=[1, 2, 0]), {}),
}
FIXED = {name for name in LAYOUTS if "all fixed" in name}
SHARED = {name for name in LAYOUTS if "shared" in name}


def at(row, name):
    """A value of a row, or of a field of a struct in it."""
    while name not in row:
        struct, _, name = name.partition(".")
        row = row[struct]
    return row[name]


def rows_of(streams=5, rows=9, longest=12, seed=0, high=40, fixed=False):
    """Random rows [K][T], their lengths all but the number of codebooks."""
    random = np.random.default_rng(seed)
    lengths = [LONG] * rows if fixed else [*range(LONG, LONG + rows - 2), 1, 0]
    return [random.integers(0, high, (streams, n)).tolist() for n in lengths]


def read_slowly(values, layout, size):
    """A row as [n][T], by its layout."""
    if layout == "list":
        return [values]
    if layout == "codebook":
        return [list(line) for line in values]
    if layout == "frame":
        return [[frame[q] for frame in values] for q in range(size)]
    steps = len(values) // size
    if layout == "flat-codebook":
        return [[values[q * steps + t] for t in range(steps)] for q in range(size)]
    return [[values[t * size + q] for t in range(steps)] for q in range(size)]
