"""One session of work on a run: lock, recover, load, send, balance the books, report."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from time import perf_counter

from headway import redact
from headway.accounts.link import OpenAccount
from headway.engine.engine import Engine
from headway.engine.model import Ended, Ending, Settings, Tally
from headway.errors import HeadwayError, PermitTimeout, RunLocked
from headway.events import Event, LoadFinished, Note, RunFinished, RunStarted
from headway.limits.limits import Bucket, Limit, Window
from headway.platforms.connector import Connector, Delivery
from headway.runs.loading import Converted, load
from headway.runs.options import Options
from headway.runs.pace import remember_latency, remember_pace
from headway.runs.report import Report, outcome, report
from headway.stores.interface import RunLock, Store
from headway.stores.model import Claim, DeadFilter, Ledger

__all__ = ["Session", "calls_per_second"]

_BEAT = 5.0
_JUDGED_AFTER = 200


def calls_per_second(limits: tuple[Limit, ...], names: frozenset[str]) -> float:
    """What the windows among these limits allow; infinite without one."""
    rates = [limit.amount / limit.per for limit in limits if isinstance(limit, Window) and limit.name in names]
    rates += [limit.rate for limit in limits if isinstance(limit, Bucket) and limit.name in names]
    return min(rates, default=math.inf)


class Session:
    """Works on one run until it is done or stopped. `stopped` tells whether to stop; `hook` is given the engine."""

    def __init__(
        self,
        store: Store,
        run: str,
        connector: Connector,
        options: Options,
        *,
        tell: Callable[[Event], None],
        stopped: Callable[[], bool],
        hook: Callable[[Engine], None],
        began: float,
        code: Callable[[], int] = lambda: 130,
    ) -> None:
        self._store = store
        self._run = run
        self._connector = connector
        self._options = options
        self._tell = tell
        self._stopped = stopped
        self._hook = hook
        self._began = began
        self._code = code
        self._before = 0
        self._lost: RunLocked | None = None
        self.tally = Tally()

    async def work(self, link: OpenAccount, batches: AsyncGenerator[Converted, None] | None) -> Report:
        """Load what is left of the source (None: it is in the store), then send; the run's lock is held meanwhile.

        Raises RunLocked, SourceError, MappingError, LedgerError.
        """
        store, run = self._store, self._run
        lock = store.lock_run(run)
        beating = asyncio.ensure_future(self._beat(lock, asyncio.current_task()))
        try:
            return await self._locked(link, batches)
        except HeadwayError as error:
            if not isinstance(error, RunLocked):
                store.set_state(run, "failed", redact.text(error))
                self._tell(RunFinished(run, "failed", redact.text(error)))
            raise
        except asyncio.CancelledError:
            if self._lost is not None:
                raise self._lost from None
            store.set_state(run, "interrupted", "left at once")
            raise
        finally:
            beating.cancel()
            with suppress(asyncio.CancelledError):
                await beating
            lock.release()

    async def _locked(self, link: OpenAccount, batches: AsyncGenerator[Converted, None] | None) -> Report:
        store, run = self._store, self._run
        before = store.run(run)
        resumed = before.position is not None or before.state != "loading"
        config = before.config
        self._before = 0 if before.state == "paused" else before.ledger.delivered
        self._tell(RunStarted(run, config.source, config.destination, resumed))
        if before.loaded:
            self._recover()
        else:
            store.set_state(run, "loading")
            if not await self._load(batches, before.ledger.read):
                return self._report(Ended(Ending.INTERRUPTED, "stopped while the source was read"), link)
            guarded = self._guard()
            if guarded is not None:
                return self._report(guarded, link)
        store.set_state(run, "running")
        try:
            if self._delivery().jobs:
                await link.usage()
            found = await self._validated(link) if self._options.validate and not before.loaded else None
        except PermitTimeout as error:
            found = Ended(Ending.QUOTA, redact.text(error))
        return self._report(found or await self._send(link, config.priority), link)

    async def _validated(self, link: OpenAccount) -> Ended | None:
        """Let the platform check a sample; why nothing should be sent, if it finds fault with any of it."""
        claims: list[Claim] = []
        while len(claims) < self._options.validate:
            claim = self._store.claim(self._run, 1)
            if claim is None:
                break
            claims.append(claim)
        for claim in claims:
            self._store.unclaim(self._run, claim)
        wrong = 0
        for claim in claims:
            call = self._connector.validation(claim.records)
            assert call is not None
            reply = await link.ask(call, "validation")
            messages = self._connector.validated(claim.records, reply)
            wrong += bool(messages)
            for message in messages:
                self._tell(Note(redact.text(message)))
        if not wrong:
            self._tell(Note(f"the platform finds no fault with {len(claims)} records"))
            return None
        return Ended(
            Ending.GUARD,
            f"the platform finds fault with {wrong} of {len(claims)} records; resume sends them all the same",
        )

    def _recover(self) -> None:
        found = self._store.recover(self._run, not self._delivery().repeatable, every=True)
        if found.count:
            what = "are sent again" if found.ready else "are dead letters, for sending them twice could make two"
            self._tell(Note(f"the outcome of {found.count} records was unknown when the work broke off: they {what}"))

    async def _load(self, batches: AsyncGenerator[Converted, None] | None, read: int) -> bool:
        store, run = self._store, self._run
        if batches is not None and not await load(
            store, run, batches, duplicates=self._options.duplicates, read=read, tally=self.tally,
            stopped=self._stopped, tell=self._tell,
        ):  # fmt: skip
            return False
        began = perf_counter()
        counts = store.finish_load(run)
        self.tally.spent("load", perf_counter() - began)
        self._tell(LoadFinished(run, counts.read, counts.ready, counts.dead, counts.skipped))
        return not self._stopped()

    def _guard(self) -> Ended | None:
        """Too many rows that cannot be sent: nothing is, until somebody has looked."""
        books = self._store.ledger(self._run)
        if books.read < _JUDGED_AFTER or books.dead <= self._options.max_dead * books.read:
            return None
        letter = next(iter(self._store.dead(DeadFilter(run=self._run))))
        return Ended(
            Ending.GUARD,
            f"{books.dead} of {books.read} rows cannot be sent, more than {self._options.max_dead:.0%}; the first: "
            f"{letter.message}",
        )

    async def _send(self, link: OpenAccount, priority: str) -> Ended:
        account, options = link.account, self._options
        delivery = self._delivery()
        names = link.limits_for(delivery.call(()))
        engine = Engine(
            self._store, self._run, delivery, link,
            settings=Settings(
                priority=priority, max_dead=options.max_dead, wait_for_quota=options.wait_for_quota,
                rate=options.rate, timeout=account.timeout, delivered_before=self._before,
            ),
            rate=calls_per_second(account.limits, names), observer=self._tell,
        )  # fmt: skip
        engine.tally = self.tally
        self._hook(engine)
        if self._stopped():
            engine.stop()
        try:
            return await engine.run()
        finally:
            remember_pace(self._store, link, self._connector, delivery, self.tally)
            if engine.trip is not None:
                remember_latency(self._store, link, self._connector, engine.trip)

    def _delivery(self) -> Delivery:
        """How the run's records travel: decided once, for all sessions that work on it."""
        store, run = self._store, self._run
        kept = store.cache_get("way", run, math.inf)
        if kept is not None:
            return self._connector.delivery(0, kept.decode())
        found = self._connector.delivery(store.ledger(run).pending, self._options.via)
        if found.via:
            store.cache_put("way", run, found.via.encode())
        return found

    def _report(self, ended: Ended, link: OpenAccount) -> Report:
        store, run, tally = self._store, self._run, self.tally
        tally.requests = link.requests
        tally.rate_limited += link.rate_limited
        store.count(run, requests=tally.requests, rate_limited=tally.rate_limited, retries=tally.retries)
        books: Ledger = store.audit(run)
        loaded = store.run(run).loaded
        state, code = outcome(ended, books) if loaded else ("interrupted", 130)
        reason = ended.reason if state in {"paused", "failed", "interrupted"} else ""
        if state == "interrupted":
            code = self._code()
        store.set_state(run, state, reason)
        self._tell(RunFinished(run, state, reason))
        return report(run, state, code, books, tally, ended, perf_counter() - self._began)

    async def _beat(self, lock: RunLock, work: asyncio.Task[Report] | None) -> None:
        """Hold the lock; if another process took the run over, leave it to that one at once."""
        while True:
            await asyncio.sleep(_BEAT)
            try:
                lock.heartbeat()
            except RunLocked as error:
                self._lost = error
                assert work is not None
                work.cancel()
                return
