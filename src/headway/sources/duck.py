"""DuckDB: an engine in memory, and how its values become JSON values. The one module that imports duckdb.

Text, whole numbers, booleans and doubles stay what they are. Dates and times become ISO 8601 text, decimals the text
of all their digits, blobs base64, lists and structs JSON. NaN is no value; an infinity cannot travel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from headway.errors import UsageError

if TYPE_CHECKING:
    import duckdb

__all__ = ["Rendered", "connect", "error_type", "finish", "first_line", "quoted", "rendered"]

_AS_IS = frozenset(
    ("VARCHAR", "BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")
)
_NESTED = ("STRUCT", "MAP", "UNION", "JSON", "VARIANT")


@dataclass(frozen=True, slots=True)
class Rendered:
    """An expression whose value travels: its SQL, and what is left to do in Python ('', 'number' or 'json')."""

    sql: str
    rest: str = ""


def connect(*, files: bool) -> duckdb.DuckDBPyConnection:
    """An empty engine in memory on one thread; without `files`, expressions can reach neither disk nor network.

    No extension is ever downloaded, no Python variable can be read as a table, no setting changed afterwards.
    """
    try:
        import duckdb
    except ImportError as error:
        raise UsageError("Parquet and expressions in --map need DuckDB: pip install 'headway[sync]'") from error

    settings: dict[str, str | bool | int | float | list[str]] = {
        "threads": "1",
        "enable_external_access": "true" if files else "false",
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
    }
    if not files:  # a Parquet file needs as much as its largest row group; an expression over 2,000 rows needs little
        settings["memory_limit"] = "256MB"
    connection = duckdb.connect(":memory:", config=settings)
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET python_enable_replacements = false")
    connection.execute("SET lock_configuration = true")
    return connection


def error_type() -> type[Exception]:
    """The root of DuckDB's errors."""
    import duckdb

    return duckdb.Error


def quoted(name: str) -> str:
    """An identifier in double quotes."""
    return '"' + name.replace('"', '""') + '"'


def rendered(sql: str, kind: str) -> Rendered:
    """An expression of a DuckDB type, so that its value is one that JSON has."""
    if kind in _AS_IS:
        return Rendered(sql)
    if kind == "DOUBLE":
        return Rendered(sql, "number")
    if kind == "FLOAT":  # by way of its text: 0.1 stays 0.1 and does not become 0.10000000149
        return Rendered(f"CAST(CAST({sql} AS VARCHAR) AS DOUBLE)", "number")
    if kind == "BLOB":
        return Rendered(f"to_base64({sql})")
    if kind.endswith("]") or kind.startswith(_NESTED):
        return Rendered(f"CAST(to_json({sql}) AS VARCHAR)", "json")
    if kind == "TIMESTAMP WITH TIME ZONE":  # by way of UTC: the cast of the type itself needs a zone's rules
        return Rendered(f"replace(CAST(make_timestamp(epoch_us({sql})) AS VARCHAR), ' ', 'T') || 'Z'")
    if kind.startswith("TIMESTAMP"):
        return Rendered(f"replace(CAST({sql} AS VARCHAR), ' ', 'T')")
    return Rendered(f"CAST({sql} AS VARCHAR)")


def finish(rows: list[tuple[object, ...]], what: Sequence[Rendered]) -> list[tuple[object, ...]]:
    """Do in Python what SQL could not. An infinity stays one: whoever reads the rows refuses it."""
    rest = [(at, each.rest) for at, each in enumerate(what) if each.rest]
    if not rest:
        return rows
    done: list[tuple[object, ...]] = []
    for row in rows:
        values = list(row)
        for at, todo in rest:
            value = values[at]
            if todo == "json" and isinstance(value, str):
                values[at] = msgspec.json.decode(value)
            elif isinstance(value, float) and math.isnan(value):
                values[at] = None
        done.append(tuple(values))
    return done


def first_line(error: Exception) -> str:
    """What DuckDB says, without its drawings."""
    return str(error).strip().split("\n", 1)[0]
