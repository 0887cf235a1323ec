"""A dataset card: what a dataset's page on the hub says, and its head."""

import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from make import PLAIN, SAMPLE_DATA, delaytool, tokens_table

import delaytool as library
from delaytool.batches.figures import Counts, Figures
from delaytool.jobs.card import dataset_card
from delaytool.jobs.report import Report, Summary
from delaytool.recipes.presets import load_preset


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


def test_the_page_reads_well(tmp_path):
    """Layouts in words, one space between words, and the pattern before what points back at it."""
    delaytool("apply", SAMPLE_DATA / "moshi", tmp_path / "out", "--label-columns")
    page = delaytool("stats", tmp_path / "out", "--dataset-card").stdout
    assert r"| codes of 16 codebooks, shifted; codebook-major \[n\_q\]\[T\] |" in page
    assert r"| audio\_codes, -100 in cells without loss |" in page
    assert page.index("## Delay pattern") < page.index("delay pattern above")
    numbers = page[page.index("## What is in it") : page.index("## Columns")]
    assert "  " not in numbers.replace("|  |", "| |")
    assert library.stats(tmp_path / "out").dataset_card() == page


def test_shards_that_hold_different_things_are_described_one_by_one(tmp_path):
    """In the order of their names, though workers take the largest shard first."""
    for name, column, rows in (("a", "score_2", 4), ("b", "score_2", 4), ("c", "turns", 400)):
        table = tokens_table(rows=rows).append_column(column, pa.array(range(rows)))
        pq.write_table(table, tmp_path / f"{name}.parquet")
    one, two = (
        delaytool("stats", tmp_path, "--dataset-card", "--workers", workers).stdout
        for workers in (1, 2)
    )
    assert one == two
    first, second = re.split(r"^## Columns \(\d of 2\)\n", one, flags=re.MULTILINE)[1:]
    assert ("`score_2`" in first, "`turns`" in first) == (True, False)
    assert ("`score_2`" in second, "`turns`" in second) == (False, True)


@pytest.mark.parametrize(
    ("rows", "size"),
    [
        (0, "n<1K"),
        (999, "n<1K"),
        (1000, "1K<n<10K"),
        (9_999, "1K<n<10K"),
        (10_000, "10K<n<100K"),
        (10**6, "1M<n<10M"),
        (10**12 - 1, "100B<n<1T"),
        (10**12, "n>1T"),
    ],
)
def test_the_size_is_one_of_the_hubs(rows, size):
    report = Report()
    report.add(Summary(load_preset("moshi"), Counts(rows_out=rows), Figures()), "a.parquet")
    assert f"\nsize_categories:\n- {size}\n" in dataset_card(report, [])
