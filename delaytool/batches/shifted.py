"""One output's cells in a batch, with the loss weights and labels that follow from them."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from delaytool.batches.codes import Codes, lines_of
from delaytool.batches.layouts import Output
from delaytool.pattern.segments import Array, Segments
from delaytool.pattern.weights import labels_flat, loss_weights_flat


@dataclass(frozen=True, eq=False)
class ShiftedColumn:
    """The shifted tokens of an output, of a few rows.

    segments: where the pattern moved them
    factors:  the user's on the loss weights of all streams, [K, frames of all rows], if there are
    """

    output: Output
    segments: Segments
    codes: Codes
    factors: Array | None = None

    @functools.cached_property
    def weights(self) -> Codes:
        """The loss weight of each cell."""
        factors = self.factors
        if factors is not None:
            streams = lines_of(factors, self.output.numbers)
            factors = Codes.of_grid(streams, self.segments.lengths, self.segments.by_stream).flat
        weights = loss_weights_flat(self.codes.flat, self.segments, factors)
        return self.codes.with_flat(weights)

    def labels(self) -> Codes:
        """The label of each cell."""
        return self.codes.with_flat(labels_flat(self.codes.flat, self.weights.flat))

    def columns(self) -> dict[str, Codes]:
        """What each column of the output holds, by its name."""
        columns = {self.output.name: self.codes}
        if self.output.weights:
            columns[self.output.weights] = self.weights
        if self.output.labels:
            columns[self.output.labels] = self.labels()
        return columns
