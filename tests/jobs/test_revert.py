"""revert gives back what apply read, in every layout and type; what is lost is told."""

import dataclasses
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import reference
from layouts import FIXED, LAYOUTS, SHARED, at, read_slowly, rows_of
from make import (
    delaytool,
    entry_of,
    files_in,
    finish,
    job_on,
    rewrite,
    summary_of,
    tokens_table,
)
from strategies import INTEGERS, random_row

from delaytool.batches.fields import field_at
from delaytool.errors import DataError
from delaytool.jobs.apply import ApplyShard
from delaytool.jobs.paths import Item
from delaytool.jobs.revert import RevertShard
from delaytool.jobs.verify import VerifyShard
from delaytool.recipes.adapt import with_audio, with_text
from delaytool.recipes.presets import plain_recipe
from delaytool.shards.find import Shard
from delaytool.shards.record import Record

DELAYS = (0, 0, 1, 3, 2)
# Three types of integers for each layout, others for the next one; with --deep all of them.
EVERY = [
    pytest.param(layout, integer, marks=() if (number - i) % 8 % 3 == 0 else pytest.mark.deep)
    for number, layout in enumerate(LAYOUTS)
    for i, integer in enumerate(INTEGERS)
]


def recipe_of(length="extend", card=2048, **changes):
    """A text stream and four codebooks."""
    plain = with_text(with_audio(plain_recipe(4, DELAYS), card=card), card=32000)
    return dataclasses.replace(plain, length=length, initial_step=True, **changes)


def table_of(layout, kind, rows):
    """A table in this layout, with other columns around it and metadata of its own."""
    make, where = LAYOUTS[layout]
    columns = make(rows, kind)
    ids = [f"utt-{number}" for number in range(len(rows))]
    table = pa.table(
        {"id": ids, **columns, "score": [float(number) for number in range(len(rows))]}
    )
    schema = table.schema.with_metadata({b"made by": b"somebody", **(table.schema.metadata or {})})
    first = schema.get_field_index("id")
    schema = schema.set(first, pa.field("id", pa.string(), nullable=False, metadata={"k": "v"}))
    # pyarrow 18 dies of a cast of tensors in structs.
    return pa.Table.from_arrays(table.columns, schema=schema), {**where, "key": "id"}


def apply(source, output, job):
    return finish(ApplyShard(Item(Shard("a", str(source)), None, str(output)), job, False).run())


def revert(output, target, job=None, lossy=False, codes=None):
    steps = RevertShard(Shard("out", str(output)), str(target), codes, job, lossy, False).run()
    return finish(steps)


def mismatches(output, source=None):
    original = None if source is None else Shard("a", str(source))
    return finish(VerifyShard(Shard("a", str(output)), original, None, None).run()).mismatches


def streams_of(path, job):
    """Rows of an output as [K][S] lists, read slowly."""
    rows = pq.read_table(path).to_pylist()
    return [
        [
            line
            for output in job.outputs
            for line in read_slowly(at(row, output.name), output.layout.name, output.count)
        ]
        for row in rows
    ]


def is_never_null(field):
    """Whether neither a column's values nor the lists in them are null."""
    is_list = isinstance(field.type, (pa.ListType, pa.LargeListType, pa.FixedSizeListType))
    return not field.nullable and (not is_list or is_never_null(field.type.value_field))


def storage_of(column):
    """Lists of an extension column, whose own way to Python knows no nulls."""
    array = column.combine_chunks()
    return array.storage if isinstance(array, pa.ExtensionArray) else array


def lost_of(rows):
    return sum(min(delay, len(row[0])) for row in rows for delay in DELAYS)


@pytest.mark.parametrize("length", ["extend", "truncate"])
@pytest.mark.parametrize(("layout", "integer"), EVERY)
def test_every_layout_and_type(tmp_path, layout, integer, length):
    signed = not integer.startswith("u")
    # What a shared vocabulary adds needs room.
    high = 100 if layout in SHARED else 128 if signed else 200
    rows = rows_of(high=high, fixed=layout in FIXED)
    if signed:
        rows[0][2][1] = -1
    table, where = table_of(layout, pa.from_numpy_dtype(integer), rows)
    source, output, back = (tmp_path / name for name in ("a", "out", "back"))
    pq.write_table(table, source, row_group_size=4)
    recipe = recipe_of(length)
    job = job_on(table, recipe, **where)
    apply(source, output, job)
    assert streams_of(output, job) == [reference.delay(row, recipe) for row in rows]
    schema = pq.read_schema(output)
    assert all(is_never_null(field_at(schema, output.name)) for output in job.outputs)
    assert mismatches(output) == []
    assert mismatches(output, source) == []
    if length == "extend":
        revert(output, back)
        restored = pq.read_table(back)
        assert restored.equals(pq.read_table(source), check_metadata=True)
        return
    lost = lost_of(rows)
    with pytest.raises(DataError, match=f"truncation cut off {lost} tokens, which cannot"):
        revert(output, back)
    assert not back.exists()
    revert(output, back, lossy=True)
    held = {column.name.partition(".")[0] for column in job.columns}
    restored, original = pq.read_table(back), pq.read_table(source)
    for name in set(original.column_names) - held:
        assert restored[name].equals(original[name])
    nulls = sum(str(storage_of(restored[name]).to_pylist()).count("None") for name in held)
    assert nulls == lost


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if "sliced" in name])
def test_what_slices_leave_is_left_out(tmp_path, layout):
    rows = rows_of()
    table, where = table_of(layout, pa.int16(), rows)
    sliced = {name.partition("[")[0] for names in where.values() for name in names if "[" in name}
    where |= {"drop_column": (*sliced, "score"), "key": None}
    source, output, back = (tmp_path / name for name in ("a", "out", "back"))
    pq.write_table(table, source, row_group_size=4)
    recipe = recipe_of()
    job = job_on(table, recipe, **where)
    apply(source, output, job)
    assert streams_of(output, job) == [reference.delay(row, recipe) for row in rows]
    assert mismatches(output) == []
    assert mismatches(output, source) == []
    with pytest.raises(DataError, match="columns were left out, "):
        revert(output, back)
    revert(output, back, lossy=True)
    restored, original = (pq.read_table(path).to_pylist() for path in (back, source))
    for row, was, wanted in zip(restored, original, rows, strict=True):
        left = [
            line
            for column in map(job.restored, job.columns)
            for line in read_slowly(at(row, column.name), column.layout.name, column.size)
        ]
        assert left == [wanted[number] for column in job.columns for number in column.numbers]
        assert row.keys() == was.keys() - {"score"}
        assert row["id"] == was["id"]


# Paired shards, alignment, generated grids: through the command line


@pytest.fixture
def paired(tmp_path):
    """Text and codes in shards of their own, each with a key, other columns and metadata."""
    for number, name in enumerate(("x/a.parquet", "b.parquet")):
        table = tokens_table(rows=40, seed=number, uses=list(range(40)))
        text = table.select(["id", "text_tokens", "speaker"])
        text = text.replace_schema_metadata({"kind": "text"})
        codes = table.select(["audio_codes", "id", "tags", "score"])
        codes = codes.replace_schema_metadata({"kind": "codes"})
        for folder, part, rows in (("text", text, 7), ("codes", codes, 11)):
            path = tmp_path / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(part, path, row_group_size=rows)
    return tmp_path


PAIRED = ("--n-q", 3, "--delays", "0,0,1,2", "--audio-input", "codes", "--key", "id")


def tables_in(folder):
    return {
        path.relative_to(folder).as_posix(): pq.read_table(path)
        for path in sorted(folder.rglob("*.parquet"))
    }


def same_tables(one, other):
    ours, theirs = tables_in(one), tables_in(other)
    assert ours.keys() == theirs.keys() != set()
    for name, table in ours.items():
        assert table.equals(theirs[name], check_metadata=True), name
    return True


def test_paired_shards_and_back(paired):
    delaytool("apply", "text", "out", *PAIRED, cwd=paired)
    delaytool("verify", "out", cwd=paired)
    done = delaytool("verify", "out", "--source", "text", "--audio-input", "codes", cwd=paired)
    assert "80 rows" in done.stdout
    delaytool("revert", "out", "t", "--audio-output", "c", cwd=paired)
    assert same_tables(paired / "t", paired / "text")
    assert same_tables(paired / "c", paired / "codes")
    delaytool("revert", "out", "both", cwd=paired)
    both = tables_in(paired / "both")["b.parquet"]
    assert both.column_names == ["id", "text_tokens", "speaker", "audio_codes", "tags", "score"]
    one = pq.read_table(paired / "codes" / "b.parquet")
    assert both["audio_codes"].equals(one["audio_codes"])


def test_paired_shards_give_the_streams_that_one_shard_gives(paired):
    delaytool("apply", "text", "out", *PAIRED, cwd=paired)
    table = tokens_table(rows=40, seed=1)
    pq.write_table(table, paired / "one.parquet")
    delaytool("apply", "one.parquet", "one_out.parquet", *PAIRED[:4], cwd=paired)
    out, one = pq.read_table(paired / "out/b.parquet"), pq.read_table(paired / "one_out.parquet")
    for name in one.column_names:
        assert out[name].equals(one[name]), name


def broken(paired, change):
    path = paired / "codes" / "b.parquet"
    pq.write_table(change(pq.read_table(path)), path)
    return delaytool("apply", "text", "out", *PAIRED, cwd=paired, status=1)


def test_pairs_that_do_not_fit(paired):
    done = broken(paired, lambda table: table.slice(1))
    assert "Error: b.parquet: 40 rows of text and 39 of codes, expected as many" in done.stderr
    assert not (paired / "out").exists()


def test_the_first_key_that_differs(paired):
    def swap(table):
        ids = table["id"].to_pylist()
        ids[21], ids[22] = ids[22], ids[21]
        return table.set_column(1, "id", pa.array(ids))

    done = broken(paired, swap)
    assert "b.parquet, row 21 (id 'utt-21'): the codes' id is 'utt-22'" in done.stderr
    assert "b.parquet" not in files_in(paired / "out") if (paired / "out").exists() else True


def test_partners_that_are_missing(paired):
    (paired / "codes" / "b.parquet").unlink()
    done = delaytool("apply", "text", "out", *PAIRED, cwd=paired, status=1)
    assert "Error: b.parquet: there is no shard of codes of this name" in done.stderr
    (paired / "text" / "b.parquet").rename(paired / "text" / "c.parquet")
    (paired / "codes" / "x" / "a.parquet").rename(paired / "codes" / "c.parquet")
    done = delaytool("apply", "text", "out", *PAIRED, cwd=paired, status=1)
    assert "Error: x/a.parquet: there is no shard of codes" in done.stderr


def uneven(path, changes):
    """A shard whose text is longer or shorter than its codes by so many tokens, row by row."""
    table = tokens_table(rows=len(changes), longest=30)
    text = [
        (line + [5] * change)[: max(len(line) + change, 0)]
        for line, change in zip(table["text_tokens"].to_pylist(), changes, strict=True)
    ]
    column = pa.array(text, pa.list_(pa.int32()))
    table = table.set_column(table.column_names.index("text_tokens"), "text_tokens", column)
    pq.write_table(table, path)
    lengths = [len(codes[0]) for codes in table["audio_codes"].to_pylist()]
    return text, lengths


def test_text_is_padded(tmp_path):
    text, lengths = uneven(tmp_path / "a.parquet", [0, -1, -3, -100, 0, -2])
    plain = ("--n-q", 3, "--delays", "0,0,1,2")
    done = delaytool("apply", "a.parquet", "out.parquet", *plain, cwd=tmp_path, status=1)
    assert "a.parquet, row 1 (id 'utt-1'), column text_tokens: " in done.stderr
    assert "--align" in done.stderr
    done = delaytool(
        "apply", "a.parquet", "out.parquet", *plain, "--align", "pad", "--json", cwd=tmp_path
    )
    missing = sum(lengths) - sum(len(line) for line in text)
    assert f'"padded": {missing}, "trimmed": 0' in done.stdout
    shifted = pq.read_table(tmp_path / "out.parquet")
    for line, had, frames, weights in zip(
        shifted["text_tokens"].to_pylist(),
        text,
        lengths,
        shifted["text_loss_weights"].to_pylist(),
        strict=True,
    ):
        assert line == had + [3] * (frames - len(had)) + [3, 3]
        assert weights[len(had) : frames] == [0.5] * (frames - len(had)), "ordinary padding"
        assert weights[frames:] == [0, 0]
    delaytool("verify", "out.parquet", cwd=tmp_path)
    delaytool("verify", "out.parquet", "--source", "a.parquet", cwd=tmp_path)
    delaytool("revert", "out.parquet", "back.parquet", cwd=tmp_path)
    back, source = (pq.read_table(tmp_path / n) for n in ("back.parquet", "a.parquet"))
    assert back.equals(source, check_metadata=True)


def test_text_is_trimmed(tmp_path):
    text, lengths = uneven(tmp_path / "a.parquet", [0, 1, 3, 0, 20])
    plain = ("--n-q", 3, "--delays", "0,0,1,2", "--align", "trim")
    done = delaytool("apply", "a.parquet", "out.parquet", *plain, cwd=tmp_path)
    assert "alignment cut off 24 tokens" in done.stdout
    for line, had, frames in zip(
        pq.read_table(tmp_path / "out.parquet")["text_tokens"].to_pylist(),
        text,
        lengths,
        strict=True,
    ):
        assert line == [*had[:frames], 3, 3]
    delaytool("verify", "out.parquet", cwd=tmp_path)
    done = delaytool("verify", "out.parquet", "--source", "a.parquet", cwd=tmp_path)
    assert "24 tokens" in done.stdout
    done = delaytool("revert", "out.parquet", "back.parquet", cwd=tmp_path, status=1)
    assert "alignment cut off 24 tokens, which cannot come back" in done.stderr
    assert "--allow-lossy" in done.stderr
    assert not (tmp_path / "back.parquet").exists()
    done = delaytool("revert", "out.parquet", "back.parquet", "--allow-lossy", cwd=tmp_path)
    back = pq.read_table(tmp_path / "back.parquet")["text_tokens"].to_pylist()
    assert back == [had[:frames] for had, frames in zip(text, lengths, strict=True)]


@pytest.mark.parametrize(("align", "change"), [("pad", 1), ("trim", -1)])
def test_alignment_does_only_what_was_asked_for(tmp_path, align, change):
    uneven(tmp_path / "a.parquet", [0, 0, change])
    plain = ("--n-q", 3, "--delays", "0,0,1,2", "--align", align)
    done = delaytool("apply", "a.parquet", "out.parquet", *plain, cwd=tmp_path, status=1)
    assert "row 2 (id 'utt-2'), column text_tokens" in done.stderr


def test_a_grid_that_a_model_generated(tmp_path):
    """Its filled cells hold whatever the model said."""
    recipe = recipe_of()
    rows = rows_of()
    grids = [reference.delay(row, recipe) for row in rows]
    for row, grid in zip(rows, grids, strict=True):
        for line, cells in zip(grid, reference.filled(row, recipe), strict=True):
            for step, cell in enumerate(cells):
                line[step] = 7 if cell else line[step]
    table = pa.table({"name": [str(i) for i in range(len(rows))], "codes": grids})
    pq.write_table(table, tmp_path / "generated.parquet")
    (tmp_path / "recipe.json").write_text(recipe.to_json())
    arguments = ("revert", "generated.parquet", "back.parquet", "--recipe", "recipe.json")
    delaytool(*arguments, "--grid-column", "codes", cwd=tmp_path)
    back = pq.read_table(tmp_path / "back.parquet")
    assert back["codes"].to_pylist() == rows
    assert back["name"].to_pylist() == table["name"].to_pylist()
    assert back.schema.equals(pq.read_schema(tmp_path / "generated.parquet"))


TRUNCATING = recipe_of("truncate")


def generated(folder, name, lengths, kind=None):
    """A shard of grids [K][S] that a truncating recipe made of rows of these lengths."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(len(name))
    rows = [random_row(random, TRUNCATING, n).tolist() for n in lengths]
    grids = [reference.delay(row, TRUNCATING) for row in rows]
    pq.write_table(pa.table({"codes": pa.array(grids, kind)}), path)
    (folder / "recipe.json").write_text(TRUNCATING.to_json())
    return rows


GENERATED = ("--recipe", "recipe.json", "--grid-column", "codes", "--audio-layout", "codebook")


def test_what_truncation_cut_off_generated_grids_is_told_before_anything_is_written(tmp_path):
    # Of rows without a frame nothing is lost; the first shard has no others.
    generated(tmp_path, "in/a.parquet", [0, 0])
    rows = generated(tmp_path, "in/b.parquet", [7, 2, 0, 1, 30])
    done = delaytool("revert", "in", "back", *GENERATED, cwd=tmp_path, status=1)
    lost = lost_of(rows)
    assert done.stderr.startswith(f"Error: b.parquet: truncation cut off {lost} tokens, which")
    assert "--allow-lossy" in done.stderr
    assert not (tmp_path / "back").exists()
    done = delaytool("revert", "in/a.parquet", "a.parquet", *GENERATED, cwd=tmp_path)
    assert "cut off" not in done.stdout


def test_what_is_left_of_generated_grids(tmp_path):
    text = pa.field("element", pa.int32(), nullable=False)
    kind = pa.list_(pa.field("element", pa.list_(text), nullable=False))
    rows = generated(tmp_path, "in/a.parquet", [7, 2, 0, 1, 30], kind)
    lossy = (*GENERATED, "--allow-lossy")
    done = delaytool("revert", "in", "back", *lossy, "--json", cwd=tmp_path)
    assert summary_of(done)["missing"] == lost_of(rows)
    back = pq.read_table(tmp_path / "back" / "a.parquet")["codes"].to_pylist()
    assert back == [reference.cut(row, TRUNCATING) for row in rows]
    done = delaytool("revert", "in", "again", *lossy, cwd=tmp_path)
    assert f"but {lost_of(rows)} tokens that had been cut off" in done.stdout


def test_a_generated_row_that_is_too_short_is_told_first(tmp_path):
    generated(tmp_path, "a.parquet", [3, 4])
    grids = pq.read_table(tmp_path / "a.parquet")["codes"].to_pylist()
    pq.write_table(pa.table({"codes": [*grids, [[]] * 5]}), tmp_path / "a.parquet")
    arguments = ("revert", "a.parquet", "back.parquet", *GENERATED)
    done = delaytool(*arguments, cwd=tmp_path, status=1)
    assert "a.parquet, row 2: 0 timesteps, expected at least the 1" in done.stderr


@pytest.mark.parametrize("lossy", [(), ("--allow-lossy",)])
def test_a_generated_shard_without_the_column_is_named(tmp_path, lossy):
    generated(tmp_path, "in/a.parquet", [0])
    pq.write_table(pa.table({"other": [1]}), tmp_path / "in" / "b.parquet")
    done = delaytool("revert", "in", "back", *GENERATED, *lossy, cwd=tmp_path, status=1)
    assert "Error: b.parquet: there is no column codes; there are other" in done.stderr


def test_a_record_that_hides_what_was_cut_off_is_not_believed(tmp_path):
    table = tokens_table()
    source, output = tmp_path / "a.parquet", tmp_path / "out.parquet"
    pq.write_table(table, source)
    recipe = dataclasses.replace(plain_recipe(3, (0, 0, 1, 2)), length="truncate")
    apply(source, output, job_on(table, recipe))
    record = Record.from_json(entry_of(output))
    lie = replace(record, counts=replace(record.counts, lost=0))
    rewrite(output, pq.read_table(output), lie.to_json())
    with pytest.raises(DataError, match=f"truncation cut off {record.counts.lost} tokens of it"):
        revert(output, tmp_path / "back.parquet")
    assert not (tmp_path / "back.parquet").exists()


def test_padding_that_truncation_cut_off_is_no_loss_of_the_source(tmp_path):
    uneven(tmp_path / "a.parquet", [0, -1, -3, -2])
    table = pq.read_table(tmp_path / "a.parquet")
    recipe = dataclasses.replace(plain_recipe(3, (2, 0, 1, 2)), length="truncate")
    apply(tmp_path / "a.parquet", tmp_path / "out.parquet", job_on(table, recipe, align="pad"))
    assert mismatches(tmp_path / "out.parquet", tmp_path / "a.parquet") == []
    revert(tmp_path / "out.parquet", tmp_path / "back.parquet", lossy=True)
    back = pq.read_table(tmp_path / "back.parquet")["text_tokens"].to_pylist()
    was, codes = table["text_tokens"].to_pylist(), table["audio_codes"].to_pylist()
    kept = [max(len(row[0]) - 2, 0) for row in codes]
    assert [line[:n] for line, n in zip(back, kept, strict=True)] == [
        line[:n] for line, n in zip(was, kept, strict=True)
    ]


def test_a_shard_without_an_entry_needs_a_recipe(tmp_path):
    pq.write_table(tokens_table(), tmp_path / "a.parquet")
    done = delaytool("revert", "a.parquet", "b.parquet", cwd=tmp_path, status=1)
    assert "there is no delaytool entry in the footer" in done.stderr
    assert "Give what apply wrote as OUTPUT, or say with --preset or --recipe" in done.stderr


def test_what_is_in_the_way_stays(paired):
    delaytool("apply", "text", "out", *PAIRED, cwd=paired)
    before = files_in(paired / "text")
    done = delaytool("revert", "out", "text", cwd=paired, status=1)
    assert "is in the way" in done.stderr
    assert files_in(paired / "text") == before
    for path in (paired / "codes").rglob("*.parquet"):
        pq.write_table(pq.read_table(path).slice(1), path)
    done = delaytool("revert", "out", "new", "--audio-output", "codes", cwd=paired, status=1)
    assert "is in the way" in done.stderr
    assert not (paired / "new").exists()


def test_a_changed_output_is_not_reverted(tmp_path):
    table = tokens_table()
    source, output = tmp_path / "a.parquet", tmp_path / "out.parquet"
    pq.write_table(table, source)
    apply(source, output, job_on(table, plain_recipe(3, (0, 0, 1, 2))))
    entry = pq.read_metadata(output).metadata[b"delaytool"]
    shifted = pq.read_table(output)
    scores = pa.array([0.0] * len(shifted))
    shifted = shifted.set_column(shifted.column_names.index("score"), "score", scores)
    with pq.ParquetWriter(output, shifted.schema) as writer:
        writer.write_table(shifted)
        writer.add_key_value_metadata({"delaytool": entry})
    with pytest.raises(DataError, match="column score: its rows are not those"):
        revert(output, tmp_path / "back.parquet")
    assert not (tmp_path / "back.parquet").exists()
