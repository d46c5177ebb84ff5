"""What replies say of usage: read as the catalogue's entries tell it, with the names of their limits."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.limits.headers import Remaining
from headway.platforms.catalog_reader import _built_in, load
from headway.platforms.usage import reads_body, usage_of

COST = {"maximumAvailable": 2000.0, "currentlyAvailable": 1954, "restoreRate": 100.0}
QUOTA = {"consumed": 10, "remaining": 1190}


@pytest.mark.parametrize(
    ("name", "tier", "path", "headers", "said"),
    [
        ("zendesk", None, "/api/v2/users", {"x-rate-limit": "700", "x-rate-limit-remaining": "699"},
         [Remaining("window", 700, 699, name="account")]),
        ("zendesk", None, "/api/v2/tickets", {"ratelimit-limit": "100", "ratelimit-remaining": "99", "ratelimit-reset": "51"},
         [Remaining("window", 100, 99, reset=51.0, name="account")]),
        ("brevo", None, "/v3/contacts",
         {"x-sib-ratelimit-limit": "36000", "x-sib-ratelimit-remaining": "35998", "x-sib-ratelimit-reset": "3000"},
         [Remaining("daily", 36_000, 35_998, reset=3000.0, name="contacts-hour")]),
        ("brevo", None, "/v3/lists", {"x-sib-ratelimit-limit": "100", "x-sib-ratelimit-remaining": "7"},
         [Remaining("daily", 100, 7, name="unlisted")]),
        ("salesforce", None, "/services/data/v62.0/query", {"sforce-limit-info": "api-usage=18/5000, per-app-api-usage=1/9"},
         [Remaining("daily", 5000, 4982, name="daily")]),
        ("hubspot", None, "/crm/v3/objects/contacts",
         {"x-hubspot-ratelimit-max": "100", "x-hubspot-ratelimit-remaining": "99",
          "x-hubspot-ratelimit-interval-milliseconds": "10000",
          "x-hubspot-ratelimit-daily": "40000", "x-hubspot-ratelimit-daily-remaining": "39000"},
         [Remaining("daily", 40_000, 39_000, name="daily"), Remaining("window", 100, 99, 10.0, name="window")]),
        # A window that the profile does not know stays without a name: it is a limit of its own.
        ("hubspot", None, "/crm/v3/objects/contacts",
         {"x-hubspot-ratelimit-max": "50", "x-hubspot-ratelimit-remaining": "49",
          "x-hubspot-ratelimit-interval-milliseconds": "2000"}, [Remaining("window", 50, 49, 2.0)]),
        ("klaviyo", "m", "/api/lists", {"ratelimit-limit": "150", "ratelimit-remaining": "149", "ratelimit-reset": "60"},
         [Remaining("window", 150, 149, reset=60.0, name="steady")]),
        ("shopify", None, "/admin/api/2026-07/products.json", {"x-shopify-shop-api-call-limit": "32/40"},
         [Remaining("window", 40, 8, name="rest")]),
        ("meta", None, "/v25.0/act_1/campaigns", {"x-app-usage": '{"call_count": 28, "total_time": 25.5, "total_cputime": 1}'},
         [Remaining("percent", 100, 72)]),
        ("meta", None, "/v25.0/act_1/campaigns",
         {"x-business-use-case-usage": '{"9": [{"type": "ads_management", "call_count": 100, "total_cputime": 25, '
          '"total_time": 25, "estimated_time_to_regain_access": 19}]}'}, [Remaining("percent", 100, 0, reset=1140.0)]),
        ("slack", None, "/api/users.list", {}, []),
        ("attio", None, "/v2/lists", {"ratelimit-policy": '"a";q=7;w=5', "ratelimit": '"a";r=6;t=4'},
         [Remaining("window", 7, 6, 5.0, 4.0)]),
    ],
)  # fmt: skip
def test_usage_in_header_fields(name, tier, path, headers, said):
    profile = load(name)
    names = profile.route(path, "GET", tier)
    entries = [entry for entry in profile.tier(tier).limits if entry.name in names]
    assert list(usage_of(profile, entries, path, headers, b"", 0).left) == said


def test_shopifys_cost_block():
    shopify = load("shopify")
    path, entries = "/admin/api/2026-07/graphql.json", shopify.tier(None).limits[:1]
    cost = {"requestedQueryCost": 101, "actualQueryCost": 46, "throttleStatus": COST}
    for data in ({}, {"rows": ["x" * 99_999]}):
        told = usage_of(
            shopify, entries, path, {}, json.dumps({"data": data, "extensions": {"cost": cost}}).encode(), 0
        )
        assert told.cost == {"graphql": 46}
        assert told.needs == 101
        assert told.left == (Remaining("window", 2000, 1954, name="graphql", rate=100.0),)
    refused = {"errors": [{}], "extensions": {"cost": cost | {"actualQueryCost": None}}}
    assert usage_of(shopify, entries, path, {}, json.dumps(refused).encode(), 0).cost == {}
    assert reads_body(shopify, path)
    assert not reads_body(shopify, "/admin/api/2026-07/products.json")


def test_ga4s_property_quota():
    ga4 = load("ga4")
    body = {
        "rows": [],
        "propertyQuota": {"tokensPerProjectPerHour": QUOTA, "serverErrorsPerProjectPerHour": {"remaining": 10}},
    }
    told = usage_of(ga4, ga4.tier("legacy").limits, "/v1beta/properties/1:runReport", {}, json.dumps(body).encode(), 0)
    assert told.cost == {"tokens-project-hour": 10}
    assert told.left == (Remaining("daily", 1250, 1190, name="tokens-project-hour"),)


@given(
    st.sampled_from(sorted(_built_in())),
    st.dictionaries(
        st.sampled_from(["x-app-usage", "sforce-limit-info", "x-ratelimit-limit", "x-ratelimit-remaining", "x-rate-limit",
                         "x-ratelimit-reset", "ratelimit", "x-shopify-shop-api-call-limit", "date"]),
        st.one_of(st.text(max_size=20), st.integers().map(str), st.just('{"call_count": [NaN]}')),
    ),
    st.one_of(st.binary(max_size=50), st.recursive(
        st.one_of(st.none(), st.integers(), st.floats(), st.text(max_size=5)),
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(
            st.sampled_from(["extensions", "cost", "throttleStatus", "propertyQuota", "tokensPerDay", "remaining"]), inner)),
        max_leaves=9).map(lambda said: json.dumps(said).encode())),
)  # fmt: skip
def test_nothing_that_a_server_sends_raises(name, headers, body):
    profile = load(name)
    told = usage_of(profile, profile.tier(None).limits, "/admin/api/1/graphql.json", headers, body, 10**18)
    assert all(0 <= each.remaining <= each.limit for each in told.left)
    assert all(cost >= 1 for cost in told.cost.values())
