"""Training scripts of sample_data/training on shards that the command made: the loss falls."""

import dataclasses
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from make import SAMPLE_DATA, delaytool, tokens_table, training_script
from pages import SCRIPTS, WAY, run_in_shell

from delaytool import load_preset
from delaytool.recipes.presets import plain_recipe
from delaytool.torch import weighted_loss

tiny = training_script("train_tiny")


def falls(history, by):
    """Whether the mean of the last losses is below that of the first ones, by so much."""
    assert np.isfinite(history).all()
    return np.mean(history[-3:]) < np.mean(history[:3]) - by


def losses_of(done):
    """The losses that a script printed, every line of it."""
    printed = [line.split() for line in done.stdout.splitlines()]
    assert [line[0] for line in printed] == ["step"] * len(printed)
    return [float(line[line.index("loss") + 1]) for line in printed]


# The commands of the pages


def test_the_readmes_way_from_words_to_a_falling_loss(tmp_path):
    """Every command of it, one after another, as it is printed."""
    (tmp_path / "sample_data").symlink_to(SAMPLE_DATA)
    for command in WAY:
        if not command.startswith("pip "):
            done = run_in_shell(command, tmp_path)
    losses = losses_of(done)
    assert losses[0] == pytest.approx(np.log(32000) + np.log(2048), abs=1)
    assert falls(losses, by=5)


@pytest.mark.parametrize("command", [command for command in SCRIPTS if command not in WAY])
def test_the_scripts_run_as_the_page_says(tmp_path, command):
    (tmp_path / "sample_data").symlink_to(SAMPLE_DATA)
    shards = ("--preset", "moshi-finetune")
    delaytool("apply", "sample_data/moshi", "shifted", *shards, cwd=tmp_path)
    losses = losses_of(run_in_shell(command, tmp_path))
    assert losses[-1] < losses[0] - 1


# train_tiny.py


WITHOUT_TEXT = load_preset("musicgen")
TEXT_ALONE = dataclasses.replace(plain_recipe(3, (0, 0, 1, 2)), dep_q=0)
TWO_TEXTS = plain_recipe(2, (2, 0, 0, 1), text=2)


@pytest.mark.parametrize("recipe", [WITHOUT_TEXT, TEXT_ALONE, TWO_TEXTS])
def test_train_tiny_takes_any_recipe(tmp_path, recipe):
    """Some rows hold zero tokens; streams may have no text, only text predicted, or two texts."""
    table = tokens_table(rows=9, n_q=recipe.n_q)
    text = table["text_tokens"].to_pylist()
    text[2] = [-1] * len(text[2])
    table = table.append_column("b", pa.array(text))
    pq.write_table(table, tmp_path / "a.parquet")
    (tmp_path / "recipe.json").write_text(json.dumps(recipe.to_dict()))
    columns = [("--text-column", "text_tokens"), ("--text-column", "b")][: len(recipe.text)]
    options = ("--recipe", tmp_path / "recipe.json", *sum(columns, ()))
    delaytool("apply", tmp_path / "a.parquet", tmp_path / "b.parquet", *options)
    model, history = tiny.train(tmp_path / "b.parquet", steps=12, dim=16, layers=1, lr=0.01)
    assert falls(history, by=0.5)
    assert model.predicted == [k for k in range(len(recipe.streams)) if recipe.carries_loss(k)]


@pytest.fixture
def untrained():
    """A small model, a grid [B, K, S] with zero tokens, and its weights."""
    torch.manual_seed(1)
    recipe = plain_recipe(2, (0, 0, 1))
    codes = torch.randint(-1, 2048, (2, 3, 9))
    return recipe, tiny.Tiny(recipe, dim=16), codes, torch.rand(codes.shape) * (codes >= 0)


def test_a_column_is_predicted_from_those_before_it_alone(untrained):
    _, model, codes, _ = untrained
    before = model(codes)
    for column in range(codes.shape[-1]):
        changed = codes.clone()
        changed[:, :, column] = (codes[:, :, column] + 7) % 2048
        for k, logits in model(changed).items():
            same = (logits == before[k]).all(dim=(0, 1, 3)).tolist()
            assert same[: column + 1] == [True] * (column + 1)
            assert not any(same[column + 1 :])


def test_zero_tokens_are_no_input(untrained):
    _, model, codes, _ = untrained
    others = codes.clone()
    others[codes == -1] = -2
    for k, logits in model(others).items():
        assert torch.equal(logits, model(codes)[k])
    assert (tiny.embed(torch.tensor([[-1, 5]]), model.embeddings[0])[0, 0] == 0).all()


def test_its_losses_are_weighted_means(untrained):
    recipe, model, codes, weights = untrained
    logits = model(codes)
    found = tiny.losses(recipe, logits, codes, weights)
    text = weighted_loss(logits[0], codes[:, :1], weights[:, :1])
    both = torch.cat([logits[1], logits[2]], dim=1)
    audio = weighted_loss(both, codes[:, 1:], weights[:, 1:])
    torch.testing.assert_close(found, {"text": text, "audio": audio})
