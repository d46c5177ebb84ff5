"""Faults of clocks, first uses, losses and names of shared state (FAULTS L19, L29, L30, L41, L42)."""

from __future__ import annotations

import logging
import threading
import time

import pytest

import headway
from headway import Concurrency, Limiter, PermitTimeout, Quota, Window
from headway.clock import SystemClock
from headway.testing import VirtualClock
from tests.counting import most_in_any

from .support import (
    Reply,
    busy,
    end,
    far_reset,
    forget_state,
    got,
    outcome,
    platform,
    said,
    session_of,
    sharing,
    start,
    takes,
    until,
    within,
)

YEAR = 365 * 86_400


# -- L19


class Elsewhere(SystemClock):
    """A machine whose wall clock is wrong."""

    def __init__(self, ahead: int) -> None:
        self.ahead = ahead

    def wall_ns(self) -> int:
        return time.time_ns() + self.ahead * 1_000_000_000


@pytest.mark.parametrize("ahead", [YEAR, 2 * 86_400, 100 * YEAR])
def test_one_clock_that_is_ahead_turns_nobody_elses_day(ahead, tmp_path):
    """L19: every process was blocked until that day had come."""
    path = tmp_path / "limits.db"
    for clock in (Elsewhere(0), Elsewhere(ahead), Elsewhere(0)):
        with sharing(path, Quota(1000, resets=far_reset()), clock=clock) as limiter:
            permit = got(limiter, 4)
            if clock.ahead == 0:
                assert permit is not None, "the quota's day is over for everybody else"
            if permit is not None:
                permit.observe(200, {})
                permit.settle()


@pytest.mark.parametrize("ahead", [YEAR, 40 * 86_400])
def test_a_clock_that_was_set_ahead_and_back_costs_no_day(ahead):
    """L19 in memory: the period never turned back."""
    clock = VirtualClock()
    limiter = Limiter(Quota(10, resets="00:00 UTC"), clock=clock)
    assert len(takes(limiter, 3)) == 3
    clock.jump(ahead)
    for _ in range(4):
        clock.advance(70)
        takes(limiter, 1)
    clock.jump(-ahead)
    for _ in range(4):
        clock.advance(70)
        takes(limiter, 1)
    takes(limiter, 20)
    clock.advance(86_400)
    takes(limiter, 1)
    clock.advance(70)
    assert len(takes(limiter, 20)) >= 8, "a day later the quota is new"


# -- L29


def test_the_first_use_of_a_file_beside_another_is_a_first_use(tmp_path):
    """L29: judged by folder, it was taken for a loss: 46 s of waiting."""
    with sharing(tmp_path / "a.db", Window(5, per=0.5)) as busy_one:
        assert got(busy_one, 5) is not None
        with Limiter(Window(5, per=0.5), state=tmp_path / "b.db", name="x") as limiter:
            permit = got(limiter, 4)
            assert permit is not None, "nothing was lost: one call may find out"
            permit.settle()


@pytest.mark.parametrize("fresh", [True, False])
def test_the_first_use_of_a_quota_beside_another_file_begins_unused(fresh, tmp_path):
    """L29: it counted as used up until midnight, `fresh=True` or not."""
    with sharing(tmp_path / "a.db", Window(5, per=0.5)) as busy_one:
        assert got(busy_one, 5) is not None
        quota = Quota(100, resets=far_reset())
        with Limiter(quota, state=tmp_path / "b.db", name="x", ttl=0.9, linger=0.5, fresh=fresh) as limiter:
            permit = got(limiter, 4)
            assert permit is not None, "used up, before a single call"
            permit.observe(200, {})
            permit.settle()
            assert got(limiter, 4) is not None


def test_a_quota_whose_state_was_lost_is_what_the_living_remember(tmp_path):
    """L29: the day was gone. Without a header's word, the highest figure that a live process remembers counts."""
    path = tmp_path / "limits.db"
    with sharing(path, Quota(100, resets=far_reset())) as limiter:
        for _ in range(20):
            permit = got(limiter, 5)
            assert permit is not None
            permit.settle()
        forget_state(path)
        taken = 0
        while taken < 100 and (permit := got(limiter, 2.5)) is not None:
            permit.settle()
            taken += 1
    assert taken >= 40, f"{taken} of 80 that are left: the day counts as used up"
    assert taken <= 80, f"{20 + taken} of 100"


def spoil(path) -> None:
    """A file that was one of ours once, damaged behind its first page's head."""
    content = bytearray(path.read_bytes())
    content[100:] = bytes((31 * at + 7) % 256 for at in range(len(content) - 100))
    path.write_bytes(content)
    for each in path.parent.glob(path.name + "-*"):
        each.unlink()


USED = """
    from headway import *
    with Limiter(Window(5, per=0.5), state="limits.db", name="x", fresh=True) as limiter:
        limiter.acquire(timeout=9).settle()
    print('{"used": true}')
"""


def test_a_damaged_state_counts_as_lost_and_is_moved_aside(tmp_path):
    """L29: it ended with an error."""
    path = tmp_path / "limits.db"
    assert said(USED, tmp_path) == {"ended": True, "wrote": "", "used": True}
    spoil(path)
    before = path.read_bytes()
    notes = []

    def use():
        with sharing(path, Window(5, per=0.5), observer=notes.append) as again:
            return again.acquire(timeout=8)

    ended = within(20, use)
    assert ended.fine, f"{ended}"
    kept = [each for each in tmp_path.iterdir() if each.is_file() and each.read_bytes()[:4096] == before[:4096]]
    assert kept, "the damaged file is gone: it is moved aside, not thrown away"
    assert any("damaged" in str(note) or kept[0].name in str(note) for note in notes), f"it does not say so: {notes}"


def test_a_state_that_is_damaged_under_the_living_counts_as_lost(tmp_path):
    """L29: the same while a limiter works with it."""
    path = tmp_path / "limits.db"
    with sharing(path, Window(5, per=0.5)) as limiter:
        permit = got(limiter, 5)
        assert permit is not None
        permit.settle()
        time.sleep(0.3)
        content = path.read_bytes()
        forget_state(path)
        path.write_bytes(content)
        spoil(path)
        time.sleep(1.2)  # its lease is over
        permit = got(limiter, 8)
        assert permit is not None, "out of reach for ever"


# -- L30


@pytest.mark.parametrize("limits", [(Window(5, per=1),), (Window(5, per=1), Quota(100), Concurrency(3))], ids=len)
def test_closing_does_not_wait_for_a_locked_file(limits, tmp_path):
    """L30: closing a shared limiter while its file was locked took 30 s."""
    path = tmp_path / "limits.db"
    limiter = Limiter(*limits, state=path, name="x", fresh=True)
    permit = got(limiter, 5)
    assert permit is not None
    permit.settle()
    with busy(path):
        ended = within(5, limiter.close)
    assert ended.ended, "close() waits for the file"
    assert ended.error is None, f"{ended}"


def test_nobody_who_waits_is_kept_by_a_locked_file(tmp_path):
    """L30: neither is a `try_acquire` that would have to ask, nor a wait with a timeout."""
    path = tmp_path / "limits.db"
    with sharing(path, Window(2, per=60)) as one, sharing(path, Window(2, per=60)) as other:
        assert got(one, 5) is not None
        with busy(path):
            ways = [within(6, lambda: other.try_acquire()), within(6, lambda: other.acquire(timeout=1))]
            closed = within(6, other.close)
    assert all(each.ended for each in ways), "it waits for the file"
    assert closed.ended, "close() waits for the file"


# -- L41


def taken_in_turn(seconds: float, *limiters: Limiter) -> list[float]:
    """When each of these gave a permit, asked in turn for so many seconds."""
    stamps = []
    stop = time.monotonic() + seconds
    while time.monotonic() < stop:
        for limiter in limiters:
            permit = limiter.try_acquire()
            if permit is not None:
                stamps.append(time.monotonic())
                permit.settle()
        time.sleep(0.005)
    return stamps


@pytest.mark.parametrize("order", ["strict first", "strict last"])
def test_the_stricter_of_two_figures_under_one_name_holds_and_says_so(order, tmp_path):
    """L41: 10 and 1,000 a second under one shared name: 300 at once to the second, no word."""
    notes: list[object] = []
    path = tmp_path / "limits.db"
    figures = (10, 1000) if order == "strict first" else (1000, 10)
    with (
        sharing(path, Window(figures[0], per=2), observer=notes.append) as one,
        sharing(path, Window(figures[1], per=2), observer=notes.append) as other,
    ):
        most = most_in_any(taken_in_turn(3.5, one, other), 2.0)
    assert most <= 10, f"{most} calls within 2 s; the stricter figure is 10"
    told = " ".join(str(note) for note in notes)
    assert "1000" in told.replace(",", ""), f"no word of it: {notes}"


def test_the_stricter_of_two_windows_lengths_under_one_name_holds(tmp_path):
    """L41: other figures are not only other amounts: 5 per 0.2 s and 5 per 3 s."""
    path = tmp_path / "limits.db"
    with sharing(path, Window(5, per=3)) as slow, sharing(path, Window(5, per=0.2)) as quick:
        most = most_in_any(taken_in_turn(4, slow, quick), 3.0)
    assert most <= 5, f"{most} calls within 3 s; one of the two says 5 per 3 s"


# -- L42


def test_a_wait_for_a_new_state_gives_its_instant(tmp_path):
    """L42: the refusal gave no instant although it is known."""
    with Limiter(Window(5, per=60), state=tmp_path / "limits.db", name="x") as limiter:
        first = got(limiter, 5)
        assert first is not None
        first.settle()
        ended = within(10, lambda: limiter.acquire(timeout=2))
    assert isinstance(ended.error, PermitTimeout), f"{ended}"
    assert ended.error.earliest is not None, "it does not say when"
    assert 40 <= ended.error.earliest <= 65, f"{ended.error.earliest}"


def test_a_wait_for_a_new_state_is_said_once_in_an_event_and_in_the_log(tmp_path, caplog):
    """L42: 60 s of silence in every fresh container."""
    events: list[object] = []
    with (
        caplog.at_level(logging.INFO, logger="headway"),
        Limiter(Window(5, per=60), state=tmp_path / "limits.db", name="x", observer=events.append) as limiter,
    ):
        first = got(limiter, 5)
        assert first is not None
        first.settle()
        waiters = [threading.Thread(target=lambda: outcome(lambda: limiter.acquire()), daemon=True) for _ in range(3)]
        for waiter in waiters:
            waiter.start()
        until(3, lambda: bool(events) and bool(caplog.records))
        time.sleep(0.5)
        told, lines = list(events), [each for each in caplog.records if each.name.startswith("headway")]
    assert len(told) == 1, f"{len(told)} events: {told}"
    assert len(lines) == 1, f"{len(lines)} lines in the log: {[each.getMessage() for each in lines]}"


def test_an_account_can_be_told_that_nothing_was_used(tmp_path):
    """L42: `fresh=True` was not to be had on an account: the second call waited a minute at Klaviyo."""

    def calls(url):
        how = {"token": "k", "base_url": url, "state": tmp_path / "limits.db", "tier": "m", "fresh": True}
        with headway.account("klaviyo", **how) as limited:
            session = session_of(limited)
            return [session.get(url + "/api/profiles").status_code for _ in range(3)]

    with platform(lambda _: Reply()) as klaviyo:
        ended = within(15, lambda: calls(klaviyo.url))
    assert ended.value == [200, 200, 200], f"{ended}"


FIRST = """
    import sys, time
    from headway import *
    limiter = Limiter(Window(50, per=2), state="limits.db", name="x", fresh=True)
    print("ready", flush=True)
    sys.stdin.readline()
    stop = time.monotonic() + 4
    while time.monotonic() < stop:
        try:
            permit = limiter.acquire(timeout=max(0.01, stop - time.monotonic()))
        except TimeoutError:
            break
        print(time.monotonic(), flush=True)
        time.sleep(0.06)
        permit.settle()
    limiter.close()
"""


def test_four_processes_on_a_new_state_use_its_first_window(tmp_path):
    """L42, issue 10: first permits on a state told fresh, 50 per 2 s: the first window is used to 90 %."""
    workers = [start(FIRST, tmp_path) for _ in range(4)]
    try:
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline().strip() == "ready"
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
    finally:
        outputs = [end(worker, 12) for worker in workers]
    stamps = sorted(float(line) for _, out, _ in outputs for line in out.split())
    assert stamps, f"{outputs}"
    first = sum(stamp < stamps[0] + 2 for stamp in stamps)
    most = most_in_any(stamps, 2.0)
    assert most <= 50, f"{most} within 2 s"
    assert first >= 45, f"{first} of 50 in the first window"
