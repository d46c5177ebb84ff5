"""A platform's limits as one account meets them: which limits of its limiter a call counts against, and at what cost.

Rules:
* A limit per endpoint or per resource is many limits: each is made when the first call asks for it, under the name
  `LIMIT@PLACE`, up to `MOST`; whatever comes after those shares one.
* The resource that is the account itself (a property that it was made for) goes by the limit's own name.
* One function serves adapters, engine, identity and reports alike: `ask` before a call, `tell` after it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase

from headway.adapters.attempts import Asked, Heard
from headway.limiter.limiter import Limiter
from headway.limits.limits import Limit
from headway.platforms.asking import Estimates, Request, cost_of, place_of
from headway.platforms.profile import LimitEntry, Profile, Tier
from headway.platforms.recognition import body_tells, refusal_of
from headway.platforms.usage import reads_body, usage_of

__all__ = ["MOST", "Scopes"]

MOST = 1000


class Scopes:
    """`made` gives a limit of an entry under a name, `key` its name in shared state (entry, place, name)."""

    def __init__(
        self,
        profile: Profile,
        tier: Callable[[], Tier],
        *,
        made: Callable[[LimitEntry, str], Limit],
        key: Callable[[LimitEntry, str, str], str],
    ) -> None:
        self._profile = profile
        self._tier = tier
        self._made = made
        self._key = key
        self._names: dict[tuple[str, str], str] = {}
        self._lock = threading.Lock()
        self._estimates = Estimates()

    def ask(
        self, limiter: Limiter, request: Request, *, whose: str = "", cost: int | Mapping[str, int] | None = None
    ) -> Asked:
        """What a call asks for; `whose`: the account's id at the platform; `cost` by the caller's own word."""
        profile, tier = self._profile, self._tier()
        route = profile.routed(request.method, request.path, tier.name)
        names = profile.counted(route)
        shape = self._estimates.shape(profile, request)
        dear = cost_of(profile, route, request, self._estimates.of(shape)) if cost is None else cost
        known = frozenset(limiter.limits)
        found: dict[str, str] = {}
        costs: dict[str, int] = {}
        for entry in tier.limits:
            if entry.name not in names:
                continue
            name = self._instance(limiter, entry, place_of(entry, request), whose) if entry.spread else entry.name
            if name in known or entry.spread:
                found[entry.name] = name
                costs[name] = self._cost(entry, dear, given=cost is not None)
        limits = frozenset(found.values()) | self.beside(known)
        same = set(costs.values()) <= {1}
        return Asked(limits, 1 if same else costs, found, request.path, shape)

    def spare(self) -> dict[str, LimitEntry]:
        """By name, the limits that places share beyond the last that has its own; from now on they are there."""
        found = {f"{entry.name}@*": entry for entry in self._tier().limits if entry.spread}
        self._names |= {(entry.name, "*"): name for name, entry in found.items()}
        return found

    def beside(self, known: frozenset[str]) -> frozenset[str]:
        """Of the limiter's limits those that the tier knows nothing of: searched for, or named by replies.

        They count every call.
        """
        listed = {entry.name for entry in self._tier().limits}
        return frozenset(name for name in known if name.partition("@")[0] not in listed)

    def _cost(self, entry: LimitEntry, dear: int | Mapping[str, int], *, given: bool) -> int:
        if isinstance(dear, Mapping):
            return dear.get(entry.name, 1)
        if not self._profile.weighs(entry) and not (
            given and self._profile.cost is None and entry.kind != "concurrency"
        ):
            return 1
        return dear if given else min(dear, entry.amount)

    def _instance(self, limiter: Limiter, entry: LimitEntry, place: str, whose: str) -> str:
        """The name of the limit for this place, made if it is the first call there."""
        if whose and (place == whose or (place == entry.resource and fnmatchcase(whose, entry.resource))):
            return entry.name
        found = self._names.get((entry.name, place))
        if found is not None:
            return found
        with self._lock:
            found = self._names.get((entry.name, place))
            if found is None:
                if len(self._names) >= MOST:
                    place = "*"
                name = f"{entry.name}@{place}"
                if (entry.name, place) not in self._names:
                    limiter.add(self._made(entry, name), self._key(entry, place, name))
                    self._names[entry.name, place] = name
                found = name
            return found

    # -- replies

    def body_tells(self, status: int, path: str) -> bool:
        """Whether the body of a reply of this status to this call says anything of limits."""
        return body_tells(self._profile, status) or (status < 300 and reads_body(self._profile, path.partition("?")[0]))

    def tell(self, asked: Asked, status: int, headers: Mapping[str, str], body: bytes, wall: int) -> Heard:
        """What a reply says of the limits that its call asked for, by the limiter's names."""
        profile, names = self._profile, asked.names
        entries = [entry for entry in self._tier().limits if entry.name in names]
        refusal = refusal_of(profile, status, headers, body, wall, entries=self._tier().limits)
        if refusal is not None:
            refusal = asked.named(refusal)
        told = usage_of(profile, entries, asked.path.partition("?")[0], headers, body, wall)
        if refusal is None and (told.needs is not None or told.cost):
            self._estimates.learn(asked.shape, told.needs if told.needs is not None else max(told.cost.values()))
        # What the pause is for, a limit used up until an instant that the reply tells, needs no belief besides.
        paused = refusal is not None and refusal.reset is not None
        left = tuple(asked.word(each) for each in told.left if not (paused and not each.remaining and each.reset))
        cost = {names[name]: spent for name, spent in told.cost.items() if name in names}
        return Heard(refusal, left, cost or None)
