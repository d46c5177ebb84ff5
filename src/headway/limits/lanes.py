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
from typing import Protocol

from headway.limits.meters.meter import EVENT, Meter
from headway.limits.ticket import HANDED, OVER, PRIORITIES, TORN, WAITING, Lane, Ticket, Waker

__all__ = ["Grants", "Lanes"]

_LOWER_TURN = 10
_ORDER = attrgetter("order")


class Grants(Protocol):
    """What lanes need of their gate."""

    paused_until: int
    touched: int

    def take(self, ticket: Ticket, now: int) -> int: ...
    def mend(self, ticket: Ticket, now: int) -> None: ...
    def cancel(self, ticket: Ticket) -> bool: ...


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
            turn = _Round(self, gate, now, granted)
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


class _Round:
    """One pass over the lanes that wait, oldest head first."""

    __slots__ = ("_ahead", "_gate", "_granted", "_lanes", "_now", "_wake", "free_at", "full", "lowest")

    def __init__(self, lanes: Lanes, gate: Grants, now: int, granted: list[Ticket]) -> None:
        self._lanes = lanes
        self._gate = gate
        self._now = now
        self._granted = granted
        self._ahead: dict[Meter, int] = {}  # what older heads have reserved
        self.full = 0  # limits of which nothing is left for those behind …
        self.free_at: dict[Meter, int] = {}  # … and when there may be again
        self.lowest = 0  # the lowest class that reserved anything
        self._wake = EVENT

    def run(self) -> tuple[bool, int]:
        """(Whether to pass over the lanes again, the instant of the next poll)."""
        gate, now = self._gate, self._now
        order, ranks, self._wake = self._lanes.in_order(gate, now)
        touched = gate.touched
        at = 0
        while at < len(order):
            lane = order[at]
            at += 1
            if lane.mask & self.full and self._hopeless(lane):
                continue
            ticket = self._lanes.head(gate, lane, now)
            if ticket is None:
                continue
            lane.place(ticket)
            if not self._try(lane, ticket):
                if self.full and self._nobody_else():
                    for each in order[at:]:
                        each.until = each.quiet_until = 0
                    break
                continue
            self._lanes.count_turn(lane.rank, ranks)
            following = self._lanes.head(gate, lane, now)
            if len(ranks) > 1:
                return True, EVENT
            if following is not None:
                lane.place(following)
                _insert(order, lane, at)
        return bool(gate.touched & ~touched), self._wake

    def _nobody_else(self) -> bool:
        """Whether all who wait need a limit that is full, and no other is waited for together."""
        if self._lanes.crowded & ~self.full:
            return False
        for meter, at in self.free_at.items():
            if meter.lanes == self._lanes.sets:
                self._wake = min(self._wake, at)
                return True
        return False

    def _hopeless(self, lane: Lane) -> bool:
        """Whether the lane needs a full limit, and no other that somebody else waits for."""
        free = 0
        for meter in lane.meters:
            if meter.bit & self.full:
                free = max(free, self.free_at[meter])
            elif meter.lanes > 1:
                return False
        lane.until = lane.quiet_until = 0
        self._wake = min(self._wake, free)
        return True

    def _try(self, lane: Lane, ticket: Ticket) -> bool:
        """Grant the lane's head, or note what it waits for."""
        gate, now = self._gate, self._now
        until = self._when(lane, ticket)
        if until == 0:
            until = gate.take(ticket, now)
            if until == 0:
                ticket.stage = HANDED
                self._lanes.handed.append(lane.queue[0])
                self._granted.append(ticket)
                lane.until = lane.quiet_until = 0
                return True
        lane.until = until
        self._wake = min(self._wake, until)
        self._earmark(lane, ticket, until)
        return False

    def _when(self, lane: Lane, ticket: Ticket) -> int:
        """When the head may go, after those before it."""
        latest = 0
        ahead = self._ahead
        for meter in lane.meters:
            cost = ticket.cost_of(meter)
            before = ahead.get(meter, 0) if ahead else 0
            if meter.bit & self.full:
                at = self.free_at[meter]
            elif before and cost + before > meter.cap:
                at = EVENT  # all of it is spoken for: the head in front reports the instant
            else:
                at = meter.when(self._now, cost + before)
            if at and before:  # nor is there anything for those behind
                self.full |= meter.bit
                self.free_at[meter] = at
            if at > latest:
                latest = at
                lane.blame = meter
        return latest

    def _earmark(self, lane: Lane, ticket: Ticket, until: int) -> None:
        """Reserve the head's cost on each of its limits that would not have the place back before it can go."""
        lane.quiet_until, lane.asked_in = until, self._lanes.version
        self.lowest = max(self.lowest, lane.rank)
        for meter in lane.meters:
            if meter.lanes > 1:
                lane.quiet_until = min(lane.quiet_until, until - meter.turnaround if until < EVENT else 0)
                if until >= EVENT or until - self._now <= meter.turnaround:
                    self._ahead[meter] = self._ahead.get(meter, 0) + ticket.cost_of(meter)


def _insert(order: list[Lane], lane: Lane, at: int) -> None:
    """Put a lane back among those that are still to be asked, by its next head's age."""
    while at < len(order) and order[at].order < lane.order:
        at += 1
    order.insert(at, lane)
