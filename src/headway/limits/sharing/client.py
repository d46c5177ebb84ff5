"""The holder's side of lending: what one process asks of the keeper for a meter, and what it makes of the answer.

Rules:
* Lent places are used only before asked + 0.999 ttl, where `asked` is our clock before the request went out.
* Nothing is ever taken off a meter that is in flight or cooling: after a lapse it is claimed again.
* What is said between an ask and its answer (a pause, places given back) is kept for the next ask; only what the
  answered ask said is done with. An answer to any but the latest ask says nothing.
* Places given back leave the meter at once; until an answer came they are offered again, under the number of the ask
  that first said so.
* A holder that needs nothing returns everything and then asks no more.
* What a state that was lost knew of a pause its survivors tell the next one, whoever was refused; and what each gave
  back to it that cools still.
* Beside its heartbeat a holder asks only for what the keeper has not been asked for yet, and only while it has got all
  that it asked for: who was told that there is no more waits, longer each time that nothing came of asking.
"""

from __future__ import annotations

from headway.limits.limits import SECOND
from headway.limits.meters.meter import Meter, usable
from headway.limits.sharing.places import Answer, Ask, Keeping
from headway.limits.sharing.queue import NOTHING, Head, Queue

__all__ = ["PlacesHolder"]

_SOONEST = SECOND // 50


class PlacesHolder:
    """One meter whose places are lent."""

    __slots__ = (
        "_adopted",
        "_aside",
        "_asked",
        "_at_ask",
        "_blocked",
        "_busy",
        "_cap",
        "_cooling",
        "_empty",
        "_epoch",
        "_figures",
        "_fresh",
        "_handed",
        "_hungry",
        "_learned",
        "_next",
        "_number",
        "_opened",
        "_opened_said",
        "_pause_until",
        "_paused_said",
        "_peak",
        "_per",
        "_probe",
        "_probe_settled",
        "_probed_said",
        "_retry",
        "_ripe_at",
        "_said",
        "_seq",
        "_target",
        "_ttl",
        "_wanted",
        "cold",
        "holder",
        "leaving",
        "linger",
        "meter",
        "news",
        "opens_at",
        "recovering",
        "single",
        "stricter",
        "why",
    )  # fmt: skip

    def __init__(self, meter: Meter, holder: str, *, linger: int, ttl: int, fresh: bool = False) -> None:
        self.meter = meter
        self.holder = holder
        self.linger = linger
        self.leaving = False
        self.cold = True  # nobody told us yet that the state is open
        self.single = False
        self.recovering = 0
        self.opens_at = 0
        self.why = ""
        self.stricter = ""
        self.news = False  # somebody's figures changed: what others learned may have, too
        self._figures = ("", 0)
        self._ttl = ttl
        self._fresh = fresh
        self._cap = meter.cap  # as it was before others who share it were stricter, or as learned since
        self._learned = meter.learned
        self._per = meter.turnaround
        self._adopted = self._at_ask = (self._cap, self._per)
        self._number = 0
        self._epoch, self._seq = "", 0
        self._said = self._busy = self._wanted = 0
        self._cooling = 0  # places that the last ask could not give back
        self._peak = 0  # the most that was held and queued since the last ask, as far as anybody looked
        self._empty = 0  # asks in a row that brought nothing
        self._aside: list[tuple[int, int, int]] = []
        self._handed: list[tuple[int, int]] = []  # places that cool in the state: until, how many
        self._target: int | None = None
        self._blocked = self._hungry = False
        self._pause_until = self._paused_said = 0
        self._opened: int | None = None
        self._opened_said: int | None = None
        self._probe = self._probe_settled = self._probed_said = False
        self._next = self._asked = self._retry = self._ripe_at = 0
        meter.lend(0, 0)

    # -- called by the limiter

    def due(self, now: int, queue: Queue = NOTHING) -> int | None:
        """When to ask next; None for never, as things stand. `queue`: what waits for the meter."""
        at = self._due(now, queue)
        return None if at is None else max(at, self._retry)

    def _due(self, now: int, queue: Queue) -> int | None:
        meter, queued = self.meter, queue.soon
        if self._pause_until > max(now, self._paused_said) or (self.cold and self._news()):
            return now
        held = meter.held(now)
        self._peak = max(self._peak, held + queued)
        if self.single and (self._aside or held - meter.in_flight > self._cooling):
            return max(now, self._asked + _SOONEST)  # it was used: others wait for it
        places = meter.places or 0
        if queued > 0 and held + queued > places and self._more_to_ask_for(held, queue):
            return now
        idle = not queued and not places and not held and not self._aside
        return None if idle else self._next

    def _more_to_ask_for(self, held: int, queue: Queue) -> bool:
        if self._target is None:
            return True
        got = (self.meter.places or 0) >= self._target >= self._wanted
        return got and self._want(held, queue) > self._wanted

    def _news(self) -> bool:
        """Whether there is something to tell that may open the state."""
        return self._opened != self._opened_said or (self._probe_settled and not self._probed_said)

    @property
    def own(self) -> str:
        """Our own figures, in words."""
        return f"{self._cap:,} per {self._per / SECOND:.3g} s"

    @property
    def keen(self) -> bool:
        """Whether the end of each call is news for the keeper."""
        return self.single or self.cold

    def pause(self, until: int) -> None:
        """The platform asked to be left alone: tell the other holders."""
        self._pause_until = max(self._pause_until, until)

    def hear(self, counted: int) -> None:
        """The platform counted so many calls, everybody's."""
        if self.cold:
            self._opened = counted

    def used(self, now: int, cost: int) -> bool:
        """A call of ours is over; where places are scarce, its places are for others now. True if they wait for it."""
        self._probe_settled |= self._probe
        if self.single:
            self._put_aside(now, cost)
        return self.single or (self.cold and self._news())

    def _put_aside(self, now: int, count: int) -> None:
        back = self.meter.surrender(now, count)
        self._aside += [(self._number + 1, now + left, places) for left, places in back]

    # -- called by the poller

    def ask(self, now: int, queue: Queue = NOTHING) -> tuple[Keeping, Ask]:
        """The request to send now."""
        meter, queued = self.meter, queue.soon
        held = meter.held(now)
        self._own_figures()
        if now >= meter.lease_until and (meter.places or 0) > held:
            meter.lend(held, meter.lease_until)  # the lease is over: idle places are no longer ours to claim
        places = meter.places or 0
        keep = self._keep(held, queue)
        if places > keep:
            self._put_aside(now, places - keep)
            # Those in flight go as they settle, instead of being used again.
            places = min((meter.places or 0), keep)
            meter.lend(places, meter.lease_until)
            held = meter.held(now)
        self._wanted = want = self._want(held, queue)
        self._blocked = bool(queued) and held + queued > places
        self._asked, self._said = now, places
        self._busy = self._peak = held + queued
        self._cooling = held - meter.in_flight
        self._at_ask = (meter.cap, meter.turnaround)
        self._number += 1
        self._paused_said, self._probed_said = self._pause_until, self._probe_settled
        self._opened_said = self._opened
        return Keeping(self._cap, self._per, self.linger, self._ttl), Ask(
            self.holder, self._number, self._epoch, self._seq, places, held,
            tuple((number, max(0, at - now), count) for number, at, count in self._aside), want,
            opened=self._opened if self.cold else None, probed=self._probe_settled and self.cold,
            pause_for=max(0, self._pause_until - now), leave=self.leaving, fresh=self._fresh,
            call=Head() if self.leaving else queue.head, whole=meter.whole,
        )  # fmt: skip

    def _want(self, held: int, queue: Queue) -> int:
        if self.leaving or not (held or queue.soon):
            return 0
        if self.single:
            return min(self.meter.cap, held + queue.head.cost)
        if self._hungry and not queue.soon:
            return held  # what is idle here is for others
        busy = max(held + queue.soon, self._peak)
        return min(self.meter.cap, busy + self._spare(busy))

    def _spare(self, busy: int) -> int:
        """Room to grow into, so that not every call asks; little of it while others have less than they want."""
        return max(1, busy // 4) if self._hungry else max(5, busy)

    def _keep(self, held: int, queue: Queue) -> int:
        """How many places to go on holding."""
        if not self.single:
            want = self._want(held, queue)
            return want if self._target is None else min(want, self._target)
        flying, idle = self.meter.in_flight, max(0, (self.meter.places or 0) - held)
        if self.leaving:
            return flying
        keep = flying + min(queue.head.cost, idle)
        return keep if self._target is None else max(flying, min(keep, self._target))

    def _own_figures(self) -> None:
        """What was learned since the last answer is ours: the others hear of it."""
        meter = self.meter
        if meter.cap != self._adopted[0]:
            self._cap = meter.cap
        elif meter.learned is not None and meter.learned != self._learned:
            # What was adopted from others is ours from now on, whether they stay or not.
            self._cap = min(self._cap, usable(meter.learned, meter.share, meter.reserve))
        self._learned = meter.learned
        if meter.turnaround != self._adopted[1]:
            self._per = meter.turnaround

    def apply(self, answer: Answer, asked: int, now: int) -> None:
        """Use the answer to the request that was made at `asked`."""
        if answer.number != self._number:
            return
        meter = self.meter
        lent = min(answer.places, max(answer.target, self._said))
        places = max(0, (meter.places or 0) + lent - self._said)
        gained = lent > self._said
        meter.lend(places, asked + self._ttl * 999 // 1000)
        if answer.pause:
            meter.pause(now + answer.pause)
        meter.whole = answer.amount
        if self._epoch != answer.epoch:
            self._probe = self._probe_settled = False
            if self._epoch:
                self._opened = self._opened_said = (
                    None  # it was said before the loss: of what was in flight it knew nothing
                )
                if meter.paused_until > now:
                    self.pause(meter.paused_until)
        self._probe |= answer.probe and answer.places > 0
        self.cold = answer.probe
        if not answer.probe:
            self._opened = self._opened_said = None
            self._probe = self._probe_settled = False
        self._hand_over(answer, now)
        self._epoch, self._seq, self._fresh = answer.epoch, answer.seq, False
        if answer.debt and places > answer.target:
            self._put_aside(now, places - answer.target)
            places = min(meter.places or 0, answer.target)
            meter.lend(places, meter.lease_until)
        self._target, self.single, self._hungry = answer.target, answer.single, answer.hungry
        figures = (answer.epoch, answer.figures)
        self.news |= figures != self._figures
        self._figures = figures
        self.recovering = answer.recovering
        self.why, self._ripe_at = answer.why, now + answer.ripe
        self.opens_at = now + answer.opens if answer.opens else 0
        meter.opens_at = self.opens_at
        self._adopt(answer)
        self._retry = 0
        self._empty = 0 if gained else self._empty + 1
        self._blocked &= not gained
        self._next = now + self._wait(answer, places)

    def _hand_over(self, answer: Answer, now: int) -> None:
        """What was given back is the state's now, or the next one's if it was lost: that is told of it once more."""
        if self._epoch and self._epoch != answer.epoch:
            self._aside += [(self._number + 1, at, places) for at, places in self._handed if at > now]
            self._handed = []
        self._handed = [each for each in self._handed if each[0] > now]
        self._handed += [(at, places) for number, at, places in self._aside if number <= answer.number and at > now]
        self._aside = [each for each in self._aside if each[0] > answer.number]

    def _wait(self, answer: Answer, places: int) -> int:
        """How long until the next heartbeat; less while somebody, we or others, could have more."""
        short = places < answer.target or (answer.single and places < self._wanted)
        # One more or less, as the remainder goes round, is nobody's hunger.
        over = places - answer.target > answer.target // 8
        wait = self._ttl // 3
        if short or over or answer.single:
            wait = self._ttl // 6
        if answer.hungry and (over or (not answer.single and places - self._busy > self._spare(self._busy))):
            wait = self._ttl // 24  # what lies idle here, or is too much, is for others
        if short and answer.ripe:
            wait = min(wait, max(_SOONEST << min(self._empty, 3), answer.ripe))
        return wait

    def _adopt(self, answer: Answer) -> None:
        """Others share the limit under other figures: the stricter hold."""
        now_is = self.meter.cap, self.meter.turnaround
        if now_is != self._at_ask:
            return  # something was learned meanwhile: the next ask says it
        if (answer.amount, answer.per) != now_is:
            self.meter.stricten(answer.amount, answer.per)
        self._adopted = (self.meter.cap, self.meter.turnaround)
        # A few per cent are a guard that grew elsewhere, not other figures.
        differs = answer.amount < self._cap or answer.per > self._per + self._per // 20
        self.stricter = f"{answer.amount} per {answer.per / SECOND:.3g} s" if differs else ""

    def departure(self, now: int) -> tuple[Keeping, Ask] | None:
        """Its last request, where it goes on under another key; None where the keeper never heard of it.

        What is in flight or cooling goes along, and cools under the old key as if it were lost.
        """
        if not self._number:
            return None
        held = self.meter.held(now)
        return Keeping(self._cap, self._per, self.linger, self._ttl), Ask(
            self.holder, self._number + 1, self._epoch, self._seq, held, held, leave=True
        )

    def inherit(self, other: PlacesHolder, now: int) -> None:
        """Tell the keeper what `other`, the same under another key, had heard."""
        self._opened = other._opened
        if self.meter.paused_until > now:
            self.pause(self.meter.paused_until)

    def failed(self, now: int) -> None:
        """The keeper did not answer: go on until the lease ends, ask again soon."""
        self._next = self._retry = now + self._ttl // 6

    def excuse(self, now: int) -> tuple[str, float] | None:
        """Why calls wait for a state rather than for the platform, and for about how many seconds."""
        if not self._blocked or not self.why or (self.why == "new" and not self.opens_at):
            return None
        at = now + self.recovering if self.why == "dead" else self.opens_at or self._ripe_at
        return (self.why, (at - now) / SECOND) if at > now else None

    def restart(self, holder: str) -> None:
        """Begin anew as another holder, with no places (after a fork)."""
        self.meter.forget()
        self.holder = holder
        self._epoch, self._seq, self._number, self._said = "", 0, 0, 0
        self._aside, self._handed, self._target, self._next, self._retry = [], [], None, 0, 0
        self._wanted = self._peak = self._empty = self._cooling = 0
        self._blocked = self._fresh = self._probe = self._probe_settled = False
