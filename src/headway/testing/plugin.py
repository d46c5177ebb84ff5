"""Fixtures for pytest; found by its entry point, and imported only by tests that ask for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from headway.testing.platform import TestPlatform
    from headway.testing.virtual import VirtualClock


@pytest.fixture
def headway_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Limits' state and configuration of this test's own; returns the state's file."""
    path = tmp_path / "headway" / "limits.db"
    path.parent.mkdir(exist_ok=True)
    monkeypatch.setenv("HEADWAY_STATE", str(path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(path.parent))
    return path


@pytest.fixture
def headway_mock(headway_state: Path) -> Iterator[Callable[..., TestPlatform]]:
    """Start mock platforms: `headway_mock("hubspot", window="100/10s")`; they stop with the test."""
    del headway_state
    from headway.testing.platform import mock_platform

    with ExitStack() as running:

        def start(platform: str = "hubspot", **settings: Any) -> TestPlatform:
            return running.enter_context(mock_platform(platform, **settings))

        yield start


@pytest.fixture
def headway_clock() -> VirtualClock:
    """A clock that stands still until `advance`."""
    from headway.testing.virtual import VirtualClock

    return VirtualClock()
