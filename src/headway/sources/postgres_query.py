"""Rows of a query over PostgreSQL, by a server-side cursor in a read-only transaction. The module that imports psycopg.

The password of the URL is given to the driver and to nobody else: not to messages, not to the store. To resume, the
driver finds one in PGPASSWORD or ~/.pgpass.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from headway import redact
from headway.errors import SourceError, UsageError
from headway.sources.blocks import LINES
from headway.sources.model import Batch
from headway.sources.rows import digested_batches, query_fingerprint, unique_columns

if TYPE_CHECKING:
    import psycopg

__all__ = ["PostgresQuery", "open_postgres_query"]

_SECRET = frozenset(("password", "sslpassword", "passfile"))


@dataclass(frozen=True, slots=True)
class PostgresQuery:
    """A query over a PostgreSQL database; a Source. A row's number is its line."""

    url: str = field(repr=False)
    query: str
    columns: tuple[str, ...]
    notes: tuple[str, ...] = ()
    resumable: bool = True

    @property
    def fingerprint(self) -> str:
        """Of the URL without secrets and the query; what the rows are is checked by the digest in every position."""
        return query_fingerprint(self.reopen, self.query)

    @property
    def describe(self) -> str:
        """The URL without secrets."""
        return f"a query over {self.reopen}"

    @property
    def reopen(self) -> str:
        """The URL without secrets."""
        return _without_secrets(self.url)[0]

    def batches(self, position: str | None = None) -> Iterator[Batch]:
        """The rows after `position`; raises SourceError if the query fails or gives other rows than before."""
        with _cursor(self.url, self.query) as cursor:
            yield from digested_batches(self.columns, cursor, position, self.describe)


def open_postgres_query(url: str, query: str) -> PostgresQuery:
    """A query over the database at `postgresql://…`; raises SourceError where it cannot be reached or asked."""
    name = _without_secrets(url)[0]
    with _cursor(url, query) as cursor:
        described = [column.name for column in cursor.description or ()]
    if not described:
        raise SourceError(f"{name}: the query gives no columns: --query takes a SELECT")
    return PostgresQuery(url, query, unique_columns(described, name))


@contextmanager
def _cursor(url: str, query: str) -> Iterator[psycopg.ServerCursor[tuple[Any, ...]]]:
    try:
        import psycopg
    except ImportError as error:
        raise UsageError("postgresql:// needs psycopg: pip install 'headway[postgres]'") from error
    name, secrets = _without_secrets(url)
    try:
        with psycopg.connect(url, connect_timeout=15, application_name="headway") as connection:
            connection.read_only = True
            connection.execute("SET TIME ZONE 'UTC'")
            with connection.cursor(name="headway") as cursor:
                cursor.itersize = LINES
                cursor.execute(query.rstrip().rstrip(";").encode())
                yield cursor
    except psycopg.Error as error:
        said = " ".join(str(error).split())
        for secret in secrets:  # whatever its length; redact passes over short ones
            said = said.replace(secret, redact.MASK)
        hint = ": give the password by PGPASSWORD or ~/.pgpass" if "password" in said else ""
        raise SourceError(f"{name}: {redact.text(said)}{hint}") from None  # the cause would carry the URL along


def _without_secrets(url: str) -> tuple[str, list[str]]:
    """The URL as it may be shown, and what must not be shown."""
    try:
        parts = urlsplit(url)
        user, _, host = parts.netloc.rpartition("@")
        name, _, password = user.partition(":")
        options = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError as error:
        raise UsageError("the URL of the database cannot be read: write postgresql://user@host/database") from error
    secrets = [value for option, value in options if option in _SECRET]
    redact.register(*secrets, password, unquote(password))
    shown = urlencode([each for each in options if each[0] not in _SECRET])
    found = {each for each in (*secrets, password, unquote(password), url) if each}
    return urlunsplit(parts._replace(netloc=f"{name}@{host}" if name else host, query=shown)), sorted(found, key=len)[
        ::-1
    ]
