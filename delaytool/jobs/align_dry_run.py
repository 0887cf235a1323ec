"""Read and check one shard of words as align would, and write nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator

from delaytool.jobs.align import AlignedShard, AlignShard, AlignWork, check_words
from delaytool.jobs.dry_run import bad_rows_of, read_through
from delaytool.jobs.quarantine import is_left_out
from delaytool.shards.failures import reading
from delaytool.shards.pairs import open_source


class CheckWords(AlignShard):
    """Read and check every row of a shard."""

    @property
    def writes(self) -> tuple[str, ...]:
        """Nothing."""
        return ()

    def run(self) -> Generator[float, None, AlignedShard]:
        """Check the shard.

        yields:  the fraction of the rows that are done
        returns: what was found
        raises:  DataError for a shard that cannot be read or does not fit the job
        """
        item, job = self.item, self.job
        with open_source(item.shard, item.codes, job.keys) as source:
            if is_left_out(item, source):
                yield 1.0
                return AlignedShard(self.name, False, None, left_out=True)
            with reading(self.name):
                schema = check_words(source, job, quarantine=False)
            work = AlignWork(source, job, schema, quarantine=False, is_dry=True)
            work.encode = self.encode()
            yield from read_through(work)
            # Bad rows are told apart from those that are in a quarantine.
            record, bad = work.record(), tuple(bad_rows_of(work))
            counts = dataclasses.replace(record.counts, quarantined=0)
            record = dataclasses.replace(record, counts=counts, reasons=())
            return AlignedShard(self.name, False, record, bad=bad)
