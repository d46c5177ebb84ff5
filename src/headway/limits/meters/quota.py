"""What was counted against a calendar quota.

Rules:
* A call counts in every period that the span from its sending to its settling, widened by `skew`, touches.
* The period changes `skew` after the reset. From `skew` before it, calls in flight and new ones count on both sides.
* The calendar is looked at by `relax` alone, which the gate calls before whatever happens within `skew` of a reset,
  else about once a second; in between, the figures of the period hold.
* `drained`: the shared state has no quota left before the reset.
"""

from __future__ import annotations

from collections.abc import Mapping
from heapq import heappop, heappush

from headway.limits.clock import WallClock
from headway.limits.headers import Remaining
from headway.limits.limits import SECOND, Limit, Quota, nanoseconds
from headway.limits.meters.meter import EVENT, FOREVER, Call, Meter
from headway.limits.resets import Resets

__all__ = ["QuotaMeter"]


class QuotaMeter(Meter):
    """Calls used in the period; `places`, when lent, is the unused rest of a lot."""

    __slots__ = (
        "_before", "_began", "_losing", "_offset", "_resumes", "clock", "drained", "end", "foreign", "in_zone",
        "owed", "resets", "skew", "total", "used",
    )  # fmt: skip
    kind = "quota"
    sharing = "lots"

    def __init__(self, limit: Quota, share: float, reserve: int = 0) -> None:
        self.foreign = 0  # used by others, the platform's word
        self.used = 0  # by us
        self.in_zone = False
        super().__init__(limit.name, limit.amount, share, reserve)
        self.resets = Resets.parse(str(limit.resets))
        self.skew = nanoseconds(limit.skew)
        self.clock = WallClock()  # the gate's, once it has the meter
        self.total = 0  # by every holder of a shared state, as last heard
        self.owed = 0  # by us, and counted for the period after the next reset, too
        self.drained = False
        self.end = 0  # wall time; 0: the calendar was not looked at yet
        self._before = (0, 0)  # the period before: its end, and what was used of it and does not count in this one
        self._resumes = 0  # monotonic: when the next period is believed to have begun
        self._offset = 0
        self._began = 0  # monotonic: calls sent before it may have been counted in the period before
        self._losing: list[tuple[int, int]] = []

    def tidy(self) -> None:
        super().tidy()
        # The figure that `used` may reach; within a reset's zone more than that has to be asked.
        mine = self.cap - self.foreign if self.places is None else min(self.cap, self.used + self.places)
        self.limit = max(0, mine)
        self.shuts = 0 if self.in_zone else FOREVER

    # -- the calendar

    def turn_by(self, clock: WallClock) -> None:
        self.clock = clock

    def take_up(self, limit: Limit) -> None:
        self.resets, self.end = Resets.parse(str(getattr(limit, "resets", None) or self.resets.rule)), 0

    def relax(self, now: int, wall: int) -> int:
        self._offset = wall - now
        start, end = self.resets.period(wall - self.skew)
        if self.end and end != self.end:
            self._turn(start, end)
            self._began = now
        self.end = end
        self._resumes = end + self.skew - self._offset
        zone = wall >= end - self.skew
        if zone and not self.in_zone:
            self.owed = self.in_flight + sum(cost for at, cost in self._losing if at > self.zone_at)
        while self._losing and self._losing[0][0] <= now:
            heappop(self._losing)
        if zone != self.in_zone:
            self.in_zone = zone
            self.tidy()
        return now if zone else min(super().relax(now, wall), end - self.skew - self._offset, self._resumes)

    @property
    def zone_at(self) -> int:
        """Monotonic: from when on calls count for the next period, too."""
        return self.end - self.skew - self._offset

    def _turn(self, start: int, end: int) -> None:
        """Another period than before; it may be an earlier one: our clock was ahead."""
        self.total, self.foreign, self.drained = 0, 0, False
        if end > self.end:
            self._turn_on(start)
        elif end == self._before[0]:
            # What was used since counts on both sides, like all that was sent near the reset.
            self.owed = self.used
            self.used += self._before[1]
            self.in_zone = True
        else:
            self.owed, self.in_zone = 0, False
        self.tidy()

    def _turn_on(self, start: int) -> None:
        # What is in flight now was in flight all along, or was granted since: every grant near a reset looks first.
        began = start - self.skew - self._offset
        lost = sum(cost for at, cost in self._losing if at > began)
        # What is owed is owed to the period after the one in which it was used: nobody may have looked for longer.
        carried = self.owed if self.in_zone and self.end == start else self.in_flight + lost
        self._before = (self.end, max(0, self.used - carried))
        self.used, self.owed, self.in_zone = carried, 0, False
        if self.places is not None:
            self.places = 0

    # -- admission

    def take(self, now: int, cost: int) -> int:
        if not self.opens <= now < self.shuts or self.used + cost > self.limit:
            at = self.when(now, cost)
            if at:
                return at
        if self.places is not None:
            self.places -= cost
        self.used += cost
        self.in_flight += cost
        if self.in_zone:
            self.owed += cost
        return 0

    def room(self, now: int, cost: int) -> int:
        full = self.used + cost > self.limit
        if full and self.places is not None and not self.drained:
            return EVENT  # the lender may have more
        if full or (self.in_zone and self.owed + cost > self.cap):
            return max(self._resumes, now + 1)
        return 0

    def hoped(self, now: int, cost: int) -> int:
        at = self.room(now, cost)
        return 0 if at == EVENT else at

    @property
    def may_grow(self) -> bool:
        return self.places is not None and not self.drained

    @property
    def turnaround(self) -> int:
        return FOREVER

    def backoff_limit(self, now: int) -> tuple[int, int]:
        until = max(self._resumes - now, SECOND)
        return until, until

    # -- after the grant

    def settle(self, now: int, cost: int, call: Call) -> None:
        self.in_flight -= cost

    def lose(self, now: int, cost: int, call: Call, linger: int) -> None:
        heappush(self._losing, (now + linger, cost))
        self.in_flight -= cost

    def give_back(self, cost: int, call: Call) -> None:
        if self.places is not None:
            self.places += cost
        self.used -= min(cost, self.used)
        self.in_flight -= cost
        if self.in_zone:
            self.owed -= min(cost, self.owed)

    def correct(self, now: int, cost: int, actual: int, call: Call) -> None:
        by = actual - cost
        if self.places is not None:
            self.places -= by
        self.used += by
        self.in_flight += by
        if self.in_zone:
            self.owed += by

    # -- what replies teach

    def meant_by(self, word: Remaining) -> bool:
        return word.kind == "daily"

    def current(self, call: Call) -> bool:
        return call.granted >= self._began

    def hear(self, word: Remaining, now: int, cost: int, call: Call) -> str:
        said = super().hear(word, now, cost, call)
        if self.places is None:  # else the shared state is told, which knows what other processes used
            self.told_used(word.limit - word.remaining)
        return said

    def used_before(self, count: int) -> None:
        self.foreign = count
        self.tidy()

    def told_used(self, counted: int) -> None:
        """The platform has counted so many calls of the period, everybody's."""
        if self.in_zone:
            return  # near a reset nobody knows which period the platform meant
        foreign = max(0, counted - self.used)
        if foreign > self.foreign:
            self.foreign = foreign
            self.tidy()

    # -- lent places

    def lend(self, places: int, until: int) -> None:
        # A lot has no lease: what was lent counts as used from then on.
        super().lend(places, FOREVER)

    def forget(self) -> None:
        self._losing = []
        super().forget()

    def held(self, now: int) -> int:
        return self.used

    def surrender(self, now: int, count: int) -> list[tuple[int, int]]:
        given = min(count, max(0, self.places or 0))
        if given <= 0:
            return []
        self.lend((self.places or 0) - given, FOREVER)
        return [(0, given)]

    # -- for people, and for the next process

    def counts(self, now: int) -> tuple[int, int, int]:
        flying = min(self.in_flight, self.used)
        free = max(0, self.cap - self.foreign - max(self.used, self.total))
        return flying, self.cap - free - flying, free

    def memory(self) -> dict[str, int]:
        found = super().memory()
        if self.foreign:
            found |= {"foreign": self.foreign, "end": self.end}
        return found

    def recall(self, said: Mapping[str, int]) -> None:
        super().recall(said)
        foreign = said.get("foreign")
        if isinstance(foreign, int) and said.get("end") == self.end and foreign > self.foreign:
            self.foreign = foreign
            self.tidy()
