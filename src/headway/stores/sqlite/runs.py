"""Runs: what they are to do, how they stand, their books, and who works on them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from headway.errors import LedgerError, RunLocked, UsageError
from headway.sqlite.opening import immediate
from headway.sqlite.trouble import translated
from headway.stores.model import Ledger, Run, RunConfig, RunState
from headway.stores.sqlite.database import Database, queries

__all__ = ["Runs", "SqliteRunLock"]

_Q = queries("runs")

_SILENCE = 60.0  # seconds without a heartbeat after which a lock of another machine is void


class Runs(Database):
    """The table of runs."""

    def create_run(self, config: RunConfig) -> str:
        """Begin a run; its id sorts by time (`20261123-191205`, UTC)."""
        with immediate(self._conn):
            return self._insert_run(config)

    def _insert_run(self, config: RunConfig) -> str:
        now = self._clock()
        values = {
            "kind": config.kind,
            "source": config.source,
            "destination": config.destination,
            "account": config.account,
            "priority": config.priority,
            "options": json.dumps(dict(config.options), ensure_ascii=False),
            "fingerprint": config.fingerprint,
            "reopen": config.reopen,
            "now": now,
        }
        for name in _names(now):
            if self._conn.execute(_Q["create_run"], values | {"id": name}).rowcount:
                break
        return name

    def run(self, run: str) -> Run:
        """One run as it stands; raises UsageError if there is none of this id."""
        with translated(self._conn):
            self._number(run)
            return _run(self._execute(_Q["run"], run).fetchone())

    def runs(self) -> list[Run]:
        """All runs as they stand, the latest first."""
        with translated(self._conn):
            return [_run(row) for row in self._execute(_Q["runs"])]

    def latest_unfinished(self) -> str | None:
        """The id of the latest run that is neither done nor partial."""
        with translated(self._conn):
            row = self._execute(_Q["latest_unfinished"]).fetchone()
        return None if row is None else str(row[0])

    def set_state(self, run: str, state: RunState, reason: str = "") -> None:
        """Note what the run does, or why it stopped."""
        number = self._number(run)
        with immediate(self._conn):
            self._execute(_Q["set_state"], state, reason, self._clock(), number)

    def set_identity(self, run: str, account_id: str) -> None:
        """Keep with the run whose account it sends to: it began before the platform had told."""
        number = self._number(run)
        with immediate(self._conn):
            self._execute(_Q["set_identity"], account_id, self._clock(), number)

    def count(self, run: str, *, requests: int = 0, rate_limited: int = 0, retries: int = 0) -> None:
        """Add to what the run has spent, over all the processes that work on it."""
        number = self._number(run)
        with immediate(self._conn):
            self._execute(_Q["count"], requests, rate_limited, retries, number)

    def ledger(self, run: str) -> Ledger:
        """The books as every transaction kept them; takes the same time for any number of records."""
        with translated(self._conn):
            return Ledger(*self._execute(_Q["ledger"], self._number(run)).fetchone())

    def audit(self, run: str) -> Ledger:
        """The books counted anew from the records (0.1 s for a million); raises LedgerError if they differ."""
        number = self._number(run)
        with translated(self._conn):
            self._execute("BEGIN")
            try:
                kept = Ledger(*self._execute(_Q["ledger"], number).fetchone())
                counted = Ledger(*self._conn.execute(_Q["audit"], {"run": number}).fetchone())
            finally:
                self._execute("ROLLBACK")
        if kept != counted or not counted.balanced:
            raise LedgerError(
                f"the books of run {run} in {self.path} do not balance: kept {kept}, counted {counted}. This is an "
                "error of Headway: please report it with this line"
            )
        return counted

    def lock_run(self, run: str) -> SqliteRunLock:
        """Work on a run alone; raises RunLocked while a live process does, also this one and through this store.

        A dead process of this machine is recognised at once, one of another machine after a minute's silence.
        """
        number = self._number(run)
        with immediate(self._conn):
            row = self._execute(_Q["lock_holder"], number).fetchone()
            now = self._clock()
            if row is not None:
                pid, start, host, holder, since, beat = row
                silent = host != self._host and now - beat > _SILENCE
                if not silent and not self._void(pid, start, host, holder):
                    raise RunLocked(_locked(run, pid, host, since))
            self._execute(_Q["take_lock"], number, *self._me, self._host, self._holder, now, now)
        return SqliteRunLock(self, run, number)


class SqliteRunLock:
    """A run that this store alone works on, until `release`."""

    def __init__(self, runs: Runs, run: str, number: int) -> None:
        self._runs = runs
        self._run = run
        self._number = number

    def heartbeat(self) -> None:
        """Say that the work goes on, every few seconds; raises RunLocked if another process has taken over."""
        runs = self._runs
        with immediate(runs._conn):
            kept = runs._execute(_Q["beat_lock"], runs._clock(), self._number, runs._holder).rowcount
        if not kept:
            raise RunLocked(f"run {self._run} was taken over by another process: this one was silent for too long")

    def release(self) -> None:
        """Leave the run to others. Idempotent."""
        with immediate(self._runs._conn):
            self._runs._execute(_Q["release_lock"], self._number, self._runs._holder)


def _names(now: float) -> Iterator[str]:
    stem = datetime.fromtimestamp(now, UTC).strftime("%Y%m%d-%H%M%S")
    yield stem
    for number in range(2, 10_000):
        yield f"{stem}-{number}"
    raise UsageError("ten thousand runs began in one second: wait for the next")


def _run(row: tuple[Any, ...]) -> Run:
    (id_, kind, source, destination, account, priority, options, fingerprint, reopen, state, reason, created) = row[:12]
    changed, loaded, position = row[12:15]
    return Run(
        id=id_,
        config=RunConfig(
            source=source,
            destination=destination,
            options=json.loads(options),
            kind=kind,
            priority=priority,
            account=account,
            fingerprint=fingerprint,
            reopen=reopen,
        ),
        state=state,
        reason=reason,
        created=created,
        changed=changed,
        loaded=bool(loaded),
        position=position,
        ledger=Ledger(*row[15:21]),
        requests=row[21],
        rate_limited=row[22],
        retries=row[23],
    )


def _locked(run: str, pid: int, host: str, since: float) -> str:
    start = datetime.fromtimestamp(since, UTC).astimezone().isoformat(" ", "seconds")
    return f"run {run} is being worked on by process {pid} on {host} since {start}: let it finish, or stop it first"
