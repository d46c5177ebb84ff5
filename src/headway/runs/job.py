"""What all runs have in common: how they are started and stopped, and what they open on the way."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter

from headway import redact, sources
from headway.accounts.account import Account, Destination
from headway.accounts.config import parse_destination
from headway.accounts.identity import is_stand_in, stand_in
from headway.accounts.link import OpenAccount
from headway.accounts.making import account
from headway.engine.model import Ended, Ending, Tally
from headway.errors import MappingError, PermitTimeout, UsageError
from headway.events import Note, Observer, RunFinished
from headway.limits.status import LimitStatus
from headway.platforms.connector import Connector
from headway.runs.driving import Driver
from headway.runs.loading import Converted
from headway.runs.options import Options
from headway.runs.report import Report, report
from headway.runs.rows import Rows
from headway.runs.schemas import SchemaCheck
from headway.runs.session import Session
from headway.sources.corrected import corrected
from headway.sources.model import Source
from headway.sources.nearest import did_you_mean
from headway.sqlite.opening import Durability
from headway.stores.interface import Store

__all__ = ["DEFAULT_STORE", "Job", "SourceSpec", "identity_of", "refuse_other_account"]

DEFAULT_STORE = ".headway/records.db"

SourceSpec = str | os.PathLike[str] | Iterable[object]


class Job(ABC):
    """One run, about to be worked on. `Sync` makes it from a source, `resume` and `replay_dead` from the store."""

    def __init__(
        self,
        options: Options | None,
        destination: str | Destination,
        *,
        store: str | os.PathLike[str] | None,
        state: str | os.PathLike[str] | None,
        durability: Durability,
        observer: Observer | None,
    ) -> None:
        self._given = options
        self._destination = destination
        self._store_url = os.fspath(store) if store is not None else DEFAULT_STORE
        self._state = None if state is None else os.fspath(state)
        self._durability: Durability = durability
        self._driver = Driver(observer)
        self._run = ""
        self._account: Account | None = None

    @property
    def _options(self) -> Options:
        assert self._given is not None
        return self._given

    @property
    def run(self) -> str:
        """The id of the run; '' before it began."""
        return self._run

    def limits(self) -> tuple[LimitStatus, ...]:
        """How the account's limits stand now; empty before it is open. From any thread."""
        return () if self._account is None else self._account.limiter.snapshot()

    def start(self) -> Report:
        """Load, then send, until it is done, stopped or paused."""
        return self._driver.run(self.astart)

    async def astart(self) -> Report:
        """`start`, within an event loop."""
        return await self._driver.drive(self._work)

    def stop(self, exit_code: int = 130) -> None:
        """Take no more permits and finish what is in flight; `start` then returns its report. From any thread."""
        self._driver.stop(exit_code)

    def abort(self) -> None:
        """Leave at once: `start` raises KeyboardInterrupt, `astart` is cancelled; the store stays intact."""
        self._driver.abort()

    @abstractmethod
    async def _work(self) -> Report:
        """One session of work."""

    # -- what runs open

    def _open_source(self, spec: SourceSpec) -> Source:
        options = self._options
        source = sources.open(
            spec, encoding=options.encoding, delimiter=options.delimiter, query=options.query, spool=self._spool(),
        )  # fmt: skip
        return corrected(source)

    def _spool(self) -> Path:
        """Where standard input is kept until it is in the store."""
        scheme, separator, path = self._store_url.partition(":///")
        if separator and scheme != "sqlite":
            return Path(DEFAULT_STORE).parent / "spool"
        return Path(path or self._store_url).parent / "spool"

    def _unspool(self, reopen: str) -> None:
        """Remove a copy of standard input that is no longer needed."""
        copy = Path(reopen)
        if reopen and copy.name.startswith("spool-") and copy.parent == self._spool().absolute():
            copy.unlink(missing_ok=True)

    def _connector(self, destination: Destination) -> Connector:
        options = self._options
        connector = destination.connector(options.mode, options.key)
        if connector.keyed and not options.key.strip():
            raise UsageError("--key: name the destination's property that identifies a record, for example email")
        connector.delivery(0, options.via)
        if options.validate and connector.validation(()) is None:
            raise UsageError(f"--validate: {destination.account.profile.title} has nothing to validate records with")
        return connector

    def _mapping(self, source: Source) -> sources.Mapping:
        mapping = sources.Mapping.parse(self._options.map, source.columns)
        key = self._options.key
        if key and key not in mapping.columns:
            mapping.close()
            where = "the map gives" if self._options.map else f"{source.describe} has"
            raise MappingError(f"--key {key}: {where} no column of that name{did_you_mean(key, mapping.columns)}")
        return mapping

    def _open_destination(self, stack: AsyncExitStack) -> Destination:
        if isinstance(self._destination, Destination):
            self._account = self._destination.account
            return self._destination
        options = self._options
        address = parse_destination(self._destination)
        owner = account(
            address.platform, name=address.account, tier=options.tier, seats=options.seats, share=options.share,
            reserve=options.reserve, base_url=options.base_url, state=self._state,
        )  # fmt: skip
        stack.callback(owner.close)
        self._account = owner
        return owner[address.object_type]

    def _link(self, destination: Destination) -> OpenAccount:
        """The destination's account, to be entered: then it is known whose it is."""
        return OpenAccount(destination.account, observer=self._driver.tell, wait_for_quota=self._options.wait_for_quota)

    def _unchecked(self, connector: Connector, mapping: sources.Mapping) -> Rows:
        """What turns the source's rows into records without having seen the destination's schema."""
        return Rows(
            mapping, self._options.key, connector.normalise_key, clear_blanks=self._options.blank == "clear",
            key_travels=connector.key_travels, group=connector.group,
        )  # fmt: skip

    async def _rows(
        self, link: OpenAccount, store: Store, connector: Connector, mapping: sources.Mapping
    ) -> tuple[Rows, SchemaCheck | None]:
        """Check columns and key against the schema; what turns the source's rows into records."""
        rows = self._unchecked(connector, mapping)
        known = connector.known_schema()
        if known is not None:
            known.check_columns(mapping.columns, connector.key, connector.mode)
            rows.checker = known.row_checker(mapping.columns)
        if known is not None or not self._options.check:
            rows.shaper = connector.shaper(known)
            return rows, None
        schema = SchemaCheck(link, connector, store, mapping.columns)
        await schema.columns()
        rows.checker, rows.shaper = schema.rows(), connector.shaper(schema.schema)
        return rows, schema

    # -- sessions

    def _session(self, store: Store, connector: Connector, began: float) -> Session:
        driver = self._driver
        return Session(
            store, self._run, connector, self._options, tell=driver.tell, stopped=driver.stopped, hook=driver.drives,
            began=began, code=driver.exit_code,
        )  # fmt: skip

    async def _go(self, session: Session, link: OpenAccount, batches: AsyncGenerator[Converted, None] | None) -> Report:
        """Work on the run: from now on a stop is orderly, until here it just breaks off."""
        self._driver.begun()
        return await session.work(link, batches)

    def _paused(self, store: Store, link: OpenAccount, error: PermitTimeout, began: float) -> Report:
        """The limits leave no call even for the schema: the run waits in the store."""
        reason = redact.text(error)
        until = None if error.earliest is None else datetime.now(UTC) + timedelta(seconds=error.earliest)
        tally = Tally(requests=link.requests, rate_limited=link.rate_limited)
        store.count(self._run, requests=tally.requests, rate_limited=tally.rate_limited)
        store.set_state(self._run, "paused", reason)
        self._driver.tell(RunFinished(self._run, "paused", reason))
        ended = Ended(Ending.QUOTA, reason, until)
        return report(self._run, "paused", 5, store.ledger(self._run), tally, ended, perf_counter() - began)

    def _note(self, text: str) -> None:
        self._driver.tell(Note(text))


def identity_of(owner: Account) -> dict[str, object]:
    """The platform's own id of the account, as it is kept with a run; never what stands in for it."""
    return {} if owner.identity is None else {"identity": owner.identity.account_id}


def refuse_other_account(run: str, kept: Mapping[str, object], owner: Account) -> None:
    """Raise UsageError if a run's records belong to another account than the credentials are of."""
    wanted = kept.get("identity")
    if wanted is None or owner.identity is None:
        return
    if wanted not in {owner.identity.account_id, stand_in(owner.credential)}:  # earlier versions kept stand-ins
        whose = "the account of another token" if is_stand_in(str(wanted)) else f"account {wanted}"
        raise UsageError(
            f"run {run} sends to {whose} of {owner.profile.title}, but these credentials are those of account "
            f"{owner.identity.account_id}: use the credentials it began with, or start a new run"
        )
