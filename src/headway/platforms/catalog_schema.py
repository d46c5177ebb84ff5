"""How an entry of the catalogue is read: each key is described once, at its field, with what it may hold.

`key(check)` makes a dataclass field that a table of TOML fills, `tables` and `table` those that hold others; `build`
makes the value. The first thing that is wrong is told as one UsageError: file, key, what is wrong, what to write.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from datetime import date
from typing import Any, NoReturn, TypeVar

from headway.errors import UsageError
from headway.limits.limits import Quota

__all__ = [
    "Unfit", "build", "code", "day", "each", "flag", "key", "matching", "name", "nested", "one_of", "path", "positive",
    "resets", "status", "table", "tables", "text", "whole", "wrong",
]  # fmt: skip

Check = Callable[[object], object]  # gives the value as the field holds it, or raises Unfit
T = TypeVar("T")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_PATH = re.compile(r"(\[\]|[A-Za-z_@$][\w$-]*)((\.[A-Za-z_@$][\w$-]*)|\[\])*")


class Unfit(Exception):
    """A value that its key cannot have: what it should have been."""


@dataclass(frozen=True, slots=True)
class _Key:
    """How a field is filled: by a checked value, by one table of another kind, or by several."""

    check: Check | None = None
    kind: type | None = None
    many: bool = False
    outer: str = ""  # the table in which the key stands


def key(check: Check, *, default: Any = MISSING, within: str = "") -> Any:
    """A field filled from a checked value; `within`: the table that it stands in."""
    return field(default=default, metadata={"key": _Key(check, outer=within)})


def table(kind: type, *, needed: bool = False) -> Any:
    """A field that holds one table of another kind, None where it is missing."""
    default: Any = {} if needed else {"default": None}
    return field(**default, metadata={"key": _Key(kind=kind)})


def tables(kind: type, *, needed: bool = False) -> Any:
    """A field that holds any number of tables of another kind."""
    default: Any = {} if needed else {"default": ()}
    return field(**default, metadata={"key": _Key(kind=kind, many=True)})


def build(kind: type[T], data: object, where: str, at: str = "", **given: Any) -> T:
    """The value that a table describes; `given`: fields that are not written in it. Raises UsageError."""
    if not isinstance(data, dict):
        raise UsageError(f"{where}: {at} must be a table, not {data!r}")
    known = {each.name: each for each in fields(kind) if "key" in each.metadata}  # type: ignore[arg-type]
    inside = {each.metadata["key"].outer for each in known.values()} - {""}
    for written in data:
        if written not in inside and (written not in known or known[written].metadata["key"].outer):
            plain = [each for each in known if not known[each].metadata["key"].outer] + sorted(inside)
            wrong(where, _dotted(at, written), f"is not known here: {_near(written, plain)}")
    filled = dict(given)
    for outer in sorted(inside & data.keys()):
        filled |= _inner(known, data[outer], where, outer)
    for each in known.values():
        if each.name in data and not each.metadata["key"].outer:
            filled[each.name] = _filled(each.metadata["key"], data[each.name], where, _dotted(at, each.name))
        elif each.default is MISSING and each.name not in filled:
            wrong(where, _dotted(at, each.name), "is missing")
    return kind(**filled)


def _inner(known: Mapping[str, Field[Any]], data: object, where: str, outer: str) -> dict[str, Any]:
    """A table whose keys are fields of the value around it: `[batch] records` fills `batch_records`."""
    if not isinstance(data, dict):
        wrong(where, outer, f"must be a table, not {data!r}")
    names = {name.removeprefix(f"{outer}_"): name for name in known if known[name].metadata["key"].outer == outer}
    filled: dict[str, Any] = {}
    for written, value in data.items():
        if written not in names:
            wrong(where, outer, f"is wrong: {written} is not known here: {_near(written, list(names))}")
        try:
            filled[names[written]] = known[names[written]].metadata["key"].check(value)
        except Unfit as error:
            wrong(where, outer, f"is wrong: {written} {error}")
    return filled


def _filled(how: _Key, value: object, where: str, at: str) -> object:
    if how.kind is None:
        assert how.check is not None
        try:
            return how.check(value)
        except Unfit as error:
            wrong(where, at, str(error))
    assert how.kind is not None
    if not how.many:
        return build(how.kind, value, where, at)
    if not isinstance(value, list):
        wrong(where, at, f"must be an array of tables, written with two brackets, not {value!r}")
    return tuple(build(how.kind, one, where, f"{at}[{number}]") for number, one in enumerate(value, 1))


def wrong(where: str, at: str, what: str) -> NoReturn:
    """Raise the UsageError."""
    raise UsageError(f"{where}: {at} {what}" if at else f"{where}: {what}")


def _dotted(at: str, name: str) -> str:
    return f"{at}.{name}" if at else name


def _near(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}"


# -- single values: each gives the value, or raises Unfit with what it should have been


def text(value: object) -> str:
    """Some text."""
    if not isinstance(value, str) or not value.strip():
        raise Unfit(f"must be a text, not {value!r}")
    return value


def matching(pattern: str, what: str) -> Check:
    """Text of a form."""

    def checked(value: object) -> str:
        if not re.fullmatch(pattern, text(value)):
            raise Unfit(f"must be {what}, not {value!r}")
        return str(value)

    return checked


def one_of(*allowed: str) -> Check:
    """One of these words."""

    def checked(value: object) -> object:
        if value not in allowed:
            raise Unfit(f"must be one of {', '.join(map(repr, allowed))}, not {value!r}")
        return value

    return checked


def each(one: Check, *, empty: bool = False, kind: type = tuple) -> Check:
    """A list, as a tuple or a set."""

    def checked(value: object) -> object:
        if not isinstance(value, list) or not (value or empty):
            raise Unfit(f"must be a list{'' if empty else ' that is not empty'}, not {value!r}")
        return kind(one(item) for item in value)

    return checked


def nested(value: object) -> object:
    """A table that is read elsewhere."""
    if not isinstance(value, dict):
        raise Unfit(f"must be a table, not {value!r}")
    return value


def whole(value: object) -> int:
    """A whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise Unfit(f"must be a whole number of at least 1, not {value!r}")
    return value


def positive(value: object) -> float:
    """A number above 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not (math.isfinite(value) and value > 0):
        raise Unfit(f"must be a number above 0, not {value!r}")
    return value


def flag(value: object) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise Unfit(f"must be true or false, not {value!r}")
    return value


def day(value: object) -> str:
    """A date."""
    try:
        date.fromisoformat(str(value))
    except ValueError:
        raise Unfit(f"must be a date such as 2026-11-23, not {value!r}") from None
    return str(value)


def status(value: object) -> int:
    """An HTTP status that may refuse."""
    if isinstance(value, bool) or not isinstance(value, int) or not 200 <= value <= 599:
        raise Unfit(f"must hold HTTP statuses from 200 to 599, not {value!r}")
    return value


def resets(value: object) -> str:
    """A rule of resets."""
    try:
        Quota(1, resets=text(value).replace("{time_zone}", "UTC"))
    except UsageError as error:
        raise Unfit(f"says {error}") from error
    return str(value)


def code(value: object) -> str:
    """A code, as text."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise Unfit(f"must hold texts or whole numbers, not {value!r}")
    return str(value)


path: Check = matching(_PATH.pattern, "a JSON path such as errors[].code")
name: Check = matching(_NAME.pattern, "a name of a-z, 0-9, - and _")
