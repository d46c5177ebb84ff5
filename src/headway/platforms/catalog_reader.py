"""The catalogue: what platforms allow, as data in `catalog/*.toml`, read and checked."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache
from importlib.resources import files
from typing import Any

from headway.core.limits import Bucket, Concurrency, Limit, Quota, Window
from headway.errors import UsageError

__all__ = ["LimitEntry", "Profile", "Rejection", "Route", "Tier", "load", "nearest", "platforms"]


@dataclass(frozen=True, slots=True)
class LimitEntry:
    """One limit of a tier. `scope` is "credential" (counted per app or key) or "identity" (per account)."""

    name: str
    kind: str
    amount: int
    scope: str
    per: float | None = None
    resets: str | None = None
    rate: float | None = None

    def limit(self, time_zone: str) -> Limit:
        """The limit for an account whose midnight is that of `time_zone`."""
        if self.kind in {"rolling window", "fixed window"}:
            return Window(self.amount, per=self.per or 1, name=self.name)
        if self.kind == "bucket":
            return Bucket(self.rate or self.amount, self.amount, name=self.name)
        if self.kind == "concurrency":
            return Concurrency(self.amount, name=self.name)
        if self.kind == "rolling quota":
            return Quota(self.amount, per=self.per, name=self.name)
        return Quota(self.amount, resets=str(self.resets).replace("{time_zone}", time_zone), name=self.name)


@dataclass(frozen=True, slots=True)
class Tier:
    """A subscription of a platform, with where its figures come from."""

    name: str
    title: str
    limits: tuple[LimitEntry, ...]
    source: str
    date: str
    verified: bool

    def limits_for(self, time_zone: str = "UTC") -> tuple[Limit, ...]:
        """The limits of an account in that zone."""
        return tuple(entry.limit(time_zone) for entry in self.limits)


@dataclass(frozen=True, slots=True)
class Rejection:
    """How a platform says that it refused a call for its rate: by `statuses`, and by codes in the body if `code_at`.

    `code_at` are paths in the JSON body ("*.errorCode": '*' steps through a list), `codes` the codes (a final '*' is
    any text) with the limit that each names, '' for none. `bare`: only a body that is no JSON refuses.
    """

    statuses: frozenset[int]
    code_at: tuple[str, ...] = ()
    codes: Mapping[str, str] = field(default_factory=dict)
    bare: bool = False
    limit: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """Which limits the calls to some paths count against."""

    paths: tuple[str, ...]
    limits: frozenset[str]
    methods: frozenset[str] = frozenset()

    def matches(self, path: str, method: str) -> bool:
        """Whether a call belongs here; '*' in a path is any text."""
        if self.methods and method.upper() not in self.methods:
            return False
        return any(fnmatchcase(path, pattern) for pattern in self.paths)


@dataclass(frozen=True, slots=True)
class Profile:
    """What a platform allows and how it is reached."""

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
    routes: tuple[Route, ...]
    rejections: tuple[Rejection, ...]

    def tier(self, name: str | None) -> Tier:
        """A tier by name (None: the default); UsageError names the nearest."""
        wanted = name or self.default_tier
        found = self.tiers.get(wanted)
        if found is None:
            raise UsageError(f"unknown tier {wanted!r} of {self.title}: {nearest(wanted, self.tiers)}")
        return found

    def route(self, path: str, method: str = "POST") -> frozenset[str]:
        """The names of the limits that a call to this path counts against."""
        bare = path.partition("?")[0]
        return next((route.limits for route in self.routes if route.matches(bare, method)), frozenset())


def nearest(name: str, known: Mapping[str, object] | tuple[str, ...] | list[str]) -> str:
    """The closest known name as a question, and the list of all, for a message."""
    close = difflib.get_close_matches(name, list(known), n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}there are {', '.join(known)}"


def platforms() -> tuple[str, ...]:
    """The platforms in the catalogue, sorted."""
    folder = files("headway.platforms") / "catalog"
    return tuple(sorted(each.name.removesuffix(".toml") for each in folder.iterdir() if each.name.endswith(".toml")))


@lru_cache(maxsize=64)
def load(platform: str) -> Profile:
    """A platform's profile; UsageError for an unknown one."""
    known = platforms()
    if platform not in known:
        raise UsageError(f"unknown platform {platform!r}: {nearest(platform, known)}")
    text = (files("headway.platforms") / "catalog" / f"{platform}.toml").read_text(encoding="utf-8")
    return _profile(tomllib.loads(text))


def _profile(data: dict[str, Any]) -> Profile:
    return Profile(
        platform=data["platform"],
        title=data["title"],
        base_url=data["base_url"],
        token_env=data["token_env"],
        rate_limit=data["rate_limit"],
        batch=data["batch"]["records"],
        objects=tuple(data["objects"]),
        modes=tuple(data["modes"]),
        default_tier=data["default_tier"],
        tiers={name: _tier(name, tier) for name, tier in data["tiers"].items()},
        routes=tuple(
            Route(tuple(route["paths"]), frozenset(route["limits"]), frozenset(route.get("methods", ())))
            for route in data["routes"]
        ),
        rejections=tuple(_rejection(each) for each in data.get("rejections", ())),
    )


def _rejection(data: dict[str, Any]) -> Rejection:
    return Rejection(
        statuses=frozenset(data["statuses"]),
        code_at=tuple(data.get("code_at", ())),
        codes=data.get("codes", {}),
        bare=data.get("bare", False),
        limit=data.get("limit", ""),
    )


def _tier(name: str, data: dict[str, Any]) -> Tier:
    limits = tuple(LimitEntry(**entry) for entry in data["limits"])
    return Tier(name, data["title"], limits, data["source"], str(data["date"]), data["verified"])
