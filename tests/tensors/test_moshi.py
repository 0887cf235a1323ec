"""Moshi's own model on shifted shards: losses are those of moshi-finetune on unshifted codes."""

import dataclasses
import hashlib
import re
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from make import PATIENCE, SAMPLE_DATA, delaytool, free_port, training_script

from delaytool import delay, load_preset, loss_weights
from delaytool.recipes.adapt import with_audio, with_text
from delaytool.torch import Row, ShardDataset, collate

lm = pytest.importorskip("moshi.models.lm")
moshi_finetune = training_script("moshi_finetune")
train_moshi = training_script("train_moshi")
PRESET = load_preset("moshi-finetune")
CARD, TEXT_CARD, FRAMES, WINDOW = 64, 100, 20, 40
SMALL = with_text(with_audio(PRESET, card=CARD), card=TEXT_CARD)


def both_models(recipe, dim=16):
    """The script's model, and moshi's own, which delays by itself, with the same weights."""
    torch.manual_seed(0)
    ours = train_moshi.small_moshi(recipe, dim).eval()
    theirs = train_moshi.small_moshi(recipe, dim, lm.LMModel).eval()
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def loss_with_mask(logits, target, mask, first_weight=1.0, padding=()):
    """moshi-finetune's loss, of the cells of a mask: sum(weight x cross entropy) / sum(weight)."""
    chances = torch.log_softmax(logits.float(), -1)
    total = weights = 0.0
    for b, k, t in mask.nonzero().tolist():
        token = int(target[b, k, t])
        weight = (first_weight if k == 0 else 1.0) * (0.5 if token in padding else 1.0)
        total -= weight * float(chances[b, k, t, token])
        weights += weight
    return total / weights


@torch.no_grad()
def losses_of_moshi_finetune(model, codes):
    """What moshi's model makes of unshifted codes [B, 17, T], and the trainer's two losses."""
    out = model(codes)
    text = loss_with_mask(out.text_logits, codes[:, :1], out.text_mask, 1, (0, 3))
    return out, text, loss_with_mask(out.logits, codes[:, 1:9], out.mask, 100)


@pytest.fixture(scope="module")
def aligned(tmp_path_factory):
    """Sample words as text tokens, and their codes."""
    folder = tmp_path_factory.mktemp("words") / "aligned"
    delaytool("align", SAMPLE_DATA / "words", folder)
    return folder


def windows_of(aligned, text_tail):
    """Rows cut into windows and padded, as the trainer's InterleavedTokenizer hands them on."""
    (path,) = aligned.iterdir()
    for row in pq.read_table(path).to_pylist():
        grid = np.vstack([row["text_tokens"], row["audio_codes"]])
        for first in range(0, grid.shape[1], WINDOW):
            part = grid[:, first : first + WINDOW]
            padded = np.full((17, WINDOW), -1)
            padded[0] = text_tail
            padded[:, : part.shape[1]] = part
            yield padded


@pytest.mark.parametrize("text_tail", [-1, 3])
def test_losses_are_those_of_moshi_finetune(aligned, tmp_path, text_tail):
    """On sample words. The trainer fills a window's text with 3, where its code means -1."""
    streams = (dataclasses.replace(PRESET.streams[0], trail=text_tail), *PRESET.streams[1:])
    recipe = dataclasses.replace(PRESET, streams=streams)
    (tmp_path / "recipe.json").write_text(recipe.to_json())
    windows = ("--window", WINDOW, "--window-pad")
    options = ("--recipe", tmp_path / "recipe.json", *windows)
    delaytool("apply", aligned, tmp_path / "shifted", *options)
    ours, theirs = both_models(recipe)
    codes = torch.from_numpy(np.stack(list(windows_of(aligned, text_tail))))
    batches = torch.utils.data.DataLoader(
        ShardDataset(tmp_path / "shifted"), batch_size=8, collate_fn=collate
    )
    compared = 0
    for batch, unshifted in zip(batches, codes.split(8), strict=True):
        with torch.no_grad():
            found = [loss.item() for loss in moshi_finetune.losses(ours, batch)]
        _, *expected = losses_of_moshi_finetune(theirs, unshifted)
        assert found == pytest.approx(expected, rel=1e-6)
        compared += len(unshifted)
    assert compared == len(codes) > 30


@pytest.mark.parametrize("tail", [0, 3])
def test_logits_are_those_of_moshi(tail):
    """Cell by cell: whole rows that are cut, and shorter ones padded."""
    random = np.random.default_rng(1)
    text = random.integers(0, 6, (3, 1, FRAMES))
    codes = np.concatenate([text, random.integers(0, CARD, (3, 16, FRAMES))], axis=1)
    codes[:, :, FRAMES - tail :] = -1
    ours, theirs = both_models(SMALL)
    out, *expected = losses_of_moshi_finetune(theirs, torch.from_numpy(codes))
    length = "extend" if tail else "truncate"
    streams = SMALL.streams
    if tail:
        # As the trainer pads a short item before the shift.
        zero = {"padding": -1, "final": -1, "last": -1}
        streams = tuple(dataclasses.replace(stream, **zero) for stream in streams)
    recipe = dataclasses.replace(SMALL, streams=streams, length=length)
    grid = delay(codes[:, :, : FRAMES - tail], recipe)
    rows = zip(grid, loss_weights(grid, recipe), strict=True)
    batch = collate([Row.of(*map(torch.from_numpy, row)) for row in rows])
    with torch.no_grad():
        found = [loss.item() for loss in moshi_finetune.losses(ours, batch)]
        _, logits = ours(batch.codes)
    assert found == pytest.approx(expected, rel=1e-5)
    for k, stream in enumerate(recipe.streams[1:9]):
        steps = torch.arange(FRAMES)[out.mask[0, k]]
        assert int(steps.max()) + stream.delay < grid.shape[-1] - 1
        same = logits[:, k, steps + stream.delay]
        torch.testing.assert_close(same, out.logits[:, k, steps], rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def small_shards(tmp_path_factory):
    """Shifted shards of small vocabularies, whose rows differ in length."""
    random = np.random.default_rng(5)
    folder = tmp_path_factory.mktemp("small")
    lengths = random.integers(5, 40, 13)
    text = [random.integers(0, 6, n).tolist() for n in lengths]
    codes = [random.integers(0, CARD, (16, n)).tolist() for n in lengths]
    table = {"text_tokens": text, "audio_codes": codes}
    pq.write_table(pa.table(table), folder / "a.parquet")
    options = ("--preset", "moshi-finetune", "--card", CARD, "--text-card", TEXT_CARD)
    delaytool("apply", folder / "a.parquet", folder / "shifted.parquet", *options)
    return folder / "shifted.parquet"


def test_train_moshi_trains(small_shards):
    _, history = train_moshi.train(small_shards, steps=30, dim=32, lr=1e-2)
    assert np.isfinite(history).all()
    assert np.mean(history[-5:]) < np.mean(history[:5]) - 0.5


def test_shards_without_an_initial_step_are_refused(tmp_path):
    delaytool("apply", SAMPLE_DATA / "moshi", tmp_path / "shifted")
    with pytest.raises(ValueError, match="--preset moshi-finetune"):
        train_moshi.train(tmp_path / "shifted")


# moshi_finetune.py


def test_every_moshi_takes_shifted_codes_from_then_on(monkeypatch):
    monkeypatch.setattr(lm.LMModel, "forward", lm.LMModel.forward)
    ours, theirs = both_models(SMALL)
    codes = torch.randint(0, CARD, (1, 17, 5))
    moshi_finetune.take_shifted_codes()
    for found, expected in zip(theirs(codes=codes), ours(codes), strict=True):
        assert torch.equal(found, expected)
    with pytest.raises(ValueError, match="conditions"):
        theirs(codes=codes, condition_tensors={})


def test_batches_have_no_end_and_are_shuffled(small_shards):
    batches = moshi_finetune.endless(small_shards, 4, workers=1)
    lengths = [next(batches).lengths.tolist() for _ in range(9)]
    assert lengths[:3] != lengths[3:6]
    in_order = moshi_finetune.rows_for_evaluation(small_shards, 4)
    assert [len(batch.lengths) for batch in in_order] == [4, 4, 4, 1]


def evaluated(path, batch_size, ranks=None):
    """What `evaluate` writes into the trainer's state, for a model with weights of a seed."""
    if ranks is not None:
        rank, port, queue = ranks
        where = f"tcp://127.0.0.1:{port}"
        torch.distributed.init_process_group("gloo", where, rank=rank, world_size=2)
    model, _ = both_models(SMALL)
    model.train()
    state = SimpleNamespace()
    loader = moshi_finetune.rows_for_evaluation(path, batch_size)
    found = []
    for _ in range(2):
        moshi_finetune.evaluate(model, loader, state, args=None)
        found.append(dict(vars(state)))
    assert model.training
    if ranks is not None:
        torch.distributed.destroy_process_group()
        queue.put(found)
    return found


def test_evaluation_is_that_of_all_rows_each_time(small_shards):
    model, _ = both_models(SMALL)
    batch = collate(list(ShardDataset(small_shards)))
    with torch.no_grad():
        text, audio = (loss.item() for loss in moshi_finetune.losses(model, batch))
    for batch_size in (1, 4, 13):
        for state in evaluated(small_shards, batch_size):
            assert state["this_text_loss"] == pytest.approx(text, rel=1e-5)
            assert state["this_audio_loss"] == pytest.approx(audio, rel=1e-5)
            assert state["this_eval_loss"] == pytest.approx(text + audio, rel=1e-5)
            assert state["this_eval_perplexity"] == pytest.approx(np.exp(text + audio), rel=1e-3)


def test_evaluation_of_two_ranks_is_that_of_one(small_shards):
    """Of the 12 rows that they share: the thirteenth is left out."""
    context = torch.multiprocessing.get_context("fork")
    queue, port = context.SimpleQueue(), free_port()
    processes = [
        context.Process(target=evaluated, args=(small_shards, 5, (rank, port, queue)))
        for rank in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE)
        assert process.exitcode == 0
    first, second = queue.get(), queue.get()
    assert first == second
    model, _ = both_models(SMALL)
    batch = collate(list(ShardDataset(small_shards))[:12])
    with torch.no_grad():
        text, audio = (loss.item() for loss in moshi_finetune.losses(model, batch))
    assert first[1]["this_text_loss"] == pytest.approx(text, rel=1e-5)
    assert first[1]["this_audio_loss"] == pytest.approx(audio, rel=1e-5)


def test_lines_of_train_py_are_replaced(monkeypatch):
    """Another version of it is refused; and what comes in is code, indented as what goes."""
    text = "".join(f"line {n}\n" for n in range(1, 366))
    with pytest.raises(ValueError, match="2acc879"):
        moshi_finetune.edited(text)
    digest = hashlib.sha256(text.encode()).hexdigest()
    monkeypatch.setattr(moshi_finetune, "SHA256", digest)
    lines = moshi_finetune.edited(text).splitlines()
    kept = [int(line.split()[1]) for line in lines if re.fullmatch(r"line \d+", line)]
    gone = {n for first, last in moshi_finetune.EDITS for n in range(first, last + 1)}
    assert kept == [n for n in range(1, 366) if n not in gone]
    before = lines.index("line 244")
    assert lines[before + 1].strip() == 'batch = next(data_loader).to("cuda")'
