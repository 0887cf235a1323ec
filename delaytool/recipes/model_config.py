"""Recipes from the `config.json` of models, as they are published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from delaytool.errors import RecipeError
from delaytool.recipes import hub_config
from delaytool.recipes.checks import MAX_STREAMS, shown
from delaytool.recipes.config_fields import ConfigFields
from delaytool.recipes.recipe import Recipe
from delaytool.recipes.stream import Stream

_STT = "stt_config.audio_delay_seconds"
_TTS = "tts_config.audio_delay"


def from_model_config(config: object) -> Recipe:
    """The recipe of a model, from its `config.json` as it is published.

    Moshi and its kin, as Kyutai publishes them: needs `card`, `text_card`, `delays` (text first; a
    short list goes on with its last value) and `existing_text_padding_id`; takes `n_q`, `dep_q` and
    `existing_text_end_padding_id` (0 if absent, as in moshi/models/lm.py) too. Codebook 0 of each
    speaker is semantic: with n_q = 2 dep_q there are two speakers, else one. The delay between text
    and audio of their STT and TTS models, in seconds, becomes an offset in frames, rounded down.

    Models on Hugging Face's hub, by their `model_type`: see hub_config.py.

    Raises RecipeError, naming a field of the config that is missing or cannot be, and for models
    without delays.
    """
    fields = ConfigFields(config)
    if fields.has("delays") or fields.has("n_q"):
        return _from_kyutai(fields)
    if fields.has("data.delay_pattern"):
        return hub_config.from_dias_own(fields)
    kind = fields.given("model_type")
    reader = hub_config.READERS.get(kind) if isinstance(kind, str) else None
    if reader is None:
        raise RecipeError(
            f"the model config is of the model_type {shown(kind)}, of which no delays are known, "
            "expected one of Moshi or its kin as Kyutai publishes it (with 'delays'), or of "
            f"{', '.join(hub_config.READERS)}; any other pattern is a recipe file"
        )
    return reader(fields)


def notes_on_model_config(config: object) -> list[str]:
    """What a user has to know about a model that its config says and a recipe cannot."""
    if not isinstance(config, Mapping):
        return []
    fields = ConfigFields(config)
    if fields.has("delays") or fields.has("n_q"):
        return [
            _note_on_offset(fields, path, what)
            for path, what in ((_STT, "text"), (_TTS, "audio"))
            if fields.seconds(path)
        ]
    note = hub_config.NOTES.get(str(config.get("model_type")))
    return [note] if note else []


def _note_on_offset(fields: ConfigFields, path: str, what: str) -> str:
    frames = fields.frames(path, Recipe.frame_rate)
    exact = fields.seconds(path) * Recipe.frame_rate
    note = f"{path}: the {what} comes {fields.seconds(path):g} s later, {exact:g} frames"
    if frames != exact:
        note += (
            f", rounded down to {frames}. For the exact time, move the words before they become "
            f"frames, and say `offset` {what}=0"
        )
    return note


def _from_kyutai(fields: ConfigFields) -> Recipe:
    is_stt, is_tts = fields.has("stt_config"), fields.has("tts_config")
    given = fields.delays("delays", None)
    n_q = fields.integer("n_q", 1, MAX_STREAMS - 1, max(len(given) - 1, 1))
    # What an STT model hears is read, and not predicted.
    dep_q = fields.integer("dep_q", 0, n_q, 0 if is_stt else n_q)
    card, text_card = fields.card("card"), fields.card("text_card")
    delays = fields.delays("delays", n_q + 1)
    padding = fields.integer("existing_text_padding_id", 0, text_card - 1)
    end = fields.integer("existing_text_end_padding_id", 0, text_card - 1, 0)
    text = Stream(
        name="text",
        kind="text",
        delay=delays[0],
        initial=text_card,
        padding=padding,
        cardinality=text_card,
        token_weights={padding: 0.5, end: 0.5},
    )
    audio = _speakers(n_q, dep_q, delays[1:], card)
    if is_stt:
        text = replace(text, offset=fields.frames(_STT, Recipe.frame_rate))
        return Recipe((text, *audio), dep_q, "truncate", initial_step=True)
    if is_tts:
        later = fields.frames(_TTS, Recipe.frame_rate)
        audio = [replace(stream, offset=later) for stream in audio]
        text = replace(text, trail=padding)
        return Recipe((text, *audio), dep_q, "truncate", "extend", initial_step=True)
    return Recipe(streams=(text, *audio), dep_q=dep_q)


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
