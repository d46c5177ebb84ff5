"""Shared state in one SQLite file of this user: every process of the machine, whatever its working directory.

Rules:
* One IMMEDIATE transaction per exchange, for all limits it names.
* The keeper's clock goes on by the monotonic clock within a boot and by the wall clock over one; it never goes back.
* A process that uses the file holds a shared lock on its folder. State that is not there, while nobody else holds
  that lock, was never there or belonged to the dead: one probe may go. Otherwise it was lost under the living.
* A holder whose process has ended is known by pid and start time, without waiting for its lease.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import sqlite3
import sys
import threading
import time
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from headway.errors import UsageError
from headway.limiter.state.backend import Request
from headway.limits.sharing.lots import LotAnswer, LotAsk, LotPool, exchange_lot
from headway.limits.sharing.places import Answer, Ask, Pool, exchange
from headway.sqlite import process
from headway.sqlite.opening import Schema, immediate, open_database

__all__ = ["SQLiteBackend"]

_SCHEMA = Schema("limiter state", files("headway.limiter.state") / "migrations", 0x48574C53)


def _boot_id() -> str:
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    # Elsewhere the moment of the boot, to the minute, tells one boot from another.
    return f"boot-{(time.time_ns() - time.monotonic_ns()) // 60_000_000_000}"


class SQLiteBackend:
    """Keeps shared state in a SQLite file; the connection is opened when first needed and after a loss."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._connection: sqlite3.Connection | None = None
        self._inode: tuple[int, int] | None = None
        self._folder: int | None = None
        self._boot = _boot_id()
        self._lock = threading.Lock()

    def exchange(self, requests: Sequence[Request]) -> list[Answer | LotAnswer]:
        """Answer all requests in one transaction; UsageError when the file cannot be used."""
        with self._lock:
            first = self._first()
            try:
                connection = self._open()
                with immediate(connection):
                    now, suspect = self._now(connection, first=first)
                    return [self._one(connection, request, now, suspect) for request in requests]
            except (sqlite3.Error, UsageError) as error:
                self._forget()
                if isinstance(error, UsageError):
                    raise
                raise UsageError(
                    f"shared limits in {self._path} are out of reach ({error}): check the file and its folder, or name "
                    "another with --state or HEADWAY_STATE"
                ) from error
            finally:
                self._hold_folder()

    def check(self) -> None:
        """Open the file; raises UsageError or StateVersionError when it cannot be used."""
        self.exchange(())

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._forget()
            if self._folder is not None:
                os.close(self._folder)
                self._folder = None

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None and self._inode != _inode(self._path):
            self._forget()  # the file was replaced under us
        if self._connection is None:
            self._connection = open_database(self._path, _SCHEMA)
            self._inode = _inode(self._path)
        return self._connection

    def _forget(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
        self._connection = None

    def _first(self) -> bool:
        """Whether no living process, this one included, has used state in this folder."""
        if self._folder is not None or sys.platform == "win32":
            return False
        import fcntl

        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            probe = os.open(self._path.parent, os.O_RDONLY)
        except OSError as error:
            raise UsageError(
                f"cannot use the folder {self._path.parent} for shared limits: {error.strerror or error}; name another "
                "file with --state or HEADWAY_STATE"
            ) from error
        try:
            fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        finally:
            os.close(probe)
        return True

    def _hold_folder(self) -> None:
        if self._folder is None and sys.platform != "win32":
            import fcntl

            with contextlib.suppress(OSError):
                self._folder = os.open(self._path.parent, os.O_RDONLY | os.O_CLOEXEC)
                fcntl.flock(self._folder, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def _now(self, connection: sqlite3.Connection, *, first: bool) -> tuple[int, int]:
        """The keeper's time, and when the file was made anew under living processes, 0 if it was not.

        Called under the transaction's lock.
        """
        monotonic, wall = time.monotonic_ns(), time.time_ns()
        row = connection.execute("SELECT boot, monotonic, wall, now, suspect FROM clock WHERE id = 1").fetchone()
        if row is None:
            now = 1
            suspect = 0 if first else now
        else:
            boot, then, wall_then, now, suspect = row
            now += max(0, monotonic - then if boot == self._boot else wall - wall_then)
        connection.execute(
            "INSERT INTO clock (id, boot, monotonic, wall, now, suspect) VALUES (1, ?, ?, ?, ?, ?) "
            "ON CONFLICT (id) DO UPDATE SET boot = excluded.boot, monotonic = excluded.monotonic, "
            "wall = excluded.wall, now = excluded.now",
            (self._boot, monotonic, wall, now, suspect),
        )
        return now, suspect

    def _one(self, connection: sqlite3.Connection, request: Request, now: int, suspect: int) -> Answer | LotAnswer:
        row = connection.execute("SELECT body FROM pools WHERE key = ?", (request.key,)).fetchone()
        body = None if row is None else json.loads(row[0])
        answer: Answer | LotAnswer
        if isinstance(request.ask, LotAsk):
            lots = None if body is None else LotPool(**body)
            dead = {name for name in (lots.lots if lots else ()) if _is_dead(name)}
            lots, answer = exchange_lot(lots, request.amount, request.ask, now, dead=dead, first=not suspect)
            written = json.dumps({name: getattr(lots, name) for name in LotPool.__slots__})
        else:
            assert request.keeping is not None
            settled = suspect + request.keeping.ttl + request.keeping.linger + request.keeping.per
            written, answer = self._places(body, request, request.ask, now, first=not suspect or now > settled)
        connection.execute(
            "INSERT INTO pools (key, body) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET body = excluded.body",
            (request.key, written),
        )
        return answer

    @staticmethod
    def _places(
        body: dict[str, object] | None, request: Request, ask: Ask, now: int, *, first: bool
    ) -> tuple[str, Answer]:
        assert request.keeping is not None
        pool = None if body is None else Pool(**body)  # type: ignore[arg-type]  # written by the line below
        if pool is not None:
            pool.cool = [(at, places) for at, places in pool.cool]
            pool.holders = {name: (a, b, c) for name, (a, b, c) in pool.holders.items()}
        dead = {name for name in (pool.holders if pool else ()) if _is_dead(name)}
        pool, answer = exchange(pool, request.keeping, ask, now, new_epoch=secrets.token_hex(8), dead=dead, first=first)
        return json.dumps({name: getattr(pool, name) for name in Pool.__slots__}), answer


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _is_dead(holder: str) -> bool:
    pid, _, rest = holder.partition(":")
    return not process.alive(int(pid), rest.rpartition(":")[0])
