"""Shards of quarantined rows: which shards are such, and whether they are as they were written.

Their footers say what they are. Below a folder of data they are left out; a folder in which there
are no others is a folder of data again. Nothing here reads more footers than it has to: a shard is
opened by its own task anyway.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from delaytool.batches.metadata import QUARANTINE_ENTRY, REASON
from delaytool.errors import DataError
from delaytool.shards import stores
from delaytool.shards.find import Shard
from delaytool.shards.read import open_shard
from delaytool.shards.record import Recorded

_LOOKERS = 8
"""How many footers are read at once where each takes its time to come."""


def is_quarantine(shard: Shard) -> bool:
    """Whether a shard holds quarantined rows; its task reports one that cannot be read."""
    try:
        with open_shard(shard) as opened:
            return opened.is_quarantine
    except DataError:
        return False


def _looked_at(shards: Sequence[Shard]) -> Iterator[tuple[Shard, bool]]:
    """Each shard, and whether it holds quarantined rows, as far as somebody asks."""
    if not shards or not stores.is_remote(shards[0].path):
        yield from ((shard, is_quarantine(shard)) for shard in shards)
        return
    with ThreadPoolExecutor(_LOOKERS) as pool:
        for first in range(0, len(shards), _LOOKERS):
            some = shards[first : first + _LOOKERS]
            yield from zip(some, pool.map(is_quarantine, some), strict=True)


def first_of_data(shards: Sequence[Shard]) -> Shard | None:
    """The first shard of rows that are not in quarantine; None where there is none.

    A quarantine within a folder repeats its paths further down, so where the first shard is of one,
    those of the shortest paths are looked at first.
    """
    if not is_quarantine(shards[0]):
        return shards[0]
    by_depth = sorted(shards, key=lambda shard: shard.name.count("/"))
    return next((shard for shard, is_bad in _looked_at(by_depth) if not is_bad), None)


def without_quarantine_in(folder: str, shards: Sequence[Shard]) -> list[Shard]:
    """The shards without those that are where the others' quarantined rows go.

    folder: the quarantine, in which every shard has its own path
    """
    kept: list[Shard] = []
    places: set[str] = set()
    for shard in sorted(shards, key=lambda shard: shard.name.count("/")):
        if stores.resolved(shard.path) not in places:
            kept.append(shard)
            places.add(stores.resolved(stores.join(folder, shard.output_name)))
    return sorted(kept, key=lambda shard: shard.name)


def without_quarantine(
    shards: Sequence[Shard], others: Iterable[Shard], enough: int | None = None
) -> list[Shard]:
    """The shards without those of quarantined rows that have no counterpart among the others.

    enough: how many further ones without a counterpart make it needless to look at more
    """
    names = {other.output_name for other in others}
    left_out: set[str] = set()
    rest = 0
    for shard, is_bad in _looked_at([shard for shard in shards if shard.output_name not in names]):
        if is_bad:
            left_out.add(shard.name)
            continue
        rest += 1
        if rest == enough:
            break
    return [shard for shard in shards if shard.name not in left_out]


def strays_among(shards: Iterable[Shard]) -> list[Shard]:
    """Those of the shards that hold quarantined rows, or look as if they once did."""
    return [shard for shard in shards if _may_be_quarantine(shard)]


def _may_be_quarantine(shard: Shard) -> bool:
    try:
        with open_shard(shard, whole=True) as opened:
            return opened.is_quarantine or REASON in opened.schema.names
    except DataError:
        return True


def is_intact(path: str, record: Recorded) -> bool:
    """Whether a shard of quarantined rows holds those that its record tells of."""
    try:
        with open_shard(Shard(path, path), whole=True) as opened:
            expected = record.digests.quarantined
            return opened.schema.names == list(expected) and opened.digests() == expected
    except DataError:
        return False


def counterpart(output: Shard, shards: Sequence[Shard]) -> Shard | None:
    """The shard of an output's quarantined rows, which has the same record."""
    entry = None
    with contextlib.suppress(DataError), open_shard(output) as opened:
        entry = opened.entry
    for shard in shards if entry else ():
        with contextlib.suppress(DataError), open_shard(shard) as opened:
            if opened.entry_called(QUARANTINE_ENTRY) == entry:
                return shard
    return None
