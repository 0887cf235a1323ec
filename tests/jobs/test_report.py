"""The report: sums over shards, shares and means, for the eye and as JSON."""

from fractions import Fraction

import pytest

from delaytool.batches.figures import Counts, Figures
from delaytool.jobs.report import Report, Summary
from delaytool.recipes.presets import load_preset, plain_recipe
from delaytool.shards.record import Reason

RECIPE = plain_recipe(3, (0, 0, 1, 1))


def summary(frames, weights, reasons=(), recipe=RECIPE, padding=0, zero=0, lost=0):
    cells, streams = len(weights) * (frames + 1), len(weights)
    counts = Counts(5, 4, frames, frames * streams, lost, quarantined=1)
    sums = tuple(Fraction(weight) for weight in weights)
    figures = Figures(cells, streams, zero, frames, padding, sums)
    return Summary(recipe, counts, figures, tuple(reasons))


def report_of(*parts, frame_rate=12.5):
    report = Report(frame_rate)
    for part in parts:
        report.add(part, "a.parquet")
    return report


def test_shares_means_and_reasons():
    parts = [
        summary(
            99, (50, 9900, 99, 99), [Reason("null", "a", 1), Reason("token", None, 3)], padding=30
        ),
        summary(299, (250, 29900, 299, 299), [Reason("null", "a", 1)], padding=200),
    ]
    report = report_of(*parts, frame_rate=2)
    told = report.to_dict()
    assert told["hours"] == round(398 / 2 / 3600, 6)
    assert (told["text_padding"], told["text_padding_share"]) == (230, 230 / 398)
    assert (told["cells"], told["filled"], told["filled_share"]) == (1600, 8, 8 / 1600)
    assert told["mean_weights"] == {
        "text": 300 / 400,
        "semantic": 39800 / 400,
        "acoustic_1": 398 / 400,
        "acoustic_2": 398 / 400,
    }
    assert told["reasons"] == [
        {"kind": "token", "column": None, "rows": 3},
        {"kind": "null", "column": "a", "rows": 2},
    ]
    assert report.table(" (all of them)").splitlines() == [
        "  shards          2 (all of them)",
        "  rows            8",
        "  hours of audio  0.06 (398 frames at 2 a second)",
        "  tokens          1,592",
        "  text padding    57.8% of the text (tokens 0 and 3)",
        "  filled cells    0.5% of all",
        "  mean weight     text                           0.75",
        "                  semantic                       99.5",
        "                  acoustic_1 ... acoustic_2 (2)  0.995",
        "  quarantined     3 rows: a token outside its vocabulary",
        "                  2 rows: column a: a null",
    ]


def test_zero_tokens_have_a_line_where_there_are_any():
    report = report_of(summary(99, (1, 1, 1, 1), zero=99))
    assert report.to_dict()["zero_tokens"] == 99
    assert "  zero tokens     25% of the tokens" in report.table().splitlines()
    table = report_of(summary(99, (1, 1, 1, 1), zero=99, lost=4 * 99 - 198)).table()
    assert "  zero tokens     50% of the tokens" in table.splitlines(), "of those that are left"
    assert "zero tokens" not in report_of(summary(99, (1, 1, 1, 1))).table()


def test_many_reasons_are_ten_lines_in_an_order_of_their_own():
    reasons = [Reason("null", f"c{i:02}", 1 + i // 6) for i in range(30)]
    one, two = (report_of(summary(9, (1, 1, 1, 1), r)) for r in (reasons, reasons[::-1]))
    assert one.table() == two.table()
    assert one.to_dict()["reasons"] == two.to_dict()["reasons"]
    lines = one.table().splitlines()
    first = next(i for i, line in enumerate(lines) if "quarantined" in line)
    assert lines[first:] == [
        "  quarantined     5 rows: column c24: a null",
        *[f"                  5 rows: column c{i}: a null" for i in range(25, 30)],
        *[f"                  4 rows: column c{i}: a null" for i in range(18, 21)],
        "                  48 rows: 21 other reasons",
    ]
    few = report_of(summary(9, (1, 1, 1, 1), reasons[:10])).table()
    assert "other" not in few, "ten have a line each"


def test_nothing_has_no_shares():
    report = report_of()
    told = report.to_dict()
    shares = ("text_padding_share", "filled_share", "mean_weights")
    assert [told[name] for name in shares] == [None, None, None]
    assert report.table().splitlines()[0] == "  shards          0"


def test_streams_that_weigh_differently_stand_by_themselves():
    table = report_of(summary(9, (1, 2, 3, 4)), None).table()
    assert "acoustic_1  0.3" in table
    assert "acoustic_2  0.4" in table


def test_shards_of_several_recipes():
    moshi = load_preset("moshi")
    parts = [summary(9, (10, 10, 10, 10)), summary(9, (20,) * 17, recipe=moshi)]
    means = report_of(*parts).to_dict()["mean_weights"]
    assert means["text"] == pytest.approx(30 / 20)
    assert (means["semantic"], means["user_semantic"]) == (1, 2)
