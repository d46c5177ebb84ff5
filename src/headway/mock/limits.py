"""The platform's own counting: exact rolling windows and calendar days, by the platform's clock.

Written from the platform's published rules, on purpose without a line of the client's code. Instants are integers in
nanoseconds. A window is closed at both ends: a call counts until more than its length has passed.
"""

from __future__ import annotations

import random
from collections import deque
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from headway.mock.clock import SECOND

__all__ = ["CalendarDay", "RollingWindow", "Traffic"]


class RollingWindow:
    """At most `amount` calls in any `per` seconds; `amount` None counts without refusing.

    `most` is the most that any window held of counted calls, `crowd` the same with the refused ones.
    """

    def __init__(self, amount: int | None, per: float, *, count_rejected: bool = False) -> None:
        self.amount = amount
        self.per = round(per * SECOND)
        self.most = 0
        self.crowd = 0
        self.refused = 0
        self._count_rejected = count_rejected
        self._stamps: deque[int] = deque()
        self._arrivals: deque[int] = deque()

    def full(self, now: int) -> bool:
        """Whether a call that arrives now is one too many."""
        return self.amount is not None and self.held(now) >= self.amount

    def held(self, now: int) -> int:
        """The calls of the window that ends now."""
        stamps = self._stamps
        oldest = now - self.per
        while stamps and stamps[0] < oldest:
            stamps.popleft()
        return len(stamps)

    def count(self, now: int) -> None:
        """An accepted call."""
        held = self.held(now) + 1
        self._stamps.append(now)
        self.most = max(self.most, held)
        self._meet(now)

    def refuse(self, now: int) -> None:
        """A refused call."""
        self.refused += 1
        if self._count_rejected:
            self._stamps.append(now)
        self._meet(now)

    def admit(self, now: int) -> bool:
        """Count a call; False if it is one too many."""
        if self.full(now):
            self.refuse(now)
            return False
        self.count(now)
        return True

    def remaining(self, now: int) -> int:
        """Calls that would still be accepted now; 0 without an amount."""
        return max(0, (self.amount or 0) - self.held(now))

    def frees_in(self, now: int) -> float:
        """Seconds until one more call may be accepted."""
        if not self.full(now) or self.amount is None:
            return 0.0
        index = len(self._stamps) - self.amount
        return max(0.0, (self._stamps[index] + self.per - now + 1) / SECOND)

    def _meet(self, now: int) -> None:
        arrivals = self._arrivals
        arrivals.append(now)
        oldest = now - self.per
        while arrivals[0] < oldest:
            arrivals.popleft()
        self.crowd = max(self.crowd, len(arrivals))


class CalendarDay:
    """At most `amount` calls between two midnights of a zone; None counts without refusing."""

    def __init__(self, amount: int | None, zone: str) -> None:
        self.amount = amount
        self.used = 0
        self._zone = ZoneInfo(zone)
        self._ends = 0

    def full(self, wall: int) -> bool:
        """Whether the day's calls are used up."""
        self._turn(wall)
        return self.amount is not None and self.used >= self.amount

    def count(self, wall: int) -> None:
        """One call of today."""
        self._turn(wall)
        self.used += 1

    def remaining(self, wall: int) -> int:
        """Calls left today; 0 without an amount."""
        self._turn(wall)
        return max(0, (self.amount or 0) - self.used)

    def frees_in(self, wall: int) -> float:
        """Seconds until midnight."""
        self._turn(wall)
        return (self._ends - wall) / SECOND

    def _turn(self, wall: int) -> None:
        if wall < self._ends:
            return
        today = datetime.fromtimestamp(wall // SECOND, UTC).astimezone(self._zone).date()
        day = today
        while self._ends <= wall:  # where midnight does not exist or occurs twice, the first midnight may be past
            day += timedelta(days=1)
            midnight = datetime(day.year, day.month, day.day, tzinfo=self._zone)
            self._ends = int(midnight.timestamp()) * SECOND
        self.used = 0


class Traffic:
    """The instants at which another app calls, made as far as they are asked for."""

    def __init__(self, calls: float, per: float, pattern: str, seed: str, start: int) -> None:
        self._gap = per * SECOND / calls
        self._calls = max(1, round(calls))
        self._per = round(per * SECOND)
        self._pattern = pattern
        self._rng = random.Random(seed)
        self._next = start
        self._left = self._calls
        if pattern == "poisson":
            self._step()

    def until(self, now: int) -> list[int]:
        """Those that are due, in order."""
        due = []
        while self._next <= now:
            due.append(self._next)
            self._step()
        return due

    def _step(self) -> None:
        if self._pattern == "poisson":
            self._next += max(1, round(self._rng.expovariate(1) * self._gap))
        elif self._pattern == "even":
            self._next += max(1, round(self._gap))
        else:
            self._left -= 1
            if self._left <= 0:
                self._left = self._calls
                self._next += self._per
