"""The mocks of Salesforce, Mailchimp and Google Analytics: each rule that they enforce, by a clock that is moved by hand."""

from __future__ import annotations

import base64
import io
import json
import tarfile
import urllib.error
import urllib.request

import pytest

from headway.errors import UsageError
from headway.mock import (
    Fault,
    Field,
    GA4Config,
    MailchimpConfig,
    ManualClock,
    SalesforceConfig,
    SObject,
    serve,
)
from headway.mock.salesforce.config import STANDARD

CONTACT = SObject("Contact", (*STANDARD[0].fields, Field("Ext__c", external_id=True)))
BASE = "/services/data/v60.0"
LIST = "a1b2c3d4e5"
KEY = "Basic " + base64.b64encode(b"any:key-us1").decode()


def sf(**options):
    mock = SalesforceConfig(objects=(CONTACT,), **options).platform(ManualClock())
    return mock, lambda method, path, body=None, query="": mock.answer(
        method,
        BASE + path,
        "Bearer t",
        b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode(),
        query,
    )


def bulk(call, body, operation="upsert", key="Ext__c"):
    job = call("POST", "/jobs/ingest", {"object": "Contact", "operation": operation, "externalIdFieldName": key}).body[
        "id"
    ]
    assert call("PUT", f"/jobs/ingest/{job}/batches", body).status == 201
    return job


class TestSalesforce:
    def test_rows_by_id_and_by_external_id(self):
        mock, call = sf()
        made = call("PATCH", "/sobjects/Contact/Ext__c/7", {"LastName": "A"})
        assert (made.status, made.body["created"]) == (201, True)
        assert call("PATCH", "/sobjects/Contact/Ext__c/7", {"LastName": "B"}).status == 204
        found = call("GET", f"/sobjects/Contact/{made.body['id']}").body
        assert (found["LastName"], found["Ext__c"]) == ("B", "7")
        wrong = call("POST", "/sobjects/Contact", {"FirstName": "x"})
        assert (wrong.status, wrong.body[0]["errorCode"]) == (400, "REQUIRED_FIELD_MISSING")
        assert call("POST", "/sobjects/Contact", {"LastName": "x", "Nope": 1}).body[0]["errorCode"] == "INVALID_FIELD"
        assert (
            call("POST", "/sobjects/Contact", {"LastName": "x", "Ext__c": "7"}).body[0]["errorCode"]
            == "DUPLICATE_VALUE"
        )
        assert call("DELETE", f"/sobjects/Contact/{made.body['id']}").status == 204
        assert call("GET", "/sobjects/Nothing/describe").status == 404
        assert mock.statistics()["daily_used"] == mock.statistics()["requests"]

    def test_collections_answer_in_order_and_stop_at_200(self):
        _, call = sf()
        rows = [{"attributes": {"type": "Contact"}, "Ext__c": str(n), "LastName": "x" * (n + 79)} for n in range(3)]
        told = call("PATCH", "/composite/sobjects/Contact/Ext__c", {"allOrNone": False, "records": rows}).body
        assert [each["success"] for each in told] == [True, True, False]
        assert told[2]["errors"][0]["statusCode"] == "STRING_TOO_LONG"
        assert call("PATCH", "/composite/sobjects/Contact/Ext__c", {"records": []}).status == 400
        assert call("PATCH", "/composite/sobjects/Contact/Ext__c", {"records": rows * 67}).status == 400
        assert call("POST", "/composite/sobjects", b"{nonsense").status == 400

    def test_a_job_takes_its_time_and_tells_each_row(self):
        mock, call = sf(bulk_delay=2, bulk_rate=10)
        job = bulk(call, b'Ext__c,LastName,Email\n1,A,a@b.de\n2,"B, ""so""",x\n3,C,#N/A\n')
        assert call("PUT", f"/jobs/ingest/{job}/batches", b"x").status == 400
        assert call("GET", f"/jobs/ingest/{job}").body["state"] == "Open"
        assert call("PATCH", f"/jobs/ingest/{job}", {"state": "UploadComplete"}).body["state"] == "UploadComplete"
        assert call("GET", f"/jobs/ingest/{job}").body["state"] == "UploadComplete"
        mock.clock.advance(2.1)
        assert call("GET", f"/jobs/ingest/{job}").body["numberRecordsProcessed"] == 1
        mock.clock.advance(1)
        done = call("GET", f"/jobs/ingest/{job}").body
        assert (done["state"], done["numberRecordsProcessed"], done["numberRecordsFailed"]) == ("JobComplete", 3, 1)
        failed = call("GET", f"/jobs/ingest/{job}/failedResults").raw.decode()
        assert "INVALID_EMAIL_ADDRESS:Email: invalid email address: x:Email --" in failed
        assert call("GET", f"/jobs/ingest/{job}/unprocessedRecords").raw == b'"Ext__c","LastName","Email"\n'
        assert call("DELETE", f"/jobs/ingest/{job}").status == 204

    def test_jobs_fail_midway_and_for_wrong_columns(self):
        mock, call = sf(fail_jobs=(1,))
        for body in (b"Ext__c,LastName\n1,A\n2,B\n", b"Ext__c,Nope\n1,A\n", b"Ext__c\n1,2\n", b'Ext__c\n"1" x\n'):
            job = bulk(call, body)
            call("PATCH", f"/jobs/ingest/{job}", {"state": "UploadComplete"})
            mock.clock.advance(60)
            told = call("GET", f"/jobs/ingest/{job}").body
            assert told["state"] == "Failed"
            assert told["errorMessage"]
        assert mock.statistics()["bulk_jobs"] == {"Failed": 4}
        empty = call("POST", "/jobs/ingest", {"object": "Contact", "operation": "insert"}).body["id"]
        assert call("PATCH", f"/jobs/ingest/{empty}", {"state": "UploadComplete"}).status == 400
        assert call("PATCH", f"/jobs/ingest/{empty}", {"state": "Aborted"}).body["state"] == "Aborted"
        assert call("POST", "/jobs/ingest", {"object": "Nope", "operation": "insert"}).status == 400

    def test_the_day_rolls_and_long_calls_count(self):
        mock, call = sf(daily=2, long_running=1, long_after=20)
        assert call("GET", "/limits").headers["sforce-limit-info"] == "api-usage=1/2"
        assert call("GET", "/limits").body["DailyApiRequests"] == {"Max": 2, "Remaining": 0}
        refused = call("GET", "/limits")
        assert (refused.status, refused.body[0]["message"]) == (403, "TotalRequests Limit exceeded.")
        mock.clock.advance(86_401)
        slow = mock.arrive("GET", BASE + "/limits", "Bearer t")
        assert slow.refused is None
        mock.clock.advance(21)
        assert call("GET", "/limits").body[0]["message"] == "ConcurrentPerOrgLongTxn Limit exceeded."
        mock.journal.finish(slow.entry, 200, mock.clock.monotonic())
        assert call("GET", "/limits").status == 200
        assert mock.statistics()["refused_for"] == {"daily": 1, "concurrency": 1}

    def test_bulk_has_limits_of_its_own(self):
        _, call = sf(bulk_records=2)
        job = call("POST", "/jobs/ingest", {"object": "Contact", "operation": "insert"}).body["id"]
        assert call("PUT", f"/jobs/ingest/{job}/batches", b"LastName\nA\nB\nC\n").status == 403

    def test_tokens_expire(self):
        mock = SalesforceConfig(clients={"c": "s3cret-of-c"}, only_issued=True, token_ttl=60).platform(ManualClock())
        form = b"grant_type=client_credentials&client_id=c&client_secret=s3cret-of-c"
        token = mock.answer("POST", "/services/oauth2/token", "", form).body["access_token"]
        assert mock.answer("GET", BASE + "/limits", f"Bearer {token}").status == 200
        mock.clock.advance(61)
        assert mock.answer("GET", BASE + "/limits", f"Bearer {token}").body[0]["errorCode"] == "INVALID_SESSION_ID"
        assert mock.answer("POST", "/services/oauth2/token", "", form[:-1]).body["error"] == "invalid_client"
        assert mock.answer("GET", "/services/data", "").status == 200


def mc(**options):
    mock = MailchimpConfig(**options).platform(ManualClock())
    return mock, lambda method, path, body=None: mock.answer(
        method, "/3.0" + path, KEY, b"" if body is None else json.dumps(body).encode()
    )


class TestMailchimp:
    def test_members_are_put_posted_patched_and_removed(self):
        _, call = mc()
        import hashlib

        one = f"/lists/{LIST}/members/" + hashlib.md5(b"a@b.de").hexdigest()
        assert call("PUT", one, {"email_address": "A@b.de"}).status == 400  # a new one needs a status
        assert (
            call("PUT", one, {"email_address": "A@b.de", "status_if_new": "subscribed"}).body["status"] == "subscribed"
        )
        assert call("PUT", one, {"email_address": "A@b.de", "status_if_new": "pending"}).body["status"] == "subscribed"
        exists = call("POST", f"/lists/{LIST}/members", {"email_address": "a@b.de", "status": "subscribed"})
        assert (exists.status, exists.body["title"]) == (400, "Member Exists")
        assert exists.headers["content-type"].startswith("application/problem+json")
        wrong = call("PATCH", one, {"merge_fields": {"BIRTHDAY": "1990-12-31"}})
        assert wrong.body["errors"][0]["field"] == "BIRTHDAY"
        assert call("POST", one + "/actions/delete-permanent").status == 204
        assert call("DELETE", one).status == 404
        assert call("GET", "/lists/nosuch").status == 404

    def test_many_at_once_are_told_apart(self):
        mock, call = mc(poison={"p@b.de": "looks fake or invalid"}, compliance=frozenset({"c@b.de"}))
        rows = [{"email_address": f"{name}@b.de", "status": "subscribed"} for name in "apcxx"]
        told = call("POST", f"/lists/{LIST}", {"members": rows, "update_existing": True}).body
        assert (told["total_created"], told["error_count"]) == (2, 3)
        told = call("POST", f"/lists/{LIST}", {"members": rows[:1], "update_existing": False}).body
        assert told["errors"][0]["error_code"] == "ERROR_CONTACT_EXISTS"
        assert call("POST", f"/lists/{LIST}", {"members": rows * 101}).status == 400
        assert mock.statistics()["duplicate_writes"] == 0

    def test_the_eleventh_connection_is_refused_until_one_has_ended(self):
        mock, call = mc(keeps_slot=30)
        open_ = [mock.arrive("GET", "/3.0/ping", KEY) for _ in range(10)]
        refused = call("GET", "/ping")
        assert (refused.status, "10 simultaneous connections" in refused.body["detail"]) == (429, True)
        assert mock.answer("GET", "/3.0/ping", "Bearer another-us1").status == 200
        mock.journal.finish(open_[0].entry, 200, mock.clock.monotonic())
        assert call("GET", "/ping").status == 200
        mock.journal.finish(open_[1].entry, 0, mock.clock.monotonic())  # no reply: it keeps its place
        held = mock.arrive("GET", "/3.0/ping", KEY)
        assert held.refused is None
        assert call("GET", "/ping").status == 429
        mock.clock.advance(31)
        assert call("GET", "/ping").status == 200
        assert mock.statistics()["most_connections"] == 10

    def test_too_many_a_second_get_a_bare_403(self):
        _, call = mc(bare_403_above=3)
        replies = [call("GET", "/ping") for _ in range(4)]
        assert [reply.status for reply in replies] == [200, 200, 200, 403]
        assert replies[3].body is None

    def test_batches_run_in_turn_and_their_results_want_no_credentials(self):
        mock, call = mc(batch_delay=1, batch_rate=2, pending_batches=2)
        operation = {"method": "POST", "path": f"/lists/{LIST}/members", "operation_id": "o1",
                     "body": json.dumps({"email_address": "a@b.de", "status": "subscribed"})}  # fmt: skip
        first = call("POST", "/batches", {"operations": [operation, operation | {"operation_id": "o2"}]}).body
        second = call("POST", "/batches", {"operations": [operation]}).body
        assert call("POST", "/batches", {"operations": [operation]}).status == 429
        assert call("POST", "/batches", {"operations": [operation] * 501}).status == 400
        assert first["status"] == "pending"
        mock.clock.advance(1.6)
        told = call("GET", f"/batches/{first['id']}").body
        assert (told["status"], told["finished_operations"]) == ("started", 1)
        mock.clock.advance(0.5)
        told = call("GET", f"/batches/{first['id']}").body
        assert (told["status"], told["errored_operations"]) == ("finished", 1)
        assert call("GET", f"/batches/{second['id']}").body["status"] == "started"
        path = told["response_body_url"].partition("?")[0]
        assert mock.answer("GET", path, KEY).status == 400
        with tarfile.open(fileobj=io.BytesIO(mock.answer("GET", path, "").raw)) as archive:
            names = [member.name for member in archive if member.isfile()]
            results = [each for name in names for each in json.loads(archive.extractfile(name).read())]
        assert {each["operation_id"]: each["status_code"] for each in results} == {"o1": 200, "o2": 400}
        assert mock.statistics()["leaked_credentials"] == 1

    def test_keys(self):
        mock = MailchimpConfig(keys=frozenset({"key-us1"}), read_only_keys=frozenset({"key-us1"})).platform(
            ManualClock()
        )
        assert mock.answer("GET", "/3.0/ping", KEY).status == 200
        assert mock.answer("POST", f"/3.0/lists/{LIST}", KEY, b"{}").status == 403
        assert mock.answer("GET", "/3.0/ping", "Basic nonsense").status == 401


def ga(**options):
    mock = GA4Config(**options).platform(ManualClock())

    def call(path, body, query="measurement_id=G-1&api_secret=s", token="Bearer t"):
        return mock.answer("POST", path, token, body if isinstance(body, bytes) else json.dumps(body).encode(), query)

    return mock, call


REPORT = {
    "metrics": [{"name": "sessions"}],
    "dimensions": [{"name": "city"}],
    "dateRanges": [{"startDate": "a", "endDate": "b"}],
}


class TestGA4:
    def test_collect_says_204_to_everything_and_throws_away_what_is_wrong(self):
        mock, call = ga(api_secrets=frozenset({"s"}))
        good = {"client_id": "c", "events": [{"name": "login"}]}
        for body in (
            good,
            b"nonsense",
            {"events": []},
            {"client_id": "c", "events": [{"name": "9"}]},
            good | {"client_id": ""},
        ):
            assert call("/mp/collect", body).status == 204
        assert call("/mp/collect", good, query="measurement_id=G-1&api_secret=wrong").status == 204
        stats = mock.statistics()
        assert (stats["events"], stats["lost"]) == (1, 1)
        assert stats["dropped_events"] >= 1

    def test_debug_tells_what_is_wrong_twenty_times(self):
        _, call = ga()
        told = call("/debug/mp/collect", {"client_id": "c", "events": [{"name": "_bad"}]}).body["validationMessages"]
        assert told[0]["validationCode"] == "NAME_INVALID"
        assert (
            call("/debug/mp/collect", {"client_id": "c", "events": [{"name": "ok"}]}).body["validationMessages"] == []
        )
        for _ in range(18):
            assert call("/debug/mp/collect", {}).status == 200
        assert call("/debug/mp/collect", {}).status == 429

    def test_reports_cost_tokens_and_quotas_run_out(self):
        mock, call = ga(tokens_hour=20, cost=(9, 9), rows=3)
        path = "/v1beta/properties/1:runReport"
        told = call(path, REPORT | {"returnPropertyQuota": True, "limit": "2"}).body
        assert (len(told["rows"]), told["rowCount"]) == (2, 3)
        assert told["propertyQuota"]["tokensPerHour"] == {"consumed": 9, "remaining": 11}
        assert call(path, REPORT).body == call(path, REPORT).body
        refused = call(path, REPORT)
        assert (refused.status, refused.body["error"]["status"]) == (429, "RESOURCE_EXHAUSTED")
        assert "per hour" in refused.body["error"]["message"]
        assert call("/v1beta/properties/2:runReport", REPORT).status == 200
        mock.clock.advance(3601)
        assert call(path, REPORT).status == 200
        assert call(path, REPORT | {"metrics": [{"name": "nope"}]}).status == 400

    def test_ten_at_once_and_five_in_a_batch(self):
        mock, call = ga()
        path = "/v1beta/properties/1:batchRunReports"
        open_ = [mock.arrive("POST", path, "Bearer t") for _ in range(10)]
        assert "concurrent" in call(path, {"requests": [REPORT]}).body["error"]["message"]
        mock.journal.finish(open_[0].entry, 200, 0)
        assert len(call(path, {"requests": [REPORT] * 5}).body["reports"]) == 5
        assert call(path, {"requests": [REPORT] * 6}).status == 400
        assert call(path, {"requests": [REPORT]}, token="").status == 401


@pytest.mark.parametrize(
    ("config", "path"),
    [
        (SalesforceConfig(), BASE + "/limits"),
        (MailchimpConfig(), "/3.0/ping"),
        (GA4Config(), "/v1beta/properties/1/metadata"),
    ],
)
def test_all_have_the_admin_api_faults_and_the_clock(config, path):
    with serve(config) as mock:

        def ask(where, body=None):
            data = None if body is None else json.dumps(body).encode()
            request = urllib.request.Request(mock.url + where, data=data, headers={"authorization": "Bearer t"})
            with urllib.request.urlopen(request) as reply:
                return json.loads(reply.read() or b"null")

        ask(path)
        assert ask("/_mock/stats")["requests"] == 1
        ask("/_mock/faults", {"kind": "status", "status": 503, "times": 1})
        with pytest.raises(urllib.error.HTTPError, match="503"):
            ask(path)
        assert ask("/_mock/clock", {"advance": 10})["advanced"] == 10
        ask("/_mock/tokens", {"revoke": "t"})
        with pytest.raises(urllib.error.HTTPError, match="401"):
            ask(path)
        ask("/_mock/reset", {})
        assert ask("/_mock/stats")["requests"] == 0
        with pytest.raises(urllib.error.HTTPError, match="404"):
            ask("/_mock/nothing")


@pytest.mark.parametrize("kind", [SalesforceConfig, MailchimpConfig, GA4Config])
def test_settings_that_make_no_sense(kind):
    with pytest.raises(UsageError):
        kind(latency=-1)
    assert Fault("reset").at == "before"


class TestMailchimpBooks:
    """Accounting that other tests rely on."""

    OPERATION = {
        "method": "POST", "path": f"/lists/{LIST}/members", "operation_id": "o1",
        "body": json.dumps({"email_address": "a@b.de", "status": "subscribed"}),
    }  # fmt: skip

    def test_ids_of_batches_are_never_used_twice(self):
        mock, call = mc()
        first, second = (call("POST", "/batches", {"operations": [self.OPERATION]}).body["id"] for _ in range(2))
        call("DELETE", f"/batches/{first}")
        third = call("POST", "/batches", {"operations": [self.OPERATION]}).body["id"]
        assert len({first, second, third}) == 3
        assert len(mock.batches.all) == 2

    def test_what_a_batch_did_is_seen_by_whoever_asks_next(self):
        mock, call = mc()
        call("POST", "/batches", {"operations": [self.OPERATION]})
        mock.clock.advance(60)
        assert call("POST", f"/lists/{LIST}/members", {"email_address": "a@b.de", "status": "pending"}).status == 400

    def test_a_deleted_batch_makes_room_for_those_behind_it(self):
        mock, call = mc(batch_rate=1)
        running = call("POST", "/batches", {"operations": [self.OPERATION] * 100}).body["id"]
        behind = call("POST", "/batches", {"operations": [self.OPERATION]}).body["id"]
        mock.clock.advance(5)
        assert call("DELETE", f"/batches/{running}").status == 204
        mock.clock.advance(2)
        assert call("GET", f"/batches/{behind}").body["status"] == "finished"

    def test_calls_of_others_come_to_an_end(self):
        mock, call = mc()
        assert mock.visit(KEY, 10) == 0
        assert call("GET", "/ping").status == 200

    @pytest.mark.parametrize(
        ("method", "path", "body", "query"),
        [
            ("GET", f"/lists/{LIST}/members", None, "count=x"),
            (
                "POST",
                f"/lists/{LIST}/members",
                {"email_address": "q@b.de", "status": "subscribed", "merge_fields": ["a"]},
                "",
            ),
            ("DELETE", f"/lists/{LIST}/merge-fields", None, ""),
        ],
    )
    def test_nonsense_is_refused_and_keeps_no_connection(self, method, path, body, query):
        mock, call = mc(connections=1)
        for _ in range(2):
            data = b"" if body is None else json.dumps(body).encode()
            assert mock.answer(method, "/3.0" + path, KEY, data, query).status in {400, 404}
        told = call("POST", f"/lists/{LIST}", {"members": ["no object"], "update_existing": True})
        assert (told.status, told.body["error_count"]) == (200, 1)
