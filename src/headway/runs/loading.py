"""Load, then send: the whole source into the store first, with the position to read on from.

Rules:
* A batch of rows and the position behind it are one transaction of the store.
* Between batches the event loop gets its turn, so that a stop is heard and a display moves.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, closing
from time import perf_counter
from typing import cast

from headway.engine.model import Tally
from headway.events import Event, LoadProgress
from headway.runs.rows import Rows
from headway.runs.schemas import SchemaCheck
from headway.sources.model import Batch, Source
from headway.stores.interface import LoadStore
from headway.stores.model import BadRow, Duplicates, Loaded

__all__ = ["Converted", "converted", "load"]

Converted = tuple[list[Loaded], list[BadRow], Batch]


async def converted(
    source: Source,
    rows: Rows,
    *,
    position: str | None = None,
    limit: int | None = None,
    schema: SchemaCheck | None = None,
    spent: Callable[[str, float], None] | None = None,
) -> AsyncGenerator[Converted, None]:
    """The source's batches as records and bad rows, `limit` rows in all; raises SourceError, MappingError."""
    left = limit
    # A generator that is not read to its end holds the file open until it is closed.
    with closing(cast("_Closable", source.batches(position))) as batches:
        while left is None or left > 0:
            began = perf_counter()
            batch = next(batches, None)
            if batch is None:
                return
            good, bad = rows.convert(batch)
            if schema is not None and not schema.fresh and _refused(bad):
                rows.checker = await schema.renewed_rows()
                good, bad = rows.convert(batch)
            if left is not None:
                good, bad = _first(good, bad, left)
                left -= len(good) + len(bad)
            if spent is not None:
                spent("read", perf_counter() - began)
            yield good, bad, batch
            await asyncio.sleep(0)


async def load(
    store: LoadStore,
    run: str,
    batches: AsyncGenerator[Converted, None],
    *,
    duplicates: Duplicates,
    read: int,
    tally: Tally,
    stopped: Callable[[], bool],
    tell: Callable[[Event], None],
) -> bool:
    """Write every batch; False if it was stopped before the end. `read`: rows that are in the store already."""
    async with aclosing(batches):
        async for good, bad, batch in batches:
            began = perf_counter()
            store.load(run, good, bad, batch.position, duplicates)
            tally.spent("load", perf_counter() - began)
            read += len(good) + len(bad)
            tell(LoadProgress(run, read, batch.share))
            if stopped():
                return False
    return True


class _Closable(Iterator[Batch]):
    def close(self) -> None:
        """Of every generator."""


def _refused(bad: list[BadRow]) -> bool:
    """Whether a value was refused by the schema."""
    return any(row.key and row.code != "NOT_JSON" for row in bad)


def _first(good: list[Loaded], bad: list[BadRow], count: int) -> tuple[list[Loaded], list[BadRow]]:
    """Those on the first `count` lines."""
    if len(good) + len(bad) <= count:
        return good, bad
    last = sorted([row.line for row in good] + [row.line for row in bad])[count - 1]
    return [row for row in good if row.line <= last], [row for row in bad if row.line <= last]
