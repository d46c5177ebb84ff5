"""What a sync would do, before it does it: the source is read as a sync reads it, the gate runs in virtual time.

Rules:
* Nothing is written to the platform and nothing is kept of the rows; what is learned of account and schema is
  remembered, so that the sync that follows need not ask again.
* Calls are counted as the store forms them: full batches, by records and by bytes.
"""

from __future__ import annotations

from array import array
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from time import perf_counter

from headway.errors import UsageError
from headway.limits.limits import Limit, Quota
from headway.limits.status import LimitStatus
from headway.platforms.connector import Delivery, Pace
from headway.runs.loading import Converted
from headway.runs.prediction import predict
from headway.runs.report import Plan
from headway.stores.model import Duplicates

__all__ = ["Circumstances", "Measured", "Work", "measure", "predicted", "quota_state", "work_of"]

_IN_FLIGHT = 16
_STORE_SECONDS = 9e-6  # to write a record into the store
_WORK_SECONDS = 2.5e-3  # of our own per call: claim, build, read, finish
_JOB_SECONDS = 2.2e-5  # of our own per record that travels in a job: claim, write, read its result, finish
_OPENING, _JUDGED = 2, 200  # calls that go one after the other, or records of one that suffices: engine/opening.py
_LATENCY = 0.2  # assumed where no call was made


@dataclass(frozen=True, slots=True)
class Measured:
    """What a source holds: rows read, records to send, rows that cannot be sent, duplicates, seconds of reading.

    `sizes`: by group, the bytes of each record.
    """

    read: int
    records: int
    dead: int
    skipped: int
    seconds: float
    sizes: Mapping[str, array[int]]


async def measure(batches: AsyncGenerator[Converted, None], duplicates: Duplicates) -> Measured:
    """Read a source to its end. Raises UsageError for a duplicate that must not be."""
    began = perf_counter()
    seen: set[int] = set()
    sizes: dict[str, array[int]] = {}
    read = records = dead = 0
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
                of = sizes.get(row.group)
                if of is None:
                    of = sizes[row.group] = array("l")
                of.append(len(row.payload) + len(row.key))
    return Measured(read, records, dead, read - dead - records, perf_counter() - began, sizes)


@dataclass(frozen=True, slots=True)
class Work:
    """How records travel: so many single calls, and jobs of so many records each."""

    calls: int
    jobs: tuple[int, ...]


def work_of(measured: Measured, delivery: Delivery) -> Work:
    """The deliveries as the store will form them: full ones, by records and by bytes, group by group."""
    calls = 0
    jobs: list[int] = []
    for sizes in measured.sizes.values():
        for count in _batches(sizes, delivery) if not delivery.lanes else _spread(sizes, delivery):
            if delivery.jobs and delivery.machine(count) is not None:
                jobs.append(count)
            else:
                calls += 1
    return Work(calls, tuple(jobs))


def _spread(sizes: Sequence[int], delivery: Delivery) -> Iterator[int]:
    """As the engine forms them where the last records are spread over all lanes: one full call first."""
    left, lanes, most = len(sizes), delivery.lanes, delivery.batch_size
    first = min(left, most)
    yield first
    left -= first
    while left >= lanes * most:
        yield most
        left -= most
    tail = -(-left // lanes)
    while left > 0:
        yield min(tail, left)
        left -= min(tail, left)


def _batches(sizes: Iterable[int], delivery: Delivery) -> Iterator[int]:
    count = size = 0
    for each in sizes:
        need = each + delivery.overhead
        if count and (count >= delivery.batch_size or size + need > delivery.batch_bytes):
            yield count
            count = size = 0
        count += 1
        size += need
    if count:
        yield count


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What else decides how long it takes.

    `latency` of a call and `pace` of jobs, None if unknown; `extra` calls that a run makes beside its deliveries; calls
    of the quota that are `used` up; the part of the limits that is ours.
    """

    wall: float
    latency: float | None = None
    share: float = 1.0
    reserve: int = 0
    pacing: str | None = None
    used: int = 0
    pace: Pace | None = None
    extra: int = 0
    notes: tuple[str, ...] = ()


def predicted(
    measured: Measured, delivery: Delivery, limits: Iterable[Limit], names: frozenset[str], how: Circumstances
) -> Plan:
    """The plan for what was measured."""
    work = work_of(measured, delivery)
    mine = [limit for limit in limits if limit.name in names]
    quota = next((limit for limit in mine if isinstance(limit, Quota)), None)
    trip = (_LATENCY if how.latency is None else how.latency) + _WORK_SECONDS
    sending = predict(
        work.calls, mine, latency=trip, room=_IN_FLIGHT, wall=how.wall, share=how.share, reserve=how.reserve,
        pacing=how.pacing,
        used={quota.name: how.used} if quota is not None and how.used else None,
        opening=0 if delivery.jobs else 1 if delivery.batch_size >= _JUDGED else _OPENING,
    )  # fmt: skip
    jobs = delivery.forecast(work.jobs, how.pace, trip)
    # Our own work runs on one core, however many calls are in flight.
    seconds = max(sending.seconds, work.calls * _WORK_SECONDS) + how.extra * trip
    seconds += jobs.seconds + sum(work.jobs) * _JOB_SECONDS
    reading = measured.seconds + measured.read * _STORE_SECONDS
    requests = work.calls + round(jobs.calls) + how.extra
    waiting = "the platform's work on the jobs" if jobs.seconds > sending.seconds else sending.binding_limit
    return Plan(
        read=measured.read,
        records=measured.records,
        requests=requests,
        seconds=reading + seconds,
        quota_share=None if quota is None else requests / quota.amount,
        binding_limit=waiting,
        dead=measured.dead,
        skipped=measured.skipped,
        quota_free=None if quota is None else max(0, quota.amount - how.used),
        notes=how.notes,
        via=delivery.via,
    )


def quota_state(statuses: Iterable[LimitStatus], limits: Iterable[Limit]) -> int:
    """The calls of the quota that are used up, by anybody, as far as is known."""
    quotas = {limit.name: limit for limit in limits if isinstance(limit, Quota)}
    for status in statuses:
        quota = quotas.get(status.name)
        if quota is not None:
            # Of a rolling quota the meter itself is lowered to what the platform says is left.
            return max(0, (status.amount if quota.per is None else quota.amount) - status.free)
    return 0
