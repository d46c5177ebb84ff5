"""Faults of state that processes share (FAULTS L2, L3, L4, L5, L6).

Shared state keeps real time: leases and lingers here are short, bounds upwards generous.
"""

from __future__ import annotations

import time

import pytest

from headway import Concurrency, Quota, TokenBucket, Window

from .support import (
    busy,
    daily,
    end,
    far_reset,
    forget_state,
    got,
    said,
    sharing,
    start,
    takes,
    until,
)

# -- L2


@pytest.mark.parametrize("rate", [0.5, 1.0])
def test_a_bucket_that_gives_places_back_stays_as_full_as_it_is(rate, tmp_path):
    """L2: level 12 of 10: the level is in calls, and must be rescaled when places change hands."""
    level, last, worst = 0.0, time.monotonic(), 0.0

    def fall() -> None:
        nonlocal level, last, worst
        now = time.monotonic()
        level = max(0.0, level - (now - last) * rate) + 1
        last, worst = now, max(worst, level)

    path, bucket = tmp_path / "limits.db", TokenBucket(rate, 10)
    with sharing(path, bucket) as one, sharing(path, bucket) as other:
        for _ in range(6):
            permit = got(one, 5)
            assert permit is not None, "told fresh, the bucket is empty"
            permit.settle()
            fall()
        stop = time.monotonic() + 4
        while time.monotonic() < stop:
            for limiter in (other, one):
                permit = limiter.try_acquire()
                if permit is not None:
                    permit.settle()
                    fall()
            time.sleep(0.01)
    assert worst <= 10.01, f"the platform's bucket held {worst:.2f} of 10"


# -- L3


def test_a_slow_disk_costs_a_live_holder_none_of_its_slots(tmp_path):
    """L3: a lease that ran out made its calls in flight forgotten, and their slots were lent again."""
    path = tmp_path / "limits.db"
    with sharing(path, Concurrency(5)) as one, sharing(path, Concurrency(5)) as other:
        flying = [got(one, 5) for _ in range(5)]
        assert None not in flying
        with busy(path):
            time.sleep(1.6)
        more = []
        stop = time.monotonic() + 2.5
        while time.monotonic() < stop:
            more += takes(other, 9) + takes(one, 9)
            time.sleep(0.05)
        assert more == [], f"{5 + len(more)} calls are in flight under a concurrency of 5"
        for permit in flying:
            permit.settle()
        assert got(other, 6) is not None, "and they come back when their replies do"


def test_a_lost_call_lingers_from_its_loss_and_not_from_a_lapse(tmp_path):
    """L3: the places of a lapsed holder came free linger after the lapse, before the calls were even lost."""
    path = tmp_path / "limits.db"
    with sharing(path, Concurrency(4), linger=3.0) as one, sharing(path, Concurrency(4), linger=3.0) as other:
        flying = [got(one, 5) for _ in range(4)]
        assert None not in flying
        with busy(path):
            time.sleep(1.6)
        time.sleep(1.0)
        lost = time.monotonic()
        for permit in flying:
            permit.lose()
        permit = got(other, 9)
        assert permit is not None
        waited = time.monotonic() - lost
        assert waited >= 2.9, f"lent again {waited:.1f} s after the loss: linger is 3 s"


HOLDER = """
    import sys
    from headway import *
    limiter = Limiter(Concurrency(10), state="limits.db", name="x", fresh=True, ttl=1.0, linger=3.0)
    held = [limiter.acquire(timeout=10) for _ in range(4)]
    print("held", flush=True)
    sys.stdin.readline()
    for permit in held:
        permit.settle()
    limiter.close()
"""


def test_a_process_that_was_stopped_keeps_its_calls_in_flight(tmp_path):
    """L3, issue 10: SIGSTOP with calls in flight under Concurrency(10): never 11."""
    import signal

    process = start(HOLDER, tmp_path)
    try:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "held"
        with sharing(tmp_path / "limits.db", Concurrency(10), ttl=1.0, linger=3.0) as limiter:
            mine = []
            assert until(8, lambda: mine.extend(takes(limiter, 9)) or len(mine) >= 6), f"{len(mine)} of 6 free slots"
            process.send_signal(signal.SIGSTOP)
            try:
                time.sleep(1.9)  # longer than ttl, shorter than ttl + linger
            finally:
                process.send_signal(signal.SIGCONT)
            stop = time.monotonic() + 4
            while time.monotonic() < stop:
                mine += takes(limiter, 9)
                time.sleep(0.05)
            assert len(mine) <= 6, f"{len(mine)} + 4 calls are in flight under a concurrency of 10"
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
            assert got(limiter, 8) is not None, "its slots come back when it says so"
    finally:
        end(process, 5)


# -- L4

SHIFTED = """
    import time
    # Set below, when everything is imported: midnight in UTC comes {seconds} seconds later.
    ahead = 0
    ns, plain = time.time_ns, time.time
    time.time_ns = lambda: ns() + ahead
    time.time = lambda: plain() + ahead / 1e9
    import json, sys
    from headway import *
    Limiter(Quota(9)).acquire().settle()

    def shared(**how):
        return Limiter(Quota(100, resets="00:00 UTC", skew=0.2), state="limits.db", name="x", ttl=0.9, linger=0.5,
                       fresh=True, **how)

    def midnight():
        time.sleep(max(0.0, begin + {seconds} - time.monotonic()))

    ahead = (-time.time_ns() - int({seconds} * 1e9)) % (86_400 * 10**9)
    begin = time.monotonic()
"""


def test_calls_in_flight_over_the_reset_are_told_to_the_shared_quota(tmp_path):
    """L4: 140 of 100: their holder had no lot and nobody queued, so it said nothing."""
    code = (
        SHIFTED.format(seconds=4)
        + """
    one, other = shared(), shared()
    slow = [one.acquire(timeout=3) for _ in range(40)]
    midnight()
    time.sleep(0.8)
    for permit in slow:
        permit.settle()
    time.sleep(0.5)
    taken, stop = 0, time.monotonic() + 6
    while time.monotonic() < stop and taken < 110:
        try:
            other.acquire(timeout=0.6).settle()
        except PermitTimeout:
            break
        taken += 1
    print(json.dumps({"taken": taken}), flush=True)
    one.close()
    other.close()
    """
    )
    found = said(code, tmp_path, seconds=25)
    assert found["ended"], f"{found}"
    assert "taken" in found, f"{found}"
    assert found["taken"] >= 50, f"the new day is hardly used: {found}"
    assert found["taken"] <= 60, f"{found['taken']} beside 40 that may count today, of 100"


# -- L5


@pytest.mark.parametrize("kind", ["window", "bucket"])
def test_fresh_is_said_once_and_is_no_amnesty_after_a_loss(kind, tmp_path):
    """L5: it went out with every ask; the state file is deleted under the living."""
    path = tmp_path / "limits.db"
    limit = Window(5, per=60) if kind == "window" else TokenBucket(0.01, 5)
    with sharing(path, limit) as limiter:
        for _ in range(5):
            permit = got(limiter, 5)
            assert permit is not None
            permit.settle()
        forget_state(path)
        more, stop = 0, time.monotonic() + 3.5
        while time.monotonic() < stop:
            permit = limiter.try_acquire()
            if permit is not None:
                permit.settle()
                more += 1
            time.sleep(0.02)
    assert more == 0, f"{5 + more} calls of 5 within a minute"


def test_fresh_is_no_amnesty_for_calls_in_flight(tmp_path):
    """L5: slots in flight when the state is lost."""
    path = tmp_path / "limits.db"
    with sharing(path, Concurrency(5)) as one, sharing(path, Concurrency(5)) as other:
        flying = [got(one, 5) for _ in range(5)]
        assert None not in flying
        forget_state(path)
        more, stop = [], time.monotonic() + 3.5
        while time.monotonic() < stop:
            more += takes(one, 9) + takes(other, 9)
            time.sleep(0.02)
    assert more == [], f"{5 + len(more)} calls in flight of 5"


# -- L6


def test_a_pause_that_is_said_while_an_answer_is_under_way_reaches_the_others(tmp_path):
    """L6: the answer wiped it."""
    path = tmp_path / "limits.db"
    with sharing(path, Window(50, per=1)) as one:
        permit = got(one, 5)
        assert permit is not None
        other = start(OTHER, tmp_path)
        assert other.stdout is not None
        assert other.stdout.readline().strip() == "ready"
        with busy(path):
            time.sleep(0.6)  # a heartbeat of ours, every 0.3 s, is under way by now
            begin = time.monotonic()
            permit.rejected("window", 4.0)
            permit.settle()
        time.sleep(1.2)
        assert other.stdin is not None
        other.stdin.write("go\n")
        other.stdin.flush()
        granted = float(other.stdout.readline() or "nan")
        end(other, 5)
    waited = granted - begin
    assert waited >= 3.5, f"another process called {waited:.1f} s after a refusal that asked for 4 s"


OTHER = """
    import sys, time
    from headway import *
    limiter = Limiter(Window(50, per=1), state="limits.db", name="x", fresh=True, ttl=0.9, linger=0.5)
    held = limiter.acquire(timeout=8)
    print("ready", flush=True)
    sys.stdin.readline()
    limiter.acquire(timeout=12).settle()
    print(time.monotonic(), flush=True)
    held.settle()
    limiter.close()
"""


def test_the_platforms_word_on_a_quota_is_not_wiped_by_an_answer(tmp_path):
    """L6: said while an ask was under way, the other process never heard of it."""
    path = tmp_path / "limits.db"
    quota = Quota(1000, resets=far_reset())
    with sharing(path, quota) as one, sharing(path, Quota(1000, resets=far_reset())) as other:
        first = got(one, 5)
        assert first is not None
        first.observe(200, daily(1000, 950))
        first.settle()
        permit = got(one, 5)
        assert permit is not None
        with busy(path):
            time.sleep(0.6)
            permit.observe(200, daily(1000, 3))
            permit.settle()
        time.sleep(1.2)
        taken = 0
        while taken < 40 and (each := got(other, 1.0)) is not None:
            each.settle()
            taken += 1
    assert taken <= 3, f"{taken} calls after the platform said that 3 are left"
