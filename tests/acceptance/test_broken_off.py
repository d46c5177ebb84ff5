"""Jobs that are left in the middle of a call, tokens that end unused, and platforms that refuse what no limit covers."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest

import headway
from headway.accounts.link import OpenAccount
from headway.delivery.records import Call
from headway.mock import Fault
from headway.platforms.connector import Identity
from headway.runs.resuming import resume
from tests.acceptance.orgs import DESTINATIONS, KEYS, account, key_pair, rows, served, stored

PRIVATE, PUBLIC = key_pair()


def leave_during(sync: headway.Sync, mock, path: str, method: str) -> None:
    """Start, and leave at once when the platform has taken a call (its reply hangs)."""
    mock.call(lambda m: m.faults.add(Fault("hang", seconds=60, method=method, path=path)))
    failed: list[BaseException] = []

    def work() -> None:
        try:
            sync.start()
        except BaseException as error:  # noqa: BLE001
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    pause = threading.Event()
    while not mock.call(lambda m: m.faults.rules[-1].hit):
        pause.wait(0.01)
    pause.wait(0.05)
    sync.abort()
    thread.join(20)
    assert isinstance(failed[0], KeyboardInterrupt)
    mock.call(lambda m: m.faults.rules.clear())


@pytest.mark.parametrize(
    ("platform", "via", "method", "path"),
    [
        ("mailchimp", "batch", "POST", "/3.0/batches"),
        ("mailchimp", "batch", "GET", "/3.0/batches/*"),
        ("mailchimp", "batch", "GET", "/results/*"),
        ("salesforce", "bulk", "POST", "*/jobs/ingest"),
        ("salesforce", "bulk", "PUT", "*/batches"),
        ("salesforce", "bulk", "PATCH", "*/jobs/ingest/*"),
        ("salesforce", "bulk", "GET", "*/jobs/ingest/*"),
        ("salesforce", "bulk", "GET", "*/successfulResults"),
    ],
)
def test_a_job_left_in_any_of_its_calls_goes_on(tmp_path, monkeypatch, platform, via, method, path):
    from headway.platforms.mailchimp import batches
    from headway.platforms.salesforce import bulk

    monkeypatch.setattr(bulk, "FIRST_POLL", 0.1)
    monkeypatch.setattr(batches, "FIRST_POLL", 0.1)
    options = {"batch_delay": 0.05, "batch_rate": 50_000} if platform == "mailchimp" else {"bulk_rate": 50_000}
    with served(platform, **options) as mock:
        owner = account(platform, mock, tmp_path / "one", timeout=30.0)
        to = DESTINATIONS[platform]
        sync = headway.Sync(rows(platform, 900), owner[to], key=KEYS[platform], via=via, store=tmp_path / "r.db")
        leave_during(sync, mock, path, method)
        owner.close()
        owner = account(platform, mock, tmp_path / "two", timeout=30.0)
        report = resume(destination=owner[to], store=tmp_path / "r.db").start()
        assert (report.state, report.delivered, report.pending) == ("done", 900, 0)
        assert stored(platform, mock) == 900
        if platform == "salesforce":
            stats = mock.stats()
            assert (stats["uploaded_records"], stats["duplicate_writes"]) == (900, 0)
        owner.close()


async def test_a_token_that_ended_before_its_first_use_is_renewed_before_it_is_sent(tmp_path):
    options = {"clients": {"client": "secret-of-the-client"}, "refresh_tokens": {"refresh-token-1": "client"}}
    with served("hubspot", only_issued=True, token_ttl=1800, **options) as mock:
        login = headway.OAuthRefresh("client", "secret-of-the-client", "refresh-token-1")
        owner = account("hubspot", mock, tmp_path, login=login)
        owner.learn(Identity("62515", "UTC"))  # remembered: no call is needed to know it
        async with OpenAccount(owner) as link:
            owner.tokens._ends = 0.0  # a large file was read meanwhile
            mock.call(lambda m: m.tokens.expire())
            reply = await link.ask(Call("GET", "/crm/v3/properties/contacts"), "schema")
        assert reply.status == 200
        stats = mock.stats()
        assert "401" not in stats["by_status"]
        assert mock.call(lambda m: m.tokens.logins) == 2
        owner.close()


async def test_many_that_wait_for_one_report_keep_no_thread_from_its_login(tmp_path):
    key = {"client_email": "robot@example.com", "private_key": PRIVATE}
    with served("ga4", only_issued=True, latency=0.1, service_accounts={"robot@example.com": PUBLIC}) as mock:
        file = tmp_path / "key.json"
        file.write_text(json.dumps(key | {"token_uri": f"{mock.url}/token"}))
        login = headway.ServiceAccount.from_file(file)
        owner = account("ga4", mock, tmp_path, login=login, property="123", store=tmp_path / "c.db")
        request = headway.ReportRequest(["sessions"])
        async with asyncio.timeout(20):
            tables = await asyncio.gather(*(owner.areports([request]) for _ in range(60)))
        assert all(len(each[0].rows) == 1 for each in tables)
        assert mock.stats()["report_calls"] == 1
        owner.close()


def test_a_validation_that_google_refuses_pauses_instead_of_waiting_for_ever(tmp_path):
    with served("ga4", debug_hits=1) as mock:
        owner = account("ga4", mock, tmp_path)
        sync = headway.Sync(rows("ga4", 30), owner["events"], store=tmp_path / "r.db", validate=3)
        report = sync.start()
        assert (report.state, report.exit_code, report.pending) == ("paused", 5, 30)
        assert "validation" in report.reason
        assert resume(destination=owner["events"], store=tmp_path / "r.db").start().delivered == 30
        owner.close()


def test_a_day_that_is_used_up_before_we_are_known_pauses_instead_of_waiting_for_ever(tmp_path):
    with served("salesforce", daily=1) as mock:
        mock.call(lambda m: m.visit("Bearer another", 1))
        owner = account("salesforce", mock, tmp_path)
        sync = headway.Sync(rows("salesforce", 3), owner["Contact"], key="Bioguide_ID__c", store=tmp_path / "r.db")
        report = sync.start()
        assert (report.state, report.exit_code) == ("paused", 5)
        assert "the quota is used up (limit 'daily')" in report.reason
        assert mock.stats()["rate_limited"] == 1
        owner.close()
