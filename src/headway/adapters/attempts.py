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
from dataclasses import dataclass, field, replace
from typing import Protocol

from headway.delivery.retry import GiveUp, RetryPolicy
from headway.errors import UsageError
from headway.limiter.limiter import Limiter
from headway.limiter.permit import Permit, lost_without_reply
from headway.limits.headers import Refusal, Remaining, remaining, retry_after
from headway.limits.ticket import PRIORITIES, Cost, chosen

__all__ = [
    "Admission",
    "Asked",
    "Attempt",
    "CallOptions",
    "Conduct",
    "Heard",
    "Only",
    "admission",
    "begin",
    "begin_async",
    "call_options",
    "taught",
]

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})  # RFC 9110, section 9.2.2
_PASSING = frozenset({500, 502, 503, 504})
_READABLE = ("json", "text", "html", "xml")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a call asks for: the names of its limits (None: all of them) and what it costs, by name where they differ.

    `names`: the limiter's name by the catalogue's, where a limit is one of several of its kind; `path` and `shape`:
    which call it was.
    """

    limits: frozenset[str] | None = None
    cost: Cost = 1
    names: Mapping[str, str] = field(default_factory=dict)
    path: str = ""
    shape: str = ""

    def named(self, refusal: Refusal) -> Refusal:
        """The same refusal by the limiter's names; "" for a limit that this call did not ask for."""
        if self.limits is None:
            return refusal
        limit = self.names.get(refusal.limit, refusal.limit)
        if limit not in self.limits:
            limit = next(iter(self.limits)) if len(self.limits) == 1 else ""
        return replace(refusal, limit=limit)

    def word(self, said: Remaining) -> Remaining:
        """The same word by the limiter's names."""
        name = self.names.get(said.name, said.name)
        return said if name == said.name else replace(said, name=name)


@dataclass(frozen=True, slots=True)
class Heard:
    """What a reply says of limits: that it refused the call, what is `left`, what the call `cost` where it tells."""

    refusal: Refusal | None = None
    left: tuple[Remaining, ...] | None = ()
    cost: Mapping[str, int] | None = None


class Admission(Protocol):
    """Whose limits a request counts against, and what a reply says of them."""

    @property
    def limiter(self) -> Limiter:
        """Where permits are taken."""

    def ask(self, method: str, path: str, body: bytes = b"", cost: Cost | None = None) -> Asked:
        """What a call asks for; `path` with its query, `body` as far as it is known, `cost` as the caller says it."""

    def body_tells(self, status: int, path: str = "") -> bool:
        """Whether the body of a reply of this status to that call says anything of limits."""

    def tell(self, asked: Asked, status: int, headers: Mapping[str, str], body: bytes) -> Heard:
        """What a reply says of the limits; header names in lower case."""

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

    def ask(self, method: str, path: str, body: bytes = b"", cost: Cost | None = None) -> Asked:
        del method, path, body
        return Asked(cost=1 if cost is None else cost)

    def body_tells(self, status: int, path: str = "") -> bool:
        del status, path
        return False

    def tell(self, asked: Asked, status: int, headers: Mapping[str, str], body: bytes) -> Heard:
        del asked, body
        if status != 429:
            return Heard(left=None)
        wall = time.time_ns()
        said = remaining(headers, wall)
        # What is used up until an instant that the reply tells is what the pause is for: no belief need outlast it.
        spent = [each for each in said if not each.remaining and each.reset is not None]
        reset = max((each.reset for each in spent if each.reset is not None), default=None)
        return Heard(Refusal("", retry_after(headers, wall), reset), tuple(each for each in said if each not in spent))

    def prepare(self) -> None:
        """Nothing to find out."""


def taught(permit: Permit, status: int, headers: Mapping[str, str], heard: Heard) -> float | None:
    """Take up what a reply says of limits, before its permit is settled; seconds of the pause if it refused the call.

    The one place where a refusal reaches a permit, whatever door the call went through.
    """
    if heard.left is None:  # a limiter by itself reads the usual header fields
        permit.observe(status, headers)
    else:
        permit.observe(status, {name: headers[name] for name in ("date", "retry-after") if name in headers})
        permit.learn([each for each in heard.left if each.kind != "percent"])
    if heard.refusal is None:
        return None
    refusal = heard.refusal
    asked_for = refusal.lockout if refusal.retry_after is None and refusal.reset is None else refusal.retry_after
    return permit.rejected(refusal.limit, asked_for, refusal.reset)


def admission(what: Limiter | Admission) -> Admission:
    """What an adapter works with, of a limiter or an account; raises UsageError for anything else."""
    if isinstance(what, Limiter):
        return Only(what)
    if not hasattr(what, "ask"):
        raise UsageError(f"an adapter needs a Limiter or an account, not {type(what).__name__}")
    return what


@dataclass(frozen=True, slots=True)
class CallOptions:
    """How the calls of a block are to be asked for: `priority`, `cost` in the limits' units, `timeout` in seconds.

    Without a `cost` a call costs what the platform's entry in the catalogue says.
    """

    priority: str = "bulk"
    cost: int | None = None
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

    __slots__ = ("_admission", "_asked", "_cost", "_permit", "method", "refused", "replied_at_all", "retry_after")

    def __init__(self, whose: Admission, asked: Asked, permit: Permit, method: str) -> None:
        self._admission = whose
        self._asked = asked
        self._permit = permit
        self._cost: Mapping[str, int] | None = None
        self.method = method
        self.refused = False
        self.replied_at_all = False
        self.retry_after: float | None = None

    def body_tells(self, status: int, headers: Mapping[str, str] | None = None) -> bool:
        """Whether `replied` needs the body; `headers`: of the reply, for one that is no text is never looked into."""
        kind = next((value for name, value in (headers or {}).items() if name.lower() == "content-type"), "").lower()
        if status < 300 and kind and not any(word in kind for word in _READABLE):
            return False
        return self._admission.body_tells(status, self._asked.path)

    def replied(self, status: int, headers: Mapping[str, str], body: bytes = b"") -> None:
        """The reply's head is there, and its body where `body_tells`: learn from it, pause if it refused the call."""
        self.replied_at_all = True
        lowered = {name.lower(): value for name, value in headers.items()}
        self.retry_after = retry_after(lowered, time.time_ns())
        heard = self._admission.tell(self._asked, status, lowered, body)
        self._cost = heard.cost
        self.refused = taught(self._permit, status, lowered, heard) is not None

    def done(self) -> None:
        """The body was read or the response closed. May be called twice."""
        self._permit.settle(self._cost)

    def failed(self, error: BaseException, *, sent: bool = True) -> None:
        """No reply came; `sent=False` if certainly not one byte was written. Does nothing once it is over."""
        if self._permit.over:
            return
        if not sent:
            self._permit.cancel()
        elif self.replied_at_all or not lost_without_reply(error):
            self._permit.settle(self._cost)
        else:
            self._permit.lose()


def begin(whose: Admission, method: str, path: str, body: object = None) -> Attempt:
    """Wait in this thread for the permit of one attempt; raises what `Limiter.acquire` raises.

    `path` with its query; `body` counts where it is bytes or text.
    """
    whose.prepare()
    method, options = method.upper(), _OPTIONS.get()
    asked = whose.ask(method, path, _known(body), options.cost)
    permit = whose.limiter.acquire(
        asked.cost, priority=options.priority, timeout=options.timeout, limits=chosen(asked.limits)
    )
    return Attempt(whose, asked, permit, method)


async def begin_async(whose: Admission, method: str, path: str, body: object = None) -> Attempt:
    """Wait in this event loop for the permit of one attempt; as `begin`."""
    if not whose.prepared:
        import asyncio

        await asyncio.to_thread(whose.prepare)
    method, options = method.upper(), _OPTIONS.get()
    asked = whose.ask(method, path, _known(body), options.cost)
    permit = await whose.limiter.acquire_async(
        asked.cost, priority=options.priority, timeout=options.timeout, limits=chosen(asked.limits)
    )
    return Attempt(whose, asked, permit, method)


def _known(body: object) -> bytes:
    """A request's body where it is there already; a stream is left alone."""
    if isinstance(body, str):
        return body.encode()
    return bytes(body) if isinstance(body, bytes | bytearray) else b""
