"""Speed, size and memory of delaytool beside plain pyarrow and numpy: `make bench`.

Every figure is a ratio of two things measured in this run, since a machine is slower today than
yesterday: A and B run in turn, ROUNDS times, and the best time of each counts. Nothing here is a
test.

apply    `engine.run` of one shard with one worker, in this process: open, read, shift, weigh,
         encode, sync, rename. Python's start is not in it, the footer and the sync are. Beside it,
         `pq.read_table` of a shifted shard and `pq.write_table`, all defaults, threads included,
         without a sync.
bits     compressed bytes of a column in the file over its cells, beside pyarrow's defaults.
memory   `delaytool apply` as a command, from a small parent; the libraries' own pages count. The
         median of PEAK_RUNS runs, since one differs from the next by some 10 MB.
shift    `transform.shift`, Arrow in and Arrow out, checks included; beside it `numpy.copyto` of as
         many bytes as come out, tokens and weights. For a batch as large as apply makes it, which
         caches hold, and for one 16 times as large, which they do not: a copy is slower there.
verify   `engine.run` of one shard, beside `pq.read_table` of the same shard.
workers  `delaytool apply` as a command on SHARDS shards, one worker and two in turn, the start of
         Python and of the workers included; then one shard of as many tokens, with one worker. One
         worker reads and shifts in one thread while it encodes in another, so it already uses more
         than one core; the processor time beside the time says how much.
ray      the same command on TINY shards of one row, and on a tenth of them, on a local cluster.

All tokens are synthetic, see `synthetic.py`; codes are uniform where nothing else is said.
"""

import datetime
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import synthetic
from peak import peak_bytes

from delaytool import engine, load_preset
from delaytool.apply import Item, apply_shard
from delaytool.job import Column, Where, make_job
from delaytool.shards import MAX_CELLS, Shard
from delaytool.transform import shift
from delaytool.verify import verify_shard

ROUNDS = 9
TOKENS = 25_000_000
PEAK_TOKENS = 24_000_000
PEAK_RUNS = 5
GROWTH = 8
SHARDS = 32
TINY = 1000
SHARD_TOKENS = 6_000_000
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
RECIPE = load_preset("moshi")
COLUMNS = (
    Column("text_tokens", 0, 1, "list", 1),
    Column("audio_codes", 1, RECIPE.n_q, "codebook", RECIPE.n_q),
)
JOB = make_job(RECIPE, Where(), COLUMNS)


# Measuring


def in_turn(*actions, rounds=ROUNDS):
    """The best time of each action in seconds; they run in turn, after a round to warm up."""
    best = [float("inf")] * len(actions)
    for turn in range(rounds + 1):
        for number, action in enumerate(actions):
            began = time.perf_counter()
            action()
            if turn:
                best[number] = min(best[number], time.perf_counter() - began)
    return best


def run(function, *arguments):
    """What a job on one shard returns, run as the command runs it with one worker."""
    *_, last = engine.run([engine.Task("shard", 1, function, arguments)], 1)
    if isinstance(last, engine.Failed):
        raise last.error
    return last.result


def apply(source, target):
    target.unlink(missing_ok=True)
    item = Item(Shard(source.name, str(source)), None, str(target))
    return run(apply_shard, item, JOB, False)


def verify(target, source):
    original = None if source is None else Shard(source.name, str(source))
    verified = run(verify_shard, Shard(target.name, str(target)), original, None, None)
    assert not verified.count, verified.mismatches


def rewrite(source, target):
    """What anyone would do with pyarrow alone: read the output's columns, write them."""
    target.unlink(missing_ok=True)
    pq.write_table(pq.read_table(source), target)


def bits_per_cell(path):
    """Bits in the file for one token, and for one weight: the lists' levels included."""
    footer = pq.read_metadata(path)
    size, cells = {False: 0, True: 0}, {False: 0, True: 0}
    for group in range(footer.num_row_groups):
        for number in range(footer.num_columns):
            column = footer.row_group(group).column(number)
            weights = column.path_in_schema.split(".")[0].endswith("_loss_weights")
            size[weights] += column.total_compressed_size
            cells[weights] += column.num_values
    return tuple(8 * size[weights] / cells[weights] for weights in (False, True))


# Figures: (what, aim, figure, whether it is met; None where there is nothing to meet)


def ratio(what, value, aim):
    return what, f"{aim:g} or less", f"{value:.2f}", value <= aim


def speed_figures(folder):
    source, output, plain = (folder / name for name in ("in.parquet", "out.parquet", "plain"))
    synthetic.write(source, TOKENS)
    tokens = apply(source, output).counts.tokens
    spare = folder / "again.parquet"
    applied, rewritten = in_turn(lambda: apply(source, spare), lambda: rewrite(output, plain))
    yield ratio("apply: time over a plain read and write", applied / rewritten, 0.75)
    yield "apply: tokens a second", "", f"{tokens / applied / 1e6:.1f} M", None
    yield from bits_figures(output, plain, "uniform codes")
    alone, against, read = in_turn(
        lambda: verify(output, None),
        lambda: verify(output, source),
        lambda: pq.read_table(output),
    )
    yield ratio("verify: time over a plain read", alone / read, 1.3)
    yield ratio("verify --source: time over a plain read", against / read, 1.3)


def bits_figures(output, plain, kind):
    figures = zip(("token", "weight"), bits_per_cell(output), bits_per_cell(plain), strict=True)
    for what, ours, theirs in figures:
        aim = f"pyarrow's {theirs:.3f} or less"
        yield f"bits a {what}, {kind}", aim, f"{ours:.3f}", ours <= theirs


def skewed_figures(folder):
    source, output, plain = (folder / name for name in ("skewed", "skewed.parquet", "plain"))
    synthetic.write(source, TOKENS // 4, skewed=True)
    apply(source, output)
    rewrite(output, plain)
    yield from bits_figures(output, plain, "skewed codes")


def memory_figures(folder):
    peaks = []
    for tokens in (PEAK_TOKENS, PEAK_TOKENS * GROWTH):
        peaks.append(apply_peak(folder, tokens))
        what = f"peak memory, one row group of {tokens // 10**6} M tokens"
        yield what, "under 400 MB", f"{peaks[-1]:.0f} MB", peaks[-1] < 400
    grown = peaks[1] / peaks[0]
    yield f"peak memory, {GROWTH} times as large", "no growth (1.05)", f"{grown:.2f}", grown <= 1.05


def apply_peak(folder, tokens):
    """The peak of the apply command in MB, for a new shard of so many tokens."""
    source, output = folder / "peak.parquet", folder / "peak-out.parquet"
    synthetic.write(source, tokens)
    command = (sys.executable, "-m", "delaytool", "apply", str(source), str(output))
    peaks = []
    for _ in range(PEAK_RUNS):
        output.unlink(missing_ok=True)
        peaks.append(peak_bytes(*command, "--workers", "1", "--quiet") / 1e6)
    return statistics.median(peaks)


def shift_figures():
    random = np.random.default_rng(7)
    for frames in (50, 5000):
        for cells in (MAX_CELLS, 16 * MAX_CELLS):
            rows = cells // (frames * synthetic.STREAMS)
            speed = shift_speed(synthetic.batch(random, np.full(rows, frames)))
            what = f"shift, {cells >> 20} M cells in rows of {frames}: speed over copyto"
            yield what, "0.15 or more", f"{speed:.3f}", speed >= 0.15


def shift_speed(batch):
    source = np.ones(shift(batch, JOB).nbytes, dtype=np.uint8)
    target = np.zeros_like(source)
    shifted, copied = in_turn(
        lambda: shift(batch, JOB), lambda: np.copyto(target, source), rounds=100
    )
    return copied / shifted


def worker_figures(folder):
    data, out = folder / "many", folder / "many-out"
    data.mkdir()
    for number in range(SHARDS):
        synthetic.write(data / f"{number:02}.parquet", SHARD_TOKENS)
    synthetic.write(folder / "one.parquet", SHARDS * SHARD_TOKENS)
    one, two, single = in_turn(
        lambda: apply_command(data, out, 1),
        lambda: apply_command(data, out, 2),
        lambda: apply_command(folder / "one.parquet", folder / "one-out.parquet", 1),
        rounds=3,
    )
    before = os.times()
    apply_command(data, out, 1)
    after = os.times()
    cores = (after.children_user + after.children_system) - (
        before.children_user + before.children_system
    )
    size = f"{SHARDS} shards of {SHARD_TOKENS // 10**6} M tokens"
    yield (
        f"1 to 2 workers, {size}: times as fast",
        "1.8 or more",
        f"{one / two:.2f}",
        one / two >= 1.8,
    )
    yield f"cores that 1 worker keeps busy, {size}", "", f"{cores / one:.2f}", None
    share = tokens_in(folder / "one.parquet") / sum(tokens_in(path) for path in data.iterdir())
    what = "one shard: time a token over that of many, 1 worker"
    yield what, "", f"{single / one / share:.2f}", None


def tokens_in(path):
    """How many cells the lists of a shard hold."""
    groups = pq.read_metadata(path)
    return sum(
        groups.row_group(group).column(number).num_values
        for group in range(groups.num_row_groups)
        for number in range(groups.num_columns)
    )


def apply_command(source, target, workers, *more):
    shutil.rmtree(target, ignore_errors=True) if target.is_dir() else target.unlink(True)
    command = [sys.executable, "-m", "delaytool", "apply", str(source), str(target)]
    subprocess.run([*command, "--workers", str(workers), "--quiet", *more], check=True, **QUIET)


def ray_figures(folder):
    """What a shard costs on Ray besides the work: the slope from few tiny shards to many."""
    few, many = TINY // 10, TINY
    times = {}
    for count in (few, many):
        data = folder / f"tiny{count}"
        data.mkdir()
        for number in range(count):
            synthetic.write(data / f"{number:03}.parquet", 1)
        times[count] = in_turn(
            lambda data=data: apply_command(data, folder / "tiny-local", 1),
            lambda data=data: apply_command(data, folder / "tiny-ray", 2, "--engine", "ray"),
            rounds=2,
        )
    local, ray = ((times[many][i] - times[few][i]) / (many - few) for i in (0, 1))
    yield "a tiny shard, 1 worker here", "", f"{1000 * local:.0f} ms", None
    yield "a tiny shard on Ray, 2 at once", "", f"{1000 * ray:.0f} ms", None
    start = times[few][1]
    yield f"start of a local Ray, with {few} tiny shards", "", f"{start:.1f} s", None


# The table


def print_table(figures):
    names = {True: "yes", False: "NO", None: ""}
    lines = [("what", "aim", "figure", "met?")]
    lines += [(what, aim, figure, names[met]) for what, aim, figure, met in figures]
    widths = [max(len(line[i]) for line in lines) for i in range(4)]
    lines.insert(1, tuple("-" * width for width in widths))
    for what, aim, figure, met in lines:
        cells = (what.ljust(widths[0]), aim.ljust(widths[1]), figure.rjust(widths[2]))
        print(" | ".join((*cells, met.ljust(widths[3]))).rstrip())


def machine():
    load = os.getloadavg()[0]
    return (
        f"{datetime.date.today()}, {platform.system()} {platform.machine()}, "
        f"{os.cpu_count()} cores (load {load:.1f} before), Python {platform.python_version()}, "
        f"pyarrow {pa.__version__}, numpy {np.__version__}"
    )


def main():
    print(machine())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        figures = [
            *speed_figures(folder),
            *skewed_figures(folder),
            *memory_figures(folder),
            *worker_figures(folder),
            *ray_figures(folder),
            *shift_figures(),
        ]
    print(f"{synthetic.STREAMS} streams, {TOKENS // 10**6} M tokens; the best of {ROUNDS} rounds\n")
    print_table(figures)


if __name__ == "__main__":
    main()
