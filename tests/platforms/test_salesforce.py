"""Salesforce's connector without a network: what it sends, what replies mean, the course of a Bulk job."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
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
from headway.errors import CredentialsError, MappingError, UsageError
from headway.platforms.salesforce import account, csvs
from headway.platforms.salesforce.bulk import BulkJob, poll_wait
from headway.platforms.salesforce.connector import SalesforceConnector
from headway.platforms.salesforce.replies import meaning, refused
from headway.platforms.salesforce.schema import SalesforceSchema, shaped


def record(number: int, **values: object) -> Record:
    return Record(number, f"K{number}", json.dumps({"Ext__c": f"K{number}"} | values).encode())


def reply(status: int, body: object = b"", **headers: str) -> Reply:
    return Reply(status, headers, body if isinstance(body, bytes) else json.dumps(body).encode())


def error(code: str, message: str = "no") -> list[dict[str, str]]:
    return [{"message": message, "errorCode": code}]


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (403, error("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."), ("daily",)),
        (403, error("REQUEST_LIMIT_EXCEEDED", "ConcurrentPerOrgLongTxn Limit exceeded."), ("concurrency",)),
        (403, error("INSUFFICIENT_ACCESS"), CredentialsRejected),
        (403, error("API_DISABLED_FOR_ORG"), CredentialsRejected),
        (401, error("INVALID_SESSION_ID"), CredentialsRejected),
        (503, error("SERVER_UNAVAILABLE"), Transient),
        (500, b"<html>", Transient),
        (400, error("QUERY_TIMEOUT"), Transient),
        (404, error("NOT_FOUND"), MappingFault),
        (400, error("INVALID_FIELD", "No such column 'X' on sobject of type Contact"), MappingFault),
        (400, error("JSON_PARSER_ERROR"), SplitNeeded),
        (418, b"", Transient),
    ],
)
def test_what_an_error_means(status, body, expected):
    found = refused(reply(status, body))
    if isinstance(expected, tuple):
        assert isinstance(found, RateLimited)
        assert (found.limit, found.retry_after) == (expected[0], None)
    else:
        assert isinstance(found, expected)


@given(
    st.integers(200, 599),
    st.binary(max_size=80) | st.sampled_from([b"[]", b"[1]", b"{}", b'[{"message":null}]', b"[[]]"]),
)
def test_no_reply_breaks_anything(status, body):
    told = Reply(status, {}, body)
    meaning(told)
    records = [record(1), record(2)]
    for way in ("collections", "bulk"):
        verdict = SalesforceConnector("Contact", "upsert", "Ext__c").delivery(0, way).verdict(records, told)
        assert len(verdict.outcomes) == 2
    job = BulkJob("Contact", "upsert", "Ext__c")
    for at in ("create", "upload", "close", "look", "poll", "abort", "successes", "failures", "rest"):
        state = {"at": at, "id": "750", "polls": 0, "left": [], "ended": "JobComplete", "message": "", "done": 2}
        if job.meaning(told) is None:
            heard = job.heard(state, records, told)
            if heard.verdict is None and len(heard.outcomes) < 2:
                assert job.step(heard.state, records).call.path


def test_collections_are_spliced_and_read_in_order():
    way = SalesforceConnector("Contact", "upsert", "Ext__c").delivery(3)
    call = way.call([record(1, LastName="A"), record(2)])
    assert (call.method, call.path) == ("PATCH", "/services/data/v60.0/composite/sobjects/Contact/Ext__c")
    said = json.loads(call.body)
    assert said["allOrNone"] is False
    assert said["records"][0] == {"attributes": {"type": "Contact"}, "Ext__c": "K1", "LastName": "A"}
    outcomes = way.verdict(
        [record(n) for n in range(4)],
        reply(200, [
            {"id": "003a", "success": True, "errors": [], "created": True},
            {"success": False, "errors": [{"statusCode": "UNABLE_TO_LOCK_ROW", "message": "busy", "fields": []}]},
            {"success": False, "errors": [{"statusCode": "STRING_TOO_LONG", "message": "too long", "fields": ["X"]}]},
            {"success": False, "errors": []},
        ]),
    ).outcomes  # fmt: skip
    assert outcomes[0] == Delivered("003a")
    assert outcomes[1] == Transient("UNABLE_TO_LOCK_ROW", "busy", applied=False)
    assert outcomes[2] == Rejected("STRING_TOO_LONG", "too long")
    assert isinstance(outcomes[3], Rejected)
    short = way.verdict([record(1), record(2)], reply(200, [{"id": "x", "success": True}]))
    assert all(isinstance(each, Transient) and each.applied for each in short.outcomes)


def test_updates_and_deletes_go_by_id():
    update = SalesforceConnector("Contact", "update", "Id").delivery(1).call([Record(1, "003x", b'{"LastName":"B"}')])
    assert json.loads(update.body)["records"] == [{"attributes": {"type": "Contact"}, "Id": "003x", "LastName": "B"}]
    gone = (
        SalesforceConnector("Contact", "delete", "Id")
        .delivery(1)
        .call([Record(1, "003x", b"{}"), Record(2, "003y", b"{}")])
    )
    assert (gone.method, gone.body) == ("DELETE", None)
    assert gone.path.endswith("?ids=003x,003y&allOrNone=false")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("Contact", "archive", "Id"), "unknown mode"),
        (("Cont act", "upsert", "X"), "no Salesforce object"),
        (("Contact", "update", "Ext__c"), "by its own Id only"),
        (("Contact", "upsert", "Id"), "cannot upsert by Id"),
    ],
)
def test_what_salesforce_does_not_offer(arguments, words):
    with pytest.raises(UsageError, match=words):
        SalesforceConnector(*arguments)


def test_the_way_follows_from_the_number_or_is_named():
    connector = SalesforceConnector("Contact", "upsert", "Ext__c")
    assert [connector.delivery(n).via for n in (1, 2000, 2001)] == ["collections", "collections", "bulk"]
    assert connector.delivery(1, "bulk").via == "bulk"
    with pytest.raises(UsageError, match="did you mean 'bulk'"):
        connector.delivery(1, "bulks")
    assert connector.delivery(9999).machine(200) is None
    assert connector.delivery(9999).machine(201) is not None


# -- the course of a job

RECORDS = [record(1), record(2), record(3)]
MADE = reply(200, {"id": "750a", "state": "Open", "contentUrl": "services/data/v60.0/jobs/ingest/750a/batches"})


def result(*rows: tuple[str, str, str], second: str = "sf__Created") -> Reply:
    out = io.StringIO()
    write = csv.writer(out, quoting=csv.QUOTE_ALL).writerow
    write(["sf__Id", second, "Ext__c"])
    for row in rows:
        write(row)
    return reply(200, out.getvalue().encode())


def test_a_job_from_its_creation_to_its_results():
    job = BulkJob("Contact", "upsert", "Ext__c")
    state = job.begin(RECORDS)
    step = job.step(state, RECORDS)
    assert json.loads(step.call.body)["externalIdFieldName"] == "Ext__c"
    state = job.heard(state, RECORDS, MADE).state
    step = job.step(state, RECORDS)
    assert (step.call.method, step.call.path) == ("PUT", "/services/data/v60.0/jobs/ingest/750a/batches")
    assert step.call.cost == {"bulk-records": 3, "bulk-batches": 1}
    assert step.call.body == b"Ext__c\nK1\nK2\nK3\n"
    heard = job.heard(state, RECORDS, reply(201))
    assert heard.light
    state = heard.state
    assert json.loads(job.step(state, RECORDS).call.body) == {"state": "UploadComplete"}
    state = job.heard(state, RECORDS, reply(200, {"id": "750a", "state": "UploadComplete"})).state
    waits = []
    for _ in range(4):
        waits.append(job.step(state, RECORDS).wait)
        state = job.heard(state, RECORDS, reply(200, {"state": "InProgress"})).state
    assert waits == [2.0, 3.0, 4.5, 6.75]
    assert poll_wait(100) == 30.0
    done = {"state": "JobComplete", "numberRecordsProcessed": 3, "numberRecordsFailed": 1}
    state = job.heard(state, RECORDS, reply(200, done)).state
    assert job.step(state, RECORDS).call.path.endswith("/successfulResults")
    heard = job.heard(state, RECORDS, result(("003b", "true", "K2"), ("003a", "true", "K1")))
    assert heard.outcomes == {1: Delivered("003a"), 2: Delivered("003b")}
    rest = RECORDS[2:]
    assert job.step(heard.state, rest).call.path.endswith("/failedResults")
    heard = job.heard(heard.state, rest, result(("", "STRING_TOO_LONG:too long:Name --", "K3"), second="sf__Error"))
    assert heard.outcomes == {3: Rejected("STRING_TOO_LONG", "too long:Name")}


def test_an_upload_whose_reply_was_lost_is_never_repeated_before_it_is_known_not_to_have_come():
    job = BulkJob("Contact", "insert", "Ext__c")
    state = job.heard(job.begin(RECORDS), RECORDS, MADE).state
    heard = job.unheard(state, RECORDS)
    assert job.step(heard.state, RECORDS).name == "close job"  # it had arrived: the job goes on
    goes_on = job.heard(heard.state, RECORDS, reply(200, {"state": "UploadComplete"}))
    assert job.step(goes_on.state, RECORDS).name == "poll job"
    refused_ = job.heard(heard.state, RECORDS, reply(400, error("INVALIDJOBSTATE", "holds no data")))
    assert job.step(refused_.state, RECORDS).name == "look at job"
    still_open = job.heard(refused_.state, RECORDS, reply(200, {"state": "Open"}))
    assert job.step(still_open.state, RECORDS).name == "abort job"
    anew = job.heard(still_open.state, RECORDS, reply(200, {"state": "Aborted"}))
    assert job.step(anew.state, RECORDS).name == "create job"
    # Closed without anything in it: nothing was processed, so that even an insert may go again.
    empty = job.heard(goes_on.state, RECORDS, reply(200, {"state": "JobComplete", "numberRecordsProcessed": 0}))
    final = job.heard(empty.state, RECORDS, result())
    assert all(isinstance(each, Transient) and not each.applied for each in final.verdict.outcomes)


def test_a_failed_job_gives_its_unprocessed_rows_back_and_a_wrong_column_is_the_mappings_fault():
    job = BulkJob("Contact", "upsert", "Ext__c")
    polling = {"at": "poll", "id": "750a", "polls": 1}
    failed = {"state": "Failed", "numberRecordsProcessed": 0, "errorMessage": "InvalidBatch : Field name not found : X"}
    verdict = job.heard(polling, RECORDS, reply(200, failed)).verdict
    assert all(isinstance(each, MappingFault) for each in verdict.outcomes)
    failed = {"state": "Failed", "numberRecordsProcessed": 1, "numberRecordsFailed": 0, "errorMessage": "boom"}
    state = job.heard(polling, RECORDS, reply(200, failed)).state
    heard = job.heard(state, RECORDS, result(("003a", "true", "K1")))
    assert job.step(heard.state, RECORDS[1:]).call.path.endswith("/unprocessedrecords")
    heard = job.heard(heard.state, RECORDS[1:], reply(200, b'"Ext__c"\n"K3"\n"K2"\n'))
    assert {number: type(each) for number, each in heard.outcomes.items()} == {2: Transient, 3: Transient}
    gone = job.heard(polling, RECORDS, reply(404, error("NOT_FOUND"))).verdict
    assert all(isinstance(each, Transient) and each.applied for each in gone.outcomes)


# -- CSV

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)


@given(
    st.lists(
        st.dictionaries(st.sampled_from(["A", "B__c", "C"]), TEXTS | st.none() | st.booleans() | st.integers()),
        max_size=6,
    )
)
def test_csv_holds_every_value_as_it_is(rows):
    records = [Record(n, str(n), json.dumps({"K": str(n)} | row).encode()) for n, row in enumerate(rows)]
    body = csvs.written(records)
    assert not body.startswith(b"\xef\xbb\xbf")
    back = list(csvs.rows_of(body)) if rows else []
    for row, told in zip(rows, back, strict=True):
        for name, value in row.items():
            expected = "#N/A" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
            assert told[name] == expected


def test_a_carriage_return_is_quoted():
    assert csvs.written([Record(1, "k", json.dumps({"A": "x\ry", "B": "z"}).encode())]) == b'A,B\n"x\ry","z"\n'


def test_parents_are_named_by_their_external_id():
    values = shaped({"Name": "", "Account.Ext__c": "A1", "Flag__c": "yes"}, frozenset({"Flag__c"}))
    assert values == {"Name": None, "Account": {"Ext__c": "A1"}, "Flag__c": True}
    body = csvs.written([Record(1, "k", json.dumps(values).encode())])
    assert body == b"Name,Account.Ext__c,Flag__c\n#N/A,A1,true\n"


# -- schema and account


def schema(**options: object) -> SalesforceSchema:
    fields = [
        {"name": "Id", "type": "id"}, {"name": "LastName", "label": "Last Name", "length": 5, "createable": True},
        {"name": "Ext__c", "createable": True, "updateable": True, "externalId": True},
        {"name": "Birthdate", "type": "date", "createable": True}, {"name": "Total", "type": "double", "createable": True},
        {"name": "CreatedDate", "type": "datetime"}, {"name": "Opt", "type": "boolean", "createable": True},
        {"name": "Kind", "type": "picklist", "createable": True, "restrictedPicklist": True,
         "picklistValues": [{"value": "A", "active": True}, {"value": "B", "active": False}]},
    ]  # fmt: skip
    made = SalesforceSchema.from_reply("Contact", reply(200, {"fields": fields} | options))
    return SalesforceSchema.from_bytes(made.to_bytes())


def test_columns_are_checked_against_describe():
    found = schema()
    found.check_columns(["LastName", "Ext__c"], "Ext__c", "upsert")
    for columns, key, mode, words in [
        (["last_name"], "Ext__c", "upsert", "did you mean 'LastName'"), (["CreatedDate"], "Ext__c", "upsert", "read-only"),
        (["LastName"], "LastName", "upsert", "no external id.*Ext__c"), (["LastName"], "Ext", "upsert", "no field 'Ext'"),
    ]:  # fmt: skip
        with pytest.raises(MappingError, match=words):
            found.check_columns(columns, key, mode)
    with pytest.raises(MappingError, match="may not delete"):
        schema(deletable=False).check_columns(["Id"], "Id", "delete")


def test_values_are_checked_by_type():
    check = schema().row_checker(["LastName", "Birthdate", "Total", "Opt", "Kind"])
    assert check({"LastName": "Ada", "Birthdate": "2026-11-30", "Total": "1.5", "Opt": "no", "Kind": "A"}) is None
    for name, value, words in [
        ("LastName", "Lovelace", "more than the 5"), ("Birthdate", "30.11.2026", "no date"), ("Total", "1,5", "no number"),
        ("Opt", "maybe", "neither true nor false"), ("Kind", "B", "not among A"), ("LastName", "#N/A", "clears a field"),
    ]:  # fmt: skip
        found = check({name: value})
        assert found is not None
        assert words in found.message


def test_who_we_are_and_what_is_left():
    row = {"Id": "00D000000000001AAA", "IsSandbox": True, "TimeZoneSidKey": "Europe/Berlin"}
    found = account.identity(reply(200, {"records": [row]}))
    assert (found.account_id, found.time_zone, found.kind) == ("00D000000000001", "Europe/Berlin", "SANDBOX")
    with pytest.raises(CredentialsError, match="expired"):
        account.identity(reply(401, error("INVALID_SESSION_ID", "Session expired or invalid")))
    told = account.left(
        reply(200, {"DailyApiRequests": {"Max": 100, "Remaining": 40}, "Else": 3, "DailyBulkApiBatches": {"Max": "x"}})
    )
    assert [(each.name, each.limit, each.remaining) for each in told] == [("daily", 100, 40)]
    assert account.left(reply(200, b"nonsense")) == ()
