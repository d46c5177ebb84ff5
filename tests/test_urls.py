"""One door to every backend: what is no file's address is refused, everywhere, before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest

import headway
from headway.accounts.places import default_state
from headway.errors import UsageError
from headway.stores.opening import open_store
from headway.urls import open_url

REFUSED = [
    "redis://user:hunter22@cache.internal:6379/0",
    "postgresql://app:hunter22/with?odd@chars@db.internal/limits?sslmode=require&password=hunter22",
    "rediss://:hunter22@cache/0",
    "postgresql+psycopg://app:hunter22@db/limits",
    "redis:user:hunter22@cache",
    "REDIS://user:hunter22@cache/0",
    "  redis://user:hunter22@cache/0",
    "sqlite://user:hunter22@host/x.db",
]


@pytest.mark.parametrize("url", REFUSED)
@pytest.mark.parametrize("door", ["state", "HEADWAY_STATE", "--store", "Pool", "account"])
def test_an_unknown_kind_is_refused_by_every_door_and_leaves_no_file(url, door, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEADWAY_STATE", url)

    def enter() -> object:
        if door == "state":
            return headway.Limiter(headway.Window(2, per=1), state=url, name="x")
        if door == "HEADWAY_STATE":
            return default_state()
        if door == "--store":
            return open_store(url)
        if door == "account":
            return headway.account("hubspot", token="pat-abcdef", state=url)
        return headway.Pool(print, limiter=headway.Limiter(headway.Window(2, per=1)), store=url)

    with pytest.raises(UsageError) as told:
        enter()
    assert "hunter22" not in str(told.value)
    assert "sqlite:///" in str(told.value), "it says what is supported"
    assert (door if door != "account" else "state") in str(told.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("limits.db", "limits.db"),
        ("/var/lib/limits.db", "/var/lib/limits.db"),
        ("sqlite:///limits.db", "limits.db"),
        ("sqlite:////var/lib/limits.db", "/var/lib/limits.db"),
        ("SQLite:///limits.db", "limits.db"),
        ("C:\\data\\limits.db", "C:\\data\\limits.db"),
        ("odd:name.db", "odd:name.db"),
        (Path("~") / "x.db", "~/x.db"),
    ],
)
def test_a_path_is_a_path(url, path):
    assert open_url(url, "state") == open_url(path, "state")
    assert open_url(url, "state").path == Path(path)


@pytest.mark.parametrize("url", ["", " ", "sqlite:///", "sqlite:", "sqlite://", "a\0b", b"x.db"])
def test_an_address_without_a_file_is_refused(url):
    with pytest.raises(UsageError, match="state"):
        open_url(url, "state")
