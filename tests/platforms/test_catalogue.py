"""The catalogue: every entry is sound and sourced, a user adds a platform with one file, mistakes are told by key."""

from __future__ import annotations

import copy
import json
import re
import tomllib
from pathlib import Path

import pytest

from headway.errors import UsageError
from headway.limits.limits import Bucket, Concurrency, Quota, Window
from headway.platforms import catalog_reader
from headway.platforms.asking import Request, endpoint_of, place_of
from headway.platforms.catalog_reader import _built_in, load
from headway.platforms.catalog_reader import parse as check
from headway.platforms.recognition import rejection_of

BUILT_IN = sorted(_built_in())
OWN = """
platform = "acme"
title = "Acme"
hosts = ["api.acme.test", "*.acme.test"]
default_tier = "default"

[rejection]
statuses = [429]

[[rejection.rules]]
statuses = [403]
header = "X-RateLimit-Remaining: 0"
limit = "window"

[[rejection.rules]]
statuses = [200]
path = "faults[].code"
equals = [901]
limit = "daily"

[[routes]]
paths = ["/export*"]
methods = ["POST"]
limits = ["daily"]

[[routes]]
paths = ["*"]
limits = ["window", "daily"]

[tiers.default]
title = "everybody"
source = "https://acme.test/limits"
date = 2026-11-23
verified = true

[[tiers.default.limits]]
name = "window"
kind = "fixed window"
amount = 10
per = 2.5
scope = "credential"

[[tiers.default.limits]]
name = "daily"
kind = "calendar quota"
amount = 1_000
resets = "00:00 {time_zone}"
scope = "identity"
"""


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    """Folders of this test's own: named, working directory, configuration."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("HEADWAY_PLATFORMS", raising=False)
    places = {
        "named": tmp_path / "named",
        "here": tmp_path / "headway-platforms",
        "config": tmp_path / "config" / "headway" / "platforms",
    }
    for each in places.values():
        each.mkdir(parents=True)
    return places


def test_at_least_25_platforms_have_a_sourced_figure():
    figured = [name for name in BUILT_IN if any(tier.limits for tier in load(name).tiers.values())]
    assert len(figured) >= 25


@pytest.mark.parametrize("name", BUILT_IN)
def test_an_entry_is_sound_and_becomes_limits(name):
    profile = load(name)
    assert not profile.origin
    assert profile.hosts
    for tier in profile.tiers.values():
        assert tier.source
        assert tier.date >= "2025"
        made = tier.limits_for("Europe/Berlin", seats=3)
        assert [each.name for each in made] == [each.name for each in tier.limits]
        used = set().union(*(route.limits for route in profile.routes)) if profile.routes else None
        assert used is None or {each.name for each in tier.limits} <= used, "a limit that no route counts against"


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_examples_of_rejections_are_recognised(name):
    profile = load(name)
    for rule in profile.rejection.rules:
        if rule.example:
            for status in rule.statuses or (400, 403, 429, 503):
                expected = rule.limit if rule.refuses else None
                assert rejection_of(profile, status, {}, rule.example.encode()) == expected
    for status in profile.rejection.statuses:
        assert rejection_of(profile, status, {}, b"") is not None
    for body in (b"", b"{}", b"[]", b'{"ok": true}', b"null", b"1", b"\xff\xfe", b"[" * 60_000):
        assert rejection_of(profile, 200, {}, body) is None
        assert rejection_of(profile, 500, {}, body) is None


@pytest.mark.parametrize(
    ("platform", "status", "body", "expected"),
    [
        ("marketo", 200, {"success": False, "errors": [{"code": "1003"}, {"code": "606"}]}, "window"),
        ("marketo", 200, {"success": True, "result": [{"id": 606}]}, None),
        ("marketo", 200, {"errors": [{"code": 615}]}, "concurrency"),
        ("salesforce", 403, [{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": "TotalRequests Limit"}], "daily"),
        (
            "salesforce",
            403,
            [{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": "ConcurrentPerOrgLongTxn Limit exceeded."}],
            "concurrency",
        ),
        ("salesforce", 403, [{"errorCode": "API_DISABLED_FOR_ORG", "message": "no"}], None),
        ("mailchimp", 403, {"title": "Forbidden", "status": 403}, None),
        ("pardot", 200, {"@attributes": {"stat": "fail", "err_code": 122}}, "daily"),
        ("pardot", 200, {"@attributes": {"stat": "fail", "err_code": 1}}, None),
        ("meta", 400, {"error": {"code": 80004}}, ""),
        ("meta", 400, {"error": {"code": 100}}, None),
        ("hubspot", 429, {"policyName": "DAILY"}, "daily"),
        ("hubspot", 429, {"policyName": "NEW_POLICY"}, ""),
        (
            "ga4",
            429,
            {"error": {"message": "Exhausted property tokens for a project per hour."}},
            "tokens-project-hour",
        ),
        ("constantcontact", 429, {"error_key": "quota_exceeded"}, "daily"),
    ],
)
def test_what_a_reply_means(platform, status, body, expected):
    assert rejection_of(load(platform), status, {}, json.dumps(body).encode()) == expected


def test_a_bare_403_of_mailchimp_is_a_rate_limit_and_a_large_export_is_not():
    mailchimp = load("mailchimp")
    assert rejection_of(mailchimp, 403, {}, b"") == ""
    assert rejection_of(mailchimp, 403, {}, b"<html>Forbidden</html>") == ""
    assert rejection_of(mailchimp, 403, {}, b"[1]" * 50_000) is None


def test_figures_of_the_presets():
    salesforce = load("salesforce")
    assert salesforce.tier(None).limits_for() == (
        Quota(1_000_000, per=86_400, name="daily"),
        Concurrency(25, longer_than=20, name="concurrency"),
        Quota(15_000, per=86_400, name="bulk-batches"),
        Quota(150_000_000, per=86_400, name="bulk-records"),
    )
    assert salesforce.tier("licensed").limits_for(seats=10)[0].amount == 35_000
    assert load("zoho").tier("standard").limits_for(seats=1_000)[0].amount == 100_000
    assert load("mailchimp").tier(None).limits_for() == (Concurrency(10),)
    assert load("ga4").tier("360").limits_for()[1] == Quota(2_000_000, per=86_400, name="tokens-day")
    assert load("shopify").tier("plus").limits_for()[1] == Bucket(20, 40, name="rest")
    assert load("klaviyo").tier("xl").limits_for()[1] == Window(3_500, per=60, name="steady")


def test_fixed_windows_are_paced_smoothly_and_rolling_ones_as_usual():
    assert load("klaviyo").tier(None).pacing == "smooth"
    assert load("activecampaign").tier(None).pacing == "smooth"
    assert load("hubspot").tier(None).pacing is None


def test_routes_go_by_method_and_path():
    stripe = load("stripe")
    assert stripe.route("/v1/files/f_1", "GET") == {"global", "files-read"}
    assert stripe.route("/v1/files", "POST") == {"global", "files-write"}
    assert stripe.route("/v1/customers/search?query=x", "GET") == {"global", "search"}
    assert load("mailchimp").route("/3.0/lists") == {"concurrency"}
    assert load("ga4").route("/mp/collect", "POST") == frozenset()


def test_costs_count_only_against_limits_of_their_unit():
    ga4, zoho = load("ga4"), load("zoho")
    assert ga4.costs(None, "/v1beta/properties/1:runReport") == {"concurrency": 1, "daily": 1}
    assert ga4.costs("legacy", "/v1beta/properties/1:runReport")["tokens-day"] == 10
    assert zoho.costs(None, "/crm/v8/Leads/upsert", "POST") == {"credits": 10, "concurrency": 1}
    assert zoho.costs(None, "/crm/v8/Leads", "GET") == {"credits": 1, "concurrency": 1}


def test_whose_count_a_limit_is():
    def place(platform: str, limit: int, method: str, path: str, body: bytes = b"") -> str:
        return place_of(load(platform).tier(None).limits[limit], Request(method, path, body))

    assert place("ga4", 1, "POST", "/v1beta/properties/12:runReport?x=1") == "properties/12"
    assert place("ga4", 1, "POST", "/v1alpha/properties/12:runFunnelReport") == "properties/12"
    assert place("airtable", 0, "GET", "/v0/appA/Contacts/rec1") == "v0/appA"
    assert place("klaviyo", 0, "get", "/api/lists/") == "GET /api/lists"
    assert place("klaviyo", 0, "GET", "/api/lists/Y6nRLr/profiles") == "GET /api/lists/{}/profiles"
    assert place("slack", 0, "GET", "/api/users.list?limit=5") == place("slack", 0, "POST", "/api/users.list")
    assert place("slack", 1, "POST", "/api/chat.postMessage", b'{"channel": "C1", "text": "x"}') == "channel=C1"
    assert place("slack", 1, "POST", "/api/chat.postMessage", b"text=x&channel=%23general") == "channel=#general"
    assert place("slack", 1, "POST", "/api/chat.postMessage?channel=C2") == "channel=C2"
    assert place("slack", 1, "POST", "/api/chat.postMessage") == "channel="
    assert place("stripe", 1, "POST", "/v1/invoices/in_1MtHbELkdIwHu7ixl4OzzPMv/pay") == "POST /v1/invoices/{}/pay"
    assert place("zendesk", 2, "PUT", "/api/v2/tickets/35436.json") == "tickets/35436"
    assert place("hubspot", 0, "GET", "/x") == ""


@pytest.mark.parametrize(
    ("path", "operation"),
    [
        ("/v3/contacts/ada%40example.com", "/v3/contacts/{}"),
        ("/v3/contacts/doubleOptinConfirmation", "/v3/contacts/doubleOptinConfirmation"),
        ("/v1/billing_portal/sessions", "/v1/billing_portal/sessions"),
        ("/api/files.getUploadURLExternal", "/api/files.getUploadURLExternal"),
        ("/admin/api/2026-07/products/123.json", "/admin/api/2026-07/products/{}"),
        ("/crm/v3/objects/0-1/5e1f", "/crm/v3/objects/{}/{}"),
        ("/v1/coupons/SUMMER", "/v1/coupons/{}"),
        ("/v1/customers/550e8400-e29b-41d4-a716-446655440000/", "/v1/customers/{}"),
        ("/", "/{}"),
    ],
)
def test_identifiers_are_no_part_of_an_endpoint(path, operation):
    assert endpoint_of(path) == operation


# -- a user's own


@pytest.mark.parametrize("place", ["named", "here", "config"])
def test_a_platform_is_added_with_one_file(folders, place, monkeypatch):
    if place == "named":
        monkeypatch.setenv("HEADWAY_PLATFORMS", str(folders["named"]))
    (folders[place] / "acme.toml").write_text(OWN, encoding="utf-8")
    assert "acme" in catalog_reader.platforms()
    acme = load("acme")
    assert acme.origin.endswith("acme.toml")
    assert not acme.shadows
    assert acme.token_env == "ACME_TOKEN"
    assert acme.tier(None).limits_for("Europe/Berlin")[1] == Quota(1_000, resets="00:00 Europe/Berlin", name="daily")
    assert acme.route("/export/1", "POST") == {"daily"}
    assert acme.route("/export/1", "GET") == {"window", "daily"}
    assert rejection_of(acme, 403, {"x-ratelimit-remaining": "0"}, b"") == "window"
    assert rejection_of(acme, 403, {"x-ratelimit-remaining": "1"}, b"") is None
    assert rejection_of(acme, 200, {}, b'{"faults": [{"code": 901}]}') == "daily"


def test_the_nearest_folder_wins_and_a_changed_file_is_read_again(folders):
    (folders["config"] / "acme.toml").write_text(OWN.replace("1_000", "7"), encoding="utf-8")
    assert load("acme").tier(None).limits[1].amount == 7
    near = folders["here"] / "acme.toml"
    near.write_text(OWN, encoding="utf-8")
    assert load("acme").tier(None).limits[1].amount == 1_000
    near.unlink()
    assert load("acme").tier(None).limits[1].amount == 7


def test_a_file_in_front_of_a_built_in_entry_says_so(folders):
    (folders["here"] / "notion.toml").write_text(OWN.replace('"acme"', '"notion"'), encoding="utf-8")
    notion = load("notion")
    assert notion.title == "Acme"
    assert notion.shadows


def test_a_file_that_is_no_toml_is_named(folders):
    (folders["here"] / "acme.toml").write_text("platform = ", encoding="utf-8")
    with pytest.raises(UsageError, match=r"headway-platforms/acme.toml: is not TOML"):
        load("acme")


def _at(data, path):
    for step in path[:-1]:
        data = data[step]
    return data, path[-1]


LIMIT = ("tiers", "default", "limits", 0)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("titel",), "x", r"titel is not known here: did you mean 'title'"),
        (("title",), None, r"title is missing"),
        (("hosts",), "api.acme.test", r"hosts must be a list"),
        (("hosts",), ["https://api"], r"hosts must be host names"),
        (("default_tier",), "gold", r"default_tier 'gold' is not a tier: there are default"),
        (("tiers",), {}, r"tiers is empty"),
        (("platform",), "other", r"platform is 'other', but the file is named acme.toml"),
        (("header_dialect",), "sip", r"header_dialect must be one of 'none'"),
        (("header_limit",), "windo", r"header_limit 'windo' is not a limit of any tier: did you mean 'window'"),
        (("batch",), {"records": 0, "source": "x"}, r"batch is wrong: records must be a whole number"),
        (("tiers", "default", "source"), None, r"tiers.default.source is missing"),
        (("tiers", "default", "source"), " ", r"tiers.default.source must be a text"),
        (("tiers", "default", "verified"), "yes", r"tiers.default.verified must be true or false"),
        (("tiers", "default", "date"), "soon", r"tiers.default.date must be a date"),
        (("tiers", "default", "limits"), [], r"tiers.default.limits is empty"),
        ((*LIMIT, "amount"), 0, r"tiers.default.limits\[1\].amount must be a whole number of at least 1"),
        ((*LIMIT, "amount"), 2.5, r"amount must be a whole number"),
        ((*LIMIT, "amount"), True, r"amount must be a whole number"),
        ((*LIMIT, "per"), float("nan"), r"per must be a number above 0"),
        ((*LIMIT, "per"), float("inf"), r"per must be a number above 0"),
        ((*LIMIT, "per"), -1, r"per must be a number above 0"),
        ((*LIMIT, "per"), None, r"per is missing: a fixed window needs it"),
        ((*LIMIT, "rate"), 1, r"rate makes no sense for a fixed window"),
        ((*LIMIT, "kind"), "sliding", r"kind must be one of 'rolling window'"),
        ((*LIMIT, "scope"), "world", r"scope must be one of 'credential'"),
        ((*LIMIT, "scope"), "resource", r"segments says how many parts"),
        ((*LIMIT, "name"), "daily", r"limits\[2\].name 'daily' occurs twice"),
        ((*LIMIT, "at_most"), 5, r"at_most is below the amount"),
        (
            ("tiers", "default", "limits", 1, "resets"),
            "00:00 Mars",
            r"limits\[2\].resets says unknown time zone 'Mars'",
        ),
        (("tiers", "default", "limits", 1, "resets"), "noon", r"resets says unknown reset rule"),
        (
            ("routes", 0, "limits"),
            ["dayly"],
            r"routes\[1\].limits 'dayly' is not a limit of any tier: did you mean 'daily'",
        ),
        (("routes", 0, "methods"), ["SEND"], r"routes\[1\].methods must be one of 'GET'"),
        (("rejection",), None, r"rejection is missing"),
        (("rejection", "statuses"), [99], r"rejection.statuses must hold HTTP statuses"),
        (("rejection", "rules", 0, "header"), None, r"rejection.rules\[1\] has no condition"),
        (("rejection", "rules", 1, "equals"), None, r"rejection.rules\[2\].path and `equals` belong together"),
        (("rejection", "rules", 1, "path"), "a..b", r"path must be a JSON path"),
        (("rejection", "rules", 1, "limit"), "x", r"rejection.rules\[2\].limit 'x' is not a limit"),
    ],
)
def test_what_is_wrong_is_told_by_file_and_key(path, value, said):
    data = copy.deepcopy(tomllib.loads(OWN))
    check(data, "acme.toml", "acme")
    owner, key = _at(data, path)
    if value is None:
        del owner[key]
    else:
        owner[key] = value
    with pytest.raises(UsageError, match=r"^acme.toml: .*" + said) as caught:
        check(data, "acme.toml", "acme")
    assert "\n" not in str(caught.value)


def test_the_page_shows_a_file_that_works(folders):
    page = Path(__file__).parents[2] / "docs" / "catalogue.md"
    (shown,) = re.findall(r"```toml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    (folders["here"] / "acme.toml").write_text(shown, encoding="utf-8")
    acme = load("acme")
    assert acme.route("/v1/search/x", "GET") == {"window", "daily", "search"}
    assert rejection_of(acme, 200, {}, b'{"errors": [{"code": "QUOTA"}]}') == "daily"
