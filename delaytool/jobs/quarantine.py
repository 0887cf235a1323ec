"""The shard of bad rows beside an output."""

from __future__ import annotations

import contextlib
from typing import Any

import pyarrow as pa

from delaytool.batches.metadata import QUARANTINE_ENTRY
from delaytool.batches.schema import mended_entries, quarantine_schema
from delaytool.errors import DataError, Place
from delaytool.jobs.existing import in_the_way, quarantine_entry
from delaytool.jobs.paths import Item
from delaytool.shards import stores
from delaytool.shards.commit import NameTakenError, State, file_state
from delaytool.shards.pairs import Opened
from delaytool.shards.record import Recorded
from delaytool.shards.write import ShardWriter, writing


def is_left_out(item: Item, source: Opened) -> bool:
    """Whether a shard is one of quarantined rows that nobody named as data."""
    return source.is_quarantine and not item.from_quarantine


def check_is_quarantine(item: Item, source: Opened) -> None:
    """Raise DataError where rows go that have been taken for quarantined ones, by their path."""
    if (
        item.quarantine is not None
        and stores.kind_of(item.quarantine)
        and quarantine_entry(item.quarantine) is None
    ):
        advice = "choose another `quarantine`"
        raise in_the_way(item.quarantine, "it holds no quarantined rows", source, advice)


class QuarantineWriter:
    """The shard of quarantined rows, which comes into being with the first one.

    replaces: the file that it may take the place of
    """

    def __init__(self, target: str | None, source: Opened, replaces: State | None) -> None:
        self.target, self.source, self.replaces = target, source, replaces
        self.stack = contextlib.ExitStack()
        self.shard: ShardWriter | None = None
        self.made: State | None = None

    def __enter__(self) -> QuarantineWriter:
        return self

    def __exit__(self, *error: Any) -> None:
        self.stack.__exit__(*error)

    def write(self, batch: pa.RecordBatch) -> None:
        """Add bad rows, with their reasons."""
        assert self.target is not None, (
            "rows are put into quarantine only where there is a place for them"
        )
        if self.shard is None:
            schema = quarantine_schema(self.source.schema)
            new = writing(self.target, schema, replaces=self.replaces)
            self.shard = self.stack.enter_context(new)
        self.shard.write(batch)

    def commit(self, record: Recorded) -> None:
        """Give the shard its name; without a bad row, remove what an earlier run put there.

        Raises DataError when another run has put other rows there meanwhile.
        """
        if self.target is None:
            return
        if self.shard is None:
            if self.replaces is not None and file_state(self.target) == self.replaces:
                stores.remove(self.target)
            return
        entry = record.to_json().encode()
        entries = mended_entries(self.source.schema, self.source.entries, quarantine_schema)
        self.shard.metadata = {**entries, QUARANTINE_ENTRY.encode(): entry}
        try:
            self.stack.close()
        except NameTakenError as taken:
            if quarantine_entry(self.target) != entry:
                texts = {"expected": taken.expected, "advice": taken.advice}
                place = Place(shard=self.source.shard.name)
                raise DataError(taken.kind, taken.found, **texts, place=place) from None
        else:
            self.made = file_state(self.target) if self.replaces is None else None

    def undo(self) -> None:
        """Remove the shard where nothing was before, since its output has not come into being."""
        if self.made is not None and self.target and file_state(self.target) == self.made:
            stores.remove(self.target)
