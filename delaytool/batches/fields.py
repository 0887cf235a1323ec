"""Columns by their names."""

from __future__ import annotations

import pyarrow as pa

from delaytool.errors import DataError


def check_there(schema: pa.Schema, name: str, argument: str) -> None:
    """Raise DataError unless the schema has this column, which an argument names."""
    if name not in schema.names:
        raise DataError(
            "missing-column",
            f"there is no column {name}; there are {', '.join(schema.names) or 'none at all'}",
            advice=f"name the column with {argument}",
        )
