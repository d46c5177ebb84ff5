"""Deliveries of several calls, and what destinations said of themselves.

Rules:
* An open job survives the process that began it: its records stay leased until somebody has taken the job and settled
  them. Their attempt is one, however many processes worked on it.
* Taking a job gives it a new token, so that the process that had it before can write nothing any more.
"""

from __future__ import annotations

from typing import Literal

from headway.delivery.records import Record
from headway.errors import RunLocked, StaleClaim
from headway.sqlite.opening import immediate
from headway.sqlite.trouble import translated
from headway.stores.model import Claim, Job
from headway.stores.sqlite.database import Database, queries

__all__ = ["Cache", "Jobs"]

_Q = queries("jobs")

_DAY = 86_400.0


class Jobs(Database):
    """The table of jobs."""

    def create_job(self, run: str, claim: Claim, payload: bytes, lease: float = _DAY) -> Job:
        """Let the records of a claim travel in a job; `payload` is what its connector needs to go on.

        Raises StaleClaim if the claim is no longer held.
        """
        number = self._number(run)
        with immediate(self._conn):
            now = self._clock()
            job = self._execute(_Q["create_job"], number, claim.token, payload, now, now).lastrowid
            if not self._execute(_Q["carry"], job, now + lease, claim.token, number).rowcount:
                raise StaleClaim(f"claim {claim.token} of run {run} is no longer held, or travels in a job already")
            return Job(*self._execute(_Q["job"], job).fetchone())

    def update_job(self, job: Job, payload: bytes) -> None:
        """Note how far the job is, before its next call; raises StaleClaim if another process has taken it."""
        with immediate(self._conn):
            if not self._execute(_Q["update_job"], payload, self._clock(), job.id, job.token).rowcount:
                raise StaleClaim(f"job {job.id} of run {job.run} is finished, or another process has taken it")

    def jobs(self, run: str, state: Literal["open", "finished"] | None = None) -> list[Job]:
        """The jobs of a run, oldest first."""
        with translated(self._conn):
            self._number(run)
            return [Job(*row) for row in self._conn.execute(_Q["jobs"], {"run": run, "state": state})]

    def take_job(self, job: Job, lease: float = _DAY, owner: str = "", *, by_force: bool = False) -> Claim:
        """Go on with an open job whose process is gone, or whose lease ran out: its records that are not settled.

        `by_force` takes it from a live holder too: for who holds the run's lock. Raises RunLocked while a live process
        works on it, StaleClaim if it is finished.
        """
        with immediate(self._conn):
            now = self._clock()
            row = self._execute(_Q["job_claim"], job.id).fetchone()
            if row is None:
                raise StaleClaim(f"job {job.id} of run {job.run} is finished")
            old, number, pid, start, host, holder, lease_until, left, ids = row
            mine = holder == self._holder
            if not (by_force or mine or lease_until <= now or self._void(pid, start, host, holder)):
                raise RunLocked(f"job {job.id} of run {job.run} is being worked on by process {pid} on {host}")
            me = (*self._me, self._host, self._holder)
            claimed = (number, owner, *me, now, now + lease, job.id, left, ids)
            token = self._execute(_Q["add_taken_claim"], *claimed).lastrowid
            assert token is not None
            self._execute(_Q["drop_claim"], old)
            self._conn.execute(_Q["take_records"], {"new": token, "old": old, "ids": ids})
            self._execute(_Q["take_job"], token, now, job.id)
            rows = self._conn.execute(_Q["job_records"], {"ids": ids, "token": token})
            return Claim(token, tuple(Record(i, k, p, g, a, part, u != 0) for i, k, p, g, a, part, u in rows))


class Cache(Database):
    """What destinations said of themselves (identity, schema)."""

    def cache_get(self, kind: str, key: str, max_age: float) -> bytes | None:
        """What was put under this name within the last `max_age` seconds."""
        where = {"kind": kind, "key": key, "max_age": max_age, "now": self._clock()}
        with translated(self._conn):
            row = self._conn.execute(_Q["cache_get"], where).fetchone()
        return None if row is None else bytes(row[0])

    def cache_put(self, kind: str, key: str, value: bytes) -> None:
        """Remember it from now on."""
        with immediate(self._conn):
            self._execute(_Q["cache_put"], kind, key, value, self._clock())

    def cache_forget(self, kind: str, key: str) -> None:
        """Forget it: it proved to be wrong."""
        with immediate(self._conn):
            self._execute(_Q["cache_forget"], kind, key)
