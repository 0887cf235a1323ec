"""What a shard says of itself whose words have become tokens: the entry `delaytool-align`."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from delaytool.batches.align import WordCounts, WordPlace
from delaytool.batches.align_job import AlignJob
from delaytool.batches.layouts import Column
from delaytool.batches.metadata import ALIGN_ENTRY
from delaytool.shards.entry import bad_entry, entry_of, fields_of
from delaytool.shards.record import (
    Digests,
    Reason,
    Source,
    list_of,
    parsed,
    parsed_reasons,
    text_of,
    texts_of,
)
from delaytool.shards.sources import entries_of

FORMAT = 1


@dataclass(frozen=True)
class AlignRecord:
    """How text tokens were made of words, of what, and what became of the words.

    sources: the shard of words; and that of codes where these are in one of their own
    digests: of the column of tokens, of the sources' schemas, and of the rows in quarantine
    reasons: what is wrong with the rows that were put into quarantine
    places:  the first words of which something was lost
    """

    version: str
    job: AlignJob
    sources: tuple[Source, ...]
    counts: WordCounts
    digests: Digests
    reasons: tuple[Reason, ...] = ()
    places: tuple[WordPlace, ...] = ()

    @property
    def quarantined_rows(self) -> int:
        """How many rows were put into quarantine."""
        return self.counts.quarantined

    @property
    def jobs(self) -> list[AlignJob]:
        """The job, and those that made other columns of text before it."""
        before = [jobs_in(entries_of(source)) for source in self.sources]
        return [self.job, *itertools.chain.from_iterable(before)]

    def to_json(self) -> str:
        """The entry, its checksum last; raises DataError when it would be too long to read."""
        return entry_of({"format": FORMAT, **dataclasses.asdict(self), "job": self.job.to_dict()})

    @classmethod
    def from_json(cls, text: bytes) -> AlignRecord:
        """Parse an entry; raises DataError that says what is wrong with it."""
        fields = fields_of(text, ALIGN_ENTRY, FORMAT)
        try:
            return cls._parse(fields)
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            why = f"cannot be: {type(error).__name__}: {error}"
            raise bad_entry(why, ALIGN_ENTRY) from None

    @classmethod
    def _parse(cls, fields: Mapping[str, Any]) -> AlignRecord:
        digests = fields["digests"]
        sources = tuple(parsed(Source, source) for source in list_of(fields["sources"]))
        if len(sources) not in (1, 2):
            raise ValueError(f"{len(sources)} sources")
        job = fields["job"]
        codes = tuple(parsed(Column, column) for column in list_of(job["codes"]))
        return cls(
            version=text_of(fields["version"]),
            job=AlignJob.from_dict(job, codes),
            sources=sources,
            counts=parsed(WordCounts, fields["counts"]),
            digests=Digests(
                texts_of(digests["columns"]),
                text_of(digests["schema"]),
                texts_of(digests["quarantined"]),
            ),
            reasons=parsed_reasons(fields["reasons"]),
            places=tuple(parsed(WordPlace, place) for place in list_of(fields["places"])),
        )


def jobs_in(entries: Mapping[bytes, bytes]) -> list[AlignJob]:
    """What made the columns of text of a shard, by the entries of its footer, the last one first.

    Raises DataError for an entry that cannot be.
    """
    entry = entries.get(ALIGN_ENTRY.encode())
    return [] if entry is None else AlignRecord.from_json(entry).jobs
