"""Windows through the command line: what other projects cut, and random ones, to and fro."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from golden_cases import WINDOWED, WINDOWED_NAMES, recipe_of, windows_of
from make import delaytool, summary_of

LISTS = pa.list_(pa.list_(pa.int32()))


def options_of(how):
    """The options of the keywords that cut rows into windows."""
    options = []
    for name, value in how.items():
        if value is not None and value is not False:
            options += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return options


@pytest.mark.parametrize("case", WINDOWED, ids=WINDOWED_NAMES)
def test_windows_of_the_peers(case, tmp_path):
    recipe, how = recipe_of(case), windows_of(case)
    source, output, back = (tmp_path / f"{name}.parquet" for name in ("source", "out", "back"))
    pq.write_table(pa.table({"grid": pa.array([case["codes"]], LISTS)}), source)
    (tmp_path / "recipe.json").write_text(recipe.to_json())
    given = ("--grid-column", "grid", "--audio-layout", "codebook", "--label-columns")
    given += ("--recipe", tmp_path / "recipe.json", *options_of(how))
    told = summary_of(delaytool("apply", source, output, *given, "--json"))
    made = pq.read_table(output)
    expected = case["expected"] if how else [case["expected"]]
    assert made["codes"].to_pylist() == expected
    assert told["windows"] == (len(expected) if how else 0)
    assert told["rows"] == 1
    delaytool("verify", output)
    delaytool("verify", output, "--source", source)
    if told["dropped_frames"] or told["lost"]:
        delaytool("revert", output, back, status=1)
        delaytool("revert", output, back, "--allow-lossy")
    else:
        delaytool("revert", output, back)
        assert pq.read_table(back).equals(pq.read_table(source))
