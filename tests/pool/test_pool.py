"""The pool: bring your own call; every task is delivered, dead or pending."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import headway
from headway import Concurrency, Limiter, Pool, RateLimited, Rejected, RetryPolicy, Transient, Window

QUICK = RetryPolicy(base=0.001, cap=0.01)


def test_sync_handlers_share_a_limiter_and_the_books_balance():
    seen: list[int] = []
    limiter = Limiter(Window(1000, per=1), Concurrency(3))
    lock, at_once, most = threading.Lock(), [0], [0]

    def handler(task: int) -> None:
        with lock:
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
        time.sleep(0.002)
        with lock:
            at_once[0] -= 1
            seen.append(task)

    with Pool(handler, limiter=limiter) as pool:
        for number in range(100):
            pool.submit(number)
    report = pool.report()
    assert sorted(seen) == list(range(100))
    assert (report.submitted, report.delivered, report.dead, report.pending) == (100, 100, 0, 0)
    assert most[0] <= 3


async def test_async_handlers_run_in_the_users_loop():
    mine, seen = asyncio.get_running_loop(), []

    async def handler(task: int) -> None:
        assert asyncio.get_running_loop() is mine
        await asyncio.sleep(0.001)
        seen.append(task)

    async with Pool(handler, limiter=Limiter(Window(1000, per=1))) as pool:
        for number in range(50):
            await pool.submit_async(number)
    assert sorted(seen) == list(range(50))


def test_async_handlers_run_without_a_loop_of_the_users():
    seen = []

    async def handler(task: int) -> None:
        seen.append(task)

    with Pool(handler) as pool:
        for number in range(20):
            pool.submit(number)
        assert pool.join(5)
        with pytest.raises(headway.UsageError):
            pool._call(lambda: None) or pool.submit(1, priority="urgent")
    assert len(seen) == 20


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(["ok", "limited", "transient", "always", "rejected", "bug", "lost"]), max_size=30))
def test_every_task_is_accounted_for_whatever_handlers_do(fates):
    calls: Counter[int] = Counter()

    def handler(task: list) -> None:
        number, fate = task
        calls[number] += 1
        if fate == "limited" and calls[number] < 3:
            raise RateLimited(retry_after=0.001)
        if fate == "always" or (fate == "transient" and calls[number] < 3):
            raise Transient("503")
        if fate == "rejected":
            raise Rejected("no such contact")
        if fate == "bug":
            raise ValueError("of ours")
        if fate == "lost":
            raise ConnectionResetError

    limiter = Limiter(Window(10_000, per=1), linger=0.0)
    with Pool(handler, limiter=limiter, retry=QUICK, max_retries=3) as pool:
        for number, fate in enumerate(fates):
            pool.submit([number, fate])
    report = pool.report()
    wanted = Counter(fates)
    dead = {letter.task[0]: letter for letter in pool.dead()}
    assert report.submitted == len(fates) == report.delivered + report.dead
    assert report.dead == wanted["always"] + wanted["rejected"] + wanted["bug"] + wanted["lost"] == len(dead)
    assert report.retries == 2 * wanted["transient"] + 3 * wanted["always"]
    assert report.rate_limited == 2 * wanted["limited"]
    for number, fate in enumerate(fates):
        if fate == "always":
            assert (dead[number].error, dead[number].retries, dead[number].attempts) == ("Transient", 3, 4)
        if fate == "rejected":
            assert (dead[number].error, dead[number].message) == ("Rejected", "no such contact")


def test_a_refusal_pauses_the_account_and_costs_no_retry():
    calls: list[float] = []

    def handler(task: int) -> None:
        calls.append(time.monotonic())
        if len(calls) == 1:
            raise RateLimited(retry_after=0.3)

    with Pool(handler, limiter=Limiter(Window(100, per=1)), max_retries=0, workers=1) as pool:
        pool.submit(1)
        pool.submit(2)
    assert pool.report().delivered == 2
    assert calls[1] - calls[0] >= 0.29


def test_a_blocked_account_keeps_no_other_waiting():
    accounts = {name: Limiter(Window(1000, per=1)) for name in "abcdefghi"}
    accounts["blocked"] = Limiter(Window(1, per=3600))
    accounts["blocked"].acquire().settle()
    done: Counter[str] = Counter()
    lock = threading.Lock()

    def handler(task: str) -> None:
        with lock:
            done[task] += 1

    pool = Pool(handler, by=lambda task: accounts[task], workers=4)
    with pytest.raises(KeyboardInterrupt), pool:
        for _ in range(30):
            for name in accounts:
                pool.submit(name)
        until = time.monotonic() + 20
        while sum(done.values()) < 270 and time.monotonic() < until:
            time.sleep(0.01)
        raise KeyboardInterrupt
    assert done == dict.fromkeys("abcdefghi", 30)
    assert pool.report().pending == 30


async def test_handlers_of_one_account_that_hang_leave_a_worker_for_others():
    hanging, free = Limiter(Window(100, per=1)), Limiter(Window(100, per=1))
    release = asyncio.Event()
    done = []

    async def handler(task: str) -> None:
        if task == "hang":
            await release.wait()
        done.append(task)

    async with Pool(handler, by=lambda task: hanging if task == "hang" else free, workers=3) as pool:
        await pool.submit_async("go")
        for _ in range(6):
            await pool.submit_async("hang")
        for _ in range(5):
            await pool.submit_async("go")
        for _ in range(200):
            if done.count("go") == 6:
                break
            await asyncio.sleep(0.01)
        assert done == ["go"] * 6
        release.set()
    assert len(done) == 12


def test_a_full_queue_blocks_or_raises():
    release = threading.Event()
    with Pool(lambda _: release.wait(10), workers=1, queue_size=2) as pool:
        pool.submit(1)
        pool.submit(2)
        with pytest.raises(headway.QueueFull):
            pool.submit(3, block=False)
        with pytest.raises(headway.QueueFull):
            pool.submit(3, timeout=0.05)
        threading.Timer(0.1, release.set).start()
        pool.submit(3)
    assert pool.report().delivered == 3


def test_interactive_tasks_go_first():
    order: list[str] = []
    release = threading.Event()

    def handler(task: str) -> None:
        release.wait(10)
        order.append(task)

    with Pool(handler, workers=1, limiter=Limiter(Window(100, per=1))) as pool:
        pool.submit("first")
        time.sleep(0.1)
        for number in range(3):
            pool.submit(f"bulk {number}")
        pool.submit("now", priority="interactive")
        release.set()
    assert order.index("now") <= 2
    assert order[-1] == "bulk 2"


def test_dead_letters_are_replayed_at_a_rate():
    broken, instants = [True], []

    def handler(task: int) -> None:
        if broken[0]:
            raise Rejected("not yet")
        instants.append(time.monotonic())

    with Pool(handler) as pool:
        for number in range(5):
            pool.submit(number)
        assert pool.join(5)
        assert len(pool.dead()) == 5
        broken[0] = False
        assert pool.replay(rate=50, where=lambda letter: letter.task != 3) == 4
        assert pool.join(5)
        with pytest.raises(headway.UsageError):
            pool.replay(rate=0)
    assert instants[-1] - instants[0] >= 0.055
    assert [letter.task for letter in pool.dead()] == [3]


def test_a_durable_pool_goes_on_where_the_last_one_stopped(tmp_path):
    store = f"sqlite:///{tmp_path / 'tasks.db'}"
    blocked = Limiter(Window(1, per=3600))
    blocked.acquire().settle()
    pool = Pool(lambda _: None, limiter=blocked, store=store)
    with pytest.raises(KeyboardInterrupt), pool:
        for number in range(10):
            pool.submit({"number": number}, key=f"k{number}")
        with pytest.raises(headway.RunLocked), Pool(lambda _: None, store=store):
            pass
        with pytest.raises(headway.UsageError):
            pool.submit(object())
        raise KeyboardInterrupt
    assert pool.report().pending == 10
    seen = []

    def handler(task: dict) -> None:
        if task["number"] == 4:
            raise Rejected("four")
        seen.append(task["number"])

    with Pool(handler, store=store) as again:
        pass
    assert sorted(seen) == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert again.report().dead == 1
    with Pool(handler, store=store) as third:
        assert [(letter.key, letter.message) for letter in third.dead()] == [("k4", "four")]
        assert third.report().submitted == 0


PROGRAM = """
import sys, time
from headway import Pool
def handler(task):
    with open(sys.argv[2], "a") as file:
        file.write(f"{task}\\n")
    time.sleep(0.002)
with Pool(handler, store=sys.argv[1], workers=4) as pool:
    for number in range(int(sys.argv[3]), int(sys.argv[4])):
        pool.submit(number)
        if number % 50 == 0:
            print(number, flush=True)
"""


@pytest.mark.parametrize("after", [100, 250])
def test_kill_nine_loses_nothing(tmp_path, after):
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "t.db"), str(tmp_path / "out")]
    running = subprocess.Popen([*command, "0", "400"], stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    for line in running.stdout:
        if int(line) >= after:
            break
    running.send_signal(signal.SIGKILL)
    running.wait()
    running.stdout.close()
    submitted = after + 1  # what submit() returned for is in the file
    subprocess.run([*command, "0", "0"], check=True, timeout=60)
    seen = Counter(int(line) for line in (tmp_path / "out").read_text().split())
    assert set(range(submitted)) <= set(seen)
    assert sum(count - 1 for count in seen.values()) <= 4  # those in the four workers' hands


def test_what_cannot_be_repeated_is_a_dead_letter_after_a_crash(tmp_path):
    code = (
        "import os, sys\nfrom headway import Pool\n"
        "with Pool(lambda task: os._exit(9), store=sys.argv[1]) as pool:\n    pool.submit('pay')\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path / "t.db")], check=False, timeout=60).returncode == 9
    with Pool(lambda _: None, store=tmp_path / "t.db", repeatable=False) as pool:
        assert [letter.error for letter in pool.dead()] == ["OUTCOME_UNKNOWN"]
    assert (pool.report().unknown, pool.report().delivered) == (1, 0)


@pytest.mark.parametrize(
    "wrong",
    [{"workers": 0}, {"workers": 1.5}, {"queue_size": 0}, {"max_retries": -1},
     {"limiter": Limiter(Window(1, per=1)), "by": lambda _: None}],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(headway.UsageError):
        Pool(lambda _: None, **wrong)


def test_a_cost_that_can_never_be_had_is_a_dead_letter_and_no_hang():
    with Pool(lambda _: None, limiter=Limiter(Window(2, per=1))) as pool:
        pool.submit("big", cost=5)
    assert pool.dead()[0].error == "NeverGranted"
    with pytest.raises(headway.UsageError):
        pool.submit("late")
