"""The official SDKs of Salesforce, Mailchimp and Google, unmodified, through our adapters, against the mock platforms."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from requests.adapters import HTTPAdapter

import headway
from headway.mock import Field, GA4Config, MailchimpConfig, SalesforceConfig, SObject, serve
from headway.mock.salesforce.config import STANDARD

CONTACT = SObject("Contact", (*STANDARD[0].fields, Field("Ext__c", external_id=True)))
INSTANCE = "example.my.salesforce.com"


class Redirected(HTTPAdapter):
    """simple-salesforce writes https://INSTANCE itself: this sends it to the mock instead, as a proxy would."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    def send(self, request, *args, **named):
        request.url = request.url.replace(f"https://{INSTANCE}", self._url)
        return super().send(request, *args, **named)


@pytest.fixture
def salesforce(tmp_path):
    from simple_salesforce import Salesforce

    with serve(SalesforceConfig(objects=(CONTACT,), bulk_rate=1_000_000)) as mock:
        owner = headway.account("salesforce", token="session-of-a-test", base_url=mock.url, state=tmp_path / "l.db")
        with owner, requests.Session() as session:
            session.mount(f"https://{INSTANCE}", owner.adapter(Redirected(mock.url)))
            yield Salesforce(instance=INSTANCE, session_id="session-of-a-test", session=session), owner, mock


def spent(owner: headway.Account, limit: str) -> int:
    found = next(each for each in owner.limiter.snapshot() if each.name == limit)
    return found.amount - found.free


def test_simple_salesforce_by_rest(salesforce):
    client, owner, mock = salesforce
    made = client.Contact.create({"LastName": "Lovelace", "Email": "ada@example.com"})
    assert made["success"]
    client.Contact.update(made["id"], {"FirstName": "Ada"})
    assert client.Contact.get(made["id"])["FirstName"] == "Ada"
    client.Contact.upsert("Ext__c/7", {"LastName": "Hopper"})
    assert client.query("SELECT Id, LastName FROM Contact WHERE LastName = 'Hopper'")["totalSize"] == 1
    client.Contact.delete(made["id"])
    with pytest.raises(Exception, match="REQUIRED_FIELD_MISSING"):
        client.Contact.create({"FirstName": "Nobody"})
    assert spent(owner, "daily") == mock.stats()["requests"]
    assert 0 < client.api_usage["api-usage"].used <= mock.stats()["daily_used"]  # as of the last reply that it reads


def test_simple_salesforce_by_bulk2(salesforce):
    client, owner, mock = salesforce
    rows = [
        {"Ext__c": f"E{n}", "LastName": f"Name {n}", "Email": "nobody" if n == 3 else f"p{n}@example.com"}
        for n in range(50)
    ]
    done = client.bulk2.Contact.upsert(records=rows, external_id_field="Ext__c", wait=0.1)
    assert done[0]["numberRecordsTotal"] == 50
    assert done[0]["numberRecordsFailed"] == 1
    failed = client.bulk2.Contact.get_failed_records(done[0]["job_id"])
    assert "INVALID_EMAIL_ADDRESS" in failed
    stats = mock.stats()
    assert stats["objects"]["Contact"] == 49
    assert spent(owner, "daily") == stats["requests"]


def test_a_refusal_of_salesforce_is_told_from_a_missing_permission(salesforce):
    client, owner, mock = salesforce
    client.query("SELECT COUNT() FROM Contact")
    mock.call(lambda m: setattr(m.day, "amount", m.day.amount - m.day.left(m.clock.monotonic(), 0)))
    with pytest.raises(Exception, match="REQUEST_LIMIT_EXCEEDED"):
        client.query("SELECT COUNT() FROM Contact")
    paused = next(each for each in owner.limiter.snapshot() if each.name == "daily")
    assert paused.paused is not None
    assert paused.paused > 600


def test_mailchimp_marketing_never_has_more_than_ten_connections(tmp_path):
    import mailchimp_marketing

    with serve(MailchimpConfig(latency=0.2)) as mock:
        key = "0123456789abcdef0123456789abcdef-us6"
        with headway.account("mailchimp", token=key, base_url=mock.url, state=tmp_path / "l.db") as owner:
            client = mailchimp_marketing.Client({"api_key": key, "server": "us6"})
            client.api_client.host = mock.url + "/3.0"
            with headway.patch_urllib3({"127.0.0.1": owner}):
                assert client.ping.get()["health_status"]

                def put(number: int) -> str:
                    address = f"p{number}@example.com"
                    member = {"email_address": address, "status_if_new": "subscribed"}
                    known = hashlib.md5(address.encode()).hexdigest()
                    return client.lists.set_list_member("a1b2c3d4e5", known, member)["status"]

                with ThreadPoolExecutor(30) as threads:
                    assert set(threads.map(put, range(200))) == {"subscribed"}
                members = [{"email_address": f"q{n}@example.com", "status": "subscribed"} for n in range(100)]
                told = client.lists.batch_list_members("a1b2c3d4e5", {"members": members, "update_existing": True})
                assert told["total_created"] == 100
                batch = client.batches.start({"operations": [{"method": "GET", "path": "/lists/a1b2c3d4e5"}]})
                assert client.batches.status(batch["id"])["id"] == batch["id"]
                with pytest.raises(mailchimp_marketing.api_client.ApiClientError):
                    client.lists.get_list("nosuchlist")
            stats = mock.stats()
    assert 1 < stats["most_connections"] <= 10
    assert stats["rate_limited"] == 0
    assert stats["members"] == {"a1b2c3d4e5": 300}


REQUEST = {
    "property": "properties/123", "metrics": [{"name": "activeUsers"}], "dimensions": [{"name": "city"}],
    "date_ranges": [{"start_date": "7daysAgo", "end_date": "today"}], "return_property_quota": True,
}  # fmt: skip


def test_google_analytics_data_by_rest(tmp_path):
    from google.analytics.data_v1beta import BetaAnalyticsDataClient
    from google.analytics.data_v1beta.services.beta_analytics_data.transports import BetaAnalyticsDataRestTransport
    from google.auth.credentials import AnonymousCredentials

    with serve(GA4Config(anonymous=True, latency=0.3)) as mock:
        owner = headway.account(
            "ga4", token="token-of-a-test", property="123", base_url=mock.url, state=tmp_path / "l.db"
        )
        transport = BetaAnalyticsDataRestTransport(
            host=mock.url.removeprefix("http://"), url_scheme="http", credentials=AnonymousCredentials()
        )
        transport._session.mount("http://", owner.adapter(HTTPAdapter(pool_maxsize=30)))
        client = BetaAnalyticsDataClient(transport=transport)
        with owner, ThreadPoolExecutor(30) as threads:
            counts = list(threads.map(lambda _: client.run_report(dict(REQUEST)).row_count, range(60)))
        stats = mock.stats()
        transport._session.close()
    assert set(counts) == {250}
    assert 1 < stats["most_concurrent"] <= 10
    assert stats["rate_limited"] == 0


def test_google_analytics_data_by_grpc(tmp_path):
    import grpc
    from google.analytics.data_v1beta import BetaAnalyticsDataClient
    from google.analytics.data_v1beta.services.beta_analytics_data.transports import BetaAnalyticsDataGrpcTransport
    from google.api_core.exceptions import TooManyRequests

    from headway.mock.ga4.property import GA4Mock
    from headway.mock.ga4.rpc import serve_rpc

    mock = GA4Mock(GA4Config(anonymous=True, daily=20))
    owner = headway.account("ga4", token="token-of-a-test", property="123", state=tmp_path / "l.db")
    with serve_rpc(mock) as address, owner:
        channel = grpc.insecure_channel(address)
        limited = grpc.intercept_channel(channel, *owner.interceptors("analyticsdata.googleapis.com"))
        client = BetaAnalyticsDataClient(transport=BetaAnalyticsDataGrpcTransport(channel=limited))
        with ThreadPoolExecutor(10) as threads:
            replies = list(threads.map(lambda _: client.run_report(dict(REQUEST)), range(20)))
        assert {reply.row_count for reply in replies} == {250}
        assert replies[0].property_quota.tokens_per_day.consumed > 0
        assert spent(owner, "daily") == 20
        with pytest.raises(TooManyRequests, match="requests per day"):
            client.run_report(dict(REQUEST))
        assert any(each.paused for each in owner.limiter.snapshot())
        channel.close()
    assert mock.statistics()["refused_for"] == {"daily": 1}
