"""Tensors: the training loop of sample_data/training on real outputs, and the pattern beside roll.

torch is a large download, so these tests have a target of their own: `make test-torch`.
"""

import importlib
import json
import multiprocessing
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from make import SAMPLE_DATA, delaytool, entry_of, rewrite, sentencepiece_model, training_script
from pages import example_with

from delaytool import align_words, delay, load_preset, loss_weights

torch = pytest.importorskip("torch")
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


# From wav files


def test_wav_files_become_a_shard_of_words_and_codes(tmp_path):
    """The page's script with a Mimi that knows nothing yet, align and apply on what it makes."""
    loaders = pytest.importorskip("moshi.models.loaders")
    sphn = pytest.importorskip("sphn")
    encode_audio = training_script("encode_audio")
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
