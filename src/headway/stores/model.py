"""The values that go into a store and come out of it.

Rules:
* Instants are Unix seconds in UTC as `float`; durations seconds.
* A record is in exactly one state; what may follow what is `NEXT`.
* read = delivered + unchanged + dead + skipped + pending, after every commit, for every run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Literal, NamedTuple

from headway.delivery.records import Record

__all__ = [
    "NEXT",
    "OUTCOME_UNKNOWN",
    "Attempt",
    "BadRow",
    "Claim",
    "Dead",
    "DeadFilter",
    "DeadLetter",
    "Disposition",
    "Done",
    "Duplicates",
    "History",
    "Job",
    "Ledger",
    "LoadCounts",
    "Loaded",
    "Priority",
    "Recovered",
    "Replayed",
    "Retry",
    "Run",
    "RunConfig",
    "RunState",
    "State",
]

OUTCOME_UNKNOWN = "OUTCOME_UNKNOWN"
"""The code of an attempt whose process ended, or whose lease ran out, before a reply was noted."""

Duplicates = Literal["last", "first", "fail"]
Priority = Literal["interactive", "bulk", "replay"]
RunState = Literal["loading", "running", "done", "partial", "paused", "interrupted", "failed"]

_NO_OPTIONS: Mapping[str, object] = {}


class State(IntEnum):
    """Where a record stands. `pending` in the ledger is READY and LEASED together."""

    READY = 0
    LEASED = 1
    DELIVERED = 2
    UNCHANGED = 3
    DEAD = 4
    SKIPPED = 5


NEXT: Mapping[State, frozenset[State]] = {
    State.READY: frozenset({State.LEASED, State.SKIPPED}),  # skipped only while the run is being loaded
    State.LEASED: frozenset({State.READY, State.DELIVERED, State.UNCHANGED, State.DEAD}),
    State.DELIVERED: frozenset(),
    State.UNCHANGED: frozenset(),
    State.DEAD: frozenset(),  # a replay makes a new record in a new run
    State.SKIPPED: frozenset(),
}


# Rows are named tuples, not dataclasses: a frozen dataclass takes three times as long to make, a million times a run.


class Loaded(NamedTuple):
    """A row that can be sent. `original` is the source's row as a JSON object, None where `payload` is just that."""

    key: str
    payload: bytes
    line: int
    group: str = ""
    original: bytes | None = None


class BadRow(NamedTuple):
    """A row that cannot be sent: it becomes a dead letter. `key` is '' where the row has none."""

    line: int
    key: str
    code: str
    message: str
    original: bytes


@dataclass(frozen=True, slots=True)
class LoadCounts:
    """What a load, or the end of all loads, did: rows read, of these ready to be sent, dead, skipped."""

    read: int = 0
    ready: int = 0
    dead: int = 0
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class Ledger:
    """The books of a run, in records."""

    read: int = 0
    delivered: int = 0
    unchanged: int = 0
    dead: int = 0
    skipped: int = 0
    pending: int = 0

    @property
    def balanced(self) -> bool:
        """Whether every record that was read is accounted for."""
        return self.read == self.delivered + self.unchanged + self.dead + self.skipped + self.pending


@dataclass(frozen=True, slots=True)
class RunConfig:
    """What a run is to do. The store reads `kind`, `destination` and `priority`; the rest it only keeps.

    `options` must be representable in JSON and holds no secret; `source` describes, `reopen` (may be '') reopens it;
    `fingerprint` must be the same for the run's position to be valid.
    """

    source: str
    destination: str
    options: Mapping[str, object] = field(default_factory=lambda: _NO_OPTIONS)
    kind: Literal["sync", "replay"] = "sync"
    priority: Priority = "bulk"
    account: str = ""
    fingerprint: str = ""
    reopen: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """A run as it stands. `position` is where its source is to be read on, None before the first load.

    `loaded` says that the whole source is in the store. `requests`, `rate_limited` and `retries` are what `count`
    added up over all the processes that worked on it.
    """

    id: str
    config: RunConfig
    state: RunState
    reason: str
    created: float
    changed: float
    loaded: bool
    position: str | None
    ledger: Ledger
    requests: int = 0
    rate_limited: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True)
class Claim:
    """Records that travel in one delivery, all of one group and part. Whoever has the token may settle them."""

    token: int
    records: tuple[Record, ...]


class Done(NamedTuple):
    """The destination has the record; `remote_id` is its name there, '' where the reply does not say."""

    record_id: int
    remote_id: str = ""


class Dead(NamedTuple):
    """The record will not be sent again."""

    record_id: int
    code: str
    message: str


class Retry(NamedTuple):
    """The record travels again at `not_before`, in a batch of its `part` only (0: in the next full one).

    `counted=False` gives the try back (a rate limit, a batch refused for another record). `unknown=True` notes that
    this attempt ended without a reply; the record remembers it from then on.
    """

    record_id: int
    not_before: float
    code: str
    message: str
    part: int = 0
    counted: bool = True
    unknown: bool = False


Disposition = Done | Dead | Retry


@dataclass(frozen=True, slots=True)
class Recovered:
    """Records whose outcome is unknown since their process ended: `ready` to be sent again, or `dead`."""

    ready: int = 0
    dead: int = 0

    @property
    def count(self) -> int:
        """How many records there were in all."""
        return self.ready + self.dead


@dataclass(frozen=True, slots=True)
class Attempt:
    """A delivery that did not succeed: `status` is the HTTP status, 0 without a reply."""

    at: float
    status: int
    code: str
    message: str
    request_id: str


@dataclass(frozen=True, slots=True)
class DeadFilter:
    """Which dead letters: all that fit every part that is given. `since` is when they died, or later.

    Letters that were replayed or dropped are no dead letters any more.
    """

    run: str | None = None
    code: str | None = None
    destination: str | None = None
    key: str | None = None
    since: float | None = None
    ids: Sequence[int] | None = None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that was given up, with everything that is known about it.

    `payload` is b'' for a row that could never be sent; `original` the source's row (the payload, where they are the
    same); `attempts` how often it was sent, `history` each of those that the store knows, oldest first, those of the
    letters that it is a replay of included.
    """

    id: int
    run: str
    destination: str
    key: str
    line: int
    payload: bytes
    original: bytes
    code: str
    message: str
    at: float
    attempts: int
    history: tuple[Attempt, ...]


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay took up: its run ('' if there was nothing to replay), how many letters, and how many it left.

    Letters without a payload are left: they must be corrected at the source (`export`).
    """

    run: str
    records: int
    left: int


@dataclass(frozen=True, slots=True)
class History:
    """What happened to one record. `reason` is the code of its last trouble; `at` when it came into its state."""

    id: int
    run: str
    destination: str
    key: str
    line: int
    state: State
    attempts: int
    code: str
    message: str
    remote_id: str
    at: float
    history: tuple[Attempt, ...]


@dataclass(frozen=True, slots=True)
class Job:
    """A delivery of several calls (create, upload, close, poll, fetch) and the records that travel in it.

    `payload` is what its connector needs to go on, as JSON; `token` that of the claim whose records it carries.
    """

    id: int
    run: str
    token: int
    state: Literal["open", "finished"]
    payload: bytes
    created: float
    changed: float
