"""What there is to say of a run that is no error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from delaytool.shards.pairs import ORDER_ALONE


@dataclass(frozen=True)
class Note:
    """A line for whoever started the run.

    kind: "found" for how shards were found, "recipe" and "column" for what is about to be done,
          "note" for all else
    """

    text: str
    kind: Literal["note", "found", "recipe", "column"] = "note"


class Notes:
    """What there is to say of a run, which is reported at once and kept."""

    def __init__(self, on_note: Callable[[Note], None] | None) -> None:
        self.on_note, self.found = on_note, list[Note]()

    def add(self, *notes: Note) -> None:
        """Tell and keep notes."""
        for note in notes:
            self.found.append(note)
            if self.on_note is not None:
                self.on_note(note)

    def by_order(self, results: Sequence[Any]) -> None:
        """Note where nothing but their order has paired the rows of text and codes."""
        if any(result.by_order for result in results):
            self.add(Note(ORDER_ALONE))

    @property
    def texts(self) -> tuple[str, ...]:
        """All that was reported, without what describes recipe and columns."""
        return tuple(note.text for note in self.found if note.kind in ("note", "found"))
