"""Sync: a source into a destination, every record delivered or accounted for.

    run = headway.Sync("contacts.csv", "hubspot:contacts", key="email")
    print(run.plan())
    report = run.start()

Order of things: source, map and key are looked at first, then credentials, identity and schema; only then does a run
begin. What is wrong with any of them ends it with nothing sent and nothing kept.
"""

from __future__ import annotations

import os
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from time import perf_counter
from typing import Literal

from headway import redact
from headway.accounts.account import Destination
from headway.errors import PermitTimeout, UsageError
from headway.events import Observer
from headway.runs.job import Job, SourceSpec, identity_of
from headway.runs.loading import converted
from headway.runs.options import Options
from headway.runs.pace import latency_of, pace_of
from headway.runs.planning import Circumstances, measure, predicted, standing
from headway.runs.report import Plan, Report
from headway.sources.model import Source
from headway.sqlite.opening import Durability
from headway.stores.model import Duplicates, RunConfig
from headway.stores.opening import open_store

__all__ = ["Sync"]


class Sync(Job):
    """A run from a source to a destination.

    `source`: a path, "-", a database's URL with `query`, or an iterable of dicts; `destination`: text like
    "hubspot:contacts", or `account["contacts"]`; `key`: the destination's property that identifies a record.
    `mode`: what the platform offers (upsert, insert, update, archive, delete); `map`: columns to properties, as SQL
    expressions; `blank`: "keep" leaves blank cells out, "clear" sends them; `duplicates`: which of several rows with
    one key travels; `limit`: rows to read; `max_dead`: share of dead records that pauses the run; `wait_for_quota`:
    seconds to wait for a quota's reset; `check`: whether to read the destination's schema first; `store`: path or URL
    of the records; `state`: of the limits (default: per user). `observer` is told what happens.

    Its methods raise UsageError, MappingError, SourceError, CredentialsError, RunLocked; see errors.py.
    """

    def __init__(
        self,
        source: SourceSpec,
        destination: str | Destination,
        *,
        key: str = "",
        mode: str = "",
        map: str | None = None,  # noqa: A002  # the name of the command's option
        blank: Literal["keep", "clear"] = "keep",
        duplicates: Duplicates = "last",
        encoding: str | None = None,
        delimiter: str | None = None,
        query: str | None = None,
        limit: int | None = None,
        max_dead: float = 0.2,
        wait_for_quota: float = 0.0,
        check: bool = True,
        store: str | os.PathLike[str] | None = None,
        state: str | os.PathLike[str] | None = None,
        base_url: str | None = None,
        tier: str | None = None,
        seats: int | None = None,
        share: float | None = None,
        via: str | None = None,
        validate: int = 0,
        durability: Durability = "normal",
        observer: Observer | None = None,
    ) -> None:
        options = Options(
            key, mode, map, blank, duplicates, encoding, delimiter, query, limit, max_dead, wait_for_quota, check,
            base_url=base_url, tier=tier, seats=seats, share=share, via=via, validate=validate,
        )  # fmt: skip
        whose = base_url or tier or seats or share is not None or state is not None
        if isinstance(destination, Destination) and whose:
            raise UsageError("base_url, tier, seats, share, state belong to the account: give them to headway.account")
        super().__init__(options, destination, store=store, state=state, durability=durability, observer=observer)
        self._source = source

    def plan(self) -> Plan:
        """What `start` would do; writes nothing to the platform."""
        return self._driver.run(self.aplan)

    async def aplan(self) -> Plan:
        """`plan`, within an event loop."""
        options = self._options
        async with AsyncExitStack() as stack:
            source = self._open_source(self._source)
            stack.callback(self._unspool, source.reopen)
            mapping = stack.enter_context(self._mapping(source))
            destination = self._open_destination(stack)
            connector = self._connector(destination)
            store = open_store(self._store_url, self._durability)
            stack.callback(store.close)
            link = self._link(destination)
            notes = source.notes
            try:
                await stack.enter_async_context(link)
                rows, schema = await self._rows(link, store, connector, mapping)
                await link.usage()
            except PermitTimeout as error:  # no call is left to ask with
                rows, schema = self._unchecked(connector, mapping), None
                rows.shaper = connector.shaper(None)
                notes += (f"{redact.text(error)}; rows and columns were not checked",)
            measured = await measure(converted(source, rows, limit=options.limit, schema=schema), options.duplicates)
            delivery = connector.delivery(measured.records, options.via)
            pace = pace_of(store, link, connector, delivery)
            owner = destination.account
            if delivery.jobs and pace is None:
                notes += (f"how fast {owner.profile.title} works jobs off was never seen yet: the time is a guess",)
            names = link.limits_for(delivery.call(()))
            share, reserve = owner.config.share, owner.config.reserve
            how = Circumstances(
                time.time(), latency_of(store, link, connector) or link.seconds, share, reserve, owner.pacing,
                pace=pace, extra=(link.extra if delivery.jobs else 0) + options.validate,
                wait_for_quota=options.wait_for_quota, max_dead=options.max_dead, notes=notes,
            )  # fmt: skip
            now = standing(owner.limits, await link.look(names), share=share, reserve=reserve)
            return predicted(measured, delivery, now, names, how)

    async def _work(self) -> Report:
        began = perf_counter()
        options = self._options
        async with AsyncExitStack() as stack:
            source = self._open_source(self._source)
            stack.callback(self._unspool_without_run, source.reopen)
            mapping = stack.enter_context(self._mapping(source))
            destination = self._open_destination(stack)
            connector = self._connector(destination)
            for note in source.notes:
                self._note(note)
            store = open_store(self._store_url, self._durability)
            stack.callback(store.close)
            link = self._link(destination)
            try:
                await stack.enter_async_context(link)
                rows, schema = await self._rows(link, store, connector, mapping)
            except PermitTimeout as error:
                self._run = store.create_run(self._config(source, destination))
                return self._paused(store, link, error, began)
            self._run = store.create_run(self._config(source, destination))
            session = self._session(store, connector, began)
            batches = converted(source, rows, limit=options.limit, schema=schema, spent=session.tally.spent)
            done = await self._go(session, link, batches)
            if store.run(self._run).loaded:
                self._unspool(source.reopen)
            return done

    def _unspool_without_run(self, reopen: str) -> None:
        if not self._run:
            self._unspool(reopen)

    def _config(self, source: Source, destination: Destination) -> RunConfig:
        name = self._destination if isinstance(self._destination, str) else str(destination)
        options, owner = self._options.reading(source.columns), destination.account
        if not isinstance(self._destination, str):
            # Whoever resumes by name must come to the same address under the same limits.
            config = owner.config
            options = replace(
                options, base_url=config.base_url, tier=config.tier or None, share=config.share, reserve=config.reserve
            )
        return RunConfig(
            source=source.describe, destination=name, options=options.kept() | identity_of(owner), account=owner.name,
            fingerprint=source.fingerprint, reopen=source.reopen,
        )  # fmt: skip
