"""What lending asks of a meter: the only place where it touches one.

Each function is one question or one order, so that a change of the meters changes one function here.
"""

from __future__ import annotations

from headway.limits.limits import SECOND
from headway.limits.meters.adaptive import AdaptiveMeter
from headway.limits.meters.places import BucketMeter, Meter, WindowMeter
from headway.limits.meters.quota import QuotaMeter

__all__ = [
    "believe_store", "forget", "held", "in_lots", "lend", "places", "roll", "rule", "say_opens", "shareable",
    "stricten", "surrender", "turnaround", "used",
]  # fmt: skip


def shareable(meter: Meter) -> bool:
    """Whether it is shared at all: what is searched for cannot be partitioned, every process searches for itself."""
    return not isinstance(meter, AdaptiveMeter)


def in_lots(meter: Meter) -> bool:
    """Whether lots of a period are lent, not places that come back."""
    return isinstance(meter, QuotaMeter)


def places(meter: Meter) -> int:
    """Places lent, or what is left of a lot (below 0: overdrawn)."""
    return meter.places or 0


def lend(meter: Meter, now: int, count: int, until: int | None = None) -> None:
    """From `now` on the meter may use `count` places, before the instant `until`; None leaves that as it is."""
    before = places(meter)
    meter.places = count
    if until is not None:
        meter.lease_until = until
    _rescale(meter, now, before)


def held(meter: Meter, now: int, wall: int) -> int:
    """Places in flight and cooling."""
    return meter.held(now, wall)


def surrender(meter: Meter, now: int, wall: int, count: int) -> list[tuple[int, int]]:
    """Take lent places away, idle ones first, then the coolest: (ns left to cool, places)."""
    before = places(meter)
    given = meter.surrender(now, wall, count)
    if given:
        _rescale(meter, now, before)
    return given


def _rescale(meter: Meter, now: int, before: int) -> None:
    """A bucket's level is in calls: with fewer places it drains more slowly, and holds as many as before."""
    if isinstance(meter, BucketMeter) and meter._empty_at > now:
        level = meter._empty_at - now
        meter._empty_at = now + -(-level * max(1, before) // max(1, places(meter)))


def forget(meter: Meter) -> None:
    """After a fork: what is in flight is the parent's."""
    meter.void()
    meter.places, meter.lease_until = 0, 0


def turnaround(meter: Meter) -> int:
    """Nanoseconds from a reply until its place is free again."""
    if isinstance(meter, WindowMeter):
        return meter.per + meter.guard + meter.lag + meter.slot
    if isinstance(meter, BucketMeter):
        return meter.cap * meter.spacing
    return 0


def stricten(meter: Meter, amount: int, around: int) -> None:
    """Of all who share the limit the strictest figures hold: `amount` places, each free `around` ns after a reply."""
    if isinstance(meter, WindowMeter):
        meter.per += around - turnaround(meter)
        meter.allowed = amount
        if not meter.slot:
            meter.spacing = meter.per // max(1, amount)
    elif isinstance(meter, BucketMeter):
        meter.spacing = -(-around // max(1, amount))
        meter._rate = SECOND / meter.spacing
    meter.cap = amount


def say_opens(meter: Meter, at: int) -> None:
    """No place is to be had before the monotonic instant `at`, for certain; 0: nobody can tell."""
    if hasattr(meter, "opens_at"):
        meter.opens_at = at


# -- calendar quotas


def roll(meter: QuotaMeter, now: int, wall: int) -> None:
    """Bring the period up to date."""
    meter.roll(now, wall)


def rule(meter: QuotaMeter) -> str:
    """The quota's reset rule, as it is written in a limit."""
    resets = meter.resets
    if resets.kind == "hourly":
        return "hourly"
    day = f"monthly {resets.day} " if resets.kind == "monthly" else ""
    return f"{day}{resets.hour:02}:{resets.minute:02} {resets.zone.key}"


def used(meter: QuotaMeter) -> tuple[int, int, int]:
    """The end of the period (wall ns), ours used of it, and ours of that that count for the next one too."""
    return meter.end, meter.used, meter.owed


def believe_store(meter: QuotaMeter, now: int, wall: int, end: int) -> None:
    """The store's wall clock, and the end of the period that it is in: believed over ours."""
    clock = meter.clock
    if clock._offset is None or abs(wall - now - clock._offset) > SECOND:
        clock._offset = wall - now
    clock._doubted = None
    if end < meter.end and wall < end - SECOND:
        meter.end = end
        meter.in_zone, meter.owed = False, 0
        meter.places, meter.drained = 0, False
