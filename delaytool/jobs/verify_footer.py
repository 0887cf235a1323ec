"""The comparison of a shard's footer with its record, and with the footers of its source."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from delaytool.batches.metadata import ENTRY, REASON, STORED_SCHEMA
from delaytool.batches.schema import output_entries, restored_schema, shifted_schema
from delaytool.batches.types import is_stored_as
from delaytool.errors import Place
from delaytool.jobs.mismatches import (
    Verified,
    entry_differences,
    keys_of,
    types_of,
)
from delaytool.shards.pairs import Opened
from delaytool.shards.read import OpenShard
from delaytool.shards.record import Record
from delaytool.shards.recorded_rows import Quarantined
from delaytool.shards.sources import (
    comparable_entries,
    digest_of_sources,
    source_entries,
    source_schema,
)


@dataclass(frozen=True)
class FooterCheck:
    """The footer of an output, and what it is compared with; mismatches go to `verified`."""

    output: OpenShard
    original: Opened | None
    record: Record
    verified: Verified

    def run(self) -> bool:
        """Check the columns, types and metadata; False where rows cannot be compared."""
        record, verified, schema = self.record, self.verified, source_schema(self.record)
        expected = shifted_schema(schema, self.record.job)
        found = self.output.schema
        fine = True
        if expected.names != found.names:
            verified.add("columns", ", ".join(expected.names), ", ".join(found.names))
            return False
        for want, have in zip(expected, found, strict=True):
            if not is_stored_as(have, want):
                verified.add("type", str(want), str(have), Place(column=want.name))
                fine = fine and want.type == have.type
        if (expected.metadata or {}) != (found.metadata or {}):
            verified.add("schema metadata", keys_of(expected), keys_of(found))
        self._check_entries(schema)
        digest = digest_of_sources(record.sources)
        if digest != record.digests.schema:
            verified.add("schema and metadata", record.digests.schema, digest)
        restored = restored_schema(schema, record.job)
        if set(record.digests.columns) != set(restored.names):
            names = ", ".join(record.digests.columns)
            verified.add("digests", ", ".join(restored.names), names)
        quarantined = Quarantined(record).count
        if list(record.digests.quarantined) != ([*schema.names, REASON] if quarantined else []):
            names = ", ".join(record.digests.quarantined)
            verified.add("digests of quarantined rows", quarantined, names)
        if self.original is not None:
            theirs, sources = self.original.schema, self.original.sources
            if [s.schema for s in sources] != [s.schema for s in record.sources]:
                same = theirs.types == schema.types and theirs.names == schema.names
                describe = keys_of if same else types_of
                verified.add("source schema", describe(theirs), describe(schema))
                fine = fine and same
            for pair in zip(sources, record.sources, strict=True):
                self._compare_entries("source entry", *map(comparable_entries, pair))
        return fine

    def _check_entries(self, schema: pa.Schema) -> None:
        """The footer has the entries of the sources, and none besides the record."""
        expected = output_entries(schema, source_entries(self.record), self.record.job)
        made = ENTRY.encode(), STORED_SCHEMA
        found = {key: value for key, value in self.output.entries.items() if key not in made}
        self._compare_entries("entry", expected, found)

    def _compare_entries(
        self, what: str, expected: dict[bytes, bytes], found: dict[bytes, bytes]
    ) -> None:
        for name, *values in entry_differences(expected, found):
            self.verified.add(f"{what} {name}", *values)
