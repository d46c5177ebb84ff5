"""What a platform allows: the kinds of limit, as frozen values that are checked when they are made.

Each says how the platform counts, nothing about what was counted so far (that is a meter's, see meters.py).

* `Window`: at most `amount` calls in any span of `per` seconds (rolling or fixed alike).
* `Bucket` (`TokenBucket`): a leaky or token bucket of `capacity` that drains `rate` calls a second.
* `Quota`: at most `amount` calls between two reset instants of a calendar, or per rolling day.
* `Concurrency`: at most `amount` calls in flight, or in flight for longer than `longer_than` seconds.
* `Adaptive`: a limit that nobody published, to be searched for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from headway.errors import UsageError
from headway.limits.resets import Resets

__all__ = ["Adaptive", "Bucket", "Concurrency", "Limit", "Quota", "TokenBucket", "Window", "guard_ns", "nanoseconds"]

SECOND = 1_000_000_000


def nanoseconds(seconds: float) -> int:
    """Seconds as integer nanoseconds: the only unit of time inside the core."""
    return round(seconds * SECOND)


def guard_ns(per: int) -> int:
    """The guard of a window of `per` nanoseconds: per/2000 + 1 ms.

    Pays for clocks whose rates differ by up to 500 ppm (what NTP slews, RFC 5905), for windows that are closed at
    both ends and for platforms that stamp in milliseconds.
    """
    return per // 2000 + 1_000_000


def _amount(kind: str, amount: object) -> None:
    if isinstance(amount, bool) or not isinstance(amount, int) or amount < 1:
        raise UsageError(f"{kind}: amount must be a whole number of at least 1, not {amount!r}")


def _positive(kind: str, what: str, value: object, *, zero: bool = False) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UsageError(f"{kind}: {what} must be a finite number, not {value!r}")
    if value < 0 or (value == 0 and not zero):
        raise UsageError(f"{kind}: {what} must be {'at least 0' if zero else 'above 0'}, not {value!r}")


@dataclass(frozen=True, slots=True)
class Window:
    """At most `amount` calls in any `per` seconds of the platform's clock.

    `arrival_bound`: seconds within which the platform counts a call after its last byte was written; only if known.
    `lag`: seconds by which the platform counts *after* it answers. `guard`: seconds, instead of per/2000 + 1 ms.
    Raises UsageError for anything not positive and finite.
    """

    amount: int
    per: float
    name: str = "window"
    arrival_bound: float | None = None
    lag: float = 0.0
    guard: float | None = None

    def __post_init__(self) -> None:
        _amount("Window", self.amount)
        _positive("Window", "per", self.per)
        _positive("Window", "lag", self.lag, zero=True)
        for what in ("arrival_bound", "guard"):
            if getattr(self, what) is not None:
                _positive("Window", what, getattr(self, what), zero=True)


@dataclass(frozen=True, slots=True)
class Bucket:
    """A server's leaky or token bucket: drains `rate` calls a second, holds `capacity` (default: rate, at least 1)."""

    rate: float
    capacity: int | None = None
    name: str = "bucket"

    def __post_init__(self) -> None:
        _positive("Bucket", "rate", self.rate)
        if self.capacity is None:
            object.__setattr__(self, "capacity", max(1, int(self.rate)))
        _amount("Bucket", self.capacity)

    @property
    def amount(self) -> int:
        """The calls that may come at once: the capacity."""
        assert self.capacity is not None
        return self.capacity


TokenBucket = Bucket


@dataclass(frozen=True, slots=True)
class Quota:
    """At most `amount` calls between two resets, or in any rolling span of `per` seconds (a day, say).

    `resets`: "00:00 Europe/Berlin" (daily), "hourly", "monthly 1 00:00 UTC"; without either, "00:00 UTC".
    `skew`: seconds by which the platform's reset and ours may differ; a call near a reset counts on both sides.
    Raises UsageError for an unknown zone or rule.
    """

    amount: int
    resets: str | None = None
    per: float | None = None
    name: str = "quota"
    skew: float = 5.0

    def __post_init__(self) -> None:
        _amount("Quota", self.amount)
        _positive("Quota", "skew", self.skew, zero=True)
        if self.per is not None:
            if self.resets is not None:
                raise UsageError("Quota: give `resets` (a calendar) or `per` (a rolling span), not both")
            _positive("Quota", "per", self.per)
        else:
            if self.resets is None:
                object.__setattr__(self, "resets", "00:00 UTC")
            Resets.parse(str(self.resets))


@dataclass(frozen=True, slots=True)
class Concurrency:
    """At most `amount` calls in flight; with `longer_than`, at most so many that have run for that many seconds.

    `margin`: seconds by which a call is taken for long before it is (default 2).
    """

    amount: int
    longer_than: float | None = None
    name: str = "concurrency"
    margin: float = 2.0

    def __post_init__(self) -> None:
        _amount("Concurrency", self.amount)
        _positive("Concurrency", "margin", self.margin, zero=True)
        if self.longer_than is not None:
            _positive("Concurrency", "longer_than", self.longer_than)


@dataclass(frozen=True, slots=True)
class Adaptive:
    """A limit that nobody published, searched for from what is accepted and refused; always paced smoothly.

    `initial`, `floor`, `ceiling`: calls per `per` seconds, the length of the platform's window if it is known or
    guessed (guess short rather than long); without `per`, calls per second. `ceiling` None: never above `initial`,
    as it should be where the limit is known. After the first refusal the amount falls to what the platform held, at
    most by `backoff`; before it, it grows by `recovery` after every `after` successes. Each process that shares a
    limiter's state searches for itself. Raises UsageError for what makes no sense.
    """

    initial: float
    floor: float = 1.0
    ceiling: float | None = None
    backoff: float = 0.5
    recovery: float = 1.1
    after: int = 10
    per: float | None = None
    name: str = "adaptive"

    def __post_init__(self) -> None:
        for what in ("initial", "floor"):
            _positive("Adaptive", what, getattr(self, what))
        for what in ("ceiling", "per"):
            if getattr(self, what) is not None:
                _positive("Adaptive", what, getattr(self, what))
        _positive("Adaptive", "backoff", self.backoff)
        _positive("Adaptive", "recovery", self.recovery)
        _amount("Adaptive: after", self.after)
        if not self.floor <= self.initial <= self.ceiling_or_initial:
            raise UsageError(
                f"Adaptive: floor <= initial <= ceiling must hold, not {self.floor} <= {self.initial} <= {self.ceiling}"
            )
        if not self.backoff < 1 < self.recovery:
            raise UsageError(f"Adaptive: backoff < 1 < recovery must hold, not {self.backoff} and {self.recovery}")

    @property
    def ceiling_or_initial(self) -> float:
        """The most that may ever be used."""
        return self.initial if self.ceiling is None else self.ceiling


Limit = Window | Bucket | Quota | Concurrency | Adaptive
