"""Parquet, by DuckDB: streamed in batches, in the order of the file; a row's number is its line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

from headway.errors import SourceError
from headway.sources import duck
from headway.sources.blocks import LINES
from headway.sources.files import File
from headway.sources.model import Batch
from headway.sources.positions import read_rows_position, rows_position
from headway.sources.rows import taken_apart

__all__ = ["Parquet", "open_parquet"]

_FROM = "FROM read_parquet(?, hive_partitioning = false)"


@dataclass(frozen=True, slots=True)
class Parquet:
    """A Parquet file; a Source. `rendered` says per column how its value becomes one that JSON has."""

    file: File
    columns: tuple[str, ...]
    rendered: tuple[duck.Rendered, ...]
    total: int
    notes: tuple[str, ...]
    resumable: bool = True

    @property
    def fingerprint(self) -> str:
        """The file's."""
        return self.file.fingerprint

    @property
    def describe(self) -> str:
        """Name and rows."""
        return f"{self.file.name} (Parquet, {self.total:,} rows)"

    @property
    def reopen(self) -> str:
        """The absolute path."""
        return str(self.file.path)

    def batches(self, position: str | None = None) -> Iterator[Batch]:
        """The records after `position`; raises SourceError where the file cannot be read on or has changed."""
        done = 0 if position is None else read_rows_position(position)[0]
        chosen = ", ".join(each.sql for each in self.rendered)
        with closing(duck.connect(files=True)) as engine:
            try:
                engine.execute(f"SELECT {chosen} {_FROM} OFFSET {done}", [_literal(self.file)])
                while found := duck.finish(engine.fetchmany(LINES), self.rendered):
                    rows, bad = taken_apart(self.columns, found, done + 1)
                    done += len(found)
                    yield Batch(rows, bad, rows_position(done), min(1.0, done / max(1, self.total)))
            except duck.error_type() as error:
                raise _damaged(self.file, error) from error
        self.file.refuse_changed()


def open_parquet(file: File) -> Parquet:
    """Read the file's schema; raises SourceError where it is no Parquet file."""
    with closing(duck.connect(files=True)) as engine:
        try:
            described = engine.execute(f"DESCRIBE SELECT * {_FROM}", [_literal(file)]).fetchall()
            counted = engine.execute(f"SELECT count(*) {_FROM}", [_literal(file)]).fetchone()
        except duck.error_type() as error:
            raise _damaged(file, error) from error
    names = tuple(str(row[0]) for row in described)
    rendered = tuple(duck.rendered(duck.quoted(name), str(row[1])) for name, row in zip(names, described, strict=True))
    total = int(counted[0]) if counted else 0
    notes = () if total else (f"{file.name} has columns and no rows: there is nothing to send",)
    return Parquet(file, names, rendered, total, notes)


def _literal(file: File) -> str:
    """The path as DuckDB's own: a star or bracket in a name is not a pattern."""
    return re.sub(r"([*?\[])", r"[\1]", str(file.path))


def _damaged(file: File, error: Exception) -> SourceError:
    return SourceError(f"{file.name}: cannot be read as Parquet: {duck.first_line(error)}")
