"""From what the user names to a Source: by URL, else by content, else by the name's ending."""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import BinaryIO

from headway.errors import SourceError, UsageError
from headway.sources.delimited import open_delimited
from headway.sources.files import File, inspect
from headway.sources.iterables import open_rows
from headway.sources.model import Source
from headway.sources.spool import spooled

__all__ = ["open_source"]

_URL = re.compile(r"(?:(sqlite|postgres|postgresql):|([a-z][a-z0-9+.-]+)://)", re.IGNORECASE)
_JSON = frozenset((".jsonl", ".ndjson", ".json"))
_DELIMITED = frozenset((".csv", ".tsv", ".tab", ".txt", ".psv"))


def open_source(
    spec: str | os.PathLike[str] | Iterable[object],
    *,
    encoding: str | None = None,
    delimiter: str | None = None,
    query: str | None = None,
    spool: Path | None = None,
    stdin: BinaryIO | None = None,
) -> Source:
    """Open a path (CSV, JSON Lines, Parquet; gzip), `-`, a database's URL with `query`, or an iterable of dicts.

    `spool` is the directory that standard input and pipes are copied to (`stdin` replaces the process's own). Raises
    SourceError where the source cannot be read, UsageError for options that do not belong to it.
    """
    if not isinstance(spec, str | os.PathLike):
        _refuse(encoding=encoding, delimiter=delimiter, query=query, what="Python rows")
        return open_rows(spec)
    name = os.fspath(spec)
    url = _URL.match(name)
    if url is not None and not Path(name).exists():
        _refuse(encoding=encoding, delimiter=delimiter, what="a query")
        return _open_query((url[1] or url[2]).lower(), name, query)
    _refuse(query=query, what="a file")
    if name == "-":
        return _open_stream(stdin or sys.stdin.buffer, "standard input", encoding, delimiter, spool)
    if _is_pipe(name):
        with Path(name).open("rb") as stream:
            return _open_stream(stream, name, encoding, delimiter, spool)
    path = Path(name)
    if path.is_dir():
        raise SourceError(f"{name}: is a directory: name a file in it")
    return _open_file(inspect(path, path.name), path, encoding, delimiter)


def _open_query(scheme: str, url: str, query: str | None) -> Source:
    if scheme not in {"sqlite", "postgresql", "postgres"}:
        raise UsageError(f"{scheme}: is no source: name a file, sqlite:///file.db or postgresql://host/database")
    if not query or not query.strip():
        raise UsageError(f"{scheme}: needs a query: add --query 'SELECT …'")
    if scheme == "sqlite":
        from headway.sources.sqlite_query import open_sqlite_query

        return open_sqlite_query(url, query)
    from headway.sources.postgres_query import open_postgres_query

    return open_postgres_query(url, query)


def _open_stream(
    stream: BinaryIO, name: str, encoding: str | None, delimiter: str | None, spool: Path | None
) -> Source:
    if spool is None:
        raise UsageError(f"{name}: can be read only once: give a directory to keep a copy in, or write it to a file")
    path = spooled(stream, spool, name)
    try:
        return _open_file(inspect(path, name), PurePath(), encoding, delimiter)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _open_file(file: File, named: PurePath, encoding: str | None, delimiter: str | None) -> Source:
    ending = PurePath(named.stem).suffix.lower() if named.suffix.lower() == ".gz" else named.suffix.lower()
    if file.head.startswith(b"PAR1") or ending in {".parquet", ".pq"}:
        from headway.sources.parquet import open_parquet

        _refuse(encoding=encoding, delimiter=delimiter, what="a Parquet file")
        if file.packed:
            raise SourceError(f"{file.name}: is a Parquet file within gzip: unpack it first")
        return open_parquet(file)
    begin = file.head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if ending in _JSON or (ending not in _DELIMITED and delimiter is None and begin == b"{"):
        from headway.sources.jsonlines import open_json_lines

        _refuse(delimiter=delimiter, what="JSON Lines")
        return open_json_lines(file, encoding)
    return open_delimited(file, encoding, delimiter)


def _is_pipe(name: str) -> bool:
    try:
        mode = Path(name).stat().st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or stat.S_ISSOCK(mode)


def _refuse(*, what: str, **options: str | None) -> None:
    for option, value in options.items():
        if value is not None:
            raise UsageError(f"--{option} does not apply to {what}: leave it out")
