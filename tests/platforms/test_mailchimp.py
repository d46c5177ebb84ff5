"""Mailchimp's connector without a network: members, batches, results that cannot be trusted."""

from __future__ import annotations

import gzip
import io
import json
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.delivery.outcome import CredentialsRejected, Delivered, MappingFault, RateLimited, Rejected, Transient
from headway.delivery.records import Record, Reply
from headway.errors import MappingError, UsageError
from headway.platforms.mailchimp import members
from headway.platforms.mailchimp.batches import BatchJob, results_of
from headway.platforms.mailchimp.connector import MailchimpConnector
from headway.platforms.mailchimp.replies import meaning
from headway.platforms.mailchimp.schema import AudienceSchema

LIST = "a1b2c3d4e5"


def record(number: int, **values: object) -> Record:
    address = f"p{number}@example.com"
    return Record(number, address, json.dumps(members.shaped({"email_address": address} | values)).encode())


def reply(status: int, body: object = b"") -> Reply:
    return Reply(status, {}, body if isinstance(body, bytes) else json.dumps(body).encode())


def problem(status: int, title: str = "", detail: str = "") -> Reply:
    return reply(status, {"type": "x", "title": title, "status": status, "detail": detail, "instance": ""})


def packed(*files: tuple[str, object], mode: str = "w:gz") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        folder = tarfile.TarInfo("results")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in files:
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def test_the_hash_is_that_of_mailchimps_own_example():
    assert members.member_hash("Urist.McVankab@freddiesjokes.com") == "62eeb292278cc15f5817cb78f7790b08"


def test_merge_fields_are_nested_and_tags_split():
    row = {
        "email_address": "a@b.de",
        "FNAME": "Ada",
        "tags": "x, y",
        "vip": "yes",
        "interests.9": "1",
        "location.latitude": "5.5",
    }
    assert members.shaped(row) == {
        "email_address": "a@b.de", "merge_fields": {"FNAME": "Ada"}, "tags": ["x", "y"], "vip": True,
        "interests": {"9": True}, "location": {"latitude": 5.5},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (
            problem(429, "Too Many Requests", "You have exceeded the limit of 10 simultaneous connections."),
            ("concurrency",),
        ),
        (problem(429, "Too Many Requests", "You have more than 500 pending batches."), ("",)),
        (reply(403), ("",)),
        (reply(403, b"<html>Forbidden</html>"), ("",)),
        (problem(403, "Forbidden", "no permission"), CredentialsRejected),
        (problem(401, "API Key Invalid"), CredentialsRejected),
        (problem(404, "Resource Not Found"), MappingFault),
        (problem(500), Transient),
        (reply(503, b"Request Blocked"), Transient),
    ],
)
def test_what_a_reply_means(told, expected):
    found = meaning(told)
    if isinstance(expected, tuple):
        assert isinstance(found, RateLimited)
        assert (found.limit, found.retry_after) == (expected[0], None)
    else:
        assert isinstance(found, expected)


def test_many_members_at_once_each_with_its_outcome():
    way = MailchimpConnector(LIST, "upsert", "email_address").delivery(100)
    call = way.call([record(1, FNAME="A"), record(2, status="pending"), record(3)])
    said = json.loads(call.body)
    assert said["update_existing"] is True
    assert [each["status"] for each in said["members"]] == ["subscribed", "pending", "subscribed"]
    told = {
        "new_members": [{"email_address": "P1@example.com", "id": "h1"}], "updated_members": [],
        "errors": [{"email_address": "p2@example.com", "error": "fake", "error_code": "ERROR_GENERIC", "field": "", "field_message": ""}],
    }  # fmt: skip
    outcomes = way.verdict([record(1), record(2), record(3)], reply(200, told)).outcomes
    assert outcomes[:2] == (Delivered("h1"), Rejected("ERROR_GENERIC", "fake"))
    assert isinstance(outcomes[2], Transient)


@pytest.mark.parametrize(
    ("mode", "method", "path"),
    [
        ("upsert", "PUT", "/lists/a1b2c3d4e5/members/HASH"),
        ("insert", "POST", "/lists/a1b2c3d4e5/members"),
        ("update", "PATCH", "/lists/a1b2c3d4e5/members/HASH"),
        ("archive", "DELETE", "/lists/a1b2c3d4e5/members/HASH"),
        ("delete", "POST", "/lists/a1b2c3d4e5/members/HASH/actions/delete-permanent"),
    ],
)
def test_one_member_one_request(mode, method, path):
    one = record(5, FNAME="E")
    made = members.operation(LIST, mode, one)
    assert (made.method, made.path, made.operation_id) == (
        method,
        path.replace("HASH", members.member_hash(one.key)),
        "5",
    )
    if mode == "upsert":
        assert json.loads(made.body) == {
            "email_address": one.key, "merge_fields": {"FNAME": "E"}, "status_if_new": "subscribed",
        }  # fmt: skip


def test_a_batch_is_posted_polled_and_fetched_without_credentials():
    job = BatchJob(LIST, "upsert")
    records = [record(1), record(2), record(3)]
    state = job.begin(records)
    step = job.step(state, records)
    operations = json.loads(step.call.body)["operations"]
    assert [each["operation_id"] for each in operations] == ["1", "2", "3"]
    assert isinstance(operations[0]["body"], str)
    state = job.heard(state, records, reply(200, {"id": "b1", "status": "pending"})).state
    assert job.step(state, records).wait == 2.0
    state = job.heard(state, records, reply(200, {"id": "b1", "status": "started"})).state
    assert job.step(state, records).wait == 3.0
    url = "https://results.example.com/b1.tar.gz?X-Signature=s%2Fs"
    state = job.heard(state, records, reply(200, {"id": "b1", "status": "finished", "response_body_url": url})).state
    call = job.step(state, records).call
    assert (call.url, dict(call.headers)) == (url, {})
    files = (
        ("1.json", [
            {"status_code": 200, "operation_id": "2", "response": json.dumps({"id": "h2"})},
            {"status_code": 400, "operation_id": "1", "response": json.dumps({"title": "Member Exists", "detail": "there"})},
        ]),
        ("2.json", []), ("3.json", b""),
    )  # fmt: skip
    outcomes = job.heard(state, records, reply(200, packed(*files))).verdict.outcomes
    assert outcomes[0] == Rejected("MEMBER_EXISTS", "there")
    assert outcomes[1] == Delivered("h2")
    assert isinstance(outcomes[2], Transient)
    expired = job.heard(state, records, reply(403, b"<Error/>"))
    assert job.step(expired.state, records).name == "poll batch"


def test_a_batch_whose_post_was_lost_is_unknown():
    job = BatchJob(LIST, "insert")
    verdict = job.unheard(job.begin([record(1)]), [record(1)]).verdict
    assert isinstance(verdict.outcomes[0], Transient)
    assert verdict.outcomes[0].applied


@pytest.mark.parametrize(
    "body",
    [
        b"", b"no archive", gzip.compress(b"x" * 100), packed(("1.json", b"{nonsense")), packed(("1.json", [1]))[:60],
        packed(("1.json", b" " * (300 << 20))), packed(*((f"{n}.json", []) for n in range(2500))),
    ],
    ids=["empty", "text", "gzip", "json", "cut", "bomb", "many"],
)  # fmt: skip
def test_results_that_cannot_be_trusted_are_refused(body):
    with pytest.raises(ValueError, match=r"results|JSON"):
        list(results_of(body))


@given(st.binary(max_size=200), st.integers(200, 599))
def test_no_reply_breaks_anything(body, status):
    told = Reply(status, {}, body)
    meaning(told)
    for via in ("list", "members"):
        way = MailchimpConnector(LIST, "upsert", "email_address").delivery(1, via)
        assert len(way.verdict([record(1)], told).outcomes) == 1
    job = BatchJob(LIST, "upsert")
    if job.meaning(told) is None:
        for state in (
            {"at": "post"},
            {"at": "poll", "id": "b", "polls": 0},
            {"at": "fetch", "id": "b", "polls": 0, "url": "https://x"},
        ):
            job.heard(state, [record(1)], told)


def test_ways_and_modes():
    upsert = MailchimpConnector(LIST, "upsert", "email_address")
    assert [upsert.delivery(n).via for n in (10, 11)] == ["members", "list"]
    assert MailchimpConnector(LIST, "archive", "email_address").delivery(11).via == "batch"
    with pytest.raises(UsageError, match="cannot archive"):
        MailchimpConnector(LIST, "archive", "email_address").delivery(11, "list")
    with pytest.raises(UsageError, match="--key email_address"):
        MailchimpConnector(LIST, "upsert", "email")
    with pytest.raises(UsageError, match="no audience"):
        MailchimpConnector("my list!", "upsert", "email_address")


def test_columns_and_values_are_checked():
    fields = [
        {"tag": "FNAME", "name": "First Name", "type": "text"}, {"tag": "BIRTHDAY", "name": "Birthday", "type": "birthday"},
        {"tag": "SIZE", "name": "Size", "type": "dropdown", "options": {"choices": ["S", "M"]}},
    ]  # fmt: skip
    schema = AudienceSchema.from_bytes(AudienceSchema.from_reply(LIST, reply(200, {"merge_fields": fields})).to_bytes())
    schema.check_columns(["email_address", "FNAME", "tags", "interests.9"], "email_address", "upsert")
    with pytest.raises(MappingError, match="did you mean 'FNAME'"):
        schema.check_columns(["first_name"], "email_address", "upsert")
    check = schema.row_checker(["email_address", "BIRTHDAY", "SIZE", "status"])
    assert check({"email_address": "a@b.de", "BIRTHDAY": "12/31", "SIZE": "M"}) is None
    for name, value in [("email_address", "nobody"), ("BIRTHDAY", "1990-12-31"), ("SIZE", "XL"), ("status", "yes")]:
        assert check({name: value}) is not None
    with pytest.raises(MappingError, match="knows no audience"):
        AudienceSchema.from_reply(LIST, problem(404, "Resource Not Found"))
