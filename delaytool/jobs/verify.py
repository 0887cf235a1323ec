"""Verify one shard: revert it and compare, and check every cell that the pattern made.

The shard's own record says which job made it. With the original shard at hand its rows are
compared one by one; without it, the digests in the record stand for it. Either way each filled
cell, each weight, each length and the counts must be what the recipe says.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from dataclasses import dataclass

from delaytool.errors import DataError
from delaytool.jobs.mismatches import Verified
from delaytool.jobs.mixed import digest_of_way
from delaytool.jobs.shard_task import ShardTask
from delaytool.jobs.verify_check import Check
from delaytool.jobs.verify_quarantine import QuarantineCheck
from delaytool.jobs.verify_windows import WindowsCheck
from delaytool.recipes.recipe import Recipe
from delaytool.shards.failures import reading
from delaytool.shards.find import Shard
from delaytool.shards.pairs import is_by_order_alone, open_source
from delaytool.shards.quarantine import is_quarantine
from delaytool.shards.read import open_shard, read_record


@dataclass(frozen=True)
class VerifyShard(ShardTask):
    """Verify a shard.

    source:     the original shard, if it is at hand
    codes:      the original shard of codes, where they were in one of their own
    recipe:     what the shard must have been made with, if that is demanded
    quarantine: where its quarantined rows are, if they are to be checked too
    """

    shard: Shard
    source: Shard | None = None
    codes: Shard | None = None
    recipe: Recipe | None = None
    quarantine: str | None = None

    @property
    def reads(self) -> Shard:
        """The shard that is verified."""
        return self.shard

    def run(self) -> Generator[float, None, Verified]:
        """Verify the shard.

        yields:  the fraction of the rows that are done
        returns: what was found; a shard that cannot be read is a mismatch too, so nothing is raised
                 for it
        """
        verified = Verified(self.name)
        try:
            with contextlib.ExitStack() as stack:
                stack.enter_context(reading(self.name))
                check = self._open(stack, verified)
                if check is not None:
                    yield from check.run(self.recipe)
        except DataError as error:
            verified.add("reading", error.expected or "a good shard", error.found, error.place)
        return verified

    def _open(self, stack: contextlib.ExitStack, verified: Verified) -> Check | None:
        """What compares the rows; None where there is nothing to compare, which is noted."""
        output = stack.enter_context(open_shard(self.shard))
        if output.is_quarantine:
            verified.left_out = self.source is None or is_quarantine(self.source)
            if not verified.left_out:
                verified.add("shard", "a shard made from this source", "quarantined rows")
            return None
        record = read_record(output)
        if record is None:
            verified.is_foreign = True
            verified.add("record", "a delaytool entry in the footer", "none")
            return None
        verified.way = digest_of_way(record.job)
        original = None
        if self.source is not None:
            original = stack.enter_context(open_source(self.source, self.codes, record.job))
            if len(original.sources) != len(record.sources):
                verified.add("sources", len(record.sources), len(original.sources))
                return None
            verified.by_order = is_by_order_alone(original, record.job)
        kind = Check if record.job.windows is None else WindowsCheck
        check = kind(output, original, record, verified)
        if self.quarantine is not None:
            check.quarantine = QuarantineCheck(output, record, verified)
            stack.enter_context(check.quarantine)
            check.quarantine.open(self.quarantine)
        return check
