"""Who polls a limiter when time has passed, and how a granted waiter is woken.

Rules:
* A wake-up is a hint to poll or to look, never a grant. One that is early, late or repeated does no harm.
* While one event loop is the only one that waits, its own timer polls; as soon as a thread or a second loop joins, the
  supervisor does: one daemon thread per process.
* While anybody waits, the supervisor looks at the limiter once a second, whatever was lost: a timer, a wake-up, an
  event loop that stopped. Nothing that it calls can end it, and whoever needs it starts it again if it is gone.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Protocol

from headway.clock import Clock, SystemClock
from headway.limiter.service import Service
from headway.limits.limits import SECOND

__all__ = ["Alarm", "AsyncWaiter", "Polled", "ThreadWaiter", "Waiter", "Watch", "supervisor"]

_TICK = 1.0
_SOON = 0.1  # seconds of waiting that are worth no look
_log = logging.getLogger("headway")


class Waiter(Protocol):
    """Somebody who waits for a grant."""

    def wake(self) -> None: ...
    def listening(self) -> bool: ...
    def gone(self) -> bool: ...


class Polled(Protocol):
    """What timers need of a limiter."""

    _clock: Clock
    _wake: int | None
    _watched: bool

    def _poll(self) -> None: ...
    def _tick(self) -> bool: ...


class ThreadWaiter:
    """A thread that waits."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def wake(self) -> None:
        """It was granted; may be called from any thread, and more than once."""
        with suppress(RuntimeError):  # woken already
            self._lock.release()

    def listening(self) -> bool:
        return True

    def gone(self) -> bool:
        return False

    def wait(self, timeout: float | None) -> bool:
        """True if woken in time."""
        return self._lock.acquire(timeout=-1 if timeout is None else min(max(timeout, 0.0), threading.TIMEOUT_MAX))


class AsyncWaiter:
    """A coroutine that waits, in its own loop."""

    __slots__ = ("_loop", "expired", "future")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.future: asyncio.Future[None] = loop.create_future()
        self.expired = False

    def wake(self) -> None:
        """It was granted; may be called from any thread, and more than once."""
        if _running_loop() is self._loop:
            self._done()
        else:
            with suppress(RuntimeError):  # the loop was closed: the supervisor takes the grant back
                self._loop.call_soon_threadsafe(self._done)

    def listening(self) -> bool:
        return self._loop.is_running()

    def gone(self) -> bool:
        return self._loop.is_closed()

    def expire(self) -> None:
        """The time that it would wait is over; called in its loop."""
        self.expired = True
        self._done()

    def woken(self) -> asyncio.Future[None]:
        """Done once it is woken or has expired; to be asked for again after each."""
        if self.future.done() and not self.expired:
            self.future = self._loop.create_future()
        return self.future

    def _done(self) -> None:
        if not self.future.done():
            self.future.set_result(None)


class Watch:
    """When somebody who waits in an event loop looks at how long it will be: after as long as each look says, and soon
    after something was learned; not at once, for the first word is often not the last.
    """  # noqa: D205

    __slots__ = ("_due", "_handle", "_look", "_loop", "_waiter")

    def __init__(self, waiter: AsyncWaiter, loop: asyncio.AbstractEventLoop, look: Callable[[], float]) -> None:
        self._waiter = waiter
        self._loop = loop
        self._look = look
        self._due = False
        self._handle = loop.call_later(_SOON, self._fire)

    def soon(self) -> None:
        """Something was learned; from any thread."""
        with suppress(RuntimeError):  # the loop was closed
            self._loop.call_soon_threadsafe(self._hasten)

    def look(self) -> None:
        """Look if it is time; what the look raises ends the wait."""
        if self._due:
            self._due = False
            self._handle = self._loop.call_later(self._look(), self._fire)

    def end(self) -> None:
        """The wait is over."""
        self._handle.cancel()

    def _hasten(self) -> None:
        if not self._handle.cancelled() and self._handle.when() > self._loop.time() + _SOON:
            self._handle.cancel()
            self._handle = self._loop.call_later(_SOON, self._fire)

    def _fire(self) -> None:
        self._due = True
        self._waiter.wake()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class Alarm:
    """Polls one limiter when time has passed: by its only loop's own timer, or by the supervisor."""

    __slots__ = ("_at", "_by_thread", "_handle", "_limiter", "_loop")

    def __init__(self, limiter: Polled) -> None:
        self._limiter = weakref.ref(limiter)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._handle: asyncio.TimerHandle | None = None
        self._at: int | None = None
        self._by_thread = False

    def joined(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """A waiter in this loop, or in a thread (None); the limiter's lock is held."""
        if self._by_thread or loop is self._loop:
            self._by_thread = self._by_thread or loop is None
            return
        if loop is not None and (self._loop is None or self._loop.is_closed()):
            self._loop, self._handle, self._at = loop, None, None
        else:
            self._by_thread, self._at = True, None

    def set(self) -> None:
        """The instant of the limiter's next poll changed; from any thread, without the lock."""
        limiter = self._limiter()
        if limiter is None:
            return
        if self._by_thread:
            at = limiter._wake
            if at is not None and (self._at is None or at < self._at):
                self._at = at
                supervisor().schedule(at, limiter, self)
            return
        loop = self._loop
        if loop is None:
            return
        if _running_loop() is loop:
            self._refresh()
        else:
            with suppress(RuntimeError):  # the loop was closed
                loop.call_soon_threadsafe(self._refresh)

    def fired(self) -> None:
        """The supervisor polls now."""
        self._at = None

    def _refresh(self) -> None:
        """In the loop: set its timer to what the limiter says now, not to what it said to whoever came late."""
        limiter, loop = self._limiter(), self._loop
        at = None if limiter is None or self._by_thread else limiter._wake
        if at == self._at or limiter is None or loop is None:
            return
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._at = at
        if at is not None and not loop.is_closed():
            self._handle = loop.call_later(max(0, at - limiter._clock.monotonic_ns()) / SECOND, self._fire)

    def _fire(self) -> None:
        self._at = self._handle = None
        limiter = self._limiter()
        if limiter is not None:
            limiter._poll()


class _Supervisor:
    """Timers of limiters that threads wait for, and a look once a second at every limiter that anybody waits for.

    Who waits only puts a note into its inbox, which takes no lock of ours: an exception out of a signal handler, or the
    garbage collector, may come at any instruction.
    """

    def __init__(self) -> None:
        self._inbox: SimpleQueue[tuple[int, Clock, weakref.ref[Polled], Alarm] | weakref.ref[Polled]] = SimpleQueue()
        self._timers: list[tuple[int, int, Clock, weakref.ref[Polled], Alarm]] = []
        self._watched: set[weakref.ref[Polled]] = set()
        self._seq = 0
        self._next_tick = 0.0
        self._thread = Service("headway-timers", self._serve)

    def schedule(self, at: int, limiter: Polled, alarm: Alarm) -> None:
        """Poll the limiter at this instant of its clock."""
        self._inbox.put((at, limiter._clock, weakref.ref(limiter), alarm))
        self._thread.ensure()

    def watch(self, limiter: Polled) -> None:
        """Look at the limiter once a second until it says that nobody waits."""
        if not isinstance(limiter._clock, SystemClock):
            return  # a clock that a test owns does not go on by itself
        if not limiter._watched:
            self._inbox.put(weakref.ref(limiter))
            limiter._watched = True
        self._thread.ensure()

    # -- the thread

    def _serve(self) -> None:
        try:
            self._listen()
            self._turn()
        except Exception:  # noqa: BLE001  # a limiter that fails must not end the timers of the others
            _log.exception("headway: a limiter's timer failed; it goes on")

    def _listen(self) -> None:
        """Wait for a note, or for the next timer or tick."""
        left = self._left()
        try:
            self._note(self._inbox.get(timeout=left) if left is None or left > 0 else self._inbox.get_nowait())
            while True:
                self._note(self._inbox.get_nowait())
        except Empty:
            pass

    def _note(self, note: tuple[int, Clock, weakref.ref[Polled], Alarm] | weakref.ref[Polled]) -> None:
        if isinstance(note, weakref.ref):
            if not self._watched:
                self._next_tick = time.monotonic() + _TICK
            self._watched.add(note)
        else:
            at, clock, ref, alarm = note
            self._seq += 1
            heapq.heappush(self._timers, (at, self._seq, clock, ref, alarm))

    def _left(self) -> float | None:
        """Seconds until the next timer or tick; None for ever."""
        waits = []
        if self._timers:
            at, _, clock, _, _ = self._timers[0]
            waits.append((at - clock.monotonic_ns()) / SECOND)
        if self._watched:
            waits.append(self._next_tick - time.monotonic())
        return min(waits, default=None)

    def _turn(self) -> None:
        while self._timers and self._timers[0][0] <= self._timers[0][2].monotonic_ns():
            _, _, _, ref, alarm = heapq.heappop(self._timers)
            alarm.fired()
            limiter = ref()
            if limiter is not None:
                self._safely(limiter._poll)
            del limiter
        if self._watched and time.monotonic() >= self._next_tick:
            self._next_tick = time.monotonic() + _TICK
            for ref in list(self._watched):
                self._look_at(ref)

    def _look_at(self, ref: weakref.ref[Polled]) -> None:
        limiter = ref()
        if limiter is not None and self._safely(limiter._tick):
            return
        self._watched.discard(ref)
        if limiter is not None:
            limiter._watched = False
            if self._safely(limiter._tick):  # somebody came in the meantime
                limiter._watched = True
                self._watched.add(ref)

    @staticmethod
    def _safely(step: Callable[[], bool | None]) -> bool:
        try:
            return bool(step())
        except Exception:  # noqa: BLE001  # the others' timers must not wait for this one's error
            _log.exception("headway: a limiter's poll failed; it is polled again")
            return True


_supervisor: tuple[int, _Supervisor] | None = None
_lock = threading.RLock()


def supervisor() -> _Supervisor:
    """The one of this process, made when first needed."""
    global _supervisor  # noqa: PLW0603  # one per process
    found = _supervisor
    if found is not None and found[0] == os.getpid():
        return found[1]
    with _lock:
        if _supervisor is None or _supervisor[0] != os.getpid():
            _supervisor = (os.getpid(), _Supervisor())
        return _supervisor[1]


def _after_fork() -> None:
    global _lock  # noqa: PLW0603  # it may have been held by a thread that the child does not have
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
