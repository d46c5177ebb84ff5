"""Google Analytics' connector without a network: events as they travel, rules as Google publishes them, reports."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import headway
from headway.delivery.outcome import CredentialsRejected, Delivered, RateLimited, Rejected, SplitNeeded, Transient
from headway.delivery.records import Record, Reply
from headway.errors import MappingError, PlatformError, UsageError
from headway.mock.ga4.events import messages
from headway.platforms.catalog_reader import load
from headway.platforms.ga4.connector import EventsConnector
from headway.platforms.ga4.replies import meaning
from headway.platforms.ga4.reports import ReportRequest, pages_of
from headway.platforms.ga4.rules import EventRules, micros_of
from headway.platforms.usage import usage_of

NOW = 1_795_000_000.0
CONNECTOR = EventsConnector("events", "insert", "")
CHECK = EventRules(lambda: NOW).row_checker(())


def record(number: int, **values: object) -> Record:
    shape = CONNECTOR.shaper(None)
    return Record(number, str(number), json.dumps(shape({"name": "login", "client_id": "c"} | values)).encode())


def test_events_of_one_client_share_a_request():
    call = CONNECTOR.call([record(1, value="12.5", method="x"), record(2, timestamp_micros="1795000000000000")])
    assert call.path == "/mp/collect"
    assert json.loads(call.body) == {
        "client_id": "c",
        "events": [
            {"name": "login", "params": {"value": 12.5, "method": "x"}},
            {"name": "login", "timestamp_micros": 1795000000000000},
        ],
    }


def test_what_is_said_of_a_user_is_part_of_the_group():
    plain = {"client_id": "c", "name": "a", "x": 1}
    group = CONNECTOR.group
    assert group(plain) == group(plain | {"name": "b", "x": 2})
    assert len({group(plain), group(plain | {"user_id": "u"}), group(plain | {"user_properties.tier": "gold"})}) == 3
    call = CONNECTOR.call([record(1, **{"user_properties.tier": "gold", "consent.ad_user_data": "DENIED"})])
    said = json.loads(call.body)
    assert said["user_properties"] == {"tier": {"value": "gold"}}
    assert said["consent"] == {"ad_user_data": "DENIED"}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"name": "9lives"}, "NAME_INVALID"), ({"name": "x" * 41}, "NAME_INVALID"), ({"name": ""}, "NAME_INVALID"),
        ({"name": "session_start"}, "NAME_RESERVED"), ({"name": "ga_x"}, "NAME_RESERVED"), ({"client_id": ""}, "VALUE_REQUIRED"),
        ({"p": "x" * 101}, "EXCEEDED_MAX_ENTITIES"), ({"bad name": 1}, "NAME_INVALID"), ({"google_x": 1}, "NAME_INVALID"),
        ({f"p{n}": 1 for n in range(26)}, "EVENT_INVALID"), ({"timestamp": NOW - 73 * 3600}, "VALUE_OUT_OF_BOUNDS"),
        ({"timestamp": "yesterday"}, "VALUE_INVALID"), ({"user_properties.x": "y" * 37}, "EXCEEDED_MAX_ENTITIES"),
        ({"user_properties." + "x" * 25: "y"}, "NAME_INVALID"),
    ],
)  # fmt: skip
def test_what_google_would_throw_away_is_found_here(change, code):
    row = {"name": "login", "client_id": "c"} | change
    found = CHECK({name: value for name, value in row.items() if value != ""})
    assert isinstance(found, Rejected)
    assert found.code == code


NAMES = st.from_regex(r"\A[A-Za-z_0-9][A-Za-z0-9_ -]{0,42}\Z") | st.sampled_from(
    ["login", "purchase", "first_visit", "value"]
)


@given(
    NAMES, st.dictionaries(NAMES, st.text(max_size=110) | st.integers(), max_size=27),
    st.none() | st.floats(NOW - 100 * 3600, NOW),
)  # fmt: skip
def test_what_passes_here_passes_at_the_platform(name, params, at):
    row = {"name": name, "client_id": "c"} | {
        key: value for key, value in params.items() if key not in {"name", "client_id"}
    }
    if at is not None:
        row["timestamp"] = at
    row = {key: value for key, value in row.items() if value != ""}
    if CHECK(row) is None:
        shaped = CONNECTOR.shaper(None)(row)
        said = dict(shaped["request"]) | {"events": [shaped["event"]]}
        wrong = messages(json.loads(json.dumps(said)), 0, int(NOW * 1e6))
        assert not [each for each in wrong if "which is no number" not in each["description"]]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-11-22T12:26:40Z", 1795350400000000), ("2026-11-22T12:26:40+02:00", 1795343200000000), (1795350400, 1795350400000000),
        ("1795350400123", 1795350400123000), ("1795350400123456", 1795350400123456), ("soon", None), ("12", None),
        ("2026-13-45T00:00", None),
    ],
)  # fmt: skip
def test_instants(value, expected):
    assert micros_of(value) == expected


def test_columns():
    rules = EventRules()
    rules.check_columns(["name", "client_id", "x"], "", "insert")
    for columns, words in [
        (["client_id"], "column `name`"), (["name"], "column `client_id`"), (["name", "client_id", "a b"], "'a b' is not 1 to 40"),
        (["name", "client_id", "_x"], "is not 1 to 40|reserved"),
    ]:  # fmt: skip
        with pytest.raises(MappingError, match=words):
            rules.check_columns(columns, "", "insert")
    for arguments in (("users", "insert", ""), ("events", "upsert", "")):
        with pytest.raises(UsageError):
            EventsConnector(*arguments)


def test_what_replies_mean():
    records = [record(1), record(2)]
    assert CONNECTOR.verdict(records, Reply(204)).outcomes == (Delivered(), Delivered())
    assert not CONNECTOR.repeatable
    unknown = CONNECTOR.verdict(records, Reply(503)).outcomes[0]
    assert isinstance(unknown, Transient)
    assert unknown.applied
    assert isinstance(CONNECTOR.verdict(records, Reply(413)).outcomes[0], SplitNeeded)
    assert isinstance(CONNECTOR.verdict(records[:1], Reply(413)).outcomes[0], Rejected)
    for message, limit in [
        ("Exhausted concurrent requests quota.", "concurrency"), ("Exhausted property tokens per day. Back.", "tokens-day"),
        ("Exhausted property tokens per hour.", "tokens-hour"), ("else", ""),
        ("Exhausted property tokens for a project per hour.", "tokens-project-hour"),
    ]:  # fmt: skip
        error = {"error": {"code": 429, "message": message, "status": "RESOURCE_EXHAUSTED"}}
        found = meaning(Reply(429, {}, json.dumps(error).encode()))
        assert isinstance(found, RateLimited)
        assert found.limit == limit
    assert isinstance(meaning(Reply(403, {}, b'{"error":{"status":"PERMISSION_DENIED"}}')), CredentialsRejected)


@given(st.integers(200, 599), st.binary(max_size=60))
def test_no_reply_breaks_anything(status, body):
    reply = Reply(status, {}, body)
    assert len(CONNECTOR.verdict([record(1)], reply).outcomes) == 1
    assert CONNECTOR.validated([record(1)], reply) is not None
    ga4 = load("ga4")
    told = usage_of(ga4, ga4.tier("standard").limits, "/v1beta/properties/1:runReport", {}, body, 0)
    assert all(each.remaining >= 0 for each in told.left)
    assert all(cost >= 1 for cost in told.cost.values())
    with contextlib.suppress(PlatformError):
        pages_of(reply, 1)


def test_a_request_says_what_is_wrong_with_it():
    for arguments, words in [
        (([],), "1 to 10 metrics"), (("activeUsers",), "lists of names"), ((["a"], [], "x", "y", 0), "limit"),
        ((["a"], ["b"], "x", "y", None, {}, ["c"]), "cannot order by 'c'"),
    ]:  # fmt: skip
        with pytest.raises(UsageError, match=words):
            ReportRequest(*arguments)
    body = ReportRequest(["a"], ["b"], where={"b": "x"}, order=["-a", "b"]).body(0, 10)
    assert body["dimensionFilter"]["filter"]["stringFilter"]["value"] == "x"
    assert body["orderBys"] == [
        {"metric": {"metricName": "a"}, "desc": True},
        {"dimension": {"dimensionName": "b"}, "desc": False},
    ]


def test_tokens_are_summed_over_a_batch():
    quota = {"tokensPerDay": {"consumed": 4, "remaining": 90}, "tokensPerHour": {"consumed": 4, "remaining": 7}}
    ga4 = load("ga4")
    path, entries = "/v1beta/properties/1:batchRunReports", ga4.tier("standard").limits
    short = json.dumps({"reports": [{"propertyQuota": quota}, {"propertyQuota": quota}]}).encode()
    long = json.dumps(
        {"reports": [{"rows": ["x" * 99_999], "propertyQuota": quota}, {"propertyQuota": quota}]}
    ).encode()
    for body in (short, long):
        told = usage_of(ga4, entries, path, {}, body, 0)
        assert told.cost == {"tokens-day": 8, "tokens-hour": 8}
        assert {each.name: each.remaining for each in told.left} == {"tokens-day": 90, "tokens-hour": 7}


def test_reports_need_a_property(tmp_path):
    with pytest.raises(UsageError, match="property"):
        headway.account("ga4", token="token-of-a-test", state=tmp_path / "l.db").report(["sessions"])
    with pytest.raises(UsageError, match="write its number"):
        headway.account("ga4", token="token-of-a-test", property="G-123", state=tmp_path / "l.db")
