"""One recogniser of refusals: a reply means the same at every door, until the instant that it tells."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

import pytest

import headway
from headway.accounts.registry import platform as platform_named
from headway.delivery.outcome import RateLimited
from headway.delivery.records import Record, Reply
from headway.platforms.catalog_reader import load
from headway.platforms.hubspot.deliveries import HubSpotConnector
from headway.platforms.hubspot.verdicts import judge
from headway.platforms.recognition import refusal_of, rejection_of

SALESFORCE_DAY = [{"message": "TotalRequests Limit exceeded.", "errorCode": "REQUEST_LIMIT_EXCEEDED"}]
GA4 = {"code": 429, "status": "RESOURCE_EXHAUSTED"}
PATHS = {
    "hubspot": "/crm/v3/objects/contacts/search",
    "salesforce": "/services/data/v62.0/jobs/ingest/1/batches",
    "mailchimp": "/3.0/lists",
    "ga4": "/v1beta/properties/1:runReport",
}
REPLIES = [
    ("hubspot", 429, {"policyName": "DAILY"}, "daily"),
    ("hubspot", 429, {"policyName": "TEN_SECONDLY_ROLLING"}, "window"),
    ("hubspot", 429, {"policyName": "SECONDLY"}, "search"),
    ("hubspot", 429, {"message": "You have reached your limit."}, ""),
    ("hubspot", 403, {"category": "RATE_LIMITS", "policyName": "DAILY"}, "daily"),
    ("hubspot", 400, {"category": "RATE_LIMITS"}, ""),
    ("hubspot", 403, {"errorType": "RATE_LIMIT"}, ""),
    ("hubspot", 403, {"category": "MISSING_SCOPES"}, None),
    ("hubspot", 503, {"message": "busy"}, None),
    ("salesforce", 403, SALESFORCE_DAY, "daily"),
    ("salesforce", 503, SALESFORCE_DAY, "daily"),
    ("salesforce", 429, SALESFORCE_DAY, "daily"),
    ("salesforce", 429, {"message": "slow down"}, ""),
    ("salesforce", 403, [SALESFORCE_DAY[0] | {"message": "ConcurrentPerOrgLongTxn Limit exceeded."}], "concurrency"),
    ("salesforce", 403, [SALESFORCE_DAY[0] | {"message": "Too many concurrent requests"}], "concurrency"),
    ("salesforce", 429, {"message": "too many CONCURRENT calls"}, "concurrency"),
    ("salesforce", 403, [{"errorCode": "INSUFFICIENT_ACCESS", "message": "no"}], None),
    ("mailchimp", 429, {"detail": "You have exceeded the limit of 10 simultaneous connections."}, "concurrency"),
    ("mailchimp", 429, {"detail": "Simultaneous Connections exceeded"}, "concurrency"),
    ("mailchimp", 429, {"title": "Too Many Requests"}, ""),
    ("mailchimp", 403, None, ""),
    ("mailchimp", 403, {"title": "Forbidden"}, None),
    ("ga4", 429, {"error": GA4 | {"message": "Exhausted concurrent requests quota."}}, "concurrency"),
    ("ga4", 429, {"error": GA4 | {"message": "Exhausted property tokens per hour."}}, "tokens-hour"),
    ("ga4", 429, {"error": GA4 | {"message": "EXHAUSTED PROPERTY TOKENS PER DAY."}}, "tokens-day"),
    ("ga4", 429, {"error": GA4 | {"message": "Exhausted requests per day."}}, "daily"),
    ("ga4", 503, {"error": GA4 | {"message": "Exhausted."}}, ""),
    ("ga4", 403, {"error": {"status": "PERMISSION_DENIED", "message": "concurrent"}}, None),
]  # fmt: skip


def body_of(said: object) -> bytes:
    return b"" if said is None else json.dumps(said).encode()


def by_catalogue(name: str, reply: Reply) -> str | None:
    return rejection_of(load(name), reply.status, reply.headers, reply.body)


def by_engine(name: str, reply: Reply) -> str | None:
    meaning = platform_named(name).meaning(reply)
    return meaning.limit if isinstance(meaning, RateLimited) else None


def by_account(name: str, reply: Reply) -> str | None:
    """What adapters, identity and reports ask."""
    tokens = (by_catalogue(name, reply) or "").startswith("tokens")
    token, identity = f"t-{os.urandom(4).hex()}-us6", "properties/1" if name == "ga4" else "1"
    tier = "standard" if tokens else None
    with headway.account(name, token=token, tier=tier, identity=identity, state="limits.db") as owner:
        asked = owner.ask("PUT" if name == "salesforce" else "POST", PATHS[name])
        refusal = owner.tell(asked, reply.status, reply.headers, reply.body).refusal
        return None if refusal is None else refusal.limit


@pytest.mark.parametrize("door", [by_catalogue, by_engine, by_account])
@pytest.mark.parametrize(("name", "status", "said", "limit"), REPLIES)
def test_every_door_understands_a_reply_alike(name, status, said, limit, door: Callable, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert door(name, Reply(status, {}, body_of(said))) == limit


def test_a_batch_and_a_record_of_it_are_refused_in_the_same_words():
    records = [Record(1, "a@x.co", b"{}"), Record(2, "b@x.co", b"{}")]
    reply = Reply(
        429, {"retry-after": "7"}, b'{"policyName": "DAILY", "message": "You have reached your daily limit."}'
    )
    found = HubSpotConnector("contacts", "upsert", "email").verdict(records, reply).outcomes
    assert found == (RateLimited("daily", 7.0, "DAILY", "You have reached your daily limit."),) * 2
    partial = {"results": [], "errors": [{"category": "RATE_LIMITS", "context": {"objectWriteTraceId": ["1"]}}]}
    (one, _) = judge(records, Reply(207, {}, body_of(partial)), "email", "upsert").outcomes
    assert isinstance(one, RateLimited)


@pytest.mark.parametrize(
    ("name", "status", "body", "limit"),
    [
        ("shopify", 200, {"errors": [{"message": "Throttled", "extensions": {"code": "THROTTLED"}}]}, "graphql"),
        ("shopify", 200, {"errors": [{"message": "x", "extensions": {"code": "ACCESS_DENIED"}}]}, None),
        ("shopify", 200, {"data": {"shop": {"name": "THROTTLED"}}}, None),
        ("marketo", 200, {"errors": [{"code": "607"}]}, "daily"),
        *(("meta", 400, {"error": {"code": code}}, "") for code in (4, 17, 32, 613, 80_000, 80_004, 80_014)),
        ("meta", 400, {"error": {"code": 80_015}}, None),
        ("notion", 529, {"code": "service_overload"}, ""),
        ("dynamics365", 429, {"error": {"code": "0x80072326"}}, "concurrency"),
        ("dynamics365", 429, {"error": {"code": "0X80072322"}}, "requests"),
        ("stripe", 429, {"error": {"code": "lock_timeout"}}, None),
        ("stripe", 429, {"error": {"code": "rate_limit"}}, ""),
        ("ga4", 429, {"error": GA4 | {"message": "Exhausted potentially thresholded requests quota."}}, ""),
    ],
)
def test_what_other_platforms_say(name, status, body, limit):
    assert rejection_of(load(name), status, {}, body_of(body)) == limit


NOON = 1_795_521_600  # 2026-11-24 12:00:00 UTC, a Tuesday
DATE = "Tue, 24 Nov 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("name", "status", "headers", "body", "wait"),
    [
        ("attio", 429, {"retry-after": "Tue, 24 Nov 2026 12:00:02 GMT", "date": DATE}, None, 2.0),
        ("attio", 429, {"retry-after": "Tue, 24 Nov 2026 11:59:58 GMT", "date": DATE}, None, 0.0),
        ("attio", 429, {"retry-after": "Tue, 24 Nov 2026 12:02:02 GMT"}, None, 2.0),  # no Date: our clock
        ("braze", 429, {"x-ratelimit-reset": str(NOON + 15), "x-ratelimit-remaining": "0", "date": DATE}, None, 15.0),
        ("braze", 429, {"x-ratelimit-reset": str(NOON + 15), "date": DATE, "retry-after": "3"}, None, 3.0),
        ("brevo", 429, {"x-sib-ratelimit-reset": "12", "x-sib-ratelimit-remaining": "0"}, None, 12.0),
        ("sendgrid", 429, {"x-ratelimit-reset": str(NOON + 9), "date": DATE}, None, 9.0),
        ("intercom", 429, {"x-ratelimit-reset": str((NOON + 4) * 1000), "date": DATE}, None, 4.0),
        ("pipedrive", 429, {"x-ratelimit-reset": "5", "x-ratelimit-remaining": "0"}, None, 5.0),
        ("pipedrive", 429, {"x-ratelimit-reset": "5", "x-ratelimit-remaining": "7"}, None, None),  # another limit's
        ("airtable", 429, {}, None, 30.0),
        ("ga4", 429, {}, {"error": GA4 | {"details": [{"@type": "x"}, {"retryDelay": "41.5s"}]}}, 41.5),
        ("ga4", 429, {"date": "Tue, 24 Nov 2026 12:40:00 GMT"}, {"error": GA4 | {"message": "server errors"}}, 1200.0),
        ("meta", 400, {"x-business-use-case-usage": '{"1": [{"call_count": 100, "estimated_time_to_regain_access": 4}]}'},
         {"error": {"code": 80_004}}, 240.0),
        ("hubspot", 429, {}, None, None),
    ],
)  # fmt: skip
def test_until_when_a_refusal_lasts(name, status, headers, body, wait):
    wall = (NOON + 120) * 10**9  # our clock is two minutes ahead
    found = refusal_of(load(name), status, headers, body_of(body), wall)
    assert found is not None
    assert found.wait == wait
