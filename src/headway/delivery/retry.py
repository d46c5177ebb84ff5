"""When to try again after a failure that may pass: exponential backoff with full jitter.

Source: "Exponential Backoff And Jitter", M. Brooker, AWS Architecture Blog, 2015 (full jitter: a uniform draw between
zero and the exponential step, so that clients that failed together do not come back together).
Rate limits are not decided here: they follow the platform's word and use up no try.
"""

from __future__ import annotations

from dataclasses import dataclass

from headway.errors import UsageError

__all__ = ["GiveUp", "RetryAt", "RetryPolicy"]


@dataclass(frozen=True, slots=True)
class RetryAt:
    """Try again at `when` (Unix seconds)."""

    when: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Do not try again, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Full jitter: `base` seconds times `factor` per attempt, at most `cap`; `attempts` in all, within `total` seconds.

    Raises UsageError for figures that make no sense.
    """

    base: float = 1.0
    factor: float = 2.0
    cap: float = 60.0
    attempts: int = 5
    total: float = 900.0

    def __post_init__(self) -> None:
        if not (self.base >= 0 and self.factor >= 1 and self.cap >= 0 and self.attempts >= 1 and self.total >= 0):
            raise UsageError(f"a retry policy needs base, cap, total >= 0, factor >= 1, attempts >= 1, not {self!r}")

    def decide(
        self,
        attempts: int,
        now: float,
        jitter: float,
        retry_after: float | None = None,
        first_attempt: float | None = None,
    ) -> RetryAt | GiveUp:
        """What to do after the `attempts`-th attempt failed at `now`.

        `jitter` is a uniform draw from [0, 1). `retry_after`: seconds the platform asked for; never undercut.
        `first_attempt`: when the first one was made, to hold to `total`.
        """
        if attempts >= self.attempts:
            return GiveUp(f"given up after {attempts} attempts")
        step = min(self.cap, self.base * self.factor ** (attempts - 1))
        when = now + max(step * jitter, retry_after or 0.0)
        if first_attempt is not None and when > first_attempt + self.total:
            return GiveUp(f"given up after {now - first_attempt:.0f} s")
        return RetryAt(when)
