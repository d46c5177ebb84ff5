"""The commands as a user runs them: real processes, a mock over a socket, exit codes, one clear line for mistakes."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from headway.cli.group import COMMANDS
from headway.mock.config import MockConfig
from headway.mock.server import serve

CONTACTS = "email,firstname,lastname\nada@example.com,Ada,Lovelace\ngrace@example.com,Grace,Hopper\n"


@pytest.fixture
def desk(tmp_path):
    """Runs `headway …` in a folder of its own, with a state of its own."""

    class Desk:
        folder = tmp_path
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("HUBSPOT", "HEADWAY"))},
            "HEADWAY_STATE": str(tmp_path / "limits.db"),
            "HUBSPOT_TOKEN": "secret-token-of-this-test",
        }

        def command(self, *words: str) -> list[str]:
            return [sys.executable, "-m", "headway", *words]

        def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
            done = subprocess.run(
                self.command(*words),
                cwd=self.folder,
                env={**self.environment, **environment},
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert "Traceback" not in done.stderr, done.stderr
            assert "secret-token" not in done.stdout + done.stderr
            return done

        def write(self, name: str, text: str) -> str:
            (self.folder / name).write_text(text, encoding="utf-8")
            return name

    return Desk()


@pytest.mark.parametrize("name", [*COMMANDS, "dead ls", "dead show", "dead export", "dead drop", "dead replay"])
def test_every_command_has_help(desk, name):
    done = desk.run(*name.split(), "--help")
    assert done.returncode == 0
    assert "Usage:" in done.stdout


def test_a_plan_says_what_is_left_of_the_day_and_how_a_sync_would_end(desk):
    file = desk.write("contacts.csv", "email\n" + "".join(f"a{number}@example.com\n" for number in range(1000)))
    with serve(MockConfig(daily=7)) as mock:
        to = ("hubspot:contacts", "--key", "email", "--base-url", mock.url)
        done = desk.run("plan", file, *to, "--strict")
        assert done.returncode == 5
        assert "share of the day     142.9%: 5 of the day's 7 calls are left to use\n" in done.stdout
        assert "what decides that    daily\n" in done.stdout
        assert "what is left of the limit 'daily' does not suffice (exit 5)\n" in done.stdout


def test_a_day_that_is_used_up_pauses_a_sync_and_says_how_to_go_on(desk):
    file = desk.write("contacts.csv", CONTACTS)
    with serve(MockConfig(daily=1)) as mock:
        done = desk.run("sync", file, "hubspot:contacts", "--key", "email", "--base-url", mock.url)
        assert done.returncode == 5
        assert "the quota is used up (limit 'daily')" in done.stdout
        assert "Go on with: headway resume" in done.stdout
        assert mock.stats()["rate_limited"] == 0


def test_a_sync_from_plan_to_rows(desk):
    file = desk.write("contacts.csv", CONTACTS)
    with serve(MockConfig()) as mock:
        to = ("hubspot:contacts", "--key", "email", "--base-url", mock.url)
        planned = json.loads(desk.run("plan", file, *to, "--json").stdout)
        assert (planned["read"], planned["records"], planned["requests"]) == (2, 2, 1)
        assert (planned["quota_free"] // 10, planned["would_exit"]) == (3999, 0)
        assert mock.stats()["write_calls"] == 0
        done = desk.run("sync", file, *to, "--json")
        assert done.returncode == 0
        report = json.loads(done.stdout)
        assert list(report) == [
            "run", "state", "read", "delivered", "unchanged", "dead", "skipped", "pending", "requests", "rate_limited",
            "retries", "seconds",
        ]  # fmt: skip
        assert (report["state"], report["delivered"], report["requests"]) == ("done", 2, 1)
        assert mock.stats()["objects"] == {"contacts": 2}
        assert "delivered" in desk.run("rows", "Ada@example.com").stdout
        assert report["run"] in desk.run("status").stdout
        assert json.loads(desk.run("status", report["run"], "--json").stdout)[0]["delivered"] == 2


def test_dead_letters_are_listed_exported_corrected_and_synced(desk):
    file = desk.write(
        "contacts.csv",
        'email,firstname,age\nada@example.com,Ada,36\nnot-an-address,"=SUM(A1)",1\nbob@example.com,-Bob,x\n',
    )
    with serve(MockConfig()) as mock:
        to = ("hubspot:contacts", "--key", "email", "--base-url", mock.url)
        done = desk.run("sync", file, *to)
        assert done.returncode == 3
        assert "headway dead ls" in done.stdout
        listed = desk.run("dead", "ls").stdout
        assert "not-an-address" in listed
        assert "age" in listed
        letters = json.loads(desk.run("dead", "ls", "--json").stdout)
        assert len(letters) == 2
        assert "HTTP 207" in desk.run("dead", "show", *[str(each["id"]) for each in letters]).stdout
        assert desk.run("dead", "export", "--output", "dead.csv").returncode == 0
        with (desk.folder / "dead.csv").open(encoding="utf-8", newline="") as text:
            rows = list(csv.reader(text))
        assert rows[0][:3] == ["email", "firstname", "age"]
        assert rows[0][3:] == ["_headway_line", "_headway_code", "_headway_error"]
        assert {row[1] for row in rows[1:]} == {"'=SUM(A1)", "'-Bob"}, "safe to open in a spreadsheet"
        text = (desk.folder / "dead.csv").read_text(encoding="utf-8")
        desk.write("dead.csv", text.replace("not-an-address", "eve@example.com").replace(",x,", ",40,"))
        done = desk.run("sync", "dead.csv", *to)
        assert done.returncode == 0, done.stdout + done.stderr
        stored = {each["email"]: each["firstname"] for each in mock.mock.objects.type(62515, "contacts").by_id.values()}
        assert stored == {"ada@example.com": "Ada", "eve@example.com": "=SUM(A1)", "bob@example.com": "-Bob"}
        assert desk.run("dead", "drop").returncode == 2
        assert desk.run("dead", "drop", "--all", "--yes").returncode == 0
        assert "No dead letters" in desk.run("dead", "ls").stdout


def test_dead_letters_are_replayed_as_they_are(desk):
    file = desk.write("contacts.csv", CONTACTS)
    with serve(MockConfig()) as mock:
        to = ("hubspot:contacts", "--key", "email", "--base-url", mock.url)
        mock.mock.batches.poisons.append(_poison("firstname", "Grace"))
        assert desk.run("sync", file, *to).returncode == 3
        mock.mock.batches.poisons.clear()
        done = desk.run("dead", "replay", "--rate", "5", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["delivered"] == 1
        assert mock.stats()["objects"] == {"contacts": 2}


def _poison(prop: str, value: str):
    from headway.mock.batches import Poison

    return Poison(prop, value, names=False)


def test_ctrl_c_finishes_what_is_in_flight_and_resume_goes_on(desk):
    lines = "".join(f"p{i}@example.com,P{i},X\n" for i in range(4000))
    file = desk.write("contacts.csv", "email,firstname,lastname\n" + lines)
    with serve(MockConfig(latency=0.4)) as mock:
        to = ("hubspot:contacts", "--key", "email", "--base-url", mock.url, "--tier", "default")
        process = subprocess.Popen(
            desk.command("sync", file, *to), cwd=desk.folder, env=desk.environment,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        until = time.monotonic() + 20
        while mock.stats()["write_calls"] < 3 and time.monotonic() < until:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        assert process.returncode == 130, err
        assert "headway resume" in out
        done = desk.run("resume", "--json")
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout)
        assert (report["delivered"], report["pending"]) == (4000, 0)
        assert mock.stats()["objects"] == {"contacts": 4000}
        assert not any(mock.stats()["written_more_than_once"].values())


def _mistake(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    last = done.stderr.strip().splitlines()[-1]
    for word in words:
        assert word in done.stderr, last
    assert len([line for line in done.stderr.strip().splitlines() if line.startswith("headway: ")]) <= 1


def test_mistakes_before_anything_is_sent(desk):
    file = desk.write("contacts.csv", CONTACTS)
    with serve(MockConfig()) as mock:
        base = ("--base-url", mock.url)
        to = ("hubspot:contacts", "--key", "email", *base)
        _mistake(desk.run("sync", "missing.csv", *to), 6, "missing.csv")
        _mistake(desk.run("sync", desk.write("empty.csv", ""), *to), 6, "empty.csv")
        (desk.folder / "latin.csv").write_bytes("email,firstname\nz@x.co,Zoë\n".encode("utf-16-le"))
        _mistake(desk.run("sync", "latin.csv", *to), 6, "--encoding")
        _mistake(desk.run("sync", file, "hubspot:contacts", "--key", "mail", *base), 2, "mail", "did you mean")
        _mistake(desk.run("sync", file, "hubspt:contacts", "--key", "email", *base), 2, "did you mean")
        _mistake(desk.run("sync", file, "hubspot/portal-9:contacts", "--key", "email", *base), 2, "portal-9")
        _mistake(desk.run("sync", file, *to, "--tier", "profesional"), 2, "professional")
        _mistake(
            desk.run("sync", file, "hubspot:contacts", "--key", "email", *base, HUBSPOT_TOKEN=""), 2, "HUBSPOT_TOKEN"
        )
        _mistake(desk.run("sync", desk.write("typo.csv", "email,fistname\na@x.co,A\n"), *to), 2, "firstname")
        _mistake(desk.run("sync", file, *to, "--map", "email=emial"), 2, "did you mean")
        _mistake(desk.run("sync", file, *to, "--share", "150%"), 2, "share")
        _mistake(desk.run("snyc"), 2, "did you mean 'sync'")
        _mistake(desk.run("resume"), 2)
        _mistake(desk.run("status", "--store", "postgres://x"), 2, "store")
        header_only = desk.run("sync", desk.write("header.csv", "email,firstname\n"), *to)
        assert header_only.returncode == 0
        assert mock.stats()["write_calls"] == 0
        assert not mock.stats()["rate_limited"]


def test_refused_credentials_end_with_4_and_send_nothing(desk):
    file = desk.write("contacts.csv", CONTACTS)
    with serve(MockConfig(only_known=True)) as mock:
        done = desk.run("sync", file, "hubspot:contacts", "--key", "email", "--base-url", mock.url)
        _mistake(done, 4, "token")
        assert mock.stats()["write_calls"] == 0


def test_a_store_of_a_newer_version_is_left_alone(desk):
    import sqlite3

    file = desk.write("contacts.csv", CONTACTS)
    with serve(MockConfig()) as mock:
        to = ("hubspot:contacts", "--key", "email", "--base-url", mock.url)
        desk.run("sync", file, *to)
        with sqlite3.connect(desk.folder / ".headway" / "records.db") as store:
            store.execute("PRAGMA user_version = 99")
        store.close()
        _mistake(desk.run("sync", file, *to), 2, "newer")


def test_a_platform_that_is_not_there(desk):
    file = desk.write("contacts.csv", CONTACTS)
    done = desk.run("plan", file, "hubspot:contacts", "--key", "email", "--base-url", "http://127.0.0.1:9")
    assert done.returncode != 0
    assert "127.0.0.1:9" in done.stderr


def test_the_day_s_quota_pauses_a_run_that_can_be_resumed(desk):
    lines = "".join(f"p{i}@example.com,P{i},X\n" for i in range(1000))
    file = desk.write("contacts.csv", "email,firstname,lastname\n" + lines)
    with serve(MockConfig(daily=6)) as mock:
        to = ("hubspot:contacts", "--key", "email", "--base-url", mock.url, "--json")
        done = desk.run("sync", file, *to)
        assert done.returncode == 5, done.stderr
        report = json.loads(done.stdout)
        assert report["state"] == "paused"
        assert report["rate_limited"] == 0, "the remaining header told"
        assert report["delivered"] + report["pending"] == 1000
        assert Path(desk.folder / ".headway" / "records.db").exists()


def test_limits_and_mock_explain_themselves(desk):
    assert "100 per 10 s" in desk.run("limits").stdout
    shown = desk.run("limits", "hubspot").stdout
    assert "professional" in shown
    assert "190 per 10 s" in shown
    assert json.loads(desk.run("limits", "hubspot", "--json").stdout)[0]["platform"] == "hubspot"
    _mistake(desk.run("limits", "hubspto"), 2, "did you mean 'hubspot'")
    _mistake(desk.run("mock", "salesforc"), 2, "did you mean 'salesforce'")
    _mistake(desk.run("mock", "hubspot", "--tier", "starter"), 2, "--window")
    _mistake(desk.run("mock", "stripe", "--window", "5/1s"), 2, "--window is for mock hubspot only")
    _mistake(desk.run("mock", "stripe", "--tier", "lve"), 2, "did you mean 'live'")
    _mistake(desk.run("mock", "hubspot", "--time-zone", "Mars"), 2, "Mars")
    _mistake(desk.run("mock", "hubspot", "--window", "100"), 2, "100/10s")


def test_limits_shows_a_tier_for_an_account_with_seats(desk):
    shown = desk.run("limits", "Salesforce", "--tier", "licensed", "--seats", "10").stdout
    assert "35,000 per 24 h" in shown
    assert "1,000,000" not in shown
    told = json.loads(desk.run("limits", "salesforce", "--tier", "licensed", "--seats", "10", "--json").stdout)
    assert list(told[0]["tiers"]) == ["licensed"]
    assert told[0]["tiers"]["licensed"]["limits"][0]["amount"] == 35_000
    _mistake(desk.run("limits", "salesforce", "--tier", "licenced"), 2, "did you mean 'licensed'")
    _mistake(desk.run("limits", "--tier", "licensed"), 2, "--tier needs a PLATFORM")


OWN = """platform = "acme"
title = "Acme"
hosts = ["api.acme.test"]
default_tier = "default"
[rejection]
statuses = [420]
[tiers.default]
title = "everybody"
source = "https://acme.test/limits"
date = "2026-11-23"
verified = true
[[tiers.default.limits]]
name = "window"
kind = "rolling window"
amount = 3
per = 60
scope = "credential"
"""


def test_a_platform_of_the_users_own_is_shown_mocked_and_checked(desk):
    (desk.folder / "headway-platforms").mkdir()
    desk.write("headway-platforms/acme.toml", OWN)
    assert "acme" in desk.run("limits").stdout
    assert "3 per 60 s" in desk.run("limits", "acme").stdout
    words = desk.command("mock", "acme", "--port", "0", "--json")
    with subprocess.Popen(words, cwd=desk.folder, env=desk.environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            url = json.loads(process.stdout.readline())["url"]
            assert [_status(url) for _ in range(4)] == [200, 200, 200, 420]
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    desk.write("headway-platforms/stripe.toml", OWN.replace('"acme"', '"stripe"'))
    assert "stands in front of the built-in entry" in desk.run("limits", "stripe").stdout
    desk.write("headway-platforms/acme.toml", OWN.replace("amount = 3", "amuont = 3"))
    _mistake(desk.run("limits", "acme"), 2, "acme.toml: tiers.default.limits[1].amuont is not known here")


def _status(url: str) -> int:
    import urllib.error
    import urllib.request

    try:
        with urllib.request.urlopen(url + "/any", timeout=10) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code
