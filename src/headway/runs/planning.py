"""What a sync would do, before it does it: the source is read as a sync reads it, the gate runs in virtual time.

Rules:
* Nothing is written to the platform and nothing is kept of the rows; what is learned of account and schema is
  remembered, so that the sync that follows need not ask again.
* Calls are counted as the store forms them: full batches, by records and by bytes.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from time import perf_counter

from headway.core.limits import Limit, Quota
from headway.core.status import LimitStatus
from headway.errors import UsageError
from headway.platforms.connector import Connector
from headway.runs.loading import Converted
from headway.runs.prediction import predict
from headway.runs.report import Plan
from headway.stores.model import Duplicates

__all__ = ["Measured", "measure", "predicted", "quota_state"]

_OVERHEAD = 128  # of a record in a batch, as the store reckons
_IN_FLIGHT = 16
_STORE_SECONDS = 9e-6  # to write a record into the store
_WORK_SECONDS = 2.5e-3  # of our own per call: claim, build, read, finish
_LATENCY = 0.2  # assumed where no call was made


@dataclass(frozen=True, slots=True)
class Measured:
    """What a source holds: rows read, records to send, the calls they take, rows that cannot be sent, duplicates."""

    read: int
    records: int
    calls: int
    dead: int
    skipped: int
    seconds: float


async def measure(batches: AsyncGenerator[Converted, None], connector: Connector, duplicates: Duplicates) -> Measured:
    """Read a source to its end. Raises UsageError for a duplicate that must not be."""
    began = perf_counter()
    seen: set[int] = set()
    read = records = calls = dead = in_call = size = 0
    async with aclosing(batches):
        async for good, bad, _ in batches:
            read += len(good) + len(bad)
            dead += len(bad)
            for row in good:
                mark = hash((row.group, row.key))
                if mark in seen:
                    if duplicates == "fail":
                        raise UsageError(
                            f"line {row.line}: the key {row.key!r} is that of an earlier line: make keys unique, or "
                            "choose --duplicates last or first"
                        )
                    continue
                seen.add(mark)
                records += 1
                need = len(row.payload) + len(row.key) + _OVERHEAD
                if in_call == 0 or in_call >= connector.batch_size or size + need > connector.batch_bytes:
                    calls += 1
                    in_call = size = 0
                in_call += 1
                size += need
    return Measured(read, records, calls, dead, read - dead - records, perf_counter() - began)


def predicted(
    measured: Measured,
    limits: Iterable[Limit],
    names: frozenset[str],
    *,
    wall: float,
    latency: float | None,
    share: float,
    reserve: int,
    pacing: str | None = None,
    used: int = 0,
    notes: tuple[str, ...] = (),
) -> Plan:
    """The plan for what was measured. `used`: calls of the quota that are used up already."""
    mine = [limit for limit in limits if limit.name in names]
    quota = next((limit for limit in mine if isinstance(limit, Quota)), None)
    trip = (_LATENCY if latency is None else latency) + _WORK_SECONDS
    sending = predict(
        measured.calls, mine, latency=trip, room=_IN_FLIGHT, wall=wall, share=share, reserve=reserve,
        pacing=pacing,
        used={quota.name: used} if quota is not None and used else None,
    )  # fmt: skip
    # Our own work runs on one core, however many calls are in flight.
    seconds = max(sending.seconds, measured.calls * _WORK_SECONDS)
    reading = measured.seconds + measured.read * _STORE_SECONDS
    return Plan(
        read=measured.read,
        records=measured.records,
        requests=measured.calls,
        seconds=reading + seconds,
        quota_share=None if quota is None else measured.calls / quota.amount,
        binding_limit=sending.binding_limit,
        dead=measured.dead,
        skipped=measured.skipped,
        quota_free=None if quota is None else max(0, quota.amount - used),
        notes=notes,
    )


def quota_state(statuses: Iterable[LimitStatus], limits: Iterable[Limit]) -> int:
    """The calls of the calendar quota that are used up, as far as is known."""
    quotas = {limit.name for limit in limits if isinstance(limit, Quota)}
    return next((max(0, status.amount - status.free) for status in statuses if status.name in quotas), 0)
