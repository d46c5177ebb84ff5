"""How a mock platform behaves: limits, zone, delays, who may call, what goes wrong.

The texts that a command line takes (`100/10s`, `50ms`) are read here too, so that no caller needs a parser of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal
from zoneinfo import ZoneInfo

from headway.errors import UsageError
from headway.mock.faults import Fault
from headway.mock.schema import CustomObject, Property

if TYPE_CHECKING:
    from headway.mock.clock import Clock
    from headway.mock.hubspot import HubSpotMock

__all__ = ["Foreign", "MockConfig", "Portal", "parse_seconds", "parse_window"]

_UNITS = {"ms": 0.001, "": 1.0, "s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = re.compile(r"(?P<number>\d+(?:\.\d+)?|\.\d+)?\s*(?P<unit>ms|min|s|m|h|d)?")


@dataclass(frozen=True, slots=True)
class Portal:
    """One account: its id, the zone of its midnight and its kind."""

    portal_id: int = 62515
    time_zone: str = "US/Eastern"
    account_type: str = "STANDARD"


@dataclass(frozen=True, slots=True)
class Foreign:
    """Calls of somebody else that use up a token's window (and its portal's day): `calls` in every `per` seconds.

    `token` whose window they use, '' for every token's. `pattern`: "even" (one every per/calls), "poisson" (at random
    instants of that mean), "burst" (all at once, every `per`).
    """

    calls: float
    per: float = 10.0
    token: str = ""
    pattern: Literal["even", "poisson", "burst"] = "even"


@dataclass(frozen=True, slots=True)
class MockConfig:
    """What a mock HubSpot enforces and how it behaves; UsageError for what makes no sense.

    Limits: `window` (calls, seconds) of the exact rolling window, None for none, counted per token or, by
    `window_scope`, per portal; `daily` calls per portal and calendar day of its zone, None for none; `search` calls per
    second and portal on search paths, None for none. `count_rejected`: refused calls fill window and search as well.
    `retry_after`: 429s carry a Retry-After (HubSpot documents none).

    Delays in seconds: `latency` of service after the call was counted; `jitter`: a random delay up to so much before a
    call is counted and again after. `arrival` and `reply` (least, most) say either outright.

    Who may call: `portals` token → portal; any other token belongs to `portal`, unless `only_known`. `scopes`: token →
    the scopes that it was granted (others have all); `read_only_tokens` may not write; `oauth_tokens` get no daily
    headers, as at HubSpot. The token endpoint gives `clients` (id → secret) tokens for `refresh_tokens` (→ client id);
    they end after `token_ttl` seconds; with `only_issued` no others are accepted.

    Schema: `unique` (object type, property) pairs become unique text properties, `properties` (object type, Property)
    pairs are added as they are, `custom_objects` exist beside the standard ones. `unknown_property`: whether a property
    that does not exist or is read-only refuses the whole "batch" or, given trace ids, only its "record".

    Memory: `keep` whole "objects", only their "keys", or "nothing" (every upsert is new); `ledger`: count the writes of
    every key; `journal`: how many requests the journal keeps, 0 for none; `max_body` bytes of a request (else 413).

    `echo_trace`: results carry the objectWriteTraceId. `faults` and `foreign` traffic are there from the start. All
    that is random follows `seed`.
    """

    window: tuple[int, float] | None = (100, 10.0)
    daily: int | None = 40_000
    search: int | None = 5
    window_scope: Literal["token", "portal"] = "token"
    count_rejected: bool = False
    retry_after: bool = False
    latency: float = 0.0
    jitter: float = 0.0
    arrival: tuple[float, float] | None = None
    reply: tuple[float, float] | None = None
    portal: Portal = Portal()
    portals: Mapping[str, Portal] = field(default_factory=dict)
    only_known: bool = False
    scopes: Mapping[str, frozenset[str]] = field(default_factory=dict)
    read_only_tokens: frozenset[str] = frozenset()
    oauth_tokens: frozenset[str] = frozenset()
    clients: Mapping[str, str] = field(default_factory=dict)
    refresh_tokens: Mapping[str, str] = field(default_factory=dict)
    token_ttl: float | None = None
    only_issued: bool = False
    unique: tuple[tuple[str, str], ...] = ()
    properties: tuple[tuple[str, Property], ...] = ()
    custom_objects: tuple[CustomObject, ...] = ()
    unknown_property: Literal["batch", "record"] = "batch"
    keep: Literal["objects", "keys", "nothing"] = "objects"
    ledger: bool = True
    journal: int = 200_000
    max_body: int = 10_000_000
    echo_trace: bool = True
    faults: tuple[Fault, ...] = ()
    foreign: tuple[Foreign, ...] = ()
    seed: int = 1

    def __post_init__(self) -> None:
        if self.window is not None and (self.window[0] < 1 or self.window[1] <= 0):
            raise UsageError(f"a window of {self.window[0]} calls per {self.window[1]} s cannot be enforced")
        for name in ("daily", "search"):
            amount = getattr(self, name)
            if amount is not None and amount < 0:
                raise UsageError(f"{name} must be 0 or more calls, not {amount}")
        for low, high in (self.arrival_delay, self.reply_delay):
            if not 0 <= low <= high:
                raise UsageError(f"a delay from {low} to {high} s makes no sense: give least and most, both from 0 on")
        for portal in (self.portal, *self.portals.values()):
            try:
                ZoneInfo(portal.time_zone)
            except (KeyError, OSError, ValueError) as error:
                raise UsageError(f"unknown time zone {portal.time_zone!r}: use a name such as Europe/Berlin") from error

    @classmethod
    def without_limits(cls) -> MockConfig:
        """A platform that takes everything at once and keeps only keys: for measuring a client's own speed."""
        return cls(window=None, daily=None, search=None, keep="keys", journal=0)

    def platform(self, clock: Clock | None = None) -> HubSpotMock:
        """The HubSpot that behaves so."""
        from headway.mock.hubspot import HubSpotMock

        return HubSpotMock(self, clock)

    @property
    def arrival_delay(self) -> tuple[float, float]:
        """Seconds (least, most) before a call is counted."""
        return self.arrival if self.arrival is not None else (0.0, self.jitter)

    @property
    def reply_delay(self) -> tuple[float, float]:
        """Seconds (least, most) between a call's work and its reply."""
        return self.reply if self.reply is not None else (self.latency, self.latency + self.jitter)


def parse_seconds(text: str) -> float:
    """Seconds of a duration such as `50ms`, `10s`, `1.5`, `5m`, `1h`; UsageError for anything else."""
    found = _DURATION.fullmatch(text.strip().lower())
    if found is None or found["number"] is None:
        raise UsageError(f"{text!r} is no duration: write it as 50ms, 10s, 5m or 1h")
    return float(found["number"]) * _UNITS[found["unit"] or ""]


def parse_window(text: str) -> tuple[int, float] | None:
    """(calls, seconds) of a window such as `100/10s` or `5/s`, None for `none`; UsageError for anything else."""
    if text.strip().lower() in {"none", "off", "unlimited"}:
        return None
    amount, slash, per = text.strip().partition("/")
    if not slash or not amount.strip().isdecimal() or int(amount) < 1:
        raise UsageError(f"{text!r} is no window: write it as 100/10s, or none")
    seconds = parse_seconds(per if per[:1].isdigit() or per[:1] == "." else f"1{per}")
    if seconds <= 0:
        raise UsageError(f"{text!r} is no window: its length must be more than nothing, as in 100/10s")
    return int(amount), seconds
