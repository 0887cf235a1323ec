"""What is to be done to each stream, as data.

A `Recipe` is a list of `Stream`s and a few switches. Every number that distinguishes one model
from another (delays, fill tokens, vocabulary sizes, loss weights) is in it, so nothing else in
delaytool knows any model by name. `Recipe.from_json(recipe.to_json()) == recipe`.

All checks of a recipe's values are here: whoever holds a `Recipe` holds a valid one.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from delaytool.errors import RecipeError

Kind = Literal["text", "semantic", "acoustic"]
Length = Literal["extend", "truncate"]

KINDS = ("text", "semantic", "acoustic")
LENGTHS = ("extend", "truncate")
ZERO_TOKEN = -1
"""No input and no loss in this cell (Moshi's `zero_token_id`); valid in every stream."""

MAX_DELAY = 2**20
MAX_STREAMS = 4096
MIN_FILL, MAX_FILL = -2, 2**31
MAX_CARDINALITY = 2**31
MAX_WEIGHT = (2 - 2**-23) * 2.0**127
"""The largest float32, which weights are."""


def _integer(field: str, value: object, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise RecipeError(f"{field} is {_show(value)}, expected an integer from {low} to {high}")
    return value


def _weight(field: str, value: object, most: float = MAX_WEIGHT) -> float:
    # Comparing comes first: a huge integer cannot be made a float. NaN compares with nothing.
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= most:  # type: ignore[operator]
        raise RecipeError(f"{field} is {_show(value)}, expected a finite number from 0 up")
    return float(value)  # type: ignore[arg-type]


def _flag(field: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise RecipeError(f"{field} is {_show(value)}, expected true or false")
    return value


def _one_of(field: str, value: object, valid: tuple[str, ...]) -> None:
    if not isinstance(value, str) or value not in valid:
        raise RecipeError(f"{field} is {_show(value)}, expected one of {', '.join(valid)}")


def _show(value: object) -> str:
    text = json.dumps(value) if isinstance(value, (str, bool, type(None))) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _known(where: str, given: object, valid: tuple[str, ...], required: tuple[str, ...]) -> None:
    if not isinstance(given, Mapping):
        raise RecipeError(f"{where} is {_show(given)}, expected an object")
    unknown = [str(name) for name in given if name not in valid]
    if unknown:
        raise RecipeError(
            f"{where} has the unknown field {_show(unknown[0])}, expected {', '.join(valid)}"
        )
    missing = [name for name in required if name not in given]
    if missing:
        raise RecipeError(f"{where} lacks the field {missing[0]!r}")


@dataclass(frozen=True)
class Stream:
    """One token stream: where it moves, what fills the cells around it, and what it weighs.

    delay:          frames by which it moves later, 0 to 2**20
    initial:        token of the cells before it (Moshi: `text_card`, `card`)
    padding:        token of the cells behind it
    final:          token of the first cell behind it; `padding` when not given
    cardinality:    vocabulary size; valid tokens are 0 to cardinality - 1, and -1 (zero token)
    weight:         loss weight of its tokens
    token_weights:  factors on `weight` for some tokens, as {token: factor}; only the product has to
                    be a float32
    final_weight:   loss weight of the first cell behind the stream
    padding_weight: loss weight of the other cells behind it

    Raises RecipeError, naming the field, when a value cannot be.
    """

    name: str
    kind: Kind
    delay: int
    initial: int
    padding: int
    cardinality: int
    final: int | None = None
    weight: float = 1.0
    token_weights: Mapping[int, float] = dataclasses.field(default_factory=dict)
    final_weight: float = 0.0
    padding_weight: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name or not self.name.isprintable():
            raise RecipeError(f"name is {_show(self.name)}, expected a printable, non-empty string")
        _one_of("kind", self.kind, KINDS)
        _integer("delay", self.delay, 0, MAX_DELAY)
        _integer("cardinality", self.cardinality, 1, MAX_CARDINALITY)
        if self.final is None:
            object.__setattr__(self, "final", self.padding)
        for field in ("initial", "padding", "final"):
            _integer(field, getattr(self, field), MIN_FILL, MAX_FILL)
        for field in ("weight", "final_weight", "padding_weight"):
            object.__setattr__(self, field, _weight(field, getattr(self, field)))
        if not isinstance(self.token_weights, Mapping):
            given = _show(self.token_weights)
            raise RecipeError(f"token_weights is {given}, expected an object {{token: factor}}")
        weights = {
            _integer("token_weights: the token", token, 0, self.cardinality - 1): _weight(
                f"token_weights of token {token}", factor, sys.float_info.max
            )
            for token, factor in self.token_weights.items()
        }
        for token, factor in weights.items():
            _weight(f"weight times token_weights of token {token}", self.weight * factor)
        object.__setattr__(self, "token_weights", dict(sorted(weights.items())))

    def __hash__(self) -> int:
        return hash((self.name, self.kind, self.delay, self.initial, self.padding))

    @property
    def fills(self) -> tuple[int, int, int]:
        """The fill tokens: initial, final, padding."""
        assert self.final is not None
        return self.initial, self.final, self.padding

    @property
    def padding_ids(self) -> set[int]:
        """Which tokens of a text stream are padding: those it is padded with and weighed by."""
        return {token for token in (self.padding, *self.token_weights) if token > ZERO_TOKEN}

    def to_dict(self) -> dict[str, Any]:
        """Every field, with JSON's types."""
        fields = dataclasses.asdict(self)
        fields["token_weights"] = {str(token): x for token, x in self.token_weights.items()}
        return fields

    @classmethod
    def from_dict(cls, given: object, where: str = "stream") -> Stream:
        """A stream from a JSON object; raises RecipeError, naming the field."""
        names = tuple(field.name for field in dataclasses.fields(cls))
        _known(where, given, names, ("name", "kind", "delay", "initial", "padding", "cardinality"))
        assert isinstance(given, Mapping)
        values = dict(given)
        try:
            if isinstance(weights := values.get("token_weights"), Mapping):
                values["token_weights"] = {_token(token): x for token, x in weights.items()}
            return cls(**values)
        except RecipeError as error:
            raise RecipeError(f"{where}: {error}") from None


def _token(text: object) -> int:
    """A key of token_weights; JSON's keys are strings: '3' -> 3."""
    # Longer ones are no token; Python refuses to make integers of the longest.
    is_number = isinstance(text, str) and text.isascii() and text.isdigit() and len(text) < 20
    if is_number and str(int(text)) == text:  # type: ignore[call-overload]
        return int(text)
    if isinstance(text, int) and not isinstance(text, bool):
        return text
    raise RecipeError(f"token_weights has the key {_show(text)}, expected a token id")


@dataclass(frozen=True)
class Recipe:
    """The delay pattern of one model.

    streams:      the text stream, if there is one, then the n_q audio streams
    dep_q:        only the first dep_q audio streams carry loss; all of them when not given
    length:       "extend" keeps every token, "truncate" the original number of frames
    initial_step: one more column in front, every stream's initial token
    final_step:   one more column at the end, so that each stream has a cell behind it

    Raises RecipeError, naming the field, when a value cannot be.
    """

    streams: tuple[Stream, ...]
    dep_q: int | None = None
    length: Length = "extend"
    initial_step: bool = False
    final_step: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "streams", tuple(self.streams))
        if not 1 <= len(self.streams) <= MAX_STREAMS:
            raise RecipeError(
                f"streams has {len(self.streams)} entries, expected 1 to {MAX_STREAMS}"
            )
        names = [stream.name for stream in self.streams]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise RecipeError(f"streams has two streams named {_show(twice)}, expected one of each")
        if any(stream.kind == "text" for stream in self.streams[1:]):
            raise RecipeError("streams has a text stream behind the first place, expected it first")
        if self.dep_q is None:
            object.__setattr__(self, "dep_q", self.n_q)
        _integer("dep_q", self.dep_q, 0, self.n_q)
        _one_of("length", self.length, LENGTHS)
        _flag("initial_step", self.initial_step)
        _flag("final_step", self.final_step)

    @property
    def has_text(self) -> bool:
        """Whether stream 0 is text."""
        return self.streams[0].kind == "text"

    @property
    def audio(self) -> tuple[Stream, ...]:
        """The audio streams, in order."""
        return self.streams[1:] if self.has_text else self.streams

    @property
    def n_q(self) -> int:
        """How many audio streams there are."""
        return len(self.streams) - self.has_text

    @functools.cached_property
    def delays(self) -> tuple[int, ...]:
        """Each stream's delay in frames."""
        return tuple(stream.delay for stream in self.streams)

    @functools.cached_property
    def max_delay(self) -> int:
        """D, the largest delay in frames."""
        return max(self.delays)

    @property
    def heaviest(self) -> float:
        """The largest loss weight that a token may have; 0 where none is trained."""
        weights = (
            stream.weight * max((1.0, *stream.token_weights.values()))
            for number, stream in enumerate(self.streams)
            if self.carries_loss(number)
        )
        return max(weights, default=0.0)

    def carries_loss(self, number: int) -> bool:
        """Whether stream `number` is predicted: text is, and the first dep_q audio streams."""
        assert self.dep_q is not None
        return number - self.has_text < self.dep_q

    @functools.cached_property
    def weights_of_pieces(self) -> tuple[tuple[float, float, float, float], ...]:
        """What each stream's initial tokens weigh, its own, the final one and padding."""
        return tuple(
            (0.0, stream.weight, stream.final_weight, stream.padding_weight)
            if self.carries_loss(number)
            else (0.0, 0.0, 0.0, 0.0)
            for number, stream in enumerate(self.streams)
        )

    def steps(self, frames: int) -> int:
        """How many timesteps S a row of T frames becomes.

        T=4, D=1 -> 5 (extend), 4 (truncate); one more for each of initial and final step
        """
        extra = self.max_delay if self.length == "extend" else 0
        return frames + extra + self.initial_step + self.final_step

    def to_dict(self) -> dict[str, Any]:
        """Every field, with JSON's types."""
        return {
            "streams": [stream.to_dict() for stream in self.streams],
            "dep_q": self.dep_q,
            "length": self.length,
            "initial_step": self.initial_step,
            "final_step": self.final_step,
        }

    def to_json(self) -> str:
        """One stream a line: a file to read and to change by hand."""
        head = self.to_dict()
        streams = ",\n  ".join(json.dumps(stream) for stream in head.pop("streams"))
        rest = json.dumps(head)[1:-1]
        return f'{{"streams": [\n  {streams}],\n {rest}}}\n'

    @classmethod
    def from_dict(cls, given: object) -> Recipe:
        """A recipe from a JSON object; raises RecipeError, naming the field."""
        names = tuple(field.name for field in dataclasses.fields(cls))
        _known("the recipe", given, names, ("streams",))
        assert isinstance(given, Mapping)
        values = dict(given)
        if not isinstance(values["streams"], (list, tuple)):
            raise RecipeError(f"streams is {_show(values['streams'])}, expected a list")
        if len(values["streams"]) > MAX_STREAMS:
            raise RecipeError(
                f"streams has {len(values['streams'])} entries, expected 1 to {MAX_STREAMS}"
            )
        values["streams"] = tuple(
            Stream.from_dict(stream, f"streams[{i}]") for i, stream in enumerate(values["streams"])
        )
        return cls(**values)

    @classmethod
    def from_json(cls, text: str | bytes) -> Recipe:
        """A recipe from JSON text; raises RecipeError, naming the field or the line."""
        try:
            given = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise RecipeError(f"not JSON: {error}") from None
        return cls.from_dict(given)


def adapt(
    recipe: Recipe,
    *,
    text: bool = True,
    n_q: int | None = None,
    delays: tuple[int, ...] | None = None,
    acoustic_delay: int | None = None,
    length: Length | None = None,
    initial_step: bool | None = None,
    final_step: bool | None = None,
    text_card: int | None = None,
    card: int | None = None,
    text_initial: int | None = None,
    text_padding: int | None = None,
    text_end_padding: int | None = None,
    audio_initial: int | None = None,
    audio_padding: int | None = None,
    text_padding_weight: float | None = None,
    semantic_weight: float | None = None,
    acoustic_weight: float | None = None,
    final_weight: float | None = None,
    dep_q: int | None = None,
) -> Recipe:
    """A recipe with some things changed; what is None stays.

    text:       False drops the text stream
    n_q:        the first n_q audio streams only
    delays:     frames of each stream, text first; one number: text 0, every audio stream that
    card:       vocabulary size of each codebook; initial, final and padding tokens that equalled
                it move along. text_card likewise, where only the initial token moves
    text_padding, text_end_padding: what counts as padding in the loss; the first also fills the
                cells behind the text. A new padding without a new end padding: only it counts

    The other arguments are called like the recipe's fields. Raises RecipeError for values that
    cannot be and for text arguments without a text stream.
    """
    if not text and recipe.has_text:
        if recipe.n_q == 0:
            raise RecipeError("without its text the recipe has no streams")
        recipe = dataclasses.replace(recipe, streams=recipe.audio)
    if n_q is not None:
        recipe = _first_streams(recipe, n_q)
    streams = list(recipe.streams)
    text_fields = {
        "text_card": text_card,
        "text_initial": text_initial,
        "text_padding": text_padding,
        "text_end_padding": text_end_padding,
        "text_padding_weight": text_padding_weight,
    }
    if recipe.has_text:
        streams[0] = _adapt_text(streams[0], **text_fields)  # type: ignore[arg-type]
    elif given := [name for name, value in text_fields.items() if value is not None]:
        raise RecipeError(f"{given[0]} is given, but there is no text stream")
    delays = _spread(delays, recipe)
    weights = {"semantic": semantic_weight, "acoustic": acoustic_weight}
    for number, stream in enumerate(streams):
        changes: dict[str, Any] = {}
        if delays is not None:
            changes["delay"] = delays[number]
        if acoustic_delay is not None and stream.kind == "acoustic":
            changes["delay"] = acoustic_delay
        if stream.kind != "text":
            changes |= _audio_fills(stream, card, audio_initial, audio_padding)
            changes["weight"] = _given(weights[stream.kind], stream.weight)
        changes["final_weight"] = _given(final_weight, stream.final_weight)
        try:
            streams[number] = dataclasses.replace(stream, **changes)
        except RecipeError as error:
            raise RecipeError(f"stream {stream.name}: {error}") from None
    return Recipe(
        streams=tuple(streams),
        dep_q=_given(dep_q, recipe.dep_q),
        length=_given(length, recipe.length),
        initial_step=_given(initial_step, recipe.initial_step),
        final_step=_given(final_step, recipe.final_step),
    )


def _given(value: Any, otherwise: Any) -> Any:
    return otherwise if value is None else value


def _first_streams(recipe: Recipe, n_q: int) -> Recipe:
    _integer("n_q", n_q, 1, recipe.n_q)
    streams = recipe.streams[: n_q + recipe.has_text]
    assert recipe.dep_q is not None
    return dataclasses.replace(recipe, streams=streams, dep_q=min(recipe.dep_q, n_q))


def _spread(delays: tuple[int, ...] | None, recipe: Recipe) -> tuple[int, ...] | None:
    """One delay for each stream; (1,) for text and two codebooks -> (0, 1, 1)"""
    if delays is None:
        return None
    if len(delays) == 1:
        return (*[0] * recipe.has_text, *delays * recipe.n_q)
    if len(delays) != len(recipe.streams):
        raise RecipeError(
            f"{len(delays)} delays for {len(recipe.streams)} streams "
            f"({'text and ' if recipe.has_text else ''}{recipe.n_q} audio), "
            "expected one for each, or one number for all audio streams"
        )
    return delays


def _audio_fills(
    stream: Stream, card: int | None, initial: int | None, padding: int | None
) -> dict[str, Any]:
    """New vocabulary size and fill tokens of an audio stream."""
    fills = dict(zip(("initial", "final", "padding"), stream.fills, strict=True))
    if padding is not None and fills["final"] == fills["padding"]:
        fills["final"] = padding
    elif card is not None and fills["final"] == stream.cardinality:
        fills["final"] = card
    for name, given in (("initial", initial), ("padding", padding)):
        if given is not None:
            fills[name] = given
        elif card is not None and fills[name] == stream.cardinality:
            fills[name] = card
    return {**fills, "cardinality": _given(card, stream.cardinality)}


def _adapt_text(
    stream: Stream,
    text_card: int | None,
    text_initial: int | None,
    text_padding: int | None,
    text_end_padding: int | None,
    text_padding_weight: float | None,
) -> Stream:
    """The text stream with another vocabulary, other fills, other padding in the loss."""
    initial = stream.initial
    if text_card is not None and initial == stream.cardinality:
        initial = text_card
    final = stream.final
    if text_padding is not None and final == stream.padding:
        final = text_padding
    tokens = _loss_paddings(stream, text_padding, text_end_padding)
    factors = set(stream.token_weights.values())
    if text_padding_weight is not None:
        factors = {text_padding_weight}
    if tokens == list(stream.token_weights) and text_padding_weight is None:
        weights = dict(stream.token_weights)
    elif len(factors) > 1:
        raise RecipeError(
            f"the recipe's padding tokens have the factors {sorted(factors)}, "
            "expected --text-padding-weight to say which is meant"
        )
    else:
        weights = {token: factor for token in tokens for factor in factors}
    try:
        return dataclasses.replace(
            stream,
            cardinality=_given(text_card, stream.cardinality),
            initial=_given(text_initial, initial),
            padding=_given(text_padding, stream.padding),
            final=final,
            token_weights=weights,
        )
    except RecipeError as error:
        raise RecipeError(f"stream {stream.name}: {error}") from None


def _loss_paddings(stream: Stream, padding: int | None, end_padding: int | None) -> list[int]:
    """The tokens that count as padding in the text loss, once the new ones are in."""
    old = list(stream.token_weights)
    # A padding below 0 only fills cells: it is no token of the text.
    if padding is not None and padding >= 0:
        return sorted({padding} if end_padding is None else {padding, end_padding})
    if end_padding is None:
        return old if old or stream.padding < 0 else [stream.padding]
    if stream.padding in old or not old:
        return sorted({stream.padding, end_padding} if stream.padding >= 0 else {end_padding})
    raise RecipeError(
        f"the recipe does not say which of {old} is the end padding, "
        "expected --text-padding together with --text-end-padding"
    )


def runs_of_like_streams(recipe: Recipe) -> list[tuple[str, Stream, bool]]:
    """Streams in a row that differ in name only: (names, one of them, whether it carries loss).

    Moshi: text; moshi_semantic; moshi_acoustic_1 ... moshi_acoustic_7 (7); and the user's two
    """
    runs: list[tuple[list[str], Stream, bool]] = []
    for number, stream in enumerate(recipe.streams):
        trained = recipe.carries_loss(number)
        alike = dataclasses.replace(stream, name="alike")
        if runs and runs[-1][1:] == (alike, trained):
            runs[-1][0].append(stream.name)
        else:
            runs.append(([stream.name], alike, trained))
    return [(name_of_run(names), alike, does) for names, alike, does in runs]


def name_of_run(names: Sequence[str]) -> str:
    """["q_1", "q_2", "q_3"] -> "q_1 ... q_3 (3)" """
    return names[0] if len(names) == 1 else f"{names[0]} ... {names[-1]} ({len(names)})"
