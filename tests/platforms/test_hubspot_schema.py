"""Columns and values are checked against the destination's schema before anything is sent."""

from __future__ import annotations

import json

import pytest

from headway.delivery.records import Reply
from headway.errors import CredentialsError, MappingError, PlatformError, UsageError
from headway.platforms import catalog_reader
from headway.platforms.hubspot.account import identity
from headway.platforms.hubspot.schema import HubSpotSchema

PROPERTIES = {
    "results": [
        {"name": "email", "label": "Email", "type": "string", "fieldType": "text"},
        {"name": "firstname", "label": "First Name", "type": "string", "fieldType": "text"},
        {"name": "hs_object_id", "label": "Record ID", "type": "number", "modificationMetadata": {"readOnlyValue": True}},
        {"name": "score", "label": "Score", "type": "number", "calculated": True},
        {"name": "employees", "label": "Employees", "type": "number"},
        {"name": "born", "label": "Born", "type": "date"},
        {"name": "seen", "label": "Seen", "type": "datetime"},
        {"name": "vip", "label": "VIP", "type": "bool"},
        {"name": "customer_no", "label": "Customer number", "type": "string", "hasUniqueValue": True},
        {
            "name": "lifecyclestage", "label": "Lifecycle Stage", "type": "enumeration", "fieldType": "radio",
            "options": [{"label": "Lead", "value": "lead"}, {"label": "Customer", "value": "customer"}],
        },
        {
            "name": "langs", "label": "Languages", "type": "enumeration", "fieldType": "checkbox",
            "options": [{"value": "en"}, {"value": "de"}],
        },
    ]
}  # fmt: skip


@pytest.fixture
def schema() -> HubSpotSchema:
    return HubSpotSchema.from_reply("contacts", Reply(200, {}, json.dumps(PROPERTIES).encode()))


def test_good_columns_pass(schema):
    schema.check_columns(["email", "firstname"], "email", "upsert")
    schema.check_columns(["customer_no", "firstname"], "customer_no", "upsert")
    schema.check_columns(["hs_object_id", "firstname"], "hs_object_id", "update")


@pytest.mark.parametrize(
    ("columns", "key", "words"),
    [
        (["email", "fistname"], "email", "did you mean 'firstname'"),
        (["email", "First Name"], "email", "did you mean 'firstname'"),
        (["email", "score"], "email", "read-only"),
        (["email", "firstname"], "firstname", "not unique"),
        (["email"], "emial", "did you mean 'email'"),
    ],
)
def test_bad_columns_are_named_with_what_to_do(schema, columns, key, words):
    with pytest.raises(MappingError, match=words):
        schema.check_columns(columns, key, "upsert")


@pytest.mark.parametrize(
    ("values", "wrong"),
    [
        ({"lifecyclestage": "leed"}, "did you mean 'lead'"),
        ({"langs": "en;fr"}, "not an option"),
        ({"employees": "1,234"}, "not a number"),
        ({"born": "23.11.2026"}, "YYYY-MM-DD"),
        ({"born": "1700000000001"}, "midnight"),
        ({"seen": "yesterday"}, "date and time"),
        ({"vip": "maybe"}, "neither true nor false"),
    ],
)
def test_bad_values_are_that_records_fault(schema, values, wrong):
    check = schema.row_checker(list(schema.properties))
    said = check(values)
    assert said is not None
    assert wrong in said.message
    assert next(iter(values)) in said.message


@pytest.mark.parametrize(
    "values",
    [
        {"lifecyclestage": "lead", "langs": "en;de", "employees": "1e3", "born": "2026-11-23", "vip": "true"},
        {"seen": "2026-11-23T18:30:00Z", "born": "1700006400000", "vip": True, "employees": 5},
        {"lifecyclestage": "", "employees": None},
    ],
)
def test_good_values_pass(schema, values):
    assert schema.row_checker(list(schema.properties))(values) is None


def test_nothing_to_check_is_said_so(schema):
    assert schema.row_checker(["email", "firstname"]) is None


def test_a_schema_goes_through_the_cache_unharmed(schema):
    assert HubSpotSchema.from_bytes(schema.to_bytes()) == schema


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (401, b"{}", CredentialsError),
        (403, b"{}", CredentialsError),
        (404, b'{"message":"Unable to infer object type from: foo"}', MappingError),
        (500, b"", PlatformError),
        (200, b"[]", PlatformError),
    ],
)
def test_a_schema_that_is_not_told(status, body, error):
    with pytest.raises(error):
        HubSpotSchema.from_reply("foo", Reply(status, {}, body))


def test_an_account_says_who_it_is():
    said = identity(Reply(200, {}, b'{"portalId":123456,"timeZone":"US/Eastern","accountType":"STANDARD"}'))
    assert (said.account_id, said.time_zone, said.kind) == ("123456", "US/Eastern", "STANDARD")
    with pytest.raises(CredentialsError):
        identity(Reply(401, {}, b'{"message":"Authentication credentials not found"}'))
    with pytest.raises(PlatformError):
        identity(Reply(200, {}, b"<html>"))


def test_the_catalogue_has_every_tier_and_routes_a_search_to_its_own_limit():
    profile = catalog_reader.load("hubspot")
    assert set(profile.tiers) == {
        "default", "starter", "professional", "enterprise", "oauth",
        "increase", "increase-2", "starter-increase", "starter-increase-2", "enterprise-increase", "enterprise-increase-2",
    }  # fmt: skip
    limits = {limit.name: limit for limit in profile.tier(None).limits_for("US/Eastern")}
    assert (limits["window"].amount, limits["window"].per) == (100, 10)
    assert (limits["daily"].amount, limits["daily"].resets) == (40_000, "00:00 US/Eastern")
    assert profile.route("/crm/v3/objects/contacts/search") == {"window", "daily", "search"}
    assert profile.route("/crm/v3/objects/contacts/batch/upsert?x=1") == {"window", "daily"}
    with pytest.raises(UsageError, match="did you mean 'professional'"):
        profile.tier("profesional")
    with pytest.raises(UsageError, match="did you mean 'hubspot'"):
        catalog_reader.load("hubspo")
