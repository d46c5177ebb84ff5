"""What SQLite complains about, in one line that says what happened, to which file, and what to do."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from headway.errors import UsageError

__all__ = ["explain", "translated"]

_ADVICE = {
    sqlite3.SQLITE_NOTADB: "is not an SQLite database: name another file",
    sqlite3.SQLITE_CORRUPT: "is damaged: restore it from a backup, or name another file to begin anew",
    sqlite3.SQLITE_READONLY: "cannot be written: allow writing to the file and its directory, or name another file",
    sqlite3.SQLITE_PERM: "may not be opened: allow reading and writing, or name another file",
    sqlite3.SQLITE_AUTH: "may not be opened: allow reading and writing, or name another file",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: allow reading and writing the file and its directory, or name another",
    sqlite3.SQLITE_FULL: "cannot grow, the disk is full: nothing was lost; free some space and go on",
    sqlite3.SQLITE_IOERR: "cannot be read or written, the disk reports an error: check the disk and its free space",
    sqlite3.SQLITE_BUSY: "is locked by another process: wait for it or end it, then go on",
    sqlite3.SQLITE_LOCKED: "is locked by another process: wait for it or end it, then go on",
    sqlite3.SQLITE_PROTOCOL: "is locked by another process: wait for it or end it, then go on",
}


def explain(error: sqlite3.Error, path: str) -> Exception:
    """The UsageError that says what is wrong with the file at `path`, or `error` itself if it is a fault of ours."""
    code = getattr(error, "sqlite_errorcode", None)  # absent on errors that Python itself raises
    advice = _ADVICE.get(code & 0xFF) if code is not None else None
    return error if advice is None else UsageError(f"{path} {advice} ({error})")


@contextmanager
def translated(conn: sqlite3.Connection, path: str = "") -> Iterator[None]:
    """Run the body; what SQLite complains about comes out as UsageError. `path` is looked up when not given."""
    try:
        yield
    except sqlite3.Error as error:
        told = explain(error, path or _path(conn))
        if told is error:
            raise
        raise told from error


def _path(conn: sqlite3.Connection) -> str:
    try:
        return next((file for _, name, file in conn.execute("PRAGMA database_list") if name == "main"), "")
    except sqlite3.Error:
        return "the database"
