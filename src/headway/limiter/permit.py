"""A permit for one wire attempt: taken before the call is sent, settled when its reply is there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from headway.limits.headers import Remaining
from headway.limits.meters.meter import Meter
from headway.limits.ticket import IN_FLIGHT, NEW, OVER, SETTLING, Cost, Ticket

if TYPE_CHECKING:
    from headway.limiter.limiter import Limiter

__all__ = ["Issued", "Permit", "lost_without_reply"]

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


class Permit(Ticket):
    """The right to send one call. Settle it when the reply is there; a dropped one lingers as a call without a reply.

    As a context manager, `with` or `async with`, it is taken at the beginning of the block, if it was not yet, and
    settled at the end; an exception in the block settles it, too, unless it tells of a timeout, a cancellation or a
    broken connection: then the call may still be counted, and lingers.
    """

    __slots__ = ("_limiter",)

    def __init__(self, limiter: Limiter, meters: tuple[Meter, ...], cost: int = 1) -> None:
        self._limiter = limiter
        self.meters = meters
        self.cost = cost
        self.stage = NEW
        self.rare = None

    @property
    def over(self) -> bool:
        """Whether the permit was settled, lost or cancelled."""
        return self.stage >= SETTLING

    async def take_async(self, watch: Callable[[], float]) -> Self:
        """Wait for it in this event loop, as `async with` does, with an eye on how long.

        `watch` is called once that is more than a moment, when something was learned of the limits, and again after as
        many seconds as it returns; what it raises ends the wait.
        """
        if self.stage != IN_FLIGHT and not self._limiter._admit(self):
            await self._limiter._wait_async(self, watch)
        return self

    def sent(self) -> None:
        """The last byte was written just now, on a connection that was open before (see `arrival_bound`)."""
        if self.stage == IN_FLIGHT:
            self._limiter._stamp(self)

    def settle(self, cost: Cost | None = None) -> None:
        """The reply is there, whatever it says; `cost`: what it cost, maybe by limit, if that was estimated.

        Raises UsageError for what is no cost; the permit is in flight then as before.
        """
        self._limiter._settle(self, cost)

    def lose(self) -> None:
        """The call was sent, in part at least, and there is no reply: its places linger."""
        if self.stage == IN_FLIGHT:
            self._limiter._lose(self)

    def cancel(self) -> None:
        """Certainly not sent, not one byte: its places are free at once."""
        if self.stage == IN_FLIGHT:
            self._limiter._cancel(self)

    def observe(self, status: int, headers: Mapping[str, str]) -> None:
        """Learn from the reply's status and headers (names in any case). Call it before `settle`."""
        if self.stage == IN_FLIGHT:
            self._limiter._observe(self, status, headers)

    def learn(self, said: Sequence[Remaining]) -> None:
        """Learn from what a reply's body says is left of limits. Call it before `settle`."""
        if said and self.stage == IN_FLIGHT:
            self._limiter._learn(self, said)

    def rejected(self, limit: str = "", retry_after: float | None = None, reset: float | None = None) -> float:
        """The reply refused the call for its rate: pauses the limit it names; returns seconds of the pause.

        Without a name it is the one limit that the call counted against, or the account if there are several.
        `retry_after`: seconds that the platform asks for; `reset`: seconds until the limit that is at 0 begins anew.
        """
        return self._limiter._reject(self, limit, retry_after, reset)

    def __enter__(self) -> Self:
        if self.stage != IN_FLIGHT and not self._limiter._admit(self):
            self._limiter._wait(self)
        return self

    async def __aenter__(self) -> Self:
        if self.stage != IN_FLIGHT and not self._limiter._admit(self):
            await self._limiter._wait_async(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        if error is None:
            self._limiter._settle(self, None)
        else:
            self._failed(error)
        return False

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        if error is None:
            self._limiter._settle(self, None)
        else:
            self._failed(error)
        return False

    def _failed(self, error: BaseException) -> None:
        if lost_without_reply(error):
            self.lose()
        else:
            self.settle()

    def __del__(self) -> None:
        # Only noted: the garbage collector may have interrupted whoever holds the limiter's lock in this very thread.
        if NEW < self.stage < OVER:
            limiter = self._limiter
            limiter._dropped.append((self, limiter._now(), False))
            limiter._gate.look = 0


class Issued(Permit):
    """A permit as a limiter makes it. Nobody else refers to this class, so that audit.py can count by references."""

    __slots__ = ()
