"""Whether a reply refused a call for its rate, as the catalogue describes the platform's way of saying so.

Not every platform says 429 (RFC 6585): Salesforce answers 403 with a code, Marketo 200 with a code, Mailchimp
sometimes a bare 403.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from headway.platforms.catalog_reader import Profile, Rejection

__all__ = ["body_tells", "rejection_of"]

_MOST = 1 << 20


def body_tells(profile: Profile, status: int) -> bool:
    """Whether only the body can say if a reply of this status refused the call, or which limit did."""
    return any(status in rule.statuses and (rule.code_at or rule.bare) for rule in profile.rejections)


def rejection_of(profile: Profile, status: int, headers: Mapping[str, str], body: bytes) -> str | None:
    """The name of the limit that refused the call, '' where the reply does not tell; None: not refused for its rate."""
    del headers
    for rule in profile.rejections:
        if status in rule.statuses:
            found = _limit(rule, body)
            if found is not None:
                return found
    return "" if status == 429 else None


def _limit(rule: Rejection, body: bytes) -> str | None:
    if rule.bare:
        return rule.limit if _json(body) is None else None
    if not rule.code_at:
        return rule.limit
    codes = [code for path in rule.code_at for code in _values(_json(body), path.split("."))]
    for code in codes:
        for prefix, limit in rule.codes.items():
            if code == prefix or (prefix.endswith("*") and code.startswith(prefix[:-1])):
                return limit
    return None


def _json(body: bytes) -> Any:
    try:
        return json.loads(body[:_MOST])
    except (ValueError, RecursionError):
        return None


def _values(value: Any, path: list[str]) -> Iterator[str]:
    """The texts and numbers at a path of names; '*' steps through a list."""
    if not path:
        if isinstance(value, str | int) and not isinstance(value, bool):
            yield str(value)
        return
    if path[0] == "*":
        for each in value if isinstance(value, list) else ():
            yield from _values(each, path[1:])
    elif isinstance(value, dict):
        yield from _values(value.get(path[0]), path[1:])
