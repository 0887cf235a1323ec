"""Configs as transformers itself writes them become the presets. Run by make test-torch."""

import json

import pytest
from make import delaytool

from delaytool.recipes.model_config import from_model_config
from delaytool.recipes.presets import load_preset
from delaytool.recipes.recipe import Recipe

transformers = pytest.importorskip("transformers")


def musicgen(kind, channels=1):
    """A config of MusicGen, of small encoders; stereo has twice as many codebooks."""
    decoder = getattr(transformers, f"{kind}DecoderConfig")
    return getattr(transformers, f"{kind}Config")(
        text_encoder=transformers.T5Config(),
        audio_encoder=transformers.EncodecConfig(),
        decoder=decoder(audio_channels=channels, num_codebooks=4 * channels),
    )


CONFIGS = {
    "moshi": (transformers.MoshiConfig, "moshi"),
    "dia": (transformers.DiaConfig, "dia"),
    "musicgen": (lambda: musicgen("Musicgen"), "musicgen"),
    "musicgen stereo": (lambda: musicgen("Musicgen", 2), "musicgen-stereo"),
    "musicgen_melody": (lambda: musicgen("MusicgenMelody"), "musicgen"),
    "higgs_audio_v2": (transformers.HiggsAudioV2Config, "higgs-audio"),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_that_transformers_wrote_is_the_preset(tmp_path, name):
    make, preset = CONFIGS[name]
    make().save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    assert from_model_config(json.loads(path.read_text())) == load_preset(preset)
    done = delaytool("presets", preset)
    assert Recipe.from_json(done.stdout) == load_preset(preset)


def test_a_model_without_delays_is_refused(tmp_path):
    transformers.CsmConfig().save_pretrained(tmp_path)
    arguments = ("apply", "a.parquet", "o", "--model-config", tmp_path / "config.json")
    done = delaytool(*arguments, cwd=tmp_path, status=2)
    assert 'the model_type "csm", of which no delays are known' in done.stderr
