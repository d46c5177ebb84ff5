"""sync, plan, report and mock for Salesforce, Mailchimp and Google Analytics, as a user types them."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys

import duckdb
import pytest

from headway.mock import Fault, Field, GA4Config, MailchimpConfig, SalesforceConfig, SObject, serve
from headway.mock.salesforce.config import STANDARD

CONTACT = SObject("Contact", (*STANDARD[0].fields, Field("Ext__c", external_id=True)))
VARIABLES = ("SALESFORCE_", "MAILCHIMP_", "GA4_", "GOOGLE_", "HUBSPOT_")


def headway(folder, *arguments, **environment):
    known = {name: value for name, value in os.environ.items() if not name.startswith(VARIABLES)}
    return subprocess.run(
        [sys.executable, "-m", "headway", *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=60,
        env=known | {"HEADWAY_STATE": str(folder / "limits.db")} | environment,
    )  # fmt: skip


def write(path, *rows):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return path.name


def test_people_into_salesforce(tmp_path):
    file = write(
        tmp_path / "people.csv", ("number", "name", "mail"), ("007", "Bond", "j@b.uk"), ("008", "Bill", "nobody")
    )
    mapping = "Ext__c=number, LastName=name, Email=mail"
    with serve(SalesforceConfig(objects=(CONTACT,))) as mock:
        environment = {"SALESFORCE_TOKEN": "token-of-a-test", "SALESFORCE_INSTANCE_URL": mock.url}
        to = (file, "salesforce:Contact", "--key", "Ext__c", "--map", mapping)
        plan = headway(tmp_path, "plan", *to, **environment)
        assert plan.returncode == 0
        assert "collections" in plan.stdout
        done = headway(tmp_path, "sync", *to, "--json", "--quiet", **environment)
        assert done.returncode == 3
        assert json.loads(done.stdout)["delivered"] == 1
        letters = headway(tmp_path, "dead", "ls", **environment)
        assert "INVALID_EMAIL_ADDRESS" in letters.stdout
        assert next(iter(mock.mock.tables["Contact"].rows.values()))["Ext__c"] == "007"


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "words"),
    [
        (("salesforce:Contact", "--key", "number"), {}, 2, "SALESFORCE_CLIENT_ID"),
        (("salesforce:Contact", "--key", "number"), {"SALESFORCE_TOKEN": "token-x"}, 2, "SALESFORCE_INSTANCE_URL"),
        (("salesforce:Contact",), {"SALESFORCE_TOKEN": "token-x", "SALESFORCE_INSTANCE_URL": "http://127.0.0.1:1"}, 2, "--key"),
        (("mailchimp:a1b2c3d4e5", "--key", "number"), {"MAILCHIMP_API_KEY": "0123-us6"}, 2, "--key email_address"),
        (("mailchimp:a1b2c3d4e5", "--key", "number", "--map", "number=1"), {}, 2, "MAILCHIMP_API_KEY"),
        (("ga4:events",), {}, 2, "GA4_MEASUREMENT_ID"),
        (("ga4:events",), {"GA4_MEASUREMENT_ID": "G-1", "GA4_API_SECRET": "a-secret"}, 2, "column `name`"),
        (("ga4:events", "--via", "batch"), {"GA4_MEASUREMENT_ID": "G-1", "GA4_API_SECRET": "a-secret"}, 2, "--via"),
        (("marketo:leads", "--key", "number"), {"MARKETO_TOKEN": "token-x"}, 2, "ga4"),
    ],
)  # fmt: skip
def test_mistakes_are_told_in_one_line(tmp_path, arguments, environment, code, words):
    file = write(tmp_path / "people.csv", ("number", "title"), ("1", "Dr"))
    done = headway(tmp_path, "sync", file, *arguments, **environment)
    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_secret_of_google_analytics_is_never_shown(tmp_path):
    file = write(tmp_path / "e.csv", ("name", "client_id"), ("login", "c"))
    environment = {"GA4_MEASUREMENT_ID": "G-1", "GA4_API_SECRET": "hush-hush-secret"}
    with serve(GA4Config(faults=(Fault("reset"),))) as mock:
        done = headway(tmp_path, "sync", file, "ga4:events", "--base-url", mock.url, **environment, HEADWAY_DEBUG="1")
        assert done.returncode == 3
    said = done.stdout + done.stderr + headway(tmp_path, "status", "--json").stdout
    assert "hush-hush-secret" not in said
    stored = b"".join(path.read_bytes() for path in (tmp_path / ".headway").rglob("*") if path.is_file())
    assert b"hush-hush-secret" not in stored


def test_events_are_validated_and_sent(tmp_path):
    file = write(tmp_path / "e.csv", ("name", "client_id", "value"), *(("login", f"c{n}", "1") for n in range(30)))
    with serve(GA4Config()) as mock:
        environment = {"GA4_MEASUREMENT_ID": "G-1", "GA4_API_SECRET": "hush-hush-secret"}
        done = headway(tmp_path, "sync", file, "ga4:events", "--validate", "3", "--base-url", mock.url, **environment)
        assert done.returncode == 0, done.stderr
        assert "no fault with 3 records" in done.stderr
        assert mock.stats()["events"] == 30


def test_a_report_in_three_formats_costs_one_call(tmp_path):
    with serve(GA4Config(rows=7)) as mock:
        to = ("report", "ga4", "--metrics", "activeUsers", "--dimensions", "city", "--base-url", mock.url)
        environment = {"GA4_TOKEN": "token-of-a-test", "GA4_PROPERTY_ID": "123"}
        first = headway(tmp_path, *to, **environment)
        assert first.returncode == 0, first.stderr
        table = list(csv.reader(io.StringIO(first.stdout)))
        assert table[0] == ["city", "activeUsers"]
        assert len(table) == 8
        told = json.loads(headway(tmp_path, *to, "--format", "json", **environment).stdout)
        assert [each["city"] for each in told] == [row[0] for row in table[1:]]
        assert headway(tmp_path, *to, "-o", "r.parquet", **environment).returncode == 0
        total = duckdb.sql(f"SELECT sum(activeUsers) FROM '{tmp_path}/r.parquet'").fetchall()[0][0]
        assert total == sum(int(row[1]) for row in table[1:])
        assert mock.stats()["report_calls"] == 1
        assert headway(tmp_path, *to, "--ttl", "0", **environment).returncode == 0
        assert mock.stats()["report_calls"] == 2
        for more, words in [
            (("--where", "city"), "NAME=VALUE"), (("--format", "parquet"), "--output"), (("--property", "G-1"), "its number"),
            (("--order", "nope"), "cannot order"), (("-o", "no/such/folder.csv"), "cannot be written"),
        ]:  # fmt: skip
            wrong = headway(tmp_path, *to, *more, **environment)
            assert wrong.returncode == 2
            assert words in wrong.stderr


def test_members_archived_by_a_batch(tmp_path):
    file = write(tmp_path / "m.csv", ("email_address",), *((f"p{n}@example.com",) for n in range(20)))
    with serve(MailchimpConfig(batch_delay=0.1)) as mock:
        environment = {"MAILCHIMP_API_KEY": "0123456789abcdef0123456789abcdef-us6"}
        to = (file, "mailchimp:a1b2c3d4e5", "--key", "email_address", "--base-url", mock.url, "--json", "--quiet")
        assert headway(tmp_path, "sync", *to, **environment).returncode == 0
        assert mock.stats()["members"] == {"a1b2c3d4e5": 20}
        assert headway(tmp_path, "sync", *to, "--mode", "archive", **environment).returncode == 0
        assert mock.stats()["members"] == {"a1b2c3d4e5": 0}
        assert mock.stats()["batches"] == {"finished": 1}


def test_all_mocks_at_once(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "headway", "mock", "all", "--port", "0", "--json"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        urls = json.loads(process.stdout.readline())
        assert list(urls) == ["hubspot", "salesforce", "mailchimp", "ga4"]
        assert len(set(urls.values())) == 4
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        process.stdout.close()
