"""The thread that asks for shared limits: supervised, started again, safe under the garbage collector."""

from __future__ import annotations

import gc
import threading
import time

import pytest

from headway.limiter.limiter import Limiter
from headway.limiter.state import poller as module
from headway.limiter.state.poller import Poller
from headway.limits.limits import Window


class Backend:
    def __init__(self) -> None:
        self.trips: list[int] = []

    def exchange(self, requests, patience=30.0):
        self.trips.append(len(requests))
        return [None] * len(requests)

    def notices(self):
        return []

    def close(self): ...


class Member:
    """Asks when told to."""

    def __init__(self) -> None:
        self.nudged, self.planned, self.gone = False, None, False
        self.at: int | None = None
        self.looked = 0
        self.applied = threading.Event()

    def due(self):
        self.looked += 1
        return self.at

    def requests(self):
        return time.monotonic_ns(), [object()]

    def apply(self, answers, asked):
        self.at = None
        self.applied.set()

    def failed(self, error): ...
    def noticed(self, text): ...
    def prepare_to_leave(self): ...


def test_those_who_are_due_ask_in_one_request_and_nobody_else_is_looked_at():
    backend = Backend()
    poller = Poller(backend)
    members = [Member() for _ in range(200)]
    for member in members:
        poller.join(member)
    until = time.monotonic() + 5
    while any(member.looked == 0 for member in members) and time.monotonic() < until:
        time.sleep(0.01)
    before = [member.looked for member in members]
    for member in members[:50]:
        member.at = time.monotonic_ns() + 200_000_000
    for member in members[:50]:
        poller.nudge(member)
    for member in members[:50]:
        assert member.applied.wait(5)
    assert sum(backend.trips) == 50
    assert len(backend.trips) <= 5, backend.trips
    assert [member.looked for member in members[50:]] == before[50:], "to nudge one is no business of the others"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_died_is_started_again_by_whoever_nudges():
    poller = Poller(Backend())
    member = Member()

    class Deadly(Member):
        def due(self):
            self.looked += 1
            raise SystemExit

    deadly = Deadly()
    poller.join(deadly)
    until = time.monotonic() + 5
    while (deadly.looked == 0 or poller._thread.running) and time.monotonic() < until:
        time.sleep(0.01)
    member.at = time.monotonic_ns()
    poller.join(member)
    assert member.applied.wait(5)


def test_the_garbage_collector_may_nudge_at_any_moment(tmp_path):
    """A permit that is dropped inside the poller's own locks must not wait for them."""
    limiter = Limiter(Window(50, per=0.2), state=tmp_path / "limits.db", name="g", fresh=True, ttl=0.6, linger=0.05)

    poller = module.poller_for(str(tmp_path / "limits.db"))
    member = next(iter(poller._members.values()))

    class Dropped:
        def __init__(self) -> None:
            self.me = self  # a cycle: only the collector ends it
            self.permit = limiter.try_acquire()

        def __del__(self) -> None:
            poller.nudge(member)

    threshold = gc.get_threshold()
    gc.set_threshold(5)
    try:
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            Dropped()
    finally:
        gc.set_threshold(*threshold)
    gc.collect()
    limiter.acquire(timeout=5).settle()
    limiter.close()


def test_all_limiters_of_a_process_go_in_one_request_at_the_end(tmp_path):
    limiters = [
        Limiter(Window(5, per=1), state=tmp_path / "limits.db", name=f"n{i}", fresh=True, ttl=30.0) for i in range(40)
    ]
    for limiter in limiters:
        limiter.acquire(timeout=5).settle()
    poller = module.poller_for(str(tmp_path / "limits.db"))
    trips = []
    plain = poller._backend.exchange
    poller._backend.exchange = lambda requests, patience: trips.append(len(requests)) or plain(requests, patience)
    poller.close()
    assert max(trips) >= 40
    with Limiter(Window(5, per=1), state=tmp_path / "limits.db", name="n7") as again:
        for _ in range(4):
            again.acquire(timeout=5).settle()
