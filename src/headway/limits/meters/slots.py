"""The meter of a concurrency limit: calls in flight; one without a reply keeps its slot for the linger."""

from __future__ import annotations

from bisect import bisect_left, insort

from headway.limits.limits import SECOND, Concurrency, nanoseconds
from headway.limits.meters.meter import EVENT, Call
from headway.limits.meters.places import PlacesMeter

__all__ = ["SlotsMeter"]

_REMEMBERED = 600 * SECOND


class SlotsMeter(PlacesMeter):
    """With `longer_than`, only calls older than that count.

    After a refusal nothing goes before all that is in flight has come back (`_draining`). Calls that were given up and
    whose linger is over may hold their connections still: a refusal makes them count once more, for as long as they
    have been gone, so that they are waited for rather than asked after.
    """

    __slots__ = ("_ages", "_draining", "_gone", "longer_than")
    kind = "concurrency"
    weighs = False  # a call in flight is there once, whatever it turns out to cost

    def __init__(self, limit: Concurrency, share: float, reserve: int = 0) -> None:
        del reserve  # of calendar quotas alone
        self.longer_than: int | None = None
        self._draining = False
        super().__init__(limit.name, limit.amount, share)
        if limit.longer_than is not None:
            self.longer_than = max(0, nanoseconds(limit.longer_than) - nanoseconds(limit.margin))
        self._ages: list[tuple[int, int]] = []  # (granted, cost) of calls in flight, where their age matters
        self._gone: list[tuple[int, int, int]] = []  # (given up at, counted until, cost)

    def take(self, now: int, cost: int) -> int:
        if not self.opens <= now < self.shuts or self.in_flight + self.extra + cost > self.limit:
            at = self.when(now, cost)
            if at:
                return at
            if self.longer_than is not None:
                insort(self._ages, (now, cost))
        self.in_flight += cost
        return 0

    def tidy(self) -> None:
        super().tidy()
        if self._draining or self.longer_than is not None:
            self.shuts = 0

    def room(self, now: int, cost: int) -> int:
        at = super().room(now, cost)
        if self._draining:
            if self.in_flight:
                return EVENT
            self._draining = False
            self.tidy()
        if self.longer_than is None or self.places is not None:
            return at  # of lent places all calls count: nobody knows how old those of other processes are
        old = self.holds - sum(count for _, count in self._ages)
        young = bisect_left(self._ages, (now - self.longer_than + 1, 0))
        old += sum(count for _, count in self._ages[:young])
        if old + cost <= self.limit:
            return 0
        return self._heap[0][0] if self._heap else EVENT

    def hoped(self, now: int, cost: int) -> int:
        self.release(now)
        missing = self.extra + cost - (self.cap if self.may_grow else self.limit)
        return 0 if missing <= 0 else self.freed(missing)

    def settle(self, now: int, cost: int, call: Call) -> None:
        if self.longer_than is not None:
            self._forget_age(cost, call)
        self.in_flight -= cost

    def lose(self, now: int, cost: int, call: Call, linger: int) -> None:
        if self.longer_than is not None:
            self._forget_age(cost, call)
        if self._gone and self._gone[0][0] < now - _REMEMBERED:
            self._gone = [each for each in self._gone if each[0] >= now - _REMEMBERED]
        self._gone.append((now, now + linger, cost))
        self.push(now + linger, cost)
        self.in_flight -= cost

    def reconcile(self, now: int, flying: list[tuple[int, int]], linger: int) -> int:
        missing = super().reconcile(now, flying, linger)
        if self.longer_than is not None:
            self._ages = flying
        return missing

    def give_back(self, cost: int, call: Call) -> None:
        if self.longer_than is not None:
            self._forget_age(cost, call)
        self.in_flight -= cost

    def _forget_age(self, cost: int, call: Call) -> None:
        at = bisect_left(self._ages, (call.granted, cost))
        if at < len(self._ages) and self._ages[at] == (call.granted, cost):
            del self._ages[at]

    def refused(self, now: int, call: Call | None, *, named: bool) -> None:
        if not named or self.longer_than is not None:
            return
        self._draining = True
        self.tidy()
        self.release(now)
        kept = [each for each in self._gone if each[0] >= now - _REMEMBERED]
        self._gone = []
        for given_up, until, cost in kept:
            if until <= now:  # counted no longer, and maybe there still
                self.push(now + (now - given_up), cost)
                self._gone.append((given_up, now + (now - given_up), cost))
            else:
                self._gone.append((given_up, until, cost))

    def told_amount(self, amount: int) -> bool:
        del amount  # headers speak of calls in a window
        return False

    def forget(self) -> None:
        self._ages, self._gone = [], []
        super().forget()
