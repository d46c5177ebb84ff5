"""What an entry of the catalogue may hold; every file is checked against this when it is read, built-in or a user's.

The first thing that is wrong is told as one UsageError: file, key, what is wrong, what to write instead.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from headway.errors import UsageError
from headway.limits.limits import Quota

__all__ = ["DIALECTS", "KINDS", "SCOPES", "check"]

# Per kind of limit: the keys that it needs and those that it may have, besides those that all have.
KINDS: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "rolling window": (frozenset({"per"}), frozenset()),
    "fixed window": (frozenset({"per"}), frozenset()),
    "bucket": (frozenset({"rate"}), frozenset()),
    "calendar quota": (frozenset({"resets"}), frozenset()),
    "rolling quota": (frozenset({"per"}), frozenset()),
    "concurrency": (frozenset(), frozenset({"longer_than"})),
}
_KIND_KEYS = frozenset({"per", "rate", "resets", "longer_than"})
SCOPES = ("credential", "user", "identity", "project", "endpoint", "resource")
DIALECTS = (
    "none", "hubspot", "ratelimit", "x-ratelimit", "x-ratelimit-epoch", "x-rate-limit", "x-sib-ratelimit",
    "sforce-limit-info", "x-business-use-case-usage",
)  # fmt: skip
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_PATH = re.compile(r"(\[\]|[A-Za-z_@$][\w$-]*)((\.[A-Za-z_@$][\w$-]*)|\[\])*")
_HOST = re.compile(r"[a-z0-9*.-]+")

Check = Callable[[object, str], None]


class _Unfit(Exception):
    """A value that its key cannot have: what it should have been."""


Keys = Mapping[str, tuple[Check, bool]]  # what a table may hold: how it is checked, whether it must be there


def check(data: Mapping[str, Any], where: str, name: str) -> None:
    """Raise UsageError unless `data`, read from the file `where`, is a sound entry for the platform `name`."""
    _table(data, where, "", _ENTRY)
    if data["platform"] != name:
        _wrong(where, "platform", f"is {data['platform']!r}, but the file is named {name}.toml: let them agree")
    names = _tiers(data["tiers"], where)
    if data["default_tier"] not in data["tiers"]:
        _wrong(where, "default_tier", f"{data['default_tier']!r} is no tier: {_known(data['tiers'])}")
    for number, route in enumerate(data.get("routes", ()), 1):
        at = f"routes[{number}]"
        _table(route, where, at, _ROUTE)
        for each in route["limits"]:
            _limit_named(each, names, where, f"{at}.limits")
    _rejection(data["rejection"], names, where)
    if "header_limit" in data:
        _limit_named(data["header_limit"], names, where, "header_limit")


def _tiers(tiers: Mapping[str, Any], where: str) -> list[str]:
    """Check every tier; gives the names of all limits."""
    names: list[str] = []
    if not tiers:
        _wrong(where, "tiers", "is empty: describe at least one as [tiers.default]")
    for name, tier in tiers.items():
        at = f"tiers.{name}"
        _table(tier, where, at, _TIER)
        if bool(tier["limits"]) == ("without_limits" in tier):
            _wrong(where, f"{at}.limits", 'is empty without, or not empty with, without_limits = "unpublished"')
        own = []
        for number, limit in enumerate(tier["limits"], 1):
            _limit(limit, where, f"{at}.limits[{number}]")
            if limit["name"] in own:
                _wrong(where, f"{at}.limits[{number}].name", f"{limit['name']!r} occurs twice in this tier")
            own.append(limit["name"])
        names += [each for each in own if each not in names]
    return names


def _limit(limit: Any, where: str, at: str) -> None:
    _table(limit, where, at, _LIMIT)
    needs, may = KINDS[limit["kind"]]
    given = _KIND_KEYS & set(limit)
    for key in sorted(needs - given):
        _wrong(where, f"{at}.{key}", f"is missing: a {limit['kind']} needs it")
    for key in sorted(given - needs - may):
        _wrong(where, f"{at}.{key}", f"makes no sense for a {limit['kind']}")
    if (limit["scope"] == "resource") != ("segments" in limit):
        _wrong(where, f"{at}.segments", "says how many parts of the path name the resource: for that scope, only")
    if limit.get("at_most", limit["amount"]) < limit["amount"]:
        _wrong(where, f"{at}.at_most", "is below the amount")


def _rejection(data: Mapping[str, Any], names: list[str], where: str) -> None:
    _table(data, where, "rejection", _REJECTION)
    for number, rule in enumerate(data.get("rules", ()), 1):
        at = f"rejection.rules[{number}]"
        _table(rule, where, at, _RULE)
        if ("path" in rule) != ("equals" in rule):
            _wrong(where, f"{at}.path", "and `equals` belong together: the place of the code, and the codes")
        if not {"path", "contains", "header", "bare"} & set(rule):
            _wrong(
                where, at, "has no condition: give path and equals, contains, header or bare (or rejection.statuses)"
            )
        if "limit" in rule:
            _limit_named(rule["limit"], names, where, f"{at}.limit")


def _limit_named(name: object, names: list[str], where: str, at: str) -> None:
    if name not in names:
        _wrong(where, at, f"{name!r} is no limit of any tier: {_known(names, str(name))}")


def _known(known: Any, name: str = "") -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return (f"did you mean {close[0]!r}? " if close else "") + f"there are {', '.join(known)}"


def _wrong(where: str, at: str, what: str) -> None:
    raise UsageError(f"{where}: {at} {what}" if at else f"{where}: {what}")


def _table(data: object, where: str, at: str, keys: Keys) -> None:
    if not isinstance(data, dict):
        raise UsageError(f"{where}: {at} must be a table, not {data!r}")
    dot = f"{at}." if at else ""
    for key in data:
        if key not in keys:
            close = difflib.get_close_matches(key, list(keys), n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(keys)}"
            _wrong(where, f"{dot}{key}", f"is not known here: {hint}")
    for key, (checked, needed) in keys.items():
        if key in data:
            try:
                checked(data[key], key)
            except _Unfit as error:
                _wrong(where, f"{dot}{key}", str(error))
        elif needed:
            _wrong(where, f"{dot}{key}", "is missing")


# -- single values; each raises _Unfit with what it should have been


def _text(value: object, _key: str) -> None:
    if not isinstance(value, str) or not value.strip():
        raise _Unfit(f"must be a text, not {value!r}")


def _matching(pattern: re.Pattern[str], what: str) -> Check:
    def checked(value: object, key: str) -> None:
        _text(value, key)
        if not pattern.fullmatch(str(value)):
            raise _Unfit(f"must be {what}, not {value!r}")

    return checked


def _one_of(*allowed: str) -> Check:
    def checked(value: object, _key: str) -> None:
        if value not in allowed:
            raise _Unfit(f"must be one of {', '.join(map(repr, allowed))}, not {value!r}")

    return checked


def _each(one: Check, *, empty: bool = False) -> Check:
    def checked(value: object, key: str) -> None:
        if not isinstance(value, list) or not (value or empty):
            raise _Unfit(f"must be a list{'' if empty else ' that is not empty'}, not {value!r}")
        for each in value:
            one(each, key)

    return checked


def _tables(value: object, _key: str) -> None:
    if not isinstance(value, list):
        raise _Unfit(f"must be an array of tables, written with two brackets, not {value!r}")


def _inner(value: object, _key: str) -> None:
    if not isinstance(value, dict):
        raise _Unfit(f"must be a table, not {value!r}")


def _whole(value: object, _key: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise _Unfit(f"must be a whole number of at least 1, not {value!r}")


def _positive(value: object, _key: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not (math.isfinite(value) and value > 0):
        raise _Unfit(f"must be a number above 0, not {value!r}")


def _flag(value: object, _key: str) -> None:
    if not isinstance(value, bool):
        raise _Unfit(f"must be true or false, not {value!r}")


def _day(value: object, _key: str) -> None:
    try:
        date.fromisoformat(str(value))
    except ValueError:
        raise _Unfit(f"must be a date such as 2026-11-23, not {value!r}") from None


def _status(value: object, _key: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 200 <= value <= 599:
        raise _Unfit(f"must hold HTTP statuses from 200 to 599, not {value!r}")


def _resets(value: object, key: str) -> None:
    _text(value, key)
    try:
        Quota(1, resets=str(value).replace("{time_zone}", "UTC"))
    except UsageError as error:
        raise _Unfit(f"says {error}") from error


def _code(value: object, _key: str) -> None:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise _Unfit(f"must hold texts or whole numbers, not {value!r}")


_json_path = _matching(_PATH, "a JSON path such as errors[].code")
_name = _matching(_NAME, "a name of a-z, 0-9, - and _")
_SOURCED: Keys = {"source": (_text, True), "date": (_day, True), "verified": (_flag, True)}

_ENTRY: Keys = {
    "platform": (_name, True),
    "title": (_text, True),
    "hosts": (_each(_matching(_HOST, "host names, * for any text")), True),
    "default_tier": (_text, True),
    "tiers": (_inner, True),
    "rejection": (_inner, True),
    "rate_limit": (_text, False),
    "base_url": (_matching(re.compile(r"https?://\S+"), "a URL"), False),
    "token_env": (_matching(re.compile(r"[A-Z_][A-Z0-9_]*"), "the name of an environment variable"), False),
    "header_dialect": (_one_of(*DIALECTS), False),
    "header_limit": (_text, False),
    "headers_on_rejection": (_flag, False),
    "objects": (_each(_text, empty=True), False),
    "modes": (_each(_text, empty=True), False),
    "note": (_text, False),
    "batch": (
        lambda value, key: _nested(
            value, key, {"records": (_whole, False), "bytes": (_whole, False), "source": (_text, True)}
        ),
        False,
    ),
    "cost": (
        lambda value, key: _nested(
            value,
            key,
            {
                "unit": (_text, True), "known": (_one_of("before", "after"), True), "estimate": (_whole, False),
                "actual": (_json_path, False), "note": (_text, False), "source": (_text, True),
            },
        ),
        False,
    ),
    "routes": (_tables, False),
}  # fmt: skip
_ROUTE: Keys = {
    "paths": (_each(_text), True),
    "limits": (_each(_text, empty=True), True),
    "methods": (_each(_one_of(*_METHODS)), False),
    "cost": (_whole, False),
}
_TIER: Keys = {
    "title": (_text, True),
    "limits": (_tables, True),
    "note": (_text, False),
    "without_limits": (_one_of("unpublished", "unlimited"), False),
    "rate_unpublished": (_flag, False),
    **_SOURCED,
}
_LIMIT: Keys = {
    "name": (_name, True),
    "kind": (_one_of(*KINDS), True),
    "amount": (_whole, True),
    "scope": (_one_of(*SCOPES), True),
    "per": (_positive, False),
    "resets": (_resets, False),
    "rate": (_positive, False),
    "longer_than": (_positive, False),
    "unit": (_text, False),
    "segments": (_whole, False),
    "lockout": (_positive, False),
    "per_seat": (_whole, False),
    "at_most": (_whole, False),
    "pacing": (_one_of("burst", "smooth"), False),
    "note": (_text, False),
    "source": (_text, False),
    "date": (_day, False),
    "verified": (_flag, False),
}
_REJECTION: Keys = {
    "statuses": (_each(_status, empty=True), True),
    "retry_after": (_one_of("seconds", "date", ""), False),
    "rules": (_tables, False),
    "source": (_text, False),
}
_RULE: Keys = {
    "statuses": (_each(_status), True),
    "path": (_json_path, False),
    "equals": (_each(_code), False),
    "contains": (_text, False),
    "header": (_text, False),
    "bare": (_flag, False),
    "limit": (_text, False),
    "example": (_text, False),
}


def _nested(value: object, key: str, keys: Keys) -> None:
    """A small table inside another, with its keys' names in the message."""
    _inner(value, key)
    try:
        _table(value, "", "", keys)
    except UsageError as error:
        raise _Unfit(f"is wrong{error}") from error
