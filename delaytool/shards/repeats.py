"""Long values that repeat, kept once while their rows wait for a row group.

A prompt that stands in each of 20,000 rows is a few kilobytes in a file and gigabytes in memory. As
numbers of values that are kept once, such rows can wait until they are a row group, which then has
a single dictionary, as when pyarrow writes the whole column at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from delaytool.batches.types import stands_for

_KINDS = {
    pa.string(): pa.string(),
    pa.binary(): pa.binary(),
    pa.large_string(): pa.string(),
    pa.large_binary(): pa.binary(),
}
"""Types of columns, and of the values in their dictionaries, which Parquet has no large ones of."""
_TIMES = 4
"""How many times as large as the distinct ones values are at least, to be kept in this way."""


class Repeats:
    """The columns of which each value is kept once, and what they hold.

    schema: of the rows, with these columns as dictionaries
    """

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        self._values: dict[int, pa.Array] = {}

    @property
    def nbytes(self) -> int:
        """Bytes of the values."""
        return sum(int(values.nbytes) for values in self._values.values())

    def choose(self, batches: Sequence[pa.RecordBatch]) -> bool:
        """Choose columns by the rows that have come so far; returns whether there are any."""
        for number, field in enumerate(self.schema):
            kind = field.type
            if pa.types.is_dictionary(kind):
                if kind.value_type in _KINDS.values():
                    self._values[number] = pa.array([], kind.value_type)
            elif kind in _KINDS and _do_repeat([batch.column(number) for batch in batches]):
                self._values[number] = pa.array([], kind)
                coded = field.with_type(pa.dictionary(pa.int32(), _KINDS[kind]))
                self.schema = self.schema.set(number, coded)
        return bool(self._values)

    def keep(self, batch: pa.RecordBatch) -> pa.RecordBatch | None:
        """Rows with numbers, int32, in place of the values, which are kept.

        None, and nothing is kept, where a dictionary has no room for their values too.
        """
        every = dict(self._values)
        for number, known in self._values.items():
            column = batch.column(number)
            coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
            used = coded.indices.drop_null().unique()
            values = coded.dictionary.take(used)
            new = values.filter(pc.index_in(values, value_set=known).is_null())
            every[number] = pa.concat_arrays([known, new]) if len(new) else known
            width = self.schema.field(number).type.index_type.bit_width
            if len(known) and len(every[number]) > 1 << (width - 1):
                return None
            places = pc.index_in(values, value_set=every[number])
            indices = places.take(pc.index_in(coded.indices, value_set=used))
            field = pa.field(batch.schema.field(number).name, pa.int32())
            batch = batch.set_column(number, field, indices)
        self._values = every
        return batch

    def table(self, batches: Sequence[pa.RecordBatch]) -> pa.Table:
        """Rows that were kept, with their values, of the `schema`."""
        table = pa.Table.from_batches(batches)
        for number, field in enumerate(self.schema):
            column, kind = table.column(number), field.type
            if number in self._values:
                values = self._values[number].cast(kind.value_type)
                indices = column.combine_chunks().cast(kind.index_type)
                array = pa.DictionaryArray.from_arrays(indices, values, ordered=kind.ordered)
                table = table.set_column(number, field, array)
            elif stands_for(column.type, kind):
                table = table.set_column(number, field, column.cast(kind))
        return table

    def forget(self) -> None:
        """Keep the columns, and none of their values: a row group is complete."""
        self._values = {number: values.slice(0, 0) for number, values in self._values.items()}


def _do_repeat(parts: Sequence[pa.Array]) -> bool:
    """Whether the values of a column are better kept once; those of a dictionary are."""
    if pa.types.is_dictionary(parts[0].type):
        return True
    column = pa.chunked_array(parts)
    return bool(_TIMES * column.unique().nbytes <= column.nbytes)
