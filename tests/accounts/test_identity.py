"""Whose account it is: one answer for runs and the library, and what stands in for it until the platform tells."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

import headway
from headway.accounts.identity import Asking, recall, stand_in
from headway.accounts.link import OpenAccount
from headway.errors import CredentialsError, PermitTimeout, PlatformError
from headway.events import Note
from headway.mock.config import MockConfig, Portal
from headway.mock.faults import Fault
from headway.mock.server import Served, serve
from headway.runs.resuming import resume


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HEADWAY_STATE", str(tmp_path / "limits.db"))
    monkeypatch.setenv("HUBSPOT_TOKEN", f"pat-na1-{os.urandom(8).hex()}")


@pytest.fixture
def mock() -> Iterator[Served]:
    with serve(MockConfig(portal=Portal(77, "Europe/Berlin"))) as served:
        yield served


@pytest.fixture
def down(mock: Served) -> Iterator[Served]:
    """A platform that is out of order, until its faults are taken away."""
    mock.mock.faults.add(Fault("status", status=503))
    return mock


def up(mock: Served) -> None:
    mock.mock.faults.rules.clear()


def portal(mock: Served, **settings) -> headway.Account:
    return headway.account("hubspot", base_url=mock.url, **settings)


@contextlib.contextmanager
def opened(path: str) -> Iterator[sqlite3.Connection]:
    """A database of the run's, committed and closed at the end."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        yield connection


def pools() -> list[str]:
    with opened(os.environ["HEADWAY_STATE"]) as state:
        return [key for (key,) in state.execute("SELECT key FROM pools")]


def used(account: headway.Account, limit: str) -> int:
    status = next(each for each in account.limiter.snapshot() if each.name == limit)
    return status.in_flight + status.cooling


# -- stand-ins


def test_without_an_answer_the_credential_stands_in_and_every_limit_counts(down):
    with portal(down) as account:
        account.prepare()
        assert account.identity is None
        assert account._key("identity", "daily").split("|")[2] == f"account:{stand_in(account.credential)}"
        assert set(account.limiter.limits) == {"window", "daily", "search"}
        assert used(account, "daily") == 1
        assert recall(account) is None


def test_a_platform_that_did_not_tell_is_asked_again_and_the_places_move_over(down, monkeypatch):
    with portal(down) as account, httpx2.Client(transport=account.transport(), headers=account.headers) as client:
        url = down.url + "/crm/v3/properties/contacts"
        for _ in range(3):
            client.get(url)
        assert used(account, "daily") == 4  # who we are, and the three
        assert account.identity is None
        up(down)
        monkeypatch.setattr(account, "_asking", Asking())  # as if the wait were over
        client.get(url)
        assert account.identity is not None
        assert (account.identity.account_id, account.time_zone) == ("77", "Europe/Berlin")
        assert used(account, "daily") == 6
        with portal(down, token=f"pat-{os.urandom(6).hex()}") as other:  # another app of the same portal
            other.prepare()
            with other.limiter.permit(timeout=5):
                daily = next(each for each in other.limiter.snapshot() if each.name == "daily")
        assert daily.free <= 40_000 - 6
    assert any("|account:77|daily" in key for key in pools())


def test_what_stands_in_is_said_once(down):
    events: list[object] = []
    with portal(down) as account:
        account.observe(events.append)
        account.prepare()
        account.prepare()
    notes = [event.text for event in events if isinstance(event, Note)]
    assert len(notes) == 1
    assert "did not say whose account this is" in notes[0]
    assert "HTTP 503" in notes[0]


def test_a_platform_that_is_down_costs_no_call_its_time(down):
    with portal(down) as account:
        account.prepare()
        asked = down.stats()["requests"]
        for _ in range(20):
            account.prepare()
        assert down.stats()["requests"] == asked


def test_waits_between_attempts_double_to_a_quarter_of_an_hour():
    asking = Asking()
    assert asking.due(0.0)
    waits = [asking.failed(100.0) for _ in range(12)]
    assert waits[:3] == [1.0, 2.0, 4.0]
    assert waits[-1] == 900.0
    assert not asking.due(999.0)
    assert asking.due(1000.0)


def test_only_the_first_attempt_is_waited_for(down):
    with portal(down) as account:
        account.prepare()
        account._asking._again = 0.0
        with account._preparing:  # another thread is asking
            began = time.monotonic()
            account.prepare()
            assert time.monotonic() - began < 1.0


def test_threads_that_begin_together_ask_once(mock):
    with portal(mock) as account:
        threads = [threading.Thread(target=account.prepare) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert account.identity is not None
    assert mock.stats()["requests"] == 1


# -- runs


def test_a_run_of_an_account_that_stood_in_keeps_the_platforms_own_id(down):
    with portal(down) as account:
        account.prepare()
        assert account.identity is None
        up(down)
        rows = [{"email": f"ada{number}@example.com"} for number in range(3000)]
        run = None

        def watch(event):
            if type(event).__name__ == "RecordsFinished":
                run.stop()

        run = headway.Sync(rows, account["contacts"], key="email", observer=watch)
        report = run.start()
        assert report.state == "interrupted"
        assert account.identity is not None
    done = resume(base_url=down.url).start()
    assert (done.state, done.delivered) == ("done", 3000)
    assert down.stats()["rate_limited"] == 0


def test_a_run_that_an_earlier_version_began_with_a_stand_in_goes_on(mock):
    run = interrupted(mock)
    with opened(".headway/records.db") as store:
        with portal(mock) as account:
            kept = stand_in(account.credential)
        store.execute("UPDATE run SET options = json_set(options, '$.identity', ?) WHERE id = ?", (kept, run))
    assert resume().start().state == "done"
    with opened(".headway/records.db") as store:
        (options,) = store.execute("SELECT options FROM run WHERE id = ?", (run,)).fetchone()
    assert json.loads(options)["identity"] == "77"


def test_a_stand_in_of_another_credential_is_refused(mock):
    run = interrupted(mock)
    with opened(".headway/records.db") as store:
        store.execute("UPDATE run SET options = json_set(options, '$.identity', 'key-0') WHERE id = ?", (run,))
    with pytest.raises(headway.errors.UsageError, match="sends to the account of another token"):
        resume().start()


def interrupted(mock: Served) -> str:
    Path("contacts.csv").write_text("email\n" + "".join(f"ada{number}@example.com\n" for number in range(3000)))
    run = None

    def watch(event):
        if type(event).__name__ == "RecordsFinished":
            run.stop()

    run = headway.Sync("contacts.csv", "hubspot:contacts", key="email", base_url=mock.url, observer=watch)
    assert run.start().state == "interrupted"
    return run.run


# -- what is remembered


async def test_runs_and_the_library_remember_the_same(mock):
    with portal(mock) as account:
        account.prepare()
    with portal(mock) as again:
        async with OpenAccount(again):
            assert again.time_zone == "Europe/Berlin"
    with portal(mock) as third:
        third.prepare()
        assert third.identity is not None
    assert mock.stats()["requests"] == 1


def age(seconds: float) -> None:
    place = next(Path().glob("limits.db.identities.json"))
    said = json.loads(place.read_text())
    place.write_text(json.dumps({key: [value[0] - seconds, *value[1:]] for key, value in said.items()}))


@pytest.mark.parametrize("way", ["library", "run"])
async def test_after_a_day_the_platform_is_asked_again_and_what_was_known_serves_where_it_is_down(mock, way):
    async def find_out() -> headway.Account:
        with portal(mock) as account:
            if way == "library":
                account.prepare()
            else:
                async with OpenAccount(account):
                    pass
            return account

    await find_out()
    age(90_000)
    await find_out()
    assert mock.stats()["requests"] == 2
    age(90_000)
    mock.mock.faults.add(Fault("status", status=503))
    account = await find_out()
    assert account.identity is not None
    assert account.identity.account_id == "77"


async def test_a_run_does_not_begin_without_an_identity(down):
    with portal(down) as account:
        with pytest.raises(PlatformError, match="did not say whose account"):
            async with OpenAccount(account):
                pass
        assert account.identity is None


def test_a_token_that_is_refused_stands_in_for_the_library_and_is_said():
    with serve(MockConfig(only_known=True)) as mock, portal(mock) as account:
        events: list[object] = []
        account.observe(events.append)
        account.prepare()
        assert account.identity is None
        assert "does not accept the token" in "".join(event.text for event in events if isinstance(event, Note))


async def test_a_run_with_a_token_that_is_refused_ends():
    with serve(MockConfig(only_known=True)) as strict, portal(strict) as account, pytest.raises(CredentialsError):
        async with OpenAccount(account):
            pass


def test_where_nobody_knows_the_address_nobody_is_asked(tmp_path):
    events: list[object] = []
    with headway.account("mailchimp", token="a-key-without-a-data-centre") as account:
        account.observe(events.append)
        account.prepare()
        assert account.prepared
        assert "concurrency" in account.limiter.limits
    assert not events


# -- the day used up


async def test_the_day_is_used_up_before_anybody_told_whose_it_is():
    token = os.environ["HUBSPOT_TOKEN"]
    with serve(MockConfig(daily=50, window=(100, 10.0))) as mock, portal(mock) as account:
        app = mock.mock.enforcer.app(token)
        mock.mock.enforcer.visit(app, 50)
        with pytest.raises(PermitTimeout, match="the time zone of the account is not known yet") as told:
            async with OpenAccount(account):
                pass
        assert told.value.limit == "daily"
        assert told.value.earliest is not None
        assert told.value.earliest <= 3601
        assert mock.stats()["rate_limited"] == 1
        with portal(mock) as again, pytest.raises(PermitTimeout):
            async with OpenAccount(again):
                pass
        assert mock.stats()["rate_limited"] == 1
