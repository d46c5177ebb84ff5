"""What every store can do, in parts: who needs one part names that part.

Values are in `model`, rules in the modules of the SQLite store; `tests/stores/contract.py` holds every store to them.
Calls are synchronous and short; a store is used by one thread at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, Protocol

from headway.stores.model import (
    BadRow,
    Claim,
    DeadFilter,
    DeadLetter,
    Disposition,
    Duplicates,
    History,
    Job,
    Ledger,
    LoadCounts,
    Loaded,
    Recovered,
    Replayed,
    Run,
    RunConfig,
    RunState,
)

__all__ = ["CacheStore", "JobStore", "LetterStore", "LoadStore", "QueueStore", "RunLock", "RunStore", "Store"]


class RunLock(Protocol):
    """A run that one process works on."""

    def heartbeat(self) -> None:
        """Say that the work goes on; raises RunLocked if another process has taken over."""

    def release(self) -> None:
        """Leave the run to others. Idempotent."""


class RunStore(Protocol):
    """Runs and their books."""

    def create_run(self, config: RunConfig) -> str:
        """Begin a run; its id sorts by time."""

    def run(self, run: str) -> Run:
        """One run as it stands; raises UsageError if there is none of this id."""

    def runs(self) -> list[Run]:
        """All runs, the latest first."""

    def latest_unfinished(self) -> str | None:
        """The latest run that is neither done nor partial."""

    def set_state(self, run: str, state: RunState, reason: str = "") -> None:
        """Note what the run does, or why it stopped."""

    def set_identity(self, run: str, account_id: str) -> None:
        """Keep with the run whose account it sends to: it began before the platform had told."""

    def count(self, run: str, *, requests: int = 0, rate_limited: int = 0, retries: int = 0) -> None:
        """Add to what the run has spent."""

    def ledger(self, run: str) -> Ledger:
        """The books, at once."""

    def audit(self, run: str) -> Ledger:
        """The books counted anew; raises LedgerError if they do not balance."""

    def lock_run(self, run: str) -> RunLock:
        """Work on a run alone; raises RunLocked while a live process does, be it this one."""


class LoadStore(Protocol):
    """From a source into the store."""

    def load(
        self, run: str, rows: Sequence[Loaded], bad: Sequence[BadRow], position: str, duplicates: Duplicates = "last"
    ) -> LoadCounts:
        """Add a batch and the source's position in one transaction."""

    def finish_load(self, run: str) -> LoadCounts:
        """The source was read to its end: duplicates give way, records can be claimed; counts of the whole run."""


class QueueStore(Protocol):
    """Records on their way."""

    def claim(
        self,
        run: str,
        limit: int = 100,
        max_bytes: int = 2**31,
        lease: float = 300.0,
        owner: str = "",
        overhead: int = 128,
    ) -> Claim | None:
        """Form and lease the next batch; None if no record is ready."""

    def finish(
        self,
        run: str,
        claim: Claim,
        dispositions: Sequence[Disposition],
        *,
        status: int = 0,
        code: str = "",
        message: str = "",
        request_id: str = "",
        more: bool = False,
    ) -> None:
        """What became of the claim's records, in one transaction; raises StaleClaim."""

    def unclaim(self, run: str, claim: Claim) -> None:
        """The batch was certainly not sent; raises StaleClaim."""

    def renew(self, run: str, claim: Claim, lease: float = 300.0) -> None:
        """Hold the claim for longer; raises StaleClaim."""

    def recover(self, run: str, unknown_is_dead: bool, *, every: bool = False) -> Recovered:
        """Take back what processes that are gone had leased."""

    def next_ready(self, run: str) -> float | None:
        """When the next record may travel (0: now), None if none waits."""


class LetterStore(Protocol):
    """Dead letters, and what happened to a record."""

    def dead(self, which: DeadFilter = ...) -> Iterator[DeadLetter]:
        """The dead letters that fit, oldest first."""

    def dead_counts(self, which: DeadFilter = ...) -> dict[tuple[str, str], int]:
        """How many fit, by run and code."""

    def replay(self, config: RunConfig, which: DeadFilter = ...) -> Replayed:
        """Take up those that fit in a new run."""

    def drop(self, which: DeadFilter = ...) -> int:
        """Forget those that fit."""

    def find(self, key: str, run: str | None = None) -> list[History]:
        """What happened to every record of this key."""


class JobStore(Protocol):
    """Deliveries of several calls."""

    def create_job(self, run: str, claim: Claim, payload: bytes, lease: float = ...) -> Job:
        """Let the records of a claim travel in a job; raises StaleClaim."""

    def update_job(self, job: Job, payload: bytes) -> None:
        """Note how far it is; raises StaleClaim."""

    def jobs(self, run: str, state: Literal["open", "finished"] | None = None) -> list[Job]:
        """The jobs of a run."""

    def take_job(self, job: Job, lease: float = ..., owner: str = "", *, by_force: bool = False) -> Claim:
        """Go on with a job whose process is gone; raises RunLocked, StaleClaim."""


class CacheStore(Protocol):
    """What destinations said of themselves."""

    def cache_get(self, kind: str, key: str, max_age: float) -> bytes | None:
        """What was put within the last `max_age` seconds."""

    def cache_put(self, kind: str, key: str, value: bytes) -> None:
        """Remember it."""

    def cache_forget(self, kind: str, key: str) -> None:
        """Forget it."""


class Store(RunStore, LoadStore, QueueStore, LetterStore, JobStore, CacheStore, Protocol):
    """A store with everything."""

    def close(self) -> None:
        """Close it; what it has claimed and not finished can be recovered from now on. Idempotent."""
