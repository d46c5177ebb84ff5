"""Threads that serve all limiters of a process: started when needed, and again by whoever needs one that is gone."""

from __future__ import annotations

import _thread
import threading
from collections.abc import Callable

__all__ = ["Service"]


class Service:
    """One such thread: turn after turn, for ever. Exceptions and the garbage collector may come at any instruction."""

    __slots__ = ("_name", "_running", "_turn")

    def __init__(self, name: str, turn: Callable[[], None]) -> None:
        """`turn` deals with its own exceptions; what gets out of it ends the thread."""
        self._name = name
        self._turn = turn
        self._running = threading.Lock()  # held by the thread, as long as there is one

    @property
    def running(self) -> bool:
        """Whether there is a thread."""
        return self._running.locked()

    def ensure(self) -> None:
        """Start the thread if there is none."""
        # No Thread object: its start() waits for the thread under locks that an exception would leave in disorder.
        if not self._running.locked():
            _thread.start_new_thread(self._serve, ())

    def _serve(self) -> None:
        if not self._running.acquire(blocking=False):
            return  # somebody else was started at the same time
        try:
            threading.current_thread().name = self._name  # for people who list threads
            while True:
                self._turn()
        finally:
            self._running.release()
