"""Four processes on one SQLite state, one of them killed with SIGKILL, again and again: exact, and how many round trips.
Then 1,000 limiters of one process on one state at 300 permits a second: what the thread that asks for them costs.

    python benchmarks/shared.py [--repeats 100] [--limiters 1000]

Every process notes the instant of each call in a file as it sends it; afterwards no second of the machine's monotonic
clock may hold more than the window's amount, nor the day more than the quota. Ends with 1 if one did.
"""

from __future__ import annotations

import argparse
import os
import queue
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

AMOUNT, PER, QUOTA = 200, 1.0, 700
STEADY = 20.0

WORKER = f"""
import os, sys, time
from headway import Limiter, PermitTimeout, Quota, Window
from headway.limiter.state.sqlite import SQLiteBackend
out = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
plain = SQLiteBackend.exchange
def exchange(self, requests, patience=30.0):
    os.write(out, b"trip\\n")
    return plain(self, requests, patience)
SQLiteBackend.exchange = exchange
limiter = Limiter(Window({AMOUNT}, per={PER}), Quota(int(sys.argv[3])), state=sys.argv[1], name="a", fresh=True,
                  ttl=float(sys.argv[4]), linger=0.2)
until = time.monotonic() + float(sys.argv[5])
try:
    while time.monotonic() < until:
        permit = limiter.acquire(timeout=3)
        os.write(out, b"%d\\n" % time.monotonic_ns())
        time.sleep(0.004)
        permit.settle()
except PermitTimeout:
    pass
limiter.close()
"""


def most_in_any(stamps: list[int], per: int) -> int:
    stamps.sort()
    best = start = 0
    for end, stamp in enumerate(stamps):
        while stamp - stamps[start] >= per:
            start += 1
        best = max(best, end - start + 1)
    return best


def together(
    folder: str, quota: int, ttl: float, seconds: float, kill_after: float | None
) -> tuple[int, int, int, float]:
    """(most in any window, calls, trips, seconds) of four processes at work."""
    began = time.monotonic()
    given = [str(quota), str(ttl), str(seconds)]
    running = [
        subprocess.Popen([sys.executable, "-c", WORKER, f"{folder}/limits.db", f"{folder}/out{i}", *given])
        for i in range(4)
    ]
    if kill_after is not None:
        time.sleep(kill_after)
        running[0].kill()
    for each in running:
        each.wait(120)
    taken = time.monotonic() - began
    lines = [line for file in Path(folder).glob("out*") for line in file.read_text().split()]
    stamps = [int(line) for line in lines if line != "trip"]
    return most_in_any(stamps, int(PER * 1e9)), len(stamps), len(lines) - len(stamps), taken


def processor_time(thread: int) -> float:
    """Seconds that a thread of this process has used so far, by Linux's count."""
    fields = Path(f"/proc/self/task/{thread}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def many(folder: str, count: int, rate: int, seconds: float) -> tuple[float, float, float]:
    """(permits a second, cores of the poller, 99th percentile of the wait in ms) with `count` limiters on one state."""
    from headway import Limiter, Window

    limiters = [
        Limiter(Window(100, per=10), state=f"{folder}/limits.db", name=f"account {i}", fresh=True) for i in range(count)
    ]
    poller = next(each for each in threading.enumerate() if each.name == "headway-poller")
    assert poller.native_id is not None
    due: queue.SimpleQueue[Limiter] = queue.SimpleQueue()
    waits: list[float] = []

    def call() -> None:
        while True:
            limiter = due.get()
            begun = time.monotonic()
            with limiter.permit():
                waits.append(time.monotonic() - begun)
                time.sleep(0.02)

    for _ in range(30):
        threading.Thread(target=call, daemon=True).start()
    rng = random.Random(1)
    begun = time.monotonic()
    settling, done, used = 5.0, 0, 0.0
    for number in range(int((seconds + settling) * rate)):
        if number == int(settling * rate):
            done, used = len(waits), processor_time(poller.native_id)
        due.put(rng.choice(limiters))
        time.sleep(max(0.0, begun + number / rate - time.monotonic()))
    taken = time.monotonic() - begun - settling
    cores = (processor_time(poller.native_id) - used) / taken
    steady = sorted(waits[done:])
    return len(steady) / taken, cores, 1000 * steady[len(steady) * 99 // 100]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--limiters", type=int, default=1000)
    given = parser.parse_args()
    results = []
    for number in range(given.repeats):
        with tempfile.TemporaryDirectory() as folder:
            results.append(together(folder, QUOTA, 0.9, 60.0, random.Random(number).uniform(0.5, 2.5)))
    most = max((each[0] for each in results), default=0)
    calls = [each[1] for each in results] or [0]
    print(f"{len(results)} repeats with a kill -9 each, {os.cpu_count()} cores")
    print(
        f"most calls in any {PER:g} s: {most} of {AMOUNT}; calls of the quota of {QUOTA}: {min(calls)} to {max(calls)}"
    )
    with tempfile.TemporaryDirectory() as folder:
        top, count, trips, seconds = together(folder, 40_000, 6.0, STEADY, None)
    print(
        f"steady for {STEADY:g} s: most {top} of {AMOUNT}, {count / seconds:.0f} calls/s, "
        f"{trips / count:.3f} round trips a call (bar 0.15), {trips / seconds / 4:.2f} a second and process (bar 0.5)"
    )
    with tempfile.TemporaryDirectory() as folder:
        rate, cores, wait = many(folder, given.limiters, 300, 15.0)
        print(
            f"{given.limiters} limiters of one process on one state: {rate:.0f} permits/s (asked for: 300), the poller "
            f"takes {cores:.3f} of a core (bar 0.1), 99 of 100 wait less than {wait:.1f} ms",
            flush=True,
        )
        missed = most > AMOUNT or top > AMOUNT or max(calls) > QUOTA or cores > 0.1 or rate < 290
        sys.exit(missed)


if __name__ == "__main__":
    main()
