"""What a shard was made from, as its record keeps it: schemas and footer entries."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

import pyarrow as pa

from delaytool.batches.digest import schema_digest
from delaytool.batches.job import Job
from delaytool.batches.metadata import STORED_SCHEMA, joined_metadata
from delaytool.batches.schema import mended_entries, restored_schema
from delaytool.errors import DataError
from delaytool.shards.record import Record, Source, decode_schema, encode_schema


def paired_schema(text: pa.Schema, codes: pa.Schema, key: str | None) -> pa.Schema:
    """The columns of a shard of text and one of codes; raises DataError when names collide."""
    added = [field for field in codes if field.name != key or key not in text.names]
    for field in added:
        if field.name in text.names:
            raise DataError(
                "column-twice",
                f"both the text's and the codes' shard have a column {field.name}",
                expected="no name in both but the key's",
                advice="rename one of them, or name the `key`",
            )
    names = [field.name for field in added]
    metadata = joined_metadata(text.metadata or {}, codes.metadata or {}, names)
    return pa.schema([*text, *added], metadata=metadata or None)


def base64_of(value: bytes) -> str:
    """Bytes as base64 text."""
    return base64.b64encode(value).decode()


def entries_in_schema(schema: str) -> dict[bytes, bytes]:
    """The entries that an Arrow writer makes of an encoded schema."""
    return {**(decode_schema(schema).metadata or {}), STORED_SCHEMA: schema.encode()}


def entries_of(source: Source) -> dict[bytes, bytes]:
    """The key-value entries of a source's footer; raises DataError where its record has none."""
    in_schema = entries_in_schema(source.schema)
    entries: dict[bytes, bytes] = {}
    try:
        for name, text in source.entries.items():
            key = base64.b64decode(name, validate=True)
            entries[key] = in_schema[key] if text is None else base64.b64decode(text, validate=True)
    except (ValueError, KeyError) as error:
        raise DataError(
            "record", f"the source entries in its record cannot be read: {error}"
        ) from None
    return entries


def comparable_entries(source: Source) -> dict[bytes, bytes]:
    """The same; of an Arrow schema only that it is there, for each writer words it as it likes."""
    entries = entries_of(source)
    return entries | dict.fromkeys({STORED_SCHEMA} & entries.keys(), b"there")


def digest_of_sources(sources: Sequence[Source]) -> str:
    """The digest of the schemas and entries of the shards that something was made from."""
    schemas = [source.schema for source in sources]
    return schema_digest(schemas, [comparable_entries(source) for source in sources])


def source_entries(record: Record) -> dict[bytes, bytes]:
    """The footer's entries of what a shard was made from, of both its sources if it has two."""
    text, *codes = record.sources
    if not codes:
        return entries_of(text)
    names = [name for name in decode_schema(codes[0].schema).names if name != record.job.key]
    joined = joined_metadata(entries_of(text), entries_of(codes[0]), names)
    if STORED_SCHEMA in joined:
        joined[STORED_SCHEMA] = encode_schema(source_schema(record)).encode()
    return joined


def restored_entries(
    schema: pa.Schema, entries: Mapping[bytes, bytes], job: Job
) -> dict[bytes, bytes]:
    """The footer's entries of what reverting gives, in which nothing is of what was left out.

    schema, entries: of the source
    """
    if not job.drop_columns:
        return dict(entries)
    left = mended_entries(schema, entries, lambda source: restored_schema(source, job))
    if STORED_SCHEMA in entries:
        left[STORED_SCHEMA] = encode_schema(restored_schema(schema, job)).encode()
    return left


def source_schema(record: Record) -> pa.Schema:
    """The schema of the rows that a shard was made from, of both its sources if it has two."""
    schemas = [decode_schema(source.schema) for source in record.sources]
    if len(schemas) not in (1, 2):
        raise DataError("record", f"its record names {len(schemas)} sources", expected="one or two")
    if len(schemas) == 1:
        return schemas[0]
    return paired_schema(schemas[0], schemas[1], record.job.key)
