"""A permit for one wire attempt: taken before the call is sent, settled when its reply is there."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Literal, Protocol, Self

from headway.limits.express import Express
from headway.limits.gate import Cost, Gate, Stage, Ticket
from headway.limits.headers import Remaining

__all__ = ["Permit", "PermitRequest", "lost_without_reply"]

_IO_NAMES = ("Timeout", "Connection", "Connect", "Transport", "Disconnected", "Network", "ProtocolError", "Incomplete")


def lost_without_reply(error: BaseException) -> bool:
    """Whether a call that ended in this exception may still sit in the platform's backlog.

    An exception that carries a response, or that is not about input/output, ended a call whose reply was there.
    """
    if getattr(error, "response", None) is not None:
        return False
    if isinstance(error, OSError | EOFError | asyncio.CancelledError | GeneratorExit | KeyboardInterrupt | SystemExit):
        return True
    names = [kind.__name__ for kind in type(error).__mro__]
    return any(part in name for name in names for part in _IO_NAMES)


class _Desk(Protocol):
    """What a permit needs of the limiter that gave it."""

    _lock: threading.Lock
    _now: Callable[[], int]
    _gate: Gate

    def _poll(self) -> None: ...
    def ticket_of(self, permit: Permit) -> Ticket: ...

    def stamp(self, ticket: Ticket) -> None: ...
    def settle(self, ticket: Ticket, cost: Cost | None) -> None: ...
    def lose(self, ticket: Ticket) -> None: ...
    def drop(self, permit: Ticket | Express) -> None: ...
    def learn(self, ticket: Ticket, said: Sequence[Remaining]) -> None: ...
    def cancel(self, ticket: Ticket) -> None: ...
    def observe(self, ticket: Ticket, status: int, headers: Mapping[str, str]) -> None: ...
    def reject(self, ticket: Ticket | None, limit: str, retry_after: float | None) -> float: ...
    def acquire(
        self,
        cost: Cost = 1,
        *,
        priority: str = "bulk",
        timeout: float | None = None,
        limits: frozenset[str] | None = None,
    ) -> Permit: ...
    async def acquire_async(
        self,
        cost: Cost = 1,
        *,
        priority: str = "bulk",
        timeout: float | None = None,  # noqa: ASYNC109  # refused at once where it can be told, see Limiter
        limits: frozenset[str] | None = None,
    ) -> Permit: ...


class Permit:
    """The right to send one call. Settle it when the reply is there; a dropped one lingers as a call without a reply.

    As a context manager it settles at the end of the block; an exception in the block settles it, too, unless it
    tells of a timeout, a cancellation or a broken connection: then the call may still be counted, and lingers.
    """

    __slots__ = ("__weakref__", "_desk", "_granted", "_way")

    def __init__(self, desk: _Desk, way: Ticket | Express, granted: int = -1) -> None:
        self._desk = desk
        self._way = way
        self._granted = granted  # when it went the express way and is in flight, else -1

    @property
    def _ticket(self) -> Ticket:
        """What the gate knows this call by; a call on the express way gets one when more than its end matters."""
        way = self._way
        if type(way) is not Ticket:
            way = self._way = self._desk.ticket_of(self)
        return way

    @property
    def over(self) -> bool:
        """Whether the permit was settled, lost or cancelled."""
        return self._granted < 0 and (type(self._way) is not Ticket or self._way.stage is Stage.OVER)

    def sent(self) -> None:
        """The last byte was written just now, on a connection that was open before (see `arrival_bound`)."""
        if not self.over:
            self._desk.stamp(self._ticket)

    def settle(self, cost: Cost | None = None) -> None:
        """The reply is there, whatever it says; `cost`: what it cost, maybe by limit, if that was estimated."""
        if cost is None and self._granted >= 0:
            desk = self._desk
            with desk._lock:
                express = desk._gate.express
                # Another way, or none, by now: somebody waits, or the limits are counted differently. The ticket knows.
                if express is not None and express is self._way and self._granted >= 0:
                    self._granted = -1
                    window = express.only
                    if window is None:
                        express.settle(desk._now())
                    else:
                        window.in_flight -= 1
                        window.ring.append(desk._now() + window.span)
                    return
        if not self.over:
            self._desk.settle(self._ticket, cost)

    def lose(self) -> None:
        """The call was sent, in part at least, and there is no reply: its places linger."""
        if not self.over:
            self._desk.lose(self._ticket)

    def cancel(self) -> None:
        """Certainly not sent, not one byte: its places are free at once."""
        if not self.over:
            self._desk.cancel(self._ticket)

    def observe(self, status: int, headers: Mapping[str, str]) -> None:
        """Learn from the reply's status and headers (names in any case). Call it before `settle`."""
        if not self.over:
            self._desk.observe(self._ticket, status, headers)

    def learn(self, said: Sequence[Remaining]) -> None:
        """Learn from what a reply's body says is left of limits. Call it before `settle`."""
        if said and not self.over:
            self._desk.learn(self._ticket, said)

    def rejected(self, limit: str = "", retry_after: float | None = None) -> float:
        """The reply refused the call for its rate: pauses the limit it names; returns seconds of the pause."""
        return self._desk.reject(None if self.over else self._ticket, limit, retry_after)

    def _leave(self, error: BaseException | None) -> None:
        if error is not None and lost_without_reply(error):
            self.lose()
        else:
            self.settle()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        self._leave(error)
        return False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        self._leave(error)
        return False

    def __del__(self) -> None:
        if self._granted >= 0 or (type(self._way) is Ticket and self._way.stage is Stage.IN_FLIGHT):
            self._desk.drop(self._way)


class PermitRequest:
    """`with limiter.permit():` in threads, `async with limiter.permit():` in event loops. Good for one use."""

    __slots__ = ("_cost", "_desk", "_limits", "_permit", "_priority", "_timeout")

    def __init__(
        self, desk: _Desk, cost: Cost, priority: str, timeout: float | None, limits: frozenset[str] | None
    ) -> None:
        self._desk = desk
        self._cost = cost
        self._priority = priority
        self._timeout = timeout
        self._limits = limits
        self._permit: Permit | None = None

    def __enter__(self) -> Permit:
        self._permit = self._desk.acquire(
            self._cost, priority=self._priority, timeout=self._timeout, limits=self._limits
        )
        return self._permit

    async def __aenter__(self) -> Permit:
        self._permit = await self._desk.acquire_async(
            self._cost, priority=self._priority, timeout=self._timeout, limits=self._limits
        )
        return self._permit

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        assert self._permit is not None
        if error is None:
            self._permit.settle()
        else:
            self._permit._leave(error)
        return False

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        assert self._permit is not None
        if error is None:
            self._permit.settle()
        else:
            self._permit._leave(error)
        return False
