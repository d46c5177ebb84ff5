"""The meter that counts for a limit, by the limit's kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headway.limits.limits import Adaptive, Bucket, Concurrency, Limit, Quota, Window
from headway.limits.meters.adaptive import AdaptiveMeter
from headway.limits.meters.bucket import BucketMeter
from headway.limits.meters.meter import Meter
from headway.limits.meters.quota import QuotaMeter
from headway.limits.meters.rolling import RollingMeter
from headway.limits.meters.slots import SlotsMeter
from headway.limits.meters.window import WindowMeter

__all__ = ["make_meter"]


def _quota(limit: Quota, share: float, reserve: int) -> Meter:
    return (QuotaMeter if limit.per is None else RollingMeter)(limit, share, reserve)


_MADE_BY: dict[type, Callable[[Any, float, int], Meter]] = {
    Window: WindowMeter,
    Bucket: BucketMeter,
    Quota: _quota,
    Concurrency: SlotsMeter,
    Adaptive: AdaptiveMeter,
}


def make_meter(limit: Limit, share: float = 1.0, reserve: int = 0) -> Meter:
    """A new meter: of the limit only `share` is used, of a quota all but `reserve`."""
    return _MADE_BY[type(limit)](limit, share, reserve)
