"""Tokens in fields of structs: what comes out, what is said of bad rows, and what comes back."""

import json

import numpy as np
import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from make import PLAIN, delaytool, errors_of, summary_of, tokens_table

import delaytool as library
from delaytool.batches.metadata import SPARK
from delaytool.recipes.presets import plain_recipe

FIELD = ("--audio-column", "codes.tokens")


def struct_of(**fields):
    return pa.StructArray.from_arrays(list(fields.values()), names=list(fields))


def table_of(rows=12, **kinds):
    """Codes in a struct, between other fields."""
    table = tokens_table(rows=rows, **kinds)
    lang = pa.array(["en", None] * (rows // 2))
    codes = table["audio_codes"].combine_chunks()
    struct = struct_of(lang=lang, tokens=codes, sound=pa.array([b"RIFF"] * rows))
    table = table.set_column(table.schema.get_field_index("audio_codes"), "codes", struct)
    return table.drop_columns("tags")


@pytest.fixture
def shard(tmp_path):
    pq.write_table(table_of(), tmp_path / "a.parquet", row_group_size=5)
    return tmp_path


def apply(folder, *options, status=0):
    return delaytool("apply", "a.parquet", "o.parquet", *PLAIN, *options, cwd=folder, status=status)


def test_the_field_is_shifted_in_its_place(shard):
    done = apply(shard, *FIELD)
    assert "column codes.tokens: list<list<int16>>, codebook-major, [3][T]" in done.stderr
    source, shifted = (pq.read_table(shard / name) for name in ("a.parquet", "o.parquet"))
    weights = ["text_loss_weights", "audio_loss_weights"]
    assert shifted.schema.names == [*source.schema.names, *weights]
    plain = tokens_table()
    pq.write_table(plain, shard / "plain.parquet")
    delaytool("apply", "plain.parquet", "p.parquet", *PLAIN, cwd=shard)
    expected = pq.read_table(shard / "p.parquet")
    codes, was = (table["codes"].combine_chunks() for table in (shifted, source))
    assert codes.field("tokens").equals(expected["audio_codes"].combine_chunks())
    assert shifted["audio_loss_weights"].equals(expected["audio_loss_weights"])
    for name in ("lang", "sound"):
        assert codes.field(name).equals(was.field(name))


@pytest.mark.parametrize(
    ("column", "says", "advice"),
    [
        ("codes", "column codes: has the type struct<", "Name a field of it: codes.tokens."),
        (
            "codes.token",
            "there is no field token in codes; there are lang, tokens, sound",
            "try --audio-column codes.tokens; else name the column with --audio-column.",
        ),
        ("codes.lang", "column codes.lang: has the type string", "Name another column"),
        (
            "audio_codes",
            "there are id, text_tokens, speaker, codes.tokens, score",
            "--audio-column",
        ),
    ],
)
def test_columns_that_are_no_tokens(shard, column, says, advice):
    error, what_to_do = errors_of(apply(shard, "--audio-column", column, status=1))
    assert says in error
    assert advice in what_to_do


def test_null_structs_are_bad_rows(shard):
    table = pq.read_table(shard / "a.parquet")
    rows = table.to_pylist()
    rows[3]["codes"] = None
    rows[7]["codes"]["tokens"] = None
    rows[9]["codes"]["tokens"][1][0] = None
    bad = pa.Table.from_pylist(rows, table.schema)
    pq.write_table(bad, shard / "a.parquet", row_group_size=5)
    done = apply(shard, *FIELD, status=1)
    assert "row 3 (id 'utt-3'), column codes.tokens: a null row, expected no nulls" in done.stderr
    done = apply(shard, *FIELD, "--dry-run", "--json", status=1)
    kinds = [(bad["kind"], bad["column"], bad["rows"]) for bad in summary_of(done)["bad"]]
    assert kinds == [("null", "codes.tokens", 3)]
    apply(shard, *FIELD, "--quarantine", "bad")
    found = pq.read_table(shard / "bad" / "a.parquet").drop_columns("reason")
    assert found.equals(bad.take([3, 7, 9]))
    for source in ((), ("--source", "a.parquet")):
        delaytool("verify", "o.parquet", *source, "--quarantine", "bad", cwd=shard)
    assert pq.read_metadata(shard / "o.parquet").num_rows == 9


@pytest.mark.parametrize(
    ("options", "lossy"),
    [
        (("--window", 6), False),
        (("--window", 6, "--window-cut", "after", "--window-min", 4), True),
        (("--length", "truncate", "--narrow"), True),
        (("--drop-column", "codes"), True),
        (("--drop-column", "codes", "--output-layout", "grid", "--label-columns"), True),
    ],
)
def test_what_else_is_done_to_it(shard, options, lossy):
    apply(shard, *FIELD, *options)
    delaytool("verify", "o.parquet", cwd=shard)
    delaytool("verify", "o.parquet", "--source", "a.parquet", cwd=shard)
    delaytool("inspect", "o.parquet", cwd=shard)
    delaytool("stats", "o.parquet", cwd=shard)
    lossy = ("--allow-lossy",) if lossy else ()
    delaytool("revert", "o.parquet", "b.parquet", *lossy, cwd=shard)
    source, back = (pq.read_table(shard / name) for name in ("a.parquet", "b.parquet"))
    if "--drop-column" in options:
        tokens = source["codes"].combine_chunks().field("tokens")
        place = source.schema.get_field_index("codes")
        source = source.set_column(place, "codes", struct_of(tokens=tokens))
    if "--window-min" not in options and "--length" not in options:
        assert back.equals(source)


def test_the_rest_of_a_struct_in_the_way_is_left_out(shard):
    grid = (*FIELD, "--output-layout", "grid")
    error, advice = errors_of(apply(shard, *grid, status=1))
    assert "the column codes is in the way" in error
    assert "leave it out with --drop-column codes" in advice
    done = apply(shard, *grid, "--drop-column", "codes")
    assert "column codes: all of it but the tokens is left out" in done.stderr
    names = ["id", "codes", "speaker", "score", "loss_weights"]
    assert pq.read_schema(shard / "o.parquet").names == names
    done = delaytool("revert", "o.parquet", "b.parquet", cwd=shard, status=1)
    assert "columns were left out, the rest of codes, which cannot come back" in done.stderr
    done = apply(shard, *FIELD, "--drop-column", "codes.lang", status=1)
    assert "there is no column codes.lang; there are id, text_tokens, speaker, codes" in done.stderr


def test_factors_on_the_weights_in_a_struct(shard):
    table = pq.read_table(shard / "a.parquet")
    factors = pa.array(
        [np.linspace(0, 2, len(row)).tolist() for row in table["text_tokens"].to_pylist()]
    )
    table = table.append_column(
        "extra", struct_of(factors=factors, note=table["id"].combine_chunks())
    )
    pq.write_table(table, shard / "a.parquet")
    options = (*FIELD, "--weight-column", "extra.factors")
    apply(shard, *options)
    weights = pq.read_table(shard / "o.parquet")["audio_loss_weights"].to_pylist()
    assert weights[0][0][: len(factors[0])] == pytest.approx([100 * x for x in factors[0].as_py()])
    delaytool("verify", "o.parquet", cwd=shard)
    delaytool("revert", "o.parquet", "b.parquet", cwd=shard)
    assert pq.read_table(shard / "b.parquet").equals(table)
    done = apply(shard, *options, "--drop-column", "extra", status=2)
    assert "--drop-column is extra, which holds the factors on the loss weights" in done.stderr
    done = apply(shard, *FIELD, "--weight-column", "extra.weights", status=1)
    assert "there is no field weights in extra; there are factors, note" in done.stderr


def test_text_and_codes_in_structs_of_shards_of_their_own(tmp_path):
    table = table_of()
    text = pa.table(
        {"id": table["id"], "t": struct_of(tokens=table["text_tokens"].combine_chunks())}
    )
    pq.write_table(text, tmp_path / "a.parquet")
    pq.write_table(table.select(["codes", "id"]), tmp_path / "codes.parquet")
    options = (*FIELD, "--text-column", "t.tokens", "--audio-input", "codes.parquet")
    apply(tmp_path, *options)
    paired = ("--source", "a.parquet", "--audio-input", "codes.parquet")
    delaytool("verify", "o.parquet", *paired, cwd=tmp_path)
    delaytool("revert", "o.parquet", "b.parquet", "--audio-output", "c.parquet", cwd=tmp_path)
    for name, other in (("a", "b"), ("codes", "c")):
        one, two = (pq.read_table(tmp_path / f"{each}.parquet") for each in (name, other))
        assert two.equals(one, check_metadata=True)


def test_several_fields_have_weights_without_dots(tmp_path):
    plain = tokens_table(n_q=4)
    codes = plain["audio_codes"].combine_chunks()
    both = struct_of(moshi=codes, user=codes)
    table = pa.table({"text_tokens": plain["text_tokens"], "both": both})
    pq.write_table(table, tmp_path / "a.parquet")
    plain = ("--n-q", 8, "--delays", "0,0,1,1,1,0,1,1,1")
    columns = ("--audio-column", "both.moshi", "--audio-column", "both.user")
    delaytool("apply", "a.parquet", "o.parquet", *plain, *columns, cwd=tmp_path)
    names = ["text_tokens", "both", "text_loss_weights"]
    names += ["both_moshi_loss_weights", "both_user_loss_weights"]
    assert pq.read_schema(tmp_path / "o.parquet").names == names
    delaytool("verify", "o.parquet", "--source", "a.parquet", cwd=tmp_path)


def described(table):
    """A table with what datasets, pandas and Spark say of its columns."""
    text = {"dtype": "string", "_type": "Value"}
    inside = {"feature": {"dtype": "uint8", "_type": "Value"}, "_type": "Sequence", "length": -1}
    codes = {
        "lang": {"names": ["en"], "_type": "ClassLabel"},
        "tokens": {"feature": inside, "_type": "Sequence", "length": -1},
        "sound": {"dtype": "binary", "_type": "Value"},
    }
    features = {"id": text, "codes": codes}
    lists = {"type": "array", "elementType": "short", "containsNull": True}
    lists = {"type": "array", "elementType": lists, "containsNull": True}
    fields = [
        {"name": "lang", "type": "string", "nullable": False, "metadata": {"of": "me"}},
        {"name": "tokens", "type": lists, "nullable": True, "metadata": {}},
        {"name": "sound", "type": "binary", "nullable": True, "metadata": {}},
    ]
    kind = {"type": "struct", "fields": fields}
    spark = [
        {"name": "id", "type": "string", "nullable": True, "metadata": {}},
        {"name": "codes", "type": kind, "nullable": True, "metadata": {"k": "v"}},
    ]
    frame = pandas.DataFrame({"id": ["x"], "codes": [{"lang": "en"}]})
    metadata = {
        b"huggingface": json.dumps({"info": {"features": features}}).encode(),
        b"pandas": pa.Schema.from_pandas(frame).metadata[b"pandas"],
        SPARK: json.dumps({"type": "struct", "fields": spark}).encode(),
    }
    return table.select(["id", "text_tokens", "codes"]).replace_schema_metadata(metadata)


def test_descriptions_of_the_struct_are_kept_in_step(tmp_path):
    table = described(table_of(codes_type=pa.uint16()))
    pq.write_table(table, tmp_path / "a.parquet")
    apply(tmp_path, *FIELD, "--narrow")
    metadata = pq.read_schema(tmp_path / "o.parquet").metadata
    codes = json.loads(metadata[b"huggingface"])["info"]["features"]["codes"]
    assert codes["lang"] == {"names": ["en"], "_type": "ClassLabel"}
    assert codes["tokens"]["feature"]["feature"]["dtype"] == "int16"
    spark = json.loads(metadata[SPARK])["fields"][1]
    assert spark["metadata"] == {"k": "v"}
    lang, tokens, sound = spark["type"]["fields"]
    assert lang["metadata"] == {"of": "me"}
    assert tokens["type"]["elementType"]["elementType"] == "short"
    assert sound["type"] == "binary"
    pandas_codes = json.loads(metadata[b"pandas"])["columns"]
    assert [c["pandas_type"] for c in pandas_codes if c["name"] == "codes"] == ["object"]
    pq.read_table(tmp_path / "o.parquet").to_pandas()
    delaytool("revert", "o.parquet", "b.parquet", cwd=tmp_path)
    back = pq.read_table(tmp_path / "b.parquet")
    assert back.equals(pq.read_table(tmp_path / "a.parquet"), check_metadata=True)


def test_datasets_loads_what_comes_out(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    table = table_of(codes_type=pa.uint16()).select(["id", "text_tokens", "codes"])
    rows = table.to_pylist()
    value = datasets.Value("uint16")
    tokens = datasets.Sequence(datasets.Sequence(value))
    codes = {"lang": datasets.Value("string"), "tokens": tokens, "sound": datasets.Value("binary")}
    text = datasets.Sequence(datasets.Value("int32"))
    features = datasets.Features(
        {"id": datasets.Value("string"), "text_tokens": text, "codes": codes}
    )
    dataset = datasets.Dataset.from_list(rows, features=features)
    dataset.to_parquet(str(tmp_path / "a.parquet"))
    apply(tmp_path, *FIELD, "--narrow")
    cache = str(tmp_path / "cache")
    loaded = datasets.Dataset.from_parquet(str(tmp_path / "o.parquet"), cache_dir=cache)
    shifted = pq.read_table(tmp_path / "o.parquet").to_pylist()
    assert loaded[2]["codes"]["tokens"] == shifted[2]["codes"]["tokens"]
    delaytool("revert", "o.parquet", "b.parquet", cwd=tmp_path)
    back = pq.read_table(tmp_path / "b.parquet")
    assert back.equals(pq.read_table(tmp_path / "a.parquet"), check_metadata=True)


def test_a_struct_that_is_told_as_a_sequence_is_told_anew(tmp_path):
    """As older versions of datasets describe a struct of lists."""
    inside = {"feature": {"dtype": "int32", "_type": "Value"}, "_type": "Sequence"}
    told = {"info": {"features": {"codes": {"feature": {"tokens": inside}, "_type": "Sequence"}}}}
    table = table_of().replace_schema_metadata({"huggingface": json.dumps(told)})
    pq.write_table(table, tmp_path / "a.parquet")
    apply(tmp_path, *FIELD)
    metadata = pq.read_schema(tmp_path / "o.parquet").metadata
    codes = json.loads(metadata[b"huggingface"])["info"]["features"]["codes"]
    assert list(codes) == ["lang", "tokens", "sound"]
    assert codes["tokens"]["feature"]["feature"] == {"dtype": "int16", "_type": "Value"}


def test_words_become_text_beside_codes_in_a_struct(tmp_path):
    table = table_of(rows=4)
    words = [[{"tokens": [9], "start": 0.0, "end": 0.1}]] * 4
    table = table.drop_columns("text_tokens").append_column("words", pa.array(words))
    pq.write_table(table, tmp_path / "w.parquet")
    delaytool("align", "w.parquet", "a.parquet", *FIELD, cwd=tmp_path)
    text = pq.read_table(tmp_path / "a.parquet")["text_tokens"].to_pylist()
    assert [row[0] for row in text] == [9] * 4
    apply(tmp_path, *FIELD)
    delaytool("verify", "o.parquet", "--source", "a.parquet", cwd=tmp_path)


def test_one_row_and_map_batch(shard):
    recipe, table = plain_recipe(3, (0, 0, 1, 2)), pq.read_table(shard / "a.parquet")
    shifted = library.map_batch(recipe, audio_column="codes.tokens")(table)
    apply(shard, *FIELD)
    assert shifted.equals(pq.read_table(shard / "o.parquet"))
    delaytool("inspect", "a.parquet", *FIELD, cwd=shard)
    delaytool("stats", "a.parquet", *FIELD, cwd=shard)
    done = delaytool("inspect", "o.parquet", "--compare", "a.parquet", cwd=shard)
    assert done.stdout.splitlines()[-1] == "the same as in a.parquet"
