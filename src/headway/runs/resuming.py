"""Going on with a run that stopped, and replaying dead letters: both begin with what is in the store."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from dataclasses import replace
from time import perf_counter

from headway import sources
from headway.accounts.account import Account, Destination
from headway.accounts.link import OpenAccount
from headway.engine.model import Ended, Ending, Tally
from headway.errors import PermitTimeout, SourceError, UsageError
from headway.events import Note, Observer
from headway.platforms.connector import Connector
from headway.runs.job import Job, SourceSpec, identity_of, refuse_other_account
from headway.runs.loading import Converted, converted
from headway.runs.options import Options
from headway.runs.report import Report, report
from headway.runs.session import Session
from headway.sqlite.opening import Durability
from headway.stores.interface import Store
from headway.stores.model import DeadFilter, Ledger, Run, RunConfig
from headway.stores.opening import open_store

__all__ = ["Replay", "Resumption", "replay_dead", "resume"]


class Resumption(Job):
    """A run that goes on where it stopped: what was not read is read, what was not sent is sent. Made by `resume`."""

    def __init__(
        self,
        name: str | None,
        source: SourceSpec | None,
        destination: Destination | None,
        changes: dict[str, object],
        *,
        store: str | os.PathLike[str] | None,
        state: str | os.PathLike[str] | None,
        durability: Durability,
        observer: Observer | None,
    ) -> None:
        super().__init__(None, destination or "", store=store, state=state, durability=durability, observer=observer)
        self._name = name
        self._source = source
        self._changes = changes

    async def _work(self) -> Report:
        began = perf_counter()
        async with AsyncExitStack() as stack:
            store = open_store(self._store_url, self._durability, create=False)
            stack.callback(store.close)
            run = self._find(store)
            self._run = run.id
            self._given = Options.of(run.config.options, **self._changes)
            self._destination = self._destination or run.config.destination
            destination = self._open_destination(stack)
            connector = self._connector(destination)
            session = self._session(store, connector, began)
            link = self._link(destination)
            try:
                await stack.enter_async_context(link)
                self._same_account(store, run, destination.account)
                batches = None if run.loaded else await self._rest(stack, store, run, link, connector, session)
            except PermitTimeout as error:
                return self._paused(store, link, error, began)
            done = await self._go(session, link, batches)
            if store.run(run.id).loaded:
                self._unspool(run.config.reopen)
            return done

    def _find(self, store: Store) -> Run:
        name = self._name or store.latest_unfinished()
        if name is None:
            raise UsageError(f"{self._store_url}: no run is unfinished: there is nothing to resume")
        run = store.run(name)
        if run.loaded and run.ledger.pending == 0:
            raise UsageError(f"run {name} is {run.state}: there is nothing to resume")
        return run

    @staticmethod
    def _same_account(store: Store, run: Run, owner: Account) -> None:
        """Refuse other credentials; keep the identity with a run that began before the platform had told."""
        kept = run.config.options
        refuse_other_account(run.id, kept, owner)
        if owner.identity is not None and kept.get("identity") != owner.identity.account_id:
            store.set_identity(run.id, owner.identity.account_id)

    async def _rest(
        self, stack: AsyncExitStack, store: Store, run: Run, link: OpenAccount, connector: Connector, session: Session
    ) -> AsyncGenerator[Converted, None]:
        """What of the source is not in the store yet; raises SourceError if it is not the same any more."""
        spec = self._source if self._source is not None else run.config.reopen
        if isinstance(spec, str) and not spec:
            raise SourceError(f"the source of run {run.id} cannot be read again: start a new run with headway sync")
        source = self._open_source(spec)
        sources.refuse_changed(source, run.config.fingerprint)
        mapping = stack.enter_context(self._mapping(source))
        rows, schema = await self._rows(link, store, connector, mapping)
        limit = self._options.limit
        return converted(
            source, rows, position=run.position, limit=None if limit is None else limit - run.ledger.read,
            schema=schema, spent=session.tally.spent,
        )  # fmt: skip


def resume(
    run: str | None = None,
    *,
    source: SourceSpec | None = None,
    destination: Destination | None = None,
    store: str | os.PathLike[str] | None = None,
    state: str | os.PathLike[str] | None = None,
    base_url: str | None = None,
    tier: str | None = None,
    seats: int | None = None,
    share: float | None = None,
    max_dead: float | None = None,
    wait_for_quota: float | None = None,
    durability: Durability = "normal",
    observer: Observer | None = None,
) -> Resumption:
    """Go on with a run (the latest unfinished one by default): `resume().start()`.

    What is None stays as it was when the run began. `source`: rows that only the caller can give again (an iterable);
    `destination`: `account["contacts"]`, where the account is known to the caller only.
    """
    changes: dict[str, object] = {
        "base_url": base_url, "tier": tier, "seats": seats, "share": share, "max_dead": max_dead,
        "wait_for_quota": wait_for_quota,
    }  # fmt: skip
    return Resumption(
        run, source, destination, changes, store=store, state=state, durability=durability, observer=observer
    )


class Replay(Job):
    """Dead letters on their way again, in a run of their own. Made by `replay_dead`."""

    def __init__(
        self,
        which: DeadFilter,
        destination: Destination | None,
        changes: dict[str, object],
        *,
        store: str | os.PathLike[str] | None,
        state: str | os.PathLike[str] | None,
        durability: Durability,
        observer: Observer | None,
    ) -> None:
        super().__init__(None, destination or "", store=store, state=state, durability=durability, observer=observer)
        self._which = which
        self._changes = changes

    async def _work(self) -> Report:
        began = perf_counter()
        async with AsyncExitStack() as stack:
            store = open_store(self._store_url, self._durability, create=False)
            stack.callback(store.close)
            config = self._config(store)
            if config is None:
                ended = Ended(Ending.FINISHED)
                return report("", "done", 0, Ledger(), Tally(), ended, perf_counter() - began)
            self._given = Options.of(config.options)
            self._destination = self._destination or config.destination
            destination = self._open_destination(stack)
            connector = self._connector(destination)
            link = await stack.enter_async_context(self._link(destination))
            refuse_other_account("of the dead letters", config.options, destination.account)
            config = replace(config, options={**config.options, **identity_of(destination.account)})
            taken = store.replay(config, self._which)
            if taken.left:
                self._driver.tell(
                    Note(f"{taken.left} dead letters were left: correct their rows (dead export) and sync them")
                )
            if not taken.run:
                return report("", "done", 0, Ledger(), Tally(), Ended(Ending.FINISHED), perf_counter() - began)
            self._run = taken.run
            return await self._go(self._session(store, connector, began), link, None)

    def _config(self, store: Store) -> RunConfig | None:
        """What the replay is to do: what the letters' own runs did; None if there is no letter."""
        runs = [store.run(run) for run in sorted({run for run, _ in store.dead_counts(self._which)})]
        ways = {(run.config.destination, *(run.config.options.get(name) for name in ("key", "mode"))) for run in runs}
        if len(ways) > 1:
            names = ", ".join(run.id for run in runs)
            raise UsageError(f"the dead letters are of runs to different destinations or keys: name one ({names})")
        if not runs:
            return None
        latest = runs[-1].config
        options = Options.of(latest.options, **self._changes)
        kept = {"identity": latest.options["identity"]} if "identity" in latest.options else {}
        return RunConfig(
            source=f"dead letters of {', '.join(run.id for run in runs)}", destination=latest.destination,
            options=options.kept() | kept, kind="replay", priority="replay", account=latest.account,
        )  # fmt: skip


def replay_dead(
    which: DeadFilter | None = None,
    *,
    rate: float | None = None,
    destination: Destination | None = None,
    store: str | os.PathLike[str] | None = None,
    state: str | os.PathLike[str] | None = None,
    base_url: str | None = None,
    tier: str | None = None,
    seats: int | None = None,
    share: float | None = None,
    max_dead: float | None = None,
    wait_for_quota: float | None = None,
    durability: Durability = "normal",
    observer: Observer | None = None,
) -> Replay:
    """Send dead letters again, at the lowest priority: `replay_dead(DeadFilter(code="CONFLICT"), rate=50).start()`.

    `rate`: records per second at most. Letters that never had a payload are left. What is None stays as it was in the
    letters' own run.
    """
    changes: dict[str, object] = {
        "base_url": base_url, "tier": tier, "seats": seats, "share": share, "max_dead": max_dead,
        "wait_for_quota": wait_for_quota,
        "rate": rate,
    }  # fmt: skip
    return Replay(
        which or DeadFilter(), destination, changes, store=store, state=state, durability=durability, observer=observer
    )
