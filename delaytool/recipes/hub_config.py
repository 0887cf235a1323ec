"""Recipes from the `config.json` of models on Hugging Face's hub, by their `model_type`.

What such a config leaves out is as in transformers' own defaults; what none of them says (lengths,
steps, weights) is as in the preset of that model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from delaytool.recipes.config_fields import ConfigFields
from delaytool.recipes.presets import load_preset
from delaytool.recipes.recipe import Recipe


def from_moshi(fields: ConfigFields) -> Recipe:
    """transformers' `moshi`: two speakers of `num_codebooks` each, acoustic delay 1."""
    preset = load_preset("moshi")
    count = fields.count("num_codebooks", 8)
    card = fields.card(
        fields.first_of("audio_vocab_size", "depth_decoder_config.audio_vocab_size"), 2048
    )
    text_card = fields.card("vocab_size", 32000)
    text = replace(preset.streams[0], initial=text_card, cardinality=text_card)
    audio = [
        replace(
            preset.audio[8 * speaker + min(codebook, 1)],
            name=f"{name}_acoustic_{codebook}" if codebook else f"{name}_semantic",
            initial=card,
            padding=card,
            final=card,
            last=card,
            cardinality=card,
        )
        for speaker, name in enumerate(("moshi", "user"))
        for codebook in range(count)
    ]
    return replace(preset, streams=(text, *audio), dep_q=count)


def from_dia(fields: ConfigFields) -> Recipe:
    """transformers' `dia`; its version 5 keeps the tokens in `decoder_config`."""
    bos, eos, padding = (
        fields.fill(fields.first_of(f"{name}_token_id", f"decoder_config.{name}_token_id"), default)
        for name, default in (("bos", 1026), ("eos", 1024), ("pad", 1025))
    )
    preset = load_preset("dia")
    count = fields.count("decoder_config.num_channels", len(preset.streams))
    given = fields.has("delay_pattern")
    delays = fields.delays("delay_pattern", count) if given else preset.delays[:count]
    return _alike(preset, delays, (bos, eos, padding), eos + 1)


def from_dias_own(fields: ConfigFields) -> Recipe:
    """nari-labs' own config of Dia, with everything in `data`."""
    names = ("bos", "eos", "pad")
    bos, eos, padding = (fields.fill(f"data.audio_{name}_value") for name in names)
    delays = fields.delays("data.delay_pattern", None)
    return _alike(load_preset("dia"), delays, (bos, eos, padding), eos + 1)


def from_musicgen(fields: ConfigFields) -> Recipe:
    """transformers' `musicgen` and `musicgen_melody`, mono or stereo."""
    channels = fields.integer("decoder.audio_channels", 1, 2, 1)
    count = fields.count("decoder.num_codebooks", 4)
    bos, padding = (fields.fill(f"decoder.{name}_token_id", 2048) for name in ("bos", "pad"))
    # In stereo left and right take turns, and both of a pair are delayed alike.
    delays = tuple(number // channels for number in range(count))
    preset = load_preset("musicgen" if channels == 1 else "musicgen-stereo")
    return _alike(preset, delays, (bos, padding, padding), fields.card("decoder.vocab_size", 2048))


def from_parler(fields: ConfigFields) -> Recipe:
    """`parler_tts`, as its own package writes it."""
    count = fields.count("decoder.num_codebooks")
    bos, eos, padding = (fields.fill(f"decoder.{name}_token_id") for name in ("bos", "eos", "pad"))
    return _alike(load_preset("parler-tts"), range(count), (bos, eos, padding), eos + 1)


def from_higgs(fields: ConfigFields) -> Recipe:
    """boson's own `higgs_audio`, of which `use_delay_pattern` says whether there are delays."""
    return _higgs(fields, "audio_num_codebooks", "audio_codebook_size")


def from_higgs_v2(fields: ConfigFields) -> Recipe:
    """transformers' `higgs_audio_v2`."""
    return _higgs(fields, "num_codebooks", "codebook_size")


def _higgs(fields: ConfigFields, count: str, size: str) -> Recipe:
    numbers = range(fields.count(count, 8))
    delays = numbers if fields.switch("use_delay_pattern", True) else [0] * len(numbers)
    bos, eos = fields.fill("audio_stream_bos_id", 1024), fields.fill("audio_stream_eos_id", 1025)
    # One form of the config counts the two tokens among the codebook's, the other does not.
    card = max(fields.card(size, 1024), bos + 1, eos + 1)
    return _alike(load_preset("higgs-audio"), delays, (bos, eos, eos), card)


def from_higgs_v3(fields: ConfigFields) -> Recipe:
    """`higgs_multimodal_qwen3`, whose vocabulary ends in the two tokens of the pattern."""
    encoder = "audio_encoder_config"
    card = fields.card(f"{encoder}.vocab_size", 1026)
    numbers = range(fields.count(f"{encoder}.num_codebooks", 8))
    delayed = fields.switch(f"{encoder}.use_delay_pattern", True)
    delays = numbers if delayed else [0] * len(numbers)
    return _alike(load_preset("higgs-audio-v3"), delays, (card - 2, card - 1, card - 1), card)


def from_moss_tts(fields: ConfigFields) -> Recipe:
    """`moss_tts_delay`: text, and `n_vq` codebooks."""
    preset = load_preset("moss-tts")
    begin, end, slot = (
        fields.fill(f"audio_{name}_token_id", default)
        for name, default in (
            ("start", 151652),
            ("end", 151653),
            ("assistant_delay_slot", 151662),
        )
    )
    card = fields.card("language_config.vocab_size", preset.streams[0].cardinality)
    text = replace(
        preset.streams[0], initial=begin, final=slot, padding=slot, last=end, cardinality=card
    )
    code = fields.fill("audio_pad_code", 1024)
    # The model embeds and predicts one more code than `audio_vocab_size` says: the padding.
    codes = max(fields.card("audio_vocab_size", 1024), code) + 1
    count = fields.count("n_vq", preset.n_q)
    audio = _alike(replace(preset, streams=preset.audio), range(count), (code,) * 3, codes).streams
    audio = tuple(replace(stream, token_weights={code: 0.0}) for stream in audio)
    return replace(preset, streams=(text, *audio), dep_q=count)


def _alike(preset: Recipe, delays: Sequence[int], fills: tuple[int, int, int], card: int) -> Recipe:
    """A preset whose streams are alike, with other delays, fill tokens and vocabulary.

    fills: initial, final and padding
    """
    initial, final, padding = fills
    names = [stream.name for stream in preset.streams]
    names += [f"codebook_{number}" for number in range(len(names), len(delays))]
    streams = tuple(
        replace(
            preset.streams[0],
            name=name,
            delay=delay,
            initial=initial,
            final=final,
            padding=padding,
            last=padding,
            cardinality=max(card, 1),
            token_weights={},
        )
        for name, delay in zip(names, delays, strict=False)
    )
    return replace(preset, streams=streams, dep_q=len(streams))


READERS = {
    "dia": from_dia,
    "higgs_audio": from_higgs,
    "higgs_audio_v2": from_higgs_v2,
    "higgs_multimodal_qwen3": from_higgs_v3,
    "moshi": from_moshi,
    "moss_tts_delay": from_moss_tts,
    "musicgen": from_musicgen,
    "musicgen_melody": from_musicgen,
    "parler_tts": from_parler,
}
"""What reads a config, by its `model_type`."""
NOTES = {
    "moshi": "transformers' Moshi delays its audio_labels by itself, to the length of the row "
    "(`length` truncate): give it moshi_audio_codes and user_audio_codes that are shifted, and "
    "labels that are not",
    "higgs_audio_v2": "the processor of transformers trains no end token, this recipe does, as "
    "boson's collator: `final_weight` 0",
}
"""What a user of these models has to know."""
