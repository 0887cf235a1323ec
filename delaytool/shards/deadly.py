"""Which file is about to be read, and which files have killed who read them.

A command that runs in a child process notes each file before it is opened, where the parent sees
it; `run.guard` sets this up. Elsewhere nothing is noted.
"""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass

_ROOM = 1 << 14


@dataclass
class Notes:
    """What a process and its parent know of the files that are read.

    shared: memory that both see, which holds the path of the file that was opened last
    deadly: files that have killed processes before
    """

    shared: mmap.mmap | None = None
    deadly: frozenset[str] = frozenset()

    def share(self) -> None:
        """Make the memory that a child will share."""
        self.shared = mmap.mmap(-1, _ROOM)

    def write(self, path: str) -> None:
        """Note that a file is about to be read."""
        if self.shared is not None:
            text = os.fsencode(path)[: _ROOM - 2]
            self.shared.seek(0)
            self.shared.write(len(text).to_bytes(2, "little") + text)

    def read(self) -> str:
        """The file that was noted last; empty where none was."""
        assert self.shared is not None, "only a parent that shares memory reads it"
        self.shared.seek(0)
        return os.fsdecode(self.shared.read(int.from_bytes(self.shared.read(2), "little")))


NOTES = Notes()
"""Those of this process."""
