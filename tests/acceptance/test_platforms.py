"""Salesforce, Mailchimp and Google Analytics 4 as users meet them: real files, both ways, real sockets."""

from __future__ import annotations

import csv
import math
import random

import pytest

import headway
from headway.stores.model import DeadFilter
from headway.stores.opening import open_store
from tests.acceptance.orgs import EXAMPLES, LIST, account, balanced, rows, served, stored

LEGISLATORS = (
    "Bioguide_ID__c=bioguide_id, FirstName=first_name, LastName=last_name, Birthdate=birthday, Phone=phone, "
    "MailingStreet=address, State__c=state, District__c=district, Party__c=party"
)
OFFICES = (
    "Office_ID__c=office_id, Street__c=address, Building__c=building, Suite__c=suite, City__c=city, State__c=state, "
    "Zip__c=zip, Phone__c=phone, Hours__c=hours"
)


def table(name: str) -> list[dict[str, str]]:
    with (EXAMPLES / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("file", "to", "key", "mapping", "calls"),
    [
        ("legislators.csv", "Contact", "Bioguide_ID__c", LEGISLATORS, 3),
        ("district_offices.csv", "Office__c", "Office_ID__c", OFFICES, 7),
    ],
)
def test_real_files_arrive_exactly_in_the_fewest_calls(tmp_path, file, to, key, mapping, calls):
    with served("salesforce") as mock:
        owner = account("salesforce", mock, tmp_path)
        sync = headway.Sync(EXAMPLES / file, owner[to], key=key, map=mapping, store=tmp_path / "records.db")
        plan = sync.plan()
        assert plan.requests == calls
        report = sync.start()
        assert (report.delivered, report.dead, report.requests) == (report.read, 0, calls)
        got = {row[key]: row for row in mock.call(lambda m: [dict(row) for row in m.tables[to].rows.values()])}
        columns = [pair.strip().split("=") for pair in mapping.split(",")]
        for line in table(file):
            row = got.pop(line[columns[0][1]])
            for field, column in columns:
                assert row.get(field, "") == line[column].strip(), (field, line)
        assert not got
        owner.close()


@pytest.mark.parametrize("via", ["collections", "bulk"])
def test_blank_cells_keep_or_clear_in_both_ways(tmp_path, via):
    start = [
        {"Bioguide_ID__c": f"C{n}", "LastName": "x", "Title": 'Dr, "so"\n to say', "Phone": "1"} for n in range(250)
    ]
    then = [row | {"Title": "", "LastName": "y"} for row in start]
    with served("salesforce") as mock:
        owner = account("salesforce", mock, tmp_path)
        for number, (what, blank) in enumerate([(start, "keep"), (then, "keep"), (then, "clear")]):
            sync = headway.Sync(
                what, owner["Contact"], key="Bioguide_ID__c", via=via, blank=blank, store=tmp_path / f"{number}.db"
            )
            assert sync.start().delivered == 250
            row = mock.call(lambda m: dict(next(iter(m.tables["Contact"].rows.values()))))
            assert row["Title"] == (None if blank == "clear" else start[0]["Title"])
        owner.close()


def test_a_bulk_run_with_bad_rows_and_jobs_that_fail_midway_balances(tmp_path, monkeypatch):
    from headway.platforms.salesforce import bulk, connector

    monkeypatch.setattr(bulk, "FIRST_POLL", 0.2)
    monkeypatch.setattr(connector.Bulk, "batch_size", 1000)
    rng = random.Random(7)
    bad = {n for n in range(5000) if rng.random() < 0.02}
    what = [
        row | {"Email": "nobody" if n in bad else f"p{n}@example.com"} for n, row in enumerate(rows("salesforce", 5000))
    ]
    with served("salesforce", bulk_rate=50_000, fail_jobs=(2, 4), lock_rows=0.001) as mock:
        owner = account("salesforce", mock, tmp_path)
        sync = headway.Sync(what, owner["Contact"], key="Bioguide_ID__c", store=tmp_path / "records.db")
        report = sync.start()
        assert balanced(report)
        assert (report.delivered, report.dead) == (5000 - len(bad), len(bad))
        stats = mock.stats()
        assert stats["duplicate_writes"] == 0
        store = open_store(str(tmp_path / "records.db"), "normal")
        letters = list(store.dead(DeadFilter(run=report.run)))
        store.close()
        assert {letter.code for letter in letters} == {"INVALID_EMAIL_ADDRESS"}
        assert all("invalid email address: nobody" in letter.message for letter in letters)
        owner.close()


@pytest.mark.parametrize("via", ["list", "batch", "members"])
def test_members_travel_by_every_way_within_ten_connections(tmp_path, monkeypatch, via):
    from headway.platforms.mailchimp import batches

    monkeypatch.setattr(batches, "FIRST_POLL", 0.1)
    count = 120 if via == "members" else 6000
    poison = {"p7@example.com": "looks fake or invalid, please enter a real email address."}
    with served("mailchimp", latency=0.6, poison=poison, batch_delay=0.05, batch_rate=50_000) as mock:
        owner = account("mailchimp", mock, tmp_path)
        sync = headway.Sync(
            rows("mailchimp", count), owner[LIST], key="email_address", via=via, store=tmp_path / "records.db"
        )
        report = sync.start()
        assert balanced(report)
        assert (report.delivered, report.dead, report.rate_limited) == (count - 1, 1, 0)
        stats = mock.stats()
        assert 1 < stats["most_connections"] <= 10  # how long all ten are busy: benchmarks/platforms.py
        assert (stats["rate_limited"], stats["leaked_credentials"], stats["duplicate_writes"]) == (0, 0, 0)
        member = mock.call(lambda m: dict(next(iter(m.audiences[LIST].rows.values()))))
        assert member["merge_fields"]["FNAME"].startswith("Name ")
        assert member["status"] == "subscribed"
        owner.close()


def test_a_share_of_the_connections_is_left_to_others(tmp_path):
    with served("mailchimp", latency=0.2) as mock:
        owner = account("mailchimp", mock, tmp_path, share=0.8)
        sync = headway.Sync(
            rows("mailchimp", 80), owner[LIST], key="email_address", via="members", store=tmp_path / "r.db"
        )
        assert sync.start().delivered == 80
        assert 1 < mock.stats()["most_connections"] <= 8
        owner.close()


def test_a_bare_403_and_a_429_pause_and_lose_nothing(tmp_path):
    with served("mailchimp", connections=4, latency=0.02) as mock:  # fewer than we know of
        owner = account("mailchimp", mock, tmp_path)
        sync = headway.Sync(
            rows("mailchimp", 60), owner[LIST], key="email_address", via="members", store=tmp_path / "r.db"
        )
        report = sync.start()
        assert balanced(report)
        assert report.delivered == 60
        assert report.rate_limited > 0
        owner.close()


def test_events_are_grouped_by_client_and_bad_ones_reported_before_sending(tmp_path):
    what = rows("ga4", 4000)
    for n in range(0, 4000, 100):
        what[n]["name"] = "9 is no letter"
    with served("ga4") as mock:
        owner = account("ga4", mock, tmp_path)
        sync = headway.Sync(what, owner["events"], store=tmp_path / "records.db", validate=5)
        plan = sync.plan()
        report = sync.start()
        assert balanced(report)
        assert (plan.dead, report.dead, report.delivered) == (40, 40, 3960)
        stats = mock.stats()
        assert stats["collect_calls"] <= 4000 // 25 + 100
        assert (stats["events"], stats["dropped_events"], stats["duplicate_events"]) == (3960, 0, 0)
        assert stats["largest_body"] < 130_000
        assert stats["debug_calls"] == 5
        assert plan.requests == report.requests
        owner.close()


def test_what_google_would_throw_away_pauses_the_run_and_is_said(tmp_path, monkeypatch):
    from headway.platforms.ga4 import rules

    monkeypatch.setattr(rules, "_RESERVED_EVENTS", frozenset())  # a name that our rules do not know yet
    what = [row | {"name": "session_start"} for row in rows("ga4", 30)]
    notes: list[str] = []
    with served("ga4") as mock:
        owner = account("ga4", mock, tmp_path)
        sync = headway.Sync(
            what, owner["events"], store=tmp_path / "r.db", validate=2,
            observer=lambda event: notes.append(getattr(event, "text", "")),
        )  # fmt: skip
        report = sync.start()
        assert (report.state, report.exit_code, report.pending) == ("paused", 5, 30)
        assert any("NAME_RESERVED" in note for note in notes)
        assert stored("ga4", mock) == 0
        owner.close()


def test_a_thousand_reports_of_which_a_hundred_are_distinct_take_a_hundred_calls_at_most(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    with served("ga4", latency=0.02) as mock:
        owner = account(
            "ga4", mock, tmp_path, token="token-of-a-test", property="123", tier="standard", store=tmp_path / "c.db"
        )
        with ThreadPoolExecutor(20) as threads:
            tables = list(
                threads.map(lambda n: owner.report(["activeUsers"], ["city"], start=f"{n % 100}daysAgo"), range(1000))
            )
        assert all(len(each.rows) == 250 for each in tables)
        stats = mock.stats()
        assert stats["report_calls"] <= 100
        assert stats["most_concurrent"] <= 10
        assert stats["rate_limited"] == 0
        used = {each.name: each.amount - each.free for each in owner.limiter.snapshot()}
        assert used["tokens-day"] == stats["tokens_used"]
        assert owner.report(["activeUsers"], ["city"], start="1daysAgo").cached
        before = mock.stats()["report_calls"]
        assert not owner.report(["activeUsers"], ["city"], start="1daysAgo", ttl=0).cached
        asked = [headway.ReportRequest(["sessions"], ["date"], start=f"{n % 10}daysAgo") for n in range(50)]
        assert len(owner.reports(asked)) == 50
        assert mock.stats()["report_calls"] == before + 3
        owner.close()


def test_a_long_report_is_read_page_by_page(tmp_path, monkeypatch):
    from headway.accounts import reporting

    monkeypatch.setattr(reporting, "PAGE", 100)
    with served("ga4") as mock:
        owner = account("ga4", mock, tmp_path, token="token-of-a-test", property="123", store=tmp_path / "c.db")
        table_ = owner.report(["activeUsers"], ["city"])
        assert [row[0] for row in table_.rows] == [f"city-{n:05d}" for n in range(250)]
        assert mock.stats()["report_calls"] == 3
        assert len(owner.report(["activeUsers"], ["city"], limit=120).rows) == 120
        with pytest.raises(headway.UsageError, match="not a valid metric"):
            owner.report(["activUsers"])
        owner.close()


@pytest.mark.parametrize(
    ("platform", "count", "options"),
    [
        ("salesforce", 1500, {"latency": 0.1}),
        ("mailchimp", 8000, {"latency": 0.5}),
        ("ga4", 3000, {"latency": 0.1}),
    ],
)
def test_the_plan_is_right(tmp_path, platform, count, options):
    """Calls to the one; seconds no fewer than its calls need. How near they come: benchmarks/platforms.py plans."""
    from tests.acceptance.orgs import DESTINATIONS, KEYS

    with served(platform, **options) as mock:
        owner = account(platform, mock, tmp_path)
        for latency in (0.0, options["latency"]):  # the second plan knows how long a call takes
            sync = headway.Sync(
                rows(platform, count), owner[DESTINATIONS[platform]], key=KEYS[platform], store=tmp_path / "r.db"
            )
            plan, report = sync.plan(), sync.start()
            assert (
                0 <= report.requests - plan.requests <= 2
            )  # a busy machine asks again, or sends a batch before it is full
            assert plan.seconds >= math.ceil(plan.requests / 16) * latency
        owner.close()


def test_a_day_that_other_apps_use_up_pauses_the_run_without_a_single_refusal(tmp_path):
    from headway.runs.resuming import resume

    with served("salesforce", daily=10) as mock:
        owner = account("salesforce", mock, tmp_path / "one")
        sync = headway.Sync(
            rows("salesforce", 3000), owner["Contact"], key="Bioguide_ID__c", via="collections", store=tmp_path / "r.db"
        )
        assert sync.plan().quota_free == 7  # who we are, the object, the limits: three calls are gone
        report = sync.start()
        assert (report.state, report.exit_code, report.delivered) == ("paused", 5, 7 * 200)
        assert mock.stats()["refused_for"] == {}
        owner.close()
        mock.mock.clock.advance(86_500)
        owner = account("salesforce", mock, tmp_path / "two")
        again = resume(destination=owner["Contact"], store=tmp_path / "r.db").start()
        assert (again.state, again.delivered) == ("done", 3000)
        assert mock.stats()["refused_for"] == {}
        owner.close()
