"""An account that is open in one event loop: connections, permits, events, and who we are.

Rules:
* Every call goes out under a permit of the account's limiter, those that ask for identity and schema as well.
* Whose account it is, is known before anything else is done (identity.py).
* A token that expired is renewed once for all calls that were refused for it; whatever they carried is sent again. Only
  a renewal that is refused, or a new token that is, ends the work.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Protocol, Self

from headway import redact
from headway.accounts.account import Account
from headway.accounts.identity import recall, remember
from headway.accounts.logins import Login, Token
from headway.accounts.waiting import PermitQueue
from headway.adapters.attempts import Asked, taught
from headway.clock import SystemClock
from headway.delivery.outcome import CredentialsRejected, RateLimited, Transient
from headway.delivery.records import Call, Reply
from headway.delivery.retry import GiveUp, RetryPolicy
from headway.errors import CredentialsError, PermitTimeout, PlatformError, TransportError
from headway.events import CallFailed, CallFinished, CallStarted, Event, Note, Observer
from headway.limiter.limiter import Limiter
from headway.limiter.permit import Permit
from headway.limits.headers import Refusal, Remaining
from headway.limits.status import LimitStatus
from headway.limits.ticket import Cost, chosen
from headway.transport import Transport

__all__ = ["Cache", "OpenAccount"]

_REFUSALS = 3  # in a row of a call that counts against no limit that we know
_POLICY = RetryPolicy(base=0.5, cap=8.0, attempts=4)
_LOGIN_POLICY = RetryPolicy(base=0.5, cap=20.0, attempts=10)
Left = Callable[[Reply], Sequence[Remaining]]


class Cache(Protocol):
    """Where what a platform said of itself is kept between runs."""

    def cache_get(self, kind: str, key: str, max_age: float) -> bytes | None:
        """What was put within the last `max_age` seconds."""

    def cache_put(self, kind: str, key: str, value: bytes) -> None:
        """Remember it."""


class OpenAccount:
    """Use it in an `async with` block: entering asks the platform who we are, unless that is known."""

    def __init__(
        self,
        account: Account,
        *,
        observer: Observer | None = None,
        wait_for_quota: float = 0.0,
    ) -> None:
        self.account = account
        self.name = account.name
        self.requests = 0
        self.rate_limited = 0
        self.seconds: float | None = None
        self._observer = observer
        self._wait = wait_for_quota
        self._transport = Transport(
            account.base_url, auth=account.headers, query=account.query, timeout=account.timeout
        )
        self._plain = Transport(account.base_url, timeout=account.timeout)  # carries no credential of the account's
        self._renewing = asyncio.Lock()
        self._generation = account.tokens.generation

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
        await self._plain.aclose()

    async def _identify(self) -> None:
        account = self.account
        tokens = account.tokens
        if tokens.login is not None and not account.query and (not tokens.value or tokens.hopeless):
            await self.renew(tokens.generation, anew=True)  # what an earlier session despaired of may be mended
        if account.identity is not None or not account.identifiable:
            return
        known = recall(account)
        if known is not None and known.fresh:
            account.learn(known.identity)
            return
        asking = account.identifier
        try:
            identity = asking.read(await self.ask(asking.call(), "identity"))
        except (TransportError, PlatformError, PermitTimeout):
            if known is None:
                raise
            account.learn(known.identity)
            return
        account.learn(identity)
        remember(account, identity)
        if identity.kind and identity.kind != "STANDARD":
            self._tell(Note(f"{self.name}: account {identity.account_id} is of the kind {identity.kind}"))

    @property
    def extra(self) -> int:
        """Calls that a session makes beside those that carry records."""
        return int(self.account.identifiable and self.account.identifier.usage is not None)

    async def usage(self) -> None:
        """Hear what everybody used of the account's limits, where the platform tells; costs a call."""
        asking = self.account.identifier if self.account.identifiable else None
        if asking is None or asking.usage is None:
            return
        with suppress(TransportError):
            await self.ask(asking.usage(), "limits", asking.left)

    async def look(self, names: frozenset[str]) -> tuple[LimitStatus, ...]:
        """How the limits stand, with what other processes did: one permit is asked for and given back unused."""
        permit = await asyncio.to_thread(self.limiter.try_acquire, limits=chosen(names))
        if permit is not None:
            permit.cancel()
        return self.limiter.snapshot()

    # -- the token of the moment

    @property
    def generation(self) -> int:
        """Which token is in use: what a call is sent with, to be told to `renew`."""
        tokens = self.account.tokens
        if tokens.generation != self._generation:  # renewed by another user of the account
            self._generation, self._transport.auth = tokens.generation, self.account.headers
        return self._generation

    async def renew(self, used: int, *, anew: bool = False) -> bool:
        """A token was refused, or ends: get another, unless that was done since generation `used`.

        False where there is no way to get one, or where the newest was refused as well. Raises CredentialsError if the
        platform refuses to give another, TransportError if it cannot be reached.
        """
        tokens = self.account.tokens
        async with self._renewing:
            if tokens.generation != used:
                return True
            if tokens.login is None or (tokens.value and tokens.hopeless and not anew):
                return False
            tokens.renewed(await self._new_token(tokens.login))
        self._tell(Note(f"{self.name}: the access token was renewed"))
        return True

    async def _new_token(self, login: Login) -> Token:
        """Ask for a token, again while the platform is out of order."""
        attempt = 0
        while True:
            attempt += 1
            call = login.call(time.time())
            try:
                reply = None
                if call is not None:
                    reply = await self._plain.send(call)
                return await asyncio.to_thread(login.token, reply)
            except (TransportError, PlatformError) as error:
                decision = _LOGIN_POLICY.decide(attempt, 0.0, random.random())
                if isinstance(decision, GiveUp):
                    raise TransportError(f"{self.name}: no new access token: {error}", sent=False) from error
                await asyncio.sleep(decision.when)

    async def ask(
        self,
        call: Call,
        name: str,
        left: Left | None = None,
        *,
        policy: RetryPolicy = _POLICY,
    ) -> Reply:
        """Send a call that carries no records, again if it may pass; returns the last reply, whatever it says.

        `left`: what its reply says is left of the limits beside what the catalogue's entry reads in it. Raises
        PermitTimeout if a quota is used up or a pause longer than an hour, TransportError without a reply,
        CredentialsError where a token cannot be renewed.
        """
        attempt = refusals = 0
        began = time.monotonic()
        while True:
            attempt += 1
            asked = self.asked(call)
            limits = asked.limits or frozenset()
            permit = await self._permit(limits, asked.cost, time.monotonic() - began)
            used = self.generation
            try:
                reply = await self.send(call, permit, name=name)
            except TransportError:
                decision = policy.decide(attempt, 0.0, random.random())
                if isinstance(decision, GiveUp):
                    raise
                await asyncio.sleep(decision.when)
                continue
            meaning = self.account.api.meaning(reply)
            heard = self.account.tell(asked, reply.status, reply.headers, reply.body)
            wait = None
            if isinstance(meaning, RateLimited):
                self.rate_limited += 1
                refusal = heard.refusal or Refusal(
                    meaning.limit if meaning.limit in limits else "", meaning.retry_after
                )
                permit.rejected(refusal.limit, refusal.wait)
                attempt -= 1
                wait = 0.0
                refusals += not limits
            if refusals >= _REFUSALS:  # no limit of ours tells when it ends
                permit.settle()
                assert isinstance(meaning, RateLimited)
                raise PermitTimeout(f"{self.name}: the platform refuses calls ({name}): {meaning.message}", None, "")
            if left is not None and reply.status == 200:
                permit.learn(left(reply))
            permit.settle(heard.cost)
            if isinstance(meaning, CredentialsRejected) and reply.status == 401 and await self.renew(used):
                wait = 0.0
            if isinstance(meaning, Transient):
                wait = self._again(attempt, meaning, policy)
            if wait is None:
                return reply
            await asyncio.sleep(wait)

    async def _permit(self, limits: frozenset[str], cost: Cost, waited: float) -> Permit:
        """A permit for a call of our own, `waited` for already; raises PermitTimeout where waiting is not worth it."""
        queue = PermitQueue(
            self.limiter, account=self.name, priority="interactive",
            wait_for_quota=max(0.0, self._wait - waited),
            clock=SystemClock(), tell=self._tell,
        )  # fmt: skip
        got = await queue.take(asyncio.get_running_loop().create_future(), cost, limits)
        if isinstance(got, Permit):
            return got
        assert got is not None
        unknown = self.account.reset_unknown(got.limit)
        more = " at the earliest: the time zone of the account is not known yet" if unknown else ""
        raise PermitTimeout(got.reason + more, got.seconds, got.limit)

    @staticmethod
    def _again(attempt: int, meaning: Transient, policy: RetryPolicy) -> float | None:
        decision = policy.decide(attempt, 0.0, random.random(), meaning.retry_after)
        return None if isinstance(decision, GiveUp) else decision.when

    def limits_for(self, call: Call) -> frozenset[str]:
        """The names of the limits that a call counts against; none for an address elsewhere."""
        return self.asked(call).limits or frozenset()

    def asked(self, call: Call) -> Asked:
        """What a call asks of the account's limits, and what it costs of them."""
        if call.url:
            return Asked(frozenset())
        if call.limits is not None:
            limits = self.account.counting(call.limits)
            return Asked(limits, call.cost, {name: name for name in limits}, call.path)
        return self.account.ask(call.method, call.path, call.body or b"", None if call.cost == 1 else call.cost)

    async def send(self, call: Call, permit: Permit, records: int = 0, name: str = "") -> Reply:
        """Send one call under its permit, which observes the reply; the caller settles it.

        Raises TransportError; then the permit is lost, or cancelled if certainly nothing was written.
        """
        label = name or "batch"
        generation = self.generation
        if self.account.tokens.ending:
            with suppress(TransportError, CredentialsError):
                await self.renew(generation, anew=True)  # nobody refused it: its time is over
                generation = self.generation
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
        heard = self.account.tell(self.asked(call), reply.status, reply.headers, reply.body)
        taught(permit, reply.status, reply.headers, replace(heard, refusal=None))  # refusals are the caller's
        if reply.status != 401 and generation == self.account.tokens.generation:
            self.account.tokens.accepted()
        self.seconds = reply.seconds
        self._tell(CallFinished(self.name, label, records, reply.status, reply.seconds))
        return reply

    def _tell(self, event: Event) -> None:
        if self._observer is not None:
            self._observer(event)
