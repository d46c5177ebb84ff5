"""Faults of refusals that were not recognised, or taken for another limit's (FAULTS L11, L33, part C)."""

from __future__ import annotations

import time

import pytest

import headway
from headway import PermitTimeout, RetryPolicy
from headway.events import RateLimitHit

from .support import GRAPHQL, Asked, Reply, account, outcome, platform, session_of, within

# -- part C: who refuses, and for what

CONCURRENT = "Request limit: too many concurrent requests for the org"
REFUSALS = [
    ("shopify", "POST", GRAPHQL, 200, {}, {"errors": [{"message": "Throttled", "extensions": {"code": "THROTTLED"}}]}),
    ("shopify", "POST", GRAPHQL, 200, {}, {"errors": [{"extensions": {"code": "throttled"}}], "data": None}),
    ("meta", "POST", "/v25.0/act_1/ads", 400, {}, {"error": {"code": 4, "message": "Application request limit reached"}}),
    ("meta", "POST", "/v25.0/act_1/ads", 403, {}, {"error": {"code": 32, "message": "Page request limit reached"}}),
    ("meta", "POST", "/v25.0/act_1/ads", 400, {}, {"error": {"code": 80014, "message": "Too many calls"}}),
    ("meta", "POST", "/v25.0/act_1/ads", 400, {}, {"error": {"code": 80010, "message": "Too many calls"}}),
    ("notion", "POST", "/v1/pages", 529, {"Retry-After": "1"}, {"code": "service_overload"}),
    ("notion", "POST", "/v1/pages", 429, {"Retry-After": "1"}, {"code": "rate_limited", "additional_data": {"rate_limit_reason": "public_api_space_request_rate_limit"}}),
    ("dynamics365", "POST", "/api/data/v9.2/x", 429, {"Retry-After": "1"}, {"error": {"code": "0x80072321", "message": "Combined execution time"}}),
    ("salesforce", "POST", "/services/data/v60.0/x", 429, {}, [{"errorCode": "TOO_MANY_REQUESTS", "message": "slow"}]),
    ("salesforce", "POST", "/services/data/v60.0/x", 503, {}, [{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": CONCURRENT}]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "method", "path", "status", "headers", "body"),
    REFUSALS, ids=[f"{each[0]}-{each[3]}-{number}" for number, each in enumerate(REFUSALS)],
)  # fmt: skip
def test_a_refusal_for_the_rate_is_recognised_and_sent_again(name, method, path, status, headers, body, tmp_path):
    """Part C, L11: not recognised, it was handed to the caller; a POST is sent again only if it was not processed."""

    def answer(asked: Asked) -> Reply:
        return Reply(status, headers, body) if asked.number == 1 else Reply(200, body={"data": {}, "ok": True})

    with platform(answer) as server, account(name, server, tmp_path, identity="it-1", fresh=True) as limited:
        events: list[object] = []
        limited.observe(events.append)
        session = session_of(limited, retry=RetryPolicy(attempts=5))
        ended = within(30, lambda: session.request(method, server.url + path, json={}))
        calls = len(server.asked)
    assert ended.fine, f"{ended}"
    assert calls == 2, f"{calls} calls; the caller got {ended.value.status_code} {ended.value.text[:80]}"
    assert any(isinstance(each, RateLimitHit) for each in events), f"{events}"


NAMED = [
    ("salesforce", "/services/data/v60.0/x", 403, [{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": CONCURRENT}], "concurrency"),
    ("notion", "/v1/pages", 429, {"code": "rate_limited", "additional_data": {"rate_limit_reason": "public_api_request_rate_limit"}}, "window"),
    ("dynamics365", "/api/data/v9.2/x", 429, {"error": {"code": "0x80072322", "message": "Number of requests exceeded"}}, "requests"),
    ("dynamics365", "/api/data/v9.2/x", 429, {"error": {"code": "0x80072326", "message": "Number of concurrent requests exceeded"}}, "concurrency"),
    ("ga4", "/v1beta/properties/1:runReport", 429, {"error": {"code": 429, "message": "Exhausted requests per day quota."}}, "daily"),
    ("ga4", "/v1beta/properties/1:runReport", 429, {"error": {"code": 429, "message": "exhausted CONCURRENT REQUESTS quota."}}, "concurrency"),
    ("hubspot", "/crm/v3/objects/x", 429, {"policyName": "daily", "errorType": "RATE_LIMIT"}, "daily"),
    ("hubspot", "/crm/v3/objects/x", 429, {"message": "You have reached your daily limit.", "errorType": "RATE_LIMIT"}, "daily"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "path", "status", "body", "limit"), NAMED, ids=[f"{each[0]}-{at}" for at, each in enumerate(NAMED)]
)
def test_a_refusal_pauses_the_limit_that_it_names(name, path, status, body, limit, tmp_path):
    """Part C: of eleven replies the two recognisers understood ten differently; words count, not their case."""

    def answer(asked: Asked) -> Reply:
        if asked.path.startswith("/account-info"):
            said = {
                "X-HubSpot-RateLimit-Max": "100",
                "X-HubSpot-RateLimit-Remaining": "90",
                "X-HubSpot-RateLimit-Interval-Milliseconds": "10000",
            }
            return Reply(200, said, {"portalId": 1, "timeZone": "UTC"})
        return Reply(status, body=body)

    with (
        platform(answer) as server,
        account(name, server, tmp_path, **({} if name == "hubspot" else {"identity": "it-1"})) as limited,
    ):
        events: list[object] = []
        limited.observe(events.append)
        session = session_of(limited)
        ended = within(15, lambda: session.post(server.url + path, json={}))
    assert ended.error is None, f"{ended}"
    named = [each.limit for each in events if isinstance(each, RateLimitHit)]
    assert named, "it was not recognised"
    assert named[0].partition(":")[0].partition("@")[0].startswith(limit), f"{named[0]!r} instead of {limit!r}"


def test_googles_retry_info_is_a_retry_after(tmp_path):
    """Part C: `RetryInfo.retryDelay` in the body of a 429 (google.rpc)."""

    def answer(asked: Asked) -> Reply:
        if asked.number > 1:
            return Reply()
        info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "3.5s"}
        error = {"code": 429, "message": "Quota exceeded.", "status": "RESOURCE_EXHAUSTED", "details": [info]}
        return Reply(429, body={"error": error})

    with platform(answer) as server, account("ga4", server, tmp_path, property="1", time_zone="UTC") as limited:
        session = session_of(limited, retry=RetryPolicy(attempts=5))
        url = server.url + "/v1beta/properties/1:runReport"
        ended = within(15, lambda: session.post(url, json={}).status_code)
        times = [each.at for each in server.asked]
    assert ended.value == 200, f"{ended}"
    assert times[1] - times[0] >= 3.4, f"asked again after {times[1] - times[0]:.1f} s of 3.5"


@pytest.mark.parametrize(
    "message",
    ["Exhausted potentially thresholded requests quota.", "Exhausted server errors per project per hour quota."],
)
def test_an_hourly_quota_without_a_figure_of_ours_waits_until_the_hour_is_over(message, tmp_path):
    """L33: no rule fitted, and the account was paused by guess: one second, two, four …"""

    def answer(asked: Asked) -> Reply:
        return Reply(429, body={"error": {"code": 429, "message": message, "status": "RESOURCE_EXHAUSTED"}})

    rest = 3600 - time.time() % 3600
    if rest < 12:  # an hour that ends meanwhile would be over rightly
        time.sleep(rest)
    with platform(answer) as server, account("ga4", server, tmp_path, property="1", time_zone="UTC") as limited:
        session = session_of(limited, retry=RetryPolicy(attempts=9))
        url = server.url + "/v1beta/properties/1:runReport"
        with headway.call_options(timeout=2):
            ended = outcome(lambda: session.post(url, json={}))
        calls = len(server.asked)
    assert calls == 1, f"{calls} calls within seconds, of a quota that is used up for this hour"
    assert isinstance(ended.error, PermitTimeout), f"{ended}"
    assert (ended.error.earliest or 0) > 5, f"{ended.error.earliest}"
