"""Schema metadata that describes the columns: that of Hugging Face, pandas and Spark.

Readers fail on a description that no longer fits, so it is brought up to date."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from delaytool.batches.fields import fields_in
from delaytool.batches.types import is_list

ENTRY = "delaytool"
"""The key of the record in a shard's key-value metadata."""
QUARANTINE_ENTRY = "delaytool-quarantine"
"""The same in a shard of quarantined rows, which holds the record of the shard they are not in."""
ALIGN_ENTRY = "delaytool-align"
"""The same of a shard whose words have become tokens, which says how."""
STORED_SCHEMA = b"ARROW:schema"
"""The key of the entry in which Arrow's writers keep their schema, as base64 of its message."""
SPARK = b"org.apache.spark.sql.parquet.row.metadata"
"""The key of the entry in which Spark keeps its schema; it sees no column that is not in there."""
_AVRO = b"parquet.avro.schema", b"avro.schema"
"""The same of Avro, whose readers make a schema where there is none."""
REASON = "reason"
"""The column that says why a row is in quarantine."""


def mended_metadata(schema: pa.Schema, fields: list[pa.Field], changed: list[pa.Field]) -> Any:
    """Schema metadata in which what describes the columns fits the changed ones."""
    if not schema.metadata:
        return schema.metadata
    gone = set(schema.names) - {field.name for field in fields}
    dropped = {QUARANTINE_ENTRY.encode(), *_AVRO}
    mended = {key: value for key, value in schema.metadata.items() if key not in dropped}
    for key, mend in _MENDS.items():
        if key in mended:
            try:
                described = json.loads(mended[key])
                mend(described, changed, gone, schema)
                mended[key] = json.dumps(described).encode()
            except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
                # A description that is not as expected cannot be mended; without it, readers go
                # by the Arrow schema.
                del mended[key]
    return mended


def _mend_huggingface(
    described: Any, changed: list[pa.Field], gone: set[str], schema: pa.Schema
) -> None:
    """Describe the changed columns as Hugging Face `datasets` features."""
    features = described["info"]["features"]
    for name in gone:
        features.pop(name, None)
    for field in changed:
        old = schema.field(field.name).type if field.name in schema.names else None
        features[field.name] = _mended_feature(features.get(field.name), old, field.type)


def _mended_feature(described: Any, old: pa.DataType | None, new: pa.DataType) -> dict[str, Any]:
    """The feature of a type; of a struct the fields that are as they were keep theirs."""
    if not pa.types.is_struct(new):
        return _feature(new)
    known = {} if old is None else {field.name: field.type for field in fields_in(old)}
    # A struct that was told as a sequence, as datasets does, is told anew.
    told = described if isinstance(described, dict) and "_type" not in described else {}
    return {
        field.name: told[field.name]
        if field.name in told and known.get(field.name) == field.type
        else _mended_feature(told.get(field.name), known.get(field.name), field.type)
        for field in fields_in(new)
    }


def _feature(kind: pa.DataType) -> dict[str, Any]:
    if pa.types.is_struct(kind):
        return {field.name: _feature(field.type) for field in fields_in(kind)}
    # "Sequence" with a length is read by every version of datasets, "List" only by new ones.
    if pa.types.is_large_list(kind):
        return {"feature": _feature(kind.value_type), "_type": "LargeList"}
    if is_list(kind):
        length = kind.list_size if pa.types.is_fixed_size_list(kind) else -1
        return {"feature": _feature(kind.value_type), "length": length, "_type": "Sequence"}
    return {"dtype": _dtype(kind), "_type": "Value"}


def _dtype(kind: pa.DataType) -> str:
    return "float32" if pa.types.is_float32(kind) else str(kind)


def _mend_pandas(
    described: Any, changed: list[pa.Field], gone: set[str], schema: pa.Schema
) -> None:
    """Describe the changed columns as pandas does: nested lists are objects to it."""
    names = {field.name for field in changed}
    there = {c.get("field_name", c["name"]) for c in described["columns"]}
    levels = described.get("column_indexes", [])
    if not names <= there and not _are_texts(levels):
        # Then the names are texts to pandas, as they are in the file.
        described["column_indexes"] = []
    # An index without a name has a column with one, its field_name.
    kept = [c for c in described["columns"] if c.get("field_name", c["name"]) not in names | gone]
    for field in changed:
        new = {
            "name": field.name,
            "field_name": field.name,
            "pandas_type": _pandas_type(field.type),
            "numpy_type": "object",
            "metadata": None,
        }
        kept.append(new)
    described["columns"] = kept
    for key in {"index_columns", "partition_columns"} & described.keys():
        # What is no name describes a range.
        described[key] = [n for n in described[key] if not (isinstance(n, str) and n in gone)]


def _are_texts(levels: list[Any]) -> bool:
    """Whether columns are named by plain texts, and not by pairs, numbers or dates."""
    return len(levels) <= 1 and all(
        level["pandas_type"] in ("unicode", "string", "mixed") for level in levels
    )


def _pandas_type(kind: pa.DataType) -> str:
    if pa.types.is_struct(kind):
        return "object"
    return f"list[{_pandas_type(kind.value_type)}]" if is_list(kind) else _dtype(kind)


def _mend_spark(described: Any, changed: list[pa.Field], gone: set[str], schema: pa.Schema) -> None:
    """Describe the changed columns as Spark's types; raises KeyError for what is none of them."""
    places = {field["name"]: place for place, field in enumerate(described["fields"])}
    fields = list(described["fields"])
    for field in changed:
        if field.name in places:
            told, old = fields[places[field.name]], schema.field(field.name).type
            fields[places[field.name]] = _mended_spark(told, old, field)
        else:
            fields.append({**_spark_field(field), "metadata": {}})
    described["fields"] = [field for field in fields if field["name"] not in gone]


def _mended_spark(told: Any, old: pa.DataType, field: pa.Field) -> Any:
    """Spark's field of a changed one; of a struct the fields that are as they were keep theirs."""
    if not (pa.types.is_struct(field.type) and pa.types.is_struct(old)):
        return {**told, **_spark_field(field)}
    known = {part.name: part.type for part in fields_in(old)}
    parts = {part["name"]: part for part in told["type"]["fields"]}
    inside = [
        parts[part.name]
        if known[part.name] == part.type
        else _mended_spark(parts[part.name], known[part.name], part)
        for part in fields_in(field.type)
    ]
    return {**told, "type": {**told["type"], "fields": inside}}


def _spark_field(field: pa.Field) -> dict[str, Any]:
    return {"name": field.name, "type": _spark_type(field.type), "nullable": True}


def _spark_type(kind: pa.DataType) -> Any:
    if is_list(kind):
        inside = _spark_type(kind.value_type)
        return {"type": "array", "elementType": inside, "containsNull": True}
    return _SPARK_TYPES[str(kind)]


_SPARK_TYPES = {
    "int8": "byte",
    "int16": "short",
    "int32": "integer",
    "int64": "long",
    "uint8": "short",
    "uint16": "integer",
    "uint32": "long",
    "uint64": "decimal(20,0)",
    "float": "float",
    "string": "string",
}
_MENDS = {
    b"huggingface": _mend_huggingface,
    b"pandas": _mend_pandas,
    SPARK: _mend_spark,
}


def joined_metadata(
    text: Mapping[bytes, bytes], codes: Mapping[bytes, bytes], names: list[str]
) -> dict[bytes, bytes]:
    """The entries of both, the text's where both have one, with descriptions of all columns or
    none.

    names: the codes' columns
    """
    metadata = {k: v for k, v in codes.items() if k != b"huggingface"} | dict(text)
    for key in (b"pandas", SPARK):
        metadata.pop(key, None)
    join_features(metadata, codes, names)
    return metadata


def join_features(
    metadata: dict[bytes, bytes], codes: Mapping[bytes, bytes], names: list[str]
) -> None:
    """Describe the codes' columns too where Hugging Face describes both shards; else neither."""
    described = metadata.pop(b"huggingface", None)
    try:
        ours, theirs = json.loads(described or b""), json.loads(codes.get(b"huggingface", b""))
        features = theirs["info"]["features"]
        ours["info"]["features"].update({name: features[name] for name in names})
        metadata[b"huggingface"] = json.dumps(ours).encode()
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return
