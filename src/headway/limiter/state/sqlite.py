"""Shared state in one SQLite file of this user: every process of the machine, whatever its working directory.

Rules:
* One IMMEDIATE transaction per exchange, for all limits it names.
* The keeper's clock goes on by the monotonic clock within a boot and by the wall clock over one; it never goes back.
* State that is not there, while no living process uses this file, was never there or belonged to the dead: one probe
  may go. Otherwise it was lost under the living. A file that cannot be read is moved aside, and its state was lost.
* A holder whose process has ended is known by pid and start time, on this machine, without waiting for its lease.
* The schema stays as it is: a file belongs to its user, and an older Headway may work on it at the same time.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import sqlite3
import threading
import time
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from headway.errors import StateVersionError, UsageError
from headway.limits.sharing.exchange import AnyAnswer, Request, exchange, keys
from headway.sqlite import damaged, process
from headway.sqlite.inuse import InUse
from headway.sqlite.opening import Schema, immediate, open_database

__all__ = ["SQLiteBackend"]

_SCHEMA = Schema("limiter state", files("headway.limiter.state") / "migrations", 0x48574C53)

_log = logging.getLogger("headway")


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
        self._in_use = InUse(self._path)
        self._moved = False  # its state was lost, whoever lives
        self._emptied = False
        self._notices: list[str] = []
        self._boot = _boot_id()
        self._lock = threading.Lock()

    def exchange(self, requests: Sequence[Request], patience: float = 30.0) -> list[AnyAnswer]:
        """Answer all requests in one transaction; UsageError when the file cannot be used, or not in time."""
        if not self._lock.acquire(timeout=patience):
            raise UsageError(f"shared limits in {self._path} are busy")
        until = time.monotonic() + patience
        try:
            return self._mended(requests, until)
        except (sqlite3.Error, OSError) as error:
            self._forget()
            raise UsageError(
                f"shared limits in {self._path} are out of reach ({error}): check the file and its folder, or name "
                "another with --state or HEADWAY_STATE"
            ) from error
        except UsageError:
            self._forget()
            raise
        finally:
            if self._connection is not None:
                self._in_use.hold()
            self._lock.release()

    def notices(self) -> list[str]:
        """What the user should know and was not told yet."""
        found, self._notices = self._notices, []
        return found

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._forget()
            self._in_use.release()

    def _mended(self, requests: Sequence[Request], until: float) -> list[AnyAnswer]:
        """Exchange; where the file is damaged, with a new one in its place."""
        try:
            return self._exchange(requests, until)
        except (sqlite3.Error, UsageError) as error:
            self._forget()
            if isinstance(error, StateVersionError) or not damaged.is_damage(error):
                raise
            aside = damaged.move_aside(self._path, ours=self._in_use.known)
            if aside is not None:
                self._moved = True
                said = (
                    f"the file of shared limits {self._path} was damaged and is now {aside.name}; what it held counts "
                    "as lost, so calls may wait until it could be used again at the latest"
                )
                self._notices.append(said)
                _log.warning("%s", said)
        return self._exchange(requests, until)

    def _exchange(self, requests: Sequence[Request], until: float) -> list[AnyAnswer]:
        connection = self._open(until)
        connection.execute(f"PRAGMA busy_timeout={max(1, int((until - time.monotonic()) * 1000))}")
        with immediate(connection):
            now, wall, lost_at = self._now(connection)
            bodies: dict[str, str | None] = {}
            for key in keys(requests):
                row = connection.execute("SELECT body FROM pools WHERE key = ?", (key,)).fetchone()
                bodies[key] = None if row is None else row[0]
            written, answers = exchange(
                bodies, requests, now, wall, new_epoch=secrets.token_hex(8), dead=_Dead(), lost_at=lost_at
            )
            connection.executemany(
                "INSERT INTO pools (key, body) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET body = excluded.body",
                written.items(),
            )
        self._moved = False
        return answers

    def _open(self, until: float) -> sqlite3.Connection:
        if self._connection is not None and self._inode != _inode(self._path):
            self._forget()  # the file was replaced under us
        if self._connection is None:
            patience = max(0.05, until - time.monotonic())
            # A file with something in it, but without a clock, that was in use before: what was in it is gone.
            self._emptied = self._in_use.known and self._path.exists() and self._path.stat().st_size > 0
            self._connection = open_database(self._path, _SCHEMA, busy_timeout=patience)
            self._inode = _inode(self._path)
        return self._connection

    def _forget(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
        self._connection = None

    def _now(self, connection: sqlite3.Connection) -> tuple[int, int, int]:
        """The keeper's two clocks, and when by the first its state was lost under the living, 0 if it was not.

        Called under the transaction's lock: who finds no clock makes it, and only then says that the file is in use.
        """
        monotonic, wall = time.monotonic_ns(), time.time_ns()
        row = connection.execute("SELECT boot, monotonic, wall, now, suspect FROM clock WHERE id = 1").fetchone()
        if row is None:
            now = 1
            lost_at = now if self._moved or self._emptied or self._in_use.by_anybody() else 0
        else:
            boot, then, wall_then, now, lost_at = row
            now += max(0, monotonic - then if boot == self._boot else wall - wall_then)
        connection.execute(
            "INSERT INTO clock (id, boot, monotonic, wall, now, suspect) VALUES (1, ?, ?, ?, ?, ?) "
            "ON CONFLICT (id) DO UPDATE SET boot = excluded.boot, monotonic = excluded.monotonic, "
            "wall = excluded.wall, now = excluded.now",
            (self._boot, monotonic, wall, now, lost_at),
        )
        return now, wall, lost_at


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


class _Dead:
    """Whether a holder's process has ended; each process is looked at once an exchange, this one never."""

    def __init__(self) -> None:
        pid, start = process.identity()
        self._known = {f"{pid}:{start}": False}

    def __call__(self, holder: str) -> bool:
        who = holder.rpartition(":")[0]
        found = self._known.get(who)
        if found is None:
            found = self._known[who] = not process.holder_alive(holder)
        return found
