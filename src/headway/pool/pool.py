"""Bring your own call: a queue and workers for people whose API we do not know.

Rules:
* Work is known to exist, then a permit, then a worker, then the handler; the permit settles when the handler is back.
* Each account (limiter) is a lane of its own: one that is blocked keeps none waiting, and while there are several, one
  that has handlers at work does not take the last worker.
* A refusal for the rate never uses up a task's retries; it pauses the account it came from.
* A task is delivered, dead or pending, and the three add up to what was submitted.
"""

from __future__ import annotations

import asyncio
import heapq
import inspect
import itertools
import random
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from headway import redact
from headway.delivery.retry import GiveUp, RetryPolicy
from headway.errors import HeadwayError, RateLimited, Transient, UsageError
from headway.limiter.limiter import Limiter
from headway.limiter.permit import Permit, lost_without_reply
from headway.limits.ticket import PRIORITIES, chosen
from headway.pool.books import Books, FileBooks, MemoryBooks
from headway.pool.model import OUTCOME_UNKNOWN, DeadTask, Entry, PoolReport, waiting_time
from headway.pool.room import Room

__all__ = ["Pool"]


class _Lane:
    """The tasks of one limiter (or of none), highest priority first, then in order of submission."""

    def __init__(self, whose: Any) -> None:
        self.whose = whose
        self.limiter: Limiter | None = None if whose is None else getattr(whose, "limiter", whose)
        self.ready: list[tuple[int, int, Entry]] = []
        self.work = asyncio.Event()
        self.busy = 0

    def limits(self) -> frozenset[str] | None:
        """Of an account, those that an ordinary call counts against."""
        ask = getattr(self.whose, "ask", None)
        return None if ask is None else chosen(ask("POST", "/").limits)


class Pool:
    """Calls `handler(task)` for every task submitted, `workers` at a time, under a limiter's permits.

    `handler` returns, or raises headway.RateLimited, Transient or Rejected; any other exception makes a dead letter.
    It may be `async def`; in a `with` block it then runs in a loop of the pool's own, in an `async with` block in
    yours. `limiter`: a Limiter or an account; or `by`: task → Limiter or account. `store`: None keeps tasks in memory;
    a path or "sqlite:///path" keeps them in a file, under `name`, until they are delivered: the next pool of that file
    and name goes on with them. `repeatable=False` makes a dead letter of what a crash left with its outcome unknown,
    instead of sending it again. `queue_size`: tasks that may wait; `retry`: the back-off after Transient, of which
    `max_retries` are made. Raises UsageError; RunLocked if another process works on that pool.
    """

    def __init__(
        self,
        handler: Callable[[Any], object],
        *,
        workers: int = 8,
        limiter: Any = None,
        by: Callable[[Any], Any] | None = None,
        store: str | Path | None = None,
        name: str = "pool",
        queue_size: int = 10_000,
        max_retries: int = 3,
        retry: RetryPolicy | None = None,
        repeatable: bool = True,
    ) -> None:
        _check(handler, workers, queue_size, max_retries, both=limiter is not None and by is not None)
        self._handler = handler
        self._is_async = inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(
            getattr(handler, "__call__", None)  # noqa: B004  # an object with an async __call__
        )
        self._workers = workers
        self._by = by if by is not None else lambda _: limiter
        self._retry = retry or RetryPolicy()
        self._max_retries = max_retries
        self._repeatable = repeatable
        self._room = Room(queue_size)
        self._books: Books = MemoryBooks() if store is None else FileBooks(str(store), name)
        self._lanes: dict[int, _Lane] = {}
        self._order = itertools.count()
        self._free = workers
        self._freed: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = threading.Condition()
        self._counts = {"submitted": 0, "delivered": 0, "dead": 0, "retries": 0, "rate_limited": 0, "unknown": 0}
        self._closing = False

    # -- submitting

    def submit(
        self,
        task: Any,
        *,
        key: str = "",
        priority: str = "bulk",
        cost: int = 1,
        block: bool = True,
        timeout: float | None = None,
    ) -> None:
        """Take a task; a durable one is in the file when this returns.

        With a full queue it waits (at most `timeout` seconds), or raises QueueFull at once if not `block`. Raises
        UsageError for what makes no sense, NeverGranted for a cost that can never be had.
        """
        entry, whose = self._checked(task, key, priority, cost)
        self._room.take(block=block and not self._in_loop(), timeout=timeout)
        self._enter(entry, whose)

    async def submit_async(
        self,
        task: Any,
        *,
        key: str = "",
        priority: str = "bulk",
        cost: int = 1,
        block: bool = True,
        timeout: float | None = None,  # noqa: ASYNC109  # as for submit
    ) -> None:
        """As `submit`, waiting in this event loop."""
        entry, whose = self._checked(task, key, priority, cost)
        await self._room.take_async(block=block, timeout=timeout)
        self._enter(entry, whose)

    def _checked(self, task: Any, key: str, priority: str, cost: int) -> tuple[Entry, Any]:
        if self._loop is None:
            raise UsageError("the pool is not open: use it in a `with` or `async with` block")
        if priority not in PRIORITIES:
            raise UsageError(f"unknown priority {priority!r}: one of {', '.join(PRIORITIES)}")
        if isinstance(cost, bool) or not isinstance(cost, int) or cost < 1:
            raise UsageError(f"a task's cost must be a whole number of at least 1, not {cost!r}")
        whose = self._by(task)
        if whose is not None and not isinstance(getattr(whose, "limiter", whose), Limiter):
            raise UsageError(f"a pool needs a Limiter or an account, not {type(whose).__name__}")
        return Entry(0, task, key, priority, cost), whose

    def _enter(self, entry: Entry, whose: Any) -> None:
        try:
            entry.id = self._books.add(entry)
        except BaseException:
            self._room.give()
            raise
        with self._changed:
            self._counts["submitted"] += 1
        self._call(lambda: self._queue(entry, whose))

    def _in_loop(self) -> bool:
        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:
            return False

    def _call(self, act: Callable[[], None]) -> None:
        """Do this in the pool's loop."""
        assert self._loop is not None
        if self._in_loop():
            act()
        else:
            self._loop.call_soon_threadsafe(act)

    # -- in the loop

    def _queue(self, entry: Entry, whose: Any) -> None:
        lane = self._lanes.get(id(whose))
        if lane is None:
            lane = self._lanes[id(whose)] = _Lane(whose)
            self._spawn(self._run_lane(lane))
        heapq.heappush(lane.ready, (PRIORITIES[entry.priority], next(self._order), entry))
        lane.work.set()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run_lane(self, lane: _Lane) -> None:
        while True:
            while not lane.ready:
                lane.work.clear()
                await lane.work.wait()
            await self._a_worker(lane)
            first = lane.ready[0][2]
            permit, error = await self._permit(lane, first)
            if error is not None:
                heapq.heappop(lane.ready)
                self._bury(first, error)
                continue
            if not self._may_work(lane):  # others were quicker
                if permit is not None:
                    permit.cancel()
                continue
            entry = heapq.heappop(lane.ready)[2]
            if permit is not None and entry.cost != first.cost:
                heapq.heappush(lane.ready, (PRIORITIES[entry.priority], -next(self._order), entry))
                permit.cancel()
                continue
            self._free -= 1
            lane.busy += 1
            self._spawn(self._work(lane, entry, permit))

    def _may_work(self, lane: _Lane) -> bool:
        kept = 1 if lane.busy and len(self._lanes) > 1 and self._workers > 1 else 0
        return self._free > kept

    async def _a_worker(self, lane: _Lane) -> None:
        while not self._may_work(lane):
            assert self._freed is not None
            self._freed.clear()
            await self._freed.wait()

    async def _permit(self, lane: _Lane, entry: Entry) -> tuple[Permit | None, HeadwayError | None]:
        if lane.limiter is None:
            return None, None
        if not getattr(lane.whose, "prepared", True):
            await asyncio.to_thread(lane.whose.prepare)
        try:
            permit = await lane.limiter.acquire_async(entry.cost, priority=entry.priority, limits=lane.limits())
        except HeadwayError as error:  # NeverGranted, LimiterClosed: waiting would not help
            return None, error
        return permit, None

    async def _work(self, lane: _Lane, entry: Entry, permit: Permit | None) -> None:
        entry.attempts += 1
        try:
            self._books.lease(entry)
            error = await self._handle(entry)
            again = self._settled(lane, entry, permit, error)
        finally:
            if permit is not None and not permit.over:
                permit.lose()
            self._free += 1
            lane.busy -= 1
            assert self._freed is not None
            self._freed.set()
        if again is not None:
            asyncio.get_running_loop().call_later(again, self._queue, entry, lane.whose)

    async def _handle(self, entry: Entry) -> BaseException | None:
        """What the handler raised."""
        try:
            if self._is_async:
                await self._handler(entry.task)  # type: ignore[misc]
            else:
                await asyncio.get_running_loop().run_in_executor(self._threads, self._handler, entry.task)
        except asyncio.CancelledError:
            if self._closing:
                raise
            return ConnectionError("the handler cancelled itself")
        except Exception as error:  # noqa: BLE001  # whatever a handler raises must not end the pool
            return error
        return None

    def _settled(self, lane: _Lane, entry: Entry, permit: Permit | None, error: BaseException | None) -> float | None:
        """Write down how it went; seconds until it goes again, None if it does not."""
        if permit is not None:
            if isinstance(error, RateLimited):
                permit.rejected(error.limit, waiting_time(error.retry_after))
            if error is not None and not isinstance(error, HeadwayError) and lost_without_reply(error):
                permit.lose()
            else:
                permit.settle()
        if error is None:
            self._books.done(entry)
            self._count("delivered")
            return None
        if isinstance(error, RateLimited):
            self._books.back(entry, type(error).__name__, redact.text(error))
            self._count("rate_limited")
            return 0.0 if lane.limiter is not None else waiting_time(error.retry_after) or 1.0
        if isinstance(error, Transient) and entry.retries < self._max_retries:
            return self._again(entry, error)
        self._bury(entry, error)
        return None

    def _again(self, entry: Entry, error: Transient) -> float:
        entry.retries += 1
        self._books.back(entry, type(error).__name__, redact.text(error))
        self._count("retries")
        said = waiting_time(error.retry_after)
        decision = self._retry.decide(min(entry.retries, self._retry.attempts - 1), 0.0, random.random(), said)
        return self._retry.cap if isinstance(decision, GiveUp) else decision.when

    def _bury(self, entry: Entry, error: BaseException) -> None:
        self._books.dead(entry, type(error).__name__, redact.text(error)[:2000])
        self._count("dead")

    def _count(self, what: str) -> None:
        if what in {"delivered", "dead"}:
            self._room.give()
        with self._changed:
            self._counts[what] += 1
            self._changed.notify_all()

    # -- books

    def report(self) -> PoolReport:
        """The books as they stand."""
        with self._changed:
            return PoolReport(**self._counts)

    def dead(self) -> list[DeadTask]:
        """Every dead letter, with payload, error and retry count; a durable pool's from earlier processes, too."""
        return self._books.letters()

    def replay(self, *, rate: float | None = None, where: Callable[[DeadTask], bool] | None = None) -> int:
        """Send dead letters again, those of which `where` holds, at the lowest priority and at most `rate` a second.

        Returns how many. Raises UsageError for a rate that is not above 0.
        """
        if rate is not None and not rate > 0:
            raise UsageError(f"replay: rate must be above 0 a second, not {rate!r}")
        if self._loop is None:
            raise UsageError("the pool is not open: use it in a `with` or `async with` block")
        chosen = [letter for letter in self.dead() if where is None or where(letter)]
        entries = [(Entry(letter.id, letter.task, letter.key, "replay"), self._by(letter.task)) for letter in chosen]
        self._books.revive(chosen)
        self._room.force(len(entries))
        with self._changed:
            self._counts["submitted"] += len(entries)
        gap = 0.0 if rate is None else 1 / rate

        def begin() -> None:
            for number, (entry, whose) in enumerate(entries):
                asyncio.get_running_loop().call_later(number * gap, self._queue, entry, whose)

        self._call(begin)
        return len(entries)

    def join(self, timeout: float | None = None) -> bool:
        """Wait in this thread until every task is delivered or dead; False if that took longer than `timeout`."""
        if self._in_loop():
            raise UsageError("join() would block the pool's own loop: await join_async()")
        with self._changed:
            return self._changed.wait_for(
                lambda: self._counts["submitted"] == self._counts["delivered"] + self._counts["dead"], timeout
            )

    async def join_async(self) -> None:
        """As `join`, in an event loop."""
        while not await asyncio.to_thread(self._joined_soon):
            pass

    def _joined_soon(self) -> bool:
        with self._changed:
            return self._changed.wait_for(
                lambda: self._counts["submitted"] == self._counts["delivered"] + self._counts["dead"], 0.25
            )

    # -- opening and closing

    def _open(self) -> None:
        self._freed = asyncio.Event()
        self._threads = None if self._is_async else ThreadPoolExecutor(self._workers, "headway-pool")
        for entry, unknown in self._books.unfinished():
            self._counts["submitted"] += 1
            self._room.force(1)
            if unknown:
                self._counts["unknown"] += 1
            if unknown and not self._repeatable:
                self._books.dead(entry, OUTCOME_UNKNOWN, "its handler was at work when the process ended")
                self._count("dead")
            else:
                self._queue(entry, self._by(entry.task))

    async def _stop(self) -> None:
        """No more permits; handlers at work are waited for."""
        self._closing = True
        self._room.close()
        working = [task for task in self._tasks if task.get_coro().__name__ == "_work"]  # type: ignore[union-attr]
        for task in self._tasks - set(working):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def close(self) -> None:
        """Finish what handlers are at work on and stop; what waits stays in the file of a durable pool. Idempotent."""
        if self._thread is None or self._loop is None:
            self._books.close() if self._loop is None and not self._closing else None
            self._closing = True
            return
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._thread = None
        self._end()

    def _end(self) -> None:
        if self._threads is not None:
            self._threads.shutdown()
        self._books.close()

    def __enter__(self) -> Self:
        if self._loop is not None:
            raise UsageError("a pool is good for one `with` block: make another")
        loop = self._loop = asyncio.new_event_loop()

        def run() -> None:
            asyncio.set_event_loop(loop)
            loop.run_forever()
            loop.close()

        self._thread = threading.Thread(target=run, name="headway-pool", daemon=True)
        self._thread.start()

        async def begin() -> None:
            self._open()

        asyncio.run_coroutine_threadsafe(begin(), loop).result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        try:
            if error is None:
                self.join()
        finally:
            self.close()
        return False

    async def __aenter__(self) -> Self:
        if self._loop is not None:
            raise UsageError("a pool is good for one `async with` block: make another")
        self._loop = asyncio.get_running_loop()
        self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        try:
            if error is None:
                await self.join_async()
        finally:
            await self._stop()
            self._end()
        return False


def _check(handler: object, workers: int, queue_size: int, max_retries: int, *, both: bool) -> None:
    if not callable(handler):
        raise UsageError(f"a pool's handler must be a function of one task, not {type(handler).__name__}")
    for what, number, least in (
        ("workers", workers, 1),
        ("queue_size", queue_size, 1),
        ("max_retries", max_retries, 0),
    ):
        if isinstance(number, bool) or not isinstance(number, int) or number < least:
            raise UsageError(f"{what} must be a whole number of at least {least}, not {number!r}")
    if both:
        raise UsageError("give a pool `limiter` or `by`, not both")
