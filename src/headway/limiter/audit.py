"""Places that nobody holds: of permits that vanished without a trace.

A permit that vanishes is noted by its finalizer. Where an exception out of a signal handler hits that as well, nobody
is left who knows of it. So the books are compared with the permits that exist: every instance counts as one reference
of its class, so that this costs next to nothing; only where more calls are in flight than permits exist, or where
somebody waits and nothing moves, are they counted one by one.
"""

from __future__ import annotations

import gc
import sys

from headway.limiter.permit import Permit
from headway.limits.gate import Gate
from headway.limits.limits import SECOND
from headway.limits.ticket import HANDED, IN_FLIGHT, SETTLING, TORN

__all__ = ["Audit"]

_SOON, _LATE = SECOND // 200, 60 * SECOND


class _Existing:
    """How many permits exist: references to their class beside those that modules hold."""

    def __init__(self) -> None:
        self._others = 0
        self._modules = 0
        self._again = 0

    def most(self, now: int) -> int:
        """No more than this; exact unless a module that was loaded within the last second names the class."""
        if len(sys.modules) != self._modules and now >= self._again:
            self._again = now + SECOND
            self.all()
        return sys.getrefcount(Permit) - self._others

    def all(self) -> list[Permit]:
        """Every one of them; takes some milliseconds."""
        found = [each for each in gc.get_objects() if type(each) is Permit]
        self._modules = len(sys.modules)
        self._others = sys.getrefcount(Permit) - len(found)
        return found


_existing = _Existing()


class Audit:
    """Of one gate. The limiter's lock is held."""

    __slots__ = ("_count_at", "_gap", "_gate", "_glance_at", "_linger")

    def __init__(self, gate: Gate, linger: int) -> None:
        self._gate = gate
        self._linger = linger
        self._glance_at = 0
        self._count_at = 0
        self._gap = _SOON

    def glance(self, now: int, known: int) -> None:
        """Look whether more calls are in flight than there are permits, of which `known` are certainly not."""
        if now < self._glance_at:
            return
        self._glance_at = now + _SOON
        flying = max((meter.in_flight for meter in self._gate.all), default=0)
        if flying and flying > _existing.most(now) - known:
            self.count(now)

    def count(self, now: int) -> None:
        """Compare one by one, the more seldom the more often all was in order."""
        if now < self._count_at:
            return
        self._gap = min(2 * self._gap, _LATE)
        self._count_at = now + self._gap
        if gc.get_freeze_count():  # what is frozen cannot be seen
            return
        mine = [each for each in _existing.all() if each._limiter._gate is self._gate]
        if any(SETTLING <= each.stage <= TORN for each in mine):
            return  # what was interrupted is mended first
        held = [each for each in mine if each.stage in {HANDED, IN_FLIGHT}]
        for meter in self._gate.all:
            flying = sorted((each.granted, each.cost_of(meter)) for each in held if meter in each.meters)
            if meter.reconcile(now, flying, self._linger):
                self._gap, self._count_at = _SOON, 0
                self._gate.touched |= meter.bit
