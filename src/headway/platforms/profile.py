"""What one entry of the catalogue says, as frozen values: limits, tiers, routes, what replies mean for limits.

Each field says what its key may hold (see catalog_schema.py); the reader needs no more than these classes.
"""

# ruff: noqa: RUF009  # `key`, `table` and `tables` make fields, as `field` does

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal

from headway.errors import UsageError
from headway.limits.limits import Bucket, Concurrency, Limit, Quota, Window
from headway.platforms import catalog_schema as told
from headway.platforms.catalog_schema import key, table, tables

__all__ = ["KINDS", "Cost", "LimitEntry", "Profile", "Rejection", "Route", "Rule", "Tier", "Usage", "nearest"]

# Per kind of limit: the keys that it needs and those that it may have, besides those that all have.
KINDS: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "rolling window": (frozenset({"per"}), frozenset()),
    "fixed window": (frozenset({"per"}), frozenset()),
    "bucket": (frozenset({"rate"}), frozenset()),
    "calendar quota": (frozenset({"resets"}), frozenset()),
    "rolling quota": (frozenset({"per"}), frozenset()),
    "concurrency": (frozenset(), frozenset({"longer_than"})),
}
SCOPES = ("credential", "user", "identity", "project", "endpoint", "resource")
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT")


@dataclass(frozen=True, slots=True)
class LimitEntry:
    """One limit of a tier.

    `scope`, whose calls share it: "credential" (app, key or token), "user", "identity" (account, org, workspace),
    "project", "endpoint" (one operation: method and path, ids left out; with `any_method` the path alone) or "resource"
    (what the first `segments` parts of the path name, or those that `resource` fits, as `properties/*`, or what
    `parameter` of the query or the body says). `unit`: what it counts, "calls" unless said otherwise. `per`,
    `longer_than`, `lockout` (how long a rejection shuts everything out) in seconds; `rate` of a bucket a second.
    `per_seat` is added for each licensed user, up to `at_most`. `source`, `date`, `verified`, where they differ from
    the tier's.
    """

    name: str = key(told.name)
    kind: str = key(told.one_of(*KINDS))
    amount: int = key(told.whole)
    scope: str = key(told.one_of(*SCOPES))
    per: float | None = key(told.positive, default=None)
    resets: str | None = key(told.resets, default=None)
    rate: float | None = key(told.positive, default=None)
    longer_than: float | None = key(told.positive, default=None)
    unit: str = key(told.text, default="calls")
    segments: int = key(told.whole, default=0)
    resource: str = key(told.text, default="")
    parameter: str = key(told.text, default="")
    any_method: bool = key(told.flag, default=False)
    lockout: float = key(told.positive, default=0.0)
    per_seat: int = key(told.whole, default=0)
    at_most: int | None = key(told.whole, default=None)
    pacing: str | None = key(told.one_of("burst", "smooth"), default=None)
    note: str = key(told.text, default="")
    source: str = key(told.text, default="")
    date: str = key(told.day, default="")
    verified: bool | None = key(told.flag, default=None)

    def allowed(self, seats: int = 0) -> int:
        """The amount for an account with so many licensed users."""
        amount = self.amount + self.per_seat * seats
        return amount if self.at_most is None else min(amount, self.at_most)

    def limit(self, time_zone: str, seats: int = 0, name: str = "") -> Limit:
        """The limit for an account whose midnight is that of `time_zone`, by another `name` than its own if given."""
        amount, name = self.allowed(seats), name or self.name
        if self.kind in {"rolling window", "fixed window"}:
            return Window(amount, per=self.per or 1, name=name)
        if self.kind == "bucket":
            return Bucket(self.rate or amount, amount, name=name)
        if self.kind == "concurrency":
            return Concurrency(amount, longer_than=self.longer_than, name=name)
        if self.kind == "rolling quota":
            return Quota(amount, per=self.per, name=name)
        return Quota(amount, resets=str(self.resets).replace("{time_zone}", time_zone), name=name)

    @property
    def spread(self) -> bool:
        """Whether there is one such limit for every endpoint, or for every resource."""
        return self.scope in {"endpoint", "resource"}

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
    title: str = key(told.text)
    limits: tuple[LimitEntry, ...] = tables(LimitEntry, needed=True)
    source: str = key(told.text)
    date: str = key(told.day)
    verified: bool = key(told.flag)
    note: str = key(told.text, default="")
    without_limits: str = key(told.one_of("unpublished", "unlimited"), default="")
    rate_unpublished: bool = key(told.flag, default=False)

    def limits_for(self, time_zone: str = "UTC", seats: int = 0) -> tuple[Limit, ...]:
        """The limits of an account in that zone, with so many licensed users."""
        return tuple(entry.limit(time_zone, seats) for entry in self.limits)

    @property
    def pacing(self) -> str | None:
        """How to spend it: "smooth" if one of the limits asks for that, None for the usual."""
        return "smooth" if any(entry.paced == "smooth" for entry in self.limits) else None

    @property
    def grows(self) -> bool:
        """Whether its figures grow with the licensed users, so that nobody can tell them without their number."""
        return any(entry.per_seat for entry in self.limits)


@dataclass(frozen=True, slots=True)
class Rule:
    """One way in which a reply tells a rate limit. Every condition that is given must hold.

    `statuses`: empty for any that is no success; `path` (a JSON path such as `errors[].code`) whose value is one of
    `equals`; `contains`: a text in the body, case aside; `header`: a field that is there, or `name: value`; `bare`: the
    body is no JSON. `limit`: the limit that it names, "" if it does not say. `refuses = false`: what looks like a rate
    limit and is none. `lasts`: a rule of resets ("hourly") until whose next instant it lasts. `example`: a body as the
    platform words it.
    """

    statuses: tuple[int, ...] = key(told.each(told.status), default=())
    path: str = key(told.path, default="")
    equals: tuple[str, ...] = key(told.each(told.code), default=())
    contains: str = key(told.text, default="")
    header: str = key(told.text, default="")
    bare: bool = key(told.flag, default=False)
    limit: str = key(told.text, default="")
    refuses: bool = key(told.flag, default=True)
    lasts: str = key(told.resets, default="")
    example: str = key(told.text, default="")

    def fits(self, status: int) -> bool:
        """Whether a reply of this status may be meant."""
        return status in self.statuses if self.statuses else status >= 300

    @property
    def reads(self) -> bool:
        """Whether the body decides."""
        return bool(self.path or self.bare or self.contains)


@dataclass(frozen=True, slots=True)
class Rejection:
    """How the platform says that a limit was exceeded.

    `statuses` always mean it, unless a rule says otherwise; `rules` say which limit, or recognise it behind other
    statuses. `retry_after`: what the platform is documented to send with it, "seconds", "date" or "" for nothing;
    `delay`: JSON paths at which its body says when to come back (`"12.5s"`, or seconds); `delay_unit`: seconds of the
    latter's unit; `reset`: header fields that say when, as seconds or as an instant.
    """

    statuses: tuple[int, ...] = key(told.each(told.status, empty=True))
    rules: tuple[Rule, ...] = tables(Rule)
    retry_after: Literal["", "seconds", "date"] = key(told.one_of("seconds", "date", ""), default="")
    delay: tuple[str, ...] = key(told.each(told.path), default=())
    delay_unit: float = key(told.positive, default=1.0)
    reset: tuple[str, ...] = key(told.each(told.text), default=())
    source: str = key(told.text, default="")


@dataclass(frozen=True, slots=True)
class Usage:
    """Where a reply says what was used of a limit; `paths`: of which calls, `limit`: which one ("": the call's own).

    Without `body`, header fields are named; with it, JSON paths within a table of the reply's body that stands at one
    of these paths. `amount`, `remaining`, `used`, `reset` (seconds, or an instant), `rate` (what comes back a second),
    `milliseconds` (the window's length); `fraction`: "18/5000", for `part` in "api-usage=18/5000"; `cost`: what this
    call cost; `needs`: what had to be free for it. `json`: a header field that holds JSON, in which `percent` are keys
    of shares used and `regain` that of the minutes until a call may go again. `kind` as in `Remaining`.
    """

    limit: str = key(told.text, default="")
    body: tuple[str, ...] = key(told.each(told.path), default=())
    amount: str = key(told.text, default="")
    remaining: str = key(told.text, default="")
    used: str = key(told.text, default="")
    reset: str = key(told.text, default="")
    rate: str = key(told.text, default="")
    milliseconds: str = key(told.text, default="")
    fraction: str = key(told.text, default="")
    part: str = key(told.text, default="")
    cost: str = key(told.path, default="")
    needs: str = key(told.path, default="")
    json: str = key(told.text, default="")
    percent: tuple[str, ...] = key(told.each(told.text), default=())
    regain: str = key(told.text, default="")
    paths: tuple[str, ...] = key(told.each(told.text), default=())
    source: str = key(told.text, default="")

    def covers(self, path: str) -> bool:
        """Whether replies to calls of this path have it."""
        return not self.paths or any(fnmatchcase(path, pattern) for pattern in self.paths)


# What `header_dialect` stands for: how a mock of the entry speaks, and what clients read.
DIALECTS: Mapping[str, tuple[Mapping[str, str], ...]] = {
    "none": (),
    "hubspot": (
        {
            "amount": "x-hubspot-ratelimit-max", "remaining": "x-hubspot-ratelimit-remaining",
            "milliseconds": "x-hubspot-ratelimit-interval-milliseconds",
        },
    ),
    "sforce-limit-info": ({"fraction": "sforce-limit-info", "part": "api-usage"},),
    "x-business-use-case-usage": (),
    "x-rate-limit": (
        {"amount": "x-rate-limit", "remaining": "x-rate-limit-remaining"},
        {"amount": "ratelimit-limit", "remaining": "ratelimit-remaining", "reset": "ratelimit-reset"},
    ),
    **{
        dialect: ({"amount": f"{prefix}-limit", "remaining": f"{prefix}-remaining", "reset": f"{prefix}-reset"},)
        for dialect, prefix in (
            ("ratelimit", "ratelimit"), ("x-ratelimit", "x-ratelimit"), ("x-ratelimit-epoch", "x-ratelimit"),
            ("x-sib-ratelimit", "x-sib-ratelimit"),
        )
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Route:
    """Calls that count against the same limits: `methods` (empty: all) and patterns of paths; each costs `cost`.

    `tiers`: those for which it holds (empty: all).
    """

    paths: tuple[str, ...] = key(told.each(told.text))
    limits: frozenset[str] = key(told.each(told.text, empty=True, kind=frozenset))
    methods: frozenset[str] = key(told.each(told.one_of(*_METHODS), kind=frozenset), default=frozenset())
    cost: int = key(told.whole, default=1)
    tiers: frozenset[str] = key(told.each(told.text, kind=frozenset), default=frozenset())

    def covers(self, method: str, path: str, tier: str | None = None) -> bool:
        """Whether a request is one of them; with the method "" only the path counts."""
        if self.methods and method and method.upper() not in self.methods:
            return False
        if self.tiers and tier not in self.tiers:
            return False
        return any(fnmatchcase(path, pattern) for pattern in self.paths)


@dataclass(frozen=True, slots=True)
class Cost:
    """What a call costs where limits count more than calls.

    `known` "before" or "after" the call; `estimate`: what to assume until it is known; `actual`: the JSON path of the
    figure in the reply (see also `Usage`); `count`: JSON paths of the lists in the call's body whose length decides:
    `each` of them cost one, or each as much as the estimate where only the reply tells.
    """

    unit: str = key(told.text)
    known: str = key(told.one_of("before", "after"))
    source: str = key(told.text)
    estimate: int = key(told.whole, default=1)
    count: tuple[str, ...] = key(told.each(told.path), default=())
    each: int = key(told.whole, default=1)
    actual: str = key(told.path, default="")
    note: str = key(told.text, default="")


@dataclass(frozen=True, slots=True)
class Profile:
    """What a platform allows and how it is reached.

    `origin`: the user's file that says so, "" for a built-in entry; `shadows`: that file stands in front of a built-in
    entry of the same name. `batch_records`, `batch_bytes` of a call, 0 if unknown. `header_dialect`, `header_limit`,
    `headers_on_rejection`: the usual header fields of usage, and whether refusals carry them; `usage`: what else is
    told.
    """

    platform: str = key(told.name)
    title: str = key(told.text)
    hosts: tuple[str, ...] = key(told.each(told.matching(r"[a-z0-9*.-]+", "host names, * for any text")))
    default_tier: str = key(told.text)
    tiers: Mapping[str, Tier] = key(told.nested)
    rejection: Rejection = table(Rejection, needed=True)
    base_url: str = key(told.matching(r"https?://\S+", "a URL"), default="")
    token_env: str = key(told.matching(r"[A-Z_][A-Z0-9_]*", "the name of an environment variable"), default="")
    rate_limit: str = key(told.text, default="")
    routes: tuple[Route, ...] = tables(Route)
    usage: tuple[Usage, ...] = tables(Usage)
    cost: Cost | None = table(Cost)
    batch_records: int = key(told.whole, default=0, within="batch")
    batch_bytes: int = key(told.whole, default=0, within="batch")
    batch_source: str = key(told.text, default="", within="batch")
    header_dialect: str = key(told.one_of(*DIALECTS), default="none")
    header_limit: str = key(told.text, default="")
    headers_on_rejection: bool = key(told.flag, default=True)
    note: str = key(told.text, default="")
    origin: str = ""
    shadows: bool = False

    spoken: tuple[Usage, ...] = field(default=(), init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """`spoken`: where replies say what was used, by `usage` and by the header dialect."""
        fields: Iterable[Mapping[str, Any]] = DIALECTS[self.header_dialect]
        spoken = (*self.usage, *(Usage(limit=self.header_limit, **each) for each in fields))
        object.__setattr__(self, "spoken", spoken)

    def tier(self, name: str | None) -> Tier:
        """A tier by name (None: the default); UsageError names the nearest."""
        wanted = name or self.default_tier
        found = self.tiers.get(wanted)
        if found is None:
            raise UsageError(f"unknown tier {wanted!r} of {self.title}: {nearest(wanted, self.tiers)}")
        return found

    def seated(self, tier: str | None, seats: int) -> Tier:
        """A tier by name, for so many licensed users; UsageError for one that grows with them, without their number."""
        found = self.tier(tier)
        if found.grows and not seats:
            raise UsageError(
                f"tier {found.name!r} of {self.title} grows with the licensed users: say how many there are, "
                "with --seats 40, seats = 40 in headway.toml or seats=40"
            )
        return found

    def route(self, path: str, method: str = "", tier: str | None = None) -> frozenset[str]:
        """The names of the limits that a call counts against; without routes, all of them."""
        return self.counted(self.routed(method, path, tier))

    def counted(self, route: Route | None) -> frozenset[str]:
        """The names of the limits that calls of a route count against."""
        if route is not None:
            return route.limits
        if self.routes:
            return frozenset()
        return frozenset(entry.name for tier in self.tiers.values() for entry in tier.limits)

    def costs(self, tier: str | None, path: str, method: str = "") -> dict[str, int]:
        """What a call costs of each limit of the tier that it counts against, as far as that is known before it."""
        names, found = self.route(path, method, tier), self.routed(method, path, tier)
        least = self.cost.estimate if self.cost is not None else 1
        dear = max(found.cost if found is not None else 1, least)
        return {
            entry.name: min(dear, entry.amount) if self.weighs(entry) else 1
            for entry in self.tier(tier).limits
            if entry.name in names
        }

    def weighs(self, entry: LimitEntry) -> bool:
        """Whether a limit counts what calls cost, not the calls."""
        return self.cost is not None and entry.unit == self.cost.unit

    def routed(self, method: str, path: str, tier: str | None = None) -> Route | None:
        """The route of a call, None if none fits."""
        bare, tier = path.partition("?")[0], tier or self.default_tier
        return next((route for route in self.routes if route.covers(method, bare, tier)), None)


def nearest(name: str, known: Mapping[str, object] | tuple[str, ...] | list[str]) -> str:
    """The closest known name as a question, and the list of all, for a message."""
    close = difflib.get_close_matches(name, list(known), n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}there are {', '.join(known)}"
