"""Writes Parquet files that suit their columns."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from delaytool.batches.job import Job
from delaytool.batches.types import leaf_paths
from delaytool.shards import stores
from delaytool.shards.commit import State, committed

_PAGE_BYTES = 2 << 20


class ShardWriter:
    """Batches on their way into a file that does not have its name yet.

    metadata: key-value entries for the footer, to be set before the file is complete
    """

    def __init__(
        self,
        part: str,
        schema: pa.Schema,
        kinds: Mapping[str, str],
        entries: Mapping[bytes, bytes] | None,
    ) -> None:
        self._sink = stores.as_arrow_takes(part, "wb")
        self._writer = _writer(self._sink, schema, kinds, entries is None)
        self.metadata: dict[bytes, bytes] = dict(entries or {})

    def write(self, batch: pa.RecordBatch) -> None:
        """Add the rows of a batch, if there are any."""
        if not batch.num_rows:
            return
        self._writer.write_batch(batch, row_group_size=batch.num_rows)

    def finish(self) -> None:
        """Write the footer."""
        if self.metadata:
            self._writer.add_key_value_metadata(self.metadata)
        self._close()

    def abandon(self) -> None:
        """Let go of the file, which nobody will see."""
        with contextlib.suppress(Exception):
            self._close()

    def _close(self) -> None:
        self._writer.close()
        if not isinstance(self._sink, str):
            self._sink.close()


@contextlib.contextmanager
def writing(
    target: str,
    schema: pa.Schema,
    kinds: Mapping[str, str],
    entries: Mapping[bytes, bytes] | None = None,
    *,
    replaces: State | None = None,
) -> Iterator[ShardWriter]:
    """Write a shard that appears under its name when the block ends well, and else not at all.

    kinds:    the columns that hold "tokens" or weights that come in "runs"; `_writer` says what for
    entries:  all key-value entries of its footer, those that Arrow makes of a schema included; when
              not given, Arrow makes them
    replaces: the only file whose place it may take, as `file_state` gave it
    raises:   NameTakenError when there is another file, DataError when it cannot be written;
              nothing is left behind then
    """
    with committed(target, replaces) as part:
        writer = ShardWriter(part, schema, kinds, entries)
        try:
            yield writer
            writer.finish()
        except BaseException:
            # Closing would make a readable file of half the rows; the folder forgets it first.
            with contextlib.suppress(OSError):
                os.unlink(part)
            writer.abandon()
            raise


def output_kinds(job: Job) -> dict[str, str]:
    """Which columns of an output hold tokens, and which weights that come in runs."""
    kinds: dict[str, str] = {}
    for output in job.outputs:
        kinds[output.name] = "tokens"
        if output.labels:
            kinds[output.labels] = "tokens"
        varied = any(stream.token_weights for stream in output.streams(job.recipe))
        if output.weights and not varied and not job.factors:
            kinds[output.weights] = "runs"
    return kinds


def _writer(
    sink: Any, schema: pa.Schema, kinds: Mapping[str, str], stores_schema: bool
) -> pq.ParquetWriter:
    """A writer that suits the columns: measured in tests/benchmarks.

    Tokens: bytes split by place and zstd, since a dictionary of codes costs more time and space; in
    pages so large that zstd looks for long matches only, for in a plane of high bytes short ones
    are everywhere and cost more than they save. Runs: plain and zstd, a level up, where it finds
    longer ones. Neither has statistics that anyone could use. All others, weights that differ from
    token to token among them: a dictionary and zstd.
    """
    others: list[str] = []
    encoding: dict[str, str] = {}
    levels: dict[str, int] = {}
    for field in schema:
        leaves = leaf_paths(field)
        kind = kinds.get(field.name)
        if kind is None:
            others += leaves
        elif kind == "tokens":
            encoding.update(dict.fromkeys(leaves, "BYTE_STREAM_SPLIT"))
        else:
            encoding.update(dict.fromkeys(leaves, "PLAIN"))
            levels.update(dict.fromkeys(leaves, 3))
    return pq.ParquetWriter(
        sink,
        schema if stores_schema else schema.remove_metadata(),
        store_schema=stores_schema,
        compression="zstd",
        compression_level=levels or None,
        use_dictionary=others,
        write_statistics=others,
        column_encoding=encoding,
        data_page_size=_PAGE_BYTES,
    )
