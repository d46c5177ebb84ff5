"""When a calendar quota starts anew: reset instants from the zone's own rules.

Rules:
* Days have 23, 24 or 25 hours. A wall time that occurs twice means the later one; one that does not exist means the
  first instant after the gap.
* Instants are nanoseconds since the epoch, UTC.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from headway.errors import UsageError

__all__ = ["Resets"]

SECOND = 1_000_000_000
_HOUR = 3600 * SECOND
_DAILY = re.compile(r"(?P<hour>\d{1,2}):(?P<minute>\d{2})(?:\s+(?P<zone>\S+))?")
_MONTHLY = re.compile(r"monthly\s+(?P<day>\d{1,2})\s+(?P<hour>\d{1,2}):(?P<minute>\d{2})(?:\s+(?P<zone>\S+))?")


@dataclass(slots=True)
class Resets:
    """A rule such as "00:00 Europe/Berlin", "hourly" or "monthly 1 00:00 UTC"."""

    kind: str
    hour: int
    minute: int
    day: int
    zone: ZoneInfo
    _start: int = field(default=0, repr=False)
    _end: int = field(default=0, repr=False)

    @classmethod
    def parse(cls, rule: str) -> Resets:
        """Read a rule; UsageError names what is wrong with it."""
        text = rule.strip()
        if text.lower() == "hourly":
            return cls("hourly", 0, 0, 1, ZoneInfo("UTC"))
        found = _MONTHLY.fullmatch(text)
        kind = "monthly" if found else "daily"
        found = found or _DAILY.fullmatch(text)
        if found is None:
            raise UsageError(
                f"unknown reset rule {rule!r}: write '00:00 Europe/Berlin', 'hourly' or 'monthly 1 00:00 UTC'"
            )
        parts = found.groupdict()
        hour, minute, day = int(parts["hour"]), int(parts["minute"]), int(parts.get("day") or 1)
        if hour > 23 or minute > 59:
            raise UsageError(f"reset rule {rule!r}: {hour}:{minute:02} is no time of day")
        if not 1 <= day <= 28:
            raise UsageError(f"reset rule {rule!r}: the day of a monthly reset is 1 to 28")
        return cls(kind, hour, minute, day, _zone(parts["zone"] or "UTC"))

    @property
    def rule(self) -> str:
        """The rule as it is written in a limit."""
        if self.kind == "hourly":
            return "hourly"
        day = f"monthly {self.day} " if self.kind == "monthly" else ""
        return f"{day}{self.hour:02}:{self.minute:02} {self.zone.key}"

    def period(self, wall: int) -> tuple[int, int]:
        """Start and end of the period that holds the instant `wall`: start <= wall < end."""
        if not self._start <= wall < self._end:
            self._start, self._end = self._find(wall)
        return self._start, self._end

    def _find(self, wall: int) -> tuple[int, int]:
        if self.kind == "hourly":
            start = wall - wall % _HOUR
            return start, start + _HOUR
        here = datetime.fromtimestamp(wall // SECOND, UTC).astimezone(self.zone).date()
        starts = sorted({self._instant(day) for day in self._days_around(here)})
        after = next(i for i, start in enumerate(starts) if start > wall)
        return starts[after - 1], starts[after]

    def _days_around(self, here: date) -> list[date]:
        if self.kind == "daily":
            return [here + timedelta(days=n) for n in (-2, -1, 0, 1, 2)]
        months = [here.year * 12 + here.month - 1 + n for n in (-2, -1, 0, 1, 2)]
        return [date(month // 12, month % 12 + 1, self.day) for month in months]

    def _instant(self, day: date) -> int:
        # A time that occurs twice: fold=1 is the later. One that does not exist: going to UTC and back moves it by
        # the gap, so the first instant after the gap is found from the offset in force before it.
        local = datetime(day.year, day.month, day.day, self.hour, self.minute, fold=1, tzinfo=self.zone)
        there = local.astimezone(UTC)
        if there.astimezone(self.zone).replace(tzinfo=None, fold=0) == local.replace(tzinfo=None, fold=0):
            return int(there.timestamp()) * SECOND
        return self._after_gap(local) * SECOND

    def _after_gap(self, local: datetime) -> int:
        """The first second after the gap that swallowed `local`: the offset changes there, found by halving."""
        offsets = [local.replace(fold=fold).utcoffset() for fold in (0, 1)]
        bare = local.replace(tzinfo=UTC).timestamp()
        candidates = sorted(int(bare - offset.total_seconds()) for offset in offsets if offset is not None)
        low, high = candidates[0] - 1, candidates[-1] + 1
        before = datetime.fromtimestamp(low, self.zone).utcoffset()
        while high - low > 1:
            middle = (low + high) // 2
            if datetime.fromtimestamp(middle, self.zone).utcoffset() == before:
                low = middle
            else:
                high = middle
        return high


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise UsageError(f"unknown time zone {name!r}: use a name such as 'Europe/Berlin' or 'UTC'") from error
