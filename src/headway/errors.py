"""Every exception that Headway raises, split by who must act.

HeadwayError
├── UsageError                 the caller: wrong argument, option, configuration or mapping  (exit 2)
│   ├── NeverGranted           a permit that no waiting could bring
│   ├── MappingError           a property, key or value that the destination does not know
│   ├── StateVersionError      a file that a newer Headway wrote
│   ├── RunLocked              a run that another process is working on
│   └── ForkedLimiter          an in-memory limiter carried over a fork
├── CredentialsError           the caller: the platform does not accept who we are           (exit 4)
├── SourceError                the caller: a source that cannot be read                      (exit 6)
├── PermitTimeout              the caller chose a time that did not suffice                  (exit 5)
├── LimiterClosed              the caller: a permit asked of a limiter that was closed
├── TransportError             the network: no reply to a call; says whether it was sent     (exit 5)
├── PlatformError              the platform: a reply that makes no sense where one was needed (exit 5)
├── RateLimited                a pool's handler: refused for its rate; costs the task nothing
├── Transient                  a pool's handler: a failure that may pass; costs a retry
├── Rejected                   a pool's handler: the task itself is at fault; a dead letter at once
├── QueueFull                  a pool: no room for a task, or not within the time asked for
├── StaleClaim                 us: records that another worker has taken over meanwhile; nothing was written
└── LedgerError                us: a run whose books do not balance                          (exit 1)

The message says what happened, to what, and what to do. `exit_code` is what the command line ends with.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "CredentialsError",
    "ForkedLimiter",
    "HeadwayError",
    "LedgerError",
    "LimiterClosed",
    "MappingError",
    "NeverGranted",
    "PermitTimeout",
    "PlatformError",
    "QueueFull",
    "RateLimited",
    "Rejected",
    "RunLocked",
    "SourceError",
    "StaleClaim",
    "StateVersionError",
    "Transient",
    "TransportError",
    "UsageError",
]


class HeadwayError(Exception):
    """The root: catching it catches everything that Headway raises on purpose."""

    exit_code: ClassVar[int] = 1


class UsageError(HeadwayError):
    """A wrong argument, option, configuration or mapping; nothing was sent."""

    exit_code = 2


class NeverGranted(UsageError):
    """A permit that could not be granted however long one waited (a cost above a limit's amount)."""


class MappingError(UsageError):
    """A property, key or value that the destination does not know; found before the first write."""


class StateVersionError(UsageError):
    """A database that was written by a newer Headway; left untouched."""


class RunLocked(UsageError):
    """A run that another process is working on; the message names its pid, host and start."""


class ForkedLimiter(UsageError):
    """An in-memory limiter used after `fork`: parent and child would each spend the whole limit."""


class CredentialsError(HeadwayError):
    """The platform does not accept the credentials (401), or they may not do this (403)."""

    exit_code = 4


class SourceError(HeadwayError):
    """A source that is missing, unreadable, in another encoding or of another dialect."""

    exit_code = 6


class PermitTimeout(HeadwayError, TimeoutError):
    """No permit within the time asked for; nothing was consumed.

    `earliest` is the number of seconds after which one could have been granted at the earliest, or None if only
    the return of a permit in flight could tell; `limit` names the limit that stands in the way.
    """

    exit_code = 5

    def __init__(self, message: str, earliest: float | None = None, limit: str = "") -> None:
        super().__init__(message)
        self.earliest = earliest
        self.limit = limit


class LimiterClosed(HeadwayError):
    """A permit asked of a limiter after `close()`."""


class TransportError(HeadwayError):
    """No reply to a call.

    `sent` is False only when certainly no byte of the call was written, so that the platform cannot have counted
    it; True means that its outcome is unknown.
    """

    exit_code = 5

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class PlatformError(HeadwayError):
    """A reply that makes no sense where one was needed (identity, schema)."""

    exit_code = 5


class RateLimited(HeadwayError):
    """Raised by a pool's handler: the platform refused the call for its rate. The task goes again and loses no retry.

    `retry_after` is what the platform asked for, in seconds (None: it did not say); `limit` names the limiter's limit
    that was hit ('' for the whole account).
    """

    exit_code = 5

    def __init__(self, message: str = "", *, retry_after: float | None = None, limit: str = "") -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.limit = limit


class Transient(HeadwayError):
    """Raised by a pool's handler: a failure that may pass (5xx, no reply). The task goes again, `max_retries` times.

    `retry_after`: seconds that the platform asked to wait; the back-off never undercuts them.
    """

    exit_code = 5

    def __init__(self, message: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Rejected(HeadwayError):
    """Raised by a pool's handler: the task itself is at fault, and is a dead letter at once."""


class QueueFull(HeadwayError):
    """A task submitted to a pool that has no room for it, or had none within the time asked for; it was not taken."""


class StaleClaim(HeadwayError):
    """A claim whose lease ran out and whose records were taken over; nothing was written."""


class LedgerError(HeadwayError):
    """read ≠ delivered + unchanged + dead + skipped + pending: an error of ours, never a success."""
