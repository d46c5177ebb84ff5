"""Faults of costs and scopes that nothing enforced (FAULTS L11)."""

from __future__ import annotations

import json
import time
from itertools import pairwise

import pytest
import requests

import headway
from headway import PermitTimeout
from headway.mock import EntryConfig, serve

from .support import GRAPHQL, Asked, Reply, account, outcome, platform, session_of, within

# -- L11: costs


def test_a_route_that_costs_ten_takes_ten(tmp_path):
    """L11: Zoho's POST costs 10 credits and took 1."""
    with (
        platform(lambda _: Reply(body={"data": []})) as zoho,
        account("zoho", zoho, tmp_path, identity="org-1", reserve=5000 - 100) as limited,
    ):
        session = session_of(limited)
        made = {"POST": 0, "GET": 0}
        with headway.call_options(timeout=1):
            for method, path in (("POST", "/crm/v8/Leads/upsert"), ("GET", "/crm/v8/Leads")):
                for _ in range(9 if method == "POST" else 30):
                    ended = outcome(lambda m=method, p=path: session.request(m, zoho.url + p))
                    if isinstance(ended.error, PermitTimeout):
                        break
                    made[method] += 1
    assert made == {"POST": 9, "GET": 10}, f"100 credits: nine POSTs of 10 leave ten GETs of 1, not {made}"


@pytest.mark.parametrize(
    ("tier", "each", "most"), [("legacy", 30, 4), ("legacy", 10, 12)], ids=["dear", "as estimated"]
)
def test_a_report_costs_the_tokens_that_its_reply_tells(tier, each, most, tmp_path):
    """L11, issue 10: GA4 tokens under one's own client: 0 refusals (429). Others used all but 125 of the hour's tokens."""
    left = [125]

    def answer(asked: Asked) -> Reply:
        if left[0] < each:
            message = "Exhausted property tokens for a project per hour."
            return Reply(429, body={"error": {"code": 429, "message": message, "status": "RESOURCE_EXHAUSTED"}})
        left[0] -= each
        used = {"consumed": each, "remaining": 20_000 + left[0]}
        hour = {"consumed": each, "remaining": left[0]}
        quota = {"tokensPerDay": used, "tokensPerHour": hour, "tokensPerProjectPerHour": hour}
        return Reply(body={"rows": [], "propertyQuota": quota})

    with (
        platform(answer) as ga4,
        account("ga4", ga4, tmp_path, tier=tier, property="123", time_zone="UTC") as limited,
    ):
        session = session_of(limited)
        made = 0
        with headway.call_options(timeout=1):
            for _ in range(20):
                url = ga4.url + "/v1beta/properties/123:runReport"
                if outcome(lambda url=url: session.post(url, json={"returnPropertyQuota": True})).error is not None:
                    break
                made += 1
        refused = ga4.times(429)
    assert refused == 0, f"{refused} × 429 after {made} reports of {each} tokens"
    assert made >= most - 1, f"{made} of {most} reports that 125 tokens pay"


class Points:
    """Shopify's bucket of points: what a query costs is told in its reply, and in the refusal."""

    def __init__(self, size: float, rate: float, cost: int) -> None:
        self.size, self.rate, self.cost = size, rate, cost
        self.level, self.last = 0.0, time.monotonic()
        self.throttled = 0

    def __call__(self, asked: Asked) -> Reply:
        self.level = max(0.0, self.level - (asked.at - self.last) * self.rate)
        self.last = asked.at
        free = self.size - self.level
        status = {"maximumAvailable": self.size, "currentlyAvailable": int(free), "restoreRate": self.rate}
        cost = {"requestedQueryCost": self.cost, "actualQueryCost": self.cost, "throttleStatus": status}
        if free < self.cost:
            self.throttled += 1
            error = {"message": "Throttled", "extensions": {"code": "THROTTLED"}}
            return Reply(body={"errors": [error], "extensions": {"cost": {**cost, "actualQueryCost": None}}})
        self.level += self.cost
        status["currentlyAvailable"] = int(free - self.cost)
        return Reply(body={"data": {}, "extensions": {"cost": cost}})


def test_queries_cost_their_points_and_none_is_throttled(tmp_path):
    """L11, issue 10: queries of 80 points: 0 THROTTLED; 44 of 60 were, inside 200s, handed out as success."""
    points = Points(2000, 100, 80)
    with platform(points) as shopify, account("shopify", shopify, tmp_path, tier="standard") as limited:
        session = session_of(limited)

        def query() -> None:
            session.post(shopify.url + GRAPHQL, json={"query": "{shop{name}}"})

        with headway.call_options(timeout=20):
            ended = [outcome(query) for _ in range(29)]
    assert points.throttled == 0, f"{points.throttled} of 29 THROTTLED"
    assert all(each.error is None for each in ended), f"{[str(each) for each in ended if each.error]}"


def test_a_query_of_752_points_is_lawful(tmp_path):
    """L11, part C: the bucket holds 2,000, not one second's 100."""
    with platform(lambda _: Reply(body={"data": {}})) as shopify, account("shopify", shopify, tmp_path) as limited:
        session = session_of(limited)
        with headway.call_options(cost=752, timeout=5):
            ended = outcome(lambda: session.post(shopify.url + GRAPHQL, json={}).status_code)
    assert ended.value == 200, f"{ended}"


# -- L11: scopes


def test_two_endpoints_have_each_its_own_window(tmp_path):
    """L11, issue 10: Klaviyo's limits are per endpoint; they were one window for all."""
    counts: dict[str, int] = {}

    def answer(asked: Asked) -> Reply:
        counts[asked.path] = counts.get(asked.path, 0) + 1
        left = 15 - counts[asked.path]
        return Reply(200, {"RateLimit-Limit": "15", "RateLimit-Remaining": str(left), "RateLimit-Reset": "60"})

    paths = ("/api/profiles", "/api/lists", "/api/segments", "/api/tags")
    with platform(answer) as klaviyo, account("klaviyo", klaviyo, tmp_path, tier="xs", pacing="burst") as limited:
        session = session_of(limited)
        for path in paths:
            within(2, lambda path=path: session.get(klaviyo.url + path))
        time.sleep(1.3)
        ended = within(10, lambda: [session.get(klaviyo.url + path).status_code for path in (*paths, *paths)])
        times = {path: [each.at for each in klaviyo.asked if each.path == path] for path in paths}
    assert ended.fine, f"{ended}"
    assert ended.seconds < 5, f"eight calls to four endpoints of one a second each took {ended.seconds:.1f} s"
    for path in paths:
        gaps = [later - earlier for earlier, later in pairwise(times[path])]
        assert min(gaps) >= 0.99, f"{path}: 1 a second, not after {min(gaps):.2f} s"


def test_a_channel_that_is_posted_to_delays_no_other(tmp_path):
    """L11, issue 10: Slack's limit of one message a second is per channel."""
    with platform(lambda _: Reply(body={"ok": True})) as slack, account("slack", slack, tmp_path) as limited:
        session = session_of(limited)

        def post(channel: str) -> None:
            within(9, lambda: session.post(slack.url + "/api/chat.postMessage", json={"channel": channel, "text": "."}))

        post("C0")
        time.sleep(1.3)
        begin = time.monotonic()
        for channel in ("C1", "C2", "C3", "C4", "C5", "C6"):
            post(channel)
        others = time.monotonic() - begin
        post("C6")
        same = time.monotonic() - begin
        stamps = [each.at for each in slack.asked if json.loads(each.body)["channel"] == "C6"]
    assert others < 4, f"six channels took {others:.1f} s ({same:.1f} s with the last one's second message)"
    assert stamps[1] - stamps[0] >= 0.99, "and one channel has its own second"


def test_a_resource_has_a_quota_of_its_own(tmp_path):
    """L11: GA4's limits are per property; another property was held to the same tokens."""
    with (
        platform(lambda _: Reply(body={"rows": []})) as ga4,
        account("ga4", ga4, tmp_path, property="1", reserve=9996, time_zone="UTC") as limited,
    ):
        session = session_of(limited)
        made = {"1": 0, "2": 0}
        with headway.call_options(timeout=1):
            for number in made:
                for _ in range(9):
                    url = f"{ga4.url}/v1beta/properties/{number}:runReport"
                    if outcome(lambda url=url: session.post(url, json={})).error is not None:
                        break
                    made[number] += 1
    assert made == {"1": 4, "2": 4}, f"4 a day for each property, not {made}"


def test_ids_are_no_part_of_a_named_operation():
    """Part C: the mock counted Stripe's endpoints by full path with ids, laxer than Stripe."""
    with serve(EntryConfig("stripe", tier="live")) as stripe, requests.Session() as session:
        session.headers["Authorization"] = "Bearer sk_test"
        begin, statuses = time.monotonic(), []
        for number in range(200):
            statuses.append(session.get(f"{stripe.url}/v1/charges/ch_{number:024}").status_code)
            if time.monotonic() - begin > 0.9:
                break
        span = time.monotonic() - begin
        accepted = sum(status != 429 for status in statuses)
    assert len(statuses) > 27, "the machine is too slow for this test"
    assert accepted <= 26 * (1 + int(span)), f"{accepted} of {len(statuses)} taken in {span:.2f} s; 25 a second it is"
