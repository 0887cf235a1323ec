"""verify finds every fault, with the source and without."""

import dataclasses
import json
import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from make import entry_of, finish, rewrite, tokens_job, tokens_table

from delaytool.apply import Item, apply_shard
from delaytool.job import Record
from delaytool.recipe import adapt
from delaytool.shards import Shard
from delaytool.verify import verify_shard

FAULTS = 240
WIDER = pa.list_(pa.list_(pa.int32()))


def verify(path, source=None, recipe=None):
    original = None if source is None else Shard("a.parquet", str(source))
    return finish(verify_shard(Shard("a.parquet", str(path)), original, None, recipe))


@pytest.fixture(params=["extend", "truncate"])
def shards(request, tmp_path):
    """A source, its output, and the job."""
    job = tokens_job(length=request.param, initial_step=True, final_weight=0.25)
    table = tokens_table(rows=14, longest=12)
    source, output = tmp_path / "source.parquet", tmp_path / "output.parquet"
    pq.write_table(table, source, row_group_size=4)
    finish(apply_shard(Item(Shard("a.parquet", str(source)), None, str(output)), job, False))
    return source, output, job


def test_a_good_shard_verifies(shards):
    source, output, job = shards
    for against in (None, source):
        verified = verify(output, against, job.recipe)
        assert verified.mismatches == []
        assert verified.rows == 14
        table = pq.read_table(source)
        assert verified.tokens == 4 * sum(len(row) for row in table["text_tokens"].to_pylist())


# Faults: each takes the output's rows as Python lists and changes one thing.


def any_cell(rows, dice, column):
    """A row, and one list of numbers in it with a place."""
    row = dice.choice(rows)
    line = row[column] if column.startswith("text") else dice.choice(row[column])
    return line, dice.randrange(len(line))


def change_text(rows, dice):
    line, i = any_cell(rows, dice, "text_tokens")
    line[i] = dice.choice([x for x in (-1, 0, 1, 2, 3, 4, 31999, 32000) if x != line[i]])


def change_code(rows, dice):
    line, i = any_cell(rows, dice, "audio_codes")
    line[i] = dice.choice([x for x in (-1, 0, 7, 2047, 2048, 2049) if x != line[i]])


def change_fill(rows, dice):
    row = dice.choice(rows)
    line = dice.choice([row["text_tokens"], *row["audio_codes"]])
    line[0] -= dice.choice([1, 2, 5])


def change_text_weight(rows, dice):
    line, i = any_cell(rows, dice, "text_loss_weights")
    line[i] = dice.choice([x for x in (0.0, 0.5, 1.0, 2.0, -0.0) if str(x) != str(line[i])])


def change_audio_weight(rows, dice):
    line, i = any_cell(rows, dice, "audio_loss_weights")
    line[i] = float(np.nextafter(np.float32(line[i]), np.float32(1000)))


def weight_not_a_number(rows, dice):
    line, i = any_cell(rows, dice, "audio_loss_weights")
    line[i] = float("nan")


def null_token(rows, dice):
    line, i = any_cell(rows, dice, "audio_codes")
    line[i] = None


def shorter_everywhere(rows, dice):
    row = dice.choice([row for row in rows if len(row["text_tokens"]) > 4])
    for name in ("text_tokens", "text_loss_weights"):
        row[name].pop()
    for name in ("audio_codes", "audio_loss_weights"):
        for line in row[name]:
            line.pop()


def longer_everywhere(rows, dice):
    row = dice.choice(rows)
    for name in ("text_tokens", "text_loss_weights"):
        row[name].insert(1, row[name][1])
    for name in ("audio_codes", "audio_loss_weights"):
        for line in row[name]:
            line.insert(1, line[1])


def shorter_column(rows, dice):
    row = dice.choice(rows)
    name = dice.choice(["text_tokens", "text_loss_weights"])
    row[name].pop()


def shorter_codebook(rows, dice):
    row = dice.choice(rows)
    dice.choice(row[dice.choice(["audio_codes", "audio_loss_weights"])]).pop()


def codebook_gone(rows, dice):
    dice.choice(rows)["audio_codes"].pop(dice.randrange(3))


def codebooks_swapped(rows, dice):
    codes = dice.choice([row for row in rows if len(row["text_tokens"]) > 5])["audio_codes"]
    codes[1], codes[2] = codes[2], codes[1]


def row_gone(rows, dice):
    rows.pop(dice.randrange(len(rows)))


def row_twice(rows, dice):
    rows.insert(dice.randrange(len(rows)), dict(dice.choice(rows)))


def rows_swapped(rows, dice):
    i, j = dice.sample(range(len(rows)), 2)
    rows[i], rows[j] = rows[j], rows[i]


def change_passed_through(rows, dice):
    row = dice.choice(rows)
    name = dice.choice(["id", "speaker", "score", "tags"])
    row[name] = {"id": "other", "speaker": "eve", "score": 0.125, "tags": ["x"]}[name]


def null_passed_through(rows, dice):
    row = dice.choice([row for row in rows if row["speaker"]])
    row[dice.choice(["id", "speaker", "score", "tags"])] = None


def tokens_of_two_rows_swapped(rows, dice):
    i, j = dice.sample(range(len(rows)), 2)
    for name in ("text_tokens", "audio_codes", "text_loss_weights", "audio_loss_weights"):
        rows[i][name], rows[j][name] = rows[j][name], rows[i][name]


KINDS = [
    change_text, change_code, change_fill, change_text_weight, change_audio_weight,
    weight_not_a_number, null_token, shorter_everywhere, longer_everywhere, shorter_column,
    shorter_codebook, codebook_gone, codebooks_swapped, row_gone, row_twice, rows_swapped,
    change_passed_through, null_passed_through, tokens_of_two_rows_swapped,
]  # fmt: skip


def test_random_faults_are_all_found(shards, tmp_path):
    source, output, _ = shards
    entry, table = entry_of(output), pq.read_table(output)
    for seed in range(FAULTS // 2):
        dice = random.Random(seed)
        rows = table.to_pylist()
        kind = KINDS[seed % len(KINDS)]
        kind(rows, dice)
        changed = pa.Table.from_pylist(rows, table.schema)
        assert repr(changed.to_pylist()) != repr(table.to_pylist()), "the fault changes something"
        path = tmp_path / "faulty.parquet"
        rewrite(path, changed, entry)
        for against in (None, source):
            verified = verify(path, against)
            assert verified.count, f"{kind.__name__} with seed {seed}, source {against}"
            for mismatch in verified.mismatches:
                assert mismatch.place.shard == "a.parquet"
            told = [m.place.column or m.place.stream or m.what for m in verified.mismatches]
            assert any(told), verified.mismatches


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
    other = adapt(job.recipe, text_padding=2)
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


def test_another_recipe_than_the_demanded_one_is_found(shards):
    _, output, job = shards
    verified = verify(output, recipe=adapt(job.recipe, semantic_weight=1.0))
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
