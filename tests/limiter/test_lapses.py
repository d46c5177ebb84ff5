"""Processes that start together, are stopped and go on: every place is used, none twice."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.counting import most_in_any
from tests.limits.world import SECOND

WORKER = """
import sys, threading, time
from headway import Concurrency, Limiter, Window
path, kind, threads, call, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), *map(float, sys.argv[4:])
limit = {"window": Window(50, per=2), "slots": Concurrency(10)}[kind]
limiter = Limiter(limit, state=path, name="shared", fresh=True, linger=60, ttl={"window": 6.0, "slots": 1.0}[kind])
print("ready", flush=True)
at = float(sys.stdin.readline())
out, end = [], at + seconds
def work():
    while time.monotonic() < end:
        with limiter.permit():
            begun = time.monotonic_ns()
            time.sleep(call)
            out.append((begun, time.monotonic_ns()))
time.sleep(max(0, at - time.monotonic()))
all_threads = [threading.Thread(target=work) for _ in range(threads)]
for each in all_threads: each.start()
for each in all_threads: each.join()
limiter.close()
for span in out: print(*span)
"""


def start(path: Path, kind: str, threads: int, call: float, seconds: float) -> list[subprocess.Popen[str]]:
    given = [str(path), kind, str(threads), str(call), str(seconds)]
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, *given], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    at = time.monotonic() + 0.5
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write(f"{at}\n")
        worker.stdin.flush()
    return workers


def stop(worker: subprocess.Popen[str], path: Path) -> None:
    """Stop it at a moment at which it does not write: a file stays locked as long as whoever locked it stands still."""
    for _ in range(50):
        worker.send_signal(signal.SIGSTOP)
        time.sleep(0.05)
        with closing(sqlite3.connect(path, timeout=1.0, isolation_level=None)) as probe:
            try:
                probe.execute("BEGIN IMMEDIATE")
                probe.execute("ROLLBACK")
            except sqlite3.OperationalError:
                worker.send_signal(signal.SIGCONT)
                time.sleep(0.1)
            else:
                return
    pytest.fail("it writes all the time")


def collect(workers: list[subprocess.Popen[str]]) -> list[list[tuple[int, int]]]:
    outputs = [worker.communicate(timeout=90)[0] for worker in workers]
    assert all(worker.returncode == 0 for worker in workers)
    return [[tuple(map(int, line.split())) for line in output.splitlines()] for output in outputs]


@pytest.mark.timeout(120)
def test_the_first_window_of_four_fresh_processes_is_used(tmp_path):
    found = collect(start(tmp_path / "limits.db", "window", 2, 0.05, 4.5))
    stamps = sorted(begun for spans in found for begun, _ in spans)
    assert most_in_any(stamps, 2 * SECOND) <= 50
    first = sum(1 for stamp in stamps if stamp < stamps[0] + 2 * SECOND)
    assert first >= 45, "at least nine of ten places"
    assert min(len(spans) for spans in found) >= 10


@pytest.mark.timeout(120)
def test_a_stopped_process_keeps_its_calls_in_flight_and_nobody_gets_their_slots(tmp_path):
    """L3: 10 at once whoever is stopped; it claims its calls again and goes on."""
    stands_still(tmp_path / "limits.db", 4.0)


def stands_still(path: Path, seconds: float) -> None:
    """One of four processes that share Concurrency(10) is stopped for so long; `scripts/stop-test` does so for 20 s."""
    workers = start(path, "slots", 4, 0.1, seconds + 5.0)
    time.sleep(2.0)
    stop(workers[0], path)
    stopped = time.monotonic_ns()
    time.sleep(seconds)
    workers[0].send_signal(signal.SIGCONT)
    found = collect(workers)
    level = worst = 0
    spans = [span for each in found for span in each]
    for _, change in sorted([(begun, 1) for begun, _ in spans] + [(ended, -1) for _, ended in spans]):
        level += change
        worst = max(worst, level)
    until = stopped + round(seconds * SECOND)
    inside = sum(1 for begun, ended in found[0] if begun < stopped < ended)
    print(
        f"stopped for {seconds:g} s with {inside} calls in flight: {len(spans):,} calls in all, at most {worst} at once"
    )
    assert worst <= 10
    assert sum(1 for begun, _ in found[0] if begun > until) >= 5, "it goes on"
    others = [begun for each in found[1:] for begun, _ in each if stopped + 2 * SECOND < begun < until]
    assert len(others) >= 30, "what it did not have in flight is used meanwhile"


if __name__ == "__main__":
    for number in range(int(sys.argv[2])):
        with tempfile.TemporaryDirectory() as folder:
            stands_still(Path(folder) / f"{number}.db", float(sys.argv[1]))
