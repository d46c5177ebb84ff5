"""Admission to one account: who may call, and when.

Rules:
* A ticket is granted by `poll(now)` (or `try_take`) with a clock read at that moment, never otherwise.
* All the limits a ticket names grant together, or none is touched.
* Tickets that name the same limits with the same priority form a lane, first in, first out. Only lane heads compete,
  oldest first within a class; a head that does not fit earmarks its cost on each of its limits, so that it is passed
  only by calls that need none of its places.
* Classes are strict, but one grant in ten goes to a lower class that waits.
* Time is integer nanoseconds, `now` monotonic and `wall` since the epoch, read at one moment. An instant that `poll`
  reports is the very number that a later `poll` compares.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from headway.errors import NeverGranted, UsageError
from headway.limits.express import Express, express_of
from headway.limits.limits import Adaptive, Bucket, Concurrency, Limit, Quota, Window, nanoseconds
from headway.limits.meters.adaptive import AdaptiveMeter
from headway.limits.meters.places import BucketMeter, ConcurrencyMeter, Grant, Meter, RollingQuotaMeter, WindowMeter
from headway.limits.meters.quota import QuotaMeter

__all__ = ["PRIORITIES", "Cost", "Gate", "Poll", "Stage", "Ticket", "make_meter"]

PRIORITIES = {"interactive": 0, "bulk": 1, "replay": 2}
_LOWER_TURN = 10
_SLOTS_PER_QUOTA = 96


Cost = int | Mapping[str, int]
"""What a call costs of every limit, or by limit (1 of those that are not named)."""


class Stage(Enum):
    """Where a ticket stands in the life cycle that every limit shares."""

    WAITING = "waiting"
    IN_FLIGHT = "in flight"
    OVER = "over"


class Ticket:
    """One call's place in the queue, then its places in the meters."""

    __slots__ = ("cost", "costs", "grants", "lane", "seq", "stage", "waker")

    def __init__(self, lane: _Lane, cost: int, seq: int, costs: Mapping[str, int] | None = None) -> None:
        self.lane = lane
        self.cost = cost
        self.costs = costs
        self.seq = seq
        self.stage = Stage.WAITING
        self.grants: list[Grant] = []
        self.waker: object = None

    def cost_of(self, limit: str) -> int:
        """What the call costs of one limit."""
        return self.cost if self.costs is None else self.costs.get(limit, self.cost)


_NOBODY: deque[Ticket] = deque()  # stays empty: 10,000 accounts where nobody waits need no queue each


class _Lane:
    __slots__ = ("meters", "names", "queue", "rank")

    def __init__(self, names: frozenset[str], meters: tuple[Meter, ...], rank: int) -> None:
        self.names = names
        self.meters = meters
        self.rank = rank
        self.queue = _NOBODY


@dataclass(frozen=True, slots=True)
class Poll:
    """Who was granted, and the earliest instant at which another poll can grant (None: only an event can tell)."""

    granted: tuple[Ticket, ...]
    wake: int | None


def make_meter(limit: Window | Bucket | Quota | Concurrency, cap: int) -> Meter:
    """The meter that counts for a limit, of which only `cap` may be used."""
    if isinstance(limit, Window):
        return WindowMeter(limit, cap)
    if isinstance(limit, Bucket):
        return BucketMeter(limit, cap)
    if isinstance(limit, Concurrency):
        return ConcurrencyMeter(limit, cap)
    if limit.per is None:
        return QuotaMeter(limit, cap)
    rolling = Window(limit.amount, limit.per, limit.name)
    return RollingQuotaMeter(rolling, cap, slot=max(1, nanoseconds(limit.per) // _SLOTS_PER_QUOTA))


def usable(amount: int, share: float, reserve: int) -> int:
    """How much of a limit we use: its share, less the reserve, at least 1."""
    return max(1, min(int(amount * share + 1e-9), amount) - reserve)


class Gate:
    """The limits of one account and the calls that wait for them. Not safe under threads: limiter.py holds the lock."""

    __slots__ = (
        "_by_request", "_lanes", "_seq", "_since_lower", "_waiting", "adaptive", "express", "meters", "paused_until",
        "reserve", "share", "smooth",
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
        self.adaptive: tuple[AdaptiveMeter, ...] = ()
        self.express: Express | None = None
        self.paused_until = 0
        self._lanes: list[_Lane] = []
        self._by_request: dict[str | tuple[frozenset[str], str], _Lane] = {}  # a priority alone: all limits
        self._seq = 0
        self._waiting = 0
        self._since_lower = 0
        for limit in limits:
            self.add(limit)

    def add(self, limit: Limit) -> Meter:
        """One more limit; tickets that wait already are not held to it."""
        if limit.name in self.meters:
            raise UsageError(f"two limits are named {limit.name!r}: give one of them another name=")
        meter = self._meter(limit)
        self.meters[limit.name] = meter
        self._by_request.clear()
        self.express = None
        return meter

    def _meter(self, limit: Limit) -> Meter:
        if isinstance(limit, Adaptive):
            found = AdaptiveMeter(limit, self.share)
            self.adaptive = (*self.adaptive, found)
            return found
        reserve = self.reserve if isinstance(limit, Quota) else 0
        meter = make_meter(limit, usable(limit.amount, self.share, reserve))
        meter.bursts = not self.smooth
        return meter

    @property
    def waiting(self) -> int:
        """Tickets that wait."""
        return self._waiting

    def queued(self) -> dict[str, int]:
        """The cost of the tickets that wait, by limit."""
        found: dict[str, int] = {}
        for lane in self._lanes:
            for ticket in lane.queue:
                for name in lane.names:
                    found[name] = found.get(name, 0) + ticket.cost_of(name)
        return found

    # -- asking

    def request(self, cost: Cost = 1, priority: str = "bulk", limits: Iterable[str] | None = None) -> Ticket:
        """A ticket at the end of its lane. NeverGranted for a cost above a limit, UsageError for an unknown limit."""
        ticket = self._ticket(cost, priority, limits)
        self.express = None
        if ticket.lane.queue is _NOBODY:
            ticket.lane.queue = deque()
        ticket.lane.queue.append(ticket)
        self._waiting += 1
        return ticket

    def try_take(
        self, now: int, wall: int, cost: Cost = 1, priority: str = "bulk", limits: Iterable[str] | None = None
    ) -> Ticket | None:
        """A granted ticket if nobody waits and everything fits, else None."""
        ticket = self._ticket(cost, priority, limits)
        if self._waiting or now < self.paused_until:
            return None
        meters = ticket.lane.meters
        if ticket.costs is None:  # spelled out: most calls cost every limit the same
            same = ticket.cost
            for meter in meters:
                if meter.fits(now, wall, same) != 0:
                    return None
            ticket.grants = [meter.take(now, wall, same) for meter in meters]
        else:
            for meter in meters:
                if meter.fits(now, wall, ticket.cost_of(meter.name)) != 0:
                    return None
            ticket.grants = [meter.take(now, wall, ticket.cost_of(meter.name)) for meter in meters]
        ticket.stage = Stage.IN_FLIGHT
        if self.express is None and len(meters) == len(self.meters):
            self.express = express_of(meters, now)
        return ticket

    def from_express(self, express: Express, granted: int) -> Ticket:
        """The ticket of a call that went the express way at `granted`, for whatever needs more than its end.

        A negative `granted` is a call that is over.
        """
        lane = self._by_request.get("bulk") or self._open_lane(None, "bulk")
        meters = tuple(meter for meter in lane.meters if meter in express.meters)
        if len(meters) != len(lane.meters):  # a limit was added since: the call does not count there
            lane = _Lane(frozenset(meter.name for meter in meters), meters, lane.rank)
        self._seq += 1
        ticket = Ticket(lane, 1, self._seq)
        ticket.grants = [Grant(meter.generation, 1, granted) for meter in meters]
        ticket.stage = Stage.IN_FLIGHT if granted >= 0 else Stage.OVER
        return ticket

    def _ticket(self, cost: Cost, priority: str, limits: Iterable[str] | None) -> Ticket:
        if limits is None:
            lane = self._by_request.get(priority) or self._open_lane(None, priority)
        else:
            wanted = frozenset(limits)
            lane = self._by_request.get((wanted, priority)) or self._open_lane(wanted, priority)
        self._seq += 1
        if cost == 1:
            return Ticket(lane, 1, self._seq)
        self._check_cost(lane, cost)
        return Ticket(lane, 1, self._seq, cost) if isinstance(cost, Mapping) else Ticket(lane, cost, self._seq)

    def _open_lane(self, wanted: frozenset[str] | None, priority: str) -> _Lane:
        rank = PRIORITIES.get(priority)
        if rank is None:
            raise UsageError(f"unknown priority {priority!r}: one of {', '.join(PRIORITIES)}")
        names = frozenset(self.meters) if wanted is None else wanted
        unknown = sorted(names - self.meters.keys())
        if unknown:
            raise UsageError(f"no limit is named {unknown[0]!r}: there are {', '.join(sorted(self.meters)) or 'none'}")
        lane = next((lane for lane in self._lanes if lane.rank == rank and lane.names == names), None)
        if lane is None:
            meters = tuple(meter for name, meter in self.meters.items() if name in names)
            lane = _Lane(names, meters, rank)
            self._lanes.append(lane)
        self._by_request[priority if wanted is None else (wanted, priority)] = lane
        return lane

    def _check_cost(self, lane: _Lane, cost: Cost) -> None:
        for meter in lane.meters:
            mine = cost.get(meter.name, 1) if isinstance(cost, Mapping) else cost
            if isinstance(mine, bool) or not isinstance(mine, int) or mine < 1:
                raise UsageError(f"a permit's cost must be a whole number of at least 1, not {mine!r}")
            if mine > meter.amount:
                raise NeverGranted(f"a cost of {mine} can never fit the limit {meter.name!r} of {meter.amount}")

    # -- granting

    def poll(self, now: int, wall: int) -> Poll:
        """Grant what fits now; say when to ask again."""
        granted: list[Ticket] = []
        while True:
            ticket, wake = self._next(now, wall)
            if ticket is None:
                return Poll(tuple(granted), wake)
            lane = ticket.lane
            lane.queue.popleft()
            self._waiting -= 1
            ticket.grants = [meter.take(now, wall, ticket.cost_of(meter.name)) for meter in lane.meters]
            ticket.stage = Stage.IN_FLIGHT
            granted.append(ticket)

    def _next(self, now: int, wall: int) -> tuple[Ticket | None, int | None]:
        """The head to grant now, or the earliest instant at which a head may fit."""
        if not self._waiting:
            return None, None
        heads = [lane.queue[0] for lane in self._lanes if lane.queue]
        if now < self.paused_until:
            return None, self.paused_until
        self._mark_crowds(heads)
        if len(heads) > 1:
            heads = self._in_order(heads)
        earmarked: dict[str, int] = {}
        wake: int | None = None
        for head in heads:
            at = self._when(head, now, wall, earmarked)
            if at == 0:
                self._count_turn(head, heads)
                return head, None
            if at is not None and (wake is None or at < wake):
                wake = at
            for meter in head.lane.meters:
                earmarked[meter.name] = earmarked.get(meter.name, 0) + head.cost_of(meter.name)
        return None, wake

    @staticmethod
    def _when(ticket: Ticket, now: int, wall: int, earmarked: dict[str, int]) -> int | None:
        latest = 0
        blind = False
        for meter in ticket.lane.meters:
            ahead = earmarked.get(meter.name, 0) if earmarked else 0
            cost = ticket.cost_of(meter.name)
            if ahead and ahead + cost > meter.cap:
                blind = True  # all of it is spoken for: the head in front reports the instant
                continue
            at = meter.fits(now, wall, cost + ahead)
            if at is None:
                blind = True
            elif at > latest:
                latest = at
        return None if blind else latest

    def _in_order(self, heads: list[Ticket]) -> list[Ticket]:
        heads.sort(key=lambda head: (head.lane.rank, head.seq))
        top = heads[0].lane.rank
        if self._since_lower >= _LOWER_TURN - 1 and heads[-1].lane.rank != top:
            lower = [head for head in heads if head.lane.rank != top]
            return lower + [head for head in heads if head.lane.rank == top]
        return heads

    def _count_turn(self, head: Ticket, heads: Sequence[Ticket]) -> None:
        top = min(other.lane.rank for other in heads)
        if head.lane.rank != top:
            self._since_lower = 0
        elif any(other.lane.rank != top for other in heads):
            self._since_lower += 1

    def _mark_crowds(self, heads: Sequence[Ticket]) -> None:
        """Windows that lanes of different limits wait for together are paced."""
        for meter in self.meters.values():
            meter.crowded = False
        for i, head in enumerate(heads):
            for other in heads[i + 1 :]:
                if head.lane.names != other.lane.names:
                    for name in head.lane.names & other.lane.names:
                        self.meters[name].crowded = True

    def earliest(self, ticket: Ticket, now: int, wall: int) -> tuple[int | None, str]:
        """The earliest instant this ticket could go if it were alone, and the limit that decides it."""
        latest, name = self.paused_until if now < self.paused_until else 0, "pause"
        for meter in ticket.lane.meters:
            at = meter.fits(now, wall, ticket.cost_of(meter.name))
            if at is None or (at > max(now, meter.paused_until) and meter.may_grow):
                return None, meter.name
            if at > latest:
                latest, name = at, meter.name
        return latest, name

    def drop_waiting(self) -> list[Ticket]:
        """Take every waiting ticket out of the queue: nobody will be granted any more."""
        self.express = None
        dropped = [ticket for lane in self._lanes for ticket in lane.queue]
        for lane in self._lanes:
            lane.queue.clear()
        for ticket in dropped:
            ticket.stage = Stage.OVER
        self._waiting = 0
        return dropped

    # -- giving back

    def abandon(self, ticket: Ticket) -> None:
        """The waiter is gone. A ticket that was granted meanwhile was never sent and gives its places back."""
        if ticket.stage is Stage.OVER:
            return
        if ticket.stage is Stage.WAITING:
            ticket.lane.queue.remove(ticket)
            self._waiting -= 1
            ticket.stage = Stage.OVER
        else:
            self.cancel(ticket)

    def refused(self, ticket: Ticket | None, limit: str, now: int) -> None:
        """A call was refused for its rate by `limit`, '' if unknown: those who keep count or search learn of it."""
        if ticket is not None:
            for of, grant in zip(ticket.lane.meters, ticket.grants, strict=True):
                if isinstance(of, WindowMeter) and of.history is not None:
                    of.history.refused(grant)
        refusing = self.meters.get(limit)
        if isinstance(refusing, ConcurrencyMeter) and refusing.longer_than is None:
            refusing.draining = True
        for meter in self.adaptive:
            if limit in {"", meter.name} or limit not in self.meters:
                grants = () if ticket is None else zip(ticket.lane.meters, ticket.grants, strict=True)
                meter.refused(next((grant for of, grant in grants if of is meter), None), now)

    def stamp(self, ticket: Ticket, now: int) -> None:
        """The last byte was written at `now` on an open connection: only now may an `arrival_bound` count."""
        if ticket.stage is Stage.IN_FLIGHT:
            for meter, grant in zip(ticket.lane.meters, ticket.grants, strict=True):
                meter.stamp(grant, now)

    def settle(self, ticket: Ticket, now: int, wall: int, *, lost: int = 0, actual: Cost | None = None) -> bool:
        """The reply came at `now`; or none will, and the call is counted within `lost` ns. False if it was over."""
        if ticket.stage is not Stage.IN_FLIGHT:
            return False
        ticket.stage = Stage.OVER
        by_limit = actual if actual is not None and not isinstance(actual, int) else None
        same = actual if isinstance(actual, int) else None
        for meter, grant in zip(ticket.lane.meters, ticket.grants, strict=True):
            known = same if by_limit is None else by_limit.get(meter.name)
            meter.settle(grant, now, wall, lost=lost, actual=known)
        return True

    def cancel(self, ticket: Ticket) -> bool:
        """Certainly not sent: every place is given back. False if the ticket was over."""
        if ticket.stage is not Stage.IN_FLIGHT:
            return False
        ticket.stage = Stage.OVER
        for meter, grant in zip(ticket.lane.meters, ticket.grants, strict=True):
            meter.cancel(grant)
        return True
