"""What is done to one stream, as data: `Stream`."""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from delaytool.errors import RecipeError
from delaytool.recipes.checks import (
    MAX_CARDINALITY,
    MAX_DELAY,
    MAX_FILL,
    MIN_FILL,
    ZERO_TOKEN,
    check_fields,
    check_integer,
    check_one_of,
    check_weight,
    shown,
    token_key,
)

Kind = Literal["text", "semantic", "acoustic"]
KINDS = ("text", "semantic", "acoustic")
PIECES = ("initial", "lead", "token", "trail", "final", "padding", "last")
"""What the cells of a stream hold once it is shifted, in their order: see pattern/segments.py."""
INITIAL, LEAD, KEPT, TRAIL, FINAL, PADDING, LAST = range(7)
"""Their numbers."""
_AS_GIVEN = {"final": "padding", "last": "padding", "last_weight": "padding_weight"}
"""Fields that are as another one where they are not given."""


@dataclass(frozen=True)
class Stream:
    """One token stream: where it moves, what fills the cells around it, and what it weighs.

    delay:          frames by which it moves later, 0 to 2**20
    initial:        token of the cells before it (Moshi: `text_card`, `card`)
    padding:        token of its trailing cells
    cardinality:    vocabulary size; valid tokens are 0 to cardinality - 1, and -1 (zero token)
    final:          token of the first trailing cell; `padding` when not given
    last:           token of the last of two or more trailing cells; `padding` when not given
    offset:         frames by which its content comes later than that of other streams, or earlier
                    where below 0; -2**20 to 2**20
    lead:           token of the cells that an offset puts in front of its content
    trail:          token of those that it puts after its content
    weight:         loss weight of its tokens
    token_weights:  factors on `weight` for some tokens, as {token: factor}; only the product has to
                    be a float32
    initial_weight: loss weight of the cells before it
    final_weight:   loss weight of the first trailing cell
    padding_weight: loss weight of the other trailing cells
    last_weight:    loss weight of the last of two or more; `padding_weight` when not given

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
    last: int | None = None
    offset: int = 0
    lead: int = ZERO_TOKEN
    trail: int = ZERO_TOKEN
    weight: float = 1.0
    token_weights: Mapping[int, float] = dataclasses.field(default_factory=dict, hash=False)
    initial_weight: float = 0.0
    final_weight: float = 0.0
    padding_weight: float = 0.0
    last_weight: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name or not self.name.isprintable():
            raise RecipeError(f"name is {shown(self.name)}, expected a printable, non-empty string")
        check_one_of("kind", self.kind, KINDS)
        check_integer("delay", self.delay, 0, MAX_DELAY)
        check_integer("offset", self.offset, -MAX_DELAY, MAX_DELAY)
        check_integer("cardinality", self.cardinality, 1, MAX_CARDINALITY)
        for field, given in _AS_GIVEN.items():
            if getattr(self, field) is None:
                object.__setattr__(self, field, getattr(self, given))
        for field in ("initial", "padding", "final", "last", "lead", "trail"):
            check_integer(field, getattr(self, field), MIN_FILL, MAX_FILL)
        for field in ("weight", "initial_weight", "final_weight", "padding_weight", "last_weight"):
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
        """The tokens of cells that a delay fills, but for the last: initial, final, padding."""
        assert self.final is not None
        return self.initial, self.final, self.padding

    @functools.cached_property
    def tokens_of_pieces(self) -> tuple[int, ...]:
        """The token of each piece of `PIECES`; -1 for that of the stream's tokens."""
        assert self.final is not None
        assert self.last is not None
        trailing = self.final, self.padding, self.last
        return (self.initial, self.lead, ZERO_TOKEN, self.trail, *trailing)

    @property
    def padding_ids(self) -> set[int]:
        """Which tokens of a text stream are padding: those it is padded with and weighed by."""
        return {token for token in (self.padding, *self.token_weights) if token > ZERO_TOKEN}

    def weight_of(self, token: int) -> float:
        """The loss weight of a token, where the stream carries loss: 0 for one of no vocabulary."""
        if not 0 <= token < self.cardinality:
            return 0.0
        return self.weight * self.token_weights.get(token, 1.0)

    @functools.cached_property
    def weights_of_pieces(self) -> tuple[float, ...]:
        """The loss weight of each piece of `PIECES`, where the stream carries loss."""
        assert self.last_weight is not None
        content = self.weight_of(self.lead), self.weight, self.weight_of(self.trail)
        trailing = self.final_weight, self.padding_weight, self.last_weight
        return (self.initial_weight, *content, *trailing)

    @functools.cached_property
    def trains_fills(self) -> bool:
        """Whether any cell that its delay fills has a loss weight."""
        weights = self.initial_weight, self.final_weight, self.padding_weight, self.last_weight
        return any(weights)

    def to_dict(self) -> dict[str, Any]:
        """Every field, with JSON's types."""
        fields = {name: getattr(self, name) for name in _names()}
        fields["token_weights"] = {str(token): x for token, x in self.token_weights.items()}
        return fields

    def given(self) -> dict[str, Any]:
        """The fields that are not what they would be if they were left out, with JSON's types."""
        fields = self.to_dict()
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        defaults |= {"token_weights": {}} | {a: fields[b] for a, b in _AS_GIVEN.items()}
        return {name: value for name, value in fields.items() if value != defaults[name]}

    @classmethod
    def from_dict(cls, given: object, where: str = "stream") -> Stream:
        """A stream from a JSON object; raises RecipeError, naming the field."""
        check_fields(
            where, given, _names(), ("name", "kind", "delay", "initial", "padding", "cardinality")
        )
        assert isinstance(given, Mapping)
        values = dict(given)
        try:
            if isinstance(weights := values.get("token_weights"), Mapping):
                values["token_weights"] = {token_key(token): x for token, x in weights.items()}
            return cls(**values)
        except RecipeError as error:
            raise RecipeError(f"{where}: {error}") from None


@functools.cache
def _names() -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(Stream))
