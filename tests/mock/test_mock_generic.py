"""A mock of any catalogue entry: its limits are enforced, its rejections are the platform's own."""

from __future__ import annotations

import http.client
import json
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import pytest

from headway.errors import UsageError
from headway.mock.clock import SECOND, ManualClock
from headway.mock.entries import EntryConfig
from headway.mock.faults import Fault
from headway.mock.generic import GenericMock
from headway.mock.server import serve
from headway.platforms.catalog_reader import _built_in, load
from headway.platforms.recognition import rejection_of


def mock_of(name: str, **options) -> GenericMock:
    return GenericMock(EntryConfig(name, **options), ManualClock())


def calls(mock: GenericMock, count: int, method: str = "GET", path: str = "/x", who: str = "Bearer t") -> list[int]:
    return [mock.answer(method, path, who).status for _ in range(count)]


def _bytes(reply) -> bytes:
    return reply.raw or json.dumps(reply.body).encode()


TIERS = [(name, tier) for name in sorted(_built_in()) for tier in load(name).tiers]


@pytest.mark.parametrize(("name", "tier"), TIERS, ids=[f"{name}-{tier}" for name, tier in TIERS])
def test_every_limit_is_enforced_and_its_rejection_recognised(name, tier):
    profile = load(name)
    for entry in profile.tier(tier).limits:
        others = {each.name: 1_000 for each in profile.tier(tier).limits}
        mock = mock_of(name, tier=tier, amounts=others | {entry.name: 1}, seats=3)
        for method, path in (("POST", "/x"), *((m, p.replace("*", "x")) for r in profile.routes
                             for m in (r.methods or ("POST",)) for p in r.paths)):  # fmt: skip
            if entry.name in profile.route(path, method):
                break
        else:
            pytest.fail(f"no call counts against {entry.name}")
        mock.arrive(method, path, "Bearer t", "mock-cost=1")
        came = mock.arrive(method, path, "Bearer t", "mock-cost=1")
        if entry.longer_than:
            assert came.refused is None
            mock.clock.advance(entry.longer_than)
            came = mock.arrive(method, path, "Bearer t")
        assert mock.refused == {entry.name: 1}
        if name == "segment":  # queues, does not refuse
            assert came.refused is None
            continue
        reply = mock.perform(came, b"")
        said = rejection_of(profile, reply.status, reply.headers, _bytes(reply))
        named = {rule.limit for rule in profile.rejection.rules}
        assert said == entry.name if entry.name in named else said is not None


def test_marketo_rejects_with_200_and_a_code():
    mock = mock_of("marketo")
    assert calls(mock, 100) == [200] * 100
    reply = mock.answer("GET", "/x", "Bearer t")
    assert reply.status == 200
    assert reply.body["errors"][0]["code"] == "606"
    mock.clock.advance(20.1)
    assert mock.answer("GET", "/x", "Bearer t").body["ok"]


def test_a_calendar_quota_resets_at_the_platforms_midnight():
    mock = mock_of("marketo", amounts={"daily": 2})
    mock.clock = ManualClock(wall=1_795_000_000 * SECOND)  # 2026-11-18 11:06:40 UTC, 05:06:40 in Chicago
    assert [mock.answer("GET", "/x", "t").policy for _ in range(3)] == ["", "", "daily"]
    mock.clock.advance(18 * 3600)
    assert mock.answer("GET", "/x", "t").policy == "daily"
    mock.clock.advance(3600)
    assert mock.answer("GET", "/x", "t").policy == ""


def test_salesforce_refuses_only_while_long_calls_run():
    mock = mock_of("salesforce", tier="developer")
    path = "/services/data/v60.0/query"
    running = [mock.arrive("GET", path, "t") for _ in range(30)]
    assert all(each.refused is None for each in running)
    mock.clock.advance(20)
    refused = mock.answer("GET", path, "t")
    assert refused.status == 403
    assert refused.body[0]["message"].startswith("ConcurrentPerOrgLongTxn")
    for each in running[:26]:
        mock.journal.finish(each.entry, 200, 0)
    reply = mock.answer("GET", path, "t")
    assert reply.status == 200
    assert reply.headers["sforce-limit-info"] == "api-usage=31/15000"


def test_mailchimp_counts_connections_per_user():
    mock = mock_of("mailchimp")
    first = [mock.arrive("GET", "/3.0/lists", "Basic a") for _ in range(11)]
    assert [each.refused is None for each in first] == [True] * 10 + [False]
    assert mock.arrive("GET", "/3.0/lists", "Basic b").refused is None
    mock.journal.finish(first[0].entry, 200, 0)
    assert mock.arrive("GET", "/3.0/lists", "Basic a").refused is None
    assert mock.statistics()["most"] == {"concurrency": 10}


def test_airtable_locks_out_for_30_seconds_per_base():
    mock = mock_of("airtable")
    assert calls(mock, 6, path="/v0/appA/T") == [200] * 5 + [429]
    mock.clock.advance(29)
    assert calls(mock, 1, path="/v0/appA/T") == [429]
    assert calls(mock, 1, path="/v0/appB/T") == [200]
    mock.clock.advance(1.1)
    assert calls(mock, 1, path="/v0/appA/T") == [200]


def test_klaviyo_has_fixed_windows_per_endpoint_and_no_headers_on_429():
    mock = mock_of("klaviyo", tier="s")
    mock.clock = ManualClock(wall=1_795_000_000 * SECOND + SECOND // 2)
    assert calls(mock, 4, path="/api/a") == [200] * 3 + [429]
    assert calls(mock, 1, path="/api/b") == [200]
    mock.clock.advance(0.5)  # the second turns: a fixed window forgets at once
    accepted = mock.answer("GET", "/api/a", "Bearer t")
    assert accepted.status == 200
    assert accepted.headers["ratelimit-remaining"] == "56"
    assert calls(mock, 3, path="/api/a")[-1] == 429
    refused = mock.answer("GET", "/api/a", "Bearer t")
    assert refused.headers == {"retry-after": "1"}


def test_shopify_buckets_drain_and_costs_come_with_the_query():
    mock = mock_of("shopify")
    assert calls(mock, 41, path="/admin/x.json") == [200] * 40 + [429]
    mock.clock.advance(1)
    assert calls(mock, 3, path="/admin/x.json") == [200, 200, 429]
    graph = "/admin/api/2026-01/graphql.json"
    assert mock.answer("POST", graph, "t", query="mock-cost=1960").body["extensions"]["cost"]["actualQueryCost"] == 1960
    reply = mock.answer("POST", graph, "t", query="mock-cost=60")
    assert reply.status == 200
    assert reply.body["errors"][0]["extensions"]["code"] == "THROTTLED"
    assert reply.body["extensions"]["cost"]["throttleStatus"]["currentlyAvailable"] == 40
    mock.clock.advance(0.2)
    assert "errors" not in mock.answer("POST", graph, "t", query="mock-cost=60").body


def test_attios_retry_after_is_a_date_that_suffices():
    mock = mock_of("attio")
    assert calls(mock, 26, "POST")[-1] == 429
    reply = mock.answer("POST", "/x", "Bearer t")
    at = parsedate_to_datetime(reply.headers["retry-after"]).timestamp()
    mock.clock.advance(at - mock.clock.wall() / SECOND)
    assert mock.answer("POST", "/x", "Bearer t").status == 200
    assert calls(mock, 100, "GET") == [200] * 100


def test_a_retry_after_is_sent_where_documented_or_asked_for():
    assert "retry-after" not in mock_of("stripe", amounts={"global": 0}).answer("GET", "/x", "t").headers
    assert mock_of("stripe", amounts={"global": 0}, retry_after=True).answer("GET", "/x", "t").headers["retry-after"]
    assert mock_of("zendesk", amounts={"account": 0}).answer("GET", "/x", "t").headers["retry-after"]


def test_seats_make_a_licensed_tier_larger():
    mock = mock_of("salesforce", tier="licensed", seats=3)
    reply = mock.answer("GET", "/services/data/v60.0/query", "t")
    assert reply.headers["sforce-limit-info"] == "api-usage=1/21000"


def test_other_apps_and_other_amounts():
    mock = mock_of("activecampaign")
    assert mock.visit("Bearer t", 7) == 2
    assert calls(mock, 1) == [429]
    mock.clock.advance(1.1)
    mock.change({"window": 1})
    assert calls(mock, 2) == [200, 429]
    with pytest.raises(UsageError, match="no limit nothing here: there are window"):
        mock.change({"nothing": 1})


@pytest.mark.parametrize(
    "options", [{"tier": "gold"}, {"time_zone": "Mars"}, {"latency": -1.0}, {"amounts": {"x": 1}}, {"entry": "nobody"}]
)
def test_what_makes_no_sense_is_refused(options):
    with pytest.raises(UsageError):
        mock_of(**{"name": options.pop("entry", "stripe"), **options})


def test_over_a_socket_with_faults_admin_api_and_clock(tmp_path):
    own = tmp_path / "acme.toml"
    own.write_text(
        'platform = "acme"\ntitle = "Acme"\nhosts = ["api.acme.test"]\ndefault_tier = "t"\n[rejection]\nstatuses = []\n'
        '[[rejection.rules]]\nstatuses = [503]\nbare = true\ncontains = "Blocked"\nlimit = "w"\n'
        'example = "<h1>Request Blocked</h1>"\n[tiers.t]\ntitle = "all"\nsource = "us"\ndate = "2026-11-23"\n'
        'verified = true\n[[tiers.t.limits]]\nname = "w"\nkind = "rolling window"\namount = 2\nper = 1000\n'
        'scope = "credential"\n',
        encoding="utf-8",
    )
    with serve(EntryConfig(own, faults=(Fault("status", status=502, nth=(1,)),))) as served:
        parts = urlsplit(served.url)
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)

        def ask(method: str, path: str, body: object = None) -> tuple[int, str, bytes]:
            connection.request(method, path, None if body is None else json.dumps(body), {"authorization": "Bearer t"})
            reply = connection.getresponse()
            return reply.status, reply.getheader("content-type", ""), reply.read()

        assert ask("POST", "/any/path", {"a": 1})[0] == 502
        assert ask("POST", "/any/path", {"a": 1})[0] == 200
        assert ask("GET", "/any/path") == (503, "text/html", b"<h1>Request Blocked</h1>")
        assert ask("POST", "/_mock/clock", {"advance": 1001})[0] == 200
        assert ask("GET", "/any/path")[0] == 200
        assert ask("POST", "/_mock/limits", {"w": 1})[0] == 200
        assert ask("GET", "/any/path")[0] == 503
        assert ask("GET", "/_mock/objects")[0] == 404
        stats = json.loads(ask("GET", "/_mock/stats")[2])
        assert stats == served.stats()
        assert stats["refused_for"] == {"w": 2}
        assert stats["by_status"] == {"200": 2, "502": 1, "503": 2}
        assert len(json.loads(ask("GET", "/_mock/journal")[2])["requests"]) == 5
        assert ask("POST", "/_mock/reset")[0] == 200
        assert ask("GET", "/any/path")[0] == 200
        connection.close()
