"""A database file of ours that cannot be read any more: moved aside, never deleted.

Rules:
* Only what is ours is moved: a file that was used under this name before, or that begins like a database, or at least
  is named like one and is no text. A text that was named by mistake, or another program's file, stays where it is.
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
        if not ours and not _like_a_database(path, os.pread(handle, 4096, 0)):
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


def _like_a_database(path: Path, head: bytes) -> bool:
    if head.startswith(_MAGIC):
        return True
    return path.suffix in {".db", ".sqlite", ".sqlite3"} and any(byte < 9 or byte == 0x7F for byte in head)


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
