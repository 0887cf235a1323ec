"""What pyarrow reads without a look at it, and what of it cannot be."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from delaytool.batches.types import leaf_arrays
from delaytool.errors import DataError, Place
from delaytool.shards.failures import first_line


def check_decimals(batch: pa.RecordBatch, columns: Collection[str]) -> None:
    """Raise DataError for a decimal of more digits than its type has: it would lose the others.

    columns: those that have decimals in them
    """
    for name, leaf in _leaves_in(batch, columns):
        try:
            if pa.types.is_decimal(leaf.type):
                leaf.validate(full=True)
        except pa.ArrowInvalid as error:
            raise DataError(
                "decimal",
                first_line(error),
                advice="store it as a decimal of more digits, or leave the column out",
                place=Place(column=name),
            ) from None


def check_indices(batch: pa.RecordBatch, columns: Collection[str]) -> None:
    """Raise pa.ArrowInvalid for an index that points out of its dictionary.

    pyarrow says the same where it looks the values up itself.

    columns: those that have dictionaries in them
    """
    for name, leaf in _leaves_in(batch, columns):
        if not pa.types.is_dictionary(leaf.type):
            continue
        least, most = pc.min_max(leaf.indices).as_py().values()
        if most is not None and not 0 <= least <= most < len(leaf.dictionary):
            raise pa.ArrowInvalid(f"an index out of its dictionary in column {name}")


def _leaves_in(batch: pa.RecordBatch, columns: Collection[str]) -> Iterator[tuple[str, pa.Array]]:
    """The leaves of the batch's columns of these names, if it has rows."""
    for name in columns if batch.num_rows else ():
        if name in batch.schema.names:
            yield from ((name, leaf) for leaf in leaf_arrays(batch.column(name)))
