"""Who polls a limiter when time has passed, and how a granted waiter is woken.

Rules:
* A wake-up is a hint to poll, never a grant. An early or late timer does no harm.
* One daemon thread per process serves every limiter that threads, or more than one loop, use.
"""

from __future__ import annotations

import asyncio
import heapq
import os
import threading
import weakref
from collections.abc import Callable
from typing import Protocol

from headway.clock import Clock
from headway.limits.limits import SECOND

__all__ = ["Alarm", "AsyncWaiter", "LoopTimer", "ThreadTimer", "ThreadWaiter", "Waiter"]


class Waiter(Protocol):
    """Somebody who waits for a grant."""

    def wake(self) -> None:
        """It was granted; may be called from any thread."""


class ThreadWaiter:
    """A thread that waits."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def wake(self) -> None:
        self._lock.release()

    def wait(self, timeout: float | None) -> bool:
        """True if woken in time."""
        return self._lock.acquire(timeout=-1 if timeout is None else min(timeout, threading.TIMEOUT_MAX))


class AsyncWaiter:
    """A coroutine that waits, in its own loop."""

    __slots__ = ("_loop", "future")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.future: asyncio.Future[None] = loop.create_future()

    def wake(self) -> None:
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is self._loop:
            self._done()
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._done)

    def _done(self) -> None:
        if not self.future.done():
            self.future.set_result(None)


class LoopTimer:
    """The timer of the one event loop that uses a limiter."""

    __slots__ = ("_at", "_clock", "_handle", "_poll", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock, poll: Callable[[], None]) -> None:
        self.loop = loop
        self._clock = clock
        self._poll = poll
        self._at: int | None = None
        self._handle: asyncio.TimerHandle | None = None

    def set(self, at: int | None) -> None:
        if at == self._at:
            return
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._at = at
        if at is not None and not self.loop.is_closed():
            self._handle = self.loop.call_later(max(0, at - self._clock.monotonic_ns()) / SECOND, self._fire)

    def _fire(self) -> None:
        self._at = self._handle = None
        self._poll()


class ThreadTimer:
    """The part of the process's timer thread that serves one limiter."""

    __slots__ = ("_clock", "_poll", "at")

    def __init__(self, clock: Clock, poll: Callable[[], None]) -> None:
        self._clock = clock
        self._poll = weakref.WeakMethod(poll)
        self.at: int | None = None

    def set(self, at: int | None) -> None:
        if at != self.at:
            self.at = at
            if at is not None:
                _timer_thread().schedule(at, self._clock, self)

    def fire(self, at: int) -> None:
        """Called by the thread: polls unless the timer was set anew."""
        if self.at == at:
            self.at = None
            poll = self._poll()
            if poll is not None:
                poll()


class Alarm:
    """Polls one limiter when time has passed: by its only loop's own timer, or by the process's timer thread."""

    __slots__ = ("__weakref__", "_clock", "_loop_timer", "_poll", "_thread_timer")

    def __init__(self, clock: Clock, poll: Callable[[], None]) -> None:
        self._clock = clock
        self._poll = poll
        self._loop_timer: LoopTimer | None = None
        self._thread_timer: ThreadTimer | None = None

    def joined(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """A waiter in this loop, or in a thread (None); the limiter's lock is held."""
        if self._thread_timer is not None:
            return
        timer = self._loop_timer
        if loop is not None and (timer is None or timer.loop is loop or timer.loop.is_closed()):
            if timer is None or timer.loop is not loop:
                self._loop_timer = LoopTimer(loop, self._clock, self._poll)
        else:
            self._thread_timer = ThreadTimer(self._clock, self._poll)

    def set_for_threads(self, at: int | None) -> None:
        """Poll at `at`, None for not at all, if threads wait here; the limiter's lock is held."""
        if self._thread_timer is not None:
            self._thread_timer.set(at)

    def set_for_loop(self, at: int | None) -> None:
        """Poll at `at`, None for not at all, if one loop is the only user; from any thread, without the lock."""
        timer = self._loop_timer
        if timer is None or self._thread_timer is not None:
            return
        try:
            here = asyncio.get_running_loop() is timer.loop
        except RuntimeError:
            here = False
        if here:
            timer.set(at)
        elif not timer.loop.is_closed():
            timer.loop.call_soon_threadsafe(timer.set, at)


class _TimerThread:
    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._heap: list[tuple[int, int, Clock, ThreadTimer]] = []
        self._seq = 0
        self._thread = threading.Thread(target=self._run, name="headway-timer", daemon=True)
        self._thread.start()

    def schedule(self, at: int, clock: Clock, timer: ThreadTimer) -> None:
        with self._changed:
            self._seq += 1
            heapq.heappush(self._heap, (at, self._seq, clock, timer))
            if self._heap[0][3] is timer:
                self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._heap:
                    self._changed.wait()
                at, _, clock, timer = self._heap[0]
                left = at - clock.monotonic_ns()
                if left > 0 and timer.at == at:
                    self._changed.wait(left / SECOND)
                    continue
                heapq.heappop(self._heap)
            timer.fire(at)


_thread: tuple[int, _TimerThread] | None = None
_thread_lock = threading.Lock()


def _timer_thread() -> _TimerThread:
    global _thread  # noqa: PLW0603  # one per process, started when first needed
    with _thread_lock:
        if _thread is None or _thread[0] != os.getpid():
            _thread = (os.getpid(), _TimerThread())
        return _thread[1]
