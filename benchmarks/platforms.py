"""The platforms' bars at full size: connections kept busy, calls at a minimum, reports cached, plans that come true.

python benchmarks/platforms.py            # all: some five minutes
python benchmarks/platforms.py mailchimp  # one of: mailchimp, ga4, reports, plans, bulk

Mock platforms run in a process of their own; figures are ratios within one run (share of time, calls, plan ÷ run).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import headway
from bars import at_least, at_most, ended, exactly

KEY = "0123456789abcdef0123456789abcdef-us6"
LIST = "a1b2c3d4e5"

_MOCK = """
import json, sys
from headway.mock import *
from headway.mock.salesforce.config import STANDARD
from headway.mock.server import run
kind, options = sys.argv[1], json.loads(sys.argv[2])
if kind == "SalesforceConfig":
    options["objects"] = (SObject("Contact", (*STANDARD[0].fields, Field("Ext__c", external_id=True))),)
run(globals()[kind](**options), on_ready=lambda url: print(url, flush=True))
"""


@contextmanager
def mock(kind: str, **options: Any) -> Iterator[str]:
    """A mock platform in a process of its own."""
    command = [sys.executable, "-c", _MOCK, kind, json.dumps(options)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait(20)


def stats(url: str) -> dict[str, Any]:
    """What the mock counted."""
    with urllib.request.urlopen(f"{url}/_mock/stats") as reply:
        found: dict[str, Any] = json.loads(reply.read())
        return found


def members(count: int) -> Iterator[dict[str, object]]:
    """People for an audience."""
    return ({"email_address": f"p{n}@example.com", "FNAME": f"Name {n}", "LNAME": "Love"} for n in range(count))


def mailchimp() -> None:
    """50,000 members both ways: never more than ten connections, and how long all ten were in use."""
    for via in sys.argv[2:] or ("list", "batch"):
        with (
            mock("MailchimpConfig", latency=2.0, keep="keys", batch_rate=50_000) as url,
            tempfile.TemporaryDirectory() as name,
        ):
            owner = headway.account("mailchimp", token=KEY, base_url=url, state=f"{name}/l.db")
            sync = headway.Sync(members(50_000), owner[LIST], key="email_address", via=via, store=f"{name}/r.db")
            report = sync.start()
            told = stats(url)
            owner.close()
        held = {int(number): seconds for number, seconds in told["seconds_with"].items()}
        opening = sum(seconds for number, seconds in held.items() if number <= 1)
        rest = sum(held.values()) - opening
        print(
            f"mailchimp by {via}: {report.seconds:.1f} s, {report.requests} calls; ten busy {held.get(10, 0):.1f} s of "
            f"{rest:.1f} s with more than one; {opening:.1f} s alone (who we are, schema, the two calls that go first, "
            "the end)"
        )
        exactly("delivered", report.delivered, 50_000)
        at_most("most connections", told["most_connections"], 10)
        exactly("429s", told["rate_limited"], 0)
        # By batch there is nothing left to post at the end, and polling more often would only cost calls.
        at_least("share of the time with ten busy", held.get(10, 0) / rest, 0.90 if via == "list" else 0.80)


def events(count: int) -> Iterator[dict[str, object]]:
    """Purchases of clients that have forty each; one in a hundred has a name that Google throws away."""
    now = time.time()
    for n in range(count):
        name = "9 bad" if n % 100 == 50 else "purchase"
        yield {
            "name": name,
            "client_id": f"client-{n // 40}",
            "value": 1.5,
            "event_id": str(n),
            "timestamp": now - n % 900,
        }


def ga4() -> None:
    """100,000 events: calls against the least that is possible."""
    with mock("GA4Config", latency=0.05, keep_events=False) as url, tempfile.TemporaryDirectory() as name:
        owner = headway.account("ga4", login=headway.Measurement("G-X", "a-secret"), base_url=url, state=f"{name}/l.db")
        sync = headway.Sync(events(100_000), owner["events"], store=f"{name}/r.db", validate=5)
        report = sync.start()
        told = stats(url)
        owner.close()
    print(f"ga4: {report.delivered:,} delivered in {report.seconds:.1f} s")
    exactly("told before sending", report.dead, 1000)
    at_most("calls (4,000 and 2,500 boundaries)", told["collect_calls"], 6_500)
    exactly("thrown away", told["dropped_events"], 0)
    exactly("twice", told["duplicate_events"], 0)


def reports() -> None:
    """1,000 reports of which 100 are distinct, asked for by 20 threads."""
    with mock("GA4Config", latency=0.1) as url, tempfile.TemporaryDirectory() as name:
        owner = headway.account(
            "ga4",
            token="a-token-of-ours",
            property="1",
            base_url=url,
            state=f"{name}/l.db",
            store=f"{name}/c.db",
            tier="standard",
        )
        began = time.perf_counter()
        with ThreadPoolExecutor(20) as threads:
            list(threads.map(lambda n: owner.report(["sessions"], ["city"], start=f"{n % 100}daysAgo"), range(1000)))
        seconds = time.perf_counter() - began
        told = stats(url)
        asked = [headway.ReportRequest(["activeUsers"], ["city"], start=f"{n % 100}daysAgo") for n in range(1000)]
        owner.reports(asked)
        together = stats(url)["report_calls"] - told["report_calls"]
        used = next(each.amount - each.free for each in owner.limiter.snapshot() if each.name == "tokens-day")
        owner.close()
        spent = stats(url)["tokens_used"]
    print(f"reports: 1,000 asked one by one in {seconds:.1f} s; asked together: {together} calls")
    at_most("calls", told["report_calls"], 100)
    at_most("most at once", told["most_concurrent"], 10)
    exactly("tokens by our books, as by the platform's", used, spent)


def plans() -> None:
    """What a plan says and what the run then takes, once the platform was seen."""
    cases: list[tuple[str, str, str, dict[str, Any], Any, dict[str, Any]]] = [
        ("salesforce", "SalesforceConfig", "Contact", {"latency": 0.2}, people(2000), {"key": "Ext__c"}),
        (
            "salesforce",
            "SalesforceConfig",
            "Contact",
            {"latency": 0.2, "bulk_delay": 2.0},
            people(150_000),
            {"key": "Ext__c"},
        ),
        ("mailchimp", "MailchimpConfig", LIST, {"latency": 1.0}, list(members(50_000)), {"key": "email_address"}),
        (
            "mailchimp",
            "MailchimpConfig",
            LIST,
            {"latency": 0.3},
            list(members(30_000)),
            {"key": "email_address", "via": "batch"},
        ),
        ("ga4", "GA4Config", "events", {"latency": 0.1}, list(events(20_000)), {}),
    ]
    for platform, kind, to, options, rows, how in cases:
        with mock(kind, **options) as url, tempfile.TemporaryDirectory() as name:
            login: dict[str, Any] = {"token": KEY}
            if platform == "ga4":
                login = {"login": headway.Measurement("G-X", "a-secret")}
            owner = headway.account(platform, base_url=url, state=f"{name}/l.db", **login)
            for turn in range(2):
                sync = headway.Sync(rows, owner[to], store=f"{name}/r.db", **how)
                plan, report = sync.plan(), sync.start()
                if turn:
                    print(
                        f"plan {platform} {plan.via or 'events'}: calls {plan.requests} for {report.requests}, "
                        f"seconds {plan.seconds:.2f} for {report.seconds:.2f}"
                    )
                    at_most("calls off by", abs(plan.requests / report.requests - 1), 0.02)
                    at_most("seconds off by", abs(plan.seconds / report.seconds - 1), 0.10)
            owner.close()


def people(count: int) -> list[dict[str, object]]:
    """Contacts."""
    return [{"Ext__c": f"C{n:07d}", "LastName": f"Name {n}"} for n in range(count)]


def bulk() -> None:
    """250,000 contacts, 2 % bad, two jobs failing midway, three kills."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.acceptance.bulk_killing", "250000"], cwd=Path(__file__).parents[1], check=False
    )
    exactly("250,000 contacts, two failing jobs, three kills: exit code", done.returncode, 0)


def main() -> int:
    """Run what is named, or all."""
    known = {"mailchimp": mailchimp, "ga4": ga4, "reports": reports, "plans": plans, "bulk": bulk}
    for name in [each for each in sys.argv[1:] if each in known] or known:
        known[name]()
    return ended()


if __name__ == "__main__":
    sys.exit(main())
