"""The thread that asks the keeper for every limiter of this process that shares one state.

Rules:
* One request for all limiters, in one transaction; a heartbeat every ttl/3, none while nothing is held.
* A keeper out of reach is asked again; meanwhile holders work until their leases end, then wait. Never fail open.
* What is held goes back when the interpreter ends.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from headway.errors import HeadwayError
from headway.limiter.state.backend import Backend, Request
from headway.limiter.state.sqlite import SQLiteBackend
from headway.limits.limits import SECOND
from headway.limits.sharing.lots import LotAnswer
from headway.limits.sharing.places import Answer

__all__ = ["Asking", "Poller", "poller_for"]


class Asking(Protocol):
    """One limiter's side."""

    def due(self) -> int | None: ...
    def requests(self) -> tuple[int, list[Request]]: ...
    def apply(self, answers: list[Answer | LotAnswer], asked: int) -> None: ...
    def failed(self, error: HeadwayError) -> None: ...
    def leave(self) -> None: ...


class Poller:
    """Asks one keeper on behalf of many members, from a daemon thread."""

    def __init__(self, keeper: Backend) -> None:
        self._backend = keeper
        self._changed = threading.Condition()
        self._members: list[Asking] = []
        self._nudged = False
        self._thread: threading.Thread | None = None
        self._asking = threading.Lock()

    def join(self, member: Asking) -> None:
        """Serve a member from now on."""
        with self._changed:
            self._members.append(member)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="headway-poller", daemon=True)
                self._thread.start()
        self.nudge()

    def leave(self, member: Asking) -> None:
        """Ask once more for a member that goes, in the caller's thread, then forget it."""
        with self._changed:
            if member not in self._members:
                return
            self._members.remove(member)
        self._ask([member])

    def nudge(self) -> None:
        """Look again when to ask."""
        with self._changed:
            self._nudged = True
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._nudged = False
                members = list(self._members)
            dues = [(member, member.due()) for member in members]
            now = time.monotonic_ns()
            ready = [member for member, at in dues if at is not None and at <= now]
            if ready:
                # Those who would ask within the second come along: one transaction, fewer commits.
                self._ask([member for member, at in dues if at is not None and at <= now + SECOND])
                continue
            first = min((at for _, at in dues if at is not None), default=None)
            with self._changed:
                if not self._nudged:
                    self._changed.wait(None if first is None else (first - now) / SECOND)

    def _ask(self, members: Sequence[Asking]) -> None:
        with self._asking:
            asked = [(member, *member.requests()) for member in members]
            try:
                answers = self._backend.exchange([request for _, _, requests in asked for request in requests])
            except HeadwayError as error:
                for member in members:
                    member.failed(error)
                return
            at = 0
            for member, when, requests in asked:
                member.apply(answers[at : at + len(requests)], when)
                at += len(requests)

    def close(self) -> None:
        """Every member leaves."""
        with self._changed:
            members = list(self._members)
        for member in members:
            member.leave()


_pollers: dict[tuple[int, str], Poller] = {}
_lock = threading.Lock()


def poller_for(url: str) -> Poller:
    """The one lender of this process for a state: "sqlite:///path" or a path."""
    path = url.removeprefix("sqlite:///") if url.startswith("sqlite:") else url
    key = (os.getpid(), str(Path(path).expanduser().resolve()))
    with _lock:
        lender = _pollers.get(key)
        if lender is None:
            keeper = SQLiteBackend(key[1])
            keeper.check()
            lender = _pollers[key] = Poller(keeper)
        return lender


def _give_back() -> None:
    for (pid, _), lender in list(_pollers.items()):
        if pid == os.getpid():
            lender.close()


def _after_fork() -> None:
    global _lock  # noqa: PLW0603  # it may have been held by a thread that the child does not have
    _lock = threading.Lock()


atexit.register(_give_back)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
