"""Opening a database file of ours: who may read it, how safely it writes, and which version it has.

Rules:
* A connection is in autocommit mode; whoever changes more than one row does so within `immediate`. A read that turns
  into a write inside a deferred transaction fails at once, busy timeout or not, so there are none.
* Nobody but the owner may read a file of ours, its write-ahead log included.
* A file that is not ours, or that a newer Headway wrote, is left exactly as it was.
* A migration is one transaction that looks at the version again under the write lock: two processes that open an old
  file at once migrate it once.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Literal

from headway.errors import StateVersionError, UsageError
from headway.sqlite.trouble import explain, translated

__all__ = ["Durability", "Schema", "immediate", "open_database"]

Durability = Literal["normal", "full"]
"""How safely SQLite writes: `full` survives a loss of power at every commit, `normal` may lose the last commits then.

Neither loses anything when only the process dies.
"""

_OLDEST = (3, 37, 0)  # STRICT tables
_PRIVATE_FILE = 0o600
_PRIVATE_DIRECTORY = 0o700
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class Schema:
    """What a file of one kind holds.

    `name` says it in a word or two for messages ("records", "limiter state"); `migrations` is a directory of files
    `0001_what_it_does.sql`, numbered from 1 without a gap; `application_id` marks the files of this kind; `page_size`
    is that of new files, in bytes.
    """

    name: str
    migrations: Traversable
    application_id: int
    page_size: int = 4096

    def steps(self) -> list[str]:
        """The migrations' SQL, first to last."""
        files = sorted((f for f in self.migrations.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
        numbers = [int(f.name.partition("_")[0]) for f in files]
        assert numbers == list(range(1, len(files) + 1)), (
            f"migrations of {self.name} are not numbered from 1: {numbers}"
        )
        return [f.read_text(encoding="utf-8") for f in files]


def open_database(
    path: str | os.PathLike[str],
    schema: Schema,
    *,
    durability: Durability = "normal",
    busy_timeout: float = 30.0,
    create: bool = True,
) -> sqlite3.Connection:
    """Open the file at `path`, or create it (mode 0600, missing directories 0700), and bring it to this version.

    `busy_timeout` is how many seconds a transaction waits for another process's; `create=False` refuses a missing file.
    The connection may be used by any thread, by one at a time. Raises UsageError (not ours, not writable, no space,
    corrupt) and StateVersionError (of a newer Headway); the caller closes the connection.
    """
    if durability not in {"normal", "full"}:
        raise UsageError(f"unknown durability {durability!r}: choose normal or full")
    if sqlite3.sqlite_version_info < _OLDEST:
        raise UsageError(f"this Python brings SQLite {sqlite3.sqlite_version}, Headway needs 3.37: use a newer Python")
    file = Path(path)
    if create:
        _create(file, schema)
    elif not file.exists():
        raise UsageError(f"there is no file {file} with {schema.name}: name the right one, or begin with a first run")
    if file.is_dir():
        raise UsageError(f"{file} is a directory: name a file in it for the {schema.name}")
    try:
        conn = sqlite3.connect(file, timeout=busy_timeout, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise explain(error, str(file)) from error
    try:
        with translated(conn, str(file)):
            _prepare(conn, file, schema, durability, busy_timeout)
    except BaseException:
        conn.close()
        raise
    return conn


@contextmanager
def immediate(conn: sqlite3.Connection) -> Iterator[None]:
    """BEGIN IMMEDIATE … COMMIT, or ROLLBACK when the body raises; SQLite's troubles come out as UsageError."""
    with translated(conn):
        conn.execute("BEGIN IMMEDIATE")
        try:
            yield
            conn.execute("COMMIT")
        except BaseException:
            if conn.in_transaction:  # a full disk has rolled back already
                conn.execute("ROLLBACK")
            raise


@contextmanager
def _snapshot(conn: sqlite3.Connection) -> Iterator[None]:
    """Several reads of one state of the file."""
    conn.execute("BEGIN")
    try:
        yield
    finally:
        conn.execute("ROLLBACK")


def _create(file: Path, schema: Schema) -> None:
    """An empty file with the right mode, before SQLite can create one with the umask's."""
    try:
        missing = [d for d in file.absolute().parents if not d.exists()]
        for directory in reversed(missing):
            with suppress(FileExistsError):  # another process was faster
                directory.mkdir(mode=_PRIVATE_DIRECTORY)
        with suppress(FileExistsError):
            os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, _PRIVATE_FILE))
    except OSError as error:
        raise UsageError(f"cannot create {file} for the {schema.name}: {error.strerror or error}") from error


def _prepare(conn: sqlite3.Connection, file: Path, schema: Schema, durability: Durability, patience: float) -> None:
    steps = schema.steps()
    with _snapshot(conn):
        _check_ours(conn, file, schema, len(steps))
    _tighten(file, schema)
    conn.execute(f"PRAGMA page_size={schema.page_size:d}")  # does nothing to a file that has pages
    _write_ahead(conn, patience)
    conn.execute(f"PRAGMA synchronous={durability.upper()}")
    _migrate(conn, file, schema, steps)
    conn.execute("PRAGMA foreign_keys=ON")


def _check_ours(conn: sqlite3.Connection, file: Path, schema: Schema, known: int) -> None:
    found = int(_pragma(conn, "application_id"))
    version = int(_pragma(conn, "user_version"))
    if found not in {0, schema.application_id}:
        raise UsageError(f"{file} is another program's SQLite file, not {schema.name} of Headway: name another file")
    if found == 0 and (version or _pragma_tables(conn)):
        raise UsageError(f"{file} is an SQLite file with tables of its own, not {schema.name} of Headway: name another")
    if version > known:
        raise StateVersionError(
            f"{file} was written by a newer Headway ({schema.name} of version {version}, this one knows {known}): "
            "update Headway, or name another file"
        )


def _tighten(file: Path, schema: Schema) -> None:
    """Take away what others may do with the file: it holds people's addresses."""
    if os.name != "posix":
        return
    for each in (file, file.with_name(file.name + "-wal"), file.with_name(file.name + "-shm")):
        try:
            mode = each.stat().st_mode
            if mode & _OTHERS:
                each.chmod(stat.S_IMODE(mode) & ~_OTHERS)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise UsageError(
                f"{each} can be read by others (mode {stat.S_IMODE(mode):o}) and cannot be changed ({error.strerror}): "
                f"have its owner run chmod 600 on it, or name another file for the {schema.name}"
            ) from error


def _write_ahead(conn: sqlite3.Connection, patience: float) -> None:
    """Switch to the write-ahead log: readers never wait. The switch itself ignores the busy timeout, so it is tried."""
    until = time.monotonic() + patience
    while True:
        try:
            conn.execute("PRAGMA journal_mode=WAL").fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return


def _migrate(conn: sqlite3.Connection, file: Path, schema: Schema, steps: list[str]) -> None:
    for number, sql in enumerate(steps, 1):
        if int(_pragma(conn, "user_version")) >= number:
            continue
        with immediate(conn):
            _check_ours(conn, file, schema, len(steps))
            if int(_pragma(conn, "user_version")) >= number:
                continue  # another process did it while this one waited for the lock
            for statement in _statements(sql):
                conn.execute(statement)
            conn.execute(f"PRAGMA application_id={schema.application_id:d}")
            conn.execute(f"PRAGMA user_version={number:d}")


def _statements(script: str) -> Iterator[str]:
    """One statement after the other: `executescript` would commit the transaction that it is called in."""
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""
    assert not pending.strip() or all(part.lstrip().startswith("--") for part in pending.strip().splitlines()), (
        "a migration ends within a statement"
    )


def _pragma(conn: sqlite3.Connection, name: str) -> int:
    with closing(conn.execute(f"PRAGMA {name}")) as cursor:
        value: int = cursor.fetchone()[0]
    return value


def _pragma_tables(conn: sqlite3.Connection) -> bool:
    with closing(conn.execute("SELECT 1 FROM sqlite_master LIMIT 1")) as cursor:
        return cursor.fetchone() is not None
