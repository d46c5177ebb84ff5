"""State on disk: shared by processes, kept over restarts, never forgiving."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from headway.errors import PermitTimeout, UsageError
from headway.limiter.limiter import Limiter
from headway.limits.limits import Concurrency, Quota, Window
from tests.counting import most_in_any

WORKER = """
import json, sys, time
from headway.limits.limits import Window
from headway.limiter.limiter import Limiter
path, seconds, amount, per = sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
limiter = Limiter(Window(amount, per), state=path, name="shared", fresh=True, linger=1.0, ttl=1.5)
end = time.monotonic() + seconds
while time.monotonic() < end:
    try:
        permit = limiter.acquire(timeout=max(0.01, end - time.monotonic()))
    except TimeoutError:
        break
    print(time.monotonic_ns(), flush=True)
    permit.settle()
limiter.close()
"""


def stamps_of(output: str) -> list[int]:
    return [int(line) for line in output.split()]


def worker(path: Path, seconds: float, amount: int, per: float, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, str(path), str(seconds), str(amount), str(per)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=cwd,
    )


def test_processes_in_different_folders_share_one_window(tmp_path):
    folders = [tmp_path / name for name in "abc"]
    for folder in folders:
        folder.mkdir()
    workers = [worker(tmp_path / "state" / "limits.db", 4.0, 20, 1.0, folder) for folder in folders]
    stamps = [stamp for process in workers for stamp in stamps_of(process.communicate(timeout=30)[0])]
    assert all(process.returncode == 0 for process in workers)
    assert most_in_any(stamps, 1e9) <= 20
    assert len(stamps) > 20, "the window opens again (how much of it is used: benchmarks/shared.py)"


def test_a_killed_process_leaves_its_places_cooling(tmp_path):
    path = tmp_path / "limits.db"
    stamps: list[int] = []
    for _ in range(3):
        process = worker(path, 30, 10, 1.0, tmp_path)
        assert process.stdout is not None
        stamps += [int(process.stdout.readline()) for _ in range(5)]
        process.send_signal(signal.SIGKILL)
        stamps += stamps_of(process.communicate(timeout=10)[0])
    final = worker(path, 3, 10, 1.0, tmp_path)
    stamps += stamps_of(final.communicate(timeout=30)[0])
    assert most_in_any(stamps, 1e9) <= 10


def test_a_restart_is_not_an_amnesty(tmp_path):
    path = tmp_path / "limits.db"
    stamps: list[int] = []
    for _ in range(5):
        with Limiter(Window(6, per=0.5), state=path, name="a", fresh=True) as limiter:
            for _ in range(4):
                permit = limiter.acquire(timeout=20)
                stamps.append(time.monotonic_ns())
                permit.settle()
    assert most_in_any(stamps, 0.5e9) <= 6


def test_a_first_use_probes_and_the_platforms_word_opens_the_window(tmp_path):
    with Limiter(Window(100, per=10), state=tmp_path / "limits.db", name="a") as limiter:
        probe = limiter.acquire(timeout=5)
        assert limiter.try_acquire() is None, "one call finds out"
        headers = {
            "X-HubSpot-RateLimit-Max": "100",
            "X-HubSpot-RateLimit-Remaining": "69",
            "X-HubSpot-RateLimit-Interval-Milliseconds": "10000",
        }
        probe.observe(200, headers)
        probe.settle()
        granted = [limiter.acquire(timeout=5) for _ in range(69)]
        with pytest.raises(PermitTimeout):
            limiter.acquire(timeout=0.3)
        for permit in granted:
            permit.settle()


def test_without_the_platforms_word_the_rest_opens_after_one_window(tmp_path):
    with Limiter(Window(5, per=1.0), state=tmp_path / "limits.db", name="a") as limiter:
        begin = time.monotonic()
        limiter.acquire(timeout=5).settle()
        for _ in range(4):
            limiter.acquire(timeout=5).settle()
        assert time.monotonic() - begin >= 0.99


def test_a_quota_survives_restarts_and_is_shared(tmp_path):
    path = tmp_path / "limits.db"
    taken = 0
    for _ in range(4):
        with Limiter(Quota(10, "monthly 1 00:00 UTC"), state=path, name="q", lost="unused") as limiter:
            for _ in range(3):
                try:
                    limiter.acquire(timeout=3).settle()
                except PermitTimeout:
                    break
                taken += 1
    assert taken == 10


def test_slots_are_shared_too(tmp_path):
    path = tmp_path / "limits.db"
    one = Limiter(Concurrency(2), state=path, name="c", fresh=True, ttl=1.0)
    other = Limiter(Concurrency(2), state=path, name="c", fresh=True, ttl=1.0)
    held = [one.acquire(timeout=2), one.acquire(timeout=2)]
    with pytest.raises(PermitTimeout):
        other.acquire(timeout=0.5)
    for permit in held:
        permit.settle()
    other.acquire(timeout=5).settle()
    one.close()
    other.close()


def test_the_file_is_private_and_a_newer_one_is_refused(tmp_path):
    path = tmp_path / "new" / "limits.db"
    with Limiter(Window(5, per=1), state=f"sqlite:///{path}", name="a", fresh=True) as limiter:
        limiter.acquire(timeout=2).settle()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    bad = tmp_path / "bad.db"
    bad.write_text("not a database, certainly not one of ours " * 20)
    with pytest.raises(UsageError, match=r"bad\.db"):
        Limiter(Window(5, per=1), state=bad, name="a")


def test_a_pause_reaches_the_other_processes(tmp_path):
    path = tmp_path / "limits.db"
    one = Limiter(Window(50, per=1), state=path, name="p", fresh=True, ttl=0.9)
    other = Limiter(Window(50, per=1), state=path, name="p", fresh=True, ttl=0.9)
    permit = one.acquire(timeout=2)
    other.acquire(timeout=2).settle()
    permit.rejected("window", retry_after=60.0)
    permit.settle()
    until = time.monotonic() + 30
    while not other.snapshot()[0].paused and time.monotonic() < until:  # until a heartbeat of the other's
        time.sleep(0.01)
    assert other.snapshot()[0].paused
    one.close()
    other.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_after_fork_a_shared_limiter_joins_again_as_a_new_holder(tmp_path):
    limiter = Limiter(Window(4, per=30), state=tmp_path / "limits.db", name="f", fresh=True, ttl=1.0)
    limiter.acquire(timeout=2).settle()
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        taken = 0
        try:
            for _ in range(5):
                limiter.acquire(timeout=2 if taken else 20).settle()
                taken += 1
        except TimeoutError:
            pass
        finally:
            os.write(write, json.dumps(taken).encode())
            os._exit(0)
    os.close(write)
    os.waitpid(pid, 0)
    taken = int(os.read(read, 20))
    os.close(read)
    assert 1 <= taken <= 3
    limiter.close()


def test_state_out_of_reach_is_said_once_and_never_fails_open(tmp_path):
    import sqlite3

    from headway.events import Note

    events = []
    path = tmp_path / "limits.db"
    with Limiter(Window(3, per=60), state=path, name="n", fresh=True, ttl=0.6, observer=events.append) as limiter:
        limiter.acquire(timeout=5).settle()
        store = sqlite3.connect(path, isolation_level=None)
        store.execute("DROP TABLE pools")
        until = time.monotonic() + 30
        while not events and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(1.0)  # the lease is over
        assert limiter.try_acquire() is None
        notes = [event.text for event in events if isinstance(event, Note)]
        assert len(notes) == 1
        assert "limits.db" in notes[0]
        store.execute("CREATE TABLE pools (key TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID")
        store.close()


def test_one_slot_goes_round_between_two_limiters(tmp_path):
    path = tmp_path / "limits.db"
    limiters = [Limiter(Concurrency(1), state=path, name="one", fresh=True, ttl=1.0) for _ in range(2)]
    flying, worst, done, lock = [0], [0], [0, 0], threading.Lock()

    def work(number: int) -> None:
        while min(done) < 5:
            with limiters[number].permit(timeout=20):
                with lock:
                    flying[0] += 1
                    worst[0] = max(worst[0], flying[0])
                time.sleep(0.005)
                with lock:
                    flying[0] -= 1
                    done[number] += 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for limiter in limiters:
        limiter.close()
    assert worst[0] == 1
    assert min(done) >= 5, "neither keeps the slot for itself"
