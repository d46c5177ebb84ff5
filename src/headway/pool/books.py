"""Where a pool keeps its tasks: in memory, or in a file that outlives the process.

Rules:
* A task is in the file before `submit` returns, and out of it only when it was delivered.
* It is marked before its handler is called: after a crash it is known that its outcome is unknown.
* One process works on one pool of a file at a time, held by a lock that dies with the process.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Protocol

from headway.errors import RunLocked, UsageError
from headway.pool.model import DeadTask, Entry
from headway.sqlite.opening import Schema, immediate, open_database
from headway.sqlite.queries import read_queries
from headway.urls import open_url

__all__ = ["Books", "FileBooks", "MemoryBooks"]

_SCHEMA = Schema("pool of tasks", files("headway.pool") / "migrations", 0x4857504C)


class Books(Protocol):
    """What a pool asks of them; any thread may."""

    def add(self, entry: Entry) -> int: ...
    def lease(self, entry: Entry) -> None: ...
    def back(self, entry: Entry, error: str, message: str) -> None: ...
    def done(self, entry: Entry) -> None: ...
    def dead(self, entry: Entry, error: str, message: str) -> None: ...
    def unfinished(self) -> list[tuple[Entry, bool]]: ...
    def letters(self) -> list[DeadTask]: ...
    def revive(self, letters: Iterable[DeadTask]) -> None: ...
    def close(self) -> None: ...


class MemoryBooks:
    """Only dead letters need to be kept: what waits is in the pool's own queues."""

    def __init__(self) -> None:
        self._letters: dict[int, DeadTask] = {}
        self._next = 0
        self._lock = threading.Lock()

    def add(self, entry: Entry) -> int:
        del entry
        with self._lock:
            self._next += 1
            return self._next

    def lease(self, entry: Entry) -> None: ...
    def back(self, entry: Entry, error: str, message: str) -> None: ...
    def done(self, entry: Entry) -> None: ...

    def dead(self, entry: Entry, error: str, message: str) -> None:
        with self._lock:
            self._letters[entry.id] = DeadTask(
                entry.id, entry.task, entry.key, error, message, entry.retries, entry.attempts, time.time()
            )

    def unfinished(self) -> list[tuple[Entry, bool]]:
        return []

    def letters(self) -> list[DeadTask]:
        with self._lock:
            return list(self._letters.values())

    def revive(self, letters: Iterable[DeadTask]) -> None:
        with self._lock:
            for letter in letters:
                self._letters.pop(letter.id, None)

    def close(self) -> None: ...


class FileBooks:
    """A SQLite file; `name` keeps several pools of one file apart. Tasks must be what JSON can hold."""

    def __init__(self, path: str, name: str) -> None:
        self._path = open_url(path, "Pool's store").path.expanduser()
        self._name = name
        self._lock = threading.Lock()
        self._q = read_queries(files("headway.pool") / "queries.sql")
        self._db = open_database(self._path, _SCHEMA)
        try:
            self._held = _hold(self._path, name)
        except BaseException:
            self._db.close()
            raise

    def _do(self, query: str, *parameters: object) -> sqlite3.Cursor:
        with self._lock, immediate(self._db):
            return self._db.execute(self._q[query], parameters)

    def _all(self, query: str) -> list[tuple[object, ...]]:
        with self._lock:
            return self._db.execute(self._q[query], (self._name,)).fetchall()

    def add(self, entry: Entry) -> int:
        try:
            text = json.dumps(entry.task, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise UsageError(f"a durable pool keeps its tasks as JSON, and this one is none: {error}") from error
        made = self._do("add", self._name, entry.key, text, entry.priority, entry.cost, time.time()).lastrowid
        assert made is not None
        return made

    def lease(self, entry: Entry) -> None:
        self._do("lease", entry.attempts, entry.id)

    def back(self, entry: Entry, error: str, message: str) -> None:
        self._do("back", entry.attempts, entry.retries, error, message, entry.id)

    def done(self, entry: Entry) -> None:
        self._do("done", entry.id)

    def dead(self, entry: Entry, error: str, message: str) -> None:
        self._do("dead", entry.attempts, entry.retries, error, message, time.time(), entry.id)

    def unfinished(self) -> list[tuple[Entry, bool]]:
        return [
            (Entry(*_typed(row[:7])), row[7] == "leased")  # type: ignore[arg-type]
            for row in self._all("unfinished")
        ]

    def letters(self) -> list[DeadTask]:
        return [
            DeadTask(id_, json.loads(task), key, error, message, retries, attempts, at)  # type: ignore[arg-type]
            for id_, key, task, _, _, attempts, retries, error, message, at in self._all("letters")
        ]

    def revive(self, letters: Iterable[DeadTask]) -> None:
        with self._lock, immediate(self._db):
            self._db.executemany(self._q["revive"], [(letter.id,) for letter in letters])

    def close(self) -> None:
        with self._lock:
            self._db.close()
            os.close(self._held)


def _typed(row: tuple[object, ...]) -> tuple[object, ...]:
    id_, key, task, priority, cost, attempts, retries = row
    return id_, json.loads(str(task)), key, priority, cost, attempts, retries


def _hold(path: Path, name: str) -> int:
    """A lock that dies with this process; RunLocked where another holds it."""
    import fcntl

    safe = "".join(char if char.isalnum() or char in "-_" else "-" for char in name) or "pool"
    place = path.with_name(f"{path.name}.{safe}.lock")
    handle = os.open(place, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        with contextlib.suppress(OSError):
            who = os.pread(handle, 20, 0).decode(errors="replace").strip()
        os.close(handle)
        raise RunLocked(
            f"the pool {name!r} in {path} is being worked on by process {who or '?'}: let it end"
        ) from error
    os.ftruncate(handle, 0)
    os.pwrite(handle, str(os.getpid()).encode(), 0)
    return handle
