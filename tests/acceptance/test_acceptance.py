"""What the product promises, held against enforcers over real sockets and against real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from headway.demo import write_contacts
from headway.mock.config import MockConfig
from headway.mock.server import serve
from headway.runs.sync import Sync
from tests.acceptance.flask_platform import flask_platform
from tests.acceptance.killing import kill_often, verify


@pytest.fixture
def environment(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HUBSPOT_TOKEN", "acceptance")
    monkeypatch.setenv("HEADWAY_STATE", str(tmp_path / "limits.db"))
    return {**os.environ}


def test_an_enforcer_that_nobody_here_wrote_refuses_nothing(environment, tmp_path):
    """Flask-Limiter's moving window, jitter, 20,000 records: 200 calls, so two windows."""
    write_contacts(tmp_path / "all.csv", 20_000)
    mapped = "email, firstname, lastname, city"
    with flask_platform("100 per 10 seconds", jitter=0.1) as platform:
        report = Sync("all.csv", "hubspot:contacts", key="email", map=mapped, base_url=platform.url).start()
    assert report.state == "done"
    assert len(platform.stored) == 20_000
    assert platform.refused == 0
    assert platform.calls == 202


def test_stopped_and_started_again_at_once_five_times_it_is_never_refused(environment, tmp_path):
    write_contacts(tmp_path / "contacts.csv", 15_000)
    command = [sys.executable, "-m", "headway"]
    with serve(MockConfig(latency=0.05)) as mock:
        words = ["sync", "contacts.csv", "hubspot:contacts", "--key", "email", "--base-url", mock.url]
        for life in range(6):
            process = subprocess.Popen([*command, *words, "--quiet"], env=environment, stdout=subprocess.DEVNULL)
            if life < 5:
                until = time.monotonic() + 30
                target = mock.stats()["write_calls"] + 10
                while mock.stats()["write_calls"] < target and time.monotonic() < until:
                    time.sleep(0.01)
                process.send_signal(signal.SIGINT)
                assert process.wait(30) == 130
            else:
                assert process.wait(60) == 0
            words = ["resume"]
        assert mock.stats()["objects"] == {"contacts": 15_000}
        assert mock.stats()["rate_limited"] == 0
        assert mock.stats()["most_in_any_window"] <= 100


def test_two_processes_in_two_folders_with_one_token_share_one_budget(environment, tmp_path):
    with serve(MockConfig(latency=0.05)) as mock:
        processes = []
        for name in ("one", "two"):
            folder = tmp_path / name
            folder.mkdir()
            write_contacts(folder / "contacts.csv", 8_000, seed=len(name))
            command = [sys.executable, "-m", "headway", "sync", "contacts.csv", "hubspot:contacts", "--key", "email"]
            processes.append(subprocess.Popen([*command, "--base-url", mock.url, "--quiet"], cwd=folder, env=environment,
                                              stdout=subprocess.DEVNULL))  # fmt: skip
        assert [process.wait(100) for process in processes] == [0, 0]
        assert mock.stats()["write_calls"] == 160
        assert mock.stats()["rate_limited"] == 0
        assert mock.stats()["most_in_any_window"] <= 100


def test_fifty_kills_lose_nothing():
    verify(kill_often(50, 60_000))
