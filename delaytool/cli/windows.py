"""The options that cut rows into windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

import click

from delaytool.cli.declare import WINDOWS, option, stacked

if TYPE_CHECKING:
    from delaytool.pattern.windows import WindowCut, WindowSplit

window_options = stacked(
    option(
        "--window",
        metavar="N",
        heading=WINDOWS,
        help="Cut rows into windows of at most N frames, or seconds as 100s, rounded down.  "
        "[default: rows stay whole]",
    ),
    option(
        "--window-cut",
        type=click.Choice(["before", "after"]),
        default="before",
        show_default=True,
        heading=WINDOWS,
        help="Cut the row before the shift, and shift each window as a row of its own; or cut the "
        "shifted row.",
    ),
    option(
        "--window-split",
        type=click.Choice(["fixed", "even"]),
        default="fixed",
        show_default=True,
        heading=WINDOWS,
        help="Windows of N, N, ... and the rest; or as many of nearly equal length.",
    ),
    option(
        "--window-min",
        type=int,
        metavar="N",
        heading=WINDOWS,
        help="Drop windows shorter than N; without --window each row is one.  [default: keep all]",
    ),
    option(
        "--window-pad",
        is_flag=True,
        heading=WINDOWS,
        help="Fill every window shorter than N up to N with each stream's trail token.",
    ),
)


class WindowKeywords(TypedDict):
    """The keywords that cut rows into windows."""

    window: str | None
    window_cut: WindowCut
    window_split: WindowSplit
    window_min: int | None
    window_pad: bool


@dataclass(frozen=True)
class WindowChoice:
    """The options that cut rows into windows."""

    window: str | None
    window_cut: WindowCut
    window_split: WindowSplit
    window_min: int | None
    window_pad: bool

    def keywords(self) -> WindowKeywords:
        """What `delaytool.apply` takes."""
        return {
            "window": self.window,
            "window_cut": self.window_cut,
            "window_split": self.window_split,
            "window_min": self.window_min,
            "window_pad": self.window_pad,
        }
