"""What waits in this process for limits that are shared: how much in all, and how much of each for one call to go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from headway.limits.ticket import Lane, Ticket

__all__ = ["NOTHING", "Head", "Queue", "Queues"]


class Head(NamedTuple):
    """What lets whichever call is next go: the most that the first of a lane costs of a limit, 0 if none could go soon.

    `waited`: ns for which the oldest of this process, whatever its limits, has been the first of its lane; `number`
    tells it from the next.
    """

    cost: int = 0
    waited: int = 0
    number: int = 0


class Queue(NamedTuple):
    """What waits for one limit: `cost` of all of it, and the head."""

    cost: int = 0
    head: Head = Head()

    @property
    def soon(self) -> int:
        """Cost of what waits, if any of it could go soon."""
        return self.cost if self.head.cost else 0


NOTHING = Queue()


class Queues:
    """Remembers since when each call has been the first of its lane.

    All limits of a process are told one age, its oldest, and the most that any first call costs: so every keeper lines
    processes up alike, and whichever call the gate lets go first finds what it needs.
    """

    __slots__ = ("_since", "_soon")

    def __init__(self, soon: int) -> None:
        self._soon = soon  # ns: who waits for something later, the reset of a quota, stands in nobody's way
        self._since: dict[int, int] = {}

    def look(self, tickets: Sequence[Ticket], now: int) -> dict[str, Queue]:
        """What waits, by limit. `tickets`: lane by lane, in the order of each."""
        if not tickets:
            self._since = {}
            return {}
        costs: dict[str, int] = {}
        heads: dict[str, int] = {}
        since: dict[int, int] = {}
        oldest = (now, 0)
        lane: Lane | None = None
        for ticket in tickets:
            for meter in ticket.meters:
                costs[meter.name] = costs.get(meter.name, 0) + ticket.cost_of(meter)
            if ticket.more.lane is lane:
                continue
            lane, number = ticket.more.lane, ticket.more.seq
            since[number] = self._since.get(number, now)
            if self._could_go(ticket, now):
                oldest = min(oldest, (since[number], number)) if oldest[1] else (since[number], number)
                for meter in ticket.meters:
                    heads[meter.name] = max(heads.get(meter.name, 0), ticket.cost_of(meter))
        self._since = since
        at, number = oldest
        return {name: Queue(cost, Head(heads.get(name, 0), now - at, number)) for name, cost in costs.items()}

    def _could_go(self, ticket: Ticket, now: int) -> bool:
        """Whether nothing but the lender stands in its way for long."""
        return all(
            max(meter.paused_until, meter.hoped(now, min(ticket.cost_of(meter), meter.cap))) <= now + self._soon
            for meter in ticket.meters
        )
