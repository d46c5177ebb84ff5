"""How many tasks may wait: a place is handed to whoever has waited longest, thread or coroutine."""

from __future__ import annotations

import asyncio
import threading
from collections import deque

from headway.errors import QueueFull, UsageError
from headway.limiter.timers import AsyncWaiter, ThreadWaiter, Waiter

__all__ = ["Room"]


class _Seat:
    __slots__ = ("given", "waiter")

    def __init__(self, waiter: Waiter) -> None:
        self.waiter = waiter
        self.given = False


class Room:
    """`size` places; tasks put in by force (recovered, replayed) may overdraw them."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._used = 0
        self._waiting: deque[_Seat] = deque()
        self._closed = False

    def take(self, *, block: bool, timeout: float | None) -> None:
        """A place, waiting for one in this thread if `block`; raises QueueFull."""
        seat = _Seat(ThreadWaiter())
        if self._enter(seat, block=block):
            return
        woken = False
        try:
            woken = seat.waiter.wait(timeout)  # type: ignore[attr-defined]
        finally:
            self._leave(seat, kept=woken)
        self._collect(seat, timeout)

    async def take_async(self, *, block: bool, timeout: float | None) -> None:  # noqa: ASYNC109  # as in threads
        """A place, waiting for one in this event loop if `block`; raises QueueFull."""
        waiter = AsyncWaiter(asyncio.get_running_loop())
        seat = _Seat(waiter)
        if self._enter(seat, block=block):
            return
        woken = False
        try:
            done, _ = await asyncio.wait([waiter.future], timeout=timeout)
            woken = bool(done)
        finally:
            self._leave(seat, kept=woken)
        self._collect(seat, timeout)

    def _enter(self, seat: _Seat, *, block: bool) -> bool:
        with self._lock:
            self._check()
            if self._used < self._size and not self._waiting:
                self._used += 1
                return True
            if not block:
                raise QueueFull(f"{self._used} tasks wait, the queue holds {self._size}: wait, or give it more room")
            self._waiting.append(seat)
            return False

    def _leave(self, seat: _Seat, *, kept: bool) -> None:
        """Who is woken keeps the place; who gave up passes on one that came at the last moment."""
        with self._lock:
            if not seat.given and seat in self._waiting:
                self._waiting.remove(seat)
        if seat.given and not kept:
            self.give()
            seat.given = False

    def _collect(self, seat: _Seat, timeout: float | None) -> None:
        if not seat.given:
            with self._lock:
                self._check()
            raise QueueFull(f"no room for the task within {timeout or 0:g} s: the queue holds {self._size}")

    def _check(self) -> None:
        if self._closed:
            raise UsageError("the pool is closed: it takes no more tasks")

    def force(self, count: int) -> None:
        """Take places that may not be there."""
        with self._lock:
            self._used += count

    def give(self) -> None:
        """A task left the queue."""
        with self._lock:
            if self._waiting and self._used <= self._size:
                seat = self._waiting.popleft()
                seat.given = True
            else:
                self._used -= 1
                return
        seat.waiter.wake()

    def close(self) -> None:
        """Whoever waits gets an error."""
        with self._lock:
            self._closed = True
            waiting, self._waiting = list(self._waiting), deque()
        for seat in waiting:
            seat.waiter.wake()
