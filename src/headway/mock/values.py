"""Which values HubSpot takes for a property, and what it says of the others (code, message)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from functools import partial

__all__ = ["as_text", "checker"]

_EMAIL = re.compile(r"[^@\s,;<>()]+@[^@\s,;<>()]+\.[^@\s,;<>()]+")
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}:?\d{2})?")
_MILLISECONDS = re.compile(r"-?\d+")
_LONGEST = 65_536
_DAY_MS = 86_400_000

Check = Callable[[str], tuple[str, str] | None]


def as_text(value: object) -> str:
    """A property's JSON value as HubSpot keeps it: text."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def checker(name: str, kind: str, options: tuple[str, ...], *, many: bool) -> Check | None:
    """What judges the values of a property (blank ones, which clear it, aside); None where any text will do."""
    if name == "email":
        return _email
    if kind == "enumeration":
        return partial(_option, frozenset(options), options, many) if options else None
    return {"number": _number, "bool": _bool, "date": _date, "datetime": _datetime, "string": _text}.get(kind)


def _text(value: str) -> tuple[str, str] | None:
    if len(value) > _LONGEST:
        return "INVALID_LENGTH", f"property value is {len(value)} characters long; at most {_LONGEST} are allowed"
    return None


def _email(value: str) -> tuple[str, str] | None:
    if _EMAIL.fullmatch(value.strip()) and len(value) <= 254:
        return None
    return "INVALID_EMAIL", f"Email address {value} is invalid"


def _option(allowed: frozenset[str], shown: tuple[str, ...], many: bool, value: str) -> tuple[str, str] | None:
    parts = [part for part in value.split(";") if part] if many else [value]
    for part in parts:
        if part not in allowed:
            return "INVALID_OPTION", f"{part} was not one of the allowed options: [{', '.join(shown)}]"
    return None


def _number(value: str) -> tuple[str, str] | None:
    if _NUMBER.fullmatch(value) and math.isfinite(float(value)):
        return None
    return "INVALID_INTEGER", f"{value} was not a valid number."


def _bool(value: str) -> tuple[str, str] | None:
    if value in {"true", "false"}:
        return None
    return "INVALID_BOOLEAN", f"{value} was not one of the allowed options: [true, false]"


def _date(value: str) -> tuple[str, str] | None:
    if _DATE.fullmatch(value) and _is(date.fromisoformat, value):
        return None
    if _MILLISECONDS.fullmatch(value):
        if int(value) % _DAY_MS == 0:
            return None
        return "INVALID_DATE", f"{value} is at {_clock(int(value))} UTC, not midnight!"
    return "INVALID_DATE", f"{value} was not a valid date."


def _datetime(value: str) -> tuple[str, str] | None:
    if _MILLISECONDS.fullmatch(value):
        return None
    if (_TIME.fullmatch(value) or _DATE.fullmatch(value)) and _is(datetime.fromisoformat, value):
        return None
    return "INVALID_DATE", f"{value} was not a valid date-time."


def _clock(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds % _DAY_MS / 1000, UTC).strftime("%H:%M:%S")


def _is(parse: Callable[[str], object], value: str) -> bool:
    try:
        parse(value)
    except ValueError:
        return False
    return True
