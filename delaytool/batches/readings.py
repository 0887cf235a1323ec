"""Ways to read the rows of columns whose layout is looked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from delaytool.batches.nesting import Layout


@dataclass(frozen=True)
class Named:
    """A column that the user named, which of its codebooks, and the layouts it may have."""

    name: str
    start: int | None
    stop: int | None
    layouts: tuple[Layout, ...]

    @property
    def is_slice(self) -> bool:
        """Whether only some of its codebooks are used."""
        return (self.start, self.stop) != (None, None)

    def used(self, size: int) -> range:
        """The codebooks of `size` that are used."""
        return range(size)[self.start : self.stop]


@dataclass(frozen=True)
class Search:
    """What is looked for in the rows: the layouts and sizes of these columns.

    needed: how many streams they hold in all; None for as many as there are
    text:   the column of text beside them, if there is one
    is_aligned: whether text has as many tokens as there are frames
    in_grids:   whether they hold text and codes together
    """

    named: Sequence[Named]
    needed: int | None
    text: str | None
    is_aligned: bool
    in_grids: bool

    def fits(self, readings: Sequence[Reading], frames: int | None) -> bool:
        """Whether these readings of a row's columns go together."""
        lengths = {reading.frames for reading in readings} | ({frames} - {None})
        pairs = zip(self.named, readings, strict=True)
        counts = [len(part.used(reading.size)) for part, reading in pairs]
        fits = len(lengths) == 1 and 0 not in lengths and 0 not in counts
        return fits and self.needed in (None, sum(counts))


@dataclass(frozen=True)
class Reading:
    """One way to read a row of a column: so many codebooks of so many frames."""

    layout: Layout
    size: int
    frames: int
