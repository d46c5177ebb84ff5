"""Everything that goes wrong on the wire, on every platform at once: the books balance, and nothing is doubled that counts."""

from __future__ import annotations

import pytest

import headway
from headway.mock import Fault
from headway.runs.resuming import resume
from tests.acceptance.orgs import DESTINATIONS, KEYS, account, balanced, rows, served, stored

STORM = (
    Fault("status", status=503, probability=0.03),
    Fault("status", status=500, at="after", probability=0.03),
    Fault("reset", probability=0.03),
    Fault("reset_after", probability=0.03),
    Fault("hang", seconds=2.5, probability=0.03),
    Fault("truncate", probability=0.03),
)


def run(platform, mock, folder, count, via, monkeypatch):
    owner = account(platform, mock, folder, timeout=1.0)
    what = rows(platform, count)
    sync = headway.Sync(
        what, owner[DESTINATIONS[platform]], key=KEYS[platform], via=via, store=folder / "records.db", max_dead=1.0
    )
    report = sync.start()
    tries = 0
    while report.pending and tries < 5:  # the platform was given up for a while
        tries += 1
        report = resume(destination=owner[DESTINATIONS[platform]], store=folder / "records.db").start()
    owner.close()
    return report


@pytest.fixture
def hasty(monkeypatch):
    """Jobs that are polled, and calls that are repeated, without much ado."""
    from headway.delivery.retry import RetryPolicy
    from headway.engine import engine, jobs
    from headway.platforms.mailchimp import batches
    from headway.platforms.mailchimp import connector as mailchimp
    from headway.platforms.salesforce import bulk, connector

    monkeypatch.setattr(bulk, "FIRST_POLL", 0.1)
    monkeypatch.setattr(batches, "FIRST_POLL", 0.1)
    monkeypatch.setattr(connector.Bulk, "batch_size", 250)
    monkeypatch.setattr(mailchimp.Batches, "batch_size", 100)
    monkeypatch.setattr(jobs, "_LONGEST", 0.2)
    monkeypatch.setattr(engine, "RetryPolicy", lambda: RetryPolicy(base=0.05, cap=0.5, attempts=8))


@pytest.mark.parametrize(
    ("platform", "via", "count"),
    [
        ("hubspot", None, 6000),
        ("salesforce", "collections", 8000),
        ("salesforce", "bulk", 5000),
        ("mailchimp", "list", 15000),
        ("mailchimp", "members", 60),
        ("ga4", None, 1500),
    ],
)
def test_a_storm_loses_nothing(tmp_path, hasty, monkeypatch, platform, via, count):
    with served(platform, faults=STORM) as mock:
        report = run(platform, mock, tmp_path, count, via, monkeypatch)
        assert balanced(report)
        stats = mock.stats()
        assert sum(stats["by_fault"].values()) > 0
        if platform == "ga4":  # nothing may be sent twice: what may have arrived is a dead letter
            assert stats["duplicate_events"] == 0
            assert report.delivered <= stats["events"] <= report.delivered + report.dead
        else:
            assert report.delivered == count
            assert stored(platform, mock) == count


def test_a_storm_on_a_batch_of_mailchimp_loses_nothing(tmp_path, hasty, monkeypatch):
    with served("mailchimp", faults=STORM, batch_delay=0.05, batch_rate=50_000) as mock:
        report = run("mailchimp", mock, tmp_path, 3000, "batch", monkeypatch)
        assert balanced(report)
        assert (report.delivered, stored("mailchimp", mock)) == (3000, 3000)
        assert mock.stats()["leaked_credentials"] == 0


def test_in_a_storm_nothing_is_uploaded_to_salesforce_twice(tmp_path, hasty, monkeypatch):
    with served("salesforce", faults=STORM, bulk_rate=50_000) as mock:
        report = run("salesforce", mock, tmp_path, 4000, "bulk", monkeypatch)
        assert report.delivered == 4000
        assert mock.stats()["duplicate_writes"] == 0


@pytest.mark.parametrize("via", ["collections", "bulk"])
def test_inserts_are_never_doubled(tmp_path, hasty, monkeypatch, via):
    with served("salesforce", faults=STORM, bulk_rate=50_000) as mock:
        owner = account("salesforce", mock, tmp_path, timeout=1.0)
        what = [{"LastName": f"Name {n}", "Email": f"p{n}@example.com"} for n in range(3000)]
        sync = headway.Sync(
            what, owner["Contact"], key="Email", mode="insert", via=via, store=tmp_path / "records.db", max_dead=1.0
        )
        report = sync.start()
        while report.pending:
            report = resume(destination=owner["Contact"], store=tmp_path / "records.db").start()
        owner.close()
        assert balanced(report)
        emails = mock.call(lambda m: [row["Email"] for row in m.tables["Contact"].rows.values()])
        assert len(emails) == len(set(emails))
        assert report.delivered <= len(emails) <= report.delivered + report.dead
