"""The holder's side of a calendar quota: what one process asks of the keeper, and what it makes of the answer.

Rules:
* What was used is said as a sum of the period, so that an ask said twice counts once.
* What was heard between an ask and its answer is kept for the next ask.
* Near a reset the keeper hears what the next period will be owed before the period turns, lot or no lot.
* The period is the keeper's; a lot is of one period and ends with it.
"""

from __future__ import annotations

from headway.limits.limits import SECOND
from headway.limits.meters.meter import usable
from headway.limits.meters.quota import QuotaMeter
from headway.limits.sharing.lots import LotAnswer, LotAsk
from headway.limits.sharing.queue import NOTHING, Queue

__all__ = ["LotHolder"]

_SOONEST = SECOND // 50
_LOT_SECONDS = 30


class LotHolder:
    """One calendar quota of which lots are lent."""

    __slots__ = (
        "_asked",
        "_base",
        "_cap",
        "_cold",
        "_counted",
        "_empty",
        "_epoch",
        "_fresh",
        "_heard",
        "_heard_said",
        "_known",
        "_learned",
        "_linger",
        "_next",
        "_number",
        "_paces",
        "_pause_until",
        "_paused_said",
        "_retry",
        "_said",
        "_seq",
        "_settled",
        "_settled_said",
        "_ttl",
        "holder",
        "leaving",
        "meter",
        "resets",
        "stricter",
        "unused",
        "why",
    )  # fmt: skip

    def __init__(
        self, meter: QuotaMeter, holder: str, *, ttl: int, unused: bool, fresh: bool = False, linger: int = 30 * SECOND
    ) -> None:
        self.meter = meter
        self.holder = holder
        self.resets = meter.resets.rule
        self.unused = unused
        self.leaving = False
        self.why = self.stricter = ""
        self._cap = [meter.cap, meter.cap]  # ours, and what was adopted from others
        self._learned = meter.learned
        self._ttl = ttl
        self._linger = linger
        self._fresh = fresh
        self._number = 0
        self._epoch, self._seq = "", 0
        self._base = (0, 0)  # period, and what of its use is a parent's (after a fork)
        self._said = (0, 0, 0, 0)  # end, used, owed, kept: as in the last ask
        self._paces = [(0, 0, 0)]  # asks of the last heartbeats: when, period, used of it
        self._counted = (0, 0)  # period, and the highest figure that the keeper named of it
        self._heard: tuple[int, int] | None = None  # period, calls
        self._heard_said: tuple[int, int] | None = None
        self._settled = self._settled_said = False
        self._known = False  # the platform was heard since the state is what it is
        self._cold = True
        self._empty = 0  # asks in a row that brought nothing
        self._pause_until = self._paused_said = 0
        self._asked = self._next = self._retry = 0
        meter.lend(0, 0)

    # -- called by the limiter

    def due(self, now: int, queue: Queue = NOTHING) -> int | None:
        """When to ask next; None for never, as things stand."""
        at = self._due(now, queue.cost)
        return None if at is None else max(at, self._retry)

    def _due(self, now: int, queued: int) -> int | None:
        places = self.meter.places or 0
        end, used, owed = self._use()
        if self._pause_until > max(now, self._paused_said) or self._heard_is_news():
            return now
        if self._cold and self._settled and not self._settled_said and self._number:
            return now
        if queued > places and not self.meter.drained:
            return self._asked + min(_SOONEST << min(self._empty, 6), self._ttl // 6) if self._number else now
        if owed != (self._said[2] if end == self._said[0] else 0):
            return max(now, self._asked + SECOND // 10)
        told = self._said[1] if end == self._said[0] else 0
        if queued or places or owed or used != told:  # what is owed is said again, lest the state lost it
            return self._next
        # Calls in flight may count on both sides of the reset: the keeper hears of them before it comes.
        return self.meter.zone_at if self.meter.in_flight and self.meter.zone_at > now else None

    def _use(self) -> tuple[int, int, int]:
        end, used, owed = self.meter.end, self.meter.used, self.meter.owed
        return end, used - (self._base[1] if self._base[0] == end else 0), owed

    def _heard_is_news(self) -> bool:
        """Whether the platform's word is worth a request of its own."""
        if self._heard is None or self._heard == self._heard_said:
            return False
        meter = self.meter
        return not self._known or self._heard[1] > max(meter.used, meter.total) + max(1, meter.cap // 100)

    @property
    def own(self) -> str:
        """Our own figures, in words."""
        return f"{self._cap[0]:,} a period"

    @property
    def keen(self) -> bool:
        """Whether the end of each call is news for the keeper."""
        return self._cold or not self._settled

    def pause(self, until: int) -> None:
        """The platform asked to be left alone: tell the other holders."""
        self._pause_until = max(self._pause_until, until)

    def hear(self, counted: int) -> None:
        """The platform has counted so many calls of the period, everybody's."""
        end = self.meter.end
        before = self._heard[1] if self._heard is not None and self._heard[0] == end else 0
        self._heard = (end, max(before, counted))

    def used(self, now: int, cost: int) -> bool:
        """A call of ours is over. True if the keeper waits to hear of it."""
        del now, cost
        self._settled = True
        return self._cold and not self._settled_said

    # -- called by the poller

    @property
    def amount(self) -> int:
        """What we take the quota for, others apart."""
        meter = self.meter
        if meter.cap != self._cap[1]:
            self._cap = [meter.cap, meter.cap]  # learned since
        elif meter.learned is not None and meter.learned != self._learned:
            # What was adopted from others is ours from now on, whether they stay or not.
            self._cap[0] = min(self._cap[0], usable(meter.learned, meter.share, meter.reserve))
        self._learned = meter.learned
        return self._cap[0]

    def ask(self, now: int, queue: Queue = NOTHING) -> LotAsk:
        """The request to send now."""
        meter, queued = self.meter, queue.cost
        end, used, owed = self._use()
        places = meter.places or 0
        want = 0 if self.leaving else max(queued, int(self._pace(now, end, used) * _LOT_SECONDS), min(10, queued * 10))
        kept = (
            0 if self._cold and meter.in_flight else want
        )  # what a probe did not need may not be used before its reply
        if kept < places:
            meter.surrender(now, places - kept)
            places = meter.places or 0
        self._number += 1
        self._asked = now
        self._said = (end, used, owed, places)
        self._heard_said, self._paused_said, self._settled_said = self._heard, self._pause_until, self._settled
        return LotAsk(
            self.holder, self._number, self._epoch, self._seq, self.resets, meter.skew, end, used, owed, places, want,
            meter.in_flight, self._heard[1] if self._heard is not None and self._heard[0] == end else None,
            self._counted[1] if self._counted[0] == end and end else None,
            settled=self._settled, unused=self.unused, pause_for=max(0, self._pause_until - now), leave=self.leaving,
            fresh=self._fresh, linger=self._linger, head=max(1, queue.head.cost),
        )  # fmt: skip

    def _pace(self, now: int, end: int, used: int) -> float:
        """Calls a second, over the last heartbeat or two: asks may follow each other closely."""
        if not self._number:
            self._paces = [(now, end, used)]
        elif self._paces[0][1] != end or used < self._paces[0][2]:
            self._paces = [(self._asked, end, 0)]
        pace = (used - self._paces[0][2]) / max(1.0, (now - self._paces[0][0]) / SECOND)
        if now - self._paces[-1][0] >= self._ttl // 3:
            self._paces = [*self._paces[-1:], (now, end, used)]
        return pace

    def apply(self, answer: LotAnswer, asked: int, now: int) -> None:
        """Use the answer to the request that was made at `asked`."""
        if answer.number != self._number:
            return
        meter = self.meter
        end, _, _, kept = self._said
        meter.clock.store_says(now, answer.wall, max(0, now - asked))
        meter.relax(now, meter.clock.believed(now, answer.wall))
        if answer.end == end == meter.end:
            meter.lend((meter.places or 0) + answer.places - kept, 0)
            meter.total, meter.drained = answer.used, answer.drained
            counted = answer.used + answer.outstanding
            if answer.why != "lost":
                self._counted = (end, counted)
            elif self._counted[0] == end:  # a state that knows nothing itself tells nothing that is worth remembering
                self._counted = (end, max(self._counted[1], counted))
            self._empty = 0 if answer.places > max(0, kept) else self._empty + 1
        else:
            meter.lend(min(0, meter.places or 0), 0)  # a lot of another period than the keeper's
            self._empty = 0 if meter.end == answer.end else self._empty + 1
        if self._epoch != answer.epoch:
            self._settled = self._settled_said = self._known = False
        self._known |= self._heard is not None and self._heard == self._heard_said
        if self._known and self._heard == self._heard_said:
            self._heard = self._heard_said = None
        self._epoch, self._seq, self._fresh = answer.epoch, answer.seq, False
        self._cold = answer.why in {"new", "lost"}
        self.why = answer.why
        if answer.pause:
            meter.pause(now + answer.pause)
        least = min(answer.amount, self.amount)  # ours may have become less since the ask
        if least != meter.cap:
            meter.stricten(least, 0)
        self._cap[1] = meter.cap
        self.stricter = f"{answer.amount} a period" if answer.amount < self._cap[0] else ""
        self._next, self._retry = now + self._ttl // 3, 0

    def departure(self, now: int) -> LotAsk | None:
        """Its last request, where it goes on under another key; None where the keeper never heard of it."""
        del now
        if not self._number:
            return None
        end, used, owed = self._use()
        return LotAsk(
            self.holder, self._number + 1, self._epoch, self._seq, self.resets, self.meter.skew, end, used, owed,
            flying=self.meter.in_flight, leave=True, linger=self._linger,
        )  # fmt: skip

    def inherit(self, other: LotHolder, now: int) -> None:
        """Tell the keeper what `other`, the same under another key, had heard."""
        if other._known or other._heard is not None:
            self.hear(max(self.meter.total, 0 if other._heard is None else other._heard[1]))
        self._settled = other._settled
        if self.meter.paused_until > now:
            self.pause(self.meter.paused_until)

    def failed(self, now: int) -> None:
        """The keeper did not answer; what is left of the lot may be used."""
        self._next = self._retry = now + self._ttl // 6

    def excuse(self, now: int) -> tuple[str, float] | None:
        """Why calls wait for a state rather than for the platform; nobody can tell for how long."""
        del now
        return (self.why, 0.0) if self.why in {"lost", "gone"} else None

    def restart(self, holder: str) -> None:
        """Begin anew as another holder, without a lot (after a fork)."""
        self.meter.forget()
        end, used = self.meter.end, self.meter.used
        self._base = (end, used)
        self.holder = holder
        self._epoch, self._seq, self._number = "", 0, 0
        self._said = (0, 0, 0, 0)
        self._fresh = False
