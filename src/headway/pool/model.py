"""What a pool works on and reports, as values."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["OUTCOME_UNKNOWN", "DeadTask", "Entry", "PoolReport", "waiting_time"]

OUTCOME_UNKNOWN = "OUTCOME_UNKNOWN"
"""The error of a dead letter whose handler was at work when its process ended."""


@dataclass(slots=True, eq=False)
class Entry:
    """One task on its way. `attempts` counts calls of the handler, `retries` those that used up one of the retries."""

    id: int
    task: object
    key: str = ""
    priority: str = "bulk"
    cost: int = 1
    attempts: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True)
class DeadTask:
    """A dead letter: the task, the type and the message of what ended it, and what was tried before.

    `retries`: how often it was sent again after a failure that might have passed; `attempts`: every call of the
    handler, refusals for the rate included; `at`: Unix seconds.
    """

    id: int
    task: object
    key: str
    error: str
    message: str
    retries: int
    attempts: int
    at: float


@dataclass(frozen=True, slots=True)
class PoolReport:
    """The books of a pool, in tasks: submitted = delivered + dead + pending.

    `submitted` counts what a durable pool found unfinished in its store, too; of those, `unknown` were in a handler's
    hands when their process ended. `retries` and `rate_limited` count calls of the handler.
    """

    submitted: int = 0
    delivered: int = 0
    dead: int = 0
    retries: int = 0
    rate_limited: int = 0
    unknown: int = 0

    @property
    def pending(self) -> int:
        """Tasks that are neither delivered nor dead."""
        return self.submitted - self.delivered - self.dead


def waiting_time(said: object) -> float | None:
    """What a platform asked to wait, None for what makes no sense: a handler's mistake must cost no task."""
    try:
        number = float(said)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if number >= 0 and math.isfinite(number) else None
