"""What was counted against a calendar quota, and whose clock is believed for it.

`drained` is the lender's word that nothing is left before the reset.

Rules:
* A call counts in every period that the span from its sending to its settling, widened by `skew`, touches.
* The period changes `skew` after the reset. From `skew` before it, calls in flight and new ones count on both sides.
* A wall clock that jumped against the monotonic one is not believed before the platform's Date or a later look agrees.
"""

from __future__ import annotations

from heapq import heappop, heappush

from headway.limits.limits import SECOND, Quota, nanoseconds
from headway.limits.meters.places import Grant, Meter
from headway.limits.resets import Resets

__all__ = ["QuotaMeter", "WallClock"]

_JUMP = 2 * SECOND
_LATER_LOOK = 60 * SECOND


class WallClock:
    """The wall clock as far as it is believed: monotonic time plus an offset that may creep but not jump."""

    __slots__ = ("_doubted", "_offset", "_since")

    def __init__(self) -> None:
        self._offset: int | None = None
        self._doubted: int | None = None
        self._since = 0

    def believed(self, now: int, wall: int) -> int:
        """The instant to use for calendars, given both clocks read at one moment."""
        offset = wall - now
        if self._offset is None or abs(offset - self._offset) <= _JUMP:
            self._offset, self._doubted = offset, None
            return wall
        if self._doubted is None or abs(offset - self._doubted) > _JUMP:
            self._doubted, self._since = offset, now
        elif now - self._since >= _LATER_LOOK:
            self._offset, self._doubted = offset, None
            return wall
        return now + self._offset

    def platform_says(self, now: int, date: int) -> None:
        """The platform's Date header (whole seconds): settles a doubt one way or the other."""
        if self._doubted is None or self._offset is None:
            return
        if abs(date - now - self._doubted) <= 2 * _JUMP:
            self._offset, self._doubted = self._doubted, None
        elif abs(date - now - self._offset) <= 2 * _JUMP:
            self._since = now


class QuotaMeter(Meter):
    """Calls used in the period; `places`, when lent, is the unused rest of a lot."""

    __slots__ = ("_losing", "clock", "drained", "end", "foreign", "in_zone", "owed", "resets", "skew", "total", "used")
    kind = "quota"

    def __init__(self, limit: Quota, cap: int) -> None:
        super().__init__(limit.name, limit.amount, cap)
        self.resets = Resets.parse(str(limit.resets))
        self.skew = nanoseconds(limit.skew)
        self.clock = WallClock()
        self.used = 0  # by us
        self.total = 0  # by every holder of a shared state, as last heard
        self.foreign = 0  # by others, the platform's word
        self.owed = 0
        self.in_zone = False
        self.drained = False
        self.end = 0
        self._losing: list[tuple[int, int]] = []

    def roll(self, now: int, wall: int) -> int:
        """Bring the period up to date; returns the believed wall instant."""
        while self._losing and self._losing[0][0] <= now:
            self.in_flight -= heappop(self._losing)[1]
        wall = self.clock.believed(now, wall)
        start, end = self.resets.period(wall - self.skew)
        if self.end and end > self.end:
            # Nothing was granted or settled since the last look, so what is in flight now was in flight all along.
            self.used = self.owed if self.in_zone and start == self.end else self.in_flight
            self.owed, self.in_zone, self.total, self.foreign = 0, False, 0, 0
            if self.places is not None:
                self.places, self.drained = 0, False
        self.end = max(end, self.end)
        if not self.in_zone and wall >= self.end - self.skew:
            self.in_zone, self.owed = True, self.in_flight
        return wall

    @property
    def ceiling(self) -> int:
        return self.cap if self.places is None else self.places

    @property
    def may_grow(self) -> bool:
        return self.places is not None and not self.drained

    def room(self, now: int, wall: int, cost: int) -> int | None:
        believed = self.roll(now, wall)
        if self.places is not None:
            full = cost > self.places
            if full and not self.drained:
                return None  # the lender may have more
        else:
            full = self.used + cost > max(self.cap - self.foreign, cost if self.used == 0 else 0)
        if full or (self.in_zone and self.owed + cost > self.cap):
            return now + self.end + self.skew - believed
        return 0

    def take(self, now: int, wall: int, cost: int) -> Grant:
        self.roll(now, wall)
        self._count(cost)
        return super().take(now, wall, cost)

    def _count(self, cost: int) -> None:
        self.used += cost
        if self.in_zone:
            self.owed += cost
        if self.places is not None:
            self.places -= cost

    def settle(self, grant: Grant, now: int, wall: int, *, lost: int, actual: int | None) -> None:
        self.roll(now, wall)
        if grant.generation != self.generation:
            return
        if lost:
            heappush(self._losing, (now + lost, grant.cost))
            return
        self.in_flight -= grant.cost
        if actual is not None:
            self._count(actual - grant.cost)

    def cancel(self, grant: Grant) -> None:
        if self._mine(grant):
            self._count(-grant.cost)

    def held(self, now: int, wall: int) -> int:
        self.roll(now, wall)
        return self.used

    def void(self) -> None:
        super().void()
        self._losing.clear()

    def surrender(self, now: int, wall: int, count: int) -> list[tuple[int, int]]:
        self.roll(now, wall)
        given = min(count, max(0, self.places or 0))
        if given:
            assert self.places is not None
            self.places -= given
            return [(0, given)]
        return []
