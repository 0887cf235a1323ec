"""What is done to each stream, as data: `Stream` and `Recipe`.

A `Recipe` is a list of `Stream`s and a few switches. Every number that distinguishes one model
from another (delays, fill tokens, vocabulary sizes, loss weights) is in it, so nothing else in
delaytool knows any model by name. `Recipe.from_json(recipe.to_json()) == recipe`.

A `Recipe` is valid: its values are checked when it is made.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from delaytool.errors import RecipeError
from delaytool.recipes.checks import (
    MAX_CARDINALITY,
    MAX_DELAY,
    MAX_FILL,
    MAX_STREAMS,
    MIN_FILL,
    ZERO_TOKEN,
    check_fields,
    check_flag,
    check_integer,
    check_one_of,
    check_weight,
    shown,
    token_key,
)

Kind = Literal["text", "semantic", "acoustic"]
Length = Literal["extend", "truncate"]
KINDS = ("text", "semantic", "acoustic")
LENGTHS = ("extend", "truncate")


@dataclass(frozen=True)
class Stream:
    """One token stream: where it moves, what fills the cells around it, and what it weighs.

    delay:          frames by which it moves later, 0 to 2**20
    initial:        token of the cells before it (Moshi: `text_card`, `card`)
    padding:        token of its trailing cells
    final:          token of the first trailing cell; `padding` when not given
    cardinality:    vocabulary size; valid tokens are 0 to cardinality - 1, and -1 (zero token)
    weight:         loss weight of its tokens
    token_weights:  factors on `weight` for some tokens, as {token: factor}; only the product has to
                    be a float32
    final_weight:   loss weight of the first trailing cell
    padding_weight: loss weight of the other trailing cells

    Moshi's acoustic streams: Stream("moshi_acoustic_1", "acoustic", delay=1, initial=2048,
    padding=2048, cardinality=2048)

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
    token_weights: Mapping[int, float] = dataclasses.field(default_factory=dict, hash=False)
    final_weight: float = 0.0
    padding_weight: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name or not self.name.isprintable():
            raise RecipeError(f"name is {shown(self.name)}, expected a printable, non-empty string")
        check_one_of("kind", self.kind, KINDS)
        check_integer("delay", self.delay, 0, MAX_DELAY)
        check_integer("cardinality", self.cardinality, 1, MAX_CARDINALITY)
        if self.final is None:
            object.__setattr__(self, "final", self.padding)
        for field in ("initial", "padding", "final"):
            check_integer(field, getattr(self, field), MIN_FILL, MAX_FILL)
        for field in ("weight", "final_weight", "padding_weight"):
            object.__setattr__(self, field, check_weight(field, getattr(self, field)))
        if not isinstance(self.token_weights, Mapping):
            given = shown(self.token_weights)
            raise RecipeError(f"token_weights is {given}, expected an object {{token: factor}}")
        weights = {
            check_integer("token_weights: the token", token, 0, self.cardinality - 1): check_weight(
                f"token_weights of token {token}", factor, sys.float_info.max
            )
            for token, factor in self.token_weights.items()
        }
        for token, factor in weights.items():
            check_weight(f"weight times token_weights of token {token}", self.weight * factor)
        object.__setattr__(self, "token_weights", dict(sorted(weights.items())))

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
        check_fields(
            where, given, names, ("name", "kind", "delay", "initial", "padding", "cardinality")
        )
        assert isinstance(given, Mapping)
        values = dict(given)
        try:
            if isinstance(weights := values.get("token_weights"), Mapping):
                values["token_weights"] = {token_key(token): x for token, x in weights.items()}
            return cls(**values)
        except RecipeError as error:
            raise RecipeError(f"{where}: {error}") from None


@dataclass(frozen=True)
class Recipe:
    """The delay pattern of one model.

    streams:      the text stream, if there is one, then the n_q audio streams
    dep_q:        only the first dep_q audio streams carry loss; all of them when not given
    length:       "extend" keeps every token, "truncate" the original number of frames
    initial_step: one more column in front, every stream's initial token
    final_step:   one more column at the end, so that each stream has a trailing cell

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
            raise RecipeError(f"streams has two streams named {shown(twice)}, expected one of each")
        if any(stream.kind == "text" for stream in self.streams[1:]):
            raise RecipeError("streams has a text stream after the first, expected it first")
        if self.dep_q is None:
            object.__setattr__(self, "dep_q", self.n_q)
        check_integer("dep_q", self.dep_q, 0, self.n_q)
        check_one_of("length", self.length, LENGTHS)
        check_flag("initial_step", self.initial_step)
        check_flag("final_step", self.final_step)

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
        """The weights of each stream's initial tokens, tokens, final token and padding tokens."""
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
        check_fields("the recipe", given, names, ("streams",))
        assert isinstance(given, Mapping)
        values = dict(given)
        if not isinstance(values["streams"], (list, tuple)):
            raise RecipeError(f"streams is {shown(values['streams'])}, expected a list")
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
