"""From `--store` to a store."""

from __future__ import annotations

import os

from headway.sqlite.opening import Durability
from headway.stores.interface import Store
from headway.urls import open_url

__all__ = ["open_store"]


def open_store(url: str | os.PathLike[str], durability: Durability = "normal", *, create: bool = True) -> Store:
    """Open the store at a path or URL (`sqlite:///relative.db`, `sqlite:////absolute.db`), creating a missing one.

    `create=False` refuses a missing one, for commands that only look. Raises UsageError (unknown kind, not a store, not
    writable) and StateVersionError (of a newer Headway).
    """
    from headway.stores.sqlite.store import SqliteStore

    return SqliteStore(str(open_url(url, "--store").path), durability=durability, create=create)
