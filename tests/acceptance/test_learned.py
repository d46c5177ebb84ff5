"""What one process learned of an account's limits the next one knows: over sockets, in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

import headway
from headway.mock.config import MockConfig
from headway.mock.server import Served, serve


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEADWAY_STATE", str(tmp_path / "limits.db"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HUBSPOT_TOKEN", f"pat-na1-{os.urandom(8).hex()}")
    return tmp_path


def run(*words: str) -> tuple[int, dict]:
    """A command in a process of its own: its exit code and its JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "headway", *words, "--json"], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def contacts(calls: int) -> str:
    """A file that takes so many calls."""
    lines = "".join(f"ada{number}@example.com\n" for number in range(calls * 100))
    Path("contacts.csv").write_text("email\n" + lines)
    return "contacts.csv"


@pytest.fixture
def short_day() -> Iterator[Served]:
    """A portal whose day is shorter than its tier's, as only its headers tell."""
    with serve(MockConfig(daily=200, window=(1000, 10.0))) as mock:
        yield mock


def test_three_processes_stay_within_a_day_that_only_headers_tell(short_day):
    to = ("hubspot:contacts", "--key", "email", "--base-url", short_day.url)
    code, first = run("sync", contacts(300), *to, "--limit", "10000")
    assert (code, first["delivered"]) == (0, 10_000)
    code, second = run("sync", "contacts.csv", *to)
    assert (code, second["state"]) == (5, "paused")
    code, third = run("resume", second["run"], "--base-url", short_day.url)
    assert (code, third["state"], third["requests"]) == (5, "paused", 0)
    stats = short_day.stats()
    assert stats["rate_limited"] == 0
    assert stats["daily_used"]["62515"] >= 198


def test_a_plan_in_another_process_counts_with_the_day_that_headers_told(short_day):
    to = ("hubspot:contacts", "--key", "email", "--base-url", short_day.url)
    assert run("sync", contacts(100), *to)[0] == 0
    asked = short_day.stats()["requests"]
    code, plan = run("plan", contacts(150), *to)
    assert short_day.stats()["requests"] == asked
    assert (code, plan["would_exit"], plan["binding_limit"]) == (0, 5, "daily")
    assert plan["quota_share"] == pytest.approx(150 / 200)
    assert plan["quota_free"] == pytest.approx(98, abs=2)


def hammer(mock: Served, calls: int) -> float:
    """So many calls by sixteen threads of a client under an account; returns the seconds they took."""
    with (
        headway.account("hubspot", base_url=mock.url, fresh=True) as account,
        httpx2.Client(transport=account.transport(), headers=account.headers) as client,
        ThreadPoolExecutor(16) as pool,
    ):
        client.get(mock.url + "/crm/v3/properties/contacts")
        began = time.monotonic()
        codes = list(pool.map(lambda _: client.get(mock.url + "/crm/v3/properties/contacts").status_code, range(calls)))
    assert set(codes) == {200}
    return time.monotonic() - began


def test_a_window_that_only_headers_tell_is_held_from_the_first_reply_on():
    with serve(MockConfig(window=(50, 2.0), daily=40_000, latency=0.01)) as mock:
        seconds = hammer(mock, 190)  # the tier's 100 in 10 s hold as well: 50 at 0, 2, 10 and 12 s
        assert mock.stats()["rate_limited"] == 0
        assert seconds <= 1.05 * 12.0 + 1.0  # sixteen connections are opened


def test_a_window_that_one_process_was_told_of_the_next_one_holds():
    with serve(MockConfig(window=(50, 2.0), daily=40_000, latency=0.01)) as mock:
        hammer(mock, 60)
        hammer(mock, 60)
        assert mock.stats()["rate_limited"] == 0


def test_a_sync_holds_a_window_that_only_headers_tell():
    with serve(MockConfig(window=(50, 2.0), daily=40_000)) as mock:
        code, report = run("sync", contacts(90), "hubspot:contacts", "--key", "email", "--base-url", mock.url)
        assert (code, report["delivered"], report["rate_limited"]) == (0, 9_000, 0)
        assert mock.stats()["rate_limited"] == 0
