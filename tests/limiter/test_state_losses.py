"""Files that vanish, break or stay locked, and what is said of it: judged file by file, never fail open."""

from __future__ import annotations

import gc
import logging
import os
import sqlite3
import subprocess
import sys
import threading
import time

import pytest

from headway.errors import PermitTimeout, UsageError
from headway.events import Note
from headway.limiter.limiter import Limiter
from headway.limiter.state.sqlite import SQLiteBackend
from headway.limits.limits import Bucket, Concurrency, Quota, Window


def taken(limiter: Limiter, seconds: float) -> int:
    """Calls that went within so many seconds."""
    end, count = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        permit = limiter.try_acquire()
        if permit is not None:
            permit.settle()
            count += 1
        time.sleep(0.01)
    return count


def said(events: list[object], word: str, seconds: float = 3.0) -> list[str]:
    """The notes with a word in them, waited for."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = [event.text for event in list(events) if isinstance(event, Note) and word in event.text]
        if found:
            return found
        time.sleep(0.01)
    return []


def test_another_state_file_in_the_folder_says_nothing_about_this_one(tmp_path):
    """L29: a first use beside a file in use was taken for a loss: 46 s, and the day used up."""
    with Limiter(Window(5, per=1), state=tmp_path / "one.db", name="a", fresh=True) as one:
        one.acquire(timeout=5).settle()
        limits = Window(5, per=30), Quota(100, "monthly 1 00:00 UTC")
        with Limiter(*limits, state=tmp_path / "two.db", name="a", fresh=True) as two:
            for _ in range(5):
                two.acquire(timeout=5).settle()
        with Limiter(Window(5, per=0.5), state=tmp_path / "three.db", name="a", linger=60) as three:
            three.acquire(timeout=5).settle()
            three.acquire(timeout=3).settle()


def test_another_process_in_the_folder_says_nothing_either(tmp_path):
    script = (
        "import sys, time; from headway import Limiter, Window\n"
        "limiter = Limiter(Window(5, per=1), state=sys.argv[1], name='a', fresh=True)\n"
        "limiter.acquire().settle(); print('up', flush=True); time.sleep(60)\n"
    )
    other = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "one.db")], stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == b"up\n"
        with Limiter(Window(5, per=30), state=tmp_path / "two.db", name="a", fresh=True) as two:
            for _ in range(5):
                two.acquire(timeout=5).settle()
    finally:
        other.kill()
        other.communicate()


@pytest.mark.parametrize("fresh", [True, False])
def test_a_file_deleted_under_a_run_is_no_amnesty(tmp_path, fresh):
    path = tmp_path / "limits.db"
    with Limiter(Concurrency(5), Window(5, per=8), state=path, name="a", fresh=True, ttl=0.9, linger=0.5) as limiter:
        for _ in range(5):
            limiter.acquire(timeout=5).settle()
        for each in tmp_path.glob("limits.db*"):
            if not each.name.endswith(".inuse"):
                each.unlink()
        limits = Concurrency(5), Window(5, per=8)
        with Limiter(*limits, state=path, name="a", fresh=fresh, ttl=0.9, linger=0.5) as late:
            assert taken(limiter, 2.0) + taken(late, 2.0) == 0


@pytest.mark.parametrize("damage", ["garbage", "truncated", "text", "zeros"])
def test_a_damaged_file_is_moved_aside_told_and_counts_as_lost(tmp_path, damage, caplog):
    path = tmp_path / "limits.db"
    script = (
        "import sys; from headway import Limiter, Window\n"
        "with Limiter(Window(3, per=4), state=sys.argv[1], name='a', fresh=True) as limiter:\n"
        "    for _ in range(3): limiter.acquire(timeout=5).settle()\n"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=True)
    size = path.stat().st_size
    spoilt = {
        "garbage": os.urandom(size),
        "truncated": path.read_bytes()[: size // 2 + 100],
        "text": b"not a database any more " * 50,
        "zeros": bytes(size),
    }[damage]
    for end in ("-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)
    path.write_bytes(spoilt)
    events: list[object] = []
    with (
        caplog.at_level(logging.WARNING, "headway"),
        Limiter(
            Window(3, per=4), state=path, name="a", fresh=True, ttl=0.9, linger=0.3, observer=events.append
        ) as limiter,
    ):
        with pytest.raises(PermitTimeout):
            limiter.acquire(timeout=1.0)
        if damage == "truncated":  # to a part of its first page, which is a database with nothing in it
            assert said(events, "was lost")
            return
        notes = said(events, "damaged")
        assert len(notes) == 1
        assert "limits.db.damaged-" in notes[0]
        assert sum("damaged" in record.message for record in caplog.records) == 1
        aside = [each for each in tmp_path.glob("limits.db.damaged-*") if each.suffix not in {"-wal", "-shm"}]
        assert [each.read_bytes() for each in aside] == [spoilt]
        limiter.acquire(timeout=8).settle()  # ttl + linger + per later it is known to be free


def test_a_file_damaged_under_a_run_is_made_anew_and_the_run_goes_on(tmp_path):
    path = tmp_path / "limits.db"
    with Limiter(Window(50, per=1), state=path, name="a", fresh=True, ttl=0.9, linger=0.3) as limiter:
        limiter.acquire(timeout=5).settle()
        spoilt = tmp_path / "spoilt"
        spoilt.write_bytes(os.urandom(8192))
        for end in ("-wal", "-shm"):  # the log holds all of a young file
            path.with_name(path.name + end).unlink()
        spoilt.replace(path)
        assert taken(limiter, 4.0) > 0
        assert list(tmp_path.glob("limits.db.damaged-*"))


def test_what_is_not_ours_is_left_alone(tmp_path):
    table = tmp_path / "contacts.csv"
    table.write_text("email\nada@example.com\n" * 20)
    with pytest.raises(UsageError, match=r"contacts\.csv"):
        Limiter(Window(5, per=1), state=table, name="a")
    assert table.read_text().startswith("email")
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as theirs:
        theirs.execute("CREATE TABLE mine (x)")
    theirs.close()
    before = other.read_bytes()
    with pytest.raises(UsageError, match=r"other\.db"):
        Limiter(Window(5, per=1), state=other, name="a")
    assert other.read_bytes() == before


def test_closing_takes_a_second_however_long_the_file_is_locked(tmp_path):
    path = tmp_path / "limits.db"
    limiter = Limiter(Window(5, per=1), state=path, name="a", fresh=True)
    limiter.acquire(timeout=5).settle()
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        begun = time.monotonic()
        limiter.close()
        assert time.monotonic() - begun < 1.3
    finally:
        holder.execute("ROLLBACK")
        holder.close()


def test_nobody_calls_on_a_lease_that_is_over_and_goes_on_when_the_file_is_free(tmp_path):
    path = tmp_path / "limits.db"
    events: list[object] = []
    with Limiter(Window(50, per=0.5), state=path, name="a", fresh=True, ttl=0.6, observer=events.append) as limiter:
        limiter.acquire(timeout=5).settle()
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        time.sleep(0.7)
        assert taken(limiter, 1.0) == 0
        holder.execute("ROLLBACK")
        holder.close()
        limiter.acquire(timeout=5).settle()


def test_a_first_use_says_once_why_it_waits_and_until_when(tmp_path, caplog):
    """L42, U3: the words fit: nobody died."""
    events: list[object] = []
    with (
        caplog.at_level(logging.WARNING, "headway"),
        Limiter(Window(5, per=2.0), state=tmp_path / "limits.db", name="k", observer=events.append, ttl=1.2) as limiter,
    ):
        limiter.acquire(timeout=5).settle()
        limiter.acquire(timeout=5).settle()
        notes = said(events, "nobody knows yet")
        assert len(notes) == 1
        assert "fresh=True" in notes[0]
        assert "window" in notes[0]
        assert " s at the latest" in notes[0]
        assert not said(events, "ended without", 0.1)
        assert sum("nobody knows yet" in record.message for record in caplog.records) == 1


def test_two_limiters_of_one_name_with_other_figures_keep_the_stricter_and_say_so(tmp_path):
    """L41."""
    path = tmp_path / "limits.db"
    events: list[object] = []
    with (
        Limiter(Window(5, per=2), state=path, name="x", fresh=True, ttl=0.9) as strict,
        Limiter(Window(1000, per=1), state=path, name="x", fresh=True, ttl=0.9, observer=events.append) as loose,
    ):
        strict.acquire(timeout=5).settle()
        loose.acquire(timeout=5).settle()
        assert taken(loose, 1.0) <= 4
        notes = said(events, "other figures")
        assert len(notes) == 1
        assert "5 per 2" in notes[0]


def test_a_quota_of_one_name_with_other_figures_keeps_the_smaller(tmp_path):
    path = tmp_path / "limits.db"
    small, large = Quota(5, "monthly 1 00:00 UTC"), Quota(500, "monthly 1 00:00 UTC")
    with (
        Limiter(small, state=path, name="x", fresh=True, ttl=0.6) as strict,
        Limiter(large, state=path, name="x", fresh=True, ttl=0.6) as loose,
    ):
        strict.acquire(timeout=5).settle()
        assert taken(loose, 1.0) <= 4


def test_an_observer_that_raises_or_blocks_costs_no_permit(tmp_path, caplog):
    blocked = threading.Event()

    def observer(event: object) -> None:
        blocked.wait(20)
        raise RuntimeError("an observer's own trouble")

    path = tmp_path / "limits.db"
    with Limiter(Window(2, per=1.5), state=path, name="o", observer=observer, ttl=0.6) as limiter:
        for _ in range(6):
            limiter.acquire(timeout=5).settle()
        blocked.set()
        until = time.monotonic() + 3
        while not any("observer raised" in record.message for record in caplog.records) and time.monotonic() < until:
            time.sleep(0.01)
        assert sum("observer raised" in record.message for record in caplog.records) == 1


def test_an_error_in_the_poller_is_logged_once_and_it_goes_on(tmp_path, monkeypatch, caplog):
    path = tmp_path / "limits.db"
    with Limiter(Window(5, per=0.5), state=path, name="p", fresh=True, ttl=0.6) as limiter:
        limiter.acquire(timeout=5).settle()
        plain, left = SQLiteBackend.exchange, [4]

        def broken(self, requests, patience=30.0):
            if left[0]:
                left[0] -= 1
                raise RuntimeError("a fault of ours")
            return plain(self, requests, patience)

        monkeypatch.setattr(SQLiteBackend, "exchange", broken)
        end = time.monotonic() + 5
        while left[0] and time.monotonic() < end:
            time.sleep(0.01)
        assert left[0] == 0
        limiter.acquire(timeout=5).settle()
        assert sum("goes on" in record.message for record in caplog.records) == 1


def test_a_limiter_that_nobody_closed_gives_its_places_back(tmp_path):
    path = tmp_path / "limits.db"
    forgotten = Limiter(Window(4, per=0.2), state=path, name="f", fresh=True, ttl=30.0)
    for _ in range(4):
        forgotten.acquire(timeout=5).settle()
    del forgotten
    gc.collect()
    with Limiter(Window(4, per=0.2), state=path, name="f", ttl=30.0) as limiter:
        for _ in range(4):
            limiter.acquire(timeout=5).settle()


def test_a_bucket_that_gives_places_back_is_no_emptier_for_it(tmp_path):
    """L2: the level is in calls."""
    path = tmp_path / "limits.db"
    events: list[float] = []
    limit = Bucket(rate=5, capacity=10)
    with (
        Limiter(limit, state=path, name="b", fresh=True, ttl=0.6) as one,
        Limiter(limit, state=path, name="b", fresh=True, ttl=0.6) as other,
    ):
        begun = time.monotonic()
        while time.monotonic() - begun < 4:
            for each in (one, other):
                permit = each.try_acquire()
                if permit is not None:
                    permit.settle()
                    events.append(time.monotonic())
            time.sleep(0.005)
    level = worst = 0.0
    last = begun
    for at in events:
        level = max(0.0, level - (at - last) * 5) + 1
        worst, last = max(worst, level), at
    assert worst <= 10.0
    assert len(events) >= 20
