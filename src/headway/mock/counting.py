"""How the platforms of the catalogue count: fixed windows, leaky buckets, calendar quotas, calls in flight.

Written from the platforms' published rules, on purpose without a line of the client's code. Instants are integers in
nanoseconds, (monotonic, wall) where a calendar matters.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from headway.errors import UsageError
from headway.mock.clock import SECOND

__all__ = ["Bucket", "Calendar", "Counter", "Fixed", "InFlight", "Rolling", "counter"]

_RULE = re.compile(r"(?:monthly (?P<day>\d+) )?(?P<hour>\d+):(?P<minute>\d+)(?: (?P<zone>\S+))?")


class Counter(Protocol):
    """One limit's count. `most` is the most that it ever held at once."""

    amount: int
    most: int

    def fits(self, cost: int, now: int, wall: int) -> bool:
        """Whether a call of that cost is accepted now."""

    def take(self, cost: int, now: int, wall: int, number: int) -> None:
        """Count it; `number` is the call's."""

    def end(self, number: int) -> None:
        """The call was answered."""

    def frees_in(self, cost: int, now: int, wall: int) -> float:
        """Seconds until such a call may be accepted; 0 if nobody can tell."""

    def left(self, now: int, wall: int) -> int:
        """What would still be accepted now."""


class Rolling:
    """At most `amount` in any `per` seconds; closed at both ends."""

    def __init__(self, amount: int, per: float) -> None:
        self.amount, self.most = amount, 0
        self.per = round(per * SECOND)
        self._held = 0
        self._taken: deque[tuple[int, int]] = deque()

    def fits(self, cost: int, now: int, wall: int) -> bool:
        return self.left(now, wall) >= cost

    def take(self, cost: int, now: int, wall: int, number: int) -> None:
        del wall, number
        self._taken.append((now, cost))
        self._held += cost
        self.most = max(self.most, self._held)

    def end(self, number: int) -> None:
        """Nothing: what was counted stays."""

    def frees_in(self, cost: int, now: int, wall: int) -> float:
        missing = cost - self.left(now, wall)
        for at, taken in self._taken:
            if missing <= 0:
                break
            missing -= taken
            if missing <= 0:
                return (at + self.per - now + 1) / SECOND
        return 0.0

    def left(self, now: int, wall: int) -> int:
        del wall
        while self._taken and self._taken[0][0] < now - self.per:
            self._held -= self._taken.popleft()[1]
        return self.amount - self._held


class _Periods:
    """A count that starts anew at instants of the wall clock."""

    def __init__(self, amount: int) -> None:
        self.amount, self.most, self.used = amount, 0, 0
        self._ends = 0

    def fits(self, cost: int, now: int, wall: int) -> bool:
        return self.left(now, wall) >= cost

    def take(self, cost: int, now: int, wall: int, number: int) -> None:
        del now, wall, number
        self.used += cost
        self.most = max(self.most, self.used)

    def end(self, number: int) -> None:
        """Nothing: what was counted stays."""

    def frees_in(self, cost: int, now: int, wall: int) -> float:
        return 0.0 if self.left(now, wall) >= cost else (self._ends - wall) / SECOND

    def left(self, now: int, wall: int) -> int:
        del now
        if wall >= self._ends:
            self.used, self._ends = 0, self._next(wall)
        return self.amount - self.used

    def _next(self, wall: int) -> int:
        raise NotImplementedError


class Fixed(_Periods):
    """At most `amount` between two multiples of `per` of the wall clock."""

    def __init__(self, amount: int, per: float) -> None:
        super().__init__(amount)
        self.per = round(per * SECOND)

    def _next(self, wall: int) -> int:
        return wall - wall % self.per + self.per


class Calendar(_Periods):
    """At most `amount` between two resets: "00:00 ZONE" (daily), "hourly", "monthly 1 00:00 ZONE"."""

    def __init__(self, amount: int, resets: str) -> None:
        super().__init__(amount)
        found = _RULE.fullmatch(resets)
        if found is None and resets != "hourly":
            raise UsageError(f"a mock cannot reset at {resets!r}: write '00:00 Europe/Berlin', 'hourly' or monthly")
        self._hourly = found is None
        parts = found.groupdict() if found else {}
        self._day, self._hour, self._minute = (int(parts.get(each) or 0) for each in ("day", "hour", "minute"))
        self._zone = ZoneInfo(parts.get("zone") or "UTC")

    def _next(self, wall: int) -> int:
        if self._hourly:
            return wall - wall % (3600 * SECOND) + 3600 * SECOND
        local = datetime.fromtimestamp(wall // SECOND, UTC).astimezone(self._zone)
        day = local.date()
        while True:  # from today on: the first day of the rule whose instant is to come
            if not self._day or day.day == self._day:
                at = datetime(day.year, day.month, day.day, self._hour, self._minute, tzinfo=self._zone)
                if (instant := int(at.timestamp()) * SECOND) > wall:
                    return instant
            day += timedelta(days=1)


class Bucket:
    """A leaky bucket that holds `amount` and drains `rate` a second."""

    def __init__(self, amount: int, rate: float) -> None:
        self.amount, self.most, self.rate = amount, 0, rate
        self._level, self._at = 0.0, 0

    def fits(self, cost: int, now: int, wall: int) -> bool:
        del wall
        self._drain(now)
        return self._level + cost <= self.amount + 1e-9

    def take(self, cost: int, now: int, wall: int, number: int) -> None:
        del wall, number
        self._drain(now)
        self._level += cost
        self.most = max(self.most, round(self._level))

    def end(self, number: int) -> None:
        """Nothing: what was counted stays."""

    def frees_in(self, cost: int, now: int, wall: int) -> float:
        del wall
        self._drain(now)
        return max(0.0, (self._level + cost - self.amount) / self.rate)

    def left(self, now: int, wall: int) -> int:
        del wall
        self._drain(now)
        return int(self.amount - self._level + 1e-9)

    def _drain(self, now: int) -> None:
        self._level = max(0.0, self._level - (now - self._at) / SECOND * self.rate)
        self._at = now


class InFlight:
    """At most `amount` calls at once; with `longer_than`, no new one while so many have run for that long."""

    def __init__(self, amount: int, longer_than: float | None) -> None:
        self.amount, self.most = amount, 0
        self._old = round((longer_than or 0) * SECOND)
        self._running: dict[int, int] = {}

    def fits(self, cost: int, now: int, wall: int) -> bool:
        del cost  # a call is one call, whatever it costs elsewhere
        return self.left(now, wall) >= 1

    def take(self, cost: int, now: int, wall: int, number: int) -> None:
        del cost, wall
        self._running[number] = now
        self.most = max(self.most, len(self._running))

    def end(self, number: int) -> None:
        """One call less."""
        self._running.pop(number, None)

    def frees_in(self, cost: int, now: int, wall: int) -> float:
        """Nobody can tell when a call ends."""
        del cost, now, wall
        return 0.0

    def left(self, now: int, wall: int) -> int:
        del wall
        held = sum(now - at >= self._old for at in self._running.values()) if self._old else len(self._running)
        return self.amount - held


def counter(limit: Mapping[str, Any], amount: int, time_zone: str) -> Counter:
    """The count of one limit as the catalogue writes it."""
    kind = limit["kind"]
    if kind in {"rolling window", "rolling quota"}:
        return Rolling(amount, limit["per"])
    if kind == "fixed window":
        return Fixed(amount, limit["per"])
    if kind == "bucket":
        return Bucket(amount, limit["rate"])
    if kind == "concurrency":
        return InFlight(amount, limit.get("longer_than"))
    return Calendar(amount, limit["resets"].replace("{time_zone}", time_zone))
