"""Four processes on one SQLite state, one of them killed with SIGKILL, again and again: exact, and how many round trips.

    python benchmarks/shared.py [--repeats 100]

Every process notes the instant of each call in a file as it sends it; afterwards no second of the machine's monotonic
clock may hold more than the window's amount, nor the day more than the quota. Ends with 1 if one did, or if steady work needs too many round trips.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bars import at_least, at_most, ended

AMOUNT, PER, QUOTA = 200, 1.0, 700
STEADY, SETTLED, MEASURED = 20.0, 3.0, 16.0  # seconds; joining and leaving are no steady work

WORKER = f"""
import os, sys, time
from headway import Limiter, PermitTimeout, Quota, Window
from headway.limiter.state import sqlite
Kept = next(each for each in vars(sqlite).values() if "exchange" in getattr(each, "__dict__", ()))
out = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
plain = Kept.exchange
began = time.monotonic()
def exchange(self, requests, *patience):
    steady = b"steady\\n" if {SETTLED} <= time.monotonic() - began < {SETTLED + MEASURED} else b""
    os.write(out, b"trip\\n" + steady)
    return plain(self, requests, *patience)
Kept.exchange = exchange
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
) -> tuple[int, int, int, int, float]:
    """(most in any window, calls, trips, those of steady work, seconds) of four processes at work."""
    began = time.monotonic()
    given = [str(quota), str(ttl), str(seconds)]
    running = [
        subprocess.Popen([sys.executable, "-c", WORKER, f"{folder}/limits.db", f"{folder}/out{i}", *given])
        for i in range(4)
    ]
    if kill_after is not None:
        time.sleep(kill_after)
        running[0].kill()
    ended = [each.wait(120) for each in running]
    assert all(code == 0 for code in (ended if kill_after is None else ended[1:])), ended
    taken = time.monotonic() - began
    lines = [line for file in Path(folder).glob("out*") for line in file.read_text().split()]
    stamps = [int(line) for line in lines if line.isdecimal()]
    return most_in_any(stamps, int(PER * 1e9)), len(stamps), lines.count("trip"), lines.count("steady"), taken


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=100)
    results = []
    for number in range(parser.parse_args().repeats):
        with tempfile.TemporaryDirectory() as folder:
            results.append(together(folder, QUOTA, 0.9, 60.0, random.Random(number).uniform(0.5, 2.5)))
    most = max(each[0] for each in results)
    calls = [each[1] for each in results]
    print(f"{len(results)} repeats with a kill -9 each, {os.cpu_count()} cores")
    at_most(f"most calls in any {PER:g} s", most, AMOUNT)
    at_most("most calls of the quota", max(calls), QUOTA)
    at_least("fewest calls of the quota", min(calls), 0.95 * QUOTA)
    with tempfile.TemporaryDirectory() as folder:
        top, count, trips, steady, seconds = together(folder, 40_000, 6.0, STEADY, None)
    print(f"steady for {STEADY:g} s: {count / seconds:.0f} calls/s")
    at_most(f"most calls in any {PER:g} s", top, AMOUNT)
    at_least("share of the limit", count / seconds / AMOUNT * PER, 0.90)
    at_most("round trips a call", trips / count, 0.15)
    at_most("round trips a second and process", steady / MEASURED / 4, 0.5)
    return ended()


if __name__ == "__main__":
    sys.exit(main())
