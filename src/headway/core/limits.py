"""What a platform allows: the four kinds of limit, as frozen values that are checked when they are made.

Each says how the platform counts, nothing about what was counted so far (that is a meter's, see meters.py).

* `Window`: at most `amount` calls in any span of `per` seconds (rolling or fixed alike).
* `Bucket` (`TokenBucket`): a leaky or token bucket of `capacity` that drains `rate` calls a second.
* `Quota`: at most `amount` calls between two reset instants of a calendar, or per rolling day.
* `Concurrency`: at most `amount` calls in flight, or in flight for longer than `longer_than` seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from headway.core.resets import Resets
from headway.errors import UsageError

__all__ = ["Bucket", "Concurrency", "Limit", "Quota", "TokenBucket", "Window", "guard_ns", "nanoseconds"]

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


Limit = Window | Bucket | Quota | Concurrency
