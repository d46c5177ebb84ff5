"""What waits in this process for limits that are shared: how much in all, and the call that has waited longest."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from headway.limits.ticket import Lane, Ticket

__all__ = ["NOTHING", "Head", "Queue", "Queues"]


class Head(NamedTuple):
    """The call that has waited longest for a limit: its cost, for how many ns it has been at the head, its number."""

    cost: int = 0
    waited: int = 0
    number: int = 0


class Queue(NamedTuple):
    """`cost` of all that waits for one limit, and its `head`: of cost 0 if none could go soon."""

    cost: int = 0
    head: Head = Head()


NOTHING = Queue()


class Queues:
    """Remembers since when each call has been the first of its lane, so that every limit counts its time alike."""

    __slots__ = ("_since", "_soon")

    def __init__(self, soon: int) -> None:
        self._soon = soon  # ns: who waits for something later, the reset of a quota, stands in nobody's way
        self._since: dict[int, int] = {}

    def look(self, tickets: Iterable[Ticket], now: int) -> dict[str, Queue]:
        """What waits, by limit. `tickets`: lane by lane, in the order of each."""
        costs: dict[str, int] = {}
        heads: dict[str, tuple[int, int, int]] = {}
        since: dict[int, int] = {}
        lane: Lane | None = None
        for ticket in tickets:
            for meter in ticket.meters:
                costs[meter.name] = costs.get(meter.name, 0) + ticket.cost_of(meter)
            if ticket.more.lane is lane:
                continue
            lane, number = ticket.more.lane, ticket.more.seq
            at = since[number] = self._since.get(number, now)
            if all(meter.soonest(now, ticket.cost_of(meter)) <= now + self._soon for meter in ticket.meters):
                for meter in ticket.meters:
                    mine = (at, number, ticket.cost_of(meter))
                    heads[meter.name] = min(heads.get(meter.name, mine), mine)
        self._since = since
        found = {name: Queue(cost) for name, cost in costs.items()}
        for name, (at, number, cost) in heads.items():
            found[name] = Queue(costs[name], Head(cost, now - at, number))
        return found
