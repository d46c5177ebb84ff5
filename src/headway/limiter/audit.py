"""Places that nobody holds: of permits that vanished without a trace.

A permit that vanishes is noted by its finalizer. Where an exception out of a signal handler hits that as well, nobody
is left who knows of it. So the books are compared with the permits that exist. How many exist is the number of
references to their class, and costs next to nothing to ask; which ones, takes milliseconds, and is asked only where
more calls are in flight than permits exist, where somebody waits and nothing moves, or after ten minutes in which
something was always in flight.
"""

from __future__ import annotations

import gc
import sys
import time

from headway.limiter.permit import Issued
from headway.limits.gate import Gate
from headway.limits.limits import SECOND
from headway.limits.ticket import HANDED, IN_FLIGHT, SETTLING, TORN

__all__ = ["Audit"]

_SOON, _LATE, _ALWAYS = SECOND // 200, 60 * SECOND, 600 * SECOND
_SHARE = 100  # of the processor's time one part may go into listing permits


class _Existing:
    """The permits of this process. Nothing but they, and a fixed number of modules, refers to their class."""

    def __init__(self) -> None:
        self._others = 0
        self._again = 0

    def begin(self) -> None:
        """To be called before the first permit is made."""
        if not self._others:
            self._others = sys.getrefcount(Issued)

    def most(self) -> int:
        """How many there are at most."""
        return sys.getrefcount(Issued) - self._others

    def listed(self) -> list[Issued] | None:
        """Every one of them; None if they were listed just now, or cannot be seen."""
        began = time.monotonic_ns()
        if began < self._again or gc.get_freeze_count():
            return None
        found = [each for each in gc.get_referrers(Issued) if type(each) is Issued]
        self._others = sys.getrefcount(Issued) - len(found)
        now = time.monotonic_ns()
        self._again = now + _SHARE * (now - began)
        return found


_existing = _Existing()


class Audit:
    """Of one gate. The limiter's lock is held."""

    __slots__ = ("_count_at", "_gap", "_gate", "_glance_at", "_grants", "_idle_at", "_linger")

    def __init__(self, gate: Gate, linger: int) -> None:
        _existing.begin()
        self._gate = gate
        self._linger = linger
        self._glance_at = 0
        self._count_at = 0
        self._gap = _SOON
        self._idle_at = 0  # when nothing was in flight for the last time
        self._grants = 0  # to those who waited, at the last tick

    def glance(self, now: int, known: int) -> None:
        """Look whether more calls are in flight than there are permits, of which `known` are certainly not."""
        if now < self._glance_at:
            return
        self._glance_at = now + _SOON
        flying = max((meter.in_flight for meter in self._gate.all), default=0)
        if not flying:
            self._idle_at = now
        elif flying > _existing.most() - known or now - self._idle_at > _ALWAYS:
            self._count(now)

    def tick(self, now: int) -> None:
        """Once a second while anybody waits: if nobody was granted since the last one, it may be for lost places."""
        stalled, self._grants = self._grants == self._gate.grants, self._gate.grants
        if stalled and any(meter.in_flight for meter in self._gate.all):
            self._count(now)

    def _count(self, now: int) -> None:
        """Compare one by one, the more seldom the more often all was in order."""
        if now < self._count_at:
            return
        found = _existing.listed()
        if found is None:
            return
        self._gap = min(2 * self._gap, _LATE)
        self._count_at = now + self._gap
        self._idle_at = now
        mine = [each for each in found if each._limiter._gate is self._gate]
        if any(SETTLING <= each.stage <= TORN for each in mine):
            return  # what was interrupted is mended first
        held = [each for each in mine if each.stage in {HANDED, IN_FLIGHT}]
        for meter in self._gate.all:
            flying = sorted((each.granted, each.cost_of(meter)) for each in held if meter in each.meters)
            if meter.reconcile(now, flying, self._linger):
                self._gap, self._count_at = _SOON, 0
                self._gate.touched |= meter.bit
