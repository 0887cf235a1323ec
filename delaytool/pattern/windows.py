"""Rows cut into windows, and windows joined to rows again, on flat arrays.

A window is a row. Cut *before* the shift, each is shifted as a row of its own; cut *after* it, the
neighbours' tokens stand at the border. A row of 10, windows of at most 4:

    fixed    4 4 2        from 0, 4, 8
    even     4 3 3        as many, which differ by at most 1, the longer ones first

A row of no length is one window, too. Windows shorter than the minimum are dropped, which are
always a row's last ones; of those that are left, `pad` fills the short ones up to the size.

Source: moshi-finetune (finetune/data/dataset.py: before, fixed, padded), J-Moshi (utils/data.py:
after, even, minimum), AudioCraft (audio datasets: before, fixed).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from delaytool.errors import RecipeError
from delaytool.pattern.flat import taken
from delaytool.pattern.segments import Array, Index, Segments
from delaytool.recipes.checks import MAX_FILL, check_integer, check_one_of
from delaytool.recipes.recipe import Recipe
from delaytool.recipes.stream import FINAL, LAST, PADDING

WindowCut = Literal["before", "after"]
WindowSplit = Literal["fixed", "even"]
CUTS: tuple[WindowCut, ...] = ("before", "after")
SPLITS: tuple[WindowSplit, ...] = ("fixed", "even")
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Windows:
    """How rows are cut into windows.

    size:    frames of a window at most, timesteps where the cut is after the shift; None: each row
             is one window
    cut:     before or after the shift
    split:   size, size, ... and the rest; or as many parts of nearly equal length
    minimum: what shorter windows are dropped; None for none
    pad:     whether shorter windows are filled up to the size with each stream's trail token

    Raises RecipeError for what cannot be.
    """

    size: int | None = None
    cut: WindowCut = "before"
    split: WindowSplit = "fixed"
    minimum: int | None = None
    pad: bool = False

    def __post_init__(self) -> None:
        check_one_of("window_cut", self.cut, CUTS)
        check_one_of("window_split", self.split, SPLITS)
        if self.size is None and self.minimum is None:
            raise RecipeError("`window_cut`, `window_split` and `window_pad` go with `window`")
        if self.size is not None:
            check_integer("window", self.size, 1, MAX_FILL)
        if self.minimum is not None:
            check_integer("window_min", self.minimum, 1, MAX_FILL)
        if self.pad and self.size is None:
            raise RecipeError("`window_pad` goes with `window`, which says how long windows become")
        if self.pad and (self.cut, self.split) != ("before", "fixed"):
            name, given = ("cut", "after") if self.cut == "after" else ("split", "even")
            valid = "before" if name == "cut" else "fixed"
            raise RecipeError(
                f'`window_pad` does not go with `window_{name}="{given}"`, expected "{valid}"'
            )

    @property
    def is_before(self) -> bool:
        """Whether rows are cut before the shift."""
        return self.cut == "before"

    def cuts(self, lengths: Index) -> Cuts:
        """Where rows of these lengths are cut: frames, or timesteps where that is after the shift.

        size 4, lengths [10] -> starts [0, 4, 8], sizes [4, 4, 2]; even: [0, 4, 7], [4, 3, 3]
        """
        counts = self.counts(lengths)
        rows = np.repeat(np.arange(len(lengths), dtype=np.int64), counts)
        firsts = np.cumsum(counts) - counts
        numbers = np.arange(len(rows), dtype=np.int64) - np.repeat(firsts, counts)
        whole = lengths[rows]
        if self.size is None:
            starts, sizes = np.zeros_like(rows), whole
        elif self.split == "fixed":
            starts = numbers * self.size
            sizes = np.minimum(whole - starts, self.size)
        else:
            least, longer = np.divmod(whole, counts[rows])
            starts = numbers * least + np.minimum(numbers, longer)
            sizes = least + (numbers < longer)
        kept = sizes >= (self.minimum or 0)
        padding = np.zeros_like(sizes)
        if self.pad and self.size is not None:
            padding[kept] = self.size - sizes[kept]
        return Cuts(lengths, counts, rows, numbers, starts, sizes, kept, padding)

    def counts(self, lengths: Index) -> Index:
        """How many windows rows of these lengths have, dropped ones among them."""
        if self.size is None:
            return np.ones_like(lengths)
        return np.maximum(-(-lengths // self.size), 1)

    def kept_counts(self, lengths: Index) -> Index:
        """How many windows of rows of these lengths are kept."""
        counts, minimum = self.counts(lengths), self.minimum or 0
        least, longer = np.divmod(lengths, counts)
        if self.split == "fixed" and self.size is not None:
            rest = lengths - (counts - 1) * self.size
            return (counts - 1) * (self.size >= minimum) + (rest >= minimum)
        kept: Index = np.where(least >= minimum, counts, np.where(least + 1 >= minimum, longer, 0))
        return kept

    def to_dict(self) -> dict[str, Any]:
        """Every field, with JSON's types."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, eq=False)
class Cuts:
    """Where rows are cut into windows; those that are dropped are among them.

    lengths: cells of each row, in every stream; counts: windows of each row
    rows:    which row each window is of; numbers: its number in that row
    starts:  its first cell; sizes: cells; kept: whether it is not dropped
    padding: cells that are added at its end
    """

    lengths: Index
    counts: Index
    rows: Index
    numbers: Index
    starts: Index
    sizes: Index
    kept: Mask
    padding: Index

    @functools.cached_property
    def windows(self) -> Index:
        """The windows that are kept."""
        return np.flatnonzero(self.kept)

    @property
    def window_lengths(self) -> Index:
        """The cells of each window that is kept, padding included."""
        return (self.sizes + self.padding)[self.windows]

    @property
    def window_rows(self) -> Index:
        """Which row each window that is kept is of."""
        return self.rows[self.windows]

    @property
    def window_sizes(self) -> Index:
        """The cells of each window that is kept, without padding."""
        return self.sizes[self.windows]

    @property
    def is_all(self) -> bool:
        """Whether no window is dropped."""
        return bool(self.kept.all())

    @functools.cached_property
    def rows_kept(self) -> Mask:
        """Which rows have windows that are kept."""
        there = np.zeros(len(self.lengths), dtype=bool)
        there[self.window_rows] = True
        return there

    def cut(self, flat: Array, streams: int, by_stream: bool, pads: Array | None = None) -> Array:
        """The windows of rows, as rows.

        flat:    cells of the rows, all streams of the first row, then of the second; or by stream
        pads:    the token that fills each stream's windows up, of flat's type; None where none is
        returns: cells of the windows that are kept, in the same order

        One stream, [1, 2, 3, 4, 5], windows of 2, pads 9 -> [1, 2, 3, 4, 5, 9]
        """
        in_order = by_stream or streams == 1
        is_padded = pads is not None and bool(self.padding.any())
        if self.is_all and not is_padded and (in_order or len(self.rows) == len(self.lengths)):
            return flat
        runs = self._runs(streams, by_stream)
        sizes = np.zeros(len(self.rows) * streams, dtype=np.int64)
        sizes[runs] = self._each(self.sizes, streams, by_stream)
        order = self._kept_runs(runs, streams, by_stream)
        values = flat
        if is_padded:
            assert pads is not None, "checked above"
            there, which = np.unique(self.padding[self.windows], return_inverse=True)
            first = len(sizes) + np.arange(streams, dtype=np.int64) * len(there)
            added = np.add.outer(first, which) if by_stream else np.add.outer(which, first)
            order = np.stack([order, added.reshape(-1)], axis=1).reshape(-1)
            strings = np.repeat(np.repeat(pads, len(there)), np.tile(there, streams))
            values = np.concatenate([flat, strings.astype(flat.dtype, copy=False)])
            sizes = np.concatenate([sizes, np.tile(there, streams)])
        return taken(np.ascontiguousarray(values), sizes, order)

    def join(self, flat: Array, streams: int, by_stream: bool, missing: Any = 0) -> Array:
        """The rows of windows, as `cut` takes them, without what was added to them.

        missing: what stands for windows that were dropped
        """
        in_order = by_stream or streams == 1
        is_padded = bool(self.padding.any())
        if self.is_all and not is_padded and (in_order or len(self.rows) == len(self.lengths)):
            return flat
        # Of each window and stream its cells, then what was added.
        pairs = np.stack([self.window_sizes, self.padding[self.windows]], axis=1)
        kept = len(self.windows)
        each = np.tile(pairs, (streams, 1)) if by_stream else np.repeat(pairs, streams, axis=0)
        sizes = each.reshape(-1)
        numbers = np.arange(kept * streams, dtype=np.int64) * 2
        there, which = np.unique(self.sizes[~self.kept], return_inverse=True)
        runs = self._runs(streams, by_stream)
        order = np.empty(len(runs), dtype=np.int64)
        of_runs = self._each(self.kept, streams, by_stream)
        order[runs[of_runs]] = numbers
        order[runs[~of_runs]] = len(sizes) + self._each(which, streams, by_stream)
        strings = np.full(int(there.sum()), missing, dtype=flat.dtype)
        values = np.concatenate([flat, strings])
        return taken(values, np.concatenate([sizes, there]), order)

    def _each(self, values: Array, streams: int, by_stream: bool) -> Array:
        """A value of each window for every stream of it: in the windows' order, or by stream."""
        return np.tile(values, streams) if by_stream else np.repeat(values, streams)

    def _runs(self, streams: int, by_stream: bool) -> Index:
        """Where each window's cells of each stream come in rows, counted in such runs.

        Windows in order, all streams of each; or by stream.
        """
        each = np.arange(streams, dtype=np.int64)
        windows = np.arange(len(self.rows), dtype=np.int64)
        if by_stream:
            return np.add.outer(each * len(windows), windows).reshape(-1)
        before = (windows - self.numbers) * streams + self.numbers
        runs = before[:, None] + each * self.counts[self.rows][:, None]
        return runs.reshape(-1)

    def _kept_runs(self, runs: Index, streams: int, by_stream: bool) -> Index:
        """Those of `_runs` whose windows are kept."""
        return runs if self.is_all else runs[self._each(self.kept, streams, by_stream)]


def kept_frames(segments: Segments, frames: Index) -> Index:
    """Tokens that the pattern keeps of each segment, without what was added to its window.

    frames: of each row, without what was added
    """
    real = segments.of_rows(frames)
    first = segments.cut_before
    ends = first + segments.pieces[:, segments.kept]
    kept: Index = np.minimum(ends, real) - np.minimum(first, real)
    return kept


def check_windows(windows: Windows, recipe: Recipe) -> None:
    """Raise RecipeError for windows that this recipe has no use for."""
    if not windows.is_before or windows.size is None:
        return
    for stream in recipe.streams:
        weights = recipe.weights_of_pieces[stream.name]
        if any(weights[piece] for piece in recipe.pieces[stream.name] & {FINAL, PADDING, LAST}):
            raise RecipeError(
                f"stream {stream.name}: its trailing cells are trained, and each window would end "
                'in such cells, expected `window_cut="after"`'
            )
    found = _streams_without_tokens(windows.size, recipe)
    if found:
        least = _least_size(windows.size, recipe)
        raise RecipeError(
            f"`window` is {windows.size}: the pattern leaves stream {found[0]} no token of a "
            f"window of {windows.size} frames, expected at least {least}"
        )


def _streams_without_tokens(frames: int, recipe: Recipe) -> Sequence[str]:
    segments = Segments(recipe, np.array([frames], dtype=np.int64), recipe.streams)
    kept = segments.pieces[:, segments.kept]
    return [recipe.streams[number].name for number in np.flatnonzero(kept == 0)]


def _least_size(frames: int, recipe: Recipe) -> int:
    """How many frames leave every stream a token, which `frames` of them do not."""
    low, high = frames, 2 * frames
    while _streams_without_tokens(high, recipe):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if _streams_without_tokens(middle, recipe):
            low = middle
        else:
            high = middle
    return high
