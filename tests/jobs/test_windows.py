"""Random windows, compared with a slow reference, verified and reverted."""

import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import reference

from delaytool.api.apply import apply
from delaytool.api.revert import revert
from delaytool.api.verify import verify
from delaytool.errors import RecipeError
from delaytool.pattern.windows import Windows
from delaytool.recipes.recipe import Recipe
from delaytool.recipes.stream import Stream

LAYOUTS = ("codebook", "frame", "flat-codebook", "flat-frame", "grid")


def random_recipe(draw):
    """A recipe with text at any place, offsets, steps, tokens outside the vocabulary."""
    streams = []
    texts, n_q = draw.randint(0, 2), draw.randint(1, 3)
    kinds = ["text"] * texts + ["semantic", "acoustic", "acoustic"][:n_q]
    draw.shuffle(kinds)
    for number, kind in enumerate(kinds):
        fills = {
            name: draw.choice([-2, -1, 3, 50, 60]) for name in ("lead", "trail", "final", "last")
        }
        streams.append(
            Stream(
                f"{kind}_{number}",
                kind,
                draw.choice([0, 0, 1, 2]),
                50,
                draw.choice([3, 50]) if kind == "text" else 50,
                50,
                offset=draw.choice([0, 0, 0, 1, -1, 2]),
                weight=draw.choice([0.0, 1.0, 0.1, 100.0]),
                token_weights={3: 0.5} if kind == "text" else {},
                **fills,
            )
        )
    return Recipe(
        tuple(streams),
        dep_q=draw.randint(0, n_q),
        length=draw.choice(["extend", "truncate"]),
        offset_length=draw.choice(["extend", "truncate"]),
        initial_step=draw.random() < 0.5,
        final_step=draw.random() < 0.3,
    )


def random_windows(draw):
    size = draw.choice([None, 1, 2, 3, 4, 5, 9])
    how = {
        "window": size,
        "window_cut": draw.choice(["before", "after"]),
        "window_split": draw.choice(["fixed", "even"]),
        "window_min": draw.choice([None, None, 1, 2, 3]) if size else draw.choice([1, 3, 6]),
    }
    if size and how["window_cut"] == "before" and how["window_split"] == "fixed":
        how["window_pad"] = draw.random() < 0.5
    return how


def windows_from(how):
    return Windows(
        how["window"],
        how["window_cut"],
        how["window_split"],
        how["window_min"],
        how.get("window_pad", False),
    )


def random_table(draw, recipe, layout, factors):
    """Rows, a table of them, and the options that say where they are."""
    rows = [
        [[draw.choice([-1, 3, *range(50)]) for _ in range(frames)] for _ in recipe.streams]
        for frames in (draw.choice([0, 1, 2, 3, 5, 8, 12, 13]) for _ in range(draw.randint(1, 7)))
    ]
    columns = {"id": [f"row {i}" for i in range(len(rows))]}
    columns["note"] = [draw.choice([None, "a", "bb"]) for _ in rows]
    columns["data"] = pa.array(
        [draw.choice([None, [], [1.5, None]]) for _ in rows], pa.list_(pa.float32())
    )
    where = {"audio_layout": layout}
    lists = pa.list_(pa.list_(pa.int16()))
    if layout == "grid":
        columns["grid"] = pa.array(rows, lists)
        where = {"audio_layout": "codebook", "grid_column": "grid"}
    else:
        for k in recipe.text_numbers:
            columns[f"text_{k}"] = pa.array([row[k] for row in rows], pa.list_(pa.int32()))
        where["text_column"] = [f"text_{k}" for k in recipe.text_numbers] or "text_tokens"
        audio = [[row[k] for k in recipe.audio_numbers] for row in rows]
        turned = [[list(frame) for frame in zip(*codes, strict=True)] for codes in audio]
        made = audio if "codebook" in layout else turned
        if "flat" in layout:
            made = [[token for part in codes for token in part] for codes in made]
        columns["audio_codes"] = pa.array(made, pa.list_(pa.int16()) if "flat" in layout else lists)
    if factors:
        columns["factor"] = pa.array(
            [[draw.choice([0.0, 1.0, 2.5]) for _ in row[0]] for row in rows], pa.list_(pa.float32())
        )
        where["weight_column"] = "factor"
    return rows, pa.table(columns), where


@pytest.mark.parametrize("seed", range(60))
def test_random_windows(seed, tmp_path):
    draw = random.Random(seed)
    layout = LAYOUTS[seed % len(LAYOUTS)]
    while True:
        recipe, how = random_recipe(draw), random_windows(draw)
        rows, table, where = random_table(draw, recipe, layout, draw.random() < 0.4)
        source, output, back = (tmp_path / f"{name}.parquet" for name in ("in", "out", "back"))
        pq.write_table(table, source, row_group_size=2)
        try:
            result = apply(
                source, output, recipe, output_layout="grid", label_columns=True, **where, **how
            )
            break
        except RecipeError:
            continue
    expected = [reference.cut_row(row, recipe, windows_from(how)) for row in rows]
    made = pq.read_table(output)
    assert made["codes"].to_pylist() == [grid for grids in expected for grid in grids]
    of_rows = [i for i, grids in enumerate(expected) for _ in grids]
    assert made["id"].to_pylist() == [f"row {i}" for i in of_rows]
    assert made["row_frames"].to_pylist() == [len(rows[i][0]) for i in of_rows]
    assert made["window"].to_pylist() == [n for grids in expected for n in range(len(grids))]
    assert result.rows == len(rows)
    assert result.windows == len(of_rows)
    for given in ({}, {"source": source}, {"recipe": recipe}):
        found = verify(output, **given)
        assert found.verified, [str(m) for m in found.mismatches]
    lossy = bool(result.lost or result.dropped_frames or result.dropped_rows)
    revert(output, back, allow_lossy=lossy)
    restored = pq.read_table(back)
    if not lossy:
        assert restored.equals(table)
    else:
        kept = [i for i, grids in enumerate(expected) if grids]
        assert restored["id"].to_pylist() == [f"row {i}" for i in kept]
        assert restored["data"].to_pylist() == [table["data"].to_pylist()[i] for i in kept]
