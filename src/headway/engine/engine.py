"""Sends what is ready in a store: work is known to exist → permit → claim → send → settle → finish.

Rules:
* Nothing is leased while it waits for quota, for an outage or for a retry's time.
* What is in memory is what is in flight: a bounded number of calls.
* The first two batches go one after the other. If the reply blames the mapping for all of both, nothing else is sent
  and both go back untouched.
* `stop` takes no more permits and finishes what is in flight. Cancelling leaves at once: the store then holds leases,
  and the next to work on the run treats their records as "outcome unknown".
"""

from __future__ import annotations

import asyncio
import math
import os
import random
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from time import perf_counter

from headway import redact
from headway.accounts.waiting import Parked, PermitQueue
from headway.clock import Clock, SystemClock
from headway.delivery.outcome import CredentialsRejected, RateLimited, Transient, Verdict
from headway.delivery.records import Record, Reply
from headway.delivery.retry import RetryPolicy
from headway.engine.breaker import Breaker
from headway.engine.dispositions import NO_REPLY, NOT_SENT, Settled, settle
from headway.engine.jobs import Carrier
from headway.engine.model import INTERRUPTED, Ended, Ending, Link, Queue, Settings, Tally
from headway.engine.opening import open_run
from headway.errors import CredentialsError, TransportError, UsageError
from headway.events import Event, Observer, RecordsFinished
from headway.limiter.permit import Permit
from headway.limits.limits import SECOND
from headway.platforms.connector import Delivery
from headway.stores.model import Claim

__all__ = ["Engine"]

_FEWEST, _MOST = 16, 64
_MOST_BYTES = 48 << 20
_SHORTEST = 0.001  # the instants of a store are floats: a wait of less need not end
Got = tuple[Permit, Claim]


class Engine:
    """One run's deliveries to one destination, in the running event loop.

    `rate` is the calls per second that the account's limits allow, from which the number of calls in flight follows.
    """

    def __init__(
        self,
        store: Queue,
        run: str,
        connector: Delivery,
        link: Link,
        *,
        settings: Settings | None = None,
        rate: float = math.inf,
        policy: RetryPolicy | None = None,
        observer: Observer | None = None,
        clock: Clock | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._store = store
        self._run = run
        self._connector = connector
        self._link = link
        self._settings = settings or Settings()
        self._policy = policy or RetryPolicy()
        self._observer = observer
        self._clock: Clock = clock or SystemClock()
        self._rng = rng or random.Random()
        self._rate = rate
        self._usual = connector.call(())  # which limits a delivery counts against may change: replies name new ones
        self._breaker = Breaker(self._settings.patience)
        self._owner = f"{os.getpid()}"
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._stop: asyncio.Future[None] | None = None
        self._stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: Ended | None = None
        self._bytes = 0
        self._weights: dict[asyncio.Task[None], int] = {}
        self._trip = 0.1
        self._tripped = False
        self._opened = False
        self._tail = 0
        self._leased = 0
        self._due = 0.0
        self._failure: BaseException | None = None
        self.tally = Tally()

    # -- from outside

    @property
    def trip(self) -> float | None:
        """Seconds of a call, as of late; None where none was made."""
        return self._trip if self._tripped else None

    async def run(self) -> Ended:
        """Deliver until nothing is left, or until something ends it; returns why."""
        self._loop = asyncio.get_running_loop()
        self._stop = self._loop.create_future()
        if self._stopping:
            self._stop.set_result(None)
        self._permits = PermitQueue(
            self._link.limiter, account=self._link.name, priority=self._settings.priority,
            wait_for_quota=self._settings.wait_for_quota, clock=self._clock, tell=self._tell,
        )  # fmt: skip
        try:
            self._take_jobs()
            if not self._connector.jobs:
                await open_run(self)
            self._opened = True
            while (got := await self._obtain()) is not None:
                self._launch(*got)
            await self._drain()
        except BaseException:
            await self._abort()
            raise
        if self._failure is not None:
            raise self._failure
        return self._ended or Ended(Ending.FINISHED)

    def stop(self) -> None:
        """Take no more permits, finish what is in flight. From any thread; may be called twice."""
        self._stopping = True
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._note_stop)

    def _note_stop(self) -> None:
        if self._stop is not None and not self._stop.done():
            self._stop.set_result(None)
        self._changed.set()

    def _take_jobs(self) -> None:
        """Go on with the jobs that are open."""
        for job in self._store.jobs(self._run, "open"):
            claim = self._store.take_job(job, by_force=True)
            machine = self._connector.machine(max(len(claim.records), self._connector.batch_size))
            if machine is None:
                raise UsageError(f"run {self._run} has open jobs: go on with it by the way it began")
            self._start(claim, Carrier(self, machine, claim, replace(job, token=claim.token)).carry(None))

    # -- work, permit, claim

    async def _obtain(self) -> Got | None:
        """The next batch and its permit; None when nothing is left or the engine is to end."""
        while not self._over():
            if await self._held_up():
                continue
            permit = await self._permit()
            if permit is None:
                continue
            claim = self._claim()
            if claim is not None:
                return permit, claim
            permit.cancel()
            await self._pause(_SHORTEST)  # the store's clock is a trifle behind ours
        return None

    async def _permit(self) -> Permit | None:
        """A permit; None when the engine is to end."""
        assert self._stop is not None
        got = await self._permits.take(self._stop, 1, self._link.limits_for(self._usual))
        if isinstance(got, Parked):
            self._end(Ended(Ending.QUOTA, got.reason, got.until))
            return None
        return got

    def _over(self) -> bool:
        if self._ended is None and self._stopping:
            self._end(INTERRUPTED)
        return self._ended is not None or self._failure is not None

    async def _held_up(self) -> bool:
        """Wait a while if no call may go now, for reasons other than the limits; True if anything was waited for."""
        now = self._now()
        if self._breaker.hopeless(now):
            self._end(Ended(Ending.UNREACHABLE, f"{self._link.name} gave no useful reply for too long"))
            return True
        flying = len(self._tasks)
        if flying >= self._room() or self._bytes > _MOST_BYTES or (self._breaker.open and flying):
            await self._pause(None)
            return True
        wait = max(self._breaker.wait(now), self._due - now)
        if wait <= 0:
            ready = self._store.next_ready(self._run)
            if ready is None:
                if not flying:
                    self._end(Ended(Ending.FINISHED))
                else:
                    await self._pause(None)
                return True
            wait = ready - self._wall()
        if wait > 0:
            await self._pause(max(wait, _SHORTEST))
            return True
        return False

    def _room(self) -> int:
        """Calls in flight that keep the limits full at the trips seen; a bounded number in any case."""
        if self._connector.jobs:
            return self._connector.jobs
        if math.isinf(self._rate):
            return _FEWEST
        return max(_FEWEST, min(_MOST, math.ceil(self._rate * self._trip * 1.5)))

    async def _pause(self, seconds: float | None) -> None:
        """Until a call came back, a stop, or so many seconds."""
        self._changed.clear()
        if self._over():
            return
        waiter = asyncio.ensure_future(self._changed.wait())
        try:
            await asyncio.wait((waiter,), timeout=seconds)
        finally:
            waiter.cancel()

    def _claim(self) -> Claim | None:
        began = perf_counter()
        connector = self._connector
        limit = connector.batch_size
        if self._settings.rate is not None:
            limit = max(1, min(limit, math.ceil(self._settings.rate)))
        limit = self._spread(limit)
        lease = 4 * self._settings.timeout + 60
        claim = self._store.claim(self._run, limit, connector.batch_bytes, lease, self._owner, connector.overhead)
        if claim is not None and self._settings.rate is not None:
            self._due = max(self._due, self._now()) + len(claim.records) / self._settings.rate
        self.tally.spent("claim", perf_counter() - began)
        return claim

    def _spread(self, limit: int) -> int:
        """Records of the next call: fewer towards the end, so that the last ones travel side by side."""
        lanes = self._connector.lanes
        if not lanes or self._tail:
            return min(limit, self._tail or limit)
        ready = self._store.ledger(self._run).pending - self._leased
        if self._opened and 0 < ready < lanes * limit:
            self._tail = max(1, math.ceil(ready / lanes))
            return min(limit, self._tail)
        return limit

    # -- send, settle, finish

    def _launch(self, permit: Permit, claim: Claim) -> None:
        machine = self._connector.machine(len(claim.records)) if self._connector.jobs else None
        if machine is None:
            self._start(claim, self._deliver(permit, claim))
        else:
            self._start(claim, Carrier(self, machine, claim).carry(permit))

    def _start(self, claim: Claim, work: Coroutine[None, None, None]) -> None:
        size, count = sum(len(record.payload) for record in claim.records), len(claim.records)
        self._bytes += size
        self._leased += count
        task = asyncio.ensure_future(work)
        task.add_done_callback(lambda _: self._unleased(count))  # not the claim: a job lets go of its payloads early
        self._weights[task] = size
        self._tasks.add(task)
        task.add_done_callback(self._landed)

    def _unleased(self, count: int) -> None:
        self._leased -= count

    def _lightened(self) -> None:
        """The task that runs now holds no payloads any more."""
        task = asyncio.current_task()
        if task is not None:
            self._bytes -= self._weights.pop(task, 0)
        self._changed.set()

    def _landed(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._bytes -= self._weights.pop(task, 0)
        if not task.cancelled() and task.exception() is not None:
            self._failure = self._failure or task.exception()
            self._note_stop()
        self._changed.set()

    async def _deliver(self, permit: Permit, claim: Claim) -> None:
        self._finish(claim, await self._attempt(permit, claim.records))

    async def _attempt(self, permit: Permit, records: Sequence[Record]) -> Verdict:
        """Send one call; what its reply, or the lack of one, says."""
        tally = self.tally
        began = perf_counter()
        try:
            call = self._connector.call(records)
        except BaseException:
            permit.cancel()
            raise
        built = perf_counter()
        tally.spent("build", built - began)
        tally.requests += 1
        sent = self._now()
        tally.first_sent = tally.first_sent or sent
        used = self._link.generation
        try:
            reply = await self._link.send(call, permit, len(records))
        except TransportError as error:
            self._breaker.failed(self._now(), self._rng.random(), records[0].id)
            code = NO_REPLY if error.sent else NOT_SENT
            tally.requests -= not error.sent
            trouble = Transient(code, redact.text(error), applied=error.sent)
            return Verdict((trouble,) * len(records))
        back = perf_counter()
        tally.spent("send", back - built)
        tally.last_reply = self._now()
        self._trip += (min(reply.seconds, 60.0) - self._trip) * (0.2 if self._tripped else 1.0)
        self._tripped = True
        try:
            verdict = self._connector.verdict(records, reply)
            self._judge(permit, reply, verdict, records[0].id)
        finally:
            permit.settle()  # after a pause was set: settling may grant the next
        refused = verdict.outcomes[0]
        if isinstance(refused, CredentialsRejected) and not (reply.status == 401 and await self._renewed(used)):
            self._end(Ended(Ending.CREDENTIALS, redact.text(refused.message or refused.code)))
        tally.spent("read", perf_counter() - back)
        return verdict

    def _judge(self, permit: Permit, reply: Reply, verdict: Verdict, batch: int) -> None:
        """What the reply says about the destination as a whole."""
        first = verdict.outcomes[0]
        if isinstance(first, RateLimited):
            self.tally.rate_limited += 1
            permit.rejected(first.limit, first.retry_after)
        if reply.status >= 500 and isinstance(first, Transient):
            self._breaker.failed(self._now(), self._rng.random(), batch)
        else:
            self._breaker.succeeded()

    async def _renewed(self, used: int) -> bool:
        """Whether there is a new token, so that what was refused may go again."""
        try:
            return await self._link.renew(used)
        except CredentialsError as error:
            self._end(Ended(Ending.CREDENTIALS, redact.text(error)))
        except TransportError as error:
            self._end(Ended(Ending.UNREACHABLE, redact.text(error)))
        return True

    def _finish(self, claim: Claim, verdict: Verdict, *, more: bool = False) -> None:
        began = perf_counter()
        records = claim.records
        result = settle(
            records, verdict, now=self._wall(), jitter=self._rng.random(), policy=self._policy,
            repeatable=self._connector.repeatable, counted=not self._breaker.theirs,
        )  # fmt: skip
        self._store.finish(
            self._run, claim, result.dispositions, status=verdict.status, code=result.code,
            message=redact.text(result.message), request_id=verdict.request_id, more=more,
        )  # fmt: skip
        tally = self.tally
        tally.delivered += result.delivered
        tally.dead += result.dead
        tally.retries += result.retried
        self._tell(RecordsFinished(self._run, result.delivered, result.dead, result.retried, result.code))
        self._guard(result)
        tally.spent("finish", perf_counter() - began)

    def _guard(self, result: Settled) -> None:
        tally, settings = self.tally, self._settings
        seen = tally.delivered + tally.dead + settings.delivered_before
        if result.dead and seen >= settings.judged_after and tally.dead > settings.max_dead * seen:
            self._end(Ended(
                Ending.GUARD,
                f"{tally.dead} of {seen} records were refused, more than {settings.max_dead:.0%}; the last: "
                f"{redact.text(result.message or result.code)}",
            ))  # fmt: skip

    # -- the rest

    async def _drain(self) -> None:
        while self._tasks:
            await asyncio.wait(self._tasks)
            await asyncio.sleep(0)

    async def _abort(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _end(self, ended: Ended) -> None:
        """The first reason counts; whoever waits for a permit waits no longer."""
        self._ended = self._ended or ended
        self._note_stop()

    def _tell(self, event: Event) -> None:
        if self._observer is not None:
            self._observer(event)

    def _now(self) -> float:
        return self._clock.monotonic_ns() / SECOND

    def _wall(self) -> float:
        return self._clock.wall_ns() / SECOND
