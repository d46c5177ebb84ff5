"""From `--store` to a store."""

from __future__ import annotations

import os

from headway.errors import UsageError
from headway.sqlite.opening import Durability
from headway.stores.interface import Store

__all__ = ["open_store"]


def open_store(url: str | os.PathLike[str], durability: Durability = "normal", *, create: bool = True) -> Store:
    """Open the store at a path or URL (`sqlite:///relative.db`, `sqlite:////absolute.db`), creating a missing one.

    `create=False` refuses a missing one, for commands that only look. Raises UsageError (unknown kind, not a store, not
    writable) and StateVersionError (of a newer Headway).
    """
    from headway.stores.sqlite.store import SqliteStore

    text = os.fspath(url)
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "sqlite", "/" + text
    if scheme != "sqlite":
        raise UsageError(f"no store of kind {scheme!r}: give a path, or sqlite:///path")
    path = rest.removeprefix("/")
    if not rest.startswith("/") or not path:
        raise UsageError(f"{text}: a store's file is missing, write sqlite:///relative.db or sqlite:////absolute.db")
    return SqliteStore(path, durability=durability, create=create)
