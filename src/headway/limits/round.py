"""One pass over the lanes that wait: whose head may go now, and when to ask the rest (see lanes.py for the rules)."""

from __future__ import annotations

import weakref
from collections import deque
from typing import Protocol

from headway.limits.meters.meter import EVENT, Meter
from headway.limits.ticket import HANDED, Lane, Ticket

__all__ = ["Grants", "Round"]


class Grants(Protocol):
    """What lanes need of their gate."""

    paused_until: int
    touched: int

    def take(self, ticket: Ticket, now: int) -> int: ...
    def mend(self, ticket: Ticket, now: int) -> None: ...
    def cancel(self, ticket: Ticket) -> bool: ...


class Waiters(Protocol):
    """What a pass needs of those who wait."""

    crowded: int
    handed: deque[weakref.ref[Ticket]]
    version: int

    @property
    def sets(self) -> int: ...

    def in_order(self, gate: Grants, now: int) -> tuple[list[Lane], set[int], int]: ...
    def head(self, gate: Grants, lane: Lane, now: int) -> Ticket | None: ...
    def count_turn(self, rank: int, ranks: set[int]) -> None: ...


class Round:
    """One pass over the lanes that wait, oldest head first."""

    __slots__ = ("_ahead", "_gate", "_granted", "_lanes", "_now", "_wake", "free_at", "full", "lowest")

    def __init__(self, lanes: Waiters, gate: Grants, now: int, granted: list[Ticket]) -> None:
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
            if at < len(order) and order[at].rank == lane.rank and order[at].order < lane.order:
                _insert(order, lane, at)  # who was first in it is gone, and the next came later than others
                continue
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
