"""Who gets a permit, under threads and event loops alike.

Rules:
* One short lock; no callback and no waiting under it. A permit asked for by who interrupted its own thread inside the
  lock (a signal handler, a finalizer) is refused at once; a settlement is noted and done next.
* A waiter is woken only when it was granted, and collects the grant itself: what nobody collects goes back.
* Whoever is interrupted at any instruction leaves a permit that says how far it came (see limits/gate.py); a permit
  that vanishes is noted by its finalizer and dealt with by the next who comes. Of one whose finalizer was interrupted,
  too, audit.py finds the places.
* After `fork`, a limiter in memory refuses to work; one with shared state joins again as a new holder.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import Callable
from typing import TypeVar

from headway.clock import Clock
from headway.errors import ForkedLimiter, LimiterClosed, PermitTimeout, UsageError
from headway.limiter.audit import Audit
from headway.limiter.permit import Permit
from headway.limiter.state.member import Member
from headway.limiter.timers import Alarm, AsyncWaiter, ThreadWaiter, Waiter, Watch, supervisor
from headway.limits.gate import Gate
from headway.limits.limits import SECOND, nanoseconds
from headway.limits.meters.meter import EVENT, FOREVER
from headway.limits.ticket import HANDED, IN_FLIGHT, NEW, OVER, WAITING, Cost

__all__ = ["Admission"]

_ALL: weakref.WeakSet[Admission] = weakref.WeakSet()
T = TypeVar("T")


class Admission:
    """A gate behind a lock: taking, waiting, settling. The rest of a limiter is in limiter.py."""

    __slots__ = (
        "__weakref__", "_alarm", "_audit", "_busy", "_clock", "_closed", "_dropped", "_forked", "_gate", "_linger",
        "_lock", "_member", "_now", "_shut", "_wake", "_watched", "_watching", "name",
    )  # fmt: skip

    def __init__(self, name: str, gate: Gate, linger: int, clock: Clock) -> None:
        self.name = name
        self._clock = clock
        self._now = clock.monotonic_ns
        self._lock = threading.RLock()
        # Somebody is inside the lock. It lets its own thread in again: who finds `busy` interrupted himself there.
        self._busy = False
        self._gate = gate
        self._linger = linger
        self._alarm: Alarm | None = None  # made when somebody first waits
        self._wake: int | None = None  # the instant of the next poll
        self._watched = False  # by the supervisor
        self._watching: list[Watch] = []  # those who want to look again when something was learned
        self._closed = False
        self._forked = False
        self._shut = False  # one of the two
        self._dropped: list[tuple[Permit, int, bool]] = []  # permit, when, whether its reply was there
        self._audit = Audit(gate, linger)
        self._member: Member | None = None
        _ALL.add(self)

    def _admit(self, permit: Permit) -> bool:
        """Take the permit if nobody waits and everything fits."""
        gate = self._gate
        with self._lock:
            if self._busy or permit.stage:
                self._misused()
            self._busy = True
            try:
                now = self._now()
                if now >= gate.look and not self._calm(now):
                    return False
                return not gate.take(permit, now)
            finally:
                self._busy = False

    def _calm(self, now: int) -> bool:
        """Deal with what is unusual; whether nobody waits and nothing is paused after it. The lock is held."""
        if self._dropped:
            self._sweep()
        if self._shut:
            self._refuse()
        gate = self._gate
        if now >= gate.next_look:
            gate.look_at(now, self._clock.wall_ns())
        self._audit.glance(now, 1)
        return gate.calm(now)

    def _misused(self) -> None:
        if self._busy:
            raise reentered()
        raise UsageError("a permit is good for one call: ask the limiter for another")

    def _wait(self, permit: Permit) -> None:
        timeout = permit.more.timeout
        waiter = ThreadWaiter()
        try:
            self._queue(permit, waiter, None)
            if permit.stage == WAITING:
                waiter.wait(timeout)
            self._collect(permit, timeout)
        except BaseException:
            self._abandon(permit)
            raise

    async def _wait_async(self, permit: Permit, watch: Callable[[], float] | None = None) -> None:
        timeout = permit.more.timeout
        loop = asyncio.get_running_loop()
        waiter = AsyncWaiter(loop)
        alarm = watching = None
        try:
            self._queue(permit, waiter, loop)
            if timeout is not None and permit.stage == WAITING:
                alarm = loop.call_later(timeout, waiter.expire)
            if watch is not None:
                watching = Watch(waiter, loop, watch)
                self._watching.append(watching)
            while permit.stage == WAITING and not waiter.expired:
                await waiter.woken()  # no coroutine of its own: ten thousand of them may be cancelled at once
                if watching is not None and permit.stage == WAITING:
                    watching.look()
            self._collect(permit, timeout)
        except BaseException:
            self._abandon(permit)
            raise
        finally:
            if alarm is not None:
                alarm.cancel()
            if watching is not None:
                watching.end()
                if watching in self._watching:
                    self._watching.remove(watching)

    def _try_among_others(self, permit: Permit) -> bool:
        """Take the permit although others wait, if it needs nothing of what they wait for."""

        def enqueue(now: int) -> bool:
            if not self._gate.active or self._gate.paused_until > now:
                return False
            self._gate.enqueue(permit, permit.more.priority, NOBODY)
            return True

        def collect(now: int) -> bool:
            if permit.stage == HANDED:
                permit.stage = IN_FLIGHT
                return True
            self._gate.abandon(permit, now)
            permit.stage, permit.more.waker = NEW, None
            return False

        if not self._inside(enqueue):
            return False
        self._poll()
        if self._inside(collect):
            return True
        self._poll()  # what it had reserved is for those who wait, and they are not more than before
        return False

    def _queue(self, permit: Permit, waiter: Waiter, loop: asyncio.AbstractEventLoop | None) -> None:
        timeout = permit.more.timeout

        def enqueue(now: int) -> None:
            if self._shut:
                self._refuse()
            if timeout is not None:
                at, limit = self._gate.soonest(permit, now)
                if at > now + nanoseconds(timeout):
                    raise too_late(timeout, limit, (at - now) / SECOND)
            self._gate.enqueue(permit, permit.more.priority, waiter)
            if self._alarm is None:
                self._alarm = Alarm(self)
            self._alarm.joined(loop)

        self._inside(enqueue)
        supervisor().watch(self)
        self._poll()

    def _collect(self, permit: Permit, timeout: float | None) -> None:
        """The waiter takes what it was granted, or learns why it was not."""

        def collect(now: int) -> None:
            if permit.stage == HANDED:
                permit.stage = IN_FLIGHT
                return
            if self._shut:
                self._refuse()
            at, limit = self._gate.reason(permit, now)
            raise too_late(timeout or 0, limit, None if at >= EVENT else max(0, at - now) / SECOND)

        self._inside(collect)

    def _abandon(self, permit: Permit) -> None:
        """Nobody waits for this permit any more; what it was granted was certainly not sent."""
        with self._lock:
            if self._busy:
                raise reentered()
            self._busy = True
            try:
                now = self._ready()
                waited = permit.stage == WAITING
                # Somebody may go who could not before: not those who ask for the same behind it.
                others = len(self._gate.active)
                self._gate.abandon(permit, now)
                permit.stage = OVER
            finally:
                self._busy = False
        if others and (not waited or others > 1 or permit.cost != 1):
            self._poll()

    def _refuse(self) -> None:
        if self._forked:
            raise ForkedLimiter(
                f"limiter {self.name!r} was made before fork: parent and child would each spend the whole limit; "
                "make it after the fork, or give it state= to share"
            )
        if self._closed:
            raise LimiterClosed(f"limiter {self.name!r} is closed")

    def _inside(self, step: Callable[[int], T]) -> T:
        """Take a step under the lock, with dropped permits dealt with and the clocks read.

        There is no way to be interrupted between taking the lock and the block that gives it back.
        """
        with self._lock:
            if self._busy:
                raise reentered()
            self._busy = True
            try:
                return step(self._ready())
            finally:
                self._busy = False

    # -- polling

    def _poll(self) -> None:
        """Grant what fits now, wake those granted, set the timer for the next."""
        with self._lock:
            if self._busy or self._closed:
                return  # who was interrupted here polls itself, or the supervisor will
            self._busy = True
            try:
                now = self._ready()
                poll = self._gate.poll(now)
                self._wake = poll.wake
            finally:
                self._busy = False
        for permit in poll.granted:
            if permit.waker is not None:
                permit.waker.wake()
        if self._alarm is not None:
            self._alarm.set()
        if self._gate.active and self._member is not None:
            self._member.nudge()

    def _reconsider(self) -> None:
        """Something was learned: grant what fits now, and let those who watch look at how long they wait."""
        self._poll()
        for watching in self._watching[:]:
            watching.soon()

    def _tick(self) -> bool:
        """The supervisor's look; False when nobody waits any more."""
        late: list[Permit] = []
        with self._lock:
            if self._closed:
                return False
            if not self._busy:
                self._busy = True
                try:
                    late = self._gate.tick()  # type: ignore[assignment]  # our gate's tickets are permits
                    self._audit.tick(self._now())
                finally:
                    self._busy = False
        for permit in late:
            if permit.waker is not None:
                permit.waker.wake()
        self._poll()
        return self._gate.restless

    def _ready(self) -> int:
        """The lock is held: deal with dropped permits, read the clocks."""
        if self._dropped:
            self._sweep()
        now = self._now()
        gate = self._gate
        if now >= gate.next_look:
            gate.look_at(now, self._clock.wall_ns())
        self._audit.glance(now, 0)
        gate.calm(now)
        return now

    def _sweep(self) -> None:
        """Deal with permits that vanished; the lock is held. A call that was granted and not settled lingers."""
        gate = self._gate
        while self._dropped:
            permit, at, replied = self._dropped[0]
            if permit.stage == IN_FLIGHT and replied:
                gate.settle(permit, at)
            elif permit.stage == IN_FLIGHT:
                gate.lose(permit, at, self._linger)
            elif permit.stage < OVER:
                gate.mend(permit, at)
                gate.abandon(permit, at)
            permit.stage = OVER
            del self._dropped[0]

    # -- what permits call

    def _settle(self, permit: Permit, cost: Cost | None) -> None:
        gate = self._gate
        with self._lock:
            if self._busy:
                self._dropped.append((permit, self._now(), True))
                return
            self._busy = True
            try:
                now = self._now()
                usual = now < gate.look
                if not usual:
                    self._ready()
                if cost is not None:
                    gate.correct(permit, now, cost)
                if not gate.settle(permit, now):
                    return
            finally:
                self._busy = False
        if not usual and gate.active:
            self._changed(permit)
        if self._member is not None and self._member.keen:
            self._member_settled(permit)

    def _member_settled(self, permit: Permit) -> None:
        member = self._member
        assert member is not None
        if self._inside(lambda now: member.settled(permit, now)):
            member.nudge()

    def _lose(self, permit: Permit) -> None:
        self._inside(lambda now: self._gate.lose(permit, now, self._linger))
        self._changed(permit)

    def _cancel(self, permit: Permit) -> None:
        self._inside(lambda _: self._gate.cancel(permit))
        self._changed(permit)

    def _changed(self, permit: Permit) -> None:
        if self._gate.active:
            for meter in permit.meters:
                self._gate.touched |= meter.bit
            self._poll()

    def _stamp(self, permit: Permit) -> None:
        if self._inside(lambda now: self._gate.stamp(permit, now)):
            self._poll()

    def _after_fork(self) -> None:
        self._lock = threading.RLock()
        self._busy = False
        self._alarm = None
        self._watched = False
        if self._member is None:
            self._forked = self._shut = True
            self._gate.pause(FOREVER)
        else:
            self._gate.drop_waiting()
            self._member.rejoin(self._lock)


class _Nobody:
    """Who asks now or never: nobody is there to be woken."""

    __slots__ = ()

    def wake(self) -> None: ...

    def listening(self) -> bool:
        return True

    def gone(self) -> bool:
        return False


NOBODY = _Nobody()


class _Reentered(PermitTimeout):
    """Asked for by who interrupted its own thread inside the limiter."""


def reentered() -> _Reentered:
    return _Reentered(
        "refused at once: this thread was interrupted inside the limiter (by a signal handler or a finalizer) and "
        "could wait for itself for ever", None, "",
    )  # fmt: skip


def too_late(timeout: float, limit: str, earliest: float | None) -> PermitTimeout:
    hint = "" if earliest is None else f"; the earliest is in {earliest:.1f} s"
    return PermitTimeout(
        f"no permit within {timeout:g} s: the limit {limit!r} stands in the way{hint}", earliest, limit
    )


def _after_fork_in_child() -> None:
    for each in list(_ALL):
        each._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
