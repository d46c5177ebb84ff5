"""The meter of a server's leaky or token bucket: a virtual bucket into which each call falls when it settles."""

from __future__ import annotations

from heapq import heappop, heappush
from math import ceil

from headway.limits.limits import Bucket, nanoseconds
from headway.limits.meters.meter import EVENT, Call, Meter

__all__ = ["BucketMeter"]

_LONGEST_BACKOFF = 60_000_000_000


class BucketMeter(Meter):
    """A call goes out while level + in flight + cost <= capacity.

    Lent places are lent bucket: of K places, k drain at k/K of the rate, and no sum of such buckets can be fuller
    than the server's own. The level is kept in calls' worth of the whole bucket, so it is rescaled when places change.
    """

    __slots__ = ("_at", "_least", "_level", "_lingering", "_losing", "_rate")
    kind = "bucket"

    def __init__(self, limit: Bucket, share: float, reserve: int = 0) -> None:
        del reserve  # of calendar quotas alone
        self._least = limit.amount
        super().__init__(limit.name, limit.amount, share)
        self._rate = limit.rate * self.cap / limit.amount  # calls a second, as much of it as is ours
        self._level = 0.0  # calls in the bucket at `_at`
        self._at = 0
        self._least = self.cap  # the fewest places since `_at`: what drained meanwhile drained no faster
        self._losing: list[tuple[int, int]] = []  # (certainly counted at, cost) of calls without a reply
        self._lingering = 0
        self.spacing = nanoseconds(1 / self._rate)

    @property
    def turnaround(self) -> int:
        return int(self.cap * self._each(self.cap)) + 1

    def _each(self, places: int) -> float:
        """Nanoseconds for one call to drain out of so many places, 500 ppm and 1 us slower than the server says."""
        return 1e9 / (self._rate * max(1, places) / self.cap) * 1.0005 + 1_000

    def _drain(self, now: int) -> None:
        """Bring the level up to `now`."""
        each = self._each(self._least)
        while self._losing and self._losing[0][0] <= now:
            at, cost = self._losing[0]
            level = max(0.0, self._level - max(0, at - self._at) / each) + cost
            self._level, self._at, self._lingering = level, max(at, self._at), self._lingering - cost
            heappop(self._losing)
        if now > self._at:
            self._level, self._at = max(0.0, self._level - (now - self._at) / each), now
            self._least = self.limit

    def take(self, now: int, cost: int) -> int:
        at = self.when(now, cost)
        if at:
            return at
        if self.paced:
            self.pace(now, cost)
        self.in_flight += cost
        return 0

    def room(self, now: int, cost: int) -> int:
        self._drain(now)
        over = self._level + self.in_flight + self._lingering + cost - self.limit
        if over <= 1e-9:
            return 0
        if over <= self._level + 1e-9:
            return now + int(over * self._each(self.limit)) + 1
        return self._losing[0][0] if self._losing else EVENT

    def hoped(self, now: int, cost: int) -> int:
        self._drain(now)
        room = self.cap if self.may_grow else self.limit
        over = self._level + self.in_flight + self._lingering + cost - room
        return now + int(over * self._each(room)) if over > 0 else 0

    def settle(self, now: int, cost: int, call: Call) -> None:
        self._drain(now)
        self._level += cost
        self.in_flight -= cost

    def lose(self, now: int, cost: int, call: Call, linger: int) -> None:
        self._lingering += cost
        heappush(self._losing, (now + linger, cost))
        self.in_flight -= cost

    def give_back(self, cost: int, call: Call) -> None:
        self.in_flight -= cost

    def correct(self, now: int, cost: int, actual: int, call: Call) -> None:
        self.in_flight += actual - cost

    def backoff_limit(self, now: int) -> tuple[int, int]:
        return 0, _LONGEST_BACKOFF

    def told_amount(self, amount: int) -> bool:
        """The platform names the bucket's size: the rate goes with it."""
        before = self.cap
        changed = super().told_amount(amount)
        if self.cap != before:
            self._rate *= self.cap / before
            self.spacing = nanoseconds(1 / self._rate)
        return changed

    def stricten(self, amount: int, turnaround: int) -> None:
        each = max(1.0, (turnaround / max(1, amount) - 1_000) / 1.0005)
        self._rate = 1e9 / each
        self.spacing = int(each)
        self.set_cap(amount)

    def forget(self) -> None:
        self._level, self._losing, self._lingering = 0.0, [], 0
        super().forget()

    def told_level(self, level: float, now: int) -> None:
        """The server says how full its bucket is: others' calls in it are not in our books."""
        self._drain(now)
        self._level = max(self._level, min(float(self.cap), level - self.in_flight))

    # -- lent places

    def tidy(self) -> None:
        super().tidy()
        self._least = min(self._least, self.limit)

    def held(self, now: int) -> int:
        self._drain(now)
        return self.in_flight + self._lingering + ceil(self._level - 1e-9)

    def cooling(self, now: int) -> list[tuple[int, int]]:
        self._drain(now)
        whole = ceil(self._level - 1e-9)
        level = [(int(self._level * self._each(self.limit)) + 1, whole)] if whole else []
        return level + [(at - now + self.turnaround, cost) for at, cost in sorted(self._losing)]
