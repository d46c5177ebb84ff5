"""Rows that come as tuples or dicts, in an order that may not be the same the next time.

A position counts the rows and carries a digest of all of them: reading on passes over as many rows, and goes on only
if they are the very same. So a query without ORDER BY, or a table that changed, is refused instead of sending some
rows twice and others never.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from headway.errors import SourceError
from headway.sources.blocks import LINES
from headway.sources.model import BAD_VALUE, BadLine, Batch, SourceRow
from headway.sources.positions import read_rows_position, rows_position
from headway.sources.values import BrokenText, plain_row

__all__ = ["digested_batches", "query_fingerprint", "taken_apart", "unique_columns"]


def digested_batches(
    columns: Sequence[str], rows: Iterable[Sequence[object]], position: str | None, name: str
) -> Iterator[Batch]:
    """Batches of the rows after `position`; raises SourceError if the rows before are not those of the last time."""
    skip, expected = (0, "") if position is None else read_rows_position(position)
    done, digest = 0, b""
    source = iter(rows)
    while found := list(islice(source, min(LINES, skip - done) if done < skip else LINES)):
        digest = hashlib.blake2b(digest + repr(found).encode("utf-8", "backslashreplace"), digest_size=16).digest()
        done += len(found)
        if done > skip:
            good, bad = taken_apart(columns, found, done - len(found) + 1)
            yield Batch(good, bad, rows_position(done, digest.hex()), None)
        elif done == skip and digest.hex() != expected:
            break
    if done < skip or (done == skip and skip and digest.hex() != expected):
        raise SourceError(f"{name}: gives other rows than when the run began: start a new run, and put an ORDER BY on "
                          f"a unique column into the query")  # fmt: skip


def taken_apart(
    columns: Sequence[str], found: Iterable[Sequence[object]], first: int
) -> tuple[list[SourceRow], list[BadLine]]:
    """Rows with values that JSON has, and those that hold others; `first` is the number of the first one."""
    rows: list[SourceRow] = []
    bad: list[BadLine] = []
    for number, cells in enumerate(found, first):
        values = dict(zip(columns, cells, strict=True))
        try:
            rows.append(SourceRow(number, plain_row(values)))
        except ValueError as error:
            shown = {name: _shown(value) for name, value in values.items()}
            bad.append(BadLine(number, BAD_VALUE, f"row {number}: {error}: cast it in the source", shown))
    return rows, bad


def unique_columns(names: Sequence[str], name: str) -> tuple[str, ...]:
    """The names of a query's columns; raises SourceError for empty and double ones."""
    for number, column in enumerate(names, 1):
        if not column:
            raise SourceError(f"{name}: column {number} of the query has no name: give it one with AS")
        if names.index(column) != number - 1:
            raise SourceError(f"{name}: two columns of the query are named {column!r}: rename one with AS")
    return tuple(names)


def _shown(value: object) -> object:
    if isinstance(value, BrokenText):
        return str(value)
    try:
        return plain_row({"": value})[""]
    except ValueError:
        return repr(value)[:200]


def query_fingerprint(url: str, query: str) -> str:
    """A fingerprint of a query; `url` without secrets."""
    return f"query:{hashlib.blake2b(f'{url} {query}'.encode(), digest_size=16).hexdigest()}"
