"""A gate under threads and event loops alike.

Rules:
* One short lock; no callback and no waiting under it.
* A waiter is woken only when it was granted. A granted waiter that is gone gives its places back at once.
* While one event loop is the only user, its own timer polls; as soon as a thread or a second loop joins, one daemon
  thread per process does.
* After `fork`, a limiter in memory refuses to work; one with shared state joins again as a new holder.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from headway.clock import Clock, SystemClock
from headway.errors import ForkedLimiter, LimiterClosed, PermitTimeout, UsageError
from headway.events import DestinationPaused, Observer, ProfileRefuted, RateLimitHit
from headway.limiter.permit import Permit, PermitRequest
from headway.limiter.state.member import Member
from headway.limiter.timers import Alarm, AsyncWaiter, ThreadWaiter, Waiter
from headway.limits.express import Express
from headway.limits.gate import Cost, Gate, Stage, Ticket
from headway.limits.headers import Remaining, date_ns, remaining
from headway.limits.learning import Pause, Rejections, learn, learn_date
from headway.limits.limits import SECOND, Limit, nanoseconds
from headway.limits.status import LimitStatus, status_of

__all__ = ["LimitStatus", "Limiter"]

_ALL: weakref.WeakSet[Limiter] = weakref.WeakSet()


class Limiter:
    """Permits for calls to one account, under all of its limits at once.

    `state`: None keeps what was counted in memory; a path or "sqlite:///path" shares it with every process of this
    machine and keeps it over restarts, under `name` (or, limit by limit, under `keys`). `share`: the part of each
    limit to use; `reserve`: calls of each calendar quota to leave. `linger`: seconds for which a call without a reply
    may still be counted. `fresh`: vouches that nothing was used before. `lost`: what to believe of a quota whose
    shared state is gone and of which the platform says nothing, "used" or "unused". `pacing`: "burst" or "smooth".
    Raises UsageError for anything that makes no sense, at construction.
    """

    __slots__ = (
        "__weakref__", "_alarm", "_clock", "_closed", "_dropped", "_forked", "_gate", "_linger", "_lock", "_membership",
        "_now", "_observer", "_rejections", "name",
    )  # fmt: skip

    def __init__(
        self,
        *limits: Limit,
        name: str = "",
        state: str | Path | None = None,
        keys: Mapping[str, str] | None = None,
        share: float = 1.0,
        reserve: int = 0,
        pacing: str | None = None,
        linger: float = 30.0,
        fresh: bool = False,
        lost: str = "used",
        observer: Observer | None = None,
        clock: Clock | None = None,
        ttl: float = 6.0,
    ) -> None:
        _check(linger, lost, named=state is None or bool(name or keys))
        self.name = name
        self._clock: Clock = clock or SystemClock()
        self._now = self._clock.monotonic_ns
        self._lock = threading.Lock()
        self._gate = Gate(limits, share=share, reserve=reserve, pacing=pacing)
        self._rejections = Rejections(self._gate)
        self._linger = nanoseconds(linger)
        self._observer = observer
        self._alarm = Alarm(self._clock, self._poll)
        self._closed = False
        self._forked = False
        self._dropped: deque[Ticket | Express] = deque()
        self._membership: Member | None = None
        if state is not None:
            self._membership = Member(
                str(state), self._gate, self._lock, self._clock, self._poll, observer,
                name=name, keys=keys or {}, linger=self._linger, ttl=nanoseconds(ttl),
                fresh=fresh, unused=lost == "unused",
            )  # fmt: skip
        _ALL.add(self)

    # -- asking for permits

    def permit(
        self,
        cost: Cost = 1,
        *,
        priority: str = "bulk",
        timeout: float | None = None,
        limits: Iterable[str] | None = None,
    ) -> PermitRequest:
        """A context manager, `with` or `async with`, that takes a permit and settles it; see `acquire`."""
        names = None if limits is None else frozenset(limits)
        return PermitRequest(self, cost, priority, timeout, names)

    def try_acquire(
        self, cost: Cost = 1, *, priority: str = "bulk", limits: Iterable[str] | None = None
    ) -> Permit | None:
        """A permit if one is to be had now and nobody waits for it, else None."""
        ticket = self._take(cost, priority, _names(limits))
        if ticket is None and self._membership is not None and self._membership.lacking():
            # The places are the keeper's to lend: ask once, which takes a few milliseconds.
            self._membership.refresh(cost if isinstance(cost, int) else max(cost.values(), default=1), 0.5)
            ticket = self._take(cost, priority, _names(limits))
        return None if ticket is None else Permit(self, ticket)

    def acquire(
        self,
        cost: Cost = 1,
        *,
        priority: str = "bulk",
        timeout: float | None = None,
        limits: Iterable[str] | None = None,
    ) -> Permit:
        """Wait in this thread for a permit.

        `cost` in the limits' units, or by limit ({"tokens": 10}: 1 of the others); `priority` "interactive", "bulk" or
        "replay"; `timeout` in seconds; `limits` the names of those that apply (default: all). Raises PermitTimeout (at
        once, if it can be told now), NeverGranted,
        LimiterClosed.
        """
        express = self._gate.express
        if express is not None and cost == 1 and limits is None and priority == "bulk":
            with self._lock:
                if self._gate.express is express:
                    now = self._now()
                    window = express.only
                    if window is None:
                        if express.take(now):
                            return Permit(self, express, now)
                    else:
                        ring = window.ring
                        if window.head < len(ring) and ring[window.head] <= now:
                            window.drain(now)
                        if window.hold < window.cap:
                            window.hold += 1
                            window.in_flight += 1
                            return Permit(self, express, now)
        names = _names(limits)
        ticket = self._take(cost, priority, names)
        if ticket is not None:
            return Permit(self, ticket)
        waiter = ThreadWaiter()
        ticket = self._queue(cost, priority, timeout, names, waiter, None)
        try:
            woken = ticket.stage is not Stage.WAITING or waiter.wait(timeout)
        except BaseException:
            self._abandon(ticket)
            raise
        return self._collect(ticket, timeout, woken=woken)

    async def acquire_async(  # noqa: C901  # the express way stands in line: a call would cost what it saves
        self,
        cost: Cost = 1,
        *,
        priority: str = "bulk",
        timeout: float | None = None,  # noqa: ASYNC109  # the same signature as in threads, and refused at once
        limits: Iterable[str] | None = None,
    ) -> Permit:
        """Wait in this event loop for a permit; arguments and errors as for `acquire`."""
        express = self._gate.express
        if express is not None and cost == 1 and limits is None and priority == "bulk":
            with self._lock:
                if self._gate.express is express:
                    now = self._now()
                    window = express.only
                    if window is None:
                        if express.take(now):
                            return Permit(self, express, now)
                    else:
                        ring = window.ring
                        if window.head < len(ring) and ring[window.head] <= now:
                            window.drain(now)
                        if window.hold < window.cap:
                            window.hold += 1
                            window.in_flight += 1
                            return Permit(self, express, now)
        names = _names(limits)
        ticket = self._take(cost, priority, names)
        if ticket is not None:
            return Permit(self, ticket)
        loop = asyncio.get_running_loop()
        waiter = AsyncWaiter(loop)
        ticket = self._queue(cost, priority, timeout, names, waiter, loop)
        alarm = None if timeout is None else loop.call_later(timeout, waiter.wake)
        try:
            if ticket.stage is Stage.WAITING:
                await waiter.future
        except BaseException:
            self._abandon(ticket)
            raise
        finally:
            if alarm is not None:
                alarm.cancel()
        return self._collect(ticket, timeout, woken=ticket.stage is not Stage.WAITING)

    def _take(self, cost: Cost, priority: str, names: frozenset[str] | None) -> Ticket | None:
        clock = self._clock
        with self._lock:
            if self._closed or self._forked:
                self._refuse()
            now, wall = clock.monotonic_ns(), clock.wall_ns()
            if self._dropped:
                self._bury_dropped(now, wall)
            return self._gate.try_take(now, wall, cost, priority, names)

    def _queue(
        self,
        cost: Cost,
        priority: str,
        timeout: float | None,
        names: frozenset[str] | None,
        waiter: Waiter,
        loop: asyncio.AbstractEventLoop | None,
    ) -> Ticket:
        with self._lock:
            if self._closed or self._forked:
                self._refuse()
            now, wall = self._clock.monotonic_ns(), self._clock.wall_ns()
            ticket = self._gate.request(cost, priority, names)
            ticket.waker = waiter
            if timeout is not None:
                at, limit = self._gate.earliest(ticket, now, wall)
                if at is not None and at > now + nanoseconds(timeout):
                    self._gate.abandon(ticket)
                    raise _too_late(timeout, limit, (at - now) / SECOND)
            self._alarm.joined(loop)
        self._poll()
        return ticket

    def _collect(self, ticket: Ticket, timeout: float | None, *, woken: bool) -> Permit:
        with self._lock:
            if ticket.stage is Stage.IN_FLIGHT:
                return Permit(self, ticket)
            if self._closed or self._forked:
                self._refuse()
            assert not woken
            now = self._clock.monotonic_ns()
            at, limit = self._gate.earliest(ticket, now, self._clock.wall_ns())
            self._gate.abandon(ticket)
        self._poll()
        raise _too_late(timeout or 0, limit, None if at is None else max(0, at - now) / SECOND)

    def _abandon(self, ticket: Ticket) -> None:
        with self._lock:
            self._gate.abandon(ticket)
        self._poll()

    def _refuse(self) -> None:
        if self._forked:
            raise ForkedLimiter(
                f"limiter {self.name!r} was made before fork: parent and child would each spend the whole limit; "
                "make it after the fork, or give it state= to share"
            )
        raise LimiterClosed(f"limiter {self.name!r} is closed")

    # -- polling

    def _poll(self) -> None:
        """Grant what fits now, wake those granted, set the timer for the next."""
        clock = self._clock
        with self._lock:
            if self._closed:
                return
            now, wall = clock.monotonic_ns(), clock.wall_ns()
            if self._dropped:
                self._bury_dropped(now, wall)
            poll = self._gate.poll(now, wall)
            waiting = self._gate.waiting
            self._alarm.set_for_threads(poll.wake)
        for ticket in poll.granted:
            waker: Waiter = ticket.waker  # type: ignore[assignment]
            ticket.waker = None
            waker.wake()
        self._alarm.set_for_loop(poll.wake)
        if waiting and self._membership is not None:
            self._membership.nudge()

    # -- what permits call

    def ticket_of(self, permit: Permit) -> Ticket:
        """The ticket of a permit that went the express way; it goes on like any other from here."""
        with self._lock:
            way, granted = permit._way, permit._granted
            if isinstance(way, Ticket):
                return way
            permit._granted = -1  # over already, if another thread was first: the gate makes a ticket that is
            ticket = permit._way = self._gate.from_express(way, granted)
            return ticket

    def stamp(self, ticket: Ticket) -> None:
        """See `Permit.sent`."""
        with self._lock:
            self._gate.stamp(ticket, self._clock.monotonic_ns())

    def settle(self, ticket: Ticket, cost: Cost | None) -> None:
        """See `Permit.settle`."""
        self._end(ticket, 0, cost)

    def lose(self, ticket: Ticket) -> None:
        """See `Permit.lose`."""
        self._end(ticket, self._linger, None)

    def _end(self, ticket: Ticket, lost: int, cost: Cost | None) -> None:
        clock = self._clock
        with self._lock:
            now, wall = clock.monotonic_ns(), clock.wall_ns()
            over = self._gate.settle(ticket, now, wall, lost=lost, actual=cost)
            shared = self._membership if over and not lost else None
            scarce = shared is not None and shared.settled(ticket, now, wall)
            waiting = self._gate.waiting
        if waiting:
            self._poll()
        elif scarce and self._membership is not None:
            self._membership.nudge()

    def drop(self, permit: Ticket | Express) -> None:
        """A permit was forgotten: its call lingers.

        The garbage collector calls this, and may have interrupted whoever holds the lock in this very thread: then the
        next poll does it.
        """
        self._dropped.append(permit)
        if self._lock.acquire(blocking=False):
            self._lock.release()
            self._poll()

    def _bury_dropped(self, now: int, wall: int) -> None:
        """The lock is held."""
        while self._dropped:
            dropped = self._dropped.popleft()
            ticket = dropped if isinstance(dropped, Ticket) else self._gate.from_express(dropped, now)
            self._gate.settle(ticket, now, wall, lost=self._linger)

    def cancel(self, ticket: Ticket) -> None:
        """See `Permit.cancel`."""
        with self._lock:
            self._gate.cancel(ticket)
            waiting = self._gate.waiting
        if waiting:
            self._poll()

    def observe(self, ticket: Ticket, status: int, headers: Mapping[str, str]) -> None:
        """See `Permit.observe`."""
        clock = self._clock
        lowered = {name.lower(): value for name, value in headers.items()}
        with self._lock:
            if ticket.grants and status < 400:
                self._rejections.delivered(ticket.grants[0].granted)
            learn_date(ticket, date_ns(lowered), clock.monotonic_ns())
        self.learn(ticket, remaining(lowered, clock.wall_ns()))

    def learn(self, ticket: Ticket, said: Sequence[Remaining]) -> None:
        """See `Permit.learn`."""
        clock = self._clock
        with self._lock:
            now, wall = clock.monotonic_ns(), clock.wall_ns()
            refuted: list[str] = []
            heard = learn(self._gate, ticket, said, now, wall, refuted)
            if self._membership is not None and heard:
                self._membership.heard(heard)
        if heard and self._membership is not None:
            self._membership.nudge()
        if refuted and self._observer is not None:
            self._observer(ProfileRefuted(self.name, next(iter(heard)), "; ".join(refuted)))

    def rejected(self, limit: str = "", retry_after: float | None = None) -> float:
        """A reply refused a call for its rate: pause the limit it names ('' for all); returns seconds of the pause."""
        return self.reject(None, limit, retry_after)

    def reject(self, ticket: Ticket | None, limit: str, retry_after: float | None) -> float:
        """See `Permit.rejected`."""
        wait = None if retry_after is None else nanoseconds(retry_after)
        with self._lock:
            now, wall = self._clock.monotonic_ns(), self._clock.wall_ns()
            sent = ticket.grants[0].granted if ticket is not None and ticket.grants else now
            self._gate.refused(ticket, limit, now)
            pause = self._rejections.rejected(now, wall, sent, limit, wait)
            if self._membership is not None and pause.fresh:
                self._membership.paused(pause.limit, pause.nanoseconds)
        self._tell(pause, retry_after)
        self._poll()
        return pause.nanoseconds / SECOND

    def _tell(self, pause: Pause, retry_after: float | None) -> None:
        tell = self._observer
        if tell is None or not pause.fresh:
            return
        tell(RateLimitHit(self.name, pause.limit, retry_after))
        until = datetime.now(UTC) + timedelta(microseconds=pause.nanoseconds // 1000)
        reason = "the platform asks for more than an hour: parked" if pause.parked else "rate limited"
        tell(DestinationPaused(self.name, pause.limit, until, reason))
        if pause.refuted:
            tell(ProfileRefuted(self.name, pause.limit, pause.refuted))

    # -- the rest

    def add(self, limit: Limit, key: str | None = None) -> None:
        """One more limit for tickets asked for from now on, shared under `key`. What is in flight does not count."""
        with self._lock:
            meter = self._gate.add(limit)
            if self._membership is not None:
                self._membership.add(meter, key)

    @property
    def limits(self) -> tuple[str, ...]:
        """The names of the limits."""
        with self._lock:
            return tuple(self._gate.meters)

    @property
    def rate(self) -> float | None:
        """Calls per second that an `Adaptive` limit allows now, the lowest of several; None without one."""
        with self._lock:
            return min((meter.rate for meter in self._gate.adaptive), default=None)

    def snapshot(self) -> tuple[LimitStatus, ...]:
        """How every limit stands now."""
        with self._lock:
            now, wall = self._clock.monotonic_ns(), self._clock.wall_ns()
            return tuple(status_of(self._gate, meter, now, wall) for meter in self._gate.meters.values())

    @property
    def recovering(self) -> float:
        """Seconds until the places of a dead process, or of a lost state, are free at the latest; 0 for none."""
        return 0.0 if self._membership is None else self._membership.recovering()

    def close(self) -> None:
        """Give shared places back and refuse further permits; whoever waits gets LimiterClosed. May be called twice."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            waiters = self._gate.drop_waiting()
            self._alarm.set_for_threads(None)
        for ticket in waiters:
            waker: Waiter = ticket.waker  # type: ignore[assignment]
            waker.wake()
        self._alarm.set_for_loop(None)
        if self._membership is not None:
            self._membership.leave()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        self.close()
        return False

    def _after_fork(self) -> None:
        self._lock = threading.Lock()
        self._alarm = Alarm(self._clock, self._poll)
        if self._membership is None:
            self._forked = True
            self._gate.express = None
        else:
            self._gate.drop_waiting()
            self._membership.rejoin(self._lock)


def _check(linger: float, lost: str, *, named: bool) -> None:
    if not linger >= 0:
        raise UsageError(f"linger must be at least 0 seconds, not {linger!r}")
    if lost not in {"used", "unused"}:
        raise UsageError(f"lost is 'used' or 'unused', not {lost!r}")
    if not named:
        raise UsageError("a limiter with shared state needs a name= under which to share it")


def _names(limits: Iterable[str] | None) -> frozenset[str] | None:
    return limits if limits is None or isinstance(limits, frozenset) else frozenset(limits)


def _too_late(timeout: float, limit: str, earliest: float | None) -> PermitTimeout:
    hint = "" if earliest is None else f"; the earliest is in {earliest:.1f} s"
    return PermitTimeout(
        f"no permit within {timeout:g} s: the limit {limit!r} stands in the way{hint}", earliest, limit
    )


def _after_fork_in_child() -> None:
    for limiter in list(_ALL):
        limiter._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
