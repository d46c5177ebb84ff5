"""The holder's side of lending: what one process asks of the keeper for a meter, and what it makes of the answer.

Rules:
* Lent places are used only before asked + 0.999 ttl, where `asked` is our clock before the request went out.
* Places given back leave the meter when the request is made; until the keeper has answered they are kept aside, to
  be offered again.
* A holder that needs nothing returns everything and then asks no more.
"""

from __future__ import annotations

from headway.limits.limits import SECOND
from headway.limits.meters.meter import Meter
from headway.limits.meters.quota import QuotaMeter
from headway.limits.sharing.lots import LotAnswer, LotAsk
from headway.limits.sharing.places import Answer, Ask, Keeping

__all__ = ["LotHolder", "PlacesHolder", "keeping_for"]

_SOONEST = SECOND // 50
_LOT_SECONDS = 30


def keeping_for(meter: Meter, linger: int, ttl: int) -> Keeping:
    """What the keeper must know of a meter's limit."""
    per = 0
    if isinstance(meter, WindowMeter):
        per = meter.per + meter.guard + meter.lag + meter.slot
    elif isinstance(meter, BucketMeter):
        per = meter.cap * meter.spacing
    return Keeping(meter.cap, per, linger, ttl)


class PlacesHolder:
    """One meter whose places are lent."""

    __slots__ = (
        "_aside",
        "_asked",
        "_blocked",
        "_next",
        "_pause_for",
        "_seen",
        "_target",
        "cold",
        "fresh",
        "holder",
        "keeping",
        "leaving",
        "meter",
        "opened",
        "recovering",
        "single",
    )  # fmt: skip

    def __init__(self, meter: Meter, keeping: Keeping, holder: str, *, fresh: bool = False) -> None:
        meter.places = 0
        meter.lease_until = 0
        self.meter = meter
        self.keeping = keeping
        self.holder = holder
        self.fresh = fresh
        self.cold = True
        self.opened: int | None = None
        self.recovering = 0
        self.leaving = False
        self._seen = ("", 0)
        self._aside: list[tuple[int, int]] = []
        self._target: int | None = None
        self._blocked = False
        self._pause_for = 0
        self._next = 0
        self._asked = 0
        self.single = False

    def due(self, now: int, wall: int, queued: int) -> int | None:
        """When to ask next; None for never, as things stand. `queued`: cost of the tickets that wait for the meter."""
        if self._pause_for or (self.opened is not None and self.cold):
            return now
        if self.single and (self._aside or self.meter.held(now, wall) > self.meter.in_flight):
            return max(now, self._asked + _SOONEST)  # it was used: others wait for it
        needs = queued > 0 and self.meter.held(now, wall) + queued > (self.meter.places or 0)
        if needs and not self._blocked:
            return now
        idle = not queued and not self.meter.places and not self._aside
        return None if idle else self._next

    def pause(self, nanoseconds: int) -> None:
        """Tell the other holders of a rate-limit reply."""
        self._pause_for = max(self._pause_for, nanoseconds)

    def used(self, now: int, wall: int, cost: int) -> bool:
        """A call of ours is over; where places are scarce, its places are for others now. True if so."""
        if self.single:
            self._aside += [(now + left, count) for left, count in self.meter.surrender(now, wall, cost)]
        return self.single

    def ask(self, now: int, wall: int, queued: int) -> Ask:
        """The request to send now."""
        meter = self.meter
        places = meter.places or 0
        held = meter.held(now, wall)
        self._asked = now
        if queued and held + queued > places:
            want = meter.cap
        elif self.single:
            want = meter.in_flight
        elif held or queued:
            want = min(meter.cap, held + queued + max(5, held))
        else:
            want = 0
        if self.leaving:
            want = 0
        if self.single:
            surplus = max(0, places - meter.in_flight - (min(queued, places - held) if want else 0))
        else:
            surplus = places - (want if self._target is None else min(want, self._target))
        if surplus > 0:
            self._aside += [(now + left, count) for left, count in meter.surrender(now, wall, surplus)]
        self._blocked = bool(queued) and held + queued > places
        returns = tuple((max(0, at - now), count) for at, count in self._aside)
        epoch, seq = self._seen
        return Ask(
            self.holder, epoch, seq, meter.places or 0, returns, want,
            self.opened if self.cold else None, self._pause_for, self.leaving, self.fresh,
        )  # fmt: skip

    def apply(self, answer: Answer, asked: int, now: int) -> None:
        """Use the answer to the request that was made at `asked`."""
        meter = self.meter
        if answer.void:
            meter.void()
        meter.places = (meter.places or 0) + answer.give
        meter.lease_until = asked + self.keeping.ttl * 999 // 1000
        meter.paused_until = max(meter.paused_until, now + answer.pause if answer.pause else 0)
        self.cold = answer.probe
        if not answer.probe:
            self.opened = None
        self._seen = (answer.epoch, answer.seq)
        self._aside = []
        self._pause_for = 0
        self._target = answer.target
        self.recovering = answer.recovering
        self.single = answer.single
        short = meter.places < answer.target or (answer.single and not answer.give)
        wait = self.keeping.ttl // (6 if short or meter.places > answer.target else 3)
        if short and answer.ripe:
            wait = min(wait, max(_SOONEST, answer.ripe))
        if answer.give:
            self._blocked = False
        self._next = now + wait

    def failed(self, now: int) -> None:
        """The keeper did not answer: go on until the lease ends, ask again soon."""
        self._next = now + self.keeping.ttl // 6

    def restart(self, holder: str) -> None:
        """Begin anew as another holder, with no places (after a fork)."""
        self.meter.void()
        self.meter.lease_until = 0
        self.holder = holder
        self._seen, self._aside, self._target, self._next = ("", 0), [], None, 0
        self._blocked = False


class LotHolder:
    """One calendar quota of which lots are lent."""

    __slots__ = (
        "_asked",
        "_asked_with",
        "_end",
        "_lot",
        "_news",
        "_next",
        "_pause_for",
        "_returning",
        "_ttl",
        "_warm",
        "heard",
        "holder",
        "leaving",
        "meter",
        "settled",
        "unused",
    )  # fmt: skip

    def __init__(self, meter: QuotaMeter, holder: str, ttl: int, *, unused: bool) -> None:
        meter.places = 0
        self.meter = meter
        self.holder = holder
        self.unused = unused
        self.heard: int | None = None
        self._news: int | None = None
        self._warm = False
        self.settled = False
        self.leaving = False
        self._end = 0
        self._lot = 0
        self._asked = 0
        self._asked_with = 0
        self._next = 0
        self._pause_for = 0
        self._returning = 0
        self._ttl = ttl

    def due(self, now: int, wall: int, queued: int) -> int | None:
        """When to ask next; None for never, as things stand."""
        self.meter.roll(now, wall)
        places = self.meter.places or 0
        if self._pause_for or (self.heard is not None):
            return now
        if queued > places and not self.meter.drained:
            return max(now, self._asked + _SOONEST)
        return None if not queued and not places and self._lot == 0 else self._next

    def pause(self, nanoseconds: int) -> None:
        """Tell the other holders of a rate-limit reply."""
        self._pause_for = max(self._pause_for, nanoseconds)

    def hear(self, calls: int) -> None:
        """The platform has counted `calls`, everybody's: worth a request of its own only if it is news."""
        meter = self.meter
        self._news = calls if self._news is None else max(self._news, calls)
        if not self._warm or calls > max(meter.used, meter.total) + max(1, meter.cap // 100):
            self.heard = self._news

    def ask(self, now: int, wall: int, queued: int) -> LotAsk:
        """The request to send now."""
        meter = self.meter
        meter.roll(now, wall)
        owed = 0
        if meter.end != self._end:
            owed, self._lot, self._end, self._returning = meter.used, 0, meter.end, 0
        places = meter.places or 0
        used = max(0, self._lot - places - self._returning)
        seconds = max(1.0, (now - self._asked) / SECOND)
        want = 0 if self.leaving else max(queued, int(used / seconds * _LOT_SECONDS), min(10, queued * 10))
        if want < places:
            self._returning += sum(count for _, count in meter.surrender(now, wall, places - want))
        self._asked = now
        self._asked_with = meter.places or 0
        return LotAsk(
            self.holder, meter.end, used, self._returning, max(0, meter.places or 0), want, owed, self._news,
            self.settled, self.unused, self._pause_for, self.leaving,
        )  # fmt: skip

    def apply(self, answer: LotAnswer, asked: int, now: int) -> None:
        """Use the answer to the request that was made at `asked`."""
        del asked
        meter = self.meter
        kept = max(0, self._asked_with)
        # An overdraft was reported with the request; what was spent since then is part of the lot.
        meter.places = (meter.places or 0) - min(0, self._asked_with) + answer.give
        self._lot = kept + answer.give
        if answer.void:
            meter.places = self._lot = 0
        self._returning = 0
        meter.total = answer.used
        meter.drained = answer.drained and not answer.give
        meter.paused_until = max(meter.paused_until, now + answer.pause if answer.pause else 0)
        self._pause_for = 0
        self.heard = self._news = None
        self._warm = self._warm or self.settled
        self._next = now + self._ttl // 3

    def failed(self, now: int) -> None:
        """The keeper did not answer; what is left of the lot may be used."""
        self._asked = now
        self._next = now + self._ttl // 6

    def restart(self, holder: str) -> None:
        """Begin anew as another holder, without a lot (after a fork)."""
        self.meter.void()
        self.holder = holder
        self._lot = self._returning = 0
