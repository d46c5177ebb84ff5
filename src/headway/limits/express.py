"""The way through a gate that most calls take: nobody waits, nothing is paused or paced, and one call costs one place.

It touches the meters just as `Meter.take` and `Meter.settle` do, so that both ways can be mixed freely; it is there
because it spares a ticket and a grant per limit. A gate offers it (`Gate.express`) only while it is right.
"""

from __future__ import annotations

from collections.abc import Iterable

from headway.limits.meters.places import ConcurrencyMeter, Meter, WindowMeter

__all__ = ["Express", "express_of"]


class Express:
    """All limits of a gate, each of a kind that needs no calendar: windows and slots."""

    __slots__ = ("_slots", "_windows", "only")

    def __init__(self, windows: tuple[WindowMeter, ...], slots: tuple[ConcurrencyMeter, ...]) -> None:
        self._windows = windows
        self._slots = slots
        self.only = windows[0] if len(windows) == 1 and not slots else None

    @property
    def meters(self) -> tuple[Meter, ...]:
        """Every limit on the way."""
        return (*self._windows, *self._slots)

    def take(self, now: int) -> bool:
        """Take a place of each, or none."""
        for window in self._windows:
            ring = window.ring
            if window.head < len(ring) and ring[window.head] <= now:
                window.drain(now)
            if window.hold >= window.cap:
                return False
        for slot in self._slots:
            if slot.hold >= slot.cap:
                return False
            slot.hold += 1
            slot.in_flight += 1
        for window in self._windows:
            window.hold += 1
            window.in_flight += 1
        return True

    def settle(self, now: int) -> None:
        """The reply came."""
        for window in self._windows:
            window.in_flight -= 1
            window.ring.append(now + window.span)
        for slot in self._slots:
            slot.in_flight -= 1
            slot.hold -= 1


def express_of(meters: Iterable[Meter], now: int) -> Express | None:
    """The express way through these meters; None while one of them needs more than it does."""
    windows: list[WindowMeter] = []
    slots: list[ConcurrencyMeter] = []
    for meter in meters:
        if meter.places is not None or meter.lease_until is not None or now < meter.paused_until:
            return None
        if type(meter) is WindowMeter:
            if meter.slot or meter.history is not None or not meter.bursts or meter.cooling_heap:
                return None
            meter.span = meter.lag + meter.per + meter.guard
            windows.append(meter)
        elif type(meter) is ConcurrencyMeter and meter.longer_than is None:
            if meter.cooling_heap or meter.draining:
                return None
            slots.append(meter)
        else:
            return None
    if len(slots) > 1 or not windows:
        return None
    return Express(tuple(windows), tuple(slots))
