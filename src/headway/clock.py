"""The clocks that shells read and hand to the core: monotonic for waiting, wall for calendars."""

from __future__ import annotations

import time
from typing import Protocol

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """Two clocks in integer nanoseconds."""

    def monotonic_ns(self) -> int:
        """Never goes back; its zero means nothing."""

    def wall_ns(self) -> int:
        """Since the epoch, UTC; may jump."""


class SystemClock:
    """The machine's own clocks."""

    __slots__ = ()
    monotonic_ns = staticmethod(time.monotonic_ns)
    wall_ns = staticmethod(time.time_ns)
