"""What one process holds by its own clock, recomputed from nothing but the list of its calls: simple, O(n), independent.

Two answers to one question, "how many places of this limit are taken at `now`": the least and the most that the rules
of the design allow. Where nothing is left to choose they are equal. A limiter that says it has more in use than the most
holds places for nobody; one that says less than the least has forgotten a call. A waiter that fits even beside the most
must have been granted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

__all__ = ["NEVER", "SECOND", "Books", "Entry", "Spec"]

SECOND = 1_000_000_000
NEVER = 1 << 62
INFINITE = 1 << 40
_REMEMBERED = 1200 * SECOND  # a refusal may be about slots of calls that were lost long ago


@dataclass(frozen=True, slots=True)
class Spec:
    """One limit of a world, in its own words. Seconds are floats; `cap` is what may be used of `amount`."""

    kind: str  # window, slots (a rolling quota), bucket, quota, concurrency
    name: str
    amount: int
    cap: int
    per: float = 0.0
    bound: float | None = None
    lag: float = 0.0
    rate: float = 0.0
    longer_than: float | None = None
    margin: float = 0.0
    skew: float = 0.0

    per_ns: int = field(init=False, repr=False, default=0)
    guard_ns: int = field(init=False, repr=False, default=0)  # the guard of the design: per/2000 + 1 ms

    def __post_init__(self) -> None:
        per = round(self.per * SECOND)
        for name, value in (("per_ns", per), ("guard_ns", per // 2000 + 1_000_000)):
            object.__setattr__(self, name, value)

    def spacing(self, cap: int) -> int:
        """Nanoseconds between two grants under smooth pacing, at the most."""
        if self.kind == "bucket":
            return math.ceil(SECOND * self.amount / (self.rate * self.cap)) + 1
        return self.per_ns // cap + 1 if self.kind == "window" else 0


@dataclass(slots=True, eq=False)
class Entry:
    """One call as its process sees it: instants of the process's own clock (`*_true`: the platform's)."""

    granted: int
    granted_true: int
    costs: dict[str, int]
    stamped: int | None = None
    over: int | None = None
    lost: bool = False
    until_true: int = NEVER
    free: dict[str, tuple[int, int]] = field(default_factory=dict)


class Books:
    """The calls of one process."""

    __slots__ = ("_levels", "_unfallen", "drained", "entries", "linger", "withdrawn")

    def __init__(self, linger: int) -> None:
        self.linger = linger
        self.entries: list[Entry] = []
        self.withdrawn: dict[str, int] = {}  # limit: when its arrival_bound was last refuted
        self._levels: dict[str, tuple[float, float, int]] = {}
        self._unfallen: list[Entry] = []

    def add(self, entry: Entry) -> None:
        self.entries.append(entry)
        self._unfallen.append(entry)

    def cancelled(self, entry: Entry) -> None:
        self.entries.remove(entry)
        self._unfallen.remove(entry)

    def refused(self, name: str, now: int) -> None:
        """A slot was refused: calls that were lost may hold theirs still, for as long as they have been gone."""
        for entry in self.entries:
            if entry.lost and entry.over is not None and name in entry.costs:
                soonest, latest = entry.free.get(name, (0, entry.over + self.linger))
                entry.free[name] = (min(soonest, entry.over + self.linger), max(latest, 2 * now - entry.over))

    def longest_lost(self) -> int:
        """For how long a lost call may still hold its slot after a refusal, from its loss."""
        return max(
            (at - entry.granted for entry in self.entries for _, at in entry.free.values() if entry.lost), default=0
        )

    def flying(self, name: str) -> int:
        """The cost of the calls in flight."""
        return sum(entry.costs[name] for entry in self.entries if entry.over is None and name in entry.costs)

    def prune(self, now: int, keep: int) -> None:
        """Forget what was over longer than `keep` ago."""
        if len(self.entries) > 40:
            self.entries = [
                each for each in self.entries
                if each.over is None or each.over > now - (_REMEMBERED if each.lost else keep)
            ]  # fmt: skip

    def held(self, spec: Spec, now: int, true: int, epoch: int) -> tuple[int, int]:
        """The least and the most that is taken at `now`; `true` is the true instant, `epoch` its wall clock's zero."""
        if spec.kind == "bucket":
            return self._in_bucket(spec, now)
        if spec.kind == "quota":
            return self._in_period(spec, true, epoch)
        low = high = 0
        for entry in self.entries:
            cost = entry.costs.get(spec.name)
            if cost is not None:
                soonest, latest = self.free_at(spec, entry)
                low += cost if soonest > now else 0
                high += cost if latest > now else 0
        return low, high

    def free_at(self, spec: Spec, entry: Entry) -> tuple[int, int]:
        """Between which instants the places of a call become free."""
        found = entry.free.get(spec.name)
        if found is None:
            found = self._free_at(spec, entry)
            if entry.over is not None and spec.bound is None:
                entry.free[spec.name] = found
        return found

    def _free_at(self, spec: Spec, entry: Entry) -> tuple[int, int]:
        per, guard = spec.per_ns, spec.guard_ns
        at = NEVER
        if entry.over is not None:
            at = entry.over + (self.linger if entry.lost else 0)
        if spec.kind == "concurrency" or at == NEVER:
            soonest = latest = at
        elif spec.kind == "slots":
            soonest, latest = at + per, at + per + per // 24 + guard
        else:
            soonest = latest = at + round(spec.lag * SECOND) + per + guard
        if spec.bound is not None and entry.stamped is not None:
            early = entry.stamped + round(spec.bound * SECOND) + per + guard
            refuted = self.withdrawn.get(spec.name)
            if refuted is None:
                soonest, latest = min(soonest, early), min(latest, early)
            elif early <= refuted or (entry.over is not None and entry.over <= refuted):
                soonest = min(soonest, early)
        return soonest, latest

    def old(self, spec: Spec, now: int) -> int:
        """Calls that a `longer_than` may count at the most."""
        assert spec.longer_than is not None
        limit = now - round((spec.longer_than - spec.margin) * SECOND)
        found = 0
        for entry in self.entries:
            cost = entry.costs.get(spec.name)
            if cost is None:
                continue
            if entry.over is None:
                found += cost if entry.granted <= limit else 0
            elif entry.lost and entry.over + self.linger > now:
                found += cost
        return found

    def _in_bucket(self, spec: Spec, now: int) -> tuple[int, int]:
        low, high, flying = self.level(spec, now)
        return flying + math.floor(low + 1e-6), flying + math.ceil(high - 1e-6)

    def level(self, spec: Spec, now: int) -> tuple[float, float, int]:
        """The least and the greatest level of the virtual bucket, and what is in flight beside it."""
        low, high, then = self._levels.get(spec.name, (0.0, 0.0, 0))
        rate = spec.rate * spec.cap / spec.amount / SECOND
        slow = 1 / (1 / rate * 1.001 + 2_000)
        falling = []
        for entry in self._unfallen:
            at = entry.over if entry.over is None or not entry.lost else entry.over + self.linger
            if at is not None and at <= now:
                falling.append((at, entry))
        for at, entry in sorted(falling, key=lambda each: each[0]):
            self._unfallen.remove(entry)
            cost = entry.costs.get(spec.name, 0)
            low = max(0.0, low - (at - then) * rate) + cost
            high = max(0.0, high - (at - then) * slow) + cost
            then = max(then, at)
        low, high = max(0.0, low - (now - then) * rate), max(0.0, high - (now - then) * slow)
        self._levels[spec.name] = (low, high, now)
        return low, high, sum(entry.costs.get(spec.name, 0) for entry in self._unfallen)

    def _in_period(self, spec: Spec, true: int, epoch: int) -> tuple[int, int]:
        every, skew = (
            spec.per_ns,
            round((spec.skew + 3.0) * SECOND),
        )  # 3 s: what a clock may creep and still be believed
        start = true - (true + epoch) % every
        if true - start <= skew or start + every - true <= skew:
            return 0, INFINITE
        low = high = 0
        for entry in self.entries:
            cost = entry.costs.get(spec.name)
            if cost is not None:
                low += cost if entry.until_true > start + skew else 0
                high += cost if entry.until_true >= start - skew else 0
        return low, high
