"""Text and codes in shards of their own: rows go together by a key that both have, or by order."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from make import PLAIN, delaytool, finish, summary_of, tokens_table

from delaytool.batches.column_options import ColumnOptions
from delaytool.errors import DataError
from delaytool.jobs.apply import ApplyShard
from delaytool.jobs.paths import Item
from delaytool.jobs.plan import plan
from delaytool.jobs.revert import RevertShard
from delaytool.jobs.verify import VerifyShard
from delaytool.recipes.presets import plain_recipe
from delaytool.shards.find import Shard
from delaytool.shards.pairs import ORDER_ALONE
from delaytool.shards.read import open_shard, read_record

RECIPE = plain_recipe(3, (0, 0, 1, 2))
ROWS = 12
IDS = [f"utt-{row}" for row in range(ROWS)]
TYPES = {
    "strings": (pa.string(), pa.large_string()),
    "dictionary": (pa.string(), pa.dictionary(pa.int8(), pa.string())),
    "integers": (pa.int32(), pa.uint64()),
    "timestamps": (pa.timestamp("ms"), pa.timestamp("ms")),
}


def pair_in(folder, name, text_keys, codes_keys):
    """A shard of text and one of codes with these columns of keys, and where they go to."""
    table = tokens_table(rows=ROWS, seed=len(name))
    for part, column, keys in (
        ("text", "text_tokens", text_keys),
        ("codes", "audio_codes", codes_keys),
    ):
        path = folder / part / name
        path.parent.mkdir(exist_ok=True)
        pq.write_table(pa.table({**keys, column: table[column]}), path, row_group_size=5)
    paths = (str(folder / part / name) for part in ("text", "codes", "out"))
    text, codes, target = paths
    return Item(Shard(name, text), Shard(name, codes), target)


def job_of(items, **where):
    return plan(items, RECIPE, ColumnOptions(**where), False).job


def apply(items, **where):
    job = job_of(items, **where)
    for item in items:
        finish(ApplyShard(item, job, False).run())


def error_of(items, **where):
    with pytest.raises(DataError) as raised:
        apply(items, **where)
    return raised.value


def comes_back(item):
    """Whether an output verifies with its sources and gives both of them back."""
    output = Shard(item.shard.name, item.target)
    verified = finish(VerifyShard(output, item.shard, item.codes, None).run())
    assert verified.mismatches == []
    backs = [f"{item.target}-{part}" for part in ("text", "codes")]
    finish(RevertShard(output, *backs, None, False, False).run())
    for source, back in zip((item.shard, item.codes), backs, strict=True):
        assert pq.read_table(source.path).equals(pq.read_table(back), check_metadata=True)
    return True


@pytest.mark.parametrize("key", [None, "id", "utt"])
@pytest.mark.parametrize("lacking", ["text", "codes"])
def test_a_key_that_one_shard_lacks(tmp_path, lacking, key):
    has, lacks = {key or "id": IDS}, {"other": IDS[::-1]}
    item = pair_in(tmp_path, "a", *((lacks, has) if lacking == "text" else (has, lacks)))
    error = error_of([item], key=key)
    assert error.kind == "missing-key"
    assert error.place.shard == ("a" if lacking == "text" else "the codes of a")
    assert "`no_key=True`" in error.advice
    apply([item], by_order=True)
    assert comes_back(item)


def test_a_key_that_both_shards_lack(tmp_path):
    item = pair_in(tmp_path, "a", {"one": IDS}, {"other": IDS})
    assert error_of([item], key="id").kind == "missing-key"
    assert plan([item], RECIPE, ColumnOptions(), False).notes == [ORDER_ALONE]
    assert plan([item], RECIPE, ColumnOptions(by_order=True), False).notes == []
    apply([item])
    assert comes_back(item)


@pytest.mark.parametrize(
    ("first", "second", "kind", "where"),
    [
        (("id", "id"), ("id", "x"), "missing-key", "the codes of bb"),
        (("id", "id"), ("x", "id"), "missing-key", "bb"),
        (("id", "id"), ("x", "y"), "missing-key", "bb"),
        (("x", "y"), ("id", "y"), "missing-key", "the codes of bb"),
        (("x", "y"), ("id", "id"), "column-twice", "bb"),
    ],
)
def test_a_later_pair_of_other_columns(tmp_path, first, second, kind, where):
    columns = [({text: IDS}, {codes: IDS}) for text, codes in (first, second)]
    items = [
        pair_in(tmp_path, name, *keys) for name, keys in zip(("a", "bb"), columns, strict=True)
    ]
    error = error_of(items)
    assert (error.kind, error.place.shard) == (kind, where)
    assert not (tmp_path / "out").exists(), "nor is there an output of the first pair"
    # Those that nobody has looked at before are looked at when their turn comes.
    (tmp_path / "out").mkdir()
    with pytest.raises(DataError) as raised:
        finish(ApplyShard(items[1], job_of(items[:1]), False).run())
    assert raised.value.kind == kind


def test_a_column_that_both_have_is_no_key_only_if_it_is_dropped(tmp_path):
    item = pair_in(tmp_path, "a", {"id": IDS}, {"id": IDS})
    assert error_of([item], by_order=True).kind == "column-twice"


@pytest.mark.parametrize("types", TYPES)
def test_keys_of_like_types_are_compared(tmp_path, types):
    integers = "int" in types or "time" in types
    keys = pa.array([7, 7, *range(100, 110)] if integers else ["same", "same", *IDS[2:]])
    text, codes = (keys.cast(kind) for kind in TYPES[types])
    item = pair_in(tmp_path, "a", {"id": text}, {"id": codes})
    apply([item])
    assert comes_back(item)
    order = [*range(8), 9, 8, 10, 11]
    item = pair_in(tmp_path, "b", {"id": text}, {"id": keys.take(order).cast(codes.type)})
    error = error_of([item])
    assert (error.kind, error.place.row) == ("keys-differ", 8)


@pytest.mark.parametrize("keys", [list(range(ROWS)), [x.encode() for x in IDS]], ids=str)
def test_keys_of_different_types(tmp_path, keys):
    item = pair_in(tmp_path, "a", {"id": keys}, {"id": [str(key) for key in keys]})
    error = error_of([item])
    assert (error.kind, error.place.column) == ("column-type", "id")
    assert str(pa.array(keys).type) in error.found
    assert "string" in error.found


@pytest.mark.parametrize("nulls_in", ["text", "codes", "text and codes"])
def test_a_key_that_is_null(tmp_path, nulls_in):
    with_null = [*IDS[:7], None, *IDS[8:]]
    keys = [{"id": with_null if part in nulls_in else IDS} for part in ("text", "codes")]
    error = error_of([pair_in(tmp_path, "a", *keys)])
    assert (error.kind, error.place.row, error.place.column) == ("null", 7, "id")


def test_the_bits_of_keys_count(tmp_path):
    """A key of the codes comes back from that of the text."""
    text = [0.0, float("nan"), *map(float, range(2, ROWS))]
    item = pair_in(tmp_path, "a", {"id": text}, {"id": text})
    apply([item])
    item = pair_in(tmp_path, "b", {"id": text}, {"id": [-0.0, *text[1:]]})
    assert (error_of([item]).kind, error_of([item]).place.row) == ("keys-differ", 0)


def test_the_record_says_how_rows_were_paired(tmp_path):
    paired = pair_in(tmp_path, "a", {"id": IDS}, {"id": IDS})
    ordered = pair_in(tmp_path, "b", {"id": IDS}, {"x": IDS})
    apply([paired])
    apply([ordered], by_order=True)
    jobs = []
    for item in (paired, ordered):
        with open_shard(Shard("out", item.target)) as opened:
            jobs.append(read_record(opened).job)
    assert [(job.key, job.by_order) for job in jobs] == [("id", False), (None, True)]
    swapped = Shard("codes", ordered.codes.path)
    found = finish(VerifyShard(Shard("out", paired.target), paired.shard, swapped, None).run())
    assert [m.found for m in found.mismatches] == [
        "there is no column id, which the shard of text has"
    ]


# Through the command line


@pytest.fixture
def ordered(tmp_path):
    """Text with ids and codes without, in shards of the same names."""
    for name in ("a.parquet", "b.parquet"):
        pair_in(tmp_path, name, {"id": IDS}, {"take": IDS})
    return tmp_path


def test_pairs_by_order_and_back(ordered):
    paired = ("--audio-input", "codes")
    for command in (("apply", "text", "out", *PLAIN), ("stats", "text")):
        done = delaytool(*command, *paired, cwd=ordered, status=1)
        assert "Error: the codes of a.parquet: there is no column id" in done.stderr
        assert "--no-key" in done.stderr.splitlines()[-1]
    assert not (ordered / "out").exists()
    done = delaytool("apply", "text", "out", *PLAIN, *paired, "--no-key", cwd=ordered)
    assert ORDER_ALONE not in done.stderr
    done = delaytool("verify", "out", "--source", "text", *paired, "--json", cwd=ordered)
    assert summary_of(done)["rows"] == 2 * ROWS
    assert summary_of(delaytool("stats", "text", *paired, "--no-key", "--json", cwd=ordered))
    delaytool("revert", "out", "t", "--audio-output", "c", cwd=ordered)
    for back, source in (("t", "text"), ("c", "codes")):
        table = pq.read_table(ordered / back / "b.parquet")
        assert table.equals(pq.read_table(ordered / source / "b.parquet"), check_metadata=True)

    one = ("--audio-input", "codes/a.parquet")
    compare = ("out/a.parquet", "--compare", "text/a.parquet", *one, "--id", "utt-3")
    done = delaytool("inspect", *compare[:-2], "--row", 3, cwd=ordered)
    assert done.stdout.splitlines()[-1] == "the same as in text/a.parquet"
    assert (
        delaytool("inspect", *compare, cwd=ordered).stdout.splitlines()[-1].startswith("the same")
    )
    done = delaytool("inspect", "text/a.parquet", *one, cwd=ordered, status=1)
    assert "the codes of a.parquet: there is no column id" in done.stderr
    delaytool("inspect", "text/a.parquet", *one, "--no-key", "--row", 3, cwd=ordered)


def test_where_order_alone_pairs_rows_a_note_says_so(tmp_path):
    item = pair_in(tmp_path, "a.parquet", {"one": IDS}, {"two": IDS})
    paired = ("--audio-input", item.codes.path)
    for command in (
        ("apply", item.shard.path, item.target, *PLAIN, *paired),
        ("verify", item.target, "--source", item.shard.path, *paired),
        ("stats", item.shard.path, *paired),
        ("inspect", item.shard.path, *paired),
        ("inspect", item.target, "--compare", item.shard.path, *paired),
    ):
        done = delaytool(*command, cwd=tmp_path)
        assert f"Note: {ORDER_ALONE}" in done.stderr.splitlines(), command
    assert ORDER_ALONE not in delaytool("verify", item.target, cwd=tmp_path).stderr


def test_one_file_of_text_and_one_of_codes_of_another_name(tmp_path):
    item = pair_in(tmp_path, "a.parquet", {"id": IDS}, {"id": IDS})
    (tmp_path / "codes" / "a.parquet").rename(tmp_path / "codes" / "mimi.parquet")
    paired = ("--audio-input", "codes/mimi.parquet")
    for command in (
        ("apply", "text/a.parquet", "out/a.parquet", *PLAIN, *paired),
        ("verify", "out/a.parquet", "--source", "text/a.parquet", *paired),
        ("stats", "text/a.parquet", *paired),
        ("inspect", "out/a.parquet", "--compare", "text/a.parquet", *paired),
    ):
        done = delaytool(*command, cwd=tmp_path)
        assert "Note: a.parquet is paired with mimi.parquet" in done.stderr, command
    (tmp_path / "codes" / "mimi.parquet").rename(tmp_path / "codes" / "a.parquet")
    done = delaytool("apply", "text", "new", *PLAIN, "--audio-input", "codes", cwd=tmp_path)
    assert "Note" not in done.stderr
    assert comes_back(item)


@pytest.mark.parametrize(
    "command",
    [
        ("apply", "a.parquet", "out.parquet"),
        ("revert", "a.parquet", "out.parquet"),
        ("inspect", "a.parquet"),
        ("stats", "a.parquet"),
    ],
    ids=lambda command: command[0],
)
def test_a_key_and_no_key_exclude_one_another(tmp_path, command):
    pq.write_table(tokens_table(), tmp_path / "a.parquet")
    done = delaytool(*command, "--key", "id", "--no-key", cwd=tmp_path, status=2)
    assert "--key and --no-key exclude one another" in done.stderr


def test_without_a_key_no_message_names_one(tmp_path):
    rows = tokens_table(rows=3).to_pylist()
    rows[1]["audio_codes"][0][0] = 5000
    pq.write_table(pa.Table.from_pylist(rows, tokens_table().schema), tmp_path / "a.parquet")
    apply = ("apply", "a.parquet", "out.parquet", *PLAIN)
    assert "row 1 (id 'utt-1')," in delaytool(*apply, cwd=tmp_path, status=1).stderr
    assert "row 1," in delaytool(*apply, "--no-key", cwd=tmp_path, status=1).stderr
