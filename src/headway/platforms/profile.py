"""What one entry of the catalogue says, as frozen values: limits, tiers, routes, how a rate limit is recognised."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

from headway.errors import UsageError
from headway.limits.limits import Bucket, Concurrency, Limit, Quota, Window

__all__ = ["Cost", "LimitEntry", "Profile", "Rejection", "Route", "Rule", "Tier", "nearest"]


@dataclass(frozen=True, slots=True)
class LimitEntry:
    """One limit of a tier.

    `scope`, whose calls share it: "credential" (app, key or token), "user", "identity" (account, org, workspace),
    "project", "endpoint" (one method and path) or "resource" (what the first `segments` parts of the path name).
    `unit`: what it counts, "calls" unless said otherwise. `per`, `longer_than`, `lockout` (how long a rejection shuts
    everything out) in seconds; `rate` of a bucket a second. `per_seat` is added for each licensed user, up to
    `at_most`. `source`, `date`, `verified`, where they differ from the tier's.
    """

    name: str
    kind: str
    amount: int
    scope: str
    per: float | None = None
    resets: str | None = None
    rate: float | None = None
    longer_than: float | None = None
    unit: str = "calls"
    segments: int = 0
    lockout: float = 0.0
    per_seat: int = 0
    at_most: int | None = None
    pacing: str | None = None
    note: str = ""
    source: str = ""
    date: str = ""
    verified: bool | None = None

    def allowed(self, seats: int = 0) -> int:
        """The amount for an account with so many licensed users."""
        amount = self.amount + self.per_seat * seats
        return amount if self.at_most is None else min(amount, self.at_most)

    def limit(self, time_zone: str, seats: int = 0) -> Limit:
        """The limit for an account whose midnight is that of `time_zone`."""
        amount = self.allowed(seats)
        if self.kind in {"rolling window", "fixed window"}:
            return Window(amount, per=self.per or 1, name=self.name)
        if self.kind == "bucket":
            return Bucket(self.rate or amount, amount, name=self.name)
        if self.kind == "concurrency":
            return Concurrency(amount, longer_than=self.longer_than, name=self.name)
        if self.kind == "rolling quota":
            return Quota(amount, per=self.per, name=self.name)
        return Quota(amount, resets=str(self.resets).replace("{time_zone}", time_zone), name=self.name)

    def counted_for(self, method: str, path: str) -> str:
        """What of a request, besides the account, the count belongs to: "" for account-wide limits."""
        bare = path.partition("?")[0]
        if self.scope == "endpoint":
            return f"{method.upper()} {bare}"
        if self.scope == "resource":  # Google's verbs hang on the name: properties/123:runReport
            return "/".join(bare.strip("/").split("/")[: self.segments]).partition(":")[0]
        return ""

    @property
    def paced(self) -> str | None:
        """How to spend it: "smooth" where the server's window is fixed or approximate, None for the usual."""
        return self.pacing or ("smooth" if self.kind == "fixed window" else None)


@dataclass(frozen=True, slots=True)
class Tier:
    """A subscription of a platform, with where its figures come from.

    `without_limits`: why there are none, "unpublished" or "unlimited". `rate_unpublished`: beside its limits the
    platform refuses what comes too fast, and tells no figure.
    """

    name: str
    title: str
    limits: tuple[LimitEntry, ...]
    source: str
    date: str
    verified: bool
    note: str = ""
    without_limits: str = ""
    rate_unpublished: bool = False

    def limits_for(self, time_zone: str = "UTC", seats: int = 0) -> tuple[Limit, ...]:
        """The limits of an account in that zone, with so many licensed users."""
        return tuple(entry.limit(time_zone, seats) for entry in self.limits)

    @property
    def pacing(self) -> str | None:
        """How to spend it: "smooth" if one of the limits asks for that, None for the usual."""
        return "smooth" if any(entry.paced == "smooth" for entry in self.limits) else None


@dataclass(frozen=True, slots=True)
class Rule:
    """One way in which a reply tells a rate limit. Every condition that is given must hold.

    `statuses`; `path` (a JSON path such as `errors[].code`) whose value is one of `equals`; `contains`: a text in the
    body; `header`: a field that is there, or `name: value`; `bare`: the body is no JSON. `limit`: the limit that it
    names, "" if it does not say. `example`: a body as the platform words it.
    """

    statuses: tuple[int, ...]
    path: str = ""
    equals: tuple[str, ...] = ()
    contains: str = ""
    header: str = ""
    bare: bool = False
    limit: str = ""
    example: str = ""


@dataclass(frozen=True, slots=True)
class Rejection:
    """How the platform says that a limit was exceeded.

    `statuses` always mean it; `rules` say which limit, or recognise it behind other statuses. `retry_after`: what the
    platform is documented to send with it, "seconds", "date" or "" for nothing.
    """

    statuses: tuple[int, ...] = (429,)
    rules: tuple[Rule, ...] = ()
    retry_after: Literal["", "seconds", "date"] = ""


@dataclass(frozen=True, slots=True)
class Route:
    """Calls that count against the same limits: `methods` (empty: all) and patterns of paths; each costs `cost`."""

    paths: tuple[str, ...]
    limits: frozenset[str]
    methods: frozenset[str] = frozenset()
    cost: int = 1

    def covers(self, method: str, path: str) -> bool:
        """Whether a request is one of them; with the method "" only the path counts."""
        if self.methods and method and method.upper() not in self.methods:
            return False
        return any(fnmatchcase(path, pattern) for pattern in self.paths)


@dataclass(frozen=True, slots=True)
class Cost:
    """What a call costs where limits count more than calls.

    `known` "before" or "after" the call; `estimate`: what to assume until then; `actual`: the JSON path of the figure
    in the reply.
    """

    unit: str
    known: str = "before"
    estimate: int = 1
    actual: str = ""
    note: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Profile:
    """What a platform allows and how it is reached.

    `origin`: the user's file that says so, "" for a built-in entry; `shadows`: that file stands in front of a built-in
    entry of the same name. `batch`: records of a call, 0 if unknown.
    """

    platform: str
    title: str
    base_url: str
    token_env: str
    rate_limit: str
    batch: int
    objects: tuple[str, ...]
    modes: tuple[str, ...]
    default_tier: str
    tiers: Mapping[str, Tier]
    routes: tuple[Route, ...] = ()
    hosts: tuple[str, ...] = ()
    header_dialect: str = "none"
    header_limit: str = ""
    headers_on_rejection: bool = True
    rejection: Rejection = field(default_factory=Rejection)
    cost: Cost | None = None
    batch_bytes: int = 0
    batch_source: str = ""
    note: str = ""
    origin: str = ""
    shadows: bool = False

    def tier(self, name: str | None) -> Tier:
        """A tier by name (None: the default); UsageError names the nearest."""
        wanted = name or self.default_tier
        found = self.tiers.get(wanted)
        if found is None:
            raise UsageError(f"unknown tier {wanted!r} of {self.title}: {nearest(wanted, self.tiers)}")
        return found

    def route(self, path: str, method: str = "") -> frozenset[str]:
        """The names of the limits that a call counts against; without routes, all of them."""
        found = self._route(path, method)
        if found is not None:
            return found.limits
        if self.routes:
            return frozenset()
        return frozenset(entry.name for tier in self.tiers.values() for entry in tier.limits)

    def costs(self, tier: str | None, path: str, method: str = "") -> dict[str, int]:
        """What a call costs of each limit of the tier that it counts against, as far as that is known before it."""
        names, found = self.route(path, method), self._route(path, method)
        least = self.cost.estimate if self.cost is not None else 1
        dear = max(found.cost if found is not None else 1, least)
        unit = self.cost.unit if self.cost is not None else ""
        return {
            entry.name: dear if entry.unit == unit else 1 for entry in self.tier(tier).limits if entry.name in names
        }

    def serves(self, host: str) -> bool:
        """Whether a host name (without port) is one of the platform's."""
        return any(fnmatchcase(host.lower(), pattern) for pattern in self.hosts)

    def _route(self, path: str, method: str) -> Route | None:
        bare = path.partition("?")[0]
        return next((route for route in self.routes if route.covers(method, bare)), None)


def nearest(name: str, known: Mapping[str, object] | tuple[str, ...] | list[str]) -> str:
    """The closest known name as a question, and the list of all, for a message."""
    close = difflib.get_close_matches(name, list(known), n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}there are {', '.join(known)}"
