"""The limiter: permits for calls to one account, and what their replies teach.

Who gets a permit, and when, is for admission.py.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TypedDict, Unpack

from headway.clock import Clock, SystemClock
from headway.errors import UsageError
from headway.events import DestinationPaused, Event, Observer, ProfileRefuted, RateLimitHit
from headway.limiter.admission import Admission
from headway.limiter.permit import Issued, Permit
from headway.limiter.state.member import Member
from headway.limits.gate import Gate
from headway.limits.headers import Remaining, date_ns, remaining
from headway.limits.learning import Learned, Pause, Rejections, learn
from headway.limits.limits import SECOND, Limit, nanoseconds
from headway.limits.meters.meter import FOREVER, Meter
from headway.limits.status import LimitStatus, status_of
from headway.limits.ticket import PRIORITIES, Cost

__all__ = ["LimitStatus", "Limiter"]

_log = logging.getLogger("headway")
_ONE = 1  # what a call costs as a rule; True is another object, and no cost


class Wishes(TypedDict, total=False):
    """What may be said of a call beside its cost: see `Limiter.acquire`."""

    priority: str
    timeout: float | None
    limits: Iterable[str] | None


class Limiter(Admission):
    """Permits for calls to one account, under all of its limits at once.

    `state`: None keeps what was counted in memory; a path or "sqlite:///path" shares it with every process of this
    machine and keeps it over restarts, under `name` (or, limit by limit, under `keys`). `share`: the part of each
    limit to use; `reserve`: calls of each calendar quota to leave. `linger`: seconds for which a call without a reply
    may still be counted. `fresh`: vouches that nothing was used before. `lost`: what to believe of a quota whose
    shared state is gone and of which the platform says nothing, "used" or "unused". `pacing`: "burst" or "smooth".
    `growing`: limits are added later, so that it may begin with none.
    Raises UsageError for anything that makes no sense, at construction.
    """

    __slots__ = ("_observer", "_rejections")

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
        gate = Gate(limits, share=share, reserve=reserve, pacing=pacing)
        super().__init__(name, gate, nanoseconds(linger), clock or _SYSTEM)
        self._rejections = Rejections(gate)
        self._observer = observer
        if state is not None:
            self._member = Member(
                str(state), self._gate, self._lock, self._clock, self._reconsider, observer,
                name=name, keys=keys or {}, linger=self._linger, ttl=nanoseconds(ttl),
                fresh=fresh, unused=lost == "unused",
            )  # fmt: skip

    # -- asking for permits

    def permit(self, cost: Cost = 1, **wishes: Unpack[Wishes]) -> Permit:
        """A permit to be taken by `with` or `async with`, and settled at the end of the block; see `acquire`."""
        return self._special(cost, **wishes) if wishes or cost is not _ONE else Issued(self, self._gate.all)

    def acquire(self, cost: Cost = 1, **wishes: Unpack[Wishes]) -> Permit:
        """Wait in this thread for a permit.

        `cost` in the limits' units, or by limit ({"tokens": 10}: 1 of the others). By keyword: `priority`
        "interactive", "bulk" (as usual) or "replay"; `timeout` in seconds: None and inf wait, 0 and less mean now or
        never; `limits` the names of those that apply (default: all). Raises PermitTimeout (at once, if it can be told
        now), NeverGranted, LimiterClosed.
        """
        # As in `permit`: the usual permit is made in place, for speed.
        permit = self._special(cost, **wishes) if wishes or cost is not _ONE else Issued(self, self._gate.all)
        if not self._admit(permit):
            self._wait(permit)
        return permit

    async def acquire_async(self, cost: Cost = 1, **wishes: Unpack[Wishes]) -> Permit:
        """Wait in this event loop for a permit; arguments and errors as for `acquire`."""
        # As in `permit`: the usual permit is made in place, for speed.
        permit = self._special(cost, **wishes) if wishes or cost is not _ONE else Issued(self, self._gate.all)
        if not self._admit(permit):
            await self._wait_async(permit)
        return permit

    def try_acquire(self, cost: Cost = 1, **wishes: Unpack[Wishes]) -> Permit | None:
        """A permit if there is one now and nobody who waits needs it, else None; there is no `timeout`."""
        if "timeout" in wishes:
            raise TypeError("try_acquire never waits: it takes no timeout")
        permit = self.permit(cost, **wishes)
        if self._admit(permit) or self._try_among_others(permit):
            return permit
        if self._member is not None and self._member.lacking():
            # The places are the keeper's to lend: ask once, which takes a few milliseconds.
            self._member.refresh(cost if isinstance(cost, int) else max(cost.values(), default=1), 2.0)
            if self._admit(permit) or self._try_among_others(permit):
                return permit
        return None

    def _special(
        self, cost: Cost, priority: str = "bulk", timeout: float | None = None, limits: Iterable[str] | None = None
    ) -> Permit:
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
        permit = Issued(self, meters, 1)
        if isinstance(cost, Mapping):
            permit.set_costs(cost)
        else:
            permit.cost = cost
        if priority != "bulk" or timeout is not None:
            permit.more.priority, permit.more.timeout = priority, timeout
        return permit

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
            wall = self._gate.clock.believed(now, self._clock.wall_ns())  # others forget what is a day old
            learned = learn(self._gate, permit, said, now, wall)
            for window in learned.windows:
                meter = self._add(window, None)
                meter.began(now, learned.counted[window.name], learned.flying, now - permit.granted)
                meter.learned_at = wall
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
            self._reconsider()

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
            # Of one flight the first refusal is news, and whatever says for how long.
            if self._member is not None and (pause.fresh or retry_after):
                self._member.paused(pause.limit, pause.nanoseconds)
                if until is not None and pause.limit:  # the pause ends when the limit begins anew
                    self._member.heard({pause.limit: 0})
            return pause

        pause = self._inside(note)
        self._tell_pause(pause, retry_after)
        self._reconsider()
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
        self._reconsider()
        if self._member is not None:
            self._member.nudge()

    def _rekey(self, limits: Sequence[Limit], keys: Mapping[str, str], now: int) -> None:
        for limit in limits:
            if self._member is not None:
                self._member.part(limit.name, keys[limit.name], now)
            self._gate.meters[limit.name].take_up(limit)
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


_SYSTEM = SystemClock()


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
