"""Events told from service threads: by a thread of their own, so that no observer ever runs under a limiter's.

Rules:
* An observer that raises is logged once and costs nothing, one that blocks delays other observers and nobody else.
* Handing an event over takes no lock of ours: the garbage collector may do it.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from queue import SimpleQueue
from typing import Any

from headway.events import Event, Observer
from headway.limiter.service import Service

__all__ = ["drain", "tell", "warn"]

_log = logging.getLogger("headway")


class _Teller:
    def __init__(self) -> None:
        self.pid = os.getpid()
        self._queue: SimpleQueue[tuple[Observer, Event] | threading.Event] = SimpleQueue()
        self.thread = Service("headway-teller", self._tell_one)
        self._faulty: weakref.WeakSet[Any] = weakref.WeakSet()

    def put(self, item: tuple[Observer, Event] | threading.Event) -> None:
        self._queue.put(item)
        self.thread.ensure()

    def _tell_one(self) -> None:
        item = self._queue.get()
        if isinstance(item, threading.Event):
            item.set()
            return
        observer, event = item
        try:
            observer(event)
        except Exception:  # noqa: BLE001  # an observer is somebody else's code
            self._complain(observer)

    def _complain(self, observer: Observer) -> None:
        owner = getattr(observer, "__self__", observer)
        try:
            known = owner in self._faulty
            self._faulty.add(owner)
        except TypeError:  # it cannot be remembered
            known = False
        if not known:
            _log.exception("an observer raised on an event; it goes on being told, its errors are not logged again")


_teller = _Teller()


def tell(observer: Observer | None, event: Event) -> None:
    """Hand an event to an observer, soon and in order, from the teller's thread."""
    global _teller  # noqa: PLW0603  # one per process, made anew after a fork
    if observer is None:
        return
    if _teller.pid != os.getpid():
        _teller = _Teller()
    _teller.put((observer, event))


def drain(timeout: float) -> None:
    """Wait until what was handed over so far was told, at most `timeout` seconds."""
    told = threading.Event()
    if _teller.pid == os.getpid() and _teller.thread.running:
        _teller.put(told)
        told.wait(timeout)


def warn(text: str) -> None:
    """One line in the log."""
    _log.warning("%s", text)
