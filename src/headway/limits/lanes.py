"""Who waits at a gate, in which order, and who is next.

Tickets that name the same limits with the same priority form a lane, first in, first out. Only lane heads compete,
oldest first within a class. A head that does not fit reserves its cost on each of its limits, unless it has to wait
for longer than a place takes to come back; later heads may overtake it only with what is left over. Classes are
strict, but one grant in ten goes to a lower class that waits.
"""

from __future__ import annotations

import weakref
from collections import deque
from operator import attrgetter

from headway.limits.meters.meter import EVENT, Meter
from headway.limits.round import Grants, Round
from headway.limits.ticket import HANDED, OVER, PRIORITIES, TORN, WAITING, Lane, Ticket, Waker

__all__ = ["Lanes"]

_LOWER_TURN = 10
_ORDER = attrgetter("order")


class Lanes:
    """The lanes of one gate. They refer to tickets weakly: who vanishes while waiting waits no more."""

    __slots__ = (
        "_asleep", "_due", "_free_at", "_fresh", "_lanes", "_lowest", "_relaxed", "_sets", "_since_lower", "_torn",
        "active", "crowded", "grants", "handed", "version",
    )  # fmt: skip

    def __init__(self) -> None:
        self.active: list[Lane] = []  # those in which somebody waits
        self.handed: deque[weakref.ref[Ticket]] = deque()  # granted, not yet collected by who waits
        self._asleep: list[tuple[Lane, weakref.ref[Ticket]]] = []  # their event loop does not run
        self._lanes: dict[tuple[int, tuple[Meter, ...]], Lane] = {}
        self._sets: dict[tuple[Meter, ...], int] = {}  # lanes in which somebody waits, by their limits
        self._relaxed = 0  # limits that are not waited for together any more
        self._torn = False  # somebody was interrupted while a lane came or went
        self._fresh: list[Lane] = []  # those that came since the last poll …
        self._due = 0  # … which said when the next is due, what was full, until when, and for which class
        self._free_at: dict[Meter, int] = {}
        self._lowest = 0
        self.crowded = 0  # limits that lanes of different limits wait for together
        self.version = 0  # changes with the limits that are waited for together
        self._since_lower = 0
        self.grants = 0  # to those who waited

    @property
    def restless(self) -> bool:
        """Whether somebody has to look after those who wait: they wait, sleep, or have not come for their grant."""
        return bool(self.active or self.handed or self._asleep)

    @property
    def sets(self) -> int:
        """How many different sets of limits are waited for."""
        return len(self._sets)

    def tickets(self) -> list[Ticket]:
        """All that wait and could take a grant."""
        found = (ref() for lane in self.active for ref in lane.queue)
        return [ticket for ticket in found if ticket is not None and ticket.stage == WAITING]

    def enqueue(self, ticket: Ticket, seq: int, priority: str, waker: Waker) -> None:
        """Put a ticket at the end of its lane."""
        rank = PRIORITIES[priority]
        lane = self._lanes.get((rank, ticket.meters))
        if lane is None:
            lane = self._lanes[rank, ticket.meters] = Lane(ticket.meters, rank)
        more = ticket.more
        more.seq, more.lane, more.waker = seq, lane, waker
        ticket.stage = WAITING
        lane.queue.append(weakref.ref(ticket))
        if lane not in self.active:
            self._activate(lane, ticket)

    def forget_idle(self) -> None:
        """The gate's limits changed: lanes of other sets of limits need not be kept."""
        self._lanes = {(lane.rank, lane.meters): lane for lane in self.active}

    def _activate(self, lane: Lane, ticket: Ticket) -> None:
        lane.until = lane.quiet_until = 0
        lane.place(ticket)
        torn = self._torn
        self._torn = True
        self.active.append(lane)
        self._fresh.append(lane)
        self._count(lane, 1)
        self._torn = torn  # what an earlier interruption left is for `_mend`

    def _deactivate(self, lane: Lane) -> None:
        torn = self._torn
        self._torn = True
        self.active.remove(lane)
        self._count(lane, -1)
        self._torn = torn

    def _count(self, lane: Lane, by: int) -> None:
        """Windows that lanes of different limits wait for together are paced."""
        before = self._sets.get(lane.meters, 0)
        self._sets[lane.meters] = before + by
        if before and before + by:
            return  # a lane of another class waits for the same limits
        for meter in lane.meters:
            self._crowd(meter, meter.lanes + by)
        if not before + by:
            del self._sets[lane.meters]

    def _crowd(self, meter: Meter, lanes: int) -> None:
        meter.lanes = lanes
        self.crowded = self.crowded | meter.bit if lanes > 1 else self.crowded & ~meter.bit
        if meter.crowded != (lanes > 1):
            meter.crowded = lanes > 1
            meter.tidy()
            self.version += 1
            if not meter.crowded:
                self._relaxed |= meter.bit

    def _mend(self) -> None:
        """Who was interrupted while a lane came or went left figures in disorder: count anew."""
        self.crowded = 0
        counted: dict[Meter, int] = {meter: 0 for _, meters in self._lanes for meter in meters}
        self._sets = {}
        for lane in self.active:
            if lane.meters not in self._sets:
                for meter in lane.meters:
                    counted[meter] += 1
            self._sets[lane.meters] = self._sets.get(lane.meters, 0) + 1
        for meter, lanes in counted.items():
            self._crowd(meter, lanes)
        self.version += 1
        self._torn = False

    def poll(self, gate: Grants, now: int) -> tuple[list[Ticket], int]:
        """Grant what fits now: who was granted, and the instant of the next poll (EVENT: only an event can tell)."""
        handed = self.handed
        while handed:
            ticket = handed[0]()
            if ticket is not None and ticket.stage == HANDED:
                break
            handed.popleft()
        if self._torn:
            self._mend()
            gate.touched = -1
        if now < gate.paused_until:
            self._due = 0
            return [], gate.paused_until if self.active else EVENT  # what was touched meanwhile is looked at then
        if self._nothing_new(gate, now):
            self._fresh.clear()
            return [], self._due
        self._fresh.clear()
        self._due = 0
        granted: list[Ticket] = []
        wake = EVENT
        again = True
        while again and self.active:
            turn = Round(self, gate, now, granted)
            again, wake = turn.run()
            self._free_at, self._lowest = turn.free_at, turn.lowest
            if self._relaxed:  # these need not be paced any more
                gate.touched |= self._relaxed
                self._relaxed, again = 0, True
        gate.touched = 0
        self._due = wake
        self.grants += len(granted)
        return granted, wake

    def _nothing_new(self, gate: Grants, now: int) -> bool:
        """Whether nobody can go who could not at the last poll: those who came since need what was full then."""
        if gate.touched or now >= self._due:
            return False
        if not self._fresh:
            return True
        full = 0
        for meter, at in self._free_at.items():
            if at > now:
                full |= meter.bit
        return all(self._hopeless(lane, full) for lane in self._fresh)

    def _hopeless(self, lane: Lane, full: int) -> bool:
        if lane.rank < self._lowest:
            return False  # it is before some of those for whom the places are kept
        return bool(lane.mask & full) and all(meter.bit & full or meter.lanes < 2 for meter in lane.meters)

    def head(self, gate: Grants, lane: Lane, now: int) -> Ticket | None:
        """Who is first in a lane and can take a grant; drops those who are gone, sets aside those who cannot."""
        queue = lane.queue
        while queue:
            ticket = queue[0]()
            if ticket is not None and ticket.stage == TORN:
                gate.mend(ticket, now)
            if ticket is not None and ticket.stage == WAITING:
                waker = ticket.waker
                if waker is None or waker.listening():
                    return ticket
                if waker.gone():
                    ticket.stage = OVER
                else:
                    self._asleep.append((lane, queue[0]))
            if ticket is None or ticket.stage != HANDED:
                gate.touched |= lane.mask  # what it had reserved is for those behind
            queue.popleft()
        self._deactivate(lane)
        return None

    def left(self, gate: Grants, lane: Lane, now: int) -> None:
        """Somebody in this lane waits no more. Where nobody is left, its limits are not to be paced on its account."""
        first = lane.queue[0]() if lane.queue else None
        if lane.queue and (first is None or first.stage == OVER) and lane in self.active:
            self.head(gate, lane, now)

    def in_order(self, gate: Grants, now: int) -> tuple[list[Lane], set[int], int]:
        """The lanes in the order in which their heads are asked, all classes that wait, and when to ask the rest."""
        ranks = {lane.rank for lane in self.active}
        top = min(ranks)
        turn = len(ranks) > 1 and self._since_lower >= _LOWER_TURN - 1
        if turn:
            gate.touched = -1  # what was found in the usual order does not hold in this one
        touched, version = gate.touched, self.version
        asked, rest = [], EVENT
        for lane in self.active:
            if (
                now < lane.quiet_until
                and lane.asked_in == version
                and not (touched and lane.blame is not None and lane.blame.bit & touched)
            ):
                if lane.until < rest:  # noqa: PLR1730  # there may be hundreds, and this is faster
                    rest = lane.until
            else:
                asked.append(lane)
        asked.sort(key=_ORDER)
        if turn:
            asked = [lane for lane in asked if lane.rank != top] + [lane for lane in asked if lane.rank == top]
        return asked, ranks, rest

    def count_turn(self, rank: int, ranks: set[int]) -> None:
        """A grant went to a lane of this class while those classes waited."""
        if rank != min(ranks):
            self._since_lower = 0
        elif len(ranks) > 1:
            self._since_lower += 1

    def tick(self, gate: Grants) -> list[Ticket]:
        """Once a second while anybody waits: look after those who cannot look after themselves.

        Those whose loop runs again wait again; what a stopped loop did not fetch is given back. Returns the tickets
        that are granted and not fetched, to be woken once more.
        """
        asleep, self._asleep = self._asleep, []
        for lane, ref in asleep:
            ticket = ref()
            if ticket is None or ticket.stage != WAITING or ticket.waker is None or ticket.waker.gone():
                continue
            if ticket.waker.listening():
                self._return(lane, ref, ticket)
            else:
                self._asleep.append((lane, ref))
        late: list[Ticket] = []
        for _ in range(len(self.handed)):
            ref = self.handed.popleft()
            ticket = ref()
            if ticket is None or ticket.stage != HANDED or ticket.waker is None:
                continue
            if ticket.waker.listening():
                self.handed.append(ref)
                late.append(ticket)
                continue
            gate.cancel(ticket)  # granted to a loop that stopped before it could come for it: certainly not sent
            if not ticket.waker.gone():
                ticket.stage = WAITING
                self._asleep.append((ticket.more.lane, ref))
        gate.touched = -1
        return late

    def _return(self, lane: Lane, ref: weakref.ref[Ticket], ticket: Ticket) -> None:
        """Put a ticket that was set aside back in its place of the lane."""
        before: list[weakref.ref[Ticket]] = []
        while lane.queue:
            other = lane.queue[0]()
            if other is not None and other.more.seq > ticket.more.seq:
                break
            before.append(lane.queue.popleft())
        lane.queue.extendleft(reversed([*before, ref]))
        if lane not in self.active:
            self._activate(lane, ticket)
        lane.order = lane.quiet_until = 0  # its head is looked at first

    def drop_waiting(self) -> list[Ticket]:
        """Take every waiting ticket out of the queue: nobody will be granted any more."""
        refs = [ref for lane in self.active for ref in lane.queue] + [ref for _, ref in self._asleep]
        dropped = [ticket for ticket in (ref() for ref in refs) if ticket is not None and ticket.stage == WAITING]
        for ticket in dropped:
            ticket.stage = OVER
        self._asleep = []
        for lane in list(self.active):
            lane.queue.clear()
            self._deactivate(lane)
        return dropped
