"""The meter of a rolling quota (a day's calls in any 24 hours), in coarse slots."""

from __future__ import annotations

from headway.limits.headers import Remaining
from headway.limits.limits import SECOND, Quota, guard_ns, nanoseconds
from headway.limits.meters.meter import FOREVER, Call, usable
from headway.limits.meters.places import PlacesMeter

__all__ = ["RollingMeter"]

_SLOTS = 96
_ASK_AGAIN = 900 * SECOND


class RollingMeter(PlacesMeter):
    """Each place is free `per` after the end of the slot in which its call settled."""

    __slots__ = ("_ask_at", "guard", "per", "slot")
    kind = "quota"

    def __init__(self, limit: Quota, share: float, reserve: int = 0) -> None:
        super().__init__(limit.name, limit.amount, share, reserve)
        self.per = nanoseconds(limit.per or 0)
        self.guard = guard_ns(self.per)
        self.slot = max(1, self.per // _SLOTS)
        self._ask_at = FOREVER

    @property
    def turnaround(self) -> int:
        return self.per + self.guard + self.slot

    def settle(self, now: int, cost: int, call: Call) -> None:
        self._cool(now, cost)
        self.in_flight -= cost

    def lose(self, now: int, cost: int, call: Call, linger: int) -> None:
        self._cool(now + linger, cost)
        self.in_flight -= cost

    def _cool(self, now: int, cost: int) -> None:
        at = now + self.slot - now % self.slot + self.per + self.guard
        heap = self._heap
        if heap and heap[-1][0] == at:
            self.extra += cost
            heap[-1] = (at, heap[-1][1] + cost)
        else:
            self.push(at, cost)

    def meant_by(self, word: Remaining) -> bool:
        return word.kind == "daily" and self.name == "daily"

    def hear(self, word: Remaining, now: int, cost: int, call: Call) -> str:
        said = super().hear(word, now, cost, call)
        self.told_used(word.limit - word.remaining, word.limit, now)
        return said

    def used_before(self, count: int) -> None:
        self.set_cap(self.cap - count)  # it comes back within the span, nobody knows when

    def told_used(self, counted: int, amount: int, now: int) -> None:
        """No more may go than the platform says is left, whoever used the rest; one may always ask."""
        most = min(self.allowed, usable(amount, self.share, self.reserve))
        self.set_cap(min(most, self.held(now) + most - counted))
        self._ask_at = FOREVER if self.cap == most else now + _ASK_AGAIN

    def relax(self, now: int, wall: int) -> int:
        at = super().relax(now, wall)
        if self._ask_at <= now:  # others' calls come free without a word to us: one call of ours asks
            self.set_cap(min(self.allowed, self.held(now) + 1))
            self._ask_at = FOREVER if self.cap == self.allowed else now + _ASK_AGAIN
        return min(at, self._ask_at)

    def backoff_limit(self, now: int) -> tuple[int, int]:
        wait = min(_ASK_AGAIN, self.per // 24)  # no clock tells when places come free: one call asks now and then
        return wait, wait

    def stricten(self, amount: int, turnaround: int) -> None:
        self.per += turnaround - self.turnaround
        self.allowed = amount
        self.set_cap(amount)
