"""An account: who we are on a platform, and the limits that this means.

Rules:
* The account's identity is what the platform says it is, never a name of ours or a directory: two names for one
  portal are one budget. Until the platform has told, the credential's hash stands in (identity.py).
* The base URL belongs to the identity: a mock is never the real portal.
* A limit that the platform counts per app or key hangs on the credential, one that it counts per account on the
  identity. All of them count from the first call on; what was counted under the stand-in moves over.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self
from urllib.parse import urlsplit

from headway import redact
from headway.accounts.config import AccountConfig
from headway.accounts.credentials import (
    Credentials,
    credential_hash,
)
from headway.accounts.identity import Asking, identify, stand_in
from headway.accounts.logins import Measurement
from headway.accounts.places import default_state
from headway.accounts.registry import Identifier, Platform, address, authorization, identifier
from headway.accounts.registry import platform as platform_named
from headway.accounts.scopes import Scopes
from headway.accounts.tokens import Tokens
from headway.adapters.attempts import Asked, Heard
from headway.adapters.doors import Doors
from headway.errors import HeadwayError, UsageError
from headway.events import Event, Note, Observer
from headway.limiter.limiter import Limiter
from headway.limits.limits import Adaptive, Limit
from headway.limits.ticket import Cost
from headway.platforms import catalog_reader
from headway.platforms.asking import Request
from headway.platforms.connector import Connector, Identity
from headway.platforms.ga4.reports import ReportRequest, ReportTable
from headway.platforms.profile import LimitEntry

if TYPE_CHECKING:
    from headway.accounts.reporting import Reporter
from headway.urls import open_url

__all__ = ["Account", "Destination"]

_UNSET = "UTC"
_HOUR = 3600.0
_NO_ADDRESS = {
    "salesforce": "where is the org? set SALESFORCE_INSTANCE_URL=https://NAME.my.salesforce.com, or give --base-url",
    "mailchimp": "the API key does not end in its data centre (…-us6): set the whole key, or give --base-url",
}
_UNPUBLISHED = Adaptive(5.0, 0.5, 200.0)  # where a platform tells no figure: found by what it refuses
_BESIDE = Adaptive(1000.0, 0.5, 1000.0)  # the same, where other limits hold the calls back already


class Account(Doors):
    """A credential, a tier and a base URL, with the limiter that follows from them. Made by `account`.

    `account["contacts"]` is a destination; `transport`, `adapter` and the others put its limits under a client of
    yours. One account may serve several threads and event loops; `close` gives its lent places back.
    """

    def __init__(
        self,
        config: AccountConfig,
        credentials: Credentials,
        *,
        state: str | Path | None = None,
        pacing: str | None = None,
        timeout: float = 30.0,
        seats: int = 0,
        fresh: bool = False,
    ) -> None:
        self.platform = config.platform
        self.profile = catalog_reader.load(config.platform)
        self.tier = self.profile.seated(config.tier or None, seats)
        self.config = config
        given = (
            config.base_url or credentials.base_url or address(config.platform, credentials) or self.profile.base_url
        )
        self.base_url = _base_url(given) if given else ""  # the library needs none where the client has its own
        self.seats = seats
        self.timeout = timeout
        self.name = f"{config.platform}/{config.name}" if config.name else config.platform
        self.identity: Identity | None = None
        self.credential = credential_hash(credentials.secret)
        self.tokens = Tokens(credentials)
        self.state = default_state() if state is None else str(state)
        open_url(self.state, "state")  # refused here, not at the first call
        self.fresh = fresh
        self.pacing = pacing or self.tier.pacing
        self._lock = threading.Lock()
        self._preparing = threading.Lock()
        self._asking = Asking()
        self._limiter: Limiter | None = None
        self._reporting: Reporter | None = None
        self.cache = ".headway/records.db"
        self._observers: list[Observer] = []
        self._scopes = Scopes(
            self.profile,
            lambda: self.tier,
            made=lambda entry, name: entry.limit(self.time_zone, self.seats, name),
            key=self._place_key,
        )

    def __repr__(self) -> str:
        return f"<Account {self.name} at {self.base_url}, tier {self.tier.name}>"

    def __getitem__(self, object_type: str) -> Destination:
        return Destination(self, object_type)

    @property
    def exposed(self) -> bool:
        """Whether the credential travels unencrypted to another machine."""
        parts = urlsplit(self.base_url)
        host = parts.hostname or ""
        return parts.scheme == "http" and host not in {"localhost", "::1"} and not host.startswith("127.")

    @property
    def api(self) -> Platform:
        """How records travel to this platform; raises UsageError for one that nothing can be sent to."""
        return platform_named(self.platform)

    @property
    def identifiable(self) -> bool:
        """Whether the platform can be asked who we are."""
        return bool(self.base_url) and identifier(self.platform) is not None

    @property
    def identifier(self) -> Identifier:
        """How to ask it; only where `identifiable`."""
        found = identifier(self.platform)
        assert found is not None
        return found

    @property
    def headers(self) -> dict[str, str]:
        """The header fields that carry the credential; never to be shown."""
        return dict(authorization(self.platform, self.tokens.value))

    @property
    def query(self) -> str:
        """The credential where it travels in the address; never to be shown."""
        return self.tokens.login.query if isinstance(self.tokens.login, Measurement) else ""

    @property
    def limiter(self) -> Limiter:
        """The account's limits, shared with every process of this machine; made when first asked for."""
        with self._lock:
            if self._limiter is None:
                entries = [entry for entry in self.tier.limits if self._stands(entry)]
                searched = [_UNPUBLISHED] if self.tier.without_limits == "unpublished" else []
                beside = self.tier.rate_unpublished or self.tier.without_limits == "unlimited"
                searched += [_BESIDE] if beside else []
                standing = {entry.name: entry.limit(self.time_zone, self.seats) for entry in entries}
                keys = {entry.name: self._key(entry.scope, entry.name) for entry in entries}
                if not standing and not searched:  # every endpoint has its own: those beyond the last share these
                    spare = self._scopes.spare()
                    standing = {name: entry.limit(self.time_zone, self.seats, name) for name, entry in spare.items()}
                    keys = {name: self._place_key(entry, "*", name) for name, entry in spare.items()}
                self._limiter = Limiter(
                    *standing.values(),
                    *searched,
                    name=self.name,
                    state=self.state,
                    keys=keys,
                    share=self.config.share,
                    reserve=self.config.reserve,
                    pacing=self.pacing,
                    linger=max(30.0, self.timeout),
                    fresh=self.fresh,
                    observer=self._tell,
                    growing=True,  # a limit per endpoint is made at its first call
                )
            return self._limiter

    @property
    def time_zone(self) -> str:
        """The zone of the account's midnight."""
        return self.config.time_zone or (self.identity.time_zone if self.identity is not None else _UNSET)

    @property
    def limits(self) -> tuple[Limit, ...]:
        """All limits of the tier, as they are for this account."""
        return self.tier.limits_for(self.time_zone, self.seats)

    def learn(self, identity: Identity) -> None:
        """The platform said whose account it is: what was counted under the stand-in counts for the account now."""
        with self._lock:
            if self.identity is not None:
                return
            self.identity = identity
            limiter = self._limiter
            standing = {entry.name for entry in self.tier.limits if self._stands(entry)}
        if limiter is not None:
            there = frozenset(limiter.limits)
            for entry in self.tier.limits:
                if entry.name in standing and entry.name not in there:
                    limiter.add(entry.limit(self.time_zone, self.seats), self._key(entry.scope, entry.name))
            moving = [entry for entry in self.tier.limits if entry.scope != "credential" and entry.name in there]
            limiter.rekey(
                [entry.limit(self.time_zone, self.seats) for entry in moving],
                {entry.name: self._key(entry.scope, entry.name) for entry in moving},
            )

    # -- reports

    def report(
        self,
        metrics: Sequence[str],
        dimensions: Sequence[str] = (),
        *,
        start: str = "7daysAgo",
        end: str = "today",
        limit: int | None = None,
        where: Mapping[str, str] | None = None,
        order: Sequence[str] = (),
        ttl: float = 300.0,
    ) -> ReportTable:
        """A report of Google Analytics, remembered for `ttl` seconds: asked for again it costs no call.

        `start` and `end`: days (2026-11-01, yesterday, 7daysAgo); `where`: dimension → value; `order`: names, `-name`
        for the largest first. Raises UsageError, CredentialsError, PlatformError, PermitTimeout.
        """
        asked = ReportRequest(metrics, dimensions, start, end, limit, where or {}, order)
        return self.reports([asked], ttl=ttl)[0]

    def reports(self, requests: Sequence[ReportRequest], *, ttl: float = 300.0) -> list[ReportTable]:
        """Several reports, five in a call."""
        return self._reporter().run(requests, ttl)

    async def areports(self, requests: Sequence[ReportRequest], *, ttl: float = 300.0) -> list[ReportTable]:
        """As `reports`, within an event loop."""
        return await self._reporter().arun(requests, ttl)

    def _reporter(self) -> Reporter:
        from headway.accounts.reporting import Reporter

        with self._preparing:
            if self._reporting is None:
                self._reporting = Reporter(self, self.cache)
            return self._reporting

    # -- what adapters ask

    def _admission(self) -> Account:
        return self

    @property
    def prepared(self) -> bool:
        """Whether there is nothing to find out before the next call.

        Where the platform did not tell whose account this is, there is again after a while.
        """
        return self.identity is not None or not self.identifiable or not self._asking.due(time.monotonic())

    def prepare(self) -> None:
        """Find out whose account this is, before a call: as remembered, or by one call to the platform.

        A platform that does not tell costs nobody a call: the credential stands in. Only the first attempt is waited
        for by everybody.
        """
        if self.prepared or not self._preparing.acquire(blocking=not self._asking.failures):
            return
        try:
            if not self.prepared:
                self.learn(identify(self))
        except HeadwayError as error:
            self._not_told(error)
        finally:
            self._preparing.release()

    def _not_told(self, error: HeadwayError) -> None:
        first = not self._asking.failures
        self._asking.failed(time.monotonic())
        if first:
            self._tell(Note(
                f"{self.name}: the platform did not say whose account this is ({redact.text(error)}); until it does, "
                "the limits of the account are counted for this credential alone"
            ))  # fmt: skip

    def ask(self, method: str, path: str, body: bytes = b"", cost: Cost | None = None) -> Asked:
        """What a call asks of the limits: those that it counts against, and what it costs of them."""
        whose = "" if self.identity is None else self.identity.account_id
        return self._scopes.ask(self.limiter, Request(method, path, body), whose=whose, cost=cost)

    def counting(self, names: frozenset[str]) -> frozenset[str]:
        """Of the account's limits those of these names, and whatever the tier knows nothing of.

        That is what is searched for, and what the platform's replies named: it counts every call.
        """
        known = frozenset(self.limiter.limits)
        return (known & names) | self._scopes.beside(known)

    def body_tells(self, status: int, path: str = "") -> bool:
        """Whether the body of a reply of this status to that call says anything of limits."""
        return self._scopes.body_tells(status, path)

    def tell(self, asked: Asked, status: int, headers: Mapping[str, str], body: bytes) -> Heard:
        """What a reply says of the limits that its call asked for."""
        heard = self._scopes.tell(asked, status, headers, body, time.time_ns())
        refusal = heard.refusal
        if refusal is not None and refusal.wait is None and self.reset_unknown(refusal.limit):
            # It is midnight somewhere at every full hour.
            heard = replace(heard, refusal=replace(refusal, reset=_HOUR - time.time() % _HOUR))
        return heard

    def reset_unknown(self, limit: str) -> bool:
        """Whether this limit begins anew at the account's midnight, and nobody has told yet when that is."""
        if self.identity is not None or self.config.time_zone or not self.identifiable:
            return False
        return any(entry.name == limit and "{time_zone}" in (entry.resets or "") for entry in self.tier.limits)

    def observe(self, observer: Observer) -> None:
        """Tell this observer what the limits do, until `forget`."""
        self._observers.append(observer)

    def forget(self, observer: Observer) -> None:
        """Tell it nothing more."""
        if observer in self._observers:
            self._observers.remove(observer)

    def close(self) -> None:
        """Give lent places back; permits are refused from now on. Idempotent."""
        with self._lock:
            if self._limiter is not None:
                self._limiter.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        self.close()
        return False

    def _tell(self, event: Event) -> None:
        for observer in tuple(self._observers):
            observer(event)

    def _stands(self, entry: LimitEntry) -> bool:
        """Whether a limit is there from the start: one of many places only if its resource is the account itself."""
        return not entry.spread or (bool(entry.resource) and self._is(entry.resource))

    def _is(self, pattern: str) -> bool:
        return self.identity is not None and fnmatchcase(self.identity.account_id, pattern)

    def _place_key(self, entry: LimitEntry, place: str, name: str) -> str:
        """A resource in the path is the same whoever asks; an endpoint, or a channel, is one of the account's."""
        if entry.scope == "resource" and not entry.parameter:
            return f"{self.platform}|{_host(self.base_url)}|account:{place}|{entry.name}"
        return self._key(entry.scope, name)

    def _key(self, scope: str, limit: str) -> str:
        who = f"credential:{self.credential}"
        if scope != "credential":
            known = self.identity
            who = f"account:{stand_in(self.credential) if known is None else known.account_id}"
        return f"{self.platform}|{_host(self.base_url)}|{who}|{limit}"


class Destination:
    """One kind of object of one account."""

    def __init__(self, owner: Account, object_type: str) -> None:
        self.account = owner
        self.object_type = object_type

    def __str__(self) -> str:
        return f"{self.account.name}:{self.object_type}"

    def __repr__(self) -> str:
        return f"<Destination {self} at {self.account.base_url}>"

    def connector(self, mode: str, key: str) -> Connector:
        """How records travel there, by the platform's usual mode if none is named.

        Raises UsageError for what the platform does not offer.
        """
        api = self.account.api
        if not self.account.base_url:
            raise UsageError(_NO_ADDRESS.get(self.account.platform, "name the platform's address with --base-url"))
        if self.account.platform == "ga4" and not self.account.query:
            raise UsageError("events need a data stream: set GA4_MEASUREMENT_ID (G-…) and GA4_API_SECRET")
        return api.connector(self.object_type, mode or api.mode, key)


def _base_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise UsageError(f"base URL {url!r}: write http://host[:port] or https://host[:port]")
    if parts.username or parts.password:
        raise UsageError("base URL: keep credentials out of it")
    return url.rstrip("/")


def _host(base_url: str) -> str:
    """What of a base URL belongs to the identity: host, port and path."""
    parts = urlsplit(base_url)
    return f"{parts.netloc.lower()}{parts.path}"
