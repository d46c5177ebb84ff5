"""A ticket: one call's place in the queue, then its places in the meters; and the lanes in which tickets wait."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Mapping
from typing import Protocol

from headway.limits.meters.meter import Meter

__all__ = [
    "HANDED", "IN_FLIGHT", "LOSING", "NEW", "OVER", "PRIORITIES", "SETTLING", "TORN", "UNLIMITED", "WAITING", "Cost",
    "Lane",
    "Ticket", "Waker", "chosen",
]  # fmt: skip

PRIORITIES = {"interactive": 0, "bulk": 1, "replay": 2}
_RANK = 1 << 48

# Where a ticket stands in the life cycle that every limit shares. HANDED: granted, and not yet collected by who waits.
# SETTLING, LOSING, TORN: in a step that was begun and, if it stays there, interrupted.
NEW, WAITING, HANDED, IN_FLIGHT, SETTLING, LOSING, TORN, OVER = range(8)

Cost = int | Mapping[str, int]
"""What a call costs of every limit, or by limit (1 of those that are not named)."""


class _Unlimited(frozenset[str]):
    """See `UNLIMITED`."""


UNLIMITED = _Unlimited()
"""For a call that counts against no limit at all; an empty list of limits is a mistake."""


def chosen(names: frozenset[str] | None) -> frozenset[str] | None:
    """These limits where none at all is meant as such; None: all of them."""
    return UNLIMITED if names is not None and not names else names


class Waker(Protocol):
    """Somebody who waits for a grant."""

    def wake(self) -> None:
        """It was granted."""

    def listening(self) -> bool:
        """Whether it could take a grant now: its event loop runs."""

    def gone(self) -> bool:
        """Whether it never will again: its event loop is closed."""


class _More:
    """What only some tickets have: other costs than one, a wish, a place in a queue, a stamp, a refusal."""

    __slots__ = ("costs", "lane", "linger", "priority", "refused", "sent_at", "seq", "timeout", "waker")

    lane: Lane
    linger: int
    seq: int

    def __init__(self) -> None:
        self.costs: dict[str, int] | None = None
        self.priority = "bulk"
        self.timeout: float | None = None
        self.refused = False
        self.sent_at = 0
        self.waker: Waker | None = None


class Ticket:
    """One call: its place in the queue, then its places in the meters. The permit that users see is one."""

    __slots__ = ("__weakref__", "cost", "done", "granted", "meters", "rare", "stage")

    done: int  # meters that a step which was interrupted had been through; set with the stages that need it
    granted: int

    def __init__(self, meters: tuple[Meter, ...], cost: int = 1) -> None:
        self.meters = meters
        self.cost = cost  # of every limit; 0: it differs, see `cost_of`
        self.stage = NEW
        self.rare: _More | None = None  # what is unusual about it, if anything is

    @property
    def more(self) -> _More:
        """What is unusual about this ticket, made when it first is."""
        if self.rare is None:
            self.rare = _More()
        return self.rare

    @property
    def waker(self) -> Waker | None:
        """Who waits for it."""
        return None if self.rare is None else self.rare.waker

    @property
    def sent_at(self) -> int:
        """When its last byte was written, 0 if nobody said."""
        return 0 if self.rare is None else self.rare.sent_at

    @property
    def refused(self) -> bool:
        """Whether the platform refused the call for its rate."""
        return self.rare is not None and self.rare.refused

    def set_costs(self, costs: Mapping[str, int]) -> None:
        """The call costs so much, by limit; 1 of those that are not named."""
        self.more.costs = dict(costs)
        self.cost = 0  # ask `cost_of`

    def cost_of(self, meter: Meter) -> int:
        """What the call costs of one limit."""
        if self.cost or self.rare is None or self.rare.costs is None:
            return self.cost
        return self.rare.costs.get(meter.name, 1)


class Lane:
    """Tickets that name the same limits with the same priority, first in, first out; referred to weakly."""

    __slots__ = ("asked_in", "blame", "mask", "meters", "order", "queue", "quiet_until", "rank", "until")

    def __init__(self, meters: tuple[Meter, ...], rank: int) -> None:
        self.meters = meters
        self.rank = rank
        self.mask = 0
        for meter in meters:
            self.mask |= meter.bit
        self.queue: deque[weakref.ref[Ticket]] = deque()
        self.order = 0  # by class and age of its head, as last looked at
        self.until = 0  # the head cannot go before, unless the limit to blame is touched
        self.blame: Meter | None = None  # what its head waits for
        self.quiet_until = 0  # before, it has nothing to reserve on limits that others wait for …
        self.asked_in = 0  # … as long as the same limits are waited for together (see Lanes.version)

    def place(self, ticket: Ticket) -> None:
        """Take the lane's place among the others from its head."""
        self.order = self.rank * _RANK + ticket.more.seq
