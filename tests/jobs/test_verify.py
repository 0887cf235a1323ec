"""verify finds every fault, with the source and without."""

import dataclasses
import json
import random
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from make import entry_of, finish, job_on, rewrite, table_of, tokens_job, tokens_table

from delaytool.batches.layouts import FRAME
from delaytool.jobs.apply import ApplyShard
from delaytool.jobs.mixed import compare_with_first
from delaytool.jobs.paths import Item
from delaytool.jobs.verify import VerifyShard
from delaytool.recipes.adapt import (
    with_acoustic_delay,
    with_audio,
    with_offset,
    with_text,
    with_weights,
)
from delaytool.recipes.presets import plain_recipe
from delaytool.shards.find import Shard
from delaytool.shards.record import Reason, Record

WIDER = pa.list_(pa.list_(pa.int32()))


def verify(path, source=None, recipe=None):
    original = None if source is None else Shard("a.parquet", str(source))
    return finish(VerifyShard(Shard("a.parquet", str(path)), original, None, recipe).run())


def make_shards(folder, length, table, offsets=(0, 0, 0, 0), **where):
    """A source, its output, and the job."""
    recipe = with_audio(plain_recipe(3, (0, 0, 1, 2)), card=2049, padding=2048)
    recipe = with_weights(recipe, final=0.25)
    recipe = dataclasses.replace(recipe, length=length, initial_step=True)
    for stream, offset in zip(recipe.streams, offsets, strict=True):
        recipe = with_offset(recipe, stream.name, offset)
    job = job_on(table, recipe, key="id", **where)
    source, output = folder / "source.parquet", folder / "output.parquet"
    pq.write_table(table, source, row_group_size=4)
    finish(ApplyShard(Item(Shard("a.parquet", str(source)), None, str(output)), job, False).run())
    return source, output, job


@pytest.fixture(params=["extend", "truncate"])
def shards(request, tmp_path):
    """A source, its output, and the job."""
    job = tokens_job(length=request.param, initial_step=True)
    recipe = with_audio(job.recipe, padding=7)
    job = dataclasses.replace(job, recipe=with_weights(recipe, final=0.25))
    table = tokens_table(rows=14, longest=12)
    source, output = tmp_path / "source.parquet", tmp_path / "output.parquet"
    pq.write_table(table, source, row_group_size=4)
    finish(ApplyShard(Item(Shard("a.parquet", str(source)), None, str(output)), job, False).run())
    return source, output, job


def test_a_good_shard_verifies(shards):
    source, output, job = shards
    for against in (None, source):
        verified = verify(output, against, job.recipe)
        assert verified.mismatches == []
        assert verified.rows == 14
        table = pq.read_table(source)
        assert verified.tokens == 4 * sum(len(row) for row in table["text_tokens"].to_pylist())


# Faults: each takes a table, or its rows as Python lists, and changes one thing


def lists_of(row, names):
    """Every list of numbers in these columns of a row, however deep."""
    found = []
    for name in names:
        values = row[name]
        found += values if values and isinstance(values[0], list) else [values]
    return [line for line in found if line]


def any_cell(rows, dice, names):
    """A list of numbers of some row, and a place in it."""
    lines = lists_of(dice.choice([row for row in rows if lists_of(row, names)]), names)
    line = dice.choice(lines)
    return line, dice.randrange(len(line))


class Faults:
    """What can be wrong with an output: one method each, called with rows and dice."""

    def __init__(self, job):
        self.tokens = [output.name for output in job.outputs]
        self.weights = [output.weights for output in job.outputs if output.weights]
        self.labels = [output.labels for output in job.outputs if output.labels]

    def token(self, rows, dice):
        line, i = any_cell(rows, dice, self.tokens)
        line[i] = dice.choice([x for x in (-2, -1, 0, 1, 3, 7, 2047, 2048, 3000) if x != line[i]])

    def first_cell(self, rows, dice):
        line, _ = any_cell(rows, dice, self.tokens)
        line[0] -= dice.choice([1, 2, 5])

    def last_cell(self, rows, dice):
        line, _ = any_cell(rows, dice, self.tokens)
        line[-1] += dice.choice([-1, 1])

    def neighbours(self, rows, dice):
        line, i = any_cell(rows, dice, self.tokens)
        if len(set(line)) == 1:
            return self.token(rows, dice)
        j = next(j for j in range(len(line)) if line[j] != line[i])
        line[i], line[j] = line[j], line[i]
        return None

    def weight(self, rows, dice):
        line, i = any_cell(rows, dice, self.weights)
        line[i] = dice.choice([x for x in (0.0, 0.5, 1.0, 2.0, -0.0) if str(x) != str(line[i])])

    def weight_nearly(self, rows, dice):
        line, i = any_cell(rows, dice, self.weights)
        line[i] = float(np.nextafter(np.float32(line[i]), np.float32(1000)))

    def weight_not_a_number(self, rows, dice):
        line, i = any_cell(rows, dice, self.weights)
        line[i] = dice.choice([float("nan"), float("inf")])

    def label(self, rows, dice):
        line, i = any_cell(rows, dice, self.labels or self.tokens)
        line[i] = dice.choice([x for x in (-100, -1, 0, 5, 2048) if x != line[i]])

    def null_cell(self, rows, dice):
        line, i = any_cell(rows, dice, self.tokens + self.weights + self.labels)
        line[i] = None

    def null_row(self, rows, dice):
        dice.choice(rows)[dice.choice(self.tokens + self.weights)] = None

    def shorter_line(self, rows, dice):
        any_cell(rows, dice, self.tokens + self.weights)[0].pop()

    def longer_line(self, rows, dice):
        line, i = any_cell(rows, dice, self.tokens + self.weights)
        line.insert(i, line[i])

    def list_gone(self, rows, dice):
        nested = [name for name in self.tokens if isinstance(rows[0][name][0], list)]
        row = dice.choice([row for row in rows if row[nested[0]]])
        row[nested[0]].pop(dice.randrange(len(row[nested[0]])))

    def lists_swapped(self, rows, dice):
        name = next(n for n in self.tokens if isinstance(rows[0][n][0], list))
        rows = [row for row in rows if any(x != row[name][0] for x in row[name])]
        lists = dice.choice(rows)[name]
        j = next(j for j in range(len(lists)) if lists[j] != lists[0])
        lists[0], lists[j] = lists[j], lists[0]

    def row_gone(self, rows, dice):
        rows.pop(dice.randrange(len(rows)))

    def row_twice(self, rows, dice):
        rows.insert(dice.randrange(len(rows)), dict(dice.choice(rows)))

    def rows_swapped(self, rows, dice):
        i, j = dice.sample(range(len(rows)), 2)
        rows[i], rows[j] = rows[j], rows[i]

    def tokens_of_two_rows_swapped(self, rows, dice):
        i, j = dice.sample(range(len(rows)), 2)
        for name in self.tokens + self.weights + self.labels:
            rows[i][name], rows[j][name] = rows[j][name], rows[i][name]

    def other_value(self, rows, dice):
        name = dice.choice(["id", "speaker", "score", "tags"])
        value = {"id": "other", "speaker": "eve", "score": 0.125, "tags": ["x"]}[name]
        dice.choice(rows)[name] = value

    def null_value(self, rows, dice):
        row = dice.choice([row for row in rows if row["speaker"]])
        row[dice.choice(["id", "speaker", "score", "tags"])] = None


KINDS = [name for name in vars(Faults) if not name.startswith("_")]


def other_schema(table, dice):
    """A table of the same rows with something else about its columns."""
    i = dice.randrange(table.num_columns)
    field = table.schema.field(i)
    note = {"note": str(dice.random())}
    return dice.choice(
        [
            lambda: table.cast(table.schema.set(i, field.with_metadata(note))),
            lambda: table.replace_schema_metadata(note),
            lambda: table.rename_columns(
                [name + "_" * (j == i) for j, name in enumerate(table.column_names)]
            ),
            lambda: table.drop_columns([field.name]),
            lambda: (
                table.select([field.name, *(n for n in table.column_names if n != field.name)])
                if i
                else table.select(table.column_names[::-1])
            ),
            lambda: table.append_column(f"more{i}", pa.nulls(len(table))),
            lambda: table.set_column(i, field.name, wider(table[field.name])),
            lambda: table.slice(0, dice.randrange(len(table))),
        ]
    )()


def wider(column):
    """The same values in another type."""
    kind = column.type
    if pa.types.is_string(kind):
        return column.cast(pa.large_string())
    if pa.types.is_list(kind):
        return column.cast(pa.large_list(kind.value_field))
    return column.cast(pa.float32()) if pa.types.is_float64(kind) else column.cast(pa.string())


def other_figures(figures, dice):
    """The same figures but for one."""
    name = dice.choice([field.name for field in dataclasses.fields(figures)])
    if name != "weights":
        return dataclasses.replace(figures, **{name: getattr(figures, name) + 1})
    weights = list(figures.weights)
    weights[dice.randrange(len(weights))] += Fraction(1, 2)
    return dataclasses.replace(figures, weights=tuple(weights))


def other_entry(entry, dice):
    """An entry in which something else is said, by someone who knows how to sign it."""
    record = Record.from_json(entry)
    name = dice.choice([field.name for field in dataclasses.fields(record.counts)])
    counts = {name: getattr(record.counts, name) + dice.choice([1, 2, 1000])}
    column = dice.choice(list(record.digests.columns))
    digests = {**record.digests.columns, column: "0" * 64}
    recipe = with_text(record.job.recipe, padding=dice.choice([1, 2, 4, 5]))
    semantic = with_weights(record.job.recipe, semantic=dice.choice([1.0, 99.0]))
    change = dice.choice(
        [
            {"counts": dataclasses.replace(record.counts, **counts)},
            {"figures": other_figures(record.figures, dice)},
            {"reasons": (Reason("null", "text_tokens", 1),)},
            {"digests": dataclasses.replace(record.digests, columns=digests)},
            {"digests": dataclasses.replace(record.digests, schema=column)},
            {"job": dataclasses.replace(record.job, recipe=recipe)},
            {"job": dataclasses.replace(record.job, recipe=semantic)},
            {"padded": (((dice.randrange(9), 1),),)},
            {"quarantined": ((dice.randrange(9), 1),)},
        ]
    )
    return dataclasses.replace(record, **change).to_json()


TABLES = [
    ("extend", {}),
    ("truncate", {}),
    ("extend", {"label_columns": True, "frame": True}),
    ("truncate", {"label_columns": True, "output_layout": "grid"}),
    ("extend", {"offsets": (0, 3, -2, 1), "narrow": True}),
    ("truncate", {"offsets": (2, 0, 1, -3), "label_columns": True}),
]


@pytest.mark.parametrize(("length", "where"), TABLES)
def test_random_faults_are_all_found(tmp_path, length, where, times):
    where = dict(where)
    table = tokens_table(rows=14, longest=12)
    if where.pop("frame", False):
        codes = [
            [list(f) for f in zip(*row, strict=True)] for row in table["audio_codes"].to_pylist()
        ]
        i = table.column_names.index("audio_codes")
        table = table.set_column(i, "audio_codes", pa.array(codes, pa.list_(pa.list_(pa.int16()))))
    source, output, job = make_shards(tmp_path, length, table, **where)
    assert verify(output).count == verify(output, source).count == 0
    entry, shifted = entry_of(output), pq.read_table(output)
    faults, path = Faults(job), tmp_path / "faulty.parquet"
    before = repr(shifted.to_pylist())
    for seed in range(times(40, 250)):
        dice = random.Random(seed)
        kind = dice.choice([*KINDS, "schema", "entry", "entry"])
        changed, said = shifted, entry
        if kind == "schema":
            changed = other_schema(shifted, dice)
        elif kind == "entry":
            said = other_entry(entry, dice)
        else:
            rows = shifted.to_pylist()
            getattr(faults, kind)(rows, dice)
            changed = table_of(rows, shifted.schema)
            assert repr(changed.to_pylist()) != before, "the fault changes something"
        rewrite(path, changed, said)
        for against in (None, source) if seed % 4 == 0 else (None,):
            verified = verify(path, against)
            assert verified.count, f"{kind} with seed {seed}, source {against}"
            assert all(m.place.shard == "a.parquet" for m in verified.mismatches)


def test_a_fault_is_told_with_its_place(shards, tmp_path):
    source, output, _ = shards
    table = pq.read_table(output)
    rows = table.to_pylist()
    rows[5]["audio_codes"][1][0] = 7
    rows[6]["audio_loss_weights"][0][0] = 3.0
    path = tmp_path / "faulty.parquet"
    rewrite(path, pa.Table.from_pylist(rows, table.schema), entry_of(output))
    for against in (None, source):
        fill, weight = verify(path, against).mismatches
        assert fill.to_dict() == {
            "shard": "a.parquet",
            "row": 5,
            "stream": "acoustic_1",
            "timestep": 0,
            "expected": 2048,
            "found": 7,
            "what": "fill token, column audio_codes",
        }
        assert "row 5 (id 'utt-5')" in str(fill)
        assert (weight.place.row, weight.place.stream, weight.place.timestep) == (6, "semantic", 0)


def test_with_a_source_a_wrong_token_is_told_with_its_place(shards, tmp_path):
    source, output, _ = shards
    table = pq.read_table(output)
    rows = table.to_pylist()
    row = next(i for i, row in enumerate(rows) if len(row["text_tokens"]) > 6)
    # Delay 1 and the initial step: frame 2 of acoustic_1 is at timestep 4.
    was = rows[row]["audio_codes"][1][4]
    rows[row]["audio_codes"][1][4] = was - 1
    path = tmp_path / "faulty.parquet"
    rewrite(path, pa.Table.from_pylist(rows, table.schema), entry_of(output))
    (mismatch,) = [m for m in verify(path, source).mismatches if m.what == "token"]
    assert mismatch.place.row == row
    assert (mismatch.place.stream, mismatch.place.timestep) == ("acoustic_1", 4)
    assert (mismatch.expected, mismatch.found) == (was, was - 1)
    (digest,) = [m for m in verify(path).mismatches if m.what == "digest"]
    assert digest.place.column == "audio_codes"


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.set_column(3, "audio_codes", t["audio_codes"].cast(WIDER)),
        lambda t: t.rename_columns(["key", *t.column_names[1:]]),
        lambda t: t.select(t.column_names[::-1]),
        lambda t: t.drop_columns(["audio_loss_weights"]),
        lambda t: t.append_column("more", pa.nulls(len(t))),
        lambda t: t.replace_schema_metadata({"license": "none"}),
        lambda t: t.set_column(0, pa.field("id", pa.string(), nullable=False), t["id"]),
        lambda t: t.slice(0, 0),
    ],
)  # fmt: skip
def test_another_schema_or_no_rows_are_found(shards, tmp_path, change):
    source, output, _ = shards
    path = tmp_path / "faulty.parquet"
    rewrite(path, change(pq.read_table(output)), entry_of(output))
    assert verify(path).count
    assert verify(path, source).count


def test_a_record_that_lies_is_found(shards, tmp_path):
    source, output, job = shards
    table, record = pq.read_table(output), Record.from_json(entry_of(output))
    path = tmp_path / "faulty.parquet"
    other = with_text(job.recipe, padding=2)
    lies = [
        dataclasses.replace(record, job=dataclasses.replace(record.job, recipe=other)),
        *[
            dataclasses.replace(
                record,
                counts=dataclasses.replace(
                    record.counts, **{field.name: getattr(record.counts, field.name) + 1}
                ),
            )
            for field in dataclasses.fields(record.counts)
        ],
        *[
            dataclasses.replace(record, figures=other_figures(record.figures, random.Random(i)))
            for i in range(20)
        ],
        *[
            dataclasses.replace(
                record,
                digests=dataclasses.replace(
                    record.digests, columns={**record.digests.columns, name: "0" * 64}
                ),
            )
            for name in record.digests.columns
        ],
        dataclasses.replace(record, digests=dataclasses.replace(record.digests, columns={})),
        dataclasses.replace(record, digests=dataclasses.replace(record.digests, schema="")),
        dataclasses.replace(
            record, sources=(dataclasses.replace(record.sources[0], schema="////"),)
        ),
    ]
    for lie in lies:
        rewrite(path, table, lie.to_json())
        assert verify(path).count
        assert verify(path, source).count
    changed = json.loads(record.to_json())
    changed["counts"]["rows_in"] += 1
    rewrite(path, table, json.dumps(changed))
    assert "checksum" in str(verify(path).mismatches[0])
    rewrite(path, table, None)
    assert verify(path).mismatches[0].what == "record"


def test_reasons_that_lie_are_found(tmp_path):
    table = tokens_table(rows=30, longest=12)
    rows = table.to_pylist()
    for row in (3, 4, 20):
        rows[row]["audio_codes"][1][0] = 5000 + row
    rows[11]["text_tokens"] = None
    table = pa.Table.from_pylist(rows, table.schema)
    source, output = tmp_path / "source.parquet", tmp_path / "output.parquet"
    pq.write_table(table, source, row_group_size=4)
    item = Item(Shard("a.parquet", str(source)), None, str(output), str(tmp_path / "aside.parquet"))
    finish(ApplyShard(item, tokens_job(), False).run())
    record = Record.from_json(entry_of(output))
    token, null = Reason("token", "audio_codes", 3), Reason("null", "text_tokens", 1)
    assert record.reasons == (token, null)
    assert verify(output, source).count == 0
    shifted, path = pq.read_table(output), tmp_path / "faulty.parquet"
    four, other = dataclasses.replace(token, rows=4), Reason("other", None, 1)
    for reasons in ((), (four,), (token,), (token, other)):
        rewrite(path, shifted, dataclasses.replace(record, reasons=reasons).to_json())
        (mismatch,) = verify(path, source).mismatches
        assert "reason" in mismatch.what
        # Without the bad rows, only their number is known.
        assert verify(path).count == (sum(reason.rows for reason in reasons) != 4)


def lying(record, counts, **more):
    """A record with these counts changed."""
    return dataclasses.replace(record, counts=dataclasses.replace(record.counts, **counts), **more)


def long_text(more):
    """A table whose text is longer than its codes by so many tokens, row by row."""
    table = tokens_table(rows=len(more), longest=12)
    text = [
        [*line[:-1], 3, *[7] * extra]
        for line, extra in zip(table["text_tokens"].to_pylist(), more, strict=True)
    ]
    column = pa.array(text, pa.list_(pa.int32()))
    return table.set_column(table.column_names.index("text_tokens"), "text_tokens", column)


@pytest.mark.parametrize("length", ["extend", "truncate"])
def test_what_alignment_trimmed_is_counted_in_the_source(tmp_path, length):
    source, output, _ = make_shards(tmp_path, length, long_text([0, 2, 0, 1, 5]), align="trim")
    record = Record.from_json(entry_of(output))
    assert record.counts.trimmed == 8
    assert verify(output, source).count == 0
    assert verify(output, source).trimmed == verify(output).trimmed == 8
    assert verify(output, source).lost == verify(output).lost == record.counts.lost
    shifted, path = pq.read_table(output), tmp_path / "faulty.parquet"
    for trimmed in (0, 7, 9):
        rewrite(path, shifted, lying(record, {"trimmed": trimmed}).to_json())
        verified = verify(path, source)
        (mismatch,) = verified.mismatches
        assert mismatch.what == "count of trimmed"
        assert (mismatch.expected, mismatch.found) == (trimmed, 8)
        assert (verified.trimmed, verified.lost) == (8, record.counts.lost)


@pytest.mark.parametrize("align", ["error", "trim"])
def test_what_no_alignment_padded_is_a_lie(tmp_path, align):
    """The last token of each row is one of padding, but the source's own."""
    source, output, _ = make_shards(tmp_path, "extend", long_text([0] * 5), align=align)
    record = Record.from_json(entry_of(output))
    assert verify(output, source).count == 0
    path = tmp_path / "faulty.parquet"
    lie = lying(record, {"padded": 1}, padded=(((2, 1),),))
    rewrite(path, pq.read_table(output), lie.to_json())
    for against in (None, source):
        assert "count of padded" in [mismatch.what for mismatch in verify(path, against).mismatches]


@pytest.mark.parametrize("padded", [((2, 0),), ((99, 1),), ((4, 1), (2, 1)), ((2, 1), (2, 1))])
def test_rows_that_cannot_be_padded(tmp_path, padded):
    source, output, _ = make_shards(tmp_path, "extend", long_text([0] * 5), align="pad")
    record = dataclasses.replace(Record.from_json(entry_of(output)), padded=(padded,))
    path = tmp_path / "faulty.parquet"
    rewrite(path, pq.read_table(output), record.to_json())
    for against in (None, source):
        (mismatch,) = verify(path, against).mismatches
        assert "padded" in str(mismatch.found)


def test_padding_that_is_the_sources_own_is_found_with_it(tmp_path):
    """Nothing but the source tells text that ends in padding from text that was padded."""
    source, output, _ = make_shards(tmp_path, "extend", long_text([0] * 5), align="pad")
    record = Record.from_json(entry_of(output))
    table = pq.read_table(source)
    text = [
        line[: len(line) - (row == 2)] for row, line in enumerate(table["text_tokens"].to_pylist())
    ]
    i = table.column_names.index("text_tokens")
    shorter = table.set_column(i, "text_tokens", pa.array(text, pa.list_(pa.int32())))
    pq.write_table(shorter, tmp_path / "shorter.parquet", row_group_size=4)
    item = Item(Shard("a", str(tmp_path / "shorter.parquet")), None, str(tmp_path / "padded"))
    finish(ApplyShard(item, record.job, False).run())
    forged = Record.from_json(entry_of(tmp_path / "padded"))
    assert forged.padded == (((2, 1),),)
    path = tmp_path / "faulty.parquet"
    lie = dataclasses.replace(forged, sources=record.sources)
    rewrite(path, pq.read_table(output), lie.to_json())
    assert verify(path).count == 0
    assert {m.what for m in verify(path, source).mismatches} >= {"frames"}


def test_rows_in_quarantine_that_the_source_does_not_have(shards, tmp_path):
    source, output, _ = shards
    record = Record.from_json(entry_of(output))
    names = [*record.digests.columns, "reason"]
    lie = lying(
        record,
        {"rows_in": 16, "quarantined": 2},
        quarantined=((14, 2),),
        reasons=(Reason("null", "text_tokens", 2),),
        digests=dataclasses.replace(record.digests, quarantined=dict.fromkeys(names, "0" * 64)),
    )
    path = tmp_path / "faulty.parquet"
    rewrite(path, pq.read_table(output), lie.to_json())
    assert verify(path).count == 0, "nobody knows without the source"
    assert "count of rows_in" in [m.what for m in verify(path, source).mismatches]


def test_a_reason_of_no_row_is_a_broken_record(shards, tmp_path):
    _, output, _ = shards
    record = Record.from_json(entry_of(output))
    lie = dataclasses.replace(record, reasons=(Reason("null", "text_tokens", 0),))
    path = tmp_path / "faulty.parquet"
    rewrite(path, pq.read_table(output), lie.to_json())
    assert "a reason of no row" in str(verify(path).mismatches[0])


@pytest.mark.parametrize("number", [0, 1])
def test_an_output_in_which_only_one_column_has_weights(shards, tmp_path, number):
    _, output, job = shards
    table, record = pq.read_table(output), Record.from_json(entry_of(output))
    outputs = list(job.outputs)
    outputs[number] = dataclasses.replace(outputs[number], weights=None)
    record = dataclasses.replace(
        record,
        job=dataclasses.replace(job, outputs=tuple(outputs)),
        figures=dataclasses.replace(record.figures, weights=()),
    )
    table = table.drop_columns([job.outputs[number].weights])
    rewrite(tmp_path / "a.parquet", table, record.to_json())
    assert verify(tmp_path / "a.parquet").mismatches == []


def test_another_recipe_than_the_demanded_one_is_found(shards):
    _, output, job = shards
    verified = verify(output, recipe=with_weights(job.recipe, semantic=1.0))
    (mismatch,) = verified.mismatches
    assert (mismatch.what, mismatch.expected, mismatch.found) == ("recipe, weight", 1.0, 100.0)
    assert mismatch.place.stream == "semantic"


def test_another_source_is_found(shards, tmp_path):
    source, output, _ = shards
    other = tmp_path / "other.parquet"
    table = pq.read_table(source)
    for changed in (table.slice(1), table.slice(0, 13), pa.concat_tables([table, table])):
        pq.write_table(changed, other)
        assert verify(output, other).count
    pq.write_table(table, other, row_group_size=3, compression="gzip")
    assert verify(output, other).count == 0, "the same rows in other row groups are the same"


def test_files_that_are_no_shards_are_mismatches(tmp_path):
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1 nothing here PAR1")
    (mismatch,) = verify(path).mismatches
    assert mismatch.what == "reading"
    assert mismatch.place.shard == "a.parquet"


# Shards of one folder


def compared(folder, jobs):
    """What comparing shards finds that were made with these jobs, by their names."""
    source, shards = Shard("x.parquet", str(folder / "source.parquet")), []
    pq.write_table(tokens_table(), source.path)
    for name, job in jobs.items():
        shards.append(Shard(name, str(folder / name)))
        finish(ApplyShard(Item(source, None, shards[-1].path), job, False).run())
    results = [finish(VerifyShard(shard, None, None, None).run()) for shard in shards]
    assert [result.mismatches for result in results] == [[]] * len(jobs)
    found = compare_with_first(shards, results)
    return [str(mismatch) for mismatch in found.mismatches], found.count


def test_shards_made_alike(tmp_path):
    job = tokens_job()
    others = dataclasses.replace(job, key=None), dataclasses.replace(job, align="pad")
    jobs = dict(zip(("a.parquet", "b.parquet", "c.parquet"), (job, *others), strict=True))
    assert compared(tmp_path, jobs) == ([], 0)
    assert compare_with_first([], []).count == 0


RECIPE = tokens_job().recipe


@pytest.mark.parametrize(
    ("recipe", "where", "lines"),
    [
        (
            with_acoustic_delay(RECIPE, 3),
            {},
            ["stream acoustic_1: recipe, delay, other than in a.parquet: found 3, expected 1"],
        ),
        (
            dataclasses.replace(RECIPE, length="truncate"),
            {},
            ["recipe, length, other than in a.parquet: found truncate"],
        ),
        (
            with_weights(RECIPE, semantic=7.0),
            {},
            ["stream semantic: recipe, weight, other than in a.pa"],
        ),
        (
            RECIPE,
            {"weights": False},
            ["output columns, other than in a.parquet: found text_tokens, au"],
        ),
        (
            RECIPE,
            {"label_columns": True},
            ["output columns, other than in a.parquet: found text_tokens, text_"],
        ),
        (RECIPE, {"narrow": True}, ["narrow, other than in a.parquet: found True, expected False"]),
        (
            RECIPE,
            {"output_layout": "grid"},
            ["output columns, other than in a.parquet: found codes, loss_w"],
        ),
        (
            dataclasses.replace(RECIPE, dep_q=1, initial_step=True),
            {},
            ["recipe, dep_q, other than in", "recipe, initial_step, other than in"],
        ),
    ],
)
def test_shards_made_otherwise_than_the_first(tmp_path, recipe, where, lines):
    job, table = tokens_job(), tokens_table()
    other = job_on(table, recipe, key="id", **where)
    jobs = {"a.parquet": job, "b.parquet": other, "c.parquet": job, "d.parquet": other}
    found, count = compared(tmp_path, jobs)
    for line in lines:
        assert any(each.startswith("b.parquet, ") or "b.parquet: " in each for each in found)
        assert any(line in each for each in found), found
    assert not any("d.parquet" in each for each in found), "one shard of each way is told"
    assert count == len(found) + 1


def test_another_layout_is_another_way(tmp_path):
    job = tokens_job()
    outputs = job.outputs[0], dataclasses.replace(job.outputs[1], layout=FRAME)
    (found,), count = compared(
        tmp_path, {"a.parquet": job, "b.parquet": dataclasses.replace(job, outputs=outputs)}
    )
    where = "b.parquet, column audio_codes: output, layout, other than in a.parquet"
    assert (found, count) == (f"{where}: found frame, expected codebook", 1)


def test_few_of_many_ways_are_told(tmp_path):
    jobs = {
        f"{number:02}.parquet": tokens_job(delays=(0, *[number] * 3), initial_step=number > 0)
        for number in range(15)
    }
    found, count = compared(tmp_path, jobs)
    assert {line.split(",")[0].split(":")[0] for line in found} == {
        f"{number:02}.parquet" for number in range(1, 11)
    }
    assert count == 10 * 4 + 4


def test_a_shard_without_a_record_is_not_compared(tmp_path):
    job = tokens_job()
    shards = [Shard(name, str(tmp_path / name)) for name in ("a.parquet", "b.parquet", "c.parquet")]
    pq.write_table(tokens_table(), shards[0].path)
    for shard in shards[1:]:
        finish(ApplyShard(Item(shards[0], None, shard.path), job, False).run())
    results = [finish(VerifyShard(shard, None, None, None).run()) for shard in shards]
    assert results[0].count
    assert compare_with_first(shards, results).count == 0
