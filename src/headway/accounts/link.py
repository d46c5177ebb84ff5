"""An account that is open in one event loop: connections, permits, events, and who we are.

Rules:
* Every call goes out under a permit of the account's limiter, those that ask for identity and schema as well.
* What the platform said of itself is remembered under the credential's hash and the base URL, never under a name.
"""

from __future__ import annotations

import asyncio
import random
import time
from types import TracebackType
from typing import Protocol, Self

import msgspec

from headway import redact
from headway.accounts.account import Account
from headway.accounts.waiting import PermitQueue
from headway.clock import SystemClock
from headway.core.headers import retry_after
from headway.core.outcome import RateLimited, Transient
from headway.core.records import Call, Reply
from headway.core.retry import GiveUp, RetryPolicy
from headway.errors import PermitTimeout, TransportError
from headway.events import CallFailed, CallFinished, CallStarted, Event, Note, Observer
from headway.limiter import Limiter
from headway.permit import Permit
from headway.platforms.connector import Identity
from headway.transport import Transport

__all__ = ["Cache", "OpenAccount"]

_IDENTITY_AGE = 86_400.0  # an account may move its midnight to another zone
_POLICY = RetryPolicy(base=0.5, cap=8.0, attempts=4)


class Cache(Protocol):
    """Where what a platform said of itself is kept between runs."""

    def cache_get(self, kind: str, key: str, max_age: float) -> bytes | None:
        """What was put within the last `max_age` seconds."""

    def cache_put(self, kind: str, key: str, value: bytes) -> None:
        """Remember it."""


class _Known(msgspec.Struct):
    account_id: str
    time_zone: str
    kind: str = ""


class OpenAccount:
    """Use it in an `async with` block: entering asks the platform who we are, unless that is known."""

    def __init__(
        self,
        account: Account,
        *,
        cache: Cache | None = None,
        observer: Observer | None = None,
        wait_for_quota: float = 0.0,
    ) -> None:
        self.account = account
        self.name = account.name
        self.requests = 0
        self.rate_limited = 0
        self.seconds: float | None = None
        self._cache = cache
        self._observer = observer
        self._wait = wait_for_quota
        self._transport = Transport(account.base_url, headers=account.headers, timeout=account.timeout)

    @property
    def limiter(self) -> Limiter:
        """The account's limits."""
        return self.account.limiter

    @property
    def cache_key(self) -> str:
        """Under which what the platform says of this account is kept."""
        return f"{self.account.platform}|{self.account.base_url}|{self.account.credential}"

    async def __aenter__(self) -> Self:
        if self._observer is not None:
            self.account.observe(self._observer)
        if self.account.exposed:
            self._tell(Note(f"{self.name}: the token travels unencrypted to {self.account.base_url}: use https"))
        try:
            await self._identify()
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections; the limiter stays the account's. Idempotent."""
        if self._observer is not None:
            self.account.forget(self._observer)
        await self._transport.aclose()

    async def _identify(self) -> None:
        account = self.account
        if account.identity is not None:
            return
        known = None if self._cache is None else self._cache.cache_get("identity", self.cache_key, _IDENTITY_AGE)
        if known is not None:
            found = msgspec.json.decode(known, type=_Known)
            account.learn(Identity(found.account_id, found.time_zone, found.kind))
            return
        before = self.requests
        reply = await self.ask(account.api.identity_call(), "identity")
        identity = account.api.identity(reply)
        added = account.learn(identity)
        calls = self.requests - before
        charged = account.route(account.api.identity_call().path) & frozenset(added)
        if charged:
            await self._charge(charged, calls, reply)
        if self._cache is not None:
            said = _Known(identity.account_id, identity.time_zone, identity.kind)
            self._cache.cache_put("identity", self.cache_key, msgspec.json.encode(said))
        if identity.kind and identity.kind != "STANDARD":
            self._tell(Note(f"{self.name}: account {identity.account_id} is of the kind {identity.kind}"))

    async def _charge(self, limits: frozenset[str], calls: int, reply: Reply) -> None:
        """The calls made before the identity was known count against the account's own limits, too."""
        try:
            permit = await self.limiter.acquire_async(calls, priority="interactive", timeout=2.0, limits=limits)
        except PermitTimeout:
            return  # used up: the run will be told so when it asks
        permit.observe(reply.status, reply.headers)
        permit.settle()

    async def ask(self, call: Call, name: str) -> Reply:
        """Send a call that carries no records, again if it may pass; returns the last reply, whatever it says.

        Raises PermitTimeout if a quota is used up or a pause longer than an hour, TransportError without a reply.
        """
        attempt = 0
        while True:
            attempt += 1
            limits = self.account.route(call.path)
            permit = await self._permit(limits)
            try:
                reply = await self.send(call, permit, name=name)
            except TransportError:
                decision = _POLICY.decide(attempt, 0.0, random.random())
                if isinstance(decision, GiveUp):
                    raise
                await asyncio.sleep(decision.when)
                continue
            meaning = self.account.api.meaning(reply)
            wait = None
            if isinstance(meaning, RateLimited):
                self.rate_limited += 1
                said = retry_after(reply.headers, time.time_ns())
                permit.rejected(meaning.limit if meaning.limit in limits else "", said)
                attempt -= 1
                wait = 0.0
            permit.settle()
            if isinstance(meaning, Transient):
                wait = self._again(attempt, meaning)
            if wait is None:
                return reply
            await asyncio.sleep(wait)

    async def _permit(self, limits: frozenset[str]) -> Permit:
        """A permit for a call of our own; raises PermitTimeout where waiting is not worth while."""
        queue = PermitQueue(
            self.limiter, account=self.name, names=limits, priority="interactive", wait_for_quota=self._wait,
            clock=SystemClock(), tell=self._tell,
        )  # fmt: skip
        got = await queue.take(asyncio.get_running_loop().create_future())
        if isinstance(got, Permit):
            return got
        assert got is not None
        raise PermitTimeout(got.reason, got.seconds, got.limit)

    @staticmethod
    def _again(attempt: int, meaning: Transient) -> float | None:
        decision = _POLICY.decide(attempt, 0.0, random.random(), meaning.retry_after)
        return None if isinstance(decision, GiveUp) else decision.when

    async def send(self, call: Call, permit: Permit, records: int = 0, name: str = "") -> Reply:
        """Send one call under its permit, which observes the reply; the caller settles it.

        Raises TransportError; then the permit is lost, or cancelled if certainly nothing was written.
        """
        label = name or "batch"
        self._tell(CallStarted(self.name, label, records))
        self.requests += 1
        try:
            reply = await self._transport.send(call, permit=permit)
        except TransportError as error:
            if error.sent:
                permit.lose()
            else:
                permit.cancel()
                self.requests -= 1
            self._tell(CallFailed(self.name, label, records, redact.text(error), error.sent))
            raise
        except BaseException:
            permit.lose()
            raise
        permit.observe(reply.status, reply.headers)
        self.seconds = reply.seconds
        self._tell(CallFinished(self.name, label, records, reply.status, reply.seconds))
        return reply

    def _tell(self, event: Event) -> None:
        if self._observer is not None:
            self._observer(event)
