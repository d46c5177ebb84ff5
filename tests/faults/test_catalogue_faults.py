"""Faults of the catalogue's figures and tiers (FAULTS L46, part C)."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest

import headway
from headway import Bucket, PermitTimeout, Quota, Window
from headway.mock import SalesforceConfig, serve

from .support import Reply, account, command, outcome, platform, session_of, value_of, within

# -- part C: figures


def tiers(name: str) -> list[list[object]]:
    """The limits of every tier, as the command line tells them."""
    with tempfile.TemporaryDirectory() as folder:
        done = command(Path(folder), "limits", name, "--json")
    assert done.returncode == 0, done.stderr
    (entry,) = json.loads(done.stdout)
    return [each["limits"] for each in entry["tiers"].values()]


def has(limits, *, amount=None, per=None, rate=None, name=None, kind=None) -> bool:
    """Whether one of the limits is like this."""
    wanted = {"amount": amount, "per": per, "rate": rate, "name": name}
    return any(
        all(value is None or each[key] == value for key, value in wanted.items())
        and (kind is None or kind in each["kind"])
        for each in limits
    )


@pytest.mark.parametrize(("tier", "size", "rate"), [("standard", 2000, 100), ("plus", 20_000, 1000)])
def test_shopifys_buckets_are_as_real_replies_show_them(tier, size, rate):
    """Part C: bucket 2,000 at 100 points a second, 20,000 at 1,000 on Plus."""
    limits = headway.account("shopify", token="t", tier=tier).limits
    points = [each for each in limits if isinstance(each, Bucket) and each.name == "graphql"]
    assert points == [Bucket(rate, size, name="graphql")], f"{points}"


def test_hubspots_oauth_apps_have_a_tier():
    """Part C: 110 per 10 s and account, no daily limit, search apart."""
    fitting = [
        limits
        for limits in tiers("hubspot")
        if has(limits, amount=110, per=10) and not has(limits, name="daily") and has(limits, name="search")
    ]
    assert len(fitting) == 1


@pytest.mark.parametrize("day", [1_250_000, 2_000_000])
def test_hubspots_packs_exist_for_every_subscription(day):
    """Part C: `increase` was Professional + one pack only."""
    fitting = [limits for limits in tiers("hubspot") if has(limits, amount=day)]
    assert fitting, f"no tier of {day:,} a day"
    assert all(has(limits, amount=250, per=10) for limits in fitting), "with a pack it is 250 per 10 s"


@pytest.mark.parametrize("per_minute", [200, 400, 700, 2500])
def test_zendesks_plans_are_tiers(per_minute):
    """Part C: 200, 400, 700, 2,500 a minute by plan; ticket updates 30 per 10 minutes."""
    fitting = [limits for limits in tiers("zendesk") if has(limits, amount=per_minute, per=60)]
    assert fitting, f"no tier of {per_minute} a minute"
    updates = (300, 60) if per_minute == 2500 else (30, 600)
    assert has(fitting[0], amount=updates[0], per=updates[1]), f"ticket updates: {updates[0]} per {updates[1]} s"


@pytest.mark.parametrize(("amount", "per"), [(250, 60), (20_000, 60), (1000, 60)])
def test_brazes_narrower_endpoints_are_there(amount, per):
    """Part C: export/ids 250, delete + alias + identify + merge 20,000 together, rename and remove 1,000 a minute."""
    assert has(tiers("braze")[0], amount=amount, per=per), f"{amount} per {per} s is missing"


def counted(limited: headway.Account) -> dict[str, int]:
    """How many calls every limit that was used holds, those of endpoints and resources by their own names."""
    held = {each.name: each.in_flight + each.cooling for each in limited.limiter.snapshot()}
    return {name: calls for name, calls in held.items() if calls}


@pytest.mark.parametrize(
    ("limit", "paths"),
    [
        ("export-ids", ["/users/export/ids"]),
        ("users", ["/users/delete", "/users/alias/new", "/users/alias/update", "/users/identify", "/users/merge"]),
        ("rename", ["/users/external_ids/rename"]),
        ("remove", ["/users/external_ids/remove"]),
        ("events", ["/events/list", "/purchases/product_list"]),
        ("campaign-series", ["/campaigns/data_series"]),
    ],
)
def test_brazes_narrower_endpoints_count_against_their_own_limit(limit, paths, tmp_path):
    """Part C: a figure that no call counts against is no limit; those of one figure share it."""
    with platform(lambda _: Reply()) as braze, account("braze", braze, tmp_path, identity="b-1", fresh=True) as limited:
        session = session_of(limited)
        for path in paths:
            session.post(braze.url + path, json={})
        counts = counted(limited)
    assert counts == {limit: len(paths)}


def test_zendesks_ticket_updates_count_by_ticket_and_a_job_is_none(tmp_path):
    """Part C: 30 per 10 minutes and ticket; `update_many` is one call for many tickets, not the update of one."""
    with (
        platform(lambda _: Reply()) as zendesk,
        account("zendesk", zendesk, tmp_path, identity="z-1", fresh=True) as limited,
    ):
        session, paths = session_of(limited), ("35.json", "35", "36", "update_many.json?ids=35,36")
        ended = within(20, lambda: [session.put(f"{zendesk.url}/api/v2/tickets/{path}", json={}) for path in paths])
        counts = counted(limited)
    assert ended.ended, f"{ended}: {counts}"
    tickets = sorted(calls for name, calls in counts.items() if name not in {"account", "ticket-update"})
    assert (counts["account"], counts["ticket-update"]) == (4, 3), f"{counts}"
    assert tickets == [1, 2], f"{counts}"


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Rate-Limit": "60", "X-Rate-Limit-Remaining": "40"},
        {"ratelimit-limit": "60", "ratelimit-remaining": "40", "ratelimit-reset": "30"},
    ],
    ids=["x-rate-limit", "ratelimit"],
)
def test_zendesks_headers_are_read(headers, tmp_path):
    """Part C: `X-Rate-Limit` without -Limit, and `ratelimit-*` of list endpoints: 60 a minute, not the plan's 200."""
    answer = Reply(200, headers)
    with (
        platform(lambda _: answer) as zendesk,
        account("zendesk", zendesk, tmp_path, identity="z-1", fresh=True) as limited,
    ):
        session_of(limited).get(zendesk.url + "/api/v2/users.json")
        amounts = {each.name: each.amount for each in limited.limiter.snapshot()}
    assert amounts["account"] == 60, f"{amounts}"


def test_metas_minutes_until_access_are_waited_for(tmp_path):
    """Part C: `estimated_time_to_regain_access` is told in minutes, in a header; the body has code 80004."""
    usage = {"1": [{"type": "ads_management", "call_count": 100, "estimated_time_to_regain_access": 2}]}
    said = {"X-Business-Use-Case-Usage": json.dumps(usage)}
    refused = Reply(400, said, {"error": {"code": 80_004, "message": "Too many calls to this ad-account."}})
    with platform(lambda _: refused) as meta, account("meta", meta, tmp_path, identity="m-1", fresh=True) as limited:
        session = session_of(limited, retry=headway.RetryPolicy(attempts=3))
        with headway.call_options(timeout=1):
            ended = outcome(lambda: session.post(meta.url + "/v25.0/act_1/ads", json={}))
        calls = len(meta.asked)
    assert isinstance(ended.error, PermitTimeout), f"{ended}"
    assert calls == 1, f"{calls} calls within a second, of two minutes that were told"
    assert 100 < (ended.error.earliest or 0) <= 130, f"{ended.error.earliest}"


# -- L46


@pytest.fixture
def org(tmp_path):
    """A Salesforce org of which the header says 95,000 a day, and a file to send."""
    (tmp_path / "contacts.csv").write_text("LastName,Email\nLovelace,ada@example.com\n")
    with serve(SalesforceConfig(daily=95_000)) as served:
        yield served


def salesforce(folder, org, verb: str, *more: str):
    """`headway plan` or `sync` into Salesforce."""
    words = [
        verb,
        "contacts.csv",
        "salesforce:Contact",
        "--key",
        "Email",
        "--mode",
        "insert",
        "--base-url",
        org.url,
        *more,
    ]
    return command(folder, *words, SALESFORCE_TOKEN="t", SALESFORCE_INSTANCE_URL=org.url)


@pytest.mark.parametrize("verb", ["plan", "sync"])
def test_seats_are_an_option_wherever_a_tier_is(verb, tmp_path, org):
    """L46: `--seats` existed on `limits` and `mock` only."""
    done = salesforce(tmp_path, org, verb, "--tier", "licensed", "--seats", "40", "--json")
    assert done.returncode == 0, f"exit {done.returncode}: {done.stderr[-300:]}"
    assert value_of(done).get("requests", 0) >= 1


def test_seats_may_stand_in_the_configuration(tmp_path, org):
    """L46: `seats = 40` in headway.toml was refused."""
    (tmp_path / "headway.toml").write_text(
        '[accounts.org]\nplatform = "salesforce"\ntier = "licensed"\nseats = 40\ntoken_env = "SALESFORCE_TOKEN"\n'
    )
    done = command(
        tmp_path, "plan", "contacts.csv", "salesforce/org:Contact", "--key", "Email", "--mode", "insert",
        "--base-url", org.url, SALESFORCE_TOKEN="t", SALESFORCE_INSTANCE_URL=org.url,
    )  # fmt: skip
    assert done.returncode == 0, f"exit {done.returncode}: {done.stderr[-300:]}"
    assert "15,000" not in done.stdout, done.stdout


def test_a_tier_that_grows_with_seats_is_not_planned_without_them(tmp_path, org):
    """L46: `plan --tier licensed` said 15,000 beside a header that says 95,000."""
    done = salesforce(tmp_path, org, "plan", "--tier", "licensed")
    if done.returncode == 2:
        assert "seats" in done.stderr, done.stderr
    else:
        assert done.returncode == 0, f"exit {done.returncode}: {done.stderr[-300:]}"
        assert "15,000" not in done.stdout, done.stdout
        assert "14,99" not in done.stdout, done.stdout


@pytest.mark.parametrize(
    ("name", "tier"), [("salesforce", "licensed"), ("salesforce", "enterprise"), ("zoho", "professional")]
)
def test_an_account_whose_tier_grows_with_seats_is_refused_without_them(name, tier, tmp_path):
    """L46: refused with what to write, never counted as if nobody had a licence."""
    ended = outcome(lambda: headway.account(name, token="t", tier=tier, base_url="http://127.0.0.1:9").limits)
    assert isinstance(ended.error, headway.UsageError), f"{ended}"
    assert "seats" in str(ended.error)
    known = headway.account(name, token="t", tier=tier, base_url="http://127.0.0.1:9", seats=40).limits
    assert any(isinstance(each, Quota) for each in known)
    assert not any(isinstance(each, Window) and each.amount < 1 for each in known)
