"""The mock enforces HubSpot's rules with code of its own, over real sockets."""

from __future__ import annotations

import http.client
import json
import time
from urllib.parse import urlsplit

import pytest

from headway.mock.config import MockConfig, Portal
from headway.mock.server import serve

UPSERT = "/crm/v3/objects/contacts/batch/upsert"


class Client:
    def __init__(self, url: str, token: str = "t") -> None:
        parts = urlsplit(url)
        self.connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
        self.headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}

    def __call__(self, method: str, path: str, body: object = None):
        data = None if body is None else json.dumps(body)
        self.connection.request(method, path, data, self.headers)
        reply = self.connection.getresponse()
        text = reply.read()
        return reply.status, dict(reply.getheaders()), json.loads(text) if text else None

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()


def inputs(*emails: str, trace: bool = True, **properties: object) -> dict[str, object]:
    made = [{"id": each, "idProperty": "email", "properties": {"email": each, **properties}} for each in emails]
    if trace:
        for number, each in enumerate(made):
            each["objectWriteTraceId"] = str(number)
    return {"inputs": made}


def test_limits_and_headers_over_a_socket():
    with serve(MockConfig(window=(3, 60), daily=100)) as served, Client(served.url) as call:
        status, headers, details = call("GET", "/account-info/v3/details")
        assert status == 200
        assert details["timeZone"] == "US/Eastern"
        assert headers["x-hubspot-ratelimit-remaining"] == "2"
        assert headers["x-hubspot-ratelimit-daily-remaining"] == "99"
        call("GET", "/crm/v3/properties/contacts")
        call("POST", UPSERT, inputs("a@x.co"))
        status, headers, body = call("POST", UPSERT, inputs("b@x.co"))
        assert status == 429
        assert body["policyName"] == "TEN_SECONDLY_ROLLING"
        assert "retry-after" not in headers
        assert served.stats()["rate_limited"] == 1
        assert served.stats()["objects"] == {"contacts": 1}
        assert call("POST", "/_mock/clock", {"advance": 61})[0] == 200
        assert call("POST", UPSERT, inputs("b@x.co"))[0] == 200


def test_the_daily_quota_and_a_new_day():
    with serve(MockConfig(window=None, daily=2)) as served, Client(served.url) as call:
        assert [call("GET", "/account-info/v3/details")[0] for _ in range(3)] == [200, 200, 429]
        call("POST", "/_mock/clock", {"advance": 86_400})
        assert call("GET", "/account-info/v3/details")[0] == 200


def test_searches_have_a_limit_of_their_own_and_no_headers():
    path = "/crm/v3/objects/contacts/search"
    with serve(MockConfig(window=None, daily=None, search=2)) as served, Client(served.url) as call:
        call("POST", UPSERT, inputs("a@x.co", "b@x.co"))
        body = {"filterGroups": [{"filters": [{"propertyName": "email", "operator": "EQ", "value": "a@x.co"}]}]}
        status, headers, found = call("POST", path, body)
        assert (status, found["total"]) == (200, 1)
        assert not [name for name in headers if "ratelimit" in name]
        call("POST", path, {})
        status, _, refused = call("POST", path, {})
        assert (status, refused["policyName"]) == (429, "SECONDLY")


def test_upserts_write_match_and_come_back_in_another_order():
    with serve() as served, Client(served.url) as call:
        status, _, body = call("POST", UPSERT, inputs("A@x.co", "b@x.co", firstname="Ada"))
        assert status == 200
        assert [each["properties"]["email"] for each in body["results"]] == ["b@x.co", "a@x.co"]
        assert all(each["new"] for each in body["results"])
        _, _, again = call("POST", UPSERT, inputs("a@X.co"))
        assert not again["results"][0]["new"]
        assert again["results"][0]["id"] == body["results"][1]["id"]
        status, _, read = call("POST", "/crm/v3/objects/contacts/batch/read",
                               {"inputs": [{"id": "a@x.co"}, {"id": "no@x.co"}], "idProperty": "email"})  # fmt: skip
        assert status == 207
        assert read["errors"][0]["context"]["ids"] == ["no@x.co"]
        assert served.mock.objects.type(62515, "contacts").written["a@x.co"] == 2


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (inputs(*[f"{i}@x.co" for i in range(101)]), 400, "maximum batch size"),
        (inputs("a@x.co", "a@x.co"), 400, "Duplicate IDs"),
        (inputs("a@x.co", shoe="42"), 400, "does not exist"),
        (inputs("a@x.co", hs_score="42"), 400, "read only"),
        (inputs("a@x.co", "b@x.co", age="old", trace=False), 400, "not valid"),
        ({"inputs": [{"id": "1", "idProperty": "firstname", "properties": {}}]}, 400, "non-unique"),
        ({"inputs": 5}, 400, "Invalid input JSON"),
    ],
)
def test_whole_batches_are_refused(body, status, words):
    with serve() as served, Client(served.url) as call:
        got, _, said = call("POST", UPSERT, body)
        assert got == status
        assert words in said["message"]
        assert not any(served.stats()["objects"].values())


def test_unique_trace_ids_turn_a_refusal_into_a_partial_success():
    with serve() as served, Client(served.url) as call:
        body = inputs("a@x.co", "bad")
        status, _, said = call("POST", UPSERT, body)
        assert status == 207
        assert said["numErrors"] == 1
        assert said["errors"][0]["context"]["objectWriteTraceId"] == ["1"]
        assert served.stats()["objects"] == {"contacts": 1}


def test_create_update_and_archive():
    base = "/crm/v3/objects/contacts/batch"
    with serve() as served, Client(served.url) as call:
        new = {"inputs": [{"properties": {"email": "a@x.co"}}]}
        status, _, made = call("POST", f"{base}/create", new)
        assert status == 201
        status, _, said = call("POST", f"{base}/create", new)
        assert (status, said["category"]) == (409, "CONFLICT")
        status, _, said = call("POST", f"{base}/update", {"inputs": [{"id": "unknown", "properties": {"city": "x"}}]})
        assert (status, said["errors"][0]["context"]) == (207, {"ids": ["unknown"]})
        assert call("POST", f"{base}/archive", {"inputs": [{"id": made["results"][0]["id"]}]})[0] == 204
        assert served.stats()["objects"] == {"contacts": 0}


def test_who_may_not():
    config = MockConfig(portals={"good": Portal(), "reader": Portal()}, only_known=True, read_only_tokens={"reader"})
    with serve(config) as served:
        with Client(served.url, "wrong") as call:
            status, headers, _ = call("GET", "/account-info/v3/details")
            assert status == 401
            assert "x-hubspot-ratelimit-max" not in headers
        with Client(served.url, "reader") as call:
            status, _, said = call("POST", UPSERT, inputs("a@x.co"))
            assert (status, said["category"]) == (403, "MISSING_SCOPES")


def test_separate_apps_have_windows_of_their_own_and_share_the_day():
    with serve(MockConfig(window=(1, 60), daily=3)) as served:
        for token in ("one", "two"):
            with Client(served.url, token) as call:
                assert call("GET", "/account-info/v3/details")[0] == 200
                assert call("GET", "/account-info/v3/details")[2]["policyName"] == "TEN_SECONDLY_ROLLING"
        with Client(served.url, "three") as call:
            _, headers, _ = call("GET", "/account-info/v3/details")
            assert headers["x-hubspot-ratelimit-daily-remaining"] == "0"


def test_injected_statuses_count_but_write_nothing():
    with serve(MockConfig(window=(5, 60))) as served, Client(served.url) as call:
        call(
            "POST",
            "/_mock/faults",
            {"kind": "status", "status": 503, "retry_after": "7", "times": 1, "path": "*/upsert"},
        )
        status, headers, _ = call("POST", UPSERT, inputs("a@x.co"))
        assert (status, headers["retry-after"]) == (503, "7")
        assert served.stats()["objects"] == {}
        assert call("POST", UPSERT, inputs("a@x.co"))[0] == 200
        assert served.mock.window("t").remaining(time.monotonic_ns()) == 3


@pytest.mark.parametrize(("kind", "stored"), [("reset", 0), ("reset_after", 1), ("hang", 1)])
def test_connections_are_reset_before_and_after_the_commit(kind, stored):
    with serve() as served, Client(served.url) as call:
        call("POST", "/_mock/faults", {"kind": kind, "times": 1, "seconds": 0.05, "path": "*/upsert"})
        with pytest.raises((ConnectionResetError, http.client.RemoteDisconnected)):
            call("POST", UPSERT, inputs("a@x.co"))
        assert served.stats()["objects"].get("contacts", 0) == stored


def test_a_truncated_body():
    with serve() as served, Client(served.url) as call:
        call("POST", "/_mock/faults", {"kind": "truncate", "times": 1, "path": "*/upsert"})
        with pytest.raises(http.client.IncompleteRead):
            call("POST", UPSERT, inputs("a@x.co"))


def test_poisoned_records_refuse_their_batch_with_or_without_a_name():
    with serve() as served, Client(served.url) as call:
        call("POST", "/_mock/poison", {"property": "firstname", "value": "poison", "names": False})
        body = inputs("a@x.co", "b@x.co")
        body["inputs"][1]["properties"]["firstname"] = "poison"
        status, _, said = call("POST", UPSERT, body)
        assert status == 400
        assert "context" not in said
        call("POST", "/_mock/poison", {"property": "lastname", "value": "poison", "names": True})
        body["inputs"][1]["properties"] = {"email": "b@x.co", "lastname": "poison"}
        assert call("POST", UPSERT, body)[2]["context"]["ids"] == ["b@x.co"]


def test_another_apps_traffic_and_the_journal():
    with serve(MockConfig(window=(10, 60))) as served, Client(served.url) as call:
        assert call("POST", "/_mock/foreign", {"calls": 8, "token": "t"})[2] == {"refused": 0}
        _, headers, _ = call("GET", "/account-info/v3/details")
        assert headers["x-hubspot-ratelimit-remaining"] == "1"
        journal = call("GET", "/_mock/journal")[2]["requests"]
        assert [(each["method"], each["status"]) for each in journal] == [("GET", 200)]
        assert call("POST", "/_mock/faults", {"kind": "earthquake"})[0] == 400
        assert call("GET", "/nowhere")[0] == 404
