"""The pytest plugin from its user's side."""

from __future__ import annotations

import asyncio

import httpx2
import pytest

import headway
from headway import Limiter, Quota, Window
from headway.testing import VirtualClock, asgi, run_virtually

pytest_plugins = ["pytester"]

USERS_TESTS = """
import headway

def rows(count):
    return [{"email": f"ada{i}@example.com", "firstname": "Ada"} for i in range(count)]

def sync(mock, count):
    account = headway.account("hubspot", token="pat-test", base_url=mock.url)
    return headway.Sync(rows(count), account["contacts"], key="email").start()

def test_good(headway_mock, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mock = headway_mock("hubspot", window="100/10s")
    assert sync(mock, 30).delivered == 30
    mock.assert_no_429()
    mock.assert_never_above_limit()
    mock.assert_delivered(["ada3@example.com"])
    mock.assert_delivered_exactly({row["email"]: row for row in rows(30)})

def test_missing(headway_mock, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mock = headway_mock()
    sync(mock, 2)
    mock.assert_delivered_exactly(["ada0@example.com", "ada1@example.com", "eve@example.com"])

def test_too_many(headway_mock, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mock = headway_mock()
    sync(mock, 2)
    mock.assert_delivered_exactly(["ada0@example.com"])

def test_refused(headway_mock):
    import urllib.request, urllib.error
    mock = headway_mock("hubspot", window=(1, 60.0))
    for _ in range(2):
        request = urllib.request.Request(mock.url + "/crm/v3/properties/contacts", headers={"Authorization": "Bearer x"})
        try:
            urllib.request.urlopen(request).close()
        except urllib.error.HTTPError as error:
            error.close()
    mock.assert_no_429()

def test_another_platform(headway_mock):
    mock = headway_mock("mailchimp")
    assert mock.requests == 0
    mock.assert_no_429()
"""


def test_fixtures_and_assertions(pytester: pytest.Pytester):
    pytester.makepyfile(USERS_TESTS)
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-q")
    done.assert_outcomes(passed=2, failed=3)
    done.stdout.fnmatch_lines_random(
        ["*1 of contacts are missing: eve@example.com*", "*1 of contacts should not be there: ada1@example.com*",
         "*1 of 2 calls were refused*"]
    )  # fmt: skip


def test_a_clock_that_is_advanced_by_hand(headway_clock: VirtualClock):
    limiter = Limiter(Window(2, per=10), clock=headway_clock)
    for _ in range(2):
        limiter.acquire().settle()
    assert limiter.try_acquire() is None
    headway_clock.advance(10.1)
    assert limiter.try_acquire() is not None
    with pytest.raises(ValueError, match="backwards"):
        headway_clock.advance(-1)


def test_an_hour_of_waiting_takes_no_time():
    async def main(clock: VirtualClock) -> list[float]:
        limiter = Limiter(Window(100, per=10), Quota(40_000), clock=clock)
        instants = []

        async def call() -> None:
            async with limiter.permit():
                await asyncio.sleep(0.05)
            instants.append(clock.seconds)

        await asyncio.gather(*(call() for _ in range(2_000)))
        return instants

    instants = run_virtually(main)
    assert len(instants) == 2_000
    assert 190 <= max(instants) <= 195


async def test_without_a_socket(headway_state):
    app = asgi("hubspot", window="3/10s")
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://mock") as client:
        client.headers["authorization"] = "Bearer pat-x"
        codes = [(await client.get("/crm/v3/properties/contacts")).status_code for _ in range(4)]
    assert codes == [200, 200, 200, 429]
    assert str(headway_state).endswith("limits.db")
    assert headway.Limiter
