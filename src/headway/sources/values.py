"""Python values as values that JSON has: for rows that databases and callers hand over."""

from __future__ import annotations

import base64
import datetime as dt
import enum
import math
import uuid
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

__all__ = ["BrokenText", "plain", "plain_row"]

_SIMPLE = frozenset((str, int, bool, type(None)))


class BrokenText(str):
    r"""Text of a database whose bytes were not utf-8; shown with `\xNN`."""

    __slots__ = ()


def plain_row(row: dict[str, object]) -> dict[str, object]:
    """The row with values that JSON has; the same object where it had only such. Raises ValueError, see `plain`."""
    if _SIMPLE.issuperset(map(type, row.values())):
        return row
    clean: dict[str, object] = {}
    for name, value in row.items():
        try:
            clean[name] = value if type(value) in _SIMPLE else plain(value)
        except ValueError as error:
            raise ValueError(f"column {name!r}: {error}") from error
    return clean


def plain(value: object) -> object:
    """Dates and times as ISO 8601, decimals with all their digits, bytes as base64, NaN as None; containers in depth.

    Raises ValueError for what JSON cannot carry.
    """
    for kind, rule in _RULES:
        if isinstance(value, kind):
            return rule(value)
    raise ValueError(f"a value of type {type(value).__name__}, which JSON cannot carry")


def _broken(value: Any) -> object:
    raise ValueError(f"text that is not utf-8: {str(value)[:60]}")


def _number(value: Any) -> object:
    if math.isinf(value):
        raise ValueError("an infinite number, which JSON cannot carry")
    return None if math.isnan(value) else float(value)


def _duration(value: Any) -> object:
    return f"PT{value.total_seconds():.6f}".rstrip("0").rstrip(".") + "S"


# The first kind that fits decides: bool before int, of which it is one.
_RULES: tuple[tuple[type | tuple[type, ...], Callable[[Any], object]], ...] = (
    (BrokenText, _broken),
    ((bool, type(None)), lambda value: value),
    (enum.Enum, lambda value: plain(value.value)),
    (str, str),
    (int, int),
    (float, _number),
    ((Decimal, uuid.UUID), str),
    ((dt.date, dt.time), lambda value: value.isoformat()),
    (dt.timedelta, _duration),
    ((bytes, bytearray, memoryview), lambda value: base64.b64encode(value).decode("ascii")),
    (Mapping, lambda value: {str(name): plain(each) for name, each in value.items()}),
    ((list, tuple, set, frozenset), lambda value: [plain(each) for each in value]),
)
