"""Random windows, compared with a slow reference, verified and reverted."""

import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import reference

from delaytool.api.apply import apply
from delaytool.api.revert import revert
from delaytool.api.verify import verify
from delaytool.errors import DataError, RecipeError
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
        where |= {"output_layout": "grid", "label_columns": True, "narrow": seed % 3 == 0}
        source, output, back = (tmp_path / f"{name}.parquet" for name in ("in", "out", "back"))
        pq.write_table(table, source, row_group_size=2)
        try:
            result = apply(source, output, recipe, **where, **how)
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


def shards_of(draw, tmp_path):
    """A shard of windows with dictionaries, factors, weights and labels; or None."""
    recipe, how = random_recipe(draw), random_windows(draw)
    _, table, where = random_table(draw, recipe, draw.choice(LAYOUTS), draw.random() < 0.3)
    source, output = tmp_path / "in.parquet", tmp_path / "out.parquet"
    pq.write_table(table, source)
    try:
        apply(source, output, recipe, label_columns=True, overwrite=True, **where, **how)
    except RecipeError:
        return None
    return output


def rewrite(path, table):
    """Put other rows into a shard, and leave its footer's entries."""
    entries = pq.read_metadata(path).metadata
    with pq.ParquetWriter(path, table.schema) as writer:
        writer.write_table(table, row_group_size=3)
        writer.add_key_value_metadata({k: v for k, v in entries.items() if k != b"ARROW:schema"})


def changed(draw, table):
    """The same table with one thing changed, and what that was."""
    names = table.schema.names
    what = draw.choice(["drop", "double", "swap", "value", "value", "value", "value", "length"])
    rows = table.to_pylist()
    at = draw.randrange(len(rows))
    if what == "drop":
        del rows[at]
    elif what == "double":
        rows.insert(at, rows[at])
    elif what == "swap":
        other = draw.randrange(len(rows))
        rows[at], rows[other] = rows[other], rows[at]
    else:
        name = draw.choice(names)
        rows[at] = dict(rows[at])
        rows[at][name] = mutated(draw, rows[at][name], what == "length")
    return pa.Table.from_pylist(rows, table.schema), what


def mutated(draw, value, shorter):
    """A value that is another one, where there is one."""
    if isinstance(value, list):
        if not value:
            return value
        if shorter:
            return value[:-1]
        place = draw.randrange(len(value))
        return [mutated(draw, v, False) if i == place else v for i, v in enumerate(value)]
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, float):
        return value + 1
    return value + draw.choice([1, -1]) if isinstance(value, int) else value


@pytest.mark.parametrize(
    "seed", [*range(10), *(pytest.param(s, marks=pytest.mark.deep) for s in range(10, 100))]
)
def test_faults_are_found_without_the_source(seed, tmp_path):
    draw = random.Random(1000 + seed)
    for _ in range(5):
        while (output := shards_of(draw, tmp_path)) is None or not pq.read_metadata(
            output
        ).num_rows:
            pass
        table = pq.read_table(output)
        other = table
        for _ in range(20):
            other, what = changed(draw, table)
            if not other.equals(table):
                break
        else:
            continue
        rewrite(output, other)
        found = verify(output)
        assert not found.verified, what


@pytest.fixture
def aligned(tmp_path):
    """Text and codes in shards of their own, text shorter and longer, and some rows bad."""
    draw = random.Random(7)
    recipe = Recipe(
        (
            Stream("text", "text", 0, 50, 3, 50, trail=3),
            Stream("a", "semantic", 1, 50, 50, 50),
            Stream("b", "acoustic", 2, 50, 50, 50, trail=50),
        )
    )
    texts, codes = [], []
    for number in range(40):
        frames = draw.randint(0, 14)
        length = max(frames + draw.choice([-2, -1, 0, 1, 2]), 0)
        texts.append([draw.randrange(4, 50) for _ in range(length)])
        codes.append([[draw.randrange(50) for _ in range(frames)] for _ in range(2)])
        if number % 9 == 8 and frames:
            codes[-1][0][0] = 77
    ids = [f"row {number}" for number in range(40)]
    (tmp_path / "text").mkdir()
    (tmp_path / "codes").mkdir()
    kinds = pa.array([i[-1] for i in ids]).dictionary_encode()
    text = pa.table({"id": ids, "kind": kinds, "text_tokens": texts})
    pq.write_table(text, tmp_path / "text/a.parquet", row_group_size=7)
    audio = pa.array(codes, pa.list_(pa.list_(pa.uint8())))
    pq.write_table(pa.table({"id": ids, "audio_codes": audio}), tmp_path / "codes/a.parquet")
    return recipe


@pytest.mark.parametrize(
    "how",
    [
        {"window": 4},
        {"window": 4, "window_pad": True},
        {"window": "4", "window_min": 3, "window_split": "even"},
        {"window": 5, "window_cut": "after", "window_min": 4},
        {"window": 5, "window_cut": "after", "window_split": "even"},
        {"window_min": 6},
    ],
)
def test_text_that_is_aligned_and_rows_in_quarantine(how, aligned, tmp_path):
    text, codes, bad = (tmp_path / name for name in ("text", "codes", "bad"))
    output, back, back_codes = (tmp_path / name for name in ("out", "back", "back_codes"))
    result = apply(
        text, output, aligned, audio_input=codes, align="fit", quarantine=bad, key="id", **how
    )
    assert result.quarantined
    assert result.padded
    assert result.trimmed
    assert result.rows + result.quarantined == 40
    for given in ({}, {"source": text, "audio_input": codes}, {"quarantine": bad}):
        found = verify(output, **given)
        assert found.verified, [str(m) for m in found.mismatches]
        assert found.rows == result.rows
    revert(output, back, audio_output=back_codes, allow_lossy=True)
    restored = pq.read_table(back_codes / "a.parquet")
    original = {row["id"]: row for row in pq.read_table(codes / "a.parquet").to_pylist()}
    for row in restored.to_pylist():
        pairs = zip(row["audio_codes"], original[row["id"]]["audio_codes"], strict=True)
        for line, wanted in pairs:
            assert len(line) == len(wanted)
            differing = {a for a, b in zip(line, wanted, strict=True) if a != b}
            assert differing <= ({None} if "window_min" in how else set())


def test_another_run_leaves_windows_alone_and_other_windows_are_in_the_way(tmp_path):
    source, output = tmp_path / "a.parquet", tmp_path / "o.parquet"
    recipe = Recipe((Stream("a", "semantic", 1, 50, 50, 50),))
    pq.write_table(pa.table({"audio_codes": [[list(range(9))]]}), source)
    apply(source, output, recipe, window=4)
    before = output.read_bytes()
    assert apply(source, output, recipe, window=4).unchanged == 1
    assert output.read_bytes() == before
    with pytest.raises(DataError) as raised:
        apply(source, output, recipe, window=5)
    assert raised.value.kind == "output-in-the-way"
