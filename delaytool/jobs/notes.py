"""What there is to say of a run that is no error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Note:
    """A line for whoever started the run.

    kind: "found" for how shards were found, "recipe" and "column" for what is about to be done,
          "note" for all else
    """

    text: str
    kind: Literal["note", "found", "recipe", "column"] = "note"
