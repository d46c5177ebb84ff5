"""Tokens that expire in the middle of a run: renewed for all, without a lost or doubled record; else exit 4, resumable."""

from __future__ import annotations

import json
import threading

import pytest

import headway
from headway.runs.resuming import resume
from tests.acceptance.orgs import DESTINATIONS, KEYS, account, balanced, key_pair, rows, served, stored

PRIVATE, PUBLIC = key_pair()


def login(way: str) -> headway.OAuthRefresh | headway.ClientCredentials | headway.JwtBearer:
    if way == "refresh":
        return headway.OAuthRefresh("client", "secret-of-the-client", "refresh-token-1")
    if way == "client":
        return headway.ClientCredentials("client", "secret-of-the-client")
    return headway.JwtBearer("client", "user@example.com", PRIVATE)


def options_of(way: str) -> tuple[str, dict[str, object]]:
    clients = {"client": "secret-of-the-client"}
    if way == "refresh":
        return "hubspot", {"clients": clients, "refresh_tokens": {"refresh-token-1": "client"}}
    return "salesforce", {"clients": clients, "jwt_keys": {"client": PUBLIC}}


class _Expiring(threading.Thread):
    """Ends every token as soon as so many records have arrived, `times` times."""

    def __init__(self, platform, mock, every, times):
        super().__init__()
        self.platform, self.mock, self.every, self.left = platform, mock, every, times
        self.done = threading.Event()

    def run(self):
        seen = 0
        while self.left and not self.done.wait(0.005):
            if stored(self.platform, self.mock) >= seen + self.every:
                seen = stored(self.platform, self.mock)
                self.mock.call(lambda mock: mock.tokens.expire())
                self.left -= 1


@pytest.mark.parametrize(
    ("way", "bulk"), [("refresh", False), ("client", False), ("jwt", False), ("client", True), ("jwt", True)]
)
def test_an_expired_token_is_renewed_once_for_all(tmp_path, monkeypatch, way, bulk):
    platform, options = options_of(way)
    if bulk:
        from headway.platforms.salesforce import bulk as jobs
        from headway.platforms.salesforce import connector

        monkeypatch.setattr(jobs, "FIRST_POLL", 0.1)
        monkeypatch.setattr(connector.Bulk, "batch_size", 300)
    with served(platform, only_issued=True, latency=0.02, **options) as mock:
        owner = account(platform, mock, tmp_path, login=login(way))
        expiring = _Expiring(platform, mock, 300, 4)
        expiring.start()
        sync = headway.Sync(
            rows(platform, 2000), owner[DESTINATIONS[platform]], key=KEYS[platform], via="bulk" if bulk else None,
            store=tmp_path / "records.db",
        )  # fmt: skip
        report = sync.start()
        expiring.done.set()
        expiring.join()
        assert balanced(report)
        assert (report.state, report.delivered) == ("done", 2000)
        assert stored(platform, mock) == 2000
        stats = mock.stats()
        assert stats["duplicate_writes"] == 0
        logins = mock.call(lambda m: m.tokens.logins)
        assert 2 <= logins <= 2 + 4
        owner.close()


@pytest.mark.parametrize("way", ["refresh", "client", "jwt"])
def test_a_refused_renewal_ends_with_4_and_the_run_goes_on_later(tmp_path, way):
    platform, options = options_of(way)
    with served(platform, only_issued=True, latency=0.02, **options) as mock:
        owner = account(platform, mock, tmp_path, login=login(way))

        def refuse(mock):
            mock.tokens.refusing = True
            mock.tokens.expire()

        told: list[object] = []

        def observer(event):
            told.append(event)
            if type(event).__name__ == "RecordsFinished" and stored(platform, mock) >= 300:
                mock.call(refuse)

        sync = headway.Sync(
            rows(platform, 9000), owner[DESTINATIONS[platform]], key=KEYS[platform],
            via="collections" if platform == "salesforce" else None, store=tmp_path / "records.db",
            observer=observer,
        )  # fmt: skip
        report = sync.start()
        assert (report.state, report.exit_code) == ("failed", 4)
        assert 0 < report.pending < 9000
        assert "secret-of-the-client" not in report.reason
        mock.call(lambda m: setattr(m.tokens, "refusing", False))
        again = resume(destination=owner[DESTINATIONS[platform]], store=tmp_path / "records.db").start()
        assert (again.state, again.delivered, again.pending) == ("done", 9000, 0)
        assert mock.stats()["duplicate_writes"] == 0
        owner.close()


def test_a_service_account_renews_for_reports(tmp_path):
    key = {"client_email": "robot@example.com", "private_key": PRIVATE, "private_key_id": "k1", "token_uri": ""}
    with served("ga4", only_issued=True, service_accounts={"robot@example.com": PUBLIC}) as mock:
        file = tmp_path / "key.json"
        file.write_text(json.dumps(key | {"token_uri": f"{mock.url}/token"}))
        owner = account(
            "ga4", mock, tmp_path, login=headway.ServiceAccount.from_file(file), property="123", store=tmp_path / "c.db"
        )
        for day in range(6):
            assert owner.report(["sessions"], start=f"{day}daysAgo").rows
            mock.call(lambda m: m.tokens.expire())
        assert mock.stats()["logins"] == 6
        mock.call(lambda m: setattr(m.tokens, "refusing", True))
        with pytest.raises(headway.CredentialsError):
            owner.report(["sessions"], start="9daysAgo")
        owner.close()


def test_a_revoked_key_of_mailchimp_ends_with_4_and_another_goes_on(tmp_path):
    with served("mailchimp", latency=0.02) as mock:
        owner = account("mailchimp", mock, tmp_path)
        key = "0123456789abcdef0123456789abcdef-us6"

        def observer(event):
            if type(event).__name__ == "RecordsFinished" and stored("mailchimp", mock) >= 10:
                mock.call(lambda m: m.revoked.add(key))

        sync = headway.Sync(
            rows("mailchimp", 60), owner[DESTINATIONS["mailchimp"]], key="email_address", via="members",
            store=tmp_path / "records.db", observer=observer,
        )  # fmt: skip
        report = sync.start()
        assert (report.state, report.exit_code) == ("failed", 4)
        assert report.pending > 0
        other = account("mailchimp", mock, tmp_path, token="fedcba9876543210fedcba9876543210-us6")
        again = resume(destination=other[DESTINATIONS["mailchimp"]], store=tmp_path / "records.db").start()
        assert (again.state, again.delivered) == ("done", 60)
        owner.close()
        other.close()


def test_a_token_from_a_file_is_looked_up_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "token.txt").write_text("token-number-one")
    (tmp_path / "headway.toml").write_text('[accounts.main]\nplatform = "salesforce"\ntoken_file = "token.txt"\n')
    with served("salesforce", latency=0.02) as mock:

        def observer(event):
            if type(event).__name__ == "RecordsFinished" and stored("salesforce", mock) >= 400:
                (tmp_path / "token.txt").write_text("token-number-two")
                mock.call(lambda m: m.tokens.revoked.add("token-number-one"))

        sync = headway.Sync(
            rows("salesforce", 1500), "salesforce/main:Contact", key="Bioguide_ID__c", base_url=mock.url,
            state=tmp_path / "limits.db", store=tmp_path / "records.db", observer=observer,
        )  # fmt: skip
        report = sync.start()
        assert (report.state, report.delivered) == ("done", 1500)
        assert mock.stats()["duplicate_writes"] == 0


def test_an_account_that_despaired_of_its_token_logs_in_anew_when_it_goes_on(tmp_path):
    platform, options = options_of("client")
    with served(platform, only_issued=True, latency=0.02, **options) as mock:
        owner = account(platform, mock, tmp_path, login=login("client"))
        spoilt, begun = True, False

        def observer(event):
            nonlocal begun
            begun = begun or type(event).__name__ == "RecordsFinished"
            if spoilt and begun and type(event).__name__ in {"RecordsFinished", "Note"}:
                mock.call(lambda m: m.tokens.expire())  # every new token ends before its first use

        sync = headway.Sync(
            rows(platform, 3000), owner["Contact"], key=KEYS[platform], via="collections", store=tmp_path / "records.db",
            observer=observer,
        )  # fmt: skip
        report = sync.start()
        assert (report.state, report.exit_code) == ("failed", 4)
        spoilt = False
        again = resume(destination=owner["Contact"], store=tmp_path / "records.db").start()
        assert (again.state, again.delivered) == ("done", 3000)
        assert mock.stats()["duplicate_writes"] == 0
        owner.close()
