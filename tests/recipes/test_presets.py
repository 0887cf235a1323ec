"""Presets hold the numbers of their sources, and model configs become recipes.

What other projects' own functions returned (golden/) comes out of the command line too.
"""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from make import delaytool

from delaytool import delay, loss_weights
from delaytool.errors import RecipeError
from delaytool.recipes import adapt
from delaytool.recipes.model_config import from_model_config, notes_on_model_config
from delaytool.recipes.presets import load_preset, plain_recipe, preset_names, read_preset
from delaytool.recipes.recipe import Recipe
from delaytool.recipes.stream import Stream

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "golden.json").read_text())

CONFIG = {
    "dim": 4096,
    "n_q": 16,
    "dep_q": 8,
    "card": 2048,
    "text_card": 32000,
    "existing_text_padding_id": 3,
    "delays": [0, 0, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1],
}


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_loads_and_says_what_it_is_and_where_it_is_from(name):
    preset = read_preset(name)
    assert preset.name == name
    assert 3 < len(preset.summary) <= 25, "a line of the list fits a terminal"
    assert len(preset.description) > 20
    assert len(preset.source) > 20
    assert preset.recipe == load_preset(name)
    assert Recipe.from_json(preset.recipe.to_json()) == preset.recipe


def test_the_default_is_moshi_and_first():
    assert preset_names()[0] == "moshi"
    assert set(preset_names()) >= {"moshi", "moshi-pretrain", "moshi-finetune"}
    assert load_preset() == load_preset("moshi")


@pytest.mark.parametrize("name", ["", "../presets/moshi", "nothing"])
def test_an_unknown_preset_is_named_with_those_there_are(name):
    with pytest.raises(RecipeError, match="there are moshi, audiogen, "):
        load_preset(name)


@pytest.mark.parametrize("name", ["Moshi", "moshi.json", "moshi_pretrain", "mushi"])
def test_the_nearest_presets_are_suggested(name):
    with pytest.raises(RecipeError, match=r"did you mean (.+ or )?moshi"):
        load_preset(name)


def test_moshi():
    recipe = load_preset("moshi")
    assert recipe.delays == (0, 0, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1)
    assert (recipe.n_q, recipe.dep_q, recipe.length) == (16, 8, "extend")
    assert (recipe.initial_step, recipe.final_step) == (False, False)
    text = recipe.streams[0]
    assert (text.name, text.kind, text.cardinality) == ("text", "text", 32000)
    assert text.fills == (32000, 3, 3)
    assert (text.weight, text.token_weights) == (1, {0: 0.5, 3: 0.5})
    for number, stream in enumerate(recipe.audio):
        semantic = number in (0, 8)
        assert stream.kind == ("semantic" if semantic else "acoustic")
        assert stream.name.startswith("moshi_" if number < 8 else "user_")
        assert stream.cardinality == 2048
        assert stream.fills == (2048, 2048, 2048)
        assert (stream.weight, stream.token_weights) == (100 if semantic else 1, {})
    for stream in recipe.streams:
        assert (stream.final_weight, stream.padding_weight) == (0, 0)


def test_moshi_pretrain_is_moshi_with_acoustic_delay_2():
    recipe, moshi = load_preset("moshi-pretrain"), load_preset("moshi")
    assert recipe.delays == (0, 0, *[2] * 7, 0, *[2] * 7)
    assert recipe.to_dict() | {"streams": 0} == moshi.to_dict() | {"streams": 0}
    for ours, theirs in zip(recipe.streams, moshi.streams, strict=True):
        assert ours.to_dict() | {"delay": 0} == theirs.to_dict() | {"delay": 0}


def test_moshi_finetune_is_moshi_as_its_model_delays_it():
    recipe, moshi = load_preset("moshi-finetune"), load_preset("moshi")
    assert (recipe.length, recipe.initial_step, recipe.final_step) == ("truncate", True, False)
    assert recipe.streams == moshi.streams
    assert {stream.trail for stream in recipe.streams} == {-1}, "how windows are padded"


def test_the_speakers_of_personaplex_and_hibiki():
    personaplex, hibiki = load_preset("personaplex"), load_preset("hibiki-1b")
    assert personaplex.streams == load_preset("moshi").streams
    assert (personaplex.n_q, personaplex.dep_q) == (16, 16)
    assert (hibiki.n_q, hibiki.dep_q, hibiki.text[0].cardinality) == (16, 8, 48000)
    assert hibiki.delays == (0, 0, *[2] * 7, 0, *[2] * 7)
    for recipe in (personaplex, hibiki):
        assert (recipe.length, recipe.initial_step) == ("truncate", True)


@pytest.mark.parametrize(
    ("name", "offset", "card"), [("kyutai-stt-1b", 6, 8000), ("kyutai-stt-2.6b", 31, 4000)]
)
def test_the_text_of_kyutai_stt_comes_later(name, offset, card):
    recipe = load_preset(name)
    assert (recipe.n_q, recipe.dep_q, recipe.max_delay) == (32, 0, 0)
    assert [stream.offset for stream in recipe.streams] == [offset] + [0] * 32
    assert (recipe.text[0].lead, recipe.text[0].cardinality) == (-1, card)
    assert (recipe.length, recipe.content_length, recipe.initial_step) == (
        "truncate",
        "truncate",
        True,
    )


@pytest.mark.parametrize(
    ("n_q", "names"),
    [
        (1, ["text", "semantic"]),
        (2, ["text", "semantic", "acoustic"]),
        (3, ["text", "semantic", "acoustic_1", "acoustic_2"]),
        (8, ["text", "semantic", *(f"acoustic_{i}" for i in range(1, 8))]),
    ],
)
def test_plain_streams_have_moshis_names_tokens_and_weights(n_q, names):
    delays = tuple(range(n_q + 1))
    recipe = plain_recipe(n_q, delays)
    assert [stream.name for stream in recipe.streams] == names
    assert (recipe.delays, recipe.dep_q, recipe.length) == (delays, n_q, "extend")
    assert recipe.streams[0] == load_preset("moshi").streams[0]
    assert [stream.weight for stream in recipe.streams] == [1, 100, *[1] * (n_q - 1)]
    assert {stream.fills for stream in recipe.audio} == {(2048, 2048, 2048)}
    without = plain_recipe(n_q, delays[1:], text=False)
    assert without.streams == recipe.audio
    assert not without.has_text


@pytest.mark.parametrize("delays", [(), (0,), (0, 1), (0, 0, 1, 1)])
def test_plain_streams_need_a_delay_each(delays):
    with pytest.raises(RecipeError, match=f"{len(delays)} delays for 3 streams"):
        plain_recipe(2, delays)


def test_the_config_of_moshi_7b_is_the_preset():
    assert from_model_config(CONFIG) == load_preset("moshi")


def test_the_config_of_a_2b_model():
    delays = [0, 0, *[2] * 15, 0, *[2] * 15]
    config = CONFIG | {"n_q": 32, "dep_q": 16, "text_card": 48000, "delays": delays}
    recipe = from_model_config(config)
    assert recipe.delays == tuple(delays)
    assert (recipe.n_q, recipe.dep_q) == (32, 16)
    assert recipe.streams[0].fills == (48000, 3, 3)
    assert [k for k, s in enumerate(recipe.streams) if s.kind == "semantic"] == [1, 17]
    assert recipe.streams[17].name == "user_semantic"
    assert recipe.streams[32].name == "user_acoustic_15"


def test_the_config_of_a_single_speaker():
    delays = [0, 0, *[2] * 31]
    config = CONFIG | {"n_q": 32, "dep_q": 32, "text_card": 8000, "delays": delays}
    recipe = from_model_config(config)
    assert [k for k, s in enumerate(recipe.streams) if s.kind == "semantic"] == [1]
    assert recipe.streams[1].name == "semantic"
    assert recipe.streams[32].name == "acoustic_31"
    assert recipe.dep_q == 32


def test_dep_q_and_the_end_padding_of_a_config_may_be_missing():
    config = {name: value for name, value in CONFIG.items() if name != "dep_q"}
    assert from_model_config(config).dep_q == 16
    assert from_model_config(CONFIG).streams[0].token_weights == {0: 0.5, 3: 0.5}
    other = CONFIG | {"existing_text_end_padding_id": 7, "existing_text_padding_id": 5}
    assert from_model_config(other).streams[0].token_weights == {5: 0.5, 7: 0.5}


@pytest.mark.parametrize("field", ["card", "text_card", "delays", "existing_text_padding_id"])
def test_a_missing_field_of_a_config_is_named(field):
    config = {name: value for name, value in CONFIG.items() if name != field}
    with pytest.raises(RecipeError, match=f"lacks the field '{field}'"):
        from_model_config(config)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n_q", 0),
        ("n_q", -1),
        ("n_q", 10**9),
        ("n_q", "16"),
        ("n_q", True),
        ("delays", []),
        ("delays", [0] * 18),
        ("delays", None),
        ("delays", "0,0,1"),
        ("delays", [0] * 16 + [-1]),
        ("delays", [0] * 16 + ["1"]),
        ("delays", [0] * 16 + [None]),
        ("card", 0),
        ("card", "2048"),
        ("card", None),
        ("text_card", 0),
        ("text_card", 2.5),
        ("text_card", []),
        ("existing_text_padding_id", -5),
        ("existing_text_padding_id", 32000),
        ("existing_text_padding_id", "3"),
        ("existing_text_padding_id", None),
        ("existing_text_padding_id", []),
        ("existing_text_end_padding_id", -5),
        ("existing_text_end_padding_id", {}),
        ("dep_q", 17),
        ("dep_q", -1),
        ("dep_q", "8"),
        ("dep_q", {}),
        ("dep_q", 1.5),
    ],
)
def test_a_field_of_a_config_that_cannot_be_is_a_recipe_error(field, value):
    with pytest.raises(RecipeError):
        from_model_config(CONFIG | {field: value})


def test_a_short_list_of_delays_goes_on_with_its_last_value():
    recipe = from_model_config(CONFIG | {"delays": [0, 0, 2]})
    assert recipe.delays == (0, 0, *[2] * 15)
    few = from_model_config(CONFIG | {"delays": [0, 0, 2], "n_q": None, "dep_q": None})
    assert (few.n_q, few.dep_q) == (2, 2)


def test_a_config_whose_dep_q_is_null_is_as_if_it_had_none():
    config = {name: value for name, value in CONFIG.items() if name != "dep_q"}
    assert from_model_config(CONFIG | {"dep_q": None}) == from_model_config(config)


@pytest.mark.parametrize("config", [None, [], "config", 5])
def test_a_config_that_is_no_object_is_a_recipe_error(config):
    with pytest.raises(RecipeError, match="not a JSON object"):
        from_model_config(config)


# Other models: (preset, streams, delays, fills, cardinality, steps, trailing weights), stated again

OTHERS = {
    "musicgen": (4, range(4), (2048, 2048, 2048), 2048, (True, False), 0),
    "parler-tts": (9, range(9), (1025, 1024, 1024), 1025, (False, True), 1),
    "dia": (9, [0, *range(8, 16)], (1026, 1024, 1025), 1025, (True, True), 1),
    "musicgen-stereo": (8, [0, 0, 1, 1, 2, 2, 3, 3], (2048,) * 3, 2048, (True, False), 0),
    "audiogen": (4, range(4), (2048, 2048, 2048), 2048, (True, False), 0),
    "higgs-audio-v3": (8, range(8), (1024, 1025, 1025), 1026, (False, False), 0),
    "higgs-audio": (8, range(8), (1024, 1025, 1025), 1026, (True, True), 1),
    "zonos": (9, range(1, 10), (1025, 1024, 1025), 1025, (False, False), 0),
}


@pytest.mark.parametrize("name", OTHERS)
def test_models_without_text_streams(name):
    n_q, delays, fills, card, steps, final_weight = OTHERS[name]
    recipe = load_preset(name)
    assert (recipe.has_text, recipe.n_q, recipe.dep_q) == (False, n_q, n_q)
    assert recipe.delays == tuple(delays)
    assert (recipe.initial_step, recipe.final_step, recipe.length) == (*steps, "extend")
    assert {stream.fills for stream in recipe.streams} == {fills}
    assert {stream.cardinality for stream in recipe.streams} == {card}
    assert {(s.weight, s.final_weight, s.padding_weight) for s in recipe.streams} == {
        (1, final_weight, 0)
    }
    for stream in recipe.streams:
        assert not stream.token_weights
        assert not final_weight or stream.fills[1] < stream.cardinality, "it may be a label"


def test_hibiki_kyutai_tts_and_j_moshi():
    hibiki, tts, j_moshi = (load_preset(n) for n in ("hibiki-2b", "kyutai-tts", "j-moshi"))
    assert hibiki.delays == (0, 0, *[2] * 15, 0, *[2] * 15)
    assert (hibiki.dep_q, hibiki.streams[0].fills) == (16, (48000, 3, 3))
    assert (hibiki.streams[1].weight, hibiki.streams[17].weight) == (100, 100)
    assert tts.delays == (0, 0, *[2] * 31)
    assert (tts.dep_q, tts.streams[0].fills, tts.streams[0].cardinality) == (32, (8000, 3, 3), 8000)
    moshi = load_preset("moshi")
    assert j_moshi.delays == moshi.delays
    assert (j_moshi.dep_q, j_moshi.initial_step, j_moshi.length) == (16, True, "extend")
    text = j_moshi.streams[0]
    assert (text.token_weights, text.final_weight, text.padding_weight) == ({3: 0.5}, 0.5, 0.5)
    assert j_moshi.audio == moshi.audio
    assert "two means" in read_preset("j-moshi").description


def test_moss_ttsd():
    recipe = load_preset("moss-ttsd")
    assert recipe.delays == tuple(range(8))
    assert recipe.has_text
    assert (recipe.streams[0].fills, recipe.streams[0].cardinality) == ((151643,) * 3, 152689)
    assert {(s.fills, s.cardinality) for s in recipe.audio} == {((1024,) * 3, 1025)}
    assert [stream.weight for stream in recipe.streams] == [8, 2, 1, 1, 1, 1, 1, 1]


RATES = {
    12.5: (
        "moshi",
        "moshi-pretrain",
        "moshi-finetune",
        "j-moshi",
        "personaplex",
        "hibiki-1b",
        "hibiki-2b",
        "kyutai-tts",
        "kyutai-stt-1b",
        "kyutai-stt-2.6b",
        "voxtream",
        "moss-tts",
        "moss-ttsd",
        "moss-ttsd-v1",
    ),
    25: ("higgs-audio", "higgs-audio-v3"),
    50: ("musicgen", "musicgen-stereo", "audiogen"),
    86.1328125: ("dia", "parler-tts", "zonos"),
}


def test_every_preset_has_the_frame_rate_of_its_codec():
    rates = {name: rate for rate, names in RATES.items() for name in names}
    assert {name: load_preset(name).frame_rate for name in preset_names()} == rates


# Peers whose grids are made by a preset, and whose marks say what they train

PEERS = {
    "models": {
        0: "dia",
        5: "musicgen",
        6: "musicgen-stereo",
        9: "moss-tts",
        10: "moss-tts",
        12: "higgs-audio-v3",
        15: "voxtream",
        21: "parler-tts",
        22: "higgs-audio",
    },
    "offsets": {9: "kyutai-tts"},
}


@pytest.mark.parametrize(
    ("file", "number", "name"),
    [(file, number, name) for file, cases in PEERS.items() for number, name in cases.items()],
)
def test_a_preset_makes_and_trains_what_its_peer_does(file, number, name):
    path = Path(__file__).parent.parent / "golden" / f"{file}.json"
    case = json.loads(path.read_text())["cases"][number]
    recipe = load_preset(name)
    recipe = adapt.first_streams(recipe, len(case["codes"]) - len(recipe.text))
    shifted = delay(np.array(case["codes"]), recipe)
    assert shifted.tolist() == case["expected"]
    if case.get("trained"):
        weights = loss_weights(shifted, recipe)
        assert (weights[:, 1:] > 0).tolist() == (np.array(case["trained"])[:, 1:] > 0).tolist()


def test_transformers_higgs_trains_no_end():
    path = Path(__file__).parent.parent / "golden" / "models.json"
    case = json.loads(path.read_text())["cases"][7]
    recipe = adapt.with_weights(load_preset("higgs-audio"), final=0)
    shifted = delay(np.array(case["codes"]), recipe)
    assert shifted.tolist() == case["expected"]
    assert (loss_weights(shifted, recipe) > 0).tolist() == np.array(case["trained"]).tolist()


# Configs as the hub has them, cut to a few fields

DECODER = {"num_codebooks": 4, "vocab_size": 2048, "bos_token_id": 2048, "pad_token_id": 2048}
HUB = {
    "dia": {
        "model_type": "dia",
        "delay_pattern": [0, 8, 9, 10, 11, 12, 13, 14, 15],
        "bos_token_id": 1026,
        "eos_token_id": 1024,
        "pad_token_id": 1025,
        "decoder_config": {"num_channels": 9, "vocab_size": 1028},
    },
    "musicgen": {"model_type": "musicgen", "decoder": {**DECODER, "audio_channels": 1}},
    "parler-tts": {
        "model_type": "parler_tts",
        "decoder": {
            "num_codebooks": 9,
            "vocab_size": 1088,
            "bos_token_id": 1025,
            "eos_token_id": 1024,
            "pad_token_id": 1024,
        },
    },
    "higgs-audio": {
        "model_type": "higgs_audio",
        "audio_num_codebooks": 8,
        "audio_codebook_size": 1024,
        "audio_stream_bos_id": 1024,
        "audio_stream_eos_id": 1025,
    },
}


@pytest.mark.parametrize("name", HUB)
def test_a_config_of_the_hub_is_the_preset(name):
    assert from_model_config(HUB[name]) == load_preset(name)


def test_other_forms_of_these_configs():
    data = {
        "delay_pattern": HUB["dia"]["delay_pattern"],
        "audio_bos_value": 1026,
        "audio_eos_value": 1024,
        "audio_pad_value": 1025,
    }
    assert from_model_config({"version": "0.1", "data": data}) == load_preset("dia")
    higgs = {
        "model_type": "higgs_audio_v2",
        "num_codebooks": 8,
        "codebook_size": 1026,
        "audio_stream_bos_id": 1024,
        "audio_stream_eos_id": 1025,
    }
    assert from_model_config(higgs) == load_preset("higgs-audio")
    stereo = {**DECODER, "num_codebooks": 8, "audio_channels": 2}
    recipe = from_model_config({"model_type": "musicgen_melody", "decoder": stereo})
    assert recipe.delays == (0, 0, 1, 1, 2, 2, 3, 3)


def paths_in(config, before=""):
    for name, value in config.items():
        if isinstance(value, dict):
            yield from paths_in(value, f"{before}{name}.")
        else:
            yield before + name


def changed(config, path, value):
    """A copy of a config with another value somewhere; None leaves the field out."""
    copy = json.loads(json.dumps(config))
    *outer, last = path.split(".")
    inner = copy
    for name in outer:
        inner = inner[name]
    del inner[last]
    if value is not None:
        inner[last] = value
    return copy


NOT_READ = {("parler-tts", "decoder.vocab_size"), ("dia", "decoder_config.vocab_size")}
READ = [
    (name, path)
    for name, config in HUB.items()
    for path in paths_in(config)
    if path != "model_type" and (name, path) not in NOT_READ
]


@pytest.mark.parametrize(("name", "path"), READ)
def test_an_absurd_field_is_named(name, path):
    for value in (True, 1.5, -3, 2**40, 10**30, "9", {}, [[]] * 5000, [True], [-1], [2**21]):
        with pytest.raises(RecipeError, match=f"^{path} "):
            from_model_config(changed(HUB[name], path, value))


@pytest.mark.parametrize("path", [path for name, path in READ if name == "parler-tts"])
def test_a_missing_field_without_a_default_is_named(path):
    with pytest.raises(RecipeError, match=f"lacks the field '{path}'"):
        from_model_config(changed(HUB["parler-tts"], path, None))


@pytest.mark.parametrize(
    ("kind", "preset"),
    [
        ("moshi", "moshi"),
        ("dia", "dia"),
        ("musicgen", "musicgen"),
        ("musicgen_melody", "musicgen"),
        ("higgs_audio", "higgs-audio"),
        ("higgs_audio_v2", "higgs-audio"),
        ("higgs_multimodal_qwen3", "higgs-audio-v3"),
        ("moss_tts_delay", "moss-tts"),
    ],
)
def test_what_a_config_leaves_out_is_as_in_transformers(kind, preset):
    assert from_model_config({"model_type": kind}) == load_preset(preset)


def test_the_tokens_of_dia_in_transformers_5():
    tokens = {"bos_token_id": 1026, "eos_token_id": 1024, "pad_token_id": 1025}
    config = HUB["dia"] | dict.fromkeys(tokens) | {"decoder_config": {**tokens, "num_channels": 9}}
    assert from_model_config(config) == load_preset("dia")


@pytest.mark.parametrize(
    ("kind", "path", "preset"),
    [
        ("higgs_audio", "use_delay_pattern", "higgs-audio"),
        ("higgs_multimodal_qwen3", "audio_encoder_config", "higgs-audio-v3"),
    ],
)
def test_a_higgs_that_does_not_delay(kind, path, preset):
    switch = False if path == "use_delay_pattern" else {"use_delay_pattern": False}
    recipe = from_model_config({"model_type": kind, path: switch})
    assert recipe.delays == (0,) * 8
    assert adapt.with_delays(recipe, tuple(range(8))) == load_preset(preset)


def test_fewer_codebooks_of_moss():
    recipe = from_model_config({"model_type": "moss_tts_delay", "n_vq": 16})
    assert recipe == load_preset("moss-ttsd-v1")
    assert (
        from_model_config(
            {"model_type": "moss_tts_delay", "n_vq": 8, "language_config": {"vocab_size": 155648}}
        )
        .text[0]
        .cardinality
        == 155648
    )


STT = {
    "model_type": "stt",
    "card": 2048,
    "text_card": 4000,
    "dep_q": 0,
    "delays": [0] * 33,
    "existing_text_padding_id": 3,
    "stt_config": {"audio_delay_seconds": 2.5, "audio_silence_prefix_seconds": 1.0},
}
TTS = {
    "model_type": "tts",
    "n_q": 32,
    "dep_q": 32,
    "card": 2048,
    "text_card": 8000,
    "delays": [0, 0, *[2] * 31],
    "existing_text_padding_id": 3,
    "tts_config": {"audio_delay": 1.28, "second_stream_ahead": 2},
}


def test_the_configs_of_kyutais_stt_and_tts_are_the_presets():
    assert from_model_config(STT) == load_preset("kyutai-stt-2.6b")
    half = STT | {"text_card": 8000, "stt_config": {"audio_delay_seconds": 0.5}}
    assert from_model_config(half) == load_preset("kyutai-stt-1b")
    assert from_model_config(TTS) == load_preset("kyutai-tts")
    short = TTS | {"delays": [0, 0, 2]}
    assert from_model_config(short) == load_preset("kyutai-tts")


def test_their_notes_say_how_many_frames():
    (note,) = notes_on_model_config(TTS)
    assert note == "tts_config.audio_delay: the audio comes 1.28 s later, 16 frames"
    (note,) = notes_on_model_config(STT)
    assert "the text comes 2.5 s later, 31.25 frames, rounded down to 31." in note
    assert "move the words before they become frames" in note
    for bad in (True, "2.5", -1, float("nan"), float("inf")):
        with pytest.raises(RecipeError, match=r"^stt_config\.audio_delay_seconds"):
            from_model_config(STT | {"stt_config": {"audio_delay_seconds": bad}})


@pytest.mark.parametrize(
    "config", [{}, {"model_type": "llama"}, {"model_type": ["x"]}, [], None, "moshi", 3]
)
def test_what_is_no_known_config(config):
    with pytest.raises(RecipeError, match="the model config"):
        from_model_config(config)


def test_a_model_without_delays_says_so():
    for kind in ("llama", "csm"):
        with pytest.raises(RecipeError, match=f'{kind}", of which no delays are known'):
            from_model_config({"model_type": kind, "num_codebooks": 32})


def test_the_note_is_printed(tmp_path):
    config = {**CONFIG, "n_q": 2, "dep_q": 2, "delays": [0], "tts_config": {"audio_delay": 0.16}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    table = pa.table({"text_tokens": [[1, 2, 3]], "audio_codes": [[[1, 2, 3], [4, 5, 6]]]})
    pq.write_table(table, tmp_path / "a.parquet")
    done = delaytool("apply", "a.parquet", "o", "--model-config", "config.json", cwd=tmp_path)
    assert "Note: tts_config.audio_delay: the audio comes 0.16 s later, 2 frames" in done.stderr


def test_a_config_that_is_no_json_is_named_with_its_line(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "dia",\n "delay_pattern": [0,],\n}\n')
    done = delaytool("apply", "a", "o", "--model-config", "config.json", cwd=tmp_path, status=2)
    assert "config.json, line 2: not JSON: " in done.stderr


# The golden cases, through the command line

PRESETS = {
    "nu-dialogue/moshi-finetune delay_and_pad_streams, moshi 7B": ("j-moshi",),
    "nu-dialogue/moshi-finetune delay_and_pad_streams, moshi dev 2B": (
        "hibiki-2b", "--initial-step",
    ),
    "facebookresearch/audiocraft DelayedPatternProvider[0, 1, 2, 3]": (
        "musicgen", "--card", 1024,
    ),
    "facebookresearch/audiocraft DelayedPatternProvider[0, 1, 2, 3] keep_only_valid_steps": (
        "musicgen", "--card", 1024, "--length", "truncate",
    ),
    "boson-ai/higgs-audio build_delay_pattern_mask": (
        "higgs-audio", "--no-initial-step", "--no-final-step",
    ),
    "boson-ai/higgs-audio collator: bos + codes + eos, delayed": ("higgs-audio",),
    "huggingface/parler-tts (MusicGen) build_delay_pattern_mask K=9": (
        "parler-tts", "--initial-step", "--no-final-step",
    ),
    "huggingface/parler-tts (MusicGen) build_delay_pattern_mask K=4": ("musicgen",),
    "huggingface/parler-tts training labels": ("parler-tts",),
    "OpenMOSS/MOSS-TTSD apply_delay_pattern": ("moss-ttsd",),
    "kyutai-labs/moshi LMModel.forward input, moshi 7B": (
        "moshi", "--initial-step", "--length", "truncate",
    ),
    "kyutai-labs/moshi _delay_sequence, moshi 7B": ("moshi", "--length", "truncate"),
    "kyutai-labs/moshi _delay_sequence, moshi dev 2B": ("hibiki-2b", "--length", "truncate"),
}  # fmt: skip


def recipe_of(case):
    """A golden case's recipe, as someone would write it for a model without a preset."""
    given, codes = case["recipe"], np.array(case["codes"])
    streams = [
        Stream(
            name=f"stream_{k}",
            kind="text" if given["text"] and not k else "acoustic",
            delay=given["delays"][k],
            initial=given["initial"][k],
            padding=given["padding"][k],
            cardinality=int(codes.max()) + 1,
        )
        for k in range(len(codes))
    ]
    steps = {name: given[name] for name in ("length", "initial_step", "final_step")}
    return Recipe(tuple(streams), **steps)


def as_shard(case, path, number):
    """The case's codes, laid out in another way for each number; the options that say how."""
    codes, text = case["codes"], case["recipe"]["text"]
    if "delay_and_pad_streams" in case["peer"] and len(codes) == 17:
        other = [[7 * t for t in range(len(codes[0]))], *codes[9:]]
        pq.write_table(pa.table({"A": [codes[:9]], "B": [other]}), path)
        return ("--grid-column", "A", "--grid-column", "B[1:]")
    frames = [list(frame) for frame in zip(*codes, strict=True)]
    if number % 3 == 0:
        pq.write_table(pa.table({"grid": [frames]}), path)
        return ("--grid-column", "grid", "--audio-layout", "frame")
    columns = {"text_tokens": [codes[0]]} if text else {}
    audio = codes[1:] if text else codes
    if number % 3 == 1:
        pq.write_table(pa.table({**columns, "audio_codes": [audio]}), path)
        return ("--audio-layout", "codebook", "--output-layout", "grid")
    parts = {f"codes_{q}": [line] for q, line in enumerate(audio)}
    pq.write_table(pa.table({**columns, **parts}), path)
    return ("--audio-column", "codes_{q}", "--output-layout", "grid")


@pytest.mark.parametrize("number", range(len(GOLDEN["delay"])))
def test_golden_delays_through_the_command(tmp_path, number):
    case = GOLDEN["delay"][number]
    options = as_shard(case, tmp_path / "a.parquet", number)
    if case["peer"] in PRESETS:
        name, *more = PRESETS[case["peer"]]
        recipe = ("--preset", name, *more)
    else:
        (tmp_path / "recipe.json").write_text(recipe_of(case).to_json())
        recipe = ("--recipe", "recipe.json")
    arguments = ("a.parquet", "out.parquet", *recipe, *options, "--quiet")
    delaytool("apply", *arguments, cwd=tmp_path)
    assert pq.read_table(tmp_path / "out.parquet")["codes"].to_pylist() == [case["expected"]]
    delaytool("verify", "out.parquet", "--source", "a.parquet", cwd=tmp_path)


def test_every_peer_that_has_a_preset_is_there():
    assert set(PRESETS) <= {case["peer"] for case in GOLDEN["delay"]}


@pytest.mark.parametrize("number", range(len(GOLDEN["loss"])))
def test_golden_losses_through_the_command(tmp_path, number):
    case = GOLDEN["loss"][number]
    codes, table = case["codes"], tmp_path / "a.parquet"
    pq.write_table(pa.table({"text_tokens": [codes[0]], "audio_codes": [codes[1:]]}), table)
    delays = ",".join(str(delay) for delay in case["delays"])
    options = ("--preset", "moshi-finetune", "--delays", delays, "--length", "truncate")
    delaytool("apply", "a.parquet", "out.parquet", *options, "--quiet", cwd=tmp_path)
    row = pq.read_table(tmp_path / "out.parquet").to_pylist()[0]
    # The first column is the initial step; a stream's token of frame t is in column t + 1 + delay.
    frames = len(codes[0])
    weights = np.zeros((9, frames))
    for k, line in enumerate([row["text_loss_weights"], *row["audio_loss_weights"][:8]]):
        delay = case["delays"][k]
        weights[k, : frames - delay] = line[1 + delay : 1 + frames]
    text, audio = weights[:1], weights[1:]
    assert np.allclose(text / text.sum(), case["text_weight_share"], rtol=1e-5)
    assert np.allclose(audio / audio.sum(), case["audio_weight_share"], rtol=1e-5)
    assert not np.any(row["audio_loss_weights"][8:])
