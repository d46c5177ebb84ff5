"""A platform that refuses at once, in virtual time, for clients that learn: counts what it accepts, exactly.

Shares no code with the gate. Rolling window; refused calls are not counted.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from headway.limits.headers import Remaining
from headway.limits.learning import Rejections, learn
from headway.limits.ticket import Ticket
from tests.limits.world import Desk

SECOND = 1_000_000_000
EPOCH = 1_790_000_000 * SECOND


@dataclass
class Platform:
    """`amount` per `per` seconds, at any instant what `limit_at` says (for limits that move)."""

    amount: int
    per: float
    limit_at: Callable[[float], int] | None = None
    stamps: deque[int] = field(default_factory=deque)

    def count(self, now: int) -> bool:
        span = int(self.per * SECOND)
        while self.stamps and self.stamps[0] <= now - span:
            self.stamps.popleft()
        limit = self.amount if self.limit_at is None else self.limit_at(now / SECOND)
        if len(self.stamps) >= limit:
            return False
        self.stamps.append(now)
        return True


@dataclass
class Simulation:
    """Callers that always have something to send, through `gate`, to `platform`; latencies in seconds."""

    gate: Desk
    platform: Platform
    there: Callable[[random.Random], float] = lambda rng: 0.05
    service: Callable[[random.Random], float] = lambda rng: 0.05
    back: Callable[[random.Random], float] = lambda rng: 0.05
    callers: int = 200
    headers: bool = False
    claims: float | None = None  # the window's length as the headers tell it
    retry_after: float | None = None
    stamp: bool = False
    seed: int = 1

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.now = 1
        self.accepted: list[int] = []
        self.refused: list[int] = []
        self.said: list[str] = []
        self.rejections = Rejections(self.gate.gate)
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._seq = itertools.count()
        self._timer: int | None = None

    def at(self, when: int, what: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._seq), what))

    def foreign(self, every: Callable[[random.Random], float], until: float) -> list[bool]:
        """Another application of the same account; returns what becomes of its calls."""
        fate: list[bool] = []

        def call() -> None:
            fate.append(self.platform.count(self.now))
            following = self.now + int(every(self.rng) * SECOND)
            if following < until * SECOND:
                self.at(following, call)

        self.at(int(every(self.rng) * SECOND), call)
        return fate

    def run(self, seconds: float, calls: int | None = None) -> None:
        for _ in range(self.callers):
            self.gate.request()
        end = int(seconds * SECOND)
        self._poll()
        while self._events and self._events[0][0] <= end:
            if calls is not None and len(self.accepted) + len(self.refused) >= calls:
                return
            self.now, _, what = heapq.heappop(self._events)
            what()
            self._poll()
        self.now = end

    def _poll(self) -> None:
        poll = self.gate.poll(self.now, EPOCH + self.now)
        for ticket in poll.granted:
            self._send(ticket)
        if poll.wake is not None and poll.wake != self._timer:
            self._timer = poll.wake
            self.at(max(self.now, poll.wake), self._fired)

    def _fired(self) -> None:
        self._timer = None

    def _send(self, ticket: Ticket) -> None:
        if self.stamp:
            self.gate.stamp(ticket, self.now)
        self.at(self.now + int(self.there(self.rng) * SECOND), lambda: self._arrive(ticket, self.now))

    def _arrive(self, ticket: Ticket, _: int) -> None:
        good = self.platform.count(self.now)
        left = self.platform.amount - len(self.platform.stamps)
        delay = self.back(self.rng) + (self.service(self.rng) if good else 0.0)
        self.at(self.now + int(delay * SECOND), lambda: self._reply(ticket, good, left))

    def _reply(self, ticket: Ticket, good: bool, left: int) -> None:
        now, wall = self.now, EPOCH + self.now
        if self.headers:
            word = Remaining("window", self.platform.amount, max(0, left), self.claims or self.platform.per)
            self.said += learn(self.gate.gate, ticket, [word], now, wall).refuted
        sent = ticket.granted
        if good:
            self.accepted.append(now)
            self.rejections.delivered(sent)
        else:
            self.refused.append(now)
            wait = None if self.retry_after is None else int(self.retry_after * SECOND)
            self.rejections.rejected(now, ticket, "", wait)
        self.gate.settle(ticket, now, wall)
        self.gate.request()
