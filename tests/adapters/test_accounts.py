"""An account under other people's clients: routed limits, one budget, an identity that was asked for once."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest
import requests

import headway
from headway.mock.config import MockConfig
from headway.mock.server import Served, serve
from headway.platforms.catalog_reader import load
from headway.platforms.recognition import rejection_of


@pytest.fixture
def mock(tmp_path, monkeypatch) -> Iterator[Served]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEADWAY_STATE", str(tmp_path / "limits.db"))
    with serve(MockConfig()) as served:
        yield served


def portal(mock: Served, token: str = "", **settings) -> headway.Account:
    return headway.account("hubspot", token=token or f"pat-{os.urandom(6).hex()}", base_url=mock.url, **settings)


def used(account: headway.Account) -> dict[str, int]:
    return {each.name: each.in_flight + each.cooling for each in account.limiter.snapshot()}


def search(client, mock: Served) -> int:
    return client.post(mock.url + "/crm/v3/objects/contacts/search", json={"limit": 1}).status_code


def test_a_search_counts_against_the_search_limit_as_well(mock: Served):
    account = portal(mock)
    with account, httpx2.Client(transport=account.transport(), headers=account.headers) as client:
        assert client.get(mock.url + "/crm/v3/properties/contacts").status_code == 200
        assert search(client, mock) == 200
        counts = used(account)
    assert counts["search"] == 1
    assert counts["window"] == 3  # who we are, the properties, the search
    assert mock.stats()["rate_limited"] == 0


def test_the_platform_is_asked_who_we_are_once_a_day_and_whatever_the_process(mock: Served):
    token = f"pat-{os.urandom(6).hex()}"
    for _ in range(3):
        with (
            portal(mock, token) as account,
            httpx2.Client(transport=account.transport(), headers=account.headers) as client,
        ):
            client.get(mock.url + "/crm/v3/properties/contacts")
            assert account.identity is not None
            assert account.identity.account_id.isdigit()
            assert set(used(account)) == {"window", "daily", "search"}
    assert mock.stats()["requests"] == 4
    kept = next(Path(os.environ["HEADWAY_STATE"]).parent.glob("*.identities.json")).read_text()
    assert token not in kept


def test_a_search_burst_is_held_to_its_own_limit(mock: Served):
    account = portal(mock)
    with account, requests.Session() as session:
        session.headers.update(account.headers)
        session.mount("http://", account.adapter())
        with ThreadPoolExecutor(12) as pool:
            codes = list(pool.map(lambda _: search_with(session, mock), range(15)))
    assert set(codes) == {200}
    assert mock.stats()["rate_limited"] == 0


def search_with(session: requests.Session, mock: Served) -> int:
    return session.post(mock.url + "/crm/v3/objects/contacts/search", json={"limit": 1}, timeout=30).status_code


def test_a_library_call_and_a_sync_spend_one_budget(mock: Served, tmp_path):
    token = f"pat-{os.urandom(6).hex()}"
    with (
        portal(mock, token) as account,
        httpx2.Client(transport=account.transport(), headers=account.headers) as client,
    ):
        for _ in range(90):
            assert client.get(mock.url + "/crm/v3/properties/contacts").status_code == 200
        rows = [{"email": f"ada{i}@example.com", "firstname": "Ada"} for i in range(3000)]
        report = headway.Sync(rows, portal(mock, token)["contacts"], key="email").start()
        assert report.delivered == 3000
    stats = mock.stats()
    assert stats["rate_limited"] == 0
    assert stats["most_in_any_window"] <= 100


def test_separate_accounts_share_nothing(mock: Served):
    one, other = portal(mock), portal(mock)
    with one, other, httpx2.Client(transport=one.transport(), headers=one.headers) as client:
        client.get(mock.url + "/crm/v3/properties/contacts")
        assert used(one)["window"] == 2
        assert used(other) == {"window": 0, "daily": 0, "search": 0}


def test_refusals_name_their_limit():
    profile = load("hubspot")

    def said(**body: str) -> bytes:
        return json.dumps(body).encode()

    assert rejection_of(profile, 429, {}, said(policyName="DAILY")) == "daily"
    assert rejection_of(profile, 429, {}, said(policyName="TEN_SECONDLY_ROLLING")) == "window"
    assert rejection_of(profile, 429, {}, said(policyName="SECONDLY")) == "search"
    assert rejection_of(profile, 429, {}, b"<html>") == ""
    assert rejection_of(profile, 403, {}, said(category="MISSING_SCOPES")) is None
    assert rejection_of(profile, 200, {}, b"{}") is None


def test_every_platform_of_the_catalogue_can_be_held_to(tmp_path):
    from headway.platforms.catalog_reader import platforms

    for name in platforms():
        with headway.account(name, token="key-us6", state=tmp_path / "l.db") as account:
            asked = account.ask("GET", "/anything")
            assert asked.limits <= set(account.limiter.limits)
            assert account.limiter.limits
            assert account.tell(asked, 429, {}, b"").refusal is not None or name in {"marketo", "segment"}


def test_an_unpublished_limit_is_searched_for(tmp_path):
    with headway.account("sendgrid", token="key", state=tmp_path / "l.db") as account:
        account.prepare()
        assert account.limiter.limits == ("adaptive",)
        assert account.limiter.rate == 5.0
        for _ in range(2):
            with account.limiter.permit() as permit:
                permit.rejected()
        assert account.limiter.rate < 5.0
