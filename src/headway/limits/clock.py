"""Whose clock is believed for a calendar: the wall clock, unless it jumps against the monotonic one."""

from __future__ import annotations

from headway.limits.limits import SECOND

__all__ = ["WallClock"]

_JUMP = 2 * SECOND
_LATER_LOOK = 60 * SECOND


class WallClock:
    """Monotonic time plus an offset that may creep but not jump.

    A jump is believed when the platform's Date agrees with it, or when it lasts for a minute. The clock of a shared
    state outranks our own: every process of an account turns its quotas by the same clock.
    """

    __slots__ = ("_doubted", "_offset", "_since", "_stated")

    def __init__(self) -> None:
        self._offset: int | None = None
        self._doubted: int | None = None
        self._since = 0
        self._stated = False  # the offset is the shared state's

    def believed(self, now: int, wall: int) -> int:
        """The instant to use for calendars, given both clocks read at one moment."""
        if self._stated and self._offset is not None:
            return now + self._offset
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

    def store_says(self, now: int, wall: int, late: int = 0) -> None:
        """The wall clock of the shared state, read within the last `late` nanoseconds before `now`."""
        least, most = wall - now, wall - now + late
        slack = SECOND if self._stated else 0
        if self._offset is None or not least - slack <= self._offset <= most + slack:
            self._offset = least + late // 2
        self._doubted, self._stated = None, True
