"""Is this reply a rate limit, and which? From status, headers and body, by the platform's rules alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from headway.platforms.profile import Profile, Rule

__all__ = ["body_tells", "rejection_of"]

_UNREAD = object()
_LARGEST = 65_536  # bytes of a body that is looked into: refusals are short, and replies may be exports


def body_tells(profile: Profile, status: int) -> bool:
    """Whether only the body can say if a reply of this status refused the call, or which limit did."""
    return any(
        status in rule.statuses and (rule.path or rule.bare or rule.contains) for rule in profile.rejection.rules
    )


def rejection_of(profile: Profile, status: int, headers: Mapping[str, str], body: bytes) -> str | None:
    """The name of the limit that refused this call, "" if the reply does not name one, None if it is no rate limit.

    `headers` with names in lower case; `body` as far as it was read, decompressed. Never raises for what a server sent.
    """
    said: object = _UNREAD
    for rule in profile.rejection.rules:
        if status not in rule.statuses:
            continue
        if said is _UNREAD and (rule.path or rule.bare):
            said = _json(body)
        if _holds(rule, headers, body, said):
            return rule.limit
    return "" if status in profile.rejection.statuses else None


def _holds(rule: Rule, headers: Mapping[str, str], body: bytes, said: object) -> bool:
    if rule.bare and said is not None:
        return False
    if rule.header and not _has(headers, rule.header):
        return False
    if rule.contains and rule.contains.encode() not in body[:_LARGEST]:
        return False
    return not rule.path or any(value in rule.equals for value in _values(said, _steps(rule.path)))


def _has(headers: Mapping[str, str], wanted: str) -> bool:
    name, colon, value = wanted.partition(":")
    found = headers.get(name.strip().lower())
    return found is not None and (not colon or found.strip() == value.strip())


def _json(body: bytes) -> object:
    """The value of a JSON body, None if it is no JSON; True for one that is too large to be a refusal."""
    if len(body) > _LARGEST:
        return True
    try:
        value: object = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return True if value is None else value


def _steps(path: str) -> tuple[str, ...]:
    return tuple(part for part in path.replace("[]", ".[]").split(".") if part)


def _values(said: object, steps: tuple[str, ...]) -> Iterator[str]:
    """What stands at a path such as errors[].code, as texts."""
    if not steps:
        if isinstance(said, str | int) and not isinstance(said, bool):
            yield str(said)
        return
    step, rest = steps[0], steps[1:]
    if step == "[]":
        for each in said if isinstance(said, list) else ():
            yield from _values(each, rest)
    elif isinstance(said, dict) and step in said:
        yield from _values(said[step], rest)
