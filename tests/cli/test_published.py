"""Codes and lengths as people publish them: what apply reads comes back, table for table."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from make import delaytool

FRAMES = (5, 9, 7)
GRID = pa.list_(pa.list_(pa.int16()))
STREAMS = ("--n-q", 4, "--delays", "0,0,1,2,3")


def text(*lengths):
    return pa.array([[7] * length for length in lengths], pa.list_(pa.int32()))


def books(card=1024, count=4):
    random = np.random.default_rng(0)
    return [random.integers(0, card, (count, frames)).tolist() for frames in FRAMES]


def there_and_back(folder, table, *options):
    """Apply, verify with and without the source, and revert; the shifted table."""
    (folder / "data").mkdir()
    pq.write_table(table, folder / "data" / "a.parquet")
    delaytool("apply", "data", "out", *STREAMS, *options, cwd=folder)
    delaytool("verify", "out", "--source", "data", cwd=folder)
    delaytool("verify", "out", cwd=folder)
    delaytool("revert", "out", "back", cwd=folder)
    back = pq.read_table(folder / "back" / "a.parquet")
    assert back.equals(pq.read_table(folder / "data" / "a.parquet"), check_metadata=True)
    return pq.read_table(folder / "out" / "a.parquet")


def shared(codes, base):
    return [[[x + base * q for x in book] for q, book in enumerate(row)] for row in codes]


@pytest.mark.parametrize("length", ["extend"])
@pytest.mark.parametrize("base", ["1024", "0,1024,2048,3072"])
@pytest.mark.parametrize("layout", ["codebook", "flat-frame"])
def test_a_shared_vocabulary(tmp_path, base, layout, length):
    codes = books()
    plain, kind = shared(codes, 1024), GRID
    if layout == "flat-frame":
        plain = [[x for frame in zip(*row, strict=True) for x in frame] for row in plain]
        kind = pa.list_(pa.uint16())
    table = pa.table({"text_tokens": text(*FRAMES), "audio_codes": pa.array(plain, kind)})
    options = ("--audio-layout", layout, "--code-base", base, "--output-layout", "grid")
    shifted = there_and_back(tmp_path, table, *options, "--length", length)
    semantic = [row[1][: len(row[1]) - 3] for row in shifted["codes"].to_pylist()]
    assert semantic == [row[0] for row in codes]


def test_zero_tokens_of_a_shared_vocabulary_stay(tmp_path):
    codes = shared(books(), 1024)
    codes[1][2][3] = -1
    table = pa.table({"text_tokens": text(*FRAMES), "audio_codes": pa.array(codes, GRID)})
    shifted = there_and_back(tmp_path, table, "--code-base", 1024)
    assert shifted["audio_codes"].to_pylist()[1][2][3 + 2] == -1


@pytest.mark.parametrize("code", [2047, 1500])
def test_a_code_below_its_base_is_told_with_its_place(tmp_path, code):
    codes = shared(books(), 1024)
    codes[1][2][3] = code
    table = pa.table({"text_tokens": text(*FRAMES), "audio_codes": pa.array(codes, GRID)})
    pq.write_table(table, tmp_path / "a.parquet")
    options = ("a.parquet", "o.parquet", *STREAMS, "--code-base", 1024)
    done = delaytool("apply", *options, cwd=tmp_path, status=1)
    assert "row 1, column audio_codes, stream acoustic_2, timestep 3: " in done.stderr
    assert f"code {code}, less its base 2048, is below 0" in done.stderr


def test_as_many_bases_as_codebooks(tmp_path):
    table = pa.table({"text_tokens": text(*FRAMES), "audio_codes": pa.array(books(), GRID)})
    pq.write_table(table, tmp_path / "a.parquet")
    options = ("a.parquet", "o.parquet", *STREAMS, "--code-base", "0,1024")
    done = delaytool("apply", *options, cwd=tmp_path, status=2)
    assert "--code-base has 2 numbers, expected one for each of 4 codebooks" in done.stderr


@pytest.mark.parametrize("names", ["codes_{:d}", "codes_{:02d}", "codes_{:03d}"])
@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("count", [4, 12])
def test_a_column_for_each_codebook(tmp_path, names, first, count):
    codes = books(count=count)
    columns = {
        names.format(q + first): pa.array([row[q] for row in codes], pa.list_(pa.int16()))
        for q in range(count)
    }
    table = pa.table({"text_tokens": text(*FRAMES), **columns})
    shifted = there_and_back(tmp_path, table, "--audio-column", "codes_{q}")
    last = names.format(3 + first)
    assert shifted[last].to_pylist()[0] == [2048] * 3 + codes[0][3]
    if count > 4:
        more = names.format(4 + first)
        assert shifted[more].equals(table[more]), "more than the recipe has pass through"


@pytest.mark.parametrize("deep", [3, 4])
def test_an_outer_list_of_more_than_one_entry_is_a_bad_row(tmp_path, deep):
    rows = [[row] if deep == 3 else [[row]] for row in books()]
    kind = pa.list_(GRID) if deep == 3 else pa.list_(pa.list_(GRID))
    rows[1] = rows[1] * 2
    table = pa.table({"text_tokens": text(*FRAMES), "audio_codes": pa.array(rows, kind)})
    pq.write_table(table, tmp_path / "a.parquet")
    done = delaytool("apply", "a.parquet", "o.parquet", *STREAMS, cwd=tmp_path, status=1)
    assert "row 1, column audio_codes: 2 entries in an outer list, expected one" in done.stderr
    delaytool("apply", "a.parquet", "o.parquet", *STREAMS, "--quarantine", "bad", cwd=tmp_path)
    assert pq.read_metadata(tmp_path / "o.parquet").num_rows == 2
    delaytool("verify", "o.parquet", "--source", "a.parquet", "--quarantine", "bad", cwd=tmp_path)


@pytest.mark.parametrize(("shape", "says"), [([3, 4, 5], "[3, 4, 5]"), ([5, 8], "streams")])
def test_tensors_of_a_shape_that_does_not_fit(tmp_path, shape, says):
    kind = pa.fixed_shape_tensor(pa.int16(), shape)
    values = pa.array([[1] * int(np.prod(shape))], kind.storage_type)
    codes = pa.ExtensionArray.from_storage(kind, values)
    pq.write_table(pa.table({"text_tokens": text(5), "audio_codes": codes}), tmp_path / "a.parquet")
    done = delaytool("apply", "a.parquet", "o.parquet", *STREAMS, cwd=tmp_path, status=1)
    assert says in done.stderr


@pytest.fixture
def unequal(tmp_path):
    """Text of two tokens too many, one too few, and as many as there are frames."""
    lengths = [frames + more for frames, more in zip(FRAMES, (2, -1, 0), strict=True)]
    table = pa.table(
        {
            "id": ["x", "y", "z"],
            "text_tokens": text(*lengths),
            "audio_codes": pa.array(books(), GRID),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    return tmp_path


def test_text_fits_whatever_its_length(unequal):
    options = ("a.parquet", "o.parquet", *STREAMS, "--align", "fit")
    done = delaytool("apply", *options, "--json", cwd=unequal)
    most = {"tokens": 2, "shard": "a.parquet", "row": 0}
    expected = {"rows": 2, "padded": 1, "trimmed": 2, "most": most}
    assert json.loads(done.stdout)["aligned"] == expected
    done = delaytool("apply", *options, cwd=unequal)
    assert "2 rows: 1 tokens added, 2 cut off; at most 2 (a.parquet, row 0)" in done.stdout
    for source in ((), ("--source", "a.parquet")):
        done = delaytool("verify", "o.parquet", *source, "--json", cwd=unequal)
        found = json.loads(done.stdout)["aligned"]
        assert found == expected | {"most": most | {"shard": "o.parquet"}}
    delaytool("revert", "o.parquet", "b.parquet", cwd=unequal, status=1)
    delaytool("revert", "o.parquet", "b.parquet", "--allow-lossy", cwd=unequal)
    back = pq.read_table(unequal / "b.parquet")["text_tokens"].to_pylist()
    assert [len(tokens) for tokens in back] == [5, 8, 7]


def test_text_beyond_the_limit_is_a_bad_row(unequal):
    options = ("a.parquet", "o.parquet", *STREAMS, "--align", "fit", "--align-limit", 1)
    done = delaytool("apply", *options, cwd=unequal, status=1)
    assert "row 0 (id 'x'), column text_tokens: 7 frames, expected 5 and at most 1" in done.stderr
    assert "--align-limit" in done.stderr.splitlines()[-1]
    delaytool("apply", *options, "--quarantine", "bad", cwd=unequal)
    assert pq.read_table(unequal / "o.parquet")["id"].to_pylist() == ["y", "z"]
    delaytool("verify", "o.parquet", "--source", "a.parquet", "--quarantine", "bad", cwd=unequal)
    done = delaytool("apply", *options[:-4], "--align-limit", 1, cwd=unequal, status=2)
    assert "--align-limit goes with --align" in done.stderr


@pytest.mark.parametrize(
    ("align", "says"),
    [
        ("error", "--align trim cuts it; --align fit pads or cuts"),
        ("pad", "--align fit pads or cuts, whichever is needed"),
    ],
)
def test_what_to_do_with_text_of_another_length(unequal, align, says):
    options = ("a.parquet", "o.parquet", *STREAMS, "--align", align)
    assert says.lower() in delaytool("apply", *options, cwd=unequal, status=1).stderr.lower()
