"""A gate under threads and event loops alike.

Rules:
* One short lock; no callback and no waiting under it. A permit asked for by who interrupted its own thread inside the
  lock (a signal handler, a finalizer) is refused at once; a settlement is noted and done next.
* A waiter is woken only when it was granted, and collects the grant itself: what nobody collects goes back.
* Whoever is interrupted at any instruction leaves a permit that says how far it came (see limits/gate.py); a permit
  that vanishes is noted by its finalizer and dealt with by the next who comes.
* After `fork`, a limiter in memory refuses to work; one with shared state joins again as a new holder.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TypeVar

from headway.clock import Clock, SystemClock
from headway.errors import ForkedLimiter, LimiterClosed, PermitTimeout, UsageError
from headway.events import DestinationPaused, Event, Observer, ProfileRefuted, RateLimitHit
from headway.limiter.permit import _DEAD, Permit, bury
from headway.limiter.state.member import Member
from headway.limiter.timers import Alarm, AsyncWaiter, ThreadWaiter, Waiter, supervisor
from headway.limits.gate import Gate
from headway.limits.headers import Remaining, date_ns, remaining
from headway.limits.learning import Learned, Pause, Rejections, learn
from headway.limits.limits import SECOND, Limit, Quota, nanoseconds
from headway.limits.meters.meter import EVENT, FOREVER, Meter
from headway.limits.meters.quota import QuotaMeter
from headway.limits.resets import Resets
from headway.limits.status import LimitStatus, status_of
from headway.limits.ticket import HANDED, IN_FLIGHT, NEW, OVER, PRIORITIES, WAITING, Cost

__all__ = ["LimitStatus", "Limiter"]

_ALL: weakref.WeakSet[Limiter] = weakref.WeakSet()
_log = logging.getLogger("headway")
T = TypeVar("T")
_MANY = 64  # vanished permits that may lie about; nearly all are over


class Limiter:
    """Permits for calls to one account, under all of its limits at once.

    `state`: None keeps what was counted in memory; a path or "sqlite:///path" shares it with every process of this
    machine and keeps it over restarts, under `name` (or, limit by limit, under `keys`). `share`: the part of each
    limit to use; `reserve`: calls of each calendar quota to leave. `linger`: seconds for which a call without a reply
    may still be counted. `fresh`: vouches that nothing was used before. `lost`: what to believe of a quota whose
    shared state is gone and of which the platform says nothing, "used" or "unused". `pacing`: "burst" or "smooth".
    `growing`: limits are added later, so that it may begin with none.
    Raises UsageError for anything that makes no sense, at construction.
    """

    __slots__ = (
        "__weakref__", "_alarm", "_busy", "_clock", "_closed", "_dropped", "_forked", "_gate", "_linger", "_lock",
        "_member", "_now", "_observer", "_rejections", "_shut", "_wake", "_watched", "name",
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
        growing: bool = False,
    ) -> None:
        _check(limits, growing, linger, lost, named=state is None or bool(name or keys))
        self.name = name
        self._clock: Clock = clock or _SYSTEM
        self._now = self._clock.monotonic_ns
        self._lock = threading.RLock()
        self._busy = (
            False  # somebody is inside the lock: with a lock that lets its own thread in, that one was interrupted
        )
        self._gate = Gate(limits, share=share, reserve=reserve, pacing=pacing)
        self._rejections = Rejections(self._gate)
        self._linger = nanoseconds(linger)
        self._observer = observer
        self._alarm: Alarm | None = None  # made when somebody first waits
        self._wake: int | None = None  # the instant of the next poll
        self._watched = False  # by the supervisor
        self._closed = False
        self._forked = False
        self._shut = False  # one of the two
        self._dropped: list[tuple[Permit, int, bool]] = []  # permit, when, whether its reply was there
        self._member: Member | None = None
        if state is not None:
            self._member = Member(
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
    ) -> Permit:
        """A permit to be taken by `with` or `async with`, and settled at the end of the block; see `acquire`."""
        gate = self._gate
        if (
            cost.__class__ is not int
            or not 0 < cost <= gate.most
            or limits is not None
            or timeout is not None
            or priority != "bulk"
        ):
            return self._special(cost, priority, timeout, limits)
        return Permit(self, gate.all, cost)

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
        "replay"; `timeout` in seconds: None and inf wait, 0 and less mean now or never; `limits` the names of those
        that apply (default: all). Raises PermitTimeout (at once, if it can be told now), NeverGranted, LimiterClosed.
        """
        permit = self.permit(cost, priority=priority, timeout=timeout, limits=limits)
        if not self._admit(permit):
            self._wait(permit)
        return permit

    async def acquire_async(
        self,
        cost: Cost = 1,
        *,
        priority: str = "bulk",
        timeout: float | None = None,  # noqa: ASYNC109  # the same signature as in threads, and refused at once
        limits: Iterable[str] | None = None,
    ) -> Permit:
        """Wait in this event loop for a permit; arguments and errors as for `acquire`."""
        permit = self.permit(cost, priority=priority, timeout=timeout, limits=limits)
        if not self._admit(permit):
            await self._wait_async(permit)
        return permit

    def try_acquire(
        self, cost: Cost = 1, *, priority: str = "bulk", limits: Iterable[str] | None = None
    ) -> Permit | None:
        """A permit if there is one now and nobody who waits needs it, else None."""
        permit = self.permit(cost, priority=priority, limits=limits)
        if self._admit(permit) or self._try_among_others(permit):
            return permit
        if self._member is not None and self._member.lacking():
            # The places are the keeper's to lend: ask once, which takes a few milliseconds.
            self._member.refresh(cost if isinstance(cost, int) else max(cost.values(), default=1), 2.0)
            if self._admit(permit) or self._try_among_others(permit):
                return permit
        return None

    def _special(self, cost: Cost, priority: str, timeout: float | None, limits: Iterable[str] | None) -> Permit:
        """A permit with other than the usual wishes: everything is checked before anything is queued."""
        if not isinstance(priority, str) or priority not in PRIORITIES:
            raise UsageError(f"unknown priority {priority!r}: one of {', '.join(PRIORITIES)}")
        if timeout is not None:
            if isinstance(timeout, bool) or not isinstance(timeout, int | float) or math.isnan(timeout):
                raise UsageError(f"timeout must be a number of seconds, not {timeout!r}")
            timeout = None if timeout == math.inf else max(0.0, float(timeout))
        with self._lock:
            meters = self._gate.choose(limits)
        self._gate.check_cost(meters, cost)
        permit = Permit(self, meters, 1)
        if isinstance(cost, Mapping):
            permit.set_costs(cost)
        else:
            permit.cost = cost
        if priority != "bulk" or timeout is not None:
            permit.more.priority, permit.more.timeout = priority, timeout
        return permit

    # -- admission: one way for everybody

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
                if not gate.take(permit, now):
                    if len(_DEAD) > _MANY:
                        bury()
                    return True
                return bool(_DEAD) and self._take_after_all(permit)
            finally:
                self._busy = False

    def _take_after_all(self, permit: Permit) -> bool:
        """Permits that vanished may have been waited for: settle what is known of them, and try again."""
        return not self._gate.take(permit, self._ready()) if not self._gate.active else False

    def _calm(self, now: int) -> bool:
        """Deal with what is unusual; whether nobody waits and nothing is paused after it. The lock is held."""
        if self._dropped:
            self._sweep()
        if self._shut:
            self._refuse()
        gate = self._gate
        if now >= gate.next_look:
            gate.look_at(now, self._clock.wall_ns())
        return gate.calm(now)

    def _misused(self) -> None:
        if self._busy:
            raise _reentered()
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

    async def _wait_async(self, permit: Permit) -> None:
        timeout = permit.more.timeout
        loop = asyncio.get_running_loop()
        waiter = AsyncWaiter(loop)
        alarm = None
        try:
            self._queue(permit, waiter, loop)
            if timeout is not None and permit.stage == WAITING:
                alarm = loop.call_later(timeout, waiter.expire)
            while permit.stage == WAITING and not waiter.expired:
                await waiter.wait()
            self._collect(permit, timeout)
        except BaseException:
            self._abandon(permit)
            raise
        finally:
            if alarm is not None:
                alarm.cancel()

    def _try_among_others(self, permit: Permit) -> bool:
        """Take the permit although others wait, if it needs nothing of what they wait for."""

        def enqueue(now: int) -> bool:
            if not self._gate.active or self._gate.paused_until > now:
                return False
            self._gate.enqueue(permit, permit.more.priority, _NOBODY)
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
        return self._inside(collect)

    def _queue(self, permit: Permit, waiter: Waiter, loop: asyncio.AbstractEventLoop | None) -> None:
        timeout = permit.more.timeout

        def enqueue(now: int) -> None:
            if self._shut:
                self._refuse()
            if timeout is not None:
                at, limit = self._gate.soonest(permit, now)
                if at > now + nanoseconds(timeout):
                    raise _too_late(timeout, limit, (at - now) / SECOND)
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
            raise _too_late(timeout or 0, limit, None if at >= EVENT else max(0, at - now) / SECOND)

        self._inside(collect)

    def _abandon(self, permit: Permit) -> None:
        """Nobody waits for this permit any more; what it was granted was certainly not sent."""

        def abandon(now: int) -> bool:
            """Whether somebody may go who could not before: not those who ask for the same behind it."""
            waited = permit.stage == WAITING
            self._gate.abandon(permit, now)
            permit.stage = OVER
            return bool(self._gate.active) and (not waited or len(self._gate.active) > 1 or permit.cost != 1)

        if self._inside(abandon):
            self._poll()

    def _blocked(self, permit: Permit) -> tuple[str, float | None]:
        def look(now: int) -> tuple[str, float | None]:
            at, limit = self._gate.reason(permit, now)
            return limit, None if at >= EVENT else max(0, at - now) / SECOND

        return self._inside(look)

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
                raise _reentered()
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
                finally:
                    self._busy = False
        for permit in late:
            if permit.waker is not None:
                permit.waker.wake()
        self._poll()
        return self._gate.restless

    def _ready(self) -> int:
        """The lock is held: deal with dropped permits, read the clocks."""
        if _DEAD:
            bury()
        if self._dropped:
            self._sweep()
        now = self._now()
        gate = self._gate
        if now >= gate.next_look:
            gate.look_at(now, self._clock.wall_ns())
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
        self._inside(lambda now: self._gate.stamp(permit, now))

    def _observe(self, permit: Permit, status: int, headers: Mapping[str, str]) -> None:
        lowered = {str(name).lower(): value for name, value in headers.items()}
        date = date_ns(lowered)

        def note(now: int) -> None:
            if status < 400:
                self._rejections.delivered(permit.granted)
            if date is not None:
                self._gate.date(now, date)

        self._inside(note)
        self._learn(permit, remaining(lowered, self._clock.wall_ns()))

    def _learn(self, permit: Permit, said: Sequence[Remaining]) -> None:
        if not said:
            return

        def take_up(now: int) -> Learned:
            learned = learn(self._gate, permit, said, now, self._clock.wall_ns())
            for window in learned.windows:
                meter = self._add(window, None)
                meter.began(now, learned.counted[window.name], learned.flying, now - permit.granted)
                meter.learned_at = self._clock.wall_ns()
            if self._member is not None and learned.counted:
                self._member.heard(learned.counted)
                if learned.news:
                    self._member.learned()
            return learned

        learned = self._inside(take_up)
        if self._member is not None and learned.counted:
            self._member.nudge()
        self._tell_learned(learned)
        if self._gate.active:
            self._poll()

    def _tell_learned(self, learned: Learned) -> None:
        if learned.refuted:
            self._tell(ProfileRefuted(self.name, next(iter(learned.counted)), "; ".join(learned.refuted)))
        for window in learned.windows:
            reason = f"the platform names a window that the profile lacks: {window.amount} per {window.per:g} s"
            self._tell(ProfileRefuted(self.name, window.name, reason))

    def rejected(self, limit: str = "", retry_after: float | None = None, reset: float | None = None) -> float:
        """A reply refused a call for its rate: pause the limit it names ('' for all); returns seconds of the pause."""
        return self._reject(None, limit, retry_after, reset)

    def _reject(self, permit: Permit | None, limit: str, retry_after: float | None, reset: float | None) -> float:
        wait, until = _span("retry_after", retry_after), _span("reset", reset)

        def note(now: int) -> Pause:
            pause = self._rejections.rejected(now, permit, limit, wait, until)
            if self._member is not None and pause.fresh:
                self._member.paused(pause.limit, pause.nanoseconds)
                if until is not None and pause.limit:  # the pause ends when the limit begins anew
                    self._member.heard({pause.limit: 0})
            return pause

        pause = self._inside(note)
        self._tell_pause(pause, retry_after)
        self._poll()
        return pause.nanoseconds / SECOND

    def _tell_pause(self, pause: Pause, retry_after: float | None) -> None:
        if self._observer is None or not pause.fresh:
            return
        self._tell(RateLimitHit(self.name, pause.limit, retry_after))
        until = datetime.now(UTC) + timedelta(microseconds=min(pause.nanoseconds, 1 << 58) // 1000)
        reason = "the platform asks for more than an hour: parked" if pause.parked else "rate limited"
        self._tell(DestinationPaused(self.name, pause.limit, until, reason))
        if pause.refuted:
            self._tell(ProfileRefuted(self.name, pause.limit, pause.refuted))

    def _tell(self, event: Event) -> None:
        """What an observer raises costs no reply and no permit: it is logged."""
        if self._observer is not None:
            try:
                self._observer(event)
            except Exception:  # noqa: BLE001  # the observer's fault, whatever it is
                _log.exception("headway: an observer of limiter %r failed", self.name)

    # -- the rest

    def add(self, limit: Limit, key: str | None = None) -> None:
        """One more limit for permits asked for from now on, shared under `key`. What is in flight does not count."""
        self._inside(lambda _: self._add(limit, key))

    def _add(self, limit: Limit, key: str | None) -> Meter:
        meter = self._gate.add(limit)
        if self._member is not None:
            self._member.add(meter, key)
        return meter

    def rekey(self, limits: Iterable[Limit], keys: Mapping[str, str]) -> None:
        """Share these limits under other keys from now on: the platform has told whose they are.

        What is in flight, cooling and used counts under the new keys, what was heard of them is told there. A calendar
        quota takes up the reset of its limit here; nothing else of a limit changes.
        """
        self._inside(lambda now: self._rekey(tuple(limits), keys, now))
        self._poll()
        if self._member is not None:
            self._member.nudge()

    def _rekey(self, limits: Sequence[Limit], keys: Mapping[str, str], now: int) -> None:
        for limit in limits:
            if self._member is not None:
                self._member.part(limit.name, keys[limit.name], now)
            meter = self._gate.meters[limit.name]
            if isinstance(limit, Quota) and isinstance(meter, QuotaMeter):
                meter.reset_at(Resets.parse(str(limit.resets)))
        self._gate.look_at(now, self._clock.wall_ns())
        for limit in limits:
            if self._member is not None:
                self._member.rejoin_as(limit.name, keys[limit.name], now)

    @property
    def limits(self) -> tuple[str, ...]:
        """The names of the limits."""
        with self._lock:
            return tuple(self._gate.meters)

    @property
    def rate(self) -> float | None:
        """Calls per second that an `Adaptive` limit allows now, the lowest of several; None without one."""
        with self._lock:
            return min((rate for rate in (meter.rate for meter in self._gate.all) if rate is not None), default=None)

    def snapshot(self) -> tuple[LimitStatus, ...]:
        """How every limit stands now."""
        return self._inside(lambda now: tuple(status_of(self._gate, meter, now) for meter in self._gate.all))

    @property
    def recovering(self) -> float:
        """Seconds until the places of a dead process, or of a lost state, are free at the latest; 0 for none."""
        return 0.0 if self._member is None else self._member.recovering()

    def close(self) -> None:
        """Give shared places back and refuse further permits; whoever waits gets LimiterClosed. May be called twice."""
        with self._lock:
            if self._closed:
                return
            self._closed = self._shut = True
            self._gate.pause(FOREVER)
            waiting = self._gate.drop_waiting()
            self._wake = None
        for permit in waiting:
            if permit.waker is not None:
                permit.waker.wake()
        if self._alarm is not None:
            self._alarm.set()
        if self._member is not None:
            self._member.leave()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        self.close()
        return False

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


_NOBODY = _Nobody()
_SYSTEM = SystemClock()


class _Reentered(PermitTimeout):
    """Asked for by who interrupted its own thread inside the limiter."""


def _reentered() -> _Reentered:
    return _Reentered(
        "refused at once: this thread was interrupted inside the limiter (by a signal handler or a finalizer) and "
        "could wait for itself for ever", None, "",
    )  # fmt: skip


def _check(limits: Sequence[Limit], growing: bool, linger: float, lost: str, *, named: bool) -> None:
    if not limits and not growing:
        raise UsageError("a limiter needs at least one limit, such as Window(100, per=10)")
    if isinstance(linger, bool) or not isinstance(linger, int | float) or not 0 <= linger < math.inf:
        raise UsageError(f"linger must be a finite number of seconds, at least 0, not {linger!r}")
    if lost not in {"used", "unused"}:
        raise UsageError(f"lost is 'used' or 'unused', not {lost!r}")
    if not named:
        raise UsageError("a limiter with shared state needs a name= under which to share it")


def _span(what: str, seconds: float | None) -> int | None:
    """Seconds of a reply as nanoseconds; UsageError for what is no number of seconds."""
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not math.isfinite(seconds):
        raise UsageError(f"{what} must be a number of seconds, not {seconds!r}")
    return max(0, nanoseconds(seconds))


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
