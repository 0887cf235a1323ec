"""Long values that repeat, kept once while their rows wait for a row group.

A prompt that stands in each of 20,000 rows is a few kilobytes in a file and gigabytes in memory. As
numbers of values that are kept once, such rows can wait until they are a row group, which then has
a single dictionary, as when pyarrow writes the whole column at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

_KINDS = (pa.string(), pa.binary())
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
    def are_chosen(self) -> bool:
        """Whether there are such columns."""
        return bool(self._values)

    @property
    def nbytes(self) -> int:
        """Bytes of the values."""
        return sum(int(values.nbytes) for values in self._values.values())

    def choose(self, batches: Sequence[pa.RecordBatch]) -> bool:
        """Choose columns by the rows that have come so far; returns whether there are any."""
        for number, field in enumerate(self.schema):
            kind = field.type
            if pa.types.is_dictionary(kind):
                if kind.value_type in _KINDS:
                    self._values[number] = pa.array([], kind.value_type)
            elif kind in _KINDS:
                column = pa.chunked_array([batch.column(number) for batch in batches])
                values = column.unique()
                if _TIMES * values.nbytes <= column.nbytes:
                    self._values[number] = values.slice(0, 0)
                    coded = field.with_type(pa.dictionary(pa.int32(), kind))
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
        for number, values in self._values.items():
            field = self.schema.field(number)
            indices = table.column(number).combine_chunks().cast(field.type.index_type)
            array = pa.DictionaryArray.from_arrays(indices, values, ordered=field.type.ordered)
            table = table.set_column(number, field, array)
        return table

    def forget(self) -> None:
        """Keep the columns, and none of their values: a row group is complete."""
        self._values = {number: values.slice(0, 0) for number, values in self._values.items()}
