"""Times in frames, exactly: seconds and frame rates are decimals, and no float comes between."""

from __future__ import annotations

import re
from fractions import Fraction

from delaytool.errors import RecipeError
from delaytool.recipes.checks import shown

_FRAMES = re.compile(r"[+-]?[0-9]{1,18}")
_SECONDS = re.compile(r"([+-]?(?:[0-9]{1,18}\.?[0-9]{0,18}|\.[0-9]{1,18}))s")


def exact_rate(frame_rate: float) -> Fraction:
    """A frame rate as the decimal that a user writes: 33.3 -> 333/10"""
    return Fraction(repr(frame_rate))


def whole_frames(time: str, frame_rate: float) -> int:
    """Frames from a text: of frames, or of seconds, rounded down.

    time:       "1250", or "100s"
    frame_rate: frames a second

    Raises RecipeError for anything else, and for seconds in which no frame ends.
    """
    seconds = _SECONDS.fullmatch(time)
    if seconds is None:
        return frames_of(time, frame_rate)
    frames = int(Fraction(seconds[1]) * exact_rate(frame_rate))
    if frames < 1:
        least = float(1 / exact_rate(frame_rate))
        raise RecipeError(
            f"{time} is less than a frame at {frame_rate:g} a second, expected at least {least:g}s"
        )
    return frames


def frames_of(time: str, frame_rate: float, *, is_text: bool = False) -> int:
    """Frames from a text: of frames, or of seconds.

    time:       "16", "-6" or "1.28s"
    frame_rate: frames a second
    is_text:    whether it is text that is to be moved

    "0.56s" at 12.5 frames a second -> 7

    Raises RecipeError for anything else, and for seconds that are no whole number of frames.
    """
    if _FRAMES.fullmatch(time):
        return int(time)
    seconds = _SECONDS.fullmatch(time)
    if seconds is None:
        raise RecipeError(
            f"{shown(time)} is no time, expected frames such as 16, or seconds such as 1.28s"
        )
    frames = Fraction(seconds[1]) * exact_rate(frame_rate)
    if frames.denominator != 1:
        hint = "; words are moved by any time before they become frames" if is_text else ""
        raise RecipeError(
            f"{time} is {float(frames):.10g} frames at {frame_rate:g} a second, "
            f"expected a whole number of frames{hint}"
        )
    return frames.numerator
