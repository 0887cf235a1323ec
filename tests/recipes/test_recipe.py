"""Recipes: there and back as JSON, every check, and what each option changes."""

import dataclasses
import json

import pytest
from hypothesis import given, settings
from strategies import recipes

from delaytool.errors import RecipeError
from delaytool.recipes.adapt import (
    first_streams,
    with_acoustic_delay,
    with_audio,
    with_delays,
    with_offset,
    with_text,
    with_weights,
    without_text,
)
from delaytool.recipes.describe import runs_of_like_streams
from delaytool.recipes.presets import load_preset, plain_recipe, preset_names
from delaytool.recipes.recipe import Recipe
from delaytool.recipes.stream import Stream
from delaytool.recipes.times import frames_of

AUDIO = {
    "name": "semantic",
    "kind": "semantic",
    "delay": 0,
    "initial": 2048,
    "padding": 2048,
    "cardinality": 2048,
}
TEXT = {**AUDIO, "name": "text", "kind": "text"}
EXAMPLE = """
{"streams": [{"name": "text", "kind": "text", "delay": 0, "initial": 32000, "padding": 3,
              "cardinality": 32000, "weight": 1.0, "token_weights": {"0": 0.5, "3": 0.5}},
             {"name": "semantic", "kind": "semantic", "delay": 0, "initial": 2048,
              "padding": 2048, "cardinality": 2048, "weight": 100.0},
             {"name": "acoustic", "kind": "acoustic", "delay": 1, "initial": 2048,
              "padding": 2048, "cardinality": 2048}],
 "dep_q": 2, "length": "extend", "initial_step": false, "final_step": false}
"""
INFINITY, NAN = float("inf"), float("nan")


@given(recipes())
@settings(max_examples=100, deadline=None)
def test_a_recipe_comes_back_from_its_json(recipe):
    back = Recipe.from_json(recipe.to_json())
    assert back == recipe
    assert back.to_json() == recipe.to_json()
    assert hash(back) == hash(recipe)
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_the_example_is_the_plain_recipe():
    assert Recipe.from_json(EXAMPLE) == plain_recipe(2, (0, 0, 1))
    assert Recipe.from_json(EXAMPLE.encode()) == plain_recipe(2, (0, 0, 1))


def test_json_has_a_line_for_each_stream():
    lines = load_preset("moshi").to_json().splitlines()
    assert sum('"name"' in line for line in lines) == 17


def test_defaults():
    recipe = Recipe.from_dict({"streams": [TEXT, {**AUDIO, "padding": 7}]})
    assert (recipe.dep_q, recipe.length) == (1, "extend")
    assert (recipe.initial_step, recipe.final_step) == (False, False)
    assert (recipe.content_length, recipe.frame_rate) == ("extend", 12.5)
    stream = recipe.streams[1]
    assert (stream.final, stream.last, stream.weight, stream.token_weights) == (7, 7, 1.0, {})
    assert (stream.offset, stream.lead, stream.trail) == (0, -1, -1)
    assert (stream.initial_weight, stream.final_weight, stream.padding_weight) == (0.0, 0.0, 0.0)
    assert stream.fills == (2048, 7, 7)
    weighing = Stream.from_dict({**AUDIO, "padding_weight": 0.5})
    assert (weighing.padding_weight, weighing.last_weight) == (0.5, 0.5)


def test_json_leaves_out_what_is_as_by_default():
    lines = load_preset("moshi").to_json().splitlines()
    assert lines[2] == (
        '  {"name": "moshi_semantic", "kind": "semantic", "delay": 0, "initial": 2048, '
        '"padding": 2048, "cardinality": 2048, "weight": 100.0},'
    )
    assert lines[-1] == ' "dep_q": 8}'
    edited = json.loads(load_preset("moshi").to_json())
    edited["streams"][1]["padding"] = 7
    stream = Recipe.from_dict(edited).streams[1]
    assert (stream.final, stream.last) == (7, 7), "they go along"
    ended = dataclasses.replace(stream, final=8, last=9, padding_weight=1, last_weight=2)
    back = Recipe.from_json(Recipe((ended,), length="truncate", offset_length="extend").to_json())
    assert back.streams == (ended,)
    assert (back.length, back.offset_length) == ("truncate", "extend")


def test_a_recipe_says_everything_in_its_record():
    fields = load_preset("moshi").to_dict()
    assert fields["offset_length"] == "extend"
    assert fields["frame_rate"] == 12.5
    stream = fields["streams"][1]
    assert {stream[name] for name in ("padding", "final", "last")} == {2048}
    assert (stream["offset"], stream["lead"], stream["trail"]) == (0, -1, -1)
    weights = [stream[f"{name}_weight"] for name in ("initial", "final", "padding", "last")]
    assert weights == [0, 0, 0, 0]


def test_offsets_are_as_long_as_delays_unless_they_say_so():
    recipe = with_offset(plain_recipe(1, (0, 1)), "audio", 2)
    assert (recipe.content_length, recipe.steps(10)) == ("extend", 13)
    truncated = dataclasses.replace(recipe, length="truncate")
    assert (truncated.content_length, truncated.steps(10)) == ("truncate", 10)
    kyutai = dataclasses.replace(recipe, length="truncate", offset_length="extend")
    assert (kyutai.content_length, kyutai.steps(10)) == ("extend", 12)
    assert dataclasses.replace(recipe, offset_length="extend") == recipe


def test_the_frame_rate_decides_no_token():
    recipe = dataclasses.replace(plain_recipe(1, (0, 1)), frame_rate=50)
    assert recipe == plain_recipe(1, (0, 1))
    assert Recipe.from_json(recipe.to_json()).frame_rate == 50.0


def test_what_a_recipe_says_of_itself():
    recipe = plain_recipe(3, (1, 0, 2, 5))
    assert recipe.has_text
    assert (recipe.n_q, recipe.dep_q, recipe.delays, recipe.max_delay) == (3, 3, (1, 0, 2, 5), 5)
    assert [stream.name for stream in recipe.audio] == ["semantic", "acoustic_1", "acoustic_2"]
    without = dataclasses.replace(without_text(recipe), dep_q=1)
    assert not without.has_text
    assert (without.n_q, without.audio) == (3, without.streams)
    assert [without.carries_loss(k) for k in range(3)] == [True, False, False]
    first = dataclasses.replace(recipe, dep_q=1)
    assert [first.carries_loss(k) for k in range(4)] == [True, True, False, False]


@pytest.mark.parametrize(
    ("changes", "steps"),
    [
        ({}, 15),
        ({"length": "truncate"}, 10),
        ({"initial_step": True}, 16),
        ({"final_step": True}, 16),
        ({"length": "truncate", "initial_step": True, "final_step": True}, 12),
    ],
)
def test_how_many_steps_ten_frames_become(changes, steps):
    assert dataclasses.replace(plain_recipe(2, (0, 0, 5)), **changes).steps(10) == steps


ABSURD_FIELDS = [
    ("name", ""),
    ("name", None),
    ("name", 5),
    ("name", "a\nb"),
    ("name", "\x1b[31m"),
    ("kind", "Text"),
    ("kind", "codec"),
    ("kind", None),
    ("kind", ["text"]),
    ("delay", -1),
    ("delay", 2**20 + 1),
    ("delay", 10**30),
    ("delay", 1.0),
    ("delay", True),
    ("delay", "1"),
    ("delay", None),
    ("cardinality", 0),
    ("cardinality", -5),
    ("cardinality", 2**31 + 1),
    ("cardinality", 2048.0),
    ("cardinality", None),
    ("cardinality", False),
    ("initial", -3),
    ("initial", 2**31 + 1),
    ("initial", "2048"),
    ("initial", None),
    ("padding", -3),
    ("padding", 2**31 + 1),
    ("padding", 0.5),
    ("padding", [3]),
    ("final", -3),
    ("final", 2**31 + 1),
    ("final", True),
    ("final", {}),
    ("offset", 2**20 + 1),
    ("offset", -(2**20) - 1),
    ("offset", 1.5),
    ("offset", "1.28s"),
    ("offset", None),
    ("offset", True),
    *[
        (field, value)
        for field in ("last", "lead", "trail")
        for value in (-3, 2**31 + 1, 0.5, "3", True, [])
    ],
    ("lead", None),
    ("trail", None),
    *[
        (field, value)
        for field in ("weight", "initial_weight", "final_weight", "padding_weight")
        for value in (-0.5, INFINITY, -INFINITY, NAN, 1e39, True, "1", None, [1], 10**400)
    ],
    *[("last_weight", value) for value in (-0.5, INFINITY, NAN, 1e39, True, "1", [1], 10**400)],
    ("token_weights", None),
    ("token_weights", [3]),
    ("token_weights", "3"),
    ("token_weights", {"3": -1}),
    ("token_weights", {"3": NAN}),
    ("token_weights", {"3": INFINITY}),
    ("token_weights", {"3": None}),
    ("token_weights", {"3": "0.5"}),
    ("token_weights", {"3": 1e39}),
    ("token_weights", {"3": 10**400}),
    ("token_weights", {"2048": 1}),
    ("token_weights", {"-1": 1}),
    ("token_weights", {"03": 1}),
    ("token_weights", {"3.0": 1}),
    ("token_weights", {" 3": 1}),
    ("token_weights", {"": 1}),
    ("token_weights", {"three": 1}),
    ("token_weights", {"³": 1}),
    ("token_weights", {"9" * 5000: 1}),
]


@pytest.mark.parametrize(("field", "value"), ABSURD_FIELDS, ids=lambda x: repr(x)[:30])
def test_an_absurd_field_of_a_stream_is_named(field, value):
    # json.dumps writes NaN and Infinity, and json.loads reads them.
    fields = {"streams": [TEXT, {**AUDIO, field: value}]}
    with pytest.raises(RecipeError, match=rf"streams\[1\].*{field}") as raised:
        Recipe.from_json(json.dumps(fields))
    assert len(str(raised.value)) < 250


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("delay", 2**20),
        ("cardinality", 2**31),
        ("initial", -2),
        ("initial", 2**31),
        ("padding", -1),
        ("final", 5),
        ("last", -2),
        ("last", 2**31),
        ("lead", -2),
        ("trail", 2**31),
        ("offset", 2**20),
        ("offset", -(2**20)),
        ("last_weight", 0),
        ("initial_weight", 1),
        ("weight", 0),
        ("weight", (2 - 2**-23) * 2.0**127),
        ("final_weight", 5e-324),
        ("token_weights", {"2047": 0, "0": 2}),
        ("name", "ünicode stream 音"),
    ],
)
def test_the_ends_of_what_is_valid_are_valid(field, value):
    recipe = Recipe.from_dict({"streams": [{**AUDIO, field: value}]})
    assert Recipe.from_json(recipe.to_json()) == recipe


def test_4096_streams_are_valid_and_one_more_is_not():
    streams = [{**AUDIO, "name": f"stream_{k}"} for k in range(4097)]
    assert Recipe.from_dict({"streams": streams[:4096]}).n_q == 4096
    with pytest.raises(RecipeError, match="streams has 4097 entries"):
        Recipe.from_dict({"streams": streams})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"streams": []}, "streams has 0 entries"),
        ({"streams": {}}, "streams"),
        ({"streams": "text"}, "streams"),
        ({"streams": None}, "streams"),
        ({"streams": [None]}, r"streams\[0\]"),
        ({"streams": [TEXT, 5]}, r"streams\[1\]"),
        ({"streams": [[]]}, r"streams\[0\]"),
        ({"streams": [{}]}, r"streams\[0\].*lacks.*'name'"),
        ({"streams": [TEXT, TEXT]}, "two streams named"),
        ({"streams": [TEXT, AUDIO, AUDIO]}, 'two streams named "semantic"'),
        ({"streams": [AUDIO], "dep_q": 2}, "dep_q"),
        ({"streams": [TEXT, AUDIO], "dep_q": 2}, "dep_q"),
        ({"streams": [AUDIO], "dep_q": -1}, "dep_q"),
        ({"streams": [AUDIO], "dep_q": True}, "dep_q"),
        ({"streams": [AUDIO], "dep_q": "1"}, "dep_q"),
        ({"streams": [AUDIO], "length": "long"}, "length"),
        ({"streams": [AUDIO], "length": None}, "length"),
        ({"streams": [AUDIO], "offset_length": "long"}, "offset_length"),
        ({"streams": [AUDIO], "offset_length": True}, "offset_length"),
        *[
            ({"streams": [AUDIO], "frame_rate": rate}, "frame_rate")
            for rate in (0, -12.5, NAN, INFINITY, None, True, "12.5", 10**400, 1e-9)
        ],
        ({"streams": [AUDIO], "initial_step": 1}, "initial_step"),
        ({"streams": [AUDIO], "initial_step": None}, "initial_step"),
        ({"streams": [AUDIO], "final_step": "false"}, "final_step"),
        ({"streams": [AUDIO], "steps": 1}, 'unknown field "steps"'),
        ({"streams": [{**AUDIO, "delays": 1}]}, r'streams\[0\].*unknown field "delays"'),
        ({"dep_q": 1}, "lacks the field 'streams'"),
        ({}, "lacks the field 'streams'"),
        ([], "the recipe"),
        (None, "the recipe"),
        ("moshi", "the recipe"),
        (5, "the recipe"),
    ],
)
def test_a_recipe_that_cannot_be_names_what_is_wrong(fields, message):
    with pytest.raises(RecipeError, match=message):
        Recipe.from_json(json.dumps(fields))


@pytest.mark.parametrize("field", AUDIO)
def test_a_missing_field_is_named(field):
    fields = {name: value for name, value in AUDIO.items() if name != field}
    with pytest.raises(RecipeError, match=rf"streams\[1\].*lacks the field '{field}'"):
        Recipe.from_dict({"streams": [TEXT, fields]})


@pytest.mark.parametrize(
    "text", ["", "{", "moshi", "{'streams': []}", b"\xff\xfe", "[" * 100_000, '{"streams": [1,]}']
)
def test_what_is_not_json_is_said_to_be(text):
    with pytest.raises(RecipeError, match="not JSON"):
        Recipe.from_json(text)


def test_a_product_of_weights_is_finite_too():
    for weight, factor in ((3e38, 3e38), (2.0, 2.0**127), (1e-46, 1e300), (3e38, 1.7e308)):
        with pytest.raises(RecipeError, match="weight times token_weights of token 3 is"):
            Stream(**AUDIO | {"weight": weight, "token_weights": {3: factor}})
    stream = Stream(**AUDIO | {"weight": 1e-46, "token_weights": {3: 1e80}})
    assert stream.token_weights == {3: 1e80}, "the factor alone may be any number"


def test_the_heaviest_weight_is_of_a_stream_that_is_trained():
    streams = [Stream(**{**AUDIO, "name": name, "weight": w}) for name, w in (("a", 2), ("b", 9))]
    assert [Recipe(tuple(streams), dep_q=n).heaviest for n in (0, 1, 2)] == [0, 2, 9]
    factors = dataclasses.replace(streams[0], token_weights={3: 4.0, 5: 0.5})
    assert Recipe((factors,)).heaviest == 8


def test_a_recipe_cannot_be_changed_in_place():
    recipe = plain_recipe(1, (0, 0))
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.length = "truncate"
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.streams[0].delay = 3


MOSHI = load_preset("moshi")


def texts(recipe, field):
    return getattr(recipe.streams[0], field)


def audios(recipe, field):
    return {getattr(stream, field) for stream in recipe.audio}


@pytest.mark.parametrize("name", preset_names())
def test_adapting_nothing_changes_nothing(name):
    recipe = load_preset(name)
    assert with_text(recipe) == with_audio(recipe) == with_weights(recipe) == recipe
    assert with_delays(recipe, recipe.delays) == first_streams(recipe, recipe.n_q) == recipe


def test_no_text_drops_the_text_and_nothing_else():
    recipe = without_text(MOSHI)
    assert recipe.streams == MOSHI.audio
    assert recipe.dep_q == 8
    assert without_text(recipe) == recipe
    with pytest.raises(RecipeError, match="text_padding is given, but there is no text stream"):
        with_text(recipe, padding=3)
    text_only = dataclasses.replace(MOSHI, streams=MOSHI.streams[:1], dep_q=0)
    with pytest.raises(RecipeError, match="no streams"):
        without_text(text_only)


def test_fewer_codebooks_are_the_first():
    recipe = first_streams(MOSHI, 3)
    assert recipe.streams == MOSHI.streams[:4]
    assert recipe.dep_q == 3
    assert first_streams(MOSHI, 12).dep_q == 8
    assert first_streams(MOSHI, 16) == MOSHI
    for n_q in (0, 17, -1, True):
        with pytest.raises(RecipeError, match="n_q"):
            first_streams(MOSHI, n_q)


def test_delays_one_for_each_stream_or_one_for_all_audio():
    assert with_delays(MOSHI, tuple(range(17))).delays == tuple(range(17))
    assert with_delays(MOSHI, (3,)).delays == (0, *[3] * 16)
    assert with_delays(without_text(MOSHI), (3,)).delays == (3,) * 16
    assert with_delays(first_streams(MOSHI, 2), (1, 2, 3)).delays == (1, 2, 3)
    for delays in ((), (1, 2), tuple(range(16)), tuple(range(18))):
        with pytest.raises(RecipeError, match=f"{len(delays)} delays for 17 streams"):
            with_delays(MOSHI, delays)
    with pytest.raises(RecipeError, match="stream user_acoustic_7: delay is -1"):
        with_delays(MOSHI, (*[0] * 16, -1))


def test_offsets_by_the_name_of_a_stream_or_by_kind():
    assert [s.offset for s in with_offset(MOSHI, "audio", 16).streams] == [0, *[16] * 16]
    assert [s.offset for s in with_offset(MOSHI, "text", -6).streams] == [-6, *[0] * 16]
    one = with_offset(MOSHI, "user_semantic", "1.28s")
    assert {s.name: s.offset for s in one.streams if s.offset} == {"user_semantic": 16}
    last = with_offset(with_offset(MOSHI, "audio", 16), "moshi_semantic", "3")
    assert {s.offset for s in last.audio} == {16, 3}
    texts = dataclasses.replace(MOSHI.streams[0], name="audio")
    named = Recipe((texts, *MOSHI.audio))
    assert [s.offset for s in with_offset(named, "audio", 2).streams] == [2, *[0] * 16]
    for name in ("semantic", "Text", "", "user"):
        with pytest.raises(RecipeError, match="no stream is called .*, expected text, audio or"):
            with_offset(MOSHI, name, 1)
    with pytest.raises(RecipeError, match="no stream is called"):
        with_offset(without_text(MOSHI), "text", 1)
    with pytest.raises(RecipeError, match="stream text: offset is 1048577"):
        with_offset(MOSHI, "text", 2**20 + 1)


@pytest.mark.parametrize(
    ("time", "rate", "frames"),
    [
        ("16", 12.5, 16),
        ("-6", 12.5, -6),
        ("+6", 12.5, 6),
        ("1.28s", 12.5, 16),
        ("0.56s", 12.5, 7),
        ("-2.0s", 12.5, -25),
        (".08s", 12.5, 1),
        ("0s", 12.5, 0),
        ("10s", 33.3, 333),
        ("0.1s", 1_000_000, 100_000),
        ("512s", 86.1328125, 44100),
    ],
)
def test_times_are_exact_decimals(time, rate, frames):
    assert frames_of(time, rate) == frames


@pytest.mark.parametrize(
    ("time", "is_text", "message"),
    [
        ("0.5s", False, "0.5s is 6.25 frames at 12.5 a second, expected a whole number of frames"),
        ("2.5s", True, "31.25 frames .*; words are moved by any time before they become frames"),
        ("1.5", False, "is no time, expected frames such as 16, or seconds such as 1.28s"),
        ("1e3s", False, "is no time"),
        ("s", False, "is no time"),
        ("1.28 s", False, "is no time"),
        ("", False, "is no time"),
        ("nan", False, "is no time"),
        ("1" * 30, False, "is no time"),
        ("³s", False, "is no time"),
    ],
)
def test_a_time_that_is_no_number_of_frames(time, is_text, message):
    with pytest.raises(RecipeError, match=message):
        frames_of(time, 12.5, is_text=is_text)


def test_text_at_any_place_and_several_of_it():
    audio = [Stream(**AUDIO), Stream(**AUDIO | {"name": "acoustic", "kind": "acoustic"})]
    texts = [Stream(**TEXT | {"name": name, "padding": 3}) for name in ("text_1", "text_2")]
    recipe = Recipe((audio[0], texts[0], audio[1], texts[1]), dep_q=1)
    assert (recipe.text_numbers, recipe.audio_numbers, recipe.n_q) == ((1, 3), (0, 2), 2)
    assert [recipe.carries_loss(k) for k in range(4)] == [True, True, False, True]
    assert without_text(recipe).streams == tuple(audio)
    assert first_streams(recipe, 1).streams == (audio[0], *texts)
    assert with_delays(recipe, (2,)).delays == (2, 0, 2, 0)
    assert [s.offset for s in with_offset(recipe, "text", 3).streams] == [0, 3, 0, 3]
    both = with_text(recipe, card=100, padding=5)
    assert {(s.cardinality, s.padding, s.final) for s in both.text} == {(100, 5, 5)}
    assert both.audio == recipe.audio
    with pytest.raises(RecipeError, match=r"2 delays for 4 streams \(2 text and 2 audio"):
        with_delays(recipe, (1, 2))


def test_what_equalled_the_old_padding_moves_along():
    text = dataclasses.replace(MOSHI.streams[0], trail=3, last=3, final=7)
    moved = with_text(Recipe((text, *MOSHI.audio)), padding=5).streams[0]
    assert (moved.padding, moved.final, moved.last, moved.trail) == (5, 7, 5, 5)
    audio = dataclasses.replace(MOSHI.streams[1], trail=2048, lead=2048, last=1)
    moved = with_audio(Recipe((audio,)), card=1024).streams[0]
    assert (moved.fills, moved.last, moved.trail) == ((1024, 1024, 1024), 1, 1024)
    assert moved.lead == 2048, "nothing says what it follows"
    rstnet = dataclasses.replace(MOSHI.streams[0], padding=32000, final=32000, last=32000)
    moved = with_text(Recipe((rstnet,)), card=48000).streams[0]
    assert (moved.fills, moved.last) == ((48000,) * 3, 48000)


def test_the_acoustic_delay_is_of_acoustic_streams_only():
    recipe = with_acoustic_delay(MOSHI, 4)
    assert recipe.delays == (0, 0, *[4] * 7, 0, *[4] * 7)
    ones = with_delays(MOSHI, (1,))
    assert with_acoustic_delay(ones, 4).delays == (0, 1, *[4] * 7, 1, *[4] * 7)


def test_the_text_card_moves_the_initial_token_that_equalled_it():
    recipe = with_text(MOSHI, card=48000)
    assert recipe.streams[0].fills == (48000, 3, 3)
    assert texts(recipe, "cardinality") == 48000
    assert recipe.audio == MOSHI.audio
    other = with_text(MOSHI, initial=7)
    assert with_text(other, card=48000).streams[0].fills == (7, 3, 3)
    assert with_text(MOSHI, card=48000, initial=5).streams[0].initial == 5


def test_the_card_moves_every_fill_that_equalled_it():
    recipe = with_audio(MOSHI, card=1024)
    assert audios(recipe, "fills") == {(1024, 1024, 1024)}
    assert audios(recipe, "cardinality") == {1024}
    assert recipe.streams[0] == MOSHI.streams[0]
    zero = dataclasses.replace(MOSHI.streams[1], padding=-1, final=-1, last=-1)
    finetune = with_audio(Recipe((MOSHI.streams[0], zero)), card=1024)
    assert audios(finetune, "fills") == {(1024, -1, -1)}
    given = with_audio(MOSHI, card=1024, initial=1026, padding=1025)
    assert audios(given, "fills") == {(1026, 1025, 1025)}


def test_audio_fills():
    assert audios(with_audio(MOSHI, initial=7), "fills") == {(7, 2048, 2048)}
    assert audios(with_audio(MOSHI, padding=7), "fills") == {(2048, 7, 7)}
    final = dataclasses.replace(MOSHI.streams[1], final=2049)
    ended = Recipe((MOSHI.streams[0], final))
    assert with_audio(ended, padding=7).streams[1].fills == (2048, 2049, 7)
    assert with_audio(ended, card=1024).streams[1].fills == (1024, 2049, 1024)
    assert with_audio(MOSHI, padding=7).streams[0] == MOSHI.streams[0]


def test_text_paddings_fill_and_count_in_the_loss():
    both = with_text(MOSHI, padding=5, end_padding=6)
    assert both.streams[0].fills == (32000, 5, 5)
    assert texts(both, "token_weights") == {5: 0.5, 6: 0.5}
    alone = with_text(MOSHI, padding=5)
    assert alone.streams[0].fills == (32000, 5, 5)
    assert texts(alone, "token_weights") == {5: 0.5}
    end = with_text(MOSHI, end_padding=6)
    assert end.streams[0].fills == (32000, 3, 3)
    assert texts(end, "token_weights") == {3: 0.5, 6: 0.5}
    assert both.audio == alone.audio == end.audio == MOSHI.audio


def test_a_text_padding_below_zero_only_fills():
    recipe = with_text(MOSHI, padding=-1)
    assert recipe.streams[0].fills == (32000, -1, -1)
    assert texts(recipe, "token_weights") == {0: 0.5, 3: 0.5}


def test_weights_by_kind():
    recipe = with_weights(MOSHI, semantic=7, acoustic=0.25)
    for before, after in zip(MOSHI.streams, recipe.streams, strict=True):
        expected = {"text": 1, "semantic": 7, "acoustic": 0.25}[before.kind]
        assert after == dataclasses.replace(before, weight=expected)
    padding = with_text(MOSHI, padding_weight=0.1)
    assert texts(padding, "token_weights") == {0: 0.1, 3: 0.1}
    both = with_text(MOSHI, padding=5, padding_weight=0.1)
    assert texts(both, "token_weights") == {5: 0.1}


def test_the_final_weight_is_of_every_stream():
    recipe = with_weights(MOSHI, final=0.5)
    assert {stream.final_weight for stream in recipe.streams} == {0.5}
    assert {stream.padding_weight for stream in recipe.streams} == {0.0}


def test_paddings_with_several_factors_need_a_weight():
    text = dataclasses.replace(MOSHI.streams[0], token_weights={0: 1.0, 3: 0.5})
    recipe = dataclasses.replace(MOSHI, streams=(text, *MOSHI.audio))
    assert with_text(recipe, initial=7).streams[0].token_weights == {0: 1.0, 3: 0.5}
    with pytest.raises(RecipeError, match="`text_padding_weight`"):
        with_text(recipe, padding=5)
    changed = with_text(recipe, padding=5, padding_weight=0.25)
    assert changed.streams[0].token_weights == {5: 0.25}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda: with_acoustic_delay(MOSHI, -1), "stream moshi_acoustic_1: delay"),
        (lambda: with_acoustic_delay(MOSHI, 2**20 + 1), "stream moshi_acoustic_1: delay"),
        (lambda: dataclasses.replace(MOSHI, length="short"), "length"),
        (lambda: with_text(MOSHI, card=0), "stream text: cardinality"),
        (lambda: with_text(MOSHI, card=3), "stream text: token_weights"),
        (lambda: with_audio(MOSHI, card=0), "stream moshi_semantic: cardinality"),
        (lambda: with_text(MOSHI, initial=-3), "stream text: initial"),
        (lambda: with_text(MOSHI, padding=-3), "stream text: padding"),
        (lambda: with_text(MOSHI, padding=32000), "stream text: token_weights"),
        (lambda: with_text(MOSHI, end_padding=-3), "stream text: token_weights"),
        (lambda: with_text(MOSHI, padding_weight=-1.0), "stream text: token_weights"),
        (lambda: with_audio(MOSHI, initial=2**31 + 1), "stream moshi_semantic: initial"),
        (
            lambda: with_audio(MOSHI, padding=-3),
            "stream moshi_semantic: padding|stream moshi_semantic: final",
        ),
        (lambda: with_weights(MOSHI, semantic=NAN), "stream moshi_semantic: weight"),
        (lambda: with_weights(MOSHI, acoustic=INFINITY), "stream moshi_acoustic_1: weight"),
        (lambda: with_weights(MOSHI, final=-1.0), "stream text: final_weight"),
        (lambda: dataclasses.replace(MOSHI, dep_q=17), "dep_q"),
        (lambda: dataclasses.replace(MOSHI, dep_q=-1), "dep_q"),
    ],
)
def test_what_cannot_be_is_named(change, field):
    with pytest.raises(RecipeError, match=field):
        change()


def test_runs_of_like_streams():
    runs = runs_of_like_streams(MOSHI)
    assert [(names, trained) for names, _, trained in runs] == [
        ("text", True),
        ("moshi_semantic", True),
        ("moshi_acoustic_1 ... moshi_acoustic_7 (7)", True),
        ("user_semantic", False),
        ("user_acoustic_1 ... user_acoustic_7 (7)", False),
    ]
    assert [stream.delay for _, stream, _ in runs] == [0, 0, 1, 0, 1]


def test_a_run_ends_where_anything_differs_or_the_loss_does():
    recipe = plain_recipe(5, (0, 0, 1, 1, 1, 2))
    assert [names for names, _, _ in runs_of_like_streams(recipe)] == [
        "text",
        "semantic",
        "acoustic_1 ... acoustic_3 (3)",
        "acoustic_4",
    ]
    fewer = dataclasses.replace(recipe, dep_q=2)
    assert [names for names, _, _ in runs_of_like_streams(fewer)] == [
        "text",
        "semantic",
        "acoustic_1",
        "acoustic_2 ... acoustic_3 (2)",
        "acoustic_4",
    ]
    changed = dataclasses.replace(recipe.streams[3], token_weights={5: 0.0})
    streams = (*recipe.streams[:3], changed, *recipe.streams[4:])
    assert len(runs_of_like_streams(dataclasses.replace(recipe, streams=streams))) == 6
