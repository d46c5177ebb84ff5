"""Reports of an account, read under its limits and remembered: the same report within its time to live costs no call.

Rules:
* Who asks for a report that is being asked for already waits for that one.
* Five reports travel in one call where several are asked for together.
* A server's error burns a quota of its own: it is not tried again eagerly.
* What a call costs in tokens is known only from its reply: an estimate is taken before, the difference settled after.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING

from headway.accounts.link import Cache, OpenAccount
from headway.delivery.outcome import CredentialsRejected, Delivered, Outcome
from headway.delivery.records import Reply
from headway.delivery.retry import RetryPolicy
from headway.errors import CredentialsError, PlatformError, UsageError
from headway.platforms.ga4.reports import (
    BATCH,
    PAGE,
    ReportRequest,
    ReportTable,
    calls_for,
    pages_of,
)
from headway.stores.opening import open_store

if TYPE_CHECKING:
    from headway.accounts.account import Account

__all__ = ["Reporter"]

_PATIENT = RetryPolicy(base=5.0, cap=30.0, attempts=3)


class Reporter:
    """Runs reports of one property, for any number of threads and event loops."""

    def __init__(self, account: Account, store: str) -> None:
        if account.platform != "ga4" or account.identity is None or not account.identity.account_id.startswith("prop"):
            raise UsageError(
                "reports are read from Google Analytics: headway.account('ga4', property='123456789', login=…)"
            )
        self._account = account
        self._owner = account.identity.account_id
        self._store = store
        self._lock = threading.Lock()
        self._asking: dict[str, Future[None]] = {}

    def run(self, requests: Sequence[ReportRequest], ttl: float) -> list[ReportTable]:
        """The tables, in the requests' order. Blocks; not for use within an event loop."""
        return asyncio.run(self.arun(requests, ttl))

    async def arun(self, requests: Sequence[ReportRequest], ttl: float) -> list[ReportTable]:
        """The tables, in the requests' order.

        Raises CredentialsError, PlatformError, TransportError, PermitTimeout.
        """
        keys = [self._key(request) for request in requests]
        found: dict[str, ReportTable] = {}
        wanted = dict(zip(keys, requests, strict=True))
        cache = open_store(self._store, "normal")
        try:
            while missing := {key: each for key, each in wanted.items() if key not in found}:
                mine, others = self._share_out(cache, missing, ttl, found)
                try:
                    if mine:
                        found |= await self._ask(cache, mine)
                finally:
                    if ttl > 0:
                        self._done(mine)
                for waiting in others:  # without a thread each: a login needs one of the few that there are
                    await asyncio.shield(asyncio.wrap_future(waiting))
        finally:
            cache.close()
        return [found[key] for key in keys]

    def _key(self, request: ReportRequest) -> str:
        account = self._account
        text = f"{account.base_url}|{account.credential}|{request.key(self._owner)}"
        return hashlib.sha256(text.encode()).hexdigest()

    def _share_out(
        self, cache: Cache, missing: dict[str, ReportRequest], ttl: float, found: dict[str, ReportTable]
    ) -> tuple[dict[str, ReportRequest], list[Future[None]]]:
        """What is remembered, what is to be asked for here, and what others are asking for just now."""
        mine: dict[str, ReportRequest] = {}
        others: list[Future[None]] = []
        with self._lock:
            for key, request in missing.items():
                said = cache.cache_get("report", key, ttl) if ttl > 0 else None
                if said is not None:
                    with suppress(ValueError, TypeError):
                        found[key] = ReportTable.from_bytes(said)
                        continue
                asked = self._asking.get(key)
                if asked is not None and ttl > 0:
                    others.append(asked)
                else:
                    mine[key] = request
                    if ttl > 0:
                        self._asking[key] = Future()
        return mine, others

    def _done(self, mine: dict[str, ReportRequest]) -> None:
        with self._lock:
            for key in mine:
                self._asking.pop(key).set_result(None)

    async def _ask(self, cache: Cache, wanted: dict[str, ReportRequest]) -> dict[str, ReportTable]:
        found: dict[str, ReportTable] = {}
        async with OpenAccount(self._account) as link:
            keys = list(wanted)
            groups = [keys[at : at + BATCH] for at in range(0, len(keys), BATCH)]
            tables = await asyncio.gather(*(self._group(link, [wanted[key] for key in group]) for group in groups))
        for group, made in zip(groups, tables, strict=True):
            for key, table in zip(group, made, strict=True):
                found[key] = table
                cache.cache_put("report", key, table.to_bytes())
        return found

    async def _group(self, link: OpenAccount, requests: Sequence[ReportRequest]) -> list[ReportTable]:
        """Up to five reports: their first pages together, then what is left of each."""
        tables = await self._pages(link, [request.body(0, min(PAGE, request.limit or PAGE)) for request in requests])
        whole: list[ReportTable] = []
        for request, table in zip(requests, tables, strict=True):
            rows = list(table.rows)
            most = min(table.row_count, request.limit or table.row_count)
            while len(rows) < most:
                page = (await self._pages(link, [request.body(len(rows), min(PAGE, most - len(rows)))]))[0]
                if not page.rows:
                    break
                rows += page.rows
            whole.append(ReportTable(table.columns, tuple(rows), table.row_count))
        return whole

    async def _pages(self, link: OpenAccount, pages: Sequence[dict[str, object]]) -> list[ReportTable]:
        reply = await link.ask(calls_for(self._owner, pages), "report", policy=_PATIENT)
        _refuse(reply, self._account.api.meaning(reply))
        return pages_of(reply, len(pages))


def _refuse(reply: Reply, meaning: Outcome) -> None:
    if isinstance(meaning, Delivered):
        return
    words = f"{meaning.code}: {meaning.message}" if meaning.message else meaning.code
    if isinstance(meaning, CredentialsRejected):
        raise CredentialsError(f"Google Analytics does not let these credentials read the property: {words}")
    if reply.status == 400:
        raise UsageError(f"Google Analytics refuses the report: {words}")
    raise PlatformError(f"Google Analytics did not answer the report (HTTP {reply.status}: {words})")
