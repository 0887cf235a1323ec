"""Tensors: the training loop of sample_data/training on real outputs, and the pattern beside roll.

torch is a large download, so these tests have a target of their own: `make test-torch`.
"""

import dataclasses
import importlib
import importlib.util
import json
import multiprocessing
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from make import SAMPLE_DATA, delaytool, entry_of, rewrite, sentencepiece_model
from pages import example_with

from delaytool import align_words, delay, load_preset, loss_weights
from delaytool.recipes.adapt import with_audio, with_text

torch = pytest.importorskip("torch")
from delaytool.torch import Row, ShardDataset, collate, weighted_loss  # noqa: E402 - it needs torch

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))
others = importlib.import_module("others")


@pytest.fixture(scope="module")
def shifted(tmp_path_factory):
    """Real outputs of the command, with labels, in row groups of a few rows."""
    folder = tmp_path_factory.mktemp("training")
    delaytool("apply", SAMPLE_DATA / "moshi", folder / "shifted", "--label-columns")
    for path in (folder / "shifted").iterdir():
        rewrite(path, pq.read_table(path), entry_of(path), group=5)
    return folder


@pytest.fixture
def example(shifted, monkeypatch):
    """What the page's training loop defines."""
    monkeypatch.chdir(shifted)
    names = {}
    for what in ("repeat=True", "streaming=True"):
        exec(compile(example_with(what), "sample_data/training/README.md", "exec"), names)
    return names


def rows_of(folder, *columns):
    table = pa.concat_tables([pq.read_table(path) for path in sorted(folder.iterdir())])
    return [
        tuple(np.array(part) for part in row)
        for row in zip(*(table[name].to_pylist() for name in columns), strict=True)
    ]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("streaming", [False, True])
def test_the_training_loops_see_every_row_once_and_padded(example, shifted, workers, streaming):
    if workers and "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("what exec defines can only be forked")
    once = example["ShardDataset"]("shifted", shuffle=True)
    rows, collate = (example["stream"], "collate_rows") if streaming else (once, "collate")
    loader = torch.utils.data.DataLoader(
        rows, batch_size=7, collate_fn=example[collate], num_workers=workers
    )
    expected = {}
    columns = ("text_tokens", "audio_codes", "text_loss_weights", "audio_loss_weights")
    for text, audio, text_weights, audio_weights in rows_of(shifted / "shifted", *columns):
        grid = np.vstack([text, audio])
        expected[grid.tobytes()] = np.vstack([text_weights, audio_weights])
    seen, padded = 0, 0
    for codes, weights, lengths, _ in loader:
        assert codes.dtype == torch.int64
        assert weights.dtype == torch.float32
        assert codes.shape == weights.shape
        assert codes.shape[1] == 17
        for grid, weight, steps in zip(
            codes.numpy(), weights.numpy(), lengths.tolist(), strict=True
        ):
            assert (grid[:, steps:] == -1).all()
            assert (weight[:, steps:] == 0).all()
            np.testing.assert_array_equal(
                weight[:, :steps], expected.pop(np.ascontiguousarray(grid[:, :steps]).tobytes())
            )
            seen += 1
            padded += grid.shape[1] - steps
    assert not expected
    assert seen == 48
    assert padded


def test_the_readmes_loader(shifted, monkeypatch):
    monkeypatch.chdir(shifted)
    names = {}
    exec(compile(example_with("once ="), "README.md", "exec"), names)
    assert len(names["once"]) == 48
    assert names["batch"].codes.shape[:2] == (16, 17)


def test_the_page_stops_and_goes_on(example):
    torchdata = pytest.importorskip("torchdata.stateful_dataloader")
    example["rows"] = example["ShardDataset"]("shifted", shuffle=True)
    where = "sample_data/training/README.md"
    exec(compile(example_with("load_state_dict"), where, "exec"), example)
    assert isinstance(example["loader"], torchdata.StatefulDataLoader)
    rest = sum(len(batch.lengths) for batch in example["loader"])
    assert rest + len(example["first"].lengths) == 48


def test_the_loss_is_that_of_the_label_columns(example, shifted):
    """And what an output layer of `card` logits cannot predict does not reach it."""
    torch.manual_seed(3)
    columns = ("audio_codes", "audio_loss_weights", "audio_labels")
    for tokens, factors, labels in rows_of(shifted / "shifted", *columns)[:3]:
        codes, weights = torch.from_numpy(tokens)[None], torch.from_numpy(factors)[None].float()
        targets = torch.where(weights > 0, codes, -100)
        np.testing.assert_array_equal(targets[0].numpy(), labels)
        logits = torch.randn(*codes.shape, 2048)
        chances = torch.log_softmax(logits, -1).numpy()[0]
        total = 0.0
        for k, s in np.argwhere(labels != -100):
            total -= weights[0, k, s].item() * chances[k, s, labels[k, s]]
        found = example["weighted_loss"](logits, codes, weights).item()
        assert found == pytest.approx(total / weights.sum().item(), rel=1e-4)
        with pytest.raises(IndexError):
            torch.nn.functional.cross_entropy(logits.flatten(0, 2), codes.flatten())


@pytest.mark.parametrize("preset", ["moshi", "moshi-pretrain", "hibiki-2b"])
def test_delay_is_a_roll_and_fill(preset):
    recipe = load_preset(preset)
    random = np.random.default_rng(4)
    codes = random.integers(0, 2048, (3, 1 + recipe.n_q, 20))
    rolled, weights = others.in_torch(torch.from_numpy(codes), recipe)
    shifted = delay(codes, recipe)
    np.testing.assert_array_equal(shifted, rolled.numpy())
    np.testing.assert_array_equal(loss_weights(shifted, recipe), weights.numpy())


# From words and from wav files to a loss


def test_from_sample_words_to_a_loss_that_falls(tmp_path):
    """Align, apply, and steps of a model that predicts each stream from the column before."""
    delaytool("align", SAMPLE_DATA / "words", tmp_path / "aligned")
    delaytool("apply", tmp_path / "aligned", tmp_path / "shifted", "--preset", "moshi-finetune")
    torch.manual_seed(1)
    batch = collate(list(ShardDataset(str(tmp_path / "shifted"))))
    codes, weights = batch.codes, batch.weights
    assert codes.shape[1] == 17
    card = 64  # Ids are folded: a table of 32,000 learns no more.
    table = torch.nn.Embedding(card, 32)
    heads = torch.nn.ModuleList(torch.nn.Linear(32, card) for _ in range(9))
    steps = torch.optim.Adam([*table.parameters(), *heads.parameters()], lr=0.03)
    losses = []
    for _ in range(8):
        hidden = table(codes[:, :9, :-1] % card).sum(1)
        logits = torch.stack([head(hidden) for head in heads], 1)
        targets, factors = codes[:, :, 1:] % card, weights[:, :, 1:]
        text = weighted_loss(logits[:, :1], targets[:, :1], factors[:, :1])
        audio = weighted_loss(logits[:, 1:], targets[:, 1:9], factors[:, 1:9])
        steps.zero_grad()
        (text + audio).backward()
        steps.step()
        losses.append((text + audio).item())
    assert all(np.isfinite(losses))
    assert losses[-1] < losses[0] - 0.1
    # Frames without a word weigh half.
    words = (codes[:, 0] > 3) & (codes[:, 0] < 32000)
    assert set(weights[:, 0][words].tolist()) == {1.0}
    assert set(weights[:, 0][(codes[:, 0] == 3) | (codes[:, 0] == 0)].tolist()) <= {0.5, 0.0}


def test_wav_files_become_a_shard_of_words_and_codes(tmp_path):
    """The page's script with a Mimi that knows nothing yet, align and apply on what it makes."""
    loaders = pytest.importorskip("moshi.models.loaders")
    sphn = pytest.importorskip("sphn")
    spec = importlib.util.spec_from_file_location(
        "encode_audio", SAMPLE_DATA / "training" / "encode_audio.py"
    )
    encode_audio = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(encode_audio)
    torch.manual_seed(0)
    mimi = loaders.get_mimi(None).eval()
    (tmp_path / "wavs").mkdir()
    random = np.random.default_rng(2)
    for name, seconds in (("a", 1.0), ("b", 0.5)):
        noise = (random.standard_normal(int(24_000 * seconds)) / 10).astype(np.float32)
        sphn.write_wav(str(tmp_path / "wavs" / f"{name}.wav"), noise, 24_000)
    words = {"alignments": [["hello", [0.1, 0.3], "SPEAKER_MAIN"]]}
    (tmp_path / "wavs" / "a.json").write_text(json.dumps(words))
    encode_audio.write_shard(tmp_path / "wavs", tmp_path / "words" / "a.parquet", mimi)
    table = pq.read_table(tmp_path / "words" / "a.parquet")
    assert table["id"].to_pylist() == ["a", "b"]
    frames = [[len(book) for book in codes] for codes in table["audio_codes"].to_pylist()]
    assert frames == [[13] * 8, [7] * 8]
    (tmp_path / "words.model").write_bytes(sentencepiece_model())
    tokenizer = ("--tokenizer", tmp_path / "words.model")
    delaytool("align", tmp_path / "words", tmp_path / "aligned", *tokenizer)
    text = pq.read_table(tmp_path / "aligned" / "a.parquet")["text_tokens"].to_pylist()
    assert text[0] == align_words(words["alignments"], 13, tokenizer=tokenizer[1]).tolist()
    assert text[1] == [-1] * 7
    recipe = ("--n-q", 8, "--delays", 1)
    delaytool("apply", tmp_path / "aligned", tmp_path / "shifted", *recipe)
    delaytool("verify", tmp_path / "shifted")


# moshi's own model, small and random


CARD, TEXT_CARD, FRAMES = 64, 100, 20


@pytest.fixture(scope="module")
def small_moshi():
    model_module = pytest.importorskip("moshi.models.lm")
    torch.manual_seed(0)
    recipe = load_preset("moshi")
    return model_module.LMModel(
        delays=list(recipe.delays),
        n_q=16,
        dep_q=8,
        card=CARD,
        text_card=TEXT_CARD,
        dim=32,
        num_heads=4,
        num_layers=2,
        depformer_dim=16,
        depformer_num_heads=2,
        depformer_num_layers=2,
        depformer_multi_linear=True,
        depformer_weights_per_step=True,
        depformer_pos_emb="none",
        positional_embedding="rope",
        norm="rms_norm_f32",
        gating="silu",
        depformer_gating="silu",
        causal=True,
        context=50,
    ).eval()


def loss_with_mask(logits, target, mask, first_weight=1.0, padding=()):
    """moshi-finetune's loss, cell by cell: sum(weight * cross entropy) / sum(weight)."""
    total = weights = 0.0
    chances = torch.log_softmax(logits.float(), -1)
    for b, k, t in mask.nonzero().tolist():
        token = int(target[b, k, t])
        weight = (first_weight if k == 0 else 1.0) * (0.5 if token in padding else 1.0)
        total -= weight * float(chances[b, k, t, token])
        weights += weight
    return total / weights


@pytest.mark.parametrize("tail", [0, 3])
def test_moshis_own_model_has_the_same_logits_and_losses(example, small_moshi, monkeypatch, tail):
    """The page's lines beside `LMModel.forward`: whole rows cut, and shorter ones padded."""
    random = np.random.default_rng(1)
    text = random.integers(0, 6, (3, 1, FRAMES))
    codes = np.concatenate([text, random.integers(0, CARD, (3, 16, FRAMES))], axis=1)
    codes[:, :, FRAMES - tail :] = -1
    with torch.no_grad():
        theirs = small_moshi(torch.from_numpy(codes))
        target = torch.from_numpy(codes)
        text_loss = loss_with_mask(theirs.text_logits, target[:, :1], theirs.text_mask, 1, (0, 3))
        audio_loss = loss_with_mask(theirs.logits, target[:, 1:9], theirs.mask, 100)

    length = "extend" if tail else "truncate"
    recipe = with_text(with_audio(load_preset("moshi-finetune"), card=CARD), card=TEXT_CARD)
    streams = recipe.streams
    if tail:
        # As the trainer pads a short item before the shift.
        zero = {"padding": -1, "final": -1, "last": -1}
        streams = tuple(dataclasses.replace(stream, **zero) for stream in streams)
    recipe = dataclasses.replace(recipe, streams=streams, length=length)
    grid = delay(codes[:, :, : FRAMES - tail], recipe)
    model_class = type(small_moshi)
    monkeypatch.setattr(model_class, "forward", model_class.forward)
    exec(compile(example_with("def forward_shifted"), "sample_data/training/README.md", "exec"), {})
    rows = zip(grid, loss_weights(grid, recipe), strict=True)
    batch = collate([Row.of(*map(torch.from_numpy, row)) for row in rows])
    names = {
        **example,
        "device": "cpu",
        "model": small_moshi,
        "batches": iter([batch]),
        "n_batch_tokens": 0,
        "n_real_tokens": 0,
    }
    with torch.no_grad():
        exec(compile(example_with("text_loss ="), "sample_data/training/README.md", "exec"), names)
    assert float(names["text_loss"]) == pytest.approx(text_loss, rel=1e-5)
    assert float(names["audio_loss"]) == pytest.approx(audio_loss, rel=1e-5)
    assert names["n_real_tokens"] == int(theirs.text_mask.sum() + theirs.mask.sum())
    kept = grid.shape[-1] - 1
    for k, stream in enumerate(recipe.streams[1:9]):
        mask = theirs.mask[0, k]
        steps = torch.arange(FRAMES)[mask]
        ours = names["audio_logits"][:, k, steps + stream.delay]
        assert int(steps.max()) + stream.delay < kept
        torch.testing.assert_close(ours, theirs.logits[:, k, steps], rtol=1e-4, atol=1e-5)
