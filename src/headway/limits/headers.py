"""Rate-limit headers of replies, read strictly: what is malformed is ignored, never believed.

Sources: Retry-After (RFC 9110 section 10.2.3), RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-11)
and the three-header form of its earlier drafts, X-RateLimit-*, X-HubSpot-RateLimit-* (HubSpot, usage guidelines),
Sforce-Limit-Info (Salesforce, REST API Developer Guide, "Limit Info Header").
Header names are given in lower case; instants are nanoseconds since the epoch, durations seconds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

__all__ = ["Remaining", "date_ns", "remaining", "retry_after"]

_WHOLE = re.compile(r"\d{1,15}", re.ASCII)
_SECONDS = re.compile(r"\d{1,9}(?:\.\d{1,9})?", re.ASCII)
_MEMBER = re.compile(r'"(?P<name>[^"]*)"(?P<parameters>(?:\s*;\s*[a-z]+=[^;,]*)*)')
_PARAMETER = re.compile(r";\s*(?P<key>[a-z]+)=(?P<value>\d{1,15})\b", re.ASCII)
_USAGE = re.compile(r"(?:^|[;,\s])api-usage=(?P<used>\d{1,15})/(?P<amount>\d{1,15})(?![\d/])", re.ASCII)
_EPOCH_FROM = 1_000_000_000
_LONGEST = 400 * 86_400.0


@dataclass(frozen=True, slots=True)
class Remaining:
    """What a reply says is left of one limit: calls, the window's length and the time to its reset in seconds.

    `kind` is "window" or "daily"; `name` the limit, where the reply names it.
    """

    kind: str
    limit: int
    remaining: int
    per: float | None = None
    reset: float | None = None
    name: str = ""


def retry_after(headers: Mapping[str, str], wall: int) -> float | None:
    """Seconds to wait as Retry-After says, given as seconds or as an HTTP date; None if absent or malformed."""
    text = headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), _LONGEST)
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    try:
        return min(max(0.0, date.timestamp() - wall / 1e9), _LONGEST)
    except (OverflowError, ValueError, OSError):
        return None


def date_ns(headers: Mapping[str, str]) -> int | None:
    """The platform's wall clock as its Date header tells it (RFC 9110 section 6.6.1), to the second; None if absent."""
    try:
        date = parsedate_to_datetime(headers.get("date", ""))
        return int(date.replace(tzinfo=date.tzinfo or UTC).timestamp()) * 1_000_000_000
    except (ValueError, TypeError, IndexError, OverflowError, OSError):
        return None


def remaining(headers: Mapping[str, str], wall: int) -> tuple[Remaining, ...]:
    """Everything that the headers say of remaining calls; `wall` tells epochs from durations."""
    found = [
        _pair(headers, "x-hubspot-ratelimit-max", "x-hubspot-ratelimit-remaining", "window", _hubspot_per(headers)),
        _pair(headers, "x-hubspot-ratelimit-daily", "x-hubspot-ratelimit-daily-remaining", "daily", None),
    ]
    if "sforce-limit-info" in headers:
        found.append(_sforce(headers["sforce-limit-info"]))
    if not any(found):
        found += _drafts(headers)
        for prefix in ("ratelimit-", "x-ratelimit-", "x-rate-limit-"):
            reset = _reset(headers.get(prefix + "reset"), wall)
            found.append(_pair(headers, prefix + "limit", prefix + "remaining", "window", None, reset))
    return tuple(each for each in found if each is not None)


def _whole(text: str | None) -> int | None:
    text = (text or "").strip()
    return int(text) if _WHOLE.fullmatch(text) else None


def _pair(
    headers: Mapping[str, str], limit: str, left: str, kind: str, per: float | None, reset: float | None = None
) -> Remaining | None:
    amount, rest = _whole(headers.get(limit)), _whole(headers.get(left))
    if amount is None or rest is None or amount < 1 or rest > amount:
        return None
    return Remaining(kind, amount, rest, per, reset)


def _hubspot_per(headers: Mapping[str, str]) -> float | None:
    milliseconds = _whole(headers.get("x-hubspot-ratelimit-interval-milliseconds"))
    return milliseconds / 1000 if milliseconds else None


def _reset(text: str | None, wall: int) -> float | None:
    seconds = _whole(text)
    if seconds is None:
        return None
    if seconds >= _EPOCH_FROM:
        return min(max(0.0, seconds - wall / 1e9), _LONGEST)
    return min(float(seconds), _LONGEST)


def _sforce(text: str) -> Remaining | None:
    """`api-usage=18/5000`, maybe with other pairs beside it: what the org used of its rolling day, and of how much."""
    said = _USAGE.search(text[:500])
    if said is None:
        return None
    used, amount = int(said["used"]), int(said["amount"])
    return Remaining("daily", amount, max(0, amount - used)) if amount >= 1 else None


def _drafts(headers: Mapping[str, str]) -> list[Remaining | None]:
    """`RateLimit-Policy: "default";q=100;w=10` with `RateLimit: "default";r=50;t=5`."""
    policies = _members(headers.get("ratelimit-policy", ""))
    found: list[Remaining | None] = []
    for name, said in _members(headers.get("ratelimit", "")).items():
        policy = policies.get(name, {})
        limit, left, per, reset = policy.get("q"), said.get("r"), policy.get("w"), said.get("t")
        if limit and left is not None and left <= limit:
            kind = "daily" if per == 86_400 else "window"
            found.append(
                Remaining(kind, limit, left, float(per) if per else None, None if reset is None else float(reset))
            )
    return found


def _members(text: str) -> dict[str, dict[str, int]]:
    if len(text) > 2000:
        return {}
    return {
        member["name"]: {each["key"]: int(each["value"]) for each in _PARAMETER.finditer(member["parameters"])}
        for member in _MEMBER.finditer(text)
    }
