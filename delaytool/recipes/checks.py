"""Checks of values in recipes and model configs: each names the field and what it may be."""

from __future__ import annotations

import json
from collections.abc import Mapping

from delaytool.errors import RecipeError

ZERO_TOKEN = -1
"""No input and no loss in this cell (Moshi's `zero_token_id`); valid in every stream."""
MAX_DELAY = 2**20
"""Frames; an offset may be as many, and as many below 0."""
MAX_STREAMS = 4096
MIN_FILL, MAX_FILL = -2, 2**31
MAX_CARDINALITY = 2**31
MIN_RATE, MAX_RATE = 0.001, 1_000_000
MAX_WEIGHT = (2 - 2**-23) * 2.0**127
"""The largest float32, which weights are."""


def check_integer(field: str, value: object, low: int, high: int) -> int:
    """The value, if it is an integer from low to high; else RecipeError."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise RecipeError(f"{field} is {shown(value)}, expected an integer from {low} to {high}")
    return value


def check_weight(field: str, value: object, most: float = MAX_WEIGHT) -> float:
    """The value as a float, if it is one that a loss weight may have; else RecipeError."""
    # Comparing comes first: a huge integer cannot be made a float. NaN compares with nothing.
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= most:  # type: ignore[operator]
        raise RecipeError(f"{field} is {shown(value)}, expected a finite number from 0 up")
    return float(value)  # type: ignore[arg-type]


def check_frame_rate(field: str, value: object) -> float:
    """The value as a float, if it is a rate that hours can be divided by; else RecipeError."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not MIN_RATE <= value <= MAX_RATE:  # type: ignore[operator]
        raise RecipeError(
            f"{field} is {shown(value)}, expected a number of frames a second "
            f"from {MIN_RATE:g} to {MAX_RATE}"
        )
    return float(value)  # type: ignore[arg-type]


def check_flag(field: str, value: object) -> bool:
    """The value, if it is true or false; else RecipeError."""
    if not isinstance(value, bool):
        raise RecipeError(f"{field} is {shown(value)}, expected true or false")
    return value


def check_one_of(field: str, value: object, valid: tuple[str, ...]) -> None:
    """Raise RecipeError unless the value is one of these."""
    if not isinstance(value, str) or value not in valid:
        raise RecipeError(f"{field} is {shown(value)}, expected one of {', '.join(valid)}")


def shown(value: object) -> str:
    """A value as a message shows it: short, as JSON has it.

    "moshi" -> '"moshi"';  None -> 'null';  [1, 2] -> 'a list';  10**30 -> 'an integer of ...'
    """
    if isinstance(value, (list, dict)):
        return f"a {type(value).__name__}"
    if isinstance(value, int) and abs(value) >= 10**18:
        return "an integer of many digits"
    text = json.dumps(value) if isinstance(value, (str, bool, type(None))) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def check_fields(
    where: str, given: object, valid: tuple[str, ...], required: tuple[str, ...]
) -> None:
    """Raise RecipeError unless an object has the required fields and no unknown ones."""
    if not isinstance(given, Mapping):
        raise RecipeError(f"{where} is {shown(given)}, expected an object")
    unknown = [str(name) for name in given if name not in valid]
    if unknown:
        raise RecipeError(
            f"{where} has the unknown field {shown(unknown[0])}, expected {', '.join(valid)}"
        )
    missing = [name for name in required if name not in given]
    if missing:
        raise RecipeError(f"{where} lacks the field {missing[0]!r}")


def token_key(text: object) -> int:
    """A key of token_weights; JSON's keys are strings: '3' -> 3."""
    # Longer ones are no token; Python refuses to make integers of the longest.
    is_number = isinstance(text, str) and text.isascii() and text.isdigit() and len(text) < 20
    if is_number and str(int(text)) == text:  # type: ignore[call-overload]
        return int(text)
    if isinstance(text, int) and not isinstance(text, bool):
        return text
    raise RecipeError(f"token_weights has the key {shown(text)}, expected a token id")
