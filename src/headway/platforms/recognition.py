"""What a reply says of limits: did it refuse the call for its rate, and which limit did; what is left, what it cost.

The one place that decides so, from the catalogue's data alone, for adapters, engine, identity, reports and pool.
Never raises for what a server sent. Headers come with names in lower case, bodies as far as they were read,
decompressed; `wall` is our clock in nanoseconds, which counts only where the reply has no Date of its own.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

from headway.limits.headers import Refusal, date_ns, remaining, reset_after, retry_after, whole
from headway.limits.resets import Resets
from headway.platforms.profile import LimitEntry, Profile, Rule

__all__ = ["Body", "body_tells", "refusal_of", "rejection_of", "values_at"]

_LARGEST = 65_536  # bytes of a body that is looked into: refusals are short, and replies may be exports
_DELAY = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s?", re.ASCII)
_FAMILIES = ("ratelimit", "x-ratelimit", "x-rate-limit", "x-sib-ratelimit")


def body_tells(profile: Profile, status: int) -> bool:
    """Whether only the body can say if a reply of this status refused the call, or which limit did."""
    refusing = status in profile.rejection.statuses and bool(profile.rejection.delay)
    return refusing or any(rule.reads and rule.fits(status) for rule in profile.rejection.rules)


def rejection_of(profile: Profile, status: int, headers: Mapping[str, str], body: bytes) -> str | None:
    """The name of the limit that refused this call, "" if the reply does not name one, None if it is no rate limit."""
    rule = _rule(profile, status, headers, Body(body))
    return None if rule is None or not rule.refuses else rule.limit


def refusal_of(
    profile: Profile,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    wall: int = 0,
    *,
    entries: Sequence[LimitEntry] | None = None,
) -> Refusal | None:
    """What refused this call for its rate and until when, None if nothing did.

    `entries`: the limits of the account's tier (default: the platform's), of which some lock out who is refused.
    """
    said = Body(body)
    rule = _rule(profile, status, headers, said)
    if rule is None or not rule.refuses:
        return None
    wait = retry_after(headers, wall)
    if wait is None:
        wait = _delay(profile, said)
    reset = _reset(profile, rule.limit, headers, wall)
    if reset is None and rule.lasts:
        now = date_ns(headers) or wall
        reset = (Resets.parse(rule.lasts).period(now)[1] - now) / 1e9
    known = profile.tier(None).limits if entries is None else entries
    locked = [entry.lockout for entry in known if entry.lockout and rule.limit in {"", entry.name}]
    return Refusal(rule.limit, wait, reset, max(locked, default=None))


_ANY = Rule()


def _rule(profile: Profile, status: int, headers: Mapping[str, str], said: Body) -> Rule | None:
    """The first rule that holds; one without conditions where the status says it all; None if it is no rate limit."""
    for rule in profile.rejection.rules:
        if rule.fits(status) and _holds(rule, headers, said):
            return rule
    return _ANY if status in profile.rejection.statuses else None


def _holds(rule: Rule, headers: Mapping[str, str], said: Body) -> bool:
    if rule.bare and said.json is not None:
        return False
    if rule.header and not _has(headers, rule.header):
        return False
    if rule.contains and rule.contains.lower() not in said.lowered:
        return False
    wanted = {each.lower() for each in rule.equals}
    return not rule.path or any(value.lower() in wanted for value in said.texts(rule.path))


def _has(headers: Mapping[str, str], wanted: str) -> bool:
    name, colon, value = wanted.partition(":")
    found = headers.get(name.strip().lower())
    return found is not None and (not colon or found.strip().lower() == value.strip().lower())


def _delay(profile: Profile, said: Body) -> float | None:
    """Seconds that the body asks for: `"retryDelay": "12.5s"` (google.rpc.RetryInfo), or a number."""
    for path in profile.rejection.delay:
        for value in said.texts(path):
            if found := _DELAY.fullmatch(value):
                return min(float(found[1]) * profile.rejection.delay_unit, 400 * 86_400.0)
    return None


def _reset(profile: Profile, limit: str, headers: Mapping[str, str], wall: int) -> float | None:
    """Seconds until the limit that is used up begins anew, by the entry's own fields, else by those that many share."""
    told = [reset_after(headers.get(each.lower()), headers, wall) for each in profile.rejection.reset]
    for usage in profile.spoken:
        if usage.json and usage.regain:
            told.append(_regain(headers.get(usage.json.lower(), ""), usage.regain))
        elif (
            usage.reset
            and not usage.body
            and not (limit and usage.limit and usage.limit != limit)
            and not whole(headers.get(usage.remaining.lower()))
        ):
            told.append(reset_after(headers.get(usage.reset.lower()), headers, wall))
    found = [each for each in told if each is not None]
    if not found:
        found = [each.reset for each in remaining(headers, wall) if not each.remaining and each.reset is not None]
    if not found:
        others = [
            reset_after(headers.get(f"{family}-reset"), headers, wall)
            for family in _FAMILIES
            if not whole(headers.get(f"{family}-remaining"))
        ]
        found = [each for each in others if each is not None]
    return max(found, default=None)


def _regain(text: str, key: str) -> float | None:
    """Seconds until calls may go again, told in minutes somewhere in a header's JSON."""
    minutes = [float(value) for value in numbers_named(text, key)]
    return max(minutes) * 60 if any(minutes) else None


def numbers_named(text: str, key: str) -> Iterator[float]:
    """The numbers that stand under this key anywhere in a short JSON text."""
    try:
        waiting: list[object] = [json.loads(text)] if 0 < len(text) <= _LARGEST else []
    except (ValueError, RecursionError):
        return
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            value = one.get(key)
            if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf:
                yield float(value)
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one


class Body:
    """A body that is read when it is first asked for."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    @cached_property
    def json(self) -> object:
        """The value of a JSON body, None if it is no JSON; True for one that is too large to be a refusal."""
        if len(self._raw) > _LARGEST:
            return True
        try:
            value: object = json.loads(self._raw)
        except (ValueError, RecursionError):
            return None
        return True if value is None else value

    @cached_property
    def lowered(self) -> str:
        """Its text in lower case."""
        return self._raw[:_LARGEST].decode("utf-8", "replace").lower()

    def texts(self, path: str) -> Iterator[str]:
        """What stands at a path such as errors[].code, as texts."""
        for value in values_at(self.json, path):
            if isinstance(value, str | int | float) and not isinstance(value, bool):
                yield str(value)


def values_at(said: object, path: str) -> Iterator[object]:
    """What stands at a JSON path such as errors[].code."""
    yield from _walk(said, tuple(part for part in path.replace("[]", ".[]").split(".") if part))


def _walk(said: object, steps: tuple[str, ...]) -> Iterator[object]:
    if not steps:
        yield said
        return
    step, rest = steps[0], steps[1:]
    if step == "[]":
        for each in said if isinstance(said, list) else ():
            yield from _walk(each, rest)
    elif isinstance(said, dict) and step in said:
        yield from _walk(said[step], rest)
