"""The fields of a model's `config.json`, checked as they are read."""

from __future__ import annotations

import math
from collections.abc import Mapping
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
from delaytool.recipes.times import exact_rate


class ConfigFields:
    """The fields of a model config, a dot between an object and its field.

    A field that is null counts as one that is not there, as transformers takes it.
    """

    def __init__(self, config: object) -> None:
        if not isinstance(config, Mapping):
            raise RecipeError("the model config is not a JSON object")
        self._config = config

    def has(self, path: str) -> bool:
        """Whether there is such a field."""
        return self._look_up(path) is not None

    def given(self, path: str) -> Any:
        """A field's value; raises RecipeError where there is none."""
        value = self._look_up(path)
        if value is None:
            raise RecipeError(f"the model config lacks the field {path!r}")
        return value

    def _look_up(self, path: str) -> Any:
        value: Any = self._config
        for name in path.split("."):
            if not isinstance(value, Mapping) or name not in value:
                return None
            value = value[name]
        return value

    def first_of(self, *paths: str) -> str:
        """The first of several fields that is there; the last where none is."""
        return next((path for path in paths if self.has(path)), paths[-1])

    def integer(self, path: str, low: int, high: int, default: int | None = None) -> int:
        """A field that is an integer in these bounds."""
        if default is not None and not self.has(path):
            return default
        return check_integer(path, self.given(path), low, high)

    def count(self, path: str, default: int | None = None) -> int:
        """A field that is a number of codebooks."""
        return self.integer(path, 1, MAX_STREAMS - 1, default)

    def fill(self, path: str, default: int | None = None) -> int:
        """A field that is a fill token."""
        return self.integer(path, MIN_FILL, MAX_FILL, default)

    def card(self, path: str, default: int | None = None) -> int:
        """A field that is the size of a vocabulary."""
        return self.integer(path, 1, MAX_CARDINALITY, default)

    def delays(self, path: str, count: int | None) -> tuple[int, ...]:
        """A field that is a list of frames.

        count: how many streams there are; a shorter list goes on with its last value, as moshi's
               own loaders take it, a longer one is an error; None for as many as it has entries
        """
        value = self.given(path)
        if not isinstance(value, list) or not 1 <= len(value) <= MAX_STREAMS:
            raise RecipeError(f"{path} is {shown(value)}, expected a list of frames")
        if count is not None and len(value) > count:
            raise RecipeError(f"{path} has {len(value)} entries, expected at most {count}")
        delays = [check_integer(path, delay, 0, MAX_DELAY) for delay in value]
        return tuple(delays + delays[-1:] * ((count or 0) - len(delays)))

    def switch(self, path: str, default: bool) -> bool:
        """A field that is true or false."""
        value = self.given(path) if self.has(path) else default
        if not isinstance(value, bool):
            raise RecipeError(f"{path} is {shown(value)}, expected true or false")
        return value

    def seconds(self, path: str) -> float:
        """A field that is a time in seconds, 0 where it is not there."""
        value = self.given(path) if self.has(path) else 0
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise RecipeError(f"{path} is {shown(value)}, expected seconds")
        if not math.isfinite(value) or not 0 <= value <= MAX_DELAY / 1000:
            raise RecipeError(f"{path} is {shown(value)}, expected seconds from 0 up")
        return float(value)

    def frames(self, path: str, frame_rate: float) -> int:
        """A field in seconds as frames, rounded down: 2.5 at 12.5 frames a second -> 31"""
        return math.floor(exact_rate(self.seconds(path)) * exact_rate(frame_rate))
