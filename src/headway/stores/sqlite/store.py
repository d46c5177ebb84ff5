"""The store in one SQLite file."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from headway.sqlite import process
from headway.sqlite.opening import Durability
from headway.stores.sqlite.claims import Claims
from headway.stores.sqlite.jobs import Cache, Jobs
from headway.stores.sqlite.letters import Letters

__all__ = ["SqliteStore"]


class SqliteStore(Letters, Claims, Jobs, Cache):
    """Everything of `Store`, in the file at `path`; `clock`, `me` and `alive` are there for tests."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: Durability = "normal",
        create: bool = True,
        clock: Callable[[], float] = time.time,
        me: process.Process | None = None,
        alive: Callable[[int, str], bool] = process.alive,
    ) -> None:
        super().__init__(
            path, durability=durability, create=create, clock=clock, me=me or process.identity(), alive=alive
        )
