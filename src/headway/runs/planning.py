"""What a sync would do, before it does it: the source is read as a sync reads it, the gate runs in virtual time.

Rules:
* Nothing is written to the platform and nothing is kept of the rows; what is learned of account and schema is
  remembered, so that the sync that follows need not ask again.
* Calls are counted as the store forms them: full batches, by records and by bytes.
* The limits are the account's as they stand: amounts that the platform told, what anybody used of a quota, pauses.
  What the plan calls left is what a sync could use, share and reserve counted.
"""

from __future__ import annotations

from array import array
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from time import perf_counter

from headway.accounts.waiting import worth_waiting
from headway.errors import UsageError
from headway.limits.limits import Limit, Quota, Window
from headway.limits.meters.meter import usable
from headway.limits.status import LimitStatus
from headway.platforms.connector import Delivery, Pace
from headway.runs.loading import Converted
from headway.runs.prediction import Prediction, predict
from headway.runs.report import Plan, QuotaLeft
from headway.stores.model import Duplicates

__all__ = ["Circumstances", "Measured", "Standing", "Work", "measure", "predicted", "standing", "work_of"]

_IN_FLIGHT = 16
_STORE_SECONDS = 9e-6  # to write a record into the store
_WORK_SECONDS = 2.5e-3  # of our own per call: claim, build, read, finish
_JOB_SECONDS = 2.2e-5  # of our own per record that travels in a job: claim, write, read its result, finish
_OPENING, _JUDGED = 2, 200  # calls that go one after the other, or records of one that suffices: engine/opening.py
_LATENCY = 0.2  # assumed where no call was made
_DAY = 86_400.0


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
class Standing:
    """An account's limits as a plan needs them: their values, and by name the calls used and the seconds of a pause.

    `used` speaks of quotas only.
    """

    limits: tuple[Limit, ...]
    used: Mapping[str, int] = field(default_factory=dict)
    paused: Mapping[str, float] = field(default_factory=dict)


def standing(limits: Iterable[Limit], statuses: Iterable[LimitStatus], *, share: float, reserve: int) -> Standing:
    """The limits of a tier as they stand for this account, for a gate with this share and reserve."""
    live = {status.name: status for status in statuses}
    paused = {name: status.paused for name, status in live.items() if status.paused is not None}
    account = min(paused.values()) if len(paused) == len(live) > 1 else 0.0
    known = tuple(_as_told(limit, live.get(limit.name), share, reserve) for limit in limits)
    used: dict[str, int] = {}
    for limit in known:
        if isinstance(limit, Quota) and limit.name in live:
            # One that is paused by itself refused a call, whatever was counted of it.
            free = 0 if paused.get(limit.name, 0.0) > account else live[limit.name].free
            used[limit.name] = max(0, usable(limit.amount, share, reserve) - free)
    return Standing(known, used, paused)


def _as_told(limit: Limit, status: LimitStatus | None, share: float, reserve: int) -> Limit:
    """A limit with the amount that the platform told, if that is lower."""
    if status is None or not isinstance(limit, Window | Quota):
        return limit
    rolling = isinstance(limit, Quota) and limit.per is not None  # its meter is lowered to what is left of it
    mine = usable(limit.amount, share, reserve if isinstance(limit, Quota) else 0)
    if status.amount >= mine or rolling:
        return limit
    return replace(limit, amount=max(1, round(status.amount / share)))


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What else decides how long it takes, and how it ends.

    `latency` of a call and `pace` of jobs, None if unknown; `extra` calls that a run makes beside its deliveries; the
    part of the limits that is ours; how long a run waits for a quota, and the share of dead records that pauses it.
    """

    wall: float
    latency: float | None = None
    share: float = 1.0
    reserve: int = 0
    pacing: str | None = None
    pace: Pace | None = None
    extra: int = 0
    wait_for_quota: float = 0.0
    max_dead: float = 1.0
    notes: tuple[str, ...] = ()


def predicted(measured: Measured, delivery: Delivery, now: Standing, names: frozenset[str], how: Circumstances) -> Plan:
    """The plan for what was measured, under the limits of these names."""
    work = work_of(measured, delivery)
    mine = [limit for limit in now.limits if limit.name in names]
    trip = (_LATENCY if how.latency is None else how.latency) + _WORK_SECONDS
    sending = predict(
        work.calls, mine, latency=trip, room=_IN_FLIGHT, wall=how.wall, share=how.share, reserve=how.reserve,
        pacing=how.pacing,
        used={name: count for name, count in now.used.items() if name in names},
        paused={name: seconds for name, seconds in now.paused.items() if name in names},
        opening=0 if delivery.jobs else 1 if delivery.batch_size >= _JUDGED else _OPENING,
    )  # fmt: skip
    jobs = delivery.forecast(work.jobs, how.pace, trip)
    # Our own work runs on one core, however many calls are in flight.
    seconds = max(sending.seconds, work.calls * _WORK_SECONDS) + how.extra * trip
    seconds += jobs.seconds + sum(work.jobs) * _JOB_SECONDS
    requests = work.calls + round(jobs.calls) + how.extra
    quota = _quota(mine, now, how)
    too_long = _too_long(mine, sending, how.wait_for_quota)
    if quota is not None and requests > quota.free and not how.wait_for_quota:
        too_long = quota.name
    would_exit, ending = _ending(measured, too_long, how)
    return Plan(
        read=measured.read,
        records=measured.records,
        requests=requests,
        seconds=measured.seconds + measured.read * _STORE_SECONDS + seconds,
        quota_share=None if quota is None else requests / quota.amount,
        binding_limit="the platform's work on the jobs" if jobs.seconds > sending.seconds else sending.binding_limit,
        dead=measured.dead,
        skipped=measured.skipped,
        quota=quota,
        notes=how.notes,
        via=delivery.via,
        would_exit=would_exit,
        ending=ending,
    )


def _quota(limits: Iterable[Limit], now: Standing, how: Circumstances) -> QuotaLeft | None:
    """Of the quotas among these limits the one of which the least is left."""
    found: list[QuotaLeft] = []
    for limit in limits:
        if isinstance(limit, Quota):
            left = usable(limit.amount, how.share, how.reserve) - now.used.get(limit.name, 0)
            found.append(QuotaLeft(limit.name, _period(limit), limit.amount, max(0, left)))
    return min(found, key=lambda quota: quota.free, default=None)


def _period(quota: Quota) -> str:
    """What a quota's calls are the calls of."""
    if quota.per is not None:
        return "day" if quota.per == _DAY else f"{quota.per:g} seconds"
    rule = str(quota.resets).partition(" ")[0]
    return {"hourly": "hour", "monthly": "month"}.get(rule, "day")


def _too_long(limits: Iterable[Limit], sending: Prediction, allowed: float) -> str:
    """The first limit for which a run would not wait, '' if it waits for all."""
    kinds = {limit.name: "quota" if isinstance(limit, Quota) else "window" for limit in limits}
    for name, seconds in sending.longest.items():
        if not worth_waiting(kinds.get(name, "window"), seconds, allowed):
            return name
    return ""


def _ending(measured: Measured, too_long: str, how: Circumstances) -> tuple[int, str]:
    """What a sync would end with, and why in words."""
    if measured.read >= _JUDGED and measured.dead > how.max_dead * measured.read:
        return 5, (
            f"paused before the first call: {measured.dead:,} of {measured.read:,} rows cannot be sent, more than "
            f"{how.max_dead:.0%}"
        )
    if too_long:
        return 5, f"paused: what is left of the limit {too_long!r} does not suffice"
    return (3, f"{measured.dead:,} dead letters") if measured.dead else (0, "")
