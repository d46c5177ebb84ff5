"""The file below a SQLite store, who holds it open, and its queries.

Rules:
* Every change is one IMMEDIATE transaction.
* A store object is used by one thread at a time.
* A lease belongs to a store object (`holder`) of a process. It is void when the process is dead, or when the process
  is this one and has closed that store.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Callable
from importlib import resources

from headway.errors import UsageError
from headway.sqlite import process
from headway.sqlite.opening import Durability, Schema, open_database
from headway.sqlite.queries import read_queries
from headway.sqlite.trouble import translated

__all__ = ["SCHEMA", "Database", "queries"]

_HERE = resources.files(__package__)

SCHEMA = Schema("records", _HERE / "migrations", application_id=0x48647752, page_size=8192)  # "HdwR"

_CACHE_KIB = 16_000
_CHECKPOINT_PAGES = 2_000  # 16 MB: loading rewrites no page twice, so that larger buys nothing
_WAL_BYTES = 64 * 2**20

_open_holders: set[str] = set()


def queries(name: str) -> dict[str, str]:
    """The queries of `sql/<name>.sql`."""
    return read_queries(_HERE / "sql" / f"{name}.sql")


_RUNS = queries("runs")


class Database:
    """A connection with what every part of the store needs: clock, identity, the numbers of runs."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: Durability,
        create: bool,
        clock: Callable[[], float],
        me: process.Process,
        alive: Callable[[int, str], bool],
    ) -> None:
        self.path = os.fspath(path)
        self._clock = clock
        self._me = me
        self._alive = alive
        self._host = process.host()
        self._holder = f"{me.pid}-{secrets.token_hex(6)}"
        self._numbers: dict[str, int] = {}
        self._loaded: set[int] = set()
        self._conn = open_database(path, SCHEMA, durability=durability, create=create)
        self._conn.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
        self._conn.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
        self._conn.execute(f"PRAGMA journal_size_limit={_WAL_BYTES}")
        _open_holders.add(self._holder)

    def close(self) -> None:
        """Close the file; what this store has claimed and not finished can be recovered from now on. Idempotent."""
        _open_holders.discard(self._holder)
        self._conn.close()

    def _number(self, run: str) -> int:
        """The run's number; raises UsageError for a run that is not there."""
        number = self._numbers.get(run)
        if number is None:
            with translated(self._conn):
                row = self._conn.execute(_RUNS["run_number"], (run,)).fetchone()
            if row is None:
                raise UsageError(f"there is no run {run!r} in {self.path}")
            number = self._numbers[run] = row[0]
        return number

    def _sendable(self, run: str) -> int:
        """The run's number, once its source has been read to the end; raises UsageError before."""
        number = self._number(run)
        if number not in self._loaded:
            if not self._conn.execute(_RUNS["run_number"], (run,)).fetchone()[1]:
                raise UsageError(f"run {run} has not been read to its end: load the rest first")
            self._loaded.add(number)
        return number

    def _void(self, pid: int, start: str, host: str, holder: str) -> bool:
        """Whether the holder of a lease or lock is certainly gone."""
        if host != self._host:
            return False
        if (pid, start) == self._me:
            return holder not in _open_holders
        return not self._alive(pid, start)

    def _execute(self, sql: str, *parameters: object) -> sqlite3.Cursor:
        return self._conn.execute(sql, parameters)
