"""One shard in numbers.

A shifted shard says itself what is in it: its footer is enough. Of an original one the columns that
hold tokens are read; where its own rows leave the layout open, those of the others decide.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from delaytool.batches.codes import TokenBatch
from delaytool.batches.column_options import ColumnOptions
from delaytool.batches.columns import job_of_original
from delaytool.batches.fields import check_there, may_be_tokens, names_of_tokens
from delaytool.batches.figures import Counts, Figures, count_tokens
from delaytool.batches.job import Job
from delaytool.batches.problems import placed
from delaytool.batches.read import read_tokens
from delaytool.batches.schema import already_shifted
from delaytool.errors import AmbiguousError, DataError
from delaytool.jobs.card import Contents
from delaytool.jobs.report import Summary
from delaytool.jobs.shard_task import ShardTask
from delaytool.recipes.adapt import with_text
from delaytool.recipes.checks import ZERO_TOKEN
from delaytool.recipes.recipe import Recipe
from delaytool.shards.failures import reading
from delaytool.shards.find import Shard
from delaytool.shards.pairs import Opened, Pair, is_by_order_alone, open_source, rows_of
from delaytool.shards.read import open_shard, read_record


@dataclass(frozen=True)
class Stats:
    """One shard in numbers, and whether it is shifted; no numbers where it has yet to be read.

    left_out: whether its rows are in quarantine, and so left out where there are others
    by_order: whether its rows are those of text and codes that only their order pairs, unasked
    contents: what its rows hold, where that is known
    """

    name: str
    shifted: bool
    summary: Summary | None
    left_out: bool = False
    by_order: bool = False
    contents: Contents | None = None


@dataclass(frozen=True)
class FooterOf(ShardTask):
    """Tell what a shifted shard says of itself, and of another one that it is not shifted."""

    shard: Shard

    @property
    def reads(self) -> Shard:
        """The shard that is asked."""
        return self.shard

    def run(self) -> Generator[float, None, Stats]:
        """Read the footer; returns what it says."""
        with open_shard(self.shard) as opened:
            record, left_out, schema = read_record(opened), opened.is_quarantine, opened.schema
        yield 1.0
        if record is None:
            return Stats(self.name, False, None, left_out)
        contents = Contents.of(record.job, schema, shifted=True)
        return Stats(self.name, True, Summary.of(record), left_out, contents=contents)


@dataclass(frozen=True)
class Reading:
    """How original shards are to be read.

    where:            where their tokens are
    recipe:           their streams; None where the columns are to say how many there are, and any
                      token may be in them
    text_padding, text_end_padding: tokens that count as padding, instead of the recipe's
    """

    where: ColumnOptions
    recipe: Recipe | None = None
    text_padding: int | None = None
    text_end_padding: int | None = None

    def job(self, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Job:
        """The job that reads rows of this schema.

        Raises DataError where a column is missing, or no layout or more than one fits.
        """
        where = self.where
        if where.key is not None:
            check_there(schema, where.key, "`key`")
        elif "id" in schema.names and not where.by_order:
            where = dataclasses.replace(where, key="id")
        if where.text_column != ColumnOptions().text_column and not where.grid_column:
            for name in where.text_column:
                check_there(schema, name, "`text_column`")
        job = job_of_original(where, schema, batches, self.recipe)
        return dataclasses.replace(job, recipe=self._padded(job.recipe))

    def _padded(self, recipe: Recipe) -> Recipe:
        """The recipe with the padding that was asked for."""
        ids = [x for x in (self.text_padding, self.text_end_padding) if x is not None]
        if not ids or not recipe.has_text:
            return recipe
        card = None
        if self.recipe is None:
            card = max(1 + max(ids), *(text.cardinality for text in recipe.text))
        return with_text(
            recipe, card=card, padding=self.text_padding, end_padding=self.text_end_padding
        )


def plan_stats(pairs: Sequence[Pair], how: Reading) -> Job | None:
    """What the rows of all original shards decide, for those whose own leave the layout open.

    Returns None where they leave it open too. Raises DataError for the first shard, RecipeError
    where padding is asked for that cannot be.
    """
    with open_source(*pairs[0], how.where) as first, reading(pairs[0][0].name):
        schema = first.schema
        with contextlib.suppress(AmbiguousError):
            return how.job(schema, rows_of(pairs, how.where, _lists_in))
    return None


def _lists_in(schema: pa.Schema) -> list[str]:
    """The columns that may hold tokens, by their types."""
    return [field.name for field in schema if may_be_tokens(field.type) or names_of_tokens(field)]


@dataclass(frozen=True)
class StatsOfShard(ShardTask):
    """Tell what is in an original shard.

    codes:   the shard of its codes, if they are in one of their own
    planned: what the rows of all shards decide
    """

    shard: Shard
    codes: Shard | None
    how: Reading
    planned: Job | None = None

    @property
    def reads(self) -> Shard:
        """The shard that is counted."""
        return self.shard

    def run(self) -> Generator[float, None, Stats]:
        """Count what is in the shard.

        yields:  the fraction of the rows that are done
        returns: what there is
        raises:  DataError for a shard that cannot be read, and for the first bad row
        """
        how = self.how
        with open_source(self.shard, self.codes, how.where) as opened, reading(self.name):
            job = self._job(opened)
            names = [column.name for column in job.columns]
            if job.key is not None and job.key in opened.schema.names and job.key not in names:
                names.append(job.key)
            counts, figures = Counts(), Figures()
            for batch in opened.small_batches(names):
                try:
                    tokens = read_tokens(batch, job, any_token=how.recipe is None)
                except DataError as error:
                    raise placed(error, self.name, counts.rows_in, batch, job) from None
                counts += _counts(tokens)
                figures += _figures(tokens, job)
                yield counts.rows_in / max(opened.rows, 1)
            summary = Summary(job.recipe, counts, figures)
            known = how.recipe is not None
            contents = Contents.of(job, opened.schema, shifted=False, known=known)
            by_order = is_by_order_alone(opened, how.where)
            return Stats(self.name, False, summary, by_order=by_order, contents=contents)

    def _job(self, opened: Opened) -> Job:
        """What reads the shard, by its own rows or by those of all where they say too little."""
        if opened.entry is not None:
            raise already_shifted().at(shard=self.name)
        try:
            return self.how.job(opened.schema, opened.small_batches(_lists_in(opened.schema)))
        except AmbiguousError:
            if self.planned is None:
                raise
            for column in self.planned.columns:
                check_there(opened.schema, column.name, "`text_column` or `audio_column`")
            return self.planned


def _counts(tokens: TokenBatch) -> Counts:
    rows, frames = len(tokens.lengths), int(tokens.lengths.sum())
    return Counts(
        rows_in=rows,
        rows_out=rows,
        frames=frames,
        tokens=sum(codes.flat.size for codes in tokens.columns),
        empty=int((tokens.lengths == 0).sum()),
    )


def _figures(tokens: TokenBatch, job: Job) -> Figures:
    """What can be said of cells that are not shifted: zero tokens, and padding in the text."""
    zero = sum(count_tokens(codes.flat, {ZERO_TOKEN}) for codes in tokens.columns)
    text = padding = 0
    for column, codes in zip(job.columns, tokens.columns, strict=True):
        for number, stream in enumerate(column.streams(job.recipe)):
            if stream.kind == "text":
                flat = codes.part(number, 1).flat
                text, padding = text + flat.size, padding + count_tokens(flat, stream.padding_ids)
    return Figures(zero=zero, text=text, padding=padding)
