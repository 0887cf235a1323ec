"""Models that are not Kyutai's: what they get of shifted shards is what their own code makes."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from make import delaytool, training_script

from delaytool.torch import ShardDataset, collate

transformers = pytest.importorskip("transformers")
LENGTHS = (7, 1, 30, 19)


def rows_of(n_q, card, lengths=LENGTHS, seed=0):
    """Codes [n_q, T] of some rows."""
    random = np.random.default_rng(seed)
    return [random.integers(0, card, (n_q, frames)) for frames in lengths]


def write(path, codes, **columns):
    pq.write_table(pa.table({"audio_codes": [row.tolist() for row in codes], **columns}), path)


def falls(history):
    """Whether the mean of the last losses is clearly below that of the first ones."""
    assert np.isfinite(history).all()
    return np.mean(history[-5:]) < np.mean(history[:5]) - 0.3


# MusicGen


CARD = 64
MUSICGEN = ("--preset", "musicgen", "--length", "truncate", "--card", CARD)


@pytest.fixture
def music(tmp_path):
    """Four codebooks, and the same ones shifted; rows are longer than the largest delay."""
    codes = rows_of(4, CARD, lengths=(7, 5, 30, 19))
    write(tmp_path / "a.parquet", codes)
    delaytool("apply", tmp_path / "a.parquet", tmp_path / "b.parquet", *MUSICGEN)
    return codes, tmp_path / "b.parquet"


def test_musicgens_labels_and_loss_are_those_of_its_own_pattern(music):
    """What transformers' pattern makes of the codes with an initial column, as trainers prepare it.

    Each row alone: how the model's loss weighs codebooks depends on the padding of a batch.
    """
    musicgen = training_script("musicgen")
    codes, shards = music
    rows = ShardDataset(shards)
    torch.manual_seed(0)
    model = musicgen.small_musicgen(rows.recipe, dim=16).eval()
    for unshifted, row in zip(codes, rows, strict=True):
        column = np.full((4, 1), CARD)
        theirs = torch.from_numpy(np.hstack([column, unshifted]))
        shape = theirs.shape[-1] + 4
        theirs, mask = model.build_delay_pattern_mask(theirs, CARD, shape)
        labels = model.apply_delay_pattern_mask(theirs, mask)[None, :, 1:].transpose(1, 2)
        ours = musicgen.labels_of(collate([row]))
        assert torch.equal(torch.where(labels == CARD, -100, labels), ours)
        with torch.no_grad():
            found, expected = model(labels=ours).loss, model(labels=labels).loss
        assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    batch = musicgen.labels_of(collate(list(rows)))
    for number, row in enumerate(rows):
        alone = musicgen.labels_of(collate([row]))[0]
        assert torch.equal(batch[number, : len(alone)], alone)
        assert (batch[number, len(alone) :] == -100).all()


def test_musicgen_trains(music):
    _, history = training_script("musicgen").train(music[1], steps=30, dim=16, lr=0.01)
    assert falls(history)


# Dia


@pytest.fixture
def speech(tmp_path):
    """Nine codebooks with what is said, and the same ones shifted."""
    codes = rows_of(9, 1024)
    text = ["[S1] One.", "[S1] Two. [S2] Three?", " ", "[S2] Vier, fünf."]
    write(tmp_path / "a.parquet", codes, text=text)
    options = ("--preset", "dia", "--audio-layout", "codebook")
    delaytool("apply", tmp_path / "a.parquet", tmp_path / "b.parquet", *options)
    return codes, text, tmp_path / "b.parquet"


def test_dias_inputs_and_labels_are_those_of_its_processor(speech):
    dia = training_script("dia")
    codes, text, shards = speech
    tokenizer = transformers.DiaTokenizer()
    for unshifted, said, row in zip(
        codes, text, ShardDataset(shards, columns=["text"]), strict=True
    ):
        found = dia.inputs_of(collate([row], pad_token=1025), tokenizer)
        inputs = delayed_by_processor(unshifted)
        assert torch.equal(found["decoder_input_ids"], inputs[:, :-1])
        labels = inputs[:, 1:].clone()
        labels[(labels == 1025) | (labels == 1026)] = -100
        assert torch.equal(found["labels"], labels[0].T)
        assert found["decoder_attention_mask"].tolist() == [[1] * (inputs.shape[1] - 1)]
        assert found["input_ids"].tolist() == [tokenizer(said)["input_ids"]]


def delayed_by_processor(codes):
    """What DiaProcessor's own functions make of codes [9, T] for training, [1, S, 9]."""
    made = transformers.DiaProcessor
    delays = made.audio_kwargs["delay_pattern"]
    frames, books = codes.T.shape
    column, end = np.full((1, books), 1026), np.full((1, books), 1024)
    steps = frames + 2 + max(delays)
    prefill = torch.full((1, steps, books), 1025)
    prefill[0, : frames + 2] = torch.from_numpy(np.vstack([column, codes.T, end]))
    where = made.build_indices(1, steps, books, delays)
    return made.apply_audio_delay(prefill, 1025, 1026, where)


def test_padding_of_dias_batches_changes_nothing(speech):
    """The loss of a batch is the mean over the labels of its rows alone."""
    dia = training_script("dia")
    *_, shards = speech
    rows = list(ShardDataset(shards, columns=["text"]))
    recipe = ShardDataset(shards).recipe
    torch.manual_seed(0)
    model, tokenizer = dia.small_dia(recipe, dim=16).eval(), transformers.DiaTokenizer()

    def loss_of(*rows):
        inputs = dia.inputs_of(collate(rows, pad_token=1025), tokenizer)
        with torch.no_grad():
            return model(**inputs).loss.item(), (inputs["labels"] != -100).sum().item()

    alone = [loss_of(row) for row in rows]
    both, count = loss_of(*rows)
    assert count == sum(cells for _, cells in alone)
    assert both == pytest.approx(sum(loss * cells for loss, cells in alone) / count, rel=1e-5)


def test_dia_trains(speech):
    *_, shards = speech
    _, history = training_script("dia").train(shards, steps=30, dim=16, lr=0.01)
    assert falls(history)


# J-Moshi


@pytest.fixture
def dialogues(tmp_path):
    """A grid [9][T] of each speaker, with zero tokens, and the shards that J-Moshi's page makes."""
    pytest.importorskip("moshi")
    random = np.random.default_rng(6)
    speakers = {}
    for speaker in "AB":
        text = [random.choice([0, 3, 11, -1, 31999], n) for n in LENGTHS]
        audio = [random.integers(-1, 2048, (8, n)) for n in LENGTHS]
        speakers[speaker] = [np.vstack(pair) for pair in zip(text, audio, strict=True)]
    table = pa.table({name: [grid.tolist() for grid in grids] for name, grids in speakers.items()})
    pq.write_table(table, tmp_path / "a.parquet")
    grids = ("--preset", "j-moshi", "--grid-column", "A", "--grid-column", "B[1:]")
    delaytool("apply", tmp_path / "a.parquet", tmp_path / "b.parquet", *grids)
    labels = ("--label-columns", "--no-weights")
    delaytool("apply", tmp_path / "a.parquet", tmp_path / "labels.parquet", *grids, *labels)
    pairs = zip(speakers["A"], speakers["B"], strict=True)
    return [np.vstack([main, other[1:]]) for main, other in pairs], tmp_path


def delayed_by_j_moshi(codes):
    """What its data preparation makes of codes [17, T]: streams and labels, cell by cell."""
    streams, labels = [], []
    for k, delay in enumerate([0, 0, *[1] * 7, 0, *[1] * 7]):
        initial, trailing = (32000, 3) if k == 0 else (2048, 2048)
        line = [initial] * (1 + delay) + codes[k].tolist() + [trailing] * (1 - delay)
        streams.append(line)
        labels.append([token if token < initial else -1 for token in line])
    return np.array(streams), np.array(labels)


def test_j_moshis_streams_and_labels(dialogues):
    rows, folder = dialogues
    found = training_script("j_moshi").streams_and_labels(
        pq.read_table(folder / "labels.parquet").to_pydict()
    )
    for codes, *ours in zip(rows, *found, strict=True):
        for line, expected in zip(ours, delayed_by_j_moshi(codes), strict=True):
            np.testing.assert_array_equal(line, expected)


def test_j_moshis_losses(dialogues):
    """Two means for the text; in that of the audio both speakers' semantic tokens weigh 100."""
    j_moshi, train_moshi = training_script("j_moshi"), training_script("train_moshi")
    rows, folder = dialogues
    shards = ShardDataset(folder / "b.parquet")
    torch.manual_seed(0)
    model = train_moshi.small_moshi(shards.recipe, dim=16).eval()
    with torch.no_grad():
        found = j_moshi.losses(model, collate(list(shards)))
    sums = {"words": [], "padding": []}
    total = weights = 0.0
    for codes in rows:
        streams, labels = map(torch.from_numpy, delayed_by_j_moshi(codes))
        with torch.no_grad():
            text, audio = model(streams[None])
        chances = torch.log_softmax(text[0, 0], -1)
        for step, label in enumerate(labels[0, 1:].tolist()):
            if label != -1:
                sums["padding" if label == 3 else "words"].append(-chances[step, label].item())
        chances = torch.log_softmax(audio[0], -1)
        for k, line in enumerate(labels[1:, 1:].tolist()):
            for step, label in enumerate(line):
                if label != -1:
                    weight = 100 if k in (0, 8) else 1
                    total -= weight * chances[k, step, label].item()
                    weights += weight
    expected = np.mean(sums["words"]) + 0.5 * np.mean(sums["padding"])
    assert found["text"].item() == pytest.approx(expected, rel=1e-5)
    assert found["audio"].item() == pytest.approx(total / weights, rel=1e-5)


def test_j_moshi_trains(dialogues):
    _, folder = dialogues
    train = training_script("j_moshi").train
    _, history = train(folder / "b.parquet", steps=20, dim=32, batch_size=2, lr=0.01)
    assert falls(history)
