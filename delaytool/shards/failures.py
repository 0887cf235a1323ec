"""Turns what pyarrow and the system say into errors that name the shard."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import pyarrow as pa

from delaytool.errors import DataError, Place, RecipeError
from delaytool.shards import stores


@contextlib.contextmanager
def reading(name: str) -> Iterator[None]:
    """Turn what pyarrow and the system say while a shard is read into a DataError."""
    try:
        yield
    except DataError as error:
        raise (error if error.place.shard else error.at(shard=name)) from None
    except RecipeError:
        raise  # What was asked for is no fault of the shard's.
    except stores.StoreError as error:
        raise DataError(
            "unreachable",
            f"cannot be read: {error.why}",
            advice="check the address, the region or endpoint, the keys, and the way to it",
            place=Place(shard=name),
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(
            "unreadable",
            "cannot be read: the name of a column is not UTF-8",
            expected="UTF-8, as Parquet has names",
            advice="rename the column, with a reader that can",
            place=Place(shard=name),
        ) from error
    except (OSError, pa.ArrowException, ValueError, OverflowError) as error:
        raise DataError(
            "unreadable",
            f"cannot be read: {first_line(error)}",
            expected="a complete Parquet file",
            advice="restore the file, or leave it out",
            place=Place(shard=name),
        ) from error


def first_line(error: BaseException) -> str:
    """What an error says first, without keys."""
    # pyarrow tells which of its calls failed, and behind that why.
    if match := re.search(r"\[errno \d+\] (.+)", str(error)):
        return match[1]
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return stores.without_secrets(first)[:300]


def unwritable(target: str, error: BaseException) -> DataError:
    """The error for a file that cannot be written."""
    return DataError(
        "unwritable",
        f"cannot be written: {first_line(error)}",
        advice="check free space, permissions and the way to it, then run again",
        place=Place(shard=stores.shown(target)),
    )
