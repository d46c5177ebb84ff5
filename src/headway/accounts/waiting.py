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
from headway.events import Event, Note, Waiting
from headway.limiter.limiter import Limiter
from headway.limiter.permit import Permit
from headway.limits.limits import SECOND
from headway.limits.status import LimitStatus
from headway.limits.ticket import Cost, chosen

__all__ = ["Obstacle", "Parked", "PermitQueue", "obstacle", "why", "worth_waiting"]

_AT_ONCE = 0.1
_LOOK = 1.0
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
        asked = asyncio.ensure_future(self._limiter.acquire_async(cost, priority=self._priority, limits=chosen(names)))
        kept = False
        try:
            parked = await self._watch(asked, stop, names)
            if parked is None and asked.done() and not stop.done():
                kept = True
                return asked.result()
            return parked
        finally:
            if not kept:
                await _withdraw(asked)

    async def _watch(
        self, asked: asyncio.Future[Permit], stop: asyncio.Future[None], names: frozenset[str] | None
    ) -> Parked | None:
        both: Sequence[asyncio.Future[object]] = (asked, stop)  # type: ignore[assignment]
        await asyncio.wait(both, timeout=_AT_ONCE, return_when=asyncio.FIRST_COMPLETED)
        began = self._now()
        said: tuple[str, float] | None = None
        while not asked.done() and not stop.done():
            found = why(self._limiter, names)
            if found is not None:
                parked = self._worth(found, self._now() - began)
                if parked is not None:
                    return parked
                if said is None and self._limiter.recovering > 0:
                    self._tell(Note(_recovering(self._account, self._limiter.recovering)))
                if said is None or said[0] != found.limit or self._now() - said[1] >= _SAY_AGAIN:
                    said = (found.limit, self._now())
                    self._tell(Waiting(self._account, found.limit, found.seconds))
            await asyncio.wait(both, timeout=_LOOK, return_when=asyncio.FIRST_COMPLETED)
        return None

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

    def _now(self) -> float:
        return self._clock.monotonic_ns() / SECOND


def _recovering(account: str, seconds: float) -> str:
    return (
        f"{account}: some calls of the last moments cannot be accounted for (the shared state is new, or a process "
        f"ended without giving its places back): all places are free in {seconds:.0f} s at the latest"
    )


async def _withdraw(asked: asyncio.Future[Permit]) -> None:
    """Give up an acquisition; a permit that was granted meanwhile goes back unused."""
    asked.cancel()
    with suppress(asyncio.CancelledError):
        permit = await asked
        permit.cancel()
