"""A dataset card: what a dataset's page on the hub says, and its head."""

import re

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from make import PLAIN, SAMPLE_DATA, delaytool, tokens_table


def test_the_card_of_shifted_shards(tmp_path):
    delaytool("apply", SAMPLE_DATA / "moshi", tmp_path / "out", "--preset", "j-moshi")
    done = delaytool("stats", tmp_path / "out", "--dataset-card")
    _, head, page = done.stdout.split("---\n", 2)
    head = yaml.safe_load(head)
    assert head["size_categories"] == ["n<1K"]
    assert "delaytool" in head["tags"]
    assert "# license: FILL IN" in done.stdout
    for line in ("| shards | 2 |", "| rows | 48 |", "recipe (preset j-moshi): text and 16 audio"):
        assert line in page
    columns = re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", page, re.MULTILINE)
    shard = pq.read_schema(next((tmp_path / "out").glob("*.parquet")))
    assert [name for name, _ in columns] == shard.names
    assert dict(columns)["audio_loss_weights"] == "list<list<float>>"
    assert "would delay them again" in page


def test_names_from_data_are_no_markup(tmp_path):
    table = tokens_table(rows=3).append_column("a|`b`\n# x", pa.array([1, 2, 3]))
    pq.write_table(table, tmp_path / "a.parquet")
    delaytool("apply", "a.parquet", "o.parquet", *PLAIN, cwd=tmp_path)
    page = delaytool("stats", "o.parquet", "--dataset-card", cwd=tmp_path).stdout
    assert "\n# x" not in page
    (line,) = [line for line in page.splitlines() if "`` a\\|`b`" in line]
    assert line.count(" | ") == 2


def test_the_card_of_original_shards_says_nothing_of_a_shift(tmp_path):
    pq.write_table(tokens_table(rows=3), tmp_path / "a.parquet")
    page = delaytool("stats", "a.parquet", "--dataset-card", cwd=tmp_path).stdout
    assert "| rows | 3 |" in page
    assert "delay them again" not in page
    done = delaytool("stats", "a.parquet", "--dataset-card", "--json", cwd=tmp_path, status=2)
    assert "exclude one another" in done.stderr
