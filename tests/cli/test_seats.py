"""Tiers that grow with the licensed users: their number is asked for at every door alike, and taken by all."""

from __future__ import annotations

import json
import os

import pytest
from click.testing import CliRunner

import headway
from headway.cli.group import headway as command
from headway.errors import UsageError
from headway.mock.entries import EntryConfig
from headway.mock.salesforce.config import SalesforceConfig
from headway.mock.server import serve
from headway.runs.resuming import replay_dead, resume

WORDS = "grows with the licensed users"


@pytest.fixture(autouse=True)
def desk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEADWAY_STATE", str(tmp_path / "limits.db"))
    monkeypatch.setenv("SALESFORCE_TOKEN", f"00D-{os.urandom(6).hex()}")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "people.csv").write_text("Customer_Number__c,LastName\n1,Lovelace\n", encoding="utf-8")
    return tmp_path


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(command, list(words))
    said = done.output + (str(done.exception) if done.exception is not None else "")
    return done.exit_code, said


def test_the_library_refuses_such_a_tier_until_it_is_told_how_many_there_are():
    with pytest.raises(UsageError, match=WORDS):
        headway.account("salesforce", token="t", tier="licensed")
    with headway.account("salesforce", token="t", tier="licensed", seats=40) as owner:
        assert owner.limits[0].amount == 95_000
    with headway.account("salesforce", token="t") as owner:
        assert owner.limits[0].amount == 1_000_000
    for wrong in (-1, 2.5, True, "40"):
        with pytest.raises(UsageError, match="whole number of licensed users"):
            headway.account("salesforce", token="t", tier="licensed", seats=wrong)  # type: ignore[arg-type]


def test_headway_toml_tells_it(desk):
    file = desk / "headway.toml"
    table = '[accounts.emea]\nplatform = "salesforce"\ntoken_env = "SALESFORCE_TOKEN"\ntier = "licensed"\n'
    file.write_text(table + "seats = 40\n", encoding="utf-8")
    with headway.account("salesforce", name="emea") as owner:
        assert owner.limits[0].amount == 95_000
    with headway.account("salesforce", name="emea", seats=10) as owner:
        assert owner.limits[0].amount == 35_000
    file.write_text(table, encoding="utf-8")
    with pytest.raises(UsageError, match=WORDS):
        headway.account("salesforce", name="emea")
    file.write_text(table + "seats = -1\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"headway.toml: \[accounts.emea\]: seats must be a whole number"):
        headway.account("salesforce", name="emea")


@pytest.mark.parametrize(
    "words",
    [
        ("limits", "salesforce", "--tier", "licensed"),
        ("limits", "zoho", "--tier", "standard", "--json"),
        ("mock", "salesforce", "--tier", "licensed"),
        ("mock", "zoho", "--tier", "standard"),
        ("plan", "people.csv", "salesforce:Contact", "--key", "Customer_Number__c", "--tier", "licensed"),
        ("sync", "people.csv", "salesforce:Contact", "--key", "Customer_Number__c", "--tier", "licensed"),
    ],
)
def test_every_command_refuses_it_alike(words):
    code, said = run(*words)
    assert code != 0
    assert WORDS in said


def test_the_catalogue_shows_the_formula_and_the_figure():
    assert "15,000 + 2,000 per user" in run("limits", "salesforce")[1]
    code, said = run("limits", "salesforce", "--tier", "licensed", "--seats", "40", "--json")
    assert code == 0
    assert json.loads(said)[0]["tiers"]["licensed"]["limits"][0]["amount"] == 95_000


def test_a_run_keeps_to_it_and_what_continues_it_may_say_another(desk):
    with serve(SalesforceConfig(daily=95_000)) as mock:
        words = (
            "people.csv",
            "salesforce:Contact",
            "--key",
            "Customer_Number__c",
            "--base-url",
            mock.url,
            "--no-check",
        )
        code, said = run("plan", *words, "--tier", "licensed", "--seats", "40", "--json")
    assert code == 0, said
    for made in (resume, replay_dead):
        assert made(seats=7, store=str(desk / "r.db"))._changes["seats"] == 7


def test_a_mock_of_an_entry_refuses_it_too():
    with pytest.raises(UsageError, match=WORDS):
        EntryConfig("zoho", tier="standard")
    assert EntryConfig("zoho", tier="standard", seats=4).seats == 4
