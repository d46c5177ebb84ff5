"""The platform's own counting: exact rolling windows and calendar days, by the platform's clock.

Written from the platform's published rules, on purpose without a line of the client's code.
"""

from __future__ import annotations

import time
from collections import deque
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

__all__ = ["CalendarDay", "MockClock", "RollingWindow"]


class MockClock:
    """The platform's clock in nanoseconds: the machine's, plus what the admin API advanced it by."""

    def __init__(self) -> None:
        self.advanced = 0

    def monotonic(self) -> int:
        """For windows."""
        return time.monotonic_ns() + self.advanced

    def wall(self) -> datetime:
        """For calendars."""
        return datetime.fromtimestamp((time.time_ns() + self.advanced) / 1e9, UTC)


class RollingWindow:
    """At most `amount` accepted calls in any `per` seconds."""

    def __init__(self, amount: int, per: float, *, count_rejected: bool = False) -> None:
        self.amount = amount
        self.per = int(per * 1_000_000_000)
        self.most = 0
        self._count_rejected = count_rejected
        self._stamps: deque[int] = deque()

    def admit(self, now: int) -> bool:
        """Count a call that arrived at `now`; False if it is one too many."""
        self._forget(now)
        if len(self._stamps) >= self.amount:
            if self._count_rejected:
                self._stamps.append(now)
            return False
        self._stamps.append(now)
        self.most = max(self.most, len(self._stamps))
        return True

    def remaining(self, now: int) -> int:
        """Calls that would still be accepted at `now`."""
        self._forget(now)
        return max(0, self.amount - len(self._stamps))

    def _forget(self, now: int) -> None:
        oldest = now - self.per
        while self._stamps and self._stamps[0] <= oldest:
            self._stamps.popleft()


class CalendarDay:
    """At most `amount` accepted calls between two midnights of a zone."""

    def __init__(self, amount: int, zone: str) -> None:
        self.amount = amount
        self.used = 0
        self._zone = ZoneInfo(zone)
        self._ends: datetime | None = None

    def admit(self, now: datetime) -> bool:
        """Count a call; False if the day's calls are used up."""
        if self.remaining(now) == 0:
            return False
        self.used += 1
        return True

    def remaining(self, now: datetime) -> int:
        """Calls left today."""
        if self._ends is None or now >= self._ends:
            tomorrow = now.astimezone(self._zone).date() + timedelta(days=1)
            self._ends = datetime(tomorrow.year, tomorrow.month, tomorrow.day, tzinfo=self._zone).astimezone(UTC)
            self.used = 0
        return max(0, self.amount - self.used)
