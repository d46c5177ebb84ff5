"""A working directory, a token, a mock platform."""

import csv
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headway.mock.config import MockConfig
from headway.mock.server import Served, serve


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch) -> Path:
    """An empty working directory, state of its own, a token."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEADWAY_STATE", str(tmp_path / "limits.db"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HUBSPOT_TOKEN", f"pat-na1-{os.urandom(8).hex()}")
    return tmp_path


@pytest.fixture
def mock() -> Iterator[Served]:
    """A mock HubSpot; its window of 100 calls is never in the way of a test that makes fewer."""
    with serve(MockConfig()) as served:
        yield served


@pytest.fixture
def contacts(tmp_path) -> Callable[..., str]:
    """Write a file of `count` contacts; `change(number, row)` may spoil a row."""

    def write(count: int, change=lambda number, row: row, name: str = "contacts.csv") -> str:
        with (tmp_path / name).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["email", "firstname", "lastname"])
            for number in range(count):
                writer.writerow(change(number, [f"ada{number}@example.com", f"Ada{number}", "Lovelace"]))
        return name

    return write
