"""How the limits of a gate stand at one moment, as values for people and displays."""

from __future__ import annotations

from dataclasses import dataclass

from headway.limits.gate import Gate
from headway.limits.limits import SECOND
from headway.limits.meters.meter import EVENT, Meter

__all__ = ["LimitStatus", "status_of"]


@dataclass(frozen=True, slots=True)
class LimitStatus:
    """How one limit stands now: counts of places (or calls), seconds until the next is free, seconds of a pause."""

    name: str
    kind: str
    amount: int
    in_flight: int
    cooling: int
    free: int
    next_free: float | None
    paused: float | None


def status_of(gate: Gate, meter: Meter, now: int) -> LimitStatus:
    """One meter's figures at `now`; for lent places, as far as this process knows."""
    flying, cooling, free = meter.counts(now)
    at = meter.when(now, 1)
    paused = max(meter.paused_until, gate.paused_until) - now
    return LimitStatus(
        meter.name,
        meter.kind,
        meter.cap,
        flying,
        max(0, cooling),
        free,
        None if at >= EVENT else max(0, at - now) / SECOND,
        paused / SECOND if paused > 0 else None,
    )
