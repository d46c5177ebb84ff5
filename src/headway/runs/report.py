"""What a run, and a plan, tell their caller."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from headway.engine.model import Ended, Ending, Tally
from headway.stores.model import Ledger, RunState

__all__ = ["Plan", "QuotaLeft", "Report", "outcome", "report"]

_NO_PARTS: Mapping[str, float] = {}


@dataclass(frozen=True, slots=True)
class Report:
    """How a run stands after a session.

    The counts of records are the run's, `requests`, `rate_limited`, `retries` and `seconds` this session's. `state`
    is done, partial (dead letters), paused (quota or guard), interrupted or failed; `reason` says why in words,
    `until` when a pause is over. `delivering`: seconds from the first call to the last reply; `parts`: seconds of
    work by part.
    """

    run: str
    state: RunState
    read: int
    delivered: int
    unchanged: int
    dead: int
    skipped: int
    pending: int
    requests: int
    rate_limited: int
    retries: int
    seconds: float
    reason: str = ""
    until: datetime | None = None
    exit_code: int = 0
    delivering: float = 0.0
    parts: Mapping[str, float] = field(default_factory=lambda: _NO_PARTS)


@dataclass(frozen=True, slots=True)
class QuotaLeft:
    """How a quota stands: its limit's name, what it is the quota of ("day"), its amount as the platform counts it.

    `free`: the calls of it that are left for us now, share and reserve counted.
    """

    name: str
    period: str
    amount: int
    free: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What a sync would do: rows read, records to send, calls, seconds, share of the day's quota, the limit that binds.

    `dead` and `skipped` are the rows that would not be sent (not readable, without a key; duplicates). `seconds`
    includes what is waited for, a quota's reset as well. `quota_share` is calls by the quota's amount, None without a
    quota; `quota` how that quota stands. `binding_limit` is '' if nothing but the network holds the calls up. `notes`
    are for the user to read; `via` is the way that was chosen, '' where there is but one. `would_exit` is what a sync
    would end with, as far as can be told (0, 3, 5), `ending` why in words, '' for 0.
    """

    read: int
    records: int
    requests: int
    seconds: float
    quota_share: float | None
    binding_limit: str
    dead: int = 0
    skipped: int = 0
    quota: QuotaLeft | None = None
    notes: tuple[str, ...] = ()
    via: str = ""
    would_exit: int = 0
    ending: str = ""

    @property
    def quota_free(self) -> int | None:
        """The calls that are left of the quota for us, None without a quota."""
        return None if self.quota is None else self.quota.free


def outcome(ended: Ended, books: Ledger) -> tuple[RunState, int]:
    """The state and exit code of a run that ended so, with these books."""
    if ended.ending is Ending.CREDENTIALS:
        return "failed", 4
    if books.pending == 0:
        return ("partial", 3) if books.dead else ("done", 0)
    if ended.ending is Ending.INTERRUPTED:
        return "interrupted", 130
    return "paused", 5


def report(run: str, state: RunState, code: int, books: Ledger, tally: Tally, ended: Ended, seconds: float) -> Report:
    """A session in figures."""
    return Report(
        run, state, books.read, books.delivered, books.unchanged, books.dead, books.skipped, books.pending,
        tally.requests, tally.rate_limited, tally.retries, seconds, ended.reason, ended.until, code,
        max(0.0, tally.last_reply - tally.first_sent), dict(tally.parts),
    )  # fmt: skip
