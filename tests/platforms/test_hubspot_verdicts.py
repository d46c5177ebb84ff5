"""Every shape of HubSpot's replies means the right thing for every record of the batch."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.delivery.outcome import (
    CredentialsRejected,
    Delivered,
    MappingFault,
    RateLimited,
    Rejected,
    SplitNeeded,
    Transient,
)
from headway.delivery.records import Record, Reply
from headway.errors import UsageError
from headway.platforms.hubspot.deliveries import HubSpotConnector


def batch(count: int) -> list[Record]:
    return [
        Record(100 + i, f"p{i}@x.co", json.dumps({"email": f"P{i}@x.co", "age": str(i)}).encode()) for i in range(count)
    ]


def verdict(records, status, body, mode="upsert", headers=None):
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HubSpotConnector("contacts", mode, "hs_object_id" if mode == "archive" else "email").verdict(
        records, Reply(status, headers or {}, text)
    )


def result(record: Record, remote: str, *, traced: bool = False) -> dict[str, object]:
    item: dict[str, object] = {"id": remote, "properties": {"email": record.key}}
    if traced:
        item["objectWriteTraceId"] = str(record.id)
    return item


def test_results_are_matched_by_key_or_trace_id_never_by_position():
    records = batch(3)
    shuffled = [result(records[2], "r2", traced=True), result(records[0], "r0"), result(records[1], "r1")]
    outcomes = verdict(records, 200, {"status": "COMPLETE", "results": shuffled}).outcomes
    assert outcomes == (Delivered("r0"), Delivered("r1"), Delivered("r2"))


def test_a_record_that_a_2xx_does_not_name_is_not_delivered():
    records = batch(2)
    outcomes = verdict(records, 200, {"results": [result(records[0], "1")]}).outcomes
    assert isinstance(outcomes[0], Delivered)
    assert isinstance(outcomes[1], Transient)
    assert outcomes[1].applied


def test_a_207_names_the_bad_ones_by_trace_id():
    records = batch(3)
    body = {
        "status": "COMPLETE",
        "numErrors": 1,
        "results": [result(records[0], "1"), result(records[2], "3")],
        "errors": [
            {
                "status": "error",
                "category": "CONFLICT",
                "message": "Contact already exists. Existing ID: 171591000198",
                "context": {"objectWriteTraceId": ["101"], "existingId": ["171591000198"]},
            }
        ],
    }
    outcomes = verdict(records, 207, body).outcomes
    assert outcomes[1] == Rejected("CONFLICT", "Contact already exists. Existing ID: 171591000198")
    assert isinstance(outcomes[0], Delivered)
    assert isinstance(outcomes[2], Delivered)


def test_a_207_of_an_update_names_them_by_id():
    records = batch(2)
    body = {
        "results": [result(records[0], "1")],
        "errors": [{"category": "OBJECT_NOT_FOUND", "message": "not found", "context": {"ids": ["P1@x.co"]}}],
    }
    outcomes = verdict(records, 207, body, mode="update").outcomes
    assert outcomes[1] == Rejected("OBJECT_NOT_FOUND", "not found")


@pytest.mark.parametrize(
    ("policy", "limit"), [("DAILY", "daily"), ("TEN_SECONDLY_ROLLING", "window"), ("SECONDLY", "search"), ("NEW", "")]
)
def test_a_429_names_its_limit(policy, limit):
    body = {"status": "error", "message": "You have reached…", "errorType": "RATE_LIMIT", "policyName": policy}
    outcomes = verdict(batch(2), 429, body, headers={"retry-after": "3"}).outcomes
    assert [type(outcome) for outcome in outcomes] == [RateLimited, RateLimited]
    assert outcomes[0].limit == limit
    assert outcomes[0].retry_after == 3


def test_a_400_for_an_unknown_property_blames_the_mapping():
    body = {
        "status": "error",
        "message": 'Property values were not valid: [{"isValid":false,"message":"Property \\"x\\" does not exist"}]',
        "correlationId": "c-1",
        "errors": [
            {
                "message": 'Property "x" does not exist',
                "code": "PROPERTY_DOESNT_EXIST",
                "context": {"propertyName": ["x"]},
            }
        ],
        "category": "VALIDATION_ERROR",
    }
    said = verdict(batch(3), 400, body)
    assert all(isinstance(outcome, MappingFault) for outcome in said.outcomes)
    assert said.request_id == "c-1"


def test_a_400_that_names_records_costs_only_those():
    body = {"status": "error", "category": "VALIDATION_ERROR", "message": "bad", "context": {"ids": ["p1@x.co"]}}
    outcomes = verdict(batch(3), 400, body).outcomes
    assert outcomes[1] == Rejected("VALIDATION_ERROR", "bad")
    assert [outcome.applied for outcome in outcomes if isinstance(outcome, Transient)] == [False, False]
    quoted = {
        "status": "error",
        "message": "bad",
        "category": "VALIDATION_ERROR",
        "errors": [{"code": "INVALID_INTEGER", "context": {"propertyName": ["age"], "propertyValue": ["2"]}}],
    }
    assert [type(outcome) for outcome in verdict(batch(3), 400, quoted).outcomes] == [Transient, Transient, Rejected]


def test_a_400_that_names_nobody_is_split_until_one_is_left():
    body = {"status": "error", "category": "VALIDATION_ERROR", "message": "one of them is bad"}
    assert all(isinstance(outcome, SplitNeeded) for outcome in verdict(batch(4), 400, body).outcomes)
    assert verdict(batch(1), 409, body).outcomes == (Rejected("VALIDATION_ERROR", "one of them is bad"),)


@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials(status):
    body = {"status": "error", "message": "scopes", "category": "MISSING_SCOPES"}
    assert verdict(batch(1), status, body).outcomes == (CredentialsRejected("MISSING_SCOPES", "scopes"),)


def test_what_may_pass_by_itself():
    assert verdict(batch(1), 423, {}).outcomes[0].retry_after == 2
    assert verdict(batch(1), 477, {}, headers={"retry-after": "7"}).outcomes[0].retry_after == 7
    for status in (500, 502, 503, 504, 524, 408):
        assert isinstance(verdict(batch(1), status, b"<html>").outcomes[0], Transient)
    cut = verdict(batch(2), 200, b'{"results":[{"id":"1","prop').outcomes
    assert all(isinstance(outcome, Transient) and outcome.applied for outcome in cut)


def test_an_archive_answers_with_nothing():
    assert all(isinstance(outcome, Delivered) for outcome in verdict(batch(2), 204, b"", mode="archive").outcomes)


garbage = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["results", "errors", "context", "id", "ids", "message", "properties", "category", "code"]),
            inner,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(
    status=st.integers(200, 599),
    body=garbage.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=60),
    mode=st.sampled_from(["upsert", "insert", "update"]),
    count=st.integers(1, 4),
)
def test_whatever_comes_back_every_record_gets_one_outcome(status, body, mode, count):
    records = batch(count)
    outcomes = verdict(records, status, body, mode=mode).outcomes
    assert len(outcomes) == count
    for record, outcome in zip(records, outcomes, strict=True):
        if isinstance(outcome, Delivered):
            assert str(record.id) in body.decode() or record.key in body.decode().lower()


def test_a_call_carries_every_record_with_its_trace_id():
    records = batch(2)
    call = HubSpotConnector("contacts", "upsert", "email").call(records)
    assert call.path == "/crm/v3/objects/contacts/batch/upsert"
    assert json.loads(call.body)["inputs"][0] == {
        "id": "p0@x.co",
        "idProperty": "email",
        "properties": {"email": "P0@x.co", "age": "0"},
        "objectWriteTraceId": "100",
    }
    created = json.loads(HubSpotConnector("contacts", "insert", "email").call(records).body)["inputs"][0]
    assert set(created) == {"properties", "objectWriteTraceId"}
    archived = json.loads(HubSpotConnector("deals", "archive", "hs_object_id").call(records).body)["inputs"][0]
    assert archived == {"id": "p0@x.co"}
    updated = json.loads(HubSpotConnector("deals", "update", "hs_object_id").call(records).body)["inputs"][0]
    assert "idProperty" not in updated


def test_keys_are_normalised_as_the_destination_does():
    assert HubSpotConnector("contacts", "upsert", "email").normalise_key("  Ada@X.co ") == "ada@x.co"
    assert HubSpotConnector("companies", "upsert", "sku").normalise_key(" Ab ") == "Ab"


@pytest.mark.parametrize(
    ("object_type", "mode", "key"),
    [
        ("contacts", "upser", "email"),
        ("con tacts", "upsert", "email"),
        ("contacts", "archive", "email"),
        ("contacts", "upsert", "hs_object_id"),
    ],
)
def test_what_hubspot_does_not_offer_is_refused(object_type, mode, key):
    with pytest.raises(UsageError):
        HubSpotConnector(object_type, mode, key)
