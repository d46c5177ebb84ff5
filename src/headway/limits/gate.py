"""Admission to one account: who may call, and when.

Rules:
* A ticket is granted with a clock read at that moment, by the one loop that asks its meters in turn (`take`): all the
  limits it names grant together, or none is touched.
* A ticket is its own journal: `stage` and `done` say what was taken and what was given back, and nothing else does. Who
  is interrupted in a step leaves a ticket that `mend` undoes (a grant) or finishes (a settlement).
* Who waits, and who is next, is for lanes.py.
* Time is integer nanoseconds, monotonic. An instant that `poll` reports is the number that a later `poll` compares.
  The wall clock is wanted at `look` (see `look_at`), and not otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from headway.errors import NeverGranted, UsageError
from headway.limits.clock import WallClock
from headway.limits.lanes import Lanes
from headway.limits.limits import SECOND, Limit
from headway.limits.meters.make import make_meter
from headway.limits.meters.meter import EVENT, FOREVER, Meter
from headway.limits.ticket import (
    HANDED,
    IN_FLIGHT,
    LOSING,
    NEW,
    OVER,
    SETTLING,
    TORN,
    UNLIMITED,
    WAITING,
    Cost,
    Lane,
    Ticket,
    Waker,
)

__all__ = ["Gate", "Poll"]

_HOUSEKEEPING = SECOND // 200  # at the latest so much later somebody looks whether all is in order


@dataclass(frozen=True, slots=True)
class Poll:
    """Who was granted, and the earliest instant at which another poll can grant (None: only an event can tell)."""

    granted: tuple[Ticket, ...]
    wake: int | None


_NOTHING = Poll((), None)


class Gate:
    """The limits of one account and the calls that wait for them. Not safe under threads: the limiter holds a lock."""

    __slots__ = (
        "_calendars", "_lanes", "_relax_at", "_seq", "_tuples", "active", "all", "blamed", "clock", "look", "meters",
        "most", "next_look", "paused_until", "reserve", "share", "smooth", "touched",
    )  # fmt: skip

    def __init__(
        self, limits: Iterable[Limit] = (), *, share: float = 1.0, reserve: int = 0, pacing: str | None = None
    ) -> None:
        if not 0 < share <= 1:
            raise UsageError(f"share must be above 0 and at most 1, not {share!r}")
        if reserve < 0:
            raise UsageError(f"reserve must be at least 0, not {reserve!r}")
        if pacing not in {None, "burst", "smooth"}:
            raise UsageError(f"pacing is 'burst' or 'smooth', not {pacing!r}")
        self.share = share
        self.reserve = reserve
        self.smooth = pacing == "smooth" or (pacing is None and share < 1)
        self.meters: dict[str, Meter] = {}
        self.all: tuple[Meter, ...] = ()
        self.most = FOREVER  # the largest cost that every limit has room for
        self.clock = WallClock()
        self.look = FOREVER  # before it, nothing but the meters has to be asked (see `calm`)
        self.next_look = FOREVER  # when the clocks are wanted
        self._relax_at = 0
        self._calendars: tuple[Meter, ...] = ()
        self.paused_until = 0
        self._lanes: Lanes | None = None  # made when somebody first waits
        self.active: Sequence[Lane] = ()  # those in which somebody waits
        self.touched = 0  # the limits that may have room earlier than they said
        self.blamed: Meter | None = None  # the limit that refused last
        self._tuples: dict[frozenset[str], tuple[Meter, ...]] = {}
        self._seq = 0
        for limit in limits:
            self.add(limit)

    def add(self, limit: Limit) -> Meter:
        """One more limit; tickets that were made already are not held to it."""
        if limit.name in self.meters:
            raise UsageError(f"two limits are named {limit.name!r}: give one of them another name=")
        meter = make_meter(limit, self.share, self.reserve)
        meter.bit = 1 << len(self.meters)
        meter.bursts = meter.bursts and not self.smooth
        meter.tidy()
        self.meters[limit.name] = meter
        self.all = tuple(self.meters.values())
        self.most = min(self.most, meter.amount)
        if meter.sharing == "lots":
            self._calendars = (*self._calendars, meter)
            meter.turn_by(self.clock)
            self.look = self.next_look = 0
        self._tuples = {}
        if self._lanes is not None:
            self._lanes.forget_idle()
        return meter

    def choose(self, names: Iterable[str] | None) -> tuple[Meter, ...]:
        """The meters of these limits, all for None. Raises UsageError for none at all and for an unknown name."""
        if names is None:
            return self.all
        if isinstance(names, str) or not isinstance(names, Iterable):
            raise UsageError(f"limits: give a list of names, not {names!r}")
        if names is UNLIMITED:
            return ()
        try:
            wanted = frozenset(names)
        except TypeError as error:
            raise UsageError(f"limits: give a list of names, not {names!r}") from error
        found = self._tuples.get(wanted)
        if found is None:
            unknown = sorted(str(name) for name in wanted if name not in self.meters)
            if unknown:
                known = ", ".join(sorted(self.meters)) or "none"
                raise UsageError(f"no limit is named {unknown[0]!r}: there are {known}")
            if not wanted:
                raise UsageError("limits: name at least one limit")
            found = tuple(meter for name, meter in self.meters.items() if name in wanted)
            found = self.all if len(found) == len(self.all) else found
            self._tuples[wanted] = found
        return found

    @staticmethod
    def check_cost(meters: Iterable[Meter], cost: Cost) -> None:
        """UsageError for what is no cost, NeverGranted for one above a limit's amount."""
        costs = cost if isinstance(cost, Mapping) else None
        meters = tuple(meters)
        if costs is not None:
            unknown = sorted(str(name) for name in costs if all(meter.name != name for meter in meters))
            if unknown:
                names = ", ".join(meter.name for meter in meters)
                raise UsageError(f"cost: {unknown[0]!r} is not one of the call's limits: {names}")
        for meter in meters:
            mine = cost if costs is None else costs.get(meter.name, 1)
            if type(mine) is not int or mine < 1:
                raise UsageError(f"a permit's cost must be a whole number of at least 1, not {mine!r}")
            if mine > meter.amount:
                raise NeverGranted(f"a cost of {mine} can never fit the limit {meter.name!r} of {meter.amount}")

    # -- time

    def look_at(self, now: int, wall: int) -> None:
        """Take up what the clocks say: reset instants, and beliefs whose time is over. To be called from `look` on."""
        believed = self.clock.believed(now, wall)
        look = FOREVER
        for meter in self._calendars:
            look = min(look, now + SECOND, meter.relax(now, believed))
        if now >= self._relax_at or not self._calendars:
            at = min((meter.relax(now, believed) for meter in self.all if meter.sharing != "lots"), default=FOREVER)
            self._relax_at = min(at, now + SECOND) if self._calendars else at
            look = min(look, at)
        self.next_look = look
        self.touched = -1

    def calm(self, now: int) -> bool:
        """Whether nobody waits and the account is not paused; until when that needs no asking is in `look` then."""
        quiet = not self.active and now >= self.paused_until
        self.look = min(self.next_look, now + _HOUSEKEEPING) if quiet else 0
        return quiet

    def date(self, now: int, date: int) -> None:
        """The platform's Date header: it may settle a doubt about our clock."""
        self.clock.platform_says(now, date)
        if self._calendars:
            self.look = self.next_look = 0

    def unsettled(self, meter: Meter) -> None:
        """A belief about this limit, or its figures, changed: look again, for it may have room now or expire."""
        self.touched |= meter.bit
        self._relax_at = 0
        self.look = self.next_look = 0

    def pause(self, until: int) -> None:
        """Nothing goes to the account before `until`."""
        self.paused_until = max(self.paused_until, until)
        self.look = 0

    # -- granting

    def take(self, ticket: Ticket, now: int) -> int:
        """Take places of every limit, or of none: 0, or the instant before which it is no use to ask again."""
        done = at = 0
        ticket.granted = now
        try:
            cost = ticket.cost
            for meter in ticket.meters:
                at = meter.take(now, cost or ticket.cost_of(meter))
                if at:
                    break
                done += 1
            else:
                ticket.stage = IN_FLIGHT
                return 0
        except BaseException:
            ticket.done = done
            ticket.stage = TORN
            self.mend(ticket, now)
            raise
        self.blamed = meter
        if done:
            ticket.done = done
            ticket.stage = TORN
            self._unpace(ticket, done)
            self.mend(ticket, now)
        return at

    @staticmethod
    def _unpace(ticket: Ticket, done: int) -> None:
        for meter in ticket.meters[:done]:
            if meter.paced:
                meter.unpace(ticket.cost_of(meter))

    def mend(self, ticket: Ticket, now: int) -> None:
        """Undo a grant that was interrupted or refused half-way; finish a settlement."""
        if ticket.stage == TORN:
            while ticket.done:
                meter = ticket.meters[ticket.done - 1]
                meter.give_back(ticket.cost_of(meter), ticket)
                ticket.done -= 1
            ticket.stage = NEW if ticket.waker is None else WAITING
        elif ticket.stage == SETTLING or ticket.stage == LOSING:  # noqa: PLR1714  # two compares, no tuple
            while ticket.done < len(ticket.meters):
                meter = ticket.meters[ticket.done]
                if ticket.stage == SETTLING:
                    meter.settle(now, ticket.cost_of(meter), ticket)
                else:
                    meter.lose(now, ticket.cost_of(meter), ticket, ticket.more.linger)
                ticket.done += 1
            ticket.stage = OVER

    # -- waiting

    def enqueue(self, ticket: Ticket, priority: str, waker: Waker) -> None:
        """Put a ticket at the end of its lane."""
        if self._lanes is None:
            lanes = Lanes()
            self._lanes, self.active = lanes, lanes.active
        self._seq += 1
        self.look = 0
        self._lanes.enqueue(ticket, self._seq, priority, waker)

    def poll(self, now: int) -> Poll:
        """Grant what fits now; say when to ask again."""
        if self._lanes is None:
            return _NOTHING
        granted, wake = self._lanes.poll(self, now)
        return Poll(tuple(granted), None if wake >= EVENT else wake)

    def tick(self) -> list[Ticket]:
        """Once a second while anybody waits (see Lanes.tick): the tickets that are granted and not fetched."""
        return [] if self._lanes is None else self._lanes.tick(self)

    @property
    def restless(self) -> bool:
        """Whether somebody has to look after those who wait."""
        return self._lanes is not None and self._lanes.restless

    @property
    def grants(self) -> int:
        """Tickets that were granted after they had waited."""
        return 0 if self._lanes is None else self._lanes.grants

    @property
    def waiting(self) -> int:
        """Tickets that wait."""
        return 0 if self._lanes is None else len(self._lanes.tickets())

    def queued(self) -> list[Ticket]:
        """The tickets that wait, lane by lane."""
        return [] if self._lanes is None else self._lanes.tickets()

    def drop_waiting(self) -> list[Ticket]:
        """Take every waiting ticket out of the queue: nobody will be granted any more."""
        return [] if self._lanes is None else self._lanes.drop_waiting()

    def soonest(self, ticket: Ticket, now: int) -> tuple[int, str]:
        """The earliest instant this ticket could go if all in flight settled now (0: at once), and what decides it."""
        latest, name = (self.paused_until, "pause") if now < self.paused_until else (0, "")
        for meter in ticket.meters:
            at = meter.soonest(now, ticket.cost_of(meter))
            if at > latest:
                latest, name = at, meter.name
        return latest, name

    def reason(self, ticket: Ticket, now: int) -> tuple[int, str]:
        """When this ticket could go if it were alone, EVENT if only an event can tell, and the limit it waits for."""
        latest, name = (self.paused_until, "pause") if now < self.paused_until else (0, "")
        for meter in ticket.meters:
            at = meter.when(now, ticket.cost_of(meter))
            if at > latest:
                latest, name = at, meter.name
        if not name:  # it is held up by those before it
            if ticket.waker is None:
                return 0, ticket.meters[0].name if ticket.meters else ""
            lane = ticket.more.lane
            return lane.until, lane.blame.name if lane.blame is not None else ""
        return latest, name

    # -- giving back

    def abandon(self, ticket: Ticket, now: int) -> None:
        """The waiter is gone. A ticket that was granted meanwhile was never sent and gives its places back."""
        if ticket.stage == TORN:
            self.mend(ticket, now)
        if ticket.stage == WAITING:
            ticket.stage = OVER
            lane = ticket.more.lane
            self.touched |= lane.mask  # those behind it may go: its earmarks are gone
            lane.quiet_until = 0
            if self._lanes is not None:
                self._lanes.left(self, lane, now)
        else:
            self.cancel(ticket)

    def refused(self, ticket: Ticket | None, limit: str, now: int) -> None:
        """A call was refused for its rate by `limit`, '' if unknown: those who keep count or search learn of it."""
        named = self.meters.get(limit)
        for meter in self.all if named is None else (named,):
            mine = ticket if ticket is not None and meter in ticket.meters and ticket.stage < SETTLING else None
            meter.refused(now, mine, named=named is not None)
        if ticket is not None:
            ticket.more.refused = True

    def stamp(self, ticket: Ticket, now: int) -> bool:
        """The last byte was written at `now` on an open connection: only now may an `arrival_bound` count.

        True if somebody who waits can go earlier than they were told: to be polled then.
        """
        touched = 0
        if ticket.stage == IN_FLIGHT and not ticket.sent_at:
            ticket.more.sent_at = now
            for meter in ticket.meters:
                if meter.stamp(now, ticket.cost_of(meter), ticket):
                    touched |= meter.bit
            self.touched |= touched
        return touched != 0 and bool(self.active)

    def settle(self, ticket: Ticket, now: int) -> bool:
        """The reply came at `now`. False if the ticket was over."""
        if ticket.stage != IN_FLIGHT:
            return False
        done = 0
        ticket.done = 0
        ticket.stage = SETTLING
        try:
            cost = ticket.cost
            for meter in ticket.meters:
                meter.settle(now, cost or ticket.cost_of(meter), ticket)
                done += 1
            ticket.stage = OVER
        except BaseException:
            ticket.done = done
            self.mend(ticket, now)
            raise
        return True

    def lose(self, ticket: Ticket, now: int, linger: int) -> bool:
        """No reply will come, and the call is counted within `linger` ns. False if the ticket was over."""
        if ticket.stage != IN_FLIGHT:
            return False
        ticket.done = 0
        ticket.more.linger = linger
        ticket.stage = LOSING
        self.mend(ticket, now)
        return True

    def correct(self, ticket: Ticket, now: int, actual: Cost) -> None:
        """The call turned out to cost `actual`, up or down. UsageError for what is not a cost; nothing changed then."""
        costs = {meter.name: _actual(actual, meter, ticket) for meter in ticket.meters}
        if isinstance(actual, Mapping):
            unknown = sorted(str(name) for name in actual if name not in costs)
            if unknown:
                raise UsageError(f"cost: {unknown[0]!r} is not one of the call's limits: {', '.join(sorted(costs))}")
        if ticket.stage != IN_FLIGHT:
            return
        for meter in ticket.meters:
            cost, real = ticket.cost_of(meter), costs[meter.name]
            if real != cost and meter.weighs:
                meter.correct(now, cost, real, ticket)
                ticket.set_costs({**{each.name: ticket.cost_of(each) for each in ticket.meters}, meter.name: real})
                self.touched |= meter.bit

    def cancel(self, ticket: Ticket) -> bool:
        """Certainly not sent: every place is given back. False if the ticket was over."""
        if ticket.stage not in {IN_FLIGHT, HANDED}:
            return False
        ticket.done = len(ticket.meters)
        ticket.stage = TORN
        self._unpace(ticket, ticket.done)
        self.mend(ticket, 0)
        ticket.stage = OVER
        for meter in ticket.meters:
            self.touched |= meter.bit
        return True


def _actual(actual: Cost, meter: Meter, ticket: Ticket) -> int:
    said = actual.get(meter.name, ticket.cost_of(meter)) if isinstance(actual, Mapping) else actual
    if type(said) is not int or said < 0:
        raise UsageError(f"a call's actual cost must be a whole number of at least 0, not {said!r}")
    return said
