"""A limiter's member in shared state: its holders, when they ask, and what they make of the answers.

Rules:
* The limiter's lock guards gate and holders; the keeper is asked without it.
* Asking is the lender's thread's business: no event loop and no caller waits for the disk, except `refresh`.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Mapping

from headway.clock import Clock
from headway.errors import HeadwayError
from headway.events import Note, Observer
from headway.limiter.state.backend import Request
from headway.limiter.state.poller import Poller, poller_for
from headway.limits.gate import Gate, Ticket
from headway.limits.limits import SECOND
from headway.limits.meters.adaptive import AdaptiveMeter
from headway.limits.meters.places import Meter
from headway.limits.meters.quota import QuotaMeter
from headway.limits.sharing.client import LotHolder, PlacesHolder, keeping_for
from headway.limits.sharing.lots import LotAnswer
from headway.limits.sharing.places import Answer
from headway.sqlite import process

__all__ = ["Member"]


def _holder_id() -> str:
    pid, start = process.identity()
    return f"{pid}:{start}:{secrets.token_hex(4)}"


class Member:
    """The shared side of one limiter."""

    def __init__(
        self,
        url: str,
        gate: Gate,
        lock: threading.Lock,
        clock: Clock,
        changed: Callable[[], None],
        observer: Observer | None,
        *,
        name: str,
        keys: Mapping[str, str],
        linger: int,
        ttl: int,
        fresh: bool,
        unused: bool,
    ) -> None:
        self._url = url
        self._gate = gate
        self._lock = lock
        self._clock = clock
        self._changed = changed
        self._observer = observer
        self._troubled = False
        self._name = name
        self._linger = linger
        self._ttl = ttl
        self._fresh = fresh
        self._unused = unused
        self._id = _holder_id()
        self._holders: dict[str, tuple[str, PlacesHolder | LotHolder]] = {}
        self._answered = threading.Condition(lock)
        self._rounds = 0
        self._extra = 0
        self._left = False
        for meter in gate.meters.values():
            self.add(meter, keys.get(meter.name))
        self._poller: Poller = poller_for(url)
        self._poller.join(self)

    def add(self, meter: Meter, key: str | None) -> None:
        """One more limit; the lock is held, or nobody else knows us yet."""
        if isinstance(meter, AdaptiveMeter):
            return  # every process searches for itself: what is unknown cannot be partitioned
        holder: PlacesHolder | LotHolder
        if isinstance(meter, QuotaMeter):
            holder = LotHolder(meter, self._id, self._ttl, unused=self._unused)
        else:
            keeping = keeping_for(meter, self._linger, self._ttl)
            holder = PlacesHolder(meter, keeping, self._id, fresh=self._fresh)
        self._holders[meter.name] = (key or f"{self._name}|{meter.name}", holder)

    # -- called by the limiter

    def nudge(self) -> None:
        """Something changed: the lender may have to ask earlier than it planned."""
        self._poller.nudge()

    def lacking(self) -> bool:
        """Whether a limit has fewer places lent than it could have."""
        with self._lock:
            return any((holder.meter.places or 0) < holder.meter.cap for _, holder in self._holders.values())

    def refresh(self, cost: int, timeout: float) -> None:
        """Wait for one round of asking, as if a ticket of `cost` were queued; at most `timeout` seconds."""
        with self._lock:
            seen, self._extra = self._rounds, cost
        self._poller.nudge()
        with self._answered:
            self._answered.wait_for(lambda: self._rounds > seen or self._left, timeout)
            self._extra = 0

    def settled(self, ticket: Ticket, now: int, wall: int) -> bool:
        """A reply came; the lock is held. Whether the lender should look: others wait for the place."""
        scarce = False
        for meter in ticket.lane.meters:
            if meter.name not in self._holders:
                continue
            holder = self._holders[meter.name][1]
            if isinstance(holder, LotHolder):
                holder.settled = True
            else:
                scarce |= holder.used(now, wall, ticket.cost_of(meter.name))
        return scarce

    def heard(self, counted: Mapping[str, int]) -> None:
        """Calls that the platform said it had counted, per limit; the lock is held."""
        for name, calls in counted.items():
            holder = self._holders[name][1]
            if isinstance(holder, LotHolder):
                holder.hear(calls)
            elif holder.cold:
                holder.opened = calls

    def paused(self, limit: str, nanoseconds: int) -> None:
        """A rate-limit reply: the other holders are to pause as well; the lock is held."""
        for name, (_, holder) in self._holders.items():
            if limit in {"", name}:
                holder.pause(nanoseconds)

    def recovering(self) -> float:
        """Seconds until places of dead holders or of a lost state are free at the latest."""
        with self._lock:
            places = [holder for _, holder in self._holders.values() if isinstance(holder, PlacesHolder)]
            return max((holder.recovering / SECOND for holder in places), default=0.0)

    def leave(self) -> None:
        """Give everything back; returns when the keeper has it, or after a second without an answer."""
        with self._lock:
            if self._left:
                return
            self._left = True
            for _, holder in self._holders.values():
                holder.leaving = True
        self._poller.leave(self)

    def rejoin(self, lock: threading.Lock) -> None:
        """In a forked child: begin anew as another holder."""
        self._lock = lock
        self._answered = threading.Condition(lock)
        self._id = _holder_id()
        for _, holder in self._holders.values():
            holder.restart(self._id)
        if not self._left:
            self._poller = poller_for(self._url)
            self._poller.join(self)

    # -- called by the lender's thread

    def due(self) -> int | None:
        """The monotonic instant at which to ask next; None for never, as things stand."""
        with self._lock:
            now, wall = self._clock.monotonic_ns(), self._clock.wall_ns()
            queued = self._queued()
            times = [holder.due(now, wall, queued.get(name, 0)) for name, (_, holder) in self._holders.items()]
        return min((at for at in times if at is not None), default=None)

    def requests(self) -> tuple[int, list[Request]]:
        """What to ask now, for all limits, and the instant from which leases count."""
        with self._lock:
            now, wall = self._clock.monotonic_ns(), self._clock.wall_ns()
            queued = self._queued()
            asks: list[Request] = []
            for name, (key, holder) in self._holders.items():
                if isinstance(holder, LotHolder):
                    asks.append(Request(key, holder.meter.cap, None, holder.ask(now, wall, queued.get(name, 0))))
                else:
                    holder.keeping = keeping_for(holder.meter, self._linger, self._ttl)
                    ask = holder.ask(now, wall, queued.get(name, 0))
                    asks.append(Request(key, holder.meter.cap, holder.keeping, ask))
            return now, asks

    def apply(self, answers: list[Answer | LotAnswer], asked: int) -> None:
        """Use the answers, in the order of the requests."""
        with self._lock:
            now = self._clock.monotonic_ns()
            for (_, holder), answer in zip(self._holders.values(), answers, strict=False):
                if isinstance(holder, LotHolder):
                    assert isinstance(answer, LotAnswer)
                    holder.apply(answer, asked, now)
                else:
                    assert isinstance(answer, Answer)
                    holder.apply(answer, asked, now)
            self._rounds += 1
            self._troubled = False
            self._answered.notify_all()
        self._changed()

    def failed(self, error: HeadwayError) -> None:
        """The keeper did not answer: said once, until it does again."""
        with self._lock:
            said, self._troubled = self._troubled, True
            now = self._clock.monotonic_ns()
            for _, holder in self._holders.values():
                holder.failed(now)
        if not said and self._observer is not None:
            self._observer(Note(f"{error}; what is lent may be used until its lease ends, then calls wait"))

    def _queued(self) -> dict[str, int]:
        queued = self._gate.queued()
        if self._extra:
            for name in self._holders:
                queued[name] = queued.get(name, 0) + self._extra
        return queued
