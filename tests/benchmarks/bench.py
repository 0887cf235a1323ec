"""Speed, size and memory of delaytool beside plain pyarrow and numpy: `make bench`.

Every figure is a ratio of two things measured in this run, since a machine is slower today than
yesterday: A and B run in turn, ROUNDS times, and the best time of each counts. Nothing here is a
test.

job      delaytool and what people do instead, as processes: see `job.py`, which comes first.
speed    `engine.run` of one shard with one worker, in a process with the commands' allocator, see
         `speed.py`: open, read, shift, weigh, encode, sync, rename. Python's start is not in it,
         the footer and the sync are. Beside it, `pq.read_table` and `pq.write_table` of the same
         columns, all defaults, threads included, without a sync; the columns may hold nulls, as
         pyarrow writes them. Processor time of all cores, medians of ROUNDS. verify and revert
         likewise. Two columns that are stacked, of which one stream passes through, stand beside
         text and codes and a column of text that passes through, all of them int64.
growth   The same for rows of few frames and of many, and for few streams and many; and commands on
         many shards, by the clock.
bits     compressed bytes of a column in the file over its cells, beside pyarrow's defaults.
batches  BATCH random rows at a time of a shard of BATCH_TOKENS: the row groups that hold them are
         read, the rows taken. Beside it the same of a file with one row group.
memory   `delaytool apply` as a command, from a small parent; the libraries' own pages count. The
         median of PEAK_RUNS runs, since one differs from the next by some 10 MB. verify likewise.
windows  `engine.run` of one shard with windows and without, in turn: processor time. Windows of
         380 of rows of 750 are filled up, by 10 frames a row.
flat     `delay_flat` and `loss_weights_flat`; beside it `numpy.copyto` of as many bytes as come
         out. For a batch as large as apply makes it, which caches hold, and for one 16 times as
         large, which they do not: a copy is slower there.
start    the commands as processes, beside a Python that imports what they cannot do without. Both
         find their bytecode compiled, as an installed package has it.
workers  `delaytool apply` as a command on SHARDS shards, one worker and two in turn, the start of
         Python and of the workers included; then one shard of as many tokens, with one worker. One
         worker reads and shifts in one thread while it encodes in another, so it already uses more
         than one core; the processor time beside the time says how much. Held to one core with
         one worker, beside two of each, it is what a worker is worth that has a core of its own.
         The machine's own scaling stands beside that: plain copies of the shards, in one process
         on one core, and in two on two.
loaders  Tokens a second from LOADED shards to padded batches, see `loaders.py`: of processor time
         in this process, and by the clock with two workers, their start included. Beside it a bare
         read of the row groups, without threads, and what else people use.
ray      the same command on TINY shards of one row, and on a tenth of them, on a local cluster.

All tokens are synthetic, see `synthetic.py`; codes are uniform where nothing else is said.
"""

import dataclasses
import datetime
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import job as job_table
import numpy as np
import others
import pyarrow as pa
import pyarrow.parquet as pq
import synthetic
from peak import peak_bytes

from delaytool import load_preset
from delaytool.batches.column_options import ColumnOptions
from delaytool.batches.job import make_job
from delaytool.batches.layouts import CODEBOOK, LIST, Column
from delaytool.jobs.apply import ApplyShard
from delaytool.jobs.paths import Item
from delaytool.jobs.revert import RevertShard
from delaytool.jobs.verify import VerifyShard
from delaytool.pattern.flat import delay_flat
from delaytool.pattern.segments import Segments
from delaytool.pattern.weights import loss_weights_flat
from delaytool.pattern.windows import Windows
from delaytool.recipes.presets import plain_recipe
from delaytool.run import local as engine
from delaytool.shards.find import Shard

ROUNDS = 9
TOKENS = 25_000_000
PEAK_TOKENS = 24_000_000
PEAK_RUNS = 5
GROWTH = 8
SHARDS = 32
TINY = 1000
BATCH = 16
BATCH_TOKENS = 100_000_000
SHARD_TOKENS = 6_000_000
LOADED = 4
COMPILED = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": COMPILED}
TOOL = str(Path(sys.executable).with_name("delaytool"))
RECIPE = load_preset("moshi")
COLUMNS = (
    Column("text_tokens", (0,), LIST, 1),
    Column("audio_codes", tuple(range(1, 1 + RECIPE.n_q)), CODEBOOK, RECIPE.n_q),
)
JOB = make_job(RECIPE, ColumnOptions(), COLUMNS)
BOOKS = pa.list_(pa.list_(pa.int64()))
TINY_ROW = pa.Table.from_batches([synthetic.batch(np.random.default_rng(4), np.full(1, 50))])


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


def run(task, *arguments):
    """What a task on one shard returns, run as the command runs it with one worker."""
    *_, last = engine.run([task(*arguments)], 1)
    if isinstance(last, engine.Failed):
        raise last.error
    return last.result


def apply(source, target, job=JOB):
    target.unlink(missing_ok=True)
    item = Item(Shard(source.name, str(source)), None, str(target))
    return run(ApplyShard, item, job, False)


def verify(target, source):
    original = None if source is None else Shard(source.name, str(source))
    verified = run(VerifyShard, Shard(target.name, str(target)), original, None, None)
    assert not verified.count, verified.mismatches


def revert(source, target):
    target.unlink(missing_ok=True)
    run(RevertShard, Shard(source.name, str(source)), str(target), None, None, False, False)


def rewrite(source, target):
    """What anyone would do with pyarrow alone: read the output's columns, write them."""
    target.unlink(missing_ok=True)
    pq.write_table(pq.read_table(source), target)


def core_time(action):
    """Seconds of all cores that an action takes in this process, the best of three."""
    return min(core_times([action], 3)[0])


def medians(*actions, rounds=ROUNDS):
    """Seconds of all cores that each action takes in this process; they run in turn."""
    return [statistics.median(times[1:]) for times in core_times(actions, rounds + 1)]


def core_times(actions, rounds):
    """The same of several, which run in turn: seconds of each in every round."""
    times = [[] for _ in actions]
    for _ in range(rounds):
        for action, taken in zip(actions, times, strict=True):
            before = time.process_time()
            action()
            taken.append(time.process_time() - before)
    return times


def pin(cores):
    """Hold this process to some cores, the threads that pyarrow has started already included."""
    for thread in os.listdir("/proc/self/task"):
        os.sched_setaffinity(int(thread), cores)


def bits_per_cell(path):
    """Bits in the file for a cell of tokens or weights (the lists' levels included); all bytes."""
    footer = pq.read_metadata(path)
    sizes, cells = Counter(), Counter()
    for group in range(footer.num_row_groups):
        for number in range(footer.num_columns):
            column = footer.row_group(group).column(number)
            name = column.path_in_schema.split(".")[0]
            kinds = ["tokens"]
            if name.endswith("_loss_weights"):
                kinds = ["weights", f"{name.split('_', maxsplit=1)[0]} weight"]
            for kind in (*kinds, "all"):
                sizes[kind] += 8 * column.total_compressed_size
                cells[kind] += column.num_values
    return {kind: sizes[kind] / cells[kind] for kind in sizes}


# Figures: (what, aim, figure, whether it is met; None where there is nothing to meet)


def ratio(what, value, aim):
    return what, f"{aim:g} or less", f"{value:.2f}", value <= aim


def in_own_process(part, folder):
    """The figures of a part that is a script, too."""
    script = Path(__file__).with_name(f"{part}.py")
    command = [sys.executable, str(script), str(folder)]
    ended = subprocess.run(command, stdout=subprocess.PIPE, env=COMPILED, check=True)
    return json.loads(ended.stdout)


def speed_figures(folder):
    source, output, plain = (folder / name for name in ("in.parquet", "out.parquet", "plain"))
    synthetic.write(source, TOKENS)
    tokens = apply(source, output).summary.counts.tokens
    spare, copied = folder / "again.parquet", folder / "copied"
    job_table.nullable(output, plain)
    back = folder / "back"
    applied, rewritten = medians(lambda: apply(source, spare), lambda: rewrite(plain, copied))
    verified, read = medians(lambda: verify(output, None), lambda: pq.read_table(plain))
    against, read_both = medians(
        lambda: verify(output, source), lambda: (pq.read_table(plain), pq.read_table(source))
    )
    reverted, again = medians(lambda: revert(output, back), lambda: apply(source, spare))
    for what, time_taken in (
        ("apply", applied),
        ("a plain read and write of what it writes", rewritten),
        ("verify", verified),
        ("a plain read of what it reads", read),
        ("revert", reverted),
    ):
        yield f"{what}: processor time a token", "", f"{time_taken / tokens * 1e9:.1f} ns", None
    yield ratio("apply: over a plain read and write", applied / rewritten, 0.9)
    yield ratio("verify: over a plain read", verified / read, 1.3)
    yield ratio("verify --source: over a plain read of both", against / read_both, 1.3)
    yield ratio("revert: over apply", reverted / again, 1)
    yield from stacked_figures(folder)
    rewrite(output, plain)
    yield from bits_figures(output, plain, "uniform codes")


def stacked_figures(folder):
    """Two columns of 9 streams taken as one grid, beside text, codes and one more text: 18 streams
    on either side, of which 17 are shifted, all of them int64.
    """
    stacked, split = folder / "stacked", folder / "split"
    outputs = folder / "stacked.parquet", folder / "split.parquet"
    job_table.write_j_moshi(stacked, TOKENS // 2)
    wide = pa.schema({"text_tokens": pa.list_(pa.int64()), "audio_codes": BOOKS})
    synthetic.write(split, TOKENS // 2)
    columns = pq.read_table(split).cast(wide)
    pq.write_table(columns.append_column("other_text", columns["text_tokens"]), split)
    first, other = (tuple(range(start, stop)) for start, stop in ((0, 9), (9, 17)))
    pair = Column("A", first, CODEBOOK, 9), Column("B", other, CODEBOOK, 9, 1)
    job = make_job(RECIPE, ColumnOptions(grid_column=("A", "B[1:]")), pair)
    actions = [lambda: apply(stacked, outputs[0], job), lambda: apply(split, outputs[1])]
    tokens = [action().summary.counts.tokens for action in actions]
    actions += [lambda output=output: verify(output, None) for output in outputs]
    times = medians(*actions)
    for what, one, other in (("apply", *times[:2]), ("verify", *times[2:])):
        over = one / tokens[0] / (other / tokens[1])
        yield ratio(f"{what} of two columns stacked: over text and codes", over, 1.3)


def growth_figures(folder):
    """What a token costs in short rows and in long ones, and in few streams and many; and what a
    shard costs among few and among many.
    """
    source, output = folder / "growth", folder / "growth.parquet"
    random = np.random.default_rng(3)
    sizes = [(frames, RECIPE.n_q) for frames in (10, 100, 1000, 10_000)]
    for frames, n_q in (*sizes, (1000, 8), (1000, 32)):
        rows = TOKENS // 8 // (frames * (1 + n_q))
        batch = synthetic.batch(random, np.full(rows, frames), n_q=n_q)
        pq.write_table(pa.Table.from_batches([batch]), source)
        recipe = plain_recipe(n_q, (0, 0, *[1] * (n_q - 1)))
        columns = COLUMNS[0], Column("audio_codes", tuple(range(1, 1 + n_q)), CODEBOOK, n_q)
        job = make_job(recipe, ColumnOptions(), columns)
        actions = (lambda job=job: apply(source, output, job), lambda: verify(output, None))
        times = [min(times) / (rows * frames * (1 + n_q)) * 1e9 for times in core_times(actions, 4)]
        what = f"rows of {frames} frames, 1 + {n_q} streams: apply and verify, a token"
        yield what, "", " and ".join(f"{time:.0f}" for time in times) + " ns", None
    for count in (10, 100, 1000, 10_000):
        data, out = folder / f"{count}", folder / f"{count}-out"
        data.mkdir()
        for number in range(count):
            pq.write_table(TINY_ROW, data / f"{number:05}.parquet")
        times = in_turn(
            lambda data=data, out=out: apply_command(data, out, 2),
            lambda out=out: subprocess.run([TOOL, "verify", str(out), "--workers", "2"], **QUIET),
            rounds=1,
        )
        what = f"{count} shards of one row, 2 workers: apply and verify, a shard"
        yield what, "", " and ".join(f"{time / count * 1e3:.1f}" for time in times) + " ms", None


def batch_figures(folder):
    """Random batches of rows from the output, and from the same rows in one row group."""
    source, output, plain = (folder / name for name in ("long", "long.parquet", "giant"))
    synthetic.write(source, BATCH_TOKENS)
    apply(source, output)
    rewrite(output, plain)
    rows = pq.read_metadata(output).num_rows
    random = np.random.default_rng(5)
    chosen = [np.sort(random.choice(rows, BATCH, replace=False)) for _ in range(10)]
    ours, giant = (
        [(lambda path=path, rows=rows: take_rows(path, rows)) for rows in chosen]
        for path in (output, plain)
    )
    fast, slow = in_turn(
        lambda: [take() for take in ours], lambda: [take() for take in giant], rounds=3
    )
    groups = pq.read_metadata(output).num_row_groups
    what = f"{BATCH} random rows of {groups} row groups: times as fast as of one"
    yield what, "2 or more", f"{slow / fast:.1f}", slow / fast >= 2


def take_rows(path, rows):
    """These rows of a file: the row groups that hold them are read, no others."""
    file = pq.ParquetFile(path)
    counts = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    ends = np.cumsum(counts)
    groups = np.searchsorted(ends, rows, side="right")
    parts = []
    for group in np.unique(groups):
        here = rows[groups == group] - (ends - counts)[group]
        parts.append(file.read_row_group(int(group)).take(pa.array(here)))
    return pa.concat_tables(parts)


def bits_figures(output, plain, kind):
    ours, theirs = bits_per_cell(output), bits_per_cell(plain)
    yield f"bits a token, {kind}", f"pyarrow {theirs['tokens']:.2f}", f"{ours['tokens']:.2f}", None
    for what in ("audio weight", "text weight"):
        aim = "less than 0.05" if what == "audio weight" else f"pyarrow {theirs[what]:.2f}"
        met = ours[what] < 0.05 if what == "audio weight" else None
        yield f"bits a cell of {what}s", aim, f"{ours[what]:.3f}", met
    aim = "less than 0.05"
    yield (
        "bits a cell of weights, all streams",
        aim,
        f"{ours['weights']:.3f}",
        ours["weights"] < 0.05,
    )
    yield ratio(f"size over pyarrow's defaults, {kind}", ours["all"] / theirs["all"], 1)


def skewed_figures(folder):
    source, output, plain = (folder / name for name in ("skewed", "skewed.parquet", "plain"))
    synthetic.write(source, TOKENS // 4, skewed=True)
    apply(source, output)
    rewrite(output, plain)
    yield from bits_figures(output, plain, "skewed codes")


def diverse_figures(folder):
    """Size and memory where each row group's dictionary of text is as large as it can be."""
    source, output, plain = (folder / name for name in ("diverse", "diverse.parquet", "plain"))
    synthetic.write(source, 2 * TOKENS, padded=False)
    command = (TOOL, "apply", str(source), str(output), "--workers", "1", "--quiet")
    peak = peak_bytes(*command) / 1e6
    rewrite(output, plain)
    over = output.stat().st_size / plain.stat().st_size
    what = f"{2 * TOKENS // 10**6} M tokens, text of words in no order"
    yield f"size over pyarrow's defaults, {what}", "1 or less", f"{over:.4f}", over <= 1
    yield f"peak memory of apply, {what}", "", f"{peak:.0f} MB", None


def memory_figures(folder):
    for tokens in (PEAK_TOKENS, PEAK_TOKENS * GROWTH):
        source, output = folder / "peak.parquet", folder / "peak-out.parquet"
        synthetic.write(source, tokens)
        size = f"one row group of {tokens // 10**6} M tokens"
        for what, arguments in (
            ("apply", ("apply", source, output, "--overwrite", "--workers", "1")),
            ("verify --source", ("verify", output, "--source", source, "--workers", "1")),
        ):
            peaks = []
            for _ in range(PEAK_RUNS):
                if what == "apply":
                    output.unlink(missing_ok=True)
                command = (sys.executable, "-m", "delaytool", *map(str, arguments), "--quiet")
                peaks.append(peak_bytes(*command) / 1e6)
            peak = statistics.median(peaks)
            yield f"peak memory of {what}, {size}", "300 MB or less", f"{peak:.0f} MB", peak <= 300


def window_figures(folder):
    """Processor time, with windows over without: of rows of a minute, and of an hour."""
    source, spare = folder / "windows", folder / "windows.parquet"
    random = np.random.default_rng(8)
    for frames, what in ((750, "a minute"), (45_000, "an hour")):
        lengths = np.full(TOKENS // (frames * synthetic.STREAMS), frames)
        batch = synthetic.batch(random, lengths)
        pq.write_table(pa.Table.from_batches([batch]), source)
        cuts = {
            "before": Windows(375),
            "before, padded": Windows(380, pad=True),
            "after": Windows(375, "after", "even"),
        }
        jobs = [JOB, *(dataclasses.replace(JOB, windows=windows) for windows in cuts.values())]
        actions = [lambda job=job: apply(source, spare, job) for job in jobs]
        whole, *cut = (min(times) for times in core_times(actions, ROUNDS))
        for name, time_taken in zip(cuts, cut, strict=True):
            yield ratio(
                f"apply, rows of {what}, windows of 30 s cut {name}: over without",
                time_taken / whole,
                1.15,
            )


def flat_figures():
    random = np.random.default_rng(7)
    for frames in (50, 5000):
        for cells in (1 << 20, 16 << 20):
            rows = cells // (frames * synthetic.STREAMS)
            batch = synthetic.batch(random, np.full(rows, frames))
            flats = [
                batch["text_tokens"].flatten().to_numpy(),
                batch["audio_codes"].flatten().flatten().to_numpy(),
            ]
            speed, beside = flat_speed(flats, np.full(rows, frames))
            what = f"shift and weights, {cells >> 20} M cells in rows of {frames}: "
            yield f"{what}speed over copyto", "0.15 or more", f"{speed:.2f}", speed >= 0.15
            yield f"{what}speed over torch's roll and fill", "", f"{beside:.1f}", None


def flat_speed(flats, lengths):
    """The speed of shifting and weighing flat arrays, over copyto's and over torch's."""
    import torch

    torch.set_num_threads(1)
    held = ((RECIPE.streams[:1], flats[0]), (RECIPE.streams[1:], flats[1]))

    def work():
        made = []
        for streams, flat in held:
            segments = Segments(RECIPE, lengths, streams)
            codes = delay_flat(flat, segments)
            made += [codes, loss_weights_flat(codes, segments)]
        return made

    grid = np.concatenate(
        [
            flats[0].reshape(len(lengths), 1, -1),
            flats[1].reshape(len(lengths), synthetic.N_Q, -1),
        ],
        axis=1,
    )
    padded = torch.from_numpy(grid.astype(np.int64))
    codes, weights = others.in_torch(padded, RECIPE)
    made = work()
    for part, whole in ((0, codes), (1, weights)):
        assert np.array_equal(made[part], whole[:, 0].numpy().ravel())
        assert np.array_equal(made[part + 2], whole[:, 1:].numpy().ravel())
    source = np.ones(sum(array.nbytes for array in made), dtype=np.uint8)
    target = np.zeros_like(source)
    shifted, copied, rolled = in_turn(
        work,
        lambda: np.copyto(target, source),
        lambda: others.in_torch(padded, RECIPE),
        rounds=30,
    )
    return copied / shifted, rolled / shifted


def start_figures(folder):
    """Help and a shard of one row, as processes of their own."""
    source, target = folder / "row.parquet", folder / "row-out.parquet"
    synthetic.write(source, 1)
    python, tool = (sys.executable, "-c"), (TOOL,)
    one = ("apply", str(source), str(target), "--overwrite", "--workers", "1", "--quiet")
    helped, wrong, clicked, applied, read = in_turn(
        lambda: subprocess.run([*tool, "--help"], check=True, **QUIET),
        lambda: subprocess.run([*tool, "apply", "--colour"], **QUIET),
        lambda: subprocess.run([*python, "import click"], check=True, **QUIET),
        lambda: (target.unlink(True), subprocess.run([*tool, *one], check=True, **QUIET)),
        lambda: subprocess.run([*python, "import pyarrow.parquet"], check=True, **QUIET),
    )
    yield ratio("--help: time over `import click`", helped / clicked, 1.5)
    yield ratio("a usage error: the same", wrong / clicked, 1.5)
    more = applied - read
    what = "apply of one row: seconds over `import pyarrow.parquet`"
    yield what, "0.30 or less", f"{more:.2f}", more <= 0.3


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
    what = f"1 to 2 workers, {size}: times as fast"
    yield what, "1.8 or more", f"{one / two:.2f}", one / two >= 1.8
    yield f"cores that 1 worker keeps busy, {size}", "", f"{cores / one:.2f}", None
    if hasattr(os, "sched_setaffinity"):
        yield from core_figures(data, out, two)
    share = tokens_in(folder / "one.parquet") / sum(
        tokens_in(path) for path in data.glob("*.parquet")
    )
    what = "one shard: time a token over that of many, 1 worker"
    yield what, "", f"{single / one / share:.2f}", None


def loader_figures(folder):
    """Loaders, each as often as in a training run: whole epochs."""
    import loaders
    import torch

    torch.set_num_threads(1)
    source, shards = folder / "unshifted", folder / "loaded"
    source.mkdir()
    for number in range(LOADED):
        synthetic.write(source / f"{number}.parquet", SHARD_TOKENS)
    apply_command(source, shards, 1)
    tokens = sum(tokens_of(path) for path in shards.iterdir())
    made = loaders.others_made(folder, shards)
    ways = {
        "delaytool.torch": lambda workers=0: loaders.ours(shards, workers),
        "the same with int16": lambda workers=0: loaders.ours(shards, workers, torch.int16),
        "row by row of tables": lambda workers=0: loaders.row_by_row(shards, workers),
        "datasets, streaming": lambda workers=0: loaders.streaming(shards, workers),
        **made,
    }
    read = core_time(lambda: loaders.read_row_groups(shards))
    times = [core_time(way) for way in ways.values()]
    by_two = in_turn(*(lambda way=way: way(2) for way in ways.values()), rounds=3)
    yield (
        "a bare read of row groups, 1 core: tokens a second",
        "",
        f"{tokens / read / 1e6:.0f} M",
        None,
    )
    for name, alone, two in zip(ways, times, by_two, strict=True):
        rates = " and ".join(f"{tokens / time / 1e6:.0f}" for time in (alone, two))
        yield f"{name}: M tokens a second, 1 core and 2 workers", "", rates, None
    ours, _, rows, streamed, *_ = times
    for what, value, aim in (
        ("a bare read", read / ours, 0.7),
        ("row by row of tables", rows / ours, 1.5),
        ("datasets, streaming", streamed / ours, 2),
    ):
        over = f"delaytool.torch: speed over {what}"
        yield over, f"{aim:g} or more", f"{value:.2f}", value >= aim


def tokens_of(path):
    """Token cells of an output."""
    metadata, columns = pq.read_metadata(path), ("text_tokens", "audio_codes")
    return sum(
        chunk.num_values
        for group in range(metadata.num_row_groups)
        for chunk in map(metadata.row_group(group).column, range(metadata.num_columns))
        if chunk.path_in_schema.startswith(columns)
    )


def core_figures(data, out, two):
    """What a second core is worth: to a worker that has one of its own, and to plain copies."""
    cores = os.sched_getaffinity(0)
    shards = sorted(data.glob("*.parquet"))

    def copies(processes):
        parts = [shards[number::processes] for number in range(processes)]
        running = [
            subprocess.Popen([sys.executable, "-c", COPY, *map(str, part)], **QUIET)
            for part in parts
        ]
        assert not any(process.wait() for process in running)

    copied_by_two = in_turn(lambda: copies(2), rounds=3)[0]
    os.sched_setaffinity(0, {min(cores)})
    one, copied_by_one = in_turn(lambda: apply_command(data, out, 1), lambda: copies(1), rounds=3)
    os.sched_setaffinity(0, cores)
    what = "1 worker on 1 core to 2 on 2: times as fast"
    yield what, "1.8 or more", f"{one / two:.2f}", one / two >= 1.8
    what = "plain copies, 1 process on 1 core to 2 on 2: the same"
    yield what, "", f"{copied_by_one / copied_by_two:.2f}", None


COPY = """
import sys, pyarrow.parquet as pq
for path in sys.argv[1:]:
    pq.write_table(pq.read_table(path, use_threads=False), path + ".copy")
"""


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
    command = [TOOL, "apply", str(source), str(target)]
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


def main(module=None):
    """module: see `job.py`"""
    print(machine(), "\n")
    job_table.main(module)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        figures = [
            *in_own_process("speed", folder),
            *growth_figures(folder),
            *skewed_figures(folder),
            *diverse_figures(folder),
            *batch_figures(folder),
            *memory_figures(folder),
            *window_figures(folder),
            *flat_figures(),
            *start_figures(folder),
            *worker_figures(folder),
            *loader_figures(folder),
            *ray_figures(folder),
        ]
    print(f"{synthetic.STREAMS} streams, {TOKENS // 10**6} M tokens where nothing else is said\n")
    print_table(figures)


if __name__ == "__main__":
    main(*sys.argv[1:])
