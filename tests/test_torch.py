"""Tensors: the README's training loop on real outputs, and the pattern beside torch's roll.

torch is a large download, so these tests have a target of their own: `make test-torch`.
"""

import importlib
import multiprocessing
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from make import SAMPLE_DATA, delaytool
from test_readme import python_examples

from delaytool import delay, load_preset, loss_weights

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))
others = importlib.import_module("others")


@pytest.fixture(scope="module")
def shifted(tmp_path_factory):
    """Real outputs of the command, with labels, in row groups of a few rows."""
    folder = tmp_path_factory.mktemp("training")
    delaytool("apply", SAMPLE_DATA / "moshi", folder / "shifted", "--label-columns")
    for path in (folder / "shifted").iterdir():
        pq.write_table(pq.read_table(path), path, row_group_size=5)
    return folder


@pytest.fixture
def example(shifted, monkeypatch):
    """What the README's training loop defines."""
    monkeypatch.chdir(shifted)
    names = {}
    _, code = python_examples()
    exec(compile(code, "README.md", "exec"), names)
    return names


def rows_of(folder, *columns):
    table = pa.concat_tables([pq.read_table(path) for path in sorted(folder.iterdir())])
    return [
        tuple(np.array(part) for part in row)
        for row in zip(*(table[name].to_pylist() for name in columns), strict=True)
    ]


@pytest.mark.parametrize("workers", [0, 2])
def test_the_training_loop_sees_every_row_once_and_padded(example, shifted, workers):
    if workers and "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("what exec defines can only be forked")
    loader = torch.utils.data.DataLoader(
        example["Rows"](), batch_size=7, collate_fn=example["collate"], num_workers=workers
    )
    expected = {}
    for text, audio, text_weights, audio_weights in rows_of(
        shifted / "shifted", *example["COLUMNS"]
    ):
        grid = np.vstack([text, audio])
        expected[grid.tobytes()] = np.vstack([text_weights, audio_weights])
    seen, padded = 0, 0
    for codes, weights in loader:
        assert codes.dtype == torch.int64
        assert weights.dtype == torch.float32
        assert codes.shape == weights.shape
        assert codes.shape[1] == 17
        for grid, weight in zip(codes.numpy(), weights.numpy(), strict=True):
            steps = int((grid != -1).any(axis=0).sum())
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
        found = example["loss"](logits, codes, weights).item()
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
