"""SQL expressions over the columns of a row, evaluated by DuckDB for a batch at a time.

Rules:
* An expression sees one row: no sub-select, window, aggregate or star; and neither files nor the network.
* Every column is text in an expression (nested values as JSON text): `amount::DOUBLE * 2`, `address->>'$.city'`.
* What is wrong with an expression is found before the first row; what is wrong with a row costs that row.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from headway.errors import MappingError
from headway.sources import duck
from headway.sources.nearest import did_you_mean

if TYPE_CHECKING:
    import duckdb

__all__ = ["Evaluated", "Expressions", "Fault"]

_FORBIDDEN = {
    "SUBQUERY": "a sub-select",
    "WINDOW": "a window function",
    "STAR": "a star",
    "PARAMETER": "a parameter",
    "POSITIONAL_REFERENCE": "a column by number",
    "DEFAULT": "DEFAULT",
}
_UNKNOWN = re.compile(r'column "([^"]+)" not found', re.IGNORECASE)
_PLACE = re.compile(r" when casting from source column \w+| \(?LINE \d+.*", re.DOTALL)

Evaluated = tuple[object, ...]
_Texts = Sequence[Sequence[str | None]]


class Fault(str):
    """Why a row has no values: what DuckDB says of it."""

    __slots__ = ()


class Expressions:
    """Compiled expressions; `close` when done (idempotent). Not for use by several threads at once."""

    def __init__(self, named: Mapping[str, str], columns: Sequence[str]) -> None:
        """`named`: expression by destination name. Raises MappingError for what is wrong with one."""
        self._engine = duck.connect(files=False)
        try:
            used: set[str] = set()
            for name, sql in named.items():
                used |= _columns_used(self._engine, name, sql, columns)
            self.uses = tuple(column for column in columns if column in used)
            self._rendered = [_compiled(self._engine, name, sql, columns) for name, sql in named.items()]
        except BaseException:
            self._engine.close()
            raise
        # One JSON text of columns is the fastest way in that DuckDB 1.4 and 2.0 share: lists as parameters take
        # 0.5 ms a value in 1.4. A column that is not used does not travel.
        shape = json.dumps({"n": "BIGINT"} | {f"c{at}": ["VARCHAR"] for at in range(len(self.uses))})
        spread = ", ".join(f"unnest(row.c{at}) AS {duck.quoted(name)}" for at, name in enumerate(self.uses))
        given = f"SELECT from_json(?::VARCHAR, {_text(shape)}) AS row"
        rows = f"SELECT {spread} FROM ({given})" if spread else f"SELECT 1 AS n FROM ({given}), range(row.n)"  # noqa: S608  # quoted
        chosen = ", ".join(each.sql for each in self._rendered)
        failing = " OR ".join(f"TRY([{each.sql}]) IS NULL" for each in self._rendered)
        self._probe = f"SELECT {failing} FROM ({rows})"  # noqa: S608  # the same
        self._query = f"SELECT {chosen} FROM ({rows})"  # noqa: S608  # the caller's own expressions, checked above
        self._encode = msgspec.json.Encoder().encode

    def close(self) -> None:
        """Give the engine's memory back."""
        self._engine.close()

    def evaluate(self, rows: Sequence[Mapping[str, object]]) -> list[Evaluated | Fault]:
        """The expressions' values for every row, in their order, or why a row has none."""
        texts = [[_as_text(row.get(name)) for row in rows] for name in self.uses]
        try:
            return self._checked(self._run(self._query, texts, len(rows))) if rows else []
        except duck.error_type():
            return self._apart(texts, len(rows))

    def _apart(self, texts: _Texts, count: int) -> list[Evaluated | Fault]:
        """Rows at fault found by one query, and why each is by one more; the others at once."""
        try:
            wrong = [bool(row[0]) for row in self._run(self._probe, texts, count)]
        except duck.error_type():  # an expression that TRY does not take
            return self._halves(texts, 0, count)
        sound = [[text for text, bad in zip(column, wrong, strict=True) if not bad] for column in texts]
        good = iter(self._halves(sound, 0, count - sum(wrong)))
        return [self._halves(texts, at, at + 1)[0] if bad else next(good) for at, bad in enumerate(wrong)]

    def _halves(self, texts: _Texts, start: int, end: int) -> list[Evaluated | Fault]:
        """Evaluate a stretch at once; where that fails, both halves, until the rows at fault stand alone."""
        if start == end:
            return []
        try:
            return self._checked(self._run(self._query, [column[start:end] for column in texts], end - start))
        except duck.error_type() as error:
            if end - start == 1:
                return [Fault(_PLACE.sub("", duck.first_line(error)))]
            middle = (start + end) // 2
            return self._halves(texts, start, middle) + self._halves(texts, middle, end)

    def _checked(self, found: list[Evaluated]) -> list[Evaluated | Fault]:
        return [_faulty(row) or row for row in duck.finish(found, self._rendered)]

    def _run(self, query: str, texts: _Texts, count: int) -> list[Evaluated]:
        given: dict[str, object] = {f"c{at}": column for at, column in enumerate(texts)}
        given["n"] = count
        found = self._engine.execute(query, [self._encode(given).decode()]).fetchall()
        if len(found) != count:
            raise MappingError(f"--map: the expressions make {len(found)} rows of {count}: each must give one value")
        return found


def _as_text(value: object) -> str | None:
    """A value as an expression sees it: text; nested values as JSON."""
    if value is None or isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()


def _faulty(row: Evaluated) -> Fault | None:
    infinite = any(isinstance(value, float) and math.isinf(value) for value in row)
    return Fault("the value is infinite, which JSON cannot carry") if infinite else None


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _columns_used(engine: duckdb.DuckDBPyConnection, name: str, sql: str, columns: Sequence[str]) -> set[str]:
    """The columns that an expression names (perhaps some that it only seems to); refuses all but expressions."""
    found = engine.execute("SELECT json_serialize_sql(?::VARCHAR)", [f"SELECT {sql}\n"]).fetchone()
    tree: dict[str, Any] = json.loads(found[0]) if found else {"error": True}
    if tree["error"]:
        raise MappingError(f"--map: {name}={sql}: {duck.first_line(ValueError(tree.get('error_message', '')))}")
    node = tree["statements"][0].get("node", {})
    chosen = node.get("select_list", ())
    more = any(node.get(part) for part in ("where_clause", "group_expressions", "having", "qualify", "modifiers"))
    if len(tree["statements"]) != 1 or len(chosen) != 1 or more or node["from_table"]["type"] != "EMPTY":
        raise MappingError(f"--map: {name}={sql}: is not one expression: write name=expression, parted by commas")
    if chosen[0].get("alias"):
        raise MappingError(f"--map: {name}={sql}: leave AS out: the property's name stands before =")
    known = {column.lower(): column for column in columns}
    used: set[str] = set()
    todo: list[object] = [chosen[0]]
    while todo:
        part = todo.pop()
        if isinstance(part, list):
            todo += part
        elif isinstance(part, dict):
            _refuse_foreign(part, name, sql)
            if part.get("class") == "COLUMN_REF":
                used |= {known[each.lower()] for each in part["column_names"] if each.lower() in known}
            todo += part.values()
    return used


def _refuse_foreign(part: Mapping[str, object], name: str, sql: str) -> None:
    what = _FORBIDDEN.get(str(part.get("class")))
    if part.get("class") == "FUNCTION" and part.get("function_name") in {"unnest", "unlist"}:
        what = "unnest, which makes rows"
    if what is not None:
        raise MappingError(f"--map: {name}={sql}: {what} cannot be used: an expression sees one row")


def _compiled(engine: duckdb.DuckDBPyConnection, name: str, sql: str, columns: Sequence[str]) -> duck.Rendered:
    """The expression with its value made one that JSON has; raises MappingError as DuckDB sees it."""
    given = ", ".join(f"NULL::VARCHAR AS {duck.quoted(column)}" for column in columns) or "1"
    nothing = f"FROM (SELECT {given}) WHERE false"
    try:
        described = engine.execute(f"DESCRIBE SELECT (\n{sql}\n) AS value {nothing}").fetchone()
        compiled = duck.rendered(f"(\n{sql}\n)", str(described[1]) if described else "VARCHAR")
        count = len(engine.execute(f"SELECT {compiled.sql} {nothing}").fetchall())
    except duck.error_type() as error:
        unknown = _UNKNOWN.search(str(error))
        if unknown:
            raise MappingError(f"--map: {name}={sql}: the source has no column {unknown[1]!r}"
                               f"{did_you_mean(unknown[1], columns)}") from error  # fmt: skip
        raise MappingError(f"--map: {name}={sql}: {duck.first_line(error)}") from error
    if count:
        raise MappingError(f"--map: {name}={sql}: an aggregate cannot be used: an expression sees one row")
    return compiled
