"""Where a user says that the tokens are, and what should come out of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from delaytool.batches.job import ALIGNS, Align
from delaytool.batches.layouts import (
    LAYOUTS,
    LIST,
)
from delaytool.errors import RecipeError
from delaytool.pattern.windows import WindowCut, Windows, WindowSplit
from delaytool.recipes.recipe import Recipe
from delaytool.recipes.times import whole_frames


@dataclass(frozen=True)
class ColumnOptions:
    """Where a user says that the tokens are, and what should come out of them.

    text_column:   columns of T text tokens, one for each text stream
    audio_column:  columns of codes, to be stacked: a name, a name with a slice of its codebooks
                   ("codes[0:8]"), or "codes_{q}" for a column per codebook
    grid_column:   columns of text and codes together, instead of the two
    audio_layout:  layout of the codes, or "auto"
    output_layout: "split" or "grid"; None for as the tokens came
    weights:       whether there are columns of loss weights; label_columns: of labels
    narrow:        whether tokens come out as the narrowest signed type that holds vocabulary and
                   fills
    align:         what becomes of text that is shorter or longer than the audio
    align_limit:   how many frames it may differ by; None for any number
    weight_column: column of factors on the loss weights
    code_base:     what was added to the codes of each codebook of a shared vocabulary; one number
                   for q times it
    windows:       how rows are cut into windows; None where they stay whole
    drop_column:   columns that are left out of the outputs
    key:           column that names a row, and that pairs rows of text and codes in shards of their
                   own; `id` where there is one
    by_order:      whether there is no such column, so that the order of rows alone pairs them

    Raises RecipeError for a layout or an alignment that there is not.
    """

    text_column: tuple[str, ...] = ("text_tokens",)
    audio_column: tuple[str, ...] = ("audio_codes",)
    grid_column: tuple[str, ...] = ()
    audio_layout: str = "auto"
    output_layout: str | None = None
    weights: bool = True
    label_columns: bool = False
    narrow: bool = False
    align: Align = "error"
    align_limit: int | None = None
    weight_column: str | None = None
    code_base: tuple[int, ...] = ()
    windows: Windows | None = None
    drop_column: tuple[str, ...] = ()
    key: str | None = None
    by_order: bool = False

    def __post_init__(self) -> None:
        names = [name for name in LAYOUTS if name != LIST.name]
        if self.audio_layout not in ("auto", *names):
            raise RecipeError(
                f"audio_layout is {self.audio_layout!r}, expected auto, {', '.join(names)}"
            )
        if self.align not in ALIGNS:
            raise RecipeError(f"align is {self.align!r}, expected one of {', '.join(ALIGNS)}")
        if self.output_layout not in (None, "split", "grid"):
            raise RecipeError(f"output_layout is {self.output_layout!r}, expected split or grid")


def numbers_of(given: int | Sequence[int]) -> tuple[int, ...]:
    """One number or several, as a tuple."""
    return (given,) if isinstance(given, int) else tuple(given)


def names_of(given: str | Sequence[str]) -> tuple[str, ...]:
    """One name or several, as a tuple."""
    return (given,) if isinstance(given, str) else tuple(given)


def windows_of(
    recipe: Recipe,
    window: int | str | None,
    cut: WindowCut,
    split: WindowSplit,
    minimum: int | None,
    pad: bool,
) -> Windows | None:
    """How rows are cut into windows; None where they stay whole.

    window: frames at most, or a text of frames or of seconds ("100s"), which are rounded down

    Raises RecipeError for what cannot be.
    """
    if window is None and minimum is None and (cut, split, pad) == ("before", "fixed", False):
        return None
    if isinstance(window, str):
        try:
            window = whole_frames(window, recipe.frame_rate)
        except RecipeError as error:
            raise RecipeError(f"`window`: {error}") from None
    return Windows(window, cut, split, minimum, pad)
