"""One wire attempt of somebody else's client: its permit, what its reply teaches, how it ends. Imports no client.

Rules:
* One permit per wire attempt: each redirect hop, retry and reconnect asks for its own, and the attempt before it is
  over before the next is asked for.
* The permit is held until the body was read or the response closed, since `Concurrency` counts that long.
* A call of which certainly no byte was written gives its places back; one without a reply lingers.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Protocol

from headway.delivery.retry import GiveUp, RetryPolicy
from headway.errors import UsageError
from headway.limiter.limiter import Limiter
from headway.limiter.permit import Permit, lost_without_reply
from headway.limits.ticket import PRIORITIES
from headway.limits.headers import retry_after

__all__ = [
    "Admission",
    "Attempt",
    "CallOptions",
    "Conduct",
    "Only",
    "admission",
    "begin",
    "begin_async",
    "call_options",
]

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})  # RFC 9110, section 9.2.2
_PASSING = frozenset({500, 502, 503, 504})


class Admission(Protocol):
    """Whose limits a request counts against, and what a reply says of them."""

    @property
    def limiter(self) -> Limiter:
        """Where permits are taken."""

    def limits_for(self, method: str, host: str, path: str) -> frozenset[str] | None:
        """The names of the limits that apply; None for all."""

    def body_tells(self, status: int) -> bool:
        """Whether only the body can say if a reply of this status refused the call for its rate."""

    def refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> str | None:
        """The limit that refused the call ('' where unknown); None if it was not refused for its rate."""

    def lockout(self, limit: str) -> float | None:
        """Seconds for which a refusal by this limit shuts us out where the reply does not say; None if unknown."""

    def prepare(self) -> None:
        """Find out what must be known before the first call; may wait for the network."""

    @property
    def prepared(self) -> bool:
        """Whether `prepare` has nothing left to do."""


class Only:
    """A limiter by itself: every call counts against all of its limits, and 429 is what refuses (RFC 6585)."""

    prepared = True

    def __init__(self, limiter: Limiter) -> None:
        self.limiter = limiter

    def limits_for(self, method: str, host: str, path: str) -> frozenset[str] | None:
        del method, host, path
        return None

    def body_tells(self, status: int) -> bool:
        del status
        return False

    def refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> str | None:
        del headers, body
        return "" if status == 429 else None

    def lockout(self, limit: str) -> float | None:
        del limit
        return None

    def prepare(self) -> None:
        """Nothing to find out."""


def admission(what: Limiter | Admission) -> Admission:
    """What an adapter works with, of a limiter or an account; raises UsageError for anything else."""
    if isinstance(what, Limiter):
        return Only(what)
    if not hasattr(what, "limits_for"):
        raise UsageError(f"an adapter needs a Limiter or an account, not {type(what).__name__}")
    return what


@dataclass(frozen=True, slots=True)
class CallOptions:
    """How the calls of a block are to be asked for: `priority`, `cost` in the limits' units, `timeout` in seconds."""

    priority: str = "bulk"
    cost: int = 1
    timeout: float | None = None


_OPTIONS: ContextVar[CallOptions] = ContextVar("headway_call_options", default=CallOptions())  # noqa: B039  # frozen


@contextmanager
def call_options(
    *, priority: str | None = None, cost: int | None = None, timeout: float | None = None
) -> Iterator[CallOptions]:
    """For calls made in this block, in this thread or task, whatever client sends them.

    `priority` "interactive", "bulk" or "replay"; `cost` of each call; `timeout`: seconds to wait for a permit at
    most, then PermitTimeout. What is not given stays as it was. Raises UsageError.
    """
    if priority is not None and priority not in PRIORITIES:
        raise UsageError(f"unknown priority {priority!r}: one of {', '.join(PRIORITIES)}")
    if cost is not None and (isinstance(cost, bool) or not isinstance(cost, int) or cost < 1):
        raise UsageError(f"a call's cost must be a whole number of at least 1, not {cost!r}")
    if timeout is not None and not timeout >= 0:
        raise UsageError(f"a timeout must be at least 0 seconds, not {timeout!r}")
    given = {"priority": priority, "cost": cost, "timeout": timeout}
    options = replace(_OPTIONS.get(), **{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    token = _OPTIONS.set(options)
    try:
        yield options
    finally:
        _OPTIONS.reset(token)


@dataclass(frozen=True, slots=True)
class Conduct:
    """How an adapter behaves: whose limits, and whether it sends again what failed.

    `retry`: None for never, else the policy; what the platform refused for its rate is sent again whatever the
    method (it was not processed), other failures only for `methods`.
    """

    admission: Admission
    retry: RetryPolicy | None = None
    methods: frozenset[str] = IDEMPOTENT

    def again(self, attempt: Attempt, number: int, *, status: int | None) -> float | None:
        """Seconds after which to send again, the `number`-th attempt having ended in `status` (None: no reply).

        None for not at all. A pause for a refusal is the limiter's: nothing needs to be added to it.
        """
        if self.retry is None:
            return None
        passing = attempt.refused or (attempt.method in self.methods and (status is None or status in _PASSING))
        if not passing:
            return None
        said = None if attempt.refused else attempt.retry_after
        decision = self.retry.decide(number, 0.0, random.random(), said)
        if isinstance(decision, GiveUp):
            return None
        return 0.0 if attempt.refused else decision.when


class Attempt:
    """One call on the wire, from its permit to the end of its reply."""

    __slots__ = ("_admission", "_permit", "method", "refused", "replied_at_all", "retry_after")

    def __init__(self, whose: Admission, permit: Permit, method: str) -> None:
        self._admission = whose
        self._permit = permit
        self.method = method
        self.refused = False
        self.replied_at_all = False
        self.retry_after: float | None = None

    def body_tells(self, status: int) -> bool:
        """Whether `replied` needs the body."""
        return self._admission.body_tells(status)

    def replied(self, status: int, headers: Mapping[str, str], body: bytes = b"") -> None:
        """The reply's head is there, and its body where `body_tells`: learn from it, pause if it refused the call."""
        self.replied_at_all = True
        lowered = {name.lower(): value for name, value in headers.items()}
        self._permit.observe(status, lowered)
        self.retry_after = retry_after(lowered, time.time_ns())
        limit = self._admission.refusal(status, lowered, body)
        if limit is not None:
            self.refused = True
            wait = self.retry_after if self.retry_after is not None else self._admission.lockout(limit)
            self._permit.rejected(limit, wait)

    def done(self) -> None:
        """The body was read or the response closed. May be called twice."""
        self._permit.settle()

    def failed(self, error: BaseException, *, sent: bool = True) -> None:
        """No reply came; `sent=False` if certainly not one byte was written. Does nothing once it is over."""
        if self._permit.over:
            return
        if not sent:
            self._permit.cancel()
        elif self.replied_at_all or not lost_without_reply(error):
            self._permit.settle()
        else:
            self._permit.lose()


def _asked(whose: Admission, method: str, host: str, path: str) -> tuple[CallOptions, frozenset[str] | None]:
    return _OPTIONS.get(), whose.limits_for(method, host, path)


def begin(whose: Admission, method: str, host: str, path: str) -> Attempt:
    """Wait in this thread for the permit of one attempt; raises what `Limiter.acquire` raises."""
    whose.prepare()
    method = method.upper()
    options, limits = _asked(whose, method, host, path)
    permit = whose.limiter.acquire(options.cost, priority=options.priority, timeout=options.timeout, limits=limits)
    return Attempt(whose, permit, method)


async def begin_async(whose: Admission, method: str, host: str, path: str) -> Attempt:
    """Wait in this event loop for the permit of one attempt."""
    if not whose.prepared:
        import asyncio

        await asyncio.to_thread(whose.prepare)
    method = method.upper()
    options, limits = _asked(whose, method, host, path)
    permit = await whose.limiter.acquire_async(
        options.cost, priority=options.priority, timeout=options.timeout, limits=limits
    )
    return Attempt(whose, permit, method)
