"""Faults of exceptions out of signal handlers, and of permits asked for in them (FAULTS L20, L21)."""

from __future__ import annotations

import pytest

from .support import said

LIMITS = {
    "concurrency": "Concurrency(50)",
    "window": "Window(50, per=0.2)",
    "all": "Window(50, per=0.2), Quota(10_000_000, resets='00:00 UTC', skew=0), Concurrency(50)",
    "bucket": "TokenBucket(500, 50)",
}


INTERRUPTED = """
    import json, signal, sys, time
    from headway import *

    class Boom(Exception):
        pass

    armed = False

    def ring(*_):
        global armed
        if armed:
            armed = False
            raise Boom

    limiter = Limiter({limits}, linger=0.1)
    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.00037)
    end = time.monotonic() + 2.5
    hits = 0
    while time.monotonic() < end:
        try:
            armed = True
            for _ in range(50):
                with limiter.permit(timeout=0.5):
                    pass
            armed = False
        except Boom:
            hits += 1
        except TimeoutError:
            armed = False
    signal.setitimer(signal.ITIMER_REAL, 0)
    time.sleep(1.0)
    held = []
    while len(held) < 60:
        permit = limiter.try_acquire()
        if permit is None:
            break
        held.append(permit)
    status = limiter.snapshot()
    print(json.dumps({{"hits": hits, "free": len(held), "in_flight": max(each.in_flight for each in status)}}))
"""


@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)
def test_exceptions_out_of_signal_handlers_cost_no_place(limits, tmp_path):
    """L20: 48 of 50 slots were gone after 28,000 interrupts."""
    found = said(INTERRUPTED.format(limits=limits), tmp_path, seconds=20)
    assert found["ended"], f"it hangs: {found}"
    assert found.get("hits", 0) > 100, f"it did not do what it should: {found}"
    assert found["free"] == 50, f"{found['free']} of 50 places are left after {found['hits']} interrupts"
    assert found["in_flight"] == 50, f"{found}"


IN_A_WAIT = """
    import json, signal, threading, time
    from headway import *

    class Boom(Exception):
        pass

    def ring(*_):
        raise Boom

    signal.signal(signal.SIGALRM, ring)
    limiter = Limiter(Concurrency(5), linger=0.1)
    stop = []

    def use():
        while not stop:
            with limiter.permit():
                time.sleep(0.0005)

    threads = [threading.Thread(target=use, daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    hits, end = 0, time.monotonic() + 2.5
    while time.monotonic() < end:
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.0017)
            for _ in range(100):
                limiter.acquire(timeout=1).settle()
        except Boom:
            hits += 1
        except TimeoutError:
            pass
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    stop.append(True)
    for thread in threads:
        thread.join(3)
    time.sleep(0.8)
    held = 0
    keep = []
    while held < 9:
        permit = limiter.try_acquire()
        if permit is None:
            break
        keep.append(permit)
        held += 1
    print(json.dumps({"hits": hits, "free": held, "hung": sum(thread.is_alive() for thread in threads)}))
"""


def test_an_exception_that_ends_a_wait_gives_the_grant_on(tmp_path):
    """L20: a soft limit, Ctrl-C in a notebook: the waiter was granted just then."""
    found = said(IN_A_WAIT, tmp_path, seconds=25)
    assert found["ended"], f"it hangs: {found}"
    assert found.get("hits", 0) > 50, f"it did not do what it should: {found}"
    assert found["hung"] == 0, f"threads wait for ever: {found}"
    assert found["free"] == 5, f"{found['free']} of 5 slots are left after {found['hits']} interrupts"


SIGNAL = """
    import json, signal, threading, time
    from headway import *

    class Clock:
        # The signal comes while the limiter reads its clock, wherever that is.
        armed = False
        wall_ns = staticmethod(time.time_ns)

        def monotonic_ns(self):
            if self.armed and threading.current_thread() is threading.main_thread():
                self.armed = False
                signal.raise_signal(signal.SIGUSR1)
            return time.monotonic_ns()

    told = []

    def ring(*_):
        begin = time.monotonic()
        try:
            permit = {ask}
            told.append("none" if permit is None else "granted")
            if permit is not None:
                permit.settle()
        except Exception as error:
            told.append("refused" if isinstance(error, HeadwayError) else type(error).__name__)
        told.append(time.monotonic() - begin)

    clock = Clock()
    limiter = Limiter({limits}, clock=clock, linger=0.1)
    signal.signal(signal.SIGUSR1, ring)
    permit = limiter.acquire(timeout=5)
    clock.armed = True
    {inside}
    print(json.dumps({{"told": told}}))
"""


@pytest.mark.parametrize("ask", ["limiter.acquire(timeout=30)", "limiter.try_acquire()"])
@pytest.mark.parametrize(
    ("limits", "inside"),
    [
        ("Window(9, per=60), Concurrency(9)", "permit.settle()"),
        ("Window(9, per=60), Concurrency(9)", "limiter.acquire(timeout=5).settle()"),
        ("Quota(9)", "limiter.snapshot()"),
    ],
    ids=["settling", "asking", "looking"],
)
def test_a_permit_asked_for_in_a_signal_handler_is_refused_at_once(ask, limits, inside, tmp_path):
    """L21: it deadlocked while its own thread was inside the limiter. Outside of it, it may be granted."""
    found = said(SIGNAL.format(ask=ask, limits=limits, inside=inside), tmp_path, seconds=6)
    assert found["ended"], "the handler waits for its own thread"
    assert len(found.get("told", ())) == 2, f"{found}"
    answer, seconds = found["told"]
    assert answer in {"none", "granted", "refused"}, f"{answer}"
    assert seconds < 3, f"refused, but after {seconds:.1f} s"
