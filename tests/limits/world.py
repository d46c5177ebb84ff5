"""A virtual world to run a gate in: a clock, a network, and a platform that stamps calls and judges them afterwards.

The platform shares no code with the gate: it only keeps the instants at which it counted.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from headway.limits.gate import Gate, Poll
from headway.limits.limits import Limit
from headway.limits.meters.meter import Meter
from headway.limits.sharing.queue import NOTHING, Queue, Queues
from headway.limits.ticket import HANDED, IN_FLIGHT, OVER, Cost, Ticket

SECOND = 1_000_000_000
EPOCH = 1_790_000_000 * SECOND


class Asked(Ticket):
    """A ticket with a name on it."""

    __slots__ = ("who",)
    who: str

    @property
    def names(self) -> frozenset[str]:
        return frozenset(meter.name for meter in self.meters)


class Nobody:
    """Who waits in a test is woken by nobody."""

    def wake(self) -> None: ...

    def listening(self) -> bool:
        return True

    def gone(self) -> bool:
        return False


class Desk:
    """A gate, and somebody who reads both clocks before each step and keeps the tickets."""

    def __init__(self, limits: list[Limit], **options: object) -> None:
        self.gate = Gate(limits, **options)  # type: ignore[arg-type]
        self._kept: set[Ticket] = set()
        self._queues = Queues(6 * SECOND)

    @property
    def meters(self) -> dict[str, Meter]:
        return self.gate.meters

    @property
    def waiting(self) -> int:
        return self.gate.waiting

    def queue(self, name: str, now: int) -> Queue:
        return self._queues.look(self.gate.queued(), now).get(name, NOTHING)

    def _make(self, cost: Cost, limits: object) -> Asked:
        meters = self.gate.choose(limits)  # type: ignore[arg-type]
        self.gate.check_cost(meters, cost)
        ticket = Asked(meters)
        if isinstance(cost, int):
            ticket.cost = cost
        else:
            ticket.set_costs(cost)
        ticket.who = ""
        self._kept.add(ticket)
        return ticket

    def look(self, now: int, wall: int) -> None:
        if now >= self.gate.next_look:
            self.gate.look_at(now, wall)

    def request(self, cost: Cost = 1, priority: str = "bulk", limits: object = None) -> Asked:
        ticket = self._make(cost, limits)
        self.gate.enqueue(ticket, priority, Nobody())
        return ticket

    def try_take(
        self, now: int, wall: int, cost: Cost = 1, limits: object = None, priority: str = "bulk"
    ) -> Asked | None:
        ticket = self._make(cost, limits)
        self.look(now, wall)
        self.gate.enqueue(ticket, priority, Nobody())
        self.gate.poll(now)
        if ticket.stage == HANDED:
            ticket.stage = IN_FLIGHT
            return ticket
        self.gate.abandon(ticket, now)
        return None

    def poll(self, now: int, wall: int) -> Poll:
        self.look(now, wall)
        found = self.gate.poll(now)
        for ticket in found.granted:
            ticket.stage = IN_FLIGHT
        return found

    def stamp(self, ticket: Ticket, now: int) -> None:
        self.gate.stamp(ticket, now)

    def settle(self, ticket: Ticket, now: int, wall: int, *, lost: int = 0, actual: Cost | None = None) -> None:
        self.look(now, wall)
        if lost:
            self.gate.lose(ticket, now, lost)
        else:
            if actual is not None:
                self.gate.correct(ticket, now, actual)
            self.gate.settle(ticket, now)
        self._over(ticket)

    def cancel(self, ticket: Ticket) -> None:
        self.gate.cancel(ticket)
        self._over(ticket)

    def abandon(self, ticket: Ticket, now: int = 0) -> None:
        self.gate.abandon(ticket, now)
        self._over(ticket)

    def _over(self, ticket: Ticket) -> None:
        for meter in ticket.meters:
            self.gate.touched |= meter.bit
        assert ticket.stage == OVER
        self._kept.discard(ticket)


@dataclass
class Network:
    """Seconds on the way there, at the platform, and back; the share of calls that never get a reply."""

    there: Callable[[random.Random], float] = lambda rng: 0.02
    service: Callable[[random.Random], float] = lambda rng: 0.01
    back: Callable[[random.Random], float] = lambda rng: 0.02
    lost: float = 0.0
    cancelled: float = 0.0
    backlog: float = 0.0
    give_up: float | None = None


@dataclass
class World:
    """Runs `calls` calls from `callers` callers that always have something to send."""

    gate: Desk
    network: Network
    seed: int = 0
    rate: float = 1.0  # how fast the client's clock runs
    linger: float = 30.0
    counted: dict[str, list[int]] = field(default_factory=dict)
    now: int = 1
    done: int = 0
    grants: list[tuple[int, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._seq = itertools.count()
        self._timer: int | None = None

    def client(self) -> int:
        return int(self.now * self.rate) + 1

    def wall(self) -> int:
        return EPOCH + self.client()

    def at(self, when: int, what: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._seq), what))

    def poll(self) -> None:
        poll = self.gate.poll(self.client(), self.wall())
        for ticket in poll.granted:
            assert isinstance(ticket, Asked)
            self._send(ticket)
        if poll.wake is not None and poll.wake != self._timer:
            self._timer = poll.wake
            self.at(max(self.now + 1, int((poll.wake - 1) / self.rate) + 1), self._fire)

    def _fire(self) -> None:
        self._timer = None

    def ask(self, name: str = "", **request: object) -> Asked:
        ticket = self.gate.request(**request)  # type: ignore[arg-type]
        ticket.who = name
        return ticket

    def _send(self, ticket: Asked) -> None:
        rng, network = self.rng, self.network
        self.grants.append((self.now, ticket.who))
        if rng.random() < network.cancelled:
            self.gate.cancel(ticket)
            self.on_done(ticket)
            self.at(self.now, lambda: None)  # whoever gives back polls
            return
        arrival = self.now + int(network.there(rng) * SECOND)
        counted = arrival
        reply = arrival + int((network.service(rng) + network.back(rng)) * SECOND)
        if rng.random() < network.lost:
            # The client gives up; the platform counts it any time before the linger is over.
            gone = self.now + int(rng.uniform(0, 5) * SECOND)
            counted = self.now + int(rng.uniform(0, network.backlog or self.linger) * SECOND * 0.999)
            self.at(gone, lambda: self._over(ticket, lost=True))
        elif network.give_up is not None and reply - self.now > network.give_up * SECOND:
            self.at(self.now + int(network.give_up * SECOND), lambda: self._over(ticket, lost=True))
        else:
            self.at(reply, lambda: self._over(ticket, lost=False))
        for meter in ticket.meters:
            self.counted.setdefault(meter.name, []).extend([counted] * ticket.cost_of(meter))

    def _over(self, ticket: Ticket, *, lost: bool) -> None:
        linger = int(self.linger * SECOND * self.rate) + 1 if lost else 0
        self.gate.settle(ticket, self.client(), self.wall(), lost=linger)
        self.done += 1
        self.on_done(ticket)

    def on_done(self, ticket: Ticket) -> None:
        """Overridden by tests that ask again."""

    def run(self, until: int | None = None, events: int = 10_000_000) -> None:
        self.poll()
        for _ in range(events):
            if not self._events:
                return
            at, _, what = heapq.heappop(self._events)
            if until is not None and at > until:
                self.now = until
                return
            self.now = max(self.now, at)
            what()
            self.poll()
