"""What is done to all streams, as data: `Recipe`.

A `Recipe` is a list of `Stream`s and a few switches. Every number that distinguishes one model
from another (delays, fill tokens, vocabulary sizes, loss weights) is in it, so nothing else in
delaytool knows any model by name. `Recipe.from_json(recipe.to_json()) == recipe`.

A `Recipe` is valid: its values are checked when it is made.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from delaytool.errors import RecipeError
from delaytool.recipes.checks import (
    MAX_STREAMS,
    check_fields,
    check_flag,
    check_frame_rate,
    check_integer,
    check_one_of,
    shown,
)
from delaytool.recipes.stream import (
    FINAL,
    INITIAL,
    KEPT,
    LAST,
    LEAD,
    PADDING,
    PIECES,
    TRAIL,
    Stream,
)

__all__ = ["FRAME_RATE", "Length", "Recipe", "Stream"]

Length = Literal["extend", "truncate"]
LENGTHS = ("extend", "truncate")
FRAME_RATE = 12.5
"""Frames a second of Mimi, the codec of Moshi and its like."""


@dataclass(frozen=True)
class Recipe:
    """The delay pattern of one model.

    streams:       n_q audio streams and any number of text streams, in the order of the grid
    dep_q:         only the first dep_q audio streams carry loss; all of them when not given
    length:        "extend" keeps every token, "truncate" the length before the delays
    offset_length: the same of offsets: "truncate" keeps the frames of the row; None for as `length`
    initial_step:  one more column in front, every stream's initial token
    final_step:    one more column at the end, so that each stream has a trailing cell
    frame_rate:    frames a second, for times and hours; it decides no token, so recipes that differ
                   in it alone are equal

    Raises RecipeError, naming the field, when a value cannot be.
    """

    streams: tuple[Stream, ...]
    dep_q: int | None = None
    length: Length = "extend"
    offset_length: Length | None = None
    initial_step: bool = False
    final_step: bool = False
    frame_rate: float = dataclasses.field(default=FRAME_RATE, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "streams", tuple(self.streams))
        if not 1 <= len(self.streams) <= MAX_STREAMS:
            raise RecipeError(
                f"streams has {len(self.streams)} entries, expected 1 to {MAX_STREAMS}"
            )
        names = Counter(stream.name for stream in self.streams)
        twice, count = names.most_common(1)[0]
        if count > 1:
            raise RecipeError(f"streams has two streams named {shown(twice)}, expected one of each")
        if self.dep_q is None:
            object.__setattr__(self, "dep_q", self.n_q)
        check_integer("dep_q", self.dep_q, 0, self.n_q)
        check_one_of("length", self.length, LENGTHS)
        if self.offset_length is not None:
            check_one_of("offset_length", self.offset_length, LENGTHS)
        if self.offset_length == self.length:
            # So that it goes along when a recipe's length is changed.
            object.__setattr__(self, "offset_length", None)
        check_flag("initial_step", self.initial_step)
        check_flag("final_step", self.final_step)
        rate = check_frame_rate("frame_rate", self.frame_rate)
        object.__setattr__(self, "frame_rate", rate)

    @functools.cached_property
    def text_numbers(self) -> tuple[int, ...]:
        """Which streams are text."""
        return tuple(k for k, stream in enumerate(self.streams) if stream.kind == "text")

    @functools.cached_property
    def audio_numbers(self) -> tuple[int, ...]:
        """Which streams are audio."""
        return tuple(k for k, stream in enumerate(self.streams) if stream.kind != "text")

    @property
    def has_text(self) -> bool:
        """Whether any stream is text."""
        return bool(self.text_numbers)

    @property
    def text(self) -> tuple[Stream, ...]:
        """The text streams, in order."""
        return tuple(self.streams[number] for number in self.text_numbers)

    @property
    def audio(self) -> tuple[Stream, ...]:
        """The audio streams, in order."""
        return tuple(self.streams[number] for number in self.audio_numbers)

    @property
    def n_q(self) -> int:
        """How many audio streams there are."""
        return len(self.audio_numbers)

    @functools.cached_property
    def delays(self) -> tuple[int, ...]:
        """Each stream's delay in frames."""
        return tuple(stream.delay for stream in self.streams)

    @functools.cached_property
    def max_delay(self) -> int:
        """D, the largest delay in frames."""
        return max(self.delays)

    @property
    def content_length(self) -> Length:
        """Whether offsets extend the content: `offset_length`, where that is given."""
        return self.offset_length or self.length

    @functools.cached_property
    def offset_bounds(self) -> tuple[int, int]:
        """The first frame of the content, and by how many it ends later than a row's frames do.

        Offsets 0, 2 and -1 -> (-1, 2), with `offset_length` truncate (0, 0)
        """
        offsets = [0, *(stream.offset for stream in self.streams)]
        return (min(offsets), max(offsets)) if self.content_length == "extend" else (0, 0)

    @functools.cached_property
    def has_offsets(self) -> bool:
        """Whether any stream has an offset."""
        return any(stream.offset for stream in self.streams)

    @functools.cached_property
    def may_lose(self) -> bool:
        """Whether tokens of some rows are cut off."""
        return any(self.loses(stream) for stream in self.streams)

    def loses(self, stream: Stream) -> bool:
        """Whether tokens of a stream are cut off in some rows."""
        if self.content_length == "truncate" and stream.offset:
            return True
        return self.length == "truncate" and stream.delay > self.offset_bounds[1] - stream.offset

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
        return number not in self._unpredicted

    @functools.cached_property
    def _unpredicted(self) -> frozenset[int]:
        """The audio streams after the first dep_q."""
        return frozenset(self.audio_numbers[self.dep_q :])

    @functools.cached_property
    def weights_of_pieces(self) -> Mapping[str, tuple[float, ...]]:
        """The loss weights of the pieces of each stream, by its name: 0 where it carries none."""
        none = (0.0,) * len(PIECES)
        return {
            stream.name: stream.weights_of_pieces if self.carries_loss(number) else none
            for number, stream in enumerate(self.streams)
        }

    @functools.cached_property
    def pieces(self) -> Mapping[str, frozenset[int]]:
        """The pieces of each stream that have cells in some rows, by its name; always KEPT."""
        return {stream.name: frozenset(self._pieces_of(stream)) for stream in self.streams}

    def _pieces_of(self, stream: Stream) -> Iterator[int]:
        first, later = self.offset_bounds
        cut = stream.delay if self.length == "truncate" else 0
        trailing = self.max_delay - stream.delay if self.length == "extend" else 0
        trailing += self.final_step
        tokens, weights = stream.tokens_of_pieces, self.weights_of_pieces[stream.name]
        # A last cell that is as those before it needs no telling apart.
        ends = (tokens[LAST], weights[LAST]) != (tokens[PADDING], weights[PADDING])
        yield KEPT
        yield from [INITIAL] * (stream.delay + self.initial_step > 0)
        yield from [LEAD] * (stream.offset > first)
        yield from [TRAIL] * (later - stream.offset > cut)
        yield from [FINAL] * (trailing > 0)
        yield from [PADDING] * (trailing > 1 + ends)
        yield from [LAST] * (trailing > 1 and ends)

    def steps(self, frames: int) -> int:
        """How many timesteps S a row of T frames becomes.

        T=4, D=1 -> 5 (extend), 4 (truncate); one more for each of initial and final step
        """
        first, later = self.offset_bounds
        extra = self.max_delay if self.length == "extend" else 0
        return frames - first + later + extra + self.initial_step + self.final_step

    def first_timestep(self, stream: Stream) -> int:
        """The timestep of a stream's frame 0; below 0 where an offset has cut it off.

        Offsets 0 and -2, delays 1 and 0: 3 and 0;  with `offset_length` truncate 1 and -2
        """
        return self.initial_step + stream.delay + stream.offset - self.offset_bounds[0]

    def to_dict(self) -> dict[str, Any]:
        """Every field, with JSON's types."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        fields["streams"] = [stream.to_dict() for stream in self.streams]
        return {**fields, "offset_length": self.content_length}

    def to_json(self) -> str:
        """One stream a line, without what is as by default: a file to change by hand.

        A `final` that is left out is the padding, also once that is changed.
        """
        streams = ",\n  ".join(json.dumps(stream.given()) for stream in self.streams)
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        defaults |= {"dep_q": self.n_q, "offset_length": self.length}
        fields = self.to_dict()
        del fields["streams"]
        rest = {name: value for name, value in fields.items() if value != defaults[name]}
        tail = f",\n {json.dumps(rest)[1:-1]}" if rest else ""
        return f'{{"streams": [\n  {streams}]{tail}}}\n'

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
