"""What a newcomer gets wrong first: each message says the way out."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from make import delaytool

TOKENS, GRID = pa.list_(pa.int32()), pa.list_(pa.list_(pa.int16()))
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


def codes(streams, frames=5):
    return [[q + frame for frame in range(frames)] for q in range(streams)]


def write(path, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


@pytest.fixture
def folders(tmp_path):
    """Folders of one small shard each, by what is the matter with them."""
    text, sixteen = pa.array([[5] * 5], TOKENS), pa.array([codes(16)], GRID)
    nine = pa.array([codes(9)], GRID)
    word = {"word": "hi", "start": 0.0, "end": 0.4}
    for name, columns in {
        "good": {"text_tokens": text, "audio_codes": sixteen},
        "two-texts": {"A": nine, "B": nine},
        "no-text": {"audio_codes": sixteen},
        "more": {"text_tokens": text, "audio_codes": pa.array([codes(32)], GRID)},
        "slice": {"codes": pa.array([codes(33)], GRID)},
        "string": {"text_tokens": ["hi there"], "audio_codes": sixteen},
        "words": {"text_tokens": [[word]], "audio_codes": sixteen},
        "only-words": {"spoken": [[word]], "audio_codes": sixteen},
        "empty": {
            "text_tokens": pa.array([[]], TOKENS),
            "audio_codes": pa.array([[[]] * 16], GRID),
        },
    }.items():
        write(tmp_path / name / "a.parquet", **columns)
    write(tmp_path / "good" / "sub" / "b.parquet", text_tokens=text, audio_codes=sixteen)
    write(tmp_path / "some" / "a.parquet", text_tokens=text, audio_codes=sixteen)
    write(tmp_path / "some" / "b.parquet", text_tokens=text, audio_codes=sixteen)
    (tmp_path / "lfs").mkdir()
    (tmp_path / "lfs" / "a.parquet").write_text(LFS)
    return tmp_path


@pytest.mark.parametrize(
    ("status", "arguments", "says"),
    [
        (
            1,
            "two-texts out --grid-column A --grid-column B",
            "--grid-column A --grid-column 'B[1:]'",
        ),
        (1, "no-text out", "there are audio_codes"),
        (1, "no-text out", "--grid-column; for codes alone give --no-text"),
        (1, "more out", "32 streams, expected 16, one for each audio stream of the recipe"),
        (1, "more out", "take the first 16 streams: --audio-column 'audio_codes[:16]'"),
        (1, "slice out --grid-column codes[:17]", "Rename the column, or leave the others out"),
        (
            1,
            "slice out --grid-column codes[:17] --output-layout grid",
            "Rename the column, or leave the others out with --drop-column codes.",
        ),
        (0, "slice out --grid-column codes[:17] --drop-column codes", "is left out"),
        (1, "string out", "Make tokens of the words first"),
        (1, "words out", "Make tokens of the words first"),
        (1, "words out", "delaytool align does it"),
        (1, "only-words out", "delaytool align makes it of the words in spoken"),
        (1, "lfs out", "it is a pointer of Git LFS; git lfs pull fetches the file"),
        (2, "good/sub good", "INPUT good/sub lies within OUTPUT good"),
        (2, "good/*.parquet good", "INPUT good/*.parquet lies within OUTPUT good"),
        (
            1,
            "some/a.parquet some/b.parquet",
            "Choose another OUTPUT, and quote INPUT if it is a glob",
        ),
        (2, "some/a.parquet some/b.parquet some/c.parquet", "a glob has to be quoted"),
        (2, "good/a.parquet good", "the same file: good/a.parquet; choose another OUTPUT"),
    ],
)
def test_apply_says_the_way_out(folders, status, arguments, says):
    (folders / "some" / "c.parquet").touch()
    before = (folders / "some" / "b.parquet").read_bytes()
    done = delaytool("apply", *arguments.split(), cwd=folders, status=status)
    assert says in done.stderr
    assert "--overwrite" not in done.stderr, "what is there may be an original"
    assert (folders / "some" / "b.parquet").read_bytes() == before


def test_swapped_arguments(folders):
    delaytool("apply", "some", "out", cwd=folders)
    for arguments in (("some", "--source", "out"), ("some",)):
        done = delaytool("verify", *arguments, cwd=folders, status=1)
        assert "OUTPUT is to be what apply wrote" in done.stderr
        assert "--overwrite" not in done.stderr
    done = delaytool("revert", "some", "out", cwd=folders, status=1)
    assert "Give what apply wrote as OUTPUT" in done.stderr
    assert "--overwrite" not in done.stderr


def test_rows_without_frames_are_counted(folders):
    done = delaytool("apply", "empty", "out", "--json", cwd=folders)
    assert '"empty_rows": 1' in done.stdout
    assert "1 (1 without frames)" in delaytool("stats", "out", cwd=folders).stdout
    assert "without frames" not in delaytool("stats", "good", cwd=folders).stdout


def test_verify_says_what_alignment_cut(folders):
    text = pa.array([[5] * 8], TOKENS)
    write(folders / "long" / "a.parquet", text_tokens=text, audio_codes=pa.array([codes(16)], GRID))
    delaytool("apply", "long", "out", "--align", "trim", cwd=folders)
    done = delaytool("verify", "out", "--source", "long", cwd=folders)
    assert "alignment cut off 3 tokens" in done.stdout
    assert "truncation" not in done.stdout
