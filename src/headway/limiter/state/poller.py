"""The thread that asks the keeper for every limiter of this process that shares one state.

Rules:
* Members ask by due time: a heap, and one request for all that are due. To nudge one costs O(log n), and takes no
  lock: the garbage collector may do it.
* An error in the thread is logged once, and the thread goes on; one that died, or that a fork left behind, is started
  again by whoever nudges.
* A keeper out of reach is asked again; meanwhile holders work until their leases end, then wait. Never fail open.
* What is held goes back when a limiter is closed and when the interpreter ends, within a second; what cannot is left
  to the leases.
"""

from __future__ import annotations

import atexit
import heapq
import logging
import os
import threading
import time
from collections.abc import Iterable
from queue import Empty, SimpleQueue
from typing import Protocol

from headway.errors import HeadwayError
from headway.limiter.service import Service
from headway.limiter.state.backend import Backend, Request
from headway.limiter.state.sqlite import SQLiteBackend
from headway.limits.limits import SECOND
from headway.limits.sharing.exchange import AnyAnswer
from headway.urls import open_url

__all__ = ["Asking", "Poller", "poller_for"]

_PATIENCE = 2.0  # seconds for which others may keep the state busy
_FAREWELL = 0.8  # seconds for giving back what is held
_GATHER = SECOND // 100  # between two requests of a busy process
_ALONG = SECOND // 4  # who is due within this comes along

_log = logging.getLogger("headway")


class Asking(Protocol):
    """One limiter's side. `nudged` and `planned` are the poller's notes on it."""

    nudged: bool
    planned: int | None

    @property
    def gone(self) -> bool: ...

    def due(self) -> int | None: ...
    def requests(self) -> tuple[int, list[Request]]: ...
    def apply(self, answers: list[AnyAnswer], asked: int) -> None: ...
    def failed(self, error: HeadwayError) -> None: ...
    def noticed(self, text: str) -> None: ...
    def prepare_to_leave(self) -> None: ...


class Poller:
    """Asks one keeper on behalf of many members, from a daemon thread."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._inbox: SimpleQueue[Asking] = SimpleQueue()
        self._heap: list[tuple[int, int, Asking]] = []
        self._members: dict[int, Asking] = {}
        self._seq = 0
        self._last = 0
        self._pid = os.getpid()
        self._thread = Service("headway-poller", self._serve)
        self._asking = threading.Lock()
        self._complained: set[str] = set()
        self._ended = False

    def join(self, member: Asking) -> None:
        """Serve a member from now on."""
        self._members[id(member)] = member
        self.nudge(member)

    def nudge(self, member: Asking) -> None:
        """Look again when to ask for this member."""
        self.note(member)
        if not self._ended:
            self._thread.ensure()

    def note(self, member: Asking) -> None:
        """As `nudge`, for whoever must not start a thread."""
        if not member.nudged:
            member.nudged = True
            self._inbox.put(member)

    def leave(self, members: Iterable[Asking]) -> None:
        """Ask once more for members that go, in the caller's thread; at most a second, then their leases end."""
        going = [self._members.pop(id(member)) for member in members if id(member) in self._members]
        until = time.monotonic() + _FAREWELL
        if going and self._asking.acquire(timeout=_FAREWELL):
            try:
                for member in going:
                    member.prepare_to_leave()
                self._exchange(going, max(0.0, until - time.monotonic()))
            finally:
                self._asking.release()

    def close(self) -> None:
        """Every member leaves, in one request, and nobody asks any more: the interpreter ends."""
        self._ended = True
        self.leave(list(self._members.values()))

    # -- the thread

    def _serve(self) -> None:
        try:
            self._round()
        except Exception as error:  # noqa: BLE001  # whatever it is, others wait for this thread
            self._complain(error)
            time.sleep(0.05)

    def _complain(self, error: Exception) -> None:
        """Each kind of error is logged once."""
        kind = f"{type(error).__name__}: {error}"
        if kind not in self._complained and len(self._complained) < 100:
            self._complained.add(kind)
            _log.exception("an error in the thread that asks for shared limits; it goes on")

    def _round(self) -> None:
        self._listen()
        now = time.monotonic_ns()
        if not self._heap or self._heap[0][0] > now:
            return
        if now - self._last < _GATHER:
            time.sleep((self._last + _GATHER - now) / SECOND)  # who asks often, asks for more at once
            self._take_in()
        self._last = time.monotonic_ns()
        ready: list[Asking] = []
        while self._heap and self._heap[0][0] <= self._last + _ALONG:
            at, _, member = heapq.heappop(self._heap)
            if member.planned == at:
                member.planned = None
                if id(member) in self._members:
                    ready.append(member)
        if ready:
            try:
                with self._asking:
                    self._exchange([member for member in ready if id(member) in self._members], _PATIENCE)
            finally:
                for member in ready:
                    self._plan(member)

    def _listen(self) -> None:
        """Wait for a nudge or until somebody is due."""
        while self._heap and self._heap[0][2].planned != self._heap[0][0]:
            heapq.heappop(self._heap)
        wait = None if not self._heap else min(3600.0, max(0.0, (self._heap[0][0] - time.monotonic_ns()) / SECOND))
        try:
            first = self._inbox.get(timeout=wait) if wait is None or wait > 0 else self._inbox.get_nowait()
        except Empty:
            return
        self._see(first)
        self._take_in()

    def _take_in(self) -> None:
        try:
            while True:
                self._see(self._inbox.get_nowait())
        except Empty:
            pass

    def _see(self, member: Asking) -> None:
        member.nudged = False
        if member.gone:  # a limiter that nobody closed was forgotten
            self.leave([member])
        else:
            self._plan(member)

    def _plan(self, member: Asking) -> None:
        if id(member) not in self._members:
            return
        at = member.due()
        if at is not None and at != member.planned:
            self._seq += 1
            heapq.heappush(self._heap, (at, self._seq, member))
        member.planned = at

    def _exchange(self, members: list[Asking], patience: float) -> None:
        """One request for all of them; the lock is held."""
        asked = [(member, *member.requests()) for member in members]
        try:
            answers = self._backend.exchange([request for _, _, requests in asked for request in requests], patience)
        except HeadwayError as error:
            for member in members:
                member.failed(error)
            return
        finally:
            for text in self._backend.notices():
                for each in list(self._members.values()):
                    each.noticed(text)
        at = 0
        for member, when, requests in asked:
            try:
                member.apply(answers[at : at + len(requests)], when)
            except Exception as error:  # noqa: BLE001  # its limiter's trouble is not the others'
                self._complain(error)
            at += len(requests)


_pollers: dict[tuple[int, str], Poller] = {}
_lock = threading.Lock()


def poller_for(url: str) -> Poller:
    """The one poller of this process for a state: "sqlite:///path" or a path; UsageError for what cannot be used."""
    path = open_url(url, "state").path.expanduser().resolve()
    key = (os.getpid(), str(path))
    with _lock:
        poller = _pollers.get(key)
        if poller is None:
            backend = SQLiteBackend(str(path))
            backend.exchange((), 30.0)
            poller = _pollers[key] = Poller(backend)
        return poller


def _give_back() -> None:
    for (pid, _), poller in list(_pollers.items()):
        if pid == os.getpid():
            poller.close()


def _after_fork() -> None:
    global _lock  # noqa: PLW0603  # it may have been held by a thread that the child does not have
    _lock = threading.Lock()


atexit.register(_give_back)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
