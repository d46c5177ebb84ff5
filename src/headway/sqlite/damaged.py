"""A database file of ours that cannot be read any more: moved aside, never deleted.

Rules:
* Only what is ours is moved: a file that was used under this name before, or that is named and begins like a database.
  Another program's file, or a text that was named by mistake, stays where it is.
* Two processes that find the same damage move one file: the second sees that another stands in its place.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from contextlib import suppress
from pathlib import Path

__all__ = ["is_damage", "move_aside"]

_MAGIC = b"SQLite format 3\0"
_CODES = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}


def is_damage(error: BaseException | None) -> bool:
    """Whether SQLite, or what an error of ours was made from, says that the file is no database or a broken one."""
    while error is not None:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _CODES:
            return True
        error = error.__cause__
    return False


def move_aside(path: Path, *, ours: bool) -> Path | None:
    """Rename the damaged file, its log first; returns its new name, None if it is not ours or no longer there."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        if not (ours or path.suffix in {".db", ".sqlite", ".sqlite3"} or os.pread(handle, 16, 0) == _MAGIC):
            return None
        _lock(handle)
        if path.stat().st_ino != os.fstat(handle).st_ino:
            return None
        aside = _free_name(path)
        for end in ("-wal", "-shm"):  # a log that stayed would be read into the next file
            with suppress(FileNotFoundError):
                Path(f"{path}{end}").rename(f"{aside}{end}")
        path.rename(aside)
    except OSError:
        return None
    else:
        return aside
    finally:
        os.close(handle)


def _lock(handle: int) -> None:
    if sys.platform != "win32":
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX)


def _free_name(path: Path) -> Path:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    name = path.with_name(f"{path.name}.damaged-{stamp}")
    more = 1
    while name.exists():
        more += 1
        name = path.with_name(f"{path.name}.damaged-{stamp}-{more}")
    return name
