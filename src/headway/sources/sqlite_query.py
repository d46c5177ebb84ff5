"""Rows of a query over an SQLite file, which is opened for reading only."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from headway.errors import SourceError, UsageError
from headway.sources.model import Batch
from headway.sources.rows import digested_batches, query_fingerprint, unique_columns
from headway.sources.values import BrokenText

__all__ = ["SqliteQuery", "open_sqlite_query"]


@dataclass(frozen=True, slots=True)
class SqliteQuery:
    """A query over a database file; a Source. A row's number is its line."""

    path: Path
    query: str
    columns: tuple[str, ...]
    notes: tuple[str, ...] = ()
    resumable: bool = True

    @property
    def fingerprint(self) -> str:
        """Of path and query; what the rows are is checked by the digest in every position."""
        return query_fingerprint(self.reopen, self.query)

    @property
    def describe(self) -> str:
        """The file's name."""
        return f"a query over {self.path.name} (SQLite)"

    @property
    def reopen(self) -> str:
        """The URL with an absolute path."""
        return f"sqlite:///{self.path}"

    def batches(self, position: str | None = None) -> Iterator[Batch]:
        """The rows after `position`; raises SourceError if the query fails or gives other rows than before."""
        with closing(_connect(self.path)) as connection:
            try:
                rows = connection.execute(self.query)
                yield from digested_batches(self.columns, rows, position, self.describe)
            except sqlite3.Error as error:
                raise SourceError(f"{self.describe}: {error}") from error


def open_sqlite_query(url: str, query: str) -> SqliteQuery:
    """A query over the database at `sqlite:///relative.db` or `sqlite:////absolute.db`; raises SourceError."""
    place = url.removeprefix("sqlite:")
    if place.startswith("//") and not place.startswith("///"):
        raise UsageError(f"{url}: an SQLite URL has three slashes before a relative path, four before an absolute one")
    path = Path(place.removeprefix("///"))
    if not place.removeprefix("///"):
        raise UsageError(f"{url}: names no file: write sqlite:///file.db")
    if not path.is_file():
        raise SourceError(f"{path}: no such database file")
    with closing(_connect(path)) as connection:
        try:
            described = connection.execute(query).description
        except (sqlite3.Error, sqlite3.Warning) as error:
            raise SourceError(f"{path.name}: the query fails: {error}") from error
    if not described:
        raise SourceError(f"{path.name}: the query gives no columns: --query takes a SELECT")
    return SqliteQuery(path.absolute(), query, unique_columns([column[0] for column in described], path.name))


def _connect(path: Path) -> sqlite3.Connection:
    try:
        # A batch may be read in another thread than the one before, never in two at once.
        connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, check_same_thread=False)
    except sqlite3.Error as error:
        raise SourceError(f"{path.name}: cannot be opened: {error}") from error
    connection.text_factory = _decoded
    return connection


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return BrokenText(raw.decode("utf-8", "backslashreplace"))
