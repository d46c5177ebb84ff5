"""How fast a platform works off the jobs of a destination: remembered from run to run, for the plan."""

from __future__ import annotations

import math

from headway.accounts.link import Cache, OpenAccount
from headway.engine.model import Tally
from headway.platforms.connector import Connector, Delivery, Pace

__all__ = ["latency_of", "pace_of", "remember_latency", "remember_pace"]

_MONTH = 30 * 86_400.0


def _key(link: OpenAccount, connector: Connector, delivery: Delivery) -> str:
    return f"{link.cache_key}|{connector.object_type}|{delivery.via}"


def pace_of(cache: Cache, link: OpenAccount, connector: Connector, delivery: Delivery) -> Pace | None:
    """As last seen; None where nothing was seen yet."""
    if not delivery.jobs:
        return None
    said = cache.cache_get("pace", _key(link, connector, delivery), _MONTH)
    try:
        records, calls = (float(each) for each in (said or b"").split())
    except ValueError:
        return None
    return Pace(records, calls) if math.isfinite(records) and records > 0 and math.isfinite(calls) else None


def latency_of(cache: Cache, link: OpenAccount, connector: Connector) -> float | None:
    """Seconds that a call took when records travelled last; None if that was not seen."""
    said = cache.cache_get("latency", f"{link.cache_key}|{connector.object_type}", _MONTH)
    try:
        return None if said is None else float(said)
    except ValueError:
        return None


def remember_latency(cache: Cache, link: OpenAccount, connector: Connector, seconds: float) -> None:
    """Keep what a call took in this session."""
    cache.cache_put("latency", f"{link.cache_key}|{connector.object_type}", f"{seconds:.4f}".encode())


def remember_pace(cache: Cache, link: OpenAccount, connector: Connector, delivery: Delivery, tally: Tally) -> None:
    """Keep what this session saw, if it saw enough to tell."""
    seconds = tally.job_last - tally.job_first if delivery.serial else tally.job_seconds
    if tally.job_records and seconds > 0:
        pace = f"{tally.job_records / seconds:.3f} {tally.job_calls / max(1, tally.jobs):.4f}"
        cache.cache_put("pace", _key(link, connector, delivery), pace.encode())
