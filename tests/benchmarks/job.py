"""The job beside what people do instead: python tests/benchmarks/job.py [J-Moshi's data.py]

Each way is a process of its own, its start included, with one worker: processor time (of all cores)
and time by the clock are medians of ROUNDS, taken in turn, memory is the peak. All write Parquet.

Moshi    text (int32) and codes (int16) shifted, with loss weights. Beside it a plain read and write
         of the same columns by pyarrow, all defaults, threads included; and polars, see others.py,
         which checks nothing.
J-Moshi  two columns of 9 streams (int64) shifted as one, with labels. Beside it J-Moshi's own
         `preprocess_function` in `datasets.map`: utils/data.py of a clone of
         nu-dialogue/moshi-finetune, commit 3879d29, which is the argument. It needs torch.
"""

import importlib.util
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import synthetic
from peak import cost_of

ROUNDS = 5
TOKENS = 25_000_000
TOOL = str(Path(sys.executable).with_name("delaytool"))
ONCE = ("--workers", "1", "--quiet")
STACKED = ("--preset", "j-moshi", "--grid-column", "A", "--grid-column", "B[1:]")
GRID = (*STACKED, "--output-layout", "grid", "--no-weights", "--label-columns")
PYTHON = (sys.executable, "-c")
HERE = Path(__file__).parent
J_MOSHI = {
    "speakers": ["A"],
    "max_length": None,
    "min_length": None,
    "delays": [0] + 2 * ([0] + [1] * 7),
    "initial_token_ids": [32000] + [2048] * 16,
    "padding_token_ids": [3] + [2048] * 16,
    "zero_token_id": -1,
}


# What the processes run


def copy(source, target):
    """Read and write, as anyone would with pyarrow alone."""
    pq.write_table(pq.read_table(source), target)


def with_polars(source, target):
    import others

    from delaytool import load_preset

    others.with_polars(source, target, load_preset("moshi"))


def with_j_moshi(source, target, module, cache):
    """What its finetune.py does with a dataset before it trains."""
    import datasets

    datasets.disable_progress_bars()
    datasets.disable_caching()
    spec = importlib.util.spec_from_file_location("j_moshi_data", module)
    theirs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(theirs)
    data = datasets.load_dataset("parquet", data_files=source, split="train", cache_dir=cache)
    columns = data.column_names
    data.map(
        theirs.preprocess_function, remove_columns=columns, batched=True, fn_kwargs=J_MOSHI
    ).to_parquet(target)


def running(function, *arguments):
    """The command that runs one of these functions."""
    code = f"import sys; sys.path.insert(0, {str(HERE)!r}); import job"
    return (*PYTHON, f"{code}; job.{function}(*sys.argv[1:])", *map(str, arguments))


# Tables


def nullable(source, target):
    """The rows of an output as pyarrow writes them by default."""
    table = pq.read_table(source)
    columns = [pa.chunked_array(map(with_nulls, c.chunks)) for c in table.columns]
    pq.write_table(pa.table(columns, table.column_names), target, row_group_size=table.num_rows)


def with_nulls(array):
    """Lists whose type allows nulls, around the same values."""
    if not pa.types.is_list(array.type):
        return array
    return pa.ListArray.from_arrays(array.offsets, with_nulls(array.values))


def write_j_moshi(path, tokens):
    """Rows in the shape of J-Moshi's: a grid of text and 8 codebooks for each speaker."""
    random = np.random.default_rng(9)
    lengths = random.integers(125, 1500, tokens // (812 * 17))
    columns = {}
    for name in "AB":
        grids = []
        text = synthetic.text_tokens(random, int(lengths.sum()))
        for row in np.split(text, np.cumsum(lengths)[:-1]):
            codes = random.integers(0, synthetic.CARD, (8, len(row)))
            grids.append(np.concatenate([row[None], codes]).reshape(-1))
        streams = synthetic.lists(np.repeat(lengths, 9), pa.array(np.concatenate(grids)))
        columns[name] = synthetic.lists(np.full(len(lengths), 9), streams)
    pq.write_table(pa.table(columns), path)


def check_j_moshi(ours, theirs):
    """Raise AssertionError unless both have the same streams, and the same labels."""
    ours, theirs = pq.read_table(ours), pq.read_table(theirs)
    for mine, name in (("codes", "streams"), ("labels", "labels")):
        tokens, wanted = (
            np.asarray(column.combine_chunks().flatten().flatten())
            for column in (ours[mine], theirs[name])
        )
        assert np.array_equal(np.where(tokens == -100, -1, tokens), wanted), name


def measured(ways, target, tokens, rounds):
    """For each way its processor time a token, time by the clock, memory, and bytes written.

    target: what each way writes; ways: their commands, which run in turn
    """
    costs, sizes = {name: [] for name in ways}, {}
    for _ in range(rounds):
        for name, command in ways.items():
            target.unlink(missing_ok=True)
            costs[name].append(cost_of(*command))
            sizes[name] = target.stat().st_size
    return {
        name: (
            statistics.median(cost.processor for cost in several) / tokens * 1e9,
            statistics.median(cost.wall for cost in several),
            statistics.median(cost.peak for cost in several) / 1e6,
            sizes[name] / 1e6,
        )
        for name, several in costs.items()
    }


def print_costs(title, found):
    """A table of ways, the first of which is delaytool's; the others' times also over its."""
    lines = [(title, "processor time a token", "by the clock", "memory", "file")]
    own_time, own_wall, *_ = next(iter(found.values()))
    for name, (time, wall, peak, size) in found.items():
        cells = f"{time:.1f} ns", f"{wall:.2f} s"
        if lines[1:]:
            cells = f"{cells[0]}, {time / own_time:.1f} x", f"{cells[1]}, {wall / own_wall:.1f} x"
        lines.append((name, *cells, f"{peak:.0f} MB", f"{size:.0f} MB"))
    print_lines(lines)


def print_lines(lines):
    """Lines of cells as a table."""
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    for line in (lines[0], tuple("-" * width for width in widths), *lines[1:]):
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print(" | ".join(cells).rstrip())
    print()


def moshi(folder):
    source, target, output, plain = (folder / name for name in ("in", "t.parquet", "out", "plain"))
    synthetic.write(source, TOKENS)
    tokens = 17 * pq.read_metadata(source).row_group(0).column(0).num_values
    cost_of(TOOL, "apply", str(source), str(output), *ONCE)
    nullable(output, plain)
    ways = {
        "by delaytool": (TOOL, "apply", str(source), str(target), *ONCE),
        "a plain read and write": running("copy", plain, target),
        "polars, which checks nothing": running("with_polars", source, target),
    }
    title = f"Moshi, {tokens / 1e6:.0f} M tokens"
    print_costs(title, measured(ways, target, tokens, ROUNDS))


def j_moshi(folder, module):
    """module: the file of its function, None to go without"""
    source, target, output = (folder / name for name in ("pairs", "j.parquet", "j-out"))
    write_j_moshi(source, TOKENS)
    tokens = pq.read_metadata(source).row_group(0).column(0).num_values // 9 * 17
    ways = {"by delaytool": (TOOL, "apply", str(source), str(target), *GRID, *ONCE)}
    if module:
        theirs = "with_j_moshi", source
        ways["its own function, datasets.map"] = running(*theirs, target, module, folder / "cache")
        cost_of(TOOL, "apply", str(source), str(output), *GRID, *ONCE)
        cost_of(*running(*theirs, folder / "theirs", module, folder / "cache"))
        check_j_moshi(output, folder / "theirs")
    title = f"J-Moshi, {tokens / 1e6:.0f} M tokens"
    print_costs(title, measured(ways, target, tokens, 3))


def main(module=None):
    with tempfile.TemporaryDirectory() as name:
        moshi(Path(name))
        j_moshi(Path(name), module)


if __name__ == "__main__":
    main(*sys.argv[1:])
