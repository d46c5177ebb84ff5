"""Who we are, where that is configured, and which limits follow."""

import sys
from pathlib import Path

import pytest

from headway.accounts.config import Address, parse_destination, parse_share, read_account
from headway.accounts.credentials import credential_hash, find_credentials
from headway.accounts.link import OpenAccount
from headway.accounts.making import account
from headway.accounts.places import default_state
from headway.errors import CredentialsError, UsageError
from headway.mock.config import MockConfig, Portal
from headway.mock.faults import Fault
from headway.mock.server import serve


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HEADWAY_STATE", str(tmp_path / "limits.db"))
    monkeypatch.delenv("HUBSPOT_TOKEN", raising=False)


def configure(text, path="headway.toml"):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text, encoding="utf-8")


# -- destinations


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("hubspot:contacts", Address("hubspot", "", "contacts")),
        ("HubSpot/portal-12:2-345", Address("hubspot", "portal-12", "2-345")),
        (" hubspot:p_cars ", Address("hubspot", "", "p_cars")),
    ],
)
def test_a_destination_is_platform_account_and_object(text, address):
    assert parse_destination(text) == address


@pytest.mark.parametrize("text", ["", "contacts", "hubspot:", ":contacts", "hubspot/:contacts", "a b:c", "hubspot:a b"])
def test_anything_else_is_refused_with_an_example(text):
    with pytest.raises(UsageError, match="for example hubspot:contacts"):
        parse_destination(text)


@pytest.mark.parametrize(("value", "share"), [(1, 1.0), (0.8, 0.8), ("80%", 0.8), ("0.5", 0.5), ("80 %", 0.8)])
def test_a_share_is_a_number_or_per_cent(value, share):
    assert parse_share(value, "x") == pytest.approx(share)


@pytest.mark.parametrize("value", [0, -1, 1.1, "120%", "much", True, None])
def test_a_share_that_makes_no_sense_is_refused(value):
    with pytest.raises(UsageError, match="share must be above 0"):
        parse_share(value, "x")


# -- headway.toml


def test_an_account_is_read_from_the_working_directory_first(tmp_path):
    configure('[accounts.a]\nplatform = "hubspot"\ntier = "starter"\nshare = "80%"\nreserve = 5000\ntoken_env = "T"\n')
    configure('[accounts.a]\ntier = "enterprise"\n[accounts.b]\nbase_url = "http://x"\n', "config/headway/headway.toml")
    found = read_account("hubspot", "a")
    assert (found.tier, found.share, found.reserve, found.token_env) == ("starter", 0.8, 5000, "T")
    assert read_account("hubspot", "b").base_url == "http://x"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"account 'a' is not configured: describe it as \[accounts.a\]"),
        ("[accounts.ab]\n", "did you mean ab"),
        ("[accounts.a]\ntire = 'x'\n", "unknown setting 'tire': did you mean tier"),
        ("[accounts.a]\ntoken = 'x'\n", "keep credentials out of this file"),
        ("[accounts.a]\nplatform = 'mailchimp'\n", "is an account of mailchimp, not of hubspot"),
        ("[accounts.a]\ntoken_env = 'x'\ntoken_file = 'y'\n", "only one of token_env, token_file"),
        ("[accounts.a]\nreserve = -1\n", "reserve must be a whole number"),
        ("[accounts.a]\ntier = 3\n", "tier must be a text"),
        ("[accounts.a]\nshare = '120%'\n", "share must be above 0"),
        ("[accounts\n", "is not TOML"),
        ("accounts = 3\n", "accounts must be tables"),
        ("accounts = {a = 3}\n", "must be a table"),
    ],
)
def test_a_faulty_configuration_is_one_clear_line(text, message):
    configure(text)
    with pytest.raises(UsageError, match=message) as caught:
        read_account("hubspot", "a")
    assert "\n" not in str(caught.value)


# -- credentials


def test_a_token_comes_from_where_it_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("T", " pat-env\n")
    configure(
        "[accounts.env]\ntoken_env = 'T'\n[accounts.file]\ntoken_file = 'token.txt'\n"
        f"[accounts.command]\ntoken_command = ['{sys.executable}', '-c', 'print(\"pat-command\")']\n"
        f"[accounts.text]\ntoken_command = '{sys.executable} -c \"print(7 * 1111111)\"'\n"
    )
    Path("token.txt").write_text("pat-file\n")
    tokens = {
        name: find_credentials(read_account("hubspot", name), ()).token for name in ("env", "file", "command", "text")
    }
    assert tokens == {"env": "pat-env", "file": "pat-file", "command": "pat-command", "text": "7777777"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("token_env = 'NOT_SET'", "set the environment variable NOT_SET"),
        ("token_file = 'missing'", "missing cannot be read"),
        ("token_file = 'empty'", "is empty"),
        ("token_file = 'two'", "holds characters that no access token has"),
        (f"token_command = ['{sys.executable}', '-c', 'import sys; sys.exit(3)']", "ended with 3"),
        ("token_command = 'no-such-program-here'", "could not be run"),
    ],
)
def test_a_missing_credential_says_what_to_do(text, message):
    Path("empty").write_text("\n")
    Path("two").write_text("pat-verysecret\npat-other")
    configure(f"[accounts.a]\n{text}\n")
    with pytest.raises(UsageError, match=message) as caught:
        account("hubspot", name="a")
    assert "verysecret" not in str(caught.value)


def test_without_an_account_the_platforms_variable_is_named():
    with pytest.raises(UsageError, match="no credentials for hubspot: set the environment variable HUBSPOT_TOKEN"):
        account("hubspot")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tier": "enterprize"}, "did you mean 'enterprise'"),
        ({"share": 2}, "share must be above 0"),
        ({"reserve": -3}, "reserve"),
        ({"base_url": "localhost:80"}, "base URL"),
        ({"base_url": "http://u:p@host"}, "keep credentials out"),
        ({"time_zone": "Mars/Phobos"}, "Mars"),
        ({"token": "two words"}, "no access token has"),
    ],
)
def test_bad_arguments_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        account("hubspot", **({"token": "pat-abcdef"} | options))


def test_an_unknown_platform_names_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'hubspot'"):
        account("hubspto", token="pat-abcdef")


def test_the_hash_of_a_credential_tells_nothing_and_is_the_same_everywhere():
    assert credential_hash("pat-1") == credential_hash("pat-1") != credential_hash("pat-2")
    assert "pat" not in credential_hash("pat-1")


def test_state_lives_with_the_user_not_in_the_working_directory(monkeypatch, tmp_path):
    monkeypatch.delenv("HEADWAY_STATE")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    where = default_state()
    assert Path(where).is_absolute()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert default_state() == where
    monkeypatch.setenv("HEADWAY_STATE", "here.db")
    assert default_state() == str(tmp_path / "elsewhere" / "here.db")


# -- identity and limits


async def test_the_platform_says_who_we_are_and_the_calls_count_for_the_day():
    with serve(MockConfig(portal=Portal(77, "Europe/Berlin"))) as mock:
        portal = account("hubspot", token="pat-abcdef", base_url=mock.url)
        async with OpenAccount(portal):
            assert portal.identity is not None
            assert (portal.identity.account_id, portal.time_zone) == ("77", "Europe/Berlin")
            assert set(portal.limiter.limits) == {"window", "daily", "search"}
            daily = next(each for each in portal.limiter.snapshot() if each.name == "daily")
            assert daily.free <= 40_000 - 1
        portal.close()
        again = account("hubspot", token="pat-abcdef", base_url=mock.url)
        async with OpenAccount(again):
            assert again.time_zone == "Europe/Berlin"
        again.close()
        assert mock.stats()["requests"] == 1


async def test_two_names_for_one_portal_share_the_day_but_not_the_window():
    with serve(MockConfig(portal=Portal(77))) as mock:
        one = account("hubspot", token="pat-abcdef", base_url=mock.url, name="one")
        two = account("hubspot", token="pat-ghijkl", base_url=mock.url, name="two")
        async with OpenAccount(one), OpenAccount(two):
            assert one._key("identity", "daily") == two._key("identity", "daily")
            assert one._key("credential", "window") != two._key("credential", "window")
            assert "pat" not in one._key("credential", "window")
        one.close()
        two.close()


def test_the_base_url_belongs_to_the_identity():
    one = account("hubspot", token="pat-abcdef", base_url="http://127.0.0.1:1")
    two = account("hubspot", token="pat-abcdef")
    assert one._key("credential", "window") != two._key("credential", "window")
    assert "|api.hubapi.com|" in two._key("credential", "window")


async def test_a_token_that_is_not_accepted_is_said_so():
    with serve(MockConfig(only_known=True)) as mock:
        portal = account("hubspot", token="pat-abcdef", base_url=mock.url)
        with pytest.raises(CredentialsError, match="does not accept the token"):
            async with OpenAccount(portal):
                pass
        portal.close()
        assert mock.stats()["requests"] == 1


async def test_a_failing_platform_is_asked_again_before_it_is_given_up():
    with serve(MockConfig()) as mock:
        portal = account("hubspot", token="pat-abcdef", base_url=mock.url)
        async with OpenAccount(portal) as link:
            mock.mock.faults.add(Fault("status", status=503, times=1))
            mock.mock.faults.add(Fault("reset", times=1))
            mock.mock.faults.add(Fault("status", status=429, retry_after="0", times=1))
            reply = await link.ask(portal.api.connector("contacts", "upsert", "email").schema_call(), "schema")
            assert reply.status == 200
            assert link.requests == 5
            assert link.rate_limited == 1
        portal.close()


async def test_a_platform_that_keeps_failing_is_given_up_with_its_last_word():
    with serve(MockConfig()) as mock:
        portal = account("hubspot", token="pat-abcdef", base_url=mock.url)
        async with OpenAccount(portal) as link:
            mock.mock.faults.add(Fault("status", status=503))
            assert (await link.ask(portal.identifier.call(), "identity")).status == 503
            assert link.requests == 1 + 4
        portal.close()
