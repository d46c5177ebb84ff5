"""Rate-limit headers of replies, read strictly: what is malformed is ignored, never believed.

Sources: Retry-After (RFC 9110 section 10.2.3), RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-11)
and the forms of its earlier drafts (-03: `RateLimit-Limit: 100, 100;w=10`; -07: `RateLimit: limit=100, remaining=50`),
X-RateLimit-*, the per-second to per-day form of gateways (`X-RateLimit-Limit-Minute`), X-HubSpot-RateLimit-* (HubSpot,
usage guidelines), Sforce-Limit-Info (Salesforce, REST API Developer Guide, "Limit Info Header").

Rules:
* Header names are given in lower case; instants are nanoseconds since the epoch, durations seconds.
* An instant that a reply tells is measured against the reply's own Date, so that a wrong clock of ours does not count;
  `wall`, our clock, stands in where there is no Date.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

__all__ = ["Refusal", "Remaining", "date_ns", "remaining", "reset_after", "retry_after", "whole"]

_WHOLE = re.compile(r"\d{1,15}", re.ASCII)
_SECONDS = re.compile(r"\d{1,9}(?:\.\d{1,9})?", re.ASCII)
_NUMBER = re.compile(r"\d{1,13}(?:\.\d{1,9})?", re.ASCII)
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s", re.ASCII)
_MEMBER = re.compile(r'"(?P<name>[^"]*)"(?P<parameters>(?:\s*;\s*[a-z]+=[^;,]*)*)')
_PARAMETER = re.compile(r";\s*(?P<key>[a-z]+)=(?P<value>\d{1,15})\b", re.ASCII)
_PLAIN = re.compile(r"\b(?P<key>limit|remaining|reset)=(?P<value>\d{1,15})\b", re.ASCII)
_POLICY = re.compile(r"(?:^|,)\s*(?P<amount>\d{1,15})\s*;\s*(?:window|w)=(?P<per>\d{1,9})\b", re.ASCII)
_USAGE = re.compile(r"(?:^|[;,\s])api-usage=(?P<used>\d{1,15})/(?P<amount>\d{1,15})(?![\d/])", re.ASCII)
_PREFIXES = ("ratelimit-", "x-ratelimit-", "x-rate-limit-", "x-sib-ratelimit-")
_SPANS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86_400.0}
_EPOCH_FROM = 1_000_000_000
_MILLISECONDS_FROM = 1_000_000_000_000
_LONGEST = 400 * 86_400.0


@dataclass(frozen=True, slots=True)
class Remaining:
    """What a reply says is left of one limit: calls (or its unit), the window's length and the reset in seconds.

    `kind` is "window", "daily" or "percent" (then `limit` is 100, and what is left is a share, not calls); `name` the
    limit, where the reply names it; `rate`: what comes back a second, where the reply tells it.
    """

    kind: str
    limit: int
    remaining: int
    per: float | None = None
    reset: float | None = None
    name: str = ""
    rate: float | None = None

    @property
    def used(self) -> int:
        """What the platform had counted, everybody's."""
        return max(0, self.limit - self.remaining)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A reply refused a call for its rate.

    `limit`: the name of the limit that did, "" if the reply does not say; `retry_after`: seconds, as it asks for them
    (Retry-After, or its kin in the body); `reset`: seconds until what refused begins anew, as its headers tell;
    `lockout`: seconds for which the platform refuses everything after this, whatever the reply says.
    """

    limit: str = ""
    retry_after: float | None = None
    reset: float | None = None
    lockout: float | None = None

    @property
    def wait(self) -> float | None:
        """Seconds to wait: as the reply asks, else until the reset, else the lockout; None if nobody can tell."""
        told = (self.retry_after, self.reset, self.lockout)
        return next((each for each in told if each is not None), None)


def retry_after(headers: Mapping[str, str], wall: int) -> float | None:
    """Seconds to wait as Retry-After says, given as seconds or as an HTTP date; None if absent or malformed."""
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    if _SECONDS.fullmatch(text):
        return min(float(text), _LONGEST)
    date = _date(text)
    return None if date is None else _between(date, _here(headers, wall))


def date_ns(headers: Mapping[str, str]) -> int | None:
    """The platform's wall clock as its Date header tells it (RFC 9110 section 6.6.1), to the second; None if absent."""
    date = _date(headers.get("date", ""))
    return None if date is None else int(date) * 1_000_000_000


def reset_after(text: str | None, headers: Mapping[str, str], wall: int) -> float | None:
    """Seconds until a reset given as seconds, as seconds or milliseconds since the epoch, or as a date."""
    text = (text or "").strip()
    if duration := _DURATION.fullmatch(text):
        return min(float(duration[1]), _LONGEST)
    if _NUMBER.fullmatch(text):
        seconds = float(text)
        if seconds >= _MILLISECONDS_FROM:
            seconds /= 1000
        return _between(seconds, _here(headers, wall)) if seconds >= _EPOCH_FROM else min(seconds, _LONGEST)
    date = _date(text) or _iso(text)
    return None if date is None else _between(date, _here(headers, wall))


def remaining(headers: Mapping[str, str], wall: int) -> tuple[Remaining, ...]:
    """Everything that the headers say of remaining calls, by the forms that many platforms share."""
    found = [
        _pair(headers, "x-hubspot-ratelimit-max", "x-hubspot-ratelimit-remaining", "window", _hubspot_per(headers)),
        _pair(headers, "x-hubspot-ratelimit-daily", "x-hubspot-ratelimit-daily-remaining", "daily", None),
    ]
    if "sforce-limit-info" in headers:
        found.append(_sforce(headers["sforce-limit-info"]))
    if not any(found):
        found += _drafts(headers)
        for prefix in _PREFIXES:
            found += _three(headers, prefix, wall)
    return tuple(each for each in found if each is not None)


def whole(text: str | None) -> int | None:
    """A header's whole number; of a list (`100, 100;w=10`) the first."""
    if text is None:
        return None
    first = text if text.isdecimal() else re.split(r"[,;]", text, maxsplit=1)[0].strip()
    return int(first) if _WHOLE.fullmatch(first) else None


def _here(headers: Mapping[str, str], wall: int) -> int:
    told = date_ns(headers)
    return wall if told is None else told


def _date(text: str) -> float | None:
    """An HTTP date in seconds since the epoch."""
    try:
        date = parsedate_to_datetime(text)
        return date.replace(tzinfo=date.tzinfo or UTC).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError, OSError):
        return None


def _iso(text: str) -> float | None:
    try:
        date = datetime.fromisoformat(text)
        return date.replace(tzinfo=date.tzinfo or UTC).timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def _between(instant: float, wall: int) -> float:
    return min(max(0.0, instant - wall / 1e9), _LONGEST)


def _pair(
    headers: Mapping[str, str], limit: str, left: str, kind: str, per: float | None, reset: float | None = None
) -> Remaining | None:
    amount, rest = whole(headers.get(limit)), whole(headers.get(left))
    if amount is None or rest is None or amount < 1 or rest > amount:
        return None
    return Remaining(kind, amount, rest, per, reset)


def _three(headers: Mapping[str, str], prefix: str, wall: int) -> Iterator[Remaining | None]:
    """`X-RateLimit-Limit`, `-Remaining` and `-Reset`, alone or by second, minute, hour and day."""
    reset = reset_after(headers.get(prefix + "reset"), headers, wall)
    per = _policy(headers.get(prefix + "limit", "")) or _policy(headers.get(prefix + "policy", ""))
    yield _pair(headers, prefix + "limit", prefix + "remaining", _kind(per), per, reset)
    for span, seconds in _SPANS.items():
        yield _pair(headers, f"{prefix}limit-{span}", f"{prefix}remaining-{span}", _kind(seconds), seconds, reset)


def _policy(text: str) -> float | None:
    """The window's length in `100, 100;w=10`: that of the policy whose amount is the first number; else of the only."""
    if len(text) > 500:
        return None
    told = [(int(each["amount"]), float(each["per"])) for each in _POLICY.finditer(text)]
    amount = whole(text)
    return next((per for of, per in told if of == amount and per), None)


def _kind(per: float | None) -> str:
    return "daily" if per == 86_400 else "window"


def _hubspot_per(headers: Mapping[str, str]) -> float | None:
    milliseconds = whole(headers.get("x-hubspot-ratelimit-interval-milliseconds"))
    return milliseconds / 1000 if milliseconds else None


def _sforce(text: str) -> Remaining | None:
    """`api-usage=18/5000`, maybe with other pairs beside it: what the org used of its rolling day, and of how much."""
    said = _USAGE.search(text[:500])
    if said is None:
        return None
    used, amount = int(said["used"]), int(said["amount"])
    return Remaining("daily", amount, max(0, amount - used)) if amount >= 1 else None


def _drafts(headers: Mapping[str, str]) -> list[Remaining | None]:
    """`RateLimit-Policy: "default";q=100;w=10` with `RateLimit: "default";r=50;t=5`; or `limit=…, remaining=…`."""
    text = headers.get("ratelimit", "")
    policies = _members(headers.get("ratelimit-policy", ""))
    found: list[Remaining | None] = []
    for name, said in _members(text).items():
        policy = policies.get(name, {})
        limit, left, per, reset = policy.get("q"), said.get("r"), policy.get("w"), said.get("t")
        if limit and left is not None and left <= limit:
            found.append(
                Remaining(_kind(per), limit, left, float(per) if per else None, None if reset is None else float(reset))
            )
    plain = {each["key"]: int(each["value"]) for each in _PLAIN.finditer(text[:500])}
    if not found and plain.get("limit", 0) >= plain.get("remaining", _EPOCH_FROM):
        span = _policy(headers.get("ratelimit-policy", ""))
        until = float(plain["reset"]) if "reset" in plain else None
        found.append(Remaining(_kind(span), plain["limit"], plain["remaining"], span, until))
    return found


def _members(text: str) -> dict[str, dict[str, int]]:
    if len(text) > 2000:
        return {}
    return {
        member["name"]: {each["key"]: int(each["value"]) for each in _PARAMETER.finditer(member["parameters"])}
        for member in _MEMBER.finditer(text)
    }
