"""Recipes from the `config.json` of models, as they are published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from delaytool.errors import RecipeError
from delaytool.recipes.checks import (
    MAX_CARDINALITY,
    MAX_DELAY,
    MAX_FILL,
    MAX_STREAMS,
    MIN_FILL,
    check_integer,
    shown,
)
from delaytool.recipes.presets import load_preset
from delaytool.recipes.recipe import Recipe
from delaytool.recipes.stream import Stream


def from_model_config(config: object) -> Recipe:
    """The recipe of a model, from its `config.json` as it is published.

    Moshi and its kin, as Kyutai publishes them: needs `n_q`, `card`, `text_card`, `delays` (text
    first) and `existing_text_padding_id`; takes `dep_q` and `existing_text_end_padding_id` (0 if
    absent, as in moshi/models/lm.py) too. Codebook 0 of each speaker is semantic: with
    n_q = 2 dep_q there are two speakers, else one.

    Dia, MusicGen, Parler-TTS and Higgs Audio, as Hugging Face's hub has them, by their
    `model_type`. What such a config does not say (lengths, steps, weights) is as in the preset of
    that name.

    Raises RecipeError, naming a field of the config that is missing or cannot be.
    """
    fields = _Fields(config)
    if fields.has("delays") or fields.has("n_q"):
        return _from_moshi(fields)
    if fields.has("data.delay_pattern"):
        return _from_dia(fields, "data.delay_pattern", "data.audio_{}_value")
    kind = fields.given("model_type")
    if kind == "dia":
        return _from_dia(fields, "delay_pattern", "{}_token_id")
    if kind in ("musicgen", "musicgen_melody"):
        return _from_musicgen(fields)
    if kind == "parler_tts":
        return _from_parler(fields)
    if kind == "higgs_audio":
        return _from_higgs(fields, "audio_num_codebooks", "audio_codebook_size")
    if kind == "higgs_audio_v2":
        return _from_higgs(fields, "num_codebooks", "codebook_size")
    raise RecipeError(
        f"the model config has the model_type {shown(kind)} and no field 'delays', expected "
        "a config of Moshi as Kyutai publishes it, or of dia, musicgen, musicgen_melody, "
        "parler_tts, higgs_audio or higgs_audio_v2"
    )


def notes_on_model_config(config: object) -> list[str]:
    """What a user has to know about a model that its config says and a recipe cannot."""
    if not isinstance(config, Mapping):
        return []
    return [
        f"{name} in the model config: how far text and audio are apart belongs to the alignment "
        "of text to frames, which comes before this tool"
        for name in ("tts_config", "stt_config")
        if config.get(name)
    ]


class _Fields:
    """The fields of a model config, a dot between an object and its field."""

    def __init__(self, config: object) -> None:
        if not isinstance(config, Mapping):
            raise RecipeError("the model config is not a JSON object")
        self._config = config

    def _look_up(self, path: str) -> tuple[bool, Any]:
        value: Any = self._config
        for name in path.split("."):
            if not isinstance(value, Mapping) or name not in value:
                return False, None
            value = value[name]
        return True, value

    def has(self, path: str) -> bool:
        """Whether there is such a field."""
        return self._look_up(path)[0]

    def given(self, path: str) -> Any:
        """A field's value."""
        found, value = self._look_up(path)
        if not found:
            raise RecipeError(f"the model config lacks the field {path!r}")
        return value

    def integer(self, path: str, low: int, high: int, default: int | None = None) -> int:
        """A field that is an integer in these bounds."""
        if default is not None and (not self.has(path) or self.given(path) is None):
            return default
        return check_integer(path, self.given(path), low, high)

    def delays(self, path: str, count: int | None) -> tuple[int, ...]:
        """A field that is a list of frames, as many as there are streams."""
        value = self.given(path)
        if not isinstance(value, list) or not 1 <= len(value) <= MAX_STREAMS:
            raise RecipeError(f"{path} is {shown(value)}, expected a list of frames")
        if count is not None and len(value) != count:
            raise RecipeError(f"{path} has {len(value)} entries, expected {count}")
        return tuple(check_integer(path, delay, 0, MAX_DELAY) for delay in value)

    def fill(self, path: str) -> int:
        """A field that is a fill token."""
        return self.integer(path, MIN_FILL, MAX_FILL)

    def card(self, path: str) -> int:
        """A field that is the size of a vocabulary."""
        return self.integer(path, 1, MAX_CARDINALITY)


def _from_moshi(fields: _Fields) -> Recipe:
    n_q = fields.integer("n_q", 1, MAX_STREAMS - 1)
    dep_q = fields.integer("dep_q", 0, n_q, default=n_q)
    card, text_card = fields.card("card"), fields.card("text_card")
    delays = fields.delays("delays", n_q + 1)
    padding = fields.integer("existing_text_padding_id", 0, text_card - 1)
    end = fields.integer("existing_text_end_padding_id", 0, text_card - 1, default=0)
    text = Stream(
        name="text",
        kind="text",
        delay=delays[0],
        initial=text_card,
        padding=padding,
        cardinality=text_card,
        token_weights={padding: 0.5, end: 0.5},
    )
    return Recipe(streams=(text, *_speakers(n_q, dep_q, delays[1:], card)), dep_q=dep_q)


def _speakers(n_q: int, dep_q: int, delays: tuple[int, ...], card: int) -> list[Stream]:
    """Audio streams of one speaker, or of two when n_q = 2 dep_q."""
    size = dep_q if n_q == 2 * dep_q else n_q
    streams = []
    for number in range(n_q):
        speaker = "" if size == n_q else ("moshi_", "user_")[number // size]
        codebook = number % size
        streams.append(
            Stream(
                name=speaker + (f"acoustic_{codebook}" if codebook else "semantic"),
                kind="acoustic" if codebook else "semantic",
                delay=delays[number],
                initial=card,
                padding=card,
                cardinality=card,
                weight=1.0 if codebook else 100.0,
            )
        )
    return streams


def _from_dia(fields: _Fields, delays: str, tokens: str) -> Recipe:
    bos, eos, padding = (fields.fill(tokens.format(name)) for name in ("bos", "eos", "pad"))
    return _like(load_preset("dia"), fields.delays(delays, None), bos, eos, padding, eos + 1)


def _from_musicgen(fields: _Fields) -> Recipe:
    count = fields.integer("decoder.num_codebooks", 1, MAX_STREAMS)
    channels = fields.integer("decoder.audio_channels", 1, 2, default=1)
    # In stereo left and right take turns, and both of a pair are delayed alike.
    delays = tuple(number // channels for number in range(count))
    bos, padding = fields.fill("decoder.bos_token_id"), fields.fill("decoder.pad_token_id")
    card = fields.card("decoder.vocab_size")
    return _like(load_preset("musicgen"), delays, bos, padding, padding, card)


def _from_parler(fields: _Fields) -> Recipe:
    count = fields.integer("decoder.num_codebooks", 1, MAX_STREAMS)
    bos, eos, padding = (fields.fill(f"decoder.{name}_token_id") for name in ("bos", "eos", "pad"))
    return _like(load_preset("parler-tts"), tuple(range(count)), bos, eos, padding, eos + 1)


def _from_higgs(fields: _Fields, count: str, size: str) -> Recipe:
    delays = tuple(range(fields.integer(count, 1, MAX_STREAMS)))
    bos, eos = fields.fill("audio_stream_bos_id"), fields.fill("audio_stream_eos_id")
    # One form of the config counts the two tokens among the codebook's, the other does not.
    card = max(fields.card(size), bos + 1, eos + 1)
    return _like(load_preset("higgs-audio"), delays, bos, eos, eos, card)


def _like(
    preset: Recipe, delays: tuple[int, ...], initial: int, final: int, padding: int, card: int
) -> Recipe:
    """A preset whose streams are alike, with other delays and tokens."""
    streams = tuple(
        replace(
            preset.streams[0],
            name=f"codebook_{number}",
            delay=delay,
            initial=initial,
            final=final,
            padding=padding,
            cardinality=max(card, 1),
        )
        for number, delay in enumerate(delays)
    )
    return replace(preset, streams=streams, dep_q=len(streams))
