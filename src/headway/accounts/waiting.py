"""Waiting for a permit: what stands in the way, whether that is worth waiting for, and saying so.

Rules:
* Nothing is leased while we wait, and a stop ends the wait at once.
* A window is waited for; a calendar quota only as long as the user allows; whatever asks for more than an hour parks
  the destination.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from headway.clock import Clock
from headway.events import Event, Waiting
from headway.limiter.limiter import Limiter
from headway.limiter.permit import Permit
from headway.limits.limits import SECOND
from headway.limits.status import LimitStatus
from headway.limits.ticket import Cost, chosen

__all__ = ["Obstacle", "Parked", "PermitQueue", "obstacle", "why", "worth_waiting"]

_SAY_AGAIN = 10.0
_PARKED = 3600.0


@dataclass(frozen=True, slots=True)
class Obstacle:
    """The limit that a call waits for; `seconds` None where only a call in flight, or another process, can tell."""

    limit: str
    kind: str
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Parked:
    """Not worth waiting for: why, in words, for how many seconds, until when."""

    reason: str
    limit: str
    seconds: float
    until: datetime


def obstacle(statuses: Iterable[LimitStatus], names: frozenset[str] | None) -> Obstacle | None:
    """What stands in the way longest, among the limits that a call needs."""
    worst: Obstacle | None = None
    for status in statuses:
        if names is not None and status.name not in names:
            continue
        seconds = status.next_free
        if status.paused is not None:
            seconds = max(status.paused, seconds or 0.0)
        if seconds == 0:
            continue
        found = Obstacle(status.name, status.kind, seconds)
        if worst is None or (seconds or 0.0) > (worst.seconds or 0.0):
            worst = found
    return worst


def why(limiter: Limiter, names: frozenset[str] | None) -> Obstacle | None:
    """What a call that needs these limits waits for now; None if nothing is known to stand in its way."""
    return obstacle(limiter.snapshot(), names)


def worth_waiting(kind: str, seconds: float, allowed: float) -> bool:
    """Whether a run waits so long for a limit of this kind, if the user allows so many seconds for quotas."""
    return seconds <= (allowed if kind == "quota" else max(_PARKED, allowed))


class PermitQueue:
    """Takes permits of one priority."""

    def __init__(
        self,
        limiter: Limiter,
        *,
        account: str,
        priority: str,
        wait_for_quota: float,
        clock: Clock,
        tell: Callable[[Event], None],
    ) -> None:
        self._limiter = limiter
        self._account = account
        self._priority = priority
        self._wait_for_quota = wait_for_quota
        self._clock = clock
        self._tell = tell

    async def take(
        self, stop: asyncio.Future[None], cost: Cost = 1, names: frozenset[str] | None = None
    ) -> Permit | Parked | None:
        """A permit under these limits (None: all); why there is none; None when `stop` was set first."""
        if stop.done():
            return None
        permit = self._limiter.permit(cost, priority=self._priority, limits=chosen(names))
        asked = asyncio.ensure_future(permit.take_async(_Watch(self, names).look))
        kept = False
        try:
            both: Sequence[asyncio.Future[object]] = (asked, stop)  # type: ignore[assignment]
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            kept = asked.done() and not stop.done()
            return asked.result() if kept else None
        except _NotWorthIt as error:
            return error.parked
        finally:
            if not kept:
                await _withdraw(asked)

    def obstacle(self, names: frozenset[str] | None, waited: float) -> Obstacle | None:
        """What stands in the way now, said in an event by who asks; raises _NotWorthIt."""
        found = why(self._limiter, names)
        parked = None if found is None else self._worth(found, waited)
        if parked is not None:
            raise _NotWorthIt(parked)
        return found

    def say(self, found: Obstacle) -> None:
        """Tell the user what a call waits for."""
        self._tell(Waiting(self._account, found.limit, found.seconds))

    def _worth(self, found: Obstacle, waited: float) -> Parked | None:
        """Why this is not worth waiting for; None if it is."""
        if found.seconds is None or worth_waiting(found.kind, found.seconds, self._wait_for_quota - waited):
            return None
        quota = found.kind == "quota"
        wall = self._clock.wall_ns() / SECOND
        until = datetime.fromtimestamp(wall, UTC) + timedelta(seconds=found.seconds)
        what = "the quota is used up" if quota else "the platform asks for a long pause"
        when = f"{until.astimezone():%Y-%m-%d %H:%M %Z}"
        return Parked(
            f"{self._account}: {what} (limit {found.limit!r}), until {when}", found.limit, found.seconds, until
        )

    def now(self) -> float:
        """Seconds, monotonic."""
        return self._clock.monotonic_ns() / SECOND


class _NotWorthIt(Exception):
    """A wait is given up."""

    def __init__(self, parked: Parked) -> None:
        super().__init__(parked.reason)
        self.parked = parked


class _Watch:
    """One wait: says what it is for, at once and every ten seconds, and ends it when it is not worth it."""

    def __init__(self, queue: PermitQueue, names: frozenset[str] | None) -> None:
        self._queue = queue
        self._names = names
        self._began = queue.now()
        self._said: tuple[str, float] | None = None

    def look(self) -> float:
        """Look at it now; returns seconds until it is worth looking again if nothing is learned."""
        now = self._queue.now()
        found = self._queue.obstacle(self._names, now - self._began)
        if found is not None and (
            self._said is None or self._said[0] != found.limit or now - self._said[1] >= _SAY_AGAIN
        ):
            self._said = (found.limit, now)
            self._queue.say(found)
        return _SAY_AGAIN


async def _withdraw(asked: asyncio.Future[Permit]) -> None:
    """Give up an acquisition; a permit that was granted meanwhile goes back unused."""
    asked.cancel()
    with suppress(asyncio.CancelledError, _NotWorthIt):
        permit = await asked
        permit.cancel()
