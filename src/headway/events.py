"""What happened, as frozen values, and who may listen.

Progress, logs, metrics and the dashboard are observers; the code that emits knows none of them. An observer is
called in the thread or event loop where the thing happened and must return at once; what it raises is not caught.
Instants are aware `datetime`s in UTC, durations seconds as `float`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

__all__ = [
    "CallFailed",
    "CallFinished",
    "CallStarted",
    "DestinationPaused",
    "Event",
    "LoadFinished",
    "LoadProgress",
    "Note",
    "Observer",
    "ProfileRefuted",
    "RateLimitHit",
    "RecordsFinished",
    "RunFinished",
    "RunStarted",
    "Waiting",
    "observe_all",
]


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A run begins or goes on. `destination` as the user wrote it; `resumed` when it had begun before."""

    run: str
    source: str
    destination: str
    resumed: bool


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """Rows read into the store so far; `share` of the source read, 0 to 1, None where it cannot be known."""

    run: str
    read: int
    share: float | None


@dataclass(frozen=True, slots=True)
class LoadFinished:
    """The whole source is in the store: `records` wait to be sent, `dead` and `skipped` were settled on the way."""

    run: str
    read: int
    records: int
    dead: int
    skipped: int


@dataclass(frozen=True, slots=True)
class CallStarted:
    """A call is about to be written: `records` travel in it (0 for identity and schema)."""

    account: str
    name: str
    records: int


@dataclass(frozen=True, slots=True)
class CallFinished:
    """A reply is there, whatever it says."""

    account: str
    name: str
    records: int
    status: int
    seconds: float


@dataclass(frozen=True, slots=True)
class CallFailed:
    """No reply: `sent` is False when certainly nothing was written."""

    account: str
    name: str
    records: int
    reason: str
    sent: bool


@dataclass(frozen=True, slots=True)
class RecordsFinished:
    """What one call meant for its records, after it was written to the store."""

    run: str
    delivered: int
    dead: int
    retried: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RateLimitHit:
    """The platform refused a call for its rate all the same. `limit` is '' when the reply does not name one."""

    account: str
    limit: str
    retry_after: float | None


@dataclass(frozen=True, slots=True)
class DestinationPaused:
    """Nothing goes to this account before `until`."""

    account: str
    limit: str
    until: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """The next call waits for this limit for about so many seconds (None: until a call in flight returns)."""

    account: str
    limit: str
    seconds: float | None


@dataclass(frozen=True, slots=True)
class ProfileRefuted:
    """What was believed of a limit is wrong; says what was changed for the rest of the run."""

    account: str
    limit: str
    reason: str


@dataclass(frozen=True, slots=True)
class Note:
    """One line for the user that fits no other event (a dead holder's places cool, a cache is used)."""

    text: str


@dataclass(frozen=True, slots=True)
class RunFinished:
    """The run stopped; `state` is done, partial, paused, interrupted or failed."""

    run: str
    state: str
    reason: str


Event = (
    RunStarted
    | LoadProgress
    | LoadFinished
    | CallStarted
    | CallFinished
    | CallFailed
    | RecordsFinished
    | RateLimitHit
    | DestinationPaused
    | Waiting
    | ProfileRefuted
    | Note
    | RunFinished
)


class Observer(Protocol):
    """Anything that can be called with an event."""

    def __call__(self, event: Event, /) -> None:
        """Take note of one event; must not block."""


def observe_all(observers: Iterable[Observer]) -> Observer:
    """One observer that tells all of them, in order."""
    told = tuple(observers)

    def tell(event: Event, /) -> None:
        for observer in told:
            observer(event)

    return tell
